/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tests escaping, shell quoting, sizes and durations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "helpers/text.h"
#include "lib/cleanup.h"

static void check_escape(const char *bytes, size_t n, const char *expected)
{
    _cleanup_free_ char *text = NULL;

    assert_int_equal(text_escape(bytes, n, &text), 0);
    assert_string_equal(text, expected);
}

#define ESCAPES(bytes, expected) check_escape(bytes, sizeof(bytes) - 1, expected)

static void test_escape(void **state)
{
    ESCAPES("", "");
    ESCAPES("plain name.qcow2", "plain name.qcow2");
    ESCAPES("a\\b", "a\\\\b");
    ESCAPES("\a\b\t\n\v\f\r", "\\a\\b\\t\\n\\v\\f\\r");
    ESCAPES("\x1b[31mred", "\\x1b[31mred");
    ESCAPES("nul\0end", "nul\\x00end");
    ESCAPES("\x7f", "\\x7f");
    ESCAPES("gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f");
    ESCAPES("\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80");
    ESCAPES("\xc2\x85", "\\xc2\\x85");                      /* C1: next line */
    ESCAPES("\xe2\x80\xae", "\\xe2\\x80\\xae");             /* U+202E */
    ESCAPES("\xe2\x80\x8e", "\\xe2\\x80\\x8e");             /* U+200E */
    ESCAPES("\xe2\x81\xa6", "\\xe2\\x81\\xa6");             /* U+2066 */
    ESCAPES("\xef\xbb\xbf", "\\xef\\xbb\\xbf");             /* U+FEFF */
    ESCAPES("\xff\xfe", "\\xff\\xfe");
    ESCAPES("\xc0\xaf", "\\xc0\\xaf");                      /* overlong */
    ESCAPES("\xe0\x80\xaf", "\\xe0\\x80\\xaf");
    ESCAPES("\xed\xa0\x80", "\\xed\\xa0\\x80");             /* surrogate */
    ESCAPES("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");    /* beyond U+10FFFF */
    ESCAPES("cut\xe2\x80", "cut\\xe2\\x80");
    ESCAPES("\xc3(", "\\xc3(");
}

/* First and last of each range of Unicode's Default_Ignorable_Code_Point. */
static void test_what_nobody_sees_is_escaped(void **state)
{
    static const char *const hidden[] = {
        "\xc2\xad", "\xcd\x8f", "\xe1\x85\x9f", "\xe1\x85\xa0", "\xe1\x9e\xb4",
        "\xe1\x9e\xb5", "\xe1\xa0\x8b", "\xe1\xa0\x8f", "\xe2\x80\x8b", "\xe2\x80\x8f",
        "\xe2\x80\xaa", "\xe2\x80\xae", "\xe2\x81\xa0", "\xe2\x81\xaf", "\xe3\x85\xa4",
        "\xef\xb8\x80", "\xef\xb8\x8f", "\xef\xbb\xbf", "\xef\xbe\xa0", "\xef\xbf\xb0",
        "\xef\xbf\xb8", "\xf0\x9b\xb2\xa0", "\xf0\x9b\xb2\xa3", "\xf0\x9d\x85\xb3",
        "\xf0\x9d\x85\xba", "\xf3\xa0\x80\x80", "\xf3\xa0\xbf\xbf",
    };
    /* their neighbours, which are seen */
    static const char *const shown[] = {
        "\xc2\xac", "\xc2\xae", "\xcd\x8e", "\xcd\x90", "\xe1\x85\x9e", "\xe1\x85\xa1",
        "\xe1\x9e\xb3", "\xe1\x9e\xb6", "\xe1\xa0\x8a", "\xe1\xa0\x90", "\xe3\x85\xa3",
        "\xe3\x85\xa5", "\xef\xb7\xbd", "\xef\xb8\x90", "\xef\xbe\x9f", "\xef\xbe\xa1",
        "\xef\xbf\xbd", "\xf0\x9b\xb2\x9f", "\xf0\x9d\x85\xb2", "\xf0\x9d\x85\xbb",
    };

    for (size_t i = 0; i < ELEMENTSOF(hidden); i++) {
        _cleanup_free_ char *name = NULL, *text = NULL, *whole = NULL;

        assert_true(asprintf(&name, "a%sb", hidden[i]) > 0);
        assert_false(text_is_safe(name, strlen(name)));
        assert_int_equal(text_escape(name, strlen(name), &text), 0);
        assert_memory_equal(text, "a\\x", 3);
        for (const char *c = text; *c; c++)
            assert_in_range(*c, 0x20, 0x7e);
        assert_int_equal(text_quote_shell(name, &whole), 0);
        assert_memory_equal(whole, "$'a\\x", 5);
    }
    for (size_t i = 0; i < ELEMENTSOF(shown); i++)
        if (!text_is_safe(shown[i], strlen(shown[i])))
            fail_msg("shown %zu", i);
}

/* A selector is part of the pictograph before it; alone, behind a letter, or twice it is hidden. */
static void test_selectors_of_pictographs(void **state)
{
    ESCAPES("\xe2\x98\x81\xef\xb8\x8f", "\xe2\x98\x81\xef\xb8\x8f");          /* a cloud */
    ESCAPES("\xe2\x98\x81\xef\xb8\x8e.q", "\xe2\x98\x81\xef\xb8\x8e.q");
    ESCAPES("\xf0\x9f\x96\xa5\xef\xb8\x8f", "\xf0\x9f\x96\xa5\xef\xb8\x8f");
    ESCAPES("1\xef\xb8\x8f\xe2\x83\xa3", "1\xef\xb8\x8f\xe2\x83\xa3");        /* a key */
    ESCAPES("1\xef\xb8\x8f", "1\\xef\\xb8\\x8f");
    ESCAPES("1\xef\xb8\x8f\xe2\x83", "1\\xef\\xb8\\x8f\\xe2\\x83");
    ESCAPES("vs\xef\xb8\x8fx", "vs\\xef\\xb8\\x8fx");
    ESCAPES("\xef\xb8\x8f", "\\xef\\xb8\\x8f");
    ESCAPES("\xe2\x98\x81\xef\xb8\x8f\xef\xb8\x8f",
            "\xe2\x98\x81\xef\xb8\x8f\\xef\\xb8\\x8f");
    ESCAPES("\xe2\x98\x81\xef\xb8\x80", "\xe2\x98\x81\\xef\\xb8\\x80");
    ESCAPES("\xe2\x98\x81\xef\xb8", "\xe2\x98\x81\\xef\\xb8");
}

static void test_escape_string(void **state)
{
    _cleanup_free_ char *nothing = text_escape_string(NULL), *text = text_escape_string("a\nb");

    assert_string_equal(nothing, "");
    assert_string_equal(text, "a\\nb");
}

static void test_is_safe(void **state)
{
    assert_true(text_is_safe("", 0));
    assert_true(text_is_safe("back\\slash", 10));
    assert_true(text_is_safe("gr\xc3\xbcn", 5));
    assert_false(text_is_safe("a\nb", 3));
    assert_false(text_is_safe("a\0b", 3));
    assert_false(text_is_safe("\xc3", 1));
    assert_false(text_is_safe("\xe2\x80\xae", 3));
}

static void check_quote(const char *string, const char *expected)
{
    _cleanup_free_ char *text = NULL, *command = NULL;
    _cleanup_fclose_ FILE *pipe_file = NULL;
    char answer[64] = "";
    size_t n;

    assert_int_equal(text_quote_shell(string, &text), 0);
    assert_string_equal(text, expected);

    /* what a shell makes of it is the string again */
    assert_true(asprintf(&command, "exec bash -c \"$(cat <<'X'\nprintf %%s %s\nX\n)\"", text) > 0);
    pipe_file = popen(command, "r");
    assert_non_null(pipe_file);
    n = fread(answer, 1, sizeof(answer) - 1, pipe_file);
    assert_int_equal(n, strlen(string));
    assert_memory_equal(answer, string, n);
    assert_int_equal(pclose(TAKE_PTR(pipe_file)), 0);
}

static void test_quote_shell(void **state)
{
    check_quote("/var/lib/a-b_c.qcow2", "/var/lib/a-b_c.qcow2");
    check_quote("", "''");
    check_quote("two words", "'two words'");
    check_quote("it's", "'it'\\''s'");
    check_quote("$(touch x);`id`\"\\", "'$(touch x);`id`\"\\'");
    check_quote("~root", "'~root'");
    check_quote("gr\xc3\xbcn", "'gr\xc3\xbcn'");
    check_quote("line\nbreak's\\", "$'line\\nbreak\\'s\\\\'");
    check_quote("\xff" "f", "$'\\xfff'");
    check_quote("\x1b]0;x\a", "$'\\x1b]0;x\\a'");
}

static void test_size(void **state)
{
    char buf[TEXT_SIZE_MAX];

    assert_string_equal(text_size(0, buf), "0B");
    assert_string_equal(text_size(1023, buf), "1023B");
    assert_string_equal(text_size(1024, buf), "1K");
    assert_string_equal(text_size(1536, buf), "1.5K");
    assert_string_equal(text_size(UINT64_C(1610612736), buf), "1.5G");
    assert_string_equal(text_size(UINT64_C(1024) * 1024 * 1024 * 1024 - 1, buf), "1023.9G");
    assert_string_equal(text_size(UINT64_MAX, buf), "15.9E");
}

static void test_duration(void **state)
{
    const uint64_t s = 1000000, day = 86400 * s;
    char buf[TEXT_DURATION_MAX];

    assert_string_equal(text_duration(0, buf), "0s");
    assert_string_equal(text_duration(7, buf), "7us");
    assert_string_equal(text_duration(12345, buf), "12ms");
    assert_string_equal(text_duration(2500000, buf), "2s");
    assert_string_equal(text_duration(302 * s, buf), "5min 2s");
    assert_string_equal(text_duration(3600 * s, buf), "1h");
    assert_string_equal(text_duration(3 * day + 4 * 3600 * s + 59 * s, buf), "3d 4h");
    assert_string_equal(text_duration(3 * day + 59 * s, buf), "3d");
    assert_string_equal(text_duration(385 * day, buf), "1y 20d");
    assert_string_equal(text_duration(UINT64_MAX, buf), "584942y 152d");

    assert_string_equal(text_span(0, buf), "0 seconds");
    assert_string_equal(text_span(s, buf), "1 second");
    assert_string_equal(text_span(119 * s, buf), "119 seconds");
    assert_string_equal(text_span(3600 * s, buf), "1 hour");
    assert_string_equal(text_span(36 * 3600 * s, buf), "36 hours");
    assert_string_equal(text_span(day, buf), "1 day");
    assert_string_equal(text_span(14 * day + 3600 * s, buf), "14 days");
    assert_string_equal(text_span(400 * day, buf), "400 days");
    assert_true(strlen(text_span(UINT64_MAX, buf)) < sizeof(buf));

    assert_string_equal(text_age(0, 5 * s, buf), "never");
    assert_string_equal(text_age(5 * s, 5 * s + 1, buf), "just now");
    assert_string_equal(text_age(day, 4 * day, buf), "3d ago");
    assert_string_equal(text_age(4 * day, day, buf), "in 3d");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escape),  cmocka_unit_test(test_escape_string),
        cmocka_unit_test(test_what_nobody_sees_is_escaped),
        cmocka_unit_test(test_selectors_of_pictographs),
        cmocka_unit_test(test_is_safe), cmocka_unit_test(test_quote_shell),
        cmocka_unit_test(test_size),    cmocka_unit_test(test_duration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
