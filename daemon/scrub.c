/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whose data is read again next: a list of those planned, looked through when something changed. */
#include "daemon/scrub.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define MINUTES_PER_DAY 1440

struct scrub {
    struct image *image;
    size_t index;               /* in the list */
    uint64_t due;               /* usec, UINT64_MAX never */
    uint64_t not_before;        /* usec: after it was interrupted */
    uint64_t verified;
    uint64_t device;            /* that it runs on */
    bool demanded, running;
};

struct scrubs {
    struct scrubs_options options;
    struct scrub **items;
    size_t n_items, n_allocated;
    const struct datastore **held;
    size_t n_held;
    size_t n_running;
    bool changed;               /* since scrubs_next() found nothing, which holds until */
    uint64_t nothing_until;
};

int scrubs_new(const struct scrubs_options *options, struct scrubs **ret_scrubs)
{
    struct scrubs *scrubs = calloc(1, sizeof(*scrubs));

    if (!scrubs)
        return -ENOMEM;
    scrubs->options = *options;
    scrubs->changed = true;
    *ret_scrubs = scrubs;
    return 0;
}

struct scrubs *scrubs_free(struct scrubs *scrubs)
{
    if (!scrubs)
        return NULL;
    for (size_t i = 0; i < scrubs->n_items; i++) {
        scrubs->items[i]->image->scrub = NULL;
        free(scrubs->items[i]);
    }
    free(scrubs->items);
    free(scrubs->held);
    free(scrubs);
    return NULL;
}

void scrubs_set_options(struct scrubs *scrubs, const struct scrubs_options *options)
{
    scrubs->options = *options;
    scrubs->changed = true;
}

static int scrub_get(struct scrubs *scrubs, struct image *image, struct scrub **ret_scrub)
{
    struct scrub *scrub = image->scrub;

    if (!scrub) {
        if (scrubs->n_items == scrubs->n_allocated) {
            size_t n = scrubs->n_allocated ? scrubs->n_allocated * 2 : 64;
            struct scrub **items = reallocarray(scrubs->items, n, sizeof(*items));

            if (!items)
                return -ENOMEM;
            scrubs->items = items;
            scrubs->n_allocated = n;
        }
        scrub = malloc(sizeof(*scrub));
        if (!scrub)
            return -ENOMEM;
        *scrub = (struct scrub){ .image = image, .index = scrubs->n_items, .due = UINT64_MAX };
        scrubs->items[scrubs->n_items++] = scrub;
        image->scrub = scrub;
    }
    *ret_scrub = scrub;
    return 0;
}

static void scrub_drop(struct scrubs *scrubs, struct scrub *scrub)
{
    struct scrub *last = scrubs->items[--scrubs->n_items];

    scrubs->items[scrub->index] = last;
    last->index = scrub->index;
    scrub->image->scrub = NULL;
    free(scrub);
}

int scrubs_plan(struct scrubs *scrubs, struct image *image, uint64_t due, uint64_t verified)
{
    struct scrub *scrub = image->scrub;
    int r;

    if (!scrub && due == UINT64_MAX)
        return 0;
    if (scrub && (scrub->running || (scrub->due == due && scrub->verified == verified)))
        return 0;
    r = scrub_get(scrubs, image, &scrub);
    if (r < 0)
        return r;
    scrub->due = due;
    scrub->verified = verified;
    scrubs->changed = true;
    if (due == UINT64_MAX && !scrub->demanded)
        scrub_drop(scrubs, scrub);
    return 0;
}

int scrubs_demand(struct scrubs *scrubs, struct image *image)
{
    struct scrub *scrub;
    int r;

    r = scrub_get(scrubs, image, &scrub);
    if (r < 0)
        return r;
    scrub->demanded = true;
    scrubs->changed = true;
    return 0;
}

void scrubs_forget(struct scrubs *scrubs, struct image *image)
{
    struct scrub *scrub = image->scrub;

    if (!scrub)
        return;
    if (scrub->running)
        scrubs->n_running--;
    scrub_drop(scrubs, scrub);
    scrubs->changed = true;
}

static bool is_held(const struct scrubs *scrubs, const struct datastore *datastore)
{
    for (size_t i = 0; i < scrubs->n_held; i++)
        if (scrubs->held[i] == datastore)
            return true;
    return false;
}

void scrubs_hold(struct scrubs *scrubs, const struct datastore *datastore, bool hold)
{
    const struct datastore **more;

    scrubs->changed = true;
    for (size_t i = 0; i < scrubs->n_held; i++)
        if (scrubs->held[i] == datastore) {
            if (!hold)
                scrubs->held[i] = scrubs->held[--scrubs->n_held];
            return;
        }
    if (!hold)
        return;
    more = reallocarray(scrubs->held, scrubs->n_held + 1, sizeof(*more));
    if (!more)
        return;                 /* it is interrupted and tried again instead */
    scrubs->held = more;
    more[scrubs->n_held++] = datastore;
}

static uint64_t minutes_until(unsigned from, unsigned to)
{
    return (to + MINUTES_PER_DAY - from) % MINUTES_PER_DAY;
}

bool scrubs_window_is_open(const struct scrubs *scrubs, uint64_t now, uint64_t *ret_change)
{
    unsigned start = (unsigned)(scrubs->options.window >> 16),
             end = (unsigned)(scrubs->options.window & 0xffff), at;
    time_t seconds = (time_t)(now / USEC_PER_SEC);
    uint64_t minutes;
    struct tm tm;
    bool open;

    if (scrubs->options.window == 0 || !localtime_r(&seconds, &tm)) {
        if (ret_change)
            *ret_change = UINT64_MAX;
        return true;
    }
    at = (unsigned)(tm.tm_hour * 60 + tm.tm_min);
    open = start < end ? at >= start && at < end : at >= start || at < end;
    minutes = minutes_until(at, open ? end % MINUTES_PER_DAY : start);
    if (minutes == 0)
        minutes = MINUTES_PER_DAY;
    /* Until that minute begins; where the clocks change meanwhile, it is asked again then. */
    if (ret_change)
        *ret_change = minutes * 60 * USEC_PER_SEC -
                      ((uint64_t)tm.tm_sec * USEC_PER_SEC + now % USEC_PER_SEC);
    return open;
}

static bool device_is_read(const struct scrubs *scrubs, uint64_t device)
{
    for (size_t i = 0; i < scrubs->n_items; i++)
        if (scrubs->items[i]->running && scrubs->items[i]->device == device)
            return true;
    return false;
}

static bool comes_before(const struct scrub *a, const struct scrub *b)
{
    if (a->demanded != b->demanded)
        return a->demanded;
    return a->verified != b->verified ? a->verified < b->verified : a->due < b->due;
}

struct image *scrubs_next(struct scrubs *scrubs, uint64_t now, uint64_t *ret_wait)
{
    struct scrub *best = NULL;
    uint64_t change, until;
    bool open;

    *ret_wait = UINT64_MAX;
    if (scrubs->n_running >= scrubs->options.workers)
        return NULL;
    if (!scrubs->changed && now < scrubs->nothing_until) {
        *ret_wait = scrubs->nothing_until - now;
        return NULL;
    }
    open = scrubs_window_is_open(scrubs, now, &change);
    until = change == UINT64_MAX ? UINT64_MAX : now + change;
    for (size_t i = 0; i < scrubs->n_items; i++) {
        struct scrub *scrub = scrubs->items[i];
        uint64_t from;

        if (scrub->running)
            continue;
        from = scrub->demanded || scrub->due < scrub->not_before ? scrub->not_before : scrub->due;
        if (from > now) {
            until = from < until ? from : until;
            continue;
        }
        if ((!scrub->demanded && !open) || is_held(scrubs, scrub->image->datastore) ||
            (best && !comes_before(scrub, best)) || device_is_read(scrubs, scrub->image->device))
            continue;
        best = scrub;
    }
    if (!best) {
        scrubs->changed = false;
        scrubs->nothing_until = until;
        if (until != UINT64_MAX)
            *ret_wait = until - now;
        return NULL;
    }
    best->running = true;
    best->device = best->image->device;
    scrubs->n_running++;
    return best->image;
}

void scrubs_done(struct scrubs *scrubs, struct image *image, uint64_t retry)
{
    struct scrub *scrub = image->scrub;

    if (!scrub || !scrub->running)
        return;
    scrub->running = false;
    scrubs->n_running--;
    scrubs->changed = true;
    if (retry > 0) {
        scrub->not_before = retry;
        return;
    }
    scrub->demanded = false;
    scrub_drop(scrubs, scrub);
}

void scrubs_content(struct scrubs *scrubs, struct image *image)
{
    struct scrub *scrub = image->scrub;

    if (!scrub)
        return;
    scrub->demanded = false;
    if (!scrub->running && scrub->due == UINT64_MAX)
        scrub_drop(scrubs, scrub);
}

bool scrubs_is_running(const struct scrubs *scrubs, const struct image *image)
{
    const struct scrub *scrub = image->scrub;

    return scrub && scrub->running;
}

bool scrubs_is_demanded(const struct scrubs *scrubs, const struct image *image)
{
    const struct scrub *scrub = image->scrub;

    return scrub && scrub->demanded;
}

size_t scrubs_running(const struct scrubs *scrubs)
{
    return scrubs->n_running;
}

size_t scrubs_due(const struct scrubs *scrubs, uint64_t now)
{
    size_t n = 0;

    for (size_t i = 0; i < scrubs->n_items; i++)
        n += !scrubs->items[i]->running &&
             (scrubs->items[i]->demanded || scrubs->items[i]->due <= now);
    return n;
}
