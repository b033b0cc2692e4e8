/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The database as one connection: opened, migrated, written batch by batch, swept. Used by one
 * thread at a time. */
#pragma once

#include <sqlite3.h>

#include "daemon/store/batch.h"
#include "qcaudit/control.h"

struct store_db;

/* ---- the state folder (folder.c) ------------------------------------------------------------ */

/* Locks directory/lock for this process; the descriptor keeps it. -EBUSY and the holder's pid (0:
 * unknown). */
int store_folder_lock(const char *directory, pid_t *ret_holder, int *ret_fd);
/* -EBUSY while another process has it locked; asked without taking the lock, as a daemon may start
 * any time. */
int store_folder_look(const char *directory);
/* Is directory/lock still the file that fd locks? Else the folder or the file is gone, or
 * another's: locks what is there now, into *fd. -EBUSY when another process holds that. */
int store_folder_relock(const char *directory, int *fd);
/* Renames the database and its -wal and -shm to a free name with the time in it. No connection may
 * be open. *ret_path (malloc'd) is where the database is now. */
int store_folder_put_aside(const char *directory, char **ret_path);

/* ---- opening and migrating (db.c, migrate.c) ------------------------------------------------- */

/* Opens or makes path. -EUCLEAN: damaged; -EPROTONOSUPPORT: made by a newer version, untouched. */
int store_db_open(const char *path, struct store_db **ret_db);
/* keep_wal: leaves -wal and -shm as they are, for a damaged database. */
struct store_db *store_db_free(struct store_db *db, bool keep_wal);
/* Is the file no longer where it was opened: removed, renamed, or another in its place? */
bool store_db_is_moved(struct store_db *db);
/* A second connection that can only read. */
int store_db_open_reader(const char *path, sqlite3 **ret_sqlite);
sqlite3 *store_db_sqlite(struct store_db *db);
/* As it was when opened: was the last stop unclean, when was the last quick_check? */
bool store_db_was_unclean(const struct store_db *db);
uint64_t store_db_checked(const struct store_db *db);
/* The largest id a finding ever had. */
int64_t store_db_last_finding_id(const struct store_db *db);
/* state.record; "" unknown. */
const char *store_db_record(const struct store_db *db);
int store_db_mark_clean(struct store_db *db);
int store_db_mark_checked(struct store_db *db, uint64_t when);

/* Prepares a statement, with a number as its first parameter if it has one. *ret_statement is to be
 * finalized, also on failure. */
int store_db_prepare(sqlite3 *sqlite, const char *sql, int64_t number,
                     sqlite3_stmt **ret_statement);
/* The last error of a connection, as -errno: -ENOSPC, -EUCLEAN (damaged), -EIO and the system's own
 * for I/O, -EBADMSG for what no repetition would mend. code is what the failed call returned. */
int store_db_error(sqlite3 *sqlite, int code);
/* Of store_db_error(): the disk did not give what the file holds. Once, or always? */
#define STORE_READ_ERROR (-EREMOTEIO)
/* Reads the files of the database at path to see that: -EUCLEAN when they cannot be read, as good
 * as damaged; -EIO when they can, so that it was the way to the disk. Other errors as they are. */
int store_db_settle(const char *path, int r);

/* steps[i] leads from version i to i + 1; each runs in a transaction with its user_version. A
 * failed step leaves the version before it. -EPROTONOSUPPORT when the database is beyond
 * n_steps. */
int store_migrate(sqlite3 *sqlite, const char *const *steps, size_t n_steps);
/* The program's own steps. */
int store_migrate_to_current(sqlite3 *sqlite);
int store_version(sqlite3 *sqlite, int *ret_version);

/* ---- writing (write.c) ----------------------------------------------------------------------- */

struct store_writer;

/* Prepares every statement. */
int store_writer_new(sqlite3 *sqlite, struct store_writer **ret_writer);
struct store_writer *store_writer_free(struct store_writer *writer);
struct store_writer *store_db_writer(struct store_db *db);
/* Of what is written. */
struct record_head;
const struct record_head *store_writer_head(const struct store_writer *writer);
/* The batch in one transaction, all or nothing. audits_kept: per image, at least the last two are.
 * now: usec, for what has no time of its own. */
int store_writer_write(struct store_writer *writer, const struct store_batch *batch,
                       unsigned audits_kept, uint64_t now);

/* ---- sweeping (sweep.c) ---------------------------------------------------------------------- */

/* The clock that sweeping goes by. */
struct sweep_clock {
    uint64_t now;               /* usec, realtime; 0: not known yet */
    uint64_t seen;              /* usec, monotonic: when it was told last */
    uint64_t saved;             /* as the database has it */
};

/* The newest ones stay. */
#define STORE_EVENTS_PER_SUBJECT 2000

/* The clock's time, but where that jumps ahead, it is followed by SWEEP_SPEED times the time that
 * passes: a clock that is wrong by years must not cost the history at once, and somebody may notice
 * it. The monotonic clock tells what passes. Pure. */
uint64_t sweep_clock_tell(struct sweep_clock *clock, uint64_t realtime, uint64_t monotonic);
#define SWEEP_SPEED 30
/* From what the database was swept by last; of one that never was, by the newest that it holds;
 * of an empty one, realtime. */
int sweep_clock_load(sqlite3 *sqlite, uint64_t realtime, uint64_t monotonic,
                     struct sweep_clock *ret_clock);
/* Seldom: once an hour of that time. */
int sweep_clock_save(sqlite3 *sqlite, struct sweep_clock *clock);

/* Deletes a bounded number of rows from before oldest (usec); *ret_more: there is more to do now.
 * *position is the audit.id looked at last, 0 at first. */
int store_sweep_step(sqlite3 *sqlite, uint64_t oldest, int64_t *position, bool *ret_more);

/* ---- getting smaller (shrink.c) -------------------------------------------------------------- */

/* Of a database without tables. */
#define SHRINK_MODE_SQL "PRAGMA auto_vacuum = INCREMENTAL"
/* Makes it so for a database of an older version, which is written anew if it is small; a large one
 * stays as it is, and never gets smaller. */
int store_shrink_enable(sqlite3 *sqlite);
/* Gives back at most a MiB of what is not used, if that is much. */
int store_shrink_step(sqlite3 *sqlite, bool *ret_more);

/* ---- reading (load.c, query.c) --------------------------------------------------------------- */

int store_load_all(sqlite3 *sqlite, const struct store_loader *loader, uint64_t now);

/* Rows with ids below before; *ret_next is the id of the last one when there are more, else 0. */
int store_query(sqlite3 *sqlite, const struct history_question *question, int64_t before,
                json_object **ret_rows, int64_t *ret_next);

/* HISTORY_FINDINGS_AT and HISTORY_CHANGES (past.c): findings with ids below before. A page may have
 * fewer rows than there is room for, and go on. */
int store_past(sqlite3 *sqlite, const struct history_question *question, int64_t before,
               json_object **ret_rows, int64_t *ret_next);

/* ---- small things ---------------------------------------------------------------------------- */

static inline __attribute__((unused)) void sqlite3_stmt_finalizep(sqlite3_stmt **statement)
{
    sqlite3_finalize(*statement);
}
