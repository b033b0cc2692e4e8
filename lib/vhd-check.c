/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The check of a VHD: "Virtual Hard Disk Image Format Specification" 1.0, "Hard Disk Footer
 * Format", "Dynamic Disk Header Format", "Block Allocation Table and Data Blocks". qemu-img has
 * none. */
#include <errno.h>

#include "bytes.h"
#include "check.h"
#include "error.h"
#include "foreign.h"
#include "vhd.h"

enum {
    ENTRY_SIZE = 4,
    CHUNK = 64 << 10,
    METADATA_MAX = 4 + VHD_LOCATORS,
};

struct vhd_checking {
    struct qca_image *image;
    struct check *check;
    const struct vhd *vhd;
    struct block_metadata metadata[METADATA_MAX];
    size_t n_metadata;
};

static int issue_at(struct vhd_checking *ctx, enum qca_issue_kind kind, enum qca_table table,
                    uint64_t offset, uint64_t size)
{
    struct qca_issue issue = check_issue_new(kind, table);

    issue.table_offset = offset;
    issue.host_offset = offset;
    issue.host_length = size;
    return check_issue(ctx->check, &issue);
}

/* Bytes of a structure that may be in the file or not: as much as is there. */
static void add_metadata(struct vhd_checking *ctx, uint64_t offset, uint64_t size,
                         enum qca_table table)
{
    uint64_t file_size = ctx->image->info.file_size;

    if (offset < file_size && size > 0)
        ctx->metadata[ctx->n_metadata++] = (struct block_metadata){
            offset, min_u64(size, file_size - offset), table
        };
}

static int check_sum(struct vhd_checking *ctx, const uint8_t *bytes, size_t size, size_t at,
                     enum qca_table table, uint64_t offset)
{
    if (be32_get(bytes + at) == vhd_checksum(bytes, size, at))
        return 0;
    return issue_at(ctx, QCA_ISSUE_CHECKSUM_WRONG, table, offset, size);
}

/* "Hard Disk Footer Format": the footer is the file's last sector, and its copy the first one. On a
 * device, nobody can tell where the file ended. */
static int check_trailer(struct vhd_checking *ctx)
{
    uint64_t file_size = ctx->image->info.file_size, offset = file_size - VHD_FOOTER_SIZE;
    const uint8_t *copy = ctx->vhd->footer;
    uint8_t tail[VHD_FOOTER_SIZE + 1] = { 0 }, *footer = tail;
    struct qca_error error;
    int r = qca_io_read(ctx->image->io, offset, tail, VHD_FOOTER_SIZE);

    if (r < 0) {
        (void)error_set_read(&error, r, offset, "the VHD footer");
        return check_unfinished(ctx->check, r, &error);
    }
    if (memcmp(footer, copy, 8) != 0) {         /* the cookie, which the copy has */
        footer++;
        offset++;
    }
    if (memcmp(footer, copy, 8) != 0)
        return issue_at(ctx, QCA_ISSUE_TRAILER_MISSING, QCA_TABLE_TRAILER,
                        file_size - VHD_FOOTER_SIZE, VHD_FOOTER_SIZE);
    add_metadata(ctx, offset, VHD_FOOTER_SIZE, QCA_TABLE_TRAILER);
    r = check_sum(ctx, footer, VHD_FOOTER_SIZE, VHD_AT_CHECKSUM, QCA_TABLE_TRAILER, offset);
    if (r == 0 && memcmp(footer, copy, file_size - offset) != 0)
        r = issue_at(ctx, QCA_ISSUE_COPY_DIFFERS, QCA_TABLE_TRAILER, offset, file_size - offset);
    return r;
}

/* "Dynamic Disk Header Format": where the parent's names are. */
static int check_locators(struct vhd_checking *ctx)
{
    uint64_t at = ctx->vhd->header_offset + VHD_AT_LOCATORS;
    int r = 0;

    for (unsigned i = 0; i < VHD_LOCATORS && r == 0; i++, at += VHD_LOCATOR_SIZE) {
        const uint8_t *locator = ctx->vhd->header + VHD_AT_LOCATORS + i * VHD_LOCATOR_SIZE;
        uint64_t offset = be64_get(locator + VHD_LOCATOR_OFFSET), end;
        uint32_t length = be32_get(locator + VHD_LOCATOR_LENGTH);

        if (be32_get(locator) == 0 || length == 0)
            continue;
        if (add_overflows(offset, length, &end) || end > ctx->image->info.file_size)
            r = issue_at(ctx, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_HEADER, at, VHD_LOCATOR_SIZE);
        else
            add_metadata(ctx, offset, length, QCA_TABLE_HEADER);
    }
    return r;
}

/* Of entries behind those of the disk: places that are not in the file, for which QEMU does not
 * open it. Others may be in use where the disk is as large as the footer's size says, and not as
 * its geometry does. */
static int check_spare_entries(struct vhd_checking *ctx, const uint8_t *entries, size_t n,
                               uint64_t first)
{
    const struct block_layout *layout = &ctx->vhd->layout;
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++) {
        uint32_t sector = be32_get(entries + i * ENTRY_SIZE);
        uint64_t offset = (uint64_t)sector * VHD_SECTOR, size = layout->lead + layout->block_size;
        struct qca_issue issue = check_issue_new(QCA_ISSUE_BLOCK_OUT_OF_FILE, QCA_TABLE_BLOCK_MAP);

        if (sector == VHD_UNUSED || offset + size <= ctx->image->info.file_size)
            continue;
        issue.table_offset = layout->first_table;
        issue.index = first + i;
        issue.host_offset = offset;
        issue.host_length = size;
        r = check_issue(ctx->check, &issue);
    }
    return r;
}

/* The table may have more entries than the disk has blocks. */
static int check_spare(struct vhd_checking *ctx)
{
    const struct block_layout *layout = &ctx->vhd->layout;
    uint64_t used = layout->n_blocks, n = vhd_table_entries(ctx->vhd) - used,
             start = layout->first_table + used * ENTRY_SIZE, end = start + n * ENTRY_SIZE;
    _cleanup_free_ uint8_t *chunk = NULL;
    int r = 0;

    add_metadata(ctx, start, n * ENTRY_SIZE, QCA_TABLE_BLOCK_MAP);
    chunk = malloc(CHUNK);
    if (!chunk)
        return -ENOMEM;
    for (uint64_t at = start; at < end && r == 0; at += CHUNK) {
        size_t size = (size_t)min_u64(CHUNK, end - at);
        struct qca_error error;

        r = qca_io_read(ctx->image->io, at, chunk, size);
        if (r < 0) {
            (void)error_set_read(&error, r, at, "the block allocation table");
            return check_unfinished(ctx->check, r, &error);
        }
        r = check_spare_entries(ctx, chunk, size / ENTRY_SIZE,
                                used + (at - start) / ENTRY_SIZE);
        if (r == 0)
            r = check_advance(ctx->check, size);
    }
    return r;
}

/* Why there is no layout. */
static int check_no_layout(struct vhd_checking *ctx)
{
    struct vhd_bad_field bad = vhd_find_bad_field(ctx->image, ctx->vhd);
    uint64_t table = be64_get(ctx->vhd->header + VHD_AT_TABLE);
    struct qca_error error;
    int r;

    if (bad.name)
        return foreign_issue_field(ctx->check, bad.name, bad.offset, bad.value);
    r = issue_at(ctx, QCA_ISSUE_TABLE_OUT_OF_FILE, QCA_TABLE_BLOCK_MAP, table,
                 vhd_table_entries(ctx->vhd) * ENTRY_SIZE);
    if (r < 0)
        return r;
    r = error_set(&error, EINVAL, QCA_ERROR_TRUNCATED,
                  (struct error_field){ "Table Offset", ctx->vhd->header_offset + VHD_AT_TABLE,
                                        table, ctx->image->info.file_size },
                  "the block allocation table is not in the file");
    return check_unfinished(ctx->check, r, &error);
}

static int check_dynamic(struct vhd_checking *ctx)
{
    const struct vhd *vhd = ctx->vhd;
    int r = check_sum(ctx, vhd->header, VHD_HEADER_SIZE, VHD_AT_HEADER_CHECKSUM, QCA_TABLE_HEADER,
                      vhd->header_offset);

    add_metadata(ctx, vhd->footer_offset, VHD_FOOTER_SIZE, QCA_TABLE_HEADER);
    add_metadata(ctx, vhd->header_offset, VHD_HEADER_SIZE, QCA_TABLE_HEADER);
    if (r == 0 && !ctx->check->options.on_device)
        r = check_trailer(ctx);
    if (r == 0 && ctx->image->info.variant == QCA_VARIANT_DIFFERENCING)
        r = check_locators(ctx);
    if (r < 0)
        return r;
    if (!vhd->has_layout)
        return check_no_layout(ctx);
    r = check_spare(ctx);
    return r < 0 ? r : block_check(ctx->image, ctx->check, ctx->metadata, ctx->n_metadata);
}

/* The footer tells two sizes: the one that goes must be in the file. */
static int check_fixed(struct vhd_checking *ctx)
{
    const uint8_t *footer = ctx->vhd->footer;
    uint32_t version = be32_get(footer + VHD_AT_VERSION);

    ctx->check->result->image_end_offset = ctx->image->info.file_size;
    if (version >> 16 != VHD_MAJOR)
        return issue_at(ctx, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_TRAILER,
                        ctx->vhd->footer_offset + VHD_AT_VERSION, 4);
    if (ctx->image->info.virtual_size <= ctx->vhd->footer_offset)
        return 0;
    return issue_at(ctx, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_TRAILER,
                    ctx->vhd->footer_offset + VHD_AT_CYLINDERS, 4);
}

int vhd_check(struct qca_image *image, struct check *check)
{
    struct vhd_checking ctx = { .image = image, .check = check, .vhd = image->own };
    bool is_fixed = image->info.variant == QCA_VARIANT_FIXED;
    int r = check_sum(&ctx, ctx.vhd->footer, VHD_FOOTER_SIZE, VHD_AT_CHECKSUM,
                      is_fixed ? QCA_TABLE_TRAILER : QCA_TABLE_HEADER, ctx.vhd->footer_offset);

    if (r < 0)
        return r;
    return is_fixed ? check_fixed(&ctx) : check_dynamic(&ctx);
}
