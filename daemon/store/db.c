/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One connection to the database: opened so that damage, a newer version and a full disk are told
 * apart. */
#include "daemon/store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"

#define BUSY_TIMEOUT_MSEC 5000

struct store_db {
    sqlite3 *sqlite;
    struct store_writer *writer;
    bool unclean;
    uint64_t checked;
    int64_t last_finding_id;
    char record[33];
};

static void sqlite3_closep(sqlite3 **sqlite)
{
    sqlite3_close(*sqlite);
}

static void store_db_freep(struct store_db **db)
{
    store_db_free(*db, true);
}

/* The system's errno of the last failed access, 0 unknown. A commit's failure is noted at the file
 * alone, the log's or the database's; sqlite3_system_errno() does not have it. */
static int system_error(sqlite3 *sqlite)
{
    sqlite3_file *log = NULL;
    int error = 0;

    if (!sqlite)
        return 0;
    sqlite3_file_control(sqlite, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    if (log && log->pMethods)
        log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &error);
    if (error == 0)
        sqlite3_file_control(sqlite, "main", SQLITE_FCNTL_LAST_ERRNO, &error);
    return error != 0 ? error : sqlite3_system_errno(sqlite);
}

int store_db_prepare(sqlite3 *sqlite, const char *sql, int64_t number, sqlite3_stmt **ret_statement)
{
    int code = sqlite3_prepare_v2(sqlite, sql, -1, ret_statement, NULL);

    if (code == SQLITE_OK && sqlite3_bind_parameter_count(*ret_statement) > 0)
        code = sqlite3_bind_int64(*ret_statement, 1, number);
    return code == SQLITE_OK ? 0 : store_db_error(sqlite, code);
}

int store_db_error(sqlite3 *sqlite, int code)
{
    int extended = sqlite && (sqlite3_errcode(sqlite) & 0xff) == (code & 0xff)
                       ? sqlite3_extended_errcode(sqlite)
                       : code;
    int system;

    switch (extended) {
    case SQLITE_IOERR_SHORT_READ:
    case SQLITE_IOERR_DATA:
        return -EUCLEAN;
    case SQLITE_IOERR_CORRUPTFS:
        return STORE_READ_ERROR;
    case SQLITE_IOERR_NOMEM:
        return -ENOMEM;
    }
    switch (code & 0xff) {
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_CORRUPT:        /* also what becomes of a read() that failed */
        system = system_error(sqlite);
        return system == EIO || system == ENXIO ? STORE_READ_ERROR : -EUCLEAN;
    case SQLITE_NOTADB:
        return -EUCLEAN;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return -EACCES;
    case SQLITE_INTERRUPT:
        return -ECANCELED;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        system = system_error(sqlite);
        return system > 0 ? -system : -EIO;
    default:
        return -EBADMSG;
    }
}

/* False when not all of it can be read. */
static bool is_readable(const char *path)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char buf[65536];
    ssize_t n;

    if (fd < 0)
        return errno != EIO;
    do
        n = read(fd, buf, sizeof(buf));
    while (n > 0 || (n < 0 && errno == EINTR));
    return n == 0;
}

int store_db_settle(const char *path, int r)
{
    _cleanup_free_ char *log = NULL;

    if (r != STORE_READ_ERROR)
        return r;
    if (asprintf(&log, "%s-wal", path) < 0) {
        log = NULL;
        return -ENOMEM;
    }
    return is_readable(path) && is_readable(log) ? -EIO : -EUCLEAN;
}

/* New files are for the owner alone (paths and weaknesses of guests are worth hiding); -wal and
 * -shm follow it. */
static int create_private(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static int run(sqlite3 *sqlite, const char *sql)
{
    int code = sqlite3_exec(sqlite, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? 0 : store_db_error(sqlite, code);
}

/* sqlite_sequence has the largest id ever given, of a finding that was deleted too. */
static const char state_sql[] =
    "SELECT clean, checked, max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'finding'), "
    "0),"
    " coalesce((SELECT max(id) FROM finding), 0)), record FROM state WHERE id = 1";

static int read_state(struct store_db *db)
{
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db->sqlite, state_sql, -1, &statement, NULL);

    if (code != SQLITE_OK)
        return store_db_error(db->sqlite, code);
    code = sqlite3_step(statement);
    if (code == SQLITE_DONE)
        return -EUCLEAN;
    if (code != SQLITE_ROW)
        return store_db_error(db->sqlite, code);
    db->unclean = sqlite3_column_int(statement, 0) == 0;
    db->checked = (uint64_t)sqlite3_column_int64(statement, 1);
    db->last_finding_id = sqlite3_column_int64(statement, 2);
    (void)snprintf(db->record, sizeof(db->record), "%s",
                   (const char *)sqlite3_column_text(statement, 3));
    return 0;
}

/* WAL with synchronous=NORMAL: what is committed survives the death of the process at any moment,
 * as it is in the kernel's cache; a power failure may take the last transactions, never their order
 * or the database's soundness. write.c raises it to FULL for batches with events. */
static int configure(sqlite3 *sqlite)
{
    static const char *const pragmas[] = {
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = NORMAL",
        "PRAGMA foreign_keys = ON",
        "PRAGMA journal_size_limit = 67108864",
        "PRAGMA cache_size = -8192",
        "PRAGMA temp_store = MEMORY",
    };

    for (size_t i = 0; i < ELEMENTSOF(pragmas); i++) {
        int r = run(sqlite, pragmas[i]);

        if (r < 0)
            return r;
    }
    return 0;
}

/* A database that carries this version and does not have its tables, or holds what they cannot, is
 * damaged. */
static int damaged_if_refused(int r)
{
    return r == -EBADMSG ? -EUCLEAN : r;
}

int store_db_open(const char *path, struct store_db **ret_db)
{
    _cleanup_(store_db_freep) struct store_db *db = calloc(1, sizeof(*db));
    int code, version, r;

    if (!db)
        return -ENOMEM;
    r = create_private(path);
    if (r < 0)
        return r;
    code = sqlite3_open_v2(path, &db->sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK)
        return store_db_error(db->sqlite, code);
    sqlite3_extended_result_codes(db->sqlite, 1);
    sqlite3_busy_timeout(db->sqlite, BUSY_TIMEOUT_MSEC);
    /* After a failure from here on, nothing in the files is moved or tidied up. */
    sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);

    r = store_version(db->sqlite, &version);
    if (r == 0 && version == 0)
        r = run(db->sqlite, SHRINK_MODE_SQL);
    if (r < 0)
        return r;
    /* Before journal_mode, which writes: a newer version's database stays as it is. */
    r = store_migrate_to_current(db->sqlite);
    if (r < 0)
        return damaged_if_refused(r);
    r = configure(db->sqlite);
    if (r == 0)
        r = store_shrink_enable(db->sqlite);
    if (r < 0)
        return r;
    r = read_state(db);
    if (r < 0)
        return damaged_if_refused(r);
    r = store_writer_new(db->sqlite, &db->writer);
    if (r < 0)
        return damaged_if_refused(r);
    *ret_db = TAKE_PTR(db);
    return 0;
}

struct store_db *store_db_free(struct store_db *db, bool keep_wal)
{
    if (!db)
        return NULL;
    store_writer_free(db->writer);
    if (db->sqlite)
        sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep_wal, NULL);
    sqlite3_close(db->sqlite);
    free(db);
    return NULL;
}

bool store_db_is_moved(struct store_db *db)
{
    int moved = 0;

    sqlite3_file_control(db->sqlite, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    return moved != 0;
}

int store_db_open_reader(const char *path, sqlite3 **ret_sqlite)
{
    _cleanup_(sqlite3_closep) sqlite3 *sqlite = NULL;
    int code = sqlite3_open_v2(path, &sqlite, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);

    if (code != SQLITE_OK)
        return store_db_error(sqlite, code);
    sqlite3_extended_result_codes(sqlite, 1);
    sqlite3_busy_timeout(sqlite, BUSY_TIMEOUT_MSEC);
    *ret_sqlite = TAKE_PTR(sqlite);
    return 0;
}

sqlite3 *store_db_sqlite(struct store_db *db)
{
    return db->sqlite;
}

struct store_writer *store_db_writer(struct store_db *db)
{
    return db->writer;
}

bool store_db_was_unclean(const struct store_db *db)
{
    return db->unclean;
}

uint64_t store_db_checked(const struct store_db *db)
{
    return db->checked;
}

int64_t store_db_last_finding_id(const struct store_db *db)
{
    return db->last_finding_id;
}

const char *store_db_record(const struct store_db *db)
{
    return db->record;
}

int store_db_mark_clean(struct store_db *db)
{
    return run(db->sqlite, "UPDATE state SET clean = 1 WHERE clean = 0");
}

int store_db_mark_checked(struct store_db *db, uint64_t when)
{
    char sql[80];

    snprintf(sql, sizeof(sql), "UPDATE state SET checked = %lld", (long long)when);
    return run(db->sqlite, sql);
}
