/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The remedies for images that are used by too many, by nobody, or as what they are not. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/remedy-internal.h"
#include "lib/cleanup.h"

/* Away, but not gone: ORPHAN is a name that says so. */
void remedy_orphan(struct remedy *remedy, const struct image *image)
{
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path), *aside = NULL, *quoted_aside = NULL;

    if (!remedy_name_is_plain(image->path)) {
        remedy_step_rename_first(remedy);
        return;
    }
    if (asprintf(&aside, "%s.orphan", image->path) < 0) {
        aside = NULL;
        remedy->error = -ENOMEM;
        return;
    }
    quoted_aside = remedy_quote(remedy, aside);
    if (!quoted || !quoted_aside)
        return;
    remedy_precondition(remedy, "nobody whom one can ask needs it");
    remedy_command(remedy, "mv -n -- %s %s", quoted, quoted_aside);
    remedy_text(remedy, "Delete it a month later, if nobody missed it.");
}

void remedy_shared(struct remedy *remedy, const struct graph *graph, const struct image *image)
{
    struct usage usage = graph_image_usage(graph, image);
    const struct usage_entry *remove = NULL, *keep = NULL;
    _cleanup_free_ char *virsh = NULL, *name = NULL, *target = NULL;

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
        remedy_text(remedy, usage.n_entries > 0 && usage_source(&usage) && usage_source(&usage)->disk->shareable
                                ? "Shut the domains off and take <shareable/> out of their definitions (virsh edit): only "
                                  "raw disks with a cluster file system can be shared."
                                : "Shut off all domains but one, and remove the disk from their definitions (virsh "
                                  "detach-disk DOMAIN DISK --config), or make it read-only there.");
        return;
    }
    virsh = remedy_virsh(remedy, graph, remove->domain);
    name = remedy_domain_name(remedy, remove->domain);
    target = remedy_quote(remedy, remove->disk->target ? remove->disk->target : "");
    if (!virsh || !name || !target)
        return;
    remedy_precondition(remedy, "it is the other domain that is to keep the disk");
    remedy_command(remedy, "%s detach-disk %s %s --config", virsh, name, target);
}

void remedy_foreign(struct remedy *remedy, const struct image *image)
{
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);

    if (!quoted)
        return;
    if (remedy_name_is_plain(image->path))
        remedy_command(remedy, "fuser -v -- %s", quoted);
    remedy_text(remedy, "End the process that is shown, if nobody needs it; the daemon looks again then.");
}

/* The last branch that nobody has open is made whole: nothing is lost, whichever is to live. */
void remedy_fork(struct remedy *remedy, const struct graph *graph, const struct image *image)
{
    const struct relation *relation = graph_relation(graph, image);
    const struct image *branch = NULL;
    _cleanup_free_ char *whole = NULL, *quoted = NULL, *quoted_whole = NULL;

    for (size_t i = 0; relation && i < relation->n_children; i++) {
        const struct image *child = relation->children[i];
        const struct relation *here = graph_relation(graph, child);

        if (here->n_children > 0 || graph_use(graph, child) != FILES_UNUSED || !remedy_name_is_plain(child->path) ||
            !here->complete || !remedy_image_is_sound(child))
            continue;
        if (!branch || strcmp(child->path, branch->path) > 0)
            branch = child;
    }
    remedy_text(remedy, "Merge none of the branches into their parent: that would ruin the others. If the parent is a golden "
                        "image, declare it so in the configuration (golden.patterns).");
    if (!branch || asprintf(&whole, "%s.whole", branch->path) < 0) {
        whole = NULL;
        if (branch)
            remedy->error = -ENOMEM;
        else
            remedy_text(remedy, "Shut off the domain of the branch that is to be parted from the others; then a command can "
                                "be given.");
        return;
    }
    quoted = remedy_quote(remedy, branch->path);
    quoted_whole = remedy_quote(remedy, whole);
    if (!quoted || !quoted_whole)
        return;
    remedy_step_stop(remedy, branch, quoted);
    remedy_precondition(remedy, "the file system has room for all of the disk: a copy of this branch is made whole");
    remedy_command(remedy, "qemu-img convert -O qcow2 %s %s && mv -- %s %s", quoted, quoted_whole, quoted_whole, quoted);
    remedy_text(remedy, "%s needs no parent then. Delete it where it is not the one that is to live.", quoted);
}

void remedy_raw(struct remedy *remedy, const struct image *image)
{
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);

    if (!quoted)
        return;
    remedy_text(remedy, "Never let a tool guess the format of %s: name it in each command (-f raw), and as type='raw' in the "
                        "domain's definition.", quoted);
    remedy_text(remedy, "Find out whether the guest wrote the header. If so, treat the guest as hostile; if the image was "
                        "made in that format on purpose, correct the type in the definition, with the domain shut off.");
}
