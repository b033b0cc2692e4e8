/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The graph of images: depth, loops, golden images, own layers, whatever the order of arrival. */
#include "unit/model-fixture.h"

#include <endian.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "daemon/core/siphash.h"
#include "daemon/relate/relate.h"

static char *golden_patterns[2];
static struct policy policy;
static unsigned long n_told;

struct world {
    struct graph *graph;
    struct datastore datastore;
    struct image **images;
    size_t n_images;
};

static void told(void *userdata, struct image *image)
{
    n_told++;
    if (userdata)
        json_object_object_add(userdata, image->path, json_object_new_boolean(true));
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    policy = (struct policy){ .golden = golden_patterns, .infer_golden = true };
    golden_patterns[0] = NULL;
    assert_int_equal(graph_new(&world->graph), 0);
    graph_set_policy(world->graph, &policy);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    graph_free(world->graph);
    for (size_t i = 0; i < world->n_images; i++)
        image_free(world->images[i]);
    free(world->images);
    free(world);
    return 0;
}

static struct image *make(struct world *world, const char *path, const char *parent)
{
    struct image *image = fixture_image(&world->datastore, path, world->n_images + 100, parent);

    if ((world->n_images & (world->n_images - 1)) == 0)         /* full, at powers of two */
        world->images = reallocarray(world->images, 2 * world->n_images + 1, sizeof(image));
    assert_non_null(world->images);
    world->images[world->n_images++] = image;
    return image;
}

static struct image *add(struct world *world, const char *path, const char *parent)
{
    struct image *image = make(world, path, parent);

    assert_int_equal(graph_add(world->graph, image), 0);
    return image;
}

/* An overlay that a domain's disk was seen to move to: it is a snapshot of its parent. */
static struct image *add_snapshot(struct world *world, const char *path, const char *parent)
{
    assert_int_equal(graph_note_disk_move(world->graph, path, parent, T0_USEC + DAY), 1);
    return add(world, path, parent);
}

static const struct relation *refreshed(struct world *world, struct image *image)
{
    assert_int_equal(graph_refresh(world->graph, told, NULL), 0);
    return graph_relation(world->graph, image);
}

static void alone(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/a", NULL);
    const struct relation *r = refreshed(world, image);

    assert_int_equal(r->depth, 1);
    assert_ptr_equal(r->base, image);
    assert_ptr_equal(r->own_layer, image);
    assert_true(r->complete && r->leaf && !r->pending && !r->golden);
    assert_int_equal(r->unconsolidated, 0);
    assert_null(r->oldest_unconsolidated);
    assert_null(r->golden_layer);
    assert_ptr_equal(graph_find(world->graph, "/a"), image);
    assert_ptr_equal(graph_find_identity(world->graph, &image->identity), image);
    assert_null(graph_find(world->graph, "/b"));
    assert_int_equal(graph_add(world->graph, image), -EEXIST);
}

static void plain_chain(void **state)
{
    struct world *world = *state;
    struct image *leaf = add_snapshot(world, "/c", "/b"),
                 *middle = add_snapshot(world, "/b", "/a"), *base = add(world, "/a", NULL);
    const struct relation *r = refreshed(world, leaf);

    assert_int_equal(r->depth, 3);
    assert_int_equal(r->kind, RELATION_SNAPSHOT);
    assert_int_equal(r->perhaps, 2);
    assert_ptr_equal(r->base, base);
    assert_ptr_equal(r->own_layer, base);
    assert_int_equal(r->unconsolidated, 2);
    assert_ptr_equal(r->oldest_unconsolidated, middle);
    assert_true(r->complete && r->leaf);
    r = graph_relation(world->graph, base);
    assert_int_equal(r->n_children, 1);
    assert_ptr_equal(graph_child(base, 0), middle);
    assert_null(graph_child(base, 1));
    assert_false(r->leaf);
}

static void linked_clones_have_nothing_unconsolidated(void **state)
{
    struct world *world = *state;
    struct image *one = add(world, "/one", "/gold"), *snapshot = add(world, "/one.snap", "/one");
    struct image *gold = add(world, "/gold", NULL), *two = make(world, "/two", "/gold");
    const struct relation *r = refreshed(world, one);

    /* With one clone nobody can tell: it may be a snapshot of that disk. */
    assert_false(graph_relation(world->graph, gold)->golden);
    assert_int_equal(r->kind, RELATION_UNKNOWN);
    assert_int_equal(r->unconsolidated, 0);
    assert_int_equal(r->perhaps, 1);
    assert_ptr_equal(r->own_layer, one);
    assert_true(graph_is_template(world->graph, gold));
    assert_false(graph_is_template(world->graph, one));
    n_told = 0;
    graph_add(world->graph, two);
    r = refreshed(world, one);
    assert_int_equal(n_told, 4);
    assert_true(graph_relation(world->graph, gold)->golden &&
                graph_relation(world->graph, gold)->golden_inferred);
    assert_int_equal(r->kind, RELATION_CLONE);
    assert_int_equal(r->decisive, EVIDENCE_OTHER_DISKS);
    assert_int_equal(r->unconsolidated, 0);
    assert_int_equal(r->perhaps, 0);
    assert_ptr_equal(r->own_layer, one);
    assert_ptr_equal(r->golden_layer, gold);
    r = graph_relation(world->graph, snapshot);
    assert_int_equal(r->unconsolidated, 1);
    assert_int_equal(r->depth, 3);
    assert_ptr_equal(r->own_layer, one);
    assert_ptr_equal(r->oldest_unconsolidated, snapshot);

    /* The second clone goes: only the policy could call it golden now. */
    graph_remove(world->graph, two);
    assert_int_equal(refreshed(world, one)->kind, RELATION_UNKNOWN);
    golden_patterns[0] = (char[]){ "/gold" };
    graph_set_policy(world->graph, &policy);
    r = refreshed(world, one);
    assert_int_equal(r->kind, RELATION_CLONE);
    assert_int_equal(r->decisive, EVIDENCE_GOLDEN_POLICY);
    assert_false(graph_relation(world->graph, gold)->golden_inferred);
}

static bool is_golden(struct world *world, struct image *gold)
{
    return refreshed(world, gold)->golden;
}

static void not_golden(void **state)
{
    struct world *world = *state;
    struct image *gold = add(world, "/gold", NULL), *one = add(world, "/one", "/gold");

    add(world, "/two", "/gold");
    assert_true(is_golden(world, gold));

    gold->use = FILES_WRITER;
    graph_update(world->graph, gold);
    assert_false(is_golden(world, gold));
    /* But the overlays are disks of their own all the same. */
    assert_int_equal(graph_relation(world->graph, one)->kind, RELATION_CLONE);
    gold->use = FILES_FROZEN;
    graph_update(world->graph, gold);
    assert_true(is_golden(world, gold));

    gold->fingerprint.mtime = T0 + 1;       /* written after the clones were made */
    graph_update(world->graph, gold);
    assert_false(is_golden(world, gold));
    one->identity.btime = T0 + 5;           /* the other clone is still older */
    graph_update(world->graph, one);
    assert_false(is_golden(world, gold));
    gold->fingerprint.mtime = T0;
    graph_update(world->graph, gold);
    assert_true(is_golden(world, gold));

    policy.infer_golden = false;
    graph_set_policy(world->graph, &policy);
    assert_false(is_golden(world, gold));
    assert_int_equal(graph_relation(world->graph, one)->kind, RELATION_CLONE);
}

static void owned_by(struct world *world, struct image *image, uint32_t uid)
{
    image->fingerprint.uid = uid;
    graph_update(world->graph, image);
}

/* Another tenant's overlays of a disk neither make it golden nor keep it from being so. */
static void strangers_overlays_count_for_nothing(void **state)
{
    struct world *world = *state;
    struct image *disk = add(world, "/a/disk", NULL), *one = add(world, "/b/one", "/a/disk"),
                 *two = add(world, "/b/two", "/a/disk"), *old;

    owned_by(world, disk, 1000);
    owned_by(world, one, 1001);
    owned_by(world, two, 1001);
    assert_false(is_golden(world, disk));
    owned_by(world, two, 0);
    assert_false(is_golden(world, disk));
    owned_by(world, one, 1000);
    assert_true(is_golden(world, disk));

    /* One that pretends to be older than the disk is written. */
    old = make(world, "/b/old", "/a/disk");
    old->identity.btime = T0 - DAY;
    old->fingerprint.uid = 1001;
    graph_add(world->graph, old);
    assert_true(is_golden(world, disk));
    owned_by(world, old, 0);
    assert_false(is_golden(world, disk));
    graph_remove(world->graph, old);
    assert_true(is_golden(world, disk));

    /* Root's disk is nobody's template either, unless it was made to be shared. */
    owned_by(world, disk, 0);
    owned_by(world, one, 1001);
    owned_by(world, two, 1002);
    assert_false(is_golden(world, disk));
    disk->fingerprint.mode = S_IFREG | 0444;
    graph_update(world->graph, disk);
    assert_true(is_golden(world, disk));
}

/* Whoever writes a golden image would take its role away, if that went by times alone. */
static void a_golden_baseline_keeps_the_role(void **state)
{
    struct world *world = *state;
    struct image *gold = add(world, "/gold", NULL), *one = add(world, "/one", "/gold"), *two;
    struct baseline baseline = { .identity = gold->identity, .source = BASELINE_INFERRED };

    two = add(world, "/two", "/gold");
    assert_true(is_golden(world, gold));
    gold->baseline = &baseline;
    gold->fingerprint.mtime = T0 + DAY;
    gold->use = FILES_WRITER;
    graph_update(world->graph, gold);
    assert_true(is_golden(world, gold));
    assert_int_equal(graph_relation(world->graph, one)->kind, RELATION_CLONE);
    graph_remove(world->graph, two);
    assert_true(is_golden(world, gold));
    assert_int_equal(graph_relation(world->graph, one)->decisive, EVIDENCE_GOLDEN_BASELINE);

    baseline.source = BASELINE_ACCEPTED;
    graph_update(world->graph, gold);
    assert_false(is_golden(world, gold));
    baseline.source = BASELINE_INFERRED;
    baseline.gone = T0_USEC;
    graph_update(world->graph, gold);
    assert_false(is_golden(world, gold));
    gold->baseline = NULL;
}

/* The node of a device is touched whenever udev looks at it, and made again by each activation. */
static void times_of_a_device_say_nothing(void **state)
{
    struct world *world = *state;
    struct image *gold = add(world, "/gold", NULL), *one = add(world, "/one", "/gold"),
                 *two = add(world, "/two", "/gold");
    const char *source;

    gold->fingerprint.mode = S_IFBLK | 0660;
    gold->fingerprint.mtime = gold->identity.btime = T0 + 5000000;
    graph_update(world->graph, gold);
    assert_true(is_golden(world, gold));
    assert_int_equal(graph_layer_created(world->graph, one, &source), T0_USEC);
    assert_string_equal(source, "birth-time");

    /* A file below devices that became available later than it was written; but they were known
     * before. */
    gold->fingerprint.mode = S_IFREG | 0660;
    one->fingerprint.mode = two->fingerprint.mode = S_IFBLK | 0660;
    one->identity.btime = two->identity.btime = T0 + 9000000;
    one->first_seen = two->first_seen = T0_USEC;
    graph_update(world->graph, gold);
    graph_update(world->graph, one);
    graph_update(world->graph, two);
    assert_false(is_golden(world, gold));
    assert_int_equal(graph_layer_created(world->graph, gold, NULL), T0_USEC + 5000);
    gold->fingerprint.mode = S_IFBLK | 0660;
    gold->first_seen = T0_USEC + 7;
    assert_int_equal(graph_layer_created(world->graph, gold, &source), T0_USEC + 7);
    assert_string_equal(source, "first-seen");
}

static void golden_in_the_middle(void **state)
{
    struct world *world = *state;
    struct image *leaf = add_snapshot(world, "/d", "/c"), *own = add_snapshot(world, "/c", "/b");
    const struct relation *r;

    add(world, "/b", "/a");
    add(world, "/a", NULL);
    golden_patterns[0] = (char[]){ "/b" };
    graph_set_policy(world->graph, &policy);
    r = refreshed(world, leaf);
    assert_int_equal(r->depth, 4);
    assert_int_equal(r->unconsolidated, 1);
    assert_ptr_equal(r->own_layer, own);
}

static void loops(void **state)
{
    struct world *world = *state;
    struct image *a = add(world, "/a", "/c"), *b = add(world, "/b", "/a"),
                 *c = add(world, "/c", "/b");
    struct image *self = add(world, "/self", "/self"), *above = add(world, "/above", "/b"), *high;
    const struct relation *r = refreshed(world, a);

    assert_true(r->in_loop && !r->above_loop && !r->leaf);
    assert_int_equal(r->depth, 0);
    assert_null(r->base);
    assert_ptr_equal(r->loop_head, a);
    assert_ptr_equal(graph_relation(world->graph, c)->loop_head, a);
    r = graph_relation(world->graph, above);
    assert_true(r->above_loop && !r->in_loop && r->leaf);
    assert_ptr_equal(r->loop_head, a);
    assert_true(graph_relation(world->graph, self)->in_loop);

    high = add(world, "/high", "/above");   /* comes later, on what is known already */
    assert_true(refreshed(world, high)->above_loop);

    reference_done(&b->parent);             /* mended: b is a base now */
    graph_update(world->graph, b);
    r = refreshed(world, a);
    assert_int_equal(r->depth, 3);
    assert_false(r->in_loop);
    assert_int_equal(graph_relation(world->graph, high)->depth, 3);
    assert_ptr_equal(graph_relation(world->graph, high)->base, b);
}

static void parents_come_and_go(void **state)
{
    struct world *world = *state;
    struct image *leaf = add(world, "/b", "/a"), *base, *link;
    const struct relation *r = refreshed(world, leaf);

    assert_int_equal(r->depth, 1);
    assert_false(r->complete || r->pending);
    base = add(world, "/a", NULL);
    assert_int_equal(refreshed(world, leaf)->depth, 2);
    base->present = false;
    graph_update(world->graph, base);
    n_told = 0;
    assert_false(refreshed(world, leaf)->complete);
    assert_int_equal(n_told, 2);
    base->present = true;
    graph_update(world->graph, base);
    assert_true(refreshed(world, leaf)->complete);
    graph_remove(world->graph, base);
    assert_null(refreshed(world, leaf)->parent);

    /* The same file by another name: identity comes first. */
    leaf->parent.identity = (struct identity){ .fsid = 1, .inode = 7, .btime = T0 };
    graph_update(world->graph, leaf);
    link = make(world, "/z", NULL);
    link->identity = leaf->parent.identity;
    graph_add(world->graph, link);
    assert_ptr_equal(refreshed(world, leaf)->parent, link);

    /* Another file is put in its place. */
    link->identity.inode = 8;
    graph_update(world->graph, link);
    assert_null(refreshed(world, leaf)->parent);
}

static void not_audited_means_pending(void **state)
{
    struct world *world = *state;
    struct image *leaf = add(world, "/b", "/a"), *base = make(world, "/a", NULL);
    struct audit *audit = base->audit;

    base->audit = NULL;
    graph_add(world->graph, base);
    assert_true(refreshed(world, leaf)->pending);
    assert_false(graph_relation(world->graph, leaf)->complete);
    base->audit = audit;
    graph_update(world->graph, base);
    assert_true(refreshed(world, leaf)->complete);
    assert_false(graph_relation(world->graph, leaf)->pending);
    base->parent.state = REFERENCE_MISSING;
    graph_update(world->graph, base);
    assert_false(refreshed(world, leaf)->complete || graph_relation(world->graph, leaf)->pending);
}

static void first_pass_holds_back_possible_clones(void **state)
{
    struct world *world = *state;
    struct image *one, *snapshot, *lone;

    graph_set_first_pass(world->graph, true);
    one = add(world, "/one", "/gold");
    snapshot = add(world, "/one.snap", "/one");
    add(world, "/gold", NULL);
    lone = add(world, "/lone", "/base");
    add(world, "/base", NULL);
    assert_true(refreshed(world, one)->pending);
    assert_true(graph_relation(world->graph, snapshot)->pending &&
                graph_relation(world->graph, lone)->pending);
    add(world, "/two", "/gold");
    assert_false(refreshed(world, one)->pending);
    assert_false(graph_relation(world->graph, snapshot)->pending);
    assert_true(graph_relation(world->graph, lone)->pending);
    n_told = 0;
    graph_set_first_pass(world->graph, false);
    assert_false(refreshed(world, lone)->pending);
    assert_int_equal(n_told, 2);            /* and its own layer */
}

static void a_change_is_told_to_those_it_concerns(void **state)
{
    struct world *world = *state;
    struct image *leaf = add_snapshot(world, "/c", "/b"), *base = add(world, "/a", NULL);
    json_object *names = json_object_new_object();

    add_snapshot(world, "/b", "/a");
    add(world, "/unrelated", NULL);
    refreshed(world, leaf);
    graph_update(world->graph, base);       /* its audit: concerns itself and its overlay */
    graph_refresh(world->graph, told, names);
    assert_int_equal(json_object_object_length(names), 2);
    json_object_put(names);
    names = json_object_new_object();
    leaf->fingerprint.allocated += 5;       /* and, of any layer, the disk's own layer */
    graph_update(world->graph, leaf);
    graph_refresh(world->graph, told, names);
    assert_int_equal(json_object_object_length(names), 2);
    assert_true(json_object_object_get_ex(names, "/a", NULL) &&
                json_object_object_get_ex(names, "/c", NULL));
    json_object_put(names);
    n_told = 0;
    refreshed(world, leaf);
    assert_int_equal(n_told, 0);
}

static void an_own_layer_knows_its_leaves(void **state)
{
    struct world *world = *state;
    struct image *base = add(world, "/base", NULL), *one = add_snapshot(world, "/1", "/base"),
                 *two = add_snapshot(world, "/2", "/1"), *fork = add_snapshot(world, "/0", "/1"),
                 *gold, *clone;
    const struct relation *r = refreshed(world, base);

    assert_ptr_equal(r->deepest_leaf, fork);        /* as deep as /2: the smaller path */
    assert_int_equal(r->n_leaves, 2);
    assert_null(graph_relation(world->graph, one)->deepest_leaf);
    assert_null(graph_relation(world->graph, two)->deepest_leaf);
    graph_remove(world->graph, fork);
    assert_ptr_equal(refreshed(world, base)->deepest_leaf, two);
    assert_int_equal(graph_relation(world->graph, base)->n_leaves, 1);

    /* A layer goes: what was above it is known no further down, and stands for itself. */
    one->present = false;
    graph_update(world->graph, one);
    assert_ptr_equal(refreshed(world, base)->deepest_leaf, one);
    assert_ptr_equal(graph_relation(world->graph, two)->deepest_leaf, two);
    one->present = true;
    graph_update(world->graph, one);
    assert_ptr_equal(refreshed(world, base)->deepest_leaf, two);

    /* An image on which clones stand is golden, and each clone a disk of its own. */
    gold = add(world, "/gold", NULL);
    assert_ptr_equal(refreshed(world, gold)->deepest_leaf, gold);
    clone = add(world, "/a", "/gold");
    add(world, "/b", "/gold");
    assert_null(refreshed(world, gold)->deepest_leaf);
    assert_int_equal(graph_relation(world->graph, gold)->n_leaves, 0);
    assert_ptr_equal(graph_relation(world->graph, clone)->deepest_leaf, clone);

    /* No layer of a loop is anybody's own. */
    base->parent = (struct reference){ .state = REFERENCE_FOUND, .path = strdup("/2") };
    graph_update(world->graph, base);
    assert_null(refreshed(world, base)->deepest_leaf);
    assert_int_equal(graph_relation(world->graph, base)->n_leaves, 0);
}

static void snapshots_come_and_go_above_one_own_layer(void **state)
{
    struct world *world = *state;
    enum { N = 45 };
    struct image *base = add(world, "/base", NULL), *images[N];
    char path[32], parent[32] = "/base";

    for (unsigned i = 0; i < N; i++) {
        snprintf(path, sizeof(path), "/snap-%02u", i);
        images[i] = add(world, path, parent);
        n_told = 0;
        refreshed(world, base);
        /* The new one, the one below, the disk; once, those of which it makes a series. */
        assert_in_range(n_told, i == 0 ? 2 : 3, i == 3 ? 6 : 3);
        assert_ptr_equal(graph_relation(world->graph, images[i])->own_layer, base);
        assert_ptr_equal(graph_relation(world->graph, base)->deepest_leaf, images[i]);
        snprintf(parent, sizeof(parent), "%s", path);
    }
    /* A block commit of all into the own layer: the overlays go. */
    for (unsigned i = N; i-- > 0;)
        graph_remove(world->graph, images[i]);
    assert_ptr_equal(refreshed(world, base)->deepest_leaf, base);
}

static void creation_is_when_the_parent_froze(void **state)
{
    struct world *world = *state;
    struct image *leaf = add_snapshot(world, "/b", "/a"), *base = add(world, "/a", NULL);
    const char *source;

    base->fingerprint.mtime = T0 + 5000;
    leaf->fingerprint.mtime = T0 + 9000;
    graph_update(world->graph, leaf);
    graph_update(world->graph, base);
    refreshed(world, leaf);
    assert_int_equal(graph_layer_created(world->graph, leaf, &source), T0_USEC + 5);
    assert_string_equal(source, "parent-mtime");
    assert_int_equal(graph_layer_created(world->graph, base, &source), T0_USEC);
    assert_string_equal(source, "birth-time");
    base->identity.btime = 0;
    assert_int_equal(graph_layer_created(world->graph, base, &source), T0_USEC + 5);
    assert_string_equal(source, "mtime");
    base->fingerprint.mtime = -5;
    assert_int_equal(graph_layer_created(world->graph, base, NULL), 0);
}

static void names_are_found(void **state)
{
    struct world *world = *state;
    struct image *found[4], *gone = add(world, "/2/x.qcow2", NULL);

    add(world, "/1/x.qcow2", NULL);
    add(world, "/1/y.qcow2", NULL);
    gone->present = false;
    graph_update(world->graph, gone);
    assert_int_equal(graph_find_name(world->graph, "x.qcow2", found, 4), 1);
    assert_string_equal(found[0]->path, "/1/x.qcow2");
    assert_int_equal(graph_find_name(world->graph, "x.qcow2", found, 0), 0);
    assert_int_equal(graph_find_name(world->graph, "x", found, 4), 0);
}

static unsigned long cpu_msec(void)
{
    return (unsigned long)clock() / (CLOCKS_PER_SEC / 1000);
}

/* A chain whose audits arrive in random order, each followed by a refresh. */
static void long_chain_in_random_order(void **state)
{
    struct world *world = *state;
    enum { N = 10000 };
    unsigned order[N], seed = 1;
    char path[32], parent[32];

    for (unsigned i = 0; i < N; i++) {
        snprintf(path, sizeof(path), "/%05u", i);
        snprintf(parent, sizeof(parent), "/%05u", i - 1);
        make(world, path, i > 0 ? parent : NULL);
        order[i] = i;
    }
    for (unsigned i = N - 1; i > 0; i--) {
        unsigned j = (seed = seed * 1664525 + 1013904223) % (i + 1), t = order[i];

        order[i] = order[j];
        order[j] = t;
    }
    n_told = 0;
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(graph_add(world->graph, world->images[order[i]]), 0);
        assert_int_equal(graph_refresh(world->graph, told, NULL), 0);
    }
    for (unsigned i = 0; i < N; i++) {
        const struct relation *r = graph_relation(world->graph, world->images[i]);

        assert_int_equal(r->depth, i + 1);
        assert_int_equal(r->unconsolidated, i);
        assert_ptr_equal(r->base, world->images[0]);
    }
    /* About n log n; quadratic would be 50 million. */
    assert_in_range(n_told, N, 40 * N);
    print_message("%u layers in random order: %lu relations told, %lu ms since the start\n", N,
                  n_told, cpu_msec());

    /* All of it becomes a loop, and one again. */
    world->images[0]->parent = (struct reference){ .state = REFERENCE_FOUND,
                                                   .path = strdup("/09999") };
    graph_update(world->graph, world->images[0]);
    assert_true(refreshed(world, world->images[N / 2])->in_loop);
    reference_done(&world->images[0]->parent);
    graph_update(world->graph, world->images[0]);
    assert_int_equal(refreshed(world, world->images[N / 2])->depth, N / 2 + 1);
}

static size_t count_children(const struct image *image)
{
    const struct image *child;
    size_t n = 0;

    for (; (child = graph_child(image, n)); n++)
        assert_int_equal(child->path[0], '/');          /* it is alive */
    return n;
}

/* What a reading wakes are the overlays that there are at that moment, whenever the graph was
 * refreshed last. */
static void children_grow_and_shrink_between_refreshes(void **state)
{
    struct world *world = *state;
    enum { N = 300 };
    struct image *gold = add(world, "/gold", NULL), *all[N], *child;
    char path[32];
    size_t n = 0;

    add(world, "/first", "/gold");
    refreshed(world, gold);
    for (unsigned i = 0; i < N; i++) {
        snprintf(path, sizeof(path), "/clone-%03u", i);
        all[i] = add(world, path, "/gold");
        assert_int_equal(count_children(gold), i + 2);
    }
    /* The walk itself changes the graph: each overlay is told of, and half of them leave. */
    for (size_t i = 0; (child = graph_child(gold, i)); i++) {
        assert_int_equal(graph_update(world->graph, child), 0);
        if (child != all[0] && i % 2 == 0) {
            graph_remove(world->graph, child);
            n++;
        }
    }
    assert_in_range(n, N / 4, N);
    assert_int_equal(count_children(gold), N + 1 - n);
    assert_int_equal(refreshed(world, gold)->n_children, N + 1 - n);
    while ((child = graph_child(gold, 0)))
        graph_remove(world->graph, child);
    assert_int_equal(count_children(gold), 0);
    graph_remove(world->graph, gold);
    assert_null(graph_child(gold, 0));
}

/* A relation that was computed before an image was removed, and freed, does not lead to it. */
static void no_relation_names_what_was_removed(void **state)
{
    struct world *world = *state;
    struct image *gold = fixture_image(&world->datastore, "/gold", 1, NULL),
                 *own = add(world, "/own", "/gold"), *other = add(world, "/other", "/gold"),
                 *middle = fixture_image(&world->datastore, "/middle", 2, "/own"),
                 *leaf = add(world, "/leaf", "/middle"), *top = fixture_image(&world->datastore,
                                                                              "/top", 3, "/leaf");
    const struct relation *r;

    assert_int_equal(graph_note_disk_move(world->graph, "/middle", "/own", T0_USEC + DAY), 1);
    assert_int_equal(graph_note_disk_move(world->graph, "/leaf", "/middle", T0_USEC + DAY), 1);
    assert_int_equal(graph_note_disk_move(world->graph, "/top", "/leaf", T0_USEC + DAY), 1);
    graph_add(world->graph, gold);
    graph_add(world->graph, middle);
    graph_add(world->graph, top);
    r = refreshed(world, own);
    assert_ptr_equal(r->deepest_leaf, top);
    assert_ptr_equal(r->golden_layer, gold);
    graph_remove(world->graph, top);
    image_free(top);
    r = graph_relation(world->graph, own);
    assert_true(r->pending && r->deepest_leaf != top && r->own_layer == own);
    assert_int_equal(r->n_children, 1);
    r = graph_relation(world->graph, other);    /* of which nothing changed */
    assert_true(!r->pending && r->parent == gold);
    assert_true(graph_relation(world->graph, leaf)->depth == 4);

    graph_remove(world->graph, gold);
    image_free(gold);
    graph_remove(world->graph, middle);
    image_free(middle);
    for (size_t i = 0; i < world->n_images; i++) {
        r = graph_relation(world->graph, world->images[i]);
        assert_true(r->pending && r->base == world->images[i] && !r->parent && !r->golden_layer);
        assert_ptr_equal(r->own_layer, world->images[i]);
        assert_null(r->oldest_unconsolidated);
    }
    /* The next refresh knows better. */
    r = refreshed(world, leaf);
    assert_true(!r->pending && r->depth == 1 && r->base == leaf && r->deepest_leaf == leaf);
    assert_ptr_equal(graph_relation(world->graph, own)->deepest_leaf, own);

    /* Loops have a head. */
    middle = fixture_image(&world->datastore, "/a", 4, "/b");
    graph_add(world->graph, middle);
    own = add(world, "/b", "/a");
    leaf = add(world, "/c", "/b");
    assert_ptr_equal(refreshed(world, leaf)->loop_head, middle);
    graph_remove(world->graph, middle);
    image_free(middle);
    assert_true(graph_relation(world->graph, leaf)->pending);
    assert_null(graph_relation(world->graph, leaf)->loop_head);
    assert_null(refreshed(world, leaf)->loop_head);
}

/* One golden image, 100,000 clones: each arrives, is refreshed, and is updated once more. */
static void many_images(void **state)
{
    struct world *world = *state;
    enum { N = 100000 };
    char path[32];
    struct image *gold = add(world, "/gold", NULL);

    n_told = 0;
    for (unsigned i = 0; i < N; i++) {
        snprintf(path, sizeof(path), "/clone-%06u", i);
        add(world, path, "/gold");
        graph_refresh(world->graph, told, NULL);
    }
    for (unsigned i = 0; i < N; i++) {
        graph_update(world->graph, world->images[i + 1]);
        graph_refresh(world->graph, told, NULL);
    }
    assert_int_equal(graph_relation(world->graph, gold)->n_children, N);
    assert_true(graph_relation(world->graph, gold)->golden);
    assert_in_range(n_told, 2 * N, 5 * N);
    print_message("%u clones: %lu relations told, %lu ms since the start\n", N, n_told, cpu_msec());
    for (unsigned i = 0; i < N; i++)
        graph_remove(world->graph, world->images[i + 1]);
    assert_true(refreshed(world, gold)->leaf);
}

static bool ends_disk(struct graph *graph, const struct image *image)
{
    const struct relation *relation = graph_relation(graph, image);

    if (relation->leaf || relation->golden)
        return relation->leaf;
    for (size_t i = 0; i < relation->n_children; i++)
        if (graph_relation(graph, graph_child(image, i))->kind != RELATION_UNKNOWN)
            return false;
    return true;
}

/* Against a slow and obvious reckoning: random graphs under random changes. */
static void random_changes_agree_with_a_plain_reckoning(void **state)
{
    struct world *world = *state;
    enum { N = 24, ROUNDS = 4000 };
    unsigned seed = 7;
    char path[32], parent[32];
    unsigned kinds[N];

    policy.infer_golden = true;
    for (unsigned i = 0; i < N; i++) {
        snprintf(path, sizeof(path), "/%02u", i);
        add(world, path, NULL);
        /* Each is a snapshot of the one before, should that be its parent. */
        snprintf(parent, sizeof(parent), "/%02u", i - 1);
        if (i > 0)
            assert_int_equal(graph_note_disk_move(world->graph, path, parent, T0_USEC + DAY), 1);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned who = (seed = seed * 1664525 + 1013904223) >> 16,
                 what = (seed = seed * 1664525 + 1013904223) >> 20;
        struct image *image = world->images[who % N];

        if (what % 8 == 0) {
            image->present = !image->present;
        } else if (what % 8 == 1) {
            image->fingerprint.mtime = T0 + (what / 8 % 3) - 1;
        } else if (what % 8 == 2) {
            image->use = image->use == FILES_WRITER ? FILES_UNUSED : FILES_WRITER;
        } else if (what % 8 == 3 && image->node) {
            graph_remove(world->graph, image);
        } else {
            reference_done(&image->parent);
            if (what / 8 % 4 > 0) {
                snprintf(path, sizeof(path), "/%02u", what / 32 % N);
                image->parent = (struct reference){ .state = REFERENCE_FOUND,
                                                    .path = strdup(path) };
            }
        }
        if (image->node)
            graph_update(world->graph, image);
        else if (what % 8 != 3)
            graph_add(world->graph, image);
        if (what % 3 == 0)
            continue;
        graph_refresh(world->graph, told, NULL);
        for (unsigned i = 0; i < N; i++) {
            struct image *layers[N + 1], *layer = world->images[i];
            const struct relation *r = graph_relation(world->graph, layer);
            unsigned depth = 0, own;
            bool golden[N + 1], loop = false;

            if (!r)
                continue;
            while (layer && !loop) {
                unsigned n_overlays = 0;
                bool older = true, snapshot = false;
                struct image *below = NULL;

                for (unsigned j = 0; j < N; j++) {
                    struct image *other = world->images[j];

                    if (other->node && layer->present && other->parent.path &&
                        strcmp(other->parent.path, layer->path) == 0) {
                        if (j > 0 && layer == world->images[j - 1])
                            snapshot = true;
                        else
                            n_overlays++;
                        older &= layer->fingerprint.mtime <= other->identity.btime;
                    }
                    if (other->node && other->present && layer->parent.path &&
                        strcmp(layer->parent.path, other->path) == 0)
                        below = other;
                }
                golden[depth] = !layer->parent.path && n_overlays >= 2 && !snapshot && older &&
                                layer->use != FILES_WRITER;
                layers[depth++] = layer;
                layer = below;
                loop = depth > N;
            }
            assert_int_equal(r->in_loop || r->above_loop, loop);
            assert_int_equal(r->depth, loop ? 0 : depth);
            if (loop)
                continue;
            own = 0;
            while (!golden[own] && own + 1 < depth &&
                   graph_relation(world->graph, layers[own])->kind == RELATION_SNAPSHOT)
                own++;
            assert_ptr_equal(r->own_layer, layers[own]);
            assert_int_equal(r->unconsolidated, own);
            assert_int_equal(r->golden, golden[0]);
            assert_ptr_equal(r->base, layers[depth - 1]);
            assert_ptr_equal(r->oldest_unconsolidated, own > 0 ? layers[own - 1] : NULL);
        }
        for (unsigned i = 0; i < N; i++) {
            const struct relation *r = graph_relation(world->graph, world->images[i]);
            const struct image *deepest = NULL;
            unsigned deepest_layers = 0, n_leaves = 0;

            for (unsigned j = 0; r && j < N; j++) {     /* in order of path */
                const struct relation *other = graph_relation(world->graph, world->images[j]);

                if (!other || !ends_disk(world->graph, world->images[j]) ||
                    other->own_layer != world->images[i])
                    continue;
                n_leaves++;
                if (deepest && other->unconsolidated <= deepest_layers)
                    continue;
                deepest = world->images[j];
                deepest_layers = other->unconsolidated;
            }
            if (r) {
                assert_ptr_equal(r->deepest_leaf, deepest);
                assert_int_equal(r->n_leaves, n_leaves);
            }
            kinds[i] = r ? r->kind : 0;
        }
        /* What was weighed for what changed is what all evidence says. */
        graph_set_policy(world->graph, &policy);
        graph_refresh(world->graph, told, NULL);
        for (unsigned i = 0; i < N; i++)
            if (world->images[i]->node)
                assert_int_equal(graph_relation(world->graph, world->images[i])->kind, kinds[i]);
    }
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

/* Every length up to a few blocks, beside OpenSSL's. */
static void the_hash_is_siphash(void **state)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
    uint8_t secret[16], text[100];
    size_t size = 16;
    OSSL_PARAM params[] = { OSSL_PARAM_construct_size_t("size", &size),
                            OSSL_PARAM_construct_end() };

    assert_non_null(context);
    for (size_t i = 0; i < sizeof(secret); i++)
        secret[i] = (uint8_t)(i * 37 + 5);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)(i * 151 + 201);
    for (size_t n = 0; n <= sizeof(text); n++) {
        struct siphash hash = siphash(secret, text, n);
        uint64_t words[2] = { htole64(hash.low), htole64(hash.high) };
        uint8_t expected[16];
        size_t length;

        assert_int_equal(EVP_MAC_init(context, secret, sizeof(secret), params), 1);
        assert_int_equal(EVP_MAC_update(context, text, n), 1);
        assert_int_equal(EVP_MAC_final(context, expected, &length, sizeof(expected)), 1);
        assert_int_equal(length, sizeof(expected));
        assert_memory_equal(words, expected, sizeof(expected));
    }
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(mac);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(alone),
        TEST(plain_chain),
        TEST(linked_clones_have_nothing_unconsolidated),
        TEST(not_golden), TEST(a_golden_baseline_keeps_the_role),
        TEST(strangers_overlays_count_for_nothing),
        TEST(times_of_a_device_say_nothing),
        TEST(golden_in_the_middle),
        TEST(loops),
        TEST(parents_come_and_go),
        TEST(not_audited_means_pending),
        TEST(first_pass_holds_back_possible_clones),
        TEST(a_change_is_told_to_those_it_concerns),
        TEST(an_own_layer_knows_its_leaves),
        TEST(snapshots_come_and_go_above_one_own_layer),
        TEST(creation_is_when_the_parent_froze),
        TEST(names_are_found),
        TEST(random_changes_agree_with_a_plain_reckoning),
        TEST(long_chain_in_random_order),
        TEST(children_grow_and_shrink_between_refreshes),
        TEST(no_relation_names_what_was_removed),
        TEST(many_images),
        cmocka_unit_test(the_hash_is_siphash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
