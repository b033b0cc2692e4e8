/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A reading of an image ended: it is compared with its baseline, and what it says is kept. */
#include <errno.h>
#include <string.h>

#include "daemon/contents/internal.h"
#include "daemon/core/log.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(struct finishing *, finishing_free)

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

static void keep_reading(struct contents *contents, const struct finishing *finishing,
                         enum reading_verdict verdict, const char *explanation)
{
    int r = contents->ops->keep_reading(contents->userdata, finishing->path, finishing->result,
                                        finishing->result->complete ? finishing->digest : NULL,
                                        verdict, explanation);

    if (r < 0)
        log_error(r, "Cannot keep what was read: %m");
}

/* Takes what was read into the image's baseline. */
static void take(struct contents *contents, struct finishing *finishing, struct image *image)
{
    const struct relation *relation = graph_relation(contents->graph, image);
    const struct layer_report *layer = audit_layer_seen(image->audit);
    struct baseline *baseline = image->baseline ? image->baseline : adopt_new(contents, image);
    _cleanup_free_ char *explanation = NULL;
    enum reading_verdict verdict;
    struct reading reading;
    bool moved, adopt;

    if (!baseline) {
        log_error(-ENOMEM, "Cannot take what was read: %m");
        blocks_remove(contents, &image->identity);
        return;
    }
    moved = !identity_equal(&baseline->identity, &image->identity);
    /* Accepted meanwhile: it was compared with what does not count any more. */
    if (finishing->before && memcmp(finishing->before_digest, baseline->digest, 32) != 0)
        finishing->compared = finishing->before_damaged = false;
    reading_of(finishing, &reading);
    reading.foreign = layer && !qca_format_has(layer->info.format, QCA_TRAIT_COMMANDS);
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
    explanation = explain_verdict(finishing, baseline, &reading, verdict, moved);
    if (finishing->before_damaged && baseline->blocks) {
        _cleanup_free_ char *path = text_escape_string(image->path);

        log_error(-EBADMSG,
                  "The block digests of %s are damaged or gone: what changed cannot be located",
                  path);
        damage_tell(contents, "the block digests of %s", image->path);
        baseline->blocks = false;
    }
    if (baseline_take(baseline, &reading, verdict) < 0) {
        log_error(-ENOMEM, "Cannot take what was read: %m");
        return;
    }
    keep_reading(contents, finishing, verdict, explanation);
    explain_tell(image, verdict, explanation);
    adopt = !baseline->deviation;
    if (adopt) {
        adopt_file(contents, image, verdict, finishing->kept);
        baseline->verity = finishing->verity;
        if (verdict == READING_COMMIT)
            commit_note(contents, image, finishing);
    } else {
        waiting_begin(contents, image, finishing);
    }
    if (baseline->source == BASELINE_ASKED) {   /* nothing will be compared with its blocks */
        blocks_remove(contents, &image->identity);
        baseline->blocks = false;
    }
    contents->readings++;
    waiting_end(contents, image);
}

static void on_finished(struct finishing *finishing)
{
    struct contents *contents = finishing->contents;
    _cleanup_(finishing_freep) __attribute__((unused)) struct finishing *mine = finishing;
    struct image *image = contents_find_image(contents, finishing->path);

    /* Between the end of the reading and now: gone, replaced, or its blocks could not be had after
     * a resumption. */
    if (contents->stopping)      /* it is read again after the next start */
        return;
    if (image) {
        image->reading = false;
        contents->ops->taken(contents->userdata, image);
    }
    if (!image || !identity_equal(&image->identity, &finishing->identity)) {
        stream_abandon(contents, &finishing->identity);
        return;
    }
    if (!finishing->kept && finishing->result->complete && finishing->result->resumed_from != 0) {
        stream_abandon(contents, &finishing->identity);
        contents->ops->demand(contents->userdata, image);
        return;
    }
    take(contents, finishing, image);
    contents_flush(contents);
}

/* The content of an image whose data file is away is not known; that is no news. */
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

static struct finishing *finishing_new(struct contents *contents, const struct image *image,
                                       const struct audit *audit)
{
    const struct layer_report *layer = audit_layer_seen(audit);
    _cleanup_(finishing_freep) struct finishing *finishing = calloc(1, sizeof(*finishing));

    if (!finishing)
        return NULL;
    *finishing = (struct finishing){ .contents = contents,
                                     .path = strdup(image->path),
                                     .identity = audit->identity,
                                     .fingerprint = audit->fingerprint,
                                     .result = result_copy(audit->digest),
                                     .has_metadata = layer && layer->has_metadata_digest,
                                     .layered = image->parent.state != REFERENCE_NONE,
                                     .readings = contents->readings };
    if (audit->verity)
        finishing->verity = *audit->verity;
    if (finishing->has_metadata)
        memcpy(finishing->metadata, layer->metadata_digest, sizeof(finishing->metadata));
    return finishing->path && finishing->result ? TAKE_PTR(finishing) : NULL;
}

void contents_audited(struct contents *contents, struct image *image, const struct audit *audit)
{
    const struct relation *relation = graph_relation(contents->graph, image);
    _cleanup_(finishing_freep) struct finishing *finishing = NULL;
    int r = 0;

    commit_note_emptied(contents, image);
    if (!audit->digest)
        return;
    if (!is_worth_taking(audit->digest)) {
        stream_abandon(contents, &audit->identity);
        return;
    }
    /* One that is read at its first audit was not judged yet, and has the blocks to be compared
     * with all the same. */
    if (!image->baseline)
        (void)bind_settled(contents, image);
    finishing = finishing_new(contents, image, audit);
    if (!finishing) {
        log_error(-ENOMEM, "Cannot take what was read: %m");
        return;
    }
    image->reading = true;
    if (!audit->digest->complete) {
        stream_abandon(contents, &audit->identity);
        on_finished(TAKE_PTR(finishing));
        return;
    }
    if (image->baseline && image->baseline->has_digest && image->baseline->blocks &&
        image->baseline->encrypted == audit->digest->encrypted) {
        finishing->before = blocks_path(contents, &image->baseline->identity, "");
        memcpy(finishing->before_digest, image->baseline->digest, sizeof(finishing->before_digest));
        if (!baseline_is_golden(image, relation) && !audit->digest->encrypted)
            finishing->below = commit_below(contents, image);
        if (!baseline_is_golden(image, relation) && !audit->digest->encrypted)
            r = commit_add_layers(contents, &image->identity,
                                  commit_written_at(image, &audit->fingerprint), finishing);
    }
    if (r >= 0)
        r = finishing_begin(finishing, on_finished);
    if (r >= 0) {
        TAKE_PTR(finishing);
        return;
    }
    image->reading = false;
    log_error(r, "Cannot take what was read: %m");
}
