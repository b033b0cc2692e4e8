/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading past the page cache: the same bytes, in large pieces, and the cache is afterwards what it
 * was before. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/magic.h>

#include "helpers/worker-read.h"
#include "lib/bytes.h"
#include "lib/cleanup.h"

#define MIB (UINT64_C(1) << 20)
#define SIZE (6 * MIB + 1234)

struct fixture {
    char path[64];
    int fd;                         /* for writing and looking */
    uint8_t *bytes;
    size_t n_pages;
    unsigned char *before, *after;
    size_t n_reads, largest;
    uint64_t total;
    int refuse;
    struct qca_threads *threads;    /* that read ahead */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    strcpy(f->path, "test-worker-read.XXXXXX");
    f->fd = mkstemp(f->path);
    assert_true(f->fd >= 0);
    f->bytes = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        f->bytes[i] = (uint8_t)(i * 11 + i / 4096 * 7 + i / 65536);
    /* with holes, whose pages are made and not read */
    memset(f->bytes + 3 * MIB, 0, 300 * 1024);
    assert_int_equal(pwrite(f->fd, f->bytes, 3 * MIB, 0), 3 * MIB);
    assert_int_equal(pwrite(f->fd, f->bytes + 3 * MIB + 300 * 1024, SIZE - 3 * MIB - 300 * 1024,
                            3 * MIB + 300 * 1024), SIZE - 3 * MIB - 300 * 1024);
    assert_int_equal(fsync(f->fd), 0);
    f->n_pages = (SIZE + (size_t)sysconf(_SC_PAGESIZE) - 1) / (size_t)sysconf(_SC_PAGESIZE);
    f->before = calloc(1, f->n_pages);
    f->after = calloc(1, f->n_pages);
    *state = f;
    return 0;
}

static int setup_ahead(void **state)
{
    int r = setup(state);

    assert_int_equal(qca_threads_new(2, &((struct fixture *)*state)->threads), 0);
    return r;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    qca_threads_free(f->threads);
    close(f->fd);
    unlink(f->path);
    free(f->bytes);
    free(f->before);
    free(f->after);
    free(f);
    return 0;
}

/* Which pages are in the cache: mincore() tells who may write the file. */
static void look(const struct fixture *f, unsigned char *ret_pages)
{
    void *map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, f->fd, 0);

    assert_true(map != MAP_FAILED);
    assert_int_equal(mincore(map, SIZE, ret_pages), 0);
    munmap(map, SIZE);
    for (size_t i = 0; i < f->n_pages; i++)
        ret_pages[i] &= 1;
}

static size_t cached(const unsigned char *pages, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += pages[i];
    return count;
}

/* The first bytes of every so many are cached, as by somebody who read them page by page, and
 * nothing else is but what the kernel read ahead of him. */
static void cache_some(struct fixture *f, int advice, uint64_t bytes, uint64_t every)
{
    char buf[4096];

    assert_int_equal(fsync(f->fd), 0);
    assert_int_equal(posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    assert_int_equal(posix_fadvise(f->fd, 0, 0, advice), 0);
    for (uint64_t at = 0; at + sizeof(buf) <= SIZE; at += sizeof(buf))
        if (at % every < bytes)
            assert_int_equal(pread(f->fd, buf, sizeof(buf), (off_t)at), sizeof(buf));
    /* what the kernel reads ahead comes by and by */
    do {
        look(f, f->before);
        usleep(50 * 1000);
        look(f, f->after);
    } while (memcmp(f->before, f->after, f->n_pages) != 0);
    assert_in_range(cached(f->before, f->n_pages), f->n_pages / 10, f->n_pages * 9 / 10);
}

static bool has_cache_of_its_own(const struct fixture *f)
{
    struct statfs st;

    return fstatfs(f->fd, &st) == 0 && st.f_type != TMPFS_MAGIC &&
           st.f_type != OVERLAYFS_SUPER_MAGIC;
}

static int count(void *userdata, size_t size)
{
    struct fixture *f = userdata;

    f->n_reads++;
    f->total += size;
    if (size > f->largest)
        f->largest = size;
    return f->refuse;
}

static struct direct_reader *reader_new(struct fixture *f, uint32_t alignment, int *ret_fd)
{
    struct direct_reader *reader;

    *ret_fd = open(f->path, O_RDONLY | O_CLOEXEC);
    assert_true(*ret_fd >= 0);
    assert_int_equal(direct_reader_new(*ret_fd, alignment, f->threads, count, f, &reader), 0);
    return reader;
}

static void read_all(struct direct_reader *reader, uint64_t offset, uint8_t *buf, size_t size)
{
    for (size_t done = 0; done < size;) {
        int64_t n = direct_reader_read(reader, offset + done, buf + done, size - done);

        assert_true(n > 0);
        done += (size_t)n;
    }
}

static void test_bytes(void **state)
{
    static const uint32_t alignments[] = { 0, 512, 4096, 65536, UINT32_MAX };
    struct fixture *f = *state;
    uint8_t *buf = malloc(SIZE);

    for (size_t i = 0; i < ELEMENTSOF(alignments); i++) {
        unsigned seed = 1;
        int fd;
        struct direct_reader *reader = reader_new(f, alignments[i], &fd);

        read_all(reader, 0, buf, SIZE);
        assert_memory_equal(buf, f->bytes, SIZE);
        for (unsigned k = 0; k < 500; k++) {
            uint64_t at = (uint64_t)rand_r(&seed) % SIZE;
            size_t size = 1 + (uint64_t)rand_r(&seed) % (k % 5 == 0 ? 2 * MIB : 5000);

            if (size > SIZE - at)
                size = SIZE - at;
            read_all(reader, at, buf, size);
            assert_memory_equal(buf, f->bytes + at, size);
        }
        assert_int_equal(direct_reader_read(reader, SIZE, buf, 1), 0);
        assert_int_equal(direct_reader_read(reader, SIZE + 5 * MIB, buf, 1), 0);
        if (alignments[i] == UINT32_MAX)
            assert_true(direct_reader_reading(reader) > REPORT_READING_DIRECT);
        direct_reader_free(reader);
        close(fd);
    }
    free(buf);
}

static void read_all_of_it(struct fixture *f, uint32_t alignment, enum report_reading expected)
{
    uint8_t *buf = malloc(SIZE);
    struct direct_reader *reader;
    int fd;

    reader = reader_new(f, alignment, &fd);
    for (uint64_t at = 0; at < SIZE; at += 65536)
        read_all(reader, at, buf + at, SIZE - at < 65536 ? SIZE - at : 65536);
    assert_memory_equal(buf, f->bytes, SIZE);
    assert_int_equal(direct_reader_reading(reader), expected);
    direct_reader_free(reader);
    close(fd);
    free(buf);
}

/* What is cached stays, and nothing comes. The kernel itself may take a page when memory is scarce,
 * but not each time. */
static void check_cache(struct fixture *f, uint32_t alignment, enum report_reading expected,
                        int advice, uint64_t bytes, uint64_t every)
{
    size_t gone = 1;

    for (unsigned try = 0; try < 5 && gone > 0; try++) {
        cache_some(f, advice, bytes, every);
        read_all_of_it(f, alignment, expected);
        look(f, f->after);
        gone = 0;
        for (size_t i = 0; i < f->n_pages; i++) {
            assert_true(f->before[i] || !f->after[i]);
            gone += f->before[i] && !f->after[i];
        }
    }
    assert_int_equal(gone, 0);
}

static void check_traceless(struct fixture *f, uint32_t alignment, enum report_reading expected)
{
    /* pages that were asked for, and no other */
    check_cache(f, alignment, expected, POSIX_FADV_RANDOM, 102400, 204800);
    /* with pages that the kernel marked, to read ahead of who touches them */
    check_cache(f, alignment, expected, POSIX_FADV_NORMAL, 307200, 2048000);
}

static void test_traceless_direct(void **state)
{
    struct fixture *f = *state;

    if (!has_cache_of_its_own(f))
        skip();                     /* tmpfs: the cache is the file */
    check_traceless(f, 0, REPORT_READING_DIRECT);
}

static void test_traceless_fallback(void **state)
{
    struct fixture *f = *state;

    if (!has_cache_of_its_own(f))
        skip();
    check_traceless(f, UINT32_MAX, REPORT_READING_UNCACHED);
}

/* From now on there is a hole, and nothing of the file is cached. */
static void punch(struct fixture *f, uint64_t start, uint64_t size)
{
    if (!has_cache_of_its_own(f) ||
        fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)start,
                  (off_t)size) < 0)
        skip();
    memset(f->bytes + start, 0, min_u64(size, SIZE - start));
    assert_int_equal(fsync(f->fd), 0);
    assert_int_equal(posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED), 0);
}

static void check_nothing_cached(struct fixture *f)
{
    look(f, f->after);
    assert_int_equal(cached(f->after, f->n_pages), 0);
}

/* The kernel makes the pages of a hole without reading: the last one, too, of which a part is
 * behind the end. */
static void test_hole_at_end(void **state)
{
    struct fixture *f = *state;

    punch(f, 6 * MIB - 8192, round_up(SIZE, 65536) - 6 * MIB + 8192);
    read_all_of_it(f, UINT32_MAX, REPORT_READING_UNCACHED);
    check_nothing_cached(f);
}

/* What was data when it was asked for is a hole when it is read. */
static void test_punched(void **state)
{
    struct fixture *f = *state;
    uint8_t *buf = malloc(SIZE);
    struct direct_reader *reader;
    int fd;

    reader = reader_new(f, UINT32_MAX, &fd);
    read_all(reader, 4 * MIB, buf, 65536);
    assert_memory_equal(buf, f->bytes + 4 * MIB, 65536);
    punch(f, 5 * MIB, 400 * 1024);
    read_all(reader, 4 * MIB, buf, SIZE - 4 * MIB);
    assert_memory_equal(buf, f->bytes + 4 * MIB, SIZE - 4 * MIB);
    check_nothing_cached(f);
    assert_int_equal(direct_reader_reading(reader), REPORT_READING_UNCACHED);
    direct_reader_free(reader);
    close(fd);
    free(buf);
}

/* A thread that reads ahead reads nothing twice, and nothing behind the end; tables in between do
 * not end it. */
static void test_ahead(void **state)
{
    struct fixture *f = *state;
    uint8_t *buf = malloc(SIZE), table[4096];
    struct direct_reader *reader;
    uint64_t once;
    int fd;

    reader = reader_new(f, 0, &fd);
    for (uint64_t at = 0, n; at < SIZE; at += n) {
        n = SIZE - at < 65536 ? SIZE - at : 65536;
        read_all(reader, at, buf + at, n);
    }
    assert_memory_equal(buf, f->bytes, SIZE);
    assert_int_equal(f->largest, DIRECT_READ_MAX);
    assert_true(f->total <= round_up(SIZE, 4096));
    once = f->total;
    f->total = 0;
    memset(buf, 0, SIZE);
    for (uint64_t at = 0, n; at < SIZE; at += n) {
        n = SIZE - at < 65536 ? SIZE - at : 65536;
        read_all(reader, at, buf + at, n);
        if (at == 4 * MIB) {
            read_all(reader, 8192, table, sizeof(table));
            assert_memory_equal(table, f->bytes + 8192, sizeof(table));
        }
    }
    assert_memory_equal(buf, f->bytes, SIZE);
    assert_true(f->total <= once + 2 * MIB);
    /* Stopped in the middle, with pieces under way: what was had holds, the rest is refused. */
    read_all(reader, 0, buf, 3 * MIB);
    f->refuse = -ECANCELED;
    for (uint64_t at = 3 * MIB;; at += 65536) {
        int64_t n = direct_reader_read(reader, at, buf, 65536);

        assert_true(at < SIZE && (n > 0 || n == -ECANCELED));
        if (n < 0)
            break;
        assert_memory_equal(buf, f->bytes + at, (size_t)n);
    }
    direct_reader_free(reader);
    close(fd);
    free(buf);
}

/* What was read ahead of a file that shrinks is what was there; behind its end there is nothing. */
static void test_shrinks(void **state)
{
    struct fixture *f = *state;
    uint8_t *buf = malloc(65536);
    struct direct_reader *reader;
    uint64_t at = 0;
    int64_t n;
    int fd;

    reader = reader_new(f, 0, &fd);
    for (; at < 2 * MIB; at += 65536)
        read_all(reader, at, buf, 65536);
    assert_int_equal(ftruncate(f->fd, 3 * MIB + 5000), 0);
    for (; (n = direct_reader_read(reader, at, buf, 65536)) > 0; at += (uint64_t)n)
        assert_memory_equal(buf, f->bytes + at, (size_t)n);
    assert_int_equal(n, 0);
    assert_true(at >= 3 * MIB && at < SIZE);
    direct_reader_free(reader);
    close(fd);
    free(buf);
}

/* Who reads in order reads large pieces from the device; who does not reads what was asked for. */
static void test_pieces(void **state)
{
    struct fixture *f = *state;
    uint8_t *buf = malloc(SIZE);
    struct direct_reader *reader;
    int fd;

    reader = reader_new(f, 0, &fd);
    for (uint64_t at = 0; at < 6 * MIB; at += 65536)
        read_all(reader, at, buf + at, 65536);
    assert_int_equal(f->largest, DIRECT_READ_MAX);
    assert_true(f->n_reads <= 12);
    f->n_reads = f->largest = 0;
    for (uint64_t at = 6 * MIB; at > 0; at -= 131072)
        read_all(reader, at - 131072, buf, 65536);
    assert_true(f->largest <= 65536);
    f->refuse = -ECANCELED;
    assert_int_equal(direct_reader_read(reader, 3 * MIB, buf, 100), -ECANCELED);
    direct_reader_free(reader);
    close(fd);
    free(buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_traceless_direct, setup, teardown),
        cmocka_unit_test_setup_teardown(test_traceless_fallback, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hole_at_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_punched, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes, setup_ahead, teardown),
        cmocka_unit_test_setup_teardown(test_traceless_direct, setup_ahead, teardown),
        cmocka_unit_test_setup_teardown(test_traceless_fallback, setup_ahead, teardown),
        cmocka_unit_test_setup_teardown(test_ahead, setup_ahead, teardown),
        cmocka_unit_test_setup_teardown(test_shrinks, setup_ahead, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
