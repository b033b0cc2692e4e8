/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads a sequence of tables of one size, several at once: the next ones are announced ahead where
 * tables are not in the page cache, and read ahead by other threads where there are some. */
#pragma once

#include "format.h"
#include "threads.h"

/* Host offset of table number i, or QCA_NO_OFFSET when there is nothing to read. */
typedef uint64_t (*table_offset_fn)(const void *tables, size_t i);

struct table_batch;

struct table_reader {
    struct qca_image *image;
    struct qca_threads *threads;
    const void *tables;
    size_t n_tables;
    table_offset_fn offset;
    uint64_t table_size;        /* bytes of one */
    size_t batch_tables;        /* numbers that a batch spans */
    struct table_batch *batches;    /* a ring: the one in use, and behind it those that are being
                                     * read */
    size_t n_batches;
    size_t current, n_ahead;
    bool probed;
    size_t announced;           /* tables up to here have been */
    size_t announce_end;        /* from here on none need be */
    size_t persistence;         /* tables that are announced once one had to be waited for */
};

/* Bytes that a reader of tables of this size allocates: a small image needs few. */
uint64_t table_reader_memory(const struct qca_image *image, uint64_t table_size,
                             struct qca_threads *threads);
/* -ENOMEM. threads may be NULL. tables must outlive the reader. */
int table_reader_init(struct table_reader *reader, struct qca_image *image, uint64_t table_size,
                      struct qca_threads *threads);
void table_reader_done(struct table_reader *reader);
/* Another sequence. */
void table_reader_set(struct table_reader *reader, const void *tables, size_t n_tables,
                      table_offset_fn offset);
/* Table i, valid until the next call; cheap when i only grows. Its offset must not be
 * QCA_NO_OFFSET. */
int table_reader_get(struct table_reader *reader, size_t i, const uint8_t **ret_table);
