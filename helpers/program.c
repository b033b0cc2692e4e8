/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds the helpers' programs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "helpers/client.h"

int helper_program(const char *name, char **ret_path)
{
    const char *directory = secure_getenv("QCAUDIT_LIBEXECDIR");
    char *path;

    if (!directory || !*directory)
        directory = PKGLIBEXECDIR;
    if (asprintf(&path, "%s/%s", directory, name) < 0)
        return -ENOMEM;
    *ret_path = path;
    return 0;
}
