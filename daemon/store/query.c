/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pages of the history for the control interface: events and audits, newest first, as JSON rows. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/store/db.h"
#include "helpers/json-text.h"
#include "helpers/text-buffer.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)

/* How a column becomes a member; a column that is NULL has no member. */
enum column_type { COLUMN_INTEGER, COLUMN_U64, COLUMN_BOOL, COLUMN_STRING };

struct member {
    const char *key, *value;    /* of JSON; in SQL */
    enum column_type type;
};

/* The parts of a page's statement. */
struct pages {
    const char *with;           /* before SELECT; NULL nothing */
    const char *cursor, *from;  /* the id that pages go by; the tables and conditions */
    const struct member *members;
    size_t n_members;
};

#define PAGES_WITH(with, cursor, from, members)                                                    \
    { with, cursor, from, members, ELEMENTSOF(members) }
#define PAGES(cursor, from, members) PAGES_WITH(NULL, cursor, from, members)

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

static int add_row(sqlite3_stmt *statement, const struct pages *pages, json_object *rows)
{
    _cleanup_(json_object_putp) json_object *row = json_object_new_object();

    if (!row)
        return -ENOMEM;
    for (size_t i = 0; i < pages->n_members; i++) {
        json_object *value;

        if (sqlite3_column_type(statement, (int)i + 1) == SQLITE_NULL)
            continue;
        value = column_value(statement, (int)i + 1, pages->members[i].type);
        if (json_add(row, pages->members[i].key, value) < 0)
            return -ENOMEM;
    }
    if (json_object_array_add(rows, row) < 0)
        return -ENOMEM;
    TAKE_PTR(row);
    return 0;
}

/* Up to limit rows; *ret_next is the cursor of the last one when there are more, else 0. */
static int collect(sqlite3 *sqlite, sqlite3_stmt *statement, const struct pages *pages,
                   unsigned limit, json_object **ret_rows, int64_t *ret_next)
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
        r = add_row(statement, pages, rows);
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

/* The cursor is the first column. */
static int select_text(const struct pages *pages, char **ret_sql)
{
    struct text_buffer text = {};

    text_buffer_put(&text, pages->with ? pages->with : "");
    text_buffer_put(&text, "SELECT ");
    text_buffer_put(&text, pages->cursor);
    for (size_t i = 0; i < pages->n_members; i++) {
        text_buffer_put(&text, ", ");
        text_buffer_put(&text, pages->members[i].value);
    }
    text_buffer_put(&text, " FROM ");
    text_buffer_put(&text, pages->from);
    text_buffer_put(&text, " ORDER BY ");
    text_buffer_put(&text, pages->cursor);
    text_buffer_put(&text, " DESC");
    return text_buffer_end(&text, ret_sql);
}

static int prepare(sqlite3 *sqlite, const struct pages *pages, sqlite3_stmt **ret_statement)
{
    _cleanup_free_ char *sql = NULL;
    int code, r = select_text(pages, &sql);

    if (r < 0)
        return r;
    code = sqlite3_prepare_v2(sqlite, sql, -1, ret_statement, NULL);
    return code == SQLITE_OK ? 0 : store_db_error(sqlite, code);
}

/* The layers of the disk that :path is a layer of: below it those that are the disk's own, as no
 * other image used them at that time and they are no golden image, or as a domain's disk moved from
 * them; and above each the overlays that the disk moved to and came back from. */
#define DISK                                                                                       \
    "WITH RECURSIVE disk (path) AS (SELECT :path"                                                  \
    " UNION SELECT l.parent FROM disk JOIN overlay_history l ON l.overlay = disk.path"             \
    " WHERE l.moved > 0 OR NOT (EXISTS (SELECT 1 FROM overlay_history o"                           \
    " WHERE o.parent = l.parent AND o.overlay <> l.overlay AND (l.until = 0 OR o.since < l.until)" \
    " AND (o.until = 0 OR o.until > l.since)) OR EXISTS (SELECT 1 FROM baseline b"                 \
    " WHERE b.path = l.parent AND b.gone = 0 AND b.source IN ('policy', 'inferred')))"             \
    " UNION SELECT l.overlay FROM disk JOIN overlay_history l ON l.parent = disk.path"             \
    " WHERE l.moved > 0 AND l.until > 0)"
/* These, and all that lies below them now. */
#define STACK                                                                                      \
    DISK ", stack (path) AS (SELECT path FROM disk"                                                \
    " UNION SELECT l.parent FROM stack JOIN overlay_history l ON l.overlay = stack.path"           \
    " WHERE l.until = 0) "

static const struct member event_members[] = {
    { "seq", "seq", COLUMN_U64 },
    { "at", "at", COLUMN_U64 },
    { "event", "type", COLUMN_STRING },
    { "finding", "finding", COLUMN_STRING },
    { "severity", "severity", COLUMN_STRING },
    { "confidence", "confidence", COLUMN_STRING },
    { "subject", "subject", COLUMN_STRING },
    { "subject-kind", "subject_kind", COLUMN_STRING },
    { "datastore", "datastore", COLUMN_STRING },
    { "message", "message", COLUMN_STRING },
    { "depth", "depth", COLUMN_INTEGER },
    { "muted-by", "nullif(muted_by, 0)", COLUMN_U64 },
    { "event-id", "id", COLUMN_STRING },
    { "digest", "lower(nullif(hex(digest), ''))", COLUMN_STRING },
};

/* The unary plus keeps SQLite from the wrong index. */
#define EVENTS                                                                                     \
    "event WHERE seq < :before AND renamed IS NULL AND +at >= :since AND +at <= :until "           \
    "AND (:finding IS NULL OR finding = :finding)"
static const struct pages events = PAGES("seq", EVENTS, event_members);
static const struct pages events_of_path = PAGES(
    "seq", EVENTS " AND subject = :path AND subject_kind = 'image'", event_members);
static const struct pages events_of_disk = PAGES_WITH(
    STACK, "seq", EVENTS " AND subject IN (SELECT path FROM stack) AND subject_kind = 'image'",
    event_members);

static const struct member audit_members[] = {
    { "started", "a.started", COLUMN_U64 },
    { "finished", "a.finished", COLUMN_U64 },
    { "confidence", "a.confidence", COLUMN_STRING },
    { "use", "a.use", COLUMN_STRING },
    { "opened", "a.error = 0", COLUMN_BOOL },
    { "error", "nullif(a.error, 0)", COLUMN_INTEGER },
    { "corruptions", "a.corruptions", COLUMN_U64 },
    { "leaks", "a.leaks", COLUMN_U64 },
    { "check-errors", "a.check_errors", COLUMN_U64 },
    { "size", "a.size", COLUMN_U64 },
    { "allocated", "a.allocated", COLUMN_U64 },
    { "virtual-size", "a.virtual_size", COLUMN_U64 },
    { "depth", "a.depth", COLUMN_INTEGER },
    { "path", "i.path", COLUMN_STRING },
};
static const struct pages audits = PAGES(
    "a.id", "image i JOIN audit a ON a.image = i.id WHERE i.path = :path AND a.id < :before",
    audit_members);

/* CROSS JOIN: in this order. */
static const struct pages disk_audits = PAGES_WITH(
    DISK " ", "a.id",
    "disk CROSS JOIN image i ON i.path = disk.path CROSS JOIN audit a ON a.image = i.id"
    " WHERE a.id < :before AND NOT EXISTS (SELECT 1 FROM overlay_history l JOIN disk above"
    " ON above.path = l.overlay WHERE l.parent = i.path AND (l.until = 0 OR a.finished < l.until)"
    " AND a.finished >= min(l.since, coalesce(nullif(l.moved, 0), l.since)))",
    audit_members);

/* The events after the newest one that was deleted are all there; those before it have gaps. */
static const struct member record_members[] = {
    { "begins", "max(created, events_swept)", COLUMN_U64 },
    { "created", "created", COLUMN_U64 },
    { "newest", "(SELECT max(at) FROM event)", COLUMN_U64 },
    { "record", "record", COLUMN_STRING },
    { "database", "(SELECT file FROM pragma_database_list WHERE name = 'main')", COLUMN_STRING },
};
static const struct pages record = PAGES("id", "state", record_members);

static const struct member reading_members[] = {
    { "started", "started", COLUMN_U64 },
    { "finished", "finished", COLUMN_U64 },
    { "verdict", "verdict", COLUMN_STRING },
    { "explanation", "nullif(explanation, '')", COLUMN_STRING },
    { "digest", "nullif(lower(hex(digest)), '')", COLUMN_STRING },
    { "virtual-size", "virtual_size", COLUMN_U64 },
    { "read-bytes", "read", COLUMN_U64 },
    { "zero-bytes", "zero", COLUMN_U64 },
    { "unallocated-bytes", "unallocated", COLUMN_U64 },
    { "direct", "direct", COLUMN_BOOL },
    { "bad-ranges", "nullif(bad, 0)", COLUMN_U64 },
};
static const struct pages readings = PAGES("id", "digest WHERE path = :path AND id < :before",
                                           reading_members);

static const struct member space_members[] = {
    { "at", "at", COLUMN_U64 },
    { "size", "size", COLUMN_U64 },
    { "available", "available", COLUMN_U64 },
};
static const struct pages space = PAGES(
    "id", "space WHERE datastore = :datastore AND id < :before AND at >= :since AND at <= :until",
    space_members);

static const struct pages *question_pages(const struct history_question *question)
{
    switch (question->of) {
    case HISTORY_EVENTS:
        return !question->path ? &events : question->disk ? &events_of_disk : &events_of_path;
    case HISTORY_AUDITS:
        return &audits;
    case HISTORY_DISK_AUDITS:
        return &disk_audits;
    case HISTORY_RECORD:
        return &record;
    case HISTORY_SPACE:
        return &space;
    case HISTORY_READINGS:
    default:
        return &readings;
    }
}

/* Of a parameter that the pages do not have: nothing. */
static void bind_number(sqlite3_stmt *statement, const char *name, uint64_t value)
{
    int at = sqlite3_bind_parameter_index(statement, name);

    if (at > 0)
        sqlite3_bind_int64(statement, at, value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

static int query_pages(sqlite3 *sqlite, const struct history_question *question, int64_t before,
                       json_object **ret_rows, int64_t *ret_next)
{
    const struct pages *pages = question_pages(question);
    const char *path = question->path, *finding = question->finding,
               *datastore = question->datastore;
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *statement = NULL;
    int r = prepare(sqlite, pages, &statement);

    if (r < 0)
        return r;
    bind_number(statement, ":before", (uint64_t)before);
    bind_number(statement, ":since", question->since);
    bind_number(statement, ":until", question->until ?: INT64_MAX);
    if (path)
        sqlite3_bind_blob(statement, sqlite3_bind_parameter_index(statement, ":path"), path,
                          (int)strlen(path), SQLITE_STATIC);
    if (finding)
        sqlite3_bind_text(statement, sqlite3_bind_parameter_index(statement, ":finding"), finding,
                          -1, SQLITE_STATIC);
    if (datastore && question->of == HISTORY_SPACE)
        sqlite3_bind_text(statement, sqlite3_bind_parameter_index(statement, ":datastore"),
                          datastore, -1, SQLITE_STATIC);
    return collect(sqlite, statement, pages, question->limit, ret_rows, ret_next);
}

int store_query(sqlite3 *sqlite, const struct history_question *question, int64_t before,
                json_object **ret_rows, int64_t *ret_next)
{
    _cleanup_(json_object_putp) json_object *rows = NULL;
    int r;

    if (question->of == HISTORY_FINDINGS_AT || question->of == HISTORY_CHANGES)
        return question->until == 0 || question->since > question->until
                   ? -EINVAL
                   : store_past(sqlite, question, before, ret_rows, ret_next);
    if (question->of == HISTORY_SPACE && !question->datastore)
        return -EINVAL;
    if (question->of != HISTORY_RECORD)
        return query_pages(sqlite, question, before, ret_rows, ret_next);
    r = query_pages(sqlite, question, before, &rows, ret_next);
    if (r < 0)
        return r;
    if (json_object_array_length(rows) == 0)
        return -EUCLEAN;
    *ret_rows = json_object_get(json_object_array_get_idx(rows, 0));
    return 0;
}
