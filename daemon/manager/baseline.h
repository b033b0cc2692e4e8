/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the manager's files about contents share: streams of block digests, the journal, the
 * baselines themselves. */
#pragma once

#include "daemon/contents/baseline.h"
#include "daemon/contents/ledger.h"
#include "daemon/manager/internal.h"

/* ---- blocks.c: files of block digests -------------------------------------------------------- */

/* A reading whose blocks are being written; it is resumed when it is interrupted. */
struct stream;

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

/* The last step of a reading, in the store's thread: its file is finished, and compared with the
 * one before. */
struct finishing {
    struct manager *manager;
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
    uint64_t readings;          /* that were taken when these files were named: manager->readings */
    /* out */
    bool kept;                  /* fresh is there */
    bool compared;
    bool before_damaged;
    uint8_t digest[32];
    uint64_t zero_blocks;
    struct blocks_difference difference;
};

struct finishing *finishing_free(struct finishing *finishing);
/* Would a reading of it that ends now go on there later? */
bool blocks_are_kept(const struct manager *manager, const struct image *image);
/* blocks_begin and blocks of struct audits_options. */
uint64_t blocks_on_begin(void *userdata, struct image *image, const struct audit *audit);
void blocks_on_blocks(void *userdata, struct image *image, uint64_t first, uint64_t n,
                      const uint8_t (*digests)[32], bool unallocated);
/* The reading is complete: done gets what came of it, in the loop, and owns it. Takes finishing,
 * which has what this one needs besides its own files. Its digest is void, and nothing kept, when
 * the blocks could not be written. */
int blocks_end(struct manager *manager, struct finishing *finishing,
               void (*done)(struct finishing *finishing));
/* Compares once more, with other children. */
int blocks_again(struct manager *manager, struct finishing *finishing,
                 void (*done)(struct finishing *finishing));
/* The reading was for nothing. */
void blocks_drop(struct manager *manager, const struct identity *identity);
/* This reading's file is the baseline's from now on; a file of another identity goes. */
void blocks_adopt(struct manager *manager, const struct identity *identity,
                  const struct identity *before);
void blocks_remove(struct manager *manager, const struct identity *identity);
/* The file of one identity is that of another from now on. */
void blocks_rename(struct manager *manager, const struct identity *from, const struct identity *to);
void blocks_exchange(struct manager *manager, const struct identity *a, const struct identity *b);
char *blocks_path(const struct manager *manager, const struct identity *identity,
                  const char *suffix);
int blocks_load(struct manager *manager);
/* Before the store ends, and after. */
void blocks_done(struct manager *manager);
void blocks_free(struct manager *manager);

#define BLOCKS_FRESH ".new"
#define BLOCKS_PARTIAL ".partial"

/* ---- compare.c ------------------------------------------------------------------------------- */

/* Sets compared, before_damaged, difference, and which of the children were used. In the store's
 * thread. */
void blocks_compare_finishing(struct finishing *finishing);

/* ---- journal.c: what outlives the database --------------------------------------------------- */

/* Reads it; baselines it has and the database has not are taken over. */
int journal_load(struct manager *manager);
void journal_baseline(struct manager *manager, const struct baseline *baseline);
void journal_baseline_gone(struct manager *manager, const struct identity *identity);
/* Acknowledgements are written, and so is their end; what was opened may have been acknowledged
 * before the database was lost: */
void journal_event(struct manager *manager, const struct finding *finding, enum event_type type);
/* that is done here, when no finding is being changed. */
void journal_acknowledge(struct manager *manager);
/* Hands what is to be written to the store. */
void journal_flush(struct manager *manager);
void journal_done(struct manager *manager);

/* ---- bind.c ---------------------------------------------------------------------------------- */

/* Sets image->baseline. What lies at a place where a golden image or a parent lay must be what that
 * held, even when the file was known, and audited, under another name before. */
void baseline_bind(struct manager *manager, struct image *image);
/* The image, other than this one, whose file the baseline is of; NULL none. */
const struct image *baseline_elsewhere(const struct manager *manager,
                                       const struct baseline *baseline, const struct image *image);

/* ---- baseline.c ------------------------------------------------------------------------------ */

/* Of struct store_loader. */
int baseline_on_load(void *userdata, struct baseline *baseline, json_object *deviation,
                     const char *verity);
/* After the database: the journal, and interrupted readings. */
int baseline_load(struct manager *manager);
/* All that is known, for a new database. */
int baseline_store_all(struct manager *manager, struct round *round);
/* Binds the image to its baseline, and plans its next reading. */
void baseline_plan(struct manager *manager, struct image *image);
/* Its owner or mode changed, and not its content. */
void baseline_attributes(struct manager *manager, struct image *image);
void baseline_image_gone(struct manager *manager, struct image *image);
/* The change that was found was meant. -ENOENT; -EINVAL and why in *ret_message (malloc'd). */
int baseline_accept(struct manager *manager, const char *path, const char *by, const char *reason,
                    control_done_fn reply, void *reply_userdata, char **ret_message);
void baseline_done(struct manager *manager);
/* Stored, and written to the journal. */
void baseline_keep(struct manager *manager, struct baseline *baseline);
/* It, or what is kept under an identity that it had, is no longer kept. */
void baseline_forget(struct manager *manager, struct baseline *baseline);
void baseline_gone(struct manager *manager, const struct identity *identity);
/* Something of what was kept is damaged: a finding says it. */
void baseline_tell_damage(struct manager *manager, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- commit.c: which layers may explain a change --------------------------------------------- */

/* When the data was written last, nsec: where that is not known, after everything else. */
int64_t commit_written_at(const struct image *image, const struct fingerprint *fingerprint);
/* An overlay that was emptied may have been committed: its parent's baseline remembers it. */
void commit_note_emptied(struct manager *manager, struct image *image);
/* Path of an overlay that was emptied when, or after, the image was written; NULL none.
 * Borrowed. */
const char *commit_emptied_child(const struct manager *manager, const struct image *image);
/* Overlay, or parent, that must be read before a change of the image can be explained; NULL
 * none. */
struct image *commit_unread_child(const struct manager *manager, const struct image *image);
struct image *commit_unread_parent(const struct manager *manager, const struct image *image);
/* Adds the layers that lie, or lay, above identity, those next to it first; mtime is the
 * image's. */
int commit_add_layers(struct manager *manager, const struct identity *identity, int64_t mtime,
                      struct finishing *finishing);
/* Path of the parent's latest block digests, for a layer that may have been committed into it;
 * malloc'd; NULL none. */
char *commit_below(const struct manager *manager, const struct image *image);
/* A commit was recognised: where its layers stand from now on. */
void commit_note(struct manager *manager, const struct image *image,
                 const struct finishing *finishing);
/* Whose blocks are found in the image, escaped; malloc'd; NULL none, or no memory. */
char *commit_names(const struct finishing *finishing);

/* ---- reading.c: what a reading says ---------------------------------------------------------- */

/* An audit ended that may have read all data. */
void baseline_on_audited(struct manager *manager, struct image *image, const struct audit *audit);
/* What was read before counts from now on: accepted, or explained. */
int baseline_take_deviation(struct manager *manager, struct image *image,
                            enum reading_verdict verdict, const char *explanation);
