/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The remedies for images that are used by too many, by nobody, or as what they are not. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/remedy/gate.h"
#include "lib/cleanup.h"

/* Away, but not gone: ORPHAN is a name that says so. */
void remedy_orphan(struct remedy *remedy, const struct graph *graph, const struct image *image)
{
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path), *aside = NULL,
                        *quoted_aside = NULL;
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    if (asprintf(&aside, "%s.orphan", image->path) < 0) {
        aside = NULL;
        remedy->error = -ENOMEM;
        return;
    }
    quoted_aside = remedy_quote(remedy, aside);
    if (!quoted || !quoted_aside)
        return;
    gate_image(&gate, image, GATE_MOVE);
    gate_target(&gate, aside);
    if (!gate_is_open(&gate))
        return;
    remedy_precondition(remedy, "nobody needs it: check with everyone who might own it");
    remedy_command(remedy, &gate, "mv -nT -- %s %s", quoted, quoted_aside);
    remedy_text(remedy, "Delete it a month later, if nobody missed it.");
}

/* The one domain that can write the image; NULL when there is none, or more than one. */
static const struct usage_entry *only_writer(const struct usage *usage)
{
    const struct usage_entry *writer = NULL;

    for (size_t i = 0; i < usage->n_entries; i++) {
        const struct usage_entry *entry = &usage->entries[i];

        if (entry->kind != USAGE_LAYER || entry->layer != 0 || !entry->writes)
            continue;
        if (writer && writer->domain != entry->domain)
            return NULL;
        writer = entry;
    }
    return writer;
}

static void remedy_one_writer(struct remedy *remedy, const struct graph *graph,
                              const struct usage_entry *writer)
{
    _cleanup_free_ char *virsh = remedy_virsh(remedy, graph, writer->domain),
                        *name = remedy_domain_name(remedy, writer->domain),
                        *said = remedy_quote(remedy, writer->domain->name),
                        *target = remedy_quote(remedy, writer->disk->target ? writer->disk->target
                                                                            : "");
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    if (!virsh || !name || !said || !target)
        return;
    remedy_text(remedy,
                "Only domain %s can write the image: what it writes destroys the disks of the "
                "domains that stand on the image. Leave those domains and their disks as they are.",
                said);
    gate_domain(&gate, writer->domain, writer->disk, false);
    if (!gate_is_open(&gate))
        return;
    remedy_precondition(remedy, "domain %s is not meant to write the image, and is shut off", said);
    remedy_command(remedy, &gate, "%s detach-disk %s %s --config", virsh, name, target);
    remedy_text(remedy,
                "Or undefine domain %s, if nobody needs it any more. To change the image later, "
                "change a copy of it, and make new overlays on that.",
                said);
}

void remedy_shared(struct remedy *remedy, const struct graph *graph, const struct image *image)
{
    struct usage usage = graph_image_usage(graph, image);
    const struct usage_entry *remove = NULL, *keep = NULL, *writer = only_writer(&usage);
    _cleanup_free_ char *virsh = NULL, *name = NULL, *target = NULL;
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    if (writer && !writer->disk->shareable) {
        remedy_one_writer(remedy, graph, writer);
        return;
    }
    /* One that is shut off is to lose it; of several, the last by name. */
    for (size_t i = 0; i < usage.n_entries; i++) {
        const struct usage_entry *entry = &usage.entries[i];

        if (entry->kind != USAGE_LAYER || entry->layer != 0 || !entry->writes)
            continue;
        if (!virt_domain_is_active(entry->domain) &&
            (!remove || strcmp(entry->domain->name, remove->domain->name) > 0)) {
            keep = remove ? remove : keep;
            remove = entry;
        } else if (!remove || entry->domain != remove->domain) {
            keep = entry;
        }
    }
    if (!remove || !keep || remove->domain == keep->domain) {
        remedy_text(
            remedy,
            usage.n_entries > 0 && usage_source(&usage) && usage_source(&usage)->disk->shareable
                ? "Shut the domains off and take <shareable/> out of their definitions (virsh "
                  "edit): only raw disks with a cluster file system can be shared."
                : "Shut off all domains but one, and remove the disk from their definitions (virsh "
                  "detach-disk DOMAIN DISK --config), or make it read-only there.");
        return;
    }
    virsh = remedy_virsh(remedy, graph, remove->domain);
    name = remedy_domain_name(remedy, remove->domain);
    target = remedy_quote(remedy, remove->disk->target ? remove->disk->target : "");
    if (!virsh || !name || !target)
        return;
    gate_domain(&gate, remove->domain, remove->disk, false);
    if (!gate_is_open(&gate))
        return;
    remedy_precondition(remedy, "it is the other domain that is to keep the disk");
    remedy_command(remedy, &gate, "%s detach-disk %s %s --config", virsh, name, target);
}

void remedy_foreign(struct remedy *remedy, const struct graph *graph, const struct image *image)
{
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);

    if (!quoted)
        return;
    if (remedy_name_is_plain(image->path))
        remedy_look(remedy, "fuser -v %s", quoted);     /* it knows no "--"; a path begins with a
                                                         * slash */
    remedy_text(remedy,
                "Find out what the process is for, and end it in its own way: a domain's QEMU by "
                "shutting the domain down, qemu-nbd by qemu-nbd --disconnect. As long as it has "
                "the image open, no domain must be started on it; the daemon looks again then.");
}

/* The whole disk of a branch, at its place, and its owner's alone until it is there. */
static void step_make_whole(struct remedy *remedy, const struct gate *gate,
                            const struct image *branch, const char *folder)
{
    _cleanup_free_ char *whole = NULL, *quoted = remedy_quote(remedy, branch->path),
                        *quoted_folder = remedy_quote(remedy, folder), *quoted_whole = NULL;

    if (asprintf(&whole, "%s/disk", folder) < 0) {
        whole = NULL;
        remedy->error = -ENOMEM;
        return;
    }
    quoted_whole = remedy_quote(remedy, whole);
    if (!quoted || !quoted_folder || !quoted_whole)
        return;
    remedy_step_stop(remedy, gate, branch, quoted);
    remedy_command(remedy, gate, "mkdir -m 700 -- %s", quoted_folder);
    remedy_and(remedy, gate, "qemu-img convert -O qcow2 %s %s", quoted, quoted_whole);
    remedy_and(remedy, gate, "cp -T --attributes-only --preserve=mode,ownership,xattr -- %s %s",
               quoted, quoted_whole);
    remedy_and(remedy, gate, "mv -T -- %s %s && rmdir -- %s", quoted_whole, quoted, quoted_folder);
    remedy_text(remedy,
                "%s needs no parent then. Delete it where it is not the one that is to live.",
                quoted);
}

/* Sets up the gate for a branch that is made whole. */
static void gate_branch(struct gate *gate, const struct image *branch, const char *folder)
{
    struct usage usage = graph_image_usage(gate->graph, branch);
    const struct usage_entry *source = usage_source(&usage);
    const struct layer_report *layer = image_layer(branch);

    if (source)
        gate_domain(gate, source->domain, source->disk, false);
    gate_image(gate, branch, GATE_CONVERT | GATE_LOSE);
    gate_target(gate, folder);
    gate_room(gate, folder, layer ? layer->info.virtual_size : 0);
}

/* The last branch that nobody has open is made whole: nothing is lost, whichever is to live. */
void remedy_fork(struct remedy *remedy, const struct graph *graph, const struct image *image)
{
    const struct image *branch = NULL, *child;
    _cleanup_free_ char *folder = NULL;

    for (size_t i = 0; (child = graph_child(image, i)); i++) {
        _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);
        _cleanup_free_ char *name = NULL;

        if (graph_relation(graph, child)->n_children > 0 ||
            (branch && strcmp(child->path, branch->path) < 0))
            continue;
        if (asprintf(&name, "%s.whole", child->path) < 0) {
            name = NULL;
            remedy->error = -ENOMEM;
            return;
        }
        gate_branch(&gate, child, name);
        if (!gate_would_open(&gate))
            continue;
        branch = child;
        free(folder);
        folder = TAKE_PTR(name);
    }
    remedy_text(
        remedy,
        "Merge none of the branches into their parent: that would ruin the others. If the parent "
        "is a golden image, declare it so in the configuration (golden.patterns).");
    if (branch) {
        _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

        gate_branch(&gate, branch, folder);
        if (gate_is_open(&gate))
            step_make_whole(remedy, &gate, branch, folder);
    } else
        remedy_text(
            remedy,
            "Shut off the domain of the branch that is to be separated from the others; then a "
            "command can be given, if it holds no internal snapshots and bitmaps, belongs to the "
            "parent's owner, and there is room for all of the disk.");
}

/* Whose definition opens the image as this; NULL when nobody's does. */
static const struct usage_entry *opened_as(const struct usage *usage, const char *format)
{
    for (size_t i = 0; format && i < usage->n_entries; i++) {
        const struct usage_entry *entry = &usage->entries[i];

        if (entry->kind == USAGE_LAYER && entry->layer == 0 && entry->disk->layers[0].format &&
            strcmp(entry->disk->layers[0].format, format) == 0)
            return entry;
    }
    return NULL;
}

/* The last look is still true: no guest could write since. */
static bool was_seen_at_rest(const struct image *image, const struct virt_domain *domain)
{
    return !virt_domain_is_active(domain) && image->use == FILES_UNUSED &&
           image->audit->use == FILES_UNUSED &&
           fingerprint_equal(&image->audit->fingerprint, &image->fingerprint);
}

/* The definition is to say what the image is: but never so that QEMU opens a file for it that a
 * guest may have named, and never that it is raw: what was an image and has lost its first bytes
 * looks the same, and the guest would be given the bytes of the container. */
static void step_correct_type(struct remedy *remedy, const struct graph *graph,
                              const struct image *image, const struct usage_entry *entry,
                              const char *quoted)
{
    const char *content = qca_format_name(image_layer(image)->probed_format);
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    if (image_layer(image)->probed_format == QCA_FORMAT_RAW) {
        remedy_note(
            remedy,
            "No command is given that corrects the definition, because an image whose first bytes "
            "were overwritten looks as a raw one does. Find out which it is: 'qcauditctl history' "
            "says whether it was audited as another format before. If it was, do not start the "
            "domain, and restore the image from a backup; only if it was made as raw, correct the "
            "type (virsh edit).");
        return;
    }
    if (image->parent.state != REFERENCE_NONE || image->data_file.state != REFERENCE_NONE ||
        image_count_extents(image) > 0) {
        remedy_note(
            remedy,
            "No command is given that corrects the definition, because the image names another "
            "file, which its domain would be given then. Only if it was made so on purpose, "
            "correct the type with the domain shut off (virsh edit).");
        return;
    }
    /* As long as it runs, it may name a file between now and the command. */
    if (!was_seen_at_rest(image, entry->domain)) {
        remedy_text(
            remedy,
            "Shut the domain off. The command that corrects the definition is given when the image "
            "was audited after that: until then its guest could name another file, which it would "
            "be given.");
        return;
    }
    gate_domain(&gate, entry->domain, entry->disk, false);
    gate_image(&gate, image, GATE_USE);
    if (!gate_is_open(&gate))
        return;
    remedy_step_stop(remedy, &gate, image, quoted);
    remedy_precondition(
        remedy,
        "%s was made as %s: its content says so, but a guest could write what looks like it",
        quoted, content);
    if (!remedy_define_format(remedy, &gate, entry->domain, entry->disk->target,
                              entry->disk->layers[0].format, content))
        remedy_text(remedy, "Correct the type in the domain's definition (virsh edit).");
}

void remedy_driver(struct remedy *remedy, const struct graph *graph, const struct image *image,
                   const char *declared)
{
    struct usage usage = graph_image_usage(graph, image);
    const struct usage_entry *entry = opened_as(&usage, declared);
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);

    if (quoted && entry && image_layer(image))
        step_correct_type(remedy, graph, image, entry, quoted);
}

/* This very file was raw: somebody wrote the header, the guest most likely. The header is removed,
 * and kept as text, which no tool takes for an image. */
static void step_remove_header(struct remedy *remedy, const struct graph *graph,
                               const struct image *image, const char *quoted)
{
    _cleanup_free_ char *kept = NULL, *quoted_kept = NULL;
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    remedy_text(
        remedy,
        "It was raw when it was audited before: find out whether the guest wrote the header, and "
        "if so, treat the guest as hostile.");
    if (asprintf(&kept, "%s.first-sector", image->path) < 0) {
        kept = NULL;
        remedy->error = -ENOMEM;
        return;
    }
    gate_image(&gate, image, GATE_PATCH);
    gate_target(&gate, kept);
    gate_room(&gate, kept, 4096);
    if (!gate_is_open(&gate))
        return;
    quoted_kept = remedy_quote(remedy, kept);
    if (!quoted_kept)
        return;
    remedy_step_stop(remedy, &gate, image, quoted);
    remedy_precondition(
        remedy,
        "the guest does without its disk's first sector, in which no partition table or boot code "
        "is left");
    /* excl: a file that was not there, and no link. */
    remedy_command(remedy, &gate,
                   "head -c 512 %s | base64 | dd of=%s conv=excl status=none", quoted, quoted_kept);
    remedy_and(remedy, &gate, "dd if=/dev/zero of=%s bs=512 count=1 conv=notrunc", quoted);
    remedy_text(remedy, "The sector is kept in %s; base64 -d reads it.", quoted_kept);
}

void remedy_raw(struct remedy *remedy, const struct graph *graph, const struct image *image)
{
    struct usage usage = graph_image_usage(graph, image);
    const struct usage_entry *entry = opened_as(&usage, "raw");
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);

    if (!quoted)
        return;
    remedy_text(
        remedy,
        "Let no tool guess the format of %s: name it in each command (-f raw), and as type='raw' "
        "in the domain's definition, as long as it is not known who wrote the header.",
        quoted);
    if (image->raw_size > 0)
        step_remove_header(remedy, graph, image, quoted);
    else if (entry && image_layer(image))
        step_correct_type(remedy, graph, image, entry, quoted);
}
