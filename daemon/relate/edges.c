/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The graph's edges: images found by path and identity, however late they come, and overlays
 * that wait for them. */
#include <errno.h>
#include <search.h>
#include <string.h>

#include "daemon/relate/internal.h"
#include "lib/cleanup.h"

/* ---- spots ---------------------------------------------------------------------------------- */

static int compare_numbers(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int spot_compare(const void *a, const void *b)
{
    const struct spot *x = a, *y = b;
    int r = compare_numbers(x->kind, y->kind);

    if (r != 0)
        return r;
    if (x->kind == SPOT_PATH || x->kind == SPOT_NAME || x->kind == SPOT_FORMER_NAME)
        return strcmp(x->text, y->text);
    r = compare_numbers(x->identity.inode, y->identity.inode);
    if (r == 0)
        r = compare_numbers(x->identity.fsid, y->identity.fsid);
    return r != 0 ? r : compare_numbers((uint64_t)x->identity.btime, (uint64_t)y->identity.btime);
}

static bool identity_is_known(const struct identity *identity)
{
    return identity->inode != 0 || identity->fsid != 0;
}

static int spot_new(enum spot_kind kind, const char *text, const struct identity *identity,
                    struct spot **ret)
{
    size_t size = text ? strlen(text) + 1 : 1;
    struct spot *spot = calloc(1, sizeof(*spot) + size);

    if (!spot)
        return -ENOMEM;
    spot->kind = kind;
    if (text)
        memcpy(spot->text, text, size);
    if (identity)
        spot->identity = *identity;
    *ret = spot;
    return 0;
}

int graph_spot(const struct graph *graph, enum spot_kind kind, const char *text,
                      const struct identity *identity, struct spot **ret_spot)
{
    _cleanup_free_ struct spot *key = NULL;
    void *found;
    int r = spot_new(kind, text, identity, &key);

    if (r < 0)
        return r;
    found = tfind(key, &graph->spots, spot_compare);
    if (!found)
        return -ENOENT;
    *ret_spot = *(struct spot **)found;
    return 0;
}

void seat_leave(struct graph *graph, struct seat *seat)
{
    struct spot *spot = seat->spot;

    if (!spot)
        return;
    LIST_REMOVE(seat, link);
    seat->spot = NULL;
    if (LIST_EMPTY(&spot->there) && LIST_EMPTY(&spot->wanted)) {
        tdelete(spot, &graph->spots, spot_compare);
        free(spot);
    }
}

int seat_take(struct graph *graph, struct seat *seat, bool wants, enum spot_kind kind,
              const char *text, const struct identity *identity)
{
    _cleanup_free_ struct spot *key = NULL;
    struct spot *spot;
    void *found;
    int r;

    if (!text && !identity) {
        r = seat->spot ? 1 : 0;
        seat_leave(graph, seat);
        return r;
    }
    r = spot_new(kind, text, identity, &key);
    if (r < 0)
        return r;
    if (seat->spot && spot_compare(seat->spot, key) == 0)
        return 0;
    found = tsearch(key, &graph->spots, spot_compare);
    if (!found)
        return -ENOMEM;
    spot = *(struct spot **)found;
    if (spot == key)
        TAKE_PTR(key);
    seat_leave(graph, seat);
    seat->spot = spot;
    if (wants)
        LIST_INSERT_HEAD(&spot->wanted, seat, link);
    else
        LIST_INSERT_HEAD(&spot->there, seat, link);
    return 1;
}

struct node *spot_choose(const struct spot *spot, const char *path)
{
    struct node *best = NULL;
    struct seat *seat;

    LIST_FOREACH(seat, &spot->there, link) {
        struct node *node = seat->node;

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

/* Brings the node's edge in line with its reference and with what is there now. */
static int node_link(struct graph *graph, struct node *node)
{
    const struct reference *reference = &node->image->parent;
    struct node *parent = NULL;

    if (node->seats[SEAT_WANTS_IDENTITY].spot)
        parent = spot_choose(node->seats[SEAT_WANTS_IDENTITY].spot, reference->path);
    if (!parent && node->seats[SEAT_WANTS_PATH].spot)
        parent = spot_choose(node->seats[SEAT_WANTS_PATH].spot, reference->path);
    if (parent == node->parent)
        return 0;
    edge_cut(graph, node);
    return parent ? edge_make(graph, node, parent) : 0;
}

static int spot_link_wanting(struct graph *graph, struct spot *spot)
{
    struct seat *seat, *next;
    int r;

    if (!spot)
        return 0;
    for (seat = LIST_FIRST(&spot->wanted); seat; seat = next) {
        next = LIST_NEXT(seat, link);
        r = node_link(graph, seat->node);
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

/* All that have this data file are judged again: one of them came or went. */
static void spot_tell_all(struct graph *graph, const struct spot *spot)
{
    struct seat *seat;

    if (spot)
        LIST_FOREACH(seat, &spot->there, link)
            node_mark(graph, seat->node, NODE_TELL);
}

static int node_seat_data_file(struct graph *graph, struct node *node)
{
    const struct reference *reference = &node->image->data_file;
    bool found = !node->raw && reference->state == REFERENCE_FOUND &&
                 identity_is_known(&reference->identity);
    struct seat *seat = &node->seats[SEAT_DATA_FILE];
    bool present_changed = node->image->present != node->seen_present;
    struct spot *left = seat->spot;
    int r;

    if (left && LIST_FIRST(&left->there) == seat && !LIST_NEXT(seat, link) &&
        LIST_EMPTY(&left->wanted))
        left = NULL;            /* it will be gone in a moment */
    r = seat_take(graph, seat, false, SPOT_DATA_FILE, NULL, found ? &reference->identity : NULL);
    if (r > 0)
        spot_tell_all(graph, left);
    if (r > 0 || (r == 0 && present_changed))
        spot_tell_all(graph, seat->spot);
    return r;
}

/* What is said of a file changes when it becomes, or is no more, an extent of another image. */
static void tell_file(struct graph *graph, const struct identity *identity)
{
    struct spot *spot;

    if (graph_spot(graph, SPOT_IDENTITY, NULL, identity, &spot) >= 0)
        spot_tell_all(graph, spot);
}

static void leave_extents(struct graph *graph, struct node *node)
{
    for (size_t i = 0; i < node->n_extents; i++) {
        struct identity identity;

        if (!node->extents[i].spot)
            continue;
        identity = node->extents[i].spot->identity;
        seat_leave(graph, &node->extents[i]);
        tell_file(graph, &identity);
    }
    free(node->extents);
    node->extents = NULL;
    node->n_extents = 0;
}

static bool extents_are_seated(const struct node *node)
{
    const struct reference_list *extents = &node->image->extents;

    if (node->n_extents != (node->raw ? 0 : extents->n))
        return false;
    if (node->raw)
        return true;
    for (size_t i = 0; i < extents->n; i++) {
        const struct reference *reference = &extents->items[i];
        const struct spot *spot = node->extents[i].spot;
        bool found = reference->state == REFERENCE_FOUND &&
                     identity_is_known(&reference->identity);

        if (found != (spot != NULL) ||
            (spot && !identity_equal(&spot->identity, &reference->identity)))
            return false;
    }
    return true;
}

static int node_seat_extents(struct graph *graph, struct node *node)
{
    const struct reference_list *extents = &node->image->extents;

    if (extents_are_seated(node))
        return 0;
    leave_extents(graph, node);
    if (extents->n == 0 || node->raw)
        return 0;
    node->extents = calloc(extents->n, sizeof(*node->extents));
    if (!node->extents)
        return -ENOMEM;
    node->n_extents = extents->n;
    for (size_t i = 0; i < extents->n; i++) {
        const struct reference *reference = &extents->items[i];
        int r;

        node->extents[i].node = node;
        if (reference->state != REFERENCE_FOUND || !identity_is_known(&reference->identity))
            continue;
        r = seat_take(graph, &node->extents[i], false, SPOT_DATA_FILE, NULL, &reference->identity);
        if (r < 0)
            return r;
        tell_file(graph, &reference->identity);
    }
    return 0;
}

void node_tell_data(struct graph *graph, const struct node *node)
{
    if (node->seats[SEAT_DATA_FILE].spot)
        tell_file(graph, &node->image->data_file.identity);
    for (size_t i = 0; i < node->n_extents; i++)
        if (node->extents[i].spot)
            tell_file(graph, &node->extents[i].spot->identity);
}

void graph_tell_users(struct graph *graph, const struct identity *identity)
{
    struct spot *spot;

    if (identity_is_known(identity) &&
        graph_spot(graph, SPOT_DATA_FILE, NULL, identity, &spot) >= 0)
        spot_tell_all(graph, spot);
}

int node_seat(struct graph *graph, struct node *node)
{
    const struct image *image = node->image;
    const struct reference *reference = &image->parent;
    bool found = !node->raw && reference->state == REFERENCE_FOUND;
    bool moved = image->present != node->seen_present;
    struct seat *seats = node->seats;
    struct spot *left;
    int r;

    r = seat_take(graph, &seats[SEAT_PATH], false, SPOT_PATH, image->path, NULL);
    if (r < 0)
        return r;
    if (r > 0)
        node_name_changed(node);
    moved |= r > 0;
    r = seat_take(graph, &seats[SEAT_NAME], false, SPOT_NAME, path_name(image->path), NULL);
    if (r < 0)
        return r;
    r = node_seat_data_file(graph, node);
    if (r >= 0)
        r = node_seat_extents(graph, node);
    if (r < 0)
        return r;
    left = seats[SEAT_IDENTITY].spot;
    if (left && LIST_EMPTY(&left->wanted))
        left = NULL;            /* nobody waits there, so it may be gone in a moment */
    r = seat_take(graph, &seats[SEAT_IDENTITY], false, SPOT_IDENTITY, NULL,
                  identity_is_known(&image->identity) ? &image->identity : NULL);
    if (r < 0)
        return r;
    if (r > 0) {
        /* Another file is at the path now: whoever found the old one by identity has to look
         * again. */
        moved = true;
        r = spot_link_wanting(graph, left);
        if (r < 0)
            return r;
    }
    node->seen_present = image->present;
    if (moved) {
        r = spot_link_wanting(graph, seats[SEAT_PATH].spot);
        if (r >= 0)
            r = spot_link_wanting(graph, seats[SEAT_IDENTITY].spot);
        if (r < 0)
            return r;
    }

    r = seat_take(graph, &seats[SEAT_WANTS_PATH], true, SPOT_PATH, found ? reference->path : NULL,
                  NULL);
    if (r < 0)
        return r;
    r = seat_take(graph, &seats[SEAT_WANTS_IDENTITY], true, SPOT_IDENTITY, NULL,
                  found && identity_is_known(&reference->identity) ? &reference->identity : NULL);
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
    spot_tell_all(graph, node->seats[SEAT_DATA_FILE].spot);
    leave_extents(graph, node);
    for (int i = 0; i < _SEAT_MAX; i++)
        seat_leave(graph, &node->seats[i]);
    node_undoubt(graph, node);
}
