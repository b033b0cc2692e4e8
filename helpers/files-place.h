/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: where files really are: mounts, file systems' identities, allowed roots, opening
 * without effect. */
#pragma once

#include <limits.h>
#include <sys/stat.h>

#include "helpers/client.h"
#include "helpers/files-mount.h"

struct place {
    int mountinfo_fd;
    char root[PATH_MAX];        /* as it was given */
    char real_root[PATH_MAX];   /* "" while it is not there */
    char **allowed;             /* with the links on the way resolved */
    size_t n_allowed;
    bool of_devices;            /* then, of what is below the root, these block devices alone are
                                 * its */
    char **devices;             /* as they were given */
    size_t n_devices;
    char **exclude;             /* patterns, relative to the root */
    size_t n_exclude;
    char **follow;              /* patterns of devices to which links are followed */
    size_t n_follow;
    bool limited;               /* by the launcher: what is private is opened only below these */
    char **given;               /* with the links on the way resolved */
    size_t n_given;
    char **known;               /* devices that another datastore has */
    size_t n_known;
    /* the file system asked about last */
    bool cached;
    uint64_t cached_mount, cached_device, cached_fsid;
};

/* The statx data beyond struct files_stat. */
struct place_mount {
    uint64_t id;
    bool is_root;               /* a mount point */
};

/* Lets path be a place where references may lead. -ENOMEM. */
int place_allow(struct place *place, const char *path);
/* Of what is private (files-private.h), only what lies below the roots given is opened from now on;
 * path NULL: none so far. -ENOMEM. */
int place_limit(struct place *place, const char *path);
/* The device at path is one of its, wherever the links there lead. -ENOMEM. */
int place_add_device(struct place *place, const char *path);

/* Another pattern of what is left out, of devices that are followed, or another device that is
 * known elsewhere. -ENOMEM. */
int place_exclude(struct place *place, const char *pattern);
int place_follow(struct place *place, const char *pattern);
int place_know(struct place *place, const char *path);
/* Is path, below the root as it was given, left out by a pattern? */
bool place_excludes(const struct place *place, const char *path);
/* Or a folder on the way to it? */
bool place_excludes_above(const struct place *place, const char *path);

/* Looks at name in dirfd (AT_EMPTY_PATH: at dirfd itself), at a link and not where it leads.
 * ret_mount may be NULL. */
int place_stat(struct place *place, int dirfd, const char *name, int flags,
               struct files_stat *ret_stat, struct place_mount *ret_mount);

/* The absolute path without "..", "." and links, into PATH_MAX bytes. Links are followed only where
 * that asks no file system that could hang: below a remote one the path is taken as it is
 * written. */
int path_resolve(const struct mount_table *mounts, const char *path, char *ret_path);
/* Opens the root anew as a directory, read-only, and notes where it really is. */
int place_open_root(struct place *place, int *ret_fd);
/* Describes the place as a root; real_path points into place. */
int place_root(struct place *place, struct files_root *ret_root);

/* O_PATH, fstat, and where it really is. 0 and the descriptor; -EPERM outside the allowed roots,
 * -EMEDIUMTYPE neither regular file nor block device, or another -errno. real, PATH_MAX bytes, is
 * set for -EPERM and -EMEDIUMTYPE too. */
int place_find(struct place *place, const char *path, char *real, int *ret_fd);
/* The same; -EXDEV, and nothing is touched, where it leads onto a file system that may stop
 * answering and is not the root's own. */
int place_look(struct place *place, const char *path, char *real, int *ret_fd);
/* Follows a reference of the image at image_path by its text, not touching what lies outside the
 * allowed roots; then as place_look(), with real for -EXDEV, too. real is given as below the root
 * where it is there. */
int place_resolve(struct place *place, const char *image_path, const char *reference, char *real,
                  int *ret_fd);

/* Opens what place_find() found for reading, and looks for QEMU's locks. */
int place_reopen(struct place *place, int path_fd, int *ret_fd, struct files_stat *ret_stat,
                 enum files_use *ret_use);
