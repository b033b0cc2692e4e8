/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declarations that usages.c and places.c share. */
#pragma once

#include <sys/queue.h>

#include "daemon/virt/usages.h"

struct virt_place;

struct usages {
    const struct usages_ops *ops;
    void *userdata;
    struct virt_status *status;         /* the latest */
    struct usage_index *index;
    bool stale;                         /* the index is to be made again */
    /* Of the index's status, by the domains' place in it: */
    bool *dirty;
    uint64_t *again;                    /* usec, UINT64_MAX never */
    size_t n_domains;

    /* places.c */
    void *tree;                         /* tsearch tree of struct virt_place */
    LIST_HEAD(, virt_place) places;
    unsigned asking;
};

/* Looks up what is wanted, as far as somebody can be asked. */
void virt_places_ask(struct usages *usages);
/* Looks paths up again, after a walk of the datastore, or, NULL, those in none: missing files may
 * be there now, and links may lead elsewhere. */
void virt_places_look_again(struct usages *usages, const struct datastore *datastore);
/* A new index begins: no path is mentioned yet; it is made: what was not mentioned is forgotten. */
void virt_places_begin(struct usages *usages);
void virt_places_end(struct usages *usages);
/* A usage_look_fn. */
void virt_places_look(void *userdata, const char *path, struct usage_file *ret_file);
/* Is the path one of them, or where one of them leads? */
bool virt_places_mean(struct usages *usages, const char *path);
void virt_places_done(struct usages *usages);
