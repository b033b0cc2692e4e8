/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Results of checks that no check made. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "helpers/report.h"

/* So many more of the kind; freed with the result. */
static inline void fixture_count(struct qca_check_result *check, enum qca_issue_kind kind,
                                 uint32_t n)
{
    if (!check->kind_count)
        check->kind_count = calloc(_QCA_ISSUE_MAX, sizeof(*check->kind_count));
    check->kind_count[kind] += n;
}

/* Instead of the one before; freed with what has it. */
static inline void fixture_error(struct qca_error **error, struct qca_error value)
{
    free(*error);
    *error = malloc(sizeof(**error));
    **error = value;
}

/* Both have none, or equal ones. */
static inline bool fixture_same(const void *a, const void *b, size_t size)
{
    return a && b ? memcmp(a, b, size) == 0 : a == b;
}

static inline bool fixture_same_counts(const struct qca_check_result *a,
                                       const struct qca_check_result *b)
{
    return fixture_same(a->kind_count, b->kind_count, _QCA_ISSUE_MAX * sizeof(*a->kind_count));
}
