/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VHDX that is open, and the strict reading of its structures ([MS-VHDX]): the same once when it
 * is opened, for its layout, and once when it is checked, for its issues. */
#pragma once

#include "block-layout.h"

enum {
    VHDX_GUID_SIZE = 16,
    VHDX_MIB = 1 << 20,
    VHDX_REGION_TABLE_1 = 192 << 10,    /* 2.2: the header section */
    VHDX_REGION_TABLE_2 = 256 << 10,
    VHDX_REGION_TABLE_SIZE = 64 << 10,
    VHDX_REGION_HEADER = 16,            /* 2.2.3.1 */
    VHDX_REGION_ENTRY = 32,             /* 2.2.3.2 */
    VHDX_REGIONS_MAX = 2047,
    VHDX_OTHERS_MAX = 16,
    VHDX_METADATA_TABLE = 64 << 10,     /* 2.6.1 */
    VHDX_METADATA_ENTRY = 32,           /* 2.6.1.1 and 2.6.1.2: the header is as long */
    VHDX_METADATA_MAX = 2047,
    VHDX_HAS_PARENT = 1 << 1,           /* 2.6.2.1 */
    VHDX_LEAVE_ALLOCATED = 1 << 0,
};

struct vhdx_region {
    uint64_t offset, size;      /* bytes; size 0: it is not there */
};

/* Header fields, as far as they are valid. */
struct vhdx_fields {
    uint8_t data_guid[VHDX_GUID_SIZE];          /* DataWriteGuid */
    uint8_t log_guid[VHDX_GUID_SIZE];
    struct vhdx_region log, table, metadata;    /* table: the region of the block allocation
                                                 * table */
    struct vhdx_region others[VHDX_OTHERS_MAX]; /* regions that are not known, and need not be: */
    unsigned n_others;                          /* the first of them */
    bool log_pending;
    struct vhdx_region replay;  /* of a log that is pending: bytes from its tail on, which is so
                                 * many bytes from the log's start */
    bool has_parent;
    uint32_t block_size, sector_size;           /* bytes; logical sectors */
    uint64_t disk_size;         /* bytes */
};

struct vhdx {
    uint64_t parent_offset;     /* host offset of the parent locator */
    struct qca_io *patched;     /* with the log's writes, in place of the image's; NULL: none */
    struct qca_io *below;       /* the image's own then */
    struct io_patch *patches;
    size_t n_patches;
    uint8_t *entries;           /* of the log, which patches point into */
    bool has_layout;
    struct block_layout layout;
    struct vhdx_region table;   /* with a layout: as in struct vhdx_fields, */
    struct vhdx_region log, metadata;
    uint32_t bitmap_share;      /* bytes of a bitmap block for each block */
    uint64_t *bitmaps;          /* of a differencing disk: entries of the bitmap blocks, */
    uint64_t n_bitmaps;         /* one for each chunk */
};

/* A reading under way. */
struct vhdx_scan {
    struct qca_image *image;
    struct check *check;        /* who is told of issues; NULL: nobody */
    struct vhdx_fields fields;
    bool refused;               /* an issue that makes it impossible to say where blocks lie */
};

/* All of it: fills in scan->fields, and tells of issues. */
int vhdx_scan(struct vhdx_scan *scan);
/* Its parts, each of which goes on when the ones before refused nothing. */
int vhdx_scan_headers(struct vhdx_scan *scan);
int vhdx_scan_log(struct vhdx_scan *scan);
int vhdx_scan_regions(struct vhdx_scan *scan);
int vhdx_scan_metadata(struct vhdx_scan *scan);
int vhdx_scan_table(struct vhdx_scan *scan);

int vhdx_issue(struct vhdx_scan *scan, enum qca_issue_kind kind, enum qca_table table,
               uint64_t offset, uint64_t size);
/* The same, and there is no layout. */
int vhdx_refuse(struct vhdx_scan *scan, enum qca_issue_kind kind, enum qca_table table,
                uint64_t offset, uint64_t size);
/* Reads bytes, zeros past the end of the file. Of a failure, the check keeps the reason. */
int vhdx_read(struct vhdx_scan *scan, uint64_t offset, void *buf, size_t size, const char *what);
/* Is this the structure's CRC-32C? It is over size bytes, with zeros instead of itself. */
bool vhdx_checksum_fits(const uint8_t *bytes, size_t size);
/* In the file, all of it? */
bool vhdx_is_inside(const struct qca_image *image, struct vhdx_region region);

/* Replays a pending log in memory: from then on, the image is read as it would be afterwards. 0,
 * also when there is none, or none that can be replayed: .patched tells. -ENOMEM. */
int vhdx_replay(struct qca_image *image, struct vhdx *vhdx);
void vhdx_replay_done(struct qca_image *image, struct vhdx *vhdx);

/* GUIDs as they lie in the file: the first three fields are little-endian. */
extern const uint8_t vhdx_table_region[VHDX_GUID_SIZE], vhdx_metadata_region[VHDX_GUID_SIZE];
extern const uint8_t vhdx_parameters_item[VHDX_GUID_SIZE], vhdx_disk_size_item[VHDX_GUID_SIZE],
                     vhdx_parent_item[VHDX_GUID_SIZE];

/* Fills in the layout, if there is one; -ENOMEM. */
int vhdx_set_layout(struct qca_image *image, struct vhdx *vhdx);
const struct block_layout *vhdx_layout(const struct qca_image *image);
/* States of an entry, 2.5.1. */
enum {
    VHDX_NOT_PRESENT = 0,
    VHDX_UNDEFINED = 1,
    VHDX_ZERO = 2,
    VHDX_UNMAPPED = 3,
    VHDX_FULLY_PRESENT = 6,
    VHDX_PARTIALLY_PRESENT = 7,
};
unsigned vhdx_entry_state(uint64_t entry);
uint64_t vhdx_entry_offset(uint64_t entry);
int vhdx_check(struct qca_image *image, struct check *check);
