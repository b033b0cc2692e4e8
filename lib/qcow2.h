/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declarations that the files of the qcow2 format share: geometry, limits and entry layouts.
 *
 * On-disk facts are from QEMU's docs/interop/qcow2.txt; the limits are those of QEMU 7.2, beyond
 * which it refuses an image too. */
#pragma once

#include <errno.h>

#include "bytes.h"
#include "format.h"

#define QCOW2_MAGIC UINT32_C(0x514649fb)
#define QCOW2_EXTENSION_DATA_FILE 0x44415441 /* the external data file's name */
#define QCOW2_MAX_L1_BYTES (UINT64_C(32) << 20)
#define QCOW2_MAX_REFTABLE_BYTES (UINT64_C(8) << 20)
#define QCOW2_MAX_SNAPSHOTS 65536
#define QCOW2_MAX_SNAPSHOT_TABLE_BYTES (UINT64_C(64) << 20)
#define QCOW2_MAX_SNAPSHOT_EXTRA 1024
#define QCOW2_MAX_BITMAPS 65535
#define QCOW2_MAX_BITMAP_DIRECTORY_BYTES (UINT64_C(1024) * QCOW2_MAX_BITMAPS)
#define QCOW2_MAX_HOST_CLUSTERS INT32_MAX

/* QEMU reads nothing that ends beyond 2^63 rounded down to its largest alignment, 1 GiB. */
#define QCOW2_MAX_OFFSET (UINT64_C(0x7fffffffc0000000))

#define L1_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define L1_RESERVED_MASK UINT64_C(0x7f000000000001ff)
#define L2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define L2_RESERVED_MASK UINT64_C(0x3f000000000001fe)
#define ENTRY_COPIED (UINT64_C(1) << 63)
#define L2_COMPRESSED (UINT64_C(1) << 62)
#define L2_ZERO UINT64_C(1)
#define REFTABLE_OFFSET_MASK UINT64_C(0xfffffffffffffe00)
#define REFTABLE_RESERVED_MASK UINT64_C(0x1ff)
#define BITMAP_ENTRY_OFFSET_MASK UINT64_C(0x00fffffffffffe00)
#define BITMAP_ENTRY_RESERVED_MASK UINT64_C(0xff000000000001fe)
#define BITMAP_ENTRY_ALL_ONES UINT64_C(1)

struct qcow2 {
    unsigned cluster_bits;      /* 9 to 21 */
    unsigned l2_bits;           /* log2 of the entries of an L2 table */
    unsigned refcount_order;    /* log2 of a refcount's bits */
    unsigned refblock_bits;     /* log2 of the entries of a refcount block */
    bool extended_l2;
    bool has_data_file;
    uint64_t refcount_max;
    uint64_t extensions_end;    /* host offset behind the last header extension */
    uint64_t parent_offset;     /* of the parent's name in the header's cluster; 0: none */
    uint32_t parent_size;

    /* The snapshot table: read at open; what is wrong with it is the check's to say. */
    int snapshots_result;
    struct qca_error snapshots_error;
    uint64_t snapshots_size;    /* bytes of the whole table */
    uint32_t *incomplete;       /* entries without the extra data that version 3 demands */
    size_t n_incomplete;
    bool any_vm_state;          /* in some snapshot */

    /* The bitmaps extension, when autoclear bit 0 vouches for it. */
    uint32_t n_bitmaps;
    uint64_t bitmap_directory_offset;
    uint64_t bitmap_directory_size;
    int bitmaps_result;
    struct qca_error bitmaps_error;
};

static inline struct qcow2 *qcow2_of(const struct qca_image *image)
{
    return image->own;
}

static inline uint64_t qcow2_cluster_size(const struct qcow2 *qcow2)
{
    return UINT64_C(1) << qcow2->cluster_bits;
}

static inline bool qcow2_aligned(const struct qcow2 *qcow2, uint64_t offset)
{
    return (offset & (qcow2_cluster_size(qcow2) - 1)) == 0;
}

/* Bytes that the tables of one kind may come to: 16 MiB + times * the file's size. They lie beside
 * each other and together are no longer than the file. Damage makes some overlap; what goes far
 * beyond that is an attack, with which QEMU would be busy for days. */
uint64_t qcow2_scan_bound(const struct qca_image *image, uint64_t times);
/* qca_io_read() with QEMU's idea of the largest offset. */
int qcow2_read(struct qca_image *image, uint64_t offset, void *buf, size_t size);
/* io_read_cached() likewise: 0, too, for what is beyond that. */
int qcow2_read_cached(struct qca_image *image, uint64_t offset, void *buf, size_t size);

/* Entries of an L1 table that are in the file; all others are zero. */
static inline uint64_t qcow2_l1_entries_inside(const struct qca_image *image, uint64_t offset,
                                               uint64_t entries)
{
    uint64_t file_size = image->info.file_size;

    return offset < file_size ? min_u64(entries, div_round_up(file_size - offset, 8)) : 0;
}

/* qcow2-snapshot.c: fills info.snapshots and the fields above; its failure is kept, not
 * returned. */
int qcow2_snapshots_load(struct qca_image *image, struct qca_error *error);
/* qcow2-bitmap.c: likewise for the bitmap directory and the tables of bitmaps that are not in
 * use. */
int qcow2_bitmaps_load(struct qca_image *image, struct qca_error *error);
/* Entries of a bitmap's table that need to be read; all others lie past the end of the file and
 * are zero. */
uint32_t qcow2_bitmap_entries_inside(const struct qca_image *image,
                                     const struct qca_bitmap *bitmap);
/* A bitmap table entry that QEMU accepts. */
bool qcow2_bitmap_entry_valid(const struct qcow2 *qcow2, uint64_t entry);

/* qcow2-header.c */
int qcow2_open(struct qca_image *image, struct qca_error *error);
int qcow2_check(struct qca_image *image, struct check *check);
/* qcow2-places.c: as qca_image_places(). */
int qcow2_places(struct qca_image *image,
                 int (*found)(void *userdata, const struct qca_place *place), void *userdata);
extern const struct format_map qcow2_map;
