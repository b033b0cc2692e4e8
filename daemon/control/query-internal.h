/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How query's files build their rows. */
#pragma once

#include "daemon/control/query.h"
#include "daemon/core/contents.h"
#include "daemon/core/datastore.h"
#include "daemon/core/findings.h"
#include "daemon/core/image.h"
#include "helpers/path.h"
#include "helpers/report-json.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)

/* An object under construction: the first failure sticks, so that rows are built without a test per
 * member. */
struct row {
    json_object *object;
    int error;
};

void row_begin(struct row *row);
/* 0 and the object, or the failure; nothing is left behind. */
int row_end(struct row *row, json_object **ret_object);
void row_done(struct row *row);

/* Takes value; NULL is a failure. */
void row_json(struct row *row, const char *key, json_object *value);
void row_string(struct row *row, const char *key, const char *value);       /* NULL: left out */
void row_number(struct row *row, const char *key, uint64_t value);
void row_error(struct row *row, const char *key, int error);                /* 0: left out */
void row_bool(struct row *row, const char *key, bool value);
/* As json_fields_show(). */
void row_fields(struct row *row, const struct json_fields *fields, const void *base,
                const char *const keys[]);
/* Takes the failure of whoever made value. */
void row_result(struct row *row, const char *key, int r, json_object *value);

int rows_add(json_object *rows, json_object *row);      /* takes row */
int rows_end(json_object *rows, struct row *row);       /* ends row and adds it */

/* A string member of a filter, NULL when it is not there. */
const char *filter_string(json_object *filter, const char *key);
bool filter_bool(json_object *filter, const char *key);
uint64_t filter_number(json_object *filter, const char *key);

struct image *view_find_image(const struct query_view *view, const char *path);
/* By any of its names. */
struct image *view_find_called(const struct query_view *view, const char *path);
int image_row(const struct query_view *view, const struct image *image, struct row *row);
const char *use_name(enum files_use use);
/* relation-reason: what it is to its parent, and why; nothing without a parent. */
void image_relation_reason(const struct query_view *view, const struct image *image,
                           struct row *row);
void image_created(const struct query_view *view, const struct image *image, struct row *row);
int finding_row(const struct query_view *view, const struct finding *finding, bool details,
                json_object **ret_row);
/* Is the finding about all layers of a disk, with the disk's own layer as subject? */
bool finding_is_of_disk(const struct finding *finding);
/* Calls each for every unresolved finding of the image's disk, where its own layer is another
 * image. */
void image_disk_findings(const struct query_view *view, const struct image *image,
                         void (*each)(void *userdata, const struct finding *finding),
                         void *userdata);
/* Calls each for every unresolved finding of the image. */
void image_findings(const struct query_view *view, const struct image *image,
                    void (*each)(void *userdata, const struct finding *finding), void *userdata);
/* muted-by, and more of that mute. */
void finding_mute(const struct query_view *view, const struct finding *finding, struct row *row);
/* mutes (that hold), mute-of-all-images (its number, where there is one) */
void status_mutes(const struct query_view *view, struct row *row);
int baseline_row(const struct baseline *baseline, json_object **ret_row);
/* Of all images, for the status. */
void put_baselines(const struct query_view *view, struct row *row);

/* files, folders, mounts, images, audited, left-out {REASON: number}, items [reason, path, device
 * or file-system] */
int query_coverage(const struct datastore *datastore, const struct coverage_counts *counts,
                   json_object **ret_row);

/* ---- query-domain.c: libvirt's word ---------------------------------------------------------- */

/* domain, disk-target, disk-layer, running, made-by */
void image_domain(const struct query_view *view, const struct image *image, struct row *row);
/* role, role-reason */
int image_role(const struct query_view *view, const struct image *image, bool reason,
               struct row *row);
int image_users(const struct query_view *view, const struct image *image, json_object **ret_rows);
/* By name or UUID. */
bool domain_is_there(const struct query_view *view, const char *name);
/* Is it, or is it below, what the domain of that name or UUID uses? */
bool image_is_of_domain(const struct query_view *view, const struct image *image, const char *name);
/* -ENOENT: no such pool with a path. */
int view_pool_path(const struct query_view *view, const char *name, const char **ret_path);
