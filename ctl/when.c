/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Points in time and durations as administrators write and read them. */
#include "ctl/when.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "helpers/clock.h"
#include "helpers/value.h"

int when_parse_duration(const char *text, uint64_t *ret_usec)
{
    const char *reason;

    return value_duration_of(text, USEC_PER_SEC, ret_usec, &reason);
}

static int midnight(uint64_t now, int days, uint64_t *ret_usec)
{
    time_t seconds = (time_t)(now / USEC_PER_SEC);
    struct tm tm;

    if (!localtime_r(&seconds, &tm))
        return -EINVAL;
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    tm.tm_mday += days;
    tm.tm_isdst = -1;
    seconds = mktime(&tm);
    if (seconds < 0)
        return -ERANGE;
    *ret_usec = (uint64_t)seconds * USEC_PER_SEC;
    return 0;
}

static int parse_date(const char *text, uint64_t *ret_usec)
{
    static const char *const formats[] = { "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d",
                                           "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M" };

    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct tm tm = { .tm_isdst = -1 };
        const char *end = strptime(text, formats[i], &tm);
        time_t seconds;

        if (!end || *end)
            continue;
        seconds = mktime(&tm);
        if (seconds < 0)
            return -ERANGE;
        *ret_usec = (uint64_t)seconds * USEC_PER_SEC;
        return 0;
    }
    return -EINVAL;
}

int when_parse(const char *text, uint64_t now, uint64_t *ret_usec)
{
    static const struct { const char *name; int days; } days[] = {
        {"today", 0}, {"yesterday", -1}, {"tomorrow", 1},
    };
    size_t n = strlen(text);
    char before[64];
    uint64_t usec;
    int r;

    if (strcmp(text, "now") == 0) {
        *ret_usec = now;
        return 0;
    }
    for (size_t i = 0; i < sizeof(days) / sizeof(days[0]); i++)
        if (strcmp(text, days[i].name) == 0)
            return midnight(now, days[i].days, ret_usec);
    if (text[0] == '@') {
        r = when_parse_duration(text + 1, &usec);
        if (r >= 0)
            *ret_usec = usec;
        return r;
    }
    if (text[0] == '+') {
        r = when_parse_duration(text + 1, &usec);
        return r < 0 ? r : __builtin_add_overflow(now, usec, ret_usec) ? -ERANGE : 0;
    }
    if (text[0] == '-')
        r = when_parse_duration(text + 1, &usec);
    else if (n > 4 && n < sizeof(before) && strcmp(text + n - 4, " ago") == 0) {
        memcpy(before, text, n - 4);
        before[n - 4] = '\0';
        r = when_parse_duration(before, &usec);
    } else
        return parse_date(text, ret_usec);
    if (r < 0)
        return r;
    if (usec > now)
        return -ERANGE;
    *ret_usec = now - usec;
    return 0;
}

enum precision { TO_THE_DAY, TO_THE_MINUTE, TO_THE_SECOND, IN_FULL };

static const char *format_time(uint64_t when, enum precision precision, char buf[static WHEN_MAX])
{
    time_t seconds = (time_t)(when / USEC_PER_SEC);
    struct tm tm;
    size_t n = 0;

    if (when == 0) {
        (void)snprintf(buf, WHEN_MAX, "never");
        return buf;
    }
    if (localtime_r(&seconds, &tm))
        n = precision == IN_FULL         ? strftime(buf, WHEN_MAX, "%a %Y-%m-%d %H:%M:%S %Z", &tm)
            : precision == TO_THE_SECOND ? strftime(buf, WHEN_MAX, "%Y-%m-%d %H:%M:%S", &tm)
            : precision == TO_THE_MINUTE ? strftime(buf, WHEN_MAX, "%Y-%m-%d %H:%M", &tm)
                                         : strftime(buf, WHEN_MAX, "%Y-%m-%d", &tm);
    if (n == 0)
        (void)snprintf(buf, WHEN_MAX, "@%llu", (unsigned long long)(when / USEC_PER_SEC));
    return buf;
}

const char *when_text(uint64_t when, char buf[static WHEN_MAX])
{
    return format_time(when, IN_FULL, buf);
}

const char *when_short(uint64_t when, char buf[static WHEN_MAX])
{
    return format_time(when, TO_THE_SECOND, buf);
}

const char *when_minute(uint64_t when, char buf[static WHEN_MAX])
{
    return format_time(when, TO_THE_MINUTE, buf);
}

const char *when_date(uint64_t when, char buf[static WHEN_MAX])
{
    return format_time(when, TO_THE_DAY, buf);
}
