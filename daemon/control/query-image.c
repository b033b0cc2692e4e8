/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows of images: each image's, and the list. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "daemon/control/query-internal.h"
#include "helpers/evidence.h"
#include "helpers/hex.h"
#include "helpers/json-text.h"

/* ---- facts -------------------------------------------------------------------------------- */

void image_relation_reason(const struct query_view *view, const struct image *image,
                           struct row *row)
{
    const struct relation *relation = graph_relation(view->graph, image);
    _cleanup_free_ char *reason = graph_relation_reason(view->graph, image);

    if (!reason)
        row_result(row, "relation-reason", -ENOMEM, NULL);
    else if (relation && relation->kind != RELATION_NONE)
        row_string(row, "relation-reason", reason);
}

void image_created(const struct query_view *view, const struct image *image, struct row *row)
{
    const char *source = NULL;
    uint64_t created = graph_layer_created(view->graph, image, &source);

    if (created == 0)
        return;
    row_number(row, "created", created);
    row_string(row, "created-source", source);
}

const char *use_name(enum files_use use)
{
    switch (use) {
    case FILES_UNUSED: return "unused";
    case FILES_FROZEN: return "read-only";
    case FILES_WRITER: return "writer";
    }
    return NULL;
}

void image_findings(const struct query_view *view, const struct image *image,
                    void (*each)(void *userdata, const struct finding *finding), void *userdata)
{
    struct finding *const *findings = findings_of(view->findings, SUBJECT_IMAGE, image->path);

    for (enum finding_type type = 0; findings && type < _FINDING_MAX; type++)
        if (findings[type] && findings[type]->state != FINDING_RESOLVED)
            each(userdata, findings[type]);
}

bool finding_is_of_disk(const struct finding *finding)
{
    /* Of an internal snapshot: that is in one image alone. */
    return finding_type_is_of_disk(finding->type) &&
           !evidence_get_text(finding->evidence, TEXT_SNAPSHOT_ID);
}

void image_disk_findings(const struct query_view *view, const struct image *image,
                         void (*each)(void *userdata, const struct finding *finding),
                         void *userdata)
{
    const struct relation *relation = graph_relation(view->graph, image);
    struct finding *const *findings;

    if (!relation || !relation->own_layer || relation->own_layer == image)
        return;
    findings = findings_of(view->findings, SUBJECT_IMAGE, relation->own_layer->path);
    for (enum finding_type type = 0; findings && type < _FINDING_MAX; type++)
        if (findings[type] && findings[type]->state != FINDING_RESOLVED &&
            finding_is_of_disk(findings[type]))
            each(userdata, findings[type]);
}

struct finding_sum { uint64_t n; enum severity worst; };

static void sum_finding(void *userdata, const struct finding *finding)
{
    struct finding_sum *sum = userdata;

    sum->n++;
    if (finding->severity > sum->worst)
        sum->worst = finding->severity;
}

static void put_audit(const struct image *image, struct row *row)
{
    const struct audit *audit = image->audit;
    const struct audit_report *report = audit ? audit->report : NULL;
    const struct layer_report *layer = audit_layer_seen(audit);

    if (!audit)
        return;
    row_number(row, "audited", audit->finished);
    row_string(row, "confidence", confidence_name(audit->confidence));
    if (report && report->error != 0) {
        const char *text = audit_report_open_error(report)->text;

        row_error(row, "error", report->error);
        row_string(row, "error-text", text[0] ? text : strerror(-report->error));
    }
    if (!layer)
        return;
    row_string(row, "format", qca_format_name(layer->info.format));
    row_string(row, "variant", qca_variant_name(layer->info.variant));
    row_number(row, "virtual-size", layer->info.virtual_size);
    if (layer->checked) {
        row_number(row, "corruptions", layer->check.corruptions);
        row_number(row, "leaks", layer->check.leaks);
        row_number(row, "check-errors", layer->check.check_errors);
    }
}

static void put_relation(const struct image *image, const struct relation *relation,
                         struct row *row)
{
    if (image->parent.state != REFERENCE_NONE) {
        row_string(row, "parent-stored", image->parent.stored);
        row_string(row, "parent-state", reference_state_name(image->parent.state));
    }
    if (!relation)
        return;
    row_string(row, "parent", relation->parent ? relation->parent->path : image->parent.path);
    if (relation->kind != RELATION_NONE)
        row_string(row, "relation", relation_kind_name(relation->kind));
    row_number(row, "depth", relation->depth);
    row_number(row, "unconsolidated", relation->unconsolidated);
    row_number(row, "children", relation->n_children);
    row_bool(row, "leaf", relation->leaf);
    if (relation->golden)
        row_string(row, "golden", relation->golden_inferred ? "inferred" : "policy");
    if (relation->in_loop || relation->above_loop)
        row_bool(row, "loop", true);
}

int image_row(const struct query_view *view, const struct image *image, struct row *row)
{
    struct finding_sum sum = { .n = 0 };

    row_string(row, "path", image->path);
    row_string(row, "datastore", image->datastore ? image->datastore->name : NULL);
    row_bool(row, "present", image->present);
    row_number(row, "size", image->fingerprint.size);
    row_number(row, "allocated", image->fingerprint.allocated);
    row_string(row, "use", use_name(image->use));
    put_audit(image, row);
    put_relation(image, graph_relation(view->graph, image), row);
    (void)image_role(view, image, false, row);
    image_domain(view, image, row);
    image_findings(view, image, sum_finding, &sum);
    row_number(row, "findings", sum.n);
    if (sum.n > 0)
        row_string(row, "severity", severity_name(sum.worst));
    return row->error;
}

/* ---- the list ----------------------------------------------------------------------------- */

/* A cursor is the last row's path in hexadecimal: paths need not be UTF-8. */
static char *cursor_new(const char *path)
{
    size_t n = strlen(path);
    char *cursor = malloc(2 * n + 1);

    if (cursor)
        hex_encode((const uint8_t *)path, n, cursor);
    return cursor;
}

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static int cursor_path(const char *cursor, char **ret_path)
{
    size_t n = strlen(cursor);
    _cleanup_free_ char *path = NULL;

    if (n % 2 != 0 || n > 2 * PATH_MAX)
        return -EINVAL;
    path = malloc(n / 2 + 1);
    if (!path)
        return -ENOMEM;
    for (size_t i = 0; i < n / 2; i++) {
        int high = digit_value(cursor[2 * i]), low = digit_value(cursor[2 * i + 1]);

        if (high < 0 || low < 0 || (high == 0 && low == 0))
            return -EINVAL;
        path[i] = (char)(high << 4 | low);
    }
    path[n / 2] = '\0';
    *ret_path = TAKE_PTR(path);
    return 0;
}

/* Index of the first image at or behind path. */
static size_t lower_bound(const struct query_view *view, const char *path)
{
    size_t low = 0, high = view->n_images;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(view->images[middle]->path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct image *view_find_image(const struct query_view *view, const char *path)
{
    size_t i = lower_bound(view, path);

    return i < view->n_images && strcmp(view->images[i]->path, path) == 0 ? view->images[i] : NULL;
}

struct image *view_find_called(const struct query_view *view, const char *path)
{
    struct image *image = view_find_image(view, path);

    if (!image && view->find_name) {
        image = view->find_name(view->find_userdata, path);
        if (image && !image->listed)
            image = NULL;       /* not one that is shown */
    }
    return image;
}

static bool ends_like(const char *path, const char *end)
{
    size_t n = strlen(path), k = strlen(end);

    return n > k && path[n - k - 1] == '/' && strcmp(path + n - k, end) == 0;
}

static int find_exact(const struct query_view *view, const char *path, json_object *rows)
{
    struct row row;

    if (!view_find_called(view, path))
        return 0;
    row_begin(&row);
    row_string(&row, "path", path);
    row_bool(&row, "exact", true);
    return rows_end(rows, &row);
}

static int find_ends(const struct query_view *view, const char *end, unsigned limit,
                     json_object *rows)
{
    uint64_t total = 0;
    int r = 0;

    for (size_t i = 0; i < view->n_images; i++)
        total += ends_like(view->images[i]->path, end);
    for (size_t i = 0; i < view->n_images && r >= 0; i++) {
        struct row row;

        if (!ends_like(view->images[i]->path, end) ||
            (limit > 0 && json_object_array_length(rows) >= limit))
            continue;
        row_begin(&row);
        row_string(&row, "path", view->images[i]->path);
        row_number(&row, "total", total);
        r = rows_end(rows, &row);
    }
    return r;
}

/* 1: there is one. */
static int find_domain(const struct query_view *view, const char *name, json_object *rows)
{
    json_object *entry = NULL;
    struct row row;
    int r = query_domain(view, &(struct asked){ .name = name }, &entry, NULL);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    row_begin(&row);
    row_json(&row, "shown", entry);
    r = rows_end(rows, &row);
    return r < 0 ? r : 1;
}

static int add_details(const struct query_view *view, json_object *row)
{
    const char *path = json_object_get_string(json_object_object_get(row, "path"));
    json_object *entry = NULL;
    int r = query_image(view, &(struct asked){ .path = path }, &entry, NULL);

    return r < 0 ? r : json_add(row, "shown", entry);
}

int query_find(const struct query_view *view, const struct asked *asked, json_object **ret_rows,
               char **ret_next)
{
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();
    const char *path = filter_string(asked->filter, "path"),
               *end = filter_string(asked->filter, "end");
    int r = rows ? 0 : -ENOMEM;

    if (r >= 0 && filter_string(asked->filter, "domain"))
        r = find_domain(view, filter_string(asked->filter, "domain"), rows);
    if (r > 0) {
        *ret_rows = TAKE_PTR(rows);
        return 0;
    }
    if (r >= 0 && path)
        r = find_exact(view, path, rows);
    if (r >= 0 && end && json_object_array_length(rows) == 0)
        r = find_ends(view, end, asked->limit, rows);
    if (r >= 0 && filter_bool(asked->filter, "details") && json_object_array_length(rows) == 1)
        r = add_details(view, json_object_array_get_idx(rows, 0));
    if (r >= 0)
        *ret_rows = TAKE_PTR(rows);
    return r;
}

struct image_filter {
    const char *path, *datastore, *format, *domain, *pool;
    bool findings, orphan, baseline;
};

static bool any_name_matches(const char *path, const struct image *image)
{
    const struct image_name *name;

    LIST_FOREACH(name, &image->names, link)
        if (path_is_below(name->path, path))
            return true;
    return path_is_below(image->path, path);
}

static bool image_filter_takes(const struct query_view *view, const struct image_filter *filter,
                               const struct image *image)
{
    const struct layer_report *layer = audit_layer_seen(image->audit);
    struct finding_sum sum = { .n = 0 };

    if (filter->path && !any_name_matches(filter->path, image))
        return false;
    if (filter->datastore &&
        (!image->datastore || strcmp(filter->datastore, image->datastore->name) != 0))
        return false;
    if (filter->format &&
        (!layer || strcmp(filter->format, qca_format_name(layer->info.format)) != 0))
        return false;
    if (filter->baseline && !image->baseline)
        return false;
    if (filter->pool && !path_is_below(image->path, filter->pool))
        return false;
    if (filter->domain && !image_is_of_domain(view, image, filter->domain))
        return false;
    if (filter->orphan && !graph_is_unused(view->graph, image))
        return false;
    if (!filter->findings)
        return true;
    image_findings(view, image, sum_finding, &sum);
    return sum.n > 0;
}

static int add_image_row(const struct query_view *view, const struct image *image, bool baseline,
                         json_object *rows)
{
    struct row row;

    row_begin(&row);
    (void)image_row(view, image, &row);
    if (baseline) {
        json_object *value = NULL;
        int r = baseline_row(image->baseline, &value);

        row_result(&row, "baseline", r, value);
    }
    return rows_end(rows, &row);
}

int query_images(const struct query_view *view, const struct asked *asked, json_object **ret_rows,
                 char **ret_next)
{
    json_object *filter = asked->filter;
    struct image_filter wanted = {
        .path = filter_string(filter, "path"),
        .datastore = filter_string(filter, "datastore"),
        .format = filter_string(filter, "format"),
        .findings = filter_bool(filter, "findings"),
        .baseline = filter_bool(filter, "baseline"),
        .domain = filter_string(filter, "domain"),
        .orphan = filter_bool(filter, "orphan"),
    };
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();
    _cleanup_free_ char *next = NULL, *last = NULL;
    size_t i = 0;
    int r;

    if (!rows)
        return -ENOMEM;
    if (wanted.format && qca_format_from_name(wanted.format) == QCA_FORMAT_UNKNOWN)
        return -EINVAL;
    if (filter_string(filter, "pool")) {
        r = view_pool_path(view, filter_string(filter, "pool"), &wanted.pool);
        if (r < 0)
            return r;
    }
    if (wanted.domain && !domain_is_there(view, wanted.domain))
        return -ENOENT;
    if (asked->cursor && *asked->cursor) {
        r = cursor_path(asked->cursor, &last);
        if (r < 0)
            return r;
        i = lower_bound(view, last);
        if (i < view->n_images && strcmp(view->images[i]->path, last) == 0)
            i++;
    }
    for (const struct image *shown = NULL; i < view->n_images; i++) {
        if (!image_filter_takes(view, &wanted, view->images[i]))
            continue;
        if (asked->limit > 0 && json_object_array_length(rows) >= asked->limit) {
            next = cursor_new(shown->path);
            break;
        }
        r = add_image_row(view, view->images[i], wanted.baseline, rows);
        if (r < 0)
            return r;
        shown = view->images[i];
    }
    if (i == view->n_images)
        next = strdup("");
    if (!next)
        return -ENOMEM;
    *ret_rows = TAKE_PTR(rows);
    *ret_next = TAKE_PTR(next);
    return 0;
}
