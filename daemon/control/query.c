/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows of the whole: status, datastores, findings. */
#include "daemon/control/query.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/query-internal.h"
#include "helpers/evidence.h"

#define WORST_MAX 5
#define DETAILS_MAX 100

/* ---- findings ----------------------------------------------------------------------------- */

/* The evidence's one sentence; the title where it has none. */
static json_object *finding_summary(const struct finding *finding)
{
    const char *summary = evidence_get_text(finding->evidence, TEXT_SUMMARY);

    return json_object_new_string(summary ?: finding_definition(finding->type)->title);
}

/* One step: a text without a number. */
static int remedy_note(const char *text, json_object **ret_remedy)
{
    json_object *remedy = json_object_new_array();
    struct row row;
    json_object *step = NULL;
    int r;

    row_begin(&row);
    row_string(&row, "note", text);
    r = remedy ? row_end(&row, &step) : -ENOMEM;
    if (r >= 0 && json_object_array_add(remedy, step) < 0) {
        json_object_put(step);
        r = -ENOMEM;
    }
    if (r < 0)
        json_object_put(remedy);
    else
        *ret_remedy = remedy;
    return r;
}

static int finding_remedy(const struct query_view *view, const struct finding *finding,
                          json_object **ret_remedy)
{
    json_object *remedy = NULL;
    int r = 0;

    if (view->remedy && finding->state != FINDING_RESOLVED)
        r = view->remedy(view->remedy_userdata, finding, &remedy);
    else
        remedy = json_object_get(finding->remedy);
    /* The catalogue's general remedy is all there is to say. */
    if (r >= 0 && !remedy && finding->state != FINDING_RESOLVED)
        r = remedy_note(finding_definition(finding->type)->remedy, &remedy);
    if (r >= 0)
        *ret_remedy = remedy;
    return r;
}

int finding_row(const struct query_view *view, const struct finding *finding, bool details,
                json_object **ret_row)
{
    const struct finding_definition *definition = finding_definition(finding->type);
    json_object *remedy = NULL;
    struct row row;

    row_begin(&row);
    row_json(&row, "id", json_object_new_int64(finding->id));
    row_string(&row, "name", definition->name);
    row_string(&row, "title", definition->title);
    row_string(&row, "severity", severity_name(finding->severity));
    row_string(&row, "confidence", confidence_name(finding->confidence));
    row_string(&row, "state", finding_state_name(finding->state));
    row_string(&row, "subject-kind", subject_kind_name(finding->subject_kind));
    row_string(&row, "subject", finding->subject);
    if (finding->subject_kind == SUBJECT_IMAGE)
        row_string(&row, "path", finding->subject);
    if (finding_is_of_disk(finding))
        row_bool(&row, "disk", true);
    row_string(&row, "datastore", finding->datastore);
    row_number(&row, "first-seen", finding->first_seen);
    row_number(&row, "last-seen", finding->last_seen);
    row_number(&row, "changed", finding->changed);
    row_number(&row, "resolved", finding->resolved);
    row_number(&row, "count", finding->count);
    row_number(&row, "weight", finding->weight);
    if (finding->state == FINDING_ACKNOWLEDGED) {
        row_string(&row, "acknowledged-by", finding->acknowledged_by);
        row_string(&row, "acknowledged-reason", finding->acknowledged_reason);
        row_number(&row, "acknowledged-until", finding->acknowledged_until);
    }
    finding_mute(view, finding, &row);
    row_json(&row, "summary", finding_summary(finding));
    if (details && finding->evidence)
        row_json(&row, "evidence", json_object_get(finding->evidence));
    if (details) {
        int r = finding_remedy(view, finding, &remedy);

        if (r < 0 || remedy)
            row_result(&row, "remedy", r, remedy);
    }
    return row_end(&row, ret_row);
}

int query_finding_entry(const struct query_view *view, const struct finding *finding,
                        json_object **ret_entry)
{
    return finding_row(view, finding, true, ret_entry);
}

int query_finding(const struct query_view *view, const struct asked *asked, json_object **ret_entry,
                  char **ret_next)
{
    const struct finding *finding = findings_by_id(view->findings, asked->id);

    return finding ? finding_row(view, finding, true, ret_entry) : -ENOENT;
}

/* A filter's conditions, and the page that is being filled. */
struct finding_page {
    const struct query_view *view;
    int severity;               /* and above; -1 any */
    int type;                   /* -1 any */
    const char *path, *datastore;
    const char *own_layer;      /* of the disk that path is a layer of, NULL when it is none */
    unsigned states;            /* a bit per enum finding_state */
    bool details;
    unsigned limit;
    int64_t last;               /* id of the last row */
    json_object *rows;
};

static int finding_states(const char *name, unsigned *ret_states)
{
    if (!name || strcmp(name, "unresolved") == 0)
        *ret_states = 1u << FINDING_OPEN | 1u << FINDING_ACKNOWLEDGED;
    else if (strcmp(name, "all") == 0)
        *ret_states = (1u << _FINDING_STATE_MAX) - 1;
    else {
        enum finding_state state = 0;

        while (state < _FINDING_STATE_MAX && strcmp(finding_state_name(state), name) != 0)
            state++;
        if (state == _FINDING_STATE_MAX)
            return -EINVAL;
        *ret_states = 1u << state;
    }
    return 0;
}

static int finding_page_filter(struct finding_page *page, const struct query_view *view,
                               json_object *filter)
{
    const struct image *image;
    const struct relation *relation;

    const char *severity = filter_string(filter, "severity"), *name = filter_string(filter, "name");

    page->severity = severity ? severity_from_name(severity) : -1;
    page->type = name ? finding_type_from_name(name) : -1;
    if ((severity && page->severity < 0) || (name && page->type < 0))
        return -EINVAL;
    page->path = filter_string(filter, "path");
    image = page->path ? view_find_image(view, page->path) : NULL;
    relation = image ? graph_relation(view->graph, image) : NULL;
    page->own_layer = relation && relation->own_layer ? relation->own_layer->path : NULL;
    page->datastore = filter_string(filter, "datastore");
    page->details = filter_bool(filter, "details");
    return finding_states(filter_string(filter, "state"), &page->states);
}

static bool finding_page_takes(const struct finding_page *page, const struct finding *finding)
{
    if (!(page->states & 1u << finding->state) || (int)finding->severity < page->severity)
        return false;
    if (page->type >= 0 && (int)finding->type != page->type)
        return false;
    if (page->datastore && strcmp(page->datastore, finding->datastore) != 0)
        return false;
    if (!page->path)
        return true;
    return finding->subject_kind == SUBJECT_IMAGE &&
           (path_is_below(finding->subject, page->path) ||
            (page->own_layer && strcmp(page->own_layer, finding->subject) == 0 &&
             finding_is_of_disk(finding)));
}

/* 1: the page is full. */
static int finding_page_add(void *userdata, struct finding *finding)
{
    struct finding_page *page = userdata;
    json_object *row;
    int r;

    if (!finding_page_takes(page, finding))
        return 0;
    if (json_object_array_length(page->rows) >= page->limit)
        return 1;
    r = finding_row(page->view, finding, page->details, &row);
    if (r >= 0)
        r = rows_add(page->rows, row);
    if (r >= 0)
        page->last = finding->id;
    return r;
}

int query_findings(const struct query_view *view, const struct asked *asked, json_object **ret_rows,
                   char **ret_next)
{
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();
    struct finding_page page = { .view = view,
                                 .limit = asked->limit > 0 ? asked->limit : UINT32_MAX,
                                 .rows = rows };
    char *end = NULL, *next;
    int64_t after = 0;
    int r;

    if (!rows)
        return -ENOMEM;
    r = finding_page_filter(&page, view, asked->filter);
    if (r < 0)
        return r;
    if (page.details && page.limit > DETAILS_MAX)
        page.limit = DETAILS_MAX;
    if (asked->cursor && *asked->cursor) {
        errno = 0;
        after = strtoll(asked->cursor, &end, 10);
        if (errno != 0 || *end || after < 0)
            return -EINVAL;
    }
    r = findings_each(view->findings, after, finding_page_add, &page);
    if (r < 0)
        return r;
    if (r == 0)
        next = strdup("");
    else if (asprintf(&next, "%" PRId64, page.last) < 0)
        next = NULL;
    if (!next)
        return -ENOMEM;
    *ret_rows = TAKE_PTR(rows);
    *ret_next = next;
    return 0;
}

/* ---- datastores --------------------------------------------------------------------------- */

static int datastore_row(const struct datastore *datastore, const struct coverage_counts *counts,
                         json_object **ret_row)
{
    json_object *coverage = NULL;
    struct row row;
    int r;

    row_begin(&row);
    row_string(&row, "name", datastore->name);
    row_string(&row, "path", datastore->path);
    row_bool(&row, "recursive", datastore->recursive);
    row_string(&row, "state", datastore_state_name(datastore->state));
    row_error(&row, "error", datastore->error);
    if (datastore->root.type[0]) {
        row_string(&row, "type", datastore->root.type);
        row_bool(&row, "network", datastore->root.network);
        row_number(&row, "size", datastore->root.size);
        row_number(&row, "available", datastore->root.available);
    }
    row_bool(&row, "watched", datastore->watched);
    row_error(&row, "watch-error", datastore->watch_error);
    row_number(&row, "overflows", datastore->overflows);
    row_number(&row, "unreadable", datastore->unreadable);
    row_number(&row, "walk-started", datastore->walk_started);
    row_number(&row, "walk-finished", datastore->walk_finished);
    row_number(&row, "paused-until", datastore->paused_until);
    row_number(&row, "images", datastore->n_images);
    r = query_coverage(datastore, counts, &coverage);
    row_result(&row, "coverage", r, coverage);
    return row_end(&row, ret_row);
}

int query_datastores(const struct query_view *view, const struct asked *asked,
                     json_object **ret_rows, char **ret_next)
{
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();
    _cleanup_free_ struct coverage_counts *counts = calloc(view->n_datastores + 1,
                                                           sizeof(*counts));

    if (!rows || !counts)
        return -ENOMEM;
    query_coverage_count(view, counts);
    for (size_t i = 0; i < view->n_datastores; i++) {
        json_object *row;
        int r = datastore_row(view->datastores[i], &counts[i], &row);

        if (r >= 0)
            r = rows_add(rows, row);
        if (r < 0)
            return r;
    }
    *ret_rows = TAKE_PTR(rows);
    return 0;
}

/* ---- status ------------------------------------------------------------------------------- */

static int severities_row(const uint64_t counts[_SEVERITY_MAX], json_object **ret_row)
{
    struct row row;

    row_begin(&row);
    for (enum severity severity = 0; severity < _SEVERITY_MAX; severity++)
        row_number(&row, severity_name(severity), counts[severity]);
    return row_end(&row, ret_row);
}

/* The open findings that matter most: the worst, of these the heaviest, of these the oldest. */
struct worst {
    const struct finding *findings[WORST_MAX];
    size_t n;
};

static bool finding_is_worse(const struct finding *a, const struct finding *b)
{
    if (a->severity != b->severity)
        return a->severity > b->severity;
    return a->first_seen < b->first_seen;
}

static int worst_add(void *userdata, struct finding *finding)
{
    struct worst *worst = userdata;
    size_t i;

    if (finding->state != FINDING_OPEN || finding->muted_by > 0 ||
        finding->severity < SEVERITY_WARNING)
        return 0;
    for (i = worst->n; i > 0 && finding_is_worse(finding, worst->findings[i - 1]); i--)
        if (i < WORST_MAX)
            worst->findings[i] = worst->findings[i - 1];
    if (i < WORST_MAX) {
        worst->findings[i] = finding;
        if (worst->n < WORST_MAX)
            worst->n++;
    }
    return 0;
}

static int worst_rows(const struct query_view *view, json_object **ret_rows)
{
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();
    struct worst worst = { .n = 0 };

    if (!rows)
        return -ENOMEM;
    (void)findings_each(view->findings, 0, worst_add, &worst);
    for (size_t i = 0; i < worst.n; i++) {
        json_object *row;
        int r = finding_row(view, worst.findings[i], false, &row);

        if (r >= 0)
            r = rows_add(rows, row);
        if (r < 0)
            return r;
    }
    *ret_rows = TAKE_PTR(rows);
    return 0;
}

static void status_images(const struct query_view *view, struct row *row)
{
    uint64_t present = 0, audited = 0, unreadable = 0, size = 0, allocated = 0, chains = 0;
    const struct image *deepest = NULL;
    uint32_t deepest_layers = 0;

    for (size_t i = 0; i < view->n_images; i++) {
        const struct image *image = view->images[i];
        const struct relation *relation = graph_relation(view->graph, image);

        if (!image->present)
            continue;
        present++;
        size += image->fingerprint.size;
        allocated += image->fingerprint.allocated;
        if (image->audit) {
            audited++;
            unreadable += image->audit->report && image->audit->report->error != 0;
        }
        if (!relation || !relation->leaf)
            continue;
        chains += relation->depth > 1;
        if (relation->unconsolidated > deepest_layers) {
            deepest_layers = relation->unconsolidated;
            deepest = image;
        }
    }
    row_number(row, "images", present);
    row_number(row, "images-audited", audited);
    row_number(row, "images-unreadable", unreadable);
    row_number(row, "images-size", size);
    row_number(row, "images-allocated", allocated);
    row_number(row, "chains", chains);
    row_number(row, "depth-max", deepest_layers);
    if (deepest)
        row_string(row, "depth-max-path", deepest->path);
}

static void status_findings(const struct query_view *view, struct row *row)
{
    struct findings_counts counts;
    json_object *value = NULL;
    int r;

    findings_count(view->findings, &counts);
    r = severities_row(counts.open, &value);
    row_result(row, "open", r, value);
    r = severities_row(counts.acknowledged, &value);
    row_result(row, "acknowledged", r, value);
    r = severities_row(counts.muted, &value);
    row_result(row, "muted", r, value);
    status_mutes(view, row);
    r = worst_rows(view, &value);
    row_result(row, "worst", r, value);
}

int query_status(const struct query_view *view, const struct query_status *status,
                 json_object **ret_entry)
{
    json_object *datastores = NULL;
    struct row row;
    int r;

    row_begin(&row);
    put_baselines(view, &row);
    row_string(&row, "version", status->version);
    row_number(&row, "started", status->started);
    row_number(&row, "last-pass", status->last_pass);
    row_number(&row, "next-pass", status->next_pass);
    row_number(&row, "pass-started", status->pass_started);
    row_number(&row, "pass-images-total", status->pass_images_total);
    row_number(&row, "pass-images-done", status->pass_images_done);
    row_number(&row, "workers-running", status->workers_running);
    row_number(&row, "store-waiting", status->store_waiting);
    row_error(&row, "store-error", status->store_error);
    status_images(view, &row);
    status_findings(view, &row);
    r = query_datastores(view, NULL, &datastores, NULL);
    row_result(&row, "datastores", r, datastores);
    return row_end(&row, ret_entry);
}
