/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VMware's VMDK, by what it begins with: one of three kinds of extents ("Virtual Disk Format 5.0",
 * "Hosted Sparse Extents", KDMV, and "ESX Server Sparse Extents", COWD; SESparse as QEMU's
 * block/vmdk.c reads it), or the descriptor alone. */
#include "vmdk.h"

#include <errno.h>

#include "bytes.h"
#include "foreign.h"
#include "inflate.h"
#include "pieces.h"

enum {
    DESCRIPTOR_AT = 28,         /* descriptorOffset of a hosted sparse extent */
    SE_AT_VERSION = 8,
};

#define SE_MAGIC UINT64_C(0x00000000cafebabe)
#define SE_VERSION_2_1 UINT64_C(0x0000000200000001)

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
    return vmdk_is_sparse(probe->head) || is_cowd(probe->head) || is_se_sparse(probe->head) ||
           is_descriptor(probe);
}

int vmdk_take_descriptor(struct qca_image *image, struct qca_error *error, uint64_t offset,
                         uint64_t size, bool embedded)
{
    _cleanup_free_ uint8_t *text = NULL;
    int r;

    size = min_u64(size, VMDK_DESCRIPTOR_MAX);
    if (offset > image->info.file_size || size > image->info.file_size - offset)
        return error_set(error, EINVAL, QCA_ERROR_TRUNCATED,
                         (struct error_field){ "descriptorOffset", DESCRIPTOR_AT, offset,
                                               image->info.file_size },
                         "the descriptor lies beyond the end of the file");
    r = read_descriptor(image->io, offset, size, &text);
    if (r < 0)
        return error_set_read(error, r, offset, "the descriptor");
    return vmdk_descriptor_parse(image, error, text, (size_t)size, embedded);
}

static int open_extent(struct qca_image *image, const uint8_t *head, struct qca_error *error,
                       int (*opener)(struct qca_image *image, const uint8_t *head,
                                   struct qca_error *error))
{
    int r = foreign_new_own(image, sizeof(struct vmdk_extent), error);

    return r < 0 ? r : opener(image, head, error);
}

static int vmdk_open(struct qca_image *image, struct qca_error *error)
{
    struct probe probe;
    int r = probe_begin(image->io, &probe);

    if (r < 0)
        return error_set_read(error, r, 0, "the VMDK header");
    if (vmdk_is_sparse(probe.head))
        return open_extent(image, probe.head, error, vmdk_sparse_open);
    if (is_cowd(probe.head))
        return open_extent(image, probe.head, error, vmdk_cowd_open);
    if (is_se_sparse(probe.head))
        return open_extent(image, probe.head, error, vmdk_sesparse_open);
    if (!is_descriptor(&probe))
        return probe.error < 0 ? error_set_read(error, probe.error, 0, "the descriptor")
                               : foreign_other(image, error);
    image->info.variant = QCA_VARIANT_VMDK_DESCRIPTOR;
    return vmdk_take_descriptor(image, error, 0, image->info.file_size, false);
}

static void vmdk_close(struct qca_image *image)
{
    struct vmdk_extent *extent = image->own;

    if (extent)
        inflater_free(extent->inflater);
    free(extent);
}

bool vmdk_extent_of_disk(struct qca_image *image)
{
    struct vmdk_extent *extent = image->own;

    if (extent)
        extent->layout.parent_unknown = false;
    return extent;
}

static const struct block_layout *vmdk_layout(const struct qca_image *image)
{
    const struct vmdk_extent *extent = image->own;

    return extent && !extent->bad.name && !extent->unread ? &extent->layout : NULL;
}

/* A descriptor by itself has nothing to check. */
static int vmdk_check(struct qca_image *image, struct check *check)
{
    const struct vmdk_extent *extent = image->own;

    if (!extent)
        return image->pieces ? pieces_check(image, check) : -EOPNOTSUPP;
    return extent->check(image, check);
}

static bool vmdk_link(const struct qca_image *image, unsigned index, struct image_link *ret_link)
{
    const struct qca_image_info *info = &image->info;

    if (image->own || index >= info->n_extents)
        return image_link_parent(image, image->own ? index : index - (unsigned)info->n_extents,
                                 "parentFileNameHint", 0, ret_link);
    *ret_link = (struct image_link){
        .kind = QCA_REFERENCE_EXTENT,
        .name = info->extents[index].name,
        .field = "Extent description",
        .format_field = "Extent description",
    };
    return true;
}

const struct format format_vmdk = {
    .format = QCA_FORMAT_VMDK,
    .probe = vmdk_probe,
    .open = vmdk_open,
    .close = vmdk_close,
    .check = vmdk_check,
    .map = &block_map,
    .layout = vmdk_layout,
    .link = vmdk_link,
};
