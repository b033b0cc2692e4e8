/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One audit, step by step: open, read by a worker, look again at the file, resolve its
 * references. */
#include "daemon/audit/audit.h"

#include <errno.h>
#include <string.h>

#include "daemon/audit/internal.h"
#include "lib/cleanup.h"

static uint64_t audits_now(const struct audits *audits)
{
    uint64_t now = 0;

    (void) sd_event_now(audits->event, CLOCK_REALTIME, &now);   /* fails for a wrong clock only */
    return now;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static size_t *job_count(const struct job *job)
{
    struct audits *audits = job->audits;

    return job->resolve_only ? &audits->n_resolving
           : job->scrub      ? &audits->n_scrubbing
                             : &audits->n_running;
}

enum job_kind { JOB_AUDIT, JOB_SCRUB, JOB_RESOLVE };

static int job_new(struct audits *audits, struct image *image, enum job_kind kind,
                   struct job **ret_job)
{
    struct job *job = calloc(1, sizeof(*job));

    if (!job)
        return -ENOMEM;
    *job = (struct job){ .audits = audits,
                         .image = image,
                         .resolve_only = kind == JOB_RESOLVE,
                         .scrub = kind == JOB_SCRUB };
    LIST_INSERT_HEAD(&audits->jobs, job, link);
    ++*job_count(job);
    *ret_job = job;
    return 0;
}

/* A worker that still reads is ended. */
static void job_free(struct job *job)
{
    struct audits *audits = job->audits;

    requests_detach(audits, job);
    if (job->slot)
        pool_release(&audits->pool, job->slot, true);
    LIST_REMOVE(job, link);
    --*job_count(job);
    audit_free(job->audit);
    reference_done(&job->parent);
    reference_done(&job->data_file);
    reference_list_done(&job->extents);
    if (!job->resolve_only)
        scrubs_pace(audits);
    free(job);
}

bool job_reaches(const struct job *job, const struct datastore *datastore)
{
    return job->image->datastore == datastore || job->reached == datastore || job->reached_several;
}

static struct job *job_find(const struct audits *audits, const struct image *image,
                            bool resolve_only)
{
    struct job *job;

    LIST_FOREACH(job, &audits->jobs, link)
        if (job->image == image && job->resolve_only == resolve_only)
            return job;
    return NULL;
}

/* Ends the job without a result. */
static void job_interrupted(struct job *job, int error)
{
    struct audits *audits = job->audits;
    struct image *image = job->image;
    bool resolve_only = job->resolve_only;

    job_free(job);
    if (!resolve_only)
        audits->options.done(audits->options.userdata, image, error, NULL, NULL, NULL, NULL);
}

static void job_finished(struct job *job)
{
    struct audits *audits = job->audits;
    struct image *image = job->image;
    struct audit *audit = TAKE_PTR(job->audit);
    struct reference parent = job->parent, data_file = job->data_file;
    struct reference_list extents = job->extents;
    bool resolve_only = job->resolve_only, known = job->references_known;

    job->parent = job->data_file = (struct reference){ 0 };
    job->extents = (struct reference_list){ 0 };
    job_free(job);
    if (resolve_only) {
        audits->options.resolved(audits->options.userdata, image, &parent, &data_file,
                                 &extents);
        return;
    }
    audit->finished = audits_now(audits);
    audits->options.done(audits->options.userdata, image, 0, audit, known ? &parent : NULL,
                         known ? &data_file : NULL, known ? &extents : NULL);
}

void job_resolved(struct job *job)
{
    job_finished(job);
}

/* ---- the steps, last one first --------------------------------------------------------------- */

static void job_references(struct job *job)
{
    const struct audit_report *report = job->audit->report;
    int r;

    if (report->n_layers > 0) {
        r = references_from_report(job, &report->layers[0].info);
        if (r < 0)
            job_interrupted(job, -ECANCELED);
        return;
    }
    /* A header that cannot be understood refers to nothing; a worker that died or a file that may
     * not be read says nothing about it. */
    job->references_known = audit_report_open_error(report)->kind != QCA_ERROR_NONE &&
                            audit_report_open_error(report)->kind != QCA_ERROR_IO;
    job_finished(job);
}

/* A ctime that differs with owner or mode is the change of those (libvirt's at a domain's
 * start). */
static bool content_equal(const struct fingerprint *a, const struct fingerprint *b)
{
    bool attributes = a->mode != b->mode || a->uid != b->uid || a->gid != b->gid ||
                      a->links != b->links;

    return a->size == b->size && a->mtime == b->mtime && (a->ctime == b->ctime || attributes);
}

/* The locks count, and libvirt's word where that says more. */
static void audit_take_use(struct job *job, enum files_use locked)
{
    const struct audits_options *options = &job->audits->options;
    struct audit *audit = job->audit;
    enum files_use said = options->use ? options->use(options->userdata, job->image) : FILES_UNUSED;

    if (locked > audit->locked)
        audit->locked = locked;
    if (audit->locked > audit->use)
        audit->use = audit->locked;
    if (said > audit->use)
        audit->use = said;
}

/* The file is there and cannot be opened: that is a result too. */
static int job_unreadable(struct job *job, int error)
{
    struct audit *audit = job->audit;

    audit->report = audit_report_free(audit->report);
    audit->digest = digest_result_free(audit->digest);
    audit->report = calloc(1, sizeof(*audit->report));
    if (!audit->report)
        return -ENOMEM;
    audit->report->error = error;
    audit->identity = job->image->identity;
    audit->fingerprint = job->image->fingerprint;
    audit->use = job->image->use;
    audit->confidence = CONFIDENCE_OFFLINE;
    return 0;
}

static void job_cannot_open(struct job *job, int error)
{
    if (job_unreadable(job, error) < 0)
        job_interrupted(job, -ECANCELED);
    else
        job_references(job);
}

/* A lease on it, or a lack of the helper's, which may be over in a moment: only when it is so again
 * that is a result. */
static void job_denied(struct job *job, int error)
{
    if (job->image->n_denied == 0)
        job_interrupted(job, error);
    else
        job_cannot_open(job, error);
}

static void on_probed(struct job *job, uint64_t tag, const struct request_result *result)
{
    struct audit *audit = job->audit;
    struct identity identity;
    struct fingerprint after;

    if (error_is_temporary(result->error)) {
        job_denied(job, result->error);
        return;
    }
    if (result->error < 0) {
        job_interrupted(job, request_error_is_helper(result->error) ? -ECANCELED : -ENOENT);
        return;
    }
    identity = identity_from_stat(result->stat);
    after = fingerprint_from_stat(result->stat);
    if (!identity_equal(&identity, &audit->identity)) {
        job_interrupted(job, -ECANCELED);       /* another file lies there now: that one is to be
                                                 * audited */
        return;
    }
    audit_take_use(job, result->use);
    if (audit->use == FILES_WRITER || !content_equal(&audit->fingerprint, &after))
        audit->confidence = CONFIDENCE_RACY;
    else if (audit->use == FILES_FROZEN)
        audit->confidence = CONFIDENCE_FROZEN;
    else
        audit->confidence = CONFIDENCE_OFFLINE;
    if (audit->confidence == CONFIDENCE_RACY)   /* digest of a mixture */
        audit->digest = digest_result_free(audit->digest);
    job_references(job);
}

static int job_probe(struct job *job)
{
    struct audits *audits = job->audits;
    const struct datastore *datastore;
    struct files *files;
    int r;

    r = audits->options.files(audits->options.userdata, job->image->path, &files, &datastore);
    if (r < 0)
        return r;
    return request_start(job, REQUEST_PROBE, files, job->image->path, NULL, 0, on_probed);
}

/* The worker was started, and ended before it was ready. */
static void worker_did_not_start(struct job *job)
{
    job->audits->start_error = -ENOEXEC;
    job_interrupted(job, -ENOEXEC);
}

static void on_audited(void *userdata, struct worker *worker, struct audit_report *report)
{
    struct job *job = userdata;

    job->audit->report = report;
    pool_release(&job->audits->pool, job->slot, false);
    job->slot = NULL;
    if (report->error == -ECANCELED)
        job_interrupted(job, -ECANCELED);
    else if (report->error == -ENOEXEC)
        worker_did_not_start(job);
    else if (scrub_take_digest(job) < 0 || job_probe(job) < 0)
        job_interrupted(job, -ECANCELED);
}

static void on_question(void *userdata, struct worker *worker,
                        const struct worker_question *question)
{
    reference_answer(userdata, worker, question);
}

static int job_read(struct job *job, int fd, const struct files_stat *stat)
{
    struct audits *audits = job->audits;
    const struct audits_options *o = &audits->options;
    struct worker_options options = {
        .program = o->worker_program,
        .memory_limit = o->worker_memory,
        .images_max = o->worker_images,
        .idle_io = true,
        .threads = 2,           /* what is hashed, and what is read meanwhile */
    };
    struct worker_request request = {
        .fd = fd,
        .id = { .a = stat->fsid,
                .b = stat->inode,
                .mtime = stat->mtime,
                .is_device = stat->type == FILES_BLOCK },
        .flags = WORKER_CHECK | WORKER_METADATA_DIGEST | WORKER_DATA_FILE |
                 (job->audit->deep ? WORKER_DEEP : 0),
        .deadline_usec = o->worker_deadline,
        .read_budget = o->read_budget ? o->read_budget / o->workers + 1 : 0,
        .max_issues = o->max_issues,
        .question = on_question,
        .done = on_audited,
        .userdata = job,
    };
    int r;

    if (job->scrub)
        scrub_request(job, stat, &request);
    r = pool_take(&audits->pool, &options, o->workers + audits->n_scrubbing, job->image->datastore,
                  job, &job->slot);
    if (r == -EBUSY)
        return r;
    if (r >= 0) {
        r = worker_audit(job->slot->worker, &request);
        if (r >= 0) {
            scrubs_pace(audits);
            return 0;
        }
        pool_release(&audits->pool, job->slot, true);
        job->slot = NULL;
        if (r == -ENOMEM)
            return r;
    }
    audits->start_error = r;
    return -ENOEXEC;
}

static int audit_take_verity(struct audit *audit, const struct files_stat *stat)
{
    if (stat->verity_algorithm == 0)
        return 0;
    audit->verity = malloc(sizeof(*audit->verity));
    if (!audit->verity)
        return -ENOMEM;
    *audit->verity = verity_from_stat(stat);
    return 0;
}

static void on_opened(struct job *job, uint64_t tag, const struct request_result *result)
{
    _cleanup_close_ int fd = result->fd;
    int r;

    if (result->error == -ENOENT || result->error == -ENOTDIR || result->error == -EMEDIUMTYPE) {
        job_interrupted(job, -ENOENT);
    } else if (request_error_is_helper(result->error)) {
        job_interrupted(job, -ECANCELED);
    } else if (error_is_temporary(result->error)) {
        job_denied(job, result->error);
    } else if (result->error < 0) {
        job_cannot_open(job, result->error);
    } else {
        job->audit->identity = identity_from_stat(result->stat);
        job->audit->fingerprint = fingerprint_from_stat(result->stat);
        audit_take_use(job, result->use);
        r = audit_take_verity(job->audit, result->stat);
        if (r >= 0)
            r = job_read(job, fd, result->stat);
        if (r < 0)
            job_interrupted(job, r == -ENOEXEC ? r : -ECANCELED);
    }
}

/* ---- the stage ------------------------------------------------------------------------------- */

int audits_start_error(const struct audits *audits)
{
    return audits->start_error;
}

int audits_new(sd_event *event, const struct audits_options *options, struct audits **ret_audits)
{
    struct audits *audits = calloc(1, sizeof(*audits));
    int r;

    if (!audits)
        return -ENOMEM;
    r = pool_init(&audits->pool, event);
    if (r < 0) {
        free(audits);
        return r;
    }
    audits->event = sd_event_ref(event);
    audits->options = *options;
    audits->pool.endings = options->endings;
    *ret_audits = audits;
    return 0;
}

struct audits *audits_free(struct audits *audits)
{
    struct request *request;

    if (!audits)
        return NULL;
    while (!LIST_EMPTY(&audits->jobs))
        job_free(LIST_FIRST(&audits->jobs));
    while ((request = LIST_FIRST(&audits->requests))) {
        LIST_REMOVE(request, link);
        free(request);
    }
    pool_done(&audits->pool);
    sd_event_source_disable_unref(audits->turn_timer);
    free(audits->turns);
    sd_event_unref(audits->event);
    free(audits);
    return NULL;
}

void audits_set_options(struct audits *audits, const struct audits_options *options)
{
    audits->options = *options;
    scrubs_pace(audits);
}

static int start(struct audits *audits, struct image *image, enum job_kind kind, bool deep)
{
    size_t n = kind == JOB_SCRUB ? audits->n_scrubbing : audits->n_running;
    const struct datastore *datastore;
    struct files *files;
    struct job *job;
    int r;

    if (n >= audits->options.workers || job_find(audits, image, false))
        return -EBUSY;
    r = audits->options.files(audits->options.userdata, image->path, &files, &datastore);
    if (r < 0)
        return r;
    r = job_new(audits, image, kind, &job);
    if (r < 0)
        return r;
    job->audit = calloc(1, sizeof(*job->audit));
    r = job->audit ? request_start(job, REQUEST_OPEN, files, image->path, NULL, 0, on_opened)
                   : -ENOMEM;
    if (r < 0) {
        job_free(job);
        return r;
    }
    job->audit->started = audits_now(audits);
    job->audit->deep = deep;
    scrubs_pace(audits);
    return 0;
}

int audits_start(struct audits *audits, struct image *image, bool deep)
{
    return start(audits, image, JOB_AUDIT, deep);
}

int audits_start_scrub(struct audits *audits, struct image *image)
{
    return start(audits, image, JOB_SCRUB, false);
}

int audits_resolve(struct audits *audits, struct image *image)
{
    struct job *job;
    int r;

    if (!image->parent.stored && !image->data_file.stored && image_count_extents(image) == 0)
        return 0;
    job = job_find(audits, image, true);
    if (job)
        job_free(job);          /* what it heard may be outdated */
    r = job_new(audits, image, JOB_RESOLVE, &job);
    if (r < 0)
        return r;
    r = references_again(job, image);
    if (r < 0)
        job_free(job);
    return r;
}

void audits_forget(struct audits *audits, struct image *image)
{
    struct job *job, *next;

    for (job = LIST_FIRST(&audits->jobs); job; job = next) {
        next = LIST_NEXT(job, link);
        if (job->image == image)
            job_free(job);
    }
}

void audits_cancel_scrub(struct audits *audits, const struct image *image)
{
    struct job *job = job_find(audits, image, false);

    if (job && job->scrub)
        job_interrupted(job, -ECANCELED);
}

void audits_cancel(struct audits *audits, const struct datastore *datastore)
{
    struct job *job = LIST_FIRST(&audits->jobs);

    /* The callback may end others, so look from the start each time. */
    while (job) {
        if (!job->resolve_only && job_reaches(job, datastore)) {
            job_interrupted(job, -ECANCELED);
            job = LIST_FIRST(&audits->jobs);
        } else {
            job = LIST_NEXT(job, link);
        }
    }
}

void audits_files_gone(struct audits *audits, struct files *files)
{
    requests_files_gone(audits, files);
}

size_t audits_scrubbing(const struct audits *audits)
{
    return audits->n_scrubbing;
}

size_t audits_running(const struct audits *audits)
{
    return audits->n_running;
}

size_t audits_resolving(const struct audits *audits)
{
    return audits->n_resolving;
}
