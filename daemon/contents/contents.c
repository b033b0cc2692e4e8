/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Baselines image by image: bound, planned to be read, accepted, forgotten. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/contents/internal.h"
#include "daemon/core/datastore.h"
#include "daemon/core/log.h"
#include "helpers/clock.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define SWEEP_PAUSE (3600 * USEC_PER_SEC)
#define GONE_KEPT (30 * 24 * 3600 * USEC_PER_SEC)

/* ---- life ------------------------------------------------------------------------------------ */

int contents_new(const struct contents_options *options, struct contents **ret_contents)
{
    struct contents *contents = calloc(1, sizeof(*contents));
    int r;

    if (!contents)
        return -ENOMEM;
    contents->graph = options->graph;
    contents->ops = options->ops;
    contents->userdata = options->userdata;
    contents->state_directory = strdup(options->state_directory);
    r = contents->state_directory ? baselines_new(&contents->baselines) : -ENOMEM;
    if (r < 0) {
        free(contents->state_directory);
        free(contents);
        return r;
    }
    *ret_contents = contents;
    return 0;
}

struct contents *contents_free(struct contents *contents)
{
    struct image *const *images;
    size_t n;

    if (!contents)
        return NULL;
    if (contents_images(contents, &images, &n) >= 0)
        for (size_t i = 0; i < n; i++)
            images[i]->baseline = NULL;
    stream_free_all(contents);
    ledger_free(contents);
    acknowledged_free_all(contents);
    baselines_free(contents->baselines);
    free(contents->damage);
    free(contents->state_directory);
    free(contents);
    return NULL;
}

void contents_stop(struct contents *contents)
{
    contents->stopping = true;
}

void contents_end(struct contents *contents)
{
    stream_flush_all(contents);
    contents_flush(contents);
}

/* ---- what the last daemon knew --------------------------------------------------------------- */

int contents_load_baseline(struct contents *contents, struct baseline *baseline,
                           json_object *deviation, const char *verity)
{
    int r = deviation ? deviation_from_json(deviation, &baseline->deviation) : 0;

    if (r >= 0 && verity)
        r = verity_from_text(verity, &baseline->verity);
    if (r >= 0)
        r = baselines_add(contents->baselines, baseline);
    if (r < 0)
        baseline_free(baseline);
    return r;
}

int contents_load(struct contents *contents, bool first)
{
    int r = ledger_load(contents, first);

    if (r >= 0)
        r = stream_load(contents);
    if (r < 0)
        return log_error(r, "Cannot load what is known of contents: %m");
    if (contents->imported > 0) {
        r = contents_keep_all(contents);
        if (r < 0)
            log_error(r, "Cannot keep the baselines of the journal: %m");
    }
    return 0;
}

const struct baseline *contents_find(const struct contents *contents,
                                     const struct identity *identity)
{
    return baselines_find(contents->baselines, identity);
}

/* ---- bound to images ------------------------------------------------------------------------- */

bool bind_settled(struct contents *contents, struct image *image)
{
    const struct baseline *before = image->baseline;

    if (image->settles > contents_now(contents))
        return false;
    image->settles = 0;
    bind_image(contents, image);
    /* A golden one keeps the image in its role. */
    if (image->baseline != before && graph_update(contents->graph, image) >= 0)
        contents->ops->judge(contents->userdata);
    return true;
}

void contents_plan(struct contents *contents, const struct policy *policy, struct image *image)
{
    const struct relation *relation = graph_relation(contents->graph, image);
    uint64_t now = contents_now(contents), at;
    enum baseline_due due;

    if (!bind_settled(contents, image))
        return;                 /* it is judged again then */
    if (image->reading || (!image->listed && !image->baseline)) {
        /* Planned when what was read is taken. */
        contents->ops->plan(contents->userdata, image, UINT64_MAX, 0);
        return;
    }
    due = relation && relation->pending
              ? BASELINE_DUE_NO
              : baseline_due(policy, image, relation, now, &at);
    contents->ops->plan(contents->userdata, image,
                        due == BASELINE_DUE_NO      ? UINT64_MAX
                        : due == BASELINE_DUE_LATER ? at
                                                    : now,
                        image->baseline ? image->baseline->verified : 0);
}

void contents_attributes(struct contents *contents, struct image *image)
{
    struct baseline *baseline = image->baseline;
    bool before = baseline && baseline->attributes;

    if (!baseline || !identity_equal(&baseline->identity, &image->identity))
        return;
    baseline_see(baseline, &image->fingerprint);
    if (baseline->attributes != before)
        keep_baseline(contents, baseline);
}

struct history_sweep {
    struct contents *contents;
    uint64_t until;             /* usec */
};

/* By the clock that history goes by: one that is wrong for a moment, or for a start, must not cost
 * what goldens were verified against. */
static int sweep_one(void *userdata, struct baseline *baseline)
{
    const struct history_sweep *sweep = userdata;

    if (baseline->gone != 0 && sweep->until > baseline->gone &&
        sweep->until - baseline->gone > GONE_KEPT)
        keep_forget(sweep->contents, baseline);
    return 0;
}

void contents_image_gone(struct contents *contents, struct image *image, uint64_t swept)
{
    const struct relation *relation = graph_relation(contents->graph, image);
    struct baseline *baseline = image->baseline, *parent = NULL;

    if (relation && relation->parent)
        parent = relation->parent->baseline;
    if (parent && parent->has_digest && !parent->lost_child && !relation->golden) {
        parent->lost_child = strdup(image->path);
        keep_baseline(contents, parent);
    }
    image->baseline = NULL;
    stream_abandon(contents, &image->identity);
    if (baseline && identity_equal(&baseline->identity, &image->identity) &&
        !bind_elsewhere(contents, baseline, image) &&
        image->datastore->state != DATASTORE_REMOVED) {
        baseline->gone = contents_now(contents);
        keep_baseline(contents, baseline);
    }
    if (contents_now(contents) > contents->swept + SWEEP_PAUSE) {
        contents->swept = contents_now(contents);
        (void)baselines_each(contents->baselines, sweep_one,
                             &(struct history_sweep){ .contents = contents, .until = swept });
    }
    contents->ops->judge(contents->userdata);        /* which hands it to the ledger */
}

/* ---- accepted -------------------------------------------------------------------------------- */

static bool is_as_read(const struct image *image, const struct deviation *deviation)
{
    return image->fingerprint.size == deviation->fingerprint.size &&
           image->fingerprint.mtime == deviation->fingerprint.mtime;
}

static int refuse(char **ret_message, const char *text)
{
    *ret_message = strdup(text);
    return *ret_message ? -EINVAL : -ENOMEM;
}

int contents_accept(struct contents *contents, const char *path, const char *by,
                    const char *reason, char **ret_message)
{
    struct image *image = contents_find_image(contents, path);
    struct baseline *baseline = image ? image->baseline : NULL;
    struct deviation *deviation = baseline ? baseline->deviation : NULL;
    _cleanup_free_ char *explanation = NULL, *new_by = strdup(by), *new_reason = strdup(reason),
                        *shown = NULL;
    int r;

    if (!image || !image->listed)
        return -ENOENT;
    if (!baseline)
        return refuse(
            ret_message,
            "Nothing is kept of what it must hold: it is neither golden nor a parent, or was "
            "not read yet");
    if (!deviation || deviation->verdict == READING_INCOMPLETE)
        return refuse(ret_message,
                      deviation
                          ? "Not all of it could be read: what cannot be read cannot be accepted"
                          : "It holds what it must hold, as far as was read: there is nothing to "
                            "accept");
    if (!is_as_read(image, deviation))
        return refuse(ret_message,
                      "It changed again since it was read: wait until it is read, and look again");
    shown = text_escape_string(reason);
    if (!new_by || !new_reason || !shown || asprintf(&explanation, "by %s: %s", by, shown) < 0)
        return -ENOMEM;
    r = adopt_deviation(contents, image, READING_ACCEPTED, explanation);
    if (r < 0)
        return r;
    baseline->source = BASELINE_ACCEPTED;
    free(baseline->by);
    free(baseline->reason);
    baseline->by = TAKE_PTR(new_by);
    baseline->reason = TAKE_PTR(new_reason);
    keep_baseline(contents, baseline);
    contents_flush(contents);
    (void)graph_update(contents->graph, image);
    return 0;
}
