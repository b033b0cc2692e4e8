/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The arguments of the control interface's methods: each is checked before the manager sees it. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/control/internal.h"
#include "daemon/core/strv.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

#define SCAN_PATHS_MAX 10000

DEFINE_CLEANUP(json_object *, json_object_put)

int arguments_invalid(sd_bus_error *error, const char *format, ...)
{
    va_list ap;
    int r;

    va_start(ap, format);
    r = sd_bus_error_setfv(error, CONTROL_ERROR_INVALID_ARGUMENT, format, ap);
    va_end(ap);
    return r;
}

int arguments_path(sd_bus_message *message, sd_bus_error *error, char **ret_path)
{
    const void *data;
    size_t size;
    char *path;
    int r = sd_bus_message_read_array(message, 'y', &data, &size);

    if (r < 0)
        return r;
    if (size == 0 || size >= PATH_MAX || memchr(data, 0, size))
        return arguments_invalid(error, "A path has 1 to %d bytes, none of them 0", PATH_MAX - 1);
    path = strndup(data, size);
    if (!path)
        return -ENOMEM;
    if (path[0] != '/') {
        free(path);
        return arguments_invalid(error, "A path must be absolute");
    }
    *ret_path = path;
    return 0;
}

static int check_filter(json_object *filter, const struct filter_key *keys, sd_bus_error *error)
{
    json_object_object_foreach(filter, name, value) {
        const struct filter_key *key = keys;

        while (key->name && strcmp(key->name, name) != 0)
            key++;
        if (!key->name)
            return arguments_invalid(error, "Unknown filter");
        if (!json_object_is_type(value, key->type))
            return arguments_invalid(error, "The filter \"%s\" has the wrong type", key->name);
        if (key->type == json_type_string &&
            strlen(json_object_get_string(value)) != (size_t)json_object_get_string_len(value))
            return arguments_invalid(error, "The filter \"%s\" holds a byte 0", key->name);
    }
    return 0;
}

int arguments_filter(sd_bus_message *message, const struct filter_key *keys, sd_bus_error *error,
                     json_object **ret_filter)
{
    _cleanup_(json_object_putp) json_object *filter = NULL;
    int r = control_read_entry(message, &filter);

    if (r >= 0)
        r = check_filter(filter, keys, error);
    if (r >= 0)
        *ret_filter = TAKE_PTR(filter);
    return r;
}

void asked_done(struct asked *asked)
{
    json_object_put(asked->filter);
    free((char *)(uintptr_t)asked->path);
}

int arguments_read(sd_bus_message *message, const struct question *question, sd_bus_error *error,
                   struct asked *ret_asked)
{
    _cleanup_(asked_done) struct asked asked = { .limit = 0 };
    char *path;
    int r = 0;

    if (question->takes & ASKED_FILTER)
        r = arguments_filter(message, question->keys, error, &asked.filter);
    if (r >= 0 && question->takes & ASKED_PATH) {
        r = arguments_path(message, error, &path);
        if (r >= 0)
            asked.path = path;
    }
    if (r >= 0 && question->takes & ASKED_NAME)
        r = sd_bus_message_read(message, "s", &asked.name);
    if (r >= 0 && question->takes & ASKED_ID)
        r = sd_bus_message_read(message, "x", &asked.id);
    if (r >= 0 && question->takes & ASKED_PAGE) {
        r = sd_bus_message_read(message, "su", &asked.cursor, &asked.limit);
        if (r >= 0 && (asked.limit == 0 || asked.limit > CONTROL_LIMIT_MAX))
            asked.limit = CONTROL_LIMIT_MAX;
    }
    if (r < 0)
        return r;
    *ret_asked = asked;
    asked = (struct asked){ .limit = 0 };
    return 0;
}

int arguments_paths(sd_bus_message *call, sd_bus_error *error, char ***ret_paths)
{
    _cleanup_(strv_freep) char **paths = calloc(1, sizeof(*paths));
    size_t n = 0;
    int r = sd_bus_message_enter_container(call, 'a', "ay");

    if (r < 0)
        return r;
    if (!paths)
        return -ENOMEM;
    while ((r = sd_bus_message_at_end(call, 0)) == 0) {
        char **more;

        if (n >= SCAN_PATHS_MAX)
            return arguments_invalid(error, "More than %d paths", SCAN_PATHS_MAX);
        more = realloc(paths, (n + 2) * sizeof(*paths));
        if (!more)
            return -ENOMEM;
        paths = more;
        paths[n] = paths[n + 1] = NULL;
        r = arguments_path(call, error, &paths[n]);
        if (r < 0)
            return r;
        n++;
    }
    if (r > 0)
        r = sd_bus_message_exit_container(call);
    if (r < 0)
        return r;
    *ret_paths = TAKE_PTR(paths);
    return 0;
}
