/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What there is: one qcaudit-files per datastore, whose walks and watches become datastores and
 * images.
 *
 * Owns every struct datastore and struct image. Candidates are all regular files and block devices
 * that are not empty, hidden ones too (an image does not get better by a dot), but not what lies
 * below ".snapshot", ".snapshots" or ".zfs": there a file system shows everything once more as it
 * was. A path below two datastores belongs to the one with the longer root.
 *
 * A file that is not called as images are is an image until somebody looked at it and dismissed it
 * (discover_dismiss()): then nothing but a hash of what it was is kept. Only some thousands of them
 * are images at a time; the others wait for another walk, which follows by itself.
 *
 * A datastore that goes away (unmounted, hung, unreadable, another file system in its place) is
 * offline and is tried again with growing pauses; its images stay as they were. An image vanishes
 * only when an event, or a complete walk of an online datastore, says so.
 *
 * Of several datastores whose roots are one and the same directory, by other spellings, links or
 * mounts, one is kept: one of the configuration before a pool, then the first by name. */
#pragma once

#include "daemon/config/config.h"
#include "daemon/core/datastore.h"
#include "daemon/core/file.h"
#include "daemon/core/image.h"

struct discover;

enum discover_change {
    DISCOVER_APPEARED,          /* not known before */
    DISCOVER_REAPPEARED,        /* was dismissed, and is another now, or was recalled */
    DISCOVER_FOUND_AGAIN,       /* from the database, seen for the first time by this daemon, as
                                 * it was */
    DISCOVER_CHANGED,           /* another file, size or time of change; or closed by a writer */
    DISCOVER_ATTRIBUTES,        /* only owner, mode, links, and the ctime that goes with them */
    DISCOVER_VANISHED,          /* freed after the callback */
    DISCOVER_DISMISSED,         /* so, too: the file is there, and no image */
};

#define DISCOVER_ASIDE " (moved)"

struct discover_options {
    const char *files_program;
    struct launches *launches;  /* who starts helpers; NULL: the daemon itself */
    /* Helpers that are ended are listed there, with their datastore, until they are gone; may be
     * NULL. */
    struct process_endings *endings;
    /* All run in the loop, some before the call that caused them returns. */
    void (*image)(void *userdata, struct image *image, enum discover_change change, bool by_walk);
    /* A walk looked at its locks. */
    void (*locks)(void *userdata, struct image *image, enum files_use use);
    /* An image that is known and present with this identity; NULL none. NULL: identities are not
     * looked at, each path is an image of its own. */
    struct image *(*known)(void *userdata, const struct identity *identity);
    /* The image, which stays what it is, is called image->path now, and before no longer. One of
     * several that change places has its old name and DISCOVER_ASIDE meanwhile. */
    void (*renamed)(void *userdata, struct image *image, const char *before);
    /* A file is gone of which no image is known: it was dismissed, or not looked at yet. May be
     * NULL. */
    void (*other_gone)(void *userdata);
    /* State, watching, space or the like changed. */
    void (*datastore)(void *userdata, struct datastore *datastore);
    /* Begun by discover_walk() or by itself; 0, or -errno when it was not complete. */
    void (*walk_begins)(void *userdata, struct datastore *datastore);
    void (*walked)(void *userdata, struct datastore *datastore, int error);
    /* files is freed after this: what was asked of it gets no answer any more. */
    void (*files_gone)(void *userdata, struct datastore *datastore, struct files *files);
    /* No longer configured; its images vanished before. Freed after the callback. */
    void (*removed)(void *userdata, struct datastore *datastore);
    void *userdata;
};

int discover_new(sd_event *event, const struct discover_options *options,
                 struct discover **ret_discover);
/* Frees all datastores and images without a callback but files_gone. */
struct discover *discover_free(struct discover *discover);

/* The state that the last daemon kept; to be called before discover_set_config(). Each object is
 * the callee's. -ENOENT (and freed) for an image of a datastore that is not known. */
int discover_load_datastore(struct discover *discover, struct datastore *datastore);
int discover_load_image(struct discover *discover, const char *datastore, struct image *image);

/* Makes, restarts and removes datastores so that they are those of config, which is not kept, and
 * the pools. */
int discover_set_config(struct discover *discover, const struct config *config);

/* With "auto": those of the usual folders that exist by now become datastores. */
int discover_look_usual(struct discover *discover);
/* There is no datastore, and none will come by itself. */
bool discover_is_empty(const struct discover *discover);

/* A storage pool of libvirt's that is to be a datastore. */
struct discover_pool {
    const char *name;           /* hostile: the datastore's is made of it */
    const char *path;           /* where its volumes are */
    bool of_devices;            /* they are block devices, */
    char *const *devices;       /* these: NULL-ended, or NULL */
    bool active;
    bool autostart;             /* else it is a datastore only where it was one, while it is not
                                 * active */
    uint64_t refreshed;         /* a later time than before: it is walked */
    uint64_t capacity, available;       /* bytes; of devices, since their folder says nothing of
                                         * that */
};

/* Makes, walks, takes offline and removes the datastores of pools so that they are those; nothing
 * is kept of the list. complete: what is not in it is no pool any more; else it stays as it was.
 * Before the first complete list, datastores that only the database knows stay where they are. A
 * pool that is a datastore already (of the configuration, another pool, by whatever path) is none
 * of its own. */
int discover_set_pools(struct discover *discover, const struct discover_pool *pools, size_t n,
                       bool complete);
/* Will discover_set_pools() ever be called? To be said before discover_set_config(). */
void discover_expect_pools(struct discover *discover, bool expected);

/* Walks it; once more if a walk is under way. -ENOTCONN when it is not online. */
int discover_walk(struct discover *discover, struct datastore *datastore);

/* pause: the watch stays. release: the helper ends, nothing is open there any more. until: usec
 * since the epoch, UINT64_MAX without end. resume: also accepts another file system that
 * lies there now, unless it is empty. */
int discover_pause(struct discover *discover, struct datastore *datastore, uint64_t until);
int discover_release(struct discover *discover, struct datastore *datastore, uint64_t until);
int discover_resume(struct discover *discover, struct datastore *datastore);

/* An image that is tentative (struct image) is one: it stays. */
void discover_settle(struct discover *discover, struct image *image);
/* Dismisses a file that is no image: the image is freed after the callback. The file is not looked
 * at again until it changes or is recalled (keep), or until the next walk. -ENOMEM: it stays. */
int discover_dismiss(struct discover *discover, struct image *image, bool keep);
/* Something refers to that file: it is an image again, a moment later, if it was dismissed. */
void discover_recall(struct discover *discover, const char *path, const struct identity *identity);
/* What is kept of the files of a datastore that were dismissed, as bytes for the database. Changed:
 * since it was saved, or loaded; much: so much that it is worth saving before the next walk. */
bool discover_others_changed(const struct discover *discover, const struct datastore *datastore,
                             bool much);
int discover_save_others(struct discover *discover, const struct datastore *datastore,
                         uint8_t **ret_bytes, size_t *ret_size);
/* -ENOENT, -EBADMSG, -ENOMEM. */
int discover_load_others(struct discover *discover, const char *name, const uint8_t *bytes,
                         size_t size);

/* In order of name; of path (bytes). Valid until the next change. */
void discover_datastores(struct discover *discover, struct datastore *const **ret_datastores,
                         size_t *ret_n);
int discover_images(struct discover *discover, struct image *const **ret_images, size_t *ret_n);
/* Those below the folder path alone. */
int discover_images_below(struct discover *discover, const char *path,
                          struct image *const **ret_images, size_t *ret_n);
/* Changes with every image that appears or vanishes. */
uint64_t discover_generation(const struct discover *discover);

struct datastore *discover_find_datastore(const struct discover *discover, const char *name);
struct image *discover_find_image(const struct discover *discover, const char *path);
/* By any of its names. */
struct image *discover_find_name(const struct discover *discover, const char *path);
/* The datastore in whose root the absolute path lies, by its text and by all paths known to lead to
 * that root; NULL outside all. */
struct datastore *discover_datastore_of(const struct discover *discover, const char *path);
/* Does path lie on a file system below a datastore that is not mounted now? */
bool discover_is_away(const struct discover *discover, const char *path);
/* Is the device audited because a link in a datastore leads to it? */
bool discover_follows(const struct discover *discover, const char *device);
/* NULL when it has no helper now. */
struct files *discover_files(const struct discover *discover, const struct datastore *datastore);
