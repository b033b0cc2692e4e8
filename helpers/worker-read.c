/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading past the page cache: O_DIRECT in large aligned pieces; where that cannot be had, what is cached is read from
 * the cache and stays there, and what is not is read and dropped again. */
#include "helpers/worker-read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/bytes.h"
#include "lib/cleanup.h"

/* Aligned enough for any device when the kernel does not say more. */
#define ALIGNMENT_DEFAULT 4096

struct direct_reader {
    int fd;
    int flags;                      /* of fd, without O_DIRECT */
    enum report_reading reading;
    bool proven;                    /* O_DIRECT has worked: an error is the device's */
    size_t alignment, page;         /* bytes */
    int (*before)(void *userdata, size_t size);
    void *userdata;

    uint8_t *buf;                   /* DIRECT_READ_MAX bytes, aligned */
    uint64_t start;                 /* what it holds: from there */
    size_t length;
    uint64_t next;                  /* end of the last piece: who asks for that reads in order */
    size_t ahead;                   /* bytes to read at once when it does */
    uint64_t data_start, data_end;  /* through the cache: there is no hole in between */
};

/* ---- past the cache ----------------------------------------------------------------------- */

static ssize_t read_once(int fd, void *buf, size_t size, uint64_t offset)
{
    ssize_t n;

    do
        n = pread(fd, buf, size, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static bool is_refusal(int r)
{
    return r == -EINVAL || r == -EOPNOTSUPP || r == -ENOSYS;
}

/* From now on through the cache. */
static void give_up_direct(struct direct_reader *reader)
{
    reader->reading = REPORT_READING_UNCACHED;
    if (fcntl(reader->fd, F_SETFL, reader->flags) < 0)
        reader->reading = REPORT_READING_CACHED;
    /* Nothing beside the pages that are asked for may come into the cache, and those of others do not count as used
     * by us. Advice that is not taken costs nothing but that. */
    (void) posix_fadvise(reader->fd, 0, 0, POSIX_FADV_RANDOM);
    (void) posix_fadvise(reader->fd, 0, 0, POSIX_FADV_NOREUSE);
}

/* Fills the buffer from offset, which is aligned: needed bytes, or up to wanted when that works. */
static ssize_t fill_direct(struct direct_reader *reader, uint64_t offset, size_t needed, size_t wanted)
{
    ssize_t n = read_once(reader->fd, reader->buf, wanted, offset);

    /* A bad sector further on is not what was asked for. */
    if (n < 0 && !is_refusal((int)n) && wanted > needed) {
        reader->ahead = 0;
        n = read_once(reader->fd, reader->buf, needed, offset);
    }
    if (n >= 0)
        reader->proven = true;
    return n;
}

/* ---- through the cache, without a trace --------------------------------------------------- */

/* One page from the cache. Its bytes; 0 at the end of the file; -EAGAIN when it is not there. A page of which that is
 * said may be under way by now: it is ours. On a device that answers within the call, a page that was not there
 * looks as if it was, and stays. */
static ssize_t read_cached(const struct direct_reader *reader, uint8_t *buf, size_t size, uint64_t offset)
{
    struct iovec iov = { .iov_base = buf, .iov_len = size };
    ssize_t n;

    do
        n = preadv2(reader->fd, &iov, 1, (off_t)offset, RWF_NOWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Reads the pages, and drops exactly them. */
static ssize_t read_and_drop(const struct direct_reader *reader, uint8_t *buf, size_t size, uint64_t offset)
{
    size_t done = 0;
    ssize_t n = 0;

    while (done < size) {
        n = read_once(reader->fd, buf + done, size - done, offset + done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    (void) posix_fadvise(reader->fd, (off_t)offset, (off_t)size, POSIX_FADV_DONTNEED);
    return n < 0 && done == 0 ? n : (ssize_t)done;
}

/* Bytes of a hole that reach from offset up to size at most. A page of it would be made at once, and look as if it had
 * been in the cache; nothing needs to be read. */
static size_t hole_at(struct direct_reader *reader, uint64_t offset, size_t size)
{
    off_t data, end;

    if (offset >= reader->data_start && offset < reader->data_end)
        return 0;
    data = lseek(reader->fd, (off_t)offset, SEEK_DATA);
    if (data < 0)
        data = errno == ENXIO ? lseek(reader->fd, 0, SEEK_END) : -1;
    if (data > (off_t)offset)
        return min_u64(size, (uint64_t)data - offset);
    end = lseek(reader->fd, (off_t)offset, SEEK_HOLE);
    reader->data_start = offset;
    reader->data_end = data < 0 || end < 0 ? UINT64_MAX : (uint64_t)end;
    return 0;
}

/* Reads what is missing of the buffer from done on; *done grows. 0, or -errno when it could not all be had. */
static int fill_missing(const struct direct_reader *reader, uint64_t offset, size_t *done, size_t missing)
{
    ssize_t n = missing > 0 ? read_and_drop(reader, reader->buf + *done, missing, offset + *done) : 0;

    if (n < 0)
        return (int)n;
    *done += (size_t)n;
    return (size_t)n < missing ? -ENODATA : 0;
}

static ssize_t fill_uncached(struct direct_reader *reader, uint64_t offset, size_t wanted)
{
    size_t done = 0;                /* bytes that are in the buffer; behind them are pages that are not cached */
    int r;

    for (size_t at = 0; at < wanted; at += reader->page) {
        ssize_t n = (ssize_t)hole_at(reader, offset + at, reader->page);

        if (n > 0)
            memset(reader->buf + at, 0, (size_t)n);
        if (n < (ssize_t)reader->page)
            n = read_cached(reader, reader->buf + at, reader->page, offset + at);
        if (n == -EOPNOTSUPP || n == -ENOSYS) {
            reader->reading = REPORT_READING_CACHED;
            return read_once(reader->fd, reader->buf, wanted, offset);
        }
        if (n < 0)                  /* not there, or not to be read: the read that waits tells */
            continue;
        r = fill_missing(reader, offset, &done, at - done);
        if (r < 0)
            return done > 0 || r == -ENODATA ? (ssize_t)done : r;
        done += (size_t)n;
        if ((size_t)n < reader->page)
            return (ssize_t)done;
    }
    r = fill_missing(reader, offset, &done, wanted - done);
    return done > 0 || r == -ENODATA ? (ssize_t)done : r;
}

/* ---- both --------------------------------------------------------------------------------- */

static int64_t fill(struct direct_reader *reader, uint64_t offset, size_t size)
{
    uint64_t start = offset - offset % reader->alignment;
    size_t needed = min_u64(round_up(offset + size - start, reader->alignment), DIRECT_READ_MAX), wanted = needed;
    ssize_t n;
    int r;

    /* Who reads in order gets more, so that the device sees few large reads. */
    reader->ahead = offset == reader->next ? min_u64(2 * max_u64(reader->ahead, needed), DIRECT_READ_MAX) : 0;
    wanted = max_u64(needed, reader->ahead);
    if (reader->before) {
        r = reader->before(reader->userdata, wanted);
        if (r < 0)
            return r;
    }
    reader->length = 0;
    n = -EINVAL;
    if (reader->reading == REPORT_READING_DIRECT) {
        n = fill_direct(reader, start, needed, wanted);
        if (is_refusal((int)n) && !reader->proven)
            give_up_direct(reader);
    }
    if (reader->reading == REPORT_READING_UNCACHED)
        n = fill_uncached(reader, start, wanted);
    else if (reader->reading == REPORT_READING_CACHED)
        n = read_once(reader->fd, reader->buf, needed, start);
    if (n < 0)
        return n;
    reader->start = start;
    reader->length = (size_t)n;
    reader->next = start + (uint64_t)n;
    return 0;
}

int64_t direct_reader_read(void *userdata, uint64_t offset, void *buf, size_t size)
{
    struct direct_reader *reader = userdata;
    uint64_t within;
    size_t n;

    if (offset < reader->start || offset - reader->start >= reader->length) {
        int64_t r = fill(reader, offset, size);

        if (r < 0)
            return r;
    }
    within = offset - reader->start;
    if (within >= reader->length)
        return 0;                   /* behind the end */
    n = min_u64(size, reader->length - within);
    memcpy(buf, reader->buf + within, n);
    return (int64_t)n;
}

enum report_reading direct_reader_reading(const struct direct_reader *reader)
{
    return reader->reading;
}

int direct_reader_new(int fd, uint32_t alignment, int (*before)(void *userdata, size_t size), void *userdata,
                      struct direct_reader **ret_reader)
{
    struct direct_reader *reader = calloc(1, sizeof(*reader));
    bool direct = alignment <= DIRECT_READ_MAX;

    if (!reader)
        return -ENOMEM;
    *reader = (struct direct_reader) {
        .fd = fd, .flags = fcntl(fd, F_GETFL), .reading = REPORT_READING_DIRECT, .before = before,
        .userdata = userdata, .page = (size_t)sysconf(_SC_PAGESIZE), .next = UINT64_MAX,
    };
    reader->alignment = max_u64(direct ? max_u64(alignment, ALIGNMENT_DEFAULT) : 0, reader->page);
    reader->buf = aligned_alloc(reader->alignment, DIRECT_READ_MAX);
    if (!reader->buf)
        return direct_reader_free(reader), -ENOMEM;
    if (reader->flags < 0 || !direct || fcntl(fd, F_SETFL, reader->flags | O_DIRECT) < 0)
        give_up_direct(reader);
    *ret_reader = reader;
    return 0;
}

struct direct_reader *direct_reader_free(struct direct_reader *reader)
{
    if (reader) {
        free(reader->buf);
        free(reader);
    }
    return NULL;
}
