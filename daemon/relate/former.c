/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds a lost parent's new place by identity, by content, by name. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/relate/internal.h"

static const char *path_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

const char *found_by_name(enum found_by by)
{
    static const char *const names[_FOUND_BY_MAX] = {
        [FOUND_BY_IDENTITY] = "identity",
        [FOUND_BY_CONTENT] = "content",
        [FOUND_BY_NAME] = "name",
    };

    return (unsigned)by < _FOUND_BY_MAX ? names[by] : NULL;
}

/* Does the candidate itself stand on the image? Then it cannot be its parent. */
static bool stands_on(const struct image *candidate, const struct image *image)
{
    const struct node *node = image_node(candidate), *below = image_node(image), *slow = node;

    for (bool move = false; node; move = !move) {
        if (node == below)
            return true;
        node = node->parent;
        if (move && slow)
            slow = slow->parent;
        if (node && node == slow)
            return false;       /* a loop, of which the image is no member */
    }
    return false;
}

static uint64_t virtual_size_of(const struct image *image)
{
    const struct layer_report *layer = image_layer(image);

    return layer ? layer->info.virtual_size : 0;
}

/* The layer's content as read last; NULL where that is not known, or not of the file as it is. */
static const struct baseline *content_of(const struct image *image)
{
    const struct baseline *baseline = image->baseline;

    return baseline && baseline->has_digest && !baseline->deviation &&
                   identity_equal(&baseline->identity, &image->identity) &&
                   baseline->fingerprint.size == image->fingerprint.size &&
                   baseline->fingerprint.mtime == image->fingerprint.mtime
               ? baseline : NULL;
}

static bool content_equal(const struct former *former, const struct baseline *baseline)
{
    return former->has_digest && former->encrypted == baseline->encrypted &&
           former->virtual_size == baseline->virtual_size &&
           memcmp(former->digest, baseline->digest, sizeof(former->digest)) == 0 &&
           identity_equal(&former->parent, &baseline->parent);
}

/* Is it known to hold something else than what was lost? */
static bool is_another(const struct former *former, const struct image *image)
{
    const struct baseline *content = content_of(image);
    uint64_t virtual_size = virtual_size_of(image);

    if (!former)
        return false;
    if (former->has_digest && content)
        return !content_equal(former, content);
    return (former->virtual_size != 0 && virtual_size != 0 &&
            former->virtual_size != virtual_size) ||
           (former->size != 0 && former->size != image->fingerprint.size);
}

struct finding_list {
    struct lost_parent *items;
    size_t n, max;
};

static void list_add(struct finding_list *list, struct image *image, enum found_by by, bool changed)
{
    size_t at = list->n;

    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].image == image)
            return;
    if (list->n == list->max)
        return;
    /* In order of path within a kind: not of arrival. */
    for (; at > 0 && list->items[at - 1].by == by &&
           strcmp(image->path, list->items[at - 1].image->path) < 0; at--)
        list->items[at] = list->items[at - 1];
    list->items[at] = (struct lost_parent){ .image = image, .by = by, .changed = changed };
    list->n++;
}

static bool is_possible(const struct image *candidate, const struct image *image)
{
    return candidate != image && candidate->present && !stands_on(candidate, image);
}

static void find_identity(const struct graph *graph, const struct image *image,
                          struct finding_list *list)
{
    const struct former *former = image->former;
    struct seat *seat = spot_first(graph,
                                   spot_of_identity(graph, SPOT_IDENTITY, &former->identity));

    for (; seat; seat = seat_next(seat)) {
        struct image *found = seat_node(seat)->image;

        if (is_possible(found, image))
            list_add(list, found, FOUND_BY_IDENTITY, is_another(former, found));
    }
}

/* Overlays of one lost parent ask one after the other: the last answer is kept as long as it
 * holds. */
static void find_content(const struct graph *graph, const struct image *image,
                         struct finding_list *list)
{
    const struct former *former = image->former;
    struct same *same = graph->same;
    struct node *node;

    if (!former->has_digest || former->encrypted)
        return;
    if (!same->valid || memcmp(same->digest, former->digest, sizeof(same->digest)) != 0) {
        *same = (struct same){ .valid = true };
        memcpy(same->digest, former->digest, sizeof(same->digest));
        GRAPH_FOREACH(node, graph)
            if (node->image->present && content_of(node->image) && same->n < SAME_MAX &&
                memcmp(node->image->baseline->digest, same->digest, sizeof(same->digest)) == 0)
                same->images[same->n++] = node->image;
    }
    for (size_t i = 0; i < same->n; i++) {
        const struct baseline *content = content_of(same->images[i]);

        if (content && is_possible(same->images[i], image) && content_equal(former, content))
            list_add(list, same->images[i], FOUND_BY_CONTENT, false);
    }
}

static void find_name(const struct graph *graph, const struct image *image, const char *name,
                      struct finding_list *list)
{
    struct seat *seat = spot_first(graph, spot_of_text(graph, SPOT_NAME, name));

    for (; seat; seat = seat_next(seat)) {
        struct image *found = seat_node(seat)->image;

        if (is_possible(found, image) && !is_another(image->former, found))
            list_add(list, found, FOUND_BY_NAME, false);
    }
}

size_t graph_find_lost(const struct graph *graph, const struct image *image,
                       struct lost_parent *ret_candidates, size_t max)
{
    struct finding_list list = { .items = ret_candidates, .max = max };

    if (image_opened_raw(graph, image))
        return 0;
    if (image->former) {
        find_identity(graph, image, &list);
        find_content(graph, image, &list);
    }
    if (list.n == 0 && image->parent.stored)
        find_name(graph, image, path_name(image->parent.stored), &list);
    if (list.n == 0 && image->former)
        find_name(graph, image, path_name(image->former->path), &list);
    return list.n;
}

bool lost_stayed(const struct image *image, const struct lost_parent *lost)
{
    return lost->by == FOUND_BY_IDENTITY && image->former &&
           strcmp(image->former->path, lost->image->path) == 0;
}

bool former_is_there(const struct graph *graph, const struct image *image)
{
    struct lost_parent found;
    struct finding_list list = { .items = &found, .max = 1 };

    if (image->former && image->former->identity.inode != 0)
        find_identity(graph, image, &list);
    return list.n > 0 && !found.changed;
}

/* The identity seen at a run's begin is surest; else the layer above knows what its parent was. */
struct image *graph_find_renamed(const struct graph *graph, const struct usage_entry *entry)
{
    const struct virt_disk *disk = entry->disk;
    const char *above = entry->layer > 0 && disk ? disk->layers[entry->layer - 1].path : NULL;
    struct image *image = NULL, *overlay;
    struct lost_parent found;

    if (entry->noted) {
        image = graph_find_identity(graph, &entry->identity);
    } else if (above) {
        overlay = graph_find(graph, usage_path(graph->usage, above));
        if (overlay && graph_find_lost(graph, overlay, &found, 1) == 1 &&
            found.by == FOUND_BY_IDENTITY && !found.changed)
            image = found.image;
    }
    return image && image->present && strcmp(image->path, entry->path) != 0 ? image : NULL;
}

static void tell_wanting(struct graph *graph, struct spot spot)
{
    for (struct seat *seat = spot_first(graph, spot); seat; seat = seat_next(seat)) {
        node_mark(graph, seat_node(seat), NODE_TELL);
        graph->doubts_changed |= spot.kind == SPOT_FORMER;      /* former_is_there() */
    }
}

void node_tell_wanting(struct graph *graph, const struct node *node)
{
    const struct image *image = node->image;

    graph->same->valid = false;
    if (graph->n_doubtful == 0)
        return;
    tell_wanting(graph, spot_of_identity(graph, SPOT_FORMER, &image->identity));
    tell_wanting(graph, spot_of_text(graph, SPOT_FORMER_NAME, path_name(image->path)));
    tell_wanting(graph, spot_of_number(graph, SPOT_FORMER_SIZE, image->fingerprint.size));
}

void graph_content_changed(struct graph *graph, const struct image *image)
{
    struct node *node;

    graph->same->valid = false;
    if (graph->n_doubtful == 0 || !image->baseline || !image->baseline->has_digest)
        return;
    GRAPH_FOREACH(node, graph)
        if (node->doubt_seats && node->image->former && node->image->former->has_digest &&
            memcmp(node->image->former->digest, image->baseline->digest, 32) == 0)
            node_mark(graph, node, NODE_TELL);
}
