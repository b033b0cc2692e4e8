/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading through the page cache without a trace in it: through a mapping, where the kernel reads
 * no page but the one that is touched and says whether it had to; every page that it had to read is
 * dropped again. */
#include "helpers/worker-uncached.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

#include "lib/bytes.h"

/* No machine has smaller ones. */
#define PAGE_MIN 4096

/* Why not preadv2(RWF_NOWAIT), which says what is not cached: it has a page that is not there read,
 * and on a device that answers at once finds it cached, as if it had been; and at a page that the
 * kernel marked, when it read ahead for somebody else, it goes on with that reading ahead for us.
 * mincore() and cachestat() answer only who owns the file or may write it. */

/* The kernel's counters of this thread so far. */
struct counts {
    long faults;                    /* touched pages that were not in the cache */
    long blocks;                    /* of 512 bytes, that devices were asked for */
};

static struct counts counts_now(void)
{
    struct rusage usage = { 0 };

    (void) getrusage(RUSAGE_THREAD, &usage);
    return (struct counts) { .faults = usage.ru_majflt, .blocks = usage.ru_inblock };
}

ssize_t read_once(int fd, void *buf, size_t size, uint64_t offset)
{
    ssize_t n;

    do
        n = pread(fd, buf, size, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

void uncached_init(struct uncached *uncached, int fd)
{
    *uncached = (struct uncached) { .fd = fd, .page = (size_t)sysconf(_SC_PAGESIZE) };
    /* Nothing beside what is asked for comes into the cache, and a plain read does not count as a
     * use of what is there; process_vm_readv() does. Advice that is not taken costs nothing but
     * that. */
    (void) posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    (void) posix_fadvise(fd, 0, 0, POSIX_FADV_NOREUSE);
}

/* Copies a page of the mapping; it is read when it is not cached. No plain access: where the file
 * was cut or the device fails that would be SIGBUS. */
static int touch(uint8_t *buf, void *mapped, size_t page)
{
    struct iovec to = { .iov_base = buf, .iov_len = page },
                 from = { .iov_base = mapped, .iov_len = page };
    ssize_t n = process_vm_readv(getpid(), &to, 1, &from, 1, 0);

    return n == (ssize_t)page ? 0 : n >= 0 ? -EFAULT : -errno;
}

/* The pages of one reading. */
enum page_kind {
    PAGE_OTHERS = 0,                /* it was cached */
    PAGE_OURS,
    PAGE_HOLE,
};

/* Pages of a hole are made without reading anything: where the kernel counts what it reads, one of
 * ours could not be told from one that is cached. There each is asked for, as to look for a hole
 * behind it takes long in a file of many extents. Nothing is remembered for the next reading: what
 * was data may be a hole by then. */
static void find_holes(const struct uncached *uncached, uint64_t offset, size_t n_pages,
                       enum page_kind *pages)
{
    uint64_t at = offset, data_end = 0, hole_end = 0;

    for (size_t i = 0; i < n_pages; i++, at += uncached->page) {
        off_t data, hole;

        if (at < data_end)
            continue;
        if (at + uncached->page > hole_end) {
            data = lseek(uncached->fd, (off_t)at, SEEK_DATA);
            /* a hole up to the end, wherever in a page that is; or it is not known */
            hole_end = data >= 0 ? (uint64_t)data : errno == ENXIO ? UINT64_MAX : 0;
        }
        if (at + uncached->page <= hole_end) {
            pages[i] = PAGE_HOLE;
        } else if (!uncached->counted) {
            hole = lseek(uncached->fd, (off_t)at, SEEK_HOLE);
            data_end = hole < 0 ? UINT64_MAX : (uint64_t)hole;
        }
    }
}

/* Has the pages that are not cached read, all at once. */
static void request(const struct uncached *uncached, uint64_t offset, size_t n_pages,
                    enum page_kind *pages)
{
    struct counts before = counts_now(), after;

    for (size_t i = 0; i < n_pages; i++, before = after) {
        after = before;
        if (pages[i] == PAGE_HOLE)
            continue;
        (void)posix_fadvise(uncached->fd, (off_t)(offset + i * uncached->page),
                            (off_t)uncached->page, POSIX_FADV_WILLNEED);
        after = counts_now();
        if (after.blocks != before.blocks)
            pages[i] = PAGE_OURS;
    }
}

/* Copies pages until one cannot be had; *ret_r is why. How many. One that had to be waited for and
 * that devices were not asked for by us is somebody else's, who is reading it just now; unless the
 * kernel does not count here. */
static size_t copy(struct uncached *uncached, uint8_t *buf, uint8_t *mapped, size_t n_pages,
                   enum page_kind *pages, int *ret_r)
{
    struct counts before = counts_now(), after;
    int r = 0;
    size_t i;

    for (i = 0; i < n_pages && r == 0; i++, before = after) {
        after = before;
        if (pages[i] == PAGE_HOLE) {
            memset(buf + i * uncached->page, 0, uncached->page);
            continue;
        }
        r = touch(buf + i * uncached->page, mapped + i * uncached->page, uncached->page);
        after = counts_now();
        if (after.faults == before.faults)
            continue;
        uncached->counted |= after.blocks != before.blocks;
        if (after.blocks != before.blocks || !uncached->counted)
            pages[i] = PAGE_OURS;
    }
    *ret_r = r;
    return r < 0 ? i - 1 : i;
}

/* Waits for pages that were requested: one that is being read just now cannot be dropped. Not for
 * each in turn where the device fails at more than the one before them. */
static void await(const struct uncached *uncached, uint8_t *buf, uint8_t *mapped, size_t first,
                  size_t n_pages, const enum page_kind *pages)
{
    int r = 0;

    for (size_t i = first; i < n_pages && r == 0; i++)
        if (pages[i] == PAGE_OURS)
            r = touch(buf + i * uncached->page, mapped + i * uncached->page, uncached->page);
}

static void drop(const struct uncached *uncached, uint64_t offset, size_t n_pages,
                 const enum page_kind *pages)
{
    for (size_t i = 0, n; i < n_pages; i += n) {
        for (n = 1; i + n < n_pages && pages[i + n] == pages[i]; n++)
            ;
        if (pages[i] == PAGE_OURS)
            (void)posix_fadvise(uncached->fd, (off_t)(offset + i * uncached->page),
                                (off_t)(n * uncached->page), POSIX_FADV_DONTNEED);
    }
}

/* A page that could not be copied: a plain read tells the end from a bad device. */
static ssize_t read_plainly(const struct uncached *uncached, uint8_t *buf, uint64_t offset)
{
    ssize_t n = read_once(uncached->fd, buf, uncached->page, offset);

    /* where the device failed, too, there is a page, empty */
    (void)posix_fadvise(uncached->fd, (off_t)offset, (off_t)uncached->page, POSIX_FADV_DONTNEED);
    return n;
}

ssize_t uncached_read(struct uncached *uncached, uint8_t *buf, uint64_t offset, size_t size)
{
    enum page_kind pages[UNCACHED_READ_MAX / PAGE_MIN] = { PAGE_OTHERS };
    off_t end = lseek(uncached->fd, 0, SEEK_END);
    size_t n_pages, n;
    void *mapped;
    int r;

    if (end < 0)
        return -EOPNOTSUPP;
    if ((uint64_t)end <= offset)
        return 0;
    /* nothing past the end is mapped: where no file can be that long, it is refused */
    n_pages = min_u64(min_u64(size, UNCACHED_READ_MAX),
                      round_up((uint64_t)end - offset, uncached->page)) / uncached->page;
    mapped = mmap(NULL, n_pages * uncached->page, PROT_READ, MAP_SHARED, uncached->fd,
                  (off_t)offset);
    if (mapped == MAP_FAILED)
        return -EOPNOTSUPP;
    /* without it, pages beside one that is touched would be read as well */
    if (madvise(mapped, n_pages * uncached->page, MADV_RANDOM) < 0) {
        munmap(mapped, n_pages * uncached->page);
        return -EOPNOTSUPP;
    }
    find_holes(uncached, offset, n_pages, pages);
    if (uncached->counted)
        request(uncached, offset, n_pages, pages);
    n = copy(uncached, buf, mapped, n_pages, pages, &r);
    await(uncached, buf, mapped, n + 1, n_pages, pages);
    munmap(mapped, n_pages * uncached->page);       /* what is mapped cannot be dropped */
    drop(uncached, offset, n_pages, pages);
    if (n == 0)
        return r == -EFAULT ? read_plainly(uncached, buf, offset) : -EOPNOTSUPP;
    end = lseek(uncached->fd, 0, SEEK_END);
    return (ssize_t)(end < 0 || (uint64_t)end <= offset
                         ? 0
                         : min_u64(n * uncached->page, (uint64_t)end - offset));
}
