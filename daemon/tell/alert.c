/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tells events to administrators: journal, syslog or console; asks the journal before telling again
 * after a crash. */
#include "daemon/tell/alert.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/core/log.h"
#include "daemon/core/strv.h"
#include "daemon/tell/alert-channel.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define FLUSH_USEC (5 * USEC_PER_SEC)
/* The journal drops an entry of more than 1,024 fields; further events of a summary follow in more
 * entries. */
#define IDS_PER_ENTRY 900
#define NAMES_SHOWN 6           /* in a summary */

DEFINE_CLEANUP(struct delivery *, delivery_free)

/* The times at which the last events were told one by one. */
struct window {
    uint64_t times[ALERT_WINDOW_EVENTS];
    unsigned next;
};

/* Events that will be told together. */
struct collection {
    struct event *first;        /* alone, it is told as it is */
    sd_id128_t *ids;
    size_t n_ids, allocated;
    uint64_t n_severity[_SEVERITY_MAX], n_resolved;     /* of findings, not of their reminders */
    uint64_t n_reminders;
    /* by name, and the worst of each; those that were not resolved */
    uint64_t n_named[_FINDING_MAX];
    enum severity worst[_FINDING_MAX];
    bool first_pass;
};

struct alert {
    sd_event *event;
    bool journal, syslog;
    enum severity severity;
    void (*told)(void *userdata, sd_id128_t event_id, const char *channel, int error);
    void *userdata;

    struct alert_channel *channel;
    int errors[_ALERT_TARGET_MAX];      /* of the last alert that was wanted there */
    bool first_pass;
    struct window others, critical;
    struct collection collection;
    sd_event_source *timer;     /* sends the collection when the window has moved on */
};

static void collection_done(struct collection *collection)
{
    event_free(collection->first);
    free(collection->ids);
    *collection = (struct collection){ 0 };
}

static char *copy_string(const char *string, bool *failed)
{
    char *copy = string ? strdup(string) : NULL;

    *failed = *failed || (string && !copy);
    return copy;
}

static struct event *copy_event(const struct event *event)
{
    struct event *copy = malloc(sizeof(*copy));
    bool failed = false;

    if (!copy)
        return NULL;
    *copy = *event;
    copy->subject = copy_string(event->subject, &failed);
    copy->datastore = copy_string(event->datastore, &failed);
    copy->message = copy_string(event->message, &failed);
    copy->domains = NULL;
    failed = failed || strv_copy(event->domains, &copy->domains) < 0;
    return failed ? event_free(copy) : copy;
}

/* ---- what is said ---- */

static int add_text(struct delivery *delivery, const char *name, const char *text)
{
    return delivery_add_field(delivery, name, text, strlen(text));
}

static int add_number(struct delivery *delivery, const char *name, int64_t number)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)number);
    return add_text(delivery, name, text);
}

static int add_id(struct delivery *delivery, const char *name, sd_id128_t id)
{
    char text[SD_ID128_STRING_MAX];

    return add_text(delivery, name, sd_id128_to_string(id, text));
}

/* An alert with what every one has; where it goes follows from where the daemon's own messages
 * go. */
static int delivery_new(const struct alert *alert, int priority, const char *message,
                        sd_id128_t message_id, struct delivery **ret)
{
    _cleanup_(delivery_freep) struct delivery *delivery = calloc(1, sizeof(*delivery));
    enum log_target target = log_target_used();
    int r;

    if (!delivery)
        return -ENOMEM;
    delivery->priority = priority;
    delivery->wanted[ALERT_JOURNAL] = alert->journal && target == LOG_TARGET_JOURNAL;
    delivery->wanted[ALERT_SYSLOG] = alert->syslog || (alert->journal &&
                                                       target == LOG_TARGET_SYSLOG);
    delivery->wanted[ALERT_CONSOLE] = target == LOG_TARGET_CONSOLE;
    if ((r = add_text(delivery, "MESSAGE", message)) < 0 ||
        (r = add_id(delivery, "MESSAGE_ID", message_id)) < 0 ||
        (r = add_number(delivery, "PRIORITY", priority)) < 0 ||
        (r = add_text(delivery, "SYSLOG_IDENTIFIER", "qcauditd")) < 0)
        return r;
    *ret = TAKE_PTR(delivery);
    return 0;
}

int delivery_add_event(struct delivery *delivery, const struct event *event)
{
    const char *finding = finding_definition(event->finding)->name;
    int r;

    if ((r = add_id(delivery, "QCAUDIT_EVENT_ID", event->id)) < 0 ||
        (r = add_text(delivery, "QCAUDIT_EVENT", event_type_name(event->type))) < 0 ||
        (r = add_text(delivery, "QCAUDIT_FINDING", finding)) < 0 ||
        (r = add_text(delivery, "QCAUDIT_SEVERITY", severity_name(event->severity))) < 0 ||
        (r = add_text(delivery, "QCAUDIT_CONFIDENCE", confidence_name(event->confidence))) < 0)
        return r;
    if (event->finding_id > 0 &&
        (r = add_number(delivery, "QCAUDIT_FINDING_ID", event->finding_id)) < 0)
        return r;
    if (event->subject_kind == SUBJECT_IMAGE && event->subject &&
        (r = add_text(delivery, "QCAUDIT_IMAGE", event->subject)) < 0)
        return r;
    if (event->datastore && *event->datastore &&
        (r = add_text(delivery, "QCAUDIT_DATASTORE", event->datastore)) < 0)
        return r;
    for (size_t i = 0; event->domains && event->domains[i]; i++)
        if ((r = add_text(delivery, "QCAUDIT_DOMAIN", event->domains[i])) < 0)
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
    int priority = event->type == EVENT_RESOLVED ? LOG_NOTICE : severity_priority(event->severity);
    const char *message = event->message ? event->message
                                         : finding_definition(event->finding)->title;

    int r = delivery_new(alert, priority, message, finding_definition(event->finding)->message_id,
                         &delivery);
    if (r >= 0)
        r = delivery_add_event(delivery, event);
    if (r >= 0)
        r = set_text(delivery, event, message);
    if (r < 0)
        return r;
    delivery->event = event;
    alert_channel_send(alert->channel, TAKE_PTR(delivery));
    return 0;
}

/* "3 critical, 1 error, 12 warning" */
static void count_text(const struct collection *collection, char *text, size_t size)
{
    size_t length = 0;

    text[0] = 0;
    for (int severity = SEVERITY_CRITICAL; severity >= SEVERITY_INFO; severity--)
        if (collection->n_severity[severity] > 0 && length < size)
            length += (size_t)snprintf(text + length, size - length, "%s%llu %s",
                                       length ? ", " : "",
                                       (unsigned long long)collection->n_severity[severity],
                                       severity_name((enum severity)severity));
    if (collection->n_resolved > 0 && length < size)
        snprintf(text + length, size - length, "%s%llu resolved", length ? ", " : "",
                 (unsigned long long)collection->n_resolved);
}

/* "3 metadata-corrupt, 12 chain-deep, 4 of other names": worst first, then the most frequent. */
static void names_text(const struct collection *collection, char *text, size_t size)
{
    bool said[_FINDING_MAX] = { false };
    uint64_t others = 0;
    size_t length = 0;

    text[0] = 0;
    for (unsigned n = 0; n < NAMES_SHOWN; n++) {
        int best = -1;

        for (int type = 0; type < _FINDING_MAX; type++)
            if (!said[type] && collection->n_named[type] > 0 &&
                (best < 0 || collection->worst[type] > collection->worst[best] ||
                 (collection->worst[type] == collection->worst[best] &&
                  collection->n_named[type] > collection->n_named[best])))
                best = type;
        if (best < 0 || length >= size)
            break;
        said[best] = true;
        length += (size_t)snprintf(text + length, size - length, "%s%llu %s", length ? ", " : "",
                                   (unsigned long long)collection->n_named[best],
                                   finding_definition((enum finding_type)best)->name);
    }
    for (int type = 0; type < _FINDING_MAX; type++)
        others += said[type] ? 0 : collection->n_named[type];
    if (others > 0 && length < size)
        snprintf(text + length, size - length, ", %llu of other names",
                 (unsigned long long)others);
}

static uint64_t changed_findings(const struct collection *collection)
{
    uint64_t n = collection->n_resolved;

    for (size_t severity = 0; severity < _SEVERITY_MAX; severity++)
        n += collection->n_severity[severity];
    return n;
}

/* What a summary says; NULL when there is no memory. */
static char *summary_message(const struct collection *collection)
{
    uint64_t n = changed_findings(collection);
    char counts[160], names[400], reminders[60] = "", *message;
    int r;

    count_text(collection, counts, sizeof(counts));
    names_text(collection, names, sizeof(names));
    if (collection->n_reminders > 0)
        snprintf(reminders, sizeof(reminders), "%s%llu reminder%s", n > 0 ? "; " : "",
                 (unsigned long long)collection->n_reminders,
                 collection->n_reminders == 1 ? "" : "s");
    if (n == 0)
        r = asprintf(&message, "%s within 10 minutes: %s; qcauditctl findings shows them",
                     reminders, names);
    else
        r = asprintf(&message, "%s%llu finding%s%s (%s)%s%s%s; qcauditctl findings shows them",
                     collection->first_pass ? "First pass over the store: " : "Further ",
                     (unsigned long long)n, n == 1 ? "" : "s",
                     collection->first_pass ? "" : " changed within 10 minutes", counts, reminders,
                     names[0] ? ": " : "", names);
    return r < 0 ? NULL : message;
}

static int summary_priority(const struct collection *collection)
{
    for (int severity = SEVERITY_CRITICAL; severity >= SEVERITY_INFO; severity--)
        if (collection->n_severity[severity] > 0)
            return severity_priority((enum severity)severity);
    /* of reminders alone */
    enum severity worst = SEVERITY_INFO;
    for (int type = 0; type < _FINDING_MAX; type++)
        if (collection->n_named[type] > 0 && collection->worst[type] > worst)
            worst = collection->worst[type];
    return collection->n_reminders > 0 ? severity_priority(worst) : LOG_NOTICE;
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
        message = summary_message(collection);
    else if (asprintf(&message, "Further %zu event%s of the summary", n, n == 1 ? "" : "s") < 0)
        message = NULL;
    if (!message)
        return -ENOMEM;
    r = delivery_new(alert, from > 0 ? LOG_DEBUG : summary_priority(collection), message,
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

/* What is collected is told now; what cannot be for want of memory stays in the outbox. */
static void tell_collection(struct alert *alert)
{
    struct collection *collection = &alert->collection;
    int r = 0;

    /* cannot fail for an existing source */
    (void)sd_event_source_set_enabled(alert->timer, SD_EVENT_OFF);
    if (collection->n_ids == 1) {
        r = tell_event(alert, collection->first);
        if (r >= 0)
            collection->first = NULL;
    }
    for (size_t from = 0, n = 0; collection->n_ids > 1 && from < collection->n_ids && r >= 0;
         from += n)
        r = tell_summary_entry(alert, collection, from, &n);
    if (r < 0)
        log_error(r, "Cannot tell a summary of %zu event%s: %m", collection->n_ids,
                  collection->n_ids == 1 ? "" : "s");
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

    if (collection->n_ids == collection->allocated) {
        size_t allocated = collection->allocated ? 2 * collection->allocated : 64;
        sd_id128_t *ids = reallocarray(collection->ids, allocated, sizeof(*ids));

        if (!ids) {
            event_free(event);
            return -ENOMEM;
        }
        collection->ids = ids;
        collection->allocated = allocated;
    }
    collection->ids[collection->n_ids++] = event->id;
    if (event->type == EVENT_REMINDER)
        collection->n_reminders++;
    else if (event->type == EVENT_RESOLVED)
        collection->n_resolved++;
    else
        collection->n_severity[event->severity]++;
    if (event->type != EVENT_RESOLVED) {
        if (collection->n_named[event->finding]++ == 0 ||
            event->severity > collection->worst[event->finding])
            collection->worst[event->finding] = event->severity;
    }
    if (collection->n_ids > 1) {
        event_free(event);
        return 0;
    }
    collection->first = event;
    collection->first_pass = alert->first_pass;
    if (alert->first_pass)
        return 0;
    int r = sd_event_source_set_time(alert->timer, due);
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

    for (size_t i = 0; i < _ALERT_TARGET_MAX; i++)
        if (delivery->wanted[i])
            alert->errors[i] = delivery->errors[i];
    if (delivery->lookup && !delivery->found) {
        int r = tell_or_collect(alert, TAKE_PTR(delivery->event));
        if (r < 0)
            alert->told(alert->userdata, delivery->event_id, NULL, r);
    } else if (delivery->event) {
        alert->told(alert->userdata, delivery->event->id,
                    delivery->lookup ? "journal" : delivery->channel, delivery->error);
    }
    for (size_t i = 0; i < delivery->n_ids; i++)
        alert->told(alert->userdata, delivery->ids[i], delivery->channel, delivery->error);
    delivery_free(delivery);
}

/* Sends it to the channel as a question, or wanted nowhere: the answer comes to on_delivery(),
 * never before alert_event() returned. Takes the event on success. */
static int send_quietly(struct alert *alert, struct event *event, bool lookup)
{
    struct delivery *delivery = calloc(1, sizeof(*delivery));

    if (!delivery)
        return -ENOMEM;
    delivery->lookup = lookup;
    delivery->event_id = event->id;
    delivery->event = event;
    alert_channel_send(alert->channel, delivery);
    return 0;
}

int alert_event(struct alert *alert, const struct event *event, bool maybe_told)
{
    if ((unsigned)event->finding >= _FINDING_MAX || (unsigned)event->severity >= _SEVERITY_MAX)
        return -EINVAL;
    bool wanted = event_type_alerts(event->type) && event->severity >= alert->severity &&
                  (alert->journal || alert->syslog);
    bool lookup = wanted && maybe_told && alert->journal && log_target_used() == LOG_TARGET_JOURNAL;
    struct event *copy = copy_event(event);
    if (!copy)
        return -ENOMEM;
    if (wanted && !lookup)
        return tell_or_collect(alert, copy);
    int r = send_quietly(alert, copy, lookup);
    if (r < 0)
        event_free(copy);
    return r;
}

void alert_first_pass(struct alert *alert, bool under_way)
{
    if (alert->first_pass && !under_way)
        tell_collection(alert);
    alert->first_pass = under_way;
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
    /* What is wanted no more fails no more. */
    if (!alert->journal && !alert->syslog)
        memset(alert->errors, 0, sizeof(alert->errors));
    if (!alert->syslog && log_target_used() != LOG_TARGET_SYSLOG)
        alert->errors[ALERT_SYSLOG] = 0;
}

int alert_error(struct alert *alert, enum alert_target target)
{
    /* Nothing is sent only to see whether it arrives, but somebody listens again. */
    if (alert->errors[target] < 0 &&
        ((target == ALERT_JOURNAL && log_journal_answers()) ||
         (target == ALERT_SYSLOG && log_syslog_answers())))
        alert->errors[target] = 0;
    return alert->errors[target];
}

struct alert *alert_free(struct alert *alert)
{
    if (!alert)
        return NULL;
    alert_channel_free(alert->channel);
    sd_event_source_disable_unref(alert->timer);
    collection_done(&alert->collection);
    sd_event_unref(alert->event);
    free(alert);
    return NULL;
}

int alert_new(sd_event *event, const struct config *config,
              void (*told)(void *userdata, sd_id128_t event_id, const char *channel, int error),
              void *userdata, struct alert **ret_alert)
{
    struct alert *alert = calloc(1, sizeof(*alert));

    if (!alert)
        return -ENOMEM;
    alert->event = sd_event_ref(event);
    alert->told = told;
    alert->userdata = userdata;
    alert_set_config(alert, config);
    int r = sd_event_add_time(event, &alert->timer, CLOCK_BOOTTIME, UINT64_MAX, USEC_PER_SEC,
                              on_timer, alert);
    if (r >= 0)
        r = sd_event_source_set_enabled(alert->timer, SD_EVENT_OFF);
    if (r >= 0)
        r = alert_channel_new(event, on_delivery, alert, &alert->channel);
    if (r < 0) {
        alert_free(alert);
        return r;
    }
    *ret_alert = alert;
    return 0;
}
