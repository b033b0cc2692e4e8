/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A qcauditd of the command's own, for as long as one command runs: with a folder that is removed
 * when it ends. */
#pragma once

#include "ctl/ctl.h"

struct once;

/* A folder that becomes a datastore for that time. */
struct once_folder {
    char *path;
    bool recursive;
};

/* Starts one for these folders, and has ctl ask it. It reads its configuration, which is made here,
 * and stops with this process. Every error is printed. */
int once_start(struct ctl *ctl, const struct once_folder *folders, size_t n,
               struct once **ret_once);
/* Readable when somebody wants this process to end (SIGINT, SIGTERM, SIGHUP): these are blocked
 * until once_stop(). */
int once_stop_fd(const struct once *once);
/* The end of its log, on stderr: why something went wrong. */
void once_print_log(const struct once *once);
/* Ends it and removes its folder. Takes NULL, returns NULL. */
struct once *once_stop(struct once *once);
