/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists of strings, of which the last is NULL. */
#include "daemon/core/strv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void strv_free(char **strings)
{
    for (char **string = strings; string && *string; string++)
        free(*string);
    free(strings);
}

bool strv_equal(char *const *a, char *const *b)
{
    size_t i = 0;

    if (!a || !b)
        return a == b;
    while (a[i] && b[i] && strcmp(a[i], b[i]) == 0)
        i++;
    return !a[i] && !b[i];
}

int strv_copy(char *const *strings, char ***ret_copy)
{
    _cleanup_(strv_freep) char **copy = NULL;
    size_t n = 0;

    while (strings && strings[n])
        n++;
    copy = strings ? calloc(n + 1, sizeof(*copy)) : NULL;
    if (strings && !copy)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        copy[i] = strdup(strings[i]);
        if (!copy[i])
            return -ENOMEM;
    }
    *ret_copy = TAKE_PTR(copy);
    return 0;
}
