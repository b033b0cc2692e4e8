/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the store share: a state folder, a store in it with its loop, everything it
 * loads and answers. */
#pragma once

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/store/internal.h"
#include "lib/cleanup.h"

#define KIT_NOW UINT64_C(1700000000000000)

struct kit {
    char directory[64];
    char database[96];
    sd_event *event;
    struct store *store;
    uint64_t history_retention;
    unsigned audits_kept;
    pid_t holder;
    char *aside;
    /* answers */
    unsigned n_committed, n_failed, n_read, n_trouble, n_damaged;
    int committed_error, read_error, trouble;
    char damaged[160];
    json_object *rows;
    char next[32];
    /* loaded */
    struct datastore **datastores;
    struct image **images;
    char **image_datastores;
    struct finding **findings;
    struct event **events;
    struct mute **mutes;
    size_t n_mutes;
    size_t n_datastores, n_images, n_findings, n_events;
};

/* setup and teardown of cmocka: *state is a kit with an empty state folder, nothing open. */
int kit_setup(void **state);
int kit_teardown(void **state);

int kit_try_open(struct kit *kit);
void kit_open(struct kit *kit);             /* must succeed */
void kit_close(struct kit *kit);
void kit_load(struct kit *kit);             /* forgets what was loaded before */
void kit_reopen(struct kit *kit);           /* closes, opens, loads */
/* Runs the loop until *counter has reached value: fails after 30 s. */
void kit_wait(struct kit *kit, const unsigned *counter, unsigned value);
/* Posts; kit_committed() counts the answer. */
void kit_post(struct kit *kit, struct store_batch *batch);
/* Posts and waits for success. */
void kit_commit(struct kit *kit, struct store_batch *batch);
void kit_committed(void *userdata, int error);
/* What is asked of the history. */
#define HISTORY(...) (&(struct history_question){ __VA_ARGS__ })
/* A store_rows_fn: counts and keeps the answer. */
void kit_rows(void *userdata, int error, json_object *rows, const char *next);
void kit_history(struct kit *kit, const char *path, const char *finding, uint64_t since,
                 uint64_t until, const char *cursor, unsigned limit);
void kit_audits(struct kit *kit, const char *path, const char *cursor, unsigned limit);
/* By path; NULL when it was not loaded. */
struct image *kit_image(struct kit *kit, const char *path);
/* The file itself, beside the store, whose thread may be writing: waits for it. To be closed. */
struct sqlite3 *kit_sqlite(struct kit *kit);
/* The first value of the first row, straight from the file; -1 when there is no row. */
int64_t kit_sql(struct kit *kit, const char *sql);
void kit_sql_run(struct kit *kit, const char *sql);

/* Things to store; static strings inside, not to be freed. */
extern struct datastore kit_datastore;
struct image kit_make_image(const char *path);
struct finding kit_make_finding(struct kit *kit, enum finding_type type, const char *subject);
struct event kit_make_event(const struct finding *finding, enum event_type type, uint64_t at);
struct audit kit_make_audit(uint64_t started, struct audit_report *report);

/* As full as a report can be; every member has a value of its own. */
struct audit_report *kit_rich_report(void);
/* Every member equal, else the test fails. */
void kit_reports_equal(const struct audit_report *a, const struct audit_report *b);
