/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text for people: hostile bytes made safe for terminals and logs, shell quoting, sizes and times
 * in words. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes n hostile bytes (NUL allowed) harmless for a terminal, a log line, a table: printable UTF-8
 * stays, backslash becomes \\, control characters \n \t \r \a \b \f \v or \xNN, and every byte of
 * invalid UTF-8, of C1 controls and of characters that reorder or hide text (U+200E, U+202E,
 * U+2028, U+FEFF, ...) \xNN, always with two digits. *ret is malloc'd and NUL-ended. -ENOMEM. */
int text_escape(const char *bytes, size_t n, char **ret);
/* The same of a NUL-ended string; NULL gives "". NULL without memory. */
char *text_escape_string(const char *string);
/* True when text_escape() would leave all but backslashes as they are. */
bool text_is_safe(const char *bytes, size_t n);
/* True for valid UTF-8, control characters and NUL included: what JSON and D-Bus strings may
 * hold. */
bool text_is_utf8(const char *bytes, size_t n);

/* NULL is equal to NULL alone. */
bool text_equal(const char *a, const char *b);
/* Levenshtein's distance; SIZE_MAX where one is of 64 bytes or more: names are short, longer ones
 * are like nothing. */
size_t text_distance(const char *a, const char *b);

/* One word for a POSIX shell: plain where nothing needs quoting, else '...'; with control
 * characters or invalid UTF-8 $'...' (bash, ksh, zsh, POSIX.1-2024), which is also safe to print.
 * *ret is malloc'd. -ENOMEM. */
int text_quote_shell(const char *string, char **ret);

#define TEXT_SIZE_MAX 40
/* "0B", "512B", "1.5G", "16E": powers of 1,024, cut after one decimal, as systemd and virsh do.
 * Returns buf. */
const char *text_size(uint64_t bytes, char buf[static TEXT_SIZE_MAX]);

/* Why a datastore cannot be reached, in words: strerror() of what is none of these would puzzle.
 * Static. */
const char *text_offline_reason(int error);

#define TEXT_DURATION_MAX 64
/* "3d 4h", "1y 20d", "5min 2s", "12ms", "0s": at most the two largest units. Returns buf. */
const char *text_duration(uint64_t usec, char buf[static TEXT_DURATION_MAX]);
/* "3d 4h ago", "in 5min", "just now" (below a second), "never" when is 0; microseconds since the
 * epoch. Returns buf. */
/* In words, one unit: "14 days", "36 hours", "1 minute". */
const char *text_span(uint64_t usec, char buf[static TEXT_DURATION_MAX]);
const char *text_age(uint64_t when, uint64_t now, char buf[static TEXT_DURATION_MAX]);
