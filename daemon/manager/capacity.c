/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How much room the datastores have, and how much of it their images could take: by file system,
 * however many datastores lie on one. */
#include <errno.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/manager/internal.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define CAPACITY_EVERY (20 * USEC_PER_SEC)        /* as discover looks */
#define NAMES_MAX 10

static void capacity_sample(struct manager *manager)
{
    struct datastore *const *datastores;
    size_t n;

    discover_datastores(manager->discover, &datastores, &n);
    for (size_t i = 0; i < n; i++) {
        if (datastores[i]->state != DATASTORE_ONLINE || datastores[i]->root.size == 0)
            continue;
        series_add(&datastores[i]->available, manager_now(manager), datastores[i]->root.available,
                   manager->config->policy.thresholds.full_span / (SERIES_MAX / 2));
        datastores[i]->dirty = true;
    }
    judge_soon(manager);
}

static int on_capacity(sd_event_source *source, uint64_t when, void *userdata)
{
    struct manager *manager = userdata;
    uint64_t span = manager->config->policy.thresholds.full_span / 16;

    if (manager->stopping)
        return 0;
    capacity_sample(manager);
    alert_look(manager);
    (void)manager_arm(manager, &manager->capacity_timer,
                      span < CAPACITY_EVERY ? span + USEC_PER_SEC / 10 : CAPACITY_EVERY,
                      on_capacity);
    return 0;
}

int capacity_start(struct manager *manager)
{
    return manager_arm(manager, &manager->capacity_timer, USEC_PER_SEC, on_capacity);
}

void capacity_done(struct manager *manager)
{
    manager->capacity_timer = sd_event_source_disable_unref(manager->capacity_timer);
}

/* By how much its guest can make it grow; nothing for what no guest writes. */
static uint64_t image_growth(const struct manager *manager, const struct image *image)
{
    const struct relation *relation = graph_relation(manager->graph, image);
    const struct layer_report *layer = image_layer(image);
    uint64_t size;

    if (!image->listed || !relation || !relation->leaf || relation->golden || !layer ||
        graph_is_unused(manager->graph, image))
        return 0;
    size = layer->info.virtual_size;
    return size > image->fingerprint.allocated ? size - image->fingerprint.allocated : 0;
}

/* Whose space it takes: on a file system that is mounted below its datastore, that of the datastore
 * whose root lies there, if there is one. Subvolumes of a btrfs have numbers of their own, and one
 * space. */
static struct datastore *image_space(struct datastore *const *datastores, size_t n,
                                     const struct image *image)
{
    struct datastore *own = image->datastore;

    if (own->of_devices || own->root.fsid == 0 || image->identity.fsid == own->root.fsid ||
        strcmp(own->root.type, "btrfs") == 0)
        return own;
    for (size_t i = 0; i < n; i++)
        if (!datastores[i]->of_devices && datastores[i]->root.fsid == image->identity.fsid)
            return datastores[i];
    return NULL;
}

/* Virtual sizes are what images say: their sum must not wrap around. */
static void growth_add(uint64_t *growth, uint64_t more)
{
    if (__builtin_add_overflow(*growth, more, growth))
        *growth = UINT64_MAX;
}

static bool has_space(const struct datastore *datastore)
{
    return (datastore->state == DATASTORE_ONLINE || datastore->state == DATASTORE_PAUSED) &&
           datastore->root.size > 0;
}

/* Do they lie on one file system? A pool of devices has its space alone. */
static bool is_one_space(const struct datastore *a, const struct datastore *b)
{
    return a == b || (has_space(a) && has_space(b) && !a->of_devices && !b->of_devices &&
                      a->root.space != 0 && a->root.space == b->root.space);
}

/* "b, c and d": of those that share its space, but itself. NULL when there are none. */
static char *space_names(struct datastore *const *datastores, size_t n,
                         const struct datastore *first, unsigned total)
{
    _cleanup_free_ char *text = NULL;
    unsigned named = 0;

    for (size_t i = 0; i < n && named < NAMES_MAX; i++) {
        const char *glue = named == 0 ? "" : named + 1 == total ? " and " : ", ";
        char *longer;

        if (datastores[i] == first || datastores[i]->space.first != first)
            continue;
        if (asprintf(&longer, "%s%s%s", text ? text : "", glue, datastores[i]->name) < 0)
            return NULL;
        free(text);
        text = longer;
        named++;
    }
    if (text && named < total) {
        char *longer;

        if (asprintf(&longer, "%s and %u more", text, total - named) < 0)
            return NULL;
        return longer;
    }
    return TAKE_PTR(text);
}

/* Whose findings tell of its space: the first by name. */
static const struct datastore *space_first(struct datastore *const *datastores, size_t n,
                                           const struct datastore *datastore)
{
    for (size_t i = 0; i < n; i++)
        if (is_one_space(datastores[i], datastore))
            return datastores[i];
    return datastore;
}

static void space_sum(struct datastore *const *datastores, size_t n, struct datastore *first)
{
    struct datastore_space *space = &first->space;

    space->growth = 0;
    space->n_others = 0;
    space->measured = first;
    for (size_t i = 0; i < n; i++) {
        if (datastores[i]->space.first != first)
            continue;
        growth_add(&space->growth, datastores[i]->growth);
        space->n_others += datastores[i] != first;
        if (space->measured->state != DATASTORE_ONLINE && datastores[i]->state == DATASTORE_ONLINE)
            space->measured = datastores[i];
    }
    free(space->others);
    space->others = space_names(datastores, n, first, space->n_others);
}

void capacity_count(struct manager *manager)
{
    struct datastore *const *datastores;
    struct image *const *images;
    size_t n, n_datastores;

    discover_datastores(manager->discover, &datastores, &n_datastores);
    if (discover_images(manager->discover, &images, &n) < 0)
        return;
    for (size_t i = 0; i < n_datastores; i++)
        datastores[i]->growth = 0;
    for (size_t i = 0; i < n; i++) {
        struct datastore *space = image_space(datastores, n_datastores, images[i]);

        if (space)
            growth_add(&space->growth, image_growth(manager, images[i]));
    }
    for (size_t i = 0; i < n_datastores; i++) {
        const struct datastore *first = space_first(datastores, n_datastores, datastores[i]);

        /* what it told until now is told by another one from here on */
        datastores[i]->dirty |= datastores[i]->space.first != first;
        datastores[i]->space.first = first;
    }
    for (size_t i = 0; i < n_datastores; i++)
        for (size_t j = 0; j < n_datastores; j++)
            datastores[j]->dirty |= datastores[i]->dirty && datastores[i]->space.first ==
                                                                datastores[j];
    for (size_t i = 0; i < n_datastores; i++)
        space_sum(datastores, n_datastores, datastores[i]);
}

void capacity_forget(struct manager *manager, const struct datastore *datastore)
{
    struct datastore *const *datastores;
    size_t n;

    discover_datastores(manager->discover, &datastores, &n);
    for (size_t i = 0; i < n; i++) {
        struct datastore_space *space = &datastores[i]->space;

        if (space->first != datastore && space->measured != datastore)
            continue;
        space->first = space->measured = NULL;
        datastores[i]->dirty = true;
    }
    judge_soon(manager);
}
