/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The record of events as a chain of digests: appended to, thinned out by the retention, checked.
 * schema-7.sql says what a digest is of. */
#pragma once

#include <json-c/json.h>
#include <sqlite3.h>

#include "helpers/text-buffer.h"

#define RECORD_DIGEST_SIZE 32

/* The columns that a digest covers, in its order. */
#define RECORD_COLUMNS                                                                             \
    "seq, id, type, at, finding, finding_id, subject_kind, origin, datastore, severity,"           \
    " confidence, message, depth, muted_by, renamed"
#define RECORD_N_COLUMNS 15

/* The last event that there ever was; all zero before the first. */
struct record_head {
    int64_t seq;
    uint8_t digest[RECORD_DIGEST_SIZE];
};

/* ---- appending (record.c) ---------------------------------------------------------------- */

int record_head_load(sqlite3 *sqlite, struct record_head *ret_head);
/* The RECORD_COLUMNS of a row, from the column `first` on, behind room for a digest. */
int record_body(sqlite3_stmt *row, int first, char **ret_body, size_t *ret_size);
/* The digest of that, after an event of the digest `previous`. */
int record_link(char *body, size_t size, const uint8_t previous[static RECORD_DIGEST_SIZE],
                uint8_t ret_digest[static RECORD_DIGEST_SIZE]);

/* ---- thinning out (removed.c) ------------------------------------------------------------ */

struct removed_event {
    int64_t seq;
    uint64_t at;                /* usec */
    bool chained, is_rename;
    uint8_t digest[RECORD_DIGEST_SIZE];
};

/* These were just deleted, in the transaction that is under way; sorts them. now: usec. */
int removed_note(sqlite3 *sqlite, struct removed_event *events, size_t n, uint64_t now);

/* ---- checking (record-check.c) ----------------------------------------------------------- */

struct record_check;

/* Of a connection that sees the same database until it ends. heads: "SEQ:DIGEST" of events that
 * must be in the record, separated by blanks; may be NULL. -EINVAL when it is none. */
int record_check_new(sqlite3 *sqlite, const char *heads, struct record_check **ret_check);
struct record_check *record_check_free(struct record_check *check);
/* Looks at so many rows more, the newest first. 0 at the end, 1 when there are more. */
int record_check_step(struct record_check *check, unsigned n_rows);
/* At the end: what control.h says of CheckRecord(). */
int record_check_result(struct record_check *check, json_object **ret_result);
