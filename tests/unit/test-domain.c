/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of domains and of images in libvirt's light, their roles and remedies: made-up statuses
 * and images. */
#include "unit/remedy-fixture.h"
#include "unit/store-fixture.h"

#include <errno.h>
#include <stdio.h>

#include "daemon/config/config.h"
#include "daemon/control/control.h"
#include "daemon/core/strv.h"
#include "daemon/judge/judge.h"
#include "helpers/clock.h"
#include "unit/virt-fixture.h"
#include "helpers/evidence.h"
#include "provenance/family.h"

#define NOW (T0_USEC + 2 * HOUR)

struct world {
    struct fixture_store store;
    struct config *config;
    struct virt_fixture virt;
    struct usage_index *index;
    struct judgement judgement;
    const char *missing, *pending;
    struct identity identity;
};

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
    fixture_virt_end(&world->virt);
    config_free(world->config);
    free(world);
    return 0;
}

static struct image *add(struct world *world, const char *path, const char *parent)
{
    struct image *image = fixture_store_add(&world->store, path, parent, NOW - HOUR);

    image->audit->identity = image->identity;
    return image;
}

static void look(void *userdata, const char *path, struct usage_file *ret_file)
{
    const struct world *world = userdata;

    ret_file->missing = world->missing && strcmp(path, world->missing) == 0;
    ret_file->pending = world->pending && strcmp(path, world->pending) == 0;
    ret_file->known = world->identity.inode != 0;
    ret_file->identity = world->identity;
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

static const struct condition *condition(const struct world *world, enum finding_type type)
{
    for (size_t i = 0; i < world->judgement.conditions.n_items; i++)
        if (world->judgement.conditions.items[i].type == type)
            return &world->judgement.conditions.items[i];
    return NULL;
}

static const struct condition *of_domain(struct world *world, const struct virt_domain *domain,
                                         enum finding_type type)
{
    judgement_done(&world->judgement);
    assert_int_equal(judge_domain(&world->config->policy, world->store.graph, domain, NOW,
                                  &world->judgement),
                     0);
    return condition(world, type);
}

static const struct condition *of_image(struct world *world, const struct image *image,
                                        enum finding_type type)
{
    judgement_done(&world->judgement);
    assert_int_equal(judge_image(&world->config->policy, world->store.graph, image,
                                 image->audit_before, NOW, &world->judgement),
                     0);
    return condition(world, type);
}

static const char *summary(const struct condition *condition)
{
    assert_non_null(condition);
    return json_object_get_string(json_object_object_get(condition->evidence, "summary"));
}

static const char *remedy_of(struct world *world, enum finding_type type, enum subject_kind kind,
                             char *subject, const struct condition *condition)
{
    static char text[16384];
    struct finding finding = {
        .type = type, .subject_kind = kind, .subject = subject, .evidence = condition->evidence
    };
    json_object *remedy = NULL;

    fixture_remedy(world->store.graph, &finding, &remedy);
    snprintf(text, sizeof(text), "%s",
             remedy ? json_object_to_json_string_ext(remedy, JSON_C_TO_STRING_NOSLASHESCAPE) : "");
    json_object_put(remedy);
    return text;
}

static void assert_told(struct world *world, enum subject_kind kind, const char *subject,
                        const char *expected)
{
    char **domains = NULL, text[400] = "";

    assert_int_equal(query_event_domains(world->store.graph, kind, subject, &domains), 0);
    for (size_t i = 0; domains && domains[i]; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s;", domains[i]);
    strv_free(domains);
    assert_string_equal(text, expected);
}

/* What the journal names with an alert. */
static void whose_alert_it_is(void **state)
{
    struct world *world = *state;
    struct virt_layer a[] = { { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a.s1") } };
    struct virt_layer twice[] = { { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/b") } };
    struct virt_layer gone[] = { { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/gone") } };
    struct virt_disk disks_a[] = {
        { .target = TEXT("vda"), .device = TEXT("disk"), .layers = a, .n_layers = 1 },
        { .target = TEXT("vdb"), .device = TEXT("disk"), .layers = twice, .n_layers = 1 },
        { .target = TEXT("vdc"), .device = TEXT("disk"), .layers = twice, .n_layers = 1 },
    };
    struct virt_disk disks_b[] = {
        { .target = TEXT("vda"), .device = TEXT("disk"), .layers = twice, .n_layers = 1 },
        { .target = TEXT("vdb"), .device = TEXT("disk"), .layers = gone, .n_layers = 1 },
    };

    (void)fixture_domain(&world->virt, TEXT("web"), 0, disks_a, 3);
    (void)fixture_domain(&world->virt, TEXT("web 2"), 3, disks_b, 2);
    (void)add(world, "/vm/a", NULL);
    (void)add(world, "/vm/a.s1", "/vm/a");
    (void)add(world, "/vm/b", NULL);
    (void)add(world, "/vm/unused", NULL);
    refresh(world);

    assert_told(world, SUBJECT_IMAGE, "/vm/a.s1", "web;");
    assert_told(world, SUBJECT_IMAGE, "/vm/a", "web;");         /* shut off: it names the leaf */
    assert_told(world, SUBJECT_IMAGE, "/vm/b", "web 2;web;");   /* the live one first, each once */
    assert_told(world, SUBJECT_IMAGE, "/vm/gone", "web 2;");
    assert_told(world, SUBJECT_IMAGE, "/vm/unused", "");
    assert_told(world, SUBJECT_DATASTORE, "vm", "");
    assert_told(world, SUBJECT_DOMAIN, "web 2 on " URI, "web 2;");
    assert_told(world, SUBJECT_DOMAIN, "put on ice on " URI, "put on ice;");
}

/* The overlay through which a backup is read, from the server within QEMU. */
static void the_overlay_of_a_backup(void **state)
{
    struct world *world = *state;
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 3, NULL, 0);
    struct image *image = add(world, "/vm/backup/vda", "/vm/none");

    image->parent.state = REFERENCE_IS_REMOTE;
    free(image->parent.path);
    free(image->parent.stored);
    image->parent.path = NULL;
    image->parent.stored = strdup("nbd+unix:///vda?socket=/run/backup.sock");
    domain->backup = true;
    refresh(world);
    assert_int_equal(of_image(world, image, FINDING_REFERENCE_REMOTE)->severity, SEVERITY_INFO);
    /* Libvirt may not have told of it yet: it is no error at once. */
    domain->backup = false;
    refresh(world);
    assert_int_equal(of_image(world, image, FINDING_REFERENCE_REMOTE)->severity, SEVERITY_ERROR);
    assert_true(condition(world, FINDING_REFERENCE_REMOTE)->hold > 0);
    domain->id = -1;                            /* nobody runs, and nobody's server is there */
    refresh(world);
    assert_int_equal(of_image(world, image, FINDING_REFERENCE_REMOTE)->hold, 0);
    domain->backup = true;
    domain->id = 3;
    free(image->parent.stored);
    image->parent.stored = strdup("http://example.org/a.img");
    refresh(world);
    assert_int_equal(of_image(world, image, FINDING_REFERENCE_REMOTE)->severity, SEVERITY_ERROR);
    assert_int_equal(condition(world, FINDING_REFERENCE_REMOTE)->hold, 0);
}

/* ---- domains --------------------------------------------------------------------------------- */

static void io_errors(void **state)
{
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 3, &disk, 1);
    const struct condition *found;

    refresh(world);
    assert_null(of_domain(world, domain, FINDING_DOMAIN_IO_ERROR));
    assert_true(world->judgement.judged[FINDING_DOMAIN_IO_ERROR]);
    domain->io_error = true;
    disk.error = TEXT("no-space");
    found = of_domain(world, domain, FINDING_DOMAIN_IO_ERROR);
    assert_string_equal(summary(found), "is paused because of an I/O error: vda: no-space");
    assert_non_null(strstr(remedy_of(world, FINDING_DOMAIN_IO_ERROR, SUBJECT_DOMAIN,
                                     TEXT("web on " URI), found),
                           "virsh -c qemu:///system resume web"));
    /* Nothing is said of a domain whose connection is gone. */
    world->virt.status->connections[0].connected = false;
    refresh(world);
    assert_null(of_domain(world, domain, FINDING_DOMAIN_IO_ERROR));
    assert_false(world->judgement.judged[FINDING_DOMAIN_IO_ERROR]);
}

static void jobs_that_wait(void **state)
{
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a") };
    struct virt_disk disk = {
        .target = TEXT("vda"), .layers = &layer, .n_layers = 1,
        .job = { .type = TEXT("copy"), .ready = true, .ready_since = NOW - 2 * HOUR },
    };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("-x"), 3, &disk, 1);
    const struct condition *found;

    refresh(world);
    found = of_domain(world, domain, FINDING_BLOCK_JOB_STALLED);
    assert_non_null(found);
    assert_int_equal(found->hold, 0);
    /* A name that would be an option is not used. */
    assert_non_null(strstr(remedy_of(world, FINDING_BLOCK_JOB_STALLED, SUBJECT_DOMAIN,
                                     TEXT("-x on " URI), found),
                           "blockjob b vda --pivot"));
    disk.job.ready_since = NOW - HOUR / 2;
    found = of_domain(world, domain, FINDING_BLOCK_JOB_STALLED);
    assert_int_equal(found->hold, HOUR / 2);
    disk.job.ready = false;
    assert_null(of_domain(world, domain, FINDING_BLOCK_JOB_STALLED));
}

static void three_ideas_of_a_chain(void **state)
{
    struct world *world = *state;
    struct virt_layer live[] = {
        { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a.s1"), .format = TEXT("qcow2") },
        { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a"), .format = TEXT("qcow2") },
    };
    struct virt_layer old = { .source = VIRT_SOURCE_FILE,
                              .path = TEXT("/vm/a"),
                              .format = TEXT("qcow2") };
    struct virt_disk disk = { .target = TEXT("vda"),
                              .device = TEXT("disk"),
                              .layers = live,
                              .n_layers = 2,
                              .complete = true };
    struct virt_disk defined = {
        .target = TEXT("vda"), .device = TEXT("disk"), .layers = &old, .n_layers = 1
    };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 3, &disk, 1);
    const struct condition *found;
    struct image *overlay;

    (void)add(world, "/vm/a", NULL);
    (void)add(world, "/vm/b", NULL);
    overlay = add(world, "/vm/a.s1", "/vm/a");
    refresh(world);
    assert_null(of_domain(world, domain, FINDING_DEFINITION_DIFFERS));
    domain->defined_disks = &defined;
    domain->n_defined_disks = 1;
    found = of_domain(world, domain, FINDING_DEFINITION_DIFFERS);
    assert_string_equal(summary(found),
                        "runs on another image as disk vda than the one that its definition names");
    assert_true(found->hold > 0);
    assert_non_null(strstr(remedy_of(world, FINDING_DEFINITION_DIFFERS, SUBJECT_DOMAIN,
                                     TEXT("web on " URI), found),
                           "s|='/vm/a'|='/vm/a.s1'|"));
    /* A raw image never stands where the definition says qcow2: its guest would write the
     * header. */
    live[0].format = TEXT("raw");
    assert_non_null(strstr(remedy_of(world, FINDING_DEFINITION_DIFFERS, SUBJECT_DOMAIN,
                                     TEXT("web on " URI), found),
                           "type='\\\\)qcow2'/\\\\1raw'/"));
    live[0].format = NULL;
    assert_null(strstr(remedy_of(world, FINDING_DEFINITION_DIFFERS, SUBJECT_DOMAIN,
                                 TEXT("web on " URI), found),
                       "command\""));
    live[0].format = TEXT("qcow2");
    domain->n_defined_disks = 0;
    /* On disk the overlay has another parent than libvirt believes. */
    free(overlay->parent.path);
    overlay->parent.path = strdup("/vm/b");
    assert_int_equal(graph_update(world->store.graph, overlay), 0);
    refresh(world);
    found = of_domain(world, domain, FINDING_DEFINITION_DIFFERS);
    assert_string_equal(summary(found),
                        "has, in libvirt, other layers for disk vda than the files have: below "
                        "a.s1 libvirt has a, and the file names b");
    /* Running, it is the only one that has the right layers, perhaps. */
    assert_non_null(strstr(remedy_of(world, FINDING_DEFINITION_DIFFERS, SUBJECT_DOMAIN,
                                     TEXT("web on " URI), found),
                           "blockcopy web vda /vm/a.s1.rescued"));
    /* With a job under way it may. */
    disk.job.type = TEXT("commit");
    assert_null(of_domain(world, domain, FINDING_DEFINITION_DIFFERS));
    /* Shut off: libvirt is to look anew. */
    disk.job.type = NULL;
    domain->id = -1;
    domain->state = VIRT_SHUT_OFF;
    refresh(world);
    found = of_domain(world, domain, FINDING_DEFINITION_DIFFERS);
    assert_non_null(strstr(remedy_of(world, FINDING_DEFINITION_DIFFERS, SUBJECT_DOMAIN,
                                     TEXT("web on " URI), found),
                           "s|='/vm/a\\\\.s1'|='/vm/a.s1'|"));
}

static void images_that_are_gone(void **state)
{
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE,
                                .path = TEXT("/vm/a"),
                                .format = TEXT("qcow2") };
    struct virt_disk disk = {
        .target = TEXT("vda"), .device = TEXT("disk"), .layers = &layer, .n_layers = 1,
        .capacity = UINT64_C(1) << 30,
    };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 3, &disk, 1);
    const struct condition *found;
    struct image *image;

    world->missing = "/vm/a";
    refresh(world);
    found = of_domain(world, domain, FINDING_DELETED_IN_USE);
    assert_string_equal(summary(found), "runs on a deleted image: a, disk vda; do not stop it");
    assert_non_null(
        strstr(remedy_of(world, FINDING_DELETED_IN_USE, SUBJECT_DOMAIN, TEXT("web on " URI), found),
               "blockcopy web vda /vm/a.rescued --format qcow2 --transient-job --wait --pivot"));
    /* Another file: only when nobody has it open, and a look after the start says so. */
    world->missing = NULL;
    image = add(world, "/vm/a", NULL);
    world->identity = (struct identity){ .fsid = 1, .inode = 7 };
    domain->id = 4;
    refresh(world);
    domain->started = NOW - 2 * HOUR;
    assert_non_null(of_domain(world, domain, FINDING_DELETED_IN_USE));
    image->audit->locked = FILES_WRITER;
    assert_null(of_domain(world, domain, FINDING_DELETED_IN_USE));
    image->audit->locked = FILES_UNUSED;
    domain->started = NOW;
    assert_null(of_domain(world, domain, FINDING_DELETED_IN_USE));
}

/* The file that the run began with is there, under another name: nothing is lost, and nothing is to
 * be copied. */
static void images_that_were_renamed(void **state)
{
    struct world *world = *state;
    char *subject = TEXT("web on " URI);
    struct virt_layer layers[] = {
        { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a.s1"), .format = TEXT("qcow2") },
        { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a"), .format = TEXT("qcow2") },
    };
    struct virt_disk disk = { .target = TEXT("vda"), .device = TEXT("disk"), .layers = &layers[1],
                              .n_layers = 1, .capacity = UINT64_C(1) << 30 };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 3, &disk, 1);
    struct image *image = add(world, "/vm/a-2024", NULL), *overlay, *there;
    const struct condition *found;
    const char *words;

    world->identity = image->identity;
    refresh(world);
    world->missing = "/vm/a";
    refresh(world);
    found = of_domain(world, domain, FINDING_DELETED_IN_USE);
    assert_string_equal(summary(found),
                        "runs on an image that was renamed: a, disk vda, is now /vm/a-2024");
    assert_int_equal(found->severity, SEVERITY_ERROR);
    words = remedy_of(world, FINDING_DELETED_IN_USE, SUBJECT_DOMAIN, subject, found);
    assert_non_null(strstr(words, "mv -nT -- /vm/a-2024 /vm/a"));
    assert_null(strstr(words, "blockcopy"));
    /* By the new name it is in use, too: neither may go. */
    overlay = add(world, "/vm/over", "/vm/a-2024");
    refresh(world);
    words = remedy_of(world, FINDING_DELETED_IN_USE, SUBJECT_DOMAIN, subject, found);
    assert_non_null(strstr(words, "others use it by that name"));
    assert_null(strstr(words, "command\""));
    graph_remove(world->store.graph, overlay);
    /* And who writes it is known. */
    image->locked = image->use = FILES_WRITER;
    image->locked_since = NOW - HOUR;
    image->locked_at = NOW;
    assert_null(of_image(world, image, FINDING_FOREIGN_WRITER));
    assert_true(world->judgement.judged[FINDING_FOREIGN_WRITER]);
    image->locked = image->use = FILES_UNUSED;
    image->locked_since = image->locked_at = 0;
    /* Another file has its name: the next start would be on that. */
    world->missing = NULL;
    there = add(world, "/vm/a", NULL);
    domain->started = NOW - 2 * HOUR;
    refresh(world);
    found = of_domain(world, domain, FINDING_DELETED_IN_USE);
    assert_string_equal(summary(found), "runs on an image that was renamed, and in whose place "
                                        "another file lies: a, disk vda, is now /vm/a-2024");
    assert_int_equal(found->severity, SEVERITY_CRITICAL);
    words = remedy_of(world, FINDING_DELETED_IN_USE, SUBJECT_DOMAIN, subject, found);
    assert_non_null(strstr(words, "exists already"));
    assert_null(strstr(words, "command\""));
    graph_remove(world->store.graph, there);
    /* A layer below, of a run of which nobody saw the beginning: the overlay knows its parent. */
    world->identity.inode = 0;
    world->missing = "/vm/a";
    disk.layers = layers;
    disk.n_layers = 2;
    domain->id = 4;
    overlay = add(world, "/vm/a.s1", "/vm/a");
    overlay->parent.state = REFERENCE_MISSING;
    overlay->former = calloc(1, sizeof(*overlay->former));
    assert_non_null(overlay->former);
    overlay->former->path = strdup("/vm/a");
    overlay->former->identity = image->identity;
    assert_int_equal(graph_update(world->store.graph, overlay), 0);
    refresh(world);
    found = of_domain(world, domain, FINDING_DELETED_IN_USE);
    words = remedy_of(world, FINDING_DELETED_IN_USE, SUBJECT_DOMAIN, subject, found);
    assert_non_null(strstr(words, "mv -nT -- /vm/a-2024 /vm/a"));
    assert_null(strstr(words, "blockcopy"));
    /* One that is gone for good is copied, as ever. */
    graph_remove(world->store.graph, image);
    found = of_domain(world, domain, FINDING_DELETED_IN_USE);
    assert_string_equal(summary(found), "runs on a deleted image: a, disk vda; do not stop it");
    assert_int_equal(found->severity, SEVERITY_CRITICAL);
}

static void memory(void **state)
{
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a.s1") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 0, &disk, 1);
    char *paths[] = { TEXT("/vm/router*"), NULL };
    struct policy_class class = { .name = TEXT("router"),
                                  .paths = paths,
                                  .memory = UINT64_C(4) << 30,
                                  .thresholds = world->config->policy.thresholds };
    const struct condition *found;

    (void)add(world, "/vm/router.qcow2", NULL);
    (void)add(world, "/vm/a.s1", "/vm/router.qcow2");
    world->config->policy.classes = &class;
    world->config->policy.n_classes = 1;
    refresh(world);
    /* The family is the one of the base. */
    found = of_domain(world, domain, FINDING_MEMORY_BELOW_MINIMUM);
    assert_string_equal(summary(found), "has 1G of memory; the class router needs 4G");
    domain->memory_max = UINT64_C(4) << 30;
    assert_null(of_domain(world, domain, FINDING_MEMORY_BELOW_MINIMUM));
    world->config->policy.classes = NULL;
    world->config->policy.n_classes = 0;
}

/* By the name of a layer, where no class says how much. */
static void memory_of_a_family(void **state)
{
    static const char text[] =
        "families:\n"
        "- {family: r, vendor: V, product: R, minimum-memory: 4GiB, names: [{match: '^r-'}]}\n"
        "- {family: s, vendor: V, product: S, kind: system, minimum-memory: 8GiB,\n"
        "   names: [{match: '^s-'}]}\n"
        "- {family: x, vendor: V, product: X, minimum-memory: 8GiB, names: [{match: '^[xy]-'}]}\n"
        "- {family: y, vendor: V, product: Y, minimum-memory: 8GiB, names: [{match: '^y-'}]}\n";
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/r-1.s1.qcow2") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 0, &disk, 1);
    char *paths[] = { TEXT("/vm/r-*"), NULL };
    struct policy *policy = &world->config->policy;
    struct policy_class class = { .name = TEXT("router"),
                                  .paths = paths,
                                  .memory = UINT64_C(1) << 29,
                                  .thresholds = policy->thresholds };
    struct families *families = NULL;
    const struct condition *found;

    assert_int_equal(families_parse("a.yaml", text, sizeof(text) - 1, NULL, NULL, &families), 0);
    (void)add(world, "/vm/r-1.qcow2", NULL);
    (void)add(world, "/vm/r-1.s1.qcow2", "/vm/r-1.qcow2");
    refresh(world);
    assert_null(of_domain(world, domain, FINDING_MEMORY_BELOW_MINIMUM));
    policy->families = families;
    found = of_domain(world, domain, FINDING_MEMORY_BELOW_MINIMUM);
    assert_string_equal(summary(found), "has 1G of memory; V R is to have 4G");
    assert_string_equal(evidence_get_text(found->evidence, TEXT_FAMILY), "r");
    /* The configuration's word counts more, also where it is less. */
    policy->classes = &class;
    policy->n_classes = 1;
    assert_null(of_domain(world, domain, FINDING_MEMORY_BELOW_MINIMUM));
    policy->classes = NULL;
    policy->n_classes = 0;
    domain->memory_max = UINT64_C(4) << 30;
    assert_null(of_domain(world, domain, FINDING_MEMORY_BELOW_MINIMUM));
    /* A system for any purpose, and a name that is ambiguous, say nothing. */
    layer.path = TEXT("/vm/s-1.qcow2");
    assert_null(of_domain(world, domain, FINDING_MEMORY_BELOW_MINIMUM));
    layer.path = TEXT("/vm/y-1.qcow2");
    assert_null(of_domain(world, domain, FINDING_MEMORY_BELOW_MINIMUM));
    layer.path = TEXT("/vm/x-1.qcow2");
    assert_non_null(of_domain(world, domain, FINDING_MEMORY_BELOW_MINIMUM));
    policy->families = NULL;
    families_free(families);
}

/* A remedy shows so many commands, and says how many it does not show. */
static void very_many_snapshots(void **state)
{
    enum { SNAPSHOTS = 1000 };
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 0, &disk, 1);
    struct qca_image_info *info = &add(world, "/vm/a", NULL)->audit->report->layers[0].info;
    const struct condition *found;
    const char *words;
    size_t n = 0;

    info->snapshots = calloc(SNAPSHOTS, sizeof(*info->snapshots));
    assert_non_null(info->snapshots);
    info->n_snapshots = SNAPSHOTS;
    for (size_t i = 0; i < SNAPSHOTS; i++)
        assert_true(asprintf(&info->snapshots[i].name, "%ss%zu", i == 3 ? "-" : "", i) > 0);
    refresh(world);
    found = of_domain(world, domain, FINDING_SNAPSHOT_INCONSISTENT);
    assert_string_equal(summary(found), "has 1000 snapshots that only the image has: s0, ...");
    words = remedy_of(world, FINDING_SNAPSHOT_INCONSISTENT, SUBJECT_DOMAIN, TEXT("web on " URI),
                      found);
    for (const char *at = words; (at = strstr(at, "qemu-img snapshot -d s")); at++)
        n++;
    assert_int_equal(n, 19);
    assert_non_null(strstr(words, "And 980 more"));
    assert_non_null(strstr(words, "1 more cannot be named on a command line"));
    found = of_image(world, world->store.images[0], FINDING_INTERNAL_SNAPSHOTS);
    assert_non_null(
        strstr(remedy_of(world, FINDING_INTERNAL_SNAPSHOTS, SUBJECT_IMAGE, TEXT("/vm/a"), found),
               "And 980 more"));
}

/* What only libvirt knows is forgotten; not while the file may only have another name. */
static void a_snapshot_whose_layer_is_lost(void **state)
{
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a.s2") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
    struct virt_snapshot_disk sd = { .target = TEXT("vda"), .kind = VIRT_SNAPSHOT_EXTERNAL,
                                     .path = TEXT("/vm/a.s1"), .before = TEXT("/vm/a") };
    struct virt_snapshot snapshot = { .name = TEXT("s1"), .created = T0_USEC, .disks = &sd,
                                      .n_disks = 1 };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 0, &disk, 1);
    struct image *base = add(world, "/vm/a", NULL), *leaf = add(world, "/vm/a.s2", "/vm/a.s1");
    const struct condition *found;
    const char *words;

    (void)base;
    domain->snapshots = &snapshot;
    domain->n_snapshots = 1;
    world->missing = "/vm/a.s1";
    leaf->parent.state = REFERENCE_MISSING;
    assert_int_equal(graph_update(world->store.graph, leaf), 0);
    refresh(world);
    found = of_domain(world, domain, FINDING_SNAPSHOT_INCONSISTENT);
    assert_string_equal(summary(found), "has 1 snapshot that only libvirt knows: s1");
    words = remedy_of(world, FINDING_SNAPSHOT_INCONSISTENT, SUBJECT_DOMAIN, TEXT("web on " URI),
                      found);
    assert_null(strstr(words, "\"command\""));
    assert_non_null(strstr(words, "Settle that first (qcauditctl findings: parent-missing"));
    /* The disk's own image is what is missing. */
    layer.path = TEXT("/vm/a.s1");
    refresh(world);
    found = of_domain(world, domain, FINDING_SNAPSHOT_INCONSISTENT);
    words = remedy_of(world, FINDING_SNAPSHOT_INCONSISTENT, SUBJECT_DOMAIN, TEXT("web on " URI),
                      found);
    assert_null(strstr(words, "\"command\""));
    /* No disk needs the file any more. */
    layer.path = TEXT("/vm/a");
    refresh(world);
    found = of_domain(world, domain, FINDING_SNAPSHOT_INCONSISTENT);
    words = remedy_of(world, FINDING_SNAPSHOT_INCONSISTENT, SUBJECT_DOMAIN, TEXT("web on " URI),
                      found);
    assert_non_null(strstr(words, "snapshot-delete web s1 --metadata"));
    assert_non_null(strstr(words, "was not moved or renamed"));
}

static void checkpoints_and_bitmaps(void **state)
{
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
    struct virt_checkpoint_disk cd = { .target = TEXT("vda"), .bitmap = TEXT("cp1") };
    struct virt_checkpoint checkpoint = { .name = TEXT("cp1"), .disks = &cd, .n_disks = 1 };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 0, &disk, 1);
    struct image *image = add(world, "/vm/a", NULL);
    struct qca_image_info *info = &image->audit->report->layers[0].info;
    const struct condition *found;

    refresh(world);
    assert_null(of_domain(world, domain, FINDING_CHECKPOINT_MISMATCH));
    domain->checkpoints = &checkpoint;
    domain->n_checkpoints = 1;
    found = of_domain(world, domain, FINDING_CHECKPOINT_MISMATCH);
    assert_string_equal(summary(found),
                        "has 1 checkpoint without a bitmap");
    assert_non_null(strstr(remedy_of(world, FINDING_CHECKPOINT_MISMATCH, SUBJECT_DOMAIN,
                                     TEXT("web on " URI), found),
                           "checkpoint-delete web cp1 --metadata"));
    info->bitmaps = calloc(1, sizeof(*info->bitmaps));
    assert_non_null(info->bitmaps);
    info->n_bitmaps = 1;
    info->bitmaps[0].name = strdup("cp1");
    assert_null(of_domain(world, domain, FINDING_CHECKPOINT_MISMATCH));
    domain->n_checkpoints = 0;
    assert_non_null(of_domain(world, domain, FINDING_CHECKPOINT_MISMATCH));
    /* A running QEMU has its bitmaps in memory. */
    domain->id = 5;
    domain->state = VIRT_RUNNING;
    assert_null(of_domain(world, domain, FINDING_CHECKPOINT_MISMATCH));
    assert_false(world->judgement.judged[FINDING_CHECKPOINT_MISMATCH]);
}

/* ---- images ---------------------------------------------------------------------------------- */

static void unmanaged_layers(void **state)
{
    struct world *world = *state;
    struct virt_layer layers[] = {
        { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a.s2") },
        { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a.s1") },
        { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a.qcow2") },
    };
    struct virt_disk disk = {
        .target = TEXT("vda"), .layers = layers, .n_layers = 3, .complete = true
    };
    struct virt_snapshot_disk sd[] = {
        { .target = TEXT("vda"), .kind = VIRT_SNAPSHOT_EXTERNAL, .path = TEXT("/vm/a.s1"),
          .before = TEXT("/vm/a.qcow2") },
        { .target = TEXT("vda"), .kind = VIRT_SNAPSHOT_EXTERNAL, .path = TEXT("/vm/a.s2"),
          .before = TEXT("/vm/a.s1") },
    };
    struct virt_snapshot snapshots[] = {
        { .name = TEXT("s1"), .created = T0_USEC + 60 * USEC_PER_SEC, .disks = &sd[0],
          .n_disks = 1 },
        { .name = TEXT("s 2"), .created = T0_USEC + 120 * USEC_PER_SEC, .disks = &sd[1],
          .n_disks = 1 },
    };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 3, &disk, 1);
    struct image *own = add(world, "/vm/a.qcow2", NULL), *first, *leaf;
    const struct condition *found;
    const char *source, *words;

    first = add(world, "/vm/a.s1", "/vm/a.qcow2");
    leaf = add(world, "/vm/a.s2", "/vm/a.s1");
    domain->snapshots = snapshots;
    domain->n_snapshots = 2;
    refresh(world);
    assert_null(of_image(world, own, FINDING_SNAPSHOT_UNMANAGED));
    assert_true(world->judgement.judged[FINDING_SNAPSHOT_UNMANAGED]);
    /* The dates are libvirt's. */
    assert_int_equal(graph_layer_created(world->store.graph, first, &source), snapshots[0].created);
    assert_string_equal(source, "libvirt");

    domain->n_snapshots = 1;
    refresh(world);
    found = of_image(world, own, FINDING_SNAPSHOT_UNMANAGED);
    assert_string_equal(
        summary(found),
        "has 1 layer above it in disk vda of domain web that no libvirt snapshot explains");
    assert_int_equal(found->hold, HOUR);
    words = remedy_of(world, FINDING_SNAPSHOT_UNMANAGED, SUBJECT_IMAGE, TEXT("/vm/a.qcow2"), found);
    assert_non_null(
        strstr(words,
               "virsh -c qemu:///system blockcommit web vda --base /vm/a.qcow2 --active --pivot"));
    assert_non_null(strstr(words, "snapshot-delete web s1 --metadata"));
    /* While a job or a backup is at work, nothing is said. */
    disk.job.type = TEXT("active-commit");
    refresh(world);
    assert_null(of_image(world, own, FINDING_SNAPSHOT_UNMANAGED));
    assert_false(world->judgement.judged[FINDING_SNAPSHOT_UNMANAGED]);
    disk.job.type = NULL;

    /* After the pivot the disk is its own layer, whatever lies above it. */
    disk.layers = &layers[2];
    disk.n_layers = 1;
    refresh(world);
    assert_ptr_equal(graph_relation(world->store.graph, own)->deepest_leaf, own);
    assert_null(of_image(world, own, FINDING_SNAPSHOT_UNMANAGED));
    (void)leaf;
}

static void a_transient_disk(void **state)
{
    struct world *world = *state;
    struct virt_layer layers[] = { { .source = VIRT_SOURCE_FILE,
                                     .path = TEXT("/vm/a.qcow2.TRANSIENT-web") },
                                   { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a.qcow2") } };
    struct virt_disk disk = {
        .target = TEXT("vda"), .layers = layers, .n_layers = 2, .transient = true
    };
    struct image *own = add(world, "/vm/a.qcow2", NULL), *overlay;
    const struct condition *found;

    own->fingerprint.mtime = (int64_t)(NOW - 101 * HOUR) * 1000;
    overlay = add(world, "/vm/a.qcow2.TRANSIENT-web", "/vm/a.qcow2");
    overlay->identity.btime = (int64_t)(NOW - 100 * HOUR) * 1000;
    (void)fixture_domain(&world->virt, TEXT("web"), 3, &disk, 1);
    refresh(world);
    /* Its age is that of the domain's run. */
    assert_null(of_image(world, own, FINDING_SNAPSHOT_OLD));
    assert_null(of_image(world, own, FINDING_SNAPSHOT_UNMANAGED));
    assert_true(world->judgement.judged[FINDING_SNAPSHOT_UNMANAGED]);
    /* And whatever else is found there: no remedy keeps what is meant to be forgotten. */
    disk.transient = false;
    refresh(world);
    assert_non_null(of_image(world, own, FINDING_SNAPSHOT_OLD));
    found = of_image(world, own, FINDING_SNAPSHOT_UNMANAGED);
    assert_non_null(found);
    assert_non_null(strstr(remedy_of(world, FINDING_SNAPSHOT_UNMANAGED, SUBJECT_IMAGE,
                                     TEXT("/vm/a.qcow2"), found),
                           "blockcommit"));
    disk.transient = true;
    assert_null(strstr(remedy_of(world, FINDING_SNAPSHOT_UNMANAGED, SUBJECT_IMAGE,
                                 TEXT("/vm/a.qcow2"), found),
                       "blockcommit"));
}

/* Names that virsh takes for an id or a UUID: of another domain, perhaps. */
static void names_that_mislead(void **state)
{
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1,
                              .job = { .type = TEXT("copy"), .ready = true,
                                      .ready_since = NOW - 2 * HOUR } };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 3, &disk, 1);
    char *const names[] = { TEXT("7"), TEXT(" 7"), TEXT("+7"), TEXT("-7"), TEXT("\t7"),
                            TEXT("11111111-2222-3333-4444-555555555555") };
    char subject[100];
    const struct condition *found;

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        domain->name = names[i];
        refresh(world);
        found = of_domain(world, domain, FINDING_BLOCK_JOB_STALLED);
        assert_non_null(found);
        snprintf(subject, sizeof(subject), "%s on " URI, names[i]);
        assert_non_null(
            strstr(remedy_of(world, FINDING_BLOCK_JOB_STALLED, SUBJECT_DOMAIN, subject, found),
                   "blockjob b vda --pivot"));
    }
}

/* After a start nobody has looked yet: that resolves nothing. */
static void not_looked_up_yet(void **state)
{
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a.qcow2") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
    struct virt_domain *stopped = fixture_domain(&world->virt, TEXT("stopped"), 0, &disk, 1);
    struct virt_domain *running = fixture_domain(&world->virt, TEXT("running"), 3, &disk, 1);

    world->pending = "/vm/a.qcow2";
    refresh(world);
    assert_null(of_domain(world, stopped, FINDING_DEFINITION_DIFFERS));
    assert_false(world->judgement.judged[FINDING_DEFINITION_DIFFERS]);
    assert_null(of_domain(world, running, FINDING_DELETED_IN_USE));
    assert_false(world->judgement.judged[FINDING_DELETED_IN_USE]);
    world->pending = NULL;
    world->missing = "/vm/a.qcow2";
    refresh(world);
    assert_non_null(of_domain(world, stopped, FINDING_DEFINITION_DIFFERS));
    assert_non_null(of_domain(world, running, FINDING_DELETED_IN_USE));
    world->missing = NULL;
    refresh(world);
    assert_null(of_domain(world, stopped, FINDING_DEFINITION_DIFFERS));
    assert_true(world->judgement.judged[FINDING_DEFINITION_DIFFERS]);
    assert_true(world->judgement.judged[FINDING_DELETED_IN_USE]);
}

static void a_clone_is_no_snapshot(void **state)
{
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/web.qcow2") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
    struct image *base = add(world, "/vm/debian.qcow2", NULL);

    (void)add(world, "/vm/web.qcow2", "/vm/debian.qcow2");
    (void)fixture_domain(&world->virt, TEXT("web"), 0, &disk, 1);
    refresh(world);
    assert_null(of_image(world, base, FINDING_SNAPSHOT_UNMANAGED));
}

static void golden_or_forked(void **state)
{
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/c1.qcow2") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
    struct virt_snapshot_disk sd = { .target = TEXT("vda"),
                                     .kind = VIRT_SNAPSHOT_EXTERNAL,
                                     .path = TEXT("/vm/c1.qcow2"),
                                     .before = TEXT("/vm/base.qcow2") };
    struct virt_snapshot snapshot = {
        .name = TEXT("s1"), .created = T0_USEC, .disks = &sd, .n_disks = 1
    };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 3, &disk, 1);
    struct image *base = add(world, "/vm/base.qcow2", NULL), *second;
    const struct condition *found;
    const char *words;

    (void)add(world, "/vm/c1.qcow2", "/vm/base.qcow2");
    second = add(world, "/vm/c2.qcow2", "/vm/base.qcow2");
    refresh(world);
    assert_true(graph_relation(world->store.graph, base)->golden_inferred);
    assert_null(of_image(world, base, FINDING_CHAIN_FORKED));
    /* One of the two is a snapshot of a disk on that base: then it is no golden image. */
    domain->snapshots = &snapshot;
    domain->n_snapshots = 1;
    refresh(world);
    assert_false(graph_relation(world->store.graph, base)->golden);
    found = of_image(world, base, FINDING_CHAIN_FORKED);
    assert_int_equal(found->hold, 60 * USEC_PER_SEC);   /* what a merge left may go yet */
    /* Whatever the other is: to merge the snapshot writes what both stand on. */
    assert_int_equal(found->severity, SEVERITY_ERROR);
    words = remedy_of(world, FINDING_CHAIN_FORKED, SUBJECT_IMAGE, TEXT("/vm/base.qcow2"), found);
    assert_non_null(strstr(
        words,
        "mkdir -m 700 -- /vm/c2.qcow2.whole && qemu-img convert -O qcow2 /vm/c2.qcow2 "
        "/vm/c2.qcow2.whole/disk && "));
    assert_null(strstr(words, "convert -O qcow2 /vm/c1.qcow2"));
    /* Written by a running domain: not golden either. */
    domain->n_snapshots = 0;
    layer.path = TEXT("/vm/base.qcow2");
    refresh(world);
    assert_false(graph_relation(world->store.graph, base)->golden);
    (void)second;
}

/* A tree that was copied with its read-only base, whatever its overlays are called, is no fork; but
 * what a domain's snapshots made is one. */
static void copied_trees(void **state)
{
    static const struct { const char *first, *second; } names[] = {
        { "/vm/disk-snap1.qcow2", "/vm/disk-snap2.qcow2" },
        { "/vm/disk.web1", "/vm/disk.web2" },
        { "/vm/disk-20240101.qcow2", "/vm/disk-20240201.qcow2" },
        { "/vm/alice.qcow2", "/vm/bob.qcow2" },
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = strdup(names[i].first) };
        struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
        struct virt_snapshot_disk sd = { .target = TEXT("vda"), .kind = VIRT_SNAPSHOT_EXTERNAL,
                                         .path = layer.path, .before = TEXT("/vm/disk.qcow2") };
        struct virt_snapshot snapshot = { .name = TEXT("s1"), .created = T0_USEC, .disks = &sd,
                                          .n_disks = 1 };
        struct virt_domain *domain;
        struct world *world;
        struct image *base;

        (void)teardown(state);
        (void)setup(state);
        world = *state;
        base = add(world, "/vm/disk.qcow2", NULL);
        (void)add(world, names[i].first, "/vm/disk.qcow2");
        (void)add(world, names[i].second, "/vm/disk.qcow2");
        /* The base was copied last, so that it is younger than what stands on it. */
        base->fingerprint.mtime += 5 * NSEC_PER_SEC;
        assert_int_equal(graph_update(world->store.graph, base), 0);
        refresh(world);
        if (i == 0)
            assert_int_equal(of_image(world, base, FINDING_CHAIN_FORKED)->severity, SEVERITY_ERROR);
        base->fingerprint.mode = 0100444;
        assert_int_equal(graph_update(world->store.graph, base), 0);
        refresh(world);
        if (of_image(world, base, FINDING_CHAIN_FORKED))
            fail_msg("%s: a fork", names[i].first);
        domain = fixture_domain(&world->virt, TEXT("web"), 0, &disk, 1);
        domain->snapshots = &snapshot;
        domain->n_snapshots = 1;
        refresh(world);
        if (!of_image(world, base, FINDING_CHAIN_FORKED))
            fail_msg("%s: no fork", names[i].first);
        free(layer.path);
    }
}

static void orphans(void **state)
{
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/web.qcow2") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
    struct image *old = add(world, "/vm/old.qcow2", NULL), *web = add(world, "/vm/web.qcow2", NULL);
    struct image *kept = add(world, "/vm/web.qcow2.bak", NULL),
                 *base = add(world, "/vm/base.qcow2", NULL), *data, *clone;
    const struct condition *found;

    clone = add(world, "/vm/clone.qcow2", "/vm/base.qcow2");
    clone->use = FILES_FROZEN;
    assert_int_equal(graph_update(world->store.graph, clone), 0);
    data = add(world, "/vm/data.raw", NULL);
    web->data_file = (struct reference){ .state = REFERENCE_FOUND,
                                         .path = strdup("/vm/data.raw"),
                                         .identity = data->identity };
    assert_int_equal(graph_update(world->store.graph, web), 0);
    (void)fixture_domain(&world->virt, TEXT("web"), 0, &disk, 1);
    refresh(world);
    found = of_image(world, old, FINDING_ORPHAN);
    assert_int_equal(found->hold, DAY);
    assert_non_null(
        strstr(remedy_of(world, FINDING_ORPHAN, SUBJECT_IMAGE, TEXT("/vm/old.qcow2"), found),
               "mv -nT -- /vm/old.qcow2 /vm/old.qcow2.orphan"));
    assert_null(of_image(world, web, FINDING_ORPHAN));
    assert_null(of_image(world, kept, FINDING_ORPHAN));
    assert_null(of_image(world, base, FINDING_ORPHAN));
    assert_null(of_image(world, data, FINDING_ORPHAN));
    /* A lock, another host's file system, a domain that could not be read: each forbids it. */
    old->use = FILES_FROZEN;
    assert_null(of_image(world, old, FINDING_ORPHAN));
    old->use = FILES_UNUSED;
    world->store.datastore.root.network = true;
    assert_null(of_image(world, old, FINDING_ORPHAN));
    world->store.datastore.root.network = false;
    world->virt.domains[0].error = TEXT("timed out");
    refresh(world);
    assert_null(of_image(world, old, FINDING_ORPHAN));
    assert_false(world->judgement.judged[FINDING_ORPHAN]);
}

static void backup_tools(void **state)
{
    static const struct { const char *path, *tool; bool temporary; } cases[] = {
        { "/vm/web.bimg-20240131-020000", "fi-backup", true },
        { "/vm/backup.AB12C.vda", "virtnbdbackup", true },
        { "/vm/vda.full.data", "virtnbdbackup", false },
        { "/vm/web-tempsnap.qcow2", "backup-vm", true },
        { "/vm/web.1700000000", "virt-backup", true },
        { "/vm/vzdump-qemu-100-2024.vma", "proxmox", false },
        { "/vm/web.qcow2", NULL, false },
        { "/vm/web.170000000", NULL, false },
        { "/vm/web.bimg-1.orphan", NULL, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *tool = backup_tool(cases[i].path);

        if (!cases[i].tool) {
            assert_null(tool);
            continue;
        }
        assert_string_equal(tool, cases[i].tool);
        assert_int_equal(backup_tool_is_temporary(cases[i].path), cases[i].temporary);
    }
}

static void roles(void **state)
{
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/web.s1") };
    struct virt_layer iso = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/debian.img") };
    struct virt_disk disks[] = {
        { .target = TEXT("vda"), .device = TEXT("disk"), .layers = &layer, .n_layers = 1 },
        { .target = TEXT("hda"), .device = TEXT("cdrom"), .layers = &iso, .n_layers = 1 },
    };
    const struct { const char *path, *parent; enum role role; const char *reason; } cases[] = {
        { "/vm/web.qcow2", NULL, ROLE_BASE, "1 overlay has it as parent." },
        { "/vm/web.s0", "/vm/web.qcow2", ROLE_OVERLAY, "1 overlay has it as parent." },
        { "/vm/web.s1", "/vm/web.s0", ROLE_LEAF, "It is disk vda of the running domain web." },
        { "/vm/debian.img", NULL, ROLE_MEDIUM,
          "It is disk hda of the running domain web, a drive for removable media." },
        { "/vm/x.iso", NULL, ROLE_MEDIUM, "Its name ends in .iso." },
        { "/vm/web.bimg-1", NULL, ROLE_BACKUP, "Its name is one that fi-backup gives." },
        { "/vm/web.before-repair", NULL, ROLE_BACKUP, "Its name is one of copies that are kept." },
        { "/vm/lost.qcow2", NULL, ROLE_LEFTOVER,
          "No domain, snapshot or other image refers to it, and nothing holds it open." },
    };

    (void)fixture_domain(&world->virt, TEXT("web"), 3, disks, 2);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        (void)add(world, cases[i].path, cases[i].parent);
    refresh(world);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum role role;
        char *reason;

        assert_int_equal(graph_role(world->store.graph, world->store.images[i], &role, &reason), 0);
        assert_string_equal(role_name(role), role_name(cases[i].role));
        assert_string_equal(reason, cases[i].reason);
        free(reason);
    }
    /* Without libvirt nobody knows. */
    graph_set_usage(world->store.graph, NULL);
    assert_int_equal(graph_refresh(world->store.graph, NULL, NULL), 0);
    {
        enum role role;

        assert_int_equal(graph_role(world->store.graph, world->store.images[7], &role, NULL), 0);
        assert_int_equal(role, ROLE_UNKNOWN);
    }
}

static void in_use_by_libvirts_word(void **state)
{
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE,
                                .path = TEXT("/vm/a"),
                                .format = TEXT("raw") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
    struct virt_disk other = { .target = TEXT("vdb"), .layers = &layer, .n_layers = 1 };
    struct image *image = add(world, "/vm/a", NULL);
    const struct condition *found;

    (void)fixture_domain(&world->virt, TEXT("one"), 3, &disk, 1);
    refresh(world);
    assert_int_equal(graph_use(world->store.graph, image), FILES_WRITER);
    assert_non_null(of_image(world, image, FINDING_RAW_BECAME_IMAGE));
    layer.format = TEXT("qcow2");
    refresh(world);
    assert_null(of_image(world, image, FINDING_RAW_BECAME_IMAGE));
    image->audit->report->layers[0].probed_format = QCA_FORMAT_RAW;
    found = of_image(world, image, FINDING_FORMAT_MISMATCH);
    assert_int_equal(found->severity, SEVERITY_CRITICAL);
    /* An image whose first bytes were overwritten looks like a raw one: nothing declares it so. */
    assert_null(
        strstr(remedy_of(world, FINDING_FORMAT_MISMATCH, SUBJECT_IMAGE, TEXT("/vm/a"), found),
               "\"command\""));
    assert_non_null(
        strstr(remedy_of(world, FINDING_FORMAT_MISMATCH, SUBJECT_IMAGE, TEXT("/vm/a"), found),
               "restore the image from a backup"));
    assert_null(of_image(world, image, FINDING_SHARED_WRITABLE));
    (void)fixture_domain(&world->virt, TEXT("two"), 0, &other, 1);
    refresh(world);
    assert_int_equal(of_image(world, image, FINDING_SHARED_WRITABLE)->severity, SEVERITY_WARNING);
    world->virt.domains[1].id = 9;
    world->virt.domains[1].state = VIRT_RUNNING;
    refresh(world);
    assert_int_equal(of_image(world, image, FINDING_SHARED_WRITABLE)->severity, SEVERITY_CRITICAL);
    /* Raw disks with a cluster file system may be shared, if all say so. */
    image->audit->report->layers[0].info.format = QCA_FORMAT_RAW;
    disk.shareable = other.shareable = true;
    refresh(world);
    assert_null(of_image(world, image, FINDING_SHARED_WRITABLE));
}

/* A template that is a domain of its own: the clones are not to lose their disks. */
static void one_writer_below_clones(void **state)
{
    struct world *world = *state;
    struct virt_layer base = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/t") },
                      one = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/c1") },
                      two = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/c2") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &base, .n_layers = 1 },
                     disk_one = { .target = TEXT("sda"), .layers = &one, .n_layers = 1 },
                     disk_two = { .target = TEXT("sda"), .layers = &two, .n_layers = 1 },
                     reads = { .target = TEXT("vdb"), .layers = &base, .n_layers = 1,
                               .read_only = true };
    struct image *image = add(world, "/vm/t", NULL);
    const struct condition *found;
    const char *words;

    (void)add(world, "/vm/c1", "/vm/t");
    (void)add(world, "/vm/c2", "/vm/t");
    (void)fixture_domain(&world->virt, TEXT("c1"), 0, &disk_one, 1);
    (void)fixture_domain(&world->virt, TEXT("tpl"), 0, &disk, 1);
    refresh(world);
    found = of_image(world, image, FINDING_SHARED_WRITABLE);
    assert_string_equal(summary(found), "can be written by domain tpl, though 1 other domain has a "
                                        "disk that stands on it: c1");
    assert_int_equal(found->severity, SEVERITY_WARNING);
    words = remedy_of(world, FINDING_SHARED_WRITABLE, SUBJECT_IMAGE, TEXT("/vm/t"), found);
    assert_non_null(strstr(words, "virsh -c qemu:///system detach-disk tpl vda --config"));
    assert_null(strstr(words, "c1"));
    assert_null(strstr(words, "Shut off all domains but one"));

    (void)fixture_domain(&world->virt, TEXT("c2"), 0, &disk_two, 1);
    refresh(world);
    found = of_image(world, image, FINDING_SHARED_WRITABLE);
    assert_string_equal(summary(found), "can be written by domain tpl, though 2 other domains have "
                                        "disks that stand on it: c1, c2");
    /* One that has the image itself, and only reads it. */
    (void)fixture_domain(&world->virt, TEXT("look"), 0, &reads, 1);
    refresh(world);
    found = of_image(world, image, FINDING_SHARED_WRITABLE);
    assert_string_equal(summary(found), "can be written by domain tpl, though 3 other domains read "
                                        "it: look, c1, c2");
    /* Of two writers each one must go, but for one. */
    reads.read_only = false;
    refresh(world);
    found = of_image(world, image, FINDING_SHARED_WRITABLE);
    assert_non_null(strstr(summary(found), "is used by 4 domains: "));
    words = remedy_of(world, FINDING_SHARED_WRITABLE, SUBJECT_IMAGE, TEXT("/vm/t"), found);
    assert_non_null(strstr(words, "detach-disk tpl vda --config"));
}

/* Files that have the lost parent's name, and overlays of their own: none of them is moved. */
static void a_parent_by_its_name(void **state)
{
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a/c") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
    struct image *image = add(world, "/vm/a/c", "/vm/a/t");
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 3, &disk, 1);
    const struct condition *found;
    const char *words, *at;

    image->parent.state = REFERENCE_MISSING;
    image->parent.error = -ENOENT;
    assert_int_equal(graph_update(world->store.graph, image), 0);
    (void)add(world, "/vm/b/t", NULL);
    (void)add(world, "/vm/b/c", "/vm/b/t");
    refresh(world);
    found = of_image(world, image, FINDING_PARENT_MISSING);
    assert_non_null(found);
    words = remedy_of(world, FINDING_PARENT_MISSING, SUBJECT_IMAGE, TEXT("/vm/a/c"), found);
    assert_non_null(strstr(words, "/vm/b/t has the parent's name, and may be another image"));
    assert_non_null(strstr(words, "copy it (cp -nT --preserve=all)"));
    assert_null(strstr(words, "ove it"));
    assert_non_null(strstr(words, "Do not stop a domain that still runs on it"));
    (void)add(world, "/vm/d/t", NULL);
    domain->id = -1;
    domain->state = VIRT_SHUT_OFF;
    refresh(world);
    found = of_image(world, image, FINDING_PARENT_MISSING);
    words = remedy_of(world, FINDING_PARENT_MISSING, SUBJECT_IMAGE, TEXT("/vm/a/c"), found);
    assert_non_null(strstr(words, "have the parent's name, and each may be another image"));
    assert_non_null(strstr(words, "/vm/d/t"));
    /* One sentence for all of them. */
    at = strstr(words, "Compare it with a backup");
    assert_non_null(at);
    assert_null(strstr(at + 1, "Compare it with a backup"));
    assert_null(strstr(words, "Do not stop a domain"));
}

static const char *remedy_of_evidence(struct world *world, enum finding_type type,
                                      enum subject_kind kind, char *subject, const char *evidence)
{
    struct condition condition = { .evidence = json_tokener_parse(evidence) };
    const char *words;

    assert_non_null(condition.evidence);
    words = remedy_of(world, type, kind, subject, &condition);
    json_object_put(condition.evidence);
    return words;
}

/* What was cut off, what two images have, and what is as it was meant to be. */
static void data_files(void **state)
{
    struct world *world = *state;
    struct image *one = add(world, "/vm/one", NULL), *two = add(world, "/vm/two", NULL);
    static const char cut[] = "{\"path\":\"/vm/d.raw\",\"needed-size\":1048576}",
                      shared[] = "{\"path\":\"/vm/d.raw\",\"also-of\":[{\"path\":\"/vm/two\"}]}",
                      sound[] = "{\"path\":\"/vm/d.raw\"}";
    const char *words;

    one->data_file = (struct reference){ .state = REFERENCE_FOUND, .stored = strdup("d.raw"),
                                         .identity = { .inode = 1000 } };
    assert_int_equal(graph_update(world->store.graph, one), 0);
    refresh(world);
    words = remedy_of_evidence(world, FINDING_DATA_FILE, SUBJECT_IMAGE, TEXT("/vm/one"), cut);
    assert_ptr_equal(strstr(words, "Restore the data file /vm/d.raw from a backup"),
                     strstr(words, "Restore"));
    assert_null(strstr(words, "qemu-img convert"));
    assert_null(strstr(words, "Stop the domains"));
    words = remedy_of_evidence(world, FINDING_DATA_FILE, SUBJECT_IMAGE, TEXT("/vm/one"), sound);
    assert_non_null(strstr(words, "Nothing is wrong, if it was made so on purpose"));
    assert_non_null(strstr(words, "qemu-img convert"));

    two->data_file = (struct reference){ .state = REFERENCE_FOUND, .stored = strdup("d.raw"),
                                         .identity = { .inode = 1000 } };
    assert_int_equal(graph_update(world->store.graph, two), 0);
    refresh(world);
    words = remedy_of_evidence(world, FINDING_DATA_FILE, SUBJECT_IMAGE, TEXT("/vm/one"), shared);
    assert_non_null(strstr(words, "Stop the domains of both images first, of this one and of "
                                  "/vm/two"));
    assert_null(strstr(words, "qemu-img convert"));
    assert_true(strstr(words, "Stop the domains") < strstr(words, "Find out whose data"));
    words = remedy_of_evidence(world, FINDING_DATA_FILE, SUBJECT_IMAGE, TEXT("/vm/one"), cut);
    assert_true(strstr(words, "Stop the domains") < strstr(words, "Restore the data file"));
}

/* A datastore's remedies say what fits it, and nothing else. */
static void what_a_datastore_leaves_out(void **state)
{
    struct world *world = *state;
    const char *words;

    words = remedy_of_evidence(world, FINDING_COVERAGE_GAP, SUBJECT_DATASTORE, TEXT("vm"),
                               "{\"left-out\":[{\"reason\":\"mount-gone\",\"path\":\"/vm/mnt\"}]}");
    assert_non_null(strstr(words, "Mount /vm/mnt again."));
    assert_non_null(strstr(words, "qcauditctl resume vm lets go of its images"));
    assert_null(strstr(words, "datastore of its own"));
    words = remedy_of_evidence(world, FINDING_COVERAGE_GAP, SUBJECT_DATASTORE, TEXT("vm"),
                               "{\"left-out\":[{\"reason\":\"mount-remote\",\"path\":\"/vm/a\"},"
                               "{\"reason\":\"mount-remote\",\"path\":\"/vm/b\"}]}");
    assert_non_null(strstr(words, "Name /vm/a as a datastore of its own"));
    assert_non_null(strstr(words, "The same goes for 1 more"));
    assert_null(strstr(words, "Mount "));
    words = remedy_of_evidence(world, FINDING_COVERAGE_GAP, SUBJECT_DATASTORE, TEXT("vm"),
                               "{\"left-out\":[{\"reason\":\"link-to-device\","
                               "\"path\":\"/vm/l\"}]}");
    assert_non_null(strstr(words, "datastores[].devices"));
    words = remedy_of_evidence(world, FINDING_NOT_AUDITABLE, SUBJECT_DATASTORE, TEXT("vm"),
                               "{\"reason\":\"format\"}");
    assert_non_null(strstr(words, "Nothing is to be done"));
    words = remedy_of_evidence(world, FINDING_NOT_AUDITABLE, SUBJECT_DATASTORE, TEXT("vm"), "{}");
    assert_string_equal(words, "");
}

static void whoever_wrote_the_header(void **state)
{
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE,
                                .path = TEXT("/vm/a"),
                                .format = TEXT("raw") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
    struct image *image = add(world, "/vm/a", NULL);
    const struct condition *found;
    const char *words;

    (void)fixture_domain(&world->virt, TEXT("one"), 0, &disk, 1);
    image->audit->fingerprint = image->fingerprint;
    refresh(world);
    /* Nobody saw it raw: the definition may be wrong. */
    found = of_image(world, image, FINDING_RAW_BECAME_IMAGE);
    assert_non_null(found);
    words = remedy_of(world, FINDING_RAW_BECAME_IMAGE, SUBJECT_IMAGE, TEXT("/vm/a"), found);
    assert_non_null(strstr(words, "raw'/\\\\1qcow2'/"));
    assert_non_null(strstr(words, "a guest could write what looks like it"));
    /* But no domain is given a file that the header names. */
    image->data_file = (struct reference){ .state = REFERENCE_ESCAPES,
                                           .stored = strdup("/etc/shadow") };
    words = remedy_of(world, FINDING_RAW_BECAME_IMAGE, SUBJECT_IMAGE, TEXT("/vm/a"), found);
    assert_null(strstr(words, "command\""));
    assert_non_null(strstr(words, "No command is given"));
    /* It was raw: the header goes, and the type stays. */
    image->raw_size = image->fingerprint.size;
    words = remedy_of(world, FINDING_RAW_BECAME_IMAGE, SUBJECT_IMAGE, TEXT("/vm/a"), found);
    assert_non_null(strstr(
        words,
        "head -c 512 /vm/a | base64 | dd of=/vm/a.first-sector conv=excl status=none && dd "
        "if=/dev/zero of=/vm/a bs=512 count=1 conv=notrunc"));
    assert_null(strstr(words, "virsh"));
    reference_done(&image->data_file);
    words = remedy_of(world, FINDING_RAW_BECAME_IMAGE, SUBJECT_IMAGE, TEXT("/vm/a"), found);
    assert_null(strstr(words, "virsh"));
    /* A target that is none is not put into a command. */
    image->raw_size = 0;
    disk.target = TEXT("vda'/w /etc/passwd");
    words = remedy_of(world, FINDING_RAW_BECAME_IMAGE, SUBJECT_IMAGE, TEXT("/vm/a"), found);
    assert_null(strstr(words, "command\""));
}

/* QEMU opens a raw disk as raw: the header that its guest writes makes it no overlay of another's
 * disk, and the file that it names nobody's parent. */
static void what_a_guest_writes(void **state)
{
    enum { DECLARED, ALSO_QCOW2, DECLARED_ALONE, NOT_DECLARED, REMEMBERED, OF_ANOTHER_SIZE, _ROWS };
    static const bool edge[_ROWS] = { [ALSO_QCOW2] = true, [DECLARED_ALONE] = true,
                                      [NOT_DECLARED] = true, [OF_ANOTHER_SIZE] = true };

    for (int row = 0; row < _ROWS; row++) {
        struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/guest"),
                                    .format = row < NOT_DECLARED ? TEXT("raw") : NULL },
                          second = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/guest"),
                                     .format = TEXT("qcow2") };
        struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 },
                         other = { .target = TEXT("vda"), .layers = &second, .n_layers = 1 };
        char *att = TEXT("att"), *right = TEXT("right");
        struct image *victim, *data, *guest;
        struct reference_list extents;
        struct world *world;

        (void)teardown(state);
        (void)setup(state);
        world = *state;
        victim = add(world, "/vm/victim", NULL);
        data = add(world, "/vm/data", NULL);
        guest = add(world, "/vm/guest", "/vm/victim");
        guest->data_file = (struct reference){ .state = REFERENCE_FOUND,
                                               .stored = strdup("data"),
                                               .path = strdup("/vm/data"),
                                               .identity = data->identity };
        guest->audit->fingerprint = guest->fingerprint;
        if (row >= REMEMBERED)
            guest->raw_size = guest->fingerprint.size + (row == OF_ANOTHER_SIZE);
        assert_int_equal(graph_update(world->store.graph, guest), 0);
        refresh(world);
        /* Before anybody says so it is what it looks like, unless it was seen raw. */
        if (row < REMEMBERED)
            assert_int_equal(graph_relation(world->store.graph, victim)->n_children, 1);
        /* The definition alone may be wrong; what was seen to be raw is no overlay. */
        if (row == DECLARED || row == ALSO_QCOW2)
            guest->raw_size = guest->fingerprint.size;
        assert_int_equal(graph_update(world->store.graph, guest), 0);
        if (row < REMEMBERED)
            (void)fixture_domain(&world->virt, att, 0, &disk, 1);
        if (row == ALSO_QCOW2)
            (void)fixture_domain(&world->virt, right, 0, &other, 1);
        refresh(world);
        if ((graph_relation(world->store.graph, victim)->n_children > 0) != edge[row] ||
            (graph_relation(world->store.graph, guest)->parent != NULL) != edge[row] ||
            graph_is_data_file(world->store.graph, data) != edge[row])
            fail_msg("row %d: not as expected", row);
        if (row == DECLARED || row == REMEMBERED)
            assert_non_null(of_image(world, guest, FINDING_RAW_BECAME_IMAGE));
        if (row != DECLARED)
            continue;
        /* Extents neither; and all of it is back with another definition. */
        extents = guest->extents;
        guest->extents = (struct reference_list){ .items = &guest->data_file, .n = 1 };
        assert_int_equal(graph_update(world->store.graph, guest), 0);
        assert_false(graph_is_data_file(world->store.graph, data));
        guest->extents = extents;
        assert_int_equal(graph_update(world->store.graph, guest), 0);
        layer.format = TEXT("qcow2");
        world->virt.domains[0].version++;
        refresh(world);
        assert_ptr_equal(graph_relation(world->store.graph, guest)->parent, victim);
        assert_true(graph_is_data_file(world->store.graph, data));
    }
}

static void foreign_writers(void **state)
{
    struct world *world = *state;
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/a") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 0, &disk, 1);
    struct image *image = add(world, "/vm/a", NULL);
    const struct condition *found;

    image->locked = image->use = FILES_WRITER;
    image->locked_since = image->locked_at = NOW - HOUR;
    refresh(world);
    /* One probe is none. */
    assert_null(of_image(world, image, FINDING_FOREIGN_WRITER));
    assert_false(world->judgement.judged[FINDING_FOREIGN_WRITER]);
    image->locked_at = NOW;
    found = of_image(world, image, FINDING_FOREIGN_WRITER);
    assert_true(found->hold > 0);
    assert_non_null(
        strstr(remedy_of(world, FINDING_FOREIGN_WRITER, SUBJECT_IMAGE, TEXT("/vm/a"), found),
               "\"fuser -v /vm/a\""));
    domain->id = 3;
    domain->state = VIRT_RUNNING;
    refresh(world);
    assert_null(of_image(world, image, FINDING_FOREIGN_WRITER));
    assert_true(world->judgement.judged[FINDING_FOREIGN_WRITER]);
}

/* ---- space ----------------------------------------------------------------------------------- */

static const struct condition *of_datastore(struct world *world, uint64_t now,
                                            enum finding_type type)
{
    judgement_done(&world->judgement);
    assert_int_equal(judge_datastore(&world->config->policy, &world->store.datastore, now,
                                     &world->judgement),
                     0);
    return condition(world, type);
}

static void space(void **state)
{
    struct world *world = *state;
    struct datastore *datastore = &world->store.datastore;
    const struct condition *found;

    datastore->root.size = UINT64_C(1000) << 30;
    datastore->root.available = UINT64_C(300) << 30;
    assert_null(of_datastore(world, NOW, FINDING_DATASTORE_FULL));
    datastore->root.available = UINT64_C(250) << 30;
    assert_int_equal(of_datastore(world, NOW, FINDING_DATASTORE_FULL)->severity, SEVERITY_WARNING);
    datastore->root.available = UINT64_C(150) << 30;
    found = of_datastore(world, NOW, FINDING_DATASTORE_FULL);
    assert_string_equal(summary(found), "is 85 % full, 150G are left (limit: 85 %)");

    datastore->growth = UINT64_C(640) << 30;
    assert_null(of_datastore(world, NOW, FINDING_DATASTORE_OVERCOMMITTED));
    datastore->growth = UINT64_C(660) << 30;
    assert_non_null(of_datastore(world, NOW, FINDING_DATASTORE_OVERCOMMITTED));

    /* 10 GiB an hour: 15 hours are left. */
    for (unsigned i = 0; i < 5; i++)
        series_add(&datastore->available, NOW - (4 - i) * HOUR,
                   (UINT64_C(150) + (4 - i) * 10) << 30, HOUR / 100);
    found = of_datastore(world, NOW, FINDING_TIME_TO_FULL);
    assert_string_equal(summary(found), "will be full in 15h: it lost 240G a day lately");
    assert_int_equal(found->severity, SEVERITY_CRITICAL);
    datastore->root.available = UINT64_C(600) << 30;
    assert_int_equal(of_datastore(world, NOW, FINDING_TIME_TO_FULL)->severity, SEVERITY_WARNING);
    /* Told of the file system once: by the first of the datastores on it, with the sums. */
    struct datastore other = { .name = TEXT("zoo"), .root = datastore->root };

    datastore->root.available = other.root.available = UINT64_C(150) << 30;
    datastore->growth = other.growth = UINT64_C(330) << 30;
    datastore->space = (struct datastore_space){ .first = datastore, .measured = datastore,
                                                 .growth = UINT64_C(660) << 30,
                                                 .others = TEXT("zoo"), .n_others = 1 };
    found = of_datastore(world, NOW, FINDING_DATASTORE_FULL);
    assert_string_equal(summary(found), "is 85 % full, 150G are left (limit: 85 %); "
                                        "datastore zoo lies on the same file system");
    assert_non_null(of_datastore(world, NOW, FINDING_DATASTORE_OVERCOMMITTED));
    datastore->space = (struct datastore_space){ .first = &other, .measured = &other };
    assert_null(of_datastore(world, NOW, FINDING_DATASTORE_FULL));
    assert_null(of_datastore(world, NOW, FINDING_DATASTORE_OVERCOMMITTED));
    assert_null(of_datastore(world, NOW, FINDING_TIME_TO_FULL));
    assert_true(world->judgement.judged[FINDING_DATASTORE_FULL]);
    datastore->space = (struct datastore_space){ .first = NULL };
    datastore->growth = 0;
    /* Not from a moment's look, and not when it grows again. */
    datastore->available = (struct series){ .n = 0 };
    for (unsigned i = 0; i < 5; i++)
        series_add(&datastore->available, NOW - (4 - i) * USEC_PER_SEC,
                   (UINT64_C(150) + (4 - i) * 10) << 30, 1);
    assert_null(of_datastore(world, NOW, FINDING_TIME_TO_FULL));
    assert_false(world->judgement.judged[FINDING_TIME_TO_FULL]);
}

static void series_stay_bounded(void **state)
{
    struct series series = { .n = 0 };
    double slope;

    (void)state;
    assert_false(series_slope(&series, 0, 2, &slope));
    for (uint64_t i = 0; i < 10000; i++)
        series_add(&series, T0_USEC + i * USEC_PER_SEC, 5 * i, USEC_PER_SEC);
    assert_true(series.n <= SERIES_MAX);
    assert_int_equal(series.samples[0].at, T0_USEC);
    assert_int_equal(series.samples[series.n - 1].value, 5 * 9999);
    for (unsigned i = 1; i < series.n; i++)
        assert_true(series.samples[i].at > series.samples[i - 1].at);
    assert_true(series_slope(&series, 0, 4, &slope));
    assert_true(slope > 4.99 && slope < 5.01);
    /* Samples that come too soon change nothing. */
    series_add(&series, T0_USEC + 10000 * USEC_PER_SEC, 7, 10 * USEC_PER_SEC);
    assert_int_equal(series.samples[series.n - 1].value, 5 * 9999);
    /* A clock that was ahead, and was put right: it goes on from then, not from what was ahead. */
    series_add(&series, T0_USEC + 5000 * USEC_PER_SEC, 7, 0);
    assert_int_equal(series.samples[series.n - 1].value, 7);
    series_add(&series, T0_USEC + 5001 * USEC_PER_SEC, 8, USEC_PER_SEC);
    assert_int_equal(series.samples[series.n - 1].value, 8);
    assert_true(series.n > 2);
    for (unsigned i = 1; i < series.n; i++)
        assert_true(series.samples[i].at > series.samples[i - 1].at);
}

/* ---- parents that are written ---------------------------------------------------------------- */

static void a_parent_is_written(void **state)
{
    struct world *world = *state;
    struct image *base = add(world, "/vm/base", NULL), *one = add(world, "/vm/one", "/vm/base");
    struct virt_layer of_base = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/base") },
                      of_one[] = { { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/one") },
                                   { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/base") } };
    struct virt_disk base_disk = { .target = TEXT("vda"), .layers = &of_base, .n_layers = 1 };
    struct virt_disk one_disk = { .target = TEXT("vda"), .layers = of_one, .n_layers = 1 };
    struct virt_domain *tmpl = fixture_domain(&world->virt, TEXT("tmpl"), 3, &base_disk, 1);
    struct virt_domain *web = fixture_domain(&world->virt, TEXT("web"), 0, &one_disk, 1);
    struct virt_snapshot_disk made = { .target = TEXT("vda"), .kind = VIRT_SNAPSHOT_EXTERNAL,
                                       .path = TEXT("/vm/one") };
    struct virt_snapshot snapshots[] = {
        { .name = TEXT("s1"), .current = true },
        { .name = TEXT("s2"), .parent = TEXT("s1"), .disks = &made, .n_disks = 1 },
    };
    const struct condition *found;

    one->identity.btime = T0 + HOUR_NSEC / 2;
    base->use = base->audit->use = FILES_WRITER;
    /* It was opened, and not written: */
    refresh(world);
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    base->fingerprint.mtime = T0 + HOUR_NSEC;
    found = of_image(world, base, FINDING_PARENT_WRITTEN);
    assert_string_equal(summary(found), "is written as disk vda of domain tmpl, though 1 overlay "
                                        "that was made before still stands on it");
    assert_int_equal(found->severity, SEVERITY_ERROR);
    /* What was written stays so when the domain is shut off, until no such overlay is left. */
    tmpl->state = VIRT_SHUT_OFF;
    tmpl->id = -1;
    refresh(world);
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    assert_false(world->judgement.judged[FINDING_PARENT_WRITTEN]);
    one->identity.btime = T0 + 2 * HOUR_NSEC;
    base->fingerprint.ctime = T0 + HOUR_NSEC;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    assert_true(world->judgement.judged[FINDING_PARENT_WRITTEN]);
    one->identity.btime = T0 + HOUR_NSEC / 2;
    tmpl->state = VIRT_RUNNING;
    tmpl->id = 3;

    /* A block job writes below: a commit, which is legitimate. */
    base_disk.job.type = TEXT("active-commit");
    refresh(world);
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    base_disk.job.type = NULL;

    /* Nobody needs the overlay: a commit left it behind, or a revert. */
    web->n_disks = 0;
    refresh(world);
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    tmpl->snapshots = snapshots;
    tmpl->n_snapshots = 2;
    snapshots[0].current = false;
    snapshots[1].current = true;        /* a commit leaves the snapshot where it was */
    refresh(world);
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    snapshots[0].current = true;        /* it was put back to before the overlay was made */
    snapshots[1].current = false;
    refresh(world);
    assert_non_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    tmpl->snapshots = NULL;
    tmpl->n_snapshots = 0;
}

/* At a start it is not known yet that it is a golden image: what was told of one stays. */
static void snapshots_in_a_golden_image(void **state)
{
    struct world *world = *state;
    struct image *base = add(world, "/vm/base", NULL);
    struct qca_snapshot taken = { .id = TEXT("1"), .name = TEXT("x") };
    struct qca_image_info *info = &base->audit->report->layers[0].info;

    info->snapshots = &taken;
    info->n_snapshots = info->snapshot_count = 1;
    graph_set_first_pass(world->store.graph, true);
    refresh(world);
    assert_null(of_image(world, base, FINDING_INTERNAL_SNAPSHOTS));
    assert_false(world->judgement.judged[FINDING_INTERNAL_SNAPSHOTS]);
    graph_set_first_pass(world->store.graph, false);
    refresh(world);
    assert_null(of_image(world, base, FINDING_INTERNAL_SNAPSHOTS));
    assert_true(world->judgement.judged[FINDING_INTERNAL_SNAPSHOTS]);
    info->snapshots = NULL;
    info->n_snapshots = 0;
}

/* What the times of the files say to a daemon that was not there. */
static void a_parent_was_written(void **state)
{
    struct world *world = *state;
    struct image *base = add(world, "/vm/base", NULL), *one = add(world, "/vm/one", "/vm/base"),
                 *two, *three, *before;
    struct virt_layer of_base = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/base") },
                      of_one = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/one") };
    struct virt_disk base_disk = { .target = TEXT("vda"), .layers = &of_base, .n_layers = 1 };
    struct virt_disk one_disk = { .target = TEXT("vda"), .layers = &of_one, .n_layers = 1 };
    struct baseline baseline = { .has_digest = true, .source = BASELINE_PARENT };
    struct qca_snapshot taken = { .id = TEXT("1") };
    struct qca_image_info *now;
    const struct condition *found;

    one->audit->report->layers[0].check.allocated_clusters = 5;
    one->identity.btime = T0 + HOUR_NSEC / 2;
    one->fingerprint.mtime = T0 + HOUR_NSEC;
    base->fingerprint.mtime = base->fingerprint.ctime = T0 + 2 * HOUR_NSEC;
    refresh(world);
    found = of_image(world, base, FINDING_PARENT_WRITTEN);
    assert_string_equal(summary(found), "was written, or touched, after 1 overlay was made on it, "
                                        "and no commit is known to explain it");
    assert_int_equal(found->severity, SEVERITY_ERROR);
    /* A commit, and a guest at work, write the overlay afterwards. */
    one->fingerprint.mtime = T0 + 3 * HOUR_NSEC;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    one->fingerprint.mtime = T0 + HOUR_NSEC;
    /* Nobody used the overlay before the template was brought up to date, unless something stands
     * on it. */
    one->audit->report->layers[0].check.allocated_clusters = 0;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    two = add(world, "/vm/two", "/vm/one");
    refresh(world);
    assert_non_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    /* The layers above were merged down, and another overlay was made to stand on the base. */
    three = add(world, "/vm/three", "/vm/base");
    three->identity.btime = three->fingerprint.mtime = base->fingerprint.mtime + HOUR_NSEC;
    refresh(world);
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    /* It was there before, a disk of its own: neither its commit nor its guest explains what one
     * stands on. */
    three->identity.btime = T0 + HOUR_NSEC / 2;
    graph_update(world->store.graph, three);
    refresh(world);
    assert_string_equal(summary(of_image(world, base, FINDING_PARENT_WRITTEN)),
                        "was written, or touched, after 1 overlay was made on it, and no commit is "
                        "known to explain it");
    graph_remove(world->store.graph, three);
    graph_remove(world->store.graph, two);
    refresh(world);
    one->audit->report->layers[0].check.allocated_clusters = 5;
    /* A copy of the overlay was made when it was copied: nobody knows when the overlay was. */
    one->identity.btime = T0 + HOUR_NSEC + 1;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    /* unless the image was seen as it was before: the write is certain */
    before = add(world, "/vm/before", NULL);
    before->audit->identity = base->audit->identity;
    before->audit->fingerprint.mtime = T0;
    base->audit_before = before->audit;
    assert_int_equal(of_image(world, base, FINDING_PARENT_WRITTEN)->severity, SEVERITY_ERROR);
    /* and it was not the header alone that was written: another parent, a snapshot, a bitmap */
    now = &base->audit->report->layers[0].info;
    now->snapshot_count++;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    now->snapshot_count--;
    now->n_bitmaps++;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    now->n_bitmaps--;
    now->compatible_features ^= 1;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    now->compatible_features ^= 1;
    now->incompatible_features ^= QCA_INCOMPAT_DIRTY;       /* as of a write that was broken off */
    assert_non_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    now->incompatible_features ^= QCA_INCOMPAT_DIRTY;
    now->virtual_size += 512;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    now->virtual_size -= 1024;              /* what an overlay sees there is gone */
    assert_non_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    now->virtual_size += 512;
    now->parent = TEXT("/vm/moved");
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    base->audit_before = NULL;
    one->identity.btime = T0 + HOUR_NSEC / 2;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    now->parent = NULL;
    now->n_bitmaps = 1;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    now->n_bitmaps = 0;
    assert_non_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    taken.date_sec = (T0 + 2 * HOUR_NSEC) / (int64_t)NSEC_PER_SEC - 3;
    now->snapshots = &taken;
    now->n_snapshots = 1;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    taken.date_sec -= 3600;
    assert_non_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    now->snapshots = NULL;
    now->n_snapshots = 0;
    /* The content before the write is known, and compared; after it, it says nothing. */
    base->baseline = &baseline;
    baseline.fingerprint.mtime = T0;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    baseline.fingerprint.mtime = base->fingerprint.mtime;
    assert_non_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    base->baseline = NULL;

    /* A file of its own, made later, as in a folder that was copied. */
    base->identity.btime = T0 + HOUR_NSEC + 1;
    found = of_image(world, base, FINDING_PARENT_WRITTEN);
    assert_int_equal(found->severity, SEVERITY_INFO);
    assert_string_equal(summary(found),
                        "was created after 1 overlay that stands on it: it was copied here, or it "
                        "replaced the image on which that was made");
    /* and has an older time, as what is fetched, unpacked or put back from a backup */
    base->fingerprint.mtime = T0 - 1000 * HOUR_NSEC;
    assert_int_equal(of_image(world, base, FINDING_PARENT_WRITTEN)->severity, SEVERITY_INFO);
    one->fingerprint.mtime = T0 + 2 * HOUR_NSEC;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    one->fingerprint.mtime = T0 + HOUR_NSEC;
    base->fingerprint.mtime = T0 + 2 * HOUR_NSEC;
    base->identity.btime = T0;
    /* A time that was set. */
    base->fingerprint.ctime++;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    base->fingerprint.ctime--;

    /* A domain's disk into which the overlay was merged: what is left of it matters to nobody, */
    (void)fixture_domain(&world->virt, TEXT("web"), 0, &base_disk, 1);
    refresh(world);
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    /* unless another domain uses it. */
    (void)fixture_domain(&world->virt, TEXT("clone"), 0, &one_disk, 1);
    refresh(world);
    assert_non_null(of_image(world, base, FINDING_PARENT_WRITTEN));
}

static void a_parent_is_replaced(void **state)
{
    struct world *world = *state;
    struct image *base = add(world, "/vm/base", NULL), *one = add(world, "/vm/one", "/vm/base"),
                 *old = add(world, "/vm/old", NULL);
    struct layer_report *now = &base->audit->report->layers[0],
                        *then = &old->audit->report->layers[0];
    struct baseline baseline = { .has_digest = true, .source = BASELINE_PARENT };

    one->audit->report->layers[0].check.allocated_clusters = 5;
    base->fingerprint.ctime = T0 + HOUR_NSEC;
    base->audit_before = old->audit;
    old->audit->fingerprint.mtime = T0 - HOUR_NSEC;
    old->audit->fingerprint.size = 77;
    now->has_metadata_digest = then->has_metadata_digest = true;
    then->metadata_digest[0] = 1;
    refresh(world);
    assert_string_equal(summary(of_image(world, base, FINDING_PARENT_WRITTEN)),
                        "is another file than the one on which 1 overlay was made");
    /* a copy of the same, by its tables or by its times; */
    base->audit->fingerprint.mtime = base->fingerprint.mtime = base->audit->identity.btime;
    then->metadata_digest[0] = 0;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    /* not one that came with another time: it is older than its file */
    base->audit->fingerprint.mtime = base->fingerprint.mtime = base->audit->identity.btime - 1;
    assert_non_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    base->audit->fingerprint.mtime = base->fingerprint.mtime = base->audit->identity.btime;
    then->metadata_digest[0] = 1;
    old->audit->fingerprint = base->audit->fingerprint;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    old->audit->fingerprint.size = 77;
    assert_non_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    /* before the overlay was used; */
    one->audit->report->layers[0].check.allocated_clusters = 0;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    one->audit->report->layers[0].check.allocated_clusters = 5;
    /* where the content is known, that says whether it matters; */
    base->baseline = &baseline;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    base->baseline = NULL;
    /* the same file, only changed. */
    old->audit->identity = base->audit->identity;
    assert_null(of_image(world, base, FINDING_PARENT_WRITTEN));
    base->audit_before = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_overlay_of_a_backup, setup, teardown),
        cmocka_unit_test_setup_teardown(whose_alert_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(io_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(jobs_that_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(three_ideas_of_a_chain, setup, teardown),
        cmocka_unit_test_setup_teardown(images_that_are_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(images_that_were_renamed, setup, teardown),
        cmocka_unit_test_setup_teardown(memory, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_of_a_family, setup, teardown),
        cmocka_unit_test_setup_teardown(very_many_snapshots, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_whose_layer_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(checkpoints_and_bitmaps, setup, teardown),
        cmocka_unit_test_setup_teardown(unmanaged_layers, setup, teardown),
        cmocka_unit_test_setup_teardown(a_clone_is_no_snapshot, setup, teardown),
        cmocka_unit_test_setup_teardown(a_transient_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(names_that_mislead, setup, teardown),
        cmocka_unit_test_setup_teardown(not_looked_up_yet, setup, teardown),
        cmocka_unit_test_setup_teardown(golden_or_forked, setup, teardown),
        cmocka_unit_test_setup_teardown(copied_trees, setup, teardown),
        cmocka_unit_test_setup_teardown(orphans, setup, teardown),
        cmocka_unit_test_setup_teardown(backup_tools, setup, teardown),
        cmocka_unit_test_setup_teardown(roles, setup, teardown),
        cmocka_unit_test_setup_teardown(in_use_by_libvirts_word, setup, teardown),
        cmocka_unit_test_setup_teardown(one_writer_below_clones, setup, teardown),
        cmocka_unit_test_setup_teardown(a_parent_by_its_name, setup, teardown),
        cmocka_unit_test_setup_teardown(data_files, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_datastore_leaves_out, setup, teardown),
        cmocka_unit_test_setup_teardown(whoever_wrote_the_header, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_guest_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(foreign_writers, setup, teardown),
        cmocka_unit_test_setup_teardown(space, setup, teardown),
        cmocka_unit_test_setup_teardown(series_stay_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(a_parent_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(snapshots_in_a_golden_image, setup, teardown),
        cmocka_unit_test_setup_teardown(a_parent_was_written, setup, teardown),
        cmocka_unit_test_setup_teardown(a_parent_is_replaced, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
