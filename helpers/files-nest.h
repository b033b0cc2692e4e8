/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: file systems mounted below the root, and which of them are looked into. */
#pragma once

#include "helpers/files-mount.h"
#include "helpers/files-place.h"

struct nest {
    char *path;                 /* below the root as it was given */
    const struct mount *mount;  /* of the table */
    enum files_left_out verdict;        /* FILES_LEFT_NONE: it is walked */
};

struct nests {
    struct place *place;
    bool forbidden;             /* by the configuration */
    bool known;                 /* was read since the root was opened */
    struct mount_table table;
    struct nest *items;         /* in order of path */
    size_t n_items;
};

/* Reads anew what is mounted below the root. Nothing is known when that fails: -errno. Touches no
 * file system but proc's. */
int nests_read(struct nests *nests);
void nests_done(struct nests *nests);
/* The mount at path; NULL when path is no mount point. */
const struct nest *nests_at(const struct nests *nests, const char *path);
/* Is any of them directly in the directory path? */
bool nests_are_in(const struct nests *nests, const char *path);
/* Does it hang, change behind inotify's back, or show no files of anybody's? */
bool mount_type_is_pseudo(const char *type);
