/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hours of the day, by the host's local time, as scrub.window and alerts.quiet-hours name them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* window: minutes of the day, the first << 16 | the one behind the last (value_window()); it may
 * reach over midnight. Is the time now (usec since the epoch) within? *ret_change (may be NULL):
 * usec until that changes. Where the clocks change meanwhile, it is to be asked again then. true
 * with UINT64_MAX when the local time cannot be had. */
bool day_window_holds(uint64_t window, uint64_t now, uint64_t *ret_change);
