/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds an image's baseline: its file's, or its place's when another file lies there. */
#include <errno.h>
#include <string.h>

#include "daemon/contents/internal.h"
#include "daemon/core/log.h"

const struct image *bind_elsewhere(const struct contents *contents,
                                   const struct baseline *baseline, const struct image *image)
{
    const struct image *other = graph_find_identity(contents->graph, &baseline->identity);

    return other && other != image && other->present ? other : NULL;
}

/* Is there an overlay that looks for its parent at the path, and was made before that time (nsec)?
 * By what it says itself: the graph may still know the file that it found there before. */
static bool is_looked_for(const struct contents *contents, const char *path, int64_t before)
{
    struct image *const *images;
    size_t n;

    if (contents_images(contents, &images, &n) < 0)
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
static struct baseline *place_counts(const struct contents *contents, const struct image *image,
                                     const struct baseline *own)
{
    struct baseline *place = own && strcmp(own->path, image->path) == 0
                                 ? NULL : baselines_find_path(contents->baselines, image->path);

    if (!place || place == own || identity_equal(&place->identity, &image->identity))
        return NULL;
    if (!bind_elsewhere(contents, place, image))
        return place;
    if (!place->has_digest || image->parent.state != REFERENCE_NONE ||
        !is_looked_for(contents, image->path, image->fingerprint.ctime))
        return NULL;
    return place;
}

static int move_to(struct contents *contents, struct baseline *baseline,
                   const struct identity *identity)
{
    return baselines_rebind(contents->baselines, baseline, identity, baseline->path);
}

/* Other images of the baseline are bound anew when they are planned. */
static void unbind_others(struct contents *contents, const struct baseline *baseline,
                          const struct image *image)
{
    struct image *const *images;
    size_t n;

    if (contents_images(contents, &images, &n) < 0)
        return;
    for (size_t i = 0; i < n; i++)
        if (images[i]->baseline == baseline && images[i] != image)
            images[i]->baseline = NULL;
}

static int exchange(struct contents *contents, struct baseline *a, struct baseline *b)
{
    const struct identity first = a->identity, second = b->identity, none = { .fsid = 0 };
    int r = move_to(contents, a, &none);

    if (r >= 0)
        r = move_to(contents, b, &first);
    if (r >= 0)
        r = move_to(contents, a, &second);
    if (r >= 0)
        blocks_exchange(contents, &first, &second);
    return r;
}

/* The place's baseline is of the file that lies there now, and nothing is known of that file. */
static void displace(struct contents *contents, struct baseline *place, struct baseline *own,
                     const struct image *image)
{
    const struct identity before = place->identity;
    struct image *successor = own ? contents_find_image(contents, own->path) : NULL;
    int r;

    /* Two that changed places: each place keeps its own. */
    if (successor && successor->present &&
        !identity_equal(&successor->identity, &image->identity)) {
        r = exchange(contents, place, own);
        if (r >= 0) {
            baseline_displace(own);
            keep_baseline(contents, own);
        }
    } else {
        if (own)
            keep_forget(contents, own);
        r = move_to(contents, place, &image->identity);
        if (r >= 0) {
            keep_gone(contents, &before);
            blocks_rename(contents, &before, &image->identity);
        }
    }
    if (r < 0)
        log_error(r, "Cannot bind a baseline to another file: %m");
    else
        baseline_displace(place);
    unbind_others(contents, place, image);
}

struct parting {
    struct contents *contents;
    const struct image *image;
};

/* Another file lies there now, perhaps since before the start, and what the first one held is no
 * matter for it. */
static void leave_behind(void *userdata, struct baseline *baseline)
{
    const struct parting *leaving = userdata;
    const struct image *image = leaving->image;

    if (baseline == image->baseline || baseline->gone != 0 ||
        identity_equal(&baseline->identity, &image->identity) ||
        bind_elsewhere(leaving->contents, baseline, image))
        return;
    baseline->gone = contents_now(leaving->contents);
    keep_baseline(leaving->contents, baseline);
}

void bind_image(struct contents *contents, struct image *image)
{
    struct baseline *own = baselines_find(contents->baselines, &image->identity);
    struct baseline *baseline = place_counts(contents, image, own);
    bool changed = false;

    if (baseline) {
        /* A file without a baseline of its own, in place of one that is gone, gets it when it was
         * read. */
        if (own || bind_elsewhere(contents, baseline, image)) {
            displace(contents, baseline, own, image);
            changed = true;
        }
    } else {
        baseline = own;
        /* While overlays look for the image at its old path, a file that comes there must hold the
         * same. */
        if (baseline && strcmp(baseline->path, image->path) != 0 &&
            !contents_find_image(contents, baseline->path) &&
            !is_looked_for(contents, baseline->path, INT64_MAX)) {
            changed = baselines_rebind(contents->baselines, baseline, &baseline->identity,
                                       image->path) >= 0;
            baseline->attributes = true;    /* a new name changes its ctime */
        }
    }
    image->baseline = baseline;
    baselines_each_path(contents->baselines, image->path, leave_behind,
                        &(struct parting){ .contents = contents, .image = image });
    if (!baseline)
        return;
    if (baseline->gone != 0) {
        baseline->gone = 0;
        changed = true;
    }
    if (changed)
        keep_baseline(contents, baseline);
}
