/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The counting map against a plain array, and refcounts against their definition. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/count.h"
#include "lib/refcount.h"

#define N_CLUSTERS (5 * COUNT_PAGE_CLUSTERS + 100)

struct step {
    uint64_t first, n, weight;
};

/* A pseudo-random sequence that is the same everywhere. */
static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void steps_make(struct step *steps, size_t n)
{
    static const uint64_t weights[] = { 1, 1, 1, 1, 2, 3, 200, 255, 256, 70000 };
    uint64_t state = 42;

    for (size_t i = 0; i < n; i++) {
        steps[i].first = random_next(&state) % N_CLUSTERS;
        steps[i].n = 1 + random_next(&state) %
                             (random_next(&state) % 4 ? 100 : 2 * COUNT_PAGE_CLUSTERS);
        if (steps[i].first + steps[i].n > N_CLUSTERS)
            steps[i].n = N_CLUSTERS - steps[i].first;
        steps[i].weight = weights[random_next(&state) % ELEMENTSOF(weights)];
    }
}

/* All steps in as many passes as the limit makes: every count and every overflow as in the plain
 * array. */
static unsigned compare_with_array(uint64_t refcount_max, uint64_t memory_limit)
{
    uint64_t *expected = calloc(N_CLUSTERS, sizeof(*expected)), overflows = 0, seen = 0;
    struct step steps[300];
    struct count_map map;
    unsigned passes = 0;

    steps_make(steps, ELEMENTSOF(steps));
    for (size_t i = 0; i < ELEMENTSOF(steps); i++)
        for (uint64_t c = steps[i].first; c < steps[i].first + steps[i].n; c++) {
            uint64_t room = refcount_max - expected[c],
                     add = steps[i].weight < room ? steps[i].weight : room;

            expected[c] += add;
            overflows += steps[i].weight - add;
        }

    assert_int_equal(count_map_init(&map, N_CLUSTERS, refcount_max, memory_limit), 0);
    for (uint64_t low = 0; low < N_CLUSTERS; low = map.high) {
        passes++;
        count_map_begin(&map, low);
        for (size_t i = 0; i < ELEMENTSOF(steps); i++)
            assert_int_equal(count_add(&map, steps[i].first, steps[i].n, steps[i].weight, 0), 0);
        assert_true(map.memory <= map.memory_limit);
        assert_true(map.high > low);
        for (uint64_t c = low; c < map.high; c++)
            assert_int_equal(count_get(&map, c), expected[c]);
        for (uint64_t c = low; c < map.high; c += COUNT_PAGE_CLUSTERS)
            seen += count_page_of(&map, c)->overflows;
    }
    assert_int_equal(seen, overflows);
    count_map_done(&map);
    free(expected);
    return passes;
}

static void counts_are_those_of_an_array(void **state)
{
    for (unsigned order = 0; order <= 6; order++)
        assert_int_equal(compare_with_array(UINT64_MAX >> (64 - (1U << order)), UINT64_C(1) << 30),
                         1);
}

static void little_memory_makes_passes_and_the_same_counts(void **state)
{
    for (unsigned order = 0; order <= 6; order++) {
        unsigned passes = compare_with_array(UINT64_MAX >> (64 - (1U << order)), 400 * 1024);

        if (order >= 4)
            assert_true(passes > 1);
    }
}

static void too_little_memory_for_a_page_is_said(void **state)
{
    struct count_map map;

    assert_int_equal(count_map_init(&map, N_CLUSTERS, UINT64_MAX, 10), -ENOMEM);
    assert_int_equal(count_map_init(&map, N_CLUSTERS, UINT64_MAX, 2000), 0);
    assert_int_equal(count_add(&map, 0, 1, 1, 0), -ENOMEM);
    count_map_done(&map);
}

static void flags_belong_to_pages(void **state)
{
    struct count_map map;

    assert_int_equal(count_map_init(&map, N_CLUSTERS, UINT64_MAX, 1 << 20), 0);
    assert_int_equal(count_add(&map, COUNT_PAGE_CLUSTERS - 1, 2, 1, COUNT_COPIED), 0);
    assert_int_equal(count_add(&map, COUNT_PAGE_CLUSTERS, 1, 1, COUNT_NOT_COPIED), 0);
    assert_int_equal(count_page_of(&map, 0)->flags, COUNT_COPIED);
    assert_int_equal(count_page_of(&map, COUNT_PAGE_CLUSTERS)->flags,
                     COUNT_COPIED | COUNT_NOT_COPIED);
    assert_int_equal(count_page_of(&map, 2 * COUNT_PAGE_CLUSTERS)->flags, 0);
    count_map_done(&map);
}

static void refcount_put(uint8_t *block, unsigned order, uint64_t index, uint64_t value)
{
    unsigned bits = 1U << order;

    if (bits < 8)
        block[index * bits / 8] |= value << (index * bits % 8);
    else
        for (unsigned i = 0; i < bits / 8; i++)
            block[index * bits / 8 + i] = value >> (bits - 8 - 8 * i);
}

static void refcounts_of_all_widths_are_compared_in_words(void **state)
{
    uint64_t random = 1;

    for (unsigned order = 0; order <= 6; order++)
        for (unsigned round = 0; round < 500; round++) {
            uint64_t bits = round == 0   ? 0
                            : round == 1 ? UINT64_MAX
                                         : random_next(&random),
                     ones = bits;
            uint64_t odd = random_next(&random) % 64, value;
            uint8_t block[2 * 64 * 8] = { 0 };

            for (unsigned i = 0; i < 64; i++)
                refcount_put(block, order, 64 + i, bits >> i & 1);
            for (unsigned i = 0; i < 64; i++)
                assert_int_equal(refcount_get(block, order, 64 + i), bits >> i & 1);
            assert_true(refcounts_are_bits(block, order, 64, bits));
            assert_int_equal(refcounts_ones(block, order, 64), ones);
            assert_false(refcounts_are_bits(block, order, 64, bits ^ UINT64_C(1) << odd));

            if (order == 0)
                continue;
            /* Neither 0 nor 1, wherever in the field the difference lies. */
            value = UINT64_C(2) << random_next(&random) % ((1U << order) - 1);
            refcount_put(block, order, 64 + odd, value);
            assert_false(refcounts_are_bits(block, order, 64, bits));
            assert_int_equal(refcounts_ones(block, order, 64), ones & ~(UINT64_C(1) << odd));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_those_of_an_array),
        cmocka_unit_test(little_memory_makes_passes_and_the_same_counts),
        cmocka_unit_test(too_little_memory_for_a_page_is_said),
        cmocka_unit_test(flags_belong_to_pages),
        cmocka_unit_test(refcounts_of_all_widths_are_compared_in_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
