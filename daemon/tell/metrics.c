/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the model to Prometheus' text format: names, units and labels by its conventions. */
#include "daemon/tell/metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "helpers/clock.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define PREFIX "qcaudit_"

/* Layers; the steps of chain-deep and of libvirt's limit are among them. */
static const uint32_t depth_bounds[] = { 1, 2, 3, 4, 5, 10, 25, 50, 100, 160, 200, 500, 1000 };

struct histogram {
    uint64_t buckets[ELEMENTSOF(depth_bounds)];     /* of each alone, not added up */
    uint64_t count, sum, maximum;
};

static void histogram_add(struct histogram *histogram, uint64_t value)
{
    size_t i = 0;

    while (i < ELEMENTSOF(depth_bounds) && value > depth_bounds[i])
        i++;
    if (i < ELEMENTSOF(depth_bounds))
        histogram->buckets[i]++;
    histogram->count++;
    histogram->sum += value;
    if (value > histogram->maximum)
        histogram->maximum = value;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void head(FILE *stream, const char *name, const char *type, const char *help)
{
    fprintf(stream, "# HELP " PREFIX "%s %s\n# TYPE " PREFIX "%s %s\n", name, help, name, type);
}

static void number(FILE *stream, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    head(stream, name, type, help);
    fprintf(stream, PREFIX "%s %" PRIu64 "\n", name, value);
}

/* usec as seconds, exactly: a double would round times of day. */
static void seconds(FILE *stream, const char *name, const char *type, const char *help,
                    uint64_t usec)
{
    head(stream, name, type, help);
    fprintf(stream, PREFIX "%s %" PRIu64 ".%06" PRIu64 "\n", name, usec / USEC_PER_SEC,
            usec % USEC_PER_SEC);
}

/* A label's value: one byte that is no UTF-8 would cost the whole file. */
static void label(FILE *stream, const char *text)
{
    _cleanup_free_ char *escaped = text_escape_string(text);

    for (const char *c = escaped ? escaped : "?"; *c; c++) {
        if (*c == '\\' || *c == '"')
            putc('\\', stream);
        putc(*c, stream);
    }
}

static void histogram_write(FILE *stream, const char *name, const char *help,
                            const struct histogram *histogram)
{
    uint64_t below = 0;

    head(stream, name, "histogram", help);
    for (size_t i = 0; i < ELEMENTSOF(depth_bounds); i++) {
        below += histogram->buckets[i];
        fprintf(stream, PREFIX "%s_bucket{le=\"%" PRIu32 "\"} %" PRIu64 "\n", name, depth_bounds[i],
                below);
    }
    fprintf(stream,
            PREFIX "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n" PREFIX "%s_sum %" PRIu64 "\n" PREFIX
                   "%s_count %" PRIu64 "\n",
            name, histogram->count, name, histogram->sum, name, histogram->count);
}

/* ---- images ---------------------------------------------------------------------------------- */

struct sums {
    uint64_t images, unaudited, unreadable, size, allocated, chains;
    uint64_t leaked, corruptions, check_errors;
    uint64_t baselined;
    /* usec; UINT64_MAX none */
    uint64_t oldest_audit, oldest_verification, oldest_snapshot;
    struct histogram depth, unconsolidated;
};

static void sum_layer(const struct layer_report *layer, struct sums *sums)
{
    uint64_t leaked;

    if (!layer->checked)
        return;
    /* Counts of a hostile image: neither the product nor the sum may wrap around. */
    if (__builtin_mul_overflow(layer->check.leaks, (uint64_t)layer->info.cluster_size, &leaked) ||
        __builtin_add_overflow(sums->leaked, leaked, &sums->leaked))
        sums->leaked = UINT64_MAX;
    if (__builtin_add_overflow(sums->corruptions, layer->check.corruptions, &sums->corruptions))
        sums->corruptions = UINT64_MAX;
    if (__builtin_add_overflow(sums->check_errors, layer->check.check_errors, &sums->check_errors))
        sums->check_errors = UINT64_MAX;
}

static void sum_audit(const struct audit *audit, bool paused, struct sums *sums)
{
    const struct layer_report *layer = audit_layer_seen(audit);

    if (!paused && audit->finished < sums->oldest_audit)
        sums->oldest_audit = audit->finished;
    if (!audit->report)
        return;
    sums->unreadable += audit->report->error != 0;
    /* The state that a writer's caches leave on disk is no damage and no leak: such audits are not
     * counted. */
    if (audit->confidence >= CONFIDENCE_FROZEN && layer)
        sum_layer(layer, sums);
}

/* When somebody left it alone on purpose, what is in it does not get old. */
static bool is_paused(const struct image *image)
{
    return image->datastore && image->datastore->state == DATASTORE_PAUSED;
}

static void sum_snapshots(const struct virt_status *virt, struct sums *sums)
{
    for (size_t i = 0; virt && i < virt->n_domains; i++)
        for (size_t k = 0; k < virt->domains[i].n_snapshots; k++) {
            uint64_t created = virt->domains[i].snapshots[k].created;

            if (created > 0 && created < sums->oldest_snapshot)
                sums->oldest_snapshot = created;
        }
}

/* A layer that is a snapshot of its parent, whoever made it. */
static void sum_snapshot(const struct query_view *view, const struct image *image,
                         const struct relation *relation, struct sums *sums)
{
    const char *source = NULL;
    uint64_t created;

    if (!relation || relation->kind != RELATION_SNAPSHOT)
        return;
    created = graph_layer_created(view->graph, image, &source);
    if (created > 0 && created < sums->oldest_snapshot)
        sums->oldest_snapshot = created;
}

static void sum_baseline(const struct baseline *baseline, bool paused, struct sums *sums)
{
    uint64_t verified = baseline->verified > baseline->since ? baseline->verified : baseline->since;

    if (baseline->since == 0)
        return;
    sums->baselined++;
    if (!paused && verified < sums->oldest_verification)
        sums->oldest_verification = verified;
}

static void sum_images(const struct query_view *view, const struct virt_status *virt,
                       struct sums *ret_sums)
{
    struct sums sums = { .oldest_audit = UINT64_MAX, .oldest_verification = UINT64_MAX,
                         .oldest_snapshot = UINT64_MAX };

    for (size_t i = 0; i < view->n_images; i++) {
        const struct image *image = view->images[i];
        const struct relation *relation = graph_relation(view->graph, image);

        if (!image->present)
            continue;
        sums.images++;
        sums.size += image->fingerprint.size;
        sums.allocated += image->fingerprint.allocated;
        if (image->audit)
            sum_audit(image->audit, is_paused(image), &sums);
        else
            sums.unaudited++;
        if (image->baseline)
            sum_baseline(image->baseline, is_paused(image), &sums);
        sum_snapshot(view, image, relation, &sums);
        if (!relation || !relation->leaf)
            continue;
        sums.chains += relation->depth > 1;
        histogram_add(&sums.depth, relation->depth);
        histogram_add(&sums.unconsolidated, relation->unconsolidated);
    }
    sum_snapshots(virt, &sums);
    *ret_sums = sums;
}

static void write_images(FILE *stream, const struct sums *sums)
{
    number(stream, "images_unaudited", "gauge", "Images that were never audited.", sums->unaudited);
    number(stream, "images_unreadable", "gauge",
           "Images that could not be opened by their last audit.", sums->unreadable);
    number(stream, "images_size_bytes", "gauge", "Size of all image files.", sums->size);
    number(stream, "images_allocated_bytes", "gauge", "Space that all image files take.",
           sums->allocated);
    number(stream, "chains", "gauge", "Leaves with at least one parent.", sums->chains);
    histogram_write(stream, "chain_depth_layers",
                    "Leaves by the number of layers of their chain, now.", &sums->depth);
    number(stream, "chain_depth_max_layers", "gauge", "Layers of the deepest chain.",
           sums->depth.maximum);
    histogram_write(stream, "unconsolidated_depth_layers",
                    "Leaves by the number of layers that snapshots left above their disk's own "
                    "layer, now.",
                    &sums->unconsolidated);
    number(stream, "unconsolidated_depth_max_layers", "gauge",
           "Layers that snapshots left on the disk with most of them.",
           sums->unconsolidated.maximum);
    number(stream, "leaked_bytes", "gauge", "Leaked clusters of all images without a writer.",
           sums->leaked);
    number(stream, "corruptions", "gauge",
           "Corruptions of all images without a writer, as qemu-img check counts.",
           sums->corruptions);
    number(stream, "check_errors", "gauge",
           "Check errors of all images without a writer, as qemu-img check counts.",
           sums->check_errors);
    if (sums->oldest_audit != UINT64_MAX)
        seconds(stream, "oldest_audit_timestamp_seconds", "gauge",
                "When the image that was not audited for longest was audited.", sums->oldest_audit);
    number(stream, "images_baselined", "gauge", "Images whose content was read once and is known.",
           sums->baselined);
    if (sums->oldest_verification != UINT64_MAX)
        seconds(stream, "oldest_verification_timestamp_seconds", "gauge",
                "When the known content that was not read again for longest was read.",
                sums->oldest_verification);
    if (sums->oldest_snapshot != UINT64_MAX)
        seconds(stream, "oldest_snapshot_timestamp_seconds", "gauge",
                "When the oldest snapshot that is there was made: libvirt's, or a layer that is "
                "one.", sums->oldest_snapshot);
}

/* ---- datastores ------------------------------------------------------------------------------ */

static void datastore_number(FILE *stream, const char *name, const struct datastore *datastore,
                             uint64_t value)
{
    fprintf(stream, PREFIX "%s{datastore=\"", name);
    label(stream, datastore->name);
    fprintf(stream, "\"} %" PRIu64 "\n", value);
}

static void write_datastores(FILE *stream, const struct query_view *view)
{
    head(stream, "images", "gauge", "Images known, by datastore.");
    for (size_t i = 0; i < view->n_datastores; i++)
        datastore_number(stream, "images", view->datastores[i], view->datastores[i]->n_images);
    head(stream, "datastore_online", "gauge",
         "1 when the datastore can be read, 0 when it is offline or paused.");
    for (size_t i = 0; i < view->n_datastores; i++)
        datastore_number(stream, "datastore_online", view->datastores[i],
                         view->datastores[i]->state == DATASTORE_ONLINE);
    head(stream, "datastore_paused", "gauge",
         "1 while the datastore is left alone because somebody asked for it.");
    for (size_t i = 0; i < view->n_datastores; i++)
        datastore_number(stream, "datastore_paused", view->datastores[i],
                         view->datastores[i]->state == DATASTORE_PAUSED);
    head(stream, "datastore_size_bytes", "gauge", "Size of the datastore's file system.");
    for (size_t i = 0; i < view->n_datastores; i++)
        if (view->datastores[i]->root.type[0])
            datastore_number(stream, "datastore_size_bytes", view->datastores[i],
                             view->datastores[i]->root.size);
    head(stream, "datastore_available_bytes", "gauge",
         "Space left on the datastore's file system.");
    for (size_t i = 0; i < view->n_datastores; i++)
        if (view->datastores[i]->root.type[0])
            datastore_number(stream, "datastore_available_bytes", view->datastores[i],
                             view->datastores[i]->root.available);
}

/* ---- coverage -------------------------------------------------------------------------------- */

static void left_out(FILE *stream, const struct datastore *datastore, const char *reason,
                     uint64_t value)
{
    fputs(PREFIX "left_out{datastore=\"", stream);
    label(stream, datastore->name);
    fprintf(stream, "\",reason=\"%s\"} %" PRIu64 "\n", reason, value);
}

/* Every reason is there with 0, so that a rule sees it come. */
static int write_coverage(FILE *stream, const struct query_view *view)
{
    _cleanup_free_ struct coverage_counts *counts = calloc(view->n_datastores + 1,
                                                           sizeof(*counts));

    if (!counts)
        return -ENOMEM;
    query_coverage_count(view, counts);
    head(stream, "images_audited", "gauge",
         "Images that were audited and could be read, by datastore.");
    for (size_t i = 0; i < view->n_datastores; i++)
        datastore_number(stream, "images_audited", view->datastores[i], counts[i].audited);
    head(stream, "coverage_ratio", "gauge",
         "Share of the known images that were audited and could be read, by datastore.");
    for (size_t i = 0; i < view->n_datastores; i++)
        if (counts[i].images > 0) {
            uint64_t millionths = counts[i].audited * 1000000 / counts[i].images;

            fputs(PREFIX "coverage_ratio{datastore=\"", stream);
            label(stream, view->datastores[i]->name);
            fprintf(stream, "\"} %" PRIu64 ".%06" PRIu64 "\n", millionths / 1000000,
                    millionths % 1000000);
        }
    head(stream, "files_seen", "gauge", "Files of all kinds that the last complete walk saw.");
    for (size_t i = 0; i < view->n_datastores; i++)
        datastore_number(stream, "files_seen", view->datastores[i],
                         view->datastores[i]->coverage.files);
    head(stream, "left_out", "gauge",
         "Not audited: mounts, links and excluded paths, and images that cannot be audited, "
         "by datastore and reason.");
    for (size_t i = 0; i < view->n_datastores; i++) {
        const struct datastore *datastore = view->datastores[i];

        for (enum files_left_out why = FILES_LEFT_NONE + 1; why < _FILES_LEFT_MAX; why++)
            left_out(stream, datastore, coverage_reason_name(why),
                     datastore->coverage.left_out[why]);
        left_out(stream, datastore, "unreadable", datastore->unreadable + counts[i].unreadable);
        left_out(stream, datastore, "being-written", counts[i].unrested);
        left_out(stream, datastore, "worker-deaths", counts[i].deaths);
        left_out(stream, datastore, "format-not-understood", counts[i].foreign);
        left_out(stream, datastore, "not-audited-yet", counts[i].unaudited);
    }
    return 0;
}

/* ---- findings -------------------------------------------------------------------------------- */

enum { COUNT_OPEN, COUNT_ACKNOWLEDGED, COUNT_MUTED, _COUNT_MAX };

struct finding_counts {
    uint64_t n[_FINDING_MAX][_SEVERITY_MAX][_COUNT_MAX];
};

static int count_finding(void *userdata, struct finding *finding)
{
    struct finding_counts *counts = userdata;

    if (finding->state != FINDING_RESOLVED)
        counts->n[finding->type][finding->severity][
            finding->muted_by > 0 ? COUNT_MUTED :
            finding->state == FINDING_ACKNOWLEDGED ? COUNT_ACKNOWLEDGED : COUNT_OPEN]++;
    return 0;
}

/* A finding that never was is there with 0, so that a rule sees it come. */
static int write_findings(FILE *stream, const struct query_view *view)
{
    static const char *const states[] = {
        [COUNT_OPEN] = "open", [COUNT_ACKNOWLEDGED] = "acknowledged", [COUNT_MUTED] = "muted",
    };
    _cleanup_free_ struct finding_counts *counts = calloc(1, sizeof(*counts));

    if (!counts)
        return -ENOMEM;
    (void)findings_each(view->findings, 0, count_finding, counts);
    head(stream, "findings", "gauge",
         "Findings that are not resolved, by name, severity and state.");
    for (enum finding_type type = 0; type < _FINDING_MAX; type++) {
        const struct finding_definition *definition = finding_definition(type);

        for (enum severity severity = 0; severity < _SEVERITY_MAX; severity++)
            for (int state = 0; state < _COUNT_MAX; state++) {
                uint64_t n = counts->n[type][severity][state];

                if (n > 0 || (severity == definition->severity && state == COUNT_OPEN))
                    fprintf(stream,
                            PREFIX "findings{name=\"%s\",severity=\"%s\",state=\"%s\"} %" PRIu64
                                   "\n",
                            definition->name, severity_name(severity),
                            states[state], n);
            }
    }
    head(stream, "findings_by_severity", "gauge",
         "The same of all names; each severity and state is there.");
    for (enum severity severity = 0; severity < _SEVERITY_MAX; severity++)
        for (int state = 0; state < _COUNT_MAX; state++) {
            uint64_t n = 0;

            for (enum finding_type type = 0; type < _FINDING_MAX; type++)
                n += counts->n[type][severity][state];
            fprintf(stream, PREFIX "findings_by_severity{severity=\"%s\",state=\"%s\"} %" PRIu64
                            "\n", severity_name(severity), states[state], n);
        }
    return 0;
}

/* ---- libvirt and alerts ---------------------------------------------------------------------- */

/* One that is not on this host is none. */
static void write_virt(FILE *stream, const struct virt_status *virt)
{
    head(stream, "libvirt_up", "gauge", "1 while libvirt answers on this connection.");
    for (size_t i = 0; virt && i < virt->n_connections; i++) {
        if (virt->connections[i].absent)
            continue;
        fputs(PREFIX "libvirt_up{uri=\"", stream);
        label(stream, virt->connections[i].uri);
        fprintf(stream, "\"} %d\n", virt->connections[i].connected);
    }
}

static void write_alerts(FILE *stream, const struct alert_counts counts[_ALERT_TARGET_MAX])
{
    head(stream, "alerts_sent_total", "counter",
         "Alerts that the channel took; of exec messages, which may hold several.");
    for (enum alert_target target = 0; target < _ALERT_TARGET_MAX; target++)
        fprintf(stream, PREFIX "alerts_sent_total{channel=\"%s\"} %" PRIu64 "\n",
                alert_target_name(target), counts[target].sent);
    head(stream, "alerts_failed_total", "counter",
         "Tries in which the channel did not take an alert.");
    for (enum alert_target target = 0; target < _ALERT_TARGET_MAX; target++)
        fprintf(stream, PREFIX "alerts_failed_total{channel=\"%s\"} %" PRIu64 "\n",
                alert_target_name(target), counts[target].failed);
}

static void write_scrubs(FILE *stream, const struct metrics_counters *counters)
{
    number(stream, "scrubs_total", "counter", "Images whose data was read completely.",
           counters->scrubs);
    number(stream, "scrub_read_bytes_total", "counter",
           "Bytes that scrubs read from images, part of read_bytes_total.", counters->scrub_bytes);
    number(stream, "scrubs_running", "gauge", "Scrubs under way.", counters->scrubs_running);
    number(stream, "scrubs_due", "gauge", "Images whose data is due to be read.",
           counters->scrubs_due);
    number(stream, "scrub_done_bytes", "gauge",
           "Guest bytes that the scrubs under way have read.", counters->scrub_done);
    number(stream, "scrub_size_bytes", "gauge",
           "Guest bytes that the scrubs under way are to read in all.",
           counters->scrub_total);
}

/* ---- the daemon ------------------------------------------------------------------------------ */

static void write_daemon(FILE *stream, const struct metrics_counters *counters)
{
    head(stream, "build_info", "gauge", "Always 1; the version is in the label.");
    fputs(PREFIX "build_info{version=\"", stream);
    label(stream, counters->version);
    fputs("\"} 1\n", stream);
    seconds(stream, "start_timestamp_seconds", "gauge", "When the daemon was started.",
            counters->started);
    number(stream, "passes_total", "counter", "Complete passes over everything.", counters->passes);
    seconds(stream, "pass_duration_seconds_total", "counter", "Time that complete passes took.",
            counters->passes_took);
    if (counters->passes > 0) {
        seconds(stream, "last_pass_duration_seconds", "gauge",
                "Time that the last complete pass took.", counters->last_pass_took);
        seconds(stream, "last_pass_timestamp_seconds", "gauge",
                "When the last complete pass ended.", counters->last_pass);
    }
    number(stream, "audits_total", "counter", "Audits of single images.", counters->audits);
    number(stream, "audits_failed_total", "counter",
           "Audits that could not open their image or lost their worker.", counters->audits_failed);
    seconds(stream, "audit_duration_seconds_total", "counter", "Time that audits took, added up.",
            counters->audits_took);
    number(stream, "read_bytes_total", "counter", "Bytes that workers read from images.",
           counters->bytes_read);
    number(stream, "workers_failed_total", "counter",
           "Workers that crashed, hung, misbehaved or could not be started.",
           counters->workers_failed);
    number(stream, "workers_running", "gauge", "Audits under way.", counters->workers_running);
    number(stream, "database_waiting", "gauge", "Requests that wait for the database.",
           counters->store_waiting);
    number(stream, "database_failed", "gauge", "1 when the database cannot be written.",
           counters->store_error < 0);
}

int metrics_text(const struct query_view *view, const struct metrics_counters *counters,
                 char **ret_text, size_t *ret_size)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    struct sums sums;
    int r, failed;

    if (!stream)
        return -ENOMEM;
    sum_images(view, counters->virt, &sums);
    write_daemon(stream, counters);
    write_scrubs(stream, counters);
    write_alerts(stream, counters->alerts);
    write_virt(stream, counters->virt);
    write_datastores(stream, view);
    write_images(stream, &sums);
    r = write_coverage(stream, view);
    if (r >= 0)
        r = write_findings(stream, view);
    failed = ferror(stream);
    if (fclose(stream) != 0 || failed || !text)
        r = -ENOMEM;
    if (r < 0) {
        free(text);
        return r;
    }
    *ret_text = text;
    *ret_size = size;
    return 0;
}
