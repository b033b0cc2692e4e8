/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Counters and issues of a check, and the entry to every format's own. */
#include "check.h"

#include <errno.h>
#include <string.h>

#include "error.h"
#include "format.h"

#define MEMORY_LIMIT_DEFAULT (UINT64_C(1) << 30)
/* Bytes of tables between two calls of progress: a slow disk still gives a sign of life. */
#define PROGRESS_STEP (UINT64_C(4) << 20)

enum {
    BEYOND_SHARE = 64,          /* the part of the issues kept that one kind beyond qemu-img may
                                 * take */
};

DEFINE_CLEANUP(struct qca_check_result *, qca_check_result_done)

struct qca_issue check_issue_new(enum qca_issue_kind kind, enum qca_table table)
{
    return (struct qca_issue) {
        .kind = kind,
        .table = table,
        .snapshot = QCA_ACTIVE,
        .table_offset = QCA_NO_OFFSET,
        .host_offset = QCA_NO_OFFSET,
        .guest_offset = QCA_NO_OFFSET,
        .count = 1,
    };
}

/* A caller that keeps the results of many sound images keeps no counts for them. */
static int count_issue(struct qca_check_result *result, const struct qca_issue *issue)
{
    if (!result->kind_count)
        result->kind_count = calloc(_QCA_ISSUE_MAX, sizeof(*result->kind_count));
    if (!result->kind_count)
        return -ENOMEM;
    if (__builtin_add_overflow(result->kind_count[issue->kind], issue->count,
                               &result->kind_count[issue->kind]))
        result->kind_count[issue->kind] = UINT32_MAX;
    switch (qca_issue_kind_counter(issue->kind)) {
    case QCA_COUNTER_CORRUPTION:
        result->corruptions += issue->count;
        break;
    case QCA_COUNTER_LEAK:
        result->leaks += issue->count;
        break;
    case QCA_COUNTER_CHECK_ERROR:
        result->check_errors += issue->count;
        break;
    case QCA_COUNTER_BEYOND:
        break;
    }
    return 0;
}

/* Both have none, or the second one begins where the first one ends. */
static bool goes_on(uint64_t offset, uint64_t length, uint64_t next)
{
    uint64_t end;

    if (offset == QCA_NO_OFFSET || next == QCA_NO_OFFSET)
        return offset == next;      /* nothing is there */
    return !__builtin_add_overflow(offset, length, &end) && end == next;
}

/* One entry may count more than once: where several tables share it. */
static bool is_row(const struct qca_issue *run, const struct qca_issue *next)
{
    uint64_t length = run->guest_offset != QCA_NO_OFFSET ? run->guest_length : run->host_length,
             one = run->guest_offset != QCA_NO_OFFSET ? next->guest_length : next->host_length;

    return next->count == 1 && one > 0 && length % one == 0 && length / one == run->count;
}

/* Does next go on where run ends, as the next entry of the same table with the same trouble? Then
 * run takes it in. */
static bool issue_extend(struct qca_issue *run, const struct qca_issue *next)
{
    uint64_t index;

    if (!is_row(run, next) || run->kind == QCA_ISSUE_CLUSTER_LEAKED || run->kind != next->kind ||
        run->table != next->table || run->table_offset != next->table_offset ||
        run->layer != next->layer || run->snapshot != next->snapshot ||
        run->stored != next->stored || run->counted != next->counted ||
        run->extent != next->extent ||
        __builtin_add_overflow(run->index, run->count, &index) || index != next->index ||
        !goes_on(run->host_offset, run->host_length, next->host_offset) ||
        !goes_on(run->guest_offset, run->guest_length, next->guest_offset))
        return false;
    run->count += next->count;
    run->host_length += next->host_length;
    run->guest_length += next->guest_length;
    return true;
}

/* Takes issue into the last run. */
static bool run_takes(struct qca_check_result *result, const struct qca_issue *issue)
{
    return result->n_issues > 0 && issue_extend(&result->issues[result->n_issues - 1], issue);
}

/* Issues that were not complete when they were found may be runs when all is known. */
static void merge_runs(struct qca_check_result *result)
{
    size_t n = result->n_issues;

    result->n_issues = 0;
    for (size_t i = 0; i < n; i++)
        if (!run_takes(result, &result->issues[i]))
            result->issues[result->n_issues++] = result->issues[i];
}

int check_issue(struct check *check, const struct qca_issue *issue)
{
    struct qca_check_result *result = check->result;
    int r = count_issue(result, issue);

    if (r < 0)
        return r;
    /* The guest ranges hurt by a low refcount are found later, for one cluster at a time. */
    if (issue->kind != QCA_ISSUE_REFCOUNT_LOW && run_takes(result, issue))
        return 0;
    if (result->n_issues == check->options.max_issues)
        return 0;
    /* Oddities must not take the room of damage: there may be as many as clusters. */
    if (qca_issue_kind_counter(issue->kind) == QCA_COUNTER_BEYOND &&
        check->beyond_kept[issue->kind]++ > check->options.max_issues / BEYOND_SHARE)
        return 0;
    if (result->n_issues == check->issues_capacity) {
        size_t more = check->issues_capacity ? 2 * check->issues_capacity : 16;
        struct qca_issue *grown = reallocarray(result->issues, more, sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        result->issues = grown;
        check->issues_capacity = more;
    }
    result->issues[result->n_issues++] = *issue;
    return 0;
}

int check_issue_at(struct check *check, enum qca_issue_kind kind, enum qca_table table,
                   uint64_t offset, uint64_t size)
{
    struct qca_issue issue = check_issue_new(kind, table);

    issue.host_offset = offset;
    issue.host_length = size;
    return check_issue(check, &issue);
}

int check_issue_omit(struct check *check, const struct qca_issue *issue)
{
    return count_issue(check->result, issue);
}

bool check_has_room(const struct check *check, enum qca_issue_kind kind)
{
    return qca_check_count(check->result, kind) < check->options.max_issues;
}

int check_advance(struct check *check, uint64_t work)
{
    const struct qca_check_options *options = &check->options;

    if (options->cancel && atomic_load_explicit(options->cancel, memory_order_relaxed))
        return -ECANCELED;
    check->work_done += work;
    if (options->progress && check->work_done - check->work_told >= PROGRESS_STEP) {
        check->work_told = check->work_done;
        if (check->work_total < check->work_done)
            check->work_total = check->work_done;
        options->progress(options->userdata, check->work_done, check->work_total);
    }
    return 0;
}

int check_unfinished(struct check *check, int r, const struct qca_error *error)
{
    check->result->finished = false;
    *check->result->error = *error;
    return r;
}

int qca_check(struct qca_image *image, const struct qca_check_options *options,
              struct qca_check_result *ret_result)
{
    struct qca_check_result result = { .finished = true,
                                       .burst_offset = QCA_NO_OFFSET,
                                       .burst_end = QCA_NO_OFFSET };
    /* behind what it points to, whose life would be over otherwise */
    _cleanup_(qca_check_result_donep) struct qca_check_result *cleanup = NULL;
    struct check check = { .result = &result };
    int r;

    if (!image->format->check)
        return -EOPNOTSUPP;
    if (options)
        check.options = *options;
    if (check.options.memory_limit == 0)
        check.options.memory_limit = MEMORY_LIMIT_DEFAULT;
    if (check.options.max_issues == 0)
        check.options.max_issues = MAX_ISSUES_DEFAULT;

    cleanup = &result;
    result.error = calloc(1, sizeof(*result.error));
    if (!result.error)
        return -ENOMEM;
    r = image->format->check(image, &check);
    /* Not finished for a reason that is kept in the result is an answer; only these are none. */
    if (r == -ECANCELED || (r < 0 && result.finished))
        return r;
    cleanup = NULL;
    merge_runs(&result);
    if (result.error->kind == QCA_ERROR_NONE) {
        free(result.error);
        result.error = NULL;
    }
    *ret_result = result;
    return 0;
}
