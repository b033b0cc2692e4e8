/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The largest there can be: files, disks, tables and chains at the ends of their fields are answered
 * or refused, with the reason. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "qcow2-kit.h"

#define MEMORY_LIMIT (UINT64_C(256) << 20)

/* The kit's image as the beginning of a file of that size; -1 where the system has no such files. */
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
            assert_int_equal(result.error.kind, QCA_ERROR_LIMIT);
            assert_true(result.error.value > result.error.bound);
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
    assert_int_equal(result.kind_count[QCA_ISSUE_REFBLOCK_SHARED], ENTRIES - 1);
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
        cmocka_unit_test(chains_of_10000),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
