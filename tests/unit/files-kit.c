/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of qcaudit-files share: a datastore, a helper on it, and what it said. */
#include "files-kit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

void run(struct fixture *f, const char *format, ...)
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
const char *at(struct fixture *f, const char *name)
{
    static char path[4096];

    snprintf(path, sizeof(path), "%s/%s", f->root, name);
    return path;
}

void touch(struct fixture *f, const char *name)
{
    int fd = open(at(f, name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    close(fd);
}

void on_record(void *userdata, struct files *files, const struct files_record *record)
{
    struct fixture *f = userdata;

    /* a sanitized realloc() copies each time */
    if ((f->n_seen & (f->n_seen - 1)) == 0)
        f->seen = reallocarray(f->seen, f->n_seen > 0 ? 2 * f->n_seen : 1, sizeof(*f->seen));
    assert_non_null(f->seen);
    f->overflowed |= record->event == FILES_EVENT_OVERFLOW;
    f->seen[f->n_seen++] = (struct seen){ record->event, strdup(record->path), record->error,
                                          record->stat, record->left_out,
                                          record->target ? strdup(record->target) : NULL };
}

void on_walked(void *userdata, struct files *files, int error, uint64_t n_files,
               uint64_t n_directories)
{
    struct fixture *f = userdata;

    assert_false(f->walked);
    f->walked = true;
    f->walk_error = error;
    f->n_files = n_files;
    f->n_directories = n_directories;
}

void on_lost(void *userdata, struct files *files, int error)
{
    struct fixture *f = userdata;

    assert_false(f->lost);
    f->lost = true;
    f->lost_error = error;
}

void on_open(void *userdata, int error, int fd, const struct files_stat *stat, enum files_use use)
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

void on_probe(void *userdata, int error, const struct files_stat *stat, enum files_use use)
{
    struct fixture *f = userdata;

    f->answers++;
    f->error = error;
    f->use = use;
    if (stat)
        f->stat = *stat;
}

static void on_resolve(void *userdata, int error, const char *real_path,
                       const struct files_stat *stat)
{
    struct fixture *f = userdata;

    f->answers++;
    f->error = error;
    snprintf(f->real, sizeof(f->real), "%s", real_path ? real_path : "");
    if (stat)
        f->stat = *stat;
}

void on_root(void *userdata, int error, const struct files_root *root)
{
    struct fixture *f = userdata;

    f->answers++;
    f->error = error;
    if (root) {
        f->place = *root;
        snprintf(f->real, sizeof(f->real), "%s", root->real_path);
    }
}

int on_patience(sd_event_source *source, uint64_t usec, void *userdata)
{
    fail_msg("nothing happened");
    return 0;
}

void forget_seen(struct fixture *f)
{
    for (size_t i = 0; i < f->n_seen; i++) {
        free(f->seen[i].path);
        free(f->seen[i].target);
    }
    f->n_seen = 0;
}

const struct seen *find(struct fixture *f, enum files_event event, const char *name)
{
    for (size_t i = 0; i < f->n_seen; i++)
        if (f->seen[i].event == event &&
            strcmp(f->seen[i].path, name[0] == '\0' ? f->root : at(f, name)) == 0)
            return &f->seen[i];
    return NULL;
}

void start_with(struct fixture *f, struct files_options options)
{
    options.program = f->program;
    options.root = options.root ? options.root : f->root;
    options.record = on_record;
    options.walked = on_walked;
    options.lost = on_lost;
    options.userdata = f;
    f->files = files_free(f->files);
    f->lost = false;
    assert_int_equal(files_start(f->event, &options, &f->files), 0);
}

void start(struct fixture *f, bool watch)
{
    const char *const roots[] = {f->root, NULL};

    start_with(f,
               (struct files_options){ .recursive = true, .watch = watch, .allowed_roots = roots });
}

void walk(struct fixture *f)
{
    forget_seen(f);
    f->walked = false;
    assert_int_equal(files_walk(f->files), 0);
    assert_false(f->walked);
    LOOP_UNTIL(f, f->walked);
}

void try_open(struct fixture *f, const char *path)
{
    unsigned n = f->answers;

    assert_int_equal(files_open(f->files, path, on_open, f), 0);
    assert_int_equal(f->answers, n);
    LOOP_UNTIL(f, f->answers > n);
}

void try_resolve(struct fixture *f, const char *image, const char *reference)
{
    unsigned n = f->answers;

    assert_int_equal(files_resolve(f->files, image, reference, on_resolve, f), 0);
    LOOP_UNTIL(f, f->answers > n);
}

void ask_root(struct fixture *f)
{
    unsigned n = f->answers;

    assert_int_equal(files_root(f->files, on_root, f), 0);
    LOOP_UNTIL(f, f->answers > n);
}

void try_probe(struct fixture *f, const char *path)
{
    unsigned n = f->answers;

    assert_int_equal(files_probe(f->files, path, on_probe, f), 0);
    LOOP_UNTIL(f, f->answers > n);
    assert_int_equal(f->error, 0);
}

void release(struct fixture *f)
{
    kill(f->holder, SIGKILL);
    waitpid(f->holder, NULL, 0);
    f->holder = 0;
}

int kit_setup(void **state)
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

int kit_teardown(void **state)
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
