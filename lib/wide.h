/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The loops that see every entry of every table: plain C, and the same for wide registers.
 *
 * All variants give the same results for all input (tests/unit/test-wide.c). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct wide {
    const char *name;           /* "scalar", "avx2", "avx512" */

    /* How many of the n big-endian words hold first, first + step, first + 2 * step, ... */
    uint32_t (*count_rising)(const uint8_t *words, uint32_t n, uint64_t first, uint64_t step);

    /* How many of the n words are 0, from the first on. */
    uint32_t (*count_zero)(const uint8_t *words, uint32_t n);

    /* How many of n_groups groups of 64 refcounts of 16 bits equal their 64 bits (0 or 1), from the
     * first on. refcounts are big-endian, 128 bytes for each group; bits NULL: all 0. */
    uint32_t (*count_equal16)(const uint8_t *refcounts, const uint64_t *bits, uint32_t n_groups);
};

/* The variants that this processor can run, from plain C to the widest: that number i, or NULL. */
const struct wide *wide_variant(unsigned i);
/* The one to use. */
const struct wide *wide_best(bool scalar_only);
