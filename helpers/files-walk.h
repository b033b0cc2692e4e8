/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: walks a tree in slices, depth first, never over a link to a folder, and into other
 * mounts only where they are known to answer. */
#pragma once

#include <dirent.h>

#include "helpers/files-locks.h"
#include "helpers/files-nest.h"
#include "helpers/files-output.h"
#include "helpers/files-watch.h"

#define WALK_DEPTH_MAX 100      /* directories below one another, one descriptor each */

struct walk_level {
    DIR *dir;
    size_t path_length;         /* of the directory's own path */
    uint64_t mount_id;
    bool has_nests;             /* a file system is mounted on something in it */
};

struct walk {
    struct place *place;
    struct watches *watches;
    struct output *output;
    const struct lock_table *locks;     /* NULL: nobody knows who has what open */
    struct nests *nests;
    bool recursive;

    char path[PATH_MAX];
    struct walk_level levels[WALK_DEPTH_MAX];
    size_t depth;               /* 0: not walking */
    uint64_t n_files, n_directories;
};

/* Is path left out: by a pattern, or because of what is mounted there? Says so then. A mount that
 * is looked into is said, too, and *ret_mount is set. Asks no file system. */
bool walk_leaves_out(struct walk *walk, const char *path, bool *ret_mount);
/* Begins with the open directory at path; dirfd is taken over. root: it is the datastore's root.
 * -errno when it cannot be read. */
int walk_begin(struct walk *walk, int dirfd, const char *path, bool root);
/* Looks at one more entry. False when the walk has ended. */
bool walk_step(struct walk *walk);
/* Leaves the directory path and everything below it, if it is in there. */
void walk_leave(struct walk *walk, const char *path);
