/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The administrator's policy: thresholds, by classes of images, and which images are golden. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/findings.h"

struct families;

/* Two or three steps of one measure; UINT64_MAX switches a step off. */
struct steps { uint64_t warning, error, critical; };

/* Thresholds of the findings; each a key of the configuration, and can differ by class. Durations
 * are usec, shares are parts per 10,000. */
struct thresholds {
    struct steps chain_deep;            /* unconsolidated layers: 5, 25, 160 */
    uint32_t chain_limit;               /* layers in all: 200 */
    struct steps snapshot_old;          /* 72 h, 14 d, off */
    uint32_t runaway_layers;            /* at a regular interval: 4 */
    uint32_t runaway_tolerance;         /* how regular: 2,000 (20 %) of the median interval */
    uint64_t leaks_bytes;               /* warning from: 1 GiB */
    uint32_t leaks_share;               /* warning from: 100 (1 %) of the clusters */
    uint32_t burst_leaks;               /* 256 in one span */
    uint32_t burst_factor;              /* 10 times the last audit's */
    uint32_t internal_snapshots;        /* 5 */
    uint32_t internal_snapshots_golden; /* 1 */
    enum severity data_file;            /* warning */
    uint64_t overdue_golden;            /* usec without a verification: 14 d; UINT64_MAX off */
    uint64_t overdue_parents;           /* 60 d */
    uint64_t reclaimable_bytes;         /* 10 GiB */
    uint32_t reclaimable_share;         /* 3,000 (30 %) of what the image takes, */
    uint64_t reclaimable_least;         /* of at least 100 MiB */
    uint64_t runaway_least;             /* usec: a shorter interval is no rhythm: 1 min */
    struct steps snapshot_large;        /* bytes: 20 GiB, 40 GiB, off */
    struct steps snapshot_large_share;  /* of the virtual size: 2,000 (20 %), 5,000 (50 %), off; */
    uint64_t snapshot_large_least;      /* but not below so many bytes: 1 GiB */
    struct steps datastore_full;        /* 7,500 (75 %), off, 8,500 (85 %) */
    struct steps datastore_overcommitted;       /* 15,000 (150 %), off, off */
    uint64_t full_early, full_late;     /* time to full: a warning from 72 h, critical from 24 h;
                                         * UINT64_MAX off */
    uint64_t full_span;                 /* that the samples of its slope span at least: 1 h */
    /* How long these have to hold, usec: */
    uint64_t unmanaged_after;           /* 1 h */
    uint64_t orphan_after;              /* 24 h */
    uint64_t backup_after;              /* the age that no backup job reaches: 24 h */
    uint64_t job_after;                 /* a block job that is ready: 1 h */
    uint64_t differs_after;             /* 5 min */
    uint64_t delete_after;              /* a deletion of a snapshot: 10 min */
    uint64_t foreign_after;             /* 1 min */
    uint64_t forked_after;              /* 1 min: a merge leaves its layers behind until they are
                                         * deleted */
    uint64_t deleted_after;             /* 10 s: longer than libvirt takes to tell of a merge */
    bool disabled[_FINDING_MAX];        /* findings the administrator does not want */
};

struct policy_class {
    char *name;
    char **paths;               /* glob patterns over absolute paths, NULL-ended */
    uint64_t memory;            /* bytes that a domain with such an image needs; 0: not said */
    struct thresholds thresholds;       /* complete: defaults filled in */
};

/* Versions of a family of images that are to be replaced. */
struct policy_version {
    char *family;
    char *train;                /* of the family's versions, "any": all */
    char *minimum;              /* NULL: not said */
    uint64_t end_of_life;       /* usec: the first moment of that day; 0: not said */
    const char *file;           /* that says it, borrowed, with its place */
    unsigned line, column;
};

struct policy {
    char **golden;              /* glob patterns: declared immutable, NULL-ended */
    bool infer_golden;          /* by the definition of DESIGN: default true */
    struct thresholds thresholds;
    struct policy_class *classes;       /* the first that matches counts */
    size_t n_classes;
    struct policy_version *versions;    /* at most one of a train of a family */
    size_t n_versions;
    const struct families *families;    /* of images, with the memory they need; NULL: none */
    uint64_t scrub_golden;      /* usec between two readings of a golden image: 7 d; 0 never */
    uint64_t scrub_parents;     /* of another parent: 30 d; 0 never */
    uint64_t scrub_parents_after;       /* usec that a parent is old before it is read first: 24
                                         * h */
};

const struct thresholds *policy_thresholds(const struct policy *policy, const char *path);
/* The class of an image; NULL for none. */
const struct policy_class *policy_class_of(const struct policy *policy, const char *path);
/* Compared with the whole path: * and ? match slashes, too, so that a pattern means everything
 * below. */
bool policy_pattern_matches(const char *pattern, const char *path);
bool policy_golden(const struct policy *policy, const char *path);
