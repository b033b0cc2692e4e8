/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keeps the one capability away from the daemon: a small process that has it and starts
 * qcaudit-files on request. */
#include "helpers/client.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helpers/process.h"
#include "helpers/sandbox.h"
#include "helpers/wire.h"
#include "lib/cleanup.h"

#define READ_SEARCH (UINT64_C(1) << CAP_DAC_READ_SEARCH)
#define LAUNCHER_LIMITS "limited"
#define LAUNCHER_ROOTS_MAX 300      /* more than a configuration can have */

static void reap(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

/* The arguments of qcaudit-files. */
struct launcher {
    char **arguments;               /* the program, LAUNCHER_LIMITS, roots; NULL-ended */
    size_t n_arguments;
    bool launched;                  /* no root is taken any more */
};

static int launcher_add(struct launcher *launcher, const char *argument)
{
    char **more = reallocarray(launcher->arguments, launcher->n_arguments + 2, sizeof(*more));

    if (!more)
        return -ENOMEM;
    launcher->arguments = more;
    more[launcher->n_arguments] = strdup(argument);
    if (!more[launcher->n_arguments])
        return -ENOMEM;
    more[++launcher->n_arguments] = NULL;
    return 0;
}

/* A daemon that asks for more roots after its start may have been taken over since. */
static int take_root(struct launcher *launcher, const char *root)
{
    if (launcher->launched || !root || root[0] != '/' ||
        launcher->n_arguments >= LAUNCHER_ROOTS_MAX)
        return -EPERM;
    return launcher_add(launcher, root);
}

static int serve_one(struct launcher *launcher)
{
    struct wire_launched answer = {0};
    _cleanup_close_ int socket = -1, pidfd = -1;
    union wire_record record;
    pid_t pid = 0;
    int r;

    r = wire_receive(WIRE_FD, WIRE_LAUNCHER_CLIENT, &record, &socket);
    if (r <= 0)
        return r == 0 ? -EPIPE : r;
    if (record.header.type == WIRE_LAUNCH_ROOT)
        return take_root(launcher, wire_text(&record, 0));
    launcher->launched = true;
    answer.serial = record.launch.serial;
    answer.error = process_spawn(launcher->arguments, socket, &pid, &pidfd);
    answer.pid = pid;
    return wire_send(WIRE_FD, WIRE_LAUNCHED, &answer, NULL, NULL, pidfd);
}

/* The launcher's life: until the daemon ends. */
_Noreturn static void serve(const char *program, int socket)
{
    struct launcher launcher = {.n_arguments = 0};
    const char *step;
    sigset_t mask;
    struct pollfd poll_fds[2];

    sigfillset(&mask);      /* a stop of the whole service is the daemon's to handle */
    prctl(PR_SET_NAME, "qcaudit-launch", 0, 0, 0);
    if (socket != WIRE_FD && dup2(socket, WIRE_FD) < 0)
        _exit(1);
    fcntl(WIRE_FD, F_SETFD, FD_CLOEXEC);
    if (sandbox_begin(&step) < 0 || sandbox_drop_capabilities(READ_SEARCH, true) < 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || sigprocmask(SIG_SETMASK, &mask, NULL) < 0)
        _exit(1);
    signal(SIGCHLD, SIG_DFL);
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    poll_fds[0] = (struct pollfd){.fd = WIRE_FD, .events = POLLIN};
    poll_fds[1] = (struct pollfd){ .fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK),
                                   .events = POLLIN };
    if (poll_fds[1].fd < 0 || launcher_add(&launcher, program) < 0 ||
        launcher_add(&launcher, LAUNCHER_LIMITS) < 0 || sandbox_launcher(&step) < 0)
        _exit(1);
    for (;;) {
        struct signalfd_siginfo info;

        if (poll(poll_fds, 2, -1) < 0 && errno != EINTR)
            _exit(1);
        if (poll_fds[1].revents) {
            while (read(poll_fds[1].fd, &info, sizeof(info)) > 0)
                ;
            reap();
        }
        if (poll_fds[0].revents && serve_one(&launcher) < 0)
            _exit(0);
    }
}

int launcher_start(const char *files_program, int *ret_fd)
{
    _cleanup_close_ int ours = -1, theirs = -1;
    uint64_t capabilities;
    pid_t pid;
    int pair[2], r;

    r = sandbox_capabilities(&capabilities);
    if (r < 0)
        return r;
    if (capabilities & READ_SEARCH) {
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
            return -errno;
        ours = pair[0];
        theirs = pair[1];
        pid = fork();
        if (pid < 0)
            return -errno;
        if (pid == 0)
            serve(files_program, theirs);
    }
    r = sandbox_drop_capabilities(0, false);
    if (r < 0)
        return r;
    *ret_fd = TAKE_FD(ours);
    return 0;
}

int launcher_give_root(int launcher_fd, const char *root)
{
    struct wire_empty record = {0};

    return wire_send(launcher_fd, WIRE_LAUNCH_ROOT, &record, root, NULL, -1);
}
