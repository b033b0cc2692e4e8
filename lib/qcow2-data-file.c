/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Entries of an image with an external data file: where the guest's clusters lie in it. */
#include "qcow2-check.h"

#include "l2-runs.h"

int qcow2_data_file_begin(struct qcow2_check *ctx)
{
    uint64_t size = ctx->check->options.data_file_size;
    uint64_t clusters = div_round_up(size, qcow2_cluster_size(ctx->qcow2));
    int r;

    if (!ctx->qcow2->has_data_file || clusters == 0)
        return 0;
    /* What does not fit is not looked at: the map then gives up its upper part. */
    r = count_map_init(&ctx->data_file_map, clusters, UINT64_MAX, ctx->memory_left / 4);
    if (r < 0)
        return qcow2_out_of_memory(ctx);
    ctx->memory_left -= ctx->memory_left / 4;
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

int qcow2_data_file_entry(struct qcow2_check *ctx, const struct l2_item *item, uint32_t index,
                          uint64_t offset)
{
    unsigned bits = ctx->qcow2->cluster_bits;
    uint64_t guest = (((uint64_t)item->l1_index << ctx->qcow2->l2_bits) + index) << bits;
    uint64_t size = ctx->check->options.data_file_size, cluster = offset >> bits;
    bool raw = ctx->image->info.autoclear_features & QCA_AUTOCLEAR_DATA_FILE_RAW;
    int r = 0;

    if (!ctx->first_pass || item->active == 0)
        return 0;
    if (raw && offset != guest)
        r = report(ctx, QCA_ISSUE_DATA_FILE_OFFSET, item, index, offset);
    if (r < 0 || !ctx->check->options.data_file_known)
        return r;
    if (offset >= size)
        return report(ctx, QCA_ISSUE_DATA_FILE_END, item, index, offset);
    if (!count_covers(&ctx->data_file_map, cluster))
        return 0;
    if (count_get(&ctx->data_file_map, cluster) > 0)
        return report(ctx, QCA_ISSUE_DATA_FILE_SHARED, item, index, offset);
    r = count_add(&ctx->data_file_map, cluster, 1, item->active, 0);
    return r < 0 ? qcow2_out_of_memory(ctx) : 0;
}
