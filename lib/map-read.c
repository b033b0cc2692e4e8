/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads what the guest sees: the bytes of an extent, inflated where they are compressed. */
#include <errno.h>

#include "block-layout.h"
#include "inflate.h"
#include "io.h"
#include "map.h"

static uint8_t inflate_type(const struct qca_image *image)
{
    const struct block_layout *layout = image_layout(image);

    return layout && layout->zlib_header ? INFLATE_ZLIB : image->info.compression_type;
}

/* An inflater for clusters of this layer; layers of one make share it. */
static int reader_prepare(struct map_reader *reader, const struct qca_image *image, size_t packed)
{
    uint8_t type = inflate_type(image);
    int r;

    reader->layer = NULL;
    if (!reader->inflater || reader->type != type ||
        reader->cluster_size != image->info.cluster_size) {
        inflater_free(reader->inflater);
        reader->inflater = NULL;
        r = inflater_new(type, image->info.cluster_size, &reader->inflater);
        if (r == 0 && type != INFLATE_ZSTD)
            r = inflater_be_fast(reader->inflater);
        if (r < 0)
            return r;
        reader->type = type;
        reader->cluster_size = image->info.cluster_size;
    }
    if (packed > reader->packed_size) {
        uint8_t *grown = realloc(reader->packed, packed);

        if (!grown)
            return -ENOMEM;
        reader->packed = grown;
        reader->packed_size = packed;
    }
    return 0;
}

/* The whole cluster is in the inflater then. */
static int reader_inflate(struct map_reader *reader, const struct map_layer *layer,
                          const struct qca_extent *extent)
{
    uint64_t used;
    int r;

    if (reader->layer == layer && reader->host_offset == extent->host_offset)
        return 0;
    r = reader_prepare(reader, layer->image, extent->host_length);
    if (r == 0)
        r = qca_io_read(layer->image->io, extent->host_offset, reader->packed, extent->host_length);
    if (r < 0)
        return r;
    if (!inflater_run(reader->inflater, reader->packed, extent->host_length, &used))
        return io_shrank(layer->image->io) ? -ESTALE : -EBADMSG;
    reader->layer = layer;
    reader->host_offset = extent->host_offset;
    return 0;
}

int map_read(const struct qca_map *map, struct map_reader *reader, const struct qca_extent *extent,
             uint64_t skip, void *buf, size_t size)
{
    const struct map_layer *layer = &map->layers[extent->file];
    uint64_t within;
    int r;

    switch (extent->kind) {
    case QCA_EXTENT_DATA:
        r = qca_io_read(layer->data, extent->host_offset + skip, buf, size);
        return r < 0 ? r : io_shrank(layer->data) ? -ESTALE : 0;
    case QCA_EXTENT_COMPRESSED:
        r = reader_inflate(reader, layer, extent);
        if (r < 0)
            return r;
        within = (extent->guest_offset + skip) & (layer->image->info.cluster_size - 1);
        /* a stream that ends early: QEMU reads what it gives (block/vmdk.c) */
        if (within + size > inflater_length(reader->inflater))
            return -EBADMSG;
        memcpy(buf, inflater_cluster(reader->inflater) + within, size);
        return 0;
    case QCA_EXTENT_DAMAGED:
        return extent->error;
    default:
        memset(buf, 0, size);
        return 0;
    }
}

int qca_map_read(struct qca_map *map, const struct qca_extent *extent, uint64_t skip, void *buf,
                 size_t size)
{
    return map_read(map, &map->reader, extent, skip, buf, size);
}
