/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The format extension of a Parallels image, a cluster that lists dirty bitmaps: what it says, and
 * which places in the file it takes (docs/interop/parallels.rst of QEMU, "Format Extension" and
 * "Dirty bitmaps feature"; all of it little-endian). */
#include "parallels-extension.h"

#include <errno.h>

#include "bytes.h"
#include "error.h"
#include "io.h"

enum {
    AT_SUM = 8,                 /* MD5 of what is behind it */
    SUM_SIZE = 16,
    HEADER_SIZE = 24,
    SECTOR = 512,
    /* a feature's header */
    AT_DATA_SIZE = 16,
    FEATURE_SIZE = 24,
    FEATURE_ALIGNMENT = 8,
    /* a bitmap's data */
    AT_GRANULARITY = 24,
    AT_L1_SIZE = 28,
    BITMAP_SIZE = 32,
    ENTRY = 8,
    ENTRY_ALL_SET = 1,
};

#define MAGIC UINT64_C(0xab234cef23dcea87)
#define FEATURE_END UINT64_C(0)
#define FEATURE_BITMAP UINT64_C(0x20385fae252cb34a)

struct reading {
    struct qca_image *image;
    struct check *check;
    const struct parallels_extension *extension;
    uint8_t *cluster;
    struct parallels_places *places;
    bool stale;                 /* which is told once */
};

/* A program that has the image open may be writing the extension, and an older one that does not
 * know it leaves it as it was. */
static int tell(struct reading *reading, enum qca_issue_kind kind, uint64_t offset, uint64_t size)
{
    const struct parallels_extension *extension = reading->extension;

    if (extension->state == PARALLELS_IN_USE || reading->stale)
        return 0;
    reading->stale = extension->state == PARALLELS_STALE;
    reading->places->unknown = !reading->stale;
    if (reading->stale)
        return check_issue_at(reading->check, QCA_ISSUE_EXTENSION_STALE, QCA_TABLE_HEADER,
                              extension->field, 8);
    return check_issue_at(reading->check, kind, QCA_TABLE_BITMAP_DIRECTORY, offset, size);
}

static bool is_inside(const struct reading *reading, uint64_t offset)
{
    uint64_t size = reading->image->info.file_size, cluster = reading->extension->cluster;

    return offset <= size && cluster <= size - offset;
}

static bool place_add(struct reading *reading, uint64_t offset, enum qca_table table)
{
    struct parallels_places *places = reading->places;

    if (places->n == places->most)
        return false;
    places->places[places->n++] =
        (struct block_metadata){ offset, reading->extension->cluster, table };
    return true;
}

/* 1: it is as it says, or nobody here can tell; 0: it is not. */
static int sum_fits(const struct reading *reading)
{
    const struct qca_check_options *options = &reading->check->options;
    const struct qca_digest_options digest_options = { .cancel = options->cancel };
    _cleanup_io_ struct qca_io *behind = NULL;
    struct qca_file_digest digest;
    struct qca_error error;
    int r;

    if (!options->file_digest)
        return 1;
    r = qca_io_new_memory(reading->cluster + HEADER_SIZE,
                          reading->extension->cluster - HEADER_SIZE, &behind);
    if (r < 0)
        return r;
    r = options->file_digest(behind, QCA_DIGEST_MD5, &digest_options, &error, &digest);
    if (r == -EOPNOTSUPP)
        return 1;
    return r < 0 ? r : memcmp(digest.md5, reading->cluster + AT_SUM, SUM_SIZE) == 0;
}

/* The bitmap whose data are size bytes at this place of the cluster. */
static int take_bitmap(struct reading *reading, uint32_t at, uint32_t size)
{
    const struct parallels_extension *extension = reading->extension;
    const uint8_t *bitmap = reading->cluster + at;
    uint64_t sectors = reading->image->info.virtual_size / SECTOR, bits, needed;
    uint32_t granularity, n;
    int r = 0;

    if (size < BITMAP_SIZE)
        return tell(reading, QCA_ISSUE_FIELD_INVALID, extension->offset + at, size);
    granularity = le32_get(bitmap + AT_GRANULARITY);
    n = le32_get(bitmap + AT_L1_SIZE);
    if (le64_get(bitmap) != sectors)
        return tell(reading, QCA_ISSUE_FIELD_INVALID, extension->offset + at, 8);
    if (granularity == 0 || (granularity & (granularity - 1)) != 0)
        return tell(reading, QCA_ISSUE_FIELD_INVALID, extension->offset + at + AT_GRANULARITY, 4);
    bits = div_round_up(sectors, granularity);
    needed = div_round_up(bits, (uint64_t)extension->cluster * 8);
    if (n > (size - BITMAP_SIZE) / ENTRY || n != needed)
        return tell(reading, QCA_ISSUE_FIELD_INVALID, extension->offset + at + AT_L1_SIZE, 4);
    for (uint32_t i = 0; i < n && r >= 0; i++) {
        uint32_t entry_at = at + BITMAP_SIZE + i * ENTRY;
        uint64_t entry = le64_get(reading->cluster + entry_at), offset;

        if (entry <= ENTRY_ALL_SET)
            continue;
        if (__builtin_mul_overflow(entry, SECTOR, &offset) || !is_inside(reading, offset))
            r = tell(reading, QCA_ISSUE_TABLE_OUT_OF_FILE, extension->offset + entry_at, ENTRY);
        else
            (void)place_add(reading, offset, QCA_TABLE_BITMAP);
    }
    return r;
}

/* Features that nobody here knows may have places of their own. */
static int take_features(struct reading *reading)
{
    const struct parallels_extension *extension = reading->extension;
    uint32_t at = HEADER_SIZE, left = extension->cluster - HEADER_SIZE;

    while (left >= FEATURE_SIZE) {
        const uint8_t *feature = reading->cluster + at;
        uint64_t magic = le64_get(feature), size = le32_get(feature + AT_DATA_SIZE);
        int r;

        if (magic == FEATURE_END)
            return 0;
        if (round_up(size, FEATURE_ALIGNMENT) > left - FEATURE_SIZE)
            return tell(reading, QCA_ISSUE_FIELD_INVALID, extension->offset + at + AT_DATA_SIZE, 4);
        if (magic == FEATURE_BITMAP) {
            r = take_bitmap(reading, at + FEATURE_SIZE, (uint32_t)size);
            if (r < 0)
                return r;
        } else
            reading->places->unknown = true;
        at += FEATURE_SIZE + (uint32_t)round_up(size, FEATURE_ALIGNMENT);
        left -= FEATURE_SIZE + (uint32_t)round_up(size, FEATURE_ALIGNMENT);
    }
    return tell(reading, QCA_ISSUE_FIELD_INVALID, extension->offset + at, left);
}

static int take_cluster(struct reading *reading)
{
    const struct parallels_extension *extension = reading->extension;
    int r;

    if (le64_get(reading->cluster) != MAGIC)
        return tell(reading, QCA_ISSUE_FIELD_INVALID, extension->offset, 8);
    r = sum_fits(reading);
    if (r < 0)
        return r;
    if (r == 0)
        return tell(reading, QCA_ISSUE_CHECKSUM_WRONG, extension->offset, extension->cluster);
    (void)place_add(reading, extension->offset, QCA_TABLE_BITMAP_DIRECTORY);
    return take_features(reading);
}

int parallels_extension_check(struct qca_image *image, struct check *check,
                              const struct parallels_extension *extension,
                              struct parallels_places *places)
{
    _cleanup_free_ uint8_t *cluster = NULL;
    struct reading reading = { .image = image, .check = check, .extension = extension,
                               .places = places };
    struct qca_error error = { .kind = QCA_ERROR_NONE };
    size_t most = extension->cluster / ENTRY;
    struct block_metadata *grown;
    int r;

    if (!is_inside(&reading, extension->offset))
        return tell(&reading, QCA_ISSUE_TABLE_OUT_OF_FILE, extension->offset, extension->cluster);
    if (check->options.memory_limit / 8 < extension->cluster) {
        error_set(&error, EFBIG, QCA_ERROR_MEMORY,
                  (struct error_field){ NULL, 0, extension->cluster,
                                        check->options.memory_limit / 8 },
                  "the format extension takes more memory than allowed");
        return check_unfinished(check, -EFBIG, &error);
    }
    cluster = malloc(extension->cluster);
    if (!cluster)
        return -ENOMEM;
    reading.cluster = cluster;
    r = qca_io_read(image->io, extension->offset, cluster, extension->cluster);
    if (r < 0)
        return check_unfinished(check, error_set_read(&error, r, extension->offset,
                                                      "the format extension"), &error);
    /* the header is a place, too, which the caller has added */
    grown = reallocarray(places->places, places->n + most, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    places->places = grown;
    places->most = places->n + most;
    return take_cluster(&reading);
}
