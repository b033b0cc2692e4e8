/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Takes a reading for good: whose baseline it is, why it is kept, and what it stood on. */
#include <errno.h>
#include <string.h>

#include "daemon/contents/internal.h"

/* Does the layer that it stood on at its last reading stand on the one that it stands on now? Then
 * the one between may have been committed, which is known when the lower one was compared. */
static bool steps_down(const struct contents *contents, const struct baseline *baseline,
                       const struct image *parent)
{
    const struct baseline *between = baselines_find(contents->baselines, &baseline->parent);

    for (unsigned n = 0; between && n < CHILDREN_COMPARED; n++) {
        if (identity_equal(&between->parent, &parent->identity))
            return true;
        between = baselines_find(contents->baselines, &between->parent);
    }
    return false;
}

static void take_roles(struct contents *contents, struct image *image, struct baseline *baseline,
                       enum reading_verdict verdict)
{
    const struct relation *relation = graph_relation(contents->graph, image);
    const struct image *parent = relation ? relation->parent : NULL;
    enum baseline_source source;

    if (!parent)
        baseline->parent = (struct identity){ .fsid = 0 };
    else if ((verdict != READING_VERIFIED || baseline->parent.inode != 0) &&
             !steps_down(contents, baseline, parent))
        baseline->parent = parent->identity;
    if (!baseline_wanted(image, relation, &source))
        return;
    if (baseline->source == BASELINE_INFERRED && source == BASELINE_PARENT &&
        baseline_is_golden(image, relation))
        return;                 /* it was written since, and looks younger than its overlays */
    if (baseline->source == BASELINE_ACCEPTED && source != BASELINE_CHILD)
        return;                 /* that somebody said so stays */
    baseline->source = source;
}

void adopt_file(struct contents *contents, struct image *image, enum reading_verdict verdict,
                bool blocks)
{
    struct baseline *baseline = image->baseline;
    struct identity before = baseline->identity;

    /* Else the next start finds two: one of a file that nobody has. */
    if (!identity_equal(&before, &image->identity) &&
        baselines_rebind(contents->baselines, baseline, &image->identity, image->path) >= 0)
        keep_gone(contents, &before);
    take_roles(contents, image, baseline, verdict);
    baseline->blocks = blocks;
    if (blocks)
        blocks_adopt(contents, &image->identity, &before);
}

struct baseline *adopt_new(struct contents *contents, struct image *image)
{
    const struct relation *relation = graph_relation(contents->graph, image);
    struct baseline *baseline = calloc(1, sizeof(*baseline));
    enum baseline_source source;

    if (!baseline)
        return NULL;
    if (!baseline_wanted(image, relation, &source))
        source = BASELINE_ASKED;
    *baseline = (struct baseline){ .identity = image->identity,
                                   .path = strdup(image->path),
                                   .source = source,
                                   .fingerprint = image->fingerprint };
    if (!baseline->path || baselines_add(contents->baselines, baseline) < 0) {
        baseline_free(baseline);
        return NULL;
    }
    image->baseline = baseline;
    return baseline;
}

int adopt_deviation(struct contents *contents, struct image *image,
                    enum reading_verdict verdict, const char *explanation)
{
    struct baseline *baseline = image->baseline;
    const struct deviation *deviation = baseline->deviation;
    /* Only what has blocks was located by them; a newer reading that is being taken has put its own
     * in their place. */
    bool blocks = deviation->located && !image->reading;
    struct digest_result digest = { .complete = true, .encrypted = image_is_opaque(image),
                                    .size = deviation->virtual_size,
                                    .started = contents_now(contents),
                                    .finished = contents_now(contents) };
    struct reading reading = { .finished = deviation->read, .identity = image->identity,
                               .fingerprint = deviation->fingerprint, .complete = true,
                               .encrypted = digest.encrypted,
                               .virtual_size = deviation->virtual_size,
                               .zeros = baseline->zeros };
    int r;

    memcpy(reading.digest, deviation->digest, sizeof(reading.digest));
    r = contents->ops->keep_reading(contents->userdata, image->path, &digest, reading.digest,
                                    verdict, explanation);
    if (r >= 0)
        r = baseline_take(baseline, &reading, verdict);
    if (r < 0)
        return r;
    adopt_file(contents, image, verdict, blocks);
    contents->readings++;
    return 0;
}
