/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds blocks of a file that overlap each other.
 *
 * Most files have blocks of one length, side by side: those are a bit each. The others, and those
 * that are compressed, are kept in a list, which is sorted at the end. */
#pragma once

#include "count.h"

/* A block that does not lie in the row of the others, or has another length. */
struct claim {
    uint64_t offset, length;    /* host, bytes */
    uint64_t number;            /* of the guest's block */
};

struct claims {
    struct count_map bits;      /* of whole blocks of unit bytes, from base on */
    uint64_t unit;              /* bytes, */
    unsigned shift;             /*   2 to the power of it; 0: no power of two */
    uint64_t base;              /* host offset of the first, below unit; valid once has_base */
    bool has_base;
    uint64_t memory_limit;
    struct claim *list;
    size_t n, capacity;
};

/* For blocks of unit bytes (not 0) in a file of this size. -ENOMEM. */
int claims_init(struct claims *claims, uint64_t unit, uint64_t file_size, uint64_t memory_limit);
/* The row goes through this offset; else the first block of unit bytes tells. */
void claims_align(struct claims *claims, uint64_t offset);
void claims_done(struct claims *claims);
/* Block number lies at [offset, offset + length), which is in the file. 1 when another one is known
 * to lie there, too; 0; -ENOMEM, -EFBIG when the list would be beyond the limit. */
int claims_add(struct claims *claims, uint64_t offset, uint64_t length, uint64_t number);
/* n blocks of unit bytes from offset on, which are in the file, one after the other. 1 when they
 * lie in the row, and no other block of it there; 0 when they do not, and none was added;
 * -ENOMEM. */
int claims_add_row(struct claims *claims, uint64_t offset, uint64_t n);
/* After the last: tells found() of each listed block that overlaps another one. found() returns 0,
 * or -errno, which ends it. */
int claims_overlaps(struct claims *claims, int (*found)(void *userdata, const struct claim *claim),
                    void *userdata);
/* The next run of whole units of the row that no block lies in, at or behind offset *offset, before
 * end: 1 with *offset and *ret_length set, 0 when there is none. */
bool claims_gap(const struct claims *claims, uint64_t *offset, uint64_t end, uint64_t *ret_length);
