/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where rows come from: the daemon, or with --offline its database. */
#include "ctl/source.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/offline.h"
#include "ctl/resolve.h"
#include "helpers/json-text.h"
#include "helpers/path.h"
#include "helpers/text.h"

int source_status(struct ctl *ctl, json_object **ret_entry)
{
    return ctl->offline ? offline_ask(ctl, "GetStatus", NULL, NULL, ret_entry)
                        : client_status(ctl, ret_entry);
}

static int list(struct ctl *ctl, const char *question, json_object *filter, json_object **ret_rows)
{
    return ctl->offline ? offline_ask(ctl, question, filter, NULL, ret_rows)
                        : client_list(ctl, question, filter, ret_rows);
}

int source_images(struct ctl *ctl, json_object *filter, json_object **ret_rows)
{
    return list(ctl, "ListImages", filter, ret_rows);
}

int source_findings(struct ctl *ctl, json_object *filter, json_object **ret_rows)
{
    return list(ctl, "ListFindings", filter, ret_rows);
}

int source_events(struct ctl *ctl, json_object *filter, json_object **ret_rows)
{
    return list(ctl, "ListEvents", filter, ret_rows);
}

int source_audits(struct ctl *ctl, const char *path, json_object **ret_rows)
{
    return ctl->offline ? offline_ask(ctl, "ListAudits", NULL, path, ret_rows)
                        : client_audits(ctl, path, ret_rows);
}

int source_readings(struct ctl *ctl, const char *path, json_object **ret_rows)
{
    return ctl->offline ? offline_ask(ctl, "ListReadings", NULL, path, ret_rows)
                        : client_readings(ctl, path, ret_rows);
}

int source_needs_daemon(const struct ctl *ctl, const char *verb)
{
    return ctl->offline ? complain(0, "'%s' needs the daemon: leave out --offline.", verb),
           -EINVAL      : 0;
}

int filter_add(json_object *filter, const char *key, const char *value)
{
    return value && json_add(filter, key, json_object_new_string(value)) < 0
               ? -ENOMEM : 0;
}

/* ---- which image -------------------------------------------------------------------------- */

char *source_absolute(const char *argument)
{
    _cleanup_free_ char *here = NULL;
    char *path = NULL, *out;

    if (argument[0] == '/')
        path = strdup(argument);
    else {
        here = getcwd(NULL, 0);
        if (here && asprintf(&path, "%s/%s", strcmp(here, "/") == 0 ? "" : here, argument) < 0)
            path = NULL;
    }
    if (!path)
        return NULL;
    /* "//" and "/./" go, and a final "/"; ".." stays, as links may be in between. */
    out = path;
    for (const char *in = path; *in;) {
        if (in[0] == '/' && (in[1] == '/' || in[1] == '\0') && (out > path || in[1] == '/'))
            in++;
        else if (in[0] == '/' && in[1] == '.' && (in[2] == '/' || in[2] == '\0'))
            in += 2;
        else
            *out++ = *in++;
    }
    if (out == path)
        *out++ = '/';
    *out = '\0';
    return path;
}

static int is_known(struct ctl *ctl, const char *path)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object(), *rows = NULL;
    unsigned lines = ctl->lines;
    const char *found;
    int r = filter ? filter_add(filter, "path", path) : -ENOMEM;

    if (r < 0)
        return complain(r, "Cannot look for an image");
    ctl->lines = 1;     /* what matches the path itself comes before what lies below it */
    r = source_images(ctl, filter, &rows);
    ctl->lines = lines;
    if (r < 0 || json_object_array_length(rows) == 0)
        return r;
    found = row_raw(json_object_array_get_idx(rows, 0), "path");
    /* Not below it: the path is another name of that image. */
    return found && (strcmp(found, path) == 0 || !path_is_below(found, path));
}

static bool ends_like(const char *path, const char *argument)
{
    size_t n = strlen(path), k = strlen(argument);

    return n > k && path[n - k - 1] == '/' && strcmp(path + n - k, argument) == 0;
}

static int find_by_end(struct ctl *ctl, const char *argument, bool or_domain, char **ret_path)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object(), *rows = NULL;
    _cleanup_free_ char *shown = text_escape_string(argument);
    const char *found[8];
    size_t n = 0;
    int r;

    if (!filter || !shown)
        return complain(-ENOMEM, "Cannot look for an image");
    r = source_images(ctl, filter, &rows);
    if (r < 0)
        return r;
    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        const char *path = row_raw(json_object_array_get_idx(rows, i), "path");

        if (path && ends_like(path, argument) && n++ < ELEMENTSOF(found))
            found[n - 1] = path;
    }
    if (n == 0)
        return or_domain && !strchr(argument, '/')
               ? complain(
                     0,
                     "Neither an image nor a domain %s is known. 'qcauditctl images' and "
                     "'qcauditctl domains' list those that are.",
                     shown),
               -ENOENT
               : complain(
                     0,
                     "No image %s is known. 'qcauditctl images' lists those that are; a new one "
                     "appears after the next walk, or at once with 'qcauditctl scan'.",
                     shown),
               -ENOENT;
    if (n > 1) {
        (void)complain(0, "%zu images are called %s:", n, shown);
        for (size_t i = 0; i < n && i < ELEMENTSOF(found); i++) {
            _cleanup_free_ char *path = text_escape_string(found[i]);
            (void)complain(0, "  %s", path);
        }
        return -ENOTUNIQ;
    }
    *ret_path = strdup(found[0]);
    return *ret_path ? 0 : -ENOMEM;
}

int source_find_image(struct ctl *ctl, const char *argument, bool or_domain, char **ret_path)
{
    _cleanup_free_ char *absolute = source_absolute(argument), *real = NULL;
    unsigned lines = ctl->lines;
    int r;

    if (!absolute)
        return complain(-ENOMEM, "Cannot look for an image");
    r = is_known(ctl, absolute);
    if (r > 0)
        *ret_path = TAKE_PTR(absolute);
    if (r != 0)
        return r < 0 ? r : 0;
    r = resolve_path(argument, &real);
    if (r == -ENOMEM || r == -ETIMEDOUT)
        return r == -ETIMEDOUT ? r : complain(r, "Cannot look for an image");
    if (real && strcmp(real, absolute) != 0) {
        r = is_known(ctl, real);
        if (r > 0)
            *ret_path = TAKE_PTR(real);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    ctl->lines = 0;
    r = find_by_end(ctl, argument, or_domain, ret_path);
    ctl->lines = lines;
    return r;
}

/* ---- order -------------------------------------------------------------------------------- */

static int severity_rank(const char *severity)
{
    static const char *const names[] = { "critical", "error", "warning", "info" };

    for (size_t i = 0; severity && i < ELEMENTSOF(names); i++)
        if (strcmp(severity, names[i]) == 0)
            return (int)i;
    return (int)ELEMENTSOF(names);
}

static int by_severity(const void *a, const void *b)
{
    json_object *const *left = a, *const *right = b;
    int by_rank = severity_rank(row_raw(*left, "severity")) -
                  severity_rank(row_raw(*right, "severity"));
    uint64_t left_seen = row_number(*left, "first-seen"),
             right_seen = row_number(*right, "first-seen");
    const char *left_subject = row_raw(*left, "subject"),
               *right_subject = row_raw(*right, "subject");

    if (by_rank != 0)
        return by_rank;
    if (left_seen / (60 * USEC_PER_SEC) != right_seen / (60 * USEC_PER_SEC))
        return left_seen < right_seen ? -1 : 1;
    return strcmp(left_subject ? left_subject : "", right_subject ? right_subject : "");
}

void source_sort_findings(json_object *rows)
{
    json_object_array_sort(rows, by_severity);
}
