/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Catalogues: Cisco's known-good values.
 *
 * The form: CiscoDevNet/BootIntegrityValidator, tests/test_files/example_kgv.json, in which the
 * header's version is "KGV_format_2.0": products[] of {product, osImageVersions[] of {version,
 * entries[] of {filename, md5, sha1, sha256, sha512, published, ...}}}. Boot loaders are in lists
 * of their own, which are not read. */
#include <errno.h>
#include <string.h>

#include "provenance/json-walk.h"

DEFINE_CLEANUP(json_object *, json_object_put)

static int read_entry(struct catalogue_reader *reader, struct json_slice value, char *family,
                      char *version)
{
    _cleanup_(json_object_putp) json_object *object = NULL;
    struct catalogue_record record = { .size = CATALOGUE_SIZE_UNKNOWN };
    int r = json_walk_record(reader, value, &object);

    for (int i = 0; r >= 0 && i < _CATALOGUE_ALGORITHM_MAX; i++) {
        enum catalogue_algorithm algorithm = (enum catalogue_algorithm)i;

        r = json_record_digest(reader, value, object, catalogue_algorithm_name(algorithm),
                               algorithm, &record);
    }
    if (r < 0)
        return r;
    record.name = (char *)(uintptr_t)json_record_text(object, "filename");
    if (!record.name || record.algorithms == 0) {
        reader->catalogue->passed_over++;
        return 0;
    }
    record.family = family;
    record.version = version;
    return catalogue_add(reader, value.text, &record);
}

static int read_version(struct catalogue_reader *reader, struct json_slice value, char *family)
{
    struct json_slice entries = json_walk_member(value, "entries"), entry;
    struct json_cursor cursor = { .at = NULL };
    _cleanup_free_ char *version = NULL;
    int r = json_walk_text(json_walk_member(value, "version"), &version);

    while (r >= 0 && json_slice_is(entries, '[') && json_walk_next(entries, &cursor, NULL, &entry))
        r = read_entry(reader, entry, family, version);
    return r;
}

static int read_product(struct catalogue_reader *reader, struct json_slice value)
{
    struct json_slice versions = json_walk_member(value, "osImageVersions"), version;
    struct json_cursor cursor = { .at = NULL };
    _cleanup_free_ char *family = NULL;
    int r = json_walk_text(json_walk_member(value, "product"), &family);

    while (r >= 0 && json_slice_is(versions, '[') &&
           json_walk_next(versions, &cursor, NULL, &version))
        r = read_version(reader, version, family);
    return r;
}

static int kgv_read(struct catalogue_reader *reader)
{
    struct json_slice whole, products, product;
    struct json_cursor cursor = { .at = NULL };
    int r = json_walk_begin(reader, &whole);

    if (r < 0)
        return r;
    products = json_walk_member(whole, "products");
    if (!json_slice_is(products, '['))
        return catalogue_refuse(reader, NULL, "the known-good values have no list of products");
    while (r >= 0 && json_walk_next(products, &cursor, NULL, &product))
        r = read_product(reader, product);
    return r;
}

static bool kgv_probe(const char *text, size_t size)
{
    return json_probe(text, size, '{', "\"KGV_format_") ||
           json_probe(text, size, '{', "\"osImageVersions\"") ||
           json_probe(text, size, '{', "\"biv_hash\"");
}

const struct catalogue_form catalogue_form_kgv = {
    .name = "kgv", .best = CATALOGUE_PINNED, .probe = kgv_probe, .read = kgv_read,
};
