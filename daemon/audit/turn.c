/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How long the scrubs of a device wait for the audits of it. */
#include "daemon/audit/turn.h"

static void turn_count(struct turn *turn, uint64_t now)
{
    uint64_t passed = now > turn->since ? now - turn->since : 0;

    if (turn->state == TURN_WAITS)
        turn->owed += passed;
    else if (turn->state == TURN_READS)
        turn->owed -= passed < turn->owed ? passed : turn->owed;
    turn->since = now;
}

enum turn_state turn_take(struct turn *turn, bool active, bool audited, uint64_t delay,
                          uint64_t now, uint64_t *ret_wait)
{
    turn_count(turn, now);
    turn->insists = turn->owed >= delay || (turn->insists && turn->owed > 0);
    turn->state = !active                     ? TURN_NONE
                  : audited && !turn->insists ? TURN_WAITS
                                              : TURN_READS;
    *ret_wait = UINT64_MAX;
    if (turn->state == TURN_WAITS)
        *ret_wait = delay - turn->owed;
    else if (turn->state == TURN_READS && audited && turn->owed > 0)
        *ret_wait = turn->owed;
    return turn->state;
}
