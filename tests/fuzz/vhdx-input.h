/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VHDX from a short input: its structures lie in places of some MiB, which no fuzzer would
 * fill. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The image, to be freed; NULL: no memory. */
uint8_t *vhdx_input(const uint8_t *data, size_t size, size_t *ret_size);
