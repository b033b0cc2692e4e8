/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The content digest: what a guest sees, in blocks of 64 KiB, by the blkhash construction.
 *
 * Batches of blocks are planned in the disk's order, read and hashed by all threads, and taken in
 * the same order again. */
#include <errno.h>
#include <inttypes.h>

#include "cleanup.h"
#include "digest-batch.h"
#include "digest-outer.h"
#include "error.h"
#include "inflate.h"
#include "io.h"
#include "sha256-two.h"

/* Bytes hashed between two calls of progress. */
#define PROGRESS_STEP (UINT64_C(4) << 20)
/* Digests of zero blocks that are hashed one after the other: of 256 TiB, in minutes. */
#define ZEROS_MAX (UINT64_C(1) << 32)
/* A file may hold PACKED_MAX times the bytes that a compressing file system keeps for it, and
 * PACKED_LEAST bytes in any case. */
#define PACKED_MAX UINT64_C(4096)
#define PACKED_LEAST (UINT64_C(1) << 30)
/* Bytes of its sectors that a compressed cluster may share with those before and behind it. */
#define SHARED_SECTORS 1024
/* An entry may give a compressed cluster so many times its length: writers may round up. */
#define DECLARED_MAX UINT64_C(64)
/* How often an L2 entry is looked at, at most: where a window is taken up again, and for each
 * subcluster of a layer above. */
#define LOOKS_ALONE UINT64_C(2)
#define LOOKS_IN_CHAIN UINT64_C(32)
#define LOOKS_LEAST (UINT64_C(1) << 20)

/* The most that the files' own blocks can hold. */
struct bounds {
    uint64_t data, compressed;  /* guest bytes */
    uint64_t packed;            /* bytes of compressed clusters, as their entries say, but for
                                 * the sectors that they share with others */
    uint64_t entries;           /* of L2 tables, as often as they may be looked at */
    bool counted;               /* by what the files hold, not by what their file systems say */
};

struct hashing {
    struct qca_map *map;
    const struct qca_digest_options *options;
    struct qca_error *error;
    struct qca_content_digest *result;
    struct batch_common common;
    struct outer *outer;
    bool is_void;               /* there is not going to be a digest of it all */
    uint64_t zeros_pending;     /* blocks of zeros that the outer hash was not fed yet */
    uint64_t zeros_fed;
    uint64_t work, work_told;   /* bytes */
    struct bounds bounds;
    uint64_t data, compressed;  /* guest bytes that were mapped, whether they could be read or
                                 * not */
    uint64_t packed;
    uint64_t offset;            /* that was told last */
    struct batch *batches;      /* a ring: those under way, from the oldest on */
    size_t n_batches, oldest, n_under_way;
};

static int advance(struct hashing *hashing, uint64_t work, uint64_t offset)
{
    const struct qca_digest_options *options = hashing->options;

    hashing->work += work;
    hashing->offset = offset;
    if (options->progress && hashing->work - hashing->work_told >= PROGRESS_STEP) {
        hashing->work_told = hashing->work;
        options->progress(options->userdata, offset, hashing->result->size);
    }
    return options->cancel && atomic_load_explicit(options->cancel, memory_order_relaxed)
               ? -ECANCELED
               : 0;
}

/* Counts an extent's bytes towards the bounds of its file; an extent may come in parts. */
static void note_mapped(struct hashing *hashing, const struct qca_extent *extent, uint64_t length)
{
    const struct qca_image *image = hashing->map->layers[extent->file].image;

    if (extent->kind == QCA_EXTENT_DATA)
        hashing->data += length;
    if (extent->kind != QCA_EXTENT_COMPRESSED)
        return;
    hashing->compressed += length;
    if (extent->guest_offset % image->info.cluster_size == 0 &&
        extent->host_length > SHARED_SECTORS)
        hashing->packed += extent->host_length - SHARED_SECTORS;
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

/* Bytes of the file outside its holes. A file system that compresses allocates fewer blocks than
 * that, but not fewer than a PACKED_MAX-th: that is the bound where it does not tell of holes. */
static int count_data(struct hashing *hashing, struct qca_io *io, uint64_t *ret_bytes)
{
    uint64_t size = qca_io_size(io), allocated = io_allocated(io), bytes = 0, most;
    int r = 0;

    if (allocated == size) {
        *ret_bytes = size;
        return 0;
    }
    for (uint64_t at = 0, end; at < size && r == 0; at = end) {
        if (!io_is_hole(io, at, &end))
            bytes += end - at;
        r = advance(hashing, DIGEST_SIZE, hashing->offset);
    }
    if (__builtin_mul_overflow(allocated, PACKED_MAX, &most))
        most = UINT64_MAX;
    *ret_bytes = max_u64(allocated, min_u64(bytes, max_u64(most, PACKED_LEAST)));
    return r;
}

static void add_saturating(uint64_t *sum, uint64_t n)
{
    if (add_overflows(*sum, n, sum))
        *sum = UINT64_MAX;
}

/* Each cluster of a file is the guest's once, and each entry of a table maps one: who maps them
 * again and again, with a table that several entries lead to, would have a small file read for
 * days. A file's size is what its owner says; its blocks are what he has. */
static int set_bounds(struct hashing *hashing, bool count)
{
    struct bounds bounds = { .counted = count };
    size_t n_layers = hashing->map->n_layers;

    for (size_t i = 0; i < n_layers; i++) {
        const struct map_layer *layer = &hashing->map->layers[i];
        const struct qca_image_info *info = &layer->image->info;
        uint64_t cluster = max_u64(info->cluster_size, 512), data = io_allocated(layer->data),
                 own = io_allocated(layer->image->io), compressed, own_packed;
        int r = 0;

        if (count)
            r = count_data(hashing, layer->data, &data);
        if (r == 0 && count)
            r = count_data(hashing, layer->image->io, &own);
        if (r < 0)
            return r;
        if (__builtin_mul_overflow(own / inflater_least(info->compression_type, cluster) + 1,
                                   cluster, &compressed))
            compressed = UINT64_MAX;
        add_saturating(&bounds.compressed, compressed);
        if (__builtin_mul_overflow(own, DECLARED_MAX, &own_packed))
            own_packed = UINT64_MAX;
        add_saturating(&bounds.packed, own_packed);
        add_saturating(&bounds.data, data);
        add_saturating(&bounds.data, cluster);
        add_saturating(&bounds.entries, own / sizeof(uint64_t));
    }
    if (__builtin_mul_overflow(bounds.entries,
                               n_layers == 1 ? LOOKS_ALONE : LOOKS_IN_CHAIN * n_layers,
                               &bounds.entries))
        bounds.entries = UINT64_MAX;
    add_saturating(&bounds.entries, LOOKS_LEAST);
    hashing->bounds = bounds;
    return 0;
}

static bool within_bounds(const struct hashing *hashing)
{
    return hashing->data <= hashing->bounds.data &&
           hashing->compressed <= hashing->bounds.compressed &&
           hashing->packed <= hashing->bounds.packed &&
           hashing->map->n_looked_at <= hashing->bounds.entries;
}

static int check_bounds(struct hashing *hashing)
{
    const struct bounds *bounds = &hashing->bounds;
    struct error_field field = { .value = hashing->data, .bound = bounds->data };
    int r;

    if (within_bounds(hashing))
        return 0;
    if (!bounds->counted) {
        r = set_bounds(hashing, true);
        return r < 0 ? r : check_bounds(hashing);
    }
    if (hashing->data > bounds->data)
        return error_set(hashing->error, EFBIG, QCA_ERROR_LIMIT, field,
                         "the tables map the same clusters again and again: more data than the "
                         "file can hold, which is %" PRIu64 " bytes",
                         bounds->data);
    if (hashing->compressed > bounds->compressed || hashing->packed > bounds->packed) {
        field.value = hashing->compressed;
        field.bound = bounds->compressed;
        return error_set(hashing->error, EFBIG, QCA_ERROR_LIMIT, field,
                         "the tables map the same clusters again and again: more data than the "
                         "file can hold, which is %" PRIu64 " bytes of compressed clusters",
                         bounds->compressed);
    }
    field.value = hashing->map->n_looked_at;
    field.bound = bounds->entries;
    return error_set(hashing->error, EFBIG, QCA_ERROR_LIMIT, field,
                     "the same tables are named again and again: more entries than the file can "
                     "hold");
}

/* ---- the outer hash ----------------------------------------------------------------------- */

static int feed_zeros(struct hashing *hashing, uint64_t offset)
{
    uint64_t n = hashing->zeros_pending;
    int r = 0;

    hashing->zeros_pending = 0;
    n -= outer_skip_zeros(hashing->outer, n);
    if (n > ZEROS_MAX - hashing->zeros_fed)
        return error_set(hashing->error, EFBIG, QCA_ERROR_LIMIT,
                         (struct error_field){ .value = hashing->zeros_fed + n,
                                               .bound = ZEROS_MAX },
                         "of a disk of %" PRIu64 " bytes, too much reads as zeros: at most %" PRIu64
                         " TiB are hashed",
                         hashing->result->size, ZEROS_MAX * QCA_BLOCK_SIZE >> 40);
    hashing->zeros_fed += n;
    for (size_t step; n > 0 && r == 0; n -= step) {
        step = min_u64(n, OUTER_ZEROS_MAX);
        r = outer_feed_zeros(hashing->outer, step);
        if (r == 0)
            r = advance(hashing, step * DIGEST_SIZE, offset - min_u64(offset, n * QCA_BLOCK_SIZE));
    }
    return r;
}

static int feed(struct hashing *hashing, const void *digests, size_t n, uint64_t offset)
{
    int r;

    if (hashing->is_void)
        return 0;
    r = feed_zeros(hashing, offset);
    return r < 0 ? r : outer_feed(hashing->outer, digests, n);
}

/* ---- what comes of a batch ---------------------------------------------------------------- */

static void take_bad(struct hashing *hashing, const struct batch *batch)
{
    struct qca_content_digest *result = hashing->result;

    for (size_t i = 0; i < batch->n_bads; i++) {
        const struct batch_bad *bad = &batch->bads[i];
        const struct qca_extent *extent = &batch->pieces[bad->piece].extent;
        struct qca_bad_range *last = result->n_bad > 0 ? &result->bad[result->n_bad - 1] : NULL;

        result->complete = false;
        hashing->is_void = true;
        result->bad_bytes += bad->length;
        if (last && last->guest_offset + last->length == bad->guest_offset &&
            last->error == bad->error && last->layer == extent->layer)
            last->length += bad->length;
        else if (result->n_bad < QCA_BAD_RANGES_MAX)
            result->bad[result->n_bad++] = (struct qca_bad_range){ bad->guest_offset, bad->length,
                                                                   extent->layer, bad->error };
    }
}

static void account_batch(struct hashing *hashing, const struct batch *batch)
{
    struct qca_content_digest *result = hashing->result;
    size_t bad = 0;

    result->zero_bytes += batch->zero_bytes;
    result->unallocated_bytes += batch->unallocated_bytes;
    for (size_t i = 0; i < batch->n_pieces; i++) {
        uint64_t length = batch->pieces[i].length;

        note_mapped(hashing, &batch->pieces[i].extent, length);
        for (; bad < batch->n_bads && batch->bads[bad].piece == i; bad++)
            length -= batch->bads[bad].length;
        account(result, batch->pieces[i].extent.kind, length);
    }
}

/* n blocks of the batch from its own number i on, in runs of one kind. */
static void tell_blocks(const struct hashing *hashing, const struct batch *batch, size_t i,
                        size_t n, uint64_t first)
{
    const struct qca_digest_options *options = hashing->options;

    for (size_t end = i + n, run; i < end; i += run, first += run) {
        run = 1;
        if (batch->bad[i])
            continue;
        while (i + run < end && !batch->bad[i + run] && batch->zero[i + run] == batch->zero[i])
            run++;
        options->blocks(options->userdata, first, run, batch->zero[i] ? NULL : &batch->digests[i],
                        false);
    }
}

static int take_segments(struct hashing *hashing, const struct batch *batch)
{
    const struct qca_digest_options *options = hashing->options;
    size_t i = 0;

    for (size_t k = 0; k < batch->n_segments; k++) {
        const struct batch_segment *segment = &batch->segments[k];
        int r;

        if (segment->zeros) {
            hashing->result->zero_blocks += segment->n;
            hashing->zeros_pending += hashing->is_void ? 0 : segment->n;
            if (options->blocks)
                options->blocks(options->userdata, segment->first, segment->n, NULL,
                                segment->unallocated);
            continue;
        }
        for (size_t n = 0; n < segment->n; n++)
            hashing->result->zero_blocks += !batch->bad[i + n] && batch->zero[i + n];
        r = feed(hashing, batch->digests[i], segment->n, segment->first * QCA_BLOCK_SIZE);
        if (r < 0)
            return r;
        if (options->blocks)
            tell_blocks(hashing, batch, i, segment->n, segment->first);
        i += segment->n;
    }
    return 0;
}

/* The oldest of those under way. */
static int take_batch(struct hashing *hashing)
{
    struct batch *batch = &hashing->batches[hashing->oldest];
    int r;

    if (batch->n_pieces > 0)
        threads_wait(hashing->options->threads, &batch->job);
    hashing->oldest = (hashing->oldest + 1) % hashing->n_batches;
    hashing->n_under_way--;
    if (batch->result < 0)
        return batch->result;
    take_bad(hashing, batch);
    account_batch(hashing, batch);
    r = check_bounds(hashing);
    if (r == 0)
        r = take_segments(hashing, batch);
    return r < 0 ? r : advance(hashing, batch->length, batch->end);
}

/* ---- all of it ---------------------------------------------------------------------------- */

/* Everything before end is counted, not read. */
static int pass_over(struct hashing *hashing, uint64_t end)
{
    for (uint64_t at = 0, length; at < end; at += length) {
        struct qca_extent extent;
        int r = qca_map_next(hashing->map, at, &extent);

        if (r < 0)
            return r;
        length = min_u64(extent.length, end - at);
        note_mapped(hashing, &extent, length);
        account(hashing->result, extent.kind, length);
        r = check_bounds(hashing);
        if (r == 0)
            r = advance(hashing, 0, at + length);
        if (r < 0)
            return r;
    }
    return 0;
}

static int hash_disk(struct hashing *hashing)
{
    uint64_t offset = 0, first = hashing->options->first_block, size = hashing->result->size;
    int r = 0;

    if (first > 0) {
        offset = first < div_round_up(size, QCA_BLOCK_SIZE) ? first * QCA_BLOCK_SIZE : size;
        r = pass_over(hashing, offset);
    }
    while (r >= 0 && (offset < size || hashing->n_under_way > 0)) {
        struct batch *batch;

        if (offset == size || hashing->n_under_way == hashing->n_batches) {
            r = take_batch(hashing);
            continue;
        }
        batch = &hashing->batches[(hashing->oldest + hashing->n_under_way) % hashing->n_batches];
        r = batch_plan(batch, offset);
        if (r < 0)
            break;
        offset = batch->end;
        batch->job = (struct thread_job) { .run = batch_run };
        if (batch->n_pieces > 0)
            threads_submit(hashing->options->threads, &batch->job);
        hashing->n_under_way++;
    }
    return r < 0 || hashing->is_void ? r : feed_zeros(hashing, size);
}

/* Clusters of up to 2 MiB are inflated once each, by the one batch that has all of it; larger ones,
 * which some formats have, are never compressed. */
static size_t blocks_per_batch(const struct qca_map *map)
{
    size_t n = BATCH_BLOCKS;

    for (size_t i = 0; i < map->n_layers; i++) {
        size_t blocks = map->layers[i].image->info.cluster_size / QCA_BLOCK_SIZE;

        n = max_u64(n, min_u64(blocks, BATCH_BLOCKS_MAX));
    }
    return n;
}

static int begin(struct hashing *hashing)
{
    static const uint8_t zeros[QCA_BLOCK_SIZE];
    struct batch_common *common = &hashing->common;
    unsigned threads = threads_count(hashing->options->threads);
    int r;

    common->map = hashing->map;
    common->two = !hashing->options->libcrypto_only && sha256_two_supported();
    common->n_blocks = blocks_per_batch(hashing->map);
    common->sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    hashing->n_batches = threads == 1 ? 1 : 2 * (size_t)threads;
    hashing->batches = calloc(hashing->n_batches, sizeof(*hashing->batches));
    if (!common->sha256 || !hashing->batches)
        return -ENOMEM;
    if (EVP_Digest(zeros, sizeof(zeros), common->zero_digest, NULL, common->sha256, NULL) != 1)
        return -EIO;
    r = outer_new(common->zero_digest, &hashing->outer);
    for (size_t i = 0; r == 0 && i < hashing->n_batches; i++)
        r = batch_init(&hashing->batches[i], common);
    return r;
}

static void end(struct hashing *hashing)
{
    for (size_t i = 0; hashing->batches && i < hashing->n_batches; i++) {
        threads_drop(hashing->options->threads, &hashing->batches[i].job);
        batch_done(&hashing->batches[i]);
    }
    free(hashing->batches);
    outer_free(hashing->outer);
    EVP_MD_free(hashing->common.sha256);
}

int qca_content_digest(struct qca_map *map, const struct qca_digest_options *options,
                       struct qca_error *error, struct qca_content_digest *ret_digest)
{
    static const struct qca_digest_options none = { .cancel = NULL };
    struct qca_content_digest result = { .complete = true, .size = qca_map_size(map) };
    struct hashing hashing = {
        .map = map,
        .options = options ? options : &none,
        .error = error,
        .result = &result,
        .is_void = options && options->first_block > 0,
    };
    int r = begin(&hashing);

    if (r == 0)
        r = set_bounds(&hashing, false);
    if (r == 0)
        r = hash_disk(&hashing);
    if (r == 0 && !hashing.is_void)
        r = outer_finish(hashing.outer, result.size, result.digest);
    end(&hashing);
    if (r < 0)
        return r;
    *ret_digest = result;
    return 0;
}
