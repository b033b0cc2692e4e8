/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* history --metric and --crossed: one figure of a disk over time, from its audits. */
#pragma once

#include "ctl/ctl.h"

/* "depth", "leaks", ...; NULL after the last. */
const char *metric_name(size_t index);
/* Of the text "METRIC=N": -EINVAL when it is none. *ret_metric is static. */
int metric_parse_threshold(const char *text, const char **ret_metric, uint64_t *ret_threshold);
/* The audits of the disk with this image; none of a path that nobody knows. These print their own
 * errors. */
int metric_read(struct ctl *ctl, const char *path, json_object **ret_rows);
/* Prints the values of ctl->metric by them, or answers --crossed. */
int metric_show(struct ctl *ctl, const char *path, json_object *rows);
