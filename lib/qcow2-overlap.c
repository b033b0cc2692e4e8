/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds clusters that two things use, though their refcounts agree: two places of the guest's disk
 * in one cluster, guest data on metadata, metadata of two kinds in one place.
 *
 * `qemu-img check -r all` makes such damage consistent, and calls it clean from then on. Only what
 * was counted at least twice can be concerned: where the map never had to count beyond 1, there is
 * nothing to do; else the active tables are walked once more. */
#include "qcow2-check.h"

#include "l2-runs.h"

/* Uses of the clusters of one page, one bit each. */
enum use { USE_METADATA, USE_L2, USE_DATA, USE_COMPRESSED, _USE_MAX };

struct use_page {
    uint64_t bits[_USE_MAX][COUNT_PAGE_WORDS];
};

_Static_assert(sizeof(struct use_page) * QCOW2_OVERLAP_SHARE <= COUNT_PAGE_CLUSTERS,
               "the check leaves too little memory for this");

struct overlap {
    struct use_page **pages;
    uint64_t n_pages;
    uint64_t first;             /* page number of pages[0] */
};

static bool use_get(const struct use_page *page, enum use use, uint32_t i)
{
    return page->bits[use][i / 64] >> (i % 64) & 1;
}

static void use_set(struct use_page *page, enum use use, uint32_t i)
{
    page->bits[use][i / 64] |= UINT64_C(1) << (i % 64);
}

/* Is anything in this cluster's page counted more than once? */
static bool page_is_shared(const struct qcow2_check *ctx, uint64_t cluster)
{
    const struct count_page *page = count_page_of(&ctx->map, cluster);

    return page->data && page->level != COUNT_BITS;
}

/* The cluster's page; NULL when there is no memory. */
static struct use_page *use_page_of(const struct qcow2_check *ctx, uint64_t cluster)
{
    struct use_page **page = &ctx->overlap->pages[(cluster >> COUNT_PAGE_BITS) -
                                                  ctx->overlap->first];

    if (!*page)
        *page = calloc(1, sizeof(**page));
    return *page;
}

/* Calls each() for every cluster of [first, first + n) that was counted at least twice. */
typedef int (*cluster_fn)(struct qcow2_check *ctx, struct use_page *page, uint64_t cluster,
                          void *userdata);

static int for_each_shared(struct qcow2_check *ctx, uint64_t first, uint64_t n, cluster_fn each,
                           void *userdata)
{
    uint64_t end, next, limit = min_u64(ctx->map.high, ctx->n_clusters);

    if (add_overflows(first, n, &end) || end > limit)
        end = limit;
    for (uint64_t cluster = max_u64(first, ctx->map.low); cluster < end; cluster = next) {
        const struct count_page *counts = count_page_of(&ctx->map, cluster);

        next = min_u64(end, (cluster | (COUNT_PAGE_CLUSTERS - 1)) + 1);
        if (!page_is_shared(ctx, cluster))
            continue;
        for (uint64_t i = cluster; i < next; i++) {
            struct use_page *page;
            int r;

            if (count_at(counts->data, counts->level, i & (COUNT_PAGE_CLUSTERS - 1)) < 2)
                continue;
            page = use_page_of(ctx, i);
            if (!page)
                return qcow2_out_of_memory(ctx);
            r = each(ctx, page, i, userdata);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

/* With the stored refcount, for the first of a kind: each takes a read. */
static int report_shared(struct qcow2_check *ctx, struct qca_issue *issue, uint64_t cluster)
{
    uint64_t stored;

    issue->counted = count_get(&ctx->map, cluster);
    if (!check_has_room(ctx->check, issue->kind))
        return check_issue_omit(ctx->check, issue);
    if (qcow2_refcount_stored(ctx, cluster, &stored) == 0)
        issue->stored = stored;
    return check_issue(ctx->check, issue);
}

/* ---- metadata ----------------------------------------------------------------------------- */

struct area {
    enum use use;               /* USE_METADATA or USE_L2 */
    struct qca_issue issue;
};

/* L2 tables are shared with snapshots by design; nothing else is. */
static int mark_metadata(struct qcow2_check *ctx, struct use_page *page, uint64_t cluster,
                         void *userdata)
{
    struct area *area = userdata;
    uint32_t i = cluster & (COUNT_PAGE_CLUSTERS - 1);
    bool taken = use_get(page, USE_METADATA, i) ||
                 (area->use != USE_L2 && use_get(page, USE_L2, i));

    use_set(page, area->use, i);
    if (!taken)
        return 0;
    area->issue.kind = QCA_ISSUE_METADATA_SHARED;
    area->issue.host_offset = cluster << ctx->qcow2->cluster_bits;
    area->issue.host_length = qcow2_cluster_size(ctx->qcow2);
    return report_shared(ctx, &area->issue, cluster);
}

static int mark_area(struct qcow2_check *ctx, enum qca_table table, uint32_t snapshot,
                     uint64_t offset, uint64_t size)
{
    struct area area = { USE_METADATA, check_issue_new(QCA_ISSUE_METADATA_SHARED, table) };
    unsigned bits = ctx->qcow2->cluster_bits;
    uint64_t end;

    if (size == 0 || add_overflows(offset, size - 1, &end))
        return 0;
    area.issue.table_offset = offset;
    area.issue.snapshot = snapshot;
    return for_each_shared(ctx, offset >> bits, (end >> bits) - (offset >> bits) + 1,
                           mark_metadata, &area);
}

static int mark_areas(struct qcow2_check *ctx)
{
    const struct qca_image_info *info = &ctx->image->info;
    const struct { enum qca_table table; uint64_t offset, size; } areas[] = {
        { QCA_TABLE_HEADER, 0, info->cluster_size },
        { QCA_TABLE_L1, info->l1_offset, UINT64_C(8) * info->l1_entries },
        { QCA_TABLE_SNAPSHOTS, info->snapshots_offset, ctx->qcow2->snapshots_size },
        { QCA_TABLE_REFCOUNT_TABLE, info->refcount_table_offset,
          (uint64_t)info->refcount_table_clusters << ctx->qcow2->cluster_bits },
        { QCA_TABLE_CRYPT, info->crypt_header_offset, info->crypt_header_length },
        { QCA_TABLE_BITMAP_DIRECTORY, ctx->qcow2->bitmap_directory_offset,
          ctx->qcow2->bitmap_directory_size },
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(areas); i++)
        r = mark_area(ctx, areas[i].table, QCA_ACTIVE, areas[i].offset, areas[i].size);
    for (uint32_t i = 0; r == 0 && i < info->n_snapshots; i++)
        r = mark_area(ctx, QCA_TABLE_L1, i, info->snapshots[i].l1_offset,
                      UINT64_C(8) * info->snapshots[i].l1_entries);
    for (size_t i = 0; r == 0 && i < info->n_bitmaps; i++)
        r = mark_area(ctx, QCA_TABLE_BITMAP, QCA_ACTIVE, info->bitmaps[i].table_offset,
                      UINT64_C(8) * info->bitmaps[i].table_entries);
    for (size_t i = 0; r == 0 && i < ctx->n_reftable; i++) {
        uint64_t block = ctx->reftable[i] & REFTABLE_OFFSET_MASK;

        if (block && qcow2_aligned(ctx->qcow2, block))
            r = mark_area(ctx, QCA_TABLE_REFCOUNT_BLOCK, QCA_ACTIVE, block,
                          qcow2_cluster_size(ctx->qcow2));
    }
    return r;
}

static int mark_l2(struct qcow2_check *ctx, uint64_t l1_offset, uint32_t index, uint32_t snapshot,
                   uint64_t entry, bool *collect)
{
    struct area area = { USE_L2, check_issue_new(QCA_ISSUE_METADATA_SHARED, QCA_TABLE_L1) };
    struct l2_item item = { .l1_index = index, .snapshot = snapshot };
    uint64_t offset = entry & L1_OFFSET_MASK;

    /* Only the active tables' entries are looked at; a snapshot's are marked. */
    *collect = snapshot == QCA_ACTIVE && offset;
    if (offset == 0)
        return 0;
    area.issue.table_offset = l1_offset;
    area.issue.index = index;
    area.issue.snapshot = snapshot;
    qcow2_guest_range(ctx, &item, 0, UINT64_C(1) << ctx->qcow2->l2_bits, &area.issue);
    return for_each_shared(ctx, offset >> ctx->qcow2->cluster_bits, 1, mark_metadata, &area);
}

/* ---- data --------------------------------------------------------------------------------- */

struct placed {
    const struct l2_item *item;
    uint32_t index;             /* entry of the first cluster */
    uint64_t first;             /* host cluster */
    enum use use;               /* USE_DATA or USE_COMPRESSED */
};

static int mark_data(struct qcow2_check *ctx, struct use_page *page, uint64_t cluster,
                     void *userdata)
{
    const struct placed *placed = userdata;
    uint32_t i = cluster & (COUNT_PAGE_CLUSTERS - 1);
    struct qca_issue issue = check_issue_new(QCA_ISSUE_CLUSTER_MAPPED_TWICE, QCA_TABLE_L2);
    bool compressed = placed->use == USE_COMPRESSED;
    bool on_metadata = use_get(page, USE_METADATA, i) || use_get(page, USE_L2, i);
    /* Compressed clusters share host clusters by design. */
    bool twice = use_get(page, USE_DATA, i) || (!compressed && use_get(page, USE_COMPRESSED, i));

    use_set(page, placed->use, i);
    if (!on_metadata && !twice)
        return 0;
    if (on_metadata)
        issue.kind = QCA_ISSUE_DATA_ON_METADATA;
    issue.table_offset = placed->item->offset;
    issue.index = placed->index + (compressed ? 0 : cluster - placed->first);
    issue.host_offset = cluster << ctx->qcow2->cluster_bits;
    issue.host_length = qcow2_cluster_size(ctx->qcow2);
    qcow2_guest_range(ctx, placed->item, issue.index, 1, &issue);
    return report_shared(ctx, &issue, cluster);
}

/* One table in two places of the active L1 table: all that it maps is there twice. */
static int report_table_twice(struct qcow2_check *ctx, const struct l2_item *item)
{
    struct qca_issue issue = check_issue_new(QCA_ISSUE_METADATA_SHARED, QCA_TABLE_L1);

    if (item->active < 2 || !ctx->first_pass)
        return 0;
    issue.table_offset = ctx->image->info.l1_offset;
    issue.index = item->l1_index;
    issue.host_offset = item->offset;
    issue.host_length = qcow2_cluster_size(ctx->qcow2);
    issue.counted = item->active;
    issue.count = item->active - 1;
    qcow2_guest_range(ctx, item, 0, UINT64_C(1) << ctx->qcow2->l2_bits, &issue);
    return check_issue(ctx->check, &issue);
}

static int mark_table(struct qcow2_check *ctx, const struct l2_item *item, const uint8_t *table)
{
    unsigned bits = ctx->qcow2->cluster_bits;
    int r = report_table_twice(ctx, item);

    /* Entries of a data file say nothing about this file. */
    for (uint32_t index = 0; r == 0 && !ctx->qcow2->has_data_file;) {
        struct l2_run run = l2_run_next(ctx->qcow2, ctx->wide, table, index);
        struct placed placed = { item, run.index, (run.entry & L2_OFFSET_MASK) >> bits, USE_DATA };

        if (run.kind == L2_RUN_END)
            return 0;
        if (run.kind == L2_RUN_DATA || run.kind == L2_RUN_ALLOCATED)
            r = for_each_shared(ctx, placed.first, run.length, mark_data, &placed);
        else if (run.kind == L2_RUN_COMPRESSED) {
            struct qcow2_compressed place = qcow2_compressed(ctx->qcow2, run.entry);

            placed.use = USE_COMPRESSED;
            placed.first = place.offset >> bits;
            r = for_each_shared(ctx, placed.first,
                                ((place.offset + place.size - 1) >> bits) - placed.first + 1,
                                mark_data, &placed);
        }
        index = run.index + run.length;
    }
    return r;
}

/* ---- all of it ---------------------------------------------------------------------------- */

static bool anything_shared(const struct qcow2_check *ctx)
{
    for (uint64_t first = ctx->map.low; first < min_u64(ctx->map.high, ctx->n_clusters);
         first += COUNT_PAGE_CLUSTERS)
        if (page_is_shared(ctx, first))
            return true;
    return false;
}

/* Metadata first, so that data which lies on it is named as that. */
static int mark_all(struct qcow2_check *ctx)
{
    const struct qca_image_info *info = &ctx->image->info;
    int r = mark_areas(ctx);

    ctx->l1_scanned = ctx->l2_scanned = 0;
    ctx->n_items = 0;
    for (uint32_t i = 0; r == 0 && i < info->n_snapshots; i++)
        if (qcow2_snapshot_l1_valid(ctx, i))
            r = qcow2_l1_walk(ctx, info->snapshots[i].l1_offset, info->snapshots[i].l1_entries, i,
                              mark_l2, mark_table);
    if (r == 0)
        r = qcow2_l1_walk(ctx, info->l1_offset, info->l1_entries, QCA_ACTIVE, mark_l2, mark_table);
    return r == 0 ? qcow2_items_flush(ctx, mark_table) : r;
}

int qcow2_find_overlaps(struct qcow2_check *ctx)
{
    uint64_t end = min_u64(ctx->map.high, ctx->n_clusters);
    struct overlap overlap = { .first = ctx->map.low >> COUNT_PAGE_BITS };
    int r;

    if (!anything_shared(ctx))
        return 0;
    overlap.n_pages = ((end - 1) >> COUNT_PAGE_BITS) - overlap.first + 1;
    overlap.pages = calloc(overlap.n_pages, sizeof(*overlap.pages));
    if (!overlap.pages)
        return qcow2_out_of_memory(ctx);
    ctx->overlap = &overlap;
    r = mark_all(ctx);
    ctx->overlap = NULL;
    for (uint64_t i = 0; i < overlap.n_pages; i++)
        free(overlap.pages[i]);
    free(overlap.pages);
    return r;
}
