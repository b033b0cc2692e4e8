/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A forecast in words, and as JSON. */
#include "ctl/forecast-print.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ctl/when.h"
#include "helpers/clock.h"
#include "helpers/json-text.h"
#include "helpers/text.h"

#define RATE_MAX 64
/* Within these, the hour matters. */
#define NEAR (3 * UINT64_C(86400) * USEC_PER_SEC)

/* ---- words -------------------------------------------------------------------------------- */

/* "1.2G", "0.14": without a sign. */
static const char *rate_text(const struct forecast_subject *subject, double rate,
                             char buf[static RATE_MAX])
{
    char size[TEXT_SIZE_MAX];
    double number = fabs(rate), unit = 1;

    /* text_size() cuts off what is less than a tenth, and a rate is rounded. */
    while (unit < 0x1p60 && number / unit >= 1024)
        unit *= 1024;
    if (!subject->is_size && number < 0.01 && number > 0)
        (void)snprintf(buf, RATE_MAX, "less than 0.01");
    else if (!subject->is_size)
        (void)snprintf(buf, RATE_MAX, number >= 9.95 ? "%.0f" : "%.2g", number);
    else if (number < 1 && number > 0)
        (void)snprintf(buf, RATE_MAX, "less than 1B");
    else
        (void)snprintf(buf, RATE_MAX, "%s",
                       text_size(number < 0x1p63 ? (uint64_t)(number + unit / 20) : UINT64_MAX,
                                 size));
    return buf;
}

/* "from 34 points in 12 days, since it last fell" */
static void print_source(const struct forecast *forecast, const struct forecast_subject *subject)
{
    char span[TEXT_DURATION_MAX];

    (void)printf("from %zu points in %s%s", forecast->n_points,
                 text_span(forecast->to - forecast->from, span),
                 forecast->restarted ? ", since it last fell"
                 : subject->is_layer ? ", since this layer is the uppermost" : "");
}

/* "Grew by 1.2G per day (95 %: 1.1G to 1.4G)" */
static void print_rate(const struct forecast *forecast, const struct forecast_subject *subject)
{
    bool grew = forecast->per_day > 0;
    char rate[RATE_MAX], least[RATE_MAX], most[RATE_MAX];
    const char *unit;

    (void)rate_text(subject, forecast->per_day, rate);
    unit = strcmp(rate, "1") == 0 ? subject->one : subject->many;
    (void)printf("%s by %s%s%s per day (95 %%: %s to %s)", grew ? "Grew" : "Shrank", rate,
                 unit ? " " : "", unit ?: "",
                 rate_text(subject, grew ? forecast->low : forecast->high, least),
                 rate_text(subject, grew ? forecast->high : forecast->low, most));
}

static const char *date_text(uint64_t when, uint64_t now, char buf[static WHEN_MAX])
{
    return when > now && when - now > NEAR ? when_date(when, buf) : when_minute(when, buf);
}

/* " (between 2026-12-12 and 2026-12-19)" */
static void print_between(const struct reach *reach, uint64_t now)
{
    char around[WHEN_MAX], earliest[WHEN_MAX], latest[WHEN_MAX];

    (void)date_text(reach->when, now, around);
    (void)date_text(reach->earliest, now, earliest);
    (void)date_text(reach->latest, now, latest);
    if (reach->latest == 0)
        (void)printf(" (%s at the earliest)", earliest);
    else if (strcmp(earliest, around) != 0 || strcmp(latest, around) != 0)
        (void)printf(" (between %s and %s)", earliest, latest);
}

static void print_reach(const struct reach *reach, const struct forecast_subject *subject,
                        uint64_t limit, uint64_t now)
{
    char when[WHEN_MAX];

    (void)printf("At this rate ");
    if (subject->is_space)
        (void)printf(reach->when > 0 ? "the space ends" : "the space does not end");
    else
        (void)printf("the chain %s its limit of %" PRIu64 " %s",
                     reach->when > 0 ? "reaches" : "does not reach", limit, subject->many);
    if (reach->when > 0) {
        (void)printf(" around %s", date_text(reach->when, now, when));
        print_between(reach, now);
    } else
        (void)printf(" before %s",
                     date_text(reach->earliest > 0 ? reach->earliest : reach->horizon, now, when));
    (void)printf(".\n");
}

void forecast_print(const struct forecast *forecast, const struct forecast_subject *subject,
                    uint64_t limit, uint64_t now)
{
    struct reach reach;

    switch (forecast->trend) {
    case TREND_GROWS:
    case TREND_SHRINKS:
        print_rate(forecast, subject);
        (void)printf(", ");
        print_source(forecast, subject);
        (void)printf(".\n");
        break;
    case TREND_UNEVEN:
        print_rate(forecast, subject);
        (void)printf(", now faster, now slower, ");
        print_source(forecast, subject);
        (void)printf(": no forecast.\n");
        break;
    case TREND_NONE:
        (void)printf("Neither grew nor shrank steadily, ");
        print_source(forecast, subject);
        (void)printf(".\n");
        break;
    case TREND_UNKNOWN:
    default:
        return;
    }
    if (forecast_reach(forecast, limit, subject->in_steps, now, &reach))
        print_reach(&reach, subject, limit, now);
}

/* ---- JSON --------------------------------------------------------------------------------- */

/* Digits that mean something, and no others. */
static int add_rate(json_object *object, const char *key, double rate)
{
    char text[RATE_MAX];

    (void)snprintf(text, sizeof(text), fabs(rate) >= 1e6 ? "%.0f" : "%.6g", rate);
    return json_add(object, key, json_object_new_double_s(rate, text));
}

static int add_time(json_object *object, const char *key, uint64_t when)
{
    return when > 0 ? json_add_number(object, key, when) : 0;
}

static int add_members(json_object *object, const struct forecast *forecast,
                       const struct forecast_subject *subject, uint64_t limit, uint64_t now)
{
    struct reach reach;
    int r = json_add_text(object, "trend", trend_name(forecast->trend));

    if (r >= 0)
        r = add_rate(object, "per-day", forecast->per_day);
    if (r >= 0)
        r = add_rate(object, "per-day-low", forecast->low);
    if (r >= 0)
        r = add_rate(object, "per-day-high", forecast->high);
    if (r >= 0)
        r = json_add_number(object, "points", forecast->n_points);
    if (r >= 0)
        r = json_add_number(object, "from", forecast->from);
    if (r >= 0)
        r = json_add_number(object, "to", forecast->to);
    if (r >= 0)
        r = json_add(object, "since-fall", json_object_new_boolean(forecast->restarted));
    if (r >= 0 && limit > 0)
        r = json_add_number(object, "limit", limit);
    if (r < 0 || !forecast_reach(forecast, limit, subject->in_steps, now, &reach))
        return r;
    r = add_time(object, "when", reach.when);
    if (r >= 0)
        r = add_time(object, "earliest", reach.earliest);
    if (r >= 0)
        r = add_time(object, "latest", reach.latest);
    return r < 0 ? r : add_time(object, "horizon", reach.horizon);
}

int forecast_add(json_object *object, const struct forecast *forecast,
                 const struct forecast_subject *subject, uint64_t limit, uint64_t now)
{
    json_object *members;
    int r;

    if (forecast->trend == TREND_UNKNOWN)
        return 0;
    members = json_object_new_object();
    if (!members)
        return -ENOMEM;
    r = add_members(members, forecast, subject, limit, now);
    if (r < 0) {
        json_object_put(members);
        return r;
    }
    return json_add(object, "forecast", members);
}
