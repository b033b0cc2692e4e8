/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Entries of the control interface between JSON objects and D-Bus a{sv}, for both of its ends. */
#include "helpers/control-json.h"

#include <errno.h>
#include <string.h>

#include "helpers/text.h"
#include "helpers/json-text.h"
#include "lib/cleanup.h"

#define LEVELS_MAX 16
#define VALUES_MAX 1000000

DEFINE_CLEANUP(json_object *, json_object_put)

bool control_is_bytes(const char *key)
{
    static const char *const keys[] = {
        "path", "subject", "parent", "parent-stored", "data-file", "data-file-stored", "base",
        "own-layer",
        "golden-layer", "loop-head", "current", "stored", "resolved", "root",
        "database",
    };

    for (size_t i = 0; i < ELEMENTSOF(keys); i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

/* ---- JSON to D-Bus ------------------------------------------------------------------------ */

static int append_variant(sd_bus_message *message, const char *key, json_object *value);

static int append_bytes(sd_bus_message *message, const char *data, size_t size)
{
    int r = sd_bus_message_open_container(message, 'v', "ay");
    if (r >= 0)
        r = sd_bus_message_append_array(message, 'y', data, size);
    return r < 0 ? r : sd_bus_message_close_container(message);
}

static int append_string(sd_bus_message *message, const char *key, json_object *value)
{
    const char *text = json_object_get_string(value);
    size_t size = (size_t)json_object_get_string_len(value);

    if (control_is_bytes(key) || memchr(text, 0, size) || !text_is_utf8(text, size))
        return append_bytes(message, text, size);
    return sd_bus_message_append(message, "v", "s", text);
}

static int append_integer(sd_bus_message *message, json_object *value)
{
    int64_t number = json_object_get_int64(value);

    if (number < 0)
        return sd_bus_message_append(message, "v", "x", number);
    return sd_bus_message_append(message, "v", "t", json_object_get_uint64(value));
}

static int append_array(sd_bus_message *message, const char *key, json_object *array)
{
    int r = sd_bus_message_open_container(message, 'v', "av");
    if (r >= 0)
        r = sd_bus_message_open_container(message, 'a', "v");
    for (size_t i = 0, n = json_object_array_length(array); r >= 0 && i < n; i++) {
        json_object *item = json_object_array_get_idx(array, i);
        if (item)
            r = append_variant(message, key, item);
    }
    if (r >= 0)
        r = sd_bus_message_close_container(message);
    return r < 0 ? r : sd_bus_message_close_container(message);
}

static int append_variant(sd_bus_message *message, const char *key, json_object *value)
{
    int r;

    switch (json_object_get_type(value)) {
    case json_type_boolean:
        return sd_bus_message_append(message, "v", "b", (int)json_object_get_boolean(value));
    case json_type_int:
        return append_integer(message, value);
    case json_type_double:
        return sd_bus_message_append(message, "v", "d", json_object_get_double(value));
    case json_type_string:
        return append_string(message, key, value);
    case json_type_array:
        return append_array(message, key, value);
    case json_type_object:
        r = sd_bus_message_open_container(message, 'v', "a{sv}");
        if (r >= 0)
            r = control_append_entry(message, value);
        return r < 0 ? r : sd_bus_message_close_container(message);
    case json_type_null:
        break;
    }
    return -EINVAL;
}

int control_append_entry(sd_bus_message *message, json_object *entry)
{
    int r;

    if (!json_object_is_type(entry, json_type_object))
        return -EINVAL;
    r = sd_bus_message_open_container(message, 'a', "{sv}");
    if (r < 0)
        return r;
    json_object_object_foreach(entry, key, value) {
        if (!value)
            continue;
        r = sd_bus_message_open_container(message, 'e', "sv");
        if (r >= 0)
            r = sd_bus_message_append_basic(message, 's', key);
        if (r >= 0)
            r = append_variant(message, key, value);
        if (r >= 0)
            r = sd_bus_message_close_container(message);
        if (r < 0)
            return r;
    }
    return sd_bus_message_close_container(message);
}

int control_append_rows(sd_bus_message *message, json_object *rows)
{
    int r;

    if (!json_object_is_type(rows, json_type_array))
        return -EINVAL;
    r = sd_bus_message_open_container(message, 'a', "a{sv}");
    for (size_t i = 0, n = json_object_array_length(rows); r >= 0 && i < n; i++)
        r = control_append_entry(message, json_object_array_get_idx(rows, i));
    return r < 0 ? r : sd_bus_message_close_container(message);
}

/* ---- D-Bus to JSON ------------------------------------------------------------------------ */

/* Room that is left in one message: D-Bus bounds its text, but not its objects in memory. */
struct reading {
    unsigned level;
    unsigned values;
};

static int read_value(sd_bus_message *message, struct reading *reading, json_object **ret_value);

static int read_basic(sd_bus_message *message, char type, json_object **ret_value)
{
    union {
        uint8_t u8; int16_t i16; uint16_t u16; int32_t i32; uint32_t u32; int64_t i64; uint64_t u64;
        double real; int boolean; const char *text;
    } basic = { 0 };
    json_object *value;
    int r = strchr("ynqiuxtdbsog", type) ? sd_bus_message_read_basic(message, type, &basic)
                                         : -EBADMSG;

    if (r < 0)
        return r;
    switch (type) {
    case 'y': value = json_object_new_int64(basic.u8); break;
    case 'n': value = json_object_new_int64(basic.i16); break;
    case 'q': value = json_object_new_int64(basic.u16); break;
    case 'i': value = json_object_new_int64(basic.i32); break;
    case 'u': value = json_object_new_int64(basic.u32); break;
    case 'x': value = json_object_new_int64(basic.i64); break;
    case 't': value = json_object_new_uint64(basic.u64); break;
    case 'd': value = json_object_new_double(basic.real); break;
    case 'b': value = json_object_new_boolean(basic.boolean); break;
    default: value = json_object_new_string(basic.text); break;
    }
    if (!value)
        return -ENOMEM;
    *ret_value = value;
    return 0;
}

static int read_bytes(sd_bus_message *message, json_object **ret_value)
{
    const void *data = NULL;
    size_t size = 0;
    json_object *value;
    int r = sd_bus_message_read_array(message, 'y', &data, &size);

    if (r < 0)
        return r;
    value = json_object_new_string_len(size > 0 ? data : "", (int)size);
    if (!value)
        return -ENOMEM;
    *ret_value = value;
    return 0;
}

static int read_array(sd_bus_message *message, const char *contents, struct reading *reading,
                      json_object **ret_value)
{
    _cleanup_(json_object_putp) json_object *array = json_object_new_array();
    int r = sd_bus_message_enter_container(message, 'a', contents);

    if (r < 0)
        return r;
    if (!array)
        return -ENOMEM;
    while ((r = sd_bus_message_at_end(message, 0)) == 0) {
        json_object *item = NULL;

        r = read_value(message, reading, &item);
        if (r < 0)
            return r;
        if (json_object_array_add(array, item) < 0) {
            json_object_put(item);
            return -ENOMEM;
        }
    }
    if (r > 0)
        r = sd_bus_message_exit_container(message);
    if (r < 0)
        return r;
    *ret_value = TAKE_PTR(array);
    return 0;
}

static int read_member(sd_bus_message *message, struct reading *reading, json_object *entry)
{
    const char *key;
    json_object *value = NULL;
    int r = sd_bus_message_read_basic(message, 's', &key);

    if (r < 0)
        return r;
    r = read_value(message, reading, &value);
    if (r < 0)
        return r;
    if (json_add(entry, key, value) < 0)
        return -ENOMEM;
    return sd_bus_message_exit_container(message);
}

static int read_object(sd_bus_message *message, struct reading *reading, json_object **ret_entry)
{
    _cleanup_(json_object_putp) json_object *entry = json_object_new_object();
    int r = sd_bus_message_enter_container(message, 'a', "{sv}");

    if (r < 0)
        return r;
    if (r == 0)
        return -EBADMSG;
    if (!entry)
        return -ENOMEM;
    while ((r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
        r = read_member(message, reading, entry);
        if (r < 0)
            return r;
    }
    if (r >= 0)
        r = sd_bus_message_exit_container(message);
    if (r < 0)
        return r;
    *ret_entry = TAKE_PTR(entry);
    return 0;
}

static int read_value(sd_bus_message *message, struct reading *reading, json_object **ret_value)
{
    const char *contents;
    char type;
    int r = sd_bus_message_peek_type(message, &type, &contents);

    if (r < 0)
        return r;
    if (r == 0 || reading->level >= LEVELS_MAX || reading->values++ >= VALUES_MAX)
        return -EBADMSG;
    reading->level++;
    if (type == 'v') {
        r = sd_bus_message_enter_container(message, 'v', contents);
        if (r >= 0)
            r = read_value(message, reading, ret_value);
        if (r >= 0) {
            r = sd_bus_message_exit_container(message);
            if (r < 0) {
                json_object_put(*ret_value);
                *ret_value = NULL;
            }
        }
    } else if (type == 'a' && strcmp(contents, "y") == 0)
        r = read_bytes(message, ret_value);
    else if (type == 'a' && strcmp(contents, "{sv}") == 0)
        r = read_object(message, reading, ret_value);
    else if (type == 'a' && contents[0] != '{')
        r = read_array(message, contents, reading, ret_value);
    else
        r = read_basic(message, type, ret_value);
    reading->level--;
    return r < 0 ? r : 0;
}

int control_read_entry(sd_bus_message *message, json_object **ret_entry)
{
    struct reading reading = { 0 };

    return read_object(message, &reading, ret_entry);
}

int control_read_rows(sd_bus_message *message, json_object **ret_rows)
{
    struct reading reading = { 0 };

    return read_array(message, "a{sv}", &reading, ret_rows);
}
