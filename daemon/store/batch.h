/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the inside of the store knows of a batch: rows of plain values, which the writer binds to
 * its statements. */
#pragma once

#include "daemon/store/store.h"

enum value_type { VALUE_NULL, VALUE_INTEGER, VALUE_TEXT, VALUE_BLOB };

struct value {
    enum value_type type;
    int64_t integer;
    char *data;
    size_t size;
};

/* Which statements of write.c take the values; the first value is always the row's key. */
enum row_kind {
    ROW_DATASTORE,
    ROW_IMAGE,
    ROW_AUDIT,
    ROW_GONE,
    ROW_RENAMED,
    ROW_FINDING,
    ROW_EVENT,
    ROW_TOLD,
    ROW_BASELINE,
    ROW_BASELINE_GONE,
    ROW_READING,
    ROW_DISK_MOVE,
    _ROW_MAX,
};

struct row {
    struct row *next;
    enum row_kind kind;
    bool failed;                /* no memory while it was built */
    unsigned n_values, n_max;
    struct value values[];
};

/* Who wants to know when it is written; several once batches were merged. */
struct batch_waiter {
    struct batch_waiter *next;
    void (*committed)(void *userdata, int error);
    void *userdata;
};

struct store_batch {
    struct store_batch *next;   /* in the queue */
    struct row *first, **last;
    struct batch_waiter *waiters, **last_waiter;
    uint64_t sequence;          /* place among reads and batches */
    size_t n_merged;            /* batches it holds */
    int error;                  /* as it is answered */
};

/* Appends the rows and waiters of from, which is freed. */
void store_batch_append(struct store_batch *batch, struct store_batch *from);
/* Drops every row of a datastore or an image that a later one of the same key replaces, and of an
 * image's audits all but the last two. Findings and events are never dropped. Returns how many
 * went; 0 also when there is no memory to find out. */
size_t store_batch_compact(struct store_batch *batch);
/* Has events, whose loss in a power failure would be an alert told and forgotten, or baselines. */
bool store_batch_is_precious(const struct store_batch *batch);

/* Names shared by writing and reading that model.h has no function for. NULL, -EINVAL when
 * unknown. */
const char *store_use_name(enum files_use use);
int store_use_from_name(const char *name);
