/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tells events to administrators: journal, syslog or console; asks the journal before telling again
 * after a crash. */
#pragma once

#include <systemd/sd-event.h>

#include "daemon/config/config.h"
#include "daemon/core/findings.h"
#include "helpers/clock.h"

/* MESSAGE_ID of a summary, which stands for several events and carries all their
 * QCAUDIT_EVENT_IDs. */
#define ALERT_SUMMARY_MESSAGE_ID SD_ID128_MAKE(5d,1c,8a,6e,0b,7f,4c,52,9e,14,c3,8b,27,60,af,d9)
/* So many events are told one by one within ALERT_WINDOW (and as many critical ones); what is more
 * becomes one summary. */
#define ALERT_WINDOW_EVENTS 20
#define ALERT_WINDOW (600 * USEC_PER_SEC)

struct alert;

/* told is called in the loop once an event reached a channel ("journal", "syslog", "console"), or
 * nobody wants it ("none": below the severity that is told, or no kind of event that is), or with
 * error and channel NULL. config is copied. Events go where the daemon's own messages go
 * (log_target_used()): on the console it is the console; with the journal it is journal and syslog
 * as configured. */
int alert_new(sd_event *event, const struct config *config,
              void (*told)(void *userdata, sd_id128_t event_id, const char *channel, int error),
              void *userdata, struct alert **ret_alert);
/* What was not told yet stays untold. */
struct alert *alert_free(struct alert *alert);
void alert_set_config(struct alert *alert, const struct config *config);
/* 0, or -errno of the last alert that was wanted there and that nobody there took, whoever else
 * did; 0 again as soon as somebody listens there. */
int alert_error(struct alert *alert, enum alert_target target);
/* The first pass over a store, and more than 20 in 10 minutes, become one summary: told for each
 * all the same. Critical ones are told one by one, up to 20. */
void alert_first_pass(struct alert *alert, bool under_way);
/* Copies the event. maybe_told: it comes from the outbox after a crash, so the journal is asked
 * first. */
int alert_event(struct alert *alert, const struct event *event, bool maybe_told);
/* Before the daemon ends: sends the summary that is being collected, and waits until all was told,
 * for up to 5 s (-ETIMEDOUT). */
int alert_flush(struct alert *alert);
