/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of snapshots in libvirt's light, and in that of VMware's records: layers that none
 * explains, layers that grew large, chains that fork. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/judge/internal.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define NAMES_SHOWN 20
#define SAMPLES_SHOWN 12

void evidence_series(struct evidence *evidence, enum evidence_part member,
                     const struct series *series)
{
    _cleanup_evidence_ struct evidence list = evidence_new_list();
    unsigned n = series ? series->n : 0, shown = n < SAMPLES_SHOWN ? n : SAMPLES_SHOWN;

    for (unsigned i = 0; i < shown; i++) {
        const struct sample *sample = &series->samples[shown > 1 ? i * (n - 1) / (shown - 1) : 0];
        struct evidence item = evidence_new();

        evidence_number(&item, NUMBER_AT, sample->at);
        evidence_number(&item, NUMBER_BYTES, sample->value);
        evidence_append(&list, &item);
    }
    evidence_value(evidence, member, &list);
}

/* ---- snapshot-unmanaged ---------------------------------------------------------------------- */

/* The layers that nothing explains, n of them, of which those in the list are told. */
struct unmanaged {
    struct evidence layers;
    uint32_t n;
};

static void unmanaged_done(struct unmanaged *unmanaged)
{
    evidence_done(&unmanaged->layers);
}

static void unmanaged_add(struct unmanaged *unmanaged, const struct image *layer)
{
    struct evidence item;

    if (unmanaged->n++ >= NAMES_SHOWN)
        return;
    item = evidence_new();
    evidence_text(&item, TEXT_PATH, layer->path);
    evidence_append(&unmanaged->layers, &item);
}

/* unmanaged, layers [path], layers-omitted, own-layer, leaf, beside what evidence has; of is where
 * the layers are, and by whom they should be explained. */
static int unmanaged_judge(struct judging *judging, struct unmanaged *unmanaged,
                           struct evidence *evidence, const char *of, const char *by)
{
    uint32_t n = unmanaged->n;
    int r;

    evidence_number(evidence, NUMBER_UNMANAGED, n);
    evidence_text(evidence, TEXT_OWN_LAYER, judging->image->path);
    evidence_text(evidence, TEXT_LEAF, judging->leaf->path);
    evidence_value(evidence, PART_LAYERS, &unmanaged->layers);
    if (n > NAMES_SHOWN)
        evidence_number(evidence, NUMBER_LAYERS_OMITTED, n - NAMES_SHOWN);
    r = judging_add(judging, FINDING_SNAPSHOT_UNMANAGED, SEVERITY_WARNING, n, evidence,
                    "has %u layer%s above it in %s that %s explains", n, n == 1 ? "" : "s", of, by);
    if (r >= 0)
        judging_hold(judging, FINDING_SNAPSHOT_UNMANAGED, judging->thresholds->unmanaged_after);
    return r;
}

/* domain, connection, disk, running, ... */
static int add_unmanaged(struct judging *judging, const struct usage_entry *source,
                         struct unmanaged *unmanaged)
{
    _cleanup_evidence_ struct evidence evidence = evidence_new();
    _cleanup_free_ char *words = entry_words(source);

    if (!words)
        return -ENOMEM;
    evidence_entry(&evidence, judging, source);
    return unmanaged_judge(judging, unmanaged, &evidence, words, "no libvirt snapshot");
}

/* The same of a virtual machine of VMware's: machine, ... */
static int add_unmanaged_deltas(struct judging *judging, const struct image *machine,
                                struct unmanaged *unmanaged)
{
    _cleanup_evidence_ struct evidence evidence = evidence_new();
    _cleanup_free_ char *name = name_words(machine->path), *words = NULL;

    if (!name || asprintf(&words, "the virtual machine %s", name) < 0) {
        words = NULL;
        return -ENOMEM;
    }
    evidence_text(&evidence, TEXT_MACHINE, machine->path);
    return unmanaged_judge(judging, unmanaged, &evidence, words, "no snapshot of its list");
}

/* A layer is a snapshot's where the list has what lies below it. */
static int judge_unmanaged_deltas(struct judging *judging, const struct image *machine)
{
    _cleanup_(unmanaged_done) struct unmanaged unmanaged = { .n = 0 };
    const struct image *layer = judging->leaf;

    if (!graph_knows_snapshots(judging->graph, machine))
        return 0;
    judging_looked(judging, FINDING_SNAPSHOT_UNMANAGED);
    if (judging->chain->unconsolidated == 0)
        return 0;
    unmanaged.layers = evidence_new_list();
    for (uint32_t i = 0; i < judging->chain->unconsolidated; i++) {
        const struct image *below = graph_relation(judging->graph, layer)->parent;

        if (!graph_snapshot_list(judging->graph, below))
            unmanaged_add(&unmanaged, layer);
        layer = below;
    }
    return unmanaged.n > 0 ? add_unmanaged_deltas(judging, machine, &unmanaged) : 0;
}

/* Of a disk, with its own layer as subject. */
static int judge_unmanaged(struct judging *judging)
{
    const struct relation *chain = judging->chain;
    _cleanup_(unmanaged_done) struct unmanaged unmanaged = { .n = 0 };
    const struct image *layer = judging->leaf, *machine;
    const struct usage_entry *source;
    struct usage usage;

    judging->judgement->judged[FINDING_SNAPSHOT_UNMANAGED] = false;
    if (!chain || chain->pending || chain->in_loop || chain->above_loop)
        return 0;
    usage = graph_image_usage(judging->graph, layer);
    source = usage_source(&usage);
    machine = source ? NULL : graph_machine(judging->graph, layer);
    if (machine)
        return judge_unmanaged_deltas(judging, machine);
    /* Layers that no domain uses are no disk's chain. */
    if (!source) {
        if (graph_usage(judging->graph) && usage_is_complete(graph_usage(judging->graph)))
            judging_looked(judging, FINDING_SNAPSHOT_UNMANAGED);
        return 0;
    }
    if (!domain_is_known(judging->graph, source->domain) || source->disk->job.type ||
        source->domain->backup)
        return 0;
    judging_looked(judging, FINDING_SNAPSHOT_UNMANAGED);
    /* Libvirt itself laid the layer of a transient disk, and deletes it when the domain stops. */
    if (source->disk->transient)
        return 0;
    if (chain->unconsolidated == 0)
        return 0;
    unmanaged.layers = evidence_new_list();
    for (uint32_t i = 0; i < chain->unconsolidated; i++) {
        struct usage made = graph_image_usage(judging->graph, layer);
        const struct relation *relation = graph_relation(judging->graph, layer);

        /* A branch is what libvirt made when the domain went back to a snapshot. */
        if (!usage_made(&made, source->domain) &&
            relation->decisive != EVIDENCE_LIBVIRT_BRANCH)
            unmanaged_add(&unmanaged, layer);
        layer = relation->parent;
    }
    return unmanaged.n > 0 ? add_unmanaged(judging, source, &unmanaged) : 0;
}

/* ---- snapshot-large -------------------------------------------------------------------------- */

/* allocated-bytes, virtual-size, threshold-bytes or threshold-share, series [at, bytes]; domain,
 * ... of the disk */
static int judge_large(struct judging *judging)
{
    const struct thresholds *thresholds = judging->thresholds;
    const struct usage_entry *entry = usage_layer(&judging->usage);
    uint64_t allocated = judging->image->fingerprint.allocated,
             size = judging->layer->info.virtual_size, step = 0, share;
    char words[TEXT_SIZE_MAX], disk[TEXT_SIZE_MAX];
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    enum severity severity = SEVERITY_INFO, by_share;
    bool large, perhaps;

    if (!judging->relation || judging->relation->pending || judging->relation->in_loop ||
        judging->relation->above_loop)
        return 0;
    judging->judgement->judged[FINDING_SNAPSHOT_LARGE] =
        judging->judgement->sure[FINDING_SNAPSHOT_LARGE] = true;
    perhaps = judging->relation->kind == RELATION_UNKNOWN && !judging->relation->golden;
    if ((judging->relation->unconsolidated == 0 && !perhaps) ||
        allocated < thresholds->snapshot_large_least)
        return 0;
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_ALLOCATED_BYTES, allocated);
    evidence_number(&evidence, NUMBER_VIRTUAL_SIZE, size);
    large = steps_reached(&thresholds->snapshot_large, allocated, &severity, &step);
    if (large)
        evidence_number(&evidence, NUMBER_THRESHOLD_BYTES, step);
    share = size > 0 ? (uint64_t)((unsigned __int128)allocated * 10000 / size) : 0;
    if (steps_reached(&thresholds->snapshot_large_share, share, &by_share, &step)) {
        evidence_number(&evidence, NUMBER_SHARE, share);
        evidence_number(&evidence, NUMBER_THRESHOLD_SHARE, step);
        severity = large && severity > by_share ? severity : by_share;
        large = true;
    }
    if (!large)
        return 0;
    evidence_series(&evidence, PART_SERIES, judging->image->growth);
    if (entry)
        evidence_entry(&evidence, judging, entry);
    if (perhaps) {
        evidence_text(&evidence, TEXT_RELATION, relation_kind_name(RELATION_UNKNOWN));
        return judging_add(judging, FINDING_SNAPSHOT_LARGE, SEVERITY_INFO, allocated >> 30,
                           &evidence,
                           "takes %s, of a disk of %s, as a snapshot of its parent or a clone: if "
                           "the parent is a template, declare it by golden.patterns",
                           text_size(allocated, words), text_size(size, disk));
    }
    return judging_add(judging, FINDING_SNAPSHOT_LARGE, severity, allocated >> 30, &evidence,
                       "is a snapshot's layer and takes %s, of a disk of %s",
                       text_size(allocated, words),
                       text_size(size, disk));
}

/* ---- chain-forked ---------------------------------------------------------------------------- */

/* Did one domain's snapshots make all of the overlays? Then libvirt knows of the branches; a list
 * of snapshots knows of those of what it has. */
static bool fork_is_managed(const struct judging *judging)
{
    const struct virt_domain *domain = NULL;
    const struct image *child;

    if (graph_snapshot_list(judging->graph, judging->image))
        return true;
    for (size_t i = 0; (child = graph_child(judging->image, i)); i++) {
        struct usage usage = graph_image_usage(judging->graph, child);
        const struct usage_entry *made = usage_made(&usage, domain);

        if (!made)
            return false;
        domain = made->domain;
    }
    return true;
}

/* Is the overlay certainly the snapshot of a domain's disk? Then the parent is that disk, whatever
 * else stands on it: merging the snapshot writes it. */
static bool snapshot_is_domains(const struct relation *relation)
{
    return relation->kind == RELATION_SNAPSHOT &&
           (relation->decisive == EVIDENCE_LIBVIRT_SNAPSHOT ||
            relation->decisive == EVIDENCE_LIBVIRT_BRANCH ||
            relation->decisive == EVIDENCE_LIBVIRT_CHECKPOINT ||
            relation->decisive == EVIDENCE_DISK_MOVED ||
            relation->decisive == EVIDENCE_RECORD_SNAPSHOT);
}

static bool is_read_only(const struct image *image)
{
    return S_ISREG(image->fingerprint.mode) &&
           (!(image->fingerprint.mode & 0222) ||
            (image->audit && image->audit->verity));
}

/* branches [path, created-at; domain, connection, disk, running of who uses it], branches-omitted,
 * managed */
static int judge_forked(struct judging *judging)
{
    const struct relation *relation = judging->relation;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL }, branches = { .object = NULL };
    size_t n_snapshots = 0, n_unknown = 0, n_clones = 0;
    const struct image *child;
    enum severity severity;
    bool managed, certain = false;
    int r;

    if (!relation || relation->pending || relation->in_loop || relation->above_loop)
        return 0;
    judging_looked(judging, FINDING_CHAIN_FORKED);
    if (relation->n_children < 2 || relation->golden)
        return 0;
    /* Clones of a template are disks of their own, and a copy that somebody keeps is no branch. */
    for (size_t i = 0; n_snapshots < 2 && (child = graph_child(judging->image, i)); i++) {
        const struct relation *of = graph_relation(judging->graph, child);

        if (name_is_backup(child->path))
            continue;
        n_snapshots += of->kind == RELATION_SNAPSHOT;
        n_unknown += of->kind == RELATION_UNKNOWN;
        n_clones += of->kind == RELATION_CLONE;
        certain |= snapshot_is_domains(of);
    }
    /* A read-only image is a base of others, whatever those are called: nothing is merged into it
     * by accident. Libvirt's own snapshots of a domain are merged by root. */
    if (!certain && is_read_only(judging->image))
        return 0;
    if (certain)
        n_snapshots += n_unknown + n_clones;
    if (n_snapshots + n_unknown < 2)
        return 0;
    branches = evidence_new_list();
    for (size_t i = 0; i < NAMES_SHOWN && (child = graph_child(judging->image, i)); i++) {
        const struct usage_entry *owner = judging_branch_disk(judging, child);
        uint64_t created = graph_layer_created(judging->graph, child, NULL);
        struct evidence item = evidence_new();

        evidence_text(&item, TEXT_PATH, child->path);
        if (created > 0)
            evidence_number(&item, NUMBER_CREATED_AT, created);
        if (owner)
            evidence_entry(&item, judging, owner);
        evidence_append(&branches, &item);
    }
    managed = fork_is_managed(judging);
    severity = n_snapshots < 2 ? SEVERITY_INFO : managed ? SEVERITY_WARNING : SEVERITY_ERROR;
    evidence = evidence_new();
    evidence_value(&evidence, PART_BRANCHES, &branches);
    evidence_flag(&evidence, FLAG_MANAGED, managed);
    if (relation->n_children > NAMES_SHOWN)
        evidence_number(&evidence, NUMBER_BRANCHES_OMITTED, relation->n_children - NAMES_SHOWN);
    if (n_snapshots < 2) {
        evidence_text(&evidence, TEXT_RELATION, relation_kind_name(RELATION_UNKNOWN));
        return judging_add(judging, FINDING_CHAIN_FORKED, severity, n_snapshots + n_unknown,
                           &evidence,
                           "has %zu overlays that are snapshots or clones of it: if it is a "
                           "template, declare it by golden.patterns", n_snapshots + n_unknown);
    }
    r = judging_add(judging, FINDING_CHAIN_FORKED, severity, relation->n_children, &evidence,
                    "has %u overlays and is no template%s", relation->n_children,
                    managed ? ": snapshots of one domain that branch" : "");
    if (r >= 0)
        judging_hold(judging, FINDING_CHAIN_FORKED, judging->thresholds->forked_after);
    return r;
}

int judge_snapshots(struct judging *judging)
{
    int r;

    if (!judging->layer || graph_awaits_usage(judging->graph))
        return 0;
    r = judge_forked(judging);
    if (r >= 0)
        r = judge_large(judging);
    if (r >= 0)
        r = judge_unmanaged(judging);
    return r;
}
