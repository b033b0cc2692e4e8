/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writes a batch: every kind of row is a list of statements that take the row's values by name. */
#include <errno.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/store/columns.h"
#include "daemon/store/db.h"
#include "daemon/store/record.h"
#include "lib/cleanup.h"

#define STATEMENTS_MAX 12
#define PRUNE_MAX "100"

/* Parameters of statements besides the row's values: the time, and how many audits to keep. */
#define NOW ":now"
#define AUDITS_KEPT ":audits_kept"
/* The number of the next event: a statement that takes it adds one to the record. */
#define NEXT_SEQ ":seq"

/* A new datastore that only an image tells of so far (after a damaged database): what is not known
 * is empty. */
#define DATASTORE_OF_IMAGE                                                                         \
    "INSERT INTO datastore (name, path, recursive, state, error, fsid, size, available, type,"     \
    " network, watched, watch_error, overflows, unreadable, walk, walk_started, walk_finished,"    \
    " paused_until, n_images) VALUES (:datastore_name, :datastore_path, 1, 'starting', 0, 0, 0, 0,"\
    " '', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) ON CONFLICT (name) DO NOTHING"

/* Likewise an image that only its audit tells of. */
#define IMAGE_OF_AUDIT                                                                             \
    "INSERT INTO image (path, datastore, present, first_seen, last_seen, walk, fsid, inode,"       \
    " btime, size, allocated, mtime, ctime, mode, uid, gid, links, use, worker_deaths) VALUES"     \
    " (:path, (SELECT id FROM datastore WHERE name = :datastore_name), 1, :started, :finished, 0," \
    " :fsid, :inode, :btime, :size, :allocated, :mtime, :ctime, :mode, :uid, :gid, :links, :use,"  \
    " 0) ON CONFLICT (path) DO NOTHING"

/* The time at which the hour of a sample begins. */
#define SAMPLE_HOUR "(:at / 3600000000 * 3600000000)"

#define IMAGE_ID "(SELECT id FROM image WHERE path = :path)"

/* Of an image's row: the references that it had go, and those that it has come. */
#define EDGE_OLD                                                                                   \
    "DELETE FROM edge WHERE child = (SELECT id FROM image WHERE path = :image) AND kind = :kind"
#define EDGE_NEW                                                                                   \
    "INSERT INTO edge ({edge}) SELECT {:edge} FROM image WHERE image.path = :image"                \
    " AND :state <> 'none'"

/* Braces as store_sql_expand() has them. */
static const char *const row_statements[_ROW_MAX][STATEMENTS_MAX] = {
    [ROW_DATASTORE] = {
        "INSERT INTO datastore ({datastore}) VALUES ({:datastore})"
        " ON CONFLICT (name) DO UPDATE SET {=datastore}",
    },
    [ROW_SAMPLE] = {
        "INSERT INTO sample ({sample}) VALUES ({:sample}) ON CONFLICT DO NOTHING",
        "DELETE FROM sample WHERE datastore = :datastore AND (at < :at - 172800000000 OR at > :at)",
        "INSERT INTO space (datastore, at, size, available)"
        " SELECT :datastore, :at, :size, :available WHERE :size <> 0 AND NOT EXISTS"
        " (SELECT 1 FROM space WHERE datastore = :datastore AND at >= " SAMPLE_HOUR
        " AND at < " SAMPLE_HOUR " + 3600000000)",
    },
    [ROW_IMAGE] = {
        DATASTORE_OF_IMAGE,
        "INSERT INTO image ({image}) VALUES ({:image})"
        " ON CONFLICT (path) DO UPDATE SET {=image}, gone = NULL",
    },
    [ROW_PARENT] = {
        EDGE_OLD,
        EDGE_NEW,
        "UPDATE overlay_history SET until = " NOW " WHERE overlay = :image AND until = 0"
        " AND (:state = 'none' OR parent <> :path)",
        "INSERT INTO overlay_history (overlay, parent, since, until, moved)"
        " SELECT :image, :path, " NOW ", 0, coalesce((SELECT at FROM disk_move"
        " WHERE overlay = :image AND parent = :path), 0)"
        " WHERE :state = 'found' AND :path <> :image AND NOT EXISTS (SELECT 1 FROM overlay_history"
        " WHERE overlay = :image AND parent = :path AND until = 0) ON CONFLICT DO NOTHING",
    },
    [ROW_DATA_FILE] = { EDGE_OLD, EDGE_NEW },
    [ROW_AUDIT] = {
        DATASTORE_OF_IMAGE,
        IMAGE_OF_AUDIT,
        "INSERT INTO audit ({audit}) SELECT {:audit} FROM image WHERE image.path = :path",
        "UPDATE image SET audit_before = audit, audit = last_insert_rowid() WHERE path = :path",
    },
    [ROW_REPORT] = {
        "INSERT INTO report ({report}) SELECT {:report} FROM image WHERE image.path = :path",
        "DELETE FROM report WHERE image = " IMAGE_ID
        " AND audit < coalesce((SELECT audit_before FROM image WHERE path = :path), 0)",
    },
    [ROW_GONE] = {
        "DELETE FROM edge WHERE child = " IMAGE_ID,
        "DELETE FROM report WHERE image = " IMAGE_ID,
        "DELETE FROM disk_move WHERE overlay = :path",
        "UPDATE overlay_history SET until = " NOW " WHERE overlay = :path AND until = 0",
        "UPDATE image SET present = 0, gone = " NOW ", audit = NULL, audit_before = NULL"
        " WHERE path = :path",
    },
    [ROW_RENAMED] = {
        "DELETE FROM image WHERE path = :after"
        " AND EXISTS (SELECT 1 FROM image WHERE path = :before)",
        "UPDATE image SET path = :after WHERE path = :before",
        "UPDATE digest SET path = :after WHERE path = :before",
        "DELETE FROM finding WHERE subject_kind = 'image' AND subject = :after AND type IN"
        " (SELECT type FROM finding WHERE subject_kind = 'image' AND subject = :before)",
        "UPDATE finding SET subject = :after WHERE subject_kind = 'image' AND subject = :before",
        /* Why events have another subject from then on than the one that they were written with. */
        "INSERT INTO event (seq, id, type, at, finding, finding_id, subject_kind, subject,"
        " datastore, severity, confidence, message, depth, outbox, origin, renamed)"
        " SELECT max(" NEXT_SEQ ", (SELECT coalesce(max(seq), 0) + 1 FROM event)),"
        " lower(hex(randomblob(16))), 'renamed', " NOW ", '', 0, 'image', :before, '', 'info',"
        " 'offline', '', 0, 0, :before, :after WHERE EXISTS (SELECT 1 FROM event"
        " WHERE subject_kind = 'image' AND subject = :before)",
        "UPDATE event SET subject = :after WHERE subject_kind = 'image' AND subject = :before",
        "UPDATE OR REPLACE disk_move SET overlay = :after WHERE overlay = :before",
        "UPDATE disk_move SET parent = :after WHERE parent = :before",
        "UPDATE OR REPLACE overlay_history SET overlay = :after WHERE overlay = :before",
        "UPDATE OR REPLACE overlay_history SET parent = :after WHERE parent = :before",
    },
    [ROW_FINDING] = {
        /* A new life of the same finding has a new id; there is one row for a type and a
         * subject. */
        "DELETE FROM finding WHERE type = :type AND subject_kind = :subject_kind"
        " AND subject = :subject AND id <> :id",
        "INSERT INTO finding ({finding}) VALUES ({:finding})"
        " ON CONFLICT (id) DO UPDATE SET {=finding}",
    },
    [ROW_EVENT] = {
        "INSERT INTO event ({event}) VALUES ({:event}) ON CONFLICT (id) DO NOTHING",
    },
    [ROW_TOLD] = {
        "INSERT INTO told ({told}) SELECT {:told} FROM event WHERE event.id = :id"
        " ON CONFLICT (event, channel) DO NOTHING",
        "UPDATE event SET outbox = outbox & ~:outbox WHERE id = :id AND outbox & :outbox",
    },
    [ROW_BASELINE] = {
        "INSERT OR REPLACE INTO baseline ({baseline}) VALUES ({:baseline})",
    },
    [ROW_BASELINE_GONE] = {
        "DELETE FROM baseline WHERE fsid = :fsid AND inode = :inode AND btime = :btime",
    },
    [ROW_READING] = {
        "INSERT INTO digest ({digest}) VALUES ({:digest})",
    },
    [ROW_DISK_MOVE] = {
        "INSERT OR REPLACE INTO disk_move ({disk_move}) VALUES ({:disk_move})",
        "UPDATE overlay_history SET moved = :at WHERE overlay = :overlay AND parent = :parent"
        " AND until = 0",
    },
    [ROW_OTHERS] = {
        "INSERT OR REPLACE INTO other_files ({other_files}) VALUES ({:other_files})",
    },
    [ROW_MUTE] = {
        "INSERT OR REPLACE INTO mute ({mute}) VALUES ({:mute})",
        /* Those that ended long ago, and long before this one. */
        "DELETE FROM mute WHERE ended > 0 AND id < :id"
        " AND (ended < :made - :ended_kept OR id < :id - :numbers_kept)",
    },
};

/* Depth is noted once, when the chain is known down to its end, which for a new store is in any
 * order: for the image itself, after all rows of the batch as its edges may come after its
 * audit; */
#define DEPTH_MAX "5000"        /* beyond QEMU's and libvirt's limits by far: a loop */
static const char depth_sql[] =
    "UPDATE audit SET depth = (WITH RECURSIVE layer (image, n) AS ("
    " SELECT id, 1 FROM image WHERE path = :path"
    " UNION ALL SELECT i.id, n + 1 FROM layer"
    " JOIN edge e ON e.child = layer.image AND e.kind = 'parent'"
    " JOIN image i ON i.path = e.path WHERE n < " DEPTH_MAX ")"
    " SELECT CASE WHEN n >= " DEPTH_MAX " THEN 0"
    " WHEN (SELECT audit FROM image WHERE id = last) IS NULL THEN NULL"
    " WHEN EXISTS (SELECT 1 FROM edge WHERE child = last AND kind = 'parent') THEN NULL"
    " ELSE n END FROM (SELECT max(n) AS n, image AS last FROM layer))"
    " WHERE id = (SELECT audit FROM image WHERE path = :path) AND depth IS NULL";

/* and for all above it that waited for it. A branch ends where it is known, so each audit is
 * visited once. */
static const char depth_above_sql[] =
    "WITH RECURSIVE start (path, depth) AS ("
    " SELECT i.path, a.depth FROM image i JOIN audit a ON a.id = i.audit WHERE i.path = :path AND"
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
    " ORDER BY id DESC LIMIT " PRUNE_MAX " OFFSET " AUDITS_KEPT ")";

enum {
    SINGLE_BEGIN,
    SINGLE_COMMIT,
    SINGLE_ROLLBACK,
    SINGLE_UNCLEAN,
    SINGLE_DEPTH,
    SINGLE_DEPTH_ABOVE,
    SINGLE_PRUNE,
    SINGLE_EVENT,
    SINGLE_EVENT_DIGEST,
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
    [SINGLE_EVENT] = "SELECT " RECORD_COLUMNS " FROM event WHERE seq = ?1",
    [SINGLE_EVENT_DIGEST] = "UPDATE event SET digest = ?2 WHERE seq = ?1",
};

struct store_writer {
    sqlite3 *sqlite;
    bool unclean;               /* the mark of a running daemon is in the database */
    bool full;                  /* synchronous as it is set now */
    struct record_head head;    /* of what is written, and in a transaction of what will be */
    sqlite3_stmt *rows[_ROW_MAX][STATEMENTS_MAX];
    sqlite3_stmt *singles[_SINGLE_MAX];
};

/* Of one writing. */
struct terms {
    uint64_t now;               /* usec */
    unsigned audits_kept;
    int64_t next_seq;
};

static void store_writer_freep(struct store_writer **writer)
{
    store_writer_free(*writer);
}

static int prepare(sqlite3 *sqlite, const char *sql, sqlite3_stmt **ret_statement)
{
    _cleanup_free_ char *expanded = NULL;
    int code, r = store_sql_expand(sql, &expanded);

    if (r < 0)
        return r;
    code = sqlite3_prepare_v3(sqlite, expanded, -1, SQLITE_PREPARE_PERSISTENT, ret_statement, NULL);
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
    r = record_head_load(sqlite, &writer->head);
    if (r < 0)
        return r;
    *ret_writer = TAKE_PTR(writer);
    return 0;
}

const struct record_head *store_writer_head(const struct store_writer *writer)
{
    return &writer->head;
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

/* A statement may use fewer values than the row has, never one that it has not. */
static int bind_row(sqlite3_stmt *statement, const struct batch_row *row, const struct terms *terms)
{
    int n = sqlite3_bind_parameter_count(statement), code = SQLITE_OK;
    unsigned at = 0;

    for (int i = 1; i <= n && code == SQLITE_OK; i++) {
        const char *name = sqlite3_bind_parameter_name(statement, i);
        const struct value *value;

        if (strcmp(name, NOW) == 0) {
            code = sqlite3_bind_int64(statement, i, (int64_t)terms->now);
        } else if (strcmp(name, AUDITS_KEPT) == 0) {
            code = sqlite3_bind_int64(statement, i, terms->audits_kept);
        } else if (strcmp(name, NEXT_SEQ) == 0) {
            code = sqlite3_bind_int64(statement, i, terms->next_seq);
        } else {
            value = row_value(row, name, &at);
            code = value ? bind_value(statement, i, value) : SQLITE_RANGE;
        }
    }
    return code;
}

static int step_and_reset(struct store_writer *writer, sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    int r = code == SQLITE_DONE || code == SQLITE_ROW ? 0 : store_db_error(writer->sqlite, code);

    sqlite3_reset(statement);
    return r;
}

static int run_with_row(struct store_writer *writer, sqlite3_stmt *statement,
                        const struct batch_row *row, const struct terms *terms)
{
    int code = bind_row(statement, row, terms);
    int r = code == SQLITE_OK ? step_and_reset(writer, statement)
                              : store_db_error(writer->sqlite, code);

    sqlite3_clear_bindings(statement);
    return r;
}

/* The event that was just added gets its digest: of what the database has of it. */
static int chain_event(struct store_writer *writer)
{
    sqlite3_stmt *event = writer->singles[SINGLE_EVENT],
                 *update = writer->singles[SINGLE_EVENT_DIGEST];
    struct record_head head = { .seq = sqlite3_last_insert_rowid(writer->sqlite) };
    _cleanup_free_ char *body = NULL;
    size_t size = 0;
    int code, r;

    sqlite3_bind_int64(event, 1, head.seq);
    code = sqlite3_step(event);
    r = code == SQLITE_ROW ? record_body(event, 0, &body, &size)
                           : store_db_error(writer->sqlite, code);
    sqlite3_reset(event);
    if (r >= 0)
        r = record_link(body, size, writer->head.digest, head.digest);
    if (r < 0)
        return r;
    sqlite3_bind_int64(update, 1, head.seq);
    sqlite3_bind_blob(update, 2, head.digest, RECORD_DIGEST_SIZE, SQLITE_STATIC);
    r = step_and_reset(writer, update);
    sqlite3_clear_bindings(update);
    if (r >= 0)
        writer->head = head;
    return r;
}

/* One of the statements of a row. */
static int run_of_row(struct store_writer *writer, sqlite3_stmt *statement,
                      const struct batch_row *row, struct terms *terms)
{
    int r;

    terms->next_seq = writer->head.seq + 1;
    r = run_with_row(writer, statement, row, terms);
    if (r >= 0 && sqlite3_bind_parameter_index(statement, NEXT_SEQ) > 0 &&
        sqlite3_changes(writer->sqlite) > 0)
        r = chain_event(writer);
    return r;
}

static int finish_image(struct store_writer *writer, const struct batch_row *row,
                        const struct terms *terms)
{
    static const int steps[] = { SINGLE_DEPTH, SINGLE_DEPTH_ABOVE, SINGLE_PRUNE };

    for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
        int r = run_with_row(writer, writer->singles[steps[i]], row, terms);

        if (r < 0)
            return r;
    }
    return 0;
}

static int write_rows(struct store_writer *writer, const struct store_batch *batch,
                      struct terms *terms)
{
    const struct batch_row *row;
    int r;

    STAILQ_FOREACH(row, &batch->rows, link)
        for (unsigned i = 0; i < STATEMENTS_MAX && writer->rows[row->kind][i]; i++) {
            r = run_of_row(writer, writer->rows[row->kind][i], row, terms);
            if (r < 0)
                return r;
        }
    STAILQ_FOREACH(row, &batch->rows, link) {
        r = row->kind == ROW_IMAGE || row->kind == ROW_AUDIT
                ? finish_image(writer, row, terms)
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
    struct terms terms = { .now = now, .audits_kept = audits_kept > 2 ? audits_kept : 2 };
    const struct record_head head = writer->head;
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
        r = write_rows(writer, batch, &terms);
    if (r == 0)
        r = step_and_reset(writer, writer->singles[SINGLE_COMMIT]);
    if (r < 0) {
        writer->head = head;
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
