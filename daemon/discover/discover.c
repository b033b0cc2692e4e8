/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The set of datastores: made from the database and the configuration, found by name and by
 * path. */
#include "daemon/discover/discover.h"

#include <errno.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/core/strv.h"
#include "daemon/discover/internal.h"
#include "lib/cleanup.h"

int discover_new(sd_event *event, const struct discover_options *options,
                 struct discover **ret_discover)
{
    struct discover *discover = calloc(1, sizeof(*discover));

    if (!discover)
        return -ENOMEM;
    discover->roots = calloc(1, sizeof(*discover->roots));
    if (!discover->roots) {
        free(discover);
        return -ENOMEM;
    }
    discover->event = sd_event_ref(event);
    discover->options = *options;
    *ret_discover = discover;
    return 0;
}

static void alias_done(struct alias *alias)
{
    free(alias->name);
    free(alias->path);
    free(alias->real_path);
    free(alias->of);
}

struct discover *discover_free(struct discover *discover)
{
    if (!discover)
        return NULL;
    for (size_t i = 0; discover->n_names > 0 && image_set_sort(&discover->images) >= 0 &&
                       i < discover->images.n_sorted;
         i++)
        names_remove_all(discover, discover->images.sorted[i]);
    for (size_t i = 0; i < discover->n_sites; i++)
        site_free(discover->sites[i]);
    free(discover->sites);
    free(discover->listed);
    free(discover->leaving);
    discover->leaving_timer = sd_event_source_disable_unref(discover->leaving_timer);
    image_set_done(&discover->images);
    device_map_done(&discover->devices);
    strv_free(discover->roots);
    strv_free(discover->known);
    places_done(&discover->configured);
    places_done(&discover->pools);
    while (discover->n_aliases > 0)
        alias_done(&discover->aliases[--discover->n_aliases]);
    free(discover->aliases);
    sd_event_unref(discover->event);
    free(discover);
    return NULL;
}

uint64_t discover_now(const struct discover *discover)
{
    uint64_t now = 0;

    /* fails for a wrong clock only */
    (void) sd_event_now(discover->event, CLOCK_REALTIME, &now);
    return now;
}

struct site *discover_site(const struct discover *discover, const struct datastore *datastore)
{
    for (size_t i = 0; i < discover->n_sites; i++)
        if (discover->sites[i]->datastore == datastore)
            return discover->sites[i];
    return NULL;
}

static struct site *find_site(const struct discover *discover, const char *name)
{
    for (size_t i = 0; i < discover->n_sites; i++)
        if (strcmp(discover->sites[i]->datastore->name, name) == 0)
            return discover->sites[i];
    return NULL;
}

void discover_vanish(struct discover *discover, struct image *image, bool by_walk)
{
    if (discover_promote(discover, image))
        return;
    leaving_forget(discover, image);
    names_remove_all(discover, image);
    image->present = false;
    image_set_remove(&discover->images, image);
    site_count(discover_site(discover, image->datastore), image, false);
    discover->options.image(discover->options.userdata, image, DISCOVER_VANISHED, by_walk);
    image_free(image);
}

/* ---- datastores come and go ----------------------------------------------------------------- */

/* Takes the datastore. */
static int discover_add(struct discover *discover, struct datastore *datastore,
                        struct site **ret_site)
{
    struct site **sites = reallocarray(discover->sites, discover->n_sites + 1, sizeof(*sites));
    struct datastore **listed = reallocarray(discover->listed, discover->n_sites + 1,
                                             sizeof(*listed));
    struct site *site;
    size_t i;
    int r = -ENOMEM;

    if (sites)
        discover->sites = sites;
    if (listed)
        discover->listed = listed;
    if (sites && listed)
        r = site_new(discover, datastore, &site);
    if (r < 0) {
        datastore_free(datastore);
        return r;
    }
    for (i = discover->n_sites++;
         i > 0 && strcmp(sites[i - 1]->datastore->name, datastore->name) > 0; i--)
        sites[i] = sites[i - 1];
    sites[i] = site;
    *ret_site = site;
    return 0;
}

int discover_load_datastore(struct discover *discover, struct datastore *datastore)
{
    struct site *site;

    if (find_site(discover, datastore->name)) {
        datastore_free(datastore);
        return -EEXIST;
    }
    datastore->state = DATASTORE_STARTING;
    datastore->error = 0;
    return discover_add(discover, datastore, &site);
}

int discover_load_image(struct discover *discover, const char *datastore, struct image *image)
{
    struct site *site = find_site(discover, datastore);
    int r;

    if (!site) {
        image_free(image);
        return -ENOENT;
    }
    image->datastore = site->datastore;
    image->device = 0;          /* not seen by this daemon yet */
    image->walk = 0;
    image->judge_again = UINT64_MAX;
    r = image_set_add(&discover->images, image);
    if (r < 0) {
        image_free(image);
        return r;
    }
    site_count(site, image, true);
    return 0;
}

static int datastore_new(const struct place *place, struct datastore **ret_datastore)
{
    struct datastore *datastore = calloc(1, sizeof(*datastore));

    if (!datastore)
        return -ENOMEM;
    datastore->name = strdup(place->name);
    datastore->path = strdup(place->path);
    if (!datastore->name || !datastore->path) {
        datastore_free(datastore);
        return -ENOMEM;
    }
    *ret_datastore = datastore;
    return 0;
}

static void discover_remove(struct discover *discover, size_t index)
{
    struct site *site = discover->sites[index];
    _cleanup_free_ struct image **list = NULL;
    size_t n = 0;

    site_stop(site);
    names_sweep(discover, site->datastore, UINT32_MAX, NULL);
    site->datastore->state = DATASTORE_REMOVED;
    site->datastore->n_images = 0;
    if (image_set_sort(&discover->images) >= 0 && discover->images.n_sorted > 0)
        list = reallocarray(NULL, discover->images.n_sorted, sizeof(*list));
    for (size_t i = 0; list && i < discover->images.n_sorted; i++)
        if (discover->images.sorted[i]->datastore == site->datastore)
            list[n++] = discover->images.sorted[i];
    for (size_t i = 0; i < n; i++)
        discover_vanish(discover, list[i], false);
    for (size_t i = index; i + 1 < discover->n_sites; i++)
        discover->sites[i] = discover->sites[i + 1];
    discover->n_sites--;
    discover->options.removed(discover->options.userdata, site->datastore);
    site_free(site);
}

static const struct place *place_find(const struct places *places, const char *name,
                                      const char *path)
{
    for (size_t i = 0; i < places->n_items; i++)
        if (strcmp(places->items[i].name, name) == 0 && strcmp(places->items[i].path, path) == 0)
            return &places->items[i];
    return NULL;
}

static const struct alias *alias_find(const struct discover *discover, const struct place *place)
{
    for (size_t i = 0; i < discover->n_aliases; i++)
        if (strcmp(discover->aliases[i].name, place->name) == 0 &&
            strcmp(discover->aliases[i].path, place->path) == 0)
            return &discover->aliases[i];
    return NULL;
}

/* Without those that are not wanted any more, or whose datastore is gone. */
static void aliases_sweep(struct discover *discover, const struct places *places)
{
    size_t n = 0;

    for (size_t i = 0; i < discover->n_aliases; i++) {
        struct alias *alias = &discover->aliases[i];

        if (find_site(discover, alias->of) && place_find(places, alias->name, alias->path))
            discover->aliases[n++] = *alias;
        else
            alias_done(alias);
    }
    discover->n_aliases = n;
}

bool discover_alias(struct discover *discover, struct site *loser, struct site *winner)
{
    struct alias *aliases = reallocarray(discover->aliases, discover->n_aliases + 1,
                                         sizeof(*aliases)),
                 alias;
    size_t index = 0;

    if (!aliases) {
        log_error(-ENOMEM, "Cannot take note that datastore %s is %s by another path: %m",
                  loser->datastore->name, winner->datastore->name);
        return false;
    }
    discover->aliases = aliases;
    alias = (struct alias){
        .name = strdup(loser->datastore->name), .path = strdup(loser->datastore->path),
        .real_path = loser->real_path ? strdup(loser->real_path) : NULL,
        .of = strdup(winner->datastore->name),
    };
    if (!alias.name || !alias.path || !alias.of) {
        alias_done(&alias);
        log_error(-ENOMEM, "Cannot take note that datastore %s is %s by another path: %m",
                  loser->datastore->name, winner->datastore->name);
        return false;
    }
    aliases[discover->n_aliases++] = alias;
    log_full(loser->datastore->pool ? LOG_INFO : LOG_WARNING, 0,
             "Datastore %s is the same directory as %s, and is audited as that alone",
             loser->datastore->name,
             winner->datastore->name);
    while (discover->sites[index] != loser)
        index++;
    discover_remove(discover, index);
    return true;
}

static int roots_new(const struct places *places, char ***ret_roots)
{
    char **roots = calloc(places->n_items + 1, sizeof(*roots));
    size_t n = 0;

    for (size_t i = 0; roots && i < places->n_items; i++) {
        if (places->items[i].of_devices)
            continue;           /* only its own helper opens these */
        roots[n] = strdup(places->items[i].path);
        if (!roots[n++]) {
            strv_free(roots);
            roots = NULL;
        }
    }
    if (!roots)
        return -ENOMEM;
    *ret_roots = roots;
    return 0;
}

static bool roots_have(char *const *roots, const char *root)
{
    for (size_t i = 0; roots[i]; i++)
        if (strcmp(roots[i], root) == 0)
            return true;
    return false;
}

/* Each helper knows all roots: references may lead from one datastore into another. One that is new
 * is told to those that run; they forget none but by a new start. */
static bool discover_set_roots(struct discover *discover, char **roots)
{
    bool restart = false;

    for (size_t i = 0; discover->roots[i]; i++)
        restart = restart || !roots_have(roots, discover->roots[i]);
    for (size_t i = 0; roots[i]; i++) {
        if (roots_have(discover->roots, roots[i]))
            continue;
        for (size_t j = 0; j < discover->n_sites; j++)
            if (discover->sites[j]->files && files_allow(discover->sites[j]->files, roots[i]) < 0)
                restart = true;
    }
    strv_free(discover->roots);
    discover->roots = roots;
    return restart;
}

/* The devices that pools have: a link to one of them is no gap. */
static int discover_set_known(struct discover *discover, const struct places *places)
{
    char **known = calloc(1, sizeof(*known));
    size_t n = 0;

    for (size_t i = 0; known && i < places->n_items; i++)
        for (size_t j = 0; known && places->items[i].devices && places->items[i].devices[j]; j++) {
            char **longer = reallocarray(known, n + 2, sizeof(*longer));

            if (longer)
                longer[n] = strdup(places->items[i].devices[j]);
            if (!longer || !longer[n]) {
                strv_free(longer ? longer : known);
                return -ENOMEM;
            }
            known = longer;
            known[++n] = NULL;
        }
    if (!known)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (discover->known && roots_have(discover->known, known[i]))
            continue;
        for (size_t j = 0; j < discover->n_sites; j++)
            if (discover->sites[j]->files)
                (void)files_know(discover->sites[j]->files, known[i]);
    }
    strv_free(discover->known);
    discover->known = known;
    return 0;
}

/* Takes over the members of a place that may change while it is the same datastore. *ret_restart:
 * its helper must begin anew. */
static int site_take_place(struct site *site, const struct place *place, bool *ret_restart)
{
    struct datastore *datastore = site->datastore;
    _cleanup_(strv_freep) char **exclude = NULL, **follow = NULL;
    char **devices = NULL, *pool = NULL;
    int r;

    *ret_restart |= !site->configured || site->watch != place->watch ||
                    site->no_mounts != place->no_mounts ||
                    !strv_equal(site->exclude, place->exclude) ||
                    !strv_equal(site->follow, place->follow) ||
                    datastore->recursive != place->recursive ||
                    !strv_equal(site->devices, place->devices);
    r = strv_copy(place->exclude, &exclude);
    if (r >= 0)
        r = strv_copy(place->follow, &follow);
    if (r >= 0)
        r = strv_copy(place->devices, &devices);
    if (r < 0)
        return r;
    if (place->pool && !(pool = strdup(place->pool))) {
        strv_free(devices);
        return -ENOMEM;
    }
    strv_free(site->devices);
    site->devices = devices;
    strv_free(site->exclude);
    site->exclude = TAKE_PTR(exclude);
    strv_free(site->follow);
    site->follow = TAKE_PTR(follow);
    site->no_mounts = place->no_mounts;
    free(datastore->pool);
    datastore->pool = pool;
    datastore->of_devices = place->of_devices;
    datastore->recursive = place->recursive;
    site->configured = true;
    site->watch = place->watch;
    site->capacity = place->capacity;
    site->available = place->available;
    return 0;
}

static int discover_have_place(struct discover *discover, const struct place *place, bool restart)
{
    struct site *site = find_site(discover, place->name);
    bool inactive = place->pool && !place->active, walk;
    struct datastore *datastore;
    int r;

    if (!site) {
        r = datastore_new(place, &datastore);
        if (r >= 0)
            r = discover_add(discover, datastore, &site);
        if (r < 0)
            return r;
    }
    walk = site->configured && place->refreshed > site->refreshed;
    site->refreshed = place->refreshed;
    r = site_take_place(site, place, &restart);
    if (r < 0)
        return r;
    if (site->inactive != inactive)
        site_set_inactive(site, inactive);
    else if (restart)
        site_start(site);
    else if (walk)
        (void) site_walk(site);         /* not online: the walk comes with that */
    return 0;
}

static bool is_known(void *userdata, const char *name, const char *path)
{
    struct site *site = find_site(userdata, name);

    return site && strcmp(site->datastore->path, path) == 0;
}

/* Brings the datastores in line with what is wanted. */
static int discover_reconcile(struct discover *discover, bool restart)
{
    bool wait = discover->pools_expected && !discover->pools_complete;
    _cleanup_(places_done) struct places places = { 0 };
    char **roots;
    int r;

    r = places_merge(&discover->configured, &discover->pools, is_known, discover, &places);
    if (r >= 0)
        r = roots_new(&places, &roots);
    if (r < 0)
        return r;
    for (size_t i = discover->n_sites; i-- > 0;) {
        const struct site *site = discover->sites[i];

        /* A datastore that only the database knows may be a pool that libvirt has not named yet. */
        if (!place_find(&places, site->datastore->name, site->datastore->path) &&
            (site->configured || !wait || places_have_name(&places, site->datastore->name)))
            discover_remove(discover, i);
    }
    restart |= discover_set_roots(discover, roots);
    r = discover_set_known(discover, &places);
    aliases_sweep(discover, &places);
    for (size_t i = 0; r >= 0 && i < places.n_items; i++)
        if (!alias_find(discover, &places.items[i]))
            r = discover_have_place(discover, &places.items[i], restart);
    return r;
}

int discover_set_config(struct discover *discover, const struct config *config)
{
    bool restart = discover->files_deadline != config->files_deadline;
    _cleanup_(places_done) struct places places = { 0 };
    struct places before;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < config->n_datastores; i++)
        r = places_add_config(&places, &config->datastores[i]);
    if (r >= 0 && config->datastores_auto)
        r = places_add_usual(&places);
    if (r < 0)
        return r;
    before = discover->configured;
    discover->configured = places;
    places = before;
    discover->automatic = config->datastores_auto;
    discover->files_deadline = config->files_deadline;
    discover->files_max = config->files_max;
    return discover_reconcile(discover, restart);
}

int discover_look_usual(struct discover *discover)
{
    size_t n = discover->configured.n_items;
    int r;

    if (!discover->automatic)
        return 0;
    r = places_add_usual(&discover->configured);
    return r < 0 || discover->configured.n_items == n ? r : discover_reconcile(discover, false);
}

bool discover_is_empty(const struct discover *discover)
{
    return discover->n_sites == 0 && (!discover->pools_expected || discover->pools_complete);
}

void discover_expect_pools(struct discover *discover, bool expected)
{
    discover->pools_expected = expected;
}

int discover_set_pools(struct discover *discover, const struct discover_pool *pools, size_t n,
                       bool complete)
{
    _cleanup_(places_done) struct places places = { 0 };
    struct places before;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < n; i++)
        r = places_add_pool(&places, &pools[i]);
    if (r >= 0 && !complete)
        r = places_keep(&places, &discover->pools);
    if (r < 0)
        return r;
    before = discover->pools;
    discover->pools = places;
    places = before;
    discover->pools_complete |= complete;
    return discover_reconcile(discover, false);
}

/* ---- what the manager asks for -------------------------------------------------------------- */

int discover_walk(struct discover *discover, struct datastore *datastore)
{
    struct site *site = discover_site(discover, datastore);

    return site ? site_walk(site) : -ENOENT;
}

int discover_pause(struct discover *discover, struct datastore *datastore, uint64_t until)
{
    struct site *site = discover_site(discover, datastore);

    return site ? site_pause(site, until, false) : -ENOENT;
}

int discover_release(struct discover *discover, struct datastore *datastore, uint64_t until)
{
    struct site *site = discover_site(discover, datastore);

    return site ? site_pause(site, until, true) : -ENOENT;
}

int discover_resume(struct discover *discover, struct datastore *datastore)
{
    struct site *site = discover_site(discover, datastore);

    if (!site)
        return -ENOENT;
    site->accept_any = site->accept_gone = true;
    site_resume(site);
    return 0;
}

void discover_datastores(struct discover *discover, struct datastore *const **ret_datastores,
                         size_t *ret_n)
{
    for (size_t i = 0; i < discover->n_sites; i++)
        discover->listed[i] = discover->sites[i]->datastore;
    *ret_datastores = discover->listed;
    *ret_n = discover->n_sites;
}

int discover_images(struct discover *discover, struct image *const **ret_images, size_t *ret_n)
{
    int r;

    r = image_set_sort(&discover->images);
    if (r < 0)
        return r;
    *ret_images = discover->images.sorted;
    *ret_n = discover->images.n_sorted;
    return 0;
}

int discover_images_below(struct discover *discover, const char *path,
                          struct image *const **ret_images, size_t *ret_n)
{
    size_t first, end;
    int r;

    r = image_set_sort(&discover->images);
    if (r < 0)
        return r;
    image_set_below(&discover->images, path, &first, &end);
    *ret_images = discover->images.sorted + first;
    *ret_n = end - first;
    return 0;
}

uint64_t discover_generation(const struct discover *discover)
{
    return discover->images.generation;
}

struct datastore *discover_find_datastore(const struct discover *discover, const char *name)
{
    struct site *site = find_site(discover, name);

    return site ? site->datastore : NULL;
}

struct image *discover_find_image(const struct discover *discover, const char *path)
{
    return image_set_find(&discover->images, path);
}

struct image *discover_find_name(const struct discover *discover, const char *path)
{
    struct image *image = discover_find_image(discover, path);
    const struct image_name *name = image ? NULL : names_find(discover, path);

    return name ? name->image : image;
}

static bool site_has_device(const struct site *site, const char *path)
{
    for (size_t i = 0; site->devices && site->devices[i]; i++)
        if (strcmp(site->devices[i], path) == 0)
            return true;
    return false;
}

/* Is path below root, and root longer than the best so far? */
static bool root_is_better(const char *path, const char *root, size_t *n_best)
{
    if (!root || !path_is_below(path, root) || strlen(root) <= *n_best)
        return false;
    *n_best = strlen(root);
    return true;
}

/* The longest root that path lies in, as it was given, as it really is, or by another path to it; a
 * pool of devices has these alone. */
struct datastore *discover_datastore_of(const struct discover *discover, const char *path)
{
    struct datastore *best = NULL;
    size_t n_best = 0;

    for (size_t i = 0; i < discover->n_sites; i++) {
        const struct site *site = discover->sites[i];

        if (site->datastore->of_devices) {
            if (site_has_device(site, path))
                return site->datastore;
            continue;
        }
        if (root_is_better(path, site->datastore->path, &n_best) ||
            root_is_better(path, site->real_path, &n_best))
            best = site->datastore;
    }
    for (size_t i = 0; i < discover->n_aliases; i++) {
        const struct alias *alias = &discover->aliases[i];
        const struct site *site = find_site(discover, alias->of);

        if (site && (root_is_better(path, alias->path, &n_best) ||
                     root_is_better(path, alias->real_path, &n_best)))
            best = site->datastore;
    }
    return best;
}

struct files *discover_files(const struct discover *discover, const struct datastore *datastore)
{
    struct site *site = discover_site(discover, datastore);

    return site && datastore->state == DATASTORE_ONLINE ? site->files : NULL;
}
