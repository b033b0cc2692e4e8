/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VirtualBox's VDI: "VDIPREHEADER" and "VDIHEADER1" of VirtualBox's src/VBox/Storage/VDICore.h, all
 * of it little-endian. A parent is named by its UUID alone, which no path tells. */
#include <errno.h>

#include "block-layout.h"
#include "bytes.h"
#include "check.h"
#include "foreign.h"

enum {
    AT_SIGNATURE = 64,
    AT_VERSION = 68,
    AT_TYPE = 76,
    AT_MAP = 340,               /* offBlocks */
    AT_DATA = 344,              /* offData */
    AT_DISK_SIZE = 368,
    AT_BLOCK_SIZE = 376,
    AT_BLOCK_EXTRA = 380,
    AT_BLOCKS = 384,            /* cBlocks */
    AT_ALLOCATED = 388,         /* cBlocksAllocated */
    AT_UUID = 392,              /* uuidCreate */
    AT_LINKAGE = 424,           /* uuidLinkage: the parent's uuidCreate */
    HEADER_SIZE = 392,
    HEADER_ALL = 440,           /* with the UUIDs */
    TYPE_DYNAMIC = 1,
    TYPE_FIXED = 2,
    TYPE_UNDO = 3,
    TYPE_DIFFERENCING = 4,
    SECTOR = 512,
    ENTRY = 4,
    MAP_ENTRIES = 16384,        /* of a part of the map, read at a time */
};

#define SIGNATURE UINT32_C(0xbeda107f)
/* VDI_IMAGE_BLOCK_FREE, VDI_IMAGE_BLOCK_ZERO */
#define BLOCK_FREE UINT32_C(0xffffffff)
#define BLOCK_ZEROS UINT32_C(0xfffffffe)
/* The most blocks that QEMU opens (block/vdi.c, VDI_BLOCKS_IN_IMAGE_MAX). */
#define BLOCKS_MAX ((uint32_t)INT32_MAX / ENTRY)

struct vdi {
    struct block_layout layout;
    uint32_t allocated;         /* blocks, as the header counts them */
    struct foreign_field bad;   /* why there is no layout */
};

static bool vdi_probe(struct probe *probe)
{
    return le32_get(probe->head + AT_SIGNATURE) == SIGNATURE;
}

/* ---- blocks ------------------------------------------------------------------------------- */

static struct block vdi_entry(const struct qca_image *image, uint64_t number, const uint8_t *entry)
{
    const struct vdi *vdi = image->own;
    uint32_t value = le32_get(entry);
    struct block block = { .kind = BLOCK_DATA };

    (void)number;
    if (value == BLOCK_FREE)
        block.kind = BLOCK_PARENT;
    else if (value == BLOCK_ZEROS)
        block.kind = BLOCK_ZERO;
    else if (value >= vdi->layout.n_blocks) {
        block.kind = BLOCK_INVALID;
        block.issue = QCA_ISSUE_BLOCK_NUMBER;
        block.reason = "a block map entry is beyond the number of blocks that the header counts";
    } else
        block.offset = vdi->layout.data_start +
                       value * (vdi->layout.block_size + vdi->layout.lead) + vdi->layout.lead;
    return block;
}

/* As QEMU opens an image (block/vdi.c, vdi_open()), and with what VirtualBox allows besides: blocks
 * of other sizes, and with room before their data. */
static void take_layout(struct qca_image *image, const uint8_t *header)
{
    struct vdi *vdi = image->own;
    uint32_t block = le32_get(header + AT_BLOCK_SIZE), extra = le32_get(header + AT_BLOCK_EXTRA),
             n = le32_get(header + AT_BLOCKS), map = le32_get(header + AT_MAP),
             data = le32_get(header + AT_DATA);

    vdi->allocated = le32_get(header + AT_ALLOCATED);
    if (block < SECTOR || block % SECTOR != 0)
        vdi->bad = (struct foreign_field){ "cbBlock", AT_BLOCK_SIZE, block };
    else if (extra > block)
        vdi->bad = (struct foreign_field){ "cbBlockExtra", AT_BLOCK_EXTRA, extra };
    else if (n > BLOCKS_MAX || (uint64_t)n * block < image->info.virtual_size)
        vdi->bad = (struct foreign_field){ "cBlocks", AT_BLOCKS, n };
    else if (map < HEADER_SIZE)
        vdi->bad = (struct foreign_field){ "offBlocks", AT_MAP, map };
    else if (data < map + (uint64_t)n * ENTRY)
        vdi->bad = (struct foreign_field){ "offData", AT_DATA, data };
    vdi->layout = (struct block_layout) {
        .block_size = block,
        .n_blocks = n,
        .entry_size = ENTRY,
        .entries = MAP_ENTRIES,
        .first_table = map,
        .stride = (uint64_t)MAP_ENTRIES * ENTRY,
        .entry = vdi_entry,
        .lead = extra,
        .data_start = data,
        .parent_unknown = image->info.variant == QCA_VARIANT_DIFFERENCING,
        .issues = {
            .table_outside = QCA_ISSUE_TABLE_OUT_OF_FILE,
            .outside = QCA_ISSUE_BLOCK_OUT_OF_FILE,
            .twice = QCA_ISSUE_BLOCK_MAPPED_TWICE,
            .on_metadata = QCA_ISSUE_DATA_ON_METADATA,
            .tables = QCA_ISSUE_METADATA_SHARED,
            .unaligned = QCA_ISSUE_BLOCK_UNALIGNED,
            .leak = QCA_ISSUE_BLOCK_UNUSED,
        },
    };
}

static const struct block_layout *vdi_layout(const struct qca_image *image)
{
    const struct vdi *vdi = image->own;

    return vdi && !vdi->bad.name ? &vdi->layout : NULL;
}

/* ---- header ------------------------------------------------------------------------------- */

static enum qca_variant variant_of(uint32_t type)
{
    switch (type) {
    case TYPE_DYNAMIC:
        return QCA_VARIANT_DYNAMIC;
    case TYPE_FIXED:
        return QCA_VARIANT_FIXED;
    case TYPE_UNDO:             /* a layer, too, which nobody makes any more */
    case TYPE_DIFFERENCING:
        return QCA_VARIANT_DIFFERENCING;
    default:
        return QCA_VARIANT_NONE;
    }
}

/* By them, VirtualBox finds the parent among the disks that it keeps a list of; that the parent was
 * not written to since, uuidParentModify tells, for which there is no other mark here. Other
 * programs have no UUIDs, or none of a parent. */
static int take_identities(struct qca_image *image, struct qca_error *error)
{
    uint8_t uuids[HEADER_ALL - AT_UUID];
    int r;

    if (image->info.file_size < HEADER_ALL)
        return 0;
    r = foreign_read(image, error, AT_UUID, uuids, sizeof(uuids), "the VDI header");
    if (r < 0)
        return r;
    foreign_identity(uuids, true, &image->info.identity);
    if (image->info.variant == QCA_VARIANT_DIFFERENCING)
        foreign_identity(uuids + (AT_LINKAGE - AT_UUID), true, &image->info.parent_identity);
    return 0;
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
    info->variant = variant_of(le32_get(header + AT_TYPE));
    info->cluster_size = le32_get(header + AT_BLOCK_SIZE);
    size = le64_get(header + AT_DISK_SIZE);
    /* other writers than VirtualBox leave sizes that are no whole sectors: QEMU rounds them up */
    r = foreign_size(image, error, "cbDisk", AT_DISK_SIZE, div_round_up(size, SECTOR), SECTOR);
    if (r < 0)
        return r;
    if (info->variant == QCA_VARIANT_NONE)
        return foreign_invalid(error, "type", AT_TYPE, le32_get(header + AT_TYPE),
                               TYPE_DIFFERENCING, "this type of VDI is not known");
    r = foreign_new_own(image, sizeof(struct vdi), error);
    if (r < 0)
        return r;
    take_layout(image, header);
    return take_identities(image, error);
}

static void vdi_close(struct qca_image *image)
{
    free(image->own);
}

/* ---- check -------------------------------------------------------------------------------- */

/* QEMU counts blocks with data alone (block/vdi.c, vdi_co_check()). */
static int check_count(const struct vdi *vdi, struct check *check)
{
    struct qca_issue issue = check_issue_new(QCA_ISSUE_BLOCK_COUNT, QCA_TABLE_HEADER);
    uint64_t allocated = check->result->allocated_clusters;

    if (vdi->allocated == allocated)
        return 0;
    issue.host_offset = AT_ALLOCATED;
    issue.stored = vdi->allocated;
    issue.counted = allocated;
    return check_issue(check, &issue);
}

static int vdi_check(struct qca_image *image, struct check *check)
{
    const struct vdi *vdi = image->own;
    const struct block_metadata header = { 0, HEADER_ALL, QCA_TABLE_HEADER };
    int r;

    if (!vdi)
        return -EOPNOTSUPP;
    if (vdi->bad.name)
        return foreign_issue_field(check, &vdi->bad);
    r = block_check(image, check, &header, 1);
    return r < 0 ? r : check_count(vdi, check);
}

const struct format format_vdi = {
    .format = QCA_FORMAT_VDI,
    .probe = vdi_probe,
    .open = vdi_open,
    .close = vdi_close,
    .check = vdi_check,
    .map = &block_map,
    .layout = vdi_layout,
};
