/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Oddities that `qemu-img check` does not report, in a qcow2 header, its extensions, the snapshot
 * table and the bitmaps. No table is walked for them. */
#include "qcow2-check.h"

#include "luks.h"

enum {
    FIELD_INCOMPATIBLE = 72,
    FIELD_AUTOCLEAR = 88,
    FIELD_REFCOUNT_ORDER = 96,
    FIELD_HEADER_LENGTH = 100,
    EXTENSION_BACKING_FORMAT = (int)0xe2792aca,
    EXTENSION_BITMAPS = 0x23852875,
    CHUNK = 16 * 1024,
};

#define KNOWN_AUTOCLEAR (QCA_AUTOCLEAR_BITMAPS | QCA_AUTOCLEAR_DATA_FILE_RAW)

bool qcow2_any_set(const uint8_t *data, uint64_t size)
{
    uint64_t any = 0, i = 0;

    for (; i + 8 <= size; i += 8) {
        uint64_t word;

        memcpy(&word, data + i, sizeof(word));
        any |= word;
    }
    for (; i < size; i++)
        any |= data[i];
    return any != 0;
}

int qcow2_find_set(struct qcow2_check *ctx, uint64_t start, uint64_t end, uint64_t *ret_offset)
{
    uint8_t chunk[CHUNK];

    end = min_u64(end, ctx->image->info.file_size);
    for (uint64_t at = start; at < end; at += sizeof(chunk)) {
        size_t n = min_u64(sizeof(chunk), end - at);
        int r = qcow2_read(ctx->image, at, chunk, n);

        if (r < 0)
            return r;
        if (qcow2_any_set(chunk, n)) {
            *ret_offset = at;
            return 1;
        }
    }
    return 0;
}

/* An issue about the header field at offset. */
static int header_issue(struct qcow2_check *ctx, enum qca_issue_kind kind, uint64_t offset)
{
    struct qca_issue issue = check_issue_new(kind, QCA_TABLE_HEADER);

    issue.table_offset = 0;
    issue.index = offset;
    return check_issue(ctx->check, &issue);
}

static int report_fields(struct qcow2_check *ctx)
{
    const struct qca_image_info *info = &ctx->image->info;
    const struct { bool wrong; enum qca_issue_kind kind; uint64_t field; } marks[] = {
        { info->incompatible_features & QCA_INCOMPAT_CORRUPT, QCA_ISSUE_CORRUPT_BIT,
          FIELD_INCOMPATIBLE },
        { info->incompatible_features & QCA_INCOMPAT_DIRTY, QCA_ISSUE_DIRTY_BIT,
          FIELD_INCOMPATIBLE },
        { info->autoclear_features & ~KNOWN_AUTOCLEAR, QCA_ISSUE_AUTOCLEAR_UNKNOWN,
          FIELD_AUTOCLEAR },
        { info->header_length % 8 != 0, QCA_ISSUE_HEADER_LENGTH_UNALIGNED, FIELD_HEADER_LENGTH },
    };

    for (size_t i = 0; i < ELEMENTSOF(marks); i++) {
        int r = marks[i].wrong ? header_issue(ctx, marks[i].kind, marks[i].field) : 0;

        if (r < 0)
            return r;
    }
    return 0;
}

/* Does the image lack what the extension is for? */
static bool extension_is_stale(const struct qca_image_info *info, uint32_t type)
{
    switch (type) {
    case (uint32_t)EXTENSION_BACKING_FORMAT:
        return !info->parent;
    case EXTENSION_BITMAPS:
        return !(info->autoclear_features & QCA_AUTOCLEAR_BITMAPS);
    case QCOW2_EXTENSION_DATA_FILE:
        return !(info->incompatible_features & QCA_INCOMPAT_DATA_FILE);
    default:
        return false;
    }
}

static int report_extensions(struct qcow2_check *ctx)
{
    const struct qca_image_info *info = &ctx->image->info;
    int r = 0;

    for (size_t i = 0; r == 0 && i < info->n_extensions; i++) {
        const struct qca_extension *extension = &info->extensions[i];
        bool again = false;

        for (size_t k = 0; k < i && !again; k++)
            again = info->extensions[k].type == extension->type;
        if (again)
            r = header_issue(ctx, QCA_ISSUE_EXTENSION_DUPLICATE, extension->offset - 8);
        if (r == 0 && extension_is_stale(info, extension->type))
            r = header_issue(ctx, QCA_ISSUE_EXTENSION_STALE, extension->offset - 8);
    }
    return r;
}

/* Finds the end of the fields that version 3 added, if old versions of QEMU left them in a header
 * of version 2: only the refcounts' order and the header's length are not zero. START otherwise. */
static int skip_later_fields(const struct qcow2_check *ctx, uint64_t start, uint64_t *ret_start)
{
    enum { END = FIELD_HEADER_LENGTH + 4, ORDER_OF_VERSION_2 = 4 };
    const struct qcow2 *qcow2 = ctx->qcow2;
    uint8_t fields[END - FIELD_REFCOUNT_ORDER];
    uint32_t length;
    int r;

    *ret_start = start;
    if (ctx->image->info.version != 2 || start > FIELD_REFCOUNT_ORDER ||
        (qcow2->parent_offset && qcow2->parent_offset < END))
        return 0;
    r = qcow2_read(ctx->image, FIELD_REFCOUNT_ORDER, fields, sizeof(fields));
    if (r < 0)
        return r;
    length = be32_get(fields + 4);
    if (be32_get(fields) == ORDER_OF_VERSION_2 && (length == 72 || length == 104 || length == 112))
        *ret_start = END;
    return 0;
}

/* Anything between the header's parts or behind them: QEMU writes zeros there. */
static int report_slack(struct qcow2_check *ctx)
{
    const struct qcow2 *qcow2 = ctx->qcow2;
    uint64_t cluster_size = qcow2_cluster_size(qcow2), start = qcow2->extensions_end, at = 0, later;
    int r = skip_later_fields(ctx, start, &later);

    if (r == 0 && later > start)
        r = qcow2_find_set(ctx, start, FIELD_REFCOUNT_ORDER, &at);
    start = later;
    if (r == 0 && qcow2->parent_offset) {
        r = qcow2_find_set(ctx, start, qcow2->parent_offset, &at);
        start = qcow2->parent_offset + qcow2->parent_size;
    }
    if (r == 0)
        r = qcow2_find_set(ctx, start, cluster_size, &at);
    if (r < 0)
        return qcow2_read_failed(ctx, r, QCA_TABLE_HEADER, 0);
    return r > 0 ? header_issue(ctx, QCA_ISSUE_HEADER_SLACK, at) : 0;
}

/* ---- snapshots ---------------------------------------------------------------------------- */

static int snapshot_issue(struct qcow2_check *ctx, enum qca_issue_kind kind, uint32_t number)
{
    const struct qca_snapshot *snapshot = &ctx->image->info.snapshots[number];
    struct qca_issue issue = check_issue_new(kind, QCA_TABLE_SNAPSHOTS);

    issue.snapshot = number;
    issue.index = number;
    issue.table_offset = ctx->image->info.snapshots_offset;
    issue.host_offset = snapshot->l1_offset;
    issue.host_length = UINT64_C(8) * snapshot->l1_entries;
    return check_issue(ctx->check, &issue);
}

static int compare_ids(const void *a, const void *b)
{
    const struct qca_snapshot *const *left = a, *const *right = b;
    int order = strcmp((*left)->id, (*right)->id);

    return order ? order : *left < *right ? -1 : 1;
}

static int report_duplicate_ids(struct qcow2_check *ctx)
{
    const struct qca_image_info *info = &ctx->image->info;
    _cleanup_free_ const struct qca_snapshot **sorted = NULL;

    if (info->n_snapshots < 2)
        return 0;
    sorted = calloc(info->n_snapshots, sizeof(*sorted));
    if (!sorted)
        return qcow2_out_of_memory(ctx);
    for (size_t i = 0; i < info->n_snapshots; i++)
        sorted[i] = &info->snapshots[i];
    qsort(sorted, info->n_snapshots, sizeof(*sorted), compare_ids);
    for (size_t i = 1; i < info->n_snapshots; i++) {
        int r;

        if (strcmp(sorted[i - 1]->id, sorted[i]->id) != 0)
            continue;
        r = snapshot_issue(ctx, QCA_ISSUE_SNAPSHOT_ID_DUPLICATE, sorted[i] - info->snapshots);
        if (r < 0)
            return r;
    }
    return 0;
}

static int report_snapshots(struct qcow2_check *ctx)
{
    const struct qca_image_info *info = &ctx->image->info;
    unsigned shift = ctx->qcow2->cluster_bits + ctx->qcow2->l2_bits;
    int r = report_duplicate_ids(ctx);

    for (uint32_t i = 0; r == 0 && i < info->n_snapshots; i++) {
        const struct qca_snapshot *snapshot = &info->snapshots[i];

        /* An entry that does not say its disk size means the image's own. */
        if (snapshot->id[0] == 0 || (snapshot->l1_entries == 0 && info->l1_entries > 0))
            r = snapshot_issue(ctx, QCA_ISSUE_SNAPSHOT_EMPTY, i);
        else if (snapshot->l1_entries < div_round_up(snapshot->virtual_size, UINT64_C(1) << shift))
            r = snapshot_issue(ctx, QCA_ISSUE_SNAPSHOT_SIZE_MISMATCH, i);
    }
    return r;
}

/* ---- bitmaps ------------------------------------------------------------------------------ */

static int bitmap_issue(struct qcow2_check *ctx, enum qca_issue_kind kind, size_t number)
{
    struct qca_issue issue = check_issue_new(kind, QCA_TABLE_BITMAP_DIRECTORY);

    issue.table_offset = ctx->qcow2->bitmap_directory_offset;
    issue.index = number;
    issue.host_offset = ctx->image->info.bitmaps[number].table_offset;
    return check_issue(ctx->check, &issue);
}

/* Bits behind the last one that stands for a part of the disk, in the bitmap's last cluster. */
static int report_bitmap_tail(struct qcow2_check *ctx, size_t number)
{
    const struct qca_bitmap *bitmap = &ctx->image->info.bitmaps[number];
    uint64_t bits = div_round_up(ctx->image->info.virtual_size,
                                 UINT64_C(1) << bitmap->granularity_bits);
    uint64_t cluster_size = qcow2_cluster_size(ctx->qcow2), clusters, host, first, at;
    uint8_t entry[8], byte;
    int r;

    clusters = div_round_up(div_round_up(bits, 8), cluster_size);
    if (clusters == 0 || clusters != bitmap->table_entries)
        return 0;
    r = qcow2_read(ctx->image, bitmap->table_offset + 8 * (clusters - 1), entry, sizeof(entry));
    host = r < 0 ? 0 : be64_get(entry) & BITMAP_ENTRY_OFFSET_MASK;
    if (host == 0 || !qcow2_bitmap_entry_valid(ctx->qcow2, be64_get(entry)))
        return 0;               /* what is wrong here the count says */
    first = host + (bits / 8) % cluster_size;
    if (bits % (8 * cluster_size) == 0)
        return 0;
    if (bits % 8 != 0) {
        r = qcow2_read(ctx->image, first, &byte, 1);
        if (r < 0)
            return 0;
        if (byte >> (bits % 8))
            return bitmap_issue(ctx, QCA_ISSUE_BITMAP_BEYOND_DISK, number);
        first++;
    }
    return qcow2_find_set(ctx, first, host + cluster_size, &at) > 0
               ? bitmap_issue(ctx, QCA_ISSUE_BITMAP_BEYOND_DISK, number)
               : 0;
}

static int report_bitmaps(struct qcow2_check *ctx)
{
    const struct qca_image_info *info = &ctx->image->info;
    uint64_t looks = qcow2_scan_bound(ctx->image, 4) >> ctx->qcow2->cluster_bits;
    int r = 0;

    for (size_t i = 0; r == 0 && i < info->n_bitmaps; i++) {
        if (info->bitmaps[i].flags & QCA_BITMAP_IN_USE)
            r = bitmap_issue(ctx, QCA_ISSUE_BITMAP_IN_USE, i);
        else if (ctx->qcow2->bitmaps_result == 0 && i < looks)
            r = report_bitmap_tail(ctx, i);
        if (r == 0)
            r = check_advance(ctx->check, 0);
    }
    return r;
}

int qcow2_report_oddities(struct qcow2_check *ctx)
{
    int r;

    r = report_fields(ctx);
    if (r < 0)
        return r;
    r = report_extensions(ctx);
    if (r < 0)
        return r;
    r = report_slack(ctx);
    if (r < 0)
        return r;
    r = report_snapshots(ctx);
    if (r < 0)
        return r;
    r = report_bitmaps(ctx);
    if (r < 0 || ctx->image->info.crypt_method != QCA_CRYPT_LUKS)
        return r;
    return luks_check(ctx->image, ctx->check);
}
