/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The order of versions: what is known of vendors' releases, that it is an order, and what is never
 * compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "provenance/family.h"
#include "provenance/version.h"

/* The older one first. */
struct truth {
    const char *older, *newer;
    enum version_order order;
};

static const struct truth truths[] = {
    /* Cisco NX-OS: releases, trains, rebuilds with letters */
    { "7.0(3)I7(4)", "7.0(3)I7(4a)", VERSION_ORDER_GENERIC },
    { "7.0(3)I7(4)", "7.0(3)I7(10)", VERSION_ORDER_GENERIC },
    { "7.0(3)I5(2)", "7.0(3)I7(1)", VERSION_ORDER_GENERIC },
    { "7.0(3)I7(10)", "9.2(1)", VERSION_ORDER_GENERIC },
    { "9.3(9)", "9.3(10)", VERSION_ORDER_GENERIC },
    { "10.1(1)", "10.3(1)F", VERSION_ORDER_GENERIC },
    { "10.3(1)F", "10.5(5)M", VERSION_ORDER_GENERIC },
    { "7.2(0)D1(1)", "7.3(0)D1(1)", VERSION_ORDER_GENERIC },
    /* IOS XE and IOS */
    { "16.6.1", "16.12.1", VERSION_ORDER_GENERIC },
    { "16.12.1a", "16.12.1b", VERSION_ORDER_GENERIC },
    { "16.12.1", "16.12.1b", VERSION_ORDER_GENERIC },
    { "16.12.1b", "16.12.2", VERSION_ORDER_GENERIC },
    { "17.03.06", "17.03.08a", VERSION_ORDER_GENERIC },
    { "17.3.8", "17.03.08a", VERSION_ORDER_GENERIC },
    { "3.17.03S", "16.6.1", VERSION_ORDER_GENERIC },
    { "15.5(3)M", "15.5(3)M2", VERSION_ORDER_GENERIC },
    { "15.9(3)m2", "15.9(3)M10", VERSION_ORDER_GENERIC },
    { "15.2(4.0.55)E", "15.2(6.0.81)E", VERSION_ORDER_GENERIC },
    { "17.10.01prd7", "17.12.01prd9", VERSION_ORDER_GENERIC },
    /* ASA: the interim build is behind the bracket */
    { "9.6(2)", "9.12(2)", VERSION_ORDER_GENERIC },
    { "9.22(1)", "9.22(1)1", VERSION_ORDER_GENERIC },
    { "9.22(1)1", "9.23(1)", VERSION_ORDER_GENERIC },
    { "6.2.0-363", "6.2.2-81", VERSION_ORDER_GENERIC },
    /* Junos: a service release is newer than the spins of its release */
    { "21.2R3.8", "21.2R3-S4.8", VERSION_ORDER_JUNOS },
    { "21.2R3.9", "21.2R3-S4", VERSION_ORDER_JUNOS },
    { "21.2R3-S4.8", "21.2R3-S4.9", VERSION_ORDER_JUNOS },
    { "21.2R3-S4.9", "21.2R3-S10.1", VERSION_ORDER_JUNOS },
    { "19.4R3-S4.1", "20.2R1.10", VERSION_ORDER_JUNOS },
    { "15.1F6.9", "16.1R4.7", VERSION_ORDER_JUNOS },
    { "15.1X49-D90", "15.1X49-D120.3", VERSION_ORDER_JUNOS },
    { "23.4R2-S2.1", "24.2R1-S2", VERSION_ORDER_JUNOS },
    /* Arista, Palo Alto, Fortinet */
    { "4.28.1F", "4.28.1.1F", VERSION_ORDER_GENERIC },
    { "4.31.6M", "4.32.4.1M", VERSION_ORDER_GENERIC },
    { "10.2.3", "10.2.3-h4", VERSION_ORDER_GENERIC },
    { "10.2.3-h4", "10.2.3-h13", VERSION_ORDER_GENERIC },
    { "11.0.0~b12", "11.0.0", VERSION_ORDER_GENERIC },
    { "7.4.6-build2726", "7.4.7-build2731", VERSION_ORDER_GENERIC },
    { "7.2.6-build0257", "7.4.4-build0347", VERSION_ORDER_GENERIC },
    /* what comes before a release */
    { "7.1beta4", "7.1rc1", VERSION_ORDER_GENERIC },
    { "7.1rc1", "7.1rc10", VERSION_ORDER_GENERIC },
    { "7.1rc10", "7.1", VERSION_ORDER_GENERIC },
    { "7.1", "7.1.1", VERSION_ORDER_GENERIC },
    { "1.3.0-epa2", "1.3.0-rc1", VERSION_ORDER_GENERIC },
    { "24.10-BETA.1", "24.10-RC.1", VERSION_ORDER_GENERIC },
    { "24.10-RC.2", "24.10", VERSION_ORDER_GENERIC },
    { "1.0-dev3", "1.0-alpha1", VERSION_ORDER_GENERIC },
    { "1.0-alpha9", "1.0-beta1", VERSION_ORDER_GENERIC },
    { "0.6.3~pre1", "0.6.3", VERSION_ORDER_GENERIC },
    /* dates, updates, builds, many parts */
    { "20190423", "20200929", VERSION_ORDER_GENERIC },
    { "12.20240717.1811", "12.20241004.1890", VERSION_ORDER_GENERIC },
    { "13.0-U6.1", "13.0-U6.2", VERSION_ORDER_GENERIC },
    { "13.0.0.2.0.1671", "16.0.0.1-0.0.3", VERSION_ORDER_GENERIC },
    { "1.2", "1.2.0", VERSION_ORDER_GENERIC },
    { "12.0.R6", "12.0.R18", VERSION_ORDER_GENERIC },
    { "V200R005C10SPC607B607", "V300R019C00SPC300", VERSION_ORDER_GENERIC },
};

static void known_releases_are_in_order(void **state)
{
    for (size_t i = 0; i < ELEMENTSOF(truths); i++) {
        const struct truth *truth = &truths[i];
        struct version older = { truth->older, "release", truth->order, 0 };
        struct version newer = { truth->newer, "release", truth->order, 0 };

        if (version_compare(&older, &newer) != VERSION_OLDER ||
            version_compare(&newer, &older) != VERSION_NEWER)
            fail_msg("%s is not older than %s", truth->older, truth->newer);
    }
}

static void the_same_in_other_words(void **state)
{
    static const char *const pairs[][2] = {
        { "17.03.06", "17.3.6" },
        { "v1.2.3", "1.2.3" },
        { "1.2.3-final", "1.2.3" },
        { "15.9(3)m2", "15.9(3)M2" },
        { "7.0(3)I7(4)", "7.0.3.I7.4" },
        { "12.5.2-GA", "Release 12.5.2" },
        { "7.4.7-build2731", "7.4.7.2731" },
        { "1.0rc1", "1.0-CR1" },
        { "", "." },
    };

    for (size_t i = 0; i < ELEMENTSOF(pairs); i++)
        if (version_compare_text(pairs[i][0], pairs[i][1], VERSION_ORDER_GENERIC) != 0)
            fail_msg("%s is not %s", pairs[i][0], pairs[i][1]);
}

static void what_is_never_compared(void **state)
{
    const struct version one = { "1.2", "release", VERSION_ORDER_GENERIC, 0 };
    struct version other = { "1.3", "date", VERSION_ORDER_GENERIC, 0 };

    assert_int_equal(version_compare(&one, &other), VERSION_INCOMPARABLE);
    other.scheme = NULL;
    assert_int_equal(version_compare(&one, &other), VERSION_INCOMPARABLE);
    other.scheme = "release";
    assert_int_equal(version_compare(&one, &other), VERSION_OLDER);
    other.order = VERSION_ORDER_JUNOS;
    assert_int_equal(version_compare(&one, &other), VERSION_INCOMPARABLE);
    other.order = VERSION_ORDER_GENERIC;
    other.text = "";
    assert_int_equal(version_compare(&one, &other), VERSION_INCOMPARABLE);
    other.text = NULL;
    assert_int_equal(version_compare(&other, &one), VERSION_INCOMPARABLE);
    /* special builds of FortiOS: 5.4.7 is build6446, the later 5.4.10 build1220 */
    const struct version older = { "5-build6446", "major-build", VERSION_ORDER_NONE, 0 };
    struct version newer = { "5-build1220", "major-build", VERSION_ORDER_NONE, 0 };
    assert_int_equal(version_compare(&older, &newer), VERSION_INCOMPARABLE);
    newer.text = "5-BUILD6446";
    assert_int_equal(version_compare(&older, &newer), VERSION_SAME);
    newer.epoch = 1;
    assert_int_equal(version_compare(&older, &newer), VERSION_INCOMPARABLE);
}

/* Security Onion went from 16.04 to 2.4. */
static void an_epoch_counts_first(void **state)
{
    const struct version older = { "16.04.7", "release", VERSION_ORDER_GENERIC, 0 };
    const struct version newer = { "2.4.60", "release", VERSION_ORDER_GENERIC, 1 };

    assert_int_equal(version_compare(&older, &newer), VERSION_OLDER);
    assert_int_equal(version_compare(&newer, &older), VERSION_NEWER);
    assert_int_equal(version_compare(&newer, &newer), VERSION_SAME);
}

static void numbers_of_any_length(void **state)
{
    enum { LENGTH = 100000 };
    char *a = malloc(LENGTH + 1), *b = malloc(LENGTH + 1);

    assert_non_null(a);
    assert_non_null(b);
    memset(a, '9', LENGTH);
    memset(b, '9', LENGTH);
    a[LENGTH] = b[LENGTH] = 0;
    assert_int_equal(version_compare_text(a, b, VERSION_ORDER_GENERIC), 0);
    a[LENGTH - 1] = '8';
    assert_true(version_compare_text(a, b, VERSION_ORDER_GENERIC) < 0);
    a[0] = '0';
    assert_true(version_compare_text(a, b, VERSION_ORDER_GENERIC) < 0);
    memset(a, '0', LENGTH);
    assert_int_equal(version_compare_text(a, "0", VERSION_ORDER_GENERIC), 0);
    assert_true(version_compare_text("18446744073709551616", "18446744073709551617",
                                     VERSION_ORDER_GENERIC) < 0);
    free(a);
    free(b);
}

static void the_longest_train_holds(void **state)
{
    static const struct version_minimum minimums[] = {
        { "any", "9.3(10)" }, { "7.0(3)I7", "7.0(3)I7(10)" }, { "7", "7.0(3)I4(9)" }
    };
    const struct { const char *version, *minimum; } cases[] = {
        { "9.2(1)", "9.3(10)" },           { "7.0(3)I7(4)", "7.0(3)I7(10)" },
        { "7.0(3)I7", "7.0(3)I7(10)" },    { "7.0.3.I7.4", "7.0(3)I7(10)" },
        { "7.0(3)I70(4)", "7.0(3)I4(9)" }, { "7.0(3)I5(2)", "7.0(3)I4(9)" },
        { "70.1", "9.3(10)" },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        assert_string_equal(
            version_minimum_of(minimums, ELEMENTSOF(minimums), cases[i].version)->version,
            cases[i].minimum);
    assert_null(version_minimum_of(minimums + 1, 2, "9.2(1)"));
    assert_null(version_minimum_of(NULL, 0, "1"));
    assert_int_equal(version_in_train("any", "1.2"), 0);
    assert_int_equal(version_in_train("", ""), 0);
    assert_int_equal(version_in_train("1.2.3", "1.2"), -1);
    assert_int_equal(version_in_train("1.2", "1.2.3"), 2);
    assert_true(version_same_train("any", "ANY"));
    assert_true(version_same_train("7.0(3)I7", "7.0.3-i7"));
    assert_false(version_same_train("7.0(3)", "7.0(3)I7"));
    assert_false(version_same_train("7.0(3)I7", "7.0(3)"));
    assert_false(version_same_train("any", "7"));
}

static void names_of_orders(void **state)
{
    assert_int_equal(version_order_from_name("generic"), VERSION_ORDER_GENERIC);
    assert_int_equal(version_order_from_name("junos"), VERSION_ORDER_JUNOS);
    assert_int_equal(version_order_from_name("none"), VERSION_ORDER_NONE);
    assert_int_equal(version_order_from_name("Junos"), -1);
}

/* ---- it is an order ------------------------------------------------------------------------- */

static int sign(int r)
{
    return (r > 0) - (r < 0);
}

static void note(void *userdata, const char *file, unsigned line, unsigned column,
                 const char *message)
{
    fail_msg("%s:%u:%u: %s", file, line, column, message);
}

/* Of each version that the families' file has as an example, those of the truths, and texts that
 * are made to be odd. */
static size_t all_versions(const struct families *families, const char **texts, size_t most)
{
    static const char *const odd[] = { "",    "~",      "~~",    "a",   "A~",  "rc",   "rc1",
                                       "1~",  "1~rc",   "1rc",   "1a",  "1.a", "1.0",  "1.00",
                                       "1-1", "final",  "1ga",   "dev", "0",   "00",   "()",
                                       "\xff", ("1\xff" "1"), "build", "cr1", "1.b", "betA",
                                       "beta2" };
    size_t n = 0;

    for (size_t i = 0; i < families->n; i++)
        for (size_t j = 0; j < families->items[i]->n_examples && n < most; j++)
            if (families->items[i]->examples[j].version)
                texts[n++] = families->items[i]->examples[j].version;
    for (size_t i = 0; i < ELEMENTSOF(truths) && n + 1 < most; i++) {
        texts[n++] = truths[i].older;
        texts[n++] = truths[i].newer;
    }
    for (size_t i = 0; i < ELEMENTSOF(odd) && n < most; i++)
        texts[n++] = odd[i];
    return n;
}

static void check_triples(const char **texts, size_t n, enum version_order order)
{
    signed char *signs = calloc(n * n, 1);

    assert_non_null(signs);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            signs[i * n + j] = (signed char)sign(version_compare_text(texts[i], texts[j], order));
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(signs[i * n + i], 0);
        for (size_t j = 0; j < n; j++) {
            assert_int_equal(signs[i * n + j], -signs[j * n + i]);
            if (signs[i * n + j] > 0)
                continue;
            for (size_t k = 0; k < n; k++)
                if (signs[j * n + k] <= 0 &&
                    signs[i * n + k] != (signs[i * n + j] < 0 ? -1 : signs[j * n + k]))
                    fail_msg("%s, %s, %s", texts[i], texts[j], texts[k]);
        }
    }
    free(signs);
}

static void it_is_a_total_order(void **state)
{
    const char *top = getenv("top_srcdir"), *texts[2048];
    struct families *families = NULL;
    char file[4096];

    assert_non_null(top);
    snprintf(file, sizeof(file), "%s/conf/families.yaml", top);
    assert_int_equal(families_load(file, NULL, note, NULL, &families), 0);
    size_t n = all_versions(families, texts, ELEMENTSOF(texts));
    assert_true(n > 400);
    check_triples(texts, n, VERSION_ORDER_GENERIC);
    check_triples(texts, n, VERSION_ORDER_JUNOS);
    families_free(families);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_releases_are_in_order),
        cmocka_unit_test(the_same_in_other_words),
        cmocka_unit_test(what_is_never_compared),
        cmocka_unit_test(an_epoch_counts_first),
        cmocka_unit_test(numbers_of_any_length),
        cmocka_unit_test(the_longest_train_holds),
        cmocka_unit_test(names_of_orders),
        cmocka_unit_test(it_is_a_total_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
