/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a datastore's helper reports of one file: an image that appears, changes or vanishes, or
 * nothing of note. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/core/log.h"
#include "daemon/discover/internal.h"
#include "lib/cleanup.h"

#define POSTPONED_MAX 64        /* that events left so: who exchanges thousands does not stall it */

/* Folders in which a file system shows its earlier states: the same images many times over. */
static bool in_snapshot_view(const char *path, const char *root)
{
    static const char *const names[] = { ".snapshot", ".snapshots", ".zfs" };
    const char *part = path + strlen(root);

    while (*part == '/') {
        size_t n = strcspn(++part, "/");

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
            if (part[n] == '/' && n == strlen(names[i]) && strncmp(part, names[i], n) == 0)
                return true;
        part += n;
    }
    return false;
}

static int image_new(const char *path, struct datastore *datastore, struct image **ret_image)
{
    struct image *image = calloc(1, sizeof(*image));

    if (image)
        image->path = strdup(path);
    if (!image || !image->path) {
        image_free(image);
        return -ENOMEM;
    }
    image->datastore = datastore;
    image->judge_again = UINT64_MAX;
    *ret_image = image;
    return 0;
}

static enum discover_change image_compare(const struct image *image,
                                          const struct identity *identity,
                                          const struct fingerprint *now)
{
    const struct fingerprint *then = &image->fingerprint;

    if (!identity_equal(&image->identity, identity) || then->size != now->size ||
        then->mtime != now->mtime)
        return DISCOVER_CHANGED;
    if (then->ctime == now->ctime)
        return DISCOVER_FOUND_AGAIN;
    /* An owner, mode or link count that changed explains the ctime; nothing else does (utimensat(),
     * say). */
    if (then->mode != now->mode || then->uid != now->uid || then->gid != now->gid ||
        then->links != now->links)
        return DISCOVER_ATTRIBUTES;
    return DISCOVER_CHANGED;
}

static int site_image_new(struct site *site, const struct files_record *record, bool by_walk)
{
    struct discover *discover = site->discover;
    struct image *image = NULL;
    bool again;
    int r;

    r = image_new(record->path, site->datastore, &image);
    if (r < 0)
        return r;
    image->present = true;
    image->identity = identity_from_stat(&record->stat);
    image->fingerprint = fingerprint_from_stat(&record->stat);
    image->device = device_map_disk(&discover->devices, record->stat.device);
    image->walk = site->datastore->walk;
    image->first_seen = image->last_seen = discover_now(discover);
    again = site_make_tentative(site, record, image);
    r = image_set_add(&discover->images, image);
    if (r < 0) {
        image_free(image);
        return r;
    }
    site_count(site, image, true);
    discover->options.image(discover->options.userdata, image,
                            again ? DISCOVER_REAPPEARED : DISCOVER_APPEARED, by_walk);
    return 0;
}

/* Reports how the file at the image's place differs from before. elsewhere: seen under another name
 * than the image's, so that a rename explains its ctime. */
static void image_take(struct site *site, struct image *image, const struct files_record *record,
                       bool by_walk, bool elsewhere)
{
    struct discover *discover = site->discover;
    struct identity identity = identity_from_stat(&record->stat);
    struct fingerprint fingerprint = fingerprint_from_stat(&record->stat);
    bool first = image->device == 0 || !image->present;
    enum discover_change change;

    /* The size of a block device in a directory is known when it is opened, by its audit. */
    if (record->stat.type == FILES_BLOCK && record->stat.size == 0 &&
        S_ISBLK(image->fingerprint.mode))
        fingerprint.size = image->fingerprint.size;
    change = image_compare(image, &identity, &fingerprint);
    if (elsewhere && change == DISCOVER_CHANGED && identity_equal(&image->identity, &identity) &&
        image->fingerprint.size == fingerprint.size &&
        image->fingerprint.mtime == fingerprint.mtime)
        change = DISCOVER_ATTRIBUTES;
    /* The kernel says that a writer closed it: a file system's clock may be too coarse to show
     * that. */
    if (record->event == FILES_EVENT_CHANGED &&
        (change == DISCOVER_FOUND_AGAIN || (elsewhere && change == DISCOVER_ATTRIBUTES)))
        change = DISCOVER_CHANGED;
    image->identity = identity;
    image->fingerprint = fingerprint;
    image->device = device_map_disk(&discover->devices, record->stat.device);
    image->last_seen = discover_now(discover);
    image->present = true;
    if (change != DISCOVER_FOUND_AGAIN || first)
        discover->options.image(discover->options.userdata, image, change, by_walk);
}

static void site_image_seen(struct site *site, struct image *image,
                            const struct files_record *record, bool by_walk)
{
    leaving_forget(site->discover, image);
    if (image->datastore != site->datastore) {  /* the configuration gave it another owner */
        struct site *before = discover_site(site->discover, image->datastore);

        site_count(before, image, false);
        image->datastore = site->datastore;
        site_count(site, image, true);
    }
    image->walk = site->datastore->walk;
    image_take(site, image, record, by_walk, false);
}

/* The image that this file is, known by another name. Where no birth time tells an inode from its
 * next use, only while both names are there. */
static struct image *known_elsewhere(const struct site *site, const struct files_record *record,
                                     const struct image *here)
{
    const struct discover *discover = site->discover;
    struct identity identity = identity_from_stat(&record->stat);
    struct image *image;

    if (!discover->options.known || record->stat.type != FILES_REGULAR || identity.inode == 0)
        return NULL;
    image = discover->options.known(discover->options.userdata, &identity);
    if (!image || image == here || !identity_equal(&image->identity, &identity))
        return NULL;
    if (identity.btime == 0 &&
        (record->stat.links < 2 || image->fingerprint.links < 2 ||
         image->fingerprint.mtime != record->stat.mtime))
        return NULL;
    return image;
}

/* A user who may make files in a datastore can make as many as memory holds: those beyond the limit
 * are counted. */
static bool site_is_full(struct site *site, const struct files_record *record)
{
    size_t max = site->discover->files_max, n_images = site->n_known + site->n_names;
    struct coverage *coverage = site->walking == SITE_WALKING ? &site->seen
                                                              : &site->datastore->coverage;

    /* Files that are none take no image's place. */
    if (!site_may_be_other(site, record))
        n_images -= site->n_tentative;
    else if (site->others.n + site->n_tentative >= max)
        n_images = max;
    if (n_images < max)
        return false;
    (void)coverage_add(coverage, FILES_LEFT_TOO_MANY, record->path, NULL);
    return true;
}

/* A file at a path at which nothing is known. */
static int site_new_name(struct site *site, const struct files_record *record, bool by_walk)
{
    struct discover *discover = site->discover;
    struct image *image = known_elsewhere(site, record, NULL);
    int r;

    if (!image && site_passes_over(site, record))
        return 0;
    if ((!image || !discover_is_leaving(discover, image)) && site_is_full(site, record))
        return 0;
    if (!image)
        return site_image_new(site, record, by_walk);
    if (discover_is_leaving(discover, image)) {
        r = discover_rename(discover, image, site->datastore, record->path);
        if (r >= 0)
            image->walk = site->datastore->walk;
    } else {
        r = names_add(discover, image, site, record->path);
    }
    if (r >= 0)
        image_take(site, image, record, by_walk, true);
    return r;
}

static int site_postpone(struct site *site, const struct files_record *record)
{
    struct files_record *grown = reallocarray(site->postponed, site->n_postponed + 1,
                                              sizeof(*grown));
    char *path = grown ? strdup(record->path) : NULL;

    if (grown)
        site->postponed = grown;
    if (!path)
        return -ENOMEM;
    grown[site->n_postponed] = *record;
    grown[site->n_postponed++].path = path;
    return 0;
}

/* Another file lies in place of a known one, which may have another name by now. */
static void site_replaced(struct site *site, struct image *image, const struct files_record *record,
                          bool by_walk)
{
    struct discover *discover = site->discover;
    int r = 0;

    if (discover_promote(discover, image)) {
        r = site_new_name(site, record, by_walk);
    } else if (known_elsewhere(site, record, image)) {
        discover_vanish(discover, image, by_walk);
        r = site_new_name(site, record, by_walk);
    } else {
        site_image_seen(site, image, record, by_walk);
    }
    if (r < 0)
        log_warning(r, "Cannot take note of a file in datastore %s: %m", site->datastore->name);
}

/* Two that changed places, or several: the one that is in the way is put under a name of its own
 * until its file is found. */
static void site_make_way(struct site *site, struct image *image, size_t after)
{
    _cleanup_free_ char *aside = NULL;

    for (size_t i = after; i < site->n_postponed; i++) {
        struct identity identity = identity_from_stat(&site->postponed[i].stat);

        if (!identity_equal(&identity, &image->identity) || identity.btime == 0)
            continue;
        if (asprintf(&aside, "%s" DISCOVER_ASIDE, image->path) < 0) {
            aside = NULL;
            return;
        }
        if (image_set_find(&site->discover->images, aside) ||
            names_find(site->discover, aside) ||
            discover_rename(site->discover, image, image->datastore, aside) < 0)
            return;
        leaving_add(site->discover, image, true);
        return;
    }
}

void site_take_postponed(struct site *site)
{
    struct discover *discover = site->discover;

    for (size_t i = 0; i < site->n_postponed; i++) {
        const struct files_record *record = &site->postponed[i];
        struct image *image = image_set_find(&discover->images, record->path), *other;

        if (image && LIST_EMPTY(&image->names))
            site_make_way(site, image, i + 1);
        image = image_set_find(&discover->images, record->path);
        if (image) {
            site_replaced(site, image, record, true);
            continue;
        }
        /* Its own old place is among those of which another file was found: it left that. */
        other = known_elsewhere(site, record, NULL);
        for (size_t k = i + 1; other && k < site->n_postponed; k++)
            if (strcmp(site->postponed[k].path, other->path) == 0) {
                leaving_add(discover, other, true);
                break;
            }
        if (site_new_name(site, record, true) < 0)
            log_warning(-ENOMEM, "Cannot take note of a file in datastore %s: %m",
                        site->datastore->name);
    }
}

void site_forget_postponed(struct site *site)
{
    for (size_t i = 0; i < site->n_postponed; i++)
        free((char *)(uintptr_t)site->postponed[i].path);
    free(site->postponed);
    site->postponed = NULL;
    site->n_postponed = 0;
}

bool site_expire_postponed(struct site *site, uint64_t now, uint64_t after)
{
    if (site->n_postponed == 0 || site->walking == SITE_WALKING)
        return false;
    if (now >= site->postponed_since && now < site->postponed_since + after)
        return true;
    site_take_postponed(site);
    site_forget_postponed(site);
    return false;
}

/* Does a file lie there that has its name elsewhere in the datastore, and no other one? Then two
 * names are being exchanged, and what becomes of the other is told next. */
static bool site_waits_for_other(const struct site *site, const struct image *image,
                                 const struct files_record *record)
{
    const struct image *other = LIST_EMPTY(&image->names) ? known_elsewhere(site, record, image)
                                                          : NULL;

    return other && other->datastore == site->datastore && other->identity.btime != 0 &&
           record->stat.links == 1 && !discover_is_leaving(site->discover, other);
}

static bool site_has_postponed(const struct site *site, const struct image *image)
{
    for (size_t i = 0; i < site->n_postponed; i++) {
        struct identity identity = identity_from_stat(&site->postponed[i].stat);

        if (identity_equal(&identity, &image->identity))
            return true;
    }
    return false;
}

/* Is it known of each file that was in the way where it lies now? */
static bool site_is_settled(const struct site *site)
{
    for (size_t i = 0; i < site->n_postponed; i++) {
        const struct image *image = image_set_find(&site->discover->images,
                                                   site->postponed[i].path);

        if (image && !site_has_postponed(site, image))
            return false;
    }
    return true;
}

/* Is there an earlier word of this path? A walk has but one of each. */
static bool site_postponed_again(struct site *site, const struct files_record *record)
{
    for (size_t i = 0; i < site->n_postponed; i++) {
        const char *path = site->postponed[i].path;

        if (strcmp(path, record->path) != 0)
            continue;
        site->postponed[i] = *record;
        site->postponed[i].path = path;
        return true;
    }
    return false;
}

/* An event tells of another file in place of a known one. */
static int site_exchanged(struct site *site, struct image *image, const struct files_record *record)
{
    int r;

    if (!site_has_postponed(site, image) && !site_waits_for_other(site, image, record) &&
        !discover_is_leaving(site->discover, image)) {
        site_replaced(site, image, record, false);
        return 0;
    }
    if (site->walking == SITE_WALKING)
        return site_postpone(site, record);
    if (site->n_postponed >= POSTPONED_MAX)
        (void)site_expire_postponed(site, site->postponed_since, 0);
    if (site->n_postponed == 0)
        site->postponed_since = discover_now(site->discover);
    r = site_postponed_again(site, record) ? 0 : site_postpone(site, record);
    return r < 0 ? r : leaving_arm(site->discover);
}

/* Another name of a known image. */
static void site_name_seen(struct site *site, struct image_name *name,
                           const struct files_record *record, bool by_walk)
{
    struct identity identity = identity_from_stat(&record->stat);
    int r = 0;

    if (record->stat.type == FILES_REGULAR && identity_equal(&name->image->identity, &identity)) {
        struct site *before = discover_site(site->discover, name->datastore);

        if (before)
            before->n_names--;
        site->n_names++;
        name->walk = site->datastore->walk;
        name->datastore = site->datastore;
        image_take(site, name->image, record, by_walk, true);
        return;
    }
    names_remove(site->discover, name);
    if ((record->stat.type == FILES_REGULAR && record->stat.size > 0) ||
        record->stat.type == FILES_BLOCK)
        r = site_new_name(site, record, by_walk);
    if (r < 0)
        log_warning(r, "Cannot take note of a file in datastore %s: %m", site->datastore->name);
}

/* Two images of the database that are one file: what the later one was told of is the other's. */
static bool site_merge(struct site *site, struct image *image, const struct files_record *record,
                       bool by_walk)
{
    struct image *other = image->device == 0 ? known_elsewhere(site, record, image) : NULL;

    if (!other || other->device == 0 || image->identity.btime == 0 ||
        !identity_equal(&image->identity, &other->identity))
        return false;
    discover_vanish(site->discover, image, by_walk);
    return site_new_name(site, record, by_walk) >= 0;
}

static void site_file_seen(struct site *site, const struct files_record *record)
{
    struct discover *discover = site->discover;
    struct image *image = image_set_find(&discover->images, record->path);
    struct image_name *name = image ? NULL : names_find(discover, record->path);
    struct identity identity = identity_from_stat(&record->stat);
    bool by_walk = record->event == FILES_EVENT_APPEARED && site->walking == SITE_WALKING;
    bool file = record->stat.type == FILES_REGULAR || record->stat.type == FILES_BLOCK;
    int r = 0;

    if (image && !file) {
        discover_leave(discover, image, by_walk);
    } else if (image && image->identity.inode != 0 && image->identity.btime != 0 &&
               discover->options.known && !identity_equal(&image->identity, &identity)) {
        /* A walk may find the file that lay here only later. */
        image->walk = site->datastore->walk;
        r = by_walk ? site_postpone(site, record) : site_exchanged(site, image, record);
    } else if (image) {
        if (!site_merge(site, image, record, by_walk)) {
            site_image_seen(site, image, record, by_walk);
            if (record->probed && discover->options.locks)
                discover->options.locks(discover->options.userdata, image, record->use);
        }
    } else if (name) {
        site_name_seen(site, name, record, by_walk);
    } else if (file && (record->stat.size > 0 || record->stat.type == FILES_BLOCK) &&
               !in_snapshot_view(record->path, site->datastore->path)) {
        r = site_new_name(site, record, by_walk);
    }
    if (r < 0)
        log_warning(r, "Cannot take note of a file in datastore %s: %m", site->datastore->name);
}

void site_file(struct site *site, const struct files_record *record)
{
    site_file_seen(site, record);
    if (site->n_postponed > 0 && site->walking != SITE_WALKING && site_is_settled(site))
        (void)site_expire_postponed(site, site->postponed_since, 0);
}

/* A file that was found there, and waited for its turn, is gone, too. */
static void site_drop_postponed(struct site *site, const char *path)
{
    size_t n = 0;

    for (size_t i = 0; i < site->n_postponed; i++) {
        struct files_record *record = &site->postponed[i];

        if (path_is_below(record->path, path))
            free((char *)(uintptr_t)record->path);
        else
            site->postponed[n++] = *record;
    }
    site->n_postponed = n;
}

void site_vanished(struct site *site, const char *path)
{
    struct discover *discover = site->discover;
    struct image *image = image_set_find(&discover->images, path);
    struct image_name *name = image ? NULL : names_find(discover, path);
    _cleanup_free_ struct image **list = NULL;
    size_t first, end;

    site_drop_postponed(site, path);
    if (image) {
        discover_leave(discover, image, false);
        return;
    }
    if (name) {
        names_remove(discover, name);
        return;
    }
    if (discover->options.other_gone)
        discover->options.other_gone(discover->options.userdata);
    names_sweep(discover, site->datastore, UINT32_MAX, path);
    if (image_set_sort(&discover->images) < 0)
        return;                 /* the next walk sees it */
    image_set_below(&discover->images, path, &first, &end);
    if (first == end)
        return;
    list = reallocarray(NULL, end - first, sizeof(*list));
    if (!list)
        return;
    memcpy(list, discover->images.sorted + first, (end - first) * sizeof(*list));
    for (size_t i = 0; i < end - first; i++)
        if (list[i]->datastore == site->datastore && !site_keeps(site, list[i]))
            discover_leave(discover, list[i], false);
}
