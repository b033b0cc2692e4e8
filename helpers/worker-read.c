/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading past the page cache: O_DIRECT in large aligned pieces, for who reads in order by a thread
 * that is ahead; where that cannot be had, what is cached is read from the cache and stays there,
 * and what is not is read and dropped again. */
#include "helpers/worker-read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "helpers/worker-uncached.h"
#include "lib/bytes.h"
#include "lib/cleanup.h"
#include "lib/threads.h"

/* Aligned enough for any device when the kernel does not say more. */
#define ALIGNMENT_DEFAULT 4096

/* The one that is used, and those ahead: while one is hashed another is read, and the next waits
 * for its turn. */
#define PIECES 3

/* Bytes of the file. */
struct piece {
    struct thread_job job;          /* that reads it: the first member */
    int fd;
    uint8_t *buf;                   /* DIRECT_READ_MAX bytes, aligned; NULL: not used yet */
    uint64_t start;                 /* what it holds: from there */
    size_t wanted;                  /* of one ahead: bytes that were asked for, */
    ssize_t length;                 /* that are there; of one ahead -errno, too */
};

struct direct_reader {
    int fd;
    int flags;                      /* of fd, without O_DIRECT */
    enum report_reading reading;
    bool proven;                    /* O_DIRECT has worked: an error is the device's */
    size_t alignment;               /* bytes: whole pages */
    int (*before)(void *userdata, size_t size);
    void *userdata;

    struct qca_threads *threads;    /* that read ahead, or NULL */
    uint64_t size;                  /* of the file: nothing is read ahead behind it */
    struct piece pieces[PIECES];    /* a ring, from the one that is used on */
    size_t current, n_ahead;
    uint64_t next;                  /* end of the last piece: who asks for that reads in order */
    size_t ahead;                   /* bytes to read at once when it does */
    struct uncached uncached;       /* instead of O_DIRECT */
};

/* ---- past the cache ----------------------------------------------------------------------- */

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
    uncached_init(&reader->uncached, reader->fd);
}

/* Fills a buffer from offset, which is aligned: needed bytes, or up to wanted when that works. */
static ssize_t fill_direct(struct direct_reader *reader, uint8_t *buf, uint64_t offset,
                           size_t needed, size_t wanted)
{
    ssize_t n = read_once(reader->fd, buf, wanted, offset);

    /* A bad sector further on is not what was asked for. */
    if (n < 0 && !is_refusal((int)n) && wanted > needed) {
        reader->ahead = 0;
        n = read_once(reader->fd, buf, needed, offset);
    }
    if (n >= 0)
        reader->proven = true;
    return n;
}

/* ---- ahead -------------------------------------------------------------------------------- */

static void read_ahead(struct thread_job *job)
{
    struct piece *piece = (struct piece *)(void *)job;

    piece->length = read_once(piece->fd, piece->buf, piece->wanted, piece->start);
}

static struct piece *piece_at(struct direct_reader *reader, size_t ahead)
{
    return &reader->pieces[(reader->current + ahead) % PIECES];
}

/* None is ahead any more. */
static void drop_ahead(struct direct_reader *reader)
{
    for (; reader->n_ahead > 0; reader->n_ahead--)
        threads_drop(reader->threads, &piece_at(reader, reader->n_ahead)->job);
}

static int have_buffer(const struct direct_reader *reader, struct piece *piece)
{
    if (piece->buf)
        return 0;
    piece->buf = aligned_alloc(reader->alignment, DIRECT_READ_MAX);
    if (!piece->buf)
        return -ENOMEM;
    /* btrfs reads through the cache into pages that were never touched, and leaves that there */
    memset(piece->buf, 0, DIRECT_READ_MAX);
    return 0;
}

/* Has the pieces behind the last one read, one after the other. What stops that is met again, and
 * told, when they are asked for. */
static void go_ahead(struct direct_reader *reader)
{
    while (threads_count(reader->threads) > 1 && reader->n_ahead < PIECES - 1) {
        const struct piece *last = piece_at(reader, reader->n_ahead);
        struct piece *piece = piece_at(reader, reader->n_ahead + 1);
        uint64_t start = reader->n_ahead > 0 ? last->start + last->wanted : reader->next;

        if (start >= reader->size || start % reader->alignment > 0 ||
            have_buffer(reader, piece) < 0)
            break;
        piece->start = start;
        piece->wanted = min_u64(round_up(reader->size - start, reader->alignment), DIRECT_READ_MAX);
        if (reader->before && reader->before(reader->userdata, piece->wanted) < 0)
            break;
        piece->job = (struct thread_job) { .run = read_ahead };
        threads_submit(reader->threads, &piece->job);
        reader->n_ahead++;
    }
}

static bool piece_has(const struct piece *piece, uint64_t offset)
{
    return piece->length > 0 && offset >= piece->start &&
           offset - piece->start < (uint64_t)piece->length;
}

/* Is offset in a piece that was read ahead? That is the current one then. Tables that are read in
 * between do not end what is ahead of the data. */
static bool take_ahead(struct direct_reader *reader, uint64_t offset)
{
    while (reader->n_ahead > 0 && offset >= piece_at(reader, 1)->start) {
        struct piece *piece = piece_at(reader, 1);
        bool in = offset - piece->start < piece->wanted;

        if (in)
            threads_await(reader->threads, &piece->job);
        else
            threads_drop(reader->threads, &piece->job);
        reader->current = (reader->current + 1) % PIECES;
        reader->n_ahead--;
        if (!in) {
            piece->length = 0;
            continue;
        }
        if (piece_has(piece, offset)) {
            reader->next = piece->start + (uint64_t)piece->length;
            return true;
        }
        /* An error, or the end: to be met, and told, by a read of what is asked for and no more. */
        piece->length = 0;
        reader->next = UINT64_MAX;
        drop_ahead(reader);
    }
    return false;
}

/* ---- all of it ---------------------------------------------------------------------------- */

static int64_t fill(struct direct_reader *reader, uint64_t offset, size_t size)
{
    uint64_t start = offset - offset % reader->alignment;
    size_t needed = min_u64(round_up(offset + size - start, reader->alignment), DIRECT_READ_MAX),
           wanted = needed;
    struct piece *piece;
    ssize_t n;
    int r;

    if (take_ahead(reader, offset)) {
        go_ahead(reader);
        return 0;
    }
    piece = piece_at(reader, 0);
    piece->length = 0;
    r = have_buffer(reader, piece);
    if (r < 0)
        return r;
    /* A caller that reads in order gets more, so that the device sees few large reads. */
    reader->ahead = offset == reader->next
                        ? min_u64(2 * max_u64(reader->ahead, needed), DIRECT_READ_MAX)
                        : 0;
    if (reader->ahead > 0)
        drop_ahead(reader);         /* somebody reads elsewhere in order */
    wanted = max_u64(needed, reader->ahead);
    if (reader->before) {
        r = reader->before(reader->userdata, wanted);
        if (r < 0)
            return r;
    }
    n = -EINVAL;
    if (reader->reading == REPORT_READING_DIRECT) {
        n = fill_direct(reader, piece->buf, start, needed, wanted);
        if (is_refusal((int)n) && !reader->proven)
            give_up_direct(reader);
    }
    if (reader->reading == REPORT_READING_UNCACHED) {
        n = uncached_read(&reader->uncached, piece->buf, start, wanted);
        if (n == -EOPNOTSUPP)
            reader->reading = REPORT_READING_CACHED;
    }
    if (reader->reading == REPORT_READING_CACHED)
        n = read_once(reader->fd, piece->buf, needed, start);
    if (n < 0)
        return n;
    piece->start = start;
    piece->length = n;
    reader->next = start + (uint64_t)n;
    if (reader->reading == REPORT_READING_DIRECT && reader->ahead == DIRECT_READ_MAX)
        go_ahead(reader);
    return 0;
}

int64_t direct_reader_read(void *userdata, uint64_t offset, void *buf, size_t size)
{
    struct direct_reader *reader = userdata;
    const struct piece *piece = piece_at(reader, 0);
    uint64_t within;
    size_t n;

    if (!piece_has(piece, offset)) {
        int64_t r = fill(reader, offset, size);

        if (r < 0)
            return r;
        piece = piece_at(reader, 0);
        if (!piece_has(piece, offset))
            return 0;               /* past the end */
    }
    within = offset - piece->start;
    n = min_u64(size, (uint64_t)piece->length - within);
    memcpy(buf, piece->buf + within, n);
    return (int64_t)n;
}

enum report_reading direct_reader_reading(const struct direct_reader *reader)
{
    return reader->reading;
}

int direct_reader_new(int fd, uint32_t alignment, struct qca_threads *threads,
                      int (*before)(void *userdata, size_t size), void *userdata,
                      struct direct_reader **ret_reader)
{
    struct direct_reader *reader = calloc(1, sizeof(*reader));
    bool direct = alignment <= DIRECT_READ_MAX;
    off_t end = lseek(fd, 0, SEEK_END);

    if (!reader)
        return -ENOMEM;
    *reader = (struct direct_reader) {
        .fd = fd, .flags = fcntl(fd, F_GETFL), .reading = REPORT_READING_DIRECT, .before = before,
        .userdata = userdata, .next = UINT64_MAX, .threads = threads,
        .size = end > 0 ? (uint64_t)end : 0,
    };
    reader->alignment = max_u64(direct ? max_u64(alignment, ALIGNMENT_DEFAULT) : 0,
                                (uint64_t)sysconf(_SC_PAGESIZE));
    for (size_t i = 0; i < PIECES; i++)
        reader->pieces[i].fd = fd;
    if (have_buffer(reader, &reader->pieces[0]) < 0)
        return direct_reader_free(reader), -ENOMEM;
    if (reader->flags < 0 || !direct || fcntl(fd, F_SETFL, reader->flags | O_DIRECT) < 0)
        give_up_direct(reader);
    *ret_reader = reader;
    return 0;
}

struct direct_reader *direct_reader_free(struct direct_reader *reader)
{
    if (reader) {
        drop_ahead(reader);
        for (size_t i = 0; i < PIECES; i++)
            free(reader->pieces[i].buf);
        free(reader);
    }
    return NULL;
}
