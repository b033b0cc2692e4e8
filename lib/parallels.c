/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Parallels' expandable image, its header alone: docs/interop/parallels.rst of QEMU, "Header", all
 * of it little-endian. Parents are named by a DiskDescriptor.xml beside it, not by the image. */
#include "bytes.h"
#include "foreign.h"

enum {
    AT_VERSION = 16,
    AT_TRACKS = 28,             /* sectors of a cluster */
    AT_SECTORS = 36,
    HEADER_SIZE = 64,
    MAGIC_SIZE = 16,
    SECTOR = 512,
    VERSION = 2,
};

static const char magic_old[MAGIC_SIZE + 1] = "WithoutFreeSpace",
                  magic_new[MAGIC_SIZE + 1] = "WithouFreSpacExt";

static bool parallels_probe(struct probe *probe)
{
    return memcmp(probe->head, magic_old, MAGIC_SIZE) == 0 ||
           memcmp(probe->head, magic_new, MAGIC_SIZE) == 0;
}

static int parallels_open(struct qca_image *image, struct qca_error *error)
{
    struct qca_image_info *info = &image->info;
    uint8_t header[HEADER_SIZE];
    uint64_t sectors;
    bool old;
    int r = foreign_read(image, error, 0, header, sizeof(header), "the Parallels header");

    if (r < 0)
        return r;
    old = memcmp(header, magic_old, MAGIC_SIZE) == 0;
    if (!old && memcmp(header, magic_new, MAGIC_SIZE) != 0)
        return foreign_other(image, error);
    info->version = le32_get(header + AT_VERSION);
    if (info->version != VERSION)
        return foreign_invalid(error, "version", AT_VERSION, info->version, VERSION,
                               "this version of the Parallels format is not known");
    if (le32_get(header + AT_TRACKS) <= UINT32_MAX / SECTOR)
        info->cluster_size = le32_get(header + AT_TRACKS) * SECTOR;
    sectors = le64_get(header + AT_SECTORS);
    if (old)                    /* whose upper half may hold anything */
        sectors &= UINT32_MAX;
    return foreign_size(image, error, "nb_sectors", AT_SECTORS, sectors, SECTOR);
}

const struct format format_parallels = {
    .format = QCA_FORMAT_PARALLELS,
    .probe = parallels_probe,
    .open = parallels_open,
};
