/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All mutes, and which of them covers a finding. Pure: the time is passed in. */
#pragma once

#include "daemon/core/findings.h"
#include "daemon/core/mute.h"
#include "daemon/core/policy.h"

/* Those that hold, those that ended less than MUTE_ENDED_KEPT ago, and the last one. */
struct mutes;

int mutes_new(struct mutes **ret_mutes);
struct mutes *mutes_free(struct mutes *mutes);
/* Borrowed: by which an image is of a class. NULL: no image is of any. */
void mutes_set_policy(struct mutes *mutes, const struct policy *policy);

/* Takes one that was kept, also on failure: -EEXIST, -ENOMEM. */
int mutes_load(struct mutes *mutes, struct mute *mute);
/* Gives it its number and takes it; it covers findings from the next findings_tick() on. On failure
 * it stays the caller's: -E2BIG (MUTES_MAX), -ENOMEM. */
int mutes_add(struct mutes *mutes, struct mute *mute);
/* -ENOENT; -EALREADY: it has ended. */
int mutes_remove(struct mutes *mutes, int64_t id, const char *by, uint64_t now);
/* Ends those whose time is over and forgets those that ended long ago. Returns when to call again:
 * usec, UINT64_MAX never. */
uint64_t mutes_tick(struct mutes *mutes, uint64_t now);

const struct mute *mutes_get(const struct mutes *mutes, int64_t id);
/* In the order of their numbers; stops when the callback returns non-zero, and returns that. The
 * callback may clear mute->changed, and nothing else. */
int mutes_each(const struct mutes *mutes, int (*each)(void *userdata, struct mute *mute),
               void *userdata);

bool mute_holds(const struct mute *mute, uint64_t now);
/* A finding of the daemon itself has no path and no class: only a name or a number mutes it. */
bool mute_matches(const struct mute *mute, const struct finding *finding,
                  const struct policy *policy);
/* Is the pattern of its path all that it asks for, and does every absolute path match that? */
bool mute_is_of_all_images(const struct mute *mute);

/* ---- for the life of findings ---------------------------------------------------------------- */

/* Of those that cover the finding, the one that lasts longest, the oldest of these; NULL: none
 * does. anew: all are looked at; else only the one that covered it until now, and those that were
 * added since mutes_settled(). */
const struct mute *mutes_cover(const struct mutes *mutes, const struct finding *finding, bool anew,
                               uint64_t now);
/* Something may be covered otherwise than it was at mutes_settled(). */
bool mutes_are_unsettled(const struct mutes *mutes);
/* All may be: what findings are about is called otherwise. */
void mutes_unsettle(struct mutes *mutes);
bool mutes_want_all_anew(const struct mutes *mutes);
void mutes_settled(struct mutes *mutes);
/* The highest number that was ever given; a finding that tells of a higher one raises it. */
int64_t mutes_last_id(const struct mutes *mutes);
void mutes_note_id(struct mutes *mutes, int64_t id);
