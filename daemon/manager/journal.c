/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What outlives the database: baselines and acknowledgements, written to the journal and taken from
 * it again. */
#include <errno.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/manager/baseline.h"
#include "helpers/text.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

DEFINE_CLEANUP(json_object *, json_object_put)

/* It is written anew when so many lines say nothing any more. */
#define STALE_LINES_MAX 10000

/* An acknowledgement that the journal has. */
struct acknowledgement {
    struct acknowledgement *next;
    bool pending;               /* from before the database was lost: to be done again */
    char *finding, *kind, *subject, *by, *reason;
    uint64_t until;             /* usec, 0 without end */
    uint64_t weight;
    char *severity;
    int64_t id;                 /* of the finding that was opened again; 0 not yet */
};

static char *journal_path(const struct manager *manager)
{
    char *path;

    return asprintf(&path, "%s/" CONTROL_JOURNAL_NAME, manager->options.state_directory) < 0
               ? NULL : path;
}

static struct acknowledgement *acknowledgement_free(struct acknowledgement *ack)
{
    if (!ack)
        return NULL;
    free(ack->finding);
    free(ack->kind);
    free(ack->subject);
    free(ack->by);
    free(ack->reason);
    free(ack->severity);
    free(ack);
    return NULL;
}

/* False when it was not there. */
static bool take_out(struct acknowledgement **list, const char *finding, const char *kind,
                     const char *subject)
{
    for (struct acknowledgement **at = list; *at; at = &(*at)->next)
        if (strcmp((*at)->finding, finding) == 0 && strcmp((*at)->kind, kind) == 0 &&
            strcmp((*at)->subject, subject) == 0) {
            struct acknowledgement *ack = *at;

            *at = ack->next;
            acknowledgement_free(ack);
            return true;
        }
    return false;
}

static bool forget_finding(struct manager *manager, const struct finding *finding)
{
    return take_out(&manager->acknowledgements, finding_definition(finding->type)->name,
                    subject_kind_name(finding->subject_kind), finding->subject);
}

/* The journal has it from now on. */
static void remember_finding(struct manager *manager, const struct finding *finding)
{
    struct acknowledgement *ack = calloc(1, sizeof(*ack));

    (void)forget_finding(manager, finding);
    if (!ack)
        return;
    ack->finding = strdup(finding_definition(finding->type)->name);
    ack->kind = strdup(subject_kind_name(finding->subject_kind));
    ack->subject = strdup(finding->subject);
    if (!ack->finding || !ack->kind || !ack->subject) {
        acknowledgement_free(ack);
        return;
    }
    ack->next = manager->acknowledgements;
    manager->acknowledgements = ack;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct lines {
    struct manager *manager;
    char *path;
    bool rewrite;
    char *text;
    size_t length, allocated;
    uint64_t n;
};

static void lines_free(struct lines *lines)
{
    free(lines->path);
    free(lines->text);
    free(lines);
}

static int lines_new(struct manager *manager, struct lines **ret_lines)
{
    struct lines *lines = calloc(1, sizeof(*lines));

    if (!lines)
        return -ENOMEM;
    lines->manager = manager;
    lines->path = journal_path(manager);
    if (!lines->path) {
        lines_free(lines);
        return -ENOMEM;
    }
    *ret_lines = lines;
    return 0;
}

static int lines_add(struct lines *lines, json_object *entry)
{
    _cleanup_free_ char *line = NULL;
    size_t n;
    int r = ledger_line(entry, &line);

    if (r < 0)
        return r;
    n = strlen(line);
    if (lines->length + n > lines->allocated) {
        size_t size = (lines->length + n) * 2;
        char *text = realloc(lines->text, size);

        if (!text)
            return -ENOMEM;
        lines->text = text;
        lines->allocated = size;
    }
    memcpy(lines->text + lines->length, line, n);
    lines->length += n;
    lines->n++;
    return 0;
}

static int run_lines(void *userdata)
{
    const struct lines *lines = userdata;

    return lines->rewrite
               ? ledger_rewrite(lines->path, lines->text ? lines->text : "", lines->length)
               : ledger_append(lines->path, lines->text, lines->length);
}

static void on_lines(void *userdata, int error)
{
    struct lines *lines = userdata;

    /* What is missing in it comes with the next writing of the whole. */
    if (error < 0 && error != -ECANCELED) {
        if (lines->manager->journal_error != error)
            log_error(error, "Cannot write %s: %m; it is written anew later", lines->path);
        lines->manager->journal_stale = STALE_LINES_MAX + 1;
    }
    if (error != -ECANCELED)
        lines->manager->journal_error = error;
    lines_free(lines);
}

static int lines_post(struct lines *lines)
{
    int r = store_task(lines->manager->store, run_lines, on_lines, lines);

    if (r < 0)
        lines_free(lines);
    return r;
}

static int put_baseline(void *userdata, struct baseline *baseline)
{
    _cleanup_(json_object_putp) json_object *entry = json_object_new_object();
    json_object *object = NULL;
    int r = entry ? baseline_to_json(baseline, &object) : -ENOMEM;

    if (r < 0)
        return r;
    if (json_object_object_add(entry, "baseline", object) < 0) {
        json_object_put(object);
        return -ENOMEM;
    }
    return lines_add(userdata, entry);
}

static int add_string(json_object *object, const char *key, const char *value)
{
    json_object *string = value ? json_object_new_string(value) : NULL;

    if (!value)
        return 0;
    if (!string || json_object_object_add(object, key, string) < 0) {
        json_object_put(string);
        return -ENOMEM;
    }
    return 0;
}

static int add_number(json_object *object, const char *key, uint64_t value)
{
    json_object *number = json_object_new_uint64(value);

    if (!number || json_object_object_add(object, key, number) < 0) {
        json_object_put(number);
        return -ENOMEM;
    }
    return 0;
}

static int put_acknowledgement(struct lines *lines, const struct finding *finding)
{
    _cleanup_(json_object_putp) json_object *entry = json_object_new_object();
    json_object *object = json_object_new_object();

    if (!entry || !object || json_object_object_add(entry, "acknowledged", object) < 0) {
        json_object_put(object);
        return -ENOMEM;
    }
    if (add_string(object, "finding", finding_definition(finding->type)->name) < 0 ||
        add_string(object, "kind", subject_kind_name(finding->subject_kind)) < 0 ||
        add_string(object, "subject", finding->subject) < 0 ||
        add_string(object, "by", finding->acknowledged_by ? finding->acknowledged_by : "") < 0 ||
        add_string(object, "reason",
                   finding->acknowledged_reason ? finding->acknowledged_reason : "") < 0 ||
        add_string(object, "severity", severity_name(finding->severity)) < 0 ||
        add_number(object, "until", finding->acknowledged_until) < 0 ||
        add_number(object, "weight", finding->acknowledged_weight) < 0)
        return -ENOMEM;
    return lines_add(lines, entry);
}

static int put_finding(void *userdata, struct finding *finding)
{
    return finding->state == FINDING_ACKNOWLEDGED ? put_acknowledgement(userdata, finding) : 0;
}

/* All that counts, in place of the old journal. */
static void rewrite(struct manager *manager)
{
    struct lines *lines = NULL;
    int r = lines_new(manager, &lines);

    if (r >= 0) {
        lines->rewrite = true;
        r = baselines_each(manager->baselines, put_baseline, lines);
    }
    if (r >= 0)
        r = findings_each(manager->findings, 0, put_finding, lines);
    if (r < 0) {
        if (lines)
            lines_free(lines);
    } else {
        r = lines_post(lines);
    }
    if (r < 0)
        log_error(r, "Cannot write the journal of baselines anew: %m");
    else
        manager->journal_stale = 0;
}

/* One write and one sync for all that happens in one go. */
void journal_flush(struct manager *manager)
{
    struct lines *lines = TAKE_PTR(manager->journal_lines);
    int r;

    if (!lines)
        return;
    manager->journal_stale += lines->n;
    if (manager->journal_stale > STALE_LINES_MAX + 2 * baselines_count(manager->baselines)) {
        lines_free(lines);
        rewrite(manager);
        return;
    }
    r = lines_post(lines);
    if (r < 0)
        log_error(r, "Cannot write the journal of baselines: %m");
}

static void append(struct manager *manager, int (*put)(struct lines *lines, const void *what),
                   const void *what)
{
    int r = manager->journal_lines ? 0 : lines_new(manager, &manager->journal_lines);

    if (r >= 0)
        r = put(manager->journal_lines, what);
    if (r < 0) {
        log_error(r, "Cannot write the journal of baselines: %m; it is written anew later");
        manager->journal_stale = STALE_LINES_MAX + 1;
    }
}

static int put_one_baseline(struct lines *lines, const void *what)
{
    return put_baseline(lines, (struct baseline *)(uintptr_t)what);
}

void journal_baseline(struct manager *manager, const struct baseline *baseline)
{
    append(manager, put_one_baseline, baseline);
}

static int put_gone(struct lines *lines, const void *what)
{
    const struct identity *identity = what;
    _cleanup_(json_object_putp) json_object *entry = json_object_new_object();
    json_object *object = json_object_new_object(), *btime = json_object_new_int64(identity->btime);

    if (!entry || !object || json_object_object_add(entry, "forgotten", object) < 0) {
        json_object_put(object);
        json_object_put(btime);
        return -ENOMEM;
    }
    if (!btime || json_object_object_add(object, "btime", btime) < 0) {
        json_object_put(btime);
        return -ENOMEM;
    }
    if (add_number(object, "fsid", identity->fsid) < 0 ||
        add_number(object, "inode", identity->inode) < 0)
        return -ENOMEM;
    return lines_add(lines, entry);
}

void journal_baseline_gone(struct manager *manager, const struct identity *identity)
{
    append(manager, put_gone, identity);
}

/* A finding was opened: was it acknowledged before the database was lost? */
static void match_acknowledgement(struct manager *manager, const struct finding *finding)
{
    for (struct acknowledgement *ack = manager->acknowledgements; ack; ack = ack->next)
        if (ack->pending && strcmp(ack->finding, finding_definition(finding->type)->name) == 0 &&
            strcmp(ack->kind, subject_kind_name(finding->subject_kind)) == 0 &&
            strcmp(ack->subject, finding->subject) == 0)
            /* One that got worse since is told. */
            ack->id = finding->weight <= ack->weight &&
                              severity_from_name(ack->severity) >= (int)finding->severity &&
                              (ack->until == 0 || ack->until > manager_now(manager))
                          ? finding->id
                          : -1;
}

static int put_one_acknowledgement(struct lines *lines, const void *what)
{
    return put_acknowledgement(lines, what);
}

static int put_ended(struct lines *lines, const void *what)
{
    const struct finding *finding = what;
    _cleanup_(json_object_putp) json_object *entry = json_object_new_object();
    json_object *object = json_object_new_object();

    if (!entry || !object || json_object_object_add(entry, "ended", object) < 0) {
        json_object_put(object);
        return -ENOMEM;
    }
    if (add_string(object, "finding", finding_definition(finding->type)->name) < 0 ||
        add_string(object, "kind", subject_kind_name(finding->subject_kind)) < 0 ||
        add_string(object, "subject", finding->subject) < 0)
        return -ENOMEM;
    return lines_add(lines, entry);
}

void journal_event(struct manager *manager, const struct finding *finding, enum event_type type)
{
    switch (type) {
    case EVENT_ACKNOWLEDGED:
        append(manager, put_one_acknowledgement, finding);
        remember_finding(manager, finding);
        break;
    case EVENT_RESOLVED:
    case EVENT_UNACKNOWLEDGED:
    case EVENT_WORSENED:
        if (forget_finding(manager, finding))
            append(manager, put_ended, finding);
        break;
    case EVENT_OPENED:
        match_acknowledgement(manager, finding);
        break;
    default:
        break;
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

struct import {
    struct manager *manager;
    struct baselines *baselines;
    struct acknowledgement *acknowledgements;
};

static int take_baseline(struct import *import, json_object *object)
{
    struct baseline *baseline, *before;
    int r = baseline_from_json(object, &baseline);

    if (r < 0)
        return r;
    before = baselines_find(import->baselines, &baseline->identity);
    if (before)
        baselines_remove(import->baselines, before);
    r = baselines_add(import->baselines, baseline);
    if (r < 0)
        baseline_free(baseline);
    return r;
}

static const char *text_of(json_object *object, const char *key)
{
    json_object *value;

    return json_object_object_get_ex(object, key, &value) &&
                   json_object_is_type(value, json_type_string)
               ? json_object_get_string(value)
               : NULL;
}

static bool number_of(json_object *object, const char *key, json_object **ret_value)
{
    return json_object_object_get_ex(object, key, ret_value) &&
           json_object_is_type(*ret_value, json_type_int);
}

static int take_forgotten(struct import *import, json_object *object)
{
    json_object *fsid, *inode, *btime;
    struct identity identity;
    struct baseline *baseline;

    if (!json_object_is_type(object, json_type_object) || !number_of(object, "fsid", &fsid) ||
        !number_of(object, "inode", &inode) || !number_of(object, "btime", &btime))
        return -EBADMSG;
    identity = (struct identity){ json_object_get_uint64(fsid), json_object_get_uint64(inode),
                                  json_object_get_int64(btime) };
    baseline = baselines_find(import->baselines, &identity);
    if (baseline)
        baselines_remove(import->baselines, baseline);
    return 0;
}

static int take_acknowledgement(struct import *import, json_object *object)
{
    const char *finding = NULL, *kind = NULL, *subject = NULL, *by = NULL, *reason = NULL,
               *severity = NULL;
    json_object *until, *weight;
    struct acknowledgement *ack;

    if (json_object_is_type(object, json_type_object)) {
        finding = text_of(object, "finding");
        kind = text_of(object, "kind");
        subject = text_of(object, "subject");
        by = text_of(object, "by");
        reason = text_of(object, "reason");
        severity = text_of(object, "severity");
    }
    if (!finding || !kind || !subject || !by || !reason || !severity ||
        !number_of(object, "until", &until) || !number_of(object, "weight", &weight))
        return -EBADMSG;
    (void)take_out(&import->acknowledgements, finding, kind, subject);
    ack = calloc(1, sizeof(*ack));
    if (!ack)
        return -ENOMEM;
    *ack = (struct acknowledgement){
        .next = import->acknowledgements,
        .finding = strdup(finding), .kind = strdup(kind),
        .subject = strdup(subject), .by = strdup(by), .reason = strdup(reason),
        .severity = strdup(severity),
        .until = json_object_get_uint64(until), .weight = json_object_get_uint64(weight),
    };
    if (!ack->finding || !ack->kind || !ack->subject || !ack->by || !ack->reason ||
        !ack->severity) {
        acknowledgement_free(ack);
        return -ENOMEM;
    }
    import->acknowledgements = ack;
    return 0;
}

static int take_ended(struct import *import, json_object *object)
{
    const char *finding = NULL, *kind = NULL, *subject = NULL;

    if (json_object_is_type(object, json_type_object)) {
        finding = text_of(object, "finding");
        kind = text_of(object, "kind");
        subject = text_of(object, "subject");
    }
    if (!finding || !kind || !subject)
        return -EBADMSG;
    (void)take_out(&import->acknowledgements, finding, kind, subject);
    return 0;
}

static int on_entry(void *userdata, json_object *entry)
{
    json_object *object;

    if (json_object_object_get_ex(entry, "baseline", &object))
        return take_baseline(userdata, object);
    if (json_object_object_get_ex(entry, "forgotten", &object))
        return take_forgotten(userdata, object);
    if (json_object_object_get_ex(entry, "acknowledged", &object))
        return take_acknowledgement(userdata, object);
    if (json_object_object_get_ex(entry, "ended", &object))
        return take_ended(userdata, object);
    return 0;                   /* of a newer program */
}

/* What the database lost, or has in an older state. */
static int merge_one(void *userdata, struct baseline *baseline)
{
    struct import *import = userdata;
    struct manager *manager = import->manager;
    struct baseline *known = baselines_find(manager->baselines, &baseline->identity), *copy = NULL;
    json_object *object = NULL;
    int r;

    if (known && (known->since > baseline->since ||
                  (known->since == baseline->since && known->verified >= baseline->verified)))
        return 0;
    r = baseline_to_json(baseline, &object);
    if (r >= 0)
        r = baseline_from_json(object, &copy);
    json_object_put(object);
    if (r < 0)
        return r;
    if (known)
        baselines_remove(manager->baselines, known);
    r = baselines_add(manager->baselines, copy);
    if (r < 0) {
        baseline_free(copy);
        return r;
    }
    manager->journal_imported++;
    return 0;
}

static int count_missing(void *userdata, struct baseline *baseline)
{
    struct import *import = userdata;

    if (!baselines_find(import->baselines, &baseline->identity))
        import->manager->journal_stale = STALE_LINES_MAX + 1;
    return 0;
}

static void tell_report(struct manager *manager, const char *path,
                        const struct ledger_report *report)
{
    if (report->torn) {
        log_notice(0, "%s: its last line was not written to its end, and is left out", path);
        (void)ledger_cut(path, report->end);
    }
    if (report->damaged > 0) {
        log_error(-EBADMSG, "%s: %llu damaged line%s, the first is line %llu: left out", path,
                  (unsigned long long)report->damaged, report->damaged == 1 ? "" : "s",
                  (unsigned long long)report->first_damaged);
        baseline_tell_damage(manager, "the journal of baselines (%llu line%s, first line %llu)",
                             (unsigned long long)report->damaged, report->damaged == 1 ? "" : "s",
                             (unsigned long long)report->first_damaged);
        manager->journal_stale = STALE_LINES_MAX + 1;   /* the next one is sound */
    }
}

/* Before anything else is written: the damaged lines are looked at by somebody, perhaps. */
static void keep_damaged(const char *path)
{
    _cleanup_free_ char *aside = NULL;

    if (asprintf(&aside, "%s.damaged", path) < 0) {
        aside = NULL;
        return;
    }
    if (rename(path, aside) < 0)
        log_warning(-errno, "Cannot rename %s: %m", path);
}

int journal_load(struct manager *manager)
{
    struct import import = { .manager = manager };
    _cleanup_free_ char *path = journal_path(manager);
    _cleanup_fclose_ FILE *file = NULL;
    struct ledger_report report = { .entries = 0 };
    int r = path ? baselines_new(&import.baselines) : -ENOMEM;

    if (r < 0)
        return r;
    file = state_file_open(path);
    if (file)
        r = ledger_read(file, on_entry, &import, &report);
    else if (errno != ENOENT)
        r = -errno;
    if (r < 0 && !state_error_passes(r)) {      /* else its content must not be lost for that */
        log_error(r, "Cannot read %s: %m", path);
        baseline_tell_damage(manager, "the journal of baselines (%s)", strerror(-r));
        manager->journal_stale = STALE_LINES_MAX + 1;
        keep_damaged(path);
        r = 0;
    } else if (r >= 0) {
        tell_report(manager, path, &report);
        if (report.damaged > 0)
            keep_damaged(path);
    }
    if (r >= 0)
        r = baselines_each(import.baselines, merge_one, &import);
    if (r >= 0)
        r = baselines_each(manager->baselines, count_missing, &import);
    if (r >= 0 && manager->journal_imported > 0)
        log_notice(0, "%zu baseline%s taken from the journal, which the database does not have",
                   manager->journal_imported, manager->journal_imported == 1 ? "" : "s");
    /* What it lacks is in the database; where that is new, too, acknowledgements wait for their
     * findings. */
    if (r >= 0 && manager->journal_stale > STALE_LINES_MAX && !manager->first_pass)
        rewrite(manager);
    /* Acknowledgements are in the database, where there is one. */
    while (import.acknowledgements) {
        struct acknowledgement *ack = import.acknowledgements;

        import.acknowledgements = ack->next;
        ack->pending = manager->first_pass;
        ack->next = manager->acknowledgements;
        manager->acknowledgements = ack;
    }
    baselines_free(import.baselines);
    return r;
}

/* ---- acknowledged before the database was lost ----------------------------------------------- */

void journal_acknowledge(struct manager *manager)
{
    struct acknowledgement **at = &manager->acknowledgements;

    while (*at) {
        struct acknowledgement *ack = *at;

        if (ack->id == 0) {
            at = &ack->next;
            continue;
        }
        *at = ack->next;
        if (ack->id > 0)
            (void)judge_acknowledge(manager, ack->id, ack->by, ack->reason, ack->until,
                                    NULL, NULL);
        acknowledgement_free(ack);
        at = &manager->acknowledgements;        /* that changed the list */
    }
}

void journal_done(struct manager *manager)
{
    if (manager->journal_lines)
        lines_free(manager->journal_lines);
    manager->journal_lines = NULL;
    while (manager->acknowledgements) {
        struct acknowledgement *ack = manager->acknowledgements;

        manager->acknowledgements = ack->next;
        acknowledgement_free(ack);
    }
}
