/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Catalogues: appliances of GNS3 (.gns3a), each with the images that it takes.
 *
 * The form: gns3-registry, schemas/appliance*.json: images[] of {filename, version, md5sum,
 * filesize, ...}, from version 8 on also checksum and checksum_type, of which md5 is the only one.
 * md5sum and filesize are of the decompressed file. The registry is not signed and knows MD5
 * alone, so it is a claim; two of its file names stand for two files each, so a name is a hint. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "provenance/json-walk.h"

DEFINE_CLEANUP(json_object *, json_object_put)

static bool begins(const char *name, const char *with)
{
    return strncasecmp(name, with, strlen(with)) == 0;
}

/* Empty disks, firmware, and media with a guest's settings: many appliances have them, and they
 * are none's content. */
static bool is_helper(const char *name)
{
    return begins(name, "empty") || begins(name, "OVMF") || strcasestr(name, "cloud-init") ||
           strcasestr(name, "nocloud");
}

static int read_image(struct catalogue_reader *reader, struct json_slice value, char *family)
{
    _cleanup_(json_object_putp) json_object *object = NULL;
    struct catalogue_record record = { .size = CATALOGUE_SIZE_UNKNOWN };
    const char *name, *type;
    int r = json_walk_record(reader, value, &object);

    if (r < 0)
        return r;
    name = json_record_text(object, "filename");
    if (!name)
        return catalogue_refuse(reader, value.text, "an image has no filename");
    type = json_record_text(object, "checksum_type");
    if (type && strcasecmp(type, "md5") != 0)
        return catalogue_refuse_shown(reader, value.text, "an algorithm is not known", type,
                                      strlen(type));
    r = json_record_digest(reader, value, object, "checksum", CATALOGUE_MD5, &record);
    if (r >= 0)
        r = json_record_digest(reader, value, object, "md5sum", CATALOGUE_MD5, &record);
    if (r < 0)
        return r;
    if (is_helper(name) || record.algorithms == 0) {
        reader->catalogue->passed_over++;
        return 0;
    }
    record.name = (char *)(uintptr_t)name;
    record.family = family;
    record.version = (char *)(uintptr_t)json_record_text(object, "version");
    record.size = json_record_size(object, "filesize");
    return catalogue_add(reader, value.text, &record);
}

static int gns3a_read(struct catalogue_reader *reader)
{
    struct json_slice whole, images, image;
    struct json_cursor cursor = { .at = NULL };
    _cleanup_free_ char *family = NULL;
    int r = json_walk_begin(reader, &whole);

    if (r >= 0)
        r = json_walk_text(json_walk_member(whole, "name"), &family);
    if (r < 0)
        return r;
    images = json_walk_member(whole, "images");
    if (!json_slice_is(images, '['))
        return catalogue_refuse(reader, NULL, "the appliance has no list of images");
    while (r >= 0 && json_walk_next(images, &cursor, NULL, &image))
        r = read_image(reader, image, family);
    return r;
}

static bool gns3a_probe(const char *text, size_t size)
{
    return json_probe(text, size, '{', "\"registry_version\"");
}

const struct catalogue_form catalogue_form_gns3a = {
    .name = "gns3a", .best = CATALOGUE_CLAIM, .names_repeat = true, .probe = gns3a_probe,
    .read = gns3a_read,
};
