/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stands before the C library's functions that can fail, counts their calls by kind, and lets one
 * of them fail.
 *
 * Preloaded, it takes its orders from the environment, and hands them to the programs that are
 * started, whose environment is empty else: FAULT_STATE names a file that is a struct fault_state,
 * FAULT_PROCESS whose calls count (a program's name; "launcher" is qcauditd's first child),
 * FAULT_KIND, FAULT_N and FAULT_ON the arguments of fault_arm(). Nothing counts before main(): what
 * a library's constructor does is not ours. */

/* Each function by its own name, not one for another, and no checked ones in their place. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#include "fault.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static struct fault_state own, *state = &own;
static bool active;
static enum fault_kind armed_kind;
static uint64_t armed_n;        /* 0: nothing fails */
static bool armed_on;
/* What happens while a fault is noted is no call of the program's. */
static __thread bool inside __attribute__((tls_model("initial-exec")));

static const int errors[_FAULT_KIND_MAX] = {
    [FAULT_MEMORY] = ENOMEM, [FAULT_OPEN] = EMFILE, [FAULT_READ] = EIO, [FAULT_WRITE] = ENOSPC,
    [FAULT_SYNC] = EIO, [FAULT_SEND] = ENOBUFS, [FAULT_RECEIVE] = ENOMEM, [FAULT_THREAD] = EAGAIN,
};

static void note_frames(void)
{
    void *addresses[FAULT_FRAMES + 2];
    int n = backtrace(addresses, FAULT_FRAMES + 2);

    for (int i = 2; i < n; i++) {
        Dl_info info;

        if (dladdr(addresses[i], &info) == 0)
            continue;
        const char *name = info.dli_fname ? info.dli_fname : "";
        size_t length = strlen(name), space = sizeof(state->frames[0].object) - 1;

        memcpy(state->frames[i - 2].object, length > space ? name + length - space : name,
               length > space ? space : length);
        state->frames[i - 2].offset = (uint64_t)((char *)addresses[i] - (char *)info.dli_fbase) - 1;
    }
}

/* Whether this call is to fail; errno is set then. */
static bool fails(enum fault_kind kind)
{
    uint64_t n;

    if (!active || inside)
        return false;
    n = __atomic_add_fetch(&state->counted[kind], 1, __ATOMIC_RELAXED);
    if (armed_n == 0 || kind != armed_kind || (armed_on ? n < armed_n : n != armed_n))
        return false;
    inside = true;
    if (__atomic_fetch_add(&state->fired, 1, __ATOMIC_RELAXED) == 0)
        note_frames();
    inside = false;
    errno = errors[kind];
    return true;
}

static void *next_symbol(const char *name)
{
    void *symbol;

    inside = true;
    symbol = dlsym(RTLD_NEXT, name);
    inside = false;
    if (!symbol)
        abort();
    return symbol;
}

/* The function that stands behind this one. */
#define NEXT(name)                                                                                 \
    static __typeof__(&name) next;                                                                 \
    if (!next)                                                                                     \
        next = (__typeof__(&name))next_symbol(#name)

/* ---- memory ---------------------------------------------------------------------------------- */

/* dlsym() may want memory itself, before the others are known. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);

EXPORT void *malloc(size_t size)
{
    static void *(*next)(size_t);

    if (!next) {
        if (inside)
            return __libc_malloc(size);
        next = (void *(*)(size_t))next_symbol("malloc");
    }
    return fails(FAULT_MEMORY) ? NULL : next(size);
}

EXPORT void *calloc(size_t n, size_t size)
{
    static void *(*next)(size_t, size_t);

    if (!next) {
        if (inside)
            return __libc_calloc(n, size);
        next = (void *(*)(size_t, size_t))next_symbol("calloc");
    }
    return fails(FAULT_MEMORY) ? NULL : next(n, size);
}

EXPORT void *realloc(void *old, size_t size)
{
    NEXT(realloc);
    return fails(FAULT_MEMORY) ? NULL : next(old, size);
}

EXPORT void *reallocarray(void *old, size_t n, size_t size)
{
    NEXT(reallocarray);
    if (fails(FAULT_MEMORY))
        return NULL;
    inside = true;              /* it is one call, whatever is behind it */
    void *new = next(old, n, size);
    inside = false;
    return new;
}

EXPORT int posix_memalign(void **ret, size_t alignment, size_t size)
{
    NEXT(posix_memalign);
    return fails(FAULT_MEMORY) ? ENOMEM : next(ret, alignment, size);
}

EXPORT void *mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset)
{
    NEXT(mmap64);
    return fails(FAULT_MEMORY) ? MAP_FAILED : next(at, size, protection, flags, fd, offset);
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    NEXT(aligned_alloc);
    return fails(FAULT_MEMORY) ? NULL : next(alignment, size);
}

/* json-c gives the name of a member that it had no memory for to its table, and falls: nothing that
 * its callers can help. Elsewhere strdup() fails as its malloc() does. */
EXPORT char *strdup(const char *text)
{
    Dl_info info;

    NEXT(strdup);
    if (inside || !active)
        return next(text);
    inside = true;
    bool spared = dladdr(__builtin_return_address(0), &info) != 0 && info.dli_fname &&
                  strstr(info.dli_fname, "libjson-c");
    char *copy = spared ? next(text) : NULL;
    inside = false;
    return spared ? copy : next(text);
}

/* ---- files ----------------------------------------------------------------------------------- */

#define MODE(flags, last)                                                                          \
    ({                                                                                             \
        mode_t mode_ = 0;                                                                          \
        if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) {                             \
            va_list arguments_;                                                                    \
            va_start(arguments_, last);                                                            \
            mode_ = va_arg(arguments_, mode_t);                                                    \
            va_end(arguments_);                                                                    \
        }                                                                                          \
        mode_;                                                                                     \
    })

#define OPEN(name)                                                                                 \
    EXPORT int name(const char *path, int flags, ...)                                              \
    {                                                                                              \
        mode_t mode = MODE(flags, flags);                                                          \
        NEXT(name);                                                                                \
        return fails(FAULT_OPEN) ? -1 : next(path, flags, mode);                                   \
    }
#define OPENAT(name)                                                                               \
    EXPORT int name(int fd, const char *path, int flags, ...)                                      \
    {                                                                                              \
        mode_t mode = MODE(flags, flags);                                                          \
        NEXT(name);                                                                                \
        return fails(FAULT_OPEN) ? -1 : next(fd, path, flags, mode);                               \
    }
#define CALL(kind, type, failure, name, parameters, ...)                                           \
    EXPORT type name parameters                                                                    \
    {                                                                                              \
        NEXT(name);                                                                                \
        return fails(kind) ? failure : next(__VA_ARGS__);                                          \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
/* What -D_FORTIFY_SOURCE calls instead. */
extern int __open64_2(const char *path, int flags);
extern int __openat64_2(int fd, const char *path, int flags);
extern ssize_t __read_chk(int fd, void *to, size_t n, size_t room);
extern ssize_t __pread64_chk(int fd, void *to, size_t n, off64_t at, size_t room);
CALL(FAULT_OPEN, int, -1, __open64_2, (const char *path, int flags), path, flags)
CALL(FAULT_OPEN, int, -1, __openat64_2, (int fd, const char *path, int flags), fd, path, flags)
CALL(FAULT_READ, ssize_t, -1, __read_chk, (int fd, void *to, size_t n, size_t room), fd, to, n,
     room)
CALL(FAULT_READ, ssize_t, -1, __pread64_chk,
     (int fd, void *to, size_t n, off64_t at, size_t room), fd, to, n, at, room)
CALL(FAULT_OPEN, DIR *, NULL, opendir, (const char *path), path)
CALL(FAULT_OPEN, FILE *, NULL, fopen, (const char *path, const char *mode), path, mode)
CALL(FAULT_OPEN, FILE *, NULL, fopen64, (const char *path, const char *mode), path, mode)

CALL(FAULT_READ, ssize_t, -1, read, (int fd, void *to, size_t n), fd, to, n)
CALL(FAULT_READ, ssize_t, -1, pread, (int fd, void *to, size_t n, off_t at), fd, to, n, at)
CALL(FAULT_READ, ssize_t, -1, pread64, (int fd, void *to, size_t n, off64_t at), fd, to, n, at)
CALL(FAULT_READ, ssize_t, -1, readv, (int fd, const struct iovec *to, int n), fd, to, n)
CALL(FAULT_READ, ssize_t, -1, preadv, (int fd, const struct iovec *to, int n, off_t at), fd, to, n,
     at)
CALL(FAULT_READ, ssize_t, -1, preadv64, (int fd, const struct iovec *to, int n, off64_t at), fd, to,
     n, at)
CALL(FAULT_READ, ssize_t, -1, preadv2,
     (int fd, const struct iovec *to, int n, off_t at, int flags), fd, to, n, at, flags)
CALL(FAULT_READ, ssize_t, -1, preadv64v2,
     (int fd, const struct iovec *to, int n, off64_t at, int flags), fd, to, n, at, flags)

CALL(FAULT_WRITE, ssize_t, -1, pwrite, (int fd, const void *from, size_t n, off_t at), fd, from, n,
     at)
CALL(FAULT_WRITE, ssize_t, -1, pwrite64, (int fd, const void *from, size_t n, off64_t at), fd, from,
     n, at)
CALL(FAULT_WRITE, ssize_t, -1, writev, (int fd, const struct iovec *from, int n), fd, from, n)
CALL(FAULT_WRITE, int, -1, ftruncate, (int fd, off_t size), fd, size)
CALL(FAULT_WRITE, int, -1, ftruncate64, (int fd, off64_t size), fd, size)
CALL(FAULT_WRITE, int, -1, rename, (const char *from, const char *to), from, to)
CALL(FAULT_WRITE, int, -1, renameat, (int at, const char *from, int at_to, const char *to), at,
     from, at_to, to)

/* What is said to the one who looks is not in question. */
EXPORT ssize_t write(int fd, const void *from, size_t n)
{
    NEXT(write);
    return fd > STDERR_FILENO && fails(FAULT_WRITE) ? -1 : next(fd, from, n);
}

CALL(FAULT_SYNC, int, -1, fsync, (int fd), fd)
CALL(FAULT_SYNC, int, -1, fdatasync, (int fd), fd)

/* ---- sockets --------------------------------------------------------------------------------- */

CALL(FAULT_SEND, ssize_t, -1, send, (int fd, const void *from, size_t n, int flags), fd, from, n,
     flags)
CALL(FAULT_SEND, ssize_t, -1, sendmsg, (int fd, const struct msghdr *message, int flags), fd,
     message, flags)
CALL(FAULT_RECEIVE, ssize_t, -1, recv, (int fd, void *to, size_t n, int flags), fd, to, n, flags)
CALL(FAULT_RECEIVE, ssize_t, -1, recvmsg, (int fd, struct msghdr *message, int flags), fd, message,
     flags)

/* ---- threads and programs -------------------------------------------------------------------- */

EXPORT int pthread_create(pthread_t *ret_thread, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *argument)
{
    NEXT(pthread_create);
    return fails(FAULT_THREAD) ? EAGAIN : next(ret_thread, attributes, run, argument);
}

EXPORT int posix_spawn(pid_t *ret_pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const arguments[],
                       char *const environment[])
{
    NEXT(posix_spawn);
    return next(ret_pid, path, actions, attributes, arguments,
                state == &own ? environment : environ);
}

/* ---- orders ---------------------------------------------------------------------------------- */

void fault_arm(enum fault_kind kind, uint64_t n, bool on)
{
    void *address;

    (void)backtrace(&address, 1);       /* loads what it needs */
    memset(state, 0, sizeof(*state));
    armed_kind = kind;
    armed_n = n;
    armed_on = on;
    active = true;
}

uint64_t fault_disarm(void)
{
    active = false;
    return state->fired;
}

uint64_t fault_counted(enum fault_kind kind)
{
    return state->counted[kind];
}

void fault_show(void)
{
    for (int i = 0; i < FAULT_FRAMES && state->frames[i].object[0] != '\0'; i++)
        fprintf(stderr, "  %s+0x%llx\n", state->frames[i].object,
                (unsigned long long)state->frames[i].offset);
}

/* ---- preloaded ------------------------------------------------------------------------------- */

static const char *wanted_process;

static void after_fork(void)
{
    active = wanted_process && strcmp(wanted_process, "launcher") == 0;
}

static int (*real_main)(int, char **, char **);

static int counted_main(int argc, char **argv, char **environment)
{
    char program[4096] = "";
    const char *kind = getenv("FAULT_KIND"), *n = getenv("FAULT_N");
    const char *name = getenv("FAULT_STATE");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    void *address, *map = MAP_FAILED;

    if (fd >= 0)
        map = mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    wanted_process = getenv("FAULT_PROCESS");
    if (map == MAP_FAILED || !wanted_process || !kind || !n) {
        fprintf(stderr, "fault: FAULT_STATE, _PROCESS, _KIND and _N are needed\n");
        _exit(99);
    }
    close(fd);
    state = map;
    armed_kind = (enum fault_kind)atoi(kind);
    armed_n = strtoull(n, NULL, 10);
    armed_on = getenv("FAULT_ON") != NULL;
    (void)backtrace(&address, 1);
    pthread_atfork(NULL, NULL, after_fork);
    if (readlink("/proc/self/exe", program, sizeof(program) - 1) > 0)
        active = strcmp(strrchr(program, '/') + 1, wanted_process) == 0;
    return real_main(argc, argv, environment);
}

extern int __libc_start_main(int (*program)(int, char **, char **), int argc, char **argv,
                             void (*init)(void), void (*fini)(void), void (*rtld_fini)(void),
                             void *stack_end);
EXPORT int __libc_start_main(int (*program)(int, char **, char **), int argc, char **argv,
                             void (*init)(void), void (*fini)(void), void (*rtld_fini)(void),
                             void *stack_end)
{
    NEXT(__libc_start_main);
    real_main = program;
    return next(getenv("FAULT_STATE") ? counted_main : program, argc, argv, init, fini, rtld_fini,
                stack_end);
}
