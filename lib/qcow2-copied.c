/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Verifies COPIED flags one by one, where the comparison of refcounts could not vouch for a whole
 * page of them, and finds the guest ranges of clusters whose refcounts are too low.
 *
 * The flag must be set exactly where the stored refcount is 1; active tables only. */
#include "qcow2-check.h"

#include "l2-runs.h"

/* The verdict on the COPIED flags of a cluster. */
enum verdict { COPIED_RIGHT, COPIED_WRONG, COPIED_UNKNOWN };

static enum verdict copied_verdict(struct qcow2_check *ctx, uint64_t cluster, bool copied)
{
    const struct count_page *page;
    uint64_t stored;

    if (cluster >= ctx->n_clusters) {
        /* Refcount blocks cover what the file does not have, too. */
        if (!ctx->first_pass)
            return COPIED_RIGHT;
        if (qcow2_refcount_stored(ctx, cluster, &stored) < 0)
            return COPIED_UNKNOWN;
    } else {
        if (!qcow2_refcount_readable(ctx, cluster))
            return COPIED_UNKNOWN;
        page = count_page_of(&ctx->map, cluster);
        if (!count_covers(&ctx->map, cluster) || !(page->flags & COUNT_VERIFY))
            return COPIED_RIGHT;
        stored = count_at(page->data, COUNT_BITS, cluster & (COUNT_PAGE_CLUSTERS - 1));
    }
    return (stored == 1) == copied ? COPIED_RIGHT : COPIED_WRONG;
}

static int report_wrong(struct qcow2_check *ctx, struct qca_issue issue, uint64_t cluster)
{
    uint64_t stored;

    issue.kind = QCA_ISSUE_COPIED_WRONG;
    if (!check_has_room(ctx->check, issue.kind))
        return check_issue_omit(ctx->check, &issue);
    if (qcow2_refcount_stored(ctx, cluster, &stored) == 0)
        issue.stored = stored;
    return check_issue(ctx->check, &issue);
}

static int verify_l1_entry(struct qcow2_check *ctx, uint64_t l1_offset, uint32_t index,
                           uint32_t snapshot, uint64_t entry, bool *collect)
{
    uint64_t l2_offset = entry & L1_OFFSET_MASK, cluster = l2_offset >> ctx->qcow2->cluster_bits;
    struct l2_item item = { .l1_index = index, .snapshot = snapshot };
    struct qca_issue issue = check_issue_new(QCA_ISSUE_COPIED_WRONG, QCA_TABLE_L1);

    *collect = l2_offset != 0;
    if (l2_offset == 0)
        return 0;
    switch (copied_verdict(ctx, cluster, entry & ENTRY_COPIED)) {
    case COPIED_UNKNOWN:
        /* QEMU passes over the whole L2 table then. */
        *collect = false;
        return 0;
    case COPIED_RIGHT:
        return 0;
    case COPIED_WRONG:
        break;
    }
    issue.table_offset = l1_offset;
    issue.index = index;
    issue.host_offset = l2_offset;
    issue.host_length = qcow2_cluster_size(ctx->qcow2);
    qcow2_guest_range(ctx, &item, 0, UINT64_C(1) << ctx->qcow2->l2_bits, &issue);
    return report_wrong(ctx, issue, cluster);
}

/* Gives the issues about low refcounts of clusters [first, first + n) the guest range of their
 * entries: each cluster its own, or (compressed) all the same. */
static void locate(struct qcow2_check *ctx, const struct l2_item *item, uint32_t index,
                   uint64_t first, uint64_t n, bool compressed)
{
    struct qca_check_result *result = ctx->check->result;
    unsigned bits = ctx->qcow2->cluster_bits;
    size_t low = 0, high = ctx->n_low_issues;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (result->issues[ctx->low_issues[middle]].host_offset >> bits < first)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < ctx->n_low_issues; low++) {
        struct qca_issue *issue = &result->issues[ctx->low_issues[low]];
        uint64_t cluster = issue->host_offset >> bits;

        if (cluster >= first + n)
            return;
        if (issue->guest_offset == QCA_NO_OFFSET)
            qcow2_guest_range(ctx, item, index + (compressed ? 0 : cluster - first), 1, issue);
    }
}

static void locate_compressed(struct qcow2_check *ctx, const struct l2_item *item,
                              const struct l2_run *run)
{
    struct qcow2_compressed place = qcow2_compressed(ctx->qcow2, run->entry);
    unsigned bits = ctx->qcow2->cluster_bits;
    uint64_t first = place.offset >> bits;

    locate(ctx, item, run->index, first, ((place.offset + place.size - 1) >> bits) - first + 1,
           true);
}

/* The kept issues about low refcounts of this pass: among themselves they lie in rising order. */
static int low_issues_find(struct qcow2_check *ctx)
{
    struct qca_check_result *result = ctx->check->result;
    size_t n = 0;

    for (size_t i = ctx->compare_first_issue; i < result->n_issues; i++)
        n += result->issues[i].kind == QCA_ISSUE_REFCOUNT_LOW;
    ctx->n_low_issues = 0;
    if (n == 0)
        return 0;
    ctx->low_issues = calloc(n, sizeof(*ctx->low_issues));
    if (!ctx->low_issues)
        return qcow2_out_of_memory(ctx);
    for (size_t i = ctx->compare_first_issue; i < result->n_issues; i++)
        if (result->issues[i].kind == QCA_ISSUE_REFCOUNT_LOW)
            ctx->low_issues[ctx->n_low_issues++] = i;
    return 0;
}

static int verify_entry(struct qcow2_check *ctx, const struct l2_item *item, uint32_t index,
                        uint64_t entry)
{
    uint64_t offset = entry & L2_OFFSET_MASK, cluster = offset >> ctx->qcow2->cluster_bits;
    struct qca_issue issue = check_issue_new(QCA_ISSUE_COPIED_WRONG, QCA_TABLE_L2);

    /* A cluster of a data file has no refcount: it counts as 1, always. */
    if (ctx->qcow2->has_data_file
            ? !ctx->first_pass || (entry & ENTRY_COPIED)
            : copied_verdict(ctx, cluster, entry & ENTRY_COPIED) != COPIED_WRONG)
        return 0;
    issue.table_offset = item->offset;
    issue.index = index;
    issue.host_offset = offset;
    issue.host_length = qcow2_cluster_size(ctx->qcow2);
    issue.count = item->active;
    qcow2_guest_range(ctx, item, index, 1, &issue);
    if (!ctx->qcow2->has_data_file)
        return report_wrong(ctx, issue, cluster);
    issue.stored = 1;
    return check_issue(ctx->check, &issue);
}

/* True when nothing about these clusters, all of one page, needs a look. */
static bool page_is_fine(const struct qcow2_check *ctx, uint64_t cluster)
{
    if (cluster >= ctx->n_clusters || ctx->qcow2->has_data_file)
        return !ctx->first_pass;
    return !count_covers(&ctx->map, cluster) ||
           !(count_page_of(&ctx->map, cluster)->flags & COUNT_VERIFY);
}

/* Bits that are set where the flag of a run's clusters contradicts the stored refcount; n at most
 * 64, all within one word of one page. */
static uint64_t wrong_in_word(const struct qcow2_check *ctx, uint64_t cluster, uint32_t n,
                              bool copied)
{
    const uint64_t *words = count_page_of(&ctx->map, cluster)->data;
    uint32_t i = cluster & (COUNT_PAGE_CLUSTERS - 1);
    uint64_t ones = words[i / 64] >> (i % 64), mask = n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;

    return (copied ? ~ones : ones) & mask;
}

static int verify_run(struct qcow2_check *ctx, const struct l2_item *item, const struct l2_run *run)
{
    uint64_t start = (run->entry & L2_OFFSET_MASK) >> ctx->qcow2->cluster_bits,
             end = start + run->length, next;
    uint64_t cluster_size = qcow2_cluster_size(ctx->qcow2);
    int r;

    for (uint64_t cluster = start; cluster < end; cluster = next) {
        next = min_u64(end, (cluster | (COUNT_PAGE_CLUSTERS - 1)) + 1);
        /* The part of a page that lies past the end of the file is judged by itself. */
        if (cluster < ctx->n_clusters)
            next = min_u64(next, ctx->n_clusters);
        if (page_is_fine(ctx, cluster))
            continue;
        if (cluster < ctx->n_clusters && !ctx->qcow2->has_data_file) {
            next = min_u64(next, (cluster | 63) + 1);
            locate(ctx, item, run->index + (cluster - start), cluster, next - cluster, false);
            if (!wrong_in_word(ctx, cluster, next - cluster, run->entry & ENTRY_COPIED))
                continue;
        }
        for (uint64_t i = cluster; i < next; i++) {
            r = verify_entry(ctx, item, run->index + (i - start),
                             run->entry + (i - start) * cluster_size);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

static int verify_table(struct qcow2_check *ctx, const struct l2_item *item, const uint8_t *table)
{
    unsigned bits = ctx->qcow2->cluster_bits;
    int r = 0;

    for (uint32_t index = 0; r == 0;) {
        struct l2_run run = l2_run_next(ctx->qcow2, ctx->wide, table, index);

        switch (run.kind) {
        case L2_RUN_END:
            return 0;
        case L2_RUN_DATA:
            r = verify_run(ctx, item, &run);
            break;
        case L2_RUN_ALLOCATED:
            if (!ctx->qcow2->has_data_file)
                locate(ctx, item, run.index, (run.entry & L2_OFFSET_MASK) >> bits, 1, false);
            r = verify_entry(ctx, item, run.index, run.entry);
            break;
        case L2_RUN_COMPRESSED:
            locate_compressed(ctx, item, &run);
            break;
        case L2_RUN_UNALLOCATED:
            break;
        }
        index = run.index + run.length;
    }
    return r;
}

static bool anything_to_verify(const struct qcow2_check *ctx)
{
    if ((ctx->first_pass && ctx->outside_copied) || ctx->n_low_issues > 0)
        return true;
    for (uint64_t first = ctx->map.low; first < min_u64(ctx->map.high, ctx->n_clusters);
         first += COUNT_PAGE_CLUSTERS)
        if (count_page_of(&ctx->map, first)->flags & COUNT_VERIFY)
            return true;
    return false;
}

int qcow2_verify_copied(struct qcow2_check *ctx)
{
    const struct qca_image_info *info = &ctx->image->info;
    int r;

    r = low_issues_find(ctx);
    if (r < 0)
        return r;
    if (!anything_to_verify(ctx))
        return 0;
    ctx->l1_scanned = ctx->l2_scanned = 0;
    ctx->n_items = 0;
    r = qcow2_l1_walk(ctx, info->l1_offset, info->l1_entries, QCA_ACTIVE, verify_l1_entry,
                      verify_table);
    if (r == 0)
        r = qcow2_items_flush(ctx, verify_table);
    free(ctx->low_issues);
    ctx->low_issues = NULL;
    return r;
}
