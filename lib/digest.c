/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The content digest: what a guest sees, in blocks of 64 KiB, by the blkhash construction. */
#include <errno.h>
#include <openssl/evp.h>

#include "bytes.h"
#include "cleanup.h"
#include "qcaudit/qcaudit.h"
#include "sha256-two.h"

enum {
    DIGEST_SIZE = 32,
    BATCH_BLOCKS = 8,           /* read and hashed together: half a MiB, which stays in a core's cache */
    REPEATED = 2048,            /* digests of the zero block that the outer hash is fed at once */
};
#define BATCH_SIZE (BATCH_BLOCKS * (size_t)QCA_BLOCK_SIZE)
/* Bytes hashed between two calls of progress. */
#define PROGRESS_STEP (UINT64_C(4) << 20)

struct hashing {
    struct qca_map *map;
    const struct qca_digest_options *options;
    struct qca_content_digest *result;
    uint64_t size;
    EVP_MD *sha256;
    EVP_MD_CTX *inner, *outer;
    bool two;                   /* two blocks at once */
    uint8_t *repeated;          /* digests of the zero block */
    uint64_t work, work_told;   /* bytes */

    /* The batch: blocks from first on. */
    uint8_t *buf;
    uint64_t first;
    size_t n_blocks, length;    /* bytes; only the disk's last block may be short */
    bool bad[BATCH_BLOCKS], zero[BATCH_BLOCKS];
    uint8_t digests[BATCH_BLOCKS][DIGEST_SIZE];
};

static int hash_one(struct hashing *hashing, const uint8_t *data, size_t size, uint8_t ret_digest[32])
{
    return EVP_DigestInit_ex2(hashing->inner, hashing->sha256, NULL) == 1 &&
                   EVP_DigestUpdate(hashing->inner, data, size) == 1 &&
                   EVP_DigestFinal_ex(hashing->inner, ret_digest, NULL) == 1
               ? 0
               : -EIO;
}

static int feed(struct hashing *hashing, const void *data, size_t size)
{
    hashing->work += size;
    return EVP_DigestUpdate(hashing->outer, data, size) == 1 ? 0 : -EIO;
}

static int advance(struct hashing *hashing, uint64_t offset)
{
    const struct qca_digest_options *options = hashing->options;

    if (options->progress && hashing->work - hashing->work_told >= PROGRESS_STEP) {
        hashing->work_told = hashing->work;
        options->progress(options->userdata, offset, hashing->size);
    }
    return options->cancel && atomic_load_explicit(options->cancel, memory_order_relaxed) ? -ECANCELED : 0;
}

/* Damaged extents count as bad instead. */
static void account(struct qca_content_digest *result, enum qca_extent_kind kind, uint64_t length)
{
    switch (kind) {
    case QCA_EXTENT_UNALLOCATED:
        result->unallocated_bytes += length;
        break;
    case QCA_EXTENT_ZERO:
        result->zero_bytes += length;
        break;
    case QCA_EXTENT_DATA:
        result->data_bytes += length;
        break;
    case QCA_EXTENT_COMPRESSED:
        result->compressed_bytes += length;
        break;
    default:
        break;
    }
}

static bool reads_as_zeros(const struct qca_extent *extent)
{
    return extent->kind == QCA_EXTENT_UNALLOCATED || extent->kind == QCA_EXTENT_ZERO;
}

/* ---- runs of zeros ------------------------------------------------------------------------ */

static int zero_run(struct hashing *hashing, uint64_t first, uint64_t n, bool unallocated)
{
    const struct qca_digest_options *options = hashing->options;
    int r = 0;

    hashing->result->zero_blocks += n;
    for (uint64_t left = n, step; left > 0 && r == 0; left -= step) {
        step = min_u64(left, REPEATED);
        r = feed(hashing, hashing->repeated, step * DIGEST_SIZE);
    }
    if (r == 0 && options->blocks)
        options->blocks(options->userdata, first, n, NULL, unallocated);
    return r;
}

/* ---- batches ------------------------------------------------------------------------------ */

/* Some bytes of one block could not be had. */
static void note_bad(struct hashing *hashing, const struct qca_extent *extent, uint64_t offset, uint64_t length,
                     int error)
{
    struct qca_content_digest *result = hashing->result;
    struct qca_bad_range *last = result->n_bad > 0 ? &result->bad[result->n_bad - 1] : NULL;

    hashing->bad[offset / QCA_BLOCK_SIZE - hashing->first] = true;
    result->complete = false;
    result->bad_bytes += length;
    if (last && last->guest_offset + last->length == offset && last->error == error && last->layer == extent->layer)
        last->length += length;
    else if (result->n_bad < QCA_BAD_RANGES_MAX)
        result->bad[result->n_bad++] = (struct qca_bad_range) { offset, length, extent->layer, error };
}

/* Reads length bytes of the extent into the batch; what cannot be read costs the blocks it lies in, and no other. */
static int fill_piece(struct hashing *hashing, const struct qca_extent *extent, size_t length)
{
    uint64_t start = extent->guest_offset, batch = hashing->first * QCA_BLOCK_SIZE;
    int r = qca_map_read(hashing->map, extent, 0, hashing->buf + (start - batch), length);

    for (uint64_t at = start, next; r < 0 && r != -ENOMEM && at < start + length; at = next) {
        int error;

        next = min_u64(start + length, (at / QCA_BLOCK_SIZE + 1) * QCA_BLOCK_SIZE);
        error = qca_map_read(hashing->map, extent, at - start, hashing->buf + (at - batch), next - at);
        if (error < 0)
            note_bad(hashing, extent, at, next - at, error);
    }
    return r == -ENOMEM ? r : 0;
}

/* Reads blocks from offset on, until there are enough or a run of zeros begins. */
static int fill(struct hashing *hashing, uint64_t offset)
{
    uint64_t end = min_u64(hashing->size, offset + BATCH_SIZE), at = offset;
    int r;

    hashing->first = offset / QCA_BLOCK_SIZE;
    memset(hashing->bad, 0, sizeof(hashing->bad));
    while (at < end) {
        uint64_t bad_before = hashing->result->bad_bytes;
        struct qca_extent extent;
        size_t length;

        r = qca_map_next(hashing->map, at, &extent);
        if (r < 0)
            return r;
        if (at > offset && at % QCA_BLOCK_SIZE == 0 && reads_as_zeros(&extent) && extent.length >= QCA_BLOCK_SIZE)
            break;
        length = min_u64(extent.length, end - at);
        /* The whole blocks behind this one need no reading. */
        if (reads_as_zeros(&extent))
            length = min_u64(length, QCA_BLOCK_SIZE - at % QCA_BLOCK_SIZE);
        r = fill_piece(hashing, &extent, length);
        if (r < 0)
            return r;
        account(hashing->result, extent.kind, length - (hashing->result->bad_bytes - bad_before));
        at += length;
    }
    hashing->length = at - offset;
    hashing->n_blocks = div_round_up(hashing->length, QCA_BLOCK_SIZE);
    return 0;
}

static size_t block_length(const struct hashing *hashing, size_t i)
{
    return min_u64(QCA_BLOCK_SIZE, hashing->length - i * QCA_BLOCK_SIZE);
}

static bool is_zero(const uint8_t *data, size_t size)
{
    return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* Digests of all blocks of the batch that were read. */
static int hash_batch(struct hashing *hashing)
{
    size_t waiting = SIZE_MAX;  /* a block that another one is wanted for */
    int r = 0;

    for (size_t i = 0; i < hashing->n_blocks && r == 0; i++) {
        const uint8_t *data = hashing->buf + i * QCA_BLOCK_SIZE;
        size_t length = block_length(hashing, i);

        hashing->zero[i] = false;
        if (hashing->bad[i])
            continue;
        hashing->zero[i] = length == QCA_BLOCK_SIZE && is_zero(data, length);
        if (hashing->zero[i]) {
            memcpy(hashing->digests[i], hashing->repeated, DIGEST_SIZE);
            hashing->result->zero_blocks++;
            continue;
        }
        hashing->work += length;
        if (!hashing->two || length < QCA_BLOCK_SIZE)
            r = hash_one(hashing, data, length, hashing->digests[i]);
        else if (waiting == SIZE_MAX)
            waiting = i;
        else {
            sha256_two(hashing->buf + waiting * QCA_BLOCK_SIZE, data, length, hashing->digests[waiting],
                       hashing->digests[i]);
            waiting = SIZE_MAX;
        }
    }
    if (r == 0 && waiting != SIZE_MAX)
        r = hash_one(hashing, hashing->buf + waiting * QCA_BLOCK_SIZE, QCA_BLOCK_SIZE, hashing->digests[waiting]);
    return r;
}

/* Tells the digests of the batch, in runs of blocks of one kind. */
static void tell_blocks(const struct hashing *hashing)
{
    const struct qca_digest_options *options = hashing->options;

    if (!options->blocks)
        return;
    for (size_t i = 0, n; i < hashing->n_blocks; i += n) {
        n = 1;
        if (hashing->bad[i])
            continue;
        while (i + n < hashing->n_blocks && !hashing->bad[i + n] && hashing->zero[i + n] == hashing->zero[i])
            n++;
        options->blocks(options->userdata, hashing->first + i, n, hashing->zero[i] ? NULL : &hashing->digests[i], false);
    }
}

/* ---- all of it ---------------------------------------------------------------------------- */

/* What lies before offset is counted, not read. */
static int pass_over(struct hashing *hashing, uint64_t end)
{
    for (uint64_t at = 0, length; at < end; at += length) {
        struct qca_extent extent;
        int r = qca_map_next(hashing->map, at, &extent);

        if (r < 0)
            return r;
        length = min_u64(extent.length, end - at);
        account(hashing->result, extent.kind, length);
        r = advance(hashing, at + length);
        if (r < 0)
            return r;
    }
    return 0;
}

static int hash_disk(struct hashing *hashing)
{
    uint64_t offset = 0;
    int r = 0;

    if (hashing->options->first_block > 0) {
        offset = hashing->size;
        if (hashing->options->first_block < div_round_up(hashing->size, QCA_BLOCK_SIZE))
            offset = hashing->options->first_block * QCA_BLOCK_SIZE;
        r = pass_over(hashing, offset);
    }

    while (offset < hashing->size && r == 0) {
        struct qca_extent extent;
        uint64_t whole;

        r = qca_map_next(hashing->map, offset, &extent);
        if (r < 0)
            return r;
        whole = reads_as_zeros(&extent) ? extent.length / QCA_BLOCK_SIZE : 0;
        if (whole > 0) {
            account(hashing->result, extent.kind, whole * QCA_BLOCK_SIZE);
            r = zero_run(hashing, offset / QCA_BLOCK_SIZE, whole, extent.kind == QCA_EXTENT_UNALLOCATED);
            offset += whole * QCA_BLOCK_SIZE;
        } else {
            r = fill(hashing, offset);
            if (r == 0)
                r = hash_batch(hashing);
            if (r == 0)
                r = feed(hashing, hashing->digests, hashing->n_blocks * DIGEST_SIZE);
            if (r < 0)
                return r;
            tell_blocks(hashing);
            offset += hashing->length;
        }
        if (r == 0)
            r = advance(hashing, offset);
    }
    return r;
}

static int hashing_begin(struct hashing *hashing)
{
    int r;

    hashing->sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    hashing->inner = EVP_MD_CTX_new();
    hashing->outer = EVP_MD_CTX_new();
    hashing->buf = calloc(1, BATCH_SIZE);
    hashing->repeated = malloc(REPEATED * DIGEST_SIZE);
    if (!hashing->sha256 || !hashing->inner || !hashing->outer || !hashing->buf || !hashing->repeated)
        return -ENOMEM;
    r = hash_one(hashing, hashing->buf, QCA_BLOCK_SIZE, hashing->repeated);
    for (size_t i = 1; i < REPEATED; i++)
        memcpy(hashing->repeated + i * DIGEST_SIZE, hashing->repeated, DIGEST_SIZE);
    return r == 0 && EVP_DigestInit_ex2(hashing->outer, hashing->sha256, NULL) == 1 ? 0 : -EIO;
}

static void hashing_end(struct hashing *hashing)
{
    EVP_MD_free(hashing->sha256);
    EVP_MD_CTX_free(hashing->inner);
    EVP_MD_CTX_free(hashing->outer);
    free(hashing->buf);
    free(hashing->repeated);
}

int qca_content_digest(struct qca_map *map, const struct qca_digest_options *options,
                       struct qca_content_digest *ret_digest)
{
    static const struct qca_digest_options none = { .cancel = NULL };
    struct qca_content_digest result = { .complete = true, .size = qca_map_size(map) };
    struct hashing hashing = {
        .map = map,
        .options = options ? options : &none,
        .result = &result,
        .size = result.size,
        .two = !(options && options->libcrypto_only) && sha256_two_supported(),
    };
    int r = hashing_begin(&hashing);

    if (r == 0)
        r = hash_disk(&hashing);
    /* little-endian, as every host that this is built for */
    if (r == 0)
        r = feed(&hashing, &result.size, sizeof(result.size));
    if (r == 0 && EVP_DigestFinal_ex(hashing.outer, result.digest, NULL) != 1)
        r = -EIO;
    hashing_end(&hashing);
    if (r < 0)
        return r;
    if (!result.complete || hashing.options->first_block > 0)
        memset(result.digest, 0, sizeof(result.digest));
    *ret_digest = result;
    return 0;
}
