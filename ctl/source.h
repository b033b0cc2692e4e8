/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sources of rows: the daemon, or with --offline its database. Every function prints its own
 * errors. */
#pragma once

#include "ctl/ctl.h"

int source_status(struct ctl *ctl, json_object **ret_entry);
/* Filters as those of ListImages and ListFindings in qcaudit/control.h. */
int source_images(struct ctl *ctl, json_object *filter, json_object **ret_rows);
int source_findings(struct ctl *ctl, json_object *filter, json_object **ret_rows);
int source_events(struct ctl *ctl, json_object *filter, json_object **ret_rows);
/* Of a question that takes a filter; and of one that takes a path: ListAudits, ListReadings,
 * ListDiskAudits. */
int source_list(struct ctl *ctl, const char *question, json_object *filter,
                json_object **ret_rows);
int source_list_of_path(struct ctl *ctl, const char *question, const char *path,
                        json_object **ret_rows);
/* The policy for an image, or for all ("/"); of the daemon alone. */
int source_policy(struct ctl *ctl, const char *path, json_object **ret_entry);
int source_mutes(struct ctl *ctl, json_object **ret_rows);
/* How far the record of events goes back. */
int source_record(struct ctl *ctl, json_object **ret_entry);
/* CheckRecord(). */
int source_check(struct ctl *ctl, json_object *filter, json_object **ret_entry);
/* The verb needs the daemon itself. */
int source_needs_daemon(const struct ctl *ctl, const char *verb);

/* The known image that the argument means: a path, absolute or from here, with or without links
 * followed, or the end of exactly one known path ("web.qcow2"). malloc'd. or_domain: a domain of
 * that name was looked for in vain. */
int source_find_image(struct ctl *ctl, const char *argument, bool or_domain, char **ret_path);
/* All of what the argument means, in one answer of the daemon: a domain, by name or UUID, or the
 * image that source_find_image() would find. One of the two is set. */
int source_show(struct ctl *ctl, const char *argument, json_object **ret_image,
                json_object **ret_domain);
/* As an absolute path, known or not (a directory, say): what --path means. malloc'd, NULL without
 * memory. */
char *source_absolute(const struct ctl *ctl, const char *argument);
/* Errors go first in a list for people: by severity, then by age. In place. */
void source_sort_findings(json_object *rows);

/* 0 critical ... 3 info; 4 for anything else. */
int severity_rank(const char *severity);

/* A filter under construction: NULL values are left out. */
int filter_add(json_object *filter, const char *key, const char *value);
