/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Drops the named files from the page cache, so that they are read from the disk again: drop-cache
 * FILE... */
#include <err.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        int fd = open(argv[i], O_RDONLY | O_CLOEXEC), r;

        if (fd < 0)
            err(1, "%s", argv[i]);
        /* What is not on the disk yet would stay. */
        if (fsync(fd) < 0)
            err(1, "%s", argv[i]);
        r = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        if (r != 0)
            errx(1, "%s: %s", argv[i], strerror(r));
        close(fd);
    }
    return 0;
}
