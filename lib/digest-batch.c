/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plans, reads and hashes a batch of blocks. */
#include "digest-batch.h"

#include <errno.h>

#include "bytes.h"
#include "sha256-two.h"

enum { LOOKS = 1024 };          /* at the map for one batch: a disk without end is gone through
                                 * in steps */

int batch_init(struct batch *batch, const struct batch_common *common)
{
    *batch = (struct batch) { .common = common };
    batch->buf = malloc(common->n_blocks * QCA_BLOCK_SIZE);
    batch->context = EVP_MD_CTX_new();
    return batch->buf && batch->context ? 0 : -ENOMEM;
}

void batch_done(struct batch *batch)
{
    free(batch->buf);
    free(batch->pieces);
    free(batch->bads);
    map_reader_done(&batch->reader);
    EVP_MD_CTX_free(batch->context);
}

/* ---- planning ----------------------------------------------------------------------------- */

static bool reads_as_zeros(const struct qca_extent *extent)
{
    return extent->kind == QCA_EXTENT_UNALLOCATED || extent->kind == QCA_EXTENT_ZERO;
}

/* n more blocks of one kind; false when there is no room. */
static bool add_segment(struct batch *batch, const struct batch_segment *segment)
{
    struct batch_segment *last = batch->n_segments > 0 ? &batch->segments[batch->n_segments - 1]
                                                       : NULL;

    if (last && last->zeros == segment->zeros && last->unallocated == segment->unallocated) {
        last->n += segment->n;
        return true;
    }
    if (batch->n_segments == BATCH_SEGMENTS_MAX)
        return false;
    batch->segments[batch->n_segments++] = *segment;
    return true;
}

static int add_piece(struct batch *batch, const struct qca_extent *extent, size_t length)
{
    if (batch->n_pieces == batch->pieces_capacity) {
        size_t more = batch->pieces_capacity ? 2 * batch->pieces_capacity : 16;
        struct batch_piece *grown = reallocarray(batch->pieces, more, sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        batch->pieces = grown;
        batch->pieces_capacity = more;
    }
    batch->pieces[batch->n_pieces++] = (struct batch_piece) { *extent, batch->length, length };
    batch->length += length;
    return 0;
}

/* A whole block whose pieces, from first on, all read as zeros: none is read, or hashed. */
static void take_for_zeros(struct batch *batch, size_t first)
{
    for (size_t i = first; i < batch->n_pieces; i++) {
        const struct batch_piece *piece = &batch->pieces[i];

        *(piece->extent.kind == QCA_EXTENT_UNALLOCATED ? &batch->unallocated_bytes
                                                       : &batch->zero_bytes) += piece->length;
        batch->length -= piece->length;
    }
    batch->n_pieces = first;
}

/* The blocks that extent, which does not consist of zeros, fills; or the one block that begins with
 * it, and goes on with others. *at moves on. */
static int plan_blocks(struct batch *batch, struct qca_extent extent, uint64_t *at,
                       bool *ret_zeros)
{
    uint64_t room = batch->common->n_blocks * (uint64_t)QCA_BLOCK_SIZE - batch->length, length,
             block_end;
    uint64_t whole = min_u64(extent.length, room) / QCA_BLOCK_SIZE * QCA_BLOCK_SIZE;
    struct qca_map *map = batch->common->map;
    size_t first = batch->n_pieces;
    bool zeros = true;
    int r;

    *ret_zeros = false;
    if (!reads_as_zeros(&extent) && whole > 0) {
        r = add_piece(batch, &extent, whole);
        *at += whole;
        return r;
    }
    block_end = min_u64(*at + QCA_BLOCK_SIZE, qca_map_size(map));
    for (r = 0; r >= 0 && *at < block_end; *at += length) {
        r = qca_map_next(map, *at, &extent);
        if (r < 0)
            return r;
        length = min_u64(extent.length, block_end - *at);
        zeros = zeros && reads_as_zeros(&extent);
        r = add_piece(batch, &extent, length);
    }
    if (r < 0)
        return r;
    /* Only the disk's last block may be shorter: its digest is not that of a block of zeros. */
    *ret_zeros = zeros && *at % QCA_BLOCK_SIZE == 0;
    if (*ret_zeros)
        take_for_zeros(batch, first);
    return 0;
}

int batch_plan(struct batch *batch, uint64_t offset)
{
    const struct batch_common *common = batch->common;
    uint64_t size = qca_map_size(common->map), at = offset;

    batch->n_segments = batch->n_pieces = batch->n_bads = batch->length = 0;
    batch->zero_bytes = batch->unallocated_bytes = 0;
    batch->result = 0;
    batch->end = offset;
    for (unsigned looks = 0; at < size && looks < LOOKS; looks++) {
        struct batch_segment segment = { .first = at / QCA_BLOCK_SIZE };
        struct qca_extent extent;
        int r = qca_map_next(common->map, at, &extent);

        if (r < 0)
            return r;
        if (reads_as_zeros(&extent) && extent.length >= QCA_BLOCK_SIZE) {
            segment.zeros = true;
            segment.unallocated = extent.kind == QCA_EXTENT_UNALLOCATED;
            segment.n = extent.length / QCA_BLOCK_SIZE;
            if (!add_segment(batch, &segment))
                break;
            *(segment.unallocated ? &batch->unallocated_bytes
                                  : &batch->zero_bytes) += segment.n * QCA_BLOCK_SIZE;
            at += segment.n * QCA_BLOCK_SIZE;
        } else {
            size_t before = batch->length;

            if (before == common->n_blocks * QCA_BLOCK_SIZE ||
                batch->n_segments == BATCH_SEGMENTS_MAX)
                break;
            r = plan_blocks(batch, extent, &at, &segment.zeros);
            if (r < 0)
                return r;
            segment.n = segment.zeros ? 1 : div_round_up(batch->length - before, QCA_BLOCK_SIZE);
            add_segment(batch, &segment);
        }
        batch->end = at;
    }
    return 0;
}

/* ---- reading ------------------------------------------------------------------------------ */

static int note_bad(struct batch *batch, size_t piece, uint64_t at, uint64_t guest_offset,
                    uint64_t length, int error)
{
    if (batch->n_bads == batch->bads_capacity) {
        size_t more = batch->bads_capacity ? 2 * batch->bads_capacity : 16;
        struct batch_bad *grown = reallocarray(batch->bads, more, sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        batch->bads = grown;
        batch->bads_capacity = more;
    }
    batch->bads[batch->n_bads++] = (struct batch_bad) { piece, guest_offset, length, error };
    batch->bad[at / QCA_BLOCK_SIZE] = true;
    return 0;
}

/* An unreadable range costs the blocks it lies in, and no other. */
static int read_piece(struct batch *batch, size_t number)
{
    const struct batch_piece *piece = &batch->pieces[number];
    struct qca_map *map = batch->common->map;
    int r = map_read(map, &batch->reader, &piece->extent, 0, batch->buf + piece->at, piece->length);

    if (r == 0 || r == -ENOMEM)
        return r;
    for (size_t at = piece->at, next; at < piece->at + piece->length; at = next) {
        size_t skip = at - piece->at;

        next = min_u64(piece->at + piece->length, (at / QCA_BLOCK_SIZE + 1) * QCA_BLOCK_SIZE);
        r = map_read(map, &batch->reader, &piece->extent, skip, batch->buf + at, next - at);
        if (r < 0 && r != -ENOMEM)
            r = note_bad(batch, number, at, piece->extent.guest_offset + skip, next - at, r);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- hashing ------------------------------------------------------------------------------ */

static int hash_one(struct batch *batch, const uint8_t *data, size_t size,
                    uint8_t ret_digest[DIGEST_SIZE])
{
    return EVP_DigestInit_ex2(batch->context, batch->common->sha256, NULL) == 1 &&
                   EVP_DigestUpdate(batch->context, data, size) == 1 &&
                   EVP_DigestFinal_ex(batch->context, ret_digest, NULL) == 1
               ? 0
               : -EIO;
}

static bool is_zero(const uint8_t *data, size_t size)
{
    return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* Digests of all blocks of the batch that were read. */
static int hash_blocks(struct batch *batch)
{
    size_t waiting = SIZE_MAX;  /* a block that another one is wanted for */
    int r = 0;

    for (size_t i = 0; i * QCA_BLOCK_SIZE < batch->length && r == 0; i++) {
        const uint8_t *data = batch->buf + i * QCA_BLOCK_SIZE;
        size_t length = min_u64(QCA_BLOCK_SIZE, batch->length - i * QCA_BLOCK_SIZE);

        batch->zero[i] = false;
        if (batch->bad[i])
            continue;
        batch->zero[i] = length == QCA_BLOCK_SIZE && is_zero(data, length);
        if (batch->zero[i])
            memcpy(batch->digests[i], batch->common->zero_digest, DIGEST_SIZE);
        else if (!batch->common->two || length < QCA_BLOCK_SIZE)
            r = hash_one(batch, data, length, batch->digests[i]);
        else if (waiting == SIZE_MAX)
            waiting = i;
        else {
            sha256_two(batch->buf + waiting * QCA_BLOCK_SIZE, data, length, batch->digests[waiting],
                       batch->digests[i]);
            waiting = SIZE_MAX;
        }
    }
    if (r == 0 && waiting != SIZE_MAX)
        r = hash_one(batch, batch->buf + waiting * QCA_BLOCK_SIZE, QCA_BLOCK_SIZE,
                     batch->digests[waiting]);
    return r;
}

void batch_run(struct thread_job *job)
{
    struct batch *batch = (struct batch *)(void *)job;

    memset(batch->bad, 0, sizeof(batch->bad));
    for (size_t i = 0; i < batch->n_pieces && batch->result == 0; i++)
        batch->result = read_piece(batch, i);
    if (batch->result == 0)
        batch->result = hash_blocks(batch);
}
