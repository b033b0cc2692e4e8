/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opens for reading without a trace in the access time, where the kernel allows that. */
#include "helpers/open-unnoticed.h"

#include <errno.h>
#include <fcntl.h>

int open_unnoticed(int dirfd, const char *name, int flags, int *ret_fd)
{
    int fd;

    flags |= O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    fd = openat(dirfd, name, flags | O_NOATIME);
    if (fd < 0 && errno == EPERM)       /* not its owner */
        fd = openat(dirfd, name, flags);
    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}
