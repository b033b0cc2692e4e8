/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What libvirt says, brought together with the files: what changed from one of its answers to the
 * next, and the domains that are to be judged for it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/virt/usages-internal.h"
#include "lib/cleanup.h"

#define DOMAINS_PER_ROUND 500   /* judged in one go: the loop has other things to do */

/* ---- what changed ---------------------------------------------------------------------------- */

struct comparison {
    struct usages *usages;
    const struct usage_index *before;
};

/* A domain that has the path is judged again; an image that is used otherwise than before is read
 * again: at its domain's start and end, and when its chain changed, which a running QEMU's writes
 * do not show. */
static void on_path_changed(void *userdata, const char *path)
{
    const struct comparison *comparison = userdata;
    struct usages *usages = comparison->usages;
    struct usage before = usage_find(comparison->before, path),
                 now = usage_find(usages->index, path);
    const struct virt_status *status = usage_status(usages->index);
    struct image *image = usages->ops->find_image(usages->userdata, path);
    enum files_use was = usage_use(&before), is = usage_use(&now);

    for (size_t i = 0; i < now.n_entries; i++)
        usages->dirty[now.entries[i].domain - status->domains] = true;
    if (!image || !image->audit)
        return;
    if (was == is && is == FILES_UNUSED)
        return;
    usages->ops->plan(usages->userdata, image, is == FILES_UNUSED);
}

/* The disk's source and what libvirt has right below it, NULL where it does not say. */
static const struct virt_layer *disk_source(const struct virt_disk *disk,
                                            const struct virt_layer **ret_below)
{
    *ret_below = disk->n_layers > 1 ? &disk->layers[1] : NULL;
    return disk->n_layers > 0 && disk->layers[0].path && strcmp(disk->device, "disk") == 0
               ? &disk->layers[0] : NULL;
}

/* From the parent to an overlay: a snapshot was made, be it one that libvirt keeps nothing of. What
 * the graph has below the overlay decides whether it was one. */
static void disk_note_move(struct usages *usages, const struct virt_disk *before,
                           const struct virt_disk *disk)
{
    const struct virt_layer *below, *was, *ignored, *is;

    was = disk_source(before, &ignored);
    is = disk_source(disk, &below);
    if (was && is && strcmp(was->path, is->path) != 0 && !disk->transient &&
        (!below || (below->path && strcmp(below->path, was->path) == 0)))
        usages->ops->disk_moved(usages->userdata, usage_path(usages->index, is->path),
                                usage_path(usages->index, was->path));
}

/* While the domain runs, or while it does not: another definition at a start is no move. */
static void domain_note_moves(struct usages *usages, const struct virt_domain *before,
                              const struct virt_domain *domain)
{
    if (before->version == domain->version || before->id != domain->id ||
        virt_domain_is_active(before) != virt_domain_is_active(domain))
        return;
    for (size_t i = 0; i < domain->n_disks; i++) {
        const struct virt_disk *was = virt_find_disk(before, domain->disks[i].target);

        if (was)
            disk_note_move(usages, was, &domain->disks[i]);
    }
}

static void domain_gone(const struct usages *usages, const struct virt_status *status,
                        const struct virt_domain *domain)
{
    _cleanup_free_ char *subject = usage_domain_subject(status, domain);

    if (subject)
        usages->ops->domain_gone(usages->userdata, subject);
}

/* Both are in order of connection and UUID. What neither changed nor was waited for stays as it was
 * judged. */
static void domains_carry_over(struct usages *usages, const struct virt_status *before,
                               const bool *dirty, const uint64_t *again)
{
    const struct virt_status *now = usage_status(usages->index);
    size_t i = 0, k = 0, n = now ? now->n_domains : 0;

    while (i < (before ? before->n_domains : 0) || k < n) {
        const struct virt_domain *old = before && i < before->n_domains
                                            ? &before->domains[i] : NULL;
        const struct virt_domain *new = k < n ? &now->domains[k] : NULL;
        int order = !old ? 1 : !new ? -1 : virt_domain_compare(old, new);

        if (order < 0) {
            domain_gone(usages, before, old);
        } else if (order > 0) {
            usages->dirty[k] = true;
        } else {
            if (strcmp(old->name, new->name) != 0)
                domain_gone(usages, before, old);
            usages->dirty[k] = dirty[i] || old->version != new->version;
            domain_note_moves(usages, old, new);
            usages->again[k] = again[i];
        }
        i += order <= 0;
        k += order >= 0;
    }
}

static void index_make(struct usages *usages)
{
    struct usage_index *before = usages->index;
    const struct virt_status *status_before = usage_status(before);
    struct comparison comparison = { .usages = usages, .before = before };
    _cleanup_free_ bool *dirty = usages->dirty;
    _cleanup_free_ uint64_t *again = usages->again;
    size_t n = usages->status ? usages->status->n_domains : 0;
    int r;

    virt_places_begin(usages);
    usages->dirty = calloc(n + 1, sizeof(*usages->dirty));
    usages->again = malloc((n + 1) * sizeof(*usages->again));
    r = usages->dirty && usages->again
            ? usage_index_new(usages->status, before, virt_places_look, usages,
                              &usages->index) : -ENOMEM;
    if (r < 0) {
        log_error(r, "Cannot take what libvirt says: %m");
        free(usages->dirty);
        free(usages->again);
        usages->dirty = TAKE_PTR(dirty);
        usages->again = TAKE_PTR(again);
        return;
    }
    usages->stale = false;
    usages->n_domains = n;
    for (size_t i = 0; i < n; i++)
        usages->again[i] = UINT64_MAX;
    usages->ops->index(usages->userdata, usages->index);
    domains_carry_over(usages, status_before, dirty, again);
    if (!virt_connections_equal(status_before, usages->status))
        for (size_t i = 0; i < n; i++)
            usages->dirty[i] = true;
    usage_index_compare(before, usages->index, on_path_changed, &comparison);
    usage_index_free(before);
    virt_places_end(usages);
    usages->ops->judge(usages->userdata);
}

void usages_make(struct usages *usages)
{
    if (usages && usages->stale)
        index_make(usages);
}

void usages_soon(struct usages *usages)
{
    if (!usages)
        return;
    usages->stale = true;
    usages->ops->soon(usages->userdata);
}

void usages_take(struct usages *usages, struct virt_status *status)
{
    if (!usages)
        return;
    virt_status_unref(usages->status);
    usages->status = virt_status_ref(status);
    virt_places_look_again(usages, NULL);
    if (usages->stale || !virt_status_equal(usage_status(usages->index), status))
        index_make(usages);
}

void usages_datastore_walked(struct usages *usages, const struct datastore *datastore)
{
    if (!usages)
        return;
    virt_places_look_again(usages, datastore);
    usages_soon(usages);
}

void usages_image_changed(struct usages *usages, const struct image *image)
{
    if (usages && (usage_find(usages->index, image->path).n_entries > 0 ||
                   virt_places_mean(usages, image->path)))
        usages_soon(usages);
}

/* ---- the domains ----------------------------------------------------------------------------- */

void usages_image_judged(struct usages *usages, const struct image *image)
{
    struct usage usage = usage_find(usages_index(usages), image->path);

    for (size_t i = 0; i < usage.n_entries; i++)
        usages->dirty[usage.entries[i].domain - usage_status(usages->index)->domains] = true;
}

bool usages_each_dirty(struct usages *usages, uint64_t now, uint64_t *again,
                       void (*each)(void *userdata, const struct virt_status *status,
                                    const struct virt_domain *domain, uint64_t *ret_again),
                       void *userdata)
{
    const struct virt_status *status = usage_status(usages_index(usages));
    unsigned n = 0;

    for (size_t i = 0; status && i < usages->n_domains; i++) {
        if (usages->dirty[i] || usages->again[i] <= now) {
            if (n++ >= DOMAINS_PER_ROUND)
                return true;
            usages->dirty[i] = false;
            usages->again[i] = UINT64_MAX;
            each(userdata, status, &status->domains[i], &usages->again[i]);
        }
        if (usages->again[i] < *again)
            *again = usages->again[i];
    }
    return false;
}

/* ---- life ------------------------------------------------------------------------------------ */

const struct usage_index *usages_index(const struct usages *usages)
{
    return usages ? usages->index : NULL;
}

int usages_new(const struct usages_ops *ops, void *userdata, struct usages **ret_usages)
{
    struct usages *usages = calloc(1, sizeof(*usages));

    if (!usages)
        return -ENOMEM;
    usages->ops = ops;
    usages->userdata = userdata;
    LIST_INIT(&usages->places);
    *ret_usages = usages;
    return 0;
}

struct usages *usages_free(struct usages *usages)
{
    if (!usages)
        return NULL;
    virt_places_done(usages);
    usage_index_free(usages->index);
    virt_status_unref(usages->status);
    free(usages->dirty);
    free(usages->again);
    free(usages);
    return NULL;
}
