/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables that lie side by side, read together. */
#pragma once

#include "qcaudit/qcaudit.h"

#define TABLE_WINDOW_BYTES (UINT64_C(64) << 10)

struct table_window {
    uint8_t *bytes;             /* TABLE_WINDOW_BYTES; NULL before the first read */
    uint64_t start, end;        /* host offsets of what is in it */
};

/* size bytes at this offset, at most TABLE_WINDOW_BYTES, which are valid until the next call. The
 * tables go on up to end (at least offset + size): what of them fits in the window is read with
 * these, unless that fails. 0, -ENOMEM, or what the read gave. */
int table_window_read(struct table_window *window, struct qca_io *io, uint64_t offset,
                      uint64_t size, uint64_t end, const uint8_t **ret_bytes);
/* The end of the tables, bytes long each, that lie one after the other from the first of these n
 * host offsets on; no further than a window reaches. n above 0. */
uint64_t table_window_end(const uint64_t *offsets, uint64_t n, uint64_t bytes);
/* The next read of these bytes needs none from the file. */
static inline bool table_window_has(const struct table_window *window, uint64_t offset,
                                    uint64_t size)
{
    return offset >= window->start && offset + size <= window->end;
}

void table_window_done(struct table_window *window);
