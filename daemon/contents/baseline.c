/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The set of baselines: found by what a file is, and by where it was. */
#include "daemon/contents/baseline.h"

#include <errno.h>
#include <search.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/cleanup.h"

struct held {
    struct baseline *baseline;
    LIST_ENTRY(held) link;      /* of the same path */
};

/* All baselines of one path. */
struct baseline_place {
    char *path;
    LIST_HEAD(, held) held;
};

struct baselines {
    void *by_identity;          /* trees of tsearch(): struct baseline, */
    void *by_path;              /* struct baseline_place */
    size_t n;
};

static int compare_identity(const void *a, const void *b)
{
    const struct identity *x = &((const struct baseline *)a)->identity,
                          *y = &((const struct baseline *)b)->identity;

    if (x->fsid != y->fsid)
        return x->fsid < y->fsid ? -1 : 1;
    if (x->inode != y->inode)
        return x->inode < y->inode ? -1 : 1;
    return x->btime < y->btime ? -1 : x->btime > y->btime;
}

static int compare_path(const void *a, const void *b)
{
    const struct baseline_place *x = a, *y = b;

    return strcmp(x->path, y->path);
}

/* ---- places ---------------------------------------------------------------------------------- */

static struct baseline_place *place_find(const struct baselines *baselines, const char *path)
{
    const struct baseline_place key = { .path = (char *)(uintptr_t)path };
    struct baseline_place *const *found = tfind(&key, &baselines->by_path, compare_path);

    return found ? *found : NULL;
}

static void place_free(void *data)
{
    struct baseline_place *place = data;
    struct held *entry;

    while ((entry = LIST_FIRST(&place->held))) {
        LIST_REMOVE(entry, link);
        free(entry);
    }
    free(place->path);
    free(place);
}

static int place_new(struct baselines *baselines, const char *path,
                     struct baseline_place **ret_place)
{
    struct baseline_place *place = calloc(1, sizeof(*place));

    if (!place)
        return -ENOMEM;
    place->path = strdup(path);
    if (!place->path || !tsearch(place, &baselines->by_path, compare_path)) {
        place_free(place);
        return -ENOMEM;
    }
    *ret_place = place;
    return 0;
}

static int place_add(struct baselines *baselines, struct baseline *baseline)
{
    struct baseline_place *place = place_find(baselines, baseline->path);
    struct held *entry = calloc(1, sizeof(*entry));
    int r = !entry ? -ENOMEM : place ? 0 : place_new(baselines, baseline->path, &place);

    if (r < 0) {
        free(entry);
        return r;
    }
    entry->baseline = baseline;
    LIST_INSERT_HEAD(&place->held, entry, link);
    return 0;
}

static void place_remove(struct baselines *baselines, const struct baseline *baseline)
{
    struct baseline_place *place = place_find(baselines, baseline->path);
    struct held *entry;

    if (!place)
        return;
    LIST_FOREACH(entry, &place->held, link)
        if (entry->baseline == baseline) {
            LIST_REMOVE(entry, link);
            free(entry);
            break;
        }
    if (LIST_EMPTY(&place->held)) {
        tdelete(place, &baselines->by_path, compare_path);
        place_free(place);
    }
}

/* ---- the set --------------------------------------------------------------------------------- */

int baselines_new(struct baselines **ret_baselines)
{
    struct baselines *baselines = calloc(1, sizeof(*baselines));

    if (!baselines)
        return -ENOMEM;
    *ret_baselines = baselines;
    return 0;
}

static void free_baseline(void *data)
{
    baseline_free(data);
}

struct baselines *baselines_free(struct baselines *baselines)
{
    if (!baselines)
        return NULL;
    tdestroy(baselines->by_path, place_free);
    tdestroy(baselines->by_identity, free_baseline);
    free(baselines);
    return NULL;
}

int baselines_add(struct baselines *baselines, struct baseline *baseline)
{
    struct baseline **found;
    int r = place_add(baselines, baseline);

    if (r < 0)
        return r;
    found = tsearch(baseline, &baselines->by_identity, compare_identity);
    if (!found || *found != baseline) {
        place_remove(baselines, baseline);
        return found ? -EEXIST : -ENOMEM;
    }
    baselines->n++;
    return 0;
}

static void take_out(struct baselines *baselines, struct baseline *baseline)
{
    place_remove(baselines, baseline);
    tdelete(baseline, &baselines->by_identity, compare_identity);
    baselines->n--;
}

void baselines_remove(struct baselines *baselines, struct baseline *baseline)
{
    take_out(baselines, baseline);
    baseline_free(baseline);
}

struct baseline *baselines_find(const struct baselines *baselines, const struct identity *identity)
{
    const struct baseline key = { .identity = *identity };
    struct baseline *const *found = tfind(&key, &baselines->by_identity, compare_identity);

    return found ? *found : NULL;
}

struct baseline *baselines_find_path(const struct baselines *baselines, const char *path)
{
    const struct baseline_place *place = place_find(baselines, path);
    const struct held *entry;
    struct baseline *best = NULL;

    if (!place)
        return NULL;
    LIST_FOREACH(entry, &place->held, link)
        if (!baseline_source_is_loose(entry->baseline->source) &&
            (!best || entry->baseline->verified > best->verified))
            best = entry->baseline;
    return best;
}

void baselines_each_path(const struct baselines *baselines, const char *path,
                         void (*each)(void *userdata, struct baseline *baseline), void *userdata)
{
    const struct baseline_place *place = place_find(baselines, path);

    const struct held *entry;

    if (!place)
        return;
    LIST_FOREACH(entry, &place->held, link)
        each(userdata, entry->baseline);
}

int baselines_rebind(struct baselines *baselines, struct baseline *baseline,
                     const struct identity *identity, const char *path)
{
    const struct baseline *other = baselines_find(baselines, identity);
    struct identity before = baseline->identity;
    char *copy, *old = baseline->path;
    int r;

    if (other && other != baseline)
        return -EEXIST;
    copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    take_out(baselines, baseline);
    baseline->identity = *identity;
    baseline->path = copy;
    r = baselines_add(baselines, baseline);
    if (r < 0) {
        /* The memory freed just now suffices to put it back. */
        baseline->identity = before;
        baseline->path = old;
        free(copy);
        (void)baselines_add(baselines, baseline);
        return r;
    }
    free(old);
    return 0;
}

size_t baselines_count(const struct baselines *baselines)
{
    return baselines->n;
}

struct listing {
    struct baseline **items;
    size_t n;
};

static void list_one(const void *node, VISIT which, void *closure)
{
    struct listing *listing = closure;

    if (which == postorder || which == leaf)
        listing->items[listing->n++] = *(struct baseline *const *)node;
}

int baselines_each(struct baselines *baselines,
                   int (*each)(void *userdata, struct baseline *baseline), void *userdata)
{
    struct listing listing = { .n = 0 };
    int r = 0;

    if (baselines->n == 0)
        return 0;
    listing.items = calloc(baselines->n, sizeof(*listing.items));
    if (!listing.items)
        return -ENOMEM;
    twalk_r(baselines->by_identity, list_one, &listing);
    for (size_t i = 0; i < listing.n && r == 0; i++)
        r = each(userdata, listing.items[i]);
    free(listing.items);
    return r;
}
