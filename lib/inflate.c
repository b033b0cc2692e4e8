/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inflates compressed clusters. */
#include "inflate.h"

#include <errno.h>
#include <stdlib.h>

#define ZLIB_CONST              /* next_in points to const */
#include <zlib.h>
#include <zstd.h>

#include "bytes.h"

/* Raw deflate with a window of 4 KiB (docs/interop/qcow2.txt); zlib's default. */
enum { WINDOW_BITS_RAW = -12, WINDOW_BITS_ZLIB = 15 };

struct inflater {
    uint8_t type;
    uint64_t size;              /* bytes of out */
    uint8_t *out;
    uint64_t length;            /* bytes of it that the last run gave */
    z_stream zlib;
    ZSTD_DCtx *zstd;
    inflate_fast_fn fast;       /* tried before zlib; NULL none */
    void *fast_context;
};

int inflater_new(uint8_t type, uint64_t size, struct inflater **ret_inflater)
{
    _cleanup_inflater_ struct inflater *inflater = NULL;

    int bits = type == INFLATE_ZLIB ? WINDOW_BITS_ZLIB : WINDOW_BITS_RAW;

    if (type > INFLATE_ZLIB)
        return -EOPNOTSUPP;
    inflater = calloc(1, sizeof(*inflater));
    if (!inflater)
        return -ENOMEM;
    inflater->type = type;
    inflater->size = size;
    inflater->out = malloc(size);
    if (type == INFLATE_ZSTD)
        inflater->zstd = ZSTD_createDCtx();
    else if (inflateInit2(&inflater->zlib, bits) != Z_OK)
        return -ENOMEM;
    if (!inflater->out || (type == INFLATE_ZSTD && !inflater->zstd))
        return -ENOMEM;
    *ret_inflater = TAKE_PTR(inflater);
    return 0;
}

void inflater_free(struct inflater *inflater)
{
    if (!inflater)
        return;
    if (inflater->type != INFLATE_ZSTD)
        inflateEnd(&inflater->zlib);
    free(inflater->fast_context);
    ZSTD_freeDCtx(inflater->zstd);
    free(inflater->out);
    free(inflater);
}

void inflater_set_fast(struct inflater *inflater, inflate_fast_fn run, void *context)
{
    inflater->fast = run;
    inflater->fast_context = context;
}

uint64_t inflater_least(uint8_t type, uint64_t cluster_size)
{
    /* RFC 8878: magic, frame header, and a block header and a byte for up to 128 KiB; RFC 1951: two
     * bits, a length and a distance, for up to 258 bytes. */
    uint64_t least = type == INFLATE_ZSTD ? 6 + 4 * div_round_up(cluster_size, UINT64_C(128) << 10)
                               : cluster_size / 1032;

    return max_u64(least, 1);
}

/* The stream need not end where the cluster is full: QEMU does not ask for that either. */
static bool run_zlib(struct inflater *inflater, const uint8_t *data, uint64_t size,
                     uint64_t *ret_used)
{
    z_stream *stream = &inflater->zlib;
    int r;

    if (inflateReset(stream) != Z_OK)
        return false;
    stream->next_in = data;
    stream->avail_in = (uInt)size;
    stream->next_out = inflater->out;
    stream->avail_out = (uInt)inflater->size;
    r = inflate(stream, Z_FINISH);
    *ret_used = size - stream->avail_in;
    inflater->length = inflater->size - stream->avail_out;
    if (inflater->type == INFLATE_ZLIB)
        return r == Z_STREAM_END;
    return (r == Z_STREAM_END || r == Z_BUF_ERROR) && stream->avail_out == 0;
}

/* Whole frames, until the cluster is full: so the output is the only window that is needed,
 * whatever size the frames ask for. */
static bool run_zstd(struct inflater *inflater, const uint8_t *data, uint64_t size,
                     uint64_t *ret_used)
{
    uint64_t done = 0, used = 0;

    while (done < inflater->size) {
        size_t frame = ZSTD_findFrameCompressedSize(data + used, size - used), n;

        *ret_used = used;
        if (ZSTD_isError(frame) || frame == 0)
            return false;
        n = ZSTD_decompressDCtx(inflater->zstd, inflater->out + done, inflater->size - done,
                                data + used, frame);
        used += frame;
        *ret_used = used;
        if (ZSTD_isError(n))
            return false;
        done += n;
    }
    return true;
}

bool inflater_run(struct inflater *inflater, const uint8_t *data, uint64_t size,
                  uint64_t *ret_used)
{
    *ret_used = 0;
    inflater->length = inflater->size;
    if (inflater->type != INFLATE_ZSTD && inflater->fast &&
        inflater->fast(inflater->fast_context, data, size, inflater->out, inflater->size, ret_used))
        return true;
    return inflater->type == INFLATE_ZSTD ? run_zstd(inflater, data, size, ret_used)
                               : run_zlib(inflater, data, size, ret_used);
}

const uint8_t *inflater_cluster(const struct inflater *inflater)
{
    return inflater->out;
}

uint64_t inflater_length(const struct inflater *inflater)
{
    return inflater->length;
}

enum inflate_type inflater_type(const struct inflater *inflater)
{
    return (enum inflate_type)inflater->type;
}
