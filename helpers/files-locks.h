/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: which files of this host have locks of QEMU's on them, from /proc/locks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Inodes of all file systems, in order: the kernel's number of a file system is not always the one
 * that stat() tells. Who is in it is worth being asked. */
struct lock_table {
    uint64_t *inodes;
    size_t n_inodes;
};

/* fd is /proc/locks. On failure the table stays as it was. */
int lock_table_read(int fd, struct lock_table *table);
bool lock_table_has(const struct lock_table *table, uint64_t inode);
void lock_table_done(struct lock_table *table);

/* One line of it: the inode of a lock, held and not waited for, on a byte that QEMU locks. */
bool lock_line_parse(const char *line, uint64_t *ret_inode);
