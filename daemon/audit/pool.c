/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pool of workers: reused for images of one datastore, replaced when exhausted, ended when
 * idle. */
#include "daemon/audit/internal.h"

#include <errno.h>

#include "helpers/clock.h"
#include "helpers/process.h"
#include "lib/cleanup.h"

#define IDLE_TIME (30 * USEC_PER_SEC)

int pool_init(struct pool *pool, sd_event *event)
{
    pool->slots = calloc(POOL_MAX, sizeof(*pool->slots));
    if (!pool->slots)
        return -ENOMEM;
    pool->n_slots = POOL_MAX;
    pool->event = event;
    return 0;
}

void pool_done(struct pool *pool)
{
    for (size_t i = 0; i < pool->n_slots; i++)
        worker_free(pool->slots[i].worker);
    free(pool->slots);
    pool->idle = sd_event_source_disable_unref(pool->idle);
    *pool = (struct pool){ 0 };
}

static uint64_t pool_now(const struct pool *pool)
{
    uint64_t now = 0;

    (void) sd_event_now(pool->event, CLOCK_MONOTONIC, &now);    /* fails for a wrong clock only */
    return now;
}

static int on_idle(sd_event_source *source, uint64_t when, void *userdata)
{
    struct pool *pool = userdata;
    uint64_t now = pool_now(pool), next = UINT64_MAX;

    for (size_t i = 0; i < pool->n_slots; i++) {
        struct slot *slot = &pool->slots[i];

        if (!slot->worker || slot->job)
            continue;
        if (slot->idle_since + IDLE_TIME <= now)
            slot->worker = worker_free(slot->worker);
        else if (slot->idle_since + IDLE_TIME < next)
            next = slot->idle_since + IDLE_TIME;
    }
    if (next == UINT64_MAX)
        return 0;
    (void) sd_event_source_set_time(source, next);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int pool_watch_idle(struct pool *pool)
{
    int enabled = SD_EVENT_OFF, r;

    if (!pool->idle)
        return sd_event_add_time_relative(pool->event, &pool->idle, CLOCK_MONOTONIC, IDLE_TIME,
                                          USEC_PER_SEC, on_idle, pool);
    r = sd_event_source_get_enabled(pool->idle, &enabled);
    if (r < 0 || enabled != SD_EVENT_OFF)
        return r;
    r = sd_event_source_set_time_relative(pool->idle, IDLE_TIME);
    return r < 0 ? r : sd_event_source_set_enabled(pool->idle, SD_EVENT_ONESHOT);
}

#define UNUSABLE 3

/* Best is an idle worker of this datastore, then no worker yet, unless there are as many as may be:
 * those that idle count too. Then an idle one of another. */
static unsigned slot_cost(const struct slot *slot, const struct datastore *datastore, bool more)
{
    if (slot->job)
        return UNUSABLE;
    if (!slot->worker)
        return more ? 1 : UNUSABLE;
    return slot->datastore == datastore && !worker_exhausted(slot->worker) ? 0 : 2;
}

int pool_take(struct pool *pool, const struct worker_options *options, size_t limit,
              const struct datastore *datastore, struct job *job, struct slot **ret_slot)
{
    struct slot *best = NULL;
    size_t n_taken = 0, n_workers = 0;
    unsigned cost = UNUSABLE;
    int r;

    for (size_t i = 0; i < pool->n_slots; i++) {
        n_taken += pool->slots[i].job != NULL;
        n_workers += pool->slots[i].worker != NULL;
    }
    for (size_t i = 0; i < pool->n_slots; i++) {
        unsigned slots_cost = slot_cost(&pool->slots[i], datastore, n_workers < limit);

        if (slots_cost < cost) {
            best = &pool->slots[i];
            cost = slots_cost;
        }
    }
    if (!best || n_taken >= limit)
        return -EBUSY;
    if (cost > 0) {
        best->worker = worker_free(best->worker);
        r = worker_start(pool->event, options, &best->worker);
        if (r < 0)
            return r;
    }
    best->datastore = datastore;
    best->job = job;
    *ret_slot = best;
    return 0;
}

/* Those for whom it has files open are told apart no further than two of them. */
static const struct datastore *slot_user(const struct slot *slot)
{
    return slot->job && slot->job->reached ? NULL : slot->datastore;
}

void pool_release(struct pool *pool, struct slot *slot, bool kill)
{
    if (kill || worker_exhausted(slot->worker)) {
        slot->worker = worker_end(slot->worker, pool->endings, slot_user(slot));
        slot->job = NULL;
        return;
    }
    slot->job = NULL;
    slot->idle_since = pool_now(pool);
    if (pool_watch_idle(pool) < 0)
        slot->worker = worker_free(slot->worker);   /* rather none than one that stays */
}
