/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The set of all images by path, and small facts about files: identity, fingerprint, backing
 * disk. */
#include "daemon/discover/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "lib/cleanup.h"

static int compare_paths(const void *a, const void *b)
{
    const struct image *image_a = a, *image_b = b;

    return strcmp(image_a->path, image_b->path);
}

int image_set_add(struct image_set *set, struct image *image)
{
    struct image **found = tsearch(image, &set->tree, compare_paths);

    if (!found)
        return -ENOMEM;
    if (*found != image)
        return -EEXIST;
    set->n_images++;
    set->generation++;
    set->sorted_valid = false;
    return 0;
}

void image_set_remove(struct image_set *set, struct image *image)
{
    if (!tdelete(image, &set->tree, compare_paths))
        return;
    set->n_images--;
    set->generation++;
    set->sorted_valid = false;
}

/* The key is only compared; tfind() would want it as an image. */
static int compare_key(const void *key, const void *item)
{
    const struct image *image = item;

    return strcmp(key, image->path);
}

struct image *image_set_find(const struct image_set *set, const char *path)
{
    struct image **found = tfind(path, &set->tree, compare_key);

    return found ? *found : NULL;
}

static void collect(const void *node, VISIT which, void *userdata)
{
    struct image_set *set = userdata;

    if (which == postorder || which == leaf)
        set->sorted[set->n_sorted++] = *(struct image *const *)node;
}

int image_set_sort(struct image_set *set)
{
    if (set->sorted_valid)
        return 0;
    if (set->n_allocated < set->n_images) {
        size_t n = set->n_images + set->n_images / 4 + 16;
        struct image **sorted = reallocarray(set->sorted, n, sizeof(*sorted));

        if (!sorted)
            return -ENOMEM;
        set->sorted = sorted;
        set->n_allocated = n;
    }
    set->n_sorted = 0;
    twalk_r(set->tree, collect, set);
    set->sorted_valid = true;
    return 0;
}

/* The first image whose path, as far as n bytes go, is not before (or, after: is behind) the
 * prefix. */
static size_t lower_bound(const struct image_set *set, const char *prefix, size_t n, bool after)
{
    size_t first = 0, end = set->n_sorted;

    while (first < end) {
        size_t middle = first + (end - first) / 2;
        int order = strncmp(set->sorted[middle]->path, prefix, n);

        if (order < 0 || (after && order == 0))
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

void image_set_below(const struct image_set *set, const char *path, size_t *ret_first,
                     size_t *ret_end)
{
    _cleanup_free_ char *prefix = NULL;
    int n = asprintf(&prefix, "%s/", strcmp(path, "/") == 0 ? "" : path);

    if (n < 0) {
        prefix = NULL;
        *ret_first = *ret_end = 0;
        return;
    }
    *ret_first = lower_bound(set, prefix, (size_t)n, false);
    *ret_end = lower_bound(set, prefix, (size_t)n, true);
}

static void free_node(void *node)
{
    image_free(node);
}

void image_set_done(struct image_set *set)
{
    tdestroy(set->tree, free_node);
    free(set->sorted);
    *set = (struct image_set){ 0 };
}

static int number_read(const char *path, uint64_t *ret_device)
{
    _cleanup_fclose_ FILE *file = fopen(path, "re");
    unsigned major_number, minor_number;

    if (!file)
        return -errno;
    if (fscanf(file, "%u:%u", &major_number, &minor_number) != 2)
        return -EBADMSG;
    *ret_device = makedev(major_number, minor_number);
    return 0;
}

static uint64_t disk_of(uint64_t device)
{
    char path[96];
    uint64_t disk = device;

    /* Below a partition's directory lies "partition", above it its disk's. */
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/partition", major(device), minor(device));
    if (access(path, F_OK) < 0)
        return device;
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/../dev", major(device), minor(device));
    (void) number_read(path, &disk);    /* else its own reader */
    return disk;
}

uint64_t device_map_disk(struct device_map *map, uint64_t device)
{
    void *items;

    for (size_t i = 0; i < map->n_items; i++)
        if (map->items[i].device == device)
            return map->items[i].disk;
    items = reallocarray(map->items, map->n_items + 1, sizeof(*map->items));
    if (!items)
        return device;
    map->items = items;
    map->items[map->n_items].device = device;
    return map->items[map->n_items++].disk = disk_of(device);
}

void device_map_done(struct device_map *map)
{
    free(map->items);
    *map = (struct device_map){ 0 };
}
