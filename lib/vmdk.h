/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declarations that the files about VMDK share: the descriptor ("Virtual Disk Format 5.0" of
 * VMware, "The Descriptor File"), and the extents that map a disk grain by grain. */
#pragma once

#include "block-layout.h"
#include "foreign.h"

enum { VMDK_DESCRIPTOR_MAX = (1 << 20) - 1 };   /* bytes, as QEMU reads of one at most */

/* Does it begin as a descriptor: VMware's comment, or a version as QEMU looks for? The latter says
 * little, so that createType is wanted, too, of which text holds n bytes. */
bool vmdk_descriptor_begins(const uint8_t *text, size_t n, bool *ret_sure);
bool vmdk_descriptor_has_type(const uint8_t *text, size_t n);
/* Fills in what the descriptor of size bytes says: virtual size, parent, extents. 0, -ENOMEM, or
 * -EINVAL with the reason. Of a descriptor that lies in a sparse file (embedded), what the extents
 * are is the file's own business: only the parent is taken. */
int vmdk_descriptor_parse(struct qca_image *image, struct qca_error *error, const uint8_t *text,
                          size_t size, bool embedded);

/* ---- extents ------------------------------------------------------------------------------ */

enum {
    VMDK_SECTOR = 512,
    VMDK_GRAIN_MAX = 0x200000,          /* sectors of a grain, and */
    VMDK_DIRECTORY_MAX = 32 << 20,      /* entries of a directory: as QEMU opens at most
                                         * (block/vmdk.c) */
    VMDK_TABLES_MAX = 4 << 20,          /* that a disk needs: 64 TiB of SESparse, VMware's largest
                                         * disk, have as many */
};

/* An extent that maps its disk: what image->own is, of all but descriptors. */
struct vmdk_extent {
    struct block_layout layout;
    int (*check)(struct qca_image *image, struct check *check);
    struct foreign_field bad;   /* why there is no layout; without a name there is one, */
    bool unread;                /* unless this is set: the check tells why */
    uint64_t directory;         /* host offset */
    uint64_t second_directory;  /* of the redundant tables; 0: there are none */
    uint64_t descriptor, descriptor_size;       /* host offset and bytes; size 0: there is none */
    uint64_t trailer;           /* host offset; 0: there is none */
    uint64_t tables, grains;    /* SESparse: host offsets, from where tables and grains are
                                 * counted, */
    uint64_t tables_size;       /* and bytes of all tables */
    uint64_t log_offset;        /* SESparse: of the volatile header */
    struct inflater *inflater;  /* of measures; NULL until it is wanted */
    bool measures;              /* a check is under way: compressed grains without a marker are
                                 * measured, */
    uint64_t measured;          /* bytes of them so far */
    uint32_t flags;
    uint32_t odd_fields;        /* set bits: fields that are wrong, and do no harm */
};

/* The layout's block size and number of blocks, by the header's number of sectors and by those of a
 * grain; false, and the bad field is set, when they are impossible. */
bool vmdk_extent_measure(struct qca_image *image, struct foreign_field capacity,
                         struct foreign_field grain, uint32_t entries);
/* As struct block_layout's directory; directory.n is filled in. One that is not wholly in the file
 * is refused. */
int vmdk_extent_directory(struct qca_image *image, struct foreign_directory directory,
                          uint64_t memory, struct qca_error *error, uint64_t **ret_tables);
/* The same of 32-bit sector numbers at this host offset, as hosted sparse extents and COWD have;
 * and of the extent's first directory. */
int vmdk_extent_tables_at(struct qca_image *image, uint64_t offset, uint64_t memory,
                          struct qca_error *error, uint64_t **ret_tables);
int vmdk_extent_tables(struct qca_image *image, uint64_t memory, struct qca_error *error,
                       uint64_t **ret_tables);
/* Marks image as a piece of a disk whose parent is known: blocks that it lacks are the parent's, or
 * zeros. False when image is no sparse extent. */
bool vmdk_extent_of_disk(struct qca_image *image);
/* The check: each of the n regions is in the file, and apart from the others. How many are not in
 * the file, or -ENOMEM. */
int vmdk_check_regions(struct qca_image *image, struct check *check,
                       const struct block_metadata *regions, size_t n);

/* The rest of opening an extent whose kind is known, with image->own allocated: a header that makes
 * no layout is no error. head: the first PROBE_SIZE bytes. */
int vmdk_sparse_open(struct qca_image *image, const uint8_t *head, struct qca_error *error);
int vmdk_cowd_open(struct qca_image *image, const uint8_t *head, struct qca_error *error);
int vmdk_sesparse_open(struct qca_image *image, const uint8_t *head, struct qca_error *error);
/* Reads the descriptor that a sparse extent has within. */
int vmdk_take_descriptor(struct qca_image *image, struct qca_error *error, uint64_t offset,
                         uint64_t size, bool embedded);
bool vmdk_is_sparse(const uint8_t *head);
