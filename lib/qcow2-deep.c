/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inflates every compressed cluster of an image, and finds those whose data overlap.
 *
 * The entries are collected and sorted by place, so that the file is read from its beginning to its
 * end, and data in use by snapshots too is inflated once. What does not fit into memory is left to
 * another walk over the tables. Data that begins within the data before it is reported and not
 * inflated: so no more is inflated than the file holds. */
#include "qcow2-check.h"

#include "inflate.h"
#include "io.h"
#include "l2-runs.h"

enum {
    MIN_ENTRIES = 1024,
    MAX_ENTRIES = 1 << 20,
    MAX_WALKS = 4096,
};

#define AHEAD (UINT64_C(4) << 20)
/* A cluster's data is said in sectors: the smallest, of some 70 bytes, take no more than these
 * times as much. */
#define SCANNED_TIMES 16
/* The inflated length of zstd data has no bound: 70 bytes can hold 2 MiB of zeros. */
#define INFLATED_TIMES 16
#define INFLATED_MIN (UINT64_C(1) << 40)

struct compressed_entry {
    uint64_t entry;
    uint64_t table;             /* host offset of its L2 table */
    uint64_t guest;             /* number of the guest cluster */
    uint32_t snapshot;
    uint32_t active;            /* an active table has it */
};

struct deep {
    struct compressed_entry *entries;
    size_t n, capacity;
    uint64_t low, high;         /* host offsets that this walk collects */
    struct inflater *inflater;
    uint8_t *in;
    uint64_t end;               /* up to here data is surely taken */
    uint64_t announced;
    uint64_t scanned;           /* bytes read */
    uint64_t inflated, inflate_limit;   /* bytes */
    uint64_t last_entry;        /* the one that was inflated last; 0 none */
    bool last_active;
};

static uint64_t place_of(const struct qcow2_check *ctx, const struct compressed_entry *entry)
{
    return qcow2_compressed(ctx->qcow2, entry->entry).offset;
}

/* ---- collecting --------------------------------------------------------------------------- */

static int compare_entries(const void *a, const void *b, void *userdata)
{
    const struct qcow2_check *ctx = userdata;
    const struct compressed_entry *left = a, *right = b;
    uint64_t left_at = place_of(ctx, left), right_at = place_of(ctx, right);

    if (left_at != right_at)
        return left_at < right_at ? -1 : 1;
    if (left->entry != right->entry)
        return left->entry < right->entry ? -1 : 1;
    if (left->active != right->active)
        return left->active ? -1 : 1;
    return left->guest < right->guest ? -1 : left->guest > right->guest;
}

static void entries_sort(struct qcow2_check *ctx)
{
    struct deep *deep = ctx->deep;

    qsort_r(deep->entries, deep->n, sizeof(*deep->entries), compare_entries, ctx);
}

/* Leaves the upper half to another walk. Entries of one place stay together: how many of them there
 * are must not depend on the memory. */
static int entries_shrink(struct qcow2_check *ctx)
{
    struct deep *deep = ctx->deep;
    size_t keep = deep->n / 2;
    uint64_t middle;

    entries_sort(ctx);
    middle = place_of(ctx, &deep->entries[keep]);
    while (keep > 0 && place_of(ctx, &deep->entries[keep - 1]) == middle)
        keep--;
    if (keep == 0) {
        while (keep < deep->n && place_of(ctx, &deep->entries[keep]) == middle)
            keep++;
        if (keep == deep->n)
            return qcow2_beyond_limit(ctx, "compressed clusters overlap each other beyond reason",
                                      deep->n, deep->capacity);
        middle = place_of(ctx, &deep->entries[keep]);
    }
    deep->n = keep;
    deep->high = middle;
    return 0;
}

static int entry_add(struct qcow2_check *ctx, const struct l2_item *item, uint32_t index,
                     uint64_t value)
{
    struct deep *deep = ctx->deep;
    uint64_t at = qcow2_compressed(ctx->qcow2, value).offset;

    if (at < deep->low || at >= deep->high)
        return 0;
    if (deep->n == deep->capacity) {
        int r = entries_shrink(ctx);

        if (r < 0 || at >= deep->high)
            return r;
    }
    deep->entries[deep->n++] = (struct compressed_entry) {
        .entry = value & ~ENTRY_COPIED,
        .table = item->offset,
        .guest = ((uint64_t)item->l1_index << ctx->qcow2->l2_bits) + index,
        .snapshot = item->snapshot,
        .active = item->active > 0,
    };
    return 0;
}

static int collect_table(struct qcow2_check *ctx, const struct l2_item *item, const uint8_t *table)
{
    struct l2_run run;

    for (uint32_t index = 0;; index = run.index + run.length) {
        int r;

        run = l2_run_next(ctx->qcow2, ctx->wide, table, index);
        if (run.kind == L2_RUN_END)
            return 0;
        r = run.kind == L2_RUN_COMPRESSED ? entry_add(ctx, item, run.index, run.entry) : 0;
        if (r < 0)
            return r;
    }
}

static int any_l1_entry(struct qcow2_check *ctx, uint64_t l1_offset, uint32_t index,
                        uint32_t snapshot, uint64_t entry, bool *collect)
{
    *collect = (entry & L1_OFFSET_MASK) != 0;
    return 0;
}

static int collect(struct qcow2_check *ctx)
{
    const struct qca_image_info *info = &ctx->image->info;
    int r;

    ctx->l1_scanned = ctx->l2_scanned = 0;
    ctx->n_items = 0;
    r = qcow2_l1_walk(ctx, info->l1_offset, info->l1_entries, QCA_ACTIVE, any_l1_entry,
                      collect_table);
    for (uint32_t i = 0; r == 0 && i < info->n_snapshots; i++)
        if (qcow2_snapshot_l1_valid(ctx, i))
            r = qcow2_l1_walk(ctx, info->snapshots[i].l1_offset, info->snapshots[i].l1_entries, i,
                              any_l1_entry, collect_table);
    return r == 0 ? qcow2_items_flush(ctx, collect_table) : r;
}

/* ---- inflating ---------------------------------------------------------------------------- */

static int report(struct qcow2_check *ctx, enum qca_issue_kind kind,
                  const struct compressed_entry *entry)
{
    struct qcow2_compressed place = qcow2_compressed(ctx->qcow2, entry->entry);
    struct qca_issue issue = check_issue_new(kind, QCA_TABLE_L2);
    unsigned l2_bits = ctx->qcow2->l2_bits;
    struct l2_item item = { .l1_index = entry->guest >> l2_bits };

    issue.snapshot = entry->snapshot;
    issue.table_offset = entry->table;
    issue.index = entry->guest & ((UINT64_C(1) << l2_bits) - 1);
    issue.host_offset = place.offset;
    issue.host_length = place.size;
    qcow2_guest_range(ctx, &item, issue.index, 1, &issue);
    return check_issue(ctx->check, &issue);
}

static void announce(struct qcow2_check *ctx, uint64_t offset)
{
    struct deep *deep = ctx->deep;

    if (deep->announced > offset + AHEAD / 2)
        return;
    io_will_need(ctx->image->io, max_u64(offset, deep->announced), AHEAD);
    deep->announced = max_u64(offset, deep->announced) + AHEAD;
}

static int inflate_entry(struct qcow2_check *ctx, const struct compressed_entry *entry)
{
    struct deep *deep = ctx->deep;
    struct qcow2_compressed place = qcow2_compressed(ctx->qcow2, entry->entry);
    uint64_t used = 0;
    bool good;
    int r;

    if (entry->entry == deep->last_entry) {
        /* A snapshot has it too, or it is mapped twice. */
        return deep->last_active && entry->active ? report(ctx, QCA_ISSUE_COMPRESSED_OVERLAP, entry)
                                                  : 0;
    }
    deep->last_entry = entry->entry;
    deep->last_active = entry->active;
    if (place.offset < deep->end)
        return report(ctx, QCA_ISSUE_COMPRESSED_OVERLAP, entry);

    /* Data that does not inflate takes no room; the next cluster may begin one byte further on. */
    deep->scanned += place.size;
    if (deep->scanned > qcow2_scan_bound(ctx->image, SCANNED_TIMES))
        return qcow2_beyond_limit(ctx, "compressed clusters overlap each other beyond reason",
                                  deep->scanned, qcow2_scan_bound(ctx->image, SCANNED_TIMES));
    deep->inflated += qcow2_cluster_size(ctx->qcow2);
    if (deep->inflated > deep->inflate_limit)
        return qcow2_beyond_limit(
            ctx, "compressed clusters inflate to more than is looked at: the others may be bad",
            deep->inflated, deep->inflate_limit);
    announce(ctx, place.offset);
    r = qcow2_read(ctx->image, place.offset, deep->in, place.size);
    if (r < 0)
        return qcow2_read_failed(ctx, r, QCA_TABLE_DATA, place.offset);
    good = inflater_run(deep->inflater, deep->in, place.size, &used);
    /* Damaged data may have run on into its neighbour: only up to the last sector is it certain. */
    if (!good)
        used = min_u64(used, place.size > 511 ? place.size - 511 : 1);
    deep->end = place.offset + used;
    r = check_advance(ctx->check, place.size + qcow2_cluster_size(ctx->qcow2));
    if (r < 0 || good)
        return r;
    return report(ctx, QCA_ISSUE_COMPRESSED_BAD, entry);
}

static int walks(struct qcow2_check *ctx)
{
    struct deep *deep = ctx->deep;

    for (unsigned i = 0; i < MAX_WALKS; i++) {
        int r;

        deep->n = 0;
        deep->high = UINT64_MAX;
        r = collect(ctx);
        if (r < 0)
            return r;
        entries_sort(ctx);
        for (size_t k = 0; k < deep->n; k++) {
            r = inflate_entry(ctx, &deep->entries[k]);
            if (r < 0)
                return r;
        }
        if (deep->high == UINT64_MAX)
            return 0;
        deep->low = deep->high;
    }
    return qcow2_out_of_memory(ctx);
}

int qcow2_inflate_all(struct qcow2_check *ctx)
{
    uint64_t cluster_size = qcow2_cluster_size(ctx->qcow2);
    uint64_t compressed_max = 2 * cluster_size + 512, room;
    struct deep deep = { .inflate_limit = ctx->check->options.inflate_limit };
    int r;

    if (deep.inflate_limit == 0)
        deep.inflate_limit = max_u64(qcow2_scan_bound(ctx->image, INFLATED_TIMES), INFLATED_MIN);
    ctx->check->work_total += ctx->check->result->compressed_clusters * cluster_size;

    /* The counts are not needed any more: their memory is. */
    room = ctx->memory_left > 2 * compressed_max ? ctx->memory_left - 2 * compressed_max : 0;
    /* qsort_r() takes as much again as it sorts. */
    deep.capacity = min_u64(room / 2 / sizeof(*deep.entries), MAX_ENTRIES);
    if (deep.capacity < MIN_ENTRIES)
        return qcow2_out_of_memory(ctx);
    /* Tables that do not overlap hold no more than this; for others there are walks. */
    deep.capacity = min_u64(deep.capacity, max_u64(ctx->image->info.file_size / 8, MIN_ENTRIES));
    deep.entries = malloc(deep.capacity * sizeof(*deep.entries));
    deep.in = malloc(compressed_max);
    r = !deep.entries || !deep.in
            ? -ENOMEM
            : inflater_new(ctx->image->info.compression_type, cluster_size, &deep.inflater);
    if (r < 0)
        r = qcow2_out_of_memory(ctx);
    else {
        ctx->deep = &deep;
        r = walks(ctx);
        ctx->deep = NULL;
    }
    inflater_free(deep.inflater);
    free(deep.in);
    free(deep.entries);
    return r;
}
