/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Discover and audit with their real helpers: what is found in a folder, what an audit says, where
 * references lead. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/audit/internal.h"
#include "daemon/core/log.h"
#include "daemon/discover/discover.h"
#include "helpers/clock.h"

#define PATIENCE (20 * USEC_PER_SEC)

struct fixture {
    char root[64], store[80], other[80];
    char *worker_program, *files_program;
    sd_event *event;
    struct discover *discover;
    struct audits *audits;
    struct config *config;
    struct config_datastore datastores[2];
    unsigned n_appeared, n_changed, n_vanished, n_walked, n_done, n_resolved, n_states;
    char last_vanished[4096];
    int last_error;
    int lacking;                /* -errno of looking for what is called base.qcow2; 0 */
};

/* ---- callbacks ------------------------------------------------------------------------------- */

static void on_image(void *userdata, struct image *image, enum discover_change change, bool by_walk)
{
    struct fixture *f = userdata;

    f->n_appeared += change == DISCOVER_APPEARED;
    f->n_changed += change == DISCOVER_CHANGED;
    if (change != DISCOVER_VANISHED)
        return;
    f->n_vanished++;
    snprintf(f->last_vanished, sizeof(f->last_vanished), "%s", image->path);
    audits_forget(f->audits, image);
}

static void on_datastore(void *userdata, struct datastore *datastore)
{
    struct fixture *f = userdata;

    f->n_states++;
}

static void on_walk_begins(void *userdata, struct datastore *datastore)
{
}

static void on_walked(void *userdata, struct datastore *datastore, int error)
{
    struct fixture *f = userdata;

    f->n_walked += error == 0;
}

static void on_files_gone(void *userdata, struct datastore *datastore, struct files *files)
{
    struct fixture *f = userdata;

    audits_files_gone(f->audits, files);
}

static void on_removed(void *userdata, struct datastore *datastore)
{
}

static int on_files(void *userdata, const char *path, struct files **ret_files,
                    const struct datastore **ret_datastore)
{
    struct fixture *f = userdata;
    struct datastore *datastore = discover_datastore_of(f->discover, path);
    struct files *files;

    if (f->lacking < 0 && strcmp(strrchr(path, '/'), "/base.qcow2") == 0)
        return f->lacking;
    if (!datastore)
        return -EPERM;
    files = discover_files(f->discover, datastore);
    if (!files)
        return -ENOTCONN;
    *ret_files = files;
    *ret_datastore = datastore;
    return 0;
}

static void on_done(void *userdata, struct image *image, int error, struct audit *audit,
                    struct reference *parent, struct reference *data_file,
                    struct reference_list *extents)
{
    struct fixture *f = userdata;

    f->n_done++;
    f->last_error = error;
    if (error < 0)
        return;
    audit_free(image->audit);
    image->audit = audit;
    if (!parent)
        return;
    reference_done(&image->parent);
    reference_done(&image->data_file);
    image->parent = *parent;
    image->data_file = *data_file;
    reference_list_done(&image->extents);
    image->extents = *extents;
}

static void on_resolved(void *userdata, struct image *image, struct reference *parent,
                        struct reference *data_file, struct reference_list *extents)
{
    struct fixture *f = userdata;

    f->n_resolved++;
    reference_done(&image->parent);
    reference_done(&image->data_file);
    image->parent = *parent;
    image->data_file = *data_file;
    reference_list_done(&image->extents);
    image->extents = *extents;
}

/* ---- the fixture ----------------------------------------------------------------------------- */

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct discover_options discover_options = {
        .image = on_image, .datastore = on_datastore,
        .walk_begins = on_walk_begins,
        .walked = on_walked, .files_gone = on_files_gone, .removed = on_removed, .userdata = f,
    };
    struct audits_options audits_options = {
        .workers = 2, .worker_memory = UINT64_C(256) << 20, .worker_images = 3,
        .worker_deadline = 10 * USEC_PER_SEC, .max_issues = 100, .files = on_files, .done = on_done,
        .resolved = on_resolved, .userdata = f,
    };

    assert_non_null(f);
    strcpy(f->root, "/tmp/qcaudit-test-audit.XXXXXX");
    assert_non_null(mkdtemp(f->root));
    snprintf(f->store, sizeof(f->store), "%s/store", f->root);
    snprintf(f->other, sizeof(f->other), "%s/other", f->root);
    assert_int_equal(mkdir(f->store, 0755), 0);
    assert_int_equal(helper_program("qcaudit-worker", &f->worker_program), 0);
    assert_int_equal(helper_program("qcaudit-files", &f->files_program), 0);
    discover_options.files_program = f->files_program;
    audits_options.worker_program = f->worker_program;
    assert_true(sd_event_new(&f->event) >= 0);
    assert_int_equal(audits_new(f->event, &audits_options, &f->audits), 0);
    assert_int_equal(discover_new(f->event, &discover_options, &f->discover), 0);
    assert_int_equal(config_new(&f->config), 0);
    f->datastores[0] = (struct config_datastore){ .recursive = true, .watch = true };
    f->datastores[0].name = strdup("one");
    f->datastores[0].path = f->store;
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    f->config->datastores = NULL;
    f->config->n_datastores = 0;
    config_free(f->config);
    discover_free(f->discover);
    audits_free(f->audits);
    sd_event_unref(f->event);
    free(f->datastores[0].name);
    free(f->worker_program);
    free(f->files_program);
    nftw(f->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static void start(struct fixture *f)
{
    f->config->datastores = f->datastores;
    f->config->n_datastores = 1;
    assert_int_equal(discover_set_config(f->discover, f->config), 0);
}

/* Runs the loop until *counter reaches n. */
static void wait_until(struct fixture *f, const unsigned *counter, unsigned n)
{
    uint64_t begin, now;

    sd_event_now(f->event, CLOCK_MONOTONIC, &begin);
    while (*counter < n) {
        assert_true(sd_event_run(f->event, USEC_PER_SEC / 10) >= 0);
        sd_event_now(f->event, CLOCK_MONOTONIC, &now);
        assert_true(now < begin + PATIENCE);
    }
}

static void wait_state(struct fixture *f, enum datastore_state state)
{
    struct datastore *datastore = discover_find_datastore(f->discover, "one");

    while (datastore->state != state)
        wait_until(f, &f->n_states, f->n_states + 1);
}

static void write_file(const char *folder, const char *name, const void *data, size_t size,
                       off_t length)
{
    char path[256];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), size);
    assert_int_equal(ftruncate(fd, length), 0);
    assert_int_equal(close(fd), 0);
}

static void put32(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* An empty qcow2 image (docs/interop/qcow2, "Header") of 1 MiB with clusters of 64 KiB: header,
 * refcount table, one refcount block, L1 table, a cluster each. */
static void write_qcow2(const char *folder, const char *name, const char *parent)
{
    uint8_t *image = calloc(4, 65536);

    assert_non_null(image);
    memcpy(image, "QFI\xfb", 4);
    put32(image + 4, 3);
    if (parent) {
        put32(image + 12, 512);
        put32(image + 16, (uint32_t)strlen(parent));
        memcpy(image + 512, parent, strlen(parent));
    }
    put32(image + 20, 16);
    put32(image + 28, 1 << 20);
    put32(image + 36, 1);
    put32(image + 44, 3 * 65536);
    put32(image + 52, 65536);
    put32(image + 56, 1);
    put32(image + 96, 4);
    put32(image + 100, 104);
    put32(image + 65536 + 4, 2 * 65536);
    for (int i = 0; i < 4; i++)
        image[2 * 65536 + 2 * i + 1] = 1;
    write_file(folder, name, image, 4 * 65536, 4 * 65536);
    free(image);
}

static struct image *find(struct fixture *f, const char *name)
{
    char path[256];
    struct image *image;

    snprintf(path, sizeof(path), "%s/%s", f->store, name);
    image = discover_find_image(f->discover, path);
    assert_non_null(image);
    return image;
}

static struct image *audit(struct fixture *f, const char *name)
{
    struct image *image = find(f, name);

    assert_int_equal(audits_start(f->audits, image, false), 0);
    wait_until(f, &f->n_done, f->n_done + 1);
    assert_int_equal(f->last_error, 0);
    return image;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_finds_files(void **state)
{
    struct fixture *f = *state;
    struct image *const *images;
    char path[256];
    size_t n;

    write_file(f->store, "b.img", "x", 1, 1 << 20);
    write_file(f->store, "a.txt", "text", 4, 4);
    write_file(f->store, ".hidden.qcow2", "x", 1, 512);
    write_file(f->store, "empty", "", 0, 0);
    snprintf(path, sizeof(path), "%s/.snapshot", f->store);
    assert_int_equal(mkdir(path, 0755), 0);
    write_file(path, "b.img", "x", 1, 512);
    snprintf(path, sizeof(path), "%s/fifo", f->store);
    assert_int_equal(mkfifo(path, 0644), 0);
    snprintf(path, sizeof(path), "%s/folder.qcow2", f->store);
    assert_int_equal(mkdir(path, 0755), 0);
    write_file(path, "c.img", "x", 1, 512);

    start(f);
    wait_until(f, &f->n_walked, 1);
    assert_int_equal(discover_images(f->discover, &images, &n), 0);
    assert_int_equal(n, 4);
    assert_string_equal(strrchr(images[0]->path, '/'), "/.hidden.qcow2");
    assert_string_equal(strrchr(images[1]->path, '/'), "/a.txt");
    assert_string_equal(strrchr(images[2]->path, '/'), "/b.img");
    assert_string_equal(strrchr(images[3]->path, '/'), "/c.img");
    assert_int_equal(images[2]->fingerprint.size, 1 << 20);
    assert_int_equal(discover_find_datastore(f->discover, "one")->state, DATASTORE_ONLINE);
}

static void test_notices_changes(void **state)
{
    struct fixture *f = *state;
    char from[256], to[256];

    write_file(f->store, "a.img", "x", 1, 512);
    start(f);
    wait_until(f, &f->n_walked, 1);
    write_file(f->store, "b.img", "x", 1, 512);
    wait_until(f, &f->n_appeared, 2);
    write_file(f->store, "a.img", "y", 1, 1024);
    while (find(f, "a.img")->fingerprint.size != 1024)
        wait_until(f, &f->n_changed, f->n_changed + 1);

    /* A folder that moves away takes its images along. */
    snprintf(from, sizeof(from), "%s/folder", f->store);
    snprintf(to, sizeof(to), "%s/away", f->root);
    assert_int_equal(mkdir(from, 0755), 0);
    write_file(from, "deep.img", "x", 1, 512);
    wait_until(f, &f->n_appeared, 3);
    assert_int_equal(rename(from, to), 0);
    wait_until(f, &f->n_vanished, 1);
    assert_string_equal(strrchr(f->last_vanished, '/'), "/deep.img");
    assert_int_equal(f->n_vanished, 1);
}

static void test_offline_and_back(void **state)
{
    struct fixture *f = *state;
    struct datastore *datastore;
    struct image *const *images;
    size_t n;

    write_file(f->store, "a.img", "x", 1, 512);
    start(f);
    datastore = discover_find_datastore(f->discover, "one");
    wait_until(f, &f->n_walked, 1);
    assert_int_equal(rename(f->store, f->other), 0);
    wait_state(f, DATASTORE_OFFLINE);
    assert_true(datastore->error < 0);
    assert_int_equal(discover_images(f->discover, &images, &n), 0);
    assert_int_equal(n, 1);             /* nothing vanished */
    assert_int_equal(f->n_vanished, 0);
    assert_int_equal(rename(f->other, f->store), 0);
    wait_state(f, DATASTORE_ONLINE);
    wait_until(f, &f->n_walked, 2);
    assert_int_equal(f->n_vanished, 0);
    assert_int_equal(datastore->error, 0);
}

static void test_vanished_while_away(void **state)
{
    struct fixture *f = *state;
    struct datastore *datastore;
    char path[256];

    write_file(f->store, "a.img", "x", 1, 512);
    write_file(f->store, "b.img", "x", 1, 512);
    start(f);
    datastore = discover_find_datastore(f->discover, "one");
    wait_until(f, &f->n_walked, 1);
    assert_int_equal(discover_release(f->discover, datastore, UINT64_MAX), 0);
    assert_int_equal(datastore->state, DATASTORE_PAUSED);
    assert_null(discover_files(f->discover, datastore));
    assert_int_equal(audits_start(f->audits, find(f, "a.img"), false), -ENOTCONN);
    snprintf(path, sizeof(path), "%s/b.img", f->store);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(discover_resume(f->discover, datastore), 0);
    wait_until(f, &f->n_walked, 2);
    assert_int_equal(f->n_vanished, 1);
    assert_string_equal(f->last_vanished, path);
}

static void test_removed_from_configuration(void **state)
{
    struct fixture *f = *state;

    write_file(f->store, "a.img", "x", 1, 512);
    start(f);
    wait_until(f, &f->n_walked, 1);
    f->config->n_datastores = 0;
    assert_int_equal(discover_set_config(f->discover, f->config), 0);
    assert_int_equal(f->n_vanished, 1);
    assert_null(discover_find_datastore(f->discover, "one"));
}

static void test_audits(void **state)
{
    struct fixture *f = *state;
    struct image *image;

    write_file(f->store, "raw.img", "x", 1, 1 << 20);
    write_qcow2(f->store, "base.qcow2", NULL);
    write_qcow2(f->store, "child.qcow2", "base.qcow2");
    start(f);
    wait_until(f, &f->n_walked, 1);

    image = audit(f, "raw.img");
    assert_int_equal(image->audit->report->error, 0);
    assert_int_equal(image->audit->report->layers[0].info.format, QCA_FORMAT_RAW);
    assert_int_equal(image->audit->confidence, CONFIDENCE_OFFLINE);
    assert_int_equal(image->parent.state, REFERENCE_NONE);

    image = audit(f, "base.qcow2");
    assert_int_equal(image->audit->report->layers[0].info.format, QCA_FORMAT_QCOW2);
    assert_true(image->audit->report->layers[0].checked);
    assert_int_equal(image->audit->report->layers[0].check.corruptions, 0);
    assert_int_equal(image->audit->report->layers[0].check.leaks, 0);
    assert_true(image->audit->report->layers[0].has_metadata_digest);

    image = audit(f, "child.qcow2");
    assert_int_equal(image->parent.state, REFERENCE_FOUND);
    assert_string_equal(image->parent.stored, "base.qcow2");
    assert_string_equal(image->parent.path, find(f, "base.qcow2")->path);
    assert_true(identity_equal(&image->parent.identity, &find(f, "base.qcow2")->identity));
    assert_int_equal(audits_running(f->audits), 0);
}

/* What this machine lacks for a moment says nothing about a parent. */
static void test_references_without_means(void **state)
{
    static const int errors[] = { -ENOMEM, -EMFILE, -ENFILE, -ENOBUFS, -EAGAIN };
    struct fixture *f = *state;

    write_qcow2(f->store, "base.qcow2", NULL);
    write_qcow2(f->store, "child.qcow2", "base.qcow2");
    start(f);
    wait_until(f, &f->n_walked, 1);
    for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++) {
        f->lacking = errors[i];
        assert_int_equal(audit(f, "child.qcow2")->parent.state, REFERENCE_UNREACHABLE);
    }
    f->lacking = 0;
    assert_int_equal(audit(f, "child.qcow2")->parent.state, REFERENCE_FOUND);
}

static void test_references(void **state)
{
    static const struct { const char *name, *parent; enum reference_state state; } cases[] = {
        { "missing.qcow2", "not-there.qcow2", REFERENCE_MISSING },
        { "outside.qcow2", "/etc/hostname", REFERENCE_ESCAPES },
        { "above.qcow2", "../../../../../../etc/hostname", REFERENCE_ESCAPES },
        { "device.qcow2", "/dev/zero", REFERENCE_ESCAPES },
        { "json.qcow2", "json:{\"driver\":\"file\",\"filename\":\"/etc/hostname\"}",
          REFERENCE_IS_REMOTE },
        { "remote.qcow2", "nbd://localhost/x", REFERENCE_IS_REMOTE },
        { "itself.qcow2", "./folder/../itself.qcow2", REFERENCE_FOUND },
    };
    struct fixture *f = *state;
    char path[256];

    snprintf(path, sizeof(path), "%s/folder", f->store);
    assert_int_equal(mkdir(path, 0755), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        write_qcow2(f->store, cases[i].name, cases[i].parent);
    start(f);
    wait_until(f, &f->n_walked, 1);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct image *image = audit(f, cases[i].name);

        assert_string_equal(image->parent.stored, cases[i].parent);
        assert_int_equal(image->parent.state, cases[i].state);
    }

    /* The parent comes: looked up again without reading the image. */
    write_qcow2(f->store, "not-there.qcow2", NULL);
    wait_until(f, &f->n_appeared, sizeof(cases) / sizeof(cases[0]) + 1);
    assert_int_equal(audits_resolve(f->audits, find(f, "missing.qcow2")), 0);
    wait_until(f, &f->n_resolved, 1);
    assert_int_equal(find(f, "missing.qcow2")->parent.state, REFERENCE_FOUND);
    assert_int_equal(audits_resolving(f->audits), 0);
}

static void test_interrupted(void **state)
{
    struct fixture *f = *state;
    struct datastore *datastore;
    struct image *image;

    write_qcow2(f->store, "a.qcow2", NULL);
    write_qcow2(f->store, "b.qcow2", NULL);
    start(f);
    wait_until(f, &f->n_walked, 1);
    datastore = discover_find_datastore(f->discover, "one");

    /* A release ends what is under way; a forgotten image gets no callback. */
    image = find(f, "a.qcow2");
    assert_int_equal(audits_start(f->audits, image, false), 0);
    assert_int_equal(audits_start(f->audits, image, false), -EBUSY);
    assert_int_equal(audits_start(f->audits, find(f, "b.qcow2"), false), 0);
    audits_forget(f->audits, find(f, "b.qcow2"));
    assert_int_equal(discover_release(f->discover, datastore, UINT64_MAX), 0);
    audits_cancel(f->audits, datastore);
    assert_int_equal(f->n_done, 1);
    assert_int_equal(f->last_error, -ECANCELED);
    assert_int_equal(audits_running(f->audits), 0);
    assert_int_equal(discover_resume(f->discover, datastore), 0);
    wait_until(f, &f->n_walked, 2);
    (void) audit(f, "a.qcow2");
}

static void test_file_that_is_gone(void **state)
{
    struct fixture *f = *state;
    struct image *image;

    f->datastores[0].watch = false;
    write_qcow2(f->store, "a.qcow2", NULL);
    start(f);
    wait_until(f, &f->n_walked, 1);
    image = find(f, "a.qcow2");
    assert_int_equal(unlink(image->path), 0);
    assert_int_equal(audits_start(f->audits, image, false), 0);
    wait_until(f, &f->n_done, 1);
    assert_int_equal(f->last_error, -ENOENT);
    assert_null(image->audit);
}

static void test_unreadable(void **state)
{
    struct fixture *f = *state;
    struct image *image;

    /* As root: a helper that may not read everything. */
    if (geteuid() == 0) {
        assert_int_equal(prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0), 0);
        assert_int_equal(prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH, 0, 0, 0), 0);
    }
    write_qcow2(f->store, "a.qcow2", NULL);
    start(f);
    wait_until(f, &f->n_walked, 1);
    assert_int_equal(chmod(find(f, "a.qcow2")->path, 0), 0);
    image = audit(f, "a.qcow2");
    assert_int_equal(image->audit->report->error, -EACCES);
    assert_int_equal(image->audit->report->n_layers, 0);
}

/* Somebody's lease may be over in a moment: once is no result, twice is. */
static void test_leased(void **state)
{
    struct fixture *f = *state;
    struct image *image;
    int fd;

    /* What a lease is broken with ends nobody. */
    assert_true(signal(SIGIO, SIG_IGN) != SIG_ERR);
    write_qcow2(f->store, "a.qcow2", NULL);
    start(f);
    wait_until(f, &f->n_walked, 1);
    image = find(f, "a.qcow2");
    fd = open(image->path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0) {
        close(fd);
        skip();                 /* this file system has none */
    }
    assert_int_equal(audits_start(f->audits, image, false), 0);
    wait_until(f, &f->n_done, 1);
    assert_int_equal(f->last_error, -EAGAIN);
    assert_null(image->audit);

    image->n_denied = 1;
    image = audit(f, "a.qcow2");
    assert_int_equal(image->audit->report->error, -EAGAIN);
    assert_true(image_was_denied(image));

    assert_int_equal(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
    close(fd);
    image = audit(f, "a.qcow2");
    assert_int_equal(image->audit->report->error, 0);
    assert_false(image_was_denied(image));
}

/* Workers are replaced after three images here; all audits come to their end. */
static void test_many(void **state)
{
    enum { N = 20 };
    struct fixture *f = *state;
    char name[32];

    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "%d.qcow2", i);
        write_qcow2(f->store, name, NULL);
    }
    start(f);
    wait_until(f, &f->n_walked, 1);
    for (int i = 0; i < N; i += 2) {
        for (int j = i; j < i + 2; j++) {
            snprintf(name, sizeof(name), "%d.qcow2", j);
            assert_int_equal(audits_start(f->audits, find(f, name), false), 0);
        }
        wait_until(f, &f->n_done, (unsigned)i + 2);
        assert_int_equal(f->last_error, 0);
    }
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "%d.qcow2", i);
        assert_non_null(find(f, name)->audit);
        assert_int_equal(find(f, name)->audit->report->error, 0);
    }
}

static size_t count_workers(const struct pool *pool)
{
    size_t n = 0;

    for (size_t i = 0; i < pool->n_slots; i++)
        n += pool->slots[i].worker != NULL;
    return n;
}

/* Many datastores, one after the other: those that idle count as workers too. */
static void test_idle_workers_count(void **state)
{
    enum { LIMIT = 2, N = 6 };
    struct fixture *f = *state;
    const struct worker_options options = {
        .program = f->worker_program, .memory_limit = UINT64_C(256) << 20, .images_max = 10,
    };
    struct datastore *datastores[N];
    struct slot *slot, *other;
    struct pool pool = { 0 };
    struct job jobs[2] = { 0 };

    assert_int_equal(pool_init(&pool, f->event), 0);
    for (size_t i = 0; i < N; i++) {
        datastores[i] = calloc(1, sizeof(*datastores[i]));
        assert_non_null(datastores[i]);
        assert_int_equal(pool_take(&pool, &options, LIMIT, datastores[i], &jobs[0], &slot), 0);
        assert_int_equal(pool_take(&pool, &options, LIMIT, datastores[0], &jobs[1], &other), 0);
        assert_ptr_not_equal(slot, other);
        assert_int_equal(pool_take(&pool, &options, LIMIT, datastores[0], &jobs[1],
                                   &(struct slot *){ NULL }),
                         -EBUSY);
        pool_release(&pool, slot, false);
        pool_release(&pool, other, false);
        assert_int_equal(count_workers(&pool), LIMIT);
    }
    pool_done(&pool);
    for (size_t i = 0; i < N; i++)
        free(datastores[i]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_finds_files), T(test_notices_changes), T(test_offline_and_back),
        T(test_vanished_while_away),
        T(test_removed_from_configuration), T(test_audits), T(test_references), T(test_interrupted),
        T(test_references_without_means),
        T(test_file_that_is_gone), T(test_unreadable), T(test_leased), T(test_many),
        T(test_idle_workers_count),
    };

    log_open("qcauditd", LOG_TARGET_CONSOLE, LOG_ERR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
