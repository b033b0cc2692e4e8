/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's disk through a chain: what of it lies where, in windows of bounded size. */
#include "map.h"

#include <errno.h>
#include <inttypes.h>

#include "block-layout.h"
#include "bytes.h"
#include "chain.h"
#include "error.h"
#include "inflate.h"
#include "io.h"
#include "pieces.h"

#define MEMORY_LIMIT_DEFAULT (UINT64_C(1) << 30)
/* At most 2^18 extents, as nothing is mapped in less than 512 bytes; and a read of 16 KiB of an L2
 * table in the usual geometry. */
#define WINDOW_SIZE (UINT64_C(128) << 20)

DEFINE_CLEANUP(struct qca_map *, qca_map_free)

const char *qca_extent_kind_name(enum qca_extent_kind kind)
{
    static const char *const names[_QCA_EXTENT_KIND_MAX] = {
        [QCA_EXTENT_UNALLOCATED] = "unallocated", [QCA_EXTENT_ZERO] = "zero",
        [QCA_EXTENT_DATA] = "data",               [QCA_EXTENT_COMPRESSED] = "compressed",
        [QCA_EXTENT_DAMAGED] = "damaged",
    };

    return (unsigned)kind < _QCA_EXTENT_KIND_MAX ? names[kind] : NULL;
}

/* ---- lists -------------------------------------------------------------------------------- */

/* Room for one more element of size bytes. */
static int grow(void *array, size_t n, size_t *capacity, size_t size)
{
    size_t more = *capacity ? 2 * *capacity : 64;
    void *grown;

    if (n < *capacity)
        return 0;
    memcpy(&grown, array, sizeof(grown));
    grown = reallocarray(grown, more, size);
    if (!grown)
        return -ENOMEM;
    memcpy(array, &grown, sizeof(grown));
    *capacity = more;
    return 0;
}

static bool extents_join(const struct qca_extent *a, const struct qca_extent *b)
{
    if (a->kind != b->kind || a->layer != b->layer || a->kind == QCA_EXTENT_COMPRESSED ||
        a->guest_offset + a->length != b->guest_offset || a->reason != b->reason)
        return false;
    return a->kind != QCA_EXTENT_DATA ||
           (a->file == b->file && a->host_offset + a->length == b->host_offset);
}

int map_emit(struct qca_map *map, const struct qca_extent *found)
{
    struct qca_extent *last = map->n_extents > 0 ? &map->extents[map->n_extents - 1] : NULL;
    struct qca_extent extent = *found;
    int r;

    extent.file = found->layer;
    extent.layer = map->layers[found->layer].number;
    extent.guest_offset += map->base;
    if (last && extents_join(last, &extent)) {
        last->length += extent.length;
        last->host_length += extent.host_length;
        return 0;
    }
    r = grow(&map->extents, map->n_extents, &map->extents_capacity, sizeof(*map->extents));
    if (r < 0)
        return r;
    map->extents[map->n_extents++] = extent;
    return 0;
}

int map_emit_data(struct qca_map *map, size_t layer, struct range range, uint64_t host_offset)
{
    while (range.start < range.end) {
        struct io_segment segment = io_segment(map->layers[layer].data, host_offset);
        uint64_t length = min_u64(range.end - range.start, segment.end - host_offset);
        struct qca_extent extent = {
            .guest_offset = range.start,
            .length = length,
            .kind = segment.hole ? QCA_EXTENT_ZERO : QCA_EXTENT_DATA,
            .layer = (uint32_t)layer,
            .host_offset = segment.hole ? QCA_NO_OFFSET : host_offset,
            .host_length = segment.hole ? 0 : length,
        };
        int r = map_emit(map, &extent);

        if (r < 0)
            return r;
        range.start += length;
        host_offset += length;
    }
    return 0;
}

int map_load_slice(struct qca_map *map, size_t layer, uint64_t offset, uint64_t size)
{
    struct qca_io *io = map->layers[layer].image->io;

    if (map->slice_layer == layer && map->slice_offset == offset && size <= map->slice_length)
        return map->slice_result;
    map->slice_layer = SIZE_MAX;
    if (size > map->slice_size) {
        uint8_t *slice = realloc(map->slice, size);

        if (!slice)
            return -ENOMEM;
        map->slice = slice;
        map->slice_size = size;
    }
    map->slice_layer = layer;
    map->slice_offset = offset;
    map->slice_length = size;
    map->slice_result = qca_io_read(io, offset, map->slice, size);
    /* -ENOMEM is the caller's own */
    if (map->slice_result == -ENOMEM)
        map->slice_result = -EIO;
    return map->slice_result;
}

int map_pass_on(struct qca_map *map, struct range range)
{
    struct range *last = map->n_passed > 0 ? &map->passed[map->n_passed - 1] : NULL;
    int r;

    range.start += map->base;
    range.end += map->base;
    if (last && last->end == range.start) {
        last->end = range.end;
        return 0;
    }
    r = grow(&map->passed, map->n_passed, &map->passed_capacity, sizeof(*map->passed));
    if (r < 0)
        return r;
    map->passed[map->n_passed++] = range;
    return 0;
}

/* ---- one window --------------------------------------------------------------------------- */

static int emit_plain(struct qca_map *map, size_t layer, struct range range,
                      enum qca_extent_kind kind, int error, const char *reason)
{
    const struct qca_extent extent = {
        .guest_offset = range.start,
        .length = range.end - range.start,
        .kind = kind,
        .layer = (uint32_t)layer,
        .host_offset = QCA_NO_OFFSET,
        .error = error,
        .reason = reason,
    };

    return map_emit(map, &extent);
}

int map_emit_zero(struct qca_map *map, size_t layer, struct range range)
{
    return emit_plain(map, layer, range, QCA_EXTENT_ZERO, 0, NULL);
}

int map_emit_damaged(struct qca_map *map, size_t layer, struct range range, int error,
                     const char *reason)
{
    return emit_plain(map, layer, range, QCA_EXTENT_DAMAGED, error, reason);
}

static int emit_unallocated(struct qca_map *map, size_t layer, struct range range)
{
    return emit_plain(map, layer, range, QCA_EXTENT_UNALLOCATED, 0, NULL);
}

/* The part of range within the layer, counted from its start; empty: none. */
static struct range layer_part(const struct map_layer *layer, struct range range)
{
    uint64_t start = max_u64(range.start, layer->start) - layer->start,
             end = min_u64(max_u64(range.end, layer->start) - layer->start, layer->size);

    return (struct range){ min_u64(start, end), end };
}

/* The layer's own functions know only of what is from its start on. */
static int ask_part(struct qca_map *map, size_t number, struct range part)
{
    const struct map_layer *layer = &map->layers[number];
    struct range window = map->window;
    int r;

    map->base = layer->start;
    map->window = layer_part(layer, window);
    r = layer->map->range(map, number, part);
    map->window = window;
    map->base = 0;
    return r;
}

/* Asks one layer for what is open. */
static int ask_layer(struct qca_map *map, size_t number)
{
    const struct map_layer *layer = &map->layers[number];
    uint64_t behind = layer->start + layer->size;
    int r = 0;

    for (size_t i = 0; i < map->n_open && r >= 0; i++) {
        struct range range = map->open[i], part = layer_part(layer, range),
                     rest = { max_u64(range.start, behind), range.end };

        if (range.start < layer->start)
            r = map_pass_on(map, (struct range) { range.start, min_u64(range.end, layer->start) });
        if (r >= 0 && part.start < part.end)
            r = ask_part(map, number, part);
        if (r < 0 || rest.start >= rest.end)
            continue;
        /* A parent that is shorter than its child: what lies behind its end are zeros, whatever its
         * own parents hold there. */
        r = layer->goes_on ? map_pass_on(map, rest) : emit_unallocated(map, number, rest);
    }
    return r;
}

static int compare_extents(const void *a, const void *b)
{
    const struct qca_extent *x = a, *y = b;

    return x->guest_offset < y->guest_offset ? -1 : x->guest_offset > y->guest_offset;
}

static void sort_extents(struct qca_map *map)
{
    for (size_t i = 1; i < map->n_extents; i++)
        if (map->extents[i].guest_offset < map->extents[i - 1].guest_offset) {
            qsort(map->extents, map->n_extents, sizeof(*map->extents), compare_extents);
            return;
        }
}

static bool layer_has(const struct map_layer *layer, struct range range)
{
    range = layer_part(layer, range);
    return range.start < range.end && layer->map->has(layer, range);
}

/* A window without anything in it may be long: so a disk without end is gone through as fast as its
 * tables. */
static struct range find_window(const struct qca_map *map, uint64_t offset)
{
    struct range window = { .start = offset - offset % WINDOW_SIZE }, more;

    window.end = min_u64(map->size, window.start + WINDOW_SIZE);
    more = window;
    for (;;) {
        for (size_t i = 0; i < map->n_layers; i++)
            if (layer_has(&map->layers[i], more))
                return window;
        window.end = more.end;
        if (window.end == map->size)
            return window;
        more = (struct range){ window.end,
                               min_u64(map->size, window.end + (window.end - window.start)) };
    }
}

/* All of the window is its parent's, or another piece's, as far as is quickly told. */
static bool layer_is_silent(const struct map_layer *layer, struct range window)
{
    struct range part = layer_part(layer, window);

    if (!layer->goes_on && layer->start + layer->size < window.end)
        return false;
    return part.start == part.end || (!layer->map->opaque && !layer->map->has(layer, part));
}

/* All layers, from the leaf down, see only what those above them left open. */
static int load_window(struct qca_map *map, uint64_t offset)
{
    struct range window = find_window(map, offset);
    int r;

    map->window = (struct range) { 0, 0 };
    map->n_extents = map->n_passed = map->cursor = 0;
    r = map_pass_on(map, window);
    for (size_t i = 0; r >= 0 && i < map->n_layers && map->n_passed > 0; i++) {
        const struct map_layer *layer = &map->layers[i];
        struct range *spare = map->open;
        size_t capacity = map->open_capacity;

        if (layer_is_silent(layer, window))
            continue;
        map->window = window;
        map->open = map->passed;
        map->n_open = map->n_passed;
        map->open_capacity = map->passed_capacity;
        map->passed = spare;
        map->passed_capacity = capacity;
        map->n_passed = 0;
        r = ask_layer(map, i);
    }
    for (size_t i = 0; r >= 0 && i < map->n_passed; i++)
        r = emit_unallocated(map, map->n_layers - 1, map->passed[i]);
    if (r < 0) {
        map->window = (struct range) { 0, 0 };
        return r;
    }
    sort_extents(map);
    map->window = window;
    return 0;
}

/* The extent that holds offset, which lies in the window: the cursor, the one behind it, or any. */
static const struct qca_extent *find(struct qca_map *map, uint64_t offset)
{
    size_t low = 0, high = map->n_extents;

    for (size_t i = map->cursor; i < map->n_extents && i < map->cursor + 2; i++)
        if (offset >= map->extents[i].guest_offset &&
            offset - map->extents[i].guest_offset < map->extents[i].length) {
            map->cursor = i;
            return &map->extents[i];
        }
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (map->extents[middle].guest_offset <= offset)
            low = middle;
        else
            high = middle;
    }
    map->cursor = low;
    return &map->extents[low];
}

int qca_map_next(struct qca_map *map, uint64_t offset, struct qca_extent *ret_extent)
{
    const struct qca_extent *extent;
    uint64_t skip;
    int r;

    if (offset >= map->size)
        return 0;
    if (offset < map->window.start || offset >= map->window.end) {
        r = load_window(map, offset);
        if (r < 0)
            return r;
    }
    extent = find(map, offset);
    skip = offset - extent->guest_offset;
    *ret_extent = *extent;
    ret_extent->guest_offset = offset;
    ret_extent->length -= skip;
    if (extent->kind == QCA_EXTENT_DATA) {
        ret_extent->host_offset += skip;
        ret_extent->host_length -= skip;
    }
    return 1;
}

/* ---- the map ------------------------------------------------------------------------------ */

static const struct qca_snapshot *find_snapshot(const struct qca_image_info *info,
                                                const char *wanted)
{
    for (size_t i = 0; i < info->n_snapshots; i++)
        if (strcmp(info->snapshots[i].id, wanted) == 0)
            return &info->snapshots[i];
    for (size_t i = 0; i < info->n_snapshots; i++)
        if (strcmp(info->snapshots[i].name, wanted) == 0)
            return &info->snapshots[i];
    return NULL;
}

static int begin_layer(struct map_layer *layer, const struct map_begin *begin,
                       struct qca_error *error)
{
    const struct qca_image_info *info = &layer->image->info;

    layer->map = layer->image->format->map;
    if (layer->map == &block_map && !image_layout(layer->image))
        layer->map = NULL;
    if (!layer->map && begin->stored) {
        layer->map = &raw_map;
        layer->size = info->file_size;
    }
    if (!layer->map)
        return error_set(error, EOPNOTSUPP, QCA_ERROR_UNSUPPORTED,
                         (struct error_field){ .value = info->format },
                         "what a guest reads of a %s image is not understood",
                         qca_format_name(info->format));
    return layer->map->begin ? layer->map->begin(layer, begin, error) : 0;
}

/* A piece without tables of its own. */
static int zero_range(struct qca_map *map, size_t layer, struct range range)
{
    return map_emit_zero(map, layer, range);
}

static bool zero_has(const struct map_layer *layer, struct range range)
{
    (void)layer, (void)range;
    return false;
}

static const struct format_map zero_map = {
    .range = zero_range, .has = zero_has, .opaque = true,
};

static int begin_piece(struct map_layer *layer, const struct piece *piece,
                       const struct map_begin *begin, struct qca_error *error)
{
    layer->start = piece->start;
    layer->size = piece->size;
    if (piece->io)
        layer->data = piece->io;
    layer->data_start = piece->offset;
    if (!piece->image) {
        layer->map = piece->io ? &raw_map : &zero_map;
        return 0;
    }
    layer->image = piece->image;
    return begin_layer(layer, begin, error);
}

/* The pieces of a disk, one after the other; of any other image all of it. */
static int begin_image(struct qca_map *map, uint32_t number, struct qca_image *image,
                       struct qca_io *data, const struct map_begin *begin, struct qca_error *error)
{
    const struct qca_snapshot *snapshot = begin->snapshot;
    bool alone = image->info.variant == QCA_VARIANT_DIFFERENCING && !image->info.parent;
    size_t n = image->pieces ? image->info.n_extents : 1;
    int r = 0;

    for (size_t i = 0; i < n && r >= 0; i++) {
        struct map_layer *layer = &map->layers[map->n_layers++];

        layer->image = image;
        layer->data = data;
        layer->number = number;
        layer->goes_on = i + 1 < n;
        if (image->pieces && !alone) {
            r = begin_piece(layer, &image->pieces[i], begin, error);
            continue;
        }
        layer->size = snapshot && snapshot->virtual_size ? round_up(snapshot->virtual_size, 512)
                                                         : image->info.virtual_size;
        r = begin_layer(layer, begin, error);
    }
    return r;
}

static size_t count_layers(const struct qca_chain *chain)
{
    size_t n = 0;

    for (size_t i = 0; i < qca_chain_depth(chain); i++) {
        const struct qca_image *image = qca_chain_layer(chain, i);

        n += image->pieces ? image->info.n_extents : 1;
    }
    return n;
}

int qca_map_new(struct qca_chain *chain, const struct qca_map_options *options,
                struct qca_error *error, struct qca_map **ret_map)
{
    uint64_t memory_left = options && options->memory_limit
                               ? options->memory_limit : MEMORY_LIMIT_DEFAULT;
    const char *wanted = options ? options->snapshot : NULL;
    struct map_begin begin = { .stored = options && options->stored, .memory_left = &memory_left };
    _cleanup_(qca_map_freep) struct qca_map *map = calloc(1, sizeof(*map));
    int r;

    if (map)
        map->layers = calloc(count_layers(chain), sizeof(*map->layers));
    if (!map || !map->layers)
        return error_set_memory(error);
    map->slice_layer = SIZE_MAX;
    if (wanted) {
        begin.snapshot = find_snapshot(qca_image_info(qca_chain_layer(chain, 0)), wanted);
        if (!begin.snapshot)
            return error_set(error, ENOENT, QCA_ERROR_SNAPSHOT_TABLE, (struct error_field) { 0 },
                             "the image has no such internal snapshot");
    }
    for (size_t i = 0; i < qca_chain_depth(chain); i++) {
        size_t first = map->n_layers;

        r = begin_image(map, (uint32_t)i, qca_chain_layer(chain, i), chain_layer_data(chain, i),
                        &begin, error);
        for (size_t k = first; i == 0 && k < map->n_layers; k++)
            map->size = max_u64(map->size, map->layers[k].start + map->layers[k].size);
        if (r < 0) {
            if (error)
                error->layer = (uint32_t)i;
            return r;
        }
        begin.snapshot = NULL;          /* of the leaf alone */
    }
    if (map->size > INT64_MAX - 512)
        return error_set(error, EFBIG, QCA_ERROR_LIMIT,
                         (struct error_field) { "size", 24, map->size, INT64_MAX - 512 },
                         "the virtual size is beyond the largest file");
    /* A guest sees whole sectors: QEMU rounds a raw file up, with zeros. */
    map->size = round_up(map->size, 512);
    *ret_map = TAKE_PTR(map);
    return 0;
}

/* Here, so that who reads nothing need not load what inflates. */
void map_reader_done(struct map_reader *reader)
{
    inflater_free(reader->inflater);
    free(reader->packed);
}

void qca_map_free(struct qca_map *map)
{
    if (!map)
        return;
    for (size_t i = 0; i < map->n_layers; i++)
        free(map->layers[i].table);
    free(map->layers);
    free(map->open);
    free(map->passed);
    free(map->extents);
    free(map->slice);
    map_reader_done(&map->reader);
    free(map);
}

uint64_t qca_map_size(const struct qca_map *map)
{
    return map->size;
}
