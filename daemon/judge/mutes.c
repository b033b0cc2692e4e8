/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All mutes, and which of them covers a finding. */
#include "daemon/judge/mutes.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "helpers/clock.h"
#include "lib/cleanup.h"

struct mutes {
    struct mute **items;        /* by number */
    size_t n_items;
    const struct policy *policy;
    int64_t last_id;
    int64_t settled_id;         /* those up to this number were compared with all findings */
    bool anew;                  /* all are to be compared */
    bool ended;                 /* one has ended since */
};

int mutes_new(struct mutes **ret_mutes)
{
    struct mutes *mutes = calloc(1, sizeof(*mutes));

    if (!mutes)
        return -ENOMEM;
    mutes->anew = true;
    *ret_mutes = mutes;
    return 0;
}

struct mutes *mutes_free(struct mutes *mutes)
{
    if (!mutes)
        return NULL;
    for (size_t i = 0; i < mutes->n_items; i++)
        mute_free(mutes->items[i]);
    free(mutes->items);
    free(mutes);
    return NULL;
}

void mutes_set_policy(struct mutes *mutes, const struct policy *policy)
{
    mutes->policy = policy;
    mutes->anew = true;
}

/* ---- the set --------------------------------------------------------------------------------- */

static int insert(struct mutes *mutes, struct mute *mute)
{
    struct mute **items;
    size_t at = mutes->n_items;

    if (mutes_get(mutes, mute->id))
        return -EEXIST;
    items = reallocarray(mutes->items, mutes->n_items + 1, sizeof(*items));
    if (!items)
        return -ENOMEM;
    mutes->items = items;
    while (at > 0 && items[at - 1]->id > mute->id)
        at--;
    memmove(&items[at + 1], &items[at], (mutes->n_items - at) * sizeof(*items));
    items[at] = mute;
    mutes->n_items++;
    mutes_note_id(mutes, mute->id);
    return 0;
}

int mutes_load(struct mutes *mutes, struct mute *mute)
{
    int r = insert(mutes, mute);

    if (r < 0)
        mute_free(mute);
    return r;
}

int mutes_add(struct mutes *mutes, struct mute *mute)
{
    size_t n = 0;
    int r;

    for (size_t i = 0; i < mutes->n_items; i++)
        n += mutes->items[i]->ended == 0;
    if (n >= MUTES_MAX)
        return -E2BIG;
    mute->id = mutes->last_id + 1;
    r = insert(mutes, mute);
    if (r < 0)
        return r;
    mute->changed = true;
    return 0;
}

static void end(struct mutes *mutes, struct mute *mute, uint64_t now)
{
    mute->ended = now;
    mute->changed = true;
    mutes->ended = true;
}

int mutes_remove(struct mutes *mutes, int64_t id, const char *by, uint64_t now)
{
    struct mute *mute = (struct mute *)(uintptr_t)mutes_get(mutes, id);
    char *ended_by;

    if (!mute)
        return -ENOENT;
    if (mute->ended > 0)
        return -EALREADY;
    ended_by = strdup(by);
    if (!ended_by)
        return -ENOMEM;
    mute->ended_by = ended_by;
    end(mutes, mute, now);
    return 0;
}

/* The last one stays, so that its number is not given again after the next start. */
static void forget(struct mutes *mutes, uint64_t now)
{
    size_t n_ended = 0, kept = 0;

    for (size_t i = mutes->n_items; i-- > 0;) {
        struct mute *mute = mutes->items[i];

        if (mute->ended == 0 || mute->changed || i + 1 == mutes->n_items)
            continue;
        if (++n_ended > MUTES_ENDED_MAX ||
            (now > mute->ended && now - mute->ended > MUTE_ENDED_KEPT))
            mutes->items[i] = mute_free(mute);
    }
    for (size_t i = 0; i < mutes->n_items; i++)
        if (mutes->items[i])
            mutes->items[kept++] = mutes->items[i];
    mutes->n_items = kept;
}

uint64_t mutes_tick(struct mutes *mutes, uint64_t now)
{
    uint64_t next = UINT64_MAX;

    for (size_t i = 0; i < mutes->n_items; i++) {
        struct mute *mute = mutes->items[i];

        if (mute->ended > 0 || mute->until == 0)
            continue;
        if (!mute_holds(mute, now))
            end(mutes, mute, now);
        else if (mute->until < next)
            next = mute->until;
    }
    forget(mutes, now);
    return next;
}

const struct mute *mutes_get(const struct mutes *mutes, int64_t id)
{
    size_t low = 0, high = mutes->n_items;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (mutes->items[middle]->id == id)
            return mutes->items[middle];
        if (mutes->items[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

int mutes_each(const struct mutes *mutes, int (*each)(void *userdata, struct mute *mute),
               void *userdata)
{
    for (size_t i = 0; i < mutes->n_items; i++) {
        int r = each(userdata, mutes->items[i]);

        if (r != 0)
            return r;
    }
    return 0;
}

/* ---- what one covers ------------------------------------------------------------------------- */

bool mute_holds(const struct mute *mute, uint64_t now)
{
    return mute->ended == 0 && (mute->until == 0 || mute->until > now);
}

bool mute_matches(const struct mute *mute, const struct finding *finding,
                  const struct policy *policy)
{
    const struct policy_class *class;

    if (mute->finding_id != 0 && mute->finding_id != finding->id)
        return false;
    if (mute->finding && strcmp(mute->finding, finding_definition(finding->type)->name) != 0)
        return false;
    if (!mute->path && !mute->class)
        return mute->finding || mute->finding_id != 0;
    if (finding->subject_kind != SUBJECT_IMAGE ||
        (mute->path && !policy_pattern_matches(mute->path, finding->subject)))
        return false;
    if (!mute->class)
        return true;
    class = policy ? policy_class_of(policy, finding->subject) : NULL;
    return class && strcmp(class->name, mute->class) == 0;
}

/* The pattern is tried, not parsed: one that matches the paths below for every byte matches any
 * absolute path. What is not "*" in it can only be the slash and one thing that is any byte. */
static bool pattern_matches_all(const char *pattern)
{
    for (int byte = 1; byte <= UCHAR_MAX; byte++) {
        const char c = (char)byte;
        const char *const paths[] = {
            (const char[]){ '/', c, '\0' },
            (const char[]){ '/', c, c, '\0' },
            (const char[]){ '/', c, '/', c, '\0' },
        };

        for (size_t i = 0; c != '/' && i < ELEMENTSOF(paths); i++)
            if (!policy_pattern_matches(pattern, paths[i]))
                return false;
    }
    return true;
}

bool mute_is_of_all_images(const struct mute *mute)
{
    return mute->path && !mute->finding && !mute->class && mute->finding_id == 0 &&
           pattern_matches_all(mute->path);
}

/* ---- for the life of findings ---------------------------------------------------------------- */

static bool lasts_longer(const struct mute *mute, const struct mute *than)
{
    return !than || (than->until != 0 && (mute->until == 0 || mute->until > than->until));
}

const struct mute *mutes_cover(const struct mutes *mutes, const struct finding *finding, bool anew,
                               uint64_t now)
{
    const struct mute *best = NULL;

    for (size_t i = 0; i < mutes->n_items; i++) {
        const struct mute *mute = mutes->items[i];

        if (mute->id <= finding->mutes_broken)
            continue;
        if (!anew && mute->id <= mutes->settled_id && mute->id != finding->muted_by)
            continue;
        if (mute_holds(mute, now) && lasts_longer(mute, best) &&
            mute_matches(mute, finding, mutes->policy))
            best = mute;
    }
    return best;
}

bool mutes_are_unsettled(const struct mutes *mutes)
{
    return mutes->anew || mutes->ended || mutes->settled_id != mutes->last_id;
}

void mutes_unsettle(struct mutes *mutes)
{
    mutes->anew = true;
}

bool mutes_want_all_anew(const struct mutes *mutes)
{
    return mutes->anew;
}

void mutes_settled(struct mutes *mutes)
{
    mutes->anew = mutes->ended = false;
    mutes->settled_id = mutes->last_id;
}

int64_t mutes_last_id(const struct mutes *mutes)
{
    return mutes->last_id;
}

void mutes_note_id(struct mutes *mutes, int64_t id)
{
    if (id > mutes->last_id)
        mutes->last_id = id;
}
