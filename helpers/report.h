/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The report of one audit by a worker: plain structs, built and bounded by the client, read by
 * daemon and ctl. */
#pragma once

#include "qcaudit/qcaudit.h"

/* One layer that was opened: of a plain audit the image alone, of a chain audit all of them. */
struct layer_report {
    char *name;                     /* the reference that led here; NULL for the image itself */
    struct qca_image_info info;
    bool checked;                   /* false: format without a check, or not asked for */
    struct qca_check_result check;  /* at most the request's max_issues over all layers */
    bool has_metadata_digest;
    uint8_t metadata_digest[32];
    enum qca_format probed_format;  /* what the content looks like, whatever was declared */
    /* There may be more than the info holds: a report transfers at most 4,096 of each over all
     * layers. */
    uint64_t snapshots_total, bitmaps_total, extensions_total, extents_total;
};

/* How the bytes of an image were had. */
enum report_reading {
    REPORT_READING_ORDINARY,    /* through the page cache, as everybody does */
    REPORT_READING_DIRECT,      /* past the page cache */
    REPORT_READING_UNCACHED,    /* what was cached from there, the rest from the disk and dropped
                                 * again */
    REPORT_READING_CACHED,      /* meant to be one of those, but the file system can neither */
    _REPORT_READING_MAX,
};

/* "ordinary", "direct", "uncached", "cached"; NULL when out of range. */
const char *report_reading_name(enum report_reading reading);

struct audit_report {
    int error;                      /* 0, or -errno: the image (or its chain) was not opened */
    enum report_reading reading;
    struct qca_error *open_error;   /* owned; why, when error is set, else NULL:
                                     * audit_report_open_error() */
    /* n_layers is 0 only when error is set, or nothing but a file digest was asked for. Of a chain
     * that broke those down to the break may be there. */
    struct layer_report *layers;
    size_t n_layers;
    struct qca_file_digest *file_digest;        /* NULL: not asked for, or not had; perhaps there
                                                 * where error is set */
    struct qca_content_digest *content_digest;  /* also of a layer alone. NULL: not asked for, or
                                                 * error is set; look whether it is complete */
    /* A worker that did not live to its end. error is then -ECHILD (ended), -ETIMEDOUT (killed at
     * its deadline), -EBADMSG (sent a bad record, killed) or -ENOEXEC (did not start). */
    int worker_signal;              /* signal that ended it, 0 if none */
    int worker_status;              /* exit status when no signal */
    uint64_t bytes_read;
    uint64_t elapsed_usec;
    uint64_t cpu_usec;
    uint64_t peak_memory;           /* bytes, of the worker so far */
};

/* Frees what the layer owns. */
void layer_report_done(struct layer_report *layer);
/* Never NULL, the report's: of kind QCA_ERROR_NONE when there was none. */
const struct qca_error *audit_report_open_error(const struct audit_report *report);
/* Did the image end its worker? */
bool audit_report_worker_died(const struct audit_report *report);
/* takes NULL, returns NULL */
struct audit_report *audit_report_free(struct audit_report *report);
