/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a figure grows, and when it reaches a limit at this rate: the slope of Theil and Sen, the
 * median of the slopes of all pairs of points, which one point far off does not move, with Sen's
 * interval of 95 %. Pure: the time is passed in. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FORECAST_POINTS_LEAST 5

struct forecast_point {
    uint64_t at, value;         /* at: usec since the epoch */
};

enum trend {
    TREND_UNKNOWN,              /* too few points, or too short a time */
    TREND_NONE,                 /* the interval includes 0 */
    TREND_GROWS,
    TREND_SHRINKS,
    TREND_UNEVEN,               /* it grows or shrinks, now faster, now slower: nothing follows */
};

const char *trend_name(enum trend trend);

struct forecast {
    enum trend trend;
    size_t n_points;            /* that the slope is of */
    uint64_t from, to;          /* usec, of the first and the last of them */
    double per_day, low, high;  /* 0 when unknown */
    uint64_t value;             /* of the last point, */
    uint64_t value_since;       /*  and since when it is that */
    bool restarted;             /* points before a fall are left out */
};

/* The points in the order in which they were recorded, the oldest first; their times need not be in
 * order, as clocks are set: of the earlier ones that claim to be later, and of those after now,
 * nothing is used. in_steps: the value is exact and holds until the next step, so each fall begins
 * anew; else only a fall to less than half does. -ENOMEM. */
int forecast_make(const struct forecast_point *points, size_t n_points, bool in_steps, uint64_t now,
                  struct forecast *ret_forecast);

/* When a limit is reached, usec; 0: after the horizon, beyond which nothing is said: four times the
 * time that was observed, a year at most. */
struct reach {
    uint64_t when, earliest, latest;
    uint64_t horizon;
};

/* At the rate of the forecast. false: it does not grow, is there already, or the points are too old
 * to tell of the time after now. */
bool forecast_reach(const struct forecast *forecast, uint64_t limit, bool in_steps, uint64_t now,
                    struct reach *ret_reach);
