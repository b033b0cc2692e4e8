/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What of a datastore was looked at and what was left out, with the reasons. */
#include "daemon/model.h"

#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"

const char *coverage_reason_name(enum files_left_out why)
{
    static const char *const names[_FILES_LEFT_MAX] = {
        [FILES_LEFT_NONE] = "none",
        [FILES_LEFT_FORBIDDEN] = "mount-forbidden",
        [FILES_LEFT_SEEN] = "mount-seen-elsewhere",
        [FILES_LEFT_REMOTE] = "mount-remote",
        [FILES_LEFT_PSEUDO] = "mount-pseudo",
        [FILES_LEFT_GONE] = "mount-gone",
        [FILES_LEFT_EXCLUDED] = "excluded",
        [FILES_LEFT_LINK] = "link",
        [FILES_LEFT_KNOWN_DEVICE] = "link-to-known-device",
        [FILES_LEFT_DEVICE] = "link-to-device",
    };

    return (unsigned)why < _FILES_LEFT_MAX ? names[why] : "?";
}

bool coverage_reason_is_gap(enum files_left_out why)
{
    return why == FILES_LEFT_REMOTE || why == FILES_LEFT_GONE || why == FILES_LEFT_DEVICE;
}

static bool is_named(enum files_left_out why)
{
    return coverage_reason_is_gap(why) || why == FILES_LEFT_FORBIDDEN;
}

static size_t coverage_find(const struct coverage *coverage, const char *path)
{
    size_t i = 0;

    while (i < coverage->n_items && strcmp(coverage->items[i].path, path) != 0)
        i++;
    return i;
}

void coverage_remove(struct coverage *coverage, const char *path)
{
    size_t i = coverage_find(coverage, path);
    struct coverage_item *item = &coverage->items[i];

    if (i == coverage->n_items)
        return;
    coverage->left_out[item->why]--;
    free(item->path);
    free(item->target);
    memmove(item, item + 1, (--coverage->n_items - i) * sizeof(*item));
}

int coverage_add(struct coverage *coverage, enum files_left_out why, const char *path,
                 const char *target)
{
    struct coverage_item *items, item = { .why = why };

    coverage_remove(coverage, path);
    coverage->left_out[why]++;
    if (!is_named(why) || coverage->n_items >= COVERAGE_ITEMS_MAX)
        return 0;
    items = reallocarray(coverage->items, coverage->n_items + 1, sizeof(*items));
    if (!items)
        return -ENOMEM;
    coverage->items = items;
    item.path = strdup(path);
    item.target = target ? strdup(target) : NULL;
    if (!item.path || (target && !item.target)) {
        free(item.path);
        free(item.target);
        return -ENOMEM;
    }
    items[coverage->n_items++] = item;
    return 0;
}

uint64_t coverage_gaps(const struct coverage *coverage)
{
    uint64_t n = 0;

    for (enum files_left_out why = 0; why < _FILES_LEFT_MAX; why++)
        n += coverage_reason_is_gap(why) ? coverage->left_out[why] : 0;
    return n;
}

void coverage_done(struct coverage *coverage)
{
    for (size_t i = 0; i < coverage->n_items; i++) {
        free(coverage->items[i].path);
        free(coverage->items[i].target);
    }
    free(coverage->items);
    *coverage = (struct coverage){ 0 };
}
