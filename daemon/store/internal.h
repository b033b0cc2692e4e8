/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declarations that the loop's side (store.c) and the thread's side (thread.c) of the store share,
 * and under which lock. */
#pragma once

#include <pthread.h>
#include <sys/queue.h>

#include "daemon/store/db.h"
#include "daemon/store/record.h"
#include "helpers/clock.h"

/* Beyond so many waiting batches they are merged. */
#define STORE_QUEUE_MAX 10000
#define STORE_CLOSE_USEC (5 * USEC_PER_SEC)

struct store_read {
    STAILQ_ENTRY(store_read) link;
    uint64_t sequence;          /* place among reads and batches */
    struct history_question question;   /* its strings are copies; no cursor */
    int64_t before;
    store_rows_fn done;
    int (*run)(void *userdata);         /* of a task, instead of all above; else NULL */
    void (*task_done)(void *userdata, int error);
    void *userdata;
    sqlite3 *snapshot;          /* of a check, which goes on in the next turn: what it reads, */
    struct record_check *check; /* and how far it is; else NULL */
    int error;
    json_object *rows;
    int64_t next_before;        /* 0 at the end */
};

struct store_read *store_read_free(struct store_read *read);

/* The new path of a damaged database, to be reported. */
struct store_aside {
    SLIST_ENTRY(store_aside) link;
    char *path;
};

STAILQ_HEAD(batch_queue, store_batch);
STAILQ_HEAD(read_queue, store_read);
SLIST_HEAD(aside_list, store_aside);

enum check_state { CHECK_IDLE, CHECK_RUNNING, CHECK_CLEAN, CHECK_DAMAGED, CHECK_FAILED };

struct store {
    /* Set once. */
    char *directory, *path;
    int lock_fd, wake_fd;       /* wake_fd: eventfd, readable when there is something for the
                                 * loop */
    pthread_t thread;
    bool thread_runs;
    void (*trouble)(void *userdata, int error, size_t n_waiting);
    void (*damaged)(void *userdata, const char *path);
    void (*head)(void *userdata, const struct store_head *head);
    void *userdata;

    /* The loop's. */
    sd_event_source *source;
    int64_t last_finding_id;
    uint64_t last_sequence;
    int trouble_told;
    size_t n_reads;             /* asked and not answered */
    bool checking;              /* the record: one at a time, each holds a state of the database */

    /* Under lock. */
    pthread_mutex_t lock;
    pthread_cond_t wake;        /* something for the thread; monotonic */
    pthread_cond_t answered;    /* something for whoever waits on the thread */
    struct batch_queue batches;
    uint64_t history_retention; /* usec */
    unsigned audits_kept;
    uint64_t sweep_time;        /* of sweep_clock, when it swept last */
    size_t n_queued;            /* length of batches */
    size_t n_waiting;           /* batches as given, the one being written included */
    struct read_queue reads;
    struct batch_queue written; /* for the loop */
    struct read_queue answers;  /* for the loop */
    struct aside_list asides;
    int trouble_now;
    struct store_head last_head;        /* of what is written */
    bool head_due;              /* to be told */
    bool stopping;
    uint64_t stop_at;           /* usec, monotonic: no more tries from then on */
    bool damage_seen;           /* by the loop's own reading: put it aside */
    unsigned generation;        /* how often it was put aside */
    enum check_state check;
    unsigned check_generation;  /* what was checked */
    bool check_owed;            /* an unclean stop that no complete check followed */
    bool check_stop;
    uint64_t checked;           /* usec, of the last complete check */

    /* The thread's, and before it starts store_open()'s. */
    struct store_db *db;        /* NULL while none can be opened */
    struct sweep_clock sweep_clock;
    int64_t sweep_position;
    uint64_t sweep_at;          /* usec, monotonic */
    uint64_t head_at;           /* usec, monotonic: when the head is told next */
    uint64_t retry_at;          /* usec, monotonic; 0: no trouble */
    uint64_t retry_pause;
    uint64_t aside_at;          /* usec, monotonic, of the last time */
    pthread_t checker;
    bool checker_runs;
};

void *store_thread_main(void *store);
/* Wakes the loop. */
void store_wake_loop(struct store *store);
