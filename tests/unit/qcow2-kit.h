/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small qcow2 images in memory, whole to begin with, for tests to damage. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "qcaudit/qcaudit.h"

/* Cluster 0 is the header, then refcount table, one refcount block, L1 (one entry), L2, data. */
enum { KIT_REFTABLE = 1, KIT_REFBLOCK, KIT_L1, KIT_L2, KIT_DATA };

struct kit {
    uint8_t *data;
    size_t size;
    unsigned refcount_order;
    uint64_t cluster;           /* bytes */
};

/* An image of version 3 whose first n_data guest clusters lie in its last n_data host clusters. */
struct kit *kit_new(unsigned cluster_bits, unsigned refcount_order, unsigned n_data);
void kit_free(struct kit *kit);

/* Big-endian values of 1, 2, 4 or 8 bytes. */
void kit_put(struct kit *kit, uint64_t offset, unsigned size, uint64_t value);
uint64_t kit_get(const struct kit *kit, uint64_t offset, unsigned size);
void kit_refcount(struct kit *kit, uint64_t cluster, uint64_t value);
/* Offset of an entry of the L2 table. */
uint64_t kit_l2(const struct kit *kit, uint64_t index);
/* Makes the image n clusters longer; returns the first new one. */
uint64_t kit_grow(struct kit *kit, unsigned n);
/* Appends a header extension behind those that are there. */
void kit_extension(struct kit *kit, uint32_t type, const void *data, uint32_t size);
/* Gives the image a parent, with a declared format unless that is NULL. To be called last. */
void kit_parent(struct kit *kit, const char *name, const char *format);

/* Opens it; *ret_io is freed by the caller after the image. */
int kit_open(const struct kit *kit, struct qca_error *error, struct qca_io **ret_io,
             struct qca_image **ret_image);
/* Opens, checks, closes: both must succeed. */
struct qca_check_result kit_check(const struct kit *kit, const struct qca_check_options *options);
/* All of both results: counters, kinds, issues in their order, why they are not finished. */
void kit_assert_same(const struct qca_check_result *a, const struct qca_check_result *b);
