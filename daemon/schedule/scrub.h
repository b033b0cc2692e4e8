/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whose data is read again next: those that are due, within the window of the day, one at a time on
 * each backing device. Those who own files take turns, and of each: those that were verified
 * before, those that never were, and those that were cut short; the one that was verified (or cut)
 * longest ago first. Pure: the time is passed in. */
#pragma once

#include "daemon/core/datastore.h"
#include "daemon/core/image.h"

struct scrubs;

struct scrubs_options {
    unsigned workers;           /* at most so many under way */
    uint64_t window;            /* as in struct config */
    uint64_t slice;             /* usec: so long may one read while others wait; 0: to its end */
};

int scrubs_new(const struct scrubs_options *options, struct scrubs **ret_scrubs);
struct scrubs *scrubs_free(struct scrubs *scrubs);
void scrubs_set_options(struct scrubs *scrubs, const struct scrubs_options *options);

/* Due from then on (usec; UINT64_MAX: no more, unless it was demanded); verified: usec of the last
 * time, 0 never. Nothing for one under way: it is planned anew when it is done. -ENOMEM. */
int scrubs_plan(struct scrubs *scrubs, struct image *image, uint64_t due, uint64_t verified);
/* Due now, before all others, in the window or not. */
int scrubs_demand(struct scrubs *scrubs, struct image *image);
void scrubs_forget(struct scrubs *scrubs, struct image *image);
/* Images of a paused or offline datastore are not handed out. */
void scrubs_hold(struct scrubs *scrubs, const struct datastore *datastore, bool hold);

/* The next one, which is under way then; NULL when there is none now: *ret_wait is usec until it is
 * worth asking again, UINT64_MAX when only an event can change it. */
struct image *scrubs_next(struct scrubs *scrubs, uint64_t now, uint64_t *ret_wait);
/* Ends an image's scrub. retry: the image was not read to its end, and is to be taken up again from
 * then on (usec); 0: it was, and must be planned anew. */
void scrubs_done(struct scrubs *scrubs, struct image *image, uint64_t retry);

/* One under way whose slice is over while another waits for its place: to be stopped. NULL when
 * there is none: *ret_wait is usec until it is worth asking again. */
struct image *scrubs_expired(struct scrubs *scrubs, uint64_t now, uint64_t *ret_wait);
/* The caller stops the scrub for that, and calls scrubs_done() then; the scrub goes on in its turn,
 * for twice as long where what it read is not kept. */
void scrubs_cut(struct scrubs *scrubs, struct image *image, uint64_t now, bool kept);

/* Its demand is met, or cannot be. */
void scrubs_content(struct scrubs *scrubs, struct image *image);

bool scrubs_is_running(const struct scrubs *scrubs, const struct image *image);
/* Was it demanded, and is not done? */
bool scrubs_is_demanded(const struct scrubs *scrubs, const struct image *image);
/* May one that is due run now, or must it wait for the window? *ret_change (may be NULL): usec
 * until that changes. */
bool scrubs_window_is_open(const struct scrubs *scrubs, uint64_t now, uint64_t *ret_change);
size_t scrubs_running(const struct scrubs *scrubs);
size_t scrubs_due(const struct scrubs *scrubs, uint64_t now);       /* not under way yet */
