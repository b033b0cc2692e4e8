/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The contents of images: their baselines, what a reading says of them, the files of block digests
 * and the ledger beside the database. The stage decides; it needs of the daemon the functions of
 * struct contents_ops alone. */
#pragma once

#include "daemon/core/contents.h"
#include "daemon/core/file.h"
#include "daemon/core/findings.h"
#include "daemon/core/image.h"
#include "daemon/core/mute.h"
#include "daemon/core/policy.h"
#include "daemon/relate/relate.h"

struct contents;

/* All but task's run are called in the loop. None of them may be NULL, but where nothing else is
 * asked than contents_load_baseline() and contents_find(), which call find_image and images
 * alone. */
struct contents_ops {
    uint64_t (*now)(void *userdata);    /* usec */
    /* The images that there are: by path, NULL none; and all of them, as discover_images(). */
    struct image *(*find_image)(void *userdata, const char *path);
    int (*images)(void *userdata, struct image *const **ret_images, size_t *ret_n);
    /* All findings, as findings_each(). */
    int (*each_finding)(void *userdata,
                        int (*each)(void *each_userdata, struct finding *finding),
                        void *each_userdata);
    /* Into the database with the next transaction. deviation, verity and digest may be NULL. */
    int (*keep_baseline)(void *userdata, const struct baseline *baseline, json_object *deviation,
                         const char *verity);
    int (*keep_gone)(void *userdata, const struct identity *identity);
    int (*keep_reading)(void *userdata, const char *path, const struct digest_result *result,
                        const uint8_t *digest, enum reading_verdict verdict,
                        const char *explanation);
    /* Runs in another thread, after the tasks given before; then done in the loop, with what run
     * returned, or -ECANCELED when it did not run. */
    int (*task)(void *userdata, int (*run)(void *task_userdata),
                void (*done)(void *task_userdata, int error), void *task_userdata);
    /* The image's data is to be read at due (usec; UINT64_MAX: not at all); it was last at
     * verified, 0 never. Or at once. */
    void (*plan)(void *userdata, struct image *image, uint64_t due, uint64_t verified);
    void (*demand)(void *userdata, struct image *image);
    /* The image's last reading is taken now: image->reading is false. */
    void (*taken)(void *userdata, struct image *image);
    /* Judges the changed images anew, a moment later. */
    void (*judge)(void *userdata);
    /* contents_damage() says something new. */
    void (*damaged)(void *userdata);
    void (*acknowledge)(void *userdata, int64_t finding_id, const char *by, const char *reason,
                        uint64_t until);
    /* All mutes, as mutes_each(); and one that the database lost, which is taken unless that
     * fails. */
    int (*each_mute)(void *userdata, int (*each)(void *each_userdata, struct mute *mute),
                     void *each_userdata);
    int (*mute)(void *userdata, struct mute *mute);
};

struct contents_options {
    const char *state_directory;
    struct graph *graph;        /* outlives the contents */
    const struct contents_ops *ops;
    void *userdata;
};

/* Copies the options, and what they point to but the graph and the ops. */
int contents_new(const struct contents_options *options, struct contents **ret_contents);
/* No task of its own may be under way. */
struct contents *contents_free(struct contents *contents);

/* ---- the start and the end ------------------------------------------------------------------- */

/* Takes a baseline of the database; deviation and verity may be NULL, and are borrowed. */
int contents_load_baseline(struct contents *contents, struct baseline *baseline,
                           json_object *deviation, const char *verity);
/* After the database: the ledger, and interrupted readings. first: nothing was known in the
 * database, so that what was acknowledged waits for its findings, and what was
 * muted is muted again. */
int contents_load(struct contents *contents, bool first);
/* All baselines once more, for a new database. */
int contents_keep_all(struct contents *contents);
/* From now on no reading is taken: each is done again after the next start. */
void contents_stop(struct contents *contents);
/* Hands everything that is not written yet to the last tasks. */
void contents_end(struct contents *contents);

/* ---- images ---------------------------------------------------------------------------------- */

/* NULL when nothing is known of that file. */
const struct baseline *contents_find(const struct contents *contents,
                                     const struct identity *identity);
/* Binds the image to its baseline, and plans its next reading. */
void contents_plan(struct contents *contents, const struct policy *policy, struct image *image);
/* Its owner or mode changed, and not its content. */
void contents_attributes(struct contents *contents, struct image *image);
/* Forgets an image, which is freed after this. swept: the time history is deleted by (usec). */
void contents_image_gone(struct contents *contents, struct image *image, uint64_t swept);
/* An audit ended that may have read all data. */
void contents_audited(struct contents *contents, struct image *image, const struct audit *audit);
/* The change that was found was meant. -ENOENT; -EINVAL and why in *ret_message (malloc'd). */
int contents_accept(struct contents *contents, const char *path, const char *by,
                    const char *reason, char **ret_message);
/* The damage to kept state, in words; NULL: none. */
const char *contents_damage(const struct contents *contents);

/* ---- a reading that is under way ------------------------------------------------------------- */

/* Counts the blocks that an interrupted reading left: the new one goes on there. */
uint64_t contents_begin_blocks(struct contents *contents, struct image *image,
                               const struct audit *audit);
/* n blocks from first on; digests NULL: they are zeros. */
void contents_take_blocks(struct contents *contents, struct image *image, uint64_t first,
                          uint64_t n, const uint8_t (*digests)[32], bool unallocated);
/* Would a reading of it that ends now go on there later? */
bool contents_may_resume(const struct contents *contents, const struct image *image);

/* ---- the ledger ------------------------------------------------------------------------------ */

/* Acknowledgements are written, and so is their end; what was opened may have been acknowledged
 * before the database was lost: */
void contents_event(struct contents *contents, const struct finding *finding,
                    enum event_type type);
/* that is done here, when no finding is being changed. */
void contents_acknowledge(struct contents *contents);
/* A mute was made, or has ended: that is written, too. */
void contents_mute(struct contents *contents, const struct mute *mute);
/* Hands what is to be written to a task. */
void contents_flush(struct contents *contents);

/* ---- what must not change; pure -------------------------------------------------------------- */

/* Why its content is to be remembered, with what is known now; false: it need not be. */
bool baseline_wanted(const struct image *image, const struct relation *relation,
                     enum baseline_source *ret_source);
/* By the policy, as far as one can tell, or as one could when it was taken for good: a base that
 * was written since is younger than its overlays. */
bool baseline_is_golden(const struct image *image, const struct relation *relation);
/* Did nobody write the file since, as far as its size and times say? An attribute that changed
 * explains its ctime. */
bool baseline_untouched(const struct baseline *baseline, const struct identity *identity,
                        const struct fingerprint *fingerprint);
/* Does another file lie at its place, of which nothing is known? */
bool baseline_is_displaced(const struct baseline *baseline);
/* Was the child made before its parent was changed (mtime, nsec), so that its guest saw the
 * change? */
bool baseline_child_is_older(const struct image *child, int64_t mtime);
