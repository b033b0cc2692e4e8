/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tests walks and watches of qcaudit-files on real directories, and mounts that come and go. */
#include "files-kit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- walks ----------------------------------------------------------------------------------- */

static void test_walk(void **state)
{
    struct fixture *f = *state;
    const struct seen *s;
    struct stat st;

    run(f,
        "mkdir -p a/b/c empty x.qcow2 && qemu-img create -q -f qcow2 a/b/c/deep.qcow2 1M && echo "
        "text > a/note && mkfifo fifo && ln -s /etc/passwd out && ln -s nowhere dangling && ln -s "
        "a loop-a && ln -s .. a/up && : > .hidden");
    start(f, false);
    walk(f);
    assert_int_equal(f->walk_error, 0);
    assert_int_equal(f->n_directories, 6);      /* the root too */
    assert_int_equal(f->n_files, 8);
    s = find(f, FILES_EVENT_APPEARED, "a/b/c/deep.qcow2");
    assert_non_null(s);
    assert_int_equal(stat(at(f, "a/b/c/deep.qcow2"), &st), 0);
    assert_int_equal(s->stat.type, FILES_REGULAR);
    assert_int_equal(s->stat.inode, st.st_ino);
    assert_int_equal(s->stat.device, st.st_dev);
    assert_int_equal(s->stat.size, st.st_size);
    assert_int_equal(s->stat.allocated, st.st_blocks * 512);
    assert_int_equal(s->stat.mtime, st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec);
    assert_int_equal(s->stat.mode, st.st_mode);
    assert_int_not_equal(s->stat.fsid, 0);
    assert_int_equal(find(f, FILES_EVENT_APPEARED, "x.qcow2")->stat.type, FILES_DIRECTORY);
    assert_int_equal(find(f, FILES_EVENT_APPEARED, "fifo")->stat.type, FILES_OTHER);
    assert_int_equal(find(f, FILES_EVENT_LEFT_OUT, "out")->left_out, FILES_LEFT_LINK);
    assert_int_equal(find(f, FILES_EVENT_LEFT_OUT, "dangling")->left_out, FILES_LEFT_LINK);
    assert_non_null(find(f, FILES_EVENT_APPEARED, ".hidden"));
    assert_null(find(f, FILES_EVENT_APPEARED, "loop-a/note"));
    assert_int_equal(f->n_seen, 13);
    /* the same again, by the same helper */
    walk(f);
    assert_int_equal(f->n_seen, 13);
}

static void test_walk_flat(void **state)
{
    struct fixture *f = *state;

    run(f, "mkdir a && : > a/inner && : > outer");
    start_with(f, (struct files_options){.recursive = false});
    walk(f);
    assert_non_null(find(f, FILES_EVENT_APPEARED, "outer"));
    assert_non_null(find(f, FILES_EVENT_APPEARED, "a"));
    assert_null(find(f, FILES_EVENT_APPEARED, "a/inner"));
}

static void test_hostile_names(void **state)
{
    static const char *const names[] = {
        "new\nline.qcow2", "\033[2J.qcow2", "\xff\xfe.qcow2", "-rf", " ", "json:{}", "a\\b",
        "\xe2\x80\xaexdp.qcow2",
    };
    struct fixture *f = *state;
    char name_255[256] = "";

    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        _cleanup_close_ int fd = open(at(f, names[i]), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
    }
    memset(name_255, '\a', 255);
    assert_int_equal(mkdir(at(f, name_255), 0700), 0);
    start(f, false);
    walk(f);
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        assert_non_null(find(f, FILES_EVENT_APPEARED, names[i]));
        try_open(f, at(f, names[i]));
        assert_int_equal(f->error, 0);
    }
    assert_non_null(find(f, FILES_EVENT_APPEARED, name_255));
}

/* Makes n directories of that name, one in the other. */
static void nest(struct fixture *f, const char *name, unsigned n)
{
    int fd = open(f->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    for (unsigned i = 0; i < n; i++) {
        int inner;

        assert_int_equal(mkdirat(fd, name, 0700), 0);
        inner = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(inner >= 0);
        close(fd);
        fd = inner;
    }
    close(fd);
}

/* Deeper, and longer, than anything that can be named: said, not followed, not fatal. */
static void test_too_deep(void **state)
{
    struct fixture *f = *state;
    unsigned n_errors = 0;
    char name[201] = "";

    memset(name, 'n', sizeof(name) - 1);
    nest(f, "d", 300);
    nest(f, name, 30);
    run(f, ": > top");
    start(f, true);
    walk(f);
    assert_int_equal(f->walk_error, 0);
    assert_non_null(find(f, FILES_EVENT_APPEARED, "top"));
    for (size_t i = 0; i < f->n_seen; i++)
        if (f->seen[i].event == FILES_EVENT_ERROR) {
            assert_int_equal(f->seen[i].error, -ENAMETOOLONG);
            n_errors++;
        }
    assert_int_equal(n_errors, 2);
}

static void test_no_permission(void **state)
{
    struct fixture *f = *state;
    const struct seen *s;

    if (geteuid() == 0)
        skip();                     /* nothing is closed to root: see test_as_nobody */
    run(f, "mkdir closed && : > closed/x && chmod 0 closed && : > secret && chmod 0 secret");
    start(f, true);
    walk(f);
    s = find(f, FILES_EVENT_ERROR, "closed");
    assert_non_null(s);
    assert_int_equal(s->error, -EACCES);
    try_open(f, at(f, "secret"));
    assert_int_equal(f->error, -EACCES);
    /* it is opened for us: looked into without another walk */
    forget_seen(f);
    run(f, "chmod 0700 closed");
    LOOP_UNTIL(f, find(f, FILES_EVENT_APPEARED, "closed/x"));
}

/* The same for a normal user, when the tests run as root. */
static void test_as_nobody(void **state)
{
    struct fixture *f = *state;
    siginfo_t info;
    pid_t pid;

    if (geteuid() != 0)
        skip();
    run(f, "chmod 0755 %s && chown -R 65534:65534 .", f->top);
    pid = fork();
    if (pid == 0) {
        sd_event *event = NULL;

        /* the daemon's user, and the daemon without its loop's past */
        if (setgid(65534) < 0 || setuid(65534) < 0 || sd_event_new(&event) < 0)
            _exit(99);
        f->event = event;
        test_no_permission(state);
        _exit(0);
    }
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED), 0);
    assert_int_equal(info.si_code, CLD_EXITED);
    assert_int_equal(info.si_status, 0);
}

static void test_no_root(void **state)
{
    struct fixture *f = *state;
    char missing[128];

    snprintf(missing, sizeof(missing), "%s/missing", f->top);
    start_with(f, (struct files_options){.root = missing, .watch = true});
    f->answers = 0;
    assert_int_equal(files_root(f->files, on_root, f), 0);
    assert_int_equal(files_walk(f->files), 0);
    assert_int_equal(files_walk(f->files), -EALREADY);
    LOOP_UNTIL(f, f->answers == 1 && f->walked);
    assert_int_equal(f->error, -ENOENT);
    assert_int_equal(f->walk_error, -ENOENT);
    /* it comes into being */
    assert_int_equal(mkdir(missing, 0700), 0);
    f->walked = false;
    assert_int_equal(files_walk(f->files), 0);
    LOOP_UNTIL(f, f->walked);
    assert_int_equal(f->walk_error, 0);
    rmdir(missing);
}

/* A walk of many files does not keep an open waiting, and a slow loop makes the helper wait, not
 * grow. */
static void test_walk_is_interruptible(void **state)
{
    struct fixture *f = *state;
    size_t seen_at_answer;
    char name[32];

    for (unsigned d = 0; d < 10; d++) {
        snprintf(name, sizeof(name), "%u", d);
        assert_int_equal(mkdir(at(f, name), 0700), 0);
        for (unsigned i = 0; i < 200; i++) {
            snprintf(name, sizeof(name), "%u/%u", d, i);
            touch(f, name);
        }
    }
    touch(f, "wanted");
    start(f, false);
    LOOP_UNTIL(f, sd_event_run(f->event, 0) == 0);
    f->walked = false;
    f->answers = 0;
    assert_int_equal(files_walk(f->files), 0);
    LOOP_UNTIL(f, f->n_seen > 0);
    /* it may only be as far as the socket's buffer let it */
    usleep(200000);
    assert_int_equal(files_open(f->files, at(f, "wanted"), on_open, f), 0);
    LOOP_UNTIL(f, f->answers == 1);
    assert_int_equal(f->error, 0);
    seen_at_answer = f->n_seen;
    assert_true(seen_at_answer < 1500);
    assert_false(f->walked);
    LOOP_UNTIL(f, f->walked);
    assert_int_equal(f->n_files, 2001);
    assert_int_equal(f->n_seen, 2011);
}

/* ---- watches --------------------------------------------------------------------------------- */

static void test_watch(void **state)
{
    struct fixture *f = *state;

    run(f, "mkdir sub && echo 1 > old");
    start(f, true);
    walk(f);
    forget_seen(f);

    run(f, "echo 2 > new");
    LOOP_UNTIL(f, find(f, FILES_EVENT_CHANGED, "new"));
    assert_non_null(find(f, FILES_EVENT_APPEARED, "new"));
    forget_seen(f);

    run(f, "chmod 0600 old");
    LOOP_UNTIL(f, find(f, FILES_EVENT_CHANGED, "old"));
    assert_int_equal(find(f, FILES_EVENT_CHANGED, "old")->stat.mode & 07777, 0600);
    forget_seen(f);

    run(f, "mv old sub/moved && ln new hard");
    LOOP_UNTIL(f,
               find(f, FILES_EVENT_APPEARED, "sub/moved") && find(f, FILES_EVENT_APPEARED, "hard"));
    assert_non_null(find(f, FILES_EVENT_VANISHED, "old"));
    assert_int_equal(find(f, FILES_EVENT_APPEARED, "hard")->stat.links, 2);
    forget_seen(f);

    /* read, and written without a close: nothing */
    {
        _cleanup_close_ int fd = open(at(f, "new"), O_RDWR | O_CLOEXEC);

        assert_true(fd >= 0);
        run(f, "cat new");
        assert_int_equal(write(fd, "x", 1), 1);
        run(f, "rm sub/moved");
        LOOP_UNTIL(f, find(f, FILES_EVENT_VANISHED, "sub/moved"));
        assert_int_equal(f->n_seen, 1);
    }
    LOOP_UNTIL(f, find(f, FILES_EVENT_CHANGED, "new"));
    assert_false(f->lost);
}

static void test_watch_subdirectories(void **state)
{
    struct fixture *f = *state;
    char elsewhere[128];

    start(f, true);
    walk(f);
    assert_int_equal(f->n_seen, 0);

    /* made at once, so most of it exists before anything is watched */
    run(f, "mkdir -p a/b/c && echo 1 > a/b/c/deep && echo 2 > a/shallow");
    LOOP_UNTIL(f, find(f, FILES_EVENT_APPEARED, "a/b/c/deep") &&
                      find(f, FILES_EVENT_APPEARED, "a/shallow"));
    run(f, "echo 3 > a/b/c/later");
    LOOP_UNTIL(f, find(f, FILES_EVENT_APPEARED, "a/b/c/later"));
    forget_seen(f);

    /* another name: all of it is seen under it, and events have it */
    run(f, "mv a/b z");
    LOOP_UNTIL(f, find(f, FILES_EVENT_APPEARED, "z/c/deep"));
    assert_non_null(find(f, FILES_EVENT_VANISHED, "a/b"));
    run(f, "echo 4 > z/c/after");
    LOOP_UNTIL(f, find(f, FILES_EVENT_APPEARED, "z/c/after"));
    forget_seen(f);

    /* out of the tree: gone, and what happens there is nobody's business */
    snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", f->top);
    run(f, "mv z %s && echo 5 > %s/c/unseen && mkdir z", elsewhere, elsewhere);
    LOOP_UNTIL(f, find(f, FILES_EVENT_APPEARED, "z"));
    assert_non_null(find(f, FILES_EVENT_VANISHED, "z"));
    run(f, "echo 6 > z/seen && rm -r a");
    LOOP_UNTIL(f, find(f, FILES_EVENT_VANISHED, "a") && find(f, FILES_EVENT_APPEARED, "z/seen"));
    for (size_t i = 0; i < f->n_seen; i++)
        assert_null(strstr(f->seen[i].path, "unseen"));
    assert_false(f->lost);
}

/* Everything is created while it is walked: nothing may be missed in the end. */
static void test_watch_race(void **state)
{
    struct fixture *f = *state;
    size_t found = 0;

    start(f, true);
    assert_int_equal(files_walk(f->files), 0);
    run(f, "for i in $(seq 40); do mkdir -p r$i/s/t && : > r$i/s/t/file && mv r$i m$i; done");
    LOOP_UNTIL(f, f->walked);
    for (unsigned i = 1; i <= 40; i++) {
        char name[32];

        snprintf(name, sizeof(name), "m%u/s/t/file", i);
        LOOP_UNTIL(f, find(f, FILES_EVENT_APPEARED, name));
        found++;
    }
    assert_int_equal(found, 40);
}

static void test_root_vanishes(void **state)
{
    struct fixture *f = *state;

    run(f, ": > x");
    start(f, true);
    walk(f);
    forget_seen(f);
    run(f, "mv %s %s/renamed && mkdir %s", f->root, f->top, f->root);
    LOOP_UNTIL(f, find(f, FILES_EVENT_UNMOUNTED, ""));
    /* another directory in its place is another datastore: this helper does not take it for its
     * own */
    f->walked = false;
    assert_int_equal(files_walk(f->files), 0);
    LOOP_UNTIL(f, f->walked);
    assert_int_equal(f->walk_error, -ESTALE);
}

static void test_overflow(void **state)
{
    struct fixture *f = *state;

    _cleanup_fclose_ FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
    unsigned queue;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%u", &queue), 1);
    if (queue > 100000)
        skip();
    /* the helper is stopped until its queue is full */
    start(f, true);
    walk(f);
    kill(files_pid(f->files), SIGSTOP);
    for (unsigned i = 0; i < queue / 2 + 100; i++) {        /* created, written, deleted: three
                                                             * events */
        touch(f, "x");
        assert_int_equal(unlink(at(f, "x")), 0);
    }
    kill(files_pid(f->files), SIGCONT);
    LOOP_UNTIL(f, f->overflowed);
    assert_false(f->lost);
    assert_non_null(find(f, FILES_EVENT_OVERFLOW, ""));
}

/* ---- mounts ---------------------------------------------------------------------------------- */

static bool can_mount(struct fixture *f)
{
    return geteuid() == 0 && mount("tmpfs", f->root, "tmpfs", 0, "size=1M") == 0;
}

static void test_unmount(void **state)
{
    struct fixture *f = *state;
    struct files_root mounted;

    if (!can_mount(f))
        skip();
    run(f, "mkdir sub && : > sub/x");
    start(f, true);
    walk(f);
    ask_root(f);
    assert_int_equal(f->error, 0);
    assert_string_equal(f->place.type, "tmpfs");
    assert_false(f->place.network);
    assert_int_equal(f->place.size, 1 << 20);
    assert_string_equal(f->real, f->root);
    mounted = f->place;
    assert_int_equal(umount(f->root), 0);
    LOOP_UNTIL(f, find(f, FILES_EVENT_UNMOUNTED, ""));
    ask_root(f);
    assert_int_equal(f->error, 0);
    assert_int_not_equal(f->place.fsid, mounted.fsid);
}

/* A file system that is laid over the root makes no event of inotify. */
static void test_overmount(void **state)
{
    struct fixture *f = *state;

    start(f, true);
    walk(f);
    if (!can_mount(f))
        skip();
    LOOP_UNTIL(f, find(f, FILES_EVENT_UNMOUNTED, ""));
    f->walked = false;
    assert_int_equal(files_walk(f->files), 0);
    LOOP_UNTIL(f, f->walked);
    assert_int_equal(umount(f->root), 0);
    assert_int_equal(f->walk_error, -ESTALE);
}

static void test_nested_mounts(void **state)
{
    struct fixture *f = *state;
    const struct seen *s;

    run(f, "mkdir inner once twice loop pseudo && : > outer && : > once/file");
    if (geteuid() != 0 || mount("tmpfs", at(f, "inner"), "tmpfs", 0, "size=1M") < 0)
        skip();
    run(f, ": > inner/other && mount --bind once twice && mount --bind . loop && "
           "mount -t proc none pseudo");
    start(f, true);
    walk(f);
    assert_non_null(find(f, FILES_EVENT_APPEARED, "inner/other"));
    s = find(f, FILES_EVENT_MOUNT, "inner");
    assert_true(s && strcmp(s->target, "tmpfs") == 0);
    assert_int_equal(find(f, FILES_EVENT_LEFT_OUT, "twice")->left_out, FILES_LEFT_SEEN);
    assert_int_equal(find(f, FILES_EVENT_LEFT_OUT, "loop")->left_out, FILES_LEFT_SEEN);
    assert_int_equal(find(f, FILES_EVENT_LEFT_OUT, "pseudo")->left_out, FILES_LEFT_PSEUDO);
    assert_null(find(f, FILES_EVENT_APPEARED, "twice/file"));
    assert_null(find(f, FILES_EVENT_APPEARED, "loop/outer"));
    assert_null(find(f, FILES_EVENT_APPEARED, "pseudo/self"));
    /* watched, too; it goes, and another one comes */
    run(f, ": > inner/later");
    LOOP_UNTIL(f, find(f, FILES_EVENT_APPEARED, "inner/later"));
    run(f, "umount inner");
    LOOP_UNTIL(f, find(f, FILES_EVENT_LEFT_OUT, "inner"));
    assert_int_equal(find(f, FILES_EVENT_LEFT_OUT, "inner")->left_out, FILES_LEFT_GONE);
    assert_null(find(f, FILES_EVENT_VANISHED, "inner/other"));
    forget_seen(f);
    run(f, "mount -t tmpfs none inner && : > inner/new");
    LOOP_UNTIL(f, find(f, FILES_EVENT_APPEARED, "inner/new"));
    run(f, "umount inner twice loop pseudo");
}

static void test_nested_mounts_forbidden(void **state)
{
    struct fixture *f = *state;

    run(f, "mkdir inner");
    if (geteuid() != 0 || mount("tmpfs", at(f, "inner"), "tmpfs", 0, "size=1M") < 0)
        skip();
    run(f, ": > inner/other");
    start_with(f, (struct files_options){.recursive = true, .no_mounts = true});
    walk(f);
    run(f, "umount inner");
    assert_null(find(f, FILES_EVENT_APPEARED, "inner/other"));
    assert_int_equal(find(f, FILES_EVENT_LEFT_OUT, "inner")->left_out, FILES_LEFT_FORBIDDEN);
}

static void test_exclude(void **state)
{
    static const char *const patterns[] = {"tmp", "a/*.iso", "*.bak", NULL};
    static const char *const in[] = {"a", "a/tmp.qcow2", "b.iso", "tmpx"};
    static const char *const out[] = {"tmp", "a/x.iso", "c.bak", "a/d.bak", "a/tmp"};
    struct fixture *f = *state;

    run(f, "mkdir -p a/tmp tmp tmpx && : > tmp/file && : > a/tmp.qcow2 && : > b.iso && "
           ": > a/x.iso && : > c.bak && : > a/d.bak");
    start_with(f, (struct files_options){.recursive = true, .watch = true, .exclude = patterns});
    walk(f);
    for (size_t i = 0; i < ELEMENTSOF(in); i++)
        assert_non_null(find(f, FILES_EVENT_APPEARED, in[i]));
    for (size_t i = 0; i < ELEMENTSOF(out); i++) {
        assert_null(find(f, FILES_EVENT_APPEARED, out[i]));
        assert_int_equal(find(f, FILES_EVENT_LEFT_OUT, out[i])->left_out, FILES_LEFT_EXCLUDED);
    }
    assert_null(find(f, FILES_EVENT_APPEARED, "tmp/file"));
    /* nor by its events */
    forget_seen(f);
    run(f, ": > e.bak && : > tmp/more && : > seen");
    LOOP_UNTIL(f, find(f, FILES_EVENT_APPEARED, "seen"));
    assert_null(find(f, FILES_EVENT_APPEARED, "e.bak"));
    assert_null(find(f, FILES_EVENT_APPEARED, "tmp/more"));
}


int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_walk), TEST(test_walk_flat), TEST(test_hostile_names), TEST(test_too_deep),
        TEST(test_no_permission), TEST(test_as_nobody), TEST(test_no_root),
        TEST(test_walk_is_interruptible),
        TEST(test_watch), TEST(test_watch_subdirectories), TEST(test_watch_race),
        TEST(test_root_vanishes),
        TEST(test_overflow), TEST(test_unmount), TEST(test_overmount),
        TEST(test_nested_mounts), TEST(test_nested_mounts_forbidden), TEST(test_exclude),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
