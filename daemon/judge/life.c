/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of findings: which change of a condition is which transition, and the event that
 * tells of it. */
#include "daemon/judge/finding-set.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "helpers/evidence.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define MISSES_TO_RESOLVE 2     /* audits of low confidence in a row without the condition */

/* ---- events --------------------------------------------------------------------------------- */

static const char *finding_summary(const struct finding *finding)
{
    return evidence_get_text(finding->evidence, TEXT_SUMMARY) ?:
           finding_definition(finding->type)->title;
}

/* "chain-deep: /srv/vm/web.qcow2 has 40 unconsolidated layers (limit: 25)", and what
 * happened to it. */
static int finding_message(const struct finding *finding, const char *addition, const char *muted,
                           char **ret_message)
{
    _cleanup_free_ char *subject = text_escape_string(finding->subject);
    const char *name = finding_definition(finding->type)->name, *summary = finding_summary(finding);
    const char *who[] = {
        [SUBJECT_IMAGE] = "", [SUBJECT_DATASTORE] = "datastore ", [SUBJECT_DAEMON] = "qcauditd",
        [SUBJECT_DOMAIN] = "domain ",
    };

    if (!subject || asprintf(ret_message, "%s: %s%s %s%s%s", name, who[finding->subject_kind],
                             subject, summary, addition, muted) < 0)
        return -ENOMEM;
    return 0;
}

struct telling {
    uint64_t now;
    uint32_t depth;
    bool counts;                /* rests on an audit that was not counted yet */
    const struct mutes *mutes;
    struct finding_index *index;
    findings_changed_fn changed;
    void *userdata;
};

/* The one who is told may give the finding its number. event: NULL, nothing is to be told. */
static int hand_on(const struct telling *telling, struct finding *finding,
                   const struct event *event)
{
    const bool numbered = finding->id > 0;
    int r;

    if (!telling->changed)
        return 0;
    r = numbered ? 0 : finding_index_reserve(telling->index);
    if (r < 0)
        return r;
    r = telling->changed(telling->userdata, finding, event);
    if (!numbered && finding->id > 0)
        finding_index_add(telling->index, finding);
    return r;
}

/* Tells of a transition; addition goes behind the summary. */
static int tell(const struct telling *telling, struct finding *finding, enum event_type type,
                const char *format, ...) __attribute__((format(printf, 4, 5)));

static int tell(const struct telling *telling, struct finding *finding, enum event_type type,
                const char *format, ...)
{
    _cleanup_free_ char *message = NULL, *addition = NULL;
    struct event event = {
        .type = type,
        .at = telling->now,
        .finding = finding->type,
        .finding_id = finding->id,
        .subject_kind = finding->subject_kind,
        .subject = finding->subject,
        .datastore = finding->datastore,
        .severity = finding->severity,
        .confidence = finding->confidence,
        .depth = telling->depth,
        .muted_by = finding->muted_by,
    };
    char muted[48] = "";
    va_list arguments;
    int r;

    finding->changed = type == EVENT_REMINDER ? finding->changed : telling->now;
    va_start(arguments, format);
    r = vasprintf(&addition, format, arguments);
    va_end(arguments);
    if (r < 0) {
        addition = NULL;
        return -ENOMEM;
    }
    if (event.muted_by > 0 && event_type_alerts(type))
        snprintf(muted, sizeof(muted), " (not told: mute %" PRId64 ")", event.muted_by);
    r = finding_message(finding, addition, muted, &message);
    if (r < 0)
        return r;
    event.message = message;
    r = sd_id128_randomize(&event.id);
    if (r < 0)
        return r;
    return hand_on(telling, finding, &event);
}

/* ---- transitions ---------------------------------------------------------------------------- */

static void finding_forget_acknowledgement(struct finding *finding)
{
    free(TAKE_PTR(finding->acknowledged_by));
    free(TAKE_PTR(finding->acknowledged_reason));
    finding->acknowledged_until = 0;
    finding->acknowledged_weight = 0;
    finding->of_other_file = false;
}

/* Open from now on, and told: reminders begin anew. */
static void finding_open(struct finding *finding, uint64_t now)
{
    finding->state = FINDING_OPEN;
    finding->resolved = 0;
    finding->reminded = now;
    finding->reminders = 0;
    finding_forget_acknowledgement(finding);
}

/* The mute by which it is not told from now on. One that covers it already covers it at the
 * severity that it had then. */
static void finding_cover(struct finding *finding, const struct mute *mute)
{
    if (mute && mute->id != finding->muted_by)
        finding->muted_severity = finding->severity;
    finding->muted_by = mute ? mute->id : 0;
}

/* Is it worse than what was muted? Then no mute that there is covers it any more. */
static bool finding_breaks_mute(struct finding *finding, const struct telling *telling)
{
    if (finding->muted_by == 0 || finding->severity <= finding->muted_severity)
        return false;
    finding->muted_by = 0;
    finding->mutes_broken = mutes_last_id(telling->mutes);
    return true;
}

static void finding_see(struct finding *finding, const struct telling *telling)
{
    finding->last_seen = telling->now;
    finding->misses = 0;
    if (telling->counts || finding->count == 0)
        finding->count++;
}

static void finding_take(struct finding *finding, const struct condition *condition,
                         const struct telling *telling)
{
    json_object_put(finding->evidence);
    finding->evidence = json_object_get(condition->evidence);
    finding->severity = condition->severity;
    finding->confidence = condition->confidence;
    finding->weight = condition->weight;
    finding_see(finding, telling);
}

static int finding_new(enum finding_type type, const struct subject *subject, const char *datastore,
                       struct finding **ret_finding)
{
    struct finding *finding = calloc(1, sizeof(*finding));

    if (!finding)
        return -ENOMEM;
    finding->type = type;
    finding->subject_kind = subject->kind;
    finding->subject = strdup(subject->name);
    finding->datastore = strdup(datastore);
    if (!finding->subject || !finding->datastore) {
        finding_free(finding);
        return -ENOMEM;
    }
    *ret_finding = finding;
    return 0;
}

/* The condition holds and nothing is open about it. */
static int finding_begins(struct subject *subject, const struct condition *condition,
                          const char *datastore, const struct telling *telling)
{
    struct finding **slot = &subject->findings[condition->type], *finding = *slot;
    bool again = finding && (telling->now < finding->resolved ||
                             telling->now - finding->resolved <= FINDINGS_REOPEN);
    char since[TEXT_DURATION_MAX];
    uint64_t resolved;
    int r;

    if (!finding) {
        r = finding_new(condition->type, subject, datastore, slot);
        if (r < 0)
            return r;
        finding = *slot;
    }
    resolved = finding->resolved;
    if (!again) {
        finding->first_seen = telling->now;
        finding->count = 0;
        finding->muted_by = finding->mutes_broken = 0;
    }
    finding_take(finding, condition, telling);
    finding_open(finding, telling->now);
    finding_cover(finding, mutes_cover(telling->mutes, finding, true, telling->now));
    (void)finding_breaks_mute(finding, telling);
    if (again)
        return tell(telling, finding, EVENT_REOPENED, " (again, it was resolved %s)",
                    text_age(resolved, telling->now, since));
    return tell(telling, finding, EVENT_OPENED, "%s", "");
}

/* Did it get worse than what was acknowledged? A chain grows by a layer with every snapshot: that
 * was known, and what counts is that it grew by more than half. */
static bool finding_grew(const struct finding *finding)
{
    uint64_t known = finding->acknowledged_weight;

    if (finding->type == FINDING_CHAIN_DEEP || finding->type == FINDING_CHAIN_LIMIT)
        known += known / 2;
    return finding->weight > known;
}

/* Rests this on the content of an image, of which a look while it is in use sees only a part? */
static bool type_is_of_content(enum finding_type type)
{
    return type == FINDING_METADATA_CORRUPT || type == FINDING_CORRUPT_BIT_SET ||
           type == FINDING_READ_ERROR;
}

/* The stronger word stands: what was seen while nobody wrote, beside a look at the image in use
 * that says no more. */
static bool condition_is_weaker(const struct finding *finding, const struct condition *condition)
{
    return type_is_of_content(finding->type) && finding->confidence >= CONFIDENCE_FROZEN &&
           condition->confidence < CONFIDENCE_FROZEN && condition->severity <= finding->severity &&
           condition->weight <= finding->weight;
}

/* The condition still holds: other evidence alone is nothing to tell of. */
static int finding_goes_on(struct finding *finding, const struct condition *condition,
                           const struct telling *telling)
{
    enum severity before = finding->severity;

    if (condition_is_weaker(finding, condition))
        finding_see(finding, telling);
    else
        finding_take(finding, condition, telling);
    if (finding->severity > before) {
        bool breaks = finding_breaks_mute(finding, telling);

        finding_open(finding, telling->now);
        return tell(telling, finding, EVENT_WORSENED, " (%s, was %s%s)",
                    severity_name(finding->severity), severity_name(before),
                    breaks ? ": it is no longer muted" : "");
    }
    if (finding->state == FINDING_ACKNOWLEDGED && finding->of_other_file) {
        finding_open(finding, telling->now);
        return tell(telling, finding, EVENT_UNACKNOWLEDGED, " (another file lies there now)");
    }
    if (finding->state == FINDING_ACKNOWLEDGED && finding_grew(finding)) {
        finding_open(finding, telling->now);
        return tell(telling, finding, EVENT_UNACKNOWLEDGED, " (more than was acknowledged)");
    }
    if (finding->severity < before)
        return tell(telling, finding, EVENT_EASED, " (%s, was %s)",
                    severity_name(finding->severity), severity_name(before));
    return hand_on(telling, finding, NULL);
}

static void subject_replaced(struct subject *subject)
{
    for (int type = 0; type < _FINDING_MAX; type++)
        if (subject->findings[type] && subject->findings[type]->state == FINDING_ACKNOWLEDGED)
            subject->findings[type]->of_other_file = true;
}

void findings_replaced(struct findings *findings, enum subject_kind kind, const char *name)
{
    struct subject *subject = findings_subject(findings, kind, name);

    if (subject)
        subject_replaced(subject);
}

static int finding_resolve(struct finding *finding, const char *why, const struct telling *telling)
{
    char since[TEXT_DURATION_MAX];

    finding->state = FINDING_RESOLVED;
    finding->resolved = telling->now;
    finding->misses = 0;
    finding_forget_acknowledgement(finding);
    return tell(
        telling, finding, EVENT_RESOLVED, ": %s after %s", why,
        text_duration(telling->now > finding->first_seen ? telling->now - finding->first_seen : 0,
                      since));
}

/* The condition was looked for and does not hold. */
static int finding_misses(struct finding *finding, const struct judgement *judgement,
                          const struct telling *telling)
{
    if (telling->counts)
        finding->misses++;
    if (judgement->confidence >= CONFIDENCE_FROZEN || judgement->sure[finding->type] ||
        finding->misses >= MISSES_TO_RESOLVE)
        return finding_resolve(finding, "resolved", telling);
    return hand_on(telling, finding, NULL);
}

/* Has the condition held for as long as it must? *ret_held is false while it has not. */
static int subject_hold(struct subject *subject, const struct condition *condition, uint64_t now,
                        bool *ret_held)
{
    uint64_t *since, until;

    *ret_held = true;
    if (condition->hold == 0)
        return 0;
    if (!subject->held) {
        subject->held = calloc(_FINDING_MAX, sizeof(*subject->held));
        if (!subject->held)
            return -ENOMEM;
    }
    since = &subject->held[condition->type];
    if (*since == 0 || *since > now)
        *since = now;
    if (now - *since >= condition->hold)
        return 0;
    until = *since + condition->hold;
    if (until < subject->held_until)
        subject->held_until = until;
    *ret_held = false;
    return 0;
}

/* A condition that was looked for and does not hold begins anew, should it ever hold again. */
static void subject_let_go(struct subject *subject, const bool *holds, const bool *judged)
{
    bool any = false;

    for (int type = 0; subject->held && type < _FINDING_MAX; type++) {
        if (!holds[type] && judged[type])
            subject->held[type] = 0;
        any |= subject->held[type] > 0;
    }
    if (!any)
        free(TAKE_PTR(subject->held));
}

uint64_t findings_held_until(const struct findings *findings, enum subject_kind kind,
                             const char *subject_name)
{
    const struct subject *subject = findings_subject(findings, kind, subject_name);

    return subject ? subject->held_until : UINT64_MAX;
}

int findings_apply(struct findings *findings, enum subject_kind kind, const char *subject_name,
                   const char *datastore, const struct judgement *judgement, uint32_t depth,
                   uint64_t now, findings_changed_fn changed, void *userdata)
{
    struct telling telling = {
        .now = now, .depth = depth, .mutes = findings->mutes, .index = findings->index,
        .changed = changed, .userdata = userdata
    };
    struct subject *subject = findings_subject(findings, kind, subject_name);
    bool holds[_FINDING_MAX] = { false };
    int r;

    if (!subject && judgement->conditions.n_items == 0)
        return 0;
    if (!subject) {
        r = findings_ensure_subject(findings, kind, subject_name, &subject);
        if (r < 0)
            return r;
    }
    telling.counts = judgement->audited == 0 || judgement->audited != subject->audited;
    if (telling.counts && judgement->other_file)
        subject_replaced(subject);
    subject->audited = judgement->audited;
    subject->held_until = UINT64_MAX;
    for (size_t i = 0; i < judgement->conditions.n_items; i++) {
        const struct condition *condition = &judgement->conditions.items[i];
        struct finding *finding = subject->findings[condition->type];
        bool held = true;

        holds[condition->type] = true;
        r = finding_lives(finding) ? 0 : subject_hold(subject, condition, now, &held);
        if (r < 0)
            return r;
        if (!held)
            continue;
        r = finding_lives(finding) ? finding_goes_on(finding, condition, &telling)
                                   : finding_begins(subject, condition, datastore, &telling);
        if (r < 0)
            return r;
    }
    subject_let_go(subject, holds, judgement->judged);
    for (int type = 0; type < _FINDING_MAX; type++) {
        if (holds[type] || !judgement->judged[type] || !finding_lives(subject->findings[type]))
            continue;
        r = finding_misses(subject->findings[type], judgement, &telling);
        if (r < 0)
            return r;
    }
    return 0;
}

int findings_subject_gone(struct findings *findings, enum subject_kind kind,
                          const char *subject_name, const char *why, uint64_t now,
                          findings_changed_fn changed, void *userdata)
{
    const struct telling telling = { .now = now, .index = findings->index, .changed = changed,
                                     .userdata = userdata };
    struct subject *subject = findings_subject(findings, kind, subject_name);

    if (subject) {
        free(TAKE_PTR(subject->held));
        subject->held_until = UINT64_MAX;
    }
    for (int type = 0; subject && type < _FINDING_MAX; type++) {
        int r;

        if (!finding_lives(subject->findings[type]))
            continue;
        r = finding_resolve(subject->findings[type], why, &telling);
        if (r < 0)
            return r;
    }
    return 0;
}

static int finding_move(struct finding *finding, const char *subject, const char *datastore)
{
    char *new_subject = strdup(subject), *new_datastore = strdup(datastore);

    if (!new_subject || !new_datastore) {
        free(new_subject);
        free(new_datastore);
        return -ENOMEM;
    }
    free(finding->subject);
    free(finding->datastore);
    finding->subject = new_subject;
    finding->datastore = new_datastore;
    return 0;
}

int findings_rename(struct findings *findings, enum subject_kind kind, const char *before,
                    const char *after, const char *datastore)
{
    struct subject *from = findings_subject(findings, kind, before), *to;
    int r;

    if (!from || strcmp(before, after) == 0)
        return 0;
    r = findings_ensure_subject(findings, kind, after, &to);
    if (r < 0)
        return r;
    for (int type = 0; type < _FINDING_MAX; type++) {
        if (!from->findings[type])
            continue;
        r = finding_move(from->findings[type], after, datastore);
        if (r < 0)
            return r;
        findings_forget(findings, &to->findings[type]);
        to->findings[type] = TAKE_PTR(from->findings[type]);
    }
    free(to->held);
    to->held = TAKE_PTR(from->held);
    to->held_until = from->held_until;
    to->audited = from->audited;
    findings_forget_subject(findings, from);
    mutes_unsettle(findings->mutes);
    return 0;
}

int findings_acknowledge(struct findings *findings, int64_t id, const char *by, const char *reason,
                         uint64_t until, uint64_t now, findings_changed_fn changed, void *userdata)
{
    const struct telling telling = { .now = now, .index = findings->index, .changed = changed,
                                     .userdata = userdata };
    struct finding *finding = findings_by_id(findings, id);
    _cleanup_free_ char *new_by = NULL, *new_reason = NULL, *escaped_by = NULL,
                        *escaped_reason = NULL;

    if (!finding)
        return -ENOENT;
    if (!finding_lives(finding) || (until != 0 && until <= now))
        return -EINVAL;
    new_by = strdup(by ? by : "");
    new_reason = strdup(reason ? reason : "");
    escaped_by = text_escape_string(by);
    escaped_reason = text_escape_string(reason);
    if (!new_by || !new_reason || !escaped_by || !escaped_reason)
        return -ENOMEM;
    finding_forget_acknowledgement(finding);
    finding->state = FINDING_ACKNOWLEDGED;
    finding->of_other_file = false;
    finding->acknowledged_by = TAKE_PTR(new_by);
    finding->acknowledged_reason = TAKE_PTR(new_reason);
    finding->acknowledged_until = until;
    finding->acknowledged_weight = finding->weight;
    return tell(&telling, finding, EVENT_ACKNOWLEDGED, ": acknowledged by %s%s%s",
                escaped_by[0] ? escaped_by : "somebody", escaped_reason[0] ? ": " : "",
                escaped_reason);
}

/* Why the mute that covered it does not any more. */
static int uncovered_text(const struct telling *telling, int64_t id, char **ret_text)
{
    const struct mute *mute = mutes_get(telling->mutes, id);
    _cleanup_free_ char *by = mute && mute->ended_by ? text_escape_string(mute->ended_by) : NULL;

    if (mute && mute->ended_by && !by)
        return -ENOMEM;
    if (asprintf(ret_text, "mute %" PRId64 " %s%s", id,
                 by ? "was removed by " : mute && !mute_holds(mute, telling->now)
                 ? "has ended" : "no longer covers it", by ?: "") < 0)
        return -ENOMEM;
    return 0;
}

static int finding_tell_muted(struct finding *finding, const struct mute *mute,
                              const struct telling *telling)
{
    _cleanup_free_ char *by = text_escape_string(mute->by),
                        *reason = text_escape_string(mute->reason);

    return by && reason ? tell(telling, finding, EVENT_MUTED, ": muted by %s: %s (mute %" PRId64
                               ")", by, reason, mute->id)
                        : -ENOMEM;
}

/* The mutes changed: does one cover it now that did not, or none any more? What is acknowledged is
 * nothing to tell of. */
static int finding_settle_mute(struct finding *finding, const struct telling *telling)
{
    int64_t before = finding->muted_by;
    const struct mute *covered = mutes_get(telling->mutes, before);
    bool lost = before != 0 && !(covered && mute_holds(covered, telling->now));
    const struct mute *mute = mutes_cover(telling->mutes, finding,
                                          lost || mutes_want_all_anew(telling->mutes),
                                          telling->now);
    _cleanup_free_ char *why = NULL;
    int r;

    if ((mute ? mute->id : 0) == before)
        return 0;
    finding_cover(finding, mute);
    if (mute)
        return before == 0 ? finding_tell_muted(finding, mute, telling)
                           : hand_on(telling, finding, NULL);
    if (finding->state != FINDING_OPEN)
        return hand_on(telling, finding, NULL);
    finding->reminded = telling->now;
    finding->reminders = 0;
    r = uncovered_text(telling, before, &why);
    return r < 0 ? r : tell(telling, finding, EVENT_UNMUTED, " (%s)", why);
}

/* When the next reminder of an open finding is due. */
static uint64_t finding_reminder(const struct finding *finding, uint64_t reminder)
{
    uint64_t pause = reminder;

    for (uint32_t i = 0; i < finding->reminders && pause < FINDINGS_REMINDER_MAX; i++)
        pause *= 2;
    if (pause > FINDINGS_REMINDER_MAX && reminder < FINDINGS_REMINDER_MAX)
        pause = FINDINGS_REMINDER_MAX;
    if (__builtin_add_overflow(pause, finding->reminded, &pause))
        return UINT64_MAX;
    return pause;
}

/* Changes of a finding by time alone; *next is brought forward. */
static int finding_tick(struct finding *finding, uint64_t reminder, const struct telling *telling,
                        uint64_t *next)
{
    char since[TEXT_DURATION_MAX];
    uint64_t due = UINT64_MAX;
    int r = 0;

    if (finding->state == FINDING_ACKNOWLEDGED && finding->acknowledged_until != 0) {
        due = finding->acknowledged_until;
        if (due <= telling->now) {
            due = UINT64_MAX;
            finding_open(finding, telling->now);
            r = tell(telling, finding, EVENT_UNACKNOWLEDGED, " (the acknowledgement has expired)");
        }
    }
    if (finding->state == FINDING_OPEN && reminder > 0 && finding->muted_by == 0 &&
        finding->severity >= SEVERITY_WARNING) {
        /* A clock that was ahead and was put right must not silence it until then. */
        if (finding->reminded > telling->now) {
            finding->reminded = telling->now;
            r = hand_on(telling, finding, NULL);
        }
        due = finding_reminder(finding, reminder);
        if (r >= 0 && due <= telling->now) {
            finding->reminders++;
            finding->reminded = telling->now;
            r = tell(telling, finding, EVENT_REMINDER, " (since %s)",
                     text_duration(telling->now > finding->first_seen
                                       ? telling->now - finding->first_seen
                                       : 0, since));
            due = finding_reminder(finding, reminder);
        }
    } else if (finding->state == FINDING_RESOLVED) {
        due = finding->resolved + FINDINGS_REOPEN + 1;
    }
    if (due < *next)
        *next = due;
    return r;
}

int findings_tick(struct findings *findings, uint64_t now, uint64_t reminder,
                  findings_changed_fn changed, void *userdata, uint64_t *ret_next)
{
    const struct telling telling = { .now = now, .mutes = findings->mutes,
                                     .index = findings->index, .changed = changed,
                                     .userdata = userdata };
    uint64_t next = mutes_tick(findings->mutes, now);
    const bool unsettled = mutes_are_unsettled(findings->mutes);
    struct subject *subject, *following;

    for (subject = LIST_FIRST(&findings->subjects); subject; subject = following) {
        following = LIST_NEXT(subject, link);
        for (int type = 0; type < _FINDING_MAX; type++) {
            struct finding *finding = subject->findings[type];
            int r;

            if (!finding)
                continue;
            if (finding->state == FINDING_RESOLVED && now > finding->resolved &&
                now - finding->resolved > FINDINGS_REOPEN) {
                findings_forget(findings, &subject->findings[type]);
                continue;
            }
            r = unsettled && finding_lives(finding) ? finding_settle_mute(finding, &telling) : 0;
            if (r >= 0)
                r = finding_tick(finding, reminder, &telling, &next);
            if (r < 0)
                return r;
        }
        if (subject_is_empty(subject))
            findings_forget_subject(findings, subject);
    }
    mutes_settled(findings->mutes);
    *ret_next = next;
    return 0;
}

void findings_expire(struct findings *findings, uint64_t now)
{
    struct subject *subject;

    LIST_FOREACH(subject, &findings->subjects, link)
        for (int type = 0; type < _FINDING_MAX; type++) {
            struct finding *finding = subject->findings[type];
            const struct mute *mute;

            if (!finding_lives(finding))
                continue;
            /* Of the mutes that cover the finding this one lasts longest: none is left then. */
            mute = mutes_get(findings->mutes, finding->muted_by);
            if (!mute || !mute_holds(mute, now))
                finding->muted_by = 0;
            if (finding->state == FINDING_ACKNOWLEDGED && finding->acknowledged_until != 0 &&
                finding->acknowledged_until <= now)
                finding_open(finding, now);
        }
}
