/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A check of a qcow2 image under way, shared by the files that do its parts.
 *
 * The check counts references per host cluster in as many passes as memory demands (one, as a
 * rule). A pass walks all tables (qcow2-table.c), then the other metadata, compares what it counted
 * with the stored refcounts (qcow2-refcount.c), and verifies COPIED flags one by one where that
 * comparison could not vouch for them (qcow2-copied.c). Only the first pass reports what is wrong
 * with entries as such. */
#pragma once

#include "check.h"
#include "count.h"
#include "qcow2.h"
#include "table-reader.h"
#include "wide.h"

struct l2_run;
struct overlap;
struct deep;

/* An L2 table to be walked once, on behalf of all L1 entries that point to it. */
struct l2_item {
    uint64_t offset;            /* host offset of the table */
    uint32_t active;            /* entries of the active L1 table that point to it */
    uint32_t inactive;          /* entries of snapshots' L1 tables */
    uint32_t l1_index;          /* the first of these entries, an active one if there is any */
    uint32_t snapshot;          /* whose L1 table that is, or QCA_ACTIVE */
};

/* Leaks come in rising order: runs of them, and the most within a window. */
struct leaks {
    uint64_t run_start, run_length;     /* clusters; length 0: no run is open */
    uint64_t run_stored, run_counted;   /* of its first cluster */
    uint64_t *window;                   /* one bit per cluster, a ring of window_clusters */
    uint64_t window_clusters;   /* as many as one L2 table maps: a power of two, 64 or more */
    uint64_t window_low;                /* clusters below are out of the window */
    uint64_t window_leaks;
    uint64_t last;                      /* the last leaked cluster */
};

struct qcow2_check {
    struct qca_image *image;
    const struct qcow2 *qcow2;
    struct check *check;
    const struct wide *wide;
    struct count_map map;
    uint64_t file_length;       /* bytes, rounded up to 512 as QEMU does */
    uint64_t n_clusters;        /* of the file, and one more once that is partly referenced */
    uint64_t n_file_clusters;
    bool first_pass;
    bool outside_copied;        /* the map cannot vouch for some active entry's COPIED flag */
    uint64_t memory_left;       /* bytes that parts of the check may still take */
    uint64_t highest;           /* highest cluster with a refcount */
    bool any_used;

    uint64_t *reftable;         /* host order, as stored */
    size_t n_reftable;
    bool reftable_damaged;      /* some block cannot be read */
    uint8_t *refblock_unreadable;   /* one bit per refcount block that cannot be read */
    uint8_t *refblock_shared;   /* one bit per refcount block not referenced exactly once */

    struct l2_item *items;
    size_t n_items, items_allocated, max_items;
    uint64_t l1_scanned;        /* bytes of all L1 tables in this walk */
    uint64_t l2_scanned;        /* bytes of all L2 tables in this walk */
    struct table_reader l2_reader;
    struct table_reader refblock_reader;
    struct leaks leaks;
    uint64_t cut_cluster;       /* the file ends within this one; UINT64_MAX: between clusters */
    uint64_t inactive_flags;    /* COPIED flags of snapshots' tables looked at */
    struct count_map data_file_map;
    struct overlap *overlap;    /* while qcow2_find_overlaps() runs */
    struct deep *deep;          /* while qcow2_inflate_all() runs */
    size_t compare_first_issue; /* the first one of this pass' comparison */
    size_t *low_issues;         /* indices of the kept issues about low refcounts among them */
    size_t n_low_issues;
};

/* A reference to a cluster that is not counted, as it lies behind the file: its COPIED flag still
 * counts, by whatever refcount is stored. flags as of count_add(). */
void qcow2_flag_uncounted(struct qcow2_check *ctx, uint64_t cluster, unsigned flags);
/* qcow2-check.c: counts references of weight to [offset, offset + size), by QEMU's rules for what
 * is out of the file. issue says whose reference it is; its kind is set here. flags are for the
 * first cluster. */
int qcow2_reference(struct qcow2_check *ctx, uint64_t offset, uint64_t size, uint64_t weight,
                    unsigned flags, const struct qca_issue *issue);
/* Reports an issue in the first pass. */
int qcow2_issue(struct qcow2_check *ctx, struct qca_issue issue);
/* A read of metadata failed with r: one check error, and the check ends. */
int qcow2_read_failed(struct qcow2_check *ctx, int r, enum qca_table table, uint64_t offset);
int qcow2_out_of_memory(struct qcow2_check *ctx);
int qcow2_beyond_limit(struct qcow2_check *ctx, const char *what, uint64_t value, uint64_t bound);

/* A snapshot's L1 table has a possible place and size. */
bool qcow2_snapshot_l1_valid(const struct qcow2_check *ctx, uint32_t number);

/* Handles one of the collected L2 tables. */
typedef int (*l2_table_fn)(struct qcow2_check *ctx, const struct l2_item *item,
                           const uint8_t *table);
/* Handles one L1 entry that is not 0. *collect says whether its L2 table is walked. */
typedef int (*l1_entry_fn)(struct qcow2_check *ctx, uint64_t l1_offset, uint32_t index,
                           uint32_t snapshot, uint64_t entry, bool *collect);
/* Goes through an L1 table, collects its L2 tables and goes through them whenever there is no room
 * for more. */
int qcow2_l1_walk(struct qcow2_check *ctx, uint64_t l1_offset, uint32_t l1_entries,
                  uint32_t snapshot, l1_entry_fn entry, l2_table_fn visit);
/* Sorts what is still collected by place, unites what is the same and goes through it. */
int qcow2_items_flush(struct qcow2_check *ctx, l2_table_fn visit);
/* Guest range of n entries from index of an item's table, into the issue; none behind the disk's
 * end. */
void qcow2_guest_range(const struct qcow2_check *ctx, const struct l2_item *item, uint64_t index,
                       uint64_t n, struct qca_issue *issue);

int qcow2_count_tables(struct qcow2_check *ctx);

int qcow2_reftable_load(struct qcow2_check *ctx);
int qcow2_count_refblocks(struct qcow2_check *ctx);
int qcow2_compare(struct qcow2_check *ctx);
int qcow2_leaks_flush(struct qcow2_check *ctx);
/* False when the stored refcount of this cluster cannot be read. */
bool qcow2_refcount_readable(const struct qcow2_check *ctx, uint64_t cluster);
/* The stored refcount of any cluster, also where the map has none. */
int qcow2_refcount_stored(struct qcow2_check *ctx, uint64_t cluster, uint64_t *ret_refcount);
/* The raw refcount block number index: *ret_block is NULL when all its refcounts are 0. */
int qcow2_refblock(struct qcow2_check *ctx, uint64_t index, const uint8_t **ret_block);
/* Names the refcount block and entry of a cluster in an issue. */
void qcow2_issue_at_refcount(const struct qcow2_check *ctx, uint64_t cluster,
                             struct qca_issue *issue);

int qcow2_verify_copied(struct qcow2_check *ctx);

/* ---- beyond `qemu-img check`: each reports what it finds, beside the counters ---------------- */

/* Where the map may be spared for: of so many + 1 parts of the memory the map has all but one. */
#define QCOW2_OVERLAP_SHARE 2

bool qcow2_any_set(const uint8_t *data, uint64_t size);
/* 1 when some byte of [start, end) is not 0, and a place at or before it; 0; -errno. */
int qcow2_find_set(struct qcow2_check *ctx, uint64_t start, uint64_t end, uint64_t *ret_offset);
/* qcow2-oddities.c: header, extensions, snapshot table, bitmaps, LUKS header. */
int qcow2_report_oddities(struct qcow2_check *ctx);
/* qcow2-entries.c: a single L2 entry that is not a clean one; and a whole table. */
int qcow2_entry_oddities(struct qcow2_check *ctx, const struct l2_item *item,
                         const struct l2_run *run);
int qcow2_table_oddities(struct qcow2_check *ctx, const struct l2_item *item, const uint8_t *table);
/* The subject of the issue lies in the cluster within which the file ends. */
int qcow2_report_cut(struct qcow2_check *ctx, struct qca_issue issue);
/* qcow2-data-file.c: allocates, before the map takes what memory there is; an entry's place. */
int qcow2_data_file_begin(struct qcow2_check *ctx);
int qcow2_data_file_entry(struct qcow2_check *ctx, const struct l2_item *item, uint32_t index,
                          uint64_t offset);
/* Once all else is counted: walks the tables again for what there was no memory for before. */
int qcow2_data_file_rest(struct qcow2_check *ctx);
/* qcow2-overlap.c and qcow2-holes.c: of a pass, once all is counted and before it is compared. */
int qcow2_find_overlaps(struct qcow2_check *ctx);
int qcow2_find_holes(struct qcow2_check *ctx);
/* qcow2-ends.c: once all is compared. */
int qcow2_report_ends(struct qcow2_check *ctx);
/* qcow2-deep.c: once the map has been freed. */
int qcow2_inflate_all(struct qcow2_check *ctx);
