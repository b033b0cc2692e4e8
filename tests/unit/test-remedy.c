/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Remedies against real images: every printed command is run as it stands; then the condition is
 * gone, the guest reads what it read before, and golden images and other overlays are what they
 * were. */
#include "unit/remedy-fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/judge/judge.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define FILES_MAX 64

/* One real file: what the library needs to stay open while its report is used. */
struct file {
    int fd;
    struct qca_io *io;
    struct qca_image *opened;
    struct image *image;
};

struct world {
    char folder[64], home[64];
    char *golden[2];
    struct policy policy;
    struct datastore datastore;
    struct graph *graph;
    struct file files[FILES_MAX];
    size_t n_files;
    struct finding finding;
    json_object *remedy;
    unsigned n_commands;
};

static struct world *walked;            /* nftw() hands nothing through */

__attribute__((format(printf, 1, 2))) static int shell_status(const char *format, ...)
{
    char command[8192];
    va_list arguments;
    int status;

    va_start(arguments, format);
    assert_true(vsnprintf(command, sizeof(command), format, arguments) < (int)sizeof(command));
    va_end(arguments);
    status = system(command);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define SHELL(...)                                                                                 \
    do {                                                                                           \
        if (shell_status(__VA_ARGS__) != 0)                                                        \
            fail_msg("a command failed: " __VA_ARGS__);                                            \
    } while (0)

/* The first line that a command prints. */
__attribute__((format(printf, 2, 3))) static void shell_line(char line[static 256],
                                                             const char *format, ...)
{
    char command[4096];
    va_list arguments;
    FILE *pipe;

    va_start(arguments, format);
    vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(line, 256, pipe));
    assert_int_equal(pclose(pipe), 0);
}

static void forget_files(struct world *world)
{
    graph_free(world->graph);
    world->graph = NULL;
    for (size_t i = 0; i < world->n_files; i++) {
        struct file *file = &world->files[i];

        file->image->audit->report->layers[0].info =
            (struct qca_image_info){ .format = QCA_FORMAT_UNKNOWN };
        image_free(file->image);
        qca_image_free(file->opened);
        qca_io_free(file->io);
        close(file->fd);
    }
    world->n_files = 0;
}

/* Where a stored reference leads; the resolver of the daemon does it with more care. */
static void resolve(struct image *image, const struct qca_image_info *info)
{
    char target[PATH_MAX * 2];
    struct reference *parent = &image->parent;
    struct stat st;

    reference_done(parent);
    if (!info->parent)
        return;
    if (info->parent[0] == '/')
        snprintf(target, sizeof(target), "%s", info->parent);
    else
        snprintf(target, sizeof(target), "%.*s/%s", (int)(strrchr(image->path, '/') - image->path),
                 image->path, info->parent);
    parent->stored = strdup(info->parent);
    parent->format = info->parent_format ? strdup(info->parent_format) : NULL;
    parent->path = realpath(target, NULL);
    parent->state = REFERENCE_MISSING;
    if (parent->path && stat(parent->path, &st) == 0) {
        parent->state = REFERENCE_FOUND;
        parent->identity = (struct identity){ .fsid = 1, .inode = st.st_ino };
    }
}

static int64_t to_nsec(const struct timespec *t)
{
    return (int64_t)t->tv_sec * (int64_t)NSEC_PER_SEC + t->tv_nsec;
}

static int examine(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    struct world *world = walked;
    struct file *file = &world->files[world->n_files];
    struct layer_report *layer;

    if (flag != FTW_F || strstr(path, ".before-repair") || strstr(path, ".keep"))
        return 0;
    assert_true(world->n_files < FILES_MAX);
    file->image = fixture_image(&world->datastore, path, st->st_ino, NULL);
    file->image->identity.btime = 0;
    file->image->fingerprint = (struct fingerprint){ .size = (uint64_t)st->st_size,
                                                     .allocated = (uint64_t)st->st_blocks * 512,
                                                     .mode = st->st_mode,
                                                     .mtime = to_nsec(&st->st_mtim),
                                                     .ctime = to_nsec(&st->st_ctim) };
    file->fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(file->fd >= 0);
    assert_int_equal(qca_io_new_fd(file->fd, &file->io), 0);
    assert_int_equal(qca_image_open(file->io, NULL, NULL, &file->opened), 0);
    layer = &file->image->audit->report->layers[0];
    layer->info = *qca_image_info(file->opened);
    layer->probed_format = layer->info.format;
    layer->checked = layer->info.format == QCA_FORMAT_QCOW2;
    if (layer->checked)
        assert_int_equal(qca_check(file->opened, NULL, &layer->check), 0);
    resolve(file->image, &layer->info);
    assert_int_equal(graph_add(world->graph, file->image), 0);
    world->n_files++;
    return 0;
}

/* Looks at everything in the folder anew. */
static void look(struct world *world)
{
    forget_files(world);
    assert_int_equal(graph_new(&world->graph), 0);
    graph_set_policy(world->graph, &world->policy);
    walked = world;
    assert_int_equal(nftw(world->folder, examine, 8, FTW_PHYS), 0);
    assert_int_equal(graph_refresh(world->graph, NULL, NULL), 0);
}

static struct image *image_at(struct world *world, const char *name)
{
    char path[PATH_MAX];
    struct image *image;

    snprintf(path, sizeof(path), "%s/%s", world->folder, name);
    image = graph_find(world->graph, path);
    assert_non_null(image);
    return image;
}

/* The subject of such a finding: what is about all layers of a disk is told of its own layer. */
static struct image *subject_at(struct world *world, const char *name, enum finding_type type)
{
    struct image *image = image_at(world, name);
    const struct relation *relation = graph_relation(world->graph, image);

    return finding_type_is_of_disk(type) && relation->own_layer ? relation->own_layer : image;
}

static bool holds(struct world *world, const char *name, enum finding_type type)
{
    struct image *image = subject_at(world, name, type);
    struct judgement judgement;
    bool result = false;

    assert_int_equal(
        judge_image(&world->policy, world->graph, image, NULL, T0_USEC + 3650 * DAY, &judgement),
        0);
    for (size_t i = 0; i < judgement.conditions.n_items; i++) {
        if (judgement.conditions.items[i].type != type)
            continue;
        result = true;
        json_object_put(world->finding.evidence);
        world->finding.evidence = json_object_get(judgement.conditions.items[i].evidence);
    }
    judgement_done(&judgement);
    return result;
}

/* The remedy of a finding that holds now. */
static void make(struct world *world, const char *name, enum finding_type type)
{
    look(world);
    assert_true(holds(world, name, type));
    world->finding.type = type;
    world->finding.subject_kind = SUBJECT_IMAGE;
    world->finding.subject = subject_at(world, name, type)->path;
    json_object_put(world->remedy);
    world->remedy = NULL;
    fixture_remedy(world->graph, &world->finding, &world->remedy);
    world->n_commands = 0;
    for (size_t i = 0; world->remedy && i < json_object_array_length(world->remedy); i++) {
        json_object *step = json_object_array_get_idx(world->remedy, i);

        assert_int_equal(json_object_object_length(step), 1);
        world->n_commands += json_object_object_get_ex(step, "command", NULL);
    }
}

static const char *all_of(struct world *world)
{
    return world->remedy
               ? json_object_to_json_string_ext(world->remedy, JSON_C_TO_STRING_NOSLASHESCAPE)
               : "";
}

static void assert_no_command(struct world *world, const char *why)
{
    if (world->n_commands > 0 || !strstr(all_of(world), why))
        fail_msg("expected no command, and \"%s\": %s", why, all_of(world));
}

static unsigned n_archives(void)
{
    char line[256];

    shell_line(line, "ls \"$HOME\" | grep -c 'qcaudit-evidence-.*[.]tar$' || true");
    return (unsigned)atoi(line);
}

/* Runs every command of the remedy, literally. */
static void follow(struct world *world)
{
    assert_true(world->n_commands > 0);
    for (size_t i = 0; i < json_object_array_length(world->remedy); i++) {
        json_object *command;

        if (!json_object_object_get_ex(json_object_array_get_idx(world->remedy, i), "command",
                                       &command))
            continue;
        if (shell_status("{ %s\n} >/dev/null 2>&1", json_object_get_string(command)) != 0)
            fail_msg("a printed command fails: %s", json_object_get_string(command));
    }
}

static void sum(struct world *world, const char *name, char line[static 256])
{
    shell_line(line, "sha256sum < '%s/%s'", world->folder, name);
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    world->policy = (struct policy){
        .golden = world->golden,
        .infer_golden = true,
        .thresholds = {
            .chain_deep = { 3, 25, 160 }, .chain_limit = 200,
            .snapshot_old = { HOUR, 14 * DAY, UINT64_MAX },
            .runaway_layers = 4, .runaway_tolerance = 2000, .leaks_bytes = UINT64_C(1) << 30,
            .leaks_share = 100,
            .burst_leaks = 256, .burst_factor = 10, .internal_snapshots = 2,
            .internal_snapshots_golden = 1,
            .data_file = SEVERITY_WARNING,
        },
    };
    world->datastore.state = DATASTORE_ONLINE;
    snprintf(world->folder, sizeof(world->folder), "/tmp/test-remedy.XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    assert_int_equal(chdir("/"), 0);
    setenv("D", world->folder, 1);
    /* Evidence of an image is no image of the folder. */
    snprintf(world->home, sizeof(world->home), "/tmp/test-remedy-home.XXXXXX");
    assert_non_null(mkdtemp(world->home));
    setenv("HOME", world->home, 1);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    forget_files(world);
    json_object_put(world->remedy);
    json_object_put(world->finding.evidence);
    shell_status("chmod -R u+w \"$D\"; rm -rf \"$D\" \"$HOME\"");
    free(world);
    return 0;
}

/* A golden image, two linked clones of it in another folder, and five snapshots on the first. */
static void make_store(void)
{
    SHELL("mkdir $D/gold $D/vm && cd $D && qemu-img create -q -f qcow2 gold/g.qcow2 16M &&qemu-io "
          "-c 'write -q -P 1 0 1M' gold/g.qcow2 && touch -d '2020-01-01' gold/g.qcow2 && cd vm "
          "&&for i in own.qcow2 other.qcow2; do qemu-img create -q -f qcow2 -F qcow2 -b "
          "../gold/g.qcow2 $i &&qemu-io -c 'write -q -P 2 512k 1M' $i; done &&p=own.qcow2; for i "
          "in 1 2 3 4 5; do n=\"own.it's \\$n snap $i.qcow2\";qemu-img create -q -f qcow2 -F qcow2 "
          "-b "
          "\"$p\" \"$n\" && qemu-io -c \"write -q -P 1$i ${i}M 192k\" \"$n\" || exit 1;touch -d "
          "\"2021-01-01 $i:00\" \"$p\"; p=$n; done; mv \"$p\" own.snap.qcow2");
}

static void consolidation_of_a_linked_clone(void **state)
{
    struct world *world = *state;
    char gold[256], other[256], own[256], after[256];
    const struct relation *left;

    make_store();
    SHELL("qemu-img convert -O raw $D/vm/own.snap.qcow2 $D/leaf.keep");
    sum(world, "gold/g.qcow2", gold);
    sum(world, "vm/other.qcow2", other);
    sum(world, "vm/own.qcow2", own);
    make(world, "vm/own.snap.qcow2", FINDING_CHAIN_DEEP);
    assert_non_null(strstr(all_of(world), "--base"));
    assert_non_null(strstr(all_of(world), " -b "));
    follow(world);

    look(world);
    left = graph_relation(world->graph, image_at(world, "vm/own.snap.qcow2"));
    assert_int_equal(left->unconsolidated, 1);
    assert_ptr_equal(left->parent, image_at(world, "vm/own.qcow2"));
    sum(world, "gold/g.qcow2", after);
    assert_string_equal(gold, after);
    sum(world, "vm/other.qcow2", after);
    assert_string_equal(other, after);
    sum(world, "vm/own.qcow2.before-repair", after);
    assert_string_equal(own, after);

    /* What may be deleted then is not missed. */
    SHELL("cd $D/vm && rm own.it*.qcow2 &&"
          "qemu-img compare -q own.snap.qcow2 -F raw ../leaf.keep &&"
          "qemu-img check -q own.snap.qcow2 && qemu-img check -q own.qcow2");
    look(world);
    assert_false(holds(world, "vm/own.snap.qcow2", FINDING_CHAIN_DEEP));

    /* One layer is left: an old snapshot, whose remedy merges that too. */
    SHELL("touch -d 2021-01-01 $D/vm/own.qcow2 && "
          "touch -d 2021-01-02 $D/vm/own.snap.qcow2 && rm $D/vm/own.qcow2.before-repair");
    make(world, "vm/own.snap.qcow2", FINDING_SNAPSHOT_OLD);
    follow(world);
    SHELL("cd $D/vm && qemu-img compare -q own.qcow2 -F raw ../leaf.keep && qemu-img compare -q "
          "own.snap.qcow2 -F raw ../leaf.keep");
    sum(world, "gold/g.qcow2", after);
    assert_string_equal(gold, after);
}

static void consolidation_on_a_raw_base(void **state)
{
    struct world *world = *state;

    SHELL(
        "cd $D && qemu-img create -q -f raw base.img 4M && qemu-io -f raw -c 'write -q -P 1 0 2M' "
        "base.img &&p=base.img; f=raw; for i in 1 2 3 4; do qemu-img create -q -f qcow2 -F $f -b "
        "$p base.snap$i.qcow2 6M &&qemu-io -c \"write -q -P 1$i ${i}M 64k\" "
        "base.snap$i.qcow2 || exit 1; "
        "p=base.snap$i.qcow2; f=qcow2; done;"
        "qemu-img convert -O raw base.snap4.qcow2 leaf.keep");
    make(world, "base.snap4.qcow2", FINDING_CHAIN_DEEP);
    follow(world);
    SHELL(
        "cd $D && rm base.snap1.qcow2 base.snap2.qcow2 base.snap3.qcow2 && "
        "qemu-img compare -q base.snap4.qcow2 -F raw leaf.keep");
    look(world);
    assert_false(holds(world, "base.snap4.qcow2", FINDING_CHAIN_DEEP));
}

static void no_commit_where_it_would_hurt(void **state)
{
    struct world *world = *state;

    make_store();
    /* Another overlay on a layer between. */
    SHELL("cd $D/vm && qemu-img create -q -f qcow2 -F qcow2 -b "
          "\"own.it's \\$n snap 2.qcow2\" side.qcow2");
    make(world, "vm/own.snap.qcow2", FINDING_CHAIN_DEEP);
    assert_no_command(world, "another overlay");
    SHELL("rm $D/vm/side.qcow2");

    /* Another overlay on the own layer. */
    SHELL("cd $D/vm && qemu-img create -q -f qcow2 -F qcow2 -b own.qcow2 side.qcow2");
    make(world, "vm/own.snap.qcow2", FINDING_CHAIN_DEEP);
    assert_no_command(world, "another overlay");
    SHELL("rm $D/vm/side.qcow2");

    /* The other clone is gone, so nobody would know a golden image but for the policy. */
    SHELL("mv $D/vm/other.qcow2 $D/vm/other.keep");
    make(world, "vm/own.snap.qcow2", FINDING_CHAIN_DEEP);
    assert_true(world->n_commands > 0);
    world->golden[0] = (char[]){ "*/gold/*" };
    make(world, "vm/own.snap.qcow2", FINDING_CHAIN_DEEP);
    assert_null(strstr(all_of(world), "g.qcow2"));
    SHELL("mv $D/vm/other.keep $D/vm/other.qcow2");

    /* A clone made before the golden image was written last: by the dates it is not golden, and
     * must not be merged. */
    world->golden[0] = NULL;
    SHELL("touch -d 2100-01-01 $D/gold/g.qcow2");
    make(world, "vm/own.snap.qcow2", FINDING_CHAIN_DEEP);
    assert_null(strstr(all_of(world), "g.qcow2"));
    SHELL("touch -d 2020-01-01 $D/gold/g.qcow2");

    /* A layer is marked corrupt. */
    SHELL(
        "printf '\\002' | dd of=\"$D/vm/own.it's \\$n snap 3.qcow2\" "
        "bs=1 seek=79 conv=notrunc status=none");
    make(world, "vm/own.snap.qcow2", FINDING_CHAIN_DEEP);
    assert_no_command(world, "damaged");
    SHELL(
        "printf '\\000' | dd of=\"$D/vm/own.it's \\$n snap 3.qcow2\" "
        "bs=1 seek=79 conv=notrunc status=none");

    /* The golden image is gone. */
    SHELL("mv $D/gold/g.qcow2 $D/gold/g.keep");
    make(world, "vm/own.snap.qcow2", FINDING_CHAIN_DEEP);
    assert_no_command(world, "not complete");
    make(world, "vm/own.qcow2", FINDING_PARENT_MISSING);
    assert_no_command(world, "Bring the parent back");
    SHELL("mv $D/gold/g.keep $D/gold/g.qcow2");

    /* A name that sh could not be given. */
    SHELL("cd $D/vm && mv own.snap.qcow2 \"$(printf 'own.snap-\\033ap.qcow2')\"");
    make(world, "vm/own.snap-\033ap.qcow2", FINDING_CHAIN_DEEP);
    assert_no_command(world, "Rename the file first");
}

static void leaks(void **state)
{
    struct world *world = *state;

    SHELL(
        "cd $D && qemu-img create -q -f qcow2 a.qcow2 16M && qemu-io -c 'write -q 0 1M' a.qcow2 &&"
        "qemu-img convert -O raw a.qcow2 a.keep");
    SHELL("PYTHONPATH=$top_srcdir/tests/images python3 -B -c 'from imagekit import *\n"
          "with Qcow2(\"'$D/a.qcow2'\") as i: i.leak(24)'");
    make(world, "a.qcow2", FINDING_CLUSTERS_LEAKED);
    assert_int_equal(n_archives(), 0);
    follow(world);
    assert_int_equal(n_archives(), 1);
    look(world);
    assert_false(holds(world, "a.qcow2", FINDING_CLUSTERS_LEAKED));
    SHELL("qemu-img check -q $D/a.qcow2 && qemu-img compare -q $D/a.qcow2 -F raw $D/a.keep");

    SHELL("PYTHONPATH=$top_srcdir/tests/images python3 -B -c 'from imagekit import *\n"
          "with Qcow2(\"'$D/a.qcow2'\") as i: i.leak(24)'");
    world->golden[0] = (char[]){ "*" };
    make(world, "a.qcow2", FINDING_CLUSTERS_LEAKED);
    assert_no_command(world, "Leave a golden image as it is");
}

static void a_burst_is_never_repaired(void **state)
{
    struct world *world = *state;
    char before[256], after[256];

    SHELL("cd $D && qemu-img create -q -f qcow2 a.qcow2 64M && qemu-io -c 'write -q -P 5 0 32M' "
          "a.qcow2");
    SHELL("PYTHONPATH=$top_srcdir/tests/images python3 -B -c 'from imagekit import *\n"
          "with Qcow2(\"'$D/a.qcow2'\") as i: i.put_bytes(i.l2_table(), bytes(i.cluster))'");
    sum(world, "a.qcow2", before);
    make(world, "a.qcow2", FINDING_LEAK_BURST);
    assert_null(strstr(all_of(world), "qemu-img"));
    follow(world);
    assert_int_equal(n_archives(), 1);
    sum(world, "a.qcow2", after);
    assert_string_equal(before, after);
    sum(world, "a.qcow2.before-repair", after);
    assert_string_equal(before, after);
    assert_false(holds(world, "a.qcow2", FINDING_CLUSTERS_LEAKED));
}

/* How many are a burst is the policy's to say, for the remedy as for the finding. */
static void what_a_burst_is_says_the_policy(void **state)
{
    struct world *world = *state;

    SHELL(
        "cd $D && qemu-img create -q -f qcow2 a.qcow2 64M && qemu-io -c 'write -q 0 1M' a.qcow2 &&"
        "cp a.qcow2 b.qcow2");
    SHELL("PYTHONPATH=$top_srcdir/tests/images python3 -B -c 'from imagekit import *\n"
          "with Qcow2(\"'$D/a.qcow2'\") as i: i.leak(300)\n"
          "with Qcow2(\"'$D/b.qcow2'\") as i:\n i.put_refcount(i.l2(3) & OFFSET_MASK, 0)\n "
          "i.leak(24)'");
    world->policy.thresholds.burst_leaks = 1000;
    make(world, "a.qcow2", FINDING_CLUSTERS_LEAKED);
    follow(world);
    SHELL("qemu-img check -q $D/a.qcow2");

    make(world, "b.qcow2", FINDING_METADATA_CORRUPT);
    assert_non_null(strstr(all_of(world), "qemu-img check -r all"));
    world->policy.thresholds.burst_leaks = 20;
    make(world, "b.qcow2", FINDING_METADATA_CORRUPT);
    assert_null(strstr(all_of(world), "qemu-img"));
    assert_non_null(strstr(all_of(world), "See leak-burst."));
}

static void corruption_is_repaired_on_the_copy(void **state)
{
    struct world *world = *state;
    char before[256], after[256];

    SHELL("cd $D && qemu-img create -q -f qcow2 a.qcow2 16M && qemu-io -c 'write -q 0 1M' a.qcow2");
    SHELL("PYTHONPATH=$top_srcdir/tests/images python3 -B -c 'from imagekit import *\n"
          "with Qcow2(\"'$D/a.qcow2'\") as i:\n i.put_refcount(i.l2(3) & OFFSET_MASK, 0)\n "
          "i.put(79, 1, 2)'");
    sum(world, "a.qcow2", before);
    make(world, "a.qcow2", FINDING_METADATA_CORRUPT);
    follow(world);
    assert_int_equal(n_archives(), 1);
    sum(world, "a.qcow2", after);
    assert_string_equal(before, after);
    SHELL("qemu-img check -q $D/a.qcow2.before-repair && rm $D/a.qcow2.before-repair");

    make(world, "a.qcow2", FINDING_CORRUPT_BIT_SET);
    follow(world);
    SHELL("mv $D/a.qcow2.before-repair $D/a.qcow2");
    look(world);
    assert_false(holds(world, "a.qcow2", FINDING_CORRUPT_BIT_SET));
    assert_false(holds(world, "a.qcow2", FINDING_METADATA_CORRUPT));

    /* A pointer out of the file: qemu-img cannot mend it, so it is not told to. */
    SHELL("PYTHONPATH=$top_srcdir/tests/images python3 -B -c 'from imagekit import *\n"
          "with Qcow2(\"'$D/a.qcow2'\") as i: i.put_l2(3, COPIED | 0x123456000000)'");
    make(world, "a.qcow2", FINDING_METADATA_CORRUPT);
    assert_int_equal(world->n_commands, 1);
    assert_non_null(strstr(all_of(world), "pointers are damaged"));
    follow(world);
}

static void lazy_refcounts_after_a_crash(void **state)
{
    struct world *world = *state;

    SHELL("cd $D && qemu-img create -q -f qcow2 -o lazy_refcounts=on a.qcow2 16M");
    (void)shell_status("exec 2>/dev/null; cd $D && (ulimit -c 0; qemu-io -c 'write -q -P 7 0 1M' "
                       "-c flush -c abort a.qcow2; true) >/dev/null 2>&1");
    SHELL("qemu-img convert -U -O raw $D/a.qcow2 $D/a.keep");
    make(world, "a.qcow2", FINDING_DIRTY_BIT_SET);
    follow(world);
    assert_int_equal(n_archives(), 1);
    look(world);
    assert_false(holds(world, "a.qcow2", FINDING_DIRTY_BIT_SET));
    SHELL("qemu-img check -q $D/a.qcow2 && qemu-img compare -q $D/a.qcow2 -F raw $D/a.keep");
}

static void bitmaps(void **state)
{
    struct world *world = *state;

    SHELL("cd $D && qemu-img create -q -f qcow2 a.qcow2 16M && qemu-img bitmap --add a.qcow2 -- "
          "\"-it's daily\" &&qemu-img bitmap --add a.qcow2 other");
    SHELL("PYTHONPATH=$top_srcdir/tests/images python3 -B -c 'from imagekit import *\n"
          "with Qcow2(\"'$D/a.qcow2'\") as i: i.put(i.bitmap_directory() + 12, 4, 3)'");
    make(world, "a.qcow2", FINDING_BITMAP_IN_USE);
    follow(world);
    look(world);
    assert_false(holds(world, "a.qcow2", FINDING_BITMAP_IN_USE));
    assert_int_equal(world->files[0].image->audit->report->layers[0].info.n_bitmaps, 1);
}

static void the_parents_format(void **state)
{
    struct world *world = *state;
    char parent[256], after[256];

    SHELL("mkdir $D/b && cd $D && qemu-img create -q -f qcow2 \"b/the base.qcow2\" 16M &&qemu-io "
          "-c 'write -q -P 3 0 1M' \"b/the base.qcow2\" &&qemu-img create -q -f qcow2 -F qcow2 -b "
          "\"b/the base.qcow2\" a.qcow2 &&qemu-img convert -O raw a.qcow2 a.keep");
    SHELL("PYTHONPATH=$top_srcdir/tests/images python3 -B -c 'from imagekit import *\n"
          "with Qcow2(\"'$D/a.qcow2'\") as i: i.put(i.extension(0xe2792aca) - 8, 4, 0x7ffffff0)'");
    sum(world, "b/the base.qcow2", parent);
    make(world, "a.qcow2", FINDING_PARENT_FORMAT_MISSING);
    follow(world);
    look(world);
    assert_false(holds(world, "a.qcow2", FINDING_PARENT_FORMAT_MISSING));
    assert_string_equal(image_at(world, "a.qcow2")->parent.format, "qcow2");
    assert_string_equal(image_at(world, "a.qcow2")->parent.stored, "b/the base.qcow2");
    sum(world, "b/the base.qcow2", after);
    assert_string_equal(parent, after);
    SHELL("qemu-img compare -q $D/a.qcow2 -F raw $D/a.keep");
}

static void internal_snapshots(void **state)
{
    struct world *world = *state;

    SHELL(
        "cd $D && qemu-img create -q -f qcow2 a.qcow2 16M && for i in \"it's 1\" -two \\$three; do"
        " qemu-io -c 'write -q -P 3 0 1M' a.qcow2 && qemu-img snapshot -c \"$i\" a.qcow2 || exit "
        "1; done;qemu-img convert -O raw a.qcow2 a.keep");
    make(world, "a.qcow2", FINDING_INTERNAL_SNAPSHOTS);
    assert_int_equal(world->n_commands, 3);
    follow(world);
    look(world);
    assert_false(holds(world, "a.qcow2", FINDING_INTERNAL_SNAPSHOTS));
    SHELL("qemu-img check -q $D/a.qcow2 && qemu-img compare -q $D/a.qcow2 -F raw $D/a.keep");

    /* One old snapshot: that one alone. A name that is another's too is not deleted by name. */
    SHELL("cd $D && for i in x y 4 y; do qemu-img snapshot -c $i a.qcow2 || exit 1; done");
    make(world, "a.qcow2", FINDING_SNAPSHOT_OLD);
    assert_int_equal(world->n_commands, 1);
    follow(world);
    look(world);
    assert_int_equal(image_at(world, "a.qcow2")->audit->report->layers[0].info.n_snapshots, 3);
    make(world, "a.qcow2", FINDING_INTERNAL_SNAPSHOTS);
    assert_int_equal(world->n_commands, 0);
    assert_non_null(strstr(all_of(world), "another's name or id"));
    world->golden[0] = (char[]){ "*" };
    make(world, "a.qcow2", FINDING_INTERNAL_SNAPSHOTS);
    assert_no_command(world, "a golden image would be written");
}

static void permissions(void **state)
{
    struct world *world = *state;

    SHELL("cd $D && qemu-img create -q -f qcow2 -- -a.qcow2 1M && chmod 666 ./-a.qcow2");
    make(world, "-a.qcow2", FINDING_PERMISSIONS);
    follow(world);
    look(world);
    assert_false(holds(world, "-a.qcow2", FINDING_PERMISSIONS));
    world->golden[0] = (char[]){ "*" };
    make(world, "-a.qcow2", FINDING_PERMISSIONS);
    follow(world);
    look(world);
    assert_false(holds(world, "-a.qcow2", FINDING_PERMISSIONS));
    assert_int_equal(image_at(world, "-a.qcow2")->fingerprint.mode & 0777, 0444);
}

static void loops_and_strangers(void **state)
{
    struct world *world = *state;
    struct finding unknown = { .type = FINDING_CHAIN_DEEP, .subject_kind = SUBJECT_IMAGE,
                               .subject = (char[]){ "/nowhere" } };
    json_object *remedy = json_object_new_array(), *empty = remedy;

    SHELL("cd $D && qemu-img create -q -f qcow2 a.qcow2 1M && qemu-img create -q -f qcow2 -F qcow2 "
          "-b a.qcow2 b.qcow2 &&qemu-img rebase -u -F qcow2 -b b.qcow2 a.qcow2");
    make(world, "a.qcow2", FINDING_CHAIN_LOOP);
    assert_int_equal(world->n_commands, 0);
    world->finding.type = FINDING_CHAIN_DEEP;   /* left over from before it became a loop */
    json_object_put(world->remedy);
    fixture_remedy(world->graph, &world->finding, &world->remedy);
    assert_no_command(world, "settle chain-loop first");
    fixture_remedy(world->graph, &unknown, &remedy);
    assert_null(remedy);
    json_object_put(empty);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(consolidation_of_a_linked_clone),
        TEST(consolidation_on_a_raw_base),
        TEST(no_commit_where_it_would_hurt),
        TEST(leaks),
        TEST(a_burst_is_never_repaired),
        TEST(what_a_burst_is_says_the_policy),
        TEST(corruption_is_repaired_on_the_copy),
        TEST(lazy_refcounts_after_a_crash),
        TEST(bitmaps),
        TEST(the_parents_format),
        TEST(internal_snapshots),
        TEST(permissions),
        TEST(loops_and_strangers),
    };

    setenv("top_srcdir", ".", 0);
    if (shell_status("qemu-img --version >/dev/null 2>&1 && qemu-io --version >/dev/null 2>&1 &&"
                     " python3 --version >/dev/null 2>&1") != 0) {
        puts("1..0 # SKIP qemu-img, qemu-io or python3 is missing");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
