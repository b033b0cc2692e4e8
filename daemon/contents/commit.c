/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds layers around an image that may explain, by a commit, what it holds now: those above it
 * whose blocks it may have taken, those that must be read before that can be said, and the one
 * below. */
#include "daemon/contents/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "helpers/text.h"
#include "lib/cleanup.h"

int64_t commit_written_at(const struct image *image, const struct fingerprint *fingerprint)
{
    return image_has_data_file(image) ? INT64_MAX : fingerprint->mtime;
}

static bool clusters_were_emptied(const struct image *child)
{
    const struct layer_report *layer = audit_layer_seen(child->audit);

    return layer && layer->checked && layer->check.finished && layer->check.allocated_clusters == 0;
}

static bool has_clusters(const struct audit *audit)
{
    const struct layer_report *layer = audit_layer_seen(audit);

    return layer && layer->checked && layer->check.allocated_clusters > 0;
}

/* An overlay that was emptied may have been committed: that is kept with what its parent must hold,
 * for when that is read. */
void commit_note_emptied(struct contents *contents, struct image *image)
{
    const struct relation *relation = graph_relation(contents->graph, image);
    struct baseline *parent = relation && relation->parent ? relation->parent->baseline : NULL;

    if (!parent || !parent->has_digest || relation->parent == image ||
        !clusters_were_emptied(image) || !has_clusters(image->audit_before) ||
        (parent->lost_child && strcmp(parent->lost_child, image->path) == 0))
        return;
    free(parent->lost_child);
    parent->lost_child = strdup(image->path);
    if (parent->deviation && parent->deviation->verdict == READING_MODIFIED &&
        !parent->deviation->suspect && !parent->deviation->hurts && parent->lost_child)
        parent->deviation->suspect = strdup(parent->lost_child);
    keep_baseline(contents, parent);
}

/* An overlay that holds nothing, and was written when, or just after, the image was. */
const char *commit_emptied_child(const struct contents *contents, const struct image *image)
{
    const struct image *child;

    for (size_t i = 0; (child = graph_child(image, i)); i++)
        if (clusters_were_emptied(child) &&
            child->fingerprint.mtime >= commit_written_at(image, &image->fingerprint) &&
            baseline_child_is_older(child, commit_written_at(image, &image->fingerprint)))
            return child->path;
    return NULL;
}

/* An overlay that still may hold what was committed from it, and was not read since it was written.
 * That it is empty, counts only where it was audited since: after a start, the parent's reading may
 * be done before. */
struct image *commit_unread_child(const struct contents *contents, const struct image *image)
{
    struct image *child;

    for (size_t i = 0; (child = graph_child(image, i)); i++) {
        const struct baseline *baseline = child->baseline;

        if (!child->present || child->use == FILES_WRITER || !child->audit ||
            child->audit->use == FILES_WRITER ||
            (clusters_were_emptied(child) &&
             fingerprint_equal(&child->audit->fingerprint, &child->fingerprint)) ||
            !audit_layer_seen(child->audit) || image_is_opaque(child) ||
            !baseline_child_is_older(child, commit_written_at(image, &image->fingerprint)))
            continue;
        if (!baseline || (!baseline->deviation && (!baseline->has_digest ||
                                                   !baseline_untouched(baseline, &child->identity,
                                                                       &child->fingerprint))))
            return child;
    }
    return NULL;
}

/* The parent, when the image was emptied, maybe by its commit, and the parent was written and not
 * read since. */
struct image *commit_unread_parent(const struct contents *contents, const struct image *image)
{
    const struct relation *relation = graph_relation(contents->graph, image);
    struct image *parent = relation ? relation->parent : NULL;
    const struct baseline *baseline = parent ? parent->baseline : NULL;

    if (!baseline || !clusters_were_emptied(image) || parent->use == FILES_WRITER ||
        !parent->present || relation->golden_layer == parent)
        return NULL;
    if (baseline->deviation)
        return baseline->deviation->waits_for ||
                       baseline->deviation->fingerprint.mtime != parent->fingerprint.mtime
                   ? parent
                   : NULL;
    return parent->reading || !baseline_untouched(baseline, &parent->identity, &parent->fingerprint)
               ? parent
               : NULL;
}

/* May its clusters hold a part of a block? Of one that is not known any more, that is not known.
 * One that was audited while it was emptied has the same clusters as before. */
static bool holds_parts(const struct image *image)
{
    const struct layer_report *last = image ? audit_layer_seen(image->audit) : NULL,
                              *before = image ? audit_layer_seen(image->audit_before) : NULL,
                              *layer = last ? last : before;
    uint32_t unit;

    unit = layer ? layer->info.cluster_size : 0;
    if (layer && (layer->info.incompatible_features & QCA_INCOMPAT_EXTENDED_L2))
        unit /= 32;
    return unit < QCA_BLOCK_SIZE;
}

/* Layers that lie, or lay, above the image, those next to it first. */
struct descendants {
    struct contents *contents;
    struct identity below;
    size_t root;                /* of the branch; SIZE_MAX: each is one by itself */
    int64_t mtime;              /* of the image */
    struct finishing *finishing;
};

static int add_descendant(void *userdata, struct baseline *baseline)
{
    struct descendants *d = userdata;
    struct finishing *finishing = d->finishing;
    size_t n = finishing->n_children;
    struct candidate *candidate = &finishing->children[n];
    const struct image *image;
    const struct relation *relation;

    if (!baseline->blocks || baseline->encrypted ||
        !identity_equal(&baseline->parent, &d->below) ||
        identity_equal(&baseline->identity, &d->below) ||
        identity_equal(&baseline->identity, &finishing->identity))
        return 0;
    for (size_t i = 0; i < n; i++)
        if (identity_equal(&finishing->children[i].identity, &baseline->identity))
            return 0;
    if (n == CHILDREN_COMPARED) {
        finishing->more = true;
        return 0;
    }
    image = graph_find_identity(d->contents->graph, &baseline->identity);
    relation = image && image->present ? graph_relation(d->contents->graph, image) : NULL;
    *candidate = (struct candidate){
        .blocks = blocks_path(d->contents, &baseline->identity, ""),
        .path = strdup(baseline->path), .identity = baseline->identity,
        .root = d->root == SIZE_MAX ? n : d->root, .parts = holds_parts(image),
        .stands = d->root == SIZE_MAX && relation && relation->parent &&
                  identity_equal(&relation->parent->identity, &finishing->identity) &&
                  baseline_child_is_older(image, d->mtime),
    };
    finishing->n_children++;
    return candidate->blocks && candidate->path ? 0 : -ENOMEM;
}

int commit_add_layers(struct contents *contents, const struct identity *identity, int64_t mtime,
                      struct finishing *finishing)
{
    struct descendants d = { .contents = contents, .below = *identity, .root = SIZE_MAX,
                             .mtime = mtime, .finishing = finishing };
    int r = baselines_each(contents->baselines, add_descendant, &d);

    for (size_t i = 0; r == 0 && i < finishing->n_children; i++) {
        d.below = finishing->children[i].identity;
        d.root = finishing->children[i].root;
        r = baselines_each(contents->baselines, add_descendant, &d);
    }
    return r;
}

/* An overlay that was committed is only a remnant of an overlay: it does not see later changes of
 * its parent, unless a reading finds other content in it. From now on, its own overlays stand on
 * the parent. */
void commit_note(struct contents *contents, const struct image *image,
                 const struct finishing *finishing)
{
    for (size_t i = 0; i < finishing->n_children; i++) {
        const struct candidate *candidate = &finishing->children[i];
        const struct candidate *root = &finishing->children[candidate->root];
        struct baseline *baseline = baselines_find(contents->baselines, &candidate->identity);
        const struct image *layer = graph_find_identity(contents->graph, &candidate->identity);
        const struct relation *relation = layer ? graph_relation(contents->graph, layer) : NULL;

        if (!candidate->used && candidate != root && baseline && relation &&
            relation->parent == image) {
            baseline->parent = image->identity;
            keep_baseline(contents, baseline);
        }
        baseline = candidate->used ? baselines_find(contents->baselines, &root->identity) : NULL;
        if (baseline && baseline->parent.inode != 0) {
            baseline->parent = (struct identity){ .fsid = 0 };
            keep_baseline(contents, baseline);
        }
    }
}

/* The parent's latest reading, for a layer that may have been committed into it. */
char *commit_below(const struct contents *contents, const struct image *image)
{
    const struct relation *relation = graph_relation(contents->graph, image);
    const struct image *parent = relation ? relation->parent : NULL;
    const struct baseline *baseline = parent ? parent->baseline : NULL;

    if (!baseline || !baseline->has_digest || !baseline->blocks || baseline->encrypted)
        return NULL;
    return baseline->deviation ? blocks_path(contents, &parent->identity, BLOCKS_FRESH)
                               : blocks_path(contents, &baseline->identity, "");
}

#define NAMES_TOLD 8

/* Whose blocks are found in the image: one, or several of a chain. */
char *commit_names(const struct finishing *finishing)
{
    char *names = NULL;
    size_t n = 0;

    for (size_t i = 0; i < finishing->n_children; i++) {
        _cleanup_free_ char *one = NULL, *before = NULL;

        if (!finishing->children[i].used || n++ >= NAMES_TOLD)
            continue;
        before = names;
        one = text_escape_string(finishing->children[i].path);
        if (asprintf(&names, "%s%s%s", before ? before : "", before ? ", " : "",
                     one ? one : "?") < 0)
            names = NULL;
    }
    if (n > NAMES_TOLD && names) {
        _cleanup_free_ char *before = names;

        if (asprintf(&names, "%s and %zu more", before, n - NAMES_TOLD) < 0)
            names = NULL;
    }
    return names;
}
