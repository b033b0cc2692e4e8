/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The qcow2 bitmap directory and the tables of its bitmaps. */
#include "qcow2.h"

#include <inttypes.h>

#include "error.h"

enum {
    ENTRY_SIZE = 24,            /* the fixed part of a directory entry */
    NAME_MAX_SIZE = 1023,
    ENTRY_MAX_SIZE = 1048,
    GRANULARITY_MIN = 9,
    GRANULARITY_MAX = 31,
    TYPE_DIRTY_TRACKING = 1,
};

#define TABLE_MAX_ENTRIES UINT32_C(0x8000000)
#define BITMAP_MAX_BYTES UINT64_C(0x20000000)
#define FLAGS_RESERVED UINT32_C(0xfffffffc)

uint32_t qcow2_bitmap_entries_inside(const struct qca_image *image, const struct qca_bitmap *bitmap)
{
    uint64_t file_size = image->info.file_size, offset = bitmap->table_offset;

    /* A range that no file can hold is a read error, and not zeros. */
    if (offset > QCOW2_MAX_OFFSET - UINT64_C(8) * bitmap->table_entries)
        return bitmap->table_entries;
    return offset < file_size
               ? min_u64(bitmap->table_entries, div_round_up(file_size - offset, 8))
               : 0;
}

bool qcow2_bitmap_entry_valid(const struct qcow2 *qcow2, uint64_t entry)
{
    uint64_t offset = entry & BITMAP_ENTRY_OFFSET_MASK;

    if (entry & BITMAP_ENTRY_RESERVED_MASK)
        return false;
    return offset == 0 || (!(entry & BITMAP_ENTRY_ALL_ONES) && qcow2_aligned(qcow2, offset));
}

static int invalid(struct qca_error *error, const char *name, uint64_t offset, uint64_t value,
                   uint64_t bound, const char *text)
{
    return error_set(error, EINVAL, QCA_ERROR_BITMAPS,
                     (struct error_field){ name, offset, value, bound }, "%s", text);
}

static int out_of_memory(struct qca_error *error)
{
    return error_set(error, ENOMEM, QCA_ERROR_MEMORY, (struct error_field) { 0 },
                     "the bitmap directory needs more memory than allowed");
}

/* One directory entry of those that QEMU 7.2 would load; host is the entry's offset, for
 * messages. */
static int entry_validate(const struct qca_image *image, const uint8_t *entry, uint64_t host,
                          const struct qca_bitmap *bitmap, struct qca_error *error)
{
    const struct qcow2 *qcow2 = qcow2_of(image);
    uint64_t bytes = (uint64_t)bitmap->table_entries << qcow2->cluster_bits;

    if (be32_get(entry + 20) != 0)
        return invalid(error, "extra_data_size", host + 20, be32_get(entry + 20), 0,
                       "a bitmap has extra data of an unknown kind");
    if (bitmap->table_offset == 0 || !qcow2_aligned(qcow2, bitmap->table_offset))
        return invalid(error, "bitmap_table_offset", host, bitmap->table_offset, 0,
                       "a bitmap table's offset is not a multiple of the cluster size above 0");
    if (bitmap->table_entries == 0 || bitmap->table_entries > TABLE_MAX_ENTRIES ||
        bytes > BITMAP_MAX_BYTES)
        return invalid(error, "bitmap_table_size", host + 8, bitmap->table_entries,
                       BITMAP_MAX_BYTES >> qcow2->cluster_bits,
                       "a bitmap table has an impossible size");
    if (bitmap->flags & FLAGS_RESERVED)
        return invalid(error, "flags", host + 12, bitmap->flags, 3, "a bitmap has unknown flags");
    if (entry[16] != TYPE_DIRTY_TRACKING)
        return invalid(error, "type", host + 16, entry[16], TYPE_DIRTY_TRACKING,
                       "a bitmap is of an unknown type");
    if (bitmap->granularity_bits < GRANULARITY_MIN || bitmap->granularity_bits > GRANULARITY_MAX)
        return invalid(error, "granularity_bits", host + 17, bitmap->granularity_bits,
                       GRANULARITY_MAX, "a bitmap's granularity is not within 512 bytes to 2 GiB");
    if (be16_get(entry + 18) > NAME_MAX_SIZE)
        return invalid(error, "name_size", host + 18, be16_get(entry + 18), NAME_MAX_SIZE,
                       "a bitmap's name is too long");
    if (!(bitmap->flags & QCA_BITMAP_IN_USE) &&
        image->info.virtual_size > ((bytes * 8) << bitmap->granularity_bits))
        return invalid(error, "bitmap_table_size", host + 8, bitmap->table_entries, 0,
                       "a bitmap is too small for the virtual size");
    return 0;
}

/* Walks the directory; info.bitmaps has room for all entries that the extension announces. */
static int directory_parse(struct qca_image *image, struct bytes directory, struct qca_error *error)
{
    const struct qcow2 *qcow2 = qcow2_of(image);
    struct qca_image_info *info = &image->info;
    uint64_t at = 0;
    int r;

    while (at < directory.size) {
        uint64_t host = qcow2->bitmap_directory_offset + at;
        const uint8_t *entry = bytes_at(directory, at, ENTRY_SIZE), *name;
        struct qca_bitmap *bitmap;

        if (!entry)
            return invalid(error, "bitmap_directory_size", host, directory.size, 0,
                           "the bitmap directory ends within an entry");
        if (info->n_bitmaps == qcow2->n_bitmaps)
            return invalid(error, "nb_bitmaps", host, qcow2->n_bitmaps, 0,
                           "the bitmap directory has more entries than announced");
        bitmap = &info->bitmaps[info->n_bitmaps];
        *bitmap = (struct qca_bitmap) {
            .table_offset = be64_get(entry),
            .table_entries = be32_get(entry + 8),
            .flags = be32_get(entry + 12),
            .granularity_bits = entry[17],
        };
        r = entry_validate(image, entry, host, bitmap, error);
        if (r < 0)
            return r;
        name = bytes_at(directory, at + ENTRY_SIZE, be16_get(entry + 18));
        at = round_up(at + ENTRY_SIZE + be16_get(entry + 18), 8);
        if (!name || at > directory.size)
            return invalid(error, "bitmap_directory_size", host, directory.size, 0,
                           "the bitmap directory ends within an entry");
        bitmap->name = strndup((const char *)name, be16_get(entry + 18));
        if (!bitmap->name)
            return out_of_memory(error);
        info->n_bitmaps++;
    }
    if (info->n_bitmaps != qcow2->n_bitmaps)
        return invalid(error, "nb_bitmaps", qcow2->bitmap_directory_offset, qcow2->n_bitmaps,
                       info->n_bitmaps, "the bitmap directory has fewer entries than announced");
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    const struct qca_bitmap *const *left = a, *const *right = b;
    int order = strcmp((*left)->name, (*right)->name);

    return order ? order : *left < *right ? -1 : 1;
}

/* QEMU refuses a usable bitmap with the name of an earlier one (one in use it passes over). */
static int names_validate(struct qca_image *image, struct qca_error *error)
{
    struct qca_image_info *info = &image->info;
    _cleanup_free_ const struct qca_bitmap **sorted = calloc(info->n_bitmaps, sizeof(*sorted));

    if (!sorted)
        return out_of_memory(error);
    for (size_t i = 0; i < info->n_bitmaps; i++)
        sorted[i] = &info->bitmaps[i];
    qsort(sorted, info->n_bitmaps, sizeof(*sorted), compare_names);
    for (size_t i = 1; i < info->n_bitmaps; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0 &&
            !(sorted[i]->flags & QCA_BITMAP_IN_USE))
            return invalid(error, "name", qcow2_of(image)->bitmap_directory_offset, 0, 0,
                           "two bitmaps have the same name");
    return 0;
}

/* The table of a bitmap that is not in use is read at open: QEMU would load its bits. */
static int table_validate(struct qca_image *image, const struct qca_bitmap *bitmap,
                          struct qca_error *error)
{
    const struct qcow2 *qcow2 = qcow2_of(image);
    uint64_t bits = div_round_up(image->info.virtual_size, UINT64_C(1) << bitmap->granularity_bits);
    uint64_t clusters = div_round_up(div_round_up(bits, 64) * 8, qcow2_cluster_size(qcow2));
    uint32_t entries = qcow2_bitmap_entries_inside(image, bitmap);
    uint64_t entry[512];
    int r;

    if (clusters != bitmap->table_entries)
        return invalid(error, "bitmap_table_size", qcow2->bitmap_directory_offset,
                       bitmap->table_entries, clusters,
                       "a bitmap's size does not fit the virtual size");
    for (uint32_t i = 0; i < entries; i += ELEMENTSOF(entry)) {
        size_t n = min_u64(ELEMENTSOF(entry), entries - i);
        uint64_t offset = bitmap->table_offset + 8 * (uint64_t)i;

        r = qcow2_read(image, offset, entry, 8 * n);
        if (r < 0)
            return error_set_read(error, r, offset, "a bitmap table");
        for (size_t k = 0; k < n; k++)
            if (!qcow2_bitmap_entry_valid(qcow2, be64_get(&entry[k])))
                return invalid(error, "bitmap table entry", offset + 8 * k, be64_get(&entry[k]), 0,
                               "a bitmap table entry is invalid");
    }
    return 0;
}

static int bitmaps_load(struct qca_image *image, struct qca_error *error)
{
    struct qcow2 *qcow2 = qcow2_of(image);
    _cleanup_free_ uint8_t *directory = NULL;
    uint64_t end = qcow2->bitmap_directory_offset + qcow2->bitmap_directory_size;
    uint64_t scanned = 0;
    int r;

    if (qcow2->bitmap_directory_size == 0)
        return invalid(error, "bitmap_directory_size", 0, 0, 0, "the bitmap directory is empty");
    /* Behind the end of the file all is zero, and an entry of zeros is invalid: not worth its
     * memory. */
    if (qcow2->bitmap_directory_offset > INT64_MAX || end > image->info.file_size + ENTRY_MAX_SIZE)
        return invalid(error, "bitmap_directory_size", 0, qcow2->bitmap_directory_size, 0,
                       "the bitmap directory reaches beyond the end of the file");
    if (qcow2->bitmap_directory_size + qcow2->n_bitmaps * sizeof(*image->info.bitmaps) >
        image->memory_limit)
        return out_of_memory(error);
    directory = malloc(qcow2->bitmap_directory_size);
    image->info.bitmaps = calloc(qcow2->n_bitmaps, sizeof(*image->info.bitmaps));
    if (!directory || !image->info.bitmaps)
        return out_of_memory(error);
    r = qcow2_read(image, qcow2->bitmap_directory_offset, directory, qcow2->bitmap_directory_size);
    if (r < 0)
        return error_set_read(error, r, qcow2->bitmap_directory_offset, "the bitmap directory");
    r = directory_parse(image, (struct bytes) { directory, qcow2->bitmap_directory_size }, error);
    if (r < 0)
        return r;
    r = names_validate(image, error);
    if (r < 0)
        return r;
    for (size_t i = 0; i < image->info.n_bitmaps; i++) {
        scanned += UINT64_C(8) * qcow2_bitmap_entries_inside(image, &image->info.bitmaps[i]);
        if (scanned > qcow2_scan_bound(image, 4))
            return error_set(error, EFBIG, QCA_ERROR_LIMIT,
                             (struct error_field) { "bitmap_table_size", 0, scanned,
                                                    qcow2_scan_bound(image, 4) },
                             "bitmap tables overlap each other beyond reason");
        if (image->info.bitmaps[i].flags & QCA_BITMAP_IN_USE)
            continue;
        r = table_validate(image, &image->info.bitmaps[i], error);
        if (r < 0)
            return r;
    }
    return 0;
}

int qcow2_bitmaps_load(struct qca_image *image, struct qca_error *error)
{
    struct qcow2 *qcow2 = qcow2_of(image);

    if (qcow2->n_bitmaps == 0)
        return 0;
    qcow2->bitmaps_result = bitmaps_load(image, &qcow2->bitmaps_error);
    if (qcow2->bitmaps_result == -ENOMEM) {
        if (error)
            *error = qcow2->bitmaps_error;
        return -ENOMEM;
    }
    return 0;
}
