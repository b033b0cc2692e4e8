/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads a sequence of tables of one size: neighbours with one read, the next ones announced
 * ahead. */
#pragma once

#include "format.h"

/* Host offset of table number i, or QCA_NO_OFFSET when there is nothing to read. */
typedef uint64_t (*table_offset_fn)(const void *tables, size_t i);

struct table_reader {
    struct qca_image *image;
    const void *tables;
    size_t n_tables;
    table_offset_fn offset;
    uint64_t table_size;        /* bytes of one */
    uint8_t *buf;
    uint64_t buf_size;
    uint64_t start;             /* host offset and bytes of what buf holds */
    uint64_t length;
    size_t announced;           /* tables up to here have been */
};

/* Bytes that a reader of tables of this size allocates: a small image needs few. */
uint64_t table_reader_memory(const struct qca_image *image, uint64_t table_size);
/* -ENOMEM. tables must outlive the reader. */
int table_reader_init(struct table_reader *reader, struct qca_image *image, uint64_t table_size);
void table_reader_done(struct table_reader *reader);
/* Another sequence; what was read stays usable. */
void table_reader_set(struct table_reader *reader, const void *tables, size_t n_tables,
                      table_offset_fn offset);
/* Table i, valid until the next call; cheap when i only grows. Its offset must not be
 * QCA_NO_OFFSET. */
int table_reader_get(struct table_reader *reader, size_t i, const uint8_t **ret_table);
