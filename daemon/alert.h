/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tells events to administrators: journal, syslog or console; asks the journal before telling again after a crash. */
#pragma once

#include "config.h"

struct alert;

/* told is called in the loop once an event reached a channel ("journal", "syslog", "console"), or with error. */
int alert_new(sd_event *event, const struct config *config,
              void (*told)(void *userdata, sd_id128_t event_id, const char *channel, int error), void *userdata,
              struct alert **ret_alert);
struct alert *alert_free(struct alert *alert);
void alert_set_config(struct alert *alert, const struct config *config);
/* The first pass over a store, and more than 20 in 10 minutes, become one summary: told for each all the same. */
void alert_first_pass(struct alert *alert, bool under_way);
/* Copies the event. maybe_told: it comes from the outbox after a crash, so the journal is asked first. */
int alert_event(struct alert *alert, const struct event *event, bool maybe_told);
