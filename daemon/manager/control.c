/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control interface's methods on the manager, and the line systemd shows. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "build-config.h"
#include "daemon/core/log.h"
#include "daemon/manager/internal.h"
#include "helpers/clock.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define STATUS_DELAY USEC_PER_SEC

DEFINE_CLEANUP(json_object *, json_object_put)

/* ---- the view -------------------------------------------------------------------------------- */

static int list_images(struct manager *manager)
{
    uint64_t generation = discover_generation(manager->discover);
    struct datastore *const *datastores;
    struct image *const *images;
    size_t n, n_datastores;
    int r;

    if (manager->listed_valid && manager->listed_generation == generation)
        return 0;
    r = discover_images(manager->discover, &images, &n);
    if (r < 0)
        return r;
    if (manager->n_listed_allocated < n) {
        struct image **listed = reallocarray(manager->listed, n, sizeof(*listed));

        if (!listed)
            return -ENOMEM;
        manager->listed = listed;
        manager->n_listed_allocated = n;
    }
    manager->n_listed = 0;
    discover_datastores(manager->discover, &datastores, &n_datastores);
    for (size_t i = 0; i < n_datastores; i++)
        datastores[i]->n_images = 0;
    for (size_t i = 0; i < n; i++)
        if (images[i]->listed) {
            manager->listed[manager->n_listed++] = images[i];
            images[i]->datastore->n_images++;
        }
    manager->listed_generation = generation;
    manager->listed_valid = true;
    return 0;
}

static struct image *find_name(void *userdata, const char *path)
{
    return discover_find_name(userdata, path);
}

int control_view(struct manager *manager, struct query_view *ret_view)
{
    struct query_view view = {
        .graph = manager->graph, .findings = manager->findings, .policy = &manager->config->policy,
        .config = manager->config,
        .now = manager_now(manager), .find_name = find_name, .find_userdata = manager->discover,
    };
    int r;

    if (manager->judge_wanted)
        judge_now(manager);     /* relations are shown as they are, not as they were */
    r = list_images(manager);
    if (r < 0)
        return r;
    discover_datastores(manager->discover, &view.datastores, &view.n_datastores);
    view.images = manager->listed;
    view.n_images = manager->n_listed;
    *ret_view = view;
    return 0;
}

static int op_status(void *userdata, json_object **ret_entry)
{
    struct manager *manager = userdata;
    const struct scan *pass = pass_scan_find(manager, manager->pass);
    struct query_status status = {
        .version = PACKAGE_VERSION,
        .started = manager->started,
        .last_pass = manager->last_pass,
        .workers_running = (unsigned)audits_running(manager->audits),
        .store_waiting = store_waiting(manager->store),
        .store_error = manager->store_error,
    };
    _cleanup_(json_object_putp) json_object *entry = NULL;
    struct query_view view;
    uint64_t next = 0, now_boot = 0;
    int r;

    if (pass) {
        status.pass_started = pass->begun;
        status.pass_images_total = pass->total;
        status.pass_images_done = pass->done;
    }
    if (manager->walk_timer && sd_event_source_get_time(manager->walk_timer, &next) >= 0 &&
        sd_event_now(manager->event, CLOCK_BOOTTIME, &now_boot) >= 0)
        status.next_pass = manager_now(manager) + (next > now_boot ? next - now_boot : 0);
    r = control_view(manager, &view);
    if (r >= 0)
        r = query_status(&view, &status, &entry);
    if (r >= 0)
        r = scrub_show(manager, entry);
    if (r >= 0)
        r = virt_show(manager, &view, entry);
    if (r < 0)
        return r;
    *ret_entry = TAKE_PTR(entry);
    return 0;
}

static int op_ask(void *userdata, const struct question *question, const struct asked *asked,
                  control_rows_fn reply, void *reply_userdata)
{
    struct manager *manager = userdata;
    const struct history_question history = question_history(question, asked);

    return question->make ? show_begin(manager, question, asked, reply, reply_userdata)
                          : store_history(manager->store, &history, reply, reply_userdata);
}

static int op_accept(void *userdata, const char *path, const char *by, const char *reason,
                     control_done_fn reply, void *reply_userdata, char **ret_message)
{
    struct manager *manager = userdata;
    int r = contents_accept(manager->contents, path, by, reason, ret_message);

    if (r < 0)
        return r;
    keep_answer(manager, reply, reply_userdata);
    judge_now(manager);
    return 0;
}

/* ---- orders ---------------------------------------------------------------------------------- */

static int op_scan(void *userdata, char **paths, bool scrub, uint64_t *ret_ticket,
                   char **ret_message)
{
    struct manager *manager = userdata;
    _cleanup_free_ char *name = NULL;
    const char *path = NULL;
    int r;

    if (!paths || !paths[0]) {
        *ret_ticket = pass_begin(manager);
        return 0;
    }
    r = pass_scan(manager, paths, scrub, ret_ticket, &path);
    if (r != -ENOENT && r != -ENOTCONN)
        return r;
    name = text_escape_string(path);
    if (asprintf(ret_message, "%s %s", name ?: "It",
                 r == -ENOENT ? "is in no datastore, or is no image, as far as its name and its "
                                "first bytes tell"
                              : "is in a datastore that is offline or paused") < 0)
        *ret_message = NULL;
    return -EINVAL;
}

static int op_scan_state(void *userdata, uint64_t ticket, json_object **ret_entry)
{
    struct manager *manager = userdata;
    const struct scan *scan = pass_scan_find(manager, ticket), *before;
    _cleanup_(json_object_putp) json_object *entry = NULL;
    uint64_t total, done;

    if (!scan)
        return -ENOENT;
    before = pass_scan_find(manager, scan->after);
    total = scan->total + (before ? before->total : 0);
    done = scan->done + (before ? before->done : 0);
    entry = json_object_new_object();
    if (!entry ||
        json_add(entry, "done", json_object_new_boolean(scan->finished)) < 0 ||
        json_add(entry, "images-total", json_object_new_uint64(total)) < 0 ||
        json_add(entry, "images-done", json_object_new_uint64(done)) < 0 ||
        scrub_show(manager, entry) < 0 ||
        (manager->current && audits_running(manager->audits) > 0 &&
         json_add(entry, "current", json_object_new_string(manager->current)) < 0))
        return -ENOMEM;
    *ret_entry = TAKE_PTR(entry);
    return 0;
}

/* Somebody waits for the answer of a test. */
struct tested {
    struct manager *manager;
    void (*reply)(void *reply_userdata, int error, json_object *rows);
    void *reply_userdata;
};

static void on_tested(void *userdata, int error, json_object *rows)
{
    struct tested *tested = userdata;

    /* A channel may work again, or not any more. */
    if (!tested->manager->stopping)
        alert_look(tested->manager);
    tested->reply(tested->reply_userdata, error, rows);
    free(tested);
}

static int op_test_alert(void *userdata, const char *channel,
                         void (*reply)(void *reply_userdata, int error, json_object *rows),
                         void *reply_userdata)
{
    struct manager *manager = userdata;
    struct tested *tested = malloc(sizeof(*tested));

    if (!tested)
        return -ENOMEM;
    *tested = (struct tested){ manager, reply, reply_userdata };
    int r = alert_try(manager->alert, channel, on_tested, tested);
    if (r < 0)
        free(tested);
    return r;
}

static int op_acknowledge(void *userdata, int64_t id, const char *by, const char *reason,
                          uint64_t until, control_done_fn reply, void *reply_userdata)
{
    return judge_acknowledge(userdata, id, by, reason, until, reply, reply_userdata);
}

static int op_mute(void *userdata, struct mute *mute, int64_t *ret_id, control_done_fn reply,
                   void *reply_userdata, char **ret_message)
{
    return mutes_make(userdata, mute, ret_id, reply, reply_userdata, ret_message);
}

static int op_unmute(void *userdata, int64_t id, const char *by, control_done_fn reply,
                     void *reply_userdata)
{
    return mutes_unmake(userdata, id, by, reply, reply_userdata);
}

static int op_pause(void *userdata, const char *name, uint64_t until, control_done_fn reply,
                    void *reply_userdata)
{
    struct manager *manager = userdata;
    struct datastore *datastore = discover_find_datastore(manager->discover, name);
    int r = datastore ? discover_pause(manager->discover, datastore, until ?: UINT64_MAX) : -ENOENT;

    if (r >= 0)
        judge_datastore_answer(manager, datastore, reply, reply_userdata);
    return r;
}

static int op_release(void *userdata, const char *name, uint64_t until, control_done_fn reply,
                      void *reply_userdata)
{
    struct manager *manager = userdata;
    struct datastore *datastore = discover_find_datastore(manager->discover, name);

    return datastore ? release_begin(manager, datastore, until ?: UINT64_MAX, reply,
                                     reply_userdata)
                     : -ENOENT;
}

static int op_resume(void *userdata, const char *name, control_done_fn reply,
                     void *reply_userdata)
{
    struct manager *manager = userdata;
    struct datastore *datastore = discover_find_datastore(manager->discover, name);
    int r = datastore ? discover_resume(manager->discover, datastore) : -ENOENT;

    if (r >= 0)
        judge_datastore_answer(manager, datastore, reply, reply_userdata);
    return r;
}

static int op_reload(void *userdata, char **ret_message)
{
    return manager_reload(userdata, ret_message);
}

const struct control_ops manager_control_ops = {
    .status = op_status, .ask = op_ask, .accept = op_accept,
    .scan = op_scan, .scan_state = op_scan_state, .acknowledge = op_acknowledge,
    .mute = op_mute, .unmute = op_unmute, .test_alert = op_test_alert,
    .pause = op_pause, .release = op_release, .resume = op_resume, .reload = op_reload,
};

/* ---- systemd's line -------------------------------------------------------------------------- */

static int status_line(struct manager *manager, char **ret_line)
{
    uint64_t n_findings = 0, n_muted = 0;
    struct findings_counts counts;
    const struct scan *pass = pass_scan_find(manager, manager->pass);
    struct datastore *const *datastores;
    char progress[40] = "idle", muted[40] = "";
    size_t n_datastores;
    int r;

    r = list_images(manager);
    if (r < 0)
        return r;
    discover_datastores(manager->discover, &datastores, &n_datastores);
    findings_count(manager->findings, &counts);
    for (size_t i = 0; i < _SEVERITY_MAX; i++) {
        n_findings += counts.open[i];
        n_muted += counts.muted[i];
    }
    if (n_muted > 0)
        snprintf(muted, sizeof(muted), ", %" PRIu64 " muted", n_muted);
    if (pass && pass->total > 0)
        snprintf(progress, sizeof(progress), "pass %" PRIu64 " %%", pass->done * 100 / pass->total);
    else if (pass)
        snprintf(progress, sizeof(progress), "pass begun");
    return asprintf(ret_line, "%zu datastore%s, %zu image%s, %s, %" PRIu64 " finding%s%s%s%s",
                    n_datastores, n_datastores == 1 ? "" : "s", manager->n_listed,
                    manager->n_listed == 1 ? "" : "s", progress,
                    n_findings, n_findings == 1 ? "" : "s", muted,
                    manager->workers_fail ? ", no worker can be started" : "",
                    manager->store_error < 0 ? ", the database cannot be written" : "") < 0
               ? -ENOMEM
               : 0;
}

static int on_status_timer(sd_event_source *source, uint64_t when, void *userdata)
{
    struct manager *manager = userdata;
    _cleanup_free_ char *line = NULL;

    if (manager->stopping || status_line(manager, &line) < 0)
        return 0;
    if (manager->status && strcmp(manager->status, line) == 0)
        return 0;
    (void) sd_notifyf(false, "STATUS=%s", line);
    metrics_soon(manager);
    if (control_status_changed(manager->control) < 0)
        log_debug(0, "Not everybody could be told that the status changed.");
    free(manager->status);
    manager->status = TAKE_PTR(line);
    return 0;
}

void control_status_soon(struct manager *manager)
{
    if (!manager->stopping)
        (void) manager_arm(manager, &manager->status_timer, STATUS_DELAY, on_status_timer);
}
