/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VMDK's COWD (vmfsSparse): "Virtual Disk Format 5.0", "ESX Server Sparse Extents", within what
 * QEMU's block/vmdk.c opens; little-endian. */
#include <errno.h>

#include "bytes.h"
#include "check.h"
#include "error.h"
#include "foreign.h"
#include "vmdk.h"

enum {
    AT_VERSION = 4,
    AT_CAPACITY = 12,           /* numSectors */
    AT_GRAIN = 16,              /* grainSize */
    AT_DIRECTORY = 20,          /* gdOffset */
    AT_TABLES = 24,             /* numGDEntries */
    AT_UNCLEAN = 1648,          /* uncleanShutdown, behind names and description */
    HEADER = 2048,
    VERSION = 1,
    ENTRIES = 4096,             /* that each table has */
    ENTRY = 4,
};

static struct block cowd_entry(const struct qca_image *image, uint64_t number,
                               const uint8_t *entry)
{
    uint32_t sector = le32_get(entry);

    (void)image, (void)number;
    return (struct block) {
        .kind = sector == 0 ? BLOCK_PARENT : BLOCK_DATA,
        .offset = (uint64_t)sector * VMDK_SECTOR,
    };
}

static int check_unclean(struct qca_image *image, struct check *check)
{
    struct qca_issue issue = check_issue_new(QCA_ISSUE_DIRTY_BIT, QCA_TABLE_HEADER);
    uint8_t field[4];

    if (image->info.file_size < AT_UNCLEAN + sizeof(field))
        return 0;
    issue.host_offset = AT_UNCLEAN;
    if (qca_io_read(image->io, AT_UNCLEAN, field, sizeof(field)) < 0)
        issue.kind = QCA_ISSUE_READ_FAILED;
    else if (le32_get(field) == 0)
        return 0;
    return check_issue(check, &issue);
}

static int check_grains(struct qca_image *image, struct check *check)
{
    const struct vmdk_extent *extent = image->own;
    const struct block_metadata regions[] = {
        { 0, HEADER, QCA_TABLE_HEADER },
        { extent->directory, block_layout_tables(&extent->layout) * ENTRY, QCA_TABLE_DIRECTORY },
    };
    int r = vmdk_check_regions(image, check, regions, ELEMENTSOF(regions));

    return r < 0 ? r : block_check(image, check, regions, ELEMENTSOF(regions));
}

static int cowd_check(struct qca_image *image, struct check *check)
{
    const struct vmdk_extent *extent = image->own;
    int r = check_unclean(image, check);

    if (r < 0)
        return r;
    if (extent->bad.name)
        return foreign_issue_field(check, &extent->bad);
    return check_grains(image, check);
}

static void take_layout(struct qca_image *image, const uint8_t *head)
{
    struct vmdk_extent *extent = image->own;
    struct block_layout *layout = &extent->layout;
    const struct foreign_field
        capacity = { "numSectors", AT_CAPACITY, le32_get(head + AT_CAPACITY) },
        grain = { "grainSize", AT_GRAIN, le32_get(head + AT_GRAIN) };
    uint32_t tables = le32_get(head + AT_TABLES);

    if (image->info.version != VERSION)
        extent->bad = (struct foreign_field){ "version", AT_VERSION, image->info.version };
    else if (vmdk_extent_measure(image, capacity, grain, ENTRIES) &&
             (tables < block_layout_tables(layout) || tables > VMDK_DIRECTORY_MAX))
        extent->bad = (struct foreign_field){ "numGDEntries", AT_TABLES, tables };
    extent->directory = (uint64_t)le32_get(head + AT_DIRECTORY) * VMDK_SECTOR;
    if (!extent->bad.name && extent->directory < VMDK_SECTOR)
        extent->bad = (struct foreign_field){ "gdOffset", AT_DIRECTORY, 0 };
    layout->entry_size = ENTRY;
    layout->directory = vmdk_extent_tables;
    layout->entry = cowd_entry;
    /* a descriptor names the parent, which lies beside this file */
    layout->parent_unknown = !image->info.parent;
    layout->issues = (struct block_issues) {
        .table_outside = QCA_ISSUE_TABLE_OUT_OF_FILE,
        .outside = QCA_ISSUE_OUT_OF_FILE,       /* vmdk_co_check() counts it */
        .twice = QCA_ISSUE_BLOCK_OVERLAP,
        .on_metadata = QCA_ISSUE_DATA_ON_METADATA,
        .tables = QCA_ISSUE_METADATA_SHARED,
        .unaligned = QCA_ISSUE_BLOCK_UNALIGNED,
        .leak = _QCA_ISSUE_MAX,         /* VMFS lets the file grow by more than a grain */
    };
}

int vmdk_cowd_open(struct qca_image *image, const uint8_t *head, struct qca_error *error)
{
    struct qca_image_info *info = &image->info;
    struct vmdk_extent *extent = image->own;
    uint32_t grain = le32_get(head + AT_GRAIN);

    extent->check = cowd_check;
    info->variant = QCA_VARIANT_VMDK_COWD;
    info->version = le32_get(head + AT_VERSION);
    info->cluster_size = grain <= UINT32_MAX / VMDK_SECTOR ? grain * VMDK_SECTOR : 0;
    take_layout(image, head);
    return foreign_size(image, error, "numSectors", AT_CAPACITY, le32_get(head + AT_CAPACITY),
                        VMDK_SECTOR);
}
