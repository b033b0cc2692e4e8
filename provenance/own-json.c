/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Catalogues: the project's own form, which is also that of an export.
 *
 * {"format": "qcaudit-catalogue-1", "records": [{"name", "size", "family", "version", "title",
 * "md5", "sha1", "sha256", "sha384", "sha512", "content-sha256", "level", "weak"}]}: a name and one
 * digest at least; "content-sha256" is of what a guest sees of the disk;
 * "level" and "weak" are said by who exports, and never believed. conf/schema/catalogue.json. */
#include "provenance/own-json.h"

#include <errno.h>
#include <string.h>

#include "helpers/hex.h"
#include "helpers/json-text.h"
#include "provenance/json-walk.h"

DEFINE_CLEANUP(json_object *, json_object_put)

/* ---- reading --------------------------------------------------------------------------------- */

/* A text that may be missing, but is nothing else. */
static int take_text(struct catalogue_reader *reader, const char *at, json_object *object,
                     const char *key, char **ret)
{
    json_object *value;

    if (!json_object_object_get_ex(object, key, &value))
        return 0;
    *ret = (char *)(uintptr_t)json_record_text(object, key);
    if (*ret || (json_object_is_type(value, json_type_string) &&
                 json_object_get_string_len(value) == 0))
        return 0;
    return catalogue_refuse(reader, at, "%s is no text, or holds a NUL", key);
}

static int take_content(struct catalogue_reader *reader, struct json_slice value,
                        json_object *object, struct catalogue_record *record)
{
    struct catalogue_record other = { .algorithms = 0 };
    int r = json_record_digest(reader, value, object, "content-sha256", CATALOGUE_SHA256, &other);

    record->has_content = other.algorithms != 0;
    memcpy(record->content, other.sha256, sizeof(record->content));
    return r;
}

static int read_record(struct catalogue_reader *reader, struct json_slice value)
{
    _cleanup_(json_object_putp) json_object *object = NULL;
    struct catalogue_record record = { .size = CATALOGUE_SIZE_UNKNOWN };
    json_object *size;
    int r = json_walk_record(reader, value, &object);

    if (r >= 0)
        r = take_text(reader, value.text, object, "name", &record.name);
    if (r >= 0)
        r = take_text(reader, value.text, object, "family", &record.family);
    if (r >= 0)
        r = take_text(reader, value.text, object, "version", &record.version);
    if (r >= 0)
        r = take_text(reader, value.text, object, "title", &record.title);
    for (int i = 0; r >= 0 && i < _CATALOGUE_ALGORITHM_MAX; i++) {
        enum catalogue_algorithm algorithm = (enum catalogue_algorithm)i;

        r = json_record_digest(reader, value, object, catalogue_algorithm_name(algorithm),
                               algorithm, &record);
    }
    if (r >= 0)
        r = take_content(reader, value, object, &record);
    if (r < 0)
        return r;
    record.size = json_record_size(object, "size");
    if (record.size == CATALOGUE_SIZE_UNKNOWN && json_object_object_get_ex(object, "size", &size))
        return catalogue_refuse(reader, value.text, "size is no number of bytes");
    if (!record.name)
        return catalogue_refuse(reader, value.text, "a file has no name");
    return catalogue_add(reader, value.text, &record);
}

static int own_read(struct catalogue_reader *reader)
{
    struct json_slice whole, records, record;
    struct json_cursor cursor = { .at = NULL };
    _cleanup_free_ char *format = NULL;
    int r = json_walk_begin(reader, &whole);

    if (r >= 0)
        r = json_walk_text(json_walk_member(whole, "format"), &format);
    if (r < 0)
        return r;
    if (!format || strcmp(format, CATALOGUE_OWN_FORMAT) != 0)
        return catalogue_refuse(reader, NULL, "its format is not " CATALOGUE_OWN_FORMAT);
    records = json_walk_member(whole, "records");
    if (!json_slice_is(records, '['))
        return catalogue_refuse(reader, NULL, "it has no list of records");
    while (r >= 0 && json_walk_next(records, &cursor, NULL, &record))
        r = read_record(reader, record);
    return r;
}

static bool own_probe(const char *text, size_t size)
{
    return json_probe(text, size, '{', "\"qcaudit-catalogue-");
}

const struct catalogue_form catalogue_form_own = {
    .name = "qcaudit", .best = CATALOGUE_PINNED, .probe = own_probe, .read = own_read,
};

/* ---- writing --------------------------------------------------------------------------------- */

static int add_digests(const struct catalogue_record *record, json_object *object)
{
    char hex[2 * CATALOGUE_DIGEST_MAX + 1];
    int r = 0;

    for (int i = 0; r >= 0 && i < _CATALOGUE_ALGORITHM_MAX; i++) {
        enum catalogue_algorithm algorithm = (enum catalogue_algorithm)i;
        const uint8_t *digest = catalogue_digest(record, algorithm);

        if (!digest)
            continue;
        hex_encode(digest, catalogue_algorithm_size(algorithm), hex);
        r = json_add_text(object, catalogue_algorithm_name(algorithm), hex);
    }
    if (r >= 0 && record->has_content) {
        hex_encode(record->content, sizeof(record->content), hex);
        r = json_add_text(object, "content-sha256", hex);
    }
    return r;
}

static int add_record(const struct catalogue_record *record, json_object *records)
{
    json_object *object = json_object_new_object();
    int r;

    if (!object || json_object_array_add(records, object) < 0) {
        json_object_put(object);
        return -ENOMEM;
    }
    r = json_add_text(object, "name", record->name);
    if (r >= 0)
        r = json_add_text(object, "family", record->family);
    if (r >= 0)
        r = json_add_text(object, "version", record->version);
    if (r >= 0)
        r = json_add_text(object, "title", record->title);
    if (r >= 0 && record->size != CATALOGUE_SIZE_UNKNOWN)
        r = json_add_number(object, "size", record->size);
    if (r >= 0)
        r = add_digests(record, object);
    if (r >= 0)
        r = json_add_text(object, "level", catalogue_level_name(record->level));
    if (r >= 0)
        r = json_add(object, "weak", json_object_new_boolean(record->weak));
    return r;
}

int catalogue_to_json(const struct catalogue *catalogue, json_object **ret_object)
{
    _cleanup_(json_object_putp) json_object *object = json_object_new_object();
    json_object *records = json_object_new_array();
    int r = object ? json_add_text(object, "format", CATALOGUE_OWN_FORMAT) : -ENOMEM;

    if (r < 0) {
        json_object_put(records);
        return r;
    }
    r = json_add(object, "records", records);
    for (size_t i = 0; r >= 0 && i < catalogue->n; i++)
        r = add_record(&catalogue->records[i], records);
    if (r >= 0)
        *ret_object = TAKE_PTR(object);
    return r;
}
