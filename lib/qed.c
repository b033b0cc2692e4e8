/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QED, its header alone: docs/interop/qed_spec.rst of QEMU, "Header", all of it little-endian. */
#include <errno.h>

#include "bytes.h"
#include "foreign.h"

enum {
    AT_CLUSTER_SIZE = 4,
    AT_FEATURES = 16,
    AT_IMAGE_SIZE = 48,
    AT_PARENT_OFFSET = 56,
    AT_PARENT_SIZE = 60,
    HEADER_SIZE = 64,
    FEATURE_PARENT = 1 << 0,
    FEATURE_PARENT_IS_RAW = 1 << 2,
    CLUSTER_MIN = 4096,
    CLUSTER_MAX = 64 << 20,
};

static const uint8_t magic[4] = { 'Q', 'E', 'D', 0 };

static bool qed_probe(struct probe *probe)
{
    return memcmp(probe->head, magic, sizeof(magic)) == 0;
}

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
    return r < 0 ? error_set(error, ENOMEM, QCA_ERROR_MEMORY, (struct error_field){ 0 },
                             "out of memory")
                 : 0;
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
    return r;
}

static bool qed_link(const struct qca_image *image, unsigned index, struct image_link *ret_link)
{
    return image_link_parent(image, index, "backing_filename_offset", AT_PARENT_OFFSET, ret_link);
}

const struct format format_qed = {
    .format = QCA_FORMAT_QED,
    .probe = qed_probe,
    .open = qed_open,
    .link = qed_link,
};
