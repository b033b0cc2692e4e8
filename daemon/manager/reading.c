/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a reading of an image says of it: compared with its baseline, explained by a commit, waited
 * for, kept. */
#include "daemon/manager/baseline.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "daemon/core/log.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)
DEFINE_CLEANUP(struct finishing *, finishing_free)

/* ---- what a reading says --------------------------------------------------------------------- */

/* Would a change hurt anybody? A golden image must not change; another parent not after its
 * overlays were made. */
static bool is_fixed(const struct image *image, const struct relation *relation, int64_t mtime)
{
    const struct image *child;

    if (baseline_is_golden(image, relation))
        return true;
    for (size_t i = 0; (child = graph_child(image, i)); i++)
        if (baseline_child_is_older(child, mtime))
            return true;
    return false;
}

/* Since when what lies there is as it is. Another file may be older than its coming there, which
 * its ctime tells. */
static int64_t arrived(const struct image *image, const struct reading *reading,
                       const struct baseline *baseline, bool moved)
{
    const struct fingerprint *now = &reading->fingerprint;

    if (image_has_data_file(image))
        return commit_written_at(image, now);
    return (moved || baseline_is_displaced(baseline)) && now->ctime > now->mtime
               ? now->ctime : now->mtime;
}

static void reading_of(const struct finishing *finishing, struct reading *ret_reading)
{
    const struct digest_result *digest = finishing->result;
    uint64_t zeros = finishing->zero_blocks * QCA_BLOCK_SIZE;

    *ret_reading = (struct reading){
        .started = digest->started, .finished = digest->finished, .identity = finishing->identity,
        .fingerprint = finishing->fingerprint, .complete = digest->complete,
        .virtual_size = digest->size,
        .encrypted = digest->encrypted,
        .zeros = zeros > digest->zero_bytes ? zeros - digest->zero_bytes : 0,
        .has_metadata = finishing->has_metadata, .compared = finishing->compared,
        .difference = finishing->difference, .bad_bytes = digest->bad_bytes,
        .error = digest->n_bad > 0 ? digest->bad[0].error : 0,
    };
    memcpy(ret_reading->digest, finishing->digest, sizeof(ret_reading->digest));
    memcpy(ret_reading->metadata, finishing->metadata, sizeof(ret_reading->metadata));
    for (size_t i = 0; i < digest->n_bad && i < DEVIATION_RANGES_MAX; i++)
        ret_reading->bad[ret_reading->n_bad++] = (struct guest_range){ digest->bad[i].guest_offset,
                                                                      digest->bad[i].length };
}

static char *explain(const struct finishing *finishing, const struct baseline *baseline,
                     const struct reading *reading, enum reading_verdict verdict, bool moved)
{
    char *text = NULL;
    int n = 0;

    switch (verdict) {
    case READING_VERIFIED:
        if (moved)
            n = asprintf(&text, "another file with the same content lies there now");
        break;
    case READING_METADATA:
        n = asprintf(&text, "%s: the content is as it was",
                     baseline->has_metadata && reading->has_metadata &&
                             memcmp(baseline->metadata, reading->metadata, 32) != 0
                         ? "only the image's metadata changed" : "the file was written");
        break;
    case READING_COMMIT: {
        uint64_t blocks = reading->difference.blocks;
        const char *plural = blocks == 1 ? "" : "s";
        _cleanup_free_ char *children = NULL;

        if (reading->difference.handed_down == blocks) {
            n = asprintf(&text,
                         "it was committed into its parent, which holds now what it held: %" PRIu64
                         " block%s",
                         blocks, plural);
            break;
        }
        children = commit_names(finishing);
        n = asprintf(&text, "a commit of %s explains it: %" PRIu64 " block%s %s what it held",
                     children ? children : "an overlay", blocks, plural,
                     blocks == 1 ? "is" : "are");
        break;
    }
    case READING_CHANGED:
        n = reading->compared && reading->difference.blocks == 0
                ? asprintf(&text, "its disk has another size: what its overlays see is as it was")
                : asprintf(&text, "it was written before its overlays were made, or has none");
        break;
    case READING_ROT:
    case READING_MODIFIED:
        if (verdict == READING_MODIFIED && reading->compared && reading->difference.hurts) {
            const struct candidate *hurt = &finishing->children[reading->difference.hurt_child];
            _cleanup_free_ char *children = commit_names(finishing),
                                *shown = text_escape_string(hurt->path);

            n = asprintf(&text,
                         "it holds what %s held, and %s, which stands on it too, sees that",
                         children ? children : "an overlay", shown ? shown : "another overlay");
        } else if (reading->compared && reading->difference.n_ranges > 0)
            n = asprintf(&text,
                         "%" PRIu64 " block%s, the first at byte %" PRIu64
                         " of the guest's disk",
                         reading->difference.blocks,
                         reading->difference.blocks == 1 ? " differs" : "s differ",
                         reading->difference.ranges[0].offset);
        else if (reading->compared && baseline->virtual_size != reading->virtual_size)
            n = asprintf(&text,
                         "its disk has %" PRIu64 " bytes now, and had %" PRIu64
                         ": the data is as it was",
                         reading->virtual_size, baseline->virtual_size);
        else
            n = reading->compared
                    ? asprintf(&text, "its headers or tables differ, and the data does not")
                    : asprintf(&text, "the digest differs; which blocks is not known");
        break;
    case READING_INCOMPLETE:
        n = asprintf(&text, "%" PRIu64 " bytes could not be read: %s", reading->bad_bytes,
                     strerror(-reading->error));
        break;
    default:
        break;
    }
    return n < 0 ? NULL : text;
}

static void keep_reading(struct manager *manager, const struct finishing *finishing,
                         enum reading_verdict verdict, const char *explanation)
{
    struct round *round = keep_round(manager);
    int r = round ? store_batch_reading(round->batch, finishing->path, finishing->result,
                                        finishing->result->complete ? finishing->digest : NULL,
                                        verdict, explanation)
                  : -ENOMEM;

    if (r < 0)
        log_error(r, "Cannot keep what was read: %m");
}

/* It is judged, and planned, anew; so are its children, which may be wanted from now on. */
static void look_again(struct manager *manager, struct image *image)
{
    struct image *child;

    graph_content_changed(manager->graph, image);
    for (size_t i = 0; (child = graph_child(image, i)); i++)
        if (!child->baseline)
            (void)graph_update(manager->graph, child);
    (void)graph_update(manager->graph, image);
    judge_soon(manager);
}

/* Does the layer that it stood on at its last reading stand on the one that it stands on now? Then
 * the one between may have been committed, which is known when the lower one was compared. */
static bool steps_down(const struct manager *manager, const struct baseline *baseline,
                       const struct image *parent)
{
    const struct baseline *between = baselines_find(manager->baselines, &baseline->parent);

    for (unsigned n = 0; between && n < CHILDREN_COMPARED; n++) {
        if (identity_equal(&between->parent, &parent->identity))
            return true;
        between = baselines_find(manager->baselines, &between->parent);
    }
    return false;
}

static void take_roles(struct manager *manager, struct image *image, struct baseline *baseline,
                       enum reading_verdict verdict)
{
    const struct relation *relation = graph_relation(manager->graph, image);
    const struct image *parent = relation ? relation->parent : NULL;
    enum baseline_source source;

    if (!parent)
        baseline->parent = (struct identity){ .fsid = 0 };
    else if ((verdict != READING_VERIFIED || baseline->parent.inode != 0) &&
             !steps_down(manager, baseline, parent))
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

static struct baseline *new_baseline(struct manager *manager, struct image *image)
{
    const struct relation *relation = graph_relation(manager->graph, image);
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
    if (!baseline->path || baselines_add(manager->baselines, baseline) < 0) {
        baseline_free(baseline);
        return NULL;
    }
    image->baseline = baseline;
    return baseline;
}

static void tell(const struct image *image, enum reading_verdict verdict, const char *explanation)
{
    _cleanup_free_ char *path = text_escape_string(image->path);

    if (verdict == READING_COMMIT || verdict == READING_METADATA)
        log_info(0, "%s: %s", path ? path : "an image",
                 explanation ? explanation : reading_verdict_name(verdict));
}

static void wake(struct manager *manager, struct image *waiting, const struct image *read);

/* Nothing is decided while the reading of an overlay, or of the parent, may still explain the
 * change, or when what it was compared with was taken meanwhile: its readings say when that
 * began. */
static void wait_for_neighbour(struct manager *manager, struct image *image,
                               const struct finishing *finishing)
{
    struct deviation *deviation = image->baseline->deviation;
    const struct blocks_difference *difference = &finishing->difference;
    const char *suspect = image->baseline->lost_child ? image->baseline->lost_child
                                                      : commit_emptied_child(manager, image);
    struct image *child;

    if (deviation->verdict != READING_MODIFIED ||
        baseline_is_golden(image, graph_relation(manager->graph, image)))
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
    child = commit_unread_child(manager, image);
    if (!child)
        child = commit_unread_parent(manager, image);
    if (!child && finishing->readings == manager->readings)
        return;
    deviation->waits_for = strdup(child ? child->path : image->path);
    if (deviation->waits_for && !child)
        wake(manager, image, image);
    else if (deviation->waits_for && !child->reading)   /* else its reading is being taken */
        scrub_now(manager, child);
}

int baseline_take_deviation(struct manager *manager, struct image *image,
                            enum reading_verdict verdict, const char *explanation)
{
    struct baseline *baseline = image->baseline;
    const struct deviation *deviation = baseline->deviation;
    struct identity before = baseline->identity;
    struct digest_result digest = { .complete = true, .encrypted = image_is_opaque(image),
                                    .size = deviation->virtual_size,
                                    .started = manager_now(manager),
                                    .finished = manager_now(manager) };
    struct reading reading = { .finished = deviation->read, .identity = image->identity,
                               .fingerprint = deviation->fingerprint, .complete = true,
                               .encrypted = digest.encrypted,
                               .virtual_size = deviation->virtual_size,
                               .zeros = baseline->zeros };
    struct round *round = keep_round(manager);
    int r;

    memcpy(reading.digest, deviation->digest, sizeof(reading.digest));
    r = round ? store_batch_reading(round->batch, image->path, &digest, reading.digest, verdict,
                                    explanation)
              : -ENOMEM;
    if (r >= 0)
        r = baseline_take(baseline, &reading, verdict);
    if (r < 0)
        return r;
    if (!identity_equal(&before, &image->identity))
        (void)baselines_rebind(manager->baselines, baseline, &image->identity, image->path);
    take_roles(manager, image, baseline, verdict);
    baseline->blocks = true;
    blocks_adopt(manager, &image->identity, &before);
    manager->readings++;
    return 0;
}

static void wake_neighbours(struct manager *manager, struct image *image);

static void on_compared(struct finishing *finishing)
{
    _cleanup_(finishing_freep) __attribute__((unused)) struct finishing *mine = finishing;
    struct manager *manager = finishing->manager;
    struct image *image = discover_find_image(manager->discover, finishing->path);
    struct baseline *baseline = image ? image->baseline : NULL;
    _cleanup_free_ char *explanation = NULL;
    struct reading reading = { .compared = true, .difference = finishing->difference };

    if (manager->stopping || !baseline || !baseline->deviation ||
        baseline->deviation->verdict != READING_MODIFIED ||
        !identity_equal(&image->identity, &finishing->identity))
        return;
    free(TAKE_PTR(baseline->deviation->waits_for));
    if (finishing->compared && finishing->difference.explained) {
        explanation = explain(finishing, baseline, &reading, READING_COMMIT, false);
        tell(image, READING_COMMIT, explanation);
        if (baseline_take_deviation(manager, image, READING_COMMIT, explanation) < 0)
            log_error(-ENOMEM, "Cannot take a commit: %m");
        else
            commit_note(manager, image, finishing);
    } else {
        wait_for_neighbour(manager, image, finishing);
    }
    baseline_keep(manager, baseline);
    wake_neighbours(manager, image);
    look_again(manager, image);
    journal_flush(manager);
}

/* An image that waits for what another one holds: its reading is compared once more. */
static void wake(struct manager *manager, struct image *waiting, const struct image *read)
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
    *again = (struct finishing){ .manager = manager,
                                 .path = strdup(waiting->path),
                                 .identity = waiting->identity,
                                 .layered = waiting->parent.state != REFERENCE_NONE,
                                 .fresh = blocks_path(manager, &waiting->identity, BLOCKS_FRESH),
                                 .before = blocks_path(manager, &baseline->identity, ""),
                                 .below = commit_below(manager, waiting),
                                 .readings = manager->readings };
    memcpy(again->before_digest, baseline->digest, sizeof(again->before_digest));
    r = again->path && again->fresh && again->before
            ? commit_add_layers(manager, &baseline->identity,
                                commit_written_at(waiting, &baseline->deviation->fingerprint),
                                again)
            : -ENOMEM;
    if (r >= 0)
        r = blocks_again(manager, again, on_compared);
    if (r >= 0)
        TAKE_PTR(again);
    else
        log_error(r, "Cannot compare a layer with its neighbours: %m");
}

static void wake_neighbours(struct manager *manager, struct image *image)
{
    const struct relation *relation = graph_relation(manager->graph, image);
    struct image *child;

    if (!relation)
        return;
    wake(manager, relation->parent, image);
    for (size_t i = 0; (child = graph_child(image, i)); i++)
        wake(manager, child, image);
}

/* Takes what was read into the image's baseline. */
static void take(struct manager *manager, struct finishing *finishing, struct image *image)
{
    const struct relation *relation = graph_relation(manager->graph, image);
    struct baseline *baseline = image->baseline ? image->baseline : new_baseline(manager, image);
    _cleanup_free_ char *explanation = NULL;
    enum reading_verdict verdict;
    struct identity before;
    struct reading reading;
    bool moved, adopt;

    if (!baseline) {
        log_error(-ENOMEM, "Cannot take what was read: %m");
        blocks_remove(manager, &image->identity);
        return;
    }
    before = baseline->identity;
    moved = !identity_equal(&before, &image->identity);
    reading_of(finishing, &reading);
    reading.foreign = image_is_foreign(image);
    /* Nor do the times of a device's node say when it was written. */
    reading.elsewhere = image_has_data_file(image) ||
                        (baseline->source == BASELINE_ASKED && image_is_device(image));
    verdict = baseline_verdict(baseline, &reading,
                               is_fixed(image, relation,
                                        arrived(image, &reading, baseline, moved)));
    /* A disk that grew shows its overlays what it showed them before. */
    if (verdict == READING_MODIFIED && reading.compared && reading.difference.blocks == 0 &&
        baseline->virtual_size != reading.virtual_size && !baseline_is_golden(image, relation))
        verdict = READING_CHANGED;
    explanation = explain(finishing, baseline, &reading, verdict, moved);
    if (finishing->before_damaged && baseline->blocks) {
        _cleanup_free_ char *path = text_escape_string(image->path);

        log_error(-EBADMSG,
                  "The block digests of %s are damaged or gone: what changed cannot be located",
                  path);
        baseline_tell_damage(manager, "the block digests of %s", image->path);
        baseline->blocks = false;
    }
    if (baseline_take(baseline, &reading, verdict) < 0) {
        log_error(-ENOMEM, "Cannot take what was read: %m");
        return;
    }
    keep_reading(manager, finishing, verdict, explanation);
    tell(image, verdict, explanation);
    adopt = !baseline->deviation;
    if (adopt) {
        if (moved)
            (void)baselines_rebind(manager->baselines, baseline, &image->identity, image->path);
        take_roles(manager, image, baseline, verdict);
        baseline->verity = finishing->verity;
        baseline->blocks = finishing->kept;
        if (finishing->kept)
            blocks_adopt(manager, &image->identity, &before);
        if (verdict == READING_COMMIT)
            commit_note(manager, image, finishing);
    } else {
        wait_for_neighbour(manager, image, finishing);
    }
    if (baseline->source == BASELINE_ASKED) {   /* nothing will be compared with its blocks */
        blocks_remove(manager, &image->identity);
        baseline->blocks = false;
    }
    manager->readings++;
    baseline_keep(manager, baseline);
    wake_neighbours(manager, image);
    look_again(manager, image);
}

static void on_finished(struct finishing *finishing)
{
    struct manager *manager = finishing->manager;
    _cleanup_(finishing_freep) __attribute__((unused)) struct finishing *mine = finishing;
    struct image *image = discover_find_image(manager->discover, finishing->path);

    /* Between the end of the reading and now: gone, replaced, or its blocks could not be had after
     * a resumption. */
    if (manager->stopping)      /* it is read again after the next start */
        return;
    if (image)
        image->reading = false;
    /* Who waits for the scrub waits for what it says. */
    if (image && image->scan && !scrubs_is_demanded(manager->scrubs, image))
        scan_leave(manager, image);
    if (!image || !identity_equal(&image->identity, &finishing->identity)) {
        blocks_drop(manager, &finishing->identity);
        return;
    }
    if (!finishing->kept && finishing->result->complete && finishing->result->resumed_from != 0) {
        blocks_drop(manager, &finishing->identity);
        scrub_now(manager, image);
        return;
    }
    take(manager, finishing, image);
    journal_flush(manager);
}

/* What an image whose data file is away holds is not known; that is no news. */
static bool is_worth_taking(const struct digest_result *digest)
{
    return digest->complete || (digest->n_bad > 0 && digest->bad[0].error != -EOPNOTSUPP);
}

static struct digest_result *result_copy(const struct digest_result *digest)
{
    struct digest_result *copy = malloc(sizeof(*copy));

    if (!copy)
        return NULL;
    *copy = *digest;
    copy->bad = calloc(digest->n_bad + 1, sizeof(*copy->bad));
    if (copy->bad && digest->n_bad > 0)
        memcpy(copy->bad, digest->bad, digest->n_bad * sizeof(*copy->bad));
    return copy->bad ? copy : digest_result_free(copy);
}

static struct finishing *finishing_new(struct manager *manager, const struct image *image,
                                       const struct audit *audit)
{
    const struct layer_report *layer = audit->report && audit->report->n_layers > 0
                                           ? &audit->report->layers[0]
                                           : NULL;
    _cleanup_(finishing_freep) struct finishing *finishing = calloc(1, sizeof(*finishing));

    if (!finishing)
        return NULL;
    *finishing = (struct finishing){ .manager = manager,
                                     .path = strdup(image->path),
                                     .identity = audit->identity,
                                     .fingerprint = audit->fingerprint,
                                     .verity = audit->verity,
                                     .result = result_copy(audit->digest),
                                     .has_metadata = layer && layer->has_metadata_digest,
                                     .layered = image->parent.state != REFERENCE_NONE,
                                     .readings = manager->readings };
    if (finishing->has_metadata)
        memcpy(finishing->metadata, layer->metadata_digest, sizeof(finishing->metadata));
    return finishing->path && finishing->result ? TAKE_PTR(finishing) : NULL;
}

void baseline_on_audited(struct manager *manager, struct image *image, const struct audit *audit)
{
    const struct relation *relation = graph_relation(manager->graph, image);
    _cleanup_(finishing_freep) struct finishing *finishing = NULL;
    int r = 0;

    commit_note_emptied(manager, image);
    if (!audit->digest)
        return;
    if (!is_worth_taking(audit->digest)) {
        blocks_drop(manager, &audit->identity);
        return;
    }
    finishing = finishing_new(manager, image, audit);
    if (!finishing) {
        log_error(-ENOMEM, "Cannot take what was read: %m");
        return;
    }
    image->reading = true;
    if (!audit->digest->complete) {
        blocks_drop(manager, &audit->identity);
        on_finished(TAKE_PTR(finishing));
        return;
    }
    if (image->baseline && image->baseline->has_digest && image->baseline->blocks &&
        image->baseline->encrypted == audit->digest->encrypted) {
        finishing->before = blocks_path(manager, &image->baseline->identity, "");
        memcpy(finishing->before_digest, image->baseline->digest, sizeof(finishing->before_digest));
        if (!baseline_is_golden(image, relation) && !audit->digest->encrypted)
            finishing->below = commit_below(manager, image);
        if (!baseline_is_golden(image, relation) && !audit->digest->encrypted)
            r = commit_add_layers(manager, &image->identity,
                                  commit_written_at(image, &audit->fingerprint), finishing);
    }
    if (r >= 0)
        r = blocks_end(manager, finishing, on_finished);
    if (r >= 0) {
        TAKE_PTR(finishing);
        return;
    }
    image->reading = false;
    log_error(r, "Cannot take what was read: %m");
}
