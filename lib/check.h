/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A check under way: counters, issues, progress and cancellation, for whatever format. */
#pragma once

#include "qcaudit/qcaudit.h"

enum { MAX_ISSUES_DEFAULT = 1000 };

struct check {
    struct qca_check_options options;   /* defaults filled in */
    struct qca_check_result *result;
    size_t issues_capacity;
    uint32_t beyond_kept[_QCA_ISSUE_MAX];
    uint64_t work_done;                 /* bytes of tables */
    uint64_t work_total;
    uint64_t work_told;
};

/* An issue of this kind that says nothing about where: the caller fills in what it knows. */
struct qca_issue check_issue_new(enum qca_issue_kind kind, enum qca_table table);
/* Counts the issue (issue->count times) and keeps it: in the run that it goes on with, or by itself
 * if there is room. */
int check_issue(struct check *check, const struct qca_issue *issue);
/* An issue of a structure by itself, or of a field in it: size bytes at offset. */
int check_issue_at(struct check *check, enum qca_issue_kind kind, enum qca_table table,
                   uint64_t offset, uint64_t size);
/* Counts it, and does not keep it. */
int check_issue_omit(struct check *check, const struct qca_issue *issue);
/* Of this kind, fewer were found than are kept: worth a read that finds out more of the next. */
bool check_has_room(const struct check *check, enum qca_issue_kind kind);
/* Tells the caller's progress function now and then; -ECANCELED when the caller wants no more. */
int check_advance(struct check *check, uint64_t work);
/* The check cannot go on: keeps the reason, and returns r, for which qca_check() then returns 0. */
int check_unfinished(struct check *check, int r, const struct qca_error *error);
