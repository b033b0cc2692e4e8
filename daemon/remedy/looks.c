/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The looks of one question: found by kind and path, answered in the order in which they were
 * wanted. */
#include "daemon/remedy/looks.h"

#include <errno.h>
#include <search.h>
#include <string.h>

#include "lib/cleanup.h"

struct looks {
    bool libvirt_unknown;
    void *tree;
    struct look **items;        /* in the order in which they were wanted */
    size_t n_items, n_allocated, n_asked;
};

static const struct look look_failed = { .asked = true, .answered = true, .error = -ENOBUFS };

static int look_compare(const void *a, const void *b)
{
    const struct look *first = a, *second = b;

    if (first->kind != second->kind)
        return first->kind < second->kind ? -1 : 1;
    return strcmp(first->path, second->path);
}

static struct look *look_free(struct look *look)
{
    if (look)
        free(look->path);
    free(look);
    return NULL;
}

static void nothing(void *item)
{
}

int looks_new(bool libvirt_unknown, struct looks **ret_looks)
{
    struct looks *looks = calloc(1, sizeof(*looks));

    if (!looks)
        return -ENOMEM;
    looks->libvirt_unknown = libvirt_unknown;
    *ret_looks = looks;
    return 0;
}

struct looks *looks_free(struct looks *looks)
{
    if (!looks)
        return NULL;
    tdestroy(looks->tree, nothing);
    for (size_t i = 0; i < looks->n_items; i++)
        look_free(looks->items[i]);
    free(looks->items);
    free(looks);
    return NULL;
}

bool looks_libvirt_unknown(const struct looks *looks)
{
    return looks->libvirt_unknown;
}

static struct look *look_new(enum look_kind kind, const char *path)
{
    struct look *look = calloc(1, sizeof(*look));

    if (!look)
        return NULL;
    look->kind = kind;
    look->path = strdup(path);
    return look->path ? look : look_free(look);
}

const struct look *looks_ask(struct looks *looks, enum look_kind kind, const char *path)
{
    const struct look key = { .kind = kind, .path = (char *)(uintptr_t)path };
    struct look **found = tfind(&key, &looks->tree, look_compare), *look;

    if (found)
        return (*found)->answered ? *found : NULL;
    if (looks->n_items >= LOOKS_MAX)
        return &look_failed;
    if (looks->n_items == looks->n_allocated) {
        size_t n = looks->n_allocated > 0 ? looks->n_allocated * 2 : 16;
        struct look **items = reallocarray(looks->items, n, sizeof(struct look *));

        if (!items)
            return &look_failed;
        looks->items = items;
        looks->n_allocated = n;
    }
    look = look_new(kind, path);
    if (!look || !tsearch(look, &looks->tree, look_compare)) {
        look_free(look);
        return &look_failed;
    }
    looks->items[looks->n_items++] = look;
    return NULL;
}

struct look *looks_next(struct looks *looks)
{
    struct look *look;

    if (looks->n_asked == looks->n_items)
        return NULL;
    look = looks->items[looks->n_asked++];
    look->asked = true;
    return look;
}
