/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Values as people write them: "6h", "1h 30min", "1GiB", "0.5%". */
#pragma once

#include <stdint.h>

/* Each returns 0, or -EINVAL (*ret_reason says what is wrong, a constant) or -ERANGE (does not
 * fit). */

/* Decimal digits alone. */
int value_count(const char *text, uint64_t *ret, const char **ret_reason);
/* One or more numbers with units, added up: us, ms, s, min, h, d, w, y (365 days) and their long
 * names. Microseconds. */
int value_duration(const char *text, uint64_t *ret_usec, const char **ret_reason);
/* The same, where a number without a unit counts so many microseconds. */
int value_duration_of(const char *text, uint64_t bare, uint64_t *ret_usec,
                      const char **ret_reason);
/* A number and a unit: B, K, M, G, T, P, E, also as KiB...: powers of 1,024. Bytes. */
int value_size(const char *text, uint64_t *ret_bytes, const char **ret_reason);
/* A size, with or without "/s" behind it. Bytes per second. */
int value_rate(const char *text, uint64_t *ret_bytes, const char **ret_reason);
/* "22:00-05:00": minutes of the day, the first << 16 | the one behind the last; never 0. */
int value_window(const char *text, uint64_t *ret_window, const char **ret_reason);
/* "2027-03-31", from 1970 to 2262: the first moment of that day by UTC. Microseconds since the
 * epoch. */
int value_date(const char *text, uint64_t *ret_usec, const char **ret_reason);
/* "20%", "0.25%": parts per 10,000. */
int value_share(const char *text, uint64_t *ret_parts, const char **ret_reason);
