/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: /proc/self/mountinfo. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One line; its strings are unescaped and belong to the table. */
struct mount {
    uint64_t id;
    uint64_t device;            /* of the file system: one number for all subvolumes of a btrfs */
    const char *root;           /* what of the file system is mounted: "/" for all of it */
    const char *point, *type, *source;
};

struct mount_table {
    char *text;
    struct mount *mounts;
    size_t n_mounts;
};

/* Reads the table from its beginning; fd stays open, so that no file has to be opened. */
int mount_table_read(int fd, struct mount_table *ret_table);
void mount_table_done(struct mount_table *table);
/* NULL when it is not there. */
const struct mount *mount_table_find(const struct mount_table *table, uint64_t id);
/* The mount that is visible at path, NULL when path is no mount point. */
const struct mount *mount_table_at(const struct mount_table *table, const char *path);
/* May other hosts, or a process, change what is on it or stop answering? */
bool mount_type_is_remote(const char *type);
/* A number for what is mounted, which the next mount of the same has too. */
uint64_t mount_identity(const struct mount *mount);
