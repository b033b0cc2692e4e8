/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Facts of rows in the words that several screens share. */
#pragma once

#include "ctl/ctl.h"

/* Sizes and ages of a row's member, malloc'd; "-" when it has none. NULL without memory. */
char *fact_size(json_object *row, const char *key);
char *fact_age(json_object *row, const char *key, uint64_t now);        /* "3d 4h ago" */
/* "3d 4h": for narrow columns */
char *fact_since(json_object *row, const char *key, uint64_t now);
/* "Fri 2026-11-20 04:48:00 UTC (3h ago)" */
char *fact_time(json_object *row, const char *key, uint64_t now);
/* The folder that all paths of a list share, with its final slash, so that it need not be said in
 * each line: on a terminal, without --full, where it is long enough to matter; else "". malloc'd,
 * NULL without memory. */
char *fact_common(const struct ctl *ctl, json_object *rows, const char *key);
/* Says it above a table. */
void fact_print_common(const struct ctl *ctl, const char *common);
/* The member without that folder. Escaped. */
char *fact_path(json_object *row, const char *key, const char *common);
/* "uid 1000" as "alice", where that user is known here. Escaped; by may be NULL. */
char *fact_user(const char *by);
/* The subject of a finding: path, datastore's name, or "qcauditd". Escaped. */
char *fact_subject(json_object *finding, const char *common);
/* "2 critical, 1 error" of a row of numbers by severity, in colour; "none". */
char *fact_severities(const struct output *output, json_object *counts, uint64_t *ret_total);
/* How far a scrub of the status is: "17%, 1.2G/s, 3min left", malloc'd, NULL without memory. */
char *fact_scrub(json_object *scrub);
/* How good the condition is known: a sentence for a confidence. */
const char *fact_confidence(const char *confidence);
/* The same in a table; malloc'd, NULL without memory. */
char *fact_confidence_word(json_object *row);

/* A table of findings: id, severity, since, name, subject; the state where one is not open; what it
 * is in short where there is room. */
int findings_table(struct ctl *ctl, json_object *rows);

/* The exit status by the worst of them that is open; 0 with --exit-zero. */
int findings_status(const struct ctl *ctl, json_object *rows);

/* All of a finding: what, since when, what to do, evidence; explain: what it means, too. In
 * verb-show.c. */
void finding_print(struct ctl *ctl, json_object *finding, bool explain);

/* A row of the catalogue. */
struct catalogue_entry {
    const char *name, *severity, *title, *explanation, *remedy;
};
const struct catalogue_entry *catalogue_find(const char *name);
const struct catalogue_entry *catalogue_at(size_t index);      /* NULL behind the last */
/* The worst finding of a status, if it counts for the exit status; borrowed. NULL: none does. */
json_object *fact_worst(json_object *status);
