/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ledger is written: what outlives the database: baselines, acknowledgements and
 * mutes. */
#include <errno.h>
#include <string.h>

#include "daemon/contents/internal.h"
#include "daemon/core/log.h"
#include "helpers/json-text.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

DEFINE_CLEANUP(json_object *, json_object_put)

/* The ledger is written anew when so many lines say nothing any more. */
#define STALE_LINES_MAX 10000

char *ledger_path(const struct contents *contents)
{
    char *path;

    return asprintf(&path, "%s/" CONTROL_JOURNAL_NAME, contents->state_directory) < 0
               ? NULL : path;
}

struct ledger_lines {
    struct contents *contents;
    char *path;
    bool rewrite;
    char *text;
    size_t length, allocated;
    uint64_t n;
};

static void lines_free(struct ledger_lines *lines)
{
    free(lines->path);
    free(lines->text);
    free(lines);
}

static int lines_new(struct contents *contents, struct ledger_lines **ret_lines)
{
    struct ledger_lines *lines = calloc(1, sizeof(*lines));

    if (!lines)
        return -ENOMEM;
    lines->contents = contents;
    lines->path = ledger_path(contents);
    if (!lines->path) {
        lines_free(lines);
        return -ENOMEM;
    }
    *ret_lines = lines;
    return 0;
}

static int lines_add(struct ledger_lines *lines, json_object *entry)
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
    const struct ledger_lines *lines = userdata;

    return lines->rewrite
               ? ledger_rewrite(lines->path, lines->text ? lines->text : "", lines->length)
               : ledger_append(lines->path, lines->text, lines->length);
}

static void on_lines(void *userdata, int error)
{
    struct ledger_lines *lines = userdata;

    /* Entries that are missing come with the next writing of the whole ledger. */
    if (error < 0 && error != -ECANCELED) {
        if (lines->contents->ledger_error != error)
            log_error(error, "Cannot write %s: %m; it is written anew later", lines->path);
        lines->contents->anew = true;
    }
    if (error != -ECANCELED)
        lines->contents->ledger_error = error;
    lines_free(lines);
}

static int lines_post(struct ledger_lines *lines)
{
    int r = contents_task(lines->contents, run_lines, on_lines, lines);

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
    if (json_add(entry, "baseline", object) < 0)
        return -ENOMEM;
    return lines_add(userdata, entry);
}

/* As the ledger has it. */
struct ledger_acknowledgement {
    const char *finding, *kind, *subject, *by, *reason, *severity;
    uint64_t until, weight;
};

static int put_acknowledgement(struct ledger_lines *lines,
                               const struct ledger_acknowledgement *ack)
{
    _cleanup_(json_object_putp) json_object *entry = json_object_new_object();
    json_object *object = json_object_new_object();

    if (json_add(entry, "acknowledged", object) < 0 ||
        json_add_text(object, "finding", ack->finding) < 0 ||
        json_add_text(object, "kind", ack->kind) < 0 ||
        json_add_text(object, "subject", ack->subject) < 0 ||
        json_add_text(object, "by", ack->by) < 0 ||
        json_add_text(object, "reason", ack->reason) < 0 ||
        json_add_text(object, "severity", ack->severity) < 0 ||
        json_add_number(object, "until", ack->until) < 0 ||
        json_add_number(object, "weight", ack->weight) < 0)
        return -ENOMEM;
    return lines_add(lines, entry);
}

static int put_one_acknowledgement(struct ledger_lines *lines, const void *what)
{
    const struct finding *finding = what;

    return put_acknowledgement(
        lines, &(struct ledger_acknowledgement){
                   .finding = finding_definition(finding->type)->name,
                   .kind = subject_kind_name(finding->subject_kind), .subject = finding->subject,
                   .by = finding->acknowledged_by ? finding->acknowledged_by : "",
                   .reason = finding->acknowledged_reason ? finding->acknowledged_reason : "",
                   .severity = severity_name(finding->severity),
                   .until = finding->acknowledged_until, .weight = finding->acknowledged_weight });
}

static int put_finding(void *userdata, struct finding *finding)
{
    return finding->state == FINDING_ACKNOWLEDGED ? put_one_acknowledgement(userdata, finding) : 0;
}

/* Those of before the database was lost, whose findings were not opened again yet. */
static int put_pending(const struct contents *contents, struct ledger_lines *lines)
{
    const struct acknowledgement *ack;
    int r = 0;

    LIST_FOREACH(ack, &contents->acknowledgements, link)
        if (r >= 0 && ack->pending && ack->id == 0)
            r = put_acknowledgement(
                lines, &(struct ledger_acknowledgement){
                           .finding = ack->finding, .kind = ack->kind, .subject = ack->subject,
                           .by = ack->by, .reason = ack->reason, .severity = ack->severity,
                           .until = ack->until, .weight = ack->weight });
    return r;
}

/* One by the number of a finding ends with the database, which gives the numbers. */
static int put_mute(void *userdata, struct mute *mute)
{
    _cleanup_(json_object_putp) json_object *entry = json_object_new_object();
    json_object *object = json_object_new_object();

    if (mute->finding_id != 0) {
        json_object_put(object);
        return 0;
    }
    if (json_add(entry, "mute", object) < 0 ||
        json_add_number(object, "id", (uint64_t)mute->id) < 0 ||
        json_add_text(object, "finding", mute->finding) < 0 ||
        json_add_text(object, "path", mute->path) < 0 ||
        json_add_text(object, "class", mute->class) < 0 ||
        json_add_text(object, "by", mute->by) < 0 ||
        json_add_text(object, "reason", mute->reason) < 0 ||
        json_add_number(object, "made", mute->made) < 0 ||
        json_add_number(object, "until", mute->until) < 0 ||
        json_add(object, "ended", json_object_new_boolean(mute->ended > 0)) < 0)
        return -ENOMEM;
    return lines_add(userdata, entry);
}

static int put_holding_mute(void *userdata, struct mute *mute)
{
    return mute->ended == 0 ? put_mute(userdata, mute) : 0;
}

void ledger_write_anew(struct contents *contents)
{
    struct ledger_lines *lines = NULL;
    int r = lines_new(contents, &lines);

    if (r >= 0) {
        lines->rewrite = true;
        r = baselines_each(contents->baselines, put_baseline, lines);
    }
    if (r >= 0)
        r = contents->ops->each_finding(contents->userdata, put_finding, lines);
    if (r >= 0)
        r = contents->ops->each_mute(contents->userdata, put_holding_mute, lines);
    if (r >= 0)
        r = put_pending(contents, lines);
    if (r < 0) {
        if (lines)
            lines_free(lines);
    } else {
        r = lines_post(lines);
    }
    if (r < 0)
        log_error(r, "Cannot write the journal of baselines anew: %m");
    contents->anew = r < 0;
    if (r >= 0)
        contents->stale = 0;
}

/* One write and one sync for all that happens in one go. */
void contents_flush(struct contents *contents)
{
    struct ledger_lines *lines = TAKE_PTR(contents->lines);
    int r;

    if (!lines)
        return;
    contents->stale += lines->n;
    if (contents->anew ||
        contents->stale > STALE_LINES_MAX + 2 * baselines_count(contents->baselines)) {
        lines_free(lines);
        ledger_write_anew(contents);
        return;
    }
    r = lines_post(lines);
    if (r < 0)
        log_error(r, "Cannot write the journal of baselines: %m; it is written anew later");
    contents->anew = r < 0;
}

static void append(struct contents *contents,
                   int (*put)(struct ledger_lines *lines, const void *what), const void *what)
{
    int r = contents->lines ? 0 : lines_new(contents, &contents->lines);

    if (r >= 0)
        r = put(contents->lines, what);
    if (r < 0) {
        log_error(r, "Cannot write the journal of baselines: %m; it is written anew later");
        contents->anew = true;
    }
}

static int put_one_baseline(struct ledger_lines *lines, const void *what)
{
    return put_baseline(lines, (struct baseline *)(uintptr_t)what);
}

void ledger_baseline(struct contents *contents, const struct baseline *baseline)
{
    append(contents, put_one_baseline, baseline);
}

static int put_one_mute(struct ledger_lines *lines, const void *what)
{
    return put_mute(lines, (struct mute *)(uintptr_t)what);
}

void contents_mute(struct contents *contents, const struct mute *mute)
{
    append(contents, put_one_mute, mute);
}

static int put_gone(struct ledger_lines *lines, const void *what)
{
    const struct identity *identity = what;
    _cleanup_(json_object_putp) json_object *entry = json_object_new_object();
    json_object *object = json_object_new_object();

    if (json_add(entry, "forgotten", object) < 0 ||
        json_add(object, "btime", json_object_new_int64(identity->btime)) < 0 ||
        json_add_number(object, "fsid", identity->fsid) < 0 ||
        json_add_number(object, "inode", identity->inode) < 0)
        return -ENOMEM;
    return lines_add(lines, entry);
}

void ledger_gone(struct contents *contents, const struct identity *identity)
{
    append(contents, put_gone, identity);
}

static int put_ended(struct ledger_lines *lines, const void *what)
{
    const struct finding *finding = what;
    _cleanup_(json_object_putp) json_object *entry = json_object_new_object();
    json_object *object = json_object_new_object();

    if (json_add(entry, "ended", object) < 0 ||
        json_add_text(object, "finding", finding_definition(finding->type)->name) < 0 ||
        json_add_text(object, "kind", subject_kind_name(finding->subject_kind)) < 0 ||
        json_add_text(object, "subject", finding->subject) < 0)
        return -ENOMEM;
    return lines_add(lines, entry);
}

void ledger_acknowledged(struct contents *contents, const struct finding *finding)
{
    append(contents, put_one_acknowledgement, finding);
}

void ledger_ended(struct contents *contents, const struct finding *finding)
{
    append(contents, put_ended, finding);
}

void ledger_free(struct contents *contents)
{
    if (contents->lines)
        lines_free(contents->lines);
    contents->lines = NULL;
}
