/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Batches, as the loop gives them: rows in their order; they are merged when too many wait. */
#include "daemon/store/batch.h"

#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"

/* ---- rows ------------------------------------------------------------------------------------ */

struct batch_row *row_new(enum row_kind kind)
{
    struct batch_row *row = calloc(1, sizeof(*row));

    if (row)
        row->kind = kind;
    return row;
}

struct batch_row *row_free(struct batch_row *row)
{
    if (!row)
        return NULL;
    for (unsigned i = 0; i < row->n_values; i++)
        free(row->values[i].data);
    free(row->values);
    free(row);
    return NULL;
}

/* Statements name the values in the order of the row, most of the time. */
const struct value *row_value(const struct batch_row *row, const char *name, unsigned *at)
{
    for (unsigned i = 0; i < row->n_values; i++) {
        unsigned next = (*at + i) % row->n_values;

        if (strcmp(row->values[next].name, name) == 0) {
            *at = next + 1;
            return &row->values[next];
        }
    }
    return NULL;
}

/* ---- batches -------------------------------------------------------------------------------- */

int store_batch_new(struct store_batch **ret_batch)
{
    struct store_batch *batch = calloc(1, sizeof(*batch));

    if (!batch)
        return -ENOMEM;
    STAILQ_INIT(&batch->rows);
    STAILQ_INIT(&batch->waiters);
    batch->n_merged = 1;
    *ret_batch = batch;
    return 0;
}

struct store_batch *store_batch_free(struct store_batch *batch)
{
    struct batch_waiter *waiter;
    struct batch_row *row;

    if (!batch)
        return NULL;
    while ((row = STAILQ_FIRST(&batch->rows))) {
        STAILQ_REMOVE_HEAD(&batch->rows, link);
        row_free(row);
    }
    while ((waiter = STAILQ_FIRST(&batch->waiters))) {
        STAILQ_REMOVE_HEAD(&batch->waiters, link);
        free(waiter);
    }
    free(batch);
    return NULL;
}

bool store_batch_is_empty(const struct store_batch *batch)
{
    return STAILQ_EMPTY(&batch->rows);
}

int store_batch_take(struct store_batch *batch, struct batch_row *const *rows, size_t n_rows)
{
    int r = 0;

    for (size_t i = 0; i < n_rows && r == 0; i++)
        r = rows[i] ? rows[i]->error : -ENOMEM;
    for (size_t i = 0; i < n_rows; i++) {
        if (r < 0)
            row_free(rows[i]);
        else
            STAILQ_INSERT_TAIL(&batch->rows, rows[i], link);
    }
    return r;
}

bool store_batch_is_precious(const struct store_batch *batch)
{
    const struct batch_row *row;

    STAILQ_FOREACH(row, &batch->rows, link)
        if (row->kind == ROW_EVENT || row->kind == ROW_RENAMED || row->kind == ROW_BASELINE ||
            row->kind == ROW_MUTE)
            return true;
    return false;
}

/* ---- too many wait -------------------------------------------------------------------------- */

void store_batch_append(struct store_batch *batch, struct store_batch *from)
{
    STAILQ_CONCAT(&batch->rows, &from->rows);
    STAILQ_CONCAT(&batch->waiters, &from->waiters);
    batch->n_merged += from->n_merged;
    batch->sequence = from->sequence;
    store_batch_free(from);
}

struct row_place {
    struct batch_row *row;
    size_t index;
};

static bool may_be_superseded(const struct batch_row *row)
{
    switch (row->kind) {
    case ROW_DATASTORE:
    case ROW_SAMPLE:
    case ROW_IMAGE:
    case ROW_PARENT:
    case ROW_DATA_FILE:
    case ROW_AUDIT:
    case ROW_REPORT:
    case ROW_OTHERS:
        return true;
    default:
        return false;
    }
}

/* By kind and key, then in the order given. */
static int compare_places(const void *left, const void *right)
{
    const struct row_place *a = left, *b = right;
    const struct value *key_a = &a->row->values[0], *key_b = &b->row->values[0];
    int r;

    if (a->row->kind != b->row->kind)
        return a->row->kind < b->row->kind ? -1 : 1;
    if (key_a->size != key_b->size)
        return key_a->size < key_b->size ? -1 : 1;
    r = memcmp(key_a->data, key_b->data, key_a->size);
    if (r != 0)
        return r;
    return a->index < b->index ? -1 : a->index > b->index;
}

static bool same_key(const struct batch_row *a, const struct batch_row *b)
{
    return a->kind == b->kind && a->values[0].size == b->values[0].size &&
           memcmp(a->values[0].data, b->values[0].data, a->values[0].size) == 0;
}

size_t store_batch_compact(struct store_batch *batch)
{
    _cleanup_free_ struct row_place *places = NULL;
    STAILQ_HEAD(, batch_row) kept = STAILQ_HEAD_INITIALIZER(kept);
    size_t n = 0, n_dropped = 0;
    struct batch_row *row;

    STAILQ_FOREACH(row, &batch->rows, link)
        n += may_be_superseded(row);
    places = n > 0 ? calloc(n, sizeof(*places)) : NULL;
    if (!places)
        return 0;
    n = 0;
    STAILQ_FOREACH(row, &batch->rows, link)
        if (may_be_superseded(row)) {
            places[n] = (struct row_place){ .row = row, .index = n };
            n++;
        }
    qsort(places, n, sizeof(*places), compare_places);
    for (size_t i = 0; i < n; i++) {
        enum row_kind kind = places[i].row->kind;
        /* The figures of an audit are compared with those of the one before. */
        size_t later = kind == ROW_AUDIT || kind == ROW_REPORT ? i + 2 : i + 1;

        places[i].row->superseded = later < n && same_key(places[i].row, places[later].row);
    }
    while ((row = STAILQ_FIRST(&batch->rows))) {
        STAILQ_REMOVE_HEAD(&batch->rows, link);
        if (!row->superseded) {
            STAILQ_INSERT_TAIL(&kept, row, link);
            continue;
        }
        row_free(row);
        n_dropped++;
    }
    STAILQ_CONCAT(&batch->rows, &kept);
    return n_dropped;
}
