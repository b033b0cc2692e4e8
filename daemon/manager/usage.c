/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What libvirt says, brought together with the files: paths of its that are other names of images
 * or of nothing, what changed by each of its snapshots, and the domains that are to be judged for
 * it. */
#include <errno.h>
#include <search.h>
#include <string.h>
#include <sys/queue.h>

#include "daemon/core/log.h"
#include "daemon/manager/internal.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define USAGE_DELAY (USEC_PER_SEC / 5)
#define DOMAINS_PER_ROUND 500   /* judged in one go: the loop has other things to do */
#define ASKING_MAX 32           /* questions to the helpers under way */

/* ---- places: paths of libvirt's under which discover knows no image -------------------------- */

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

/* The manager's part of this file. */
struct usages {
    struct manager *manager;
    struct virt_status *status;         /* the latest */
    struct usage_index *index;
    bool stale;                         /* the index is to be made again */
    void *tree;                         /* tsearch tree of struct virt_place */
    LIST_HEAD(, virt_place) places;
    unsigned asking;
    sd_event_source *timer;
    /* Of the index's status, by the domains' place in it: */
    bool *dirty;
    uint64_t *again;                    /* usec, UINT64_MAX never */
    size_t n_domains;
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

static void places_ask(struct usages *usages);

/* Who looks it up: the path's datastore, or, for one that seems to be in none, any that is there.
 * Links may lead from it into a datastore; what lies in none is told by its text alone, and no
 * other file system is asked. */
static struct files *place_files(const struct usages *usages, const struct virt_place *place,
                                 const struct datastore *own)
{
    const struct manager *manager = usages->manager;
    struct datastore *const *datastores, *any = NULL;
    size_t n;

    if (!own && place->answer == PLACE_FOUND)
        own = discover_datastore_of(manager->discover, place->real);
    if (own)
        return discover_files(manager->discover, own);
    discover_datastores(manager->discover, &datastores, &n);
    for (size_t i = 0; i < n; i++) {
        const struct datastore *datastore = datastores[i];

        /* A link may lead into one that does not answer, and would take the helper along: later. */
        if (datastore->state == DATASTORE_STARTING ||
            (datastore->state == DATASTORE_OFFLINE && datastore->error == -ETIMEDOUT))
            return NULL;
        if (datastore->state == DATASTORE_ONLINE && (!any || any->root.network))
            any = datastores[i];
    }
    return any ? discover_files(manager->discover, any) : NULL;
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
        usage_soon(usages->manager);
    places_ask(usages);
}

static void places_ask(struct usages *usages)
{
    struct manager *manager = usages->manager;
    struct virt_place *place;

    if (manager->stopping)
        return;
    LIST_FOREACH(place, &usages->places, link) {
        struct datastore *datastore;
        struct files *files;

        if (!place->wanted || place->asked)
            continue;
        if (usages->asking >= ASKING_MAX)
            return;
        datastore = discover_datastore_of(manager->discover, place->path);
        if (datastore && datastore->walk_finished == 0)
            continue;           /* most of them are images, as its first walk will show */
        files = place_files(usages, place, datastore);
        place->wanted = false;
        if (!files || files_resolve(files, place->path, place->path, on_place, place) < 0) {
            if (!datastore)
                continue;       /* the answer holds until somebody can be asked */
            place->answer = PLACE_UNKNOWN;
            place->answered = false;
            continue;
        }
        place->asked = true;
        place->files = files;
        usages->asking++;
    }
}

/* No answer comes from these. */
void usage_files_gone(struct manager *manager, const struct files *files)
{
    struct usages *usages = manager->usages;
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

/* What is not there may be there now, and links may lead elsewhere. */
static void places_look_again(struct usages *usages, const struct datastore *datastore)
{
    const struct manager *manager = usages->manager;
    struct virt_place *place;

    LIST_FOREACH(place, &usages->places, link) {
        const struct datastore *own = discover_datastore_of(manager->discover, place->path);

        /* One that led into no datastore does so until there is another one: a walk. */
        if (datastore ? !own || own == datastore : own || place->answer != PLACE_UNKNOWN)
            place->wanted = true;
    }
    places_ask(usages);
}

void usage_datastore_walked(struct manager *manager, const struct datastore *datastore)
{
    if (!manager->usages)
        return;
    places_look_again(manager->usages, datastore);
    usage_soon(manager);
}

/* ---- the index ------------------------------------------------------------------------------- */

static void look(void *userdata, const char *path, struct usage_file *ret_file)
{
    struct usages *usages = userdata;
    struct graph *graph = usages->manager->graph;
    struct image *image = graph_find(graph, path);
    struct virt_place *place = place_get(usages, path, !(image && image->present));

    if (image && image->present) {
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
    image = graph_find(graph, place->real);
    if (!image || !image->present)
        image = graph_find_identity(graph, &place->identity);
    if (!image)
        discover_recall(usages->manager->discover, place->real, &place->identity);
    ret_file->path = image && image->present ? image->path : place->real;
    ret_file->known = true;
    ret_file->identity = place->identity;
}

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
    struct manager *manager = usages->manager;
    struct usage before = usage_find(comparison->before, path),
                 now = usage_find(usages->index, path);
    const struct virt_status *status = usage_status(usages->index);
    struct image *image = graph_find(manager->graph, path);
    enum files_use was = usage_use(&before), is = usage_use(&now);

    for (size_t i = 0; i < now.n_entries; i++)
        usages->dirty[now.entries[i].domain - status->domains] = true;
    if (!image || !image->present || !image->audit)
        return;
    if (was == is && is == FILES_UNUSED)
        return;
    /* Nothing is to come after the end of a domain: no debounce. */
    pass_plan(manager, image, is == FILES_UNUSED ? SCHEDULE_NEW : SCHEDULE_CHANGED);
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
    struct manager *manager = usages->manager;
    const struct virt_layer *below, *was, *ignored, *is;
    const char *overlay, *parent;
    struct round *round;
    int r;

    was = disk_source(before, &ignored);
    is = disk_source(disk, &below);
    if (!was || !is || strcmp(was->path, is->path) == 0 || disk->transient ||
        (below && (!below->path || strcmp(below->path, was->path) != 0)))
        return;
    overlay = usage_path(usages->index, is->path);
    parent = usage_path(usages->index, was->path);
    r = graph_note_disk_move(manager->graph, overlay, parent, manager_now(manager));
    if (r > 0) {
        round = keep_round(manager);
        r = round ? store_batch_disk_move(round->batch, overlay, parent, manager_now(manager))
                  : -ENOMEM;
    }
    if (r < 0)
        log_error(r, "Cannot keep that a disk moved: %m");
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

static void domain_gone(struct manager *manager, const struct virt_status *status,
                        const struct virt_domain *domain)
{
    _cleanup_free_ char *subject = usage_domain_subject(status, domain);

    if (subject)
        judge_domain_gone(manager, subject);
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
            domain_gone(usages->manager, before, old);
        } else if (order > 0) {
            usages->dirty[k] = true;
        } else {
            if (strcmp(old->name, new->name) != 0)
                domain_gone(usages->manager, before, old);
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
    struct manager *manager = usages->manager;
    struct usage_index *before = usages->index;
    const struct virt_status *status_before = usage_status(before);
    struct comparison comparison = { .usages = usages, .before = before };
    _cleanup_free_ bool *dirty = usages->dirty;
    _cleanup_free_ uint64_t *again = usages->again;
    size_t n = usages->status ? usages->status->n_domains : 0;
    struct virt_place *place, *next;
    int r;

    LIST_FOREACH(place, &usages->places, link)
        place->mentioned = false;
    usages->dirty = calloc(n + 1, sizeof(*usages->dirty));
    usages->again = malloc((n + 1) * sizeof(*usages->again));
    r = usages->dirty && usages->again
            ? usage_index_new(usages->status, before, look, usages, &usages->index) : -ENOMEM;
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
    graph_set_usage(manager->graph, usages->index);
    domains_carry_over(usages, status_before, dirty, again);
    if (!virt_connections_equal(status_before, usages->status)) {
        manager->daemon_dirty = true;
        for (size_t i = 0; i < n; i++)
            usages->dirty[i] = true;
    }
    manager->daemon_dirty = true;       /* disks may be in no datastore, or not any more */
    usage_index_compare(before, usages->index, on_path_changed, &comparison);
    usage_index_free(before);
    for (place = LIST_FIRST(&usages->places); place; place = next) {
        next = LIST_NEXT(place, link);
        if (!place->mentioned && !place->asked)
            place_forget(usages, place);
    }
    places_ask(usages);
    judge_soon(manager);
}

static int on_usage_timer(sd_event_source *source, uint64_t when, void *userdata)
{
    struct manager *manager = userdata;

    if (!manager->stopping && manager->usages->stale)
        index_make(manager->usages);
    return 0;
}

void usage_soon(struct manager *manager)
{
    struct usages *usages = manager->usages;
    int r;

    if (!usages || manager->stopping)
        return;
    usages->stale = true;
    r = manager_arm(manager, &usages->timer, USAGE_DELAY, on_usage_timer);
    if (r < 0)
        log_error(r, "Cannot plan to take what libvirt says: %m");
}

/* An image came or went under a path that libvirt may mean. */
void usage_image_changed(struct manager *manager, const struct image *image)
{
    struct usages *usages = manager->usages;
    struct usage usage = usages ? usage_find(usages->index, image->path)
                                : (struct usage){ .n_entries = 0 };
    struct virt_place *place;

    if (!usages)
        return;
    if (usage.n_entries > 0 || place_get(usages, image->path, false)) {
        usage_soon(manager);
        return;
    }
    LIST_FOREACH(place, &usages->places, link)
        if (place->answer == PLACE_FOUND && strcmp(place->real, image->path) == 0) {
            usage_soon(manager);
            return;
        }
}

/* ---- for the rest of the manager ------------------------------------------------------------- */

int usage_start(struct manager *manager)
{
    struct usages *usages = calloc(1, sizeof(*usages));

    if (!usages)
        return -ENOMEM;
    usages->manager = manager;
    LIST_INIT(&usages->places);
    manager->usages = usages;
    return 0;
}

void usage_on_status(void *userdata, struct virt_status *status)
{
    struct manager *manager = userdata;
    struct usages *usages = manager->usages;

    if (!usages || manager->stopping)
        return;
    virt_status_unref(usages->status);
    usages->status = virt_status_ref(status);
    places_look_again(usages, NULL);
    if (usages->stale || !virt_status_equal(usage_status(usages->index), status))
        index_make(usages);
}

const struct usage_index *usage_index(const struct manager *manager)
{
    return manager->usages ? manager->usages->index : NULL;
}

enum files_use usage_said(void *userdata, const struct image *image)
{
    struct manager *manager = userdata;
    struct usage usage = usage_find(usage_index(manager), image->path);

    return usage_use(&usage);
}

void usage_image_judged(struct manager *manager, const struct image *image)
{
    struct usages *usages = manager->usages;
    struct usage usage = usage_find(usage_index(manager), image->path);

    for (size_t i = 0; i < usage.n_entries; i++)
        usages->dirty[usage.entries[i].domain - usage_status(usages->index)->domains] = true;
}

bool usage_each_dirty(struct manager *manager,
                      void (*each)(struct manager *manager, const struct virt_status *status,
                                   const struct virt_domain *domain, uint64_t *ret_again))
{
    struct usages *usages = manager->usages;
    const struct virt_status *status = usage_status(usage_index(manager));
    uint64_t now = manager_now(manager);
    unsigned n = 0;

    for (size_t i = 0; status && i < usages->n_domains; i++) {
        if (!usages->dirty[i] && usages->again[i] > now) {
            if (usages->again[i] < manager->again)
                manager->again = usages->again[i];
            continue;
        }
        if (n++ >= DOMAINS_PER_ROUND)
            return true;
        usages->dirty[i] = false;
        usages->again[i] = UINT64_MAX;
        each(manager, status, &status->domains[i], &usages->again[i]);
        if (usages->again[i] < manager->again)
            manager->again = usages->again[i];
    }
    return false;
}

void usage_done(struct manager *manager)
{
    struct usages *usages = manager->usages;
    struct virt_place *place;

    if (!usages)
        return;
    usages->timer = sd_event_source_disable_unref(usages->timer);
    while ((place = LIST_FIRST(&usages->places)))
        place_forget(usages, place);
    usages->index = usage_index_free(usages->index);
    usages->status = virt_status_unref(usages->status);
    free(usages->dirty);
    free(usages->again);
    free(usages);
    manager->usages = NULL;
}
