/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON from a text, with what was wrong told from what was lacking; and its members. */
#pragma once

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>

/* One value that is the whole text; it need not end with a NUL. -EBADMSG for any other text, for
 * null, too; -ENOMEM, which says nothing about the text. */
int json_text_parse(const char *text, size_t size, json_object **ret_object);

/* A sentence in which names are escaped already: as it is, unless it could hurt a terminal.
 * malloc'd; NULL without memory. */
char *json_prose_text(json_object *string);

/* Adds a text, nothing for NULL; or a number. -ENOMEM. */
int json_add_text(json_object *object, const char *key, const char *text);
int json_add_number(json_object *object, const char *key, uint64_t number);
/* Adds a member, and takes its value on failure too. Both may be what could not be allocated, NULL.
 * -ENOMEM. */
int json_add(json_object *object, const char *key, json_object *value);
