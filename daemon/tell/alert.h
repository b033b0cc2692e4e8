/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tells events to administrators: journal, syslog or console, and the program of alerts.exec; asks
 * the journal before telling again after a crash. */
#pragma once

#include <json-c/json.h>
#include <systemd/sd-event.h>

#include "daemon/config/config.h"
#include "daemon/core/findings.h"
#include "helpers/clock.h"

/* MESSAGE_ID of a summary, which stands for several events and carries all their
 * QCAUDIT_EVENT_IDs. */
#define ALERT_SUMMARY_MESSAGE_ID SD_ID128_MAKE(5d,1c,8a,6e,0b,7f,4c,52,9e,14,c3,8b,27,60,af,d9)
/* Of a test, and what it says. */
#define ALERT_TEST_MESSAGE_ID SD_ID128_MAKE(c2,39,1f,5b,0e,84,4d,07,a6,92,7e,d1,38,b5,4c,60)
#define ALERT_TEST_MESSAGE "This is a test of qcaudit's alerts: nothing is wrong"
/* So many events are told one by one within ALERT_WINDOW (and as many critical ones); what is more
 * becomes one summary. */
#define ALERT_WINDOW_EVENTS 20
#define ALERT_WINDOW (600 * USEC_PER_SEC)

struct alert;

/* Since the daemon was started. */
struct alert_counts {
    uint64_t sent, failed;      /* alerts that were taken; tries of one that was not */
};

/* Called in the loop once an event needs not be told any more by those of outbox, OUTBOX_LOGS or
 * OUTBOX_EXEC: it reached a channel ("journal", "syslog", "console", "exec"), or nobody wants it
 * any more ("none"), or a later event of the same finding stands for it ("superseded"); or with
 * error and channel NULL: it stays in the outbox. */
typedef void (*alert_told_fn)(void *userdata, sd_id128_t event_id, unsigned outbox,
                              const char *channel, int error);

/* config is copied. Events go where the daemon's own messages go (log_target_used()): on the
 * console it is the console; with the journal it is journal and syslog as configured; and to the
 * program of alerts.exec through the socket `notify` of runtime_directory. */
int alert_new(sd_event *event, const struct config *config, const char *runtime_directory,
              alert_told_fn told, void *userdata, struct alert **ret_alert);
/* Events that were not told yet stay untold. */
struct alert *alert_free(struct alert *alert);
void alert_set_config(struct alert *alert, const struct config *config);
/* An event that is told to nobody may be the reason that what waits of its finding is not told
 * either. */
int alert_note(struct alert *alert, const struct event *event);
/* Nobody of outbox needs to be told of the event any more; told() says so. */
int alert_drop(struct alert *alert, const struct event *event, unsigned outbox);
/* 0, or -errno of the last alert that was wanted there and that nobody there took, whoever else
 * did; 0 again as soon as somebody listens there. */
int alert_error(struct alert *alert, enum alert_target target);
/* Why, in words, where a number says too little; NULL otherwise. Safe to print. */
const char *alert_reason(const struct alert *alert, enum alert_target target);
void alert_count(const struct alert *alert, struct alert_counts ret_counts[_ALERT_TARGET_MAX]);
/* The first pass over a store, and more than 20 in 10 minutes, become one summary: told for each
 * all the same. Critical ones are told one by one, up to 20. */
void alert_first_pass(struct alert *alert, bool under_way);
/* Channels that are to get an event that is being recorded: for event.outbox. */
unsigned alert_outbox(const struct alert *alert, const struct event *event);
/* The event's sentence with the finding's number. malloc'd; NULL without memory. */
char *alert_event_text(const struct event *event);
/* Tells those of event.outbox. Copies the event. maybe_told: it comes from the outbox after a
 * crash, so the journal is asked first. */
int alert_event(struct alert *alert, const struct event *event, bool maybe_told);
/* Sends a test alert through each channel that is configured, or through one ("journal", "syslog",
 * "console", "exec"); "" is each. done is called once, in the loop, with an array of {"channel",
 * "configured", "delivered", "detail"}, the callee's; or with an error. -EINVAL: no such channel;
 * -EBUSY: another test is under way. */
int alert_try(struct alert *alert, const char *channel,
              void (*done)(void *userdata, int error, json_object *rows), void *userdata);
/* Before the daemon ends: sends the summary that is being collected, and waits until all was told,
 * for up to 5 s (-ETIMEDOUT). */
int alert_flush(struct alert *alert);
