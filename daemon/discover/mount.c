/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* File systems mounted below a datastore that come and go: what lay on one that is not mounted now
 * did not vanish. */
#include <errno.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/discover/internal.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

static bool paths_have_above(char *const *paths, size_t n, const char *path)
{
    for (size_t i = 0; i < n; i++)
        if (path_is_below(path, paths[i]))
            return true;
    return false;
}

static void paths_add(char ***paths, size_t *n, const char *path)
{
    char **longer;

    for (size_t i = 0; i < *n; i++)
        if (strcmp((*paths)[i], path) == 0)
            return;
    longer = reallocarray(*paths, *n + 1, sizeof(*longer));
    if (!longer)
        return;                 /* the next walk has another try */
    *paths = longer;
    longer[*n] = strdup(path);
    *n += longer[*n] != NULL;
}

static void paths_remove(char **paths, size_t *n, const char *path)
{
    for (size_t i = 0; i < *n; i++)
        if (strcmp(paths[i], path) == 0) {
            free(paths[i]);
            paths[i] = paths[--*n];
            return;
        }
}

static void paths_clear(char ***paths, size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        free((*paths)[i]);
    free(*paths);
    *paths = NULL;
    *n = 0;
}

void site_mounted(struct site *site, const char *path)
{
    bool news = false;

    paths_add(&site->mounts, &site->n_mounts, path);
    /* A folder that was guessed to be the mount point may lie below the real one. */
    for (size_t i = 0; i < site->n_gone; i++)
        if (path_is_below(site->gone[i], path)) {
            news = true;
            coverage_remove(&site->datastore->coverage, site->gone[i]);
            paths_remove(site->gone, &site->n_gone, site->gone[i]);
            i--;
        }
    site->seen.mounts++;
    if (news)
        site_tell(site);
}

void site_unmounted(struct site *site, const char *path, const char *type)
{
    _cleanup_free_ char *shown = text_escape_string(path);
    size_t first = 0, end = 0;

    paths_remove(site->mounts, &site->n_mounts, path);
    if (image_set_sort(&site->discover->images) >= 0)
        image_set_below(&site->discover->images, path, &first, &end);
    if (first == end)
        return;                 /* nothing of it is missed */
    paths_add(&site->gone, &site->n_gone, path);
    (void)coverage_add(&site->datastore->coverage, FILES_LEFT_GONE, path, type);
    log_notice(0, "Datastore %s: %s is not mounted any more; its images are kept as they were",
               site->datastore->name, shown ? shown : "a file system");
}

bool site_keeps(const struct site *site, const struct image *image)
{
    const struct files_root *root = &site->datastore->root;

    if (site->accept_gone || site->datastore->of_devices || image->identity.fsid == root->fsid ||
        paths_have_above(site->mounts, site->n_mounts, image->path))
        return false;
    /* Each subvolume of a btrfs is a file system of its own without being mounted. */
    return strcmp(root->type, "btrfs") != 0 ||
           paths_have_above(site->gone, site->n_gone, image->path);
}

/* Of an image that a walk kept: its file system was mounted at or above its folder. */
static void site_note_gone(struct site *site, const struct image *image)
{
    _cleanup_free_ char *folder = strdup(image->path);

    if (!folder || paths_have_above(site->gone, site->n_gone, image->path))
        return;
    *strrchr(folder, '/') = 0;
    paths_add(&site->gone, &site->n_gone, folder);
}

bool site_keep(struct site *site, struct image *image)
{
    if (!site_keeps(site, image))
        return false;
    site_note_gone(site, image);
    image->walk = site->datastore->walk;
    return true;
}

void site_mounts_begin(struct site *site)
{
    coverage_done(&site->seen);
    paths_clear(&site->mounts, &site->n_mounts);
    paths_clear(&site->following, &site->n_following);
}

/* After a walk, the files that it saw are all there are. */
void site_mounts_end(struct site *site)
{
    struct discover *discover = site->discover;
    struct datastore *datastore = site->datastore;

    site->accept_gone = false;
    coverage_done(&datastore->coverage);
    datastore->coverage = site->seen;
    site->seen = (struct coverage){ 0 };
    paths_clear(&site->followed, &site->n_followed);
    site->followed = TAKE_PTR(site->following);
    site->n_followed = site->n_following;
    site->n_following = 0;
    for (size_t i = 0; i < site->n_gone; i++) {
        size_t first = 0, end = 0;

        if (image_set_sort(&discover->images) >= 0)
            image_set_below(&discover->images, site->gone[i], &first, &end);
        if (first < end) {
            (void)coverage_add(&datastore->coverage, FILES_LEFT_GONE, site->gone[i], NULL);
            continue;
        }
        paths_remove(site->gone, &site->n_gone, site->gone[i]);
        i--;
    }
}

void site_mounts_done(struct site *site)
{
    coverage_done(&site->seen);
    paths_clear(&site->mounts, &site->n_mounts);
    paths_clear(&site->gone, &site->n_gone);
    paths_clear(&site->followed, &site->n_followed);
    paths_clear(&site->following, &site->n_following);
}

void site_followed(struct site *site, const char *device)
{
    paths_add(&site->followed, &site->n_followed, device);
    paths_add(&site->following, &site->n_following, device);
}

void site_left_out(struct site *site, const struct files_record *record)
{
    struct image *image = image_set_find(&site->discover->images, record->path);
    bool link = record->left_out >= FILES_LEFT_LINK;

    /* A link took the place of a file, or leads elsewhere now. */
    if (image && link)
        discover_vanish(site->discover, image, site->walking == SITE_WALKING);
    if (record->left_out == FILES_LEFT_GONE) {
        site_unmounted(site, record->path, record->target);
        site_tell(site);
        return;
    }
    if (site->walking == SITE_WALKING) {
        (void)coverage_add(&site->seen, record->left_out, record->path, record->target);
        if (record->left_out == FILES_LEFT_REMOTE || record->left_out == FILES_LEFT_FORBIDDEN)
            site_note_unseen(site, record->path);
    } else if (coverage_reason_is_gap(record->left_out)) {
        (void)coverage_add(&site->datastore->coverage, record->left_out, record->path,
                           record->target);
        site_tell(site);
    }
}

bool discover_follows(const struct discover *discover, const char *device)
{
    for (size_t i = 0; i < discover->n_sites; i++)
        for (size_t j = 0; j < discover->sites[i]->n_followed; j++)
            if (strcmp(discover->sites[i]->followed[j], device) == 0)
                return true;
    return false;
}

bool discover_is_away(const struct discover *discover, const char *path)
{
    for (size_t i = 0; i < discover->n_sites; i++)
        if (paths_have_above(discover->sites[i]->gone, discover->sites[i]->n_gone, path))
            return true;
    return false;
}
