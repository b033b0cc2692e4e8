/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What libvirt says of images, by path: who uses them, what changed, and how many domains that
 * takes. */
#include "unit/virt-fixture.h"

#include <stdio.h>
#include <time.h>

#include "lib/cleanup.h"

struct world {
    struct virt_fixture virt;
    struct usage_index *index;
    char changed[400];
    const char *alias_from, *alias_to, *missing;
    struct identity identity;
};

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    fixture_virt_begin(&world->virt);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    usage_index_free(world->index);
    fixture_virt_end(&world->virt);
    free(world);
    return 0;
}

static void look(void *userdata, const char *path, struct usage_file *ret_file)
{
    const struct world *world = userdata;

    if (world->alias_from && strcmp(path, world->alias_from) == 0)
        ret_file->path = world->alias_to;
    ret_file->missing = world->missing && strcmp(path, world->missing) == 0;
    ret_file->known = world->identity.inode != 0;
    ret_file->identity = world->identity;
}

static void build(struct world *world)
{
    struct usage_index *before = world->index;

    assert_int_equal(usage_index_new(fixture_virt_status(&world->virt), before, look, world,
                                     &world->index),
                     0);
    usage_index_free(before);
}

static void one_index(void **state)
{
    struct world *world = *state;
    struct virt_layer layers[] = {
        { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a.s1"), .format = TEXT("qcow2") },
        { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a.qcow2"), .format = TEXT("qcow2"),
          .data_file = TEXT("/vm/a.data") },
    };
    struct virt_layer iso[] = { { .source = VIRT_SOURCE_FILE, .path = TEXT("/iso/x.iso") } };
    struct virt_layer network[] = { { .source = VIRT_SOURCE_NETWORK, .name = TEXT("rbd:pool/x") } };
    struct virt_disk disks[] = {
        { .target = TEXT("vda"), .device = TEXT("disk"), .layers = layers, .n_layers = 2,
          .complete = true },
        { .target = TEXT("hda"), .device = TEXT("cdrom"), .layers = iso, .n_layers = 1 },
        { .target = TEXT("vdb"), .device = TEXT("disk"), .layers = network, .n_layers = 1 },
        { .target = TEXT("vdc"), .device = TEXT("disk") },      /* an empty drive */
    };
    struct virt_snapshot_disk made[] = {
        { .target = TEXT("vda"), .kind = VIRT_SNAPSHOT_EXTERNAL, .path = TEXT("/vm/a.s1"),
          .before = TEXT("/vm/a.qcow2") },
    };
    struct virt_snapshot snapshots[] = {
        { .name = TEXT("s1"), .created = T0_USEC, .disks = made, .n_disks = 1 }
    };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("a"), 1, disks, 4);
    struct usage usage;

    domain->snapshots = snapshots;
    domain->n_snapshots = 1;
    build(world);
    assert_true(usage_is_complete(world->index));

    usage = usage_find(world->index, "/vm/a.s1");
    assert_int_equal(usage.n_entries, 2);
    assert_int_equal(usage_use(&usage), FILES_WRITER);
    assert_ptr_equal(usage_source(&usage)->disk, &disks[0]);
    assert_ptr_equal(usage_writer(&usage)->domain, domain);
    assert_ptr_equal(usage_made(&usage, domain)->snapshot, &snapshots[0]);
    assert_null(usage_made(&usage, &world->virt.domains[7]));

    usage = usage_find(world->index, "/vm/a.qcow2");
    assert_int_equal(usage_use(&usage), FILES_FROZEN);
    assert_null(usage_source(&usage));
    assert_int_equal(usage_layer(&usage)->layer, 1);
    /* A commit writes the layers below. */
    disks[0].job.type = TEXT("active-commit");
    build(world);
    usage = usage_find(world->index, "/vm/a.qcow2");
    assert_int_equal(usage_use(&usage), FILES_WRITER);

    usage = usage_find(world->index, "/iso/x.iso");
    assert_true(usage_is_medium(&usage));
    assert_int_equal(usage_use(&usage), FILES_FROZEN);
    usage = usage_find(world->index, "/vm/a.data");
    assert_int_equal(usage.entries[0].kind, USAGE_FILE);
    usage = usage_find(world->index, "/vm/other");
    assert_int_equal(usage.n_entries, 0);

    /* What cannot be had makes it incomplete. */
    domain->error = TEXT("snapshots: timed out");
    build(world);
    assert_false(usage_is_complete(world->index));
    assert_false(usage_is_complete(NULL));
    usage = usage_find(NULL, "/vm/a.s1");
    assert_int_equal(usage.n_entries, 0);
}

static void note_changed(void *userdata, const char *path)
{
    struct world *world = userdata;

    snprintf(world->changed + strlen(world->changed),
             sizeof(world->changed) - strlen(world->changed), "%s ", path);
}

static void only_changes_are_told(void **state)
{
    struct world *world = *state;
    struct virt_layer a[] = { { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a") } };
    struct virt_layer b[] = { { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/b") } };
    struct virt_layer c[] = { { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/c") } };
    struct virt_disk disk_a = {
        .target = TEXT("vda"), .layers = a, .n_layers = 1, .allocation = 1
    };
    struct virt_disk disk_b = { .target = TEXT("vda"), .layers = b, .n_layers = 1 };
    struct virt_disk disk_c = { .target = TEXT("vda"), .layers = c, .n_layers = 1 };
    struct virt_domain *domain_b;
    struct usage_index *before;

    (void)fixture_domain(&world->virt, TEXT("a"), 1, &disk_a, 1);
    domain_b = fixture_domain(&world->virt, TEXT("b"), 0, &disk_b, 1);
    assert_int_equal(usage_index_new(fixture_virt_status(&world->virt), NULL, NULL, NULL, &before),
                     0);
    usage_index_compare(NULL, before, note_changed, world);
    assert_string_equal(world->changed, "/vm/a /vm/b ");

    /* Figures are no change; a start is, and so is a new domain. */
    disk_a.allocation = 2;
    domain_b->id = 7;
    domain_b->state = VIRT_RUNNING;
    (void)fixture_domain(&world->virt, TEXT("c"), 0, &disk_c, 1);
    build(world);
    world->changed[0] = '\0';
    usage_index_compare(before, world->index, note_changed, world);
    assert_string_equal(world->changed, "/vm/b /vm/c ");
    world->changed[0] = '\0';
    usage_index_compare(world->index, NULL, note_changed, world);
    assert_string_equal(world->changed, "/vm/a /vm/b /vm/c ");
    usage_index_free(before);
}

static void other_names_for_a_file(void **state)
{
    struct world *world = *state;
    struct virt_layer layers[] = { { .source = VIRT_SOURCE_FILE, .path = TEXT("/link/a") } };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = layers, .n_layers = 1 };
    struct usage usage;

    (void)fixture_domain(&world->virt, TEXT("a"), 1, &disk, 1);
    world->alias_from = "/link/a";
    world->alias_to = "/vm/a";
    world->identity.inode = 5;
    build(world);
    usage = usage_find(world->index, "/vm/a");
    assert_non_null(usage_source(&usage));
    assert_string_equal(usage_path(world->index, "/link/a"), "/vm/a");
    assert_string_equal(usage_path(world->index, "/link/b"), "/link/b");
    assert_ptr_equal(usage_of_layer(world->index, &disk, 0), usage_source(&usage));

    /* What was noted at the start of this run stays, whatever lies there later; the next run notes
     * anew. */
    assert_true(usage.entries[0].noted);
    world->identity.inode = 6;
    build(world);
    usage = usage_find(world->index, "/vm/a");
    assert_int_equal(usage.entries[0].identity.inode, 5);
    world->virt.domains[0].id = 2;
    build(world);
    usage = usage_find(world->index, "/vm/a");
    assert_int_equal(usage.entries[0].identity.inode, 6);
    world->missing = "/link/a";
    build(world);
    usage = usage_find(world->index, "/vm/a");
    assert_true(usage.entries[0].missing);
}

static void many_domains(void **state)
{
    enum { DOMAINS = 5000, DISKS = 3 };
    struct world *world = *state;
    struct virt_domain *domains = calloc(DOMAINS, sizeof(*domains));
    struct virt_disk *disks = calloc((size_t)DOMAINS * DISKS, sizeof(*disks));
    struct virt_layer *layers = calloc((size_t)DOMAINS * DISKS, sizeof(*layers));
    char (*paths)[48] = calloc((size_t)DOMAINS * DISKS, sizeof(*paths));
    static char target[] = "vda", name[] = "d";
    struct virt_status *status = fixture_virt_status(&world->virt);
    size_t n_found = 0;

    assert_true(domains && disks && layers && paths);
    for (size_t i = 0; i < (size_t)DOMAINS * DISKS; i++) {
        snprintf(paths[i], sizeof(paths[i]), "/vm/%05zu-%zu.qcow2", (i * 7919) % DOMAINS,
                 i % DISKS);
        layers[i] = (struct virt_layer){ .source = VIRT_SOURCE_FILE, .path = paths[i] };
        disks[i] = (struct virt_disk){ .target = target, .layers = &layers[i], .n_layers = 1 };
    }
    for (size_t i = 0; i < DOMAINS; i++)
        domains[i] = (struct virt_domain){
            .name = name, .id = -1, .disks = &disks[i * DISKS], .n_disks = DISKS
        };
    status->domains = domains;
    status->n_domains = DOMAINS;
    assert_int_equal(usage_index_new(status, NULL, NULL, NULL, &world->index), 0);
    for (size_t i = 0; i < (size_t)DOMAINS * DISKS; i++) {
        struct usage usage = usage_find(world->index, paths[i]);

        for (size_t k = 0; k < usage.n_entries; k++)
            n_found += usage.entries[k].disk == &disks[i];
    }
    assert_int_equal(n_found, DOMAINS * DISKS);
    world->index = usage_index_free(world->index);
    (void)fixture_virt_status(&world->virt);
    free(domains);
    free(disks);
    free(layers);
    free(paths);
}

static void a_domain_as_a_subject(void **state)
{
    struct world *world = *state;
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web 1"), 0, NULL, 0);
    char *subject = usage_domain_subject(fixture_virt_status(&world->virt), domain);

    assert_string_equal(subject, "web 1 on " URI);
    free(subject);
}

/* Anything but figures makes another status of it. */
static void what_says_the_same(void **state)
{
    static const char *const differences[] = {
        "nothing", "a figure", "a version", "a UUID", "a domain less", "not connected",
        "not complete", "left out",
    };
    char name[] = "web";

    for (size_t i = 0; i < ELEMENTSOF(differences); i++) {
        struct virt_fixture before, now;
        struct virt_status *a, *b;
        bool same = i < 2, linked = i < 5 || i == 7;

        fixture_virt_begin(&before);
        fixture_virt_begin(&now);
        for (size_t k = 0; k < 2; k++) {
            fixture_domain(&before, name, 1, NULL, 0);
            fixture_domain(&now, name, 1, NULL, 0);
        }
        a = fixture_virt_status(&before);
        b = fixture_virt_status(&now);
        now.domains[1].memory_max += i == 1;
        now.domains[1].version += i == 2;
        now.domains[1].uuid[0] = i == 3 ? 'f' : before.domains[1].uuid[0];
        b->n_domains -= i == 4;
        b->connections[0].connected = i != 5;
        b->connections[0].complete = i != 6;
        b->connections[0].n_left_out = i == 7;
        if (virt_status_equal(a, b) != same || virt_status_equal(b, a) != same)
            fail_msg("%s", differences[i]);
        assert_int_equal(virt_connections_equal(a, b), linked);
        fixture_virt_end(&before);
        fixture_virt_end(&now);
    }
    assert_false(virt_status_equal(NULL, NULL));
    assert_true(virt_connections_equal(NULL, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_index, setup, teardown),
        cmocka_unit_test_setup_teardown(only_changes_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(other_names_for_a_file, setup, teardown),
        cmocka_unit_test_setup_teardown(many_domains, setup, teardown),
        cmocka_unit_test_setup_teardown(a_domain_as_a_subject, setup, teardown),
        cmocka_unit_test(what_says_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
