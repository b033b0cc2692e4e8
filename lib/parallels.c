/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Parallels' expandable image: docs/interop/parallels.rst of QEMU, "Header" and "Block Allocation
 * Table", all of it little-endian. Parents are named by a DiskDescriptor.xml beside it, not by the
 * image: of that, what it names (parallels-bundle.c). */
#include <errno.h>

#include "block-layout.h"
#include "bytes.h"
#include "check.h"
#include "foreign.h"
#include "parallels-extension.h"
#include "parallels.h"

enum {
    AT_VERSION = 16,
    AT_TRACKS = 28,             /* sectors of a cluster */
    AT_BAT_ENTRIES = 32,
    AT_SECTORS = 36,
    AT_IN_USE = 44,
    AT_DATA = 48,               /* sectors; 0: behind the table */
    AT_EXTENSION = 56,          /* sectors; 0: there is none */
    HEADER_SIZE = 64,
    ENTRY = 4,
    BAT_ENTRIES = 16384,        /* of a part of the table, read at a time */
    MAGIC_SIZE = 16,
    SECTOR = 512,
    VERSION = 2,
};

static const char magic_old[MAGIC_SIZE + 1] = "WithoutFreeSpace",
                  magic_new[MAGIC_SIZE + 1] = "WithouFreSpacExt";

#define IN_USE UINT32_C(0x746f6e59)
#define CLOSED UINT32_C(0x312e3276)

struct parallels {
    struct block_layout layout;
    uint32_t multiplier;        /* sectors of an entry's unit */
    bool in_use;
    uint64_t extension_sectors; /* the field */
    struct parallels_extension extension;
    struct foreign_field bad;   /* why there is no layout */
};

static bool parallels_probe(struct probe *probe)
{
    return memcmp(probe->head, magic_old, MAGIC_SIZE) == 0 ||
           memcmp(probe->head, magic_new, MAGIC_SIZE) == 0 || bundle_probe(probe);
}

/* ---- blocks ------------------------------------------------------------------------------- */

static struct block parallels_entry(const struct qca_image *image, uint64_t number,
                                    const uint8_t *entry)
{
    const struct parallels *parallels = image->own;
    uint32_t value = le32_get(entry);

    (void)number;
    return (struct block) {
        .kind = value == 0 ? BLOCK_PARENT : BLOCK_DATA,
        .offset = (uint64_t)value * parallels->multiplier * SECTOR,
    };
}

static const struct block_layout *parallels_layout(const struct qca_image *image)
{
    const struct parallels *parallels = image->own;

    return parallels && !parallels->bad.name ? &parallels->layout : NULL;
}

/* Opens what QEMU does (block/parallels.c, parallels_open()). */
static void take_layout(struct qca_image *image, const uint8_t *header, bool old)
{
    struct parallels *parallels = image->own;
    uint32_t cluster = image->info.cluster_size, n = le32_get(header + AT_BAT_ENTRIES);
    uint64_t bat_end = HEADER_SIZE + (uint64_t)n * ENTRY,
             data = (uint64_t)le32_get(header + AT_DATA) * SECTOR;

    parallels->in_use = le32_get(header + AT_IN_USE) == IN_USE;
    parallels->extension_sectors = le64_get(header + AT_EXTENSION);
    parallels->extension = (struct parallels_extension) {
        .field = AT_EXTENSION,
        .cluster = cluster,
        .state = parallels->in_use                           ? PARALLELS_IN_USE
                 : le32_get(header + AT_IN_USE) == CLOSED ? PARALLELS_CLOSED
                                                             : PARALLELS_STALE,
    };
    if (__builtin_mul_overflow(parallels->extension_sectors, SECTOR,
                               &parallels->extension.offset))
        parallels->extension.offset = UINT64_MAX;
    parallels->multiplier = old ? 1 : le32_get(header + AT_TRACKS);
    /* the old ones often leave the place of the data open, or say another */
    if (data < bat_end)
        data = old || data == 0 ? div_round_up(bat_end, SECTOR) * SECTOR : data;
    if (cluster == 0)
        parallels->bad = (struct foreign_field) {
            "tracks", AT_TRACKS, le32_get(header + AT_TRACKS),
        };
    else if ((uint64_t)n * cluster < image->info.virtual_size)
        parallels->bad = (struct foreign_field){ "bat_entries", AT_BAT_ENTRIES, n };
    else if (data < bat_end)
        parallels->bad = (struct foreign_field){ "data_off", AT_DATA, data / SECTOR };
    parallels->layout = (struct block_layout) {
        .block_size = cluster,
        .n_blocks = n,
        .entry_size = ENTRY,
        .entries = BAT_ENTRIES,
        .first_table = HEADER_SIZE,
        .stride = (uint64_t)BAT_ENTRIES * ENTRY,
        .entry = parallels_entry,
        .data_start = old ? bat_end : data,
        .issues = {
            .table_outside = QCA_ISSUE_TABLE_OUT_OF_FILE,
            .outside = QCA_ISSUE_OUT_OF_FILE,
            .twice = QCA_ISSUE_BLOCK_OVERLAP,
            .on_metadata = QCA_ISSUE_DATA_ON_METADATA,
            .tables = QCA_ISSUE_METADATA_SHARED,
            .unaligned = QCA_ISSUE_BLOCK_UNALIGNED,
            .leak = QCA_ISSUE_BLOCK_LEAKED,
        },
    };
}

/* ---- header ------------------------------------------------------------------------------- */

static int parallels_open(struct qca_image *image, struct qca_error *error)
{
    struct qca_image_info *info = &image->info;
    uint8_t header[HEADER_SIZE];
    uint64_t sectors;
    struct probe probe;
    bool old;
    int r = probe_begin(image->io, &probe);

    if (r < 0)
        return error_set_read(error, r, 0, "the Parallels header");
    if (bundle_probe(&probe))
        return bundle_open(image, error);
    r = foreign_read(image, error, 0, header, sizeof(header), "the Parallels header");
    if (r < 0)
        return r;
    old = memcmp(header, magic_old, MAGIC_SIZE) == 0;
    if (!old && memcmp(header, magic_new, MAGIC_SIZE) != 0)
        return foreign_other(image, error);
    info->version = le32_get(header + AT_VERSION);
    if (info->version != VERSION)
        return foreign_invalid(error, "version", AT_VERSION, info->version, VERSION,
                               "this version of the Parallels format is not known");
    if (le32_get(header + AT_TRACKS) <= UINT32_MAX / SECTOR)
        info->cluster_size = le32_get(header + AT_TRACKS) * SECTOR;
    sectors = le64_get(header + AT_SECTORS);
    if (old)                    /* whose upper half may hold anything */
        sectors &= UINT32_MAX;
    r = foreign_size(image, error, "nb_sectors", AT_SECTORS, sectors, SECTOR);
    if (r < 0)
        return r;
    r = foreign_new_own(image, sizeof(struct parallels), error);
    if (r < 0)
        return r;
    take_layout(image, header, old);
    return 0;
}

static void parallels_close(struct qca_image *image)
{
    free(image->own);
}

/* Clusters of features that are not known cannot be told from clusters that nothing uses. */
static int check_blocks(struct qca_image *image, struct check *check,
                        const struct parallels_places *places)
{
    struct parallels *parallels = image->own;
    enum qca_issue_kind leak = parallels->layout.issues.leak;
    int r;

    if (places->unknown)
        parallels->layout.issues.leak = _QCA_ISSUE_MAX;
    r = block_check(image, check, places->places, places->n);
    parallels->layout.issues.leak = leak;
    return r;
}

/* QEMU counts an image that is marked in use as damage: it is not while somebody has it open. */
static int parallels_check(struct qca_image *image, struct check *check)
{
    const struct parallels *parallels = image->own;
    struct parallels_places places = { .n = 1, .most = 1 };
    int r = 0;

    if (!parallels)             /* a descriptor */
        return -EOPNOTSUPP;
    if (parallels->bad.name)
        return foreign_issue_field(check, &parallels->bad);
    places.places = malloc(sizeof(*places.places));
    if (!places.places)
        return -ENOMEM;
    places.places[0] = (struct block_metadata){ 0, HEADER_SIZE, QCA_TABLE_HEADER };
    if (parallels->in_use)
        r = check_issue_at(check, QCA_ISSUE_DIRTY_BIT, QCA_TABLE_HEADER, AT_IN_USE, 4);
    if (r >= 0 && parallels->extension_sectors > 0)
        r = parallels_extension_check(image, check, &parallels->extension, &places);
    if (r >= 0)
        r = check_blocks(image, check, &places);
    free(places.places);
    return r;
}

const struct format format_parallels = {
    .format = QCA_FORMAT_PARALLELS,
    .probe = parallels_probe,
    .open = parallels_open,
    .close = parallels_close,
    .check = parallels_check,
    .map = &block_map,
    .layout = parallels_layout,
};
