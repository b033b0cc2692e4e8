/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sandbox of a helper, before it touches anything hostile. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each returns 0 or -errno, and in *ret_step what it tried when it failed (a static string). */

/* For every helper, first of all: standard input and output to /dev/null, no file descriptor but 0
 * to 2 and the socket, working directory /, SIGINT, SIGTERM and SIGHUP ignored, killed when the
 * parent ends. */
int sandbox_begin(const char **ret_step);

/* For ever, and before a worker starts its threads, as they inherit it: no capability, no new
 * privileges; idle: idle I/O class, nice 19. */
int sandbox_worker_begin(bool idle, const char **ret_step);
/* For ever, once its threads are there: limits (memory_limit is bytes beyond what the program maps
 * now), not dumpable, and no system call but reading the file descriptors it has or gets, memory
 * and its socket. Anything else, another thread too, is death by SIGSYS, on every thread. */
int sandbox_worker(uint64_t memory_limit, const char **ret_step);

/* For ever, for the launcher and what it starts: no socket is made or connected, nothing written,
 * made, moved or removed, no other process looked into, no namespace, no identity. What is not
 * allowed fails with EPERM. */
int sandbox_launcher(const char **ret_step);

/* For ever, for a program of others that looks at signatures, and is to be executed next: limits,
 * no capability, no new privileges, and of system calls reading, memory, writing to what is open,
 * and to end. No process is started, no socket made, nothing opened for writing. What is not
 * allowed fails with EPERM. It opens programs, libraries and these files alone, where the kernel
 * has Landlock (5.13). */
int sandbox_verifier(const int files[], size_t n_files, const char **ret_step);

/* For ever, for the daemon and the workers that it starts: no namespace, no mount, no other root,
 * no look into other processes, no module, no keys, and none of the kernel's doors that are
 * attacked most and that it has no use for (BPF, perf, io_uring, userfaultfd). What is not allowed
 * fails with EPERM. The unit's own filter is narrower. */
int sandbox_daemon(const char **ret_step);

/* For ever: CAP_DAC_READ_SEARCH at most (when it has it), no new privileges, not dumpable; looks at
 * and opens files read-only, but reads from inotify_fd, mountinfo_fd and locks_fd alone (which may
 * be one and the same), writes nowhere, starts and connects nothing. */
int sandbox_files(int inotify_fd, int mountinfo_fd, int locks_fd, const char **ret_step);

/* Capabilities that this process has now; CAP_DAC_READ_SEARCH is bit 2. */
int sandbox_capabilities(uint64_t *ret_permitted);
/* Leaves the capabilities in keep (a bit each) and no other, in the bounding set too where that may
 * be changed; inheritable: they survive an execve(). */
int sandbox_drop_capabilities(uint64_t keep, bool inheritable);
