/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Batched reads of tables with look-ahead. */
#include "table-reader.h"

#include "io.h"
#include "qcow2.h"

#define BATCH_BYTES (UINT64_C(256) << 10)       /* stays in a core's cache */
#define AHEAD_TABLES 64
#define AHEAD_BYTES (UINT64_C(16) << 20)
#define PERSISTENCE 256         /* four times as much each time again */

enum { BATCHES = 4 };           /* with other threads; else one */

/* Tables [first, first + n), of which those without an offset are left out. Filled by its job. */
struct table_batch {
    struct thread_job job;      /* the first member */
    struct qca_image *image;
    uint64_t table_size;
    size_t first, n;
    uint64_t *offsets;
    int *results;               /* of each table: 0 or -errno */
    bool announced;             /* it was: the reading is not worth a try without waiting */
    bool missed;                /* not all of it was in the page cache */
    uint8_t *buf;
};

static size_t tables_per_batch(const struct qca_image *image, uint64_t table_size)
{
    uint64_t bytes = min_u64(BATCH_BYTES, image->info.file_size);

    return bytes > table_size ? bytes / table_size : 1;
}

static size_t batches(struct qca_threads *threads)
{
    return threads_count(threads) > 1 ? BATCHES : 1;
}

uint64_t table_reader_memory(const struct qca_image *image, uint64_t table_size,
                             struct qca_threads *threads)
{
    size_t n = tables_per_batch(image, table_size);

    return batches(threads) *
        (sizeof(struct table_batch) + n * (table_size + sizeof(uint64_t) + sizeof(int)));
}

int table_reader_init(struct table_reader *reader, struct qca_image *image, uint64_t table_size,
                      struct qca_threads *threads)
{
    *reader = (struct table_reader) {
        .image = image,
        .threads = threads,
        .table_size = table_size,
        .batch_tables = tables_per_batch(image, table_size),
        .n_batches = batches(threads),
    };
    reader->batches = calloc(reader->n_batches, sizeof(*reader->batches));
    if (!reader->batches)
        return -ENOMEM;
    for (size_t i = 0; i < reader->n_batches; i++) {
        struct table_batch *batch = &reader->batches[i];

        batch->image = image;
        batch->table_size = table_size;
        batch->offsets = malloc(reader->batch_tables * sizeof(*batch->offsets));
        batch->results = malloc(reader->batch_tables * sizeof(*batch->results));
        batch->buf = malloc(reader->batch_tables * table_size);
        if (!batch->offsets || !batch->results || !batch->buf)
            return -ENOMEM;
    }
    return 0;
}

/* Number i of the ring, from the one in use on. */
static struct table_batch *batch_at(const struct table_reader *reader, size_t i)
{
    return &reader->batches[(reader->current + i) % reader->n_batches];
}

static void forget_ahead(struct table_reader *reader)
{
    for (size_t i = 1; i <= reader->n_ahead; i++)
        threads_drop(reader->threads, &batch_at(reader, i)->job);
    reader->n_ahead = 0;
}

void table_reader_done(struct table_reader *reader)
{
    if (!reader->batches)
        return;
    forget_ahead(reader);
    for (size_t i = 0; i < reader->n_batches; i++) {
        free(reader->batches[i].offsets);
        free(reader->batches[i].results);
        free(reader->batches[i].buf);
    }
    free(reader->batches);
    reader->batches = NULL;
}

void table_reader_set(struct table_reader *reader, const void *tables, size_t n_tables,
                      table_offset_fn offset)
{
    forget_ahead(reader);
    batch_at(reader, 0)->n = 0;
    reader->tables = tables;
    reader->n_tables = n_tables;
    reader->offset = offset;
    reader->announced = reader->announce_end = 0;
    reader->probed = false;
    reader->persistence = PERSISTENCE;
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

/* Announces in steps of half the distance. What is cached is better not announced: that costs as
 * much as reading it. */
static void announce(struct table_reader *reader, size_t i)
{
    size_t distance = min_u64(AHEAD_TABLES, AHEAD_BYTES / reader->table_size);

    if (i >= reader->announce_end || reader->announced > i + distance / 2)
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

/* Table i had to be waited for, or will have to be. */
static void missed(struct table_reader *reader, size_t i)
{
    reader->announce_end = i + reader->persistence;
    if (reader->persistence < SIZE_MAX / 8)
        reader->persistence *= 4;
}

/* Before the first read of a sequence: a look at one in the middle, as the first tables may just
 * have come with the header. */
static void probe(struct table_reader *reader, size_t first)
{
    uint64_t offset = reader->offset(reader->tables, first + (reader->n_tables - first) / 2);
    uint8_t sector[512];

    if (!reader->probed && offset != QCA_NO_OFFSET &&
        qcow2_read_cached(reader->image, offset, sector, sizeof(sector)) != 1)
        missed(reader, first);
    reader->probed = true;
}

/* ---- batches ------------------------------------------------------------------------------ */

static uint8_t *batch_table(const struct table_batch *batch, size_t i)
{
    return batch->buf + i * batch->table_size;
}

/* Tables [i, i + n) of the batch, which follow each other on the host. One bad block must not take
 * its neighbours with it. */
static void batch_read_run(struct table_batch *batch, size_t i, size_t n)
{
    int r;

    if (!batch->announced && qcow2_read_cached(batch->image, batch->offsets[i],
                                               batch_table(batch, i), n * batch->table_size) == 1) {
        memset(batch->results + i, 0, n * sizeof(*batch->results));
        return;
    }
    if (!batch->announced && !batch->missed)
        for (size_t k = i + n; k < batch->n; k++)
            if (batch->offsets[k] != QCA_NO_OFFSET)
                io_will_need(batch->image->io, batch->offsets[k], batch->table_size);
    batch->missed = true;
    r = qcow2_read(batch->image, batch->offsets[i], batch_table(batch, i), n * batch->table_size);
    for (size_t k = i; k < i + n; k++)
        batch->results[k] = r == 0 || n == 1 ? r
            : qcow2_read(batch->image, batch->offsets[k], batch_table(batch, k), batch->table_size);
}

/* On any thread: touches nothing but the batch and the image's door to bytes. */
static void batch_read(struct thread_job *job)
{
    struct table_batch *batch = (struct table_batch *)(void *)job;
    const uint64_t *offsets = batch->offsets;

    for (size_t i = 0, n; i < batch->n; i += n) {
        n = 1;
        if (offsets[i] == QCA_NO_OFFSET)
            continue;
        if (i > 0 && offsets[i] == offsets[i - 1]) {
            memcpy(batch_table(batch, i), batch_table(batch, i - 1), batch->table_size);
            batch->results[i] = batch->results[i - 1];
            continue;
        }
        while (i + n < batch->n && offsets[i + n] == offsets[i] + n * batch->table_size)
            n++;
        batch_read_run(batch, i, n);
    }
}

/* Hands number `ahead` of the ring to the threads, for tables from first on. */
static void batch_begin(struct table_reader *reader, size_t ahead, size_t first)
{
    struct table_batch *batch = batch_at(reader, ahead);

    batch->first = first;
    batch->n = min_u64(reader->batch_tables, reader->n_tables - first);
    for (size_t i = 0; i < batch->n; i++)
        batch->offsets[i] = reader->offset(reader->tables, first + i);
    batch->missed = false;
    batch->job = (struct thread_job) { .run = batch_read };
    probe(reader, first);
    batch->announced = first < reader->announce_end;
    announce(reader, first);
    threads_submit(reader->threads, &batch->job);
}

/* Fills the ring behind the batch in use. */
static void read_ahead(struct table_reader *reader)
{
    const struct table_batch *last = batch_at(reader, reader->n_ahead);
    size_t next = last->first + last->n;

    while (reader->n_ahead + 1 < reader->n_batches) {
        while (next < reader->n_tables && reader->offset(reader->tables, next) == QCA_NO_OFFSET)
            next++;
        if (next >= reader->n_tables)
            return;
        batch_begin(reader, ++reader->n_ahead, next);
        next += batch_at(reader, reader->n_ahead)->n;
    }
}

static bool batch_has(const struct table_batch *batch, size_t i)
{
    return i >= batch->first && i - batch->first < batch->n;
}

/* Makes the batch that has table i the one in use. */
static void move_on(struct table_reader *reader, size_t i)
{
    while (reader->n_ahead > 0 && i >= batch_at(reader, 1)->first) {
        reader->current = (reader->current + 1) % reader->n_batches;
        reader->n_ahead--;
        if (batch_has(batch_at(reader, 0), i))
            break;
        threads_drop(reader->threads, &batch_at(reader, 0)->job);
    }
    if (!batch_has(batch_at(reader, 0), i)) {
        forget_ahead(reader);
        batch_begin(reader, 0, i);
    }
    /* what comes next first, so that other threads have something to do */
    read_ahead(reader);
    threads_wait(reader->threads, &batch_at(reader, 0)->job);
    if (batch_at(reader, 0)->missed && i >= reader->announce_end)
        missed(reader, i);
}

int table_reader_get(struct table_reader *reader, size_t i, const uint8_t **ret_table)
{
    const struct table_batch *batch = batch_at(reader, 0);

    if (!batch_has(batch, i)) {
        move_on(reader, i);
        batch = batch_at(reader, 0);
    }
    if (batch->results[i - batch->first] < 0)
        return batch->results[i - batch->first];
    *ret_table = batch_table(batch, i - batch->first);
    return 0;
}
