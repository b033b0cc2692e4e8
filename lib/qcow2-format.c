/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The row of qcow2 in the table of formats: which files an image names, and what is its
 * structure. */
#include "map.h"
#include "qcow2.h"

enum { BACKING_FILE_OFFSET = 8 };   /* of that field in the header (docs/interop/qcow2.txt) */

#define CRYPT_HEADER_MAX (UINT64_C(64) << 20)   /* bytes: LUKS version 1 has some 2 MiB */

/* QEMU takes versions it does not know for qcow2 too, and then refuses them; version 1 is another
 * format. */
static bool qcow2_probe(struct probe *probe)
{
    return be32_get(probe->head) == QCOW2_MAGIC && be32_get(probe->head + 4) >= 2;
}

static void qcow2_close(struct qca_image *image)
{
    struct qcow2 *qcow2 = image->own;

    if (!qcow2)
        return;
    free(qcow2->incomplete);
    free(qcow2);
}

static uint64_t data_file_name_offset(const struct qca_image_info *info)
{
    for (size_t i = 0; i < info->n_extensions; i++)
        if (info->extensions[i].type == QCOW2_EXTENSION_DATA_FILE)
            return info->extensions[i].offset;
    return 0;
}

static bool qcow2_link(const struct qca_image *image, unsigned index, struct image_link *ret_link)
{
    const struct qca_image_info *info = &image->info;

    if (info->incompatible_features & QCA_INCOMPAT_DATA_FILE && info->data_file && index-- == 0) {
        *ret_link = (struct image_link){
            .kind = QCA_REFERENCE_DATA_FILE,
            .name = info->data_file,
            .field = "External data file name string",
            .offset = data_file_name_offset(info),
        };
        return true;
    }
    if (!image_link_parent(image, index, "backing_file_offset", BACKING_FILE_OFFSET, ret_link))
        return false;
    ret_link->format_field = "Backing file format name string";
    return true;
}

static bool qcow2_section(const struct qca_image *image, unsigned index,
                          struct metadata_section *ret_section)
{
    const struct qca_image_info *info = &image->info;
    const struct qcow2 *qcow2 = qcow2_of(image);
    const struct metadata_section sections[] = {
        { 0, info->cluster_size },
        { info->l1_offset, UINT64_C(8) * info->l1_entries },
        { info->refcount_table_offset,
          (uint64_t)info->refcount_table_clusters << qcow2->cluster_bits },
        { info->snapshots_offset, qcow2->snapshots_size },
        /* keys: no check can tell whether they are sound */
        { info->crypt_header_offset, min_u64(info->crypt_header_length, CRYPT_HEADER_MAX) },
    };

    if (index >= ELEMENTSOF(sections) - (info->crypt_header_length == 0))
        return false;
    *ret_section = sections[index];
    return true;
}

const struct format format_qcow2 = {
    .format = QCA_FORMAT_QCOW2,
    .probe = qcow2_probe,
    .open = qcow2_open,
    .close = qcow2_close,
    .check = qcow2_check,
    .map = &qcow2_map,
    .section = qcow2_section,
    .places = qcow2_places,
    .link = qcow2_link,
};
