/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A file system that stops answering: stall-fs FOLDER TRIGGER MOUNTPOINT [BAD] shows FOLDER's
 * files, and lets every request wait for as long as the file TRIGGER exists, as a stale network
 * mount does. BAD is a file with lines "OFFSET LENGTH": reads that touch these bytes of any file
 * fail with EIO, as bad sectors do, and those that follow take their time. Runs in the
 * foreground. */
#define FUSE_USE_VERSION 31
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads that are slow behind a bad one. */
#define SLOW_READS 64

struct stalling {
    const char *folder, *trigger, *bad;
    atomic_int slow;                /* how many more are */
};

static int place(const char *path, char ret_place[PATH_MAX])
{
    const struct stalling *stalling = fuse_get_context()->private_data;

    while (access(stalling->trigger, F_OK) == 0)
        usleep(50 * 1000);
    return snprintf(ret_place, PATH_MAX, "%s%s", stalling->folder, path) < PATH_MAX
               ? 0 : -ENAMETOOLONG;
}

static int fs_getattr(const char *path, struct stat *st, struct fuse_file_info *info)
{
    char real[PATH_MAX];
    int r = place(path, real);

    return r < 0 ? r : lstat(real, st) < 0 ? -errno : 0;
}

static int fs_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
                      struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
    char real[PATH_MAX];
    int r = place(path, real);
    DIR *directory = r < 0 ? NULL : opendir(real);

    if (!directory)
        return r < 0 ? r : -errno;
    for (struct dirent *entry; (entry = readdir(directory));)
        if (fill(buffer, entry->d_name, NULL, 0, 0) != 0)
            break;
    closedir(directory);
    return 0;
}

static int fs_open(const char *path, struct fuse_file_info *info)
{
    char real[PATH_MAX];
    int r = place(path, real);
    int fd = r < 0 ? -1 : open(real, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return r < 0 ? r : -errno;
    info->fh = (uint64_t)fd;
    return 0;
}

static bool is_bad(off_t offset, size_t size)
{
    const struct stalling *stalling = fuse_get_context()->private_data;
    FILE *file = stalling->bad ? fopen(stalling->bad, "re") : NULL;
    long long start, length;
    bool bad = false;

    while (file && !bad && fscanf(file, "%lld %lld", &start, &length) == 2)
        bad = offset < start + length && start < offset + (off_t)size;
    if (file)
        fclose(file);
    return bad;
}

static int fs_read(const char *path, char *buffer, size_t size, off_t offset,
                   struct fuse_file_info *info)
{
    struct stalling *stalling = fuse_get_context()->private_data;
    char real[PATH_MAX];
    int r = place(path, real);
    ssize_t n;

    if (r >= 0 && is_bad(offset, size)) {
        atomic_store(&stalling->slow, SLOW_READS);
        return -EIO;
    }
    if (atomic_load(&stalling->slow) > 0 && atomic_fetch_sub(&stalling->slow, 1) > 0)
        usleep(20 * 1000);
    n = r < 0 ? r : pread((int)info->fh, buffer, size, offset);

    return r < 0 ? r : n < 0 ? -errno : (int)n;
}

static int fs_release(const char *path, struct fuse_file_info *info)
{
    close((int)info->fh);
    return 0;
}

static const struct fuse_operations operations = {
    .getattr = fs_getattr, .readdir = fs_readdir, .open = fs_open, .read = fs_read,
    .release = fs_release,
};

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: stall-fs FOLDER TRIGGER MOUNTPOINT [BAD]\n");
        return 2;
    }
    struct stalling stalling = { argv[1], argv[2], argv[4], 0 };
    char option[] = "-oattr_timeout=0,entry_timeout=0,default_permissions", foreground[] = "-f";
    char *arguments[] = { argv[0], foreground, option, argv[3], NULL };

    return fuse_main(4, arguments, &operations, &stalling);
}
