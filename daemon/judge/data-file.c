/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of external data files: that there is one, who else has it, and whether all is in it
 * that the image refers to. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/judge/internal.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define USERS_MAX 5             /* that are named */

/* ---- a file that is too short ---------------------------------------------------------------- */

/* The data file, where its size is known. */
static const struct image *data_file_of(const struct judging *judging)
{
    const struct reference *reference = &judging->image->data_file;
    const struct image *data = reference->state == REFERENCE_FOUND
                                   ? graph_find_identity(judging->graph, &reference->identity)
                                   : NULL;

    return data && data != judging->image && data->present && S_ISREG(data->fingerprint.mode)
               ? data : NULL;
}

static bool data_file_is_raw(const struct qca_image_info *info)
{
    return info->autoclear_features & QCA_AUTOCLEAR_DATA_FILE_RAW;
}

static bool has_data_file(const struct qca_image_info *info)
{
    return info->incompatible_features & QCA_INCOMPAT_DATA_FILE;
}

static bool issue_is_missing_data(const struct judging *judging, const struct qca_issue *issue)
{
    return issue->kind == QCA_ISSUE_DATA_FILE_END && issue->host_offset != QCA_NO_OFFSET;
}

/* Was it written after the audit looked at it? Then the image is audited again in a moment. */
static bool is_newer_than_audit(const struct judging *judging, const struct image *data)
{
    int64_t written = data->fingerprint.mtime / 1000;

    return written > (int64_t)judging->image->audit->started && written <= (int64_t)judging->now;
}

/* One entry that leads far away is a damaged pointer; a file was cut when what is missing begins
 * where it ends, or when each guest's offset is the file's, so that no pointer can be wrong. */
static bool ends_too_early(const struct judging *judging, const struct image *data,
                           struct data_cut *cut)
{
    const struct qca_check_result *check = &judging->layer->check;
    uint64_t cluster = judging->layer->info.cluster_size, lowest = UINT64_MAX, n = 0;
    bool in_place = data_file_is_raw(&judging->layer->info);

    if (cluster == 0)
        cluster = 1;
    for (size_t i = 0; i < check->n_issues; i++) {
        const struct qca_issue *issue = &check->issues[i];
        uint64_t end;

        if (!issue_is_missing_data(judging, issue))
            continue;
        if (__builtin_add_overflow(issue->host_offset, issue->host_length, &end))
            end = UINT64_MAX;
        n += issue->count;
        in_place &= issue->host_offset == issue->guest_offset;
        if (issue->host_offset < lowest)
            lowest = issue->host_offset;
        if (end > cut->needed)
            cut->needed = end;
    }
    if (n == 0)
        return false;
    if (in_place)
        return true;
    if (data && data->fingerprint.size <= lowest &&
        (lowest - data->fingerprint.size) / cluster <= 16)
        return true;
    return n >= 16 && (cut->needed - lowest) / cluster <= 4 * n;
}

/* Emptied, whatever the check saw of it. */
static bool is_empty(const struct judging *judging, const struct image *data)
{
    return data && data->fingerprint.size == 0 && judging->layer->checked &&
           judging->layer->check.allocated_clusters > 0;
}

void data_file_look(struct judging *judging, bool unstable)
{
    const struct qca_image_info *info = &judging->layer->info;
    struct data_cut *cut = &judging->data_cut;
    const struct image *data;

    if (!has_data_file(info) || judging->thresholds->disabled[FINDING_DATA_FILE])
        return;
    /* The end that the audit saw was another file's, which is not there any more. */
    if (judging->image->data_file.state != REFERENCE_FOUND) {
        cut->clusters = qca_check_count(&judging->layer->check, QCA_ISSUE_DATA_FILE_END);
        return;
    }
    data = data_file_of(judging);
    cut->known = data;
    cut->size = data ? data->fingerprint.size : 0;
    if (!unstable && judging->layer->checked && ends_too_early(judging, data, cut)) {
        cut->clusters = qca_check_count(&judging->layer->check, QCA_ISSUE_DATA_FILE_END);
        return;
    }
    cut->needed = 0;
    if (!data || is_newer_than_audit(judging, data))
        return;
    if (!unstable && is_empty(judging, data)) {
        cut->clusters = judging->layer->check.allocated_clusters;
        cut->needed = cut->clusters * info->cluster_size;
    } else if (data_file_is_raw(info) && cut->size < info->virtual_size) {
        cut->needed = info->virtual_size;
    }
}

/* data-size, needed-size, missing-clusters, issues, issues-omitted */
static int add_cut(struct judging *judging, struct evidence *evidence, const char *stored)
{
    const struct data_cut *cut = &judging->data_cut;
    char is[TEXT_SIZE_MAX], needs[TEXT_SIZE_MAX];

    text_size(cut->size, is);
    text_size(cut->needed, needs);
    if (strcmp(is, needs) == 0) {       /* rounded: it takes the bytes to tell them apart */
        snprintf(is, sizeof(is), "%" PRIu64, cut->size);
        snprintf(needs, sizeof(needs), "%" PRIu64 " bytes", cut->needed);
    }
    if (cut->known)
        evidence_number(evidence, NUMBER_DATA_SIZE, cut->size);
    evidence_number(evidence, NUMBER_NEEDED_SIZE, cut->needed);
    evidence_number(evidence, NUMBER_MISSING_CLUSTERS, cut->clusters);
    if (cut->clusters > 0)
        evidence_issues(evidence, judging, issue_is_missing_data);
    if (cut->clusters == 0)
        return judging_add(judging, FINDING_DATA_FILE, SEVERITY_ERROR, 2, evidence,
                           "keeps its data in a file that is shorter than its disk: %s has %s, "
                           "the disk %s", stored, is, needs);
    return judging_add(judging, FINDING_DATA_FILE, SEVERITY_CRITICAL, 2, evidence,
                       "keeps its data in a file that was cut off: %s has %s, the image refers to "
                       "data up to %s", stored, cut->known ? is : "less", needs);
}

/* ---- data-file ------------------------------------------------------------------------------- */

/* also-of (paths of other images), also-of-omitted: each write to one of them is damage to the
 * others. */
static size_t evidence_data_file_users(struct evidence *evidence, const struct judging *judging)
{
    struct image *users[USERS_MAX];
    size_t n = graph_data_file_users(judging->graph, judging->image, users, USERS_MAX);
    _cleanup_evidence_ struct evidence list = { .object = NULL };

    if (n == 0)
        return 0;
    list = evidence_new_list();
    for (size_t i = 0; i < n && i < USERS_MAX; i++) {
        struct evidence user = evidence_new();

        evidence_text(&user, TEXT_PATH, users[i]->path);
        evidence_append(&list, &user);
    }
    evidence_value(evidence, PART_ALSO_OF, &list);
    if (n > USERS_MAX)
        evidence_number(evidence, NUMBER_ALSO_OF_OMITTED, n - USERS_MAX);
    return n;
}

/* reference, stored, path, errno, error, state; where others have it, too, also-of,
 * also-of-omitted */
int judge_data_file(struct judging *judging)
{
    const struct image *image = judging->image;
    const struct qca_image_info *info = &judging->layer->info;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ char *stored = NULL;
    bool missing = image->data_file.state == REFERENCE_MISSING;
    size_t n_users;
    enum severity severity = judging->thresholds->data_file;

    if (image->data_file.state == REFERENCE_NONE && !info->data_file && !has_data_file(info))
        return 0;
    stored = text_escape_string(image->data_file.stored ? image->data_file.stored
                                                        : info->data_file);
    if (!stored)
        return -ENOMEM;
    evidence = evidence_new();
    evidence_reference(&evidence, &image->data_file, "data-file");
    evidence_text(&evidence, TEXT_STATE, reference_state_name(image->data_file.state));
    n_users = evidence_data_file_users(&evidence, judging);
    if ((missing || n_users > 0) && severity < SEVERITY_ERROR)
        severity = SEVERITY_ERROR;
    if (image->data_file.state == REFERENCE_FOUND &&
        identity_equal(&image->data_file.identity, &image->identity))
        return judging_add(judging, FINDING_DATA_FILE, SEVERITY_ERROR, 2, &evidence,
                           "names itself as its data file: the guest writes over its metadata");
    if (judging->data_cut.needed > 0)
        return add_cut(judging, &evidence, stored);
    if (n_users > 0)
        return judging_add(judging, FINDING_DATA_FILE, severity, 1 + n_users, &evidence,
                           "keeps its data in a file that %zu other image%s, too: %s", n_users,
                           n_users == 1 ? " has" : "s have", stored);
    return judging_add(judging, FINDING_DATA_FILE, severity, 1, &evidence, "%s: %s",
                       missing ? "keeps its data in a file that is missing"
                               : "keeps its data in another file",
                       stored[0] ? stored : "not named in the image");
}
