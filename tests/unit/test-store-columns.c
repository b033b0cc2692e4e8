/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The columns that the .def describe are those of the schema, both ways, and every statement of the
 * store is one for SQLite. */
#include "store-kit.h"

#include "daemon/store/columns.h"

static int setup(void **state)
{
    sqlite3 *sqlite;

    if (sqlite3_open(":memory:", &sqlite) != SQLITE_OK || store_migrate_to_current(sqlite) < 0)
        return -1;
    *state = sqlite;
    return 0;
}

static int teardown(void **state)
{
    return sqlite3_close(*state) == SQLITE_OK ? 0 : -1;
}

static const struct column *column_of(const struct table *table, const char *name)
{
    for (size_t i = 0; i < table->n_columns; i++)
        if (strcmp(table->columns[i].name, name) == 0)
            return &table->columns[i];
    return NULL;
}

/* Calls each with every row of a statement. */
static void each_row(sqlite3 *sqlite, const char *sql, const char *argument,
                     void (*each)(sqlite3_stmt *row, void *userdata), void *userdata)
{
    sqlite3_stmt *statement;

    assert_int_equal(sqlite3_prepare_v2(sqlite, sql, -1, &statement, NULL), SQLITE_OK);
    if (argument)
        sqlite3_bind_text(statement, 1, argument, -1, SQLITE_STATIC);
    while (sqlite3_step(statement) == SQLITE_ROW)
        each(statement, userdata);
    sqlite3_finalize(statement);
}

static void count_column(sqlite3_stmt *row, void *userdata)
{
    const char *name = (const char *)sqlite3_column_text(row, 0),
               *type = (const char *)sqlite3_column_text(row, 1);
    const struct table *table = ((void **)userdata)[0];
    size_t *n = ((void **)userdata)[1];
    const struct column *column = column_of(table, name);

    if (!column)
        fail_msg("%s.%s is in the schema, and in no .def", table->name, name);
    if (strcmp(column->declared, type) != 0)
        fail_msg("%s.%s is %s in the schema, %s in the .def", table->name, name, type,
                 column->declared);
    (*n)++;
}

static void test_columns_are_the_schemas(void **state)
{
    for (const struct table *table = store_tables(); table->name; table++) {
        size_t n = 0;
        void *userdata[] = { (void *)(uintptr_t)table, &n };

        each_row(*state, "SELECT name, type FROM pragma_table_info(?1)", table->name, count_column,
                 userdata);
        assert_true(n > 0);
        for (size_t i = 0; i < table->n_columns; i++)
            assert_ptr_equal(column_of(table, table->columns[i].name), &table->columns[i]);
        if (n != table->n_columns)
            fail_msg("%s has %zu columns in the .def, and %zu in the schema", table->name,
                     table->n_columns, n);
    }
}

static void look_up_table(sqlite3_stmt *row, void *userdata)
{
    const char *name = (const char *)sqlite3_column_text(row, 0);

    if (!store_table(name, strlen(name)))
        fail_msg("table %s has no .def", name);
    (*(size_t *)userdata)++;
}

static void test_every_table_is_described(void **state)
{
    const struct table *table = store_tables();
    size_t n = 0;

    each_row(*state,
             "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
             " AND name <> 'state'",
             NULL, look_up_table, &n);
    assert_true(n > 0);
    while (table->name)
        table++;
    assert_int_equal(n, (size_t)(table - store_tables()));
}

static void assert_expands(const char *text, const char *expected)
{
    char *sql = NULL;

    assert_int_equal(store_sql_expand(text, &sql), 0);
    assert_string_equal(sql, expected);
    free(sql);
}

static void test_statements_are_made_of_columns(void **state)
{
    char *untouched = (char *)(uintptr_t)"as before", *sql = untouched;

    assert_expands("", "");
    assert_expands("BEGIN", "BEGIN");
    assert_expands("INSERT INTO sample ({sample}) VALUES ({:sample})",
                   "INSERT INTO sample (datastore, at, available) VALUES (:datastore, :at, "
                   ":available)");
    assert_expands("{=sample}!", "available = excluded.available!");
    assert_expands("{told}|{:told}", "event, channel, at|event.seq, :channel, :now");
    /* seq is SQLite's. */
    assert_expands("{disk_move}{ev.disk_move}",
                   "overlay, parent, atev.overlay, ev.parent, ev.at");
    assert_int_equal(store_sql_expand("{event.event}", &sql), 0);
    assert_non_null(strstr(sql, "event.depth"));
    assert_null(strstr(sql, "seq"));
    free(sql);
    sql = untouched;
    assert_int_equal(store_sql_expand("{nothing}", &sql), -EINVAL);
    assert_int_equal(store_sql_expand("{samples}", &sql), -EINVAL);
    assert_int_equal(store_sql_expand("{sampl}", &sql), -EINVAL);
    assert_int_equal(store_sql_expand("{}", &sql), -EINVAL);
    assert_int_equal(store_sql_expand("SELECT {sample", &sql), -EINVAL);
    assert_ptr_equal(sql, untouched);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_columns_are_the_schemas, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_table_is_described, setup, teardown),
        cmocka_unit_test(test_statements_are_made_of_columns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
