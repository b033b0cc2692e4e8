/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Snapshots that libvirt or the image alone knows, and checkpoints without bitmaps or bitmaps
 * without checkpoints. */
#include <errno.h>
#include <string.h>

#include "daemon/judge/domain-internal.h"
#include "helpers/clock.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

/* ---- snapshot-delete-stuck, snapshot-inconsistent -------------------------------------------- */

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

/* Does any layer of the disk hold the internal snapshot? since: usec; an older audit says
 * nothing. */
static enum found disk_has_snapshot(const struct judging_domain *jd, const struct virt_disk *disk,
                                    const char *name, uint64_t since)
{
    const struct image *image = layer_image(jd, disk, 0);

    for (uint32_t n = 0; n < jd->judging.thresholds->chain_limit; n++) {
        const struct layer_report *report = image_layer(image);
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

static void sides_add(struct sides *sides, bool libvirt, const struct virt_disk *disk,
                      const char *path, const char *name)
{
    struct evidence *list = libvirt ? &sides->libvirt_only : &sides->image_only;
    size_t *n = libvirt ? &sides->n_libvirt : &sides->n_image;
    struct evidence item = { .object = NULL };

    if (!sides->first)
        sides->first = name;
    if ((*n)++ >= NAMES_SHOWN)
        return;
    item = evidence_new();
    evidence_text(&item, TEXT_SNAPSHOT, name);
    evidence_text(&item, TEXT_DISK, disk ? disk->target : NULL);
    evidence_text(&item, TEXT_PATH, path);
    evidence_append(list, &item);
}

/* Only libvirt knows it: an internal one that the image does not have, an external one whose
 * overlay is not there. */
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
static void find_image_only(const struct judging_domain *jd, const struct virt_disk *disk,
                            struct sides *sides)
{
    const struct image *image = layer_image(jd, disk, 0);
    const struct layer_report *report = image_layer(image);

    for (size_t i = 0; report && !virt_disk_is_medium(disk) && i < report->info.n_snapshots; i++) {
        const char *name = report->info.snapshots[i].name;
        bool known = false;

        for (size_t k = 0; name && !known && k < jd->domain->n_snapshots; k++)
            known = jd->domain->snapshots[k].name &&
                    strcmp(jd->domain->snapshots[k].name, name) == 0;
        if (!known)
            sides_add(sides, false, disk, image->path, name ? name : "");
    }
}

/* domain, connection, deleting (a name), libvirt-only [snapshot, disk, path], image-only [the
 * same]; libvirt-only-total and image-only-total, of which the first are listed */
int judge_delete(struct judging_domain *jd)
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
        evidence_text(&evidence, TEXT_DELETING, deleting);
        evidence_value(&evidence, PART_LIBVIRT_ONLY, &sides.libvirt_only);
        evidence_value(&evidence, PART_IMAGE_ONLY, &sides.image_only);
        evidence_number(&evidence, NUMBER_LIBVIRT_ONLY_TOTAL, sides.n_libvirt);
        evidence_number(&evidence, NUMBER_IMAGE_ONLY_TOTAL, sides.n_image);
        if (!name)
            r = -ENOMEM;
        else if (deleting)
            r = judging_add(&jd->judging, FINDING_SNAPSHOT_DELETE_STUCK, SEVERITY_ERROR, 1,
                            &evidence, "has a snapshot whose deletion began and did not end: %s",
                            name);
        else
            r = judging_add(&jd->judging, FINDING_SNAPSHOT_INCONSISTENT,
                            sides.n_libvirt > 0 ? SEVERITY_ERROR : SEVERITY_INFO,
                            sides.n_libvirt + sides.n_image, &evidence,
                            "has %zu snapshot%s that only %s: %s%s",
                            sides.n_libvirt > 0 ? sides.n_libvirt : sides.n_image,
                            (sides.n_libvirt > 0 ? sides.n_libvirt : sides.n_image) == 1 ? "" : "s",
                            sides.n_libvirt > 0 ? "libvirt knows" : "the image has", name,
                            sides.n_libvirt + sides.n_image > 1 ? ", ..." : "");
        if (r >= 0)
            judging_hold(&jd->judging, deleting ? FINDING_SNAPSHOT_DELETE_STUCK
                                                : FINDING_SNAPSHOT_INCONSISTENT,
                         jd->judging.thresholds->delete_after);
    }
    evidence_done(&sides.libvirt_only);
    evidence_done(&sides.image_only);
    return r;
}

/* ---- checkpoint-mismatch --------------------------------------------------------------------- */

/* Does a layer of the disk hold the bitmap? */
static enum found disk_has_bitmap(const struct judging_domain *jd, const struct virt_disk *disk,
                                  const char *name)
{
    const struct image *image = layer_image(jd, disk, 0);

    for (uint32_t n = 0; n < jd->judging.thresholds->chain_limit; n++) {
        const struct layer_report *report = image_layer(image);
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

static bool domain_has_checkpoint(const struct virt_domain *domain, const char *target,
                                  const char *bitmap)
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

static void list_checkpoint(struct evidence *list, size_t *n, enum evidence_text member,
                            const char *name, const char *target, const char *path)
{
    struct evidence item = { .object = NULL };

    if ((*n)++ >= NAMES_SHOWN)
        return;
    item = evidence_new();
    evidence_text(&item, member, name);
    evidence_text(&item, TEXT_DISK, target);
    evidence_text(&item, TEXT_PATH, path);
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
            list_checkpoint(list, n, TEXT_CHECKPOINT, checkpoint->name, cd->target,
                            disk->n_layers > 0 ? disk->layers[0].path : NULL);
            break;
        }
    }
}

static void find_lost_checkpoints(const struct judging_domain *jd, const struct virt_disk *disk,
                                  struct evidence *list, size_t *n)
{
    const struct image *image = layer_image(jd, disk, 0);
    const struct layer_report *report = image_layer(image);

    for (size_t i = 0; report && i < report->info.n_bitmaps; i++) {
        const char *name = report->info.bitmaps[i].name;

        if (name && !domain_has_checkpoint(jd->domain, disk->target, name))
            list_checkpoint(list, n, TEXT_BITMAP, name, disk->target, image->path);
    }
}

/* domain, connection, without-bitmap [checkpoint, disk, path], without-checkpoint [bitmap, disk,
 * path]; without-bitmap-total and without-checkpoint-total */
int judge_checkpoints(struct judging_domain *jd)
{
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_evidence_ struct evidence no_bitmap = { .object = NULL },
                                       no_checkpoint = { .object = NULL };
    size_t n_no_bitmap = 0, n_no_checkpoint = 0;
    char checkpoints[64], bitmaps[64];

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
    evidence_value(&evidence, PART_WITHOUT_BITMAP, &no_bitmap);
    evidence_value(&evidence, PART_WITHOUT_CHECKPOINT, &no_checkpoint);
    evidence_number(&evidence, NUMBER_WITHOUT_BITMAP_TOTAL, n_no_bitmap);
    evidence_number(&evidence, NUMBER_WITHOUT_CHECKPOINT_TOTAL, n_no_checkpoint);
    snprintf(checkpoints, sizeof(checkpoints), "%zu checkpoint%s without a bitmap", n_no_bitmap,
             n_no_bitmap == 1 ? "" : "s");
    snprintf(bitmaps, sizeof(bitmaps), "%zu bitmap%s without a checkpoint", n_no_checkpoint,
             n_no_checkpoint == 1 ? "" : "s");
    return judging_add(&jd->judging, FINDING_CHECKPOINT_MISMATCH, SEVERITY_WARNING,
                       n_no_bitmap + n_no_checkpoint, &evidence, "has %s%s%s",
                       n_no_bitmap > 0 ? checkpoints : "",
                       n_no_bitmap > 0 && n_no_checkpoint > 0 ? ", and " : "",
                       n_no_checkpoint > 0 ? bitmaps : "");
}
