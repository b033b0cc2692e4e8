/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Walks L1 and L2 tables: collects, unites and sorts them, and counts what they reference.
 *
 * An L2 table that several L1 entries share (snapshots, or a table that points at itself) is read
 * once and counts with the number of those entries as its weight. */
#include "qcow2-check.h"

#include "l2-runs.h"

enum {
    L1_SLICE = 8192,            /* entries read at once */
    ITEMS_FIRST = 256,          /* L2 tables that there is room for to begin with */
};

static uint64_t item_offset(const void *items, size_t i)
{
    return ((const struct l2_item *)items)[i].offset;
}

static int l2_get(struct qcow2_check *ctx, size_t i, const uint8_t **ret_table)
{
    uint64_t offset = ctx->items[i].offset, size = ctx->l2_reader.table_size,
             file_size = ctx->image->info.file_size;
    uint64_t bound = qcow2_scan_bound(ctx->image, 8);
    int r;

    ctx->l2_scanned += min_u64(size, file_size - offset);
    if (ctx->l2_scanned > bound)
        return qcow2_beyond_limit(ctx, "L2 tables overlap each other beyond reason",
                                  ctx->l2_scanned, bound);
    r = table_reader_get(&ctx->l2_reader, i, ret_table);
    if (r < 0)
        return qcow2_read_failed(ctx, r, QCA_TABLE_L2, offset);
    return check_advance(ctx->check, size);
}

static int compare_items(const void *a, const void *b)
{
    const struct l2_item *left = a, *right = b;

    if (left->offset != right->offset)
        return left->offset < right->offset ? -1 : 1;
    /* The active one with the lowest index comes first: it lends its place to issues. */
    if (left->snapshot != right->snapshot)
        return left->snapshot == QCA_ACTIVE ? -1 : right->snapshot == QCA_ACTIVE ? 1
            : left->snapshot < right->snapshot ? -1 : 1;
    return left->l1_index < right->l1_index ? -1 : left->l1_index > right->l1_index;
}

static bool items_rise(const struct l2_item *items, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (items[i - 1].offset >= items[i].offset)
            return false;
    return true;
}

static void items_unite(struct qcow2_check *ctx)
{
    struct l2_item *items = ctx->items;
    size_t kept = 0;

    if (!items_rise(items, ctx->n_items)) {
        qsort(items, ctx->n_items, sizeof(*items), compare_items);
        for (size_t i = 1; i < ctx->n_items; i++)
            if (items[i].offset == items[kept].offset) {
                items[kept].active += items[i].active;
                items[kept].inactive += items[i].inactive;
            } else
                items[++kept] = items[i];
        ctx->n_items = kept + 1;
    }
    table_reader_set(&ctx->l2_reader, items, ctx->n_items, item_offset);
    ctx->check->work_total += ctx->n_items * ctx->l2_reader.table_size;
}

int qcow2_items_flush(struct qcow2_check *ctx, l2_table_fn visit)
{
    int r = 0;

    if (ctx->n_items == 0)
        return 0;
    items_unite(ctx);
    for (size_t i = 0; r == 0 && i < ctx->n_items; i++) {
        const uint8_t *table;

        r = l2_get(ctx, i, &table);
        if (r == 0)
            r = visit(ctx, &ctx->items[i], table);
    }
    ctx->n_items = 0;
    return r;
}

/* Room for one more. What L1 tables say may be far more than what of them points into the file:
 * memory is taken for what there is, and at the most the tables collected so far are gone through
 * first. */
static int items_reserve(struct qcow2_check *ctx, l2_table_fn visit)
{
    size_t n = min_u64(max_u64(2 * ctx->items_allocated, ITEMS_FIRST), ctx->max_items);
    struct l2_item *grown;

    if (ctx->n_items < ctx->items_allocated)
        return 0;
    if (ctx->n_items == ctx->max_items)
        return qcow2_items_flush(ctx, visit);
    grown = reallocarray(ctx->items, n, sizeof(*grown));
    if (!grown)
        return qcow2_out_of_memory(ctx);
    ctx->items = grown;
    ctx->items_allocated = n;
    return 0;
}

int qcow2_l1_walk(struct qcow2_check *ctx, uint64_t l1_offset, uint32_t l1_entries,
                  uint32_t snapshot, l1_entry_fn entry, l2_table_fn visit)
{
    uint64_t slice[L1_SLICE], file_size = ctx->image->info.file_size;
    uint64_t bound = qcow2_scan_bound(ctx->image, 4);
    uint64_t inside = qcow2_l1_entries_inside(ctx->image, l1_offset, l1_entries);
    int r;

    for (uint64_t i = 0; i < inside; i += L1_SLICE) {
        size_t n = min_u64(L1_SLICE, inside - i);

        r = qcow2_read(ctx->image, l1_offset + 8 * i, slice, 8 * n);
        if (r < 0)
            return qcow2_read_failed(ctx, r, QCA_TABLE_L1, l1_offset + 8 * i);
        ctx->l1_scanned += 8 * n;
        if (ctx->l1_scanned > bound)
            return qcow2_beyond_limit(ctx, "L1 tables overlap each other beyond reason",
                                      ctx->l1_scanned, bound);
        r = check_advance(ctx->check, 0);
        if (r < 0)
            return r;
        for (size_t k = 0; k < n; k++) {
            uint64_t value = be64_get(&slice[k]);
            bool collect = true;

            if (value == 0)
                continue;
            r = entry(ctx, l1_offset, i + k, snapshot, value, &collect);
            if (r < 0)
                return r;
            /* A table past the end of the file is all zero: there is nothing in it. */
            if (!collect || (value & L1_OFFSET_MASK) >= file_size)
                continue;
            r = items_reserve(ctx, visit);
            if (r < 0)
                return r;
            ctx->items[ctx->n_items++] = (struct l2_item) {
                .offset = value & L1_OFFSET_MASK,
                .active = snapshot == QCA_ACTIVE,
                .inactive = snapshot != QCA_ACTIVE,
                .l1_index = i + k,
                .snapshot = snapshot,
            };
        }
    }
    return 0;
}

void qcow2_guest_range(const struct qcow2_check *ctx, const struct l2_item *item, uint64_t index,
                       uint64_t n, struct qca_issue *issue)
{
    const struct qcow2 *qcow2 = ctx->qcow2;
    uint64_t start = (((uint64_t)item->l1_index << qcow2->l2_bits) + index) << qcow2->cluster_bits;
    uint64_t disk = ctx->image->info.virtual_size;

    /* Clusters past the end of the disk hold VM state. */
    if (start >= disk)
        return;
    issue->guest_offset = start;
    issue->guest_length = min_u64(n << qcow2->cluster_bits, disk - start);
}

/* An issue about one entry of an item's L2 table, or about what it points at. */
static struct qca_issue l2_issue(const struct qcow2_check *ctx, const struct l2_item *item,
                                 enum qca_issue_kind kind, uint32_t index, uint64_t host_offset,
                                 uint64_t host_length)
{
    struct qca_issue issue = check_issue_new(kind, QCA_TABLE_L2);

    issue.snapshot = item->snapshot;
    issue.table_offset = item->offset;
    issue.index = index;
    issue.host_offset = host_offset;
    issue.host_length = host_length;
    issue.count = (uint64_t)item->active + item->inactive;
    qcow2_guest_range(ctx, item, index, 1, &issue);
    return issue;
}

static int count_l1_entry(struct qcow2_check *ctx, uint64_t l1_offset, uint32_t index,
                          uint32_t snapshot, uint64_t entry, bool *collect)
{
    uint64_t l2_offset = entry & L1_OFFSET_MASK, cluster_size = qcow2_cluster_size(ctx->qcow2);
    struct l2_item item = { .l1_index = index, .snapshot = snapshot };
    struct qca_issue issue = check_issue_new(QCA_ISSUE_L1_RESERVED_BITS, QCA_TABLE_L1);
    unsigned flags = 0;
    int r;

    issue.snapshot = snapshot;
    issue.table_offset = l1_offset;
    issue.index = index;
    issue.host_offset = l2_offset;
    issue.host_length = cluster_size;
    qcow2_guest_range(ctx, &item, 0, UINT64_C(1) << ctx->qcow2->l2_bits, &issue);
    if (entry & L1_RESERVED_MASK) {
        r = qcow2_issue(ctx, issue);
        if (r < 0)
            return r;
    }
    if (l2_offset == 0 && (entry & ENTRY_COPIED) && snapshot == QCA_ACTIVE) {
        struct qca_issue odd = issue;

        odd.kind = QCA_ISSUE_COPIED_WITHOUT_OFFSET;
        r = qcow2_issue(ctx, odd);
        if (r < 0)
            return r;
    }
    if (l2_offset >> ctx->qcow2->cluster_bits == ctx->cut_cluster) {
        r = qcow2_report_cut(ctx, issue);
        if (r < 0)
            return r;
    }
    if (snapshot == QCA_ACTIVE && l2_offset)
        flags = entry & ENTRY_COPIED ? COUNT_COPIED : COUNT_NOT_COPIED;
    r = qcow2_reference(ctx, l2_offset, cluster_size, 1, flags, &issue);
    if (r < 0 || qcow2_aligned(ctx->qcow2, l2_offset))
        return r;
    issue.kind = QCA_ISSUE_L1_UNALIGNED;
    return qcow2_issue(ctx, issue);
}

/* Fragmentation by the allocated entries of one table: it starts afresh in each table. */
struct fragments {
    uint64_t next;              /* where the next cluster would have to lie; 0: any place */
};

static void count_allocated(struct qcow2_check *ctx, const struct l2_item *item,
                            struct fragments *fragments, uint64_t offset, uint32_t length)
{
    struct qca_check_result *result = ctx->check->result;

    if (!ctx->first_pass || item->active == 0)
        return;
    result->allocated_clusters += (uint64_t)length * item->active;
    if (fragments->next && offset != fragments->next)
        result->fragmented_clusters += item->active;
    fragments->next = offset + ((uint64_t)length << ctx->qcow2->cluster_bits);
}

static unsigned copied_flags(const struct l2_item *item, uint64_t entry)
{
    return item->active == 0 ? 0 : entry & ENTRY_COPIED ? COUNT_COPIED : COUNT_NOT_COPIED;
}

/* The part of a run that lies past the end of the file: each cluster of it is one corruption. */
static int count_run_outside(struct qcow2_check *ctx, const struct l2_item *item,
                             const struct l2_run *run, uint32_t inside)
{
    uint64_t cluster_size = qcow2_cluster_size(ctx->qcow2);
    int r;

    qcow2_flag_uncounted(ctx, ((run->entry & L2_OFFSET_MASK) >> ctx->qcow2->cluster_bits) + inside,
                         copied_flags(item, run->entry));
    for (uint32_t i = inside; i < run->length && ctx->first_pass; i++) {
        r = qcow2_issue(ctx,
                        l2_issue(ctx, item, QCA_ISSUE_OUT_OF_FILE, run->index + i,
                                 (run->entry & L2_OFFSET_MASK) + i * cluster_size, cluster_size));
        if (r < 0)
            return r;
    }
    return 0;
}

/* The file ends within the run's cluster number i. Subclusters that were never written need not be
 * there. */
static int count_run_cut(struct qcow2_check *ctx, const struct l2_item *item,
                         const struct l2_run *run, uint32_t i)
{
    if (ctx->qcow2->extended_l2 && run->bitmap != UINT32_MAX)
        return 0;
    return qcow2_report_cut(ctx, l2_issue(ctx, item, QCA_ISSUE_LAST_CLUSTER_CUT, run->index + i,
                                          QCA_NO_OFFSET, 0));
}

static int count_run(struct qcow2_check *ctx, const struct l2_item *item, const struct l2_run *run)
{
    uint64_t cluster = (run->entry & L2_OFFSET_MASK) >> ctx->qcow2->cluster_bits;
    uint32_t inside = cluster < ctx->n_file_clusters
                          ? min_u64(run->length, ctx->n_file_clusters - cluster)
                          : 0;
    int r;

    if (ctx->cut_cluster - cluster < run->length) {
        r = count_run_cut(ctx, item, run, ctx->cut_cluster - cluster);
        if (r < 0)
            return r;
    }
    if (inside == 1 && run->length == 1 && item->active + item->inactive == 1 &&
        count_add_bit(&ctx->map, cluster, copied_flags(item, run->entry)))
        return 0;
    if (inside > 0) {
        r = count_add(&ctx->map, cluster, inside, (uint64_t)item->active + item->inactive,
                      copied_flags(item, run->entry));
        if (r < 0)
            return qcow2_out_of_memory(ctx);
    }
    return inside < run->length ? count_run_outside(ctx, item, run, inside) : 0;
}

/* Counts entries from index on that are in order and that nothing else references so far, up to the
 * first one that is not so or goes on where the one before it ended: how many there were. Where
 * clusters lie in no order, this is what the whole check consists of. */
static uint32_t count_singles(struct qcow2_check *ctx, const struct l2_item *item,
                              const uint8_t *table, uint32_t index, struct fragments *fragments)
{
    /* All in variables of its own: each bit that is set could change anything else for all the
     * compiler knows. */
    const uint64_t dirty = ~(ENTRY_COPIED | ((UINT64_C(1) << 55) - qcow2_cluster_size(ctx->qcow2)));
    const uint64_t low = ctx->map.low, cluster_size = qcow2_cluster_size(ctx->qcow2);
    const uint64_t high = min_u64(min_u64(ctx->n_file_clusters, ctx->cut_cluster), ctx->map.high);
    const uint32_t n = UINT32_C(1) << ctx->qcow2->l2_bits;
    const unsigned bits = ctx->qcow2->cluster_bits;
    const unsigned copied = copied_flags(item, ENTRY_COPIED), not_copied = copied_flags(item, 0);
    struct count_page *const pages = ctx->map.pages;
    uint64_t next = fragments->next;
    uint32_t fragmented = 0, i = index;

    if (ctx->qcow2->extended_l2 || item->active + item->inactive != 1)
        return 0;
    for (; i < n; i++) {
        uint64_t entry = be64_get(table + 8 * (uint64_t)i), offset = entry & L2_OFFSET_MASK,
                 cluster = offset >> bits;

        if ((entry & dirty) || offset == 0 || offset == next || cluster < low || cluster >= high ||
            !count_page_add_bit(&pages[cluster >> COUNT_PAGE_BITS],
                                cluster & (COUNT_PAGE_CLUSTERS - 1),
                                entry & ENTRY_COPIED ? copied : not_copied))
            break;
        fragmented += next != 0;
        next = offset + cluster_size;
    }
    fragments->next = next;
    if (ctx->first_pass && item->active == 1) {
        ctx->check->result->allocated_clusters += i - index;
        ctx->check->result->fragmented_clusters += fragmented;
    }
    return i - index;
}

static int count_compressed(struct qcow2_check *ctx, const struct l2_item *item,
                            const struct l2_run *run)
{
    const struct qcow2 *qcow2 = ctx->qcow2;
    struct qcow2_compressed place = qcow2_compressed(qcow2, run->entry);
    struct qca_issue issue = l2_issue(ctx, item, QCA_ISSUE_L2_COMPRESSED_COPIED, run->index,
                                      place.offset, place.size);
    struct qca_check_result *result = ctx->check->result;
    int r;

    if (run->entry & ENTRY_COPIED) {
        r = qcow2_issue(ctx, issue);
        if (r < 0)
            return r;
    }
    if (qcow2->has_data_file) {
        issue.kind = QCA_ISSUE_L2_COMPRESSED_DATA_FILE;
        return qcow2_issue(ctx, issue);
    }
    if (run->bitmap) {
        issue.kind = QCA_ISSUE_L2_COMPRESSED_SUBCLUSTERS;
        return qcow2_issue(ctx, issue);
    }
    if (ctx->first_pass) {
        result->allocated_clusters += item->active;
        result->compressed_clusters += item->active;
        result->fragmented_clusters += item->active;
    }
    return qcow2_reference(ctx, place.offset, place.size, issue.count, 0, &issue);
}

/* One entry with a place, of which anything may be wrong. */
static int count_entry(struct qcow2_check *ctx, const struct l2_item *item,
                       const struct l2_run *run, struct fragments *fragments)
{
    const struct qcow2 *qcow2 = ctx->qcow2;
    uint64_t offset = run->entry & L2_OFFSET_MASK;
    struct qca_issue issue = l2_issue(ctx, item, QCA_ISSUE_L2_RESERVED_BITS, run->index, offset,
                                      qcow2_cluster_size(qcow2));
    int r;

    r = qcow2_entry_oddities(ctx, item, run);
    if (r < 0)
        return r;
    if (run->entry & L2_RESERVED_MASK) {
        r = qcow2_issue(ctx, issue);
        if (r < 0)
            return r;
    }
    if (subclusters_conflict(run->bitmap)) {
        issue.kind = QCA_ISSUE_L2_SUBCLUSTERS;
        r = qcow2_issue(ctx, issue);
        if (r < 0)
            return r;
    }
    if (!qcow2_aligned(qcow2, offset)) {
        issue.kind = QCA_ISSUE_L2_UNALIGNED;
        r = qcow2_issue(ctx, issue);
        if (r < 0)
            return r;
    }
    count_allocated(ctx, item, fragments, offset, 1);
    if (!qcow2->has_data_file)
        return qcow2_reference(ctx, offset, qcow2_cluster_size(qcow2), issue.count,
                               copied_flags(item, run->entry), &issue);
    if (item->active > 0 && !(run->entry & ENTRY_COPIED))
        ctx->outside_copied = true;
    return qcow2_data_file_entry(ctx, item, run->index, offset);
}

static int count_unallocated(struct qcow2_check *ctx, const struct l2_item *item,
                             const struct l2_run *run)
{
    struct qca_issue issue = l2_issue(ctx, item, QCA_ISSUE_L2_RESERVED_BITS, run->index,
                                      QCA_NO_OFFSET, 0);
    int r;

    r = qcow2_entry_oddities(ctx, item, run);
    if (r < 0)
        return r;
    if (run->entry & L2_RESERVED_MASK) {
        r = qcow2_issue(ctx, issue);
        if (r < 0)
            return r;
    }
    if (!(run->bitmap & UINT32_MAX))
        return 0;
    issue.kind = QCA_ISSUE_L2_SUBCLUSTERS;
    return qcow2_issue(ctx, issue);
}

static int count_table(struct qcow2_check *ctx, const struct l2_item *item, const uint8_t *table)
{
    struct fragments fragments = { 0 };
    int r = qcow2_table_oddities(ctx, item, table);

    for (uint32_t index = 0; r == 0;) {
        struct l2_run run = l2_run_next(ctx->qcow2, ctx->wide, table, index);

        switch (run.kind) {
        case L2_RUN_END:
            return 0;
        case L2_RUN_DATA:
            if (ctx->qcow2->has_data_file) {
                run.length = 1;
                r = count_entry(ctx, item, &run, &fragments);
                break;
            }
            count_allocated(ctx, item, &fragments, run.entry & L2_OFFSET_MASK, run.length);
            r = count_run(ctx, item, &run);
            if (r == 0 && run.length == 1)
                run.length += count_singles(ctx, item, table, run.index + 1, &fragments);
            break;
        case L2_RUN_ALLOCATED:
            r = count_entry(ctx, item, &run, &fragments);
            break;
        case L2_RUN_COMPRESSED:
            r = count_compressed(ctx, item, &run);
            break;
        case L2_RUN_UNALLOCATED:
            r = count_unallocated(ctx, item, &run);
            break;
        }
        index = run.index + run.length;
    }
    return r;
}

/* The table itself, then its entries. */
static int count_l1(struct qcow2_check *ctx, uint64_t l1_offset, uint32_t l1_entries,
                    uint32_t snapshot)
{
    struct qca_issue issue = check_issue_new(QCA_ISSUE_OUT_OF_FILE, QCA_TABLE_L1);
    int r;

    if (l1_entries == 0)
        return 0;
    issue.snapshot = snapshot;
    issue.table_offset = issue.host_offset = l1_offset;
    issue.host_length = UINT64_C(8) * l1_entries;
    r = qcow2_reference(ctx, l1_offset, issue.host_length, 1, 0, &issue);
    if (r < 0)
        return r;
    if (l1_offset + issue.host_length > QCOW2_MAX_OFFSET || l1_offset > QCOW2_MAX_OFFSET)
        return qcow2_read_failed(ctx, -EIO, QCA_TABLE_L1, l1_offset);
    return qcow2_l1_walk(ctx, l1_offset, l1_entries, snapshot, count_l1_entry, count_table);
}

bool qcow2_snapshot_l1_valid(const struct qcow2_check *ctx, uint32_t number)
{
    const struct qca_snapshot *snapshot = &ctx->image->info.snapshots[number];

    return qcow2_aligned(ctx->qcow2, snapshot->l1_offset) &&
           snapshot->l1_entries <= QCOW2_MAX_L1_BYTES / 8;
}

static int count_snapshot(struct qcow2_check *ctx, uint32_t number)
{
    const struct qca_snapshot *snapshot = &ctx->image->info.snapshots[number];

    if (!qcow2_snapshot_l1_valid(ctx, number)) {
        struct qca_issue issue = check_issue_new(QCA_ISSUE_SNAPSHOT_L1_INVALID,
                                                 QCA_TABLE_SNAPSHOTS);

        issue.snapshot = number;
        issue.table_offset = ctx->image->info.snapshots_offset;
        issue.index = number;
        issue.host_offset = snapshot->l1_offset;
        issue.host_length = UINT64_C(8) * snapshot->l1_entries;
        return qcow2_issue(ctx, issue);
    }
    return count_l1(ctx, snapshot->l1_offset, snapshot->l1_entries, number);
}

int qcow2_count_tables(struct qcow2_check *ctx)
{
    const struct qca_image_info *info = &ctx->image->info;
    int r;

    ctx->l1_scanned = ctx->l2_scanned = 0;
    ctx->n_items = 0;
    r = count_l1(ctx, info->l1_offset, info->l1_entries, QCA_ACTIVE);
    if (r < 0)
        return r;
    if (ctx->qcow2->has_data_file && info->n_snapshots > 0) {
        struct qca_issue issue = check_issue_new(QCA_ISSUE_SNAPSHOT_WITH_DATA_FILE,
                                                 QCA_TABLE_HEADER);

        r = qcow2_issue(ctx, issue);
        if (r < 0)
            return r;
    }
    for (uint32_t i = 0; i < info->n_snapshots; i++) {
        r = count_snapshot(ctx, i);
        if (r < 0)
            return r;
    }
    return qcow2_items_flush(ctx, count_table);
}
