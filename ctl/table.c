/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables: by libsmartcols, with columns that give way so that a line fits the terminal, or as
 * CSV. */
#include <ctype.h>
#include <errno.h>
#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "ctl/csv.h"
#include "ctl/output.h"
#include "lib/cleanup.h"

/* Columns; below these lines get longer than the terminal. */
#define CUT_MIN 18
#define FLEXIBLE_MIN 12

struct cell {
    char *text;
    enum colour colour;
};

struct table {
    const struct output *output;
    const struct column *columns;
    size_t n_columns;
    bool *hidden;
    struct cell *cells;         /* n_rows * n_columns */
    json_object **rows;
    size_t n_rows, room;
    size_t *shown;              /* indices of columns, in this order; made by choose() */
    size_t n_shown;
    size_t below;               /* index of the column that is below each row; n_columns: none */
};

/* ---- columns ------------------------------------------------------------------------------ */

const char *column_word(const struct column *column, char word[static COLUMN_WORD_MAX])
{
    const char *name = isalpha((unsigned char)column->name[0]) ? column->name : column->key;
    size_t n = 0;

    for (; name[n] && n + 1 < COLUMN_WORD_MAX; n++)
        word[n] = name[n] == ' ' ? '-' : (char)tolower((unsigned char)name[n]);
    word[n] = '\0';
    return word;
}

size_t column_find(const struct column *columns, size_t n_columns, const char *name, size_t n)
{
    size_t i;

    for (i = 0; i < n_columns; i++) {
        char word[COLUMN_WORD_MAX];

        if (strlen(column_word(&columns[i], word)) == n && strncasecmp(word, name, n) == 0)
            return i;
    }
    for (i = 0; i < n_columns; i++)
        if (strlen(columns[i].key) == n && strncmp(columns[i].key, name, n) == 0)
            return i;
    return n_columns;
}

json_object *column_value(const struct column *column, json_object *row)
{
    const char *key = column->key, *dot;
    json_object *value = row;

    while (value && (dot = strchr(key, '.'))) {
        _cleanup_free_ char *outer = strndup(key, (size_t)(dot - key));

        value = outer ? row_member(value, outer) : NULL;
        key = dot + 1;
    }
    return value ? row_member(value, key) : NULL;
}

/* ---- filling ------------------------------------------------------------------------------ */

int table_new(const struct output *output, const struct column *columns, size_t n_columns,
              struct table **ret_table)
{
    struct table *table = calloc(1, sizeof(*table));

    if (table)
        table->hidden = calloc(n_columns, sizeof(*table->hidden));
    if (!table || !table->hidden) {
        free(table);
        return -ENOMEM;
    }
    table->output = output;
    table->columns = columns;
    table->n_columns = n_columns;
    *ret_table = table;
    return 0;
}

struct table *table_free(struct table *table)
{
    if (!table)
        return NULL;
    for (size_t i = 0; i < table->n_rows * table->n_columns; i++)
        free(table->cells[i].text);
    free(table->cells);
    free(table->rows);
    free(table->hidden);
    free(table->shown);
    free(table);
    return NULL;
}

void table_hide(struct table *table, size_t column)
{
    table->hidden[column] = true;
}

int table_row(struct table *table, json_object *row)
{
    if (table->n_rows == table->room) {
        size_t room = 2 * table->room + 16;
        struct cell *cells = reallocarray(table->cells, room * table->n_columns, sizeof(*cells));
        json_object **rows;

        if (!cells)
            return -ENOMEM;
        table->cells = cells;
        rows = reallocarray(table->rows, room, sizeof(json_object *));
        if (!rows)
            return -ENOMEM;
        table->rows = rows;
        table->room = room;
    }
    memset(&table->cells[table->n_rows * table->n_columns], 0,
           table->n_columns * sizeof(struct cell));
    table->rows[table->n_rows] = row;
    table->n_rows++;
    return 0;
}

int table_take(struct table *table, size_t column, char *text, enum colour colour)
{
    struct cell *cell = &table->cells[(table->n_rows - 1) * table->n_columns + column];

    if (!text)
        return -ENOMEM;
    free(cell->text);
    *cell = (struct cell){ .text = text, .colour = colour };
    return 0;
}

int table_cell(struct table *table, size_t column, const char *text, enum colour colour)
{
    return table_take(table, column, strdup(text ? text : ""), colour);
}

size_t table_rows(const struct table *table)
{
    return table->n_rows;
}

/* ---- printing ----------------------------------------------------------------------------- */

/* Chooses columns and their order. Names of --columns were looked up before. */
static int choose(struct table *table)
{
    const char *names = table->output->columns;
    size_t n_names = 1;

    for (const char *c = names; c && *c; c++)
        n_names += *c == ',';
    table->shown = calloc(names ? n_names : table->n_columns, sizeof(*table->shown));
    if (!table->shown)
        return -ENOMEM;
    for (size_t i = 0; !names && i < table->n_columns; i++)
        if (table->output->csv || !table->hidden[i])
            table->shown[table->n_shown++] = i;
    while (names) {
        size_t n = strcspn(names, ","), column = column_find(table->columns, table->n_columns,
                                                             names, n);

        if (column < table->n_columns)
            table->shown[table->n_shown++] = column;
        names = names[n] ? names + n + 1 : NULL;
    }
    return 0;
}

static const struct column *column_at(const struct table *table, size_t k)
{
    return &table->columns[table->shown[k]];
}

static struct cell *cell_at(const struct table *table, size_t row, size_t k)
{
    return &table->cells[row * table->n_columns + table->shown[k]];
}

/* Sizes as numbers. */
static int make_bytes(struct table *table)
{
    for (size_t i = 0; i < table->n_rows; i++)
        for (size_t k = 0; k < table->n_columns; k++) {
            json_object *value = table->columns[k].flags & COLUMN_SIZE
                                     ? column_value(&table->columns[k], table->rows[i]) : NULL;
            struct cell *cell = &table->cells[i * table->n_columns + k];

            if (!value)
                continue;
            free(cell->text);
            cell->text = strdup(json_object_get_string(value));
            if (!cell->text)
                return -ENOMEM;
        }
    return 0;
}

static unsigned column_width(const struct table *table, size_t k)
{
    unsigned width = table->output->legend ? text_columns(column_at(table, k)->name) : 0;

    for (size_t i = 0; i < table->n_rows; i++) {
        const char *text = cell_at(table, i, k)->text;
        unsigned columns = text ? text_columns(text) : 0;

        if (columns > width)
            width = columns;
    }
    return width;
}

static size_t column_with(const struct table *table, unsigned flag)
{
    size_t k = 0;

    while (k < table->n_shown && !(column_at(table, k)->flags & flag))
        k++;
    return k;
}

/* Makes a column so narrow that the line fits, but not narrower than least. */
static int narrow(struct table *table, unsigned flag, unsigned least)
{
    size_t column = column_with(table, flag);
    unsigned others = 0, left;

    if (column == table->n_shown)
        return 0;
    for (size_t k = 0; k < table->n_shown; k++)
        if (k != column)
            others += column_width(table, k) + 1;
    left = others + least < table->output->width ? table->output->width - others : least;
    for (size_t i = 0; i < table->n_rows; i++) {
        struct cell *cell = cell_at(table, i, column);
        char *text = !cell->text          ? NULL
                     : flag == COLUMN_CUT ? text_cut(table->output, cell->text, left)
                                          : text_shorten(table->output, cell->text, left);

        if (cell->text && !text)
            return -ENOMEM;
        free(cell->text);
        cell->text = text;
    }
    return 0;
}

/* Takes the column out of the line that is to be below it, unless all of it fits. */
static void move_below(struct table *table)
{
    size_t k = column_with(table, COLUMN_BELOW);
    unsigned width = 0;

    for (size_t i = 0; i < table->n_shown; i++)
        width += column_width(table, i) + (i > 0);
    if (k == table->n_shown || table->n_shown == 1 || width <= table->output->width)
        return;
    table->below = table->shown[k];
    table->n_shown--;
    memmove(&table->shown[k], &table->shown[k + 1],
            (table->n_shown - k) * sizeof(*table->shown));
}

static int make_fit(struct table *table)
{
    int r;

    if (table->output->width == 0 || table->output->full)
        return 0;
    move_below(table);
    r = narrow(table, COLUMN_CUT, CUT_MIN);
    return r < 0 ? r : narrow(table, COLUMN_FLEXIBLE, FLEXIBLE_MIN);
}

static int add_lines(const struct table *table, struct libscols_table *scols)
{
    for (size_t i = 0; i < table->n_rows; i++) {
        struct libscols_line *line = scols_table_new_line(scols, NULL);

        if (!line)
            return -ENOMEM;
        for (size_t k = 0; k < table->n_shown; k++) {
            const struct cell *cell = cell_at(table, i, k);
            int r = scols_line_set_data(line, k, cell->text ? cell->text : "");

            if (r == 0 && cell->colour != COLOUR_OFF && table->output->colour)
                r = scols_cell_set_color(scols_line_get_cell(line, k),
                                         output_colour(table->output, cell->colour));
            if (r < 0)
                return r;
        }
    }
    return 0;
}

static int print_csv(const struct table *table)
{
    char word[COLUMN_WORD_MAX];

    for (size_t k = 0; table->output->csv_heading && k < table->n_shown; k++)
        csv_put_text(column_word(column_at(table, k), word), k + 1 == table->n_shown);
    for (size_t i = 0; i < table->n_rows; i++)
        for (size_t k = 0; k < table->n_shown; k++)
            csv_put_cell(column_at(table, k), table->rows[i], cell_at(table, i, k)->text,
                         k + 1 == table->n_shown);
    return 0;
}

/* The lines that libsmartcols makes, each with what belongs below it. */
static int print_lines(const struct table *table, struct libscols_table *scols)
{
    unsigned indent = column_width(table, 0) + 1, most = table->output->width / 4;
    _cleanup_free_ char *text = NULL;
    char *rest, *line;
    size_t i = 0;
    int r;

    if (table->below == table->n_columns)
        return scols_print_table(scols);
    r = scols_print_table_to_string(scols, &text);
    rest = text;
    if (r >= 0 && table->output->legend && rest)
        (void)puts(strsep(&rest, "\n"));
    for (; r >= 0 && i < table->n_rows && (line = strsep(&rest, "\n")); i++) {
        const char *below = table->cells[i * table->n_columns + table->below].text;

        (void)puts(line);
        if (below && *below)
            output_wrapped(table->output, indent < most ? indent : most, 0, below);
    }
    return r;
}

int table_print(struct table *table)
{
    struct libscols_table *scols = NULL;
    int r = choose(table);

    table->below = table->n_columns;

    if (r >= 0 && table->output->csv)
        return print_csv(table);
    if (r >= 0 && table->output->bytes)
        r = make_bytes(table);
    if (r >= 0)
        r = make_fit(table);
    if (r < 0)
        return r;
    scols = scols_new_table();
    if (!scols)
        return -ENOMEM;
    /* The text is escaped already, and would be escaped once more. */
    scols_table_enable_noencoding(scols, 1);
    scols_table_enable_noheadings(scols, !table->output->legend);
    scols_table_enable_colors(scols, table->output->colour);
    (void)scols_table_set_termforce(scols, SCOLS_TERMFORCE_NEVER);
    for (size_t k = 0; k < table->n_shown && r >= 0; k++)
        if (!scols_table_new_column(scols, column_at(table, k)->name, 0,
                                    column_at(table, k)->flags & COLUMN_RIGHT ? SCOLS_FL_RIGHT
                                                                              : 0))
            r = -ENOMEM;
    if (r >= 0)
        r = add_lines(table, scols);
    if (r >= 0)
        r = print_lines(table, scols);
    scols_unref_table(scols);
    return r;
}
