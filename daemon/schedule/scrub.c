/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whose data is read again next: a list of those planned, looked through when something changed, of
 * which owners take turns, and slices of what takes long. */
#include "daemon/schedule/scrub.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/core/day-window.h"
#include "helpers/clock.h"

#define TURNS 1024              /* that are told apart: owners beyond that share some */
#define LOOK_AGAIN (60 * USEC_PER_SEC)  /* whether somebody waits now */
#define DOUBLED_MAX 8           /* slices of what has to begin anew: 256 times the first */

/* Kinds of images that take turns on a device, for each owner of files: so neither many images that
 * were never verified, nor one that takes days, keep others from being verified again. */
enum kind { KIND_VERIFIED, KIND_NEVER, KIND_CUT, _KIND_MAX };

struct scrub {
    struct image *image;
    size_t index;               /* in the list */
    uint64_t due;               /* usec, UINT64_MAX never */
    uint64_t not_before;        /* usec: after it was interrupted */
    uint64_t verified;
    uint64_t device;            /* that it runs on */
    uint64_t until;             /* usec: it may run, where others wait */
    uint64_t cut;               /* usec: when its last slice ended; 0: it never did */
    unsigned doubled;           /* how often its slice was */
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
    uint64_t expires;           /* usec: no slice is over before; 0 not known */
    uint64_t n_turns;
    uint64_t turns[TURNS];      /* the number of each one's last */
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
    scrubs->expires = 0;
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

bool scrubs_window_is_open(const struct scrubs *scrubs, uint64_t now, uint64_t *ret_change)
{
    if (scrubs->options.window != 0)
        return day_window_holds(scrubs->options.window, now, ret_change);
    if (ret_change)
        *ret_change = UINT64_MAX;
    return true;
}

static bool device_is_read(const struct scrubs *scrubs, uint64_t device)
{
    for (size_t i = 0; i < scrubs->n_items; i++)
        if (scrubs->items[i]->running && scrubs->items[i]->device == device)
            return true;
    return false;
}

static enum kind kind_of(const struct scrub *scrub)
{
    return scrub->cut > 0 ? KIND_CUT : scrub->verified > 0 ? KIND_VERIFIED : KIND_NEVER;
}

static uint64_t *turn_of(struct scrubs *scrubs, const struct scrub *scrub)
{
    uint64_t hash = scrub->image->device * UINT64_C(0x9e3779b97f4a7c15) >> 32;

    hash += (uint64_t)scrub->image->fingerprint.uid * _KIND_MAX + kind_of(scrub);
    return &scrubs->turns[hash % TURNS];
}

static bool comes_before(struct scrubs *scrubs, const struct scrub *a, const struct scrub *b)
{
    const uint64_t *turn_a = turn_of(scrubs, a), *turn_b = turn_of(scrubs, b);

    if (a->demanded != b->demanded)
        return a->demanded;
    if (*turn_a != *turn_b)
        return *turn_a < *turn_b;
    if (a->cut != b->cut)
        return a->cut < b->cut;
    return a->verified != b->verified ? a->verified < b->verified : a->due < b->due;
}

/* When it may run, as far as only time is in the way. */
static uint64_t ready_from(const struct scrub *scrub)
{
    return scrub->demanded || scrub->due < scrub->not_before ? scrub->not_before : scrub->due;
}

static uint64_t slice_of(const struct scrubs *scrubs, const struct scrub *scrub)
{
    return scrubs->options.slice << scrub->doubled;
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
        uint64_t from = ready_from(scrub);

        if (scrub->running)
            continue;
        if (from > now) {
            until = from < until ? from : until;
            continue;
        }
        if ((!scrub->demanded && !open) || is_held(scrubs, scrub->image->datastore) ||
            (best && !comes_before(scrubs, scrub, best)) ||
            device_is_read(scrubs, scrub->image->device))
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
    *turn_of(scrubs, best) = ++scrubs->n_turns;
    best->running = true;
    best->device = best->image->device;
    best->until = now + slice_of(scrubs, best);
    if (scrubs->options.slice > 0 && best->until < scrubs->expires)
        scrubs->expires = best->until;
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

/* Would it run in the place of the other, which is under way? */
static bool waits_for(const struct scrubs *scrubs, const struct scrub *scrub,
                      const struct scrub *running)
{
    if (scrub->running || (running->demanded && !scrub->demanded) ||
        is_held(scrubs, scrub->image->datastore))
        return false;
    return scrub->image->device == running->device ||
           (scrubs->n_running >= scrubs->options.workers &&
            !device_is_read(scrubs, scrub->image->device));
}

static bool is_waited_for(const struct scrubs *scrubs, const struct scrub *running, bool open,
                          uint64_t now)
{
    for (size_t i = 0; i < scrubs->n_items; i++) {
        const struct scrub *scrub = scrubs->items[i];

        if ((scrub->demanded || open) && ready_from(scrub) <= now &&
            waits_for(scrubs, scrub, running))
            return true;
    }
    return false;
}

struct image *scrubs_expired(struct scrubs *scrubs, uint64_t now, uint64_t *ret_wait)
{
    bool open = scrubs_window_is_open(scrubs, now, NULL);
    uint64_t until = UINT64_MAX;

    /* Not in the future of a clock that was set back. */
    if (scrubs->expires > now && (scrubs->expires == UINT64_MAX ||
                                  scrubs->expires - now <= scrubs->options.slice)) {
        *ret_wait = scrubs->expires == UINT64_MAX ? UINT64_MAX : scrubs->expires - now;
        return NULL;
    }
    for (size_t i = 0; i < scrubs->n_items && scrubs->n_running > 0; i++) {
        struct scrub *running = scrubs->items[i];
        uint64_t slice = slice_of(scrubs, running);

        if (!running->running || scrubs->options.slice == 0)
            continue;
        if (running->until > now + slice)       /* the clock was set back */
            running->until = now + slice;
        if (running->until <= now && is_waited_for(scrubs, running, open, now))
            return running->image;
        if (running->until <= now)
            running->until = now + LOOK_AGAIN;
        until = running->until < until ? running->until : until;
    }
    scrubs->expires = until;
    *ret_wait = until == UINT64_MAX ? UINT64_MAX : until - now;
    return NULL;
}

void scrubs_cut(struct scrubs *scrubs, struct image *image, uint64_t now, bool kept)
{
    struct scrub *scrub = image->scrub;

    if (!scrub || !scrub->running)
        return;
    scrub->cut = now;
    if (!kept && scrub->doubled < DOUBLED_MAX)
        scrub->doubled++;
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
