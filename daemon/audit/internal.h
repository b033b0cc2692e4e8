/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declarations that audit.c, reference.c and pool.c share: jobs, what they asked of the helpers,
 * workers. */
#pragma once

#include <sys/queue.h>

#include "daemon/audit/audit.h"
#include "daemon/audit/turn.h"
#include "daemon/core/datastore.h"
#include "daemon/core/image.h"

struct job;

/* ---- the pool of workers (pool.c) ------------------------------------------------------------ */

struct slot {
    struct worker *worker;
    const struct datastore *datastore;  /* a worker serves one datastore */
    struct job *job;            /* under way */
    uint64_t idle_since;        /* usec, CLOCK_MONOTONIC */
};

struct pool {
    sd_event *event;
    struct process_endings *endings;    /* of killed workers, or NULL */
    struct slot *slots;         /* fixed array, so that pointers into it stay */
    size_t n_slots;
    sd_event_source *idle;
};

#define POOL_MAX 128            /* audits and scrubs */

int pool_init(struct pool *pool, sd_event *event);
void pool_done(struct pool *pool);
/* A slot with a worker that can take an image of the datastore: -EBUSY when limit are taken; else
 * worker_start()'s. */
int pool_take(struct pool *pool, const struct worker_options *options, size_t limit,
              const struct datastore *datastore, struct job *job, struct slot **ret_slot);
/* The slot's job ended; kill: its worker must go. */
void pool_release(struct pool *pool, struct slot *slot, bool kill);
/* Is it, or what it refers to, open in the datastore? */
bool job_reaches(const struct job *job, const struct datastore *datastore);

/* ---- requests to the datastores' helpers (request.c) ----------------------------------------- */

/* How one ended: of an open fd is the callee's, use and stat as told; of a resolution real_path may
 * be NULL. */
struct request_result {
    int error;
    int fd;
    const char *real_path;
    const struct files_stat *stat;
    enum files_use use;
};

typedef void (*request_fn)(struct job *job, uint64_t tag, const struct request_result *result);

/* Remembers who asked, so that an answer that comes after its job ended hurts nobody. */
struct request {
    LIST_ENTRY(request) link;
    struct job *job;            /* NULL: nobody waits any more */
    struct files *files;
    uint64_t tag;
    request_fn done;
};

enum request_kind { REQUEST_OPEN, REQUEST_PROBE, REQUEST_RESOLVE };

/* reference is for REQUEST_RESOLVE alone. done does not run before this returns. */
int request_start(struct job *job, enum request_kind kind, struct files *files, const char *path,
                  const char *reference, uint64_t tag, request_fn done);
/* The job ends: its answers are thrown away. */
void requests_detach(struct audits *audits, const struct job *job);
/* Everything that waits for files ends with -ENOTCONN. */
void requests_files_gone(struct audits *audits, const struct files *files);
/* Did the helper fail, rather than the file? */
bool request_error_is_helper(int error);

/* ---- jobs (audit.c) -------------------------------------------------------------------------- */

/* How far a scrub is. */
struct scrub_state {
    bool waits;
    uint64_t budget;            /* as the worker was told last */
    uint64_t done, total;       /* bytes, as told last */
    uint64_t measured_at, measured_done;        /* usec; where the rate is counted from */
    uint64_t rate;              /* bytes per second */
};

struct job {
    struct audits *audits;
    LIST_ENTRY(job) link;
    struct image *image;
    bool resolve_only;
    bool scrub;
    struct scrub_state state;   /* of a scrub */
    struct slot *slot;          /* while a worker reads */
    struct audit *audit;
    struct reference parent, data_file;
    struct reference_list extents;
    bool references_known;
    unsigned n_resolving;
    /* Datastore in which the worker has another file open, or soon: NULL none; and in others
     * besides. */
    const struct datastore *reached;
    bool reached_several;
};

struct audits {
    sd_event *event;
    struct audits_options options;
    struct pool pool;
    LIST_HEAD(, job) jobs;
    LIST_HEAD(, request) requests;
    size_t n_running, n_resolving, n_scrubbing;
    bool scrubs_paused;
    struct turn *turns;         /* one for each device that had a scrub and an audit at once */
    size_t n_turns;
    sd_event_source *turn_timer;
    int start_error;            /* why no worker could be started, the last time */
};

/* All references of the job are resolved: the last step. */
void job_resolved(struct job *job);

/* ---- scrubs (scrub.c) ------------------------------------------------------------------------ */

/* Makes a request of a worker one that reads all data; the job's image is open. */
void scrub_request(struct job *job, const struct files_stat *stat, struct worker_request *request);
/* The job's audit is over: its report's digest becomes the audit's. -ENOMEM. */
int scrub_take_digest(struct job *job);
/* Decides which scrubs may read, and how much: called when an audit or a scrub begins or ends. */
void scrubs_pace(struct audits *audits);

/* ---- references (reference.c) ---------------------------------------------------------------- */

/* Fills job->parent, job->data_file and job->extents from what the image says and asks the helpers
 * where they lead; job_resolved() runs when all is known, maybe before this returns. */
int references_from_report(struct job *job, const struct qca_image_info *info);
int references_again(struct job *job, const struct image *image);
/* A worker asks for a data file: opens it where it lies, answers. */
void reference_answer(struct job *job, struct worker *worker,
                      const struct worker_question *question);
