/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of space: how full a datastore is, when it will be, and how far its images can grow. */
#include <errno.h>
#include <string.h>

#include "daemon/judge-internal.h"
#include "helpers/text.h"

#define SLOPE_SAMPLES 4
#define SLOPE_WINDOW (24 * 3600 * USEC_PER_SEC)

/* size-bytes, available-bytes, used-share, threshold-share */
static int judge_full(struct judging *judging, const struct datastore *datastore)
{
    uint64_t size = datastore->root.size, available = datastore->root.available, share, step;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    char words[TEXT_SIZE_MAX];
    enum severity severity;

    share = (uint64_t)((unsigned __int128)(size - available) * 10000 / size);
    if (!steps_reached(&judging->thresholds->datastore_full, share, &severity, &step))
        return 0;
    evidence = evidence_new();
    evidence_number(&evidence, "size-bytes", size);
    evidence_number(&evidence, "available-bytes", available);
    evidence_number(&evidence, "used-share", share);
    evidence_number(&evidence, "threshold-share", step);
    return judging_add(judging, FINDING_DATASTORE_FULL, severity, share / 100, &evidence,
                       "is %u %% full, %s are left (%s from %u %%)", (unsigned)(share / 100),
                       text_size(available, words), severity_name(severity),
                       (unsigned)(step / 100));
}

/* size-bytes, available-bytes, growth-bytes, share, threshold-share */
static int judge_overcommitted(struct judging *judging, const struct datastore *datastore)
{
    uint64_t size = datastore->root.size, available = datastore->root.available, share, step;
    unsigned __int128 worst = (unsigned __int128)(size - available) + datastore->growth;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    char words[TEXT_SIZE_MAX], room[TEXT_SIZE_MAX];
    enum severity severity;

    share = worst * 10000 / size > UINT64_MAX / 2 ? UINT64_MAX / 2
                                                  : (uint64_t)(worst * 10000 / size);
    if (datastore->growth <= available ||
        !steps_reached(&judging->thresholds->datastore_overcommitted, share, &severity, &step))
        return 0;
    evidence = evidence_new();
    evidence_number(&evidence, "size-bytes", size);
    evidence_number(&evidence, "available-bytes", available);
    evidence_number(&evidence, "growth-bytes", datastore->growth);
    evidence_number(&evidence, "share", share);
    evidence_number(&evidence, "threshold-share", step);
    return judging_add(judging, FINDING_DATASTORE_OVERCOMMITTED, severity, share / 100, &evidence,
                       "holds images that can grow by %s, and %s are left",
                       text_size(datastore->growth, words),
                       text_size(available, room));
}

/* available-bytes, bytes-per-day, full-at, seconds-left, threshold-seconds, series [at, bytes] */
static int judge_time(struct judging *judging, const struct datastore *datastore)
{
    const struct thresholds *thresholds = judging->thresholds;
    const struct series *series = &datastore->available;
    uint64_t since = judging->now > SLOPE_WINDOW ? judging->now - SLOPE_WINDOW : 0, left, step;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    char words[TEXT_DURATION_MAX], rate[TEXT_SIZE_MAX];
    enum severity severity;
    double slope, seconds;
    unsigned first = 0;

    while (first < series->n && series->samples[first].at < since)
        first++;
    if (series->n - first < 2 ||
        series->samples[series->n - 1].at - series->samples[first].at < thresholds->full_span) {
        judging->judgement->judged[FINDING_TIME_TO_FULL] = false;
        return 0;
    }
    if (!series_slope(series, since, SLOPE_SAMPLES, &slope) || slope >= -1)
        return 0;
    seconds = (double)datastore->root.available / -slope;
    left = seconds > 1e12 ? UINT64_MAX : (uint64_t)(seconds * (double)USEC_PER_SEC);
    if (thresholds->full_late != UINT64_MAX && left <= thresholds->full_late) {
        severity = SEVERITY_CRITICAL;
        step = thresholds->full_late;
    } else if (thresholds->full_early != UINT64_MAX && left <= thresholds->full_early) {
        severity = SEVERITY_WARNING;
        step = thresholds->full_early;
    } else {
        return 0;
    }
    evidence = evidence_new();
    evidence_number(&evidence, "available-bytes", datastore->root.available);
    evidence_number(&evidence, "bytes-per-day", (uint64_t)(-slope * 86400));
    evidence_number(&evidence, "full-at", judging->now + left);
    evidence_number(&evidence, "left-seconds", left / USEC_PER_SEC);
    evidence_number(&evidence, "threshold-seconds", step / USEC_PER_SEC);
    evidence_series(&evidence, "series", series);
    return judging_add(judging, FINDING_TIME_TO_FULL, severity, 1, &evidence,
                       "will be full in %s: it lost %s a day lately", text_duration(left, words),
                       text_size((uint64_t)(-slope * 86400), rate));
}

int judge_capacity(struct judging *judging, const struct datastore *datastore)
{
    int r;

    if (datastore->root.size == 0 || datastore->root.available > datastore->root.size)
        return 0;
    judging_looked(judging, FINDING_DATASTORE_FULL);
    judging_looked(judging, FINDING_DATASTORE_OVERCOMMITTED);
    judging_looked(judging, FINDING_TIME_TO_FULL);
    r = judge_full(judging, datastore);
    if (r >= 0)
        r = judge_overcommitted(judging, datastore);
    return r < 0 ? r : judge_time(judging, datastore);
}
