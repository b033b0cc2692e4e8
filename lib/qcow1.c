/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The first qcow, its header alone: "QCOWHeader" of QEMU's block/qcow.c, all of it big-endian. What
 * format its parent has is not said anywhere in it. */
#include <errno.h>

#include "bytes.h"
#include "foreign.h"

enum {
    AT_VERSION = 4,
    AT_PARENT_OFFSET = 8,
    AT_PARENT_SIZE = 16,
    AT_SIZE = 24,
    AT_CLUSTER_BITS = 32,
    AT_CRYPT = 36,
    HEADER_SIZE = 48,
    CLUSTER_BITS_MIN = 9,
    CLUSTER_BITS_MAX = 16,
};

#define MAGIC UINT32_C(0x514649fb)      /* "QFI\xfb" */

static bool qcow1_probe(struct probe *probe)
{
    return be32_get(probe->head) == MAGIC && be32_get(probe->head + AT_VERSION) == 1;
}

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
        r = error_set(error, ENOMEM, QCA_ERROR_MEMORY, (struct error_field){ 0 }, "out of memory");
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
    return r;
}

static bool qcow1_link(const struct qca_image *image, unsigned index, struct image_link *ret_link)
{
    return image_link_parent(image, index, "backing_file_offset", AT_PARENT_OFFSET, ret_link);
}

const struct format format_qcow = {
    .format = QCA_FORMAT_QCOW,
    .probe = qcow1_probe,
    .open = qcow1_open,
    .link = qcow1_link,
};
