/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Events that the retention deleted, noted as ranges that hold the chain of digests together. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/db.h"
#include "daemon/store/record.h"
#include "lib/cleanup.h"

struct range {
    int64_t first, last;
    uint64_t newest;            /* usec */
    int64_t renames;
    uint8_t before[RECORD_DIGEST_SIZE], digest[RECORD_DIGEST_SIZE];
};

static int by_seq(const void *a, const void *b)
{
    const struct removed_event *left = a, *right = b;

    return left->seq < right->seq ? -1 : left->seq > right->seq;
}

/* The first row of a statement with one number; *ret_statement is to be finalized. 0: there is no
 * row. */
static int look_up(sqlite3 *sqlite, const char *sql, int64_t number, sqlite3_stmt **ret_statement)
{
    int code, r = store_db_prepare(sqlite, sql, number, ret_statement);

    if (r < 0)
        return r;
    code = sqlite3_step(*ret_statement);
    return code == SQLITE_ROW ? 1 : code == SQLITE_DONE ? 0 : store_db_error(sqlite, code);
}

static void take_digest(sqlite3_stmt *statement, int column, uint8_t *digest)
{
    if (sqlite3_column_bytes(statement, column) == RECORD_DIGEST_SIZE)
        memcpy(digest, sqlite3_column_blob(statement, column), RECORD_DIGEST_SIZE);
}

/* Joins the range right below, which the new one goes on from, or else takes the event there. */
static int join_below(sqlite3 *sqlite, struct range *range)
{
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *below = NULL, *event = NULL;
    int r = look_up(sqlite, "SELECT first, before, newest, renames FROM event_removed"
                            " WHERE last = ?1", range->first - 1, &below);

    if (r == 0) {
        r = look_up(sqlite, "SELECT digest FROM event WHERE seq = ?1", range->first - 1, &event);
        if (r > 0)
            take_digest(event, 0, range->before);
        return r;
    }
    if (r < 0)
        return r;
    range->first = sqlite3_column_int64(below, 0);
    take_digest(below, 1, range->before);
    if ((uint64_t)sqlite3_column_int64(below, 2) > range->newest)
        range->newest = (uint64_t)sqlite3_column_int64(below, 2);
    range->renames += sqlite3_column_int64(below, 3);
    return 0;
}

static int join_above(sqlite3 *sqlite, struct range *range)
{
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *above = NULL;
    int r = look_up(sqlite, "SELECT last, digest, newest, renames FROM event_removed"
                            " WHERE first = ?1", range->last + 1, &above);

    if (r <= 0)
        return r;
    range->last = sqlite3_column_int64(above, 0);
    take_digest(above, 1, range->digest);
    if ((uint64_t)sqlite3_column_int64(above, 2) > range->newest)
        range->newest = (uint64_t)sqlite3_column_int64(above, 2);
    range->renames += sqlite3_column_int64(above, 3);
    return 0;
}

static int write_range(sqlite3 *sqlite, struct range *range, uint64_t now)
{
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *statement = NULL;
    int code, r = join_below(sqlite, range);

    if (r >= 0)
        r = join_above(sqlite, range);
    if (r < 0)
        return r;
    code = sqlite3_prepare_v2(sqlite, "DELETE FROM event_removed WHERE first >= ?1 AND last <= ?2",
                              -1, &statement, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_int64(statement, 1, range->first);
        sqlite3_bind_int64(statement, 2, range->last);
        code = sqlite3_step(statement);
    }
    if (code != SQLITE_DONE)
        return store_db_error(sqlite, code);
    sqlite3_finalize(TAKE_PTR(statement));
    code = sqlite3_prepare_v2(sqlite, "INSERT INTO event_removed (first, last, before, digest,"
                                      " newest, removed, renames) VALUES (?1, ?2, ?3, ?4, ?5, ?6,"
                                      " ?7)", -1, &statement, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_int64(statement, 1, range->first);
        sqlite3_bind_int64(statement, 2, range->last);
        sqlite3_bind_blob(statement, 3, range->before, RECORD_DIGEST_SIZE, SQLITE_STATIC);
        sqlite3_bind_blob(statement, 4, range->digest, RECORD_DIGEST_SIZE, SQLITE_STATIC);
        sqlite3_bind_int64(statement, 5, (int64_t)range->newest);
        sqlite3_bind_int64(statement, 6, (int64_t)now);
        sqlite3_bind_int64(statement, 7, range->renames);
        code = sqlite3_step(statement);
    }
    return code == SQLITE_DONE ? 0 : store_db_error(sqlite, code);
}

int removed_note(sqlite3 *sqlite, struct removed_event *events, size_t n, uint64_t now)
{
    size_t i = 0;

    qsort(events, n, sizeof(*events), by_seq);
    while (i < n) {
        struct range range = { .first = events[i].seq };
        int r;

        if (!events[i].chained) {       /* older than the chain: nothing holds on to it */
            i++;
            continue;
        }
        for (range.last = range.first - 1;
             i < n && events[i].chained && events[i].seq == range.last + 1; i++) {
            range.last = events[i].seq;
            range.renames += events[i].is_rename;
            if (events[i].at > range.newest)
                range.newest = events[i].at;
            memcpy(range.digest, events[i].digest, RECORD_DIGEST_SIZE);
        }
        r = write_range(sqlite, &range, now);
        if (r < 0)
            return r;
    }
    return 0;
}
