/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is left over: only where libvirt names owners, never what an unread reference could mean,
 * and whole chains at once. */
#include "unit/store-fixture.h"

#include <stdio.h>

#include "daemon/config/config.h"
#include "daemon/judge/judge.h"
#include "daemon/remedy/remedy.h"
#include "helpers/clock.h"
#include "unit/virt-fixture.h"

#define NOW (T0_USEC + 2 * HOUR)
#define OLD "/vm/old.qcow2"

static char web_name[] = "web", other_domain[] = "other", raw[] = "raw", qcow2[] = "qcow2";

struct world {
    struct fixture_store store;
    struct config *config;
    struct virt_fixture virt;
    struct virt_layer layers[4];
    struct virt_disk disks[4];
    struct usage_index *index;
    struct judgement judgement;
    const char *missing, *pending;
    struct image *web, *old, *other;
};

static struct image *add(struct world *world, const char *path, const char *parent)
{
    struct image *image = fixture_store_add(&world->store, path, parent, NOW - HOUR);

    image->audit->identity = image->identity;
    return image;
}

static struct virt_domain *domain(struct world *world, char *name, const char *path, char *format)
{
    static char vda[] = "vda", disk[] = "disk";
    size_t i = world->virt.n_domains;

    world->layers[i] = (struct virt_layer){ .source = VIRT_SOURCE_FILE, .path = strdup(path),
                                            .format = format };
    world->disks[i] = (struct virt_disk){ .target = vda, .device = disk,
                                          .layers = &world->layers[i], .n_layers = 1 };
    return fixture_domain(&world->virt, name, 0, &world->disks[i], 1);
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    assert_int_equal(config_new(&world->config), 0);
    fixture_store_begin(&world->store, "vm", "/vm", &world->config->policy);
    fixture_virt_begin(&world->virt);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    judgement_done(&world->judgement);
    fixture_store_end(&world->store);
    usage_index_free(world->index);
    for (size_t i = 0; i < world->virt.n_domains; i++)
        free(world->layers[i].path);
    fixture_virt_end(&world->virt);
    config_free(world->config);
    free(world);
    return 0;
}

static void look(void *userdata, const char *path, struct usage_file *ret_file)
{
    const struct world *world = userdata;

    ret_file->missing = world->missing && strcmp(path, world->missing) == 0;
    ret_file->pending = world->pending && strcmp(path, world->pending) == 0;
}

static void refresh(struct world *world)
{
    struct usage_index *before = world->index;

    assert_int_equal(usage_index_new(fixture_virt_status(&world->virt), before, look, world,
                                     &world->index),
                     0);
    graph_set_usage(world->store.graph, world->index);
    usage_index_free(before);
    assert_int_equal(graph_refresh(world->store.graph, NULL, NULL), 0);
}

static const struct condition *orphan(struct world *world, const struct image *image)
{
    judgement_done(&world->judgement);
    assert_int_equal(judge_image(&world->config->policy, world->store.graph, image, NULL, NOW,
                                 &world->judgement),
                     0);
    for (size_t i = 0; i < world->judgement.conditions.n_items; i++)
        if (world->judgement.conditions.items[i].type == FINDING_ORPHAN)
            return &world->judgement.conditions.items[i];
    return NULL;
}

static void updated(struct world *world, struct image *image)
{
    assert_int_equal(graph_update(world->store.graph, image), 0);
}

/* ---- references that could mean it ----------------------------------------------------------- */

static void refers(struct world *world, enum reference_state state, const char *stored,
                   const char *format)
{
    reference_done(&world->other->parent);
    world->other->parent = (struct reference){ .state = state, .stored = strdup(stored),
                                               .format = format ? strdup(format) : NULL };
    updated(world, world->other);
}

static void has_former(struct world *world, uint64_t inode, uint64_t size)
{
    former_free(world->other->former);
    world->other->former = calloc(1, sizeof(*world->other->former));
    assert_non_null(world->other->former);
    world->other->former->path = strdup("/vm/base.qcow2");
    world->other->former->identity = (struct identity){ 1, inode, T0 };
    world->other->former->size = size;
    updated(world, world->other);
}

static struct layer_report *layer_of(struct image *image)
{
    return &image->audit->report->layers[0];
}

static void nothing(struct world *world)
{
}

static void missing(struct world *world)
{
    refers(world, REFERENCE_MISSING, "gone.qcow2", "qcow2");
}

static void missing_undeclared(struct world *world)
{
    refers(world, REFERENCE_MISSING, "gone.qcow2", NULL);
}

static void missing_raw(struct world *world)
{
    refers(world, REFERENCE_MISSING, "gone.img", "raw");
}

static void missing_elsewhere(struct world *world)
{
    refers(world, REFERENCE_MISSING, "/other/store/gone.qcow2", "qcow2");
}

static void was_this_file(struct world *world)
{
    missing(world);
    has_former(world, world->old->identity.inode, 77);
}

static void was_of_this_size(struct world *world)
{
    missing(world);
    has_former(world, 7777, world->old->fingerprint.size);
}

static void was_another_file(struct world *world)
{
    missing(world);
    has_former(world, 7777, 77);
}

/* The size is this one's, too, but the file itself is there under another name. */
static void was_a_file_that_was_renamed(struct world *world)
{
    missing(world);
    world->web->fingerprint.size = world->old->fingerprint.size;
    updated(world, world->web);
    has_former(world, world->web->identity.inode, world->old->fingerprint.size);
    world->other->former->identity = world->web->identity;
    updated(world, world->other);
}

static void was_of_this_name(struct world *world)
{
    refers(world, REFERENCE_MISSING, "elsewhere/old.qcow2", "qcow2");
    has_former(world, 7777, 77);
}

static void remote(struct world *world)
{
    refers(world, REFERENCE_IS_REMOTE, "json:{\"file.filename\":\"o\\u006cd.qcow2\"}", "qcow2");
}

static void by_url(struct world *world)
{
    refers(world, REFERENCE_IS_REMOTE, "nbd://localhost/", "qcow2");
}

static void escapes_by_name(struct world *world)
{
    refers(world, REFERENCE_ESCAPES, "/mnt/bound/old.qcow2", "qcow2");
}

static void escapes_elsewhere(struct world *world)
{
    refers(world, REFERENCE_ESCAPES, "/mnt/bound/unlike.qcow2", "qcow2");
}

static void unreachable(struct world *world)
{
    refers(world, REFERENCE_UNREACHABLE, "/nfs/base.qcow2", "qcow2");
}

static void loop(struct world *world)
{
    refers(world, REFERENCE_FOUND, "other.qcow2", "qcow2");
    world->other->parent.path = strdup(world->other->path);
    world->other->parent.identity = world->other->identity;
    updated(world, world->other);
}

static void loop_after_this(struct world *world)
{
    loop(world);
    has_former(world, world->old->identity.inode, 0);
}

static void loop_after_another(struct world *world)
{
    loop(world);
    has_former(world, 7777, 77);
}

static void unreadable(struct world *world)
{
    world->other->audit->report->error = -EIO;
    updated(world, world->other);
}

static void not_opened(struct world *world)
{
    world->other->audit->report->n_layers = 0;
    updated(world, world->other);
    world->other->audit->report->n_layers = 1;          /* freed as it was made */
}

static void unreadable_overlay_of_this(struct world *world)
{
    refers(world, REFERENCE_FOUND, OLD, "qcow2");
    world->other->parent.path = strdup(OLD);
    world->other->parent.identity = world->old->identity;
    unreadable(world);
}

static void unreadable_after_another(struct world *world)
{
    has_former(world, 7777, 77);
    unreadable(world);
}

static void overwritten(struct world *world)
{
    layer_of(world->other)->probed_format = layer_of(world->other)->info.format = QCA_FORMAT_RAW;
    updated(world, world->other);
}

static void raw_by_definition(struct world *world)
{
    (void)domain(world, other_domain, world->other->path, raw);
    refresh(world);
    overwritten(world);
}

static void data_file_missing(struct world *world)
{
    world->other->data_file = (struct reference){ .state = REFERENCE_MISSING,
                                                  .stored = strdup("gone.raw") };
    updated(world, world->other);
}

static void other_name(struct world *world)
{
    world->old->fingerprint.links = 2;
}

static void disk_outside(struct world *world)
{
    (void)domain(world, other_domain, "/home/ada/x.qcow2", qcow2);
}

static void raw_disk_outside(struct world *world)
{
    (void)domain(world, other_domain, "/home/ada/x.img", raw);
}

static void disk_missing(struct world *world)
{
    world->missing = "/vm/lost.qcow2";
    (void)domain(world, other_domain, world->missing, qcow2);
}

static void disk_missing_by_name(struct world *world)
{
    world->missing = "/vm/before/old.qcow2";
    (void)domain(world, other_domain, world->missing, qcow2);
}

/* Nobody knows yet: nothing is said, and nothing resolved. */
static void not_audited(struct world *world)
{
    world->other->audit = audit_free(world->other->audit);
    updated(world, world->other);
}

static void disk_pending(struct world *world)
{
    world->pending = "/home/ada/x.qcow2";
    (void)domain(world, other_domain, world->pending, qcow2);
}

static void pending(struct world *world)
{
    refers(world, REFERENCE_PENDING, "gone.qcow2", "qcow2");
}

static void folder_unreadable(struct world *world)
{
    world->store.datastore.unreadable = 1;
}

static void never_walked(struct world *world)
{
    world->store.datastore.walk_started = NOW;
}

static void offline(struct world *world)
{
    world->store.datastore.state = DATASTORE_PAUSED;
}

static void references(void **state)
{
    static const struct {
        const char *name;
        void (*make)(struct world *world);
        bool told, unknown;
    } rows[] = {
        { "a real leftover", nothing, true, false },
        { "a missing parent", missing, false, false },
        { "of whatever format", missing_undeclared, false, false },
        { "a missing parent of another format", missing_raw, true, false },
        { "a missing parent in another datastore", missing_elsewhere, false, false },
        { "a renamed parent", was_this_file, false, false },
        { "a copied parent", was_of_this_size, false, false },
        { "a parent that was renamed", was_a_file_that_was_renamed, true, false },
        { "a parent that was another file", was_another_file, true, false },
        { "a parent in another folder", was_of_this_name, false, false },
        { "json:", remote, false, false },
        { "a URL", by_url, false, false },
        { "outside, by another mount perhaps", escapes_by_name, false, false },
        { "outside, and something else", escapes_elsewhere, true, false },
        { "in a datastore that is offline", unreachable, true, false },
        { "a loop", loop, false, false },
        { "a loop whose parent it was", loop_after_this, false, false },
        { "a loop whose parent another one was", loop_after_another, true, false },
        { "an unreadable image", unreadable, false, false },
        { "an image that could not be opened", not_opened, false, false },
        { "below a damaged leaf", unreadable_overlay_of_this, false, false },
        { "a damaged leaf of another one", unreadable_after_another, true, false },
        { "a header that is overwritten", overwritten, false, false },
        { "raw, and meant so", raw_by_definition, true, false },
        { "a missing data file is raw", data_file_missing, true, false },
        { "a name that nobody knows", other_name, false, false },
        { "a disk that nobody reads", disk_outside, false, false },
        { "a raw disk that nobody reads", raw_disk_outside, true, false },
        { "a domain's image is missing", disk_missing, true, false },
        { "and has this name", disk_missing_by_name, false, false },
        { "an image not audited", not_audited, false, true },
        { "a disk that nobody looked for yet", disk_pending, false, true },
        { "a reference not resolved", pending, false, true },
        { "a folder that may not be read", folder_unreadable, false, true },
        { "never walked completely", never_walked, false, true },
        { "not online", offline, false, true },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world *world;
        bool told;

        (void)teardown(state);
        (void)setup(state);
        world = *state;
        world->web = add(world, "/vm/web.qcow2", NULL);
        world->old = add(world, OLD, NULL);
        world->other = add(world, "/vm/other.qcow2", NULL);
        (void)domain(world, web_name, "/vm/web.qcow2", qcow2);
        refresh(world);
        rows[i].make(world);
        refresh(world);
        told = orphan(world, world->old);
        if (told != rows[i].told ||
            world->judgement.judged[FINDING_ORPHAN] != !rows[i].unknown)
            fail_msg("%s: told %d, judged %d", rows[i].name, told,
                     world->judgement.judged[FINDING_ORPHAN]);
        /* The image in use is never told, whatever else there is. */
        assert_null(orphan(world, world->web));
    }
}

/* ---- places ---------------------------------------------------------------------------------- */

static void places(void **state)
{
    static const struct { const char *disk, *path; bool told; } rows[] = {
        { "/vm/web.qcow2", "/vm/old.qcow2", true },
        { "/vm/web.qcow2", "/vm/retired/old.qcow2", true },
        { "/vm/web/web.qcow2", "/vm/old.qcow2", true },
        { "/vm/web/web.qcow2", "/vm/old/old.qcow2", true },
        { "/vm/1b3e/disk", "/vm/2b3e/disk", true },
        { "/vm/web/web.qcow2", "/vm/templates/debian.qcow2", false },
        { "/vm/libvirt/web.qcow2", "/vm/cloudstack/4b1c9a1e", false },
        { "/vm/libvirt/web.qcow2", "/vm/home/ada/.lima/default/basedisk", false },
        { "/elsewhere/web.qcow2", "/vm/old.qcow2", false },
        /* other managers' layouts, whatever lies around them */
        { "/vm/web.qcow2", "/vm/images/100/vm-100-disk-0.qcow2", false },
        { "/vm/images/9/web.qcow2", "/vm/images/100/base-100-disk-0.qcow2", false },
        { "/vm/web.qcow2", "/vm/template/iso/x.img", false },
        { "/vm/web.qcow2", "/vm/unetlab/tmp/0/5d0a/1/virtioa.qcow2", false },
        { "/vm/web.qcow2", "/vm/addons/qemu/win-10/hda.qcow2", false },
        { "/vm/web.qcow2", "/vm/images/QEMU/vEOS.qcow2", false },
        { "/vm/web.qcow2", "/vm/projects/p/project-files/qemu/n/hda_disk.qcow2", false },
        { "/vm/1b3e/disk", "/vm/_base/8c9e5f4e", false },
        { "/vm/web.qcow2", "/vm/.vagrant.d/boxes/x/box.img", false },
        { "/vm/web.qcow2", "/vm/backup/daily.0/web.qcow2", false },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world *world;
        struct image *image;

        (void)teardown(state);
        (void)setup(state);
        world = *state;
        if (strncmp(rows[i].disk, "/vm/", 4) == 0)
            (void)add(world, rows[i].disk, NULL);
        image = add(world, rows[i].path, NULL);
        (void)domain(world, web_name, rows[i].disk, raw);
        refresh(world);
        if ((orphan(world, image) != NULL) != rows[i].told)
            fail_msg("%s beside %s", rows[i].path, rows[i].disk);
        assert_true(world->judgement.judged[FINDING_ORPHAN]);
    }
}

/* A pool's folder is libvirt's, without any domain; a store without libvirt is nobody's. */
static void pools(void **state)
{
    struct world *world = *state;
    struct virt_pool pool = { .name = TEXT("vms"), .type = TEXT("dir"), .path = TEXT("/vm/"),
                              .active = true };
    struct image *old = add(world, OLD, NULL);
    struct virt_pool *pools_before = world->virt.status->pools;

    refresh(world);
    assert_null(orphan(world, old));
    world->virt.status->pools = &pool;
    world->virt.status->n_pools = 1;
    refresh(world);
    assert_non_null(orphan(world, old));
    world->virt.status->pools = pools_before;
    world->virt.status->n_pools = 0;
    graph_set_usage(world->store.graph, NULL);
    assert_int_equal(graph_refresh(world->store.graph, NULL, NULL), 0);
    assert_null(orphan(world, old));
    assert_false(world->judgement.judged[FINDING_ORPHAN]);
}

/* ---- whole chains ---------------------------------------------------------------------------- */

static uint64_t number(const struct condition *condition, const char *key)
{
    json_object *value = NULL;

    return json_object_object_get_ex(condition->evidence, key, &value)
               ? json_object_get_uint64(value) : 0;
}

static const char *summary(const struct condition *condition)
{
    json_object *value = NULL;

    assert_true(json_object_object_get_ex(condition->evidence, "summary", &value));
    return json_object_get_string(value);
}

static void whole_chains(void **state)
{
    struct world *world = *state;
    struct image *base, *first, *second, *third;
    const struct condition *told;

    (void)add(world, "/vm/web.qcow2", NULL);
    (void)domain(world, web_name, "/vm/web.qcow2", qcow2);
    base = add(world, "/vm/c.qcow2", NULL);
    first = add(world, "/vm/c.s1", "/vm/c.qcow2");
    second = add(world, "/vm/c.s2", "/vm/c.s1");
    refresh(world);
    assert_null(orphan(world, second));
    assert_true(world->judgement.judged[FINDING_ORPHAN]);
    assert_null(orphan(world, first));
    told = orphan(world, base);
    assert_non_null(told);
    assert_string_equal(summary(told), "and the 2 layers above it are used by no domain, snapshot "
                                       "or other image, and take 3M");
    assert_int_equal(number(told, "n-layers"), 3);
    assert_int_equal(number(told, "allocated-bytes"), 3 << 20);
    assert_true(graph_is_unused(world->store.graph, second));
    assert_ptr_equal(graph_unused_base(world->store.graph, second), base);

    /* One of them in use: none is left over, but a fork beside it is. */
    second->use = FILES_WRITER;
    third = add(world, "/vm/c.s3", "/vm/c.s1");
    updated(world, second);
    refresh(world);
    assert_null(orphan(world, base));
    assert_null(orphan(world, first));
    assert_null(orphan(world, second));
    assert_non_null(orphan(world, third));
    second->use = FILES_UNUSED;
    third->use = FILES_FROZEN;
    updated(world, second);
    updated(world, third);
    refresh(world);
    assert_null(orphan(world, base));
    assert_non_null(orphan(world, second));
}

/* What is known of one layer by the layout of folders is known of all beside it: a chain is told as
 * a whole, never its leaf alone. */
static void whole_chains_by_layout(void **state)
{
    static const char *const disks[] = { "/vm/web/s2.qcow2", "/vm/web/disk.qcow2" };

    for (size_t i = 0; i < sizeof(disks) / sizeof(disks[0]); i++) {
        struct image *base, *first, *second;
        struct world *world;

        (void)teardown(state);
        (void)setup(state);
        world = *state;
        (void)add(world, disks[i], NULL);
        (void)domain(world, web_name, disks[i], qcow2);
        base = add(world, "/vm/old/disk.qcow2", NULL);
        first = add(world, "/vm/old/s1.qcow2", "/vm/old/disk.qcow2");
        second = add(world, "/vm/old/s2.qcow2", "/vm/old/s1.qcow2");
        refresh(world);
        assert_null(orphan(world, second));
        assert_null(orphan(world, first));
        assert_non_null(orphan(world, base));
        assert_int_equal(number(orphan(world, base), "n-layers"), 3);
    }
}

/* Whoever stands below is told, so that the base is judged when a leaf comes, goes, or is used. */
static void collect(void *userdata, struct image *image)
{
    json_object_object_add(userdata, image->path, json_object_new_boolean(true));
}

static void the_base_is_told(void **state)
{
    struct world *world = *state;
    struct image *leaf;
    json_object *told;

    (void)add(world, "/vm/web.qcow2", NULL);
    (void)domain(world, web_name, "/vm/web.qcow2", qcow2);
    (void)add(world, "/vm/c.qcow2", NULL);
    (void)add(world, "/vm/c.s1", "/vm/c.qcow2");
    leaf = add(world, "/vm/c.s2", "/vm/c.s1");
    refresh(world);
    for (int use = FILES_WRITER; use >= FILES_UNUSED; use--) {
        told = json_object_new_object();
        leaf->use = (enum files_use)use;
        updated(world, leaf);
        assert_int_equal(graph_refresh(world->store.graph, collect, told), 0);
        assert_true(json_object_object_get_ex(told, "/vm/c.qcow2", NULL));
        assert_false(json_object_object_get_ex(told, "/vm/web.qcow2", NULL));
        json_object_put(told);
    }
    /* And what could be left over is, when a doubt comes or goes. */
    world->other = add(world, "/vm/other.qcow2", NULL);
    refresh(world);
    for (int i = 0; i < 2; i++) {
        told = json_object_new_object();
        refers(world, i == 0 ? REFERENCE_MISSING : REFERENCE_NONE, "gone.qcow2", "qcow2");
        assert_int_equal(graph_refresh(world->store.graph, collect, told), 0);
        assert_true(json_object_object_get_ex(told, "/vm/c.qcow2", NULL));
        json_object_put(told);
    }
}

/* A base that was left over is judged again when a domain is defined on its overlay, and when it
 * can be judged at last. */
static void the_base_of_a_disk_is_told(void **state)
{
    struct world *world = *state;
    struct image *base, *leaf;
    json_object *told;

    (void)add(world, "/vm/web.qcow2", NULL);
    (void)domain(world, web_name, "/vm/web.qcow2", qcow2);
    base = add(world, "/vm/c.qcow2", NULL);
    leaf = add(world, "/vm/clone.qcow2", "/vm/c.qcow2");
    refresh(world);
    assert_non_null(orphan(world, base));
    (void)domain(world, other_domain, "/vm/clone.qcow2", qcow2);
    world->pending = "/vm/web.qcow2";
    refresh(world);
    assert_false(graph_knows_owners(world->store.graph, base));
    world->pending = NULL;
    for (int i = 0; i < 2; i++) {
        struct usage_index *before = world->index;

        told = json_object_new_object();
        if (i > 0)
            updated(world, leaf);
        assert_int_equal(usage_index_new(fixture_virt_status(&world->virt), before, look, world,
                                         &world->index),
                         0);
        graph_set_usage(world->store.graph, world->index);
        usage_index_free(before);
        assert_int_equal(graph_refresh(world->store.graph, collect, told), 0);
        assert_true(json_object_object_get_ex(told, "/vm/c.qcow2", NULL));
        json_object_put(told);
    }
    assert_true(graph_knows_owners(world->store.graph, base));
    assert_null(orphan(world, base));
}

/* A definition that is older than the disk names a layer in the middle: what stands on it is the
 * newest data, until the layer is written. */
static void later_states(void **state)
{
    static const struct {
        const char *name, *disk;
        int64_t written;                /* nsec after the overlay was made */
        bool running, told;
    } rows[] = {
        { "below the domain's disk nothing is lost", "/vm/c.s2", 0, false, false },
        { "the disk as it was before", "/vm/c.qcow2", -1, false, false },
        { "as it was, flushed by the snapshot", "/vm/c.qcow2", 5 * NSEC_PER_SEC, false, false },
        { "and by a running domain", "/vm/c.qcow2", -1, true, false },
        { "merged, or written since", "/vm/c.qcow2", 61 * NSEC_PER_SEC, false, true },
        { "written by a guest", "/vm/c.qcow2", NSEC_PER_SEC, true, true },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct image *base, *first, *second;
        struct virt_domain *web;
        struct world *world;

        (void)teardown(state);
        (void)setup(state);
        world = *state;
        base = add(world, "/vm/c.qcow2", NULL);
        first = add(world, "/vm/c.s1", "/vm/c.qcow2");
        second = add(world, "/vm/c.s2", "/vm/c.s1");
        web = domain(world, web_name, rows[i].disk, qcow2);
        if (rows[i].running) {
            web->id = 1;
            web->state = VIRT_RUNNING;
        }
        base->fingerprint.mtime = first->identity.btime + rows[i].written;
        updated(world, base);
        refresh(world);
        if ((orphan(world, first) != NULL) != rows[i].told ||
            graph_is_unused(world->store.graph, second) != rows[i].told)
            fail_msg("%s: not as expected", rows[i].name);
        assert_null(orphan(world, second));
        assert_null(orphan(world, base));
    }
}

/* ---- disks of VMware's ----------------------------------------------------------------------- */

/* A definition that names the file. */
static struct image *machine(struct world *world, const char *path, const struct image *disk)
{
    struct image *image = add(world, path, NULL);
    struct qca_image_info *info = &layer_of(image)->info;

    info->format = QCA_FORMAT_VMX;
    info->extents = calloc(1, sizeof(*info->extents));
    image->extents.items = calloc(1, sizeof(*image->extents.items));
    assert_true(info->extents && image->extents.items);
    info->extents[0].name = strdup(disk->path);
    image->extents.items[0] = (struct reference){
        .state = REFERENCE_FOUND, .stored = strdup(disk->path), .format = strdup("DISK"),
        .identity = disk->identity,
    };
    info->n_extents = image->extents.n = 1;
    updated(world, image);
    return image;
}

/* Records say it without libvirt; where there is one, it must have been read, too. */
static void beside_a_definition(void **state)
{
    struct world *world = *state;
    struct image *disk = add(world, "/vm/web/web.vmdk", NULL),
                 *old = add(world, "/vm/web/old.vmdk", NULL), *definition;

    assert_int_equal(graph_refresh(world->store.graph, NULL, NULL), 0);
    assert_null(orphan(world, old));
    definition = machine(world, "/vm/web/web.vmx", disk);
    assert_int_equal(graph_refresh(world->store.graph, NULL, NULL), 0);
    assert_non_null(orphan(world, old));
    assert_null(orphan(world, disk));
    world->virt.status->connections[0].complete = false;
    refresh(world);
    assert_null(orphan(world, old));
    world->virt.status->connections[0].complete = true;
    refresh(world);
    assert_non_null(orphan(world, old));
    (void)domain(world, other_domain, "/vm/web/old.vmdk", raw);
    refresh(world);
    assert_null(orphan(world, old));
    char *gone = world->layers[0].path;
    world->virt.n_domains = 0;
    refresh(world);
    free(gone);
    assert_non_null(orphan(world, old));
    /* A disk that is not where the definition has it could be any beside it. */
    definition->extents.items[0].state = REFERENCE_MISSING;
    updated(world, definition);
    refresh(world);
    assert_null(orphan(world, old));
    assert_null(orphan(world, disk));
    /* One that was taken out was thrown away since. */
    free(definition->extents.items[0].format);
    definition->extents.items[0].format = strdup("ABSENT");
    updated(world, definition);
    refresh(world);
    assert_non_null(orphan(world, old));
}

/* Nor does one of somebody else own the disk, or say that nobody does. */
static void beside_a_strangers_definition(void **state)
{
    struct world *world = *state;
    struct image *disk = add(world, "/vm/web/web.vmdk", NULL),
                 *old = add(world, "/vm/web/old.vmdk", NULL),
                 *definition = machine(world, "/vm/web/web.vmx", disk);

    disk->fingerprint.uid = old->fingerprint.uid = 1000;
    updated(world, disk);
    updated(world, old);
    definition->fingerprint.uid = 1001;
    updated(world, definition);
    assert_int_equal(graph_refresh(world->store.graph, NULL, NULL), 0);
    assert_null(orphan(world, old));
    assert_null(orphan(world, disk));
    definition->fingerprint.uid = 1000;
    updated(world, definition);
    assert_int_equal(graph_refresh(world->store.graph, NULL, NULL), 0);
    assert_non_null(orphan(world, old));
    definition = machine(world, "/vm/web/theirs.vmx", old);
    definition->fingerprint.uid = 1001;
    updated(world, definition);
    assert_int_equal(graph_refresh(world->store.graph, NULL, NULL), 0);
    assert_non_null(orphan(world, old));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(references, setup, teardown),
        cmocka_unit_test_setup_teardown(places, setup, teardown),
        cmocka_unit_test_setup_teardown(pools, setup, teardown),
        cmocka_unit_test_setup_teardown(whole_chains, setup, teardown),
        cmocka_unit_test_setup_teardown(whole_chains_by_layout, setup, teardown),
        cmocka_unit_test_setup_teardown(the_base_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(the_base_of_a_disk_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(later_states, setup, teardown),
        cmocka_unit_test_setup_teardown(beside_a_definition, setup, teardown),
        cmocka_unit_test_setup_teardown(beside_a_strangers_definition, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
