/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Digests of an image's 64 KiB blocks, one file per image beside the database: what locates damage,
 * and tells whether a change is a commit. Runs in the store's thread but for the encoding, which
 * does not touch a file.
 *
 * A file is a header of BLOCKS_HEADER_SIZE bytes and records, all numbers little-endian:
 *   header  0 "QCABLOCK"  8 version 1  12 block size
 *           16 fsid  24 inode  32 btime  40 size  48 mtime  56 ctime of the file when its reading
 *           began
 *           64 virtual size, 0 while it is partial
 *           72 bytes of a digest: 32 while it is partial (the content digest is made of them),
 *           then 16
 *           76 1 when complete  80 content digest (32)
 *           112 0 (12)  124 CRC-32 of the 124 bytes before
 *   record  0 kind (enum blocks_kind)  4 CRC-32 of the rest of the record, its kind first
 *           8 first block  16 number of blocks
 *           24 of data: a digest for each, at most BLOCKS_RUN_MAX
 * Records follow one another from block 0 on without a gap, of a complete file to the end of the
 * disk. */
#pragma once

#include <stdio.h>

#include "daemon/core/contents.h"
#include "daemon/core/file.h"

#define BLOCKS_HEADER_SIZE 128
#define BLOCKS_RECORD_SIZE 24
#define BLOCKS_RUN_MAX 4096
#define BLOCKS_DIGEST 16        /* bytes kept of a digest */
#define BLOCKS_WHOLE 32         /* while the file is partial */

enum blocks_kind { BLOCKS_DATA, BLOCKS_ZERO, BLOCKS_UNALLOCATED, BLOCKS_BAD, _BLOCKS_KIND_MAX };

struct blocks_header {
    struct identity identity;
    uint64_t size;              /* of the image's file, and its times, when the reading began */
    int64_t mtime, ctime;
    uint64_t virtual_size;      /* bytes; 0 while partial */
    bool complete;
    uint8_t digest[32];         /* content digest of the layer; zeros while partial */
};

/* ---- writing -------------------------------------------------------------------------------- */

void blocks_header_encode(const struct blocks_header *header,
                          uint8_t ret_bytes[static BLOCKS_HEADER_SIZE]);
/* One record; digests (size bytes each) for data, at most BLOCKS_RUN_MAX of them, else NULL.
 * ret_bytes has room for BLOCKS_RECORD_SIZE and the digests. Returns its length. */
size_t blocks_record_encode(enum blocks_kind kind, uint64_t first, uint64_t n,
                            const uint8_t *digests, size_t size, uint8_t *ret_bytes);

/* ---- reading -------------------------------------------------------------------------------- */

struct blocks_run {
    enum blocks_kind kind;
    uint64_t first, n;
    const uint8_t *digests;     /* of data: n of them, valid until the next call */
};

struct blocks_reader;

/* The file stays the caller's and must outlive the reader. -EBADMSG: no such file, or damaged. -EIO
 * and the like. */
int blocks_reader_new(FILE *file, struct blocks_reader **ret_reader);
struct blocks_reader *blocks_reader_free(struct blocks_reader *reader);
const struct blocks_header *blocks_reader_header(const struct blocks_reader *reader);
size_t blocks_reader_digest_size(const struct blocks_reader *reader);
/* 1; 0 at the end; -EBADMSG when the file is damaged here, or ends within a record or before the
 * disk does: of a partial file what was read before holds all the same. */
int blocks_reader_next(struct blocks_reader *reader, struct blocks_run *ret_run);

/* How far a partial file is sound: its first block that is missing, and the byte that its record
 * would begin at. */
int blocks_partial_end(FILE *file, struct blocks_header *ret_header, uint64_t *ret_next,
                       uint64_t *ret_offset);

/* ---- a reading that is complete -------------------------------------------------------------- */

/* Makes of a partial file the final one; its content digest is that of virtual_size bytes, computed
 * when digest is NULL. -ENODATA when blocks are missing or were bad: there is no digest then. */
int blocks_finish(FILE *partial, uint64_t virtual_size, const uint8_t *digest, FILE *file,
                  uint8_t ret_digest[static 32]);

/* The difference between two complete readings of one layer. */
struct blocks_difference {
    uint64_t blocks;
    uint64_t bytes;             /* of the larger disk that they cover */
    struct guest_range ranges[DEVIATION_RANGES_MAX];    /* the first of them */
    size_t n_ranges;
    uint64_t ranges_total;
    bool explained;             /* each block that differs is now what one of the children holds
                                 * there, or was handed down; at least one */
    bool maybe;                 /* as far as can be told: of some of them a child holds parts, which
                                 * equal no digest of a block */
    bool hurts;                 /* a child that stands on the layer sees what is not its own, nor of
                                 * the layers above it */
    size_t hurt_child;          /* the first such child, where hurts */
    uint64_t handed_down;       /* blocks the layer holds no more, and the layer below it does */
};

/* A layer that lies, or lay, above the one that is compared. */
struct blocks_child {
    FILE *file;
    size_t root;                /* index of the first layer of its branch, which may be itself */
    bool stands;                /* itself such a first layer, whose guest sees the compared one
                                 * still */
    bool parts;                 /* its clusters are smaller than a block, or are not known */
    bool used;                  /* set when it holds what some block is now */
};

/* layered: what the layer does not hold shows what its parent holds, and is not the same as zeros.
 * children: layers above that may have been committed into it; may be none. below: of its
 * parent as it is now, that it may have been committed into; NULL none. -EBADMSG and *ret_bad (0
 * before, 1 after, 2 below, 3 and on the children) when one is damaged. */
int blocks_compare(FILE *before, FILE *after, bool layered, FILE *below,
                   struct blocks_child *children, size_t n_children,
                   struct blocks_difference *ret_difference, size_t *ret_bad);
