/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SipHash-2-4 with 128 bits (Aumasson and Bernstein): a hash with a secret, for tables whose keys
 * strangers choose. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct siphash { uint64_t low, high; };

struct siphash siphash(const uint8_t secret[static 16], const void *data, size_t size);
