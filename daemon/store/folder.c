/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The state folder: one daemon at a time in it, and a damaged database put aside there. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/store/db.h"
#include "lib/cleanup.h"

/* The holder of the lock writes its pid right after it got the lock: wait a little for that. */
#define HOLDER_TRIES 20
#define HOLDER_PAUSE_NSEC 10000000

static pid_t read_holder(int fd)
{
    for (int i = 0; i < HOLDER_TRIES; i++) {
        char text[32] = "";
        ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

        if (n > 0 && text[n - 1] == '\n') {
            long pid = strtol(text, NULL, 10);

            return pid > 0 ? (pid_t)pid : 0;
        }
        nanosleep(&(struct timespec){ .tv_nsec = HOLDER_PAUSE_NSEC }, NULL);
    }
    return 0;
}

int store_folder_lock(const char *directory, pid_t *ret_holder, int *ret_fd)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    _cleanup_free_ char *path = NULL;
    _cleanup_close_ int fd = -1;

    if (asprintf(&path, "%s/%s", directory, CONTROL_LOCK_NAME) < 0)
        return -ENOMEM;
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    /* An open file description's lock: unlike a process's it does not vanish with any other
     * descriptor. */
    if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
        if (errno != EAGAIN && errno != EACCES)
            return -errno;
        *ret_holder = read_holder(fd);
        return -EBUSY;
    }
    /* On a full disk the pid cannot be written, and the lock holds all the same. */
    if (ftruncate(fd, 0) < 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0)
        if (errno != ENOSPC && errno != EDQUOT && errno != EFBIG)
            return -errno;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

int store_folder_look(const char *directory)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    _cleanup_free_ char *path = NULL;
    _cleanup_close_ int fd = -1;

    if (asprintf(&path, "%s/%s", directory, CONTROL_LOCK_NAME) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return -errno;
    return lock.l_type == F_UNLCK ? 0 : -EBUSY;
}

int store_folder_relock(const char *directory, int *fd)
{
    _cleanup_free_ char *path = NULL;
    struct stat held, found;
    pid_t holder = 0;
    int new_fd, r;

    if (asprintf(&path, "%s/%s", directory, CONTROL_LOCK_NAME) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    if (fstat(*fd, &held) < 0)
        return -errno;
    if (lstat(path, &found) >= 0 && found.st_dev == held.st_dev && found.st_ino == held.st_ino)
        return 0;
    r = store_folder_lock(directory, &holder, &new_fd);
    if (r < 0)
        return r;
    close(*fd);
    *fd = new_fd;
    return 0;
}

static int rename_with_suffix(const char *from, const char *to, const char *suffix)
{
    _cleanup_free_ char *source = NULL, *target = NULL;

    if (asprintf(&source, "%s%s", from, suffix) < 0)
        return -ENOMEM;
    if (asprintf(&target, "%s%s", to, suffix) < 0)
        return -ENOMEM;
    return rename(source, target) < 0 ? -errno : 0;
}

static int sync_directory(const char *directory)
{
    _cleanup_close_ int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int free_name(const char *directory, char **ret_path)
{
    char stamp[sizeof("20261231T235959Z")];
    time_t now = time(NULL);
    struct tm utc;

    if (!gmtime_r(&now, &utc) || strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &utc) == 0)
        return -EOVERFLOW;
    for (unsigned i = 0; i < 1000; i++) {
        _cleanup_free_ char *path = NULL;
        char number[16] = "";

        if (i > 0)
            snprintf(number, sizeof(number), "-%u", i);
        if (asprintf(&path, "%s/%s.damaged-%s%s", directory, CONTROL_DATABASE_NAME, stamp, number) <
            0) {
            path = NULL;
            return -ENOMEM;
        }
        if (access(path, F_OK) < 0 && errno == ENOENT) {
            *ret_path = TAKE_PTR(path);
            return 0;
        }
    }
    return -EEXIST;
}

int store_folder_put_aside(const char *directory, char **ret_path)
{
    _cleanup_free_ char *path = NULL, *aside = NULL;
    static const char *const suffixes[] = { "-wal", "-shm" };
    int r;

    if (asprintf(&path, "%s/%s", directory, CONTROL_DATABASE_NAME) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    r = free_name(directory, &aside);
    if (r < 0)
        return r;
    /* The log goes first: a new database must never find an old one's log beside it. */
    for (size_t i = 0; i < ELEMENTSOF(suffixes); i++) {
        r = rename_with_suffix(path, aside, suffixes[i]);
        if (r < 0 && r != -ENOENT)
            return r;
    }
    r = rename_with_suffix(path, aside, "");
    if (r < 0 && r != -ENOENT)
        return r;
    r = sync_directory(directory);
    if (r < 0)
        return r;
    *ret_path = TAKE_PTR(aside);
    return 0;
}
