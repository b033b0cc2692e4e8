/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VMDK's SESparse, of which VMware says nothing in public: as QEMU's block/vmdk.c reads it
 * (vmdk_open_se_sparse(), get_cluster_offset()); little-endian. */
#include <errno.h>

#include "bytes.h"
#include "check.h"
#include "error.h"
#include "foreign.h"
#include "vmdk.h"

/* VMDKSESparseConstHeader; offsets and sizes are in sectors. */
enum {
    AT_CAPACITY = 16,
    AT_GRAIN = 24,              /* grain_size */
    AT_TABLE = 32,              /* grain_table_size */
    AT_FLAGS = 40,              /* and four reserved fields */
    AT_REGIONS = 80,            /* pairs of offset and size */
    AT_PADDING = 208,
    HEADER = 512,
    GRAIN = 8,                  /* sectors: the only size that QEMU reads, */
    TABLE = 64,                 /* of tables, too */
    ENTRY = 8,
    ENTRIES = TABLE * VMDK_SECTOR / ENTRY,

    /* VMDKSESparseVolatileHeader */
    VOLATILE_AT_REPLAY = 24,    /* replay_journal */
    VOLATILE_AT_PADDING = 32,
};

enum region {
    REGION_VOLATILE,
    REGION_JOURNAL_HEADER,
    REGION_JOURNAL,
    REGION_DIRECTORY,
    REGION_TABLES,
    REGION_FREE,                /* free_bitmap */
    REGION_BACKMAP,
    REGION_GRAINS,
    REGIONS,
};

static const char *const region_names[REGIONS][2] = {
    { "volatile_header_offset", "volatile_header_size" },
    { "journal_header_offset", "journal_header_size" },
    { "journal_offset", "journal_size" },
    { "grain_dir_offset", "grain_dir_size" },
    { "grain_tables_offset", "grain_tables_size" },
    { "free_bitmap_offset", "free_bitmap_size" },
    { "backmap_offset", "backmap_size" },
    { "grains_offset", "grains_size" },
};

#define VOLATILE_MAGIC UINT64_C(0x00000000cafecafe)
#define SECTORS_MAX ((uint64_t)INT64_MAX / VMDK_SECTOR / 2)     /* so that offset + size are, too */
/* Of a directory's entry: the kind, and the rest of the high half, which is 0. */
#define DIRECTORY_KIND UINT64_C(0xffffffff00000000)
#define DIRECTORY_TABLE UINT64_C(0x1000000000000000)
/* Of a table's entry: the kind in the highest 4 bits. */
#define KIND(entry) ((unsigned)((entry) >> 60))

enum kind {
    KIND_UNALLOCATED,
    KIND_UNMAPPED,              /* by the guest */
    KIND_ZERO,
    KIND_ALLOCATED,
};

static uint64_t region_offset(const uint8_t *header, enum region region)
{
    return le64_get(header + AT_REGIONS + 16 * region);
}

static uint64_t region_size(const uint8_t *header, enum region region)
{
    return le64_get(header + AT_REGIONS + 16 * region + 8);
}

static bool all_zeros(const uint8_t *bytes, size_t n)
{
    return length_without_zeros(bytes, n) == 0;
}

/* ---- grains ------------------------------------------------------------------------------- */

/* Tables are counted from the first; another entry than QEMU takes is no place in any file. */
static uint64_t table_place(const struct qca_image *image, const uint8_t *entry)
{
    const struct vmdk_extent *extent = image->own;
    uint64_t value = le64_get(entry), offset = (value & UINT32_MAX) * TABLE * VMDK_SECTOR;

    if (value == 0)
        return 0;
    if ((value & DIRECTORY_KIND) != DIRECTORY_TABLE || offset >= extent->tables_size)
        return QCA_NO_OFFSET;
    return extent->tables + offset;
}

static int sesparse_tables(struct qca_image *image, uint64_t memory, struct qca_error *error,
                           uint64_t **ret_tables)
{
    const struct vmdk_extent *extent = image->own;
    const struct foreign_directory directory = { "grain_dir_offset", extent->directory, 0, ENTRY,
                                                 table_place };

    return vmdk_extent_directory(image, directory, memory, error, ret_tables);
}

static struct block sesparse_entry(const struct qca_image *image, uint64_t number,
                                   const uint8_t *entry)
{
    const struct vmdk_extent *extent = image->own;
    uint64_t value = le64_get(entry), grain;
    struct block block = { .kind = BLOCK_INVALID, .issue = QCA_ISSUE_BLOCK_INVALID,
                           .reason = "a grain table entry is of no kind that is known" };

    (void)number;
    switch (KIND(value)) {
    case KIND_UNALLOCATED:
        if (value == 0)
            block.kind = BLOCK_PARENT;
        break;
    case KIND_UNMAPPED:
    case KIND_ZERO:
        block.kind = BLOCK_ZERO;
        break;
    case KIND_ALLOCATED:
        /* the 12 bits below the kind are the lowest of the grain's number */
        grain = (value & UINT64_C(0x0fff000000000000)) >> 48 |
                (value & UINT64_C(0x0000ffffffffffff)) << 12;
        block.kind = BLOCK_DATA;
        if (__builtin_mul_overflow(grain, (uint64_t)GRAIN * VMDK_SECTOR, &block.offset) ||
            add_overflows(block.offset, extent->grains, &block.offset))
            block.offset = QCA_NO_OFFSET;
        break;
    default:
        break;
    }
    return block;
}

/* ---- check -------------------------------------------------------------------------------- */

static int sesparse_check(struct qca_image *image, struct check *check)
{
    static const enum qca_table tables[REGIONS] = {
        [REGION_JOURNAL_HEADER] = QCA_TABLE_LOG, [REGION_JOURNAL] = QCA_TABLE_LOG,
        [REGION_DIRECTORY] = QCA_TABLE_DIRECTORY, [REGION_TABLES] = QCA_TABLE_BLOCK_MAP,
        [REGION_FREE] = QCA_TABLE_BITMAP, [REGION_BACKMAP] = QCA_TABLE_BLOCK_MAP,
    };
    const struct vmdk_extent *extent = image->own;
    struct block_metadata regions[REGIONS] = { { 0, HEADER, QCA_TABLE_HEADER } };
    struct qca_issue pending = check_issue_new(QCA_ISSUE_LOG_PENDING, QCA_TABLE_LOG);
    uint8_t header[HEADER];
    size_t n = 1;
    int r;

    if (extent->bad.name)
        return foreign_issue_field(check, &extent->bad);
    r = foreign_read(image, NULL, 0, header, sizeof(header), "the header");
    if (r < 0)
        return r;
    for (enum region i = 0; i < REGION_GRAINS; i++)     /* those may end behind the file */
        regions[n++] = (struct block_metadata){ region_offset(header, i) * VMDK_SECTOR,
                                                region_size(header, i) * VMDK_SECTOR, tables[i] };
    r = vmdk_check_regions(image, check, regions, n);
    if (r >= 0 && extent->unread) {
        /* what tables say then is what was, and is not looked at */
        pending.host_offset = extent->log_offset;
        return check_issue(check, &pending);
    }
    /* tables lie there, and are told apart by the check of them */
    regions[1 + REGION_TABLES].size = 0;
    return r < 0 ? r : block_check(image, check, regions, n);
}

/* ---- headers ------------------------------------------------------------------------------ */

static bool constants_are_known(struct vmdk_extent *extent, const uint8_t *header)
{
    static const bool needed[REGIONS] = {
        [REGION_VOLATILE] = true, [REGION_DIRECTORY] = true, [REGION_TABLES] = true,
        [REGION_GRAINS] = true,
    };

    if (le64_get(header + AT_TABLE) != TABLE)
        extent->bad = (struct foreign_field) {
            "grain_table_size", AT_TABLE, le64_get(header + AT_TABLE),
        };
    else if (le64_get(header + AT_GRAIN) != GRAIN)
        extent->bad = (struct foreign_field){ "grain_size", AT_GRAIN, le64_get(header + AT_GRAIN) };
    else if (le64_get(header + AT_FLAGS) != 0)
        extent->bad = (struct foreign_field){ "flags", AT_FLAGS, le64_get(header + AT_FLAGS) };
    else if (!all_zeros(header + AT_FLAGS, AT_REGIONS - AT_FLAGS))
        extent->bad = (struct foreign_field) {
            "reserved1", AT_FLAGS + 8, le64_get(header + AT_FLAGS + 8),
        };
    else if (!all_zeros(header + AT_PADDING, HEADER - AT_PADDING))
        extent->bad = (struct foreign_field){ "pad", AT_PADDING, header[AT_PADDING] };
    for (enum region i = 0; i < REGIONS && !extent->bad.name; i++)
        if ((region_offset(header, i) == 0 && (needed[i] || region_size(header, i) > 0)) ||
            region_offset(header, i) > SECTORS_MAX)
            extent->bad = (struct foreign_field) {
                region_names[i][0], AT_REGIONS + 16 * i, region_offset(header, i),
            };
        else if (region_size(header, i) > SECTORS_MAX)
            extent->bad = (struct foreign_field) {
                region_names[i][1], AT_REGIONS + 16 * i + 8, region_size(header, i),
            };
    return !extent->bad.name;
}

/* Is a journal to be replayed? A volatile header that QEMU would not open is bad. */
static int take_volatile(struct qca_image *image, struct qca_error *error, const uint8_t *head)
{
    struct vmdk_extent *extent = image->own;
    uint64_t sector = region_offset(head, REGION_VOLATILE), at = sector * VMDK_SECTOR;
    uint8_t header[HEADER];
    int r;

    if (image->info.file_size < HEADER || at > image->info.file_size - HEADER) {
        extent->bad = (struct foreign_field) {
            region_names[REGION_VOLATILE][0], AT_REGIONS, sector,
        };
        return 0;
    }
    r = foreign_read(image, error, at, header, sizeof(header), "the volatile header");
    if (r < 0)
        return r;
    extent->log_offset = at;
    extent->unread = le64_get(header + VOLATILE_AT_REPLAY) != 0;
    if (le64_get(header) != VOLATILE_MAGIC)
        extent->bad = (struct foreign_field){ "magic", at, le64_get(header) };
    else if (!all_zeros(header + VOLATILE_AT_PADDING, HEADER - VOLATILE_AT_PADDING))
        extent->bad = (struct foreign_field) {
            "pad", at + VOLATILE_AT_PADDING, header[VOLATILE_AT_PADDING],
        };
    return 0;
}

static void take_layout(struct qca_image *image, const uint8_t *header)
{
    struct vmdk_extent *extent = image->own;
    struct block_layout *layout = &extent->layout;
    uint64_t directory = region_size(header, REGION_DIRECTORY) * VMDK_SECTOR / ENTRY;

    if (!vmdk_extent_measure(image,
                             (struct foreign_field){ "capacity", AT_CAPACITY,
                                                     le64_get(header + AT_CAPACITY) },
                             (struct foreign_field){ "grain_size", AT_GRAIN, GRAIN }, ENTRIES))
        return;
    if (directory < block_layout_tables(layout) || directory > VMDK_DIRECTORY_MAX) {
        extent->bad = (struct foreign_field) {
            region_names[REGION_DIRECTORY][1], AT_REGIONS + 16 * REGION_DIRECTORY + 8, directory,
        };
        return;
    }
    extent->directory = region_offset(header, REGION_DIRECTORY) * VMDK_SECTOR;
    extent->tables = region_offset(header, REGION_TABLES) * VMDK_SECTOR;
    extent->tables_size = region_size(header, REGION_TABLES) * VMDK_SECTOR;
    extent->grains = region_offset(header, REGION_GRAINS) * VMDK_SECTOR;
    layout->entry_size = ENTRY;
    layout->directory = sesparse_tables;
    layout->entry = sesparse_entry;
    layout->data_start = extent->grains;
    layout->alignment = GRAIN * VMDK_SECTOR;
    /* a descriptor names the parent, which lies beside this file */
    layout->parent_unknown = !image->info.parent;
    layout->issues = (struct block_issues) {
        .table_outside = QCA_ISSUE_OUT_OF_FILE, /* vmdk_co_check() counts both */
        .outside = QCA_ISSUE_OUT_OF_FILE,
        .twice = QCA_ISSUE_BLOCK_OVERLAP,
        .on_metadata = QCA_ISSUE_DATA_ON_METADATA,
        .tables = QCA_ISSUE_METADATA_SHARED,
        .unaligned = QCA_ISSUE_BLOCK_UNALIGNED,
        .leak = _QCA_ISSUE_MAX,         /* the bitmap of free grains knows them */
    };
}

int vmdk_sesparse_open(struct qca_image *image, const uint8_t *head, struct qca_error *error)
{
    struct qca_image_info *info = &image->info;
    struct vmdk_extent *extent = image->own;
    uint64_t grain = le64_get(head + AT_GRAIN);
    int r;

    extent->check = sesparse_check;
    info->variant = QCA_VARIANT_VMDK_SESPARSE;
    info->version = 2;
    info->cluster_size = grain <= UINT32_MAX / VMDK_SECTOR ? (uint32_t)grain * VMDK_SECTOR : 0;
    r = foreign_size(image, error, "capacity", AT_CAPACITY, le64_get(head + AT_CAPACITY),
                     VMDK_SECTOR);
    if (r < 0 || !constants_are_known(extent, head))
        return r;
    r = take_volatile(image, error, head);
    if (r == 0 && !extent->bad.name)
        take_layout(image, head);
    return r;
}
