/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Points in time and durations as administrators write and read them. */
#include "ctl/when.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND UINT64_C(1000000)

static int unit_usec(const char *name, size_t n, uint64_t *ret_usec)
{
    static const struct { const char *name; uint64_t usec; } units[] = {
        {"", SECOND}, {"s", SECOND}, {"sec", SECOND}, {"second", SECOND}, {"seconds", SECOND},
        {"m", 60 * SECOND}, {"min", 60 * SECOND}, {"minute", 60 * SECOND}, {"minutes", 60 * SECOND},
        {"h", 3600 * SECOND}, {"hr", 3600 * SECOND}, {"hour", 3600 * SECOND},
        {"hours", 3600 * SECOND},
        {"d", 86400 * SECOND}, {"day", 86400 * SECOND}, {"days", 86400 * SECOND},
        {"w", 7 * 86400 * SECOND}, {"week", 7 * 86400 * SECOND}, {"weeks", 7 * 86400 * SECOND},
        {"y", 31557600 * SECOND}, {"year", 31557600 * SECOND}, {"years", 31557600 * SECOND},
    };

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (strlen(units[i].name) == n && strncmp(units[i].name, name, n) == 0) {
            *ret_usec = units[i].usec;
            return 0;
        }
    return -EINVAL;
}

int when_parse_duration(const char *text, uint64_t *ret_usec)
{
    uint64_t total = 0;

    text += strspn(text, " ");
    if (*text == '\0')
        return -EINVAL;
    while (*text) {
        uint64_t number, unit;
        char *end;
        size_t n;

        if (!isdigit((unsigned char)*text))
            return -EINVAL;
        errno = 0;
        number = strtoull(text, &end, 10);
        if (errno != 0)
            return -errno;
        end += strspn(end, " ");
        for (n = 0; isalpha((unsigned char)end[n]); n++)
            ;
        if (unit_usec(end, n, &unit) < 0)
            return -EINVAL;
        if (__builtin_mul_overflow(number, unit, &number) ||
            __builtin_add_overflow(total, number, &total))
            return -ERANGE;
        text = end + n;
        text += strspn(text, " ");
    }
    *ret_usec = total;
    return 0;
}

static int midnight(uint64_t now, int days, uint64_t *ret_usec)
{
    time_t seconds = (time_t)(now / SECOND);
    struct tm tm;

    if (!localtime_r(&seconds, &tm))
        return -EINVAL;
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    tm.tm_mday += days;
    tm.tm_isdst = -1;
    seconds = mktime(&tm);
    if (seconds < 0)
        return -ERANGE;
    *ret_usec = (uint64_t)seconds * SECOND;
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
        *ret_usec = (uint64_t)seconds * SECOND;
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

static const char *format_time(uint64_t when, bool full, char buf[static WHEN_MAX])
{
    time_t seconds = (time_t)(when / SECOND);
    struct tm tm;
    size_t n = 0;

    if (when == 0) {
        (void)snprintf(buf, WHEN_MAX, "never");
        return buf;
    }
    if (localtime_r(&seconds, &tm))
        n = full ? strftime(buf, WHEN_MAX, "%a %Y-%m-%d %H:%M:%S %Z", &tm)
                 : strftime(buf, WHEN_MAX, "%Y-%m-%d %H:%M:%S", &tm);
    if (n == 0)
        (void)snprintf(buf, WHEN_MAX, "@%llu", (unsigned long long)(when / SECOND));
    return buf;
}

const char *when_text(uint64_t when, char buf[static WHEN_MAX])
{
    return format_time(when, true, buf);
}

const char *when_short(uint64_t when, char buf[static WHEN_MAX])
{
    return format_time(when, false, buf);
}
