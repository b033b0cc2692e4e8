/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sandbox of a helper, before it touches anything hostile: limits, capabilities, system calls. */
#include "helpers/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/fsverity.h>
#include <linux/ioprio.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helpers/wire.h"
#include "lib/cleanup.h"
#include "lib/sanitized.h"

#define MEMORY_SLACK (UINT64_C(32) << 20)       /* stacks, the allocator's own, the socket's
                                                 * buffers */
/* layers of a chain, their data files, extents of one of them, and a few */
#define WORKER_FILES (2 * CLIENT_OPEN_LAYERS_MAX + QCA_EXTENT_FILES_MAX + 20)
#define FILES_FILES 512
/* of a program that looks at signatures: it reads images, too, but keeps none of them */
#define VERIFIER_FILES 64
#define VERIFIER_SECONDS 60
#define VERIFIER_TEXT_MAX (UINT64_C(64) << 20)
#define VERIFIER_MEMORY (UINT64_C(512) << 20)

static void release_filter(scmp_filter_ctx *filter)
{
    if (*filter)
        seccomp_release(*filter);
}

#define TRY(step, expression)                                                                      \
    do {                                                                                           \
        int _r = (expression);                                                                     \
        if (_r < 0) {                                                                              \
            *ret_step = (step);                                                                    \
            return _r == -1 ? -errno : _r;                                                         \
        }                                                                                          \
    } while (0)

int sandbox_begin(const char **ret_step)
{
    _cleanup_close_ int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

    TRY("open /dev/null", nothing);
    TRY("replace standard input", dup2(nothing, STDIN_FILENO));
    TRY("replace standard output", dup2(nothing, STDOUT_FILENO));
    if (!SANITIZED)
        TRY("replace standard error", dup2(nothing, STDERR_FILENO));
    TRY("close other files", close_range(WIRE_FD + 1, ~0U, 0));
    nothing = -1;   /* closed, or one of the standard files */
    /* a Ctrl-C or a stop of the whole service is the daemon's to handle: they end when it closes
     * the socket */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    TRY("leave the working directory", chdir("/"));
    TRY("follow the parent", prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
    return 0;
}

int sandbox_capabilities(uint64_t *ret_permitted)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];

    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    *ret_permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    return 0;
}

int sandbox_drop_capabilities(uint64_t keep, bool inheritable)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    uint64_t permitted;
    int r;

    r = sandbox_capabilities(&permitted);
    if (r < 0)
        return r;
    keep &= permitted;
    if (permitted & UINT64_C(1) << CAP_SETPCAP)
        for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
            if (!(keep & UINT64_C(1) << cap) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
                return -errno;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -errno;
    for (int i = 0; i < 2; i++) {
        data[i].effective = data[i].permitted = (uint32_t)(keep >> (32 * i));
        data[i].inheritable = inheritable ? data[i].permitted : 0;
    }
    if (syscall(SYS_capset, &header, data) < 0)
        return -errno;
    for (int cap = 0; inheritable && cap < 64; cap++)
        if (keep & UINT64_C(1) << cap && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
            return -errno;
    return 0;
}

static int limit(int resource, uint64_t value)
{
    struct rlimit old, new = {value, value};

    if (getrlimit((__rlimit_resource_t)resource, &old) < 0)
        return -1;
    if (old.rlim_max != RLIM_INFINITY && new.rlim_max > old.rlim_max)
        new.rlim_cur = new.rlim_max = old.rlim_max;
    return setrlimit((__rlimit_resource_t)resource, &new);
}

/* Bytes of address space in use now. */
static int address_space(uint64_t *ret_bytes)
{
    _cleanup_fclose_ FILE *file = fopen("/proc/self/statm", "re");
    uint64_t pages;

    if (!file)
        return -errno;
    if (fscanf(file, "%" SCNu64, &pages) != 1)
        return -EIO;
    *ret_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return 0;
}

struct allowed {
    int syscall;
    unsigned n;
    struct scmp_arg_cmp arg[2];
};

#define ALLOW(name) {.syscall = SCMP_SYS(name)}
#define ALLOW_IF(name, ...) {.syscall = SCMP_SYS(name), .n = 1, .arg = {__VA_ARGS__}}
#define ALLOW_IF2(name, ...) {.syscall = SCMP_SYS(name), .n = 2, .arg = {__VA_ARGS__}}
#define NOT_EXECUTABLE(position)                                                                   \
    {                                                                                              \
        .arg = position, .op = SCMP_CMP_MASKED_EQ, .datum_a = PROT_EXEC, .datum_b = 0              \
    }
#define IS(position, value) {.arg = position, .op = SCMP_CMP_EQ, .datum_a = (scmp_datum_t)(value)}
#define HAS(position, bits)                                                                        \
    {.arg = position, .op = SCMP_CMP_MASKED_EQ, .datum_a = bits, .datum_b = bits}
#define HAS_NOT(position, bits)                                                                    \
    {.arg = position, .op = SCMP_CMP_MASKED_EQ, .datum_a = (scmp_datum_t)(bits), .datum_b = 0}

/* Memory, clocks, the socket, and ending: both helpers; each maps memory as its own list says.
 * abort() needs the three signal calls. */
static const struct allowed allowed_always[] = {
    ALLOW(brk), ALLOW(munmap), ALLOW(mremap), ALLOW(madvise),
    ALLOW_IF(mprotect, NOT_EXECUTABLE(2)), ALLOW(futex), ALLOW(clock_gettime), ALLOW(gettimeofday),
    ALLOW(clock_nanosleep), ALLOW(restart_syscall), ALLOW(getrandom), ALLOW(getrusage),
    ALLOW(getpid), ALLOW(gettid),
    ALLOW(sysinfo),                     /* qsort() of a large array asks how much memory there is */
    ALLOW(exit), ALLOW(exit_group), ALLOW(rt_sigreturn), ALLOW(rt_sigprocmask), ALLOW(rt_sigaction),
    ALLOW_IF(sendmsg, IS(0, WIRE_FD)), ALLOW_IF(recvmsg, IS(0, WIRE_FD)), ALLOW(poll), ALLOW(ppoll),
    ALLOW(lseek),
    ALLOW_IF(write, IS(0, STDERR_FILENO)), ALLOW_IF(writev, IS(0, STDERR_FILENO)),
};

/* The flags that F_SETFL of a file open for reading may hold; O_LARGEFILE as the kernel sees it. */
#define READING_FLAGS (0100000 | O_ACCMODE | O_DIRECT | O_NOATIME | O_NONBLOCK)

/* Reading what it was given. Threads are there already, and nothing may start any. */
static const struct allowed allowed_worker[] = {
    ALLOW(read), ALLOW(pread64), ALLOW(preadv), ALLOW(preadv2), ALLOW(fadvise64), ALLOW(fstat),
    ALLOW(close),
    /* files, too: it reads so what the page cache has, without leaving a trace there */
    ALLOW_IF(mmap, NOT_EXECUTABLE(2)),
    ALLOW(sched_yield), ALLOW(sched_getaffinity),
    /* reading past the page cache: O_DIRECT on and off, and nothing else that a file's flags can
     * do */
    ALLOW_IF(fcntl, IS(1, F_GETFL)),
    ALLOW_IF2(fcntl, IS(1, F_SETFL), HAS_NOT(2, (uint32_t)~READING_FLAGS)),
};

#define OPEN_WRITES (O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))

static const struct allowed allowed_files[] = {
    /* memory, never a file: it would read what it may only open */
    ALLOW_IF2(mmap, NOT_EXECUTABLE(2), HAS(3, MAP_ANONYMOUS)),
    ALLOW_IF(openat, HAS_NOT(2, OPEN_WRITES)), ALLOW(statx), ALLOW(newfstatat), ALLOW(fstat),
    ALLOW(fstatfs),
    ALLOW(getdents64), ALLOW(readlink), ALLOW(readlinkat), ALLOW(inotify_add_watch),
    ALLOW(inotify_rm_watch),
    ALLOW_IF(fcntl, IS(1, F_OFD_GETLK)), ALLOW_IF(fcntl, IS(1, F_GETFL)),
    ALLOW_IF(fcntl, IS(1, F_GETFD)),
    ALLOW_IF(fcntl, IS(1, F_SETFD)),    /* fdopendir() */
    ALLOW_IF(ioctl, IS(1, FS_IOC_MEASURE_VERITY)),
};

#define NAMESPACES                                                                                 \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |  \
     CLONE_NEWNET)

/* Starting and reaping; and what a program needs from its first instruction on until it confines
 * itself, as a filter is inherited. Of files that it may write only /dev/null is opened so, and by
 * these flags. */
static const struct allowed allowed_launcher[] = {
    ALLOW(execve), ALLOW(vfork), ALLOW_IF(clone, HAS_NOT(0, NAMESPACES)), ALLOW(wait4),
    ALLOW(waitid), ALLOW(pidfd_open), ALLOW_IF(kill, IS(1, SIGKILL)), ALLOW(tgkill),
    ALLOW(read), ALLOW(pread64), ALLOW(close), ALLOW(close_range), ALLOW(dup2), ALLOW(dup3),
    ALLOW(fcntl), ALLOW(chdir), ALLOW(mmap), ALLOW(access), ALLOW(faccessat),
    ALLOW_IF(openat, IS(2, O_RDWR | O_CLOEXEC)),
    ALLOW(arch_prctl), ALLOW(set_tid_address), ALLOW(set_robust_list), ALLOW(rseq),
    ALLOW(prlimit64), ALLOW(setrlimit), ALLOW(getrlimit), ALLOW(prctl), ALLOW(capget),
    ALLOW(capset), ALLOW(seccomp), ALLOW(inotify_init1),
};

/* What a program needs from its first instruction on, and gpgv afterwards: it opens what it checks
 * by its path, read-only, and asks who it runs as. */
static const struct allowed allowed_verifier[] = {
    ALLOW(execve), ALLOW(read), ALLOW(readv), ALLOW(pread64), ALLOW(write), ALLOW(writev),
    ALLOW(close), ALLOW(dup), ALLOW(fcntl), ALLOW(mmap), ALLOW(mprotect), ALLOW(access),
    ALLOW(faccessat),
    ALLOW(arch_prctl), ALLOW(set_tid_address), ALLOW(set_robust_list), ALLOW(rseq),
    ALLOW(prlimit64), ALLOW(getrlimit), ALLOW(uname), ALLOW(umask), ALLOW(getuid), ALLOW(geteuid),
    ALLOW(getgid), ALLOW(getegid), ALLOW(getcwd), ALLOW(times), ALLOW(sched_getaffinity),
    ALLOW(fadvise64), ALLOW(sigaltstack), ALLOW(tgkill), ALLOW(mlock), ALLOW(munlock),
    ALLOW(getppid),
};

/* As systemd's groups @clock @debug @keyring @module @mount @raw-io @reboot @swap. A worker looks
 * into its own memory (process_vm_readv): allowed here, as workers inherit this. */
static const int denied_daemon[] = {
    SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(chroot), SCMP_SYS(pivot_root), SCMP_SYS(mount),
    SCMP_SYS(umount2), SCMP_SYS(open_tree), SCMP_SYS(move_mount), SCMP_SYS(fsopen),
    SCMP_SYS(fsconfig), SCMP_SYS(fsmount), SCMP_SYS(fspick), SCMP_SYS(mount_setattr),
    SCMP_SYS(swapon), SCMP_SYS(swapoff), SCMP_SYS(quotactl), SCMP_SYS(acct),
    SCMP_SYS(open_by_handle_at), SCMP_SYS(fanotify_init),
    SCMP_SYS(ptrace), SCMP_SYS(process_vm_writev), SCMP_SYS(kcmp), SCMP_SYS(pidfd_getfd),
    SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register), SCMP_SYS(personality),
    SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load), SCMP_SYS(reboot), SCMP_SYS(iopl), SCMP_SYS(ioperm),
    SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(keyctl), SCMP_SYS(syslog),
    SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(clock_adjtime), SCMP_SYS(adjtimex),
    SCMP_SYS(sethostname), SCMP_SYS(setdomainname), SCMP_SYS(vhangup),
};

static int allow(scmp_filter_ctx filter, const struct allowed *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, list[i].syscall, list[i].n,
                                       list[i].arg);

        if (r < 0)
            return r;
    }
    return 0;
}

/* A filter that kills for everything but what both helpers need, on all threads at once. */
static int filter_new(scmp_filter_ctx *ret_filter)
{
    _cleanup_(release_filter) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int r;

    if (!filter)
        return -ENOMEM;
    r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r == 0)
        r = allow(filter, allowed_always, ELEMENTSOF(allowed_always));
    if (r == 0 && SANITIZED) {
        static const struct allowed sanitizer[] = {
            ALLOW(sigaltstack), ALLOW(sched_getaffinity), ALLOW(sched_yield), ALLOW(prlimit64),
            ALLOW(tgkill),
            ALLOW(set_robust_list), ALLOW(rseq),
        };

        r = allow(filter, sanitizer, ELEMENTSOF(sanitizer));
    }
    /* raise() and abort(): signals to itself alone */
    if (r == 0 && !SANITIZED)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                             SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
    if (r < 0)
        return r;
    *ret_filter = TAKE_PTR(filter);
    return 0;
}

int sandbox_worker_begin(bool idle, const char **ret_step)
{
    if (idle) {
        TRY("lower the I/O priority", (int)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
                                                   IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)));
        TRY("lower the CPU priority", setpriority(PRIO_PROCESS, 0, 19));
    }
    TRY("set no new privileges", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    TRY("drop capabilities", sandbox_drop_capabilities(0, false));
    return 0;
}

int sandbox_worker(uint64_t memory_limit, const char **ret_step)
{
    _cleanup_(release_filter) scmp_filter_ctx filter = NULL;
    uint64_t program = 0;

    TRY("read /proc/self/statm", address_space(&program));
    if (!SANITIZED)
        TRY("limit memory", limit(RLIMIT_AS, program + memory_limit + MEMORY_SLACK));
    TRY("limit open files", limit(RLIMIT_NOFILE, WORKER_FILES));
    TRY("limit core dumps", limit(RLIMIT_CORE, 0));
    TRY("limit written files", limit(RLIMIT_FSIZE, 0));
    TRY("limit processes", limit(RLIMIT_NPROC, 0));
    TRY("forbid dumps", prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));

    TRY("make the filter", filter_new(&filter));
    TRY("make the filter", allow(filter, allowed_worker, ELEMENTSOF(allowed_worker)));
    /* reading through the page cache without a trace: its own memory, where a file is mapped */
    TRY("make the filter", seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(process_vm_readv), 1,
                                            SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0)));
    TRY("load the filter", seccomp_load(filter));
    return 0;
}

int sandbox_launcher(const char **ret_step)
{
    _cleanup_(release_filter) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));

    TRY("make the filter", filter ? 0 : -ENOMEM);
    TRY("make the filter", seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH,
                                            SCMP_ACT_KILL_PROCESS));
    TRY("make the filter", allow(filter, allowed_always, ELEMENTSOF(allowed_always)));
    TRY("make the filter", allow(filter, allowed_files, ELEMENTSOF(allowed_files)));
    TRY("make the filter", allow(filter, allowed_launcher, ELEMENTSOF(allowed_launcher)));
    /* its flags cannot be looked at; the C library takes clone() then */
    TRY("make the filter", seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0));
    if (!SANITIZED)
        TRY("load the filter", seccomp_load(filter));
    return 0;
}

/* Files below path, or the file fd when path is NULL, may be read, and executed when programs are
 * there. What does not exist needs no rule. */
static int open_path(int ruleset, const char *path, int fd)
{
    _cleanup_close_ int opened = path ? open(path, O_PATH | O_CLOEXEC) : -1;
    struct landlock_path_beneath_attr rule = {
        .allowed_access = LANDLOCK_ACCESS_FS_READ_FILE, .parent_fd = path ? opened : fd,
    };
    struct stat st;

    if (fstat(rule.parent_fd, &st) < 0)
        return path ? 0 : -errno;
    if (path)
        rule.allowed_access |= LANDLOCK_ACCESS_FS_EXECUTE;
    if (S_ISDIR(st.st_mode))
        rule.allowed_access |= LANDLOCK_ACCESS_FS_READ_DIR;
    /* A file of memory is on no file system that others reach: it needs no rule, and gets none. */
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 &&
        (path || errno != EBADFD))
        return -errno;
    return 0;
}

/* Of all paths, programs and libraries, what libgcrypt is set up by, and the files. */
static int confine_paths(const int files[], size_t n_files)
{
    static const char *const paths[] = {
        "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/gcrypt", "/proc/sys/crypto",
    };
    const struct landlock_ruleset_attr attributes = {
        /* all that its first version knows: what is not named is not looked at */
        .handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1,
    };
    _cleanup_close_ int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes,
                                               sizeof(attributes.handled_access_fs), 0);
    int r = 0;

    if (ruleset < 0)
        return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(paths); i++)
        r = open_path(ruleset, paths[i], -1);
    for (size_t i = 0; r >= 0 && i < n_files; i++)
        r = files[i] >= 0 ? open_path(ruleset, NULL, files[i]) : 0;
    if (r >= 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        r = -errno;
    return r;
}

int sandbox_verifier(const int files[], size_t n_files, const char **ret_step)
{
    _cleanup_(release_filter) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));

    TRY("leave the working directory", chdir("/"));
    TRY("follow the parent", prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
    TRY("set no new privileges", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    TRY("drop capabilities", sandbox_drop_capabilities(0, false));
    TRY("confine paths", confine_paths(files, n_files));
    TRY("limit core dumps", limit(RLIMIT_CORE, 0));
    TRY("limit processor time", limit(RLIMIT_CPU, VERIFIER_SECONDS));
    TRY("limit written files", limit(RLIMIT_FSIZE, VERIFIER_TEXT_MAX));
    TRY("limit open files", limit(RLIMIT_NOFILE, VERIFIER_FILES));
    if (!SANITIZED)
        TRY("limit memory", limit(RLIMIT_AS, VERIFIER_MEMORY));
    TRY("make the filter", filter ? 0 : -ENOMEM);
    TRY("make the filter", seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH,
                                            SCMP_ACT_KILL_PROCESS));
    TRY("make the filter", allow(filter, allowed_always, ELEMENTSOF(allowed_always)));
    TRY("make the filter", allow(filter, allowed_files, ELEMENTSOF(allowed_files)));
    TRY("make the filter", allow(filter, allowed_verifier, ELEMENTSOF(allowed_verifier)));
    if (!SANITIZED)
        TRY("load the filter", seccomp_load(filter));
    return 0;
}

int sandbox_daemon(const char **ret_step)
{
    _cleanup_(release_filter) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

    TRY("make the filter", filter ? 0 : -ENOMEM);
    TRY("make the filter", seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH,
                                            SCMP_ACT_KILL_PROCESS));
    for (size_t i = 0; i < ELEMENTSOF(denied_daemon); i++)
        TRY("make the filter", seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), denied_daemon[i],
                                                0));
    for (unsigned bit = 0; bit < 32; bit++)
        if (NAMESPACES & UINT32_C(1) << bit)
            TRY("make the filter", seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone),
                                                    1, SCMP_A0(SCMP_CMP_MASKED_EQ, 1U << bit,
                                                               1U << bit)));
    /* as for the launcher */
    TRY("make the filter", seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0));
    if (!SANITIZED)
        TRY("load the filter", seccomp_load(filter));
    return 0;
}

int sandbox_files(int inotify_fd, int mountinfo_fd, int locks_fd, const char **ret_step)
{
    _cleanup_(release_filter) scmp_filter_ctx filter = NULL;
    const int readable[] = {inotify_fd, mountinfo_fd, locks_fd};
    int highest = 0;

    for (size_t i = 0; i < ELEMENTSOF(readable); i++)
        highest = readable[i] > highest ? readable[i] : highest;
    TRY("limit open files", limit(RLIMIT_NOFILE, FILES_FILES));
    TRY("limit core dumps", limit(RLIMIT_CORE, 0));
    TRY("limit written files", limit(RLIMIT_FSIZE, 0));
    TRY("limit processes", limit(RLIMIT_NPROC, 0));
    TRY("set no new privileges", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    TRY("drop capabilities", sandbox_drop_capabilities(UINT64_C(1) << CAP_DAC_READ_SEARCH, false));
    TRY("forbid dumps", prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));

    TRY("make the filter", filter_new(&filter));
    TRY("make the filter", allow(filter, allowed_files, ELEMENTSOF(allowed_files)));
    for (size_t i = 0; i < ELEMENTSOF(readable); i++)
        TRY("make the filter",
            seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(read), 1,
                             SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)readable[i], 0)));
    /* these numbers never come to mean another file */
    TRY("make the filter", seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(close), 1,
                                            SCMP_A0(SCMP_CMP_GT, (scmp_datum_t)highest, 0)));
    TRY("load the filter", seccomp_load(filter));
    return 0;
}
