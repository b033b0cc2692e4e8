/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Oddities of L2 tables and their entries that `qemu-img check` says nothing about. */
#include "qcow2-check.h"

#include "io.h"
#include "l2-runs.h"

/* Flags in tables of snapshots are looked at for so many clusters: each takes a look at a stored
 * refcount. */
#define INACTIVE_FLAGS_MAX (UINT64_C(1) << 17)

static struct qca_issue entry_issue(const struct qcow2_check *ctx, const struct l2_item *item,
                                    enum qca_issue_kind kind, uint32_t index)
{
    struct qca_issue issue = check_issue_new(kind, QCA_TABLE_L2);

    issue.snapshot = item->snapshot;
    issue.table_offset = item->offset;
    issue.index = index;
    qcow2_guest_range(ctx, item, index, 1, &issue);
    return issue;
}

int qcow2_entry_oddities(struct qcow2_check *ctx, const struct l2_item *item,
                         const struct l2_run *run)
{
    uint64_t offset = run->entry & L2_OFFSET_MASK;
    struct qca_issue issue = entry_issue(ctx, item, QCA_ISSUE_L2_ZERO_IN_EXTENDED, run->index);
    int r = 0;

    if (offset) {
        issue.host_offset = offset;
        issue.host_length = qcow2_cluster_size(ctx->qcow2);
    }
    if ((run->entry & L2_ZERO) && ctx->qcow2->extended_l2)
        r = qcow2_issue(ctx, issue);
    else if ((run->entry & L2_ZERO) && ctx->image->info.version < 3) {
        issue.kind = QCA_ISSUE_L2_ZERO_IN_V2;
        r = qcow2_issue(ctx, issue);
    }
    if (r < 0 || offset || !(run->entry & ENTRY_COPIED) || ctx->qcow2->has_data_file)
        return r;
    issue.kind = QCA_ISSUE_COPIED_WITHOUT_OFFSET;
    return qcow2_issue(ctx, issue);
}

/* ---- beyond the disk ---------------------------------------------------------------------- */

/* The first guest cluster that nothing may be mapped to. VM states lie behind the disk, from the
 * next L1 entry on; a state that was loaded stays mapped in the active tables. */
static void beyond_disk(const struct qcow2_check *ctx, uint64_t *ret_first, uint64_t *ret_end)
{
    const struct qca_image_info *info = &ctx->image->info;
    unsigned l2_bits = ctx->qcow2->l2_bits;

    *ret_first = div_round_up(info->virtual_size, qcow2_cluster_size(ctx->qcow2));
    *ret_end = ctx->qcow2->any_vm_state ? round_up(*ret_first, UINT64_C(1) << l2_bits) : UINT64_MAX;
}

/* One issue for all that a table maps beyond the disk. */
static int report_beyond_disk(struct qcow2_check *ctx, const struct l2_item *item,
                              const uint8_t *table)
{
    uint64_t table_first = (uint64_t)item->l1_index << ctx->qcow2->l2_bits, first, end, n = 0;
    struct qca_issue issue = entry_issue(ctx, item, QCA_ISSUE_MAPPING_BEYOND_DISK, 0);
    struct l2_run run;

    issue.guest_offset = QCA_NO_OFFSET;     /* no guest sees it */
    issue.guest_length = 0;
    beyond_disk(ctx, &first, &end);
    if (table_first + (UINT64_C(1) << ctx->qcow2->l2_bits) <= first || table_first >= end)
        return 0;
    for (uint32_t index = first > table_first ? first - table_first : 0;;
         index = run.index + run.length) {
        run = l2_run_next(ctx->qcow2, ctx->wide, table, index);
        if (run.kind == L2_RUN_END)
            break;
        if (run.kind == L2_RUN_UNALLOCATED)
            continue;
        if (n == 0) {
            issue.index = run.index;
            issue.host_offset = run.kind == L2_RUN_COMPRESSED
                                    ? qcow2_compressed(ctx->qcow2, run.entry).offset
                                    : run.entry & L2_OFFSET_MASK;
        }
        n += run.length;
    }
    if (n == 0)
        return 0;
    issue.host_length = n << ctx->qcow2->cluster_bits;
    issue.count = n;
    return qcow2_issue(ctx, issue);
}

/* ---- tables of snapshots ------------------------------------------------------------------ */

/* COPIED in a table that only snapshots use: it is never accurate there, and right when the
 * snapshot was made; set though the cluster is shared, it would let a guest write what others
 * use. */
static int report_inactive_copied(struct qcow2_check *ctx, const struct l2_item *item,
                                  const uint8_t *table)
{
    unsigned bits = ctx->qcow2->cluster_bits;
    struct l2_run run;
    int r;

    for (uint32_t index = 0;; index = run.index + run.length) {
        run = l2_run_next(ctx->qcow2, ctx->wide, table, index);
        if (run.kind == L2_RUN_END)
            return 0;
        if (!(run.entry & ENTRY_COPIED) ||
            (run.kind != L2_RUN_DATA && run.kind != L2_RUN_ALLOCATED))
            continue;
        for (uint32_t i = 0; i < run.length; i++) {
            uint64_t offset = (run.entry & L2_OFFSET_MASK) + ((uint64_t)i << bits), stored;
            struct qca_issue issue;

            if (ctx->inactive_flags++ >= INACTIVE_FLAGS_MAX)
                return 0;
            r = qcow2_refcount_stored(ctx, offset >> bits, &stored);
            if (r < 0 || stored <= 1)
                continue;
            issue = entry_issue(ctx, item, QCA_ISSUE_COPIED_WRONG_INACTIVE, run.index + i);
            issue.host_offset = offset;
            issue.host_length = qcow2_cluster_size(ctx->qcow2);
            issue.stored = stored;
            r = qcow2_issue(ctx, issue);
            if (r < 0)
                return r;
        }
    }
}

/* ---- tables that are not there ------------------------------------------------------------ */

/* A table without any entry that is not even on the disk: perhaps it was lost, perhaps only copied
 * sparsely. */
static int report_hole(struct qcow2_check *ctx, const struct l2_item *item)
{
    struct qca_issue issue = check_issue_new(QCA_ISSUE_L2_TABLE_HOLE, QCA_TABLE_L2);
    uint64_t end, size = qcow2_cluster_size(ctx->qcow2);

    if (!io_is_hole(ctx->image->io, item->offset, &end) || end - item->offset < size)
        return 0;
    issue.snapshot = item->snapshot;
    issue.table_offset = issue.host_offset = item->offset;
    issue.host_length = size;
    qcow2_guest_range(ctx, item, 0, UINT64_C(1) << ctx->qcow2->l2_bits, &issue);
    return qcow2_issue(ctx, issue);
}

int qcow2_table_oddities(struct qcow2_check *ctx, const struct l2_item *item, const uint8_t *table)
{
    uint64_t table_end = ((uint64_t)item->l1_index + 1) << ctx->qcow2->l2_bits;
    uint32_t words = qcow2_cluster_size(ctx->qcow2) / 8;
    int r = 0;

    if (!ctx->first_pass)
        return 0;
    if (ctx->wide->count_zero(table, words) == words)
        return report_hole(ctx, item);
    if (item->active == 0)
        return ctx->qcow2->has_data_file ? 0 : report_inactive_copied(ctx, item, table);
    if (table_end << ctx->qcow2->cluster_bits > ctx->image->info.virtual_size)
        r = report_beyond_disk(ctx, item, table);
    return r;
}

int qcow2_report_cut(struct qcow2_check *ctx, struct qca_issue issue)
{
    uint64_t size = qcow2_cluster_size(ctx->qcow2);
    uint64_t missing = size - (ctx->image->info.file_size & (size - 1));

    issue.kind = QCA_ISSUE_LAST_CLUSTER_CUT;
    issue.host_offset = ctx->cut_cluster << ctx->qcow2->cluster_bits;
    issue.host_length = size;
    issue.count = 1;
    if (issue.guest_offset != QCA_NO_OFFSET && issue.guest_length == size) {
        issue.guest_offset += size - missing;
        issue.guest_length = missing;
    }
    return qcow2_issue(ctx, issue);
}
