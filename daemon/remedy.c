/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A finding and its relations in, the exact commands out: only those that cannot hurt what they
 * do not name. */
#include "daemon/remedy.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "helpers/text.h"
#include "lib/cleanup.h"

#define SNAPSHOTS_MAX 20        /* commands of one remedy */
#define LAYERS_NAMED 10
#define LEAKS_ARE_BURST                                                                            \
    256 /* the default of leak-burst: with so many in one place nothing is freed */
#define MANY_LAYERS 500         /* every layer is an open file, and 1,024 is the usual limit */

/* A remedy being written; once something failed, the end says so. */
struct remedy {
    json_object *steps;
    int error;
};

static void remedy_done(struct remedy *remedy)
{
    json_object_put(remedy->steps);
}

__attribute__((format(printf, 3, 0))) static void remedy_add(struct remedy *remedy, const char *key,
                                                             const char *format, va_list arguments)
{
    _cleanup_free_ char *text = NULL;
    json_object *step, *string = NULL;

    if (remedy->error < 0)
        return;
    if (vasprintf(&text, format, arguments) < 0) {
        text = NULL;
        remedy->error = -ENOMEM;
        return;
    }
    step = json_object_new_object();
    string = json_object_new_string(text);
    if (!step || !string || json_object_object_add(step, key, string) < 0) {
        json_object_put(string);
        json_object_put(step);
        remedy->error = -ENOMEM;
    } else if (json_object_array_add(remedy->steps, step) < 0) {
        json_object_put(step);
        remedy->error = -ENOMEM;
    }
}

#define DEFINE_STEP(name, key)                                                                     \
    __attribute__((format(printf, 2, 3))) static void name(struct remedy *remedy,                  \
                                                           const char *format, ...)                \
    {                                                                                              \
        va_list arguments;                                                                         \
                                                                                                   \
        va_start(arguments, format);                                                               \
        remedy_add(remedy, key, format, arguments);                                                \
        va_end(arguments);                                                                         \
    }

DEFINE_STEP(remedy_precondition, "precondition")
DEFINE_STEP(remedy_command, "command")
DEFINE_STEP(remedy_text, "text")

/* A name as one shell word; NULL when the remedy has failed. Names that only some shells could
 * quote are told to be renamed first: see names_are_plain(). */
static char *remedy_quote(struct remedy *remedy, const char *name)
{
    char *quoted = NULL;
    int r;

    if (remedy->error < 0)
        return NULL;
    r = text_quote_shell(name, &quoted);
    if (r < 0) {
        remedy->error = r;
        return NULL;
    }
    return quoted;
}

static bool name_is_plain(const char *name)
{
    return text_is_safe(name, strlen(name));
}

/* ---- what is known of an image -------------------------------------------------------------- */

static const struct layer_report *image_layer(const struct image *image)
{
    const struct audit_report *report = image->audit ? image->audit->report : NULL;

    return report && report->error == 0 && report->n_layers > 0 ? &report->layers[0] : NULL;
}

/* Nothing is known to be wrong with its tables. */
static bool image_is_sound(const struct image *image)
{
    const struct layer_report *layer = image_layer(image);

    if (!layer ||
        (layer->info.incompatible_features & (QCA_INCOMPAT_CORRUPT | QCA_INCOMPAT_DIRTY)) ||
        layer->check.burst_leaks >= LEAKS_ARE_BURST)
        return false;
    return layer->info.format == QCA_FORMAT_RAW ||
           (layer->checked && layer->check.finished && layer->check.corruptions == 0 &&
            layer->check.check_errors == 0);
}

static bool image_is_golden(const struct graph *graph, const struct image *image)
{
    const struct relation *relation = graph_relation(graph, image);

    return relation && relation->golden;
}

/* ---- steps that many remedies share --------------------------------------------------------- */

static void step_stop(struct remedy *remedy, const struct image *image, const char *quoted)
{
    remedy_precondition(remedy,
                        "%sthe domain that uses %s is shut off, and no other program has it open",
                        image->use != FILES_UNUSED ? "it is in use now: " : "", quoted);
}

static void step_copy(struct remedy *remedy, const char *path)
{
    _cleanup_free_ char *copy = NULL, *quoted = remedy_quote(remedy, path), *quoted_copy = NULL;

    if (quoted && asprintf(&copy, "%s.before-repair", path) < 0) {
        copy = NULL;
        remedy->error = -ENOMEM;
    }
    if (copy)
        quoted_copy = remedy_quote(remedy, copy);
    if (quoted_copy)
        remedy_command(remedy, "cp --reflink=auto -- %s %s", quoted, quoted_copy);
}

static void step_rename_first(struct remedy *remedy)
{
    remedy_text(remedy,
                "The name holds characters that not every shell can quote: rename the file first "
                "(find -inum), then the commands can be given.");
}

/* ---- consolidation -------------------------------------------------------------------------- */

/* Why the layers of a leaf must not be merged by a command printed here; NULL when nothing
 * speaks against it. */
static const char *consolidation_obstacle(const struct graph *graph, const struct image *leaf)
{
    const struct relation *relation = graph_relation(graph, leaf);
    const struct image *layer = leaf, *own;

    if (!relation || relation->in_loop || relation->above_loop)
        return "the chain contains itself: settle chain-loop first";
    if (!relation->complete)
        return "the chain is not complete: settle its other findings first";
    if (relation->unconsolidated == 0)
        return "there is nothing to merge";
    own = relation->own_layer;
    for (;; layer = graph_relation(graph, layer)->parent) {
        const struct relation *here = graph_relation(graph, layer);
        const struct layer_report *report = image_layer(layer);
        const struct layer_report *below = here->parent ? image_layer(here->parent) : NULL;

        if (!image_is_sound(layer))
            return "a layer is damaged, or was not audited: settle that first";
        if (layer != leaf && here->n_children != 1)
            return "a layer has other overlays, which a merge would ruin: decide first which of "
                   "them is to live";
        if (here->golden)
            return "a golden image would be written";
        if (report->info.crypt_method != QCA_CRYPT_NONE)
            return "a layer is encrypted, and the command would need its key";
        if (report->info.incompatible_features & QCA_INCOMPAT_DATA_FILE)
            return "a layer keeps its data in another file";
        if (!name_is_plain(layer->path))
            return "a layer has a name that not every shell can quote: rename it first";
        if (layer == own)
            return NULL;
        if (!layer->parent.format || !below ||
            qca_format_from_name(layer->parent.format) != below->probed_format)
            return "a layer does not declare its parent's format rightly: settle that first";
    }
}

static void step_name_layers_between(struct remedy *remedy, const struct graph *graph,
                                     const struct image *leaf, const char *quoted_leaf,
                                     const char *quoted_own)
{
    const struct relation *relation = graph_relation(graph, leaf);
    const struct image *layer = relation->parent;
    _cleanup_free_ char *names = NULL;
    uint32_t n = relation->unconsolidated - 1;

    for (uint32_t i = 0; i < n && i < LAYERS_NAMED && remedy->error == 0; i++) {
        _cleanup_free_ char *quoted = remedy_quote(remedy, layer->path), *before = TAKE_PTR(names);

        if (!quoted ||
            asprintf(&names, "%s%s%s", before ? before : "", before ? " " : "", quoted) < 0) {
            names = NULL;
            remedy->error = -ENOMEM;
            return;
        }
        layer = graph_relation(graph, layer)->parent;
    }
    if (n == 0)
        remedy_text(
            remedy,
            "Everything is in %s then; %s stays the domain's disk, and receives its new writes.",
            quoted_own, quoted_leaf);
    else
        remedy_text(remedy,
                    "%s stands directly on %s then and stays the domain's disk. The %u layer%s "
                    "between, %s%s, %s not "
                    "valid any more from the first command on: never use %s again, and delete %s "
                    "once the domain "
                    "has run well.",
                    quoted_leaf, quoted_own, n, n == 1 ? "" : "s", names ? names : "",
                    n > LAYERS_NAMED ? " ..." : "", n == 1 ? "is" : "are", n == 1 ? "it" : "them",
                    n == 1 ? "it" : "them");
}

/* Merges the leaf's layers down into its own layer, which is named as the base, and puts the
 * leaf on that. The second half loses nothing: after the commit the own layer holds all that the
 * layers between held. */
static void remedy_consolidate(struct remedy *remedy, const struct graph *graph,
                               const struct image *leaf)
{
    const char *obstacle = consolidation_obstacle(graph, leaf);
    const struct relation *relation = graph_relation(graph, leaf);
    _cleanup_free_ char *quoted_leaf = NULL, *quoted_own = NULL;
    const struct image *layer = leaf;
    char size[TEXT_SIZE_MAX];
    uint64_t bytes = 0;

    if (obstacle) {
        remedy_text(remedy, "No command is given to merge the layers: %s.", obstacle);
        return;
    }
    for (uint32_t i = 0; i < relation->unconsolidated; i++) {
        bytes += layer->fingerprint.allocated;
        layer = graph_relation(graph, layer)->parent;
    }
    quoted_leaf = remedy_quote(remedy, leaf->path);
    quoted_own = remedy_quote(remedy, relation->own_layer->path);
    if (!quoted_leaf || !quoted_own)
        return;
    step_stop(remedy, leaf, quoted_leaf);
    remedy_precondition(remedy,
                        "the file system has room for %s to grow by up to %s, and for its copy",
                        quoted_own, text_size(bytes, size));
    if (relation->depth > MANY_LAYERS)
        remedy_precondition(remedy,
                            "more files may be open than the chain has layers: ulimit -n %u",
                            relation->depth + 100);
    step_copy(remedy, relation->own_layer->path);
    if (relation->unconsolidated == 1)
        remedy_command(remedy, "qemu-img commit -b %s %s", quoted_own, quoted_leaf);
    else
        remedy_command(remedy, "qemu-img commit -b %s %s && qemu-img rebase -u -F %s -b %s %s",
                       quoted_own, quoted_leaf,
                       qca_format_name(image_layer(relation->own_layer)->info.format), quoted_own,
                       quoted_leaf);
    step_name_layers_between(remedy, graph, leaf, quoted_leaf, quoted_own);
    remedy_text(remedy,
                "While the domain runs, it is virsh blockcommit DOMAIN DEVICE --base %s --active "
                "--pivot --wait "
                "--verbose. Never leave out the base: without it, everything down to the lowest "
                "layer is written.",
                quoted_own);
}

/* ---- internal snapshots --------------------------------------------------------------------- */

/* qemu-img looks a snapshot up by its name, older ones by its id too: one that means exactly
 * this snapshot. */
static const char *snapshot_argument(const struct qca_image_info *info,
                                     const struct qca_snapshot *snapshot)
{
    if (!snapshot->name || !snapshot->name[0] || !name_is_plain(snapshot->name))
        return NULL;
    for (size_t i = 0; i < info->n_snapshots; i++) {
        const struct qca_snapshot *other = &info->snapshots[i];

        if (other != snapshot && ((other->name && strcmp(other->name, snapshot->name) == 0) ||
                                  (other->id && strcmp(other->id, snapshot->name) == 0)))
            return NULL;
    }
    return snapshot->name;
}

/* only: the id of the one to delete, NULL for all. */
static void remedy_snapshots(struct remedy *remedy, const struct graph *graph,
                             const struct image *image, const char *only)
{
    const struct layer_report *layer = image_layer(image);
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);
    size_t n_without = 0, n = 0;

    if (!layer || !quoted)
        return;
    if (image_is_golden(graph, image)) {
        remedy_text(remedy, "No command is given, because a golden image would be written. Make it "
                            "again without the "
                            "snapshots, under a new name, and make new clones from that.");
        return;
    }
    if (!image_is_sound(image)) {
        remedy_text(remedy,
                    "No command is given, because the image is damaged: settle that first.");
        return;
    }
    if (!name_is_plain(image->path)) {
        step_rename_first(remedy);
        return;
    }
    step_stop(remedy, image, quoted);
    remedy_precondition(remedy, "nobody needs the snapshot any more: it cannot be had back");
    for (size_t i = 0; i < layer->info.n_snapshots && n < SNAPSHOTS_MAX; i++) {
        const struct qca_snapshot *snapshot = &layer->info.snapshots[i];
        const char *argument = snapshot_argument(&layer->info, snapshot);
        _cleanup_free_ char *quoted_argument = NULL;

        if (only && (!snapshot->id || strcmp(snapshot->id, only) != 0))
            continue;
        if (!argument) {
            n_without++;
            continue;
        }
        quoted_argument = remedy_quote(remedy, argument);
        if (!quoted_argument)
            return;
        remedy_command(remedy, "qemu-img snapshot -d %s %s", quoted_argument, quoted);
        n++;
    }
    if (n_without > 0)
        remedy_text(
            remedy,
            "Snapshots whose name is empty, odd, or also another's name or id cannot be deleted by "
            "name alone: start the domain and use its monitor, or convert the image.");
    remedy_text(
        remedy,
        "Where libvirt knows the snapshot, use virsh snapshot-delete DOMAIN SNAPSHOT instead.");
}

static const char *evidence_string(const struct finding *finding, const char *key)
{
    json_object *value = NULL;

    if (!finding->evidence || !json_object_object_get_ex(finding->evidence, key, &value) ||
        !json_object_is_type(value, json_type_string))
        return NULL;
    return json_object_get_string(value);
}

static bool pointers_are_damaged(const struct qca_check_result *check)
{
    for (int kind = 0; kind < _QCA_ISSUE_MAX; kind++)
        if (check->kind_count[kind] > 0 && qca_issue_kind_is_pointer(kind))
            return true;
    return false;
}

/* ---- one finding each ----------------------------------------------------------------------- */

static void remedy_corrupt(struct remedy *remedy, const struct image *image)
{
    const struct layer_report *layer = image_layer(image);
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path), *copy = NULL,
                        *quoted_copy = NULL;

    if (!quoted)
        return;
    if (!name_is_plain(image->path)) {
        step_rename_first(remedy);
        return;
    }
    step_stop(remedy, image, quoted);
    step_copy(remedy, image->path);
    remedy_text(remedy, "Restore the image from a backup.");
    if (layer && layer->check.burst_leaks >= LEAKS_ARE_BURST) {
        remedy_text(remedy, "No repair is given, because many leaks lie in one place: the repair "
                            "would free data that "
                            "a lost table referred to. See leak-burst.");
        return;
    }
    if (asprintf(&copy, "%s.before-repair", image->path) < 0) {
        copy = NULL;
        remedy->error = -ENOMEM;
        return;
    }
    quoted_copy = remedy_quote(remedy, copy);
    if (!quoted_copy)
        return;
    if (layer && pointers_are_damaged(&layer->check)) {
        /* Measured: it leaves such entries as they are, and says that errors remain. */
        remedy_text(
            remedy,
            "No repair is given, because pointers are damaged, and qemu-img check -r all mends the "
            "reference counts around them at best. What the other pointers lead to can still be "
            "read from the copy.");
        return;
    }
    remedy_text(remedy, "Only where there is no backup, go on with the copy:");
    remedy_command(remedy, "qemu-img check -r all %s", quoted_copy);
    remedy_text(
        remedy,
        "The repair makes the tables agree; it does not bring data back. Look at the guest's file "
        "systems in the copy before anything relies on it.");
}

static void remedy_leaks(struct remedy *remedy, const struct graph *graph,
                         const struct image *image)
{
    const struct layer_report *layer = image_layer(image);
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);

    if (!quoted || !layer)
        return;
    if (layer->check.corruptions > 0 || layer->check.check_errors > 0 ||
        (layer->info.incompatible_features & (QCA_INCOMPAT_CORRUPT | QCA_INCOMPAT_DIRTY)) ||
        layer->check.burst_leaks >= LEAKS_ARE_BURST)
        remedy_text(remedy,
                    "Do not free the leaks: the image is damaged otherwise. Settle that first.");
    else if (image_is_golden(graph, image))
        remedy_text(remedy, "Leave a golden image as it is: the leaks only waste space.");
    else if (!name_is_plain(image->path))
        step_rename_first(remedy);
    else {
        step_stop(remedy, image, quoted);
        step_copy(remedy, image->path);
        remedy_command(remedy, "qemu-img check -r leaks %s", quoted);
    }
}

static void remedy_burst(struct remedy *remedy, const struct image *image)
{
    if (!name_is_plain(image->path)) {
        step_rename_first(remedy);
        return;
    }
    remedy_precondition(remedy, "nobody opens the image for writing any more; do not repair it");
    step_copy(remedy, image->path);
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

    if (!quoted || !layer)
        return;
    if (!(layer->info.compatible_features & QCA_COMPAT_LAZY_REFCOUNTS))
        remedy_text(
            remedy,
            "The image does not use lazy reference counts, so the mark itself is odd: look at "
            "qemu-img check on a copy, and treat it as metadata-corrupt.");
    else if (image_is_golden(graph, image))
        remedy_text(remedy, "No command is given, because a golden image would be written. Find "
                            "out who opened it for "
                            "writing.");
    else if (!name_is_plain(image->path))
        step_rename_first(remedy);
    else {
        step_stop(remedy, image, quoted);
        remedy_precondition(remedy, "no other host has it open");
        step_copy(remedy, image->path);
        remedy_command(remedy, "qemu-img check -r all %s", quoted);
    }
}

static void remedy_bitmaps(struct remedy *remedy, const struct graph *graph,
                           const struct image *image)
{
    const struct layer_report *layer = image_layer(image);
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);
    size_t n = 0;

    if (!quoted || !layer)
        return;
    if (image_is_golden(graph, image) || !image_is_sound(image)) {
        remedy_text(remedy, "No command is given, because the image is golden or damaged.");
        return;
    }
    if (!name_is_plain(image->path)) {
        step_rename_first(remedy);
        return;
    }
    step_stop(remedy, image, quoted);
    remedy_precondition(remedy, "a new full backup was made");
    for (size_t i = 0; i < layer->info.n_bitmaps && n < SNAPSHOTS_MAX; i++) {
        const struct qca_bitmap *bitmap = &layer->info.bitmaps[i];
        _cleanup_free_ char *name = NULL;

        /* One that begins with a dash would be an option. */
        if (!(bitmap->flags & QCA_BITMAP_IN_USE) || !bitmap->name || !bitmap->name[0] ||
            !name_is_plain(bitmap->name))
            continue;
        name = remedy_quote(remedy, bitmap->name);
        if (!name)
            return;
        remedy_command(remedy, "qemu-img bitmap --remove -- %s %s", quoted, name);
        n++;
    }
}

static void remedy_parent_format(struct remedy *remedy, const struct graph *graph,
                                 const struct image *image)
{
    const struct relation *relation = graph_relation(graph, image);
    const struct layer_report *parent = relation && relation->parent ? image_layer(relation->parent)
                                                                     : NULL;
    const char *stored = image->parent.stored,
               *format = parent ? qca_format_name(parent->probed_format) : NULL;
    _cleanup_free_ char *quoted = NULL, *quoted_stored = NULL, *quoted_parent = NULL;

    if (!parent || !format || parent->probed_format == QCA_FORMAT_UNKNOWN || !stored) {
        remedy_text(remedy,
                    "The parent was not audited, so its format is not known: settle that first.");
        return;
    }
    if (image_is_golden(graph, image)) {
        remedy_text(remedy, "No command is given, because a golden image would be written.");
        return;
    }
    if (!name_is_plain(image->path) || !name_is_plain(stored) ||
        !name_is_plain(relation->parent->path)) {
        step_rename_first(remedy);
        return;
    }
    quoted = remedy_quote(remedy, image->path);
    quoted_stored = remedy_quote(remedy, stored);
    quoted_parent = remedy_quote(remedy, relation->parent->path);
    if (!quoted || !quoted_stored || !quoted_parent)
        return;
    step_stop(remedy, image, quoted);
    remedy_precondition(
        remedy,
        "%s was made as %s: its content says so, but a guest could write what looks like it",
        quoted_parent, format);
    step_copy(remedy, image->path);
    remedy_command(remedy, "qemu-img rebase -u -F %s -b %s %s", format, quoted_stored, quoted);
}

static void remedy_permissions(struct remedy *remedy, const struct graph *graph,
                               const struct image *image)
{
    const struct relation *relation = graph_relation(graph, image);
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);

    if (!quoted)
        return;
    if (!name_is_plain(image->path))
        step_rename_first(remedy);
    else if (relation && relation->golden && !relation->golden_inferred)
        remedy_command(remedy, "chmod a-w -- %s", quoted);
    else
        remedy_command(remedy, "chmod go-w -- %s", quoted);
}

static void remedy_parent_missing(struct remedy *remedy, const struct graph *graph,
                                  const struct image *image)
{
    const char *stored = image->parent.stored;
    const char *slash = stored ? strrchr(stored, '/') : NULL;
    struct image *found[5];
    size_t n = stored ? graph_find_name(graph, slash ? slash + 1 : stored, found, ELEMENTSOF(found))
                      : 0;

    remedy_text(remedy, "Do not stop a domain that still runs on it: it has the parent open.");
    for (size_t i = 0; i < n; i++) {
        _cleanup_free_ char *quoted = NULL;

        if (found[i] == image)
            continue;
        quoted = remedy_quote(remedy, found[i]->path);
        if (quoted)
            remedy_text(remedy,
                        "%s has the parent's name: it may be the parent, moved, or another image. "
                        "Only if it "
                        "is beyond doubt the same, move it back.",
                        quoted);
    }
    remedy_text(remedy,
                "Move the parent back to where the image looks for it, or restore it there.");
}

static void remedy_watch(struct remedy *remedy, const struct finding *finding)
{
    const char *reason = evidence_string(finding, "reason");

    if (reason && strcmp(reason, "watches-exhausted") == 0)
        remedy_text(remedy, "Raise the limit: sysctl fs.inotify.max_user_watches=1048576, and the "
                            "same line, without "
                            "sysctl, in a file of /etc/sysctl.d to keep it. Then reload qcauditd.");
}

static void remedy_image(struct remedy *remedy, const struct graph *graph,
                         const struct finding *finding, const struct image *image)
{
    const char *snapshot;

    switch (finding->type) {
    case FINDING_METADATA_CORRUPT:
    case FINDING_CORRUPT_BIT_SET:
        remedy_corrupt(remedy, image);
        break;
    case FINDING_CLUSTERS_LEAKED:
        remedy_leaks(remedy, graph, image);
        break;
    case FINDING_LEAK_BURST:
        remedy_burst(remedy, image);
        break;
    case FINDING_DIRTY_BIT_SET:
        remedy_dirty(remedy, graph, image);
        break;
    case FINDING_BITMAP_IN_USE:
        remedy_bitmaps(remedy, graph, image);
        break;
    case FINDING_SNAPSHOT_OLD:
        snapshot = evidence_string(finding, "snapshot-id");
        if (snapshot)
            remedy_snapshots(remedy, graph, image, snapshot);
        else
            remedy_consolidate(remedy, graph, image);
        break;
    case FINDING_SNAPSHOT_RUNAWAY:
        remedy_text(remedy, "First find the job that takes the snapshots, and stop it.");
        remedy_consolidate(remedy, graph, image);
        break;
    case FINDING_CHAIN_DEEP:
    case FINDING_CHAIN_LIMIT:
        remedy_consolidate(remedy, graph, image);
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
    case FINDING_PERMISSIONS:
        remedy_permissions(remedy, graph, image);
        break;
    default:                    /* what the catalogue says in general is all there is to say */
        break;
    }
}

int remedy_make(const struct graph *graph, const struct finding *finding, json_object **ret_remedy)
{
    _cleanup_(remedy_done) struct remedy remedy = { .steps = json_object_new_array() };
    const struct image *image = NULL;

    if (!remedy.steps)
        return -ENOMEM;
    if (finding->subject_kind == SUBJECT_IMAGE)
        image = graph_find(graph, finding->subject);
    if (image)
        remedy_image(&remedy, graph, finding, image);
    else if (finding->type == FINDING_WATCH_DEGRADED)
        remedy_watch(&remedy, finding);
    if (remedy.error < 0)
        return remedy.error;
    *ret_remedy = json_object_array_length(remedy.steps) > 0 ? TAKE_PTR(remedy.steps) : NULL;
    return 0;
}
