/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How much each user may ask on the system bus, so that one who asks without a pause does not have
 * others wait. Pure: the time is passed in. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SHARES 256              /* users that are told apart; beyond that some share one */
#define SHARE_CALLS 50          /* calls at once, and */
#define SHARE_USEC 10000        /* one more after each of these */

struct shares {
    uint64_t used_until[SHARES];        /* usec: when all of it is there again */
};

/* Takes a call of the user's share. False when there is none left: *ret_wait is usec until there
 * is. */
bool share_take(struct shares *shares, uid_t uid, uint64_t now, uint64_t *ret_wait);
