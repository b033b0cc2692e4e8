/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store's thread: owns the database, writes and reads in the order asked, tries again, sweeps,
 * replaces it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/store/internal.h"
#include "helpers/clock.h"
#include "helpers/hex.h"
#include "lib/cleanup.h"

#define RETRY_FIRST (250 * 1000)
#define RETRY_LAST (30 * USEC_PER_SEC)
#define SWEEP_PAUSE (60 * USEC_PER_SEC)
/* A disk that damages every new database at once must not be filled with them. */
#define ASIDE_PAUSE (60 * USEC_PER_SEC)
#define CHECK_SMALL (UINT64_C(256) << 20)
#define CHECK_AGE (7 * 24 * 3600 * USEC_PER_SEC)
#define RECORD_ROWS 2000        /* of the chain of events, looked at in one turn */
#define HEAD_PAUSE (24 * 3600 * USEC_PER_SEC)
#define CHECK_STEPS 10000       /* of SQLite's machine, between looks at check_stop */

/* ---- trouble --------------------------------------------------------------------------------- */

static void set_trouble(struct store *store, int error)
{
    bool changed;

    if (error < 0) {
        store->retry_pause = store->retry_pause == 0 ? RETRY_FIRST : store->retry_pause * 2;
        if (store->retry_pause > RETRY_LAST)
            store->retry_pause = RETRY_LAST;
        store->retry_at = usec_now(CLOCK_MONOTONIC) + store->retry_pause;
    } else
        store->retry_at = store->retry_pause = 0;

    pthread_mutex_lock(&store->lock);
    changed = store->trouble_now != error;
    store->trouble_now = error;
    pthread_mutex_unlock(&store->lock);
    if (changed)
        store_wake_loop(store);
}

/* ---- a damaged database, or none ------------------------------------------------------------- */

static int open_new(struct store *store)
{
    int r = store->db ? 0 : store_db_open(store->path, &store->db);

    if (r == 0) {
        store->sweep_position = 0;
        store->sweep_clock = (struct sweep_clock){ .now = 0 };
    }
    return r;
}

/* Puts the file aside and starts a new one. A failure leaves store->db NULL: open_new() is tried
 * again. */
static int replace_database(struct store *store)
{
    _cleanup_free_ struct store_aside *aside = NULL;
    uint64_t now = usec_now(CLOCK_MONOTONIC);
    int r;

    if (store->aside_at != 0 && now - store->aside_at < ASIDE_PAUSE &&
        access(store->path, F_OK) == 0)
        return -EUCLEAN;
    aside = calloc(1, sizeof(*aside));
    if (!aside)
        return -ENOMEM;
    store->db = store_db_free(store->db, true);
    r = store_folder_put_aside(store->directory, &aside->path);
    if (r < 0)
        return r;
    if (access(aside->path, F_OK) < 0)
        *aside->path = '\0';         /* there was none any more */
    store->aside_at = now;
    store->head_at = 0;         /* another record begins */
    pthread_mutex_lock(&store->lock);
    SLIST_INSERT_HEAD(&store->asides, aside, link);
    aside = NULL;
    store->generation++;
    store->damage_seen = false;
    store->check_owed = false;
    pthread_mutex_unlock(&store->lock);
    store_wake_loop(store);
    return open_new(store);
}

/* After a read error: a connection never forgets its last one, and takes damage for another. */
static int settle(struct store *store, int r)
{
    if (r == STORE_READ_ERROR)
        store->db = store_db_free(store->db, true);
    return store_db_settle(store->path, r);
}

/* The database, opened again if it is not there; when it turns out damaged, or somebody took it
 * away, another one: what is written to a file without a name is lost with the process. */
static int have_database(struct store *store)
{
    int r = store_folder_relock(store->directory, &store->lock_fd);

    if (r == 0)
        r = settle(store, open_new(store));
    if (r == -EUCLEAN || (r == 0 && store_db_is_moved(store->db)))
        r = replace_database(store);
    return r;
}

/* ---- batches and reads ----------------------------------------------------------------------- */

/* The last event, as it is written; a new database has another record. */
static void note_head(struct store *store)
{
    const struct record_head *head = store_writer_head(store_db_writer(store->db));
    uint64_t now = usec_now(CLOCK_MONOTONIC);
    bool due = now >= store->head_at;

    pthread_mutex_lock(&store->lock);
    (void)snprintf(store->last_head.record, sizeof(store->last_head.record), "%s",
                   store_db_record(store->db));
    store->last_head.seq = head->seq;
    hex_encode(head->digest, RECORD_DIGEST_SIZE, store->last_head.digest);
    store->head_due |= due;
    pthread_mutex_unlock(&store->lock);
    if (!due)
        return;
    store->head_at = now + HEAD_PAUSE;
    store_wake_loop(store);
}

static int write_once(struct store *store, const struct store_batch *batch)
{
    unsigned audits_kept;
    int r;

    pthread_mutex_lock(&store->lock);
    audits_kept = store->audits_kept;
    pthread_mutex_unlock(&store->lock);
    r = store_writer_write(store_db_writer(store->db), batch, audits_kept,
                           usec_now(CLOCK_REALTIME));
    if (r == 0)
        note_head(store);
    return r;
}

/* 0, or what went wrong with this batch and will not with another try. Else -EAGAIN: again
 * later. */
static int write_batch(struct store *store, const struct store_batch *batch)
{
    int r = have_database(store);

    if (r == 0)
        r = settle(store, write_once(store, batch));
    if (r == -EUCLEAN) {
        r = replace_database(store);
        if (r == 0)
            r = write_once(store, batch);
    }
    if (r == -EBADMSG)
        return r;
    set_trouble(store, r);
    return r < 0 ? -EAGAIN : 0;
}

static void do_batch(struct store *store, struct store_batch *batch)
{
    int r = write_batch(store, batch);

    pthread_mutex_lock(&store->lock);
    if (r == -EAGAIN) {
        STAILQ_INSERT_HEAD(&store->batches, batch, link);
        store->n_queued++;
    } else {
        batch->error = r;
        STAILQ_INSERT_TAIL(&store->written, batch, link);
        store->n_waiting -= batch->n_merged;
    }
    pthread_mutex_unlock(&store->lock);
    if (r != -EAGAIN)
        store_wake_loop(store);
}

/* A part of the check; 1: there is more. It reads one state of the database, whatever is written
 * and deleted meanwhile. */
static int run_check(struct store *store, struct store_read *read)
{
    int r = 0;

    if (!read->check) {
        r = store_db_open_reader(store->path, &read->snapshot);
        if (r == 0 && sqlite3_exec(read->snapshot, "BEGIN", NULL, NULL, NULL) != SQLITE_OK)
            r = store_db_error(read->snapshot, sqlite3_errcode(read->snapshot));
        if (r == 0)
            r = record_check_new(read->snapshot, read->question.heads, &read->check);
    }
    if (r == 0)
        r = record_check_step(read->check, RECORD_ROWS);
    return r == 0 ? record_check_result(read->check, &read->rows) : r;
}

static int run_read(struct store *store, struct store_read *read)
{
    int r;

    if (read->run)
        return read->run(read->userdata);
    r = have_database(store);
    if (r == -ENOENT)
        return -ENOTDIR;        /* the folder is not there: not that nothing is known */
    if (r < 0)
        return r;
    if (read->question.of == HISTORY_CHECK)
        return run_check(store, read);
    return store_query(store_db_sqlite(store->db), &read->question, read->before, &read->rows,
                       &read->next_before);
}

static void do_read(struct store *store, struct store_read *read)
{
    int r = run_read(store, read);

    read->error = settle(store, r);
    if (read->error == -EUCLEAN && !read->run)
        replace_database(store);
    pthread_mutex_lock(&store->lock);
    if (r > 0 && !read->run && !store->stopping) {      /* after what waits now */
        read->sequence = UINT64_MAX;
        STAILQ_INSERT_TAIL(&store->reads, read, link);
        pthread_mutex_unlock(&store->lock);
        return;
    }
    if (r > 0 && !read->run)
        read->error = -ECANCELED;
    STAILQ_INSERT_TAIL(&store->answers, read, link);
    pthread_mutex_unlock(&store->lock);
    store_wake_loop(store);
}

static void do_sweep(struct store *store)
{
    uint64_t realtime = usec_now(CLOCK_REALTIME), monotonic = usec_now(CLOCK_MONOTONIC);
    uint64_t now = 0, retention;
    bool more = false;
    int r = have_database(store);

    pthread_mutex_lock(&store->lock);
    retention = store->history_retention;
    pthread_mutex_unlock(&store->lock);
    if (r == 0 && store->sweep_clock.now == 0)
        r = sweep_clock_load(store_db_sqlite(store->db), realtime, monotonic, &store->sweep_clock);
    if (r == 0) {
        now = sweep_clock_tell(&store->sweep_clock, realtime, monotonic);
        r = store_sweep_step(store_db_sqlite(store->db), now > retention ? now - retention : 0,
                             &store->sweep_position, &more);
    }
    if (r == 0 && !more)
        r = store_shrink_step(store_db_sqlite(store->db), &more);
    if (r == 0)
        r = sweep_clock_save(store_db_sqlite(store->db), &store->sweep_clock);
    if (r == 0)
        note_head(store);
    pthread_mutex_lock(&store->lock);
    store->sweep_time = now;
    pthread_mutex_unlock(&store->lock);
    r = settle(store, r);
    if (r == -EUCLEAN)
        r = replace_database(store);
    /* Sweeping can wait; what fails here fails for the next batch too, and is said then. */
    store->sweep_at = r == 0 && more ? 0 : usec_now(CLOCK_MONOTONIC) + SWEEP_PAUSE;
}

/* ---- quick_check ----------------------------------------------------------------------------- */

static int check_goes_on(void *userdata)
{
    struct store *store = userdata;
    bool stop;

    pthread_mutex_lock(&store->lock);
    stop = store->check_stop;
    pthread_mutex_unlock(&store->lock);
    return stop;
}

static enum check_state check(struct store *store, sqlite3 *sqlite)
{
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *statement = NULL;
    const char *text;
    int code;

    sqlite3_progress_handler(sqlite, CHECK_STEPS, check_goes_on, store);
    code = sqlite3_prepare_v2(sqlite, "PRAGMA quick_check(1)", -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code != SQLITE_ROW)
        return store_db_settle(store->path, store_db_error(sqlite, code)) == -EUCLEAN
                   ? CHECK_DAMAGED : CHECK_FAILED;
    text = (const char *)sqlite3_column_text(statement, 0);
    if (!text)
        return CHECK_FAILED;
    /* One row that says "ok", or what is wrong; an interruption is no verdict. */
    if (strcmp(text, "ok") == 0)
        return CHECK_CLEAN;
    if (check_goes_on(store))
        return CHECK_FAILED;
    /* SQLite's check says the same of a page that it could not read. */
    return store_db_settle(store->path, store_db_error(sqlite, SQLITE_CORRUPT)) == -EUCLEAN
               ? CHECK_DAMAGED : CHECK_FAILED;
}

static void *check_main(void *userdata)
{
    struct store *store = userdata;
    enum check_state state;
    sqlite3 *sqlite = NULL;
    int r = store_db_open_reader(store->path, &sqlite);

    if (r == 0)
        state = check(store, sqlite);
    else
        state = store_db_settle(store->path, r) == -EUCLEAN ? CHECK_DAMAGED : CHECK_FAILED;
    /* Closed before it is told, so that nothing holds the file when it is put aside. */
    sqlite3_close(sqlite);
    pthread_mutex_lock(&store->lock);
    store->check = state;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

static bool check_is_due(const struct store *store)
{
    uint64_t now = usec_now(CLOCK_REALTIME);
    struct stat st;

    return store->check_owed || store->checked > now || now - store->checked >= CHECK_AGE ||
           (stat(store->path, &st) >= 0 && (uint64_t)st.st_size <= CHECK_SMALL);
}

int store_quick_check(struct store *store)
{
    int r = 0;

    pthread_mutex_lock(&store->lock);
    if (store->check == CHECK_IDLE && !store->checker_runs && check_is_due(store)) {
        r = -pthread_create(&store->checker, NULL, check_main, store);
        if (r == 0) {
            store->checker_runs = true;
            store->check = CHECK_RUNNING;
            store->check_generation = store->generation;
        }
    }
    pthread_mutex_unlock(&store->lock);
    return r;
}

static void finish_check(struct store *store, enum check_state state)
{
    uint64_t now = usec_now(CLOCK_REALTIME);
    bool current;

    pthread_join(store->checker, NULL);
    pthread_mutex_lock(&store->lock);
    store->checker_runs = false;
    store->check = CHECK_IDLE;
    current = store->check_generation == store->generation;
    if (current && state == CHECK_CLEAN) {
        store->check_owed = false;
        store->checked = now;
    }
    pthread_mutex_unlock(&store->lock);
    if (!current)
        return;
    if (state == CHECK_DAMAGED)
        replace_database(store);
    else if (state == CHECK_CLEAN && store->db)
        store_db_mark_checked(store->db, now);
}

/* ---- the thread ------------------------------------------------------------------------------ */

enum task { TASK_NONE, TASK_END, TASK_CHECKED, TASK_REPLACE, TASK_BATCH, TASK_READ, TASK_SWEEP };

/* Chooses the next task, under lock; *ret_until is when to look again. Reads come in turn with the
 * batches, but do not wait for a batch that cannot be written. */
static enum task next_task(struct store *store, uint64_t now, uint64_t *ret_until)
{
    const struct store_batch *batch = STAILQ_FIRST(&store->batches);
    const struct store_read *read = STAILQ_FIRST(&store->reads);
    bool may_write;

    if (store->stopping && store->retry_at > now + RETRY_FIRST)
        store->retry_at = now + RETRY_FIRST;
    may_write = batch && now >= store->retry_at;
    if (store->check > CHECK_RUNNING)
        return TASK_CHECKED;
    if (store->damage_seen)
        return TASK_REPLACE;
    if (store->stopping && (!batch || now >= store->stop_at))
        return read && !batch ? TASK_READ : TASK_END;
    if (read && (!may_write || read->sequence < batch->sequence))
        return TASK_READ;
    if (may_write)
        return TASK_BATCH;
    if (!store->stopping && now >= store->sweep_at)
        return TASK_SWEEP;
    *ret_until = store->stopping ? store->stop_at : store->sweep_at;
    if (batch && store->retry_at < *ret_until)
        *ret_until = store->retry_at;
    return TASK_NONE;
}

static void wait_until(struct store *store, uint64_t until)
{
    struct timespec at = {
        .tv_sec = (time_t)(until / USEC_PER_SEC),
        .tv_nsec = (long)(until % USEC_PER_SEC * 1000),
    };

    pthread_cond_timedwait(&store->wake, &store->lock, &at);
}

static struct store_batch *take_batch(struct store *store)
{
    struct store_batch *batch = STAILQ_FIRST(&store->batches);

    STAILQ_REMOVE_HEAD(&store->batches, link);
    store->n_queued--;
    return batch;
}

static struct store_read *take_read(struct store *store)
{
    struct store_read *read = STAILQ_FIRST(&store->reads);

    STAILQ_REMOVE_HEAD(&store->reads, link);
    return read;
}

static void end(struct store *store)
{
    bool clean;

    if (store->checker_runs)
        pthread_join(store->checker, NULL);
    /* An interrupted check after an unclean stop is still owed, and damage that is not put aside
     * yet not forgotten. */
    clean = store->check == CHECK_CLEAN ||
            (!store->check_owed && store->check != CHECK_DAMAGED && !store->damage_seen);
    if (store->db && clean)
        store_db_mark_clean(store->db);
    store->db = store_db_free(store->db, store->check == CHECK_DAMAGED);
}

void *store_thread_main(void *userdata)
{
    struct store *store = userdata;

    for (;;) {
        struct store_batch *batch = NULL;
        struct store_read *read = NULL;
        enum check_state checked;
        uint64_t until = 0;
        enum task task;

        pthread_mutex_lock(&store->lock);
        while ((task = next_task(store, usec_now(CLOCK_MONOTONIC), &until)) == TASK_NONE)
            wait_until(store, until);
        checked = store->check;
        if (task == TASK_BATCH)
            batch = take_batch(store);
        else if (task == TASK_READ)
            read = take_read(store);
        else if (task == TASK_REPLACE)
            store->damage_seen = false;
        pthread_mutex_unlock(&store->lock);

        switch (task) {
        case TASK_CHECKED:
            finish_check(store, checked);
            break;
        case TASK_REPLACE:
            replace_database(store);
            break;
        case TASK_BATCH:
            do_batch(store, batch);
            break;
        case TASK_READ:
            do_read(store, read);
            break;
        case TASK_SWEEP:
            do_sweep(store);
            break;
        default:
            end(store);
            return NULL;
        }
    }
}
