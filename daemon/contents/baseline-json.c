/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Baselines and deviations as JSON and back: a line of the journal, a column of the database. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/contents/baseline.h"
#include "helpers/hex.h"
#include "helpers/json-text.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)
DEFINE_CLEANUP(struct baseline *, baseline_free)
DEFINE_CLEANUP(struct deviation *, deviation_free)

/* ---- writing --------------------------------------------------------------------------------- */

struct json_writing {
    json_object *object;
    bool failed;
};

static void put(struct json_writing *writing, const char *key, json_object *value)
{
    if (writing->failed)
        json_object_put(value);
    else
        writing->failed = json_add(writing->object, key, value) < 0;
}

static void put_number(struct json_writing *writing, const char *key, uint64_t value)
{
    if (value != 0)
        put(writing, key, json_object_new_uint64(value));
}

static void put_signed(struct json_writing *writing, const char *key, int64_t value)
{
    if (value != 0)
        put(writing, key, json_object_new_int64(value));
}

static void put_text(struct json_writing *writing, const char *key, const char *value)
{
    if (value)
        put(writing, key, json_object_new_string(value));
}

static void put_flag(struct json_writing *writing, const char *key, bool value)
{
    if (value)
        put(writing, key, json_object_new_boolean(true));
}

static void put_digest(struct json_writing *writing, const char *key,
                       const uint8_t digest[static 32])
{
    char text[65];

    hex_encode(digest, 32, text);
    put_text(writing, key, text);
}

static void put_identity(struct json_writing *writing, const char *key,
                         const struct identity *identity)
{
    struct json_writing inner = { .object = json_object_new_object() };

    inner.failed = !inner.object;
    put_number(&inner, "fsid", identity->fsid);
    put_number(&inner, "inode", identity->inode);
    put_signed(&inner, "btime", identity->btime);
    writing->failed = writing->failed || inner.failed;
    put(writing, key, inner.object);
}

static void put_fingerprint(struct json_writing *writing, const struct fingerprint *fingerprint)
{
    struct json_writing inner = { .object = json_object_new_object() };

    inner.failed = !inner.object;
    put_number(&inner, "size", fingerprint->size);
    put_number(&inner, "allocated", fingerprint->allocated);
    put_signed(&inner, "mtime", fingerprint->mtime);
    put_signed(&inner, "ctime", fingerprint->ctime);
    put_number(&inner, "mode", fingerprint->mode);
    put_number(&inner, "uid", fingerprint->uid);
    put_number(&inner, "gid", fingerprint->gid);
    put_number(&inner, "links", fingerprint->links);
    writing->failed = writing->failed || inner.failed;
    put(writing, "file", inner.object);
}

static void put_ranges(struct json_writing *writing, const struct guest_range *ranges, size_t n)
{
    json_object *array = json_object_new_array();

    for (size_t i = 0; array && i < n; i++) {
        json_object *range = json_object_new_array();

        if (!range || json_object_array_add(array, range) < 0) {
            json_object_put(range);
            writing->failed = true;
            break;
        }
        writing->failed = writing->failed ||
                          json_object_array_add(range, json_object_new_uint64(ranges[i].offset)) <
                              0 ||
                          json_object_array_add(range, json_object_new_uint64(ranges[i].length)) <
                              0;
    }
    put(writing, "ranges", array);
}

static int finish(struct json_writing *writing, json_object **ret_object)
{
    if (writing->failed) {
        json_object_put(writing->object);
        return -ENOMEM;
    }
    *ret_object = writing->object;
    return 0;
}

int deviation_to_json(const struct deviation *deviation, json_object **ret_object)
{
    struct json_writing writing = { .object = json_object_new_object() };

    writing.failed = !writing.object;
    put_text(&writing, "verdict", reading_verdict_name(deviation->verdict));
    put_number(&writing, "found", deviation->found);
    put_number(&writing, "read", deviation->read);
    put_digest(&writing, "digest", deviation->digest);
    put_number(&writing, "virtual-size", deviation->virtual_size);
    put_fingerprint(&writing, &deviation->fingerprint);
    put_flag(&writing, "located", deviation->located);
    put_number(&writing, "blocks", deviation->blocks);
    put_number(&writing, "bytes", deviation->bytes);
    put_number(&writing, "ranges-total", deviation->ranges_total);
    put_ranges(&writing, deviation->ranges, deviation->n_ranges);
    put_signed(&writing, "error", deviation->error);
    put_text(&writing, "suspect", deviation->suspect);
    put_text(&writing, "waits-for", deviation->waits_for);
    put_flag(&writing, "hurts", deviation->hurts);
    return finish(&writing, ret_object);
}

int baseline_to_json(const struct baseline *baseline, json_object **ret_object)
{
    struct json_writing writing = { .object = json_object_new_object() };
    char verity[VERITY_TEXT_MAX];

    writing.failed = !writing.object;
    put_identity(&writing, "identity", &baseline->identity);
    put_text(&writing, "path", baseline->path);
    put_text(&writing, "source", baseline_source_name(baseline->source));
    put_number(&writing, "since", baseline->since);
    put_number(&writing, "verified", baseline->verified);
    if (baseline->has_digest)
        put_digest(&writing, "digest", baseline->digest);
    put_flag(&writing, "encrypted", baseline->encrypted);
    put_number(&writing, "virtual-size", baseline->virtual_size);
    put_number(&writing, "zeros", baseline->zeros);
    if (baseline->has_metadata)
        put_digest(&writing, "metadata", baseline->metadata);
    put_fingerprint(&writing, &baseline->fingerprint);
    put_flag(&writing, "attributes", baseline->attributes);
    put_identity(&writing, "parent", &baseline->parent);
    if (baseline->verity.algorithm)
        put_text(&writing, "verity", verity_text(&baseline->verity, verity));
    put_flag(&writing, "blocks", baseline->blocks);
    put_text(&writing, "by", baseline->by);
    put_text(&writing, "reason", baseline->reason);
    put_number(&writing, "gone", baseline->gone);
    put_text(&writing, "lost-child", baseline->lost_child);
    if (baseline->deviation) {
        json_object *deviation = NULL;

        if (deviation_to_json(baseline->deviation, &deviation) < 0)
            writing.failed = true;
        else
            put(&writing, "deviation", deviation);
    }
    return finish(&writing, ret_object);
}

/* ---- reading --------------------------------------------------------------------------------- */

struct json_taking {
    json_object *object;
    int error;                  /* the first; -EBADMSG */
};

static json_object *member(struct json_taking *taking, const char *key, enum json_type type,
                           bool needed)
{
    json_object *value = NULL;

    if (!json_object_object_get_ex(taking->object, key, &value) ||
        !json_object_is_type(value, type)) {
        if (needed || value)
            taking->error = -EBADMSG;
        return NULL;
    }
    return value;
}

static uint64_t take_number(struct json_taking *taking, const char *key)
{
    json_object *value = member(taking, key, json_type_int, false);

    return value ? json_object_get_uint64(value) : 0;
}

static int64_t take_signed(struct json_taking *taking, const char *key)
{
    json_object *value = member(taking, key, json_type_int, false);

    return value ? json_object_get_int64(value) : 0;
}

static bool take_flag(struct json_taking *taking, const char *key)
{
    json_object *value = member(taking, key, json_type_boolean, false);

    return value && json_object_get_boolean(value);
}

static const char *take_string(struct json_taking *taking, const char *key, bool needed)
{
    json_object *value = member(taking, key, json_type_string, needed);
    const char *text = value ? json_object_get_string(value) : NULL;

    if (text && strlen(text) != (size_t)json_object_get_string_len(value)) {
        taking->error = -EBADMSG;
        return NULL;
    }
    return text;
}

static char *take_text(struct json_taking *taking, const char *key, bool needed)
{
    const char *text = take_string(taking, key, needed);
    char *copy = text ? strdup(text) : NULL;

    if (text && !copy)
        taking->error = -ENOMEM;
    return copy;
}

static unsigned take_name(struct json_taking *taking, const char *key,
                          int (*from_name)(const char *name))
{
    const char *text = take_string(taking, key, true);
    int value = text ? from_name(text) : -EBADMSG;

    if (value < 0)
        taking->error = -EBADMSG;
    return value < 0 ? 0 : (unsigned)value;
}

static bool take_digest(struct json_taking *taking, const char *key, bool needed,
                        uint8_t digest[static 32])
{
    const char *text = take_string(taking, key, needed);

    if (text && hex_decode(text, digest, 32) < 0)
        taking->error = -EBADMSG;
    return text != NULL;
}

static struct identity take_identity(struct json_taking *taking, const char *key)
{
    struct json_taking inner = { .object = member(taking, key, json_type_object, true) };
    struct identity identity = { .fsid = 0 };

    if (!inner.object)
        return identity;
    identity.fsid = take_number(&inner, "fsid");
    identity.inode = take_number(&inner, "inode");
    identity.btime = take_signed(&inner, "btime");
    taking->error = taking->error ?: inner.error;
    return identity;
}

static struct fingerprint take_fingerprint(struct json_taking *taking)
{
    struct json_taking inner = { .object = member(taking, "file", json_type_object, true) };
    struct fingerprint fingerprint = { .size = 0 };

    if (!inner.object)
        return fingerprint;
    fingerprint.size = take_number(&inner, "size");
    fingerprint.allocated = take_number(&inner, "allocated");
    fingerprint.mtime = take_signed(&inner, "mtime");
    fingerprint.ctime = take_signed(&inner, "ctime");
    fingerprint.mode = (uint32_t)take_number(&inner, "mode");
    fingerprint.uid = (uint32_t)take_number(&inner, "uid");
    fingerprint.gid = (uint32_t)take_number(&inner, "gid");
    fingerprint.links = (uint32_t)take_number(&inner, "links");
    taking->error = taking->error ?: inner.error;
    return fingerprint;
}

static void take_ranges(struct json_taking *taking, struct deviation *deviation)
{
    json_object *array = member(taking, "ranges", json_type_array, true);
    size_t n = array ? json_object_array_length(array) : 0;

    if (n > DEVIATION_RANGES_MAX) {
        taking->error = -EBADMSG;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        json_object *range = json_object_array_get_idx(array, i);

        if (!json_object_is_type(range, json_type_array) || json_object_array_length(range) != 2) {
            taking->error = -EBADMSG;
            return;
        }
        deviation->ranges[i].offset = json_object_get_uint64(json_object_array_get_idx(range, 0));
        deviation->ranges[i].length = json_object_get_uint64(json_object_array_get_idx(range, 1));
    }
    deviation->n_ranges = n;
}

int deviation_from_json(json_object *object, struct deviation **ret_deviation)
{
    _cleanup_(deviation_freep) struct deviation *deviation = calloc(1, sizeof(*deviation));
    struct json_taking taking = { .object = object };

    if (!deviation)
        return -ENOMEM;
    if (!json_object_is_type(object, json_type_object))
        return -EBADMSG;
    deviation->verdict = take_name(&taking, "verdict", reading_verdict_from_name);
    deviation->found = take_number(&taking, "found");
    deviation->read = take_number(&taking, "read");
    (void)take_digest(&taking, "digest", true, deviation->digest);
    deviation->virtual_size = take_number(&taking, "virtual-size");
    deviation->fingerprint = take_fingerprint(&taking);
    deviation->located = take_flag(&taking, "located");
    deviation->blocks = take_number(&taking, "blocks");
    deviation->bytes = take_number(&taking, "bytes");
    deviation->ranges_total = take_number(&taking, "ranges-total");
    take_ranges(&taking, deviation);
    deviation->error = (int)take_signed(&taking, "error");
    deviation->suspect = take_text(&taking, "suspect", false);
    deviation->waits_for = take_text(&taking, "waits-for", false);
    deviation->hurts = take_flag(&taking, "hurts");
    if (taking.error == 0 && deviation->verdict != READING_ROT &&
        deviation->verdict != READING_MODIFIED && deviation->verdict != READING_INCOMPLETE)
        taking.error = -EBADMSG;
    if (taking.error == 0 && deviation->error > 0)
        taking.error = -EBADMSG;
    if (taking.error < 0)
        return taking.error;
    *ret_deviation = TAKE_PTR(deviation);
    return 0;
}

int baseline_from_json(json_object *object, struct baseline **ret_baseline)
{
    _cleanup_(baseline_freep) struct baseline *baseline = calloc(1, sizeof(*baseline));
    struct json_taking taking = { .object = object };
    json_object *value;
    const char *verity;

    if (!baseline)
        return -ENOMEM;
    if (!json_object_is_type(object, json_type_object))
        return -EBADMSG;
    baseline->identity = take_identity(&taking, "identity");
    baseline->path = take_text(&taking, "path", true);
    baseline->source = take_name(&taking, "source", baseline_source_from_name);
    baseline->since = take_number(&taking, "since");
    baseline->verified = take_number(&taking, "verified");
    baseline->has_digest = take_digest(&taking, "digest", false, baseline->digest);
    baseline->encrypted = take_flag(&taking, "encrypted");
    baseline->virtual_size = take_number(&taking, "virtual-size");
    baseline->zeros = take_number(&taking, "zeros");
    baseline->has_metadata = take_digest(&taking, "metadata", false, baseline->metadata);
    baseline->fingerprint = take_fingerprint(&taking);
    baseline->attributes = take_flag(&taking, "attributes");
    baseline->parent = take_identity(&taking, "parent");
    verity = take_string(&taking, "verity", false);
    if (verity && verity_from_text(verity, &baseline->verity) < 0)
        taking.error = -EBADMSG;
    baseline->blocks = take_flag(&taking, "blocks");
    baseline->by = take_text(&taking, "by", false);
    baseline->reason = take_text(&taking, "reason", false);
    baseline->gone = take_number(&taking, "gone");
    baseline->lost_child = take_text(&taking, "lost-child", false);
    value = member(&taking, "deviation", json_type_object, false);
    if (taking.error == 0 && value)
        taking.error = deviation_from_json(value, &baseline->deviation);
    if (taking.error == 0 &&
        (baseline->path[0] != '/' || (!baseline->has_digest && !baseline->deviation)))
        taking.error = -EBADMSG;
    if (taking.error < 0)
        return taking.error;
    *ret_baseline = TAKE_PTR(baseline);
    return 0;
}
