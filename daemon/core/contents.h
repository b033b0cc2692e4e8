/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The content of an image: a reading's result, what is remembered of it, and how the two differ. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/file.h"
#include "helpers/client.h"

/* The result of a scrub: the guest's data in this one layer, its parents not opened. */
struct digest_result {
    bool complete;              /* all of it could be read; else bad says what is missing, and
                                 * the rest was read */
    uint8_t digest[32];         /* content digest (DESIGN 5) of the layer: what its parents hold
                                 * reads as zeros. Valid when complete and resumed_from is 0 */
    bool encrypted;             /* of the data as it is stored, which is not what the guest sees:
                                 * image_is_opaque() */
    uint64_t size;              /* bytes the guest sees */
    uint64_t read_bytes;        /* guest bytes that were read, */
    uint64_t zero_bytes;        /* that are zeros by the tables or holes of the file, */
    uint64_t unallocated_bytes; /* and that the layer does not hold; of all, even when resumed */
    bool direct;                /* past the page cache; false: what was cached was read from
                                 * there */
    struct qca_bad_range *bad;  /* owned; the first QCA_BAD_RANGES_MAX */
    size_t n_bad;
    uint64_t bad_bytes;
    uint64_t started, finished; /* usec since the epoch */
    uint64_t resumed_from;      /* block that this reading began with; 0: all was read in one go */
};

struct digest_result *digest_result_free(struct digest_result *digest);

/* Why an image's content is remembered. */
enum baseline_source {
    BASELINE_POLICY,            /* golden, as the policy says */
    BASELINE_INFERRED,          /* golden, as far as one can tell */
    BASELINE_PARENT,            /* a parent that is old enough */
    BASELINE_ACCEPTED,          /* somebody said that a change was meant */
    BASELINE_CHILD,             /* may change: what a commit of it into its parent would be
                                 * compared with */
    BASELINE_ASKED,             /* may change: somebody had it read, and what that found is kept */
    _BASELINE_SOURCE_MAX,
};

/* May the image change, so that it is nothing that the content must be? */
bool baseline_source_is_loose(enum baseline_source source);
const char *baseline_source_name(enum baseline_source source);
int baseline_source_from_name(const char *name);        /* -EINVAL when unknown */

/* The verdict of a reading, compared with the baseline. */
enum reading_verdict {
    READING_BASELINE,           /* the first one: this is how it must stay */
    READING_VERIFIED,           /* the same */
    READING_METADATA,           /* the same content in other metadata */
    READING_COMMIT,             /* different, and a commit of a child's own blocks explains it */
    READING_CHANGED,            /* different, and it may be */
    READING_ACCEPTED,           /* somebody said that it was meant */
    READING_ROT,                /* different, and nobody wrote */
    READING_MODIFIED,           /* different, and must not be */
    READING_INCOMPLETE,         /* parts could not be read */
    _READING_VERDICT_MAX,
};

const char *reading_verdict_name(enum reading_verdict verdict);
int reading_verdict_from_name(const char *name);        /* -EINVAL when unknown */

/* Bytes of the guest's disk. */
struct guest_range { uint64_t offset, length; };

#define DEVIATION_RANGES_MAX 100

/* The difference of the last reading from the baseline. */
struct deviation {
    enum reading_verdict verdict;       /* rot, modified or incomplete */
    uint64_t found;             /* usec: end of the reading that found it first */
    uint64_t read;              /* usec: and of the last one */
    uint8_t digest[32];         /* of the layer now; zeros when incomplete */
    uint64_t virtual_size;      /* bytes, now */
    struct fingerprint fingerprint;     /* now */
    bool located;               /* blocks, bytes and ranges are known */
    uint64_t blocks;            /* of 64 KiB that differ, or could not be read */
    uint64_t bytes;             /* of the guest's disk that they cover */
    struct guest_range ranges[DEVIATION_RANGES_MAX];    /* the first of them */
    size_t n_ranges;
    uint64_t ranges_total;
    int error;                  /* incomplete: negative errno of the first */
    char *suspect;              /* child that was emptied or deleted meanwhile: perhaps a commit;
                                 * NULL none */
    bool hurts;                 /* what it holds came of one overlay, and another one sees it */
    char *waits_for;            /* layer whose reading may explain it; the image's own path: it is
                                 * compared once more; NULL none */
};

struct deviation *deviation_free(struct deviation *deviation);

/* The content of an image when it was taken for good. Owned by the set of baselines, one per
 * identity; an image that has one points to it. */
struct baseline {
    struct identity identity;
    char *path;                 /* where it was seen last */
    enum baseline_source source;
    uint64_t since;             /* usec: end of the reading that made it; 0: never read
                                 * completely */
    uint64_t verified;          /* usec: of the last reading that found the same */
    bool has_digest;
    uint8_t digest[32];         /* content digest of the layer's own data, the parents' left out */
    bool encrypted;             /* of the data as it is stored: equal to no content digest, and
                                 * to no commit's blocks */
    uint64_t virtual_size;
    uint64_t zeros;             /* bytes that are allocated and hold zeros, at the last complete
                                 * reading */
    bool has_metadata;
    uint8_t metadata[32];       /* metadata digest at the last reading that found the same */
    struct fingerprint fingerprint;     /* at that reading */
    bool attributes;            /* owner, mode or links were seen to change since */
    struct identity parent;     /* its parent then; all 0 none */
    struct verity verity;
    bool blocks;                /* there is a file of its block digests */
    char *by, *reason;          /* who accepted it, and why; NULL nobody had to */
    uint64_t gone;              /* usec, 0 while the file exists */
    char *lost_child;           /* overlay that was emptied or deleted since: maybe committed;
                                 * NULL none */
    struct deviation *deviation;        /* NULL: as it should be, as far as was read */
};

struct baseline *baseline_free(struct baseline *baseline);

/* Name of the file of its block digests, in the folder CONTROL_BLOCKS_NAME. */
#define BLOCKS_NAME_FORMAT "%016llx-%llu-%llx.blocks"
#define BLOCKS_NAME_VALUES(identity) \
    (unsigned long long)(identity).fsid, (unsigned long long)(identity).inode, \
        (unsigned long long)(identity).btime
