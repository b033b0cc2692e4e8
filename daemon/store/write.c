/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writes a batch: every kind of row is a list of statements that take the row's values by
 * number. */
#include <errno.h>

#include "daemon/core/log.h"
#include "daemon/store/db.h"
#include "lib/cleanup.h"

#define STATEMENTS_MAX 8
#define PRUNE_MAX "100"

/* The one parameter that is not a value of the row: the time, or how many audits to keep. */
#define EXTRA_INDEX 60
#define EXTRA "?60"

/* A new datastore that only an image tells of so far (after a damaged database): what is not known
 * is empty. */
#define DATASTORE_OF_IMAGE                                                                         \
    "INSERT INTO datastore (name, path, recursive, state, error, fsid, size, available, type,"     \
    " network, watched, watch_error, overflows, unreadable, walk, walk_started, walk_finished,"    \
    " paused_until, n_images) VALUES (?2, ?3, 1, 'starting', 0, 0, 0, 0, '', 0, 0, 0, 0, 0, 0, 0," \
    " 0, 0, 0) ON CONFLICT (name) DO NOTHING"

#define IMAGE_ID "(SELECT id FROM image WHERE path = ?1)"

static const char *const row_statements[_ROW_MAX][STATEMENTS_MAX] = {
    [ROW_DATASTORE] = {
        "INSERT INTO datastore (name, path, recursive, state, error, fsid, size, available, type, "
        "network, watched,"
        " watch_error, overflows, unreadable, walk, walk_started, walk_finished, paused_until,"
        " n_images, coverage)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
        " ?19, ?22)"
        " ON CONFLICT (name) DO UPDATE SET path = ?2, recursive = ?3, state = ?4, error = ?5, fsid"
        " = ?6, size = ?7,"
        " available = ?8, type = ?9, network = ?10, watched = ?11, watch_error = ?12, overflows ="
        " ?13,"
        " unreadable = ?14, walk = ?15, walk_started = ?16, walk_finished = ?17, paused_until ="
        " ?18, n_images = ?19, coverage = ?22",
        "INSERT INTO sample (datastore, at, available) SELECT ?1, ?20, ?21 WHERE ?20 > 0 ON "
        "CONFLICT DO NOTHING",
        "DELETE FROM sample WHERE datastore = ?1 AND at < ?20 - 172800000000",
    },
    [ROW_IMAGE] = {
        DATASTORE_OF_IMAGE,
        "INSERT INTO image (path, datastore, present, first_seen, last_seen, walk, fsid, inode, "
        "btime, size, allocated,"
        " mtime, ctime, mode, uid, gid, links, use, worker_deaths, past_format, past_until,"
        " past_size, past_virtual_size, raw_size, former)"
        " VALUES (?1, (SELECT id FROM datastore WHERE name = ?2), ?4, ?5, ?6, ?7, ?8, ?9, ?10,"
        " ?11, ?12, ?13, ?14, ?15,"
        " ?16, ?17, ?18, ?19, ?20, ?37, ?38, ?39, ?40, ?41, ?42)"
        " ON CONFLICT (path) DO UPDATE SET datastore = excluded.datastore, present = ?4, gone ="
        " NULL, first_seen = ?5,"
        " last_seen = ?6, walk = ?7, fsid = ?8, inode = ?9, btime = ?10, size = ?11, allocated ="
        " ?12, mtime = ?13,"
        " ctime = ?14, mode = ?15, uid = ?16, gid = ?17, links = ?18, use = ?19, worker_deaths ="
        " ?20, past_format = ?37, past_until = ?38, past_size = ?39, past_virtual_size = ?40,"
        " raw_size = ?41, former = ?42",
        "DELETE FROM edge WHERE child = " IMAGE_ID,
        "INSERT INTO edge (child, kind, state, stored, format, path, fsid, inode, btime, error)"
        " SELECT id, 'parent', ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28 FROM image WHERE path = ?1"
        " AND ?21 <> 'none'",
        "INSERT INTO edge (child, kind, state, stored, format, path, fsid, inode, btime, error)"
        " SELECT id, 'data-file', ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36 FROM image WHERE path ="
        " ?1 AND ?29 <> 'none'",
    },
    [ROW_AUDIT] = {
        DATASTORE_OF_IMAGE,
        "INSERT INTO image (path, datastore, present, first_seen, last_seen, walk, fsid, inode, "
        "btime, size, allocated,"
        " mtime, ctime, mode, uid, gid, links, use, worker_deaths)"
        " VALUES (?1, (SELECT id FROM datastore WHERE name = ?2), 1, ?4, ?5, 0, ?9, ?10, ?11, ?12,"
        " ?13, ?14, ?15, ?16,"
        " ?17, ?18, ?19, ?7, 0) ON CONFLICT (path) DO NOTHING",
        "INSERT INTO audit (image, started, finished, confidence, use, deep, fsid, inode, btime, "
        "size, allocated,"
        " mtime, ctime, mode, uid, gid, links, error, open_kind, open_layer, open_offset,"
        " open_value, open_bound,"
        " open_field, open_text, worker_signal, worker_status, bytes_read, elapsed_usec, cpu_usec,"
        " peak_memory, format, version,"
        " virtual_size, cluster_size, refcount_bits, incompatible, compatible, autoclear,"
        " n_snapshots, n_bitmaps,"
        " check_finished, corruptions, leaks, check_errors, total_clusters, allocated_clusters,"
        " image_end, n_issues)"
        " SELECT id, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,"
        " ?20, ?21, ?22, ?23, ?24,"
        " ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36, ?37, ?38, ?39, ?40, ?41,"
        " ?42, ?43, ?44, ?45, ?46,"
        " ?47, ?48, ?49, ?50, ?51 FROM image WHERE path = ?1",
        "UPDATE image SET audit_before = audit, audit = last_insert_rowid() WHERE path = ?1",
        "INSERT INTO report (audit, image, version, body) SELECT audit, id, ?52, ?53 FROM image "
        "WHERE path = ?1",
        "DELETE FROM report WHERE image = " IMAGE_ID
        " AND audit < coalesce((SELECT audit_before FROM image WHERE path = ?1), 0)",
    },
    [ROW_GONE] = {
        "DELETE FROM edge WHERE child = " IMAGE_ID,
        "DELETE FROM report WHERE image = " IMAGE_ID,
        "DELETE FROM disk_move WHERE overlay = ?1",
        "UPDATE image SET present = 0, gone "
        "= " EXTRA ", audit = NULL, audit_before = NULL WHERE path = ?1",
    },
    [ROW_RENAMED] = {
        "DELETE FROM image WHERE path = ?2 AND EXISTS (SELECT 1 FROM image WHERE path = ?1)",
        "UPDATE image SET path = ?2 WHERE path = ?1",
        "UPDATE digest SET path = ?2 WHERE path = ?1",
        "DELETE FROM finding WHERE subject_kind = 'image' AND subject = ?2 AND type IN"
        " (SELECT type FROM finding WHERE subject_kind = 'image' AND subject = ?1)",
        "UPDATE finding SET subject = ?2 WHERE subject_kind = 'image' AND subject = ?1",
        "UPDATE event SET subject = ?2 WHERE subject_kind = 'image' AND subject = ?1",
        "UPDATE OR REPLACE disk_move SET overlay = ?2 WHERE overlay = ?1",
        "UPDATE disk_move SET parent = ?2 WHERE parent = ?1",
    },
    [ROW_FINDING] = {
        /* A new life of the same finding has a new id; there is one row for a type and a
         * subject. */
        "DELETE FROM finding WHERE type = ?2 AND subject_kind = ?3 AND subject = ?4 AND id <> ?1",
        "INSERT INTO finding (id, type, subject_kind, subject, datastore, state, severity, "
        "confidence, first_seen,"
        " last_seen, changed, resolved, count, misses, weight, evidence, remedy, acknowledged_by,"
        " acknowledged_reason,"
        " acknowledged_until, acknowledged_weight, reminded, reminders)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, coalesce(?16,"
        " '{}'), ?17, ?18, ?19,"
        " ?20, ?21, ?22, ?23)"
        " ON CONFLICT (id) DO UPDATE SET datastore = ?5, state = ?6, severity = ?7, confidence ="
        " ?8, first_seen = ?9,"
        " last_seen = ?10, changed = ?11, resolved = ?12, count = ?13, misses = ?14, weight = ?15,"
        " evidence = coalesce(?16, '{}'), remedy = ?17, acknowledged_by = ?18, acknowledged_reason"
        " = ?19,"
        " acknowledged_until = ?20, acknowledged_weight = ?21, reminded = ?22, reminders = ?23",
    },
    [ROW_EVENT] = {
        "INSERT INTO event (id, type, at, finding, finding_id, subject_kind, subject, datastore, "
        "severity, confidence,"
        " message, depth, outbox) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
        " ON CONFLICT (id) DO NOTHING",
    },
    [ROW_TOLD] = {
        "INSERT INTO told (event, channel, at) SELECT seq, ?2, " EXTRA " FROM event WHERE id = ?1"
        " ON CONFLICT (event, channel) DO NOTHING",
        "UPDATE event SET outbox = 0 WHERE id = ?1 AND outbox = 1",
    },
    [ROW_BASELINE] = {
        "INSERT OR REPLACE INTO baseline (fsid, inode, btime, path, source, since, verified, "
        "digest, virtual_size,"
        " zeros, metadata, size, allocated, mtime, ctime, mode, uid, gid, links, attributes,"
        " parent_fsid, parent_inode,"
        " parent_btime, verity, blocks, accepted_by, reason, gone, lost_child, deviation,"
        " encrypted)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
        " ?19, ?20, ?21, ?22,"
        " ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31)",
    },
    [ROW_BASELINE_GONE] = {
        "DELETE FROM baseline WHERE fsid = ?1 AND inode = ?2 AND btime = ?3",
    },
    [ROW_READING] = {
        "INSERT INTO digest (path, started, finished, digest, virtual_size, read, zero, "
        "unallocated, direct, bad,"
        " verdict, explanation) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    },
    [ROW_DISK_MOVE] = {
        "INSERT OR REPLACE INTO disk_move (overlay, parent, at) VALUES (?1, ?2, ?3)",
    },
};

/* Depth is noted once, when the chain is known down to its end, which for a new store is in any
 * order: for the image itself, after all rows of the batch as its edges may come after its
 * audit; */
#define DEPTH_MAX "5000"        /* beyond QEMU's and libvirt's limits by far: a loop */
static const char depth_sql[] =
    "UPDATE audit SET depth = (WITH RECURSIVE layer (image, n) AS ("
    " SELECT id, 1 FROM image WHERE path = ?1"
    " UNION ALL SELECT i.id, n + 1 FROM layer"
    " JOIN edge e ON e.child = layer.image AND e.kind = 'parent'"
    " JOIN image i ON i.path = e.path WHERE n < " DEPTH_MAX ")"
    " SELECT CASE WHEN n >= " DEPTH_MAX " THEN 0"
    " WHEN (SELECT audit FROM image WHERE id = last) IS NULL THEN NULL"
    " WHEN EXISTS (SELECT 1 FROM edge WHERE child = last AND kind = 'parent') THEN NULL"
    " ELSE n END FROM (SELECT max(n) AS n, image AS last FROM layer))"
    " WHERE id = (SELECT audit FROM image WHERE path = ?1) AND depth IS NULL";

/* and for all above it that waited for it. A branch ends where it is known, so each audit is
 * visited once. */
static const char depth_above_sql[] =
    "WITH RECURSIVE start (path, depth) AS ("
    " SELECT i.path, a.depth FROM image i JOIN audit a ON a.id = i.audit WHERE i.path = ?1 AND"
    " a.depth IS NOT NULL),"
    " above (path, audit, n) AS ("
    " SELECT path, NULL, 0 FROM start"
    " UNION ALL SELECT i.path, i.audit, n + 1 FROM above"
    " JOIN edge e ON e.path = above.path AND e.kind = 'parent'"
    " JOIN image i ON i.id = e.child JOIN audit a ON a.id = i.audit"
    " WHERE a.depth IS NULL AND n < " DEPTH_MAX ")"
    " UPDATE audit SET depth = CASE (SELECT depth FROM start) WHEN 0 THEN 0"
    " ELSE (SELECT depth FROM start) + above.n END"
    " FROM above WHERE audit.id = above.audit";

static const char prune_sql[] =
    "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE image = " IMAGE_ID
    " ORDER BY id DESC LIMIT " PRUNE_MAX " OFFSET " EXTRA ")";

enum {
    SINGLE_BEGIN,
    SINGLE_COMMIT,
    SINGLE_ROLLBACK,
    SINGLE_UNCLEAN,
    SINGLE_DEPTH,
    SINGLE_DEPTH_ABOVE,
    SINGLE_PRUNE,
    _SINGLE_MAX,
};

static const char *const single_statements[_SINGLE_MAX] = {
    [SINGLE_BEGIN] = "BEGIN IMMEDIATE",
    [SINGLE_COMMIT] = "COMMIT",
    [SINGLE_ROLLBACK] = "ROLLBACK",
    [SINGLE_UNCLEAN] = "UPDATE state SET clean = 0 WHERE clean = 1",
    [SINGLE_DEPTH] = depth_sql,
    [SINGLE_DEPTH_ABOVE] = depth_above_sql,
    [SINGLE_PRUNE] = prune_sql,
};

struct store_writer {
    sqlite3 *sqlite;
    bool unclean;               /* the mark of a running daemon is in the database */
    bool full;                  /* synchronous as it is set now */
    sqlite3_stmt *rows[_ROW_MAX][STATEMENTS_MAX];
    sqlite3_stmt *singles[_SINGLE_MAX];
};

static void store_writer_freep(struct store_writer **writer)
{
    store_writer_free(*writer);
}

static int prepare(sqlite3 *sqlite, const char *sql, sqlite3_stmt **ret_statement)
{
    int code = sqlite3_prepare_v3(sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_statement, NULL);

    return code == SQLITE_OK ? 0 : store_db_error(sqlite, code);
}

int store_writer_new(sqlite3 *sqlite, struct store_writer **ret_writer)
{
    _cleanup_(store_writer_freep) struct store_writer *writer = calloc(1, sizeof(*writer));
    int r;

    if (!writer)
        return -ENOMEM;
    writer->sqlite = sqlite;
    for (unsigned kind = 0; kind < _ROW_MAX; kind++)
        for (unsigned i = 0; i < STATEMENTS_MAX && row_statements[kind][i]; i++) {
            r = prepare(sqlite, row_statements[kind][i], &writer->rows[kind][i]);
            if (r < 0)
                return r;
        }
    for (unsigned i = 0; i < _SINGLE_MAX; i++) {
        r = prepare(sqlite, single_statements[i], &writer->singles[i]);
        if (r < 0)
            return r;
    }
    *ret_writer = TAKE_PTR(writer);
    return 0;
}

struct store_writer *store_writer_free(struct store_writer *writer)
{
    if (!writer)
        return NULL;
    for (unsigned kind = 0; kind < _ROW_MAX; kind++)
        for (unsigned i = 0; i < STATEMENTS_MAX; i++)
            sqlite3_finalize(writer->rows[kind][i]);
    for (unsigned i = 0; i < _SINGLE_MAX; i++)
        sqlite3_finalize(writer->singles[i]);
    free(writer);
    return NULL;
}

static int bind_value(sqlite3_stmt *statement, int index, const struct value *value)
{
    switch (value->type) {
    case VALUE_INTEGER:
        return sqlite3_bind_int64(statement, index, value->integer);
    case VALUE_TEXT:
        return sqlite3_bind_text64(statement, index, value->data, value->size, SQLITE_STATIC,
                                   SQLITE_UTF8);
    case VALUE_BLOB:
        return sqlite3_bind_blob64(statement, index, value->data, value->size, SQLITE_STATIC);
    default:
        return sqlite3_bind_null(statement, index);
    }
}

/* A statement may use fewer values than the row has. */
static int bind_row(sqlite3_stmt *statement, const struct row *row, int64_t extra)
{
    int n = sqlite3_bind_parameter_count(statement);

    for (int i = 1; i <= n && (unsigned)i <= row->n_values; i++) {
        int code = bind_value(statement, i, &row->values[i - 1]);

        if (code != SQLITE_OK)
            return code;
    }
    return n == EXTRA_INDEX ? sqlite3_bind_int64(statement, EXTRA_INDEX, extra) : SQLITE_OK;
}

static int step_and_reset(struct store_writer *writer, sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    int r = code == SQLITE_DONE || code == SQLITE_ROW ? 0 : store_db_error(writer->sqlite, code);

    sqlite3_reset(statement);
    return r;
}

static int run_with_row(struct store_writer *writer, sqlite3_stmt *statement, const struct row *row,
                        int64_t extra)
{
    int code = bind_row(statement, row, extra);
    int r = code == SQLITE_OK ? step_and_reset(writer, statement)
                              : store_db_error(writer->sqlite, code);

    sqlite3_clear_bindings(statement);
    return r;
}

static int finish_image(struct store_writer *writer, const struct row *row, unsigned audits_kept)
{
    static const int steps[] = { SINGLE_DEPTH, SINGLE_DEPTH_ABOVE, SINGLE_PRUNE };

    for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
        int r = run_with_row(writer, writer->singles[steps[i]], row, audits_kept);

        if (r < 0)
            return r;
    }
    return 0;
}

static int write_rows(struct store_writer *writer, const struct store_batch *batch,
                      unsigned audits_kept, uint64_t now)
{
    int r;

    for (const struct row *row = batch->first; row; row = row->next)
        for (unsigned i = 0; i < STATEMENTS_MAX && writer->rows[row->kind][i]; i++) {
            r = run_with_row(writer, writer->rows[row->kind][i], row, (int64_t)now);
            if (r < 0)
                return r;
        }
    for (const struct row *row = batch->first; row; row = row->next) {
        r = row->kind == ROW_IMAGE || row->kind == ROW_AUDIT
                ? finish_image(writer, row, audits_kept)
                : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

/* An event that a power failure takes back would be found and told again under another id; an audit
 * is merely done again. So only events wait for the disk. */
static int set_synchronous(struct store_writer *writer, bool full)
{
    int code;

    if (writer->full == full)
        return 0;
    code = sqlite3_exec(writer->sqlite,
                        full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", NULL,
                        NULL, NULL);
    if (code != SQLITE_OK)
        return store_db_error(writer->sqlite, code);
    writer->full = full;
    return 0;
}

int store_writer_write(struct store_writer *writer, const struct store_batch *batch,
                       unsigned audits_kept, uint64_t now)
{
    int r;

    r = set_synchronous(writer, store_batch_is_precious(batch));
    if (r < 0)
        return r;
    r = step_and_reset(writer, writer->singles[SINGLE_BEGIN]);
    if (r < 0)
        return r;
    if (!writer->unclean)
        r = step_and_reset(writer, writer->singles[SINGLE_UNCLEAN]);
    if (r == 0)
        r = write_rows(writer, batch, audits_kept > 2 ? audits_kept : 2, now);
    if (r == 0)
        r = step_and_reset(writer, writer->singles[SINGLE_COMMIT]);
    if (r < 0) {
        if (r == -EBADMSG)
            log_error(r, "The database refuses a change, which is dropped: %s",
                      sqlite3_errmsg(writer->sqlite));
        /* SQLite has rolled back by itself after some errors. */
        if (!sqlite3_get_autocommit(writer->sqlite))
            step_and_reset(writer, writer->singles[SINGLE_ROLLBACK]);
        return r;
    }
    writer->unclean = true;
    return 0;
}
