/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The hashes of files that nothing calls an image, beside a plain list of the same. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/discover/internal.h"

#define FILES 5000

static struct identity identity_of(unsigned i)
{
    return (struct identity){ .fsid = 7, .inode = 100 + i / 2, .btime = 1000 + i % 2 };
}

static struct fingerprint fingerprint_of(unsigned i)
{
    return (struct fingerprint){ .size = i, .mtime = 5, .ctime = 6 };
}

/* Sets and drops in any order: what the list has is found, and nothing else. */
static void as_a_list(void **state)
{
    struct others others = { 0 };
    bool there[FILES] = { false };
    size_t n = 0;

    srand(11);
    for (unsigned step = 0; step < 40 * FILES; step++) {
        unsigned i = (unsigned)rand() % FILES;
        struct identity identity = identity_of(i);
        struct fingerprint fingerprint = fingerprint_of(i);
        struct other *other = others_find(&others, &identity);

        assert_int_equal(other != NULL, there[i]);
        if (there[i]) {
            assert_true(other_is(other, &identity, &fingerprint));
            assert_int_equal(other->raw_size, i);
            others_drop(&others, other);
            n--;
        } else {
            assert_int_equal(others_put(&others, &identity, &fingerprint, i, 1), 0);
            n++;
        }
        there[i] = !there[i];
        assert_int_equal(others.n, n);
    }
    for (unsigned i = 0; i < FILES; i++) {
        struct identity identity = identity_of(i);

        assert_int_equal(others_find(&others, &identity) != NULL, there[i]);
    }
    others_done(&others);
}

static void another_file(void **state)
{
    struct identity identity = identity_of(3);
    struct fingerprint then = fingerprint_of(3);
    const struct fingerprint others_now[] = {
        { .size = 4, .mtime = 5, .ctime = 6 },
        { .size = 3, .mtime = 6, .ctime = 6 },
        { .size = 3, .mtime = 5, .ctime = 7 },
    };
    struct others others = { 0 };
    const struct other *other;

    assert_int_equal(others_put(&others, &identity, &then, 0, 1), 0);
    other = others_find(&others, &identity);
    assert_true(other_is(other, &identity, &then));
    for (size_t i = 0; i < sizeof(others_now) / sizeof(others_now[0]); i++)
        assert_false(other_is(other, &identity, &others_now[i]));
    /* again: as it is now */
    assert_int_equal(others_put(&others, &identity, &others_now[0], 0, 1), 0);
    assert_int_equal(others.n, 1);
    assert_true(other_is(others_find(&others, &identity), &identity, &others_now[0]));
    others_done(&others);
}

static void what_a_walk_did_not_see_goes(void **state)
{
    struct others others = { 0 };

    for (unsigned i = 0; i < FILES; i++) {
        struct identity identity = identity_of(i);
        struct fingerprint fingerprint = fingerprint_of(i);

        assert_int_equal(others_put(&others, &identity, &fingerprint, 0, 1), 0);
    }
    assert_true(others.n_slots * sizeof(*others.slots) <= 96 * FILES);
    for (unsigned i = 0; i < FILES; i += 10) {
        struct identity identity = identity_of(i);

        others_find(&others, &identity)->walk = 2;
    }
    others.n_changed = 0;
    others_sweep(&others, 2);
    assert_int_equal(others.n, FILES / 10);
    assert_int_equal(others.n_changed, FILES - FILES / 10);
    for (unsigned i = 0; i < FILES; i++) {
        struct identity identity = identity_of(i);

        assert_int_equal(others_find(&others, &identity) != NULL, i % 10 == 0);
    }
    others_sweep(&others, 3);
    assert_int_equal(others.n, 0);
    others_sweep(&others, 4);
    assert_int_equal(others.n, 0);
    others_done(&others);
}

static void kept_and_loaded(void **state)
{
    struct others others = { 0 }, loaded = { 0 };
    uint8_t *bytes = NULL;
    size_t size;

    for (unsigned i = 0; i < FILES; i++) {
        struct identity identity = identity_of(i);
        struct fingerprint fingerprint = fingerprint_of(i);

        assert_int_equal(others_put(&others, &identity, &fingerprint, i, 1), 0);
    }
    assert_int_equal(others_save(&others, &bytes, &size), 0);
    assert_int_equal(size, 24 * FILES);
    assert_int_equal(others_load(&loaded, bytes, size, FILES), 0);
    assert_int_equal(loaded.n, FILES);
    assert_int_equal(loaded.n_changed, 0);
    for (unsigned i = 0; i < FILES; i++) {
        struct identity identity = identity_of(i);
        struct fingerprint fingerprint = fingerprint_of(i);
        const struct other *other = others_find(&loaded, &identity);

        assert_true(other_is(other, &identity, &fingerprint));
        assert_int_equal(other->raw_size, i);
    }
    others_done(&loaded);
    /* no more than wanted; and bytes that it did not make */
    assert_int_equal(others_load(&loaded, bytes, size, 10), 0);
    assert_int_equal(loaded.n, 10);
    others_done(&loaded);
    assert_int_equal(others_load(&loaded, bytes, size - 1, FILES), -EBADMSG);
    assert_int_equal(loaded.n, 0);
    memset(bytes, 0, size);
    assert_int_equal(others_load(&loaded, bytes, size, FILES), 0);
    assert_int_equal(loaded.n, 0);
    memset(bytes, 0xff, size);
    assert_int_equal(others_load(&loaded, bytes, size, FILES), 0);
    assert_int_equal(loaded.n, 1);
    assert_int_equal(others_load(&loaded, NULL, 0, FILES), 0);
    free(bytes);
    others_done(&loaded);
    others_done(&others);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_a_list),
        cmocka_unit_test(another_file),
        cmocka_unit_test(what_a_walk_did_not_see_goes),
        cmocka_unit_test(kept_and_loaded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
