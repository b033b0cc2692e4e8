/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tests how qcaudit-files opens files and resolves references, whose locks it sees, and how it is
 * confined and lost. */
#include "files-kit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fsverity.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helpers/files-private.h"
#include "helpers/process.h"
#include "helpers/sandbox.h"
#include "helpers/wire.h"
#include "lib/sanitized.h"

/* ---- opening --------------------------------------------------------------------------------- */

static void test_open(void **state)
{
    struct fixture *f = *state;
    char text[8] = "", outside[128];
    struct stat st;

    snprintf(outside, sizeof(outside), "%s/outside", f->top);
    run(f,
        "echo data > file && ln -s file inside && ln -s %s out && echo secret > %s && mkfifo fifo "
        "&& mkdir dir && ln -s nowhere dangling && ln -s circle circle && ln -s /dev/zero zero",
        outside, outside);
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

    /* the root's name is its beginning */
    snprintf(outside, sizeof(outside), "%s/root-not", f->top);
    snprintf(other, sizeof(other), "%s/other", f->top);
    run(f,
        "mkdir -p sub %s %s && echo b > base && echo b > sub/near && echo o > %s/there && echo s > "
        "%s/secret && ln -s %s/secret out && ln -s base link && mkfifo fifo && echo i > sub/image",
        other, outside, other, outside, outside);
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

/* ---- locks ----------------------------------------------------------------------------------- */

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

/* As many as the guests of a busy host hold: sorting them must not be what the filter kills for. */
static void test_many_locks(void **state)
{
    struct fixture *f = *state;
    int fds[4];

    run(f, "qemu-img create -q -f qcow2 disk 1M");
    for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
        char name[16];

        snprintf(name, sizeof(name), "locked-%zu", i);
        fds[i] = open(at(f, name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fds[i] >= 0);
        for (off_t start = 101; start < 300; start += 2) {
            struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET,
                                  .l_start = start, .l_len = 1 };

            assert_int_equal(fcntl(fds[i], F_OFD_SETLK, &lock), 0);
        }
    }
    start(f, false);
    walk(f);
    assert_int_equal(f->walk_error, 0);
    try_probe(f, at(f, "locked-3"));
    assert_int_equal(f->error, 0);
    assert_int_equal(f->use, FILES_WRITER);
    try_probe(f, at(f, "disk"));
    assert_int_equal(f->use, FILES_UNUSED);
    for (size_t i = 0; i < ELEMENTSOF(fds); i++)
        close(fds[i]);
}

/* ---- the process ----------------------------------------------------------------------------- */

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
        .program = "/nonexistent", .root = f->root, .record = on_record,
        .walked = on_walked,
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
    assert_int_equal(n, 7);         /* three standard ones, socket, mountinfo, locks, inotify:
                                     * nothing stays open */
}

/* How a process ends that confines itself and then does something with a file; 0: it lived. */
static int ended_confined(void (*does)(int fd, unsigned long how), unsigned long how)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        int mounts = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC), fd;
        const char *step;

        if (sandbox_files(inotify_init1(IN_CLOEXEC), mounts, mounts, &step) < 0)
            _exit(99);
        fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            _exit(98);
        does(fd, how);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

static void ask_ioctl(int fd, unsigned long request)
{
    struct fsverity_digest none = {0};

    (void)ioctl(fd, request, &none);
}

/* Few machines have a file with fs-verity, and there this call must not end the helper. */
static void test_verity_may_be_asked(void **state)
{
    assert_int_equal(ended_confined(ask_ioctl, FS_IOC_MEASURE_VERITY), 0);
    assert_int_equal(ended_confined(ask_ioctl, FS_IOC_ENABLE_VERITY), SIGSYS);
}

/* In a process of its own, as it gives up what this one has for ever. */
/* Whoever is the parent of orphans here may take his time to reap them. */
static bool has_ended(pid_t pid)
{
    _cleanup_fclose_ FILE *file = NULL;
    char path[64], state = 'X';

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = fopen(path, "re");
    if (file && fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = 'X';
    return state == 'X' || state == 'Z';
}

static void test_launcher(void **state)
{
    struct fixture *f = *state;
    siginfo_t info;
    pid_t pid;

    run(f, "mkdir closed && echo x > closed/file && chmod 0 closed");
    if (geteuid() == 0)
        run(f, "chown -R 65534 closed");
    pid = fork();
    if (pid == 0) {
        const char *const roots[] = {f->root, NULL};
        struct files_options options = {
            .program = f->program, .root = f->root, .allowed_roots = roots, .recursive = true,
            .watch = true,
            .record = on_record, .walked = on_walked, .lost = on_lost, .userdata = f,
        };
        sd_event *event = NULL;
        int launcher = -1;

        if (launcher_start(f->program, &launcher) < 0 || sd_event_new(&event) < 0 ||
            (launcher >= 0 && launches_new(event, launcher, &options.launches) < 0))
            _exit(99);
        f->event = event;
        assert_int_equal(status_field(getpid(), "CapEff", 16), 0);
        assert_int_equal(status_field(getpid(), "CapPrm", 16), 0);
        if (geteuid() == 0) {
            assert_true(launcher >= 0);
            assert_int_equal(status_field(getpid(), "CapBnd", 16), 0);
            assert_int_equal(access(at(f, "closed/file"), F_OK), -1);
        } else
            assert_int_equal(launcher, -1);
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
    for (unsigned i = 0; i < 10000 && !has_ended(pid); i++)
        usleep(1000);
    assert_true(has_ended(pid));
}

/* The process that was forked: a daemon's one child until it asks for others. */
static pid_t only_child(void)
{
    char path[64];
    int pid = 0;

    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
    {
        _cleanup_fclose_ FILE *file = fopen(path, "re");

        if (!file || fscanf(file, "%d", &pid) != 1)
            return 0;
    }
    return pid;
}

/* Nobody waits for a launcher that stands still; what it starts then for those who do not wait any
 * more is ended. */
static void stop_the_launcher(struct fixture *f)
{
    struct files_options options = {
        .program = f->program, .root = f->root, .recursive = true,
        .record = on_record, .walked = on_walked, .lost = on_lost, .userdata = f,
    };
    struct process_endings endings;
    struct files *given_up = NULL;
    sd_event *event = NULL;
    int launcher = -1;
    pid_t pid;

    if (launcher_start(f->program, &launcher) < 0 || sd_event_new(&event) < 0 ||
        launches_new(event, launcher, &options.launches) < 0)
        _exit(99);
    f->event = event;
    process_endings_init(&endings);
    pid = only_child();
    if (pid <= 0 || kill(pid, SIGSTOP) < 0)
        _exit(98);
    if (files_start(event, &options, &given_up) < 0 || files_pid(given_up) != 0)
        _exit(97);
    files_end(given_up, &endings, f);
    if (files_start(event, &options, &f->files) < 0 || kill(pid, SIGCONT) < 0)
        _exit(96);
    walk(f);
    if (!find(f, FILES_EVENT_APPEARED, "file") || files_pid(f->files) <= 0) {
        print_error("walked: %d, lost: %d, pid %d\n", f->walk_error, f->lost_error,
                    (int)files_pid(f->files));
        _exit(95);
    }
    while (process_endings_find(&endings, f) > 0)
        (void)sd_event_run(event, 10000);
    f->files = files_free(f->files);
}

static void test_launcher_stands_still(void **state)
{
    struct fixture *f = *state;
    int status;
    pid_t pid;

    if (geteuid() != 0)
        skip();
    run(f, "echo x > file");
    pid = fork();
    if (pid == 0) {
        stop_the_launcher(f);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- references by their text ---------------------------------------------------------------- */

enum way {
    WAY_READ, WAY_PREAD, WAY_READV, WAY_PREADV, WAY_PREADV2, WAY_MAP_PRIVATE, WAY_MAP_SHARED,
    WAY_MAP_POPULATE, WAY_SENDFILE, WAY_SPLICE, WAY_COPY_RANGE, WAY_TEE_MEMORY, WAY_IO_URING,
    WAY_AIO, WAY_EXEC, WAY_DUP, _WAY_MAX,
};

/* Every call by which a file's bytes could come. */
static void read_bytes(int fd, unsigned long how)
{
    char bytes[16], *const none[] = {NULL};
    struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};

    switch ((enum way)how) {
    case WAY_READ:
        (void)!read(fd, bytes, sizeof(bytes));
        break;
    case WAY_PREAD:
        (void)!pread(fd, bytes, sizeof(bytes), 0);
        break;
    case WAY_READV:
        (void)!readv(fd, &iov, 1);
        break;
    case WAY_PREADV:
        (void)!preadv(fd, &iov, 1, 0);
        break;
    case WAY_PREADV2:
        (void)!preadv2(fd, &iov, 1, 0, 0);
        break;
    case WAY_MAP_PRIVATE:
        (void)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
        break;
    case WAY_MAP_SHARED:
        (void)mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
        break;
    case WAY_MAP_POPULATE:
        (void)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_POPULATE, fd, 0);
        break;
    case WAY_SENDFILE:
        (void)sendfile(WIRE_FD, fd, NULL, 16);
        break;
    case WAY_SPLICE:
        (void)splice(fd, NULL, WIRE_FD, NULL, 16, 0);
        break;
    case WAY_COPY_RANGE:
        (void)copy_file_range(fd, NULL, fd, NULL, 16, 0);
        break;
    case WAY_TEE_MEMORY:
        (void)process_vm_readv(getpid(), &iov, 1, &iov, 1, 0);
        break;
    case WAY_IO_URING:
        (void)syscall(SYS_io_uring_setup, 1, bytes);
        break;
    case WAY_AIO:
        (void)syscall(SYS_io_setup, 1, bytes);
        break;
    case WAY_EXEC:
        (void)fexecve(fd, none, none);
        break;
    case WAY_DUP:       /* to a number that may be read */
        (void)dup2(fd, WIRE_FD + 1);
        break;
    case _WAY_MAX:
        break;
    }
}

static void test_no_byte_can_be_read(void **state)
{
    for (unsigned long how = 0; how < _WAY_MAX; how++)
        if (ended_confined(read_bytes, how) != SIGSYS)
            fail_msg("way %lu does not kill", how);
}

static int compare_numbers(const void *a, const void *b)
{
    const unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

    return x < y ? -1 : x > y;
}

/* Memory, small and large, taken, grown, sorted and given back; folders read. */
static void work(int fd, unsigned long unused)
{
    enum { N = 4 << 20 };
    unsigned *numbers = malloc(1000 * sizeof(*numbers));
    size_t n = 0;
    DIR *dir;

    if (numbers)
        numbers = realloc(numbers, N * sizeof(*numbers));
    if (!numbers)
        _exit(1);
    for (size_t i = 0; i < N; i++)
        numbers[i] = (unsigned)(i * 2654435761u);
    qsort(numbers, N, sizeof(*numbers), compare_numbers);
    for (size_t i = 1; i < N; i++)
        if (numbers[i - 1] > numbers[i])
            _exit(2);
    free(numbers);
    for (size_t i = 0; i < 100000; i++)
        if (!malloc(1000))
            _exit(3);
    dir = opendir("/proc/self/fd");
    if (!dir)
        _exit(4);
    while (readdir(dir))
        n++;
    closedir(dir);
    close(fd);
    if (n < 4)
        _exit(5);
}

static void test_work_is_possible(void **state)
{
    assert_int_equal(ended_confined(work, 0), 0);
}

/* What a launcher may not, each with EPERM; and what it is for. */
static void launch(int fd)
{
    char *const arguments[] = {(char *)(uintptr_t)"true", NULL}, *const none[] = {NULL};
    const char *step;
    int status = 0;
    pid_t pid;

    if (sandbox_launcher(&step) < 0)
        _exit(90);
#define REFUSED(number, call)                                                                      \
    do {                                                                                           \
        errno = 0;                                                                                 \
        if ((call) >= 0 || errno != EPERM)                                                         \
            _exit(number);                                                                         \
    } while (0)
    REFUSED(1, socket(AF_UNIX, SOCK_STREAM, 0));
    REFUSED(2, open("/tmp", O_TMPFILE | O_RDWR, 0600));
    REFUSED(3, open("/tmp/launched", O_WRONLY | O_CREAT, 0600));
    REFUSED(4, open("/dev/null", O_WRONLY));
    REFUSED(5, unlink("/nonexistent"));
    REFUSED(6, mkdir("/tmp/launched", 0700));
    REFUSED(7, rename("/nonexistent", "/tmp/launched"));
    REFUSED(8, chmod("/nonexistent", 0));
    REFUSED(9, ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
    REFUSED(10, process_vm_readv(getppid(), NULL, 0, NULL, 0, 0));
    REFUSED(11, unshare(CLONE_NEWUSER));
    REFUSED(12, setuid(0));
    REFUSED(13, kill(getppid(), SIGTERM));
    REFUSED(14, write(fd, "x", 1));
    REFUSED(15, syscall(SYS_io_uring_setup, 1, NULL));
    REFUSED(16, syscall(SYS_bpf, 0, NULL, 0));
    REFUSED(17, mount("none", "/nonexistent", "tmpfs", 0, NULL));
    REFUSED(18, syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL));
    if (syscall(SYS_clone3, NULL, 0) >= 0 || errno != ENOSYS)
        _exit(19);
    if (posix_spawn(&pid, "/bin/true", NULL, NULL, arguments, none) != 0 ||
        waitpid(pid, &status, 0) != pid || status != 0)
        _exit(20);
}

static void test_launcher_is_confined(void **state)
{
    int status;
    pid_t pid = SANITIZED ? -1 : fork();

    if (pid < 0)
        skip();
    if (pid == 0) {
        launch(open("/dev/null", O_WRONLY | O_CLOEXEC));
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* What a daemon has no use for, each with EPERM; and what it is for. */
static void confine_daemon(void)
{
    char *const arguments[] = {(char *)(uintptr_t)"true", NULL}, *const none[] = {NULL};
    const char *step;
    int status = 0, fd, pair[2];
    pid_t pid;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || sandbox_daemon(&step) < 0)
        _exit(90);
    REFUSED(1, unshare(CLONE_NEWUSER));
    REFUSED(2, syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL));
    REFUSED(3, syscall(SYS_clone, CLONE_NEWNS | SIGCHLD, NULL, NULL, NULL, NULL));
    REFUSED(4, mount("none", "/nonexistent", "tmpfs", 0, NULL));
    REFUSED(5, chroot("/"));
    REFUSED(6, ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
    REFUSED(7, syscall(SYS_bpf, 0, NULL, 0));
    REFUSED(8, syscall(SYS_perf_event_open, NULL, 0, 0, 0, 0));
    REFUSED(9, syscall(SYS_io_uring_setup, 1, NULL));
    REFUSED(10, syscall(SYS_userfaultfd, 0));
    REFUSED(11, syscall(SYS_keyctl, 0, 0, 0, 0, 0));
    REFUSED(12, syscall(SYS_setns, 0, 0));
    if (syscall(SYS_clone3, NULL, 0) >= 0 || errno != ENOSYS)
        _exit(19);
    fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        _exit(20);
    if (posix_spawn(&pid, "/bin/true", NULL, NULL, arguments, none) != 0 ||
        waitpid(pid, &status, 0) != pid || status != 0)
        _exit(21);
}

static void test_daemon_is_confined(void **state)
{
    int status;
    pid_t pid = SANITIZED ? -1 : fork();

    if (pid < 0)
        skip();
    if (pid == 0) {
        confine_daemon();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* How a qcaudit-files answers to whom asks for path, with root as its datastore, when the launcher
 * was given another; late: given after it had started one. */
static int opened_by_launcher(struct fixture *f, const char *given, const char *root,
                              const char *path, bool late)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        struct files_options options = {
            .program = f->program, .root = root, .recursive = true,
            .record = on_record, .walked = on_walked, .lost = on_lost, .userdata = f,
        };
        const char *const roots[] = {root, NULL};
        sd_event *event = NULL;
        int launcher = -1, r;

        options.allowed_roots = roots;
        if (launcher_start(f->program, &launcher) < 0 || sd_event_new(&event) < 0 ||
            launches_new(event, launcher, &options.launches) < 0)
            _exit(99);
        f->event = event;
        if (late && files_start(event, &options, &f->files) < 0)
            _exit(98);
        while (f->files && files_pid(f->files) == 0)
            (void)sd_event_run(event, 10000);
        f->files = files_free(f->files);
        (void)launcher_give_root(launcher, given);
        r = files_start(event, &options, &f->files);
        if (r < 0)
            _exit(-r);
        try_open(f, path);
        _exit(-f->error);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -99;
}

/* A daemon that was taken over can say what it wants. */
static void test_what_is_private(void **state)
{
    struct fixture *f = *state;

    if (geteuid() != 0)
        skip();
    run(f, "echo x > file && ln -s /etc/passwd link");
    assert_int_equal(opened_by_launcher(f, f->root, f->root, at(f, "file"), false), 0);
    assert_int_equal(opened_by_launcher(f, f->root, "/etc", "/etc/passwd", false), -EPERM);
    assert_int_equal(opened_by_launcher(f, f->root, "/", "/etc/passwd", false), -EPERM);
    assert_int_equal(opened_by_launcher(f, f->root, "/", at(f, "link"), false), -EPERM);
    assert_int_equal(opened_by_launcher(f, "/etcetera", "/etc", "/etc/passwd", false), -EPERM);
    /* what is not, may be another datastore, as libvirt has them */
    assert_int_equal(opened_by_launcher(f, "/srv", f->root, at(f, "file"), false), 0);
    /* whoever configured it, wants it */
    assert_int_equal(opened_by_launcher(f, "/etc", "/etc", "/etc/passwd", false), 0);
    /* no later: the launcher ends, and the daemon with it */
    assert_int_equal(opened_by_launcher(f, "/etc", "/etc", "/etc/passwd", true), -EPIPE);
    assert_int_equal(opened_by_launcher(f, "etc", "/etc", "/etc/passwd", false), -EPIPE);
}

static void test_private_paths(void **state)
{
    static const char *const private[] = {
        "/etc/shadow", "/etc/qcaudit/x", "/boot/grub/grub.cfg", "/proc/1/environ", "/sys/kernel/x",
        "/var/backups/shadow.bak", "/var/log/auth.log", "/var/spool/cron/crontabs/root",
        "/var/mail/root", "/run/credentials/a/b", "/root/.ssh/id_ed25519", "/root/.bash_history",
        "/home/a/.ssh/id_rsa", "/home/a/.gnupg/x", "/home/a/.config/x", "/root/.localx/y",
    };
    static const char *const others[] = {
        "/", "/etcetera/x", "/srv/vms/a.qcow2", "/var/lib/libvirt/images/a",
        "/root/Downloads/a.iso",
        "/home/a/images/a.qcow2", "/home/a/.local/share/libvirt/images/a", "/home/.hidden",
        "/root/.local/share/libvirt/images/a", "/dev/vg/lv", "/mnt/.snapshots/a", "/var/tmp/a",
    };

    for (size_t i = 0; i < ELEMENTSOF(private); i++)
        if (!path_is_private(private[i]))
            fail_msg("%s", private[i]);
    for (size_t i = 0; i < ELEMENTSOF(others); i++)
        if (path_is_private(others[i]))
            fail_msg("%s", others[i]);
}

static void test_classify(void **state)
{
    static const struct {
        const char *reference;
        enum reference_text class;
        const char *path;
    } cases[] = {
        { "base.qcow2", REFERENCE_LOCAL, "base.qcow2" },
        { "../base.qcow2", REFERENCE_LOCAL, "../base.qcow2" },
        { "/images/base.qcow2", REFERENCE_LOCAL, "/images/base.qcow2" },
        { "./a:b", REFERENCE_LOCAL, "./a:b" },
        { "dir/a:b", REFERENCE_LOCAL, "dir/a:b" },
        { "file:/images/base", REFERENCE_LOCAL, "/images/base" },
        { "file:///images/base", REFERENCE_LOCAL, "///images/base" },
        { "new\nline", REFERENCE_LOCAL, "new\nline" },
        { "/devices/x", REFERENCE_LOCAL, "/devices/x" },
        { "json:{\"driver\":\"nbd\"}", REFERENCE_REMOTE, NULL },
        { "nbd://host/x", REFERENCE_REMOTE, NULL },
        { "http://host/x", REFERENCE_REMOTE, NULL },
        { "rbd:pool/x", REFERENCE_REMOTE, NULL },
        { "a:b", REFERENCE_REMOTE, NULL },
        { ":", REFERENCE_REMOTE, NULL },
        { "fat:rw:/etc", REFERENCE_REMOTE, NULL },
        { "file:relative", REFERENCE_UNSAFE, NULL },
        { "host_device:/dev/sda", REFERENCE_UNSAFE, NULL },
        { "/dev/sda", REFERENCE_UNSAFE, NULL },
        { "file:/dev/sda", REFERENCE_UNSAFE, NULL },
        { "//dev//./sda", REFERENCE_UNSAFE, NULL },
        { "/images/../dev/sda", REFERENCE_UNSAFE, NULL },
        { "/proc/self/fd/3", REFERENCE_UNSAFE, NULL },
        { "/sys/x", REFERENCE_UNSAFE, NULL },
        { "/..//proc", REFERENCE_UNSAFE, NULL },
        { "", REFERENCE_UNSAFE, NULL },
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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_setup, kit_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_open), TEST(test_resolve), TEST(test_root_is_a_link), TEST(test_link_outside),
        TEST(test_locks), TEST(test_many_locks),
        TEST(test_many_requests), TEST(test_killed), TEST(test_hangs), TEST(test_no_program),
        TEST(test_confined),
        TEST(test_launcher), cmocka_unit_test(test_verity_may_be_asked),
        cmocka_unit_test(test_no_byte_can_be_read), cmocka_unit_test(test_work_is_possible),
        cmocka_unit_test(test_launcher_is_confined),
        cmocka_unit_test(test_daemon_is_confined), TEST(test_what_is_private),
        TEST(test_launcher_stands_still),
        cmocka_unit_test(test_private_paths),
        cmocka_unit_test(test_classify),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
