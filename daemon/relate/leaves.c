/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The leaves of each disk: how deep it is, and up to which layer. */
#include <string.h>

#include "daemon/relate/internal.h"

static void mark_own_layer(struct graph *graph, const struct node *node)
{
    struct node *own = node ? image_node(node->relation.own_layer) : NULL;

    if (!own || (own->flags & NODE_FIND_LEAVES))
        return;
    node_mark_related(graph, own, NODE_TELL | NODE_FIND_LEAVES);
}

static void take_leaf(struct relation *own, const struct node *leaf)
{
    const struct relation *deepest = own->deepest_leaf ? &image_node(own->deepest_leaf)->relation
                                                       : NULL;

    own->n_leaves++;
    if (!deepest || leaf->relation.unconsolidated > deepest->unconsolidated ||
        (leaf->relation.unconsolidated == deepest->unconsolidated &&
         strcmp(leaf->image->path, own->deepest_leaf->path) < 0))
        own->deepest_leaf = leaf->image;
}

/* Clones stand on a template, which is no disk; what is only perhaps a clone ends the disk below
 * it. */
static bool node_ends_disk(const struct node *node)
{
    if (node->n_children == 0)
        return true;
    if (node->relation.golden)
        return false;
    for (size_t i = 0; i < node->n_children; i++)
        if (image_node(node->children[i])->relation.kind != RELATION_UNKNOWN)
            return false;
    return true;
}

static bool node_is_disk(const struct graph *graph, const struct node *node)
{
    struct usage usage = graph_image_usage(graph, node->image);

    return usage_source(&usage) || graph_machine(graph, node->image);
}

/* Goes through all layers of one disk. What a merge left above the layer that a domain has as its
 * disk is no part of it any more, so where there is such a layer, the leaves are those alone that
 * domains use. */
static void find_leaves(const struct graph *graph, struct node *own)
{
    struct queue queue = STAILQ_HEAD_INITIALIZER(queue);
    struct node *node;
    bool used = false;

    own->relation.deepest_leaf = NULL;
    own->relation.n_leaves = 0;
    STAILQ_INSERT_TAIL(&queue, own, queue);
    while ((node = STAILQ_FIRST(&queue))) {
        bool disk = node_is_disk(graph, node);

        STAILQ_REMOVE_HEAD(&queue, queue);
        if (disk && !used) {
            used = true;
            own->relation.deepest_leaf = NULL;
            own->relation.n_leaves = 0;
        }
        if (disk || (!used && node_ends_disk(node)))
            take_leaf(&own->relation, node);
        if (node->n_states == 0)
            continue;           /* each of its overlays, however many, is a disk of its own */
        for (size_t i = 0; i < node->n_children; i++) {
            struct node *child = image_node(node->children[i]);

            if (child->relation.own_layer == own->image)
                STAILQ_INSERT_TAIL(&queue, child, queue);
        }
    }
}

void graph_find_leaves(struct graph *graph)
{
    struct node *node;

    TAILQ_FOREACH(node, &graph->touched, touched) {
        mark_own_layer(graph, node);
        if (node->flags & NODE_DIRTY)
            mark_own_layer(graph, node->parent);
    }
    TAILQ_FOREACH(node, &graph->touched, touched)
        if (node->flags & NODE_FIND_LEAVES)
            find_leaves(graph, node);
}
