/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Paths as text. */
#include "helpers/path.h"

#include <string.h>

bool path_is_below(const char *path, const char *root)
{
    size_t n = strlen(root);

    while (n > 1 && root[n - 1] == '/')
        n--;
    if (n == 1 && root[0] == '/')
        return path[0] == '/';
    return strncmp(path, root, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

bool path_has_step_up(const char *path)
{
    for (const char *p = path; p; p = strchr(p, '/')) {
        p += strspn(p, "/");
        if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0'))
            return true;
    }
    return false;
}
