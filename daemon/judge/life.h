/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of findings: conditions against what was open before make transitions and events. Pure
 * but for the random ids of events. */
#pragma once

#include "daemon/core/findings.h"
#include "daemon/judge/judgement.h"
#include "daemon/judge/mutes.h"
#include "helpers/clock.h"

/* All findings that are open, acknowledged, or resolved less than 7 days ago. */
struct findings;

#define FINDINGS_REOPEN (7 * 24 * 3600 * USEC_PER_SEC)      /* usec: one that returns within is
                                                             * reopened, not new */
#define FINDINGS_REMINDER_MAX (32 * 24 * 3600 * USEC_PER_SEC)

int findings_new(struct findings **ret_findings);
struct findings *findings_free(struct findings *findings);
/* By which some of them are recorded, and not told. */
struct mutes *findings_mutes(const struct findings *findings);
/* Takes a finding from the database. audited (usec): the end of its subject's last audit, which was
 * counted when it was judged; 0 none. On failure it stays the caller's: -EEXIST when its type and
 * subject are known already, -ENOMEM. */
int findings_load(struct findings *findings, struct finding *finding, uint64_t audited);

/* Told of every finding that changed, with the event to record and tell (NULL: only last_seen and
 * the like changed; then it need not be stored at once). Both are borrowed; the callback may set
 * finding->id and finding->remedy, but call nothing of this interface. Its first negative value
 * ends the call that it runs in, and is returned by that; the finding at hand is changed all the
 * same. */
typedef int (*findings_changed_fn)(void *userdata, struct finding *finding,
                                   const struct event *event);

/* Brings the findings of one subject in line with a judgement: opens, worsens, eases, resolves (at
 * once when confidence is offline or frozen, else after two audits in a row), reopens within 7
 * days, ends acknowledgements. An audit that is judged once more counts once.
 * Evidence is shared with the judgement. depth goes into the events. */
int findings_apply(struct findings *findings, enum subject_kind kind, const char *subject,
                   const char *datastore, const struct judgement *judgement, uint32_t depth,
                   uint64_t now, findings_changed_fn changed, void *userdata);
/* When to judge the subject again, because a condition that holds will have held for long enough
 * then (condition.hold): usec, UINT64_MAX never. */
uint64_t findings_held_until(const struct findings *findings, enum subject_kind kind,
                             const char *subject);
/* The subject is gone for good (deleted from an online datastore), or not audited any more: all of
 * it resolves. why: in a word or two, for the events ("gone"). */
int findings_subject_gone(struct findings *findings, enum subject_kind kind, const char *subject,
                          const char *why, uint64_t now, findings_changed_fn changed,
                          void *userdata);
/* The subject is called otherwise from now on, and lies in that datastore: its findings,
 * acknowledgements and what holds but is no finding yet go with it; nothing is told. What was
 * resolved of another subject of that name is forgotten where it is in the way. -ENOMEM. */
int findings_rename(struct findings *findings, enum subject_kind kind, const char *before,
                    const char *after, const char *datastore);
/* until: usec, 0 without end. -ENOENT: no such finding; -EINVAL: resolved, or until is past. */
int findings_acknowledge(struct findings *findings, int64_t id, const char *by, const char *reason,
                         uint64_t until, uint64_t now, findings_changed_fn changed, void *userdata);
/* Expired acknowledgements, mutes that came and went, and reminders due (reminder: usec until the
 * first one, 0 never; from severity warning on); *ret_next is when to call again (UINT64_MAX
 * never). Forgets what was resolved more than 7 days ago. */
int findings_tick(struct findings *findings, uint64_t now, uint64_t reminder,
                  findings_changed_fn changed, void *userdata, uint64_t *ret_next);

/* Ends mutes and acknowledgements of findings whose time is over, and tells nothing: for one who
 * only reads what was stored some time ago. */
void findings_expire(struct findings *findings, uint64_t now);

/* Another file lies at the subject's place: what was acknowledged of the first one is told anew
 * when it is found of that. May be known before it is judged. */
void findings_replaced(struct findings *findings, enum subject_kind kind, const char *name);

struct finding *findings_get(const struct findings *findings, enum finding_type type,
                             enum subject_kind kind, const char *subject);
/* All of a subject at once, resolved ones too, by type; NULL without any. Valid until the next
 * change. */
struct finding *const *findings_of(const struct findings *findings, enum subject_kind kind,
                                   const char *subject);
struct finding *findings_by_id(const struct findings *findings, int64_t id);
/* Those that have an id, in its order, from the first one behind after_id; stops when the callback
 * returns non-zero, and returns that. The callback must not change the findings. */
int findings_each(const struct findings *findings, int64_t after_id,
                  int (*each)(void *userdata, struct finding *finding), void *userdata);
/* Those that are not resolved, by severity: each is one of these. */
struct findings_counts {
    uint64_t muted[_SEVERITY_MAX];      /* acknowledged, too, or not */
    uint64_t open[_SEVERITY_MAX], acknowledged[_SEVERITY_MAX];
};

void findings_count(const struct findings *findings, struct findings_counts *ret_counts);
