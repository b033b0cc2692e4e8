/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Some blocks of a guest's disk, read and hashed together, on whatever thread. */
#pragma once

#include <openssl/evp.h>

#include "map.h"
#include "threads.h"

enum {
    DIGEST_SIZE = 32,
    BATCH_BLOCKS = 8,           /* half a MiB stays in a core's cache */
    BATCH_BLOCKS_MAX = 32,      /* a cluster of 2 MiB, which is to be inflated once */
    BATCH_SEGMENTS_MAX = 64,
};

/* Shared by all batches of one digest; no batch changes it. */
struct batch_common {
    struct qca_map *map;
    EVP_MD *sha256;
    bool two;                   /* two blocks at once */
    uint8_t zero_digest[DIGEST_SIZE];   /* of a block of zeros */
    size_t n_blocks;            /* that a batch holds at most */
};

/* Bytes of an extent that lie in the batch's blocks. */
struct batch_piece {
    struct qca_extent extent;
    size_t at, length;          /* bytes of the batch's buffer */
};

/* Bytes of a piece that could not be had. */
struct batch_bad {
    size_t piece;
    uint64_t guest_offset, length;
    int error;
};

/* A run of the disk's blocks, in its order: of zeros, or of the batch's own. */
struct batch_segment {
    uint64_t first, n;          /* blocks */
    bool zeros;                 /* none of them was read */
    bool unallocated;           /* zeros: in no layer */
};

struct batch {
    struct thread_job job;      /* the first member */
    const struct batch_common *common;
    uint64_t end;               /* guest offset behind it */

    struct batch_segment segments[BATCH_SEGMENTS_MAX];
    size_t n_segments;
    struct batch_piece *pieces;
    size_t n_pieces, pieces_capacity;
    size_t length;              /* bytes of the buffer in use; only the disk's last block may be
                                 * short */
    uint64_t zero_bytes, unallocated_bytes;     /* of segments of zeros */

    /* what comes of it */
    int result;                 /* -ENOMEM, -EIO (the crypto library) */
    struct batch_bad *bads;
    size_t n_bads, bads_capacity;
    bool bad[BATCH_BLOCKS_MAX], zero[BATCH_BLOCKS_MAX];
    uint8_t digests[BATCH_BLOCKS_MAX][DIGEST_SIZE];

    uint8_t *buf;
    struct map_reader reader;
    EVP_MD_CTX *context;
};

/* -ENOMEM. common must outlive the batch. */
int batch_init(struct batch *batch, const struct batch_common *common);
void batch_done(struct batch *batch);
/* Plans the blocks from offset, the begin of one, on: as many as the batch holds, and the runs of
 * zeros between and behind them. -ENOMEM. */
int batch_plan(struct batch *batch, uint64_t offset);
/* Reads and hashes what was planned: the job's function. */
void batch_run(struct thread_job *job);
