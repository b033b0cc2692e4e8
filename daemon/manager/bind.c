/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which baseline an image has: that of its file, or that of its place when another file lies
 * there. */
#include <errno.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/manager/baseline.h"

const struct image *baseline_elsewhere(const struct manager *manager,
                                       const struct baseline *baseline, const struct image *image)
{
    const struct image *other = graph_find_identity(manager->graph, &baseline->identity);

    return other && other != image && other->present ? other : NULL;
}

/* Is there an overlay that looks for its parent at the path, and was made before that time (nsec)?
 * By what it says itself: the graph may still know the file that it found there before. */
static bool is_looked_for(const struct manager *manager, const char *path, int64_t before)
{
    struct image *const *images;
    size_t n;

    if (discover_images(manager->discover, &images, &n) < 0)
        return true;
    for (size_t i = 0; i < n; i++)
        if (images[i]->present && images[i]->parent.path &&
            strcmp(images[i]->parent.path, path) == 0 && baseline_child_is_older(images[i], before))
            return true;
    return false;
}

/* The baseline of the image's place, when another file is known for it and what lies there must be
 * what that held: it is gone, or there are overlays, which see what lies there, wherever the other
 * one went. An overlay that takes the place of its own parent changes nothing for those above. */
static struct baseline *place_counts(const struct manager *manager, const struct image *image,
                                     const struct baseline *own)
{
    struct baseline *place = own && strcmp(own->path, image->path) == 0
                                 ? NULL : baselines_find_path(manager->baselines, image->path);

    if (!place || place == own || identity_equal(&place->identity, &image->identity))
        return NULL;
    if (!baseline_elsewhere(manager, place, image))
        return place;
    if (!place->has_digest || image->parent.state != REFERENCE_NONE ||
        !is_looked_for(manager, image->path, image->fingerprint.ctime))
        return NULL;
    return place;
}

static int move_to(struct manager *manager, struct baseline *baseline,
                   const struct identity *identity)
{
    return baselines_rebind(manager->baselines, baseline, identity, baseline->path);
}

/* They are bound anew when they are planned. */
static void unbind_others(struct manager *manager, const struct baseline *baseline,
                          const struct image *image)
{
    struct image *const *images;
    size_t n;

    if (discover_images(manager->discover, &images, &n) < 0)
        return;
    for (size_t i = 0; i < n; i++)
        if (images[i]->baseline == baseline && images[i] != image)
            images[i]->baseline = NULL;
}

static int exchange(struct manager *manager, struct baseline *a, struct baseline *b)
{
    const struct identity first = a->identity, second = b->identity, none = { .fsid = 0 };
    int r = move_to(manager, a, &none);

    if (r >= 0)
        r = move_to(manager, b, &first);
    if (r >= 0)
        r = move_to(manager, a, &second);
    if (r >= 0)
        blocks_exchange(manager, &first, &second);
    return r;
}

/* The place's baseline is of the file that lies there now, and nothing is known of that file. */
static void displace(struct manager *manager, struct baseline *place, struct baseline *own,
                     const struct image *image)
{
    const struct identity before = place->identity;
    struct image *successor = own ? discover_find_image(manager->discover, own->path) : NULL;
    int r;

    /* Two that changed places: each place keeps its own. */
    if (successor && successor->present &&
        !identity_equal(&successor->identity, &image->identity)) {
        r = exchange(manager, place, own);
        if (r >= 0) {
            baseline_displace(own);
            baseline_keep(manager, own);
        }
    } else {
        if (own)
            baseline_forget(manager, own);
        r = move_to(manager, place, &image->identity);
        if (r >= 0) {
            baseline_gone(manager, &before);
            blocks_rename(manager, &before, &image->identity);
        }
    }
    if (r < 0)
        log_error(r, "Cannot bind a baseline to another file: %m");
    else
        baseline_displace(place);
    unbind_others(manager, place, image);
}

void baseline_bind(struct manager *manager, struct image *image)
{
    struct baseline *own = baselines_find(manager->baselines, &image->identity);
    struct baseline *baseline = place_counts(manager, image, own);
    bool changed = false;

    if (baseline) {
        /* A file without a baseline of its own, in place of one that is gone, gets it when it was
         * read. */
        if (own || baseline_elsewhere(manager, baseline, image)) {
            displace(manager, baseline, own, image);
            changed = true;
        }
    } else {
        baseline = own;
        /* Where overlays look for it in vain, what comes to lie there must be what it held. */
        if (baseline && strcmp(baseline->path, image->path) != 0 &&
            !discover_find_image(manager->discover, baseline->path) &&
            !is_looked_for(manager, baseline->path, INT64_MAX)) {
            changed = baselines_rebind(manager->baselines, baseline, &baseline->identity,
                                       image->path) >= 0;
            baseline->attributes = true;    /* a new name changes its ctime */
        }
    }
    image->baseline = baseline;
    if (!baseline)
        return;
    if (baseline->gone != 0) {
        baseline->gone = 0;
        changed = true;
    }
    if (changed)
        baseline_keep(manager, baseline);
}
