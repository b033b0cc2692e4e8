/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Paths of libvirt's under which no image is known: other names of images, or of nothing, as the
 * datastores' helpers say. */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/virt/usages-internal.h"
#include "lib/cleanup.h"

#define ASKING_MAX 32           /* questions to the helpers under way */

enum place_answer {
    PLACE_UNKNOWN,              /* not looked up yet, in no datastore, or it could not be looked
                                 * up */
    PLACE_FOUND,                /* is `real`, by another name */
    PLACE_MISSING,
};

struct virt_place {
    LIST_ENTRY(virt_place) link;
    struct usages *usages;
    enum place_answer answer;   /* the last one: it holds until the next */
    bool wanted, asked;         /* to be looked up; under way */
    bool answered;              /* since there is somebody to ask */
    bool mentioned;             /* by the present status */
    struct files *files;        /* while it is asked */
    char *real;
    struct identity identity;
    char path[];
};

static int place_compare(const void *a, const void *b)
{
    const struct virt_place *x = a, *y = b;

    return strcmp(x->path, y->path);
}

static struct virt_place *place_get(struct usages *usages, const char *path, bool make)
{
    size_t size = strlen(path) + 1;
    _cleanup_free_ struct virt_place *place = calloc(1, sizeof(*place) + size);
    void *found;

    if (!place)
        return NULL;
    memcpy(place->path, path, size);
    found = make ? tsearch(place, &usages->tree, place_compare)
                 : tfind(place, &usages->tree, place_compare);
    if (!found)
        return NULL;
    if (*(struct virt_place **)found != place)
        return *(struct virt_place **)found;
    place->usages = usages;
    place->wanted = true;
    LIST_INSERT_HEAD(&usages->places, place, link);
    return TAKE_PTR(place);
}

static void place_free(struct virt_place *place)
{
    free(place->real);
    free(place);
}

/* Not one that was asked about: the answer comes to it. */
static void place_forget(struct usages *usages, struct virt_place *place)
{
    tdelete(place, &usages->tree, place_compare);
    LIST_REMOVE(place, link);
    place_free(place);
}

/* Finds the datastore whose helper looks the path up: the path's own, or, for one that seems to be
 * in none, any that is there. Links may lead from it into a datastore; what lies in none is told by
 * its text alone, and no other file system is asked. */
static struct datastore *place_datastore(const struct usages *usages,
                                         const struct virt_place *place, struct datastore *own)
{
    struct datastore *const *datastores, *any = NULL;
    size_t n;

    if (!own && place->answer == PLACE_FOUND)
        own = usages->ops->datastore_of(usages->userdata, place->real);
    if (own)
        return own;
    usages->ops->datastores(usages->userdata, &datastores, &n);
    for (size_t i = 0; i < n; i++) {
        const struct datastore *datastore = datastores[i];

        /* A link may lead into one that does not answer, and would take the helper along: later. */
        if (datastore->state == DATASTORE_STARTING ||
            (datastore->state == DATASTORE_OFFLINE && datastore->error == -ETIMEDOUT))
            return NULL;
        if (datastore->state == DATASTORE_ONLINE && (!any || any->root.network))
            any = datastores[i];
    }
    return any;
}

static void on_place(void *userdata, int error, const char *real_path,
                     const struct files_stat *stat)
{
    struct virt_place *place = userdata;
    struct usages *usages = place->usages;
    enum place_answer before = place->answer;
    bool moved = false, first;

    usages->asking--;
    place->files = NULL;
    place->asked = false;
    first = !place->answered;
    place->answered = true;
    place->answer = PLACE_UNKNOWN;
    if (error == -ENOENT || error == -ENOTDIR) {
        place->answer = PLACE_MISSING;
    } else if (error == 0) {
        char *real = strdup(real_path);
        struct identity identity = identity_from_stat(stat);

        moved = !real || !place->real || strcmp(real, place->real) != 0 ||
                !identity_equal(&identity, &place->identity);
        free(place->real);
        place->real = real;
        place->identity = identity;
        place->answer = real ? PLACE_FOUND : PLACE_UNKNOWN;
    }
    if (first || place->answer != before || moved)
        usages_soon(usages);
    virt_places_ask(usages);
}

void virt_places_ask(struct usages *usages)
{
    struct virt_place *place;

    LIST_FOREACH(place, &usages->places, link) {
        struct datastore *own, *datastore;

        if (!place->wanted || place->asked)
            continue;
        if (usages->asking >= ASKING_MAX)
            return;
        own = usages->ops->datastore_of(usages->userdata, place->path);
        if (own && own->walk_finished == 0)
            continue;           /* most of them are images, as its first walk will show */
        datastore = place_datastore(usages, place, own);
        place->wanted = false;
        if (!datastore || usages->ops->resolve(usages->userdata, datastore, place->path, on_place,
                                               place, &place->files) < 0) {
            if (!own)
                continue;       /* the answer holds until somebody can be asked */
            place->answer = PLACE_UNKNOWN;
            place->answered = false;
            continue;
        }
        place->asked = true;
        usages->asking++;
    }
}

void usages_files_gone(struct usages *usages, const struct files *files)
{
    struct virt_place *place;

    if (!usages)
        return;
    LIST_FOREACH(place, &usages->places, link)
        if (place->asked && place->files == files) {
            place->answer = PLACE_UNKNOWN;
            place->asked = place->answered = false;
            place->files = NULL;
            usages->asking--;
        }
}

void virt_places_look_again(struct usages *usages, const struct datastore *datastore)
{
    struct virt_place *place;

    LIST_FOREACH(place, &usages->places, link) {
        const struct datastore *own = usages->ops->datastore_of(usages->userdata, place->path);

        /* One that led into no datastore does so until there is another one: a walk. */
        if (datastore ? !own || own == datastore : own || place->answer != PLACE_UNKNOWN)
            place->wanted = true;
    }
    virt_places_ask(usages);
}

void virt_places_begin(struct usages *usages)
{
    struct virt_place *place;

    LIST_FOREACH(place, &usages->places, link)
        place->mentioned = false;
}

void virt_places_end(struct usages *usages)
{
    struct virt_place *place, *next;

    for (place = LIST_FIRST(&usages->places); place; place = next) {
        next = LIST_NEXT(place, link);
        if (!place->mentioned && !place->asked)
            place_forget(usages, place);
    }
    virt_places_ask(usages);
}

void virt_places_look(void *userdata, const char *path, struct usage_file *ret_file)
{
    struct usages *usages = userdata;
    const struct image *image = usages->ops->find_image(usages->userdata, path);
    struct virt_place *place = place_get(usages, path, !image);

    if (image) {
        ret_file->known = true;
        ret_file->identity = image->identity;
        return;
    }
    if (!place)
        return;
    place->mentioned = true;
    ret_file->missing = place->answer == PLACE_MISSING;
    ret_file->pending = !place->answered;
    if (place->answer != PLACE_FOUND)
        return;
    image = usages->ops->find_image(usages->userdata, place->real);
    if (!image)
        image = usages->ops->find_file(usages->userdata, &place->identity);
    if (!image)
        usages->ops->recall(usages->userdata, place->real, &place->identity);
    ret_file->path = image && image->present ? image->path : place->real;
    ret_file->known = true;
    ret_file->identity = place->identity;
}

bool virt_places_mean(struct usages *usages, const char *path)
{
    struct virt_place *place;

    if (place_get(usages, path, false))
        return true;
    LIST_FOREACH(place, &usages->places, link)
        if (place->answer == PLACE_FOUND && strcmp(place->real, path) == 0)
            return true;
    return false;
}

void virt_places_done(struct usages *usages)
{
    struct virt_place *place;

    while ((place = LIST_FIRST(&usages->places)))
        place_forget(usages, place);
}
