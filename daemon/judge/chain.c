/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of chains: depth, age and rhythm of layers, loops, internal snapshots. What is about
 * all layers of a disk is judged with its own layer, and told of the deepest leaf above. */
#include "daemon/judge/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "helpers/clock.h"
#include "helpers/hex.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define LAYERS_SHOWN 20                     /* in evidence: the first half and the last half */
#define RUNAWAY_MISSED 10                   /* intervals without a new layer: it has stopped */

static uint64_t snapshot_taken(const struct qca_snapshot *snapshot)
{
    uint64_t usec;

    if (snapshot->date_sec <= 0 ||
        __builtin_mul_overflow((uint64_t)snapshot->date_sec, USEC_PER_SEC, &usec))
        return 0;               /* says nothing that could be true */
    return usec;
}

/* The oldest internal snapshot with a date in the past; NULL when there is none. */
static const struct qca_snapshot *oldest_snapshot(const struct judging *judging,
                                                  uint64_t *ret_taken)
{
    const struct qca_image_info *info = &judging->layer->info;
    const struct qca_snapshot *oldest = NULL;

    for (size_t i = 0; i < info->n_snapshots; i++) {
        uint64_t taken = snapshot_taken(&info->snapshots[i]);

        if (taken == 0 || taken > judging->now || (oldest && taken >= *ret_taken))
            continue;
        oldest = &info->snapshots[i];
        *ret_taken = taken;
    }
    return oldest;
}

/* Leaf first: path, allocated-bytes, created-at, snapshot. */
static void evidence_layers(struct evidence *evidence, const struct judging *judging)
{
    _cleanup_evidence_ struct evidence layers = evidence_new_list();
    const struct relation *relation = judging->chain;
    const struct image *image = judging->leaf;
    uint32_t n = 0;

    for (; relation; n++) {
        if (n < LAYERS_SHOWN / 2 || n + LAYERS_SHOWN / 2 >= judging->chain->depth) {
            struct evidence layer = evidence_new();
            uint64_t created = graph_layer_created(judging->graph, image, NULL);
            struct usage usage = graph_image_usage(judging->graph, image);
            const struct usage_entry *made = usage_made(&usage, NULL);

            evidence_text(&layer, TEXT_PATH, image->path);
            evidence_number(&layer, NUMBER_ALLOCATED_BYTES, image->fingerprint.allocated);
            if (created > 0)
                evidence_number(&layer, NUMBER_CREATED_AT, created);
            if (made)
                evidence_text(&layer, TEXT_SNAPSHOT, made->snapshot->name);
            evidence_append(&layers, &layer);
        }
        image = relation->parent;
        relation = image ? graph_relation(judging->graph, image) : NULL;
    }
    evidence_value(evidence, PART_LAYERS, &layers);
    if (judging->chain->depth > LAYERS_SHOWN)
        evidence_number(evidence, NUMBER_LAYERS_OMITTED, judging->chain->depth - LAYERS_SHOWN);
}

/* The deepest leaf's: depth, unconsolidated, complete, leaf, leaves (more than one), own-layer,
 * golden, base; domain, connection, disk, running, where libvirt knows it; machine, where a
 * definition of VMware's names it. */
static void evidence_place(struct evidence *evidence, const struct judging *judging)
{
    const struct relation *relation = judging->chain;
    struct usage usage = graph_image_usage(judging->graph, judging->leaf);
    const struct usage_entry *source = usage_source(&usage);
    const struct image *machine = source ? NULL : graph_machine(judging->graph, judging->leaf);

    evidence_number(evidence, NUMBER_DEPTH, relation->depth);
    evidence_number(evidence, NUMBER_UNCONSOLIDATED, relation->unconsolidated);
    evidence_flag(evidence, FLAG_COMPLETE, relation->complete);
    evidence_text(evidence, TEXT_LEAF, judging->leaf->path);
    if (judging->relation->n_leaves > 1)
        evidence_number(evidence, NUMBER_LEAVES, judging->relation->n_leaves);
    if (relation->own_layer)
        evidence_text(evidence, TEXT_OWN_LAYER, relation->own_layer->path);
    if (relation->golden_layer)
        evidence_text(evidence, TEXT_GOLDEN, relation->golden_layer->path);
    if (relation->base)
        evidence_text(evidence, TEXT_BASE, relation->base->path);
    if (source)
        evidence_entry(evidence, judging, source);
    else if (machine)
        evidence_text(evidence, TEXT_MACHINE, machine->path);
}

/* The leaf's file name, escaped; where the layers fork, how many leaves there are. */
static char *leaf_words(const struct judging *judging)
{
    const char *slash = strrchr(judging->leaf->path, '/');
    _cleanup_free_ char *name = text_escape_string(slash ? slash + 1 : judging->leaf->path);
    char *words;

    if (!name)
        return NULL;
    if (judging->relation->n_leaves < 2)
        return TAKE_PTR(name);
    return asprintf(&words, "%s, the deepest of %u leaves", name, judging->relation->n_leaves) < 0
               ? NULL : words;
}

/* So many layers where it is not known of all whether they are snapshots': place, threshold,
 * perhaps, layers, layers-omitted. Said once of a chain, with its uppermost own layer. */
static int judge_perhaps_deep(struct judging *judging)
{
    const struct relation *relation = judging->chain;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    enum severity severity;
    uint64_t step;

    if (relation->perhaps == 0 || relation->n_children > 0 ||
        !steps_reached(&judging->thresholds->chain_deep, relation->perhaps, &severity, &step))
        return 0;
    evidence = evidence_new();
    evidence_place(&evidence, judging);
    evidence_number(&evidence, NUMBER_THRESHOLD, step);
    evidence_number(&evidence, NUMBER_PERHAPS, relation->perhaps);
    evidence_text(&evidence, TEXT_RELATION, relation_kind_name(RELATION_UNKNOWN));
    evidence_layers(&evidence, judging);
    return judging_add(judging, FINDING_CHAIN_DEEP, SEVERITY_INFO, relation->perhaps, &evidence,
                       "is in a chain with %u layer%s that may be %s; a template among them "
                       "can be declared by golden.patterns",
                       relation->perhaps, relation->perhaps == 1 ? "" : "s",
                       relation->perhaps == 1 ? "a snapshot" : "snapshots");
}

/* place, threshold, unconsolidated-bytes, layers, layers-omitted */
static int judge_deep(struct judging *judging)
{
    const struct relation *relation = judging->chain;
    const struct image *layer = judging->leaf;
    _cleanup_free_ char *words = NULL;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    enum severity severity;
    uint64_t step, bytes = 0;

    if (relation->unconsolidated == 0 ||
        !steps_reached(&judging->thresholds->chain_deep, relation->unconsolidated, &severity,
                       &step))
        return judge_perhaps_deep(judging);
    for (uint32_t i = 0; i < relation->unconsolidated; i++) {
        bytes += layer->fingerprint.allocated;
        layer = graph_relation(judging->graph, layer)->parent;
    }
    words = leaf_words(judging);
    if (!words)
        return -ENOMEM;
    evidence = evidence_new();
    evidence_place(&evidence, judging);
    evidence_number(&evidence, NUMBER_THRESHOLD, step);
    evidence_number(&evidence, NUMBER_UNCONSOLIDATED_BYTES, bytes);
    evidence_layers(&evidence, judging);
    return judging_add(judging, FINDING_CHAIN_DEEP, severity, relation->unconsolidated, &evidence,
                       "has %u unconsolidated layer%s above it, up to %s (limit: %llu)",
                       relation->unconsolidated, relation->unconsolidated == 1 ? "" : "s", words,
                       (unsigned long long)step);
}

/* place, limit */
static int judge_limit(struct judging *judging)
{
    const struct relation *relation = judging->chain;
    _cleanup_free_ char *words = NULL;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };

    if (relation->depth <= judging->thresholds->chain_limit)
        return 0;
    words = leaf_words(judging);
    if (!words)
        return -ENOMEM;
    evidence = evidence_new();
    evidence_place(&evidence, judging);
    evidence_number(&evidence, NUMBER_LIMIT, judging->thresholds->chain_limit);
    return judging_add(judging, FINDING_CHAIN_LIMIT, SEVERITY_CRITICAL, relation->depth, &evidence,
                       "is in a chain of %u layers, up to %s: the limit is %u", relation->depth,
                       words, judging->thresholds->chain_limit);
}

/* The oldest snapshot of this image: the first layer above it where it is an own layer, or an
 * internal snapshot; or itself, where it may be a snapshot of its parent. */
struct oldest {
    uint64_t created;           /* usec, 0: there is none */
    const char *source;
    const struct image *layer;
    const struct qca_snapshot *snapshot;
    bool perhaps;               /* it is not known whether the layer is a snapshot's */
};

/* As old as the run of its domain, and gone with it. */
static bool layer_is_transient(const struct judging *judging, const struct image *layer)
{
    struct usage usage = graph_image_usage(judging->graph, layer);
    const struct usage_entry *source = usage_source(&usage);

    return source && source->disk->transient;
}

static struct oldest judging_oldest(const struct judging *judging)
{
    const struct relation *chain = judging->chain;
    struct oldest oldest = { .created = 0 };
    uint64_t taken = 0;

    if (chain && chain->oldest_unconsolidated && !chain->pending &&
        !layer_is_transient(judging, chain->oldest_unconsolidated)) {
        oldest.layer = chain->oldest_unconsolidated;
        oldest.created = graph_layer_created(judging->graph, oldest.layer, &oldest.source);
        if (oldest.created > judging->now)
            oldest = (struct oldest){ .created = 0 };
    }
    if (!judging->relation->golden) {
        const struct qca_snapshot *snapshot = oldest_snapshot(judging, &taken);

        if (snapshot && (oldest.created == 0 || taken < oldest.created))
            oldest = (struct oldest){ .created = taken,
                                      .source = "snapshot-table",
                                      .snapshot = snapshot };
    }
    if (oldest.created == 0 && chain && !chain->pending && !judging->relation->golden &&
        judging->relation->kind == RELATION_UNKNOWN &&
        !layer_is_transient(judging, judging->image)) {
        oldest = (struct oldest){ .layer = judging->image, .perhaps = true };
        oldest.created = graph_layer_created(judging->graph, oldest.layer, &oldest.source);
        if (oldest.created > judging->now)
            oldest = (struct oldest){ .created = 0 };
    }
    return oldest;
}

/* created-at, dates-from, age-seconds, threshold-seconds; layer and place, or snapshot-id and
 * snapshot-name */
static int judge_old(struct judging *judging)
{
    struct oldest oldest = judging_oldest(judging);
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    char age[TEXT_DURATION_MAX], limit[TEXT_DURATION_MAX];
    enum severity severity;
    uint64_t step;

    if (oldest.created == 0 || !steps_reached(&judging->thresholds->snapshot_old,
                                              judging->now - oldest.created, &severity, &step))
        return 0;
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_CREATED_AT, oldest.created);
    evidence_text(&evidence, TEXT_DATES_FROM, oldest.source);
    evidence_number(&evidence, NUMBER_AGE_SECONDS, (judging->now - oldest.created) / USEC_PER_SEC);
    evidence_number(&evidence, NUMBER_THRESHOLD_SECONDS, step / USEC_PER_SEC);
    if (oldest.snapshot) {
        evidence_text(&evidence, TEXT_SNAPSHOT_ID, oldest.snapshot->id);
        evidence_text(&evidence, TEXT_SNAPSHOT_NAME, oldest.snapshot->name);
    } else {
        evidence_text(&evidence, TEXT_LAYER, oldest.layer->path);
        evidence_place(&evidence, judging);
    }
    if (oldest.perhaps) {
        evidence_text(&evidence, TEXT_RELATION, relation_kind_name(RELATION_UNKNOWN));
        return judging_add(judging, FINDING_SNAPSHOT_OLD, SEVERITY_INFO, 1, &evidence,
                           "is a snapshot of its parent or a clone, made %s ago: if the parent is "
                           "a template, declare it by golden.patterns",
                           text_span(judging->now - oldest.created, age));
    }
    return judging_add(judging, FINDING_SNAPSHOT_OLD, severity, 1, &evidence,
                       "has had %s for %s (limit: %s)",
                       oldest.snapshot ? "an internal snapshot" : "a snapshot",
                       text_span(judging->now - oldest.created, age), text_span(step, limit));
}

/* ---- rhythm --------------------------------------------------------------------------------- */

/* Runs of layers at one regular interval: a job that missed its hour once, or for days, is the same
 * job. */
struct rhythm {
    uint64_t interval;          /* usec */
    uint32_t layers;            /* of all runs that are long enough */
    uint64_t first, last;       /* usec: creation of the first run's first and of the last one's
                                 * last layer */
    const char *source;
};

static int compare_times(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* When a layer was made, for the rhythm; by_parents: when its parent was written last, be it born
 * when it may. */
static uint64_t rhythm_time(const struct judging *judging, const struct image *layer,
                            bool by_parents, const char **ret_source)
{
    const struct image *parent = graph_relation(judging->graph, layer)->parent;

    if (!by_parents || !parent || image_is_device(parent) || parent->fingerprint.mtime <= 0)
        return graph_layer_created(judging->graph, layer, ret_source);
    *ret_source = "parent-mtime";
    return (uint64_t)parent->fingerprint.mtime / 1000;
}

/* 1 and *ret when there is one long enough. */
static int judging_rhythm_by(const struct judging *judging, bool by_parents, struct rhythm *ret)
{
    const struct relation *chain = judging->chain;
    uint32_t n = chain && !chain->pending ? chain->unconsolidated : 0,
             least = judging->thresholds->runaway_layers;
    _cleanup_free_ uint64_t *created = NULL, *intervals = NULL;
    const struct image *layer = judging->leaf;
    struct rhythm best = { .interval = 0 };
    uint64_t median, tolerance;
    uint32_t begin = 0;

    if (n < 2 || n < least)
        return 0;
    created = malloc(n * sizeof(*created));
    intervals = malloc(n * sizeof(*intervals));
    if (!created || !intervals)
        return -ENOMEM;
    for (uint32_t i = n; i-- > 0; layer = graph_relation(judging->graph, layer)->parent)
        created[i] = rhythm_time(judging, layer, by_parents, &best.source);
    for (uint32_t i = 1; i < n; i++)
        intervals[i - 1] = created[i] > created[i - 1] ? created[i] - created[i - 1] : 0;
    qsort(intervals, n - 1, sizeof(*intervals), compare_times);
    median = intervals[(n - 1) / 2];
    if (median < judging->thresholds->runaway_least)
        return 0;               /* made by a script in one go, or copied: no dates to go by */
    tolerance = median / 10000 * judging->thresholds->runaway_tolerance;
    best.interval = median;
    for (uint32_t i = 1; i <= n; i++) {
        if (i < n && created[i] >= created[i - 1] &&
            created[i] - created[i - 1] + tolerance >= median &&
            created[i] - created[i - 1] <= median + tolerance)
            continue;
        if (i - begin >= least) {
            best.first = best.layers > 0 ? best.first : created[begin];
            best.layers += i - begin;
            best.last = created[i - 1];
        }
        begin = i;
    }
    if (best.layers == 0)
        return 0;
    *ret = best;
    return 1;
}

/* The topmost layer of a chain that was restored is younger than it should be; what lies below the
 * layers is not. */
static int judging_rhythm(const struct judging *judging, struct rhythm *ret)
{
    int r = judging_rhythm_by(judging, false, ret);

    return r != 0 ? r : judging_rhythm_by(judging, true, ret);
}

/* When a rhythm is taken to have ended. */
static uint64_t rhythm_end(const struct rhythm *rhythm)
{
    uint64_t end;

    if (__builtin_mul_overflow(rhythm->interval, RUNAWAY_MISSED, &end) ||
        __builtin_add_overflow(end, rhythm->last, &end))
        return UINT64_MAX;
    return end;
}

/* When the layers, growing as they did, will have taken all the space that is left; 0: not in
 * sight. */
static uint64_t space_end(const struct judging *judging, const struct rhythm *rhythm)
{
    const struct datastore *datastore = judging->image->datastore;
    const struct image *layer = judging->leaf;
    uint64_t bytes = 0, time, end;
    double left;

    for (uint32_t i = 0; i < judging->chain->unconsolidated; i++) {
        bytes += layer->fingerprint.allocated;
        layer = graph_relation(judging->graph, layer)->parent;
    }
    if (!datastore || datastore->root.size == 0 || bytes == 0 ||
        __builtin_mul_overflow(rhythm->interval, (uint64_t)judging->chain->unconsolidated, &time))
        return 0;
    left = (double)datastore->root.available / (double)bytes * (double)time;
    if (left > 1e17 || __builtin_add_overflow(judging->now, (uint64_t)left, &end))
        return 0;
    return end;
}

/* interval-seconds, dates-from, layers (of the run), first-at, last-at, limit, limit-reached-at,
 * space-reached-at, place */
static int judge_runaway(struct judging *judging)
{
    const struct relation *relation = judging->chain;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    char every[TEXT_DURATION_MAX], left[TEXT_DURATION_MAX];
    uint32_t limit = judging->thresholds->chain_limit;
    struct rhythm rhythm;
    uint64_t reached, space;
    int r = judging_rhythm(judging, &rhythm);

    if (r <= 0 || judging->now >= rhythm_end(&rhythm))
        return r < 0 ? r : 0;
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_INTERVAL_SECONDS, rhythm.interval / USEC_PER_SEC);
    evidence_text(&evidence, TEXT_DATES_FROM, rhythm.source);
    evidence_number(&evidence, NUMBER_LAYERS, rhythm.layers);
    evidence_number(&evidence, NUMBER_FIRST_AT, rhythm.first);
    evidence_number(&evidence, NUMBER_LAST_AT, rhythm.last);
    evidence_number(&evidence, NUMBER_LIMIT, limit);
    space = space_end(judging, &rhythm);
    if (space > 0)
        evidence_number(&evidence, NUMBER_SPACE_REACHED_AT, space);
    evidence_place(&evidence, judging);
    if (relation->depth >= limit)
        return judging_add(judging, FINDING_SNAPSHOT_RUNAWAY, SEVERITY_ERROR, 1, &evidence,
                           "gets a new layer every %s, %u by now, and has reached the limit of %u",
                           text_duration(rhythm.interval, every), rhythm.layers, limit);
    if (__builtin_mul_overflow(rhythm.interval, (uint64_t)(limit - relation->depth), &reached) ||
        __builtin_add_overflow(reached, rhythm.last, &reached))
        reached = UINT64_MAX;
    if (reached != UINT64_MAX)
        evidence_number(&evidence, NUMBER_LIMIT_REACHED_AT, reached);
    if (space > 0 && space < reached)
        return judging_add(judging, FINDING_SNAPSHOT_RUNAWAY, SEVERITY_ERROR, 1, &evidence,
                           "gets a new layer every %s, %u by now; the space is used up in %s",
                           text_duration(rhythm.interval, every), rhythm.layers,
                           text_duration(space > judging->now ? space - judging->now : 0, left));
    return judging_add(judging, FINDING_SNAPSHOT_RUNAWAY, SEVERITY_ERROR, 1, &evidence,
                       "gets a new layer every %s, %u by now; the limit of %u is reached in %s",
                       text_duration(rhythm.interval, every), rhythm.layers, limit,
                       text_duration(reached > judging->now ? reached - judging->now : 0, left));
}

/* ---- loops and internal snapshots ----------------------------------------------------------- */

void evidence_former(struct evidence *evidence, enum evidence_part member,
                     const struct former *former)
{
    _cleanup_evidence_ struct evidence item = { .object = NULL };
    char digest[2 * sizeof(former->digest) + 1];

    if (!former)
        return;
    item = evidence_new();
    evidence_text(&item, TEXT_PATH, former->path);
    evidence_number(&item, NUMBER_INODE, former->identity.inode);
    evidence_number(&item, NUMBER_FSID, former->identity.fsid);
    if (former->size > 0)
        evidence_number(&item, NUMBER_SIZE, former->size);
    if (former->virtual_size > 0)
        evidence_number(&item, NUMBER_VIRTUAL_SIZE, former->virtual_size);
    if (former->has_digest && !former->encrypted) {
        hex_encode(former->digest, sizeof(former->digest), digest);
        evidence_text(&item, TEXT_DIGEST, digest);
    }
    evidence_number(&item, NUMBER_SEEN_AT, former->seen);
    evidence_value(evidence, member, &item);
}

/* members [path, former {...}] (from the head from child to parent), length */
static int judge_loop(struct judging *judging)
{
    _cleanup_evidence_ struct evidence evidence = { .object = NULL }, members = evidence_new_list();
    const struct image *image = judging->image;
    uint64_t length = 0;

    if (!judging->relation->in_loop || judging->relation->loop_head != image)
        return 0;
    do {
        if (length++ < LAYERS_SHOWN) {
            struct evidence member = evidence_new();

            evidence_text(&member, TEXT_PATH, image->path);
            evidence_former(&member, PART_FORMER, image->former);
            evidence_append(&members, &member);
        }
        image = graph_relation(judging->graph, image)->parent;
    } while (image != judging->image);
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_LENGTH, length);
    evidence_value(&evidence, PART_MEMBERS, &members);
    if (length == 1)
        return judging_add(judging, FINDING_CHAIN_LOOP, SEVERITY_CRITICAL, length, &evidence,
                           "is its own parent");
    return judging_add(judging, FINDING_CHAIN_LOOP, SEVERITY_CRITICAL, length, &evidence,
                       "has a backing chain that is a loop of %llu images",
                       (unsigned long long)length);
}

/* snapshots [id, name, taken-at, virtual-size, vm-state-bytes], count, threshold, golden */
static int judge_internal(struct judging *judging)
{
    const struct qca_image_info *info = &judging->layer->info;
    bool golden = judging->relation->golden;
    uint32_t threshold = golden ? judging->thresholds->internal_snapshots_golden
                                : judging->thresholds->internal_snapshots;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL }, list = evidence_new_list();

    if (info->n_snapshots == 0 || info->n_snapshots < threshold) {
        /* A golden image is not known for one before its overlays are. */
        if (!golden && graph_is_first_pass(judging->graph) &&
            info->n_snapshots >= judging->thresholds->internal_snapshots_golden)
            judging->judgement->judged[FINDING_INTERNAL_SNAPSHOTS] = false;
        return 0;
    }
    for (size_t i = 0; i < info->n_snapshots && i < LAYERS_SHOWN; i++) {
        const struct qca_snapshot *snapshot = &info->snapshots[i];
        struct evidence item = evidence_new();
        uint64_t taken = snapshot_taken(snapshot);

        evidence_text(&item, TEXT_ID, snapshot->id);
        evidence_text(&item, TEXT_NAME, snapshot->name);
        if (taken > 0)
            evidence_number(&item, NUMBER_TAKEN_AT, taken);
        evidence_number(&item, NUMBER_VIRTUAL_SIZE, snapshot->virtual_size);
        evidence_number(&item, NUMBER_VM_STATE_BYTES, snapshot->vm_state_size);
        evidence_append(&list, &item);
    }
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_COUNT, info->n_snapshots);
    evidence_number(&evidence, NUMBER_THRESHOLD, threshold);
    evidence_flag(&evidence, FLAG_GOLDEN, golden);
    evidence_value(&evidence, PART_SNAPSHOTS, &list);
    return judging_add(judging, FINDING_INTERNAL_SNAPSHOTS, SEVERITY_WARNING, info->n_snapshots,
                       &evidence, "%sholds %zu internal snapshot%s",
                       golden ? "is a golden image and " : "", info->n_snapshots,
                       info->n_snapshots == 1 ? "" : "s");
}

int judge_chain(struct judging *judging)
{
    const struct relation *relation = judging->relation;
    bool *judged = judging->judgement->judged;
    bool known = relation && !relation->pending && !relation->in_loop && !relation->above_loop &&
                 !(judging->chain && judging->chain->pending) &&
                 !graph_awaits_usage(judging->graph);
    int r;

    if (!known)
        for (int type = 0; type < _FINDING_MAX; type++)
            if (finding_type_is_of_disk(type))
                judged[type] = false;
    if (!relation || relation->pending)
        judged[FINDING_CHAIN_LOOP] = judged[FINDING_INTERNAL_SNAPSHOTS] = false;
    if (!relation)
        return 0;
    r = judge_loop(judging);
    if (r >= 0 && known && judging->chain) {
        r = judge_deep(judging);
        if (r >= 0)
            r = judge_limit(judging);
        if (r >= 0)
            r = judge_runaway(judging);
    }
    if (r >= 0 && known)
        r = judge_old(judging);
    if (r >= 0 && !relation->pending)
        r = judge_internal(judging);
    return r;
}

uint64_t judge_chain_again(const struct judging *judging)
{
    const struct relation *relation = judging->relation;
    uint64_t next = UINT64_MAX;
    struct oldest oldest;
    struct rhythm rhythm;

    if (!relation || relation->pending || relation->in_loop || relation->above_loop)
        return UINT64_MAX;
    oldest = judging_oldest(judging);
    if (oldest.created > 0) {
        const struct steps *old = &judging->thresholds->snapshot_old;
        uint64_t steps[] = { old->warning, old->error, old->critical };

        for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
            uint64_t at;

            if (steps[i] == UINT64_MAX || __builtin_add_overflow(oldest.created, steps[i], &at))
                continue;
            if (at > judging->now && at < next)
                next = at;
        }
    }
    /* Without the memory to know, it is judged at the next audit. */
    if (judging_rhythm(judging, &rhythm) > 0 && rhythm_end(&rhythm) > judging->now &&
        rhythm_end(&rhythm) < next)
        next = rhythm_end(&rhythm);
    return next;
}
