/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Catalogues: images of OpenStack's Glance, as its API and the command line list them.
 *
 * The form: an array of images ("openstack image list --long -f json"), one of them ("image show"),
 * or {"images": [...]} (GET /v2/images): id, name, size, checksum (MD5), os_hash_algo and
 * os_hash_value (sha512 by default; Image API v2), which the command line has in "properties", and
 * keys that begin with a capital. A file in Glance's store is named by the image's ID; the digests
 * are of what is stored, which plug-ins may have converted. */
#include <errno.h>
#include <string.h>

#include "provenance/json-walk.h"

DEFINE_CLEANUP(json_object *, json_object_put)

/* The member by its name of the API's, or the command's. */
static const char *text_of(json_object *object, const char *key, const char *heading)
{
    const char *text = json_record_text(object, key);

    return text ? text : json_record_text(object, heading);
}

static int take_hash(struct catalogue_reader *reader, struct json_slice at, json_object *object,
                     struct catalogue_record *record)
{
    const char *name = json_record_text(object, "os_hash_algo"),
               *value = json_record_text(object, "os_hash_value");
    enum catalogue_algorithm algorithm;

    if (!name || !value)
        return 0;
    if (catalogue_algorithm_parse(name, strlen(name), &algorithm) < 0)
        return catalogue_refuse_shown(reader, at.text, "an algorithm is not known", name,
                                      strlen(name));
    return json_record_digest(reader, at, object, "os_hash_value", algorithm, record);
}

static int read_image(struct catalogue_reader *reader, struct json_slice value)
{
    _cleanup_(json_object_putp) json_object *object = NULL;
    struct catalogue_record record = { .size = CATALOGUE_SIZE_UNKNOWN };
    json_object *properties = NULL;
    int r = json_walk_record(reader, value, &object);

    if (r >= 0)
        r = take_hash(reader, value, object, &record);
    if (r >= 0 && (json_object_object_get_ex(object, "properties", &properties) ||
                   json_object_object_get_ex(object, "Properties", &properties)) &&
        json_object_is_type(properties, json_type_object))
        r = take_hash(reader, value, properties, &record);
    if (r >= 0)
        r = json_record_digest(reader, value, object, "checksum", CATALOGUE_MD5, &record);
    if (r >= 0)
        r = json_record_digest(reader, value, object, "Checksum", CATALOGUE_MD5, &record);
    if (r < 0)
        return r;
    record.name = (char *)(uintptr_t)text_of(object, "id", "ID");
    if (!record.name)
        return catalogue_refuse(reader, value.text, "an image has no ID");
    if (record.algorithms == 0) {
        reader->catalogue->passed_over++;       /* queued, or killed */
        return 0;
    }
    record.title = (char *)(uintptr_t)text_of(object, "name", "Name");
    record.size = json_record_size(object, "size");
    if (record.size == CATALOGUE_SIZE_UNKNOWN)
        record.size = json_record_size(object, "Size");
    return catalogue_add(reader, value.text, &record);
}

static int glance_read(struct catalogue_reader *reader)
{
    struct json_slice whole, images, image;
    struct json_cursor cursor = { .at = NULL };
    int r = json_walk_begin(reader, &whole);

    if (r < 0)
        return r;
    images = json_slice_is(whole, '[') ? whole : json_walk_member(whole, "images");
    if (json_slice_is(images, '[')) {
        while (r >= 0 && json_walk_next(images, &cursor, NULL, &image))
            r = read_image(reader, image);
        return r;
    }
    return read_image(reader, whole);
}

static bool has_image(const char *text, size_t size, char kind)
{
    return (json_probe(text, size, kind, "\"checksum\"") ||
            json_probe(text, size, kind, "\"Checksum\"") ||
            json_probe(text, size, kind, "\"os_hash_value\"")) &&
           (json_probe(text, size, kind, "\"id\"") || json_probe(text, size, kind, "\"ID\""));
}

static bool glance_probe(const char *text, size_t size)
{
    return has_image(text, size, '[') || has_image(text, size, '{');
}

const struct catalogue_form catalogue_form_glance = {
    .name = "glance", .best = CATALOGUE_PINNED, .probe = glance_probe, .read = glance_read,
};
