/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A batch as the inside of the store knows it: rows of named values, which the writer binds to its
 * statements. */
#pragma once

#include <sys/queue.h>

#include "daemon/store/store.h"

enum value_type { VALUE_NULL, VALUE_INTEGER, VALUE_TEXT, VALUE_BLOB };

struct value {
    const char *name;           /* as statements have it: ":name"; static */
    enum value_type type;
    int64_t integer;
    char *data;
    size_t size;
};

/* Kinds of rows, by the statements of write.c; the first value is always the row's key. A row goes
 * into one table; ROW_PARENT and ROW_DATA_FILE both into edge. */
enum row_kind {
    ROW_DATASTORE,
    ROW_SAMPLE,
    ROW_IMAGE,
    ROW_PARENT,
    ROW_DATA_FILE,
    ROW_AUDIT,
    ROW_REPORT,
    ROW_GONE,
    ROW_RENAMED,
    ROW_FINDING,
    ROW_EVENT,
    ROW_TOLD,
    ROW_BASELINE,
    ROW_BASELINE_GONE,
    ROW_READING,
    ROW_DISK_MOVE,
    ROW_OTHERS,
    ROW_MUTE,
    _ROW_MAX,
};

struct batch_row {
    STAILQ_ENTRY(batch_row) link;
    enum row_kind kind;
    int error;                  /* while it was put together */
    bool superseded;
    unsigned n_values, n_room;
    struct value *values;
};

/* NULL, or a row without values. */
struct batch_row *row_new(enum row_kind kind);
struct batch_row *row_free(struct batch_row *row);
/* The value of that name, NULL when it has none; *at is where the last one was found. */
const struct value *row_value(const struct batch_row *row, const char *name, unsigned *at);
/* Takes the rows, or frees all of them when one could not be put together (NULL, or with an
 * error). */
int store_batch_take(struct store_batch *batch, struct batch_row *const *rows, size_t n_rows);

/* A caller who awaits that the batch is written; several once batches were merged. */
struct batch_waiter {
    STAILQ_ENTRY(batch_waiter) link;
    void (*committed)(void *userdata, int error);
    void *userdata;
};

struct store_batch {
    STAILQ_ENTRY(store_batch) link;
    STAILQ_HEAD(, batch_row) rows;
    STAILQ_HEAD(, batch_waiter) waiters;
    uint64_t sequence;          /* place among reads and batches */
    size_t n_merged;            /* batches it holds */
    int error;                  /* as it is answered */
};

/* Appends the rows and waiters of from, which is freed. */
void store_batch_append(struct store_batch *batch, struct store_batch *from);
/* Drops every row of a datastore or an image that a later one of the same key replaces, with what
 * goes along with it, and of an image's audits all but the last two. Findings and events are
 * never dropped. Returns how many went; 0 also when there is no memory to find out. */
size_t store_batch_compact(struct store_batch *batch);
/* Has events, whose loss in a power failure would be an alert told and forgotten, or renames, which
 * are in the record as they are, or baselines, or mutes. */
bool store_batch_is_precious(const struct store_batch *batch);

/* Names shared by writing and reading that model.h has no function for. NULL, -EINVAL when
 * unknown. */
const char *store_use_name(enum files_use use);
int store_use_from_name(const char *name);
