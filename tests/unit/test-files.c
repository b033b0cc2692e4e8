/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tests the client with qcaudit-files on real directories: walks, watches, locks, links, hostile names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "helpers/client.h"
#include "lib/cleanup.h"

#define PATIENCE (UINT64_C(30) * 1000000)   /* a test that needs longer has failed */

struct seen {
    enum files_event event;
    char *path;
    int error;
    struct files_stat stat;
};

struct fixture {
    sd_event *event;
    char top[64];                   /* holds everything */
    char root[80];                  /* the datastore */
    char *program;
    struct files *files;
    struct seen *seen;
    size_t n_seen;
    bool walked, lost;
    int walk_error, lost_error;
    uint64_t n_files, n_directories;
    /* of the last request */
    unsigned answers;
    int error, fd;
    struct files_stat stat;
    enum files_use use;
    char real[PATH_MAX];
    struct files_root place;
    pid_t holder;                   /* holds an image open */
};

__attribute__((format(printf, 2, 3))) static void run(struct fixture *f, const char *format, ...)
{
    _cleanup_free_ char *command = NULL, *whole = NULL;
    va_list arguments;

    va_start(arguments, format);
    assert_true(vasprintf(&command, format, arguments) > 0);
    va_end(arguments);
    assert_true(asprintf(&whole, "cd %s && { %s; } >/dev/null", f->root, command) > 0);
    if (system(whole) != 0)
        fail_msg("failed: %s", command);
}

/* A path below the root; static. */
static const char *at(struct fixture *f, const char *name)
{
    static char path[4096];

    snprintf(path, sizeof(path), "%s/%s", f->root, name);
    return path;
}

static void touch(struct fixture *f, const char *name)
{
    int fd = open(at(f, name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    close(fd);
}

static void on_record(void *userdata, struct files *files, const struct files_record *record)
{
    struct fixture *f = userdata;

    f->seen = reallocarray(f->seen, f->n_seen + 1, sizeof(*f->seen));
    assert_non_null(f->seen);
    f->seen[f->n_seen++] = (struct seen){record->event, strdup(record->path), record->error, record->stat};
}

static void on_walked(void *userdata, struct files *files, int error, uint64_t n_files, uint64_t n_directories)
{
    struct fixture *f = userdata;

    assert_false(f->walked);
    f->walked = true;
    f->walk_error = error;
    f->n_files = n_files;
    f->n_directories = n_directories;
}

static void on_lost(void *userdata, struct files *files, int error)
{
    struct fixture *f = userdata;

    assert_false(f->lost);
    f->lost = true;
    f->lost_error = error;
}

static void on_open(void *userdata, int error, int fd, const struct files_stat *stat, enum files_use use)
{
    struct fixture *f = userdata;

    f->answers++;
    f->error = error;
    if (f->fd >= 0)
        close(f->fd);
    f->fd = fd;
    f->use = use;
    assert_true((error == 0) == (fd >= 0));
    if (stat)
        f->stat = *stat;
}

static void on_probe(void *userdata, int error, const struct files_stat *stat, enum files_use use)
{
    struct fixture *f = userdata;

    f->answers++;
    f->error = error;
    f->use = use;
    if (stat)
        f->stat = *stat;
}

static void on_resolve(void *userdata, int error, const char *real_path, const struct files_stat *stat)
{
    struct fixture *f = userdata;

    f->answers++;
    f->error = error;
    snprintf(f->real, sizeof(f->real), "%s", real_path ? real_path : "");
    if (stat)
        f->stat = *stat;
}

static void on_root(void *userdata, int error, const struct files_root *root)
{
    struct fixture *f = userdata;

    f->answers++;
    f->error = error;
    if (root) {
        f->place = *root;
        snprintf(f->real, sizeof(f->real), "%s", root->real_path);
    }
}

static int on_patience(sd_event_source *source, uint64_t usec, void *userdata)
{
    fail_msg("nothing happened");
    return 0;
}

#define LOOP_UNTIL(f, condition)                                                                   \
    do {                                                                                           \
        sd_event_source *_timer = NULL;                                                            \
        assert_true(sd_event_add_time_relative((f)->event, &_timer, CLOCK_MONOTONIC, PATIENCE, 0,  \
                                               on_patience, NULL) >= 0);                           \
        while (!(condition))                                                                       \
            assert_true(sd_event_run((f)->event, UINT64_MAX) >= 0);                                \
        sd_event_source_disable_unref(_timer);                                                     \
    } while (0)

static void forget_seen(struct fixture *f)
{
    for (size_t i = 0; i < f->n_seen; i++)
        free(f->seen[i].path);
    f->n_seen = 0;
}

static const struct seen *find(struct fixture *f, enum files_event event, const char *name)
{
    for (size_t i = 0; i < f->n_seen; i++)
        if (f->seen[i].event == event &&
            strcmp(f->seen[i].path, name[0] == '\0' ? f->root : at(f, name)) == 0)
            return &f->seen[i];
    return NULL;
}

static void start_with(struct fixture *f, struct files_options options)
{
    options.program = f->program;
    options.root = options.root ? options.root : f->root;
    options.launcher_fd = -1;
    options.record = on_record;
    options.walked = on_walked;
    options.lost = on_lost;
    options.userdata = f;
    f->files = files_free(f->files);
    f->lost = false;
    assert_int_equal(files_start(f->event, &options, &f->files), 0);
}

static void start(struct fixture *f, bool watch)
{
    const char *const roots[] = {f->root, NULL};

    start_with(f, (struct files_options){.recursive = true, .watch = watch, .allowed_roots = roots});
}

static void walk(struct fixture *f)
{
    forget_seen(f);
    f->walked = false;
    assert_int_equal(files_walk(f->files), 0);
    assert_false(f->walked);
    LOOP_UNTIL(f, f->walked);
}

static void try_open(struct fixture *f, const char *path)
{
    unsigned n = f->answers;

    assert_int_equal(files_open(f->files, path, on_open, f), 0);
    assert_int_equal(f->answers, n);
    LOOP_UNTIL(f, f->answers > n);
}

static void try_resolve(struct fixture *f, const char *image, const char *reference)
{
    unsigned n = f->answers;

    assert_int_equal(files_resolve(f->files, image, reference, on_resolve, f), 0);
    LOOP_UNTIL(f, f->answers > n);
}

/* ---- walks ------------------------------------------------------------------------------------ */

static void test_walk(void **state)
{
    struct fixture *f = *state;
    const struct seen *s;
    struct stat st;

    run(f, "mkdir -p a/b/c empty x.qcow2 && qemu-img create -q -f qcow2 a/b/c/deep.qcow2 1M && echo text > a/note && "
           "mkfifo fifo && ln -s /etc/passwd out && ln -s nowhere dangling && ln -s a loop-a && ln -s .. a/up && : > .hidden");
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
    assert_int_equal(find(f, FILES_EVENT_APPEARED, "out")->stat.type, FILES_SYMLINK);
    assert_int_equal(find(f, FILES_EVENT_APPEARED, "dangling")->stat.type, FILES_SYMLINK);
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
        "new\nline.qcow2", "\033[2J.qcow2", "\xff\xfe.qcow2", "-rf", " ", "json:{}", "a\\b", "\xe2\x80\xaexdp.qcow2",
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

/* A walk of many files does not keep an open waiting, and a slow loop makes the helper wait, not grow. */
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

/* ---- watches ---------------------------------------------------------------------------------- */

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
    LOOP_UNTIL(f, find(f, FILES_EVENT_APPEARED, "sub/moved") && find(f, FILES_EVENT_APPEARED, "hard"));
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
    LOOP_UNTIL(f, find(f, FILES_EVENT_APPEARED, "a/b/c/deep") && find(f, FILES_EVENT_APPEARED, "a/shallow"));
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
    /* another directory in its place is another datastore: this helper does not take it for its own */
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
    for (unsigned i = 0; i < queue / 2 + 100; i++) {        /* created, written, deleted: three events */
        touch(f, "x");
        assert_int_equal(unlink(at(f, "x")), 0);
    }
    kill(files_pid(f->files), SIGCONT);
    LOOP_UNTIL(f, find(f, FILES_EVENT_OVERFLOW, ""));
    assert_false(f->lost);
}

/* ---- mounts ----------------------------------------------------------------------------------- */

static bool can_mount(struct fixture *f)
{
    return geteuid() == 0 && mount("tmpfs", f->root, "tmpfs", 0, "size=1M") == 0;
}

static void ask_root(struct fixture *f)
{
    unsigned n = f->answers;

    assert_int_equal(files_root(f->files, on_root, f), 0);
    LOOP_UNTIL(f, f->answers > n);
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

static void test_other_mounts_are_not_entered(void **state)
{
    struct fixture *f = *state;
    const struct seen *s;

    run(f, "mkdir inner && : > outer");
    if (geteuid() != 0 || mount("tmpfs", at(f, "inner"), "tmpfs", 0, "size=1M") < 0)
        skip();
    run(f, ": > inner/other");
    start(f, true);
    walk(f);
    assert_int_equal(umount(at(f, "inner")), 0);
    assert_null(find(f, FILES_EVENT_APPEARED, "inner/other"));
    s = find(f, FILES_EVENT_ERROR, "inner");
    assert_non_null(s);
    assert_int_equal(s->error, -EXDEV);
}

/* ---- opening ---------------------------------------------------------------------------------- */

static void test_open(void **state)
{
    struct fixture *f = *state;
    char text[8] = "", outside[128];
    struct stat st;

    snprintf(outside, sizeof(outside), "%s/outside", f->top);
    run(f, "echo data > file && ln -s file inside && ln -s %s out && echo secret > %s && mkfifo fifo && mkdir dir && "
           "ln -s nowhere dangling && ln -s circle circle && ln -s /dev/zero zero", outside, outside);
    start(f, false);
    try_open(f, at(f, "file"));
    assert_int_equal(f->error, 0);
    assert_int_equal(read(f->fd, text, sizeof(text)), 5);
    assert_string_equal(text, "data\n");
    assert_int_equal(write(f->fd, "x", 1), -1);
    assert_int_equal(fcntl(f->fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_int_equal(fcntl(f->fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fstat(f->fd, &st), 0);
    assert_int_equal(f->stat.inode, st.st_ino);
    assert_int_equal(f->use, FILES_UNUSED);

    try_open(f, at(f, "inside"));
    assert_int_equal(f->error, 0);
    try_open(f, at(f, "out"));
    assert_int_equal(f->error, -EPERM);
    try_open(f, outside);
    assert_int_equal(f->error, -EPERM);
    try_open(f, at(f, "zero"));
    assert_int_equal(f->error, -EPERM);
    try_open(f, at(f, "fifo"));
    assert_int_equal(f->error, -EMEDIUMTYPE);
    try_open(f, at(f, "dir"));
    assert_int_equal(f->error, -EMEDIUMTYPE);
    try_open(f, at(f, "dangling"));
    assert_int_equal(f->error, -ENOENT);
    try_open(f, at(f, "circle"));
    assert_int_equal(f->error, -ELOOP);
    try_open(f, at(f, "file/below"));
    assert_int_equal(f->error, -ENOENT);
    assert_false(f->lost);
}

static void test_resolve(void **state)
{
    struct fixture *f = *state;
    char outside[128], other[128], image[160];
    const char *roots[3] = {f->root, other, NULL};

    snprintf(outside, sizeof(outside), "%s/root-not", f->top);      /* the root's name is its beginning */
    snprintf(other, sizeof(other), "%s/other", f->top);
    run(f, "mkdir -p sub %s %s && echo b > base && echo b > sub/near && echo o > %s/there && echo s > %s/secret && "
           "ln -s %s/secret out && ln -s base link && mkfifo fifo && echo i > sub/image", other, outside, other, outside,
        outside);
    start_with(f, (struct files_options){.recursive = true, .allowed_roots = roots});
    snprintf(image, sizeof(image), "%s/sub/image", f->root);

    try_resolve(f, image, "near");
    assert_int_equal(f->error, 0);
    assert_string_equal(f->real, at(f, "sub/near"));
    assert_int_equal(f->stat.type, FILES_REGULAR);
    try_resolve(f, image, "../base");
    assert_int_equal(f->error, 0);
    assert_string_equal(f->real, at(f, "base"));
    try_resolve(f, image, "../link");
    assert_int_equal(f->error, 0);
    assert_string_equal(f->real, at(f, "base"));
    try_resolve(f, image, at(f, "base"));
    assert_int_equal(f->error, 0);
    try_resolve(f, image, "../../other/there");
    assert_int_equal(f->error, 0);
    try_resolve(f, image, "missing");
    assert_int_equal(f->error, -ENOENT);
    try_resolve(f, image, "../out");
    assert_int_equal(f->error, -EPERM);
    assert_non_null(strstr(f->real, "/root-not/secret"));
    try_resolve(f, image, "../../root-not/secret");
    assert_int_equal(f->error, -EPERM);
    try_resolve(f, image, "/etc/passwd");
    assert_int_equal(f->error, -EPERM);
    assert_string_equal(f->real, "/etc/passwd");
    /* whether it is there is not even looked at */
    try_resolve(f, image, "/nonexistent/../etc/nothing");
    assert_int_equal(f->error, -EPERM);
    assert_string_equal(f->real, "/etc/nothing");
    try_resolve(f, image, "../../../../../../../../../dev/null");
    assert_int_equal(f->error, -EPERM);
    try_resolve(f, image, "../fifo");
    assert_int_equal(f->error, -EMEDIUMTYPE);
    try_resolve(f, image, "..");
    assert_int_equal(f->error, -EMEDIUMTYPE);
    try_resolve(f, image, "");
    assert_int_equal(f->error, -EMEDIUMTYPE);
    assert_false(f->lost);
}

/* The datastore was given by a path with a link in it: what is below is called as it was given. */
static void test_root_is_a_link(void **state)
{
    struct fixture *f = *state;
    char link[128], path[160], root[80];

    snprintf(link, sizeof(link), "%s/link", f->top);
    run(f, "echo b > base && echo i > image && ln -s %s %s", f->root, link);
    strcpy(root, f->root);
    start_with(f, (struct files_options){.root = link, .watch = true, .recursive = true});
    strcpy(f->root, link);
    walk(f);
    assert_non_null(find(f, FILES_EVENT_APPEARED, "base"));
    snprintf(path, sizeof(path), "%s/image", link);
    try_resolve(f, path, "base");
    assert_int_equal(f->error, 0);
    assert_string_equal(f->real, at(f, "base"));
    snprintf(path, sizeof(path), "%s/base", root);
    try_resolve(f, at(f, "image"), path);
    assert_int_equal(f->error, 0);
    assert_string_equal(f->real, at(f, "base"));
    try_open(f, at(f, "base"));
    assert_int_equal(f->error, 0);
    ask_root(f);
    assert_string_equal(f->real, root);
    strcpy(f->root, root);
}

/* An absolute reference by another spelling, over a link outside of all roots. */
static void test_link_outside(void **state)
{
    struct fixture *f = *state;
    char path[160];

    run(f, "echo b > base && echo i > image && ln -s %s %s/alias", f->root, f->top);
    start(f, false);
    snprintf(path, sizeof(path), "%s/alias/base", f->top);
    try_resolve(f, at(f, "image"), path);
    assert_int_equal(f->error, 0);
    assert_string_equal(f->real, at(f, "base"));
}

/* ---- locks ------------------------------------------------------------------------------------ */

/* qemu-io with the image open, until the fixture ends. */
static void hold(struct fixture *f, const char *name, bool read_only)
{
    int to[2], from[2];
    char answer[64] = "";

    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(from, O_CLOEXEC), 0);
    f->holder = fork();
    if (f->holder == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        execlp("qemu-io", "qemu-io", read_only ? "-r" : "-n", at(f, name), NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    assert_int_equal(write(to[1], "length\n", 7), 7);
    while (!strstr(answer, "MiB") && !strstr(answer, "bytes")) {
        size_t n = strlen(answer);

        if (n >= sizeof(answer) - 1)
            n = 0;
        assert_true(read(from[0], answer + n, sizeof(answer) - 1 - n) > 0);
    }
    close(from[0]);
    /* to[1] stays: its end would be qemu-io's */
}

static void try_probe(struct fixture *f, const char *path)
{
    unsigned n = f->answers;

    assert_int_equal(files_probe(f->files, path, on_probe, f), 0);
    LOOP_UNTIL(f, f->answers > n);
    assert_int_equal(f->error, 0);
}

static void release(struct fixture *f)
{
    kill(f->holder, SIGKILL);
    waitpid(f->holder, NULL, 0);
    f->holder = 0;
}

static void test_locks(void **state)
{
    struct fixture *f = *state;

    run(f, "qemu-img create -q -f qcow2 disk 1M");
    start(f, false);
    try_probe(f, at(f, "disk"));
    assert_int_equal(f->use, FILES_UNUSED);
    assert_true(f->stat.size > 0);
    hold(f, "disk", false);
    try_probe(f, at(f, "disk"));
    assert_int_equal(f->use, FILES_WRITER);
    try_open(f, at(f, "disk"));
    assert_int_equal(f->error, 0);
    assert_int_equal(f->use, FILES_WRITER);
    release(f);
    try_probe(f, at(f, "disk"));
    assert_int_equal(f->use, FILES_UNUSED);
    hold(f, "disk", true);
    try_probe(f, at(f, "disk"));
    assert_int_equal(f->use, FILES_FROZEN);
    release(f);
    /* the probe itself must not keep a guest from starting */
    try_open(f, at(f, "disk"));
    run(f, "qemu-io -c 'write 0 64k' disk");
}

/* ---- the process ------------------------------------------------------------------------------ */

static void test_many_requests(void **state)
{
    struct fixture *f = *state;

    run(f, ": > x");
    start(f, false);
    f->answers = 0;
    for (unsigned i = 0; i < 2000; i++)
        assert_int_equal(files_probe(f->files, at(f, "x"), on_probe, f), 0);
    LOOP_UNTIL(f, f->answers == 2000);
    assert_int_equal(f->error, 0);
}

static void test_killed(void **state)
{
    struct fixture *f = *state;

    start(f, true);
    f->answers = 0;
    f->walked = false;
    kill(files_pid(f->files), SIGKILL);
    assert_int_equal(files_probe(f->files, at(f, "x"), on_probe, f), 0);
    (void)files_walk(f->files);
    LOOP_UNTIL(f, f->lost);
    assert_int_equal(f->answers, 1);
    assert_int_equal(f->error, -ECHILD);
    assert_int_equal(f->lost_error, -ECHILD);
    assert_int_equal(files_probe(f->files, at(f, "x"), on_probe, f), -ENOTCONN);
    assert_int_equal(files_walk(f->files), -ENOTCONN);
}

static void test_hangs(void **state)
{
    struct fixture *f = *state;

    start_with(f, (struct files_options){.deadline_usec = 500000});
    walk(f);
    kill(files_pid(f->files), SIGSTOP);
    f->answers = 0;
    f->walked = false;
    assert_int_equal(files_probe(f->files, at(f, "x"), on_probe, f), 0);
    assert_int_equal(files_open(f->files, at(f, "x"), on_open, f), 0);
    assert_int_equal(files_walk(f->files), 0);
    LOOP_UNTIL(f, f->lost);
    assert_int_equal(f->answers, 2);
    assert_int_equal(f->error, -ETIMEDOUT);
    assert_true(f->walked);
    assert_int_equal(f->walk_error, -ETIMEDOUT);
    assert_int_equal(f->lost_error, -ETIMEDOUT);
}

static void test_no_program(void **state)
{
    struct fixture *f = *state;
    struct files_options options = {
        .program = "/nonexistent", .root = f->root, .launcher_fd = -1, .record = on_record, .walked = on_walked,
        .lost = on_lost, .userdata = f,
    };

    assert_int_equal(files_start(f->event, &options, &f->files), -ENOENT);
    options.root = "relative";
    assert_int_equal(files_start(f->event, &options, &f->files), -EINVAL);
    options.root = f->root;
    options.program = "/bin/false";
    assert_int_equal(files_start(f->event, &options, &f->files), 0);
    LOOP_UNTIL(f, f->lost);
    assert_int_equal(f->lost_error, -ECHILD);
}

static uint64_t status_field(pid_t pid, const char *field, int base)
{
    _cleanup_fclose_ FILE *file = NULL;
    char path[64], line[256];

    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, field, strlen(field)) == 0 && line[strlen(field)] == ':')
            return strtoull(line + strlen(field) + 1, NULL, base);
    fail_msg("no %s in %s", field, path);
    return 0;
}

#define READ_SEARCH UINT64_C(4)     /* CAP_DAC_READ_SEARCH is number 2 */

static void check_confinement(struct fixture *f, pid_t pid)
{
    assert_int_equal(status_field(pid, "Seccomp", 10), 2);
    assert_int_equal(status_field(pid, "NoNewPrivs", 10), 1);
    assert_int_equal(status_field(pid, "CapInh", 16), 0);
    assert_int_equal(status_field(pid, "CapAmb", 16), 0);
    assert_int_equal(status_field(pid, "CapEff", 16), geteuid() == 0 ? READ_SEARCH : 0);
    assert_int_equal(status_field(pid, "CapPrm", 16), geteuid() == 0 ? READ_SEARCH : 0);
}

static void test_confined(void **state)
{
    struct fixture *f = *state;
    char path[64];
    unsigned n = 0;
    DIR *dir;

    start(f, true);
    walk(f);
    check_confinement(f, files_pid(f->files));
    snprintf(path, sizeof(path), "/proc/%d/fd", files_pid(f->files));
    dir = opendir(path);
    if (!dir)
        skip();                     /* not dumpable, so only root may look */
    for (struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    closedir(dir);
    assert_int_equal(n, 6);         /* three standard ones, socket, mountinfo, inotify: nothing stays open */
}

/* In a process of its own, as it gives up what this one has for ever. */
static void test_launcher(void **state)
{
    struct fixture *f = *state;
    siginfo_t info;
    pid_t pid;

    run(f, "mkdir closed && echo x > closed/file && chown -R 65534 closed && chmod 0 closed");
    pid = fork();
    if (pid == 0) {
        const char *const roots[] = {f->root, NULL};
        struct files_options options = {
            .program = f->program, .root = f->root, .allowed_roots = roots, .recursive = true, .watch = true,
            .record = on_record, .walked = on_walked, .lost = on_lost, .userdata = f,
        };
        sd_event *event = NULL;

        if (launcher_start(f->program, &options.launcher_fd) < 0 || sd_event_new(&event) < 0)
            _exit(99);
        f->event = event;
        assert_int_equal(status_field(getpid(), "CapEff", 16), 0);
        assert_int_equal(status_field(getpid(), "CapPrm", 16), 0);
        if (geteuid() == 0) {
            assert_true(options.launcher_fd >= 0);
            assert_int_equal(status_field(getpid(), "CapBnd", 16), 0);
            assert_int_equal(access(at(f, "closed/file"), F_OK), -1);
        } else
            assert_int_equal(options.launcher_fd, -1);
        assert_int_equal(files_start(f->event, &options, &f->files), 0);
        walk(f);
        check_confinement(f, files_pid(f->files));
        assert_true(!!find(f, FILES_EVENT_APPEARED, "closed/file") == (geteuid() == 0));
        if (geteuid() == 0) {
            try_open(f, at(f, "closed/file"));
            assert_int_equal(f->error, 0);
        }
        pid = files_pid(f->files);
        f->files = files_free(f->files);
        /* ended, and reaped by the launcher, or else by the loop */
        while (kill(pid, 0) == 0)
            assert_true(sd_event_run(f->event, 1000) >= 0);
        /* one more, which must end with this process */
        assert_int_equal(files_start(f->event, &options, &f->files), 0);
        walk(f);
        {
            _cleanup_fclose_ FILE *file = fopen(at(f, "pid"), "we");

            fprintf(file, "%d", files_pid(f->files));
        }
        _exit(0);
    }
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED), 0);
    assert_int_equal(info.si_code, CLD_EXITED);
    assert_int_equal(info.si_status, 0);
    {
        _cleanup_fclose_ FILE *file = fopen(at(f, "pid"), "re");

        assert_non_null(file);
        assert_int_equal(fscanf(file, "%d", &pid), 1);
    }
    for (unsigned i = 0; i < 10000 && kill(pid, 0) == 0; i++)
        usleep(1000);
    assert_int_equal(kill(pid, 0), -1);
}

/* ---- references by their text ------------------------------------------------------------------ */

static void test_classify(void **state)
{
    static const struct { const char *reference; enum reference_text class; const char *path; } cases[] = {
        {"base.qcow2", REFERENCE_LOCAL, "base.qcow2"},
        {"../base.qcow2", REFERENCE_LOCAL, "../base.qcow2"},
        {"/images/base.qcow2", REFERENCE_LOCAL, "/images/base.qcow2"},
        {"./a:b", REFERENCE_LOCAL, "./a:b"},
        {"dir/a:b", REFERENCE_LOCAL, "dir/a:b"},
        {"file:/images/base", REFERENCE_LOCAL, "/images/base"},
        {"file:///images/base", REFERENCE_LOCAL, "///images/base"},
        {"new\nline", REFERENCE_LOCAL, "new\nline"},
        {"/devices/x", REFERENCE_LOCAL, "/devices/x"},
        {"json:{\"driver\":\"nbd\"}", REFERENCE_REMOTE, NULL},
        {"nbd://host/x", REFERENCE_REMOTE, NULL},
        {"http://host/x", REFERENCE_REMOTE, NULL},
        {"rbd:pool/x", REFERENCE_REMOTE, NULL},
        {"a:b", REFERENCE_REMOTE, NULL},
        {":", REFERENCE_REMOTE, NULL},
        {"fat:rw:/etc", REFERENCE_REMOTE, NULL},
        {"file:relative", REFERENCE_UNSAFE, NULL},
        {"host_device:/dev/sda", REFERENCE_UNSAFE, NULL},
        {"/dev/sda", REFERENCE_UNSAFE, NULL},
        {"file:/dev/sda", REFERENCE_UNSAFE, NULL},
        {"//dev//./sda", REFERENCE_UNSAFE, NULL},
        {"/images/../dev/sda", REFERENCE_UNSAFE, NULL},
        {"/proc/self/fd/3", REFERENCE_UNSAFE, NULL},
        {"/sys/x", REFERENCE_UNSAFE, NULL},
        {"/..//proc", REFERENCE_UNSAFE, NULL},
        {"", REFERENCE_UNSAFE, NULL},
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_free_ char *path = NULL;
        enum reference_text class;

        assert_int_equal(reference_classify(cases[i].reference, &class, &path), 0);
        if (class != cases[i].class)
            fail_msg("%s: class %d", cases[i].reference, class);
        if (cases[i].path)
            assert_string_equal(path, cases[i].path);
        else
            assert_null(path);
        assert_int_equal(reference_classify(cases[i].reference, &class, NULL), 0);
    }
}

/* ---- the frame -------------------------------------------------------------------------------- */

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_true(sd_event_new(&f->event) >= 0);
    strcpy(f->top, "/tmp/qcaudit-test-XXXXXX");
    assert_non_null(mkdtemp(f->top));
    snprintf(f->root, sizeof(f->root), "%s/root", f->top);
    assert_int_equal(mkdir(f->root, 0755), 0);
    assert_int_equal(helper_program("qcaudit-files", &f->program), 0);
    f->fd = -1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *command = NULL;

    if (f->holder > 0)
        release(f);
    files_free(f->files);
    while (sd_event_run(f->event, 30000) > 0)
        ;
    (void)umount2(f->root, MNT_DETACH);
    assert_true(asprintf(&command, "chmod -R u+rwX %s; rm -rf -- %s", f->top, f->top) > 0);
    assert_int_equal(system(command), 0);
    forget_seen(f);
    free(f->seen);
    if (f->fd >= 0)
        close(f->fd);
    sd_event_unref(f->event);
    free(f->program);
    free(f);
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_walk), TEST(test_walk_flat), TEST(test_hostile_names), TEST(test_too_deep),
        TEST(test_no_permission), TEST(test_as_nobody), TEST(test_no_root), TEST(test_walk_is_interruptible),
        TEST(test_watch), TEST(test_watch_subdirectories), TEST(test_watch_race), TEST(test_root_vanishes),
        TEST(test_overflow), TEST(test_unmount), TEST(test_overmount), TEST(test_other_mounts_are_not_entered),
        TEST(test_open), TEST(test_resolve), TEST(test_root_is_a_link), TEST(test_link_outside), TEST(test_locks),
        TEST(test_many_requests), TEST(test_killed), TEST(test_hangs), TEST(test_no_program), TEST(test_confined),
        TEST(test_launcher), cmocka_unit_test(test_classify),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
