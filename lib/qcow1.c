/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The first qcow: "QCOWHeader" and get_cluster_offset() of QEMU's block/qcow.c, all of it
 * big-endian. What format its parent has is not said anywhere in it. */
#include <errno.h>

#include "block-layout.h"
#include "bytes.h"
#include "check.h"
#include "foreign.h"

enum {
    AT_VERSION = 4,
    AT_PARENT_OFFSET = 8,
    AT_PARENT_SIZE = 16,
    AT_SIZE = 24,
    AT_CLUSTER_BITS = 32,
    AT_L2_BITS = 33,
    AT_CRYPT = 36,
    AT_L1 = 40,
    ENTRY = 8,
    L2_BITS_MIN = 9 - 3,        /* as QEMU opens */
    L2_BITS_MAX = 16 - 3,
    HEADER_SIZE = 48,
    CLUSTER_BITS_MIN = 9,
    CLUSTER_BITS_MAX = 16,
};

#define MAGIC UINT32_C(0x514649fb)      /* "QFI\xfb" */

#define COMPRESSED (UINT64_C(1) << 63)
/* QEMU refuses larger L1 tables. */
#define L1_MAX ((uint64_t)INT32_MAX / ENTRY)

struct qcow1 {
    struct block_layout layout;
    unsigned cluster_bits;
    uint64_t l1_offset;
    struct foreign_field bad;   /* why there is no layout */
};

static bool qcow1_probe(struct probe *probe)
{
    return be32_get(probe->head) == MAGIC && be32_get(probe->head + AT_VERSION) == 1;
}

/* ---- blocks ------------------------------------------------------------------------------- */

static struct block qcow1_entry(const struct qca_image *image, uint64_t number,
                                const uint8_t *entry)
{
    const struct qcow1 *qcow1 = image->own;
    uint64_t value = be64_get(entry);
    unsigned shift = 63 - qcow1->cluster_bits;

    (void)number;
    if (value == 0)
        return (struct block){ .kind = BLOCK_PARENT };
    if (!(value & COMPRESSED))
        return (struct block){ .kind = BLOCK_DATA, .offset = value };
    return (struct block) {
        .kind = BLOCK_COMPRESSED,
        .offset = value & ((UINT64_C(1) << shift) - 1),
        .length = value >> shift & (qcow1->layout.block_size - 1),
    };
}

static uint64_t qcow1_place(const struct qca_image *image, const uint8_t *entry)
{
    (void)image;
    return be64_get(entry);
}

/* A table of up to 1 GiB is neither read nor allocated unless the file holds it. */
static bool l1_is_in_file(const struct qca_image *image)
{
    const struct qcow1 *qcow1 = image->own;
    uint64_t size = block_layout_tables(&qcow1->layout) * ENTRY;

    return qcow1->l1_offset <= image->info.file_size &&
           size <= image->info.file_size - qcow1->l1_offset;
}

static int qcow1_directory(struct qca_image *image, uint64_t memory, struct qca_error *error,
                           uint64_t **ret_tables)
{
    const struct qcow1 *qcow1 = image->own;
    const struct foreign_directory l1 = { "l1_table_offset", qcow1->l1_offset,
                                          block_layout_tables(&qcow1->layout), ENTRY, qcow1_place };

    if (!l1_is_in_file(image))
        return error_set(error, EBADMSG, QCA_ERROR_TRUNCATED,
                         (struct error_field){ l1.name, l1.offset, l1.n, image->info.file_size },
                         "the file ends before the end of the L1 table");
    return foreign_directory_read(image, &l1, memory, error, ret_tables);
}

static const struct block_layout *qcow1_layout(const struct qca_image *image)
{
    const struct qcow1 *qcow1 = image->own;

    return qcow1->bad.name ? NULL : &qcow1->layout;
}

/* Opens what QEMU does (qcow_open()). */
static void take_layout(struct qca_image *image, const uint8_t *header)
{
    struct qcow1 *qcow1 = image->own;
    uint64_t size = image->info.virtual_size;
    unsigned l2_bits = header[AT_L2_BITS];

    qcow1->cluster_bits = header[AT_CLUSTER_BITS];
    qcow1->l1_offset = be64_get(header + AT_L1);
    if (l2_bits < L2_BITS_MIN || l2_bits > L2_BITS_MAX) {
        qcow1->bad = (struct foreign_field){ "l2_bits", AT_L2_BITS, l2_bits };
        return;
    }
    if (size <= 1 || div_round_up(size, UINT64_C(1) << (qcow1->cluster_bits + l2_bits)) > L1_MAX)
        qcow1->bad = (struct foreign_field){ "size", AT_SIZE, size };
    else if (qcow1->l1_offset < HEADER_SIZE || qcow1->l1_offset >= image->info.file_size)
        qcow1->bad = (struct foreign_field){ "l1_table_offset", AT_L1, qcow1->l1_offset };
    qcow1->layout = (struct block_layout) {
        .block_size = image->info.cluster_size,
        .n_blocks = div_round_up(size, image->info.cluster_size),
        .entry_size = ENTRY,
        .entries = UINT32_C(1) << l2_bits,
        .directory = qcow1_directory,
        .entry = qcow1_entry,
        .alignment = image->info.cluster_size,
        .issues = {
            .table_outside = QCA_ISSUE_TABLE_OUT_OF_FILE,
            .outside = QCA_ISSUE_BLOCK_OUT_OF_FILE,
            .twice = QCA_ISSUE_BLOCK_OVERLAP,
            .on_metadata = QCA_ISSUE_DATA_ON_METADATA,
            .tables = QCA_ISSUE_METADATA_SHARED,
            .unaligned = QCA_ISSUE_BLOCK_UNALIGNED,
            .leak = _QCA_ISSUE_MAX,
        },
    };
}

/* ---- header ------------------------------------------------------------------------------- */

static int take_parent(struct qca_image *image, struct qca_error *error, const uint8_t *header)
{
    uint32_t size = be32_get(header + AT_PARENT_SIZE);
    uint8_t name[FOREIGN_NAME_MAX];
    int r;

    if (size > sizeof(name))
        return foreign_invalid(error, "backing_file_size", AT_PARENT_SIZE, size, sizeof(name),
                               "the parent's name is too long");
    r = foreign_read(image, error, be64_get(header + AT_PARENT_OFFSET), name, size,
                     "the parent's name");
    if (r == 0 && foreign_name(name, size, &image->info.parent) < 0)
        r = error_set_memory(error);
    return r;
}

static int qcow1_open(struct qca_image *image, struct qca_error *error)
{
    struct qca_image_info *info = &image->info;
    uint8_t header[HEADER_SIZE];
    int r = foreign_read(image, error, 0, header, sizeof(header), "the qcow header");

    if (r < 0)
        return r;
    if (be32_get(header) != MAGIC || be32_get(header + AT_VERSION) != 1)
        return foreign_other(image, error);
    info->version = 1;
    if (header[AT_CLUSTER_BITS] < CLUSTER_BITS_MIN || header[AT_CLUSTER_BITS] > CLUSTER_BITS_MAX)
        return foreign_invalid(error, "cluster_bits", AT_CLUSTER_BITS, header[AT_CLUSTER_BITS],
                               CLUSTER_BITS_MAX,
                               "the cluster size is not within 512 bytes to 64 KiB");
    info->cluster_size = UINT32_C(1) << header[AT_CLUSTER_BITS];
    if (be32_get(header + AT_CRYPT) > QCA_CRYPT_LUKS)
        return foreign_invalid(error, "crypt_method", AT_CRYPT, be32_get(header + AT_CRYPT),
                               QCA_CRYPT_LUKS, "this encryption method is not known");
    info->crypt_method = (enum qca_crypt)be32_get(header + AT_CRYPT);
    r = foreign_size(image, error, "size", AT_SIZE, be64_get(header + AT_SIZE), 1);
    if (r == 0 && be64_get(header + AT_PARENT_OFFSET) != 0)
        r = take_parent(image, error, header);
    if (r < 0)
        return r;
    r = foreign_new_own(image, sizeof(struct qcow1), error);
    if (r < 0)
        return r;
    take_layout(image, header);
    return 0;
}

static void qcow1_close(struct qca_image *image)
{
    free(image->own);
}

static int qcow1_check(struct qca_image *image, struct check *check)
{
    const struct qcow1 *qcow1 = image->own;
    struct block_metadata metadata[] = {
        { 0, HEADER_SIZE, QCA_TABLE_HEADER },
        { .offset = qcow1->l1_offset, .table = QCA_TABLE_L1 },
    }, *l1 = &metadata[1];

    if (qcow1->bad.name)
        return foreign_issue_field(check, &qcow1->bad);
    l1->size = block_layout_tables(&qcow1->layout) * ENTRY;
    if (!l1_is_in_file(image))
        return check_issue_at(check, QCA_ISSUE_TABLE_OUT_OF_FILE, QCA_TABLE_HEADER, l1->offset,
                              l1->size);
    return block_check(image, check, metadata, ELEMENTSOF(metadata));
}

static bool qcow1_link(const struct qca_image *image, unsigned index, struct image_link *ret_link)
{
    return image_link_parent(image, index, "backing_file_offset", AT_PARENT_OFFSET, ret_link);
}

const struct format format_qcow = {
    .format = QCA_FORMAT_QCOW,
    .probe = qcow1_probe,
    .open = qcow1_open,
    .close = qcow1_close,
    .check = qcow1_check,
    .map = &block_map,
    .layout = qcow1_layout,
    .link = qcow1_link,
};
