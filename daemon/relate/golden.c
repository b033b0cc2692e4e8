/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Infers bases that are golden although nobody declared them so. */
#include "daemon/relate/internal.h"

/* Did a snapshot make one of its overlays? Then it is an earlier state of that one disk. */
static bool node_is_snapshotted(const struct graph *graph, const struct node *node)
{
    struct usage usage = graph_image_usage(graph, node->image);

    for (size_t i = 0; i < usage.n_entries; i++)
        if (usage.entries[i].kind == USAGE_BEFORE || usage.entries[i].kind == USAGE_MADE)
            return true;
    return false;
}

/* DESIGN: a base that at least two overlays of different disks use directly, that no domain writes
 * and no snapshot was made of, and that is older than all of them; strangers' overlays count for
 * nothing. Once it has a golden baseline it is golden until that is accepted or dropped: else
 * whoever writes it would take its role away, in the very moment it matters. */
static bool node_infer_golden(const struct graph *graph, struct node *node)
{
    const struct image *image = node->image;

    if (graph->policy && !graph->policy->infer_golden)
        return false;
    if (image_is_golden_by_baseline(image) && node->n_children > 0)
        return true;
    if (node->parent || node->seen_end != END_BASE || !node_has_other_disks(graph, node) ||
        node->n_snapshots > 0 || graph_use(graph, image) == FILES_WRITER ||
        node_is_snapshotted(graph, node))
        return false;
    if (node->children_made == 0) {
        node->children_made = INT64_MAX;
        for (size_t i = 0; i < node->n_children; i++) {
            const struct node *child = image_node(node->children[i]);

            if (!(child->kind_flags & KIND_STRANGER) && child->seen_made < node->children_made)
                node->children_made = child->seen_made;
        }
    }
    return image_is_device(image) || image->fingerprint.mtime <= node->children_made;
}

void graph_check_golden(struct graph *graph)
{
    struct node *node;

    TAILQ_FOREACH(node, &graph->touched, touched) {
        bool golden;

        if (!(node->flags & NODE_CHECK_GOLDEN))
            continue;
        golden = node_infer_golden(graph, node);
        if (golden != node->golden_by_inference)
            node->flags |= NODE_DIRTY;
        node->golden_by_inference = golden;
    }
}
