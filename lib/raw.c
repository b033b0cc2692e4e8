/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The raw format: the file is the disk. What it holds at its beginning is only named: an install
 * medium (ECMA-119, 6.2.1 and 8.1: a volume descriptor in sector 16), a LUKS container (LUKS1
 * On-Disk Format 1.2.3, figure 1; LUKS2 On-Disk Format 1.0.2, 2.1), a partition table (UEFI 2.10,
 * 5.2 and 5.3). A disk that is encrypted is raw all the same, whether host or guest did it: its
 * bytes are what is kept, and what must not change. */
#include "raw.h"

#include <errno.h>

#include "error.h"
#include "io.h"
#include "map.h"

enum {
    ISO_DESCRIPTOR = 16 * 2048,
    MBR_PARTITIONS = 446,
    MBR_PARTITION_SIZE = 16,
    MBR_SIGNATURE = 510,
    MBR_TYPE_PROTECTIVE = 0xee,
    RAW_ARRAY_END = 128 << 10,  /* bytes in which arrays say that the disk is one of theirs */
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
static bool is_mbr(const uint8_t *head)
{
    bool any = false;

    if (head[MBR_SIGNATURE] != 0x55 || head[MBR_SIGNATURE + 1] != 0xaa)
        return false;
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *partition = head + MBR_PARTITIONS + i * MBR_PARTITION_SIZE;

        if (partition[0] != 0 && partition[0] != 0x80)
            return false;
        any |= partition[4] != 0 && le32_get(partition + 12) != 0;
    }
    return any;
}

/* Partitions of which none protects a GPT (UEFI 2.10, 5.2.3): nobody reads the GPT that an earlier
 * table left there, and what overwrote its backup was right to do so. */
static bool gpt_is_stale(const uint8_t *head)
{
    for (unsigned i = 0; i < 4; i++)
        if (head[MBR_PARTITIONS + i * MBR_PARTITION_SIZE + 4] == MBR_TYPE_PROTECTIVE)
            return false;
    return is_mbr(head);
}

enum qca_variant raw_variant(const struct probe *probe)
{
    if (is_iso9660(probe))
        return QCA_VARIANT_RAW_ISO9660;
    if (is_luks(probe))
        return QCA_VARIANT_RAW_LUKS;
    if (gpt_sector_size(probe->io, probe->head) > 0)
        return QCA_VARIANT_RAW_GPT;
    return is_mbr(probe->head) ? QCA_VARIANT_RAW_MBR : QCA_VARIANT_NONE;
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

/* ---- what it holds, checked ---------------------------------------------------------------- */

int raw_read(struct qca_image *image, struct check *check, uint64_t offset, void *buf, size_t size,
             const char *what)
{
    struct qca_error error = { .kind = QCA_ERROR_NONE };
    int r = qca_io_read(image->io, offset, buf, size);

    return r < 0 ? check_unfinished(check, error_set_read(&error, r, offset, what), &error) : 0;
}

int raw_issue(struct check *check, enum qca_issue_kind kind, enum qca_table table,
              uint64_t table_offset, uint64_t index, uint64_t offset, uint64_t size)
{
    struct qca_issue issue = check_issue_new(kind, table);

    issue.table_offset = table_offset;
    issue.index = index;
    issue.host_offset = offset;
    issue.host_length = size;
    return check_issue(check, &issue);
}

bool raw_is_outside(const struct qca_image *image, uint64_t offset, uint64_t size)
{
    uint64_t end;

    return add_overflows(offset, size, &end) || end > raw_disk_size(image);
}

/* Linux, include/uapi/linux/raid/md_p.h: MD_NEW_SIZE_SECTORS of version 0.90, and super_1_load() in
 * drivers/md/md.c of 1.0; the magic of 0.90 has the byte order of the host. Firmware's arrays:
 * mdadm's super-intel.c, load_imsm_mpb() (the last sector but one), and its super-ddf.c,
 * load_ddf_headers() (SNIA's Common RAID Disk Data Format: the anchor in the last sector). */
static bool tells_of_array(const uint8_t *end, uint64_t size)
{
    enum { OLD_RESERVED = 64 << 10, NEW_RESERVED = 8 << 10, NEW_ALIGNED = 4 << 10 };
    static const uint32_t md_magic = UINT32_C(0xa92b4efc), ddf_magic = UINT32_C(0xde11de11);
    static const char intel[] = "Intel Raid ISM Cfg Sig. ";
    uint64_t sectors = size & ~(uint64_t)(RAW_SECTOR - 1), begin = size - RAW_ARRAY_END;
    const uint8_t *old = end + ((size & ~(uint64_t)(OLD_RESERVED - 1)) - OLD_RESERVED - begin);
    const uint8_t *new = end + (((size - NEW_RESERVED) & ~(uint64_t)(NEW_ALIGNED - 1)) - begin);
    const uint8_t *last = end + (sectors - RAW_SECTOR - begin);

    return le32_get(old) == md_magic || be32_get(old) == md_magic || le32_get(new) == md_magic ||
           be32_get(last) == ddf_magic || le32_get(last) == ddf_magic ||
           memcmp(last - RAW_SECTOR, intel, sizeof(intel) - 1) == 0;
}

int raw_is_of_array(struct qca_image *image, struct check *check, bool *ret_array)
{
    uint64_t size = image->info.file_size;
    _cleanup_free_ uint8_t *end = NULL;
    int r;

    if (size < RAW_ARRAY_END) {
        *ret_array = false;
        return 0;
    }
    end = malloc(RAW_ARRAY_END);
    if (!end)
        return -ENOMEM;
    r = raw_read(image, check, size - RAW_ARRAY_END, end, RAW_ARRAY_END, "the end of the disk");
    if (r < 0)
        return r;
    *ret_array = tells_of_array(end, size);
    return 0;
}

/* Of a disk that holds nothing that says where it ends, there is no check. */
static int raw_check(struct qca_image *image, struct check *check)
{
    uint8_t head[PROBE_SIZE];
    unsigned sector_size;
    int r;

    switch (image->info.variant) {
    case QCA_VARIANT_RAW_GPT:
        r = raw_read(image, check, 0, head, sizeof(head), "the beginning of the disk");
        if (r < 0)
            return r;
        if (gpt_is_stale(head))
            return mbr_check(image, check);
        sector_size = gpt_sector_size(image->io, head);
        return sector_size > 0 ? gpt_check(image, check, sector_size) : 0;
    case QCA_VARIANT_RAW_MBR:
        return mbr_check(image, check);
    case QCA_VARIANT_RAW_ISO9660:
        return iso_check(image, check);
    case QCA_VARIANT_RAW_LUKS:
        return luks_check_raw(image, check);
    default:
        return -EOPNOTSUPP;
    }
}

/* ---- what a guest reads ------------------------------------------------------------------- */

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
    .check = raw_check,
    .map = &raw_map,
};
