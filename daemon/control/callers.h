/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Callers on the system bus: each is asked of the bus once, and in its turn. */
#pragma once

#include <stdbool.h>
#include <systemd/sd-bus.h>

struct control;
struct callers;

/* The credentials of a caller, as the bus saw them when it connected. */
struct caller {
    bool known;
    uid_t uid;
    bool in_group;              /* of the control group */
};

/* run is called for each call, once it is known who calls and it is his turn: owners at once,
 * others as far as their share (control-share.h) goes; what is beyond waits in a queue of each
 * caller's, and is refused when that is full. -ENOMEM. */
int callers_new(struct control *control,
                void (*run)(void *userdata, sd_bus_message *call, const struct caller *caller),
                void *userdata, struct callers **ret_callers);
struct callers *callers_free(struct callers *callers);
/* As a filter of sd-bus: 1 when it was taken, or refused. */
int callers_take(struct callers *callers, sd_bus *bus, sd_bus_message *call);
/* The bus ended: its names mean nothing any more. */
void callers_forget(struct callers *callers);
