/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Evidence in words: each member by its kind. */
#pragma once

#include "helpers/evidence.h"

/* All of them are malloc'd and safe for a terminal; NULL without memory. member is NULL for what
 * this version does not know: that is shown as it is. */

/* A number, a text or a flag. */
char *evidence_scalar_text(const struct evidence_member *member, json_object *value);
char *evidence_label_text(const struct evidence_member *member, const char *key);
/* An object as an entry of a list: "l2-unaligned, an L2 entry's cluster is not cluster aligned,
 * table l2, index 5". */
char *evidence_entry_text(json_object *entry);
