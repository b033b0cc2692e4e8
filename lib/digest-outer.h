/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The hash over the digests of all blocks of a disk, with a short way for zeros at the disk's
 * begin. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The state of SHA-256 behind so many digests of the zero block, and nothing before them. */
struct zeros_state {
    uint64_t n;                 /* blocks, an even number: a digest is half of what SHA-256 takes
                                 * at a time */
    uint32_t state[8];
};

/* The last known state of at most n blocks; NULL when there is none. generated/digest-zeros.c,
 * written by tests/unit/make-zeros. */
const struct zeros_state *zeros_state_find(uint64_t n);
/* All of them, in rising order. */
const struct zeros_state *zeros_states(size_t *ret_n);

struct outer;

/* -ENOMEM, -EIO (the crypto library). zero_digest is the zero block's. */
int outer_new(const uint8_t zero_digest[32], struct outer **ret_outer);
void outer_free(struct outer *outer);
/* The digests of n more blocks. -EIO. */
int outer_feed(struct outer *outer, const void *digests, size_t n);
#define OUTER_ZEROS_MAX 2048
/* The zero block's digest for n blocks more, OUTER_ZEROS_MAX at most. -EIO. */
int outer_feed_zeros(struct outer *outer, size_t n);
/* Of n blocks of zeros to come, so many were just fed at once: 0 but for the disk's begin. */
uint64_t outer_skip_zeros(struct outer *outer, uint64_t n);
/* Ends it with the disk's size. -EIO. */
int outer_finish(struct outer *outer, uint64_t size, uint8_t ret_digest[32]);
