/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A month of a store with 200 conditions, of which some stay, some come and go, one shelf fails at
 * night, some are acknowledged or muted: what the program of alerts.exec is sent, and why. */
#include "unit/model-fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/judge/judge.h"
#include "daemon/tell/exec-queue.h"

#define MINUTE (60 * USEC_PER_SEC)
#define DAYS 30
#define CONDITIONS 200
/* 2026-11-30, 00:00 UTC */
#define START (UINT64_C(1795996800) * USEC_PER_SEC)

/* How the condition of one image behaves. */
enum kind { STAYS, MENDED, WORSENS, PASSES, FLAPS, SHELF, ACKNOWLEDGED, MUTED, _KIND_MAX };

static const char *const kind_names[_KIND_MAX] = {
    "stays all month", "is mended after days", "gets worse, then is mended", "is gone in minutes",
    "comes and goes all day", "fails with its shelf for 2 h", "is acknowledged", "is muted",
};

/* What was recorded of the images of one kind, and in how many messages it was told. */
struct tally { unsigned n_images, n_events[_EVENT_MAX], n_told[_EVENT_MAX]; };

struct month {
    struct findings *findings;
    struct exec_queue *queue;
    struct exec_time time;
    uint64_t random;
    bool on[CONDITIONS];                /* the condition holds, */
    enum severity severity[CONDITIONS];
    uint64_t told_at[CONDITIONS];       /* and what the program knows of it */
    enum severity told_severity[CONDITIONS];
    bool told_open[CONDITIONS];
    uint64_t audits;
    struct tally tally[_KIND_MAX];
    unsigned n_recorded, n_single, n_summaries, n_in_summaries, n_at_night;
};

static enum kind kind_of(unsigned i)
{
    /* of each 200 */
    static const unsigned n[_KIND_MAX] = { 40, 40, 20, 30, 10, 30, 15, 15 };
    unsigned kind = 0;

    while (i >= n[kind])
        i -= n[kind++];
    return (enum kind)kind;
}

static uint32_t month_random(struct month *month, uint32_t below)
{
    month->random = month->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(month->random >> 33) % below;
}

static int recorded(void *userdata, struct finding *finding, const struct event *event)
{
    struct month *month = userdata;
    unsigned i = (unsigned)atoi(finding->subject + strlen("/vms/"));
    struct event *copy;

    finding->id = (int64_t)i + 1;
    if (!event)
        return 0;
    month->n_recorded++;
    month->tally[kind_of(i)].n_events[event->type]++;
    assert_int_equal(event_copy(event, &copy), 0);
    copy->finding_id = finding->id;
    if (event_alerts(event) && event->severity >= SEVERITY_WARNING)
        return exec_queue_put(month->queue, copy, month->time.now);
    event_free(copy);
    return exec_queue_note(month->queue, event);
}

static void judge(struct month *month, unsigned i)
{
    struct judgement judgement = { .confidence = CONFIDENCE_OFFLINE, .audited = ++month->audits };
    json_object *evidence = json_object_new_object();
    struct condition condition = { .type = FINDING_CHAIN_DEEP, .severity = month->severity[i],
                                   .confidence = CONFIDENCE_OFFLINE, .evidence = evidence,
                                   .weight = (uint64_t)month->severity[i] };
    char path[40];

    snprintf(path, sizeof(path), "/vms/%03u.qcow2", i);
    json_object_object_add(evidence, "summary", json_object_new_string("has too many layers"));
    judgement.judged[FINDING_CHAIN_DEEP] = true;
    if (month->on[i])
        judgement.conditions = (struct conditions){ .items = &condition, .n_items = 1 };
    assert_int_equal(findings_apply(month->findings, SUBJECT_IMAGE, path, "vms", &judgement, 9,
                                    month->time.of_day, recorded, month), 0);
    json_object_put(evidence);
}

static void set(struct month *month, unsigned i, bool on, enum severity severity)
{
    month->on[i] = on;
    month->severity[i] = severity;
    judge(month, i);
}

/* What happens to one condition in this minute of the month. */
static void live(struct month *month, unsigned i, unsigned minute)
{
    /* Each begins at an hour of its own; the second half of those that stay was there before. */
    const unsigned begin = i % 2 ? 0 : 60 * (24 + i * 5 % (20 * 24));
    const uint64_t now = month->time.of_day;

    switch (kind_of(i)) {
    case STAYS:
        if (minute == begin)
            set(month, i, true, SEVERITY_WARNING + i % 3 / 2);
        break;
    case MENDED:
        if (minute == begin)
            set(month, i, true, SEVERITY_WARNING + i % 2);
        if (minute == begin + 60 * (20 + i))
            set(month, i, false, month->severity[i]);
        break;
    case WORSENS:
        if (minute == begin)
            set(month, i, true, SEVERITY_WARNING);
        if (minute == begin + 60 * 30)
            set(month, i, true, SEVERITY_ERROR);
        if (minute == begin + 60 * 90)
            set(month, i, true, SEVERITY_CRITICAL);
        if (minute == begin + 60 * 96)
            set(month, i, false, SEVERITY_CRITICAL);
        break;
    case PASSES:
        if (minute == begin)
            set(month, i, true, SEVERITY_WARNING);
        if (minute == begin + 1 + i % 5)
            set(month, i, false, SEVERITY_WARNING);
        break;
    case FLAPS:     /* all month but for its last day */
        if (minute < (DAYS - 1) * 24 * 60 && month_random(month, 20) == 0)
            set(month, i, !month->on[i], SEVERITY_ERROR);
        break;
    case SHELF:
        if (minute == 60 * (12 * 24 + 3))
            set(month, i, true, SEVERITY_CRITICAL);
        if (minute == 60 * (12 * 24 + 5))
            set(month, i, false, SEVERITY_CRITICAL);
        break;
    case ACKNOWLEDGED:
        if (minute == begin)
            set(month, i, true, SEVERITY_ERROR);
        if (minute == begin + 60 * 5)
            assert_int_equal(findings_acknowledge(month->findings, (int64_t)i + 1, "root", "known",
                                                  0, now, recorded, month), 0);
        break;
    default:
        if (minute == begin)
            set(month, i, true, SEVERITY_ERROR);
    }
}

/* One finding of a message. No message says what the program knows, unless it reminds, or the
 * finding was gone in between. */
static void learn(struct month *month, json_object *event)
{
    int type =
        event_type_from_name(json_object_get_string(json_object_object_get(event, "event")));
    int severity =
        severity_from_name(json_object_get_string(json_object_object_get(event, "severity")));
    int i = json_object_get_int(json_object_object_get(event, "finding-id")) - 1;
    const bool worse = severity > (int)month->told_severity[i];

    assert_true(i >= 0 && i < CONDITIONS && type >= 0 && severity >= 0);
    month->tally[kind_of((unsigned)i)].n_told[type]++;
    switch (type) {
    case EVENT_RESOLVED:
        /* Of an error that came and went unheard it is said that it was there. */
        assert_true(month->told_open[i] || kind_of((unsigned)i) == FLAPS);
        break;
    case EVENT_REMINDER:
        assert_true(month->told_open[i] && month->on[i]);
        /* A day after the change, of which the program was told up to eight hours later. */
        assert_true(month->time.now - month->told_at[i] >= 24 * HOUR - EXEC_FINDING_PAUSE_MAX);
        break;
    case EVENT_REOPENED:
        break;
    case EVENT_OPENED:
    case EVENT_WORSENED:
        assert_true(!month->told_open[i] || worse);
        break;
    default:
        fail_msg("a message of %s", event_type_name((enum event_type)type));
    }
    if (month->told_at[i] > 0 && !worse)
        assert_true(month->time.now - month->told_at[i] >= EXEC_FINDING_PAUSE);
    month->told_at[i] = month->time.now;
    month->told_open[i] = type != EVENT_RESOLVED;
    month->told_severity[i] = (enum severity)severity;
}

static void send_messages(struct month *month)
{
    const unsigned hour = (unsigned)(month->time.of_day / HOUR % 24);
    json_object *message, *events;

    while (exec_queue_next(month->queue, &month->time) <= month->time.now) {
        assert_int_equal(exec_queue_take(month->queue, &month->time, &message), 0);
        exec_queue_delivered(month->queue, month->time.now);
        if (json_object_object_get_ex(message, "events", &events)) {
            month->n_summaries++;
            for (size_t i = 0; i < json_object_array_length(events); i++)
                learn(month, json_object_array_get_idx(events, i));
            month->n_in_summaries += (unsigned)json_object_array_length(events);
        } else {
            month->n_single++;
            learn(month, message);
        }
        if (hour >= 22 || hour < 7) {
            month->n_at_night++;
            assert_string_not_equal(
                json_object_get_string(json_object_object_get(message, "severity")), "warning");
        }
        json_object_put(message);
    }
}

static void told(void *userdata, sd_id128_t event_id, unsigned outbox, const char *channel,
                 int error)
{
    assert_int_equal(error, 0);
}

static void print_table(const struct month *month)
{
    static const enum event_type types[] = { EVENT_OPENED, EVENT_WORSENED, EVENT_RESOLVED,
                                             EVENT_REOPENED, EVENT_REMINDER };

    print_message("%-28s %6s %8s | told: %6s %8s %8s %8s %8s\n", "condition", "images", "recorded",
                  "opened", "worsened", "resolved", "reopened", "reminder");
    for (int kind = 0; kind < _KIND_MAX; kind++) {
        const struct tally *tally = &month->tally[kind];
        unsigned n = 0;

        for (int type = 0; type < _EVENT_MAX; type++)
            n += tally->n_events[type];
        print_message("%-28s %6u %8u |      ", kind_names[kind], tally->n_images, n);
        for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
            print_message(" %*u", i ? 8 : 7, tally->n_told[types[i]]);
        print_message("\n");
    }
    print_message("%u changes and reminders: %u messages, %u of one finding, %u of several"
                  " (%u findings in them); %u at night\n", month->n_recorded,
                  month->n_single + month->n_summaries, month->n_single, month->n_summaries,
                  month->n_in_summaries, month->n_at_night);
}

static unsigned count_told(const struct tally *tally)
{
    unsigned n = 0;

    for (int type = 0; type < _EVENT_MAX; type++)
        n += tally->n_told[type];
    return n;
}

static void assert_month(const struct month *month)
{
    const struct tally *tally = month->tally;

    /* In the end the program knows what is. */
    for (unsigned i = 0; i < CONDITIONS; i++)
        if (kind_of(i) != ACKNOWLEDGED && kind_of(i) != MUTED)
            assert_int_equal(month->told_open[i], month->on[i]);
    /* Each that stays is told once, and reminds after 1, 3, 7 and 15 days, no more. */
    assert_int_equal(tally[STAYS].n_told[EVENT_OPENED], tally[STAYS].n_images);
    assert_int_equal(tally[STAYS].n_told[EVENT_REMINDER], tally[STAYS].n_events[EVENT_REMINDER]);
    assert_true(tally[STAYS].n_told[EVENT_REMINDER] <= 4 * tally[STAYS].n_images);
    assert_true(tally[STAYS].n_told[EVENT_REMINDER] >= 3 * tally[STAYS].n_images);
    assert_int_equal(tally[MENDED].n_told[EVENT_OPENED], tally[MENDED].n_images);
    assert_int_equal(tally[MENDED].n_told[EVENT_RESOLVED], tally[MENDED].n_images);
    assert_int_equal(tally[WORSENS].n_told[EVENT_RESOLVED], tally[WORSENS].n_images);
    assert_true(tally[WORSENS].n_told[EVENT_WORSENED] >= tally[WORSENS].n_images);
    /* A shelf that fails at night is told at night, in few words, and so is its return. */
    assert_int_equal(count_told(&tally[SHELF]), 2 * tally[SHELF].n_images);
    /* One that comes and goes all day is told some three times a day. */
    assert_true(count_told(&tally[FLAPS]) <= tally[FLAPS].n_images * 4 * DAYS);
    /* Acknowledged: told, then never again. Muted: never. */
    assert_int_equal(count_told(&tally[ACKNOWLEDGED]), tally[ACKNOWLEDGED].n_images);
    assert_int_equal(count_told(&tally[MUTED]), 0);
    assert_true(tally[MUTED].n_events[EVENT_OPENED] > 0);
}

static void mute(struct month *month, const char *pattern)
{
    struct mute *mute = calloc(1, sizeof(*mute));

    assert_non_null(mute);
    *mute = (struct mute){ .path = strdup(pattern), .by = strdup("root"),
                           .reason = strdup("a laboratory"), .made = START };
    assert_int_equal(mutes_add(findings_mutes(month->findings), mute), 0);
}

static void a_month(void **state)
{
    struct month *month = calloc(1, sizeof(*month));
    uint64_t next = 0;

    assert_non_null(month);
    setenv("TZ", "UTC", 1);
    tzset();
    month->time = (struct exec_time){ .now = HOUR, .of_day = START };
    assert_int_equal(findings_new(&month->findings), 0);
    assert_int_equal(exec_queue_new(told, NULL, &month->queue), 0);
    exec_queue_set_quiet_hours(month->queue, (uint64_t)(22 * 60) << 16 | 7 * 60);
    mute(month, "/vms/18[5-9].qcow2");
    mute(month, "/vms/19?.qcow2");
    for (unsigned i = 0; i < CONDITIONS; i++)
        month->tally[kind_of(i)].n_images++;

    for (unsigned minute = 0; minute < DAYS * 24 * 60; minute++) {
        for (unsigned i = 0; i < CONDITIONS; i++)
            live(month, i, minute);
        if (next <= month->time.of_day)
            assert_int_equal(findings_tick(month->findings, month->time.of_day, DAY, recorded,
                                           month, &next), 0);
        send_messages(month);
        month->time.now += MINUTE;
        month->time.of_day += MINUTE;
    }
    print_table(month);
    assert_month(month);
    exec_queue_free(month->queue);
    findings_free(month->findings);
    free(month);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_month) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
