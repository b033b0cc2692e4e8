/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How fast a worker may read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "helpers/throttle.h"

#define SECOND UINT64_C(1000000)
#define MIB (UINT64_C(1) << 20)
#define START (1000 * SECOND)

/* Reads as soon as it may, in pieces, for some seconds; how much. */
static uint64_t read_for(struct throttle *throttle, uint64_t *now, uint64_t piece, uint64_t usec)
{
    uint64_t end = *now + usec, bytes = 0;

    while (*now < end) {
        uint64_t wait = throttle_wait(throttle, *now);

        if (wait > 0) {
            *now += wait;
            continue;
        }
        throttle_take(throttle, piece, *now);
        bytes += piece;
    }
    return bytes;
}

static void keeps_to_the_rate(void **state)
{
    const uint64_t pieces[] = { 512, 65536, MIB, 64 * MIB };

    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        uint64_t now = START, bytes;
        struct throttle throttle;

        throttle_begin(&throttle, 10 * MIB, now);
        bytes = read_for(&throttle, &now, pieces[i], 100 * SECOND);
        assert_in_range(bytes, 970 * MIB, 1000 * MIB + pieces[i]);
    }
}

/* What is told only afterwards costs the same, and the time that reading took counts. */
static void told_afterwards(void **state)
{
    struct throttle throttle;

    throttle_begin(&throttle, 10 * MIB, START);
    assert_int_equal(throttle_wait(&throttle, START), 0);
    throttle_take(&throttle, 10 * MIB, START + SECOND / 5);
    assert_int_equal(throttle_wait(&throttle, START + SECOND / 5), SECOND - SECOND / 5);
    assert_int_equal(throttle_wait(&throttle, START + SECOND), 0);
}

/* A pause is made up for with a quarter of a second's worth, not with all that was not read. */
static void a_pause_is_no_credit(void **state)
{
    uint64_t now = START, bytes;
    struct throttle throttle;

    throttle_begin(&throttle, 10 * MIB, now);
    (void)read_for(&throttle, &now, MIB, SECOND);
    now += 3600 * SECOND;
    bytes = read_for(&throttle, &now, 65536, SECOND);
    assert_in_range(bytes, 12 * MIB, 13 * MIB);
}

/* What was read at another rate is not reckoned anew. */
static void the_rate_changes(void **state)
{
    uint64_t now = START, before;
    struct throttle throttle;

    throttle_begin(&throttle, 100 * MIB, now);
    (void)read_for(&throttle, &now, MIB, 60 * SECOND);
    before = now;
    throttle.rate = MIB;
    assert_in_range(throttle_wait(&throttle, now), 0, SECOND);
    assert_in_range(read_for(&throttle, &now, 65536, 10 * SECOND), 9 * MIB, 11 * MIB);
    assert_in_range(now - before, 10 * SECOND, 11 * SECOND);
    throttle.rate = 0;
    throttle_take(&throttle, UINT64_MAX, now);
    assert_int_equal(throttle_wait(&throttle, now), 0);
    throttle.rate = 100 * MIB;
    assert_in_range(read_for(&throttle, &now, MIB, 10 * SECOND), 970 * MIB, 1030 * MIB);
}

static void odd_numbers(void **state)
{
    struct throttle throttle;

    throttle_begin(&throttle, 1, 0);
    throttle_take(&throttle, UINT64_MAX, 0);
    throttle_take(&throttle, UINT64_MAX, 5);
    assert_true(throttle_wait(&throttle, 5) > UINT64_MAX / 8);
    throttle_begin(&throttle, UINT64_MAX, 7);
    throttle_take(&throttle, 1, 7);
    assert_in_range(throttle_wait(&throttle, 7), 0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_to_the_rate), cmocka_unit_test(told_afterwards),
        cmocka_unit_test(a_pause_is_no_credit), cmocka_unit_test(the_rate_changes),
        cmocka_unit_test(odd_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
