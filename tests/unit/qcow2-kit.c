/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small qcow2 images in memory. */
#include "qcow2-kit.h"
#include "check-fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COPIED (UINT64_C(1) << 63)

void kit_put(struct kit *kit, uint64_t offset, unsigned size, uint64_t value)
{
    assert_true(offset + size <= kit->size);
    for (unsigned i = 0; i < size; i++)
        kit->data[offset + i] = value >> (8 * (size - 1 - i));
}

uint64_t kit_get(const struct kit *kit, uint64_t offset, unsigned size)
{
    uint64_t value = 0;

    assert_true(offset + size <= kit->size);
    for (unsigned i = 0; i < size; i++)
        value = value << 8 | kit->data[offset + i];
    return value;
}

void kit_refcount(struct kit *kit, uint64_t cluster, uint64_t value)
{
    uint64_t block = KIT_REFBLOCK * kit->cluster;
    unsigned bits = 1U << kit->refcount_order;

    if (bits >= 8)
        kit_put(kit, block + cluster * bits / 8, bits / 8, value);
    else {
        uint8_t *byte = &kit->data[block + cluster * bits / 8];
        unsigned shift = cluster * bits % 8;

        *byte = (*byte & ~(((1U << bits) - 1) << shift)) | value << shift;
    }
}

uint64_t kit_l2(const struct kit *kit, uint64_t index)
{
    return KIT_L2 * kit->cluster + 8 * index;
}

uint64_t kit_grow(struct kit *kit, unsigned n)
{
    size_t size = kit->size + n * kit->cluster;
    uint64_t first = kit->size / kit->cluster;

    kit->data = realloc(kit->data, size);
    assert_non_null(kit->data);
    memset(kit->data + kit->size, 0, size - kit->size);
    kit->size = size;
    return first;
}

struct kit *kit_new(unsigned cluster_bits, unsigned refcount_order, unsigned n_data)
{
    struct kit *kit = calloc(1, sizeof(*kit));
    uint64_t cluster = UINT64_C(1) << cluster_bits;

    assert_non_null(kit);
    *kit = (struct kit) { .refcount_order = refcount_order, .cluster = cluster };
    kit_grow(kit, KIT_DATA + n_data);
    kit_put(kit, 0, 4, 0x514649fb);
    kit_put(kit, 4, 4, 3);
    kit_put(kit, 20, 4, cluster_bits);
    kit_put(kit, 24, 8, cluster * (cluster / 8));
    kit_put(kit, 36, 4, 1);
    kit_put(kit, 40, 8, KIT_L1 * cluster);
    kit_put(kit, 48, 8, KIT_REFTABLE * cluster);
    kit_put(kit, 56, 4, 1);
    kit_put(kit, 96, 4, refcount_order);
    kit_put(kit, 100, 4, 104);
    kit_put(kit, KIT_REFTABLE * cluster, 8, KIT_REFBLOCK * cluster);
    kit_put(kit, KIT_L1 * cluster, 8, KIT_L2 * cluster | COPIED);
    for (unsigned i = 0; i < n_data; i++)
        kit_put(kit, kit_l2(kit, i), 8, (KIT_DATA + i) * cluster | COPIED);
    for (unsigned i = 0; i < KIT_DATA + n_data; i++)
        kit_refcount(kit, i, 1);
    return kit;
}

void kit_free(struct kit *kit)
{
    if (!kit)
        return;
    free(kit->data);
    free(kit);
}

/* Where the next header extension goes. */
static uint64_t extensions_end(const struct kit *kit)
{
    uint64_t offset = kit_get(kit, 100, 4);

    while (kit_get(kit, offset, 4) != 0)
        offset += 8 + ((kit_get(kit, offset + 4, 4) + 7) & ~UINT64_C(7));
    return offset;
}

void kit_extension(struct kit *kit, uint32_t type, const void *data, uint32_t size)
{
    uint64_t offset = extensions_end(kit);

    assert_true(offset + 8 + size <= kit->cluster);
    kit_put(kit, offset, 4, type);
    kit_put(kit, offset + 4, 4, size);
    memcpy(kit->data + offset + 8, data, size);
}

void kit_parent(struct kit *kit, const char *name, const char *format)
{
    uint64_t offset;

    if (format)
        kit_extension(kit, 0xe2792aca, format, strlen(format));
    offset = extensions_end(kit) + 8;
    assert_true(offset + strlen(name) <= kit->cluster);
    memcpy(kit->data + offset, name, strlen(name));
    kit_put(kit, 8, 8, offset);
    kit_put(kit, 16, 4, strlen(name));
}

int kit_open(const struct kit *kit, struct qca_error *error, struct qca_io **ret_io,
             struct qca_image **ret_image)
{
    int r;

    assert_int_equal(qca_io_new_memory(kit->data, kit->size, ret_io), 0);
    r = qca_image_open(*ret_io, NULL, error, ret_image);
    if (r < 0) {
        qca_io_free(*ret_io);
        *ret_io = NULL;
    }
    return r;
}

struct qca_check_result kit_check(const struct kit *kit, const struct qca_check_options *options)
{
    struct qca_check_result result;
    struct qca_image *image;
    struct qca_io *io;

    assert_int_equal(kit_open(kit, NULL, &io, &image), 0);
    assert_int_equal(qca_check(image, options, &result), 0);
    qca_image_free(image);
    qca_io_free(io);
    return result;
}

void kit_assert_same(const struct qca_check_result *a, const struct qca_check_result *b)
{
    assert_int_equal(a->finished, b->finished);
    assert_int_equal(qca_check_error(a)->kind, qca_check_error(b)->kind);
    assert_string_equal(qca_check_error(a)->text, qca_check_error(b)->text);
    assert_int_equal(a->corruptions, b->corruptions);
    assert_int_equal(a->leaks, b->leaks);
    assert_int_equal(a->check_errors, b->check_errors);
    assert_int_equal(a->image_end_offset, b->image_end_offset);
    assert_int_equal(a->total_clusters, b->total_clusters);
    assert_int_equal(a->allocated_clusters, b->allocated_clusters);
    assert_int_equal(a->compressed_clusters, b->compressed_clusters);
    assert_int_equal(a->fragmented_clusters, b->fragmented_clusters);
    assert_int_equal(a->leak_runs, b->leak_runs);
    assert_int_equal(a->burst_leaks, b->burst_leaks);
    assert_int_equal(a->burst_offset, b->burst_offset);
    assert_int_equal(a->burst_end, b->burst_end);
    assert_true(fixture_same_counts(a, b));
    assert_int_equal(a->n_issues, b->n_issues);
    if (a->n_issues > 0)
        assert_memory_equal(a->issues, b->issues, a->n_issues * sizeof(*a->issues));
}
