/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Scrubs beside audits of the same device, under simulated time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "daemon/audit/turn.h"

#define DELAY 600
#define START 1000000

static void test_alone(void **state)
{
    struct turn turn = { .device = 1 };
    uint64_t wait;

    assert_int_equal(turn_take(&turn, true, false, DELAY, START, &wait), TURN_READS);
    assert_true(wait == UINT64_MAX);
    assert_int_equal(turn_take(&turn, true, false, DELAY, START + 5000, &wait), TURN_READS);
    assert_int_equal(turn.owed, 0);
}

static void test_short_audits_go_first(void **state)
{
    struct turn turn = { .device = 1 };
    uint64_t now = START, wait;

    for (int i = 0; i < 100; i++, now += 20) {
        assert_int_equal(turn_take(&turn, true, true, DELAY, now, &wait), TURN_WAITS);
        now += 10;
        assert_int_equal(turn_take(&turn, true, false, DELAY, now, &wait), TURN_READS);
    }
}

/* One audit ends as the next begins: the scrub gets half of the time all the same. */
static void test_audits_without_end(void **state)
{
    struct turn turn = { .device = 1 };
    uint64_t now = START, waited = 0, read = 0, wait;

    while (now < START + 20 * DELAY) {
        enum turn_state taken = turn_take(&turn, true, true, DELAY, now, &wait);

        assert_in_range(wait, 1, DELAY);
        *(taken == TURN_WAITS ? &waited : &read) += wait;
        now += wait;
        /* the moment between two audits */
        (void) turn_take(&turn, true, false, DELAY, now, &wait);
    }
    assert_int_equal(waited, 10 * DELAY);
    assert_int_equal(read, 10 * DELAY);
}

/* What is left of one scrub's turn is the next one's, on the same device. */
static void test_many_small_scrubs(void **state)
{
    struct turn turn = { .device = 1 };
    uint64_t now = START, wait;

    assert_int_equal(turn_take(&turn, true, true, DELAY, now, &wait), TURN_WAITS);
    assert_int_equal(wait, DELAY);
    now += wait;
    for (int i = 0; i < 300; i++) {
        assert_int_equal(turn_take(&turn, true, true, DELAY, now, &wait), TURN_READS);
        now += 2;
        assert_int_equal(turn_take(&turn, false, true, DELAY, now, &wait), TURN_NONE);
        assert_true(wait == UINT64_MAX);
        now += 100;             /* nothing is due, and nothing is owed for it */
    }
    assert_int_equal(turn_take(&turn, true, true, DELAY, now, &wait), TURN_WAITS);
}

static void test_other_reasons_to_wait(void **state)
{
    struct turn turn = { .device = 1 };
    uint64_t now = START, wait;

    assert_int_equal(turn_take(&turn, true, true, DELAY, now, &wait), TURN_WAITS);
    now += 100;
    assert_int_equal(turn_take(&turn, false, true, DELAY, now, &wait), TURN_NONE);
    now += 100 * DELAY;
    assert_int_equal(turn_take(&turn, true, true, DELAY, now, &wait), TURN_WAITS);
    assert_int_equal(wait, DELAY - 100);
    /* A clock that goes back counts nothing. */
    assert_int_equal(turn_take(&turn, true, true, DELAY, now - 50, &wait), TURN_WAITS);
    assert_int_equal(wait, DELAY - 100);
}

static void test_no_delay(void **state)
{
    struct turn turn = { .device = 1 };
    uint64_t wait;

    for (uint64_t now = START; now < START + 100; now++) {
        assert_int_equal(turn_take(&turn, true, true, 0, now, &wait), TURN_READS);
        assert_true(wait == UINT64_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_short_audits_go_first),
        cmocka_unit_test(test_audits_without_end),
        cmocka_unit_test(test_many_small_scrubs),
        cmocka_unit_test(test_other_reasons_to_wait),
        cmocka_unit_test(test_no_delay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
