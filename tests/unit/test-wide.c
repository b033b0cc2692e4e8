/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The innermost loops: every variant that this processor has gives what plain C gives. */
#include <endian.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/wide.h"

enum { ROUNDS = 20000, WORDS = 200, GROUPS = 20 };

static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void put64(uint8_t *p, uint64_t value)
{
    value = htobe64(value);
    memcpy(p, &value, sizeof(value));
}

/* Rising entries with a fault somewhere, at any alignment and of any length. */
static void rising_entries_are_counted_alike(void **state)
{
    uint64_t chance = 1;

    for (unsigned round = 0; round < ROUNDS; round++) {
        uint8_t buf[8 * WORDS + 8], *words = buf + random_next(&chance) % 8;
        uint32_t n = random_next(&chance) % (WORDS + 1), right = n;
        uint64_t first = random_next(&chance), step = UINT64_C(1) << random_next(&chance) % 64;

        for (uint32_t i = 0; i < n; i++)
            put64(words + 8 * i, first + i * step);
        if (n > 0 && random_next(&chance) % 4) {
            right = random_next(&chance) % n;
            words[8 * right + random_next(&chance) % 8] ^= 1U << random_next(&chance) % 8;
        }
        for (unsigned v = 0; wide_variant(v); v++)
            assert_int_equal(wide_variant(v)->count_rising(words, n, first, step), right);
    }
}

static void zeros_are_counted_alike(void **state)
{
    uint64_t chance = 2;

    for (unsigned round = 0; round < ROUNDS; round++) {
        uint8_t buf[8 * WORDS + 8] = { 0 }, *words = buf + random_next(&chance) % 8;
        uint32_t n = random_next(&chance) % (WORDS + 1), zeros = n;

        if (n > 0 && random_next(&chance) % 4) {
            zeros = random_next(&chance) % n;
            words[8 * zeros + random_next(&chance) % 8] = 1U << random_next(&chance) % 8;
        }
        for (unsigned v = 0; wide_variant(v); v++)
            assert_int_equal(wide_variant(v)->count_zero(words, n), zeros);
    }
}

/* Bits of one word: all 0, all 1, or any. */
static uint64_t bits_of_a_kind(uint64_t *chance)
{
    switch (random_next(chance) % 3) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    default:
        return random_next(chance);
    }
}

static void refcounts_are_compared_alike(void **state)
{
    uint64_t chance = 3;

    for (unsigned round = 0; round < ROUNDS; round++) {
        uint8_t buf[128 * GROUPS + 8] = { 0 }, *refcounts = buf + random_next(&chance) % 8;
        uint32_t n = random_next(&chance) % (GROUPS + 1), equal = n;
        bool no_bits = random_next(&chance) % 8 == 0;
        uint64_t bits[GROUPS] = { 0 };

        for (uint32_t i = 0; i < n && !no_bits; i++) {
            bits[i] = bits_of_a_kind(&chance);
            for (uint32_t k = 0; k < 64; k++)
                refcounts[128 * i + 2 * k + 1] = bits[i] >> k & 1;
        }
        if (n > 0 && random_next(&chance) % 4) {
            equal = random_next(&chance) % n;
            refcounts[128 * equal + random_next(&chance) % 128] ^= 1U << random_next(&chance) % 8;
        }
        for (unsigned v = 0; wide_variant(v); v++)
            assert_int_equal(wide_variant(v)->count_equal16(refcounts, no_bits ? NULL : bits, n),
                             equal);
    }
}

static void plain_c_is_there_and_can_be_demanded(void **state)
{
    const struct wide *widest = NULL;

    assert_string_equal(wide_best(true)->name, "scalar");
    assert_ptr_equal(wide_best(true), wide_variant(0));
    for (unsigned v = 0; wide_variant(v); v++)
        widest = wide_variant(v);
    assert_ptr_equal(wide_best(false), widest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rising_entries_are_counted_alike),
        cmocka_unit_test(zeros_are_counted_alike),
        cmocka_unit_test(refcounts_are_compared_alike),
        cmocka_unit_test(plain_c_is_there_and_can_be_demanded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
