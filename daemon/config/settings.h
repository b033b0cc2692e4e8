/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcauditd.yaml and conf.d, read into plain structs; every mistake said with file, line, column and
 * the nearest key. */
#pragma once

#include <stdio.h>

#include "daemon/core/findings.h"
#include "daemon/core/policy.h"
#include "helpers/config-files.h"

struct config_origin;
struct families;

struct config_datastore {
    char *name;                 /* [A-Za-z0-9._-]+, unique; by default made from the path */
    char *path;                 /* absolute, without trailing slash */
    bool recursive;             /* true */
    bool watch;                 /* true: inotify where it works */
    bool mounts;                /* true: looks into file systems that are mounted below */
    char **exclude;             /* patterns, relative to path, of what is left out; NULL-ended */
    char **devices;             /* patterns of devices to which links are followed; NULL-ended */
};

struct config {
    struct config_datastore *datastores;
    size_t n_datastores;
    bool datastores_auto;       /* and those of the managers' usual folders that exist */
    char **libvirt_uris;        /* NULL-ended; NULL: qemu:///system where libvirt has a socket;
                                 * empty: none */
    uint64_t libvirt_poll;      /* usec: 60 s */
    char **libvirt_pools;       /* names, NULL-ended; NULL: all; empty: none */

    struct policy policy;

    uint64_t walk_interval;     /* usec between full walks: 1 h */
    uint64_t audit_interval;    /* usec after which an unchanged image is audited again: 7 d; 0
                                 * never */
    uint64_t debounce;          /* usec of quiet after a change before it is audited: 5 s */
    uint64_t delay;             /* usec that changes may delay periodic audits and scrubs: 10 min,
                                 * and never more than half of audit_interval */
    uint64_t rest;              /* usec without a write after which a partial download is judged:
                                 * 1 h */
    unsigned workers;           /* 1 to 64: 2 */
    uint64_t worker_memory;     /* bytes: 1 GiB */
    unsigned worker_images;     /* 64 */
    uint64_t worker_deadline;   /* usec without progress: 60 s */
    uint64_t files_deadline;    /* usec: 30 s */
    uint64_t read_budget;       /* bytes per second over all workers; 0 unlimited: default 0 */
    uint64_t scrub_window;      /* minutes of the day: the first << 16 | the one behind the last;
                                 * 0 always: default 0 */
    uint64_t scrub_pressure;    /* parts per 10,000 of the time; UINT64_MAX off: 1,000 */
    uint64_t scrub_budget;      /* bytes per second over all scrubs; 0 unlimited: default 0 */
    size_t max_issues;          /* per audit: 1,000 */
    size_t files_max;           /* of one datastore: 200,000 */

    bool alert_journal;         /* true */
    bool alert_syslog;          /* false; also used when there is no journal */
    enum severity alert_severity;       /* from this on: info... default warning */
    uint64_t alert_reminder;    /* usec until the first reminder: 24 h, doubling to 32 d; 0 never */
    uint64_t alert_exec_timeout;        /* usec: 30 s, at most 2 min */
    uint64_t alert_quiet_hours; /* as scrub_window, but 0: never */

    bool control_public;        /* reading for everybody: false */
    char *control_group;        /* "qcaudit"; need not exist */

    char *alert_exec;           /* absolute; NULL: none */
    char *metrics_file;         /* absolute, ends in ".prom", in no datastore; "off": none; NULL:
                                 * that in the runtime folder */

    uint64_t history_retention; /* usec: 400 d */
    unsigned audits_kept;       /* per image: 50 */

    struct families *families;  /* NULL until config_load_families() */

    char **files;               /* that were read, NULL-ended */
    struct config_origin *origins;      /* of each value in them, in the order of reading */
    size_t n_origins;
};

/* Reads path, then the *.yaml of the directory conf.d beside it in order of name (bytes; hidden
 * files are left out): later files win key by key, lists are appended. A missing main file is a
 * mistake, a missing conf.d is not. -EINVAL when there was any mistake; nothing is returned then.
 * -ENOMEM. */
int config_load(const char *path, config_error_fn error, void *userdata,
                struct config **ret_config);
/* The same of n bytes in memory, without conf.d; name stands for the file. */
int config_parse(const char *name, const char *bytes, size_t n, config_error_fn error,
                 void *userdata, struct config **ret_config);
/* Adds the families of images: the package's, and those in families.d beside the file at path.
 * -EINVAL when there was any mistake; the configuration is as it was then. -ENOMEM. */
int config_load_families(struct config *config, const char *path, config_error_fn error,
                         void *userdata);
struct config *config_free(struct config *config);
/* The defaults alone: a valid configuration without datastores. */
int config_new(struct config **ret_config);
/* Is there a file of metrics, by default or by name? */
bool config_wants_metrics(const struct config *config);
/* For how long others may make a periodic audit or a scrub wait: usec. */
uint64_t config_delay(const struct config *config);
