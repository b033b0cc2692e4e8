/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The loops that see every entry of every table: plain C, and the same for wide registers.
 *
 * All variants give the same results for all input (tests/unit/test-wide.c). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct wide {
    const char *name;           /* "scalar", "avx2", "avx512" */

    /* Counts the leading words of n big-endian ones that hold first, first + step, ... */
    uint32_t (*count_rising)(const uint8_t *words, uint32_t n, uint64_t first, uint64_t step);

    /* Counts the leading words of n that are 0. */
    uint32_t (*count_zero)(const uint8_t *words, uint32_t n);

    /* Counts the leading groups of n_groups whose 64 refcounts of 16 bits equal their 64 bits (0 or
     * 1). refcounts are big-endian, 128 bytes for each group; bits NULL: all 0. */
    uint32_t (*count_equal16)(const uint8_t *refcounts, const uint64_t *bits, uint32_t n_groups);
};

/* The variants that this processor can run, from plain C to the widest: that number i, or NULL. */
const struct wide *wide_variant(unsigned i);
/* The one to use. */
const struct wide *wide_best(bool scalar_only);
