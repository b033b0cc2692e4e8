/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looking up in the graph: images by path, identity and name, overlays, who shares a data file, and
 * when a layer was made. */
#include <string.h>

#include "daemon/relate/internal.h"

struct image *graph_find(const struct graph *graph, const char *path)
{
    struct seat *seat = spot_first(graph, spot_of_text(graph, SPOT_PATH, path));

    return seat ? seat_node(seat)->image : NULL;
}

struct image *graph_find_identity(const struct graph *graph, const struct identity *identity)
{
    struct node *node = spot_choose(graph, spot_of_identity(graph, SPOT_IDENTITY, identity), NULL);

    return node ? node->image : NULL;
}

size_t graph_find_name(const struct graph *graph, const char *name, struct image **ret_images,
                       size_t max)
{
    struct seat *seat = spot_first(graph, spot_of_text(graph, SPOT_NAME, name));
    size_t n = 0;

    for (; seat && n < max; seat = seat_next(seat))
        if (seat_node(seat)->image->present)
            ret_images[n++] = seat_node(seat)->image;
    return n;
}

struct image *graph_child(const struct image *image, size_t i)
{
    const struct node *node = image_node(image);

    return node && i < node->n_children ? node->children[i] : NULL;
}

/* ---- data files ----------------------------------------------------------------------------- */

size_t graph_data_file_owners(const struct graph *graph, const struct image *image,
                              struct image **ret_images, size_t max)
{
    struct seat *seat = spot_first(graph,
                                   spot_of_identity(graph, SPOT_DATA_FILE, &image->identity));
    size_t n = 0;

    for (; seat; seat = seat_next(seat)) {
        struct image *owner = seat_node(seat)->image;

        if (owner == image || seat_node(seat)->record)
            continue;           /* a record names disks, and keeps nothing in them */
        if (n < max)
            ret_images[n] = owner;
        n++;
    }
    return n;
}

bool graph_is_data_file(const struct graph *graph, const struct image *image)
{
    struct image *owner;

    return graph_data_file_owners(graph, image, &owner, 1) > 0;
}

struct image *graph_data_owner(const struct graph *graph, const struct image *image)
{
    struct seat *seat = spot_first(graph,
                                   spot_of_identity(graph, SPOT_DATA_FILE, &image->identity));
    struct image *owner = NULL;

    for (; seat; seat = seat_next(seat)) {
        struct image *other = seat_node(seat)->image;

        if (other != image && other->present && !seat_node(seat)->record &&
            (!owner || strcmp(other->path, owner->path) < 0))
            owner = other;
    }
    return owner;
}

size_t graph_data_file_users(const struct graph *graph, const struct image *image,
                             struct image **ret_images, size_t max)
{
    const struct node *node = image_node(image);
    struct seat *seat = node && node->references ? &node->references->seats[SEAT_DATA_FILE] : NULL;
    size_t n = 0;

    for (seat = spot_first(graph, seat_spot(seat)); seat; seat = seat_next(seat)) {
        struct image *other = seat_node(seat)->image;
        size_t at = n < max ? n : max;

        /* the same image by another name (a hard link) is no other user */
        if (other == image || !other->present || identity_equal(&other->identity, &image->identity))
            continue;
        n++;
        for (; at > 0 && strcmp(other->path, ret_images[at - 1]->path) < 0; at--)
            if (at < max)
                ret_images[at] = ret_images[at - 1];
        if (at < max)
            ret_images[at] = other;
    }
    return n;
}

/* ---- times ---------------------------------------------------------------------------------- */

static uint64_t nsec_to_usec(int64_t nsec)
{
    return nsec > 0 ? (uint64_t)nsec / 1000 : 0;
}

/* A snapshot's parent was written until the snapshot was made, and a file is born when it is made;
 * but a copy is born when it is copied, which it shows by a birth later than its last write. None
 * is younger than its last write. */
uint64_t graph_layer_created(const struct graph *graph, const struct image *image,
                             const char **ret_source)
{
    const struct node *node = image_node(image);
    const struct image *parent = node && node->parent && node->kind == RELATION_SNAPSHOT
                                     ? node->parent->image : NULL;
    struct usage usage = graph_image_usage(graph, image);
    const struct usage_entry *made = usage_made(&usage, NULL);
    int64_t birth = image_birth(image), written = image->fingerprint.mtime, created;
    const char *source;

    if (made && made->snapshot->created > 0) {
        if (ret_source)
            *ret_source = "libvirt";
        return made->snapshot->created;
    }
    if (parent && !image_is_device(parent) && parent->fingerprint.mtime >= birth &&
        (image_is_device(image) || parent->fingerprint.mtime <= written)) {
        created = parent->fingerprint.mtime;
        source = "parent-mtime";
    } else if (image_is_device(image)) {
        if (ret_source)
            *ret_source = "first-seen";
        return image->first_seen;
    } else {
        created = birth > 0 ? birth : written;
        source = birth > 0 ? "birth-time" : "mtime";
    }
    if (ret_source)
        *ret_source = source;
    return nsec_to_usec(created);
}
