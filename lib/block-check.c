/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The check of formats that map a disk block by block: where their tables and blocks lie. */
#include "block-layout.h"

#include <errno.h>

#include "block-claims.h"
#include "bytes.h"
#include "check.h"
#include "error.h"
#include "inflate.h"
#include "io.h"
#include "table-window.h"

#define RUN_MAX 4096            /* blocks */
#define BATCH 16                /* entries that are compared at once */
#define INFLATED_TIMES 16       /* as of qcow2: as much of the file no honest image has */
#define INFLATED_MIN (UINT64_C(1) << 40)

/* A place in the file that is no block. */
struct place {
    uint64_t offset, end;
    uint64_t index;             /* of a table in the directory; else UINT64_MAX */
};

/* Blocks of the guest, one after the other, that lie so in the file, too: most do, and are looked
 * at together. */
struct run {
    uint64_t number;            /* of the first, */
    uint64_t offset;            /* and its data */
    uint64_t n;                 /* 0: there is none */
};

struct block_check {
    struct qca_image *image;
    const struct block_layout *layout;
    struct check *check;
    uint64_t file_size;
    uint64_t *tables;           /* what the directory says; NULL: there is none */
    uint64_t n_tables;
    struct place *places;       /* sorted by offset; overlapping ones are left out */
    size_t n_places;
    uint64_t first_place, last_place;   /* from the first byte to the end of the last of them */
    struct claims claims;
    struct inflater *inflater;
    uint8_t *packed;
    uint64_t packed_size;
    uint64_t inflated, inflate_limit;
    uint64_t next;              /* where the last block ended; 0: there was none before */
    struct run run;             /* that was not looked at yet */
    uint64_t n_whole;           /* blocks that the disk's end does not cut */
    struct table_window window;
};

static uint64_t table_bytes(const struct block_layout *layout)
{
    return (uint64_t)layout->entries * layout->entry_size;
}

/* Entries of this table that are blocks of the disk. */
static uint32_t table_entries(const struct block_layout *layout, uint64_t table)
{
    return (uint32_t)min_u64(layout->entries, layout->n_blocks - table * layout->entries);
}

static uint64_t table_offset(const struct block_check *ctx, uint64_t table)
{
    return ctx->tables ? ctx->tables[table]
                       : ctx->layout->first_table + table * ctx->layout->stride;
}

static bool is_inside(const struct block_check *ctx, uint64_t offset, uint64_t length)
{
    return offset <= ctx->file_size && length <= ctx->file_size - offset;
}

/* ---- issues ------------------------------------------------------------------------------- */

/* One entry's block: where the entry is, and which bytes of the disk it is about. */
static struct qca_issue block_issue(const struct block_check *ctx, enum qca_issue_kind kind,
                                    uint64_t number)
{
    const struct block_layout *layout = ctx->layout;
    struct qca_issue issue = check_issue_new(kind, QCA_TABLE_BLOCK_MAP);
    uint64_t size = ctx->image->info.virtual_size;

    issue.table_offset = table_offset(ctx, number / layout->entries);
    issue.index = number % layout->entries;
    if (number * layout->block_size < size) {   /* tables may map more than the disk has */
        issue.guest_offset = number * layout->block_size;
        issue.guest_length = min_u64(layout->block_size, size - issue.guest_offset);
    }
    return issue;
}

static int tell_block(struct block_check *ctx, enum qca_issue_kind kind, uint64_t number,
                      uint64_t offset, uint64_t length)
{
    struct qca_issue issue = block_issue(ctx, kind, number);

    issue.host_offset = offset;
    issue.host_length = length;
    return check_issue(ctx->check, &issue);
}

/* All blocks that the table maps are hurt. */
static int tell_table(struct block_check *ctx, enum qca_issue_kind kind, uint64_t table)
{
    const struct block_layout *layout = ctx->layout;
    uint64_t number = table * layout->entries, start = number * layout->block_size,
             size = ctx->image->info.virtual_size;
    struct qca_issue issue = check_issue_new(kind, ctx->tables ? QCA_TABLE_DIRECTORY
                                                               : QCA_TABLE_HEADER);

    issue.index = table;
    issue.host_offset = table_offset(ctx, table);
    issue.host_length = ctx->tables ? table_bytes(layout)
                                    : (uint64_t)table_entries(layout, table) * layout->entry_size;
    if (start < size) {
        issue.guest_offset = start;
        issue.guest_length = min_u64((uint64_t)layout->entries * layout->block_size, size - start);
    }
    return check_issue(ctx->check, &issue);
}

static int tell_read(struct block_check *ctx, int r, enum qca_table table, uint64_t offset)
{
    struct qca_issue issue = check_issue_new(QCA_ISSUE_READ_FAILED, table);

    if (r == -ENOMEM)
        return r;
    issue.host_offset = offset;
    return check_issue(ctx->check, &issue);
}

static int give_up(struct block_check *ctx, const char *text, uint64_t value, uint64_t bound)
{
    struct qca_error error;

    error_set(&error, EFBIG, QCA_ERROR_LIMIT, (struct error_field){ NULL, 0, value, bound }, "%s",
              text);
    return check_unfinished(ctx->check, -EFBIG, &error);
}

/* ---- places ------------------------------------------------------------------------------- */

static int compare_places(const void *a, const void *b)
{
    const struct place *left = a, *right = b;

    if (left->offset != right->offset)
        return left->offset < right->offset ? -1 : 1;
    /* headers first, then tables by their index */
    return left->index + 1 < right->index + 1 ? -1 : left->index + 1 > right->index + 1;
}

/* Tables that overlap the one before are reported and given no place: they are not read, so that no
 * more entries are looked at than the file holds. */
static int sort_places(struct block_check *ctx)
{
    size_t n = 0;
    uint64_t end = 0;
    int r = 0;

    qsort(ctx->places, ctx->n_places, sizeof(*ctx->places), compare_places);
    for (size_t i = 0; i < ctx->n_places && r >= 0; i++) {
        struct place *place = &ctx->places[i];

        if (n == 0 || place->offset >= end) {
            end = place->end;
            ctx->places[n++] = *place;
        } else if (place->index == UINT64_MAX)
            end = ctx->places[n - 1].end = max_u64(end, place->end);
        else {
            r = tell_table(ctx, ctx->layout->issues.tables, place->index);
            ctx->tables[place->index] = QCA_NO_OFFSET;
        }
    }
    ctx->n_places = n;
    ctx->first_place = n > 0 ? ctx->places[0].offset : UINT64_MAX;
    ctx->last_place = n > 0 ? ctx->places[n - 1].end : 0;
    return r;
}

/* Tables that are not in the file are told, and left out. */
static int add_tables(struct block_check *ctx)
{
    uint64_t bytes = table_bytes(ctx->layout);
    int r = 0;

    for (uint64_t i = 0; i < ctx->n_tables && r >= 0; i++) {
        uint64_t offset = ctx->tables[i];

        if (offset == 0)
            continue;
        if (is_inside(ctx, offset, bytes))
            ctx->places[ctx->n_places++] = (struct place){ offset, offset + bytes, i };
        else {
            r = tell_table(ctx, ctx->layout->issues.table_outside, i);
            ctx->tables[i] = QCA_NO_OFFSET;
        }
    }
    return r;
}

static int gather_places(struct block_check *ctx, const struct block_metadata *metadata, size_t n)
{
    uint64_t needed = n + (ctx->tables ? ctx->n_tables : 1);
    int r = 0;

    if (needed > ctx->check->options.memory_limit / sizeof(*ctx->places))
        return give_up(ctx, "the tables are too many for the memory allowed", needed,
                       ctx->check->options.memory_limit / sizeof(*ctx->places));
    ctx->places = malloc(needed * sizeof(*ctx->places));
    if (!ctx->places)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (metadata[i].size > 0 && metadata[i].offset < ctx->file_size)
            ctx->places[ctx->n_places++] = (struct place) {
                metadata[i].offset,
                metadata[i].offset + min_u64(metadata[i].size, ctx->file_size - metadata[i].offset),
                UINT64_MAX,
            };
    if (ctx->tables)
        r = add_tables(ctx);
    else if (ctx->n_tables > 0 && ctx->layout->first_table < ctx->file_size) {
        uint64_t start = ctx->layout->first_table,
                 all = (ctx->n_tables - 1) * ctx->layout->stride +
                       (uint64_t)table_entries(ctx->layout, ctx->n_tables - 1) *
                           ctx->layout->entry_size;

        ctx->places[ctx->n_places++] = (struct place){
            start, start + min_u64(all, ctx->file_size - start), UINT64_MAX };
    }
    return r < 0 ? r : sort_places(ctx);
}

static bool is_on_place(const struct block_check *ctx, uint64_t offset, uint64_t length)
{
    size_t low = 0, high = ctx->n_places;

    if (offset >= ctx->last_place || offset + length <= ctx->first_place)
        return false;
    while (low < high) {        /* the first that ends behind offset */
        size_t middle = low + (high - low) / 2;

        if (ctx->places[middle].end > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low < ctx->n_places && ctx->places[low].offset < offset + length;
}

/* ---- blocks ------------------------------------------------------------------------------- */

static int reserve_packed(struct block_check *ctx, uint64_t size)
{
    uint8_t *grown;

    if (size <= ctx->packed_size)
        return 0;
    grown = realloc(ctx->packed, size);
    if (!grown)
        return -ENOMEM;
    ctx->packed = grown;
    ctx->packed_size = size;
    return 0;
}

static int inflate_block(struct block_check *ctx, uint64_t number, const struct block *block)
{
    const struct block_layout *layout = ctx->layout;
    uint64_t used, guest = number * layout->block_size,
             needed = min_u64(layout->block_size, ctx->image->info.virtual_size - guest);
    int r = reserve_packed(ctx, block->length);

    if (r == 0 && !ctx->inflater)
        r = inflater_new(layout->zlib_header ? INFLATE_ZLIB : INFLATE_RAW, layout->block_size,
                         &ctx->inflater);
    if (r < 0)
        return r;
    if (__builtin_add_overflow(ctx->inflated, layout->block_size, &ctx->inflated) ||
        ctx->inflated > ctx->inflate_limit)
        return give_up(ctx, "compressed blocks inflate to more than the limit", ctx->inflated,
                       ctx->inflate_limit);
    r = qca_io_read(ctx->image->io, block->offset, ctx->packed, block->length);
    if (r < 0)
        return tell_read(ctx, r, QCA_TABLE_DATA, block->offset);
    if (inflater_run(ctx->inflater, ctx->packed, block->length, &used) &&
        inflater_length(ctx->inflater) >= needed)
        return 0;
    return tell_block(ctx, QCA_ISSUE_COMPRESSED_BAD, number, block->offset, block->length);
}

/* Lengths that lie beside the data take a read for each block: only a deep check does it. */
static int check_compressed(struct block_check *ctx, uint64_t number, struct block block)
{
    const struct block_layout *layout = ctx->layout;
    uint64_t at = block.offset, end;
    int r = 0;

    ctx->check->result->compressed_clusters++;
    if (block.length == 0 && !layout->read_length)
        return tell_block(ctx, QCA_ISSUE_COMPRESSED_BAD, number, at, 0);
    if (ctx->check->options.deep && block.length == 0 && at < ctx->file_size) {
        r = layout->read_length(ctx->image, number, &block);
        if (r == -EBADMSG)
            return tell_block(ctx, QCA_ISSUE_COMPRESSED_BAD, number, at, 0);
        if (r < 0)
            return tell_read(ctx, r, QCA_TABLE_DATA, at);
    }
    if (add_overflows(block.offset, max_u64(block.length, 1), &end) || end > ctx->file_size ||
        block.length > block_length_max(layout))
        return tell_block(ctx, layout->issues.outside, number, at, block.length);
    if (is_on_place(ctx, at, end - at))
        return tell_block(ctx, layout->issues.on_metadata, number, at, end - at);
    r = claims_add(&ctx->claims, at, end - at, number);
    if (r == 1)
        r = tell_block(ctx, layout->issues.twice, number, at, end - at);
    if (r >= 0 && ctx->check->options.deep && block.length > 0)
        r = inflate_block(ctx, number, &block);
    return r;
}

static bool is_aligned(const struct block_layout *layout, uint64_t offset)
{
    return layout->alignment <= 1 || (offset >= layout->data_start &&
                                      (offset - layout->data_start) % layout->alignment == 0);
}

/* Handles a claim's result; too many claims are reported once for all. */
static int claimed(struct block_check *ctx, int r)
{
    if (r == -EFBIG && ctx->check->result->finished)
        return give_up(ctx, "blocks that lie apart are too many for the memory allowed",
                       ctx->claims.n, ctx->check->options.memory_limit);
    return r;
}

/* A block of data at offset, with what leads it. */
static int check_place(struct block_check *ctx, uint64_t number, uint64_t offset)
{
    const struct block_layout *layout = ctx->layout;
    uint64_t guest = number * layout->block_size, start = offset - layout->lead,
             length = layout->lead + layout->block_size,
             used = layout->lead + min_u64(layout->block_size,
                                           ctx->image->info.virtual_size - guest);
    int r;

    if (offset < layout->lead || !is_inside(ctx, start, used))
        return tell_block(ctx,
                          offset < layout->lead || start >= ctx->file_size
                              ? layout->issues.outside
                              : QCA_ISSUE_BLOCK_OUT_OF_FILE,
                          number, start, length);
    if (!is_aligned(layout, start))
        return tell_block(ctx, layout->issues.unaligned, number, start, length);
    if (start < layout->data_start || is_on_place(ctx, start, used))
        return tell_block(ctx, layout->issues.on_metadata, number, start, length);
    ctx->check->result->image_end_offset =
        max_u64(ctx->check->result->image_end_offset,
                min_u64(start + length, ctx->file_size));
    r = claims_add(&ctx->claims, start, length, number);
    return r == 1 ? tell_block(ctx, layout->issues.twice, number, start, length) : r;
}

/* 1: nothing is wrong with any block of the run, as check_place() would find it; 0: that has to
 * look. */
static int add_run(struct block_check *ctx, const struct run *run)
{
    const struct block_layout *layout = ctx->layout;
    uint64_t unit = layout->lead + layout->block_size, length = run->n * unit,
             start = run->offset - layout->lead;
    int r;

    if (run->offset < layout->lead || !is_inside(ctx, start, length) ||
        start < layout->data_start || is_on_place(ctx, start, length) ||
        !is_aligned(layout, start) || (layout->alignment > 1 && unit % layout->alignment != 0))
        return 0;
    r = claims_add_row(&ctx->claims, start, run->n);
    if (r > 0)
        ctx->check->result->image_end_offset =
            max_u64(ctx->check->result->image_end_offset, start + length);
    return r;
}

static int end_run(struct block_check *ctx)
{
    const struct run run = ctx->run;
    uint64_t unit = ctx->layout->lead + ctx->layout->block_size;
    int r;

    ctx->run.n = 0;
    r = run.n > 1 ? add_run(ctx, &run) : 0;
    for (uint64_t i = 0; i < run.n && r == 0; i++)
        r = check_place(ctx, run.number + i, run.offset + i * unit);
    return r < 0 ? claimed(ctx, r) : 0;
}

static int check_data(struct block_check *ctx, uint64_t number, uint64_t offset)
{
    uint64_t start = offset - ctx->layout->lead, next = ctx->next;
    struct run *run = &ctx->run;
    int r;

    ctx->next = start + ctx->layout->lead + ctx->layout->block_size;
    if (next == start && number == run->number + run->n && run->n > 0 && run->n < RUN_MAX &&
        number < ctx->n_whole) {
        run->n++;
        return 0;
    }
    ctx->check->result->fragmented_clusters += next != 0 && start != next;
    r = end_run(ctx);
    *run = (struct run){ number, offset, 1 };
    return r < 0 || number < ctx->n_whole ? r : end_run(ctx);
}

static int check_entry(struct block_check *ctx, uint64_t number, const uint8_t *entry)
{
    struct block block = ctx->layout->entry(ctx->image, number, entry);
    int r = 0;

    switch (block.kind) {
    case BLOCK_PARENT:
    case BLOCK_ZERO:
        return 0;
    case BLOCK_DATA:
    case BLOCK_SECTORS:
        r = check_data(ctx, number, block.offset);
        break;
    case BLOCK_COMPRESSED:
        r = end_run(ctx);
        if (r >= 0)
            r = check_compressed(ctx, number, block);
        break;
    case BLOCK_INVALID:
        r = end_run(ctx);
        if (r >= 0)
            r = tell_block(ctx, block.issue, number, QCA_NO_OFFSET, 0);
        break;
    }
    ctx->check->result->allocated_clusters += block.kind != BLOCK_INVALID;
    return claimed(ctx, r);
}

/* ---- tables ------------------------------------------------------------------------------- */

/* A table that is a hole of the file says the same of each block: mostly nothing. */
static bool says_nothing(const struct block_check *ctx, uint64_t table, uint64_t bytes)
{
    static const uint8_t zeros[8];
    uint64_t offset = table_offset(ctx, table);
    struct io_segment segment = io_segment(ctx->image->io, offset);

    return segment.hole && segment.end - offset >= bytes &&
           ctx->layout->entry(ctx->image, table * ctx->layout->entries, zeros).kind == BLOCK_PARENT;
}

/* Up to the host offset that can be read together with this table. */
static uint64_t tables_end(const struct block_check *ctx, uint64_t table, uint64_t bytes)
{
    uint64_t end = ctx->tables ? table_window_end(ctx->tables + table, ctx->n_tables - table,
                                                  table_bytes(ctx->layout))
                               : table_offset(ctx, table) + bytes;

    return min_u64(end, ctx->file_size);
}

/* Entries that follow the first of these n, which is that of the last block of the run, and go on
 * with it: as many as are looked at. */
static uint32_t run_on(struct block_check *ctx, const uint8_t *entries, uint32_t n)
{
    uint32_t step = ctx->layout->step, first = le32_get(entries), i = 1;
    uint64_t most = min_u64(n, (UINT32_MAX - first) / step + 1);

    if (ctx->run.n == 0 || ctx->run.number + ctx->run.n >= ctx->n_whole)
        return 0;
    most = min_u64(most, ctx->n_whole - (ctx->run.number + ctx->run.n) + 1);
    most = min_u64(most, RUN_MAX - ctx->run.n + 1);
    while (i + BATCH <= most) { /* no branch for each: it is done with vectors */
        uint32_t differ = 0;

        for (uint32_t k = 0; k < BATCH; k++)
            differ |= le32_get(entries + (size_t)(i + k) * 4) ^ (first + (i + k) * step);
        if (differ)
            break;
        i += BATCH;
    }
    while (i < most && le32_get(entries + (size_t)i * 4) == first + i * step)
        i++;
    ctx->run.n += --i;
    ctx->next += i * (ctx->layout->lead + ctx->layout->block_size);
    ctx->check->result->allocated_clusters += i;
    return i;
}

/* n entries, the first of this block. */
static int check_entries(struct block_check *ctx, uint64_t number, const uint8_t *entries,
                         uint32_t n)
{
    unsigned size = ctx->layout->entry_size;
    int r = 0;

    for (uint32_t i = 0; i < n && r >= 0; i++) {
        r = check_entry(ctx, number + i, entries + (size_t)i * size);
        if (ctx->layout->step > 0 && r >= 0 && ctx->run.number + ctx->run.n == number + i + 1)
            i += run_on(ctx, entries + (size_t)i * size, n - i);
    }
    return r;
}

static int check_table(struct block_check *ctx, uint64_t table)
{
    const struct block_layout *layout = ctx->layout;
    uint64_t offset = table_offset(ctx, table), number = table * layout->entries;
    uint32_t n = table_entries(layout, table), per_chunk = TABLE_WINDOW_BYTES / layout->entry_size;
    uint64_t bytes = (uint64_t)n * layout->entry_size;
    int r = check_advance(ctx->check, bytes);

    if (r < 0 || offset == 0 || offset == QCA_NO_OFFSET)
        return r;
    if (!is_inside(ctx, offset, bytes))
        return tell_table(ctx, layout->issues.table_outside, table);
    if (says_nothing(ctx, table, bytes))
        return 0;
    for (uint32_t i = 0; i < n && r >= 0; i += per_chunk) {
        uint32_t now = (uint32_t)min_u64(per_chunk, n - i);
        uint64_t at = offset + (uint64_t)i * layout->entry_size;
        const uint8_t *entries;

        r = table_window_read(&ctx->window, ctx->image->io, at, (uint64_t)now * layout->entry_size,
                              i == 0 ? tables_end(ctx, table, bytes)
                                     : at + (uint64_t)now * layout->entry_size, &entries);
        if (r < 0)
            return tell_read(ctx, r, QCA_TABLE_BLOCK_MAP, at);
        r = check_entries(ctx, number + i, entries, now);
        if (r >= 0)
            r = check_advance(ctx->check, 0);
    }
    return r;
}

static int check_tables(struct block_check *ctx)
{
    int r = 0;

    for (uint64_t i = 0; i < ctx->n_tables && r >= 0; i++)
        r = check_table(ctx, i);
    return r < 0 ? r : end_run(ctx);
}

/* ---- what is left over -------------------------------------------------------------------- */

static int tell_overlap(void *userdata, const struct claim *claim)
{
    struct block_check *ctx = userdata;

    return tell_block(ctx, ctx->layout->issues.twice, claim->number, claim->offset, claim->length);
}

/* Places for blocks that hold something, and that no entry uses. */
static int tell_gaps(struct block_check *ctx)
{
    uint64_t at = ctx->layout->data_start, length;
    int r = 0;

    if (ctx->layout->issues.leak >= _QCA_ISSUE_MAX)
        return 0;
    /* a table that was emptied has no block that tells where the others lie */
    if (!ctx->claims.has_base && at > 0)
        claims_align(&ctx->claims, at);
    for (; r >= 0 && claims_gap(&ctx->claims, &at, ctx->file_size, &length); at += length) {
        struct qca_issue issue = check_issue_new(ctx->layout->issues.leak, QCA_TABLE_DATA);
        struct io_segment segment = io_segment(ctx->image->io, at);

        if (segment.hole && segment.end - at >= ctx->claims.unit)
            length = min_u64(length, (segment.end - at) / ctx->claims.unit * ctx->claims.unit);
        else if (is_on_place(ctx, at, ctx->claims.unit))
            length = ctx->claims.unit;
        else {
            length = ctx->claims.unit;
            issue.index = at / length;
            issue.host_offset = at;
            issue.host_length = length;
            r = check_issue(ctx->check, &issue);
        }
    }
    return r;
}

static void done(struct block_check *ctx)
{
    free(ctx->tables);
    free(ctx->places);
    free(ctx->packed);
    table_window_done(&ctx->window);
    inflater_free(ctx->inflater);
    claims_done(&ctx->claims);
}

static int load_directory(struct block_check *ctx)
{
    struct qca_error error = { .kind = QCA_ERROR_NONE };
    int r;

    if (!ctx->layout->directory)
        return 0;
    r = ctx->layout->directory(ctx->image, ctx->check->options.memory_limit, &error, &ctx->tables);
    if (r < 0 && error.kind != QCA_ERROR_NONE)
        return check_unfinished(ctx->check, r, &error);
    return r;
}

static int run(struct block_check *ctx, const struct block_metadata *metadata, size_t n)
{
    const struct block_layout *layout = ctx->layout;
    int r = load_directory(ctx);

    if (r >= 0)
        r = gather_places(ctx, metadata, n);
    if (r >= 0) {
        r = claims_init(&ctx->claims, layout->lead + layout->block_size, ctx->file_size,
                        ctx->check->options.memory_limit);
        if (r == -ENOMEM)
            return give_up(ctx, "the file has too many blocks for the memory allowed",
                           ctx->file_size / layout->block_size,
                           ctx->check->options.memory_limit);
    }
    if (r >= 0 && layout->alignment == ctx->claims.unit)
        claims_align(&ctx->claims, layout->data_start);
    if (r >= 0)
        r = check_tables(ctx);
    if (r >= 0)
        r = claims_overlaps(&ctx->claims, tell_overlap, ctx);
    return r < 0 ? r : tell_gaps(ctx);
}

int block_check(struct qca_image *image, struct check *check,
                const struct block_metadata *metadata, size_t n)
{
    const struct block_layout *layout = image->format->layout(image);
    struct block_check ctx = { .image = image, .layout = layout, .check = check,
                               .file_size = image->info.file_size,
                               .inflate_limit = check->options.inflate_limit };
    int r;

    if (!layout)
        return 0;
    if (ctx.inflate_limit == 0 &&
        __builtin_mul_overflow(ctx.file_size, (uint64_t)INFLATED_TIMES, &ctx.inflate_limit))
        ctx.inflate_limit = UINT64_MAX;
    ctx.inflate_limit = check->options.inflate_limit ? check->options.inflate_limit
                                                     : max_u64(ctx.inflate_limit, INFLATED_MIN);
    check->result->total_clusters = layout->n_blocks;
    ctx.n_tables = block_layout_tables(layout);
    ctx.n_whole = image->info.virtual_size / layout->block_size;
    check->work_total = layout->n_blocks * layout->entry_size;
    r = run(&ctx, metadata, n);
    done(&ctx);
    return r;
}
