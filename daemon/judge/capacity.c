/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of space: how full a datastore's file system is, when it will be, and how far the
 * images on it can grow. */
#include <errno.h>
#include <string.h>

#include "daemon/judge/internal.h"
#include "helpers/clock.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define SLOPE_SAMPLES 4
#define SLOPE_WINDOW (24 * 3600 * USEC_PER_SEC)

static const struct datastore *measured_of(const struct datastore *datastore)
{
    return datastore->space.measured ? datastore->space.measured : datastore;
}

static uint64_t growth_of(const struct datastore *datastore)
{
    return datastore->space.first ? datastore->space.growth : datastore->growth;
}

/* "; datastores b and c lie on the same file system", or nothing; malloc'd. datastores: "b and c"
 * in the evidence. */
static char *others_words(const struct datastore *datastore, struct evidence *evidence)
{
    const struct datastore_space *space = &datastore->space;
    char *words;

    if (!space->others)
        return strdup("");
    evidence_text(evidence, TEXT_DATASTORES, space->others);
    return asprintf(&words, "; datastore%s %s %s on the same file system",
                    space->n_others == 1 ? "" : "s", space->others,
                    space->n_others == 1 ? "lies" : "lie") < 0 ? NULL : words;
}

/* size-bytes, available-bytes, used-share, threshold-share, datastores */
static int judge_full(struct judging *judging, const struct datastore *datastore)
{
    const struct files_root *root = &measured_of(datastore)->root;
    uint64_t size = root->size, available = root->available, share, step;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ char *others = NULL;
    char words[TEXT_SIZE_MAX];
    enum severity severity;

    share = (uint64_t)((unsigned __int128)(size - available) * 10000 / size);
    if (!steps_reached(&judging->thresholds->datastore_full, share, &severity, &step))
        return 0;
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_SIZE_BYTES, size);
    evidence_number(&evidence, NUMBER_AVAILABLE_BYTES, available);
    evidence_number(&evidence, NUMBER_USED_SHARE, share);
    evidence_number(&evidence, NUMBER_THRESHOLD_SHARE, step);
    others = others_words(datastore, &evidence);
    if (!others)
        return -ENOMEM;
    return judging_add(judging, FINDING_DATASTORE_FULL, severity, share / 100, &evidence,
                       "is %u %% full, %s are left (limit: %u %%)%s", (unsigned)(share / 100),
                       text_size(available, words), (unsigned)(step / 100), others);
}

/* size-bytes, available-bytes, growth-bytes, share, threshold-share, datastores */
static int judge_overcommitted(struct judging *judging, const struct datastore *datastore)
{
    const struct files_root *root = &measured_of(datastore)->root;
    uint64_t size = root->size, available = root->available, growth = growth_of(datastore), share,
             step;
    unsigned __int128 worst = (unsigned __int128)(size - available) + growth;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ char *others = NULL;
    char words[TEXT_SIZE_MAX], room[TEXT_SIZE_MAX];
    enum severity severity;

    share = worst * 10000 / size > UINT64_MAX / 2 ? UINT64_MAX / 2
                                                  : (uint64_t)(worst * 10000 / size);
    if (growth <= available ||
        !steps_reached(&judging->thresholds->datastore_overcommitted, share, &severity, &step))
        return 0;
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_SIZE_BYTES, size);
    evidence_number(&evidence, NUMBER_AVAILABLE_BYTES, available);
    evidence_number(&evidence, NUMBER_GROWTH_BYTES, growth);
    evidence_number(&evidence, NUMBER_SHARE, share);
    evidence_number(&evidence, NUMBER_THRESHOLD_SHARE, step);
    others = others_words(datastore, &evidence);
    if (!others)
        return -ENOMEM;
    if (datastore->space.others)
        return judging_add(judging, FINDING_DATASTORE_OVERCOMMITTED, severity, share / 100,
                           &evidence,
                           "lies on a file system whose images can grow by %s, and %s are left%s",
                           text_size(growth, words), text_size(available, room), others);
    return judging_add(judging, FINDING_DATASTORE_OVERCOMMITTED, severity, share / 100, &evidence,
                       "holds images that can grow by %s, and %s are left",
                       text_size(growth, words),
                       text_size(available, room));
}

/* available-bytes, bytes-per-day, full-at, seconds-left, threshold-seconds, series [at, bytes],
 * datastores */
static int judge_time(struct judging *judging, const struct datastore *datastore)
{
    const struct thresholds *thresholds = judging->thresholds;
    const struct datastore *measured = measured_of(datastore);
    const struct series *series = &measured->available;
    uint64_t since = judging->now > SLOPE_WINDOW ? judging->now - SLOPE_WINDOW : 0, left, step;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ char *others = NULL;
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
    seconds = (double)measured->root.available / -slope;
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
    evidence_number(&evidence, NUMBER_AVAILABLE_BYTES, measured->root.available);
    evidence_number(&evidence, NUMBER_BYTES_PER_DAY, (uint64_t)(-slope * 86400));
    evidence_number(&evidence, NUMBER_FULL_AT, judging->now + left);
    evidence_number(&evidence, NUMBER_LEFT_SECONDS, left / USEC_PER_SEC);
    evidence_number(&evidence, NUMBER_THRESHOLD_SECONDS, step / USEC_PER_SEC);
    evidence_series(&evidence, PART_SERIES, series);
    others = others_words(datastore, &evidence);
    if (!others)
        return -ENOMEM;
    return judging_add(judging, FINDING_TIME_TO_FULL, severity, 1, &evidence,
                       "will be full in %s: it lost %s a day lately%s", text_duration(left, words),
                       text_size((uint64_t)(-slope * 86400), rate), others);
}

int judge_capacity(struct judging *judging, const struct datastore *datastore)
{
    const struct files_root *root = &measured_of(datastore)->root;
    int r;

    if (root->size == 0 || root->available > root->size)
        return 0;
    judging_looked(judging, FINDING_DATASTORE_FULL);
    judging_looked(judging, FINDING_DATASTORE_OVERCOMMITTED);
    judging_looked(judging, FINDING_TIME_TO_FULL);
    if (datastore->space.first && datastore->space.first != datastore)
        return 0;               /* that one's findings tell of the file system, once for all */
    r = judge_full(judging, datastore);
    if (r >= 0)
        r = judge_overcommitted(judging, datastore);
    return r < 0 ? r : judge_time(judging, datastore);
}
