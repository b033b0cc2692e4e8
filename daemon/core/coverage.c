/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The coverage of a datastore: files that were looked at and files that were left out, with the
 * reasons. */
#include "daemon/core/coverage.h"

#include <errno.h>
#include <string.h>

#include "helpers/json-text.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)

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
        [FILES_LEFT_TOO_MANY] = "too-many-files",
        [FILES_LEFT_LINK] = "link",
        [FILES_LEFT_KNOWN_DEVICE] = "link-to-known-device",
        [FILES_LEFT_DEVICE] = "link-to-device",
    };

    return (unsigned)why < _FILES_LEFT_MAX ? names[why] : "?";
}

bool coverage_reason_is_gap(enum files_left_out why)
{
    return why == FILES_LEFT_REMOTE || why == FILES_LEFT_GONE || why == FILES_LEFT_DEVICE ||
           why == FILES_LEFT_TOO_MANY;
}

static bool is_named(enum files_left_out why)
{
    return (coverage_reason_is_gap(why) && why != FILES_LEFT_TOO_MANY) ||
           why == FILES_LEFT_FORBIDDEN;
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
    struct coverage_item *item;

    if (i == coverage->n_items)
        return;
    item = &coverage->items[i];
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

/* ---- as it is kept ------------------------------------------------------------------------- */

static const char *target_key(enum files_left_out why)
{
    return why == FILES_LEFT_DEVICE ? "device" : "file-system";
}

static int item_to_json(const struct coverage_item *item, json_object *list)
{
    _cleanup_(json_object_putp) json_object *row = json_object_new_object();
    int r = row ? json_add(row, "reason", json_object_new_string(coverage_reason_name(item->why)))
                : -ENOMEM;

    if (r >= 0)
        r = json_add(row, "path", json_object_new_string(item->path));
    if (r >= 0 && item->target)
        r = json_add(row, target_key(item->why), json_object_new_string(item->target));
    if (r < 0 || json_object_array_add(list, row) < 0)
        return -ENOMEM;
    row = NULL;
    return 0;
}

int coverage_to_json(const struct coverage *coverage, json_object **ret_object)
{
    _cleanup_(json_object_putp) json_object *object = json_object_new_object(),
                                            *left_out = json_object_new_object(),
                                            *items = json_object_new_array();
    int r = object && left_out && items ? 0 : -ENOMEM;

    if (r >= 0)
        r = json_add(object, "files", json_object_new_uint64(coverage->files));
    if (r >= 0)
        r = json_add(object, "folders", json_object_new_uint64(coverage->folders));
    if (r >= 0)
        r = json_add(object, "mounts", json_object_new_uint64(coverage->mounts));
    for (enum files_left_out why = FILES_LEFT_NONE + 1; r >= 0 && why < _FILES_LEFT_MAX; why++)
        if (coverage->left_out[why] > 0)
            r = json_add(left_out, coverage_reason_name(why),
                    json_object_new_uint64(coverage->left_out[why]));
    for (size_t i = 0; r >= 0 && i < coverage->n_items; i++)
        r = item_to_json(&coverage->items[i], items);
    if (r >= 0)
        r = json_add(object, "left-out", TAKE_PTR(left_out));
    if (r >= 0)
        r = json_add(object, "items", TAKE_PTR(items));
    if (r < 0)
        return r;
    *ret_object = TAKE_PTR(object);
    return 0;
}

static const char *text_of(json_object *object, const char *key)
{
    json_object *value;

    return json_object_object_get_ex(object, key, &value) &&
                   json_object_is_type(value, json_type_string)
               ? json_object_get_string(value) : NULL;
}

/* A missing member is 0. */
static int number_of(json_object *object, const char *key, uint64_t *ret_number)
{
    json_object *value;

    if (!json_object_object_get_ex(object, key, &value))
        return 0;
    if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
        return -EBADMSG;
    *ret_number = json_object_get_uint64(value);
    return 0;
}

static int item_from_json(json_object *row, struct coverage *coverage)
{
    const char *reason = text_of(row, "reason"), *path = text_of(row, "path");

    for (enum files_left_out why = FILES_LEFT_NONE + 1; reason && path && why < _FILES_LEFT_MAX;
         why++)
        if (strcmp(coverage_reason_name(why), reason) == 0)
            return is_named(why) && path[0] == '/'
                       ? coverage_add(coverage, why, path, text_of(row, target_key(why)))
                       : -EBADMSG;
    return -EBADMSG;
}

int coverage_from_json(json_object *object, struct coverage *coverage)
{
    uint64_t left_out[_FILES_LEFT_MAX] = { 0 };
    json_object *reasons, *items;
    int r;

    if (!json_object_is_type(object, json_type_object) ||
        !json_object_object_get_ex(object, "left-out", &reasons) ||
        !json_object_is_type(reasons, json_type_object) ||
        !json_object_object_get_ex(object, "items", &items) ||
        !json_object_is_type(items, json_type_array) ||
        json_object_array_length(items) > COVERAGE_ITEMS_MAX)
        return -EBADMSG;
    r = number_of(object, "files", &coverage->files);
    if (r >= 0)
        r = number_of(object, "folders", &coverage->folders);
    if (r >= 0)
        r = number_of(object, "mounts", &coverage->mounts);
    for (enum files_left_out why = FILES_LEFT_NONE + 1; r >= 0 && why < _FILES_LEFT_MAX; why++)
        r = number_of(reasons, coverage_reason_name(why), &left_out[why]);
    for (size_t i = 0; r >= 0 && i < json_object_array_length(items); i++)
        r = item_from_json(json_object_array_get_idx(items, i), coverage);
    if (r < 0)
        coverage_done(coverage);
    else
        memcpy(coverage->left_out, left_out, sizeof(left_out));
    return r;
}
