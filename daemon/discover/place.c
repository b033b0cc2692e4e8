/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds the datastores that are wanted: those of the configuration, and libvirt's pools, under
 * names of their own. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "daemon/core/strv.h"
#include "daemon/discover/internal.h"
#include "lib/cleanup.h"

#define NAME_LENGTH_MAX 60      /* as a configuration's, less a number */

static void place_done(struct place *place)
{
    free(place->name);
    free(place->path);
    free(place->pool);
    strv_free(place->devices);
    strv_free(place->exclude);
    strv_free(place->follow);
}

void places_done(struct places *places)
{
    for (size_t i = 0; i < places->n_items; i++)
        place_done(&places->items[i]);
    free(places->items);
    *places = (struct places){ 0 };
}

/* Takes what place owns, also when it fails. */
static int places_add(struct places *places, struct place *place)
{
    struct place *items = reallocarray(places->items, places->n_items + 1, sizeof(*items));

    if (!items) {
        place_done(place);
        return -ENOMEM;
    }
    places->items = items;
    items[places->n_items++] = *place;
    return 0;
}

int places_add_config(struct places *places, const struct config_datastore *config)
{
    struct place place = {
        .name = strdup(config->name), .path = strdup(config->path), .recursive = config->recursive,
        .watch = config->watch, .no_mounts = !config->mounts, .active = true,
    };

    if (!place.name || !place.path || strv_copy(config->exclude, &place.exclude) < 0 ||
        strv_copy(config->devices, &place.follow) < 0) {
        place_done(&place);
        return -ENOMEM;
    }
    return places_add(places, &place);
}

/* Without empty and "." parts. NULL for what is no path, has a "..", or is the root of all;
 * *ret_no_memory tells it from that. */
static char *path_clean(const char *path, bool *ret_no_memory)
{
    _cleanup_free_ char *clean = malloc(strlen(path) + 1);
    char *end = clean;

    *ret_no_memory = !clean;
    if (!clean || path[0] != '/')
        return NULL;
    for (const char *part = path; *part;) {
        size_t n = strcspn(++part, "/");

        if (n == 2 && strncmp(part, "..", 2) == 0)
            return NULL;
        if (n > 0 && !(n == 1 && *part == '.')) {
            *end++ = '/';
            end = mempcpy(end, part, n);
        }
        part += n;
    }
    *end = 0;
    return end == clean || strlen(clean) >= PATH_MAX ? NULL : TAKE_PTR(clean);
}

static int copy_devices(char *const *devices, char ***ret_devices)
{
    size_t n = 0, n_copied = 0;
    char **copy;

    while (devices && devices[n])
        n++;
    copy = calloc(n + 1, sizeof(*copy));
    if (!copy)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (strncmp(devices[i], "/dev/", 5) != 0 || strstr(devices[i], "/../"))
            continue;           /* the helper has no business elsewhere */
        copy[n_copied] = strdup(devices[i]);
        if (!copy[n_copied++]) {
            strv_free(copy);
            return -ENOMEM;
        }
    }
    *ret_devices = copy;
    return 0;
}

int places_add_pool(struct places *places, const struct discover_pool *pool)
{
    bool no_memory;
    struct place place = {
        .path = path_clean(pool->path, &no_memory), .watch = !pool->of_devices,
        .of_devices = pool->of_devices,
        .active = pool->active, .autostart = pool->autostart, .refreshed = pool->refreshed,
        .capacity = pool->capacity, .available = pool->available,
    };
    int r = 0;

    if (!place.path)
        return no_memory ? -ENOMEM : 0;
    place.pool = strdup(pool->name);
    if (pool->of_devices)
        r = copy_devices(pool->devices, &place.devices);
    if (r < 0 || !place.pool) {
        place_done(&place);
        return -ENOMEM;
    }
    return places_add(places, &place);
}

int places_keep(struct places *places, struct places *before)
{
    size_t n = places->n_items;
    int r = 0;

    for (size_t i = 0; i < before->n_items; i++) {
        struct place *kept = &before->items[i];
        bool told = false;

        for (size_t j = 0; j < n && !told; j++)
            told = strcmp(places->items[j].pool, kept->pool) == 0 &&
                   strcmp(places->items[j].path, kept->path) == 0;
        if (told || r < 0) {
            place_done(kept);
            continue;
        }
        r = places_add(places, kept);
    }
    before->n_items = 0;
    return r;
}

/* ---- one list -------------------------------------------------------------------------------- */

static int place_copy(const struct place *place, struct place *ret_copy)
{
    struct place copy = *place;
    int r = 0;

    copy.name = place->name ? strdup(place->name) : NULL;
    copy.path = strdup(place->path);
    copy.pool = place->pool ? strdup(place->pool) : NULL;
    copy.devices = copy.exclude = copy.follow = NULL;
    if (place->devices)
        r = copy_devices(place->devices, &copy.devices);
    if (r >= 0)
        r = strv_copy(place->exclude, &copy.exclude);
    if (r >= 0)
        r = strv_copy(place->follow, &copy.follow);
    if (r < 0 || !copy.path || (place->name && !copy.name) || (place->pool && !copy.pool)) {
        place_done(&copy);
        return -ENOMEM;
    }
    *ret_copy = copy;
    return 0;
}

bool places_have_name(const struct places *places, const char *name)
{
    for (size_t i = 0; i < places->n_items; i++)
        if (strcmp(places->items[i].name, name) == 0)
            return true;
    return false;
}

/* As a datastore of the configuration could be called; with a number where another one is. */
static int pool_name(const struct places *places, const char *pool, char **ret_name)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    char base[NAME_LENGTH_MAX + 1], *name;

    snprintf(base, sizeof(base), "%s", *pool ? pool : "_");
    for (char *c = base; *c; c++)
        if (!strchr(allowed, *c) || (c == base && (*c == '-' || *c == '.')))
            *c = '_';
    name = strdup(base);
    for (unsigned number = 2; name && places_have_name(places, name); number++) {
        free(name);
        if (asprintf(&name, "%s-%u", base, number) < 0)
            name = NULL;
    }
    if (!name)
        return -ENOMEM;
    *ret_name = name;
    return 0;
}

/* By the text of its path alone; what links and mounts make the same shows when it was opened. */
static bool is_there(const struct places *places, const struct place *pool)
{
    for (size_t i = 0; i < places->n_items; i++) {
        const struct place *place = &places->items[i];

        if (place->of_devices != pool->of_devices || pool->of_devices)
            continue;           /* pools of devices share their folder */
        if (strcmp(place->path, pool->path) == 0 ||
            (place->recursive && path_is_below(pool->path, place->path)))
            return true;
    }
    return false;
}

static int compare_pools(const void *a, const void *b)
{
    const struct place *place_a = *(const struct place *const *)a,
                       *place_b = *(const struct place *const *)b;
    int order = strcmp(place_a->pool, place_b->pool);

    return order ?: strcmp(place_a->path, place_b->path);
}

int places_merge(const struct places *configured, const struct places *pools,
                 bool (*known)(void *userdata, const char *name, const char *path), void *userdata,
                 struct places *ret_places)
{
    _cleanup_(places_done) struct places places = { 0 };
    _cleanup_free_ const struct place **sorted = calloc(pools->n_items + 1, sizeof(*sorted));
    struct place copy;
    int r = sorted ? 0 : -ENOMEM;

    for (size_t i = 0; r >= 0 && i < configured->n_items; i++) {
        r = place_copy(&configured->items[i], &copy);
        if (r >= 0)
            r = places_add(&places, &copy);
    }
    for (size_t i = 0; r >= 0 && i < pools->n_items; i++)
        sorted[i] = &pools->items[i];
    if (r >= 0)
        qsort(sorted, pools->n_items, sizeof(*sorted), compare_pools);
    for (size_t i = 0; r >= 0 && i < pools->n_items; i++) {
        if (is_there(&places, sorted[i]))
            continue;
        r = place_copy(sorted[i], &copy);
        if (r < 0)
            break;
        r = pool_name(&places, copy.pool, &copy.name);
        if (r < 0 || (!copy.active && !copy.autostart && !known(userdata, copy.name, copy.path))) {
            place_done(&copy);
            continue;
        }
        r = places_add(&places, &copy);
    }
    if (r < 0)
        return r;
    *ret_places = places;
    places = (struct places){ 0 };
    return 0;
}
