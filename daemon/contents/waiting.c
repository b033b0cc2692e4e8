/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Nothing is decided of a change while the reading of a neighbour may still explain it: who waits
 * for whom, and what is compared once more then. */
#include <errno.h>
#include <string.h>

#include "daemon/contents/internal.h"
#include "daemon/core/log.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(struct finishing *, finishing_free)

static void wake(struct contents *contents, struct image *waiting, const struct image *read);

/* Nothing is decided while the reading of an overlay, or of the parent, may still explain the
 * change, or when what it was compared with was taken meanwhile: its readings say when that
 * began. */
void waiting_begin(struct contents *contents, struct image *image,
                   const struct finishing *finishing)
{
    struct deviation *deviation = image->baseline->deviation;
    const struct blocks_difference *difference = &finishing->difference;
    const char *suspect = image->baseline->lost_child ? image->baseline->lost_child
                                                      : commit_emptied_child(contents, image);
    struct image *child;

    if (deviation->verdict != READING_MODIFIED ||
        baseline_is_golden(image, graph_relation(contents->graph, image)))
        return;
    deviation->hurts = finishing->compared && difference->hurts;
    for (size_t i = finishing->n_children; !suspect && finishing->compared && i-- > 0;)
        if ((difference->maybe && finishing->children[i].used) || finishing->more)
            suspect = finishing->children[i].path;
    if (deviation->hurts)       /* a commit it is, and it does harm */
        free(TAKE_PTR(deviation->suspect));
    else if (suspect && !deviation->suspect)
        deviation->suspect = strdup(suspect);
    if (image->baseline->encrypted || image_is_opaque(image))
        return;                 /* what was encrypted anew for its place equals nothing */
    child = commit_unread_child(contents, image);
    if (!child)
        child = commit_unread_parent(contents, image);
    if (!child && finishing->readings == contents->readings)
        return;
    deviation->waits_for = strdup(child ? child->path : image->path);
    if (deviation->waits_for && !child)
        wake(contents, image, image);
    else if (deviation->waits_for && !child->reading)   /* else its reading is being taken */
        contents->ops->demand(contents->userdata, child);
}

static void wake_neighbours(struct contents *contents, struct image *image)
{
    const struct relation *relation = graph_relation(contents->graph, image);
    struct image *child;

    if (!relation)
        return;
    wake(contents, relation->parent, image);
    for (size_t i = 0; (child = graph_child(image, i)); i++)
        wake(contents, child, image);
}

/* Judges and plans an image anew, and its children, which may be wanted from now on. */
static void look_again(struct contents *contents, struct image *image)
{
    struct image *child;

    graph_content_changed(contents->graph, image);
    for (size_t i = 0; (child = graph_child(image, i)); i++)
        if (!child->baseline)
            (void)graph_update(contents->graph, child);
    (void)graph_update(contents->graph, image);
    contents->ops->judge(contents->userdata);
}

void waiting_end(struct contents *contents, struct image *image)
{
    keep_baseline(contents, image->baseline);
    wake_neighbours(contents, image);
    look_again(contents, image);
}

static void on_compared(struct finishing *finishing)
{
    _cleanup_(finishing_freep) __attribute__((unused)) struct finishing *mine = finishing;
    struct contents *contents = finishing->contents;
    struct image *image = contents_find_image(contents, finishing->path);
    struct baseline *baseline = image ? image->baseline : NULL;
    _cleanup_free_ char *explanation = NULL;
    struct reading reading = { .compared = true, .difference = finishing->difference };

    /* A newer reading of it says more. */
    if (contents->stopping || !image || image->reading || !baseline || !baseline->deviation ||
        baseline->deviation->verdict != READING_MODIFIED ||
        !identity_equal(&image->identity, &finishing->identity))
        return;
    free(TAKE_PTR(baseline->deviation->waits_for));
    if (finishing->compared && finishing->difference.explained) {
        explanation = explain_verdict(finishing, baseline, &reading, READING_COMMIT, false);
        explain_tell(image, READING_COMMIT, explanation);
        if (adopt_deviation(contents, image, READING_COMMIT, explanation) < 0)
            log_error(-ENOMEM, "Cannot take a commit: %m");
        else
            commit_note(contents, image, finishing);
    } else {
        waiting_begin(contents, image, finishing);
    }
    waiting_end(contents, image);
    contents_flush(contents);
}

/* An image that waits for what another one holds: its reading is compared once more. */
static void wake(struct contents *contents, struct image *waiting, const struct image *read)
{
    struct baseline *baseline = waiting ? waiting->baseline : NULL;
    _cleanup_(finishing_freep) struct finishing *again = NULL;
    int r;

    if (!baseline || !baseline->deviation || !baseline->deviation->waits_for ||
        strcmp(baseline->deviation->waits_for, read->path) != 0)
        return;
    again = calloc(1, sizeof(*again));
    if (!again)
        return;
    *again = (struct finishing){ .contents = contents,
                                 .path = strdup(waiting->path),
                                 .identity = waiting->identity,
                                 .layered = waiting->parent.state != REFERENCE_NONE,
                                 .fresh = blocks_path(contents, &waiting->identity, BLOCKS_FRESH),
                                 .before = blocks_path(contents, &baseline->identity, ""),
                                 .below = commit_below(contents, waiting),
                                 .readings = contents->readings };
    memcpy(again->before_digest, baseline->digest, sizeof(again->before_digest));
    r = again->path && again->fresh && again->before
            ? commit_add_layers(contents, &baseline->identity,
                                commit_written_at(waiting, &baseline->deviation->fingerprint),
                                again)
            : -ENOMEM;
    if (r >= 0)
        r = finishing_again(again, on_compared);
    if (r >= 0)
        TAKE_PTR(again);
    else
        log_error(r, "Cannot compare a layer with its neighbours: %m");
}
