/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store in numbers for Prometheus: a text for the textfile collector of node_exporter, and the
 * file it is in. */
#pragma once

#include <systemd/sd-event.h>

#include "daemon/control/control.h"
#include "daemon/tell/alert.h"
#include "daemon/virt/virt.h"

/* The manager's counters since its start, and values that it alone knows. Durations are usec. */
struct metrics_counters {
    const char *version;
    uint64_t started;                           /* usec since the epoch */
    uint64_t last_pass, last_pass_took;         /* end and length of the last complete pass; 0
                                                 * none */
    uint64_t passes, passes_took;
    uint64_t audits, audits_failed;             /* failed: the image was not opened, or its
                                                 * worker ended */
    uint64_t audits_took;
    uint64_t bytes_read;                        /* by workers, as they say */
    uint64_t workers_failed;                    /* crashed, hung, sent nonsense, or could not be
                                                 * started */
    unsigned workers_running;
    size_t store_waiting;
    int store_error;
    const struct virt_status *virt;             /* borrowed; NULL: libvirt is not asked */
    uint64_t scrubs, scrub_bytes;               /* complete readings of all data of an image;
                                                 * what all of them read, complete or not */
    unsigned scrubs_running;
    uint64_t scrubs_due;
    uint64_t scrub_done, scrub_total;           /* bytes, of those that run */
    struct alert_counts alerts[_ALERT_TARGET_MAX];
};

/* All metrics in Prometheus' text format, malloc'd and of *ret_size bytes. Labels are names of
 * datastores and of findings, never a path, so that their number is bounded by the configuration.
 * Pure. */
int metrics_text(const struct query_view *view, const struct metrics_counters *counters,
                 char **ret_text, size_t *ret_size);

/* Writes files from a thread of its own, so that a file system that hangs stops nothing but the
 * metrics. */
struct metrics_file;

/* written is called in the loop after each try: 0 or -errno. */
int metrics_file_new(sd_event *event, void (*written)(void *userdata, int error), void *userdata,
                     struct metrics_file **ret_file);
/* Replaces the file at path in one step, with this mode; takes text. -EBUSY: the last one is still
 * being written. When the path is a new one, the file at the old one is taken away. */
int metrics_file_write(struct metrics_file *file, const char *path, mode_t mode, char *text,
                       size_t size);
/* Takes away what was written last: old numbers must not look like new ones. Waits for a moment
 * only. */
void metrics_file_remove(struct metrics_file *file);
/* Leaves the file where it is. */
struct metrics_file *metrics_file_free(struct metrics_file *file);
