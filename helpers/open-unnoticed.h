/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opens for reading without a trace in the access time, where the kernel allows that. */
#pragma once

/* As openat(), read-only and close-on-exec, without waiting for anything and without becoming a
 * terminal's process; flags are O_DIRECTORY and O_NOFOLLOW. Only a file's owner (and CAP_FOWNER)
 * may leave no trace: for others the file system does as it is mounted. -errno. */
int open_unnoticed(int dirfd, const char *name, int flags, int *ret_fd);
