/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Scans: passes over everything, and the audits somebody asked for; who waits for which image, and
 * when that ends. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/manager/internal.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define WALK_ACCURACY USEC_PER_SEC

/* ---- scans ----------------------------------------------------------------------------------- */

static struct scan *scan_get(struct manager *manager, uint64_t ticket)
{
    struct scan *scan = &manager->scans[ticket % SCANS_KEPT];

    return ticket > 0 && scan->ticket == ticket ? scan : NULL;
}

const struct scan *pass_scan_find(const struct manager *manager, uint64_t ticket)
{
    const struct scan *scan = &manager->scans[ticket % SCANS_KEPT];

    return ticket > 0 && scan->ticket == ticket ? scan : NULL;
}

/* The oldest is overwritten; one that still waits then counts as not known, which its asker can
 * tell. */
static struct scan *scan_new(struct manager *manager, bool pass)
{
    uint64_t ticket = ++manager->last_ticket;
    struct scan *scan = &manager->scans[ticket % SCANS_KEPT];

    /* The pass under way keeps its place. */
    if (!scan->finished && scan->ticket &&
        (scan->ticket == manager->pass || scan->ticket == manager->pass_next)) {
        ticket = ++manager->last_ticket;
        scan = &manager->scans[ticket % SCANS_KEPT];
    }
    *scan = (struct scan){ .ticket = ticket, .pass = pass };
    return scan;
}

/* The image's audit, or that there will be none, is no longer awaited. */
void scan_leave(struct manager *manager, struct image *image)
{
    struct scan *scan = scan_get(manager, image->scan);

    image->scan = 0;
    if (!scan)
        return;
    scan->done++;
    control_status_soon(manager);
    if (scan->done >= scan->total)
        judge_soon(manager);
}

void scan_join(struct manager *manager, struct image *image, uint64_t ticket)
{
    struct scan *scan = scan_get(manager, ticket);

    if (!scan || image->scan == ticket)
        return;
    scan_leave(manager, image);
    image->scan = ticket;
    scan->total++;
}

void scan_leave_walk(struct manager *manager, struct datastore *datastore)
{
    struct scan *scan = scan_get(manager, datastore->scan);

    datastore->scan = 0;
    if (!scan)
        return;
    scan->n_walks--;
    judge_soon(manager);
}

/* ---- passes ---------------------------------------------------------------------------------- */

static int on_walk_timer(sd_event_source *source, uint64_t when, void *userdata)
{
    struct manager *manager = userdata;

    manager->walk_timer = sd_event_source_unref(manager->walk_timer);
    if (discover_look_usual(manager->discover) < 0)
        log_warning(-ENOMEM, "Cannot look for the usual folders of images: %m");
    (void) pass_begin(manager);
    return 0;
}

void pass_plan_next(struct manager *manager)
{
    int r;

    manager->walk_timer = sd_event_source_disable_unref(manager->walk_timer);
    if (manager->config->walk_interval == 0 || manager->stopping)
        return;
    r = sd_event_add_time_relative(manager->event, &manager->walk_timer, CLOCK_BOOTTIME,
                                   manager->config->walk_interval, WALK_ACCURACY, on_walk_timer,
                                   manager);
    if (r < 0)
        log_error(r, "Cannot plan the next pass: %m");
}

static void pass_start(struct manager *manager, struct scan *scan)
{
    struct datastore *const *datastores;
    size_t n;
    int r;

    manager->pass = scan->ticket;
    scan->started = true;
    scan->begun = manager_now(manager);
    if (manager->first_pass) {
        alert_first_pass(manager->alert, true);
        graph_set_first_pass(manager->graph, true);
    }
    discover_datastores(manager->discover, &datastores, &n);
    for (size_t i = 0; i < n; i++) {
        if (datastores[i]->state != DATASTORE_ONLINE && datastores[i]->state != DATASTORE_STARTING)
            continue;
        scan_leave_walk(manager, datastores[i]);
        datastores[i]->scan = scan->ticket;
        scan->n_walks++;
        if (datastores[i]->state == DATASTORE_STARTING)
            continue;           /* walks by itself when it is online */
        r = discover_walk(manager->discover, datastores[i]);
        if (r < 0)
            scan_leave_walk(manager, datastores[i]);
    }
    judge_soon(manager);
    control_status_soon(manager);
}

uint64_t pass_begin(struct manager *manager)
{
    struct scan *scan;

    if (manager->pass_next)
        return manager->pass_next;
    scan = scan_new(manager, true);
    if (manager->pass) {
        scan->after = manager->pass;
        manager->pass_next = scan->ticket;
    } else {
        pass_start(manager, scan);
    }
    return scan->ticket;
}

static void pass_finish(struct manager *manager, const struct scan *scan)
{
    uint64_t next = manager->pass_next;
    struct datastore *const *datastores;
    size_t n;

    /* The result of the audits for a datastore as a whole. */
    discover_datastores(manager->discover, &datastores, &n);
    for (size_t i = 0; i < n; i++)
        datastores[i]->dirty = true;
    judge_soon(manager);

    manager->last_pass = manager_now(manager);
    manager->pass = manager->pass_next = 0;
    manager->first_pass_judged = true;
    metrics_count_pass(manager, scan);
    keep_tell_first_pass(manager);
    log_info(0, "Pass complete: %" PRIu64 " image%s audited", scan->done,
             scan->done == 1 ? "" : "s");
    if (next)
        pass_start(manager, scan_get(manager, next));
    else
        pass_plan_next(manager);
}

void pass_check_finished(struct manager *manager)
{
    for (size_t i = 0; i < SCANS_KEPT; i++) {
        struct scan *scan = &manager->scans[i];

        if (!scan->ticket || scan->finished || (scan->pass && !scan->started) ||
            scan->n_walks > 0 || scan->done < scan->total ||
            graph_awaits_usage(manager->graph))
            continue;
        if (scan->pass && manager->first_pass) {
            /* Judgements that waited for the whole store to be known are made before anybody is
             * told that all is done. */
            manager->first_pass = false;
            graph_set_first_pass(manager->graph, false);
            judge_soon(manager);
            continue;
        }
        scan->finished = true;
        if (scan->pass)
            pass_finish(manager, scan);
    }
    control_status_soon(manager);
}

/* Nobody waits for data of a file system that is not mounted any more. */
static bool can_be_scanned(struct manager *manager, const struct image *image, bool scrub)
{
    return image->datastore->state == DATASTORE_ONLINE &&
           !(scrub && discover_is_away(manager->discover, image->path));
}

static void scan_image(struct manager *manager, struct image *image, bool scrub, uint64_t ticket)
{
    if (!can_be_scanned(manager, image, scrub))
        return;
    image->worker_deaths = 0;
    if (scrub)
        scrub_now(manager, image);
    else
        pass_plan(manager, image, SCHEDULE_FORCED);
    scan_join(manager, image, ticket);
}

/* Every image at and below the path; ticket 0 only looks: -ENOENT none is known, -ENOTCONN they
 * cannot be reached. */
static int scan_path(struct manager *manager, const char *path, bool scrub, uint64_t ticket)
{
    size_t n_path = strlen(path), n = 0, n_online = 0;
    _cleanup_free_ char *folder = NULL;
    struct image *const *images;
    struct image *image;
    int r;

    while (n_path > 1 && path[n_path - 1] == '/')
        n_path--;
    folder = strndup(path, n_path);
    if (!folder)
        return -ENOMEM;
    image = discover_find_image(manager->discover, folder);
    r = discover_images_below(manager->discover, folder, &images, &n);
    if (r < 0)
        return r;
    if (ticket && image)
        scan_image(manager, image, scrub, ticket);
    for (size_t i = 0; i < n; i++) {
        n_online += can_be_scanned(manager, images[i], scrub);
        /* Files that are none are not worth reading. */
        if (ticket && (!scrub || images[i]->listed))
            scan_image(manager, images[i], scrub, ticket);
    }
    n_online += image && can_be_scanned(manager, image, scrub);
    if (n_online > 0)
        return 0;
    return image || n > 0 ? -ENOTCONN : -ENOENT;
}

int pass_scan(struct manager *manager, char **paths, bool scrub, uint64_t *ret_ticket,
              const char **ret_path)
{
    struct scan *scan;
    int r;

    for (size_t i = 0; paths[i]; i++) {
        r = scan_path(manager, paths[i], scrub, 0);
        if (r < 0) {
            *ret_path = paths[i];
            return r;
        }
    }
    scan = scan_new(manager, false);
    scan->started = true;
    scan->begun = manager_now(manager);
    for (size_t i = 0; paths[i]; i++)
        (void) scan_path(manager, paths[i], scrub, scan->ticket);
    judge_soon(manager);
    *ret_ticket = scan->ticket;
    return 0;
}
