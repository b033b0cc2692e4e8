/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Baselines of images: their set, when contents are to be read, and what a reading means. Pure: the
 * time is passed in. */
#pragma once

#include "daemon/contents/blocks.h"
#include "daemon/contents/contents.h"
#include "daemon/core/contents.h"
#include "daemon/core/file.h"
#include "daemon/core/image.h"
#include "daemon/core/policy.h"

/* ---- the set --------------------------------------------------------------------------------- */

struct baselines;

int baselines_new(struct baselines **ret_baselines);
/* With all baselines in it. */
struct baselines *baselines_free(struct baselines *baselines);
/* Takes it. -EEXIST when one of that identity is there; it stays the caller's then. */
int baselines_add(struct baselines *baselines, struct baseline *baseline);
/* Out of the set and freed. */
void baselines_remove(struct baselines *baselines, struct baseline *baseline);
struct baseline *baselines_find(const struct baselines *baselines, const struct identity *identity);
/* Finds the baseline of that path; of several, the one verified last. Baselines of images that may
 * change are left out. */
struct baseline *baselines_find_path(const struct baselines *baselines, const char *path);
/* All that were seen at that path last; the callback must not change the set. */
void baselines_each_path(const struct baselines *baselines, const char *path,
                         void (*each)(void *userdata, struct baseline *baseline), void *userdata);
/* Binds the baseline to this file at that path; -EEXIST: the identity is another one's; -ENOMEM. */
int baselines_rebind(struct baselines *baselines, struct baseline *baseline,
                     const struct identity *identity, const char *path);
size_t baselines_count(const struct baselines *baselines);
/* In order of identity; the callback may remove the one it is given. Stops when it returns
 * non-zero, and returns that. */
int baselines_each(struct baselines *baselines,
                   int (*each)(void *userdata, struct baseline *baseline), void *userdata);

/* ---- when to read ---------------------------------------------------------------------------- */

enum baseline_due {
    BASELINE_DUE_NO,            /* nothing says that it must not change, or it cannot be read now */
    BASELINE_DUE_LATER,         /* at *ret_at */
    BASELINE_DUE_NEW,           /* it was never read completely */
    BASELINE_DUE_CHANGED,       /* it is not as it was */
    BASELINE_DUE_SCRUB,         /* it was not read for long */
};

/* *ret_at: usec when to ask again, 0 now, UINT64_MAX when something else must change first. */
enum baseline_due baseline_due(const struct policy *policy, const struct image *image,
                               const struct relation *relation, uint64_t now, uint64_t *ret_at);
/* Usec between two readings, 0 never. */
uint64_t baseline_interval(const struct policy *policy, const struct relation *relation);

/* ---- what a reading means -------------------------------------------------------------------- */

struct reading {
    uint64_t started, finished; /* usec */
    struct identity identity;   /* of the file that was read */
    struct fingerprint fingerprint;
    bool complete;
    uint8_t digest[32];
    bool encrypted;             /* of what is stored */
    bool foreign;               /* in a format of which an earlier version read the header alone */
    bool elsewhere;             /* its data lies in another file, whose times are not known */
    uint64_t virtual_size;
    uint64_t zeros;             /* bytes that are allocated and hold zeros */
    bool has_metadata;
    uint8_t metadata[32];
    bool compared;              /* difference is known: both files of block digests are there */
    struct blocks_difference difference;
    struct guest_range bad[DEVIATION_RANGES_MAX];       /* what could not be read */
    size_t n_bad;
    uint64_t bad_bytes;
    int error;                  /* negative errno of the first of them */
};

/* fixed: it must not change. Explained by a commit: by the reading's difference. */
enum reading_verdict baseline_verdict(const struct baseline *baseline,
                                      const struct reading *reading, bool fixed);
/* Brings the baseline in line with a reading and its verdict. -ENOMEM: it is as it was. */
int baseline_take(struct baseline *baseline, const struct reading *reading,
                  enum reading_verdict verdict);
/* The file's attributes changed: remembered, so that its ctime does not count as a change of
 * content. */
void baseline_see(struct baseline *baseline, const struct fingerprint *fingerprint);
/* Another file lies at its place, of which nothing is known: it has to be read, whatever its times
 * say. */
void baseline_displace(struct baseline *baseline);

/* ---- as JSON: the ledger, and a column of the database -------------------------------------- */

int baseline_to_json(const struct baseline *baseline, json_object **ret_object);
/* -EBADMSG for anything that it cannot have been made of. */
int baseline_from_json(json_object *object, struct baseline **ret_baseline);
int deviation_to_json(const struct deviation *deviation, json_object **ret_object);
int deviation_from_json(json_object *object, struct deviation **ret_deviation);
