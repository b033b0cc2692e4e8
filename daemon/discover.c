/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The set of datastores: made from the database and the configuration, found by name and by path. */
#include "daemon/discover.h"

#include <errno.h>
#include <string.h>

#include "daemon/discover-internal.h"
#include "lib/cleanup.h"

int discover_new(sd_event *event, const struct discover_options *options, struct discover **ret_discover)
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

static void roots_free(char **roots)
{
    for (size_t i = 0; roots && roots[i]; i++)
        free(roots[i]);
    free(roots);
}

struct discover *discover_free(struct discover *discover)
{
    if (!discover)
        return NULL;
    for (size_t i = 0; i < discover->n_sites; i++)
        site_free(discover->sites[i]);
    free(discover->sites);
    free(discover->listed);
    image_set_done(&discover->images);
    device_map_done(&discover->devices);
    roots_free(discover->roots);
    sd_event_unref(discover->event);
    free(discover);
    return NULL;
}

uint64_t discover_now(const struct discover *discover)
{
    uint64_t now = 0;

    (void) sd_event_now(discover->event, CLOCK_REALTIME, &now);     /* fails for a wrong clock only */
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
    image->present = false;
    image_set_remove(&discover->images, image);
    discover_site(discover, image->datastore)->n_known--;
    discover->options.image(discover->options.userdata, image, DISCOVER_VANISHED, by_walk);
    image_free(image);
}

/* ---- datastores come and go ----------------------------------------------------------------- */

/* Takes the datastore. */
static int discover_add(struct discover *discover, struct datastore *datastore, struct site **ret_site)
{
    struct site **sites = reallocarray(discover->sites, discover->n_sites + 1, sizeof(*sites));
    struct datastore **listed = reallocarray(discover->listed, discover->n_sites + 1, sizeof(*listed));
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
    for (i = discover->n_sites++; i > 0 && strcmp(sites[i - 1]->datastore->name, datastore->name) > 0; i--)
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
    site->n_known++;
    return 0;
}

static int datastore_new(const struct config_datastore *config, struct datastore **ret_datastore)
{
    struct datastore *datastore = calloc(1, sizeof(*datastore));

    if (!datastore)
        return -ENOMEM;
    datastore->name = strdup(config->name);
    datastore->path = strdup(config->path);
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

static const struct config_datastore *config_find(const struct config *config, const struct datastore *datastore)
{
    for (size_t i = 0; i < config->n_datastores; i++)
        if (strcmp(config->datastores[i].name, datastore->name) == 0 &&
            strcmp(config->datastores[i].path, datastore->path) == 0)
            return &config->datastores[i];
    return NULL;
}

static int roots_new(const struct config *config, char ***ret_roots)
{
    char **roots = calloc(config->n_datastores + 1, sizeof(*roots));

    for (size_t i = 0; roots && i < config->n_datastores; i++) {
        roots[i] = strdup(config->datastores[i].path);
        if (!roots[i]) {
            roots_free(roots);
            roots = NULL;
        }
    }
    if (!roots)
        return -ENOMEM;
    *ret_roots = roots;
    return 0;
}

static bool roots_equal(char *const *a, char *const *b)
{
    size_t i;

    for (i = 0; a[i] && b[i]; i++)
        if (strcmp(a[i], b[i]) != 0)
            return false;
    return !a[i] && !b[i];
}

int discover_set_config(struct discover *discover, const struct config *config)
{
    char **roots;
    bool restart_all;
    int r;

    r = roots_new(config, &roots);
    if (r < 0)
        return r;
    /* Each helper knows all roots: references may lead from one datastore into another. */
    restart_all = !roots_equal(roots, discover->roots) || discover->files_deadline != config->files_deadline;
    for (size_t i = discover->n_sites; i-- > 0;)
        if (!config_find(config, discover->sites[i]->datastore))
            discover_remove(discover, i);
    roots_free(discover->roots);
    discover->roots = roots;
    discover->files_deadline = config->files_deadline;

    for (size_t i = 0; i < config->n_datastores; i++) {
        const struct config_datastore *wanted = &config->datastores[i];
        struct site *site = find_site(discover, wanted->name);
        struct datastore *datastore;
        bool restart = restart_all;

        if (!site) {
            r = datastore_new(wanted, &datastore);
            if (r >= 0)
                r = discover_add(discover, datastore, &site);
            if (r < 0)
                return r;
        }
        restart = restart || !site->configured || site->watch != wanted->watch ||
                  site->datastore->recursive != wanted->recursive;
        site->configured = true;
        site->watch = wanted->watch;
        site->datastore->recursive = wanted->recursive;
        if (restart)
            site_start(site);
    }
    return 0;
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
    site->accept_any = true;
    site_resume(site);
    return 0;
}

void discover_datastores(struct discover *discover, struct datastore *const **ret_datastores, size_t *ret_n)
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

int discover_images_below(struct discover *discover, const char *path, struct image *const **ret_images, size_t *ret_n)
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

/* The longest root that path lies in, as it was given or as it really is. */
struct datastore *discover_datastore_of(const struct discover *discover, const char *path)
{
    struct datastore *best = NULL;
    size_t n_best = 0;

    for (size_t i = 0; i < discover->n_sites; i++) {
        const struct site *site = discover->sites[i];
        const char *const roots[] = { site->datastore->path, site->real_path };

        for (size_t j = 0; j < ELEMENTSOF(roots); j++)
            if (roots[j] && path_is_below(path, roots[j]) && strlen(roots[j]) > n_best) {
                best = site->datastore;
                n_best = strlen(roots[j]);
            }
    }
    return best;
}

struct files *discover_files(const struct discover *discover, const struct datastore *datastore)
{
    struct site *site = discover_site(discover, datastore);

    return site && datastore->state == DATASTORE_ONLINE ? site->files : NULL;
}
