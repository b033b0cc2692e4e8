/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A helper as a process: started with a socket, watched by its pidfd, killed, reaped, without
 * SIGCHLD. */
#pragma once

#include <stdbool.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

struct process;

/* Once, from the loop, when it ended: the signal that ended it or 0, and else its exit status. Both
 * 0 for a process that is not a child. */
typedef void (*process_ended_fn)(void *userdata, int signal, int status);

/* A SOCK_SEQPACKET pair; ret_ours does not block, both are close-on-exec. */
int process_socket_pair(int *ret_ours, int *ret_theirs);

/* Starts arguments[0], with these arguments, as process_start() does, unwatched; the pidfd is the
 * caller's. -errno when it could not be executed. */
int process_spawn(char *const arguments[], int socket, pid_t *ret_pid, int *ret_pidfd);

/* Starts program with socket (stays the caller's) as file descriptor 3, an empty environment and
 * default signals. */
int process_start(sd_event *event, const char *program, int socket, process_ended_fn ended,
                  void *userdata, struct process **ret_process);
/* Watches a process that somebody else started and will reap. pidfd is taken over, also on
 * failure. */
int process_adopt(sd_event *event, pid_t pid, int pidfd, process_ended_fn ended, void *userdata,
                  struct process **ret_process);
pid_t process_pid(const struct process *process);
/* SIGKILL. ended comes, though perhaps late: a process that waits for a hung file system dies only
 * when that answers. */
void process_kill(struct process *process);
/* Kills it; it is reaped by the loop, without a callback. Takes NULL, returns NULL. */
struct process *process_free(struct process *process);

/* Processes that were killed and are not gone yet: until then what they had open is open. */
struct process_endings {
    TAILQ_HEAD(, process) list;
    void (*gone)(void *userdata);       /* one of them is gone; NULL: nobody wants to know */
    void *userdata;
};

void process_endings_init(struct process_endings *endings);
/* Nothing is called back any more. */
void process_endings_done(struct process_endings *endings);
/* As process_free(); it is listed until it is gone. user tells for whom it had files open; NULL:
 * perhaps for any. endings may be NULL. */
struct process *process_end(struct process *process, struct process_endings *endings,
                            const void *user);
/* The process ID of one that may have files of user open, or 0. */
pid_t process_endings_find(const struct process_endings *endings, const void *user);
/* Is this one not gone yet? */
bool process_endings_have(const struct process_endings *endings, pid_t pid);
