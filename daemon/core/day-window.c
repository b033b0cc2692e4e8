/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hours of the day, by the host's local time, as scrub.window and alerts.quiet-hours name them. */
#include "daemon/core/day-window.h"

#include <time.h>

#include "helpers/clock.h"

#define MINUTES_PER_DAY 1440u

bool day_window_holds(uint64_t window, uint64_t now, uint64_t *ret_change)
{
    unsigned start = (unsigned)(window >> 16), end = (unsigned)(window & 0xffff), at, until;
    time_t seconds = (time_t)(now / USEC_PER_SEC);
    uint64_t minutes;
    struct tm tm;
    bool within;

    if (!localtime_r(&seconds, &tm)) {
        if (ret_change)
            *ret_change = UINT64_MAX;
        return true;
    }
    at = (unsigned)(tm.tm_hour * 60 + tm.tm_min);
    within = start < end ? at >= start && at < end : at >= start || at < end;
    until = within ? end % MINUTES_PER_DAY : start;
    minutes = (until + MINUTES_PER_DAY - at) % MINUTES_PER_DAY;
    if (minutes == 0)
        minutes = MINUTES_PER_DAY;
    if (ret_change)
        *ret_change = minutes * 60 * USEC_PER_SEC -
                      ((uint64_t)tm.tm_sec * USEC_PER_SEC + now % USEC_PER_SEC);
    return within;
}
