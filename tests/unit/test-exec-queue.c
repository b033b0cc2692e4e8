/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the program of alerts.exec is told, and when, by a clock of the test's own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "daemon/tell/exec-queue.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define SECOND USEC_PER_SEC
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
/* 2026-11-30, 12:00 UTC */
#define NOON (UINT64_C(1796040000) * SECOND)

struct fixture {
    struct exec_queue *queue;
    struct exec_time time;
    unsigned n_exec, n_none, n_superseded, n_failed;
    json_object *message;       /* the last one that was taken */
};

static void told(void *userdata, sd_id128_t event_id, unsigned outbox, const char *channel,
                 int error)
{
    struct fixture *f = userdata;

    assert_int_equal(outbox, OUTBOX_EXEC);
    if (error < 0) {
        assert_null(channel);
        f->n_failed++;
    } else if (strcmp(channel, "exec") == 0) {
        f->n_exec++;
    } else if (strcmp(channel, "superseded") == 0) {
        f->n_superseded++;
    } else {
        assert_string_equal(channel, "none");
        f->n_none++;
    }
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    setenv("TZ", "UTC", 1);
    tzset();
    f->time = (struct exec_time){ .now = HOUR, .of_day = NOON };
    assert_int_equal(exec_queue_new(told, f, &f->queue), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    exec_queue_free(f->queue);
    json_object_put(f->message);
    free(f);
    return 0;
}

static void pass(struct fixture *f, uint64_t usec)
{
    f->time.now += usec;
    f->time.of_day += usec;
}

static void put(struct fixture *f, int64_t finding_id, enum event_type type, enum severity severity)
{
    char message[40];
    struct event event = { .type = type, .at = NOON, .finding = FINDING_CHAIN_DEEP,
                           .finding_id = finding_id, .subject_kind = SUBJECT_IMAGE,
                           .subject = (char[]){ "/a/b\n.qcow2" }, .datastore = (char[]){ "a" },
                           .severity = severity, .confidence = CONFIDENCE_OFFLINE,
                           .message = message, .outbox = OUTBOX_EXEC };
    struct event *copy;

    snprintf(message, sizeof(message), "chain %lld", (long long)finding_id);
    assert_int_equal(sd_id128_randomize(&event.id), 0);
    assert_int_equal(event_copy(&event, &copy), 0);
    assert_int_equal(exec_queue_put(f->queue, copy, f->time.now), 0);
}

static bool is_due(struct fixture *f)
{
    return exec_queue_next(f->queue, &f->time) <= f->time.now;
}

/* Takes the next message; what its member is. */
static void take(struct fixture *f)
{
    assert_true(is_due(f));
    json_object_put(f->message);
    f->message = NULL;
    assert_int_equal(exec_queue_take(f->queue, &f->time, &f->message), 0);
}

static void take_and_deliver(struct fixture *f)
{
    take(f);
    exec_queue_delivered(f->queue, f->time.now);
}

static const char *member(struct fixture *f, const char *key)
{
    json_object *value = NULL;

    return json_object_object_get_ex(f->message, key, &value) ? json_object_get_string(value)
                                                              : NULL;
}

static void nothing_waits(void **state)
{
    struct fixture *f = *state;
    json_object *message = NULL;

    assert_true(exec_queue_next(f->queue, &f->time) == UINT64_MAX);
    assert_int_equal(exec_queue_take(f->queue, &f->time, &message), -ENOENT);
    assert_null(message);
}

static void one_event(void **state)
{
    struct fixture *f = *state;

    put(f, 7, EVENT_OPENED, SEVERITY_ERROR);
    assert_true(exec_queue_next(f->queue, &f->time) == f->time.now + EXEC_GATHER);
    pass(f, EXEC_GATHER);
    take(f);
    assert_int_equal(f->n_exec, 0);     /* not before the program took it */
    exec_queue_delivered(f->queue, f->time.now);
    assert_int_equal(f->n_exec, 1);
    assert_string_equal(member(f, "version"), "1");
    assert_string_equal(member(f, "kind"), "event");
    assert_string_equal(member(f, "message"), "chain 7 (finding 7)");
    assert_string_equal(member(f, "severity"), "error");
    assert_string_equal(member(f, "priority"), "3");
    assert_string_equal(member(f, "event"), "opened");
    assert_string_equal(member(f, "finding"), "chain-deep");
    assert_string_equal(member(f, "finding-id"), "7");
    assert_string_equal(member(f, "image"), "/a/b\\n.qcow2");
    assert_string_equal(member(f, "time"), "1796040000");
    assert_int_equal(strlen(member(f, "event-id")), 32);
    assert_true(exec_queue_next(f->queue, &f->time) == UINT64_MAX);
}

static void few_are_told_one_by_one(void **state)
{
    struct fixture *f = *state;

    put(f, 1, EVENT_RESOLVED, SEVERITY_CRITICAL);
    put(f, 2, EVENT_OPENED, SEVERITY_WARNING);
    put(f, 3, EVENT_OPENED, SEVERITY_CRITICAL);
    put(f, 4, EVENT_OPENED, SEVERITY_ERROR);
    pass(f, EXEC_GATHER);
    take_and_deliver(f);
    assert_string_equal(member(f, "finding-id"), "3");
    take_and_deliver(f);
    assert_string_equal(member(f, "finding-id"), "4");
    take_and_deliver(f);
    assert_string_equal(member(f, "finding-id"), "2");
    take_and_deliver(f);
    assert_string_equal(member(f, "finding-id"), "1");
    assert_string_equal(member(f, "priority"), "5");
    assert_int_equal(f->n_exec, 4);
}

static void many_are_one_message(void **state)
{
    struct fixture *f = *state;
    json_object *events, *first;

    for (int i = 1; i <= 300; i++)
        put(f, i, EVENT_OPENED, i == 250 ? SEVERITY_CRITICAL : SEVERITY_WARNING);
    pass(f, EXEC_GATHER);
    take_and_deliver(f);
    assert_int_equal(f->n_exec, 300);
    assert_string_equal(member(f, "kind"), "summary");
    assert_string_equal(member(f, "count"), "300");
    assert_string_equal(member(f, "severity"), "critical");
    assert_string_equal(member(f, "message"),
                        "300 findings changed (1 critical, 299 warning): 300 chain-deep; "
                        "qcauditctl findings shows them");
    assert_true(json_object_object_get_ex(f->message, "events", &events));
    assert_int_equal(json_object_array_length(events), 200);
    assert_string_equal(member(f, "not-listed"), "100");
    assert_true(json_object_object_get_ex(json_object_array_get_idx(events, 0), "finding-id",
                                          &first));
    assert_int_equal(json_object_get_int(first), 250);
    assert_true(exec_queue_next(f->queue, &f->time) == UINT64_MAX);
}

/* More than are kept one by one: none is lost, and the message stays small. */
static void very_many_are_counted(void **state)
{
    struct fixture *f = *state;

    for (int i = 1; i <= 5000; i++)
        put(f, i, EVENT_OPENED, SEVERITY_WARNING);
    pass(f, EXEC_GATHER);
    take(f);
    assert_string_equal(member(f, "count"), "5000");
    assert_string_equal(member(f, "not-listed"), "4800");
    assert_true(strlen(json_object_to_json_string(f->message)) < 256 * 1024);
    exec_queue_failed(f->queue, -EIO, f->time.now);
    assert_int_equal(f->n_failed, 1);
    pass(f, EXEC_RETRY);
    take_and_deliver(f);
    assert_string_equal(member(f, "count"), "5000");
    assert_int_equal(f->n_exec, 5000);
}

static void a_finding_is_told_once_an_hour(void **state)
{
    struct fixture *f = *state;

    put(f, 1, EVENT_OPENED, SEVERITY_ERROR);
    pass(f, EXEC_GATHER);
    take_and_deliver(f);
    pass(f, 5 * MINUTE);
    put(f, 1, EVENT_RESOLVED, SEVERITY_ERROR);
    pass(f, 5 * MINUTE);
    assert_false(is_due(f));
    put(f, 1, EVENT_REOPENED, SEVERITY_ERROR);
    assert_int_equal(f->n_superseded, 1);
    pass(f, 49 * MINUTE);
    assert_false(is_due(f));
    pass(f, MINUTE);
    take_and_deliver(f);
    assert_string_equal(member(f, "event"), "reopened");
    /* An hour from then on. */
    put(f, 1, EVENT_RESOLVED, SEVERITY_ERROR);
    pass(f, 59 * MINUTE);
    assert_false(is_due(f));
    /* What gets worse does not wait. */
    put(f, 1, EVENT_WORSENED, SEVERITY_CRITICAL);
    take_and_deliver(f);
    assert_string_equal(member(f, "severity"), "critical");
    /* Nor does another finding. */
    put(f, 2, EVENT_OPENED, SEVERITY_WARNING);
    pass(f, EXEC_GATHER);
    take_and_deliver(f);
    assert_string_equal(member(f, "finding-id"), "2");
}

/* Open when it is told first, gone and back again each time when it may be told next. */
static void one_that_comes_and_goes(void **state)
{
    static const unsigned hours[] = { 1, 2, 4, 8, 8, 8 };
    struct fixture *f = *state;

    put(f, 1, EVENT_OPENED, SEVERITY_ERROR);
    pass(f, EXEC_GATHER);
    take_and_deliver(f);
    for (size_t i = 0; i < sizeof(hours) / sizeof(hours[0]); i++) {
        put(f, 1, EVENT_RESOLVED, SEVERITY_ERROR);
        put(f, 1, EVENT_REOPENED, SEVERITY_ERROR);
        pass(f, hours[i] * HOUR - MINUTE);
        assert_false(is_due(f));
        pass(f, MINUTE);
        take_and_deliver(f);
        assert_string_equal(member(f, "event"), "reopened");
    }
    /* However it is told last, it came back. */
    put(f, 1, EVENT_RESOLVED, SEVERITY_ERROR);
    put(f, 1, EVENT_REOPENED, SEVERITY_ERROR);
    put(f, 1, EVENT_RESOLVED, SEVERITY_ERROR);
    pass(f, 8 * HOUR);
    take_and_deliver(f);
    assert_string_equal(member(f, "event"), "resolved");
    put(f, 1, EVENT_REOPENED, SEVERITY_ERROR);
    pass(f, 8 * HOUR - MINUTE);
    assert_false(is_due(f));
    pass(f, MINUTE);
    take_and_deliver(f);
    /* What is critical is told within the hour that it is there, however often it returns. */
    put(f, 1, EVENT_WORSENED, SEVERITY_CRITICAL);
    pass(f, EXEC_GATHER);
    take_and_deliver(f);
    put(f, 1, EVENT_RESOLVED, SEVERITY_CRITICAL);
    pass(f, HOUR);
    assert_false(is_due(f));
    put(f, 1, EVENT_REOPENED, SEVERITY_CRITICAL);
    take_and_deliver(f);
    assert_string_equal(member(f, "event"), "reopened");
    /* Twice as long without a word, and it is one like others again. */
    pass(f, 16 * HOUR);
    put(f, 1, EVENT_RESOLVED, SEVERITY_ERROR);
    pass(f, EXEC_GATHER);
    take_and_deliver(f);
    put(f, 1, EVENT_REOPENED, SEVERITY_ERROR);
    pass(f, HOUR - MINUTE);
    assert_false(is_due(f));
    pass(f, MINUTE);
    take_and_deliver(f);
}

/* A return that is superseded before it is told counts as one that is told. */
static void returns_that_are_superseded(void **state)
{
    static const unsigned hours[] = { 1, 2, 4, 8, 8 };
    struct fixture *f = *state;

    put(f, 1, EVENT_OPENED, SEVERITY_ERROR);
    pass(f, EXEC_GATHER);
    take_and_deliver(f);
    for (size_t i = 0; i < sizeof(hours) / sizeof(hours[0]); i++) {
        put(f, 1, EVENT_RESOLVED, SEVERITY_ERROR);
        put(f, 1, EVENT_REOPENED, SEVERITY_WARNING);
        put(f, 1, EVENT_WORSENED, SEVERITY_ERROR);
        put(f, 1, EVENT_RESOLVED, SEVERITY_ERROR);
        pass(f, hours[i] * HOUR - MINUTE);
        assert_false(is_due(f));
        pass(f, MINUTE);
        take_and_deliver(f);
        assert_string_equal(member(f, "event"), "resolved");
    }
}

static void a_warning_that_came_and_went(void **state)
{
    struct fixture *f = *state;

    put(f, 1, EVENT_OPENED, SEVERITY_WARNING);
    put(f, 1, EVENT_RESOLVED, SEVERITY_WARNING);
    assert_int_equal(f->n_superseded, 1);
    assert_int_equal(f->n_none, 1);
    assert_true(exec_queue_next(f->queue, &f->time) == UINT64_MAX);
    /* Of what is worse it is said that it was there. */
    put(f, 2, EVENT_OPENED, SEVERITY_ERROR);
    put(f, 2, EVENT_RESOLVED, SEVERITY_ERROR);
    pass(f, EXEC_GATHER);
    take_and_deliver(f);
    assert_string_equal(member(f, "event"), "resolved");
    /* One whose opening was told is told to be resolved. */
    put(f, 3, EVENT_OPENED, SEVERITY_WARNING);
    pass(f, EXEC_GATHER);
    take_and_deliver(f);
    put(f, 3, EVENT_RESOLVED, SEVERITY_WARNING);
    pass(f, HOUR);
    take_and_deliver(f);
    assert_string_equal(member(f, "event"), "resolved");
}

/* An event that nobody is told of. */
static void note(struct fixture *f, int64_t finding_id, enum event_type type, int64_t muted_by)
{
    struct event event = { .type = type, .finding = FINDING_CHAIN_DEEP, .finding_id = finding_id,
                           .severity = SEVERITY_WARNING, .subject = (char[]){ "/a" },
                           .muted_by = muted_by };

    assert_int_equal(exec_queue_note(f->queue, &event), 0);
}

static void what_is_over_is_not_told(void **state)
{
    struct fixture *f = *state;

    put(f, 1, EVENT_OPENED, SEVERITY_CRITICAL);
    put(f, 2, EVENT_OPENED, SEVERITY_CRITICAL);
    put(f, 3, EVENT_OPENED, SEVERITY_CRITICAL);
    put(f, 4, EVENT_OPENED, SEVERITY_CRITICAL);
    put(f, 5, EVENT_OPENED, SEVERITY_WARNING);
    note(f, 1, EVENT_MUTED, 7);
    note(f, 2, EVENT_ACKNOWLEDGED, 0);
    note(f, 3, EVENT_RESOLVED, 7);
    note(f, 4, EVENT_EASED, 0);
    assert_int_equal(f->n_none, 3);
    /* Resolved as less than it was: that it was critical is told all the same. */
    note(f, 4, EVENT_RESOLVED, 0);
    note(f, 5, EVENT_RESOLVED, 0);
    note(f, 6, EVENT_RESOLVED, 0);
    assert_int_equal(f->n_none, 4);
    assert_int_equal(f->n_superseded, 2);
    pass(f, EXEC_GATHER);
    take_and_deliver(f);
    assert_string_equal(member(f, "finding-id"), "4");
    assert_string_equal(member(f, "event"), "resolved");
    assert_true(exec_queue_next(f->queue, &f->time) == UINT64_MAX);
    /* One that is muted while its message is under way is not told again when that fails. */
    put(f, 8, EVENT_OPENED, SEVERITY_ERROR);
    pass(f, EXEC_GATHER);
    take(f);
    note(f, 8, EVENT_MUTED, 7);
    exec_queue_failed(f->queue, -EIO, f->time.now);
    assert_true(exec_queue_next(f->queue, &f->time) == UINT64_MAX);
    assert_int_equal(f->n_none, 5);
}

/* A message that the program never takes does not keep others back. */
static void one_that_always_fails(void **state)
{
    struct fixture *f = *state;

    put(f, 1, EVENT_OPENED, SEVERITY_CRITICAL);
    put(f, 2, EVENT_OPENED, SEVERITY_WARNING);
    pass(f, EXEC_GATHER);
    take(f);
    assert_string_equal(member(f, "finding-id"), "1");
    exec_queue_failed(f->queue, -EIO, f->time.now);
    pass(f, EXEC_RETRY);
    take_and_deliver(f);
    assert_string_equal(member(f, "finding-id"), "2");
    take(f);
    assert_string_equal(member(f, "finding-id"), "1");
    exec_queue_failed(f->queue, -EIO, f->time.now);
}

/* Those that are only counted wait for the first pass, and are told as what they are. */
static void counted_ones_and_the_first_pass(void **state)
{
    struct fixture *f = *state;

    exec_queue_first_pass(f->queue, true);
    for (int i = 1; i <= 1000; i++)
        put(f, i, EVENT_OPENED, SEVERITY_ERROR);
    put(f, 2000, EVENT_OPENED, SEVERITY_ERROR);
    put(f, 1, EVENT_WORSENED, SEVERITY_CRITICAL);
    pass(f, EXEC_GATHER);
    take_and_deliver(f);
    assert_string_equal(member(f, "kind"), "event");
    assert_string_equal(member(f, "finding-id"), "1");
    assert_false(is_due(f));
    exec_queue_first_pass(f->queue, false);
    take_and_deliver(f);
    assert_string_equal(member(f, "count"), "1000");
    assert_int_equal(strncmp(member(f, "message"), "First pass", 10), 0);
    /* 1,000 that wait for the end of quiet hours, and one that is only counted. */
    exec_queue_set_quiet_hours(f->queue, (uint64_t)(11 * 60) << 16 | 18 * 60);
    for (int i = 3001; i <= 4001; i++)
        put(f, i, EVENT_OPENED, SEVERITY_WARNING);
    pass(f, EXEC_GATHER);
    take_and_deliver(f);
    assert_string_equal(member(f, "count"), "1");
    assert_non_null(strstr(member(f, "message"), "1 finding changed (1 warning)"));
}

static void quiet_hours(void **state)
{
    struct fixture *f = *state;

    exec_queue_set_quiet_hours(f->queue, (uint64_t)(22 * 60) << 16 | 7 * 60);
    pass(f, 11 * HOUR);         /* 23:00 */
    put(f, 1, EVENT_OPENED, SEVERITY_WARNING);
    put(f, 2, EVENT_RESOLVED, SEVERITY_CRITICAL);
    put(f, 3, EVENT_OPENED, SEVERITY_ERROR);
    pass(f, EXEC_GATHER);
    take_and_deliver(f);
    assert_string_equal(member(f, "finding-id"), "3");
    assert_false(is_due(f));
    assert_true(exec_queue_next(f->queue, &f->time) == f->time.now + 8 * HOUR - EXEC_GATHER);
    pass(f, 8 * HOUR - EXEC_GATHER);
    take_and_deliver(f);
    assert_string_equal(member(f, "finding-id"), "1");
    take_and_deliver(f);
    assert_string_equal(member(f, "finding-id"), "2");
}

static void first_pass(void **state)
{
    struct fixture *f = *state;

    exec_queue_first_pass(f->queue, true);
    for (int i = 1; i <= 10; i++)
        put(f, i, EVENT_OPENED, i == 4 ? SEVERITY_CRITICAL : SEVERITY_ERROR);
    pass(f, EXEC_GATHER);
    take_and_deliver(f);
    assert_string_equal(member(f, "finding-id"), "4");
    assert_true(exec_queue_next(f->queue, &f->time) == UINT64_MAX);
    exec_queue_first_pass(f->queue, false);
    take_and_deliver(f);
    assert_string_equal(member(f, "message"), "First pass over the store: 9 findings (9 error): 9 "
                        "chain-deep; qcauditctl findings shows them");
    assert_int_equal(f->n_exec, 10);
}

static void failures(void **state)
{
    struct fixture *f = *state;
    uint64_t wait = EXEC_RETRY;

    put(f, 1, EVENT_OPENED, SEVERITY_ERROR);
    pass(f, EXEC_GATHER);
    for (int i = 0; i < 10; i++) {
        take(f);
        assert_true(exec_queue_failed(f->queue, -EIO, f->time.now) == wait);
        assert_int_equal(f->n_failed, i + 1);
        assert_true(exec_queue_next(f->queue, &f->time) == f->time.now + wait);
        /* Others wait for the same reason. */
        put(f, 100 + i, EVENT_OPENED, SEVERITY_CRITICAL);
        pass(f, wait - 1);
        assert_false(is_due(f));
        pass(f, 1);
        wait = 2 * wait < EXEC_RETRY_MAX ? 2 * wait : EXEC_RETRY_MAX;
    }
    take(f);
    assert_string_equal(member(f, "count"), "11");
    /* While the program is asked, one changes: its later event counts if the message fails. */
    put(f, 1, EVENT_RESOLVED, SEVERITY_ERROR);
    exec_queue_failed(f->queue, -EIO, f->time.now);
    assert_int_equal(f->n_superseded, 1);
    exec_queue_retry(f->queue);
    pass(f, EXEC_GATHER);
    take_and_deliver(f);
    assert_string_equal(member(f, "count"), "11");
    assert_non_null(strstr(member(f, "message"), "1 resolved"));
    assert_int_equal(f->n_exec, 11);
}

static void messages_are_few(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < EXEC_WINDOW_MESSAGES; i++) {
        put(f, 1000 + i, EVENT_OPENED, SEVERITY_ERROR);
        pass(f, EXEC_GATHER);
        take_and_deliver(f);
    }
    put(f, 1, EVENT_OPENED, SEVERITY_CRITICAL);
    put(f, 2, EVENT_OPENED, SEVERITY_ERROR);
    pass(f, EXEC_GATHER);
    assert_false(is_due(f));
    pass(f, EXEC_WINDOW - (EXEC_WINDOW_MESSAGES * EXEC_GATHER));
    take_and_deliver(f);
    assert_string_equal(member(f, "finding-id"), "1");
    assert_false(is_due(f));
    pass(f, EXEC_GATHER);
    take_and_deliver(f);
    assert_string_equal(member(f, "finding-id"), "2");
}

static void nobody_is_told_any_more(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 1100; i++)
        put(f, i + 1, EVENT_OPENED, SEVERITY_ERROR);
    exec_queue_drop(f->queue);
    assert_int_equal(f->n_none, 1100);
    pass(f, HOUR);
    assert_true(exec_queue_next(f->queue, &f->time) == UINT64_MAX);
}

/* ---- a month ---- */

#define FINDINGS 200

/* What is, and what the program knows by its messages. */
struct month {
    struct fixture *f;
    uint32_t random;
    bool open[FINDINGS + 1], known_open[FINDINGS + 1];
    enum severity severity[FINDINGS + 1], known_severity[FINDINGS + 1];
    uint64_t told[FINDINGS + 1];
    unsigned n_changes, n_messages, n_single, n_summaries, n_failed;
};

static uint32_t month_random(struct month *month, uint32_t below)
{
    month->random = month->random * 1664525 + 1013904223;
    return (month->random >> 8) % below;
}

/* One finding opens, gets worse, or is resolved. */
static void month_change(struct month *month)
{
    unsigned id = 1 + month_random(month, FINDINGS);

    month->n_changes++;
    if (!month->open[id]) {
        month->open[id] = true;
        month->severity[id] = SEVERITY_WARNING + month_random(month, 2);
        put(month->f, id, EVENT_OPENED, month->severity[id]);
    } else if (month->severity[id] < SEVERITY_CRITICAL && month_random(month, 4) == 0) {
        month->severity[id]++;
        put(month->f, id, EVENT_WORSENED, month->severity[id]);
    } else {
        month->open[id] = false;
        put(month->f, id, EVENT_RESOLVED, month->severity[id]);
    }
}

/* What the message says of one finding; none is told too often. */
static void month_learn(struct month *month, json_object *event)
{
    unsigned id = (unsigned)json_object_get_int(json_object_object_get(event, "finding-id"));
    const char *type = json_object_get_string(json_object_object_get(event, "event"));
    int severity =
        severity_from_name(json_object_get_string(json_object_object_get(event, "severity")));
    bool resolved = strcmp(type, "resolved") == 0;

    assert_true(id >= 1 && id <= FINDINGS && severity >= 0);
    if (month->told[id] > 0 && (resolved || severity <= (int)month->known_severity[id]))
        assert_true(month->f->time.now - month->told[id] >= EXEC_FINDING_PAUSE);
    month->told[id] = month->f->time.now;
    month->known_open[id] = !resolved;
    month->known_severity[id] = (enum severity)severity;
}

static void month_messages(struct month *month)
{
    struct fixture *f = month->f;
    json_object *events;

    while (is_due(f)) {
        take(f);
        if (month_random(month, 10) == 0) {
            exec_queue_failed(f->queue, -EIO, f->time.now);
            month->n_failed++;
            continue;
        }
        exec_queue_delivered(f->queue, f->time.now);
        month->n_messages++;
        if (!json_object_object_get_ex(f->message, "events", &events)) {
            month->n_single++;
            month_learn(month, f->message);
            continue;
        }
        month->n_summaries++;
        assert_string_equal(member(f, "not-listed"), "0");
        for (size_t i = 0; i < json_object_array_length(events); i++)
            month_learn(month, json_object_array_get_idx(events, i));
    }
}

/* 200 findings change some seven times a day each for a month, in bursts; each tenth message fails.
 * In the end the program knows what is: all that is open, and nothing else. */
static void a_month(void **state)
{
    struct month *month = calloc(1, sizeof(*month));

    month->f = *state;
    exec_queue_set_quiet_hours(month->f->queue, (uint64_t)(22 * 60) << 16 | 7 * 60);
    for (unsigned minute = 0; minute < 30 * 24 * 60; minute++) {
        unsigned n = month_random(month, 60) == 0 ? month_random(month, 120) : 0;

        while (n-- > 0)
            month_change(month);
        month_messages(month);
        pass(month->f, MINUTE);
    }
    for (unsigned minute = 0; minute < 24 * 60; minute++) {
        month_messages(month);
        pass(month->f, MINUTE);
    }
    assert_true(exec_queue_next(month->f->queue, &month->f->time) == UINT64_MAX);
    for (unsigned id = 1; id <= FINDINGS; id++) {
        assert_int_equal(month->known_open[id], month->open[id]);
        if (month->open[id])
            assert_int_equal(month->known_severity[id], month->severity[id]);
    }
    print_message("%u changes: %u messages (%u of one, %u of many), %u tries that failed\n",
                  month->n_changes, month->n_messages, month->n_single, month->n_summaries,
                  month->n_failed);
    assert_true(month->n_changes > 30000 && month->n_messages < month->n_changes / 20);
    free(month);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(nothing_waits),
        CASE(one_event),
        CASE(few_are_told_one_by_one),
        CASE(many_are_one_message),
        CASE(very_many_are_counted),
        CASE(a_finding_is_told_once_an_hour),
        CASE(one_that_comes_and_goes),
        CASE(returns_that_are_superseded),
        CASE(a_warning_that_came_and_went),
        CASE(what_is_over_is_not_told),
        CASE(one_that_always_fails),
        CASE(counted_ones_and_the_first_pass),
        CASE(quiet_hours),
        CASE(first_pass),
        CASE(failures),
        CASE(messages_are_few),
        CASE(nobody_is_told_any_more),
        CASE(a_month),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
