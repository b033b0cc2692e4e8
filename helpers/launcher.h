/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How the client asks the launcher of launcher_start() for a qcaudit-files. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* Has it started with socket (stays the caller's) as its fd 3. serial: another for each call, so
 * that a late answer is not mistaken. Waits 5 s at most for the answer: -ETIMEDOUT. -EPIPE when the
 * launcher is gone. */
int launcher_launch(int launcher_fd, uint64_t serial, int socket, pid_t *ret_pid, int *ret_pidfd);
