/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All findings, by subject: the set that their life changes, and looking into it. */
#include "daemon/judge/finding-set.h"

#include <errno.h>
#include <search.h>
#include <string.h>

#include "lib/cleanup.h"

bool finding_lives(const struct finding *finding)
{
    return finding && finding->state != FINDING_RESOLVED;
}

static int subject_compare(const void *a, const void *b)
{
    const struct subject *x = a, *y = b;

    return x->kind != y->kind ? (x->kind < y->kind ? -1 : 1) : strcmp(x->name, y->name);
}

static struct subject *subject_new(enum subject_kind kind, const char *name)
{
    size_t size = strlen(name) + 1;
    struct subject *subject = calloc(1, sizeof(*subject) + size);

    if (!subject)
        return NULL;
    subject->kind = kind;
    subject->held_until = UINT64_MAX;
    memcpy(subject->name, name, size);
    return subject;
}

struct subject *findings_subject(const struct findings *findings, enum subject_kind kind,
                                 const char *name)
{
    _cleanup_free_ struct subject *key = subject_new(kind, name);
    void *found = key ? tfind(key, &findings->tree, subject_compare) : NULL;

    return found ? *(struct subject **)found : NULL;
}

int findings_ensure_subject(struct findings *findings, enum subject_kind kind, const char *name,
                            struct subject **ret_subject)
{
    struct subject *subject = findings_subject(findings, kind, name);

    if (!subject) {
        subject = subject_new(kind, name);
        if (!subject)
            return -ENOMEM;
        if (!tsearch(subject, &findings->tree, subject_compare)) {
            free(subject);
            return -ENOMEM;
        }
        LIST_INSERT_HEAD(&findings->subjects, subject, link);
    }
    *ret_subject = subject;
    return 0;
}

void findings_forget(struct findings *findings, struct finding **slot)
{
    if (*slot)
        finding_index_remove(findings->index, *slot);
    *slot = finding_free(*slot);
}

void findings_forget_subject(struct findings *findings, struct subject *subject)
{
    tdelete(subject, &findings->tree, subject_compare);
    LIST_REMOVE(subject, link);
    for (int i = 0; i < _FINDING_MAX; i++)
        findings_forget(findings, &subject->findings[i]);
    free(subject->held);
    free(subject);
}

bool subject_is_empty(const struct subject *subject)
{
    if (subject->held)
        return false;
    for (int i = 0; i < _FINDING_MAX; i++)
        if (subject->findings[i])
            return false;
    return true;
}

int findings_new(struct findings **ret_findings)
{
    struct findings *findings = calloc(1, sizeof(*findings));
    int r = findings ? mutes_new(&findings->mutes) : -ENOMEM;

    if (r >= 0)
        findings->index = calloc(1, sizeof(*findings->index));
    if (r < 0 || !findings->index) {
        findings_free(findings);
        return -ENOMEM;
    }
    *ret_findings = findings;
    return 0;
}

struct findings *findings_free(struct findings *findings)
{
    if (!findings)
        return NULL;
    while (!LIST_EMPTY(&findings->subjects))
        findings_forget_subject(findings, LIST_FIRST(&findings->subjects));
    mutes_free(findings->mutes);
    if (findings->index)
        finding_index_done(findings->index);
    free(findings->index);
    free(findings);
    return NULL;
}

struct mutes *findings_mutes(const struct findings *findings)
{
    return findings->mutes;
}

int findings_load(struct findings *findings, struct finding *finding, uint64_t audited)
{
    struct subject *subject;
    int r = finding_index_reserve(findings->index);

    if (r >= 0)
        r = findings_ensure_subject(findings, finding->subject_kind, finding->subject, &subject);
    if (r < 0)
        return r;
    if (subject->findings[finding->type])
        return -EEXIST;
    subject->findings[finding->type] = finding;
    if (finding->id > 0)
        finding_index_add(findings->index, finding);
    subject->audited = audited;
    mutes_note_id(findings->mutes, finding->muted_by);
    mutes_note_id(findings->mutes, finding->mutes_broken);
    return 0;
}

/* ---- looking -------------------------------------------------------------------------------- */

struct finding *findings_get(const struct findings *findings, enum finding_type type,
                             enum subject_kind kind, const char *subject_name)
{
    const struct subject *subject = findings_subject(findings, kind, subject_name);

    return subject && (unsigned)type < _FINDING_MAX ? subject->findings[type] : NULL;
}

struct finding *const *findings_of(const struct findings *findings, enum subject_kind kind,
                                   const char *subject_name)
{
    const struct subject *subject = findings_subject(findings, kind, subject_name);

    return subject ? subject->findings : NULL;
}

struct finding *findings_by_id(const struct findings *findings, int64_t id)
{
    return finding_index_find(findings->index, id);
}

int findings_each(const struct findings *findings, int64_t after_id,
                  int (*each)(void *userdata, struct finding *finding), void *userdata)
{
    const struct finding_index *index = findings->index;

    for (size_t i = finding_index_after(findings->index, after_id); i < index->n; i++) {
        struct finding *finding = index->items[i].finding;
        int r = finding ? each(userdata, finding) : 0;

        if (r != 0)
            return r;
    }
    return 0;
}

void findings_count(const struct findings *findings, struct findings_counts *ret_counts)
{
    const struct subject *subject;

    *ret_counts = (struct findings_counts){ 0 };
    LIST_FOREACH(subject, &findings->subjects, link)
        for (int type = 0; type < _FINDING_MAX; type++) {
            const struct finding *finding = subject->findings[type];

            if (!finding_lives(finding))
                continue;
            if (finding->muted_by > 0)
                ret_counts->muted[finding->severity]++;
            else if (finding->state == FINDING_OPEN)
                ret_counts->open[finding->severity]++;
            else
                ret_counts->acknowledged[finding->severity]++;
        }
}
