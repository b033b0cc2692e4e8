/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Functions for VMDK extents that map a disk grain by grain: "Virtual Disk Format 5.0" of VMware,
 * "Grain Directory" and "Grain Table", within the limits of QEMU's block/vmdk.c. */
#include <errno.h>
#include <inttypes.h>

#include "bytes.h"
#include "check.h"
#include "error.h"
#include "foreign.h"
#include "vmdk.h"

bool vmdk_extent_measure(struct qca_image *image, struct foreign_field capacity,
                         struct foreign_field grain, uint32_t entries)
{
    struct vmdk_extent *extent = image->own;
    struct block_layout *layout = &extent->layout;

    if (grain.value == 0 || grain.value > VMDK_GRAIN_MAX) {
        extent->bad = grain;
        return false;
    }
    layout->block_size = (uint32_t)grain.value * VMDK_SECTOR;
    layout->n_blocks = div_round_up(capacity.value, grain.value);
    layout->entries = entries;
    if (layout->n_blocks > (uint64_t)INT64_MAX / layout->block_size ||
        block_layout_tables(layout) > VMDK_TABLES_MAX) {
        extent->bad = capacity;
        return false;
    }
    return true;
}

int vmdk_extent_directory(struct qca_image *image, struct foreign_directory directory,
                          uint64_t memory, struct qca_error *error, uint64_t **ret_tables)
{
    const struct vmdk_extent *extent = image->own;
    uint64_t end;

    directory.n = block_layout_tables(&extent->layout);
    if (add_overflows(directory.offset, directory.n * directory.entry_size, &end) ||
        end > image->info.file_size)
        return error_set(error, EINVAL, QCA_ERROR_TRUNCATED,
                         (struct error_field){ directory.name, directory.offset, directory.n,
                                               image->info.file_size },
                         "the file ends after %" PRIu64 " bytes, before the end of the grain "
                         "directory", image->info.file_size);
    return foreign_directory_read(image, &directory, memory, error, ret_tables);
}

static uint64_t table_place(const struct qca_image *image, const uint8_t *entry)
{
    (void)image;
    return (uint64_t)le32_get(entry) * VMDK_SECTOR;
}

int vmdk_extent_tables_at(struct qca_image *image, uint64_t offset, uint64_t memory,
                          struct qca_error *error, uint64_t **ret_tables)
{
    const struct foreign_directory directory = { "gdOffset", offset, 0, 4, table_place };

    return vmdk_extent_directory(image, directory, memory, error, ret_tables);
}

int vmdk_extent_tables(struct qca_image *image, uint64_t memory, struct qca_error *error,
                       uint64_t **ret_tables)
{
    const struct vmdk_extent *extent = image->own;

    return vmdk_extent_tables_at(image, extent->directory, memory, error, ret_tables);
}

/* ---- check -------------------------------------------------------------------------------- */

static bool overlap(const struct block_metadata *a, const struct block_metadata *b)
{
    return a->size > 0 && b->size > 0 &&
           (a->offset < b->offset ? b->offset - a->offset < a->size
                                  : a->offset - b->offset < b->size);
}

int vmdk_check_regions(struct qca_image *image, struct check *check,
                       const struct block_metadata *regions, size_t n)
{
    uint64_t size = image->info.file_size;
    int outside = 0, r = 0;

    for (size_t i = 0; i < n && r >= 0; i++) {
        if (regions[i].size > 0 &&
            (regions[i].offset > size || regions[i].size > size - regions[i].offset)) {
            outside++;
            r = check_issue_at(check, QCA_ISSUE_TABLE_OUT_OF_FILE, regions[i].table,
                               regions[i].offset, regions[i].size);
        }
        for (size_t k = 0; k < i && r >= 0; k++)
            if (overlap(&regions[k], &regions[i]))
                r = check_issue_at(check, QCA_ISSUE_METADATA_SHARED, regions[i].table,
                                   regions[i].offset, regions[i].size);
    }
    return r < 0 ? r : outside;
}
