/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands to libvirt: virsh with the real connection, domain, disk and snapshot, and definitions
 * that are changed. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/remedy/gate.h"
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

/* True for paths that an XML attribute and a sed pattern take as they are, but for the dots. */
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

/* A definition through a pipe: what libvirt has now, changed, given back. */
static void step_define(struct remedy *remedy, const struct gate *gate, const char *virsh,
                        const char *name, const char *script)
{
    _cleanup_free_ char *text = NULL;
    int r;

    r = asprintf(&text,
                 "%s dumpxml --inactive --security-info %s | sed \"%s\" | %s define /dev/stdin",
                 virsh, name, script, virsh);
    if (r < 0) {
        text = NULL;
        remedy->error = remedy->error < 0 ? remedy->error : -ENOMEM;
    } else if (remedy->last)
        remedy_and(remedy, gate, "%s", text);
    else
        remedy_command(remedy, gate, "%s", text);
}

bool remedy_define_source(struct remedy *remedy, const struct gate *gate,
                          const struct virt_domain *domain, const char *from, const char *to)
{
    _cleanup_free_ char *virsh = remedy_virsh(remedy, gate->graph, domain),
                        *name = remedy_domain_name(remedy, domain);
    _cleanup_free_ char *pattern = sed_pattern(from), *script = NULL;

    if (!virsh || !name || !pattern || !path_is_simple(from) || !path_is_simple(to))
        return false;
    /* The chain that libvirt noted below the source goes with it: it finds out anew. */
    if (asprintf(&script,
                 "\\|='%s'|,/<target /{s|='%s'|='%s'|;/^      <backingStore .*[^/]>\\$/,/^      "
                 "<.backingStore>/d}",
                 pattern, pattern, to) < 0) {
        script = NULL;
        return false;
    }
    step_define(remedy, gate, virsh, name, script);
    return true;
}

static bool word_is_simple(const char *word)
{
    return word && word[0] && strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789") == strlen(word);
}

bool remedy_define_format(struct remedy *remedy, const struct gate *gate,
                          const struct virt_domain *domain, const char *target, const char *from,
                          const char *to)
{
    _cleanup_free_ char *virsh = remedy_virsh(remedy, gate->graph, domain),
                        *name = remedy_domain_name(remedy, domain), *script = NULL;

    if (!virsh || !name || !word_is_simple(target) || !word_is_simple(from) || !word_is_simple(to))
        return false;
    /* The driver stands before the target: each disk is gathered first. No "!", which some shells
     * would take. */
    if (asprintf(&script,
                 "/^    <disk /,/^    <.disk>/{H;/^    <.disk>/{s/.*//;x;s/^\\n//;/<target "
                 "dev='%s'/s/\\(<driver [^>]*type='\\)%s'/\\1%s'/;p};d}",
                 target, from, to) < 0) {
        script = NULL;
        return false;
    }
    step_define(remedy, gate, virsh, name, script);
    return true;
}

bool remedy_define_image(struct remedy *remedy, const struct gate *gate,
                         const struct virt_domain *domain, const struct virt_disk *disk,
                         const char *path, const char *format)
{
    const char *from = disk->layers[0].path, *before = disk->layers[0].format;

    if (!path_is_simple(from) || !path_is_simple(path) || !word_is_simple(format))
        return false;
    /* The format first: where an overlay was qcow2 and the other image is raw, what the guest wrote
     * to its first sector would be taken for a header, which may name any file. */
    return ((before && strcmp(before, format) == 0) ||
            remedy_define_format(remedy, gate, domain, disk->target, before, format)) &&
           remedy_define_source(remedy, gate, domain, from, path);
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

void remedy_forget_snapshots(struct remedy *remedy, const struct gate *gate,
                             const struct virt_domain *domain, const struct image *leaf)
{
    _cleanup_free_ char *virsh = remedy_virsh(remedy, gate->graph, domain),
                        *name = remedy_domain_name(remedy, domain);
    size_t n = 0, left = 0;

    if (!virsh || !name)
        return;
    for (size_t i = domain->n_snapshots; i-- > 0;) {
        const struct virt_snapshot *snapshot = &domain->snapshots[i];
        _cleanup_free_ char *quoted = NULL;

        if (!snapshot->name || !snapshot_is_merged(gate->graph, snapshot, leaf))
            continue;
        if (!remedy->last || n >= COMMANDS_MAX || !remedy_name_is_plain(snapshot->name) ||
            snapshot->name[0] == '-') {
            left++;
            continue;
        }
        quoted = remedy_quote(remedy, snapshot->name);
        if (!quoted)
            return;
        remedy_and(remedy, gate, "%s snapshot-delete %s %s --metadata", virsh, name, quoted);
        n++;
    }
    if (n > 0)
        remedy_text(remedy,
                    "Libvirt forgets the snapshots that were merged by the end of that command; it "
                    "would know them on.");
    if (left > 0)
        remedy_text(remedy,
                    "Libvirt still knows %zu%s snapshot%s that will be merged: see virsh "
                    "snapshot-list, and delete the metadata only after the merge.",
                    left, n > 0 ? " more" : "", left == 1 ? "" : "s");
}
