/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the library itself needs of the door to bytes, beyond the public interface. */
#pragma once

#include "cleanup.h"
#include "qcaudit/qcaudit.h"

/* Bytes that are read in place of what the source has. */
struct io_patch {
    uint64_t offset, length;    /* length above 0, within the source */
    const uint8_t *bytes;       /* NULL: zeros */
};

/* Reads io with patches in place, sorted and apart; borrows both. What is read counts as io's. */
int io_new_patched(struct qca_io *io, const struct io_patch *patches, size_t n,
                   struct qca_io **ret_io);

/* Tells the source that these bytes will be read soon. Advice: never fails, costs nothing in
 * memory. */
void io_will_need(struct qca_io *io, uint64_t offset, uint64_t size);

/* As qca_io_read(), of what only tells a format: that the file became shorter is left to be found
 * by who reads its data. */
int io_peek(struct qca_io *io, uint64_t offset, void *buf, size_t size);

/* Reads as qca_io_read() does what can be had without waiting for a device: 1; 0 when that is not
 * all of it, and buf holds anything; -EOPNOTSUPP when the source cannot tell. */
int io_read_cached(struct qca_io *io, uint64_t offset, void *buf, size_t size);

/* Is what lies at offset a hole of the source, and up to where (offset < *ret_end <= size)? False
 * where the source cannot tell. offset is below the size. */
bool io_is_hole(struct qca_io *io, uint64_t offset, uint64_t *ret_end);

/* size bytes of whole, which must outlive it, from offset on, as a file: what is read of it does
 * not count as read from whole, and it has no holes. -EINVAL when they are not all there;
 * -ENOMEM. */
int io_new_part(const struct qca_io *whole, uint64_t offset, uint64_t size, struct qca_io **ret_io);

/* Bytes that the source's file system keeps for it: less than its size where it has holes, or where
 * the file system compresses; its size where nobody counts. Of a file that becomes smaller, what it
 * was. */
uint64_t io_allocated(const struct qca_io *io);

/* True once a read found the file shorter than it was when io was made. */
bool io_shrank(const struct qca_io *io);

/* Bytes of one kind, end is behind the last. */
struct io_segment {
    uint64_t start, end;
    bool hole;                  /* nothing is stored: reads as zeros */
};

/* The kind of range that holds offset, from there or before; past the end of the file, a hole
 * without end. Data where the source does not tell. Asks the source once for each range as offsets
 * grow. */
struct io_segment io_segment(struct qca_io *io, uint64_t offset);

DEFINE_CLEANUP(struct qca_io *, qca_io_free)
#define _cleanup_io_ _cleanup_(qca_io_freep)
