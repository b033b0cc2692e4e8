/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The schedule under simulated time: due times, debounce, urgency, devices, holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/schedule/schedule.h"
#include "helpers/clock.h"

#define START (UINT64_C(1700000000) * USEC_PER_SEC)
#define DEBOUNCE (5 * USEC_PER_SEC)
#define INTERVAL (7 * 86400 * USEC_PER_SEC)
#define N_IMAGES 8

struct fixture {
    struct schedule *schedule;
    struct datastore datastores[2];
    struct image images[N_IMAGES];
    char names[N_IMAGES][24];
};

static struct schedule_options options_default(void)
{
    return (struct schedule_options){
        .workers = 2, .audit_interval = INTERVAL, .debounce = DEBOUNCE, .seed = 42,
    };
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct schedule_options options = options_default();

    assert_non_null(f);
    assert_int_equal(schedule_new(&options, &f->schedule), 0);
    for (size_t i = 0; i < N_IMAGES; i++) {
        snprintf(f->names[i], sizeof(f->names[i]), "/store/%zu.qcow2", i);
        f->images[i] =
            (struct image){ .path = f->names[i], .datastore = &f->datastores[0], .device = 1 };
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < N_IMAGES; i++)
        schedule_forget(f->schedule, &f->images[i]);
    schedule_free(f->schedule);
    free(f);
    return 0;
}

static struct image *next(struct fixture *f, uint64_t now, uint64_t *ret_wait)
{
    enum schedule_reason reason;
    uint64_t wait;

    return schedule_next(f->schedule, now, &reason, ret_wait ? ret_wait : &wait);
}

static void test_new_images_in_order(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < 3; i++)
        assert_int_equal(schedule_image(f->schedule, &f->images[i], SCHEDULE_NEW, START), 0);
    assert_int_equal(schedule_due(f->schedule, START), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(next(f, START, NULL), &f->images[i]);
        assert_int_equal(schedule_running(f->schedule), 1);
        assert_null(next(f, START, NULL));      /* one reader per device */
        schedule_done(f->schedule, &f->images[i], START);
    }
    assert_int_equal(schedule_due(f->schedule, START), 0);
}

static void test_forced_first(void **state)
{
    struct fixture *f = *state;
    enum schedule_reason reason;
    uint64_t wait;

    schedule_image(f->schedule, &f->images[0], SCHEDULE_NEW, START);
    schedule_image(f->schedule, &f->images[1], SCHEDULE_NEW, START);
    schedule_image(f->schedule, &f->images[2], SCHEDULE_FORCED, START);
    /* Nothing less urgent takes the force away. */
    schedule_image(f->schedule, &f->images[2], SCHEDULE_CHANGED, START);
    assert_ptr_equal(schedule_next(f->schedule, START, &reason, &wait), &f->images[2]);
    assert_int_equal(reason, SCHEDULE_FORCED);
}

static void test_one_reader_per_device(void **state)
{
    struct fixture *f = *state;
    struct image *first, *second;

    f->images[1].device = f->images[3].device = f->images[4].device = 2;
    f->images[4].device = 3;
    for (size_t i = 0; i < 5; i++)
        schedule_image(f->schedule, &f->images[i], SCHEDULE_NEW, START);
    first = next(f, START, NULL);
    second = next(f, START, NULL);
    assert_ptr_equal(first, &f->images[0]);
    assert_ptr_equal(second, &f->images[1]);
    assert_null(next(f, START, NULL));          /* both workers taken, though device 3 is idle */
    schedule_done(f->schedule, second, START);
    assert_ptr_equal(next(f, START, NULL), &f->images[4]);      /* devices take turns */
    schedule_done(f->schedule, first, START);
    assert_ptr_equal(next(f, START, NULL), &f->images[2]);
}

static void test_debounce_prolonged(void **state)
{
    struct fixture *f = *state;
    uint64_t now = START, wait;

    schedule_image(f->schedule, &f->images[0], SCHEDULE_CHANGED, now);
    assert_null(next(f, now, &wait));
    assert_int_equal(wait, DEBOUNCE);
    assert_true(schedule_is_wanted(f->schedule, &f->images[0], now));
    assert_false(schedule_is_due(f->schedule, &f->images[0], now));
    now += 4 * USEC_PER_SEC;
    schedule_image(f->schedule, &f->images[0], SCHEDULE_CHANGED, now);
    assert_null(next(f, START + DEBOUNCE, &wait));
    assert_int_equal(wait, 4 * USEC_PER_SEC);
    assert_ptr_equal(next(f, now + DEBOUNCE, NULL), &f->images[0]);
}

static void test_debounce_ends(void **state)
{
    struct fixture *f = *state;
    uint64_t now = START;

    /* A file that changes every second is audited once a minute all the same. */
    for (; now < START + 59 * USEC_PER_SEC; now += USEC_PER_SEC) {
        schedule_image(f->schedule, &f->images[0], SCHEDULE_CHANGED, now);
        assert_null(next(f, now, NULL));
    }
    schedule_image(f->schedule, &f->images[0], SCHEDULE_CHANGED, now);
    assert_ptr_equal(next(f, START + 12 * DEBOUNCE, NULL), &f->images[0]);
}

static void test_changed_while_running(void **state)
{
    struct fixture *f = *state;

    schedule_image(f->schedule, &f->images[0], SCHEDULE_NEW, START);
    assert_ptr_equal(next(f, START, NULL), &f->images[0]);
    schedule_image(f->schedule, &f->images[0], SCHEDULE_FORCED, START);
    assert_null(next(f, START, NULL));
    assert_true(schedule_is_due(f->schedule, &f->images[0], START));
    assert_true(schedule_is_wanted(f->schedule, &f->images[0], START));
    schedule_done(f->schedule, &f->images[0], START);
    assert_true(schedule_is_due(f->schedule, &f->images[0], START));
    assert_ptr_equal(next(f, START, NULL), &f->images[0]);
    schedule_done(f->schedule, &f->images[0], START);
    assert_false(schedule_is_due(f->schedule, &f->images[0], START));
    /* the interval is far */
    assert_false(schedule_is_wanted(f->schedule, &f->images[0], START));
}

static void test_interval_with_jitter(void **state)
{
    struct fixture *f = *state;
    struct audit audit = { .finished = START };
    uint64_t wait[N_IMAGES], again, distinct = 0;

    for (size_t i = 0; i < N_IMAGES; i++) {
        f->images[i].audit = &audit;
        schedule_image(f->schedule, &f->images[i], SCHEDULE_INTERVAL, START);
        assert_null(next(f, START, &wait[i]));
        assert_in_range(wait[i], INTERVAL - INTERVAL / 10, INTERVAL + INTERVAL / 10);
        schedule_forget(f->schedule, &f->images[i]);
        schedule_image(f->schedule, &f->images[i], SCHEDULE_INTERVAL, START);
        assert_null(next(f, START, &again));
        assert_int_equal(again, wait[i]);       /* fixed per image */
        schedule_forget(f->schedule, &f->images[i]);
        distinct += i > 0 && wait[i] != wait[0];
    }
    assert_true(distinct > 0);

    /* One never audited is due now; one audited long ago too; none when the interval is off. */
    f->images[1].audit = NULL;
    schedule_image(f->schedule, &f->images[0], SCHEDULE_INTERVAL, START + 2 * INTERVAL);
    schedule_image(f->schedule, &f->images[1], SCHEDULE_INTERVAL, START + 2 * INTERVAL);
    assert_int_equal(schedule_due(f->schedule, START + 2 * INTERVAL), 2);
}

static void test_interval_off(void **state)
{
    struct fixture *f = *state;
    struct schedule_options options = options_default();
    uint64_t wait;

    options.audit_interval = 0;
    schedule_set_options(f->schedule, &options);
    schedule_image(f->schedule, &f->images[0], SCHEDULE_NEW, START);
    assert_ptr_equal(next(f, START, NULL), &f->images[0]);
    schedule_done(f->schedule, &f->images[0], START);
    assert_null(next(f, START + 100 * INTERVAL, &wait));
    assert_int_equal(wait, UINT64_MAX);
}

static void test_interval_shortened(void **state)
{
    struct fixture *f = *state;
    struct schedule_options options = options_default();
    struct audit audit = { .finished = START };
    uint64_t wait;

    for (size_t i = 0; i < N_IMAGES; i++) {
        f->images[i].audit = &audit;
        schedule_image(f->schedule, &f->images[i], SCHEDULE_INTERVAL, START);
    }
    options.audit_interval = 3600 * USEC_PER_SEC;
    schedule_set_options(f->schedule, &options);
    assert_null(next(f, START, &wait));
    assert_in_range(wait, 3240 * USEC_PER_SEC, 3960 * USEC_PER_SEC);
    assert_int_equal(schedule_due(f->schedule, START + 3960 * USEC_PER_SEC), N_IMAGES);
}

static void test_hold(void **state)
{
    struct fixture *f = *state;
    uint64_t wait;

    f->images[1].datastore = &f->datastores[1];
    schedule_hold(f->schedule, &f->datastores[0], true);
    schedule_image(f->schedule, &f->images[0], SCHEDULE_FORCED, START);
    schedule_image(f->schedule, &f->images[1], SCHEDULE_NEW, START);
    assert_int_equal(schedule_due(f->schedule, START), 1);
    assert_ptr_equal(next(f, START, NULL), &f->images[1]);
    schedule_done(f->schedule, &f->images[1], START);
    assert_null(next(f, START, &wait));
    schedule_hold(f->schedule, &f->datastores[0], false);
    assert_ptr_equal(next(f, START, NULL), &f->images[0]);
}

static void test_forget_while_running(void **state)
{
    struct fixture *f = *state;

    schedule_image(f->schedule, &f->images[0], SCHEDULE_NEW, START);
    schedule_image(f->schedule, &f->images[1], SCHEDULE_NEW, START);
    assert_ptr_equal(next(f, START, NULL), &f->images[0]);
    schedule_forget(f->schedule, &f->images[0]);
    assert_int_equal(schedule_running(f->schedule), 0);
    schedule_done(f->schedule, &f->images[0], START);
    assert_ptr_equal(next(f, START, NULL), &f->images[1]);
}

/* Audits the one image that changes all the time for 10 s each, and counts what others get. */
static void run_beside_flapping(struct fixture *f, uint64_t until, unsigned *ret_audits)
{
    struct image *running = NULL;
    uint64_t ends = 0;

    for (uint64_t now = START; now < until; now += USEC_PER_SEC) {
        schedule_image(f->schedule, &f->images[0], SCHEDULE_CHANGED, now);
        if (running && now >= ends) {
            schedule_done(f->schedule, running, now);
            running = NULL;
        }
        if (!running) {
            running = next(f, now, NULL);
            ends = now + (running == &f->images[0] ? 10 : 1) * USEC_PER_SEC;
            if (running)
                ret_audits[running - f->images]++;
        }
    }
    if (running)
        schedule_done(f->schedule, running, until);
}

static void plan_periodic(struct fixture *f, struct audit *audits, const struct schedule_options *o)
{
    schedule_set_options(f->schedule, o);
    for (size_t i = 1; i < N_IMAGES; i++) {
        audits[i].finished = START;
        f->images[i].audit = &audits[i];
        schedule_image(f->schedule, &f->images[i], SCHEDULE_INTERVAL, START);
    }
}

static void test_flapping_image_leaves_room(void **state)
{
    struct fixture *f = *state;
    struct schedule_options options = options_default();
    struct audit audits[N_IMAGES] = { 0 };
    unsigned n[N_IMAGES] = { 0 };

    /* Its changes are audited without a pause: the device is never idle. */
    options.debounce = USEC_PER_SEC / 10;
    options.audit_interval = 600 * USEC_PER_SEC;
    options.delay = 60 * USEC_PER_SEC;
    plan_periodic(f, audits, &options);
    /* The latest is due after 660 s, and may be delayed by 60 s; then each takes turns. */
    run_beside_flapping(f, START + (660 + 60 + N_IMAGES * 11) * USEC_PER_SEC, n);
    for (size_t i = 1; i < N_IMAGES; i++)
        assert_int_equal(n[i], 1);
    assert_true(n[0] > 50);
}

static void test_delay_is_used(void **state)
{
    struct fixture *f = *state;
    struct schedule_options options = options_default();
    struct audit audits[N_IMAGES] = { 0 };
    unsigned n[N_IMAGES] = { 0 }, others = 0;

    options.debounce = USEC_PER_SEC / 10;
    options.audit_interval = 600 * USEC_PER_SEC;
    options.delay = 7200 * USEC_PER_SEC;
    plan_periodic(f, audits, &options);
    run_beside_flapping(f, START + 7200 * USEC_PER_SEC, n);
    for (size_t i = 1; i < N_IMAGES; i++)
        others += n[i];
    assert_int_equal(others, 0);
}

/* Where the workers are fewer than the devices, an image on one device delays those on another. */
static void test_flapping_on_another_device(void **state)
{
    struct fixture *f = *state;
    struct schedule_options options = options_default();
    struct audit audits[N_IMAGES] = { 0 };
    unsigned n[N_IMAGES] = { 0 };

    options.workers = 1;
    options.debounce = USEC_PER_SEC / 10;
    options.audit_interval = 600 * USEC_PER_SEC;
    options.delay = 60 * USEC_PER_SEC;
    for (size_t i = 1; i < N_IMAGES; i++) {
        f->images[i].device = 1 + i % 3;
        f->images[i].datastore = &f->datastores[i % 2];
    }
    plan_periodic(f, audits, &options);
    run_beside_flapping(f, START + (660 + 60 + N_IMAGES * 11) * USEC_PER_SEC, n);
    for (size_t i = 1; i < N_IMAGES; i++)
        assert_int_equal(n[i], 1);
}

static void test_overdue_take_turns(void **state)
{
    struct fixture *f = *state;
    struct schedule_options options = options_default();
    struct audit audits[N_IMAGES] = { 0 };
    uint64_t now = START + 2 * INTERVAL;
    enum schedule_reason reason;
    uint64_t wait;

    options.delay = 60 * USEC_PER_SEC;
    for (size_t i = 4; i < N_IMAGES; i++)
        schedule_image(f->schedule, &f->images[i], SCHEDULE_NEW, now);
    schedule_set_options(f->schedule, &options);
    for (size_t i = 0; i < 4; i++) {
        audits[i].finished = START;
        f->images[i].audit = &audits[i];
        schedule_image(f->schedule, &f->images[i], SCHEDULE_INTERVAL, now);
    }
    /* What is overdue delays nobody for ever either, and what somebody asked for is next. */
    for (size_t i = 0; i < N_IMAGES; i++) {
        struct image *image = schedule_next(f->schedule, now, &reason, &wait);

        assert_non_null(image);
        assert_int_equal(reason, i == 6            ? SCHEDULE_FORCED
                                 : i < 6 && i % 2 ? SCHEDULE_INTERVAL
                                 : i == 7         ? SCHEDULE_INTERVAL
                                                  : SCHEDULE_NEW);
        schedule_done(f->schedule, image, now);
        if (i == 5)
            schedule_image(f->schedule, &f->images[7], SCHEDULE_FORCED, now);
    }
}

/* New images of a stranger, before and after another one's change: that waits for one of them. */
static void test_owners_take_turns(void **state)
{
    struct fixture *f = *state;
    enum schedule_reason reason;
    uint64_t wait;

    f->images[6].fingerprint.uid = 1000;
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(schedule_image(f->schedule, &f->images[i], SCHEDULE_NEW, START), 0);
    assert_ptr_equal(next(f, START, NULL), &f->images[0]);
    assert_int_equal(schedule_image(f->schedule, &f->images[6], SCHEDULE_CHANGED, START), 0);
    schedule_done(f->schedule, &f->images[0], START);
    assert_ptr_equal(next(f, START, NULL), &f->images[1]);
    schedule_done(f->schedule, &f->images[1], START);
    assert_ptr_equal(schedule_next(f->schedule, START + DEBOUNCE, &reason, &wait), &f->images[6]);
    assert_int_equal(reason, SCHEDULE_CHANGED);
    schedule_done(f->schedule, &f->images[6], START + DEBOUNCE);
    assert_ptr_equal(next(f, START + DEBOUNCE, NULL), &f->images[2]);
    schedule_done(f->schedule, &f->images[2], START + DEBOUNCE);
    /* Who changes his image for ever has every second audit, and no more. */
    for (size_t i = 3; i < 5; i++) {
        assert_int_equal(schedule_image(f->schedule, &f->images[6], SCHEDULE_NEW, START), 0);
        assert_ptr_equal(next(f, START + DEBOUNCE, NULL), &f->images[6]);
        schedule_done(f->schedule, &f->images[6], START + DEBOUNCE);
        assert_int_equal(schedule_image(f->schedule, &f->images[6], SCHEDULE_NEW, START), 0);
        assert_ptr_equal(next(f, START + DEBOUNCE, NULL), &f->images[i]);
        schedule_done(f->schedule, &f->images[i], START + DEBOUNCE);
    }
    /* A change of owner is seen when it is planned again. */
    f->images[5].fingerprint.uid = 1000;
    assert_int_equal(schedule_image(f->schedule, &f->images[5], SCHEDULE_FORCED, START), 0);
    assert_ptr_equal(next(f, START + DEBOUNCE, NULL), &f->images[5]);
}

/* The same among images of one owner, who may be many behind one user. */
static void test_new_ones_do_not_delay_a_change(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < 6; i++)
        assert_int_equal(schedule_image(f->schedule, &f->images[i], SCHEDULE_NEW, START), 0);
    assert_ptr_equal(next(f, START, NULL), &f->images[0]);
    assert_int_equal(schedule_image(f->schedule, &f->images[6], SCHEDULE_CHANGED, START), 0);
    schedule_done(f->schedule, &f->images[0], START + DEBOUNCE);
    assert_ptr_equal(next(f, START + DEBOUNCE, NULL), &f->images[6]);
    schedule_done(f->schedule, &f->images[6], START + DEBOUNCE);
    assert_ptr_equal(next(f, START + DEBOUNCE, NULL), &f->images[1]);
}

/* Two owners' periodic audits are long overdue, and a third one's image changes for ever: on one
 * device they take turns all the same. */
static void test_overdue_of_several(void **state)
{
    struct fixture *f = *state;
    struct schedule_options options = options_default();
    struct audit audits[N_IMAGES] = { 0 };
    uint64_t now = START + 2 * INTERVAL;
    unsigned changed = 0;

    options.workers = 1;
    options.delay = 60 * USEC_PER_SEC;
    schedule_set_options(f->schedule, &options);
    for (size_t i = 1; i < N_IMAGES; i++) {
        f->images[i].fingerprint.uid = 1000 + i % 2;
        audits[i].finished = START;
        f->images[i].audit = &audits[i];
        assert_int_equal(schedule_image(f->schedule, &f->images[i], SCHEDULE_INTERVAL, START), 0);
    }
    for (unsigned i = 0; i < 6; i++) {
        struct image *image;

        assert_int_equal(schedule_image(f->schedule, &f->images[0], SCHEDULE_NEW, now), 0);
        image = next(f, now, NULL);
        changed += image == &f->images[0];
        schedule_done(f->schedule, image, now);
    }
    assert_int_equal(changed, 3);
}

static void test_again_less_and_less(void **state)
{
    struct fixture *f = *state;
    enum schedule_reason reason;
    uint64_t wait, now = START;

    for (unsigned i = 1; i < 20; i++) {
        f->images[0].n_denied = i;
        schedule_image(f->schedule, &f->images[0], SCHEDULE_AGAIN, now);
        /* The walks meanwhile change nothing about it. */
        schedule_image(f->schedule, &f->images[0], SCHEDULE_INTERVAL, now);
        schedule_image(f->schedule, &f->images[0], SCHEDULE_AGAIN, now + USEC_PER_SEC / 2);
        assert_null(next(f, now, &wait));
        assert_int_equal(wait, USEC_PER_SEC << (i < 13 ? i - 1 : 12));
        now += wait;
        assert_ptr_equal(schedule_next(f->schedule, now, &reason, &wait), &f->images[0]);
        assert_int_equal(reason, SCHEDULE_AGAIN);
        schedule_done(f->schedule, &f->images[0], now);
    }
}

static void test_confirm_yields(void **state)
{
    struct fixture *f = *state;
    enum schedule_reason reason;
    uint64_t wait;

    schedule_image(f->schedule, &f->images[0], SCHEDULE_CONFIRM, START);
    assert_null(next(f, START, &wait));
    assert_int_equal(wait, 12 * DEBOUNCE);
    schedule_image(f->schedule, &f->images[0], SCHEDULE_CHANGED, START);
    schedule_image(f->schedule, &f->images[0], SCHEDULE_CONFIRM, START);
    assert_ptr_equal(schedule_next(f->schedule, START + DEBOUNCE, &reason, &wait), &f->images[0]);
    assert_int_equal(reason, SCHEDULE_CHANGED);
}

static void test_confirm_never_at_once(void **state)
{
    struct fixture *f = *state;
    struct schedule_options options = options_default();
    uint64_t wait;

    options.debounce = 0;
    schedule_set_options(f->schedule, &options);
    schedule_image(f->schedule, &f->images[0], SCHEDULE_CONFIRM, START);
    assert_null(next(f, START, &wait));
    assert_int_equal(wait, USEC_PER_SEC);
    schedule_image(f->schedule, &f->images[0], SCHEDULE_CHANGED, START);
    assert_ptr_equal(next(f, START, NULL), &f->images[0]);
}

/* 100,000 images on 4 devices: everything is handed out once, in time that heaps allow. */
static void test_many(void **state)
{
    enum { N = 100000 };
    struct fixture *f = *state;
    struct image *images = calloc(N, sizeof(*images));
    char (*names)[24] = calloc(N, sizeof(*names));
    size_t n = 0, n_running = 0;
    struct image *running[2];

    assert_non_null(images);
    assert_non_null(names);
    for (size_t i = 0; i < N; i++) {
        snprintf(names[i], sizeof(names[i]), "/store/%zu", i);
        images[i] =
            (struct image){ .path = names[i], .datastore = &f->datastores[i & 1], .device = i % 4 };
        assert_int_equal(schedule_image(f->schedule, &images[i], SCHEDULE_NEW, START + i % 1000),
                         0);
    }
    assert_int_equal(schedule_due(f->schedule, START + 1000), N);
    while (n < N) {
        struct image *image = next(f, START + 1000, NULL);

        if (image) {
            image->walk++;
            running[n_running++] = image;
            n++;
            continue;
        }
        assert_int_not_equal(n_running, 0);
        schedule_done(f->schedule, running[--n_running], START + 1000);
    }
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(images[i].walk, 1);
        schedule_forget(f->schedule, &images[i]);
    }
    free(names);
    free(images);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_new_images_in_order), T(test_forced_first), T(test_one_reader_per_device),
        T(test_debounce_prolonged), T(test_debounce_ends), T(test_changed_while_running),
        T(test_interval_with_jitter), T(test_interval_off), T(test_interval_shortened),
        T(test_hold),
        T(test_flapping_image_leaves_room), T(test_delay_is_used),
        T(test_flapping_on_another_device), T(test_overdue_take_turns),
        T(test_again_less_and_less), T(test_owners_take_turns),
        T(test_overdue_of_several), T(test_new_ones_do_not_delay_a_change),
        T(test_forget_while_running), T(test_confirm_yields), T(test_confirm_never_at_once),
        T(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
