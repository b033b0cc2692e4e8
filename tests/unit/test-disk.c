/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One disk through the months: snapshots come and go, and each of its findings has one life. */
#include "unit/model-fixture.h"

#include <stdio.h>

#include "daemon/config/config.h"
#include "daemon/judge/judge.h"
#include "lib/cleanup.h"

#define BASE "/vm/orders.qcow2"
#define SNAPSHOTS 80
#define EVERY (6 * HOUR)

struct world {
    struct config *config;
    struct graph *graph;
    struct findings *findings;
    struct datastore datastore;
    struct image *base, *snapshots[SNAPSHOTS];
    unsigned n_snapshots;
    uint64_t now;
    unsigned events[_FINDING_MAX][_EVENT_MAX];
    char message[300];
};

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    world->now = T0_USEC;
    world->datastore = (struct datastore){ .name = (char[]){ "vm" }, .state = DATASTORE_ONLINE };
    assert_int_equal(config_new(&world->config), 0);
    assert_int_equal(graph_new(&world->graph), 0);
    assert_int_equal(findings_new(&world->findings), 0);
    graph_set_policy(world->graph, &world->config->policy);
    world->base = fixture_image(&world->datastore, BASE, 1, NULL);
    assert_int_equal(graph_add(world->graph, world->base), 0);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    findings_free(world->findings);
    graph_free(world->graph);
    image_free(world->base);
    for (unsigned i = 0; i < world->n_snapshots; i++)
        image_free(world->snapshots[i]);
    config_free(world->config);
    free(world);
    return 0;
}

static int told(void *userdata, struct finding *finding, const struct event *event)
{
    struct world *world = userdata;

    finding->id = finding->id ? finding->id : 1 + (int64_t)finding->type;
    if (!event)
        return 0;
    assert_string_equal(event->subject, BASE);
    world->events[finding->type][event->type]++;
    snprintf(world->message, sizeof(world->message), "%s", event->message);
    return 0;
}

static void changed(void *userdata, struct image *image)
{
    struct world *world = userdata;
    struct judgement judgement;

    assert_int_equal(judge_image(&world->config->policy, world->graph, image, NULL, world->now,
                                 &judgement),
                     0);
    assert_int_equal(findings_apply(world->findings, SUBJECT_IMAGE, image->path, "vm", &judgement,
                                    0, world->now, told, world),
                     0);
    judgement_done(&judgement);
}

static void look(struct world *world)
{
    assert_int_equal(graph_refresh(world->graph, changed, world), 0);
}

/* The cron job: what was the leaf freezes, and a new one is found and audited. */
static void take_snapshot(struct world *world)
{
    struct image *leaf = world->n_snapshots > 0 ? world->snapshots[world->n_snapshots - 1]
                                                : world->base,
                 *image;
    char path[64];

    world->now += EVERY;
    leaf->fingerprint.mtime = (int64_t)world->now * 1000;
    assert_int_equal(graph_update(world->graph, leaf), 0);
    snprintf(path, sizeof(path), "/vm/orders.snap-%u.qcow2", world->n_snapshots + 1);
    image = fixture_image(&world->datastore, path, 100 + world->n_snapshots, leaf->path);
    image->identity.btime = image->fingerprint.mtime = (int64_t)world->now * 1000;
    world->snapshots[world->n_snapshots++] = image;
    assert_int_equal(graph_add(world->graph, image), 0);
    look(world);
}

static void take_snapshots(struct world *world, unsigned until)
{
    while (world->n_snapshots < until)
        take_snapshot(world);
}

/* A block commit of all layers into the disk's own layer; then the files are deleted, the leaf
 * first. */
static void consolidate(struct world *world)
{
    world->now += HOUR;
    while (world->n_snapshots > 0) {
        struct image *image = world->snapshots[--world->n_snapshots];

        graph_remove(world->graph, image);
        assert_int_equal(findings_subject_gone(world->findings, SUBJECT_IMAGE, image->path, "gone",
                                               world->now, told, world),
                         0);
        image_free(image);
    }
    look(world);
}

static unsigned events(const struct world *world, enum event_type type)
{
    unsigned n = 0;

    for (int finding = 0; finding < _FINDING_MAX; finding++)
        n += world->events[finding][type];
    return n;
}

static struct finding *chain_deep(struct world *world)
{
    return findings_get(world->findings, FINDING_CHAIN_DEEP, SUBJECT_IMAGE, BASE);
}

static void one_finding_with_one_life(void **state)
{
    static const enum finding_type types[] = {
        FINDING_CHAIN_DEEP, FINDING_SNAPSHOT_OLD, FINDING_SNAPSHOT_RUNAWAY,
    };
    struct world *world = *state;
    uint64_t first_seen;

    take_snapshots(world, 5);
    assert_string_equal(world->message,
                        "chain-deep: " BASE " has 5 unconsolidated layers above it, up to "
                        "orders.snap-5.qcow2 (limit: 5)");
    first_seen = chain_deep(world)->first_seen;
    take_snapshots(world, 45);
    assert_int_equal(events(world, EVENT_OPENED), ELEMENTSOF(types));
    for (size_t i = 0; i < ELEMENTSOF(types); i++)
        assert_int_equal(world->events[types[i]][EVENT_OPENED], 1);
    assert_int_equal(world->events[FINDING_CHAIN_DEEP][EVENT_WORSENED], 1);
    assert_int_equal(events(world, EVENT_WORSENED), 1);
    assert_int_equal(events(world, EVENT_RESOLVED) + events(world, EVENT_REOPENED) +
                         events(world, EVENT_EASED),
                     0);
    assert_int_equal(chain_deep(world)->first_seen, first_seen);
    assert_int_equal(chain_deep(world)->weight, 45);
    assert_non_null(strstr(json_object_to_json_string(chain_deep(world)->evidence),
                           "orders.snap-45.qcow2 (limit: 25)"));

    consolidate(world);
    assert_int_equal(events(world, EVENT_RESOLVED), ELEMENTSOF(types));
    for (size_t i = 0; i < ELEMENTSOF(types); i++)
        assert_int_equal(world->events[types[i]][EVENT_RESOLVED], 1);
    assert_int_equal(events(world, EVENT_OPENED), ELEMENTSOF(types));
}

static void an_acknowledgement_ends_when_the_chain_is_half_as_deep_again(void **state)
{
    struct world *world = *state;

    take_snapshots(world, 30);
    assert_int_equal(findings_acknowledge(world->findings, chain_deep(world)->id, "root",
                                          "kept until Monday", 0, world->now, told, world),
                     0);
    take_snapshots(world, 45);
    assert_int_equal(chain_deep(world)->state, FINDING_ACKNOWLEDGED);
    assert_int_equal(world->events[FINDING_CHAIN_DEEP][EVENT_UNACKNOWLEDGED], 0);
    take_snapshot(world);
    assert_int_equal(chain_deep(world)->state, FINDING_OPEN);
    assert_int_equal(world->events[FINDING_CHAIN_DEEP][EVENT_UNACKNOWLEDGED], 1);
    take_snapshots(world, 80);
    assert_int_equal(world->events[FINDING_CHAIN_DEEP][EVENT_UNACKNOWLEDGED], 1);
    assert_int_equal(world->events[FINDING_CHAIN_DEEP][EVENT_OPENED], 1);
}

/* The same layers, whatever the snapshots: as after a restart, when all are told at once. */
static void a_restart_changes_nothing(void **state)
{
    struct world *world = *state;
    unsigned before;

    take_snapshots(world, 40);
    before = events(world, EVENT_OPENED) + events(world, EVENT_WORSENED);
    graph_remove(world->graph, world->base);
    for (unsigned i = 0; i < world->n_snapshots; i++)
        graph_remove(world->graph, world->snapshots[i]);
    for (unsigned i = world->n_snapshots; i-- > 0;)
        assert_int_equal(graph_add(world->graph, world->snapshots[i]), 0);
    assert_int_equal(graph_add(world->graph, world->base), 0);
    look(world);
    assert_int_equal(events(world, EVENT_OPENED) + events(world, EVENT_WORSENED), before);
    assert_int_equal(events(world, EVENT_RESOLVED) + events(world, EVENT_EASED), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_finding_with_one_life),
        TEST(an_acknowledgement_ends_when_the_chain_is_half_as_deep_again),
        TEST(a_restart_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
