/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* So many bytes per second. */
#include "helpers/throttle.h"

#define USEC 1e6
#define COST_MAX (UINT64_MAX / 4)       /* usec: for ever */

void throttle_begin(struct throttle *throttle, uint64_t rate, uint64_t now)
{
    *throttle = (struct throttle){ .rate = rate, .due = now };
}

void throttle_take(struct throttle *throttle, uint64_t bytes, uint64_t now)
{
    double cost = throttle->rate > 0 ? (double)bytes / (double)throttle->rate * USEC : 0;
    uint64_t due = throttle->due, whole = cost < (double)COST_MAX ? (uint64_t)cost : COST_MAX;

    if (now > THROTTLE_BURST && due < now - THROTTLE_BURST)
        due = now - THROTTLE_BURST;
    /* Rounded up, as what small pieces leave over adds up. */
    if (due < COST_MAX)
        due += whole + ((double)whole < cost);
    throttle->due = due;
}

uint64_t throttle_wait(const struct throttle *throttle, uint64_t now)
{
    return throttle->rate > 0 && throttle->due > now ? throttle->due - now : 0;
}
