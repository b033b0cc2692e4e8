/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The graph's edges: images found by path and identity, however late they come, and overlays
 * that wait for them. */
#include <errno.h>
#include <string.h>

#include "daemon/relate/internal.h"
#include "lib/cleanup.h"

struct node *spot_choose(const struct graph *graph, struct spot spot, const char *path)
{
    struct node *best = NULL;

    for (struct seat *seat = spot_first(graph, spot); seat; seat = seat_next(seat)) {
        struct node *node = seat_node(seat);

        if (!node->image->present)
            continue;
        if (path && strcmp(node->image->path, path) == 0)
            return node;
        if (!best || strcmp(node->image->path, best->image->path) < 0)
            best = node;
    }
    return best;
}

/* ---- marking -------------------------------------------------------------------------------- */

void node_mark(struct graph *graph, struct node *node, unsigned flags)
{
    if (!(node->flags & NODE_TOUCHED)) {
        TAILQ_INSERT_TAIL(&graph->touched, node, touched);
        node->flags |= NODE_TOUCHED;
    }
    node->flags |= flags;
}

void node_unmark(struct graph *graph, struct node *node)
{
    if (node->flags & NODE_TOUCHED)
        TAILQ_REMOVE(&graph->touched, node, touched);
    node->flags = 0;
}

int64_t node_made(const struct node *node)
{
    const struct image *image = node->image;

    if (image_is_device(image))
        return (int64_t)(image->first_seen * 1000);
    return image->identity.btime != 0 ? image->identity.btime : image->fingerprint.mtime;
}

/* ---- what is opened as raw ------------------------------------------------------------------ */

bool image_was_raw(const struct image *image)
{
    return image->raw_size > 0 && image->raw_size == image->fingerprint.size;
}

/* A guest that has a raw disk writes whatever header it likes, and QEMU follows none of it. Only
 * what was seen to be raw counts: a definition that says raw may be wrong, and then what stands on
 * the parent is real. */
bool image_opened_raw(const struct graph *graph, const struct image *image)
{
    struct usage usage;

    if (!image_was_raw(image) ||
        (image->parent.state == REFERENCE_NONE && image->data_file.state == REFERENCE_NONE &&
         image->extents.n == 0))
        return false;
    usage = graph_image_usage(graph, image);
    for (size_t i = 0; i < usage.n_entries; i++) {
        const struct usage_entry *entry = &usage.entries[i];
        const char *format = entry->kind == USAGE_LAYER
                                 ? entry->disk->layers[entry->layer].format : NULL;

        if (format && strcmp(format, "raw") != 0)
            return false;
    }
    return true;
}

/* ---- edges ---------------------------------------------------------------------------------- */

static void edge_cut(struct graph *graph, struct node *child)
{
    struct node *parent = child->parent;

    if (!parent)
        return;
    node_uncount(graph, child);
    parent->children[child->index] = parent->children[--parent->n_children];
    image_node(parent->children[child->index])->index = child->index;
    child->parent = NULL;
    if (child->seen_made == parent->children_made)
        parent->children_made = 0;
    node_mark(graph, parent, NODE_TELL | NODE_CHECK_GOLDEN | NODE_EDGE);
    node_mark(graph, child, NODE_TELL | NODE_DIRTY | NODE_CHECK_GOLDEN | NODE_EDGE);
}

static int edge_make(struct graph *graph, struct node *child, struct node *parent)
{
    if (parent->n_children == parent->allocated_children) {
        size_t n = parent->allocated_children > 0 ? parent->allocated_children * 2 : 2;
        struct image **grown = reallocarray(parent->children, n, sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        parent->children = grown;
        parent->allocated_children = n;
    }
    child->index = parent->n_children;
    parent->children[parent->n_children++] = child->image;
    child->parent = parent;
    if (parent->n_children == 1)
        parent->children_made = 0;
    else if (parent->children_made != 0 && child->seen_made < parent->children_made)
        parent->children_made = child->seen_made;
    node_mark(graph, parent, NODE_TELL | NODE_CHECK_GOLDEN | NODE_EDGE);
    node_mark(graph, child, NODE_TELL | NODE_DIRTY | NODE_CHECK_GOLDEN | NODE_EDGE);
    return 0;
}

static struct spot reference_spot(const struct node *node, unsigned seat)
{
    return seat_spot(node->references ? &node->references->seats[seat] : NULL);
}

/* Brings the node's edge in line with its reference and with what is there now. */
static int node_link(struct graph *graph, struct node *node)
{
    const struct reference *reference = &node->image->parent;
    struct node *parent;

    parent = spot_choose(graph, spot_as(reference_spot(node, SEAT_WANTS_IDENTITY), SPOT_IDENTITY),
                         reference->path);
    if (!parent)
        parent = spot_choose(graph, spot_as(reference_spot(node, SEAT_WANTS_PATH), SPOT_PATH),
                             reference->path);
    if (parent == node->parent)
        return 0;
    edge_cut(graph, node);
    return parent ? edge_make(graph, node, parent) : 0;
}

/* Those that wait for what comes, or went, look again. */
static int link_wanting(struct graph *graph, struct spot wanted)
{
    for (struct seat *seat = spot_first(graph, wanted); seat; seat = seat_next(seat)) {
        int r = node_link(graph, seat_node(seat));

        if (r < 0)
            return r;
    }
    return 0;
}

static const char *path_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* All that are seated there are judged again. */
static void spot_tell_all(struct graph *graph, struct spot spot)
{
    for (struct seat *seat = spot_first(graph, spot); seat; seat = seat_next(seat))
        node_mark(graph, seat_node(seat), NODE_TELL);
}

static struct spot data_spot(const struct graph *graph, const struct node *node,
                             const struct reference *reference)
{
    if (node->raw || reference->state != REFERENCE_FOUND)
        return (struct spot){ .kind = SPOT_NONE };
    return spot_of_identity(graph, SPOT_DATA_FILE, &reference->identity);
}

/* An image without references needs no seats for them. */
static int reference_take(struct graph *graph, struct node *node, unsigned seat, struct spot spot)
{
    if (!node->references) {
        int r = spot.kind == SPOT_NONE ? 0
                                       : seat_block_new(node, _SEAT_REFERENCE_MAX,
                                                        &node->references);

        if (r < 0 || !node->references)
            return r;
    }
    return seat_take(graph, &node->references->seats[seat], spot);
}

/* Those that have the same data file are judged again when one of them comes or goes. */
static int node_seat_data_file(struct graph *graph, struct node *node)
{
    struct spot left = reference_spot(node, SEAT_DATA_FILE),
                spot = data_spot(graph, node, &node->image->data_file);
    bool present_changed = node->image->present != node->seen_present;
    int r = reference_take(graph, node, SEAT_DATA_FILE, spot);

    if (r > 0)
        spot_tell_all(graph, left);
    if (r > 0 || (r == 0 && present_changed))
        spot_tell_all(graph, spot);
    return r;
}

/* What is said of a file changes when it becomes, or is no more, the data file or an extent of
 * another image; by a record also what it is to its parent. */
static void tell_file(struct graph *graph, const struct node *node, struct spot data)
{
    struct seat *seat = spot_first(graph, spot_as(data, SPOT_IDENTITY));

    for (; seat; seat = seat_next(seat)) {
        node_mark(graph, seat_node(seat), node->record ? NODE_RECORDED : NODE_TELL);
        /* a piece of a disk has lost no header */
        if (!node->record && node_doubt(graph, seat_node(seat)) < 0)
            graph->doubts_uncounted = true;
    }
}

static void leave_extents(struct graph *graph, struct node *node)
{
    for (uint32_t i = 0; i < node->n_extents; i++) {
        struct seat *seat = &node->extents->seats[i];
        struct spot left = seat_spot(seat);

        seat_leave(graph, seat);
        tell_file(graph, node, left);
    }
    free(TAKE_PTR(node->extents));
    node->n_extents = 0;
}

static bool extents_are_seated(const struct graph *graph, const struct node *node)
{
    const struct reference_list *extents = &node->image->extents;

    if (node->n_extents != (node->raw ? 0 : extents->n))
        return false;
    for (uint32_t i = 0; i < node->n_extents; i++)
        if (!spot_equal(seat_spot(&node->extents->seats[i]),
                        data_spot(graph, node, &extents->items[i])))
            return false;
    return true;
}

static int node_seat_extents(struct graph *graph, struct node *node)
{
    const struct reference_list *extents = &node->image->extents;
    int r;

    if (extents_are_seated(graph, node))
        return 0;
    leave_extents(graph, node);
    if (extents->n == 0 || node->raw)
        return 0;
    r = seat_block_new(node, extents->n, &node->extents);
    if (r < 0)
        return r;
    node->n_extents = (uint32_t)extents->n;
    for (uint32_t i = 0; i < node->n_extents; i++) {
        struct spot spot = data_spot(graph, node, &extents->items[i]);

        r = seat_take(graph, &node->extents->seats[i], spot);
        if (r < 0)
            return r;
        tell_file(graph, node, spot);
    }
    return 0;
}

void node_tell_data(struct graph *graph, const struct node *node)
{
    tell_file(graph, node, reference_spot(node, SEAT_DATA_FILE));
    for (uint32_t i = 0; i < node->n_extents; i++)
        tell_file(graph, node, seat_spot(&node->extents->seats[i]));
}

void graph_tell_users(struct graph *graph, const struct identity *identity)
{
    spot_tell_all(graph, spot_of_identity(graph, SPOT_DATA_FILE, identity));
}

static int node_seat_folder(struct graph *graph, struct node *node)
{
    struct spot left = reference_spot(node, SEAT_FOLDER);
    int r = reference_take(graph, node, SEAT_FOLDER, node_folder_spot(graph, node));

    graph->records_left |= r > 0 && left.kind == SPOT_RECORDS;
    return r;
}

int node_seat(struct graph *graph, struct node *node)
{
    const struct image *image = node->image;
    const struct reference *reference = &image->parent;
    bool found = !node->raw && reference->state == REFERENCE_FOUND;
    bool moved = image->present != node->seen_present;
    struct seat *seats = node->seats;
    struct spot left, wanted = { .kind = SPOT_NONE };
    int r;

    r = seat_take(graph, &seats[SEAT_PATH], spot_of_text(graph, SPOT_PATH, image->path));
    if (r < 0)
        return r;
    if (r > 0)
        node_name_changed(node);
    moved |= r > 0;
    r = seat_take(graph, &seats[SEAT_NAME],
                  spot_of_text(graph, SPOT_NAME, path_name(image->path)));
    if (r < 0)
        return r;
    r = node_seat_data_file(graph, node);
    if (r >= 0)
        r = node_seat_extents(graph, node);
    if (r >= 0)
        r = node_seat_folder(graph, node);
    if (r < 0)
        return r;
    left = seat_spot(&seats[SEAT_IDENTITY]);
    r = seat_take(graph, &seats[SEAT_IDENTITY],
                  spot_of_identity(graph, SPOT_IDENTITY, &image->identity));
    if (r < 0)
        return r;
    if (r > 0) {
        /* Another file is at the path now: whoever found the old one by identity has to look
         * again. */
        moved = true;
        r = link_wanting(graph, spot_as(left, SPOT_WANTED_IDENTITY));
        if (r < 0)
            return r;
    }
    node->seen_present = image->present;
    if (moved) {
        r = link_wanting(graph, spot_as(seat_spot(&seats[SEAT_PATH]), SPOT_WANTED_PATH));
        if (r >= 0)
            r = link_wanting(graph, spot_as(seat_spot(&seats[SEAT_IDENTITY]),
                                            SPOT_WANTED_IDENTITY));
        if (r < 0)
            return r;
    }

    if (found)
        wanted = spot_of_text(graph, SPOT_WANTED_PATH, reference->path);
    r = reference_take(graph, node, SEAT_WANTS_PATH, wanted);
    if (r < 0)
        return r;
    if (found)
        wanted = spot_of_identity(graph, SPOT_WANTED_IDENTITY, &reference->identity);
    r = reference_take(graph, node, SEAT_WANTS_IDENTITY, wanted);
    if (r < 0)
        return r;
    return node_link(graph, node);
}

void node_unseat(struct graph *graph, struct node *node)
{
    bool present = node->image->present;

    /* An image that is not present is nobody's parent: its overlays look for another one. Where
     * there is no memory for a new edge, an overlay is left without one until it is told of
     * again. */
    node->image->present = false;
    while (node->n_children > 0) {
        struct node *child = image_node(node->children[node->n_children - 1]);

        edge_cut(graph, child);
        node_link(graph, child);
    }
    node->image->present = present;
    edge_cut(graph, node);
    spot_tell_all(graph, reference_spot(node, SEAT_DATA_FILE));
    graph->records_left |= node->record != 0;
    graph->n_records -= node->record != 0;
    leave_extents(graph, node);
    for (int i = 0; i < _SEAT_OWN_MAX; i++)
        seat_leave(graph, &node->seats[i]);
    for (int i = 0; node->references && i < _SEAT_REFERENCE_MAX; i++)
        seat_leave(graph, &node->references->seats[i]);
    free(TAKE_PTR(node->references));
    node_undoubt(graph, node);
}
