/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The remedies of disks that are a virtual machine's on ESXi: in its words, to be typed there, as
 * nothing on this host may write such a disk. */
#include <string.h>

#include "daemon/remedy/internal.h"
#include "lib/cleanup.h"

/* The names are those of commands of ESXi's shell: "vSphere Command-Line Interface", vmkfstools and
 * vim-cmd. */
static void remedy_machine(struct remedy *remedy, const struct image *machine)
{
    _cleanup_free_ char *quoted = machine ? remedy_quote(remedy, machine->path) : NULL;

    if (machine && !quoted)
        return;
    remedy_text(remedy,
                "On the ESXi host, not here: look for the number of the virtual machine%s%s with "
                "\"vim-cmd vmsvc/getallvms\", and for its snapshots with \"vim-cmd "
                "vmsvc/snapshot.get NUMBER\". Make sure that no backup of it is under way.",
                quoted ? " of " : "", quoted ? quoted : "");
}

static void remedy_merge(struct remedy *remedy, const struct image *leaf)
{
    _cleanup_free_ char *quoted = remedy_quote(remedy, leaf->path);

    if (!quoted)
        return;
    remedy_text(remedy, "Then \"vim-cmd vmsvc/snapshot.removeall NUMBER\" merges all layers of its "
                        "disks; the datastore has to have room for what they hold.");
    remedy_text(remedy,
                "Where that fails, and the virtual machine is off: \"vmkfstools -i LEAF "
                "NEW.vmdk\", with %s as LEAF, by its path on that host, makes one disk of all "
                "layers. Make that its disk, and keep the old one until it has run well.",
                quoted);
}

void remedy_deltas(struct remedy *remedy, const struct graph *graph, const struct image *leaf)
{
    remedy_machine(remedy, graph_machine(graph, leaf));
    remedy_merge(remedy, leaf);
}

/* VMware's knowledge base, 1002310, "Committing snapshots when there are no snapshot entries in the
 * Snapshot Manager". */
void remedy_unmanaged_deltas(struct remedy *remedy, const struct graph *graph,
                             const struct image *leaf)
{
    remedy_machine(remedy, graph_machine(graph, leaf));
    remedy_text(remedy, "Layers that its list of snapshots does not have are merged together with "
                        "a new snapshot: \"vim-cmd vmsvc/snapshot.create NUMBER consolidate\".");
    remedy_merge(remedy, leaf);
}

void remedy_leftover_disk(struct remedy *remedy, const struct image *image)
{
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);

    if (!quoted)
        return;
    remedy_text(remedy,
                "Ask whoever might own %s, and make sure with \"vim-cmd vmsvc/getallvms\" on each "
                "ESXi host of the datastore that no virtual machine has it, by another datastore "
                "or by a definition elsewhere.", quoted);
    remedy_text(remedy,
                "Then rename it there with \"vmkfstools -E OLD.vmdk NEW.vmdk\", which takes its "
                "other files along, and delete it a month later with \"vmkfstools -U NEW.vmdk\", "
                "if nobody missed it.");
}
