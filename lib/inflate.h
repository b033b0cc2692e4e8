/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inflates single compressed clusters, as QEMU does: zlib's raw deflate or zstd, to exactly a
 * cluster. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cleanup.h"

struct inflater;

/* type: 0 zlib, 1 zstd. size: bytes of a cluster, all that the inflater ever holds of output.
 * -ENOMEM, -EOPNOTSUPP for another type. */
int inflater_new(uint8_t type, uint64_t size, struct inflater **ret_inflater);
void inflater_free(struct inflater *inflater);
/* True when data gives a whole cluster. *ret_used: bytes of data that were needed for it, or were
 * taken until it failed. */
bool inflater_run(struct inflater *inflater, const uint8_t *data, uint64_t size,
                  uint64_t *ret_used);

/* The cluster that the last run gave. */
const uint8_t *inflater_cluster(const struct inflater *inflater);

/* Bytes that a cluster of this size takes at least, compressed. */
uint64_t inflater_least(uint8_t type, uint64_t cluster_size);

DEFINE_CLEANUP(struct inflater *, inflater_free)
#define _cleanup_inflater_ _cleanup_(inflater_freep)
