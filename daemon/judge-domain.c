/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of domains: what stands still, what was deleted under them, where libvirt's three ideas of a disk and its
 * snapshots disagree with the files. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/judge-internal.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define NAMES_SHOWN 20

/* One domain under judgement. */
struct judging_domain {
    struct judging judging;
    const struct virt_domain *domain;
    const struct virt_status *status;
    const struct usage_index *index;
};

static struct evidence domain_evidence(const struct judging_domain *jd)
{
    struct evidence evidence = evidence_new();

    evidence_text(&evidence, "domain", jd->domain->name);
    evidence_text(&evidence, "connection", usage_domain_uri(jd->status, jd->domain));
    return evidence;
}

static bool disk_is_removable(const struct virt_disk *disk)
{
    return disk->device && (strcmp(disk->device, "cdrom") == 0 || strcmp(disk->device, "floppy") == 0);
}

/* The image that a layer is; NULL when it is not known. */
static const struct image *layer_image(const struct judging_domain *jd, const struct virt_disk *disk, size_t layer)
{
    const char *path = layer < disk->n_layers ? disk->layers[layer].path : NULL;
    const struct image *image = path ? graph_find(jd->judging.graph, usage_path(jd->index, path)) : NULL;

    return image && image->present ? image : NULL;
}

static const struct layer_report *image_report(const struct image *image)
{
    const struct audit_report *report = image && image->audit ? image->audit->report : NULL;

    return report && report->error == 0 && report->n_layers > 0 ? &report->layers[0] : NULL;
}

static bool domain_has_job(const struct virt_domain *domain)
{
    for (size_t i = 0; i < domain->n_disks; i++)
        if (domain->disks[i].job.type)
            return true;
    return domain->backup || domain->migrating;
}

/* ---- domain-io-error, memory-below-minimum, block-job-stalled -------------------------------------------- */

/* domain, connection, disks [disk, error, path] */
static int judge_io_error(struct judging_domain *jd)
{
    _cleanup_evidence_ struct evidence evidence = { .object = NULL }, disks = { .object = NULL };
    const struct virt_disk *first = NULL;
    _cleanup_free_ char *target = NULL, *error = NULL;

    disks = evidence_new_list();
    for (size_t i = 0; i < jd->domain->n_disks; i++) {
        const struct virt_disk *disk = &jd->domain->disks[i];
        struct evidence item = { .object = NULL };

        if (!disk->error)
            continue;
        first = first ? first : disk;
        item = evidence_new();
        evidence_text(&item, "disk", disk->target);
        evidence_text(&item, "error", disk->error);
        evidence_text(&item, "path", disk->n_layers > 0 ? disk->layers[0].path : NULL);
        evidence_append(&disks, &item);
    }
    if (!first && !jd->domain->io_error)
        return 0;
    target = text_escape_string(first ? first->target : "");
    error = text_escape_string(first ? first->error : "");
    if (!target || !error)
        return -ENOMEM;
    evidence = domain_evidence(jd);
    evidence_value(&evidence, "disks", &disks);
    return judging_add(&jd->judging, FINDING_DOMAIN_IO_ERROR, SEVERITY_CRITICAL, 1, &evidence,
                       "is %s an I/O error%s%s%s%s", jd->domain->io_error ? "paused because of" : "in trouble with",
                       first ? ": " : "", target, first ? ": " : "", error);
}

/* domain, connection, memory-bytes, minimum-bytes, class, path */
static int judge_memory(struct judging_domain *jd)
{
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    const struct policy_class *needs = NULL;
    const char *needs_path = NULL;
    char has[TEXT_SIZE_MAX], wants[TEXT_SIZE_MAX];

    for (size_t i = 0; i < jd->domain->n_disks; i++) {
        const struct virt_disk *disk = &jd->domain->disks[i];
        const struct image *image = layer_image(jd, disk, 0);
        const char *path = disk->n_layers > 0 ? disk->layers[0].path : NULL;

        for (uint32_t n = 0; path && n < jd->judging.thresholds->chain_limit; n++) {
            const struct policy_class *class = policy_class_of(jd->judging.policy, path);
            const struct relation *relation = image ? graph_relation(jd->judging.graph, image) : NULL;

            if (class && class->memory > (needs ? needs->memory : 0)) {
                needs = class;
                needs_path = path;
            }
            image = relation && !relation->in_loop ? relation->parent : NULL;
            path = image ? image->path : NULL;
        }
    }
    if (!needs || jd->domain->memory_max == 0 || jd->domain->memory_max >= needs->memory)
        return 0;
    evidence = domain_evidence(jd);
    evidence_number(&evidence, "memory-bytes", jd->domain->memory_max);
    evidence_number(&evidence, "minimum-bytes", needs->memory);
    evidence_text(&evidence, "class", needs->name);
    evidence_text(&evidence, "path", needs_path);
    return judging_add(&jd->judging, FINDING_MEMORY_BELOW_MINIMUM, SEVERITY_WARNING, 1, &evidence,
                       "has %s of memory; the class %s needs %s", text_size(jd->domain->memory_max, has), needs->name,
                       text_size(needs->memory, wants));
}

/* domain, connection, disk, job, ready-at, path, mirror */
static int judge_job(struct judging_domain *jd)
{
    uint64_t after = jd->judging.thresholds->job_after, now = jd->judging.now;
    const struct virt_disk *stalled = NULL;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ char *target = NULL, *type = NULL;
    char age[TEXT_DURATION_MAX];
    uint64_t waited;
    int r;

    for (size_t i = 0; i < jd->domain->n_disks; i++) {
        const struct virt_disk *disk = &jd->domain->disks[i];

        if (disk->job.type && disk->job.ready && disk->job.ready_since > 0 &&
            (!stalled || disk->job.ready_since < stalled->job.ready_since))
            stalled = disk;
    }
    if (!stalled)
        return 0;
    waited = now > stalled->job.ready_since ? now - stalled->job.ready_since : 0;
    target = text_escape_string(stalled->target);
    type = text_escape_string(stalled->job.type);
    if (!target || !type)
        return -ENOMEM;
    evidence = domain_evidence(jd);
    evidence_text(&evidence, "disk", stalled->target);
    evidence_text(&evidence, "job", stalled->job.type);
    evidence_number(&evidence, "ready-at", stalled->job.ready_since);
    evidence_text(&evidence, "path", stalled->n_layers > 0 ? stalled->layers[0].path : NULL);
    evidence_text(&evidence, "mirror", stalled->job.mirror);
    r = judging_add(&jd->judging, FINDING_BLOCK_JOB_STALLED, SEVERITY_WARNING, 1, &evidence,
                    "has a block job (%s) on disk %s that is ready since %s and waits to be ended", type, target,
                    text_duration(waited, age));
    if (r >= 0 && waited < after)
        judging_hold(&jd->judging, FINDING_BLOCK_JOB_STALLED, after - waited);
    return r;
}

/* ---- definition-differs --------------------------------------------------------------------------------------- */

static void evidence_chain(struct evidence *evidence, const char *key, const struct virt_disk *disk)
{
    _cleanup_evidence_ struct evidence list = evidence_new_list();

    for (size_t i = 0; disk && i < disk->n_layers && i < NAMES_SHOWN; i++) {
        struct evidence item = evidence_new();

        evidence_text(&item, "path", disk->layers[i].path ? disk->layers[i].path : disk->layers[i].name);
        evidence_append(&list, &item);
    }
    evidence_value(evidence, key, &list);
}

static void evidence_files(struct evidence *evidence, const struct judging_domain *jd, const struct image *image)
{
    _cleanup_evidence_ struct evidence list = evidence_new_list();

    for (size_t i = 0; image && i < NAMES_SHOWN; i++) {
        const struct relation *relation = graph_relation(jd->judging.graph, image);
        struct evidence item = evidence_new();

        evidence_text(&item, "path", image->path);
        evidence_append(&list, &item);
        image = relation && !relation->in_loop ? relation->parent : NULL;
    }
    evidence_value(evidence, "on-disk", &list);
}

static const struct virt_disk *find_target(const struct virt_disk *disks, size_t n, const char *target)
{
    for (size_t i = 0; i < n; i++)
        if (disks[i].target && target && strcmp(disks[i].target, target) == 0)
            return &disks[i];
    return NULL;
}

static bool sources_differ(const struct virt_disk *live, const struct virt_disk *defined)
{
    if (live->n_layers == 0 || defined->n_layers == 0 || !live->layers[0].path || !defined->layers[0].path)
        return false;
    return strcmp(live->layers[0].path, defined->layers[0].path) != 0;
}

/* Is what libvirt has below a layer another file than what its image says? Only where both are known for sure. */
static bool chain_differs(const struct judging_domain *jd, const struct virt_disk *disk)
{
    for (size_t i = 0; i < disk->n_layers; i++) {
        const struct image *image = layer_image(jd, disk, i), *below;
        const struct relation *relation = image ? graph_relation(jd->judging.graph, image) : NULL;

        if (!image_report(image) || !relation || relation->pending || relation->in_loop)
            return false;
        if (i + 1 < disk->n_layers) {
            below = layer_image(jd, disk, i + 1);
            if (!below)
                return false;
            if (image->parent.state == REFERENCE_NONE || (relation->parent && relation->parent != below))
                return true;
            if (!relation->parent)
                return false;
        } else if (disk->complete && i > 0 && relation->parent) {
            return true;
        }
    }
    return false;
}

/* domain, connection, disk, live [path], defined [path], on-disk [path], what */
static int add_differs(struct judging_domain *jd, const struct virt_disk *live, const struct virt_disk *defined,
                       const char *what, const char *before, const char *after)
{
    const struct virt_disk *disk = live ? live : defined;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ char *target = text_escape_string(disk->target);
    int r;

    if (!target)
        return -ENOMEM;
    evidence = domain_evidence(jd);
    evidence_text(&evidence, "disk", disk->target);
    evidence_text(&evidence, "what", what);
    if (live)
        evidence_chain(&evidence, "live", live);
    if (defined)
        evidence_chain(&evidence, "defined", defined);
    evidence_files(&evidence, jd, layer_image(jd, disk, 0));
    r = judging_add(&jd->judging, FINDING_DEFINITION_DIFFERS, SEVERITY_ERROR, 1, &evidence, "%s disk %s%s", before,
                    target, after);
    if (r >= 0)
        judging_hold(&jd->judging, FINDING_DEFINITION_DIFFERS, jd->judging.thresholds->differs_after);
    return r;
}

static int judge_definition(struct judging_domain *jd)
{
    const struct virt_domain *domain = jd->domain;
    bool active = virt_domain_is_active(domain);

    for (size_t i = 0; i < domain->n_disks; i++) {
        const struct virt_disk *disk = &domain->disks[i], *defined;
        const struct usage_entry *entry;

        if (disk_is_removable(disk) || disk->transient || disk->job.type)
            continue;
        defined = find_target(domain->defined_disks, domain->n_defined_disks, disk->target);
        if (active && defined && !defined->transient && sources_differ(disk, defined))
            return add_differs(jd, disk, defined, "source", "runs on another image as",
                               " than the one that its definition names");
        if (chain_differs(jd, disk))
            return add_differs(jd, active ? disk : NULL, active ? defined : disk, "chain",
                               "has, in libvirt, other layers for", " than the files have");
        entry = usage_of_layer(jd->index, disk, 0);
        if (!active && entry && entry->missing)
            return add_differs(jd, NULL, disk, "missing", "is defined with an image as", " that is not there");
    }
    return 0;
}

/* ---- deleted-in-use -------------------------------------------------------------------------------------------- */

static void evidence_identity(struct evidence *evidence, const char *key, const struct identity *identity)
{
    _cleanup_evidence_ struct evidence item = evidence_new();

    evidence_number(&item, "inode", identity->inode);
    evidence_number(&item, "fsid", identity->fsid);
    if (identity->btime > 0)
        evidence_number(&item, "born-at", (uint64_t)identity->btime / 1000);
    evidence_value(evidence, key, &item);
}

/* Another file has taken the layer's place, and nobody has that one open. */
static bool layer_is_replaced(const struct judging_domain *jd, const struct usage_entry *entry, const struct image *image)
{
    const struct audit *audit = image->audit;

    return entry->noted && !identity_equal(&entry->identity, &image->identity) && audit &&
           identity_equal(&audit->identity, &image->identity) && audit->started > jd->domain->started &&
           audit->locked == FILES_UNUSED;
}

/* domain, connection, disk, path, layer, noted {inode, ...}, there {...}, how ("gone", "replaced") */
static int judge_deleted(struct judging_domain *jd)
{
    for (size_t i = 0; i < jd->domain->n_disks; i++) {
        const struct virt_disk *disk = &jd->domain->disks[i];

        for (size_t layer = 0; !disk_is_removable(disk) && layer < disk->n_layers; layer++) {
            const struct usage_entry *entry = usage_of_layer(jd->index, disk, layer);
            const struct image *image = layer_image(jd, disk, layer);
            _cleanup_evidence_ struct evidence evidence = { .object = NULL };
            _cleanup_free_ char *target = NULL, *name = NULL;
            bool gone = entry && entry->missing && !image;

            if (!entry || !entry->live || !(gone || (image && layer_is_replaced(jd, entry, image))))
                continue;
            target = text_escape_string(disk->target);
            name = name_words(entry->path);
            if (!target || !name)
                return -ENOMEM;
            evidence = domain_evidence(jd);
            evidence_text(&evidence, "disk", disk->target);
            evidence_text(&evidence, "path", entry->path);
            evidence_text(&evidence, "format", disk->layers[0].format);
            evidence_number(&evidence, "layer", layer);
            evidence_text(&evidence, "how", gone ? "gone" : "replaced");
            if (entry->noted)
                evidence_identity(&evidence, "noted", &entry->identity);
            if (image)
                evidence_identity(&evidence, "there", &image->identity);
            if (judging_add(&jd->judging, FINDING_DELETED_IN_USE, SEVERITY_CRITICAL, 1, &evidence,
                            gone ? "runs on a deleted image: %s, disk %s; do not stop it"
                                 : "runs on an image in whose place another file lies: %s, disk %s; do not stop it",
                            name, target) < 0)
                return -ENOMEM;
            judging_hold(&jd->judging, FINDING_DELETED_IN_USE, jd->judging.thresholds->deleted_after);
            return 0;
        }
    }
    return 0;
}

/* ---- snapshot-delete-stuck --------------------------------------------------------------------------------------- */

/* The names of snapshots that are on one side only. */
struct sides {
    struct evidence libvirt_only, image_only;
    size_t n_libvirt, n_image;
    const char *first;          /* hostile */
};

static bool image_has_snapshot(const struct layer_report *report, const char *name)
{
    for (size_t i = 0; i < report->info.n_snapshots; i++)
        if (report->info.snapshots[i].name && strcmp(report->info.snapshots[i].name, name) == 0)
            return true;
    return false;
}

enum found { FOUND_YES, FOUND_NO, FOUND_UNKNOWN };

/* Does any layer of the disk hold the internal snapshot? since: usec; an older audit says nothing. */
static enum found disk_has_snapshot(const struct judging_domain *jd, const struct virt_disk *disk, const char *name,
                                    uint64_t since)
{
    const struct image *image = layer_image(jd, disk, 0);

    for (uint32_t n = 0; n < jd->judging.thresholds->chain_limit; n++) {
        const struct layer_report *report = image_report(image);
        const struct relation *relation = image ? graph_relation(jd->judging.graph, image) : NULL;

        if (!report || !relation || relation->pending || relation->in_loop)
            return FOUND_UNKNOWN;
        if (image_has_snapshot(report, name))
            return FOUND_YES;
        if (n == 0 && image->audit->started <= since + 2 * USEC_PER_SEC)
            return FOUND_UNKNOWN;
        if (!relation->parent)
            return image->parent.state == REFERENCE_NONE ? FOUND_NO : FOUND_UNKNOWN;
        image = relation->parent;
    }
    return FOUND_UNKNOWN;
}

static void sides_add(struct sides *sides, bool libvirt, const struct virt_disk *disk, const char *path,
                      const char *name)
{
    struct evidence *list = libvirt ? &sides->libvirt_only : &sides->image_only;
    size_t *n = libvirt ? &sides->n_libvirt : &sides->n_image;
    struct evidence item = { .object = NULL };

    if (!sides->first)
        sides->first = name;
    if ((*n)++ >= NAMES_SHOWN)
        return;
    item = evidence_new();
    evidence_text(&item, "snapshot", name);
    evidence_text(&item, "disk", disk ? disk->target : NULL);
    evidence_text(&item, "path", path);
    evidence_append(list, &item);
}

/* Only libvirt knows it: an internal one that the image does not have, an external one whose overlay is not there. */
static void find_libvirt_only(const struct judging_domain *jd, const struct virt_snapshot *snapshot,
                              struct sides *sides)
{
    for (size_t i = 0; i < snapshot->n_disks; i++) {
        const struct virt_snapshot_disk *sd = &snapshot->disks[i];
        const struct virt_disk *disk = virt_find_disk(jd->domain, sd->target);

        if (sd->kind == VIRT_SNAPSHOT_EXTERNAL && sd->path) {
            struct usage usage = usage_find(jd->index, usage_path(jd->index, sd->path));

            if (usage.n_entries == 0 || !usage.entries[0].missing)
                continue;
            sides_add(sides, true, disk, sd->path, snapshot->name);
            return;
        }
        if (sd->kind == VIRT_SNAPSHOT_INTERNAL && disk && snapshot->name &&
            disk_has_snapshot(jd, disk, snapshot->name, snapshot->created) == FOUND_NO) {
            sides_add(sides, true, disk, disk->layers[0].path, snapshot->name);
            return;
        }
    }
}

/* Only the image has it. */
static void find_image_only(const struct judging_domain *jd, const struct virt_disk *disk, struct sides *sides)
{
    const struct image *image = layer_image(jd, disk, 0);
    const struct layer_report *report = image_report(image);

    for (size_t i = 0; report && !disk_is_removable(disk) && i < report->info.n_snapshots; i++) {
        const char *name = report->info.snapshots[i].name;
        bool known = false;

        for (size_t k = 0; name && !known && k < jd->domain->n_snapshots; k++)
            known = jd->domain->snapshots[k].name && strcmp(jd->domain->snapshots[k].name, name) == 0;
        if (!known)
            sides_add(sides, false, disk, image->path, name ? name : "");
    }
}

/* domain, connection, deleting (a name), libvirt-only [snapshot, disk, path], image-only [the same]; libvirt-only-total and
 * image-only-total, of which the first are listed */
static int judge_delete(struct judging_domain *jd)
{
    struct sides sides = { .libvirt_only = evidence_new_list(), .image_only = evidence_new_list() };
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    const char *deleting = NULL;
    _cleanup_free_ char *name = NULL;
    int r = 0;

    for (size_t i = 0; i < jd->domain->n_snapshots; i++) {
        if (jd->domain->snapshots[i].deleting && !domain_has_job(jd->domain) && !deleting)
            deleting = jd->domain->snapshots[i].name;
        find_libvirt_only(jd, &jd->domain->snapshots[i], &sides);
    }
    for (size_t i = 0; i < jd->domain->n_disks; i++)
        find_image_only(jd, &jd->domain->disks[i], &sides);
    if (deleting || sides.n_libvirt + sides.n_image > 0) {
        name = text_escape_string(deleting ? deleting : sides.first);
        evidence = domain_evidence(jd);
        evidence_text(&evidence, "deleting", deleting);
        evidence_value(&evidence, "libvirt-only", &sides.libvirt_only);
        evidence_value(&evidence, "image-only", &sides.image_only);
        evidence_number(&evidence, "libvirt-only-total", sides.n_libvirt);
        evidence_number(&evidence, "image-only-total", sides.n_image);
        if (!name)
            r = -ENOMEM;
        else if (deleting)
            r = judging_add(&jd->judging, FINDING_SNAPSHOT_DELETE_STUCK, SEVERITY_ERROR, 1, &evidence,
                            "has a snapshot whose deletion began and did not end: %s", name);
        else
            r = judging_add(&jd->judging, FINDING_SNAPSHOT_DELETE_STUCK,
                            sides.n_libvirt > 0 ? SEVERITY_ERROR : SEVERITY_WARNING, sides.n_libvirt + sides.n_image,
                            &evidence, "has %zu snapshot%s that only %s: %s%s",
                            sides.n_libvirt > 0 ? sides.n_libvirt : sides.n_image,
                            (sides.n_libvirt > 0 ? sides.n_libvirt : sides.n_image) == 1 ? "" : "s",
                            sides.n_libvirt > 0 ? "libvirt knows" : "the image has", name,
                            sides.n_libvirt + sides.n_image > 1 ? ", ..." : "");
        if (r >= 0)
            judging_hold(&jd->judging, FINDING_SNAPSHOT_DELETE_STUCK, jd->judging.thresholds->delete_after);
    }
    evidence_done(&sides.libvirt_only);
    evidence_done(&sides.image_only);
    return r;
}

/* ---- checkpoint-mismatch -------------------------------------------------------------------------------------------- */

/* Does a layer of the disk hold the bitmap? */
static enum found disk_has_bitmap(const struct judging_domain *jd, const struct virt_disk *disk, const char *name)
{
    const struct image *image = layer_image(jd, disk, 0);

    for (uint32_t n = 0; n < jd->judging.thresholds->chain_limit; n++) {
        const struct layer_report *report = image_report(image);
        const struct relation *relation = image ? graph_relation(jd->judging.graph, image) : NULL;

        if (!report || !relation || relation->pending || relation->in_loop ||
            image->audit->confidence < CONFIDENCE_FROZEN)
            return FOUND_UNKNOWN;
        for (size_t i = 0; i < report->info.n_bitmaps; i++)
            if (report->info.bitmaps[i].name && strcmp(report->info.bitmaps[i].name, name) == 0)
                return FOUND_YES;
        if (!relation->parent)
            return image->parent.state == REFERENCE_NONE ? FOUND_NO : FOUND_UNKNOWN;
        image = relation->parent;
    }
    return FOUND_UNKNOWN;
}

static bool domain_has_checkpoint(const struct virt_domain *domain, const char *target, const char *bitmap)
{
    for (size_t i = 0; i < domain->n_checkpoints; i++)
        for (size_t k = 0; k < domain->checkpoints[i].n_disks; k++) {
            const struct virt_checkpoint_disk *disk = &domain->checkpoints[i].disks[k];

            if (disk->bitmap && disk->target && strcmp(disk->bitmap, bitmap) == 0 &&
                strcmp(disk->target, target) == 0)
                return true;
        }
    return false;
}

static void list_checkpoint(struct evidence *list, size_t *n, const char *key, const char *name, const char *target,
                            const char *path)
{
    struct evidence item = { .object = NULL };

    if ((*n)++ >= NAMES_SHOWN)
        return;
    item = evidence_new();
    evidence_text(&item, key, name);
    evidence_text(&item, "disk", target);
    evidence_text(&item, "path", path);
    evidence_append(list, &item);
}

static void find_lost_bitmaps(const struct judging_domain *jd, struct evidence *list, size_t *n)
{
    for (size_t i = 0; i < jd->domain->n_checkpoints; i++) {
        const struct virt_checkpoint *checkpoint = &jd->domain->checkpoints[i];

        for (size_t k = 0; k < checkpoint->n_disks; k++) {
            const struct virt_checkpoint_disk *cd = &checkpoint->disks[k];
            const struct virt_disk *disk = virt_find_disk(jd->domain, cd->target);

            if (!cd->bitmap || !disk || disk_has_bitmap(jd, disk, cd->bitmap) != FOUND_NO)
                continue;
            list_checkpoint(list, n, "checkpoint", checkpoint->name, cd->target,
                            disk->n_layers > 0 ? disk->layers[0].path : NULL);
            break;
        }
    }
}

static void find_lost_checkpoints(const struct judging_domain *jd, const struct virt_disk *disk, struct evidence *list,
                                  size_t *n)
{
    const struct image *image = layer_image(jd, disk, 0);
    const struct layer_report *report = image_report(image);

    for (size_t i = 0; report && i < report->info.n_bitmaps; i++) {
        const char *name = report->info.bitmaps[i].name;

        if (name && !domain_has_checkpoint(jd->domain, disk->target, name))
            list_checkpoint(list, n, "bitmap", name, disk->target, image->path);
    }
}

/* domain, connection, without-bitmap [checkpoint, disk, path], without-checkpoint [bitmap, disk, path];
 * without-bitmap-total and without-checkpoint-total */
static int judge_checkpoints(struct judging_domain *jd)
{
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_evidence_ struct evidence no_bitmap = { .object = NULL }, no_checkpoint = { .object = NULL };
    size_t n_no_bitmap = 0, n_no_checkpoint = 0;

    /* A running QEMU keeps bitmaps in memory; the image has them when it stopped. */
    if (virt_domain_is_active(jd->domain)) {
        jd->judging.judgement->judged[FINDING_CHECKPOINT_MISMATCH] = false;
        return 0;
    }
    no_bitmap = evidence_new_list();
    no_checkpoint = evidence_new_list();
    find_lost_bitmaps(jd, &no_bitmap, &n_no_bitmap);
    for (size_t i = 0; i < jd->domain->n_disks; i++)
        find_lost_checkpoints(jd, &jd->domain->disks[i], &no_checkpoint, &n_no_checkpoint);
    if (n_no_bitmap + n_no_checkpoint == 0)
        return 0;
    evidence = domain_evidence(jd);
    evidence_value(&evidence, "without-bitmap", &no_bitmap);
    evidence_value(&evidence, "without-checkpoint", &no_checkpoint);
    evidence_number(&evidence, "without-bitmap-total", n_no_bitmap);
    evidence_number(&evidence, "without-checkpoint-total", n_no_checkpoint);
    return judging_add(&jd->judging, FINDING_CHECKPOINT_MISMATCH, SEVERITY_WARNING, n_no_bitmap + n_no_checkpoint,
                       &evidence, "has %zu checkpoint%s without a bitmap, and %zu bitmap%s without a checkpoint",
                       n_no_bitmap, n_no_bitmap == 1 ? "" : "s", n_no_checkpoint, n_no_checkpoint == 1 ? "" : "s");
}

/* Is there a path of a disk or snapshot of which nobody knows yet whether something is there? */
static bool path_is_pending(const struct judging_domain *jd, const char *path)
{
    struct usage usage = path ? usage_find(jd->index, usage_path(jd->index, path)) : (struct usage){ .n_entries = 0 };

    return usage.n_entries > 0 && usage.entries[0].pending;
}

static bool domain_is_pending(const struct judging_domain *jd)
{
    const struct virt_domain *domain = jd->domain;

    for (size_t i = 0; i < domain->n_disks; i++)
        for (size_t layer = 0; layer < domain->disks[i].n_layers; layer++)
            if (path_is_pending(jd, domain->disks[i].layers[layer].path))
                return true;
    for (size_t i = 0; i < domain->n_snapshots; i++)
        for (size_t k = 0; k < domain->snapshots[i].n_disks; k++)
            if (path_is_pending(jd, domain->snapshots[i].disks[k].path))
                return true;
    return false;
}

/* What stands on paths that are missing is not resolved by what was not looked up: after a start, while a datastore is
 * offline. */
static void judge_pending(struct judging_domain *jd)
{
    static const enum finding_type types[] = { FINDING_DEFINITION_DIFFERS, FINDING_DELETED_IN_USE,
                                               FINDING_SNAPSHOT_DELETE_STUCK };

    if (!domain_is_pending(jd))
        return;
    for (size_t i = 0; i < ELEMENTSOF(types); i++)
        if (!judging_has(&jd->judging, types[i]))
            jd->judging.judgement->judged[types[i]] = false;
}

/* ---- all of it --------------------------------------------------------------------------------------------------------- */

int judge_domain(const struct policy *policy, const struct graph *graph, const struct virt_domain *domain, uint64_t now,
                 struct judgement *ret_judgement)
{
    static const enum finding_type types[] = {
        FINDING_DOMAIN_IO_ERROR, FINDING_MEMORY_BELOW_MINIMUM, FINDING_BLOCK_JOB_STALLED, FINDING_DEFINITION_DIFFERS,
        FINDING_DELETED_IN_USE, FINDING_SNAPSHOT_DELETE_STUCK, FINDING_CHECKPOINT_MISMATCH,
    };
    static int (*const judges[])(struct judging_domain *jd) = {
        judge_io_error, judge_memory, judge_job, judge_definition, judge_deleted, judge_delete, judge_checkpoints,
    };
    struct judgement judgement = { .confidence = CONFIDENCE_OFFLINE };
    struct judging_domain jd = {
        .judging = { .thresholds = &policy->thresholds, .policy = policy, .graph = graph, .now = now,
                     .judgement = &judgement },
        .domain = domain,
        .status = usage_status(graph_usage(graph)),
        .index = graph_usage(graph),
    };
    int r = 0;

    if (virt_domain_is_active(domain))
        judgement.confidence = CONFIDENCE_CONFIRMED;
    if (domain_is_known(graph, domain)) {
        for (size_t i = 0; i < ELEMENTSOF(types); i++)
            judging_looked(&jd.judging, types[i]);
        for (size_t i = 0; i < ELEMENTSOF(judges) && r >= 0; i++)
            r = judges[i](&jd);
        judge_pending(&jd);
    }
    if (r < 0) {
        judgement_done(&judgement);
        return r;
    }
    *ret_judgement = judgement;
    return 0;
}
