/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Chooses the next message to the program of alerts.exec, and when: it may wake somebody, so one
 * finding is sent at most once an hour, and less often when it comes and goes; many at once are one
 * message, and warnings wait for the end of quiet hours. Asks no clock. */
#pragma once

#include <json-c/json.h>

#include "daemon/tell/alert.h"

/* So many are told one by one; more at once are one message. */
#define EXEC_SINGLE_MAX 5
/* A change of a finding that was told waits for so long, unless it got worse; twice as long after
 * each return of one that comes and goes, up to the last, unless it is there and critical. usec */
#define EXEC_FINDING_PAUSE (3600 * USEC_PER_SEC)
#define EXEC_FINDING_PAUSE_MAX (8 * EXEC_FINDING_PAUSE)
/* Messages within EXEC_WINDOW. */
#define EXEC_WINDOW_MESSAGES 20
#define EXEC_WINDOW (600 * USEC_PER_SEC)
/* How long to wait for what changes together with it. usec */
#define EXEC_GATHER (2 * USEC_PER_SEC)
/* After a failure: the first wait, which doubles up to the last. usec */
#define EXEC_RETRY (60 * USEC_PER_SEC)
#define EXEC_RETRY_MAX (3600 * USEC_PER_SEC)

struct exec_queue;

/* The time, for those that look at the hour of the day, too. */
struct exec_time {
    uint64_t now;               /* usec, of a clock that only goes ahead; as all times below */
    uint64_t of_day;            /* usec since the epoch */
};

/* told: who needs not be told any more, as alert_new() has it. */
int exec_queue_new(alert_told_fn told, void *userdata, struct exec_queue **ret_queue);
/* Takes NULL, returns NULL. */
struct exec_queue *exec_queue_free(struct exec_queue *queue);
/* window: as alerts.quiet-hours, 0 none. */
void exec_queue_set_quiet_hours(struct exec_queue *queue, uint64_t window);
/* Only what is critical is told while the first pass over a store is under way. */
void exec_queue_first_pass(struct exec_queue *queue, bool under_way);

/* A later event of a finding that waits takes the place of the one before. Takes the event, also on
 * failure (-ENOMEM). */
int exec_queue_put(struct exec_queue *queue, struct event *event, uint64_t now);
/* An event that is not told itself: what waits of its finding is not told any more, as that is
 * muted or acknowledged, or resolved. -ENOMEM. */
int exec_queue_note(struct exec_queue *queue, const struct event *event);
/* When there will be something to take: at most now: now; UINT64_MAX: nothing waits. */
uint64_t exec_queue_next(struct exec_queue *queue, const struct exec_time *time);
/* Takes the next message out: one event, or many as one. -ENOENT: none is due; -ENOMEM. Until
 * exec_queue_delivered() or exec_queue_failed() nothing else is to be taken. */
int exec_queue_take(struct exec_queue *queue, const struct exec_time *time,
                    json_object **ret_message);
/* The program took the message. */
void exec_queue_delivered(struct exec_queue *queue, uint64_t now);
/* The program did not take it: its events wait again. Returns how long (usec) nothing is tried. */
uint64_t exec_queue_failed(struct exec_queue *queue, int error, uint64_t now);
/* Does not wait after a failure any longer. */
void exec_queue_retry(struct exec_queue *queue);
/* Nobody is to be told of what waits. */
void exec_queue_drop(struct exec_queue *queue);
