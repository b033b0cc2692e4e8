/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Remedies of contents that are not what they were: what to restore, and how to say that a change
 * was meant. */
#include <inttypes.h>
#include <string.h>

#include "daemon/remedy/internal.h"
#include "helpers/evidence.h"
#include "lib/cleanup.h"

#define RANGES_TOLD 8

/* The ranges in words, a few of them. */
static void ranges(struct remedy *remedy, const struct deviation *deviation)
{
    for (size_t i = 0; i < deviation->n_ranges && i < RANGES_TOLD; i++)
        remedy_text(remedy, "Bytes %" PRIu64 " to %" PRIu64 " of the guest's disk are different.",
                    deviation->ranges[i].offset,
                    deviation->ranges[i].offset + deviation->ranges[i].length - 1);
    if (deviation->ranges_total > RANGES_TOLD)
        remedy_text(remedy,
                    "So are %" PRIu64
                    " more ranges: qcauditctl baseline show has the first hundred.",
                    deviation->ranges_total - RANGES_TOLD);
}

static void children(struct remedy *remedy, const struct graph *graph, const struct image *image)
{
    const struct relation *relation = graph_relation(graph, image);

    if (relation && relation->n_children == 1)
        remedy_precondition(remedy, "every domain with a disk on its overlay is stopped");
    else if (relation && relation->n_children > 0)
        remedy_precondition(remedy,
                            "every domain with a disk on one of its %u overlays is stopped",
                            relation->n_children);
}

/* To accept a change under overlays does not make their guests well. */
static void accept(struct remedy *remedy, const struct image *image)
{
    const struct image *child;
    _cleanup_free_ char *quoted = NULL;
    size_t n = 0;

    for (size_t i = 0; n < 2 && (child = graph_child(image, i)); i++)
        n += child->present;
    if (n > 0) {
        remedy_note(remedy,
                    "No command is given that accepts the change, because %s on the image: %s "
                    "guests read other data than before, and accepting it does not mend them. Only "
                    "if the change was meant, and %s deleted, made anew, or emptied by a commit "
                    "into the image: qcauditctl baseline accept, with your reason.",
                    n == 1 ? "an overlay stands" : "overlays stand",
                    n == 1 ? "its" : "their",
                    n == 1 ? "the overlay was" : "all of the overlays were");
        return;
    }
    quoted = remedy_quote(remedy, image->path);
    if (!quoted)
        return;
    if (!remedy_name_is_plain(image->path)) {
        remedy_step_rename_first(remedy);
        return;
    }
    remedy_text(remedy, "Or, if the change was meant:");
    remedy_precondition(
        remedy,
        "whoever is responsible for the image made this change");
    remedy_look(remedy, "qcauditctl baseline accept %s --reason='this change was meant'",
                   quoted);
}

void remedy_rot(struct remedy *remedy, const struct graph *graph, const struct image *image)
{
    if (!image->baseline || !image->baseline->deviation)
        return;
    children(remedy, graph, image);
    ranges(remedy, image->baseline->deviation);
    remedy_text(remedy,
                "Restore %s from a backup or another copy. The reading after that ends this.",
                image->baseline->deviation->n_ranges > 0 ? "them, or the whole image,"
                                                         : "the image");
    remedy_text(
        remedy,
        "Look at the kernel's log and at the device itself; do not trust other files on it "
        "before.");
}

void remedy_modified(struct remedy *remedy, const struct graph *graph, const struct image *image)
{
    if (!image->baseline || !image->baseline->deviation) {
        children(remedy, graph, image);
        remedy_text(remedy,
                    "Start no guest on the overlays. If the image was written by mistake, restore "
                    "it as it was. If an overlay was committed into it, that overlay is not needed "
                    "any more; other overlays on it are damaged.");
        return;
    }
    children(remedy, graph, image);
    remedy_text(remedy,
                "Find out who wrote the image, and restore it as it was. qcauditctl baseline show "
                "has the ranges that are different.");
    accept(remedy, image);
}

/* Nothing here is worth a command that could hurt: what fits this image is said in words. */
void remedy_space(struct remedy *remedy, const struct graph *graph, const struct finding *finding,
                  const struct image *image)
{
    const struct relation *relation = graph_relation(graph, image);
    struct usage usage = graph_image_usage(graph, image);
    const struct usage_entry *source = usage_layer(&usage);
    uint64_t zeros = evidence_get_number(finding->evidence, NUMBER_ZERO_BYTES),
             leaked = evidence_get_number(finding->evidence, NUMBER_LEAKED_BYTES);
    uint64_t unneeded = evidence_get_number(finding->evidence, NUMBER_UNNEEDED_BYTES);

    if (relation && relation->n_children > 0) {
        remedy_text(remedy,
                    "Overlays stand on this image: do not write it, and do not sparsify it in "
                    "place. The space comes back when an identical copy takes its place while all "
                    "of them are shut off (qemu-img convert leaves out zeros and free clusters, "
                    "qcauditctl compare says whether both hold the same), or when the chain is "
                    "consolidated.");
        return;
    }
    if (zeros > 0) {
        if (source)
            remedy_text(remedy,
                        "In the guest: fstrim, with discard='unmap' for this disk in the domain's "
                        "definition (it counts from the next start of the domain on).");
        remedy_text(remedy,
                    "%sith the domain shut off, and no other program that has the image open, "
                    "virt-sparsify --in-place (libguestfs) gives the space back from outside. It "
                    "writes the image: keep a backup.",
                    source ? "Or: w" : "W");
    }
    if (leaked > 0)
        remedy_text(remedy, "clusters-leaked reports the leaked clusters, with its remedy.");
    if (unneeded > 0 || evidence_get_number(finding->evidence, NUMBER_IMAGE_END_OFFSET) > 0)
        remedy_text(remedy,
                    "Free clusters inside the file are used again by the guest's next writes, and "
                    "are otherwise kept for ever. With the domain shut off, a copy made with "
                    "qemu-img convert (of the same format and options, under a new name) does not "
                    "have them; qcauditctl compare says whether both hold the same before the copy "
                    "takes the image's place.");
}
