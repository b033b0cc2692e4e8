/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VirtualBox's VDI, its header alone: "VDIPREHEADER" and "VDIHEADER1" of VirtualBox's
 * src/VBox/Storage/VDICore.h, all of it little-endian. A parent is named by its UUID alone, which
 * no path tells. */
#include "bytes.h"
#include "foreign.h"

enum {
    AT_SIGNATURE = 64,
    AT_VERSION = 68,
    AT_TYPE = 76,
    AT_DISK_SIZE = 368,
    AT_BLOCK_SIZE = 376,
    HEADER_SIZE = 392,
    TYPE_DYNAMIC = 1,
    TYPE_FIXED = 2,
    TYPE_DIFFERENCING = 4,
};

#define SIGNATURE UINT32_C(0xbeda107f)

static bool vdi_probe(struct probe *probe)
{
    return le32_get(probe->head + AT_SIGNATURE) == SIGNATURE;
}

static int vdi_open(struct qca_image *image, struct qca_error *error)
{
    struct qca_image_info *info = &image->info;
    uint8_t header[HEADER_SIZE];
    uint64_t size;
    int r;

    r = foreign_read(image, error, 0, header, sizeof(header), "the VDI header");
    if (r < 0)
        return r;
    if (le32_get(header + AT_SIGNATURE) != SIGNATURE)
        return foreign_other(image, error);
    info->version = le32_get(header + AT_VERSION);
    /* VirtualBox's first version has another layout: what its disk measures is not said here. */
    if (info->version >> 16 != 1)
        return 0;
    switch (le32_get(header + AT_TYPE)) {
    case TYPE_DYNAMIC:
        info->variant = QCA_VARIANT_DYNAMIC;
        break;
    case TYPE_FIXED:
        info->variant = QCA_VARIANT_FIXED;
        break;
    case TYPE_DIFFERENCING:
        info->variant = QCA_VARIANT_DIFFERENCING;
        break;
    default:                    /* undo logs, which nobody makes any more */
        break;
    }
    info->cluster_size = le32_get(header + AT_BLOCK_SIZE);
    size = le64_get(header + AT_DISK_SIZE);
    /* other writers than VirtualBox leave sizes that are no whole sectors: QEMU rounds them up */
    return foreign_size(image, error, "cbDisk", AT_DISK_SIZE, div_round_up(size, 512), 512);
}

const struct format format_vdi = {
    .format = QCA_FORMAT_VDI,
    .probe = vdi_probe,
    .open = vdi_open,
};
