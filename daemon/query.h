/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the control interface shows: the model as JSON rows, filtered and paged. Pure. */
#pragma once

#include "life.h"
#include "relate.h"

/* All that can be asked about; borrowed from the manager. images is sorted by path (bytes). */
struct query_view {
    struct datastore *const *datastores;
    size_t n_datastores;
    struct image *const *images;
    size_t n_images;
    const struct graph *graph;
    const struct findings *findings;
    const struct policy *policy;
    uint64_t now;
};

/* Numbers the manager alone knows, for the status. */
struct query_status {
    const char *version;
    uint64_t started, last_pass, next_pass;     /* usec */
    uint64_t pass_started;                      /* usec, 0 when no pass is under way */
    uint64_t pass_images_total, pass_images_done;
    unsigned workers_running;
    size_t store_waiting;
    int store_error;
};

int query_status(const struct query_view *view, const struct query_status *status, json_object **ret_entry);
int query_datastores(const struct query_view *view, json_object **ret_rows);
int query_images(const struct query_view *view, json_object *filter, const char *cursor, unsigned limit,
                 json_object **ret_rows, char **ret_next);
int query_image(const struct query_view *view, const char *path, json_object **ret_entry);
int query_chain(const struct query_view *view, const char *path, json_object **ret_rows);
int query_findings(const struct query_view *view, json_object *filter, const char *cursor, unsigned limit,
                   json_object **ret_rows, char **ret_next);
int query_finding(const struct query_view *view, int64_t id, json_object **ret_entry);
int query_finding_entry(const struct query_view *view, const struct finding *finding, json_object **ret_entry);
