/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON from a text: json-c's parser, and the memory that it did not have. */
#include "helpers/json-text.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "helpers/text.h"

int json_text_parse(const char *text, size_t size, json_object **ret_object)
{
    json_tokener *tokener = json_tokener_new();
    json_object *object;
    size_t end;
    int error;

    if (!tokener)
        return -ENOMEM;
    /* json-c does not say that it had no memory: it returns nothing, or an object that lacks what
     * it could not add. Whoever did not give it any left a note. */
    errno = 0;
    object = size <= INT_MAX ? json_tokener_parse_ex(tokener, text, (int)size) : NULL;
    error = errno;
    end = json_tokener_get_parse_end(tokener);
    json_tokener_free(tokener);
    if (object && error != ENOMEM && end == size) {
        *ret_object = object;
        return 0;
    }
    json_object_put(object);
    return error == ENOMEM ? -ENOMEM : -EBADMSG;
}

int json_add(json_object *object, const char *key, json_object *value)
{
    if (object && value && json_object_object_add(object, key, value) == 0)
        return 0;
    json_object_put(value);
    return -ENOMEM;
}

int json_add_text(json_object *object, const char *key, const char *text)
{
    return text ? json_add(object, key, json_object_new_string(text)) : 0;
}

int json_add_number(json_object *object, const char *key, uint64_t number)
{
    return json_add(object, key, json_object_new_uint64(number));
}

char *json_prose_text(json_object *string)
{
    const char *raw = json_object_get_string(string);
    size_t n = (size_t)json_object_get_string_len(string);
    char *text;

    /* Escaped once more, every backslash would be two. */
    if (raw && text_is_safe(raw, n))
        return strdup(raw);
    return text_escape(raw ? raw : "", n, &text) < 0 ? NULL : text;
}
