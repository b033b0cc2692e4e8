/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: walks a tree in slices, depth first, never over a link to a folder, and into other
 * mounts only where they are known to answer. */
#include "helpers/files-walk.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "helpers/files-link.h"
#include "helpers/files-vmware.h"
#include "helpers/open-unnoticed.h"
#include "lib/cleanup.h"

static void tell_error(struct walk *walk, int error)
{
    output_record(walk->output, FILES_EVENT_ERROR, walk->path, error, NULL);
}

/* Cuts the path back to the directory of the innermost level. */
static void path_cut(struct walk *walk)
{
    if (walk->depth > 0)
        walk->path[walk->levels[walk->depth - 1].path_length] = '\0';
}

static void leave(struct walk *walk)
{
    closedir(walk->levels[--walk->depth].dir);
    path_cut(walk);
}

/* Goes into the open directory that walk->path names. */
static int enter(struct walk *walk, int dirfd, bool root, bool crosses)
{
    _cleanup_close_ int fd = dirfd;
    struct place_mount mount;
    struct files_stat stat;
    struct walk_level *level;
    int r;

    r = place_stat(walk->place, fd, "", AT_EMPTY_PATH, &stat, &mount);
    if (r < 0)
        return r;
    if (!crosses && walk->depth > 0 && mount.id != walk->levels[walk->depth - 1].mount_id)
        return -EXDEV;
    /* before its entries are read, so that nothing is created in between unseen */
    watches_add(walk->watches, fd, walk->path, root);
    level = &walk->levels[walk->depth];
    *level = (struct walk_level){
        .dir = fdopendir(fd), .path_length = strlen(walk->path), .mount_id = mount.id,
        .has_nests = walk->nests->n_items > 0 && nests_are_in(walk->nests, walk->path),
    };
    if (!level->dir)
        return -errno;
    fd = -1;
    walk->depth++;
    walk->n_directories++;
    return 0;
}

int walk_begin(struct walk *walk, int dirfd, const char *path, bool root)
{
    while (walk->depth > 0)
        leave(walk);
    walk->n_files = walk->n_directories = 0;
    strcpy(walk->path, path);
    return enter(walk, dirfd, root, true);
}

bool walk_leaves_out(struct walk *walk, const char *path, bool *ret_mount)
{
    const struct nest *nest = nests_at(walk->nests, path);

    *ret_mount = false;
    if (place_excludes(walk->place, path)) {
        output_left_out(walk->output, path, FILES_LEFT_EXCLUDED, NULL);
        return true;
    }
    if (!nest)
        return false;
    output_left_out(walk->output, path, nest->verdict, nest->mount->type);
    *ret_mount = nest->verdict == FILES_LEFT_NONE;
    return !*ret_mount;
}

/* Goes down into the directory name, which walk->path names already. */
static void descend(struct walk *walk, int parent, const char *name,
                    const struct place_mount *mount, bool crosses)
{
    int fd, r;

    if (mount->is_root && !crosses) {
        tell_error(walk, -EXDEV);       /* mounted just now: that event is on its way */
        return;
    }
    if (walk->depth == WALK_DEPTH_MAX) {
        tell_error(walk, -ENAMETOOLONG);
        return;
    }
    r = open_unnoticed(parent, name, O_DIRECTORY | O_NOFOLLOW, &fd);
    if (r < 0) {
        if (r != -ENOENT && r != -ENOTDIR)          /* gone, or another thing, meanwhile */
            tell_error(walk, r);
        return;
    }
    r = enter(walk, fd, false, crosses);
    if (r < 0)
        tell_error(walk, r);
}

/* Says that the file is there, and who has it open. Only one that has any lock is opened. */
static void tell_file(struct walk *walk, struct files_stat *stat)
{
    _cleanup_close_ int path_fd = -1, fd = -1;
    enum files_use use = FILES_UNUSED;
    char real[PATH_MAX] = "";
    struct files_stat now;

    if (!walk->locks || stat->type != FILES_REGULAR) {
        output_record(walk->output, FILES_EVENT_APPEARED, walk->path, 0, stat);
        return;
    }
    if (lock_table_has(walk->locks, stat->inode) &&
        (place_find(walk->place, walk->path, real, &path_fd) < 0 ||
         place_reopen(walk->place, path_fd, &fd, &now, &use) < 0 || now.inode != stat->inode))
        output_record(walk->output, FILES_EVENT_APPEARED, walk->path, 0, stat);
    else if (vmware_is_locked(walk->path, stat->inode, stat->uid))
        output_probed(walk->output, walk->path, stat, FILES_WRITER);
    else
        output_probed(walk->output, walk->path, stat, use);
}

bool walk_step(struct walk *walk)
{
    struct walk_level *level = &walk->levels[walk->depth - 1];
    size_t length = level->path_length, depth = walk->depth;
    struct place_mount mount;
    struct files_stat stat;
    struct dirent *entry;
    bool crosses = false;
    int r;

    errno = 0;
    entry = readdir(level->dir);
    if (!entry) {
        if (errno != 0)
            tell_error(walk, -errno);
        leave(walk);
        return walk->depth > 0;
    }
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
        return true;
    if (length + 1 + strlen(entry->d_name) >= sizeof(walk->path)) {
        tell_error(walk, -ENAMETOOLONG);
        return true;
    }
    if (length > 1)             /* not the root directory */
        walk->path[length++] = '/';
    strcpy(walk->path + length, entry->d_name);
    /* before it is looked at: what is mounted there may hang */
    if ((level->has_nests || walk->place->n_exclude > 0) &&
        walk_leaves_out(walk, walk->path, &crosses)) {
        path_cut(walk);
        return true;
    }
    r = place_stat(walk->place, dirfd(level->dir), entry->d_name, 0, &stat, &mount);
    if (r == 0) {
        if (stat.type != FILES_SYMLINK)
            tell_file(walk, &stat);
        if (stat.type == FILES_SYMLINK)
            (void)link_tell(walk->place, walk->output, &walk->nests->table, walk->path);
        walk->n_files += stat.type != FILES_DIRECTORY;
        if (stat.type == FILES_DIRECTORY && walk->recursive)
            descend(walk, dirfd(level->dir), entry->d_name, &mount, crosses);
    } else if (r != -ENOENT)
        tell_error(walk, r);
    if (walk->depth == depth)
        path_cut(walk);
    return true;
}

void walk_leave(struct walk *walk, const char *path)
{
    size_t length = strlen(path);

    for (size_t i = 0; i < walk->depth; i++)
        if (walk->levels[i].path_length == length && strncmp(walk->path, path, length) == 0) {
            while (walk->depth > i)
                leave(walk);
            return;
        }
}
