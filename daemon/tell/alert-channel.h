/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Carries alerts to the journal, to syslog or to the console in a thread of its own: none of them
 * can stop the loop. */
#pragma once

#include <sys/queue.h>
#include <sys/uio.h>
#include <systemd/sd-event.h>
#include <systemd/sd-id128.h>

#include "daemon/core/findings.h"

/* One alert on its way, or one question. Made by the owner, lent to the channel until it is
 * done. */
struct delivery {
    STAILQ_ENTRY(delivery) entry;       /* the channel's */
    /* A question instead of an alert: does the journal have an entry with this QCAUDIT_EVENT_ID? */
    bool lookup;
    bool look_up_after;         /* asks that, too, once it was sent to the journal: waits for it */
    bool found;                 /* the answer; false also when the journal cannot be read */
    sd_id128_t event_id;

    int priority;
    char *text;                 /* for syslog and console */
    struct iovec *fields;       /* for the journal; each iov_base is malloc'd */
    size_t n_fields;
    bool wanted[_ALERT_TARGET_MAX];
    int errors[_ALERT_TARGET_MAX];      /* of each where it is wanted: 0 or -errno. That another
                                         * one took it does not mend one that did not */
    const char *channel;        /* the first that took it: "journal", "syslog", "console"; "none"
                                 * when wanted nowhere; NULL when none took it */
    int error;                  /* -errno when none took it */

    struct event *event;        /* the owner's: what it is about, or */
    unsigned outbox;            /*   (for whom that is done then) */
    sd_id128_t *ids;            /* the events that a summary stands for */
    size_t n_ids;
};

struct delivery *delivery_free(struct delivery *delivery);
/* Adds the journal field NAME=value with n raw bytes. -ENOMEM. */
int delivery_add_field(struct delivery *delivery, const char *name, const void *value, size_t n);
/* The same of a text. */
int delivery_add_text(struct delivery *delivery, const char *name, const char *text);
/* In alert.c: adds all that the journal says of one event. -ENOMEM. */
int delivery_add_event(struct delivery *delivery, const struct event *event);

struct alert_channel;

/* done gets each delivery back, in the loop and in order, and frees it. */
int alert_channel_new(sd_event *event, void (*done)(void *userdata, struct delivery *delivery),
                      void *userdata, struct alert_channel **ret_channel);
/* Lets the delivery under way end; drops the rest without calling back. */
struct alert_channel *alert_channel_free(struct alert_channel *channel);
void alert_channel_send(struct alert_channel *channel, struct delivery *delivery);
/* Blocks until everything was delivered, or usec went by; calls back. -ETIMEDOUT. */
int alert_channel_drain(struct alert_channel *channel, uint64_t usec);
