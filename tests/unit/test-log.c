/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages on the console: levels, %m, errno, no colour off a terminal; targets and their names. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/log.h"
#include "lib/cleanup.h"

/* stderr goes into a pipe while a test runs. */
struct capture {
    int saved, read_end;
};

static int setup(void **state)
{
    static struct capture capture;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    capture.saved = dup(STDERR_FILENO);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    close(ends[1]);
    capture.read_end = ends[0];
    *state = &capture;
    return 0;
}

static int teardown(void **state)
{
    struct capture *capture = *state;

    dup2(capture->saved, STDERR_FILENO);
    close(capture->saved);
    close(capture->read_end);
    return 0;
}

static const char *captured(struct capture *capture)
{
    static char text[16384];
    ssize_t n;

    fcntl(capture->read_end, F_SETFL, O_NONBLOCK);
    n = read(capture->read_end, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = 0;
    return text;
}

static void console_line(void **state)
{
    assert_int_equal(log_open("qcauditd", LOG_TARGET_CONSOLE, LOG_INFO), 0);
    assert_int_equal(log_target_used(), LOG_TARGET_CONSOLE);
    errno = EXDEV;
    assert_int_equal(log_error(-ENOSPC, "Cannot write %s: %m", "x"), -ENOSPC);
    assert_int_equal(errno, EXDEV);

    const char *text = captured(*state);
    assert_true(text[2] == ':' && text[5] == ':' && text[8] == ' ');
    assert_string_equal(text + 9, "Cannot write x: No space left on device\n");
}

static void levels(void **state)
{
    assert_int_equal(log_open("qcauditd", LOG_TARGET_CONSOLE, LOG_WARNING), 0);
    assert_int_equal(log_info(0, "quiet"), 0);
    assert_int_equal(log_debug(-EIO, "quiet"), -EIO);
    assert_string_equal(captured(*state), "");
    log_warning(0, "loud");
    assert_non_null(strstr(captured(*state), "loud"));
}

static void long_message(void **state)
{
    char text[9000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    assert_int_equal(log_open("qcauditd", LOG_TARGET_CONSOLE, LOG_INFO), 0);
    log_info(0, "%s", text);
    const char *line = captured(*state);
    assert_true(strlen(line) < 4200);
    assert_string_equal(line + strlen(line) - 5, "x...\n");
}

static void no_colour_in_a_pipe(void **state)
{
    assert_int_equal(log_open("qcauditd", LOG_TARGET_CONSOLE, LOG_INFO), 0);
    log_full(LOG_CRIT, 0, "plain");
    assert_null(strchr(captured(*state), '\033'));
}

static void arguments(void **state)
{
    assert_int_equal(log_open("qcauditd", _LOG_TARGET_MAX, LOG_INFO), -EINVAL);
    assert_int_equal(log_open("qcauditd", LOG_TARGET_CONSOLE, LOG_DEBUG + 1), -EINVAL);
    assert_int_equal(log_target_from_name("journal"), LOG_TARGET_JOURNAL);
    assert_int_equal(log_target_from_name("console"), LOG_TARGET_CONSOLE);
    assert_int_equal(log_target_from_name("consol"), _LOG_TARGET_MAX);
    assert_int_equal(log_priority_from_name("debug"), LOG_DEBUG);
    assert_int_equal(log_priority_from_name("4"), LOG_WARNING);
    assert_int_equal(log_priority_from_name("8"), -EINVAL);
    assert_int_equal(log_priority_from_name(""), -EINVAL);
}

/* With no journal and somebody behind stderr, that is where messages go. */
static void detection(void **state)
{
    assert_int_equal(log_open("qcauditd", LOG_TARGET_AUTO, LOG_INFO), 0);
    assert_int_equal(log_target_used(),
                     log_journal_answers() ? LOG_TARGET_JOURNAL : LOG_TARGET_CONSOLE);
}

static void hint(void **state)
{
    char text[LOG_HINT_MAX];

    assert_non_null(strstr(log_confined_hint(-EACCES, "qcauditd (complain)\n", text),
                           "profile qcauditd forbids"));
    assert_non_null(strstr(log_confined_hint(-EPERM, "qcauditd//&worker", text),
                           "profile qcauditd//&worker forbids"));
    assert_string_equal(log_confined_hint(-EACCES, "unconfined\n", text), "");
    assert_string_equal(log_confined_hint(-EACCES, "", text), "");
    assert_string_equal(log_confined_hint(-EACCES, "a\033b", text), "");
    assert_string_equal(log_confined_hint(-ENOENT, "qcauditd (enforce)\n", text), "");
    (void)log_access_hint(-EACCES, text);       /* whatever this host has */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(console_line, setup, teardown),
        cmocka_unit_test_setup_teardown(levels, setup, teardown),
        cmocka_unit_test_setup_teardown(long_message, setup, teardown),
        cmocka_unit_test_setup_teardown(no_colour_in_a_pipe, setup, teardown),
        cmocka_unit_test(arguments),
        cmocka_unit_test(hint),
        cmocka_unit_test_setup_teardown(detection, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
