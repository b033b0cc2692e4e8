/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Scrubs: audits that read all data. What they ask of a worker, how fast they may read, and what
 * came of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/audit-internal.h"
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

/* What one scrub may read: its share of what all scrubs may, and of what all workers may. */
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

/* One reader per device: a scrub gives way to the audit of another image. */
static bool device_is_audited(const struct audits *audits, uint64_t device)
{
    for (const struct job *job = audits->jobs; job; job = job->next)
        if (!job->resolve_only && !job->scrub && job->image->device == device)
            return true;
    return false;
}

void scrubs_pace(struct audits *audits)
{
    uint64_t budget = scrub_budget(audits);

    for (struct job *job = audits->jobs; job && audits->n_scrubbing > 0; job = job->next) {
        bool waits;

        if (!job->scrub)
            continue;
        waits = audits->scrubs_paused || device_is_audited(audits, job->image->device);
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
    for (const struct job *job = audits->jobs; job; job = job->next) {
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
