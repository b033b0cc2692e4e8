/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a VHD maps its disk: "Virtual Hard Disk Image Format Specification" 1.0, "Block Allocation
 * Table and Data Blocks". Entries are big-endian sector numbers of blocks, each of which begins
 * with a bitmap of its sectors. */
#include "bytes.h"
#include "vhd.h"

enum {
    ENTRY_SIZE = 4,
    BLOCK_SIZE_MIN = 8 * VHD_SECTOR,    /* a whole byte of the bitmap */
    PART_ENTRIES = 16384,       /* of the table, read at a time */
};

/* Of the bitmap, which is padded to whole sectors. */
static uint64_t bitmap_size(uint32_t block_size)
{
    return round_up(block_size / VHD_SECTOR / 8, VHD_SECTOR);
}

static uint32_t block_size(const struct vhd *vhd)
{
    return be32_get(vhd->header + VHD_AT_BLOCK_SIZE);
}

uint64_t vhd_table_entries(const struct vhd *vhd)
{
    return be32_get(vhd->header + VHD_AT_ENTRIES);
}

static struct foreign_field bad_field(const struct vhd *vhd, const char *name, uint32_t at)
{
    return (struct foreign_field){ name, vhd->header_offset + at, be32_get(vhd->header + at) };
}

/* Of blocks smaller than QEMU's bitmap can be, other programs have another idea of where their
 * data lies: QEMU (block/vpc.c) gives them no bitmap at all. */
struct foreign_field vhd_find_bad_field(const struct qca_image *image, const struct vhd *vhd)
{
    uint32_t size = block_size(vhd), version = be32_get(vhd->footer + VHD_AT_VERSION);
    uint64_t table = be64_get(vhd->header + VHD_AT_TABLE);

    if (version >> 16 != VHD_MAJOR)
        return (struct foreign_field){ "File Format Version", vhd->footer_offset + VHD_AT_VERSION,
                                       version };
    if (be32_get(vhd->header + VHD_AT_HEADER_VERSION) >> 16 != VHD_MAJOR)
        return bad_field(vhd, "Header Version", VHD_AT_HEADER_VERSION);
    if (size < BLOCK_SIZE_MIN || (size & (size - 1)) != 0)
        return bad_field(vhd, "Block Size", VHD_AT_BLOCK_SIZE);
    if (image->info.virtual_size > VHD_SIZE_MAX)
        return (struct foreign_field){ "Current Size", vhd->footer_offset + VHD_AT_CURRENT_SIZE,
                                       be64_get(vhd->footer + VHD_AT_CURRENT_SIZE) };
    if (vhd_table_entries(vhd) < div_round_up(image->info.virtual_size, size) ||
        vhd_table_entries(vhd) > VHD_SIZE_MAX / size)
        return bad_field(vhd, "Max Table Entries", VHD_AT_ENTRIES);
    if (table > (uint64_t)INT64_MAX / 2)
        return (struct foreign_field){ "Table Offset", vhd->header_offset + VHD_AT_TABLE, table };
    return (struct foreign_field){ .name = NULL };
}

/* QEMU, which our digest is to agree with, reads a dynamic disk without looking at the bitmaps: in
 * a block that is there, sectors that are not marked are zeros anyway. */
static struct block vhd_entry(const struct qca_image *image, uint64_t number, const uint8_t *entry)
{
    const struct vhd *vhd = image->own;
    uint32_t sector = be32_get(entry);
    uint64_t offset = (uint64_t)sector * VHD_SECTOR;

    (void)number;
    if (sector == VHD_UNUSED)
        return (struct block){ .kind = BLOCK_PARENT };
    return (struct block){
        .kind = image->info.variant == QCA_VARIANT_DIFFERENCING ? BLOCK_SECTORS : BLOCK_DATA,
        .offset = offset + vhd->layout.lead,
        .bitmap = offset,
    };
}

/* All of it, or QEMU (block/vpc.c) does not open the image. */
static bool table_is_inside(const struct qca_image *image, const struct vhd *vhd)
{
    uint64_t end = be64_get(vhd->header + VHD_AT_TABLE) + vhd_table_entries(vhd) * ENTRY_SIZE;

    return end <= image->info.file_size;
}

void vhd_set_layout(const struct qca_image *image, struct vhd *vhd)
{
    uint32_t size = block_size(vhd);

    vhd->has_layout = image->info.variant != QCA_VARIANT_FIXED &&
                      !vhd_find_bad_field(image, vhd).name && table_is_inside(image, vhd);
    if (!vhd->has_layout)
        return;
    vhd->layout = (struct block_layout){
        .block_size = size,
        .n_blocks = div_round_up(image->info.virtual_size, size),
        .entry_size = ENTRY_SIZE,
        .entries = PART_ENTRIES,
        .first_table = be64_get(vhd->header + VHD_AT_TABLE),
        .stride = (uint64_t)PART_ENTRIES * ENTRY_SIZE,
        .entry = vhd_entry,
        .lead = bitmap_size(size),
        .bitmap_msb = true,
        .parent_unknown = image->info.variant == QCA_VARIANT_DIFFERENCING &&
                          !image->info.parent,
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

const struct block_layout *vhd_layout(const struct qca_image *image)
{
    const struct vhd *vhd = image->own;

    return vhd && vhd->has_layout ? &vhd->layout : NULL;
}
