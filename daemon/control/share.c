/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shares of those who call: each user's fills up again as time passes. */
#include "daemon/control/share.h"

bool share_take(struct shares *shares, uid_t uid, uint64_t now, uint64_t *ret_wait)
{
    uint64_t *until = &shares->used_until[uid * UINT32_C(0x9e3779b1) >> 24],
             most = now + SHARE_CALLS * SHARE_USEC;

    if (*until < now || *until > most)          /* full again; or the clock was set back */
        *until = now;
    if (*until + SHARE_USEC > most) {
        *ret_wait = *until + SHARE_USEC - most;
        return false;
    }
    *until += SHARE_USEC;
    return true;
}
