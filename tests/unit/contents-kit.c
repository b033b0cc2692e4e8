/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A daemon around the contents of images, for their tests. */
#include "contents-kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "qcaudit/control.h"

static const char *name_of(const char *path)
{
    return strrchr(path, '/') + 1;
}

/* ---- what the contents are given ------------------------------------------------------------- */

static uint64_t op_now(void *userdata)
{
    return ((struct kit *)userdata)->now;
}

static struct image *op_find_image(void *userdata, const char *path)
{
    struct kit *kit = userdata;

    for (size_t i = 0; i < kit->n_images; i++)
        if (strcmp(kit->images[i]->path, path) == 0)
            return kit->images[i];
    return NULL;
}

static int op_images(void *userdata, struct image *const **ret_images, size_t *ret_n)
{
    struct kit *kit = userdata;

    *ret_images = kit->images;
    *ret_n = kit->n_images;
    return 0;
}

static int op_each_finding(void *userdata,
                           int (*each)(void *each_userdata, struct finding *finding),
                           void *each_userdata)
{
    struct kit *kit = userdata;
    int r = 0;

    for (size_t i = 0; r == 0 && i < kit->n_findings; i++)
        r = each(each_userdata, kit->findings[i]);
    return r;
}

static struct kit_kept *find_kept(struct kit *kit, const struct identity *identity)
{
    for (size_t i = 0; i < kit->n_kept; i++)
        if (identity_equal(&kit->kept[i].identity, identity))
            return &kit->kept[i];
    return NULL;
}

static void drop_kept(struct kit *kit, struct kit_kept *kept)
{
    json_object_put(kept->baseline);
    *kept = kit->kept[--kit->n_kept];
}

static int op_keep_baseline(void *userdata, const struct baseline *baseline,
                            json_object *deviation, const char *verity)
{
    struct kit *kit = userdata;
    struct kit_kept *kept = find_kept(kit, &baseline->identity);

    assert_int_equal(deviation != NULL, baseline->deviation != NULL);
    assert_int_equal(verity != NULL, baseline->verity.algorithm != 0);
    if (kit->database_fails)
        return -ENOMEM;
    if (kept)
        drop_kept(kit, kept);
    assert_true(kit->n_kept < KIT_KEPT_MAX);
    kept = &kit->kept[kit->n_kept++];
    kept->identity = baseline->identity;
    assert_int_equal(baseline_to_json(baseline, &kept->baseline), 0);
    return 0;
}

static int op_keep_gone(void *userdata, const struct identity *identity)
{
    struct kit *kit = userdata;
    struct kit_kept *kept = find_kept(kit, identity);

    if (kit->database_fails)
        return -ENOMEM;
    if (kept)
        drop_kept(kit, kept);
    return 0;
}

static int op_keep_reading(void *userdata, const char *path, const struct digest_result *result,
                           const uint8_t *digest, enum reading_verdict verdict,
                           const char *explanation)
{
    struct kit *kit = userdata;
    struct kit_reading *reading = &kit->readings[kit->n_readings++];

    assert_true(kit->n_readings <= KIT_READINGS_MAX);
    assert_non_null(result);
    *reading = (struct kit_reading){ .path = strdup(path), .verdict = verdict,
                                     .explanation = explanation ? strdup(explanation) : NULL,
                                     .has_digest = digest };
    return kit->database_fails ? -ENOMEM : 0;
}

static int op_task(void *userdata, int (*run)(void *task_userdata),
                   void (*done)(void *task_userdata, int error), void *task_userdata)
{
    struct kit *kit = userdata;

    assert_true(kit->n_tasks < KIT_TASKS_MAX);
    kit->tasks[kit->n_tasks++] = (struct kit_task){ run, done, task_userdata };
    return 0;
}

static size_t place_of(const struct kit *kit, const struct image *image)
{
    for (size_t i = 0; i < kit->n_images; i++)
        if (kit->images[i] == image)
            return i;
    fail();
    return 0;
}

static void op_plan(void *userdata, struct image *image, uint64_t due, uint64_t verified)
{
    struct kit *kit = userdata;

    if (due != UINT64_MAX)
        assert_int_equal(verified, image->baseline ? image->baseline->verified : 0);
    kit->due[place_of(kit, image)] = due;
}

static void op_demand(void *userdata, struct image *image)
{
    struct kit *kit = userdata;
    size_t n = strlen(kit->demanded);

    snprintf(kit->demanded + n, sizeof(kit->demanded) - n, "%s ", name_of(image->path));
}

static void op_taken(void *userdata, struct image *image)
{
    struct kit *kit = userdata;

    assert_false(image->reading);
    kit->taken++;
}

static void op_judge(void *userdata)
{
    ((struct kit *)userdata)->judged++;
}

static void op_damaged(void *userdata)
{
    ((struct kit *)userdata)->damaged++;
}

static void op_acknowledge(void *userdata, int64_t finding_id, const char *by, const char *reason,
                           uint64_t until)
{
    struct kit *kit = userdata;
    size_t n = strlen(kit->acknowledged);

    snprintf(kit->acknowledged + n, sizeof(kit->acknowledged) - n, "%lld %s %s %llu;",
             (long long)finding_id, by, reason, (unsigned long long)until);
}

static int op_each_mute(void *userdata, int (*each)(void *each_userdata, struct mute *mute),
                        void *each_userdata)
{
    struct kit *kit = userdata;
    int r = 0;

    for (size_t i = 0; r == 0 && i < kit->n_mutes; i++)
        r = each(each_userdata, kit->mutes[i]);
    return r;
}

static int op_mute(void *userdata, struct mute *mute)
{
    struct kit *kit = userdata;

    assert_true(kit->n_mutes < KIT_NAMES_MAX);
    kit->mutes[kit->n_mutes++] = mute;
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

void kit_start(struct kit *kit)
{
    static const struct contents_ops ops = {
        .now = op_now, .find_image = op_find_image, .images = op_images,
        .each_finding = op_each_finding, .keep_baseline = op_keep_baseline,
        .keep_gone = op_keep_gone, .keep_reading = op_keep_reading, .task = op_task,
        .plan = op_plan, .demand = op_demand, .taken = op_taken, .judge = op_judge,
        .damaged = op_damaged, .acknowledge = op_acknowledge,
        .each_mute = op_each_mute, .mute = op_mute,
    };
    const struct contents_options options = { .state_directory = kit->directory,
                                              .graph = kit->graph, .ops = &ops,
                                              .userdata = kit };
    bool first = kit->n_kept == 0;

    assert_int_equal(contents_new(&options, &kit->contents), 0);
    for (size_t i = 0; i < kit->n_kept; i++) {
        struct baseline *baseline;

        assert_int_equal(baseline_from_json(kit->kept[i].baseline, &baseline), 0);
        assert_int_equal(contents_load_baseline(kit->contents, baseline, NULL, NULL), 0);
    }
    assert_int_equal(contents_load(kit->contents, first), 0);
    kit_run(kit);
}

int kit_setup(void **state)
{
    struct kit *kit = calloc(1, sizeof(*kit));

    assert_non_null(kit);
    strcpy(kit->directory, "/tmp/qca-contents.XXXXXX");
    assert_non_null(mkdtemp(kit->directory));
    kit->now = T0_USEC;
    kit->policy = (struct policy){ .golden = kit->golden, .scrub_golden = 7 * DAY,
                                   .scrub_parents = 30 * DAY };
    kit->datastore = (struct datastore){ .name = strdup("vm"), .path = strdup("/vm"),
                                         .state = DATASTORE_ONLINE };
    assert_int_equal(graph_new(&kit->graph), 0);
    graph_set_policy(kit->graph, &kit->policy);
    kit_start(kit);
    *state = kit;
    return 0;
}

void kit_stop(struct kit *kit)
{
    kit->held = false;
    kit_run(kit);
    contents_stop(kit->contents);
    contents_end(kit->contents);
    kit_run(kit);
    kit->contents = contents_free(kit->contents);
}

void kit_restart(struct kit *kit)
{
    kit_stop(kit);
    kit_start(kit);
}

void kit_lose_database(struct kit *kit)
{
    while (kit->n_kept > 0)
        drop_kept(kit, &kit->kept[0]);
}

void kit_remove(struct kit *kit, struct image *image)
{
    size_t place = place_of(kit, image);

    graph_remove(kit->graph, image);
    image->datastore = NULL;
    image_free(image);
    kit->n_images--;
    memmove(kit->images + place, kit->images + place + 1,
            (kit->n_images - place) * sizeof(kit->images[0]));
    memmove(kit->due + place, kit->due + place + 1,
            (kit->n_images - place) * sizeof(kit->due[0]));
}

int kit_teardown(void **state)
{
    struct kit *kit = *state;
    char command[128];

    kit_stop(kit);
    while (kit->n_images > 0)
        kit_remove(kit, kit->images[0]);
    graph_free(kit->graph);
    kit_lose_database(kit);
    for (size_t i = 0; i < kit->n_readings; i++) {
        free(kit->readings[i].path);
        free(kit->readings[i].explanation);
    }
    for (size_t i = 0; kit->golden[i]; i++)
        free(kit->golden[i]);
    for (size_t i = 0; i < kit->n_findings; i++)
        finding_free(kit->findings[i]);
    free(kit->datastore.name);
    free(kit->datastore.path);
    snprintf(command, sizeof(command), "rm -rf '%s'", kit->directory);
    assert_int_equal(system(command), 0);
    free(kit);
    return 0;
}

static void run_one(struct kit *kit)
{
    struct kit_task task = kit->tasks[0];

    kit->n_tasks--;
    memmove(kit->tasks, kit->tasks + 1, kit->n_tasks * sizeof(kit->tasks[0]));
    task.done(task.userdata, task.run(task.userdata));
}

void kit_run(struct kit *kit)
{
    while (!kit->held && kit->n_tasks > 0)
        run_one(kit);
}

void kit_run_until_taken(struct kit *kit)
{
    unsigned before = kit->taken;

    while (kit->taken == before) {
        assert_true(kit->n_tasks > 0);
        run_one(kit);
    }
}

void kit_cancel(struct kit *kit)
{
    for (size_t i = 0; i < kit->n_tasks; i++)
        kit->tasks[i].done(kit->tasks[i].userdata, -ECANCELED);
    kit->n_tasks = 0;
}

/* ---- what came of it ------------------------------------------------------------------------- */

struct image *kit_at(struct kit *kit, const char *path)
{
    return op_find_image(kit, path);
}

struct image *kit_image(struct kit *kit, const char *name)
{
    char path[64];

    snprintf(path, sizeof(path), "/vm/%s", name);
    return kit_at(kit, path);
}

struct baseline *kit_baseline(struct kit *kit, const char *name)
{
    struct image *image = kit_image(kit, name);

    return image ? image->baseline : NULL;
}

const struct kit_reading *kit_reading(const struct kit *kit, const char *name)
{
    for (size_t i = kit->n_readings; i-- > 0;)
        if (strcmp(name_of(kit->readings[i].path), name) == 0)
            return &kit->readings[i];
    return NULL;
}

const char *kit_letters(const struct kit *kit, const uint8_t digest[static 32])
{
    for (size_t i = 0; i < kit->n_contents_read; i++)
        if (memcmp(kit->contents_read[i].digest, digest, 32) == 0)
            return kit->contents_read[i].letters;
    return "?";
}

bool kit_has_blocks(struct kit *kit, const struct identity *identity, const char *suffix)
{
    char *path = blocks_path(kit->contents, identity, suffix);
    bool there = path && access(path, F_OK) == 0;

    free(path);
    return there;
}

const char *kit_path(const struct kit *kit, const char *name, char buf[static 128])
{
    snprintf(buf, 128, "%s/%s", kit->directory, name);
    return buf;
}
