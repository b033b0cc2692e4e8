/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Carries alerts to the journal, to syslog or to the console in a thread of its own: none of them
 * can stop the loop. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <systemd/sd-journal.h>
#include <time.h>

#include "daemon/core/log.h"
#include "daemon/tell/alert-channel.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

/* How long to wait until the journal shows what was sent before: it writes in the background. */
#define JOURNAL_CATCH_UP_USEC (2 * USEC_PER_SEC)

STAILQ_HEAD(queue, delivery);

static struct delivery *queue_take(struct queue *queue)
{
    struct delivery *delivery = STAILQ_FIRST(queue);

    if (delivery)
        STAILQ_REMOVE_HEAD(queue, entry);
    return delivery;
}

struct alert_channel {
    pthread_t thread;
    pthread_mutex_t mutex;      /* over all queues and flags below */
    pthread_cond_t wake;
    struct queue waiting, done;
    bool busy, stop;
    int done_fd;                /* eventfd: something is in done */

    sd_event_source *source;
    void (*callback)(void *userdata, struct delivery *delivery);
    void *userdata;

    sd_journal *journal;        /* the thread's, for questions */
    int journal_error;
};

struct delivery *delivery_free(struct delivery *delivery)
{
    if (!delivery)
        return NULL;
    for (size_t i = 0; i < delivery->n_fields; i++)
        free(delivery->fields[i].iov_base);
    free(delivery->fields);
    free(delivery->text);
    free(delivery->ids);
    event_free(delivery->event);
    free(delivery);
    return NULL;
}

int delivery_add_field(struct delivery *delivery, const char *name, const void *value, size_t n)
{
    size_t length = strlen(name);

    struct iovec *fields = reallocarray(delivery->fields, delivery->n_fields + 1, sizeof(*fields));
    if (!fields)
        return -ENOMEM;
    delivery->fields = fields;
    char *field = malloc(length + 1 + n);
    if (!field)
        return -ENOMEM;
    memcpy(field, name, length);
    field[length] = '=';
    memcpy(field + length + 1, value, n);
    fields[delivery->n_fields++] = (struct iovec){ field, length + 1 + n };
    return 0;
}

int delivery_add_text(struct delivery *delivery, const char *name, const char *text)
{
    return delivery_add_field(delivery, name, text, strlen(text));
}

/* ---- in the thread ---- */

static int journal_match(sd_journal *journal, const char *field, sd_id128_t id)
{
    char match[80];

    snprintf(match, sizeof(match), "%s=" SD_ID128_FORMAT_STR, field, SD_ID128_FORMAT_VAL(id));
    sd_journal_flush_matches(journal);
    return sd_journal_add_match(journal, match, 0);
}

/* 1 when there is an entry that matches. */
static int journal_has(sd_journal *journal, const char *field, sd_id128_t id)
{
    int r = journal_match(journal, field, id);
    if (r >= 0)
        r = sd_journal_seek_tail(journal);
    if (r >= 0)
        r = sd_journal_previous(journal);
    return r;
}

/* The journal is opened once for all questions. They are about what an earlier process sent, so it
 * is enough to wait once, until an entry sent now can be seen: the journal keeps the order. */
static int journal_prepare(struct alert_channel *channel)
{
    sd_id128_t marker;
    sd_journal *journal;

    if (channel->journal || channel->journal_error < 0)
        return channel->journal_error;
    int r = sd_journal_open(&journal, SD_JOURNAL_LOCAL_ONLY);
    if (r < 0)
        return channel->journal_error = r;
    channel->journal = journal;
    r = sd_id128_randomize(&marker);
    if (r < 0)
        return 0;
    (void)sd_journal_send("MESSAGE=Asking the journal which alerts it has", "PRIORITY=7",
                          "SYSLOG_IDENTIFIER=qcauditd", "QCAUDIT_MARKER=" SD_ID128_FORMAT_STR,
                          SD_ID128_FORMAT_VAL(marker), NULL);
    uint64_t start = usec_now(CLOCK_MONOTONIC);
    do {
        if (journal_has(journal, "QCAUDIT_MARKER", marker) != 0)
            break;
        (void)sd_journal_wait(journal, JOURNAL_CATCH_UP_USEC / 20);
    } while (usec_now(CLOCK_MONOTONIC) - start < JOURNAL_CATCH_UP_USEC);
    return 0;
}

static void look_up(struct alert_channel *channel, struct delivery *delivery)
{
    if (!log_journal_answers() || journal_prepare(channel) < 0)
        return;
    delivery->found = journal_has(channel->journal, "QCAUDIT_EVENT_ID", delivery->event_id) > 0;
}

/* A message sent now is in the journal soon: it writes in the background. */
static void look_up_sent(struct alert_channel *channel, struct delivery *delivery)
{
    uint64_t start = usec_now(CLOCK_MONOTONIC);

    if (journal_prepare(channel) < 0)
        return;
    do {
        delivery->found = journal_has(channel->journal, "QCAUDIT_EVENT_ID",
                                      delivery->event_id) > 0;
        if (delivery->found)
            break;
        (void)sd_journal_wait(channel->journal, JOURNAL_CATCH_UP_USEC / 20);
    } while (usec_now(CLOCK_MONOTONIC) - start < JOURNAL_CATCH_UP_USEC);
}

static int send_journal(const struct delivery *delivery)
{
    /* sd_journal_sendv() succeeds silently where there is no journal. */
    if (!log_journal_answers())
        return -ENOENT;
    return sd_journal_sendv(delivery->fields, (int)delivery->n_fields);
}

static int send_syslog(const struct delivery *delivery)
{
    if (!log_syslog_answers())
        return -ENOENT;
    syslog(delivery->priority, "%s", delivery->text);
    return 0;
}

static int send_console(const struct delivery *delivery)
{
    return log_console(delivery->priority, delivery->text);
}

static void deliver(struct delivery *delivery)
{
    static int (*const send[])(const struct delivery *delivery) = {
        [ALERT_JOURNAL] = send_journal, [ALERT_SYSLOG] = send_syslog,
        [ALERT_CONSOLE] = send_console,
    };
    bool wanted = false, failed = false;
    int error = 0;

    delivery->channel = NULL;
    for (size_t i = 0; i < ELEMENTSOF(send); i++) {
        wanted |= delivery->wanted[i];
        /* An alert that cannot go to its channel goes to one that works. */
        if (!delivery->wanted[i] && (!failed || delivery->channel))
            continue;
        int r = send[i](delivery);
        if (r >= 0 && !delivery->channel)
            delivery->channel = alert_target_name((enum alert_target)i);
        failed |= r < 0;
        if (r < 0 && error >= 0)
            error = r;
        if (delivery->wanted[i])
            delivery->errors[i] = r < 0 ? r : 0;
    }
    if (!wanted)
        delivery->channel = "none";
    delivery->error = delivery->channel ? 0 : error;
}

static void *channel_thread(void *argument)
{
    struct alert_channel *channel = argument;
    struct delivery *delivery;

    pthread_mutex_lock(&channel->mutex);
    for (;;) {
        while (!channel->stop && STAILQ_EMPTY(&channel->waiting))
            pthread_cond_wait(&channel->wake, &channel->mutex);
        if (channel->stop)
            break;
        delivery = queue_take(&channel->waiting);
        channel->busy = true;
        pthread_mutex_unlock(&channel->mutex);
        if (delivery->lookup)
            look_up(channel, delivery);
        else
            deliver(delivery);
        if (delivery->look_up_after && delivery->errors[ALERT_JOURNAL] >= 0)
            look_up_sent(channel, delivery);
        pthread_mutex_lock(&channel->mutex);
        channel->busy = false;
        STAILQ_INSERT_TAIL(&channel->done, delivery, entry);
        (void)eventfd_write(channel->done_fd, 1);       /* full is as good as written */
    }
    pthread_mutex_unlock(&channel->mutex);
    sd_journal_close(channel->journal);
    channel->journal = NULL;
    return NULL;
}

/* ---- in the loop ---- */

/* Hands back what is done; true while something is still on its way. */
static bool call_back(struct alert_channel *channel)
{
    eventfd_t count;
    bool more;

    (void)eventfd_read(channel->done_fd, &count);       /* nothing to read: drained before */
    for (;;) {
        pthread_mutex_lock(&channel->mutex);
        struct delivery *delivery = queue_take(&channel->done);
        more = delivery || channel->busy || !STAILQ_EMPTY(&channel->waiting);
        pthread_mutex_unlock(&channel->mutex);
        if (!delivery)
            return more;
        channel->callback(channel->userdata, delivery);
    }
}

static int on_done(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    call_back(userdata);
    return 0;
}

int alert_channel_new(sd_event *event, void (*done)(void *userdata, struct delivery *delivery),
                      void *userdata, struct alert_channel **ret_channel)
{
    struct alert_channel *channel = calloc(1, sizeof(*channel));
    sigset_t all, old;

    if (!channel)
        return -ENOMEM;
    STAILQ_INIT(&channel->waiting);
    STAILQ_INIT(&channel->done);
    channel->callback = done;
    channel->userdata = userdata;
    channel->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = channel->done_fd < 0 ? -errno : 0;
    if (r >= 0)
        r = sd_event_add_io(event, &channel->source, channel->done_fd, POLLIN, on_done, channel);
    if (r >= 0)
        (void)sd_event_source_set_description(channel->source, "alerts-told");
    pthread_mutex_init(&channel->mutex, NULL);
    pthread_cond_init(&channel->wake, NULL);
    if (r >= 0) {
        /* Signals are the loop's. */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        r = -pthread_create(&channel->thread, NULL, channel_thread, channel);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    if (r < 0) {
        sd_event_source_disable_unref(channel->source);
        if (channel->done_fd >= 0)
            close(channel->done_fd);
        pthread_cond_destroy(&channel->wake);
        pthread_mutex_destroy(&channel->mutex);
        free(channel);
        return r;
    }
    *ret_channel = channel;
    return 0;
}

struct alert_channel *alert_channel_free(struct alert_channel *channel)
{
    struct delivery *delivery;

    if (!channel)
        return NULL;
    pthread_mutex_lock(&channel->mutex);
    channel->stop = true;
    pthread_cond_signal(&channel->wake);
    pthread_mutex_unlock(&channel->mutex);
    pthread_join(channel->thread, NULL);
    while ((delivery = queue_take(&channel->waiting)) || (delivery = queue_take(&channel->done)))
        delivery_free(delivery);
    sd_event_source_disable_unref(channel->source);
    close(channel->done_fd);
    pthread_cond_destroy(&channel->wake);
    pthread_mutex_destroy(&channel->mutex);
    free(channel);
    return NULL;
}

void alert_channel_send(struct alert_channel *channel, struct delivery *delivery)
{
    pthread_mutex_lock(&channel->mutex);
    STAILQ_INSERT_TAIL(&channel->waiting, delivery, entry);
    pthread_cond_signal(&channel->wake);
    pthread_mutex_unlock(&channel->mutex);
}

int alert_channel_drain(struct alert_channel *channel, uint64_t usec)
{
    uint64_t start = usec_now(CLOCK_MONOTONIC);

    while (call_back(channel)) {
        struct pollfd pollfd = { .fd = channel->done_fd, .events = POLLIN };
        uint64_t gone = usec_now(CLOCK_MONOTONIC) - start;

        if (gone >= usec)
            return -ETIMEDOUT;
        /* interrupted: looks again */
        (void)poll(&pollfd, 1, (int)((usec - gone) / 1000) + 1);
    }
    return 0;
}
