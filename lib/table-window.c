/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables that lie side by side, read together: small ones cost a system call each otherwise. */
#include "table-window.h"

#include <errno.h>
#include <stdlib.h>

#include "bytes.h"

int table_window_read(struct table_window *window, struct qca_io *io, uint64_t offset,
                      uint64_t size, uint64_t end, const uint8_t **ret_bytes)
{
    int r = 0;

    if (!window->bytes)
        window->bytes = malloc(TABLE_WINDOW_BYTES);
    if (!window->bytes)
        return -ENOMEM;
    if (!table_window_has(window, offset, size)) {
        end = min_u64(end, offset + TABLE_WINDOW_BYTES);
        window->start = window->end = 0;
        r = qca_io_read(io, offset, window->bytes, (size_t)(end - offset));
        if (r < 0 && end > offset + size) {
            end = offset + size;
            r = qca_io_read(io, offset, window->bytes, (size_t)size);
        }
        if (r < 0)
            return r;
        window->start = offset;
        window->end = end;
    }
    *ret_bytes = window->bytes + (offset - window->start);
    return 0;
}

uint64_t table_window_end(const uint64_t *offsets, uint64_t n, uint64_t bytes)
{
    uint64_t length = bytes;

    for (uint64_t i = 1; i < n && length + bytes <= TABLE_WINDOW_BYTES; i++) {
        if (offsets[i] != offsets[0] + length)
            break;
        length += bytes;
    }
    return offsets[0] + length;
}

void table_window_done(struct table_window *window)
{
    free(window->bytes);
    *window = (struct table_window){ .bytes = NULL };
}
