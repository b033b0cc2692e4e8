/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The slope of Theil and Sen, its interval, and when it reaches a limit. */
#include "ctl/forecast.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "helpers/clock.h"
#include "lib/cleanup.h"

#define DAY (UINT64_C(86400) * USEC_PER_SEC)
#define SPAN_LEAST (UINT64_C(3600) * USEC_PER_SEC)
/* Each slot of the time that was observed has one point at most: pairs are bounded, and many points
 * of one hour weigh no more than one. */
#define SLOTS 200
#define HORIZON_FACTOR 4
#define HORIZON_MAX (365 * DAY)
#define NORMAL_95 1.959964      /* of the standard normal distribution, both sides */
/* Rates that differ by no more than this share are the same. */
#define SAME_RATE 0.33

const char *trend_name(enum trend trend)
{
    static const char *const names[] = {
        [TREND_UNKNOWN] = "unknown", [TREND_NONE] = "none", [TREND_GROWS] = "grows",
        [TREND_SHRINKS] = "shrinks", [TREND_UNEVEN] = "uneven",
    };

    return names[trend];
}

/* ---- which points ------------------------------------------------------------------------- */

/* In place, so that times rise: what the newest points contradict goes. Returns how many are
 * left. */
static size_t keep_rising(struct forecast_point *points, size_t n, uint64_t now)
{
    size_t first = n;

    for (size_t i = n; i-- > 0;)
        if (points[i].at <= (first < n ? points[first].at - 1 : now) &&
            (first == n || points[first].at > 0))
            points[--first] = points[i];
    for (size_t i = first; i < n; i++)
        points[i - first] = points[i];
    return n - first;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Does the value fall from point i - 1 to i, and not for one point that is far off alone? */
static bool is_fall(const struct forecast_point *points, size_t n, size_t i, bool in_steps)
{
    uint64_t before = points[i - 1].value, after = points[i].value;

    if (in_steps)
        return after < before;
    if (i >= 2)
        before = smaller(before, points[i - 2].value);
    if (i + 1 < n)
        after = larger(after, points[i + 1].value);
    return after < before - before / 2;
}

/* The index of the first point after the last fall. */
static size_t after_falls(const struct forecast_point *points, size_t n, bool in_steps)
{
    for (size_t i = n; i-- > 1;)
        if (is_fall(points, n, i, in_steps))
            return i;
    return 0;
}

/* The last point of each slot, in place. */
static size_t thin(struct forecast_point *points, size_t n)
{
    const uint64_t begin = points[0].at;
    const unsigned __int128 span = (unsigned __int128)(points[n - 1].at - begin) + 1;
    size_t kept = 0;
    uint64_t slot = 0;

    for (size_t i = 0; i < n; i++) {
        uint64_t mine = (uint64_t)((unsigned __int128)(points[i].at - begin) * SLOTS / span);

        if (kept > 0 && mine == slot)
            kept--;
        points[kept++] = points[i];
        slot = mine;
    }
    return kept;
}

/* ---- the slope ---------------------------------------------------------------------------- */

struct slope {
    double median, low, high;   /* per day */
};

static int by_number(const void *a, const void *b)
{
    const double *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

/* The differences are taken as integers: they are exact however large both values are. */
static double slope_between(const struct forecast_point *a, const struct forecast_point *b)
{
    double rise = b->value >= a->value ? (double)(b->value - a->value)
                                       : -(double)(a->value - b->value);

    return rise / (double)(b->at - a->at) * (double)DAY;
}

/* Of Kendall's statistic, with what equal values take from it. */
static double variance(const struct forecast_point *points, size_t n, uint64_t *values)
{
    double sum = (double)n * (double)(n - 1) * (double)(2 * n + 5);

    for (size_t i = 0; i < n; i++)
        values[i] = points[i].value;
    qsort(values, n, sizeof(values[0]), by_value);
    for (size_t i = 0, equal; i < n; i += equal) {
        for (equal = 1; i + equal < n && values[i + equal] == values[i]; equal++)
            ;
        sum -= (double)equal * (double)(equal - 1) * (double)(2 * equal + 5);
    }
    return sum / 18;
}

/* Of at most SLOTS points, whose times rise. */
static int slope_of(const struct forecast_point *points, size_t n, struct slope *ret_slope)
{
    size_t n_pairs = n * (n - 1) / 2, at = 0;
    _cleanup_free_ double *slopes = calloc(n_pairs, sizeof(*slopes));
    _cleanup_free_ uint64_t *values = calloc(n, sizeof(*values));
    double half, rank;

    if (!slopes || !values)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++)
            slopes[at++] = slope_between(&points[i], &points[j]);
    qsort(slopes, n_pairs, sizeof(slopes[0]), by_number);
    half = NORMAL_95 * sqrt(variance(points, n, values)) / 2;
    ret_slope->median = n_pairs % 2 ? slopes[n_pairs / 2]
                                    : (slopes[n_pairs / 2 - 1] + slopes[n_pairs / 2]) / 2;
    /* Between two ranks: the outer one. */
    rank = floor((double)n_pairs / 2 - half) - 1;
    ret_slope->low = slopes[rank > 0 ? (size_t)rank : 0];
    rank = ceil((double)n_pairs / 2 + half);
    ret_slope->high = slopes[rank < (double)(n_pairs - 1) ? (size_t)rank : n_pairs - 1];
    return 0;
}

/* Is the rate of these the same as that of all? */
static int is_like(const struct forecast_point *points, size_t n, const struct slope *all,
                   bool *ret_like)
{
    struct slope slope;
    int r = slope_of(points, n, &slope);

    if (r < 0)
        return r;
    *ret_like = (slope.low <= all->high && slope.high >= all->low) ||
                fabs(slope.median - all->median) <= SAME_RATE * fabs(all->median);
    return 0;
}

/* Is the rate the same in both halves of the time? Of what wanders without aim, that is rare. */
static int is_even(const struct forecast_point *points, size_t n, const struct slope *all,
                   bool *ret_even)
{
    uint64_t middle = points[0].at + (points[n - 1].at - points[0].at) / 2;
    size_t older = FORECAST_POINTS_LEAST, newer = n - FORECAST_POINTS_LEAST;
    bool even = false;
    int r;

    while (older < n && points[older].at <= middle)
        older++;
    while (newer > 0 && points[newer - 1].at >= middle)
        newer--;
    r = is_like(points, older, all, &even);
    if (r >= 0 && even)
        r = is_like(points + newer, n - newer, all, &even);
    if (r >= 0)
        *ret_even = even;
    return r;
}

static int forecast_slope(struct forecast *forecast, const struct forecast_point *points, size_t n)
{
    struct slope slope;
    bool even = true;
    int r = slope_of(points, n, &slope);

    if (r < 0)
        return r;
    forecast->per_day = slope.median;
    forecast->low = slope.low;
    forecast->high = slope.high;
    forecast->trend = slope.low > 0 ? TREND_GROWS : slope.high < 0 ? TREND_SHRINKS : TREND_NONE;
    if (forecast->trend != TREND_NONE)
        r = is_even(points, n, &slope, &even);
    if (r >= 0 && !even)
        forecast->trend = TREND_UNEVEN;
    return r;
}

int forecast_make(const struct forecast_point *points, size_t n_points, bool in_steps, uint64_t now,
                  struct forecast *ret_forecast)
{
    _cleanup_free_ struct forecast_point *copy = calloc(n_points + 1, sizeof(*copy));
    struct forecast_point *used = copy;
    struct forecast forecast = { .trend = TREND_UNKNOWN };
    size_t n, first;
    int r = 0;

    if (!copy)
        return -ENOMEM;
    for (size_t i = 0; i < n_points; i++)
        copy[i] = points[i];
    n = keep_rising(copy, n_points, now);
    if (n > 0) {
        first = after_falls(copy, n, in_steps);
        used += first;
        n -= first;
        forecast.restarted = first > 0;
        forecast.from = used[0].at;
        forecast.to = forecast.value_since = used[n - 1].at;
        forecast.value = used[n - 1].value;
        for (size_t i = n; i-- > 0 && used[i].value == forecast.value;)
            forecast.value_since = used[i].at;
        n = thin(used, n);
        forecast.n_points = n;
    }
    /* Thinning can drop the first point. */
    if (n >= FORECAST_POINTS_LEAST && used[n - 1].at - used[0].at >= SPAN_LEAST) {
        forecast.from = used[0].at;
        r = forecast_slope(&forecast, used, n);
    }
    if (r >= 0)
        *ret_forecast = forecast;
    return r;
}

/* ---- when --------------------------------------------------------------------------------- */

/* 0: after the horizon. */
static uint64_t time_of(uint64_t base, uint64_t rest, double per_day, uint64_t now,
                        uint64_t horizon)
{
    double usec = (double)rest / per_day * (double)DAY;
    uint64_t when;

    if (!(usec < (double)(horizon - base)))
        return 0;
    when = base + (uint64_t)usec;
    return when > now ? when : now;
}

bool forecast_reach(const struct forecast *forecast, uint64_t limit, bool in_steps, uint64_t now,
                    struct reach *ret_reach)
{
    uint64_t span = forecast->to - forecast->from, rest, base;
    struct reach reach = { .when = 0 };

    if (forecast->trend != TREND_GROWS || forecast->value >= limit || now < forecast->to ||
        now - forecast->to > span)
        return false;
    span = span < HORIZON_MAX / HORIZON_FACTOR ? span * HORIZON_FACTOR : HORIZON_MAX;
    if (__builtin_add_overflow(forecast->to, span, &reach.horizon) || reach.horizon <= now)
        return false;
    rest = limit - forecast->value;
    base = in_steps ? forecast->value_since : forecast->to;
    reach.when = time_of(base, rest, forecast->per_day, now, reach.horizon);
    reach.earliest = time_of(base, rest, forecast->high, now, reach.horizon);
    reach.latest = time_of(base, rest, forecast->low, now, reach.horizon);
    /* Even at the slowest rate it had to be there by now: that rate does not hold any more. */
    if (reach.latest > 0 && reach.latest <= now)
        return false;
    *ret_reach = reach;
    return true;
}
