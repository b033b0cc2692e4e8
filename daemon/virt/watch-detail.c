/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is asked about one domain: its XML, snapshots, checkpoints, and what runs on its disks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/virt/watch-internal.h"
#include "daemon/virt/xml.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(struct virt_snapshots *, virt_snapshots_unref)
DEFINE_CLEANUP(struct virt_checkpoints *, virt_checkpoints_unref)

uint64_t hash_text(uint64_t hash, const char *text)
{
    /* FNV-1a, 64 bits, the NUL included so that two texts do not run together; NULL is like no
     * text */
    do
        hash = (hash ^ (text ? (unsigned char)*text : 0xff)) * UINT64_C(0x100000001b3);
    while (text && *text++);
    return hash;
}

/* ---- the XML --------------------------------------------------------------------------------- */

/* Volumes of pools by path. Those of files lie below the pool's. */
static int layer_resolve(const struct virt_pools *pools, struct virt_layer *layer)
{
    const struct virt_pool *pool = NULL;

    if (layer->source != VIRT_SOURCE_VOLUME || layer->path || !layer->pool || !layer->volume)
        return 0;
    for (size_t i = 0; pools && !pool && i < pools->n_items; i++)
        if (strcmp(pools->items[i].name, layer->pool) == 0)
            pool = &pools->items[i];
    if (!pool || !pool->path)
        return 0;
    if (virt_pool_kind(pool->type) == VIRT_POOL_FILES) {
        if (strchr(layer->volume, '/'))
            return 0;
        return asprintf(&layer->path, "%s/%s", pool->path, layer->volume) < 0 ? -ENOMEM : 0;
    }
    for (size_t i = 0; pool->volumes && pool->devices && pool->volumes[i] && pool->devices[i]; i++)
        if (strcmp(pool->volumes[i], layer->volume) == 0) {
            layer->path = strdup(pool->devices[i]);
            return layer->path ? 0 : -ENOMEM;
        }
    return 0;
}

static int disks_resolve(const struct virt_pools *pools, struct virt_disk *disks, size_t n)
{
    int r = 0;

    for (size_t i = 0; r >= 0 && i < n; i++)
        for (size_t j = 0; r >= 0 && j < disks[i].n_layers; j++)
            r = layer_resolve(pools, &disks[i].layers[j]);
    return r;
}

static int body_make(struct virt_link *link, const char *live, const char *defined,
                     struct virt_body *before, struct virt_body **ret_body)
{
    uint64_t hash = hash_text(hash_text(HASH_BEGIN, live), defined);
    struct virt_body *body;
    int r;

    /* The places of volumes may change without the domain. */
    for (size_t i = 0; link->pools && i < link->pools->n_items; i++)
        hash = hash_text(hash_text(hash, link->pools->items[i].name), link->pools->items[i].path);
    if (before && before->hash == hash) {
        *ret_body = virt_body_ref(before);
        return 0;
    }
    r = virt_xml_body(live, defined, &body);
    if (r < 0)
        return r;
    body->hash = hash;
    r = disks_resolve(link->pools, body->disks, body->n_disks);
    if (r >= 0)
        r = disks_resolve(link->pools, body->defined_disks, body->n_defined_disks);
    if (r < 0) {
        virt_body_unref(body);
        return r;
    }
    *ret_body = body;
    return 0;
}

static int get_xml(struct virt_link *link, virDomainPtr domain, unsigned flags, char **ret_xml)
{
    char *xml;
    int r;

    r = link_call(link);
    if (r < 0)
        return r;
    xml = sym_virDomainGetXMLDesc(domain, flags);
    if (!xml)
        return link_error(link);
    *ret_xml = xml;
    return 0;
}

int link_read_body(struct virt_link *link, virDomainPtr domain, bool active, bool persistent,
                   struct virt_body *before, struct virt_body **ret_body)
{
    _cleanup_free_ char *live = NULL, *defined = NULL;
    int r;

    r = get_xml(link, domain, 0, &live);
    if (r >= 0 && active && persistent)
        r = get_xml(link, domain, VIR_DOMAIN_XML_INACTIVE, &defined);
    return r < 0 ? r : body_make(link, live, defined, before, ret_body);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static int compare_snapshots(const void *a, const void *b)
{
    return strcmp(((const struct virt_snapshot *)a)->name, ((const struct virt_snapshot *)b)->name);
}

static const struct virt_snapshot *snapshot_find(const struct virt_snapshots *snapshots,
                                                 const char *name)
{
    const struct virt_snapshot key = { .name = (char *)(uintptr_t)name };

    return bsearch(&key, snapshots->items, snapshots->n_items, sizeof(key), compare_snapshots);
}

static char *snapshot_current(struct virt_link *link, virDomainPtr domain)
{
    virDomainSnapshotPtr current = sym_virDomainSnapshotCurrent(domain, 0);
    const char *name = current ? sym_virDomainSnapshotGetName(current) : NULL;
    char *copy = name ? strdup(name) : NULL;

    if (current)
        sym_virDomainSnapshotFree(current);
    return copy;
}

/* Are these exactly the ones known, with the same current one? */
static bool snapshots_are(const struct virt_snapshots *known, virDomainSnapshotPtr *list, size_t n,
                          const char *current)
{
    if (!known || known->n_items + known->n_left_out != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        const char *name = sym_virDomainSnapshotGetName(list[i]);
        const struct virt_snapshot *snapshot = name ? snapshot_find(known, name) : NULL;

        if (!snapshot || snapshot->current != (current && strcmp(current, name) == 0))
            return false;
    }
    return true;
}

static int snapshots_add(struct virt_link *link, virDomainSnapshotPtr item, const char *current,
                         struct virt_snapshots *snapshots)
{
    struct virt_snapshot *snapshot = &snapshots->items[snapshots->n_items];
    _cleanup_free_ char *xml = NULL;
    uint64_t left_out = 0;
    int r;

    r = link_call(link);
    if (r < 0)
        return r;
    xml = sym_virDomainSnapshotGetXMLDesc(item, 0);
    r = xml ? virt_xml_snapshot(xml, snapshot, &left_out) : link_error(link);
    if (r == -ENOENT)
        return 0;               /* deleted meanwhile */
    if (r < 0)
        return r;
    snapshots->hash = hash_text(snapshots->hash, xml);
    snapshot->current = current && strcmp(snapshot->name, current) == 0;
    snapshots->n_left_out += left_out;
    snapshots->n_items++;
    return 0;
}

static int snapshots_read(struct virt_link *link, virDomainSnapshotPtr *list, size_t n,
                          const char *current, struct virt_snapshots **ret_snapshots)
{
    _cleanup_(virt_snapshots_unrefp) struct virt_snapshots *snapshots = calloc(1,
                                                                               sizeof(*snapshots));
    int r = 0;

    if (!snapshots)
        return -ENOMEM;
    snapshots->refs = 1;
    snapshots->hash = hash_text(HASH_BEGIN, current);
    if (n > VIRT_SNAPSHOTS_MAX) {
        snapshots->n_left_out = n - VIRT_SNAPSHOTS_MAX;
        n = VIRT_SNAPSHOTS_MAX;
    }
    snapshots->items = calloc(n + 1, sizeof(*snapshots->items));
    if (!snapshots->items)
        return -ENOMEM;
    for (size_t i = 0; r >= 0 && i < n; i++)
        r = snapshots_add(link, list[i], current, snapshots);
    if (r < 0)
        return r;
    qsort(snapshots->items, snapshots->n_items, sizeof(*snapshots->items), compare_snapshots);
    *ret_snapshots = TAKE_PTR(snapshots);
    return 0;
}

int link_read_snapshots(struct virt_link *link, virDomainPtr domain, bool names_only,
                        struct virt_snapshots *before, struct virt_snapshots **ret_snapshots)
{
    _cleanup_free_ char *current = NULL;
    virDomainSnapshotPtr *list;
    int n, r;

    r = link_call(link);
    if (r < 0)
        return r;
    n = sym_virDomainListAllSnapshots(domain, &list, 0);
    if (n < 0)
        return link_error(link);
    r = link_call(link);
    if (r >= 0)
        current = snapshot_current(link, domain);
    if (r >= 0 && names_only && snapshots_are(before, list, (size_t)n, current))
        *ret_snapshots = virt_snapshots_ref(before);
    else if (r >= 0)
        r = snapshots_read(link, list, (size_t)n, current, ret_snapshots);
    for (int i = 0; i < n; i++)
        sym_virDomainSnapshotFree(list[i]);
    free(list);
    if (r >= 0 && before && *ret_snapshots != before && (*ret_snapshots)->hash == before->hash) {
        virt_snapshots_unref(*ret_snapshots);
        *ret_snapshots = virt_snapshots_ref(before);
    }
    return r;
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static int compare_checkpoints(const void *a, const void *b)
{
    return strcmp(((const struct virt_checkpoint *)a)->name,
                  ((const struct virt_checkpoint *)b)->name);
}

static bool checkpoints_are(const struct virt_checkpoints *known, virDomainCheckpointPtr *list,
                            size_t n)
{
    if (!known || known->n_items + known->n_left_out != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        const char *name = sym_virDomainCheckpointGetName(list[i]);
        const struct virt_checkpoint key = { .name = (char *)(uintptr_t)name };

        if (!key.name ||
            !bsearch(&key, known->items, known->n_items, sizeof(key), compare_checkpoints))
            return false;
    }
    return true;
}

static int checkpoints_add(struct virt_link *link, virDomainCheckpointPtr item,
                           struct virt_checkpoints *checkpoints)
{
    _cleanup_free_ char *xml = NULL;
    uint64_t left_out = 0;
    int r;

    r = link_call(link);
    if (r < 0)
        return r;
    xml = sym_virDomainCheckpointGetXMLDesc(item, VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN);
    r = xml ? virt_xml_checkpoint(xml, &checkpoints->items[checkpoints->n_items], &left_out)
            : link_error(link);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    checkpoints->hash = hash_text(checkpoints->hash, xml);
    checkpoints->n_left_out += left_out;
    checkpoints->n_items++;
    return 0;
}

static int checkpoints_read(struct virt_link *link, virDomainCheckpointPtr *list, size_t n,
                            struct virt_checkpoints **ret_checkpoints)
{
    _cleanup_(virt_checkpoints_unrefp) struct virt_checkpoints *checkpoints =
        calloc(1, sizeof(*checkpoints));
    int r = 0;

    if (!checkpoints)
        return -ENOMEM;
    checkpoints->refs = 1;
    checkpoints->hash = HASH_BEGIN;
    if (n > VIRT_SNAPSHOTS_MAX) {
        checkpoints->n_left_out = n - VIRT_SNAPSHOTS_MAX;
        n = VIRT_SNAPSHOTS_MAX;
    }
    checkpoints->items = calloc(n + 1, sizeof(*checkpoints->items));
    if (!checkpoints->items)
        return -ENOMEM;
    for (size_t i = 0; r >= 0 && i < n; i++)
        r = checkpoints_add(link, list[i], checkpoints);
    if (r < 0)
        return r;
    qsort(checkpoints->items, checkpoints->n_items, sizeof(*checkpoints->items),
          compare_checkpoints);
    *ret_checkpoints = TAKE_PTR(checkpoints);
    return 0;
}

int link_read_checkpoints(struct virt_link *link, virDomainPtr domain, bool names_only,
                          struct virt_checkpoints *before,
                          struct virt_checkpoints **ret_checkpoints)
{
    virDomainCheckpointPtr *list;
    int n, r;

    r = link_call(link);
    if (r < 0)
        return r;
    n = sym_virDomainListAllCheckpoints(domain, &list, 0);
    if (n < 0)
        return link_error(link);
    r = 0;
    if (names_only && checkpoints_are(before, list, (size_t)n))
        *ret_checkpoints = virt_checkpoints_ref(before);
    else
        r = checkpoints_read(link, list, (size_t)n, ret_checkpoints);
    for (int i = 0; i < n; i++)
        sym_virDomainCheckpointFree(list[i]);
    free(list);
    if (r >= 0 && before && *ret_checkpoints != before &&
        (*ret_checkpoints)->hash == before->hash) {
        virt_checkpoints_unref(*ret_checkpoints);
        *ret_checkpoints = virt_checkpoints_ref(before);
    }
    return r;
}

/* ---- jobs ------------------------------------------------------------------------------------ */

/* Is it the connection, or without memory? What else fails here says nothing: a guest may be busy,
 * or just ended. */
static int job_error(const struct virt_link *link)
{
    int r = link_error(link);

    return r == -ENOTCONN || r == -ENOMEM ? r : 0;
}

static int read_domain_job(struct virt_link *link, virDomainPtr domain, struct virt_record *record)
{
    virTypedParameterPtr parameters = NULL;
    int type = VIR_DOMAIN_JOB_NONE, n = 0, operation = VIR_DOMAIN_JOB_OPERATION_UNKNOWN, r;
    _cleanup_free_ char *xml = NULL;

    r = link_call(link);
    if (r < 0)
        return r;
    if (sym_virDomainGetJobStats(domain, &type, &parameters, &n, 0) < 0)
        return job_error(link);
    if (type != VIR_DOMAIN_JOB_NONE)
        (void) sym_virTypedParamsGetInt(parameters, n, VIR_DOMAIN_JOB_OPERATION, &operation);
    sym_virTypedParamsFree(parameters, n);
    record->domain.migrating |= operation == VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN ||
                                operation == VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT;
    record->domain.backup = operation == VIR_DOMAIN_JOB_OPERATION_BACKUP;
    if (!record->domain.backup)
        return 0;
    r = link_call(link);
    if (r < 0)
        return r;
    xml = sym_virDomainBackupGetXMLDesc(domain, 0);
    if (!xml)
        return job_error(link);
    r = virt_xml_backup(xml, &record->domain.backup_files);
    return r == -ENOMEM ? r : 0;
}

static const char *job_name(int type)
{
    switch (type) {
    case VIR_DOMAIN_BLOCK_JOB_TYPE_PULL:
        return "pull";
    case VIR_DOMAIN_BLOCK_JOB_TYPE_COPY:
        return "copy";
    case VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT:
        return "commit";
    case VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT:
        return "active-commit";
    case VIR_DOMAIN_BLOCK_JOB_TYPE_BACKUP:
        return "backup";
    default:
        return "unknown";
    }
}

static const struct virt_disk *disk_before(const struct virt_record *before,
                                           const struct virt_domain *domain, const char *target)
{
    return before && before->domain.id == domain->id ? virt_find_disk(&before->domain, target)
                                                     : NULL;
}

/* Since when: as long as it is the same job. */
static void job_take_times(struct virt_disk *disk, const struct virt_disk *before)
{
    struct virt_job *job = &disk->job;
    const struct virt_job *last = before && before->job.type ? &before->job : NULL;
    uint64_t now = usec_now(CLOCK_REALTIME);

    if (!job->type)
        return;
    if (last && strcmp(last->type, job->type) != 0)
        last = NULL;
    job->since = last ? last->since : now;
    if (job->ready)
        job->ready_since = last && last->ready_since > 0 ? last->ready_since : now;
}

static int read_disk_job(struct virt_link *link, virDomainPtr domain, struct virt_disk *disk,
                         bool *ret_again)
{
    virDomainBlockJobInfo info = { 0 };
    int r;

    r = link_call(link);
    if (r < 0)
        return r;
    r = sym_virDomainGetBlockJobInfo(domain, disk->target, &info, 0);
    if (r < 0)
        return job_error(link);
    if (r == 0)
        return 0;
    disk->job.done = info.cur;
    disk->job.total = info.end;
    if (disk->job.type)
        return 0;
    disk->job.type = strdup(job_name(info.type));
    if (!disk->job.type)
        return -ENOMEM;
    *ret_again |= info.type == VIR_DOMAIN_BLOCK_JOB_TYPE_COPY ||
                  info.type == VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT;
    return 0;
}

static const char *disk_error_name(int error)
{
    return error == VIR_DOMAIN_DISK_ERROR_NO_SPACE ? "no-space" : "unspecified";
}

static int read_disk_errors(struct virt_link *link, virDomainPtr domain, struct virt_record *record)
{
    size_t n_room = record->domain.n_disks + 1;
    _cleanup_free_ virDomainDiskErrorPtr errors = calloc(n_room, sizeof(*errors));
    int n, r;

    if (!errors)
        return -ENOMEM;
    r = link_call(link);
    if (r < 0)
        return r;
    n = sym_virDomainGetDiskErrors(domain, errors, (unsigned)n_room, 0);
    if (n < 0)
        return job_error(link);
    for (int i = 0; i < n; i++) {
        for (size_t j = 0; j < record->domain.n_disks; j++) {
            struct virt_disk *disk = &record->domain.disks[j];

            if (!errors[i].disk || strcmp(disk->target, errors[i].disk) != 0 || disk->error)
                continue;
            disk->error = strdup(disk_error_name(errors[i].error));
            r = disk->error ? r : -ENOMEM;
        }
        free(errors[i].disk);
    }
    return r;
}

/* Can a job run on it? */
static bool disk_is_writable(const struct virt_disk *disk)
{
    return !disk->read_only && disk->n_layers > 0 && disk->layers[0].source != VIRT_SOURCE_NONE &&
           strcmp(disk->device, "disk") == 0;
}

int link_read_jobs(struct virt_link *link, virDomainPtr domain, const struct virt_record *before,
                   struct virt_record *record, bool *ret_again)
{
    int r;

    r = read_domain_job(link, domain, record);
    for (size_t i = 0; r >= 0 && i < record->domain.n_disks; i++) {
        struct virt_disk *disk = &record->domain.disks[i];

        if (disk_is_writable(disk))
            r = read_disk_job(link, domain, disk, ret_again);
        job_take_times(disk, disk_before(before, &record->domain, disk->target));
    }
    if (r >= 0 && record->domain.io_error)
        r = read_disk_errors(link, domain, record);
    return r;
}
