/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declarations that discover.c, site.c and images.c share: the stage's state, one site per
 * datastore. */
#pragma once

#include <sys/queue.h>

#include "daemon/core/coverage.h"
#include "daemon/core/datastore.h"
#include "daemon/core/file.h"
#include "daemon/core/image.h"
#include "daemon/discover/discover.h"
#include "helpers/path.h"

/* All images: a tree by path for look-ups, an array in order of path made when it is asked for. */
struct image_set {
    void *tree;
    struct image **sorted;
    size_t n_sorted, n_allocated;
    bool sorted_valid;
    size_t n_images;
    uint64_t generation;
};

int image_set_add(struct image_set *set, struct image *image);
void image_set_remove(struct image_set *set, struct image *image);
struct image *image_set_find(const struct image_set *set, const char *path);
int image_set_sort(struct image_set *set);
/* Index range of the images below directory path; the set must be sorted. */
void image_set_below(const struct image_set *set, const char *path, size_t *ret_first,
                     size_t *ret_end);
/* Frees all images. */
void image_set_done(struct image_set *set);

/* Partitions share their disk's reader: st_dev to the whole disk's number, as /sys says. */
struct device_map {
    struct { uint64_t device, disk; } *items;
    size_t n_items;
};

uint64_t device_map_disk(struct device_map *map, uint64_t device);
void device_map_done(struct device_map *map);

/* ---- others.c: files that nothing calls an image --------------------------------------------- */

struct other {
    uint64_t key;               /* hash of the file's identity, never 0 */
    uint64_t state;             /* hash of its identity, size and times when it was looked at */
    uint64_t raw_size;          /* as of struct image */
    uint32_t walk;              /* that saw it last */
};

/* Those of one datastore: a hash table of entries of 32 bytes, at most three quarters full. */
struct others {
    struct other *slots;        /* a power of two */
    size_t n_slots, n;
    size_t n_changed;           /* entries set and dropped since it was kept */
};

/* Takes note of it, or that it is as it is now; fingerprint NULL: whatever it will be, it is
 * another one then. -ENOMEM. */
int others_put(struct others *others, const struct identity *identity,
               const struct fingerprint *fingerprint, uint64_t raw_size, uint64_t walk);
/* The entry of the file with that identity; NULL: none. */
struct other *others_find(struct others *others, const struct identity *identity);
/* Is it as it was when it was looked at? */
bool other_is(const struct other *other, const struct identity *identity,
              const struct fingerprint *fingerprint);
void others_drop(struct others *others, struct other *other);
/* Drops those that the walk did not see. */
void others_sweep(struct others *others, uint64_t walk);
/* As bytes for the database; malloc'd. */
int others_save(const struct others *others, uint8_t **ret_bytes, size_t *ret_size);
/* Up to max of what others_save() made. -EBADMSG, -ENOMEM. */
int others_load(struct others *others, const uint8_t *bytes, size_t size, size_t max);
void others_done(struct others *others);

/* ---- tentative.c: files that are not called as images are ------------------------------------ */

#define TENTATIVE_MAX 8192      /* may wait for their audit at once, in one datastore */
#define OTHERS_MAX 10000000     /* are taken from the database */

/* An other file that something calls an image: the helper is asked what it is now. */
struct recall {
    LIST_ENTRY(recall) link;
    struct site *site;
    char path[];
};

struct site;
/* Counts the image as one of the site's, or no longer. */
void site_count(struct site *site, const struct image *image, bool there);
/* The file's name is not one that images have. */
bool site_may_be_other(const struct site *site, const struct files_record *record);
/* Is it one that was looked at and is as it was, or one that has to wait? At a path at which
 * nothing is known. */
bool site_passes_over(struct site *site, const struct files_record *record);
/* Of an image that is new, before it is counted. True: it was one of the others. */
bool site_make_tentative(struct site *site, const struct files_record *record,
                         struct image *image);
/* Walks once more when there is room again for those that the last walk left. */
void site_go_on(struct site *site);
void site_forget_recalls(struct site *site);

enum site_walk { SITE_IDLE, SITE_WALKING, SITE_IDENTIFYING };

/* A datastore that is wanted. Owns its strings. */
struct place {
    char *name, *path;
    char *pool;                 /* as libvirt calls it; NULL: of the configuration */
    bool recursive, watch, no_mounts;
    char **exclude, **follow;   /* NULL-ended patterns, or NULL */
    /* of pools: */
    bool of_devices, active, autostart;
    char **devices;             /* NULL-ended, never NULL for a pool of devices */
    uint64_t refreshed;
    uint64_t capacity, available;
};

struct places {
    struct place *items;
    size_t n_items;
};

void places_done(struct places *places);
bool places_have_name(const struct places *places, const char *name);
int places_add_config(struct places *places, const struct config_datastore *config);
/* Those of the usual folders of managers that exist, and that places does not have. */
int places_add_usual(struct places *places);
int places_add_pool(struct places *places, const struct discover_pool *pool);
/* Adds those of before that are not among places: by pool and path. Takes them. */
int places_keep(struct places *places, struct places *before);
/* Configuration and pools as one list of datastores, with names, without pools that are a datastore
 * already by the text of their paths. known: is there such a datastore now? */
int places_merge(const struct places *configured, const struct places *pools,
                 bool (*known)(void *userdata, const char *name, const char *path), void *userdata,
                 struct places *ret_places);

struct site {
    struct datastore *datastore;
    struct discover *discover;
    bool configured;            /* or a pool; else only known from the database */
    bool watch;                 /* wanted */
    bool inactive;              /* a pool that is */
    bool no_mounts;             /* file systems below it are not looked into */
    char **exclude, **follow;   /* patterns, NULL-ended; NULL none */
    char **devices;             /* of a pool of them: NULL-ended */
    uint64_t refreshed;
    uint64_t capacity, available;       /* of that pool */
    uint64_t root_device, root_inode;   /* what its root is while this daemon runs; 0 not asked
                                         * yet */
    uint64_t n_known;           /* files of this datastore in the set, */
    uint64_t n_names;           /* and other names of files */
    struct others others;       /* and files that are no images */
    size_t n_tentative;         /* of those known: it is not known yet whether they are images */
    bool left_some;             /* files that the next walk looks at, as too many were tentative */
    LIST_HEAD(, recall) recalls;
    size_t n_recalls;
    struct files *files;
    pid_t ending;               /* of the helper before, which may not be gone yet; 0 none */
    sd_event_source *retry, *poll;
    uint64_t retry_after;       /* usec */
    sd_event_source *pause_end;
    enum site_walk walking;
    bool walk_again;
    bool accept_any;            /* resumed by hand: another file system, if not empty, is right */
    char *real_path;            /* of the root, links followed; NULL before it was asked */
    struct files_root root_now; /* while it is not sure that this is still the same file system */
    uint64_t n_matched, n_found;    /* known images found on it; files at all */
    char **unseen;              /* paths the walk could not look into: nothing below them
                                 * vanished */
    size_t n_unseen;
    bool unseen_many;           /* more than are kept: nothing vanishes by this walk */
    char **mounts;              /* file systems below it that are looked into */
    size_t n_mounts;
    char **gone;                /* places where one was mounted of which images are known */
    size_t n_gone;
    char **followed;            /* devices that links of it lead to; by the walk under way */
    size_t n_followed;
    char **following;
    size_t n_following;
    bool accept_gone;           /* resumed by hand: what is not there any more is gone */
    struct coverage seen;       /* by the walk under way */
    struct files_record *postponed;     /* files found in place of others, which the walk, or the
                                         * next events, may find elsewhere; paths are copies */
    size_t n_postponed;
    uint64_t postponed_since;   /* usec: the first of them, by an event */
    uint64_t n_unreadable;
    uint64_t n_too_long;        /* paths of this walk that are longer than any that can be opened */
};

/* A root that is another datastore's by another path. */
struct alias {
    char *name, *path;          /* of the place that has no datastore of its own */
    char *real_path;            /* NULL: not known */
    char *of;                   /* name of the datastore */
};

/* An image that left its place, and may turn up in another one. */
struct leaving {
    struct image *image;
    uint64_t since;             /* usec */
    bool by_walk;
};

struct discover {
    sd_event *event;
    struct discover_options options;
    struct site **sites;        /* in order of name */
    size_t n_sites;
    struct datastore **listed;  /* of the same sites */
    char **roots;               /* NULL-ended */
    char **known;               /* devices of all pools, NULL-ended */
    struct places configured, pools;
    bool automatic;             /* the usual folders are datastores, too, where they exist */
    bool pools_expected, pools_complete;
    struct alias *aliases;
    size_t n_aliases;
    uint64_t files_deadline;
    size_t files_max;           /* that are kept in mind of one datastore */
    struct image_set images;
    void *names;                /* tsearch tree of struct image_name */
    size_t n_names;
    struct leaving *leaving;
    size_t n_leaving;
    sd_event_source *leaving_timer;
    struct device_map devices;
};

struct image_name *names_find(const struct discover *discover, const char *path);
int names_add(struct discover *discover, struct image *image, struct site *site, const char *path);
void names_remove(struct discover *discover, struct image_name *name);
void names_remove_all(struct discover *discover, struct image *image);
/* Drops names in the datastore (below the folder, unless that is NULL) which the walk with this
 * number did not see; UINT32_MAX: all of them. */
void names_sweep(struct discover *discover, const struct datastore *datastore, uint32_t walk,
                 const char *folder);
/* The same image is called path from now on. -ENOMEM. */
int discover_rename(struct discover *discover, struct image *image, struct datastore *datastore,
                    const char *path);
/* Makes another name of it the name; false when there is none, or none that is sure. */
bool discover_promote(struct discover *discover, struct image *image);
/* Its place is empty: it vanishes, unless it has another name, or turns up in another place a
 * moment later. */
void discover_leave(struct discover *discover, struct image *image, bool by_walk);
void leaving_add(struct discover *discover, struct image *image, bool by_walk);
bool discover_is_leaving(const struct discover *discover, const struct image *image);
void leaving_forget(struct discover *discover, const struct image *image);
/* A walk ended: what no walk may find any more is gone. */
void leaving_settle(struct discover *discover);
/* Has those that are awaited looked at in a second. */
int leaving_arm(struct discover *discover);

struct site *discover_site(const struct discover *discover, const struct datastore *datastore);
uint64_t discover_now(const struct discover *discover);
/* Tells of the end of an image and frees it. */
void discover_vanish(struct discover *discover, struct image *image, bool by_walk);

/* A file was seen, or closed by a writer. A path is gone, with all below it. */
void site_file(struct site *site, const struct files_record *record);
void site_vanished(struct site *site, const char *path);
/* All else is seen: takes, or forgets, what was put off until then. */
void site_take_postponed(struct site *site);
void site_forget_postponed(struct site *site);
/* Those that events left so for `after` usec and longer, without a walk. True when others wait. */
bool site_expire_postponed(struct site *site, uint64_t now, uint64_t after);

/* ---- mount.c ---- */

void site_mounted(struct site *site, const char *path);
void site_unmounted(struct site *site, const char *path, const char *type);
void site_followed(struct site *site, const char *device);
void site_left_out(struct site *site, const struct files_record *record);
/* Does an image that is not seen any more lie on a file system that is not mounted now? */
bool site_keeps(const struct site *site, const struct image *image);
/* The same, and it stays as it was. */
bool site_keep(struct site *site, struct image *image);
void site_mounts_begin(struct site *site);
void site_mounts_end(struct site *site);
void site_mounts_done(struct site *site);
/* Something of it changed that others should know. */
void site_tell(struct site *site);

/* ---- walk.c ---------------------------------------------------------------------------------- */

/* -errno when the helper cannot be told. */
int site_walk_begin(struct site *site, enum site_walk kind);
/* The same for all that is in it, when the datastore is online (else -ENOTCONN): after the walk
 * under way. */
int site_walk(struct site *site);
/* Nothing at and below path vanishes by this walk. */
void site_note_unseen(struct site *site, const char *path);
void site_forget_unseen(struct site *site);
/* Drops images that this complete walk did not see, unless they lie below an unreadable folder. */
void site_sweep(struct site *site);
/* Reports the end of a walk. */
void site_tell_walked(struct site *site, int error);

/* ---- site.c ---------------------------------------------------------------------------------- */

int site_new(struct discover *discover, struct datastore *datastore, struct site **ret_site);
struct site *site_free(struct site *site);
/* Starts the helper unless the datastore is paused; what goes wrong makes it offline, to be tried
 * again. */
void site_start(struct site *site);
/* Ends the helper and all timers. */
void site_stop(struct site *site);
/* A pool that stopped, or started again. */
void site_set_inactive(struct site *site, bool inactive);
/* loser's root is winner's: it is freed, and true returned; false without memory. */
bool discover_alias(struct discover *discover, struct site *loser, struct site *winner);
/* The next state of a pause: until usec since the epoch; release also ends the helper. */
int site_pause(struct site *site, uint64_t until, bool release);
void site_resume(struct site *site);
