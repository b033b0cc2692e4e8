/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of audits: images that could not be opened or read, workers that did not come back. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/judge/internal.h"
#include "helpers/clock.h"

/* errno, error, signal, status, elapsed-seconds, cpu-seconds, peak-memory-bytes, failures */
static int add_audit_failed(struct judging *judging)
{
    const struct audit_report *report = judging->image->audit->report;
    _cleanup_evidence_ struct evidence evidence = evidence_new();
    char words[120];

    evidence_number(&evidence, NUMBER_ERRNO, (uint64_t)-report->error);
    evidence_text(&evidence, TEXT_ERROR, strerror(-report->error));
    if (report->worker_signal > 0) {
        evidence_number(&evidence, NUMBER_SIGNAL, (uint64_t)report->worker_signal);
        evidence_text(&evidence, TEXT_SIGNAL_NAME, sigabbrev_np(report->worker_signal));
    } else if (report->worker_status > 0) {
        evidence_number(&evidence, NUMBER_STATUS, (uint64_t)report->worker_status);
    }
    evidence_number(&evidence, NUMBER_ELAPSED_SECONDS, report->elapsed_usec / USEC_PER_SEC);
    evidence_number(&evidence, NUMBER_CPU_SECONDS, report->cpu_usec / USEC_PER_SEC);
    evidence_number(&evidence, NUMBER_PEAK_MEMORY_BYTES, report->peak_memory);
    evidence_number(&evidence, NUMBER_FAILURES, judging->image->worker_deaths);

    if (report->error == -ETIMEDOUT)
        snprintf(words, sizeof(words), "made no progress and was killed");
    else if (report->error == -EBADMSG)
        snprintf(words, sizeof(words), "gave an answer that it must not give");
    else if (report->error == -ENOEXEC)
        snprintf(words, sizeof(words), "could not be started");
    else if (report->worker_signal > 0 && sigabbrev_np(report->worker_signal))
        snprintf(words, sizeof(words), "was ended by SIG%s", sigabbrev_np(report->worker_signal));
    else if (report->worker_signal > 0)
        snprintf(words, sizeof(words), "was ended by signal %d", report->worker_signal);
    else
        snprintf(words, sizeof(words), "ended with status %d", report->worker_status);
    return judging_add(judging, FINDING_AUDIT_FAILED, SEVERITY_ERROR, 1, &evidence,
                       "was not audited: the worker %s", words);
}

/* errno, error, reason ("permission", "lease", "temporary", "limit", "unsupported", "error"),
 * text */
int judging_add_not_auditable(struct judging *judging, int error, const struct qca_error *why)
{
    const struct datastore *datastore = judging->image->datastore;
    _cleanup_evidence_ struct evidence evidence = evidence_new();
    bool denied = image_was_denied(judging->image);
    const char *words = denied && error == -EAGAIN
                            ? "a process has a lease on it (F_SETLEASE in fcntl(2)) and does not "
                              "give it up; it is tried again"
                        : why->text[0] ? why->text : strerror(-error);
    const char *reason = error == -EACCES || error == -EPERM      ? "permission"
                         : denied && error == -EAGAIN             ? "lease"
                         : denied                                 ? "temporary"
                         : why->kind == QCA_ERROR_MEMORY          ? "limit"
                         : why->kind == QCA_ERROR_UNSUPPORTED     ? "unsupported"
                                                                  : "error";

    /* All of its datastore is so: that is said once, by the datastore. */
    if (datastore && datastore->all_denied && (error == -EACCES || error == -EPERM))
        return 0;
    evidence_number(&evidence, NUMBER_ERRNO, (uint64_t)-error);
    evidence_text(&evidence, TEXT_ERROR, strerror(-error));
    evidence_text(&evidence, TEXT_REASON, reason);
    if (why->text[0])
        evidence_text(&evidence, TEXT_TEXT, why->text);
    return judging_add(judging, FINDING_NOT_AUDITABLE, SEVERITY_WARNING, 1, &evidence,
                       "cannot be audited: %s", words);
}

/* field, value, bound, error-offset, text; feature-unknown: incompatible-features */
static int add_not_opened(struct judging *judging, enum finding_type type, enum severity severity,
                          const struct qca_error *why, const char *words)
{
    _cleanup_evidence_ struct evidence evidence = evidence_new();

    if (why->field[0])
        evidence_text(&evidence, TEXT_FIELD, why->field);
    evidence_number(&evidence,
                    type == FINDING_FEATURE_UNKNOWN ? NUMBER_INCOMPATIBLE_FEATURES : NUMBER_VALUE,
                    why->value);
    if (why->bound != 0)
        evidence_number(&evidence, NUMBER_BOUND, why->bound);
    evidence_number(&evidence, NUMBER_ERROR_OFFSET, why->offset);
    evidence_text(&evidence, TEXT_TEXT, why->text);
    return judging_add(judging, type, severity, 1, &evidence, "%s: %s", words, why->text);
}

bool is_abandoned_part(const struct judging *judging)
{
    const struct image *image = judging->image;
    const struct relation *relation = judging->relation;

    return image_name_is_partial(image->path) && judging->usage.n_entries == 0 &&
           image->locked == FILES_UNUSED && image->audit->use == FILES_UNUSED &&
           !(relation && relation->n_children > 0);
}

static bool error_is_workers(int error)
{
    return error == -ECHILD || error == -ETIMEDOUT || error == -EBADMSG || error == -ENOEXEC;
}

static bool error_is_devices(int error)
{
    return error == -EIO || error == -EREMOTEIO || error == -ENODATA || error == -EUCLEAN ||
           error == -ENXIO || error == -ESTALE;
}

int judge_not_opened(struct judging *judging)
{
    const struct audit_report *report = judging->image->audit->report;
    const struct qca_error *why = audit_report_open_error(report);
    bool *judged = judging->judgement->judged;
    bool unstable = judging->image->audit->confidence <= CONFIDENCE_CONFIRMED;

    if (report->worker_signal != 0 || error_is_workers(report->error))
        return add_audit_failed(judging);
    if (report->error == -ECANCELED || report->error == -ENOENT || why->kind == QCA_ERROR_CANCELLED)
        return 0;
    judged[FINDING_AUDIT_FAILED] = true;
    if (error_is_devices(report->error) ||
        (why->kind == QCA_ERROR_IO && report->error != -EACCES && report->error != -EPERM))
        return judging_add_read_error(judging, report->error, why);

    judged[FINDING_READ_ERROR] = true;
    judged[FINDING_NOT_AUDITABLE] = true;
    switch (why->kind) {
    case QCA_ERROR_HEADER:
    case QCA_ERROR_LIMIT:
    case QCA_ERROR_NOT_THIS_FORMAT:
    case QCA_ERROR_FEATURE:
    case QCA_ERROR_TRUNCATED:
    case QCA_ERROR_SNAPSHOT_TABLE:
    case QCA_ERROR_BITMAPS:
        break;
    default:
        judged[FINDING_NOT_AUDITABLE] = false;
        return judging_add_not_auditable(judging, report->error != 0 ? report->error : -EINVAL,
                                         why);
    }
    /* A file that is being written anew (a copy under way) has no header yet. */
    if (unstable)
        return 0;
    judged[FINDING_HEADER_INVALID] = judged[FINDING_FEATURE_UNKNOWN] =
        judged[FINDING_METADATA_SUSPECT] = true;
    switch (why->kind) {
    case QCA_ERROR_FEATURE:
        return add_not_opened(judging, FINDING_FEATURE_UNKNOWN, SEVERITY_ERROR, why,
                              "has unknown features");
    case QCA_ERROR_TRUNCATED:
        if (is_abandoned_part(judging))
            return add_not_opened(judging, FINDING_IMAGE_TRUNCATED, SEVERITY_WARNING, why,
                                  "is an upload that was not finished");
        return add_not_opened(judging, FINDING_IMAGE_TRUNCATED, SEVERITY_CRITICAL, why,
                              "is cut off");
    case QCA_ERROR_SNAPSHOT_TABLE:
        return add_not_opened(judging, FINDING_SNAPSHOT_TABLE_BAD, SEVERITY_ERROR, why,
                              "has damaged internal snapshots");
    case QCA_ERROR_BITMAPS:
        return add_not_opened(judging, FINDING_BITMAP_BAD, SEVERITY_ERROR, why,
                              "has damaged dirty bitmaps");
    default:
        return add_not_opened(judging, FINDING_HEADER_INVALID,
                              is_abandoned_part(judging) ? SEVERITY_WARNING : SEVERITY_ERROR, why,
                              is_abandoned_part(judging) ? "is an upload that was not finished"
                                                         : "cannot be opened");
    }
}
