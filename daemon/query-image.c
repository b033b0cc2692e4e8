/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the control interface shows of images: the list, and all that is known of one. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "daemon/query-internal.h"

#define LISTED_MAX 1000         /* snapshots, bitmaps, children, issues of one image */

/* ---- facts -------------------------------------------------------------------------------- */

static const struct layer_report *image_layer(const struct image *image)
{
    const struct audit_report *report = image->audit ? image->audit->report : NULL;

    return report && report->n_layers > 0 ? &report->layers[0] : NULL;
}

const struct qca_image_info *image_info(const struct image *image)
{
    const struct layer_report *layer = image_layer(image);

    return layer ? &layer->info : NULL;
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

static const char *use_name(enum files_use use)
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
           !json_object_object_get_ex(finding->evidence, "snapshot-id", NULL);
}

void image_disk_findings(const struct query_view *view, const struct image *image,
                         void (*each)(void *userdata, const struct finding *finding), void *userdata)
{
    const struct relation *relation = graph_relation(view->graph, image);
    struct finding *const *findings;

    if (!relation || !relation->own_layer || relation->own_layer == image)
        return;
    findings = findings_of(view->findings, SUBJECT_IMAGE, relation->own_layer->path);
    for (enum finding_type type = 0; findings && type < _FINDING_MAX; type++)
        if (findings[type] && findings[type]->state != FINDING_RESOLVED && finding_is_of_disk(findings[type]))
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
    const struct layer_report *layer = image_layer(image);

    if (!audit)
        return;
    row_number(row, "audited", audit->finished);
    row_string(row, "confidence", confidence_name(audit->confidence));
    if (report && report->error != 0) {
        row_error(row, "error", report->error);
        row_string(row, "error-text", report->open_error.text[0] ? report->open_error.text
                                                                 : strerror(-report->error));
    }
    if (!layer)
        return;
    row_string(row, "format", qca_format_name(layer->info.format));
    row_number(row, "virtual-size", layer->info.virtual_size);
    if (layer->checked) {
        row_number(row, "corruptions", layer->check.corruptions);
        row_number(row, "leaks", layer->check.leaks);
        row_number(row, "check-errors", layer->check.check_errors);
    }
}

static void put_relation(const struct image *image, const struct relation *relation, struct row *row)
{
    if (image->parent.state != REFERENCE_NONE) {
        row_string(row, "parent-stored", image->parent.stored);
        row_string(row, "parent-state", reference_state_name(image->parent.state));
    }
    if (!relation)
        return;
    row_string(row, "parent", relation->parent ? relation->parent->path : image->parent.path);
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

    for (size_t i = 0; cursor && i < n; i++) {
        cursor[2 * i] = "0123456789abcdef"[(unsigned char)path[i] >> 4];
        cursor[2 * i + 1] = "0123456789abcdef"[(unsigned char)path[i] & 15];
    }
    if (cursor)
        cursor[2 * n] = '\0';
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

struct image_filter {
    const char *path, *datastore, *format;
    bool findings;
};

static bool image_filter_takes(const struct query_view *view, const struct image_filter *filter,
                               const struct image *image)
{
    const struct qca_image_info *info = image_info(image);
    struct finding_sum sum = { .n = 0 };

    if (filter->path && !path_matches(filter->path, image->path))
        return false;
    if (filter->datastore && (!image->datastore || strcmp(filter->datastore, image->datastore->name) != 0))
        return false;
    if (filter->format && (!info || strcmp(filter->format, qca_format_name(info->format)) != 0))
        return false;
    if (!filter->findings)
        return true;
    image_findings(view, image, sum_finding, &sum);
    return sum.n > 0;
}

static int add_image_row(const struct query_view *view, const struct image *image, json_object *rows)
{
    json_object *object;
    struct row row;
    int r;

    row_begin(&row);
    (void)image_row(view, image, &row);
    r = row_end(&row, &object);
    return r < 0 ? r : rows_add(rows, object);
}

int query_images(const struct query_view *view, json_object *filter, const char *cursor, unsigned limit,
                 json_object **ret_rows, char **ret_next)
{
    const struct image_filter wanted = {
        .path = filter_string(filter, "path"),
        .datastore = filter_string(filter, "datastore"),
        .format = filter_string(filter, "format"),
        .findings = filter_bool(filter, "findings"),
    };
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();
    _cleanup_free_ char *next = NULL, *last = NULL;
    size_t i = 0;
    int r;

    if (!rows)
        return -ENOMEM;
    if (wanted.format && qca_format_from_name(wanted.format) == QCA_FORMAT_UNKNOWN)
        return -EINVAL;
    if (cursor && *cursor) {
        r = cursor_path(cursor, &last);
        if (r < 0)
            return r;
        i = lower_bound(view, last);
        if (i < view->n_images && strcmp(view->images[i]->path, last) == 0)
            i++;
    }
    for (const struct image *shown = NULL; i < view->n_images; i++) {
        if (!image_filter_takes(view, &wanted, view->images[i]))
            continue;
        if (limit > 0 && json_object_array_length(rows) >= limit) {
            next = cursor_new(shown->path);
            break;
        }
        r = add_image_row(view, view->images[i], rows);
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

/* ---- all of one --------------------------------------------------------------------------- */

static int features_row(const struct qca_image_info *info, json_object **ret_array)
{
    static const struct { uint64_t bit; const char *name; } incompatible[] = {
        {QCA_INCOMPAT_DIRTY, "dirty"}, {QCA_INCOMPAT_CORRUPT, "corrupt"}, {QCA_INCOMPAT_DATA_FILE, "data-file"},
        {QCA_INCOMPAT_COMPRESSION, "compression-type"}, {QCA_INCOMPAT_EXTENDED_L2, "extended-l2"},
    };
    _cleanup_(json_object_putp) json_object *array = json_object_new_array();
    int r = array ? 0 : -ENOMEM;

    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(incompatible); i++)
        if (info->incompatible_features & incompatible[i].bit)
            r = rows_add(array, json_object_new_string(incompatible[i].name));
    if (r >= 0 && info->compatible_features & QCA_COMPAT_LAZY_REFCOUNTS)
        r = rows_add(array, json_object_new_string("lazy-refcounts"));
    if (r >= 0 && info->autoclear_features & QCA_AUTOCLEAR_BITMAPS)
        r = rows_add(array, json_object_new_string("bitmaps"));
    if (r >= 0 && info->autoclear_features & QCA_AUTOCLEAR_DATA_FILE_RAW)
        r = rows_add(array, json_object_new_string("data-file-raw"));
    if (r < 0)
        return r;
    *ret_array = TAKE_PTR(array);
    return 0;
}

static int header_row(const struct qca_image_info *info, json_object **ret_row)
{
    static const char *const crypt[] = {
        [QCA_CRYPT_NONE] = NULL, [QCA_CRYPT_AES] = "aes", [QCA_CRYPT_LUKS] = "luks",
    };
    json_object *features = NULL;
    struct row row;
    int r;

    row_begin(&row);
    row_number(&row, "version", info->version);
    row_number(&row, "cluster-size", info->cluster_size);
    row_number(&row, "refcount-bits", info->refcount_bits);
    row_number(&row, "l1-entries", info->l1_entries);
    row_string(&row, "compression", info->compression_type == 0 ? "zlib" : "zstd");
    row_string(&row, "encryption", crypt[info->crypt_method]);
    row_string(&row, "parent-format", info->parent_format);
    row_string(&row, "data-file-stored", info->data_file);
    r = features_row(info, &features);
    row_result(&row, "features", r, features);
    return row_end(&row, ret_row);
}

static int issue_row(const struct qca_issue *issue, json_object **ret_row)
{
    struct row row;

    row_begin(&row);
    row_string(&row, "kind", qca_issue_kind_name(issue->kind));
    row_string(&row, "table", qca_table_name(issue->table));
    if (issue->snapshot != QCA_ACTIVE)
        row_number(&row, "snapshot", issue->snapshot);
    row_number(&row, "index", issue->index);
    if (issue->table_offset != QCA_NO_OFFSET)
        row_number(&row, "table-offset", issue->table_offset);
    if (issue->host_offset != QCA_NO_OFFSET) {
        row_number(&row, "host-offset", issue->host_offset);
        row_number(&row, "host-length", issue->host_length);
    }
    if (issue->guest_offset != QCA_NO_OFFSET) {
        row_number(&row, "guest-offset", issue->guest_offset);
        row_number(&row, "guest-length", issue->guest_length);
    }
    row_number(&row, "stored", issue->stored);
    row_number(&row, "counted", issue->counted);
    row_number(&row, "count", issue->count);
    return row_end(&row, ret_row);
}

static int issues_rows(const struct qca_check_result *check, json_object **ret_rows)
{
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();

    if (!rows)
        return -ENOMEM;
    for (size_t i = 0; i < check->n_issues && i < LISTED_MAX; i++) {
        json_object *row;
        int r = issue_row(&check->issues[i], &row);

        if (r >= 0)
            r = rows_add(rows, row);
        if (r < 0)
            return r;
    }
    *ret_rows = TAKE_PTR(rows);
    return 0;
}

static int check_row(const struct qca_check_result *check, json_object **ret_row)
{
    json_object *issues = NULL;
    struct row row;
    int r;

    row_begin(&row);
    row_bool(&row, "finished", check->finished);
    if (!check->finished)
        row_string(&row, "error-text", check->error.text);
    row_number(&row, "corruptions", check->corruptions);
    row_number(&row, "leaks", check->leaks);
    row_number(&row, "check-errors", check->check_errors);
    row_number(&row, "image-end-offset", check->image_end_offset);
    row_number(&row, "total-clusters", check->total_clusters);
    row_number(&row, "allocated-clusters", check->allocated_clusters);
    row_number(&row, "compressed-clusters", check->compressed_clusters);
    row_number(&row, "fragmented-clusters", check->fragmented_clusters);
    r = issues_rows(check, &issues);
    row_result(&row, "issues", r, issues);
    return row_end(&row, ret_row);
}

static int snapshots_rows(const struct qca_image_info *info, json_object **ret_rows)
{
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();

    if (!rows)
        return -ENOMEM;
    for (size_t i = 0; i < info->n_snapshots && i < LISTED_MAX; i++) {
        const struct qca_snapshot *snapshot = &info->snapshots[i];
        json_object *object;
        struct row row;
        int r;

        row_begin(&row);
        row_string(&row, "id", snapshot->id);
        row_string(&row, "name", snapshot->name);
        if (snapshot->date_sec > 0 && (uint64_t)snapshot->date_sec < UINT64_MAX / USEC_PER_SEC - 1)
            row_number(&row, "date", (uint64_t)snapshot->date_sec * USEC_PER_SEC + snapshot->date_nsec / 1000);
        row_number(&row, "vm-state-size", snapshot->vm_state_size);
        row_number(&row, "virtual-size", snapshot->virtual_size);
        r = row_end(&row, &object);
        if (r >= 0)
            r = rows_add(rows, object);
        if (r < 0)
            return r;
    }
    *ret_rows = TAKE_PTR(rows);
    return 0;
}

static int bitmaps_rows(const struct qca_image_info *info, json_object **ret_rows)
{
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();

    if (!rows)
        return -ENOMEM;
    for (size_t i = 0; i < info->n_bitmaps && i < LISTED_MAX; i++) {
        const struct qca_bitmap *bitmap = &info->bitmaps[i];
        json_object *object;
        struct row row;
        int r;

        row_begin(&row);
        row_string(&row, "name", bitmap->name);
        row_bool(&row, "in-use", bitmap->flags & QCA_BITMAP_IN_USE);
        row_number(&row, "granularity", UINT64_C(1) << (bitmap->granularity_bits & 63));
        r = row_end(&row, &object);
        if (r >= 0)
            r = rows_add(rows, object);
        if (r < 0)
            return r;
    }
    *ret_rows = TAKE_PTR(rows);
    return 0;
}

static int audit_row(const struct audit *audit, json_object **ret_row)
{
    struct row row;

    row_begin(&row);
    row_number(&row, "started", audit->started);
    row_number(&row, "finished", audit->finished);
    row_string(&row, "confidence", confidence_name(audit->confidence));
    row_string(&row, "use", use_name(audit->use));
    if (audit->report) {
        row_error(&row, "error", audit->report->error);
        row_string(&row, "error-kind", audit->report->error != 0
                                           ? qca_error_kind_name(audit->report->open_error.kind) : NULL);
        if (audit->report->worker_signal != 0)
            row_number(&row, "worker-signal", (uint64_t)audit->report->worker_signal);
        row_number(&row, "bytes-read", audit->report->bytes_read);
        row_number(&row, "elapsed", audit->report->elapsed_usec);
        row_number(&row, "cpu", audit->report->cpu_usec);
        row_number(&row, "peak-memory", audit->report->peak_memory);
    }
    return row_end(&row, ret_row);
}

static int children_paths(const struct relation *relation, json_object **ret_array)
{
    _cleanup_(json_object_putp) json_object *array = json_object_new_array();
    int r = array ? 0 : -ENOMEM;

    for (size_t i = 0; r >= 0 && i < relation->n_children && i < LISTED_MAX; i++)
        r = rows_add(array, json_object_new_string(relation->children[i]->path));
    if (r < 0)
        return r;
    *ret_array = TAKE_PTR(array);
    return 0;
}

struct finding_list { json_object *rows; int error; };

static void list_finding(void *userdata, const struct finding *finding)
{
    struct finding_list *list = userdata;
    json_object *row;
    int r = finding_row(finding, true, &row);

    if (r >= 0)
        r = rows_add(list->rows, row);
    if (r < 0 && list->error == 0)
        list->error = r;
}

static void put_stat(const struct image *image, struct row *row)
{
    row_number(row, "mtime", (uint64_t)image->fingerprint.mtime / 1000);
    row_number(row, "mode", image->fingerprint.mode & 07777);
    row_number(row, "uid", image->fingerprint.uid);
    row_number(row, "gid", image->fingerprint.gid);
    row_number(row, "links", image->fingerprint.links);
    row_number(row, "first-seen", image->first_seen);
    row_number(row, "last-seen", image->last_seen);
}

static void put_place(const struct query_view *view, const struct image *image, struct row *row)
{
    const struct relation *relation = graph_relation(view->graph, image);
    json_object *children = NULL;
    int r;

    if (!relation)
        return;
    row_string(row, "own-layer", relation->own_layer ? relation->own_layer->path : NULL);
    if (relation->deepest_leaf && relation->deepest_leaf != image) {
        row_string(row, "deepest-leaf", relation->deepest_leaf->path);
        row_number(row, "leaves", relation->n_leaves);
        row_number(row, "layers-above", graph_relation(view->graph, relation->deepest_leaf)->unconsolidated);
    }
    row_string(row, "golden-layer", relation->golden_layer ? relation->golden_layer->path : NULL);
    row_string(row, "base", relation->base ? relation->base->path : NULL);
    r = children_paths(relation, &children);
    row_result(row, "children-paths", r, children);
}

static void put_contents(const struct layer_report *layer, struct row *row)
{
    json_object *value = NULL;
    int r = header_row(&layer->info, &value);

    row_result(row, "header", r, value);
    if (layer->checked) {
        r = check_row(&layer->check, &value);
        row_result(row, "check", r, value);
    }
    r = snapshots_rows(&layer->info, &value);
    row_result(row, "snapshots", r, value);
    r = bitmaps_rows(&layer->info, &value);
    row_result(row, "bitmaps", r, value);
}

int query_image(const struct query_view *view, const char *path, json_object **ret_entry)
{
    const struct image *image = view_find_image(view, path);
    struct finding_list list = { .rows = json_object_new_array() };
    json_object *value = NULL;
    struct row row;

    if (!image || !list.rows) {
        json_object_put(list.rows);
        return image ? -ENOMEM : -ENOENT;
    }
    row_begin(&row);
    (void)image_row(view, image, &row);
    put_stat(image, &row);
    image_created(view, image, &row);
    put_place(view, image, &row);
    if (image_layer(image))
        put_contents(image_layer(image), &row);
    if (image->audit) {
        int r = audit_row(image->audit, &value);
        row_result(&row, "audit", r, value);
    }
    image_findings(view, image, list_finding, &list);
    image_disk_findings(view, image, list_finding, &list);
    if (list.error < 0)
        json_object_put(TAKE_PTR(list.rows));
    row_result(&row, "findings-list", list.error, list.rows);
    return row_end(&row, ret_entry);
}
