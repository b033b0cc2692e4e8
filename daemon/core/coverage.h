/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files that a datastore's walk saw and left out. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "helpers/client.h"

#define COVERAGE_ITEMS_MAX 100

/* Something that was left out: a mount or a link to a device. */
struct coverage_item {
    enum files_left_out why;
    char *path;                 /* raw bytes */
    char *target;               /* type of the file system, or the device; NULL not known */
};

/* Files that the last complete walk of a datastore saw and left out, kept up to date by its
 * watches. */
struct coverage {
    uint64_t files, folders;    /* of all kinds */
    uint64_t mounts;            /* file systems below it that were looked into */
    uint64_t left_out[_FILES_LEFT_MAX];
    struct coverage_item *items;        /* the first COVERAGE_ITEMS_MAX of those that matter */
    size_t n_items;
};

const char *coverage_reason_name(enum files_left_out why);      /* "mount-remote": stable */
/* Is it nobody's wish that this is left out? */
bool coverage_reason_is_gap(enum files_left_out why);
int coverage_add(struct coverage *coverage, enum files_left_out why, const char *path,
                 const char *target);
void coverage_remove(struct coverage *coverage, const char *path);
uint64_t coverage_gaps(const struct coverage *coverage);
void coverage_done(struct coverage *coverage);
int coverage_to_json(const struct coverage *coverage, json_object **ret_object);
/* Of an empty one. -EBADMSG for anything that it cannot have been made of: it is empty then. */
int coverage_from_json(json_object *object, struct coverage *coverage);
