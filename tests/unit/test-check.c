/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The check: each kind of damage with its counters, its place and the guest range it hurts.
 *
 * That the counters are QEMU's for thousands of images is compared elsewhere (tests/images); here
 * are the places, the issues and the limits, which qemu-img does not tell. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/check.h"
#include "lib/cleanup.h"
#include "qcow2-kit.h"
#include "check-fixture.h"

#define COPIED (UINT64_C(1) << 63)
#define CLUSTER UINT64_C(65536)

static const struct qca_issue *find(const struct qca_check_result *result, enum qca_issue_kind kind)
{
    for (size_t i = 0; i < result->n_issues; i++)
        if (result->issues[i].kind == kind)
            return &result->issues[i];
    fail_msg("no issue of kind %s", qca_issue_kind_name(kind));
    return NULL;
}

static void images_of_all_shapes_are_clean(void **state)
{
    for (unsigned cluster_bits = 9; cluster_bits <= 16; cluster_bits += 7)
        for (unsigned order = 0; order <= 6; order++) {
            struct kit *kit = kit_new(cluster_bits, order, 40);
            struct qca_check_result result = kit_check(kit, NULL);

            assert_true(result.finished);
            assert_int_equal(qca_check_exit_status(&result), 0);
            assert_int_equal(result.allocated_clusters, 40);
            assert_int_equal(result.total_clusters, kit->cluster / 8);
            assert_int_equal(result.fragmented_clusters, 0);
            assert_int_equal(result.image_end_offset, kit->size);
            assert_int_equal(result.n_issues, 0);
            assert_int_equal(result.burst_offset, QCA_NO_OFFSET);
            qca_check_result_done(&result);
            kit_free(kit);
        }
}

static void each_damage_is_one_issue_in_its_place(void **state)
{
    const uint64_t l2 = KIT_L2 * CLUSTER, l1 = KIT_L1 * CLUSTER, reftable = KIT_REFTABLE * CLUSTER;
    const struct {
        uint64_t offset, value;
        enum qca_issue_kind kind;
        enum qca_table table;
        uint64_t table_offset, index, host_offset, guest_offset, guest_length;
        uint64_t corruptions, leaks;
    } cases[] = {
        { l1, (l2 | COPIED | 1), QCA_ISSUE_L1_RESERVED_BITS, QCA_TABLE_L1, l1, 0, l2, 0,
          8192 * CLUSTER, 1, 0 },
        { l1, l2, QCA_ISSUE_COPIED_WRONG, QCA_TABLE_L1, l1, 0, l2, 0, 8192 * CLUSTER, 1, 0 },
        { l2 + 8, (KIT_DATA + 1) * CLUSTER | COPIED | 2, QCA_ISSUE_L2_RESERVED_BITS, QCA_TABLE_L2,
          l2, 1, (KIT_DATA + 1) * CLUSTER, CLUSTER, CLUSTER, 1, 0 },
        { l2 + 8, (KIT_DATA + 1) * CLUSTER, QCA_ISSUE_COPIED_WRONG, QCA_TABLE_L2, l2, 1,
          (KIT_DATA + 1) * CLUSTER, CLUSTER, CLUSTER, 1, 0 },
        /* behind the end: that, its flag, and the cluster it should have been */
        { l2 + 16, (UINT64_C(1) << 40) | COPIED, QCA_ISSUE_OUT_OF_FILE, QCA_TABLE_L2, l2, 2,
          UINT64_C(1) << 40, 2 * CLUSTER, CLUSTER, 2, 1 },
        { l2 + 16, (KIT_DATA + 4) * CLUSTER | COPIED, QCA_ISSUE_OUT_OF_FILE, QCA_TABLE_L2, l2, 2,
          (KIT_DATA + 4) * CLUSTER, 2 * CLUSTER, CLUSTER, 2, 1 },
        /* unaligned: two clusters have one reference more, the one it should have been as many as
           it has */
        { l2 + 16, ((KIT_DATA + 2) * CLUSTER + 512) | COPIED, QCA_ISSUE_L2_UNALIGNED, QCA_TABLE_L2,
          l2, 2, (KIT_DATA + 2) * CLUSTER + 512, 2 * CLUSTER, CLUSTER, 2, 0 },
        { l2 + 16, (KIT_DATA + 1) * CLUSTER | COPIED, QCA_ISSUE_REFCOUNT_LOW,
          QCA_TABLE_REFCOUNT_BLOCK, KIT_REFBLOCK * CLUSTER, KIT_DATA + 1, (KIT_DATA + 1) * CLUSTER,
          CLUSTER, CLUSTER, 1, 1 },
        { l2 + 16, UINT64_C(1) << 62 | COPIED | ((KIT_DATA + 2) * CLUSTER),
          QCA_ISSUE_L2_COMPRESSED_COPIED, QCA_TABLE_L2, l2, 2, (KIT_DATA + 2) * CLUSTER,
          2 * CLUSTER, CLUSTER, 1, 0 },
        { reftable + 8, 3, QCA_ISSUE_REFTABLE_RESERVED_BITS, QCA_TABLE_REFCOUNT_TABLE, reftable, 1,
          0, QCA_NO_OFFSET, 0, 1, 0 },
        { reftable + 8, 512, QCA_ISSUE_REFTABLE_UNALIGNED, QCA_TABLE_REFCOUNT_TABLE, reftable, 1,
          512, QCA_NO_OFFSET, 0, 1, 0 },
        { reftable + 8, UINT64_C(1) << 40, QCA_ISSUE_REFTABLE_OUT_OF_FILE, QCA_TABLE_REFCOUNT_TABLE,
          reftable, 1, UINT64_C(1) << 40, QCA_NO_OFFSET, 0, 1, 0 },
        /* the block of data: shared, and so a refcount too low; its flag is right by what is
         * stored */
        { reftable + 8, (KIT_DATA + 1) * CLUSTER, QCA_ISSUE_REFBLOCK_SHARED,
          QCA_TABLE_REFCOUNT_TABLE, reftable, 1, (KIT_DATA + 1) * CLUSTER, QCA_NO_OFFSET, 0, 2, 0 },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct kit *kit = kit_new(16, 4, 4);
        struct qca_check_result result;
        const struct qca_issue *issue;

        kit_put(kit, cases[i].offset, 8, cases[i].value);
        result = kit_check(kit, NULL);
        if (result.corruptions != cases[i].corruptions || result.leaks != cases[i].leaks)
            fail_msg("case %zu: %" PRIu64 " corruptions, %" PRIu64 " leaks", i, result.corruptions,
                     result.leaks);
        issue = find(&result, cases[i].kind);
        assert_int_equal(issue->table, cases[i].table);
        assert_int_equal(issue->snapshot, QCA_ACTIVE);
        assert_int_equal(issue->table_offset, cases[i].table_offset);
        assert_int_equal(issue->index, cases[i].index);
        assert_int_equal(issue->host_offset, cases[i].host_offset);
        if (issue->guest_offset != cases[i].guest_offset)
            fail_msg("case %zu: guest offset %" PRIx64, i, issue->guest_offset);
        assert_int_equal(issue->guest_length, cases[i].guest_length);
        assert_int_equal(issue->count, 1);
        assert_true(qca_check_count(&result, cases[i].kind) >= 1);
        qca_check_result_done(&result);
        kit_free(kit);
    }
}

static void leaks_are_grouped_in_runs(void **state)
{
    struct kit *kit = kit_new(16, 4, 20);
    struct qca_check_result result;
    const struct qca_issue *issue;

    for (unsigned i = 3; i < 10; i++)
        kit_put(kit, kit_l2(kit, i), 8, 0);
    kit_put(kit, kit_l2(kit, 15), 8, 0);
    kit_refcount(kit, KIT_DATA + 3, 9);
    result = kit_check(kit, NULL);
    assert_int_equal(result.leaks, 8);
    assert_int_equal(result.leak_runs, 2);
    assert_int_equal(result.corruptions, 0);
    assert_int_equal(qca_check_exit_status(&result), 3);
    assert_int_equal(result.n_issues, 2);
    issue = find(&result, QCA_ISSUE_CLUSTER_LEAKED);
    assert_int_equal(issue->host_offset, (KIT_DATA + 3) * CLUSTER);
    assert_int_equal(issue->host_length, 7 * CLUSTER);
    assert_int_equal(issue->count, 7);
    assert_int_equal(issue->stored, 9);
    assert_int_equal(issue->counted, 0);
    assert_int_equal(result.burst_leaks, 8);
    assert_int_equal(result.burst_offset, (KIT_DATA + 3) * CLUSTER);
    assert_int_equal(result.burst_end, (KIT_DATA + 16) * CLUSTER - 1);
    qca_check_result_done(&result);
    kit_free(kit);
}

/* Windows of 64 clusters (512-byte clusters) slide over leaks at the set bits of a pattern. */
static void the_burst_is_the_fullest_window(void **state)
{
    static const unsigned gaps[] = { 1, 3, 63, 64, 65, 1, 1, 1, 60, 2,  128,
                                     1, 7, 7,  7,  7,  7, 7, 7, 7,  40, 200 };
    struct kit *kit = kit_new(9, 3, 0);
    unsigned leaked[ELEMENTSOF(gaps)], most = 0, first = 0, last = 0, cluster = KIT_DATA;
    struct qca_check_result result;

    kit_grow(kit, 512 - KIT_DATA);      /* what one refcount block of 8-bit refcounts covers */
    memset(leaked, 0, sizeof(leaked));
    for (size_t i = 0; i < ELEMENTSOF(gaps) && cluster + gaps[i] < 512; i++) {
        cluster += gaps[i];
        leaked[i] = cluster;
        kit_refcount(kit, cluster, 1);
        for (size_t k = 0; k <= i; k++)
            if (leaked[k] + 64 > cluster) {
                if (i - k + 1 > most) {
                    most = i - k + 1;
                    first = leaked[k];
                    last = cluster;
                }
                break;
            }
    }
    result = kit_check(kit, NULL);
    assert_true(most > 3);
    assert_int_equal(result.burst_leaks, most);
    assert_int_equal(result.burst_offset, first * 512);
    assert_int_equal(result.burst_end, (last + 1) * 512 - 1);
    qca_check_result_done(&result);
    kit_free(kit);
}

static void an_l2_table_shared_by_snapshots_counts_once_for_each(void **state)
{
    enum { SNAPSHOTS = 300 };
    struct kit *kit = kit_new(16, 4, 4);
    struct qca_check_result result;
    const struct qca_issue *issue;
    uint64_t table, l1;

    l1 = kit_grow(kit, 1);
    table = kit_grow(kit, 1);
    kit_put(kit, l1 * CLUSTER, 8, KIT_L2 * CLUSTER);
    kit_put(kit, KIT_L1 * CLUSTER, 8, KIT_L2 * CLUSTER);
    kit_put(kit, 60, 4, SNAPSHOTS);
    kit_put(kit, 64, 8, table * CLUSTER);
    for (unsigned i = 0; i < SNAPSHOTS; i++) {
        uint64_t at = table * CLUSTER + 64 * i; /* 40 fixed, 16 extra, 1 of id, rounded up to 8 */

        kit_put(kit, at, 8, l1 * CLUSTER);
        kit_put(kit, at + 8, 4, 1);
        kit_put(kit, at + 12, 2, 1);
        kit_put(kit, at + 36, 4, 16);
        kit->data[at + 56] = 'x';
    }
    kit_refcount(kit, l1, SNAPSHOTS);
    kit_refcount(kit, table, 1);
    kit_refcount(kit, KIT_L2, SNAPSHOTS + 1);
    for (unsigned i = 0; i < 4; i++) {
        kit_refcount(kit, KIT_DATA + i, SNAPSHOTS + 1);
        kit_put(kit, kit_l2(kit, i), 8, (KIT_DATA + i) * CLUSTER);
    }
    result = kit_check(kit, NULL);
    assert_int_equal(result.corruptions + result.leaks + result.check_errors, 0);
    assert_int_equal(result.allocated_clusters, 4);
    qca_check_result_done(&result);

    /* The same fault seen from 301 tables is 301 corruptions; one issue tells them, with the active
     * table. */
    kit_put(kit, kit_l2(kit, 1), 8, (KIT_DATA + 1) * CLUSTER | 2);
    result = kit_check(kit, NULL);
    assert_int_equal(result.corruptions, SNAPSHOTS + 1);
    issue = find(&result, QCA_ISSUE_L2_RESERVED_BITS);
    assert_int_equal(issue->count, SNAPSHOTS + 1);
    assert_int_equal(issue->snapshot, QCA_ACTIVE);
    assert_int_equal(issue->guest_offset, CLUSTER);
    /* They have one id and one L1 table, too: told beside. */
    assert_int_equal(qca_check_count(&result, QCA_ISSUE_SNAPSHOT_ID_DUPLICATE), SNAPSHOTS - 1);
    assert_int_equal(qca_check_count(&result, QCA_ISSUE_METADATA_SHARED), SNAPSHOTS - 1);
    qca_check_result_done(&result);
    kit_free(kit);
}

static void more_references_than_a_refcount_holds_are_corruptions(void **state)
{
    struct kit *kit = kit_new(16, 1, 6);        /* up to 3 */
    struct qca_check_result result;

    for (unsigned i = 0; i < 6; i++)
        kit_put(kit, kit_l2(kit, i), 8, KIT_DATA * CLUSTER);
    kit_refcount(kit, KIT_DATA, 3);
    for (unsigned i = 1; i < 6; i++)
        kit_refcount(kit, KIT_DATA + i, 0);
    result = kit_check(kit, NULL);
    assert_int_equal(qca_check_count(&result, QCA_ISSUE_REFERENCE_OVERFLOW), 3);
    assert_int_equal(result.corruptions, 3);
    assert_int_equal(find(&result, QCA_ISSUE_REFERENCE_OVERFLOW)->host_offset, KIT_DATA * CLUSTER);
    qca_check_result_done(&result);
    kit_free(kit);
}

static void unreadable_refcounts_are_check_errors(void **state)
{
    struct kit *kit = kit_new(16, 4, 4);
    struct qca_check_result result;

    kit_put(kit, KIT_REFTABLE * CLUSTER, 8, KIT_REFBLOCK * CLUSTER + 512);
    result = kit_check(kit, NULL);
    assert_true(result.finished);
    assert_int_equal(result.check_errors, KIT_DATA + 4);
    assert_int_equal(result.corruptions, 1);
    assert_int_equal(find(&result, QCA_ISSUE_READ_FAILED)->count, KIT_DATA + 4);
    assert_int_equal(qca_check_exit_status(&result), 1);
    qca_check_result_done(&result);
    kit_free(kit);
}

struct bad_disk {
    const struct kit *kit;
    uint64_t bad;               /* the byte that cannot be read */
};

static int64_t read_bad_disk(void *userdata, uint64_t offset, void *buf, size_t size)
{
    const struct bad_disk *disk = userdata;

    if (offset >= disk->kit->size)
        return 0;
    size = size < disk->kit->size - offset ? size : disk->kit->size - offset;
    if (disk->bad >= offset && disk->bad < offset + size)
        return -EIO;
    memcpy(buf, disk->kit->data + offset, size);
    return (int64_t)size;
}

/* It is told from a pointer to somewhere behind the end by its place. */
static void a_table_that_cannot_be_read_has_a_place(void **state)
{
    struct kit *kit = kit_new(16, 4, 4);
    struct bad_disk disk = { .kit = kit, .bad = KIT_L1 * CLUSTER };
    _cleanup_close_ int fd = memfd_create("disk", MFD_CLOEXEC);
    struct qca_check_result result;
    struct qca_image *image;
    struct qca_error error;
    struct qca_io *io;

    assert_int_equal(ftruncate(fd, (off_t)kit->size), 0);
    assert_int_equal(qca_io_new_reader(fd, read_bad_disk, &disk, &io), 0);
    assert_int_equal(qca_image_open(io, NULL, &error, &image), 0);
    assert_int_equal(qca_check(image, NULL, &result), 0);
    assert_false(result.finished);
    assert_int_equal(find(&result, QCA_ISSUE_READ_FAILED)->table_offset, KIT_L1 * CLUSTER);
    assert_int_equal(find(&result, QCA_ISSUE_READ_FAILED)->host_offset, KIT_L1 * CLUSTER);
    qca_check_result_done(&result);
    qca_image_free(image);
    qca_io_free(io);
    kit_free(kit);
}

static void marks_are_beside_the_counters(void **state)
{
    struct kit *kit = kit_new(16, 4, 4);
    struct qca_check_result result;

    kit_put(kit, 72, 8, QCA_INCOMPAT_CORRUPT | QCA_INCOMPAT_DIRTY);
    result = kit_check(kit, NULL);
    assert_int_equal(qca_check_exit_status(&result), 0);
    assert_int_equal(result.n_issues, 2);
    assert_int_equal(qca_check_count(&result, QCA_ISSUE_CORRUPT_BIT), 1);
    assert_int_equal(qca_check_count(&result, QCA_ISSUE_DIRTY_BIT), 1);
    qca_check_result_done(&result);
    kit_free(kit);
}

static void issues_are_capped_and_counted_all(void **state)
{
    struct kit *kit = kit_new(16, 4, 40);
    struct qca_check_options options = { .max_issues = 5 };
    struct qca_check_result result;

    /* with a sound one between each two */
    for (unsigned i = 0; i < 40; i += 2)
        kit_put(kit, kit_l2(kit, i), 8, (KIT_DATA + i) * CLUSTER | COPIED | 4);
    result = kit_check(kit, &options);
    assert_int_equal(result.n_issues, 5);
    assert_int_equal(result.corruptions, 20);
    assert_int_equal(qca_check_count(&result, QCA_ISSUE_L2_RESERVED_BITS), 20);
    qca_check_result_done(&result);
    /* without: one run, however many are kept */
    for (unsigned i = 1; i < 40; i += 2)
        kit_put(kit, kit_l2(kit, i), 8, (KIT_DATA + i) * CLUSTER | COPIED | 4);
    options.max_issues = 1;
    result = kit_check(kit, &options);
    assert_int_equal(result.n_issues, 1);
    assert_int_equal(result.issues[0].count, 40);
    assert_int_equal(result.issues[0].guest_length, 40 * CLUSTER);
    assert_int_equal(result.corruptions, 40);
    qca_check_result_done(&result);
    kit_free(kit);
}

struct watch {
    uint64_t calls, last;
    atomic_bool cancel;
};

static void watch_progress(void *userdata, uint64_t done, uint64_t total)
{
    struct watch *watch = userdata;

    assert_true(done <= total);
    assert_true(done >= watch->last);
    watch->last = done;
    watch->calls++;
    atomic_store(&watch->cancel, true);
}

/* 4,096 L1 entries that all point at the L2 table. */
static struct kit *shared_table(void)
{
    struct kit *kit = kit_new(16, 6, 1);

    kit_put(kit, 36, 4, 4096);
    for (unsigned i = 1; i < 4096; i++)
        kit_put(kit, KIT_L1 * CLUSTER + 8 * i, 8, KIT_L2 * CLUSTER);
    kit_put(kit, KIT_L1 * CLUSTER, 8, KIT_L2 * CLUSTER);
    kit_refcount(kit, KIT_L2, 4096);
    kit_refcount(kit, KIT_DATA, 4096);
    kit_put(kit, kit_l2(kit, 0), 8, KIT_DATA * CLUSTER);
    return kit;
}

static void a_table_in_many_places_is_read_once(void **state)
{
    struct kit *kit = shared_table();
    struct qca_check_result result;
    struct qca_image *image;
    struct qca_io *io;

    assert_int_equal(kit_open(kit, NULL, &io, &image), 0);
    assert_int_equal(qca_check(image, NULL, &result), 0);
    assert_int_equal(result.corruptions + result.leaks, 0);
    assert_int_equal(result.allocated_clusters, 4096);
    assert_true(qca_io_bytes_read(io) < 20 * CLUSTER);
    qca_check_result_done(&result);
    qca_image_free(image);
    qca_io_free(io);
    kit_free(kit);
}

/* 2,048 L2 tables, all behind each other: enough work for progress to be told of. */
static struct kit *many_tables(void)
{
    enum { TABLES = 2048 };
    struct kit *kit = kit_new(16, 4, 0);
    uint64_t first = kit_grow(kit, TABLES);

    kit_put(kit, 36, 4, TABLES);
    for (unsigned i = 0; i < TABLES; i++) {
        kit_put(kit, KIT_L1 * CLUSTER + 8 * i, 8, (first + i) * CLUSTER | COPIED);
        kit_refcount(kit, first + i, 1);
    }
    kit_refcount(kit, KIT_L2, 0);
    return kit;
}

static void progress_is_told_and_a_check_can_be_cancelled(void **state)
{
    struct watch watch = { 0 };
    struct qca_check_options options = { .progress = watch_progress, .userdata = &watch };
    struct qca_check_result result;
    struct kit *kit = many_tables();
    struct qca_image *image;
    struct qca_io *io;

    result = kit_check(kit, &options);
    assert_int_equal(result.corruptions + result.leaks, 0);
    assert_true(watch.calls >= 2);
    qca_check_result_done(&result);

    watch.calls = 0;
    watch.last = 0;
    atomic_store(&watch.cancel, false);
    options.cancel = &watch.cancel;
    assert_int_equal(kit_open(kit, NULL, &io, &image), 0);
    assert_int_equal(qca_check(image, &options, &result), -ECANCELED);
    assert_int_equal(watch.calls, 1);
    qca_image_free(image);
    qca_io_free(io);
    kit_free(kit);
}

/* ---- more clusters than memory: a sparse file of 4 GiB in clusters of 512 bytes -------------- */

enum {
    SPARSE_CLUSTERS = 8 << 20,
    SPARSE_STEP = 32768,
    SPARSE_DATA = SPARSE_CLUSTERS / SPARSE_STEP
};

static void put(int fd, uint64_t offset, unsigned size, uint64_t value)
{
    uint8_t bytes[8];

    for (unsigned i = 0; i < size; i++)
        bytes[i] = value >> (8 * (size - 1 - i));
    assert_int_equal(pwrite(fd, bytes, size, (off_t)offset), size);
}

/* One data cluster in each page of the counting map, each with a refcount block beside it. */
static int sparse_image(void)
{
    const uint64_t reftable = 1, reftable_clusters = SPARSE_CLUSTERS / 256 * 8 / 512,
                   l1 = 1 + reftable_clusters, l2 = l1 + 1, entries = 64;
    int fd = memfd_create("sparse", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)SPARSE_CLUSTERS * 512), 0);
    put(fd, 0, 4, 0x514649fb);
    put(fd, 4, 4, 3);
    put(fd, 20, 4, 9);
    put(fd, 24, 8, SPARSE_DATA * 512);
    put(fd, 36, 4, SPARSE_DATA / entries);
    put(fd, 40, 8, l1 * 512);
    put(fd, 48, 8, reftable * 512);
    put(fd, 56, 4, reftable_clusters);
    put(fd, 96, 4, 4);
    put(fd, 100, 4, 104);
    for (uint64_t i = 0; i < SPARSE_DATA / entries; i++)
        put(fd, l1 * 512 + 8 * i, 8, (l2 + i) * 512 | COPIED);
    for (uint64_t i = 0; i < SPARSE_DATA; i++) {
        uint64_t data = i * SPARSE_STEP + 20000, block = data + 1;

        put(fd, l2 * 512 + 8 * i, 8, data * 512 | COPIED);
        put(fd, reftable * 512 + 8 * (data / 256), 8, block * 512);
        put(fd, block * 512 + 2 * (data % 256), 2, 1);
        put(fd, block * 512 + 2 * (block % 256), 2, 1);
    }
    /* What is in front is counted by blocks of its own, right behind. */
    for (uint64_t i = 0; i < 9; i++) {
        uint64_t block = l2 + SPARSE_DATA / entries + i;

        put(fd, reftable * 512 + 8 * i, 8, block * 512);
    }
    for (uint64_t cluster = 0; cluster < l2 + SPARSE_DATA / entries + 9; cluster++)
        put(fd, (l2 + SPARSE_DATA / entries + cluster / 256) * 512 + 2 * (cluster % 256), 2, 1);
    return fd;
}

static struct qca_check_result sparse_check(int fd, uint64_t memory_limit, uint64_t *ret_read)
{
    struct qca_check_options options = { .memory_limit = memory_limit };
    struct qca_check_result result;
    struct qca_image *image;
    struct qca_io *io;

    assert_int_equal(qca_io_new_fd(fd, &io), 0);
    assert_int_equal(qca_image_open(io, NULL, NULL, &image), 0);
    assert_int_equal(qca_check(image, &options, &result), 0);
    *ret_read = qca_io_bytes_read(io);
    qca_image_free(image);
    qca_io_free(io);
    return result;
}

static void little_memory_makes_passes_with_the_same_result(void **state)
{
    int fd = sparse_image();
    struct qca_check_result whole, little;
    uint64_t limit = 256 * 1024, once, again;

    whole = sparse_check(fd, 0, &once);
    assert_int_equal(whole.corruptions, 0);
    assert_int_equal(whole.leaks, 0);
    assert_int_equal(whole.allocated_clusters, SPARSE_DATA);
    assert_int_equal(whole.image_end_offset,
                     (SPARSE_DATA - 1) * UINT64_C(512) * SPARSE_STEP + 20002 * 512);
    qca_check_result_done(&whole);

    /* Damage in many pages: a wrong flag, a leak, a reference too many, an entry out of the
     * file. */
    for (uint64_t i = 0; i < SPARSE_DATA; i += 16) {
        uint64_t data = i * SPARSE_STEP + 20000,
                 l2 = (1 + SPARSE_CLUSTERS / 256 * 8 / 512 + 1) * 512;

        put(fd, l2 + 8 * i, 8, data * 512);
        put(fd, (data + 1) * 512 + 2 * ((data + 7) % 256), 2, 1);
        put(fd, l2 + 8 * (i + 1), 8, (data + 5) * 512 | COPIED);
        put(fd, l2 + 8 * (i + 2), 8, (UINT64_C(1) << 50) | COPIED);
    }
    whole = sparse_check(fd, 0, &once);
    assert_true(whole.finished);
    assert_true(whole.corruptions >= 4 * SPARSE_DATA / 16);

    /* The least memory with which it finishes at all. */
    for (;; limit += 64 * 1024) {
        little = sparse_check(fd, limit, &again);
        if (little.finished)
            break;
        assert_int_equal(qca_check_error(&little)->kind, QCA_ERROR_MEMORY);
        qca_check_result_done(&little);
        assert_true(limit < 64 << 20);
    }
    assert_true(again > once);          /* it did come by more than once */
    assert_int_equal(little.corruptions, whole.corruptions);
    assert_int_equal(little.leaks, whole.leaks);
    assert_int_equal(little.check_errors, whole.check_errors);
    assert_int_equal(little.image_end_offset, whole.image_end_offset);
    assert_int_equal(little.allocated_clusters, whole.allocated_clusters);
    assert_int_equal(little.fragmented_clusters, whole.fragmented_clusters);
    assert_int_equal(little.leak_runs, whole.leak_runs);
    assert_int_equal(little.burst_leaks, whole.burst_leaks);
    assert_true(fixture_same_counts(&little, &whole));
    assert_int_equal(little.n_issues, whole.n_issues);
    qca_check_result_done(&little);
    qca_check_result_done(&whole);
    close(fd);
}

/* ---- tables meant to take for ever -------------------------------------------------------- */

static void overlapping_tables_without_end_are_refused(void **state)
{
    struct kit *kit = kit_new(21, 4, 0);
    struct qca_check_result result;
    uint64_t cluster = kit->cluster;

    /* The L1 table as large as can be, each entry an L2 table at another unaligned place in the
     * same bytes. */
    kit_put(kit, 36, 4, cluster / 8);
    for (uint64_t i = 0; i < cluster / 8; i++)
        kit_put(kit, KIT_L1 * cluster + 8 * i, 8, i % (4 * cluster / 512) * 512);
    result = kit_check(kit, NULL);
    assert_false(result.finished);
    assert_int_equal(qca_check_error(&result)->kind, QCA_ERROR_LIMIT);
    assert_true(result.corruptions > 0);
    assert_int_equal(qca_check_exit_status(&result), 1);
    qca_check_result_done(&result);
    kit_free(kit);
}

static void overlapping_bitmap_tables_are_refused(void **state)
{
    enum { BITMAPS = 2000, ENTRY = 24 };
    struct kit *kit = kit_new(9, 4, 0);
    uint64_t at = kit_grow(kit, BITMAPS * ENTRY / 512 + 1) * kit->cluster;
    uint8_t extension[24] = { [2] = BITMAPS >> 8, [3] = BITMAPS & 255 };
    struct qca_check_result result;

    extension[14] = BITMAPS * ENTRY >> 8, extension[15] = BITMAPS * ENTRY & 255;
    extension[22] = at >> 8, extension[23] = at & 255;
    kit_put(kit, 88, 8, QCA_AUTOCLEAR_BITMAPS);
    kit_extension(kit, 0x23852875, extension, sizeof(extension));
    /* Each in use, with the largest table that there may be, at the same place. */
    for (unsigned i = 0; i < BITMAPS; i++, at += ENTRY) {
        kit_put(kit, at, 8, kit->cluster);
        kit_put(kit, at + 8, 4, 1 << 20);
        kit_put(kit, at + 12, 4, QCA_BITMAP_IN_USE);
        kit_put(kit, at + 16, 1, 1);
        kit_put(kit, at + 17, 1, 16);
    }
    result = kit_check(kit, NULL);
    assert_false(result.finished);
    assert_int_equal(qca_check_error(&result)->kind, QCA_ERROR_LIMIT);
    assert_int_equal(qca_check_count(&result, QCA_ISSUE_BITMAPS_INVALID), 1);
    qca_check_result_done(&result);
    kit_free(kit);
}

static uint64_t random_next(uint64_t *chance)
{
    uint64_t z = *chance += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Random damage to tables full of runs, holes and single clusters: vector instructions change
 * nothing but the time. */
static void scalar_and_vector_say_the_same(void **state)
{
    const struct qca_check_options variants[] = {
        { .scalar_only = true }, { .scalar_only = false },
    };
    uint64_t chance = 7, damaged = 0;

    for (unsigned round = 0; round < 400; round++) {
        struct kit *kit = kit_new(12, 4, 480);
        struct qca_check_result results[ELEMENTSOF(variants)];

        for (uint64_t n = random_next(&chance) % 12; n > 0; n--) {
            uint64_t table = KIT_REFTABLE + random_next(&chance) % 4,
                     entry = random_next(&chance) % 512;
            uint64_t offset = kit->cluster * table + 8 * entry;
            uint64_t value = kit_get(kit, offset, 8), other = random_next(&chance) % 512;

            switch (random_next(&chance) % 4) {
            case 0:     /* a bit */
                value ^= UINT64_C(1) << random_next(&chance) % 64;
                break;
            case 1:     /* a hole */
                value = 0;
                break;
            case 2:     /* another entry's cluster */
                value = kit_get(kit, kit->cluster * table + 8 * other, 8);
                break;
            default:    /* another entry's flag */
                value ^= COPIED;
            }
            kit_put(kit, offset, 8, value);
        }
        for (size_t i = 0; i < ELEMENTSOF(variants); i++)
            results[i] = kit_check(kit, &variants[i]);
        damaged += results[0].n_issues > 0;
        for (size_t i = 1; i < ELEMENTSOF(variants); i++)
            kit_assert_same(&results[0], &results[i]);
        for (size_t i = 0; i < ELEMENTSOF(variants); i++)
            qca_check_result_done(&results[i]);
        kit_free(kit);
    }
    assert_true(damaged > 200);
}

/* The snapshot table reaches into the first cluster behind the file, which so has a count. The L1
 * entry for that cluster is refused as outside, and the only one with a flag: the flag still has to
 * fit the stored refcount, 0. */
static void a_flag_outside_of_a_page_without_flags(void **state)
{
    struct kit *kit = kit_new(9, 4, 1);
    uint64_t table = kit_grow(kit, 1), outside = table + 1;
    struct qca_check_result result;

    kit_refcount(kit, table, 1);
    kit_put(kit, 60, 4, 1);
    kit_put(kit, 64, 8, table * 512);
    kit_put(kit, table * 512 + 14, 2, 500);     /* its name, into the cluster behind */
    kit_put(kit, table * 512 + 36, 4, 16);
    kit_put(kit, KIT_L1 * 512, 8, UINT64_C(1) << 63 | outside * 512);
    result = kit_check(kit, NULL);
    assert_true(result.finished);
    assert_int_equal(qca_check_count(&result, QCA_ISSUE_OUT_OF_FILE), 1);
    assert_int_equal(qca_check_count(&result, QCA_ISSUE_REFCOUNT_LOW), 1);
    assert_int_equal(qca_check_count(&result, QCA_ISSUE_COPIED_WRONG), 1);
    assert_int_equal(result.corruptions, 3);
    assert_int_equal(result.leaks, 2);
    qca_check_result_done(&result);
    kit_free(kit);
}

/* Is next kept in the run? Then run becomes it. */
static bool goes_on(struct qca_issue *run, const struct qca_issue *next)
{
    struct qca_check_result result = { .finished = true };
    struct check check = { .options.max_issues = 1000, .result = &result };
    bool one;

    assert_int_equal(check_issue(&check, run), 0);
    assert_int_equal(check_issue(&check, next), 0);
    assert_int_equal(qca_check_count(&result, run->kind) + qca_check_count(&result, next->kind),
                     (run->kind == next->kind ? 2 : 1) * (run->count + next->count));
    one = result.n_issues == 1;
    if (one)
        *run = result.issues[0];
    qca_check_result_done(&result);
    return one;
}

static void issues_in_a_row_are_one_run(void **state)
{
    const struct qca_issue first = { .kind = QCA_ISSUE_DATA_FILE_END, .table = QCA_TABLE_L2,
                                     .snapshot = QCA_ACTIVE, .table_offset = 4096, .index = 7,
                                     .host_offset = 65536, .host_length = 65536,
                                     .guest_offset = 0, .guest_length = 65536, .count = 1 };
    struct qca_issue run = first, next = first;

    assert_false(goes_on(&run, &next));        /* the same entry */
    next.index++;
    assert_false(goes_on(&run, &next));
    next.host_offset += 65536;
    assert_false(goes_on(&run, &next));
    next.guest_offset += 65536;
    assert_true(goes_on(&run, &next));
    assert_int_equal(run.count, 2);
    assert_int_equal(run.host_length, 131072);
    assert_int_equal(run.guest_length, 131072);
    next.index++;
    next.host_offset = next.guest_offset = QCA_NO_OFFSET;
    assert_false(goes_on(&run, &next));
    run = first;
    next = first;
    next.index++;
    run.host_offset = next.host_offset = QCA_NO_OFFSET;
    next.guest_offset += 65536;
    run.count = 2;                      /* an entry that two tables share */
    assert_false(goes_on(&run, &next));
    run.count = 1;
    assert_true(goes_on(&run, &next));
    next.guest_offset += 65536;
    next.index++;
    next.table_offset++;
    assert_false(goes_on(&run, &next));
    next.table_offset--;
    next.kind = QCA_ISSUE_OUT_OF_FILE;
    assert_false(goes_on(&run, &next));
    /* nothing overflows */
    run = next = first;
    run.host_offset = UINT64_MAX - 10;
    next.host_offset = 65525;
    next.index++;
    assert_false(goes_on(&run, &next));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flag_outside_of_a_page_without_flags),
        cmocka_unit_test(issues_in_a_row_are_one_run),
        cmocka_unit_test(images_of_all_shapes_are_clean),
        cmocka_unit_test(each_damage_is_one_issue_in_its_place),
        cmocka_unit_test(leaks_are_grouped_in_runs),
        cmocka_unit_test(the_burst_is_the_fullest_window),
        cmocka_unit_test(an_l2_table_shared_by_snapshots_counts_once_for_each),
        cmocka_unit_test(more_references_than_a_refcount_holds_are_corruptions),
        cmocka_unit_test(unreadable_refcounts_are_check_errors),
        cmocka_unit_test(a_table_that_cannot_be_read_has_a_place),
        cmocka_unit_test(marks_are_beside_the_counters),
        cmocka_unit_test(issues_are_capped_and_counted_all),
        cmocka_unit_test(a_table_in_many_places_is_read_once),
        cmocka_unit_test(scalar_and_vector_say_the_same),
        cmocka_unit_test(progress_is_told_and_a_check_can_be_cancelled),
        cmocka_unit_test(little_memory_makes_passes_with_the_same_result),
        cmocka_unit_test(overlapping_tables_without_end_are_refused),
        cmocka_unit_test(overlapping_bitmap_tables_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
