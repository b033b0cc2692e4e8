/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A helper as a process: started with a socket, watched by its pidfd, killed, reaped, without
 * SIGCHLD. */
#include "helpers/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helpers/wire.h"
#include "lib/cleanup.h"

struct process {
    pid_t pid;
    int pidfd;
    bool child;                 /* ours to reap */
    bool gone;
    sd_event_source *source;
    process_ended_fn ended;     /* NULL: nobody waits any more */
    void *userdata;
    struct process_endings *endings;    /* that list it, or NULL */
    TAILQ_ENTRY(process) link;
    const void *user;
};

int process_socket_pair(int *ret_ours, int *ret_theirs)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    if (fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0) {
        int error = -errno;

        close(pair[0]);
        close(pair[1]);
        return error;
    }
    *ret_ours = pair[0];
    *ret_theirs = pair[1];
    return 0;
}

static void process_unlist(struct process *process)
{
    if (process->endings)
        TAILQ_REMOVE(&process->endings->list, process, link);
    process->endings = NULL;
}

static void process_destroy(void *userdata)
{
    struct process *process = userdata;

    process_unlist(process);
    close(process->pidfd);
    free(process);
}

static int process_on_exit(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct process *process = userdata;
    siginfo_t info = {0};
    int ended_signal = 0, status = 0;

    if (process->child) {
        if (waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG) < 0) {
            if (errno != ECHILD)    /* reaped by somebody else: how it ended is lost */
                return 0;
        } else if (info.si_pid == 0)
            return 0;
        if (info.si_code == CLD_EXITED)
            status = info.si_status;
        else if (info.si_pid != 0)
            ended_signal = info.si_status;
    }
    process->gone = true;
    sd_event_source_set_enabled(source, SD_EVENT_OFF);
    if (process->ended) {
        process_ended_fn ended = process->ended;

        process->ended = NULL;
        ended(process->userdata, ended_signal, status);
    } else {
        struct process_endings *endings = process->endings;

        process_unlist(process);
        sd_event_source_set_floating(source, false);    /* the last reference: destroys the
                                                         * process too */
        if (endings && endings->gone)
            endings->gone(endings->userdata);
    }
    return 0;
}

static int process_watch(sd_event *event, pid_t pid, int pidfd, bool child, process_ended_fn ended,
                         void *userdata, struct process **ret_process)
{
    struct process *process = malloc(sizeof(*process));
    int r;

    if (!process) {
        close(pidfd);
        return -ENOMEM;
    }
    *process = (struct process){
        .pid = pid, .pidfd = pidfd, .child = child, .ended = ended, .userdata = userdata,
    };
    r = sd_event_add_io(event, &process->source, pidfd, EPOLLIN, process_on_exit, process);
    if (r < 0) {
        process_destroy(process);
        return r;
    }
    sd_event_source_set_destroy_callback(process->source, process_destroy);
    /* after its socket: what it still said counts */
    sd_event_source_set_priority(process->source, SD_EVENT_PRIORITY_NORMAL + 10);
    *ret_process = process;
    return 0;
}

static void kill_and_reap(pid_t pid)
{
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

int process_spawn(char *const arguments[], int socket, pid_t *ret_pid, int *ret_pidfd)
{
    char *const environment[] = {NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    pid_t pid;
    int pidfd, r;

    sigemptyset(&none);
    sigfillset(&all);
    r = posix_spawn_file_actions_init(&actions);
    if (r != 0)
        return -r;
    r = posix_spawnattr_init(&attributes);
    if (r == 0) {
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        r = posix_spawn_file_actions_adddup2(&actions, socket, WIRE_FD);
        if (r == 0)
            r = posix_spawn(&pid, arguments[0], &actions, &attributes, arguments, environment);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    if (r != 0)
        return -r;
    pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) {
        r = -errno;
        kill_and_reap(pid);
        return r;
    }
    *ret_pid = pid;
    *ret_pidfd = pidfd;
    return 0;
}

int process_start(sd_event *event, const char *program, int socket, process_ended_fn ended,
                  void *userdata, struct process **ret_process)
{
    char *const arguments[] = {(char *)(uintptr_t)program, NULL};
    pid_t pid;
    int pidfd, r;

    r = process_spawn(arguments, socket, &pid, &pidfd);
    if (r < 0)
        return r;
    r = process_watch(event, pid, pidfd, true, ended, userdata, ret_process);
    if (r < 0)
        kill_and_reap(pid);
    return r;
}

int process_adopt(sd_event *event, pid_t pid, int pidfd, process_ended_fn ended, void *userdata,
                  struct process **ret_process)
{
    return process_watch(event, pid, pidfd, false, ended, userdata, ret_process);
}

pid_t process_pid(const struct process *process)
{
    return process->pid;
}

void process_kill(struct process *process)
{
    if (!process->gone)
        pidfd_send_signal(process->pidfd, SIGKILL, NULL, 0);
}

struct process *process_free(struct process *process)
{
    if (!process)
        return NULL;
    process->ended = NULL;
    if (process->gone) {
        sd_event_source_unref(process->source);
        return NULL;
    }
    process_kill(process);
    /* the loop keeps it until it is gone */
    if (sd_event_source_set_floating(process->source, true) >= 0)
        sd_event_source_unref(process->source);
    return NULL;
}

void process_endings_init(struct process_endings *endings)
{
    *endings = (struct process_endings){0};
    TAILQ_INIT(&endings->list);
}

void process_endings_done(struct process_endings *endings)
{
    struct process *process;

    endings->gone = NULL;
    while ((process = TAILQ_FIRST(&endings->list)))
        process_unlist(process);
}

struct process *process_end(struct process *process, struct process_endings *endings,
                            const void *user)
{
    if (process && !process->gone && endings) {
        process->endings = endings;
        process->user = user;
        TAILQ_INSERT_TAIL(&endings->list, process, link);
    }
    return process_free(process);
}

pid_t process_endings_find(const struct process_endings *endings, const void *user)
{
    const struct process *process;

    TAILQ_FOREACH(process, &endings->list, link)
        if (!process->user || process->user == user)
            return process->pid;
    return 0;
}

bool process_endings_have(const struct process_endings *endings, pid_t pid)
{
    const struct process *process;

    TAILQ_FOREACH(process, &endings->list, link)
        if (process->pid == pid)
            return true;
    return false;
}
