/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fast way to inflate says what zlib, that is QEMU's way, says: of sound streams, of such as go
 * on behind a full cluster or end before it, of cut and of damaged ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "lib/inflate.h"

#define CLUSTER 65536
#define PACKED (3 * CLUSTER)

struct fixture {
    struct inflater *plain, *fast;
    uint8_t data[2 * CLUSTER], packed[PACKED];
    unsigned seed;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(inflater_new(0, CLUSTER, &f->plain), 0);
    assert_int_equal(inflater_new(0, CLUSTER, &f->fast), 0);
    assert_int_equal(inflater_be_fast(f->fast), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    inflater_free(f->plain);
    inflater_free(f->fast);
    free(f);
    return 0;
}

/* Compresses size bytes of data as QEMU does. Bytes. */
static size_t pack(struct fixture *f, size_t size, int level, int strategy)
{
    z_stream stream = { .next_in = f->data, .avail_in = (uInt)size, .next_out = f->packed,
                        .avail_out = PACKED };

    assert_int_equal(deflateInit2(&stream, level, Z_DEFLATED, -12, 9, strategy), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    return PACKED - stream.avail_out;
}

/* Both ways say the same of the stream. Is it a cluster? */
static bool same(struct fixture *f, size_t size)
{
    uint64_t used[2];
    bool good = inflater_run(f->plain, f->packed, size, &used[0]);

    assert_int_equal(inflater_run(f->fast, f->packed, size, &used[1]), good);
    if (good) {
        assert_int_equal(used[0], used[1]);
        assert_memory_equal(inflater_cluster(f->plain), inflater_cluster(f->fast), CLUSTER);
    }
    return good;
}

static void fill(struct fixture *f, unsigned kind)
{
    for (size_t i = 0; i < sizeof(f->data); i++)
        f->data[i] = kind == 0   ? 0
                     : kind == 1 ? (uint8_t)rand_r(&f->seed)
                     : kind == 2 ? (uint8_t)(rand_r(&f->seed) % 7)
                                 : (uint8_t)(i / 3 * 7 + (rand_r(&f->seed) % 40 == 0));
}

static void test_sizes(void **state)
{
    static const int strategies[] = { Z_DEFAULT_STRATEGY, Z_HUFFMAN_ONLY, Z_FIXED, Z_RLE };
    struct fixture *f = *state;

    for (unsigned kind = 0; kind < 4; kind++)
        for (unsigned i = 0; i < 4; i++)
            for (int level = 0; level < 10; level += 3) {
                size_t size;

                fill(f, kind);
                size = pack(f, CLUSTER, level, strategies[i]);
                assert_true(same(f, size));
                /* a sector's rest behind it, as it is read */
                memset(f->packed + size, 0xa5, 512);
                assert_true(same(f, size + 512));
                for (size_t cut = 0; cut < size; cut += size / 50 + 1)
                    assert_false(same(f, cut));
                assert_true(same(f, pack(f, CLUSTER + 1, level, strategies[i])));
                assert_true(same(f, pack(f, sizeof(f->data) - 1, level, strategies[i])));
                assert_false(same(f, pack(f, CLUSTER - 1, level, strategies[i])));
                assert_false(same(f, pack(f, 0, level, strategies[i])));
            }
}

static void test_damaged(void **state)
{
    struct fixture *f = *state;
    unsigned n_good = 0;

    for (unsigned i = 0; i < 3000; i++) {
        size_t size;

        fill(f, i % 4);
        size = pack(f, CLUSTER, i % 10 == 0 ? 0 : 6, i % 3 == 0 ? Z_FIXED : Z_DEFAULT_STRATEGY);
        for (unsigned n = 1 + i % 3; n > 0; n--)
            f->packed[(size_t)rand_r(&f->seed) % (i % 2 ? size : 100 % size)] ^=
                (uint8_t)(1 << rand_r(&f->seed) % 8);
        n_good += same(f, size);
    }
    /* bits of stored bytes, and of others that are not looked at */
    assert_in_range(n_good, 1, 2999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
