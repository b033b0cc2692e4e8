/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The gate of printed commands: it opens for a sound world, and each row of the table of obstacles
 * closes it, with its sentence. */
#include "unit/remedy-fixture.h"
#include "unit/store-fixture.h"

#include <stdio.h>

#include "daemon/config/config.h"
#include "daemon/remedy/gate.h"
#include "unit/virt-fixture.h"

#define NOW (T0_USEC + 2 * HOUR)

/* A disk with two snapshots, a domain that is shut off on the last of them, and an image alone. */
struct world {
    struct fixture_store store;
    struct config *config;
    struct virt_fixture virt;
    struct usage_index *index;
    struct image *own, *mid, *leaf, *alone, *more;
    struct virt_layer layers[3], other_layer;
    struct virt_disk disk, other_disk;
    struct virt_domain *domain;
    struct looks *looks;
    bool live;
    bool libvirt_unknown;
    const char *missing;        /* a path of libvirt's at which nothing is */
    enum files_use leaf_use;
    /* what the look at an image, and at the copy's name, says instead */
    const struct image *looked;
    struct look answer;
    bool copy_exists;
    uint64_t room;
};

/* Texts that outlive what refers to them. */
static char text_copy[] = "copy";
static char text_vm_web_s2[] = "/vm/web.s2";
static char text_qcow2[] = "qcow2";
static char text_vda[] = "vda";
static char text_web[] = "web";
static char text_vm_web_qcow2[] = "/vm/web.qcow2";
static char text_app[] = "app";
static char text_vdb[] = "vdb";
static char text_vm_alone_qcow2[] = "/vm/alone.qcow2";
static char text_vm_web_s1[] = "/vm/web.s1";

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    assert_int_equal(config_new(&world->config), 0);
    fixture_store_begin(&world->store, "vm", "/vm", &world->config->policy);
    fixture_virt_begin(&world->virt);
    world->own = fixture_store_add(&world->store, "/vm/web.qcow2", NULL, NOW - HOUR);
    world->mid = fixture_store_add(&world->store, "/vm/web.s1", "/vm/web.qcow2", NOW - HOUR);
    world->leaf = fixture_store_add(&world->store, "/vm/web.s2", "/vm/web.s1", NOW - HOUR);
    world->alone = fixture_store_add(&world->store, "/vm/alone.qcow2", NULL, NOW - HOUR);
    world->layers[0] = (struct virt_layer){ .source = VIRT_SOURCE_FILE, .path = text_vm_web_s2,
                                            .format = text_qcow2 };
    world->disk = (struct virt_disk){ .target = text_vda, .layers = world->layers,
                                      .n_layers = 1 };
    world->domain = fixture_domain(&world->virt, text_web, 0, &world->disk, 1);
    world->room = UINT64_MAX;
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    fixture_store_end(&world->store);
    usage_index_free(world->index);
    fixture_virt_end(&world->virt);
    config_free(world->config);
    free(world);
    return 0;
}

static void look_up(void *userdata, const char *path, struct usage_file *ret_file)
{
    const struct world *world = userdata;

    ret_file->missing = world->missing && strcmp(path, world->missing) == 0;
}

static void refresh(struct world *world)
{
    struct usage_index *before = world->index;

    assert_int_equal(usage_index_new(fixture_virt_status(&world->virt), before, look_up, world,
                                     &world->index),
                     0);
    graph_set_usage(world->store.graph, world->index);
    usage_index_free(before);
    for (size_t i = 0; i < world->store.n_images; i++) {
        struct image *image = world->store.images[i];

        image->audit->fingerprint = image->fingerprint;
        assert_int_equal(graph_update(world->store.graph, image), 0);
    }
    assert_int_equal(graph_refresh(world->store.graph, NULL, NULL), 0);
}

/* Answers all that is wanted. True when there was anything. */
static bool answer(struct world *world)
{
    struct look *look;
    bool any = false;

    while ((look = looks_next(world->looks))) {
        any = true;
        fixture_answer(world->store.graph, look);
        if (world->looked && strcmp(look->path, world->looked->path) == 0) {
            if (world->answer.error < 0)
                look->error = world->answer.error;
            if (world->answer.stat.mtime != 0)
                look->stat.mtime = world->answer.stat.mtime;
            look->use = world->answer.use;
        } else if (look->kind == LOOK_ROOM) {
            look->available = world->room;
        } else if (strcmp(look->path, "/vm/alone.qcow2.before-repair") == 0) {
            look->error = world->copy_exists ? 0 : -ENOENT;
        }
    }
    return any;
}

/* What the commands are about: the chain is merged, or the image alone gets these acts. */
static struct gate gate_of(struct world *world, struct remedy *remedy, unsigned acts)
{
    struct gate gate = gate_begin(remedy, world->store.graph);

    if (acts & GATE_FILL) {
        gate_domain(&gate, world->domain, &world->disk, world->live);
        gate_image(&gate, world->leaf, GATE_LOSE);
        gate_image(&gate, world->mid, GATE_LOSE);
        gate_image(&gate, world->own, GATE_FILL);
        return gate;
    }
    gate_image(&gate, world->alone, acts);
    if (acts & GATE_COPY) {
        gate_target(&gate, "/vm/alone.qcow2.before-repair");
        gate_room(&gate, "/vm/alone.qcow2.before-repair", 1 << 20);
    }
    return gate;
}

/* What the gate says; "open" when it is. */
static const char *said_by_gate(struct world *world, unsigned acts)
{
    static char text[8192];
    bool open = false;

    text[0] = '\0';
    refresh(world);
    assert_int_equal(looks_new(world->libvirt_unknown, &world->looks), 0);
    for (bool more = true; more; more = answer(world)) {
        struct remedy remedy = { .steps = json_object_new_array(), .looks = world->looks };
        struct gate gate = gate_of(world, &remedy, acts);

        open = gate_is_open(&gate);
        assert_int_equal(remedy.error, 0);
        snprintf(text, sizeof(text), "%s",
                 open ? "open" : json_object_to_json_string_ext(remedy.steps,
                                                                JSON_C_TO_STRING_NOSLASHESCAPE));
        gate_done(&gate);
        json_object_put(remedy.steps);
    }
    world->looks = looks_free(world->looks);
    return text;
}

static struct qca_image_info *info(struct image *image)
{
    return &image->audit->report->layers[0].info;
}

/* ---- one change each ------------------------------------------------------------------------- */

static void odd_name(struct world *world)
{
    free(world->alone->path);
    graph_remove(world->store.graph, world->alone);
    world->alone->path = strdup("/vm/a\nb.qcow2");
    assert_int_equal(graph_add(world->store.graph, world->alone), 0);
}

static void offline(struct world *world)
{
    world->store.datastore.state = DATASTORE_OFFLINE;
}

static void gone(struct world *world)
{
    world->looked = world->alone;
    world->answer.error = -ENOENT;
}

static void not_looked_at(struct world *world)
{
    world->looked = world->alone;
    world->answer.error = -ETIMEDOUT;
}

static void network(struct world *world)
{
    world->store.datastore.root.network = true;
}

static void libvirt_reads(struct world *world)
{
    world->virt.status->connections[0].complete = false;
}

static void libvirt_says_nothing(struct world *world)
{
    world->libvirt_unknown = true;
}

static void not_audited(struct world *world)
{
    world->alone->audit->report->error = -EIO;
}

static void changed(struct world *world)
{
    world->looked = world->alone;
    world->answer.stat.mtime = T0 + 5;
}

/* Another domain is on the own layer itself. */
static void other_domain(struct world *world)
{
    world->other_layer = (struct virt_layer){ .source = VIRT_SOURCE_FILE,
                                              .path = text_vm_web_qcow2 };
    world->other_disk = (struct virt_disk){ .target = text_vda, .layers = &world->other_layer,
                                            .n_layers = 1 };
    (void)fixture_domain(&world->virt, text_app, 0, &world->other_disk, 1);
}

/* And the domain that is merged has it as another disk of its own. */
static void other_disk(struct world *world)
{
    static struct virt_disk disks[2];

    world->other_layer = (struct virt_layer){ .source = VIRT_SOURCE_FILE,
                                              .path = text_vm_web_qcow2 };
    disks[0] = world->disk;
    disks[1] = (struct virt_disk){ .target = text_vdb, .layers = &world->other_layer,
                                   .n_layers = 1 };
    world->domain->disks = disks;
    world->domain->n_disks = 2;
}

static void orphan_of_a_domain(struct world *world)
{
    world->other_layer = (struct virt_layer){ .source = VIRT_SOURCE_FILE,
                                              .path = text_vm_alone_qcow2 };
    world->other_disk = (struct virt_disk){ .target = text_vda, .layers = &world->other_layer,
                                            .n_layers = 1 };
    (void)fixture_domain(&world->virt, text_app, 0, &world->other_disk, 1);
}

static void saved(struct world *world)
{
    world->domain->state = VIRT_SAVED;
}

static void running(struct world *world)
{
    world->domain->id = 3;
    world->domain->state = VIRT_RUNNING;
}

static void locked(struct world *world)
{
    world->looked = world->alone;
    world->answer.use = FILES_WRITER;
}

static void locked_for_reading(struct world *world)
{
    world->looked = world->alone;
    world->answer.use = FILES_FROZEN;
}

/* The domain runs, and QEMU has the chain: that is as it should be. */
static void live(struct world *world)
{
    running(world);
    world->live = true;
    world->layers[1] = (struct virt_layer){ .source = VIRT_SOURCE_FILE, .path = text_vm_web_s1,
                                            .format = text_qcow2 };
    world->layers[2] = (struct virt_layer){ .source = VIRT_SOURCE_FILE,
                                            .path = text_vm_web_qcow2,
                                            .format = text_qcow2 };
    world->disk.n_layers = 3;
    world->leaf->locked = world->leaf->use = FILES_WRITER;
    world->mid->locked = world->own->locked = FILES_FROZEN;
}

/* But somebody else writes its lowest layer. */
static void live_with_a_stranger(struct world *world)
{
    live(world);
    world->own->locked = FILES_WRITER;
}

static void sibling(struct world *world)
{
    world->more = fixture_store_add(&world->store, "/vm/web.s1b", "/vm/web.qcow2", NOW - HOUR);
}

static void data_of_another(struct world *world)
{
    world->more = fixture_store_add(&world->store, "/vm/front.qcow2", NULL, NOW - HOUR);
    world->more->data_file = (struct reference){ .state = REFERENCE_FOUND,
                                                 .stored = strdup("alone.qcow2"),
                                                 .path = strdup("/vm/alone.qcow2"),
                                                 .identity = world->alone->identity };
}

static void shared_data_file(struct world *world)
{
    struct image *data = fixture_store_add(&world->store, "/vm/data", NULL, NOW - HOUR);
    struct image *users[] = { world->alone, NULL };

    users[1] = fixture_store_add(&world->store, "/vm/front.qcow2", NULL, NOW - HOUR);
    for (size_t i = 0; i < 2; i++)
        users[i]->data_file = (struct reference){ .state = REFERENCE_FOUND,
                                                  .stored = strdup("data"),
                                                  .path = strdup("/vm/data"),
                                                  .identity = data->identity };
}

static void golden(struct world *world)
{
    static char pattern[] = "/vm/alone*", *patterns[] = { pattern, NULL };
    static struct policy policy;

    policy = world->config->policy;
    policy.golden = patterns;
    graph_set_policy(world->store.graph, &policy);
}

static void call(struct world *world, struct image *image, const char *path)
{
    graph_remove(world->store.graph, image);
    free(image->path);
    image->path = strdup(path);
    assert_int_equal(graph_add(world->store.graph, image), 0);
}

static void kept_copy(struct world *world)
{
    call(world, world->alone, "/vm/web.qcow2.before-repair");
}

static void put_aside(struct world *world)
{
    call(world, world->alone, "/vm/alone.qcow2.orphan");
}

static void backup_of_a_tool(struct world *world)
{
    call(world, world->alone, "/vm/vzdump-qemu-100-2024_01_01-00_00_00.qcow2");
}

/* What a backup tool leaves behind is to be moved away. */
static void scratch_of_a_tool(struct world *world)
{
    call(world, world->alone, "/vm/web.qcow2.backup-scratch");
}

/* A domain's disk is no copy, however it is called. */
static void disk_called_as_a_copy(struct world *world)
{
    static char path[] = "/vm/alone.old";

    call(world, world->alone, path);
    world->other_layer = (struct virt_layer){ .source = VIRT_SOURCE_FILE, .path = path };
    world->other_disk = (struct virt_disk){ .target = text_vda, .layers = &world->other_layer,
                                            .n_layers = 1 };
    (void)fixture_domain(&world->virt, text_app, 0, &world->other_disk, 1);
}

/* A definition names a disk that is not there. */
static void lost_disk(struct world *world)
{
    static char path[] = "/vm/app.qcow2";

    world->missing = path;
    world->other_layer = (struct virt_layer){ .source = VIRT_SOURCE_FILE, .path = path,
                                              .format = text_qcow2 };
    world->other_disk = (struct virt_disk){ .target = text_vda, .layers = &world->other_layer,
                                            .n_layers = 1 };
    (void)fixture_domain(&world->virt, text_app, 0, &world->other_disk, 1);
}

static void lost_raw_disk(struct world *world)
{
    static char raw[] = "raw";

    lost_disk(world);
    world->other_layer.format = raw;
}

static void lost_disk_elsewhere(struct world *world)
{
    static char path[] = "/elsewhere/app.qcow2";

    lost_disk(world);
    world->missing = world->other_layer.path = path;
}

static void lost_medium(struct world *world)
{
    static char cdrom[] = "cdrom";

    lost_disk(world);
    world->other_disk.device = cdrom;
}

/* What the layer stands on is declared golden. */
static void clone(struct world *world)
{
    static char pattern[] = "/vm/web.qcow2", *patterns[] = { pattern, NULL };
    static struct policy policy;

    policy = world->config->policy;
    policy.golden = patterns;
    graph_set_policy(world->store.graph, &policy);
}

static void hard_link(struct world *world)
{
    world->alone->fingerprint.links = 2;
}

static void loop(struct world *world)
{
    world->own->parent = (struct reference){ .state = REFERENCE_FOUND, .stored = strdup("web.s2"),
                                             .format = strdup("qcow2"),
                                             .path = strdup("/vm/web.s2") };
}

static void refused(struct world *world)
{
    world->own->parent = (struct reference){ .state = REFERENCE_ESCAPES,
                                             .stored = strdup("/etc/passwd"),
                                             .format = strdup("raw") };
}

static void refused_alone(struct world *world)
{
    world->alone->parent = (struct reference){ .state = REFERENCE_ESCAPES,
                                               .stored = strdup("/srv/other.qcow2"),
                                               .format = strdup("qcow2") };
}

static void remote_data(struct world *world)
{
    world->alone->data_file = (struct reference){ .state = REFERENCE_IS_REMOTE,
                                                  .stored = strdup("nbd://x/y") };
}

static void incomplete(struct world *world)
{
    world->own->parent = (struct reference){ .state = REFERENCE_MISSING, .stored = strdup("lost"),
                                             .format = strdup("raw") };
}

static void foreign_format(struct world *world)
{
    world->own->audit->report->layers[0].probed_format = QCA_FORMAT_UNKNOWN;
}

static void encrypted(struct world *world)
{
    info(world->own)->crypt_method = QCA_CRYPT_LUKS;
}

static void damaged(struct world *world)
{
    world->own->audit->report->layers[0].check.corruptions = 1;
}

static void data_file(struct world *world)
{
    info(world->own)->incompatible_features |= QCA_INCOMPAT_DATA_FILE;
}

static void snapshots(struct world *world)
{
    info(world->mid)->snapshot_count = 1;
}

static void bitmaps(struct world *world)
{
    struct qca_bitmap *bitmap = calloc(1, sizeof(*bitmap));

    assert_non_null(bitmap);
    bitmap->name = strdup("backup0");
    info(world->leaf)->bitmaps = bitmap;
    info(world->leaf)->n_bitmaps = 1;
}

static void parent_format(struct world *world)
{
    free(world->mid->parent.format);
    world->mid->parent.format = NULL;
}

static void larger(struct world *world)
{
    info(world->own)->virtual_size += 65536;
}

static void written_after(struct world *world)
{
    world->own->fingerprint.mtime = T0 + 1;
}

static void other_owner(struct world *world)
{
    world->mid->fingerprint.uid = 1000;
}

static void open_mode(struct world *world)
{
    world->own->fingerprint.mode = 0100644;
}

static void device(struct world *world)
{
    world->alone->fingerprint.mode = 060600;
}

static void device_below(struct world *world)
{
    live(world);
    world->own->fingerprint.mode = 060600;
}

static void mode_in_use(struct world *world)
{
    orphan_of_a_domain(world);
    world->other_disk.read_only = false;
}

static void transient(struct world *world)
{
    world->disk.transient = true;
}

static void job(struct world *world)
{
    world->disk.job.type = text_copy;
}

static void backup(struct world *world)
{
    world->domain->backup = true;
}

static void nothing(struct world *world)
{
}

/* ---- the cases ------------------------------------------------------------------------------- */

static const struct gate_case {
    const char *row;            /* of the table; NULL: the gate opens */
    unsigned acts;
    void (*change)(struct world *world);
    const char *said;
} gate_cases[] = {
    { NULL, GATE_FILL, nothing, "open" },
    { NULL, GATE_FILL, live, "open" },
    { NULL, GATE_REPAIR | GATE_COPY, nothing, "open" },
    { NULL, GATE_MOVE, nothing, "open" },
    { NULL, GATE_MODE, nothing, "open" },
    { NULL, GATE_COPY | GATE_OPEN, locked_for_reading, "open" },
    { NULL, GATE_COPY | GATE_OPEN, kept_copy, "open" },
    { NULL, GATE_MOVE, scratch_of_a_tool, "open" },
    { NULL, GATE_REPAIR, disk_called_as_a_copy, "open" },
    { NULL, GATE_MOVE, lost_raw_disk, "open" },
    { NULL, GATE_MOVE, lost_disk_elsewhere, "open" },
    { NULL, GATE_MOVE, lost_medium, "open" },
    { NULL, GATE_REPAIR, lost_disk, "open" },
    { "name", GATE_REPAIR, odd_name, "every shell can quote" },
    { "offline", GATE_REPAIR, offline, "not online" },
    { "gone", GATE_REPAIR, gone, "no longer exists" },
    { "not-looked-at", GATE_REPAIR, not_looked_at, "could not be looked at" },
    { "network", GATE_REPAIR, network, "network file system" },
    { "libvirt", GATE_REPAIR, libvirt_reads, "does not report everything" },
    { "libvirt", GATE_REPAIR, libvirt_says_nothing, "does not report everything" },
    { "not-audited", GATE_REPAIR, not_audited, "was not audited yet" },
    { "changed", GATE_REPAIR, changed, "was changed since it was audited" },
    { "other-user", GATE_FILL, other_domain, "is used by domain app" },
    { "other-user", GATE_FILL, other_disk, "disk vdb of the same domain" },
    { "other-user", GATE_MOVE, orphan_of_a_domain, "is used by domain app" },
    { "saved", GATE_FILL, saved, "memory was saved" },
    { "in-use", GATE_FILL, running, "libvirt says so" },
    { "in-use", GATE_REPAIR, locked, "open for writing" },
    { "in-use", GATE_MOVE, locked_for_reading, "open for reading" },
    { "in-use", GATE_COPY, locked, "open for writing" },
    { "in-use", GATE_FILL, live_with_a_stranger, "which the domain does not explain" },
    { "other-overlay", GATE_FILL, sibling, "has another overlay" },
    { "data-of-another", GATE_MOVE, data_of_another, "holds the data of another image" },
    { "shared-data-file", GATE_REPAIR, shared_data_file, "also the data file of" },
    { "golden", GATE_WRITE, golden, "a golden image would be written" },
    { "kept-copy", GATE_REPAIR, kept_copy, "is a copy that is kept" },
    { "kept-copy", GATE_MOVE, put_aside, "is a copy that is kept" },
    { "kept-copy", GATE_WRITE, backup_of_a_tool, "is a copy that is kept" },
    { "lost-disk", GATE_MOVE, lost_disk, "definition names and that is not there: app" },
    { "template", GATE_FILL, clone, "may be a template" },
    { "hard-link", GATE_REPAIR, hard_link, "hard links, 2 in all" },
    { "loop", GATE_FILL, loop, "contains itself" },
    { "refused", GATE_FILL, refused, "names a file that no QEMU tool may open" },
    { "refused", GATE_READ, refused_alone, "names a file that no QEMU tool may open" },
    { "refused", GATE_REPAIR, remote_data, "names a file that no QEMU tool may open" },
    { "incomplete", GATE_FILL, incomplete, "is not complete" },
    { "format", GATE_FILL, foreign_format, "neither qcow2 nor raw" },
    { "encrypted", GATE_FILL, encrypted, "is encrypted" },
    { "damaged", GATE_FILL, damaged, "is damaged" },
    { "data-file", GATE_FILL, data_file, "keeps its data in another file" },
    { "internal-snapshots", GATE_FILL, snapshots, "internal snapshots (1)" },
    { "bitmaps", GATE_FILL, bitmaps, "persistent bitmaps (1)" },
    { "parent-format", GATE_FILL, parent_format, "parent's format rightly" },
    { "larger", GATE_FILL, larger, "is a larger disk" },
    { "written-after", GATE_FILL, written_after, "was written after the layer above" },
    { "owner", GATE_FILL, other_owner, "another owner" },
    { "owner", GATE_FILL, open_mode, "stricter mode" },
    { "device-full", GATE_FILL, device_below, "may be too small" },
    { "device-copy", GATE_COPY, device, "no room for a copy" },
    { "opened-by-mode", GATE_MODE, mode_in_use, "the mode of" },
    { "transient", GATE_FILL, transient, "transient disk" },
    { "job", GATE_FILL, job, "a block job runs" },
    { "job", GATE_FILL, backup, "a backup of the domain" },
};

static const struct obstacle *row_of(const char *name)
{
    for (size_t i = 0; i < gate_n_obstacles; i++)
        if (strcmp(gate_obstacles[i].name, name) == 0)
            return &gate_obstacles[i];
    fail_msg("there is no row %s", name);
    return NULL;
}

/* Each in a world of its own: without the change the gate is open for the same acts. */
static void each_row_closes_the_gate(void **state)
{
    for (size_t i = 0; i < sizeof(gate_cases) / sizeof(gate_cases[0]); i++) {
        const struct gate_case *one = &gate_cases[i];
        void *world = NULL;
        const char *said;

        setup(&world);
        if (one->row)
            assert_string_equal(said_by_gate(world, one->acts), "open");
        one->change(world);
        said = said_by_gate(world, one->acts);
        if (!strstr(said, one->said))
            fail_msg("case %zu (%s): expected \"%s\", not: %s", i, one->row ? one->row : "open",
                     one->said, said);
        if (one->row) {
            const char *find_out = row_of(one->row)->find_out;

            assert_non_null(strstr(said, "No command is given, because"));
            if (find_out && strlen(find_out) > 8 && !strchr(find_out, '"'))
                assert_non_null(strstr(said, find_out));
        }
        teardown(&world);
    }
}

static void each_row_has_a_case(void **state)
{
    for (size_t i = 0; i < gate_n_obstacles; i++) {
        bool found = false;

        for (size_t k = 0; k < sizeof(gate_cases) / sizeof(gate_cases[0]); k++)
            found |= gate_cases[k].row && strcmp(gate_cases[k].row, gate_obstacles[i].name) == 0;
        if (!found)
            fail_msg("no case for the row %s", gate_obstacles[i].name);
    }
}

static void targets_and_room(void **state)
{
    struct world *world = *state;

    world->copy_exists = true;
    assert_non_null(strstr(said_by_gate(world, GATE_COPY), "exists already"));
    world->copy_exists = false;
    world->room = 1 << 20;      /* just as much: others are at work there, too */
    assert_non_null(strstr(said_by_gate(world, GATE_COPY), "there is no room for"));
    world->room = 4 << 20;
    assert_string_equal(said_by_gate(world, GATE_COPY), "open");
}

static struct gate open_gate(struct world *world, struct remedy *remedy)
{
    struct gate gate;

    refresh(world);
    assert_int_equal(looks_new(false, &world->looks), 0);
    remedy->looks = world->looks;
    gate = gate_of(world, remedy, GATE_MOVE);
    (void)gate_would_open(&gate);
    assert_true(answer(world));
    assert_true(gate_is_open(&gate));
    return gate;
}

/* Without an open gate nothing is printed, and the remedy as a whole fails. */
static void no_way_around(void **state)
{
    struct world *world = *state;
    struct remedy remedy = { .steps = json_object_new_array() };
    struct gate gate = open_gate(world, &remedy), closed = gate_begin(&remedy, world->store.graph);

    remedy_command(&remedy, &gate, "mv -nT -- a b");
    remedy_and(&remedy, &gate, "true");
    remedy_look(&remedy, "fuser -v %s", "/vm/a");
    assert_int_equal(remedy.error, 0);
    assert_string_equal(json_object_to_json_string_ext(remedy.steps, JSON_C_TO_STRING_PLAIN),
                        "[{\"command\":\"mv -nT -- a b && true\"},"
                        "{\"command\":\"fuser -v \\/vm\\/a\"}]");
    /* Nothing to append to: what looks is no command that writes. */
    remedy_and(&remedy, &gate, "rm b");
    assert_int_equal(remedy.error, -EINVAL);
    remedy.error = 0;
    remedy_command(&remedy, &closed, "rm a");
    assert_int_equal(remedy.error, -EPERM);
    remedy.error = 0;
    remedy_command(&remedy, NULL, "rm a");
    assert_int_equal(remedy.error, -EPERM);
    remedy.error = 0;
    remedy_look(&remedy, "qemu-img check -r all %s", "/vm/a");
    assert_int_equal(remedy.error, -EPERM);
    assert_int_equal(json_object_array_length(remedy.steps), 2);
    gate_done(&gate);
    gate_done(&closed);
    world->looks = looks_free(world->looks);
    json_object_put(remedy.steps);
}

/* What is kept with a finding says who gives the command. */
static void without_looks(void **state)
{
    struct world *world = *state;
    struct remedy remedy = { .steps = json_object_new_array(), .finding = 17 };
    struct gate gate;

    refresh(world);
    gate = gate_of(world, &remedy, GATE_MOVE);
    assert_false(gate_is_open(&gate));
    assert_non_null(strstr(json_object_to_json_string(remedy.steps), "qcauditctl show 17"));
    gate_done(&gate);
    json_object_put(remedy.steps);
}

/* A chain of thousands is looked at as a whole, not the square of it. */
static void looks_are_bounded(void **state)
{
    struct looks *looks = NULL;
    char path[32];
    size_t n = 0;

    assert_int_equal(looks_new(false, &looks), 0);
    for (size_t i = 0; i < LOOKS_MAX; i++) {
        snprintf(path, sizeof(path), "/vm/%zu", i);
        assert_null(looks_ask(looks, LOOK_FILE, path));
        assert_null(looks_ask(looks, LOOK_FILE, path));
    }
    assert_int_equal(looks_ask(looks, LOOK_ROOM, "/vm/0")->error, -ENOBUFS);
    for (struct look *look; (look = looks_next(looks)); n++) {
        snprintf(path, sizeof(path), "/vm/%zu", n);
        assert_string_equal(look->path, path);
        look->answered = true;
        look->use = FILES_FROZEN;
    }
    assert_int_equal(n, LOOKS_MAX);
    assert_int_equal(looks_ask(looks, LOOK_FILE, "/vm/7")->use, FILES_FROZEN);
    looks_free(looks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_closes_the_gate),
        cmocka_unit_test(each_row_has_a_case),
        cmocka_unit_test_setup_teardown(targets_and_room, setup, teardown),
        cmocka_unit_test_setup_teardown(no_way_around, setup, teardown),
        cmocka_unit_test_setup_teardown(without_looks, setup, teardown),
        cmocka_unit_test(looks_are_bounded),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
