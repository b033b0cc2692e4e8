/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The columns of every table, each written down once, in columns-TABLE.def: statements are made of
 * them, and rows are put together and taken apart by them.
 *
 * A line of a .def is one of
 *   KEY(column, type, field)        by which a row is found: not changed by an update
 *   COLUMN(column, type, field)     written and loaded
 *   WRITTEN(column, type, field)    written, and not loaded
 *   OPTIONAL(of, column, type, field)   likewise; NULL where of is NULL
 *   READ(column, type, field)       loaded; SQLite gives it
 *   EXPRESSION(column, DECLARED, sql)   written as what sql says, not loaded
 *   OWN(column, DECLARED)           kept by statements of its own (write.c)
 *   PARAMETER(name, type, field)    no column: a value that statements use as :name
 * type is a converter: put.c has PUT_TYPE(), load.c TAKE_TYPE(), columns.c what SQLite calls it. A
 * converter can take more than the field: WORD the prefix of foo_name() and foo_from_name(). What
 * is the first to be written is what the row is known by. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define IDENTITY(field)                                                                            \
    COLUMN(fsid, INTEGER, field.fsid)                                                              \
    COLUMN(inode, INTEGER, field.inode)                                                            \
    COLUMN(btime, INTEGER, field.btime)

#define FINGERPRINT(field)                                                                         \
    COLUMN(size, INTEGER, field.size)                                                              \
    COLUMN(allocated, INTEGER, field.allocated)                                                    \
    COLUMN(mtime, INTEGER, field.mtime)                                                            \
    COLUMN(ctime, INTEGER, field.ctime)                                                            \
    COLUMN(mode, INTEGER, field.mode)                                                              \
    COLUMN(uid, INTEGER, field.uid)                                                                \
    COLUMN(gid, INTEGER, field.gid)                                                                \
    COLUMN(links, INTEGER, field.links)

struct column {
    const char *name;
    const char *declared;       /* as the schema has it: "INTEGER" */
    const char *value;          /* what is written: ":name", or an expression; NULL: not by us */
    bool is_key, is_read;
};

struct table {
    const char *name;
    const struct column *columns;
    size_t n_columns;
};

/* All but state, which has one row of its own kind. The one after the last has no name. */
const struct table *store_tables(void);
/* NULL when there is none. */
const struct table *store_table(const char *name, size_t length);
/* Of a table that there is: how many columns of it are loaded. */
int store_table_n_read(const char *name);
/* A statement of a text with these in it:
 *   {table}         the columns that are written: "path, size"
 *   {:table}        their values: ":path, :size"
 *   {=table}        what an update sets: "size = excluded.size"
 *   {t.table}       the columns that are loaded, of alias t: "t.id, t.path, t.size"
 * -EINVAL for another table, or another brace. */
int store_sql_expand(const char *text, char **ret_sql);
