/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Functions that the contents of images need of the other stages. */
#include <errno.h>

#include "daemon/manager/internal.h"

static uint64_t on_now(void *userdata)
{
    return manager_now(userdata);
}

static struct image *on_find_image(void *userdata, const char *path)
{
    struct manager *manager = userdata;

    return discover_find_image(manager->discover, path);
}

static int on_images(void *userdata, struct image *const **ret_images, size_t *ret_n)
{
    struct manager *manager = userdata;

    return manager->discover ? discover_images(manager->discover, ret_images, ret_n) : -ENOENT;
}

static int on_each_finding(void *userdata,
                           int (*each)(void *each_userdata, struct finding *finding),
                           void *each_userdata)
{
    struct manager *manager = userdata;

    return findings_each(manager->findings, 0, each, each_userdata);
}

static int on_keep_baseline(void *userdata, const struct baseline *baseline,
                            json_object *deviation, const char *verity)
{
    struct round *round = keep_round(userdata);

    return round ? store_batch_baseline(round->batch, baseline, deviation, verity) : -ENOMEM;
}

static int on_keep_gone(void *userdata, const struct identity *identity)
{
    struct round *round = keep_round(userdata);

    return round ? store_batch_baseline_gone(round->batch, identity) : -ENOMEM;
}

static int on_keep_reading(void *userdata, const char *path, const struct digest_result *result,
                           const uint8_t *digest, enum reading_verdict verdict,
                           const char *explanation)
{
    struct round *round = keep_round(userdata);

    return round ? store_batch_reading(round->batch, path, result, digest, verdict, explanation)
                 : -ENOMEM;
}

static int on_task(void *userdata, int (*run)(void *task_userdata),
                   void (*done)(void *task_userdata, int error), void *task_userdata)
{
    struct manager *manager = userdata;

    return store_task(manager->store, run, done, task_userdata);
}

static void on_plan(void *userdata, struct image *image, uint64_t due, uint64_t verified)
{
    scrub_plan(userdata, image, due, verified);
}

static void on_demand(void *userdata, struct image *image)
{
    scrub_now(userdata, image);
}

/* A client that waits for the scrub waits for its result. */
static void on_taken(void *userdata, struct image *image)
{
    struct manager *manager = userdata;

    if (image->scan && !scrubs_is_demanded(manager->scrubs, image))
        scan_leave(manager, image);
}

static void on_judge(void *userdata)
{
    judge_soon(userdata);
}

static void on_damaged(void *userdata)
{
    struct manager *manager = userdata;

    manager->daemon_dirty = true;
}

static void on_acknowledge(void *userdata, int64_t finding_id, const char *by, const char *reason,
                           uint64_t until)
{
    (void)judge_acknowledge(userdata, finding_id, by, reason, until, NULL, NULL);
}

static int on_each_mute(void *userdata, int (*each)(void *each_userdata, struct mute *mute),
                        void *each_userdata)
{
    struct manager *manager = userdata;

    return mutes_each(findings_mutes(manager->findings), each, each_userdata);
}

static int on_mute(void *userdata, struct mute *mute)
{
    struct manager *manager = userdata;

    return mutes_load(findings_mutes(manager->findings), mute);
}

int manager_new_contents(struct manager *manager)
{
    static const struct contents_ops ops = {
        .now = on_now, .find_image = on_find_image, .images = on_images,
        .each_finding = on_each_finding, .keep_baseline = on_keep_baseline,
        .keep_gone = on_keep_gone, .keep_reading = on_keep_reading, .task = on_task,
        .plan = on_plan, .demand = on_demand, .taken = on_taken, .judge = on_judge,
        .damaged = on_damaged, .acknowledge = on_acknowledge,
        .each_mute = on_each_mute, .mute = on_mute,
    };
    struct contents_options options = { .state_directory = manager->options.state_directory,
                                        .graph = manager->graph, .ops = &ops,
                                        .userdata = manager };

    return contents_new(&options, &manager->contents);
}
