/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Retention: what is too old, or too much, is deleted in small steps between the batches. */
#include <errno.h>

#include <string.h>

#include "daemon/store/db.h"
#include "daemon/store/record.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define STEP_ROWS 200
#define STEP_AUDITS 2000
#define RETURNING " RETURNING seq, at, digest, renamed IS NOT NULL"

/* ?1 the oldest time kept, ?2 the most rows deleted at once, ?3 the most rows kept however young
 * they are: a store that makes and deletes images all day must not fill a disk. What is still to be
 * told stays. */
static const struct sweep {
    const char *sql;
    int64_t kept;
    const char *beyond;         /* how many rows there are beyond those, as ?4; nothing is to be
                                 * done when there are none */
    bool of_events;             /* what goes is noted, as the chain of events goes on over it */
} sweeps[] = {
    { "DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE at < ?1 AND outbox = 0"
      " ORDER BY at LIMIT ?2)" RETURNING, 0, NULL, true },
    /* Of the subjects that events came of lately, so that what flaps loses its own history and
     * not everybody's. */
    { "DELETE FROM event WHERE seq IN (SELECT old.seq"
      " FROM (SELECT DISTINCT subject FROM (SELECT subject FROM event ORDER BY seq DESC LIMIT ?2))"
      " AS lately JOIN event AS old ON old.subject = lately.subject WHERE old.outbox = 0"
      " AND old.renamed IS NULL"
      " AND old.seq <= (SELECT seq FROM event WHERE subject = lately.subject"
      " ORDER BY seq DESC LIMIT 1 OFFSET ?3) LIMIT ?2)" RETURNING, STORE_EVENTS_PER_SUBJECT,
      NULL, true },
    /* Of the datastore that has most, the oldest of those subjects that have most: many that flap
     * lose their own history, too. As all rows are looked at, many go at once. */
    { "DELETE FROM event WHERE seq IN (SELECT seq FROM (SELECT seq, outbox,"
      " row_number() OVER (PARTITION BY subject ORDER BY seq DESC) AS nth FROM event WHERE"
      " datastore ="
      " (SELECT datastore FROM event GROUP BY datastore ORDER BY count(*) DESC LIMIT 1))"
      " WHERE outbox = 0 ORDER BY nth DESC, seq LIMIT min(?2 * 10, ?4))" RETURNING, 1000000,
      /* Rows are counted, as their numbers have gaps then; and only when there can be so many. */
      "SELECT CASE WHEN (SELECT max(seq) FROM event) - (SELECT min(seq) FROM event) >= ?3"
      " THEN (SELECT count(*) FROM event) - ?3 ELSE 0 END", true },
    { "DELETE FROM finding WHERE id IN (SELECT id FROM finding WHERE resolved > 0 AND resolved < ?1"
      " AND state = 'resolved' LIMIT ?2)", 0, NULL, false },
    { "DELETE FROM digest WHERE finished < ?1 AND id IN (SELECT id FROM digest ORDER BY id"
      " LIMIT ?2)", 0, NULL, false },
    { "DELETE FROM digest WHERE id IN (SELECT id FROM digest WHERE"
      " id <= (SELECT max(id) FROM digest) - ?3 LIMIT ?2)", 1000000, NULL, false },
    { "DELETE FROM space WHERE id IN (SELECT id FROM space WHERE at < ?1 LIMIT ?2)", 0, NULL,
      false },
    { "DELETE FROM space WHERE id IN (SELECT id FROM space WHERE"
      " id <= (SELECT max(id) FROM space) - ?3 LIMIT ?2)", 1000000, NULL, false },
    { "DELETE FROM image WHERE id IN (SELECT id FROM image WHERE gone < ?1 LIMIT ?2)", 0, NULL,
      false },
    { "DELETE FROM overlay_history WHERE (overlay, parent, since) IN (SELECT overlay, parent, since"
      " FROM overlay_history WHERE until > 0 AND until < ?1 LIMIT ?2)", 0, NULL, false },
    { "DELETE FROM overlay_history WHERE (overlay, parent, since) IN (SELECT overlay, parent, since"
      " FROM overlay_history WHERE until > 0 ORDER BY until DESC LIMIT ?2 OFFSET ?3)", 100000,
      NULL, false },
    { "DELETE FROM image WHERE id IN (SELECT id FROM image WHERE gone IS NOT NULL"
      " ORDER BY gone DESC LIMIT ?2 OFFSET ?3)", 100000, NULL, false },
};

/* Audits are looked at in the order of their ids, from one step to the next: ?4 < id <= ?5. */
static const char audits_sql[] =
    "DELETE FROM audit WHERE id > ?4 AND id <= ?5 AND finished < ?1"
    " AND id IS NOT (SELECT audit FROM image WHERE image.id = audit.image)"
    " AND id IS NOT (SELECT audit_before FROM image WHERE image.id = audit.image)";
static const char audits_last_sql[] =
    "SELECT max(id) FROM (SELECT id FROM audit WHERE id > ?4 ORDER BY id LIMIT ?2)";

#define SAVE_EVERY (UINT64_C(3600) * 1000000)

uint64_t sweep_clock_tell(struct sweep_clock *clock, uint64_t realtime, uint64_t monotonic)
{
    uint64_t passed = monotonic > clock->seen ? monotonic - clock->seen : 0, most;

    if (__builtin_mul_overflow(passed, SWEEP_SPEED, &passed) ||
        __builtin_add_overflow(clock->now, passed, &most))
        most = UINT64_MAX;
    clock->seen = monotonic;
    clock->now = realtime < most ? realtime : most;
    return clock->now;
}

static int prepare(sqlite3 *sqlite, const char *sql, const int64_t values[static 5],
                   sqlite3_stmt **ret_statement)
{
    int code = sqlite3_prepare_v2(sqlite, sql, -1, ret_statement, NULL);

    if (code != SQLITE_OK)
        return store_db_error(sqlite, code);
    for (int i = 1; i <= sqlite3_bind_parameter_count(*ret_statement); i++)
        sqlite3_bind_int64(*ret_statement, i, values[i - 1]);
    return 0;
}

static int run(sqlite3 *sqlite, const char *sql, const int64_t values[static 5], int64_t *ret_first)
{
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *statement = NULL;
    int code, r = prepare(sqlite, sql, values, &statement);

    if (r < 0)
        return r;
    code = sqlite3_step(statement);
    if (code != SQLITE_DONE && code != SQLITE_ROW)
        return store_db_error(sqlite, code);
    if (code == SQLITE_ROW && ret_first)
        *ret_first = sqlite3_column_int64(statement, 0);
    return 0;
}

/* Deletes events, and notes which. */
static int delete_events(sqlite3 *sqlite, const char *sql, const int64_t values[static 5],
                         size_t *ret_n)
{
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *statement = NULL;
    _cleanup_free_ struct removed_event *events = NULL;
    size_t n = 0, n_room = 0;
    int code, r = prepare(sqlite, sql, values, &statement);

    while (r == 0 && (code = sqlite3_step(statement)) != SQLITE_DONE) {
        if (code != SQLITE_ROW)
            return store_db_error(sqlite, code);
        if (n == n_room) {
            struct removed_event *more = reallocarray(events, n_room + STEP_ROWS, sizeof(*more));

            if (!more)
                return -ENOMEM;
            events = more;
            n_room += STEP_ROWS;
        }
        events[n] = (struct removed_event){
            .seq = sqlite3_column_int64(statement, 0),
            .at = (uint64_t)sqlite3_column_int64(statement, 1),
            .chained = sqlite3_column_bytes(statement, 2) == RECORD_DIGEST_SIZE,
            .is_rename = sqlite3_column_int(statement, 3) != 0,
        };
        if (events[n].chained)
            memcpy(events[n].digest, sqlite3_column_blob(statement, 2), RECORD_DIGEST_SIZE);
        n++;
    }
    if (r == 0 && n > 0)
        r = removed_note(sqlite, events, n, usec_now(CLOCK_REALTIME));
    *ret_n = n;
    return r;
}

static int sweep_events(sqlite3 *sqlite, const char *sql, const int64_t values[static 5],
                        size_t *ret_n)
{
    const int64_t none[5] = { 0 };
    int r = run(sqlite, "BEGIN IMMEDIATE", none, NULL);

    if (r < 0)
        return r;
    r = delete_events(sqlite, sql, values, ret_n);
    if (r == 0)
        r = run(sqlite, "COMMIT", none, NULL);
    /* SQLite has rolled back by itself after some errors. */
    if (r < 0 && !sqlite3_get_autocommit(sqlite))
        (void)sqlite3_exec(sqlite, "ROLLBACK", NULL, NULL, NULL);
    return r;
}

int sweep_clock_load(sqlite3 *sqlite, uint64_t realtime, uint64_t monotonic,
                     struct sweep_clock *ret_clock)
{
    static const char newest_sql[] =
        "SELECT coalesce(max(at), 0) FROM (SELECT max(at) AS at FROM event"
        " UNION ALL SELECT finished FROM audit WHERE id = (SELECT max(id) FROM audit))";
    const int64_t none[5] = { 0 };
    int64_t swept = 0, newest = 0;
    int r;

    r = run(sqlite, "SELECT swept FROM state WHERE id = 1", none, &swept);
    if (r == 0 && swept <= 0)
        r = run(sqlite, newest_sql, none, &newest);
    if (r < 0)
        return r;
    *ret_clock = (struct sweep_clock){
        .now = swept > 0 ? (uint64_t)swept : newest > 0 ? (uint64_t)newest : realtime,
        .seen = monotonic, .saved = swept > 0 ? (uint64_t)swept : 0,
    };
    return 0;
}

int sweep_clock_save(sqlite3 *sqlite, struct sweep_clock *clock)
{
    const int64_t values[5] = { (int64_t)clock->now };
    uint64_t away = clock->now > clock->saved ? clock->now - clock->saved
                                              : clock->saved - clock->now;
    int r = away < SAVE_EVERY ? 0 : run(sqlite, "UPDATE state SET swept = ?1", values, NULL);

    if (r == 0 && away >= SAVE_EVERY)
        clock->saved = clock->now;
    return r;
}

int store_sweep_step(sqlite3 *sqlite, uint64_t oldest, int64_t *position, bool *ret_more)
{
    int64_t values[5] = { (int64_t)oldest, STEP_ROWS };
    int64_t last = 0;
    bool more = false;
    size_t n = 0;
    int r;

    for (size_t i = 0; i < ELEMENTSOF(sweeps); i++) {
        values[2] = sweeps[i].kept;
        values[3] = 0;
        r = sweeps[i].beyond ? run(sqlite, sweeps[i].beyond, values, &values[3]) : 0;
        if (r < 0)
            return r;
        if (sweeps[i].beyond && values[3] <= 0)
            continue;
        if (sweeps[i].of_events)
            r = sweep_events(sqlite, sweeps[i].sql, values, &n);
        else {
            r = run(sqlite, sweeps[i].sql, values, NULL);
            n = (size_t)sqlite3_changes(sqlite);
        }
        if (r < 0)
            return r;
        more = more || n > 0;
    }

    values[1] = STEP_AUDITS;
    values[3] = *position;
    r = run(sqlite, audits_last_sql, values, &last);
    if (r < 0)
        return r;
    if (last > 0) {
        values[4] = last;
        r = run(sqlite, audits_sql, values, NULL);
        if (r < 0)
            return r;
        /* A whole round is made without a pause only while it finds something. */
        more = more || sqlite3_changes(sqlite) > 0;
    }
    *position = last;
    *ret_more = more;
    return 0;
}
