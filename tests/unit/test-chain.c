/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Chains through a resolver over images in memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "qcow2-kit.h"

enum { MANY = 1847 };

/* The store: images by number; a reference is a number in words. */
struct store {
    struct kit *kits[MANY];
    unsigned asked;
    enum qca_reference_kind last_kind;
};

static int resolve(void *userdata, const struct qca_reference *reference, struct qca_io **ret_io,
                   struct qca_file_id *ret_id)
{
    struct store *store = userdata;
    unsigned long number = strtoul(reference->name, NULL, 10);
    int r;

    store->asked++;
    store->last_kind = reference->kind;
    if (strcmp(reference->name, "forbidden") == 0)
        return -EPERM;
    if (number >= MANY || !store->kits[number])
        return -ENOENT;
    r = qca_io_new_memory(store->kits[number]->data, store->kits[number]->size, ret_io);
    if (r < 0)
        return r;
    *ret_id = (struct qca_file_id) { .a = number, .b = 1 };
    return 0;
}

/* Layer i of n has layer i + 1 as its parent. */
static void store_fill(struct store *store, unsigned n, const char *format)
{
    *store = (struct store) { 0 };
    for (unsigned i = 0; i < n; i++) {
        char name[16];

        store->kits[i] = kit_new(9, 4, 1);
        snprintf(name, sizeof(name), "%u", i + 1);
        if (i + 1 < n)
            kit_parent(store->kits[i], name, format);
    }
}

static void store_done(struct store *store)
{
    for (unsigned i = 0; i < MANY; i++)
        kit_free(store->kits[i]);
}

/* Opens the chain of image 0; the error's kind is NONE when it worked, then *ret_depth is set. */
static struct qca_error chain_try(struct store *store, uint32_t max_depth, size_t *ret_depth)
{
    struct qca_chain_options options = { .max_depth = max_depth, .id = { .b = 1 } };
    struct qca_error error = { 0 };
    struct qca_chain *chain = NULL;
    struct qca_image *leaf;
    struct qca_io *io;

    assert_int_equal(kit_open(store->kits[0], NULL, &io, &leaf), 0);
    if (qca_chain_open(leaf, &options, resolve, store, &error, &chain) == 0) {
        assert_int_equal(error.kind, QCA_ERROR_NONE);
        *ret_depth = qca_chain_depth(chain);
        assert_ptr_equal(qca_chain_layer(chain, 0), leaf);
        assert_non_null(qca_chain_layer(chain, *ret_depth - 1));
        assert_null(qca_chain_layer(chain, *ret_depth));
    } else {
        assert_null(chain);
        assert_int_not_equal(error.kind, QCA_ERROR_NONE);
    }
    qca_chain_free(chain);
    qca_image_free(leaf);
    qca_io_free(io);
    return error;
}

static void a_chain_of_1847_layers_is_opened(void **state)
{
    struct store store;
    size_t depth = 0;

    store_fill(&store, MANY, "qcow2");
    assert_int_equal(chain_try(&store, MANY, &depth).kind, QCA_ERROR_NONE);
    assert_int_equal(depth, MANY);
    assert_int_equal(store.asked, MANY - 1);
    store_done(&store);
}

static void too_many_layers_are_refused(void **state)
{
    struct qca_error error;
    struct store store;
    size_t depth;

    store_fill(&store, 201, "qcow2");
    error = chain_try(&store, 0, &depth);
    assert_int_equal(error.kind, QCA_ERROR_CHAIN_LIMIT);
    assert_int_equal(error.bound, 200);
    assert_int_equal(chain_try(&store, 201, &depth).kind, QCA_ERROR_NONE);
    store_done(&store);
}

static void loops_are_found(void **state)
{
    struct qca_error error;
    struct store store;
    size_t depth;

    store_fill(&store, 3, "qcow2");
    kit_parent(store.kits[2], "0", "qcow2");
    error = chain_try(&store, 0, &depth);
    assert_int_equal(error.kind, QCA_ERROR_LOOP);
    assert_int_equal(error.layer, 2);
    assert_int_equal(error.value, 0);
    store_done(&store);

    store_fill(&store, 1, NULL);
    kit_parent(store.kits[0], "0", "qcow2");
    assert_int_equal(chain_try(&store, 0, &depth).kind, QCA_ERROR_LOOP);
    store_done(&store);
}

static void a_missing_parent_is_named_by_its_layer(void **state)
{
    struct qca_error error;
    struct store store;
    size_t depth;

    store_fill(&store, 3, "qcow2");
    kit_parent(store.kits[2], "99", "qcow2");
    error = chain_try(&store, 0, &depth);
    assert_int_equal(error.kind, QCA_ERROR_REFERENCE);
    assert_int_equal(error.layer, 2);
    assert_int_equal(error.value, ENOENT);
    store_done(&store);
}

static void a_broken_parent_is_named_by_its_layer(void **state)
{
    struct qca_error error;
    struct store store;
    size_t depth;

    store_fill(&store, 3, "qcow2");
    kit_put(store.kits[1], 20, 4, 99);
    error = chain_try(&store, 0, &depth);
    assert_int_equal(error.kind, QCA_ERROR_HEADER);
    assert_string_equal(error.field, "cluster_bits");
    assert_int_equal(error.layer, 1);
    store_done(&store);
}

static void an_undeclared_format_is_raw(void **state)
{
    struct store store;
    size_t depth = 0;

    /* Layer 1 is qcow2 and names a parent; layer 0 does not say what it is: the chain ends
     * there. */
    store_fill(&store, 3, NULL);
    assert_int_equal(chain_try(&store, 0, &depth).kind, QCA_ERROR_NONE);
    assert_int_equal(depth, 2);
    store_done(&store);
}

static void an_unknown_format_is_refused(void **state)
{
    struct qca_error error;
    struct store store;
    size_t depth;

    store_fill(&store, 2, "vvfat");
    error = chain_try(&store, 0, &depth);
    assert_int_equal(error.kind, QCA_ERROR_UNSUPPORTED);
    assert_int_equal(store.asked, 0);
    store_done(&store);
}

static void a_data_file_belongs_to_the_chain(void **state)
{
    struct qca_error error;
    struct store store;
    size_t depth = 0;

    store_fill(&store, 2, NULL);
    kit_free(store.kits[0]);
    store.kits[0] = kit_new(9, 4, 1);
    kit_put(store.kits[0], 72, 8, QCA_INCOMPAT_DATA_FILE);
    kit_extension(store.kits[0], 0x44415441, "1", 1);
    assert_int_equal(chain_try(&store, 0, &depth).kind, QCA_ERROR_NONE);
    assert_int_equal(depth, 1);
    assert_int_equal(store.last_kind, QCA_REFERENCE_DATA_FILE);

    kit_free(store.kits[0]);
    store.kits[0] = kit_new(9, 4, 1);
    kit_put(store.kits[0], 72, 8, QCA_INCOMPAT_DATA_FILE);
    kit_extension(store.kits[0], 0x44415441, "forbidden", 9);
    error = chain_try(&store, 0, &depth);
    assert_int_equal(error.kind, QCA_ERROR_REFERENCE);
    assert_int_equal(error.value, EPERM);
    store_done(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_of_1847_layers_is_opened),
        cmocka_unit_test(too_many_layers_are_refused),
        cmocka_unit_test(loops_are_found),
        cmocka_unit_test(a_missing_parent_is_named_by_its_layer),
        cmocka_unit_test(a_broken_parent_is_named_by_its_layer),
        cmocka_unit_test(an_undeclared_format_is_raw),
        cmocka_unit_test(an_unknown_format_is_refused),
        cmocka_unit_test(a_data_file_belongs_to_the_chain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
