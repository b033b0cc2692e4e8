/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables by libsmartcols, with columns that give way so that a line fits the terminal. */
#include <errno.h>
#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>

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
    struct cell *cells;         /* n_rows * n_columns */
    size_t n_rows, room;
};

int table_new(const struct output *output, const struct column *columns, size_t n_columns,
              struct table **ret_table)
{
    struct table *table = calloc(1, sizeof(*table));

    if (!table)
        return -ENOMEM;
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
    free(table);
    return NULL;
}

int table_row(struct table *table)
{
    if (table->n_rows == table->room) {
        size_t room = 2 * table->room + 16;
        struct cell *cells = reallocarray(table->cells, room * table->n_columns, sizeof(*cells));

        if (!cells)
            return -ENOMEM;
        table->cells = cells;
        table->room = room;
    }
    memset(&table->cells[table->n_rows * table->n_columns], 0,
           table->n_columns * sizeof(struct cell));
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

static unsigned column_width(const struct table *table, size_t column)
{
    unsigned width = table->output->legend ? text_columns(table->columns[column].name) : 0;

    for (size_t i = 0; i < table->n_rows; i++) {
        const char *text = table->cells[i * table->n_columns + column].text;
        unsigned columns = text ? text_columns(text) : 0;

        if (columns > width)
            width = columns;
    }
    return width;
}

static size_t column_with(const struct table *table, unsigned flag)
{
    size_t i = 0;

    while (i < table->n_columns && !(table->columns[i].flags & flag))
        i++;
    return i;
}

/* Makes a column so narrow that the line fits, but not narrower than least. */
static int narrow(struct table *table, unsigned flag, unsigned least)
{
    size_t column = column_with(table, flag);
    unsigned others = 0, left;

    if (column == table->n_columns)
        return 0;
    for (size_t i = 0; i < table->n_columns; i++)
        if (i != column)
            others += column_width(table, i) + 1;
    left = others + least < table->output->width ? table->output->width - others : least;
    for (size_t i = 0; i < table->n_rows; i++) {
        struct cell *cell = &table->cells[i * table->n_columns + column];
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

static int make_fit(struct table *table)
{
    int r;

    if (table->output->width == 0 || table->output->full)
        return 0;
    r = narrow(table, COLUMN_CUT, CUT_MIN);
    return r < 0 ? r : narrow(table, COLUMN_FLEXIBLE, FLEXIBLE_MIN);
}

static int add_lines(const struct table *table, struct libscols_table *scols)
{
    for (size_t i = 0; i < table->n_rows; i++) {
        struct libscols_line *line = scols_table_new_line(scols, NULL);

        if (!line)
            return -ENOMEM;
        for (size_t k = 0; k < table->n_columns; k++) {
            const struct cell *cell = &table->cells[i * table->n_columns + k];
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

int table_print(struct table *table)
{
    struct libscols_table *scols = NULL;
    int r = make_fit(table);

    if (r < 0)
        return r;
    scols = scols_new_table();
    if (!scols)
        return -ENOMEM;
    /* What comes here is escaped already, and would be so once more. */
    scols_table_enable_noencoding(scols, 1);
    scols_table_enable_noheadings(scols, !table->output->legend);
    scols_table_enable_colors(scols, table->output->colour);
    (void)scols_table_set_termforce(scols, SCOLS_TERMFORCE_NEVER);
    for (size_t i = 0; i < table->n_columns && r >= 0; i++)
        if (!scols_table_new_column(scols, table->columns[i].name, 0,
                                    table->columns[i].flags & COLUMN_RIGHT ? SCOLS_FL_RIGHT : 0))
            r = -ENOMEM;
    if (r >= 0)
        r = add_lines(table, scols);
    if (r >= 0)
        r = scols_print_table(scols);
    scols_unref_table(scols);
    return r;
}
