/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The database's file gets smaller when much of it is not used any more: a little at a time, after
 * what is too old was deleted (SQLite, "PRAGMA auto_vacuum", "PRAGMA incremental_vacuum"). */
#include <errno.h>
#include <stdio.h>

#include "daemon/store/db.h"
#include "lib/cleanup.h"

#define UNUSED_PAGES 1024       /* so many may stay unused, or an eighth of all: for what comes */
#define STEP_PAGES 256          /* returned at once: 1 MiB */
#define REWRITE_PAGES 8192      /* a database of so many at most is written anew: 32 MiB */
#define AUTO_VACUUM_INCREMENTAL 2

static int pragma(sqlite3 *sqlite, const char *sql, int64_t *ret_value)
{
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *statement = NULL;
    int code, r = store_db_prepare(sqlite, sql, 0, &statement);

    if (r < 0)
        return r;
    code = sqlite3_step(statement);
    if (code != SQLITE_ROW)
        return store_db_error(sqlite, code);
    *ret_value = sqlite3_column_int64(statement, 0);
    return 0;
}

int store_shrink_enable(sqlite3 *sqlite)
{
    int64_t mode, pages;
    int code, r = pragma(sqlite, "PRAGMA auto_vacuum", &mode);

    if (r == 0)
        r = pragma(sqlite, "PRAGMA page_count", &pages);
    if (r < 0 || mode == AUTO_VACUUM_INCREMENTAL || pages > REWRITE_PAGES)
        return r;
    code = sqlite3_exec(sqlite, SHRINK_MODE_SQL "; VACUUM", NULL, NULL, NULL);
    r = code == SQLITE_OK ? 0 : store_db_error(sqlite, code);
    /* On any other error (no room, no memory, a reader) the file stays as it was until the next
     * start: it can be used as it is. */
    return r == -EUCLEAN ? r : 0;
}

int store_shrink_step(sqlite3 *sqlite, bool *ret_more)
{
    char sql[64];
    int64_t mode, pages, unused;
    int code, r = pragma(sqlite, "PRAGMA auto_vacuum", &mode);

    if (r == 0)
        r = pragma(sqlite, "PRAGMA page_count", &pages);
    if (r == 0)
        r = pragma(sqlite, "PRAGMA freelist_count", &unused);
    if (r < 0)
        return r;
    if (mode != AUTO_VACUUM_INCREMENTAL || unused <= UNUSED_PAGES || unused <= pages / 8) {
        *ret_more = false;
        return 0;
    }
    (void)snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%d)", STEP_PAGES);
    code = sqlite3_exec(sqlite, sql, NULL, NULL, NULL);
    if (code != SQLITE_OK)
        return store_db_error(sqlite, code);
    *ret_more = true;
    return 0;
}
