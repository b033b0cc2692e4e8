/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The set of findings, by subject, as finding-set.c and life.c share it. */
#pragma once

#include <sys/queue.h>

#include "daemon/judge/finding-index.h"
#include "daemon/judge/life.h"

/* Everything about one subject. */
struct subject {
    LIST_ENTRY(subject) link;
    struct finding *findings[_FINDING_MAX];
    enum subject_kind kind;
    uint64_t audited;           /* judgement.audited of the last judgement */
    uint64_t *held;             /* usec, by type: since when a condition holds that is no finding
                                 * yet, 0; NULL: none */
    uint64_t held_until;        /* usec: when the first of these will have held for long enough;
                                 * UINT64_MAX */
    char name[];
};

struct findings {
    void *tree;                 /* tsearch tree of struct subject */
    LIST_HEAD(, subject) subjects;
    struct finding_index *index;
    struct mutes *mutes;
};

/* Is it open or acknowledged? finding may be NULL. */
bool finding_lives(const struct finding *finding);
/* NULL: nothing is known of it. */
struct subject *findings_subject(const struct findings *findings, enum subject_kind kind,
                                 const char *name);
/* Makes it when there is none. -ENOMEM. */
int findings_ensure_subject(struct findings *findings, enum subject_kind kind, const char *name,
                            struct subject **ret_subject);
/* Frees the finding, which its subject had: *slot is NULL then. */
void findings_forget(struct findings *findings, struct finding **slot);
/* Frees it with its findings. */
void findings_forget_subject(struct findings *findings, struct subject *subject);
/* True when the subject has no finding, and nothing that could become one. */
bool subject_is_empty(const struct subject *subject);
