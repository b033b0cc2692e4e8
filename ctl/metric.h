/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* history --metric and --crossed: one figure of a disk or a datastore over time. */
#pragma once

#include "ctl/ctl.h"

/* "depth", "leaks", ...; NULL after the last. */
const char *metric_name(size_t index);
bool metric_is_of_datastore(const char *name);
/* Of the text "METRIC=N": -EINVAL when it is none. *ret_metric is static. */
int metric_parse_threshold(const char *text, const char **ret_metric, uint64_t *ret_threshold);
/* The audits of the disk with this image; none of a path that nobody knows. These print their own
 * errors. */
int metric_read(struct ctl *ctl, const char *path, json_object **ret_rows);
/* How full the datastore was; none of one that nobody knows. */
int metric_read_datastore(struct ctl *ctl, const char *name, json_object **ret_rows);
/* Prints the values of ctl->metric by them, or answers --crossed; of: the path, or the datastore's
 * name. */
int metric_show(struct ctl *ctl, const char *of, json_object *rows);
