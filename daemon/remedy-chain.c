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

/* While a guest writes it, the counters of its tables say nothing. */
static bool leaf_may_be_sound(const struct image *leaf)
{
    const struct layer_report *layer = remedy_layer(leaf);

    return layer && !(layer->info.incompatible_features & QCA_INCOMPAT_CORRUPT);
}

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

        if (layer == leaf && graph_use(graph, layer) == FILES_WRITER
                ? !leaf_may_be_sound(layer)
                : !remedy_image_is_sound(layer))
            return "a layer is damaged, or was not audited: settle that first";
        if (layer != leaf ? here->n_children != 1 : here->n_children > 0)
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
                    "between, %s%s, %s not valid any more from the first command on: never use %s "
                    "again, and delete %s once the domain has run well.",
                    quoted_leaf, quoted_own, n, n == 1 ? "" : "s", names ? names : "",
                    n > LAYERS_NAMED ? " ..." : "", n == 1 ? "is" : "are", n == 1 ? "it" : "them",
                    n == 1 ? "it" : "them");
}

/* With the domain running: QEMU merges, and goes on with the own layer. */
static void consolidate_live(struct remedy *remedy, const struct graph *graph,
                             const struct image *leaf, const struct usage_entry *source,
                             const char *quoted_own)
{
    const struct relation *relation = graph_relation(graph, leaf);
    _cleanup_free_ char *virsh = remedy_virsh(remedy, graph, source->domain);
    _cleanup_free_ char *name = remedy_domain_name(remedy, source->domain);
    _cleanup_free_ char *target = remedy_quote(remedy,
                                               source->disk->target ? source->disk->target : "");

    if (!virsh || !name || !target)
        return;
    remedy_precondition(remedy, "no backup of the domain is under way");
    remedy_command(remedy, "%s blockcommit %s %s --base %s --active --pivot --wait --verbose",
                   virsh, name, target, quoted_own);
    remedy_forget_snapshots(remedy, graph, source->domain, leaf);
    remedy_text(remedy,
                "The domain runs on %s then. The %u layer%s above it %s not valid any more: never "
                "use %s again, and delete %s once the domain has run well. Never leave out the "
                "base: without it, everything down to the lowest layer is written.",
                quoted_own, relation->unconsolidated, relation->unconsolidated == 1 ? "" : "s",
                relation->unconsolidated == 1 ? "is" : "are",
                relation->unconsolidated == 1 ? "it" : "them",
                relation->unconsolidated == 1 ? "it" : "them");
}

static void step_copy_and_commit(struct remedy *remedy, const struct relation *relation,
                                 const char *quoted_leaf, const char *quoted_own, bool rebase)
{
    remedy_step_copy(remedy, relation->own_layer->path);
    if (relation->unconsolidated == 1 || !rebase)
        remedy_command(remedy, "qemu-img commit -b %s %s", quoted_own, quoted_leaf);
    else
        remedy_command(remedy, "qemu-img commit -b %s %s && qemu-img rebase -u -F %s -b %s %s",
                       quoted_own, quoted_leaf,
                       qca_format_name(remedy_layer(relation->own_layer)->info.format), quoted_own,
                       quoted_leaf);
}

/* Everything goes into the own layer, and that becomes the disk of the domain, which is shut
 * off. */
static void consolidate_defined(struct remedy *remedy, const struct graph *graph,
                                const struct image *leaf, const struct usage_entry *source,
                                const char *quoted_leaf, const char *quoted_own)
{
    const struct relation *relation = graph_relation(graph, leaf);
    const char *format = qca_format_name(remedy_layer(relation->own_layer)->info.format);

    step_copy_and_commit(remedy, relation, quoted_leaf, quoted_own, false);
    if (!remedy_define_image(remedy, graph, source->domain, source->disk, relation->own_layer->path,
                             format))
        remedy_text(remedy,
                    "Make %s the disk in the domain's definition, and its type %s (virsh edit).",
                    quoted_own, format);
    remedy_forget_snapshots(remedy, graph, source->domain, leaf);
    remedy_text(
        remedy,
        "Everything is in %s then. The layers above it are not valid any more from the first "
        "command on: never use them again, and delete them once the domain has run well.",
        quoted_own);
}

static void consolidate_alone(struct remedy *remedy, const struct graph *graph,
                              const struct image *leaf, const char *quoted_leaf,
                              const char *quoted_own)
{
    step_copy_and_commit(remedy, graph_relation(graph, leaf), quoted_leaf, quoted_own, true);
    step_name_layers_between(remedy, graph, leaf, quoted_leaf, quoted_own);
    remedy_text(remedy,
                "While the domain runs, it is virsh blockcommit DOMAIN DEVICE --base %s --active "
                "--pivot --wait --verbose. Never leave out the base: without it, everything down "
                "to the lowest layer is written.",
                quoted_own);
}

void remedy_consolidate(struct remedy *remedy, const struct graph *graph, const struct image *leaf)
{
    const char *obstacle = consolidation_obstacle(graph, leaf);
    const struct relation *relation = graph_relation(graph, leaf);
    struct usage usage = graph_image_usage(graph, leaf);
    const struct usage_entry *source = usage_source(&usage);
    _cleanup_free_ char *quoted_leaf = NULL, *quoted_own = NULL;
    const struct image *layer = leaf;
    char size[TEXT_SIZE_MAX];
    uint64_t bytes = 0;

    if (!obstacle && source && source->disk->transient)
        obstacle =
            "the disk is transient: its layer is to be forgotten when the domain stops, and would "
            "be kept for good";
    if (!obstacle && source && source->live && source->disk->job.type)
        obstacle = "a block job runs on the disk: wait for its end";
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
    if (!source || !source->live)
        remedy_step_stop(remedy, leaf, quoted_leaf);
    remedy_precondition(
        remedy,
        source && source->live
            ? "the file system has room for %s to grow by up to %s"
            : "the file system has room for %s to grow by up to %s, and for its copy",
        quoted_own, text_size(bytes, size));
    if (relation->depth > MANY_LAYERS && !(source && source->live))
        remedy_precondition(remedy,
                            "more files may be open than the chain has layers: ulimit -n %u",
                            relation->depth + 100);
    if (source && source->live)
        consolidate_live(remedy, graph, leaf, source, quoted_own);
    else if (source)
        consolidate_defined(remedy, graph, leaf, source, quoted_leaf, quoted_own);
    else
        consolidate_alone(remedy, graph, leaf, quoted_leaf, quoted_own);
}
