/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What VMDK extents that map a disk grain by grain have in common: "Virtual Disk Format 5.0" of
 * VMware, "Grain Directory" and "Grain Table", within the limits of QEMU's block/vmdk.c. */
#include <errno.h>
#include <inttypes.h>

#include "bytes.h"
#include "check.h"
#include "error.h"
#include "foreign.h"
#include "vmdk.h"

enum { CHUNK = 64 << 10 };      /* bytes of a directory, read at a time */

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

static int read_entries(struct qca_image *image, uint64_t offset, unsigned entry_size,
                        uint64_t (*place)(const struct vmdk_extent *extent, const uint8_t *entry),
                        uint64_t *tables, uint64_t n)
{
    _cleanup_free_ uint8_t *chunk = malloc(CHUNK);
    uint64_t per_chunk = CHUNK / entry_size;
    int r = chunk ? 0 : -ENOMEM;

    for (uint64_t i = 0; i < n && r >= 0; i += per_chunk) {
        uint64_t now = min_u64(per_chunk, n - i);

        r = qca_io_read(image->io, offset + i * entry_size, chunk, now * entry_size);
        for (uint64_t k = 0; k < now && r >= 0; k++)
            tables[i + k] = place(image->own, chunk + k * entry_size);
    }
    return r;
}

int vmdk_extent_directory(struct qca_image *image, uint64_t offset, unsigned entry_size,
                          uint64_t (*place)(const struct vmdk_extent *extent,
                                            const uint8_t *entry),
                          uint64_t memory, struct qca_error *error, uint64_t **ret_tables)
{
    const struct vmdk_extent *extent = image->own;
    uint64_t n = block_layout_tables(&extent->layout), end;
    uint64_t *tables;
    int r;

    if (add_overflows(offset, n * entry_size, &end) || end > image->info.file_size)
        return error_set(error, EINVAL, QCA_ERROR_TRUNCATED,
                         (struct error_field){ NULL, offset, n, image->info.file_size },
                         "the file ends after %" PRIu64 " bytes, before the end of the grain "
                         "directory", image->info.file_size);
    if (n > memory / sizeof(*tables))
        return error_set(error, ENOMEM, QCA_ERROR_MEMORY,
                         (struct error_field){ NULL, offset, n, memory / sizeof(*tables) },
                         "the grain directory needs more memory than allowed");
    tables = malloc(n ? n * sizeof(*tables) : 1);
    if (!tables)
        return -ENOMEM;
    r = read_entries(image, offset, entry_size, place, tables, n);
    if (r < 0) {
        free(tables);
        return r == -ENOMEM ? r : error_set_read(error, r, offset, "the grain directory");
    }
    *ret_tables = tables;
    return 0;
}

uint64_t vmdk_extent_place(const struct vmdk_extent *extent, const uint8_t *entry)
{
    (void)extent;
    return (uint64_t)le32_get(entry) * VMDK_SECTOR;
}

int vmdk_extent_tables(struct qca_image *image, uint64_t memory, struct qca_error *error,
                       uint64_t **ret_tables)
{
    const struct vmdk_extent *extent = image->own;

    return vmdk_extent_directory(image, extent->directory, 4, vmdk_extent_place, memory, error,
                                 ret_tables);
}

/* ---- check -------------------------------------------------------------------------------- */

int vmdk_tell_field(struct check *check, uint64_t offset)
{
    struct qca_issue issue = check_issue_new(QCA_ISSUE_FIELD_INVALID, QCA_TABLE_HEADER);

    issue.host_offset = offset;
    return check_issue(check, &issue);
}

static int tell_region(struct check *check, enum qca_issue_kind kind,
                       const struct block_metadata *region)
{
    struct qca_issue issue = check_issue_new(kind, region->table);

    issue.host_offset = region->offset;
    issue.host_length = region->size;
    return check_issue(check, &issue);
}

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
            r = tell_region(check, QCA_ISSUE_TABLE_OUT_OF_FILE, &regions[i]);
        }
        for (size_t k = 0; k < i && r >= 0; k++)
            if (overlap(&regions[k], &regions[i]))
                r = tell_region(check, QCA_ISSUE_METADATA_SHARED, &regions[i]);
    }
    return r < 0 ? r : outside;
}
