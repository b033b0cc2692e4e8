/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The members of evidence: their table, and reading them. */
#include "helpers/evidence.h"

#include <string.h>

#include "lib/cleanup.h"

static const struct evidence_member members[] = {
#define EVIDENCE_NUMBER(id, key, kind, label) { key, label, EVIDENCE_IS_##kind, false },
#define EVIDENCE_TEXT(id, key, kind, label) { key, label, EVIDENCE_IS_##kind, false },
#define EVIDENCE_ENTRY(id, key, kind, label) { key, label, EVIDENCE_IS_##kind, true },
#define EVIDENCE_FLAG(id, key, label) { key, label, EVIDENCE_IS_FLAG, false },
#define EVIDENCE_PART(id, key, kind, label) { key, label, EVIDENCE_IS_##kind, false },
#define EVIDENCE_FORMER(key, kind, label) { key, label, EVIDENCE_IS_##kind, false },
#include "qcaudit/evidence.def"
};

const char *evidence_number_key(enum evidence_number member)
{
    static const char *const keys[] = {
#define EVIDENCE_NUMBER(id, key, kind, label) key,
#include "qcaudit/evidence.def"
    };

    return keys[member];
}

const char *evidence_text_key(enum evidence_text member)
{
    static const char *const keys[] = {
#define EVIDENCE_TEXT(id, key, kind, label) key,
#include "qcaudit/evidence.def"
    };

    return keys[member];
}

const char *evidence_flag_key(enum evidence_flag member)
{
    static const char *const keys[] = {
#define EVIDENCE_FLAG(id, key, label) key,
#include "qcaudit/evidence.def"
    };

    return keys[member];
}

const char *evidence_part_key(enum evidence_part member)
{
    static const char *const keys[] = {
#define EVIDENCE_PART(id, key, kind, label) key,
#include "qcaudit/evidence.def"
    };

    return keys[member];
}

static json_type type_of(enum evidence_kind kind)
{
    static const json_type types[_EVIDENCE_KIND_MAX] = {
        [EVIDENCE_IS_TIME] = json_type_int,    [EVIDENCE_IS_SECONDS] = json_type_int,
        [EVIDENCE_IS_BYTES] = json_type_int,   [EVIDENCE_IS_SHARE] = json_type_int,
        [EVIDENCE_IS_OFFSET] = json_type_int,  [EVIDENCE_IS_COUNT] = json_type_int,
        [EVIDENCE_IS_MODE] = json_type_int,    [EVIDENCE_IS_BITS] = json_type_int,
        [EVIDENCE_IS_PLAIN] = json_type_int,   [EVIDENCE_IS_PATH] = json_type_string,
        [EVIDENCE_IS_WORDS] = json_type_string, [EVIDENCE_IS_FLAG] = json_type_boolean,
        [EVIDENCE_IS_LIST] = json_type_array,  [EVIDENCE_IS_OBJECT] = json_type_object,
    };

    return types[kind];
}

const struct evidence_member *evidence_member_find(const char *key, json_object *value)
{
    for (size_t i = 0; i < ELEMENTSOF(members); i++)
        if (json_object_is_type(value, type_of(members[i].kind)) &&
            strcmp(members[i].key, key) == 0)
            return &members[i];
    return NULL;
}

const struct evidence_member *evidence_member_at(size_t index)
{
    return index < ELEMENTSOF(members) ? &members[index] : NULL;
}

/* ---- reading -------------------------------------------------------------------------------- */

static json_object *get(json_object *evidence, const char *key, json_type type)
{
    json_object *value = NULL;

    return json_object_object_get_ex(evidence, key, &value) && json_object_is_type(value, type)
               ? value : NULL;
}

uint64_t evidence_get_number(json_object *evidence, enum evidence_number member)
{
    json_object *value = get(evidence, evidence_number_key(member), json_type_int);

    return value ? json_object_get_uint64(value) : 0;
}

const char *evidence_get_text(json_object *evidence, enum evidence_text member)
{
    json_object *value = get(evidence, evidence_text_key(member), json_type_string);

    return value ? json_object_get_string(value) : NULL;
}

json_object *evidence_get_list(json_object *evidence, enum evidence_part member)
{
    return get(evidence, evidence_part_key(member), json_type_array);
}

bool evidence_has_number(json_object *evidence, enum evidence_number member)
{
    return get(evidence, evidence_number_key(member), json_type_int);
}
