/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Takes an L2 table apart into runs: consecutive entries that map consecutive host clusters. */
#pragma once

#include "qcow2.h"
#include "wide.h"

enum l2_run_kind {
    L2_RUN_END,
    L2_RUN_DATA,                /* normal clusters without any fault; length may be above 1 */
    L2_RUN_ALLOCATED,           /* one cluster, normal or zero with a place, perhaps faulty */
    L2_RUN_COMPRESSED,          /* one */
    L2_RUN_UNALLOCATED,         /* one that is not all 0: unallocated or zero, perhaps faulty */
};

struct l2_run {
    enum l2_run_kind kind;
    uint32_t index;             /* of the first entry */
    uint32_t length;
    uint64_t entry;             /* the first */
    uint64_t bitmap;            /* of the first, extended entries only */
};

/* The place of a compressed cluster. */
struct qcow2_compressed {
    uint64_t offset;            /* host offset, any byte */
    uint64_t size;              /* bytes, to the end of the last 512-byte sector it touches */
};

static inline struct qcow2_compressed qcow2_compressed(const struct qcow2 *qcow2, uint64_t entry)
{
    unsigned size_bits = qcow2->cluster_bits - 8, shift = 62 - size_bits;
    uint64_t offset = entry & ((UINT64_C(1) << shift) - 1);
    uint64_t sectors = (entry >> shift & ((UINT64_C(1) << size_bits) - 1)) + 1;

    return (struct qcow2_compressed) { offset, sectors * 512 - (offset & 511) };
}

static inline enum l2_run_kind l2_entry_kind(const struct qcow2 *qcow2, uint64_t entry)
{
    if (entry & L2_COMPRESSED)
        return L2_RUN_COMPRESSED;
    if (entry & L2_OFFSET_MASK)
        return L2_RUN_ALLOCATED;
    /* Offset 0 of a data file is a place like any other; there COPIED tells that it is meant. */
    if (qcow2->has_data_file && (entry & ENTRY_COPIED) &&
        (qcow2->extended_l2 || !(entry & L2_ZERO)))
        return L2_RUN_ALLOCATED;
    return L2_RUN_UNALLOCATED;
}

/* A clean entry of a normal cluster, from which a run can start: aligned, below the sign of the
 * offset field, so that adding clusters never carries out of it within a table. */
static inline bool l2_entry_is_clean(const struct qcow2 *qcow2, uint64_t entry)
{
    uint64_t allowed = ENTRY_COPIED | ((UINT64_C(1) << 55) - qcow2_cluster_size(qcow2));

    return !(entry & ~allowed) && (entry & L2_OFFSET_MASK);
}

/* The length of the run that begins at index. Most runs are of one entry or of thousands: only
 * those are worth a call. */
static inline uint32_t l2_run_standard(const struct wide *wide, const uint8_t *table, uint32_t n,
                                       uint32_t index, uint64_t entry, uint64_t cluster_size)
{
    const uint8_t *next = table + 8 * ((uint64_t)index + 1);

    if (index + 1 == n || be64_get(next) != entry + cluster_size)
        return 1;
    return 1 + wide->count_rising(next, n - index - 1, entry + cluster_size, cluster_size);
}

static inline bool subclusters_conflict(uint64_t bitmap)
{
    return (bitmap >> 32) & bitmap;
}

/* All of its entries have the first one's bitmap. */
static inline uint32_t l2_run_extended(const uint8_t *table, uint32_t n, uint32_t index,
                                       uint64_t entry, uint64_t cluster_size)
{
    uint64_t bitmap = be64_get(table + 16 * (uint64_t)index + 8);
    uint32_t i = index + 1;

    while (i < n && be64_get(table + 16 * (uint64_t)i) == entry + (i - index) * cluster_size &&
           be64_get(table + 16 * (uint64_t)i + 8) == bitmap)
        i++;
    return i - index;
}

/* Skips entries of 0 from index on. */
static inline uint32_t l2_skip_zero(const struct wide *wide, const uint8_t *table, uint32_t n,
                                    uint32_t index, uint32_t words)
{
    uint64_t at = (uint64_t)index * words, end = (uint64_t)n * words;

    if (index == n || be64_get(table + 8 * at) != 0)
        return index;
    return (at + wide->count_zero(table + 8 * at, end - at)) / words;
}

/* The next run at or behind index; kind is L2_RUN_END when there is none. */
static inline struct l2_run l2_run_next(const struct qcow2 *qcow2, const struct wide *wide,
                                        const uint8_t *table, uint32_t index)
{
    uint32_t n = UINT32_C(1) << qcow2->l2_bits;
    struct l2_run run = { .length = 1 };

    index = l2_skip_zero(wide, table, n, index, qcow2->extended_l2 ? 2 : 1);
    run.index = index;
    if (index >= n) {
        run.kind = L2_RUN_END;
        return run;
    }
    if (qcow2->extended_l2) {
        run.entry = be64_get(table + 16 * (uint64_t)index);
        run.bitmap = be64_get(table + 16 * (uint64_t)index + 8);
    } else
        run.entry = be64_get(table + 8 * (uint64_t)index);

    if (!l2_entry_is_clean(qcow2, run.entry) || subclusters_conflict(run.bitmap)) {
        run.kind = l2_entry_kind(qcow2, run.entry);
        return run;
    }
    run.kind = L2_RUN_DATA;
    run.length = qcow2->extended_l2
        ? l2_run_extended(table, n, index, run.entry, qcow2_cluster_size(qcow2))
        : l2_run_standard(wide, table, n, index, run.entry, qcow2_cluster_size(qcow2));
    return run;
}
