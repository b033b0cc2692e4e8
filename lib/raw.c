/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The raw format: the file is the disk. What it holds at its beginning is only named: an install
 * medium (ECMA-119, 6.2.1 and 8.1: a volume descriptor in sector 16), a LUKS container (LUKS1
 * On-Disk Format 1.2.3, figure 1; LUKS2 On-Disk Format 1.0.2, 2.1), a partition table (UEFI 2.10,
 * 5.2 and 5.3). A disk that is encrypted is raw all the same, whether host or guest did it: its
 * bytes are what is kept, and what must not change. */
#include "bytes.h"
#include "io.h"
#include "map.h"

enum {
    ISO_DESCRIPTOR = 16 * 2048,
    MBR_PARTITIONS = 446,
    MBR_PARTITION_SIZE = 16,
    MBR_SIGNATURE = 510,
    SECTOR = 512,
};

static bool is_iso9660(const struct probe *probe)
{
    static const uint8_t descriptor[] = { 1, 'C', 'D', '0', '0', '1', 1 };
    uint8_t bytes[sizeof(descriptor)];

    return probe->size >= ISO_DESCRIPTOR + 2048 &&
           io_peek(probe->io, ISO_DESCRIPTOR, bytes, sizeof(bytes)) == 0 &&
           memcmp(bytes, descriptor, sizeof(bytes)) == 0;
}

static bool is_luks(const struct probe *probe)
{
    static const uint8_t magic[] = { 'L', 'U', 'K', 'S', 0xba, 0xbe };
    uint16_t version = be16_get(probe->head + sizeof(magic));

    return memcmp(probe->head, magic, sizeof(magic)) == 0 && (version == 1 || version == 2);
}

/* A boot sector has the signature, too: only partitions that could be some tell a table. */
static bool is_mbr(const struct probe *probe)
{
    bool any = false;

    if (probe->head[MBR_SIGNATURE] != 0x55 || probe->head[MBR_SIGNATURE + 1] != 0xaa)
        return false;
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *partition = probe->head + MBR_PARTITIONS + i * MBR_PARTITION_SIZE;

        if (partition[0] != 0 && partition[0] != 0x80)
            return false;
        any |= partition[4] != 0 && le32_get(partition + 12) != 0;
    }
    return any;
}

enum qca_variant raw_variant(const struct probe *probe)
{
    if (is_iso9660(probe))
        return QCA_VARIANT_RAW_ISO9660;
    if (is_luks(probe))
        return QCA_VARIANT_RAW_LUKS;
    if (memcmp(probe->head + SECTOR, "EFI PART", 8) == 0)
        return QCA_VARIANT_RAW_GPT;
    return is_mbr(probe) ? QCA_VARIANT_RAW_MBR : QCA_VARIANT_NONE;
}

static int raw_open(struct qca_image *image, struct qca_error *error)
{
    struct probe probe;

    image->info.virtual_size = image->info.file_size;
    /* A read error there is found by whoever reads the disk. */
    if (probe_begin(image->io, &probe) == 0)
        image->info.variant = raw_variant(&probe);
    return 0;
}

static int raw_map_range(struct qca_map *map, size_t layer, struct range range)
{
    return map_emit_data(map, layer, range, map->layers[layer].data_start + range.start);
}

/* As far as the first hole of the file tells. */
static bool raw_map_has(const struct map_layer *layer, struct range range)
{
    struct io_segment segment = io_segment(layer->data, layer->data_start + range.start);

    return !segment.hole || segment.end < layer->data_start + range.end;
}

const struct format_map raw_map = {
    .range = raw_map_range,
    .has = raw_map_has,
    .opaque = true,
};

const struct format format_raw = {
    .format = QCA_FORMAT_RAW,
    .open = raw_open,
    .map = &raw_map,
};
