/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The remedy of piled up layers: one commit with its base named, where it can hurt nobody else. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/remedy/gate.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define LAYERS_NAMED 10
#define MANY_LAYERS 500         /* every layer is an open file, and 1,024 is the usual limit */

/* Adds a merge's act on each layer from the leaf down to the own layer. False: there is nothing to
 * merge. */
static bool gate_merge(struct gate *gate, const struct image *leaf)
{
    const struct relation *relation = graph_relation(gate->graph, leaf);

    if (!relation || relation->in_loop || relation->above_loop) {
        gate_refuse(gate, "the chain contains itself: settle chain-loop first");
        return false;
    }
    if (!relation->complete) {
        gate_refuse(gate, "the chain is not complete: settle its other findings first");
        return false;
    }
    if (relation->unconsolidated == 0) {
        gate_refuse(gate, "there is nothing to merge");
        return false;
    }
    for (const struct image *layer = leaf; layer != relation->own_layer;
         layer = graph_relation(gate->graph, layer)->parent)
        gate_image(gate, layer, GATE_LOSE);
    gate_image(gate, relation->own_layer, GATE_FILL);
    return true;
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
            "All data is then in %s; %s stays the domain's disk and receives its new writes.",
            quoted_own, quoted_leaf);
    else
        remedy_text(remedy,
                    "%s then stands directly on %s and stays the domain's disk. The %u layer%s "
                    "between, %s%s, %s no longer valid from the first command on: never use %s "
                    "again, and delete %s once the domain has run well.",
                    quoted_leaf, quoted_own, n, n == 1 ? "" : "s", names ? names : "",
                    n > LAYERS_NAMED ? " ..." : "", n == 1 ? "is" : "are", n == 1 ? "it" : "them",
                    n == 1 ? "it" : "them");
}

/* With the domain running: QEMU merges, and goes on with the own layer. */
static void consolidate_live(struct remedy *remedy, const struct gate *gate,
                             const struct image *leaf, const char *quoted_own)
{
    const struct relation *relation = graph_relation(gate->graph, leaf);
    _cleanup_free_ char *virsh = remedy_virsh(remedy, gate->graph, gate->domain);
    _cleanup_free_ char *name = remedy_domain_name(remedy, gate->domain);
    _cleanup_free_ char *target =
        remedy_quote(remedy, gate->disk->target ? gate->disk->target : "");

    if (!virsh || !name || !target)
        return;
    remedy_precondition(remedy, "no backup of the domain is under way");
    remedy_command(remedy, gate, "%s blockcommit %s %s --base %s --active --pivot --wait --verbose",
                   virsh, name, target, quoted_own);
    remedy_forget_snapshots(remedy, gate, gate->domain, leaf);
    remedy_text(remedy,
                "From then on the domain runs on %s. The %u layer%s above it %s no longer valid: "
                "never use %s again, and delete %s once the domain has run well. Never leave out "
                "the base: without it, everything down to the lowest layer is written.",
                quoted_own, relation->unconsolidated, relation->unconsolidated == 1 ? "" : "s",
                relation->unconsolidated == 1 ? "is" : "are",
                relation->unconsolidated == 1 ? "it" : "them",
                relation->unconsolidated == 1 ? "it" : "them");
}

static void step_copy_and_commit(struct remedy *remedy, const struct gate *gate,
                                 const struct relation *relation, const char *quoted_leaf,
                                 const char *quoted_own, bool rebase)
{
    remedy_step_copy(remedy, gate, relation->own_layer);
    remedy_and(remedy, gate, "qemu-img commit -b %s %s", quoted_own, quoted_leaf);
    if (relation->unconsolidated > 1 && rebase)
        remedy_and(remedy, gate, "qemu-img rebase -u -F %s -b %s %s",
                   qca_format_name(image_layer(relation->own_layer)->info.format), quoted_own,
                   quoted_leaf);
}

/* Everything goes into the own layer, and that becomes the disk of the domain, which is shut
 * off. */
static void consolidate_defined(struct remedy *remedy, const struct gate *gate,
                                const struct image *leaf, const struct virt_disk *disk,
                                const char *quoted_leaf, const char *quoted_own)
{
    const struct relation *relation = graph_relation(gate->graph, leaf);
    const char *format = qca_format_name(image_layer(relation->own_layer)->info.format);

    step_copy_and_commit(remedy, gate, relation, quoted_leaf, quoted_own, false);
    if (!remedy_define_image(remedy, gate, gate->domain, disk, relation->own_layer->path, format))
        remedy_text(remedy,
                    "Make %s the disk in the domain's definition, and its type %s (virsh edit).",
                    quoted_own, format);
    remedy_forget_snapshots(remedy, gate, gate->domain, leaf);
    remedy_text(
        remedy,
        "All data is then in %s. The layers above it are no longer valid from the first command "
        "on: never use them again, and delete them once the domain has run well.",
        quoted_own);
}

static void consolidate_alone(struct remedy *remedy, const struct gate *gate,
                              const struct image *leaf, const char *quoted_leaf,
                              const char *quoted_own)
{
    step_copy_and_commit(remedy, gate, graph_relation(gate->graph, leaf), quoted_leaf, quoted_own,
                         true);
    step_name_layers_between(remedy, gate->graph, leaf, quoted_leaf, quoted_own);
    remedy_text(remedy,
                "While the domain runs, it is virsh blockcommit DOMAIN DEVICE --base %s --active "
                "--pivot --wait --verbose. Never leave out the base: without it, everything down "
                "to the lowest layer is written.",
                quoted_own);
}

/* Of the layers above the own one: how much it can grow. */
static uint64_t bytes_to_merge(const struct graph *graph, const struct image *leaf)
{
    const struct relation *relation = graph_relation(graph, leaf);
    const struct image *layer = leaf;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < relation->unconsolidated; i++) {
        bytes += layer->fingerprint.allocated;
        layer = graph_relation(graph, layer)->parent;
    }
    return bytes;
}

static void consolidate(struct remedy *remedy, struct gate *gate, const struct image *leaf,
                        const struct usage_entry *source, uint64_t bytes)
{
    const struct relation *relation = graph_relation(gate->graph, leaf);
    _cleanup_free_ char *quoted_leaf = remedy_quote(remedy, leaf->path),
                        *quoted_own = remedy_quote(remedy, relation->own_layer->path);
    char size[TEXT_SIZE_MAX];

    if (!quoted_leaf || !quoted_own)
        return;
    if (!gate->live)
        remedy_step_stop(remedy, gate, leaf, quoted_leaf);
    remedy_precondition(
        remedy,
        gate->live ? "the file system has room for %s to grow by up to %s"
                   : "the file system has room for %s to grow by up to %s, and for its copy",
        quoted_own, text_size(bytes, size));
    if (relation->depth > MANY_LAYERS && !gate->live)
        remedy_precondition(remedy,
                            "more files may be open than the chain has layers: ulimit -n %u",
                            relation->depth + 100);
    if (gate->live)
        consolidate_live(remedy, gate, leaf, quoted_own);
    else if (source)
        consolidate_defined(remedy, gate, leaf, source->disk, quoted_leaf, quoted_own);
    else
        consolidate_alone(remedy, gate, leaf, quoted_leaf, quoted_own);
}

void remedy_consolidate(struct remedy *remedy, const struct graph *graph, const struct image *leaf)
{
    struct usage usage = graph_image_usage(graph, leaf);
    const struct usage_entry *source = usage_source(&usage);
    const struct relation *relation = graph_relation(graph, leaf);
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);
    uint64_t bytes = 0;

    if (source)
        gate_domain(&gate, source->domain, source->disk, source->live);
    if (gate_merge(&gate, leaf)) {
        bytes = bytes_to_merge(graph, leaf);
        gate_room(&gate, relation->own_layer->path, bytes);
        if (!gate.live)
            remedy_gate_copy(&gate, relation->own_layer);
    }
    if (gate_is_open(&gate))
        consolidate(remedy, &gate, leaf, source, bytes);
}
