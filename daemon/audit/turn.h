/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How long the scrubs of a device wait for the audits of it: what they waited is owed to them.
 * Pure: the time is passed in. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum turn_state {
    TURN_NONE,                  /* no scrub, or it stands still for another reason */
    TURN_WAITS,                 /* for audits */
    TURN_READS
};

struct turn {
    uint64_t device;
    enum turn_state state;
    uint64_t since;             /* usec */
    uint64_t owed;              /* usec that scrubs of this device waited, less what they read */
    bool insists;               /* it was owed as much as it may be: reads, too, until it is not */
};

/* Counts the time since the last call, and says what the device's scrub does now. active: there is
 * one, and nothing else holds it back; audited: an audit reads the device. *ret_wait: usec until
 * that changes by itself, UINT64_MAX never. */
enum turn_state turn_take(struct turn *turn, bool active, bool audited, uint64_t delay,
                          uint64_t now, uint64_t *ret_wait);
