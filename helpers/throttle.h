/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* So many bytes per second. Pure: the time is passed in (usec, of one clock). */
#pragma once

#include <stdint.h>

struct throttle {
    uint64_t rate;              /* bytes per second; 0: as fast as it goes. May change any time:
                                 * what was read before costs what it cost then */
    uint64_t due;               /* usec: when all that was read is paid for */
};

/* Time without reading that is made up for, at most. */
#define THROTTLE_BURST UINT64_C(250000)

void throttle_begin(struct throttle *throttle, uint64_t rate, uint64_t now);
/* These bytes were read, or are about to be. */
void throttle_take(struct throttle *throttle, uint64_t bytes, uint64_t now);
/* How long nothing more may be read, usec; 0: go on. */
uint64_t throttle_wait(const struct throttle *throttle, uint64_t now);
