/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file of an archive of evidence: a new one, in no datastore, and whole or not there. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "ctl/bundle-make.h"
#include "ctl/resolve.h"
#include "helpers/clock.h"
#include "helpers/path.h"
#include "helpers/text.h"

#define NAMES_MAX 1000          /* of one second, in one folder */

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* The folder as it is; what is looked at afterwards, and written to, is this one. */
static int open_folder(const char *path)
{
    const char *name = name_of(path);
    _cleanup_free_ char *folder = name == path       ? strdup(".")
                                  : name - path == 1 ? strdup("/")
                                                     : strndup(path, (size_t)(name - path - 1));
    int fd = folder ? open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

    return !folder ? -ENOMEM : fd < 0 ? -errno : fd;
}

/* A file in a datastore would be walked, and perhaps be reported, as one of its files. */
static int refuse_datastore(const struct bundle_file *file, json_object *status)
{
    json_object *stores = status ? row_member(status, "datastores") : NULL;
    _cleanup_free_ char *folder = NULL, *shown = text_escape_string(file->asked);
    char name[40];
    int r;

    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", file->folder);
    r = resolve_path(name, &folder);
    if (r < 0)
        return complain(r, "Cannot write %s", shown);
    for (size_t i = 0; stores && i < json_object_array_length(stores); i++) {
        json_object *store = json_object_array_get_idx(stores, i);
        const char *root = row_raw(store, "path");
        _cleanup_free_ char *real = NULL, *store_name = row_text(store, "name");

        if (!root || resolve_path(root, &real) < 0)
            continue;
        if (row_bool(store, "recursive") ? path_is_below(folder, real) : strcmp(folder, real) == 0)
            return complain(0,
                            "%s lies in the datastore %s, where the archive would be taken for one "
                            "of its files. Choose another folder, such as /root or /var/tmp.",
                            shown, store_name),
                   -EINVAL;
    }
    return 0;
}

/* The next of the names that the folder's files get: when they were made, and a number where
 * something has that name. */
static int next_name(struct bundle_file *file)
{
    time_t now = (time_t)(file->now / USEC_PER_SEC);
    char time[32], number[16] = "", *path;
    struct tm tm;

    if (!gmtime_r(&now, &tm) || strftime(time, sizeof(time), "%Y%m%dT%H%M%SZ", &tm) == 0)
        return -EOVERFLOW;
    if (++file->n_names > 1)
        (void)snprintf(number, sizeof(number), "-%u", file->n_names);
    if (asprintf(&path, "%sqcaudit-evidence-%s%s.tar", file->asked, time, number) < 0)
        return -ENOMEM;
    free(file->path);
    file->path = path;
    return 0;
}

/* A name that was given is the only one. */
static int try_names(struct bundle_file *file, int (*attempt)(struct bundle_file *file))
{
    int r = attempt(file);

    while (r == -EEXIST && file->n_names > 0 && file->n_names < NAMES_MAX) {
        r = next_name(file);
        if (r >= 0)
            r = attempt(file);
    }
    return r;
}

static int open_new(struct bundle_file *file)
{
    const char *name = name_of(file->path);
    struct stat st;

    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return -EISDIR;
    if (fstatat(file->folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return -EEXIST;
    file->fd = openat(file->folder, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (file->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        file->fd = openat(file->folder, name,
                          O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        file->named = file->fd >= 0;
    }
    return file->fd < 0 ? -errno : 0;
}

int bundle_file_open(const char *path, uint64_t now, json_object *status,
                     struct bundle_file *ret_file)
{
    _cleanup_free_ char *shown = text_escape_string(path);
    struct bundle_file *file = ret_file;
    int r;

    *file = (struct bundle_file){
        .asked = path, .now = now, .folder = open_folder(path), .fd = -1
    };
    if (file->folder < 0)
        return complain(file->folder, "Cannot write %s", shown);
    r = refuse_datastore(file, status);
    if (r < 0)
        return r;
    if (path[0] && !*name_of(path))
        r = next_name(file);
    else {
        file->path = strdup(path);
        r = file->path ? 0 : -ENOMEM;
    }
    if (r >= 0)
        r = try_names(file, open_new);
    return r < 0 ? complain(r, "Cannot create %s", shown) : 0;
}

uint64_t bundle_file_room(const struct bundle_file *file)
{
    struct statvfs st;

    return fstatvfs(file->fd, &st) < 0 ? UINT64_MAX
                                       : (uint64_t)st.f_bavail * (uint64_t)st.f_frsize / 2;
}

static int give_name(struct bundle_file *file)
{
    char name[40];

    (void)snprintf(name, sizeof(name), "/proc/self/fd/%d", file->fd);
    return linkat(AT_FDCWD, name, file->folder, name_of(file->path), AT_SYMLINK_FOLLOW) < 0
               ? -errno : 0;
}

int bundle_file_finish(struct bundle_file *file)
{
    int r;

    if (fsync(file->fd) < 0)
        return -errno;
    r = file->named ? 0 : try_names(file, give_name);
    if (r < 0)
        return r;
    close(file->fd);
    file->fd = -1;
    return 0;
}

void bundle_file_done(struct bundle_file *file)
{
    struct stat made, there;

    /* Only what was made here: not what somebody put in its place. */
    if (file->fd >= 0 && file->named && fstat(file->fd, &made) >= 0 &&
        fstatat(file->folder, name_of(file->path), &there, AT_SYMLINK_NOFOLLOW) >= 0 &&
        made.st_dev == there.st_dev && made.st_ino == there.st_ino)
        (void)unlinkat(file->folder, name_of(file->path), 0);
    if (file->fd >= 0)
        close(file->fd);
    if (file->folder >= 0)
        close(file->folder);
    free(file->path);
    *file = (struct bundle_file){ .folder = -1, .fd = -1 };
}
