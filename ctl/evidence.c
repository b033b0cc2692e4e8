/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Evidence in words: each member by its kind, as qcaudit/evidence.def says it. */
#include "ctl/evidence.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/when.h"
#include "helpers/clock.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

/* A number of that kind; time and shares are made for people, and sizes have both. */
static char *number_text(enum evidence_kind kind, json_object *value)
{
    uint64_t number = json_object_get_uint64(value);
    char size[TEXT_SIZE_MAX], when[WHEN_MAX], span[TEXT_DURATION_MAX], *text = NULL;
    int n = 0;

    if (json_object_get_int64(value) < 0)
        return text_escape_string(json_object_get_string(value));
    switch (kind) {
    case EVIDENCE_IS_TIME:
        return number < INT64_MAX ? strdup(when_text(number, when)) : strdup("never");
    case EVIDENCE_IS_SECONDS:
        return strdup(number < UINT64_MAX / USEC_PER_SEC
                          ? text_duration(number * USEC_PER_SEC, span) : "without end");
    case EVIDENCE_IS_BYTES:
        if (number < 1024)
            n = asprintf(&text, "%" PRIu64 " byte%s", number, number == 1 ? "" : "s");
        else
            n = asprintf(&text, "%s (%" PRIu64 ")", text_size(number, size), number);
        break;
    case EVIDENCE_IS_SHARE:
        n = asprintf(&text, "%" PRIu64 ".%02" PRIu64 "%%", number / 100, number % 100);
        break;
    case EVIDENCE_IS_OFFSET:
    case EVIDENCE_IS_BITS:
        n = asprintf(&text, number < 10 ? "%" PRIu64 : "0x%" PRIx64, number);
        break;
    case EVIDENCE_IS_MODE:
        n = asprintf(&text, "%04" PRIo64, number);
        break;
    default:
        return text_escape_string(json_object_get_string(value));
    }
    return n < 0 ? NULL : text;
}

char *evidence_scalar_text(const struct evidence_member *member, json_object *value)
{
    switch (json_object_get_type(value)) {
    case json_type_boolean:
        return strdup(json_object_get_boolean(value) ? "yes" : "no");
    case json_type_int:
        return number_text(member ? member->kind : EVIDENCE_IS_PLAIN, value);
    case json_type_string:
        return json_prose_text(value);
    default:
        return text_escape_string(json_object_get_string(value));
    }
}

char *evidence_label_text(const struct evidence_member *member, const char *key)
{
    return member ? strdup(member->label) : text_escape_string(key);
}

char *evidence_entry_text(json_object *entry)
{
    char *all = NULL;

    json_object_object_foreach(entry, key, value) {
        const struct evidence_member *member = evidence_member_find(key, value);
        bool is_part = json_object_is_type(value, json_type_object) ||
                       json_object_is_type(value, json_type_array);
        _cleanup_free_ char *text = is_part ? strdup("...") : evidence_scalar_text(member, value);
        _cleanup_free_ char *label = member && member->is_entry
                                         ? strdup("") : evidence_label_text(member, key);
        char *longer;

        if (asprintf(&longer, "%s%s%s%s%s", all ? all : "", all ? ", " : "", label ? label : "",
                     label && *label ? " " : "", text ? text : "") < 0)
            longer = NULL;
        free(all);
        all = longer;
        if (!all)
            return NULL;
    }
    return all ? all : strdup("");
}
