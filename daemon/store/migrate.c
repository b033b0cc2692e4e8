/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From any older version of the database to this program's, step by step, each in one
 * transaction. */
#include <errno.h>
#include <stdio.h>

#include "daemon/store/db.h"
#include "lib/cleanup.h"

/* schema_sql: schema.sql as one string; schema_N_sql: schema-N.sql. */
#include "daemon/store/schema-sql.h"

static const char *const current_steps[] = {
    schema_sql,         /* 0, an empty file, to 1 */
    schema_2_sql,       /* to 2, */
    schema_3_sql,       /* to 3, */
    schema_4_sql,       /* to 4, */
    schema_5_sql,       /* to 5, */
    schema_6_sql,       /* to 6, */
    schema_7_sql,       /* to 7, */
    schema_8_sql,       /* to 8 */
};

int store_version(sqlite3 *sqlite, int *ret_version)
{
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(sqlite, "PRAGMA user_version", -1, &statement, NULL);

    if (code != SQLITE_OK)
        return store_db_error(sqlite, code);
    code = sqlite3_step(statement);
    if (code != SQLITE_ROW)
        return store_db_error(sqlite, code);
    *ret_version = sqlite3_column_int(statement, 0);
    return 0;
}

static int run_step(sqlite3 *sqlite, const char *sql, size_t version)
{
    char set_version[64];
    int code;

    snprintf(set_version, sizeof(set_version), "PRAGMA user_version = %zu", version);
    code = sqlite3_exec(sqlite, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(sqlite, sql, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(sqlite, set_version, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(sqlite, "COMMIT", NULL, NULL, NULL);
    if (code != SQLITE_OK) {
        int r = store_db_error(sqlite, code);

        if (!sqlite3_get_autocommit(sqlite))
            sqlite3_exec(sqlite, "ROLLBACK", NULL, NULL, NULL);
        return r;
    }
    return 0;
}

int store_migrate(sqlite3 *sqlite, const char *const *steps, size_t n_steps)
{
    int version, r;

    r = store_version(sqlite, &version);
    if (r < 0)
        return r;
    if (version < 0 || (size_t)version > n_steps)
        return -EPROTONOSUPPORT;
    for (size_t i = (size_t)version; i < n_steps; i++) {
        r = run_step(sqlite, steps[i], i + 1);
        if (r < 0)
            return r;
    }
    return 0;
}

int store_migrate_to_current(sqlite3 *sqlite)
{
    return store_migrate(sqlite, current_steps, ELEMENTSOF(current_steps));
}
