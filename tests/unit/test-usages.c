/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is made of libvirt's answers: paths that are looked up, what changed from one of its words
 * to the next, and which domains are to be judged. A daemon in the memory is around it. */
#include "unit/virt-fixture.h"

#include <stdio.h>

#include "lib/cleanup.h"

#define ASKED_MAX 80

/* A question to a datastore's helper that waits for its answer. */
struct asked_place {
    char path[64];
    struct datastore *datastore;
    void (*done)(void *place, int error, const char *real_path, const struct files_stat *stat);
    void *place;
};

struct world {
    struct virt_fixture virt, next;     /* libvirt's word, and the one after it */
    struct usages *usages;
    const struct usage_index *index;
    struct image images[4];
    struct audit audit;
    size_t n_images;
    struct datastore stores[3], *all[3];        /* /a, /b, /net */
    size_t n_stores;
    struct asked_place asked[ASKED_MAX];
    size_t n_asked;
    bool refused;               /* no helper takes a question */
    char log[2000];
};

static void note(struct world *world, const char *word, const char *text)
{
    size_t n = strlen(world->log);

    (void)snprintf(world->log + n, sizeof(world->log) - n, "%s%s%s;", word, *text ? " " : "", text);
}

/* What was noted since the last time. */
static void expect_log(struct world *world, const char *log)
{
    assert_string_equal(world->log, log);
    world->log[0] = '\0';
}

static struct image *op_find_image(void *userdata, const char *path)
{
    struct world *world = userdata;

    for (size_t i = 0; i < world->n_images; i++)
        if (world->images[i].present && strcmp(world->images[i].path, path) == 0)
            return &world->images[i];
    return NULL;
}

static struct image *op_find_file(void *userdata, const struct identity *identity)
{
    struct world *world = userdata;

    for (size_t i = 0; i < world->n_images; i++)
        if (identity_equal(&world->images[i].identity, identity))
            return &world->images[i];
    return NULL;
}

static void op_recall(void *userdata, const char *path, const struct identity *identity)
{
    note(userdata, "recall", path);
}

static struct datastore *op_datastore_of(void *userdata, const char *path)
{
    struct world *world = userdata;

    for (size_t i = 0; i < world->n_stores; i++)
        if (strncmp(path, world->stores[i].path, strlen(world->stores[i].path)) == 0)
            return &world->stores[i];
    return NULL;
}

static void op_datastores(void *userdata, struct datastore *const **ret_datastores, size_t *ret_n)
{
    struct world *world = userdata;

    *ret_datastores = world->all;
    *ret_n = world->n_stores;
}

/* A datastore stands for its helper. */
static struct files *helper(struct datastore *datastore)
{
    return (struct files *)datastore;
}

static int op_resolve(void *userdata, struct datastore *datastore, const char *path,
                      void (*done)(void *place, int error, const char *real_path,
                                   const struct files_stat *stat),
                      void *place, struct files **ret_files)
{
    struct world *world = userdata;

    if (world->refused)
        return -ENOTCONN;
    assert_true(world->n_asked < ASKED_MAX);
    world->asked[world->n_asked] = (struct asked_place){ .datastore = datastore, .done = done,
                                                         .place = place };
    (void)snprintf(world->asked[world->n_asked++].path, 64, "%s", path);
    *ret_files = helper(datastore);
    return 0;
}

static void op_soon(void *userdata)
{
    note(userdata, "soon", "");
}

static void op_index(void *userdata, const struct usage_index *index)
{
    ((struct world *)userdata)->index = index;
}

static void op_plan(void *userdata, struct image *image, bool unused)
{
    note(userdata, unused ? "unused" : "used", image->path);
}

static void op_disk_moved(void *userdata, const char *overlay, const char *parent)
{
    char text[200];

    (void)snprintf(text, sizeof(text), "%s on %s", overlay, parent);
    note(userdata, "moved", text);
}

static void op_domain_gone(void *userdata, const char *subject)
{
    note(userdata, "gone", subject);
}

static void op_judge(void *userdata)
{
    note(userdata, "judge", "");
}

static const struct usages_ops ops = {
    .find_image = op_find_image, .find_file = op_find_file, .recall = op_recall,
    .datastore_of = op_datastore_of, .datastores = op_datastores, .resolve = op_resolve,
    .soon = op_soon, .index = op_index, .plan = op_plan, .disk_moved = op_disk_moved,
    .domain_gone = op_domain_gone, .judge = op_judge,
};

static int setup(void **state)
{
    static const char *const paths[] = { "/a/", "/b/", "/net/" };
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    fixture_virt_begin(&world->virt);
    fixture_virt_begin(&world->next);
    for (world->n_stores = 0; world->n_stores < 3; world->n_stores++) {
        struct datastore *store = &world->stores[world->n_stores];

        world->all[world->n_stores] = store;
        *store = (struct datastore){ .path = (char *)(uintptr_t)paths[world->n_stores],
                                     .state = DATASTORE_ONLINE, .walk_finished = T0_USEC };
    }
    world->stores[2].root.network = true;
    assert_int_equal(usages_new(&ops, world, &world->usages), 0);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    world->usages = usages_free(world->usages);
    fixture_virt_end(&world->virt);
    fixture_virt_end(&world->next);
    free(world);
    return 0;
}

static struct image *add_image(struct world *world, char *path, uint64_t inode)
{
    struct image *image = &world->images[world->n_images++];

    *image = (struct image){ .path = path, .present = true, .audit = &world->audit,
                             .identity = { .inode = inode } };
    return image;
}

static void take(struct world *world, struct virt_fixture *virt)
{
    usages_take(world->usages, fixture_virt_status(virt));
}

/* A domain with one disk whose source has that path. */
struct disk_of {
    struct virt_layer layers[2];
    struct virt_disk disk;
};

static struct virt_domain *one_disk(struct virt_fixture *virt, struct disk_of *of, char *name,
                                    int id, char *path)
{
    of->layers[0] = (struct virt_layer){ .source = VIRT_SOURCE_FILE, .path = path };
    of->disk = (struct virt_disk){ .target = (char *)(uintptr_t)"vda",
                                   .device = (char *)(uintptr_t)"disk", .layers = of->layers,
                                   .n_layers = 1, .complete = true };
    return fixture_domain(virt, name, id, &of->disk, 1);
}

/* The i-th question is answered: real NULL with an error. */
static void answer(struct world *world, size_t i, int error, const char *real, uint64_t inode)
{
    const struct files_stat stat = { .inode = inode };

    world->asked[i].done(world->asked[i].place, error, real, error == 0 ? &stat : NULL);
}

static const struct usage_entry *entry(const struct world *world, const char *path)
{
    struct usage usage = usage_find(world->index, path);

    return usage.n_entries > 0 ? &usage.entries[0] : NULL;
}

/* ---- paths ----------------------------------------------------------------------------------- */

static void a_known_path_is_not_looked_up(void **state)
{
    struct world *world = *state;
    struct disk_of of;

    add_image(world, TEXT("/a/x"), 7);
    one_disk(&world->virt, &of, TEXT("web"), 1, TEXT("/a/x"));
    take(world, &world->virt);
    assert_int_equal(world->n_asked, 0);
    assert_non_null(entry(world, "/a/x"));
    expect_log(world, "used /a/x;judge;");
}

static void a_path_is_missing_or_not(void **state)
{
    static const struct { int error; bool missing; } rows[] = {
        { -ENOENT, true }, { -ENOTDIR, true }, { -EACCES, false }, { -ETIMEDOUT, false },
    };
    struct world *world = *state;
    struct disk_of of;

    one_disk(&world->virt, &of, TEXT("web"), 1, TEXT("/a/x"));
    take(world, &world->virt);
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        assert_int_equal(world->n_asked, i + 1);
        assert_string_equal(world->asked[i].path, "/a/x");
        assert_ptr_equal(world->asked[i].datastore, &world->stores[0]);
        assert_int_equal(entry(world, "/a/x")->pending, i == 0);
        answer(world, i, rows[i].error, NULL, 0);
        usages_make(world->usages);
        assert_int_equal(entry(world, "/a/x")->missing, rows[i].missing);
        assert_false(entry(world, "/a/x")->pending);
        usages_datastore_walked(world->usages, &world->stores[0]);
    }
}

static void a_path_leads_elsewhere(void **state)
{
    struct world *world = *state;
    struct disk_of of;
    struct image *image = add_image(world, TEXT("/a/real"), 7);

    one_disk(&world->virt, &of, TEXT("web"), 1, TEXT("/a/link"));
    take(world, &world->virt);
    world->log[0] = '\0';
    answer(world, 0, 0, "/a/real", 7);
    expect_log(world, "soon;");
    usages_make(world->usages);
    assert_string_equal(usage_path(world->index, "/a/link"), "/a/real");
    /* The same answer says nothing new. */
    usages_datastore_walked(world->usages, &world->stores[0]);
    usages_make(world->usages);
    world->log[0] = '\0';
    answer(world, 1, 0, "/a/real", 7);
    expect_log(world, "");
    /* The image is called otherwise: it is found by its file. */
    image->path = TEXT("/a/other-name");
    usages_image_changed(world->usages, &(struct image){ .path = TEXT("/a/real") });
    expect_log(world, "soon;");
    usages_make(world->usages);
    assert_string_equal(usage_path(world->index, "/a/link"), "/a/other-name");
    /* It is not there now, and another file is. */
    image->present = false;
    usages_soon(world->usages);
    usages_make(world->usages);
    assert_string_equal(usage_path(world->index, "/a/link"), "/a/real");
    assert_null(strstr(world->log, "recall"));
    usages_datastore_walked(world->usages, &world->stores[0]);
    world->log[0] = '\0';
    answer(world, 2, 0, "/a/real", 8);
    expect_log(world, "soon;");
    usages_make(world->usages);
    assert_non_null(strstr(world->log, "recall /a/real;"));
}

static void most_are_images_as_the_first_walk_shows(void **state)
{
    struct world *world = *state;
    struct disk_of of;

    world->stores[0].walk_finished = 0;
    one_disk(&world->virt, &of, TEXT("web"), 1, TEXT("/a/x"));
    take(world, &world->virt);
    assert_int_equal(world->n_asked, 0);
    world->stores[0].walk_finished = T0_USEC;
    usages_datastore_walked(world->usages, &world->stores[0]);
    assert_int_equal(world->n_asked, 1);
}

/* Who is asked for a path that lies in no datastore. */
static void a_path_in_no_datastore(void **state)
{
    static const struct {
        enum datastore_state a, b, net;
        int error;              /* why a is offline */
        int asked;              /* -1 nobody */
    } rows[] = {
        { DATASTORE_ONLINE, DATASTORE_ONLINE, DATASTORE_ONLINE, 0, 0 },
        { DATASTORE_OFFLINE, DATASTORE_ONLINE, DATASTORE_ONLINE, -ENOENT, 1 },
        { DATASTORE_OFFLINE, DATASTORE_OFFLINE, DATASTORE_ONLINE, -ENOENT, 2 },
        { DATASTORE_OFFLINE, DATASTORE_ONLINE, DATASTORE_ONLINE, -ETIMEDOUT, -1 },
        { DATASTORE_STARTING, DATASTORE_ONLINE, DATASTORE_ONLINE, 0, -1 },
        { DATASTORE_ONLINE, DATASTORE_STARTING, DATASTORE_ONLINE, 0, -1 },
        { DATASTORE_OFFLINE, DATASTORE_OFFLINE, DATASTORE_OFFLINE, -ENOENT, -1 },
    };
    struct world *world = *state;
    struct disk_of of;

    one_disk(&world->virt, &of, TEXT("web"), 1, TEXT("/elsewhere/x"));
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        size_t n = world->n_asked;

        world->stores[0].state = rows[i].a;
        world->stores[1].state = rows[i].b;
        world->stores[2].state = rows[i].net;
        world->stores[0].error = rows[i].error;
        if (i == 0)
            take(world, &world->virt);
        else
            usages_datastore_walked(world->usages, &world->stores[1]);
        assert_int_equal(world->n_asked, rows[i].asked >= 0 ? n + 1 : n);
        if (rows[i].asked < 0)
            continue;
        assert_ptr_equal(world->asked[n].datastore, &world->stores[rows[i].asked]);
        answer(world, n, -EACCES, NULL, 0);
    }
}

/* A network file system is asked where no other is there, whatever the order. */
static void a_local_one_is_asked_first(void **state)
{
    struct world *world = *state;
    struct disk_of of;

    world->stores[0].root.network = world->stores[1].root.network = true;
    world->stores[2].root.network = false;
    one_disk(&world->virt, &of, TEXT("web"), 1, TEXT("/elsewhere/x"));
    take(world, &world->virt);
    assert_int_equal(world->n_asked, 1);
    assert_ptr_equal(world->asked[0].datastore, &world->stores[2]);
}

/* What led into a datastore is looked up by that one's helper the next time. */
static void a_link_into_a_datastore(void **state)
{
    struct world *world = *state;
    struct disk_of of;

    one_disk(&world->virt, &of, TEXT("web"), 1, TEXT("/elsewhere/x"));
    take(world, &world->virt);
    answer(world, 0, 0, "/b/x", 9);
    take(world, &world->virt);
    assert_int_equal(world->n_asked, 2);
    assert_ptr_equal(world->asked[1].datastore, &world->stores[1]);
}

/* A path of a datastore is pending until its helper answers; another one is as it was. */
static void nobody_can_be_asked(void **state)
{
    struct world *world = *state;
    struct disk_of own, none;

    one_disk(&world->virt, &own, TEXT("web"), 1, TEXT("/a/x"));
    one_disk(&world->virt, &none, TEXT("db"), 2, TEXT("/elsewhere/x"));
    take(world, &world->virt);
    assert_int_equal(world->n_asked, 2);
    answer(world, 0, -ENOENT, NULL, 0);
    answer(world, 1, -ENOENT, NULL, 0);
    usages_make(world->usages);
    assert_true(entry(world, "/a/x")->missing && entry(world, "/elsewhere/x")->missing);
    world->refused = true;
    usages_datastore_walked(world->usages, &world->stores[0]);
    usages_make(world->usages);
    assert_true(!entry(world, "/a/x")->missing && entry(world, "/a/x")->pending);
    assert_true(entry(world, "/elsewhere/x")->missing && !entry(world, "/elsewhere/x")->pending);
}

static void helpers_that_go_do_not_answer(void **state)
{
    struct world *world = *state;
    struct disk_of of;

    one_disk(&world->virt, &of, TEXT("web"), 1, TEXT("/a/x"));
    take(world, &world->virt);
    usages_files_gone(world->usages, helper(&world->stores[1]));
    usages_datastore_walked(world->usages, &world->stores[0]);
    assert_int_equal(world->n_asked, 1);        /* it is under way still */
    usages_files_gone(world->usages, helper(&world->stores[0]));
    usages_datastore_walked(world->usages, &world->stores[0]);
    assert_int_equal(world->n_asked, 2);
    usages_make(world->usages);
    assert_true(entry(world, "/a/x")->pending);
}

/* What no word of libvirt's mentions is forgotten, unless its answer is to come. */
static void places_are_forgotten(void **state)
{
    struct world *world = *state;
    struct disk_of of;

    one_disk(&world->virt, &of, TEXT("web"), 1, TEXT("/a/x"));
    take(world, &world->virt);
    take(world, &world->next);
    answer(world, 0, -ENOENT, NULL, 0);         /* of a place that is there */
    assert_int_equal(world->n_asked, 2); /* as a new word may have to do with what is there */
    usages_make(world->usages);
    answer(world, 1, -ENOENT, NULL, 0);
    usages_soon(world->usages);
    usages_make(world->usages);
    usages_datastore_walked(world->usages, &world->stores[0]);
    assert_int_equal(world->n_asked, 2);
    world->log[0] = '\0';
    usages_image_changed(world->usages, &(struct image){ .path = TEXT("/a/x") });
    expect_log(world, "");
}

static void not_all_are_asked_at_once(void **state)
{
    struct world *world = *state;
    char paths[40][16];
    struct virt_layer layers[40];
    struct virt_disk disks[40];
    char *const device = TEXT("disk");

    for (size_t i = 0; i < 40; i++) {
        (void)snprintf(paths[i], sizeof(paths[i]), "/a/%02zu", i);
        layers[i] = (struct virt_layer){ .source = VIRT_SOURCE_FILE, .path = paths[i] };
        disks[i] = (struct virt_disk){ .target = paths[i], .device = device,
                                       .layers = &layers[i], .n_layers = 1 };
    }
    fixture_domain(&world->virt, TEXT("web"), 1, disks, 40);
    take(world, &world->virt);
    assert_int_equal(world->n_asked, 32);
    answer(world, 0, -ENOENT, NULL, 0);
    assert_int_equal(world->n_asked, 33);
    usages_files_gone(world->usages, helper(&world->stores[0]));
    usages_datastore_walked(world->usages, &world->stores[0]);
    assert_int_equal(world->n_asked, 33 + 32);
}

static void images_that_come_and_go(void **state)
{
    struct world *world = *state;
    struct disk_of of, other;

    add_image(world, TEXT("/a/x"), 7);
    one_disk(&world->virt, &of, TEXT("web"), 1, TEXT("/a/x"));
    one_disk(&world->virt, &other, TEXT("db"), 2, TEXT("/a/y"));
    take(world, &world->virt);
    world->log[0] = '\0';
    usages_image_changed(world->usages, &world->images[0]);
    expect_log(world, "soon;");
    usages_image_changed(world->usages, &(struct image){ .path = TEXT("/a/y") });
    expect_log(world, "soon;");
    usages_image_changed(world->usages, &(struct image){ .path = TEXT("/a/z") });
    expect_log(world, "");
}

/* No domain has the path any more, and its answer is still to come: that is a place that an image
 * may come to, and so is where it led. */
static void an_image_comes_to_a_place(void **state)
{
    struct world *world = *state;
    struct disk_of of;

    one_disk(&world->virt, &of, TEXT("web"), 1, TEXT("/a/link"));
    take(world, &world->virt);
    answer(world, 0, 0, "/a/real", 7);
    usages_datastore_walked(world->usages, &world->stores[0]);
    take(world, &world->next);
    assert_null(entry(world, "/a/link"));
    world->log[0] = '\0';
    usages_image_changed(world->usages, &(struct image){ .path = TEXT("/a/link") });
    expect_log(world, "soon;");
    usages_image_changed(world->usages, &(struct image){ .path = TEXT("/a/real") });
    expect_log(world, "soon;");
    usages_image_changed(world->usages, &(struct image){ .path = TEXT("/a/rea") });
    expect_log(world, "");
}

/* ---- what changed ---------------------------------------------------------------------------- */

static void a_domain_that_is_off_uses_nothing(void **state)
{
    struct world *world = *state;
    struct disk_of of;

    add_image(world, TEXT("/a/x"), 7);
    one_disk(&world->virt, &of, TEXT("web"), 0, TEXT("/a/x"));
    take(world, &world->virt);
    expect_log(world, "judge;");
}

static void used_otherwise(void **state)
{
    struct world *world = *state;
    struct disk_of of, off;
    struct virt_domain *domain;

    add_image(world, TEXT("/a/x"), 7);
    add_image(world, TEXT("/a/none"), 8)->audit = NULL;
    one_disk(&world->virt, &of, TEXT("web"), 1, TEXT("/a/x"));
    one_disk(&world->virt, &(struct disk_of){ .disk = { .n_layers = 0 } }, TEXT("db"), 1,
             TEXT("/a/none"));
    take(world, &world->virt);
    expect_log(world, "used /a/x;judge;");      /* what was not audited is due anyway */
    take(world, &world->virt);
    expect_log(world, "");                      /* the same word */
    domain = one_disk(&world->next, &off, TEXT("web"), 0, TEXT("/a/x"));
    domain->version = 2;
    take(world, &world->next);
    assert_non_null(strstr(world->log, "unused /a/x;"));
    assert_null(strstr(world->log, "/a/none"));
}

/* Which change of a disk is told as its move from one image to another. */
static void disks_move(void **state)
{
    static const struct {
        const char *before, *now, *below, *device;
        bool transient;
        int id_before, id_now;
        bool same_version, moved;
    } rows[] = {
        { "/a/base", "/a/over", NULL, "disk", false, 1, 1, false, true },
        { "/a/base", "/a/over", "/a/base", "disk", false, 1, 1, false, true },
        { "/a/base", "/a/over", "/a/else", "disk", false, 1, 1, false, false },
        { "/a/base", "/a/over", NULL, "disk", true, 1, 1, false, false },
        { "/a/base", "/a/over", NULL, "cdrom", false, 1, 1, false, false },
        { "/a/base", "/a/base", NULL, "disk", false, 1, 1, false, false },
        { "/a/base", "/a/over", NULL, "disk", false, 1, 2, false, false },     /* started again */
        { "/a/base", "/a/over", NULL, "disk", false, 0, 1, false, false },
        { "/a/base", "/a/over", NULL, "disk", false, 0, 0, false, true },      /* redefined */
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct disk_of before, now;
        struct virt_domain *domain;
        struct world *world;

        if (i > 0) {
            assert_int_equal(teardown(state), 0);
            assert_int_equal(setup(state), 0);
        }
        world = *state;
        one_disk(&world->virt, &before, TEXT("web"), rows[i].id_before,
                 (char *)(uintptr_t)rows[i].before);
        domain = one_disk(&world->next, &now, TEXT("web"), rows[i].id_now,
                          (char *)(uintptr_t)rows[i].now);
        domain->version = 2;
        now.disk.device = (char *)(uintptr_t)rows[i].device;
        now.disk.transient = rows[i].transient;
        if (rows[i].below) {
            now.layers[1] = (struct virt_layer){ .source = VIRT_SOURCE_FILE,
                                                 .path = (char *)(uintptr_t)rows[i].below };
            now.disk.n_layers = 2;
        }
        take(world, &world->virt);
        take(world, &world->next);
        if (!!strstr(world->log, "moved /a/over on /a/base;") != rows[i].moved)
            fail_msg("row %zu: %s", i, world->log);
    }
}

/* ---- the domains ----------------------------------------------------------------------------- */

static void each(void *userdata, const struct virt_status *status, const struct virt_domain *domain,
                 uint64_t *ret_again)
{
    note(userdata, "domain", domain->name);
    *ret_again = domain->memory_max;    /* the test's word for it */
}

static void judge_all(struct world *world, uint64_t now, uint64_t again)
{
    uint64_t earliest = UINT64_MAX;

    world->log[0] = '\0';
    assert_false(usages_each_dirty(world->usages, now, &earliest, each, world));
    assert_true(earliest == again);
}

static void domains_are_judged_when_they_changed(void **state)
{
    struct world *world = *state;
    struct disk_of a, b, c, a2, b2, c2;

    add_image(world, TEXT("/a/x"), 7);
    one_disk(&world->virt, &a, TEXT("one"), 1, TEXT("/a/x"))->memory_max = 1000;
    one_disk(&world->virt, &b, TEXT("two"), 2, TEXT("/a/y"))->memory_max = 2000;
    one_disk(&world->virt, &c, TEXT("three"), 3, TEXT("/a/z"))->memory_max = UINT64_MAX;
    take(world, &world->virt);
    judge_all(world, 10, 1000);
    expect_log(world, "domain one;domain two;domain three;");
    judge_all(world, 20, 1000);
    expect_log(world, "");
    judge_all(world, 1000, 1000);       /* its time came, and it says the same again */
    expect_log(world, "domain one;");
    usages_image_judged(world->usages, &world->images[0]);
    judge_all(world, 20, 1000);
    expect_log(world, "domain one;");
    usages_image_judged(world->usages, &(struct image){ .path = TEXT("/a/nothing") });
    judge_all(world, 20, 1000);
    expect_log(world, "");
    /* The second changed, the third is called otherwise; the first waits as it did. */
    one_disk(&world->next, &a2, TEXT("one"), 1, TEXT("/a/x"));
    one_disk(&world->next, &b2, TEXT("two"), 2, TEXT("/a/y"))->version = 2;
    one_disk(&world->next, &c2, TEXT("drei"), 3, TEXT("/a/z"));
    world->next.domains[1].memory_max = UINT64_MAX;
    world->log[0] = '\0';
    usages_soon(world->usages);
    take(world, &world->next);
    assert_non_null(strstr(world->log, "gone three on " URI ";"));
    judge_all(world, 20, 1000);
    assert_null(strstr(world->log, "domain one;"));
    assert_non_null(strstr(world->log, "domain two;"));
}

static void domains_come_and_go(void **state)
{
    struct world *world = *state;
    struct disk_of a, b, b2, c2;

    one_disk(&world->virt, &a, TEXT("one"), 1, TEXT("/a/x"));
    one_disk(&world->virt, &b, TEXT("two"), 2, TEXT("/a/y"));
    take(world, &world->virt);
    judge_all(world, 10, world->virt.domains[0].memory_max);
    world->next.n_domains = 1;          /* the first is not there any more, by its UUID */
    one_disk(&world->next, &b2, TEXT("two"), 2, TEXT("/a/y"));
    one_disk(&world->next, &c2, TEXT("three"), 3, TEXT("/a/z"));
    world->next.domains[0] = world->next.domains[1];
    world->next.domains[1] = world->next.domains[2];
    world->next.n_domains = 2;
    world->log[0] = '\0';
    take(world, &world->next);
    assert_non_null(strstr(world->log, "gone one on " URI ";"));
    assert_null(strstr(world->log, "gone two"));
    judge_all(world, 10, world->virt.domains[0].memory_max);
    expect_log(world, "domain three;");
}

/* Another connection's word may be what was awaited of all. */
static void all_are_judged_when_a_connection_comes(void **state)
{
    struct world *world = *state;
    struct disk_of a, a2;

    one_disk(&world->virt, &a, TEXT("one"), 1, TEXT("/a/x"));
    take(world, &world->virt);
    judge_all(world, 10, world->virt.domains[0].memory_max);
    one_disk(&world->next, &a2, TEXT("one"), 1, TEXT("/a/x"));
    world->next.status->connections[0].complete = false;
    take(world, &world->next);
    judge_all(world, 10, world->virt.domains[0].memory_max);
    expect_log(world, "domain one;");
}

/* In one go there are 500. */
static void the_loop_has_other_things_to_do(void **state)
{
    struct world *world = *state;
    struct virt_domain *many = calloc(501, sizeof(*many));
    uint64_t again = UINT64_MAX;

    assert_non_null(many);
    for (size_t i = 0; i < 501; i++) {
        many[i] = (struct virt_domain){ .name = (char *)(uintptr_t)"x", .id = -1,
                                         .memory_max = UINT64_MAX };
        (void)snprintf(many[i].uuid, sizeof(many[i].uuid), "%03zu", i);
    }
    world->virt.status->domains = many;
    world->virt.status->n_domains = 501;
    usages_take(world->usages, world->virt.status);
    assert_true(usages_each_dirty(world->usages, 10, &again, each, world));
    world->log[0] = '\0';
    assert_false(usages_each_dirty(world->usages, 0, &(uint64_t){ UINT64_MAX }, each, world));
    assert_non_null(strstr(world->log, "domain x;"));
    world->usages = usages_free(world->usages);
    free(many);
}

static void without_libvirt_nothing_happens(void **state)
{
    uint64_t again = 5;

    usages_take(NULL, NULL);
    usages_soon(NULL);
    usages_make(NULL);
    usages_image_changed(NULL, &(struct image){ .path = TEXT("/a/x") });
    usages_image_judged(NULL, &(struct image){ .path = TEXT("/a/x") });
    usages_datastore_walked(NULL, NULL);
    usages_files_gone(NULL, NULL);
    assert_null(usages_index(NULL));
    assert_false(usages_each_dirty(NULL, 10, &again, each, NULL));
    assert_int_equal(again, 5);
    assert_null(usages_free(NULL));
}

int main(void)
{
#define T(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    static const struct CMUnitTest tests[] = {
        T(a_known_path_is_not_looked_up), T(a_path_is_missing_or_not), T(a_path_leads_elsewhere),
        T(most_are_images_as_the_first_walk_shows), T(a_path_in_no_datastore),
        T(a_local_one_is_asked_first), T(a_link_into_a_datastore), T(nobody_can_be_asked),
        T(helpers_that_go_do_not_answer), T(places_are_forgotten), T(not_all_are_asked_at_once),
        T(images_that_come_and_go), T(an_image_comes_to_a_place),
        T(a_domain_that_is_off_uses_nothing), T(used_otherwise), T(disks_move),
        T(domains_are_judged_when_they_changed), T(domains_come_and_go),
        T(all_are_judged_when_a_connection_comes), T(the_loop_has_other_things_to_do),
        cmocka_unit_test(without_libvirt_nothing_happens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
