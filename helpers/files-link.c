/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: links to block devices. Whoever may write in a datastore may make a link to any
 * device of the host: only those that the configuration names are followed. */
#include "helpers/files-link.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "helpers/files-output.h"
#include "lib/cleanup.h"

/* The link's own text where that is the plain name of something in /dev, such as /dev/vg/lv. */
static bool link_text(const char *path, char *ret_text)
{
    ssize_t n = readlink(path, ret_text, PATH_MAX - 1);

    if (n <= 0)
        return false;
    ret_text[n] = '\0';
    return strncmp(ret_text, "/dev/", 5) == 0 && !strstr(ret_text, "/../") &&
           !strstr(ret_text, "/./") && !strstr(ret_text, "//");
}

static bool is_device(const char *path, dev_t device)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == device;
}

enum files_left_out link_look(const struct place *place, const struct mount_table *mounts,
                              const char *path, char *ret_name)
{
    char text[PATH_MAX], real[PATH_MAX];
    bool plain = link_text(path, text);
    struct stat st;

    ret_name[0] = '\0';
    /* by their texts: nothing is opened, and no file system that could hang is asked */
    if (path_resolve(mounts, path, real) < 0 || strncmp(real, "/dev/", 5) != 0)
        return FILES_LEFT_LINK;
    if (fstatat(AT_FDCWD, real, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0) {
        /* A service that sees no devices (PrivateDevices=) does not know what it is. */
        strcpy(ret_name, plain ? text : real);
        return FILES_LEFT_DEVICE;
    }
    if (!S_ISBLK(st.st_mode))
        return FILES_LEFT_LINK;
    plain = plain && is_device(text, st.st_rdev);
    strcpy(ret_name, plain ? text : real);
    for (size_t i = 0; i < place->n_known; i++)
        if (is_device(place->known[i], st.st_rdev))
            return FILES_LEFT_KNOWN_DEVICE;
    for (size_t i = 0; i < place->n_follow; i++)
        if (fnmatch(place->follow[i], real, 0) == 0 ||
            (plain && fnmatch(place->follow[i], text, 0) == 0))
            return FILES_LEFT_NONE;
    return FILES_LEFT_DEVICE;
}

bool link_tell(struct place *place, struct output *output, const struct mount_table *mounts,
               const char *path)
{
    char name[PATH_MAX], real[PATH_MAX];
    enum files_left_out verdict = link_look(place, mounts, path, name);
    _cleanup_close_ int path_fd = -1, fd = -1;
    struct files_stat stat;
    enum files_use use;
    int r;

    if (verdict != FILES_LEFT_NONE) {
        output_left_out(output, path, verdict, verdict == FILES_LEFT_LINK ? NULL : name);
        return false;
    }
    /* how large it is cannot be had otherwise */
    r = place_find(place, path, real, &path_fd);
    if (r == 0)
        r = place_reopen(place, path_fd, &fd, &stat, &use);
    if (r == 0)
        output_device(output, path, &stat, name);
    else
        output_record(output, FILES_EVENT_ERROR, path, r, NULL);
    return r == 0;
}
