/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is told, when and together: on the console, which stands in a pipe here. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/log.h"
#include "daemon/tell/alert-channel.h"
#include "daemon/tell/tell.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

struct fixture {
    int saved_stderr, read_end;
    sd_event *event;
    struct config *config;
    struct alert *alert;
    unsigned n_told, n_none, n_failed;
    sd_id128_t last;
};

static void told(void *userdata, sd_id128_t event_id, unsigned outbox, const char *channel,
                 int error)
{
    struct fixture *fixture = userdata;

    if (error < 0)
        fixture->n_failed++;
    else if (strcmp(channel, "none") == 0)
        fixture->n_none++;
    else {
        assert_string_equal(channel, "console");
        fixture->n_told++;
    }
    fixture->last = event_id;
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    fixture->saved_stderr = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    fixture->read_end = ends[0];
    assert_int_equal(log_open("qcauditd", LOG_TARGET_CONSOLE, LOG_INFO), 0);
    assert_true(sd_event_new(&fixture->event) >= 0);
    assert_int_equal(config_new(&fixture->config), 0);
    assert_int_equal(alert_new(fixture->event, fixture->config, "/nonexistent", told, fixture,
                               &fixture->alert), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    alert_free(fixture->alert);
    config_free(fixture->config);
    sd_event_unref(fixture->event);
    dup2(fixture->saved_stderr, STDERR_FILENO);
    close(fixture->saved_stderr);
    close(fixture->read_end);
    free(fixture);
    return 0;
}

/* What is on the console by now, without time stamps. */
static const char *console(struct fixture *fixture)
{
    static char text[65536], out[65536];
    ssize_t n;

    fcntl(fixture->read_end, F_SETFL, O_NONBLOCK);
    n = read(fixture->read_end, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = 0;
    out[0] = 0;
    for (char *line = text; *line;) {
        char *end = strchr(line, '\n');

        assert_non_null(end);
        assert_true(end - line > 9 && line[2] == ':' && line[8] == ' ');
        strncat(out, line + 9, (size_t)(end - line) - 8);
        line = end + 1;
    }
    return out;
}

static unsigned count_lines(const char *text)
{
    unsigned n = 0;

    for (; (text = strchr(text, '\n')); text++)
        n++;
    return n;
}

static sd_id128_t tell_of(struct fixture *fixture, enum finding_type finding, enum event_type type,
                          enum severity severity, const char *message)
{
    struct event event = {
        .type = type, .at = 1, .finding = finding, .finding_id = 7,
        .subject_kind = SUBJECT_IMAGE,
        .subject = (char[]){ "/a/b.qcow2" }, .datastore = (char[]){ "a" }, .severity = severity,
        .confidence = CONFIDENCE_OFFLINE, .message = strdup(message), .depth = 9,
        .outbox = OUTBOX_LOGS,
    };

    assert_int_equal(sd_id128_randomize(&event.id), 0);
    assert_int_equal(alert_event(fixture->alert, &event, false), 0);
    free(event.message);
    return event.id;
}

static sd_id128_t tell(struct fixture *fixture, enum event_type type, enum severity severity,
                       const char *message)
{
    return tell_of(fixture, FINDING_CHAIN_DEEP, type, severity, message);
}

static void one_event(void **state)
{
    struct fixture *fixture = *state;
    char expected[128], id[SD_ID128_STRING_MAX];

    sd_id128_t event_id = tell(fixture, EVENT_OPENED, SEVERITY_ERROR, "chain is deep");
    /* Nothing is called back before the loop runs. */
    assert_int_equal(fixture->n_told, 0);
    while (fixture->n_told == 0)
        assert_true(sd_event_run(fixture->event, 5 * USEC_PER_SEC) > 0);
    assert_true(sd_id128_equal(fixture->last, event_id));
    snprintf(expected, sizeof(expected), "chain is deep (finding 7) [event %s]\n",
             sd_id128_to_string(event_id, id));
    assert_string_equal(console(fixture), expected);
}

static void what_is_told(void **state)
{
    struct fixture *fixture = *state;

    tell(fixture, EVENT_OPENED, SEVERITY_INFO, "too small");
    tell(fixture, EVENT_ACKNOWLEDGED, SEVERITY_CRITICAL, "no alert");
    tell(fixture, EVENT_EASED, SEVERITY_CRITICAL, "no alert");
    assert_int_equal(fixture->n_none, 0);
    assert_int_equal(alert_flush(fixture->alert), 0);
    assert_int_equal(fixture->n_none, 3);
    assert_string_equal(console(fixture), "");

    tell(fixture, EVENT_WORSENED, SEVERITY_WARNING, "worse");
    tell(fixture, EVENT_RESOLVED, SEVERITY_WARNING, "gone");
    tell(fixture, EVENT_REOPENED, SEVERITY_WARNING, "again");
    tell(fixture, EVENT_REMINDER, SEVERITY_WARNING, "still there");
    assert_int_equal(alert_flush(fixture->alert), 0);
    assert_int_equal(fixture->n_told, 4);
    const char *text = console(fixture);
    assert_int_equal(count_lines(text), 4);
    assert_true(strstr(text, "worse") < strstr(text, "gone") &&
                strstr(text, "gone") < strstr(text, "again"));

    fixture->config->alert_severity = SEVERITY_CRITICAL;
    alert_set_config(fixture->alert, fixture->config);
    tell(fixture, EVENT_OPENED, SEVERITY_ERROR, "too small now");
    assert_int_equal(alert_flush(fixture->alert), 0);
    assert_int_equal(fixture->n_none, 4);

    fixture->config->alert_severity = SEVERITY_INFO;
    fixture->config->alert_journal = fixture->config->alert_syslog = false;
    alert_set_config(fixture->alert, fixture->config);
    tell(fixture, EVENT_OPENED, SEVERITY_CRITICAL, "to nobody");
    assert_int_equal(alert_flush(fixture->alert), 0);
    assert_int_equal(fixture->n_none, 5);
    assert_string_equal(console(fixture), "");
}

static void first_pass(void **state)
{
    struct fixture *fixture = *state;

    alert_first_pass(fixture->alert, true);
    for (int i = 0; i < 2000; i++)
        tell(fixture, EVENT_OPENED, i % 4 ? SEVERITY_WARNING : SEVERITY_ERROR, "one of many");
    tell(fixture, EVENT_OPENED, SEVERITY_CRITICAL, "a critical one");
    tell(fixture, EVENT_RESOLVED, SEVERITY_CRITICAL, "resolved, so not critical");
    alert_first_pass(fixture->alert, false);
    assert_int_equal(alert_flush(fixture->alert), 0);
    assert_int_equal(fixture->n_told, 2002);
    const char *text = console(fixture);
    assert_int_equal(count_lines(text), 2);
    assert_non_null(strstr(text, "a critical one (finding 7) [event "));
    assert_non_null(
        strstr(text,
               "First pass over the store: 2001 findings (500 error, 1500 warning, 1 resolved): "
               "2000 chain-deep; qcauditctl findings shows them\n"));

    /* Afterwards they are told one by one. */
    tell(fixture, EVENT_OPENED, SEVERITY_WARNING, "later");
    assert_int_equal(alert_flush(fixture->alert), 0);
    assert_int_equal(count_lines(console(fixture)), 1);
}

static void first_pass_of_one(void **state)
{
    struct fixture *fixture = *state;

    alert_first_pass(fixture->alert, true);
    tell(fixture, EVENT_OPENED, SEVERITY_WARNING, "alone");
    alert_first_pass(fixture->alert, false);
    assert_int_equal(alert_flush(fixture->alert), 0);
    assert_int_equal(fixture->n_told, 1);
    assert_int_equal(strncmp(console(fixture), "alone (finding 7) [event ", 25), 0);
}

static void bursts(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < 50; i++)
        tell(fixture, EVENT_OPENED, SEVERITY_WARNING, "burst");
    for (int i = 0; i < 21; i++)
        tell(fixture, EVENT_OPENED, SEVERITY_CRITICAL, "critical burst");
    while (fixture->n_told < 40)
        assert_true(sd_event_run(fixture->event, 5 * USEC_PER_SEC) > 0);
    assert_int_equal(fixture->n_told, 40);      /* the rest is collected */
    assert_int_equal(count_lines(console(fixture)), 40);
    assert_int_equal(alert_flush(fixture->alert), 0);
    assert_int_equal(fixture->n_told, 71);
    assert_string_equal(console(fixture),
                        "Further 31 findings changed within 10 minutes (1 critical, 30 warning): "
                        "31 chain-deep; qcauditctl findings shows them\n");
}

/* By name, the worst first; reminders are no findings that changed. */
static void names(void **state)
{
    struct fixture *fixture = *state;

    for (int i = 0; i < 20; i++)
        tell(fixture, EVENT_OPENED, SEVERITY_WARNING, "one by one");
    for (int i = 0; i < 5; i++)
        tell(fixture, EVENT_OPENED, SEVERITY_WARNING, "many");
    tell_of(fixture, FINDING_ORPHAN, EVENT_OPENED, SEVERITY_WARNING, "few");
    tell_of(fixture, FINDING_PARENT_MISSING, EVENT_OPENED, SEVERITY_ERROR, "worst");
    for (int i = 0; i < 2; i++)
        tell_of(fixture, FINDING_ORPHAN, EVENT_REMINDER, SEVERITY_WARNING, "still there");
    tell_of(fixture, FINDING_DATASTORE_FULL, EVENT_RESOLVED, SEVERITY_CRITICAL, "gone");
    assert_int_equal(alert_flush(fixture->alert), 0);
    assert_int_equal(fixture->n_told, 30);
    assert_non_null(strstr(console(fixture),
                           "\nFurther 8 findings changed within 10 minutes (1 error, 6 warning, "
                           "1 resolved); 2 reminders: 1 parent-missing, 5 chain-deep, 3 orphan; "
                           "qcauditctl findings shows them\n"));
    for (int i = 0; i < 2; i++)
        tell_of(fixture, FINDING_ORPHAN, EVENT_REMINDER, SEVERITY_WARNING, "still there");
    assert_int_equal(alert_flush(fixture->alert), 0);
    assert_string_equal(console(fixture), "2 reminders within 10 minutes: 2 orphan; "
                                          "qcauditctl findings shows them\n");
}

/* A console that cannot be written: said with an error, and told later. */
static void failure(void **state)
{
    struct fixture *fixture = *state;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

    dup2(full, STDERR_FILENO);
    close(full);
    tell(fixture, EVENT_OPENED, SEVERITY_WARNING, "lost");
    assert_int_equal(alert_flush(fixture->alert), 0);
    assert_int_equal(fixture->n_failed, 1);
    assert_int_equal(fixture->n_told, 0);
}

static void bad_events(void **state)
{
    struct fixture *fixture = *state;
    struct event event = { .finding = _FINDING_MAX };

    assert_int_equal(alert_event(fixture->alert, &event, false), -EINVAL);
    event = (struct event){ .severity = _SEVERITY_MAX };
    assert_int_equal(alert_event(fixture->alert, &event, false), -EINVAL);
}

/* Freed with things on their way and collected: no leak, no late call. */
static void freed_early(void **state)
{
    struct fixture *fixture = *state;

    alert_first_pass(fixture->alert, true);
    for (int i = 0; i < 30; i++)
        tell(fixture, EVENT_OPENED, i % 2 ? SEVERITY_WARNING : SEVERITY_CRITICAL, "x");
    fixture->alert = alert_free(fixture->alert);
    assert_true(sd_event_run(fixture->event, 0) >= 0);
    assert_int_equal(fixture->n_told + fixture->n_failed, 0);
}

/* Raw bytes go into a journal field as they are. */
static void fields(void **state)
{
    struct delivery *delivery = calloc(1, sizeof(*delivery));

    assert_int_equal(delivery_add_field(delivery, "QCAUDIT_IMAGE", "/a\n\0b", 5), 0);
    assert_int_equal(delivery->fields[0].iov_len, 19);
    assert_memory_equal(delivery->fields[0].iov_base, "QCAUDIT_IMAGE=/a\n\0b", 19);
    delivery_free(delivery);
}

/* "NAME=value;..." of one name, as the journal gets them. */
static const char *fields_of(const struct delivery *delivery, const char *name)
{
    static char text[400];
    size_t length = 0;

    text[0] = 0;
    for (size_t i = 0; i < delivery->n_fields; i++)
        if (strncmp(delivery->fields[i].iov_base, name, strlen(name)) == 0)
            length += (size_t)snprintf(text + length, sizeof(text) - length, "%.*s;",
                                       (int)delivery->fields[i].iov_len,
                                       (const char *)delivery->fields[i].iov_base);
    return text;
}

/* Each domain has a field of its own, none where there is none; copies keep them. */
static void domains_of_an_event(void **state)
{
    const struct {
        char *domains[3];
        const char *expected;
    } rows[] = {
        { { NULL }, "" },
        { { (char[]){ "web01" } }, "QCAUDIT_DOMAIN=web01;" },
        { { (char[]){ "web01" }, (char[]){ "a b\n" } },
          "QCAUDIT_DOMAIN=web01;QCAUDIT_DOMAIN=a b\n;" },
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct event event = {
            .type = EVENT_OPENED, .finding = FINDING_METADATA_CORRUPT,
            .severity = SEVERITY_CRITICAL, .subject_kind = SUBJECT_IMAGE,
            .subject = (char[]){ "/s/a" }, .datastore = (char[]){ "s" },
            .domains = rows[i].domains[0] ? (char **)(uintptr_t)rows[i].domains : NULL,
        };
        struct delivery *delivery = calloc(1, sizeof(*delivery));

        assert_int_equal(delivery_add_event(delivery, &event), 0);
        assert_string_equal(fields_of(delivery, "QCAUDIT_DOMAIN"), rows[i].expected);
        assert_string_equal(fields_of(delivery, "QCAUDIT_IMAGE"), "QCAUDIT_IMAGE=/s/a;");
        delivery_free(delivery);
    }
}

/* Whom an event that is being recorded is for. */
static void for_whom(void **state)
{
    struct fixture *fixture = *state;
    struct event event = { .type = EVENT_OPENED, .severity = SEVERITY_WARNING };

    assert_int_equal(alert_outbox(fixture->alert, &event), OUTBOX_LOGS);
    fixture->config->alert_exec = strdup("/usr/bin/true");
    alert_set_config(fixture->alert, fixture->config);
    assert_int_equal(alert_outbox(fixture->alert, &event), OUTBOX_LOGS | OUTBOX_EXEC);
    event.muted_by = 3;
    assert_int_equal(alert_outbox(fixture->alert, &event), 0);
    event.muted_by = 0;
    event.type = EVENT_EASED;
    assert_int_equal(alert_outbox(fixture->alert, &event), 0);
    event.type = EVENT_OPENED;
    event.severity = SEVERITY_INFO;
    assert_int_equal(alert_outbox(fixture->alert, &event), 0);
    event.severity = SEVERITY_CRITICAL;
    fixture->config->alert_journal = fixture->config->alert_syslog = false;
    alert_set_config(fixture->alert, fixture->config);
    assert_int_equal(alert_outbox(fixture->alert, &event), OUTBOX_EXEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_event, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(first_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(first_pass_of_one, setup, teardown),
        cmocka_unit_test_setup_teardown(bursts, setup, teardown),
        cmocka_unit_test_setup_teardown(names, setup, teardown),
        cmocka_unit_test_setup_teardown(failure, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_events, setup, teardown),
        cmocka_unit_test_setup_teardown(freed_early, setup, teardown),
        cmocka_unit_test_setup_teardown(for_whom, setup, teardown),
        cmocka_unit_test(fields),
        cmocka_unit_test(domains_of_an_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
