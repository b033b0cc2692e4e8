/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The places of a qcow2 image's tables: by its header, and by the entries of the tables that lead
 * to others. An entry's target is named as it is, damaged or not. */
#include "qcow2.h"

#define SLICE_ENTRIES 8192
#define BROKEN_ENTRY_BYTES 4096     /* its fixed fields, and what lies around them */

struct places {
    struct qca_image *image;
    const struct qcow2 *qcow2;
    int (*found)(void *userdata, const struct qca_place *place);
    void *userdata;
    uint64_t scanned;           /* bytes of tables whose entries were followed */
    uint64_t *slice;
};

/* The part of the place that is in the file; nothing if it is empty, or if the LUKS header with its
 * key slots lies there: a damaged entry may point there, too. */
static int tell(const struct places *places, enum qca_table table, uint64_t offset, uint64_t size)
{
    const struct qca_image_info *info = &places->image->info;
    struct qca_place place = { table, offset,
                               offset < info->file_size ? min_u64(size, info->file_size - offset)
                                                        : 0 };

    if (info->crypt_header_length > 0 && offset < info->crypt_header_offset)
        place.size = min_u64(place.size, info->crypt_header_offset - offset);
    else if (offset - info->crypt_header_offset < info->crypt_header_length)
        place.size = 0;
    return place.size > 0 ? places->found(places->userdata, &place) : 0;
}

/* Tells a cluster for each entry that names one. */
static int follow(struct places *places, uint64_t offset, uint64_t entries, uint64_t mask,
                  enum qca_table table)
{
    entries = qcow2_l1_entries_inside(places->image, offset, entries);
    places->scanned += 8 * entries;
    if (places->scanned > qcow2_scan_bound(places->image, 4))
        return -EFBIG;
    for (uint64_t i = 0; i < entries; i += SLICE_ENTRIES) {
        size_t n = min_u64(SLICE_ENTRIES, entries - i);
        int r = qcow2_read(places->image, offset + 8 * i, places->slice, 8 * n);

        for (size_t k = 0; r >= 0 && k < n; k++) {
            uint64_t target = be64_get(&places->slice[k]) & mask;

            if (target != 0)
                r = tell(places, table, target, qcow2_cluster_size(places->qcow2));
        }
        if (r < 0)
            return r;
    }
    return 0;
}

/* Of a snapshot, too, whose numbers nobody has checked yet. */
static uint64_t l1_entries(uint32_t entries)
{
    return min_u64(entries, QCOW2_MAX_L1_BYTES / 8);
}

/* The places that the header itself leads to. */
static int tell_roots(const struct places *places)
{
    const struct qca_image_info *info = &places->image->info;
    const struct qcow2 *qcow2 = places->qcow2;
    int r = tell(places, QCA_TABLE_HEADER, 0, info->cluster_size);

    /* of one that cannot be read to its end, the entry with which that ends */
    if (r >= 0)
        r = tell(places, QCA_TABLE_SNAPSHOTS, info->snapshots_offset,
                 qcow2->snapshots_size + (qcow2->snapshots_result < 0 ? BROKEN_ENTRY_BYTES : 0));
    if (r >= 0)
        r = tell(places, QCA_TABLE_BITMAP_DIRECTORY, qcow2->bitmap_directory_offset,
                 qcow2->bitmap_directory_size);
    if (r >= 0)
        r = tell(places, QCA_TABLE_REFCOUNT_TABLE, info->refcount_table_offset,
                 (uint64_t)info->refcount_table_clusters << qcow2->cluster_bits);
    if (r >= 0)
        r = tell(places, QCA_TABLE_L1, info->l1_offset, 8 * l1_entries(info->l1_entries));
    for (size_t i = 0; r >= 0 && i < info->n_snapshots; i++)
        r = tell(places, QCA_TABLE_L1, info->snapshots[i].l1_offset,
                 8 * l1_entries(info->snapshots[i].l1_entries));
    for (size_t i = 0; r >= 0 && i < info->n_bitmaps; i++)
        r = tell(places, QCA_TABLE_BITMAP, info->bitmaps[i].table_offset,
                 UINT64_C(8) * info->bitmaps[i].table_entries);
    return r;
}

int qcow2_places(struct qca_image *image,
                 int (*found)(void *userdata, const struct qca_place *place), void *userdata)
{
    const struct qca_image_info *info = &image->info;
    const struct qcow2 *qcow2 = qcow2_of(image);
    _cleanup_free_ uint64_t *slice = calloc(SLICE_ENTRIES, sizeof(*slice));
    struct places places = { .image = image, .qcow2 = qcow2, .found = found, .userdata = userdata,
                             .slice = slice };
    int r = slice ? tell_roots(&places) : -ENOMEM;

    if (r >= 0)
        r = follow(&places, info->refcount_table_offset,
                   ((uint64_t)info->refcount_table_clusters << qcow2->cluster_bits) / 8,
                   REFTABLE_OFFSET_MASK, QCA_TABLE_REFCOUNT_BLOCK);
    if (r >= 0)
        r = follow(&places, info->l1_offset, l1_entries(info->l1_entries), L1_OFFSET_MASK,
                   QCA_TABLE_L2);
    for (size_t i = 0; r >= 0 && i < info->n_snapshots; i++)
        r = follow(&places, info->snapshots[i].l1_offset,
                   l1_entries(info->snapshots[i].l1_entries), L1_OFFSET_MASK, QCA_TABLE_L2);
    /* their bits are the image's own, and not its guest's */
    for (size_t i = 0; r >= 0 && i < info->n_bitmaps; i++)
        r = follow(&places, info->bitmaps[i].table_offset, info->bitmaps[i].table_entries,
                   BITMAP_ENTRY_OFFSET_MASK, QCA_TABLE_BITMAP);
    return r;
}
