/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tells events to administrators: journal, syslog or console; asks the journal before telling again
 * after a crash. */
#include "daemon/tell/alert.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/core/log.h"
#include "daemon/tell/alert-channel.h"
#include "daemon/tell/alert-exec.h"
#include "daemon/tell/alert-test.h"
#include "daemon/tell/collection.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define FLUSH_USEC (5 * USEC_PER_SEC)
/* The journal drops an entry of more than 1,024 fields; further events of a summary follow in more
 * entries. */
#define IDS_PER_ENTRY 900

DEFINE_CLEANUP(struct delivery *, delivery_free)

/* The times at which the last events were told one by one. */
struct window {
    uint64_t times[ALERT_WINDOW_EVENTS];
    unsigned next;
};

struct alert {
    sd_event *event;
    bool journal, syslog;
    enum severity severity;
    alert_told_fn told;
    void *userdata;

    struct alert_channel *channel;
    struct alert_exec *exec;
    struct alert_test *test;    /* under way, or the last one */
    int errors[_ALERT_TARGET_MAX];      /* of the last alert that was wanted there */
    struct alert_counts counts[_ALERT_TARGET_MAX];      /* of all but the program */
    bool first_pass;
    struct window others, critical;
    struct collection collection;
    struct event *first;        /* of the collection: alone, it is told as it is */
    sd_event_source *timer;     /* sends the collection when the window has moved on */
};

/* ---- what is said ---- */

static int add_number(struct delivery *delivery, const char *name, int64_t number)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)number);
    return delivery_add_text(delivery, name, text);
}

static int add_id(struct delivery *delivery, const char *name, sd_id128_t id)
{
    char text[SD_ID128_STRING_MAX];

    return delivery_add_text(delivery, name, sd_id128_to_string(id, text));
}

/* The channel follows from the target of the daemon's own messages. */
static void logs_wanted(const struct alert *alert, bool wanted[static _ALERT_TARGET_MAX])
{
    enum log_target target = log_target_used();

    wanted[ALERT_JOURNAL] = alert->journal && target == LOG_TARGET_JOURNAL;
    wanted[ALERT_SYSLOG] = alert->syslog || (alert->journal && target == LOG_TARGET_SYSLOG);
    wanted[ALERT_CONSOLE] = target == LOG_TARGET_CONSOLE;
}

/* An alert with what every one has. */
static int delivery_new(const struct alert *alert, int priority, const char *message,
                        sd_id128_t message_id, struct delivery **ret)
{
    _cleanup_(delivery_freep) struct delivery *delivery = calloc(1, sizeof(*delivery));
    int r;

    if (!delivery)
        return -ENOMEM;
    delivery->priority = priority;
    logs_wanted(alert, delivery->wanted);
    if ((r = delivery_add_text(delivery, "MESSAGE", message)) < 0 ||
        (r = add_id(delivery, "MESSAGE_ID", message_id)) < 0 ||
        (r = add_number(delivery, "PRIORITY", priority)) < 0 ||
        (r = delivery_add_text(delivery, "SYSLOG_IDENTIFIER", "qcauditd")) < 0)
        return r;
    *ret = TAKE_PTR(delivery);
    return 0;
}

char *alert_event_text(const struct event *event)
{
    const char *sentence = event->message ? event->message
                                          : finding_definition(event->finding)->title;
    char *text;

    if (event->finding_id <= 0)
        return strdup(sentence);
    return asprintf(&text, "%s (finding %lld)", sentence, (long long)event->finding_id) < 0 ? NULL
                                                                                            : text;
}

int delivery_add_event(struct delivery *delivery, const struct event *event)
{
    const char *finding = finding_definition(event->finding)->name;
    int r;

    if ((r = add_id(delivery, "QCAUDIT_EVENT_ID", event->id)) < 0 ||
        (r = delivery_add_text(delivery, "QCAUDIT_EVENT", event_type_name(event->type))) < 0 ||
        (r = delivery_add_text(delivery, "QCAUDIT_FINDING", finding)) < 0 ||
        (r = delivery_add_text(delivery, "QCAUDIT_SEVERITY", severity_name(event->severity))) < 0 ||
        (r = delivery_add_text(delivery, "QCAUDIT_CONFIDENCE",
                               confidence_name(event->confidence))) < 0)
        return r;
    if (event->finding_id > 0 &&
        (r = add_number(delivery, "QCAUDIT_FINDING_ID", event->finding_id)) < 0)
        return r;
    if (event->subject_kind == SUBJECT_IMAGE && event->subject &&
        (r = delivery_add_text(delivery, "QCAUDIT_IMAGE", event->subject)) < 0)
        return r;
    if (event->datastore && *event->datastore &&
        (r = delivery_add_text(delivery, "QCAUDIT_DATASTORE", event->datastore)) < 0)
        return r;
    for (size_t i = 0; event->domains && event->domains[i]; i++)
        if ((r = delivery_add_text(delivery, "QCAUDIT_DOMAIN", event->domains[i])) < 0)
            return r;
    if (event->depth > 0 && (r = add_number(delivery, "QCAUDIT_DEPTH", event->depth)) < 0)
        return r;
    return 0;
}

/* Channels that keep no fields say which event it is behind the text, except to somebody who looks
 * on. */
static int set_text(struct delivery *delivery, const struct event *event, const char *message)
{
    bool looked_at = delivery->wanted[ALERT_CONSOLE] && !delivery->wanted[ALERT_SYSLOG] &&
                     isatty(STDERR_FILENO);
    char id[SD_ID128_STRING_MAX];
    int r;

    if (event && !looked_at)
        r = asprintf(&delivery->text, "%s [event %s]", message, sd_id128_to_string(event->id, id));
    else
        r = asprintf(&delivery->text, "%s", message);
    if (r < 0) {
        delivery->text = NULL;
        return -ENOMEM;
    }
    return 0;
}

/* Takes the event on success. */
static int tell_event(struct alert *alert, struct event *event)
{
    _cleanup_(delivery_freep) struct delivery *delivery = NULL;
    _cleanup_free_ char *message = alert_event_text(event);
    int r;

    if (!message)
        return -ENOMEM;
    r = delivery_new(alert, event_priority(event), message,
                     finding_definition(event->finding)->message_id,
                     &delivery);
    if (r >= 0)
        r = delivery_add_event(delivery, event);
    if (r >= 0)
        r = set_text(delivery, event, message);
    if (r < 0)
        return r;
    delivery->event = event;
    delivery->outbox = OUTBOX_LOGS;
    alert_channel_send(alert->channel, TAKE_PTR(delivery));
    return 0;
}

/* One entry for the events from `from` on; *ret_n is how many it stands for. */
static int tell_summary_entry(struct alert *alert, const struct collection *collection, size_t from,
                              size_t *ret_n)
{
    _cleanup_(delivery_freep) struct delivery *delivery = NULL;
    _cleanup_free_ char *message = NULL;
    size_t n = collection->n_ids - from;
    int r;

    /* Only the journal keeps the ids; for any other channel one entry stands for all. */
    if (log_target_used() == LOG_TARGET_JOURNAL && n > IDS_PER_ENTRY)
        n = IDS_PER_ENTRY;
    if (from == 0)
        message = collection_message(collection);
    else if (asprintf(&message, "Further %zu event%s of the summary", n, n == 1 ? "" : "s") < 0)
        message = NULL;
    if (!message)
        return -ENOMEM;
    r = delivery_new(alert, from > 0 ? LOG_DEBUG : collection_priority(collection), message,
                     ALERT_SUMMARY_MESSAGE_ID, &delivery);
    for (size_t i = from; r >= 0 && delivery->wanted[ALERT_JOURNAL] && i < from + n; i++)
        r = add_id(delivery, "QCAUDIT_EVENT_ID", collection->ids[i]);
    if (r >= 0)
        r = set_text(delivery, NULL, message);
    if (r < 0)
        return r;
    delivery->wanted[ALERT_SYSLOG] &= from == 0;
    delivery->ids = malloc(n * sizeof(*delivery->ids));
    if (!delivery->ids)
        return -ENOMEM;
    memcpy(delivery->ids, collection->ids + from, n * sizeof(*delivery->ids));
    delivery->n_ids = n;
    alert_channel_send(alert->channel, TAKE_PTR(delivery));
    *ret_n = n;
    return 0;
}

/* Collected events are told now; those that cannot be told for want of memory stay in the
 * outbox. */
static void tell_collection(struct alert *alert)
{
    struct collection *collection = &alert->collection;
    int r = 0;

    /* cannot fail for an existing source */
    (void)sd_event_source_set_enabled(alert->timer, SD_EVENT_OFF);
    if (collection->n_ids == 1) {
        r = tell_event(alert, alert->first);
        if (r >= 0)
            alert->first = NULL;
    }
    for (size_t from = 0, n = 0; collection->n_ids > 1 && from < collection->n_ids && r >= 0;
         from += n)
        r = tell_summary_entry(alert, collection, from, &n);
    if (r < 0)
        log_error(r, "Cannot tell a summary of %zu event%s: %m", collection->n_ids,
                  collection->n_ids == 1 ? "" : "s");
    alert->first = event_free(alert->first);
    collection_done(collection);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct alert *alert = userdata;

    if (!alert->first_pass)
        tell_collection(alert);
    return 0;
}

/* ---- what is told when ---- */

/* Room for one more within the window? Takes it. */
static bool window_take(struct window *window, uint64_t now)
{
    uint64_t *oldest = &window->times[window->next];

    if (*oldest > 0 && now - *oldest < ALERT_WINDOW)
        return false;
    *oldest = now;
    window->next = (window->next + 1) % ALERT_WINDOW_EVENTS;
    return true;
}

/* Takes the event, also on failure. */
static int collect(struct alert *alert, struct event *event, uint64_t due)
{
    struct collection *collection = &alert->collection;
    int r = collection_add(collection, event);

    if (r < 0 || collection->n_ids > 1) {
        event_free(event);
        return r;
    }
    alert->first = event;
    collection->first_pass = alert->first_pass;
    collection->further = !alert->first_pass;
    if (alert->first_pass)
        return 0;
    r = sd_event_source_set_time(alert->timer, due);
    return r < 0 ? r : sd_event_source_set_enabled(alert->timer, SD_EVENT_ONESHOT);
}

/* Takes the event, also on failure. */
static int tell_or_collect(struct alert *alert, struct event *event)
{
    uint64_t now = usec_now(CLOCK_BOOTTIME);
    bool critical = event->severity == SEVERITY_CRITICAL && event->type != EVENT_RESOLVED;
    struct window *window = critical ? &alert->critical : &alert->others;

    if ((alert->first_pass && !critical) || !window_take(window, now))
        return collect(alert, event, window->times[window->next] + ALERT_WINDOW);
    int r = tell_event(alert, event);
    if (r < 0)
        event_free(event);
    return r;
}

static void on_delivery(void *userdata, struct delivery *delivery)
{
    struct alert *alert = userdata;

    for (size_t i = 0; i < _ALERT_TARGET_MAX; i++) {
        if (!delivery->wanted[i])
            continue;
        alert->errors[i] = delivery->errors[i];
        if (delivery->errors[i] < 0)
            alert->counts[i].failed++;
        else
            alert->counts[i].sent += delivery->n_ids > 0 ? delivery->n_ids : 1;
    }
    if (delivery->lookup && !delivery->found) {
        int r = tell_or_collect(alert, TAKE_PTR(delivery->event));
        if (r < 0)
            alert->told(alert->userdata, delivery->event_id, OUTBOX_LOGS, NULL, r);
    } else if (delivery->event) {
        alert->told(alert->userdata, delivery->event->id, delivery->outbox,
                    delivery->lookup ? "journal" : delivery->channel, delivery->error);
    }
    for (size_t i = 0; i < delivery->n_ids; i++)
        alert->told(alert->userdata, delivery->ids[i], OUTBOX_LOGS, delivery->channel,
                    delivery->error);
    delivery_free(delivery);
}

/* Sends it to the channel as a question, or wanted nowhere: the answer comes to on_delivery(),
 * never before alert_event() returned. Takes the event, also on failure. */
static int send_quietly(struct alert *alert, struct event *event, unsigned outbox, bool lookup)
{
    struct delivery *delivery = calloc(1, sizeof(*delivery));

    if (!delivery) {
        event_free(event);
        return -ENOMEM;
    }
    delivery->lookup = lookup;
    delivery->outbox = outbox;
    delivery->event_id = event->id;
    delivery->event = event;
    alert_channel_send(alert->channel, delivery);
    return 0;
}

unsigned alert_outbox(const struct alert *alert, const struct event *event)
{
    if (!event_alerts(event) || event->severity < alert->severity)
        return 0;
    return (alert->journal || alert->syslog ? OUTBOX_LOGS : 0) |
           (alert_exec_is_wanted(alert->exec) ? OUTBOX_EXEC : 0);
}

static int tell_logs(struct alert *alert, const struct event *event, bool maybe_told)
{
    struct event *copy;
    int r = event_copy(event, &copy);

    if (r < 0)
        return r;
    if (maybe_told && alert->journal && log_target_used() == LOG_TARGET_JOURNAL)
        return send_quietly(alert, copy, OUTBOX_LOGS, true);
    return tell_or_collect(alert, copy);
}

static int tell_exec(struct alert *alert, const struct event *event)
{
    struct event *copy;
    int r = event_copy(event, &copy);

    return r < 0 ? r : alert_exec_event(alert->exec, copy);
}

int alert_drop(struct alert *alert, const struct event *event, unsigned outbox)
{
    struct event *copy;
    int r = event_copy(event, &copy);

    return r < 0 ? r : send_quietly(alert, copy, outbox, false);
}

int alert_event(struct alert *alert, const struct event *event, bool maybe_told)
{
    unsigned wanted, unwanted;
    int r = 0, of_exec = 0, of_nobody = 0;

    if ((unsigned)event->finding >= _FINDING_MAX || (unsigned)event->severity >= _SEVERITY_MAX)
        return -EINVAL;
    wanted = event->outbox & alert_outbox(alert, event);
    unwanted = event->outbox & ~wanted;
    if (wanted & OUTBOX_LOGS)
        r = tell_logs(alert, event, maybe_told);
    if (wanted & OUTBOX_EXEC)
        of_exec = tell_exec(alert, event);
    if (unwanted)
        of_nobody = alert_drop(alert, event, unwanted);   /* by another configuration */
    return r < 0 ? r : of_exec < 0 ? of_exec : of_nobody;
}

int alert_note(struct alert *alert, const struct event *event)
{
    return alert_exec_note(alert->exec, event);
}

void alert_first_pass(struct alert *alert, bool under_way)
{
    if (alert->first_pass && !under_way)
        tell_collection(alert);
    alert->first_pass = under_way;
    alert_exec_first_pass(alert->exec, under_way);
}

int alert_flush(struct alert *alert)
{
    tell_collection(alert);
    return alert_channel_drain(alert->channel, FLUSH_USEC);
}

void alert_set_config(struct alert *alert, const struct config *config)
{
    alert->journal = config->alert_journal;
    alert->syslog = config->alert_syslog;
    alert->severity = config->alert_severity;
    int r = alert_exec_set_config(alert->exec, config);
    if (r < 0)
        log_error(r, "Cannot take alerts.exec over: %m");
    /* A channel that is no longer wanted no longer fails. */
    if (!alert->journal && !alert->syslog)
        memset(alert->errors, 0, sizeof(alert->errors));
    if (!alert->syslog && log_target_used() != LOG_TARGET_SYSLOG)
        alert->errors[ALERT_SYSLOG] = 0;
}

void alert_count(const struct alert *alert, struct alert_counts ret_counts[_ALERT_TARGET_MAX])
{
    memcpy(ret_counts, alert->counts, sizeof(alert->counts));
    ret_counts[ALERT_EXEC] = alert_exec_counts(alert->exec);
}

int alert_error(struct alert *alert, enum alert_target target)
{
    if (target == ALERT_EXEC)
        return alert_exec_error(alert->exec);
    /* Nothing is sent only to see whether it arrives, but somebody listens again. */
    if (alert->errors[target] < 0 &&
        ((target == ALERT_JOURNAL && log_journal_answers()) ||
         (target == ALERT_SYSLOG && log_syslog_answers())))
        alert->errors[target] = 0;
    return alert->errors[target];
}

const char *alert_reason(const struct alert *alert, enum alert_target target)
{
    return target == ALERT_EXEC ? alert_exec_said(alert->exec) : NULL;
}

int alert_try(struct alert *alert, const char *channel,
              void (*done)(void *userdata, int error, json_object *rows), void *userdata)
{
    struct alert_test_options options = { .channel = *channel ? channel : NULL };

    if (!alert_test_is_over(alert->test))
        return -EBUSY;
    logs_wanted(alert, options.wanted);
    alert->test = alert_test_free(alert->test);
    return alert_test_new(alert->event, &options, alert->exec, done, userdata, &alert->test);
}

struct alert *alert_free(struct alert *alert)
{
    if (!alert)
        return NULL;
    alert_channel_free(alert->channel);
    alert_exec_free(alert->exec);
    alert_test_free(alert->test);
    sd_event_source_disable_unref(alert->timer);
    event_free(alert->first);
    collection_done(&alert->collection);
    sd_event_unref(alert->event);
    free(alert);
    return NULL;
}

int alert_new(sd_event *event, const struct config *config, const char *runtime_directory,
              alert_told_fn told, void *userdata, struct alert **ret_alert)
{
    struct alert *alert = calloc(1, sizeof(*alert));

    if (!alert)
        return -ENOMEM;
    alert->event = sd_event_ref(event);
    alert->told = told;
    alert->userdata = userdata;
    int r = sd_event_add_time(event, &alert->timer, CLOCK_BOOTTIME, UINT64_MAX, USEC_PER_SEC,
                              on_timer, alert);
    if (r >= 0)
        r = sd_event_source_set_enabled(alert->timer, SD_EVENT_OFF);
    if (r >= 0)
        r = alert_channel_new(event, on_delivery, alert, &alert->channel);
    if (r >= 0)
        r = alert_exec_new(event, runtime_directory, told, userdata, &alert->exec);
    if (r < 0) {
        alert_free(alert);
        return r;
    }
    alert_set_config(alert, config);
    *ret_alert = alert;
    return 0;
}
