/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What libvirt says, brought together with the files: paths that are other names of images,
 * or of nothing, what changed from one of its answers to the next, and the domains that are to be
 * judged for it.
 * What it needs of the daemon are the functions of struct usages_ops. */
#pragma once

#include "daemon/core/datastore.h"
#include "daemon/core/image.h"
#include "daemon/virt/usage.h"

struct usages;
struct files;

/* All of them are called in the loop. */
struct usages_ops {
    /* The image that is present at the path, and the one that is that file; NULL none. */
    struct image *(*find_image)(void *userdata, const char *path);
    struct image *(*find_file)(void *userdata, const struct identity *identity);
    /* libvirt has that file, of which no image is known, whatever it was taken for. */
    void (*recall)(void *userdata, const char *path, const struct identity *identity);
    /* The datastore in which a path lies, by its text; NULL none. And all of them. */
    struct datastore *(*datastore_of)(void *userdata, const char *path);
    void (*datastores)(void *userdata, struct datastore *const **ret_datastores, size_t *ret_n);
    /* Asks the datastore's helper where the path leads: done comes later, or not at all when the
     * helper (*ret_files) goes. */
    int (*resolve)(void *userdata, struct datastore *datastore, const char *path,
                   void (*done)(void *place, int error, const char *real_path,
                                const struct files_stat *stat),
                   void *place, struct files **ret_files);
    /* usages_make() is to be called, a moment later. */
    void (*soon)(void *userdata);
    /* Takes libvirt's new index; the last one is freed after this. */
    void (*index)(void *userdata, const struct usage_index *index);
    /* An image is used otherwise than before: it is to be audited; unused: by nobody any more. */
    void (*plan)(void *userdata, struct image *image, bool unused);
    /* A disk moved from one image to another, by their paths. */
    void (*disk_moved)(void *userdata, const char *overlay, const char *parent);
    void (*domain_gone)(void *userdata, const char *subject);
    /* Domains are to be judged, by usages_each_dirty(). */
    void (*judge)(void *userdata);
};

int usages_new(const struct usages_ops *ops, void *userdata, struct usages **ret_usages);
/* No answer of a helper may be awaited any more. Takes NULL, returns NULL. */
struct usages *usages_free(struct usages *usages);

/* ---- all below take NULL for usages, and do nothing then ------------------------------------- */

/* Each new status of libvirt's. */
void usages_take(struct usages *usages, struct virt_status *status);
/* Libvirt's word is taken anew, a moment later. */
void usages_soon(struct usages *usages);
/* Makes the index anew, at the moment that ops->soon() asked for. */
void usages_make(struct usages *usages);
/* NULL before the first status. */
const struct usage_index *usages_index(const struct usages *usages);
/* An image came, went, or is another file now. */
void usages_image_changed(struct usages *usages, const struct image *image);
/* Its domains are to be judged again. */
void usages_image_judged(struct usages *usages, const struct image *image);
void usages_datastore_walked(struct usages *usages, const struct datastore *datastore);
void usages_files_gone(struct usages *usages, const struct files *files);
/* Calls back for some of the domains that are to be judged; *ret_again (usec) is when to judge it
 * again. *again becomes the earliest of all that is to come. True: there are more. */
bool usages_each_dirty(struct usages *usages, uint64_t now, uint64_t *again,
                       void (*each)(void *userdata, const struct virt_status *status,
                                    const struct virt_domain *domain, uint64_t *ret_again),
                       void *userdata);
