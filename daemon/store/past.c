/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Findings open at a time, and differences between two times: by the events, finding by finding,
 * the newest first. */
#include <errno.h>
#include <string.h>

#include "daemon/store/db.h"
#include "helpers/json-text.h"
#include "lib/cleanup.h"

/* Events that one page looks at, so that no page keeps the batches waiting for long. */
#define PAGE_EVENTS_MAX 100000

DEFINE_CLEANUP(json_object *, json_object_put)

/* A finding at one time. */
struct moment {
    uint64_t when;              /* usec */
    enum finding_state state;   /* resolved: it was not there */
    int64_t seq;                /* of the last event until then, 0 none */
    enum event_type next;       /* of the first event after it, */
    int64_t next_seq;           /* and its seq, 0 none */
    bool inferred;              /* no event until then says so */
};

/* A finding, while its events are read. */
struct life {
    int64_t id;
    uint64_t opened;            /* usec, of its first "opened", 0 not in the record */
    uint64_t first_seen, resolved;      /* as the table of findings has them, */
    bool acknowledged;
    bool is_kept;               /*  if it still has it */
    struct moment before, after;        /* of a question about one time: after alone */
    bool was_open;              /* at any time between both */
    size_t n_events;
};

struct past {
    sqlite3 *sqlite;
    sqlite3_stmt *events, *findings;    /* by falling id */
    sqlite3_stmt *event, *finding;      /* one of them */
};

static void past_done(struct past *past)
{
    sqlite3_finalize(past->events);
    sqlite3_finalize(past->findings);
    sqlite3_finalize(past->event);
    sqlite3_finalize(past->finding);
}

static int past_begin(struct past *past, sqlite3 *sqlite, int64_t before)
{
    int r;

    past->sqlite = sqlite;
    r = store_db_prepare(sqlite,
                         "SELECT finding_id, seq, at, type FROM event WHERE finding_id < ?1"
                         " ORDER BY finding_id DESC, seq", before, &past->events);
    if (r >= 0)
        r = store_db_prepare(sqlite,
                             "SELECT id, first_seen, resolved, state = 'acknowledged' FROM finding"
                             " WHERE id < ?1 ORDER BY id DESC", before, &past->findings);
    if (r >= 0)
        r = store_db_prepare(sqlite,
                             "SELECT finding, subject_kind, subject, datastore, severity,"
                             " confidence, message, at FROM event WHERE seq = ?1", 0, &past->event);
    if (r >= 0)
        r = store_db_prepare(sqlite,
                             "SELECT type, subject_kind, subject, datastore, severity, confidence,"
                             " NULL, changed FROM finding WHERE id = ?1", 0, &past->finding);
    return r;
}

/* ---- one finding's life ---------------------------------------------------------------------- */

static void moment_take(struct moment *moment, int64_t seq, uint64_t at, enum event_type type)
{
    if (at <= moment->when) {
        moment->state = finding_state_after(moment->state, type);
        moment->seq = seq;
    } else if (moment->next_seq == 0) {
        moment->next = type;
        moment->next_seq = seq;
    }
}

/* Of a finding that was opened before the events begin that are kept of it: what the first of them,
 * or the finding itself, says of the time before. */
static void moment_infer(struct moment *moment, const struct life *life)
{
    if (moment->seq > 0 || (life->is_kept && life->first_seen > moment->when))
        return;
    if (moment->next_seq > 0 && moment->next != EVENT_OPENED && moment->next != EVENT_REOPENED)
        moment->state = moment->next == EVENT_UNACKNOWLEDGED ? FINDING_ACKNOWLEDGED : FINDING_OPEN;
    else if (life->n_events == 0 && life->is_kept &&
             (life->resolved == 0 || life->resolved > moment->when))
        moment->state = life->acknowledged ? FINDING_ACKNOWLEDGED : FINDING_OPEN;
    moment->inferred = moment->state != FINDING_RESOLVED;
}

static void life_take(struct life *life, int64_t seq, uint64_t at, enum event_type type)
{
    moment_take(&life->before, seq, at, type);
    moment_take(&life->after, seq, at, type);
    if (type == EVENT_OPENED && life->opened == 0)
        life->opened = at;
    if (at > life->before.when && at <= life->after.when &&
        (type == EVENT_OPENED || type == EVENT_REOPENED))
        life->was_open = true;
    life->n_events++;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static int add_text(json_object *row, const char *key, sqlite3_stmt *statement, int column)
{
    const char *bytes = sqlite3_column_blob(statement, column);

    if (sqlite3_column_type(statement, column) == SQLITE_NULL)
        return 0;
    return json_add(row, key, json_object_new_string_len(bytes ? bytes : "",
                                                         sqlite3_column_bytes(statement, column)));
}

/* Adds a finding's columns, of an event or of the finding as it is kept. */
static int row_of(sqlite3_stmt *statement, json_object *row)
{
    static const char *const keys[] = { "name", "subject-kind", "subject", "datastore", "severity",
                                        "confidence", "message" };
    const char *kind = (const char *)sqlite3_column_text(statement, 1);
    const struct finding_definition *definition;
    int r = 0, type;

    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(keys); i++)
        r = add_text(row, keys[i], statement, (int)i);
    if (r >= 0 && kind && strcmp(kind, "image") == 0)
        r = add_text(row, "path", statement, 2);
    type = finding_type_from_name((const char *)sqlite3_column_text(statement, 0));
    definition = type < 0 ? NULL : finding_definition((enum finding_type)type);
    if (r >= 0 && definition)
        r = json_add_text(row, "title", definition->title);
    if (r >= 0)
        r = json_add_number(row, "changed", (uint64_t)sqlite3_column_int64(statement, 7));
    return r;
}

static int look_up(struct past *past, const struct life *life, const struct moment *moment,
                   json_object **ret_row)
{
    _cleanup_(json_object_putp) json_object *row = json_object_new_object();
    int64_t seq = moment->seq > 0 ? moment->seq : moment->next_seq;
    sqlite3_stmt *statement = seq > 0 ? past->event : past->finding;
    int code, r;

    if (!row)
        return -ENOMEM;
    sqlite3_bind_int64(statement, 1, seq > 0 ? seq : life->id);
    code = sqlite3_step(statement);
    r = code == SQLITE_ROW ? row_of(statement, row) : store_db_error(past->sqlite, code);
    sqlite3_reset(statement);
    if (r < 0)
        return r;
    *ret_row = TAKE_PTR(row);
    return 0;
}

static enum severity severity_of(json_object *row)
{
    int severity = severity_from_name(
        json_object_get_string(json_object_object_get(row, "severity")));

    return severity < 0 ? SEVERITY_INFO : (enum severity)severity;
}

static int finish_row(json_object *row, const struct life *life)
{
    uint64_t first_seen = life->is_kept ? life->first_seen : life->opened;
    int r = json_add(row, "id", json_object_new_int64(life->id));

    if (r >= 0 && first_seen > 0)
        r = json_add_number(row, "first-seen", first_seen);
    if (r >= 0 && (life->after.inferred || life->before.inferred))
        r = json_add(row, "inferred", json_object_new_boolean(true));
    return r;
}

/* Of a finding that was open then: NULL when it was not. */
static int row_at(struct past *past, const struct life *life, json_object **ret_row)
{
    _cleanup_(json_object_putp) json_object *row = NULL;
    int r;

    if (life->after.state == FINDING_RESOLVED)
        return 0;
    r = look_up(past, life, &life->after, &row);
    if (r >= 0)
        r = json_add_text(row, "state", finding_state_name(life->after.state));
    if (r >= 0)
        r = finish_row(row, life);
    if (r >= 0)
        *ret_row = TAKE_PTR(row);
    return r;
}

/* Makes the row of a finding that changed between both times; NULL when it did not. */
static int row_changed(struct past *past, const struct life *life, json_object **ret_row)
{
    _cleanup_(json_object_putp) json_object *row = NULL, *was = NULL;
    bool before = life->before.state != FINDING_RESOLVED;
    bool after = life->after.state != FINDING_RESOLVED;
    const char *change = before ? "resolved" : after ? "opened" : "passed";
    int r;

    if (!before && !after && !life->was_open)
        return 0;
    r = look_up(past, life, &life->after, &row);
    if (r >= 0 && before)
        r = look_up(past, life, &life->before, &was);
    if (r < 0)
        return r;
    if (before && after) {
        enum severity then = severity_of(was), now = severity_of(row);

        if (then == now)
            return 0;
        change = now > then ? "worsened" : "eased";
    }
    r = json_add_text(row, "change", change);
    if (r >= 0 && was)
        r = json_add_text(row, "severity-before", severity_name(severity_of(was)));
    if (r >= 0)
        r = finish_row(row, life);
    if (r >= 0)
        *ret_row = TAKE_PTR(row);
    return r;
}

/* ---- the walk -------------------------------------------------------------------------------- */

static int step(struct past *past, sqlite3_stmt *statement, bool *ret_more)
{
    int code = sqlite3_step(statement);

    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return store_db_error(past->sqlite, code);
    *ret_more = code == SQLITE_ROW;
    return 0;
}

/* All that both tables have of the finding with the highest id that is left. */
static int next_life(struct past *past, struct life *life, bool *more_events, bool *more_findings)
{
    int64_t event = *more_events ? sqlite3_column_int64(past->events, 0) : 0,
            finding = *more_findings ? sqlite3_column_int64(past->findings, 0) : 0;
    int r = 0;

    life->id = event > finding ? event : finding;
    if (finding == life->id) {
        life->is_kept = true;
        life->first_seen = (uint64_t)sqlite3_column_int64(past->findings, 1);
        life->resolved = (uint64_t)sqlite3_column_int64(past->findings, 2);
        life->acknowledged = sqlite3_column_int(past->findings, 3) != 0;
        r = step(past, past->findings, more_findings);
    }
    while (r >= 0 && *more_events && sqlite3_column_int64(past->events, 0) == life->id) {
        int type = event_type_from_name((const char *)sqlite3_column_text(past->events, 3));

        if (type >= 0)
            life_take(life, sqlite3_column_int64(past->events, 1),
                      (uint64_t)sqlite3_column_int64(past->events, 2), (enum event_type)type);
        r = step(past, past->events, more_events);
    }
    moment_infer(&life->before, life);
    moment_infer(&life->after, life);
    return r;
}

int store_past(sqlite3 *sqlite, const struct history_question *question, int64_t before,
               json_object **ret_rows, int64_t *ret_next)
{
    _cleanup_(past_done) struct past past = {};
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();
    bool two_times = question->of == HISTORY_CHANGES, more_events = false, more_findings = false;
    size_t n_events = 0;
    int64_t last = 0;
    int r = rows ? past_begin(&past, sqlite, before) : -ENOMEM;

    if (r >= 0)
        r = step(&past, past.events, &more_events);
    if (r >= 0)
        r = step(&past, past.findings, &more_findings);
    while (r >= 0 && (more_events || more_findings) &&
           json_object_array_length(rows) < question->limit && n_events < PAGE_EVENTS_MAX) {
        struct life life = {
            .after = { .when = question->until, .state = FINDING_RESOLVED },
            .before = { .when = two_times ? question->since : question->until,
                        .state = FINDING_RESOLVED },
        };
        json_object *row = NULL;

        r = next_life(&past, &life, &more_events, &more_findings);
        last = life.id;
        n_events += life.n_events + 1;
        if (r >= 0)
            r = two_times ? row_changed(&past, &life, &row) : row_at(&past, &life, &row);
        if (r >= 0 && row && json_object_array_add(rows, row) < 0) {
            json_object_put(row);
            r = -ENOMEM;
        }
    }
    if (r < 0)
        return r;
    *ret_rows = TAKE_PTR(rows);
    *ret_next = more_events || more_findings ? last : 0;
    return 0;
}
