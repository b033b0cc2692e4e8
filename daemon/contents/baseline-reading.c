/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* When contents are to be read, and what a reading means. */
#include <errno.h>
#include <string.h>

#include "daemon/contents/baseline.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define DAY (24 * 3600 * USEC_PER_SEC)
/* Until it is asked again whether the parent was read: one that can be read, and one in use. */
#define PARENT_SOON (10 * USEC_PER_SEC)
#define PARENT_LATER (600 * USEC_PER_SEC)

/* ---- when to read ---------------------------------------------------------------------------- */

static uint64_t usec_of(int64_t nsec)
{
    return nsec > 0 ? (uint64_t)nsec / 1000 : 0;
}

static uint64_t child_made(const struct image *child)
{
    return child->identity.btime > 0 && !image_is_device(child)
               ? usec_of(child->identity.btime) : child->first_seen;
}

bool baseline_child_is_older(const struct image *child, int64_t mtime)
{
    return child_made(child) <= usec_of(mtime);
}

/* Since when it has been a parent that nobody writes: the later of its last write and its oldest
 * child. */
static uint64_t parent_since(const struct image *image, const struct relation *relation)
{
    uint64_t oldest = UINT64_MAX, written = usec_of(image->fingerprint.mtime);
    const struct image *child;

    for (size_t i = 0; (child = graph_child(image, i)); i++)
        if (child_made(child) < oldest)
            oldest = child_made(child);
    return oldest != UINT64_MAX && oldest > written ? oldest : written;
}

bool baseline_wanted(const struct image *image, const struct relation *relation,
                     enum baseline_source *ret_source)
{
    if (!relation)
        return false;
    if (relation->golden)
        *ret_source = relation->golden_inferred ? BASELINE_INFERRED : BASELINE_POLICY;
    else if (relation->n_children > 0)
        *ret_source = BASELINE_PARENT;
    /* Into a golden image no commit is legitimate. */
    else if (relation->parent && relation->parent != relation->golden_layer &&
             relation->parent->baseline && relation->parent->baseline->has_digest &&
             relation->parent->baseline->source != BASELINE_INFERRED &&
             !relation->parent->baseline->encrypted && !image_is_opaque(image))
        *ret_source = BASELINE_CHILD;
    else
        return false;
    return true;
}

bool baseline_is_golden(const struct image *image, const struct relation *relation)
{
    return relation &&
           (relation->golden || (image->baseline && image->baseline->source == BASELINE_INFERRED &&
                                 relation->n_children >= 2));
}

uint64_t baseline_interval(const struct policy *policy, const struct relation *relation)
{
    return relation && relation->golden ? policy->scrub_golden : policy->scrub_parents;
}

/* Is it there, was it opened, and does nobody write it? */
static bool can_be_read(const struct image *image)
{
    return image->present && image_layer(image) && image->use != FILES_WRITER &&
           image->audit->use != FILES_WRITER;
}

static enum baseline_due later(uint64_t when, uint64_t now, enum baseline_due due, uint64_t *ret_at)
{
    *ret_at = when > now ? when : 0;
    return when > now ? BASELINE_DUE_LATER : due;
}

static bool same_file(const struct fingerprint *a, const struct fingerprint *b)
{
    return a->size == b->size && a->mtime == b->mtime;
}

static bool attributes_differ(const struct fingerprint *a, const struct fingerprint *b)
{
    return a->mode != b->mode || a->uid != b->uid || a->gid != b->gid || a->links != b->links;
}

bool baseline_untouched(const struct baseline *baseline, const struct identity *identity,
                        const struct fingerprint *fingerprint)
{
    const struct fingerprint *then = &baseline->fingerprint;

    return identity_equal(&baseline->identity, identity) && same_file(then, fingerprint) &&
           (then->ctime == fingerprint->ctime || baseline->attributes ||
            attributes_differ(then, fingerprint));
}

/* Was the parent written since it was read? What this image held before may be what explains that,
 * so the parent is read first. */
static bool parent_comes_first(const struct relation *relation)
{
    const struct image *parent = relation->parent;
    const struct baseline *baseline = parent ? parent->baseline : NULL;

    if (!baseline || !baseline->has_digest || !parent->present)
        return false;
    return baseline->deviation
               ? !same_file(&baseline->deviation->fingerprint, &parent->fingerprint)
               : !baseline_untouched(baseline, &parent->identity, &parent->fingerprint) &&
                     !(parent->audit && verity_equal(&baseline->verity, parent->audit->verity));
}

enum baseline_due baseline_due(const struct policy *policy, const struct image *image,
                               const struct relation *relation, uint64_t now, uint64_t *ret_at)
{
    const struct baseline *baseline = image->baseline;
    uint64_t interval = baseline_interval(policy, relation), last;
    enum baseline_source source;

    *ret_at = UINT64_MAX;
    if (!can_be_read(image))
        return BASELINE_DUE_NO;
    if (!baseline_wanted(image, relation, &source)) {
        /* An image that somebody had read is read again only to see whether its finding still
         * holds. */
        if (!baseline || baseline->source != BASELINE_ASKED || !baseline->deviation)
            return BASELINE_DUE_NO;
        source = BASELINE_ASKED;
    }
    if (!baseline || (!baseline->has_digest && !baseline->deviation)) {
        uint64_t from = source == BASELINE_PARENT ? parent_since(image, relation)
                                                  : usec_of(image->fingerprint.mtime);

        if (source == BASELINE_POLICY || source == BASELINE_INFERRED)
            return later(0, now, BASELINE_DUE_NEW, ret_at);
        return later(from + policy->scrub_parents_after, now, BASELINE_DUE_NEW, ret_at);
    }
    if (baseline->deviation) {
        const struct deviation *deviation = baseline->deviation;

        if (!same_file(&deviation->fingerprint, &image->fingerprint) ||
            (!identity_equal(&baseline->identity, &image->identity) &&
             deviation->fingerprint.ctime != image->fingerprint.ctime))
            return later(0, now, BASELINE_DUE_CHANGED, ret_at);
        if (deviation->verdict == READING_INCOMPLETE && (interval == 0 || interval > DAY))
            interval = DAY;
        last = deviation->read;
    } else {
        /* The kernel vouches for the content, whatever the times say. */
        bool vouched = verity_equal(&baseline->verity, image->audit->verity);

        if (!vouched && !baseline_untouched(baseline, &image->identity, &image->fingerprint)) {
            if (source == BASELINE_CHILD) {     /* it may change: not before it has rested */
                last = usec_of(image->fingerprint.mtime) + policy->scrub_parents_after;
                if (last <= now && parent_comes_first(relation))
                    last = now + (can_be_read(relation->parent) ? PARENT_SOON : PARENT_LATER);
                return later(last, now, BASELINE_DUE_CHANGED, ret_at);
            }
            return later(0, now, BASELINE_DUE_CHANGED, ret_at);
        }
        last = baseline->verified;
    }
    /* An image that may change is read once after each change, and where parts could not be
     * read. */
    if (interval == 0 || source == BASELINE_CHILD ||
        (source == BASELINE_ASKED && baseline->deviation->verdict != READING_INCOMPLETE))
        return BASELINE_DUE_NO;
    return later(last + interval, now, BASELINE_DUE_SCRUB, ret_at);
}

/* ---- what a reading means -------------------------------------------------------------------- */

void baseline_see(struct baseline *baseline, const struct fingerprint *fingerprint)
{
    if (same_file(&baseline->fingerprint, fingerprint) &&
        attributes_differ(&baseline->fingerprint, fingerprint))
        baseline->attributes = true;
}

void baseline_displace(struct baseline *baseline)
{
    baseline->fingerprint = (struct fingerprint){ .size = 0 };
    baseline->attributes = false;
    baseline->verity = (struct verity){ .algorithm = 0 };
    if (baseline->deviation)
        baseline->deviation->fingerprint = baseline->fingerprint;
}

bool baseline_is_displaced(const struct baseline *baseline)
{
    return baseline->fingerprint.size == 0 && baseline->fingerprint.mtime == 0 &&
           baseline->fingerprint.ctime == 0;
}

static bool is_the_same(const struct baseline *baseline, const struct reading *reading)
{
    /* An earlier version took such a container for raw, and its bytes for what the guest sees. */
    return (baseline->encrypted == reading->encrypted || reading->foreign) &&
           baseline->virtual_size == reading->virtual_size &&
           memcmp(baseline->digest, reading->digest, 32) == 0 &&
           (!reading->compared || reading->difference.blocks == 0);
}

enum reading_verdict baseline_verdict(const struct baseline *baseline,
                                      const struct reading *reading, bool fixed)
{
    bool untouched;

    if (!reading->complete)
        return READING_INCOMPLETE;
    if (!baseline->has_digest)
        return READING_BASELINE;
    untouched = !reading->elsewhere &&
                baseline_untouched(baseline, &reading->identity, &reading->fingerprint);
    /* An earlier version remembered the bytes of the file, as it did not know what its guest reads
     * of them: nobody wrote it, and it is remembered anew. */
    if (reading->foreign && baseline->encrypted && !reading->encrypted && untouched)
        return READING_BASELINE;
    if (is_the_same(baseline, reading)) {
        bool other = baseline->has_metadata && reading->has_metadata &&
                     memcmp(baseline->metadata, reading->metadata, 32) != 0;

        /* Tables that changed without a write show in a check; keys do not. */
        if (other && untouched && reading->encrypted)
            return READING_ROT;
        return other || !same_file(&baseline->fingerprint, &reading->fingerprint)
                   ? READING_METADATA
                   : READING_VERIFIED;
    }
    if (untouched)
        return READING_ROT;
    if (reading->compared && reading->difference.explained)
        return READING_COMMIT;
    return fixed ? READING_MODIFIED : READING_CHANGED;
}

static struct deviation *deviation_new(const struct baseline *baseline,
                                       const struct reading *reading, enum reading_verdict verdict)
{
    const struct deviation *before = baseline->deviation;
    struct deviation *deviation = calloc(1, sizeof(*deviation));

    if (!deviation)
        return NULL;
    *deviation = (struct deviation){
        .verdict = verdict,
        .found = before && before->verdict == verdict ? before->found : reading->finished,
        .read = reading->finished,
        .virtual_size = reading->virtual_size,
        .fingerprint = reading->fingerprint,
        .error = reading->error,
    };
    memcpy(deviation->digest, reading->digest, sizeof(deviation->digest));
    if (verdict == READING_INCOMPLETE) {
        deviation->located = true;
        deviation->bytes = reading->bad_bytes;
        deviation->blocks = (reading->bad_bytes + QCA_BLOCK_SIZE - 1) / QCA_BLOCK_SIZE;
        deviation->n_ranges = reading->n_bad;
        deviation->ranges_total = reading->n_bad;
        memcpy(deviation->ranges, reading->bad, sizeof(reading->bad));
    } else if (reading->compared) {
        deviation->located = true;
        deviation->bytes = reading->difference.bytes;
        deviation->blocks = reading->difference.blocks;
        deviation->n_ranges = reading->difference.n_ranges;
        deviation->ranges_total = reading->difference.ranges_total;
        memcpy(deviation->ranges, reading->difference.ranges, sizeof(deviation->ranges));
    }
    return deviation;
}

int baseline_take(struct baseline *baseline, const struct reading *reading,
                  enum reading_verdict verdict)
{
    bool differs = verdict == READING_ROT || verdict == READING_MODIFIED ||
                   verdict == READING_INCOMPLETE;
    struct deviation *deviation = differs ? deviation_new(baseline, reading, verdict) : NULL;

    if (differs && !deviation)
        return -ENOMEM;
    deviation_free(baseline->deviation);
    baseline->deviation = deviation;
    if (differs)
        return 0;
    if (verdict != READING_VERIFIED && verdict != READING_METADATA) {
        baseline->since = reading->finished;
        baseline->has_digest = true;
        baseline->encrypted = reading->encrypted;
        baseline->virtual_size = reading->virtual_size;
        memcpy(baseline->digest, reading->digest, sizeof(baseline->digest));
    }
    baseline->verified = reading->finished;
    baseline->zeros = reading->zeros;
    baseline->fingerprint = reading->fingerprint;
    baseline->attributes = false;
    baseline->has_metadata = reading->has_metadata;
    memcpy(baseline->metadata, reading->metadata, sizeof(baseline->metadata));
    free(TAKE_PTR(baseline->lost_child));
    return 0;
}
