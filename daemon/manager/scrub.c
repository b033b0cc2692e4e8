/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Scrubs: which images' data is read again when, who of them is under way, and when they give
 * way. */
#include <errno.h>

#include "daemon/core/log.h"
#include "daemon/manager/internal.h"
#include "helpers/clock.h"
#include "helpers/json-text.h"

/* After a scrub that was stopped by an audit of the same image, or by a helper that could not be
 * asked. */
#define AGAIN_SOON (5 * USEC_PER_SEC)
/* After one whose image changed under it, or has a writer. */
#define AGAIN_LATER (5 * 60 * USEC_PER_SEC)
/* Timers are a tenth of their time late at most, and a window should close on the minute. */
#define LOOK_EVERY (10 * 60 * USEC_PER_SEC)

static int on_scrub_timer(sd_event_source *source, uint64_t when, void *userdata)
{
    scrub_dispatch(userdata);
    return 0;
}

/* The window closed: they go on where they are when it opens. What somebody asked for is read to
 * its end. */
static void stop_outside_window(struct manager *manager, uint64_t now)
{
    struct scrub_progress progress;

    if (scrubs_window_is_open(manager->scrubs, now, NULL))
        return;
    for (size_t i = 0; audits_scrub(manager->audits, i, &progress);)
        if (scrubs_is_demanded(manager->scrubs, progress.image)) {
            i++;
        } else {
            audits_cancel_scrub(manager->audits, progress.image);
            i = 0;
        }
}

/* A long reading gives its place to those that wait, and goes on in its turn. */
static void stop_expired(struct manager *manager, uint64_t now, uint64_t *ret_wait)
{
    struct image *image;

    while ((image = scrubs_expired(manager->scrubs, now, ret_wait))) {
        scrubs_cut(manager->scrubs, image, now, contents_may_resume(manager->contents, image));
        audits_cancel_scrub(manager->audits, image);
        if (scrubs_is_running(manager->scrubs, image))
            scrubs_done(manager->scrubs, image, now + AGAIN_SOON);
    }
}

void scrub_dispatch(struct manager *manager)
{
    uint64_t now = manager_now(manager), wait = UINT64_MAX, slice, change;
    struct image *image;
    int r;

    if (manager->stopping)
        return;
    stop_outside_window(manager, now);
    stop_expired(manager, now, &slice);
    while ((image = scrubs_next(manager->scrubs, now, &wait))) {
        r = audits_start_scrub(manager->audits, image);
        if (r < 0)
            scrubs_done(manager->scrubs, image, now + AGAIN_SOON);
    }
    (void) scrubs_expired(manager->scrubs, now, &slice);
    wait = slice < wait ? slice : wait;
    if (scrubs_running(manager->scrubs) > 0) {
        (void) scrubs_window_is_open(manager->scrubs, now, &change);
        wait = change < wait ? change : wait;
    }
    r = pressure_watch(manager->pressure, scrubs_running(manager->scrubs) > 0,
                       manager->config->scrub_pressure);
    if (r >= 0 && wait != UINT64_MAX)
        r = manager_arm(manager, &manager->scrub_timer, wait < LOOK_EVERY ? wait : LOOK_EVERY,
                        on_scrub_timer);
    if (r < 0)
        log_error(r, "Cannot set the timers of the scrubs: %m");
    control_status_soon(manager);
}

void scrub_plan(struct manager *manager, struct image *image, uint64_t due, uint64_t verified)
{
    int r;

    r = scrubs_plan(manager->scrubs, image, image->worker_deaths < DEATHS_MAX ? due : UINT64_MAX,
                    verified);
    if (r < 0)
        log_error(r, "Cannot plan a scrub: %m");
    pass_dispatch(manager);
}

void scrub_now(struct manager *manager, struct image *image)
{
    int r;

    image->worker_deaths = 0;
    r = scrubs_demand(manager->scrubs, image);
    if (r < 0)
        log_error(r, "Cannot plan a scrub: %m");
    pass_dispatch(manager);
}

bool scrub_on_audited(struct manager *manager, struct image *image, int error,
                      const struct audit *audit)
{
    uint64_t now = manager_now(manager);

    if (!scrubs_is_running(manager->scrubs, image))
        return false;
    if (error >= 0 && audit)
        metrics_count_scrub(manager, audit);
    if (error == -ENOENT) {
        scrubs_forget(manager->scrubs, image);
    } else if (error < 0) {
        scrubs_done(manager->scrubs, image, now + AGAIN_SOON);
    } else if (audit->digest) {
        scrubs_done(manager->scrubs, image, 0);
    } else {
        scrubs_content(manager->scrubs, image);
        scrubs_done(manager->scrubs, image, now + AGAIN_LATER);
        if (image->worker_deaths >= DEATHS_MAX)
            scrubs_forget(manager->scrubs, image);
    }
    return true;
}

static int show_one(const struct scrub_progress *progress, json_object *rows)
{
    json_object *row = json_object_new_object();

    if (!row || json_object_array_add(rows, row) < 0) {
        json_object_put(row);
        return -ENOMEM;
    }
    return json_add(row, "path", json_object_new_string(progress->image->path)) < 0 ||
                   json_add(row, "started", json_object_new_uint64(progress->started)) < 0 ||
                   json_add(row, "done", json_object_new_uint64(progress->done)) < 0 ||
                   json_add(row, "total", json_object_new_uint64(progress->total)) < 0 ||
                   json_add(row, "rate", json_object_new_uint64(progress->rate)) < 0 ||
                   json_add(row, "waits", json_object_new_boolean(progress->waits)) < 0
               ? -ENOMEM
               : 0;
}

int scrub_show(const struct manager *manager, json_object *entry)
{
    size_t due = scrubs_due(manager->scrubs, manager_now(manager));
    json_object *rows = json_object_new_array();
    struct scrub_progress progress;
    int r = 0;

    if (json_add(entry, "scrubs", rows) < 0)
        return -ENOMEM;
    for (size_t i = 0; r >= 0 && audits_scrub(manager->audits, i, &progress); i++)
        r = show_one(&progress, rows);
    return r < 0 ? r : json_add(entry, "scrubs-due", json_object_new_uint64(due));
}

static void on_pressure(void *userdata, bool pause)
{
    struct manager *manager = userdata;

    audits_pause_scrubs(manager->audits, pause);
    control_status_soon(manager);
}

struct scrubs_options scrub_options_of(const struct config *config)
{
    return (struct scrubs_options){
        .workers = config->workers, .window = config->scrub_window, .slice = config_delay(config),
    };
}

int scrub_init(struct manager *manager)
{
    struct scrubs_options options = scrub_options_of(manager->config);
    int r;

    r = scrubs_new(&options, &manager->scrubs);
    return r < 0 ? r : pressure_new(manager->event, on_pressure, manager, &manager->pressure);
}

void scrub_done(struct manager *manager)
{
    manager->scrub_timer = sd_event_source_disable_unref(manager->scrub_timer);
    manager->pressure = pressure_free(manager->pressure);
    manager->scrubs = scrubs_free(manager->scrubs);
}
