/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keeps state: rounds that go to the database, events that are sent once they lie there, and what
 * the last daemon knew. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/manager/internal.h"
#include "helpers/clock.h"
#include "helpers/text.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

#define TOLD_DELAY (USEC_PER_SEC / 5)

DEFINE_CLEANUP(struct event *, event_free)

/* ---- rounds ---------------------------------------------------------------------------------- */

struct round_answer {
    SLIST_ENTRY(round_answer) entry;
    control_done_fn reply;
    void *userdata;
};

static void round_answer(struct round *round, int error, const char *message)
{
    struct round_answer *answer;

    while ((answer = SLIST_FIRST(&round->answers))) {
        SLIST_REMOVE_HEAD(&round->answers, entry);
        answer->reply(answer->userdata, error, message);
        free(answer);
    }
}

/* The caller hears at once that the round is not kept: a later answer might come after the end. */
static void round_answer_trouble(struct round *round, int error)
{
    _cleanup_free_ char *message = NULL;

    if (SLIST_EMPTY(&round->answers))
        return;
    if (asprintf(&message,
                 "Cannot write the database: %s. It holds as long as qcauditd runs, and is kept "
                 "when the database can be written again", strerror(-error)) < 0)
        message = NULL;
    round_answer(round, error, message);
}

static void round_free(struct round *round)
{
    round_answer(round, -ECANCELED, "qcauditd is ending, and could not keep it");
    if (round->waiting)
        LIST_REMOVE(round, entry);
    store_batch_free(round->batch);
    for (size_t i = 0; i < round->n_events; i++)
        event_free(round->events[i]);
    free(round->events);
    free(round);
}

struct round *keep_round(struct manager *manager)
{
    struct round *round = manager->round;

    if (round)
        return round;
    round = calloc(1, sizeof(*round));
    if (!round)
        return NULL;
    round->manager = manager;
    if (store_batch_new(&round->batch) < 0) {
        free(round);
        return NULL;
    }
    manager->round = round;
    return round;
}

void keep_answer(struct manager *manager, control_done_fn reply, void *reply_userdata)
{
    struct round *round = keep_round(manager);
    struct round_answer *answer = round ? malloc(sizeof(*answer)) : NULL;

    if (!answer) {
        reply(reply_userdata, -ENOMEM, NULL);
        return;
    }
    *answer = (struct round_answer){ .reply = reply, .userdata = reply_userdata };
    SLIST_INSERT_HEAD(&round->answers, answer, entry);
}

int keep_event(struct round *round, const struct event *event, int64_t finding_id)
{
    struct event **events = reallocarray(round->events, round->n_events + 1, sizeof(*events));
    int r;

    if (!events)
        return -ENOMEM;
    round->events = events;
    r = event_copy(event, &events[round->n_events]);
    if (r < 0)
        return r;
    events[round->n_events]->finding_id = finding_id;
    events[round->n_events]->outbox = alert_outbox(round->manager->alert, event);
    return store_batch_event(round->batch, events[round->n_events++]);
}

static void signal_event(struct manager *manager, const struct event *event)
{
    struct query_view view = { .graph = manager->graph,
                               .findings = manager->findings,
                               .now = manager_now(manager) };
    const struct finding *finding = findings_get(manager->findings, event->finding,
                                                 event->subject_kind, event->subject);
    json_object *entry = NULL;
    int r;

    if (!finding || !manager->control)
        return;
    r = query_finding_entry(&view, finding, &entry);
    if (r >= 0)
        r = control_finding_changed(manager->control, entry, event_type_name(event->type));
    if (r < 0)
        log_warning(r, "Cannot signal a change of a finding: %m");
    json_object_put(entry);
}

static void round_tell(struct round *round)
{
    struct manager *manager = round->manager;
    int r;

    if (round->told)
        return;
    round->told = true;
    for (size_t i = 0; i < round->n_events; i++) {
        struct event *event = round->events[i];

        signal_event(manager, event);
        if (event->outbox == 0) {
            r = alert_note(manager->alert, event);
        } else {
            r = query_event_domains(manager->graph, event->subject_kind, event->subject,
                                    &event->domains);
            if (r >= 0)
                r = alert_event(manager->alert, event, false);
        }
        if (r < 0)
            log_error(r, "Cannot tell an event: %m");
    }
    control_status_soon(manager);
}

void keep_tell_first_pass(struct manager *manager)
{
    /* With a disk that is full, events are told without waiting for the database. */
    if (!manager->first_pass_judged || manager->stopping ||
        (!LIST_EMPTY(&manager->rounds) && manager->store_error >= 0))
        return;
    manager->first_pass_judged = false;
    alert_first_pass(manager->alert, false);
}

static void on_committed(void *userdata, int error)
{
    struct round *round = userdata;
    struct manager *manager = round->manager;

    if (error == -EBADMSG)
        log_error(error, "The database refused what was to be stored: %m");
    if (error == 0)
        round_answer(round, 0, NULL);
    else if (error != -ECANCELED)
        round_answer_trouble(round, error);
    /* A round that was cancelled is not told: the next daemon finds its findings again. */
    if (error != -ECANCELED)
        round_tell(round);
    round_free(round);
    keep_tell_first_pass(manager);
}

void keep_commit(struct manager *manager)
{
    struct round *round = TAKE_PTR(manager->round);
    int r;

    if (!round)
        return;
    if (store_batch_is_empty(round->batch)) {
        round_answer(round, 0, NULL);
        round_free(round);
        return;
    }
    LIST_INSERT_HEAD(&manager->rounds, round, entry);
    round->waiting = true;
    r = store_commit(manager->store, round->batch, on_committed, round);
    if (r < 0) {
        log_error(r, "Cannot hand results to the database: %m");
        round_answer_trouble(round, r);
        round_tell(round);
        round_free(round);
        return;
    }
    round->batch = NULL;
    if (manager->store_error < 0) {
        round_tell(round);      /* an alert must not wait for space on the disk */
        round_answer_trouble(round, manager->store_error);
    }
}

/* ---- the database's own life ----------------------------------------------------------------- */

static void on_trouble(void *userdata, int error, size_t n_waiting)
{
    struct manager *manager = userdata;
    struct round *round;

    manager->store_error = error;
    if (error < 0)
        log_error(error,
                  "Cannot write the database (%m): %zu result%s in memory and tried again",
                  n_waiting, n_waiting == 1 ? " is kept" : "s are kept");
    else
        log_notice(0, "The database can be written again");
    if (error < 0)
        LIST_FOREACH(round, &manager->rounds, entry) {
            round_tell(round);
            round_answer_trouble(round, error);
        }
    keep_tell_first_pass(manager);
    control_status_soon(manager);
}

static int keep_finding(void *userdata, struct finding *finding)
{
    struct round *round = userdata;

    return store_batch_finding(round->batch, finding);
}

static int keep_one_mute(void *userdata, struct mute *mute)
{
    struct round *round = userdata;

    return store_batch_mute(round->batch, mute);
}

static int round_others(struct round *round, const struct datastore *datastore)
{
    _cleanup_free_ uint8_t *files = NULL;
    size_t size;
    int r;

    r = discover_save_others(round->manager->discover, datastore, &files, &size);
    return r < 0 ? r : store_batch_others(round->batch, datastore->name, files, size);
}

void keep_others(struct manager *manager, const struct datastore *datastore, bool much)
{
    struct round *round;
    int r;

    if (!discover_others_changed(manager->discover, datastore, much))
        return;
    round = keep_round(manager);
    r = round ? round_others(round, datastore) : -ENOMEM;
    if (r < 0)
        log_warning(r, "Files that are no images are looked at again after the next start: %m");
}

void keep_all_others(struct manager *manager)
{
    struct datastore *const *datastores;
    size_t n;

    discover_datastores(manager->discover, &datastores, &n);
    for (size_t i = 0; i < n; i++)
        keep_others(manager, datastores[i], false);
}

/* The new database is empty: everything known goes into it. */
static void keep_everything(struct manager *manager)
{
    struct datastore *const *datastores;
    struct image *const *images;
    struct round *round = keep_round(manager);
    size_t n;
    int r = round ? 0 : -ENOMEM;

    discover_datastores(manager->discover, &datastores, &n);
    for (size_t i = 0; i < n && r >= 0; i++) {
        r = store_batch_datastore(round->batch, datastores[i]);
        if (r >= 0)
            r = round_others(round, datastores[i]);
    }
    if (r >= 0)
        r = discover_images(manager->discover, &images, &n);
    for (size_t i = 0; r >= 0 && i < n; i++) {
        if (images[i]->tentative)
            continue;
        r = store_batch_image(round->batch, images[i]);
        if (r >= 0 && images[i]->audit_before)
            r = store_batch_audit(round->batch, images[i], images[i]->audit_before);
        if (r >= 0 && images[i]->audit)
            r = store_batch_audit(round->batch, images[i], images[i]->audit);
    }
    if (r >= 0)
        r = findings_each(manager->findings, 0, keep_finding, round);
    if (r >= 0)
        r = mutes_each(findings_mutes(manager->findings), keep_one_mute, round);
    if (r >= 0)
        r = contents_keep_all(manager->contents);
    if (r < 0)
        log_error(r, "Cannot give the new database what is known: %m");
}

static void on_damaged(void *userdata, const char *path)
{
    struct manager *manager = userdata;

    free(manager->database_aside);
    manager->database_aside = strdup(path);
    manager->daemon_dirty = true;
    keep_everything(manager);
    judge_soon(manager);
}

static char *field_new(const char *name, const char *value)
{
    char *field;

    return value && asprintf(&field, "%s=%s", name, value) >= 0 ? field : NULL;
}

/* Outside of the database, so that it tells what is changed there. */
static void on_head(void *userdata, const struct store_head *head)
{
    const struct manager *manager = userdata;
    _cleanup_free_ char *directory = realpath(manager->options.state_directory, NULL),
                        *database = NULL;
    char message[160], seq[24], *fields[6] = { NULL };
    bool complete;

    if (head->seq == 0)
        return;
    if (!directory || asprintf(&database, "%s/%s", directory, CONTROL_DATABASE_NAME) < 0)
        database = NULL;
    (void)snprintf(seq, sizeof(seq), "%lld", (long long)head->seq);
    (void)snprintf(message, sizeof(message), "The record ends with event %s, digest %s", seq,
                   head->digest);
    fields[0] = field_new("MESSAGE_ID", CONTROL_HEAD_MESSAGE_ID);
    fields[1] = field_new(CONTROL_HEAD_DATABASE, database);
    fields[2] = field_new(CONTROL_HEAD_RECORD, head->record);
    fields[3] = field_new(CONTROL_HEAD_SEQ, seq);
    fields[4] = field_new(CONTROL_HEAD_DIGEST, head->digest);
    complete = fields[0] && fields[1] && fields[2] && fields[3] && fields[4];
    if (complete)
        log_entry(LOG_INFO, message, fields);
    else
        log_error(-ENOMEM, "Cannot note the last event of the record: %m");
    for (size_t i = 0; i < ELEMENTSOF(fields); i++)
        free(fields[i]);
}

int keep_open(struct manager *manager)
{
    struct store_options options = {
        .directory = manager->options.state_directory,
        .history_retention = manager->config->history_retention,
        .audits_kept = manager->config->audits_kept,
        .trouble = on_trouble, .damaged = on_damaged, .head = on_head, .userdata = manager,
    };
    pid_t holder = 0;
    int r;

    r = store_open(manager->event, &options, &holder, &manager->database_aside, &manager->store);
    if (r == -EBUSY && holder > 0)
        log_error(r, "The state folder %s is in use by process %d", options.directory, (int)holder);
    else if (r == -EBUSY)
        log_error(r, "The state folder %s is in use by another process", options.directory);
    return r;
}

/* ---- what the last daemon knew --------------------------------------------------------------- */

static int load_datastore(void *userdata, struct datastore *datastore)
{
    struct manager *manager = userdata;

    return discover_load_datastore(manager->discover, datastore);
}

static int load_image(void *userdata, const char *datastore, struct image *image)
{
    struct manager *manager = userdata;
    int r;

    r = discover_load_image(manager->discover, datastore, image);
    if (r == -ENOENT || r == -EEXIST)
        return 0;               /* of a datastore that is gone */
    if (r < 0)
        return r;
    manager->first_pass = false;
    image->listed = judge_is_listed(image, NULL);
    return graph_add(manager->graph, image);
}

static int load_finding(void *userdata, struct finding *finding)
{
    struct manager *manager = userdata;
    const struct image *image = finding->subject_kind == SUBJECT_IMAGE
                                    ? discover_find_image(manager->discover, finding->subject)
                                    : NULL;
    int r;

    r = findings_load(manager->findings, finding,
                      image && image->audit ? image->audit->finished : 0);
    if (r < 0)
        finding_free(finding);
    return r == -EEXIST ? 0 : r;
}

static int load_mute(void *userdata, struct mute *mute)
{
    struct manager *manager = userdata;
    int r = mutes_load(findings_mutes(manager->findings), mute);

    return r == -EEXIST ? 0 : r;
}

/* Is the event of the outbox over: was its finding resolved, acknowledged or muted since? */
static bool event_is_over(const struct manager *manager, const struct event *event)
{
    const struct finding *finding = findings_by_id(manager->findings, event->finding_id);

    return finding && (finding->muted_by > 0 || finding->state == FINDING_ACKNOWLEDGED ||
                       (finding->state == FINDING_RESOLVED && event->type != EVENT_RESOLVED));
}

static int load_event(void *userdata, struct event *event)
{
    struct manager *manager = userdata;
    int r = 0;

    /* The logs are a record; the program of alerts.exec may wake somebody. */
    if (event->outbox & OUTBOX_EXEC && event_is_over(manager, event)) {
        r = alert_drop(manager->alert, event, OUTBOX_EXEC);
        event->outbox &= ~OUTBOX_EXEC;
    }
    if (r >= 0 && event->outbox != 0)
        r = alert_event(manager->alert, event, true);
    event_free(event);
    return r;
}

static int load_baseline(void *userdata, struct baseline *baseline, json_object *deviation,
                         const char *verity)
{
    struct manager *manager = userdata;

    return contents_load_baseline(manager->contents, baseline, deviation, verity);
}

static int load_disk_move(void *userdata, const char *overlay, const char *parent, uint64_t at)
{
    struct manager *manager = userdata;
    int r = graph_note_disk_move(manager->graph, overlay, parent, at);

    return r < 0 ? r : 0;
}

static int load_others(void *userdata, const char *datastore, const uint8_t *files, size_t size)
{
    struct manager *manager = userdata;
    int r = discover_load_others(manager->discover, datastore, files, size);

    if (r == -EBADMSG)
        log_warning(0, "The database's list of files that are no images is damaged (datastore "
                    "%s): they are looked at again", datastore);
    return r == -ENOENT ? 0 : r;        /* of a datastore that is gone */
}

int keep_load(struct manager *manager)
{
    struct store_loader loader = {
        .datastore = load_datastore, .image = load_image, .finding = load_finding,
        .mute = load_mute, .event = load_event,
        .baseline = load_baseline,
        .disk_move = load_disk_move, .others = load_others,
        .userdata = manager,
    };
    int r;

    manager->first_pass = true;
    r = store_load(manager->store, &loader);
    if (r < 0)
        return log_error(r, "Cannot load what was known: %m");
    return contents_load(manager->contents, manager->first_pass);
}

/* ---- what was told --------------------------------------------------------------------------- */

static int on_told_timer(sd_event_source *source, uint64_t when, void *userdata)
{
    struct manager *manager = userdata;
    int r;

    if (!manager->told)
        return 0;
    r = store_commit(manager->store, manager->told, NULL, NULL);
    if (r < 0)
        store_batch_free(manager->told);
    manager->told = NULL;
    if (r < 0)
        log_error(r, "Cannot note which alerts were told: %m");
    return 0;
}

void alert_look(struct manager *manager)
{
    for (enum alert_target target = 0; target < _ALERT_TARGET_MAX; target++) {
        if (alert_error(manager->alert, target) == manager->alert_errors[target])
            continue;
        manager->daemon_dirty = true;
        judge_soon(manager);
    }
}

void keep_on_told(void *userdata, sd_id128_t event_id, unsigned outbox, const char *channel,
                  int error)
{
    struct manager *manager = userdata;
    int r;

    alert_look(manager);
    if (error < 0 || !manager->store)
        return;
    r = manager->told ? 0 : store_batch_new(&manager->told);
    if (r >= 0)
        r = store_batch_told(manager->told, event_id, outbox, channel);
    if (r >= 0 && !manager->stopping)   /* else keep_done() does it */
        r = manager_arm(manager, &manager->told_timer, TOLD_DELAY, on_told_timer);
    if (r < 0)
        log_error(r, "Cannot note which alert was told: %m");
}

/* Ends the store too: what waits is written first. */
void keep_done(struct manager *manager)
{
    manager->told_timer = sd_event_source_disable_unref(manager->told_timer);
    if (manager->store) {
        if (manager->contents)
            contents_end(manager->contents);
        keep_commit(manager);
        (void) on_told_timer(NULL, 0, manager);
    }
    manager->store = store_close(manager->store);
    while (!LIST_EMPTY(&manager->rounds))
        round_free(LIST_FIRST(&manager->rounds));
    if (manager->round)
        round_free(manager->round);
    manager->round = NULL;
    manager->told = store_batch_free(manager->told);
}
