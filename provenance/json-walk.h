/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Large JSON, member by member: the text is checked once, and only what is a record's size becomes
 * objects of json-c, so that a hostile text takes no memory beside its own, and what is wrong has
 * a line. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "provenance/catalogue-form.h"

#define JSON_DEPTH_MAX 16
#define JSON_RECORD_MAX (64 * 1024)     /* bytes of what becomes objects at once */

/* A value within a text. text NULL: there is none. */
struct json_slice {
    const char *text;
    size_t size;
};

/* Is the whole text one value of JSON, in UTF-8, not nested deeper than JSON_DEPTH_MAX? Refuses,
 * with its line, what is not. */
int json_walk_begin(struct catalogue_reader *reader, struct json_slice *ret_value);

bool json_slice_is(struct json_slice value, char kind);     /* '{', '[', '"' */

/* The members of an object, or the elements of an array, of a text that was checked: starts with
 * an empty cursor, false at the end. key may be NULL. */
struct json_cursor {
    const char *at;
};
bool json_walk_next(struct json_slice container, struct json_cursor *cursor,
                    struct json_slice *ret_key, struct json_slice *ret_value);
/* The last member of that name, as json-c has it; text NULL when there is none. */
struct json_slice json_walk_member(struct json_slice object, const char *key);
/* A text, decoded, malloc'd, with its NUL; *ret NULL for a value that is none, or holds a NUL. */
int json_walk_text(struct json_slice value, char **ret);

/* The object of a record; refuses what is none, or too large. */
int json_walk_record(struct catalogue_reader *reader, struct json_slice value,
                     json_object **ret_object);
/* Its members: the text, NULL when there is none or it is none; a size, unknown likewise. */
const char *json_record_text(json_object *record, const char *key);
uint64_t json_record_size(json_object *record, const char *key);
/* Takes a digest from the member key of a record, when it is there. */
int json_record_digest(struct catalogue_reader *reader, struct json_slice at, json_object *object,
                       const char *key, enum catalogue_algorithm algorithm,
                       struct catalogue_record *record);
/* Does the text begin as an object does (or an array), and has it this word near its beginning? */
bool json_probe(const char *text, size_t size, char kind, const char *word);
