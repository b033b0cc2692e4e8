/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of files: other names of a known image (hard links, another way to it), and names that go
 * and come elsewhere: a rename, however its halves arrive. */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/core/log.h"
#include "daemon/discover/internal.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define LEAVING_KEPT (USEC_PER_SEC)     /* a file that left is awaited elsewhere for so long */
#define LEAVING_ACCURACY (USEC_PER_SEC / 10)
#define LEAVING_WALK_MAX (10 * 60 * USEC_PER_SEC)       /* and no longer for a walk to find it */

/* ---- other names ----------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    const struct image_name *x = a, *y = b;

    return strcmp(x->path, y->path);
}

struct image_name *names_find(const struct discover *discover, const char *path)
{
    const struct image_name key = { .path = (char *)(uintptr_t)path };
    struct image_name **found = tfind(&key, &discover->names, compare_names);

    return found ? *found : NULL;
}

int names_add(struct discover *discover, struct image *image, struct site *site, const char *path)
{
    struct image_name *name = calloc(1, sizeof(*name));

    if (name)
        name->path = strdup(path);
    if (!name || !name->path || !tsearch(name, &discover->names, compare_names)) {
        if (name)
            free(name->path);
        free(name);
        return -ENOMEM;
    }
    name->image = image;
    name->datastore = site->datastore;
    name->walk = site->datastore->walk;
    LIST_INSERT_HEAD(&image->names, name, link);
    site->n_names++;
    discover->n_names++;
    discover->images.generation++;
    return 0;
}

void names_remove(struct discover *discover, struct image_name *name)
{
    struct site *site = discover_site(discover, name->datastore);

    if (site)
        site->n_names--;
    LIST_REMOVE(name, link);
    tdelete(name, &discover->names, compare_names);
    discover->n_names--;
    discover->images.generation++;
    free(name->path);
    free(name);
}

void names_remove_all(struct discover *discover, struct image *image)
{
    struct image_name *name;

    while ((name = LIST_FIRST(&image->names)))
        names_remove(discover, name);
}

struct taking {
    struct image_name **items;
    size_t n;
};

static void take_name(const void *node, VISIT which, void *closure)
{
    struct taking *taking = closure;

    if (which == postorder || which == leaf)
        taking->items[taking->n++] = *(struct image_name *const *)node;
}

/* Those of the datastore that its last walk did not see (walk UINT32_MAX: all of them), or that lie
 * below the folder. */
void names_sweep(struct discover *discover, const struct datastore *datastore, uint32_t walk,
                 const char *folder)
{
    struct taking taking = { .n = 0 };

    if (discover->n_names == 0)
        return;
    taking.items = calloc(discover->n_names, sizeof(*taking.items));
    if (!taking.items)
        return;                 /* the next walk does it */
    twalk_r(discover->names, take_name, &taking);
    for (size_t i = 0; i < taking.n; i++) {
        struct image_name *name = taking.items[i];

        if (name->datastore == datastore && name->walk != walk &&
            (!folder || path_is_below(name->path, folder)))
            names_remove(discover, name);
    }
    free(taking.items);
}

/* ---- another name is the name from now on ---------------------------------------------------- */

int discover_rename(struct discover *discover, struct image *image, struct datastore *datastore,
                    const char *path)
{
    char *copy = strdup(path), *before = image->path;
    struct site *from = discover_site(discover, image->datastore),
                *to = discover_site(discover, datastore);
    int r;

    if (!copy)
        return -ENOMEM;
    leaving_forget(discover, image);
    image_set_remove(&discover->images, image);
    image->path = copy;
    r = image_set_add(&discover->images, image);
    if (r < 0) {
        image->path = before;
        free(copy);
        (void)image_set_add(&discover->images, image);  /* what was freed just now suffices */
        return r;
    }
    if (from)
        site_count(from, image, false);
    if (to)
        site_count(to, image, true);
    image->datastore = datastore;
    discover->options.renamed(discover->options.userdata, image, before);
    free(before);
    return 0;
}

/* Another name takes the place of an image's first one, which is gone. Without a birth time nobody
 * knows whether that is still the same file. */
bool discover_promote(struct discover *discover, struct image *image)
{
    struct image_name *name = LIST_FIRST(&image->names);
    _cleanup_free_ char *path = NULL;
    struct datastore *datastore;
    uint32_t walk;

    if (!name || image->identity.btime == 0)
        return false;
    path = strdup(name->path);
    if (!path)
        return false;
    datastore = name->datastore;
    walk = name->walk;
    names_remove(discover, name);
    if (discover_rename(discover, image, datastore, path) < 0)
        return false;
    image->walk = walk;
    return true;
}

/* ---- gone, or only elsewhere ----------------------------------------------------------------- */

void leaving_forget(struct discover *discover, const struct image *image)
{
    size_t n = 0;

    for (size_t i = 0; i < discover->n_leaving; i++)
        if (discover->leaving[i].image != image)
            discover->leaving[n++] = discover->leaving[i];
    discover->n_leaving = n;
}

bool discover_is_leaving(const struct discover *discover, const struct image *image)
{
    for (size_t i = 0; i < discover->n_leaving; i++)
        if (discover->leaving[i].image == image)
            return true;
    return false;
}

/* May a walk, or the first one of a datastore that is just starting, find a file elsewhere? */
static bool any_walks(const struct discover *discover)
{
    for (size_t i = 0; i < discover->n_sites; i++)
        if (discover->sites[i]->walking != SITE_IDLE ||
            discover->sites[i]->datastore->state == DATASTORE_STARTING)
            return true;
    return false;
}

static int on_leaving(sd_event_source *source, uint64_t when, void *userdata);

int leaving_arm(struct discover *discover)
{
    discover->leaving_timer = sd_event_source_disable_unref(discover->leaving_timer);
    return sd_event_add_time_relative(discover->event, &discover->leaving_timer, CLOCK_BOOTTIME,
                                      LEAVING_KEPT, LEAVING_ACCURACY, on_leaving, discover);
}

static int on_leaving(sd_event_source *source, uint64_t when, void *userdata)
{
    struct discover *discover = userdata;
    uint64_t now = discover_now(discover);
    bool more = false;

    for (size_t i = 0; i < discover->n_sites; i++)
        more |= site_expire_postponed(discover->sites[i], now, LEAVING_KEPT);
    /* An awaited image may itself wait for others. */
    for (size_t i = discover->n_leaving; !more && i-- > 0;) {
        struct leaving *leaving = &discover->leaving[i];
        uint64_t kept = leaving->by_walk && any_walks(discover) ? LEAVING_WALK_MAX : LEAVING_KEPT;

        if (now >= leaving->since && now < leaving->since + kept)
            continue;
        discover_vanish(discover, leaving->image, leaving->by_walk);
    }
    if ((more || discover->n_leaving > 0) && leaving_arm(discover) < 0)
        log_warning(-ENOMEM, "Files that are gone are noticed by the next walk: %m");
    return 0;
}

/* Nobody may be awaited any more: whoever is not found by now is gone. */
void leaving_settle(struct discover *discover)
{
    if (any_walks(discover))
        return;
    for (size_t i = discover->n_leaving; i-- > 0;) {
        if (discover->leaving[i].by_walk)
            discover_vanish(discover, discover->leaving[i].image, true);
    }
}

void leaving_add(struct discover *discover, struct image *image, bool by_walk)
{
    void *grown;

    for (size_t i = 0; i < discover->n_leaving; i++)
        if (discover->leaving[i].image == image) {
            discover->leaving[i].by_walk |= by_walk;
            return;
        }
    grown = reallocarray(discover->leaving, discover->n_leaving + 1, sizeof(*discover->leaving));
    if (!grown) {
        discover_vanish(discover, image, by_walk);
        return;
    }
    discover->leaving = grown;
    discover->leaving[discover->n_leaving++] = (struct leaving){
        .image = image, .since = discover_now(discover), .by_walk = by_walk
    };
    if (discover->n_leaving == 1 && leaving_arm(discover) < 0)
        discover_vanish(discover, image, by_walk);
}

void discover_leave(struct discover *discover, struct image *image, bool by_walk)
{
    if (discover_promote(discover, image))
        return;
    if (!discover->options.known || image->identity.btime == 0 ||
        !S_ISREG(image->fingerprint.mode) || (by_walk && !any_walks(discover)))
        discover_vanish(discover, image, by_walk);
    else
        leaving_add(discover, image, by_walk);
}
