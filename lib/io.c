/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The door to bytes: bounded reads from a file descriptor or from memory. */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bytes.h"

struct qca_io {
    int fd;                     /* -1: data */
    qca_read_fn read;           /* NULL: from fd itself */
    void *userdata;
    const uint8_t *data;
    uint64_t base;              /* of a part: where it begins in what fd or read give */
    uint64_t size, allocated;
    atomic_uint_fast64_t bytes_read;    /* several threads may read at once */
    atomic_bool shrank;         /* a read ended before size */
    struct qca_io *below;       /* with patches: what is read, and counts what was; else NULL */
    const struct io_patch *patches;
    size_t n_patches;
    struct io_segment segment;  /* the last that was asked for; end 0: none yet */
};

/* Not the C library's, which may ask by a path that is empty: what is confined has no paths. */
static int stat_descriptor(int fd, struct stat *ret_stat)
{
#if defined SYS_fstat && __SIZEOF_LONG__ == 8
    return (int)syscall(SYS_fstat, fd, ret_stat);
#else
    errno = ENOSYS;
    return -1;
#endif
}

/* Nobody counts the blocks of a device, or of memory. */
static uint64_t allocated_now(const struct qca_io *io)
{
    struct stat st;

    if (io->fd < 0 || stat_descriptor(io->fd, &st) < 0 || !S_ISREG(st.st_mode))
        return io->size;
    return min_u64(io->size, (uint64_t)st.st_blocks * 512);
}

static int io_new(int fd, const void *data, uint64_t size, struct qca_io **ret_io)
{
    struct qca_io *io = malloc(sizeof(*io));

    if (!io)
        return -ENOMEM;
    *io = (struct qca_io) { .fd = fd, .data = data, .size = size };
    io->allocated = allocated_now(io);
    *ret_io = io;
    return 0;
}

int qca_io_new_fd(int fd, struct qca_io **ret_io)
{
    off_t size = lseek(fd, 0, SEEK_END);

    if (size < 0)
        return -errno;
    return io_new(fd, NULL, (uint64_t)size, ret_io);
}

int qca_io_new_reader(int fd, qca_read_fn read, void *userdata, struct qca_io **ret_io)
{
    int r = qca_io_new_fd(fd, ret_io);

    if (r < 0)
        return r;
    (*ret_io)->read = read;
    (*ret_io)->userdata = userdata;
    return 0;
}

int io_new_patched(struct qca_io *io, const struct io_patch *patches, size_t n,
                   struct qca_io **ret_io)
{
    int r = io_new(io->fd, io->data, io->size, ret_io);

    if (r < 0)
        return r;
    (*ret_io)->read = io->read;
    (*ret_io)->userdata = io->userdata;
    (*ret_io)->below = io;
    (*ret_io)->patches = patches;
    (*ret_io)->n_patches = n;
    return 0;
}

int qca_io_new_memory(const void *data, size_t size, struct qca_io **ret_io)
{
    return io_new(-1, data, size, ret_io);
}

int io_new_part(const struct qca_io *whole, uint64_t offset, uint64_t size, struct qca_io **ret_io)
{
    struct qca_io *io;
    int r;

    if (offset > whole->size || size > whole->size - offset)
        return -EINVAL;
    r = io_new(-1, whole->data ? whole->data + offset : NULL, size, &io);
    if (r < 0)
        return r;
    io->fd = whole->fd;
    io->read = whole->read;
    io->userdata = whole->userdata;
    io->base = whole->base + offset;
    *ret_io = io;
    return 0;
}

void qca_io_free(struct qca_io *io)
{
    free(io);
}

uint64_t qca_io_size(const struct qca_io *io)
{
    return io->size;
}

uint64_t qca_io_bytes_read(const struct qca_io *io)
{
    return io->bytes_read;
}

/* The first patch that ends behind offset; n_patches: none does. */
static size_t find_patch(const struct qca_io *io, uint64_t offset)
{
    size_t low = 0, high = io->n_patches;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (io->patches[middle].offset + io->patches[middle].length > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void apply_patches(const struct qca_io *io, uint64_t offset, uint8_t *buf, size_t size)
{
    for (size_t i = find_patch(io, offset); i < io->n_patches; i++) {
        const struct io_patch *patch = &io->patches[i];
        uint64_t start = max_u64(patch->offset, offset),
                 end = min_u64(patch->offset + patch->length, offset + size);

        if (patch->offset >= offset + size)
            break;
        if (patch->bytes)
            memcpy(buf + (start - offset), patch->bytes + (start - patch->offset), end - start);
        else
            memset(buf + (start - offset), 0, end - start);
    }
}

/* Reads what the file still has of size bytes; *ret_done is less when it shrank meanwhile. */
static int read_source(const struct qca_io *io, uint64_t offset, uint8_t *buf, size_t size,
                       size_t *ret_done)
{
    size_t done = 0;

    offset += io->base;
    while (done < size) {
        int64_t n = io->read ? io->read(io->userdata, offset + done, buf + done, size - done)
                             : pread(io->fd, buf + done, size - done, (off_t)(offset + done));

        if (n < 0) {
            int r = io->read ? (int)n : -errno;

            if (r == -EINTR)
                continue;
            return r;
        }
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *ret_done = done;
    return 0;
}

static int io_get(struct qca_io *io, uint64_t offset, void *buf, size_t size, bool *ret_short)
{
    uint64_t end;
    size_t inside, done = 0;
    int r;

    if (add_overflows(offset, size, &end) || end > INT64_MAX)
        return -EINVAL;
    if (io->below) {
        r = io_get(io->below, offset, buf, size, ret_short);
        if (r == 0)
            apply_patches(io, offset, buf, size);
        return r;
    }

    inside = offset < io->size ? (size_t)min_u64(size, io->size - offset) : 0;
    if (inside > 0 && io->fd >= 0) {
        r = read_source(io, offset, buf, inside, &done);
        if (r < 0)
            return r;
    } else if (inside > 0) {
        memcpy(buf, io->data + offset, inside);
        done = inside;
    }
    *ret_short = done < inside;
    if (done < size)
        memset((uint8_t *)buf + done, 0, size - done);
    atomic_fetch_add_explicit(&io->bytes_read, done, memory_order_relaxed);
    return 0;
}

int qca_io_read(struct qca_io *io, uint64_t offset, void *buf, size_t size)
{
    bool is_short = false;
    int r = io_get(io, offset, buf, size, &is_short);

    if (r == 0 && is_short)
        atomic_store_explicit(io->below ? &io->below->shrank : &io->shrank, true,
                              memory_order_relaxed);
    return r;
}

int io_peek(struct qca_io *io, uint64_t offset, void *buf, size_t size)
{
    bool is_short;

    return io_get(io, offset, buf, size, &is_short);
}

int io_read_cached(struct qca_io *io, uint64_t offset, void *buf, size_t size)
{
    struct iovec piece = { buf, size };
    ssize_t n;

    /* what lies partly past the end is rare: not worth its own way */
    if (io->fd < 0 || io->read || io->below || io->base > 0 || offset >= io->size ||
        size > io->size - offset)
        return qca_io_read(io, offset, buf, size) < 0 ? 0 : 1;
    n = preadv2(io->fd, &piece, 1, (off_t)offset, RWF_NOWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -EOPNOTSUPP;
    if ((size_t)n < size)
        return 0;
    atomic_fetch_add_explicit(&io->bytes_read, size, memory_order_relaxed);
    return 1;
}

void io_will_need(struct qca_io *io, uint64_t offset, uint64_t size)
{
    if (io->fd < 0 || io->read || io->base > 0 || offset >= io->size)
        return;
    (void)posix_fadvise(io->fd, (off_t)offset, (off_t)min_u64(size, io->size - offset),
                        POSIX_FADV_WILLNEED);
}

static bool source_is_hole(struct qca_io *io, uint64_t offset, uint64_t *ret_end)
{
    off_t data, hole;

    *ret_end = io->size;
    if (io->fd < 0 || io->base > 0)
        return false;
    data = lseek(io->fd, (off_t)offset, SEEK_DATA);
    if (data < 0)
        return errno == ENXIO;          /* nothing but a hole up to the end */
    if ((uint64_t)data > offset) {
        *ret_end = min_u64((uint64_t)data, io->size);
        return true;
    }
    hole = lseek(io->fd, (off_t)offset, SEEK_HOLE);
    if (hole > (off_t)offset)
        *ret_end = min_u64((uint64_t)hole, io->size);
    return false;
}

/* What is patched is no hole. */
bool io_is_hole(struct qca_io *io, uint64_t offset, uint64_t *ret_end)
{
    bool hole = source_is_hole(io, offset, ret_end);
    size_t i = find_patch(io, offset);

    if (!hole || i == io->n_patches || io->patches[i].offset >= *ret_end)
        return hole;
    if (io->patches[i].offset > offset) {
        *ret_end = io->patches[i].offset;
        return true;
    }
    *ret_end = min_u64(*ret_end, io->patches[i].offset + io->patches[i].length);
    return false;
}

uint64_t io_allocated(const struct qca_io *io)
{
    return max_u64(io->allocated, allocated_now(io));
}

bool io_shrank(const struct qca_io *io)
{
    return io->below ? io->below->shrank : io->shrank;
}

/* Nothing but a hole up to the end, or did the file become shorter, which a read is to find? */
static bool is_cut(struct qca_io *io)
{
    return lseek(io->fd, 0, SEEK_END) < (off_t)io->size;
}

struct io_segment io_segment(struct qca_io *io, uint64_t offset)
{
    struct io_segment segment = { .start = offset };

    if (offset >= io->size)
        return (struct io_segment) { .start = io->size, .end = UINT64_MAX, .hole = true };
    if (offset >= io->segment.start && offset < io->segment.end)
        return io->segment;
    segment.hole = io_is_hole(io, offset, &segment.end);
    if (segment.hole && segment.end == io->size && is_cut(io))
        segment.hole = false;
    io->segment = segment;
    return segment;
}
