/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an overlay is to its parent: each row of the table of evidence, how rows are weighed, what
 * names say, and the age of a layer. */
#include "unit/virt-fixture.h"

#include <stdio.h>
#include <sys/stat.h>

#include "daemon/relate/internal.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"
#include "unit/store-fixture.h"

#define MINUTE (INT64_C(60) * (int64_t)NSEC_PER_SEC)
#define A_DAY (24 * HOUR_NSEC)

static char *golden_patterns[2];

struct world {
    struct policy policy;
    struct fixture_store store;
    struct virt_fixture virt;
    struct usage_index *index;
};

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    golden_patterns[0] = NULL;
    world->policy = (struct policy){ .golden = golden_patterns, .infer_golden = true };
    fixture_store_begin(&world->store, "vm", "/vm", &world->policy);
    fixture_virt_begin(&world->virt);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    fixture_store_end(&world->store);
    usage_index_free(world->index);
    fixture_virt_end(&world->virt);
    free(world);
    return 0;
}

static struct image *add(struct world *world, const char *path, const char *parent)
{
    return fixture_store_add(&world->store, path, parent, T0_USEC);
}

static void changed(struct world *world, struct image *image)
{
    assert_int_equal(graph_update(world->store.graph, image), 0);
}

static void listen(struct world *world)
{
    struct usage_index *before = world->index;

    assert_int_equal(usage_index_new(fixture_virt_status(&world->virt), before, NULL, NULL,
                                     &world->index), 0);
    graph_set_usage(world->store.graph, world->index);
    usage_index_free(before);
}

static const struct relation *of(struct world *world, const struct image *image)
{
    assert_int_equal(graph_refresh(world->store.graph, NULL, NULL), 0);
    return graph_relation(world->store.graph, image);
}

static void assert_is(struct world *world, const struct image *image, enum relation_kind kind,
                      enum relation_evidence decisive)
{
    const struct relation *relation = of(world, image);
    char *reason = graph_relation_reason(world->store.graph, image);

    assert_non_null(reason);
    if (relation->kind != kind || relation->decisive != decisive)
        fail_msg("%s: %s by %d (against: %d), not %s by %d: %s", image->path,
                 relation_kind_name(relation->kind), (int)relation->decisive,
                 (int)relation->against, relation_kind_name(kind), (int)decisive, reason);
    free(reason);
}

/* The rest of the evidence is weak or none: a base, and an overlay in another folder of which
 * nothing else is known. */
static struct image *pair(struct world *world, const char *path, const char *parent)
{
    (void)add(world, parent, NULL);
    return add(world, path, parent);
}

/* ---- the rows -------------------------------------------------------------------------------- */

static void row_libvirt_snapshot(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/x/web.qcow2", "/vm/y/base.qcow2");
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/x/web.qcow2") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
    struct virt_snapshot_disk sd = { .target = TEXT("vda"), .kind = VIRT_SNAPSHOT_EXTERNAL,
                                     .path = TEXT("/vm/x/web.qcow2"),
                                     .before = TEXT("/vm/y/base.qcow2") };
    struct virt_snapshot snapshot = { .name = TEXT("s1"), .created = T0_USEC, .disks = &sd,
                                      .n_disks = 1 };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 3, &disk, 1);

    assert_is(world, overlay, RELATION_CLONE, EVIDENCE_OTHER_FOLDER);
    domain->snapshots = &snapshot;
    domain->n_snapshots = 1;
    listen(world);
    assert_is(world, overlay, RELATION_SNAPSHOT, EVIDENCE_LIBVIRT_SNAPSHOT);
}

static void row_libvirt_branch(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/x/web.qcow2", "/vm/y/base.qcow2");
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/x/web.qcow2") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
    struct virt_snapshot_disk sd = { .target = TEXT("vda"), .kind = VIRT_SNAPSHOT_EXTERNAL,
                                     .path = TEXT("/vm/x/left.qcow2"),
                                     .before = TEXT("/vm/y/base.qcow2") };
    struct virt_snapshot snapshot = { .name = TEXT("s1"), .created = T0_USEC, .disks = &sd,
                                      .n_disks = 1 };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 3, &disk, 1);

    domain->snapshots = &snapshot;
    domain->n_snapshots = 1;
    listen(world);
    assert_is(world, overlay, RELATION_SNAPSHOT, EVIDENCE_LIBVIRT_BRANCH);
}

static void add_bitmap(struct image *image, const char *name)
{
    struct qca_image_info *info = &image->audit->report->layers[0].info;

    info->bitmaps = calloc(1, sizeof(*info->bitmaps));
    assert_non_null(info->bitmaps);
    info->bitmaps[0].name = strdup(name);
    info->n_bitmaps = 1;
}

static void row_libvirt_checkpoint(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/x/web.qcow2", "/vm/y/base.qcow2");
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/x/web.qcow2") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };
    struct virt_checkpoint_disk cd = { .target = TEXT("vda"), .bitmap = TEXT("monday") };
    struct virt_checkpoint checkpoint = { .name = TEXT("monday"), .disks = &cd, .n_disks = 1 };
    struct virt_domain *domain = fixture_domain(&world->virt, TEXT("web"), 3, &disk, 1);

    add_bitmap(overlay, "monday");
    domain->checkpoints = &checkpoint;
    domain->n_checkpoints = 1;
    listen(world);
    assert_is(world, overlay, RELATION_CLONE, EVIDENCE_OTHER_FOLDER);
    add_bitmap(world->store.images[0], "monday");
    changed(world, world->store.images[0]);
    assert_is(world, overlay, RELATION_SNAPSHOT, EVIDENCE_LIBVIRT_CHECKPOINT);
}

static void row_disk_moved(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/x/web.qcow2", "/vm/y/base.qcow2");
    struct graph *graph = world->store.graph;

    assert_int_equal(graph_note_disk_move(graph, overlay->path, "/vm/y/other.qcow2", T0_USEC), 1);
    assert_is(world, overlay, RELATION_CLONE, EVIDENCE_OTHER_FOLDER);
    assert_int_equal(graph_note_disk_move(graph, overlay->path, "/vm/y/base.qcow2", T0_USEC), 1);
    assert_int_equal(graph_note_disk_move(graph, overlay->path, "/vm/y/base.qcow2", T0_USEC), 0);
    assert_is(world, overlay, RELATION_SNAPSHOT, EVIDENCE_DISK_MOVED);
    /* Another file, made since, lies there now. */
    overlay->identity.btime = overlay->fingerprint.mtime = T0 + HOUR_NSEC;
    changed(world, overlay);
    assert_is(world, overlay, RELATION_CLONE, EVIDENCE_OTHER_FOLDER);
    graph_forget_disk_move(graph, overlay->path);
    assert_false(graph_has_disk_move(graph, overlay->path));
}

/* Layers of one disk in one folder, made one after the other: path[i] on path[i - 1]. */
static struct image *stack(struct world *world, const char *prefix, int digits, unsigned n,
                           int64_t step)
{
    char path[64], parent[64];
    struct image *image = NULL;

    for (unsigned i = 0; i < n; i++) {
        snprintf(path, sizeof(path), "%s%0*u.qcow2", prefix, digits, i);
        image = add(world, path, i > 0 ? parent : NULL);
        image->identity.btime = T0 + (int64_t)i * step;
        image->fingerprint.mtime = T0 + (int64_t)(i + 1) * step;
        changed(world, image);
        snprintf(parent, sizeof(parent), "%s", path);
    }
    return image;
}

static void row_series(void **state)
{
    struct world *world = *state;

    (void)stack(world, "/vm/web-", 1, 4, MINUTE / 100);
    assert_is(world, world->store.images[2], RELATION_UNKNOWN, EVIDENCE_WRITTEN_UNTIL);
    (void)add(world, "/vm/web-4.qcow2", "/vm/web-3.qcow2");
    for (unsigned i = 1; i < 5; i++)
        assert_is(world, world->store.images[i], RELATION_SNAPSHOT, EVIDENCE_SERIES);
}

static void row_snapshot_word(void **state)
{
    struct world *world = *state;

    assert_is(world, pair(world, "/snapshots/web.snap1.qcow2", "/vm/web.qcow2"), RELATION_SNAPSHOT,
              EVIDENCE_SNAPSHOT_WORD);
}

static void row_snapshot_name(void **state)
{
    struct world *world = *state;

    assert_is(world, pair(world, "/snapshots/web.before-update", "/vm/web.qcow2"),
              RELATION_SNAPSHOT, EVIDENCE_SNAPSHOT_WORD);
    assert_is(world, pair(world, "/snapshots/db.monday", "/vm/db.qcow2"), RELATION_SNAPSHOT,
              EVIDENCE_SNAPSHOT_NAME);
}

static void row_backup_name(void **state)
{
    struct world *world = *state;

    assert_is(world, pair(world, "/b/x-tempsnap.qcow2", "/vm/web.qcow2"), RELATION_SNAPSHOT,
              EVIDENCE_BACKUP_NAME);
}

/* Names that say nothing; one every six hours. */
static void row_rhythm(void **state)
{
    static const char *const names[] = { "/vm/a", "/vm/kk", "/vm/b", "/vm/zz", "/vm/q" };
    struct world *world = *state;
    struct image *image;

    for (unsigned i = 0; i < 5; i++) {
        image = add(world, names[i], i > 0 ? names[i - 1] : NULL);
        image->identity.btime = T0 + (int64_t)i * 6 * HOUR_NSEC;
        image->fingerprint.mtime = T0 + (int64_t)(i + 1) * 6 * HOUR_NSEC;
        changed(world, image);
    }
    for (unsigned i = 1; i < 5; i++)
        assert_is(world, world->store.images[i], RELATION_SNAPSHOT, EVIDENCE_RHYTHM);
    /* Once is no rhythm. */
    world->store.images[2]->fingerprint.mtime += 3 * HOUR_NSEC;
    changed(world, world->store.images[2]);
    assert_int_equal(of(world, world->store.images[2])->kind, RELATION_UNKNOWN);
}

static void row_run(void **state)
{
    static const char *const names[] = { "/vm/a", "/vm/kk", "/vm/b", "/vm/zz", "/vm/q", "/vm/ww" };
    struct world *world = *state;

    for (unsigned i = 0; i < 6; i++)
        (void)add(world, names[i], i > 0 ? names[i - 1] : NULL);
    for (unsigned i = 2; i < 6; i++)
        assert_is(world, world->store.images[i], RELATION_SNAPSHOT, EVIDENCE_RUN);
    /* The lowest may be the clone of a template that the others are snapshots of. */
    assert_is(world, world->store.images[1], RELATION_UNKNOWN, EVIDENCE_WRITTEN_UNTIL);
}

/* What strangers put on its layers does not part a series. */
static void a_strangers_overlay_parts_nothing(void **state)
{
    static const char *const names[] = { "/vm/a", "/vm/kk", "/vm/b", "/vm/zz", "/vm/q", "/vm/ww" };
    struct world *world = *state;
    struct image *theirs;

    for (unsigned i = 0; i < 6; i++) {
        struct image *image = add(world, names[i], i > 0 ? names[i - 1] : NULL);

        image->fingerprint.uid = 1000;
        changed(world, image);
    }
    assert_is(world, world->store.images[5], RELATION_SNAPSHOT, EVIDENCE_RUN);
    theirs = add(world, "/theirs/x", "/vm/b");
    theirs->fingerprint.uid = 1001;
    changed(world, theirs);
    for (unsigned i = 2; i < 6; i++)
        assert_is(world, world->store.images[i], RELATION_SNAPSHOT, EVIDENCE_RUN);
    /* Root's is no stranger's: two disks stand there. */
    theirs->fingerprint.uid = 0;
    changed(world, theirs);
    assert_is(world, world->store.images[3], RELATION_CLONE, EVIDENCE_OTHER_DISKS);
    theirs->fingerprint.uid = 1001;
    changed(world, theirs);
    for (unsigned i = 2; i < 6; i++)
        assert_is(world, world->store.images[i], RELATION_SNAPSHOT, EVIDENCE_RUN);
}

/* Nor does one deepen another's disk, or fork it, whatever it is called. */
static void row_stranger(void **state)
{
    struct world *world = *state;
    struct image *disk = add(world, "/vm/disk.qcow2", NULL), *own, *theirs;

    disk->fingerprint.uid = 1000;
    changed(world, disk);
    own = add(world, "/vm/disk.snap1", "/vm/disk.qcow2");
    own->fingerprint.uid = 1000;
    changed(world, own);
    assert_is(world, own, RELATION_SNAPSHOT, EVIDENCE_SNAPSHOT_WORD);
    theirs = add(world, "/vm/disk.snap2", "/vm/disk.qcow2");
    theirs->fingerprint.uid = 1001;
    changed(world, theirs);
    assert_is(world, own, RELATION_SNAPSHOT, EVIDENCE_SNAPSHOT_WORD);
    assert_is(world, theirs, RELATION_UNKNOWN, EVIDENCE_SNAPSHOT_WORD);
    assert_int_equal(graph_relation(world->store.graph, theirs)->against, EVIDENCE_STRANGER);
    assert_int_equal(graph_relation(world->store.graph, theirs)->unconsolidated, 0);
    assert_int_equal(graph_relation(world->store.graph, disk)->n_leaves, 1);
    assert_ptr_equal(graph_relation(world->store.graph, disk)->deepest_leaf, own);
    /* root may make snapshots of everybody's disks */
    theirs->fingerprint.uid = 0;
    changed(world, theirs);
    assert_is(world, theirs, RELATION_SNAPSHOT, EVIDENCE_SNAPSHOT_WORD);
    assert_int_equal(graph_relation(world->store.graph, disk)->n_leaves, 2);
}

/* Files that are renamed at each snapshot, or numbered from the newest: the base is one of them. */
static void row_run_that_counts_down(void **state)
{
    static const char *const names[] = { "/vm/00007.qcow2", "/vm/00006.qcow2", "/vm/00005.qcow2",
                                         "/vm/00004.qcow2", "/vm/00003.qcow2", "/vm/00002.qcow2" };
    struct world *world = *state;

    for (unsigned i = 0; i < 6; i++)
        (void)add(world, names[i], i > 0 ? names[i - 1] : NULL);
    for (unsigned i = 1; i < 6; i++)
        assert_is(world, world->store.images[i], RELATION_SNAPSHOT, EVIDENCE_RUN);
}

/* A template in the folder of its clone, of its size, written a minute before. */
static void row_written_until(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/web.qcow2", "/vm/debian.qcow2");

    world->store.images[0]->fingerprint.mtime = T0 - MINUTE;
    changed(world, world->store.images[0]);
    assert_is(world, overlay, RELATION_UNKNOWN, EVIDENCE_WRITTEN_UNTIL);
    assert_int_equal(of(world, overlay)->against, EVIDENCE_NONE);
    assert_int_equal(of(world, overlay)->unconsolidated, 0);
    assert_true(graph_is_template(world->store.graph, world->store.images[0]));
}

static void row_counted_name(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/web-2.qcow2", "/vm/web.qcow2");

    overlay->fingerprint.mtime = T0 - MINUTE;   /* else it is one written until then, too */
    changed(world, overlay);
    assert_is(world, overlay, RELATION_UNKNOWN, EVIDENCE_COUNTED_NAME);
}

static void row_below_series(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/own.qcow2", "/vm/base.qcow2");

    overlay->fingerprint.mtime = T0 - MINUTE;
    changed(world, overlay);
    assert_is(world, overlay, RELATION_UNKNOWN, EVIDENCE_NONE);
    /* What a series is named after is a disk's own layer: it may be a clone all the same. */
    (void)add(world, "/vm/own.s1", "/vm/own.qcow2");
    (void)add(world, "/vm/own.s2", "/vm/own.s1");
    (void)add(world, "/vm/own.s3", "/vm/own.s2");
    (void)add(world, "/vm/own.s4", "/vm/own.s3");
    assert_is(world, overlay, RELATION_UNKNOWN, EVIDENCE_NONE);

    overlay = pair(world, "/db/s1.qcow2", "/db/disk.qcow2");
    (void)add(world, "/db/s2.qcow2", "/db/s1.qcow2");
    (void)add(world, "/db/s3.qcow2", "/db/s2.qcow2");
    assert_is(world, overlay, RELATION_UNKNOWN, EVIDENCE_WRITTEN_UNTIL);
    (void)add(world, "/db/s4.qcow2", "/db/s3.qcow2");
    assert_is(world, overlay, RELATION_SNAPSHOT, EVIDENCE_BELOW_SERIES);
    /* It is one of them: four names are a series. */
    assert_is(world, graph_find(world->store.graph, "/db/s4.qcow2"), RELATION_SNAPSHOT,
              EVIDENCE_SERIES);
}

static void row_golden_policy(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/web.snap1", "/vm/web");

    golden_patterns[0] = (char[]){ "/vm/web" };
    graph_set_policy(world->store.graph, &world->policy);
    assert_is(world, overlay, RELATION_CLONE, EVIDENCE_GOLDEN_POLICY);
}

static void row_golden_baseline(void **state)
{
    struct world *world = *state;
    struct baseline baseline = { .source = BASELINE_INFERRED };
    struct image *overlay = pair(world, "/vm/web.qcow2", "/vm/debian.qcow2");

    world->store.images[0]->baseline = &baseline;
    changed(world, world->store.images[0]);
    assert_is(world, overlay, RELATION_CLONE, EVIDENCE_GOLDEN_BASELINE);
    world->store.images[0]->baseline = NULL;
}

/* app-test stands on app's own disk. */
static void row_other_domain(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/app.test1", "/vm/app.qcow2");
    struct virt_layer layers[] = { { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/app.qcow2") },
                                   { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/app.test1") } };
    struct virt_disk disks[] = { { .target = TEXT("vda"), .layers = &layers[0], .n_layers = 1 },
                                 { .target = TEXT("vda"), .layers = &layers[1], .n_layers = 1 } };

    assert_is(world, overlay, RELATION_SNAPSHOT, EVIDENCE_SNAPSHOT_NAME);
    (void)fixture_domain(&world->virt, TEXT("app"), 0, &disks[0], 1);
    (void)fixture_domain(&world->virt, TEXT("app-test"), 3, &disks[1], 1);
    listen(world);
    assert_is(world, overlay, RELATION_CLONE, EVIDENCE_OTHER_DOMAIN);
}

static void row_other_disks(void **state)
{
    struct world *world = *state;
    struct image *one = pair(world, "/vm/one.qcow2", "/vm/base.qcow2"),
                 *two = add(world, "/vm/two.qcow2", "/vm/base.qcow2");

    assert_is(world, one, RELATION_CLONE, EVIDENCE_OTHER_DISKS);
    assert_is(world, two, RELATION_CLONE, EVIDENCE_OTHER_DISKS);
    graph_remove(world->store.graph, two);
    assert_is(world, one, RELATION_UNKNOWN, EVIDENCE_WRITTEN_UNTIL);
}

/* A copy of an overlay that was put aside is no disk of its own. */
static void copies_are_no_disks(void **state)
{
    struct world *world = *state;
    struct image *one = pair(world, "/vm/one.qcow2", "/vm/base.qcow2");

    (void)add(world, "/vm/one.qcow2.before-repair", "/vm/base.qcow2");
    (void)add(world, "/vm/one.qcow2.bak", "/vm/base.qcow2");
    assert_is(world, one, RELATION_UNKNOWN, EVIDENCE_WRITTEN_UNTIL);
    assert_false(of(world, world->store.images[0])->golden);
}

static void row_template_place(void **state)
{
    static const char *const parents[] = {
        "/var/lib/nova/instances/_base/0f3c", "/var/lib/nova/instances/_base/swap_512",
        "/var/lib/nova/instances/_base/ephemeral_10_40d1d2c",
        "/opt/unetlab/addons/qemu/csr1000v-16.12/virtioa.qcow2",
        "/opt/gns3/images/QEMU/asav.qcow2", "/home/x/GNS3/images/a/b.qcow2",
        "/srv/templates/d.qcow2", "/srv/golden/d.qcow2", "/root/.vagrant.d/boxes/x/box.img",
        "/srv/cloud-images/noble.img", "/var/lib/libvirt/images/virl-base-images/x/y.qcow2",
    };
    struct world *world = *state;
    char path[64];

    for (size_t i = 0; i < ELEMENTSOF(parents); i++) {
        snprintf(path, sizeof(path), "/inst/%zu/disk", i);
        assert_is(world, pair(world, path, parents[i]), RELATION_CLONE, EVIDENCE_TEMPLATE_PLACE);
    }
    /* Beside it, it may be the template's own history. */
    assert_is(world, pair(world, "/t/golden/x/a.qcow2", "/t/golden/x/b.qcow2"), RELATION_UNKNOWN,
              EVIDENCE_WRITTEN_UNTIL);
}

static void row_template_name(void **state)
{
    static const char *const names[] = {
        "debian-12-generic-amd64.qcow2", "debian-12-genericcloud-amd64-20240101-1.qcow2",
        "noble-server-cloudimg-amd64.img", "Fedora-Cloud-Base-40-1.14.x86_64.qcow2",
        "CentOS-Stream-GenericCloud-9-20240101.0.x86_64.qcow2", "Rocky-9-GenericCloud.qcow2",
        "generic-VAGRANTSLASH-debian12_vagrant_box_image_4.img", "base-9000-disk-0.qcow2",
        "win-template.qcow2", "golden.w10.qcow2", "cirros-0.6.2-x86_64-disk.img",
        "rhel-9.4-x86_64-kvm.qcow2", "openSUSE-Leap-15.6.x86_64-Cloud.qcow2",
    };
    struct world *world = *state;
    char path[64], parent[128];

    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        snprintf(path, sizeof(path), "/vm/%zu/vm.qcow2", i);
        snprintf(parent, sizeof(parent), "/vm/%zu/%s", i, names[i]);
        assert_is(world, pair(world, path, parent), RELATION_CLONE, EVIDENCE_TEMPLATE_NAME);
    }
    /* A snapshot of the template itself. */
    assert_is(world, pair(world, "/t/win-template.snap1", "/t/win-template.qcow2"),
              RELATION_SNAPSHOT, EVIDENCE_SNAPSHOT_WORD);
}

static void row_other_size(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/web.qcow2", "/vm/debian.qcow2"), *raw, *on_raw;

    overlay->audit->report->layers[0].info.virtual_size *= 2;
    changed(world, overlay);
    assert_is(world, overlay, RELATION_CLONE, EVIDENCE_OTHER_SIZE);
    /* A raw file ends where it likes; the disk on it is in sectors. */
    raw = add(world, "/vm/raw.img", NULL);
    raw->audit->report->layers[0].info.format = QCA_FORMAT_RAW;
    raw->audit->report->layers[0].info.virtual_size -= 511;
    changed(world, raw);
    on_raw = add(world, "/vm/on-raw.qcow2", "/vm/raw.img");
    assert_is(world, on_raw, RELATION_UNKNOWN, EVIDENCE_WRITTEN_UNTIL);
}

static void row_read_only(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/web.qcow2", "/vm/debian.qcow2");
    struct image *base = world->store.images[0];

    base->fingerprint.mode = S_IFREG | 0444;
    changed(world, base);
    assert_is(world, overlay, RELATION_CLONE, EVIDENCE_READ_ONLY);
    base->fingerprint.mode = S_IFREG | 0644;
    base->audit->verity = calloc(1, sizeof(*base->audit->verity));
    assert_non_null(base->audit->verity);
    base->audit->verity->algorithm = 1;
    changed(world, base);
    assert_is(world, overlay, RELATION_CLONE, EVIDENCE_READ_ONLY);
}

static void row_written_before(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/web.qcow2", "/vm/debian.qcow2");
    struct image *base = world->store.images[0];

    base->fingerprint.mtime = T0 - A_DAY;
    changed(world, base);
    assert_is(world, overlay, RELATION_UNKNOWN, EVIDENCE_WRITTEN_UNTIL);
    base->fingerprint.mtime = T0 - A_DAY - 1;
    changed(world, base);
    assert_is(world, overlay, RELATION_CLONE, EVIDENCE_WRITTEN_BEFORE);
    /* A copy's birth says nothing of when the overlay was made, */
    overlay->identity.btime = T0 + 1;
    changed(world, overlay);
    assert_is(world, overlay, RELATION_UNKNOWN, EVIDENCE_WRITTEN_UNTIL);
    /* nor does a file system without births, nor a device's time. */
    overlay->identity.btime = 0;
    changed(world, overlay);
    assert_is(world, overlay, RELATION_UNKNOWN, EVIDENCE_WRITTEN_UNTIL);
    overlay->identity.btime = T0;
    base->fingerprint.mode = S_IFBLK | 0660;
    changed(world, overlay);
    changed(world, base);
    assert_is(world, overlay, RELATION_UNKNOWN, EVIDENCE_NONE);
}

static void row_other_folder(void **state)
{
    struct world *world = *state;

    assert_is(world, pair(world, "/vm/a/disk.qcow2", "/vm/b/disk.qcow2"), RELATION_CLONE,
              EVIDENCE_OTHER_FOLDER);
}

static void row_no_snapshot(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/web.qcow2", "/vm/debian.qcow2");
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/web.qcow2") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };

    world->store.images[0]->fingerprint.mtime = T0 + MINUTE;    /* no sign of a snapshot */
    changed(world, world->store.images[0]);
    (void)fixture_domain(&world->virt, TEXT("web"), 3, &disk, 1);
    listen(world);
    assert_is(world, overlay, RELATION_CLONE, EVIDENCE_NO_SNAPSHOT);
    /* Not while libvirt's word is not complete. */
    world->virt.status->connections[0].complete = false;
    listen(world);
    assert_is(world, overlay, RELATION_UNKNOWN, EVIDENCE_NONE);
}

static void row_disk_itself(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/left.qcow2", "/vm/app.qcow2");
    struct virt_layer layer = { .source = VIRT_SOURCE_FILE, .path = TEXT("/vm/app.qcow2") };
    struct virt_disk disk = { .target = TEXT("vda"), .layers = &layer, .n_layers = 1 };

    world->store.images[0]->fingerprint.mtime = T0 + MINUTE;
    changed(world, world->store.images[0]);
    (void)fixture_domain(&world->virt, TEXT("app"), 3, &disk, 1);
    listen(world);
    assert_is(world, overlay, RELATION_CLONE, EVIDENCE_DISK_ITSELF);
}

/* ---- what VMware's records say --------------------------------------------------------------- */

/* One that names these files, NULL-ended, as what says; each is there when it is an image. */
static struct image *record(struct world *world, const char *path, enum qca_format format,
                            const char *what, const char *const *names)
{
    struct image *image = add(world, path, NULL);
    struct qca_image_info *info = &image->audit->report->layers[0].info;
    size_t n = 0;

    while (names[n])
        n++;
    info->format = format;
    info->extents = calloc(n, sizeof(*info->extents));
    image->extents.items = calloc(n, sizeof(*image->extents.items));
    assert_true(info->extents && image->extents.items);
    info->n_extents = image->extents.n = n;
    for (size_t i = 0; i < n; i++) {
        const struct image *file = graph_find(world->store.graph, names[i]);
        struct reference *name = &image->extents.items[i];

        info->extents[i].name = strdup(names[i]);
        *name = (struct reference){ .state = file ? REFERENCE_FOUND : REFERENCE_MISSING,
                                    .stored = strdup(names[i]), .format = strdup(what) };
        if (file)
            name->identity = file->identity;
    }
    changed(world, image);
    return image;
}

#define NAMES(...) (const char *const[]){ __VA_ARGS__, NULL }

static void row_record_snapshot(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/web/b.vmdk", "/vm/web/a.vmdk"), *list;

    world->store.images[0]->fingerprint.mtime = T0 + MINUTE;    /* no sign of a snapshot */
    changed(world, world->store.images[0]);
    (void)record(world, "/vm/web/web.vmx", QCA_FORMAT_VMX, "DISK", NAMES("/vm/web/b.vmdk"));
    assert_is(world, overlay, RELATION_CLONE, EVIDENCE_RECORD_NO_SNAPSHOT);
    list = record(world, "/vm/web/web.vmsd", QCA_FORMAT_VMSD, "SNAPSHOT",
                  NAMES("/vm/web/a.vmdk"));
    assert_is(world, overlay, RELATION_SNAPSHOT, EVIDENCE_RECORD_SNAPSHOT);
    /* A list that is gone, and one whose names are not known. */
    list->present = false;
    changed(world, list);
    assert_is(world, overlay, RELATION_CLONE, EVIDENCE_RECORD_NO_SNAPSHOT);
    list->present = true;
    list->extents.n = 0;
    changed(world, list);
    assert_is(world, overlay, RELATION_UNKNOWN, EVIDENCE_NONE);
    list->extents.n = 1;
}

static void row_record_no_snapshot(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/web/b.vmdk", "/vm/web/a.vmdk"), *machine;

    world->store.images[0]->fingerprint.mtime = T0 + MINUTE;
    changed(world, world->store.images[0]);
    assert_is(world, overlay, RELATION_UNKNOWN, EVIDENCE_NONE);
    machine = record(world, "/vm/web/web.vmx", QCA_FORMAT_VMX, "DISK", NAMES("/vm/web/b.vmdk"));
    assert_is(world, overlay, RELATION_CLONE, EVIDENCE_RECORD_NO_SNAPSHOT);
    assert_ptr_equal(graph_machine(world->store.graph, overlay), machine);
    graph_remove(world->store.graph, machine);
    assert_is(world, overlay, RELATION_UNKNOWN, EVIDENCE_NONE);
}

static void row_delta_name(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/web/web-000001.vmdk", "/vm/web/web.vmdk");

    assert_is(world, overlay, RELATION_SNAPSHOT, EVIDENCE_DELTA_NAME);
    assert_is(world, add(world, "/vm/web/web-000007.vmdk", "/vm/web/web-000001.vmdk"),
              RELATION_SNAPSHOT, EVIDENCE_DELTA_NAME);
    assert_false(layer_name_is_delta("/vm/a/web-000001.vmdk", "/vm/b/web.vmdk"));
    assert_false(layer_name_is_delta("/vm/a/web-000001.vmdk", "/vm/a/webb.vmdk"));
    assert_false(layer_name_is_delta("/vm/a/web-00001.vmdk", "/vm/a/web.vmdk"));
    assert_false(layer_name_is_delta("/vm/a/web000001.vmdk", "/vm/a/web.vmdk"));
    assert_false(layer_name_is_delta("/vm/a/web-000001.qcow2", "/vm/a/web.qcow2"));
    assert_false(layer_name_is_delta("/vm/a/-000001.vmdk", "/vm/a/.vmdk"));
    assert_false(layer_name_is_delta("/vm/a/web.vmdk", "/vm/a/web-000001.vmdk"));
}

/* A linked clone stands on the state of another virtual machine. */
static void row_other_machine(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/clone/clone-000001.vmdk", "/vm/web/web.vmdk");

    (void)record(world, "/vm/clone/clone.vmx", QCA_FORMAT_VMX, "DISK",
                 NAMES("/vm/clone/clone-000001.vmdk"));
    (void)record(world, "/vm/web/web.vmsd", QCA_FORMAT_VMSD, "SNAPSHOT",
                 NAMES("/vm/web/web.vmdk"));
    assert_is(world, overlay, RELATION_CLONE, EVIDENCE_OTHER_MACHINE);
}

/* Snapshots that branch are none of a template's disks. */
static void branches_of_a_machine(void **state)
{
    struct world *world = *state;
    struct image *base = add(world, "/vm/web/web.vmdk", NULL),
                 *left = add(world, "/vm/web/web-000001.vmdk", "/vm/web/web.vmdk"),
                 *right = add(world, "/vm/web/web-000002.vmdk", "/vm/web/web.vmdk");

    (void)record(world, "/vm/web/web.vmx", QCA_FORMAT_VMX, "DISK",
                 NAMES("/vm/web/web-000001.vmdk"));
    (void)record(world, "/vm/web/web.vmsd", QCA_FORMAT_VMSD, "SNAPSHOT",
                 NAMES("/vm/web/web.vmdk", "/vm/web/web-000002.vmdk"));
    assert_is(world, left, RELATION_SNAPSHOT, EVIDENCE_RECORD_SNAPSHOT);
    assert_is(world, right, RELATION_SNAPSHOT, EVIDENCE_RECORD_SNAPSHOT);
    assert_false(of(world, base)->golden);
    /* the disk's leaf is the one that the virtual machine has */
    assert_ptr_equal(of(world, base)->deepest_leaf, left);
    assert_int_equal(of(world, base)->n_leaves, 1);
}

static void a_strangers_record(void **state)
{
    struct world *world = *state;
    struct image *base = add(world, "/vm/web/a.vmdk", NULL),
                 *overlay = add(world, "/vm/web/b.vmdk", "/vm/web/a.vmdk"), *theirs, *afar;

    base->fingerprint.uid = overlay->fingerprint.uid = 1000;
    changed(world, base);
    changed(world, overlay);
    theirs = record(world, "/vm/web/x.vmsd", QCA_FORMAT_VMSD, "SNAPSHOT",
                    NAMES("/vm/web/a.vmdk"));
    theirs->fingerprint.uid = 1001;
    changed(world, theirs);
    assert_int_equal(of(world, overlay)->kind, RELATION_UNKNOWN);
    assert_null(graph_snapshot_list(world->store.graph, base));
    /* nor does it say who has the disk open */
    assert_false(graph_is_vmwares(world->store.graph, overlay));
    /* The disk's owner, and root. */
    theirs->fingerprint.uid = 1000;
    changed(world, theirs);
    assert_true(graph_is_vmwares(world->store.graph, overlay));
    assert_is(world, overlay, RELATION_SNAPSHOT, EVIDENCE_RECORD_SNAPSHOT);
    theirs->fingerprint.uid = 0;
    changed(world, theirs);
    assert_is(world, overlay, RELATION_SNAPSHOT, EVIDENCE_RECORD_SNAPSHOT);
    /* From another folder by the volume alone. */
    afar = record(world, "/vm/far/x.vmx", QCA_FORMAT_VMX, "DISK", NAMES("/vm/web/b.vmdk"));
    (void)of(world, overlay);
    assert_null(graph_machine(world->store.graph, overlay));
    free(afar->extents.items[0].stored);
    afar->extents.items[0].stored = strdup("/vmfs/volumes/ds/web/b.vmdk");
    changed(world, afar);
    (void)of(world, overlay);
    assert_ptr_equal(graph_machine(world->store.graph, overlay), afar);
    /* A backup's virtual machine has a disk for a while. */
    theirs = record(world, "/vm/web/web.vmx", QCA_FORMAT_VMX, "DISK", NAMES("/vm/web/b.vmdk"));
    (void)of(world, overlay);
    assert_ptr_equal(graph_machine(world->store.graph, overlay), theirs);
    /* It keeps nothing in the disk. */
    assert_false(graph_is_data_file(world->store.graph, overlay));
}

/* ---- how they are weighed -------------------------------------------------------------------- */

static void assert_decided(uint32_t set, enum relation_kind kind, enum relation_evidence decisive,
                           enum relation_evidence against)
{
    enum relation_evidence is_decisive, is_against;
    enum relation_kind is;

    evidence_decide(set, &is, &is_decisive, &is_against);
    assert_int_equal(is, kind);
    assert_int_equal(is_decisive, decisive);
    assert_int_equal(is_against, against);
}

#define BIT(name) (UINT32_C(1) << EVIDENCE_##name)

static void weighing(void **state)
{
    assert_decided(0, RELATION_UNKNOWN, EVIDENCE_NONE, EVIDENCE_NONE);
    /* The strongest decides, */
    assert_decided(BIT(SNAPSHOT_NAME) | BIT(OTHER_FOLDER) | BIT(NO_SNAPSHOT), RELATION_SNAPSHOT,
                   EVIDENCE_SNAPSHOT_NAME, EVIDENCE_NONE);
    assert_decided(BIT(SNAPSHOT_WORD) | BIT(WRITTEN_BEFORE), RELATION_SNAPSHOT,
                   EVIDENCE_SNAPSHOT_WORD, EVIDENCE_NONE);
    assert_decided(BIT(SNAPSHOT_WORD) | BIT(OTHER_DOMAIN), RELATION_CLONE, EVIDENCE_OTHER_DOMAIN,
                   EVIDENCE_NONE);
    assert_decided(BIT(SERIES) | BIT(OTHER_SIZE) | BIT(READ_ONLY), RELATION_SNAPSHOT,
                   EVIDENCE_SERIES, EVIDENCE_NONE);
    assert_decided(BIT(LIBVIRT_SNAPSHOT) | BIT(GOLDEN_POLICY), RELATION_CLONE,
                   EVIDENCE_GOLDEN_POLICY, EVIDENCE_NONE);
    /* a contradiction of equals nothing, */
    assert_decided(BIT(SNAPSHOT_NAME) | BIT(WRITTEN_BEFORE), RELATION_UNKNOWN,
                   EVIDENCE_SNAPSHOT_NAME, EVIDENCE_WRITTEN_BEFORE);
    assert_decided(BIT(DISK_MOVED) | BIT(OTHER_DOMAIN), RELATION_UNKNOWN, EVIDENCE_DISK_MOVED,
                   EVIDENCE_OTHER_DOMAIN);
    assert_decided(BIT(WRITTEN_UNTIL) | BIT(NO_SNAPSHOT), RELATION_UNKNOWN, EVIDENCE_WRITTEN_UNTIL,
                   EVIDENCE_NO_SNAPSHOT);
    /* and what is weak decides for a clone alone. */
    assert_decided(BIT(WRITTEN_UNTIL) | BIT(COUNTED_NAME), RELATION_UNKNOWN,
                   EVIDENCE_WRITTEN_UNTIL, EVIDENCE_NONE);
    assert_decided(BIT(OTHER_FOLDER), RELATION_CLONE, EVIDENCE_OTHER_FOLDER, EVIDENCE_NONE);
}

static void reasons(void **state)
{
    struct world *world = *state;
    struct image *overlay = pair(world, "/vm/web.qcow2", "/vm/debian.qcow2");
    char *reason;

    (void)of(world, overlay);
    reason = graph_relation_reason(world->store.graph, world->store.images[0]);
    assert_string_equal(reason, "");
    free(reason);
    reason = graph_relation_reason(world->store.graph, overlay);
    assert_string_equal(reason, "It may be a snapshot or a clone of its parent: the parent, of the "
                                "same size and in the same folder, was written until it was made "
                                "and never since, which is no proof of a snapshot.");
    free(reason);
    world->store.images[0]->fingerprint.mode = S_IFREG | 0444;
    changed(world, world->store.images[0]);
    (void)of(world, overlay);
    reason = graph_relation_reason(world->store.graph, overlay);
    assert_string_equal(reason, "It is a clone of its parent: nobody may write the parent.");
    free(reason);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void names(void **state)
{
    static const struct { const char *overlay, *parent; enum layer_name says; } cases[] = {
        { "/a/web.snap1", "/a/web.qcow2", NAME_WORD },
        { "/a/web.qcow2.snap1", "/a/web.qcow2", NAME_WORD },
        { "/a/web-snapshot-2024.qcow2", "/a/web.img", NAME_WORD },
        { "/a/web.qcow2.TRANSIENT-web", "/a/web.qcow2", NAME_WORD },
        { "/a/orders.snap-02.qcow2", "/a/orders.snap-01.qcow2", NAME_WORD },
        { "/a/delta-0002", "/a/delta-0001", NAME_WORD },
        { "/a/web.s1", "/a/web.qcow2", NAME_SNAPSHOT },
        { "/a/web.s2", "/a/web.s1", NAME_SNAPSHOT },
        { "/a/ubuntu-22.04.monday", "/a/ubuntu-22.04.qcow2", NAME_SNAPSHOT },
        { "/a/web.1699999999", "/a/web.qcow2", NAME_SNAPSHOT },
        { "/a/web.1700000099", "/a/web.1699999999", NAME_SNAPSHOT },
        { "/a/web-000001.qcow2", "/a/web.qcow2", NAME_SNAPSHOT },
        { "/a/web-000002.qcow2", "/a/web-000001.qcow2", NAME_SNAPSHOT },
        { "/a/web-2024-01-31.qcow2", "/a/web.qcow2", NAME_SNAPSHOT },
        { "/a/web-20240131T0600.qcow2", "/a/web.qcow2", NAME_SNAPSHOT },
        { "/a/web-20240201.qcow2", "/a/web-20240131.qcow2", NAME_SNAPSHOT },
        { "/a/volume-0f.3f2b", "/a/volume-0f", NAME_SNAPSHOT },
        { "/a/snap-01.qcow2", "/a/disk.qcow2", NAME_SNAPSHOT },
        { "/b/snap-01.qcow2", "/a/disk.qcow2", NAME_OTHER },
        { "/m/4b1c9a1e-6a2c-4c56-9d2a-000000000002", "/m/4b1c9a1e-6a2c-4c56-9d2a-000000000001",
          NAME_COUNTED },
        { "/a/snapshot-server.qcow2", "/a/debian.qcow2", NAME_OTHER },
        { "/a/vm2.qcow2", "/a/vm1.qcow2", NAME_COUNTED },
        { "/a/debian-1.qcow2", "/a/debian.qcow2", NAME_COUNTED },
        { "/a/vm1.qcow2", "/a/vm2.qcow2", NAME_OTHER },
        { "/a/debian-web.qcow2", "/a/debian.qcow2", NAME_OTHER },
        { "/a/win-v2.qcow2", "/a/win-v1.qcow2", NAME_OTHER },
        { "/b/disk.qcow2", "/a/disk.qcow2", NAME_OTHER },
        { "/a/web.img", "/a/web.qcow2", NAME_OTHER },
        { "/a/vm-101-disk-0.qcow2", "/a/base-9000-disk-0.qcow2", NAME_OTHER },
        { "/a/.", "/a/..", NAME_OTHER },
        { "/a/-", "/a/_", NAME_OTHER },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        if (layer_name_says(cases[i].overlay, cases[i].parent) != cases[i].says)
            fail_msg("%s on %s: %d", cases[i].overlay, cases[i].parent,
                     (int)layer_name_says(cases[i].overlay, cases[i].parent));
}

/* ---- whole layouts --------------------------------------------------------------------------- */

/* A clone of a clone, and a snapshot on that. */
static void clones_of_clones(void **state)
{
    struct world *world = *state;
    struct image *vm1 = pair(world, "/vm/vm1.qcow2", "/templates/debian.qcow2"),
                 *vm2 = add(world, "/vm/vm2.qcow2", "/vm/vm1.qcow2"),
                 *snapshot = add(world, "/vm/vm2.snap1", "/vm/vm2.qcow2");

    assert_is(world, vm1, RELATION_CLONE, EVIDENCE_TEMPLATE_PLACE);
    assert_int_equal(of(world, vm2)->kind, RELATION_UNKNOWN);
    assert_is(world, snapshot, RELATION_SNAPSHOT, EVIDENCE_SNAPSHOT_WORD);
    assert_ptr_equal(of(world, snapshot)->own_layer, vm2);
    assert_int_equal(of(world, snapshot)->unconsolidated, 1);
    assert_true(graph_is_template(world->store.graph, vm1));
}

/* A cron job's layers without anything of libvirt's: as they were made, restored with their times,
 * and restored without them. */
static void the_story(void **state)
{
    struct world *world = *state;
    enum { N = 40 };
    struct image *leaf = stack(world, "/vm/orders.snap-", 2, N, 7 * A_DAY);

    for (unsigned how = 0; how < 3; how++) {
        for (unsigned i = 0; i < N; i++) {
            struct image *image = world->store.images[i];

            if (how > 0)
                image->identity.btime = T0 + 1000 * A_DAY + i;
            if (how > 1)
                image->fingerprint.mtime = image->identity.btime + 1;
            changed(world, image);
        }
        assert_int_equal(of(world, leaf)->unconsolidated, N - 1);
        assert_ptr_equal(of(world, leaf)->own_layer, world->store.images[0]);
    }
}

/* A template added in the middle of a long chain does not hide what lies below or above. */
static void what_is_not_known_divides_a_disk(void **state)
{
    struct world *world = *state;
    struct image *base = add(world, "/vm/a.qcow2", NULL), *top, *other, *leaf;

    (void)add(world, "/vm/a.s1", "/vm/a.qcow2");
    top = add(world, "/vm/a.s2", "/vm/a.s1");
    other = add(world, "/vm/zz.qcow2", "/vm/a.s2");
    leaf = add(world, "/vm/zz.s1", "/vm/zz.qcow2");
    assert_int_equal(of(world, other)->kind, RELATION_UNKNOWN);
    assert_ptr_equal(of(world, base)->deepest_leaf, top);
    assert_int_equal(of(world, top)->unconsolidated, 2);
    assert_ptr_equal(of(world, leaf)->own_layer, other);
    assert_int_equal(of(world, leaf)->unconsolidated, 1);
    assert_int_equal(of(world, leaf)->perhaps, 4);
}

/* ---- age ------------------------------------------------------------------------------------- */

static void assert_created(struct world *world, const struct image *image, int64_t nsec,
                           const char *source)
{
    const char *is;

    (void)of(world, image);
    assert_int_equal(graph_layer_created(world->store.graph, image, &is), (uint64_t)nsec / 1000);
    assert_string_equal(is, source);
}

static void age(void **state)
{
    struct world *world = *state;
    struct image *clone = pair(world, "/vm/web.qcow2", "/templates/debian.qcow2"),
                 *snapshot = add(world, "/vm/web.snap1", "/vm/web.qcow2"),
                 *template = world->store.images[0];

    /* A template fetched with its server's time, or copied by cp -a or rsync: its time is not the
     * clone's. */
    template->fingerprint.mtime = T0 - 200 * A_DAY;
    clone->identity.btime = T0;
    clone->fingerprint.mtime = T0 + 10 * HOUR_NSEC;
    snapshot->identity.btime = T0 + 10 * HOUR_NSEC;
    snapshot->fingerprint.mtime = T0 + 30 * HOUR_NSEC;
    changed(world, template);
    changed(world, clone);
    changed(world, snapshot);
    assert_created(world, clone, T0, "birth-time");
    assert_created(world, snapshot, T0 + 10 * HOUR_NSEC, "parent-mtime");

    /* All of it restored with its times: no birth says anything. */
    template->identity.btime = clone->identity.btime = snapshot->identity.btime = T0 + 9 * A_DAY;
    changed(world, template);
    changed(world, clone);
    changed(world, snapshot);
    assert_created(world, clone, T0 + 10 * HOUR_NSEC, "mtime");
    assert_created(world, snapshot, T0 + 10 * HOUR_NSEC, "parent-mtime");

    /* The parent was touched after the snapshot was written last: it is not younger than that. */
    clone->fingerprint.mtime = T0 + 50 * HOUR_NSEC;
    changed(world, clone);
    assert_created(world, snapshot, T0 + 30 * HOUR_NSEC, "mtime");

    /* The disk was moved to an overlay that had been made before: the later of both. */
    snapshot->identity.btime = T0 + HOUR_NSEC;
    clone->fingerprint.mtime = T0 + 20 * HOUR_NSEC;
    changed(world, snapshot);
    changed(world, clone);
    assert_created(world, snapshot, T0 + 20 * HOUR_NSEC, "parent-mtime");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(row_libvirt_snapshot), TEST(row_libvirt_branch), TEST(row_libvirt_checkpoint),
        TEST(row_disk_moved), TEST(row_series), TEST(row_snapshot_word), TEST(row_snapshot_name),
        TEST(row_backup_name), TEST(row_rhythm), TEST(row_run),
        TEST(row_run_that_counts_down), TEST(a_strangers_overlay_parts_nothing),
        TEST(row_stranger),
        TEST(row_written_until),
        TEST(row_counted_name), TEST(row_below_series), TEST(row_golden_policy),
        TEST(row_golden_baseline), TEST(row_other_domain), TEST(row_other_disks),
        TEST(copies_are_no_disks), TEST(row_template_place), TEST(row_template_name),
        TEST(row_other_size),
        TEST(row_read_only), TEST(row_written_before), TEST(row_other_folder),
        TEST(row_no_snapshot), TEST(row_disk_itself), TEST(row_record_snapshot),
        TEST(row_record_no_snapshot), TEST(row_delta_name), TEST(row_other_machine),
        TEST(branches_of_a_machine), TEST(a_strangers_record),
        TEST(weighing), TEST(reasons), TEST(names), TEST(clones_of_clones), TEST(the_story),
        TEST(what_is_not_known_divides_a_disk), TEST(age),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
