/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of what an image needs besides its tables so that data can be read: compressed data
 * that inflates, a LUKS header that a key can open. */
#include "daemon/judge/internal.h"

#include "lib/cleanup.h"

static bool issue_is_of_compressed(const struct judging *judging, const struct qca_issue *issue)
{
    return issue->kind == QCA_ISSUE_COMPRESSED_BAD || issue->kind == QCA_ISSUE_COMPRESSED_OVERLAP;
}

/* clusters, overlapping, issues, issues-omitted */
int judge_compressed(struct judging *judging)
{
    const struct qca_check_result *check = &judging->layer->check;
    uint64_t bad = qca_check_count(check, QCA_ISSUE_COMPRESSED_BAD);
    uint64_t overlapping = qca_check_count(check, QCA_ISSUE_COMPRESSED_OVERLAP);
    uint64_t n = bad + overlapping;
    const struct qca_issue *first = issue_first(judging, issue_is_of_compressed);
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };

    if (n == 0)
        return 0;
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_CLUSTERS, bad);
    evidence_number(&evidence, NUMBER_OVERLAPPING, overlapping);
    evidence_issues(&evidence, judging, issue_is_of_compressed);
    if (first && first->guest_offset != QCA_NO_OFFSET)
        return judging_add(judging, FINDING_COMPRESSED_CLUSTER_BAD, SEVERITY_CRITICAL, n, &evidence,
                           "has %llu compressed cluster%s that cannot be read, first at byte %llu "
                           "of the guest's disk",
                           (unsigned long long)n, n == 1 ? "" : "s",
                           (unsigned long long)first->guest_offset);
    return judging_add(judging, FINDING_COMPRESSED_CLUSTER_BAD, SEVERITY_CRITICAL, n, &evidence,
                       "has %llu compressed cluster%s that cannot be read", (unsigned long long)n,
                       n == 1 ? "" : "s");
}

static bool issue_is_of_encryption(const struct judging *judging, const struct qca_issue *issue)
{
    return issue->kind == QCA_ISSUE_LUKS_HEADER_INVALID ||
           issue->kind == QCA_ISSUE_LUKS_SLOT_INVALID || issue->kind == QCA_ISSUE_LUKS_SLOTS_EMPTY;
}

/* issues, issues-omitted */
int judge_encryption(struct judging *judging)
{
    const struct qca_issue *first = issue_first(judging, issue_is_of_encryption);
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };

    if (!first)
        return 0;
    evidence = evidence_new();
    evidence_issues(&evidence, judging, issue_is_of_encryption);
    return judging_add(judging, FINDING_HEADER_INVALID, SEVERITY_ERROR, 1, &evidence,
                       "has an encryption header that QEMU refuses: %s",
                       qca_issue_kind_text(first->kind));
}
