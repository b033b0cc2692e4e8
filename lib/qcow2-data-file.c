/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Entries of an image with an external data file: where the guest's clusters lie in it. */
#include "qcow2-check.h"

#include "l2-runs.h"

enum {
    PAGE_BYTES = COUNT_PAGE_WORDS * 8,
    MAX_WALKS = 4096,
};

/* Sees what lies from cluster low on, as much as there is memory for. No more than bits is ever
 * counted, so that it never gives any of that up in the middle: what was seen and told by then,
 * would be told again. */
static void window(struct qcow2_check *ctx, uint64_t low)
{
    struct count_map *map = &ctx->data_file_map;
    uint64_t pages = map->memory_limit / PAGE_BYTES;

    count_map_begin(map, low);
    if (pages < (map->n_clusters - low) >> COUNT_PAGE_BITS)
        map->high = low + (pages << COUNT_PAGE_BITS);
}

int qcow2_data_file_begin(struct qcow2_check *ctx)
{
    uint64_t size = ctx->check->options.data_file_size;
    uint64_t clusters = div_round_up(size, qcow2_cluster_size(ctx->qcow2));
    int r;

    if (!ctx->qcow2->has_data_file || clusters == 0)
        return 0;
    /* Entries that do not fit are looked at later: qcow2_data_file_rest(). */
    r = count_map_init(&ctx->data_file_map, clusters, 1, ctx->memory_left / 4);
    if (r < 0 || ctx->data_file_map.memory_limit < PAGE_BYTES)
        return qcow2_out_of_memory(ctx);
    ctx->memory_left -= ctx->memory_left / 4;
    window(ctx, 0);
    return 0;
}

static int report(struct qcow2_check *ctx, enum qca_issue_kind kind, const struct l2_item *item,
                  uint32_t index, uint64_t offset)
{
    struct qca_issue issue = check_issue_new(kind, QCA_TABLE_L2);

    issue.table_offset = item->offset;
    issue.index = index;
    issue.host_offset = offset;         /* in the data file */
    issue.host_length = qcow2_cluster_size(ctx->qcow2);
    qcow2_guest_range(ctx, item, index, 1, &issue);
    return check_issue(ctx->check, &issue);
}

/* One entry of the active tables that lies within the data file. */
static int see(struct qcow2_check *ctx, const struct l2_item *item, uint32_t index, uint64_t offset)
{
    uint64_t cluster = offset >> ctx->qcow2->cluster_bits;
    int r;

    if (!count_covers(&ctx->data_file_map, cluster))
        return 0;
    if (count_get(&ctx->data_file_map, cluster) > 0)
        return report(ctx, QCA_ISSUE_DATA_FILE_SHARED, item, index, offset);
    r = count_add(&ctx->data_file_map, cluster, 1, 1, 0);
    return r < 0 ? qcow2_out_of_memory(ctx) : 0;
}

int qcow2_data_file_entry(struct qcow2_check *ctx, const struct l2_item *item, uint32_t index,
                          uint64_t offset)
{
    unsigned bits = ctx->qcow2->cluster_bits;
    uint64_t guest = (((uint64_t)item->l1_index << ctx->qcow2->l2_bits) + index) << bits;
    bool raw = ctx->image->info.autoclear_features & QCA_AUTOCLEAR_DATA_FILE_RAW;
    int r = 0;

    if (!ctx->first_pass || item->active == 0)
        return 0;
    if (raw && offset != guest)
        r = report(ctx, QCA_ISSUE_DATA_FILE_OFFSET, item, index, offset);
    if (r < 0 || !ctx->check->options.data_file_known)
        return r;
    if (offset >= ctx->check->options.data_file_size)
        return report(ctx, QCA_ISSUE_DATA_FILE_END, item, index, offset);
    return see(ctx, item, index, offset);
}

/* ---- what the first walk had no memory for -------------------------------------------------- */

static int see_l1_entry(struct qcow2_check *ctx, uint64_t l1_offset, uint32_t index,
                        uint32_t snapshot, uint64_t entry, bool *collect)
{
    return 0;
}

static int see_table(struct qcow2_check *ctx, const struct l2_item *item, const uint8_t *table)
{
    unsigned bits = ctx->qcow2->cluster_bits;

    for (uint32_t index = 0;;) {
        struct l2_run run = l2_run_next(ctx->qcow2, ctx->wide, table, index);
        uint64_t offset = run.entry & L2_OFFSET_MASK;
        int r = 0;

        if (run.kind == L2_RUN_END)
            return 0;
        for (uint32_t i = 0; r == 0 && i < run.length; i++, offset += UINT64_C(1) << bits)
            if ((run.kind == L2_RUN_DATA || run.kind == L2_RUN_ALLOCATED) &&
                offset < ctx->check->options.data_file_size)
                r = see(ctx, item, run.index + i, offset);
        if (r < 0)
            return r;
        index = run.index + run.length;
    }
}

int qcow2_data_file_rest(struct qcow2_check *ctx)
{
    const struct qca_image_info *info = &ctx->image->info;
    const struct count_map *map = &ctx->data_file_map;

    for (unsigned i = 0; map->high < map->n_clusters; i++) {
        int r;

        if (i == MAX_WALKS)
            return qcow2_out_of_memory(ctx);
        window(ctx, map->high);
        ctx->l1_scanned = ctx->l2_scanned = 0;
        ctx->n_items = 0;
        r = qcow2_l1_walk(ctx, info->l1_offset, info->l1_entries, QCA_ACTIVE, see_l1_entry,
                          see_table);
        if (r == 0)
            r = qcow2_items_flush(ctx, see_table);
        if (r < 0)
            return r;
    }
    return 0;
}
