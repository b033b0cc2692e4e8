/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Catalogues: products files of simplestreams, as Ubuntu and others publish their cloud images.
 *
 * The form: lp:simplestreams, doc/, "format": "products:1.0", "datatype": "image-downloads":
 * products {NAME: {release, version, arch, versions {SERIAL: {items {KEY: {ftype, path, size,
 * sha256, md5}}}}}}. The serial is the level of patches, which file names lack. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "provenance/json-walk.h"

DEFINE_CLEANUP(json_object *, json_object_put)

/* What is said of all items below. */
struct stream_place {
    char *family;               /* the product's release title, or its name */
    char *version;              /* the product's; the serial is added */
    char *serial;
};

static void place_done(struct stream_place *place)
{
    free(place->family);
    free(place->version);
    free(place->serial);
}

/* Disks; kernels, root tarballs and manifests are none. */
static bool is_disk(const char *ftype)
{
    static const char *const types[] = {
        "disk1.img", "disk-kvm.img", "disk.img", "uefi1.img", "ova", "qcow2", "img", "vmdk",
        "vhd.tar.gz", "azure.vhd.tar.gz", "vhd.zip",
    };

    for (size_t i = 0; ftype && i < ELEMENTSOF(types); i++)
        if (strcmp(types[i], ftype) == 0)
            return true;
    return false;
}

static int read_item(struct catalogue_reader *reader, struct json_slice value,
                     const struct stream_place *place)
{
    static const char *const keys[] = { "md5", "sha1", "sha256", "sha384", "sha512" };
    _cleanup_(json_object_putp) json_object *object = NULL;
    struct catalogue_record record = { .size = CATALOGUE_SIZE_UNKNOWN };
    char version[2 * CATALOGUE_WORDS_MAX];
    const char *path, *slash;
    int r = json_walk_record(reader, value, &object);

    if (r < 0)
        return r;
    path = json_record_text(object, "path");
    if (!path || !is_disk(json_record_text(object, "ftype"))) {
        reader->catalogue->passed_over++;
        return 0;
    }
    for (int i = 0; r >= 0 && i < _CATALOGUE_ALGORITHM_MAX; i++)
        r = json_record_digest(reader, value, object, keys[i], (enum catalogue_algorithm)i,
                               &record);
    if (r < 0)
        return r;
    if (record.algorithms == 0) {
        reader->catalogue->passed_over++;
        return 0;
    }
    slash = strrchr(path, '/');
    record.name = (char *)(uintptr_t)(slash ? slash + 1 : path);
    record.family = place->family;
    if (snprintf(version, sizeof(version), "%s%s%s", place->version ? place->version : "",
                 place->version ? " " : "", place->serial) >= (int)sizeof(version))
        return catalogue_refuse(reader, value.text, "a version is too long");
    record.version = version;
    record.size = json_record_size(object, "size");
    return catalogue_add(reader, value.text, &record);
}

/* A key, decoded; no text is refused. */
static int take_key(struct catalogue_reader *reader, struct json_slice key, char **ret)
{
    int r = json_walk_text(key, ret);

    if (r < 0)
        return r;
    return *ret && strlen(*ret) <= CATALOGUE_WORDS_MAX
               ? 0
               : catalogue_refuse(reader, key.text, "a name is too long, or holds a NUL");
}

static int read_versions(struct catalogue_reader *reader, struct json_slice versions,
                         struct stream_place *place)
{
    struct json_cursor cursor = { .at = NULL };
    struct json_slice serial, version, item;
    int r = 0;

    while (r >= 0 && json_walk_next(versions, &cursor, &serial, &version)) {
        struct json_cursor of_items = { .at = NULL };
        struct json_slice items = json_walk_member(version, "items");

        free(place->serial);
        place->serial = NULL;
        r = take_key(reader, serial, &place->serial);
        while (r >= 0 && json_slice_is(items, '{') &&
               json_walk_next(items, &of_items, NULL, &item))
            r = read_item(reader, item, place);
    }
    return r;
}

/* The family is the product's name without what its version, serial and the machine say. */
static int read_product(struct catalogue_reader *reader, struct json_slice name,
                        struct json_slice product)
{
    _cleanup_(place_done) struct stream_place place = { .serial = NULL };
    struct json_slice versions = json_walk_member(product, "versions");
    int r = json_walk_text(json_walk_member(product, "os"), &place.family);

    if (r >= 0 && !place.family)
        r = take_key(reader, name, &place.family);
    if (r >= 0)
        r = json_walk_text(json_walk_member(product, "version"), &place.version);
    if (r >= 0 && json_slice_is(versions, '{'))
        r = read_versions(reader, versions, &place);
    return r;
}

static int simplestreams_read(struct catalogue_reader *reader)
{
    struct json_slice whole, products, name, product;
    struct json_cursor cursor = { .at = NULL };
    int r = json_walk_begin(reader, &whole);

    if (r < 0)
        return r;
    products = json_walk_member(whole, "products");
    if (!json_slice_is(products, '{'))
        return catalogue_refuse(reader, NULL, "it has no products: an index names the files that "
                                              "have them");
    while (r >= 0 && json_walk_next(products, &cursor, &name, &product))
        r = read_product(reader, name, product);
    return r;
}

static bool simplestreams_probe(const char *text, size_t size)
{
    return json_probe(text, size, '{', "\"products:1.0\"") ||
           json_probe(text, size, '{', "\"index:1.0\"") ||
           (json_probe(text, size, '{', "\"products\"") &&
            json_probe(text, size, '{', "\"versions\""));
}

const struct catalogue_form catalogue_form_simplestreams = {
    .name = "simplestreams", .best = CATALOGUE_PINNED, .probe = simplestreams_probe,
    .read = simplestreams_read,
};
