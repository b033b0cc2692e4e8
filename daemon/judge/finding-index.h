/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All findings that have a number, in the order of their numbers. */
#pragma once

#include "daemon/core/findings.h"

/* Findings are the owner's. A new number is nearly always the highest. */
struct finding_index {
    struct indexed_finding {
        int64_t id;
        struct finding *finding;        /* NULL: removed */
    } *items;
    size_t n, room, n_removed;
    bool unsorted;
};

void finding_index_done(struct finding_index *index);
/* Room for one more: finding_index_add() cannot fail then. -ENOMEM. */
int finding_index_reserve(struct finding_index *index);
void finding_index_add(struct finding_index *index, struct finding *finding);
/* Does nothing with one that is not in it. */
void finding_index_remove(struct finding_index *index, const struct finding *finding);
struct finding *finding_index_find(struct finding_index *index, int64_t id);
/* The place of the first finding, or of one that was removed, with a higher number; index->n: there
 * is none. */
size_t finding_index_after(struct finding_index *index, int64_t id);
