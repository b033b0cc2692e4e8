/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Allocated clusters that are holes of the host's file: preallocation makes them, a sparse copy of
 * zeros, or the loss of data. */
#include "qcow2-check.h"

#include "io.h"

/* So many holes are looked at: a file may have one beside each block. */
enum { HOLES_MAX = 1 << 20 };

static int report_hole(struct qcow2_check *ctx, uint64_t start, uint64_t end)
{
    unsigned bits = ctx->qcow2->cluster_bits;
    uint64_t first = round_up(start, qcow2_cluster_size(ctx->qcow2)) >> bits, last = end >> bits;
    struct qca_issue issue = check_issue_new(QCA_ISSUE_DATA_HOLE, QCA_TABLE_DATA);
    uint64_t n = 0, next;

    first = max_u64(first, ctx->map.low);
    last = min_u64(last, min_u64(ctx->map.high, ctx->n_clusters));
    for (uint64_t cluster = first; cluster < last; cluster = next) {
        const struct count_page *page = count_page_of(&ctx->map, cluster);

        next = min_u64(last, (cluster | (COUNT_PAGE_CLUSTERS - 1)) + 1);
        for (uint64_t i = cluster; page->data && i < next; i++) {
            if (count_at(page->data, page->level, i & (COUNT_PAGE_CLUSTERS - 1)) == 0)
                continue;
            if (n++ == 0)
                issue.host_offset = i << bits;
            issue.host_length = ((i + 1) << bits) - issue.host_offset;
        }
    }
    if (n == 0)
        return 0;
    issue.count = n;
    return check_issue(ctx->check, &issue);
}

int qcow2_find_holes(struct qcow2_check *ctx)
{
    uint64_t size = ctx->image->info.file_size, end;
    unsigned bits = ctx->qcow2->cluster_bits;
    int r = 0;

    size = min_u64(size, min_u64(ctx->map.high, ctx->n_clusters) << bits);
    for (uint64_t at = ctx->map.low << bits, n = 0; r == 0 && at < size && n < HOLES_MAX;
         at = end, n++) {
        if (io_is_hole(ctx->image->io, at, &end))
            r = report_hole(ctx, at, end);
        if (r == 0)
            r = check_advance(ctx->check, 0);
    }
    return r;
}
