/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a helper gives up before it touches anything hostile. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Each returns 0 or -errno, and in *ret_step what it tried when it failed (a static string). */

/* For every helper, first of all: standard input and output to /dev/null, no file descriptor but 0 to 2 and the
 * socket, working directory /, SIGINT, SIGTERM and SIGHUP ignored, killed when the parent ends. */
int sandbox_begin(const char **ret_step);

struct sandbox_worker_options {
    uint64_t memory_limit;      /* bytes beyond what the program itself maps */
    unsigned threads;           /* 1: none may be started beside it */
    bool idle;                  /* idle I/O class, nice 19 */
};

/* For ever: limits, no capability, no new privileges, not dumpable, and no system call but reading the file
 * descriptors it has or gets, memory, threads and its socket. Anything else is death by SIGSYS, on every thread. */
int sandbox_worker(const struct sandbox_worker_options *options, const char **ret_step);

/* For ever: CAP_DAC_READ_SEARCH at most (when it has it), no new privileges, not dumpable; looks at and opens files
 * read-only, but reads from inotify_fd and mountinfo_fd alone, writes nowhere, starts and connects nothing. */
int sandbox_files(int inotify_fd, int mountinfo_fd, const char **ret_step);

/* Capabilities that this process has now; CAP_DAC_READ_SEARCH is bit 2. */
int sandbox_capabilities(uint64_t *ret_permitted);
/* Leaves the capabilities in keep (a bit each) and no other, in the bounding set too where that may be changed;
 * inheritable: they survive an execve(). */
int sandbox_drop_capabilities(uint64_t keep, bool inheritable);
