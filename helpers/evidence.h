/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The members of evidence: what qcaudit/evidence.def says of each, for those who write, read and
 * show it. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

/* An enumeration for each type in JSON, so that the compiler tells them apart. */
enum evidence_number {
#define EVIDENCE_NUMBER(id, ...) NUMBER_##id,
#include "qcaudit/evidence.def"
    _NUMBER_MAX,
};

enum evidence_text {
#define EVIDENCE_TEXT(id, ...) TEXT_##id,
#include "qcaudit/evidence.def"
    _TEXT_MAX,
};

enum evidence_flag {
#define EVIDENCE_FLAG(id, ...) FLAG_##id,
#include "qcaudit/evidence.def"
    _FLAG_MAX,
};

enum evidence_part {
#define EVIDENCE_PART(id, ...) PART_##id,
#include "qcaudit/evidence.def"
    _PART_MAX,
};

enum evidence_kind {
    EVIDENCE_IS_TIME,           /* numbers */
    EVIDENCE_IS_SECONDS,
    EVIDENCE_IS_BYTES,
    EVIDENCE_IS_SHARE,
    EVIDENCE_IS_OFFSET,
    EVIDENCE_IS_COUNT,
    EVIDENCE_IS_MODE,
    EVIDENCE_IS_BITS,
    EVIDENCE_IS_PLAIN,
    EVIDENCE_IS_PATH,           /* texts */
    EVIDENCE_IS_WORDS,
    EVIDENCE_IS_FLAG,
    EVIDENCE_IS_LIST,
    EVIDENCE_IS_OBJECT,
    _EVIDENCE_KIND_MAX,
};

struct evidence_member {
    const char *key, *label;
    enum evidence_kind kind;
    bool is_entry;              /* needs no label in a list's entry */
};

const char *evidence_number_key(enum evidence_number member);
const char *evidence_text_key(enum evidence_text member);
const char *evidence_flag_key(enum evidence_flag member);
const char *evidence_part_key(enum evidence_part member);

/* The description of a member of evidence; NULL for one of another version's. */
const struct evidence_member *evidence_member_find(const char *key, json_object *value);
/* The index-th of all, in the order of the table; NULL behind the last. */
const struct evidence_member *evidence_member_at(size_t index);

/* Of an object of evidence, which may be NULL: 0 or NULL when it has no such member. */
uint64_t evidence_get_number(json_object *evidence, enum evidence_number member);
const char *evidence_get_text(json_object *evidence, enum evidence_text member);
json_object *evidence_get_list(json_object *evidence, enum evidence_part member);
bool evidence_has_number(json_object *evidence, enum evidence_number member);
