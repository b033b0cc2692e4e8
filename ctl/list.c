/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* --columns, --sort and --lines of a list. */
#include "ctl/list.h"

#include <errno.h>
#include <string.h>

#include "ctl/source.h"
#include "helpers/text.h"

/* ---- names of columns --------------------------------------------------------------------- */

static int complain_of(const struct column *columns, size_t n_columns, const char *name, size_t n)
{
    _cleanup_free_ char *word = strndup(name, n), *shown = text_escape_string(word), *known = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&known, &size);
    char buf[COLUMN_WORD_MAX];

    if (!stream)
        return complain(-ENOMEM, "Cannot list");
    for (size_t i = 0; i < n_columns; i++)
        (void)fprintf(stream, "%s%s", i > 0 ? ", " : "", column_word(&columns[i], buf));
    if (fclose(stream) != 0)
        return complain(-ENOMEM, "Cannot list");
    return complain(0, "There is no column '%s' here. There are: %s.", shown ? shown : "", known),
           -EINVAL;
}

/* Calls take for each name of a list; -EINVAL, printed, for one that is unknown. */
static int each_name(const struct column *columns, size_t n_columns, const char *names, bool signs,
                     void (*take)(void *userdata, size_t column, bool descending), void *userdata)
{
    while (names) {
        bool descending = signs && *names == '-';
        size_t n, column;

        names += descending;
        n = strcspn(names, ",");
        column = column_find(columns, n_columns, names, n);
        if (column == n_columns)
            return complain_of(columns, n_columns, names, n);
        if (take)
            take(userdata, column, descending);
        names = names[n] ? names + n + 1 : NULL;
    }
    return 0;
}

/* ---- order -------------------------------------------------------------------------------- */

#define SORT_MAX 16             /* columns; more would decide nothing */

struct order {
    const struct column *columns;
    struct { size_t column; bool descending; } by[SORT_MAX];
    size_t n;
};

struct item {
    json_object *row;
    size_t index;               /* equal ones stay in their order */
};

static void order_add(void *userdata, size_t column, bool descending)
{
    struct order *order = userdata;

    if (order->n < SORT_MAX) {
        order->by[order->n].column = column;
        order->by[order->n++].descending = descending;
    }
}

static int compare_numbers(json_object *a, json_object *b)
{
    if (json_object_is_type(a, json_type_double) || json_object_is_type(b, json_type_double)) {
        double x = json_object_get_double(a), y = json_object_get_double(b);

        return x < y ? -1 : x > y;
    }
    /* one below 0 is no uint64, and one above INT64_MAX no int64 */
    if (json_object_get_int64(a) < 0 || json_object_get_int64(b) < 0) {
        int64_t x = json_object_get_int64(a), y = json_object_get_int64(b);

        return x < y ? -1 : x > y;
    } else {
        uint64_t x = json_object_get_uint64(a), y = json_object_get_uint64(b);

        return x < y ? -1 : x > y;
    }
}

static bool is_number(json_object *value)
{
    return json_object_is_type(value, json_type_int) ||
           json_object_is_type(value, json_type_double);
}

static int compare_values(const struct column *column, json_object *a, json_object *b)
{
    if (is_number(a) && is_number(b))
        return compare_numbers(a, b);
    if (column->flags & COLUMN_SEVERITY)
        return severity_rank(json_object_get_string(b)) - severity_rank(json_object_get_string(a));
    return strcmp(json_object_get_string(a), json_object_get_string(b));
}

/* A row without a value comes last, either way. */
static int by_order(const void *a, const void *b, void *userdata)
{
    const struct item *left = a, *right = b;
    const struct order *order = userdata;

    for (size_t i = 0; i < order->n; i++) {
        const struct column *column = &order->columns[order->by[i].column];
        json_object *x = column_value(column, left->row), *y = column_value(column, right->row);
        int r = x && y ? compare_values(column, x, y) : (x == NULL) - (y == NULL);

        if (r != 0)
            return x && y && order->by[i].descending ? -r : r;
    }
    return left->index < right->index ? -1 : left->index > right->index;
}

static int sort_rows(struct order *order, json_object *rows)
{
    size_t n = json_object_array_length(rows);
    _cleanup_free_ struct item *items = calloc(n + 1, sizeof(*items));
    int r = items ? 0 : -ENOMEM;

    for (size_t i = 0; r >= 0 && i < n; i++)
        items[i] = (struct item){ json_object_get(json_object_array_get_idx(rows, i)), i };
    if (r >= 0)
        qsort_r(items, n, sizeof(*items), by_order, order);
    /* each place is there already, so that none of these can fail */
    for (size_t i = 0; r >= 0 && i < n; i++)
        (void)json_object_array_put_idx(rows, i, items[i].row);
    return r < 0 ? complain(r, "Cannot list") : 0;
}

int list_arrange(const struct output *output, const struct column *columns, size_t n_columns,
                 unsigned lines, json_object *rows)
{
    struct order order = { .columns = columns, .n = 0 };
    size_t n = json_object_array_length(rows);
    int r = each_name(columns, n_columns, output->columns, false, NULL, NULL);

    if (r >= 0)
        r = each_name(columns, n_columns, output->sort, true, order_add, &order);
    if (r >= 0 && order.n > 0)
        r = sort_rows(&order, rows);
    if (r >= 0 && lines > 0 && n > lines)
        (void)json_object_array_del_idx(rows, lines, n - lines);
    return r;
}
