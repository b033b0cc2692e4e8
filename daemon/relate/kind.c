/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an overlay is to its parent, snapshot or clone: one table of evidence, and how it is
 * weighed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/relate/internal.h"
#include "helpers/clock.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

/* The strongest evidence decides; where both directions have equally strong evidence, nothing is
 * decided. Weak evidence decides for a clone alone: to take a snapshot for a clone costs a warning,
 * to take a clone for a snapshot costs a template. */
enum strength {
    STRENGTH_WEAK,              /* is so of the other kind, too, now and then */
    STRENGTH_STRONG,            /* is so of the other kind by accident alone */
    STRENGTH_CLEAR,             /* whoever made it said so by its name */
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
    [EVIDENCE_SNAPSHOT_WORD] = { RELATION_SNAPSHOT, STRENGTH_CLEAR,
        "its name is the parent's with a word for snapshots" },
    [EVIDENCE_SNAPSHOT_NAME] = { RELATION_SNAPSHOT, STRENGTH_STRONG,
        "its name is the parent's with a time, or with a snapshot's name as libvirt adds it" },
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
    [EVIDENCE_BELOW_SERIES] = { RELATION_SNAPSHOT, STRENGTH_STRONG,
        "it is the first of a series of layers by their names" },
    [EVIDENCE_RECORD_SNAPSHOT] = { RELATION_SNAPSHOT, STRENGTH_CERTAIN,
        "the list of snapshots of its virtual machine has the parent" },
    [EVIDENCE_DELTA_NAME] = { RELATION_SNAPSHOT, STRENGTH_CLEAR,
        "its name is the parent's with six digits, as ESXi names the layers of a disk" },

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
    [EVIDENCE_RECORD_NO_SNAPSHOT] = { RELATION_CLONE, STRENGTH_WEAK,
        "it is the disk of a virtual machine whose list of snapshots does not have the parent" },
    [EVIDENCE_OTHER_MACHINE] = { RELATION_CLONE, STRENGTH_CERTAIN,
        "the parent is the disk of another virtual machine" },
    [EVIDENCE_DISK_ITSELF] = { RELATION_CLONE, STRENGTH_WEAK,
        "the parent is itself the disk of a domain that does not use the overlay" },
    /* Whoever may write a file there could give it any name: no name makes it one of the parent's
     * layers. */
    [EVIDENCE_STRANGER] = { RELATION_CLONE, STRENGTH_CLEAR,
        "neither the parent's owner, root nor libvirt put it there" },
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

#define BIT(evidence) EVIDENCE_BIT(evidence)
#define A_DAY (INT64_C(86400) * (int64_t)NSEC_PER_SEC)
#define CHILDREN_ASKED 64       /* of one parent, when its overlays have to be compared */
#define BITMAPS_ASKED 64
#define CHECKPOINTS_ASKED 1000

/* ---- the evidence weighed -------------------------------------------------------------------- */

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

void evidence_decide(uint32_t set, enum relation_kind *ret_kind,
                     enum relation_evidence *ret_decisive, enum relation_evidence *ret_against)
{
    enum relation_evidence snapshot = strongest(set, RELATION_SNAPSHOT),
                           clone = strongest(set, RELATION_CLONE);

    *ret_kind = RELATION_UNKNOWN;
    *ret_decisive = snapshot != EVIDENCE_NONE ? snapshot : clone;
    *ret_against = EVIDENCE_NONE;
    if (*ret_decisive == EVIDENCE_NONE)
        return;
    if (snapshot == EVIDENCE_NONE ||
        (clone != EVIDENCE_NONE && rows[clone].strength > rows[snapshot].strength)) {
        *ret_kind = RELATION_CLONE;
        *ret_decisive = clone;
    } else if (clone != EVIDENCE_NONE && rows[clone].strength == rows[snapshot].strength) {
        *ret_against = clone;
    } else if (rows[snapshot].strength > STRENGTH_WEAK) {
        *ret_kind = RELATION_SNAPSHOT;
    }
}

/* ---- what libvirt says ----------------------------------------------------------------------- */

/* Is it a layer of the domain's, or was made by one of its snapshots? */
static bool is_of_domain(const struct usage *usage, const struct virt_domain *domain)
{
    for (size_t i = 0; i < usage->n_entries; i++)
        if ((usage->entries[i].kind == USAGE_LAYER || usage->entries[i].kind == USAGE_MADE) &&
            usage->entries[i].domain == domain)
            return true;
    return false;
}

static bool is_disk(const struct usage_entry *entry)
{
    return entry->kind == USAGE_BEFORE || (entry->kind == USAGE_LAYER && entry->layer == 0);
}

/* Is the parent a domain's disk, or was when a snapshot was made? A domain that has the overlay,
 * too, is the same one: its definition and the running machine differ then. */
static uint32_t disk_evidence(const struct usage *usage, const struct usage *below)
{
    const struct usage_entry *owner = usage_layer(usage);
    uint32_t set = 0;

    for (size_t i = 0; i < below->n_entries; i++) {
        const struct usage_entry *entry = &below->entries[i];

        if (!is_disk(entry))
            continue;
        if (is_of_domain(usage, entry->domain))
            return 0;
        set = BIT(owner ? EVIDENCE_OTHER_DOMAIN : EVIDENCE_DISK_ITSELF);
    }
    return set;
}

static bool was_disk_of(const struct usage *below, const struct virt_domain *domain)
{
    for (size_t i = 0; i < below->n_entries; i++)
        if (below->entries[i].kind == USAGE_BEFORE && below->entries[i].domain == domain)
            return true;
    return false;
}

static bool has_bitmap(const struct qca_image_info *info, const char *name)
{
    for (size_t i = 0; i < info->n_bitmaps && i < BITMAPS_ASKED; i++)
        if (strcmp(info->bitmaps[i].name, name) == 0)
            return true;
    return false;
}

static bool is_checkpoint(const struct virt_domain *domain, const char *bitmap)
{
    for (size_t i = 0; i < domain->n_checkpoints && i < CHECKPOINTS_ASKED; i++)
        for (size_t k = 0; k < domain->checkpoints[i].n_disks; k++) {
            const char *name = domain->checkpoints[i].disks[k].bitmap;

            if (name && strcmp(name, bitmap) == 0)
                return true;
        }
    return false;
}

/* A checkpoint's bitmap goes on in the overlay, under the same name. */
static bool share_checkpoint(const struct qca_image_info *info, const struct qca_image_info *below,
                             const struct virt_domain *domain)
{
    for (size_t i = 0; i < info->n_bitmaps && i < BITMAPS_ASKED; i++)
        if (has_bitmap(below, info->bitmaps[i].name) &&
            is_checkpoint(domain, info->bitmaps[i].name))
            return true;
    return false;
}

static uint32_t libvirt_evidence(const struct graph *graph, const struct node *node)
{
    const struct node *parent = node->parent;
    const struct layer_report *layer = image_layer(node->image),
                              *below = image_layer(parent->image);
    struct usage usage = graph_image_usage(graph, node->image),
                 usage_below = graph_image_usage(graph, parent->image);
    const struct usage_entry *owner = usage_layer(&usage);
    uint32_t set = parent->kind_flags & KIND_SOURCE ? disk_evidence(&usage, &usage_below) : 0;

    if (usage_made(&usage, NULL))
        set |= BIT(EVIDENCE_LIBVIRT_SNAPSHOT);
    else if (owner && was_disk_of(&usage_below, owner->domain))
        set |= BIT(EVIDENCE_LIBVIRT_BRANCH);
    else if (owner && usage_is_complete(graph->usage) && !owner->domain->error)
        set |= BIT(EVIDENCE_NO_SNAPSHOT);
    if (owner && layer && below && layer->info.n_bitmaps > 0 && below->info.n_bitmaps > 0 &&
        share_checkpoint(&layer->info, &below->info, owner->domain))
        set |= BIT(EVIDENCE_LIBVIRT_CHECKPOINT);
    return set;
}

/* ---- what the files say ---------------------------------------------------------------------- */

int64_t image_birth(const struct image *image)
{
    return !image_is_device(image) && image->identity.btime > 0 &&
                   image->identity.btime <= image->fingerprint.mtime
               ? image->identity.btime : 0;
}

static bool is_read_only(const struct image *image)
{
    return S_ISREG(image->fingerprint.mode) &&
           (!(image->fingerprint.mode & 0222) ||
            (image->audit && image->audit->verity));
}

/* A raw file's size is rounded up to sectors where the overlay is made. */
static uint64_t virtual_size(const struct image *image)
{
    const struct layer_report *layer = image_layer(image);

    return !layer ? 0
           : layer->info.format == QCA_FORMAT_RAW ? (layer->info.virtual_size + 511) / 512 * 512
                                                  : layer->info.virtual_size;
}

/* *ret_plain: in one folder, and of one size. */
static uint32_t file_evidence(const struct node *node, bool *ret_plain)
{
    const struct image *image = node->image, *below = node->parent->image;
    uint64_t size = virtual_size(image), size_below = virtual_size(below);
    bool same_folder = path_same_folder(image->path, below->path),
         same_size = size > 0 && size == size_below;
    int64_t birth = image_birth(image), made = birth > 0 ? birth : image->fingerprint.mtime;
    uint32_t set = 0;

    if (size > 0 && size_below > 0 && !same_size)
        set |= BIT(EVIDENCE_OTHER_SIZE);
    if (!same_folder)
        set |= BIT(EVIDENCE_OTHER_FOLDER);
    if (is_read_only(below))
        set |= BIT(EVIDENCE_READ_ONLY);
    if (!image_is_device(below) && !image_has_data_file(below)) {
        int64_t written = below->fingerprint.mtime;

        if (birth > 0 && birth - written > A_DAY)
            set |= BIT(EVIDENCE_WRITTEN_BEFORE);
        else if (written <= made && same_size &&
                 (same_folder || node->name_says >= NAME_SNAPSHOT))
            set |= BIT(EVIDENCE_WRITTEN_UNTIL);
    }
    if ((node->parent->kind_flags & KIND_PLACE) && !same_folder)
        set |= BIT(EVIDENCE_TEMPLATE_PLACE);
    /* A layer with the template's whole name is a layer of the template itself. */
    if ((node->parent->kind_flags & KIND_NAME) && !(node->kind_flags & KIND_NAME))
        set |= BIT(EVIDENCE_TEMPLATE_NAME);
    if (node->kind_flags & KIND_BACKUP)
        set |= BIT(EVIDENCE_BACKUP_NAME);
    if (node->name_says == NAME_WORD)
        set |= BIT(EVIDENCE_SNAPSHOT_WORD);
    else if (node->name_says == NAME_SNAPSHOT)
        set |= BIT(EVIDENCE_SNAPSHOT_NAME);
    else if (node->name_says == NAME_COUNTED)
        set |= BIT(EVIDENCE_COUNTED_NAME);
    if (layer_name_is_delta(image->path, below->path))
        set |= BIT(EVIDENCE_DELTA_NAME);
    *ret_plain = same_folder && same_size;
    return set;
}

void node_name_changed(struct node *node)
{
    const char *path = node->image->path;
    bool backup = backup_tool(path) && backup_tool_is_temporary(path);

    node->kind_flags &= ~(KIND_PLACE | KIND_NAME | KIND_BACKUP | KIND_COPY);
    node->kind_flags |= (place_is_of_templates(path) ? KIND_PLACE : 0) |
                        (name_is_of_template(path) ? KIND_NAME : 0) | (backup ? KIND_BACKUP : 0) |
                        (name_is_backup(path) ? KIND_COPY : 0);
}

/* ---- who stands on one parent ---------------------------------------------------------------- */

static void weigh_children(struct graph *graph, const struct node *node)
{
    for (size_t i = 0; i < node->n_children; i++)
        node_mark(graph, image_node(node->children[i]), NODE_WEIGH);
}

/* Two overlays that are the disks of one domain's target are branches of one disk. */
bool node_has_other_disks(const struct graph *graph, const struct node *node)
{
    const struct usage_entry *first = NULL;
    size_t n = 0;

    if (node->n_other_disks != 2)
        return node->n_other_disks > 2;
    for (size_t i = 0; i < node->n_children && n < 2; i++) {
        const struct node *child = image_node(node->children[i]);
        const struct usage_entry *owner;
        struct usage usage;

        if (!(child->kind_flags & KIND_OTHER_DISK))
            continue;
        usage = graph_image_usage(graph, child->image);
        owner = usage_layer(&usage);
        if (!owner || !owner->disk)
            return true;
        if (n++ == 0)
            first = owner;
        else
            return owner->domain != first->domain ||
                   strcmp(owner->disk->target, first->disk->target) != 0;
    }
    return false;
}

/* The layers that look at this one. */
static void weigh_around(struct graph *graph, struct node *node)
{
    struct node *other = node->parent;

    node_mark(graph, node, NODE_WEIGH);
    for (unsigned i = 0; other && i <= SERIES_SPAN; i++, other = other->parent)
        node_mark(graph, other, NODE_WEIGH);
    other = node_above(node);
    for (unsigned i = 0; other && i <= SERIES_SPAN; i++, other = node_above(other))
        node_mark(graph, other, NODE_WEIGH);
}

/* Makes the node count, or no longer, for what it is to its parent. What that changes for the other
 * overlays is weighed again: only while there are few. */
static void node_count(struct graph *graph, struct node *node, uint16_t flags)
{
    const uint16_t counted = KIND_OTHER_DISK | KIND_CERTAIN | KIND_STRANGER;
    struct node *parent = node->parent;
    uint16_t before = node->kind_flags & counted;

    node->kind_flags = (node->kind_flags & ~counted) | flags;
    if (flags == before)
        return;
    if ((flags ^ before) & KIND_STRANGER) {
        parent->n_strangers += !!(flags & KIND_STRANGER);
        parent->n_strangers -= !!(before & KIND_STRANGER);
        parent->children_made = 0;
        weigh_around(graph, parent);
    }
    parent->n_other_disks += !!(flags & KIND_OTHER_DISK);
    parent->n_other_disks -= !!(before & KIND_OTHER_DISK);
    parent->n_snapshots += !!(flags & KIND_CERTAIN);
    parent->n_snapshots -= !!(before & KIND_CERTAIN);
    node_mark(graph, parent, NODE_CHECK_GOLDEN);
    if (parent->n_other_disks <= 3)
        weigh_children(graph, parent);
}

/* Is that another one than before? */
static bool node_set_kind(struct node *node, enum relation_kind kind,
                         enum relation_evidence decisive, enum relation_evidence against)
{
    bool changed = kind != node->kind || decisive != node->decisive || against != node->against;

    if (node->parent) {
        node->parent->n_states += kind == RELATION_SNAPSHOT;
        node->parent->n_states -= node->kind == RELATION_SNAPSHOT;
    }
    node->kind = (uint8_t)kind;
    node->decisive = (uint8_t)decisive;
    node->against = (uint8_t)against;
    return changed;
}

void node_uncount(struct graph *graph, struct node *node)
{
    node_count(graph, node, 0);
    (void)node_set_kind(node, RELATION_NONE, EVIDENCE_NONE, EVIDENCE_NONE);
    node->kind_flags &= ~KIND_PLAIN;
    node->evidence = 0;
}

/* Whoever may write a file into a datastore can name any disk as the parent of his own: that must
 * not make another's disk golden, and its next write an alarm. What root puts there counts, what
 * libvirt knows of, and anybody's overlay of an image that its owner made to be shared. */
static bool node_is_strangers(const struct graph *graph, const struct node *node)
{
    const struct node *parent = node->parent;
    uint32_t uid = node->image->fingerprint.uid;

    return uid != 0 && uid != parent->image->fingerprint.uid && !parent->golden_by_policy &&
           !(parent->kind_flags & (KIND_PLACE | KIND_NAME)) && !is_read_only(parent->image) &&
           graph_image_usage(graph, node->image).n_entries == 0;
}

/* ---- one relation ---------------------------------------------------------------------------- */

/* All that the node and its parent say, without the layers next to them. */
static void node_gather(struct graph *graph, struct node *node)
{
    const uint32_t certain = BIT(EVIDENCE_LIBVIRT_SNAPSHOT) | BIT(EVIDENCE_LIBVIRT_BRANCH) |
                             BIT(EVIDENCE_LIBVIRT_CHECKPOINT) | BIT(EVIDENCE_DISK_MOVED) |
                             BIT(EVIDENCE_RECORD_SNAPSHOT);
    const struct node *parent = node->parent;
    uint32_t clone = 0;
    bool plain;

    if (!parent)
        return;
    node->name_says = layer_name_says(node->image->path, parent->image->path);
    node->evidence = file_evidence(node, &plain);
    node->evidence |= libvirt_evidence(graph, node) | record_evidence(graph, node);
    if (graph_disk_moved(graph, node->image, parent->image))
        node->evidence |= BIT(EVIDENCE_DISK_MOVED);
    if (parent->golden_by_policy)
        node->evidence |= BIT(EVIDENCE_GOLDEN_POLICY);
    if (image_is_golden_by_baseline(parent->image))
        node->evidence |= BIT(EVIDENCE_GOLDEN_BASELINE);
    for (enum relation_evidence i = EVIDENCE_NONE + 1; i < _EVIDENCE_MAX; i++)
        if (rows[i].kind == RELATION_CLONE && i != EVIDENCE_NO_SNAPSHOT &&
            i != EVIDENCE_RECORD_NO_SNAPSHOT)
            clone |= BIT(i);
    node->kind_flags &= ~KIND_PLAIN;
    if (plain && !(node->evidence & clone))
        node->kind_flags |= KIND_PLAIN;
    node_count(graph, node,
               node_is_strangers(graph, node)           ? KIND_STRANGER
               : node->evidence & certain               ? KIND_CERTAIN
               : node->name_says >= NAME_SNAPSHOT ||
                       (node->evidence & BIT(EVIDENCE_DELTA_NAME)) ||
                       (node->kind_flags & (KIND_BACKUP | KIND_COPY)) ? 0
                                                        : KIND_OTHER_DISK);
}

static void node_weigh(struct graph *graph, struct node *node)
{
    uint32_t set = node->evidence;
    enum relation_kind kind = RELATION_NONE;
    enum relation_evidence decisive = EVIDENCE_NONE, against = EVIDENCE_NONE;

    if (node->parent) {
        if (node_has_other_disks(graph, node->parent))
            set |= BIT(EVIDENCE_OTHER_DISKS);
        if (node_in_series(node))
            set |= BIT(EVIDENCE_SERIES);
        if (node_below_series(node))
            set |= BIT(EVIDENCE_BELOW_SERIES);
        if (node_in_run(node))
            set |= BIT(EVIDENCE_RUN);
        if (node_in_rhythm(node))
            set |= BIT(EVIDENCE_RHYTHM);
        if (node->kind_flags & KIND_STRANGER)
            set |= BIT(EVIDENCE_STRANGER);
        evidence_decide(set, &kind, &decisive, &against);
    }
    if (node_set_kind(node, kind, decisive, against))
        node_mark(graph, node, NODE_DIRTY);
}

void graph_weigh(struct graph *graph)
{
    struct node *node;

    TAILQ_FOREACH(node, &graph->touched, touched) {
        if (node->flags & NODE_FACTS) {
            struct usage usage = graph_image_usage(graph, node->image);

            node->kind_flags &= ~KIND_SOURCE;
            for (size_t i = 0; i < usage.n_entries; i++)
                node->kind_flags |= is_disk(&usage.entries[i]) ? KIND_SOURCE : 0;
            weigh_children(graph, node);
        }
        if (node->flags & (NODE_FACTS | NODE_EDGE))
            weigh_around(graph, node);
        /* While there are two, each sees whether the other came or went. */
        if ((node->flags & NODE_EDGE) && node->n_children <= 2)
            for (size_t i = 0; i < node->n_children; i++)
                weigh_around(graph, image_node(node->children[i]));
    }
    TAILQ_FOREACH(node, &graph->touched, touched)
        if (node->flags & NODE_WEIGH)
            node_gather(graph, node);
    TAILQ_FOREACH(node, &graph->touched, touched)
        if (node->flags & NODE_WEIGH)
            node_weigh(graph, node);
}

/* ---- for the other stages -------------------------------------------------------------------- */

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
        return asprintf(&text, "It may be a snapshot or a clone of its parent: %s, which is no "
                        "proof of a snapshot.", rows[relation->decisive].words) < 0
                   ? NULL : text;
    return asprintf(&text, "It may be a snapshot or a clone of its parent: %s, but %s.",
                    rows[relation->decisive].words, rows[relation->against].words) < 0
               ? NULL : text;
}
