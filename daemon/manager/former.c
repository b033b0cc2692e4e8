/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The former parents of images: noted when a file goes, or a reference leads elsewhere. */
#include <errno.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/manager/internal.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(struct former *, former_free)

/* Everything known of the file; members that are not known now stay as they were noted before. */
static void former_fill(const struct manager *manager, struct former *former,
                        const struct image *parent)
{
    const struct baseline *baseline = contents_find(manager->contents, &former->identity);
    const struct layer_report *layer = image_layer(parent);

    if (parent)
        former->size = parent->fingerprint.size;
    if (layer)
        former->virtual_size = layer->info.virtual_size;
    if (!baseline || !baseline->has_digest)
        return;
    if (former->size == 0)
        former->size = baseline->fingerprint.size;
    former->virtual_size = baseline->virtual_size;
    former->has_digest = true;
    former->encrypted = baseline->encrypted;
    memcpy(former->digest, baseline->digest, sizeof(former->digest));
    former->parent = baseline->parent;
}

static int note(struct manager *manager, struct image *child, const struct reference *was,
                const struct image *parent)
{
    _cleanup_(former_freep) struct former *former = NULL;

    if (child->former && identity_equal(&child->former->identity, &was->identity)) {
        former_fill(manager, child->former, parent);
        return 0;
    }
    former = calloc(1, sizeof(*former));
    if (!former)
        return -ENOMEM;
    former->path = strdup(was->path);
    if (!former->path)
        return -ENOMEM;
    former->identity = was->identity;
    former->seen = manager_now(manager);
    former_fill(manager, former, parent);
    former_free(child->former);
    child->former = TAKE_PTR(former);
    return image_list_add(&manager->attributes, child);
}

static bool leads_somewhere(const struct reference *reference)
{
    return reference->state == REFERENCE_FOUND && reference->path && reference->identity.inode != 0;
}

void former_note_reference(struct manager *manager, struct image *child,
                           const struct reference *news)
{
    const struct reference *was = &child->parent;
    const struct image *parent;

    if (!leads_somewhere(was) ||
        identity_equal(&was->identity, &child->identity) ||
        news->state == REFERENCE_PENDING || news->state == REFERENCE_UNREACHABLE ||
        (news->state == REFERENCE_FOUND && identity_equal(&was->identity, &news->identity)))
        return;
    parent = graph_find_identity(manager->graph, &was->identity);
    if (note(manager, child, was, parent) < 0)
        log_error(-ENOMEM, "Cannot note the identity of a lost parent: %m");
}

void former_note_gone(struct manager *manager, const struct image *parent)
{
    struct image *child;

    for (size_t i = 0; (child = graph_child(parent, i)); i++)
        if (leads_somewhere(&child->parent) &&
            identity_equal(&child->parent.identity, &parent->identity) &&
            note(manager, child, &child->parent, parent) < 0) {
            log_error(-ENOMEM, "Cannot note the identity of a lost parent: %m");
            return;
        }
}

/* Is it of no use any more? What was overwritten by something else is kept: it may come back. */
static bool former_is_over(const struct image *image, const struct relation *relation)
{
    const struct layer_report *layer = image_layer(image);

    if (relation->pending || relation->in_loop || relation->above_loop)
        return false;
    if (image->parent.state == REFERENCE_FOUND)
        return relation->parent;
    return image->parent.state == REFERENCE_NONE && layer && layer->probed_format != QCA_FORMAT_RAW;
}

void former_settle(struct manager *manager, struct image *image)
{
    const struct relation *relation = graph_relation(manager->graph, image);

    if (!image->former || !relation || !former_is_over(image, relation))
        return;
    image->former = former_free(image->former);
    if (image_list_add(&manager->attributes, image) < 0)
        log_warning(-ENOMEM, "That a parent is found again is not stored: %m");
    judge_soon(manager);
}
