/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Structs as JSON and back: each member of a struct is described once, and both directions, and
 * whoever shows some of them, go by that. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_kind {
    JSON_BOOL,
    JSON_INT,           /* int */
    JSON_U8,
    JSON_U32,
    JSON_U64,
    JSON_I64,
    JSON_OFFSET,        /* uint64_t, QCA_NO_OFFSET left out instead of zero */
    JSON_SNAPSHOT,      /* uint32_t, QCA_ACTIVE left out instead of zero */
    JSON_ENUM,          /* by its name */
    JSON_STRING,        /* char *, may be NULL */
    JSON_CHARS,         /* char[size], NUL-ended */
    JSON_BYTES,         /* uint8_t[size], hexadecimal */
    JSON_COUNTS,        /* pointer to uint32_t[n_names], may be NULL: an object by the names */
    JSON_OBJECT,        /* a struct */
    JSON_OWNED,         /* pointer to a struct, NULL where all of it is zero */
    JSON_ARRAY,         /* pointer to structs, their number at count */
};

struct json_fields;

struct json_field {
    const char *key;
    const char *kept;                   /* its key where it is kept, if that is another one */
    enum json_kind kind;
    size_t offset;
    size_t size;                        /* of the member, or of what it points to */
    size_t count;                       /* JSON_ARRAY: offset of the size_t */
    bool of_offset;                     /* says something only where the uint64_t at of, a */
    size_t of;                          /*   JSON_OFFSET, is there */
    const char *(*name)(unsigned value);    /* JSON_ENUM */
    unsigned n_names;
    const struct json_fields *members;      /* JSON_OBJECT, JSON_OWNED, JSON_ARRAY */
};

struct json_fields {
    const struct json_field *items;
    size_t n_items;
};

#define PLAIN(s, m, k, t)                                                                          \
    { .key = (k), .kind = JSON_##t, .offset = offsetof(struct s, m),                               \
      .size = sizeof(((struct s *)0)->m) }
#define ENUM(s, m, k, f, n)                                                                        \
    { .key = (k), .kind = JSON_ENUM, .offset = offsetof(struct s, m), .name = (f), .n_names = (n) }
#define OBJECT(s, m, k, f)                                                                         \
    { .key = (k), .kind = JSON_OBJECT, .offset = offsetof(struct s, m), .members = (f) }
#define OWNED(s, m, k, f)                                                                          \
    { .key = (k), .kind = JSON_OWNED, .offset = offsetof(struct s, m),                             \
      .size = sizeof(*((struct s *)0)->m), .members = (f) }
#define ARRAY(s, m, c, k, f)                                                                       \
    { .key = (k), .kind = JSON_ARRAY, .offset = offsetof(struct s, m),                             \
      .size = sizeof(*((struct s *)0)->m),                                                         \
      .count = offsetof(struct s, c), .members = (f) }
/* A length, where there is the offset o. */
#define LENGTH(s, m, o, k)                                                                         \
    { .key = (k), .kind = JSON_U64, .offset = offsetof(struct s, m), .of_offset = true,            \
      .of = offsetof(struct s, o) }
/* Kept by another key than it is shown by. */
#define KEPT(s, m, k, o, t)                                                                        \
    { .key = (k), .kept = (o), .kind = JSON_##t, .offset = offsetof(struct s, m),                  \
      .size = sizeof(((struct s *)0)->m) }
#define COUNTS(s, m, k, f, n)                                                                      \
    { .key = (k), .kind = JSON_COUNTS, .offset = offsetof(struct s, m), .name = (f),               \
      .n_names = (n) }
#define FIELDS(name, ...)                                                                          \
    static const struct json_field name##_items[] = { __VA_ARGS__ };                               \
    static const struct json_fields name = { name##_items, ELEMENTSOF(name##_items) }

/* All of it, to be kept: what is zero (or not there) is left out. -ENOMEM. */
int json_fields_encode(const struct json_fields *fields, const void *base,
                       json_object **ret_object);
/* Into a zeroed struct, of which the caller owns what was allocated, after an error too. -EBADMSG
 * for what it cannot have been made of, -ENOMEM. */
int json_fields_decode(const struct json_fields *fields, json_object *object, void *base);

/* Adds members to an object that has none of these keys, in the order of the keys, which end with
 * NULL: what is zero is shown, what is not there is left out. -EINVAL for a key that the struct has
 * not. */
int json_fields_show(const struct json_fields *fields, const void *base, const char *const keys[],
                     json_object *object);
#define JSON_KEYS(...) ((const char *const[]){ __VA_ARGS__, NULL })
