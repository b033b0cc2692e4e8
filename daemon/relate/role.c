/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The role of an image, and the reason: its place in the graph, libvirt's word, its name. */
#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include <strings.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/relate/internal.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

const char *role_name(enum role role)
{
    static const char *const names[_ROLE_MAX] = {
        [ROLE_UNKNOWN] = "unknown",       [ROLE_BASE] = "base",         [ROLE_GOLDEN] = "golden",
        [ROLE_OVERLAY] = "overlay",       [ROLE_LEAF] = "leaf",         [ROLE_BACKUP] = "backup",
        [ROLE_MEDIUM] = "install-medium", [ROLE_LEFTOVER] = "leftover", [ROLE_EXTENT] = "extent",
    };

    return (unsigned)role < _ROLE_MAX ? names[role] : NULL;
}

static const char *path_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* ---- backup tools ---------------------------------------------------------------------------- */

/* Names as the tools' sources make them; * and ? as in the shell, # a digit. */
static const struct {
    const char *tool, *pattern;
    bool kept;                  /* a backup itself, not what the tool needs while it makes one */
} tools[] = {
    { "fi-backup", "*.bimg-*", false },
    /* scratch file */
    { "virtnbdbackup", "backup.[A-Z0-9][A-Z0-9][A-Z0-9][A-Z0-9][A-Z0-9].[shv]d[a-z]*", false },
    { "virtnbdbackup", "*.full.data", true },
    { "virtnbdbackup", "*.inc.virtnbdbackup.*.data", true },
    { "virtnbdbackup", "*.copy.data", true },
    { "backup-vm", "*-tempsnap", false },
    { "backup-vm", "*-tempsnap.*", false },
    { "virt-backup", "*.##########", false },                  /* libvirt's own name of a
                                                                * snapshot: the time */
    { "vinchin", "*[vV]inchin*", false },
    { "veeam", "*[vV][eE][eE][aA][mM]*", false },
    { "proxmox", "vzdump-qemu-*", true },
    { "proxmox", "vm-*-fleece-*", false },
    { "acronis", "*[aA]cronis*snap*", false },
    { "nakivo", "*[nN]akivo*", false },
    { "commvault", "*_GX_BACKUP_*", false },
    { "netbackup", "*NBU_SNAPSHOT*", false },
    { "bareos", "*bareos*snap*", false },
    { "libvirt backup", "*.backup-scratch*", false },
};

static bool name_matches(const char *pattern, const char *name)
{
    const char *digits = strchr(pattern, '#');
    size_t n, n_name = strlen(name);

    if (!digits)
        return fnmatch(pattern, name, 0) == 0;
    n = strlen(digits);
    if (n_name <= n || name[n_name - n - 1] != '.')
        return false;
    for (const char *c = name + n_name - n; *c; c++)
        if (!isdigit((unsigned char)*c))
            return false;
    return true;
}

const char *backup_tool(const char *path)
{
    const char *name = path_name(path);

    if (fnmatch("*.orphan", name, 0) == 0)
        return NULL;            /* put aside */
    for (size_t i = 0; i < ELEMENTSOF(tools); i++)
        if (name_matches(tools[i].pattern, name))
            return tools[i].tool;
    return NULL;
}

bool backup_tool_is_temporary(const char *path)
{
    const char *name = path_name(path);

    for (size_t i = 0; backup_tool(path) && i < ELEMENTSOF(tools); i++)
        if (name_matches(tools[i].pattern, name))
            return !tools[i].kept;
    return false;
}

bool name_is_backup(const char *path)
{
    static const char *const patterns[] = {
        "*.before-repair", "*.bak", "*.bak.*", "*.backup", "*.backup.*", "*.old", "*.orig", "*.vma",
        "*.vma.*", "*.orphan",
    };

    for (size_t i = 0; i < ELEMENTSOF(patterns); i++)
        if (fnmatch(patterns[i], path_name(path), 0) == 0)
            return true;
    return false;
}

static bool has_extension(const char *path, const char *extension)
{
    const char *dot = strrchr(path_name(path), '.');

    return dot && strcasecmp(dot + 1, extension) == 0;
}

/* ---- roles ----------------------------------------------------------------------------------- */

bool path_is_kept(const char *path)
{
    return has_extension(path, "iso") || backup_tool(path) || name_is_backup(path);
}

static char *sentence(const char *format, ...) __attribute__((format(printf, 1, 2)));

static char *sentence(const char *format, ...)
{
    va_list arguments;
    char *text;
    int r;

    va_start(arguments, format);
    r = vasprintf(&text, format, arguments);
    va_end(arguments);
    return r < 0 ? NULL : text;
}

/* "disk vda of the running domain web1", "layer 3 of disk vda of the domain web1 (not running)";
 * malloc'd. */
static char *entry_words(const struct usage_entry *entry)
{
    _cleanup_free_ char *domain = text_escape_string(entry->domain->name), *target = NULL;
    const char *state = entry->live ? "running " : "";

    if (entry->disk)
        target = text_escape_string(entry->disk->target);
    if (!domain || (entry->disk && !target))
        return NULL;
    if (!entry->disk)
        return sentence("a file of the %sdomain %s", state, domain);
    if (entry->kind == USAGE_MIRROR)
        return sentence("the target of a copy of disk %s of the %sdomain %s", target, state,
                        domain);
    if (entry->layer > 0)
        return sentence("a layer of disk %s of the %sdomain %s", target, state, domain);
    return sentence("disk %s of the %sdomain %s", target, state, domain);
}

/* Words on users of a layer other than its disk, to follow "; ", or "". */
static char *snapshot_words(const struct usage *usage)
{
    const struct usage_entry *made = usage_made(usage, NULL);
    _cleanup_free_ char *name = made ? text_escape_string(made->snapshot->name) : NULL;

    if (!made)
        return strdup("");
    return name ? sentence("; the snapshot %s made it", name) : NULL;
}

static char *leaf_reason(const struct graph *graph, const struct usage *usage)
{
    const struct usage_entry *source = usage_source(usage);
    _cleanup_free_ char *words = NULL, *snapshot = NULL;

    if (source) {
        words = entry_words(source);
        snapshot = snapshot_words(usage);
        return words && snapshot ? sentence("It is %s%s.", words, snapshot) : NULL;
    }
    return strdup(
        usage_status(graph->usage)
            ? "It has a parent and no overlay; no domain has it as its disk."
            : "It has a parent and no overlay; which domain uses it is not known without libvirt.");
}

static char *machine_reason(const struct image *machine)
{
    _cleanup_free_ char *name = text_escape_string(path_name(machine->path));

    return name ? sentence("It is a disk of the virtual machine that %s defines.", name) : NULL;
}

static bool stands_on_another(const struct graph *graph, const struct image *image)
{
    return image->parent.state != REFERENCE_NONE && !image_opened_raw(graph, image);
}

int graph_role(const struct graph *graph, const struct image *image, enum role *ret_role,
               char **ret_reason)
{
    const struct relation *relation = graph_relation(graph, image);
    struct usage usage = graph_image_usage(graph, image);
    const struct usage_entry *source = usage_source(&usage);
    const struct image *machine = graph_machine(graph, image);
    const char *tool = backup_tool(image->path);
    _cleanup_free_ char *reason = NULL, *words = NULL;
    enum role role = ROLE_UNKNOWN;

    if (!relation) {
        reason = strdup("Its place is not known yet.");
    } else if (relation->golden) {
        role = ROLE_GOLDEN;
        reason =
            relation->golden_inferred && image_is_golden_by_baseline(image) &&
                    image->fingerprint.mtime != image->baseline->fingerprint.mtime
                ? strdup("It was a base of several disks when its content was remembered, and was "
                         "written since.")
            : relation->golden_inferred
                ? sentence(
                      "It is a base of %u overlays, older than all of them, and nothing writes "
                      "it.",
                      relation->n_children)
                : strdup("The configuration declares it.");
    } else if (usage_is_medium(&usage)) {
        role = ROLE_MEDIUM;
        words = entry_words(&usage.entries[0]);
        reason = words ? sentence("It is %s, a drive for removable media.", words) : NULL;
    } else if (tool && !source) {
        role = ROLE_BACKUP;
        reason = sentence("Its name is one that %s gives.", tool);
    } else if (source) {
        role = ROLE_LEAF;
        reason = leaf_reason(graph, &usage);
    } else if (machine && relation->n_children == 0) {
        role = ROLE_LEAF;
        reason = machine_reason(machine);
    } else if (relation->n_children > 0) {
        _cleanup_free_ char *snapshot = snapshot_words(&usage);
        const struct usage_entry *layer = usage_layer(&usage);

        role = stands_on_another(graph, image) ? ROLE_OVERLAY : ROLE_BASE;
        words = layer ? entry_words(layer) : NULL;
        if (snapshot && (words || !layer))
            reason = sentence("%u overlay%s %s it as parent%s%s%s.", relation->n_children,
                              relation->n_children == 1 ? "" : "s",
                              relation->n_children == 1 ? "has" : "have", words ? "; it is " : "",
                              words ? words : "", snapshot);
    } else if (usage.n_entries > 0) {
        role = usage.entries[0].kind == USAGE_LAYER ? ROLE_OVERLAY : ROLE_UNKNOWN;
        words = entry_words(&usage.entries[0]);
        reason = words ? sentence("It is %s.", words) : NULL;
    } else if (has_extension(image->path, "iso")) {
        role = ROLE_MEDIUM;
        reason = strdup("Its name ends in .iso.");
    } else if (name_is_backup(image->path)) {
        role = ROLE_BACKUP;
        reason = strdup("Its name is one of copies that are kept.");
    } else if (graph_is_data_file(graph, image)) {
        const struct image *owner = graph_data_owner(graph, image);

        if (owner && owner->extents.n > 0) {
            role = ROLE_EXTENT;
            words = text_escape_string(path_name(owner->path));
            reason = words ? sentence("It holds a piece of the disk %s.", words) : NULL;
        } else
            reason = strdup("Another image keeps its data in it.");
    } else if (graph_is_unused(graph, image)) {
        role = ROLE_LEFTOVER;
        reason = strdup(
            "No domain, snapshot or other image refers to it, and nothing holds it open.");
    } else if (stands_on_another(graph, image)) {
        role = ROLE_LEAF;
        reason = leaf_reason(graph, &usage);
    } else {
        reason = strdup(usage_is_complete(graph->usage)
                            ? "No domain refers to it, but something else may."
                            : "Which domain uses it is not known without libvirt.");
    }
    if (!reason)
        return -ENOMEM;
    *ret_role = role;
    if (ret_reason)
        *ret_reason = TAKE_PTR(reason);
    return 0;
}
