/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading through the page cache without a trace in it, for where O_DIRECT cannot be had. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Bytes that one reading gives at most. */
#define UNCACHED_READ_MAX (UINT32_C(1) << 20)

/* pread(), begun again when a signal came: bytes, or -errno. */
ssize_t read_once(int fd, void *buf, size_t size, uint64_t offset);

/* One per file, from uncached_init() on; nothing to free. */
struct uncached {
    int fd;                         /* the caller's */
    size_t page;                    /* bytes */
    bool counted;                   /* the kernel counts what it reads from this file's devices
                                     * for us as our thread's */
};

void uncached_init(struct uncached *uncached, int fd);
/* Reads from offset, which is a multiple of the page, like pread(): what is cached comes from the
 * cache and stays there; what is not is read, and dropped again. size is a multiple of the page.
 * Bytes, fewer at the end of the file or before what cannot be read; 0 past the end; -errno when
 * nothing could be read; -EOPNOTSUPP: it cannot be done without a trace here, and nothing was. */
ssize_t uncached_read(struct uncached *uncached, uint8_t *buf, uint64_t offset, size_t size);
