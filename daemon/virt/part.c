/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The counted pieces of what libvirt knows: their ends, and domains made of them. */
#include "daemon/virt/part.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/strv.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define DEFINE_COUNTED(name)                                                                       \
    struct name *name##_ref(struct name *object)                                                   \
    {                                                                                              \
        if (object)                                                                                \
            atomic_fetch_add(&object->refs, 1);                                                    \
        return object;                                                                             \
    }                                                                                              \
                                                                                                   \
    struct name *name##_unref(struct name *object)                                                 \
    {                                                                                              \
        if (object && atomic_fetch_sub(&object->refs, 1) == 1)                                     \
            name##_free(object);                                                                   \
        return NULL;                                                                               \
    }

void virt_disk_done(struct virt_disk *disk)
{
    free(disk->target);
    free(disk->device);
    for (size_t i = 0; i < disk->n_layers; i++) {
        struct virt_layer *layer = &disk->layers[i];

        free(layer->path);
        free(layer->pool);
        free(layer->volume);
        free(layer->name);
        free(layer->format);
        free(layer->data_file);
    }
    free(disk->layers);
    free(disk->job.type);
    free(disk->job.mirror);
    free(disk->error);
}

static void disks_free(struct virt_disk *disks, size_t n)
{
    for (size_t i = 0; i < n; i++)
        virt_disk_done(&disks[i]);
    free(disks);
}

void virt_snapshot_done(struct virt_snapshot *snapshot)
{
    free(snapshot->name);
    free(snapshot->parent);
    free(snapshot->memory_path);
    for (size_t i = 0; i < snapshot->n_disks; i++) {
        free(snapshot->disks[i].target);
        free(snapshot->disks[i].path);
        free(snapshot->disks[i].before);
    }
    free(snapshot->disks);
}

void virt_checkpoint_done(struct virt_checkpoint *checkpoint)
{
    free(checkpoint->name);
    free(checkpoint->parent);
    for (size_t i = 0; i < checkpoint->n_disks; i++) {
        free(checkpoint->disks[i].target);
        free(checkpoint->disks[i].bitmap);
    }
    free(checkpoint->disks);
}

void virt_pool_done(struct virt_pool *pool)
{
    free(pool->name);
    free(pool->type);
    free(pool->path);
    strv_free(pool->volumes);
    strv_free(pool->devices);
}

static void virt_body_free(struct virt_body *body)
{
    free(body->name);
    disks_free(body->disks, body->n_disks);
    disks_free(body->defined_disks, body->n_defined_disks);
    strv_free(body->files);
    free(body);
}

static void virt_snapshots_free(struct virt_snapshots *snapshots)
{
    for (size_t i = 0; i < snapshots->n_items; i++)
        virt_snapshot_done(&snapshots->items[i]);
    free(snapshots->items);
    free(snapshots);
}

static void virt_checkpoints_free(struct virt_checkpoints *checkpoints)
{
    for (size_t i = 0; i < checkpoints->n_items; i++)
        virt_checkpoint_done(&checkpoints->items[i]);
    free(checkpoints->items);
    free(checkpoints);
}

/* Of a record's disks, only these are its own. */
static void virt_record_free(struct virt_record *record)
{
    for (size_t i = 0; i < record->domain.n_disks; i++) {
        free(record->domain.disks[i].job.type);
        free(record->domain.disks[i].job.mirror);
        free(record->domain.disks[i].error);
    }
    free(record->domain.disks);
    free(record->domain.error);
    strv_free(record->domain.backup_files);
    virt_body_unref(record->body);
    virt_snapshots_unref(record->snapshots);
    virt_checkpoints_unref(record->checkpoints);
    free(record);
}

static void virt_pools_free(struct virt_pools *pools)
{
    for (size_t i = 0; i < pools->n_items; i++)
        virt_pool_done(&pools->items[i]);
    free(pools->items);
    free(pools);
}

static void virt_part_free(struct virt_part *part)
{
    for (size_t i = 0; i < part->n_records; i++)
        virt_record_unref(part->records[i]);
    free(part->records);
    virt_pools_unref(part->pools);
    free(part->error);
    free(part);
}

DEFINE_COUNTED(virt_body)
DEFINE_COUNTED(virt_snapshots)
DEFINE_COUNTED(virt_checkpoints)
DEFINE_COUNTED(virt_record)
DEFINE_COUNTED(virt_pools)
DEFINE_COUNTED(virt_part)

DEFINE_CLEANUP(struct virt_record *, virt_record_unref)

int virt_record_new(struct virt_body *body, struct virt_snapshots *snapshots,
                    struct virt_checkpoints *checkpoints, struct virt_record **ret_record)
{
    _cleanup_(virt_record_unrefp) struct virt_record *record = calloc(1, sizeof(*record));
    struct virt_domain *domain;

    if (!record)
        return -ENOMEM;
    record->refs = 1;
    record->body = virt_body_ref(body);
    record->snapshots = virt_snapshots_ref(snapshots);
    record->checkpoints = virt_checkpoints_ref(checkpoints);
    domain = &record->domain;
    memcpy(domain->uuid, body->uuid, sizeof(domain->uuid));
    domain->name = body->name;
    domain->id = -1;
    domain->memory_max = body->memory_max;
    domain->defined_disks = body->defined_disks;
    domain->n_defined_disks = body->n_defined_disks;
    domain->files = body->files;
    if (snapshots) {
        domain->snapshots = snapshots->items;
        domain->n_snapshots = snapshots->n_items;
    }
    if (checkpoints) {
        domain->checkpoints = checkpoints->items;
        domain->n_checkpoints = checkpoints->n_items;
    }
    domain->disks = calloc(body->n_disks + 1, sizeof(*domain->disks));
    if (!domain->disks)
        return -ENOMEM;
    for (size_t i = 0; i < body->n_disks; i++) {
        struct virt_disk *disk = &domain->disks[domain->n_disks++];

        *disk = body->disks[i];
        disk->job = (struct virt_job){ .ready = body->disks[i].job.ready };
        disk->error = NULL;
        if ((body->disks[i].job.type && !(disk->job.type = strdup(body->disks[i].job.type))) ||
            (body->disks[i].job.mirror && !(disk->job.mirror = strdup(body->disks[i].job.mirror))))
            return -ENOMEM;
    }
    *ret_record = TAKE_PTR(record);
    return 0;
}

static bool disk_is_equal(const struct virt_disk *a, const struct virt_disk *b)
{
    return text_equal(a->job.type, b->job.type) && a->job.ready == b->job.ready &&
           a->job.since == b->job.since && a->job.ready_since == b->job.ready_since &&
           text_equal(a->job.mirror, b->job.mirror) && text_equal(a->error, b->error);
}

bool virt_record_equal(const struct virt_record *a, const struct virt_record *b)
{
    const struct virt_domain *x = &a->domain, *y = &b->domain;

    if (a->body != b->body || a->snapshots != b->snapshots || a->checkpoints != b->checkpoints)
        return false;
    if (x->id != y->id || x->state != y->state || x->persistent != y->persistent ||
        x->backup != y->backup || x->migrating != y->migrating || x->io_error != y->io_error ||
        x->started != y->started || !text_equal(x->error, y->error) ||
        !strv_equal(x->backup_files, y->backup_files))
        return false;
    for (size_t i = 0; i < x->n_disks; i++)
        if (!disk_is_equal(&x->disks[i], &y->disks[i]))
            return false;
    return true;
}
