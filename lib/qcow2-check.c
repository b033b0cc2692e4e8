/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks a qcow2 image: the same eight figures as `qemu-img check`, with the issues behind them.
 *
 * The order is QEMU's: header, active tables, snapshots' tables, snapshot table, refcount table,
 * encryption header, bitmaps, refcount blocks, comparison per cluster, COPIED flags, incomplete
 * snapshot entries. */
#include "qcow2-check.h"

#include <inttypes.h>
#include <stdio.h>

#include "error.h"

enum {
    MAX_PASSES = 4096,
    MIN_ITEMS = 4096,           /* L2 tables that are collected at a time, at least and at most */
    MAX_ITEMS = 4 << 20,
};

#define MEMORY_MIN (UINT64_C(512) << 10)        /* what the counting map needs to widen one page */

int qcow2_issue(struct qcow2_check *ctx, struct qca_issue issue)
{
    return ctx->first_pass ? check_issue(ctx->check, &issue) : 0;
}

int qcow2_out_of_memory(struct qcow2_check *ctx)
{
    struct qca_error error;
    int r = error_set(&error, ENOMEM, QCA_ERROR_MEMORY,
                      (struct error_field) { .bound = ctx->check->options.memory_limit },
                      "the check needs more than %" PRIu64 " bytes of memory",
                      ctx->check->options.memory_limit);

    return check_unfinished(ctx->check, r, &error);
}

int qcow2_beyond_limit(struct qcow2_check *ctx, const char *what, uint64_t value, uint64_t bound)
{
    struct qca_error error;
    int r = error_set(&error, EFBIG, QCA_ERROR_LIMIT,
                      (struct error_field){ .value = value, .bound = bound }, "%s", what);

    return check_unfinished(ctx->check, r, &error);
}

int qcow2_read_failed(struct qcow2_check *ctx, int r, enum qca_table table, uint64_t offset)
{
    struct qca_issue issue = check_issue_new(QCA_ISSUE_READ_FAILED, table);
    char what[64];
    struct qca_error error;

    /* The table's place says whether the disk is to blame, or the pointer to the table. */
    issue.table_offset = issue.host_offset = offset;
    snprintf(what, sizeof(what), "a table (%s)", qca_table_name(table));
    error_set_read(&error, r, offset, what);
    if (check_issue(ctx->check, &issue) < 0)
        return qcow2_out_of_memory(ctx);
    return check_unfinished(ctx->check, r, &error);
}

/* A reference that ends less than a cluster past the end of the file is in order: the last
 * cluster may be cut. */
static bool out_of_file(const struct qcow2_check *ctx, uint64_t offset, uint64_t size)
{
    return (int64_t)(offset + size - ctx->file_length) >= (int64_t)qcow2_cluster_size(ctx->qcow2);
}

void qcow2_flag_uncounted(struct qcow2_check *ctx, uint64_t cluster, unsigned flags)
{
    if (flags && cluster >= ctx->n_file_clusters)
        ctx->outside_copied = true;
    /* The first cluster behind the file may yet turn out to be referenced in part. */
    if (flags && cluster <= ctx->n_file_clusters && count_covers(&ctx->map, cluster))
        count_page_of(&ctx->map, cluster)->flags |= flags | COUNT_VERIFY;
}

static int reference_outside(struct qcow2_check *ctx, uint64_t cluster, unsigned flags,
                             const struct qca_issue *issue)
{
    struct qca_issue outside = *issue;

    qcow2_flag_uncounted(ctx, cluster, flags);
    outside.kind = QCA_ISSUE_OUT_OF_FILE;
    return qcow2_issue(ctx, outside);
}

int qcow2_reference(struct qcow2_check *ctx, uint64_t offset, uint64_t size, uint64_t weight,
                    unsigned flags, const struct qca_issue *issue)
{
    unsigned bits = ctx->qcow2->cluster_bits;
    uint64_t first = offset >> bits, last;
    int r;

    if ((int64_t)size <= 0)
        return 0;
    if (out_of_file(ctx, offset, size))
        return reference_outside(ctx, first, flags, issue);
    last = (offset + size - 1) >> bits;
    if (first > last)
        return 0; /* wraps around the end of all offsets: QEMU's loop ends before it begins */
    if (last > ctx->n_file_clusters)
        return qcow2_read_failed(ctx, -EFBIG, issue->table, offset);    /* offsets beyond 2^63 */
    if (last == ctx->n_file_clusters)
        ctx->n_clusters = ctx->n_file_clusters + 1;
    r = count_add(&ctx->map, first, 1, weight, flags);
    if (r == 0 && last > first)
        r = count_add(&ctx->map, first + 1, last - first, weight, 0);
    return r < 0 ? qcow2_out_of_memory(ctx) : 0;
}

static int count_area(struct qcow2_check *ctx, enum qca_table table, uint64_t offset, uint64_t size)
{
    struct qca_issue issue = check_issue_new(QCA_ISSUE_OUT_OF_FILE, table);

    issue.table_offset = issue.host_offset = offset;
    issue.host_length = size;
    return qcow2_reference(ctx, offset, size, 1, 0, &issue);
}

static int bitmaps_invalid(struct qcow2_check *ctx, int r, const struct qca_error *error)
{
    struct qca_issue issue = check_issue_new(QCA_ISSUE_BITMAPS_INVALID, QCA_TABLE_BITMAP_DIRECTORY);

    issue.table_offset = ctx->qcow2->bitmap_directory_offset;
    if (error->offset)
        issue.host_offset = error->offset;
    if (check_issue(ctx->check, &issue) < 0)
        return qcow2_out_of_memory(ctx);
    return check_unfinished(ctx->check, r, error);
}

static int count_bitmap_table(struct qcow2_check *ctx, size_t number)
{
    const struct qca_bitmap *bitmap = &ctx->image->info.bitmaps[number];
    uint32_t n_entries = qcow2_bitmap_entries_inside(ctx->image, bitmap);
    uint64_t entries[512];
    struct qca_error error;
    int r;

    r = count_area(ctx, QCA_TABLE_BITMAP, bitmap->table_offset,
                   UINT64_C(8) * bitmap->table_entries);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < n_entries; i += ELEMENTSOF(entries)) {
        size_t n = min_u64(ELEMENTSOF(entries), n_entries - i);
        uint64_t offset = bitmap->table_offset + UINT64_C(8) * i;

        r = qcow2_read(ctx->image, offset, entries, 8 * n);
        if (r < 0) {
            error_set_read(&error, r, offset, "a bitmap table");
            return bitmaps_invalid(ctx, r, &error);
        }
        for (size_t k = 0; k < n; k++) {
            uint64_t entry = be64_get(&entries[k]), host = entry & BITMAP_ENTRY_OFFSET_MASK;
            struct qca_issue issue = check_issue_new(QCA_ISSUE_OUT_OF_FILE, QCA_TABLE_BITMAP);

            if (!qcow2_bitmap_entry_valid(ctx->qcow2, entry)) {
                r = error_set(
                    &error, EINVAL, QCA_ERROR_BITMAPS,
                    (struct error_field) { "bitmap table entry", offset + 8 * k, entry, 0 },
                    "a bitmap table entry is invalid");
                return bitmaps_invalid(ctx, r, &error);
            }
            if (host == 0)
                continue;
            issue.table_offset = bitmap->table_offset;
            issue.index = i + k;
            issue.host_offset = host;
            issue.host_length = qcow2_cluster_size(ctx->qcow2);
            r = qcow2_reference(ctx, host, issue.host_length, 1, 0, &issue);
            if (r < 0)
                return r;
        }
    }
    return check_advance(ctx->check, 0);
}

static int count_bitmaps(struct qcow2_check *ctx)
{
    const struct qcow2 *qcow2 = ctx->qcow2;
    int r;

    if (qcow2->n_bitmaps == 0)
        return 0;
    if (qcow2->bitmaps_result < 0)
        return bitmaps_invalid(ctx, qcow2->bitmaps_result, &qcow2->bitmaps_error);
    r = count_area(ctx, QCA_TABLE_BITMAP_DIRECTORY, qcow2->bitmap_directory_offset,
                   qcow2->bitmap_directory_size);
    for (size_t i = 0; r == 0 && i < ctx->image->info.n_bitmaps; i++)
        r = count_bitmap_table(ctx, i);
    return r;
}

/* One pass: counts what the map covers, compares it, verifies flags. */
static int pass(struct qcow2_check *ctx)
{
    const struct qca_image_info *info = &ctx->image->info;
    int r;

    r = count_area(ctx, QCA_TABLE_HEADER, 0, info->cluster_size);
    if (r < 0)
        return r;
    r = qcow2_count_tables(ctx);
    if (r < 0)
        return r;
    r = count_area(ctx, QCA_TABLE_SNAPSHOTS, info->snapshots_offset, ctx->qcow2->snapshots_size);
    if (r < 0)
        return r;
    r = count_area(ctx, QCA_TABLE_REFCOUNT_TABLE, info->refcount_table_offset,
                   (uint64_t)info->refcount_table_clusters << ctx->qcow2->cluster_bits);
    if (r < 0)
        return r;
    r = count_area(ctx, QCA_TABLE_CRYPT, info->crypt_header_offset, info->crypt_header_length);
    if (r < 0)
        return r;
    r = count_bitmaps(ctx);
    if (r < 0)
        return r;
    r = qcow2_count_refblocks(ctx);
    if (r < 0)
        return r;
    r = qcow2_find_overlaps(ctx);
    if (r == 0 && ctx->check->options.deep)
        r = qcow2_find_holes(ctx);
    if (r < 0)
        return r;
    r = qcow2_compare(ctx);
    if (r < 0)
        return r;
    return qcow2_verify_copied(ctx);
}

static int passes(struct qcow2_check *ctx)
{
    int r;

    for (unsigned i = 0; i < MAX_PASSES; i++) {
        uint64_t low = i == 0 ? 0 : ctx->map.high;

        if (i > 0 && low >= ctx->n_clusters)
            return qcow2_leaks_flush(ctx);
        ctx->first_pass = i == 0;
        count_map_begin(&ctx->map, low);
        r = pass(ctx);
        if (r < 0)
            return r;
    }
    return qcow2_out_of_memory(ctx);
}

static int report_incomplete_snapshots(struct qcow2_check *ctx)
{
    for (size_t i = 0; i < ctx->qcow2->n_incomplete; i++) {
        struct qca_issue issue = check_issue_new(QCA_ISSUE_SNAPSHOT_INCOMPLETE,
                                                 QCA_TABLE_SNAPSHOTS);
        int r;

        issue.snapshot = ctx->qcow2->incomplete[i];
        issue.index = ctx->qcow2->incomplete[i];
        issue.table_offset = ctx->image->info.snapshots_offset;
        r = check_issue(ctx->check, &issue);
        if (r < 0)
            return r;
    }
    return 0;
}

/* An unreadable snapshot table ends the check before it begins: what is missing in it would look
 * like leaks. */
static int snapshots_invalid(struct qcow2_check *ctx)
{
    struct qca_issue issue = check_issue_new(QCA_ISSUE_SNAPSHOT_TABLE_INVALID, QCA_TABLE_SNAPSHOTS);

    issue.table_offset = ctx->image->info.snapshots_offset;
    issue.index = ctx->image->info.n_snapshots;
    if (check_issue(ctx->check, &issue) < 0)
        return qcow2_out_of_memory(ctx);
    return check_unfinished(ctx->check, ctx->qcow2->snapshots_result, &ctx->qcow2->snapshots_error);
}

/* Buffers of a fixed size first; the map gets the rest. */
static int allocate(struct qcow2_check *ctx)
{
    const struct qca_image_info *info = &ctx->image->info;
    uint64_t cluster_size = qcow2_cluster_size(ctx->qcow2), fixed, entries;
    struct qca_threads *threads = ctx->check->options.threads;
    int r;

    entries = qcow2_l1_entries_inside(ctx->image, info->l1_offset, info->l1_entries);
    for (size_t i = 0; i < info->n_snapshots; i++)
        entries += qcow2_l1_entries_inside(ctx->image, info->snapshots[i].l1_offset,
                                           info->snapshots[i].l1_entries);
    ctx->max_items = min_u64(max_u64(ctx->memory_left / 8 / sizeof(*ctx->items), MIN_ITEMS),
                             MAX_ITEMS);
    ctx->max_items = min_u64(ctx->max_items, max_u64(entries, 1));
    ctx->leaks.window_clusters = UINT64_C(1) << ctx->qcow2->l2_bits;

    if (ctx->check->options.max_issues > ctx->memory_left / sizeof(struct qca_issue))
        return qcow2_out_of_memory(ctx);
    /* qsort() takes as much again as it sorts. */
    fixed = 2 * ctx->max_items * sizeof(*ctx->items) +
            2 * table_reader_memory(ctx->image, cluster_size, threads) +
            ctx->leaks.window_clusters / 8 +
            ctx->check->options.max_issues * sizeof(struct qca_issue);
    if (fixed + MEMORY_MIN > ctx->memory_left)
        return qcow2_out_of_memory(ctx);
    ctx->memory_left -= fixed;

    ctx->leaks.window = calloc(1, ctx->leaks.window_clusters / 8);
    if (!ctx->leaks.window ||
        table_reader_init(&ctx->l2_reader, ctx->image, cluster_size, threads) < 0 ||
        table_reader_init(&ctx->refblock_reader, ctx->image, cluster_size, threads) < 0)
        return qcow2_out_of_memory(ctx);
    r = qcow2_data_file_begin(ctx);
    if (r < 0)
        return r;
    r = count_map_init(&ctx->map, ctx->n_file_clusters + 1, ctx->qcow2->refcount_max,
                       ctx->memory_left / (QCOW2_OVERLAP_SHARE + 1) * QCOW2_OVERLAP_SHARE);
    return r < 0 || ctx->map.memory_limit < MEMORY_MIN ? qcow2_out_of_memory(ctx) : 0;
}

static int check_image(struct qcow2_check *ctx)
{
    struct qca_check_result *result = ctx->check->result;
    unsigned bits = ctx->qcow2->cluster_bits;
    int r;

    r = qcow2_report_oddities(ctx);
    if (r < 0)
        return r;
    if (ctx->qcow2->snapshots_result < 0)
        return snapshots_invalid(ctx);
    result->total_clusters = div_round_up(ctx->image->info.virtual_size, UINT64_C(1) << bits);
    if (ctx->n_file_clusters > QCOW2_MAX_HOST_CLUSTERS) {
        result->check_errors++;
        return qcow2_beyond_limit(ctx, "the file has more clusters than can be counted",
                                  ctx->n_file_clusters, QCOW2_MAX_HOST_CLUSTERS);
    }
    r = qcow2_reftable_load(ctx);
    if (r < 0)
        return r;
    r = allocate(ctx);
    if (r < 0)
        return r;
    ctx->check->work_total = (ctx->n_file_clusters << ctx->qcow2->refcount_order) / 8;
    r = passes(ctx);
    if (r == 0)
        r = qcow2_data_file_rest(ctx);
    if (r < 0)
        return r;
    result->image_end_offset = (ctx->highest + 1) << bits;
    r = report_incomplete_snapshots(ctx);
    if (r < 0)
        return r;
    r = qcow2_report_ends(ctx);
    if (r < 0 || !ctx->check->options.deep || result->compressed_clusters == 0)
        return r;
    count_map_done(&ctx->map);
    return qcow2_inflate_all(ctx);
}

int qcow2_check(struct qca_image *image, struct check *check)
{
    struct qcow2_check ctx = {
        .image = image,
        .qcow2 = qcow2_of(image),
        .check = check,
        .wide = wide_best(check->options.scalar_only),
        .file_length = round_up(image->info.file_size, 512),
        .memory_left = check->options.memory_limit,
        .first_pass = true,
    };
    int r;

    ctx.n_file_clusters = div_round_up(ctx.file_length, qcow2_cluster_size(ctx.qcow2));
    ctx.n_clusters = ctx.n_file_clusters;
    ctx.cut_cluster = image->info.file_size & (qcow2_cluster_size(qcow2_of(image)) - 1)
                          ? ctx.n_file_clusters - 1
                          : UINT64_MAX;
    r = check_image(&ctx);

    count_map_done(&ctx.map);
    count_map_done(&ctx.data_file_map);
    table_reader_done(&ctx.l2_reader);
    table_reader_done(&ctx.refblock_reader);
    free(ctx.reftable);
    free(ctx.refblock_unreadable);
    free(ctx.refblock_shared);
    free(ctx.items);
    free(ctx.leaks.window);
    free(ctx.low_issues);
    return r;
}
