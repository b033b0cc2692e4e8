/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shares of callers under simulated time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/control/share.h"

static void a_share_fills_again(void **state)
{
    struct shares shares = { 0 };
    uint64_t now = 1000000, wait;
    unsigned n = 0;

    while (share_take(&shares, 1000, now, &wait))
        n++;
    assert_int_equal(n, SHARE_CALLS);
    assert_int_equal(wait, SHARE_USEC);
    assert_false(share_take(&shares, 1000, now + SHARE_USEC - 1, &wait));
    assert_int_equal(wait, 1);
    assert_true(share_take(&shares, 1000, now + SHARE_USEC, &wait));
    assert_false(share_take(&shares, 1000, now + SHARE_USEC, &wait));
    /* never more than that */
    now += 1000 * SHARE_CALLS * (uint64_t)SHARE_USEC;
    for (n = 0; share_take(&shares, 1000, now, &wait); n++)
        ;
    assert_int_equal(n, SHARE_CALLS);
}

static void users_have_their_own(void **state)
{
    struct shares shares = { 0 };
    uint64_t wait;

    while (share_take(&shares, 1000, 1000000, &wait))
        ;
    assert_true(share_take(&shares, 1001, 1000000, &wait));
    assert_true(share_take(&shares, 0, 1000000, &wait));
}

static void a_clock_that_goes_back(void **state)
{
    struct shares shares = { 0 };
    uint64_t wait;

    while (share_take(&shares, 1000, UINT64_C(1) << 50, &wait))
        ;
    assert_true(share_take(&shares, 1000, 1000000, &wait));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_fills_again),
        cmocka_unit_test(users_have_their_own),
        cmocka_unit_test(a_clock_that_goes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
