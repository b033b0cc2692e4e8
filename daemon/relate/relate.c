/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The graph of images: depth, loops, golden images and own layers, computed for what changed and
 * what is above it. */
#include <errno.h>
#include <search.h>
#include <string.h>

#include "daemon/relate/internal.h"
#include "lib/cleanup.h"

/* ---- the images ----------------------------------------------------------------------------- */

static enum node_end node_end(const struct node *node)
{
    if (node->raw)
        return END_BASE;
    if (!node->image->audit || node->image->parent.state == REFERENCE_PENDING)
        return END_PENDING;
    if (node->image->parent.state == REFERENCE_FOUND)
        return END_UNKNOWN;
    return node->image->parent.state == REFERENCE_NONE ? END_BASE : END_BROKEN;
}

static void node_observe(struct graph *graph, struct node *node)
{
    int64_t made = node_made(node);
    struct node *parent = node->parent;
    enum node_end end;

    if (made != node->seen_made && parent && !(node->kind_flags & KIND_STRANGER)) {
        if (parent->children_made == node->seen_made)
            parent->children_made = 0;
        else if (made < parent->children_made)
            parent->children_made = made;
        node_mark(graph, parent, NODE_CHECK_GOLDEN);
    }
    node->raw = image_opened_raw(graph, node->image);
    if (node->record)
        node_tell_data(graph, node);
    graph->n_records -= node->record != 0;
    node->record = node_record(node);
    graph->n_records += node->record != 0;
    end = node_end(node);
    if (end != node->seen_end)
        node_mark(graph, node, NODE_DIRTY);
    node->seen_made = made;
    node->seen_end = end;
    node_mark(graph, node, NODE_TELL | NODE_TELL_CHILDREN | NODE_CHECK_GOLDEN | NODE_FACTS);
}

/* Declared so under any of its names. */
static bool golden_by_policy(const struct policy *policy, const struct image *image)
{
    const struct image_name *name;

    if (!policy)
        return false;
    LIST_FOREACH(name, &image->names, link)
        if (policy_golden(policy, name->path))
            return true;
    return policy_golden(policy, image->path);
}

int graph_new(struct graph **ret_graph)
{
    struct graph *graph = calloc(1, sizeof(*graph));
    int r;

    if (!graph)
        return -ENOMEM;
    graph->same = calloc(1, sizeof(*graph->same));
    graph->spare = calloc(1, sizeof(*graph->spare));
    r = graph->same && graph->spare ? sd_id128_randomize(&graph->seats.secret) : -ENOMEM;
    if (r < 0) {
        free(graph->same);
        free(graph->spare);
        free(graph);
        return r;
    }
    TAILQ_INIT(&graph->touched);
    *ret_graph = graph;
    return 0;
}

static int compare_addresses(const void *a, const void *b)
{
    return (uintptr_t)a < (uintptr_t)b ? -1 : (uintptr_t)a > (uintptr_t)b;
}

static void keep_address(void *address)
{
}

static void forget_removed(struct graph *graph)
{
    tdestroy(TAKE_PTR(graph->removed), keep_address);
    graph->removed_any = false;
}

static void node_free(struct node *node)
{
    free(node->children);
    free(node->before);
    free(node);
}

struct graph *graph_free(struct graph *graph)
{
    if (!graph)
        return NULL;
    for (struct node *node = graph_first(graph), *next; node; node = next) {
        next = graph_next(graph, node);
        node_unseat(graph, node);
        node_unmark(graph, node);
        node->image->node = NULL;
        node_free(node);
    }
    free(graph->seats.buckets);
    forget_removed(graph);
    graph_free_moves(graph);
    owners_free(graph->owners);
    free(graph->doubts);
    free(graph->same);
    free(graph->spare);
    free(graph);
    return NULL;
}

void graph_set_policy(struct graph *graph, const struct policy *policy)
{
    struct node *node;

    graph->policy = policy;
    GRAPH_FOREACH(node, graph) {
        node->golden_by_policy = golden_by_policy(policy, node->image);
        node_mark(graph, node, NODE_TELL | NODE_DIRTY | NODE_CHECK_GOLDEN | NODE_FACTS);
    }
}

const struct policy *graph_policy(const struct graph *graph)
{
    return graph->policy;
}

/* Libvirt's word on a path decides whether its image is golden, its relation to its parent, and
 * which layer is its disk's. */
static void mark_usage(void *userdata, const char *path)
{
    struct graph *graph = userdata;
    struct node *node = image_node(graph_find(graph, path));

    if (!node)
        return;
    node_mark(graph, node, NODE_TELL | NODE_TELL_CHILDREN | NODE_CHECK_GOLDEN | NODE_FACTS);
    node_tell_data(graph, node);
    if (image_opened_raw(graph, node->image) != node->raw) {
        node_observe(graph, node);
        /* Without memory it keeps the edges that it has, until it is told of again. */
        (void)node_seat(graph, node);
        node_tell_data(graph, node);
    }
    if (node_doubt(graph, node) < 0)
        graph->doubts_uncounted = true;
}

void graph_set_usage(struct graph *graph, const struct usage_index *usage)
{
    const struct usage_index *before = graph->usage;
    struct node *node;

    graph->usage = usage;
    usage_index_compare(before, usage, mark_usage, graph);
    graph_note_owners(graph);
    /* Whether what is not said is not so. */
    if (usage_is_complete(before) != usage_is_complete(usage))
        GRAPH_FOREACH(node, graph)
            node_mark(graph, node, NODE_TELL | NODE_WEIGH);
}

const struct usage_index *graph_usage(const struct graph *graph)
{
    return graph->usage;
}

struct usage graph_image_usage(const struct graph *graph, const struct image *image)
{
    return usage_find(graph->usage, image->path);
}

enum files_use graph_use(const struct graph *graph, const struct image *image)
{
    struct usage usage = graph_image_usage(graph, image);
    enum files_use said = usage_use(&usage), vmware = graph_vmware_use(graph, image);

    if (vmware > said)
        said = vmware;
    return said > image->use ? said : image->use;
}

void graph_set_first_pass(struct graph *graph, bool under_way)
{
    struct node *node;

    if (graph->first_pass == under_way)
        return;
    graph->first_pass = under_way;
    if (!under_way)
        GRAPH_FOREACH(node, graph)
            if (node->relation.pending)
                node_mark(graph, node, NODE_TELL | NODE_DIRTY);
}

bool graph_is_first_pass(const struct graph *graph)
{
    return graph->first_pass;
}

void graph_await_usage(struct graph *graph, bool awaited)
{
    struct node *node;

    if (graph->awaits_usage == awaited)
        return;
    graph->awaits_usage = awaited;
    if (!awaited)
        GRAPH_FOREACH(node, graph)
            node_mark(graph, node, NODE_TELL);
}

bool graph_awaits_usage(const struct graph *graph)
{
    return graph->awaits_usage;
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
    for (unsigned i = 0; i < _SEAT_OWN_MAX; i++)
        node->seats[i].index = i & SEAT_INDEX_MASK;
    node->golden_by_policy = golden_by_policy(graph->policy, image);
    image->node = node;
    node_observe(graph, node);
    node_mark(graph, node, NODE_DIRTY);
    r = node_seat(graph, node);
    if (r >= 0)
        r = node_doubt(graph, node);
    if (r < 0)
        graph_remove(graph, image);
    else
        node_tell_wanting(graph, node);
    return r;
}

int graph_update(struct graph *graph, struct image *image)
{
    struct node *node = image_node(image);
    int r;

    if (!node)
        return -ENOENT;
    if (!LIST_EMPTY(&image->names) &&
        golden_by_policy(graph->policy, image) != node->golden_by_policy) {
        node->golden_by_policy = !node->golden_by_policy;
        node_mark(graph, node, NODE_DIRTY);
    }
    node_observe(graph, node);
    graph_tell_users(graph, &image->identity);
    r = node_seat(graph, node);
    if (r >= 0)
        r = node_doubt(graph, node);
    node_tell_wanting(graph, node);
    node_tell_data(graph, node);
    return r;
}

int graph_rename(struct graph *graph, struct image *image)
{
    struct node *node = image_node(image);

    if (!node)
        return -ENOENT;
    node->golden_by_policy = golden_by_policy(graph->policy, image);
    node_mark(graph, node, NODE_TELL | NODE_DIRTY | NODE_CHECK_GOLDEN);
    return graph_update(graph, image);
}

void graph_remove(struct graph *graph, struct image *image)
{
    struct node *node = image_node(image);

    if (!node)
        return;
    node_tell_wanting(graph, node);
    node_unseat(graph, node);
    node_unmark(graph, node);
    image->node = NULL;
    node_free(node);
    if (!tsearch(image, &graph->removed, compare_addresses))
        graph->removed_any = true;
}

/* ---- what follows --------------------------------------------------------------------------- */

static bool node_is_golden(const struct node *node)
{
    return node->golden_by_policy || node->golden_by_inference;
}

/* Layers above a dirty one are dirty. */
static void spread_dirty(struct graph *graph)
{
    struct queue queue = STAILQ_HEAD_INITIALIZER(queue);
    struct node *node;

    TAILQ_FOREACH(node, &graph->touched, touched)
        if (node->flags & NODE_DIRTY)
            STAILQ_INSERT_TAIL(&queue, node, queue);
    while ((node = STAILQ_FIRST(&queue))) {
        STAILQ_REMOVE_HEAD(&queue, queue);
        for (size_t i = 0; i < node->n_children; i++) {
            struct node *child = image_node(node->children[i]);

            if (child->flags & NODE_DIRTY)
                continue;
            node_mark(graph, child, NODE_DIRTY);
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
        .kind = node->kind,
        .decisive = node->decisive,
        .against = node->against,
    };
    if (!below) {
        relation->depth = 1;
        relation->base = node->image;
        relation->complete = node->seen_end == END_BASE;
        relation->pending = node->seen_end == END_PENDING ||
                            (graph->first_pass && node->seen_end == END_UNKNOWN);
    } else if (below->in_loop || below->above_loop) {
        relation->above_loop = true;
        relation->loop_head = below->loop_head;
        relation->kind = RELATION_NONE;
        relation->decisive = relation->against = EVIDENCE_NONE;
        return;
    } else {
        relation->depth = below->depth + 1;
        relation->base = below->base;
        relation->complete = below->complete;
        /* Layers that are not known yet may be known when their neighbours are. */
        relation->pending = below->pending ||
                            (graph->first_pass && relation->kind == RELATION_UNKNOWN);
        relation->perhaps = golden || relation->kind == RELATION_CLONE ? 0 : below->perhaps + 1;
    }

    if (golden || !below || relation->kind != RELATION_SNAPSHOT) {
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

/* For the comparison. Without memory, the node is told of. */
static void keep_before(struct node *node)
{
    if (!node->before)
        node->before = malloc(sizeof(*node->before));
    if (node->before)
        *node->before = node->relation;
}

void node_mark_related(struct graph *graph, struct node *node, unsigned flags)
{
    if (!(node->flags & NODE_TOUCHED))
        keep_before(node);
    node_mark(graph, node, flags);
}

static void relate_dirty(struct graph *graph)
{
    struct queue queue = STAILQ_HEAD_INITIALIZER(queue);
    struct node *node;

    TAILQ_FOREACH(node, &graph->touched, touched) {
        keep_before(node);
        if (!(node->flags & NODE_DIRTY) || (node->parent && (node->parent->flags & NODE_DIRTY)))
            continue;
        node_relate(graph, node);
        node->flags |= NODE_PLACED;
        STAILQ_INSERT_TAIL(&queue, node, queue);
    }
    relate_above(graph, &queue);

    /* Layers that were not reached from below have no below: they are in a loop or hang on one. */
    TAILQ_FOREACH(node, &graph->touched, touched) {
        struct node *walker = node;

        if ((node->flags & (NODE_DIRTY | NODE_PLACED)) != NODE_DIRTY)
            continue;
        for (; !(walker->flags & NODE_ON_WALK); walker = walker->parent)
            walker->flags |= NODE_ON_WALK;
        relate_loop(graph, walker);
    }
}

/* ---- the round ------------------------------------------------------------------------------ */

static bool relation_equal(const struct relation *a, const struct relation *b)
{
    return a->parent == b->parent && a->n_children == b->n_children && a->depth == b->depth &&
           a->base == b->base && a->complete == b->complete && a->pending == b->pending &&
           a->in_loop == b->in_loop && a->above_loop == b->above_loop &&
           a->loop_head == b->loop_head && a->leaf == b->leaf && a->golden == b->golden &&
           a->golden_inferred == b->golden_inferred && a->golden_layer == b->golden_layer &&
           a->kind == b->kind && a->decisive == b->decisive && a->against == b->against &&
           a->own_layer == b->own_layer && a->unconsolidated == b->unconsolidated &&
           a->perhaps == b->perhaps &&
           a->oldest_unconsolidated == b->oldest_unconsolidated &&
           a->deepest_leaf == b->deepest_leaf && a->n_leaves == b->n_leaves;
}

int graph_refresh(struct graph *graph, void (*changed)(void *userdata, struct image *image),
                  void *userdata)
{
    struct node *node;

    graph_tell_beside(graph);
    graph_weigh(graph);
    graph_check_golden(graph);
    spread_dirty(graph);
    tell_children(graph);
    relate_dirty(graph);
    TAILQ_FOREACH(node, &graph->touched, touched)
        if ((!node->before || node->relation.in_loop != node->before->in_loop) &&
            node_doubt(graph, node) < 0)
            graph->doubts_uncounted = true;
    graph_tell_doubtful(graph);
    TAILQ_FOREACH(node, &graph->touched, touched) {
        node->relation.n_children = node->n_children;
        node->relation.leaf = node->n_children == 0;
    }
    graph_find_leaves(graph);
    forget_removed(graph);
    graph_tell_below(graph);
    while ((node = TAILQ_FIRST(&graph->touched))) {
        bool tell = (node->flags & NODE_TELL) || !node->before ||
                    !relation_equal(&node->relation, node->before);

        free(TAKE_PTR(node->before));
        node_unmark(graph, node);
        if (tell && changed)
            changed(userdata, node->image);
    }
    return 0;
}

static bool was_removed(const struct graph *graph, const struct image *image)
{
    return image && tfind(image, &graph->removed, compare_addresses);
}

static bool names_removed(const struct graph *graph, const struct relation *relation)
{
    return graph->removed_any || was_removed(graph, relation->parent) ||
           was_removed(graph, relation->base) || was_removed(graph, relation->loop_head) ||
           was_removed(graph, relation->golden_layer) || was_removed(graph, relation->own_layer) ||
           was_removed(graph, relation->oldest_unconsolidated) ||
           was_removed(graph, relation->deepest_leaf);
}

const struct relation *graph_relation(const struct graph *graph, const struct image *image)
{
    struct node *node = image_node(image);
    struct relation *relation;
    bool golden;

    if (!node)
        return NULL;
    if ((!graph->removed && !graph->removed_any) || !names_removed(graph, &node->relation))
        return &node->relation;
    if (!node->before)
        node->before = malloc(sizeof(*node->before));
    relation = node->before ? node->before : graph->spare;
    golden = node_is_golden(node);
    *relation = (struct relation){
        .parent = node->parent ? node->parent->image : NULL,
        .n_children = node->n_children,
        .depth = 1,
        .base = node->image,
        .pending = true,
        .leaf = node->n_children == 0,
        .golden = golden,
        .golden_inferred = golden && !node->golden_by_policy,
        .golden_layer = golden ? node->image : NULL,
        .own_layer = node->image,
        .deepest_leaf = node->n_children == 0 ? node->image : NULL,
        .n_leaves = node->n_children == 0 ? 1 : 0,
    };
    return relation;
}
