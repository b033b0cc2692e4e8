/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The strict reading of a VHDX, and its check: [MS-VHDX] 2.2 to 2.6. */
#include "vhdx.h"

#include <errno.h>

#include "bytes.h"
#include "check.h"
#include "cleanup.h"
#include "crc32c.h"
#include "error.h"

enum {
    AT_CHECKSUM = 4,            /* of headers and region tables */
    REGIONS = 4,                /* header section, log, metadata, block allocation table */
    ENTRY = 8,
};

/* ---- the strict reading ------------------------------------------------------------------- */

int vhdx_issue(struct vhdx_scan *scan, enum qca_issue_kind kind, enum qca_table table,
               uint64_t offset, uint64_t size)
{
    return scan->check ? check_issue_at(scan->check, kind, table, offset, size) : 0;
}

int vhdx_refuse(struct vhdx_scan *scan, enum qca_issue_kind kind, enum qca_table table,
                uint64_t offset, uint64_t size)
{
    scan->refused = true;
    return vhdx_issue(scan, kind, table, offset, size);
}

int vhdx_read(struct vhdx_scan *scan, uint64_t offset, void *buf, size_t size, const char *what)
{
    struct qca_error error;
    int r = qca_io_read(scan->image->io, offset, buf, size);

    if (r >= 0 || !scan->check || r == -ENOMEM)
        return r < 0 ? r : 0;
    (void)error_set_read(&error, r, offset, what);
    return check_unfinished(scan->check, r, &error);
}

bool vhdx_checksum_fits(const uint8_t *bytes, size_t size)
{
    static const uint8_t zeros[4];
    uint32_t crc = crc32c(0, bytes, AT_CHECKSUM);

    crc = crc32c(crc, zeros, sizeof(zeros));
    crc = crc32c(crc, bytes + AT_CHECKSUM + sizeof(zeros), size - AT_CHECKSUM - sizeof(zeros));
    return crc == le32_get(bytes + AT_CHECKSUM);
}

bool vhdx_is_inside(const struct qca_image *image, struct vhdx_region region)
{
    uint64_t end;

    return !add_overflows(region.offset, region.size, &end) && end <= image->info.file_size;
}

int vhdx_scan(struct vhdx_scan *scan)
{
    int r = vhdx_scan_headers(scan);

    if (r == 0 && !scan->refused)
        r = vhdx_scan_log(scan);
    if (r == 0 && !scan->refused)
        r = vhdx_scan_regions(scan);
    if (r == 0 && !scan->refused)
        r = vhdx_scan_metadata(scan);
    if (r == 0 && !scan->refused)
        r = vhdx_scan_table(scan);
    return r;
}

/* ---- bitmap blocks of a differencing disk ------------------------------------------------- */

static int compare_metadata(const void *a, const void *b)
{
    const struct block_metadata *left = a, *right = b;

    return left->offset < right->offset ? -1 : left->offset > right->offset;
}

/* 2.5.1.2: of these states alone; in the file. Adds the block's place to metadata. */
static int check_bitmap(struct vhdx_scan *scan, const struct vhdx *vhdx, uint64_t index,
                        struct block_metadata *metadata, size_t *n)
{
    uint64_t entry = vhdx->bitmaps[index],
             at = vhdx->table.offset + index * vhdx->layout.stride +
                  (uint64_t)vhdx->layout.entries * ENTRY;
    struct vhdx_region region = { vhdx_entry_offset(entry), VHDX_MIB };

    switch (vhdx_entry_state(entry)) {
    case VHDX_NOT_PRESENT:
        return 0;
    case VHDX_FULLY_PRESENT:
        break;
    default:
        return vhdx_issue(scan, QCA_ISSUE_BLOCK_INVALID, QCA_TABLE_BLOCK_MAP, at, ENTRY);
    }
    if (!vhdx_is_inside(scan->image, region))
        return vhdx_issue(scan, QCA_ISSUE_OUT_OF_FILE, QCA_TABLE_BITMAP, region.offset,
                          region.size);
    metadata[(*n)++] = (struct block_metadata){ region.offset, region.size, QCA_TABLE_BITMAP };
    return 0;
}

/* All of them, apart from each other and from the regions, which come first among metadata. */
static int check_bitmaps(struct vhdx_scan *scan, const struct vhdx *vhdx,
                         struct block_metadata *metadata, size_t *n)
{
    uint64_t end = 0;
    int r = 0;

    for (uint64_t i = 0; i < vhdx->n_bitmaps && r == 0; i++)
        r = check_bitmap(scan, vhdx, i, metadata, n);
    qsort(metadata, *n, sizeof(*metadata), compare_metadata);
    for (size_t i = 0; i < *n && r == 0; i++) {
        if (metadata[i].offset < end)
            r = vhdx_issue(scan, QCA_ISSUE_METADATA_SHARED, metadata[i].table, metadata[i].offset,
                           metadata[i].size);
        end = max_u64(end, metadata[i].offset + metadata[i].size);
    }
    return r;
}

/* ---- the whole ---------------------------------------------------------------------------- */

static void add_region(struct block_metadata *metadata, size_t *n, struct vhdx_region region,
                       enum qca_table table)
{
    if (region.size > 0)
        metadata[(*n)++] = (struct block_metadata){ region.offset, region.size, table };
}

static int check_blocks(struct vhdx_scan *scan, const struct vhdx *vhdx)
{
    _cleanup_free_ struct block_metadata *metadata = NULL;
    const struct vhdx_region section = { 0, VHDX_MIB };
    size_t n = 0;
    int r;

    metadata = calloc(REGIONS + VHDX_OTHERS_MAX + vhdx->n_bitmaps, sizeof(*metadata));
    if (!metadata)
        return -ENOMEM;
    add_region(metadata, &n, section, QCA_TABLE_HEADER);
    add_region(metadata, &n, vhdx->log, QCA_TABLE_LOG);
    add_region(metadata, &n, vhdx->metadata, QCA_TABLE_HEADER);
    add_region(metadata, &n, vhdx->table, QCA_TABLE_BLOCK_MAP);
    for (unsigned i = 0; i < scan->fields.n_others; i++)
        add_region(metadata, &n, scan->fields.others[i], QCA_TABLE_DIRECTORY);
    r = check_bitmaps(scan, vhdx, metadata, &n);
    return r < 0 ? r : block_check(scan->image, scan->check, metadata, n);
}

/* Why nothing is said of blocks. */
static int unfinished(struct check *check, enum qca_error_kind kind, const char *text)
{
    struct qca_error error;
    int r = error_set(&error, kind == QCA_ERROR_UNSUPPORTED ? EOPNOTSUPP : EINVAL, kind,
                      (struct error_field){ 0 }, "%s", text);

    return check_unfinished(check, r, &error);
}

int vhdx_check(struct qca_image *image, struct check *check)
{
    struct vhdx_scan scan = { .image = image, .check = check };
    const struct vhdx *vhdx = image->own;
    int r = vhdx_scan(&scan);

    if (r < 0)
        return r;
    if (scan.refused)
        return unfinished(check, QCA_ERROR_HEADER,
                          "the image's structures do not tell where its blocks lie");
    if (scan.fields.log_pending && !vhdx->patched)
        return unfinished(check, QCA_ERROR_UNSUPPORTED,
                          "the log must be replayed before it is known where blocks lie, and "
                          "cannot be");
    if (!vhdx->has_layout)
        return unfinished(check, QCA_ERROR_UNSUPPORTED,
                          "how this image maps its disk is not understood");
    return check_blocks(&scan, vhdx);
}
