/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All findings that have a number, in the order of their numbers: a page of a million is found
 * without a look at the others. */
#include "daemon/judge/finding-index.h"

#include <errno.h>
#include <stdlib.h>

/* Removed ones are swept out when there are more of them than of the others. */
#define SWEEP_MIN 64

void finding_index_done(struct finding_index *index)
{
    free(index->items);
    *index = (struct finding_index){ 0 };
}

int finding_index_reserve(struct finding_index *index)
{
    size_t room = index->room > 0 ? 2 * index->room : 64;
    struct indexed_finding *grown;

    if (index->n < index->room)
        return 0;
    grown = reallocarray(index->items, room, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    index->items = grown;
    index->room = room;
    return 0;
}

void finding_index_add(struct finding_index *index, struct finding *finding)
{
    if (index->n > 0 && index->items[index->n - 1].id > finding->id)
        index->unsorted = true;
    index->items[index->n++] = (struct indexed_finding){ finding->id, finding };
}

static int indexed_compare(const void *a, const void *b)
{
    const struct indexed_finding *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

size_t finding_index_after(struct finding_index *index, int64_t id)
{
    size_t from = 0, to = index->n;

    if (index->unsorted)
        qsort(index->items, index->n, sizeof(*index->items), indexed_compare);
    index->unsorted = false;
    while (from < to) {
        size_t middle = from + (to - from) / 2;

        if (index->items[middle].id <= id)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* NULL: none of that number was ever added, or it was swept out. */
static struct indexed_finding *place_of(struct finding_index *index, int64_t id)
{
    size_t at = id > 0 ? finding_index_after(index, id - 1) : index->n;

    return at < index->n && index->items[at].id == id ? &index->items[at] : NULL;
}

struct finding *finding_index_find(struct finding_index *index, int64_t id)
{
    const struct indexed_finding *place = place_of(index, id);

    return place ? place->finding : NULL;
}

static void sweep(struct finding_index *index)
{
    size_t n = 0;

    for (size_t i = 0; i < index->n; i++)
        if (index->items[i].finding)
            index->items[n++] = index->items[i];
    index->n = n;
    index->n_removed = 0;
}

void finding_index_remove(struct finding_index *index, const struct finding *finding)
{
    struct indexed_finding *place = place_of(index, finding->id);

    if (!place || place->finding != finding)
        return;
    place->finding = NULL;
    index->n_removed++;
    if (index->n_removed > SWEEP_MIN && index->n_removed > index->n / 2)
        sweep(index);
}
