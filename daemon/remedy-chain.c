/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The remedy of piled up layers: one commit with its base named, where it can hurt nobody else. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/remedy-internal.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define LAYERS_NAMED 10
#define MANY_LAYERS 500         /* every layer is an open file, and 1,024 is the usual limit */

/* Why the layers of a leaf must not be merged by a command printed here; NULL when nothing
 * speaks against it. */
static const char *consolidation_obstacle(const struct graph *graph, const struct image *leaf)
{
    const struct relation *relation = graph_relation(graph, leaf);
    const struct image *layer = leaf, *own;

    if (!relation || relation->in_loop || relation->above_loop)
        return "the chain contains itself: settle chain-loop first";
    if (!relation->complete)
        return "the chain is not complete: settle its other findings first";
    if (relation->unconsolidated == 0)
        return "there is nothing to merge";
    own = relation->own_layer;
    for (;; layer = graph_relation(graph, layer)->parent) {
        const struct relation *here = graph_relation(graph, layer);
        const struct layer_report *report = remedy_layer(layer);
        const struct layer_report *below = here->parent ? remedy_layer(here->parent) : NULL;

        if (!remedy_image_is_sound(layer))
            return "a layer is damaged, or was not audited: settle that first";
        if (layer != leaf && here->n_children != 1)
            return "a layer has other overlays, which a merge would ruin: decide first which of "
                   "them is to live";
        if (here->golden)
            return "a golden image would be written";
        if (report->info.crypt_method != QCA_CRYPT_NONE)
            return "a layer is encrypted, and the command would need its key";
        if (report->info.incompatible_features & QCA_INCOMPAT_DATA_FILE)
            return "a layer keeps its data in another file";
        if (!remedy_name_is_plain(layer->path))
            return "a layer has a name that not every shell can quote: rename it first";
        if (layer == own)
            return NULL;
        if (!layer->parent.format || !below ||
            qca_format_from_name(layer->parent.format) != below->probed_format)
            return "a layer does not declare its parent's format rightly: settle that first";
    }
}

static void step_name_layers_between(struct remedy *remedy, const struct graph *graph,
                                     const struct image *leaf, const char *quoted_leaf,
                                     const char *quoted_own)
{
    const struct relation *relation = graph_relation(graph, leaf);
    const struct image *layer = relation->parent;
    _cleanup_free_ char *names = NULL;
    uint32_t n = relation->unconsolidated - 1;

    for (uint32_t i = 0; i < n && i < LAYERS_NAMED && remedy->error == 0; i++) {
        _cleanup_free_ char *quoted = remedy_quote(remedy, layer->path), *before = TAKE_PTR(names);

        if (!quoted ||
            asprintf(&names, "%s%s%s", before ? before : "", before ? " " : "", quoted) < 0) {
            names = NULL;
            remedy->error = -ENOMEM;
            return;
        }
        layer = graph_relation(graph, layer)->parent;
    }
    if (n == 0)
        remedy_text(
            remedy,
            "Everything is in %s then; %s stays the domain's disk, and receives its new writes.",
            quoted_own, quoted_leaf);
    else
        remedy_text(remedy,
                    "%s stands directly on %s then and stays the domain's disk. The %u layer%s "
                    "between, %s%s, %s not "
                    "valid any more from the first command on: never use %s again, and delete %s "
                    "once the domain "
                    "has run well.",
                    quoted_leaf, quoted_own, n, n == 1 ? "" : "s", names ? names : "",
                    n > LAYERS_NAMED ? " ..." : "", n == 1 ? "is" : "are", n == 1 ? "it" : "them",
                    n == 1 ? "it" : "them");
}

void remedy_consolidate(struct remedy *remedy, const struct graph *graph, const struct image *leaf)
{
    const char *obstacle = consolidation_obstacle(graph, leaf);
    const struct relation *relation = graph_relation(graph, leaf);
    _cleanup_free_ char *quoted_leaf = NULL, *quoted_own = NULL;
    const struct image *layer = leaf;
    char size[TEXT_SIZE_MAX];
    uint64_t bytes = 0;

    if (obstacle) {
        remedy_text(remedy, "No command is given to merge the layers: %s.", obstacle);
        return;
    }
    for (uint32_t i = 0; i < relation->unconsolidated; i++) {
        bytes += layer->fingerprint.allocated;
        layer = graph_relation(graph, layer)->parent;
    }
    quoted_leaf = remedy_quote(remedy, leaf->path);
    quoted_own = remedy_quote(remedy, relation->own_layer->path);
    if (!quoted_leaf || !quoted_own)
        return;
    remedy_step_stop(remedy, leaf, quoted_leaf);
    remedy_precondition(remedy,
                        "the file system has room for %s to grow by up to %s, and for its copy",
                        quoted_own, text_size(bytes, size));
    if (relation->depth > MANY_LAYERS)
        remedy_precondition(remedy,
                            "more files may be open than the chain has layers: ulimit -n %u",
                            relation->depth + 100);
    remedy_step_copy(remedy, relation->own_layer->path);
    if (relation->unconsolidated == 1)
        remedy_command(remedy, "qemu-img commit -b %s %s", quoted_own, quoted_leaf);
    else
        remedy_command(remedy, "qemu-img commit -b %s %s && qemu-img rebase -u -F %s -b %s %s",
                       quoted_own, quoted_leaf,
                       qca_format_name(remedy_layer(relation->own_layer)->info.format), quoted_own,
                       quoted_leaf);
    step_name_layers_between(remedy, graph, leaf, quoted_leaf, quoted_own);
    remedy_text(remedy,
                "While the domain runs, it is virsh blockcommit DOMAIN DEVICE --base %s --active "
                "--pivot --wait "
                "--verbose. Never leave out the base: without it, everything down to the lowest "
                "layer is written.",
                quoted_own);
}
