/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge of contents: bit rot, golden images and parents that changed, what was not verified for
 * long, and space that holds nothing. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "daemon/contents/contents.h"
#include "daemon/judge/internal.h"
#include "helpers/clock.h"
#include "helpers/hex.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define CHILDREN_MAX 100        /* in one finding's evidence */
#define WAIT_MAX (24 * 3600 * USEC_PER_SEC)     /* for a child's reading that may explain a
                                                 * change */

/* ---- evidence -------------------------------------------------------------------------------- */

static void put_digest(struct evidence *evidence, enum evidence_text member,
                       const uint8_t digest[static 32])
{
    char text[65];

    hex_encode(digest, 32, text);
    evidence_text(evidence, member, text);
}

/* children, children-omitted: those that were made before the image was changed. Returns how
 * many. */
static size_t put_children(struct evidence *evidence, const struct judging *judging, int64_t mtime)
{
    _cleanup_evidence_ struct evidence list = evidence_new_list();
    const struct image *child;
    size_t n = 0;

    for (size_t i = 0; (child = graph_child(judging->image, i)); i++) {
        struct evidence item;

        if (mtime != 0 && !baseline_child_is_older(child, mtime))
            continue;
        if (n++ >= CHILDREN_MAX)
            continue;
        item = evidence_new();
        evidence_text(&item, TEXT_PATH, child->path);
        evidence_append(&list, &item);
    }
    evidence_value(evidence, PART_CHILDREN, &list);
    if (n > CHILDREN_MAX)
        evidence_number(evidence, NUMBER_CHILDREN_OMITTED, n - CHILDREN_MAX);
    return n;
}

/* ranges, ranges-omitted, blocks, different-bytes */
static void put_ranges(struct evidence *evidence, const struct deviation *deviation)
{
    _cleanup_evidence_ struct evidence list = evidence_new_list();

    if (!deviation->located)
        return;
    evidence_number(evidence, NUMBER_BLOCKS, deviation->blocks);
    evidence_number(evidence, NUMBER_DIFFERENT_BYTES, deviation->bytes);
    for (size_t i = 0; i < deviation->n_ranges; i++) {
        struct evidence range = evidence_new();

        evidence_number(&range, NUMBER_BLOCK, deviation->ranges[i].offset / QCA_BLOCK_SIZE);
        evidence_number(&range, NUMBER_GUEST_OFFSET, deviation->ranges[i].offset);
        evidence_number(&range, NUMBER_GUEST_LENGTH, deviation->ranges[i].length);
        evidence_append(&list, &range);
    }
    evidence_value(evidence, PART_RANGES, &list);
    if (deviation->ranges_total > deviation->n_ranges)
        evidence_number(evidence, NUMBER_RANGES_OMITTED,
                        deviation->ranges_total - deviation->n_ranges);
}

/* baseline-digest, digest, baseline-at, verified-at, found-at, modified-at, changed-at, device,
 * file-system, fs-verity */
static void put_story(struct evidence *evidence, const struct judging *judging)
{
    const struct baseline *baseline = judging->image->baseline;
    const struct deviation *deviation = baseline->deviation;
    const struct datastore *datastore = judging->image->datastore;
    char verity[VERITY_TEXT_MAX], device[32];

    if (baseline->has_digest) {
        put_digest(evidence, TEXT_BASELINE_DIGEST, baseline->digest);
        evidence_number(evidence, NUMBER_BASELINE_AT, baseline->since);
        evidence_number(evidence, NUMBER_VERIFIED_AT, baseline->verified);
    }
    if (baseline->encrypted)    /* the digests are of what is stored */
        evidence_flag(evidence, FLAG_ENCRYPTED, true);
    if (deviation->verdict != READING_INCOMPLETE)
        put_digest(evidence, TEXT_DIGEST, deviation->digest);
    evidence_number(evidence, NUMBER_FOUND_AT, deviation->found);
    if (!image_has_data_file(judging->image)) {     /* where it has, its own times say nothing */
        evidence_number(evidence, NUMBER_MODIFIED_AT,
                        (uint64_t)deviation->fingerprint.mtime / 1000);
        evidence_number(evidence, NUMBER_CHANGED_AT, (uint64_t)deviation->fingerprint.ctime / 1000);
    }
    if (deviation->virtual_size != 0 && baseline->has_digest &&
        deviation->virtual_size != baseline->virtual_size) {
        evidence_number(evidence, NUMBER_BASELINE_VIRTUAL_SIZE, baseline->virtual_size);
        evidence_number(evidence, NUMBER_VIRTUAL_SIZE, deviation->virtual_size);
    }
    snprintf(device, sizeof(device), "%u:%u", major((dev_t)judging->image->device),
             minor((dev_t)judging->image->device));
    evidence_text(evidence, TEXT_DEVICE, device);
    if (datastore && datastore->root.type[0])
        evidence_text(evidence, TEXT_FILE_SYSTEM, datastore->root.type);
    if (baseline->verity.algorithm)
        evidence_text(evidence, TEXT_FS_VERITY, verity_text(&baseline->verity, verity));
}

/* ", 2 blocks, first at byte 65536 of the guest's disk" */
static const char *where_text(const struct deviation *deviation, char *buf, size_t size)
{
    buf[0] = '\0';
    if (deviation->located && deviation->n_ranges > 0)
        snprintf(buf, size, ": %" PRIu64 " block%s, first at byte %" PRIu64 " of the guest's disk",
                 deviation->blocks, deviation->blocks == 1 ? "" : "s", deviation->ranges[0].offset);
    return buf;
}

/* ---- deviations ------------------------------------------------------------------------------ */

static int judge_rot(struct judging *judging)
{
    const struct baseline *baseline = judging->image->baseline;
    const struct deviation *deviation = baseline->deviation;
    _cleanup_evidence_ struct evidence evidence = evidence_new();
    char where[120];

    put_story(&evidence, judging);
    put_ranges(&evidence, deviation);
    (void)put_children(&evidence, judging, 0);
    if (deviation->verdict == READING_INCOMPLETE && deviation->error == -EBADMSG)
        return judging_add(judging, FINDING_BIT_ROT, SEVERITY_CRITICAL, deviation->blocks,
                           &evidence,
                           "holds damaged data where it held sound data, and was not written%s",
                           where_text(deviation, where, sizeof(where)));
    if (deviation->verdict == READING_INCOMPLETE)
        return judging_add(judging, FINDING_BIT_ROT, SEVERITY_CRITICAL, deviation->blocks,
                           &evidence,
                           "cannot be read as fs-verity knows it%s",
                           where_text(deviation, where, sizeof(where)));
    if (deviation->located && deviation->blocks == 0)
        return judging_add(judging, FINDING_BIT_ROT, SEVERITY_CRITICAL, 1, &evidence,
                           "has other headers or tables than were written; its data is as it was");
    return judging_add(judging, FINDING_BIT_ROT, SEVERITY_CRITICAL, deviation->blocks, &evidence,
                       "holds other data than was written%s",
                       where_text(deviation, where, sizeof(where)));
}

/* Since when what lies there is as it is, nsec; 0: of the times of the file, none says it. */
static int64_t changed_at(const struct judging *judging)
{
    const struct image *image = judging->image;
    const struct baseline *baseline = image->baseline;
    const struct fingerprint *now = &baseline->deviation->fingerprint;
    bool other_file = baseline_is_displaced(baseline) ||
                      !identity_equal(&baseline->identity, &image->identity);

    if (image_has_data_file(image))
        return 0;
    /* Another file may be older than its coming there. */
    return other_file && now->ctime > now->mtime ? now->ctime : now->mtime;
}

static int judge_modified(struct judging *judging)
{
    const struct baseline *baseline = judging->image->baseline;
    const struct deviation *deviation = baseline->deviation;
    bool golden = baseline_is_golden(judging->image, judging->relation);
    bool *judged = judging->judgement->judged;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    size_t n_children;
    char where[120], sizes[2][TEXT_SIZE_MAX];

    if (deviation->waits_for && judging->now < deviation->found + WAIT_MAX) {
        judged[golden ? FINDING_GOLDEN_MODIFIED : FINDING_PARENT_CHANGED] = false;
        return 0;
    }
    evidence = evidence_new();
    put_story(&evidence, judging);
    put_ranges(&evidence, deviation);
    n_children = put_children(&evidence, judging, golden ? 0 : changed_at(judging));
    evidence_text(&evidence, TEXT_MAYBE_COMMITTED, deviation->suspect);
    if (golden && deviation->located && deviation->blocks == 0 && baseline->has_digest &&
        deviation->virtual_size != baseline->virtual_size)
        return judging_add(judging, FINDING_GOLDEN_MODIFIED, SEVERITY_CRITICAL, 1, &evidence,
                           "must not change and is a disk of %s now, which was one of %s",
                           text_size(deviation->virtual_size, sizes[0]),
                           text_size(baseline->virtual_size, sizes[1]));
    if (golden)
        return judging_add(judging, FINDING_GOLDEN_MODIFIED, SEVERITY_CRITICAL,
                           deviation->blocks > 0 ? deviation->blocks : 1,
                           &evidence,
                           "must not change and was modified%s",
                           where_text(deviation, where, sizeof(where)));
    if (n_children == 0)        /* those there are were made of what it is now */
        return 0;
    return judging_add(judging, FINDING_PARENT_CHANGED,
                       deviation->suspect ? SEVERITY_WARNING : SEVERITY_CRITICAL, deviation->blocks,
                       &evidence, "was changed under %zu overlay%s%s%s", n_children,
                       n_children == 1 ? "" : "s",
                       deviation->hurts      ? ", by the commit of another one"
                       : deviation->suspect  ? ", perhaps by a commit"
                       : baseline->encrypted ? " (encrypted: whether by a commit cannot be told)"
                                             : "",
                       where_text(deviation, where, sizeof(where)));
}

/* A device that does not give the data back; anything else is not the disk's fault, and the audit
 * says it. */
static bool is_device_error(int error)
{
    return error == -EIO || error == -EREMOTEIO || error == -ENODATA || error == -EILSEQ ||
           error == -EUCLEAN;
}

/* errno, error, reason, text, found-at, ... */
static int judge_endless(struct judging *judging)
{
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };

    if (judging_has(judging, FINDING_NOT_AUDITABLE))
        return 0;
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_ERRNO, EFBIG);
    evidence_text(&evidence, TEXT_ERROR, strerror(EFBIG));
    evidence_text(&evidence, TEXT_REASON, "limit");
    evidence_text(
        &evidence, TEXT_TEXT,
        "its tables map more data than its file can hold, or more zeros than can be hashed: "
        "the reading was given up");
    put_story(&evidence, judging);
    return judging_add(judging, FINDING_NOT_AUDITABLE, SEVERITY_WARNING, 1, &evidence,
                       "cannot be verified: it shows its guest more data than the limit of what "
                       "its file can hold");
}

/* errno, error, ranges, ranges-omitted, blocks, different-bytes, found-at, ... */
static int judge_unreadable(struct judging *judging)
{
    const struct baseline *baseline = judging->image->baseline;
    const struct deviation *deviation = baseline->deviation;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    struct condition *metadata;
    char where[120];

    /* A cluster that inflated once and does not any more, or a table that was sound and is not:
     * that is rot, too. */
    if (deviation->error == -EBADMSG && baseline->has_digest &&
        baseline_untouched(baseline, &judging->image->identity, &deviation->fingerprint))
        return judge_rot(judging);
    if (deviation->error == -EFBIG)
        return judge_endless(judging);
    if (!is_device_error(deviation->error))
        return 0;
    if (baseline->verity.algorithm && deviation->error == -EIO)
        return judge_rot(judging);
    metadata = judging_condition(judging, FINDING_READ_ERROR);
    if (metadata) {             /* says where in its tables; this adds where in its data */
        struct evidence more = { .object = metadata->evidence };

        put_ranges(&more, deviation);
        metadata->weight += deviation->blocks;
        return more.failed ? -ENOMEM : 0;
    }
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_ERRNO, (uint64_t)-deviation->error);
    evidence_text(&evidence, TEXT_ERROR, strerror(-deviation->error));
    put_story(&evidence, judging);
    put_ranges(&evidence, deviation);
    return judging_add(judging, FINDING_READ_ERROR, SEVERITY_CRITICAL, deviation->blocks, &evidence,
                       "cannot be read (%s)%s", strerror(-deviation->error),
                       where_text(deviation, where, sizeof(where)));
}

/* ---- overdue --------------------------------------------------------------------------------- */

/* Since when its content waits to be verified, and how long that may take: false when nothing was
 * agreed. */
static bool overdue_from(const struct judging *judging, uint64_t *ret_last, uint64_t *ret_limit)
{
    const struct baseline *baseline = judging->image->baseline;
    const struct policy *policy = judging->policy;
    enum baseline_source source;
    bool golden;

    if (!baseline_wanted(judging->image, judging->relation, &source) || source == BASELINE_CHILD)
        return false;
    golden = baseline_is_golden(judging->image, judging->relation);
    *ret_limit = golden ? judging->thresholds->overdue_golden
                        : judging->thresholds->overdue_parents;
    if ((golden ? policy->scrub_golden : policy->scrub_parents) == 0 || *ret_limit == UINT64_MAX)
        return false;
    *ret_last = baseline && baseline->has_digest ? baseline->verified : judging->image->first_seen;
    /* Blocks that deviate were read, and are another finding. */
    if (baseline && baseline->deviation && baseline->deviation->verdict != READING_INCOMPLETE)
        *ret_last = baseline->deviation->read;
    return *ret_last > 0 && !__builtin_add_overflow(*ret_last, *ret_limit, &(uint64_t){ 0 });
}

/* verified-at, since-at, last-error, golden */
static int judge_overdue(struct judging *judging)
{
    const struct baseline *baseline = judging->image->baseline;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    char since[TEXT_DURATION_MAX];
    uint64_t last, limit;

    if (!overdue_from(judging, &last, &limit) || judging->now < last + limit)
        return 0;
    evidence = evidence_new();
    if (baseline && baseline->has_digest)
        evidence_number(&evidence, NUMBER_VERIFIED_AT, baseline->verified);
    evidence_number(&evidence, NUMBER_SINCE_AT, last);
    evidence_number(&evidence, NUMBER_LIMIT_SECONDS, limit / USEC_PER_SEC);
    evidence_flag(&evidence, FLAG_GOLDEN, baseline_is_golden(judging->image, judging->relation));
    if (baseline && baseline->deviation && baseline->deviation->error < 0)
        evidence_text(&evidence, TEXT_LAST_ERROR, strerror(-baseline->deviation->error));
    return judging_add(judging, FINDING_VERIFICATION_OVERDUE, SEVERITY_WARNING, 1, &evidence,
                       "was not verified for %s", text_duration(judging->now - last, since));
}

/* ---- space ----------------------------------------------------------------------------------- */

/* Bytes that the last reading found to be zeros; of an image that may change, while unchanged. */
static uint64_t known_zeros(const struct judging *judging)
{
    const struct baseline *baseline = judging->image->baseline;

    /* what a container keeps as zeros, its disk need not have */
    if (!baseline || !baseline->has_digest ||
        !qca_info_is_understood(&judging->layer->info) ||
        (baseline_source_is_loose(baseline->source) &&
         !baseline_untouched(baseline, &judging->image->identity, &judging->image->fingerprint)))
        return 0;
    return baseline->zeros;
}

/* More than an image with clusters of this disk can need: all data, and tables that map and count
 * it, with room for what rounding and growing tables waste. UINT64_MAX: not known, because
 * snapshots hold clusters of their own. */
static uint64_t needed_at_most(const struct judging *judging)
{
    const struct qca_image_info *info = &judging->layer->info;
    uint64_t needed, bitmaps = 0;

    if (!qca_format_has(info->format, QCA_TRAIT_REFCOUNTS) || info->snapshot_count > 0 ||
        info->cluster_size == 0 || image_has_data_file(judging->image))
        return UINT64_MAX;
    if (info->autoclear_features & QCA_AUTOCLEAR_BITMAPS)   /* one bit for 512 bytes at most */
        bitmaps = info->n_bitmaps > 0 ? info->n_bitmaps : 1;
    if (__builtin_mul_overflow(bitmaps, info->virtual_size / 4096, &bitmaps) ||
        __builtin_add_overflow(info->virtual_size, info->virtual_size / 16, &needed) ||
        __builtin_add_overflow(needed, bitmaps, &needed) ||
        __builtin_add_overflow(needed, 64 * (uint64_t)info->cluster_size, &needed))
        return UINT64_MAX;
    /* Small clusters: an entry of L2 tables (two words with subclusters) and a count for each. */
    if (__builtin_add_overflow(needed, info->virtual_size / info->cluster_size * 24, &needed))
        return UINT64_MAX;
    return needed;
}

static uint64_t share_of(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (uint64_t)((__uint128_t)part * 10000 / whole) : 0;
}

static bool is_much(const struct thresholds *t, uint64_t part, uint64_t whole)
{
    return part >= t->reclaimable_bytes ||
           (share_of(part, whole) >= t->reclaimable_share && part >= t->reclaimable_least);
}

/* zero-bytes, leaked-bytes, unneeded-bytes, reclaimable-bytes, share (of 10,000),
 * image-end-offset, needed-size */
static int judge_space(struct judging *judging)
{
    const struct qca_check_result *check = &judging->layer->check;
    const struct thresholds *t = judging->thresholds;
    uint64_t taken = judging->image->fingerprint.allocated, leaked = 0, all;
    uint64_t zeros = known_zeros(judging), needed = needed_at_most(judging), unneeded, end = 0;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    char size[TEXT_SIZE_MAX], other[TEXT_SIZE_MAX];
    bool far;

    if (judging->layer->checked && check->finished) {
        end = check->image_end_offset;
        if (__builtin_mul_overflow(check->leaks, (uint64_t)judging->layer->info.cluster_size,
                                   &leaked))
            leaked = UINT64_MAX;
    }
    unneeded = taken > needed ? taken - needed : 0;
    far = end > needed && is_much(t, end - needed, end);
    if ((!judging->image->baseline && unneeded == 0 && !far) ||
        baseline_is_golden(judging->image, judging->relation))
        return 0;
    /* Leaks may be what is not needed: the larger of both is counted. Holes, and what compression
     * takes no space for, are no space. */
    if (__builtin_add_overflow(leaked > unneeded ? leaked : unneeded, zeros, &all) || all > taken)
        all = taken;
    if (!far && !is_much(t, all, taken))
        return 0;
    evidence = evidence_new();
    evidence_number(&evidence, NUMBER_ZERO_BYTES, zeros);
    evidence_number(&evidence, NUMBER_LEAKED_BYTES, leaked);
    if (unneeded > 0)
        evidence_number(&evidence, NUMBER_UNNEEDED_BYTES, unneeded);
    evidence_number(&evidence, NUMBER_RECLAIMABLE_BYTES, all);
    evidence_number(&evidence, NUMBER_SHARE, share_of(all, taken));
    if (far) {
        evidence_number(&evidence, NUMBER_IMAGE_END_OFFSET, end);
        evidence_number(&evidence, NUMBER_NEEDED_SIZE, needed);
    }
    if (!is_much(t, all, taken))
        return judging_add(judging, FINDING_SPACE_RECLAIMABLE, SEVERITY_INFO, end - needed,
                           &evidence, "ends at %s, and its disk needs %s at most",
                           text_size(end, size), text_size(needed, other));
    return judging_add(judging, FINDING_SPACE_RECLAIMABLE, SEVERITY_INFO, all, &evidence,
                       "takes %s for nothing: %s", text_size(all, size),
                       unneeded > leaked ? (zeros > 0 ? "zeros, and clusters that nothing needs"
                                                      : "clusters that nothing needs")
                       : leaked > 0      ? "zeros and leaks"
                                         : "zeros");
}

/* ---- extents --------------------------------------------------------------------------------- */

/* A golden descriptor says nothing of what its extents hold, and those are read as images of their
 * own only where they are golden, too: but that nobody wrote them can be told by their times.
 * extent, modified-at, baseline-at */
static int judge_golden_extents(struct judging *judging)
{
    const struct image *image = judging->image;
    const struct baseline *baseline = image->baseline;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL };
    _cleanup_free_ char *stored = NULL;

    if (!baseline || baseline->since == 0 || baseline->deviation ||
        !baseline_is_golden(image, judging->relation))
        return 0;
    for (size_t i = 0; i < image->extents.n; i++) {
        const struct reference *reference = &image->extents.items[i];
        const struct image *extent = NULL;
        int64_t since = (int64_t)(baseline->since * 1000), written;

        if (reference->state == REFERENCE_FOUND)
            extent = graph_find_identity(judging->graph, &reference->identity);
        if (!extent)
            continue;
        written = extent->fingerprint.mtime > extent->identity.btime ? extent->fingerprint.mtime
                                                                     : extent->identity.btime;
        if (written <= since)
            continue;
        stored = text_escape_string(reference->stored);
        if (!stored)
            return -ENOMEM;
        evidence = evidence_new();
        evidence_text(&evidence, TEXT_EXTENT, extent->path);
        evidence_number(&evidence, NUMBER_MODIFIED_AT, (uint64_t)written / 1000);
        evidence_number(&evidence, NUMBER_BASELINE_AT, baseline->since);
        return judging_add(judging, FINDING_GOLDEN_MODIFIED, SEVERITY_CRITICAL, 1, &evidence,
                           "must not change, and a file with a piece of its disk was written: %s",
                           stored);
    }
    return 0;
}

/* ---- the parent that overlays name by its mark ----------------------------------------------- */

/* path, identity: of an overlay that was made on another state of the image */
static bool put_other(struct evidence *list, const struct image *child,
                      const struct qca_image_info *parent)
{
    const struct layer_report *layer = child->audit ? audit_layer_seen(child->audit) : NULL;
    struct evidence item;

    if (!layer || qca_info_fits_parent(&layer->info, parent))
        return false;
    item = evidence_new();
    evidence_text(&item, TEXT_PATH, child->path);
    evidence_text(&item, TEXT_IDENTITY, layer->info.parent_identity.text);
    evidence_append(list, &item);
    return true;
}

/* identity, children. Formats of others write a mark into an image that changes with its content,
 * and each overlay keeps the one that it was made on. */
static int judge_identity(struct judging *judging)
{
    const char *identity = judging->layer->info.identity.text;
    _cleanup_evidence_ struct evidence evidence = { .object = NULL }, list = { .object = NULL };
    const struct image *child;
    size_t n = 0;

    if (identity[0] == '\0' || !graph_child(judging->image, 0))
        return 0;
    list = evidence_new_list();
    for (size_t i = 0; (child = graph_child(judging->image, i)) && n < CHILDREN_MAX; i++)
        n += put_other(&list, child, &judging->layer->info);
    if (n == 0)
        return 0;
    evidence = evidence_new();
    evidence_text(&evidence, TEXT_IDENTITY, identity);
    evidence_value(&evidence, PART_CHILDREN, &list);
    return judging_add(judging, FINDING_PARENT_CHANGED, SEVERITY_CRITICAL, n, &evidence,
                       "is not as it was when %zu overlay%s made on it: its header says %s", n,
                       n == 1 ? " was" : "s were", identity);
}

/* ---- all of it ------------------------------------------------------------------------------- */

int judge_integrity(struct judging *judging)
{
    const struct baseline *baseline = judging->image->baseline;
    const struct deviation *deviation = baseline ? baseline->deviation : NULL;
    bool *judged = judging->judgement->judged;
    enum baseline_source source;
    int r = 0;

    if (judging->image->audit->use == FILES_WRITER || judging->image->use == FILES_WRITER ||
        (deviation && deviation->verdict == READING_INCOMPLETE)) {
        judged[FINDING_BIT_ROT] = judged[FINDING_GOLDEN_MODIFIED] = judged[FINDING_PARENT_CHANGED] =
            false;
        judged[FINDING_SPACE_RECLAIMABLE] = judged[FINDING_SPACE_RECLAIMABLE] && !deviation;
    }
    /* A sound check of the tables says nothing about data that could not be read. */
    if (deviation && deviation->verdict == READING_INCOMPLETE && is_device_error(deviation->error))
        judged[FINDING_READ_ERROR] = false;
    if (judging->relation && judging->relation->pending)
        judged[FINDING_GOLDEN_MODIFIED] = judged[FINDING_PARENT_CHANGED] = false;
    if (judging->image->audit->use != FILES_WRITER && judging->image->use != FILES_WRITER &&
        deviation) {
        if (deviation->verdict == READING_ROT)
            r = judge_rot(judging);
        else if (deviation->verdict == READING_INCOMPLETE)
            r = judge_unreadable(judging);
        else if (baseline_wanted(judging->image, judging->relation, &source) &&
                 source != BASELINE_CHILD)
            r = judge_modified(judging);
    } else if (judged[FINDING_PARENT_CHANGED] && judging->layer)
        r = judge_identity(judging);
    if (r >= 0)
        r = judge_golden_extents(judging);
    if (r >= 0)
        r = judge_overdue(judging);
    if (r >= 0 && judging->image->audit->use != FILES_WRITER)
        r = judge_space(judging);
    return r;
}

uint64_t judge_integrity_again(const struct judging *judging)
{
    const struct baseline *baseline = judging->image->baseline;
    const struct deviation *deviation = baseline ? baseline->deviation : NULL;
    uint64_t last, limit, next = UINT64_MAX;

    if (overdue_from(judging, &last, &limit) && last + limit > judging->now)
        next = last + limit;
    if (deviation && deviation->waits_for && deviation->found + WAIT_MAX > judging->now &&
        deviation->found + WAIT_MAX < next)
        next = deviation->found + WAIT_MAX;
    return next;
}
