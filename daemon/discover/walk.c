/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The walks of a datastore: their begin, what they could not look into, and what is gone when one
 * ends. */
#include "daemon/discover/internal.h"

#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"

#define UNSEEN_MAX 10000

void site_forget_unseen(struct site *site)
{
    for (size_t i = 0; i < site->n_unseen; i++)
        free(site->unseen[i]);
    free(site->unseen);
    site->unseen = NULL;
    site->n_unseen = 0;
    site->unseen_many = false;
}

void site_note_unseen(struct site *site, const char *path)
{
    char **list;

    if (site->n_unseen >= UNSEEN_MAX) {
        site->unseen_many = true;
        return;
    }
    list = reallocarray(site->unseen, site->n_unseen + 1, sizeof(*list));
    if (list) {
        site->unseen = list;
        list[site->n_unseen] = strdup(path);
    }
    if (!list || !list[site->n_unseen])
        site->unseen_many = true;
    else
        site->n_unseen++;
}

void site_sweep(struct site *site)
{
    struct discover *discover = site->discover;
    uint32_t walk = site->datastore->walk;
    _cleanup_free_ struct image **gone = NULL;
    size_t n_gone = 0, first, end;

    if (!site->unseen_many && site->n_unseen == 0) {
        names_sweep(discover, site->datastore, walk, NULL);
        if (site->n_gone == 0)
            others_sweep(&site->others, walk);
    }
    if (site->unseen_many || image_set_sort(&discover->images) < 0)
        return;
    for (size_t i = 0; i < site->n_unseen; i++) {
        struct image *image = image_set_find(&discover->images, site->unseen[i]);

        if (image)
            image->walk = walk;
        image_set_below(&discover->images, site->unseen[i], &first, &end);
        for (size_t j = first; j < end; j++)
            discover->images.sorted[j]->walk = walk;
    }
    image_set_below(&discover->images, site->datastore->of_devices ? "/dev" : site->datastore->path,
                    &first, &end);
    if (first < end)
        gone = reallocarray(NULL, end - first, sizeof(*gone));
    if (!gone)
        return;
    for (size_t i = first; i < end; i++) {
        struct image *image = discover->images.sorted[i];

        if (image->datastore == site->datastore && image->walk != walk && !site_keep(site, image))
            gone[n_gone++] = image;
    }
    for (size_t i = 0; i < n_gone; i++)
        discover_leave(discover, gone[i], true);
}

void site_tell_walked(struct site *site, int error)
{
    struct discover *discover = site->discover;

    discover->options.walked(discover->options.userdata, site->datastore, error);
}

int site_walk_begin(struct site *site, enum site_walk kind)
{
    struct discover *discover = site->discover;
    int r;

    r = files_walk(site->files);
    if (r < 0)
        return r;
    site->walking = kind;
    site->walk_again = false;
    site->n_matched = site->n_found = 0;
    site->n_unreadable = site->n_too_long = 0;
    site_forget_unseen(site);
    if (kind == SITE_WALKING) {
        site_mounts_begin(site);
        site->left_some = false;
        site->datastore->walk++;
        site->datastore->walk_started = discover_now(discover);
        discover->options.walk_begins(discover->options.userdata, site->datastore);
    }
    return 0;
}

int site_walk(struct site *site)
{
    if (!site->files || site->datastore->state != DATASTORE_ONLINE)
        return -ENOTCONN;
    if (site->walking != SITE_IDLE) {
        site->walk_again = true;
        return 0;
    }
    return site_walk_begin(site, SITE_WALKING);
}
