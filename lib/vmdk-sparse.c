/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VMDK's hosted sparse extents (KDMV): "Virtual Disk Format 5.0", "Hosted Sparse Extents" and
 * "Stream-Optimized Compressed Sparse Extents"; where that leaves a choice, as QEMU's block/vmdk.c
 * reads them. All of it is little-endian. */
#include <errno.h>

#include "bytes.h"
#include "check.h"
#include "error.h"
#include "foreign.h"
#include "inflate.h"
#include "table-window.h"
#include "vmdk.h"

enum {
    AT_VERSION = 4,
    AT_FLAGS = 8,
    AT_CAPACITY = 12,
    AT_GRAIN = 20,              /* grainSize */
    AT_DESCRIPTOR = 28,
    AT_DESCRIPTOR_SIZE = 36,
    AT_ENTRIES = 44,            /* numGTEsPerGT */
    AT_SECOND_DIRECTORY = 48,   /* rgdOffset */
    AT_DIRECTORY = 56,          /* gdOffset */
    AT_OVERHEAD = 64,
    AT_UNCLEAN = 72,            /* uncleanShutdown */
    AT_NEWLINES = 73,           /* singleEndLineChar to doubleEndLineChar2 */
    AT_ALGORITHM = 77,          /* compressAlgorithm */
    HEADER = 79,
    VERSION_MAX = 3,
    ENTRIES = 512,              /* that each table has; QEMU opens less, too */
    ENTRY = 4,
    GRAIN_MIN = 8,              /* sectors */
    COMPRESSED_MAX = 4096,      /* sectors of a grain that is inflated as a whole; writers use
                                 * 128 */
    ALGORITHM_DEFLATE = 1,

    FLAG_NEWLINES = 1 << 0,     /* the newline characters are there */
    FLAG_SECOND = 1 << 1,       /* redundant tables are used */
    FLAG_ZEROED = 1 << 2,       /* an entry of 1 is a grain of zeros (QEMU) */
    FLAG_COMPRESSED = 1 << 16,
    FLAG_MARKERS = 1 << 17,

    MARKER = 12,                /* of a grain: lba and size, before its data */
    MARKER_FIELDS = 16,         /* of metadata: val, size and type */
    MARKER_FOOTER = 3,
    MARKER_AT_SIZE = 8,
    MARKER_AT_TYPE = 12,
    FOOTER_FROM_END = 2 * VMDK_SECTOR,  /* behind it the end-of-stream marker */
    TRAILER = 3 * VMDK_SECTOR,          /* with the footer's own marker */

    ODD_NEWLINES = 1 << 0,
    ODD_UNCLEAN = 1 << 1,
    ODD_ENTRIES = 1 << 2,
    ODD_GRAIN = 1 << 3,
};

#define DIRECTORY_AT_END UINT64_MAX     /* gdOffset: the footer says */
#define SECTORS_MAX ((uint64_t)INT64_MAX / VMDK_SECTOR)

bool vmdk_is_sparse(const uint8_t *head)
{
    return memcmp(head, "KDMV", 4) == 0;
}

/* ---- grains ------------------------------------------------------------------------------- */

static struct block sparse_entry(const struct qca_image *image, uint64_t number,
                                 const uint8_t *entry)
{
    const struct vmdk_extent *extent = image->own;
    uint32_t sector = le32_get(entry);
    struct block block = { .kind = BLOCK_DATA, .offset = (uint64_t)sector * VMDK_SECTOR };

    (void)number;
    if (sector == 0)
        block.kind = BLOCK_PARENT;
    else if (sector == 1 && extent->flags & FLAG_ZEROED)
        block.kind = BLOCK_ZERO;
    else if (extent->layout.zlib_header)
        block.kind = BLOCK_COMPRESSED;
    return block;
}

static int read_marker(struct qca_image *image, uint64_t number, struct block *block)
{
    const struct vmdk_extent *extent = image->own;
    uint32_t grain = extent->layout.block_size, length;
    uint8_t marker[MARKER];
    int r;

    if (image->info.file_size < MARKER || block->offset > image->info.file_size - MARKER)
        return -EBADMSG;
    r = qca_io_read(image->io, block->offset, marker, sizeof(marker));
    if (r < 0)
        return r;
    length = le32_get(marker + 8);
    if (le64_get(marker) != number * (grain / VMDK_SECTOR) || length == 0 ||
        length > block_length_max(&extent->layout))
        return -EBADMSG;
    block->offset += MARKER;
    block->length = length;
    return 0;
}

/* As much of the data as the stream in it takes. Grains that lie apart are not longer, together,
 * than the file: what is beyond that is not looked at, or a small file could keep a check busy. */
static int measure_stream(struct qca_image *image, struct vmdk_extent *extent, struct block *block)
{
    _cleanup_free_ uint8_t *packed = NULL;
    uint64_t used;
    int r = 0;

    if (extent->measured >= image->info.file_size)
        return -EBADMSG;
    packed = malloc(block->length);
    if (!packed)
        return -ENOMEM;
    if (!extent->inflater)
        r = inflater_new(INFLATE_ZLIB, extent->layout.block_size, &extent->inflater);
    if (r == 0)
        r = qca_io_read(image->io, block->offset, packed, block->length);
    if (r < 0)
        return r;
    if (!inflater_run(extent->inflater, packed, block->length, &used) || used == 0) {
        extent->measured += block->length;
        return -EBADMSG;
    }
    extent->measured += round_up(used, VMDK_SECTOR);
    block->length = used;
    return 0;
}

/* Without markers nothing says how long the data is: as QEMU, no longer than a grain. Only a check
 * has to know where it ends, so that the next grain may begin there. */
static int without_marker(struct qca_image *image, uint64_t number, struct block *block)
{
    struct vmdk_extent *extent = image->own;

    (void)number;
    if (block->offset >= image->info.file_size)
        return -EBADMSG;
    block->length = min_u64(extent->layout.block_size, image->info.file_size - block->offset);
    return extent->measures ? measure_stream(image, extent, block) : 0;
}

/* ---- header ------------------------------------------------------------------------------- */

static bool is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

/* The fields by which nothing can be found are bad. base: host offset of this header. */
static bool fields_are_possible(struct qca_image *image, const uint8_t *header, uint64_t base)
{
    struct vmdk_extent *extent = image->own;
    uint64_t grain = le64_get(header + AT_GRAIN), directory = le64_get(header + AT_DIRECTORY),
             second = le64_get(header + AT_SECOND_DIRECTORY),
             overhead = le64_get(header + AT_OVERHEAD);
    uint32_t entries = le32_get(header + AT_ENTRIES), algorithm = le16_get(header + AT_ALGORITHM),
             version = le32_get(header + AT_VERSION);
    const struct foreign_field
        capacity_field = { "capacity", base + AT_CAPACITY, le64_get(header + AT_CAPACITY) },
        grain_field = { "grainSize", base + AT_GRAIN, grain };

    if (version == 0 || version > VERSION_MAX)  /* of a footer */
        extent->bad = (struct foreign_field){ "version", base + AT_VERSION, version };
    else if (entries == 0 || entries > ENTRIES)
        extent->bad = (struct foreign_field){ "numGTEsPerGT", base + AT_ENTRIES, entries };
    else if (!vmdk_extent_measure(image, capacity_field, grain_field, entries))
        return false;
    else if (algorithm > ALGORITHM_DEFLATE ||
             (algorithm == ALGORITHM_DEFLATE) != !!(extent->flags & FLAG_COMPRESSED))
        extent->bad = (struct foreign_field){ "compressAlgorithm", base + AT_ALGORITHM, algorithm };
    else if (algorithm == ALGORITHM_DEFLATE && (!is_power_of_two(grain) || grain > COMPRESSED_MAX))
        extent->bad = grain_field;
    else if (directory == 0 || directory > SECTORS_MAX)
        extent->bad = (struct foreign_field){ "gdOffset", base + AT_DIRECTORY, directory };
    else if (extent->flags & FLAG_SECOND && second > SECTORS_MAX)
        extent->bad = (struct foreign_field){ "rgdOffset", base + AT_SECOND_DIRECTORY, second };
    else if (overhead > div_round_up(image->info.file_size, VMDK_SECTOR))
        extent->bad = (struct foreign_field){ "overHead", base + AT_OVERHEAD, overhead };
    return !extent->bad.name;
}

static void take_layout(struct qca_image *image, const uint8_t *header, uint64_t base)
{
    struct vmdk_extent *extent = image->own;
    struct block_layout *layout = &extent->layout;
    uint64_t grain = le64_get(header + AT_GRAIN);

    extent->flags = le32_get(header + AT_FLAGS);
    if (!fields_are_possible(image, header, base))
        return;
    /* "must be a power of 2 and must be greater than 8 (4KB)": 8 are 4 KiB, and left alone */
    if (!is_power_of_two(grain) || grain < GRAIN_MIN)
        extent->odd_fields |= ODD_GRAIN;
    if (layout->entries != ENTRIES)
        extent->odd_fields |= ODD_ENTRIES;
    extent->directory = le64_get(header + AT_DIRECTORY) * VMDK_SECTOR;
    if (extent->flags & FLAG_SECOND)
        extent->second_directory = le64_get(header + AT_SECOND_DIRECTORY) * VMDK_SECTOR;
    layout->entry_size = ENTRY;
    layout->directory = vmdk_extent_tables;
    layout->entry = sparse_entry;
    layout->zlib_header = extent->flags & FLAG_COMPRESSED;
    if (layout->zlib_header)
        layout->read_length = extent->flags & FLAG_MARKERS ? read_marker : without_marker;
    else {
        layout->data_start = le64_get(header + AT_OVERHEAD) * VMDK_SECTOR;
        layout->step = layout->block_size / VMDK_SECTOR;
    }
    layout->parent_unknown = image->info.variant == QCA_VARIANT_VMDK_EXTENT ||
                             image->info.variant == QCA_VARIANT_DIFFERENCING;
    layout->issues = (struct block_issues) {
        .table_outside = QCA_ISSUE_TABLE_OUT_OF_FILE,
        .outside = QCA_ISSUE_OUT_OF_FILE,       /* vmdk_co_check() counts it */
        .twice = QCA_ISSUE_BLOCK_OVERLAP,
        .on_metadata = QCA_ISSUE_DATA_ON_METADATA,
        .tables = QCA_ISSUE_METADATA_SHARED,
        .unaligned = QCA_ISSUE_BLOCK_UNALIGNED,
        .leak = layout->zlib_header ? _QCA_ISSUE_MAX : QCA_ISSUE_BLOCK_UNUSED,
    };
}

/* Footer and end-of-stream marker, as QEMU wants them (vmdk_open_vmdk4()). */
static int trailer_is_whole(struct qca_image *image, uint64_t footer, const uint8_t *header,
                            bool *ret_whole)
{
    uint64_t end = footer + VMDK_SECTOR, size = image->info.file_size;
    uint8_t marker[MARKER_FIELDS], last[MARKER_FIELDS] = { 0 };
    int r;

    *ret_whole = false;
    if (!vmdk_is_sparse(header) || footer < VMDK_SECTOR)
        return 0;
    r = qca_io_read(image->io, footer - VMDK_SECTOR, marker, sizeof(marker));
    if (r >= 0 && end < size)
        r = qca_io_read(image->io, end, last, (size_t)min_u64(sizeof(last), size - end));
    *ret_whole = r >= 0 && le32_get(marker + MARKER_AT_SIZE) == 0 &&
                 le32_get(marker + MARKER_AT_TYPE) == MARKER_FOOTER && le64_get(last) == 0 &&
                 le32_get(last + MARKER_AT_SIZE) == 0 && le32_get(last + MARKER_AT_TYPE) == 0;
    return r;
}

/* An extent that was written as a stream may have its true header at the end; header becomes it. */
static int take_footer(struct qca_image *image, struct qca_error *error, uint8_t *header,
                       uint64_t *ret_base)
{
    struct vmdk_extent *extent = image->own;
    uint64_t size = round_up(image->info.file_size, VMDK_SECTOR), at;
    uint8_t footer[HEADER];
    bool whole;
    int r;

    extent->unread = true;
    if (image->info.file_size < FOOTER_FROM_END)
        return 0;
    at = size - FOOTER_FROM_END;
    r = foreign_read(image, error, at, footer, sizeof(footer), "the sparse extent's footer");
    if (r < 0)
        return r;
    r = trailer_is_whole(image, at, footer, &whole);
    if (r < 0)
        return error_set_read(error, r, at, "the sparse extent's footer");
    if (!vmdk_is_sparse(footer))
        return 0;
    extent->trailer = at;
    extent->unread = !whole;
    memcpy(header, footer, sizeof(footer));
    *ret_base = at;
    return 0;
}

static int take_disk(struct qca_image *image, struct qca_error *error, const uint8_t *first,
                     uint64_t capacity)
{
    uint64_t descriptor = le64_get(first + AT_DESCRIPTOR),
             size = le64_get(first + AT_DESCRIPTOR_SIZE);
    struct vmdk_extent *extent = image->own;
    uint8_t begins;
    int r = 0;

    if (descriptor > SECTORS_MAX || size > SECTORS_MAX)
        return foreign_invalid(error, "descriptorOffset", AT_DESCRIPTOR, descriptor, SECTORS_MAX,
                               "the descriptor lies beyond the largest file");
    if (capacity > 0)
        r = foreign_size(image, error, "capacity", AT_CAPACITY, capacity, VMDK_SECTOR);
    if (r < 0 || descriptor == 0 || size == 0)
        return r;
    /* QEMU leaves room for one in the extents of a split disk, too, and nothing in it */
    if (descriptor * VMDK_SECTOR < image->info.file_size) {
        r = foreign_read(image, error, descriptor * VMDK_SECTOR, &begins, 1, "the descriptor");
        if (r < 0 || begins == 0)
            return r;
    }
    extent->descriptor = descriptor * VMDK_SECTOR;
    extent->descriptor_size = size * VMDK_SECTOR;
    /* a disk of no size has a descriptor that says where it really is */
    return vmdk_take_descriptor(image, error, extent->descriptor, extent->descriptor_size,
                                capacity > 0);
}

static void take_oddities(struct vmdk_extent *extent, const uint8_t *header)
{
    if (le32_get(header + AT_FLAGS) & FLAG_NEWLINES &&
        memcmp(header + AT_NEWLINES, "\n \r\n", 4) != 0)
        extent->odd_fields |= ODD_NEWLINES;
    if (header[AT_UNCLEAN] != 0)
        extent->odd_fields |= ODD_UNCLEAN;
}

static int sparse_check(struct qca_image *image, struct check *check);

int vmdk_sparse_open(struct qca_image *image, const uint8_t *head, struct qca_error *error)
{
    struct qca_image_info *info = &image->info;
    struct vmdk_extent *extent = image->own;
    uint8_t first[HEADER], header[HEADER];
    uint64_t base = 0, grain;
    int r = foreign_read(image, error, 0, first, sizeof(first), "the sparse extent's header");

    (void)head;
    if (r < 0)
        return r;
    info->version = le32_get(first + AT_VERSION);
    if (info->version == 0 || info->version > VERSION_MAX)
        return foreign_invalid(error, "version", AT_VERSION, info->version, VERSION_MAX,
                               "this version of sparse extents is not known");
    info->variant = le32_get(first + AT_FLAGS) & FLAG_COMPRESSED ? QCA_VARIANT_VMDK_STREAM
                                                                 : QCA_VARIANT_VMDK_SPARSE;
    extent->check = sparse_check;
    memcpy(header, first, sizeof(header));
    if (le64_get(first + AT_DIRECTORY) == DIRECTORY_AT_END)
        r = take_footer(image, error, header, &base);
    if (r < 0)
        return r;
    grain = le64_get(header + AT_GRAIN);
    info->cluster_size = grain <= UINT32_MAX / VMDK_SECTOR ? (uint32_t)grain * VMDK_SECTOR : 0;
    r = take_disk(image, error, first, le64_get(header + AT_CAPACITY));
    if (r < 0)
        return r;
    if (info->virtual_size == 0 || info->n_extents > 0) {
        /* others have the disk, or nobody has */
        free(TAKE_PTR(image->own));
        return 0;
    }
    /* Without a descriptor it is a piece of a disk, whose parent is named elsewhere. A stream is
     * written as a whole. */
    if (extent->descriptor_size == 0 && info->variant == QCA_VARIANT_VMDK_SPARSE)
        info->variant = QCA_VARIANT_VMDK_EXTENT;
    take_oddities(extent, first);
    if (!extent->unread)
        take_layout(image, header, base);
    return 0;
}

/* ---- check -------------------------------------------------------------------------------- */

/* Two directories with their tables, which should be the same. */
struct copies {
    struct qca_image *image;
    struct check *check;
    uint64_t *first, *second;
    struct block_metadata *places;
    size_t n_places;
    uint64_t compared;          /* bytes: of tables that lie apart, the file has no more */
    struct table_window of_first, of_second;
};

static struct qca_issue copy_issue(const struct copies *copies, enum qca_issue_kind kind,
                                   uint64_t table)
{
    const struct vmdk_extent *extent = copies->image->own;
    struct qca_issue issue = check_issue_new(kind, QCA_TABLE_DIRECTORY);

    issue.table_offset = extent->second_directory;
    issue.index = table;
    if (copies->second[table] != 0) {
        issue.host_offset = copies->second[table];
        issue.host_length = (uint64_t)extent->layout.entries * ENTRY;
    }
    return issue;
}

static int read_table(struct copies *copies, struct table_window *window, const uint64_t *places,
                      uint64_t table, size_t bytes, const uint8_t **ret_entries)
{
    const struct block_layout *layout = &((struct vmdk_extent *)copies->image->own)->layout;
    uint64_t end = places[table] + bytes;

    if (!table_window_has(window, places[table], bytes))
        end = table_window_end(places + table, block_layout_tables(layout) - table,
                               (uint64_t)layout->entries * ENTRY);
    return table_window_read(window, copies->image->io, places[table], bytes,
                             min_u64(end, copies->image->info.file_size), ret_entries);
}

static int compare_entries(struct copies *copies, uint64_t table, size_t bytes)
{
    const uint8_t *one, *other;
    struct qca_issue issue;
    size_t i = 0;
    int r = read_table(copies, &copies->of_first, copies->first, table, bytes, &one);

    if (r >= 0)
        r = read_table(copies, &copies->of_second, copies->second, table, bytes, &other);
    if (r == -ENOMEM)
        return r;
    if (r < 0) {
        issue = copy_issue(copies, QCA_ISSUE_READ_FAILED, table);
        return check_issue(copies->check, &issue);
    }
    if (memcmp(one, other, bytes) == 0)
        return 0;
    while (one[i] == other[i])
        i++;
    issue = check_issue_new(QCA_ISSUE_COPY_DIFFERS, QCA_TABLE_BLOCK_MAP);
    issue.table_offset = copies->second[table];
    issue.index = i / ENTRY;
    return check_issue(copies->check, &issue);
}

static bool is_inside(const struct qca_image *image, uint64_t offset, uint64_t length)
{
    return offset <= image->info.file_size && length <= image->info.file_size - offset;
}

/* Writers keep a table and its redundant one alike: an entry of 0 in one directory alone lets
 * them write on the header. */
static int compare_table(struct copies *copies, uint64_t table)
{
    const struct block_layout *layout = &((struct vmdk_extent *)copies->image->own)->layout;
    uint64_t first = copies->first[table], second = copies->second[table],
             whole = (uint64_t)layout->entries * ENTRY,
             entries = min_u64(layout->entries, layout->n_blocks - table * layout->entries);
    struct qca_issue issue;

    if (first == second)
        return 0;
    if (first == 0 || second == 0) {
        issue = copy_issue(copies, QCA_ISSUE_COPY_DIFFERS, table);
        return check_issue(copies->check, &issue);
    }
    if (!is_inside(copies->image, second, whole)) {
        issue = copy_issue(copies, QCA_ISSUE_TABLE_OUT_OF_FILE, table);
        return check_issue(copies->check, &issue);
    }
    copies->places[copies->n_places++] =
        (struct block_metadata){ second, whole, QCA_TABLE_BLOCK_MAP };
    if (!is_inside(copies->image, first, whole))
        return 0;               /* which is told with its blocks */
    copies->compared += whole;
    return compare_entries(copies, table, entries * ENTRY);
}

static int compare_copies(struct copies *copies)
{
    const struct vmdk_extent *extent = copies->image->own;
    uint64_t n = block_layout_tables(&extent->layout);
    struct qca_issue issue;
    int r = 0;

    for (uint64_t i = 0; i < n && r >= 0; i++) {
        if (copies->compared > copies->image->info.file_size) {
            issue = copy_issue(copies, QCA_ISSUE_METADATA_SHARED, i);
            return check_issue(copies->check, &issue);
        }
        r = compare_table(copies, i);
        if (r >= 0)
            r = check_advance(copies->check, 0);
    }
    return r;
}

/* That a directory lies outside of the file was told with the regions. */
static int check_copies(struct qca_image *image, struct check *check,
                        struct block_metadata *places, size_t *n_places)
{
    const struct vmdk_extent *extent = image->own;
    _cleanup_free_ struct copies *copies = calloc(1, sizeof(*copies));
    uint64_t memory = check->options.memory_limit / 4;
    struct qca_error error = { .kind = QCA_ERROR_NONE };
    int r;

    if (!copies)
        return -ENOMEM;
    copies->image = image;
    copies->check = check;
    copies->places = places;
    copies->n_places = *n_places;
    r = vmdk_extent_tables(image, memory, &error, &copies->first);
    if (r >= 0)
        r = vmdk_extent_tables_at(image, extent->second_directory, memory, &error,
                                  &copies->second);
    if (r >= 0)
        r = compare_copies(copies);
    else if (error.kind == QCA_ERROR_MEMORY || error.kind == QCA_ERROR_IO)
        r = check_unfinished(check, r, &error);
    else if (error.kind != QCA_ERROR_NONE)
        r = 0;
    *n_places = copies->n_places;
    table_window_done(&copies->of_first);
    table_window_done(&copies->of_second);
    free(copies->first);
    free(copies->second);
    return r;
}

static int check_grains(struct qca_image *image, struct check *check)
{
    const struct vmdk_extent *extent = image->own;
    uint64_t tables = block_layout_tables(&extent->layout), bytes = tables * ENTRY;
    _cleanup_free_ struct block_metadata *places = NULL;
    const struct block_metadata regions[] = {
        { 0, VMDK_SECTOR, QCA_TABLE_HEADER },
        { extent->descriptor, extent->descriptor_size, QCA_TABLE_DESCRIPTOR },
        { extent->directory, bytes, QCA_TABLE_DIRECTORY },
        { extent->second_directory, extent->second_directory ? bytes : 0, QCA_TABLE_DIRECTORY },
        { extent->trailer ? extent->trailer - VMDK_SECTOR : 0,
          extent->trailer ? min_u64(TRAILER, image->info.file_size - extent->trailer +
                                                 VMDK_SECTOR) : 0, QCA_TABLE_TRAILER },
    };
    size_t n = ELEMENTSOF(regions);
    int r = vmdk_check_regions(image, check, regions, n);

    if (r < 0)
        return r;
    /* as many as the file can hold: a directory is in the file, or is not looked at */
    if (bytes > image->info.file_size)
        tables = 0;
    places = calloc(n + (extent->second_directory ? tables : 0), sizeof(*places));
    if (!places)
        return -ENOMEM;
    memcpy(places, regions, sizeof(regions));
    if (extent->second_directory && tables > 0)
        r = check_copies(image, check, places, &n);
    return r < 0 ? r : block_check(image, check, places, n);
}

static int check_oddities(const struct vmdk_extent *extent, struct check *check)
{
    const struct {
        uint32_t odd;
        enum qca_issue_kind kind;
        uint64_t offset, size;
    } fields[] = {              /* the trailer is that of the header that counts, or 0 */
        { ODD_NEWLINES, QCA_ISSUE_TEXT_TRANSFER, AT_NEWLINES, 4 },
        { ODD_UNCLEAN, QCA_ISSUE_DIRTY_BIT, AT_UNCLEAN, 1 },
        { ODD_ENTRIES, QCA_ISSUE_FIELD_INVALID, extent->trailer + AT_ENTRIES, 4 },
        { ODD_GRAIN, QCA_ISSUE_FIELD_INVALID, extent->trailer + AT_GRAIN, 8 },
    };
    int r = 0;

    for (size_t i = 0; i < ELEMENTSOF(fields) && r >= 0; i++)
        if (extent->odd_fields & fields[i].odd)
            r = check_issue_at(check, fields[i].kind, QCA_TABLE_HEADER, fields[i].offset,
                               fields[i].size);
    return r;
}

static int trailer_missing(const struct qca_image *image, struct check *check)
{
    struct qca_issue issue = check_issue_new(QCA_ISSUE_TRAILER_MISSING, QCA_TABLE_TRAILER);
    struct qca_error error;
    int r = check_issue(check, &issue);

    if (r < 0)
        return r;
    error_set(&error, EINVAL, QCA_ERROR_TRUNCATED,
              (struct error_field){ "gdOffset", AT_DIRECTORY, DIRECTORY_AT_END,
                                    image->info.file_size },
              "the footer, which says where the grain directory is, is not there");
    return check_unfinished(check, -EINVAL, &error);
}

static int sparse_check(struct qca_image *image, struct check *check)
{
    struct vmdk_extent *extent = image->own;
    int r = check_oddities(extent, check);

    if (r < 0)
        return r;
    if (extent->unread)
        return trailer_missing(image, check);
    if (extent->bad.name)
        return foreign_issue_field(check, &extent->bad);
    extent->measures = true;
    extent->measured = 0;
    r = check_grains(image, check);
    extent->measures = false;
    return r;
}
