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
    uint64_t oldest_audit, oldest_verification;     /* usec; UINT64_MAX none */
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

static void sum_audit(const struct audit *audit, struct sums *sums)
{
    const struct layer_report *layer = audit_layer_seen(audit);

    if (audit->finished < sums->oldest_audit)
        sums->oldest_audit = audit->finished;
    if (!audit->report)
        return;
    sums->unreadable += audit->report->error != 0;
    /* What a writer's caches leave on disk is no damage and no leak: such audits are not
     * counted. */
    if (audit->confidence >= CONFIDENCE_FROZEN && layer)
        sum_layer(layer, sums);
}

static void sum_baseline(const struct baseline *baseline, struct sums *sums)
{
    uint64_t verified = baseline->verified > baseline->since ? baseline->verified : baseline->since;

    if (baseline->since == 0)
        return;
    sums->baselined++;
    if (verified < sums->oldest_verification)
        sums->oldest_verification = verified;
}

static void sum_images(const struct query_view *view, struct sums *ret_sums)
{
    struct sums sums = { .oldest_audit = UINT64_MAX, .oldest_verification = UINT64_MAX };

    for (size_t i = 0; i < view->n_images; i++) {
        const struct image *image = view->images[i];
        const struct relation *relation = graph_relation(view->graph, image);

        if (!image->present)
            continue;
        sums.images++;
        sums.size += image->fingerprint.size;
        sums.allocated += image->fingerprint.allocated;
        if (image->audit)
            sum_audit(image->audit, &sums);
        else
            sums.unaudited++;
        if (image->baseline)
            sum_baseline(image->baseline, &sums);
        if (!relation || !relation->leaf)
            continue;
        sums.chains += relation->depth > 1;
        histogram_add(&sums.depth, relation->depth);
        histogram_add(&sums.unconsolidated, relation->unconsolidated);
    }
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
    head(stream, "files_seen", "gauge", "Files of all kinds that the last complete walk saw.");
    for (size_t i = 0; i < view->n_datastores; i++)
        datastore_number(stream, "files_seen", view->datastores[i],
                         view->datastores[i]->coverage.files);
    head(stream, "left_out", "gauge",
         "What is not looked at: mounts, links and excluded paths, and images that cannot be "
         "audited, by datastore and reason.");
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
    return 0;
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
    sum_images(view, &sums);
    write_daemon(stream, counters);
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
