/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The names that subjects of the record have now, by those that they had. */
#include "daemon/store/record-names.h"

#include <errno.h>
#include <search.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"

struct name {
    char *then, *now;
};

static int name_compare(const void *a, const void *b)
{
    const struct name *left = a, *right = b;

    return strcmp(left->then, right->then);
}

static void name_free(void *name)
{
    struct name *freed = name;

    free(freed->then);
    free(freed->now);
    free(freed);
}

void record_names_done(struct record_names *names)
{
    tdestroy(names->tree, name_free);
    names->tree = NULL;
}

const char *record_name_now(const struct record_names *names, const char *then)
{
    struct name key = { .then = (char *)(uintptr_t)then };
    void *found = tfind(&key, &names->tree, name_compare);

    return found ? (*(struct name **)found)->now : then;
}

int record_names_rename(struct record_names *names, const char *before, const char *after)
{
    struct name *name = calloc(1, sizeof(*name)), **found;

    if (!name)
        return -ENOMEM;
    name->then = strdup(before);
    name->now = strdup(record_name_now(names, after));
    found = name->then && name->now ? tsearch(name, &names->tree, name_compare) : NULL;
    if (!found) {
        name_free(name);
        return -ENOMEM;
    }
    if (*found != name) {
        free((*found)->now);
        (*found)->now = TAKE_PTR(name->now);
        name_free(name);
    }
    return 0;
}
