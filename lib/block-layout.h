/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Formats that map a disk block by block, by a table of entries of one size or by a directory of
 * such tables: what differs between them, so that the guest's map and the check are written once
 * (block-map.c, block-check.c). */
#pragma once

#include "format.h"

enum block_kind {
    BLOCK_PARENT,               /* not in this layer: the parent's, zeros without one */
    BLOCK_ZERO,
    BLOCK_DATA,                 /* at offset */
    BLOCK_SECTORS,              /* as BLOCK_DATA, for each sector whose bit is set in the bitmap at
                                 * bitmap; the other sectors are the parent's */
    BLOCK_COMPRESSED,           /* length bytes at offset, which inflate to the block */
    BLOCK_INVALID,              /* the entry holds what the format does not know: reason */
};

/* The block as its entry describes it. */
struct block {
    enum block_kind kind;
    uint64_t offset;            /* host offset of the guest's bytes, or of the compressed ones; may
                                 * be anything that the entry can say */
    uint64_t length;            /* compressed: bytes; 0: only read_length() tells */
    uint64_t bitmap;            /* sectors: host offset of the bits, the first sector's is the
                                 * highest bit of the first byte if bitmap_msb, else its lowest */
    enum qca_issue_kind issue;  /* invalid: what the check calls it */
    const char *reason;         /* invalid: one English sentence without a final dot, static */
};

/* The issue raised for each damage: qemu-img counts some for one format and not for another. */
struct block_issues {
    enum qca_issue_kind table_outside;  /* a table that is not wholly in the file */
    enum qca_issue_kind outside;        /* a block that begins behind the end of the file: one that
                                         * begins in it is QCA_ISSUE_BLOCK_OUT_OF_FILE always */
    enum qca_issue_kind twice;          /* two blocks that lie in one place, or overlap */
    enum qca_issue_kind on_metadata;    /* a block that lies on a table, or a header */
    enum qca_issue_kind tables;         /* two tables in one place, or a table on a header */
    enum qca_issue_kind unaligned;      /* a block that is not where the alignment demands */
    enum qca_issue_kind leak;           /* a place for a block that no entry uses; _QCA_ISSUE_MAX:
                                         * nobody counts them */
};

/* How the disk of one image is mapped. The image's own; all of it is checked by who fills it in:
 * no field can make the code below divide by 0, overflow, or take more memory than the caller
 * allowed. */
struct block_layout {
    uint32_t block_size;        /* guest bytes of a block, a multiple of 512, at least 512; a power
                                 * of two, and info.cluster_size, where blocks are compressed */
    uint64_t n_blocks;          /* that the disk has: the last one may be cut by the disk's end;
                                 * n_blocks * block_size is at most INT64_MAX */
    unsigned entry_size;        /* bytes: 4 or 8 */
    uint32_t entries;           /* blocks that one table maps, at least 1; tables are as long,
                                 * times entry_size. Times block_size at most 2^62 */
    /* Where the tables lie: either one after the other, stride bytes apart (at least
     * entries * entry_size) from first_table on; the last one may be shorter (it has an entry for
     * each block, and no more) ... */
    uint64_t first_table, stride;       /* first_table is at most INT64_MAX, and so is the end */
    /* ... or where a directory says: fills in an array of n_tables (as block_layout_tables() says)
     * host offsets, to be freed by the caller, 0 for a table that is not there. Takes no more than
     * memory bytes. -ENOMEM, or what a read gave. NULL: there is no directory. */
    int (*directory)(struct qca_image *image, uint64_t memory, struct qca_error *error,
                     uint64_t **ret_tables);
    /* Decodes the entry at this address for this block (a number, below n_blocks). */
    struct block (*entry)(const struct qca_image *image, uint64_t number, const uint8_t *entry);
    /* Where an entry of 4 bytes is a little-endian number, and one that is larger by this than that
     * of a block of data (BLOCK_DATA) is the block's that follows it in the file; 0: not said. */
    uint32_t step;
    /* Compressed blocks whose length lies beside the data: reads it, and moves offset behind what
     * it read. -errno of the read; -EBADMSG with reason when what is there is no such length. NULL:
     * entries tell all. */
    int (*read_length)(struct qca_image *image, uint64_t number, struct block *block);
    uint64_t lead;              /* bytes before a block's data that are the block's own (a bitmap of
                                 * its sectors) */
    uint64_t alignment;         /* bytes that a block's place is a multiple of, counted from
                                 * data_start; 0 or 1: any. Of blocks that are not compressed */
    uint64_t data_start;        /* host offset before which no block may lie; 0: not said */
    uint32_t bitmap_sector;     /* bytes that a bit of a bitmap stands for, at least 512, a power of
                                 * two that block_size is a multiple of; 0: 512 */
    bool bitmap_msb;
    bool zlib_header;           /* compressed blocks have zlib's header (RFC 1950) */
    bool parent_unknown;        /* it is a layer on a parent that cannot be named: blocks that are
                                 * the parent's cannot be read */
    struct block_issues issues;
};

/* Bytes of the longest compressed block that QEMU reads (block/vmdk.c). */
static inline uint64_t block_length_max(const struct block_layout *layout)
{
    return 2 * (uint64_t)layout->block_size;
}

static inline uint64_t block_layout_tables(const struct block_layout *layout)
{
    return layout->n_blocks / layout->entries + (layout->n_blocks % layout->entries != 0);
}

/* For struct format: formats that use this set .layout, and .map to block_map. A layout that is
 * NULL for an image (a version that is not known) cannot be mapped. */
extern const struct format_map block_map;

struct check;

/* Bytes of the file that are the format's own structure, where no block may lie. */
struct block_metadata {
    uint64_t offset, size;      /* size above 0 */
    enum qca_table table;
};

/* The check of tables and blocks: each table in the file and apart from the others, each block in
 * the file, where it may be, and there once. metadata: n places besides the tables, headers and
 * directories for example. Fills in total_clusters, allocated_clusters, compressed_clusters,
 * fragmented_clusters and image_end_offset of the result. With options.deep, every compressed block
 * is inflated. 0, also when it found something; -ENOMEM, -ECANCELED, or what check_unfinished()
 * returned. */
int block_check(struct qca_image *image, struct check *check,
                const struct block_metadata *metadata, size_t n);
