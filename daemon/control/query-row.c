/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows under construction, and the values of filters. */
#include <errno.h>
#include <string.h>

#include "daemon/control/query-internal.h"
#include "helpers/json-text.h"

void row_begin(struct row *row)
{
    *row = (struct row){ .object = json_object_new_object() };
    if (!row->object)
        row->error = -ENOMEM;
}

int row_end(struct row *row, json_object **ret_object)
{
    if (row->error < 0) {
        row_done(row);
        return row->error;
    }
    *ret_object = TAKE_PTR(row->object);
    return 0;
}

void row_done(struct row *row)
{
    json_object_put(TAKE_PTR(row->object));
}

void row_json(struct row *row, const char *key, json_object *value)
{
    if (row->error == 0)
        row->error = json_add(row->object, key, value);
    else
        json_object_put(value);
}

void row_fields(struct row *row, const struct json_fields *fields, const void *base,
                const char *const keys[])
{
    if (row->error == 0)
        row->error = json_fields_show(fields, base, keys, row->object);
}

void row_string(struct row *row, const char *key, const char *value)
{
    if (value)
        row_json(row, key, json_object_new_string(value));
}

void row_number(struct row *row, const char *key, uint64_t value)
{
    row_json(row, key, json_object_new_uint64(value));
}

void row_error(struct row *row, const char *key, int error)
{
    if (error != 0)
        row_json(row, key, json_object_new_int(error));
}

void row_bool(struct row *row, const char *key, bool value)
{
    row_json(row, key, json_object_new_boolean(value));
}

void row_result(struct row *row, const char *key, int r, json_object *value)
{
    if (r >= 0)
        row_json(row, key, value);
    else if (row->error == 0)
        row->error = r;
}

int rows_add(json_object *rows, json_object *row)
{
    if (json_object_array_add(rows, row) < 0) {
        json_object_put(row);
        return -ENOMEM;
    }
    return 0;
}

int rows_end(json_object *rows, struct row *row)
{
    json_object *object = NULL;
    int r = row_end(row, &object);

    return r < 0 ? r : rows_add(rows, object);
}

const char *filter_string(json_object *filter, const char *key)
{
    json_object *value;

    return json_object_object_get_ex(filter, key, &value) ? json_object_get_string(value) : NULL;
}

bool filter_bool(json_object *filter, const char *key)
{
    json_object *value;

    return json_object_object_get_ex(filter, key, &value) && json_object_get_boolean(value);
}

uint64_t filter_number(json_object *filter, const char *key)
{
    json_object *value;

    return json_object_object_get_ex(filter, key, &value) ? json_object_get_uint64(value) : 0;
}
