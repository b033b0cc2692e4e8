/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VHD that is open: its footer and dynamic disk header, and how its blocks are mapped. */
#pragma once

#include "block-layout.h"
#include "foreign.h"

/* "Virtual Hard Disk Image Format Specification" 1.0: "Hard Disk Footer Format", "Dynamic Disk
 * Header Format". */
enum {
    VHD_SECTOR = 512,
    VHD_FOOTER_SIZE = 512,
    VHD_FOOTER_SIZE_OLD = 511,          /* as Virtual PC wrote it before 2004 */
    VHD_AT_VERSION = 12,
    VHD_AT_DATA_OFFSET = 16,
    VHD_AT_CREATOR = 28,
    VHD_AT_CURRENT_SIZE = 48,
    VHD_AT_CYLINDERS = 56,
    VHD_AT_HEADS = 58,
    VHD_AT_SECTORS = 59,
    VHD_AT_TYPE = 60,
    VHD_AT_CHECKSUM = 64,
    VHD_AT_UUID = 68,

    VHD_HEADER_SIZE = 1024,
    VHD_AT_TABLE = 16,                  /* from here on, in the header */
    VHD_AT_HEADER_VERSION = 24,
    VHD_AT_ENTRIES = 28,
    VHD_AT_BLOCK_SIZE = 32,
    VHD_AT_HEADER_CHECKSUM = 36,
    VHD_AT_PARENT_UUID = 40,
    VHD_AT_PARENT_NAME = 64,
    VHD_PARENT_NAME_SIZE = 512,
    VHD_AT_LOCATORS = 576,
    VHD_LOCATORS = 8,
    VHD_LOCATOR_SIZE = 24,
    VHD_LOCATOR_LENGTH = 8,             /* and in a locator */
    VHD_LOCATOR_OFFSET = 16,

    VHD_MAJOR = 1,                      /* of both versions: what else one has is not known */
};

/* The largest disk that QEMU opens (block/vpc.c, VHD_MAX_SECTORS): 2040 GiB. */
#define VHD_SIZE_MAX (UINT64_C(0xff000000) * VHD_SECTOR)
#define VHD_UNUSED UINT32_MAX           /* "Block Allocation Table": not on the disk */

struct vhd {
    uint8_t footer[VHD_FOOTER_SIZE];    /* the one that the image is opened by */
    uint64_t footer_offset;
    uint64_t header_offset;             /* header and layout: not of a fixed disk */
    uint8_t header[VHD_HEADER_SIZE];
    const char *parent_field;           /* the header's, that names the parent, */
    uint64_t parent_offset;             /* and where it is */
    bool has_layout;
    struct block_layout layout;
};

/* The one's complement of the sum of all bytes but those of the checksum, which is at this
 * place. */
uint32_t vhd_checksum(const uint8_t *bytes, size_t size, size_t at_checksum);
/* Blocks that the table has a place for; those of the disk may be fewer. */
uint64_t vhd_table_entries(const struct vhd *vhd);
/* The first one, by which an image that is not fixed has no layout. */
struct foreign_field vhd_find_bad_field(const struct qca_image *image, const struct vhd *vhd);
/* Fills in the layout, if there is one. */
void vhd_set_layout(const struct qca_image *image, struct vhd *vhd);
/* As struct format wants it. */
const struct block_layout *vhd_layout(const struct qca_image *image);
int vhd_check(struct qca_image *image, struct check *check);
