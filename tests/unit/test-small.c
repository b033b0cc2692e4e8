/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What daemon, command and helpers share of small things: digits, paths, durations, writing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "ctl/when.h"
#include "helpers/clock.h"
#include "helpers/hex.h"
#include "helpers/path.h"
#include "helpers/text-buffer.h"
#include "helpers/value.h"
#include "helpers/write.h"

static void hexadecimal(void **state)
{
    const uint8_t bytes[] = { 0x00, 0x9f, 0xa0, 0xff };
    uint8_t back[4] = { 1, 2, 3, 4 };
    char text[9];

    hex_encode(bytes, 4, text);
    assert_string_equal(text, "009fa0ff");
    assert_int_equal(hex_decode(text, back, 4), 0);
    assert_memory_equal(back, bytes, 4);
    assert_int_equal(hex_decode(text, back, 3), -EBADMSG);
    assert_int_equal(hex_decode("009fA0ff", back, 4), -EBADMSG);
    assert_int_equal(hex_decode("009fg0ff", back, 4), -EBADMSG);
    assert_int_equal(hex_decode(NULL, back, 4), -EBADMSG);
    assert_memory_equal(back, bytes, 4);
    assert_int_equal(hex_digit('F'), 15);
    assert_int_equal(hex_digit('\x10'), -1);    /* '0' without the bit that is case */
    assert_int_equal(hex_digit('g'), -1);
    hex_encode(NULL, 0, text);
    assert_string_equal(text, "");
}

static void below(void **state)
{
    static const struct { const char *path, *root; bool is_below; } cases[] = {
        { "/srv/vms/a", "/srv/vms", true },   { "/srv/vms", "/srv/vms", true },
        { "/srv/vms", "/srv/vms/", true },    { "/srv/vms/a", "/srv/vms//", true },
        { "/srv/vms-old/a", "/srv/vms", false }, { "/srv", "/srv/vms", false },
        { "/srv/vms", "/", true },            { "/", "/", true },
        { "/srv/vms", "///", true },          { "srv/vms", "/", false },
        { "/srv/vms", "s", false },           { "s/vms", "s", true },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (path_is_below(cases[i].path, cases[i].root) != cases[i].is_below)
            fail_msg("%s below %s", cases[i].path, cases[i].root);
}

/* The configuration and the command agree; the command alone takes a number for seconds. */
static void durations(void **state)
{
    static const struct { const char *text; uint64_t seconds; bool bare; } cases[] = {
        { "1y", 365 * 86400, false },       { "2 years", 2 * 365 * 86400, false },
        { "90min", 5400, false },           { "90m", 5400, false },
        { "1hr 30 minutes", 5400, false },  { "2w1d", 15 * 86400, false },
        { "90", 90, true },                 { "1h 30", 3630, true },
    };
    const char *reason;
    uint64_t usec;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(when_parse_duration(cases[i].text, &usec), 0);
        assert_int_equal(usec, cases[i].seconds * USEC_PER_SEC);
        assert_int_equal(value_duration(cases[i].text, &usec, &reason),
                         cases[i].bare ? -EINVAL : 0);
        assert_int_equal(usec, cases[i].seconds * USEC_PER_SEC);
    }
    assert_int_equal(when_parse_duration("", &usec), -EINVAL);
    assert_int_equal(when_parse_duration("3 fortnights", &usec), -EINVAL);
    assert_int_equal(when_parse_duration("-1h", &usec), -EINVAL);
    assert_int_equal(when_parse_duration("1h -", &usec), -EINVAL);
    assert_int_equal(when_parse_duration("99999999y", &usec), -ERANGE);
}

static void *reader(void *userdata)
{
    size_t *n = userdata, got;
    char buf[1000];

    while ((got = (size_t)read((int)n[0], buf, sizeof(buf))) > 0 && got <= sizeof(buf))
        n[1] += got;
    return NULL;
}

/* A pipe takes it in pieces. */
static void written_completely(void **state)
{
    size_t size = 1 << 20, n[2] = { 0, 0 };
    char *bytes = calloc(1, size);
    pthread_t thread;
    int fds[2];

    assert_non_null(bytes);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    n[0] = (size_t)fds[0];
    assert_int_equal(pthread_create(&thread, NULL, reader, n), 0);
    assert_int_equal(write_all(fds[1], bytes, size), 0);
    close(fds[1]);
    pthread_join(thread, NULL);
    assert_int_equal(n[1], size);
    assert_int_equal(write_all(fds[0], bytes, size), -EBADF);
    assert_int_equal(write_all(-1, bytes, 0), 0);
    close(fds[0]);
    free(bytes);
}

static void text_that_grows(void **state)
{
    struct text_buffer buffer = {};
    char *text = NULL;

    assert_int_equal(text_buffer_end(&buffer, &text), 0);
    assert_string_equal(text, "");
    free(text);
    for (unsigned i = 0; i < 1000; i++) {
        text_buffer_put(&buffer, "ab");
        text_buffer_add(&buffer, "cdx", 2);
    }
    assert_int_equal(text_buffer_end(&buffer, &text), 0);
    assert_int_equal(strlen(text), 4000);
    assert_memory_equal(text, "abcdabcd", 8);
    assert_memory_equal(text + 3992, "abcdabcd", 8);
    free(text);
    /* something of it is missing: nothing of it is handed out */
    text = NULL;
    text_buffer_put(&buffer, "whole");
    buffer.failed = true;
    assert_int_equal(text_buffer_end(&buffer, &text), -ENOMEM);
    assert_null(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_that_grows),
        cmocka_unit_test(hexadecimal),
        cmocka_unit_test(below),
        cmocka_unit_test(durations),
        cmocka_unit_test(written_completely),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
