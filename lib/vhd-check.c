/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The check of a VHD: "Virtual Hard Disk Image Format Specification" 1.0, "Hard Disk Footer
 * Format", "Dynamic Disk Header Format", "Block Allocation Table and Data Blocks". qemu-img has
 * none. */
#include <errno.h>

#include "bytes.h"
#include "check.h"
#include "error.h"
#include "foreign.h"
#include "io.h"
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
    return check_issue_at(ctx->check, QCA_ISSUE_CHECKSUM_WRONG, table, offset, size);
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
        return check_issue_at(ctx->check, QCA_ISSUE_TRAILER_MISSING, QCA_TABLE_TRAILER,
                        file_size - VHD_FOOTER_SIZE, VHD_FOOTER_SIZE);
    add_metadata(ctx, offset, VHD_FOOTER_SIZE, QCA_TABLE_TRAILER);
    r = check_sum(ctx, footer, VHD_FOOTER_SIZE, VHD_AT_CHECKSUM, QCA_TABLE_TRAILER, offset);
    if (r == 0 && memcmp(footer, copy, file_size - offset) != 0)
        r = check_issue_at(ctx->check, QCA_ISSUE_COPY_DIFFERS, QCA_TABLE_TRAILER, offset,
                           file_size - offset);
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
            r = check_issue_at(ctx->check, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_HEADER, at,
                               VHD_LOCATOR_SIZE);
        else
            add_metadata(ctx, offset, length, QCA_TABLE_HEADER);
    }
    return r;
}

/* QEMU (block/vpc.c) does not open an image with a block that is not wholly in the file: of entries
 * behind those of the disk, and of the last block's part behind the disk's end. Such places may be
 * in use where the disk is as large as the footer's size says, and not as its geometry does. */
static int check_spare_entry(struct vhd_checking *ctx, uint32_t sector, uint64_t number)
{
    const struct block_layout *layout = &ctx->vhd->layout;
    uint64_t offset = (uint64_t)sector * VHD_SECTOR, size = layout->lead + layout->block_size,
             file_size = ctx->image->info.file_size, used = 0;
    struct qca_issue issue = check_issue_new(QCA_ISSUE_BLOCK_OUT_OF_FILE, QCA_TABLE_BLOCK_MAP);

    if (number < layout->n_blocks)
        used = layout->lead + ctx->image->info.virtual_size - number * layout->block_size;
    if (sector == VHD_UNUSED || offset + size <= file_size)
        return 0;
    if (used > 0 && offset + used > file_size)
        return 0;               /* found with the disk's other blocks */
    issue.table_offset = layout->first_table;
    issue.index = number;
    issue.host_offset = offset;
    issue.host_length = size;
    return check_issue(ctx->check, &issue);
}

static int check_spare_chunk(struct vhd_checking *ctx, uint64_t number, uint8_t *chunk, size_t size)
{
    uint64_t at = ctx->vhd->layout.first_table + number * ENTRY_SIZE;
    struct qca_error error;
    int r = qca_io_read(ctx->image->io, at, chunk, size);

    if (r < 0) {
        (void)error_set_read(&error, r, at, "the block allocation table");
        return check_unfinished(ctx->check, r, &error);
    }
    for (size_t i = 0; i < size / ENTRY_SIZE && r == 0; i++)
        r = check_spare_entry(ctx, be32_get(chunk + i * ENTRY_SIZE), number + i);
    return r < 0 ? r : check_advance(ctx->check, size);
}

/* The table may have more entries than the disk has blocks. Holes say that blocks are where the
 * headers are, which is in the file. */
static int check_spare(struct vhd_checking *ctx)
{
    const struct block_layout *layout = &ctx->vhd->layout;
    uint64_t used = layout->n_blocks, n = vhd_table_entries(ctx->vhd), next;
    _cleanup_free_ uint8_t *chunk = malloc(CHUNK);
    int r = 0;

    if (!chunk)
        return -ENOMEM;
    add_metadata(ctx, layout->first_table + used * ENTRY_SIZE, (n - used) * ENTRY_SIZE,
                 QCA_TABLE_BLOCK_MAP);
    for (uint64_t i = used > 0 ? used - 1 : 0; i < n && r == 0; i = next) {
        uint64_t at = layout->first_table + i * ENTRY_SIZE;
        struct io_segment segment = io_segment(ctx->image->io, at);

        next = min_u64(n, i + CHUNK / ENTRY_SIZE);
        if (segment.hole && segment.end >= at + ENTRY_SIZE)
            next = min_u64(n, i + (segment.end - at) / ENTRY_SIZE);
        else
            r = check_spare_chunk(ctx, i, chunk, (size_t)(next - i) * ENTRY_SIZE);
    }
    return r;
}

/* Why there is no layout. */
static int check_no_layout(struct vhd_checking *ctx)
{
    struct foreign_field bad = vhd_find_bad_field(ctx->image, ctx->vhd);
    uint64_t table = be64_get(ctx->vhd->header + VHD_AT_TABLE);
    struct qca_error error;
    int r;

    if (bad.name)
        return foreign_issue_field(ctx->check, &bad);
    r = check_issue_at(ctx->check, QCA_ISSUE_TABLE_OUT_OF_FILE, QCA_TABLE_BLOCK_MAP, table,
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
        return check_issue_at(ctx->check, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_TRAILER,
                        ctx->vhd->footer_offset + VHD_AT_VERSION, 4);
    if (ctx->image->info.virtual_size <= min_u64(ctx->vhd->footer_offset, VHD_SIZE_MAX))
        return 0;
    return check_issue_at(ctx->check, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_TRAILER,
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
