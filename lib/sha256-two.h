/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SHA-256 of two independent messages at once, where the processor has instructions for it.
 *
 * Each round needs the result of the one before: a single message leaves most of the unit idle, a
 * second one fills it. Gives the same results as libcrypto for all input
 * (tests/unit/test-digest.c). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Can this processor? */
bool sha256_two_supported(void);
/* Both messages have size bytes, a multiple of 64. Only where it is supported. */
void sha256_two(const uint8_t *a, const uint8_t *b, size_t size, uint8_t ret_a[32],
                uint8_t ret_b[32]);
