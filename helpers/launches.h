/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking the launcher of launcher_start() for processes, without waiting for it. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "helpers/client.h"
#include "helpers/process.h"

/* error is 0, and pid and pidfd are taken, or -errno. */
typedef void (*launched_fn)(void *userdata, int error, pid_t pid, int pidfd);

/* Has a qcaudit-files started with socket (stays the caller's) as its fd 3; done is called once, in
 * the loop. *ret_serial is never 0. -EAGAIN when the launcher has not taken those before. */
int launches_ask(struct launches *launches, int socket, launched_fn done, void *userdata,
                 uint64_t *ret_serial);
/* Nobody waits for it any more: it is killed when it comes, and listed until it is gone, as by
 * process_end(). */
void launches_forget(struct launches *launches, uint64_t serial, struct process_endings *endings,
                     const void *user);
