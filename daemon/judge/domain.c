/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of domains: what stands still, what was deleted under them, where libvirt's three ideas
 * of a disk disagree. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/judge/domain-internal.h"
#include "helpers/text.h"
#include "lib/cleanup.h"
#include "provenance/family.h"

struct evidence domain_evidence(const struct judging_domain *jd)
{
    struct evidence evidence = evidence_new();

    evidence_text(&evidence, TEXT_DOMAIN, jd->domain->name);
    evidence_text(&evidence, TEXT_CONNECTION, usage_domain_uri(jd->status, jd->domain));
    return evidence;
}

const struct image *layer_image(const struct judging_domain *jd, const struct virt_disk *disk,
                                size_t layer)
{
    const char *path = layer < disk->n_layers ? disk->layers[layer].path : NULL;
    const struct image *image = path ? graph_find(jd->judging.graph, usage_path(jd->index, path))
                                     : NULL;

    return image && image->present ? image : NULL;
}

bool domain_has_job(const struct virt_domain *domain)
{
    for (size_t i = 0; i < domain->n_disks; i++)
        if (domain->disks[i].job.type)
            return true;
    return domain->backup || domain->migrating;
}

/* ---- domain-io-error, memory-below-minimum, block-job-stalled -------------------------------- */

/* domain, connection, disks [disk, error, path] */
static int judge_io_error(struct judging_domain *jd)
{
    _cleanup_evidence_ struct evidence evidence = { .object = NULL }, disks = { .object = NULL };
    const struct virt_disk *first = NULL;
    _cleanup_free_ char *target = NULL, *error = NULL;

    disks = evidence_new_list();
    for (size_t i = 0; i < jd->domain->n_disks; i++) {
        const struct virt_disk *disk = &jd->domain->disks[i];
        struct evidence item = { .object = NULL };

        if (!disk->error)
            continue;
        first = first ? first : disk;
        item = evidence_new();
        evidence_text(&item, TEXT_DISK, disk->target);
        evidence_text(&item, TEXT_ERROR, disk->error);
        evidence_text(&item, TEXT_PATH, disk->n_layers > 0 ? disk->layers[0].path : NULL);
        evidence_append(&disks, &item);
    }
    if (!first && !jd->domain->io_error)
        return 0;
    target = text_escape_string(first ? first->target : "");
    error = text_escape_string(first ? first->error : "");
    if (!target || !error)
        return -ENOMEM;
    evidence = domain_evidence(jd);
    evidence_value(&evidence, PART_DISKS, &disks);
    return judging_add(&jd->judging, FINDING_DOMAIN_IO_ERROR, SEVERITY_CRITICAL, 1, &evidence,
                       "is %s an I/O error%s%s%s%s",
                       jd->domain->io_error ? "paused because of" : "in trouble with",
                       first ? ": " : "", target, first ? ": " : "", error);
}

/* The image of a domain that needs the most memory. */
struct memory_need {
    uint64_t bytes;             /* 0: none says it */
    const struct policy_class *class;   /* that says it; NULL: */
    const struct family *family;        /* the image's name does */
    const char *path;
};

/* What the configuration says of an image counts more than what its name does. */
static void need_of_image(const struct policy *policy, const char *path, struct memory_need *need)
{
    const struct policy_class *class = policy_class_of(policy, path);
    struct family_match match = { .verdict = FAMILY_UNKNOWN };

    if (class && class->memory > 0) {
        if (class->memory > need->bytes)
            *need = (struct memory_need){ class->memory, class, NULL, path };
        return;
    }
    if (policy->families)
        family_identify(policy->families, path, &match);
    if (match.verdict == FAMILY_KNOWN && !match.families[0]->is_system &&
        match.families[0]->minimum_memory > need->bytes)
        *need = (struct memory_need){ match.families[0]->minimum_memory, NULL, match.families[0],
                                      path };
}

static struct memory_need need_of_domain(const struct judging_domain *jd)
{
    struct memory_need need = { .bytes = 0 };

    for (size_t i = 0; i < jd->domain->n_disks; i++) {
        const struct virt_disk *disk = &jd->domain->disks[i];
        const struct image *image = layer_image(jd, disk, 0);
        const char *path = disk->n_layers > 0 ? disk->layers[0].path : NULL;

        for (uint32_t n = 0; path && n < jd->judging.thresholds->chain_limit; n++) {
            const struct relation *relation = image ? graph_relation(jd->judging.graph, image)
                                                    : NULL;

            need_of_image(jd->judging.policy, path, &need);
            image = relation && !relation->in_loop ? relation->parent : NULL;
            path = image ? image->path : NULL;
        }
    }
    return need;
}

/* domain, connection, memory-bytes, minimum-bytes, class or family, path */
static int judge_memory(struct judging_domain *jd)
{
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    char has[TEXT_SIZE_MAX], wants[TEXT_SIZE_MAX];

    if (jd->domain->memory_max == 0)
        return 0;
    struct memory_need need = need_of_domain(jd);
    if (jd->domain->memory_max >= need.bytes)
        return 0;
    evidence = domain_evidence(jd);
    evidence_number(&evidence, NUMBER_MEMORY_BYTES, jd->domain->memory_max);
    evidence_number(&evidence, NUMBER_MINIMUM_BYTES, need.bytes);
    if (need.class)
        evidence_text(&evidence, TEXT_CLASS, need.class->name);
    else
        evidence_text(&evidence, TEXT_FAMILY, need.family->name);
    evidence_text(&evidence, TEXT_PATH, need.path);
    (void)text_size(jd->domain->memory_max, has);
    (void)text_size(need.bytes, wants);
    if (need.class)
        return judging_add(&jd->judging, FINDING_MEMORY_BELOW_MINIMUM, SEVERITY_WARNING, 1,
                           &evidence, "has %s of memory; the class %s needs %s", has,
                           need.class->name, wants);
    return judging_add(&jd->judging, FINDING_MEMORY_BELOW_MINIMUM, SEVERITY_WARNING, 1, &evidence,
                       "has %s of memory; %s %s is to have %s", has, need.family->vendor,
                       need.family->product, wants);
}

/* domain, connection, disk, job, ready-at, path, mirror */
static int judge_job(struct judging_domain *jd)
{
    uint64_t after = jd->judging.thresholds->job_after, now = jd->judging.now;
    const struct virt_disk *stalled = NULL;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ char *target = NULL, *type = NULL;
    char age[TEXT_DURATION_MAX];
    uint64_t waited;
    int r;

    for (size_t i = 0; i < jd->domain->n_disks; i++) {
        const struct virt_disk *disk = &jd->domain->disks[i];

        if (disk->job.type && disk->job.ready && disk->job.ready_since > 0 &&
            (!stalled || disk->job.ready_since < stalled->job.ready_since))
            stalled = disk;
    }
    if (!stalled)
        return 0;
    waited = now > stalled->job.ready_since ? now - stalled->job.ready_since : 0;
    target = text_escape_string(stalled->target);
    type = text_escape_string(stalled->job.type);
    if (!target || !type)
        return -ENOMEM;
    evidence = domain_evidence(jd);
    evidence_text(&evidence, TEXT_DISK, stalled->target);
    evidence_text(&evidence, TEXT_JOB, stalled->job.type);
    evidence_number(&evidence, NUMBER_READY_AT, stalled->job.ready_since);
    evidence_text(&evidence, TEXT_PATH, stalled->n_layers > 0 ? stalled->layers[0].path : NULL);
    evidence_text(&evidence, TEXT_MIRROR, stalled->job.mirror);
    r = judging_add(&jd->judging, FINDING_BLOCK_JOB_STALLED, SEVERITY_WARNING, 1, &evidence,
                    "has a block job (%s) on disk %s that is ready since %s and waits to be ended",
                    type, target,
                    text_duration(waited, age));
    if (r >= 0 && waited < after)
        judging_hold(&jd->judging, FINDING_BLOCK_JOB_STALLED, after - waited);
    return r;
}

/* ---- definition-differs ---------------------------------------------------------------------- */

static void evidence_chain(struct evidence *evidence, enum evidence_part member,
                           const struct virt_disk *disk)
{
    _cleanup_evidence_ struct evidence list = evidence_new_list();

    for (size_t i = 0; disk && i < disk->n_layers && i < NAMES_SHOWN; i++) {
        struct evidence item = evidence_new();

        evidence_text(&item, TEXT_PATH,
                      disk->layers[i].path ? disk->layers[i].path : disk->layers[i].name);
        evidence_append(&list, &item);
    }
    evidence_value(evidence, member, &list);
}

static void evidence_files(struct evidence *evidence, const struct judging_domain *jd,
                           const struct image *image)
{
    _cleanup_evidence_ struct evidence list = evidence_new_list();

    for (size_t i = 0; image && i < NAMES_SHOWN; i++) {
        const struct relation *relation = graph_relation(jd->judging.graph, image);
        struct evidence item = evidence_new();

        evidence_text(&item, TEXT_PATH, image->path);
        evidence_append(&list, &item);
        image = relation && !relation->in_loop ? relation->parent : NULL;
    }
    evidence_value(evidence, PART_ON_DISK, &list);
}

static const struct virt_disk *find_target(const struct virt_disk *disks, size_t n,
                                           const char *target)
{
    for (size_t i = 0; i < n; i++)
        if (disks[i].target && target && strcmp(disks[i].target, target) == 0)
            return &disks[i];
    return NULL;
}

static bool sources_differ(const struct virt_disk *live, const struct virt_disk *defined)
{
    if (live->n_layers == 0 || defined->n_layers == 0 || !live->layers[0].path ||
        !defined->layers[0].path)
        return false;
    return strcmp(live->layers[0].path, defined->layers[0].path) != 0;
}

/* Is what libvirt has below a layer another file than what its image says? Only where both are
 * known for sure. *ret_layer is that layer. */
static bool chain_differs(const struct judging_domain *jd, const struct virt_disk *disk,
                          size_t *ret_layer)
{
    for (size_t i = 0; i < disk->n_layers; i++) {
        const struct image *image = layer_image(jd, disk, i), *below;
        const struct relation *relation = image ? graph_relation(jd->judging.graph, image) : NULL;

        if (!image_layer(image) || !relation || relation->pending || relation->in_loop)
            return false;
        /* Not all that such a header says does libvirt read, too. */
        if (!qca_format_has(image_layer(image)->info.format, QCA_TRAIT_COMMANDS))
            return false;
        *ret_layer = i;
        if (i + 1 < disk->n_layers) {
            below = layer_image(jd, disk, i + 1);
            if (!below)
                return false;
            if (image->parent.state == REFERENCE_NONE ||
                (relation->parent && relation->parent != below))
                return true;
            if (!relation->parent)
                return false;
        } else if (disk->complete && i > 0 && relation->parent) {
            return true;
        }
    }
    return false;
}

/* domain, connection, disk, live [path], defined [path], on-disk [path], what */
static int add_differs(struct judging_domain *jd, const struct virt_disk *live,
                       const struct virt_disk *defined, const char *what, const char *before,
                       const char *after)
{
    const struct virt_disk *disk = live ? live : defined;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ char *target = text_escape_string(disk->target);
    int r;

    if (!target)
        return -ENOMEM;
    evidence = domain_evidence(jd);
    evidence_text(&evidence, TEXT_DISK, disk->target);
    evidence_text(&evidence, TEXT_WHAT, what);
    if (live)
        evidence_chain(&evidence, PART_LIVE, live);
    if (defined)
        evidence_chain(&evidence, PART_DEFINED, defined);
    evidence_files(&evidence, jd, layer_image(jd, disk, 0));
    r = judging_add(&jd->judging, FINDING_DEFINITION_DIFFERS, SEVERITY_ERROR, 1, &evidence,
                    "%s disk %s%s", before, target, after);
    if (r >= 0)
        judging_hold(&jd->judging, FINDING_DEFINITION_DIFFERS,
                     jd->judging.thresholds->differs_after);
    return r;
}

/* " than the files have: below A libvirt has B, and the file names C"; NULL without memory. */
static char *chain_words(const struct judging_domain *jd, const struct virt_disk *disk,
                         size_t layer)
{
    const struct image *image = layer_image(jd, disk, layer);
    const struct relation *relation = graph_relation(jd->judging.graph, image);
    const char *below = layer + 1 < disk->n_layers ? disk->layers[layer + 1].path : NULL;
    _cleanup_free_ char *name = name_words(image->path),
                        *theirs = below ? name_words(below) : strdup("none"),
                        *ours = relation->parent ? name_words(relation->parent->path)
                                                 : strdup("none");
    char *words = NULL;

    if (!name || !theirs || !ours ||
        asprintf(&words, " than the files have: below %s libvirt has %s, and the file names %s",
                 name, theirs, ours) < 0)
        return NULL;
    return words;
}

static int judge_definition(struct judging_domain *jd)
{
    const struct virt_domain *domain = jd->domain;
    bool active = virt_domain_is_active(domain);

    for (size_t i = 0; i < domain->n_disks; i++) {
        const struct virt_disk *disk = &domain->disks[i], *defined;
        const struct usage_entry *entry;
        size_t layer;

        if (virt_disk_is_medium(disk) || disk->transient || disk->job.type)
            continue;
        defined = find_target(domain->defined_disks, domain->n_defined_disks, disk->target);
        if (active && defined && !defined->transient && sources_differ(disk, defined))
            return add_differs(jd, disk, defined, "source", "runs on another image as",
                               " than the one that its definition names");
        if (chain_differs(jd, disk, &layer)) {
            _cleanup_free_ char *words = chain_words(jd, disk, layer);

            return !words ? -ENOMEM
                          : add_differs(jd, active ? disk : NULL, active ? defined : disk, "chain",
                                        "has, in libvirt, other layers for", words);
        }
        entry = usage_of_layer(jd->index, disk, 0);
        if (!active && entry && entry->missing)
            return add_differs(jd, NULL, disk, "missing", "is defined with an image as",
                               " that is not there");
    }
    return 0;
}

/* ---- deleted-in-use -------------------------------------------------------------------------- */

static void evidence_identity(struct evidence *evidence, enum evidence_part member,
                              const struct identity *identity)
{
    _cleanup_evidence_ struct evidence item = evidence_new();

    evidence_number(&item, NUMBER_INODE, identity->inode);
    evidence_number(&item, NUMBER_FSID, identity->fsid);
    if (identity->btime > 0)
        evidence_number(&item, NUMBER_BORN_AT, (uint64_t)identity->btime / 1000);
    evidence_value(evidence, member, &item);
}

/* Another file has taken the layer's place, and nobody has that one open. */
static bool layer_is_replaced(const struct judging_domain *jd, const struct usage_entry *entry,
                              const struct image *image)
{
    const struct audit *audit = image->audit;

    return entry->noted && !identity_equal(&entry->identity, &image->identity) && audit &&
           identity_equal(&audit->identity, &image->identity) &&
           audit->started > jd->domain->started && audit->locked == FILES_UNUSED;
}

/* domain, connection, disk, path, layer, noted {inode, ...}, there {...}, how ("gone",
 * "replaced"), found: where the file lies now */
static int add_deleted(struct judging_domain *jd, const struct virt_disk *disk,
                       const struct usage_entry *entry, const struct image *there)
{
    const struct image *renamed = graph_find_renamed(jd->judging.graph, entry);
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ char *target = text_escape_string(disk->target),
                        *name = name_words(entry->path),
                        *found = renamed ? text_escape_string(renamed->path) : NULL;
    int r;

    if (!target || !name || (renamed && !found))
        return -ENOMEM;
    evidence = domain_evidence(jd);
    evidence_text(&evidence, TEXT_DISK, disk->target);
    evidence_text(&evidence, TEXT_PATH, entry->path);
    evidence_text(&evidence, TEXT_FORMAT, disk->layers[0].format);
    evidence_number(&evidence, NUMBER_LAYER, entry->layer);
    evidence_text(&evidence, TEXT_HOW, there ? "replaced" : "gone");
    if (entry->noted)
        evidence_identity(&evidence, PART_NOTED, &entry->identity);
    if (there)
        evidence_identity(&evidence, PART_THERE, &there->identity);
    if (renamed)
        evidence_text(&evidence, TEXT_FOUND, renamed->path);
    /* A disk that has only another name is not lost with the domain; but with another file in its
     * place, the next start uses that. */
    if (!renamed)
        r = judging_add(&jd->judging, FINDING_DELETED_IN_USE, SEVERITY_CRITICAL, 2, &evidence,
                        there ? "runs on an image in whose place another file lies: %s, disk %s; "
                                "do not stop it"
                              : "runs on a deleted image: %s, disk %s; do not stop it",
                        name, target);
    else
        r = judging_add(&jd->judging, FINDING_DELETED_IN_USE,
                        there ? SEVERITY_CRITICAL : SEVERITY_ERROR, 1, &evidence,
                        "runs on an image that was renamed%s: %s, disk %s, is now %s",
                        there ? ", and in whose place another file lies" : "", name, target, found);
    if (r >= 0)
        judging_hold(&jd->judging, FINDING_DELETED_IN_USE, jd->judging.thresholds->deleted_after);
    return r;
}

static int judge_deleted(struct judging_domain *jd)
{
    for (size_t i = 0; i < jd->domain->n_disks; i++) {
        const struct virt_disk *disk = &jd->domain->disks[i];

        for (size_t layer = 0; !virt_disk_is_medium(disk) && layer < disk->n_layers; layer++) {
            const struct usage_entry *entry = usage_of_layer(jd->index, disk, layer);
            const struct image *image = layer_image(jd, disk, layer);

            if (entry && entry->live &&
                (image ? layer_is_replaced(jd, entry, image) : entry->missing))
                return add_deleted(jd, disk, entry, image);
        }
    }
    return 0;
}

/* Is there a path of a disk or snapshot of which nobody knows yet whether something is there? */
static bool path_is_pending(const struct judging_domain *jd, const char *path)
{
    struct usage usage = path ? usage_find(jd->index, usage_path(jd->index, path))
                              : (struct usage){ .n_entries = 0 };

    return usage.n_entries > 0 && usage.entries[0].pending;
}

static bool domain_is_pending(const struct judging_domain *jd)
{
    const struct virt_domain *domain = jd->domain;

    for (size_t i = 0; i < domain->n_disks; i++)
        for (size_t layer = 0; layer < domain->disks[i].n_layers; layer++)
            if (path_is_pending(jd, domain->disks[i].layers[layer].path))
                return true;
    for (size_t i = 0; i < domain->n_snapshots; i++)
        for (size_t k = 0; k < domain->snapshots[i].n_disks; k++)
            if (path_is_pending(jd, domain->snapshots[i].disks[k].path))
                return true;
    return false;
}

/* Findings about missing paths are not resolved while paths have not been looked up: after a start,
 * while a datastore is offline. */
static void judge_pending(struct judging_domain *jd)
{
    static const enum finding_type types[] = { FINDING_DEFINITION_DIFFERS, FINDING_DELETED_IN_USE,
                                               FINDING_SNAPSHOT_DELETE_STUCK,
                                               FINDING_SNAPSHOT_INCONSISTENT };

    if (!domain_is_pending(jd))
        return;
    for (size_t i = 0; i < ELEMENTSOF(types); i++)
        if (!judging_has(&jd->judging, types[i]))
            jd->judging.judgement->judged[types[i]] = false;
}

/* ---- all of it ------------------------------------------------------------------------------- */

int judge_domain(const struct policy *policy, const struct graph *graph,
                 const struct virt_domain *domain, uint64_t now, struct judgement *ret_judgement)
{
    static int (*const judges[])(struct judging_domain * jd) = {
        judge_io_error, judge_memory, judge_job,         judge_definition,
        judge_deleted,  judge_delete, judge_checkpoints,
    };
    struct judgement judgement = { .confidence = CONFIDENCE_OFFLINE };
    struct judging_domain jd = {
        .judging = { .thresholds = &policy->thresholds, .policy = policy, .graph = graph,
                    .now = now,
                     .judgement = &judgement },
        .domain = domain,
        .status = usage_status(graph_usage(graph)),
        .index = graph_usage(graph),
    };
    int r = 0;

    if (virt_domain_is_active(domain))
        judgement.confidence = CONFIDENCE_CONFIRMED;
    if (domain_is_known(graph, domain)) {
        for (enum finding_type type = 0; type < _FINDING_MAX; type++)
            if (finding_definition(type)->about == ABOUT_DOMAIN)
                judging_looked(&jd.judging, type);
        for (size_t i = 0; i < ELEMENTSOF(judges) && r >= 0; i++)
            r = judges[i](&jd);
        judge_pending(&jd);
    }
    if (r < 0) {
        judgement_done(&judgement);
        return r;
    }
    *ret_judgement = judgement;
    return 0;
}
