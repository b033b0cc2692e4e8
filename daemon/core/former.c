/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The former parent of an image, as JSON and back: a column of the database. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/image.h"
#include "helpers/hex.h"
#include "helpers/json-text.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)
DEFINE_CLEANUP(struct former *, former_free)

struct former *former_free(struct former *former)
{
    if (!former)
        return NULL;
    free(former->path);
    free(former);
    return NULL;
}

/* Numbers of the struct by their keys; 0 is left out. */
static const struct {
    const char *key;
    size_t offset;
} numbers[] = {
    { "fsid", offsetof(struct former, identity.fsid) },
    { "inode", offsetof(struct former, identity.inode) },
    { "btime", offsetof(struct former, identity.btime) },
    { "size", offsetof(struct former, size) },
    { "virtual-size", offsetof(struct former, virtual_size) },
    { "seen", offsetof(struct former, seen) },
    { "parent-fsid", offsetof(struct former, parent.fsid) },
    { "parent-inode", offsetof(struct former, parent.inode) },
    { "parent-btime", offsetof(struct former, parent.btime) },
};

int former_to_json(const struct former *former, json_object **ret_object)
{
    _cleanup_(json_object_putp) json_object *object = json_object_new_object();
    char digest[2 * sizeof(former->digest) + 1];
    int r = object ? json_add(object, "path", json_object_new_string(former->path)) : -ENOMEM;

    for (size_t i = 0; i < ELEMENTSOF(numbers) && r >= 0; i++) {
        uint64_t value;

        memcpy(&value, (const char *)former + numbers[i].offset, sizeof(value));
        if (value != 0)
            r = json_add(object, numbers[i].key, json_object_new_int64((int64_t)value));
    }
    if (r >= 0 && former->has_digest) {
        hex_encode(former->digest, sizeof(former->digest), digest);
        r = json_add(object, "digest", json_object_new_string(digest));
    }
    if (r >= 0 && former->encrypted)
        r = json_add(object, "encrypted", json_object_new_boolean(true));
    if (r < 0)
        return r;
    *ret_object = TAKE_PTR(object);
    return 0;
}

int former_from_json(json_object *object, struct former **ret_former)
{
    _cleanup_(former_freep) struct former *former = calloc(1, sizeof(*former));
    json_object *value;

    if (!former)
        return -ENOMEM;
    if (!json_object_is_type(object, json_type_object) ||
        !json_object_object_get_ex(object, "path", &value) ||
        !json_object_is_type(value, json_type_string) || json_object_get_string(value)[0] != '/')
        return -EBADMSG;
    former->path = strdup(json_object_get_string(value));
    if (!former->path)
        return -ENOMEM;
    for (size_t i = 0; i < ELEMENTSOF(numbers); i++) {
        int64_t number;

        if (!json_object_object_get_ex(object, numbers[i].key, &value))
            continue;
        if (!json_object_is_type(value, json_type_int))
            return -EBADMSG;
        number = json_object_get_int64(value);
        memcpy((char *)former + numbers[i].offset, &number, sizeof(number));
    }
    if (json_object_object_get_ex(object, "digest", &value)) {
        if (!json_object_is_type(value, json_type_string) ||
            hex_decode(json_object_get_string(value), former->digest, sizeof(former->digest)) < 0)
            return -EBADMSG;
        former->has_digest = true;
    }
    former->encrypted = json_object_object_get_ex(object, "encrypted", &value) &&
                        json_object_get_boolean(value);
    *ret_former = TAKE_PTR(former);
    return 0;
}
