/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest map of a qcow2 image: entries of its tables as extents, by the rules under which QEMU
 * reads. */
#include <errno.h>
#include <inttypes.h>

#include "error.h"
#include "io.h"
#include "l2-runs.h"
#include "map.h"
#include "qcow2.h"

#define SUBCLUSTERS 32

static unsigned table_shift(const struct qcow2 *qcow2)
{
    return qcow2->cluster_bits + qcow2->l2_bits;
}

static int qcow2_map_begin(struct map_layer *layer, const struct map_begin *begin,
                           struct qca_error *error)
{
    const struct qca_image_info *info = &layer->image->info;
    const struct qca_snapshot *snapshot = begin->snapshot;
    const struct qcow2 *qcow2 = qcow2_of(layer->image);
    uint64_t offset = snapshot ? snapshot->l1_offset : info->l1_offset;
    uint64_t entries = snapshot ? snapshot->l1_entries : info->l1_entries;
    uint64_t needed = div_round_up(layer->size, UINT64_C(1) << table_shift(qcow2)), end;
    int r;

    if (info->crypt_method != QCA_CRYPT_NONE && !begin->stored)
        return error_set(error, EOPNOTSUPP, QCA_ERROR_UNSUPPORTED,
                         (struct error_field) { "crypt_method", 32, info->crypt_method, 0 },
                         "the image is encrypted (%s): its guest's data cannot be read without "
                         "the key",
                         info->crypt_method == QCA_CRYPT_LUKS ? "LUKS" : "AES");
    if (qcow2->has_data_file && layer->data == layer->image->io)
        return error_set(error, ENOENT, QCA_ERROR_REFERENCE,
                         (struct error_field) { .name = "External data file name string" },
                         "the image's data file is not open");
    entries = min_u64(entries, needed);
    if (entries > QCOW2_MAX_L1_BYTES / 8)
        return error_set(error, EFBIG, QCA_ERROR_LIMIT,
                         (struct error_field) { "l1_size", 36, entries, QCOW2_MAX_L1_BYTES / 8 },
                         "the L1 table is larger than %" PRIu64 " bytes", QCOW2_MAX_L1_BYTES);
    if (entries == 0)
        return 0;
    if (add_overflows(offset, entries * 8, &end) || end > QCOW2_MAX_OFFSET)
        return error_set_read(error, -EIO, offset, "the L1 table");
    entries = qcow2_l1_entries_inside(layer->image, offset, entries);
    if (entries == 0)
        return 0;
    if (entries * 8 > *begin->memory_left)
        return error_set(error, ENOMEM, QCA_ERROR_MEMORY,
                         (struct error_field) { "l1_size", 36, entries, *begin->memory_left / 8 },
                         "the L1 tables of the chain need more memory than allowed");
    layer->table = malloc(entries * 8);
    if (!layer->table)
        return error_set_memory(error);
    *begin->memory_left -= entries * 8;
    r = qcow2_read(layer->image, offset, layer->table, entries * 8);
    if (r < 0)
        return error_set_read(error, r, offset, "the L1 table");
    for (uint64_t i = 0; i < entries; i++)
        layer->table[i] = be64_get(&layer->table[i]) & L1_OFFSET_MASK;
    layer->n_table = entries;
    return 0;
}

static bool qcow2_map_has(const struct map_layer *layer, struct range range)
{
    unsigned shift = table_shift(qcow2_of(layer->image));
    uint64_t end = min_u64(layer->n_table, ((range.end - 1) >> shift) + 1);

    for (uint64_t i = range.start >> shift; i < end; i++)
        if (layer->table[i])
            return true;
    return false;
}

static int map_compressed(struct qca_map *map, size_t number, struct range range, uint64_t entry)
{
    const struct qcow2 *qcow2 = qcow2_of(map->layers[number].image);
    struct qcow2_compressed where = qcow2_compressed(qcow2, entry);
    const struct qca_extent extent = {
        .guest_offset = range.start,
        .length = range.end - range.start,
        .kind = QCA_EXTENT_COMPRESSED,
        .layer = (uint32_t)number,
        .host_offset = where.offset,
        .host_length = where.size,
    };

    if (qcow2->has_data_file)
        return map_emit_damaged(map, number, range, -EBADMSG,
                                "a compressed cluster in an image with a data file");
    return map_emit(map, &extent);
}

/* The subclusters of one cluster that range touches. */
static int map_subclusters(struct qca_map *map, size_t number, struct range range, uint64_t entry,
                           uint64_t bitmap)
{
    const struct qcow2 *qcow2 = qcow2_of(map->layers[number].image);
    uint64_t size = qcow2_cluster_size(qcow2) / SUBCLUSTERS, host = entry & L2_OFFSET_MASK;
    bool allocated = l2_entry_kind(qcow2, entry) == L2_RUN_ALLOCATED;
    int r = 0;

    if (allocated ? subclusters_conflict(bitmap) : (uint32_t)bitmap != 0)
        return map_emit_damaged(map, number, range, -EBADMSG,
                                "subcluster bits contradict each other");
    for (uint64_t at = range.start, next; at < range.end && r >= 0; at = next) {
        uint64_t within = at & (qcow2_cluster_size(qcow2) - 1);
        unsigned i = (unsigned)(within / size);
        struct range part = { at, min_u64(range.end, at - within + (i + 1) * size) };

        next = part.end;
        if (bitmap & UINT64_C(1) << (32 + i))
            r = map_emit_zero(map, number, part);
        else if (bitmap & UINT64_C(1) << i)
            r = map_emit_data(map, number, part, host + within);
        else
            r = map_pass_on(map, part);
    }
    return r;
}

/* One cluster, or the part of it that range covers. */
static int map_cluster(struct qca_map *map, size_t number, struct range range, const uint8_t *at)
{
    const struct qca_image *image = map->layers[number].image;
    const struct qcow2 *qcow2 = qcow2_of(image);
    uint64_t entry = be64_get(at), host = entry & L2_OFFSET_MASK;
    enum l2_run_kind kind = l2_entry_kind(qcow2, entry);

    if (kind == L2_RUN_COMPRESSED)
        return map_compressed(map, number, range, entry);
    if (!qcow2->extended_l2 && (entry & L2_ZERO)) {
        if (image->info.version < 3)
            return map_emit_damaged(map, number, range, -EBADMSG,
                                    "a zero cluster in an image of version 2");
        return map_emit_zero(map, number, range);
    }
    if (kind == L2_RUN_ALLOCATED && !qcow2_aligned(qcow2, host))
        return map_emit_damaged(map, number, range, -EBADMSG,
                                "an L2 entry's cluster is not cluster aligned");
    if (qcow2->extended_l2)
        return map_subclusters(map, number, range, entry, be64_get(at + 8));
    if (kind != L2_RUN_ALLOCATED)
        return map_pass_on(map, range);
    return map_emit_data(map, number, range,
                         host + (range.start & (qcow2_cluster_size(qcow2) - 1)));
}

/* The part of range that one L2 table maps. */
static int map_table(struct qca_map *map, size_t number, struct range range, uint64_t table)
{
    const struct qcow2 *qcow2 = qcow2_of(map->layers[number].image);
    unsigned entry_bits = qcow2->extended_l2 ? 4 : 3, shift = table_shift(qcow2);
    uint64_t start = range.start & ~((UINT64_C(1) << shift) - 1),
             end = start + (UINT64_C(1) << shift);
    struct io_segment segment;
    uint64_t first, last, size;
    int r;

    if (!qcow2_aligned(qcow2, table))
        return map_emit_damaged(map, number, range, -EBADMSG,
                                "an L1 entry's L2 table is not cluster aligned");
    /* A table that was never written, or was emptied, in a file that may have no end. */
    segment = io_segment(map->layers[number].image->io, table);
    if (segment.hole && segment.end - table >= qcow2_cluster_size(qcow2))
        return map_pass_on(map, range);
    first = (max_u64(start, map->window.start) - start) >> qcow2->cluster_bits;
    last = (min_u64(end, map->window.end) - start - 1) >> qcow2->cluster_bits;
    table += first << entry_bits;
    size = (last - first + 1) << entry_bits;
    r = table > QCOW2_MAX_OFFSET - size ? -EIO : map_load_slice(map, number, table, size);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        return map_emit_damaged(map, number, range, r, "an L2 table cannot be read");

    map->n_looked_at += ((range.end - range.start - 1) >> qcow2->cluster_bits) + 1;
    while (range.start < range.end && r >= 0) {
        uint64_t index = ((range.start - start) >> qcow2->cluster_bits) - first;
        uint64_t cluster_end = (range.start | (qcow2_cluster_size(qcow2) - 1)) + 1;
        struct range part = { range.start, min_u64(range.end, cluster_end) };

        r = map_cluster(map, number, part, map->slice + (index << entry_bits));
        range.start = part.end;
    }
    return r;
}

static int qcow2_map_range(struct qca_map *map, size_t number, struct range range)
{
    const struct map_layer *layer = &map->layers[number];
    unsigned shift = table_shift(qcow2_of(layer->image));
    int r = 0;

    while (range.start < range.end && r >= 0) {
        uint64_t index = range.start >> shift, next = index + 1;
        struct range part = range;
        uint64_t table;

        if (index >= layer->n_table)
            return map_pass_on(map, range);
        table = layer->table[index];
        while (table == 0 && next < layer->n_table && layer->table[next] == 0 &&
               next << shift < range.end)
            next++;
        part.end = min_u64(range.end, next << shift);
        r = table ? map_table(map, number, part, table) : map_pass_on(map, part);
        range.start = part.end;
    }
    return r;
}

const struct format_map qcow2_map = {
    .begin = qcow2_map_begin,
    .range = qcow2_map_range,
    .has = qcow2_map_has,
};
