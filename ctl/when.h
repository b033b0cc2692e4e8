/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Points in time and durations as administrators write and read them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* "90", "90s", "2h 30min", "1d", "2w": microseconds; a number alone is seconds. -EINVAL,
 * -ERANGE. */
int when_parse_duration(const char *text, uint64_t *ret_usec);
/* "now", "today", "yesterday", "tomorrow", "2026-12-24", "2026-12-24 18:00[:30]" (local time),
 * "@SECONDS", "+2h" (from now), "-3d" or "3d ago" (before now): microseconds since the epoch.
 * -EINVAL, -ERANGE. */
int when_parse(const char *text, uint64_t now, uint64_t *ret_usec);

#define WHEN_MAX 64
/* "Fri 2026-11-20 04:48:00 UTC" in local time, "never" when is 0. Returns buf. */
const char *when_text(uint64_t when, char buf[static WHEN_MAX]);
/* "2026-11-20 04:48:00": for tables. */
const char *when_short(uint64_t when, char buf[static WHEN_MAX]);
/* "2026-11-20 04:48" and "2026-11-20": for what is not known to the second, or to the hour. */
const char *when_minute(uint64_t when, char buf[static WHEN_MAX]);
const char *when_date(uint64_t when, char buf[static WHEN_MAX]);
