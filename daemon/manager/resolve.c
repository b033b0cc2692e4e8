/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* References that may lead elsewhere now: looked up again after walks and when files come or go,
 * without reading images. */
#include <errno.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/manager/internal.h"
#include "helpers/clock.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define RESOLVE_DELAY (USEC_PER_SEC / 4)
#define RESOLVING_MAX 32        /* questions to the helpers under way */

static bool target_is_known(const struct manager *manager, const struct reference *reference)
{
    const struct image *image = reference->path ? graph_find(manager->graph, reference->path)
                                                : NULL;

    return image && identity_equal(&image->identity, &reference->identity);
}

static bool is_doubtful(const struct manager *manager, const struct reference *reference)
{
    switch (reference->state) {
    case REFERENCE_FOUND:
        return !target_is_known(manager, reference);
    case REFERENCE_PENDING:
    case REFERENCE_MISSING:
    case REFERENCE_ESCAPES:
    case REFERENCE_UNREACHABLE:
        return true;
    default:
        return false;
    }
}

/* The places of an image's extents are not kept over a restart. */
static bool extents_are_doubtful(const struct manager *manager, const struct image *image)
{
    if (image->extents.n != image_count_extents(image))
        return true;
    for (size_t i = 0; i < image->extents.n; i++)
        if (is_doubtful(manager, &image->extents.items[i]))
            return true;
    return false;
}

static void recall(struct manager *manager, const struct reference *reference)
{
    if (reference->state == REFERENCE_FOUND && !target_is_known(manager, reference))
        discover_recall(manager->discover, reference->path, &reference->identity);
}

void resolve_recall(struct manager *manager, const struct image *image)
{
    recall(manager, &image->parent);
    recall(manager, &image->data_file);
    for (size_t i = 0; i < image->extents.n; i++)
        recall(manager, &image->extents.items[i]);
}

static void resolve_go_on(struct manager *manager)
{
    while (manager->resolve_at < manager->resolve.n_items &&
           audits_resolving(manager->audits) < RESOLVING_MAX) {
        struct image *image = manager->resolve.items[manager->resolve_at++];
        int r;

        if (!image || image->datastore->state != DATASTORE_ONLINE)
            continue;
        r = audits_resolve(manager->audits, image);
        if (r < 0)
            log_warning(r, "Cannot look up a reference: %m");
    }
    if (manager->resolve_at < manager->resolve.n_items)
        return;
    manager->resolve.n_items = manager->resolve_at = 0;
    judge_dismiss(manager);
    if (manager->resolve_wanted)
        resolve_soon(manager);
}

bool resolve_is_pending(const struct manager *manager)
{
    return manager->resolve_wanted || manager->resolve.n_items > 0 ||
           audits_resolving(manager->audits) > 0;
}

static void resolve_collect(struct manager *manager)
{
    struct image *const *images;
    size_t n;

    manager->resolve_wanted = false;
    if (discover_images(manager->discover, &images, &n) < 0)
        return;
    for (size_t i = 0; i < n; i++)
        if ((is_doubtful(manager, &images[i]->parent) ||
             is_doubtful(manager, &images[i]->data_file) ||
             extents_are_doubtful(manager, images[i])) &&
            image_list_add(&manager->resolve, images[i]) < 0)
            break;
}

static int on_resolve_timer(sd_event_source *source, uint64_t when, void *userdata)
{
    struct manager *manager = userdata;

    if (manager->stopping)
        return 0;
    if (manager->resolve.n_items == 0 && manager->resolve_wanted)
        resolve_collect(manager);
    resolve_go_on(manager);
    return 0;
}

void resolve_soon(struct manager *manager)
{
    int r;

    if (manager->stopping)
        return;
    manager->resolve_wanted = true;     /* once more, if some are under way */
    r = manager_arm(manager, &manager->resolve_timer, RESOLVE_DELAY, on_resolve_timer);
    if (r < 0)
        log_error(r, "Cannot plan the look-up of references: %m");
}

/* The file that was no image may be one that an image refers to. */
void resolve_on_other_gone(void *userdata)
{
    resolve_soon(userdata);
}

/* Takes the new one if it says something else. */
static bool reference_take(struct reference *reference, struct reference *news)
{
    bool changed = reference->state != news->state || reference->error != news->error ||
                   !text_equal(reference->path, news->path) ||
                   (news->state == REFERENCE_FOUND &&
                    !identity_equal(&reference->identity, &news->identity));

    /* A helper that could not be asked says nothing new. */
    if (news->state == REFERENCE_UNREACHABLE && reference->state != REFERENCE_PENDING)
        changed = false;
    if (changed) {
        reference_done(reference);
        *reference = *news;
    } else {
        reference_done(news);
    }
    return changed;
}

static bool extents_take(struct reference_list *extents, struct reference_list *news)
{
    bool changed = extents->n != news->n;

    for (size_t i = 0; !changed && i < news->n; i++)
        if (!text_equal(extents->items[i].stored, news->items[i].stored))
            changed = true;
    if (changed) {
        reference_list_done(extents);
        *extents = *news;
        return true;
    }
    for (size_t i = 0; i < news->n; i++)
        changed |= reference_take(&extents->items[i], &news->items[i]);
    free(news->items);
    return changed;
}

void resolve_on_resolved(void *userdata, struct image *image, struct reference *parent,
                         struct reference *data_file, struct reference_list *extents)
{
    struct manager *manager = userdata;
    bool changed, data;

    former_note_reference(manager, image, parent);
    changed = reference_take(&image->parent, parent);
    data = reference_take(&image->data_file, data_file);
    changed |= data;
    changed |= extents_take(&image->extents, extents);
    if (manager->stopping)
        return;
    resolve_recall(manager, image);
    if (changed) {
        if (graph_update(manager->graph, image) < 0 ||
            image_list_add(&manager->attributes, image) < 0)
            log_error(-ENOMEM, "A reference that leads elsewhere now is not judged: %m");
        judge_soon(manager);
        /* The data that its tables refer to lies in another file now. */
        if (data && image->data_file.state == REFERENCE_FOUND && image->audit)
            pass_input_changed(manager, image);
    }
    /* Not from within audits_resolve(): the loop there goes on by itself. */
    if (manager->resolve.n_items > 0)
        (void) manager_arm(manager, &manager->resolve_timer, 0, on_resolve_timer);
}

void resolve_forget(struct manager *manager, const struct image *image)
{
    image_list_forget(&manager->resolve, image);
}

void resolve_done(struct manager *manager)
{
    manager->resolve_timer = sd_event_source_disable_unref(manager->resolve_timer);
    image_list_done(&manager->resolve);
}
