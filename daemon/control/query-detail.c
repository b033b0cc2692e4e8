/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All that the control interface shows of one image: header, check, snapshots, bitmaps, audit,
 * place in the graph. */
#include <errno.h>
#include <string.h>

#include "daemon/control/query-internal.h"
#include "helpers/clock.h"

#define LISTED_MAX 1000         /* snapshots, bitmaps, children, issues of one image */

static int features_row(const struct qca_image_info *info, json_object **ret_array)
{
    static const struct { uint64_t bit; const char *name; } incompatible[] = {
        {QCA_INCOMPAT_DIRTY, "dirty"}, {QCA_INCOMPAT_CORRUPT, "corrupt"},
        {QCA_INCOMPAT_DATA_FILE, "data-file"},
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
    row_fields(&row, report_fields_of_info(), info, JSON_KEYS("version", "cluster-size"));
    if (qca_format_has(info->format, QCA_TRAIT_REFCOUNTS)) {
        row_fields(&row, report_fields_of_info(), info, JSON_KEYS("refcount-bits", "l1-entries"));
        row_string(&row, "compression", info->compression_type == 0 ? "zlib" : "zstd");
    }
    if (info->n_extents > 0)
        row_number(&row, "extents", info->n_extents);
    row_string(&row, "encryption", crypt[info->crypt_method]);
    row_fields(&row, report_fields_of_info(), info, JSON_KEYS("parent-format"));
    row_string(&row, "data-file-stored", info->data_file);
    r = features_row(info, &features);
    row_result(&row, "features", r, features);
    return row_end(&row, ret_row);
}

static int add_issue(json_object *rows, const struct qca_issue *issue)
{
    struct row row;

    row_begin(&row);
    row_fields(&row, report_fields_of_issue(), issue,
               JSON_KEYS("kind", "table", "snapshot", "index", "table-offset", "host-offset",
                         "host-length", "guest-offset", "guest-length", "stored", "counted",
                         "count"));
    return rows_end(rows, &row);
}

static int issues_rows(const struct qca_check_result *check, json_object **ret_rows)
{
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();

    if (!rows)
        return -ENOMEM;
    for (size_t i = 0; i < check->n_issues && i < LISTED_MAX; i++) {
        int r = add_issue(rows, &check->issues[i]);

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
    row_fields(&row, report_fields_of_check(), check, JSON_KEYS("finished"));
    if (!check->finished)
        row_string(&row, "error-text", qca_check_error(check)->text);
    row_fields(&row, report_fields_of_check(), check,
               JSON_KEYS("corruptions", "leaks", "check-errors", "image-end-offset",
                         "total-clusters", "allocated-clusters", "compressed-clusters",
                         "fragmented-clusters"));
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
        struct row row;
        int r;

        row_begin(&row);
        row_fields(&row, report_fields_of_snapshot(), snapshot, JSON_KEYS("id", "name"));
        if (snapshot->date_sec > 0 && (uint64_t)snapshot->date_sec < UINT64_MAX / USEC_PER_SEC - 1)
            row_number(&row, "date",
                       (uint64_t)snapshot->date_sec * USEC_PER_SEC + snapshot->date_nsec / 1000);
        row_fields(&row, report_fields_of_snapshot(), snapshot,
                   JSON_KEYS("vm-state-size", "virtual-size"));
        r = rows_end(rows, &row);
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
        struct row row;
        int r;

        row_begin(&row);
        row_string(&row, "name", bitmap->name);
        row_bool(&row, "in-use", bitmap->flags & QCA_BITMAP_IN_USE);
        row_number(&row, "granularity", UINT64_C(1) << (bitmap->granularity_bits & 63));
        r = rows_end(rows, &row);
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
        enum qca_error_kind kind = audit_report_open_error(audit->report)->kind;

        row_error(&row, "error", audit->report->error);
        row_string(&row, "error-kind",
                   audit->report->error != 0 ? qca_error_kind_name(kind) : NULL);
        if (audit->report->worker_signal != 0)
            row_number(&row, "worker-signal", (uint64_t)audit->report->worker_signal);
        row_number(&row, "bytes-read", audit->report->bytes_read);
        if (audit->report->reading != REPORT_READING_ORDINARY)
            row_string(&row, "reading", report_reading_name(audit->report->reading));
        row_number(&row, "elapsed", audit->report->elapsed_usec);
        row_number(&row, "cpu", audit->report->cpu_usec);
        row_number(&row, "peak-memory", audit->report->peak_memory);
    }
    return row_end(&row, ret_row);
}

static int children_paths(const struct image *image, json_object **ret_array)
{
    const struct image *child;
    _cleanup_(json_object_putp) json_object *array = json_object_new_array();
    int r = array ? 0 : -ENOMEM;

    for (size_t i = 0; r >= 0 && i < LISTED_MAX && (child = graph_child(image, i)); i++)
        r = rows_add(array, json_object_new_string(child->path));
    if (r < 0)
        return r;
    *ret_array = TAKE_PTR(array);
    return 0;
}

static int names_array(const struct image *image, json_object **ret_array)
{
    _cleanup_(json_object_putp) json_object *array = json_object_new_array();
    const struct image_name *name;
    size_t n = 0;
    int r = array ? 0 : -ENOMEM;

    LIST_FOREACH(name, &image->names, link)
        if (r >= 0 && n++ < LISTED_MAX)
            r = rows_add(array, json_object_new_string(name->path));
    if (r < 0)
        return r;
    *ret_array = TAKE_PTR(array);
    return 0;
}

struct finding_rows { const struct query_view *view; json_object *rows; int error; };

static void list_finding(void *userdata, const struct finding *finding)
{
    struct finding_rows *list = userdata;
    json_object *row;
    int r = finding_row(list->view, finding, true, &row);

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
    image_relation_reason(view, image, row);
    row_string(row, "own-layer", relation->own_layer ? relation->own_layer->path : NULL);
    if (relation->deepest_leaf && relation->deepest_leaf != image) {
        row_string(row, "deepest-leaf", relation->deepest_leaf->path);
        row_number(row, "leaves", relation->n_leaves);
        row_number(row, "layers-above",
                   graph_relation(view->graph, relation->deepest_leaf)->unconsolidated);
    }
    row_string(row, "golden-layer", relation->golden_layer ? relation->golden_layer->path : NULL);
    row_string(row, "base", relation->base ? relation->base->path : NULL);
    r = children_paths(image, &children);
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

int query_image(const struct query_view *view, const struct asked *asked, json_object **ret_entry,
                char **ret_next)
{
    const struct image *image = view_find_called(view, asked->path);
    struct finding_rows list = { .view = view, .rows = json_object_new_array() };
    json_object *value = NULL;
    struct row row;
    int r;

    if (!image || !list.rows) {
        json_object_put(list.rows);
        return image ? -ENOMEM : -ENOENT;
    }
    row_begin(&row);
    (void)image_row(view, image, &row);
    put_stat(image, &row);
    image_created(view, image, &row);
    (void)image_role(view, image, true, &row);
    r = image_users(view, image, &value);
    row_result(&row, "users", r, value);
    put_place(view, image, &row);
    if (!LIST_EMPTY(&image->names)) {
        r = names_array(image, &value);
        row_result(&row, "names", r, value);
    }
    if (audit_layer_seen(image->audit))
        put_contents(audit_layer_seen(image->audit), &row);
    if (image->audit) {
        r = audit_row(image->audit, &value);
        row_result(&row, "audit", r, value);
    }
    if (image->baseline) {
        r = baseline_row(image->baseline, &value);
        row_result(&row, "baseline", r, value);
    }
    image_findings(view, image, list_finding, &list);
    image_disk_findings(view, image, list_finding, &list);
    if (list.error < 0)
        json_object_put(TAKE_PTR(list.rows));
    row_result(&row, "findings-list", list.error, list.rows);
    return row_end(&row, ret_entry);
}
