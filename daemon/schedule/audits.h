/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which image is to be audited next: due times, jitter, priority, one reader per backing device.
 * Pure: the time is passed in. */
#pragma once

#include "daemon/core/datastore.h"
#include "daemon/core/image.h"

struct schedule;

enum schedule_reason {
    SCHEDULE_NEW,
    SCHEDULE_CHANGED,
    SCHEDULE_FORCED,
    SCHEDULE_INTERVAL,
    SCHEDULE_CONFIRM,
    SCHEDULE_AGAIN
};

struct schedule_options {
    unsigned workers;           /* at most so many under way */
    uint64_t audit_interval;    /* usec, 0 never */
    uint64_t debounce;          /* usec */
    uint64_t delay;             /* usec that others may make a periodic audit wait */
    uint64_t seed;              /* of the jitter (±10 % of the interval, fixed per image) */
};

int schedule_new(const struct schedule_options *options, struct schedule **ret_schedule);
struct schedule *schedule_free(struct schedule *schedule);
void schedule_set_options(struct schedule *schedule, const struct schedule_options *options);

/* The image is to be audited: SCHEDULE_NEW and FORCED at once (FORCED first), CHANGED after the
 * debounce (which further changes prolong, but no longer than 12 times), INTERVAL at last audit +
 * interval ± jitter, CONFIRM (a second look at an image in use) after 12 times the debounce, at
 * least 1 s, AGAIN (what could not be had) after 1 s, doubled with each of image->n_denied up to
 * 68 min. A plan that is more urgent stands; a change puts off everything but FORCED. An image
 * under way runs again afterwards. All times, those of audits too, are on one clock, usec. */
int schedule_image(struct schedule *schedule, struct image *image, enum schedule_reason reason,
                   uint64_t now);
void schedule_forget(struct schedule *schedule, struct image *image);
/* Images of a paused or offline datastore are not handed out. */
void schedule_hold(struct schedule *schedule, const struct datastore *datastore, bool hold);

/* Datastores, devices, the owners of files, and of each the new ones and the others take turns in
 * what is equally urgent, but for FORCED: whoever makes many images delays his own new ones.
 *
 * INTERVAL comes last, until it waited for options.delay: from then on it takes turns with all but
 * FORCED, so that whoever changes images, or makes new ones, for ever takes half of a device.
 *
 * The next image to audit now, marked as under way; NULL when none is due, all workers are taken,
 * or its device has a reader (unless there is only one device: still one reader). *ret_wait is usec
 * until it is worth asking again. */
struct image *schedule_next(struct schedule *schedule, uint64_t now,
                            enum schedule_reason *ret_reason, uint64_t *ret_wait);
/* The audit ended; it is due again by the interval. */
void schedule_done(struct schedule *schedule, struct image *image, uint64_t now);
/* Under way, or to be audited by now (even where held). */
bool schedule_is_due(const struct schedule *schedule, const struct image *image, uint64_t now);
/* The same, or waits for the end of its changes. */
bool schedule_is_wanted(const struct schedule *schedule, const struct image *image, uint64_t now);
/* due and not held, or under way */
size_t schedule_due(const struct schedule *schedule, uint64_t now);
size_t schedule_running(const struct schedule *schedule);
