/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Coverage in a datastore's status: files seen, audited, and left out, and why. */
#include <errno.h>
#include <string.h>

#include "daemon/control/query-internal.h"

void query_coverage_count(const struct query_view *view, struct coverage_counts *counts)
{
    const struct datastore *last = NULL;
    size_t index = 0;

    for (size_t i = 0; i < view->n_images; i++) {
        const struct image *image = view->images[i];
        struct coverage_counts *of;

        /* in order of path, so that neighbours are of one datastore */
        for (size_t d = 0; image->datastore != last && d < view->n_datastores; d++)
            if (view->datastores[d] == image->datastore) {
                last = image->datastore;
                index = d;
            }
        if (!image->present || image->datastore != last)
            continue;
        of = &counts[index];
        of->images++;
        if (!image->audit)
            of->unaudited++;
        else if (image->unrested)
            of->unrested++;
        else if (image->worker_deaths >= DEATHS_MAX)
            of->deaths++;
        else if (image->audit->report && image->audit->report->error != 0)
            of->unreadable++;
        else if (image_is_foreign(image))
            of->foreign++;
        else
            of->audited++;
    }
}

static int left_out_row(const struct datastore *datastore, const struct coverage_counts *counts,
                        json_object **ret_row)
{
    struct row row;

    row_begin(&row);
    for (enum files_left_out why = FILES_LEFT_NONE + 1; why < _FILES_LEFT_MAX; why++)
        row_number(&row, coverage_reason_name(why), datastore->coverage.left_out[why]);
    row_number(&row, "unreadable", datastore->unreadable + counts->unreadable);
    row_number(&row, "being-written", counts->unrested);
    row_number(&row, "worker-deaths", counts->deaths);
    row_number(&row, "format-not-understood", counts->foreign);
    row_number(&row, "not-audited-yet", counts->unaudited);
    return row_end(&row, ret_row);
}

static int items_rows(const struct coverage *coverage, json_object **ret_rows)
{
    json_object *rows = json_object_new_array();
    int r = rows ? 0 : -ENOMEM;

    for (size_t i = 0; r >= 0 && i < coverage->n_items; i++) {
        const struct coverage_item *item = &coverage->items[i];
        struct row row;

        row_begin(&row);
        row_string(&row, "reason", coverage_reason_name(item->why));
        row_string(&row, "path", item->path);
        row_string(&row, item->why == FILES_LEFT_DEVICE ? "device" : "file-system", item->target);
        r = rows_end(rows, &row);
    }
    if (r < 0) {
        json_object_put(rows);
        return r;
    }
    *ret_rows = rows;
    return 0;
}

int query_coverage(const struct datastore *datastore, const struct coverage_counts *counts,
                   json_object **ret_row)
{
    json_object *value = NULL;
    struct row row;
    int r;

    row_begin(&row);
    row_number(&row, "files", datastore->coverage.files);
    row_number(&row, "folders", datastore->coverage.folders);
    row_number(&row, "mounts", datastore->coverage.mounts);
    row_number(&row, "images", counts->images);
    row_number(&row, "audited", counts->audited);
    r = left_out_row(datastore, counts, &value);
    row_result(&row, "left-out", r, value);
    r = items_rows(&datastore->coverage, &value);
    row_result(&row, "items", r, value);
    return row_end(&row, ret_row);
}
