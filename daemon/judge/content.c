/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of content: what the audit of an image says of its header, tables and clusters, and
 * of the audit itself. */
#include "daemon/judge/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "helpers/text.h"
#include "lib/cleanup.h"

#define ISSUES_MAX 100          /* issues in one finding's evidence */
#define OVERLAYS_MAX 5

static const struct qca_check_result *judging_check(const struct judging *judging)
{
    return &judging->layer->check;
}

static bool table_is_known(enum qca_table table)
{
    return (unsigned)table < _QCA_TABLE_MAX;
}

/* kind, text, table, table-offset, index, snapshot, host-offset, host-length, guest-offset,
 * guest-length, stored, counted, count */
static struct evidence issue_evidence(const struct qca_issue *issue)
{
    static const bool refcounts[_QCA_ISSUE_MAX] = {
        [QCA_ISSUE_REFERENCE_OVERFLOW] = true, [QCA_ISSUE_REFCOUNT_LOW] = true,
        [QCA_ISSUE_COPIED_WRONG] = true,       [QCA_ISSUE_REFBLOCK_SHARED] = true,
        [QCA_ISSUE_CLUSTER_LEAKED] = true,
    };
    const struct json_fields *fields = report_fields_of_issue();
    struct evidence evidence = evidence_new();

    evidence_fields(&evidence, fields, issue, JSON_KEYS("kind"));
    evidence_text(&evidence, TEXT_TEXT, qca_issue_kind_text(issue->kind));
    if (table_is_known(issue->table))
        evidence_fields(&evidence, fields, issue, JSON_KEYS("table"));
    evidence_fields(&evidence, fields, issue,
                    JSON_KEYS("table-offset", "index", "snapshot", "host-offset", "host-length",
                              "guest-offset", "guest-length"));
    if ((unsigned)issue->kind < _QCA_ISSUE_MAX && refcounts[issue->kind])
        evidence_fields(&evidence, fields, issue, JSON_KEYS("stored", "counted"));
    evidence_fields(&evidence, fields, issue, JSON_KEYS("count"));
    return evidence;
}

void evidence_issues(struct evidence *evidence, const struct judging *judging, issue_fn wanted)
{
    const struct qca_check_result *check = judging_check(judging);
    _cleanup_evidence_ struct evidence list = evidence_new_list();
    uint64_t n = 0, omitted = 0;

    for (size_t i = 0; i < check->n_issues; i++) {
        struct evidence issue;

        if (!wanted(judging, &check->issues[i]))
            continue;
        if (n++ >= ISSUES_MAX) {
            omitted++;
            continue;
        }
        issue = issue_evidence(&check->issues[i]);
        evidence_append(&list, &issue);
    }
    evidence_value(evidence, PART_ISSUES, &list);
    if (omitted > 0)
        evidence_number(evidence, NUMBER_ISSUES_OMITTED, omitted);
}

const struct qca_issue *issue_first(const struct judging *judging, issue_fn wanted)
{
    const struct qca_check_result *check = judging_check(judging);

    for (size_t i = 0; i < check->n_issues; i++)
        if (wanted(judging, &check->issues[i]))
            return &check->issues[i];
    return NULL;
}

/* ---- which issues --------------------------------------------------------------------------- */

/* Issues that a cut-off file explains: they are one finding, and not damage besides. */
static bool issue_is_cut_off(const struct judging *judging, const struct qca_issue *issue)
{
    return judging->truncated && issue_is_beyond_end(judging, issue);
}

static bool issue_is_pointer(const struct judging *judging, const struct qca_issue *issue)
{
    return !issue_is_cut_off(judging, issue) &&
           qca_issue_kind_counter(issue->kind) == QCA_COUNTER_CORRUPTION &&
           qca_issue_kind_is_pointer(issue->kind);
}

static bool issue_is_corruption(const struct judging *judging, const struct qca_issue *issue)
{
    return !issue_is_cut_off(judging, issue) &&
           qca_issue_kind_counter(issue->kind) == QCA_COUNTER_CORRUPTION;
}

/* A read that failed inside the file is the device's fault; one beyond the end is a damaged
 * pointer. */
static bool issue_is_read_error(const struct judging *judging, const struct qca_issue *issue)
{
    return issue->kind == QCA_ISSUE_READ_FAILED &&
           issue->host_offset < judging->layer->info.file_size;
}

static bool issue_is_bad_read(const struct judging *judging, const struct qca_issue *issue)
{
    return !judging->truncated && issue->kind == QCA_ISSUE_READ_FAILED &&
           !issue_is_read_error(judging, issue);
}

/* Damage that qemu-img calls clean, and that shows or destroys foreign data. */
static bool kind_is_hidden_damage(enum qca_issue_kind kind)
{
    switch (kind) {
    case QCA_ISSUE_CLUSTER_MAPPED_TWICE:
    case QCA_ISSUE_DATA_ON_METADATA:
    case QCA_ISSUE_METADATA_SHARED:
    case QCA_ISSUE_L2_ZERO_IN_V2:
    case QCA_ISSUE_DATA_FILE_OFFSET:
    case QCA_ISSUE_DATA_FILE_END:
    case QCA_ISSUE_DATA_FILE_SHARED:
    case QCA_ISSUE_BLOCK_OUT_OF_FILE:
    case QCA_ISSUE_BLOCK_OVERLAP:
    case QCA_ISSUE_BLOCK_UNALIGNED:
    case QCA_ISSUE_BLOCK_INVALID:
    case QCA_ISSUE_TABLE_OUT_OF_FILE:
    case QCA_ISSUE_CHECKSUM_WRONG:
    case QCA_ISSUE_FIELD_INVALID:
    case QCA_ISSUE_TRAILER_MISSING:
    case QCA_ISSUE_LOG_INVALID:
    case QCA_ISSUE_TEXT_TRANSFER:
    case QCA_ISSUE_EXTENT_SIZE:
    case QCA_ISSUE_MEMBER_HEADER_INVALID:
    case QCA_ISSUE_MEMBER_MISSING:
    case QCA_ISSUE_MEMBER_DIGEST_WRONG:
        return true;
    default:
        return false;
    }
}

/* Of flat extents the sizes of their files tell: judge_short_extents(). */
static bool has_flat_extent(const struct qca_image_info *info)
{
    for (size_t i = 0; i < info->n_extents; i++)
        if (qca_extent_file_is_flat(&info->extents[i]))
            return true;
    return false;
}

/* A data file that was cut off is data-file, a file that was cut off image-truncated: the pointers
 * behind their ends are no damage of the tables. */
static bool kind_is_explained(const struct judging *judging, enum qca_issue_kind kind)
{
    return (kind == QCA_ISSUE_DATA_FILE_END && judging->data_cut.clusters > 0) ||
           (kind == QCA_ISSUE_EXTENT_SIZE && has_flat_extent(&judging->layer->info)) ||
           (judging->truncated &&
            (kind == QCA_ISSUE_BLOCK_OUT_OF_FILE || kind == QCA_ISSUE_TABLE_OUT_OF_FILE ||
             kind == QCA_ISSUE_TRAILER_MISSING));
}

static bool issue_is_damage(const struct judging *judging, const struct qca_issue *issue)
{
    return issue_is_corruption(judging, issue) || issue_is_bad_read(judging, issue) ||
           (kind_is_hidden_damage(issue->kind) && !kind_is_explained(judging, issue->kind));
}

static bool issue_is_of_snapshots(const struct judging *judging, const struct qca_issue *issue)
{
    switch (issue->kind) {
    case QCA_ISSUE_SNAPSHOT_L1_INVALID:
    case QCA_ISSUE_SNAPSHOT_INCOMPLETE:
    case QCA_ISSUE_SNAPSHOT_WITH_DATA_FILE:
    case QCA_ISSUE_SNAPSHOT_TABLE_INVALID:
    case QCA_ISSUE_SNAPSHOT_ID_DUPLICATE:
    case QCA_ISSUE_SNAPSHOT_SIZE_MISMATCH:
    case QCA_ISSUE_SNAPSHOT_EMPTY:
        return true;
    default:
        return issue->snapshot != QCA_ACTIVE && issue_is_pointer(judging, issue);
    }
}

static bool issue_is_of_bitmaps(const struct judging *judging, const struct qca_issue *issue)
{
    return issue->kind == QCA_ISSUE_BITMAPS_INVALID ||
           issue->kind == QCA_ISSUE_BITMAP_BEYOND_DISK ||
           ((issue->table == QCA_TABLE_BITMAP || issue->table == QCA_TABLE_BITMAP_DIRECTORY) &&
            issue_is_pointer(judging, issue));
}

/* An issue may stand for a run of clusters. */
static bool issue_is_in(const struct qca_issue *issue, uint64_t start, uint64_t size)
{
    uint64_t offset = issue->host_offset, length = issue->host_length > 0 ? issue->host_length : 1;

    return offset < start ? start - offset < length : offset - start < size;
}

/* Guest data on metadata: the guest overwrites it with its next write there, whatever the reference
 * counts say. QEMU flushes the L2 tables before anything else refers to a cluster that was freed,
 * so no order of its writes leaves this on the disk. Of bitmaps, which it writes when it likes,
 * nothing is said. */
static bool issue_is_on_metadata(const struct judging *judging, const struct qca_issue *issue)
{
    const struct qca_image_info *info = &judging->layer->info;

    if (issue->kind != QCA_ISSUE_DATA_ON_METADATA || issue->host_offset == QCA_NO_OFFSET)
        return false;
    if (info->n_bitmaps == 0 && !(info->autoclear_features & QCA_AUTOCLEAR_BITMAPS))
        return true;
    return issue_is_in(issue, 0, info->cluster_size) ||
           (info->l1_offset > 0 &&
            issue_is_in(issue, info->l1_offset, UINT64_C(8) * info->l1_entries)) ||
           (info->refcount_table_offset > 0 &&
            issue_is_in(issue, info->refcount_table_offset,
                        (uint64_t)info->refcount_table_clusters * info->cluster_size));
}

/* Damage that counts even while reference counts say nothing. */
static bool issue_is_hard(const struct judging *judging, const struct qca_issue *issue)
{
    return issue_is_pointer(judging, issue) || issue_is_on_metadata(judging, issue);
}

static uint64_t pointer_corruptions(const struct qca_check_result *check)
{
    uint64_t n = 0;

    for (int kind = 0; kind < _QCA_ISSUE_MAX; kind++)
        if (qca_issue_kind_counter(kind) == QCA_COUNTER_CORRUPTION &&
            qca_issue_kind_is_pointer(kind))
            n += qca_check_count(check, kind);
    return n;
}

/* All that count, those too that the audit did not keep. */
static uint64_t hard_corruptions(const struct judging *judging)
{
    const struct qca_check_result *check = judging_check(judging);

    return pointer_corruptions(check) +
           (issue_first(judging, issue_is_on_metadata)
                ? qca_check_count(check, QCA_ISSUE_DATA_ON_METADATA) : 0);
}

/* The same damaged pointers in two audits of an image in use, between which its header, L1,
 * refcount table and snapshot table stayed as they were. */
static bool pointers_confirmed(const struct judging *judging)
{
    const struct layer_report *layer = audit_layer(judging->last);
    const struct qca_check_result *now = judging_check(judging), *before;
    size_t i = 0, j = 0;

    if (judging->image->audit->confidence == CONFIDENCE_CONFIRMED)
        return true;
    if (!layer)
        return false;
    before = &layer->check;
    if (!layer->checked || !layer->has_metadata_digest || !judging->layer->has_metadata_digest ||
        memcmp(layer->metadata_digest, judging->layer->metadata_digest,
               sizeof(layer->metadata_digest)) != 0 ||
        pointer_corruptions(before) != pointer_corruptions(now))
        return false;
    for (;; i++, j++) {
        while (i < now->n_issues && !issue_is_hard(judging, &now->issues[i]))
            i++;
        while (j < before->n_issues && !issue_is_hard(judging, &before->issues[j]))
            j++;
        if (i == now->n_issues || j == before->n_issues)
            return i == now->n_issues && j == before->n_issues;
        if (now->issues[i].kind != before->issues[j].kind ||
            now->issues[i].table_offset != before->issues[j].table_offset ||
            now->issues[i].index != before->issues[j].index ||
            now->issues[i].host_offset != before->issues[j].host_offset ||
            now->issues[i].count != before->issues[j].count)
            return false;
    }
}

/* ---- damage --------------------------------------------------------------------------------- */

/* overlays [path], overlays-omitted: whoever reads through the damage. */
static void evidence_overlays(struct evidence *evidence, const struct judging *judging)
{
    const struct relation *relation = judging->relation;
    _cleanup_evidence_ struct evidence list = { .object = NULL };
    const struct image *child;

    if (!relation || relation->n_children == 0)
        return;
    list = evidence_new_list();
    for (size_t i = 0; i < OVERLAYS_MAX && (child = graph_child(judging->image, i)); i++) {
        struct evidence overlay = evidence_new();

        evidence_text(&overlay, TEXT_PATH, child->path);
        evidence_append(&list, &overlay);
    }
    evidence_value(evidence, PART_OVERLAYS, &list);
    if (relation->n_children > OVERLAYS_MAX)
        evidence_number(evidence, NUMBER_OVERLAYS_OMITTED, relation->n_children - OVERLAYS_MAX);
}

/* corruptions, check-errors, leaks, kinds {name: count}, overlays, in-use, finished, issues,
 * issues-omitted */
static int add_damage(struct judging *judging, enum finding_type type, enum severity severity,
                      uint64_t corruptions, bool pointers_only)
{
    const struct qca_check_result *check = judging_check(judging);
    _cleanup_evidence_ struct evidence evidence = evidence_new(), kinds = evidence_new();
    issue_fn wanted = pointers_only ? issue_is_hard : issue_is_damage;
    const struct qca_issue *first = issue_first(judging, wanted);
    char where[80] = "";

    evidence_number(&evidence, NUMBER_CORRUPTIONS, corruptions);
    evidence_number(&evidence, NUMBER_CHECK_ERRORS, check->check_errors);
    evidence_number(&evidence, NUMBER_LEAKS, check->leaks);
    evidence_flag(&evidence, FLAG_IN_USE, judging->image->audit->use == FILES_WRITER);
    evidence_flag(&evidence, FLAG_FINISHED, check->finished);
    for (int kind = 0; kind < _QCA_ISSUE_MAX; kind++)
        if (qca_check_count(check, kind) > 0)
            evidence_issue_count(&kinds, kind, qca_check_count(check, kind));
    evidence_value(&evidence, PART_KINDS, &kinds);
    evidence_overlays(&evidence, judging);
    evidence_issues(&evidence, judging, wanted);
    if (first && first->guest_offset != QCA_NO_OFFSET)
        snprintf(where, sizeof(where), ", first at byte %llu of the guest's disk",
                 (unsigned long long)first->guest_offset);
    else if (first && first->table_offset != QCA_NO_OFFSET)
        snprintf(where, sizeof(where), ", first in the table at byte %llu",
                 (unsigned long long)first->table_offset);
    if (type == FINDING_METADATA_SUSPECT)
        return judging_add(judging, type, severity, corruptions, &evidence,
                           "has %llu pointer%s that look%s damaged while it is in use%s",
                           (unsigned long long)corruptions, corruptions == 1 ? "" : "s",
                           corruptions == 1 ? "s" : "", where);
    return judging_add(judging, type, severity, corruptions, &evidence,
                       "has %llu corruption%s in its metadata%s", (unsigned long long)corruptions,
                       corruptions == 1 ? "" : "s", where);
}

/* dirty: reference counts are out of date by design, and say nothing. */
static int judge_damage(struct judging *judging, bool unstable, bool dirty)
{
    const struct qca_check_result *check = judging_check(judging);
    uint64_t corruptions = check->corruptions;
    uint64_t cut_off = judging->truncated ? references_beyond_end(check) : 0;
    bool only = unstable || dirty;

    judging->judgement->judged[FINDING_METADATA_SUSPECT] = check->finished || !unstable;
    if (only)
        corruptions = hard_corruptions(judging);
    else {
        if (issue_first(judging, issue_is_bad_read))
            corruptions += qca_check_count(check, QCA_ISSUE_READ_FAILED);
        for (int kind = 0; kind < _QCA_ISSUE_MAX; kind++)
            if (kind_is_hidden_damage(kind) && !kind_is_explained(judging, kind))
                corruptions += qca_check_count(check, kind);
    }
    corruptions -= cut_off < corruptions ? cut_off : corruptions;
    if (corruptions == 0)
        return 0;
    if (!unstable)
        return add_damage(judging, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, corruptions, only);
    if (pointers_confirmed(judging)) {
        enum confidence confidence = judging->judgement->confidence;
        int r;

        if (confidence < CONFIDENCE_CONFIRMED)
            judging->judgement->confidence = CONFIDENCE_CONFIRMED;
        r = add_damage(judging, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, corruptions, only);
        judging->judgement->confidence = confidence;
        return r;
    }
    return add_damage(judging, FINDING_METADATA_SUSPECT, SEVERITY_INFO, corruptions, only);
}

/* ---- bits, snapshots, bitmaps, reads -------------------------------------------------------- */

/* incompatible-features, and of a dirty image: lazy-refcounts, changed-at */
static int judge_bits(struct judging *judging)
{
    const struct qca_image_info *info = &judging->layer->info;
    bool pending = qca_check_count(judging_check(judging), QCA_ISSUE_LOG_PENDING) > 0;
    _cleanup_evidence_ struct evidence corrupt = { .object = NULL }, dirty = { .object = NULL };
    int r = 0;

    if (info->incompatible_features & QCA_INCOMPAT_CORRUPT) {
        corrupt = evidence_new();
        evidence_number(&corrupt, NUMBER_INCOMPATIBLE_FEATURES, info->incompatible_features);
        r = judging_add(judging, FINDING_CORRUPT_BIT_SET, SEVERITY_CRITICAL, 1, &corrupt,
                        "was marked as corrupt by QEMU");
    }
    if (r >= 0 && judging->image->audit->use == FILES_UNUSED &&
        (pending || (info->incompatible_features & QCA_INCOMPAT_DIRTY &&
                     judging->judgement->judged[FINDING_DIRTY_BIT_SET]))) {
        dirty = evidence_new();
        evidence_number(&dirty, NUMBER_INCOMPATIBLE_FEATURES, info->incompatible_features);
        evidence_flag(&dirty, FLAG_LAZY_REFCOUNTS,
                      info->compatible_features & QCA_COMPAT_LAZY_REFCOUNTS);
        if (judging->image->fingerprint.mtime > 0)
            evidence_number(&dirty, NUMBER_CHANGED_AT,
                            (uint64_t)judging->image->fingerprint.mtime / 1000);
        r = judging_add(judging, FINDING_DIRTY_BIT_SET, SEVERITY_WARNING, 1, &dirty,
                        "was not closed cleanly%s",
                        pending ? ": writes to its tables lie in its log alone" : "");
    }
    return r;
}

/* snapshots (in the header), readable, error, field, offset, issues, issues-omitted */
static int judge_snapshot_table(struct judging *judging, const struct qca_error *error)
{
    const struct qca_image_info *info = &judging->layer->info;
    const struct qca_issue *first = issue_first(judging, issue_is_of_snapshots);
    bool bad = error->kind == QCA_ERROR_SNAPSHOT_TABLE;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };

    if (!first && !bad)
        return 0;
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_SNAPSHOTS, info->snapshot_count);
    evidence_number(&evidence, NUMBER_READABLE, info->n_snapshots);
    if (bad) {
        evidence_text(&evidence, TEXT_ERROR, error->text);
        evidence_text(&evidence, TEXT_FIELD, error->field);
        evidence_number(&evidence, NUMBER_ERROR_OFFSET, error->offset);
    }
    if (first && first->snapshot != QCA_ACTIVE && first->snapshot < info->n_snapshots) {
        evidence_text(&evidence, TEXT_SNAPSHOT_ID, info->snapshots[first->snapshot].id);
        evidence_text(&evidence, TEXT_SNAPSHOT_NAME, info->snapshots[first->snapshot].name);
    }
    evidence_issues(&evidence, judging, issue_is_of_snapshots);
    return judging_add(judging, FINDING_SNAPSHOT_TABLE_BAD, SEVERITY_ERROR, 1, &evidence,
                       "has damaged internal snapshots: %s",
                       bad && error->text[0] ? error->text
                       : first               ? qca_issue_kind_text(first->kind)
                                             : "unreadable");
}

/* bitmaps, error, field, offset, issues; in use: names */
static int judge_bitmaps(struct judging *judging, const struct qca_error *error, bool unstable)
{
    const struct qca_image_info *info = &judging->layer->info;
    const struct qca_issue *first = issue_first(judging, issue_is_of_bitmaps);
    bool bad = error->kind == QCA_ERROR_BITMAPS;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL }, names = evidence_new_list();
    size_t n = 0;
    int r = 0;

    if (first || bad) {
        evidence = evidence_new();
        evidence_number(&evidence, NUMBER_BITMAPS, info->n_bitmaps);
        if (bad) {
            evidence_text(&evidence, TEXT_ERROR, error->text);
            evidence_text(&evidence, TEXT_FIELD, error->field);
            evidence_number(&evidence, NUMBER_ERROR_OFFSET, error->offset);
        }
        evidence_issues(&evidence, judging, issue_is_of_bitmaps);
        r = judging_add(judging, FINDING_BITMAP_BAD, SEVERITY_ERROR, 1, &evidence,
                        "has damaged dirty bitmaps: %s",
                        bad && error->text[0] ? error->text
                        : first               ? qca_issue_kind_text(first->kind)
                                              : "unreadable");
        if (r < 0)
            return r;
    }

    /* Read-only users leave the mark alone, a writer has to set it. */
    if (unstable || !(info->autoclear_features & QCA_AUTOCLEAR_BITMAPS))
        return 0;
    for (size_t i = 0; i < info->n_bitmaps; i++) {
        struct evidence name;

        if (!(info->bitmaps[i].flags & QCA_BITMAP_IN_USE))
            continue;
        name = evidence_new();
        evidence_text(&name, TEXT_NAME, info->bitmaps[i].name);
        evidence_append(&names, &name);
        n++;
    }
    if (n == 0)
        return 0;
    evidence_done(&evidence);
    evidence = evidence_new();
    evidence_value(&evidence, PART_BITMAPS, &names);
    return judging_add(judging, FINDING_BITMAP_IN_USE, SEVERITY_WARNING, n, &evidence,
                       "has %zu dirty bitmap%s that %s not saved", n, n == 1 ? "" : "s",
                       n == 1 ? "was" : "were");
}

/* errno, error, error-offset, text, issues, issues-omitted */
int judging_add_read_error(struct judging *judging, int error, const struct qca_error *why)
{
    const struct qca_issue *first = judging->layer ? issue_first(judging, issue_is_read_error)
                                                   : NULL;
    _cleanup_evidence_ struct evidence evidence = evidence_new();
    uint64_t offset = first ? first->host_offset : why->offset;

    evidence_number(&evidence, NUMBER_ERRNO, (uint64_t)-error);
    evidence_text(&evidence, TEXT_ERROR, strerror(-error));
    evidence_number(&evidence, NUMBER_ERROR_OFFSET, offset);
    if (why->kind != QCA_ERROR_NONE)
        evidence_text(&evidence, TEXT_TEXT, why->text);
    if (judging->layer)
        evidence_issues(&evidence, judging, issue_is_read_error);
    return judging_add(judging, FINDING_READ_ERROR, SEVERITY_CRITICAL, 1, &evidence,
                       "cannot be read at byte %llu: %s", (unsigned long long)offset,
                       strerror(-error));
}

static int judge_check(struct judging *judging)
{
    const struct qca_check_result *check = judging_check(judging);
    const struct qca_image_info *info = &judging->layer->info;
    bool *judged = judging->judgement->judged;
    bool unstable = judging->image->audit->use == FILES_WRITER ||
                    judging->image->audit->confidence <= CONFIDENCE_CONFIRMED;
    bool dirty = (info->incompatible_features & QCA_INCOMPAT_DIRTY) &&
                 (info->compatible_features & QCA_COMPAT_LAZY_REFCOUNTS);
    int r;

    /* A guest that writes, or a check that could not be finished, proves the absence of nothing. */
    if (unstable || (judging->layer->checked && !check->finished))
        for (enum finding_type type = 0; type < _FINDING_MAX; type++)
            if (finding_definition(type)->basis == BASIS_CHECK)
                judged[type] = false;
    data_file_look(judging, unstable);
    r = judge_bits(judging);
    if (r < 0 || !judging->layer->checked)
        return r;
    if (!unstable)
        r = judge_truncation(judging);
    if (r >= 0)
        r = judge_damage(judging, unstable, dirty);
    if (r < 0)
        return r;
    if (!unstable) {
        /* Without stored counts, only sound tables tell what nothing refers to. */
        if (dirty || (!qca_format_has(info->format, QCA_TRAIT_REFCOUNTS) &&
                      (judging->truncated || check->corruptions > 0)))
            judged[FINDING_CLUSTERS_LEAKED] = judged[FINDING_LEAK_BURST] = false;
        else
            r = judge_leaks(judging);
        if (r >= 0)
            r = judge_snapshot_table(judging, qca_check_error(check));
        if (r >= 0)
            r = judge_bitmaps(judging, qca_check_error(check), unstable);
        if (r >= 0)
            r = judge_compressed(judging);
        if (r >= 0)
            r = judge_encryption(judging);
        if (r < 0)
            return r;
    }
    if (issue_first(judging, issue_is_read_error) ||
        (!check->finished && qca_check_error(check)->kind == QCA_ERROR_IO))
        return judging_add_read_error(judging, -EIO, qca_check_error(check));
    return 0;
}

int judge_content(struct judging *judging)
{
    bool *judged = judging->judgement->judged;
    const struct qca_check_result *check;

    if (!judging->layer)
        return judge_not_opened(judging);
    for (enum finding_type type = 0; type < _FINDING_MAX; type++) {
        enum finding_about about = finding_definition(type)->about;

        judged[type] = about == ABOUT_IMAGE || about == ABOUT_DISK;
    }
    /* Only a deep audit inflates anything. */
    judged[FINDING_COMPRESSED_CLUSTER_BAD] = judging->image->audit->deep;
    check = judging_check(judging);
    if (judging->layer->checked && !check->finished) {
        switch (qca_check_error(check)->kind) {
        case QCA_ERROR_MEMORY:
        case QCA_ERROR_LIMIT:
        case QCA_ERROR_UNSUPPORTED: {
            bool limit = qca_check_error(check)->kind != QCA_ERROR_UNSUPPORTED;
            int r = qca_check_count(check, QCA_ISSUE_LOG_PENDING) > 0   /* dirty-bit-set says it */
                        ? 0
                        : judging_add_not_auditable(judging, limit ? -ENOMEM : -EOPNOTSUPP,
                                                    qca_check_error(check));

            if (r < 0)
                return r;
            break;
        }
        default:
            break;
        }
    }
    return judge_check(judging);
}
