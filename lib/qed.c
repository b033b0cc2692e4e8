/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QED: docs/interop/qed_spec.rst of QEMU, all of it little-endian. */
#include <errno.h>

#include "block-layout.h"
#include "bytes.h"
#include "check.h"
#include "foreign.h"

enum {
    AT_CLUSTER_SIZE = 4,
    AT_TABLE_SIZE = 8,          /* clusters of an L1 or L2 table */
    AT_HEADER_SIZE = 12,        /* clusters */
    AT_FEATURES = 16,
    AT_L1 = 40,
    AT_IMAGE_SIZE = 48,
    AT_PARENT_OFFSET = 56,
    AT_PARENT_SIZE = 60,
    HEADER_SIZE = 64,
    FEATURE_PARENT = 1 << 0,
    FEATURE_NEED_CHECK = 1 << 1,
    FEATURE_PARENT_IS_RAW = 1 << 2,
    FEATURES_KNOWN = FEATURE_PARENT | FEATURE_NEED_CHECK | FEATURE_PARENT_IS_RAW,
    CLUSTER_MIN = 4096,
    CLUSTER_MAX = 64 << 20,
    TABLE_SIZE_MAX = 16,
    ENTRY = 8,
    ENTRY_ZERO = 1,             /* "Cluster offset": a cluster of zeros */
};

static const uint8_t magic[4] = { 'Q', 'E', 'D', 0 };

struct qed {
    struct block_layout layout;
    uint64_t l1_offset;
    uint64_t header_size;       /* bytes */
    bool need_check;
    struct foreign_field bad;   /* why there is no layout */
};

static bool qed_probe(struct probe *probe)
{
    return memcmp(probe->head, magic, sizeof(magic)) == 0;
}

/* ---- blocks ------------------------------------------------------------------------------- */

static struct block qed_entry(const struct qca_image *image, uint64_t number, const uint8_t *entry)
{
    uint64_t offset = le64_get(entry);

    (void)image, (void)number;
    return (struct block) {
        .kind = offset == 0 ? BLOCK_PARENT : offset == ENTRY_ZERO ? BLOCK_ZERO : BLOCK_DATA,
        .offset = offset,
    };
}

static uint64_t qed_place(const struct qca_image *image, const uint8_t *entry)
{
    (void)image;
    return le64_get(entry);
}

/* The first n entries of the L1 table. */
static int read_l1(struct qca_image *image, uint64_t n, uint64_t memory, struct qca_error *error,
                   uint64_t **ret_tables)
{
    const struct qed *qed = image->own;
    const struct foreign_directory l1 = { "l1_table_offset", qed->l1_offset, n, ENTRY, qed_place };

    return foreign_directory_read(image, &l1, memory, error, ret_tables);
}

static int qed_directory(struct qca_image *image, uint64_t memory, struct qca_error *error,
                         uint64_t **ret_tables)
{
    const struct qed *qed = image->own;

    return read_l1(image, block_layout_tables(&qed->layout), memory, error, ret_tables);
}

static const struct block_layout *qed_layout(const struct qca_image *image)
{
    const struct qed *qed = image->own;

    return qed && !qed->bad.name ? &qed->layout : NULL;
}

/* Opens what QEMU does (block/qed.c, bdrv_qed_do_open()). */
static void take_layout(struct qca_image *image, const uint8_t *header)
{
    struct qed *qed = image->own;
    uint32_t cluster = image->info.cluster_size, table = le32_get(header + AT_TABLE_SIZE),
             header_size = le32_get(header + AT_HEADER_SIZE);
    uint64_t features = le64_get(header + AT_FEATURES), size = image->info.virtual_size, entries;

    qed->l1_offset = le64_get(header + AT_L1);
    qed->need_check = features & FEATURE_NEED_CHECK;
    entries = (uint64_t)table * cluster / ENTRY;
    if ((features & ~(uint64_t)FEATURES_KNOWN) != 0)
        qed->bad = (struct foreign_field){ "features", AT_FEATURES, features };
    else if (table == 0 || table > TABLE_SIZE_MAX || (table & (table - 1)) != 0)
        qed->bad = (struct foreign_field){ "table_size", AT_TABLE_SIZE, table };
    else if (header_size == 0 || header_size > UINT32_MAX / cluster)
        qed->bad = (struct foreign_field){ "header_size", AT_HEADER_SIZE, header_size };
    else if (qed->l1_offset % cluster != 0 || qed->l1_offset < (uint64_t)header_size * cluster ||
             qed->l1_offset >= image->info.file_size)
        qed->bad = (struct foreign_field){ "l1_table_offset", AT_L1, qed->l1_offset };
    else if (size % 512 != 0 || div_round_up(size, cluster) > entries * entries)
        qed->bad = (struct foreign_field){ "image_size", AT_IMAGE_SIZE, size };
    qed->header_size = (uint64_t)header_size * cluster;
    qed->layout = (struct block_layout) {
        .block_size = cluster,
        .n_blocks = div_round_up(size, cluster),
        .entry_size = ENTRY,
        .entries = (uint32_t)entries,
        .directory = qed_directory,
        .entry = qed_entry,
        .alignment = cluster,
        .issues = {
            .table_outside = QCA_ISSUE_OUT_OF_FILE,
            .outside = QCA_ISSUE_OUT_OF_FILE,
            .twice = QCA_ISSUE_BLOCK_MAPPED_TWICE,
            .on_metadata = QCA_ISSUE_BLOCK_REUSED,
            .tables = QCA_ISSUE_BLOCK_REUSED,
            .unaligned = QCA_ISSUE_L2_UNALIGNED,
            .leak = QCA_ISSUE_BLOCK_LEAKED,
        },
    };
}

/* ---- header ------------------------------------------------------------------------------- */

static int take_parent(struct qca_image *image, struct qca_error *error, const uint8_t *header)
{
    struct qca_image_info *info = &image->info;
    uint32_t size = le32_get(header + AT_PARENT_SIZE);
    uint8_t name[FOREIGN_NAME_MAX];
    int r;

    if (size > sizeof(name))
        return foreign_invalid(error, "backing_filename_size", AT_PARENT_SIZE, size, sizeof(name),
                               "the parent's name is too long");
    r = foreign_read(image, error, le32_get(header + AT_PARENT_OFFSET), name, size,
                     "the parent's name");
    if (r < 0)
        return r;
    r = foreign_name(name, size, &info->parent);
    if (r == 0 && info->parent && le64_get(header + AT_FEATURES) & FEATURE_PARENT_IS_RAW) {
        info->parent_format = strdup(qca_format_name(QCA_FORMAT_RAW));
        r = info->parent_format ? 0 : -ENOMEM;
    }
    return r < 0 ? error_set_memory(error) : 0;
}

static int qed_open(struct qca_image *image, struct qca_error *error)
{
    struct qca_image_info *info = &image->info;
    uint8_t header[HEADER_SIZE];
    int r = foreign_read(image, error, 0, header, sizeof(header), "the QED header");

    if (r < 0)
        return r;
    if (memcmp(header, magic, sizeof(magic)) != 0)
        return foreign_other(image, error);
    info->cluster_size = le32_get(header + AT_CLUSTER_SIZE);
    if (info->cluster_size < CLUSTER_MIN || info->cluster_size > CLUSTER_MAX ||
        (info->cluster_size & (info->cluster_size - 1)) != 0)
        return foreign_invalid(error, "cluster_size", AT_CLUSTER_SIZE, info->cluster_size,
                               CLUSTER_MAX, "the cluster size is no power of two from 4 KiB to "
                                            "64 MiB");
    r = foreign_size(image, error, "image_size", AT_IMAGE_SIZE, le64_get(header + AT_IMAGE_SIZE),
                     1);
    if (r == 0 && le64_get(header + AT_FEATURES) & FEATURE_PARENT)
        r = take_parent(image, error, header);
    if (r < 0)
        return r;
    r = foreign_new_own(image, sizeof(struct qed), error);
    if (r < 0)
        return r;
    take_layout(image, header);
    return 0;
}

static void qed_close(struct qca_image *image)
{
    free(image->own);
}

static bool qed_link(const struct qca_image *image, unsigned index, struct image_link *ret_link)
{
    return image_link_parent(image, index, "backing_filename_offset", AT_PARENT_OFFSET, ret_link);
}

/* ---- check -------------------------------------------------------------------------------- */

static int compare_offsets(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

static int tell_beyond(const struct qca_image *image, struct check *check, uint64_t index,
                       uint64_t table, bool used)
{
    struct qca_issue issue = check_issue_new(used ? QCA_ISSUE_BLOCK_REUSED
                                             : table >= image->info.file_size
                                                 ? QCA_ISSUE_OUT_OF_FILE
                                                 : QCA_ISSUE_MAPPING_BEYOND_DISK,
                                             QCA_TABLE_L1);
    const struct qed *qed = image->own;

    issue.table_offset = qed->l1_offset;
    issue.index = index;
    issue.host_offset = table;
    issue.host_length = (uint64_t)qed->layout.entries * ENTRY;
    return check_issue(check, &issue);
}

/* The L1 table is as long as any: what it says behind the end of the disk QEMU checks, too. */
static int check_beyond(struct qca_image *image, struct check *check)
{
    const struct qed *qed = image->own;
    uint64_t n = block_layout_tables(&qed->layout), all = qed->layout.entries;
    struct qca_error error = { .kind = QCA_ERROR_NONE };
    _cleanup_free_ uint64_t *l1 = NULL;
    int r = read_l1(image, all, check->options.memory_limit, &error, &l1);

    if (r < 0)
        return check_unfinished(check, r, &error);
    qsort(l1, n, sizeof(*l1), compare_offsets);
    for (uint64_t i = n; i < all && r >= 0; i++)
        if (l1[i] != 0)
            r = tell_beyond(image, check, i, l1[i],
                            bsearch(&l1[i], l1, n, sizeof(*l1), compare_offsets));
    return r;
}

static int qed_check(struct qca_image *image, struct check *check)
{
    const struct qed *qed = image->own;
    uint64_t l1_size = (uint64_t)qed->layout.entries * ENTRY;
    const struct block_metadata metadata[] = {
        { 0, qed->header_size, QCA_TABLE_HEADER },
        { qed->l1_offset, l1_size, QCA_TABLE_L1 },
    };
    int r = 0;

    if (qed->bad.name)
        return foreign_issue_field(check, &qed->bad);
    if (l1_size > image->info.file_size - qed->l1_offset)
        r = check_issue_at(check, QCA_ISSUE_OUT_OF_FILE, QCA_TABLE_HEADER, qed->l1_offset,
                           l1_size);
    if (r >= 0 && qed->need_check)
        r = check_issue_at(check, QCA_ISSUE_DIRTY_BIT, QCA_TABLE_HEADER, AT_FEATURES, 8);
    if (r >= 0)
        r = block_check(image, check, metadata, ELEMENTSOF(metadata));
    return r < 0 ? r : check_beyond(image, check);
}

const struct format format_qed = {
    .format = QCA_FORMAT_QED,
    .probe = qed_probe,
    .open = qed_open,
    .close = qed_close,
    .check = qed_check,
    .map = &block_map,
    .layout = qed_layout,
    .link = qed_link,
};
