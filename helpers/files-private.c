/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: what of a host no image lies in, and what others would like to read. */
#include "helpers/files-private.h"

#include <stddef.h>
#include <string.h>

#include "lib/cleanup.h"

/* The part of path below folder, without a slash at its beginning; NULL: none. */
static const char *below(const char *path, const char *folder)
{
    size_t n = strlen(folder);

    return strncmp(path, folder, n) == 0 && path[n] == '/' ? path + n + 1 : NULL;
}

/* Hidden in a home: .ssh, .gnupg, .config, ... */
static bool is_hidden(const char *in_home)
{
    return in_home && in_home[0] == '.' && !below(in_home, ".local");
}

bool path_is_private(const char *path)
{
    static const char *const folders[] = {
        "/boot", "/etc", "/proc", "/run/credentials", "/sys", "/var/backups", "/var/log",
        "/var/mail", "/var/spool",
    };
    const char *home = below(path, "/home"), *slash = home ? strchr(home, '/') : NULL;

    for (size_t i = 0; i < ELEMENTSOF(folders); i++)
        if (below(path, folders[i]))
            return true;
    return is_hidden(below(path, "/root")) || (slash && is_hidden(slash + 1));
}
