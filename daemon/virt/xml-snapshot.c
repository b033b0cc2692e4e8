/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <domainsnapshot>, <domaincheckpoint> and <domainbackup>. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/strv.h"
#include "daemon/virt/xml.h"
#include "lib/cleanup.h"

#define USEC_PER_SEC UINT64_C(1000000)

static size_t count(const xmlNode *parent, const char *name)
{
    size_t n = 0;

    for (const xmlNode *node = virt_xml_child(parent, name); node; node = virt_xml_next(node, name))
        n++;
    return n;
}

static uint64_t time_read(struct virt_xml *xml, const xmlNode *node)
{
    _cleanup_free_ char *text = virt_xml_text(xml, node);
    uint64_t seconds;
    char *end;

    if (!text || text[0] < '0' || text[0] > '9')
        return 0;
    errno = 0;
    seconds = strtoull(text, &end, 10);
    return errno != 0 || *end || seconds > UINT64_MAX / 2 / USEC_PER_SEC
               ? 0 : seconds * USEC_PER_SEC;
}

/* At most VIRT_DISKS_MAX, the rest is counted. */
static size_t count_disks(struct virt_xml *xml, const xmlNode *disks)
{
    size_t n = count(disks, "disk");

    if (n <= VIRT_DISKS_MAX)
        return n;
    xml->n_left_out += n - VIRT_DISKS_MAX;
    return VIRT_DISKS_MAX;
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static enum virt_snapshot_kind kind_read(const xmlNode *node)
{
    return virt_xml_attribute_is(node, "snapshot", "internal")   ? VIRT_SNAPSHOT_INTERNAL
           : virt_xml_attribute_is(node, "snapshot", "external") ? VIRT_SNAPSHOT_EXTERNAL
           : virt_xml_attribute_is(node, "snapshot", "manual")   ? VIRT_SNAPSHOT_MANUAL
                                                                 : VIRT_SNAPSHOT_NONE;
}

static char *source_path(struct virt_xml *xml, const xmlNode *disk)
{
    const xmlNode *source = virt_xml_child(disk, "source");
    char *path = virt_xml_path(xml, source, "file");

    return path ?: virt_xml_path(xml, source, "dev");
}

/* The image that was the disk's: name is a target, or the path itself. */
static char *path_before(struct virt_xml *xml, const xmlNode *domain, const char *name)
{
    const xmlNode *devices = virt_xml_child(domain, "devices");

    for (const xmlNode *disk = virt_xml_child(devices, "disk"); disk;
         disk = virt_xml_next(disk, "disk")) {
        char *path;

        if (virt_xml_attribute_is(virt_xml_child(disk, "target"), "dev", name))
            return source_path(xml, disk);
        path = source_path(xml, disk);
        if (path && strcmp(path, name) == 0)
            return path;
        free(path);
    }
    return NULL;
}

static int compare_snapshot_disks(const void *a, const void *b)
{
    const struct virt_snapshot_disk *disk_a = a, *disk_b = b;

    return strcmp(disk_a->target, disk_b->target);
}

static int snapshot_read_disks(struct virt_xml *xml, const xmlNode *root,
                               struct virt_snapshot *snapshot)
{
    const xmlNode *disks = virt_xml_child(root, "disks"), *domain = virt_xml_child(root, "domain");
    size_t n = count_disks(xml, disks);

    snapshot->disks = calloc(n + 1, sizeof(*snapshot->disks));
    if (!snapshot->disks)
        return -ENOMEM;
    for (const xmlNode *node = virt_xml_child(disks, "disk"); node && snapshot->n_disks < n;
         node = virt_xml_next(node, "disk")) {
        struct virt_snapshot_disk *disk = &snapshot->disks[snapshot->n_disks];

        disk->target = virt_xml_attribute(xml, node, "name");
        if (!disk->target) {
            xml->n_left_out++;
            continue;
        }
        snapshot->n_disks++;
        disk->kind = kind_read(node);
        disk->path = disk->kind == VIRT_SNAPSHOT_EXTERNAL ? source_path(xml, node) : NULL;
        disk->before = path_before(xml, domain, disk->target);
        snapshot->deleting |= virt_xml_child(node, "snapshotDeleteInProgress") != NULL;
    }
    qsort(snapshot->disks, snapshot->n_disks, sizeof(*snapshot->disks), compare_snapshot_disks);
    return 0;
}

static int snapshot_read(struct virt_xml *xml, struct virt_snapshot *snapshot)
{
    const xmlNode *root = xml->root,
                  *memory = virt_xml_child(root, "memory");
    enum virt_snapshot_kind kind = kind_read(memory);

    snapshot->name = virt_xml_text(xml, virt_xml_child(root, "name"));
    if (!snapshot->name)
        return -EBADMSG;
    snapshot->parent = virt_xml_text(xml, virt_xml_child(virt_xml_child(root, "parent"), "name"));
    snapshot->created = time_read(xml, virt_xml_child(root, "creationTime"));
    snapshot->memory_internal = kind == VIRT_SNAPSHOT_INTERNAL;
    snapshot->memory_path = kind == VIRT_SNAPSHOT_EXTERNAL ? virt_xml_path(xml, memory, "file")
                                                           : NULL;
    return snapshot_read_disks(xml, root, snapshot);
}

int virt_xml_snapshot(const char *text, struct virt_snapshot *ret_snapshot, uint64_t *ret_left_out)
{
    _cleanup_(virt_xml_close) struct virt_xml xml = { 0 };
    _cleanup_(virt_snapshot_done) struct virt_snapshot snapshot = { 0 };
    int r;

    r = virt_xml_open(text, "domainsnapshot", &xml);
    if (r >= 0)
        r = snapshot_read(&xml, &snapshot);
    if (xml.no_memory)
        r = -ENOMEM;
    if (r < 0)
        return r;
    *ret_left_out = xml.n_left_out;
    *ret_snapshot = snapshot;
    snapshot = (struct virt_snapshot){ 0 };
    return 0;
}

/* ---- checkpoints ----------------------------------------------------------------------------- */

static int compare_checkpoint_disks(const void *a, const void *b)
{
    const struct virt_checkpoint_disk *disk_a = a, *disk_b = b;

    return strcmp(disk_a->target, disk_b->target);
}

static int checkpoint_read(struct virt_xml *xml, struct virt_checkpoint *checkpoint)
{
    const xmlNode *root = xml->root,
                  *disks = virt_xml_child(root, "disks");
    size_t n = count_disks(xml, disks);

    checkpoint->name = virt_xml_text(xml, virt_xml_child(root, "name"));
    if (!checkpoint->name)
        return -EBADMSG;
    checkpoint->parent = virt_xml_text(xml, virt_xml_child(virt_xml_child(root, "parent"), "name"));
    checkpoint->created = time_read(xml, virt_xml_child(root, "creationTime"));
    checkpoint->disks = calloc(n + 1, sizeof(*checkpoint->disks));
    if (!checkpoint->disks)
        return -ENOMEM;
    for (const xmlNode *node = virt_xml_child(disks, "disk"); node && checkpoint->n_disks < n;
         node = virt_xml_next(node, "disk")) {
        struct virt_checkpoint_disk *disk = &checkpoint->disks[checkpoint->n_disks];

        disk->target = virt_xml_attribute(xml, node, "name");
        if (!disk->target) {
            xml->n_left_out++;
            continue;
        }
        checkpoint->n_disks++;
        if (virt_xml_attribute_is(node, "checkpoint", "bitmap"))
            disk->bitmap = virt_xml_attribute(xml, node, "bitmap");
    }
    qsort(checkpoint->disks, checkpoint->n_disks, sizeof(*checkpoint->disks),
          compare_checkpoint_disks);
    return 0;
}

int virt_xml_checkpoint(const char *text, struct virt_checkpoint *ret_checkpoint,
                        uint64_t *ret_left_out)
{
    _cleanup_(virt_xml_close) struct virt_xml xml = { 0 };
    _cleanup_(virt_checkpoint_done) struct virt_checkpoint checkpoint = { 0 };
    int r;

    r = virt_xml_open(text, "domaincheckpoint", &xml);
    if (r >= 0)
        r = checkpoint_read(&xml, &checkpoint);
    if (xml.no_memory)
        r = -ENOMEM;
    if (r < 0)
        return r;
    *ret_left_out = xml.n_left_out;
    *ret_checkpoint = checkpoint;
    checkpoint = (struct virt_checkpoint){ 0 };
    return 0;
}

/* ---- a backup under way ---------------------------------------------------------------------- */

int virt_xml_backup(const char *text, char ***ret_files)
{
    static const char *const ends[] = { "target", "scratch" };
    static const char *const attributes[] = { "file", "dev" };
    _cleanup_(virt_xml_close) struct virt_xml xml = { 0 };
    _cleanup_(strv_freep) char **files = NULL;
    const xmlNode *disks;
    size_t n, n_files = 0;
    int r;

    r = virt_xml_open(text, "domainbackup", &xml);
    if (r < 0)
        return r;
    disks = virt_xml_child(xml.root, "disks");
    n = count_disks(&xml, disks);
    files = calloc(n * ELEMENTSOF(ends) * ELEMENTSOF(attributes) + 1, sizeof(*files));
    if (!files)
        return -ENOMEM;
    for (const xmlNode *disk = virt_xml_child(disks, "disk"); disk && n-- > 0;
         disk = virt_xml_next(disk, "disk"))
        for (size_t i = 0; i < ELEMENTSOF(ends) * ELEMENTSOF(attributes); i++) {
            files[n_files] = virt_xml_path(&xml, virt_xml_child(disk, ends[i / 2]),
                                           attributes[i % 2]);
            n_files += files[n_files] != NULL;
        }
    if (xml.no_memory)
        return -ENOMEM;
    *ret_files = TAKE_PTR(files);
    return 0;
}
