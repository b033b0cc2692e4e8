/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The remedies of internal snapshots: those that are to go, and a table that can be completed. */
#include <string.h>

#include "daemon/remedy/gate.h"
#include "lib/cleanup.h"

#define SNAPSHOTS_MAX 20        /* commands of one remedy */

/* ---- snapshots that are to go --------------------------------------------------------------- */

/* qemu-img looks a snapshot up by its name, older ones by its id too: one that means exactly
 * this snapshot. */
static const char *snapshot_argument(const struct qca_image_info *info,
                                     const struct qca_snapshot *snapshot)
{
    if (!snapshot->name || !snapshot->name[0] || !remedy_name_is_plain(snapshot->name))
        return NULL;
    for (size_t i = 0; i < info->n_snapshots; i++) {
        const struct qca_snapshot *other = &info->snapshots[i];

        if (other != snapshot && ((other->name && strcmp(other->name, snapshot->name) == 0) ||
                                  (other->id && strcmp(other->id, snapshot->name) == 0)))
            return NULL;
    }
    return snapshot->name;
}

static bool domain_knows(const struct virt_domain *domain, const char *snapshot)
{
    for (size_t i = 0; i < domain->n_snapshots; i++)
        if (domain->snapshots[i].name && strcmp(domain->snapshots[i].name, snapshot) == 0)
            return true;
    return false;
}

/* Then they can be deleted while the domain runs. */
static bool snapshots_are_libvirts(const struct virt_domain *domain,
                                   const struct qca_image_info *info, const char *only)
{
    for (size_t i = 0; i < info->n_snapshots; i++) {
        const struct qca_snapshot *snapshot = &info->snapshots[i];

        if (only && (!snapshot->id || strcmp(snapshot->id, only) != 0))
            continue;
        if (!snapshot->name || !domain_knows(domain, snapshot->name))
            return false;
    }
    return true;
}

/* Libvirt deletes snapshots itself where it knows all of them, while the domain runs, too. */
static bool delete_by_libvirt(struct remedy *remedy, const struct gate *gate,
                              const struct usage_entry *source, const char *argument)
{
    _cleanup_free_ char *virsh = NULL, *domain = NULL, *quoted = NULL;

    if (!source || argument[0] == '-' || !domain_knows(source->domain, argument))
        return false;
    virsh = remedy_virsh(remedy, gate->graph, source->domain);
    domain = remedy_domain_name(remedy, source->domain);
    quoted = remedy_quote(remedy, argument);
    if (virsh && domain && quoted)
        remedy_command(remedy, gate, "%s snapshot-delete %s %s", virsh, domain, quoted);
    return true;
}

/* only: the id of the one to delete, NULL for all. */
static void delete_snapshots(struct remedy *remedy, const struct gate *gate,
                             const struct image *image, const struct usage_entry *source,
                             const char *only)
{
    const struct layer_report *layer = image_layer(image);
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);
    size_t n_without = 0, n_more = 0, n = 0;

    for (size_t i = 0; quoted && i < layer->info.n_snapshots; i++) {
        const struct qca_snapshot *snapshot = &layer->info.snapshots[i];
        const char *argument = snapshot_argument(&layer->info, snapshot);
        _cleanup_free_ char *quoted_argument = NULL;

        if (only && (!snapshot->id || strcmp(snapshot->id, only) != 0))
            continue;
        if (n >= SNAPSHOTS_MAX) {
            n_more++;
            continue;
        }
        if (!argument) {
            n_without++;
            continue;
        }
        n++;
        if (delete_by_libvirt(remedy, gate, source, argument))
            continue;
        quoted_argument = remedy_quote(remedy, argument);
        if (!quoted_argument)
            return;
        remedy_command(remedy, gate, "qemu-img snapshot -d %s %s", quoted_argument, quoted);
    }
    remedy_step_more(remedy, n_more);
    if (n_without > 0)
        remedy_text(
            remedy,
            "Snapshots whose name is empty, odd, or also another's name or id cannot be deleted by "
            "name alone: start the domain and use its monitor, or convert the image.");
    if (!source)
        remedy_text(
            remedy,
            "Where libvirt knows the snapshot, use virsh snapshot-delete DOMAIN SNAPSHOT instead.");
}

void remedy_snapshots(struct remedy *remedy, const struct graph *graph, const struct image *image,
                      const char *only)
{
    const struct layer_report *layer = image_layer(image);
    _cleanup_free_ char *quoted = remedy_quote(remedy, image->path);
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);
    struct usage usage = graph_image_usage(graph, image);
    const struct usage_entry *source = usage_layer(&usage);
    bool live;

    if (!layer || !quoted)
        return;
    live = source && source->live && snapshots_are_libvirts(source->domain, &layer->info, only);
    if (source)
        gate_domain(&gate, source->domain, source->disk, live);
    gate_image(&gate, image, GATE_WRITE);
    if (!gate_is_open(&gate))
        return;
    if (!live)
        remedy_step_stop(remedy, &gate, image, quoted);
    remedy_precondition(remedy,
                        only || layer->info.n_snapshots == 1
                            ? "nobody needs the snapshot any more: it cannot be had back"
                            : "nobody needs any of the snapshots any more: they cannot be had "
                              "back");
    delete_snapshots(remedy, &gate, image, source, only);
}

/* ---- a table that lacks what can be filled in ------------------------------------------------ */

/* An entry that is whole but for the fields that came with version 3. */
static bool entry_is_whole(const struct qca_image_info *info, size_t at)
{
    const struct qca_snapshot *snapshot = &info->snapshots[at];

    if (!snapshot->id || !snapshot->id[0] || !snapshot->name || !snapshot->name[0] ||
        snapshot->l1_offset == 0 || snapshot->l1_entries == 0)
        return false;
    for (size_t i = 0; i < at; i++)
        if (strcmp(info->snapshots[i].id, snapshot->id) == 0)
            return false;
    return true;
}

/* Nothing is wrong with the image but that entries lack fields. Measured: qemu-img check -r all
 * writes them with the values that QEMU takes for them anyway, and the contents of all snapshots
 * stay; of any other damage of the table it leaves what it finds, or drops snapshots. */
static bool table_only_lacks_fields(const struct layer_report *layer)
{
    const struct qca_check_result *check = &layer->check;

    if (!layer->checked || !check->finished || qca_check_error(check)->kind != QCA_ERROR_NONE ||
        qca_check_count(check, QCA_ISSUE_SNAPSHOT_INCOMPLETE) == 0 ||
        layer->info.n_snapshots != layer->info.snapshot_count ||
        layer->info.incompatible_features & (QCA_INCOMPAT_CORRUPT | QCA_INCOMPAT_DIRTY))
        return false;
    for (int kind = 0; kind < _QCA_ISSUE_MAX; kind++)
        if (kind != QCA_ISSUE_SNAPSHOT_INCOMPLETE && qca_check_count(check, kind) > 0)
            return false;
    for (size_t i = 0; i < layer->info.n_snapshots; i++)
        if (!entry_is_whole(&layer->info, i))
            return false;
    return true;
}

bool remedy_snapshot_table(struct remedy *remedy, const struct graph *graph,
                           const struct image *image)
{
    const struct layer_report *layer = image_layer(image);
    _cleanup_free_ char *quoted = NULL;
    _cleanup_gate_ struct gate gate = gate_begin(remedy, graph);

    if (!layer || !table_only_lacks_fields(layer))
        return false;
    quoted = remedy_quote(remedy, image->path);
    if (!quoted)
        return true;
    remedy_text(remedy,
                "No snapshot is lost: their entries lack fields that version 3 of the format "
                "demands, as an older tool wrote them. qemu-img check -r all fills them in, and "
                "leaves the data of the guest and of all snapshots as they are.");
    gate_image(&gate, image, GATE_REPAIR);
    remedy_gate_copy(&gate, image);
    if (!gate_is_open(&gate))
        return true;
    remedy_step_stop(remedy, &gate, image, quoted);
    remedy_step_keep(remedy, &gate, image);
    remedy_and(remedy, &gate, "qemu-img check -r all %s", quoted);
    return true;
}
