/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The remedies of findings that have a domain as subject. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/remedy/gate.h"
#include "helpers/evidence.h"
#include "lib/cleanup.h"

#define CHAIN_LOOKED_AT 1024    /* layers of a disk */

/* A name of evidence, where it was not changed by escaping; NULL else. */
static const char *evidence_name(json_object *evidence, enum evidence_text member)
{
    const char *name = evidence_get_text(evidence, member);

    return name && name[0] && name[0] != '-' && !strchr(name, '\\') && remedy_name_is_plain(name)
               ? name
               : NULL;
}

static const struct virt_domain *find_subject(const struct graph *graph, const char *subject)
{
    const struct virt_status *status = usage_status(graph_usage(graph));

    for (size_t i = 0; status && i < status->n_domains; i++) {
        const struct virt_domain *domain = &status->domains[i];
        size_t n = strlen(domain->name);

        if (strncmp(subject, domain->name, n) == 0 && strncmp(subject + n, " on ", 4) == 0 &&
            strcmp(subject + n + 4, usage_domain_uri(status, domain)) == 0)
            return domain;
    }
    return NULL;
}

/* ---- domains --------------------------------------------------------------------------------- */

/* Adds libvirt's acts on the domain alone, or on the images of its disks. */
static void gate_disks(struct gate *gate, const struct virt_domain *domain, unsigned acts)
{
    gate_domain(gate, domain, NULL, virt_domain_is_active(domain));
    for (size_t i = 0; acts && i < domain->n_disks; i++) {
        const struct virt_disk *disk = &domain->disks[i];
        const char *path = disk->n_layers > 0 ? disk->layers[0].path : NULL;
        const struct image *image;

        if (!path || disk->read_only)
            continue;
        image = graph_find(gate->graph, usage_path(graph_usage(gate->graph), path));
        if (image)
            gate_image(gate, image, acts);
        else
            gate_refuse(gate, "an image of the domain is in no datastore, so it "
                              "cannot be examined");
    }
}

static void remedy_job(struct remedy *remedy, const struct graph *graph,
                       const struct virt_domain *domain, const char *virsh, const char *name,
                       const struct finding *finding)
{
    const char *target = evidence_name(finding->evidence, TEXT_DISK);
    _cleanup_free_ char *disk = target ? remedy_quote(remedy, target) : NULL;
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    gate_disks(&gate, domain, 0);
    if (!disk || !gate_is_open(&gate))
        return;
    remedy_precondition(remedy, "no backup tool is at work that will end the job itself");
    remedy_command(remedy, &gate, "%s blockjob %s %s --pivot", virsh, name, disk);
    remedy_text(remedy,
                "With --abort instead of --pivot everything stays as it was before the job.");
}

/* How large the disk is, as far as libvirt or the audit of its image knows; 0 unknown. */
static uint64_t disk_size(const struct graph *graph, const struct virt_disk *disk)
{
    const struct image *image = graph_find(
        graph, usage_path(graph_usage(graph), disk->layers[0].path));
    const struct layer_report *layer = image_layer(image);

    return disk->capacity > 0 ? disk->capacity : layer ? layer->info.virtual_size : 0;
}

static void gate_rescue(struct gate *gate, const struct virt_domain *domain,
                        const struct virt_disk *disk, const char *path)
{
    uint64_t size = disk_size(gate->graph, disk);

    gate_disks(gate, domain, 0);
    gate_target(gate, path);
    gate_room(gate, path, size);
    if (!virt_domain_is_active(domain))
        gate_refuse(gate, "the domain does not run");
    if (size == 0)
        gate_refuse(gate, "the size of the disk is unknown");
    if (disk->job.type)
        gate_refuse(gate, "a block job runs on the disk: wait for its end");
    if (strncmp(path, "/dev/", 5) == 0)
        gate_refuse(gate, "the disk is a block device, beside which there is no room for a copy");
    if (!remedy_name_is_plain(path))
        gate_refuse(gate, "the image has a name that not every shell can quote: copy the disk with "
                          "virsh blockcopy to a new file, and let the domain pivot to it");
}

/* Onto a file of its own, without the layers that it cannot be sure to find again. */
static void remedy_copy_disk(struct remedy *remedy, const struct graph *graph,
                             const struct virt_domain *domain, const char *virsh, const char *name,
                             const struct finding *finding)
{
    const char *target = evidence_name(finding->evidence, TEXT_DISK),
               *format = evidence_name(finding->evidence, TEXT_FORMAT);
    const struct virt_disk *disk = target ? virt_find_disk(domain, target) : NULL;
    _cleanup_free_ char *path = NULL, *quoted_path = NULL, *quoted_target = NULL;
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    if (!disk || disk->n_layers == 0 || !disk->layers[0].path)
        return;
    if (asprintf(&path, "%s.rescued", disk->layers[0].path) < 0) {
        path = NULL;
        remedy->error = -ENOMEM;
        return;
    }
    remedy_precondition(
        remedy, "nobody stops, restarts or migrates the domain: its last writes would be lost");
    gate_rescue(&gate, domain, disk, path);
    if (!gate_is_open(&gate))
        return;
    quoted_path = remedy_quote(remedy, path);
    quoted_target = remedy_quote(remedy, target);
    if (!quoted_path || !quoted_target)
        return;
    remedy_command(remedy, &gate,
                   "test ! -e %s && test ! -L %s && %s blockcopy %s %s %s --format %s "
                   "--transient-job --wait --pivot --verbose",
                   quoted_path, quoted_path, virsh, name, quoted_target, quoted_path,
                   format ? format : "qcow2");
    remedy_text(
        remedy,
        "From then on the domain runs on %s, which holds all of the disk, and needs no other "
        "layer.",
        quoted_path);
}

/* A file that has only another name is not lost: it is to have its own again. */
static bool find_renamed(struct remedy *remedy, const struct graph *graph,
                         const struct virt_domain *domain, const struct finding *finding)
{
    const char *target = evidence_name(finding->evidence, TEXT_DISK);
    const struct virt_disk *disk = target ? virt_find_disk(domain, target) : NULL;
    size_t layer = evidence_get_number(finding->evidence, NUMBER_LAYER);
    const struct usage_entry *entry = disk && layer < disk->n_layers
                                          ? usage_of_layer(graph_usage(graph), disk, layer) : NULL;
    const struct image *renamed = entry ? graph_find_renamed(graph, entry) : NULL;

    if (renamed)
        remedy_renamed(remedy, graph, renamed, entry->path);
    return renamed;
}

/* A definition is to name the image. */
static void gate_definition(struct gate *gate, const struct virt_domain *domain,
                            const struct virt_disk *disk, const char *path)
{
    const struct image *image = graph_find(gate->graph, usage_path(graph_usage(gate->graph), path));

    gate_domain(gate, domain, disk, virt_domain_is_active(domain));
    if (image)
        gate_image(gate, image, GATE_USE);
    else
        gate_refuse(gate, "the image is in no datastore, so it cannot be examined");
}

/* The definition is to say what runs. */
static bool define_running(struct remedy *remedy, const struct graph *graph,
                           const struct virt_domain *domain, const struct virt_disk *live,
                           const struct virt_disk *defined)
{
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    gate_definition(&gate, domain, live, live->layers[0].path);
    if (!gate_is_open(&gate))
        return false;
    remedy_precondition(
        remedy, "the running domain's image is the right one: it holds what was written last");
    return remedy_define_image(remedy, &gate, domain, defined, live->layers[0].path,
                               live->layers[0].format);
}

/* Libvirt is to find the chain out anew. */
static bool define_chain(struct remedy *remedy, const struct graph *graph,
                         const struct virt_domain *domain, const struct virt_disk *disk)
{
    const char *path = disk->layers[0].path;
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    gate_definition(&gate, domain, disk, path);
    if (!gate_is_open(&gate))
        return false;
    remedy_precondition(
        remedy,
        "the layers that the files name are the right ones: see qcauditctl chain; else bring the "
        "files back to what they were");
    return remedy_define_source(remedy, &gate, domain, path, path);
}

static void remedy_definition(struct remedy *remedy, const struct graph *graph,
                              const struct virt_domain *domain, const char *virsh, const char *name,
                              const struct finding *finding)
{
    const char *target = evidence_name(finding->evidence, TEXT_DISK),
               *what = evidence_get_text(finding->evidence, TEXT_WHAT);
    const struct virt_disk *live = target ? virt_find_disk(domain, target) : NULL, *defined = NULL;
    bool source = what && strcmp(what, "source") == 0, chain = what && strcmp(what, "chain") == 0;

    for (size_t i = 0; live && i < domain->n_defined_disks; i++)
        if (domain->defined_disks[i].target && strcmp(domain->defined_disks[i].target, target) == 0)
            defined = &domain->defined_disks[i];
    if (live && (live->n_layers == 0 || !live->layers[0].path))
        live = NULL;
    if (source && live && defined && defined->n_layers > 0 && defined->layers[0].path &&
        define_running(remedy, graph, domain, live, defined))
        return;
    if (chain && virt_domain_is_active(domain)) {
        remedy_text(
            remedy,
            "The domain runs on the layers that libvirt has; after a restart it would run on those "
            "that the files name now. Make the disk whole while it runs, and nothing is lost:");
        remedy_copy_disk(remedy, graph, domain, virsh, name, finding);
        return;
    }
    if (chain && live && define_chain(remedy, graph, domain, live))
        return;
    if (what && strcmp(what, "missing") == 0)
        remedy_text(
            remedy,
            "Bring the image back to where the definition looks for it, or name another one:");
    else
        remedy_text(
            remedy,
            "Find out which chain holds what was written last, and correct the definition:");
    remedy_text(remedy, "%s edit %s", virsh, name);
}

/* Names entries of a list of evidence without a command: the rest of a long one, and names that no
 * command line takes. */
static void step_unlisted(struct remedy *remedy, const struct finding *finding,
                          enum evidence_number total,
                          const json_object *list, size_t n_commands)
{
    uint64_t n = evidence_get_number(finding->evidence, total);
    size_t listed = list ? json_object_array_length(list) : 0;

    remedy_step_more(remedy, n > listed ? n - listed : 0);
    if (listed > n_commands)
        remedy_text(
            remedy,
            "%zu more cannot be named on a command line: delete them in the domain's monitor.",
            listed - n_commands);
}

/* Deletes each item of a list of evidence from the image itself with qemu-img, behind its gate. */
static size_t delete_from_images(struct remedy *remedy, const struct graph *graph,
                                 const struct virt_domain *domain, json_object *list,
                                 enum evidence_text member, const char *tool)
{
    size_t n = 0;

    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        json_object *item = json_object_array_get_idx(list, i);
        const char *what = evidence_name(item, member), *path = evidence_name(item, TEXT_PATH);
        const struct image *image = path ? graph_find(graph, path) : NULL;
        _cleanup_free_ char *quoted = what ? remedy_quote(remedy, what) : NULL;
        _cleanup_free_ char *quoted_path = path ? remedy_quote(remedy, path) : NULL;
        _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

        if (!quoted || !quoted_path || !image)
            continue;
        n++;
        gate_domain(&gate, domain, NULL, false);
        gate_image(&gate, image, GATE_WRITE);
        if (!gate_is_open(&gate))
            break;              /* the others have the same obstacle, most likely */
        if (member == TEXT_BITMAP)
            remedy_command(remedy, &gate, "qemu-img %s %s %s", tool, quoted_path, quoted);
        else
            remedy_command(remedy, &gate, "qemu-img %s %s %s", tool, quoted, quoted_path);
    }
    return n;
}

/* Is a layer of one of the domain's disks not where it is looked for? What is there then may be a
 * file that was only renamed, or that a backup has. */
static bool a_layer_is_lost(const struct graph *graph, const struct virt_domain *domain)
{
    const struct usage_index *index = graph_usage(graph);

    for (size_t i = 0; i < domain->n_disks; i++) {
        const struct virt_disk *disk = &domain->disks[i];
        const struct image *image = NULL;

        for (size_t k = 0; k < disk->n_layers; k++) {
            struct usage usage = disk->layers[k].path
                                     ? usage_find(index, usage_path(index, disk->layers[k].path))
                                     : (struct usage){ .n_entries = 0 };

            if (usage.n_entries > 0 && usage.entries[0].missing)
                return true;
        }
        if (disk->n_layers > 0 && disk->layers[0].path)
            image = graph_find(graph, usage_path(index, disk->layers[0].path));
        for (unsigned n = 0; image && n < CHAIN_LOOKED_AT; n++) {
            const struct relation *relation = graph_relation(graph, image);

            if (image->parent.state == REFERENCE_MISSING)
                return true;
            image = relation && !relation->in_loop ? relation->parent : NULL;
        }
    }
    return false;
}

/* Libvirt forgets what only it knows. Of a snapshot whose layer is lost, that is all there is to
 * say what the layer was: the record is kept until the file is back, or given up. */
static void forget_libvirt_only(struct remedy *remedy, const struct gate *gate,
                                const struct virt_domain *domain, const char *virsh,
                                const char *name, const struct finding *finding)
{
    json_object *libvirt = evidence_get_list(finding->evidence, PART_LIBVIRT_ONLY);
    size_t n = 0;

    if (!libvirt || json_object_array_length(libvirt) == 0)
        return;
    if (a_layer_is_lost(gate->graph, domain)) {
        remedy_note(remedy,
                    "No command is given that deletes the snapshot from libvirt's records, because "
                    "a layer of the domain's disks is missing, or was renamed. Settle that first "
                    "(qcauditctl findings: parent-missing, deleted-in-use, definition-differs): "
                    "with the file back in its place the snapshot is whole again.");
        return;
    }
    remedy_precondition(remedy, "the snapshot's file was not moved or renamed, and no backup is "
                                "going to bring it back");
    for (size_t i = 0; i < json_object_array_length(libvirt); i++) {
        const char *snapshot = evidence_name(json_object_array_get_idx(libvirt, i), TEXT_SNAPSHOT);
        _cleanup_free_ char *quoted = snapshot ? remedy_quote(remedy, snapshot) : NULL;

        if (!quoted)
            continue;
        remedy_command(remedy, gate, "%s snapshot-delete %s %s --metadata", virsh, name, quoted);
        n++;
    }
    step_unlisted(remedy, finding, NUMBER_LIBVIRT_ONLY_TOTAL, libvirt, n);
}

static void remedy_snapshot_sides(struct remedy *remedy, const struct graph *graph,
                                  const struct virt_domain *domain, const char *virsh,
                                  const char *name, const struct finding *finding)
{
    json_object *image = evidence_get_list(finding->evidence, PART_IMAGE_ONLY);
    const char *deleting = evidence_name(finding->evidence, TEXT_DELETING);
    _cleanup_free_ char *first = deleting ? remedy_quote(remedy, deleting) : NULL;
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);
    size_t n;

    gate_disks(&gate, domain, first ? GATE_WRITE : 0);
    if (!gate_is_open(&gate))
        return;
    if (first)
        remedy_command(remedy, &gate, "%s snapshot-delete %s %s", virsh, name, first);
    forget_libvirt_only(remedy, &gate, domain, virsh, name, finding);
    if (image && json_object_array_length(image) > 0)
        remedy_precondition(
            remedy, "the domain is shut off, and nobody needs the snapshots that only "
                    "the image has");
    n = delete_from_images(remedy, graph, domain, image, TEXT_SNAPSHOT, "snapshot -d");
    step_unlisted(remedy, finding, NUMBER_IMAGE_ONLY_TOTAL, image, n);
}

static void remedy_checkpoints(struct remedy *remedy, const struct graph *graph,
                               const struct virt_domain *domain, const char *virsh,
                               const char *name, const struct finding *finding)
{
    json_object *checkpoints = evidence_get_list(finding->evidence, PART_WITHOUT_BITMAP);
    json_object *bitmaps = evidence_get_list(finding->evidence, PART_WITHOUT_CHECKPOINT);
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);
    size_t n = 0;

    gate_disks(&gate, domain, 0);
    if (!gate_is_open(&gate))
        return;
    for (size_t i = 0; checkpoints && i < json_object_array_length(checkpoints); i++) {
        const char *checkpoint = evidence_name(json_object_array_get_idx(checkpoints, i),
                                               TEXT_CHECKPOINT);
        _cleanup_free_ char *quoted = checkpoint ? remedy_quote(remedy, checkpoint) : NULL;

        if (!quoted)
            continue;
        remedy_command(remedy, &gate, "%s checkpoint-delete %s %s --metadata", virsh, name, quoted);
        n++;
    }
    step_unlisted(remedy, finding, NUMBER_WITHOUT_BITMAP_TOTAL, checkpoints, n);
    if (bitmaps && json_object_array_length(bitmaps) > 0)
        remedy_precondition(remedy, "the domain is shut off");
    n = delete_from_images(remedy, graph, domain, bitmaps, TEXT_BITMAP, "bitmap --remove --");
    step_unlisted(remedy, finding, NUMBER_WITHOUT_CHECKPOINT_TOTAL, bitmaps, n);
    remedy_text(remedy, "Then make a full backup: incremental ones have nothing to stand on.");
}

static void remedy_memory(struct remedy *remedy, const struct graph *graph,
                          const struct virt_domain *domain, const char *virsh, const char *name,
                          const struct finding *finding)
{
    uint64_t kib = evidence_get_number(finding->evidence, NUMBER_MINIMUM_BYTES) / 1024;
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    gate_disks(&gate, domain, 0);
    if (kib == 0 || !gate_is_open(&gate))
        return;
    remedy_precondition(remedy,
                        "the domain is restarted afterwards: it takes the memory at its start");
    remedy_command(remedy, &gate,
                   "%s setmaxmem %s %" PRIu64 " --config && %s setmem %s %" PRIu64 " --config",
                   virsh, name, kib, virsh, name, kib);
}

static void remedy_resume(struct remedy *remedy, const struct graph *graph,
                          const struct virt_domain *domain, const char *virsh, const char *name)
{
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    remedy_precondition(
        remedy,
        "there is room again on the file system, or the storage is mended; see datastore-full");
    gate_disks(&gate, domain, 0);
    if (domain->io_error && gate_is_open(&gate))
        remedy_command(remedy, &gate, "%s resume %s", virsh, name);
}

void remedy_domain(struct remedy *remedy, const struct graph *graph, const struct finding *finding)
{
    const struct virt_domain *domain = find_subject(graph, finding->subject);
    _cleanup_free_ char *virsh = NULL, *name = NULL;

    if (!domain)
        return;
    virsh = remedy_virsh(remedy, graph, domain);
    name = remedy_domain_name(remedy, domain);
    if (!virsh || !name)
        return;
    switch (finding->type) {
    case FINDING_BLOCK_JOB_STALLED:
        remedy_job(remedy, graph, domain, virsh, name, finding);
        break;
    case FINDING_DELETED_IN_USE:
        if (!find_renamed(remedy, graph, domain, finding))
            remedy_copy_disk(remedy, graph, domain, virsh, name, finding);
        break;
    case FINDING_DEFINITION_DIFFERS:
        remedy_definition(remedy, graph, domain, virsh, name, finding);
        break;
    case FINDING_SNAPSHOT_DELETE_STUCK:
    case FINDING_SNAPSHOT_INCONSISTENT:
        remedy_snapshot_sides(remedy, graph, domain, virsh, name, finding);
        break;
    case FINDING_CHECKPOINT_MISMATCH:
        remedy_checkpoints(remedy, graph, domain, virsh, name, finding);
        break;
    case FINDING_MEMORY_BELOW_MINIMUM:
        remedy_memory(remedy, graph, domain, virsh, name, finding);
        break;
    case FINDING_DOMAIN_IO_ERROR:
        remedy_resume(remedy, graph, domain, virsh, name);
        break;
    default:
        break;
    }
}
