/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of parents that are written: an image with overlays that a domain writes, in whose
 * place another file came to lie, or that by its times was written after them, before anything was
 * known of what it held. */
#include <errno.h>
#include <string.h>

#include "daemon/contents/contents.h"
#include "daemon/judge/internal.h"
#include "helpers/clock.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define LOOKED_AT_MAX 64        /* overlays: a template has thousands, and some say enough */
#define LISTED_MAX 20
#define ANCESTORS_MAX 1000
/* an internal snapshot is dated before the guest's memory is saved */
#define SNAPSHOT_TAKES (INT64_C(60) * (int64_t)NSEC_PER_SEC)

static const struct virt_snapshot *find_snapshot(const struct virt_domain *domain,
                                                 const char *name)
{
    for (size_t i = 0; name && i < domain->n_snapshots; i++)
        if (domain->snapshots[i].name && strcmp(domain->snapshots[i].name, name) == 0)
            return &domain->snapshots[i];
    return NULL;
}

/* Was the domain put back to before this snapshot was taken? Then what it writes now lies under the
 * overlay that the snapshot made. After a commit the snapshot is still on the way to the current
 * one. */
static bool snapshot_was_left(const struct virt_domain *domain,
                              const struct virt_snapshot *snapshot)
{
    const struct virt_snapshot *at = NULL;

    for (size_t i = 0; i < domain->n_snapshots; i++)
        if (domain->snapshots[i].current)
            at = &domain->snapshots[i];
    if (!at)
        return false;
    for (size_t n = 0; at && n < ANCESTORS_MAX; n++) {
        if (at == snapshot)
            return false;
        at = find_snapshot(domain, at->parent);
    }
    return !at;
}

enum stake {
    STAKE_NONE,                 /* as far as is known, nobody needs the overlay */
    STAKE_SAME,                 /* the writing domain itself runs on it: a commit is under way */
    STAKE_OTHER,                /* another domain, or a state to which libvirt can go back */
};

static enum stake usage_stake(const struct usage *usage, const struct virt_domain *writer)
{
    enum stake stake = STAKE_NONE;

    for (size_t i = 0; i < usage->n_entries; i++) {
        const struct usage_entry *entry = &usage->entries[i];

        if (entry->kind == USAGE_MIRROR ||
            (entry->kind == USAGE_LAYER && entry->live && entry->domain == writer))
            return STAKE_SAME;
        if ((entry->kind == USAGE_LAYER && entry->domain != writer) ||
            (entry->kind == USAGE_MADE && entry->domain == writer && entry->snapshot &&
             snapshot_was_left(writer, entry->snapshot)))
            stake = STAKE_OTHER;
    }
    return stake;
}

/* Whose disk depends on the overlay: itself, or the deepest leaf on it. */
static enum stake overlay_stake(const struct judging *judging, const struct image *child,
                                const struct virt_domain *writer)
{
    struct usage usage = graph_image_usage(judging->graph, child);
    const struct relation *relation = graph_relation(judging->graph, child);
    enum stake stake = usage_stake(&usage, writer);

    if (stake == STAKE_NONE && relation && relation->deepest_leaf &&
        relation->deepest_leaf != child) {
        usage = graph_image_usage(judging->graph, relation->deepest_leaf);
        stake = usage_stake(&usage, writer);
    }
    return stake;
}

static bool child_was_made_before(const struct image *child, int64_t time)
{
    return child->present && child->identity.btime > 0 && !image_is_device(child) &&
           baseline_child_is_older(child, time);
}

/* The overlay holds something: one that is empty was made, and its template brought up to date
 * before it was used. */
static bool child_has_data(const struct image *child)
{
    const struct layer_report *layer = audit_layer_seen(child->audit);

    return layer && layer->checked && layer->check.allocated_clusters > 0;
}

static void list_overlay(struct evidence *list, const struct image *child)
{
    struct evidence entry = evidence_new();

    evidence_text(&entry, TEXT_PATH, child->path);
    evidence_append(list, &entry);
}

/* domain, connection, disk, running, modified-at, overlays [path], overlays-total */
static int judge_writer(struct judging *judging, const struct usage_entry *writer)
{
    int64_t written = judging->image->fingerprint.mtime;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL },
                                       list = evidence_new_list();
    _cleanup_free_ char *words = entry_words(writer);
    const struct image *child;
    size_t n = 0;

    if (!words)
        return -ENOMEM;
    for (size_t i = 0; i < LOOKED_AT_MAX && (child = graph_child(judging->image, i)); i++) {
        enum stake stake;

        if (!child_was_made_before(child, written))
            continue;
        stake = overlay_stake(judging, child, writer->domain);
        if (stake == STAKE_SAME)
            return 0;
        if (stake == STAKE_OTHER && n++ < LISTED_MAX)
            list_overlay(&list, child);
    }
    if (n == 0)
        return 0;
    evidence = evidence_new();
    evidence_entry(&evidence, judging, writer);
    evidence_number(&evidence, NUMBER_MODIFIED_AT, (uint64_t)written / 1000);
    evidence_value(&evidence, PART_OVERLAYS, &list);
    evidence_number(&evidence, NUMBER_OVERLAYS_TOTAL, n);
    return judging_add(judging, FINDING_PARENT_WRITTEN, SEVERITY_ERROR, n, &evidence,
                       "is written as %s, though %zu overlay%s that %s made before still %s on it",
                       words, n, n == 1 ? "" : "s", n == 1 ? "was" : "were",
                       n == 1 ? "stands" : "stand");
}

/* Did a copy of the same file take its place? Its times are kept, or its tables are the same and
 * its time is the copy's own: one that came with another time is another build, however alike. */
static bool is_a_copy(const struct audit *before, const struct audit *now)
{
    const struct layer_report *a = audit_layer(before), *b = audit_layer(now);

    if (!a || !b ||
        (before->fingerprint.size == now->fingerprint.size &&
         before->fingerprint.mtime == now->fingerprint.mtime))
        return true;
    return now->fingerprint.mtime >= now->identity.btime && a->has_metadata_digest &&
           b->has_metadata_digest &&
           memcmp(a->metadata_digest, b->metadata_digest, sizeof(a->metadata_digest)) == 0;
}

/* modified-at, changed-at, overlays [path], overlays-total: another file lies there now, and what
 * the first one held is not known, else its content says whether it matters. */
static int judge_replaced(struct judging *judging)
{
    const struct image *image = judging->image;
    const struct baseline *baseline = image->baseline;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL },
                                       list = { .object = NULL };
    const struct image *child;
    size_t n = 0;

    if (!judging->last || identity_equal(&judging->last->identity, &image->audit->identity) ||
        (baseline && baseline->has_digest) || is_a_copy(judging->last, image->audit))
        return 0;
    list = evidence_new_list();
    for (size_t i = 0; i < LOOKED_AT_MAX && (child = graph_child(image, i)); i++) {
        struct usage usage = graph_image_usage(judging->graph, child);

        /* One that is copied, or rebuilt, onto another file is under way with its domain. */
        if (!child_was_made_before(child, image->fingerprint.ctime) || !child_has_data(child) ||
            usage_stake(&usage, NULL) == STAKE_SAME)
            continue;
        if (n++ < LISTED_MAX)
            list_overlay(&list, child);
    }
    if (n == 0)
        return 0;
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_MODIFIED_AT, (uint64_t)image->fingerprint.mtime / 1000);
    evidence_number(&evidence, NUMBER_CHANGED_AT, (uint64_t)image->fingerprint.ctime / 1000);
    evidence_value(&evidence, PART_OVERLAYS, &list);
    evidence_number(&evidence, NUMBER_OVERLAYS_TOTAL, n);
    return judging_add(judging, FINDING_PARENT_WRITTEN, SEVERITY_ERROR, n, &evidence,
                       "is another file than the one on which %zu overlay%s %s made", n,
                       n == 1 ? "" : "s", n == 1 ? "was" : "were");
}

/* Without those that QEMU sets and clears as it writes data. */
static uint64_t features(const struct qca_image_info *info)
{
    return info->incompatible_features & ~(QCA_INCOMPAT_DIRTY | QCA_INCOMPAT_CORRUPT);
}

/* Did what was written since the last audit change the header or the snapshot table, which no
 * overlay reads: another parent, a snapshot, a bitmap, a newer version, a feature, room behind the
 * disk's end? */
static bool header_explains(const struct judging *judging)
{
    const struct layer_report *before = audit_layer(judging->last),
                              *now = image_layer(judging->image);

    return before && now &&
           identity_equal(&judging->last->identity, &judging->image->audit->identity) &&
           (!text_equal(before->info.parent, now->info.parent) ||
            !text_equal(before->info.parent_format, now->info.parent_format) ||
            before->info.format != now->info.format || before->info.version != now->info.version ||
            features(&before->info) != features(&now->info) ||
            before->info.compatible_features != now->info.compatible_features ||
            before->info.autoclear_features != now->info.autoclear_features ||
            before->info.virtual_size < now->info.virtual_size ||
            before->info.snapshot_count != now->info.snapshot_count ||
            before->info.n_bitmaps != now->info.n_bitmaps);
}

/* The same by what is there now, for who did not see it before: one with a parent may have been
 * given another, a bitmap may have been added, and a snapshot says when it was taken. */
static bool header_may_explain(const struct image *image)
{
    const struct layer_report *layer = image_layer(image);
    int64_t written = image->fingerprint.mtime;

    if (!layer || layer->info.parent || layer->info.n_bitmaps > 0)
        return true;
    for (size_t i = 0; i < layer->info.n_snapshots; i++) {
        int64_t taken = (int64_t)layer->info.snapshots[i].date_sec * (int64_t)NSEC_PER_SEC;

        if (written >= taken && written - taken <= SNAPSHOT_TAKES)
            return true;
    }
    return false;
}

/* Was the file itself made before its overlay, and written after that overlay's last write? Nothing
 * that is done to a chain leaves it so: a commit writes the overlays that remain afterwards, and a
 * copy is a file of its own, which was made when it was copied. Who sets the time of a file changes
 * its inode at another moment: only a write (and touch without a time) sets both times to one. */
static bool written_in_place(const struct judging *judging, const struct image *child)
{
    const struct image *image = judging->image;
    const struct audit *last = judging->last;
    int64_t written = image->fingerprint.mtime;

    if (written <= child->fingerprint.mtime || written != image->fingerprint.ctime)
        return false;
    /* It was seen before it was written: then nothing else has to be asked. */
    if (last && identity_equal(&last->identity, &image->audit->identity) &&
        last->fingerprint.mtime < written && last->fingerprint.mtime > 0)
        return true;
    return !header_may_explain(image) && image->identity.btime > 0 &&
           image->identity.btime < child->identity.btime &&
           child->identity.btime <= child->fingerprint.mtime;
}

static bool is_clone(const struct judging *judging, const struct image *child)
{
    const struct relation *relation = graph_relation(judging->graph, child);

    return relation && relation->kind == RELATION_CLONE;
}

/* Are the overlays two disks, both from before the image was written? A commit of one of them is
 * the other one's ruin. */
static bool are_two_disks(const struct judging *judging, const struct image *a,
                          const struct image *b)
{
    const struct usage_entry *disk_a = judging_branch_disk(judging, a),
                             *disk_b = judging_branch_disk(judging, b);

    if (!child_was_made_before(b, judging->image->fingerprint.mtime))
        return false;
    if (disk_a && disk_b)
        return disk_a->domain != disk_b->domain ||
               strcmp(disk_a->disk->target, disk_b->disk->target) != 0;
    return !disk_a && !disk_b && is_clone(judging, a) && is_clone(judging, b);
}

/* Was another overlay written as late as the image, or later? A commit does that to those that
 * remain, and what it leaves behind matters to nobody. */
static bool commit_explains(const struct judging *judging, const struct image *overlay)
{
    const struct image *image = judging->image, *child;

    for (size_t i = 0; i < LOOKED_AT_MAX && (child = graph_child(image, i)); i++)
        if (child->present && child->fingerprint.mtime >= image->fingerprint.mtime &&
            !are_two_disks(judging, overlay, child))
            return true;
    return false;
}

/* An overlay that is empty may have others above it that are not. */
static bool child_matters(const struct image *child)
{
    return child_has_data(child) || graph_child(child, 0);
}

/* Was the file made after its overlay's last write, whatever its own times were set to? A folder
 * that was copied file by file looks the same. */
static bool made_later(const struct image *image, const struct image *child)
{
    return child->present && !image_is_device(child) && child->identity.btime > 0 &&
           image->identity.btime > child->fingerprint.mtime &&
           child->identity.btime <= child->fingerprint.mtime;
}

/* Does somebody need the overlay? One that libvirt does not know, on a disk that it does know, was
 * left behind by a commit. */
static bool child_is_needed(const struct judging *judging, const struct image *child)
{
    return !usage_source(&judging->usage) ||
           overlay_stake(judging, child, NULL) == STAKE_OTHER;
}

/* modified-at, overlays [path], overlays-total; copied: by the times it may be a copy of what it
 * was. What the files say by themselves, for a daemon that was not there. */
static int judge_times(struct judging *judging)
{
    const struct image *image = judging->image, *child;
    const struct baseline *baseline = image->baseline;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL },
                                       list = { .object = NULL };
    bool in_place = false;
    size_t n = 0;
    int r;

    /* Its content is compared with what it was before. */
    if ((baseline && baseline->has_digest &&
         baseline->fingerprint.mtime < image->fingerprint.mtime) || header_explains(judging))
        return 0;
    list = evidence_new_list();
    for (size_t i = 0; i < LOOKED_AT_MAX && (child = graph_child(image, i)); i++) {
        bool here = written_in_place(judging, child) &&
                    child_was_made_before(child, image->fingerprint.mtime) &&
                    !commit_explains(judging, child);

        if ((!here && !made_later(image, child)) || !child_matters(child) ||
            !child_is_needed(judging, child))
            continue;
        in_place |= here;
        if (n++ < LISTED_MAX)
            list_overlay(&list, child);
    }
    if (n == 0)
        return 0;
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_MODIFIED_AT, (uint64_t)image->fingerprint.mtime / 1000);
    evidence_value(&evidence, PART_OVERLAYS, &list);
    evidence_number(&evidence, NUMBER_OVERLAYS_TOTAL, n);
    evidence_flag(&evidence, FLAG_COPIED, !in_place);
    if (!in_place)
        return judging_add(judging, FINDING_PARENT_WRITTEN, SEVERITY_INFO, n, &evidence,
                           "was created after %zu overlay%s that %s on it: it was copied here, or "
                           "it replaced the image on which %s made", n, n == 1 ? "" : "s",
                           n == 1 ? "stands" : "stand", n == 1 ? "that was" : "those were");
    r = judging_add(judging, FINDING_PARENT_WRITTEN, SEVERITY_ERROR, n, &evidence,
                    "was written, or touched, after %zu overlay%s %s made on it, and no commit is "
                    "known to explain it", n, n == 1 ? "" : "s", n == 1 ? "was" : "were");
    /* A commit writes the image first, and what stands on it then. */
    if (r >= 0)
        judging_hold(judging, FINDING_PARENT_WRITTEN, judging->thresholds->deleted_after);
    return r;
}

/* Is there still an overlay that what is there now may be wrong for? Unless there is none, what was
 * found holds, whether or not the domain still runs. */
static bool may_still_matter(const struct judging *judging)
{
    const struct image *image = judging->image, *child;
    const struct fingerprint *now = &image->fingerprint;
    int64_t since = now->mtime > now->ctime ? now->mtime : now->ctime;

    for (size_t i = 0; (child = graph_child(image, i)); i++)
        if (i >= LOOKED_AT_MAX || child_was_made_before(child, since))
            return true;
    return false;
}

int judge_written(struct judging *judging)
{
    const struct usage_entry *writer = usage_source(&judging->usage);
    bool *judged = judging->judgement->judged;
    int r = 0;

    judged[FINDING_PARENT_WRITTEN] = false;
    if (!judging->relation || judging->relation->pending || judging->relation->in_loop ||
        image_is_device(judging->image))
        return 0;
    if (judging->relation->n_children == 0 || !may_still_matter(judging)) {
        judging_looked(judging, FINDING_PARENT_WRITTEN);
        return 0;
    }
    if (writer && writer->live && writer->writes && !writer->disk->job.type &&
        judging->image->use == FILES_WRITER)
        r = judge_writer(judging, writer);
    if (r >= 0 && !judging_has(judging, FINDING_PARENT_WRITTEN))
        r = judge_replaced(judging);
    if (r >= 0 && !judging_has(judging, FINDING_PARENT_WRITTEN) &&
        judging->image->use == FILES_UNUSED)
        r = judge_times(judging);
    return r;
}
