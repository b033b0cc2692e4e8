/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The results of opening and checking: freeing them, and their exit status. Apart from the code
 * that makes them, so that a program that only receives results needs neither the formats nor what
 * those are built on. */
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

int qca_check_exit_status(const struct qca_check_result *result)
{
    if (!result->finished || result->check_errors > 0)
        return 1;
    if (result->corruptions > 0)
        return 2;
    return result->leaks > 0 ? 3 : 0;
}
