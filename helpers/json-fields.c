/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Structs as JSON and back. */
#include "helpers/json-fields.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "helpers/hex.h"
#include "helpers/json-text.h"
#include "lib/cleanup.h"
#include "qcaudit/qcaudit.h"

DEFINE_CLEANUP(json_object *, json_object_put)

static const char *kept_key(const struct json_field *field)
{
    return field->kept ?: field->key;
}

/* ---- to be kept ------------------------------------------------------------------------------ */

static int keep(const struct json_field *field, json_object *object, json_object *value)
{
    return json_add(object, kept_key(field), value);
}

static int encode_array(const struct json_field *field, const void *base, json_object *object)
{
    const char *items = *(const char *const *)((const char *)base + field->offset);
    size_t n = *(const size_t *)((const char *)base + field->count);
    _cleanup_(json_object_putp) json_object *array = json_object_new_array_ext((int)n);

    if (!array)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        json_object *item;
        int r = json_fields_encode(field->members, items + i * field->size, &item);

        if (r < 0)
            return r;
        if (json_object_array_add(array, item) < 0) {
            json_object_put(item);
            return -ENOMEM;
        }
    }
    return n == 0 ? 0 : keep(field, object, TAKE_PTR(array));
}

static int encode_counts(const struct json_field *field, const uint32_t *counts,
                         json_object *object)
{
    _cleanup_(json_object_putp) json_object *kinds = json_object_new_object();

    if (!kinds)
        return -ENOMEM;
    for (unsigned i = 0; i < field->n_names; i++)
        if (counts[i] > 0 && json_add(kinds, field->name(i), json_object_new_uint64(counts[i])) < 0)
            return -ENOMEM;
    return json_object_object_length(kinds) == 0 ? 0 : keep(field, object, TAKE_PTR(kinds));
}

static int encode_bytes(const struct json_field *field, const uint8_t *bytes, json_object *object)
{
    char hex[2 * 64 + 1];

    hex_encode(bytes, field->size, hex);
    for (size_t i = 0; i < field->size; i++)
        if (bytes[i] != 0)
            return keep(field, object, json_object_new_string(hex));
    return 0;
}

static int encode_unsigned(const struct json_field *field, uint64_t value, uint64_t usual,
                           json_object *object)
{
    return value == usual ? 0 : keep(field, object, json_object_new_uint64(value));
}

static int encode_signed(const struct json_field *field, int64_t value, json_object *object)
{
    return value == 0 ? 0 : keep(field, object, json_object_new_int64(value));
}

static int encode_string(const struct json_field *field, const char *string, size_t length,
                         json_object *object)
{
    return string ? keep(field, object, json_object_new_string_len(string, (int)length)) : 0;
}

static int encode_field(const struct json_field *field, const void *base, json_object *object)
{
    const void *member = (const char *)base + field->offset;
    const uint32_t *counts;
    json_object *members;
    const char *string;
    int r;

    switch (field->kind) {
    case JSON_BOOL:
        return *(const bool *)member ? keep(field, object, json_object_new_boolean(true)) : 0;
    case JSON_INT:
        return encode_signed(field, *(const int *)member, object);
    case JSON_I64:
        return encode_signed(field, *(const int64_t *)member, object);
    case JSON_U8:
        return encode_unsigned(field, *(const uint8_t *)member, 0, object);
    case JSON_U32:
        return encode_unsigned(field, *(const uint32_t *)member, 0, object);
    case JSON_SNAPSHOT:
        return encode_unsigned(field, *(const uint32_t *)member, QCA_ACTIVE, object);
    case JSON_U64:
        return encode_unsigned(field, *(const uint64_t *)member, 0, object);
    case JSON_OFFSET:
        return encode_unsigned(field, *(const uint64_t *)member, QCA_NO_OFFSET, object);
    case JSON_ENUM:
        string = field->name(*(const unsigned *)member);
        return encode_string(field, string, string ? strlen(string) : 0, object);
    case JSON_STRING:
        string = *(const char *const *)member;
        return encode_string(field, string, string ? strlen(string) : 0, object);
    case JSON_CHARS:
        r = (int)strnlen(member, field->size);
        return r == 0 ? 0 : encode_string(field, member, (size_t)r, object);
    case JSON_BYTES:
        return encode_bytes(field, member, object);
    case JSON_COUNTS:
        counts = *(const uint32_t *const *)member;
        return counts ? encode_counts(field, counts, object) : 0;
    case JSON_ARRAY:
        return encode_array(field, base, object);
    case JSON_OWNED:
    case JSON_OBJECT:
        if (field->kind == JSON_OWNED)
            member = *(const void *const *)member;
        if (!member)
            return 0;
        r = json_fields_encode(field->members, member, &members);
        return r < 0 ? r : keep(field, object, members);
    }
    return -EINVAL;
}

int json_fields_encode(const struct json_fields *fields, const void *base, json_object **ret)
{
    _cleanup_(json_object_putp) json_object *object = json_object_new_object();

    if (!object)
        return -ENOMEM;
    for (size_t i = 0; i < fields->n_items; i++) {
        int r = encode_field(&fields->items[i], base, object);

        if (r < 0)
            return r;
    }
    *ret = TAKE_PTR(object);
    return 0;
}

/* ---- shown ----------------------------------------------------------------------------------- */

static uint64_t member_u64(const void *base, size_t offset)
{
    uint64_t value;

    memcpy(&value, (const char *)base + offset, sizeof(value));
    return value;
}

/* Adds what encode_field() leaves out because it is usual. */
static int show_usual(const struct json_field *field, const char *key, json_object *object)
{
    switch (field->kind) {
    case JSON_BOOL:
        return json_add(object, key, json_object_new_boolean(false));
    case JSON_INT:
    case JSON_I64:
        return json_add(object, key, json_object_new_int64(0));
    case JSON_U8:
    case JSON_U32:
    case JSON_U64:
        return json_add(object, key, json_object_new_uint64(0));
    case JSON_CHARS:
        return json_add(object, key, json_object_new_string(""));
    default:
        return 0;               /* there is none */
    }
}

static int show_field(const struct json_field *field, const void *base, json_object *object)
{
    struct json_field shown = *field;
    int n = json_object_object_length(object), r;

    if (field->of_offset && member_u64(base, field->of) == QCA_NO_OFFSET)
        return 0;
    shown.kept = NULL;
    r = encode_field(&shown, base, object);
    return r < 0 || json_object_object_length(object) > n ? r
                                                          : show_usual(field, field->key, object);
}

int json_fields_show(const struct json_fields *fields, const void *base, const char *const keys[],
                     json_object *object)
{
    for (size_t k = 0; keys[k]; k++) {
        size_t i = 0;
        int r;

        while (i < fields->n_items && strcmp(fields->items[i].key, keys[k]) != 0)
            i++;
        r = i == fields->n_items ? -EINVAL : show_field(&fields->items[i], base, object);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- in -------------------------------------------------------------------------------------- */

static int decode_unsigned(json_object *value, uint64_t max, uint64_t *ret)
{
    uint64_t number;

    if (!json_object_is_type(value, json_type_int))
        return -EBADMSG;
    if (json_object_get_int64(value) < 0)
        return -EBADMSG;
    number = json_object_get_uint64(value);
    if (number > max)
        return -EBADMSG;
    *ret = number;
    return 0;
}

static int decode_signed(json_object *value, int64_t min, int64_t max, int64_t *ret)
{
    if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < min ||
        json_object_get_int64(value) > max)
        return -EBADMSG;
    *ret = json_object_get_int64(value);
    return 0;
}

static int decode_name(json_object *value, const char *(*name)(unsigned value), unsigned n_names,
                       unsigned *ret)
{
    for (unsigned i = 0; i < n_names; i++) {
        const char *known = name(i);

        if (known && json_object_is_type(value, json_type_string) &&
            strcmp(known, json_object_get_string(value)) == 0) {
            *ret = i;
            return 0;
        }
    }
    return -EBADMSG;
}

static int decode_bytes(json_object *value, uint8_t *bytes, size_t size)
{
    return hex_decode(json_object_is_type(value, json_type_string) ? json_object_get_string(value)
                                                                   : NULL,
                      bytes, size);
}

static int decode_counts(const struct json_field *field, json_object *value,
                         uint32_t **ret_counts)
{
    uint32_t *counts;

    if (!json_object_is_type(value, json_type_object))
        return -EBADMSG;
    counts = *ret_counts = calloc(field->n_names, sizeof(*counts));
    if (!counts)
        return -ENOMEM;
    json_object_object_foreach(value, name, count) {
        unsigned i = 0;
        uint64_t n = 0;
        int r;

        while (i < field->n_names && strcmp(field->name(i), name) != 0)
            i++;
        r = i == field->n_names ? -EBADMSG : decode_unsigned(count, UINT64_MAX, &n);

        if (r < 0)
            return r;
        counts[i] = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
    }
    return 0;
}

static bool is_zero(const char *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static int decode_owned(const struct json_field *field, json_object *value, void **ret_struct)
{
    void *decoded = calloc(1, field->size);
    int r;

    if (!decoded)
        return -ENOMEM;
    r = json_fields_decode(field->members, value, decoded);
    if (r < 0 || is_zero(decoded, field->size))
        free(decoded);
    else
        *ret_struct = decoded;
    return r;
}

static int decode_array(const struct json_field *field, json_object *value, void *base)
{
    size_t n = json_object_is_type(value, json_type_array) ? json_object_array_length(value) : 0;
    char *items;

    if (n == 0)
        return -EBADMSG;
    items = calloc(n, field->size);
    if (!items)
        return -ENOMEM;
    *(void **)((char *)base + field->offset) = items;
    *(size_t *)((char *)base + field->count) = n;
    for (size_t i = 0; i < n; i++) {
        int r = json_fields_decode(field->members, json_object_array_get_idx(value, i),
                              items + i * field->size);

        if (r < 0)
            return r;
    }
    return 0;
}

static int decode_string(const struct json_field *field, json_object *value, void *member)
{
    const char *string = json_object_is_type(value, json_type_string)
                             ? json_object_get_string(value)
                             : NULL;

    if (!string)
        return -EBADMSG;
    if (field->kind == JSON_STRING) {
        *(char **)member = strdup(string);
        return *(char **)member ? 0 : -ENOMEM;
    }
    if (strlen(string) >= field->size)
        return -EBADMSG;
    memcpy(member, string, strlen(string) + 1);
    return 0;
}

static int decode_field(const struct json_field *field, json_object *value, void *base)
{
    void *member = (char *)base + field->offset;
    uint64_t number = 0;
    int64_t integer = 0;
    int r;

    switch (field->kind) {
    case JSON_BOOL:
        *(bool *)member = json_object_get_boolean(value);
        return json_object_is_type(value, json_type_boolean) ? 0 : -EBADMSG;
    case JSON_INT:
        r = decode_signed(value, INT_MIN, INT_MAX, &integer);
        *(int *)member = (int)integer;
        return r;
    case JSON_I64:
        return decode_signed(value, INT64_MIN, INT64_MAX, member);
    case JSON_U8:
        r = decode_unsigned(value, UINT8_MAX, &number);
        *(uint8_t *)member = (uint8_t)number;
        return r;
    case JSON_U32:
    case JSON_SNAPSHOT:
        r = decode_unsigned(value, UINT32_MAX, &number);
        *(uint32_t *)member = (uint32_t)number;
        return r;
    case JSON_U64:
    case JSON_OFFSET:
        return decode_unsigned(value, UINT64_MAX, member);
    case JSON_ENUM:
        return decode_name(value, field->name, field->n_names, member);
    case JSON_STRING:
    case JSON_CHARS:
        return decode_string(field, value, member);
    case JSON_BYTES:
        return decode_bytes(value, member, field->size);
    case JSON_COUNTS:
        return decode_counts(field, value, member);
    case JSON_ARRAY:
        return decode_array(field, value, base);
    case JSON_OBJECT:
        return json_fields_decode(field->members, value, member);
    case JSON_OWNED:
        return decode_owned(field, value, member);
    }
    return -EBADMSG;
}

int json_fields_decode(const struct json_fields *fields, json_object *object, void *base)
{
    if (!json_object_is_type(object, json_type_object))
        return -EBADMSG;
    for (size_t i = 0; i < fields->n_items; i++) {
        const struct json_field *field = &fields->items[i];
        json_object *value;
        int r;

        if (!json_object_object_get_ex(object, kept_key(field), &value)) {
            if (field->kind == JSON_OFFSET)
                *(uint64_t *)((char *)base + field->offset) = QCA_NO_OFFSET;
            else if (field->kind == JSON_SNAPSHOT)
                *(uint32_t *)((char *)base + field->offset) = QCA_ACTIVE;
            continue;
        }
        r = decode_field(field, value, base);
        if (r < 0)
            return r;
    }
    return 0;
}
