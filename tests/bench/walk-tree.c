/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* walk-tree DIR: looks at every file below it with statx(), as the least that a pass over a store
 * can do. */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void walk(int fd, unsigned long *count)
{
    DIR *directory = fdopendir(fd);
    struct dirent *entry;

    if (!directory)
        err(1, "fdopendir");
    while (errno = 0, (entry = readdir(directory))) {
        struct statx stat;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (statx(dirfd(directory), entry->d_name, AT_SYMLINK_NOFOLLOW,
                  STATX_BASIC_STATS | STATX_BTIME, &stat) < 0)
            err(1, "%s", entry->d_name);
        ++*count;
        if (S_ISDIR(stat.stx_mode)) {
            fd = openat(dirfd(directory), entry->d_name,
                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (fd < 0)
                err(1, "%s", entry->d_name);
            walk(fd, count);
        }
    }
    if (errno)
        err(1, "readdir");
    closedir(directory);
}

int main(int argc, char **argv)
{
    unsigned long count = 0;
    int fd;

    if (argc != 2)
        errx(2, "usage: walk-tree DIR");
    fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        err(1, "%s", argv[1]);
    walk(fd, &count);
    printf("%lu\n", count);
    return 0;
}
