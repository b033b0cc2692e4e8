/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Baselines in the daemon: bound to images, kept, planned to be read, accepted. */
#include "daemon/manager/baseline.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "daemon/core/log.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)

#define SWEEP_PAUSE (3600 * USEC_PER_SEC)
#define GONE_KEPT (30 * 24 * 3600 * USEC_PER_SEC)

/* ---- kept ------------------------------------------------------------------------------------ */

static int store_one(struct round *round, const struct baseline *baseline)
{
    _cleanup_(json_object_putp) json_object *deviation = NULL;
    char verity[VERITY_TEXT_MAX];
    int r = baseline->deviation ? deviation_to_json(baseline->deviation, &deviation) : 0;

    return r < 0 ? r
                 : store_batch_baseline(round->batch, baseline, deviation,
                                        baseline->verity.algorithm
                                            ? verity_text(&baseline->verity, verity)
                                            : NULL);
}

static int store_each(void *userdata, struct baseline *baseline)
{
    return store_one(userdata, baseline);
}

int baseline_store_all(struct manager *manager, struct round *round)
{
    return baselines_each(manager->baselines, store_each, round);
}

void baseline_keep(struct manager *manager, struct baseline *baseline)
{
    struct round *round = keep_round(manager);
    int r = round ? store_one(round, baseline) : -ENOMEM;

    if (r < 0)
        log_error(r, "Cannot keep a baseline: %m");
    journal_baseline(manager, baseline);
}

void baseline_tell_damage(struct manager *manager, const char *format, ...)
{
    _cleanup_free_ char *text = NULL;
    va_list arguments;
    int r;

    va_start(arguments, format);
    r = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (r < 0) {
        text = NULL;
        return;
    }
    if (!manager->baselines_damaged)
        manager->baselines_damaged = TAKE_PTR(text);
    manager->daemon_dirty = true;
}

void baseline_gone(struct manager *manager, const struct identity *identity)
{
    struct round *round = keep_round(manager);
    int r = round ? store_batch_baseline_gone(round->batch, identity) : -ENOMEM;

    if (r < 0)
        log_error(r, "Cannot forget a baseline: %m");
    journal_baseline_gone(manager, identity);
}

void baseline_forget(struct manager *manager, struct baseline *baseline)
{
    struct image *const *images;
    size_t n;

    baseline_gone(manager, &baseline->identity);
    blocks_remove(manager, &baseline->identity);
    if (discover_images(manager->discover, &images, &n) >= 0)
        for (size_t i = 0; i < n; i++)
            if (images[i]->baseline == baseline)
                images[i]->baseline = NULL;
    baselines_remove(manager->baselines, baseline);
}

/* ---- what the last daemon knew --------------------------------------------------------------- */

int baseline_on_load(void *userdata, struct baseline *baseline, json_object *deviation,
                     const char *verity)
{
    struct manager *manager = userdata;
    int r = deviation ? deviation_from_json(deviation, &baseline->deviation) : 0;

    if (r >= 0 && verity)
        r = verity_from_text(verity, &baseline->verity);
    if (r >= 0)
        r = baselines_add(manager->baselines, baseline);
    if (r < 0)
        baseline_free(baseline);
    return r;
}

int baseline_load(struct manager *manager)
{
    int r = journal_load(manager);

    if (r >= 0)
        r = blocks_load(manager);
    if (r < 0)
        return log_error(r, "Cannot load what is known of contents: %m");
    if (manager->journal_imported > 0) {
        struct round *round = keep_round(manager);

        r = round ? baseline_store_all(manager, round) : -ENOMEM;
        if (r < 0)
            log_error(r, "Cannot keep the baselines of the journal: %m");
    }
    return 0;
}

/* ---- bound to images ------------------------------------------------------------------------- */

void baseline_plan(struct manager *manager, struct image *image)
{
    const struct relation *relation = graph_relation(manager->graph, image);
    uint64_t now = manager_now(manager), at;
    const struct baseline *before = image->baseline;
    enum baseline_due due;

    if (image->settles > now)
        return;                 /* it is judged again then */
    image->settles = 0;
    baseline_bind(manager, image);
    /* A golden one keeps the image in its role. */
    if (image->baseline != before && graph_update(manager->graph, image) >= 0)
        judge_soon(manager);
    if (image->reading || (!image->listed && !image->baseline)) {
        scrub_plan(manager, image, UINT64_MAX, 0);      /* planned when what was read is taken */
        return;
    }
    due = relation && relation->pending
              ? BASELINE_DUE_NO
              : baseline_due(&manager->config->policy, image, relation, now, &at);
    scrub_plan(manager, image,
               due == BASELINE_DUE_NO      ? UINT64_MAX
               : due == BASELINE_DUE_LATER ? at
                                           : now,
               image->baseline ? image->baseline->verified : 0);
}

void baseline_attributes(struct manager *manager, struct image *image)
{
    struct baseline *baseline = image->baseline;
    bool before = baseline && baseline->attributes;

    if (!baseline || !identity_equal(&baseline->identity, &image->identity))
        return;
    baseline_see(baseline, &image->fingerprint);
    if (baseline->attributes != before)
        baseline_keep(manager, baseline);
}

/* By the clock that history goes by: one that is wrong for a moment, or for a start, must not cost
 * what goldens were verified against. */
static int sweep_one(void *userdata, struct baseline *baseline)
{
    struct manager *manager = userdata;
    uint64_t now = store_sweep_time(manager->store);

    if (baseline->gone != 0 && now > baseline->gone && now - baseline->gone > GONE_KEPT)
        baseline_forget(manager, baseline);
    return 0;
}

void baseline_image_gone(struct manager *manager, struct image *image)
{
    const struct relation *relation = graph_relation(manager->graph, image);
    struct baseline *baseline = image->baseline, *parent = NULL;

    if (relation && relation->parent)
        parent = relation->parent->baseline;
    if (parent && parent->has_digest && !parent->lost_child && !relation->golden) {
        parent->lost_child = strdup(image->path);
        baseline_keep(manager, parent);
    }
    image->baseline = NULL;
    blocks_drop(manager, &image->identity);
    if (baseline && identity_equal(&baseline->identity, &image->identity) &&
        !baseline_elsewhere(manager, baseline, image) &&
        image->datastore->state != DATASTORE_REMOVED) {
        baseline->gone = manager_now(manager);
        baseline_keep(manager, baseline);
    }
    if (manager_now(manager) > manager->baselines_swept + SWEEP_PAUSE) {
        manager->baselines_swept = manager_now(manager);
        (void)baselines_each(manager->baselines, sweep_one, manager);
    }
    judge_soon(manager);        /* which hands it to the journal */
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

int baseline_accept(struct manager *manager, const char *path, const char *by, const char *reason,
                    control_done_fn reply, void *reply_userdata, char **ret_message)
{
    struct image *image = discover_find_image(manager->discover, path);
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
    r = baseline_take_deviation(manager, image, READING_ACCEPTED, explanation);
    if (r < 0)
        return r;
    baseline->source = BASELINE_ACCEPTED;
    free(baseline->by);
    free(baseline->reason);
    baseline->by = TAKE_PTR(new_by);
    baseline->reason = TAKE_PTR(new_reason);
    baseline_keep(manager, baseline);
    journal_flush(manager);
    (void)graph_update(manager->graph, image);
    keep_answer(manager, reply, reply_userdata);
    judge_now(manager);
    return 0;
}

void baseline_done(struct manager *manager)
{
    struct image *const *images;
    size_t n;

    if (manager->discover && discover_images(manager->discover, &images, &n) >= 0)
        for (size_t i = 0; i < n; i++)
            images[i]->baseline = NULL;
    manager->baselines = baselines_free(manager->baselines);
    free(manager->baselines_damaged);
    manager->baselines_damaged = NULL;
    journal_done(manager);
}
