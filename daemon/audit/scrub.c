/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Scrubs: audits that read all data. What they ask of a worker, how fast they may read, and what
 * came of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/audit/internal.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define RATE_INTERVAL USEC_PER_SEC
/* A worker that tells of its progress may take as long as the largest image needs. */
#define TOTAL_DEADLINE (UINT64_C(10) * 365 * 86400 * USEC_PER_SEC)

static uint64_t monotonic(const struct audits *audits)
{
    uint64_t now = 0;

    (void) sd_event_now(audits->event, CLOCK_MONOTONIC, &now);  /* fails for a wrong clock only */
    return now;
}

static uint64_t wall_clock(const struct audits *audits)
{
    uint64_t now = 0;

    (void) sd_event_now(audits->event, CLOCK_REALTIME, &now);
    return now;
}

static void on_progress(void *userdata, uint64_t done, uint64_t total)
{
    struct job *job = userdata;
    struct scrub_state *state = &job->state;
    uint64_t now = monotonic(job->audits), elapsed = now - state->measured_at;

    if (total != state->total) {
        state->measured_at = now;
        state->measured_done = done;
        state->rate = 0;
    } else if (elapsed >= RATE_INTERVAL && done >= state->measured_done) {
        uint64_t lately = (uint64_t)((double)(done - state->measured_done) * USEC_PER_SEC /
                                     (double)elapsed);

        state->rate = state->rate ? (3 * state->rate + lately) / 4 : lately;
        state->measured_at = now;
        state->measured_done = done;
    }
    state->done = done;
    state->total = total;
}

static void on_blocks(void *userdata, uint64_t first, uint64_t n, const uint8_t (*digests)[32],
                      bool unallocated)
{
    struct job *job = userdata;
    const struct audits_options *o = &job->audits->options;

    if (o->blocks)
        o->blocks(o->userdata, job->image, first, n, digests, unallocated);
}

static uint64_t share_of(uint64_t budget, size_t n)
{
    return budget ? budget / (n ? n : 1) + 1 : 0;
}

/* The rate of one scrub: its share of the rate of all scrubs, and of that of all workers. */
static uint64_t scrub_budget(const struct audits *audits)
{
    uint64_t scrubs = share_of(audits->options.scrub_budget, audits->n_scrubbing);
    uint64_t all = share_of(audits->options.read_budget, audits->options.workers);

    return scrubs == 0 || (all > 0 && all < scrubs) ? all : scrubs;
}

void scrub_request(struct job *job, const struct files_stat *stat, struct worker_request *request)
{
    const struct audits_options *o = &job->audits->options;
    struct audit *audit = job->audit;

    job->state.measured_at = monotonic(job->audits);
    /* A disk that is being written has no content to speak of. */
    if (audit->use == FILES_WRITER)
        return;
    audit->digest = calloc(1, sizeof(*audit->digest));
    if (!audit->digest)
        return;                 /* an audit without, and it is tried again */
    audit->digest->started = wall_clock(job->audits);
    audit->digest->resumed_from = o->blocks_begin ? o->blocks_begin(o->userdata, job->image, audit)
                                                  : 0;
    request->flags |= WORKER_LAYER_DIGEST | WORKER_BLOCK_DIGESTS | WORKER_DIRECT;
    request->alignment = stat->alignment;
    request->first_block = audit->digest->resumed_from;
    request->read_budget = job->state.budget = scrub_budget(job->audits);
    job->state.waits = false;
    request->total_deadline_usec = TOTAL_DEADLINE;
    request->progress = on_progress;
    request->blocks = on_blocks;
}

int scrub_take_digest(struct job *job)
{
    struct audit_report *report = job->audit->report;
    _cleanup_free_ struct qca_content_digest *content = TAKE_PTR(report->content_digest);
    struct digest_result *digest = job->audit->digest;

    if (!digest)
        return 0;
    if (!content) {
        job->audit->digest = digest_result_free(digest);
        return 0;
    }
    digest->complete = content->complete;
    memcpy(digest->digest, content->digest, sizeof(digest->digest));
    digest->encrypted = report->n_layers > 0 && layer_is_opaque(&report->layers[0]);
    digest->size = content->size;
    digest->read_bytes = content->data_bytes + content->compressed_bytes;
    digest->zero_bytes = content->zero_bytes;
    digest->unallocated_bytes = content->unallocated_bytes;
    digest->bad_bytes = content->bad_bytes;
    digest->direct = report->reading == REPORT_READING_DIRECT;
    digest->finished = wall_clock(job->audits);
    if (content->n_bad > 0) {
        digest->bad = reallocarray(NULL, content->n_bad, sizeof(*digest->bad));
        if (!digest->bad)
            return -ENOMEM;
        memcpy(digest->bad, content->bad, content->n_bad * sizeof(*digest->bad));
        digest->n_bad = content->n_bad;
    }
    return 0;
}

/* One reader per device: a scrub gives way to the audit of another image, for some time. */
static bool device_is_audited(const struct audits *audits, uint64_t device)
{
    const struct job *job;

    LIST_FOREACH(job, &audits->jobs, link)
        if (!job->resolve_only && !job->scrub && job->image->device == device)
            return true;
    return false;
}

static struct turn *turn_find(const struct audits *audits, uint64_t device)
{
    for (size_t i = 0; i < audits->n_turns; i++)
        if (audits->turns[i].device == device)
            return &audits->turns[i];
    return NULL;
}

/* Without memory its scrubs wait while there are audits. */
static void turn_add(struct audits *audits, uint64_t device)
{
    struct turn *turns = reallocarray(audits->turns, audits->n_turns + 1, sizeof(*turns));

    if (!turns)
        return;
    audits->turns = turns;
    turns[audits->n_turns++] = (struct turn){ .device = device };
}

static bool device_is_scrubbed(const struct audits *audits, uint64_t device)
{
    const struct job *job;

    LIST_FOREACH(job, &audits->jobs, link)
        if (job->scrub && job->image->device == device)
            return true;
    return false;
}

static int on_turn(sd_event_source *source, uint64_t usec, void *userdata)
{
    scrubs_pace(userdata);
    return 0;
}

static void turns_take(struct audits *audits)
{
    uint64_t now = monotonic(audits), least = UINT64_MAX, wait;
    int r = 0;

    for (size_t i = 0; i < audits->n_turns; i++) {
        struct turn *turn = &audits->turns[i];

        (void) turn_take(turn,
                         !audits->scrubs_paused && device_is_scrubbed(audits, turn->device),
                         device_is_audited(audits, turn->device), audits->options.delay, now,
                         &wait);
        least = wait < least ? wait : least;
    }
    if (least == UINT64_MAX)
        return;
    if (!audits->turn_timer)
        r = sd_event_add_time(audits->event, &audits->turn_timer, CLOCK_MONOTONIC, now + least,
                              0, on_turn, audits);
    if (r >= 0)
        r = sd_event_source_set_time(audits->turn_timer, now + least);
    /* Without it, the next audit that begins or ends sees to it. */
    if (r >= 0)
        (void) sd_event_source_set_enabled(audits->turn_timer, SD_EVENT_ONESHOT);
}

static bool scrub_must_wait(struct audits *audits, uint64_t device)
{
    const struct turn *turn = turn_find(audits, device);

    return audits->scrubs_paused ||
           (turn ? turn->state == TURN_WAITS : device_is_audited(audits, device));
}

void scrubs_pace(struct audits *audits)
{
    uint64_t budget = scrub_budget(audits);
    struct job *job;

    if (audits->n_scrubbing == 0) {
        turns_take(audits);
        return;
    }
    LIST_FOREACH(job, &audits->jobs, link)
        if (job->scrub && !turn_find(audits, job->image->device) &&
            device_is_audited(audits, job->image->device))
            turn_add(audits, job->image->device);
    turns_take(audits);
    LIST_FOREACH(job, &audits->jobs, link) {
        bool waits;

        if (!job->scrub)
            continue;
        waits = scrub_must_wait(audits, job->image->device);
        if (job->slot && (waits != job->state.waits || budget != job->state.budget)) {
            worker_pace(job->slot->worker, waits, budget);
            job->state.budget = budget;
        }
        job->state.waits = waits;
    }
}

void audits_pause_scrubs(struct audits *audits, bool pause)
{
    if (audits->scrubs_paused == pause)
        return;
    audits->scrubs_paused = pause;
    scrubs_pace(audits);
}

bool audits_scrub(const struct audits *audits, size_t index, struct scrub_progress *ret_progress)
{
    const struct job *job;

    LIST_FOREACH(job, &audits->jobs, link) {
        if (!job->scrub || index-- > 0)
            continue;
        *ret_progress = (struct scrub_progress){
            .image = job->image, .started = job->audit->started, .done = job->state.done,
            .total = job->state.total,
            .rate = job->state.waits ? 0 : job->state.rate, .waits = job->state.waits,
        };
        return true;
    }
    return false;
}
