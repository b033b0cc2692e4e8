/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of files that end too early: tables refer to what lies behind the end, or a raw disk, a
 * medium or an archive says itself where it ends. */
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "daemon/judge/internal.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

bool issue_is_beyond_end(const struct judging *judging, const struct qca_issue *issue)
{
    return (issue->kind == QCA_ISSUE_OUT_OF_FILE ||
            issue->kind == QCA_ISSUE_REFTABLE_OUT_OF_FILE ||
            issue->kind == QCA_ISSUE_LAST_CLUSTER_CUT ||
            issue->kind == QCA_ISSUE_BLOCK_OUT_OF_FILE ||
            issue->kind == QCA_ISSUE_TABLE_OUT_OF_FILE) &&
           issue->host_offset != QCA_NO_OFFSET;
}

uint64_t references_beyond_end(const struct qca_check_result *check)
{
    return qca_check_count(check, QCA_ISSUE_OUT_OF_FILE) +
           qca_check_count(check, QCA_ISSUE_REFTABLE_OUT_OF_FILE);
}

/* file-size, needed-size, missing-references, corruptions, check-errors, leaks, issues,
 * issues-omitted. A single pointer to somewhere far away is damage of that pointer; a file was cut
 * off when what is missing begins right where it ends. */
static int judge_tables(struct judging *judging)
{
    const struct qca_check_result *check = &judging->layer->check;
    uint64_t size = judging->layer->info.file_size, cluster = judging->layer->info.cluster_size;
    uint64_t lowest = UINT64_MAX, highest = 0, n = 0;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    char is[TEXT_SIZE_MAX], needs[TEXT_SIZE_MAX];

    for (size_t i = 0; i < check->n_issues; i++) {
        const struct qca_issue *issue = &check->issues[i];
        uint64_t end;

        if (!issue_is_beyond_end(judging, issue))
            continue;
        if (__builtin_add_overflow(issue->host_offset, issue->host_length, &end))
            end = UINT64_MAX;
        n += issue->count;
        if (issue->host_offset < lowest)
            lowest = issue->host_offset;
        if (end > highest)
            highest = end;
    }
    /* Next to the end, or so dense that they were written one after another. */
    if (n == 0 || (lowest > size && (lowest - size) / (cluster ? cluster : 1) > 16 &&
                   (n < 16 || (highest - lowest) / (cluster ? cluster : 1) > 4 * n)))
        return 0;
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_FILE_SIZE, size);
    evidence_number(&evidence, NUMBER_NEEDED_SIZE, highest);
    evidence_number(&evidence, NUMBER_MISSING_REFERENCES, references_beyond_end(check) +
                        qca_check_count(check, QCA_ISSUE_LAST_CLUSTER_CUT));
    evidence_number(&evidence, NUMBER_CORRUPTIONS, check->corruptions);
    evidence_number(&evidence, NUMBER_CHECK_ERRORS, check->check_errors);
    evidence_number(&evidence, NUMBER_LEAKS, check->leaks);
    evidence_issues(&evidence, judging, issue_is_beyond_end);
    judging->truncated = !judging->thresholds->disabled[FINDING_IMAGE_TRUNCATED];
    if (is_abandoned_part(judging))
        return judging_add(judging, FINDING_IMAGE_TRUNCATED, SEVERITY_WARNING, 1, &evidence,
                           "is an upload that was not finished: the file has %s, its metadata "
                           "refers to data up to %s",
                           text_size(size, is), text_size(highest, needs));
    return judging_add(judging, FINDING_IMAGE_TRUNCATED, SEVERITY_CRITICAL, 1, &evidence,
                       "is cut off: the file has %s, its metadata refers to data up to %s",
                       text_size(size, is), text_size(highest, needs));
}

static bool issue_is_proven_cut(const struct judging *judging, const struct qca_issue *issue)
{
    return issue_kind_is_proven_cut(issue->kind);
}

static const char *says_where_it_ends(enum qca_issue_kind kind)
{
    switch (kind) {
    case QCA_ISSUE_GPT_BACKUP_OUT_OF_FILE: return "the partition table on it says that it has";
    case QCA_ISSUE_VOLUME_OUT_OF_FILE: return "the ISO 9660 volume in it has";
    case QCA_ISSUE_LUKS_DATA_OUT_OF_FILE: return "its LUKS header says that it has at least";
    default: return "a file in the archive ends at";
    }
}

/* A piece of a disk, whose partition table may be that of all of it: VMDK's extents, also by the
 * name that its tools give to one of several flat ones, and qcow2's data files, in which clusters
 * lie in any order. */
static bool is_piece_of_disk(const struct judging *judging)
{
    return graph_is_data_file(judging->graph, judging->image) ||
           fnmatch("*-f[0-9][0-9][0-9].vmdk", judging->image->path, 0) == 0;
}

/* file-size, needed-size, issues, issues-omitted: of what is not an image of clusters. */
static int judge_cut(struct judging *judging)
{
    const struct qca_issue *first = issue_first(judging, issue_is_proven_cut);
    uint64_t size = judging->layer->info.file_size, needed;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    bool part = is_abandoned_part(judging);
    char is[TEXT_SIZE_MAX], needs[TEXT_SIZE_MAX];

    if (!first || is_piece_of_disk(judging))
        return 0;
    if (__builtin_add_overflow(first->host_offset, first->host_length, &needed))
        needed = UINT64_MAX;
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_FILE_SIZE, size);
    evidence_number(&evidence, NUMBER_NEEDED_SIZE, needed);
    evidence_issues(&evidence, judging, issue_is_proven_cut);
    judging->truncated = !judging->thresholds->disabled[FINDING_IMAGE_TRUNCATED];
    return judging_add(judging, FINDING_IMAGE_TRUNCATED,
                       part ? SEVERITY_WARNING : SEVERITY_CRITICAL, 1, &evidence,
                       "%s: the file has %s, %s %s",
                       part ? "is an upload that was not finished" : "is cut off",
                       text_size(size, is), says_where_it_ends(first->kind),
                       text_size(needed, needs));
}

int judge_truncation(struct judging *judging)
{
    int r = judge_tables(judging);

    return r < 0 ? r : judge_cut(judging);
}
