/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The graph of images: edges by place and identity, and the relations that are computed from them. */
#include "daemon/relate.h"

#include <errno.h>
#include <search.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/cleanup.h"

/* A spot is a path, an identity, or a file name: which images are there, and which refer to it. So an image
 * that appears finds the overlays that wait for it, however late it comes. */
enum spot_kind { SPOT_PATH, SPOT_IDENTITY, SPOT_NAME };

struct seat {
    LIST_ENTRY(seat) link;
    struct spot *spot;          /* NULL: not seated */
    struct node *node;
};

struct spot {
    enum spot_kind kind;
    struct identity identity;
    LIST_HEAD(, seat) there, wanted;
    char text[];                /* path or name */
};

enum { SEAT_PATH, SEAT_IDENTITY, SEAT_NAME, SEAT_WANTS_PATH, SEAT_WANTS_IDENTITY, _SEAT_MAX };

enum {
    NODE_TOUCHED = 1 << 0,      /* is in the graph's list of touched nodes */
    NODE_TELL = 1 << 1,         /* own facts changed */
    NODE_CHECK_GOLDEN = 1 << 2, /* what golden inference depends on changed */
    NODE_DIRTY = 1 << 3,        /* relation to be computed again, with all descendants */
    NODE_PLACED = 1 << 4,       /* while refreshing: its relation is computed */
    NODE_ON_WALK = 1 << 5,      /* while refreshing: on the walk that looks for a loop */
    NODE_TELL_CHILDREN = 1 << 6,
    NODE_TELL_ABOVE = 1 << 7,   /* dates changed: all descendants are to be judged again */
};

/* What is known of the reference of an image to its parent, should the graph not have the parent. */
enum node_end { END_PENDING, END_UNKNOWN, END_BASE, END_BROKEN };

struct node {
    struct image *image;
    struct node *parent;
    struct image **children;
    size_t n_children, allocated_children;
    size_t index;               /* in the parent's children */
    struct seat seats[_SEAT_MAX];
    TAILQ_ENTRY(node) touched;
    STAILQ_ENTRY(node) queue;
    LIST_ENTRY(node) all;
    unsigned flags;
    bool golden_by_policy, golden_by_inference;
    int64_t children_made;      /* nsec: the earliest creation of a child, 0 to be computed */
    int64_t seen_mtime;         /* nsec, of the fingerprint when the graph was told last */
    int64_t seen_made;          /* nsec, node_made() then */
    bool seen_present;
    enum node_end seen_end;
    struct relation relation, before;
};

struct graph {
    const struct policy *policy;
    bool first_pass;
    void *spots;                /* tsearch tree of struct spot */
    LIST_HEAD(, node) all;
    TAILQ_HEAD(, node) touched;
};

static struct node *image_node(const struct image *image)
{
    return image ? image->node : NULL;
}

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
    if (x->kind != SPOT_IDENTITY)
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

static int spot_new(enum spot_kind kind, const char *text, const struct identity *identity, struct spot **ret)
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

static int graph_spot(const struct graph *graph, enum spot_kind kind, const char *text,
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

static void seat_leave(struct graph *graph, struct seat *seat)
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

/* Seats the node there (or as one that wants to go there); text and identity NULL: nowhere. 1 when that is a change. */
static int seat_take(struct graph *graph, struct seat *seat, bool wants, enum spot_kind kind, const char *text,
                     const struct identity *identity)
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

/* The image at a spot that a reference with this path means: the one of that path, else the smallest path (hard
 * links), so that the choice does not depend on the order of arrival. */
static struct node *spot_choose(const struct spot *spot, const char *path)
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

static void node_mark(struct graph *graph, struct node *node, unsigned flags)
{
    if (!(node->flags & NODE_TOUCHED)) {
        TAILQ_INSERT_TAIL(&graph->touched, node, touched);
        node->flags |= NODE_TOUCHED;
    }
    node->flags |= flags;
}

static void node_unmark(struct graph *graph, struct node *node)
{
    if (node->flags & NODE_TOUCHED)
        TAILQ_REMOVE(&graph->touched, node, touched);
    node->flags = 0;
}

/* When the overlay was made, for the comparison with its base: never the base's own mtime. */
static int64_t node_made(const struct node *node)
{
    const struct image *image = node->image;

    return image->identity.btime != 0 ? image->identity.btime : image->fingerprint.mtime;
}

/* ---- edges ---------------------------------------------------------------------------------- */

static void edge_cut(struct graph *graph, struct node *child)
{
    struct node *parent = child->parent;

    if (!parent)
        return;
    parent->children[child->index] = parent->children[--parent->n_children];
    image_node(parent->children[child->index])->index = child->index;
    child->parent = NULL;
    if (child->seen_made == parent->children_made)
        parent->children_made = 0;
    node_mark(graph, parent, NODE_TELL | NODE_CHECK_GOLDEN);
    node_mark(graph, child, NODE_TELL | NODE_DIRTY | NODE_CHECK_GOLDEN);
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
    node_mark(graph, parent, NODE_TELL | NODE_CHECK_GOLDEN);
    node_mark(graph, child, NODE_TELL | NODE_DIRTY | NODE_CHECK_GOLDEN);
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

/* Brings the node's seats in line with its image, and all edges that depend on them. */
static int node_seat(struct graph *graph, struct node *node)
{
    const struct image *image = node->image;
    const struct reference *reference = &image->parent;
    bool found = reference->state == REFERENCE_FOUND, moved = image->present != node->seen_present;
    struct seat *seats = node->seats;
    struct spot *left;
    int r;

    r = seat_take(graph, &seats[SEAT_PATH], false, SPOT_PATH, image->path, NULL);
    if (r < 0)
        return r;
    moved |= r > 0;
    r = seat_take(graph, &seats[SEAT_NAME], false, SPOT_NAME, path_name(image->path), NULL);
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
        /* Another file is at the path now: whoever found the old one by identity has to look again. */
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

    r = seat_take(graph, &seats[SEAT_WANTS_PATH], true, SPOT_PATH, found ? reference->path : NULL, NULL);
    if (r < 0)
        return r;
    r = seat_take(graph, &seats[SEAT_WANTS_IDENTITY], true, SPOT_IDENTITY, NULL,
                  found && identity_is_known(&reference->identity) ? &reference->identity : NULL);
    if (r < 0)
        return r;
    return node_link(graph, node);
}

/* ---- the images ----------------------------------------------------------------------------- */

static enum node_end node_end(const struct node *node)
{
    if (!node->image->audit || node->image->parent.state == REFERENCE_PENDING)
        return END_PENDING;
    if (node->image->parent.state == REFERENCE_FOUND)
        return END_UNKNOWN;
    return node->image->parent.state == REFERENCE_NONE ? END_BASE : END_BROKEN;
}

static void node_observe(struct graph *graph, struct node *node)
{
    int64_t made = node_made(node);
    enum node_end end = node_end(node);
    struct node *parent = node->parent;

    if (made != node->seen_made && parent) {
        if (parent->children_made == node->seen_made)
            parent->children_made = 0;
        else if (made < parent->children_made)
            parent->children_made = made;
        node_mark(graph, parent, NODE_CHECK_GOLDEN);
    }
    if (end != node->seen_end)
        node_mark(graph, node, NODE_DIRTY);
    if (node->image->fingerprint.mtime != node->seen_mtime)
        node_mark(graph, node, NODE_TELL_ABOVE);
    node->seen_made = made;
    node->seen_end = end;
    node->seen_mtime = node->image->fingerprint.mtime;
    node_mark(graph, node, NODE_TELL | NODE_TELL_CHILDREN | NODE_CHECK_GOLDEN);
}

int graph_new(struct graph **ret_graph)
{
    struct graph *graph = calloc(1, sizeof(*graph));

    if (!graph)
        return -ENOMEM;
    TAILQ_INIT(&graph->touched);
    *ret_graph = graph;
    return 0;
}

struct graph *graph_free(struct graph *graph)
{
    if (!graph)
        return NULL;
    while (!LIST_EMPTY(&graph->all)) {
        struct node *node = LIST_FIRST(&graph->all);

        for (int i = 0; i < _SEAT_MAX; i++)
            seat_leave(graph, &node->seats[i]);
        LIST_REMOVE(node, all);
        node->image->node = NULL;
        free(node->children);
        free(node);
    }
    free(graph);
    return NULL;
}

void graph_set_policy(struct graph *graph, const struct policy *policy)
{
    struct node *node;

    graph->policy = policy;
    LIST_FOREACH(node, &graph->all, all) {
        node->golden_by_policy = policy && policy_golden(policy, node->image->path);
        node_mark(graph, node, NODE_TELL | NODE_DIRTY | NODE_CHECK_GOLDEN);
    }
}

void graph_set_first_pass(struct graph *graph, bool under_way)
{
    struct node *node;

    if (graph->first_pass == under_way)
        return;
    graph->first_pass = under_way;
    if (!under_way)
        LIST_FOREACH(node, &graph->all, all)
            if (node->relation.pending)
                node_mark(graph, node, NODE_TELL | NODE_DIRTY);
}

int graph_add(struct graph *graph, struct image *image)
{
    struct node *node;
    int r;

    if (image->node)
        return -EEXIST;
    node = calloc(1, sizeof(*node));
    if (!node)
        return -ENOMEM;
    node->image = image;
    for (int i = 0; i < _SEAT_MAX; i++)
        node->seats[i].node = node;
    node->golden_by_policy = graph->policy && policy_golden(graph->policy, image->path);
    image->node = node;
    LIST_INSERT_HEAD(&graph->all, node, all);
    node_observe(graph, node);
    node_mark(graph, node, NODE_DIRTY);
    r = node_seat(graph, node);
    if (r < 0)
        graph_remove(graph, image);
    return r;
}

int graph_update(struct graph *graph, struct image *image)
{
    struct node *node = image_node(image);

    if (!node)
        return -ENOENT;
    node_observe(graph, node);
    return node_seat(graph, node);
}

void graph_remove(struct graph *graph, struct image *image)
{
    struct node *node = image_node(image);
    bool present;

    if (!node)
        return;
    /* An image that is not present is nobody's parent: its overlays look for another one. Where there is no
     * memory for a new edge, an overlay is left without one until it is told of again. */
    present = image->present;
    image->present = false;
    while (node->n_children > 0) {
        struct node *child = image_node(node->children[node->n_children - 1]);

        edge_cut(graph, child);
        node_link(graph, child);
    }
    image->present = present;
    edge_cut(graph, node);
    for (int i = 0; i < _SEAT_MAX; i++)
        seat_leave(graph, &node->seats[i]);
    node_unmark(graph, node);
    LIST_REMOVE(node, all);
    image->node = NULL;
    free(node->children);
    free(node);
}

/* ---- what follows --------------------------------------------------------------------------- */

STAILQ_HEAD(queue, node);

static bool node_is_golden(const struct node *node)
{
    return node->golden_by_policy || node->golden_by_inference;
}

/* DESIGN: a base that at least two overlays use directly, that nobody writes, and that is older than all of them. */
static bool node_infer_golden(const struct graph *graph, struct node *node)
{
    const struct image *image = node->image;

    if ((graph->policy && !graph->policy->infer_golden) || node->n_children < 2 || node->parent ||
        node->seen_end != END_BASE || image->use == FILES_WRITER)
        return false;
    if (node->children_made == 0) {
        node->children_made = INT64_MAX;
        for (size_t i = 0; i < node->n_children; i++) {
            int64_t made = image_node(node->children[i])->seen_made;

            if (made < node->children_made)
                node->children_made = made;
        }
    }
    return image->fingerprint.mtime <= node->children_made;
}

static void check_golden(struct graph *graph)
{
    struct node *node;

    TAILQ_FOREACH(node, &graph->touched, touched) {
        bool golden;

        if (!(node->flags & NODE_CHECK_GOLDEN))
            continue;
        golden = node_infer_golden(graph, node);
        /* A second overlay in the first pass ends the uncertainty of the first one. */
        if (golden != node->golden_by_inference || (graph->first_pass && node->n_children <= 2))
            node->flags |= NODE_DIRTY;
        node->golden_by_inference = golden;
    }
}

/* Gives the flag to all descendants of those that have it. */
static void spread(struct graph *graph, unsigned flag, unsigned also)
{
    struct queue queue = STAILQ_HEAD_INITIALIZER(queue);
    struct node *node;

    TAILQ_FOREACH(node, &graph->touched, touched)
        if (node->flags & flag)
            STAILQ_INSERT_TAIL(&queue, node, queue);
    while ((node = STAILQ_FIRST(&queue))) {
        STAILQ_REMOVE_HEAD(&queue, queue);
        for (size_t i = 0; i < node->n_children; i++) {
            struct node *child = image_node(node->children[i]);

            if (child->flags & flag)
                continue;
            node_mark(graph, child, flag | also);
            STAILQ_INSERT_TAIL(&queue, child, queue);
        }
    }
}

static void tell_children(struct graph *graph)
{
    struct node *node;

    TAILQ_FOREACH(node, &graph->touched, touched)
        if (node->flags & NODE_TELL_CHILDREN)
            for (size_t i = 0; i < node->n_children; i++)
                node_mark(graph, image_node(node->children[i]), NODE_TELL);
}

static void node_relate(const struct graph *graph, struct node *node)
{
    struct relation *relation = &node->relation;
    const struct node *parent = node->parent;
    const struct relation *below = parent ? &parent->relation : NULL;
    bool golden = node_is_golden(node);

    *relation = (struct relation){
        .parent = parent ? parent->image : NULL,
        .golden = golden,
        .golden_inferred = golden && !node->golden_by_policy,
        .golden_layer = golden ? node->image : below ? below->golden_layer : NULL,
    };
    if (!below) {
        relation->depth = 1;
        relation->base = node->image;
        relation->complete = node->seen_end == END_BASE;
        relation->pending = node->seen_end == END_PENDING || (graph->first_pass && node->seen_end == END_UNKNOWN);
    } else if (below->in_loop || below->above_loop) {
        relation->above_loop = true;
        relation->loop_head = below->loop_head;
        return;
    } else {
        relation->depth = below->depth + 1;
        relation->base = below->base;
        relation->complete = below->complete;
        relation->pending = below->pending ||
            (graph->first_pass && !golden && !below->golden && below->depth == 1 && parent->n_children == 1 &&
             (!graph->policy || graph->policy->infer_golden));
    }

    if (golden || !below || below->golden) {
        relation->own_layer = node->image;
    } else {
        relation->own_layer = below->own_layer;
        relation->unconsolidated = below->unconsolidated + 1;
        relation->oldest_unconsolidated =
            below->unconsolidated > 0 ? below->oldest_unconsolidated : node->image;
    }
}

/* Relates every dirty descendant of those in the queue, parents first. */
static void relate_above(const struct graph *graph, struct queue *queue)
{
    struct node *node;

    while ((node = STAILQ_FIRST(queue))) {
        STAILQ_REMOVE_HEAD(queue, queue);
        for (size_t i = 0; i < node->n_children; i++) {
            struct node *child = image_node(node->children[i]);

            if ((child->flags & (NODE_DIRTY | NODE_PLACED)) != NODE_DIRTY)
                continue;
            node_relate(graph, child);
            child->flags |= NODE_PLACED;
            STAILQ_INSERT_TAIL(queue, child, queue);
        }
    }
}

static void relate_loop(const struct graph *graph, struct node *member)
{
    struct queue queue = STAILQ_HEAD_INITIALIZER(queue);
    struct node *node = member, *head = member;

    do {
        if (strcmp(node->image->path, head->image->path) < 0)
            head = node;
        node = node->parent;
    } while (node != member);
    do {
        bool golden = node_is_golden(node);

        node->relation = (struct relation){
            .parent = node->parent->image,
            .in_loop = true,
            .loop_head = head->image,
            .golden = golden,
            .golden_inferred = golden && !node->golden_by_policy,
            .golden_layer = golden ? node->image : NULL,
        };
        node->flags |= NODE_PLACED;
        STAILQ_INSERT_TAIL(&queue, node, queue);
        node = node->parent;
    } while (node != member);
    relate_above(graph, &queue);
}

static void relate_dirty(struct graph *graph)
{
    struct queue queue = STAILQ_HEAD_INITIALIZER(queue);
    struct node *node;

    TAILQ_FOREACH(node, &graph->touched, touched) {
        node->before = node->relation;
        if (!(node->flags & NODE_DIRTY) || (node->parent && (node->parent->flags & NODE_DIRTY)))
            continue;
        node_relate(graph, node);
        node->flags |= NODE_PLACED;
        STAILQ_INSERT_TAIL(&queue, node, queue);
    }
    relate_above(graph, &queue);

    /* What was not reached from below has no below: it is in a loop or hangs on one. */
    TAILQ_FOREACH(node, &graph->touched, touched) {
        struct node *walker = node;

        if ((node->flags & (NODE_DIRTY | NODE_PLACED)) != NODE_DIRTY)
            continue;
        for (; !(walker->flags & NODE_ON_WALK); walker = walker->parent)
            walker->flags |= NODE_ON_WALK;
        relate_loop(graph, walker);
    }
}

static bool relation_equal(const struct relation *a, const struct relation *b)
{
    return a->parent == b->parent && a->n_children == b->n_children && a->depth == b->depth && a->base == b->base &&
           a->complete == b->complete && a->pending == b->pending && a->in_loop == b->in_loop &&
           a->above_loop == b->above_loop && a->loop_head == b->loop_head && a->leaf == b->leaf &&
           a->golden == b->golden && a->golden_inferred == b->golden_inferred &&
           a->golden_layer == b->golden_layer && a->own_layer == b->own_layer &&
           a->unconsolidated == b->unconsolidated && a->oldest_unconsolidated == b->oldest_unconsolidated;
}

int graph_refresh(struct graph *graph, void (*changed)(void *userdata, struct image *image), void *userdata)
{
    struct node *node;

    check_golden(graph);
    spread(graph, NODE_DIRTY, 0);
    spread(graph, NODE_TELL_ABOVE, NODE_TELL);
    tell_children(graph);
    relate_dirty(graph);
    TAILQ_FOREACH(node, &graph->touched, touched) {
        node->relation.children = node->children;
        node->relation.n_children = node->n_children;
        node->relation.leaf = node->n_children == 0;
    }
    while ((node = TAILQ_FIRST(&graph->touched))) {
        bool tell = (node->flags & NODE_TELL) || !relation_equal(&node->relation, &node->before);

        node_unmark(graph, node);
        if (tell && changed)
            changed(userdata, node->image);
    }
    return 0;
}

const struct relation *graph_relation(const struct graph *graph, const struct image *image)
{
    const struct node *node = image_node(image);

    return node ? &node->relation : NULL;
}

struct image *graph_find(const struct graph *graph, const char *path)
{
    struct spot *spot;

    if (graph_spot(graph, SPOT_PATH, path, NULL, &spot) < 0 || LIST_EMPTY(&spot->there))
        return NULL;
    return LIST_FIRST(&spot->there)->node->image;
}

struct image *graph_find_identity(const struct graph *graph, const struct identity *identity)
{
    struct node *node = NULL;
    struct spot *spot;

    if (graph_spot(graph, SPOT_IDENTITY, NULL, identity, &spot) >= 0)
        node = spot_choose(spot, NULL);
    return node ? node->image : NULL;
}

size_t graph_find_name(const struct graph *graph, const char *name, struct image **ret_images, size_t max)
{
    struct seat *seat;
    struct spot *spot;
    size_t n = 0;

    if (graph_spot(graph, SPOT_NAME, name, NULL, &spot) < 0)
        return 0;
    LIST_FOREACH(seat, &spot->there, link)
        if (seat->node->image->present && n < max)
            ret_images[n++] = seat->node->image;
    return n;
}

static uint64_t nsec_to_usec(int64_t nsec)
{
    return nsec > 0 ? (uint64_t)nsec / 1000 : 0;
}

uint64_t graph_layer_created(const struct graph *graph, const struct image *image, const char **ret_source)
{
    const struct node *node = image_node(image);
    uint64_t created;
    const char *source;

    if (node && node->parent) {
        created = nsec_to_usec(node->parent->image->fingerprint.mtime);
        source = "parent-mtime";
    } else if (image->identity.btime > 0) {
        created = nsec_to_usec(image->identity.btime);
        source = "birth-time";
    } else {
        created = nsec_to_usec(image->fingerprint.mtime);
        source = "mtime";
    }
    if (ret_source)
        *ret_source = source;
    return created;
}
