/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Beyond the end: refcounts of clusters that the file does not have, and data behind the last
 * cluster in use. */
#include "qcow2-check.h"

#include "refcount.h"

/* So much behind the last cluster is looked at: free clusters may be many, and hold what they
 * will. */
#define BEHIND_END_MAX (UINT64_C(1) << 20)

/* Refcounts above 0 of the block number index, of clusters beyond the file. */
static int report_block(struct qcow2_check *ctx, uint64_t index, const uint8_t *block)
{
    unsigned order = ctx->qcow2->refcount_order, bits = ctx->qcow2->refblock_bits;
    uint64_t first = index << bits, n = 0;
    uint64_t start = ctx->n_clusters > first ? ctx->n_clusters - first : 0;
    struct qca_issue issue = check_issue_new(QCA_ISSUE_REFCOUNT_BEYOND_END,
                                             QCA_TABLE_REFCOUNT_BLOCK);

    if (!qcow2_any_set(block + ((start << order) / 8),
                       qcow2_cluster_size(ctx->qcow2) - ((start << order) / 8)))
        return 0;
    for (uint64_t i = start; i < UINT64_C(1) << bits; i++) {
        uint64_t stored = refcount_get(block, order, i);

        if (stored == 0)
            continue;
        if (n++ == 0) {
            qcow2_issue_at_refcount(ctx, first + i, &issue);
            issue.stored = stored;
        }
        issue.host_length = ((first + i + 1) << ctx->qcow2->cluster_bits) - issue.host_offset;
    }
    if (n == 0)
        return 0;
    issue.count = n;
    return check_issue(ctx->check, &issue);
}

/* Blocks are no larger than the file together, unless many entries name the same one. */
static int report_refcounts(struct qcow2_check *ctx)
{
    uint64_t index = ctx->n_clusters >> ctx->qcow2->refblock_bits, read = 0, last = 0;
    uint64_t file_size = ctx->image->info.file_size, cluster_size = qcow2_cluster_size(ctx->qcow2);

    for (; index < ctx->n_reftable && read <= file_size; index++) {
        uint64_t offset = ctx->reftable[index] & REFTABLE_OFFSET_MASK;
        const uint8_t *block;
        int r;

        if (offset == 0 || offset >= file_size || offset == last ||
            !qcow2_refcount_readable(ctx, index << ctx->qcow2->refblock_bits))
            continue;
        last = offset;
        read += cluster_size;
        r = qcow2_refblock(ctx, index, &block);
        if (r < 0 || !block)
            continue;           /* the comparison has no business there, and neither have we */
        r = report_block(ctx, index, block);
        if (r == 0)
            r = check_advance(ctx->check, cluster_size);
        if (r < 0)
            return r;
    }
    return 0;
}

static int report_data(struct qcow2_check *ctx)
{
    uint64_t file_size = ctx->image->info.file_size, at;
    uint64_t end = (ctx->highest + 1) << ctx->qcow2->cluster_bits;
    struct qca_issue issue = check_issue_new(QCA_ISSUE_DATA_BEHIND_END, QCA_TABLE_DATA);
    int r;

    if (end >= file_size || ctx->check->options.on_device)
        return 0;
    r = qcow2_find_set(ctx, end, min_u64(file_size, end + BEHIND_END_MAX), &at);
    if (r == 0 && file_size - end > BEHIND_END_MAX)
        r = qcow2_find_set(ctx, max_u64(end + BEHIND_END_MAX, file_size - BEHIND_END_MAX / 16),
                           file_size, &at);
    if (r < 0)
        return qcow2_read_failed(ctx, r, QCA_TABLE_DATA, end);
    if (r == 0)
        return 0;
    issue.host_offset = end;
    issue.host_length = file_size - end;
    return check_issue(ctx->check, &issue);
}

int qcow2_report_ends(struct qcow2_check *ctx)
{
    int r = report_refcounts(ctx);

    return r < 0 ? r : report_data(ctx);
}
