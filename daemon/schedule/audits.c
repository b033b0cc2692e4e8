/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which image is to be audited next: one heap of what is not due yet, one per device, datastore and
 * owner of what is, of new images and of others. */
#include "daemon/schedule/audits.h"

#include <errno.h>
#include <stdlib.h>

#include "helpers/clock.h"
#include "lib/cleanup.h"

#define PROLONG_MAX 12          /* a debounce is prolonged to at most so many times its length */
#define CONFIRM_AFTER 12        /* the second look at an image in use comes after so many
                                 * debounces, */
#define CONFIRM_MIN USEC_PER_SEC    /* and never at once */
#define AGAIN_MIN USEC_PER_SEC      /* what cannot be had now is tried again after that time, */
#define AGAIN_DOUBLED 12            /* which doubles with each try, so many times: 68 min */

#define OWNERS 256              /* that are told apart: some share their turns beyond that */

struct lane;

enum place { PLACE_NONE, PLACE_WAITING, PLACE_READY };

struct plan {
    struct image *image;
    struct lane *lane, *running_lane;
    size_t index;               /* in the heap that place says */
    uint64_t due;
    uint64_t first_change;      /* of the changes that the debounce waits out */
    uint64_t sequence;          /* order of arrival among equals */
    uint8_t place;              /* enum place */
    uint8_t reason;             /* enum schedule_reason */
    bool running;
};

struct heap {
    struct plan **items;
    size_t n_items, n_allocated;
    bool (*before)(const struct plan *a, const struct plan *b);
};

struct device {
    uint64_t number;
    bool busy;
};

struct lane {
    size_t device;              /* index, as the array of devices may move */
    const struct datastore *datastore;
    unsigned owner;
    bool fresh;                 /* of images that are new, so that many do not delay a change */
    uint64_t turn;              /* number of its last one */
    bool held;
    bool passed_over;           /* something went before an overdue periodic audit of this lane */
    struct heap ready;
    struct heap periodic;       /* ready, too, for SCHEDULE_INTERVAL */
};

struct schedule {
    struct schedule_options options;
    struct heap waiting;
    struct lane **lanes;        /* few: datastores times the devices they lie on, and OWNERS */
    size_t n_lanes;
    struct device *devices;
    size_t n_devices;
    const struct datastore **held;
    size_t n_held;
    size_t n_running;
    uint64_t sequence;
    uint64_t n_turns;
};

static bool due_before(const struct plan *a, const struct plan *b)
{
    return a->due != b->due ? a->due < b->due : a->sequence < b->sequence;
}

static unsigned reason_rank(enum schedule_reason reason)
{
    switch (reason) {
    case SCHEDULE_FORCED: return 0;
    case SCHEDULE_INTERVAL: return 3;
    default: return 2;
    }
}

static bool urgent_before(const struct plan *a, const struct plan *b)
{
    unsigned rank_a = reason_rank(a->reason), rank_b = reason_rank(b->reason);

    return rank_a != rank_b ? rank_a < rank_b : due_before(a, b);
}

static void heap_set(struct heap *heap, size_t index, struct plan *plan)
{
    heap->items[index] = plan;
    plan->index = index;
}

static size_t heap_up(struct heap *heap, size_t index)
{
    struct plan *plan = heap->items[index];

    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (!heap->before(plan, heap->items[parent]))
            break;
        heap_set(heap, index, heap->items[parent]);
        index = parent;
    }
    heap_set(heap, index, plan);
    return index;
}

static void heap_down(struct heap *heap, size_t index)
{
    struct plan *plan = heap->items[index];

    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= heap->n_items)
            break;
        if (child + 1 < heap->n_items && heap->before(heap->items[child + 1], heap->items[child]))
            child++;
        if (!heap->before(heap->items[child], plan))
            break;
        heap_set(heap, index, heap->items[child]);
        index = child;
    }
    heap_set(heap, index, plan);
}

static int heap_reserve(struct heap *heap)
{
    size_t n = heap->n_allocated ? heap->n_allocated * 2 : 64;
    struct plan **items;

    if (heap->n_items < heap->n_allocated)
        return 0;
    items = reallocarray(heap->items, n, sizeof(*items));
    if (!items)
        return -ENOMEM;
    heap->items = items;
    heap->n_allocated = n;
    return 0;
}

/* There must be room: heap_reserve(). */
static void heap_add(struct heap *heap, struct plan *plan)
{
    heap->items[heap->n_items] = plan;
    heap_up(heap, heap->n_items++);
}

static void heap_remove(struct heap *heap, struct plan *plan)
{
    size_t index = plan->index;
    struct plan *last = heap->items[--heap->n_items];

    if (last == plan)
        return;
    heap->items[index] = last;
    heap_down(heap, heap_up(heap, index));
}

static struct heap *lane_heap(struct lane *lane, enum schedule_reason reason)
{
    return reason == SCHEDULE_INTERVAL ? &lane->periodic : &lane->ready;
}

static void plan_take_out(struct schedule *schedule, struct plan *plan)
{
    if (plan->place == PLACE_WAITING)
        heap_remove(&schedule->waiting, plan);
    else if (plan->place == PLACE_READY)
        heap_remove(lane_heap(plan->lane, plan->reason), plan);
    plan->place = PLACE_NONE;
}

static int device_find(struct schedule *schedule, uint64_t number, size_t *ret_device)
{
    struct device *devices;

    for (size_t i = 0; i < schedule->n_devices; i++)
        if (schedule->devices[i].number == number) {
            *ret_device = i;
            return 0;
        }
    devices = reallocarray(schedule->devices, schedule->n_devices + 1, sizeof(*devices));
    if (!devices)
        return -ENOMEM;
    schedule->devices = devices;
    devices[schedule->n_devices] = (struct device){ .number = number };
    *ret_device = schedule->n_devices++;
    return 0;
}

static bool datastore_held(const struct schedule *schedule, const struct datastore *datastore)
{
    for (size_t i = 0; i < schedule->n_held; i++)
        if (schedule->held[i] == datastore)
            return true;
    return false;
}

static unsigned owner_of(const struct image *image)
{
    return image->fingerprint.uid * UINT32_C(0x9e3779b1) >> 24;
}

static int lane_find(struct schedule *schedule, const struct image *image, bool fresh,
                     struct lane **ret_lane)
{
    _cleanup_free_ struct lane *lane = NULL;
    struct lane **lanes;
    size_t device;
    int r;

    r = device_find(schedule, image->device, &device);
    if (r < 0)
        return r;
    for (size_t i = 0; i < schedule->n_lanes; i++)
        if (schedule->lanes[i]->device == device &&
            schedule->lanes[i]->datastore == image->datastore &&
            schedule->lanes[i]->owner == owner_of(image) && schedule->lanes[i]->fresh == fresh) {
            *ret_lane = schedule->lanes[i];
            return 0;
        }
    lane = malloc(sizeof(*lane));
    lanes = reallocarray(schedule->lanes, schedule->n_lanes + 1, sizeof(*lanes));
    if (lanes)
        schedule->lanes = lanes;
    if (!lane || !lanes)
        return -ENOMEM;
    *lane = (struct lane){
        .device = device,
        .datastore = image->datastore,
        .owner = owner_of(image),
        .fresh = fresh,
        .held = datastore_held(schedule, image->datastore),
        .ready.before = urgent_before,
        .periodic.before = due_before,
    };
    *ret_lane = lane;
    schedule->lanes[schedule->n_lanes++] = TAKE_PTR(lane);
    return 0;
}

/* Changes nothing when it fails. */
static int plan_put_in(struct schedule *schedule, struct plan *plan, enum schedule_reason reason,
                       uint64_t due, uint64_t now)
{
    struct lane *lane = plan->lane;
    bool fresh = reason == SCHEDULE_NEW;
    int r = 0;

    if (plan->place != PLACE_READY || lane->device >= schedule->n_devices ||
        schedule->devices[lane->device].number != plan->image->device ||
        lane->datastore != plan->image->datastore || lane->owner != owner_of(plan->image) ||
        lane->fresh != fresh)
        r = lane_find(schedule, plan->image, fresh, &lane);
    if (r >= 0)
        r = heap_reserve(due <= now ? lane_heap(lane, reason) : &schedule->waiting);
    if (r < 0)
        return r;
    plan_take_out(schedule, plan);
    plan->reason = reason;
    plan->due = due;
    plan->lane = lane;
    plan->sequence = ++schedule->sequence;
    if (due <= now) {
        heap_add(lane_heap(lane, reason), plan);
        plan->place = PLACE_READY;
    } else {
        heap_add(&schedule->waiting, plan);
        plan->place = PLACE_WAITING;
    }
    return 0;
}

int schedule_new(const struct schedule_options *options, struct schedule **ret_schedule)
{
    struct schedule *schedule = calloc(1, sizeof(*schedule));

    if (!schedule)
        return -ENOMEM;
    schedule->options = *options;
    schedule->waiting.before = due_before;
    *ret_schedule = schedule;
    return 0;
}

static void heap_free_plans(struct heap *heap)
{
    for (size_t i = 0; i < heap->n_items; i++) {
        heap->items[i]->image->plan = NULL;
        free(heap->items[i]);
    }
    free(heap->items);
}

/* Images under way or with no due time keep their plan unless forgotten before. */
struct schedule *schedule_free(struct schedule *schedule)
{
    if (!schedule)
        return NULL;
    heap_free_plans(&schedule->waiting);
    for (size_t i = 0; i < schedule->n_lanes; i++) {
        heap_free_plans(&schedule->lanes[i]->ready);
        heap_free_plans(&schedule->lanes[i]->periodic);
        free(schedule->lanes[i]);
    }
    free(schedule->lanes);
    free(schedule->devices);
    free(schedule->held);
    free(schedule);
    return NULL;
}

/* FNV-1a over seed and path, then splitmix64's finalizer: the same image gets the same jitter for
 * life. */
static uint64_t image_hash(uint64_t seed, const char *path)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ seed;

    for (; *path; path++)
        hash = (hash ^ (unsigned char)*path) * UINT64_C(0x100000001b3);
    hash = (hash ^ (hash >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    hash = (hash ^ (hash >> 27)) * UINT64_C(0x94d049bb133111eb);
    return hash ^ (hash >> 31);
}

static uint64_t add_saturating(uint64_t a, uint64_t b)
{
    uint64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static uint64_t interval_due(const struct schedule *schedule, const struct image *image,
                             uint64_t from)
{
    uint64_t interval = schedule->options.audit_interval;
    uint64_t share = image_hash(schedule->options.seed, image->path) % 2001;    /* of 10,000 */

    if (interval == 0)
        return UINT64_MAX;
    return add_saturating(from, interval - interval / 10 + interval / 10000 * share);
}

void schedule_set_options(struct schedule *schedule, const struct schedule_options *options)
{
    struct heap *heap = &schedule->waiting;

    schedule->options = *options;
    for (size_t i = 0; i < heap->n_items; i++)
        if (heap->items[i]->reason == SCHEDULE_INTERVAL && heap->items[i]->image->audit)
            heap->items[i]->due = interval_due(schedule, heap->items[i]->image,
                                               heap->items[i]->image->audit->finished);
    for (size_t i = heap->n_items / 2; i-- > 0;)
        heap_down(heap, i);
}

static int plan_get(struct image *image, struct plan **ret_plan)
{
    struct plan *plan = image->plan;

    if (!plan) {
        plan = calloc(1, sizeof(*plan));
        if (!plan)
            return -ENOMEM;
        plan->image = image;
        image->plan = plan;
    }
    *ret_plan = plan;
    return 0;
}

/* Does what is planned already stand against the new reason? */
static bool plan_stands(const struct plan *plan, enum schedule_reason reason)
{
    if (plan->place == PLACE_NONE || reason == SCHEDULE_FORCED)
        return false;
    if (plan->reason == SCHEDULE_FORCED)
        return true;
    switch (reason) {
    case SCHEDULE_CHANGED: return false;
    case SCHEDULE_NEW: return plan->reason == SCHEDULE_CHANGED;
    case SCHEDULE_AGAIN:
        return plan->reason != SCHEDULE_INTERVAL && plan->reason != SCHEDULE_CONFIRM;
    case SCHEDULE_CONFIRM:
        return plan->reason != SCHEDULE_INTERVAL && plan->reason != SCHEDULE_CONFIRM;
    default: return plan->reason != SCHEDULE_INTERVAL;
    }
}

static uint64_t again_after(unsigned n_denied)
{
    unsigned doubled = n_denied > 0 ? n_denied - 1 : 0;

    return AGAIN_MIN << (doubled < AGAIN_DOUBLED ? doubled : AGAIN_DOUBLED);
}

int schedule_image(struct schedule *schedule, struct image *image, enum schedule_reason reason,
                   uint64_t now)
{
    uint64_t debounce = schedule->options.debounce;
    struct plan *plan;
    uint64_t due = now;
    int r;

    r = plan_get(image, &plan);
    if (r < 0)
        return r;
    if (plan_stands(plan, reason))
        return 0;

    switch (reason) {
    case SCHEDULE_CHANGED:
        if (plan->place == PLACE_NONE || plan->reason != SCHEDULE_CHANGED)
            plan->first_change = now;
        due = add_saturating(now, debounce);
        if (due > add_saturating(plan->first_change, PROLONG_MAX * debounce))
            due = add_saturating(plan->first_change, PROLONG_MAX * debounce);
        break;
    case SCHEDULE_CONFIRM:
        due = add_saturating(now, CONFIRM_AFTER * debounce > CONFIRM_MIN
                  ? CONFIRM_AFTER * debounce : CONFIRM_MIN);
        break;
    case SCHEDULE_AGAIN:
        due = add_saturating(now, again_after(image->n_denied));
        break;
    case SCHEDULE_INTERVAL:
        due = image->audit ? interval_due(schedule, image, image->audit->finished) : now;
        break;
    default:
        break;
    }
    if (due == UINT64_MAX) {
        plan_take_out(schedule, plan);
        return 0;
    }
    return plan_put_in(schedule, plan, reason, due, now);
}

static void plan_stop(struct schedule *schedule, struct plan *plan)
{
    plan->running = false;
    schedule->devices[plan->running_lane->device].busy = false;
    schedule->n_running--;
}

void schedule_forget(struct schedule *schedule, struct image *image)
{
    struct plan *plan = image->plan;

    if (!plan)
        return;
    plan_take_out(schedule, plan);
    if (plan->running)
        plan_stop(schedule, plan);
    free(plan);
    image->plan = NULL;
}

void schedule_hold(struct schedule *schedule, const struct datastore *datastore, bool hold)
{
    bool held = datastore_held(schedule, datastore);

    if (hold && !held) {
        const struct datastore **list = reallocarray(schedule->held, schedule->n_held + 1,
                                                     sizeof(*list));

        /* Without memory for the list, lanes that exist are held all the same. */
        if (list) {
            schedule->held = list;
            list[schedule->n_held++] = datastore;
        }
    } else if (!hold && held) {
        for (size_t i = 0; i < schedule->n_held; i++)
            if (schedule->held[i] == datastore)
                schedule->held[i] = schedule->held[--schedule->n_held];
    }
    for (size_t i = 0; i < schedule->n_lanes; i++)
        if (schedule->lanes[i]->datastore == datastore)
            schedule->lanes[i]->held = hold;
}

/* A running audit may be due once more: only after it ended, and its device is busy until then. */
static struct plan *heap_first(const struct heap *heap)
{
    return heap->n_items > 0 && !heap->items[0]->running ? heap->items[0] : NULL;
}

/* Its first periodic audit, if that waited for as long as others may make it wait. */
static struct plan *lane_overdue(const struct schedule *schedule, const struct lane *lane,
                                 uint64_t now)
{
    struct plan *plan = heap_first(&lane->periodic);

    return plan && add_saturating(plan->due, schedule->options.delay) <= now ? plan : NULL;
}

/* The first image of a lane, and how it compares with the first ones of others. */
struct choice {
    struct lane *lane;
    struct plan *plan;
    unsigned rank;
};

#define RANK_OVERDUE 1          /* of an audit that was passed over once; FORCED goes before */

static struct choice lane_choose(const struct schedule *schedule, struct lane *lane, uint64_t now)
{
    struct plan *urgent = heap_first(&lane->ready), *overdue = lane_overdue(schedule, lane, now);

    if (overdue && lane->passed_over && !(urgent && urgent->reason == SCHEDULE_FORCED))
        return (struct choice){ lane, overdue, RANK_OVERDUE };
    if (!urgent)
        urgent = heap_first(&lane->periodic);
    return (struct choice){ lane, urgent, urgent ? reason_rank(urgent->reason) : 0 };
}

static bool choice_before(const struct choice *a, const struct choice *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank;
    /* Requested audits run in the order of their requests. */
    if (a->rank > 0 && a->lane->turn != b->lane->turn)
        return a->lane->turn < b->lane->turn;
    return due_before(a->plan, b->plan);
}

static bool lane_may_run(const struct schedule *schedule, const struct lane *lane)
{
    return !lane->held && !schedule->devices[lane->device].busy;
}

/* Periodic audits that waited for too long, and that could have run instead, are next: one of them,
 * whoever's, and then what is more urgent again. */
static void note_passed_over(struct schedule *schedule, const struct choice *chosen, uint64_t now)
{
    if (chosen->plan->reason == SCHEDULE_FORCED)
        return;
    for (size_t i = 0; i < schedule->n_lanes; i++) {
        struct lane *lane = schedule->lanes[i];

        if (lane->device == chosen->lane->device && chosen->plan->reason == SCHEDULE_INTERVAL)
            lane->passed_over = false;
        else if (lane_may_run(schedule, lane) && lane_overdue(schedule, lane, now))
            lane->passed_over = true;
    }
}

struct image *schedule_next(struct schedule *schedule, uint64_t now,
                            enum schedule_reason *ret_reason, uint64_t *ret_wait)
{
    struct choice best = { .plan = NULL };
    struct plan *plan;

    while (schedule->waiting.n_items > 0 && schedule->waiting.items[0]->due <= now) {
        struct heap *heap;

        plan = schedule->waiting.items[0];
        heap = lane_heap(plan->lane, plan->reason);
        if (heap_reserve(heap) < 0)
            break;              /* stays where it is: asked again */
        plan_take_out(schedule, plan);
        heap_add(heap, plan);
        plan->place = PLACE_READY;
    }

    for (size_t i = 0;
         i < schedule->n_lanes && schedule->n_running < schedule->options.workers; i++) {
        struct choice choice;

        if (!lane_may_run(schedule, schedule->lanes[i]))
            continue;
        choice = lane_choose(schedule, schedule->lanes[i], now);
        if (choice.plan && (!best.plan || choice_before(&choice, &best)))
            best = choice;
    }
    if (!best.plan) {
        *ret_wait = UINT64_MAX;
        if (schedule->waiting.n_items > 0)
            *ret_wait = schedule->waiting.items[0]->due > now
                            ? schedule->waiting.items[0]->due - now
                            : 1;
        return NULL;
    }

    plan = best.plan;
    note_passed_over(schedule, &best, now);
    plan_take_out(schedule, plan);
    plan->running = true;
    plan->running_lane = best.lane;
    best.lane->turn = ++schedule->n_turns;
    schedule->devices[best.lane->device].busy = true;
    schedule->n_running++;
    *ret_reason = plan->reason;
    *ret_wait = 0;
    return plan->image;
}

void schedule_done(struct schedule *schedule, struct image *image, uint64_t now)
{
    struct plan *plan = image->plan;
    uint64_t due;

    if (!plan || !plan->running)
        return;
    plan_stop(schedule, plan);
    if (plan->place != PLACE_NONE)
        return;                 /* asked for again meanwhile */
    due = interval_due(schedule, image, now);
    /* Without memory it has no due time until the next walk. */
    if (due != UINT64_MAX)
        (void) plan_put_in(schedule, plan, SCHEDULE_INTERVAL, due, now);
}

bool schedule_is_due(const struct schedule *schedule, const struct image *image, uint64_t now)
{
    const struct plan *plan = image->plan;

    return plan && (plan->running || (plan->place != PLACE_NONE && plan->due <= now));
}

bool schedule_is_wanted(const struct schedule *schedule, const struct image *image, uint64_t now)
{
    const struct plan *plan = image->plan;

    return plan && (schedule_is_due(schedule, image, now) ||
                    (plan->place != PLACE_NONE && plan->reason <= SCHEDULE_FORCED));
}

static size_t heap_count_due(const struct heap *heap, size_t index, uint64_t now)
{
    if (index >= heap->n_items || heap->items[index]->due > now)
        return 0;
    return (heap->items[index]->lane->held ? 0 : 1) + heap_count_due(heap, 2 * index + 1, now) +
           heap_count_due(heap, 2 * index + 2, now);
}

size_t schedule_due(const struct schedule *schedule, uint64_t now)
{
    size_t n = schedule->n_running + heap_count_due(&schedule->waiting, 0, now);

    for (size_t i = 0; i < schedule->n_lanes; i++)
        if (!schedule->lanes[i]->held)
            n += schedule->lanes[i]->ready.n_items + schedule->lanes[i]->periodic.n_items;
    return n;
}

size_t schedule_running(const struct schedule *schedule)
{
    return schedule->n_running;
}
