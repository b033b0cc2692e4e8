/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The largest there can be: files, disks, tables and chains at the ends of their fields are
 * answered or refused, with the reason. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "lib/cleanup.h"
#include "qcow2-kit.h"

#define MEMORY_LIMIT (UINT64_C(256) << 20)

/* The kit's image as the beginning of a file of that size; -1 where the system has no such
 * files. */
static int sparse_file(const struct kit *kit, uint64_t size)
{
    int fd = memfd_create("limits", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, kit->data, kit->size, 0), kit->size);
    if (ftruncate(fd, (off_t)size) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* 0 or the open's error; then *ret_result is of the check. */
static int check_file(int fd, struct qca_error *error, struct qca_check_result *ret_result)
{
    const struct qca_open_options open_options = { .memory_limit = MEMORY_LIMIT };
    const struct qca_check_options options = { .memory_limit = MEMORY_LIMIT, .deep = true };
    struct qca_image *image;
    struct qca_io *io;
    int r;

    assert_int_equal(qca_io_new_fd(fd, &io), 0);
    r = qca_image_open(io, &open_options, error, &image);
    if (r == 0) {
        assert_int_equal(qca_check(image, &options, ret_result), 0);
        qca_image_free(image);
    }
    qca_io_free(io);
    return r;
}

static void files_up_to_the_largest(void **state)
{
    static const struct { uint64_t size; unsigned bits; bool finishes; } cases[] = {
        { UINT64_C(1) << 40, 16, true },
        { (UINT64_C(1) << 40) - 1, 21, true },
        { UINT64_C(1) << 50, 9, false },
        { UINT64_C(1) << 62, 21, false },
        { INT64_MAX, 21, false },
        { INT64_MAX, 9, false },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct kit *kit = kit_new(cases[i].bits, 4, 3);
        int fd = sparse_file(kit, cases[i].size);
        struct qca_check_result result;
        struct qca_error error;

        kit_free(kit);
        if (fd < 0)
            continue;
        assert_int_equal(check_file(fd, &error, &result), 0);
        assert_int_equal(result.finished, cases[i].finishes);
        if (!cases[i].finishes) {
            assert_int_equal(qca_check_error(&result)->kind, QCA_ERROR_LIMIT);
            assert_true(qca_check_error(&result)->value > qca_check_error(&result)->bound);
            assert_int_equal(qca_check_exit_status(&result), 1);
        } else
            assert_int_equal(result.corruptions + result.leaks + result.check_errors, 0);
        qca_check_result_done(&result);
        close(fd);
    }
}

static void disks_up_to_the_largest(void **state)
{
    static const struct { uint64_t size; enum qca_error_kind kind; const char *field; } cases[] = {
        { UINT64_C(60) << 40, QCA_ERROR_HEADER, "l1_size" },    /* the L1 table has one entry */
        { INT64_MAX, QCA_ERROR_LIMIT, "size" },
        { UINT64_MAX, QCA_ERROR_LIMIT, "size" },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct kit *kit = kit_new(16, 4, 3);
        struct qca_check_result result;
        struct qca_error error;
        int fd;

        kit_put(kit, 24, 8, cases[i].size);
        fd = sparse_file(kit, kit->size);
        assert_true(check_file(fd, &error, &result) < 0);
        assert_int_equal(error.kind, cases[i].kind);
        assert_string_equal(error.field, cases[i].field);
        close(fd);
        kit_free(kit);
    }
}

/* 8 MiB of refcount table, each entry the same block: a corruption for each but one, and no more
 * work than that. */
static void the_largest_refcount_table(void **state)
{
    enum { BITS = 16, CLUSTERS = (8 << 20) >> BITS, ENTRIES = (8 << 20) / 8 };
    struct kit *kit = kit_new(BITS, 6, 3);
    struct qca_check_result result;
    struct qca_error error;
    uint64_t table = kit_grow(kit, CLUSTERS);
    int fd;

    kit_put(kit, 48, 8, table << BITS);
    kit_put(kit, 56, 4, CLUSTERS);
    for (uint64_t i = 0; i < ENTRIES; i++)
        kit_put(kit, (table << BITS) + 8 * i, 8, (uint64_t)KIT_REFBLOCK << BITS);
    fd = sparse_file(kit, kit->size);
    assert_int_equal(check_file(fd, &error, &result), 0);
    assert_true(result.finished);
    assert_int_equal(qca_check_count(&result, QCA_ISSUE_REFBLOCK_SHARED), ENTRIES - 1);
    assert_true(result.n_issues <= 1000);
    qca_check_result_done(&result);

    /* One cluster more is refused. */
    kit_put(kit, 56, 4, CLUSTERS + 1);
    assert_int_equal(pwrite(fd, kit->data, kit->size, 0), kit->size);
    assert_int_equal(check_file(fd, &error, &result), -EFBIG);
    assert_int_equal(error.kind, QCA_ERROR_LIMIT);
    assert_string_equal(error.field, "refcount_table_clusters");
    close(fd);
    kit_free(kit);
}

/* 32 MiB of L1 table said, next to nothing of it in the file: what is not there takes no memory. */
static void the_largest_l1_table(void **state)
{
    enum { BITS = 16 };
    const struct qca_map_options options = { .memory_limit = 1 << 20 };
    struct kit *kit = kit_new(BITS, 4, 3);
    struct qca_extent extent;
    struct qca_image *image;
    struct qca_chain *chain;
    struct qca_map *map;
    struct qca_io *io;

    kit_put(kit, 24, 8, UINT64_C(1) << 51);
    kit_put(kit, 36, 4, 4 << 20);
    assert_int_equal(qca_io_new_memory(kit->data, kit->size, &io), 0);
    assert_int_equal(qca_image_open(io, NULL, NULL, &image), 0);
    assert_int_equal(qca_chain_open(image, NULL, NULL, NULL, NULL, &chain), 0);
    assert_int_equal(qca_map_new(chain, &options, NULL, &map), 0);
    assert_int_equal(qca_map_size(map), UINT64_C(1) << 51);
    assert_int_equal(qca_map_next(map, (UINT64_C(1) << 51) - 1, &extent), 1);
    assert_int_equal(extent.kind, QCA_EXTENT_UNALLOCATED);
    qca_map_free(map);
    qca_chain_free(chain);
    qca_image_free(image);
    qca_io_free(io);
    kit_free(kit);
}

/* Clusters that two entries map, all over a data file that the memory cannot count at once: all are
 * found, each once, or it is said that not. */
static void a_data_file_larger_than_memory(void **state)
{
    enum { BITS = 12, PAIRS = 200, PAGE_BYTES = 4096, PAGE_CLUSTERS = 32768 };
    const uint64_t size = UINT64_C(1) << 39, pages = (size >> BITS) / PAGE_CLUSTERS;
    struct kit *kit = kit_new(BITS, 4, 0);
    struct qca_check_options options = { .data_file_known = true, .data_file_size = size,
                                         .max_issues = 100 };
    uint64_t least = 0;
    unsigned unfinished = 0;

    kit_put(kit, 72, 8, 1 << 2);        /* an external data file */
    kit_put(kit, 24, 8, 2 * PAIRS << BITS);
    kit_extension(kit, 0x44415441, "data", 4);
    for (uint64_t i = 0; i < PAIRS; i++)
        for (uint64_t k = 0; k < 2; k++)
            kit_put(kit, kit_l2(kit, 2 * i + k), 8,
                    UINT64_C(1) << 63 | (size / PAIRS * i & ~UINT64_C(4095)));
    for (uint64_t limit = 600 << 10; limit < 128 << 20; limit += limit / 64) {
        struct qca_check_result result;

        options.memory_limit = limit;
        result = kit_check(kit, &options);
        if (result.finished) {
            assert_int_equal(qca_check_count(&result, QCA_ISSUE_DATA_FILE_SHARED), PAIRS);
            assert_int_equal(result.corruptions + result.leaks + result.check_errors, 0);
            if (least == 0)
                least = limit;
        } else {
            assert_int_equal(qca_check_error(&result)->kind, QCA_ERROR_MEMORY);
            assert_int_equal(least, 0);         /* more memory is never worse */
            unfinished++;
        }
        qca_check_result_done(&result);
    }
    assert_true(unfinished > 0);
    /* it was less than what a single walk takes: a quarter of it would have to hold all */
    assert_true(least > 0 && least / 4 < pages * PAGE_BYTES / 4);
    kit_free(kit);
}

/* ---- compressed data ---------------------------------------------------------------------- */

enum { PACKED_BITS = 21, PACKED_CLUSTERS = 64 };

/* A cluster of zeros, deflated as QEMU does. */
static size_t pack(uint8_t *packed, size_t size)
{
    uint8_t *zeros = calloc(1, 1 << PACKED_BITS);
    z_stream stream = {
        .next_in = zeros, .avail_in = 1 << PACKED_BITS, .next_out = packed, .avail_out = (uInt)size
    };

    assert_non_null(zeros);
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    free(zeros);
    return size - stream.avail_out;
}

/* 128 MiB of zeros in some 128 KiB of one cluster. */
static struct kit *packed_kit(void)
{
    struct kit *kit = kit_new(PACKED_BITS, 4, 1);
    uint64_t data = (uint64_t)KIT_DATA << PACKED_BITS;
    uint8_t packed[8192];
    size_t n = pack(packed, sizeof(packed));

    kit_put(kit, 24, 8, (uint64_t)PACKED_CLUSTERS << PACKED_BITS);
    for (uint64_t i = 0; i < PACKED_CLUSTERS; i++) {
        uint64_t at = data + i * n, sectors = (at % 512 + n + 511) / 512 - 1;

        memcpy(kit->data + at, packed, n);
        kit_put(kit, kit_l2(kit, i), 8,
                UINT64_C(1) << 62 | sectors << (62 - (PACKED_BITS - 8)) | at);
    }
    kit_refcount(kit, KIT_DATA, PACKED_CLUSTERS);
    return kit;
}

struct watch {
    atomic_bool cancel;
    unsigned calls, cancel_at, after;
    uint64_t done;
};

static void watch_progress(void *userdata, uint64_t done, uint64_t total)
{
    struct watch *watch = userdata;

    assert_true(done >= watch->done && done <= total);
    watch->done = done;
    if (watch->cancel)
        watch->after++;
    if (++watch->calls == watch->cancel_at)
        watch->cancel = true;
}

static void little_that_inflates_to_much(void **state)
{
    struct kit *kit = packed_kit();
    struct watch watch = { .calls = 0 };
    struct qca_check_options options = {
        .deep = true, .cancel = &watch.cancel, .progress = watch_progress, .userdata = &watch,
    };
    struct qca_check_result result = kit_check(kit, &options);
    struct qca_image *image;
    struct qca_io *io;

    assert_true(result.finished);
    assert_int_equal(result.compressed_clusters, PACKED_CLUSTERS);
    assert_int_equal(result.corruptions + result.leaks +
                         qca_check_count(&result, QCA_ISSUE_COMPRESSED_BAD),
                     0);
    /* told of what it inflates, not of the little that it reads */
    assert_in_range(watch.calls, PACKED_CLUSTERS / 4, PACKED_CLUSTERS + 8);
    qca_check_result_done(&result);

    /* a bound, with the reason; what was counted before stands */
    options.inflate_limit = (uint64_t)10 << PACKED_BITS;
    watch = (struct watch){ .calls = 0 };
    result = kit_check(kit, &options);
    assert_false(result.finished);
    assert_int_equal(qca_check_error(&result)->kind, QCA_ERROR_LIMIT);
    assert_int_equal(qca_check_error(&result)->bound, options.inflate_limit);
    assert_int_equal(qca_check_error(&result)->value, (uint64_t)11 << PACKED_BITS);
    assert_int_equal(result.compressed_clusters, PACKED_CLUSTERS);
    assert_int_equal(result.corruptions + result.leaks + result.check_errors, 0);
    assert_int_equal(qca_check_exit_status(&result), 1);
    qca_check_result_done(&result);

    /* ended in the middle of it */
    options.inflate_limit = 0;
    watch = (struct watch){ .cancel_at = 10 };
    assert_int_equal(kit_open(kit, NULL, &io, &image), 0);
    assert_int_equal(qca_check(image, &options, &result), -ECANCELED);
    assert_int_equal(watch.after, 0);
    qca_image_free(image);
    qca_io_free(io);
    kit_free(kit);
}

/* ---- chains ------------------------------------------------------------------------------- */

struct deep_store {
    const struct kit *layer, *base;
    uint64_t asked, depth;
};

/* The same image over and over, each time as another file, until the base. */
static int resolve(void *userdata, const struct qca_reference *reference, struct qca_io **ret_io,
                   struct qca_file_id *ret_id)
{
    struct deep_store *store = userdata;
    const struct kit *kit = ++store->asked + 1 == store->depth ? store->base : store->layer;
    int r = qca_io_new_memory(kit->data, kit->size, ret_io);

    if (r == 0)
        *ret_id = (struct qca_file_id) { .a = store->asked, .b = 2 };
    return r;
}

static int open_chain(struct deep_store *store, uint32_t max_depth, uint64_t memory_limit,
                      struct qca_error *error, size_t *ret_depth)
{
    const struct qca_chain_options options = { .max_depth = max_depth,
                                               .memory_limit = memory_limit };
    struct qca_image *leaf;
    struct qca_chain *chain;
    struct qca_io *io;
    int r;

    store->asked = 0;
    assert_int_equal(qca_io_new_memory(store->layer->data, store->layer->size, &io), 0);
    assert_int_equal(qca_image_open(io, NULL, NULL, &leaf), 0);
    r = qca_chain_open(leaf, &options, resolve, store, error, &chain);
    if (r == 0) {
        *ret_depth = qca_chain_depth(chain);
        qca_chain_free(chain);
    }
    qca_image_free(leaf);
    qca_io_free(io);
    return r;
}

static void chains_of_10000(void **state)
{
    struct kit *layer = kit_new(9, 4, 1), *base = kit_new(9, 4, 1);
    struct deep_store store = { layer, base, 0, 10000 };
    struct qca_error error;
    size_t depth = 0;

    kit_parent(layer, "next", "qcow2");
    assert_int_equal(open_chain(&store, 0, 0, &error, &depth), -EMLINK);
    assert_int_equal(error.kind, QCA_ERROR_CHAIN_LIMIT);
    assert_true(store.asked < 2 * error.bound);         /* no more were opened than allowed */
    assert_int_equal(open_chain(&store, 10000, 0, &error, &depth), 0);
    assert_int_equal(depth, 10000);
    assert_int_equal(open_chain(&store, 9999, 0, &error, &depth), -EMLINK);
    assert_int_equal(open_chain(&store, 10000, 1 << 20, &error, &depth), -ENOMEM);
    assert_int_equal(error.kind, QCA_ERROR_MEMORY);
    kit_free(layer);
    kit_free(base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_up_to_the_largest),
        cmocka_unit_test(disks_up_to_the_largest),
        cmocka_unit_test(the_largest_refcount_table),
        cmocka_unit_test(little_that_inflates_to_much),
        cmocka_unit_test(the_largest_l1_table),
        cmocka_unit_test(a_data_file_larger_than_memory),
        cmocka_unit_test(chains_of_10000),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
