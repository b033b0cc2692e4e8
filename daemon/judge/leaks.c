/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of leaks: space that is merely lost, or the trace of a table that is. */
#include "daemon/judge/internal.h"

#include <errno.h>
#include <string.h>

#include "helpers/text.h"
#include "lib/cleanup.h"

/* The last audit's leaks, where it could tell. */
static bool leaks_before(const struct judging *judging, uint64_t *ret_leaks)
{
    const struct audit *last = judging->last;
    const struct layer_report *layer = audit_layer(last);

    if (!layer || last->use == FILES_WRITER || last->confidence < CONFIDENCE_FROZEN ||
        !layer->checked || !layer->check.finished)
        return false;
    *ret_leaks = layer->check.leaks;
    return true;
}

static bool issue_is_leak(const struct judging *judging, const struct qca_issue *issue)
{
    return qca_issue_kind_counter(issue->kind) == QCA_COUNTER_LEAK;
}

/* leaks, leaked-bytes, runs, leaks-before; burst: burst-leaks, burst-offset, burst-end-offset;
 * else share (of 10,000), corruptions; issues, issues-omitted */
int judge_leaks(struct judging *judging)
{
    const struct qca_check_result *check = &judging->layer->check;
    const struct thresholds *t = judging->thresholds;
    uint64_t cluster = judging->layer->info.cluster_size, bytes, share, clusters, before = 0;
    bool known, burst, grown, is_large;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    char size[TEXT_SIZE_MAX];

    if (check->leaks == 0)
        return 0;
    known = leaks_before(judging, &before);
    burst = check->burst_leaks >= t->burst_leaks;
    grown = known && check->leaks >= t->burst_leaks && check->leaks / t->burst_factor >= before;
    if (__builtin_mul_overflow(check->leaks, cluster, &bytes))
        bytes = UINT64_MAX;
    clusters = cluster > 0 ? (judging->layer->info.file_size + cluster - 1) / cluster : 0;
    share = clusters > 0 ? (uint64_t)((__uint128_t)check->leaks * 10000 / clusters) : 10000;

    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_LEAKS, check->leaks);
    evidence_number(&evidence, NUMBER_LEAKED_BYTES, bytes);
    evidence_number(&evidence, NUMBER_RUNS, check->leak_runs);
    if (known)
        evidence_number(&evidence, NUMBER_LEAKS_BEFORE, before);
    if (burst || (grown && !t->disabled[FINDING_LEAK_BURST])) {
        /* Then they are no leaks to be freed: clusters-leaked gives way, with its remedy. */
        evidence_number(&evidence, NUMBER_BURST_LEAKS, check->burst_leaks);
        if (check->burst_offset != QCA_NO_OFFSET) {
            evidence_number(&evidence, NUMBER_BURST_OFFSET, check->burst_offset);
            evidence_number(&evidence, NUMBER_BURST_END_OFFSET, check->burst_end);
        }
        evidence_issues(&evidence, judging, issue_is_leak);
        if (burst)
            return judging_add(
                judging, FINDING_LEAK_BURST, SEVERITY_CRITICAL, check->leaks, &evidence,
                "has %llu leaked cluster%s close together, at bytes %llu to %llu of the file",
                (unsigned long long)check->burst_leaks, check->burst_leaks == 1 ? "" : "s",
                (unsigned long long)check->burst_offset,
                (unsigned long long)check->burst_end);
        return judging_add(judging, FINDING_LEAK_BURST, SEVERITY_CRITICAL, check->leaks, &evidence,
                           "has %llu leaked cluster%s, %llu at the audit before",
                           (unsigned long long)check->leaks, check->leaks == 1 ? "" : "s",
                           (unsigned long long)before);
    }
    is_large = bytes >= t->leaks_bytes || share >= t->leaks_share;
    evidence_number(&evidence, NUMBER_SHARE, share);
    evidence_number(&evidence, NUMBER_CORRUPTIONS, check->corruptions);
    evidence_issues(&evidence, judging, issue_is_leak);
    return judging_add(judging, FINDING_CLUSTERS_LEAKED,
                       is_large ? SEVERITY_WARNING : SEVERITY_INFO, check->leaks, &evidence,
                       "has %llu leaked cluster%s (%s)", (unsigned long long)check->leaks,
                       check->leaks == 1 ? "" : "s", text_size(bytes, size));
}
