/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Batched reads of tables with look-ahead. */
#include "table-reader.h"

#include "io.h"
#include "qcow2.h"

#define BATCH_BYTES (UINT64_C(1) << 20)
#define AHEAD_TABLES 64
#define AHEAD_BYTES (UINT64_C(16) << 20)

uint64_t table_reader_memory(const struct qca_image *image, uint64_t table_size)
{
    return max_u64(table_size, min_u64(BATCH_BYTES, image->info.file_size));
}

int table_reader_init(struct table_reader *reader, struct qca_image *image, uint64_t table_size)
{
    *reader = (struct table_reader) {
        .image = image,
        .table_size = table_size,
        .buf_size = table_reader_memory(image, table_size),
    };
    reader->buf = malloc(reader->buf_size);
    return reader->buf ? 0 : -ENOMEM;
}

void table_reader_done(struct table_reader *reader)
{
    free(reader->buf);
    reader->buf = NULL;
}

void table_reader_set(struct table_reader *reader, const void *tables, size_t n_tables,
                      table_offset_fn offset)
{
    reader->tables = tables;
    reader->n_tables = n_tables;
    reader->offset = offset;
    reader->announced = 0;
}

/* Number of tables from i on that follow each other on the host, up to limit bytes. */
static size_t neighbours(const struct table_reader *reader, size_t i, uint64_t limit)
{
    uint64_t start = reader->offset(reader->tables, i);
    size_t n = 1;

    while (i + n < reader->n_tables && (n + 1) * reader->table_size <= limit &&
           reader->offset(reader->tables, i + n) == start + n * reader->table_size)
        n++;
    return n;
}

/* Announces in steps of half the distance: a system call per table would cost more than a cached
 * read. */
static void announce(struct table_reader *reader, size_t i)
{
    size_t distance = min_u64(AHEAD_TABLES, AHEAD_BYTES / reader->table_size);

    if (reader->announced > i + distance / 2)
        return;
    if (reader->announced <= i)
        reader->announced = i + 1;
    while (reader->announced < reader->n_tables && reader->announced <= i + distance) {
        uint64_t start = reader->offset(reader->tables, reader->announced);
        size_t n = neighbours(reader, reader->announced, AHEAD_BYTES);

        if (start != QCA_NO_OFFSET)
            io_will_need(reader->image->io, start, n * reader->table_size);
        reader->announced += n;
    }
}

int table_reader_get(struct table_reader *reader, size_t i, const uint8_t **ret_table)
{
    uint64_t start = reader->offset(reader->tables, i);
    int r;

    if (reader->length < reader->table_size || start < reader->start ||
        start - reader->start > reader->length - reader->table_size) {
        size_t n = neighbours(reader, i, reader->buf_size);

        announce(reader, i + n - 1);
        reader->length = 0;
        r = qcow2_read(reader->image, start, reader->buf, n * reader->table_size);
        if (r < 0 && n > 1) {
            /* One bad block must not take its neighbours with it. */
            n = 1;
            r = qcow2_read(reader->image, start, reader->buf, reader->table_size);
        }
        if (r < 0)
            return r;
        reader->start = start;
        reader->length = n * reader->table_size;
    }
    *ret_table = reader->buf + (start - reader->start);
    return 0;
}
