/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a figure grows: the slope and its interval, which points count, and when a limit is
 * reached. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/forecast.h"
#include "lib/cleanup.h"

#define SEC UINT64_C(1000000)
#define HOUR (3600 * SEC)
#define DAY (24 * HOUR)
#define BEGIN (20000 * DAY)
#define GIB (UINT64_C(1) << 30)
#define POINTS_MAX 4096

static struct forecast make(const struct forecast_point *points, size_t n, bool in_steps)
{
    struct forecast forecast;
    uint64_t now = n > 0 ? points[n - 1].at + HOUR : BEGIN;

    assert_int_equal(forecast_make(points, n, in_steps, now, &forecast), 0);
    return forecast;
}

static void assert_near(double got, double wanted)
{
    if (fabs(got - wanted) > 1e-6 * fabs(wanted) + 1e-9)
        fail_msg("%.9g is not %.9g", got, wanted);
}

static void a_line(void **state)
{
    struct forecast_point points[34];
    struct forecast forecast;
    struct reach reach;

    for (size_t i = 0; i < 34; i++)
        points[i] = (struct forecast_point){ BEGIN + i * 9 * HOUR, 7 * GIB + i * 9 * GIB / 20 };
    forecast = make(points, 34, false);
    assert_int_equal(forecast.trend, TREND_GROWS);
    assert_near(forecast.per_day, 1.2 * (double)GIB);
    assert_near(forecast.low, 1.2 * (double)GIB);
    assert_near(forecast.high, 1.2 * (double)GIB);
    assert_int_equal(forecast.n_points, 34);
    assert_int_equal(forecast.from, BEGIN);
    assert_int_equal(forecast.to, BEGIN + 33 * 9 * HOUR);
    assert_false(forecast.restarted);
    /* 12 GiB more are ten days */
    assert_true(forecast_reach(&forecast, points[33].value + 12 * GIB, false, forecast.to, &reach));
    assert_near((double)(reach.when - forecast.to), (double)(10 * DAY));
    assert_near((double)(reach.earliest - forecast.to), (double)(10 * DAY));
    assert_near((double)(reach.latest - forecast.to), (double)(10 * DAY));
    assert_int_equal(reach.horizon, forecast.to + 4 * (forecast.to - forecast.from));
    /* beyond the horizon: no day */
    assert_true(forecast_reach(&forecast, points[33].value + 1200 * GIB, false, forecast.to,
                               &reach));
    assert_int_equal(reach.when, 0);
    assert_int_equal(reach.earliest, 0);
    /* reached, or the points are older than they are long, or the time is before them */
    assert_false(forecast_reach(&forecast, points[33].value, false, forecast.to, &reach));
    assert_false(forecast_reach(&forecast, UINT64_MAX, false, forecast.to + 13 * DAY, &reach));
    assert_false(forecast_reach(&forecast, UINT64_MAX, false, forecast.to - 1, &reach));
    /* within a year, however long it was looked at */
    for (size_t i = 0; i < 34; i++)
        points[i].at = BEGIN + i * 30 * DAY;
    forecast = make(points, 34, false);
    assert_true(forecast_reach(&forecast, UINT64_MAX, false, forecast.to, &reach));
    assert_int_equal(reach.horizon, forecast.to + 365 * DAY);
}

/* Sen's (1968) interval, computed by hand: 10 pairs of 5 points, of which 1.96 * sqrt(50/3) = 8.0
 * leaves the outermost. */
static void five_points(void **state)
{
    struct forecast_point points[5] = {
        { BEGIN, 10 }, { BEGIN + DAY, 13 }, { BEGIN + 2 * DAY, 14 }, { BEGIN + 3 * DAY, 18 },
        { BEGIN + 4 * DAY, 20 },
    };
    struct forecast forecast = make(points, 5, false);

    /* 1, 2, 2, 2.333, 2.5, 2.5, 2.667, 3, 4 and 2.5 sorted: the middle is 2.5 */
    assert_int_equal(forecast.trend, TREND_GROWS);
    assert_near(forecast.per_day, 2.5);
    assert_near(forecast.low, 1);
    assert_near(forecast.high, 4);
    /* one pair that falls, and nothing is sure */
    points[2].value = 12;
    forecast = make(points, 5, false);
    assert_int_equal(forecast.trend, TREND_NONE);
    assert_true(forecast.low < 0 && forecast.high > 0);
    /* four are too few, as is less than an hour */
    points[2].value = 14;
    forecast = make(points, 4, false);
    assert_int_equal(forecast.trend, TREND_UNKNOWN);
    assert_int_equal(forecast.n_points, 4);
    for (size_t i = 0; i < 5; i++)
        points[i].at = BEGIN + i * 14 * 60 * SEC;
    forecast = make(points, 5, false);
    assert_int_equal(forecast.trend, TREND_UNKNOWN);
    points[4].at = BEGIN + HOUR;
    forecast = make(points, 5, false);
    assert_int_equal(forecast.trend, TREND_GROWS);
    forecast = make(points, 0, false);
    assert_int_equal(forecast.trend, TREND_UNKNOWN);
}

/* Noise that is the same in each run, from 0 to most - 1. */
static uint64_t noise(uint64_t *seed, uint64_t most)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*seed >> 33) % most;
}

static void shapes(void **state)
{
    static const struct {
        const char *name;
        uint64_t base, per_day, noise;
        enum { LINE, FALLS, STEP, PLATEAU, FASTER, ONE_OFF, LAST_OFF } shape;
        enum trend trend;
        double least, most;     /* what the slope must lie between */
    } cases[] = {
        { "noisy", 1000, 100, 150, LINE, TREND_GROWS, 92, 108 },
        { "noise alone", 1000000, 0, 1000, LINE, TREND_NONE, -60, 60 },
        { "constant", 5, 0, 0, LINE, TREND_NONE, 0, 0 },
        { "falling", 100000, 100, 150, FALLS, TREND_SHRINKS, -108, -92 },
        { "one step", 100, 0, 0, STEP, TREND_NONE, 0, 1000 },
        { "stopped", 1000, 100, 0, PLATEAU, TREND_UNEVEN, 1, 100 },
        { "stopped, with noise", 10000, 100, 20, PLATEAU, TREND_UNEVEN, 1, 100 },
        { "ever faster", 1000, 100, 0, FASTER, TREND_UNEVEN, 100, 10000 },
        { "one high", 1000, 100, 30, ONE_OFF, TREND_GROWS, 95, 105 },
        { "the last high", 1000, 100, 30, LAST_OFF, TREND_GROWS, 95, 105 },
    };
    static struct forecast_point points[60];

    for (size_t k = 0; k < ELEMENTSOF(cases); k++) {
        uint64_t seed = 4711 + k;
        struct forecast forecast;

        print_message("# %s\n", cases[k].name);
        for (size_t i = 0; i < 60; i++) {
            uint64_t grown = i * cases[k].per_day / 2, value = cases[k].base;

            switch (cases[k].shape) {
            case FALLS: value -= grown; break;
            case STEP: value += i < 30 ? 0 : 1000; break;
            case PLATEAU: value += i < 30 ? grown : 30 * cases[k].per_day / 2; break;
            case FASTER: value += grown * i / 4; break;
            case ONE_OFF: value += grown + (i == 20 ? 1000000 : 0); break;
            case LAST_OFF: value += grown + (i == 59 ? 1000000 : 0); break;
            default: value += grown;
            }
            if (cases[k].noise > 0)
                value += noise(&seed, cases[k].noise);
            points[i] = (struct forecast_point){ BEGIN + i * 12 * HOUR, value };
        }
        forecast = make(points, 60, false);
        assert_string_equal(trend_name(forecast.trend), trend_name(cases[k].trend));
        if (forecast.per_day < cases[k].least || forecast.per_day > cases[k].most)
            fail_msg("%f", forecast.per_day);
        assert_true(forecast.low <= forecast.per_day && forecast.per_day <= forecast.high);
    }
}

/* What is noise alone is called growth or shrinking about as often as 95 % allow. */
static void noise_is_rarely_a_trend(void **state)
{
    uint64_t seed = 1;
    unsigned called = 0;

    for (unsigned round = 0; round < 1000; round++) {
        struct forecast_point points[20];
        enum trend trend;

        for (size_t i = 0; i < 20; i++)
            points[i] = (struct forecast_point){ BEGIN + i * DAY, 1000000 + noise(&seed, 1000) };
        trend = make(points, 20, false).trend;
        called += trend == TREND_GROWS || trend == TREND_SHRINKS;
    }
    print_message("# %u of 1000\n", called);
    assert_true(called > 0 && called < 75);
}

/* What wanders without aim has slopes, and no trend; what drifts has one. */
static void wandering_is_rarely_a_trend(void **state)
{
    uint64_t seed = 2;
    unsigned called[2] = { 0, 0 };

    for (unsigned round = 0; round < 400; round++) {
        struct forecast_point points[150];
        uint64_t drift = round % 2 ? 500 : 0, value = 1000000;
        enum trend trend;

        for (size_t i = 0; i < 150; i++) {
            value = value + noise(&seed, 1000) + drift - 500;
            points[i] = (struct forecast_point){ BEGIN + i * HOUR, value };
        }
        trend = make(points, 150, false).trend;
        called[round % 2] += trend == TREND_GROWS || trend == TREND_SHRINKS;
    }
    print_message("# %u of 200 that wander, %u of 200 that drift\n", called[0], called[1]);
    assert_true(called[0] < 30);
    assert_true(called[1] > 190);
}

/* A chain: a layer each day, four audits each; it is consolidated, and grows again. */
static void steps(void **state)
{
    struct forecast_point points[POINTS_MAX];
    struct forecast forecast;
    struct reach reach;
    size_t n = 0;

    for (size_t i = 0; i < 80; i++)
        points[n++] = (struct forecast_point){ BEGIN + i * 6 * HOUR, 2 + i / 4 };
    forecast = make(points, n, true);
    assert_int_equal(forecast.trend, TREND_GROWS);
    assert_near(forecast.per_day, 1);
    assert_true(forecast.low > 0.9 && forecast.high < 1.1);
    /* it is 21 since its last day began: 25 are reached four days after that, not after now */
    assert_int_equal(forecast.value, 21);
    assert_int_equal(forecast.value_since, BEGIN + 19 * DAY);
    assert_true(forecast_reach(&forecast, 25, true, forecast.to + HOUR, &reach));
    assert_near((double)(reach.when - BEGIN), (double)(23 * DAY));
    assert_true(reach.earliest <= reach.when && reach.when <= reach.latest);
    /* never in the past: now, where it is late at the usual rate, and not at the slowest; */
    forecast.low = 0.9;
    assert_true(forecast_reach(&forecast, 22, true, BEGIN + 20 * DAY + HOUR, &reach));
    assert_int_equal(reach.when, BEGIN + 20 * DAY + HOUR);
    assert_int_equal(reach.earliest, reach.when);
    assert_true(reach.latest > reach.when);
    /* and nothing, where even that would have got there */
    assert_false(forecast_reach(&forecast, 22, true, BEGIN + 21 * DAY, &reach));
    /* one layer less begins anew */
    points[n] = (struct forecast_point){ points[n - 1].at + 6 * HOUR, 20 };
    n++;
    forecast = make(points, n, true);
    assert_int_equal(forecast.trend, TREND_UNKNOWN);
    assert_int_equal(forecast.n_points, 1);
    assert_true(forecast.restarted);
    for (size_t i = 1; i < 40; i++, n++)
        points[n] = (struct forecast_point){ points[n - 1].at + 6 * HOUR, 20 + i / 8 };
    forecast = make(points, n, true);
    assert_int_equal(forecast.trend, TREND_GROWS);
    assert_int_equal(forecast.n_points, 40);
    assert_true(forecast.per_day > 0.4 && forecast.per_day < 0.6);
    assert_int_equal(forecast.from, BEGIN + 80 * 6 * HOUR);
}

/* What was committed, and is a tenth now. */
static void falls(void **state)
{
    struct forecast_point points[40];
    struct forecast forecast;

    for (size_t i = 0; i < 40; i++)
        points[i] = (struct forecast_point){ BEGIN + i * DAY,
                                             i < 20 ? 100 + 10 * i : 10 + 3 * (i - 20) };
    forecast = make(points, 40, false);
    assert_int_equal(forecast.trend, TREND_GROWS);
    assert_near(forecast.per_day, 3);
    assert_int_equal(forecast.n_points, 20);
    assert_true(forecast.restarted);
    /* one low point is none */
    for (size_t i = 0; i < 40; i++)
        points[i].value = i == 17 ? 3 : 100 + 10 * i;
    forecast = make(points, 40, false);
    assert_int_equal(forecast.trend, TREND_GROWS);
    assert_near(forecast.per_day, 10);
    assert_int_equal(forecast.n_points, 40);
}

/* The clock was set: what was recorded later counts. */
static void times(void **state)
{
    struct forecast_point points[POINTS_MAX];
    struct forecast forecast;
    size_t n = 0;

    /* the same time twice: the later one */
    for (size_t i = 0; i < 10; i++) {
        points[n++] = (struct forecast_point){ BEGIN + i * DAY, 77 };
        points[n++] = (struct forecast_point){ BEGIN + i * DAY, 100 + i };
    }
    forecast = make(points, n, false);
    assert_int_equal(forecast.n_points, 10);
    assert_near(forecast.per_day, 1);
    /* a year ahead for a while */
    n = 0;
    for (size_t i = 0; i < 30; i++)
        points[n++] = (struct forecast_point){
            BEGIN + i * DAY + (i >= 10 && i < 15 ? 365 * DAY : 0), 100 + 2 * i };
    forecast = make(points, n, false);
    assert_int_equal(forecast.n_points, 25);
    assert_near(forecast.per_day, 2);
    assert_int_equal(forecast.from, BEGIN);
    assert_int_equal(forecast.to, BEGIN + 29 * DAY);
    /* a year ahead until now, which is before them */
    n = 0;
    for (size_t i = 0; i < 30; i++)
        points[n++] = (struct forecast_point){
            BEGIN + i * DAY + (i >= 20 ? 365 * DAY : 0), 100 + 2 * i };
    assert_int_equal(forecast_make(points, n, false, BEGIN + 30 * DAY, &forecast), 0);
    assert_int_equal(forecast.n_points, 20);
    assert_near(forecast.per_day, 2);
    /* one time alone, and the epoch */
    for (size_t i = 0; i < 30; i++)
        points[i].at = BEGIN;
    forecast = make(points, 30, false);
    assert_int_equal(forecast.trend, TREND_UNKNOWN);
    assert_int_equal(forecast.n_points, 1);
    for (size_t i = 0; i < 30; i++)
        points[i].at = 0;
    assert_int_equal(forecast_make(points, 30, false, 0, &forecast), 0);
    assert_int_equal(forecast.n_points, 1);
}

static void many_points_are_thinned(void **state)
{
    static struct forecast_point points[POINTS_MAX];
    struct forecast forecast;

    for (size_t i = 0; i < POINTS_MAX; i++)
        points[i] = (struct forecast_point){ BEGIN + i * HOUR, 1000 + 5 * i };
    forecast = make(points, POINTS_MAX, false);
    assert_int_equal(forecast.n_points, 200);
    assert_near(forecast.per_day, 120);
    /* an hour with very many does not outvote the month */
    for (size_t i = 0; i < POINTS_MAX; i++)
        points[i].at = BEGIN + (i < POINTS_MAX - 30 ? i * SEC / 4
                                                    : (i + 31 - POINTS_MAX) * DAY);
    for (size_t i = 0; i < POINTS_MAX; i++)
        points[i].value = i < POINTS_MAX - 30 ? 1000000 + i
                                              : 1004065 + 100 * (i + 31 - POINTS_MAX);
    forecast = make(points, POINTS_MAX, false);
    assert_true(forecast.n_points < 40);
    assert_int_equal(forecast.trend, TREND_GROWS);
    assert_near(forecast.per_day, 100);
}

static void huge_values(void **state)
{
    struct forecast_point points[20];
    struct forecast forecast;
    struct reach reach;

    /* no digit of the small growth of a huge value is lost */
    for (size_t i = 0; i < 20; i++)
        points[i] = (struct forecast_point){ BEGIN + i * DAY, UINT64_MAX - 100 + i };
    forecast = make(points, 20, false);
    assert_int_equal(forecast.trend, TREND_GROWS);
    assert_near(forecast.per_day, 1);
    assert_true(forecast_reach(&forecast, UINT64_MAX - 71, false, forecast.to, &reach));
    assert_near((double)(reach.when - forecast.to), (double)(10 * DAY));
    /* from one end to the other, and times at their end */
    for (size_t i = 0; i < 20; i++)
        points[i] = (struct forecast_point){ UINT64_MAX - (20 - i) * DAY,
                                             i * (UINT64_MAX / 20) };
    assert_int_equal(forecast_make(points, 20, false, UINT64_MAX, &forecast), 0);
    assert_int_equal(forecast.trend, TREND_GROWS);
    assert_false(forecast_reach(&forecast, UINT64_MAX, false, UINT64_MAX - 1, &reach));
    /* all of time */
    for (size_t i = 0; i < 20; i++)
        points[i] = (struct forecast_point){ i * (UINT64_MAX / 20), i };
    assert_int_equal(forecast_make(points, 20, false, UINT64_MAX, &forecast), 0);
    assert_int_equal(forecast.trend, TREND_GROWS);
    assert_true(forecast.per_day > 0 && forecast.per_day < 1e-6);
    /* so slow that it never gets there */
    for (size_t i = 0; i < 20; i++)
        points[i] = (struct forecast_point){ BEGIN + i * DAY, i };
    forecast = make(points, 20, false);
    assert_true(forecast_reach(&forecast, UINT64_MAX, false, forecast.to, &reach));
    assert_true(reach.when == 0 && reach.earliest == 0 && reach.latest == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line),
        cmocka_unit_test(five_points),
        cmocka_unit_test(shapes),
        cmocka_unit_test(noise_is_rarely_a_trend),
        cmocka_unit_test(wandering_is_rarely_a_trend),
        cmocka_unit_test(steps),
        cmocka_unit_test(falls),
        cmocka_unit_test(times),
        cmocka_unit_test(many_points_are_thinned),
        cmocka_unit_test(huge_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
