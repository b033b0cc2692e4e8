/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's map of formats that map a disk block by block. */
#include "block-layout.h"

#include <errno.h>

#include "bytes.h"
#include "error.h"
#include "io.h"
#include "map.h"

enum { SECTOR = 512, BITMAP_CHUNK = 512 };

static uint64_t table_span(const struct block_layout *layout)
{
    return (uint64_t)layout->entries * layout->block_size;
}

static int begin(struct map_layer *layer, const struct map_begin *begin, struct qca_error *error)
{
    const struct block_layout *layout = image_layout(layer->image);
    const struct qca_image_info *info = &layer->image->info;
    uint64_t n = block_layout_tables(layout), bytes;
    int r;

    if (info->crypt_method != QCA_CRYPT_NONE && !begin->stored)
        return error_set(error, EOPNOTSUPP, QCA_ERROR_UNSUPPORTED,
                         (struct error_field){ .name = "crypt_method",
                                               .value = info->crypt_method },
                         "the image is encrypted: its guest's data cannot be read without the "
                         "key");
    if (!layout->directory && layout->n_blocks * layout->entry_size >
                                  info->file_size - min_u64(info->file_size, layout->first_table))
        return error_set(error, EBADMSG, QCA_ERROR_TRUNCATED,
                         (struct error_field){ NULL, layout->first_table, layout->n_blocks,
                                               info->file_size },
                         "the file ends within its block map");
    if (!layout->directory)
        return 0;
    if (__builtin_mul_overflow(n, sizeof(*layer->table), &bytes) || bytes > *begin->memory_left)
        return error_set(error, ENOMEM, QCA_ERROR_MEMORY,
                         (struct error_field){ NULL, 0, n, *begin->memory_left },
                         "the directories of the chain need more memory than allowed");
    r = layout->directory(layer->image, *begin->memory_left, error, &layer->table);
    if (r < 0)
        return r;
    *begin->memory_left -= bytes;
    layer->n_table = n;
    return 0;
}

/* Without a directory each entry has to be looked at. */
static bool has(const struct map_layer *layer, struct range range)
{
    const struct block_layout *layout = image_layout(layer->image);
    uint64_t first = range.start / table_span(layout), end;

    if (!layout->directory)
        return true;
    end = min_u64(layer->n_table, (range.end - 1) / table_span(layout) + 1);
    for (uint64_t i = first; i < end; i++)
        if (layer->table[i])
            return true;
    return false;
}

/* The sectors of one block that range touches, by a bitmap with a bit for each. */
static int map_sectors(struct qca_map *map, size_t number, struct range range, uint64_t start,
                       const struct block *block)
{
    struct qca_image *image = map->layers[number].image;
    const struct block_layout *layout = image_layout(image);
    uint32_t size = layout->bitmap_sector ? layout->bitmap_sector : SECTOR;
    bool msb = layout->bitmap_msb;
    uint8_t bits[BITMAP_CHUNK];
    uint64_t loaded = UINT64_MAX;
    int r = 0;

    for (uint64_t at = range.start, next; at < range.end && r >= 0; at = next) {
        uint64_t sector = (at - start) / size, chunk = sector / 8 / sizeof(bits);
        uint8_t byte;
        bool here;

        if (chunk != loaded) {
            r = qca_io_read(image->io, block->bitmap + chunk * sizeof(bits), bits, sizeof(bits));
            if (r < 0)
                return map_emit_damaged(map, number, (struct range){ at, range.end }, r,
                                        "a block's bitmap of sectors cannot be read");
            loaded = chunk;
        }
        byte = bits[sector / 8 % sizeof(bits)];
        here = msb ? byte << (sector % 8) & 0x80 : byte >> (sector % 8) & 1;
        next = min_u64(range.end, start + (sector + 1) * size);
        r = here ? map_emit_data(map, number, (struct range){ at, next },
                                 block->offset + (at - start))
                 : map_pass_on(map, (struct range){ at, next });
    }
    return r;
}

static int map_compressed(struct qca_map *map, size_t number, struct range range, uint64_t index,
                          struct block *block)
{
    struct qca_image *image = map->layers[number].image;
    const struct block_layout *layout = image_layout(image);
    struct qca_extent extent = {
        .guest_offset = range.start,
        .length = range.end - range.start,
        .kind = QCA_EXTENT_COMPRESSED,
        .layer = (uint32_t)number,
    };
    uint64_t end;
    int r = 0;

    if (block->length == 0 && layout->read_length)
        r = layout->read_length(image, index, block);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        return map_emit_damaged(map, number, range, r,
                                "how long a compressed block is cannot be read");
    if (block->length == 0 || block->length > block_length_max(layout) ||
        add_overflows(block->offset, block->length, &end) || end > image->info.file_size)
        return map_emit_damaged(map, number, range, -EBADMSG,
                                "a compressed block is not in the file, or is too long");
    extent.host_offset = block->offset;
    extent.host_length = block->length;
    return map_emit(map, &extent);
}

/* Range lies within block number index. */
static int map_block(struct qca_map *map, size_t number, struct range range, uint64_t index,
                     const uint8_t *entry)
{
    const struct qca_image *image = map->layers[number].image;
    const struct block_layout *layout = image_layout(image);
    struct block block = layout->entry(image, index, entry);
    uint64_t start = index * layout->block_size;

    switch (block.kind) {
    case BLOCK_PARENT:
        return map_pass_on(map, range);
    case BLOCK_ZERO:
        return map_emit_zero(map, number, range);
    case BLOCK_COMPRESSED:
        return map_compressed(map, number, range, index, &block);
    case BLOCK_INVALID:
        return map_emit_damaged(map, number, range, -EBADMSG, block.reason);
    case BLOCK_DATA:
    case BLOCK_SECTORS:
        break;
    }
    if (block.offset > (uint64_t)INT64_MAX - layout->block_size ||
        (block.kind == BLOCK_SECTORS && block.bitmap > (uint64_t)INT64_MAX - layout->block_size))
        return map_emit_damaged(map, number, range, -EBADMSG,
                                "a block lies beyond the largest file");
    if (block.kind == BLOCK_SECTORS)
        return map_sectors(map, number, range, start, &block);
    return map_emit_data(map, number, range, block.offset + (range.start - start));
}

/* The part of range that one table maps. */
static int map_table(struct qca_map *map, size_t number, struct range range, uint64_t table,
                     uint64_t offset)
{
    const struct qca_image *image = map->layers[number].image;
    const struct block_layout *layout = image_layout(image);
    uint64_t start = table * table_span(layout), size = layout->block_size;
    uint64_t end = min_u64(start + table_span(layout), layout->n_blocks * size);
    uint64_t first = (max_u64(start, map->window.start) - start) / size;
    uint64_t last = (min_u64(end, map->window.end) - start - 1) / size;
    uint64_t bytes = (last - first + 1) * layout->entry_size, at, table_end;
    int r;

    if (add_overflows(offset, first * layout->entry_size, &at) ||
        add_overflows(at, bytes, &table_end) || table_end > image->info.file_size)
        return map_emit_damaged(map, number, range, -EBADMSG, "a table is not in the file");
    r = map_load_slice(map, number, at, bytes);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        return map_emit_damaged(map, number, range, r, "a table cannot be read");
    map->n_looked_at += last - first + 1;
    while (range.start < range.end && r >= 0) {
        uint64_t index = (range.start - start) / size;
        struct range part = { range.start, min_u64(range.end, start + (index + 1) * size) };

        r = map_block(map, number, part, table * layout->entries + index,
                      map->slice + (index - first) * layout->entry_size);
        range.start = part.end;
    }
    return r;
}

static int map_range(struct qca_map *map, size_t number, struct range range)
{
    const struct map_layer *layer = &map->layers[number];
    const struct block_layout *layout = image_layout(layer->image);
    uint64_t n = block_layout_tables(layout), span = table_span(layout);
    int r = 0;

    while (range.start < range.end && r >= 0) {
        uint64_t table = range.start / span;
        struct range part = { range.start, min_u64(range.end, (table + 1) * span) };

        if (table >= n)
            return map_pass_on(map, range);
        if (!layout->directory)
            r = map_table(map, number, part, table, layout->first_table + table * layout->stride);
        else if (layer->table[table])
            r = map_table(map, number, part, table, layer->table[table]);
        else
            r = map_pass_on(map, part);
        range.start = part.end;
    }
    return r;
}

const struct format_map block_map = {
    .begin = begin,
    .range = map_range,
    .has = has,
};
