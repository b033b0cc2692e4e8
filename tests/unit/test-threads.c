/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads: jobs are run once, and a check says the same with any number of threads, whatever the
 * damage. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "lib/bytes.h"
#include "lib/cleanup.h"
#include "lib/threads.h"
#include "qcow2-kit.h"

#define CLUSTER UINT64_C(512)
#define COPIED (UINT64_C(1) << 63)

/* More tables than are read ahead at once. */
enum { TABLES = 2600, L2_ENTRIES = 64, BLOCK_ENTRIES = 256, ROUNDS = 48 };

static const unsigned numbers[] = { 1, 2, 4 };

static void numbers_of_threads_are_bounded(void **state)
{
    struct qca_threads *threads = NULL;

    assert_int_equal(qca_threads_new(0, &threads), -EINVAL);
    assert_int_equal(qca_threads_new(QCA_THREADS_MAX + 1, &threads), -EINVAL);
    assert_null(threads);
    qca_threads_free(NULL);
    assert_int_equal(threads_count(NULL), 1);
    for (unsigned n = 1; n <= QCA_THREADS_MAX; n++) {
        assert_int_equal(qca_threads_new(n, &threads), 0);
        assert_int_equal(threads_count(threads), n);
        qca_threads_free(threads);
    }
}

struct counted {
    struct thread_job job;      /* the first member */
    atomic_int runs;
};

static void count(struct thread_job *job)
{
    ((struct counted *)(void *)job)->runs++;
}

static void jobs_are_run_once_or_dropped(void **state)
{
    enum { JOBS = 200 };

    for (size_t i = 0; i <= ELEMENTSOF(numbers); i++) {
        struct counted *jobs = calloc(JOBS, sizeof(*jobs));
        struct qca_threads *threads = NULL;

        assert_non_null(jobs);
        if (i < ELEMENTSOF(numbers))
            assert_int_equal(qca_threads_new(numbers[i], &threads), 0);
        for (int round = 0; round < 50; round++) {
            for (int k = 0; k < JOBS; k++) {
                jobs[k] = (struct counted) { .job = { .run = count } };
                threads_submit(threads, &jobs[k].job);
            }
            /* one in the middle, so that those before it are begun; then all but every third */
            threads_wait(threads, &jobs[JOBS / 2].job);
            for (int k = 0; k < JOBS; k++) {
                if (k == JOBS / 2)
                    continue;
                if (k % 3 == 0)
                    threads_drop(threads, &jobs[k].job);
                else
                    threads_wait(threads, &jobs[k].job);
            }
            for (int k = 0; k < JOBS; k++) {
                if (k % 3 == 0 && k != JOBS / 2)
                    assert_in_range(jobs[k].runs, 0, 1);
                else
                    assert_int_equal(jobs[k].runs, 1);
            }
        }
        threads_drop(threads, &(struct counted) { .runs = 0 }.job);
        qca_threads_free(threads);
        free(jobs);
    }
}

struct alone {
    struct thread_job job;      /* the first member */
    atomic_int *running, *next;
    int order;
};

static void run_alone(struct thread_job *job)
{
    struct alone *alone = (struct alone *)(void *)job;

    assert_int_equal((*alone->running)++, 0);
    alone->order = (*alone->next)++;
    (*alone->running)--;
}

/* Of a row of jobs in their order, one at a time is run, whoever waits. */
static void jobs_that_are_awaited_run_alone(void **state)
{
    enum { JOBS = 400 };

    for (unsigned n = 1; n <= 2; n++) {
        struct alone *jobs = calloc(JOBS, sizeof(*jobs));
        atomic_int running = 0, next = 0;
        struct qca_threads *threads;

        assert_non_null(jobs);
        assert_int_equal(qca_threads_new(n, &threads), 0);
        for (int k = 0; k < JOBS + 2; k++) {
            if (k < JOBS) {
                jobs[k] = (struct alone){ .job = { .run = run_alone },
                                          .running = &running,
                                          .next = &next };
                threads_submit(threads, &jobs[k].job);
            }
            if (k >= 2) {
                threads_await(threads, &jobs[k - 2].job);
                assert_int_equal(jobs[k - 2].order, k - 2);
            }
        }
        assert_int_equal(next, JOBS);
        qca_threads_free(threads);
        free(jobs);
    }
}

/* ---- checks ------------------------------------------------------------------------------- */

static void put(uint8_t *at, unsigned size, uint64_t value)
{
    for (unsigned i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> 8 * (size - 1 - i));
}

struct image {
    uint8_t *data;
    size_t size, metadata;      /* bytes; the tables lie before the data */
};

/* Clusters of 512 bytes: header, L1, refcount table, refcount blocks, L2 tables with gaps between
 * some, data. */
static struct image image_new(void)
{
    const uint64_t l1 = 1, l1_clusters = TABLES * 8 / CLUSTER + 1, reftable = l1 + l1_clusters;
    const uint64_t clusters_about = TABLES * (L2_ENTRIES + 2),
                   n_blocks = clusters_about / BLOCK_ENTRIES + 8;
    const uint64_t reftable_clusters = n_blocks * 8 / CLUSTER + 1,
                   blocks = reftable + reftable_clusters;
    uint64_t l2 = blocks + n_blocks, data = l2 + TABLES + TABLES / 5 + 1, n;
    struct image image;

    n = data + TABLES * L2_ENTRIES;
    assert_true(n <= n_blocks * BLOCK_ENTRIES);
    image = (struct image) { calloc(n, CLUSTER), n * CLUSTER, data * CLUSTER };
    assert_non_null(image.data);
    put(image.data, 4, 0x514649fb);
    put(image.data + 4, 4, 3);
    put(image.data + 20, 4, 9);
    put(image.data + 24, 8, TABLES * L2_ENTRIES * CLUSTER);
    put(image.data + 36, 4, TABLES);
    put(image.data + 40, 8, l1 * CLUSTER);
    put(image.data + 48, 8, reftable * CLUSTER);
    put(image.data + 56, 4, reftable_clusters);
    put(image.data + 96, 4, 4);
    put(image.data + 100, 4, 104);
    for (uint64_t i = 0; i < n; i++)
        put(image.data + blocks * CLUSTER + 2 * i, 2,
            i < l2 || i >= data || ((i - l2) % 6 != 5 && i != data - 1));
    for (uint64_t i = 0; i < n_blocks; i++)
        put(image.data + reftable * CLUSTER + 8 * i, 8, (blocks + i) * CLUSTER);
    for (uint64_t t = 0; t < TABLES; t++) {
        uint64_t table = (l2 + t + t / 5) * CLUSTER;

        put(image.data + l1 * CLUSTER + 8 * t, 8, table | COPIED);
        for (uint64_t i = 0; i < L2_ENTRIES; i++)
            put(image.data + table + 8 * i, 8, (data + t * L2_ENTRIES + i) * CLUSTER | COPIED);
    }
    return image;
}

/* splitmix64 */
static uint64_t random_next(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static struct qca_check_result check_io(struct qca_io *io, struct qca_check_options options,
                                        unsigned n)
{
    struct qca_check_result result;
    struct qca_image *image;

    assert_int_equal(n == 0 ? 0 : qca_threads_new(n, &options.threads), 0);
    assert_int_equal(qca_image_open(io, NULL, NULL, &image), 0);
    assert_int_equal(qca_check(image, &options, &result), 0);
    qca_image_free(image);
    qca_threads_free(options.threads);
    qca_io_free(io);
    return result;
}

static struct qca_check_result check_memory(const struct image *image,
                                            struct qca_check_options options, unsigned n)
{
    struct qca_io *io;

    assert_int_equal(qca_io_new_memory(image->data, image->size, &io), 0);
    return check_io(io, options, n);
}

static void checks_are_the_same_with_any_number(void **state)
{
    struct image image = image_new();
    const size_t first = 2 * CLUSTER;   /* the header stays */
    uint64_t seed = 1;
    bool damaged = false, cut = false;

    for (unsigned round = 0; round < ROUNDS; round++) {
        struct qca_check_options options = { .max_issues = round % 3 ? 100 : 10000,
                                             .scalar_only = round % 2 };
        struct { size_t at; uint8_t was; } flips[64];
        struct qca_check_result one;

        /* so little memory that it counts in passes */
        if (round % 8 == 5)
            options.memory_limit = UINT64_C(3980) << 10;
        for (size_t i = 0; round > 0 && i < ELEMENTSOF(flips); i++) {
            flips[i].at = first + random_next(&seed) % (image.metadata - first);
            flips[i].was = image.data[flips[i].at];
            image.data[flips[i].at] ^= (uint8_t)(1 + random_next(&seed) % 255);
        }
        one = check_memory(&image, options, 0);
        damaged = damaged || one.corruptions > 0;
        cut = cut || one.n_issues == options.max_issues;
        if (round == 0)
            assert_int_equal(qca_check_exit_status(&one), 0);
        for (size_t i = 0; i < ELEMENTSOF(numbers); i++) {
            struct qca_check_result other = check_memory(&image, options, numbers[i]);

            kit_assert_same(&one, &other);
            qca_check_result_done(&other);
        }
        qca_check_result_done(&one);
        for (size_t i = ELEMENTSOF(flips); round > 0 && i > 0; i--)
            image.data[flips[i - 1].at] = flips[i - 1].was;
    }
    assert_true(damaged);
    assert_true(cut);
    free(image.data);
}

/* Through a file, whose reads are tried without waiting first; and one that is cut in its
 * tables. */
static void files_are_read_the_same(void **state)
{
    struct image image = image_new();
    _cleanup_close_ int fd = memfd_create("image", MFD_CLOEXEC);

    assert_int_equal(write(fd, image.data, image.size), image.size);
    for (size_t size = image.size; size > image.metadata / 4; size -= image.size / 7) {
        struct image shorter = { image.data, size, 0 };
        struct qca_check_options options = { .max_issues = 0 };
        struct qca_check_result one = check_memory(&shorter, options, 0);

        assert_int_equal(ftruncate(fd, (off_t)size), 0);
        for (size_t i = 0; i < ELEMENTSOF(numbers); i++) {
            struct qca_check_result other;
            struct qca_io *io;

            assert_int_equal(qca_io_new_fd(fd, &io), 0);
            other = check_io(io, options, numbers[i]);
            kit_assert_same(&one, &other);
            qca_check_result_done(&other);
        }
        qca_check_result_done(&one);
    }
    free(image.data);
}

/* A device with bad places: whichever thread meets them. */
static int64_t read_badly(void *userdata, uint64_t offset, void *buf, size_t size)
{
    const struct image *image = userdata;
    const uint64_t bad = image->metadata / 3;

    if (offset >= image->size)
        return 0;
    if (offset <= bad && bad < offset + size)
        return -EIO;
    size = min_u64(size, image->size - offset);
    memcpy(buf, image->data + offset, size);
    return (int64_t)size;
}

static void errors_are_the_same_with_any_number(void **state)
{
    struct image image = image_new(), clean = image;
    _cleanup_close_ int fd = memfd_create("image", MFD_CLOEXEC);

    assert_int_equal(ftruncate(fd, (off_t)image.size), 0);
    /* once within the L2 tables, once within the refcount blocks */
    for (int where = 0; where < 2; where++) {
        struct qca_check_result one;

        image.metadata = where == 0 ? clean.metadata : CLUSTER * 600;
        for (size_t i = 0; i <= ELEMENTSOF(numbers); i++) {
            const struct qca_check_options options = { .max_issues = 0 };
            struct qca_check_result result;
            struct qca_io *io;

            assert_int_equal(qca_io_new_reader(fd, read_badly, &image, &io), 0);
            result = check_io(io, options, i == 0 ? 0 : numbers[i - 1]);
            assert_true(result.check_errors > 0);
            if (i == 0)
                one = result;
            else {
                kit_assert_same(&one, &result);
                qca_check_result_done(&result);
            }
        }
        qca_check_result_done(&one);
    }
    free(image.data);
}

static void cancelled_checks_leave_no_job_behind(void **state)
{
    struct image image = image_new();
    atomic_bool cancel = true;

    for (size_t i = 0; i < ELEMENTSOF(numbers); i++) {
        struct qca_check_options options = { .cancel = &cancel };
        struct qca_check_result result;
        struct qca_image *opened;
        struct qca_io *io;

        assert_int_equal(qca_threads_new(numbers[i], &options.threads), 0);
        assert_int_equal(qca_io_new_memory(image.data, image.size, &io), 0);
        assert_int_equal(qca_image_open(io, NULL, NULL, &opened), 0);
        for (int k = 0; k < 20; k++)
            assert_int_equal(qca_check(opened, &options, &result), -ECANCELED);
        qca_image_free(opened);
        qca_io_free(io);
        qca_threads_free(options.threads);
    }
    free(image.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_threads_are_bounded),
        cmocka_unit_test(jobs_are_run_once_or_dropped),
        cmocka_unit_test(jobs_that_are_awaited_run_alone),
        cmocka_unit_test(checks_are_the_same_with_any_number),
        cmocka_unit_test(files_are_read_the_same),
        cmocka_unit_test(errors_are_the_same_with_any_number),
        cmocka_unit_test(cancelled_checks_leave_no_job_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
