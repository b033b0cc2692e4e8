/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What opening and checking hand out: freeing it, and its exit status. Apart from the code that
 * makes it, so that a program that only receives results needs neither the formats nor what they
 * are built on. */
#include <string.h>

#include "cleanup.h"
#include "qcaudit/qcaudit.h"

void qca_image_info_done(struct qca_image_info *info)
{
    for (size_t i = 0; i < info->n_snapshots; i++) {
        free(info->snapshots[i].id);
        free(info->snapshots[i].name);
    }
    for (size_t i = 0; i < info->n_bitmaps; i++)
        free(info->bitmaps[i].name);
    for (size_t i = 0; i < info->n_extents; i++)
        free(info->extents[i].name);
    free(info->extents);
    free(info->snapshots);
    free(info->bitmaps);
    free(info->extensions);
    free(info->parent);
    free(info->parent_format);
    free(info->data_file);
    memset(info, 0, sizeof(*info));
}

void qca_check_result_done(struct qca_check_result *result)
{
    if (!result)
        return;
    free(result->issues);
    free(result->kind_count);
    free(result->error);
    memset(result, 0, sizeof(*result));
}

uint32_t qca_check_count(const struct qca_check_result *result, enum qca_issue_kind kind)
{
    return result->kind_count && (unsigned)kind < _QCA_ISSUE_MAX ? result->kind_count[kind] : 0;
}

const struct qca_error *qca_check_error(const struct qca_check_result *result)
{
    static const struct qca_error none = { .kind = QCA_ERROR_NONE };

    return result->error ? result->error : &none;
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

bool qca_issue_extend(struct qca_issue *run, const struct qca_issue *next)
{
    uint64_t index;

    if (!is_row(run, next) || run->kind == QCA_ISSUE_CLUSTER_LEAKED || run->kind != next->kind ||
        run->table != next->table || run->table_offset != next->table_offset ||
        run->layer != next->layer || run->snapshot != next->snapshot ||
        run->stored != next->stored || run->counted != next->counted ||
        __builtin_add_overflow(run->index, run->count, &index) || index != next->index ||
        !goes_on(run->host_offset, run->host_length, next->host_offset) ||
        !goes_on(run->guest_offset, run->guest_length, next->guest_offset))
        return false;
    run->count += next->count;
    run->host_length += next->host_length;
    run->guest_length += next->guest_length;
    return true;
}

int qca_check_exit_status(const struct qca_check_result *result)
{
    if (!result->finished || result->check_errors > 0)
        return 1;
    if (result->corruptions > 0)
        return 2;
    return result->leaks > 0 ? 3 : 0;
}
