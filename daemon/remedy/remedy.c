/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A finding and its relations in, the exact commands out: only those that cannot hurt what they
 * do not name. */
#include "daemon/remedy/remedy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/remedy/gate.h"
#include "helpers/evidence.h"
#include "lib/cleanup.h"

#define BITMAPS_MAX 20          /* commands of one remedy */

static void remedy_done(struct remedy *remedy)
{
    json_object_put(remedy->steps);
}

static bool pointers_are_damaged(const struct qca_check_result *check)
{
    for (int kind = 0; kind < _QCA_ISSUE_MAX; kind++)
        if (qca_check_count(check, kind) > 0 && qca_issue_kind_is_pointer(kind))
            return true;
    return false;
}

/* ---- one finding each ----------------------------------------------------------------------- */

/* The copy is repaired, not the image: what the repair breaks can be had back. */
static void repair_copy(struct remedy *remedy, const struct gate *gate, const struct image *image)
{
    _cleanup_free_ char *copy = remedy_copy_name(remedy, image->path), *quoted_copy = NULL;

    if (copy)
        quoted_copy = remedy_quote(remedy, copy);
    if (!quoted_copy)
        return;
    remedy_text(remedy, "Only where there is no backup, go on with the copy:");
    remedy_command(remedy, gate, "test -f %s && test ! -L %s && qemu-img check -r all %s",
                   quoted_copy, quoted_copy, quoted_copy);
    remedy_text(
        remedy,
        "The repair makes the tables agree; it does not bring data back. Look at the guest's file "
        "systems in the copy before anything relies on it.");
}

static void remedy_corrupt(struct remedy *remedy, const struct graph *graph,
                           const struct image *image)
{
    const struct layer_report *layer = image_layer(image);
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);
    bool burst = remedy_leaks_are_burst(graph, image),
         pointers = layer && pointers_are_damaged(&layer->check);
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    if (!quoted || remedy_snapshot_table(remedy, graph, image))
        return;
    remedy_gate_copy(&gate, image);
    if (!burst && !pointers)
        gate_image(&gate, image, GATE_OPEN);
    if (gate_is_open(&gate)) {
        remedy_step_stop(remedy, &gate, image, quoted);
        remedy_step_keep(remedy, &gate, image);
    }
    remedy_text(remedy, "Restore the image from a backup.");
    if (burst)
        remedy_note(remedy, "No repair is given, because many leaks lie in one place: the repair "
                            "would free data that a lost table referred to. See leak-burst.");
    else if (pointers && !qca_format_has(layer->info.format, QCA_TRAIT_COMMANDS))
        remedy_note(remedy,
                    "No repair is given, because no program is known that mends such damage in a "
                    "%s image. What its other blocks hold can still be read from the copy.",
                    qca_format_name(layer->info.format));
    else if (pointers)
        /* Measured: it leaves such entries as they are, and says that errors remain. */
        remedy_note(
            remedy,
            "No repair is given, because pointers are damaged, and qemu-img check -r all mends the "
            "reference counts around them at best. What the other pointers lead to can still be "
            "read from the copy.");
    else if (gate.open)
        repair_copy(remedy, &gate, image);
}

static void remedy_leaks(struct remedy *remedy, const struct graph *graph,
                         const struct image *image)
{
    const struct layer_report *layer = image_layer(image);
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    if (!quoted || !layer)
        return;
    if (layer->check.corruptions > 0 || layer->check.check_errors > 0 ||
        (layer->info.incompatible_features & (QCA_INCOMPAT_CORRUPT | QCA_INCOMPAT_DIRTY)) ||
        remedy_leaks_are_burst(graph, image)) {
        remedy_text(remedy,
                    "The image has other damage as well: settle that first, and do not free the "
                    "leaks before.");
        return;
    }
    if (remedy_image_is_golden(graph, image)) {
        remedy_text(remedy, "Leave a golden image as it is: the leaks only waste space.");
        return;
    }
    gate_image(&gate, image, GATE_REPAIR);
    remedy_gate_copy(&gate, image);
    if (!gate_is_open(&gate))
        return;
    remedy_step_stop(remedy, &gate, image, quoted);
    remedy_step_keep(remedy, &gate, image);
    remedy_and(remedy, &gate, "qemu-img check -r leaks %s", quoted);
}

static void remedy_burst(struct remedy *remedy, const struct graph *graph,
                         const struct image *image)
{
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    remedy_gate_copy(&gate, image);
    if (gate_is_open(&gate)) {
        remedy_precondition(remedy,
                            "nobody opens the image for writing any more; do not repair it");
        remedy_step_keep(remedy, &gate, image);
    }
    remedy_text(
        remedy,
        "Restore the image from a backup. The copy still holds the clusters that the lost table "
        "referred to.");
}

static void remedy_dirty(struct remedy *remedy, const struct graph *graph,
                         const struct image *image)
{
    const struct layer_report *layer = image_layer(image);
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    if (!quoted || !layer)
        return;
    if (!qca_format_has(layer->info.format, QCA_TRAIT_COMMANDS)) {
        remedy_text(remedy,
                    "Make sure that no program on another host has the image open. What opens it "
                    "for writing next replays its log; until then its content is not known here.");
        return;
    }
    if (!(layer->info.compatible_features & QCA_COMPAT_LAZY_REFCOUNTS)) {
        remedy_text(
            remedy,
            "The image does not use lazy reference counts, so the mark itself is odd: look at "
            "qemu-img check on a copy, and treat it as metadata-corrupt.");
        return;
    }
    gate_image(&gate, image, GATE_REPAIR);
    remedy_gate_copy(&gate, image);
    if (!gate_is_open(&gate))
        return;
    remedy_step_stop(remedy, &gate, image, quoted);
    remedy_precondition(remedy, "no other host has it open");
    remedy_step_keep(remedy, &gate, image);
    remedy_and(remedy, &gate, "qemu-img check -r all %s", quoted);
}

static void remedy_bitmaps(struct remedy *remedy, const struct graph *graph,
                           const struct image *image)
{
    const struct layer_report *layer = image_layer(image);
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);
    size_t n = 0, n_more = 0;

    if (!quoted || !layer)
        return;
    gate_image(&gate, image, GATE_WRITE);
    if (!gate_is_open(&gate))
        return;
    remedy_step_stop(remedy, &gate, image, quoted);
    remedy_precondition(remedy, "a new full backup was made");
    for (size_t i = 0; i < layer->info.n_bitmaps; i++) {
        const struct qca_bitmap *bitmap = &layer->info.bitmaps[i];
        _cleanup_free_ char *name = NULL;

        /* One that begins with a dash would be an option. */
        if (!(bitmap->flags & QCA_BITMAP_IN_USE) || !bitmap->name || !bitmap->name[0] ||
            !remedy_name_is_plain(bitmap->name))
            continue;
        if (n >= BITMAPS_MAX) {
            n_more++;
            continue;
        }
        name = remedy_quote(remedy, bitmap->name);
        if (!name)
            return;
        remedy_command(remedy, &gate, "qemu-img bitmap --remove -- %s %s", quoted, name);
        n++;
    }
    remedy_step_more(remedy, n_more);
}

static void remedy_parent_format(struct remedy *remedy, const struct graph *graph,
                                 const struct image *image)
{
    const struct relation *relation = graph_relation(graph, image);
    const struct layer_report *parent = relation && relation->parent
                                            ? image_layer(relation->parent)
                                            : NULL;
    const char *stored = image->parent.stored,
               *format = parent ? qca_format_name(parent->probed_format) : NULL;
    _cleanup_free_ char *quoted = NULL, *quoted_stored = NULL, *quoted_parent = NULL;
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    if (!parent || !format || parent->probed_format == QCA_FORMAT_UNKNOWN || !stored) {
        remedy_text(remedy,
                    "The parent was not audited, so its format is not known: settle that first.");
        return;
    }
    gate_image(&gate, image, GATE_REFERENCE);
    gate_image(&gate, relation->parent, GATE_PARENT);
    remedy_gate_copy(&gate, image);
    if (!remedy_name_is_plain(stored))
        gate_refuse(&gate, "the parent's name holds characters that not every shell can quote");
    if (!gate_is_open(&gate))
        return;
    quoted = remedy_quote(remedy, image->path);
    quoted_stored = remedy_quote(remedy, stored);
    quoted_parent = remedy_quote(remedy, relation->parent->path);
    if (!quoted || !quoted_stored || !quoted_parent)
        return;
    remedy_step_stop(remedy, &gate, image, quoted);
    remedy_precondition(
        remedy,
        "%s was made as %s: its content says so, but a guest could write what looks like it",
        quoted_parent, format);
    remedy_step_copy(remedy, &gate, image);
    remedy_and(remedy, &gate, "qemu-img rebase -u -F %s -b %s %s", format, quoted_stored, quoted);
}

static void remedy_permissions(struct remedy *remedy, const struct graph *graph,
                               const struct image *image)
{
    const struct relation *relation = graph_relation(graph, image);
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);
    bool golden = relation && relation->golden && !relation->golden_inferred;

    if (!quoted)
        return;
    gate_image(&gate, image, GATE_MODE);
    if (!golden && image->fingerprint.mode & S_IWGRP && image->fingerprint.gid != 0)
        gate_refuse(&gate,
                    "the group of %s (number %" PRIu32 ") may write it, and may be the one by "
                    "which "
                    "its domain opens it: leave that as it is then, else take it away by hand "
                    "(chmod g-w; chmod o-w for everybody else)",
                    quoted, image->fingerprint.gid);
    if (gate_is_open(&gate))
        remedy_command(remedy, &gate, "chmod %s -- %s", golden ? "a-w" : "go-w", quoted);
}

static void remedy_watch(struct remedy *remedy, const struct finding *finding)
{
    const char *reason = evidence_get_text(finding->evidence, TEXT_REASON);

    if (reason && strcmp(reason, "watches-exhausted") == 0)
        remedy_text(remedy, "Raise the limit: sysctl fs.inotify.max_user_watches=1048576, and the "
                            "same line, without sysctl, in a file of /etc/sysctl.d to keep it. "
                            "Then reload qcauditd.");
    if (reason && strcmp(reason, "instances-exhausted") == 0)
        remedy_text(
            remedy,
            "Raise the limit: sysctl fs.inotify.max_user_instances=1024, and the same line, "
            "without sysctl, in a file of /etc/sysctl.d to keep it. Then restart qcauditd.");
}

/* Of another file's name, which only qcauditctl may still have to quote. */
static const char *data_file_name(const struct finding *finding)
{
    const char *path = evidence_get_text(finding->evidence, TEXT_PATH),
               *stored = evidence_get_text(finding->evidence, TEXT_STORED);

    return path ? path : stored ? stored : "that it names";
}

static void remedy_shared_data(struct remedy *remedy, const struct graph *graph,
                               const struct image *image)
{
    struct image *other = NULL;
    size_t n = graph_data_file_users(graph, image, &other, 1);
    _cleanup_free_ char *quoted = NULL;

    if (n == 0)
        return;
    quoted = remedy_quote(remedy, other->path);
    if (!quoted)
        return;
    if (n == 1)
        remedy_text(remedy,
                    "Stop the domains of both images first, of this one and of %s: what is written "
                    "through one of them destroys the other.",
                    quoted);
    else
        remedy_text(remedy,
                    "Stop the domains of all the images first, of this one, of %s and of %zu more "
                    "(the evidence names them): what is written through one of them destroys the "
                    "others.",
                    quoted, n - 1);
}

/* Remedy for a data file that was cut off, is shared, or is as it is meant to be. */
static void remedy_data_file(struct remedy *remedy, const struct graph *graph,
                             const struct finding *finding, const struct image *image)
{
    const char *name = data_file_name(finding);
    bool cut = evidence_has_number(finding->evidence, NUMBER_NEEDED_SIZE),
         shared = evidence_get_list(finding->evidence, PART_ALSO_OF);

    if (image->data_file.state == REFERENCE_FOUND &&
        identity_equal(&image->data_file.identity, &image->identity)) {
        remedy_text(remedy,
                    "Shut the domain off, and restore the image and its data file from a backup: "
                    "what the guest wrote lies over the image's metadata.");
        return;
    }
    if (image_count_extents(image) > 0) {
        remedy_text(remedy,
                    "%s %s from a backup that was made together with the descriptor, before its "
                    "virtual machine is started. Do not convert or copy the disk before: the copy "
                    "would look whole, and hold zeros for what is missing.",
                    cut ? "Restore" : "Bring back, or restore", name);
        return;
    }
    remedy_shared_data(remedy, graph, image);
    if (cut || image->data_file.state == REFERENCE_MISSING)
        remedy_text(remedy,
                    "%s the data file %s from a backup that was made together with the image, "
                    "before its domain is started. Do not convert or copy the image before: the "
                    "copy would look whole, and hold zeros for what is missing.",
                    cut ? "Restore" : "Bring back, or restore", name);
    else if (shared)
        remedy_text(remedy,
                    "Find out whose data %s holds: that image keeps it. Restore the others from "
                    "backups, each with a data file of its own.",
                    name);
    else
        remedy_text(remedy,
                    "Nothing is wrong, if it was made so on purpose: all data of the guest is in "
                    "%s, so that both files are kept, copied and restored together. If not, "
                    "qemu-img convert, with the domain shut off, makes an image without a data "
                    "file.",
                    name);
}

static void remedy_not_understood(struct remedy *remedy, const struct finding *finding)
{
    const char *reason = evidence_get_text(finding->evidence, TEXT_REASON);

    if (reason && strcmp(reason, "format") == 0)
        remedy_text(remedy,
                    "Nothing is to be done. Images that are to be audited can be converted "
                    "(qemu-img convert); those that are not can be left out by a pattern "
                    "(datastores[].exclude).");
}

/* Names files that are left out, each with its end; of many of a kind, the first is named. */
static void remedy_coverage(struct remedy *remedy, const struct finding *finding)
{
    static const struct { const char *reason, *before, *after; } kinds[] = {
        { "mount-gone", "Mount ", " again." },
        { "mount-remote", "Name ", " as a datastore of its own, or exclude it by a pattern "
                                   "(datastores[].exclude)." },
        { "link-to-device", "Name the device to which ",
          " leads in datastores[].devices, or make a storage pool of it; the service sees block "
          "devices only with the drop-in block-devices.conf. Or exclude the link by a pattern "
          "(datastores[].exclude)." },
    };
    json_object *list = evidence_get_list(finding->evidence, PART_LEFT_OUT);

    if (evidence_get_number(finding->evidence, NUMBER_TOO_MANY_FILES) > 0)
        remedy_text(remedy, "Find out who made so many files. Move away what is no image, exclude "
                            "it by a pattern (datastores[].exclude), or raise limits.files.");
    if (!list)
        return;
    for (size_t k = 0; k < ELEMENTSOF(kinds); k++) {
        const char *first = NULL;
        size_t n = 0;

        for (size_t i = 0; i < json_object_array_length(list); i++) {
            json_object *item = json_object_array_get_idx(list, i);
            const char *reason = evidence_get_text(item, TEXT_REASON),
                       *path = evidence_get_text(item, TEXT_PATH);

            if (!reason || !path || strcmp(reason, kinds[k].reason) != 0)
                continue;
            if (n++ == 0)
                first = path;
        }
        if (n == 0)
            continue;
        if (n > 1)
            remedy_text(remedy, "%s%s%s The same goes for %zu more of the evidence.",
                        kinds[k].before, first, kinds[k].after, n - 1);
        else
            remedy_text(remedy, "%s%s%s", kinds[k].before, first, kinds[k].after);
        if (strcmp(kinds[k].reason, "mount-gone") == 0) {
            _cleanup_free_ char *name = remedy_quote(remedy, finding->subject);

            if (name)
                remedy_text(remedy,
                            "If it is gone for good, qcauditctl resume %s lets go of its images.",
                            name);
        }
    }
}

/* Findings of a disk have its own layer as subject: the layers to merge begin at the leaf. */
static const struct image *disk_leaf(const struct graph *graph, const struct image *image)
{
    const struct relation *relation = graph_relation(graph, image);

    return relation && relation->deepest_leaf ? relation->deepest_leaf : image;
}

static const struct image *own_layer(const struct graph *graph, const struct image *image)
{
    const struct relation *relation = graph_relation(graph, image);

    return relation && relation->own_layer ? relation->own_layer : image;
}

static void merge_layers(struct remedy *remedy, const struct graph *graph,
                         const struct image *leaf)
{
    if (graph_is_vmwares(graph, leaf))
        remedy_deltas(remedy, graph, leaf);
    else
        remedy_consolidate(remedy, graph, leaf);
}

static void merge_unmanaged(struct remedy *remedy, const struct graph *graph,
                            const struct image *leaf)
{
    if (graph_is_vmwares(graph, leaf)) {
        remedy_unmanaged_deltas(remedy, graph, leaf);
        return;
    }
    remedy_text(remedy, "First make sure that no backup of the domain is under way: its tool would "
                        "merge the layers.");
    remedy_consolidate(remedy, graph, leaf);
}

static void remedy_image(struct remedy *remedy, const struct graph *graph,
                         const struct finding *finding, const struct image *image)
{
    const char *snapshot;

    switch (finding->type) {
    case FINDING_METADATA_CORRUPT:
    case FINDING_CORRUPT_BIT_SET:
        remedy_corrupt(remedy, graph, image);
        break;
    case FINDING_SNAPSHOT_TABLE_BAD:
        (void)remedy_snapshot_table(remedy, graph, image);
        break;
    case FINDING_CLUSTERS_LEAKED:
        remedy_leaks(remedy, graph, image);
        break;
    case FINDING_LEAK_BURST:
        remedy_burst(remedy, graph, image);
        break;
    case FINDING_DIRTY_BIT_SET:
        remedy_dirty(remedy, graph, image);
        break;
    case FINDING_BITMAP_IN_USE:
        remedy_bitmaps(remedy, graph, image);
        break;
    case FINDING_SNAPSHOT_OLD:
        snapshot = evidence_get_text(finding->evidence, TEXT_SNAPSHOT_ID);
        if (snapshot)
            remedy_snapshots(remedy, graph, image, snapshot);
        else
            merge_layers(remedy, graph, disk_leaf(graph, image));
        break;
    case FINDING_SNAPSHOT_RUNAWAY:
        remedy_text(remedy, "First find the job that takes the snapshots, and stop it.");
        merge_layers(remedy, graph, disk_leaf(graph, image));
        break;
    case FINDING_SNAPSHOT_UNMANAGED:
        merge_unmanaged(remedy, graph, disk_leaf(graph, image));
        break;
    case FINDING_BACKUP_LEFTOVER:
        remedy_text(
            remedy,
            "Look at the log of the backup tool, and use its own clean-up if it has one. Else:");
        if (image->parent.state != REFERENCE_NONE && graph_image_usage(graph, image).n_entries > 0)
            merge_layers(remedy, graph, disk_leaf(graph, own_layer(graph, image)));
        else
            remedy_orphan(remedy, graph, image);
        break;
    case FINDING_SNAPSHOT_LARGE:
        merge_layers(remedy, graph, disk_leaf(graph, own_layer(graph, image)));
        break;
    case FINDING_CHAIN_FORKED:
        remedy_fork(remedy, graph, image);
        break;
    case FINDING_ORPHAN:
        if (graph_is_vmwares(graph, image))
            remedy_leftover_disk(remedy, image);
        else
            remedy_leftover(remedy, graph, image);
        break;
    case FINDING_SHARED_WRITABLE:
        remedy_shared(remedy, graph, image);
        break;
    case FINDING_FOREIGN_WRITER:
        remedy_foreign(remedy, graph, image);
        break;
    case FINDING_RAW_BECAME_IMAGE:
        remedy_raw(remedy, graph, image);
        break;
    case FINDING_FORMAT_MISMATCH:
        if (evidence_get_text(finding->evidence, TEXT_DOMAIN))
            remedy_driver(remedy, graph, image,
                          evidence_get_text(finding->evidence, TEXT_DECLARED));
        break;
    case FINDING_CHAIN_DEEP:
    case FINDING_CHAIN_LIMIT:
        merge_layers(remedy, graph, disk_leaf(graph, image));
        break;
    case FINDING_INTERNAL_SNAPSHOTS:
        remedy_snapshots(remedy, graph, image, NULL);
        break;
    case FINDING_PARENT_FORMAT_MISSING:
        remedy_parent_format(remedy, graph, image);
        break;
    case FINDING_PARENT_MISSING:
        remedy_parent_missing(remedy, graph, image);
        break;
    case FINDING_CHAIN_LOOP:
        remedy_loop(remedy, graph, image);
        break;
    case FINDING_BIT_ROT:
        remedy_rot(remedy, graph, image);
        break;
    case FINDING_GOLDEN_MODIFIED:
    case FINDING_PARENT_CHANGED:
        remedy_modified(remedy, graph, image);
        break;
    case FINDING_PARENT_WRITTEN:
        if (finding->severity == SEVERITY_INFO)
            remedy_text(remedy,
                        "If the folder was copied, nothing has to be done: qcauditctl ack ends "
                        "this. If the image was replaced, start no domain on its overlays: they "
                        "need the image on which they were made, from a backup.");
        break;
    case FINDING_HEADER_INVALID:
    case FINDING_IMAGE_TRUNCATED:
        if (finding->severity == SEVERITY_WARNING && image_name_is_partial(image->path))
            remedy_text(remedy,
                        "The name says that it is an upload or a copy that was not finished, and "
                        "nobody uses it: delete it, or copy it again.");
        break;
    case FINDING_DATA_FILE:
        remedy_data_file(remedy, graph, finding, image);
        break;
    case FINDING_SPACE_RECLAIMABLE:
        remedy_space(remedy, graph, finding, image);
        break;
    case FINDING_PERMISSIONS:
        remedy_permissions(remedy, graph, image);
        break;
    default:                    /* what the catalogue says in general is all there is to say */
        break;
    }
}

int remedy_make(const struct graph *graph, const struct finding *finding, struct looks *looks,
                json_object **ret_remedy)
{
    _cleanup_(remedy_done) struct remedy remedy = {
        .steps = json_object_new_array(), .looks = looks, .finding = finding->id,
    };
    const struct image *image = NULL;

    if (!remedy.steps)
        return -ENOMEM;
    if (finding->subject_kind == SUBJECT_IMAGE)
        image = graph_find(graph, finding->subject);
    if (image)
        remedy_image(&remedy, graph, finding, image);
    else if (finding->subject_kind == SUBJECT_DOMAIN)
        remedy_domain(&remedy, graph, finding);
    else if (finding->type == FINDING_WATCH_DEGRADED)
        remedy_watch(&remedy, finding);
    else if (finding->type == FINDING_NOT_AUDITABLE)
        remedy_not_understood(&remedy, finding);
    else if (finding->type == FINDING_COVERAGE_GAP)
        remedy_coverage(&remedy, finding);
    if (remedy.error < 0)
        return remedy.error;
    *ret_remedy = json_object_array_length(remedy.steps) > 0 ? TAKE_PTR(remedy.steps) : NULL;
    return 0;
}
