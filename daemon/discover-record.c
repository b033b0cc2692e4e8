/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a datastore's helper reports of one file: an image that appears, changes or vanishes, or
 * nothing of note. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/discover-internal.h"
#include "daemon/log.h"
#include "lib/cleanup.h"

/* What a file system shows of itself as it was earlier: the same images many times over. */
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
    r = image_set_add(&discover->images, image);
    if (r < 0) {
        image_free(image);
        return r;
    }
    site->n_known++;
    discover->options.image(discover->options.userdata, image, DISCOVER_APPEARED, by_walk);
    return 0;
}

static void site_image_seen(struct site *site, struct image *image,
                            const struct files_record *record, bool by_walk)
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
    /* The kernel says that a writer closed it: a file system's clock may be too coarse to show
     * that. */
    if (record->event == FILES_EVENT_CHANGED && change == DISCOVER_FOUND_AGAIN)
        change = DISCOVER_CHANGED;
    if (image->datastore != site->datastore) {  /* the configuration gave it another owner */
        struct site *before = discover_site(discover, image->datastore);

        before->n_known--;
        image->datastore = site->datastore;
        site->n_known++;
    }
    image->identity = identity;
    image->fingerprint = fingerprint;
    image->device = device_map_disk(&discover->devices, record->stat.device);
    image->walk = site->datastore->walk;
    image->last_seen = discover_now(discover);
    image->present = true;
    if (change != DISCOVER_FOUND_AGAIN || first)
        discover->options.image(discover->options.userdata, image, change, by_walk);
}

void site_file(struct site *site, const struct files_record *record)
{
    struct discover *discover = site->discover;
    struct image *image = image_set_find(&discover->images, record->path);
    bool by_walk = record->event == FILES_EVENT_APPEARED && site->walking == SITE_WALKING;
    bool file = record->stat.type == FILES_REGULAR || record->stat.type == FILES_BLOCK;
    int r = 0;

    if (image && !file)
        discover_vanish(discover, image, by_walk);
    else if (image) {
        site_image_seen(site, image, record, by_walk);
        if (record->probed && discover->options.locks)
            discover->options.locks(discover->options.userdata, image, record->use);
    }
    else if (file && (record->stat.size > 0 || record->stat.type == FILES_BLOCK) &&
             !in_snapshot_view(record->path, site->datastore->path))
        r = site_image_new(site, record, by_walk);
    if (r < 0)
        log_warning(r, "Cannot take note of a file in datastore %s: %m", site->datastore->name);
}

void site_vanished(struct site *site, const char *path)
{
    struct discover *discover = site->discover;
    struct image *image = image_set_find(&discover->images, path);
    _cleanup_free_ struct image **list = NULL;
    size_t first, end;

    if (image) {
        discover_vanish(discover, image, false);
        return;
    }
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
            discover_vanish(discover, list[i], false);
}
