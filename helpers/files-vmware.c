/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: locks of ESXi's, which lie as files beside what they lock: FILE.lck, and on NFS
 * .lck-NUMBER, where NUMBER are the eight bytes of the file's number, the lowest first, in
 * hexadecimal. Those on NFS are written anew every ten seconds (VMware's knowledge base, 10051,
 * "Investigating virtual machine file locks on ESXi"). */
#include "helpers/files-vmware.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/cleanup.h"

/* Both clocks may be wrong, and the file system's attributes be kept for a while. */
#define FRESH_SECONDS 600

static bool name_is_vmwares(const char *path)
{
    static const char *const extensions[] = { ".vmdk", ".vmx" };
    const char *dot = strrchr(path, '.');

    for (size_t i = 0; dot && i < ELEMENTSOF(extensions); i++)
        if (strcasecmp(dot, extensions[i]) == 0)
            return true;
    return false;
}

/* Whoever could not lock the file says nothing by a file beside it. */
static bool look(const char *path, uint32_t uid, struct stat *ret_stat)
{
    return fstatat(AT_FDCWD, path, ret_stat, AT_SYMLINK_NOFOLLOW) == 0 &&
           (S_ISREG(ret_stat->st_mode) || S_ISDIR(ret_stat->st_mode)) &&
           (ret_stat->st_uid == 0 || ret_stat->st_uid == uid);
}

static bool is_fresh(const struct stat *stat)
{
    int64_t age = (int64_t)time(NULL) - stat->st_mtime;

    return age <= FRESH_SECONDS && age >= -FRESH_SECONDS;
}

static bool has_number_lock(const char *path, uint64_t inode, uint32_t uid)
{
    const char *slash = strrchr(path, '/');
    char lock[PATH_MAX];
    struct stat stat;

    return slash &&
           snprintf(lock, sizeof(lock), "%.*s/.lck-%016" PRIx64, (int)(slash - path), path,
                    __builtin_bswap64(inode)) < (int)sizeof(lock) &&
           look(lock, uid, &stat) && is_fresh(&stat);
}

bool vmware_is_locked(const char *path, uint64_t inode, uint32_t uid)
{
    char lock[PATH_MAX];
    struct stat stat;

    if (!name_is_vmwares(path))
        return false;
    if (has_number_lock(path, inode, uid))
        return true;
    if (snprintf(lock, sizeof(lock), "%s.lck", path) >= (int)sizeof(lock) ||
        !look(lock, uid, &stat))
        return false;
    return is_fresh(&stat) || has_number_lock(lock, stat.st_ino, uid);
}
