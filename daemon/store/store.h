/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The database: one thread owns it, the loop posts batches and gets answers; a slow or full disk
 * never stops the loop. */
#pragma once

#include <systemd/sd-event.h>

#include "daemon/core/contents.h"
#include "daemon/core/datastore.h"
#include "daemon/core/file.h"
#include "daemon/core/findings.h"
#include "daemon/core/image.h"
#include "daemon/core/mute.h"

struct store;

/* The last event in the record of this database; its digest covers all before it, too. */
struct store_head {
    char record[33];            /* of this database, at random: hexadecimal digits */
    int64_t seq;                /* 0: there was none yet */
    char digest[65];            /* hexadecimal digits */
};

struct store_options {
    const char *directory;      /* the state folder; holds qcaudit.db and the lock file */
    uint64_t history_retention; /* usec */
    unsigned audits_kept;       /* per image */
    /* The database cannot be written since (error < 0), or can again (0). Called once per change,
     * in the loop. */
    void (*trouble)(void *userdata, int error, size_t n_waiting);
    /* Damage was found while it was in use (by quick_check, a read or a write), or another file in
     * its place: it was put aside as path, "" when it was removed. A new and empty one is in use:
     * everything known must be given to it again. */
    void (*damaged)(void *userdata, const char *path);
    /* The last event of the record, soon after the beginning, then once a day, and at the end; in
     * the loop. May be NULL. */
    void (*head)(void *userdata, const struct store_head *head);
    void *userdata;
};

/* Takes the state folder (-EBUSY and *ret_holder, the pid that has it or 0, when another daemon
 * does; it is set in that case alone), opens or makes the database, migrates it (user_version),
 * moves a damaged one aside (*ret_aside is then its new path, else NULL), and starts the thread.
 * -EPROTONOSUPPORT: a newer program made the database, which stays as it is. Says itself in the log
 * why it failed, but for -EBUSY. */
int store_open(sd_event *event, const struct store_options *options, pid_t *ret_holder,
               char **ret_aside, struct store **ret_store);
/* Writes what waits (for up to 5 s), marks a clean stop, ends the thread. What was asked and not
 * answered yet is answered before it returns, with -ECANCELED if it was given up. Takes NULL,
 * returns NULL. */
struct store *store_close(struct store *store);

/* Rows that the last daemon left; handed over one by one, in the order below, the callee owns each.
 * A datastore's state is what it was then; images have no datastore yet. A row that this program
 * cannot understand is left out; an image's audit that it cannot read is NULL. Blocks: to be called
 * before the loop runs. When the database turns out damaged on the way, what could be read was
 * handed over, 0 is returned, and `damaged` follows. */
struct store_loader {
    int (*datastore)(void *userdata, struct datastore *datastore);
    /* With its last two audits and references. */
    int (*image)(void *userdata, const char *datastore, struct image *image);
    /* open, acknowledged, or resolved within 7 days */
    int (*finding)(void *userdata, struct finding *finding);
    int (*mute)(void *userdata, struct mute *mute);
    /* somebody is still to be told of it: the outbox */
    int (*event)(void *userdata, struct event *event);
    /* deviation (JSON, may be NULL) and verity ("sha256:HEX", may be NULL) are borrowed: not in the
     * baseline yet. */
    int (*baseline)(void *userdata, struct baseline *baseline, json_object *deviation,
                    const char *verity);
    /* A domain's disk moved from one path to another; borrowed. */
    int (*disk_move)(void *userdata, const char *overlay, const char *parent, uint64_t at);
    /* Bytes given to store_batch_others(); borrowed. */
    int (*others)(void *userdata, const char *datastore, const uint8_t *files, size_t size);
    void *userdata;
};
int store_load(struct store *store, const struct store_loader *loader);

/* Everything one audit (or walk) changed, to be written in one transaction. The builder copies what
 * it is given. Rows are found by path, name and type with subject, so nothing is written back to
 * the sources. */
struct store_batch;

int store_batch_new(struct store_batch **ret_batch);
struct store_batch *store_batch_free(struct store_batch *batch);
int store_batch_datastore(struct store_batch *batch, const struct datastore *datastore);
/* row and references, by path */
int store_batch_image(struct store_batch *batch, const struct image *image);
int store_batch_audit(struct store_batch *batch, const struct image *image,
                      const struct audit *audit);
int store_batch_image_gone(struct store_batch *batch, const char *path);
/* The image is called otherwise: its history, findings and events go by the new name. What was kept
 * of a file that had that name before goes. */
int store_batch_renamed(struct store_batch *batch, const char *before, const char *after);
/* upsert; -EINVAL without id */
int store_batch_finding(struct store_batch *batch, const struct finding *finding);
int store_batch_event(struct store_batch *batch, const struct event *event);
/* outbox: who was told, or need not be told any more: OUTBOX_LOGS | OUTBOX_EXEC. */
int store_batch_told(struct store_batch *batch, sd_id128_t event_id, unsigned outbox,
                     const char *channel);
/* deviation and verity as the loader has them. */
int store_batch_baseline(struct store_batch *batch, const struct baseline *baseline,
                         json_object *deviation, const char *verity);
int store_batch_baseline_gone(struct store_batch *batch, const struct identity *identity);
/* Forgotten with the image `overlay`. */
int store_batch_disk_move(struct store_batch *batch, const char *overlay, const char *parent,
                          uint64_t at);
int store_batch_mute(struct store_batch *batch, const struct mute *mute);
/* The files of the datastore that are no images, as bytes: instead of those given before. */
int store_batch_others(struct store_batch *batch, const char *datastore, const uint8_t *files,
                       size_t size);
int store_batch_reading(struct store_batch *batch, const char *path,
                        const struct digest_result *digest, const uint8_t *content,
                        enum reading_verdict verdict, const char *explanation);
bool store_batch_is_empty(const struct store_batch *batch);

/* Takes the batch. Batches are written in the order given; one that fails for lack of space or an
 * I/O error is tried again until it works. committed (may be NULL) runs in the loop with 0, or
 * -errno if it was given up at store_close(), or at once with -EBADMSG if the database refuses its
 * content. On failure (-ENOMEM) the batch stays the caller's. While very many wait, older states of
 * images and audits give way to newer ones. */
int store_commit(struct store *store, struct store_batch *batch,
                 void (*committed)(void *userdata, int error), void *userdata);

/* After a reload: holds for what is written and swept from now on. */
void store_set_retention(struct store *store, uint64_t history_retention, unsigned audits_kept);

/* The id of a new finding, given before it is stored: never 0, and never one that was stored
 * before. */
int64_t store_next_finding_id(struct store *store);

/* Pages of what happened, newest first, as a JSON array of rows (HISTORY_RECORD: an object). */
enum history {
    HISTORY_EVENTS,
    HISTORY_AUDITS,             /* of one image: times, confidence, counters, depth */
    HISTORY_READINGS,           /* of one image's data: times, digest, verdict */
    HISTORY_DISK_AUDITS,        /* of the disk that the image is, or was, the layer of: each layer's
                                 * while no other layer of the disk lay above it */
    HISTORY_FINDINGS_AT,        /* the findings that were open or acknowledged at `until` */
    HISTORY_CHANGES,            /* what of the findings differs between `since` and `until` */
    HISTORY_CHECK,              /* one object, no rows: is the chain of events whole, and has it the
                                 * events of `heads`? Read in slices, between other reads and
                                 * batches */
    HISTORY_SPACE,              /* of one datastore: size and available at most once an hour */
    HISTORY_RECORD,             /* one object, no rows: since when the record of events is whole */
};

struct history_question {
    enum history of;
    const char *path;           /* of an image; events: NULL all */
    const char *datastore;      /* space: its name; -EINVAL for NULL */
    bool disk;                  /* events: of all layers of the disk, and of what it stands on */
    const char *finding;        /* events: of that name; NULL all */
    uint64_t since, until;      /* events, space: usec; 0 open */
    const char *heads;          /* check: "SEQ:DIGEST ...", in hexadecimal digits; NULL none */
    const char *cursor;         /* the last page's next; NULL or "": the first page */
    unsigned limit;             /* rows; 0: as many as a page has */
};

/* Read in the thread; the answer comes in the loop: rows are the callee's to free (NULL with an
 * error), next is the cursor to go on with, "" at the end. -EINVAL for a bad cursor, -EAGAIN when
 * very many wait for their answers already, or the record is being checked already. */
typedef void (*store_rows_fn)(void *userdata, int error, json_object *rows, const char *next);
int store_history(struct store *store, const struct history_question *question, store_rows_fn done,
                  void *userdata);

/* Runs something that touches files in the store's thread, after the tasks given before; then done
 * (may be NULL) in the loop, with what run returned, or -ECANCELED when the store was closed
 * before: run did not run then. */
int store_task(struct store *store, int (*run)(void *userdata),
               void (*done)(void *userdata, int error), void *userdata);
/* Batches that wait to be written. */
size_t store_waiting(const struct store *store);

/* The time by which it deletes what is too old, which follows the clock slowly where that jumps
 * ahead (usec; 0: not known yet). */
uint64_t store_sweep_time(const struct store *store);

/* After READY: quick_check on a second connection in the background. Always after an unclean stop;
 * else when the database is small or the last check is more than 7 days old, so that a restart does
 * not read gigabytes. */
int store_quick_check(struct store *store);

/* ---- while no daemon runs -------------------------------------------------------------------- */

struct store_reader;

/* The database of a state folder, to be read alone. -EBUSY: a daemon has the folder; -ENOENT;
 * -EMEDIUMTYPE: the database is no regular file; -EPROTONOSUPPORT: it is of another version
 * (*ret_version; set in that case alone); -EUCLEAN: damaged. */
int store_reader_open(const char *directory, int *ret_version, struct store_reader **ret_reader);
struct store_reader *store_reader_free(struct store_reader *reader);
/* As store_load(), but that damage is an error. */
int store_reader_load(struct store_reader *reader, const struct store_loader *loader);
/* As many rows as are asked for, from the first page on. */
int store_reader_history(struct store_reader *reader, const struct history_question *question,
                         json_object **ret_rows);
