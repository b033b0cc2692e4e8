/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declarations that the parts of the guest map share: a window of the disk, resolved layer by
 * layer. */
#pragma once

#include "bytes.h"
#include "format.h"

struct range {
    uint64_t start, end;        /* guest offsets; end is behind the last byte */
};

struct map_layer {
    struct qca_image *image;
    struct qca_io *data;        /* where its data lies; borrowed */
    uint64_t data_start;        /* raw: its first byte there */
    const struct format_map *map;
    uint64_t start, size;       /* guest bytes it knows of: a piece of a disk begins at start, */
    bool goes_on;               /*   and the next one has what is behind it */
    uint32_t number;            /* of the layer in the chain */
    uint64_t *table;            /* the format's own: where it looks first; NULL: it has none */
    uint64_t n_table;
};

struct qca_map;

/* How a layer begins to be mapped. */
struct map_begin {
    const struct qca_snapshot *snapshot;        /* whose disk is wanted; NULL: the active one */
    bool stored;                /* as in struct qca_map_options */
    uint64_t *memory_left;      /* bytes for the tables of all layers */
};

/* A format's part of the guest map. */
struct format_map {
    /* Fills in the layer's own table; may be NULL. */
    int (*begin)(struct map_layer *layer, const struct map_begin *begin, struct qca_error *error);
    /* Emits or passes on all of range, which the layer's size covers; ranges, and map->window
     * meanwhile, count from the layer's start. */
    int (*range)(struct qca_map *map, size_t layer, struct range range);
    /* False when, as far as is quickly told, there is nothing but zeros in range, or (opaque is
     * false) all of it is the parent's. */
    bool (*has)(const struct map_layer *layer, struct range range);
    bool opaque;                /* it has no parent: what it does not have are zeros */
};

extern const struct format_map raw_map;

struct inflater;

/* Decompresses clusters, and keeps the last: map-read.c. */
struct map_reader {
    struct inflater *inflater;
    uint8_t type;               /* what inflater is for: enum inflate_type */
    uint32_t cluster_size;
    uint8_t *packed;
    size_t packed_size;
    const struct map_layer *layer;  /* what it holds; NULL: nothing */
    uint64_t host_offset;
};

struct qca_map {
    struct map_layer *layers;   /* of a disk in several pieces each of them */
    size_t n_layers;
    uint64_t size;

    /* The window: what of it is not resolved yet, before and behind the layer being asked; the
     * rest. */
    struct range window;
    uint64_t base;              /* guest offset that the layer being asked counts from */
    struct range *open, *passed;
    size_t n_open, n_passed, open_capacity, passed_capacity;
    struct qca_extent *extents;
    size_t n_extents, extents_capacity, cursor;

    /* A slice of one table, which several ranges need one after the other. */
    uint8_t *slice;
    uint64_t slice_size;                /* bytes allocated */
    uint64_t slice_offset, slice_length;    /* what it holds: host offset, bytes */
    size_t slice_layer;                 /* SIZE_MAX: none */
    int slice_result;

    uint64_t n_looked_at;               /* entries of tables, each as often as it was */

    struct map_reader reader;
};

/* Adds a resolved extent; neighbours that belong together become one. -ENOMEM. */
int map_emit(struct qca_map *map, const struct qca_extent *extent);
/* Data at host_offset of the layer's data: holes of the file are zeros. */
int map_emit_data(struct qca_map *map, size_t layer, struct range range, uint64_t host_offset);
/* The layer says that the range reads as zeros; it has no place in a file. */
int map_emit_zero(struct qca_map *map, size_t layer, struct range range);
/* The range's content cannot be told, or not be read; reason is static. */
int map_emit_damaged(struct qca_map *map, size_t layer, struct range range, int error,
                     const char *reason);
/* Reads size bytes of a table of the layer into map->slice. -ENOMEM, or what the read gave, which
 * is never -ENOMEM. */
int map_load_slice(struct qca_map *map, size_t layer, uint64_t offset, uint64_t size);
/* The layer does not know: its parent is asked. */
int map_pass_on(struct qca_map *map, struct range range);

/* qca_map_read() with a reader of the caller's own: several threads may, each with another. */
int map_read(const struct qca_map *map, struct map_reader *reader, const struct qca_extent *extent,
             uint64_t skip, void *buf, size_t size);
void map_reader_done(struct map_reader *reader);
