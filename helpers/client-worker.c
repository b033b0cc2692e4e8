/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The caller's side of qcaudit-worker: one audit at a time, each answer checked, every deadline
 * kept. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "helpers/process.h"
#include "helpers/questions.h"
#include "helpers/report-wire.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define USEC UINT64_C(1000000)
#define DEADLINE_DEFAULT (60 * USEC)
#define TOTAL_DEADLINE_DEFAULT (6 * 3600 * USEC)
#define CANCEL_GRACE (2 * USEC)     /* to end by itself after a cancel */
#define DEATH_GRACE (2 * USEC)      /* to die of SIGKILL; one that reads from a hung file system
                                     * does not */
#define PROGRESS_BURST 100          /* records of progress at once, and per second */
#define DIGEST_FLAGS                                                                               \
    (WORKER_METADATA_DIGEST | WORKER_FILE_DIGEST | WORKER_CONTENT_DIGEST | WORKER_BLOCK_DIGESTS |  \
     WORKER_LAYER_DIGEST)
#define RECORDS_PER_DISPATCH 64     /* before the loop turns to others */

struct worker {
    unsigned n_ref;                 /* the owner's, and a dispatch's under way */
    bool freed;                     /* by its owner: no callback any more */
    sd_event *event;
    struct process *process;
    int socket;
    sd_event_source *socket_source, *timer;

    unsigned images, images_max;
    bool no_digests;
    bool ready;                     /* it said so: it started */
    char failure[sizeof(((struct qca_error *)NULL)->text)];     /* why it could not start, by its
                                                                 * own words */
    bool anomaly;
    bool ended;

    /* the request under way */
    bool busy;
    struct worker_request request;
    struct report_receiver *receiver;
    bool cancelled;
    int kill_error;                 /* why it was killed, 0 if it was not */
    bool question_open;
    uint64_t question_id;
    struct questions questions;
    uint64_t next_block;            /* that digests may be told of */
    uint64_t started, last_record, paused_at;   /* usec, CLOCK_MONOTONIC */
    uint64_t kill_at;               /* 0: not decided yet */
    uint64_t progress_tokens, progress_at;
};

static uint64_t now(const struct worker *worker)
{
    uint64_t usec = 0;

    sd_event_now(worker->event, CLOCK_MONOTONIC, &usec);
    return usec;
}

static struct worker *worker_unref(struct worker *worker)
{
    if (!worker || --worker->n_ref > 0)
        return NULL;
    report_receiver_free(worker->receiver);
    questions_done(&worker->questions);
    free(worker);
    return NULL;
}

DEFINE_CLEANUP(struct worker *, worker_unref)

struct worker *worker_end(struct worker *worker, struct process_endings *endings, const void *user)
{
    if (!worker || worker->freed)
        return NULL;
    worker->freed = true;
    worker->busy = false;
    sd_event_source_disable_unref(worker->socket_source);
    sd_event_source_disable_unref(worker->timer);
    worker->process = process_end(worker->process, endings, user);
    if (worker->socket >= 0)
        close(worker->socket);
    sd_event_unref(worker->event);
    return worker_unref(worker);
}

struct worker *worker_free(struct worker *worker)
{
    return worker_end(worker, NULL, NULL);
}

/* Tells the owner how the request ended; the worker may be freed afterwards. */
static void finish(struct worker *worker, struct audit_report *report)
{
    struct worker_request request = worker->request;

    worker->busy = false;
    worker->question_open = false;
    worker->kill_at = 0;
    worker->receiver = report_receiver_free(worker->receiver);
    sd_event_source_set_enabled(worker->timer, SD_EVENT_OFF);
    request.done(request.userdata, worker, report);
}

/* The request ended with the worker. */
static void finish_failed(struct worker *worker, int error, int ended_signal, int status)
{
    struct audit_report *report;

    if (!worker->busy)
        return;
    report = report_receiver_abandon(worker->receiver);
    report->error = error;
    report->worker_signal = ended_signal;
    report->worker_status = status;
    report->elapsed_usec = now(worker) - worker->started;
    /* Without memory it goes without the worker's own words. */
    if (worker->failure[0] != '\0' && !report->open_error)
        report->open_error = calloc(1, sizeof(*report->open_error));
    if (report->open_error)
        memcpy(report->open_error->text, worker->failure, sizeof(worker->failure));
    finish(worker, report);
}

/* Arms the timer for whichever deadline comes first. */
static void arm(struct worker *worker)
{
    const struct worker_request *request = &worker->request;
    uint64_t silence = worker->last_record + request->deadline_usec;
    uint64_t total = worker->started + request->total_deadline_usec;
    uint64_t at = silence < total ? silence : total;

    if (worker->kill_at > 0 &&
        (worker->kill_error != 0 || worker->question_open || worker->kill_at < at))
        at = worker->kill_at;
    else if (worker->question_open) {
        sd_event_source_set_enabled(worker->timer, SD_EVENT_OFF);
        return;
    }
    sd_event_source_set_time(worker->timer, at);
    sd_event_source_set_enabled(worker->timer, SD_EVENT_ONESHOT);
}

/* Ends it: error is what the request, if any, is answered with once it is dead. */
static void worker_kill(struct worker *worker, int error)
{
    worker->anomaly = true;
    if (worker->kill_error != 0)
        return;
    worker->kill_error = error;
    sd_event_source_set_enabled(worker->socket_source, SD_EVENT_OFF);
    process_kill(worker->process);
    if (worker->busy) {
        worker->kill_at = now(worker) + DEATH_GRACE;
        arm(worker);
    }
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct worker *worker = userdata;

    if (!worker->busy)
        return 0;
    if (worker->kill_error != 0) {
        /* it does not even die; the process is left to the kernel */
        worker->ended = true;
        finish_failed(worker, worker->kill_error, SIGKILL, 0);
    } else
        worker_kill(worker, worker->cancelled ? -ECANCELED : -ETIMEDOUT);
    return 0;
}

static void on_ended(void *userdata, int ended_signal, int status)
{
    struct worker *worker = userdata;
    int error = worker->kill_error ? worker->kill_error : worker->cancelled ? -ECANCELED :
                                     worker->ready ? -ECHILD : -ENOEXEC;

    worker->ended = true;
    sd_event_source_set_enabled(worker->socket_source, SD_EVENT_OFF);
    finish_failed(worker, error, ended_signal, status);
}

/* A flood of progress would keep the loop busy for nothing. */
static bool progress_is_excessive(struct worker *worker)
{
    uint64_t usec = now(worker), earned = (usec - worker->progress_at) * PROGRESS_BURST / USEC;

    if (earned > 0) {
        worker->progress_at = usec;
        worker->progress_tokens += earned;
        if (worker->progress_tokens > PROGRESS_BURST)
            worker->progress_tokens = PROGRESS_BURST;
    }
    if (worker->progress_tokens == 0)
        return true;
    worker->progress_tokens--;
    return false;
}

static int take_question(struct worker *worker, const union wire_record *record)
{
    struct worker_question question = {
        .id = record->question.id, .kind = (enum qca_reference_kind)record->question.kind,
        .layer = record->question.layer, .name = wire_text(record, 0),
        .format = wire_text(record, 1),
    };

    int r;

    if (worker->question_open || record->question.kind >= _QCA_REFERENCE_MAX)
        return -EBADMSG;
    r = questions_ask(&worker->questions, worker->request.flags, &question);
    if (r < 0)
        return r;
    worker->question_open = true;
    worker->question_id = question.id;
    worker->paused_at = now(worker);
    if (!worker->request.question)
        return worker_answer(worker, question.id, -EPERM, -1, 0, NULL);
    worker->request.question(worker->request.userdata, worker, &question);
    return 0;
}

static int take_blocks(struct worker *worker, const struct wire_blocks *record)
{
    uint64_t last = UINT64_MAX / QCA_BLOCK_SIZE;

    if (!(worker->request.flags & WORKER_BLOCK_DIGESTS) || record->first < worker->next_block ||
        record->n == 0 || record->first > last || record->n > last - record->first ||
        record->zero > 1 || record->unallocated > record->zero ||
        (!record->zero && record->n > WIRE_BLOCKS_PER_RECORD))
        return -EBADMSG;
    worker->next_block = record->first + record->n;
    if (!worker->cancelled)
        worker->request.blocks(worker->request.userdata, record->first, record->n,
                               record->zero ? NULL : record->digests, record->unallocated);
    return 0;
}

static int take_places(struct worker *worker, const struct wire_places *record)
{
    if (!(worker->request.flags & WORKER_PLACES) || record->n > WIRE_PLACES_PER_RECORD)
        return -EBADMSG;
    if (record->n == 0 && !worker->cancelled)
        worker->request.place(worker->request.userdata, NULL);
    for (uint64_t i = 0; i < record->n; i++) {
        const struct qca_place place = { (enum qca_table)record->place[i].table,
                                         record->place[i].offset, record->place[i].size };

        if (record->place[i].table >= _QCA_TABLE_MAX || place.size == 0 ||
            place.offset > INT64_MAX || place.size > INT64_MAX - place.offset)
            return -EBADMSG;
        if (!worker->cancelled)
            worker->request.place(worker->request.userdata, &place);
    }
    return 0;
}

static int take_failed(struct worker *worker, const union wire_record *record)
{
    const char *step = wire_text(record, 0);

    if (!step || !text_is_safe(step, strlen(step)) || !wire_error_is_valid(record->failed.error))
        return -EBADMSG;
    snprintf(worker->failure, sizeof(worker->failure), "the worker could not start: %.100s: %s",
             step, strerrordesc_np((int)-record->failed.error) ?: "unknown error");
    return 0;
}

/* 0, or -EBADMSG: no honest worker would have said this now. */
static int take_record(struct worker *worker, const union wire_record *record)
{
    int r;

    if (!worker->ready) {
        if (record->header.type == WIRE_READY) {
            worker->ready = true;
            return 0;
        }
        return record->header.type == WIRE_FAILED ? take_failed(worker, record) : -EBADMSG;
    }
    if (!worker->busy)
        return -EBADMSG;
    switch (record->header.type) {
    case WIRE_PROGRESS:
        if (progress_is_excessive(worker) || record->progress.done > record->progress.total)
            return -EBADMSG;
        if (worker->request.progress && !worker->cancelled)
            worker->request.progress(worker->request.userdata, record->progress.done,
                                     record->progress.total);
        return 0;
    case WIRE_QUESTION:
        return take_question(worker, record);
    case WIRE_BLOCKS:
        return take_blocks(worker, &record->blocks);
    case WIRE_PLACES:
        return take_places(worker, &record->places);
    default:
        r = report_receiver_take(worker->receiver, record);
        if (r == 1 && !questions_are_told(&worker->questions,
                                          report_receiver_report(worker->receiver)))
            return -EBADMSG;
        if (r == 1) {
            struct audit_report *report = report_receiver_finish(worker->receiver);

            if (worker->cancelled && report->error == 0)
                report->error = -ECANCELED;
            finish(worker, report);
            return 0;
        }
        return r;
    }
}

static int on_socket(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    _cleanup_(worker_unrefp) struct worker *worker = userdata;
    union wire_record record;

    worker->n_ref++;
    for (unsigned i = 0; i < RECORDS_PER_DISPATCH && !worker->freed && worker->kill_error == 0;
         i++) {
        int received = -1, r;

        r = wire_receive(worker->socket, WIRE_WORKER, &record, &received);
        if (r == -EAGAIN)
            break;
        if (r == 0) {
            /* it is ending by itself, and how it ends is told by on_ended(); or else it will now */
            worker->anomaly = true;
            sd_event_source_set_enabled(worker->socket_source, SD_EVENT_OFF);
            process_kill(worker->process);
            if (worker->busy) {
                worker->kill_at = now(worker) + DEATH_GRACE;
                arm(worker);
            }
            break;
        }
        if (r > 0) {
            worker->last_record = now(worker);
            r = take_record(worker, &record);
        }
        if (worker->freed)
            break;
        if (r < 0)
            worker_kill(worker, r == -ENOMEM ? -ENOMEM : -EBADMSG);
        else if (worker->busy)
            arm(worker);
    }
    return 0;
}

int worker_start(sd_event *event, const struct worker_options *options, struct worker **ret_worker)
{
    struct wire_configure_worker configuration = {
        .memory_limit = options->memory_limit ? options->memory_limit : UINT64_C(1) << 30,
        .idle_io = options->idle_io,
        .no_digests = options->no_digests,
        .threads = options->threads ? options->threads : 1,
    };
    struct worker *worker = calloc(1, sizeof(*worker));
    _cleanup_close_ int theirs = -1;
    int r;

    if (!worker)
        return -ENOMEM;
    worker->n_ref = 1;
    worker->event = sd_event_ref(event);
    worker->socket = -1;
    worker->images_max = options->images_max ? options->images_max : 64;
    worker->no_digests = options->no_digests;
    r = process_socket_pair(&worker->socket, &theirs);
    if (r == 0)
        r = process_start(event, options->program, theirs, on_ended, worker, &worker->process);
    if (r == 0)
        r = wire_send(worker->socket, WIRE_CONFIGURE_WORKER, &configuration, NULL, NULL, -1);
    if (r == 0 || r == -EPIPE)      /* it ended already, which is told by on_ended() */
        r = sd_event_add_io(event, &worker->socket_source, worker->socket, EPOLLIN, on_socket,
                            worker);
    if (r >= 0)
        r = sd_event_add_time(event, &worker->timer, CLOCK_MONOTONIC, UINT64_MAX, 10000, on_timer,
                              worker);
    if (r >= 0)
        /* what has arrived in time counts, even when the loop comes late */
        r = sd_event_source_set_priority(worker->timer, SD_EVENT_PRIORITY_NORMAL + 20);
    if (r >= 0)
        r = sd_event_source_set_enabled(worker->timer, SD_EVENT_OFF);
    if (r < 0) {
        worker_free(worker);
        return r;
    }
    *ret_worker = worker;
    return 0;
}

pid_t worker_pid(const struct worker *worker)
{
    return process_pid(worker->process);
}

bool worker_exhausted(const struct worker *worker)
{
    return worker->images >= worker->images_max || worker->anomaly || worker->ended;
}

int worker_audit(struct worker *worker, const struct worker_request *request)
{
    size_t max_issues = request->max_issues ? request->max_issues : 1000;
    struct wire_request record = {
        .id = request->id, .format = request->format, .flags = request->flags,
        .read_budget = request->read_budget,
        .algorithms = request->algorithms, .alignment = request->alignment,
        .first_block = request->first_block,
    };
    _cleanup_(report_receiver_freep) struct report_receiver *receiver = NULL;
    int r;

    if (worker->busy)
        return -EBUSY;
    if (worker_exhausted(worker))
        return -ESTALE;
    if ((worker->no_digests && request->flags & DIGEST_FLAGS) ||
        (request->flags & WORKER_CONTENT_DIGEST && !(request->flags & WORKER_CHAIN)) ||
        (request->flags & WORKER_LAYER_DIGEST && request->flags & WORKER_CHAIN) ||
        (request->flags & WORKER_PLACES &&
         (request->flags & (WORKER_CHAIN | DIGEST_FLAGS) || !request->place)) ||
        (request->flags & WORKER_BLOCK_DIGESTS &&
         !(request->flags & (WORKER_CONTENT_DIGEST | WORKER_LAYER_DIGEST) && request->blocks)))
        return -EINVAL;
    if (max_issues > WIRE_ISSUES_MAX)
        max_issues = WIRE_ISSUES_MAX;
    record.max_issues = max_issues;
    r = report_receiver_new(max_issues, &receiver);
    if (r < 0)
        return r;
    report_receiver_expect(receiver, request->flags);
    r = wire_send(worker->socket, WIRE_REQUEST, &record, request->snapshot, NULL, request->fd);
    if (r == -EPIPE && !worker->ready)
        r = 0;                      /* it could not start: on_ended() answers with the reason */
    if (r < 0) {
        worker->anomaly = true;
        return r == -EPIPE || r == -EAGAIN ? -ESTALE : r;
    }
    worker->busy = true;
    worker->cancelled = false;
    questions_done(&worker->questions);
    worker->next_block = 0;
    worker->images++;
    worker->request = *request;
    worker->request.fd = -1;        /* sent */
    worker->request.snapshot = NULL;
    if (request->deadline_usec == 0)
        worker->request.deadline_usec = DEADLINE_DEFAULT;
    if (request->total_deadline_usec == 0)
        worker->request.total_deadline_usec = TOTAL_DEADLINE_DEFAULT;
    worker->receiver = TAKE_PTR(receiver);
    worker->started = worker->last_record = worker->progress_at = now(worker);
    worker->progress_tokens = PROGRESS_BURST;
    arm(worker);
    return 0;
}

int worker_answer(struct worker *worker, uint64_t question_id, int error, int fd,
                  uint32_t alignment, const struct qca_file_id *id)
{
    struct wire_answer record = {
        .question = question_id, .error = error, .alignment = alignment,
    };
    uint64_t usec;
    int r;

    if (!worker->busy || !worker->question_open || question_id != worker->question_id)
        return -ENOENT;
    if (error > 0 || (error == 0) != (fd >= 0 && id))
        return -EINVAL;
    if (error == 0)
        record.id = *id;
    r = wire_send(worker->socket, WIRE_ANSWER, &record, NULL, NULL, error == 0 ? fd : -1);
    worker->question_open = false;
    questions_answered(&worker->questions, error);
    usec = now(worker);
    worker->started += usec - worker->paused_at;
    worker->last_record = usec;
    if (r < 0) {
        worker_kill(worker, r == -EPIPE ? -ECHILD : -EBADMSG);
        return r;
    }
    arm(worker);
    return 0;
}

void worker_pace(struct worker *worker, bool paused, uint64_t read_budget)
{
    struct wire_pace record = {.paused = paused, .read_budget = read_budget};

    if (!worker->busy || worker->cancelled || worker->kill_error != 0)
        return;
    if (wire_send(worker->socket, WIRE_PACE, &record, NULL, NULL, -1) < 0)
        worker_kill(worker, -ECHILD);
}

void worker_cancel(struct worker *worker)
{
    struct wire_empty record = {0};

    if (!worker->busy || worker->cancelled || worker->kill_error != 0)
        return;
    worker->cancelled = true;
    worker->kill_at = now(worker) + CANCEL_GRACE;
    if (wire_send(worker->socket, WIRE_CANCEL, &record, NULL, NULL, -1) < 0)
        worker_kill(worker, -ECANCELED);
    else
        arm(worker);
}
