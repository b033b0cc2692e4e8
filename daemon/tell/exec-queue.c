/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Chooses the next message to the program of alerts.exec, and when: it may wake somebody, so one
 * finding is sent at most once an hour, and less often when it comes and goes; many at once are one
 * message, and warnings wait for the end of quiet hours. */
#include "daemon/tell/exec-queue.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "daemon/core/day-window.h"
#include "daemon/core/log.h"
#include "daemon/tell/collection.h"
#include "daemon/tell/exec-message.h"
#include "lib/cleanup.h"

/* Findings that wait one by one; what is more is only counted, and told with the next summary,
 * which waits for the first pass alone. */
#define NOTICES_MAX 1000
/* Findings of which it is remembered when they were told. Of more, one may be told again. */
#define REMEMBERED_MAX 10000

/* The last change of one finding that the program was not told yet. */
struct notice {
    TAILQ_ENTRY(notice) link;
    struct event *event;
    bool opening;               /* nor was it told that the finding is open */
    bool returned;              /* nor that it was gone and came back, whatever it did since */
    bool withdrawn;             /* under way, and not to be told again if that fails */
    bool of_first_pass;
    enum severity worst;        /* that was not told */
    unsigned tries;             /* that failed */
    uint64_t from;              /* not before */
};
TAILQ_HEAD(notices, notice);

/* A finding that the program got lately. */
struct memory {
    TAILQ_ENTRY(memory) link;
    int64_t finding_id;
    uint64_t at, pause;         /* usec: when, and for how long no change is told that is not
                                 * worse */
    enum severity severity;
};

struct exec_queue {
    alert_told_fn told;
    void *userdata;
    bool first_pass;
    uint64_t quiet;             /* as in struct config */

    struct notices waiting;
    size_t n_waiting;
    void *by_finding;           /* tree of them */
    struct collection others;   /* that wait, too, and are only counted */
    struct notices sent;        /* the message under way */
    struct collection others_sent;

    TAILQ_HEAD(, memory) memory;        /* the oldest first */
    void *memory_by_finding;    /* tree of it */
    size_t n_memory;
    uint64_t times[EXEC_WINDOW_MESSAGES];       /* of the last messages */
    unsigned next_time;
    uint64_t retry, retry_at;   /* after a failure: the wait, and until when; 0: none */
};

static int notice_compare(const void *a, const void *b)
{
    int64_t x = ((const struct notice *)a)->event->finding_id;
    int64_t y = ((const struct notice *)b)->event->finding_id;

    return x < y ? -1 : x > y;
}

static int memory_compare(const void *a, const void *b)
{
    int64_t x = ((const struct memory *)a)->finding_id, y = ((const struct memory *)b)->finding_id;

    return x < y ? -1 : x > y;
}

static void notice_free(struct notice *notice)
{
    event_free(notice->event);
    free(notice);
}

static void tell_told(struct exec_queue *queue, sd_id128_t id, const char *channel)
{
    queue->told(queue->userdata, id, OUTBOX_EXEC, channel, 0);
}

static void others_told(struct exec_queue *queue, struct collection *others, const char *channel)
{
    for (size_t i = 0; i < others->n_ids; i++)
        tell_told(queue, others->ids[i], channel);
    collection_done(others);
}

/* ---- what waits ---- */

static struct notice *waiting_find(const struct exec_queue *queue, int64_t finding_id)
{
    struct event event = { .finding_id = finding_id };
    struct notice key = { .event = &event }, **found;

    found = tfind(&key, &queue->by_finding, notice_compare);
    return found ? *found : NULL;
}

static void waiting_take_out(struct exec_queue *queue, struct notice *notice)
{
    tdelete(notice, &queue->by_finding, notice_compare);
    TAILQ_REMOVE(&queue->waiting, notice, link);
    queue->n_waiting--;
}

/* Takes the notice, also on failure. */
static int waiting_put(struct exec_queue *queue, struct notice *notice)
{
    if (queue->n_waiting >= NOTICES_MAX) {
        struct collection *others = &queue->others;
        bool first_pass = notice->of_first_pass && (others->n_ids == 0 || others->first_pass);
        int r = collection_add(others, notice->event);

        others->first_pass = first_pass;
        notice_free(notice);
        return r;
    }
    if (!tsearch(notice, &queue->by_finding, notice_compare)) {
        notice_free(notice);
        return -ENOMEM;
    }
    TAILQ_INSERT_TAIL(&queue->waiting, notice, link);
    queue->n_waiting++;
    return 0;
}

/* A warning that came and went before anybody was told is no reason to tell anybody. */
static bool came_and_went(const struct notice *notice)
{
    return notice->opening && notice->event->type == EVENT_RESOLVED &&
           notice->worst <= SEVERITY_WARNING;
}

/* Nobody is to be told. */
static void withdraw(struct exec_queue *queue, struct notice *notice)
{
    tell_told(queue, notice->event->id, "none");
    waiting_take_out(queue, notice);
    notice_free(notice);
}

static void note_worst(struct notice *notice, enum severity severity)
{
    notice->worst = severity > notice->worst ? severity : notice->worst;
}

/* A later change of the same finding: the last one is told alone. Takes the event. */
static void notice_supersede(struct exec_queue *queue, struct notice *notice, struct event *event)
{
    tell_told(queue, notice->event->id, "superseded");
    event_free(notice->event);
    notice->event = event;
    notice->returned = notice->returned || event->type == EVENT_REOPENED;
    note_worst(notice, event->severity);
    if (came_and_went(notice))
        withdraw(queue, notice);
}

int exec_queue_note(struct exec_queue *queue, const struct event *event)
{
    bool resolved = event->type == EVENT_RESOLVED;
    struct notice *notice = waiting_find(queue, event->finding_id), *sent;
    struct event *copy;

    if (!resolved && event->type != EVENT_MUTED && event->type != EVENT_ACKNOWLEDGED)
        return 0;
    TAILQ_FOREACH(sent, &queue->sent, link)
        sent->withdrawn |= sent->event->finding_id == event->finding_id;
    if (!notice)
        return 0;
    if (!resolved || event->muted_by > 0) {
        withdraw(queue, notice);
        return 0;
    }
    int r = event_copy(event, &copy);
    if (r >= 0)
        notice_supersede(queue, notice, copy);
    return r;
}

int exec_queue_put(struct exec_queue *queue, struct event *event, uint64_t now)
{
    struct notice *notice = waiting_find(queue, event->finding_id);

    if (notice) {
        notice_supersede(queue, notice, event);
        return 0;
    }
    notice = calloc(1, sizeof(*notice));
    if (!notice) {
        event_free(event);
        return -ENOMEM;
    }
    notice->event = event;
    notice->worst = event->severity;
    notice->returned = event->type == EVENT_REOPENED;
    notice->opening = event->type == EVENT_OPENED || notice->returned;
    notice->of_first_pass = queue->first_pass;
    notice->from = now + EXEC_GATHER;
    return waiting_put(queue, notice);
}

/* ---- what the program was told lately ---- */

static struct memory *recall(const struct exec_queue *queue, int64_t finding_id)
{
    struct memory key = { .finding_id = finding_id }, **found;

    found = tfind(&key, &queue->memory_by_finding, memory_compare);
    return found ? *found : NULL;
}

static void forget(struct exec_queue *queue, struct memory *memory)
{
    tdelete(memory, &queue->memory_by_finding, memory_compare);
    TAILQ_REMOVE(&queue->memory, memory, link);
    queue->n_memory--;
    free(memory);
}

static void forget_old(struct exec_queue *queue, uint64_t now)
{
    struct memory *memory;

    while ((memory = TAILQ_FIRST(&queue->memory)) &&
           (memory->at + 2 * EXEC_FINDING_PAUSE_MAX <= now || queue->n_memory > REMEMBERED_MAX))
        forget(queue, memory);
}

/* A finding that returned soon after it was told is one that comes and goes. */
static uint64_t next_pause(const struct memory *last, const struct notice *notice, uint64_t now)
{
    if (!last || now - last->at >= 2 * last->pause)
        return EXEC_FINDING_PAUSE;
    if (!notice->returned || last->pause >= EXEC_FINDING_PAUSE_MAX)
        return last->pause;
    return 2 * last->pause;
}

/* Without memory for this, the finding may be sent once too often. */
static void remember(struct exec_queue *queue, const struct notice *notice, uint64_t now)
{
    const struct event *event = notice->event;
    struct memory *memory = recall(queue, event->finding_id);
    uint64_t pause = next_pause(memory, notice, now);

    if (memory)
        forget(queue, memory);
    memory = calloc(1, sizeof(*memory));
    if (!memory)
        return;
    memory->finding_id = event->finding_id;
    memory->at = now;
    memory->pause = pause;
    memory->severity = event->severity;
    if (!tsearch(memory, &queue->memory_by_finding, memory_compare)) {
        free(memory);
        return;
    }
    TAILQ_INSERT_TAIL(&queue->memory, memory, link);
    queue->n_memory++;
}

/* ---- when ---- */

/* From when on the notice may be told. */
static uint64_t notice_from(const struct exec_queue *queue, const struct notice *notice,
                            const struct exec_time *time)
{
    const struct event *event = notice->event;
    const struct memory *memory = recall(queue, event->finding_id);
    bool resolved = event->type == EVENT_RESOLVED;
    uint64_t from = notice->from, pause = memory ? memory->pause : 0, change;

    if (queue->first_pass && (event->severity < SEVERITY_CRITICAL || resolved))
        return UINT64_MAX;
    /* A user who makes a finding come and go must not hide it for long. */
    if (event->severity >= SEVERITY_CRITICAL && !resolved && pause > EXEC_FINDING_PAUSE)
        pause = EXEC_FINDING_PAUSE;
    if (memory && (resolved || event->severity <= memory->severity) && from < memory->at + pause)
        from = memory->at + pause;
    if (queue->quiet != 0 && (event->severity <= SEVERITY_WARNING || resolved) &&
        day_window_holds(queue->quiet, time->of_day, &change) && change != UINT64_MAX &&
        from < time->now + change)
        from = time->now + change;
    return from;
}

/* Counts events that may be sent now; *ret_next is when the next one may be. */
static size_t count_due(const struct exec_queue *queue, const struct exec_time *time,
                        uint64_t *ret_next)
{
    const struct notice *notice;
    size_t n = 0;

    *ret_next = UINT64_MAX;
    TAILQ_FOREACH(notice, &queue->waiting, link) {
        uint64_t from = notice_from(queue, notice, time);

        if (from <= time->now)
            n++;
        else if (from < *ret_next)
            *ret_next = from;
    }
    return n;
}

uint64_t exec_queue_next(struct exec_queue *queue, const struct exec_time *time)
{
    uint64_t oldest = queue->times[queue->next_time], next;
    uint64_t from = oldest > 0 ? oldest + EXEC_WINDOW : 0;

    forget_old(queue, time->now);
    if (from < queue->retry_at)
        from = queue->retry_at;
    if (count_due(queue, time, &next) > 0 || (queue->others.n_ids > 0 && !queue->first_pass))
        next = time->now;
    return next > from ? next : from;
}

/* ---- one message ---- */

static bool comes_first(const struct notice *a, const struct notice *b)
{
    /* One that the program will never take does not keep others back. */
    if (a->tries != b->tries)
        return a->tries < b->tries;
    bool a_resolved = a->event->type == EVENT_RESOLVED;
    bool b_resolved = b->event->type == EVENT_RESOLVED;

    if (a_resolved != b_resolved)
        return b_resolved;
    return a->event->severity > b->event->severity;
}

static struct notice *worst_due(const struct exec_queue *queue, const struct exec_time *time)
{
    struct notice *notice, *worst = NULL;

    TAILQ_FOREACH(notice, &queue->waiting, link)
        if (notice_from(queue, notice, time) <= time->now && (!worst || comes_first(notice, worst)))
            worst = notice;
    return worst;
}

static int notices_compare(const void *a, const void *b)
{
    const struct notice *x = *(const struct notice *const *)a;
    const struct notice *y = *(const struct notice *const *)b;

    return comes_first(x, y) ? -1 : comes_first(y, x);
}

/* All that is due, and what is only counted, as one message. */
static int take_summary(struct exec_queue *queue, size_t n, const struct exec_time *time,
                        json_object **ret_message)
{
    struct collection all = { .first_pass = queue->others.n_ids == 0 || queue->others.first_pass };
    struct notice *notice, **due;
    const struct event **events;
    size_t at = 0;
    int r = 0;

    due = reallocarray(NULL, n + 1, sizeof(*due));
    events = reallocarray(NULL, n + 1, sizeof(*events));
    if (!due || !events)
        r = -ENOMEM;
    TAILQ_FOREACH(notice, &queue->waiting, link)
        if (r >= 0 && at < n && notice_from(queue, notice, time) <= time->now) {
            due[at++] = notice;
            all.first_pass = all.first_pass && notice->of_first_pass;
            r = collection_add(&all, notice->event);
        }
    if (r >= 0) {
        qsort(due, at, sizeof(struct notice *), notices_compare);
        for (size_t i = 0; i < at; i++)
            events[i] = due[i]->event;
        if (!queue->first_pass)
            r = collection_merge(&all, &queue->others);
    }
    if (r >= 0)
        r = exec_message_summary(&all, events, at, ret_message);
    for (size_t i = 0; r >= 0 && i < at; i++) {
        waiting_take_out(queue, due[i]);
        TAILQ_INSERT_TAIL(&queue->sent, due[i], link);
    }
    if (r >= 0 && !queue->first_pass) {
        queue->others_sent = queue->others;
        queue->others = (struct collection){ 0 };
    }
    collection_done(&all);
    free(due);
    free(events);
    return r;
}

static int take_one(struct exec_queue *queue, const struct exec_time *time,
                    json_object **ret_message)
{
    struct notice *notice = worst_due(queue, time);
    int r = exec_message_event(notice->event, ret_message);

    if (r < 0)
        return r;
    waiting_take_out(queue, notice);
    TAILQ_INSERT_TAIL(&queue->sent, notice, link);
    return 0;
}

/* The program did not take the message: it waits again, but for what changed since. */
static void put_back(struct exec_queue *queue)
{
    struct notice *notice, *later;
    int r = 0, error;

    while ((notice = TAILQ_FIRST(&queue->sent))) {
        TAILQ_REMOVE(&queue->sent, notice, link);
        later = waiting_find(queue, notice->event->finding_id);
        if (later || notice->withdrawn) {
            tell_told(queue, notice->event->id, later ? "superseded" : "none");
            if (later) {
                later->opening = later->opening || notice->opening;
                later->returned = later->returned || notice->returned;
                note_worst(later, notice->worst);
                if (came_and_went(later))
                    withdraw(queue, later);
            }
            notice_free(notice);
            continue;
        }
        notice->tries++;
        error = waiting_put(queue, notice);
        r = r < 0 ? r : error;
    }
    error = collection_merge(&queue->others, &queue->others_sent);
    if (r < 0 || error < 0)
        log_error(r < 0 ? r : error, "Cannot keep alerts that were not delivered; the next start "
                  "of qcauditd delivers them: %m");
    collection_done(&queue->others_sent);
}

int exec_queue_take(struct exec_queue *queue, const struct exec_time *time,
                    json_object **ret_message)
{
    bool others = queue->others.n_ids > 0 && !queue->first_pass;
    uint64_t next;
    size_t n = count_due(queue, time, &next);
    int r;

    if (n == 0 && !others)
        return -ENOENT;
    r = n <= EXEC_SINGLE_MAX && !others ? take_one(queue, time, ret_message)
                                        : take_summary(queue, n, time, ret_message);
    if (r < 0)
        return r;
    queue->times[queue->next_time] = time->now;
    queue->next_time = (queue->next_time + 1) % EXEC_WINDOW_MESSAGES;
    return 0;
}

void exec_queue_delivered(struct exec_queue *queue, uint64_t now)
{
    struct notice *notice;

    exec_queue_retry(queue);
    while ((notice = TAILQ_FIRST(&queue->sent))) {
        TAILQ_REMOVE(&queue->sent, notice, link);
        remember(queue, notice, now);
        tell_told(queue, notice->event->id, "exec");
        notice_free(notice);
    }
    others_told(queue, &queue->others_sent, "exec");
}

uint64_t exec_queue_failed(struct exec_queue *queue, int error, uint64_t now)
{
    const struct notice *notice = TAILQ_FIRST(&queue->sent);
    sd_id128_t id = notice ? notice->event->id
                           : queue->others_sent.n_ids > 0 ? queue->others_sent.ids[0]
                                                          : SD_ID128_NULL;

    queue->retry = queue->retry == 0 ? EXEC_RETRY : 2 * queue->retry;
    if (queue->retry > EXEC_RETRY_MAX)
        queue->retry = EXEC_RETRY_MAX;
    queue->retry_at = now + queue->retry;
    put_back(queue);
    queue->told(queue->userdata, id, OUTBOX_EXEC, NULL, error);
    return queue->retry;
}

void exec_queue_retry(struct exec_queue *queue)
{
    queue->retry = queue->retry_at = 0;
}

void exec_queue_drop(struct exec_queue *queue)
{
    struct notice *notice;

    while ((notice = TAILQ_FIRST(&queue->waiting)))
        withdraw(queue, notice);
    others_told(queue, &queue->others, "none");
}

void exec_queue_first_pass(struct exec_queue *queue, bool under_way)
{
    queue->first_pass = under_way;
}

void exec_queue_set_quiet_hours(struct exec_queue *queue, uint64_t window)
{
    queue->quiet = window;
}

struct exec_queue *exec_queue_free(struct exec_queue *queue)
{
    struct memory *memory;
    struct notice *notice;

    if (!queue)
        return NULL;
    while ((notice = TAILQ_FIRST(&queue->waiting))) {
        waiting_take_out(queue, notice);
        notice_free(notice);
    }
    while ((notice = TAILQ_FIRST(&queue->sent))) {
        TAILQ_REMOVE(&queue->sent, notice, link);
        notice_free(notice);
    }
    while ((memory = TAILQ_FIRST(&queue->memory)))
        forget(queue, memory);
    collection_done(&queue->others);
    collection_done(&queue->others_sent);
    free(queue);
    return NULL;
}

int exec_queue_new(alert_told_fn told, void *userdata, struct exec_queue **ret_queue)
{
    struct exec_queue *queue = calloc(1, sizeof(*queue));

    if (!queue)
        return -ENOMEM;
    TAILQ_INIT(&queue->waiting);
    TAILQ_INIT(&queue->sent);
    TAILQ_INIT(&queue->memory);
    queue->told = told;
    queue->userdata = userdata;
    *ret_queue = queue;
    return 0;
}
