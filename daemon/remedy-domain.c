/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The remedies that name a domain: virsh with the real connection, domain, disk and snapshot. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/remedy-internal.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define COMMANDS_MAX 20
#define UUID_LENGTH 36          /* what virsh takes for one, whatever it consists of */

/* ---- names ----------------------------------------------------------------------------------- */

char *remedy_virsh(struct remedy *remedy, const struct graph *graph,
                   const struct virt_domain *domain)
{
    const char *uri = usage_domain_uri(usage_status(graph_usage(graph)), domain);
    _cleanup_free_ char *quoted = remedy_quote(remedy, uri);
    char *virsh;

    if (!quoted || asprintf(&virsh, "virsh -c %s", quoted) < 0) {
        remedy->error = remedy->error < 0 ? remedy->error : -ENOMEM;
        return NULL;
    }
    return virsh;
}

char *remedy_domain_name(struct remedy *remedy, const struct virt_domain *domain)
{
    /* One that begins with a dash would be an option; virsh takes a number ("+7" and " 7", too) for
     * an id, and what looks like one for a UUID, of another domain perhaps. */
    bool by_uuid = !remedy_name_is_plain(domain->name) || domain->name[0] == '-' ||
                   domain->name[0] == '+' || domain->name[0] == ' ' ||
                   domain->name[strspn(domain->name, "0123456789")] == '\0' ||
                   strlen(domain->name) == UUID_LENGTH;

    return remedy_quote(remedy, by_uuid ? domain->uuid : domain->name);
}

/* What an XML attribute and a sed pattern take as it is, but for the dots. */
static bool path_is_simple(const char *path)
{
    for (const char *c = path; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("/._-+:@", *c))
            return false;
    return true;
}

static char *sed_pattern(const char *path)
{
    char *pattern = malloc(strlen(path) * 2 + 1), *out = pattern;

    for (; pattern && *path; path++) {
        if (*path == '.')
            *out++ = '\\';
        *out++ = *path;
    }
    if (pattern)
        *out = '\0';
    return pattern;
}

bool remedy_define_source(struct remedy *remedy, const struct graph *graph,
                          const struct virt_domain *domain, const char *from, const char *to)
{
    _cleanup_free_ char *virsh = remedy_virsh(remedy, graph, domain),
                        *name = remedy_domain_name(remedy, domain);
    _cleanup_free_ char *pattern = sed_pattern(from);

    if (!virsh || !name || !pattern || !path_is_simple(from) || !path_is_simple(to))
        return false;
    /* The chain that libvirt noted below the source goes with it: it finds out anew. */
    remedy_command(remedy,
                   "%s dumpxml --inactive --security-info %s | sed \"\\|='%s'|,/<target "
                   "/{s|='%s'|='%s'|;/^      <backingStore .*[^/]>\\$/,/^      "
                   "<.backingStore>/d}\" | %s define /dev/stdin",
                   virsh, name, pattern, pattern, to, virsh);
    return true;
}

static bool word_is_simple(const char *word)
{
    return word && word[0] && strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789") == strlen(word);
}

bool remedy_define_format(struct remedy *remedy, const struct graph *graph,
                          const struct virt_domain *domain, const char *target, const char *from,
                          const char *to)
{
    _cleanup_free_ char *virsh = remedy_virsh(remedy, graph, domain),
                        *name = remedy_domain_name(remedy, domain);

    if (!virsh || !name || !word_is_simple(target) || !word_is_simple(from) || !word_is_simple(to))
        return false;
    /* The driver stands before the target: each disk is gathered first. No "!", which some shells
     * would take. */
    remedy_command(remedy,
                   "%s dumpxml --inactive --security-info %s | sed \"/^    <disk /,/^    "
                   "<.disk>/{H;/^    <.disk>/{s/.*//;x;s/^\\n//;/<target dev='%s'/s/\\(<driver "
                   "[^>]*type='\\)%s'/\\1%s'/;p};d}\" | %s define /dev/stdin",
                   virsh, name, target, from, to, virsh);
    return true;
}

bool remedy_define_image(struct remedy *remedy, const struct graph *graph,
                         const struct virt_domain *domain, const struct virt_disk *disk,
                         const char *path, const char *format)
{
    const char *from = disk->layers[0].path, *before = disk->layers[0].format;

    if (!path_is_simple(from) || !path_is_simple(path) || !word_is_simple(format))
        return false;
    /* The format first: where an overlay was qcow2 and the other image is raw, what the guest wrote
     * to its first sector would be taken for a header, which may name any file. */
    return ((before && strcmp(before, format) == 0) ||
            remedy_define_format(remedy, graph, domain, disk->target, before, format)) &&
           remedy_define_source(remedy, graph, domain, from, path);
}

static const char *evidence_string(json_object *evidence, const char *key)
{
    json_object *value = NULL;

    if (!evidence || !json_object_object_get_ex(evidence, key, &value) ||
        !json_object_is_type(value, json_type_string))
        return NULL;
    return json_object_get_string(value);
}

/* A name of evidence, where it was not changed by escaping; NULL else. */
static const char *evidence_name(json_object *evidence, const char *key)
{
    const char *name = evidence_string(evidence, key);

    return name && name[0] && name[0] != '-' && !strchr(name, '\\') && remedy_name_is_plain(name)
               ? name
               : NULL;
}

static json_object *evidence_list(json_object *evidence, const char *key)
{
    json_object *list = NULL;

    return evidence && json_object_object_get_ex(evidence, key, &list) &&
                   json_object_is_type(list, json_type_array)
               ? list
               : NULL;
}

static uint64_t evidence_value_of(json_object *evidence, const char *key)
{
    json_object *value = NULL;

    return evidence && json_object_object_get_ex(evidence, key, &value)
               ? json_object_get_uint64(value)
               : 0;
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

/* ---- metadata of snapshots ------------------------------------------------------------------- */

/* The snapshots that made a layer of the disk above its own layer: libvirt would know them on. */
static bool snapshot_is_merged(const struct graph *graph, const struct virt_snapshot *snapshot,
                               const struct image *leaf)
{
    const struct relation *relation = graph_relation(graph, leaf);
    const struct image *layer = leaf;

    for (uint32_t i = 0; i < relation->unconsolidated; i++) {
        struct usage usage = graph_image_usage(graph, layer);

        for (size_t k = 0; k < usage.n_entries; k++)
            if (usage.entries[k].kind == USAGE_MADE && usage.entries[k].snapshot == snapshot)
                return true;
        layer = graph_relation(graph, layer)->parent;
    }
    return false;
}

void remedy_forget_snapshots(struct remedy *remedy, const struct graph *graph,
                             const struct virt_domain *domain, const struct image *leaf)
{
    _cleanup_free_ char *virsh = remedy_virsh(remedy, graph, domain),
                        *name = remedy_domain_name(remedy, domain);
    size_t n = 0, left = 0;

    if (!virsh || !name)
        return;
    for (size_t i = domain->n_snapshots; i-- > 0;) {
        const struct virt_snapshot *snapshot = &domain->snapshots[i];
        _cleanup_free_ char *quoted = NULL;

        if (!snapshot->name || !snapshot_is_merged(graph, snapshot, leaf))
            continue;
        if (n >= COMMANDS_MAX || !remedy_name_is_plain(snapshot->name) ||
            snapshot->name[0] == '-') {
            left++;
            continue;
        }
        quoted = remedy_quote(remedy, snapshot->name);
        if (!quoted)
            return;
        if (n++ == 0)
            remedy_text(
                remedy,
                "Libvirt still knows the snapshots that were merged; it is to forget them:");
        remedy_command(remedy, "%s snapshot-delete %s %s --metadata", virsh, name, quoted);
    }
    if (left > 0)
        remedy_text(remedy, "And %zu more: see virsh snapshot-list.", left);
}

/* ---- domains --------------------------------------------------------------------------------- */

static void remedy_job(struct remedy *remedy, const char *virsh, const char *name,
                       const struct finding *finding)
{
    const char *target = evidence_name(finding->evidence, "disk");
    _cleanup_free_ char *disk = target ? remedy_quote(remedy, target) : NULL;

    if (!disk)
        return;
    remedy_precondition(remedy, "no backup tool is at work that will end the job itself");
    remedy_command(remedy, "%s blockjob %s %s --pivot", virsh, name, disk);
    remedy_text(remedy,
                "With --abort instead of --pivot everything stays as it was before the job.");
}

/* Onto a file of its own, without the layers that it cannot be sure to find again. */
static void remedy_copy_disk(struct remedy *remedy, const struct virt_domain *domain,
                             const char *virsh, const char *name, const struct finding *finding)
{
    const char *target = evidence_name(finding->evidence, "disk"),
               *format = evidence_name(finding->evidence, "format");
    const struct virt_disk *disk = target ? virt_find_disk(domain, target) : NULL;
    _cleanup_free_ char *path = NULL, *quoted_path = NULL, *quoted_target = NULL;

    if (!disk || disk->n_layers == 0 || !disk->layers[0].path)
        return;
    remedy_precondition(
        remedy, "nobody stops, restarts or migrates the domain: what it wrote would be lost");
    remedy_precondition(remedy, "the file system has room for all of the disk");
    if (disk->job.type)
        remedy_precondition(remedy, "the block job that runs on the disk has ended");
    if (!remedy_name_is_plain(disk->layers[0].path)) {
        remedy_text(
            remedy,
            "Copy the disk with virsh blockcopy to a new file, and let the domain pivot to it.");
        return;
    }
    if (asprintf(&path, "%s.rescued", disk->layers[0].path) < 0) {
        path = NULL;
        remedy->error = -ENOMEM;
        return;
    }
    quoted_path = remedy_quote(remedy, path);
    quoted_target = remedy_quote(remedy, target);
    if (!quoted_path || !quoted_target)
        return;
    remedy_command(remedy,
                   "%s blockcopy %s %s %s --format %s --transient-job --wait --pivot --verbose",
                   virsh, name, quoted_target, quoted_path, format ? format : "qcow2");
    remedy_text(
        remedy,
        "The domain runs on %s then, which holds all of the disk, and needs no other layer.",
        quoted_path);
}

static void remedy_definition(struct remedy *remedy, const struct graph *graph,
                              const struct virt_domain *domain, const char *virsh, const char *name,
                              const struct finding *finding)
{
    const char *target = evidence_name(finding->evidence, "disk"),
               *what = evidence_string(finding->evidence, "what");
    const struct virt_disk *live = target ? virt_find_disk(domain, target) : NULL, *defined = NULL;

    for (size_t i = 0; live && i < domain->n_defined_disks; i++)
        if (domain->defined_disks[i].target && strcmp(domain->defined_disks[i].target, target) == 0)
            defined = &domain->defined_disks[i];
    if (what && strcmp(what, "source") == 0 && live && defined && live->n_layers > 0 &&
        defined->n_layers > 0 && live->layers[0].path && defined->layers[0].path) {
        remedy_precondition(
            remedy, "the running domain's image is the right one: it holds what was written last");
        if (remedy_define_image(remedy, graph, domain, defined, live->layers[0].path,
                                live->layers[0].format))
            return;
    }
    if (what && strcmp(what, "chain") == 0 && virt_domain_is_active(domain)) {
        remedy_text(
            remedy,
            "The domain runs on the layers that libvirt has; after a restart it would run on those "
            "that the files name now. Make the disk whole while it runs, and nothing is lost:");
        remedy_copy_disk(remedy, domain, virsh, name, finding);
        return;
    }
    if (what && strcmp(what, "chain") == 0 && live && live->n_layers > 0 && live->layers[0].path) {
        remedy_precondition(
            remedy,
            "the layers that the files name are the right ones: see qcauditctl chain; else bring "
            "the files back to what they were");
        if (remedy_define_source(remedy, graph, domain, live->layers[0].path, live->layers[0].path))
            return;
    }
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

/* What of a list of evidence has no command: the rest of a long one, and names that no command line
 * takes. */
static void step_unlisted(struct remedy *remedy, const struct finding *finding, const char *total,
                          const json_object *list, size_t n_commands)
{
    uint64_t n = evidence_value_of(finding->evidence, total);
    size_t listed = list ? json_object_array_length(list) : 0;

    remedy_step_more(remedy, n > listed ? n - listed : 0);
    if (listed > n_commands)
        remedy_text(
            remedy,
            "%zu more cannot be named on a command line: delete them in the domain's monitor.",
            listed - n_commands);
}

static void remedy_snapshot_sides(struct remedy *remedy, const struct virt_domain *domain,
                                  const char *virsh, const char *name,
                                  const struct finding *finding)
{
    json_object *libvirt = evidence_list(finding->evidence, "libvirt-only");
    json_object *image = evidence_list(finding->evidence, "image-only");
    const char *deleting = evidence_name(finding->evidence, "deleting");
    _cleanup_free_ char *first = deleting ? remedy_quote(remedy, deleting) : NULL;
    size_t n = 0;

    if (first)
        remedy_command(remedy, "%s snapshot-delete %s %s", virsh, name, first);
    for (size_t i = 0; libvirt && i < json_object_array_length(libvirt); i++) {
        const char *snapshot = evidence_name(json_object_array_get_idx(libvirt, i), "snapshot");
        _cleanup_free_ char *quoted = snapshot ? remedy_quote(remedy, snapshot) : NULL;

        if (!quoted)
            continue;
        remedy_command(remedy, "%s snapshot-delete %s %s --metadata", virsh, name, quoted);
        n++;
    }
    step_unlisted(remedy, finding, "libvirt-only-total", libvirt, n);
    if (image && json_object_array_length(image) > 0)
        remedy_precondition(
            remedy,
            "%sthe domain is shut off, and nobody needs the snapshots that only the image has",
            virt_domain_is_active(domain) ? "it is running now: " : "");
    n = 0;
    for (size_t i = 0; image && i < json_object_array_length(image); i++) {
        json_object *item = json_object_array_get_idx(image, i);
        const char *snapshot = evidence_name(item, "snapshot"), *path = evidence_name(item, "path");
        _cleanup_free_ char *quoted = snapshot ? remedy_quote(remedy, snapshot) : NULL;
        _cleanup_free_ char *quoted_path = path ? remedy_quote(remedy, path) : NULL;

        if (!quoted || !quoted_path)
            continue;
        remedy_command(remedy, "qemu-img snapshot -d %s %s", quoted, quoted_path);
        n++;
    }
    step_unlisted(remedy, finding, "image-only-total", image, n);
}

static void remedy_checkpoints(struct remedy *remedy, const char *virsh, const char *name,
                               const struct finding *finding)
{
    json_object *checkpoints = evidence_list(finding->evidence, "without-bitmap");
    json_object *bitmaps = evidence_list(finding->evidence, "without-checkpoint");
    size_t n = 0;

    for (size_t i = 0; checkpoints && i < json_object_array_length(checkpoints); i++) {
        const char *checkpoint = evidence_name(json_object_array_get_idx(checkpoints, i),
                                               "checkpoint");
        _cleanup_free_ char *quoted = checkpoint ? remedy_quote(remedy, checkpoint) : NULL;

        if (!quoted)
            continue;
        remedy_command(remedy, "%s checkpoint-delete %s %s --metadata", virsh, name, quoted);
        n++;
    }
    step_unlisted(remedy, finding, "without-bitmap-total", checkpoints, n);
    if (bitmaps && json_object_array_length(bitmaps) > 0)
        remedy_precondition(remedy, "the domain is shut off");
    n = 0;
    for (size_t i = 0; bitmaps && i < json_object_array_length(bitmaps); i++) {
        json_object *item = json_object_array_get_idx(bitmaps, i);
        const char *bitmap = evidence_name(item, "bitmap"), *path = evidence_name(item, "path");
        _cleanup_free_ char *quoted = bitmap ? remedy_quote(remedy, bitmap) : NULL;
        _cleanup_free_ char *quoted_path = path ? remedy_quote(remedy, path) : NULL;

        if (!quoted || !quoted_path)
            continue;
        remedy_command(remedy, "qemu-img bitmap --remove -- %s %s", quoted_path, quoted);
        n++;
    }
    step_unlisted(remedy, finding, "without-checkpoint-total", bitmaps, n);
    remedy_text(remedy, "Then make a full backup: incremental ones have nothing to stand on.");
}

static void remedy_memory(struct remedy *remedy, const char *virsh, const char *name,
                          const struct finding *finding)
{
    uint64_t kib = evidence_value_of(finding->evidence, "minimum-bytes") / 1024;

    if (kib == 0)
        return;
    remedy_precondition(remedy,
                        "the domain is restarted afterwards: it takes the memory at its start");
    remedy_command(remedy,
                   "%s setmaxmem %s %" PRIu64 " --config && %s setmem %s %" PRIu64 " --config",
                   virsh, name, kib, virsh, name, kib);
}

static void remedy_resume(struct remedy *remedy, const struct virt_domain *domain,
                          const char *virsh, const char *name)
{
    remedy_precondition(
        remedy,
        "there is room again on the file system, or the storage is mended; see datastore-full");
    if (domain->io_error)
        remedy_command(remedy, "%s resume %s", virsh, name);
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
        remedy_job(remedy, virsh, name, finding);
        break;
    case FINDING_DELETED_IN_USE:
        remedy_copy_disk(remedy, domain, virsh, name, finding);
        break;
    case FINDING_DEFINITION_DIFFERS:
        remedy_definition(remedy, graph, domain, virsh, name, finding);
        break;
    case FINDING_SNAPSHOT_DELETE_STUCK:
    case FINDING_SNAPSHOT_INCONSISTENT:
        remedy_snapshot_sides(remedy, domain, virsh, name, finding);
        break;
    case FINDING_CHECKPOINT_MISMATCH:
        remedy_checkpoints(remedy, virsh, name, finding);
        break;
    case FINDING_MEMORY_BELOW_MINIMUM:
        remedy_memory(remedy, virsh, name, finding);
        break;
    case FINDING_DOMAIN_IO_ERROR:
        remedy_resume(remedy, domain, virsh, name);
        break;
    default:
        break;
    }
}
