/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an overlay is to its parent, snapshot or clone: one table of evidence, and how it is
 * weighed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/relate-internal.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

/* The strongest evidence decides; where both directions have equally strong evidence, nothing is
 * decided. Weak evidence decides for a clone alone: to take a snapshot for a clone costs a warning,
 * to take a clone for a snapshot costs a template. */
enum strength {
    STRENGTH_WEAK,              /* is so of the other kind, too, now and then */
    STRENGTH_STRONG,            /* is so of the other kind by accident alone */
    STRENGTH_CERTAIN,           /* somebody who knows says it */
    STRENGTH_DECLARED,          /* the administrator's word */
};

struct evidence_row {
    enum relation_kind kind;
    enum strength strength;
    const char *words;          /* what follows "because" */
};

static const struct evidence_row rows[_EVIDENCE_MAX] = {
    [EVIDENCE_LIBVIRT_SNAPSHOT] = { RELATION_SNAPSHOT, STRENGTH_CERTAIN,
        "libvirt has the snapshot that made it" },
    [EVIDENCE_LIBVIRT_BRANCH] = { RELATION_SNAPSHOT, STRENGTH_CERTAIN,
        "the parent was its domain's disk when libvirt's snapshot was made" },
    [EVIDENCE_LIBVIRT_CHECKPOINT] = { RELATION_SNAPSHOT, STRENGTH_CERTAIN,
        "both hold the bitmap of one of libvirt's checkpoints" },
    [EVIDENCE_DISK_MOVED] = { RELATION_SNAPSHOT, STRENGTH_CERTAIN,
        "a domain's disk moved from the parent to it" },
    [EVIDENCE_SERIES] = { RELATION_SNAPSHOT, STRENGTH_CERTAIN,
        "it is one of a series of layers by their names" },
    [EVIDENCE_SNAPSHOT_NAME] = { RELATION_SNAPSHOT, STRENGTH_STRONG,
        "its name is one that a snapshot of the parent gets" },
    [EVIDENCE_BACKUP_NAME] = { RELATION_SNAPSHOT, STRENGTH_STRONG,
        "its name is one that a backup tool gives to its snapshots" },
    [EVIDENCE_RHYTHM] = { RELATION_SNAPSHOT, STRENGTH_STRONG,
        "it was made at a regular interval, like the layers next to it" },
    [EVIDENCE_RUN] = { RELATION_SNAPSHOT, STRENGTH_STRONG,
        "it is in a long run of layers of one size, in one folder, with one overlay each" },
    [EVIDENCE_WRITTEN_UNTIL] = { RELATION_SNAPSHOT, STRENGTH_WEAK,
        "the parent, of the same size and in the same folder, was written until it was made and "
        "never since" },
    [EVIDENCE_COUNTED_NAME] = { RELATION_SNAPSHOT, STRENGTH_WEAK,
        "its name is the parent's with another number" },
    [EVIDENCE_BELOW_SERIES] = { RELATION_SNAPSHOT, STRENGTH_WEAK,
        "a series of layers begins with it" },

    [EVIDENCE_GOLDEN_POLICY] = { RELATION_CLONE, STRENGTH_DECLARED,
        "the configuration declares the parent golden" },
    [EVIDENCE_GOLDEN_BASELINE] = { RELATION_CLONE, STRENGTH_CERTAIN,
        "the parent was a golden image when its content was remembered" },
    [EVIDENCE_OTHER_DOMAIN] = { RELATION_CLONE, STRENGTH_CERTAIN,
        "the parent is the disk of another domain" },
    [EVIDENCE_OTHER_DISKS] = { RELATION_CLONE, STRENGTH_STRONG,
        "overlays of different disks stand on the parent" },
    [EVIDENCE_TEMPLATE_PLACE] = { RELATION_CLONE, STRENGTH_STRONG,
        "the parent lies where templates lie" },
    [EVIDENCE_TEMPLATE_NAME] = { RELATION_CLONE, STRENGTH_STRONG,
        "the parent's name is a template's" },
    [EVIDENCE_OTHER_SIZE] = { RELATION_CLONE, STRENGTH_STRONG,
        "the parent has another virtual size" },
    [EVIDENCE_READ_ONLY] = { RELATION_CLONE, STRENGTH_STRONG,
        "nobody may write the parent" },
    [EVIDENCE_WRITTEN_BEFORE] = { RELATION_CLONE, STRENGTH_STRONG,
        "the parent was last written more than a day before it was made" },
    [EVIDENCE_OTHER_FOLDER] = { RELATION_CLONE, STRENGTH_WEAK,
        "the parent lies in another folder" },
    [EVIDENCE_NO_SNAPSHOT] = { RELATION_CLONE, STRENGTH_WEAK,
        "libvirt knows its domain, and no snapshot that made it" },
    [EVIDENCE_DISK_ITSELF] = { RELATION_CLONE, STRENGTH_WEAK,
        "the parent is itself the disk of a domain that does not use the overlay" },
};

const char *relation_kind_name(enum relation_kind kind)
{
    static const char *const names[_RELATION_KIND_MAX] = {
        [RELATION_NONE] = "none",
        [RELATION_SNAPSHOT] = "snapshot",
        [RELATION_CLONE] = "clone",
        [RELATION_UNKNOWN] = "unknown",
    };

    return (unsigned)kind < _RELATION_KIND_MAX ? names[kind] : NULL;
}

#define BIT(evidence) (UINT32_C(1) << (evidence))

/* The strongest row of the kind that is in the set; EVIDENCE_NONE without. */
static enum relation_evidence strongest(uint32_t set, enum relation_kind kind)
{
    enum relation_evidence best = EVIDENCE_NONE;

    for (enum relation_evidence i = EVIDENCE_NONE + 1; i < _EVIDENCE_MAX; i++)
        if ((set & BIT(i)) && rows[i].kind == kind &&
            (best == EVIDENCE_NONE || rows[i].strength > rows[best].strength))
            best = i;
    return best;
}

void relation_decide(struct relation *relation, uint32_t set)
{
    enum relation_evidence snapshot = strongest(set, RELATION_SNAPSHOT),
                           clone = strongest(set, RELATION_CLONE);

    relation->kind = RELATION_UNKNOWN;
    relation->against = EVIDENCE_NONE;
    if (snapshot == EVIDENCE_NONE && clone == EVIDENCE_NONE) {
        relation->decisive = EVIDENCE_NONE;
    } else if (snapshot == EVIDENCE_NONE ||
               (clone != EVIDENCE_NONE && rows[clone].strength > rows[snapshot].strength)) {
        relation->kind = RELATION_CLONE;
        relation->decisive = clone;
    } else if (clone == EVIDENCE_NONE || rows[snapshot].strength > rows[clone].strength) {
        if (rows[snapshot].strength > STRENGTH_WEAK)
            relation->kind = RELATION_SNAPSHOT;
        relation->decisive = snapshot;
    } else {
        relation->decisive = snapshot;
        relation->against = clone;
    }
}

void node_weigh(const struct graph *graph, struct node *node)
{
    uint32_t set = 0;
    struct usage usage;

    node->relation.kind = RELATION_NONE;
    node->relation.decisive = node->relation.against = EVIDENCE_NONE;
    if (!node->parent)
        return;
    usage = graph_image_usage(graph, node->image);
    if (usage_made(&usage, NULL))
        set |= BIT(EVIDENCE_LIBVIRT_SNAPSHOT);
    if (node->parent->golden_by_policy)
        set |= BIT(EVIDENCE_GOLDEN_POLICY);
    if (node->parent->golden_by_inference)
        set |= BIT(EVIDENCE_OTHER_DISKS);
    relation_decide(&node->relation, set);
}

bool graph_is_template(const struct graph *graph, const struct image *image)
{
    const struct node *node = image_node(image);

    (void)graph;
    if (!node)
        return false;
    if (node->relation.golden)
        return true;
    for (size_t i = 0; i < node->n_children; i++)
        if (image_node(node->children[i])->relation.kind != RELATION_SNAPSHOT)
            return true;
    return false;
}

char *graph_relation_reason(const struct graph *graph, const struct image *image)
{
    const struct relation *relation = graph_relation(graph, image);
    char *text;

    if (!relation || relation->kind == RELATION_NONE)
        return strdup("");
    if (relation->decisive == EVIDENCE_NONE)
        return strdup("Nothing says whether it is a snapshot or a clone of its parent.");
    if (relation->kind != RELATION_UNKNOWN)
        return asprintf(&text, "It is a %s of its parent: %s.",
                        relation_kind_name(relation->kind), rows[relation->decisive].words) < 0
                   ? NULL : text;
    if (relation->against == EVIDENCE_NONE)
        return asprintf(&text, "It may be a snapshot or a clone of its parent: that %s is no proof.",
                        rows[relation->decisive].words) < 0
                   ? NULL : text;
    return asprintf(&text, "It may be a snapshot of its parent, for %s, or a clone, for %s.",
                    rows[relation->decisive].words, rows[relation->against].words) < 0
               ? NULL : text;
}
