/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A helper as a process: started with a socket, watched by its pidfd, killed, reaped, without
 * SIGCHLD. */
#pragma once

#include <sys/types.h>
#include <systemd/sd-event.h>

struct process;

/* Once, from the loop, when it ended: the signal that ended it or 0, and else its exit status. Both
 * 0 for a process that is not a child. */
typedef void (*process_ended_fn)(void *userdata, int signal, int status);

/* A SOCK_SEQPACKET pair; ret_ours does not block, both are close-on-exec. */
int process_socket_pair(int *ret_ours, int *ret_theirs);

/* Starts program as process_start() does, unwatched; the pidfd is the caller's. -errno when it
 * could not be executed. */
int process_spawn(const char *program, int socket, pid_t *ret_pid, int *ret_pidfd);

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
