/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VMware's VMDK, its headers alone: "Virtual Disk Format 5.0", "Hosted Sparse Extents" (KDMV) and
 * "ESX Server Sparse Extents" (COWD), and SESparse as QEMU's block/vmdk.c reads it, all of it
 * little-endian; and the descriptor, by itself or within a sparse extent. */
#include "vmdk.h"

#include <errno.h>

#include "bytes.h"
#include "foreign.h"

enum {
    SECTOR = 512,
    SPARSE_AT_VERSION = 4,
    SPARSE_AT_FLAGS = 8,
    SPARSE_AT_CAPACITY = 12,
    SPARSE_AT_GRAIN = 20,
    SPARSE_AT_DESCRIPTOR = 28,
    SPARSE_AT_DESCRIPTOR_SIZE = 36,
    SPARSE_AT_DIRECTORY = 56,
    SPARSE_HEADER = 79,
    SPARSE_VERSION_MAX = 3,
    SPARSE_COMPRESSED = 1 << 16,
    FOOTER_FROM_END = 2 * SECTOR,

    COWD_AT_VERSION = 4,
    COWD_AT_CAPACITY = 12,
    COWD_AT_GRAIN = 16,

    SE_AT_VERSION = 8,
    SE_AT_CAPACITY = 16,
    SE_AT_GRAIN = 24,
};

#define DIRECTORY_AT_END UINT64_MAX
#define SE_MAGIC UINT64_C(0x00000000cafebabe)
#define SE_VERSION_2_1 UINT64_C(0x0000000200000001)

static bool is_sparse(const uint8_t *head)
{
    return memcmp(head, "KDMV", 4) == 0;
}

static bool is_cowd(const uint8_t *head)
{
    return memcmp(head, "COWD", 4) == 0;
}

static bool is_se_sparse(const uint8_t *head)
{
    return le64_get(head) == SE_MAGIC && le64_get(head + SE_AT_VERSION) == SE_VERSION_2_1;
}

/* The whole text, which is no longer than QEMU reads of it. */
static int read_descriptor(struct qca_io *io, uint64_t offset, uint64_t size, uint8_t **ret_text)
{
    size_t n = (size_t)min_u64(size, VMDK_DESCRIPTOR_MAX);
    uint8_t *text = malloc(n ? n : 1);
    int r = text ? qca_io_read(io, offset, text, n) : -ENOMEM;

    if (r < 0) {
        free(text);
        return r;
    }
    *ret_text = text;
    return 0;
}

/* A version alone begins many a text that has nothing to do with disks. */
static bool is_descriptor(struct probe *probe)
{
    _cleanup_free_ uint8_t *text = NULL;
    size_t n = (size_t)min_u64(probe->size, VMDK_DESCRIPTOR_MAX);
    bool sure = false;
    int r;

    /* comments may fill what was read: then only the rest tells */
    if (!vmdk_descriptor_begins(probe->head, (size_t)min_u64(probe->size, PROBE_SIZE), &sure) &&
        (probe->head[0] != '#' || memchr(probe->head, 0, min_u64(probe->size, PROBE_SIZE)) ||
         probe->size <= PROBE_SIZE))
        return false;
    if (sure)
        return true;
    r = read_descriptor(probe->io, 0, n, &text);
    if (r < 0) {
        probe->error = r;
        return false;
    }
    return vmdk_descriptor_begins(text, n, &sure) && (sure || vmdk_descriptor_has_type(text, n));
}

static bool vmdk_probe(struct probe *probe)
{
    return is_sparse(probe->head) || is_cowd(probe->head) || is_se_sparse(probe->head) ||
           is_descriptor(probe);
}

static int take_descriptor(struct qca_image *image, struct qca_error *error, uint64_t offset,
                           uint64_t size, bool embedded)
{
    _cleanup_free_ uint8_t *text = NULL;
    int r;

    size = min_u64(size, VMDK_DESCRIPTOR_MAX);
    if (offset > image->info.file_size || size > image->info.file_size - offset)
        return error_set(error, EINVAL, QCA_ERROR_TRUNCATED,
                         (struct error_field){ "descriptorOffset", SPARSE_AT_DESCRIPTOR, offset,
                                               image->info.file_size },
                         "the descriptor lies beyond the end of the file");
    r = read_descriptor(image->io, offset, size, &text);
    if (r < 0)
        return error_set_read(error, r, offset, "the descriptor");
    return vmdk_descriptor_parse(image, error, text, (size_t)size, embedded);
}

static uint32_t grain_size(uint64_t sectors)
{
    return sectors <= UINT32_MAX / SECTOR ? (uint32_t)sectors * SECTOR : 0;
}

static int open_sparse(struct qca_image *image, struct qca_error *error)
{
    struct qca_image_info *info = &image->info;
    uint8_t header[SPARSE_HEADER], footer[SPARSE_HEADER];
    uint64_t descriptor, size, capacity;
    int r = foreign_read(image, error, 0, header, sizeof(header), "the sparse extent's header");

    if (r < 0)
        return r;
    info->version = le32_get(header + SPARSE_AT_VERSION);
    if (info->version == 0 || info->version > SPARSE_VERSION_MAX)
        return foreign_invalid(error, "version", SPARSE_AT_VERSION, info->version,
                               SPARSE_VERSION_MAX, "this version of sparse extents is not known");
    info->variant = le32_get(header + SPARSE_AT_FLAGS) & SPARSE_COMPRESSED
                        ? QCA_VARIANT_VMDK_STREAM
                        : QCA_VARIANT_VMDK_SPARSE;
    info->cluster_size = grain_size(le64_get(header + SPARSE_AT_GRAIN));
    capacity = le64_get(header + SPARSE_AT_CAPACITY);
    /* what was written as a stream may have its true header at the end */
    if (le64_get(header + SPARSE_AT_DIRECTORY) == DIRECTORY_AT_END &&
        info->file_size >= FOOTER_FROM_END) {
        r = foreign_read(image, error, info->file_size - FOOTER_FROM_END, footer, sizeof(footer),
                         "the sparse extent's footer");
        if (r < 0)
            return r;
        if (is_sparse(footer))
            capacity = le64_get(footer + SPARSE_AT_CAPACITY);
    }
    descriptor = le64_get(header + SPARSE_AT_DESCRIPTOR);
    size = le64_get(header + SPARSE_AT_DESCRIPTOR_SIZE);
    if (descriptor > (uint64_t)INT64_MAX / SECTOR || size > (uint64_t)INT64_MAX / SECTOR)
        return foreign_invalid(error, "descriptorOffset", SPARSE_AT_DESCRIPTOR, descriptor,
                               INT64_MAX / SECTOR,
                               "the descriptor lies beyond the largest file");
    if (capacity > 0)
        r = foreign_size(image, error, "capacity", SPARSE_AT_CAPACITY, capacity, SECTOR);
    /* a disk of no size has a descriptor that says where it really is */
    if (r == 0 && descriptor > 0 && size > 0)
        r = take_descriptor(image, error, descriptor * SECTOR, size * SECTOR, capacity > 0);
    return r;
}

static int vmdk_open(struct qca_image *image, struct qca_error *error)
{
    struct qca_image_info *info = &image->info;
    struct probe probe;
    int r = probe_begin(image->io, &probe);

    if (r < 0)
        return error_set_read(error, r, 0, "the VMDK header");
    if (is_sparse(probe.head))
        return open_sparse(image, error);
    if (is_cowd(probe.head)) {
        info->variant = QCA_VARIANT_VMDK_COWD;
        info->version = le32_get(probe.head + COWD_AT_VERSION);
        info->cluster_size = grain_size(le32_get(probe.head + COWD_AT_GRAIN));
        return foreign_size(image, error, "numSectors", COWD_AT_CAPACITY,
                            le32_get(probe.head + COWD_AT_CAPACITY), SECTOR);
    }
    if (is_se_sparse(probe.head)) {
        info->variant = QCA_VARIANT_VMDK_SESPARSE;
        info->version = 2;
        info->cluster_size = grain_size(le64_get(probe.head + SE_AT_GRAIN));
        return foreign_size(image, error, "capacity", SE_AT_CAPACITY,
                            le64_get(probe.head + SE_AT_CAPACITY), SECTOR);
    }
    if (!is_descriptor(&probe))
        return probe.error < 0 ? error_set_read(error, probe.error, 0, "the descriptor")
                               : foreign_other(image, error);
    info->variant = QCA_VARIANT_VMDK_DESCRIPTOR;
    return take_descriptor(image, error, 0, info->file_size, false);
}

static bool vmdk_link(const struct qca_image *image, unsigned index, struct image_link *ret_link)
{
    return image_link_parent(image, index, "parentFileNameHint", 0, ret_link);
}

const struct format format_vmdk = {
    .format = QCA_FORMAT_VMDK,
    .probe = vmdk_probe,
    .open = vmdk_open,
    .link = vmdk_link,
};
