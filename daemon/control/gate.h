/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between a peer and sd-bus, which would keep 128 MB of a message that never ends: takes whole
 * messages of bounded size from the peer, within a bounded time, and hands them on one by one. No
 * descriptor that a peer sends comes through. */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

struct message_gate;

struct gate_options {
    size_t message_max;         /* bytes */
    uint64_t deadline;          /* usec for a message, from its first byte until it was taken */
    int64_t priority;           /* of its event sources */
    /* The peer is to be ended: reason says why. Called once; not when it merely closed. */
    void (*broken)(void *userdata, const char *reason);
    void *userdata;
};

/* Reads from a duplicate of fd. *ret_fd is what sd-bus reads from instead. */
int gate_new(sd_event *event, int fd, const struct gate_options *options, int *ret_fd,
             struct message_gate **ret_gate);
struct message_gate *gate_free(struct message_gate *gate);
/* sd-bus has the message that was handed on last, or has ended the authentication: the next one may
 * follow when the loop comes round, unless it is held then. */
void gate_taken(struct message_gate *gate);
/* Its answer comes later, and no other message before that. */
void gate_hold(struct message_gate *gate, bool hold);
