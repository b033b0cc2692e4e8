/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The table of obstacles to a command, image by image. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/core/datastore.h"
#include "daemon/remedy/gate.h"
#include "daemon/remedy/looks.h"
#include "helpers/clock.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

/* A snapshot of a running guest: the overlay is made first, then QEMU moves to it. */
#define SNAPSHOT_SLACK (INT64_C(60) * (int64_t)NSEC_PER_SEC)

/* A QEMU tool opens the image with everything below it. */
#define OPENS (GATE_OPEN | GATE_CONVERT | GATE_REPAIR | GATE_WRITE | GATE_FILL | GATE_LOSE)
/* The image is another file afterwards, or has another name. */
#define WRITES (GATE_REPAIR | GATE_WRITE | GATE_REFERENCE | GATE_FILL | GATE_LOSE | GATE_PATCH)
#define ALL                                                                                        \
    (GATE_COPY | GATE_READ | OPENS | WRITES | GATE_PARENT | GATE_MOVE | GATE_USE | GATE_MODE)
#define MERGES (GATE_FILL | GATE_LOSE)

__attribute__((format(printf, 2, 3))) static bool say(char *detail, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(detail, GATE_DETAIL_MAX, format, arguments);
    va_end(arguments);
    return true;
}

static bool say_name(char *detail, const char *before, const char *name)
{
    _cleanup_free_ char *escaped = text_escape_string(name);

    return say(detail, "%s%s", before, escaped ? escaped : "?");
}

static const struct relation *relation_of(const struct gate *gate, const struct gate_item *item)
{
    return graph_relation(gate->graph, item->image);
}

static struct usage usage_of(const struct gate *gate, const struct gate_item *item)
{
    return graph_image_usage(gate->graph, item->image);
}

/* Libvirt says that the domain which the command goes through has it open. */
static bool is_live_layer(const struct gate *gate, const struct image *image)
{
    struct usage usage = graph_image_usage(gate->graph, image);

    for (size_t i = 0; gate->live && i < usage.n_entries; i++)
        if (usage.entries[i].kind == USAGE_LAYER && usage.entries[i].live &&
            usage.entries[i].domain == gate->domain)
            return true;
    return false;
}

/* And its guest writes this one. */
static bool is_live_leaf(const struct gate *gate, const struct image *image)
{
    struct usage usage = graph_image_usage(gate->graph, image);

    for (size_t i = 0; gate->live && i < usage.n_entries; i++)
        if (usage.entries[i].kind == USAGE_LAYER && usage.entries[i].live &&
            usage.entries[i].layer == 0 && usage.entries[i].domain == gate->domain)
            return true;
    return false;
}

/* A snapshot of the domain's made the layer, or its disk was seen to move there: then it is no
 * stranger's. */
static bool is_made_by_snapshot(const struct gate *gate, const struct image *image)
{
    const struct relation *relation = graph_relation(gate->graph, image);
    struct usage usage = graph_image_usage(gate->graph, image);

    return gate->domain && (usage_made(&usage, gate->domain) ||
                            (relation && relation->decisive == EVIDENCE_DISK_MOVED));
}

/* ---- the file ------------------------------------------------------------------------------- */

static bool name_is_odd(const struct gate *gate, const struct gate_item *item, char *detail)
{
    return !remedy_name_is_plain(item->image->path);
}

static bool is_offline(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct datastore *datastore = item->image->datastore;

    return !item->image->present || !datastore || datastore->state != DATASTORE_ONLINE;
}

static bool is_on_network(const struct gate *gate, const struct gate_item *item, char *detail)
{
    return item->image->datastore && item->image->datastore->root.network;
}

static bool libvirt_is_silent(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct usage_index *index = graph_usage(gate->graph);

    return (gate->remedy->looks && looks_libvirt_unknown(gate->remedy->looks)) ||
           (usage_status(index) && !usage_is_complete(index));
}

static bool is_gone(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct look *look = gate_look(gate, item->image);

    return look && look->error == -ENOENT;
}

static bool cannot_be_looked_at(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct look *look = gate_look(gate, item->image);

    return look && look->error < 0 && look->error != -ENOENT &&
           say(detail, "%s", strerror(-look->error));
}

static bool is_not_audited(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct relation *relation = relation_of(gate, item);

    return !image_layer(item->image) || !relation || relation->pending ||
           item->image->parent.state == REFERENCE_PENDING ||
           item->image->data_file.state == REFERENCE_PENDING;
}

/* The audit was of what is there now. A guest's own writes say nothing. */
static bool has_changed(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct image *image = item->image;
    const struct look *look = gate_look(gate, image);
    struct identity identity;

    if (!look || look->error < 0 || !image->audit || is_live_leaf(gate, image) ||
        image_is_device(image))
        return false;
    identity = identity_from_stat(&look->stat);
    return !identity_equal(&identity, &image->identity) ||
           look->stat.size != image->audit->fingerprint.size ||
           look->stat.mtime != image->audit->fingerprint.mtime;
}

static bool has_other_names(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct look *look = gate_look(gate, item->image);
    uint32_t links = look && look->error == 0 ? look->stat.links : item->image->fingerprint.links;

    return !image_is_device(item->image) && links > 1 && say(detail, "%u", links);
}

static bool is_device_to_copy(const struct gate *gate, const struct gate_item *item, char *detail)
{
    return image_is_device(item->image);
}

/* Only a raw disk is known to fit the device that it lies on. */
static bool is_device_to_fill(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct layer_report *layer = image_layer(item->image);

    return image_is_device(item->image) && layer && layer->info.format != QCA_FORMAT_RAW;
}

/* ---- who else has it ------------------------------------------------------------------------ */

static bool entry_is_others(const struct gate *gate, const struct gate_item *item,
                            const struct usage_entry *entry, const struct virt_domain **first)
{
    if (item->acts & GATE_MOVE)
        return true;
    if (!gate->domain) {
        /* Of a chain that no domain has as its disk, no layer is any domain's. */
        if (item->acts & MERGES)
            return true;
        if (!*first)
            *first = entry->domain;
        return entry->domain != *first;
    }
    if (entry->domain != gate->domain || entry->kind == USAGE_MIRROR || entry->kind == USAGE_FILE)
        return true;
    return gate->disk && entry->disk && entry->disk->target && gate->disk->target &&
           strcmp(entry->disk->target, gate->disk->target) != 0;
}

static bool is_used_by_others(const struct gate *gate, const struct gate_item *item, char *detail)
{
    struct usage usage = usage_of(gate, item);
    const struct virt_domain *first = NULL;

    for (size_t i = 0; i < usage.n_entries; i++) {
        const struct usage_entry *entry = &usage.entries[i];
        _cleanup_free_ char *domain = NULL;

        if (!entry_is_others(gate, item, entry, &first))
            continue;
        domain = text_escape_string(entry->domain->name);
        if (entry->domain == gate->domain && entry->disk && entry->disk->target)
            return say(detail, "disk %s of the same domain", entry->disk->target);
        return say(detail, "domain %s%s%s", domain ? domain : "?",
                   entry->kind == USAGE_MADE || entry->kind == USAGE_BEFORE ? " (a snapshot of it)"
                                                                           : "",
                   entry->live ? ", which is running" : "");
    }
    return false;
}

/* The memory that was saved goes with the disks as they were. */
static bool has_saved_user(const struct gate *gate, const struct gate_item *item, char *detail)
{
    struct usage usage = usage_of(gate, item);

    if (gate->domain && gate->domain->state == VIRT_SAVED)
        return say_name(detail, "", gate->domain->name);
    for (size_t i = 0; i < usage.n_entries; i++)
        if (usage.entries[i].domain->state == VIRT_SAVED)
            return say_name(detail, "", usage.entries[i].domain->name);
    return false;
}

static bool is_in_use(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const unsigned readers_do_not_hurt = GATE_COPY | GATE_OPEN | GATE_CONVERT | GATE_PARENT;
    struct usage usage = usage_of(gate, item);
    const struct look *look = gate_look(gate, item->image);
    enum files_use locked = look && look->error == 0 ? look->use : item->image->use,
                   said = usage_use(&usage);

    if (graph_vmware_use(gate->graph, item->image) == FILES_WRITER)
        return say(detail, "an ESXi host has it locked");
    if (is_live_leaf(gate, item->image))
        return false;
    if (is_live_layer(gate, item->image))
        return locked == FILES_WRITER &&
               say(detail, "its locks say that it is open for writing, which the domain does not "
                           "explain");
    if (said == FILES_WRITER || (said != FILES_UNUSED && item->acts & ~readers_do_not_hurt))
        return say(detail, "libvirt says so");
    if (locked == FILES_WRITER)
        return say(detail, "its locks say that it is open for writing");
    return locked != FILES_UNUSED && item->acts & ~readers_do_not_hurt &&
           say(detail, "its locks say that it is open for reading");
}

static bool has_another_child(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct image *child;

    for (size_t i = 0; (child = graph_child(item->image, i)); i++)
        if (!gate_find(gate, child))
            return say_name(detail, "", child->path);
    return false;
}

static bool keeps_data_of_another(const struct gate *gate, const struct gate_item *item,
                                  char *detail)
{
    return graph_is_data_file(gate->graph, item->image);
}

static bool shares_data_file(const struct gate *gate, const struct gate_item *item, char *detail)
{
    struct image *other = NULL;

    return graph_data_file_users(gate->graph, item->image, &other, 1) > 0 && other &&
           say_name(detail, "", other->path);
}

/* The layer above it is no snapshot of the same disk, as far as one can tell. */
static bool may_be_template(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct image *child;

    for (size_t i = 0; (child = graph_child(item->image, i)); i++) {
        const struct relation *above = graph_relation(gate->graph, child);

        if (gate_find(gate, child) && above && above->kind != RELATION_SNAPSHOT)
            return say_name(detail, "", child->path);
    }
    return false;
}

static bool is_golden(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct relation *relation = relation_of(gate, item);

    return relation && relation->golden;
}

/* A copy that somebody made, to have the image as it was: a repair, a merge or another name would
 * take just that from it. What a domain has as its disk is no copy, however it is called. */
static bool is_kept_copy(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const char *path = item->image->path;

    return (name_is_backup(path) || (backup_tool(path) && !backup_tool_is_temporary(path))) &&
           usage_of(gate, item).n_entries == 0;
}

/* Could it be what the definition looks for, and cannot find any more? Of a run it is known which
 * file it began with. */
static bool is_lost_disk(const struct gate *gate, const struct image *image,
                         const struct virt_disk *disk)
{
    const struct usage_entry *entry = usage_of_layer(graph_usage(gate->graph), disk, 0);
    const struct layer_report *layer = image_layer(image);
    const char *format = disk->n_layers > 0 ? disk->layers[0].format : NULL,
               *folder = image->datastore ? image->datastore->path : NULL;
    size_t n = folder ? strlen(folder) : 0;

    if (!entry || !entry->missing || virt_disk_is_medium(disk))
        return false;
    if (entry->noted && !identity_equal(&entry->identity, &image->identity))
        return false;
    if (folder && (strncmp(entry->path, folder, n) != 0 || entry->path[n] != '/'))
        return false;
    return !format || !layer || strcmp(format, qca_format_name(layer->probed_format)) == 0;
}

static bool may_be_lost_disk(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct virt_status *status = usage_status(graph_usage(gate->graph));

    if (backup_tool_is_temporary(item->image->path))
        return false;
    for (size_t i = 0; status && i < status->n_domains; i++) {
        const struct virt_domain *domain = &status->domains[i];
        bool lost = false;

        for (size_t k = 0; k < domain->n_disks && !lost; k++)
            lost = is_lost_disk(gate, item->image, &domain->disks[k]);
        for (size_t k = 0; k < domain->n_defined_disks && !lost; k++)
            lost = is_lost_disk(gate, item->image, &domain->defined_disks[k]);
        if (lost)
            return say_name(detail, "", domain->name);
    }
    return false;
}

/* ---- the chain ------------------------------------------------------------------------------ */

static bool is_in_loop(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct relation *relation = relation_of(gate, item);

    return relation && (relation->in_loop || relation->above_loop);
}

static bool reference_is_refused(const struct reference *reference)
{
    return reference->state == REFERENCE_ESCAPES || reference->state == REFERENCE_IS_REMOTE;
}

/* Calls back for the image and all below, until one says yes. */
static bool any_layer(const struct gate *gate, const struct image *image,
                      bool (*holds)(const struct image *layer))
{
    for (const struct image *layer = image; layer;) {
        const struct relation *relation = graph_relation(gate->graph, layer);

        if (holds(layer))
            return true;
        if (!relation || relation->in_loop || relation->above_loop)
            return false;
        layer = relation->parent;
    }
    return false;
}

static bool layer_is_refused(const struct image *layer)
{
    return reference_is_refused(&layer->parent) || reference_is_refused(&layer->data_file);
}

static bool names_what_was_refused(const struct gate *gate, const struct gate_item *item,
                                   char *detail)
{
    if (!(item->acts & (OPENS | GATE_USE | GATE_READ)))
        return reference_is_refused(&item->image->data_file);
    return any_layer(gate, item->image, layer_is_refused);
}

static bool is_incomplete(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct relation *relation = relation_of(gate, item);
    const struct reference *data = &item->image->data_file;

    return (data->state != REFERENCE_NONE && data->state != REFERENCE_FOUND) ||
           (relation && !relation->complete);
}

static bool layer_is_encrypted(const struct image *layer)
{
    const struct layer_report *report = image_layer(layer);

    return report && report->info.crypt_method != QCA_CRYPT_NONE;
}

static bool is_encrypted(const struct gate *gate, const struct gate_item *item, char *detail)
{
    return item->acts & OPENS ? any_layer(gate, item->image, layer_is_encrypted)
                              : layer_is_encrypted(item->image);
}

static bool layer_is_foreign(const struct image *layer)
{
    const struct layer_report *report = image_layer(layer);

    return report && (!qca_format_has(report->info.format, QCA_TRAIT_COMMANDS) ||
                      !qca_format_has(report->probed_format, QCA_TRAIT_COMMANDS));
}

static bool is_foreign(const struct gate *gate, const struct gate_item *item, char *detail)
{
    return item->acts & OPENS ? any_layer(gate, item->image, layer_is_foreign)
                              : layer_is_foreign(item->image);
}

/* ---- what it holds -------------------------------------------------------------------------- */

/* While a guest writes it, the counters of its tables say nothing. */
static bool is_damaged(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct layer_report *layer = image_layer(item->image);

    if (is_live_leaf(gate, item->image))
        return layer && layer->info.incompatible_features & QCA_INCOMPAT_CORRUPT;
    return layer && !remedy_image_is_sound(gate->graph, item->image);
}

static bool has_data_file(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct layer_report *layer = image_layer(item->image);

    return layer && layer->info.incompatible_features & QCA_INCOMPAT_DATA_FILE;
}

static bool has_snapshots(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct layer_report *layer = image_layer(item->image);

    return layer && (layer->info.snapshot_count > 0 || layer->info.n_snapshots > 0) &&
           say(detail, "%zu",
               layer->info.n_snapshots > 0 ? layer->info.n_snapshots
                                           : (size_t)layer->info.snapshot_count);
}

/* Libvirt carries them over when it merges for a running domain. */
static bool has_bitmaps(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct layer_report *layer = image_layer(item->image);

    return layer && layer->info.n_bitmaps > 0 && !is_live_layer(gate, item->image) &&
           say(detail, "%zu", layer->info.n_bitmaps);
}

static bool declares_parent_wrongly(const struct gate *gate, const struct gate_item *item,
                                    char *detail)
{
    const struct relation *relation = relation_of(gate, item);
    const struct layer_report *below = relation && relation->parent
                                           ? image_layer(relation->parent) : NULL;

    return !item->image->parent.format || !below ||
           qca_format_from_name(item->image->parent.format) != below->probed_format;
}

/* After the merge the guest's disk is as large as the lower layer. */
static bool is_larger_than_leaf(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct layer_report *own = image_layer(item->image);

    for (size_t i = 0; own && i < gate->n_items; i++) {
        const struct layer_report *layer = image_layer(gate->items[i].image);

        if (gate->items[i].acts & GATE_LOSE && layer &&
            layer->info.virtual_size < own->info.virtual_size)
            return say_name(detail, "", gate->items[i].image->path);
    }
    return false;
}

static int64_t written_at(const struct gate *gate, const struct image *image)
{
    const struct look *look = gate_look(gate, image);

    return look && look->error == 0 ? look->stat.mtime : image->fingerprint.mtime;
}

/* Somebody wrote it under the layer that is to be merged into it: it is somebody's own disk, or the
 * layer above is no longer valid. */
static bool was_written_after(const struct gate *gate, const struct gate_item *item, char *detail)
{
    const struct image *child;

    for (size_t i = 0; (child = graph_child(item->image, i)); i++) {
        bool explained = is_made_by_snapshot(gate, child) || is_live_layer(gate, child);
        int64_t born = child->identity.btime, slack = explained ? SNAPSHOT_SLACK : 0;

        if (!gate_find(gate, child))
            continue;
        if (image_is_device(item->image) || image_is_device(child)) {
            if (!explained)
                return say_name(detail, "", child->path);
            continue;
        }
        if (born == 0)
            born = written_at(gate, child);
        if (written_at(gate, item->image) > born + slack)
            return say_name(detail, "", child->path);
    }
    return false;
}

/* ---- who may read it ------------------------------------------------------------------------ */

struct access { uint32_t mode, uid, gid; };

static struct access access_of(const struct gate *gate, const struct image *image)
{
    const struct look *look = gate_look(gate, image);

    if (look && look->error == 0)
        return (struct access){ look->stat.mode, look->stat.uid, look->stat.gid };
    return (struct access){ image->fingerprint.mode, image->fingerprint.uid,
                            image->fingerprint.gid };
}

/* Everybody who may read the file to may read the data that come from the file from. */
static bool readers_may_read(const struct access *to, const struct access *from)
{
    if (from->mode & S_IROTH)
        return true;
    if (to->mode & S_IROTH || (to->uid != 0 && to->uid != from->uid))
        return false;
    return !(to->mode & S_IRGRP) || (from->mode & S_IRGRP && to->gid == from->gid);
}

/* Data of a layer go into a file of somebody else. */
static bool would_change_owner(const struct gate *gate, const struct gate_item *item, char *detail)
{
    struct access to = access_of(gate, item->image);

    for (size_t i = 0; item->acts & GATE_FILL && i < gate->n_items; i++) {
        const struct image *layer = gate->items[i].image;
        struct access from = access_of(gate, layer);

        if (!(gate->items[i].acts & GATE_LOSE) || is_live_layer(gate, layer) ||
            is_made_by_snapshot(gate, layer))
            continue;
        if (!readers_may_read(&to, &from) || from.uid != to.uid)
            return say_name(detail, "", layer->path);
    }
    for (const struct image *layer = item->acts & GATE_CONVERT ? item->image : NULL; layer;) {
        const struct relation *relation = graph_relation(gate->graph, layer);
        struct access from = access_of(gate, layer);

        if (!readers_may_read(&to, &from))
            return say_name(detail, "", layer->path);
        layer = relation && !relation->in_loop && !relation->above_loop ? relation->parent : NULL;
    }
    return false;
}

/* A group that may write it is how somebody opens it, most likely. */
static bool may_be_opened_by_mode(const struct gate *gate, const struct gate_item *item,
                                  char *detail)
{
    struct usage usage = usage_of(gate, item);
    const struct look *look = gate_look(gate, item->image);

    if (look && look->error == 0 && look->use == FILES_WRITER)
        return say(detail, "its locks say that it is open for writing");
    for (size_t i = 0; i < usage.n_entries; i++)
        if (usage.entries[i].writes)
            return say_name(detail, "it is written by domain ", usage.entries[i].domain->name);
    return false;
}

/* ---- what the command goes through ---------------------------------------------------------- */

static bool is_transient(const struct gate *gate, const struct gate_item *item, char *detail)
{
    return gate->disk && gate->disk->transient;
}

static bool has_block_job(const struct gate *gate, const struct gate_item *item, char *detail)
{
    if (gate->disk && gate->disk->job.type)
        return say_name(detail, "a block job runs on the disk: ", gate->disk->job.type);
    if (gate->domain && gate->domain->backup)
        return say(detail, "a backup of the domain is under way");
    return gate->domain && gate->domain->migrating && say(detail, "the domain is being migrated");
}

/* ---- the table ------------------------------------------------------------------------------ */

/* In the order in which they are said. */
const struct obstacle gate_obstacles[] = {
    { "name", ALL, name_is_odd,
      "%s has a name that not every shell can quote",
      "Rename the file first (find -inum), then the commands can be given." },
    { "offline", ALL, is_offline,
      "%s is in a datastore that is not online, so it cannot be examined",
      "Bring the datastore back first." },
    { "gone", ALL, is_gone,
      "%s no longer exists",
      "The next look at the datastore settles what became of it." },
    { "not-looked-at", ALL, cannot_be_looked_at,
      "the locks of %s could not be looked at: %s",
      "Ask again when the datastore answers." },
    { "network", WRITES | GATE_MOVE | GATE_USE, is_on_network,
      "%s lies on a network file system, and other hosts may use it, too",
      "Find out on every host that mounts it whether a domain there uses it, or a layer "
      "above it." },
    { "libvirt", WRITES | GATE_CONVERT | GATE_MOVE | GATE_USE, libvirt_is_silent,
      "libvirt does not report everything, so it is unknown whether a domain uses %s",
      "See 'qcauditctl status' for the connection that is missing." },
    { "not-audited", ALL & ~(GATE_COPY | GATE_MODE | GATE_PATCH), is_not_audited,
      "%s was not audited yet, or could not be",
      "See what 'qcauditctl show' says of it, and settle that first." },
    { "changed", ALL & ~(GATE_COPY | GATE_MODE), has_changed,
      "%s was changed since it was audited",
      "Ask again after its next audit (qcauditctl scan)." },
    { "other-user", WRITES | GATE_MOVE | GATE_USE, is_used_by_others,
      "%s is used by %s",
      "Find out whose disk it is, and whether the other user can do without it." },
    { "saved", WRITES | GATE_CONVERT | GATE_MOVE | GATE_USE, has_saved_user,
      "%s belongs to a domain whose memory was saved, and goes on with its disks as they were: %s",
      "Start the domain and shut it off, or give its saved state up (virsh managedsave-remove)." },
    { "in-use", ALL & ~GATE_MODE, is_in_use,
      "%s is in use now: %s",
      "Shut off the domain that uses it, or end what has it open (fuser -v names processes); then "
      "ask again." },
    { "other-overlay", GATE_REPAIR | GATE_WRITE | GATE_PATCH | MERGES | GATE_MOVE | GATE_USE,
      has_another_child,
      "%s has another overlay, which would be ruined: %s",
      "Decide first which of them is to live, and make the others whole (qemu-img convert)." },
    { "data-of-another", WRITES | GATE_MOVE | GATE_USE | GATE_MODE, keeps_data_of_another,
      "%s holds the data of another image, which names it as its data file",
      "Look at that image instead." },
    { "shared-data-file", GATE_REPAIR | GATE_WRITE, shares_data_file,
      "%s keeps its data in a file that is also the data file of %s",
      "Settle data-file-shared first." },
    { "golden", WRITES | GATE_MOVE | GATE_USE, is_golden,
      "%s is a golden image, and a golden image would be written or moved",
      "Make it again under a new name, and make new clones from that." },
    { "kept-copy", WRITES | GATE_MOVE | GATE_USE, is_kept_copy,
      "%s is a copy that is kept, by its name",
      "Leave it as it is, and settle the image that it is a copy of. If it is somebody's disk, "
      "give it a name that says so first." },
    { "lost-disk", GATE_MOVE, may_be_lost_disk,
      "%s may be, under another name, the disk that a domain's definition names and that is not "
      "there: %s",
      "Find out (qcauditctl history). If it is, move it back; else take that disk out of the "
      "definition (virsh detach-disk --config), or undefine the domain." },
    { "template", MERGES, may_be_template,
      "%s may be a template: nothing says that the layer above it is a snapshot of the same disk: "
      "%s",
      "Find out, and declare it as a golden image (golden.patterns) if it is one." },
    { "hard-link", WRITES | GATE_MOVE | GATE_USE | GATE_MODE, has_other_names,
      "%s has other names for the same file (hard links, %s in all), by which somebody else may "
      "use it",
      "Find them (find -samefile), and find out who uses them." },
    { "loop", ALL & ~(GATE_COPY | GATE_MODE | GATE_PATCH), is_in_loop,
      "the chain of %s contains itself",
      "Settle chain-loop first." },
    { "refused", OPENS | GATE_USE | GATE_REFERENCE | GATE_PARENT | GATE_READ,
      names_what_was_refused,
      "%s, or a layer below it, names a file that no QEMU tool may open",
      "Settle reference-escapes or reference-remote first." },
    { "incomplete", OPENS | GATE_USE, is_incomplete,
      "the chain of %s is not complete",
      "Settle its other findings first." },
    { "format", OPENS | GATE_USE | GATE_REFERENCE | GATE_PARENT, is_foreign,
      "%s, or a layer below it, is neither qcow2 nor raw",
      "Find out what made it, and use that program's own tools." },
    { "encrypted", OPENS | GATE_REFERENCE, is_encrypted,
      "%s, or a layer below it, is encrypted, and the command would need its key",
      "Give the key by hand: see --object secret in qemu-img(1)." },
    { "damaged", GATE_CONVERT | GATE_WRITE | GATE_FILL | GATE_LOSE | GATE_REFERENCE | GATE_PARENT,
      is_damaged,
      "%s is damaged",
      "Settle that first." },
    { "data-file", GATE_CONVERT | MERGES, has_data_file,
      "%s keeps its data in another file",
      "Merge or copy it by hand, with that file." },
    { "internal-snapshots", GATE_CONVERT | MERGES, has_snapshots,
      "%s holds internal snapshots (%s), which would be lost or changed",
      "See qemu-img snapshot -l; delete them first when nobody needs them." },
    { "bitmaps", GATE_CONVERT | MERGES, has_bitmaps,
      "%s holds persistent bitmaps (%s) of backups, which would be lost",
      "Let the backup tool make a full backup first, then remove them (qemu-img bitmap)." },
    { "parent-format", GATE_LOSE, declares_parent_wrongly,
      "%s does not declare its parent's format rightly",
      "Settle that first." },
    { "larger", GATE_FILL, is_larger_than_leaf,
      "%s is a larger disk than the layer that would be merged into it, %s",
      "Find out which size the guest's disk is to have." },
    { "written-after", MERGES, was_written_after,
      "%s was written after the layer above it was made: %s",
      "Find out who wrote it: it may be somebody's own disk, and the layer a test of it; then the "
      "merge would overwrite what was written." },
    { "owner", GATE_FILL | GATE_CONVERT, would_change_owner,
      "%s would hold data of a layer with another owner or stricter mode, %s",
      "Find out whether both belong to one guest (ls -l), and give them one owner and mode." },
    { "device-full", GATE_FILL, is_device_to_fill,
      "%s lies on a block device that may be too small for what would be merged into it",
      "Enlarge the device first, and merge by hand." },
    { "device-copy", GATE_COPY | GATE_CONVERT, is_device_to_copy,
      "%s lies on a block device, beside which there is no room for a copy",
      "Copy it to a file system with room for all of it, and go on with that." },
    { "opened-by-mode", GATE_MODE, may_be_opened_by_mode,
      "the mode of %s is in use: %s",
      "Find out as which user and group it is opened (ps -o user,group), and take away only what "
      "that does not need." },
    { "transient", MERGES, is_transient,
      "%s is of a transient disk, whose layer is to be forgotten when the domain stops and would "
      "be kept for good",
      NULL },
    { "job", MERGES | GATE_USE, has_block_job,
      "%s must be left alone now: %s",
      "Wait for its end." },
};

const size_t gate_n_obstacles = ELEMENTSOF(gate_obstacles);
