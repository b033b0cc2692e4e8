/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Values as people write them: "6h", "1h 30min", "1GiB", "0.5%". */
#include "helpers/value.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "helpers/clock.h"
#include "lib/cleanup.h"

#define KNOWN_DURATIONS "the units of time are us, ms, s, min, h, d, w and y"
#define KNOWN_SIZES "the units of size are B, KiB, MiB, GiB, TiB, PiB and EiB"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Takes the digits at *text; -EINVAL when there are none. */
static int take_digits(const char **text, uint64_t *ret)
{
    const char *p = *text;
    uint64_t value = 0;
    bool fits = true;

    if (!is_digit(*p))
        return -EINVAL;
    for (; is_digit(*p); p++)
        fits = fits && !__builtin_mul_overflow(value, 10, &value) &&
               !__builtin_add_overflow(value, (uint64_t)(*p - '0'), &value);
    *text = p;
    *ret = value;
    return fits ? 0 : -ERANGE;
}

static void take_spaces(const char **text)
{
    *text += strspn(*text, " ");
}

int value_count(const char *text, uint64_t *ret, const char **ret_reason)
{
    uint64_t value;

    int r = take_digits(&text, &value);
    if (r == -EINVAL || *text) {
        *ret_reason = "not a whole number";
        return -EINVAL;
    }
    if (r >= 0)
        *ret = value;
    return r;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* Takes the letters at *text and finds them among n units. */
static const struct unit *take_unit(const char **text, const struct unit *units, size_t n)
{
    size_t length = 0;

    while (is_letter((*text)[length]))
        length++;
    for (size_t i = 0; i < n; i++)
        if (strlen(units[i].name) == length && strncmp(units[i].name, *text, length) == 0) {
            *text += length;
            return &units[i];
        }
    return NULL;
}

int value_duration(const char *text, uint64_t *ret_usec, const char **ret_reason)
{
    return value_duration_of(text, 0, ret_usec, ret_reason);
}

int value_duration_of(const char *text, uint64_t bare, uint64_t *ret_usec, const char **ret_reason)
{
    static const struct unit units[] = {
        { "us", 1 }, { "usec", 1 },
        { "ms", 1000 }, { "msec", 1000 },
        { "s", USEC_PER_SEC }, { "sec", USEC_PER_SEC }, { "second", USEC_PER_SEC },
        { "seconds", USEC_PER_SEC },
        { "m", 60 * USEC_PER_SEC }, { "min", 60 * USEC_PER_SEC },
        { "minute", 60 * USEC_PER_SEC }, { "minutes", 60 * USEC_PER_SEC },
        { "h", 3600 * USEC_PER_SEC }, { "hr", 3600 * USEC_PER_SEC },
        { "hour", 3600 * USEC_PER_SEC }, { "hours", 3600 * USEC_PER_SEC },
        { "d", 86400 * USEC_PER_SEC }, { "day", 86400 * USEC_PER_SEC },
        { "days", 86400 * USEC_PER_SEC },
        { "w", 604800 * USEC_PER_SEC }, { "week", 604800 * USEC_PER_SEC },
        { "weeks", 604800 * USEC_PER_SEC },
        { "y", 31536000 * USEC_PER_SEC }, { "year", 31536000 * USEC_PER_SEC },
        { "years", 31536000 * USEC_PER_SEC },
    };
    uint64_t sum = 0;
    bool fits = true;

    do {
        const struct unit *unit;
        uint64_t number;

        take_spaces(&text);
        int r = take_digits(&text, &number);
        if (r == -EINVAL) {
            *ret_reason = "not a duration such as 90s, 1h 30min or 7d";
            return r;
        }
        take_spaces(&text);
        if (!*text && bare == 0) {
            *ret_reason = "a duration needs a unit: 90s, 1h 30min, 7d";
            return -EINVAL;
        }
        unit = !is_letter(*text) && bare > 0 ? &(struct unit){ "", bare }
                                             : take_unit(&text, units, ELEMENTSOF(units));
        if (!unit) {
            *ret_reason = is_letter(*text) ? "unknown unit: " KNOWN_DURATIONS
                                           : "not a duration such as 90s, 1h 30min or 7d";
            return -EINVAL;
        }
        fits = fits && r >= 0 && !__builtin_mul_overflow(number, unit->factor, &number) &&
               !__builtin_add_overflow(sum, number, &sum);
        take_spaces(&text);
    } while (*text);
    if (!fits)
        return -ERANGE;
    *ret_usec = sum;
    return 0;
}

int value_size(const char *text, uint64_t *ret_bytes, const char **ret_reason)
{
    static const struct unit units[] = {
        { "B", 1 },
        { "K", UINT64_C(1) << 10 }, { "KiB", UINT64_C(1) << 10 },
        { "M", UINT64_C(1) << 20 }, { "MiB", UINT64_C(1) << 20 },
        { "G", UINT64_C(1) << 30 }, { "GiB", UINT64_C(1) << 30 },
        { "T", UINT64_C(1) << 40 }, { "TiB", UINT64_C(1) << 40 },
        { "P", UINT64_C(1) << 50 }, { "PiB", UINT64_C(1) << 50 },
        { "E", UINT64_C(1) << 60 }, { "EiB", UINT64_C(1) << 60 },
    };
    const struct unit *unit;
    uint64_t number;

    int r = take_digits(&text, &number);
    if (r == -EINVAL) {
        *ret_reason = "not a size such as 512MiB or 1GiB";
        return r;
    }
    take_spaces(&text);
    if (!*text) {
        *ret_reason = "a size needs a unit: 4096B, 512MiB, 1GiB";
        return -EINVAL;
    }
    unit = take_unit(&text, units, ELEMENTSOF(units));
    if (!unit || *text) {
        *ret_reason = is_letter(*text) ? "unknown unit: " KNOWN_SIZES
                                       : "not a size such as 512MiB or 1GiB";
        return -EINVAL;
    }
    if (r < 0 || __builtin_mul_overflow(number, unit->factor, &number))
        return -ERANGE;
    *ret_bytes = number;
    return 0;
}

int value_rate(const char *text, uint64_t *ret_bytes, const char **ret_reason)
{
    _cleanup_free_ char *size = NULL;
    size_t length = strlen(text);

    size = strndup(text, length > 2 && strcmp(text + length - 2, "/s") == 0 ? length - 2 : length);
    if (!size)
        return -ENOMEM;
    return value_size(size, ret_bytes, ret_reason);
}

int value_share(const char *text, uint64_t *ret_parts, const char **ret_reason)
{
    uint64_t whole, parts = 0;

    int r = take_digits(&text, &whole);
    if (r == -EINVAL)
        goto invalid;
    if (*text == '.') {
        text++;
        if (!is_digit(*text))
            goto invalid;
        parts += 10 * (uint64_t)(*text++ - '0');
        if (is_digit(*text))
            parts += (uint64_t)(*text++ - '0');
    }
    take_spaces(&text);
    if (strcmp(text, "%") != 0)
        goto invalid;
    if (r < 0 || __builtin_mul_overflow(whole, 100, &whole) ||
        __builtin_add_overflow(whole, parts, &whole))
        return -ERANGE;
    *ret_parts = whole;
    return 0;
invalid:
    *ret_reason = "not a share such as 20% or 0.25%";
    return -EINVAL;
}

/* "05:30", to 24:00. */
static int take_time(const char **text, uint64_t *ret_minutes)
{
    const char *at = *text;
    unsigned hours, minutes;

    for (unsigned i = 0; i < 5; i++)
        if (i == 2 ? at[i] != ':' : !is_digit(at[i]))
            return -EINVAL;
    hours = (unsigned)(at[0] - '0') * 10 + (unsigned)(at[1] - '0');
    minutes = (unsigned)(at[3] - '0') * 10 + (unsigned)(at[4] - '0');
    if (minutes > 59 || hours * 60 + minutes > 24 * 60)
        return -EINVAL;
    *ret_minutes = hours * 60 + minutes;
    *text += 5;
    return 0;
}

int value_window(const char *text, uint64_t *ret_window, const char **ret_reason)
{
    uint64_t start, end;

    if (take_time(&text, &start) < 0 || *text != '-' || (text++, take_time(&text, &end)) < 0 ||
        *text) {
        *ret_reason = "not a time of the day such as 22:00-05:00";
        return -EINVAL;
    }
    if (start % (24 * 60) == end % (24 * 60)) {
        *ret_reason = "begins when it ends";
        return -EINVAL;
    }
    *ret_window = start % (24 * 60) << 16 | end;
    return 0;
}

/* n digits; -1: there are others. */
static int take_part(const char **text, unsigned n)
{
    int value = 0;

    for (; n > 0; n--, (*text)++) {
        if (!is_digit(**text))
            return -1;
        value = value * 10 + (**text - '0');
    }
    return value;
}

int value_date(const char *text, uint64_t *ret_usec, const char **ret_reason)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int year = take_part(&text, 4), month = -1, day = -1;
    uint64_t n = 0;

    if (year >= 0 && *text == '-' && (text++, month = take_part(&text, 2)) >= 0 && *text == '-')
        text++, day = take_part(&text, 2);
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day < 1 || *text || month < 1 || month > 12 ||
        day > days[month - 1] + (month == 2 && leap)) {
        *ret_reason = "not a date such as 2027-03-31";
        return -EINVAL;
    }
    if (year < 1970 || year > 2262) {
        *ret_reason = "not a year from 1970 to 2262";
        return -EINVAL;
    }
    for (int y = 1970; y < year; y++)
        n += 365 + (y % 4 == 0 && (y % 100 != 0 || y % 400 == 0));
    for (int m = 1; m < month; m++)
        n += (uint64_t)(days[m - 1] + (m == 2 && leap));
    *ret_usec = (n + (uint64_t)day - 1) * 86400 * 1000000;
    return 0;
}
