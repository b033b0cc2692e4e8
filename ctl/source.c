/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sources of rows: the daemon, or with --offline its database. */
#include "ctl/source.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/offline.h"
#include "ctl/resolve.h"
#include "helpers/json-text.h"
#include "helpers/text.h"

#define SHOWN_MAX 8             /* of several that are meant */

int source_status(struct ctl *ctl, json_object **ret_entry)
{
    return ctl->offline ? offline_ask(ctl, "GetStatus", NULL, NULL, ret_entry)
                        : client_entry(ctl, "GetStatus", NULL, ret_entry);
}

int source_list(struct ctl *ctl, const char *question, json_object *filter, json_object **ret_rows)
{
    return ctl->offline ? offline_ask(ctl, question, filter, NULL, ret_rows)
                        : client_list(ctl, question, filter, ret_rows);
}

int source_images(struct ctl *ctl, json_object *filter, json_object **ret_rows)
{
    return source_list(ctl, "ListImages", filter, ret_rows);
}

int source_findings(struct ctl *ctl, json_object *filter, json_object **ret_rows)
{
    return source_list(ctl, "ListFindings", filter, ret_rows);
}

int source_events(struct ctl *ctl, json_object *filter, json_object **ret_rows)
{
    return source_list(ctl, "ListEvents", filter, ret_rows);
}

int source_list_of_path(struct ctl *ctl, const char *question, const char *path,
                        json_object **ret_rows)
{
    return ctl->offline ? offline_ask(ctl, question, NULL, path, ret_rows)
                        : client_list_of_path(ctl, question, path, ret_rows);
}

int source_record(struct ctl *ctl, json_object **ret_entry)
{
    return ctl->offline ? offline_ask(ctl, "GetRecord", NULL, NULL, ret_entry)
                        : client_entry(ctl, "GetRecord", NULL, ret_entry);
}

int source_check(struct ctl *ctl, json_object *filter, json_object **ret_entry)
{
    return ctl->offline ? offline_ask(ctl, "CheckRecord", filter, NULL, ret_entry)
                        : client_entry(ctl, "CheckRecord", filter, ret_entry);
}

int source_policy(struct ctl *ctl, const char *path, json_object **ret_entry)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
    int r = client_call_new(ctl, "GetPolicy", &call);

    if (r < 0)
        return r;
    r = sd_bus_message_append_array(call, 'y', path, strlen(path));
    return r < 0 ? complain(r, "Cannot call qcauditd")
                 : client_call_json(ctl, call, NULL, false, ret_entry);
}

int source_mutes(struct ctl *ctl, json_object **ret_rows)
{
    return ctl->offline ? offline_ask(ctl, "ListMutes", NULL, NULL, ret_rows)
                        : client_rows(ctl, "ListMutes", ret_rows);
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

char *source_absolute(const struct ctl *ctl, const char *argument)
{
    _cleanup_free_ char *here = NULL;
    char *path = NULL, *out;

    if (argument[0] == '/')
        path = strdup(argument);
    else {
        here = ctl->host ? strdup("/") : getcwd(NULL, 0);
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

/* path, end and domain may be NULL. */
static int ask_find(struct ctl *ctl, const char *path, const char *end, const char *domain,
                    bool details, json_object **ret_rows)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object();
    unsigned lines = ctl->lines;
    int r = filter ? filter_add(filter, "path", path) : -ENOMEM;

    if (r >= 0)
        r = filter_add(filter, "end", end);
    if (r >= 0)
        r = filter_add(filter, "domain", domain);
    if (r >= 0 && details)
        r = json_add(filter, "details", json_object_new_boolean(true));
    if (r < 0)
        return complain(r, "Cannot look for an image");
    ctl->lines = 0;
    r = source_list(ctl, "FindImage", filter, ret_rows);
    ctl->lines = lines;
    return r;
}

static bool is_exact(json_object *rows)
{
    return json_object_array_length(rows) > 0 &&
           row_bool(json_object_array_get_idx(rows, 0), "exact");
}

/* A domain has no path. */
static bool is_domain(json_object *rows)
{
    return json_object_array_length(rows) > 0 &&
           !row_has(json_object_array_get_idx(rows, 0), "path");
}

static int complain_of_none(const struct ctl *ctl, const char *shown, bool or_domain)
{
    const char *tool = output_tool(&ctl->output);

    if (or_domain)
        return complain(0,
                        "Neither an image nor a domain %s is known. '%s images' and '%s domains' "
                        "list those that are.",
                        shown, tool, tool),
               -ENOENT;
    return complain(0,
                    "No image %s is known. '%s images' lists those that are; a new one appears "
                    "after the next walk, or at once with '%s scan'.",
                    shown, tool, tool),
           -ENOENT;
}

/* Of those whose path ends so. */
static int take_only(const struct ctl *ctl, json_object *rows, const char *argument,
                     bool or_domain, char **ret_path)
{
    _cleanup_free_ char *shown = text_escape_string(argument);
    size_t n = json_object_array_length(rows);
    const char *path = n > 0 ? row_raw(json_object_array_get_idx(rows, 0), "path") : NULL;

    if (!shown)
        return complain(-ENOMEM, "Cannot look for an image");
    if (!path)
        return complain_of_none(ctl, shown, or_domain && !strchr(argument, '/'));
    if (n > 1) {
        (void)complain(0, "%" PRIu64 " images are called %s:",
                       row_number(json_object_array_get_idx(rows, 0), "total"), shown);
        for (size_t i = 0; i < n && i < SHOWN_MAX; i++) {
            _cleanup_free_ char *other = row_text(json_object_array_get_idx(rows, i), "path");

            (void)complain(0, "  %s", other);
        }
        return -ENOTUNIQ;
    }
    *ret_path = strdup(path);
    return *ret_path ? 0 : -ENOMEM;
}

/* The rows of what FindImage finds. *ret_path: the path of the image that has the argument's path,
 * or to which its links lead; NULL: none has. */
static int find(struct ctl *ctl, const char *argument, const char *domain, bool details,
                json_object **ret_rows, char **ret_path)
{
    _cleanup_(json_object_putp) json_object *rows = NULL, *linked = NULL;
    _cleanup_free_ char *absolute = source_absolute(ctl, argument), *real = NULL;
    int r;

    if (!absolute)
        return complain(-ENOMEM, "Cannot look for an image");
    r = ask_find(ctl, absolute, argument, domain, details, &rows);
    if (r < 0)
        return r;
    if (!ctl->host && !is_exact(rows) && !is_domain(rows)) {
        r = resolve_path(argument, &real);
        if (r == -ENOMEM || r == -ETIMEDOUT)
            return r == -ETIMEDOUT ? r : complain(r, "Cannot look for an image");
    }
    if (real && strcmp(real, absolute) != 0) {
        r = ask_find(ctl, real, NULL, NULL, details, &linked);
        if (r < 0)
            return r;
    }
    if (linked && is_exact(linked)) {
        *ret_rows = TAKE_PTR(linked);
        *ret_path = TAKE_PTR(real);
        return 0;
    }
    *ret_path = is_exact(rows) ? TAKE_PTR(absolute) : NULL;
    *ret_rows = TAKE_PTR(rows);
    return 0;
}

int source_find_image(struct ctl *ctl, const char *argument, bool or_domain, char **ret_path)
{
    _cleanup_(json_object_putp) json_object *rows = NULL;
    char *path = NULL;
    int r = find(ctl, argument, NULL, false, &rows, &path);

    if (r >= 0 && !path)
        r = take_only(ctl, rows, argument, or_domain, &path);
    if (r >= 0)
        *ret_path = path;
    return r;
}

int source_show(struct ctl *ctl, const char *argument, json_object **ret_image,
                json_object **ret_domain)
{
    /* A domain's name has no slash; and what is not UTF-8 is none. */
    const char *domain = !strchr(argument, '/') && text_is_utf8(argument, strlen(argument))
                             ? argument : NULL;
    _cleanup_(json_object_putp) json_object *rows = NULL;
    _cleanup_free_ char *path = NULL;
    json_object *shown;
    int r = find(ctl, argument, domain, true, &rows, &path);

    if (r >= 0 && !path && !is_domain(rows))
        r = take_only(ctl, rows, argument, true, &path);
    if (r < 0)
        return r;
    shown = row_member(json_object_array_get_idx(rows, 0), "shown");
    if (!shown)
        return complain(-EBADMSG, "qcauditd gave an answer that makes no sense");
    *(is_domain(rows) ? ret_domain : ret_image) = json_object_get(shown);
    return 0;
}

/* ---- order -------------------------------------------------------------------------------- */

int severity_rank(const char *severity)
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
