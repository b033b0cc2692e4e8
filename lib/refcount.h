/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Refcounts as they lie in a raw refcount block: single ones, and 64 at a time against bits.
 *
 * order is log2 of the width in bits, 0 to 6. Widths below a byte are filled from the least
 * significant bit, wider ones are big-endian (docs/interop/qcow2.txt, "Host cluster management").
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Refcount number index of a block. */
uint64_t refcount_get(const uint8_t *block, unsigned order, uint64_t index);

/* Of 64 refcounts from index (a multiple of 64): true when each equals its bit, 0 or 1. */
bool refcounts_are_bits(const uint8_t *block, unsigned order, uint64_t index, uint64_t bits);

/* Of 64 refcounts from index (a multiple of 64): the mask of those that are exactly 1. */
uint64_t refcounts_ones(const uint8_t *block, unsigned order, uint64_t index);
