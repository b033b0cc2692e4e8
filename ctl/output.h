/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Output to the terminal: pager, colours, tables, JSON, CSV; all untrusted text escaped. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)

enum json_mode { JSON_OFF, JSON_SHORT, JSON_PRETTY, JSON_LINES };

struct output {
    enum json_mode json;
    bool csv;                   /* tables are printed so */
    bool csv_heading;           /* with a line of names */
    const char *columns;        /* of a table, separated by commas; NULL: the usual ones */
    const char *sort;           /* names of columns, each with - in front for descending; NULL */
    bool bytes;                 /* sizes as numbers */
    bool legend;                /* headings and hints */
    bool pager;                 /* may be used */
    bool full;                  /* nothing is shortened */
    bool terminal;              /* stdout was one before a pager took it */
    bool colour;
    bool utf8;                  /* the locale can show it */
    unsigned width;             /* columns; 0 without a terminal: no limit */
    pid_t pager_pid;            /* 0 none */
    char *tool;                 /* how to ask the same daemon again; NULL: qcauditctl */
};

/* Looks at stdout and the environment: NO_COLOR, SYSTEMD_COLORS, TERM, COLUMNS. */
void output_init(struct output *output);
/* Starts the pager, where it makes sense: $SYSTEMD_PAGER, $PAGER, else less -FRSXMK; without S for
 * prose with commands that are to be copied whole. */
void output_begin(struct output *output);
void output_begin_prose(struct output *output);
/* Ends the pager; -errno when something could not be written. */
int output_end(struct output *output);

/* The begin of a printed command: "qcauditctl", with the host that is asked. */
const char *output_tool(const struct output *output);

/* "" or an escape sequence that goes on until COLOUR_OFF. */
enum colour {
    COLOUR_OFF,
    COLOUR_RED,
    COLOUR_BRIGHT_RED,
    COLOUR_YELLOW,
    COLOUR_GREEN,
    COLOUR_DIM,
    COLOUR_BOLD,
    _COLOUR_MAX,
};
const char *output_colour(const struct output *output, enum colour colour);
/* The exit status for what is that bad: 0 for information, or nothing. */
int severity_status(const char *severity);
enum colour severity_colour(const char *severity);
const char *output_arrow(const struct output *output);
/* Paragraphs parted by \n\n, wrapped to the terminal (80 columns without one), indented; so many
 * columns of the first line are taken already. */
void output_wrapped(const struct output *output, unsigned indent, unsigned taken, const char *text);
/* The label, right-aligned so that all of a block end in one column, and ": ". */
void output_label(const struct output *output, unsigned width, const char *label);
void output_heading(const struct output *output, const char *text);

/* JSON: strings that are no UTF-8 become arrays of bytes, as journalctl does. JSON_LINES: each
 * element of an array on a line of its own. Takes nothing. */
int output_json(const struct output *output, json_object *value);
/* The same for a file, malloc'd. */
int output_json_text(json_object *value, char **ret_text, size_t *ret_size);

/* Columns of text on the terminal. */
unsigned text_columns(const char *text);
/* At most so many columns: the middle is left out, or the end. malloc'd. */
char *text_shorten(const struct output *output, const char *text, unsigned columns);
char *text_cut(const struct output *output, const char *text, unsigned columns);

/* ---- tables ------------------------------------------------------------------------------- */

/* At most one column each: flexible ones are shortened in the middle so that the line fits, and
 * before that cut ones at their end. */
enum {
    COLUMN_RIGHT = 1 << 0,
    COLUMN_FLEXIBLE = 1 << 1,
    COLUMN_CUT = 1 << 2,
    /* The kind of the member that CSV and sorting go by instead of the text; without one: text. */
    COLUMN_NUMBER = 1 << 3,
    COLUMN_SIZE = 1 << 4,       /* bytes */
    COLUMN_TIME = 1 << 5,       /* usec since the epoch; 0: none */
    COLUMN_SEVERITY = 1 << 6,   /* text, sorted by how bad it is */
    /* Whole, on lines of its own below each row, when not everything fits in one line. */
    COLUMN_BELOW = 1 << 7,
};

struct column {
    const char *name;           /* the heading; in options and CSV with small letters and dashes */
    unsigned flags;
    const char *key;            /* the member of a row that it shows, or sorts by; "a.b" in an
                                 * object */
};

/* Is more than the usual screen asked for: the list alone, in other columns or order? */
bool output_is_list(const struct output *output);
/* The name of a column for options and CSV. */
#define COLUMN_WORD_MAX 32
const char *column_word(const struct column *column, char word[static COLUMN_WORD_MAX]);
/* Its index by that name or its key, of n bytes; n_columns when there is none. */
size_t column_find(const struct column *columns, size_t n_columns, const char *name, size_t n);
/* The member of a row that it is about; NULL when there is none. */
json_object *column_value(const struct column *column, json_object *row);

struct table;

int table_new(const struct output *output, const struct column *columns, size_t n_columns,
              struct table **ret_table);
struct table *table_free(struct table *table);
DEFINE_CLEANUP(struct table *, table_free)
/* Not shown unless it is asked for by name, or in CSV. */
void table_hide(struct table *table, size_t column);
/* A new last row of empty cells; row: its members, that the columns have keys for, borrowed until
 * the table is printed. */
int table_row(struct table *table, json_object *row);
/* Cells of the last row. The text must be safe to print; table_cell copies it, NULL is "". */
int table_cell(struct table *table, size_t column, const char *text, enum colour colour);
/* Takes the text; NULL is -ENOMEM. */
int table_take(struct table *table, size_t column, char *text, enum colour colour);
size_t table_rows(const struct table *table);
int table_print(struct table *table);

/* ---- members of rows ---------------------------------------------------------------------- */

/* The member escaped for people, malloc'd; "-" when there is none; NULL without memory. */
char *row_text(json_object *row, const char *key);
/* A sentence of the daemon's, in which names are escaped already: as it is, unless it could hurt a
 * terminal. */
char *row_prose(json_object *row, const char *key);
const char *row_raw(json_object *row, const char *key);         /* NULL when there is none */
uint64_t row_number(json_object *row, const char *key);         /* 0 when there is none */
bool row_bool(json_object *row, const char *key);
bool row_has(json_object *row, const char *key);
/* An array or object member, NULL when there is none; borrowed. */
json_object *row_member(json_object *row, const char *key);
