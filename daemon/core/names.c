/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The names of an enumeration's values. */
#include "daemon/core/names.h"

#include <errno.h>
#include <string.h>

const char *name_of(const char *const *names, size_t n_names, size_t index)
{
    return index < n_names ? names[index] : NULL;
}

int name_index(const char *const *names, size_t n_names, const char *name)
{
    for (size_t i = 0; name && i < n_names; i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return -EINVAL;
}
