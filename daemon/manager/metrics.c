/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Counts events, and writes the metrics' file after each pass, and once a minute when anything
 * changed. */
#include <errno.h>
#include <string.h>

#include "build-config.h"
#include "daemon/core/log.h"
#include "daemon/manager/internal.h"
#include "helpers/clock.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define METRICS_DELAY (60 * USEC_PER_SEC)
#define METRICS_AGAIN (5 * USEC_PER_SEC)
#define METRICS_NAME "qcauditd.prom"    /* in the runtime folder */

static int on_metrics_timer(sd_event_source *source, uint64_t when, void *userdata);

/* The path of the metrics' file; malloc'd, NULL without memory. */
static char *metrics_path(const struct manager *manager)
{
    char *path;

    if (manager->config->metrics_file)
        return strdup(manager->config->metrics_file);
    return asprintf(&path, "%s/" METRICS_NAME, manager->options.runtime_directory) < 0 ? NULL
                                                                                      : path;
}

/* A configured path is meant for a collector. The default file shows nobody more than the socket
 * beside it would. */
static mode_t metrics_mode(const struct config *config)
{
    return config->metrics_file || config->control_public ? 0644 : 0640;
}

static void on_written(void *userdata, int error)
{
    struct manager *manager = userdata;
    _cleanup_free_ char *plain = metrics_path(manager), *path = text_escape_string(plain);
    char hint[LOG_HINT_MAX];

    if (error < 0) {
        if (error != manager->metrics_error)
            log_warning(
                error, "Cannot write the metrics to %s: %m%s%s", path ?: "their file",
                error == -EROFS || error == -EACCES
                    ? "; the service may write below /run/qcaudit, elsewhere with ReadWritePaths= "
                      "in a drop-in and with the rights of its user"
                    : "",
                log_access_hint(error, hint));
        manager->metrics_changed = true;
        (void) manager_arm(manager, &manager->metrics_timer, METRICS_DELAY, on_metrics_timer);
    } else if (manager->metrics_error < 0) {
        log_notice(0, "The metrics are written again");
    }
    manager->metrics_error = error;
}

static void count_scrubs(struct manager *manager, struct metrics_counters *counters)
{
    struct scrub_progress progress;

    counters->scrubs_due = scrubs_due(manager->scrubs, manager_now(manager));
    for (size_t i = 0; audits_scrub(manager->audits, i, &progress); i++) {
        counters->scrubs_running++;
        counters->scrub_done += progress.done;
        counters->scrub_total += progress.total;
    }
}

static int write_now(struct manager *manager)
{
    struct metrics_counters counters = manager->counters;
    _cleanup_free_ char *path = metrics_path(manager);
    struct query_view view;
    size_t size = 0;
    char *text;
    int r;

    counters.version = PACKAGE_VERSION;
    counters.started = manager->started;
    counters.last_pass = manager->last_pass;
    counters.workers_running = (unsigned)audits_running(manager->audits);
    counters.store_waiting = store_waiting(manager->store);
    counters.store_error = manager->store_error;
    counters.virt = manager->virt;
    count_scrubs(manager, &counters);
    alert_count(manager->alert, counters.alerts);
    r = path ? control_view(manager, &view) : -ENOMEM;
    if (r >= 0)
        r = metrics_text(&view, &counters, &text, &size);
    return r < 0 ? r
                 : metrics_file_write(manager->metrics_file, path,
                                      metrics_mode(manager->config), text, size);
}

static void metrics_write(struct manager *manager)
{
    int r;

    if (!manager->metrics_file || manager->stopping)
        return;
    r = write_now(manager);
    manager->metrics_changed = r < 0;
    if (r == -EBUSY)            /* the file system takes its time */
        r = manager_arm(manager, &manager->metrics_timer, METRICS_AGAIN, on_metrics_timer);
    if (r < 0)
        log_warning(r, "Cannot make the metrics: %m");
}

static int on_metrics_timer(sd_event_source *source, uint64_t when, void *userdata)
{
    struct manager *manager = userdata;

    if (manager->metrics_changed)
        metrics_write(manager);
    return 0;
}

void metrics_soon(struct manager *manager)
{
    manager->metrics_changed = true;
    if (manager->metrics_file && !manager->stopping)
        (void) manager_arm(manager, &manager->metrics_timer, METRICS_DELAY, on_metrics_timer);
}

void metrics_apply_config(struct manager *manager)
{
    int r;

    manager->metrics_error = 0;
    if (!config_wants_metrics(manager->config)) {
        if (manager->metrics_file)
            metrics_file_remove(manager->metrics_file);
        manager->metrics_file = metrics_file_free(manager->metrics_file);
        return;
    }
    if (!manager->metrics_file) {
        r = metrics_file_new(manager->event, on_written, manager, &manager->metrics_file);
        if (r < 0) {
            log_error(r, "Cannot write metrics: %m");
            return;
        }
    }
    metrics_write(manager);
}

void metrics_count_audit(struct manager *manager, int error, const struct audit_report *report)
{
    struct metrics_counters *counters = &manager->counters;

    if (error == -ENOEXEC)
        counters->workers_failed++;
    if (error < 0 || !report)
        return;
    counters->audits++;
    counters->audits_failed += report->error != 0;
    counters->workers_failed += audit_report_worker_died(report);
    counters->audits_took += report->elapsed_usec;
    counters->bytes_read += report->bytes_read;
}

void metrics_count_scrub(struct manager *manager, const struct audit *audit)
{
    manager->counters.scrubs += audit->digest != NULL;
    manager->counters.scrub_bytes += audit->report ? audit->report->bytes_read : 0;
}

void metrics_count_pass(struct manager *manager, const struct scan *scan)
{
    struct metrics_counters *counters = &manager->counters;

    counters->last_pass_took = manager->last_pass > scan->begun
                                   ? manager->last_pass - scan->begun : 0;
    counters->passes++;
    counters->passes_took += counters->last_pass_took;
    manager->metrics_changed = true;
    /* Not here: what the pass showed is still being judged. */
    if (manager->metrics_file && !manager->stopping)
        (void) manager_arm(manager, &manager->metrics_timer, 0, on_metrics_timer);
}

void metrics_done(struct manager *manager)
{
    manager->metrics_timer = sd_event_source_disable_unref(manager->metrics_timer);
    if (manager->metrics_file)
        metrics_file_remove(manager->metrics_file);
    manager->metrics_file = metrics_file_free(manager->metrics_file);
}
