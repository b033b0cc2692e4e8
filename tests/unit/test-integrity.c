/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of contents: each verdict's finding, its evidence, and when nothing is said. */
#include <stdio.h>
#include <stdlib.h>

#include "remedy-fixture.h"

#include "daemon/contents/contents.h"
#include "daemon/judge/judge.h"

struct world {
    char *golden[2];
    struct policy policy;
    struct datastore datastore;
    struct graph *graph;
    struct image *base, *one, *two;
    struct baseline *baseline;
    struct judgement judgement;
};

#define NOW (T0_USEC + 3 * DAY)

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    world->policy = (struct policy){
        .golden = world->golden, .scrub_golden = 7 * DAY, .scrub_parents = 30 * DAY,
        .thresholds = { .chain_deep = { 5, 25, 160 }, .chain_limit = 200, .leaks_bytes = UINT64_MAX,
                        .leaks_share = 10000, .burst_leaks = 1000000, .overdue_golden = 14 * DAY,
                        .overdue_parents = 60 * DAY, .reclaimable_bytes = UINT64_C(10) << 30,
                        .reclaimable_share = 3000, .reclaimable_least = 1 << 18 },
    };
    world->policy.thresholds.snapshot_old = (struct steps){ UINT64_MAX, UINT64_MAX, UINT64_MAX };
    world->datastore = (struct datastore){ .name = strdup("vm"),
                                           .path = strdup("/vm"),
                                           .state = DATASTORE_ONLINE };
    snprintf(world->datastore.root.type, sizeof(world->datastore.root.type), "ext4");
    assert_int_equal(graph_new(&world->graph), 0);
    graph_set_policy(world->graph, &world->policy);
    world->base = fixture_image(&world->datastore, "/vm/base", 1, NULL);
    world->one = fixture_image(&world->datastore, "/vm/one", 2, "/vm/base");
    world->two = fixture_image(&world->datastore, "/vm/two", 3, "/vm/base");
    world->base->first_seen = T0_USEC;
    assert_int_equal(graph_add(world->graph, world->base), 0);
    assert_int_equal(graph_add(world->graph, world->one), 0);
    assert_int_equal(graph_add(world->graph, world->two), 0);
    world->baseline = calloc(1, sizeof(*world->baseline));
    *world->baseline = (struct baseline){
        .identity = world->base->identity, .path = strdup("/vm/base"), .source = BASELINE_PARENT,
        .since = T0_USEC, .verified = T0_USEC + DAY, .has_digest = true, .digest = { 1 },
        .virtual_size = 1 << 20,
        .fingerprint = world->base->fingerprint,
    };
    world->base->baseline = world->baseline;
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    judgement_done(&world->judgement);
    graph_free(world->graph);
    baseline_free(world->baseline);
    image_free(world->base);
    image_free(world->one);
    image_free(world->two);
    free(world->datastore.name);
    free(world->datastore.path);
    free(world);
    return 0;
}

static void be_golden(struct world *world)
{
    world->golden[0] = strdup("/vm/base");
    graph_set_policy(world->graph, &world->policy);
}

static void deviate(struct world *world, enum reading_verdict verdict)
{
    struct deviation *deviation = calloc(1, sizeof(*deviation));

    assert_non_null(deviation);
    *deviation = (struct deviation){
        .verdict = verdict, .found = NOW - HOUR, .read = NOW - HOUR, .digest = { 2 },
        .virtual_size = 1 << 20,
        .fingerprint = world->base->fingerprint, .located = true, .blocks = 3, .bytes = 3 * 65536,
        .ranges = { { 65536, 131072 }, { 655360, 65536 } }, .n_ranges = 2, .ranges_total = 7,
        .error = verdict == READING_INCOMPLETE ? -EIO : 0,
    };
    deviation->fingerprint.mtime = T0 + 2 * HOUR_NSEC;
    deviation_free(world->baseline->deviation);
    world->baseline->deviation = deviation;
}

static void judge_at(struct world *world, uint64_t now)
{
    graph_update(world->graph, world->base);
    assert_int_equal(graph_refresh(world->graph, NULL, NULL), 0);
    judgement_done(&world->judgement);
    assert_int_equal(judge_image(&world->policy, world->graph, world->base, NULL, now,
                                 &world->judgement),
                     0);
}

static const struct condition *found(struct world *world, enum finding_type type)
{
    for (size_t i = 0; i < world->judgement.conditions.n_items; i++)
        if (world->judgement.conditions.items[i].type == type)
            return &world->judgement.conditions.items[i];
    return NULL;
}

static const char *text(struct world *world, enum finding_type type, const char *key)
{
    json_object *value = NULL;

    assert_non_null(found(world, type));
    assert_true(json_object_object_get_ex(found(world, type)->evidence, key, &value));
    return json_object_to_json_string_ext(value,
                                          JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

static void assert_none(struct world *world)
{
    assert_null(found(world, FINDING_BIT_ROT));
    assert_null(found(world, FINDING_GOLDEN_MODIFIED));
    assert_null(found(world, FINDING_PARENT_CHANGED));
    assert_null(found(world, FINDING_READ_ERROR));
}

static void well(void **state)
{
    struct world *world = *state;

    judge_at(world, NOW);
    assert_none(world);
    assert_true(world->judgement.judged[FINDING_BIT_ROT]);
    assert_true(world->judgement.judged[FINDING_PARENT_CHANGED]);
    assert_null(found(world, FINDING_VERIFICATION_OVERDUE));
    assert_null(found(world, FINDING_SPACE_RECLAIMABLE));
    world->base->baseline = NULL;
    judge_at(world, NOW);
    assert_none(world);
}

static void rot(void **state)
{
    struct world *world = *state;

    deviate(world, READING_ROT);
    judge_at(world, NOW);
    assert_int_equal(found(world, FINDING_BIT_ROT)->severity, SEVERITY_CRITICAL);
    assert_string_equal(text(world, FINDING_BIT_ROT, "ranges"),
                        "[{\"block\":1,\"guest-offset\":65536,\"guest-length\":131072},"
                        "{\"block\":10,\"guest-offset\":655360,\"guest-length\":65536}]");
    assert_string_equal(text(world, FINDING_BIT_ROT, "ranges-omitted"), "5");
    assert_string_equal(text(world, FINDING_BIT_ROT, "children"),
                        "[{\"path\":\"/vm/one\"},{\"path\":\"/vm/two\"}]");
    assert_string_equal(text(world, FINDING_BIT_ROT, "file-system"), "\"ext4\"");
    assert_string_equal(text(world, FINDING_BIT_ROT, "summary"),
                        "\"holds other data than was written: 3 blocks, first at byte 65536 of the "
                        "guest's disk\"");
    assert_null(found(world, FINDING_PARENT_CHANGED));
    /* A leaf, too. */
    world->one->present = world->two->present = false;
    graph_update(world->graph, world->one);
    graph_update(world->graph, world->two);
    judge_at(world, NOW);
    assert_non_null(found(world, FINDING_BIT_ROT));
}

static void modified(void **state)
{
    struct world *world = *state;

    deviate(world, READING_MODIFIED);
    judge_at(world, NOW);
    assert_int_equal(found(world, FINDING_PARENT_CHANGED)->severity, SEVERITY_CRITICAL);
    assert_null(found(world, FINDING_GOLDEN_MODIFIED));
    assert_string_equal(text(world, FINDING_PARENT_CHANGED, "modified-at"), "1700007200000000");
    /* An overlay that was made after the change does not suffer from it; none at all, and nothing
     * is wrong. */
    world->two->identity.btime = T0 + 3 * HOUR_NSEC;
    judge_at(world, NOW);
    assert_string_equal(text(world, FINDING_PARENT_CHANGED, "children"),
                        "[{\"path\":\"/vm/one\"}]");
    world->one->identity.btime = T0 + 3 * HOUR_NSEC;
    judge_at(world, NOW);
    assert_none(world);
    assert_true(world->judgement.judged[FINDING_PARENT_CHANGED]);
    /* Another file lies there, which is older: what counts is when it came. */
    world->one->identity.btime = T0;
    world->baseline->deviation->fingerprint.mtime = T0 - 48 * HOUR_NSEC;
    world->baseline->deviation->fingerprint.ctime = T0 + 2 * HOUR_NSEC;
    judge_at(world, NOW);
    assert_none(world);
    world->baseline->identity.inode = 77;
    judge_at(world, NOW);
    assert_string_equal(text(world, FINDING_PARENT_CHANGED, "children"),
                        "[{\"path\":\"/vm/one\"}]");
    world->baseline->identity = world->base->identity;
    world->baseline->deviation->fingerprint.mtime = T0 + 2 * HOUR_NSEC;
    /* A commit of one that another one sees. */
    world->baseline->deviation->hurts = true;
    judge_at(world, NOW);
    assert_int_equal(found(world, FINDING_PARENT_CHANGED)->severity, SEVERITY_CRITICAL);
    assert_non_null(strstr(text(world, FINDING_PARENT_CHANGED, "summary"),
                           "by the commit of another one"));
    world->baseline->deviation->hurts = false;
    /* Perhaps a commit. */
    world->baseline->deviation->suspect = strdup("/vm/gone");
    judge_at(world, NOW);
    assert_int_equal(found(world, FINDING_PARENT_CHANGED)->severity, SEVERITY_WARNING);
    assert_string_equal(text(world, FINDING_PARENT_CHANGED, "maybe-committed"), "\"/vm/gone\"");
    /* Nothing is said while an overlay is read that may explain it, for a day at most. */
    world->baseline->deviation->waits_for = strdup("/vm/one");
    judge_at(world, NOW);
    assert_none(world);
    assert_false(world->judgement.judged[FINDING_PARENT_CHANGED]);
    assert_int_equal(judge_image_again(&world->policy, world->graph, world->base, NOW),
                     NOW + 23 * HOUR);
    judge_at(world, NOW + 24 * HOUR);
    assert_non_null(found(world, FINDING_PARENT_CHANGED));
    /* Not with a writer. */
    world->base->audit->use = FILES_WRITER;
    judge_at(world, NOW + 24 * HOUR);
    assert_none(world);
    assert_false(world->judgement.judged[FINDING_PARENT_CHANGED]);
}

static void set_overlays_present(struct world *world, bool present)
{
    world->one->present = world->two->present = present;
    assert_int_equal(graph_update(world->graph, world->one), 0);
    assert_int_equal(graph_update(world->graph, world->two), 0);
    assert_int_equal(graph_refresh(world->graph, NULL, NULL), 0);
}

static void golden(void **state)
{
    struct world *world = *state;
    struct finding finding = { .type = FINDING_GOLDEN_MODIFIED, .subject_kind = SUBJECT_IMAGE,
                               .subject = (char[]){ "/vm/base" } };
    json_object *remedy = NULL;
    const char *said;

    be_golden(world);
    deviate(world, READING_MODIFIED);
    world->one->identity.btime = world->two->identity.btime = T0 + 3 * HOUR_NSEC;
    judge_at(world, NOW);
    assert_int_equal(found(world, FINDING_GOLDEN_MODIFIED)->severity, SEVERITY_CRITICAL);
    assert_null(found(world, FINDING_PARENT_CHANGED));
    assert_string_equal(text(world, FINDING_GOLDEN_MODIFIED, "blocks"), "3");
    /* The overlays' guests read other data: no command accepts that. */
    fixture_remedy(world->graph, &finding, &remedy);
    said = json_object_to_json_string_ext(remedy, JSON_C_TO_STRING_NOSLASHESCAPE);
    assert_null(strstr(said, "\"command\""));
    assert_non_null(strstr(said, "because overlays stand on the image"));
    assert_null(strstr(said, "Bytes "));
    json_object_put(remedy);
    remedy = NULL;
    finding.type = FINDING_PARENT_CHANGED;
    fixture_remedy(world->graph, &finding, &remedy);
    said = json_object_to_json_string_ext(remedy, JSON_C_TO_STRING_NOSLASHESCAPE);
    assert_null(strstr(said, "\"command\""));
    json_object_put(remedy);
    remedy = NULL;
    finding.type = FINDING_GOLDEN_MODIFIED;
    set_overlays_present(world, false);
    fixture_remedy(world->graph, &finding, &remedy);
    assert_non_null(strstr(json_object_to_json_string_ext(remedy, JSON_C_TO_STRING_NOSLASHESCAPE),
                           "qcauditctl baseline accept /vm/base --reason='this change was meant'"));
    json_object_put(remedy);
    set_overlays_present(world, true);
    free(world->golden[0]);
    world->golden[0] = NULL;
    /* Inferred once: it was written since, and is younger than its overlays. */
    graph_set_policy(world->graph, &world->policy);
    world->baseline->source = BASELINE_INFERRED;
    judge_at(world, NOW);
    assert_non_null(found(world, FINDING_GOLDEN_MODIFIED));
}

static void unreadable(void **state)
{
    struct world *world = *state;

    deviate(world, READING_INCOMPLETE);
    judge_at(world, NOW);
    assert_non_null(found(world, FINDING_READ_ERROR));
    assert_string_equal(text(world, FINDING_READ_ERROR, "errno"), "5");
    assert_null(found(world, FINDING_BIT_ROT));
    assert_false(world->judgement.judged[FINDING_BIT_ROT]);     /* what was found before is not
                                                                 * disproved */
    world->baseline->verity = (struct verity){ .algorithm = 1, .size = 32 };
    judge_at(world, NOW);
    assert_non_null(found(world, FINDING_BIT_ROT));
    assert_null(found(world, FINDING_READ_ERROR));
    /* Bytes that are no compressed data are not the device's fault. */
    world->baseline->deviation->error = -EBADMSG;
    judge_at(world, NOW);
    assert_none(world);
    /* But where nobody wrote, they were compressed data once. */
    world->baseline->deviation->fingerprint = world->baseline->fingerprint;
    judge_at(world, NOW);
    assert_non_null(found(world, FINDING_BIT_ROT));
}

static void overdue(void **state)
{
    struct world *world = *state;

    judge_at(world, T0_USEC + 61 * DAY - HOUR);
    assert_null(found(world, FINDING_VERIFICATION_OVERDUE));
    assert_int_equal(judge_image_again(&world->policy, world->graph, world->base, NOW),
                     T0_USEC + 61 * DAY);
    judge_at(world, T0_USEC + 61 * DAY);
    assert_int_equal(found(world, FINDING_VERIFICATION_OVERDUE)->severity, SEVERITY_WARNING);
    assert_string_equal(text(world, FINDING_VERIFICATION_OVERDUE, "summary"),
                        "\"was not verified for 60d\"");
    /* Never read at all, since it is known; */
    world->base->baseline = NULL;
    judge_at(world, T0_USEC + 59 * DAY);
    assert_null(found(world, FINDING_VERIFICATION_OVERDUE));
    judge_at(world, T0_USEC + 60 * DAY);
    assert_non_null(found(world, FINDING_VERIFICATION_OVERDUE));
    /* a golden image sooner; never where nothing is to be read. */
    world->base->baseline = world->baseline;
    be_golden(world);
    judge_at(world, T0_USEC + 15 * DAY);
    assert_non_null(found(world, FINDING_VERIFICATION_OVERDUE));
    world->policy.scrub_golden = 0;
    judge_at(world, T0_USEC + 15 * DAY);
    assert_null(found(world, FINDING_VERIFICATION_OVERDUE));
    free(world->golden[0]);
    world->golden[0] = NULL;
    graph_set_policy(world->graph, &world->policy);
}

static void space(void **state)
{
    struct world *world = *state;

    world->baseline->zeros = 300000;            /* of a file of 1 MiB: 28 % */
    judge_at(world, NOW);
    assert_null(found(world, FINDING_SPACE_RECLAIMABLE));
    world->baseline->zeros = 320000;
    judge_at(world, NOW);
    assert_int_equal(found(world, FINDING_SPACE_RECLAIMABLE)->severity, SEVERITY_INFO);
    assert_string_equal(text(world, FINDING_SPACE_RECLAIMABLE, "share"), "3051");
    world->baseline->zeros = 100000;            /* with leaks */
    world->base->audit->report->layers[0].check.leaks = 4;
    judge_at(world, NOW);
    assert_string_equal(text(world, FINDING_SPACE_RECLAIMABLE, "reclaimable-bytes"), "362144");
    world->policy.thresholds.reclaimable_least = 1 << 20;
    judge_at(world, NOW);
    assert_null(found(world, FINDING_SPACE_RECLAIMABLE));
}

/* Nothing says what the image must hold, and somebody had it read. */
static void space_alone(void **state)
{
    struct world *world = *state;

    world->baseline->source = BASELINE_ASKED;
    world->baseline->zeros = 400000;
    judge_at(world, NOW);
    assert_non_null(found(world, FINDING_SPACE_RECLAIMABLE));
    world->base->fingerprint.mtime += HOUR_NSEC;        /* what was zeros then may be data now */
    judge_at(world, NOW);
    assert_null(found(world, FINDING_SPACE_RECLAIMABLE));
}

/* The file is larger than its disk can need, with or without holes. */
static void space_beyond(void **state)
{
    struct world *world = *state;
    struct layer_report *layer = &world->base->audit->report->layers[0];

    world->base->baseline = NULL;
    layer->info.virtual_size = UINT64_C(1) << 30;
    layer->check.image_end_offset = UINT64_C(1) << 31;
    world->base->fingerprint.allocated = UINT64_C(1) << 30;
    judge_at(world, NOW);
    assert_int_equal(found(world, FINDING_SPACE_RECLAIMABLE)->severity, SEVERITY_INFO);
    assert_non_null(strstr(text(world, FINDING_SPACE_RECLAIMABLE, "summary"), "ends at 2G"));
    world->base->fingerprint.allocated = UINT64_C(1) << 31;
    judge_at(world, NOW);
    assert_non_null(strstr(text(world, FINDING_SPACE_RECLAIMABLE, "summary"), "nothing needs"));
    layer->info.snapshot_count = 1;     /* which needs clusters of its own */
    judge_at(world, NOW);
    assert_null(found(world, FINDING_SPACE_RECLAIMABLE));
    layer->info.snapshot_count = 0;
    layer->check.image_end_offset = UINT64_C(1100) << 20;
    world->base->fingerprint.allocated = UINT64_C(1100) << 20;
    judge_at(world, NOW);
    assert_null(found(world, FINDING_SPACE_RECLAIMABLE));
}

/* A sound check of the tables does not disprove that data could not be read, nor does it hide
 * where. */
static void unreadable_alone(void **state)
{
    struct world *world = *state;
    struct layer_report *layer = &world->base->audit->report->layers[0];
    struct qca_issue issue = { .kind = QCA_ISSUE_READ_FAILED, .host_offset = 65536, .count = 1,
                               .guest_offset = QCA_NO_OFFSET, .table_offset = QCA_NO_OFFSET };

    world->baseline->source = BASELINE_ASKED;
    deviate(world, READING_INCOMPLETE);
    judge_at(world, NOW);
    assert_non_null(found(world, FINDING_READ_ERROR));
    assert_non_null(strstr(text(world, FINDING_READ_ERROR, "ranges"), "655360"));
    world->base->audit->use = world->base->use = FILES_WRITER;
    judge_at(world, NOW);
    assert_null(found(world, FINDING_READ_ERROR));
    assert_false(world->judgement.judged[FINDING_READ_ERROR]);
    world->base->audit->use = world->base->use = FILES_UNUSED;
    layer->check.issues = &issue;
    layer->check.n_issues = 1;
    judge_at(world, NOW);
    assert_string_equal(text(world, FINDING_READ_ERROR, "error-offset"), "65536");
    assert_non_null(strstr(text(world, FINDING_READ_ERROR, "ranges"), "655360"));
    layer->check.issues = NULL;
    layer->check.n_issues = 0;
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(well), CASE(rot), CASE(modified), CASE(golden), CASE(unreadable), CASE(overdue),
        CASE(space), CASE(space_alone), CASE(space_beyond), CASE(unreadable_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
