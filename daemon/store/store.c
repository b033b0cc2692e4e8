/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store as the loop sees it: opened, loaded, asked; answers come through an eventfd. */
#include "daemon/store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>

#include "daemon/core/log.h"
#include "daemon/store/internal.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define READ_LIMIT_MAX 1000
#define READS_MAX 64            /* that wait: each answer may be a megabyte */

static void store_freep(struct store **store);
static void store_read_freep(struct store_read **read)
{
    store_read_free(*read);
}

void store_wake_loop(struct store *store)
{
    eventfd_write(store->wake_fd, 1);
}

/* ---- answers --------------------------------------------------------------------------------- */

struct store_read *store_read_free(struct store_read *read)
{
    if (!read)
        return NULL;
    free((char *)(uintptr_t)read->question.path);
    free((char *)(uintptr_t)read->question.finding);
    free((char *)(uintptr_t)read->question.datastore);
    free((char *)(uintptr_t)read->question.heads);
    record_check_free(read->check);
    sqlite3_close(read->snapshot);
    json_object_put(read->rows);
    free(read);
    return NULL;
}

static void answer_batches(struct batch_queue *batches)
{
    struct store_batch *batch;

    while ((batch = STAILQ_FIRST(batches))) {
        const struct batch_waiter *waiter;

        STAILQ_REMOVE_HEAD(batches, link);
        STAILQ_FOREACH(waiter, &batch->waiters, link)
            waiter->committed(waiter->userdata, batch->error);
        store_batch_free(batch);
    }
}

static void answer_reads(struct store *store, struct read_queue *reads)
{
    struct store_read *read;

    while ((read = STAILQ_FIRST(reads))) {
        char next[24] = "";

        STAILQ_REMOVE_HEAD(reads, link);
        if (read->run) {
            if (read->task_done)
                read->task_done(read->userdata, read->error);
            store_read_free(read);
            continue;
        }
        if (read->next_before > 0)
            snprintf(next, sizeof(next), "%" PRId64, read->next_before);
        if (read->question.of == HISTORY_CHECK)
            store->checking = false;
        read->done(read->userdata, read->error, TAKE_PTR(read->rows), next);
        store_read_free(read);
        store->n_reads--;
    }
}

static void answer_asides(struct store *store, struct aside_list *asides)
{
    struct store_aside *aside;

    while ((aside = SLIST_FIRST(asides))) {
        SLIST_REMOVE_HEAD(asides, link);
        if (store->damaged)
            store->damaged(store->userdata, aside->path);
        free(aside->path);
        free(aside);
    }
}

/* A callback may post again, so nothing is held while they run. */
static void answer_all(struct store *store)
{
    struct batch_queue batches = STAILQ_HEAD_INITIALIZER(batches);
    struct read_queue reads = STAILQ_HEAD_INITIALIZER(reads);
    struct aside_list asides;
    struct store_head head;
    bool head_due;
    size_t n_waiting;
    int trouble;

    pthread_mutex_lock(&store->lock);
    head = store->last_head;
    head_due = store->head_due;
    store->head_due = false;
    STAILQ_CONCAT(&batches, &store->written);
    STAILQ_CONCAT(&reads, &store->answers);
    asides = store->asides;
    SLIST_INIT(&store->asides);
    trouble = store->trouble_now;
    n_waiting = store->n_waiting;
    pthread_mutex_unlock(&store->lock);

    answer_asides(store, &asides);
    if (trouble != store->trouble_told) {
        store->trouble_told = trouble;
        if (store->trouble)
            store->trouble(store->userdata, trouble, n_waiting);
    }
    if (head_due && store->head)
        store->head(store->userdata, &head);
    answer_batches(&batches);
    answer_reads(store, &reads);
}

static int on_wake(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct store *store = userdata;
    eventfd_t value;

    eventfd_read(fd, &value);
    answer_all(store);
    return 0;
}

/* ---- opening and closing --------------------------------------------------------------------- */

/* Everything but the thread, which must have ended. */
static struct store *store_free(struct store *store)
{
    struct store_batch *batch;
    struct store_read *read;

    if (!store)
        return NULL;
    sd_event_source_disable_unref(store->source);
    store_db_free(store->db, false);
    /* Requests made by the last answers' callbacks came too late. */
    while ((batch = STAILQ_FIRST(&store->batches))) {
        STAILQ_REMOVE_HEAD(&store->batches, link);
        store_batch_free(batch);
    }
    while ((read = STAILQ_FIRST(&store->reads))) {
        STAILQ_REMOVE_HEAD(&store->reads, link);
        store_read_free(read);
    }
    if (store->wake_fd >= 0)
        close(store->wake_fd);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    pthread_mutex_destroy(&store->lock);
    pthread_cond_destroy(&store->wake);
    pthread_cond_destroy(&store->answered);
    free(store->directory);
    free(store->path);
    free(store);
    return NULL;
}

static void store_freep(struct store **store)
{
    store_free(*store);
}

static int store_new(const struct store_options *options, struct store **ret_store)
{
    _cleanup_(store_freep) struct store *store = NULL;
    pthread_condattr_t monotonic;

    store = calloc(1, sizeof(*store));
    if (!store)
        return -ENOMEM;
    store->lock_fd = store->wake_fd = -1;
    pthread_mutex_init(&store->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&store->wake, &monotonic);
    pthread_cond_init(&store->answered, &monotonic);
    pthread_condattr_destroy(&monotonic);
    STAILQ_INIT(&store->batches);
    STAILQ_INIT(&store->reads);
    STAILQ_INIT(&store->written);
    STAILQ_INIT(&store->answers);
    SLIST_INIT(&store->asides);
    store->audits_kept = options->audits_kept;
    store->history_retention = options->history_retention;
    store->trouble = options->trouble;
    store->damaged = options->damaged;
    store->head = options->head;
    store->userdata = options->userdata;
    store->directory = strdup(options->directory);
    if (!store->directory)
        return -ENOMEM;
    if (asprintf(&store->path, "%s/%s", options->directory, CONTROL_DATABASE_NAME) < 0) {
        store->path = NULL;
        return -ENOMEM;
    }
    store->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (store->wake_fd < 0)
        return -errno;
    *ret_store = TAKE_PTR(store);
    return 0;
}

/* Tries once more after an I/O error: a file that can be read may not fail a second time. */
static int try_to_open(struct store *store)
{
    int r = store_db_settle(store->path, store_db_open(store->path, &store->db));

    return r == -EIO ? store_db_settle(store->path, store_db_open(store->path, &store->db)) : r;
}

static int open_database(struct store *store, char **ret_aside)
{
    _cleanup_free_ char *aside = NULL;
    int r = try_to_open(store);

    if (r == -EUCLEAN) {
        log_error(r, "The database %s is damaged: it is put aside and a new one is started.",
                  store->path);
        r = store_folder_put_aside(store->directory, &aside);
        if (r < 0)
            return log_error(r, "Cannot put the damaged database %s aside: %m", store->path);
        r = store_db_open(store->path, &store->db);
    }
    if (r == -EPROTONOSUPPORT)
        return log_error(
            r,
            "The database %s was made by a newer qcauditd: run that one, or start with an empty "
            "state folder.",
            store->path);
    if (r < 0)
        return log_error(r, "Cannot open the database %s: %m", store->path);
    *ret_aside = TAKE_PTR(aside);
    return 0;
}

int store_open(sd_event *event, const struct store_options *options, pid_t *ret_holder,
               char **ret_aside, struct store **ret_store)
{
    _cleanup_(store_freep) struct store *store = NULL;
    _cleanup_free_ char *aside = NULL;
    int r;

    r = store_new(options, &store);
    if (r < 0)
        return log_error(r, "Cannot prepare the database: %m");
    if (mkdir(options->directory, 0700) < 0 && errno != EEXIST)
        return log_error(-errno, "Cannot make the state folder %s: %m", options->directory);
    r = store_folder_lock(options->directory, ret_holder, &store->lock_fd);
    if (r == -EBUSY)
        return r;
    if (r < 0)
        return log_error(r, "Cannot lock the state folder %s: %m", options->directory);
    r = open_database(store, &aside);
    if (r < 0)
        return r;
    store->check_owed = store_db_was_unclean(store->db);
    store->checked = store_db_checked(store->db);
    store->last_finding_id = store_db_last_finding_id(store->db);
    r = sd_event_add_io(event, &store->source, store->wake_fd, EPOLLIN, on_wake, store);
    if (r < 0)
        return log_error(r, "Cannot watch the database's answers: %m");
    (void)sd_event_source_set_description(store->source, "store");
    r = -pthread_create(&store->thread, NULL, store_thread_main, store);
    if (r < 0)
        return log_error(r, "Cannot start the database's thread: %m");
    store->thread_runs = true;
    *ret_aside = TAKE_PTR(aside);
    *ret_store = TAKE_PTR(store);
    return 0;
}

static void give_up_batches(struct store *store)
{
    struct store_batch *batch;
    struct store_read *read;

    STAILQ_FOREACH(batch, &store->batches, link)
        batch->error = -ECANCELED;
    STAILQ_CONCAT(&store->written, &store->batches);
    STAILQ_FOREACH(read, &store->reads, link)
        read->error = -ECANCELED;
    STAILQ_CONCAT(&store->answers, &store->reads);
}

struct store *store_close(struct store *store)
{
    if (!store)
        return NULL;
    pthread_mutex_lock(&store->lock);
    store->stopping = true;
    store->stop_at = usec_now(CLOCK_MONOTONIC) + STORE_CLOSE_USEC;
    store->check_stop = true;
    pthread_cond_broadcast(&store->wake);
    pthread_mutex_unlock(&store->lock);
    pthread_join(store->thread, NULL);
    give_up_batches(store);
    store->head_due = true;
    answer_all(store);
    return store_free(store);
}

/* ---- loading --------------------------------------------------------------------------------- */

static void sqlite3_closep(sqlite3 **sqlite)
{
    sqlite3_close(*sqlite);
}

static int load(struct store *store, const struct store_loader *loader)
{
    _cleanup_(sqlite3_closep) sqlite3 *sqlite = NULL;
    int r = store_db_open_reader(store->path, &sqlite);

    return r < 0 ? r : store_load_all(sqlite, loader, usec_now(CLOCK_REALTIME));
}

int store_load(struct store *store, const struct store_loader *loader)
{
    int r = store_db_settle(store->path, load(store, loader));

    if (r != -EUCLEAN)
        return r;
    pthread_mutex_lock(&store->lock);
    store->damage_seen = true;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->lock);
    return 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* Too many wait (the disk is full, and has been for long): all but the one being written become
 * one. */
static void merge_waiting(struct store *store)
{
    struct store_batch *first = STAILQ_FIRST(&store->batches), *from;

    STAILQ_REMOVE_HEAD(&store->batches, link);
    while ((from = STAILQ_FIRST(&store->batches))) {
        STAILQ_REMOVE_HEAD(&store->batches, link);
        store_batch_append(first, from);
    }
    STAILQ_INSERT_HEAD(&store->batches, first, link);
    store_batch_compact(first);
    store->n_queued = 1;
}

int store_commit(struct store *store, struct store_batch *batch,
                 void (*committed)(void *userdata, int error), void *userdata)
{
    struct batch_waiter *waiter;

    if (committed) {
        waiter = calloc(1, sizeof(*waiter));
        if (!waiter)
            return -ENOMEM;
        waiter->committed = committed;
        waiter->userdata = userdata;
        STAILQ_INSERT_TAIL(&batch->waiters, waiter, link);
    }
    batch->sequence = ++store->last_sequence;
    pthread_mutex_lock(&store->lock);
    STAILQ_INSERT_TAIL(&store->batches, batch, link);
    store->n_queued++;
    store->n_waiting++;
    if (store->n_queued > STORE_QUEUE_MAX)
        merge_waiting(store);
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->lock);
    return 0;
}

void store_set_retention(struct store *store, uint64_t history_retention, unsigned audits_kept)
{
    pthread_mutex_lock(&store->lock);
    store->history_retention = history_retention;
    store->audits_kept = audits_kept;
    pthread_mutex_unlock(&store->lock);
}

int64_t store_next_finding_id(struct store *store)
{
    return ++store->last_finding_id;
}

size_t store_waiting(const struct store *store)
{
    /* The lock is the only thing that changes. */
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&store->lock;
    size_t n;

    pthread_mutex_lock(lock);
    n = store->n_waiting;
    pthread_mutex_unlock(lock);
    return n;
}

uint64_t store_sweep_time(const struct store *store)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&store->lock;
    uint64_t time;

    pthread_mutex_lock(lock);
    time = store->sweep_time;
    pthread_mutex_unlock(lock);
    return time;
}

/* A cursor is the last row's id. */
static int cursor_id(const char *cursor, int64_t *ret_before)
{
    int64_t before = INT64_MAX;
    char *end;

    if (cursor && *cursor) {
        errno = 0;
        before = strtoll(cursor, &end, 10);
        if (errno != 0 || *end || before <= 0)
            return -EINVAL;
    }
    *ret_before = before;
    return 0;
}

static void post_read(struct store *store, struct store_read *read)
{
    store->n_reads += !read->run;
    read->sequence = ++store->last_sequence;
    pthread_mutex_lock(&store->lock);
    STAILQ_INSERT_TAIL(&store->reads, read, link);
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->lock);
}

static int copy_string(const char *from, const char **ret)
{
    *ret = from ? strdup(from) : NULL;
    return from && !*ret ? -ENOMEM : 0;
}

int store_history(struct store *store, const struct history_question *question, store_rows_fn done,
                  void *userdata)
{
    _cleanup_(store_read_freep) struct store_read *read = NULL;
    int64_t before;
    int r = cursor_id(question->cursor, &before);

    if (r < 0)
        return r;
    if (store->n_reads >= READS_MAX || (question->of == HISTORY_CHECK && store->checking))
        return -EAGAIN;
    read = calloc(1, sizeof(*read));
    if (!read)
        return -ENOMEM;
    read->question = (struct history_question){
        .of = question->of, .disk = question->disk, .since = question->since,
        .until = question->until,
        .limit = question->limit == 0 || question->limit > READ_LIMIT_MAX ? READ_LIMIT_MAX
                                                                          : question->limit,
    };
    read->before = before;
    read->done = done;
    read->userdata = userdata;
    if (copy_string(question->path, &read->question.path) < 0 ||
        copy_string(question->finding, &read->question.finding) < 0 ||
        copy_string(question->datastore, &read->question.datastore) < 0 ||
        copy_string(question->heads, &read->question.heads) < 0)
        return -ENOMEM;
    store->checking |= question->of == HISTORY_CHECK;
    post_read(store, TAKE_PTR(read));
    return 0;
}

int store_task(struct store *store, int (*run)(void *userdata),
               void (*done)(void *userdata, int error), void *userdata)
{
    struct store_read *task = calloc(1, sizeof(*task));

    if (!task)
        return -ENOMEM;
    *task = (struct store_read){
        .run = run, .task_done = done, .userdata = userdata
    };
    post_read(store, task);
    return 0;
}
