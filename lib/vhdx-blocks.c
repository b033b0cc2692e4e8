/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a VHDX maps its disk: [MS-VHDX] 2.5. Entries of payload blocks are in chunks, each of which
 * ends with the entry of a block that holds bitmaps of sectors, for all the chunk's blocks. */
#include "vhdx.h"

#include <errno.h>

#include "bytes.h"
#include "foreign.h"

enum {
    ENTRY = 8,
    STATE = 7,                  /* 2.5.1: bits 0 to 2; the offset is in MiB, from bit 20 on */
};

#define CHUNK_SECTORS (UINT64_C(1) << 23)       /* 2.5: sectors of a chunk */

unsigned vhdx_entry_state(uint64_t entry)
{
    return entry & STATE;
}

uint64_t vhdx_entry_offset(uint64_t entry)
{
    return entry & ~(uint64_t)(VHDX_MIB - 1);
}

static struct block invalid(const char *reason)
{
    return (struct block){ .kind = BLOCK_INVALID, .issue = QCA_ISSUE_BLOCK_INVALID,
                           .reason = reason };
}

/* 2.5.1.1: a block of which some sectors are the parent's. */
static struct block partial(const struct vhdx *vhdx, uint64_t number, uint64_t offset)
{
    uint64_t ratio = vhdx->layout.entries, bitmap;

    if (!vhdx->bitmaps)
        return invalid("a block is partially present in an image without a parent");
    bitmap = vhdx->bitmaps[number / ratio];
    if (vhdx_entry_state(bitmap) != VHDX_FULLY_PRESENT)
        return invalid("a block is partially present, and its bitmap of sectors is not there");
    return (struct block){
        .kind = BLOCK_SECTORS,
        .offset = offset,
        .bitmap = vhdx_entry_offset(bitmap) + number % ratio * vhdx->bitmap_share,
    };
}

/* Undefined and unmapped blocks are zeros, as in QEMU (block/vhdx.c). */
static struct block vhdx_entry(const struct qca_image *image, uint64_t number, const uint8_t *entry)
{
    uint64_t value = le64_get(entry);

    switch (vhdx_entry_state(value)) {
    case VHDX_NOT_PRESENT:
        return (struct block){ .kind = BLOCK_PARENT };
    case VHDX_UNDEFINED:
    case VHDX_ZERO:
    case VHDX_UNMAPPED:
        return (struct block){ .kind = BLOCK_ZERO };
    case VHDX_FULLY_PRESENT:
        return (struct block){ .kind = BLOCK_DATA, .offset = vhdx_entry_offset(value) };
    case VHDX_PARTIALLY_PRESENT:
        return partial(image->own, number, vhdx_entry_offset(value));
    default:
        return invalid("a block has a state that is reserved");
    }
}

/* The bitmap blocks' entries, one behind each chunk: at most 64 TiB / 4 GiB. */
static int load_bitmaps(struct vhdx_scan *scan, struct vhdx *vhdx)
{
    uint64_t n = block_layout_tables(&vhdx->layout);
    int r = 0;

    vhdx->bitmaps = calloc(max_u64(n, 1), sizeof(*vhdx->bitmaps));
    if (!vhdx->bitmaps)
        return -ENOMEM;
    vhdx->n_bitmaps = n;
    for (uint64_t i = 0; i < n && r == 0; i++) {
        uint8_t entry[ENTRY];

        r = vhdx_read(scan,
                      vhdx->layout.first_table + i * vhdx->layout.stride +
                          (uint64_t)vhdx->layout.entries * ENTRY,
                      entry, sizeof(entry), "the block allocation table");
        vhdx->bitmaps[i] = r == 0 ? le64_get(entry) : 0;
    }
    return r;
}

static uint64_t chunk_ratio(const struct vhdx_fields *fields)
{
    return CHUNK_SECTORS * fields->sector_size / fields->block_size;
}

static void fill(const struct qca_image *image, struct vhdx *vhdx, const struct vhdx_fields *fields)
{
    uint64_t ratio = chunk_ratio(fields);

    vhdx->layout = (struct block_layout){
        .block_size = fields->block_size,
        .n_blocks = div_round_up(fields->disk_size, fields->block_size),
        .entry_size = ENTRY,
        .entries = (uint32_t)ratio,
        .first_table = fields->table.offset,
        .stride = (ratio + 1) * ENTRY,
        .entry = vhdx_entry,
        .bitmap_sector = fields->sector_size,
        .parent_unknown = fields->has_parent && !image->info.parent,
        .issues = {
            .table_outside = QCA_ISSUE_TABLE_OUT_OF_FILE,
            .outside = QCA_ISSUE_OUT_OF_FILE,
            .twice = QCA_ISSUE_BLOCK_OVERLAP,
            .on_metadata = QCA_ISSUE_BLOCK_REUSED,
            .tables = QCA_ISSUE_BLOCK_REUSED,
            .unaligned = QCA_ISSUE_BLOCK_UNALIGNED,
            .leak = _QCA_ISSUE_MAX,
        },
    };
    vhdx->table = fields->table;
    vhdx->metadata = fields->metadata;
    vhdx->log = fields->log;
    vhdx->bitmap_share = fields->block_size / fields->sector_size / 8;
}

/* 2.5: the table's region has an entry for each block, and for each chunk before the last one, of a
 * differencing disk for each whole chunk. */
int vhdx_scan_table(struct vhdx_scan *scan)
{
    const struct vhdx_fields *fields = &scan->fields;
    uint64_t ratio = chunk_ratio(fields), blocks = div_round_up(fields->disk_size,
                                                                fields->block_size),
             chunks = div_round_up(blocks, ratio),
             entries = fields->has_parent ? chunks * (ratio + 1)
                                          : blocks + (chunks > 0 ? chunks - 1 : 0);

    if (entries <= fields->table.size / ENTRY)
        return 0;
    return vhdx_refuse(scan, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_DIRECTORY, fields->table.offset,
                       fields->table.size);
}

int vhdx_set_layout(struct qca_image *image, struct vhdx *vhdx)
{
    struct vhdx_scan scan = { .image = image };
    const struct vhdx_fields *fields = &scan.fields;
    int r = vhdx_scan(&scan);

    foreign_identity(fields->data_guid, true, &image->info.identity);
    if (r == -ENOMEM)
        return r;
    /* what cannot be read or understood is the check's to tell */
    if (r < 0 || scan.refused || (fields->log_pending && !vhdx->patched) ||
        fields->disk_size != image->info.virtual_size)
        return 0;
    fill(image, vhdx, fields);
    r = fields->has_parent ? load_bitmaps(&scan, vhdx) : 0;
    vhdx->has_layout = r == 0;
    return r == -ENOMEM ? r : 0;
}

const struct block_layout *vhdx_layout(const struct qca_image *image)
{
    const struct vhdx *vhdx = image->own;

    return vhdx && vhdx->has_layout ? &vhdx->layout : NULL;
}
