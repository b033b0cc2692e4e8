/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The queue of scrubs under simulated time: order, window, devices, what was demanded; and the
 * gauge of pressure. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "daemon/schedule/schedule.h"
#include "helpers/clock.h"

#define START (UINT64_C(1700000000) * USEC_PER_SEC)     /* 2023-11-14 22:13:20 UTC */
#define HOUR (3600 * USEC_PER_SEC)
#define MINUTE (60 * USEC_PER_SEC)
#define N_IMAGES 6

struct fixture {
    struct scrubs *scrubs;
    struct datastore datastores[2];
    struct image images[N_IMAGES];
};

static int setup(void **state)
{
    static const struct scrubs_options options = { .workers = 2 };
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    setenv("TZ", "UTC", 1);
    tzset();
    assert_int_equal(scrubs_new(&options, &f->scrubs), 0);
    for (size_t i = 0; i < N_IMAGES; i++)
        f->images[i] = (struct image){ .datastore = &f->datastores[0], .device = i < 4 ? 1 : 2 };
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    scrubs_free(f->scrubs);
    for (size_t i = 0; i < N_IMAGES; i++)
        assert_null(f->images[i].scrub);
    free(f);
    return 0;
}

static struct image *next(struct fixture *f, uint64_t now)
{
    uint64_t wait;

    return scrubs_next(f->scrubs, now, &wait);
}

static uint64_t wait_of(struct fixture *f, uint64_t now)
{
    uint64_t wait;

    assert_null(scrubs_next(f->scrubs, now, &wait));
    return wait;
}

static void test_oldest_first(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(wait_of(f, START), UINT64_MAX);
    assert_int_equal(scrubs_plan(f->scrubs, &f->images[0], START - 5, START - 100), 0);
    assert_int_equal(scrubs_plan(f->scrubs, &f->images[1], START - 1, START - 300), 0);
    assert_int_equal(scrubs_plan(f->scrubs, &f->images[2], START, 0), 0);
    assert_int_equal(scrubs_plan(f->scrubs, &f->images[3], START + HOUR, 0), 0);
    assert_int_equal(scrubs_due(f->scrubs, START), 3);
    for (size_t i = 3; i-- > 0;) {
        size_t which = i == 2 ? 2 : i == 1 ? 1 : 0;

        assert_ptr_equal(next(f, START), &f->images[which]);
        assert_true(scrubs_is_running(f->scrubs, &f->images[which]));
        assert_null(next(f, START));            /* one reader per device */
        scrubs_done(f->scrubs, &f->images[which], 0);
        assert_null(f->images[which].scrub);
    }
    assert_int_equal(wait_of(f, START), HOUR);
    assert_int_equal(wait_of(f, START + MINUTE), HOUR - MINUTE);
    assert_ptr_equal(next(f, START + HOUR), &f->images[3]);
    scrubs_forget(f->scrubs, &f->images[3]);
    assert_int_equal(scrubs_running(f->scrubs), 0);
}

static void test_devices_and_workers(void **state)
{
    struct fixture *f = *state;
    const struct scrubs_options one = { .workers = 1 };

    for (size_t i = 0; i < N_IMAGES; i++)
        assert_int_equal(scrubs_plan(f->scrubs, &f->images[i], START, START - 10 + i), 0);
    assert_ptr_equal(next(f, START), &f->images[0]);
    assert_ptr_equal(next(f, START), &f->images[4]);
    assert_null(next(f, START));
    scrubs_set_options(f->scrubs, &one);
    scrubs_done(f->scrubs, &f->images[0], 0);
    assert_null(next(f, START));
    scrubs_done(f->scrubs, &f->images[4], 0);
    assert_ptr_equal(next(f, START), &f->images[1]);
}

static void test_interrupted(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(scrubs_plan(f->scrubs, &f->images[0], START, 0), 0);
    assert_ptr_equal(next(f, START), &f->images[0]);
    /* nothing while it runs */
    assert_int_equal(scrubs_plan(f->scrubs, &f->images[0], UINT64_MAX, 0), 0);
    scrubs_done(f->scrubs, &f->images[0], START + MINUTE);
    assert_int_equal(wait_of(f, START), MINUTE);
    assert_ptr_equal(next(f, START + MINUTE), &f->images[0]);
    scrubs_done(f->scrubs, &f->images[0], START + 2 * MINUTE);
    assert_int_equal(scrubs_plan(f->scrubs, &f->images[0], UINT64_MAX, 0), 0);
    assert_int_equal(wait_of(f, START + HOUR), UINT64_MAX);
}

static void test_demanded(void **state)
{
    struct fixture *f = *state;
    const struct scrubs_options night = { .workers = 2, .window = 23 * 60 << 16 | 5 * 60 };

    scrubs_set_options(f->scrubs, &night);
    assert_int_equal(scrubs_plan(f->scrubs, &f->images[0], START - HOUR, 0), 0);
    assert_int_equal(scrubs_demand(f->scrubs, &f->images[1]), 0);
    assert_ptr_equal(next(f, START), &f->images[1]);
    assert_true(scrubs_is_demanded(f->scrubs, &f->images[1]));
    scrubs_done(f->scrubs, &f->images[1], START + MINUTE);
    assert_true(scrubs_is_demanded(f->scrubs, &f->images[1]));      /* until it was read */
    assert_int_equal(wait_of(f, START), MINUTE);
    assert_ptr_equal(next(f, START + MINUTE), &f->images[1]);
    scrubs_content(f->scrubs, &f->images[1]);
    scrubs_done(f->scrubs, &f->images[1], START + 2 * MINUTE);
    assert_false(scrubs_is_demanded(f->scrubs, &f->images[1]));
    assert_null(next(f, START + 3 * MINUTE));
}

/* 22:13:20 now. */
static void test_window(void **state)
{
    struct fixture *f = *state;
    struct scrubs_options options = { .workers = 1 };
    uint64_t change;

    assert_true(scrubs_window_is_open(f->scrubs, START, &change));
    assert_int_equal(change, UINT64_MAX);
    options.window = 23 * 60 << 16 | 5 * 60;
    scrubs_set_options(f->scrubs, &options);
    assert_false(scrubs_window_is_open(f->scrubs, START, &change));
    assert_int_equal(change, 46 * MINUTE + 40 * USEC_PER_SEC);
    assert_int_equal(scrubs_plan(f->scrubs, &f->images[0], START, 0), 0);
    assert_int_equal(wait_of(f, START), change);
    assert_false(scrubs_window_is_open(f->scrubs, START + change - 1, NULL));
    assert_true(scrubs_window_is_open(f->scrubs, START + change, &change));
    assert_int_equal(change, 6 * HOUR);
    assert_ptr_equal(next(f, START + 47 * MINUTE), &f->images[0]);
    assert_true(scrubs_window_is_open(f->scrubs, START + 6 * HOUR, NULL));
    assert_false(scrubs_window_is_open(f->scrubs, START + 7 * HOUR, NULL));
    options.window = 8 * 60 << 16 | 24 * 60;
    scrubs_set_options(f->scrubs, &options);
    assert_true(scrubs_window_is_open(f->scrubs, START, &change));
    assert_int_equal(change, HOUR + 46 * MINUTE + 40 * USEC_PER_SEC);
    assert_false(scrubs_window_is_open(f->scrubs, START + change, NULL));
}

static void test_held(void **state)
{
    struct fixture *f = *state;

    f->images[4].datastore = &f->datastores[1];
    assert_int_equal(scrubs_plan(f->scrubs, &f->images[0], START, 0), 0);
    assert_int_equal(scrubs_plan(f->scrubs, &f->images[4], START, 1), 0);
    scrubs_hold(f->scrubs, &f->datastores[0], true);
    assert_ptr_equal(next(f, START), &f->images[4]);
    assert_null(next(f, START));
    scrubs_hold(f->scrubs, &f->datastores[0], false);
    assert_ptr_equal(next(f, START), &f->images[0]);
}

/* ---- turns -------------------------------------------------------------------------------- */

/* New images without end, however old they say that they are, do not keep one from being verified
 * again; nor do those of one owner keep another's. */
static void test_turns(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(scrubs_plan(f->scrubs, &f->images[3], START, START - HOUR), 0);
    f->images[2].fingerprint.uid = 1000;
    assert_int_equal(scrubs_plan(f->scrubs, &f->images[2], START, 0), 0);
    for (unsigned round = 0, seen = 0; seen != 3; round++) {
        struct image *image;

        assert_true(round < 3);
        for (size_t i = 0; i < 2; i++)
            assert_int_equal(scrubs_plan(f->scrubs, &f->images[i], 1, 0), 0);
        image = next(f, START);
        assert_non_null(image);
        seen |= image == &f->images[3] ? 1 : image == &f->images[2] ? 2 : 0;
        scrubs_done(f->scrubs, image, 0);
    }
}

/* One that takes longer than a slice lets the others have theirs. */
static void test_slices(void **state)
{
    struct fixture *f = *state;
    const struct scrubs_options options = { .workers = 2, .slice = 10 * MINUTE };
    uint64_t now = START, wait;

    scrubs_set_options(f->scrubs, &options);
    assert_int_equal(scrubs_plan(f->scrubs, &f->images[0], 1, 0), 0);
    assert_ptr_equal(next(f, now), &f->images[0]);
    assert_null(scrubs_expired(f->scrubs, now, &wait));
    assert_int_equal(wait, 10 * MINUTE);
    /* Nobody waits: on. */
    now += 11 * MINUTE;
    assert_null(scrubs_expired(f->scrubs, now, &wait));
    assert_int_equal(wait, MINUTE);
    assert_int_equal(scrubs_plan(f->scrubs, &f->images[4], now, 0), 0);     /* another device */
    assert_ptr_equal(next(f, now), &f->images[4]);
    assert_int_equal(scrubs_plan(f->scrubs, &f->images[1], now + HOUR, 0), 0);  /* not due */
    now += MINUTE;
    assert_null(scrubs_expired(f->scrubs, now, &wait));
    for (size_t i = 1; i < 3; i++)
        assert_int_equal(scrubs_plan(f->scrubs, &f->images[i], now, START - HOUR), 0);
    now += MINUTE;
    assert_ptr_equal(scrubs_expired(f->scrubs, now, &wait), &f->images[0]);
    scrubs_cut(f->scrubs, &f->images[0], now, false);
    scrubs_done(f->scrubs, &f->images[0], now);
    assert_ptr_equal(next(f, now), &f->images[1]);
    scrubs_done(f->scrubs, &f->images[1], 0);
    /* What was cut has its turn among the others, and twice as long, as it begins anew. */
    assert_ptr_equal(next(f, now), &f->images[0]);
    now += 10 * MINUTE;
    assert_null(scrubs_expired(f->scrubs, now, &wait));
    now += 10 * MINUTE;
    assert_ptr_equal(scrubs_expired(f->scrubs, now, &wait), &f->images[0]);
    scrubs_cut(f->scrubs, &f->images[0], now, true);
    scrubs_done(f->scrubs, &f->images[0], now);
    assert_ptr_equal(next(f, now), &f->images[2]);
    /* Somebody's demand is read to its end, but for another's. */
    scrubs_done(f->scrubs, &f->images[2], 0);
    assert_int_equal(scrubs_demand(f->scrubs, &f->images[3]), 0);
    assert_ptr_equal(next(f, now), &f->images[3]);
    now += HOUR;
    assert_null(scrubs_expired(f->scrubs, now, &wait));
    assert_int_equal(scrubs_demand(f->scrubs, &f->images[0]), 0);
    now += HOUR;
    assert_ptr_equal(scrubs_expired(f->scrubs, now, &wait), &f->images[3]);
}

/* ---- pressure ----------------------------------------------------------------------------- */

struct host {
    struct pressure_gauge gauge;
    struct pressure_sample sample;
    bool paused;
    uint64_t n_paused, n_steps;     /* usec */
};

/* Lets time pass with others waiting for so much of it (parts per 10,000), and us for so much while
 * we read. */
static void pass(struct host *host, uint64_t usec, uint64_t others, uint64_t own)
{
    uint64_t wait = USEC_PER_SEC / 10;

    for (uint64_t left = usec, step; left > 0; left -= step) {
        uint64_t ours = host->paused ? 0 : own;

        step = wait < left ? wait : left;
        host->sample.at += step;
        host->sample.own += step * ours / 10000;
        host->sample.all += step * (ours + others - ours * others / 10000) / 10000;
        if (host->paused)
            host->n_paused += step;
        host->paused = pressure_gauge_take(&host->gauge, &host->sample, &wait);
        assert_true(wait > 0 && wait <= 10 * USEC_PER_SEC);
    }
}

static void begin(struct host *host)
{
    assert_true(pressure_gauge_start(&host->gauge, 1000, &host->sample) > 0);
    host->paused = true;
}

static void test_pressure(void **state)
{
    for (unsigned has_own = 0; has_own < 2; has_own++) {
        struct host host = {
            .sample = { .at = 5 * USEC_PER_SEC, .all = 12345, .own = 678, .has_own = has_own }
        };

        /* A reader alone on an idle host, which waits nearly all of the time, goes on. */
        begin(&host);
        pass(&host, 300 * USEC_PER_SEC, 0, 8700);
        assert_true(host.n_paused < 300 * USEC_PER_SEC / 15);
        assert_int_not_equal(host.gauge.phase, PRESSURE_PAUSED);
        /* Others begin to wait: it is seen beside our own waiting, and it stays so while they
         * do. */
        pass(&host, 15 * USEC_PER_SEC, 3000, 8700);
        assert_true(host.paused);
        assert_int_equal(host.gauge.phase, PRESSURE_PAUSED);
        assert_in_range(host.gauge.others, 2900, 3100);
        pass(&host, 100 * USEC_PER_SEC, 3000, 8700);
        assert_int_equal(host.gauge.phase, PRESSURE_PAUSED);
        /* A little less is not enough to begin again. */
        pass(&host, 100 * USEC_PER_SEC, 700, 8700);
        assert_int_equal(host.gauge.phase, PRESSURE_PAUSED);
        pass(&host, 10 * USEC_PER_SEC, 100, 8700);
        assert_int_not_equal(host.gauge.phase, PRESSURE_PAUSED);
    }
}

/* Where others wait already nothing is read at all; where they begin to, it is seen within two
 * seconds. */
static void test_pressure_soon(void **state)
{
    struct host host = { .sample = { .at = 1 } };

    begin(&host);
    pass(&host, 60 * USEC_PER_SEC, 3000, 8700);
    assert_int_equal(host.n_paused, 60 * USEC_PER_SEC);
    host = (struct host) { .sample = { .at = 1 } };
    begin(&host);
    pass(&host, 60 * USEC_PER_SEC, 0, 8700);
    host.n_paused = 0;
    pass(&host, 60 * USEC_PER_SEC, 3000, 8700);
    assert_true(host.n_paused > 58 * USEC_PER_SEC);
}

/* Where the own share is known and small, nobody has to stop for the measure. */
static void test_pressure_beside(void **state)
{
    struct host host = { .sample = { .at = 1, .has_own = true } };

    begin(&host);
    pass(&host, 300 * USEC_PER_SEC, 500, 6000);
    assert_true(host.n_paused < USEC_PER_SEC);      /* the glance before it began */
    assert_in_range(host.gauge.others, 450, 550);
    pass(&host, 3 * USEC_PER_SEC, 2000, 6000);
    assert_true(host.paused);
    /* Counters that begin again tell nothing, and do no harm. */
    host.sample.all = host.sample.own = 0;
    pass(&host, 10 * USEC_PER_SEC, 0, 6000);
    assert_false(host.paused);
}

static void test_texts(void **state)
{
    char *path = NULL;
    uint64_t usec = 0;

    assert_int_equal(pressure_parse("some avg10=0.45 avg60=0.45 avg300=0.48 total=287661578\n"
                                    "full avg10=0.10 avg60=0.05 avg300=0.25 "
                                    "total=55585448\n", &usec), 0);
    assert_int_equal(usec, 287661578);
    assert_int_equal(pressure_parse("full total=3\nsome total=4", &usec), 0);
    assert_int_equal(usec, 4);
    assert_int_equal(pressure_parse("", &usec), -EBADMSG);
    assert_int_equal(pressure_parse("some avg10=0\nfull total=9", &usec), -EBADMSG);
    assert_int_equal(pressure_parse("some total=x", &usec), -EBADMSG);
    assert_int_equal(usec, 4);
    assert_int_equal(pressure_own_group("9:name=systemd:/a\n0::/system.slice/qcauditd.service\n",
                                        &path),
                     0);
    assert_string_equal(path, "/system.slice/qcauditd.service");
    free(path);
    path = NULL;
    assert_int_equal(pressure_own_group("0::/\n", &path), -ENOENT);
    assert_int_equal(pressure_own_group("1:cpu:/a\n", &path), -ENOENT);
    assert_int_equal(pressure_own_group("", &path), -ENOENT);
    assert_null(path);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_oldest_first), T(test_devices_and_workers), T(test_interrupted), T(test_demanded),
        T(test_window),
        T(test_held), T(test_turns), T(test_slices),
        cmocka_unit_test(test_pressure), cmocka_unit_test(test_pressure_soon),
        cmocka_unit_test(test_pressure_beside),
        cmocka_unit_test(test_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
