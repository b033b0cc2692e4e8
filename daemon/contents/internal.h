/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declarations that the files of contents share. Each calls those above it alone. */
#pragma once

#include <sys/queue.h>

#include "daemon/contents/baseline.h"
#include "daemon/contents/ledger.h"
#include "daemon/core/contents.h"
#include "daemon/core/file.h"
#include "daemon/core/findings.h"
#include "daemon/core/image.h"

struct stream;
struct ledger_lines;
LIST_HEAD(acknowledgements, acknowledgement);

struct contents {
    char *state_directory;
    struct graph *graph;
    const struct contents_ops *ops;
    void *userdata;
    bool stopping;
    struct baselines *baselines;
    uint64_t readings;          /* taken into baselines until now */
    char *damage;               /* what is damaged of what was kept, in words; NULL nothing */
    uint64_t swept;             /* usec: when those of files long gone were forgotten */
    LIST_HEAD(, stream) streams;        /* readings that are under way */
    struct ledger_lines *lines; /* for the ledger, not handed to a task yet */
    uint64_t stale;             /* lines in it that do not count any more, at most */
    bool anew;                  /* it lacks something, or is damaged: the next writing is of all */
    int ledger_error;           /* of its last writing */
    size_t imported;            /* baselines that the database did not have */
    struct acknowledgements acknowledgements;
};

static inline uint64_t contents_now(const struct contents *contents)
{
    return contents->ops->now(contents->userdata);
}

static inline struct image *contents_find_image(const struct contents *contents, const char *path)
{
    return contents->ops->find_image(contents->userdata, path);
}

static inline int contents_images(const struct contents *contents,
                                  struct image *const **ret_images, size_t *ret_n)
{
    return contents->ops->images(contents->userdata, ret_images, ret_n);
}

static inline int contents_task(const struct contents *contents, int (*run)(void *userdata),
                                void (*done)(void *userdata, int error), void *userdata)
{
    return contents->ops->task(contents->userdata, run, done, userdata);
}

/* ---- damage.c -------------------------------------------------------------------------------- */

/* Something of what was kept is damaged: a finding says it. */
void damage_tell(struct contents *contents, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- blocks-move.c: files of block digests that come and go ---------------------------------- */

#define BLOCKS_FRESH ".new"
#define BLOCKS_PARTIAL ".partial"

/* Path of the file; malloc'd. suffix: "" that of the baseline, BLOCKS_FRESH of the last reading,
 * BLOCKS_PARTIAL of one that is under way. */
char *blocks_path(const struct contents *contents, const struct identity *identity,
                  const char *suffix);
void blocks_unlink(struct contents *contents, const struct identity *identity, const char *suffix);
/* Makes this reading's file the baseline's; a file of another identity is removed. */
void blocks_adopt(struct contents *contents, const struct identity *identity,
                  const struct identity *before);
/* The file of one identity is that of another from now on. */
void blocks_rename(struct contents *contents, const struct identity *from,
                   const struct identity *to);
void blocks_exchange(struct contents *contents, const struct identity *a,
                     const struct identity *b);
/* All that there are of it. */
void blocks_remove(struct contents *contents, const struct identity *identity);

/* ---- ledger.c: what outlives the database is written ----------------------------------------- */

char *ledger_path(const struct contents *contents);
void ledger_baseline(struct contents *contents, const struct baseline *baseline);
void ledger_gone(struct contents *contents, const struct identity *identity);
void ledger_acknowledged(struct contents *contents, const struct finding *finding);
void ledger_ended(struct contents *contents, const struct finding *finding);
/* All that counts, in place of the old one. */
void ledger_write_anew(struct contents *contents);
void ledger_free(struct contents *contents);

/* ---- acknowledged.c: acknowledgements that the ledger has ------------------------------------ */

struct acknowledgement {
    LIST_ENTRY(acknowledgement) link;
    bool pending;               /* from before the database was lost: to be done again */
    char *finding, *kind, *subject, *by, *reason;
    uint64_t until;             /* usec, 0 without end */
    uint64_t weight;
    char *severity;
    int64_t id;                 /* of the finding that was opened again; 0 not yet, -1: it is
                                 * another one now */
};

struct acknowledgement *acknowledged_free(struct acknowledgement *ack);
/* False when it was not there. */
bool acknowledged_take_out(struct acknowledgements *list, const char *finding, const char *kind,
                           const char *subject);
void acknowledged_free_all(struct contents *contents);

/* ---- ledger-load.c --------------------------------------------------------------------------- */

/* Reads it; baselines it has and the database has not are taken over. */
int ledger_load(struct contents *contents, bool first);

/* ---- keep.c ---------------------------------------------------------------------------------- */

/* Into the database, and into the ledger. */
void keep_baseline(struct contents *contents, struct baseline *baseline);
/* Forgets a baseline in both, or what is kept under an identity that it had. */
void keep_forget(struct contents *contents, struct baseline *baseline);
void keep_gone(struct contents *contents, const struct identity *identity);

/* ---- bind.c ---------------------------------------------------------------------------------- */

/* Sets image->baseline. What lies at a place where a golden image or a parent lay must be what that
 * held, even when the file was known, and audited, under another name before. */
void bind_image(struct contents *contents, struct image *image);
/* The same, unless the file may still be moved to another name: false. (contents.c) */
bool bind_settled(struct contents *contents, struct image *image);
/* The image, other than this one, whose file the baseline is of; NULL none. */
const struct image *bind_elsewhere(const struct contents *contents,
                                   const struct baseline *baseline, const struct image *image);

/* ---- stream.c: readings that are under way --------------------------------------------------- */

/* The reading is complete. Are all its blocks on their way to the partial file? */
bool stream_close(struct contents *contents, const struct identity *identity);
/* The reading was for nothing. */
void stream_abandon(struct contents *contents, const struct identity *identity);
/* Takes up the partial results of interrupted readings, at the start. */
int stream_load(struct contents *contents);
void stream_flush_all(struct contents *contents);
void stream_free_all(struct contents *contents);

/* ---- finishing.c, compare.c: the last step of a reading -------------------------------------- */

/* Layers above one that are looked at for a commit: more than libvirt runs in a chain. */
#define CHILDREN_COMPARED 256

/* A layer that lies, or lay, above an image, and may have been committed into it. */
struct candidate {
    char *blocks;               /* file of its block digests */
    char *path;                 /* the image it is of */
    struct identity identity;
    size_t root;                /* as struct blocks_child has them */
    bool stands, parts, used;
};

/* A reading whose file is finished, and compared with the one before, in a task. */
struct finishing {
    struct contents *contents;
    char *path;                 /* of the image */
    struct identity identity;   /* of what was read, */
    struct fingerprint fingerprint;
    struct digest_result *result;       /* owned; NULL: read before, and compared anew */
    bool has_metadata;
    uint8_t metadata[32];
    struct verity verity;
    /* in */
    char *partial, *fresh;      /* files of this reading; partial NULL: finished before */
    char *before;               /* file of the baseline, NULL none */
    uint8_t before_digest[32];  /* that it must have */
    bool layered;
    char *below;                /* file of its parent, NULL none */
    struct candidate children[CHILDREN_COMPARED];
    size_t n_children;
    bool more;                  /* than these lie above it */
    uint64_t readings;          /* contents->readings when these files were named */
    /* out */
    bool kept;                  /* fresh is there */
    bool compared;
    bool before_damaged;
    uint8_t digest[32];
    uint64_t zero_blocks;
    struct blocks_difference difference;
};

struct finishing *finishing_free(struct finishing *finishing);
/* The reading is complete: done gets what came of it, in the loop, and owns it. Takes finishing,
 * which has what this one needs besides its own files. Its digest is void, and nothing kept, when
 * the blocks could not be written. */
int finishing_begin(struct finishing *finishing, void (*done)(struct finishing *finishing));
/* Compares once more, with other children. */
int finishing_again(struct finishing *finishing, void (*done)(struct finishing *finishing));
/* Sets compared, before_damaged, difference, and which of the children were used. In a task. */
void finishing_compare(struct finishing *finishing);

/* ---- commit.c: which layers may explain a change --------------------------------------------- */

/* When the data was written last, nsec: where that is not known, after everything else. */
int64_t commit_written_at(const struct image *image, const struct fingerprint *fingerprint);
/* An overlay that was emptied may have been committed: its parent's baseline remembers it. */
void commit_note_emptied(struct contents *contents, struct image *image);
/* Path of an overlay that was emptied when, or after, the image was written; NULL none.
 * Borrowed. */
const char *commit_emptied_child(const struct contents *contents, const struct image *image);
/* Overlay, or parent, that must be read before a change of the image can be explained; NULL
 * none. */
struct image *commit_unread_child(const struct contents *contents, const struct image *image);
struct image *commit_unread_parent(const struct contents *contents, const struct image *image);
/* Adds the layers that lie, or lay, above identity, those next to it first; mtime is the
 * image's. */
int commit_add_layers(struct contents *contents, const struct identity *identity, int64_t mtime,
                      struct finishing *finishing);
/* Path of the parent's latest block digests, for a layer that may have been committed into it;
 * malloc'd; NULL none. */
char *commit_below(const struct contents *contents, const struct image *image);
/* A commit was recognised: where its layers stand from now on. */
void commit_note(struct contents *contents, const struct image *image,
                 const struct finishing *finishing);
/* Whose blocks are found in the image, escaped; malloc'd; NULL none, or no memory. */
char *commit_names(const struct finishing *finishing);

/* ---- explain.c ------------------------------------------------------------------------------- */

/* Why the verdict is what it is; malloc'd; NULL: nothing to say, or no memory. moved: another file
 * lies there than the baseline is of. */
char *explain_verdict(const struct finishing *finishing, const struct baseline *baseline,
                      const struct reading *reading, enum reading_verdict verdict, bool moved);
/* Into the log, where it is worth that. */
void explain_tell(const struct image *image, enum reading_verdict verdict, const char *explanation);

/* ---- adopt.c --------------------------------------------------------------------------------- */

/* A baseline that holds nothing yet, for an image without one. NULL without memory. */
struct baseline *adopt_new(struct contents *contents, struct image *image);
/* The baseline is of the image's file from now on: why it is kept, and what it stands on. blocks:
 * the reading's file of block digests is there, and becomes the baseline's. */
void adopt_file(struct contents *contents, struct image *image, enum reading_verdict verdict,
                bool blocks);
/* Takes the last reading that deviated for good: it was accepted, or explained. */
int adopt_deviation(struct contents *contents, struct image *image, enum reading_verdict verdict,
                    const char *explanation);

/* ---- waiting.c ------------------------------------------------------------------------------- */

/* The image was found to be modified: whose reading may still explain that? */
void waiting_begin(struct contents *contents, struct image *image,
                   const struct finishing *finishing);
/* Keeps what is known of the image; compares once more the readings that waited for it, and has all
 * of it judged. */
void waiting_end(struct contents *contents, struct image *image);
