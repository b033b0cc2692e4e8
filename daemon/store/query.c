/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pages of the history for the control interface: events and audits, newest first, as JSON rows. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/store/db.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)

/* How a column becomes a member; a column that is NULL has no member. */
enum column_type { COLUMN_INTEGER, COLUMN_U64, COLUMN_BOOL, COLUMN_STRING };

/* In the order of the statement's columns; the first column, not among them, is the cursor. */
struct column {
    const char *key;
    enum column_type type;
};

static json_object *column_value(sqlite3_stmt *statement, int at, enum column_type type)
{
    switch (type) {
    case COLUMN_BOOL:
        return json_object_new_boolean(sqlite3_column_int(statement, at) != 0);
    case COLUMN_U64:
        return json_object_new_uint64((uint64_t)sqlite3_column_int64(statement, at));
    case COLUMN_INTEGER:
        return json_object_new_int64(sqlite3_column_int64(statement, at));
    case COLUMN_STRING:
    default: {
        const char *bytes = sqlite3_column_blob(statement, at);

        return json_object_new_string_len(bytes ? bytes : "", sqlite3_column_bytes(statement, at));
    }
    }
}

static int add_row(sqlite3_stmt *statement, const struct column *columns, size_t n_columns,
                   json_object *rows)
{
    _cleanup_(json_object_putp) json_object *row = json_object_new_object();

    if (!row)
        return -ENOMEM;
    for (size_t i = 0; i < n_columns; i++) {
        json_object *value;

        if (sqlite3_column_type(statement, (int)i + 1) == SQLITE_NULL)
            continue;
        value = column_value(statement, (int)i + 1, columns[i].type);
        if (!value)
            return -ENOMEM;
        if (json_object_object_add(row, columns[i].key, value) < 0) {
            json_object_put(value);
            return -ENOMEM;
        }
    }
    if (json_object_array_add(rows, row) < 0)
        return -ENOMEM;
    TAKE_PTR(row);
    return 0;
}

/* Up to limit rows; *ret_next is the cursor of the last one when there are more, else 0. */
static int collect(sqlite3 *sqlite, sqlite3_stmt *statement, const struct column *columns,
                   size_t n_columns, unsigned limit, json_object **ret_rows, int64_t *ret_next)
{
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();
    int64_t last = 0, next = 0;
    int code;

    if (!rows)
        return -ENOMEM;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        int r;

        if (json_object_array_length(rows) == limit) {
            next = last;
            break;
        }
        r = add_row(statement, columns, n_columns, rows);
        if (r < 0)
            return r;
        last = sqlite3_column_int64(statement, 0);
    }
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return store_db_error(sqlite, code);
    *ret_rows = TAKE_PTR(rows);
    *ret_next = next;
    return 0;
}

static int prepare(sqlite3 *sqlite, const char *sql, sqlite3_stmt **ret_statement)
{
    int code = sqlite3_prepare_v2(sqlite, sql, -1, ret_statement, NULL);

    return code == SQLITE_OK ? 0 : store_db_error(sqlite, code);
}

/* ?1 path, ?2 finding, ?3 since, ?4 until, ?5 before. The unary plus keeps SQLite from the wrong
 * index. */
#define EVENT_COLUMNS                                                                              \
    "SELECT seq, at, type, finding, severity, confidence, subject, subject_kind, datastore,"       \
    " message, depth, id FROM event WHERE seq < ?5 AND +at >= ?3 AND +at <= ?4"                    \
    " AND (?2 IS NULL OR finding = ?2)"
static const char events_sql[] = EVENT_COLUMNS " ORDER BY seq DESC";
static const char events_of_path_sql[] = EVENT_COLUMNS
    " AND subject = ?1 AND subject_kind = 'image' ORDER BY seq DESC";

static const struct column event_columns[] = {
    { "at", COLUMN_U64 },
    { "event", COLUMN_STRING },
    { "finding", COLUMN_STRING },
    { "severity", COLUMN_STRING },
    { "confidence", COLUMN_STRING },
    { "subject", COLUMN_STRING },
    { "subject-kind", COLUMN_STRING },
    { "datastore", COLUMN_STRING },
    { "message", COLUMN_STRING },
    { "depth", COLUMN_INTEGER },
    { "event-id", COLUMN_STRING },
};

int store_query_events(sqlite3 *sqlite, const char *path, const char *finding, uint64_t since,
                       uint64_t until, int64_t before, unsigned limit, json_object **ret_rows,
                       int64_t *ret_next)
{
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *statement = NULL;
    int r = prepare(sqlite, path ? events_of_path_sql : events_sql, &statement);

    if (r < 0)
        return r;
    if (path)
        sqlite3_bind_blob(statement, 1, path, (int)strlen(path), SQLITE_STATIC);
    if (finding)
        sqlite3_bind_text(statement, 2, finding, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 3, since > INT64_MAX ? INT64_MAX : (int64_t)since);
    sqlite3_bind_int64(statement, 4, until == 0 || until > INT64_MAX ? INT64_MAX : (int64_t)until);
    sqlite3_bind_int64(statement, 5, before);
    return collect(sqlite, statement, event_columns, ELEMENTSOF(event_columns), limit, ret_rows,
                   ret_next);
}

static const char audits_sql[] =
    "SELECT a.id, a.started, a.finished, a.confidence, a.use, a.error = 0, nullif(a.error, 0), "
    "a.corruptions, a.leaks,"
    " a.check_errors, a.size, a.allocated, a.virtual_size, a.depth FROM image i JOIN audit a ON"
    " a.image = i.id"
    " WHERE i.path = ?1 AND a.id < ?2 ORDER BY a.id DESC";

static const struct column audit_columns[] = {
    { "started", COLUMN_U64 },
    { "finished", COLUMN_U64 },
    { "confidence", COLUMN_STRING },
    { "use", COLUMN_STRING },
    { "opened", COLUMN_BOOL },
    { "error", COLUMN_INTEGER },
    { "corruptions", COLUMN_U64 },
    { "leaks", COLUMN_U64 },
    { "check-errors", COLUMN_U64 },
    { "size", COLUMN_U64 },
    { "allocated", COLUMN_U64 },
    { "virtual-size", COLUMN_U64 },
    { "depth", COLUMN_INTEGER },
};

static const char readings_sql[] =
    "SELECT id, started, finished, verdict, nullif(explanation, ''), nullif(lower(hex(digest)), "
    "''), virtual_size, read, zero,"
    " unallocated, direct, nullif(bad, 0) FROM digest WHERE path = ?1 AND id < ?2 ORDER BY id DESC";

static const struct column reading_columns[] = {
    { "started", COLUMN_U64 },
    { "finished", COLUMN_U64 },
    { "verdict", COLUMN_STRING },
    { "explanation", COLUMN_STRING },
    { "digest", COLUMN_STRING },
    { "virtual-size", COLUMN_U64 },
    { "read-bytes", COLUMN_U64 },
    { "zero-bytes", COLUMN_U64 },
    { "unallocated-bytes", COLUMN_U64 },
    { "direct", COLUMN_BOOL },
    { "bad-ranges", COLUMN_U64 },
};

/* ?1 path, ?2 before */
static int collect_of_path(sqlite3 *sqlite, const char *sql, const struct column *columns,
                           size_t n_columns, const char *path, int64_t before, unsigned limit,
                           json_object **ret_rows, int64_t *ret_next)
{
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *statement = NULL;
    int r = prepare(sqlite, sql, &statement);

    if (r < 0)
        return r;
    sqlite3_bind_blob(statement, 1, path, (int)strlen(path), SQLITE_STATIC);
    sqlite3_bind_int64(statement, 2, before);
    return collect(sqlite, statement, columns, n_columns, limit, ret_rows, ret_next);
}

int store_query_audits(sqlite3 *sqlite, const char *path, int64_t before, unsigned limit,
                       json_object **ret_rows, int64_t *ret_next)
{
    return collect_of_path(sqlite, audits_sql, audit_columns, ELEMENTSOF(audit_columns), path,
                           before, limit, ret_rows, ret_next);
}

int store_query_readings(sqlite3 *sqlite, const char *path, int64_t before, unsigned limit,
                         json_object **ret_rows, int64_t *ret_next)
{
    return collect_of_path(sqlite, readings_sql, reading_columns, ELEMENTSOF(reading_columns), path,
                           before, limit, ret_rows, ret_next);
}
