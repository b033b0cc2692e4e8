/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inflates single compressed clusters, as QEMU does: zlib's raw deflate or zstd, to exactly a
 * cluster; or zlib's own format, to at most one. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cleanup.h"

struct inflater;

enum inflate_type {
    INFLATE_RAW = 0,            /* deflate alone, window of 4 KiB (docs/interop/qcow2.txt) */
    INFLATE_ZSTD = 1,
    INFLATE_ZLIB = 2,           /* RFC 1950: header and checksum, to the end of the stream, which
                                 * may give less than a cluster */
};

/* type: enum inflate_type. size: bytes of a cluster, all that the inflater ever holds of output.
 * -ENOMEM, -EOPNOTSUPP for another type. */
int inflater_new(uint8_t type, uint64_t size, struct inflater **ret_inflater);
void inflater_free(struct inflater *inflater);
/* True when data gives a whole cluster, or (INFLATE_ZLIB) is a whole stream. *ret_used: bytes of
 * data that were needed for it, or were taken until it failed. */
bool inflater_run(struct inflater *inflater, const uint8_t *data, uint64_t size,
                  uint64_t *ret_used);

/* From now on what is compressed by zlib is tried by libisal first, which needs half the time;
 * zlib, that is QEMU's way, inflates what libisal refuses. For contents, not for checks: libisal
 * takes a stream whose code is incomplete (RFC 1951, 3.2.7), and which never uses what is missing
 * of it, where zlib refuses the code. No compressor makes such. Nothing changes where there is no
 * libisal. -ENOMEM. */
int inflater_be_fast(struct inflater *inflater);

/* The cluster that the last run gave, and its bytes: the size, or (INFLATE_ZLIB) less. */
const uint8_t *inflater_cluster(const struct inflater *inflater);
uint64_t inflater_length(const struct inflater *inflater);
enum inflate_type inflater_type(const struct inflater *inflater);

/* Bytes that a cluster of this size takes at least, compressed. */
uint64_t inflater_least(uint8_t type, uint64_t cluster_size);

/* Between inflate.c and inflate-fast.c, so that who only checks need not load the library. True
 * when data gave a whole cluster. */
typedef bool (*inflate_fast_fn)(void *context, const uint8_t *data, uint64_t size, uint8_t *out,
                                uint64_t out_size, uint64_t *ret_used);
/* Takes context, malloc'd. Zstd is not tried. Once. */
void inflater_set_fast(struct inflater *inflater, inflate_fast_fn run, void *context);

DEFINE_CLEANUP(struct inflater *, inflater_free)
#define _cleanup_inflater_ _cleanup_(inflater_freep)
