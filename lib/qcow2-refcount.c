/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The stored refcounts: the refcount table, its blocks, and their comparison with what was
 * counted. */
#include "qcow2-check.h"

#include "refcount.h"

static bool bit_get(const uint8_t *bits, uint64_t i)
{
    return bits && (bits[i / 8] >> (i % 8) & 1);
}

static void bit_set(uint8_t *bits, uint64_t i)
{
    bits[i / 8] |= 1U << (i % 8);
}

int qcow2_reftable_load(struct qcow2_check *ctx)
{
    const struct qca_image_info *info = &ctx->image->info;
    uint64_t offset = info->refcount_table_offset, bytes;
    int r;

    bytes = (uint64_t)info->refcount_table_clusters << ctx->qcow2->cluster_bits;
    /* Refcounts past the end of the file are zero and say nothing. */
    bytes = offset < info->file_size ? min_u64(bytes, round_up(info->file_size - offset, 8)) : 0;
    ctx->n_reftable = bytes / 8;
    if (bytes == 0)
        return 0;
    if (bytes + bytes / 32 > ctx->memory_left)
        return qcow2_out_of_memory(ctx);
    ctx->memory_left -= bytes + bytes / 32;
    ctx->reftable = malloc(bytes);
    ctx->refblock_unreadable = calloc(1, div_round_up(ctx->n_reftable, 8));
    ctx->refblock_shared = calloc(1, div_round_up(ctx->n_reftable, 8));
    if (!ctx->reftable || !ctx->refblock_unreadable || !ctx->refblock_shared)
        return qcow2_out_of_memory(ctx);
    r = qcow2_read(ctx->image, offset, ctx->reftable, bytes);
    if (r < 0)
        return qcow2_read_failed(ctx, r, QCA_TABLE_REFCOUNT_TABLE, offset);
    /* Entries of 0 behind the last other one say no more than none. */
    ctx->n_reftable = div_round_up(length_without_zeros((const uint8_t *)ctx->reftable, bytes), 8);
    for (size_t i = 0; i < ctx->n_reftable; i++) {
        uint64_t block = (ctx->reftable[i] = be64_get(&ctx->reftable[i])) & REFTABLE_OFFSET_MASK;

        if (!qcow2_aligned(ctx->qcow2, block) || block > QCOW2_MAX_OFFSET - info->cluster_size) {
            bit_set(ctx->refblock_unreadable, i);
            ctx->reftable_damaged = true;
        }
    }
    return 0;
}

static struct qca_issue reftable_issue(const struct qcow2_check *ctx, enum qca_issue_kind kind,
                                       size_t index)
{
    struct qca_issue issue = check_issue_new(kind, QCA_TABLE_REFCOUNT_TABLE);

    issue.table_offset = ctx->image->info.refcount_table_offset;
    issue.index = index;
    issue.host_offset = ctx->reftable[index] & REFTABLE_OFFSET_MASK;
    issue.host_length = qcow2_cluster_size(ctx->qcow2);
    return issue;
}

/* One refcount table entry: the first fault ends it, a good one references its block. */
static int count_refblock(struct qcow2_check *ctx, size_t index)
{
    uint64_t offset = ctx->reftable[index] & REFTABLE_OFFSET_MASK,
             cluster = offset >> ctx->qcow2->cluster_bits;
    struct qca_issue issue = reftable_issue(ctx, QCA_ISSUE_REFTABLE_RESERVED_BITS, index);
    int r;

    if (ctx->reftable[index] & REFTABLE_RESERVED_MASK)
        return qcow2_issue(ctx, issue);
    if (!qcow2_aligned(ctx->qcow2, offset)) {
        issue.kind = QCA_ISSUE_REFTABLE_UNALIGNED;
        return qcow2_issue(ctx, issue);
    }
    if (cluster >= ctx->n_clusters) {
        issue.kind = QCA_ISSUE_REFTABLE_OUT_OF_FILE;
        return qcow2_issue(ctx, issue);
    }
    if (offset == 0)
        return 0;
    r = qcow2_reference(ctx, offset, qcow2_cluster_size(ctx->qcow2), 1, 0, &issue);
    if (r < 0)
        return r;
    if (count_covers(&ctx->map, cluster) && count_get(&ctx->map, cluster) != 1)
        bit_set(ctx->refblock_shared, index);
    return 0;
}

int qcow2_count_refblocks(struct qcow2_check *ctx)
{
    int r;

    if (ctx->n_reftable > 0)
        memset(ctx->refblock_shared, 0, div_round_up(ctx->n_reftable, 8));
    for (size_t i = 0; i < ctx->n_reftable; i++) {
        if (ctx->reftable[i] == 0)
            continue;
        r = count_refblock(ctx, i);
        if (r < 0)
            return r;
    }

    /* Counting may have given up a part of the map until the end: only what it still covers is
     * judged. */
    for (size_t i = 0; i < ctx->n_reftable; i++) {
        uint64_t cluster = (ctx->reftable[i] & REFTABLE_OFFSET_MASK) >> ctx->qcow2->cluster_bits;
        struct qca_issue issue;

        if (!bit_get(ctx->refblock_shared, i) || !count_covers(&ctx->map, cluster))
            continue;
        issue = reftable_issue(ctx, QCA_ISSUE_REFBLOCK_SHARED, i);
        issue.counted = count_get(&ctx->map, cluster);
        r = check_issue(ctx->check, &issue);
        if (r < 0)
            return r;
    }
    return 0;
}

bool qcow2_refcount_readable(const struct qcow2_check *ctx, uint64_t cluster)
{
    uint64_t index = cluster >> ctx->qcow2->refblock_bits;

    return index >= ctx->n_reftable || !bit_get(ctx->refblock_unreadable, index);
}

/* Host offset of the refcount block that covers a cluster; 0: none, all its refcounts are 0. */
static uint64_t refblock_of(const struct qcow2_check *ctx, uint64_t cluster)
{
    uint64_t index = cluster >> ctx->qcow2->refblock_bits;

    return index < ctx->n_reftable ? ctx->reftable[index] & REFTABLE_OFFSET_MASK : 0;
}

int qcow2_refcount_stored(struct qcow2_check *ctx, uint64_t cluster, uint64_t *ret_refcount)
{
    unsigned order = ctx->qcow2->refcount_order;
    uint64_t index = cluster & ((UINT64_C(1) << ctx->qcow2->refblock_bits) - 1);
    uint64_t block = refblock_of(ctx, cluster), bit = index << order;
    uint8_t bytes[8];
    int r;

    if (!qcow2_refcount_readable(ctx, cluster))
        return -EIO;
    if (block == 0) {
        *ret_refcount = 0;
        return 0;
    }
    r = qcow2_read(ctx->image, block + bit / 8, bytes, sizeof(bytes));
    if (r < 0)
        return r;
    *ret_refcount = refcount_get(bytes, order, order < 3 ? bit % 8 >> order : 0);
    return 0;
}

void qcow2_issue_at_refcount(const struct qcow2_check *ctx, uint64_t cluster,
                             struct qca_issue *issue)
{
    uint64_t block = refblock_of(ctx, cluster);

    issue->table_offset = block ? block : QCA_NO_OFFSET;
    issue->index = cluster & ((UINT64_C(1) << ctx->qcow2->refblock_bits) - 1);
    issue->host_offset = cluster << ctx->qcow2->cluster_bits;
    issue->host_length = qcow2_cluster_size(ctx->qcow2);
}

/* ---- leaks: runs, and the most within a window ------------------------------------------- */

int qcow2_leaks_flush(struct qcow2_check *ctx)
{
    struct leaks *leaks = &ctx->leaks;
    struct qca_issue issue = check_issue_new(QCA_ISSUE_CLUSTER_LEAKED, QCA_TABLE_REFCOUNT_BLOCK);

    if (leaks->run_length == 0)
        return 0;
    qcow2_issue_at_refcount(ctx, leaks->run_start, &issue);
    issue.host_length = leaks->run_length << ctx->qcow2->cluster_bits;
    issue.stored = leaks->run_stored;
    issue.counted = leaks->run_counted;
    issue.count = leaks->run_length;
    ctx->check->result->leak_runs++;
    leaks->run_length = 0;
    return check_issue(ctx->check, &issue);
}

/* Moves the window's low end up to low, and on to the next leak in it. */
static void window_advance(struct leaks *leaks, uint64_t low)
{
    uint64_t mask = leaks->window_clusters - 1;

    if (leaks->window_leaks == 0 || low <= leaks->window_low)
        return;
    /* A gap as wide as the window empties it. */
    if (low > leaks->last) {
        memset(leaks->window, 0, leaks->window_clusters / 8);
        leaks->window_leaks = 0;
        return;
    }
    while (leaks->window_leaks > 0) {
        uint64_t at = leaks->window_low & mask, word = leaks->window[at / 64] >> (at % 64);

        if (word == 0) {
            leaks->window_low = (leaks->window_low | 63) + 1;
            continue;
        }
        leaks->window_low += (uint64_t)__builtin_ctzll(word);
        if (leaks->window_low >= low)
            return;
        at = leaks->window_low & mask;
        leaks->window[at / 64] &= ~(UINT64_C(1) << (at % 64));
        leaks->window_leaks--;
        leaks->window_low++;
    }
}

static int leak_add(struct qcow2_check *ctx, uint64_t cluster, uint64_t stored, uint64_t counted)
{
    struct qca_check_result *result = ctx->check->result;
    struct leaks *leaks = &ctx->leaks;
    unsigned cluster_bits = ctx->qcow2->cluster_bits;
    uint64_t width = leaks->window_clusters, at;
    int r;

    if (leaks->run_length == 0 || leaks->run_start + leaks->run_length != cluster) {
        r = qcow2_leaks_flush(ctx);
        if (r < 0)
            return r;
        leaks->run_start = cluster;
        leaks->run_stored = stored;
        leaks->run_counted = counted;
    }
    leaks->run_length++;

    window_advance(leaks, cluster >= width ? cluster - width + 1 : 0);
    at = cluster & (width - 1);
    leaks->window[at / 64] |= UINT64_C(1) << (at % 64);
    if (leaks->window_leaks++ == 0)
        leaks->window_low = cluster;
    leaks->last = cluster;
    if (leaks->window_leaks > result->burst_leaks) {
        result->burst_leaks = leaks->window_leaks;
        result->burst_offset = leaks->window_low << cluster_bits;
        result->burst_end = ((cluster + 1) << cluster_bits) - 1;
    }
    return 0;
}

/* ---- comparison --------------------------------------------------------------------------- */

static uint64_t reftable_offset(const void *tables, size_t i)
{
    const struct qcow2_check *ctx = tables;
    uint64_t offset = ctx->reftable[i] & REFTABLE_OFFSET_MASK;

    /* Past the end of the file a block is zero, as if there were none. */
    return bit_get(ctx->refblock_unreadable, i) || offset == 0 ||
                   offset >= ctx->image->info.file_size
               ? QCA_NO_OFFSET
               : offset;
}

int qcow2_refblock(struct qcow2_check *ctx, uint64_t index, const uint8_t **ret_block)
{
    int r;

    *ret_block = NULL;
    if (index >= ctx->n_reftable)
        return 0;
    if (bit_get(ctx->refblock_unreadable, index))
        return -EIO;
    if (reftable_offset(ctx, index) == QCA_NO_OFFSET)
        return 0;
    r = table_reader_get(&ctx->refblock_reader, index, ret_block);
    if (r < 0) {
        bit_set(ctx->refblock_unreadable, index);
        ctx->reftable_damaged = true;
    }
    return r;
}

/* n clusters whose refcounts cannot be read: one check error each, one issue for all. */
static int compare_unreadable(struct qcow2_check *ctx, uint64_t cluster, uint64_t n)
{
    struct qca_issue issue = check_issue_new(QCA_ISSUE_READ_FAILED, QCA_TABLE_REFCOUNT_BLOCK);

    qcow2_issue_at_refcount(ctx, cluster, &issue);
    issue.host_length = n << ctx->qcow2->cluster_bits;
    issue.count = n;
    return check_issue(ctx->check, &issue);
}

static int compare_cluster(struct qcow2_check *ctx, uint64_t cluster, uint64_t stored,
                           uint64_t counted)
{
    struct qca_issue issue;

    if (stored > counted)
        return leak_add(ctx, cluster, stored, counted);
    issue = check_issue_new(QCA_ISSUE_REFCOUNT_LOW, QCA_TABLE_REFCOUNT_BLOCK);
    qcow2_issue_at_refcount(ctx, cluster, &issue);
    issue.stored = stored;
    issue.counted = counted;
    return check_issue(ctx->check, &issue);
}

/* The 64 clusters from `group` on in a page, of which `n` exist. Where flags will have to be
 * verified, the counts of the group are replaced by the mask of stored refcounts that are 1: groups
 * are gone through in rising order, and a mask takes no more room than the narrowest counts, so
 * none is overwritten that is still needed. */
static int compare_group(struct qcow2_check *ctx, struct count_page *page, uint64_t cluster,
                         uint32_t n, const uint8_t *block, bool *differs)
{
    unsigned order = ctx->qcow2->refcount_order;
    uint32_t first = cluster & (COUNT_PAGE_CLUSTERS - 1);
    uint64_t entry = cluster & ((UINT64_C(1) << ctx->qcow2->refblock_bits) - 1);
    uint64_t *words = page->data, ones = 0;
    enum count_level level = page->level;
    int r;

    if (level == COUNT_BITS) {
        uint64_t bits = words ? words[first / 64] : 0;

        if (n == 64 && (block ? refcounts_are_bits(block, order, entry, bits) : bits == 0)) {
            if (bits) {
                ctx->highest = cluster + 63 - (uint64_t)__builtin_clzll(bits);
                ctx->any_used = true;
            }
            return 0;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        uint64_t counted = words ? count_at(words, level, first + i) : 0;
        uint64_t stored = block ? refcount_get(block, order, entry + i) : 0;

        ones |= (uint64_t)(stored == 1) << i;
        if (stored | counted) {
            ctx->highest = cluster + i;
            ctx->any_used = true;
        }
        if (stored != counted) {
            /* A cluster without references has no flags that could be wrong. */
            *differs |= counted > 0;
            r = compare_cluster(ctx, cluster + i, stored, counted);
            if (r < 0)
                return r;
        }
    }
    if (words)
        words[first / 64] = ones;
    return 0;
}

/* Passes over the clusters from `cluster` on, up to end, whose refcounts of 16 bits are as counted,
 * in whole groups of 64: where the first group lies that is not. */
static uint64_t compare_equal(struct qcow2_check *ctx, const struct count_page *page,
                              uint64_t cluster, uint64_t end, const uint8_t *block)
{
    uint64_t entry = cluster & ((UINT64_C(1) << ctx->qcow2->refblock_bits) - 1);
    uint32_t first = (cluster & (COUNT_PAGE_CLUSTERS - 1)) / 64, n;
    const uint64_t *words = page->data;

    if (!block || ctx->qcow2->refcount_order != 4 || page->level != COUNT_BITS)
        return cluster;
    n = ctx->wide->count_equal16(block + 2 * entry, words ? words + first : NULL,
                                 (uint32_t)((end - cluster) / 64));
    for (uint32_t i = words ? n : 0; i > 0; i--) {
        uint64_t bits = words[first + i - 1];

        if (bits) {
            ctx->highest = cluster + 64 * (uint64_t)i - 1 - (uint64_t)__builtin_clzll(bits);
            ctx->any_used = true;
            break;
        }
    }
    return cluster + 64 * (uint64_t)n;
}

/* Reports the references of a page beyond what a refcount can hold. */
static int report_overflows(struct qcow2_check *ctx, const struct count_page *page, uint64_t first)
{
    struct qca_issue issue = check_issue_new(QCA_ISSUE_REFERENCE_OVERFLOW,
                                             QCA_TABLE_REFCOUNT_BLOCK);

    if (page->overflows == 0)
        return 0;
    qcow2_issue_at_refcount(ctx, first + page->overflow_first, &issue);
    issue.counted = ctx->qcow2->refcount_max;
    issue.count = page->overflows;
    return check_issue(ctx->check, &issue);
}

/* Clusters [first, end) of one page. */
static int compare_page(struct qcow2_check *ctx, struct count_page *page, uint64_t first,
                        uint64_t end)
{
    uint64_t block_clusters = UINT64_C(1) << ctx->qcow2->refblock_bits;
    bool differs = page->level != COUNT_BITS || (page->flags & (COUNT_NOT_COPIED | COUNT_VERIFY));
    int r;

    r = report_overflows(ctx, page, first);
    if (r < 0)
        return r;
    if ((page->flags & COUNT_VERIFY) && !count_page_bits(&ctx->map, page))
        return qcow2_out_of_memory(ctx);
    for (uint64_t cluster = first; cluster < end;) {
        uint64_t block_end = min_u64(end, (cluster | (block_clusters - 1)) + 1);
        const uint8_t *block;

        r = qcow2_refblock(ctx, cluster >> ctx->qcow2->refblock_bits, &block);
        if (r < 0) {
            r = compare_unreadable(ctx, cluster, block_end - cluster);
            if (r < 0)
                return r;
            differs = true;
            cluster = block_end;
            continue;
        }
        if (!block && !page->data)
            cluster = block_end;
        for (; cluster < block_end; cluster += 64) {
            cluster = compare_equal(ctx, page, cluster, block_end, block);
            if (cluster == block_end)
                break;
            r = compare_group(ctx, page, cluster, min_u64(64, block_end - cluster), block,
                              &differs);
            if (r < 0)
                return r;
        }
        cluster = block_end;
    }
    /* The flags are right when all counts are as stored, 0 or 1, and all references flagged. */
    if (differs && page->data && (page->flags & (COUNT_COPIED | COUNT_NOT_COPIED | COUNT_VERIFY)))
        page->flags |= COUNT_VERIFY;
    else
        page->flags &= ~COUNT_VERIFY;
    return 0;
}

int qcow2_compare(struct qcow2_check *ctx)
{
    uint64_t end = min_u64(ctx->map.high, ctx->n_clusters), next;
    int r;

    ctx->compare_first_issue = ctx->check->result->n_issues;
    table_reader_set(&ctx->refblock_reader, ctx, ctx->n_reftable, reftable_offset);
    for (uint64_t first = ctx->map.low; first < end; first = next) {
        struct count_page *page = count_page_of(&ctx->map, first);

        next = min_u64(end, first + COUNT_PAGE_CLUSTERS);
        r = compare_page(ctx, page, first, next);
        if (r < 0)
            return r;
        r = check_advance(ctx->check, ((next - first) << ctx->qcow2->refcount_order) / 8);
        if (r < 0)
            return r;
    }
    return 0;
}
