/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Large JSON, member by member, by the grammar of RFC 8259. */
#include "provenance/json-walk.h"

#include <errno.h>
#include <string.h>

#include "helpers/hex.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define PROBE_MAX 65536         /* bytes that a probe looks at */

/* ---- the grammar ----------------------------------------------------------------------------- */

struct scan {
    const char *at, *end;
};

static void skip_blanks(struct scan *scan)
{
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' ||
                                    *scan->at == '\r'))
        scan->at++;
}

/* RFC 8259, 7: behind the quote that opens it. */
static bool scan_string(struct scan *scan)
{
    for (scan->at++; scan->at < scan->end; scan->at++) {
        unsigned char c = (unsigned char)*scan->at;

        if (c == '"') {
            scan->at++;
            return true;
        }
        if (c < 0x20)
            return false;
        if (c != '\\')
            continue;
        if (++scan->at == scan->end || !strchr("\"\\/bfnrtu", *scan->at) || !*scan->at)
            return false;
        if (*scan->at == 'u') {
            if (scan->end - scan->at < 5)
                return false;
            for (int i = 1; i <= 4; i++)
                if (hex_digit(scan->at[i]) < 0)
                    return false;
            scan->at += 4;
        }
    }
    return false;
}

static bool scan_digits(struct scan *scan)
{
    const char *begin = scan->at;

    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
        scan->at++;
    return scan->at > begin;
}

/* RFC 8259, 6. */
static bool scan_number(struct scan *scan)
{
    if (*scan->at == '-')
        scan->at++;
    if (scan->at < scan->end && *scan->at == '0')
        scan->at++;
    else if (!scan_digits(scan))
        return false;
    if (scan->at < scan->end && *scan->at == '.') {
        scan->at++;
        if (!scan_digits(scan))
            return false;
    }
    if (scan->at < scan->end && (*scan->at == 'e' || *scan->at == 'E')) {
        scan->at++;
        if (scan->at < scan->end && (*scan->at == '+' || *scan->at == '-'))
            scan->at++;
        return scan_digits(scan);
    }
    return true;
}

static bool scan_scalar(struct scan *scan)
{
    static const char *const words[] = { "true", "false", "null" };

    if (*scan->at == '"')
        return scan_string(scan);
    for (size_t i = 0; i < ELEMENTSOF(words); i++) {
        size_t n = strlen(words[i]);

        if ((size_t)(scan->end - scan->at) >= n && memcmp(scan->at, words[i], n) == 0) {
            scan->at += n;
            return true;
        }
    }
    return scan_number(scan);
}

/* A key and its colon, up to where its value begins. */
static bool scan_key(struct scan *scan)
{
    skip_blanks(scan);
    if (scan->at == scan->end || *scan->at != '"' || !scan_string(scan))
        return false;
    skip_blanks(scan);
    if (scan->at == scan->end || *scan->at != ':')
        return false;
    scan->at++;
    return true;
}

/* Behind a value: the commas and ends of what holds it, up to where the next value begins, or the
 * outermost one ended (*depth 0). */
static bool scan_ends(struct scan *scan, const char *kinds, unsigned *depth)
{
    while (*depth > 0) {
        char kind = kinds[*depth - 1];

        skip_blanks(scan);
        if (scan->at == scan->end)
            return false;
        if (*scan->at == ',') {
            scan->at++;
            return kind == '[' || scan_key(scan);
        }
        if (*scan->at != (kind == '[' ? ']' : '}'))
            return false;
        scan->at++;
        (*depth)--;
    }
    return true;
}

/* One value, from its first byte on; without recursion. False at the byte that is wrong. */
static bool scan_value(struct scan *scan, bool *ret_deep)
{
    char kinds[JSON_DEPTH_MAX];
    unsigned depth = 0;

    *ret_deep = false;
    do {
        skip_blanks(scan);
        if (scan->at == scan->end)
            return false;
        if (*scan->at == '{' || *scan->at == '[') {
            char kind = *scan->at;

            *ret_deep = depth == JSON_DEPTH_MAX;
            if (*ret_deep)
                return false;
            kinds[depth++] = kind;
            scan->at++;
            skip_blanks(scan);
            if (scan->at == scan->end)
                return false;
            if (*scan->at != (kind == '[' ? ']' : '}')) {
                if (kind == '{' && !scan_key(scan))
                    return false;
                continue;
            }
        } else if (!scan_scalar(scan)) {
            return false;
        }
        if (!scan_ends(scan, kinds, &depth))
            return false;
    } while (depth > 0);
    return true;
}

int json_walk_begin(struct catalogue_reader *reader, struct json_slice *ret_value)
{
    struct scan scan = { .at = reader->text, .end = reader->text + reader->size };
    const char *begin;
    bool deep;

    if (!text_is_utf8(reader->text, reader->size))
        return catalogue_refuse(reader, NULL, "the list is no valid UTF-8");
    skip_blanks(&scan);
    begin = scan.at;
    if (!scan_value(&scan, &deep))
        return deep ? catalogue_refuse(reader, scan.at, "it is nested deeper than %d levels",
                                       JSON_DEPTH_MAX)
                    : catalogue_refuse(reader, scan.at, "it is no JSON from here on");
    ret_value->text = begin;
    ret_value->size = (size_t)(scan.at - begin);
    skip_blanks(&scan);
    return scan.at == scan.end ? 0
                               : catalogue_refuse(reader, scan.at, "something follows the JSON");
}

/* ---- members --------------------------------------------------------------------------------- */

bool json_slice_is(struct json_slice value, char kind)
{
    return value.text && value.text[0] == kind;
}

bool json_walk_next(struct json_slice container, struct json_cursor *cursor,
                    struct json_slice *ret_key, struct json_slice *ret_value)
{
    struct scan scan = { .at = cursor->at, .end = container.text + container.size - 1 };
    bool deep;

    if (!json_slice_is(container, '{') && !json_slice_is(container, '['))
        return false;
    if (!scan.at)
        scan.at = container.text + 1;
    skip_blanks(&scan);
    if (scan.at < scan.end && *scan.at == ',') {
        scan.at++;
        skip_blanks(&scan);
    }
    if (scan.at >= scan.end)
        return false;
    if (container.text[0] == '{') {
        struct json_slice key = { .text = scan.at };

        if (!scan_string(&scan))
            return false;
        key.size = (size_t)(scan.at - key.text);
        if (ret_key)
            *ret_key = key;
        skip_blanks(&scan);
        scan.at++;              /* the colon */
        skip_blanks(&scan);
    }
    ret_value->text = scan.at;
    if (!scan_value(&scan, &deep))
        return false;
    ret_value->size = (size_t)(scan.at - ret_value->text);
    cursor->at = scan.at;
    return true;
}

struct json_slice json_walk_member(struct json_slice object, const char *name)
{
    struct json_slice key, value, found = { .text = NULL };
    struct json_cursor cursor = { .at = NULL };
    size_t n = strlen(name);

    if (json_slice_is(object, '{'))
        while (json_walk_next(object, &cursor, &key, &value))
            if (key.size == n + 2 && memcmp(key.text + 1, name, n) == 0)
                found = value;
    return found;
}

int json_walk_text(struct json_slice value, char **ret)
{
    json_object *object = NULL;
    const char *text;
    int r;

    *ret = NULL;
    if (!json_slice_is(value, '"') || value.size > JSON_RECORD_MAX)
        return 0;
    r = json_text_parse(value.text, value.size, &object);
    if (r < 0)
        return r == -ENOMEM ? r : 0;
    text = json_object_get_string(object);
    if (strlen(text) == (size_t)json_object_get_string_len(object))
        *ret = strdup(text);
    else
        text = NULL;
    json_object_put(object);
    return text && !*ret ? -ENOMEM : 0;
}

/* ---- records --------------------------------------------------------------------------------- */

int json_walk_record(struct catalogue_reader *reader, struct json_slice value,
                     json_object **ret_object)
{
    json_object *object = NULL;
    int r;

    if (!json_slice_is(value, '{'))
        return catalogue_refuse(reader, value.text, "an object is needed here");
    if (value.size > JSON_RECORD_MAX)
        return catalogue_refuse(reader, value.text, "what is said of a file is larger than %d KiB",
                                JSON_RECORD_MAX / 1024);
    r = json_text_parse(value.text, value.size, &object);
    if (r == -EBADMSG)
        return catalogue_refuse(reader, value.text, "json-c does not take this object");
    if (r >= 0)
        *ret_object = object;
    return r;
}

const char *json_record_text(json_object *record, const char *key)
{
    json_object *value;
    const char *text;

    if (!json_object_object_get_ex(record, key, &value) ||
        !json_object_is_type(value, json_type_string))
        return NULL;
    text = json_object_get_string(value);
    /* A NUL would end the text that is compared, not the one that was signed. */
    return strlen(text) == (size_t)json_object_get_string_len(value) && *text ? text : NULL;
}

uint64_t json_record_size(json_object *record, const char *key)
{
    json_object *value;

    if (!json_object_object_get_ex(record, key, &value) ||
        !json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
        return CATALOGUE_SIZE_UNKNOWN;
    return json_object_get_uint64(value);
}

int json_record_digest(struct catalogue_reader *reader, struct json_slice at, json_object *object,
                       const char *key, enum catalogue_algorithm algorithm,
                       struct catalogue_record *record)
{
    json_object *value;
    const char *text;

    if (!json_object_object_get_ex(object, key, &value) || !value)
        return 0;               /* null says as much as none */
    if (!json_object_is_type(value, json_type_string))
        return catalogue_refuse(reader, at.text, "%s is no text of digits", key);
    text = json_object_get_string(value);
    if (!*text)
        return 0;
    if (catalogue_set_digest(record, algorithm, text,
                             (size_t)json_object_get_string_len(value)) < 0)
        return catalogue_refuse(reader, at.text, "%s is not %zu hexadecimal digits", key,
                                2 * catalogue_algorithm_size(algorithm));
    return 0;
}

bool json_probe(const char *text, size_t size, char kind, const char *word)
{
    size_t n = strlen(word);

    if (size > PROBE_MAX)
        size = PROBE_MAX;
    while (size > 0 && strchr(" \t\r\n", *text) && *text) {
        text++;
        size--;
    }
    return size > 0 && *text == kind && memmem(text, size, word, n) != NULL;
}
