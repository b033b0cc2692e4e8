/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A mute: findings that an administrator does not want to be told of for a while. They are looked
 * for, kept and shown as all others are. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "helpers/clock.h"

#define MUTES_MAX 1000          /* that hold */
#define MUTES_ENDED_MAX 1000    /* that are kept of those that have ended, */
#define MUTE_ENDED_KEPT (7 * 24 * 3600 * USEC_PER_SEC)  /* and for so long: usec */

struct mute {
    int64_t id;                 /* from 1 on; no other mute ever has the same */
    /* The conditions of a mute: a finding must meet all that are given, and at least one is
     * given. */
    char *finding;              /* of that name; NULL: any */
    char *path;                 /* about an image whose path this pattern matches; raw bytes; NULL:
                                 * about anything */
    char *class;                /* about an image of that class of the configuration; NULL: about
                                 * anything */
    int64_t finding_id;         /* the finding of that number; 0: any */
    char *by, *reason;
    uint64_t made;              /* usec */
    uint64_t until;             /* usec; 0: without end */
    uint64_t ended;             /* usec; 0: it holds */
    char *ended_by;             /* who removed it; NULL: it holds, or its time was over */
    bool changed;               /* since it was kept last; not kept */
};

struct mute *mute_free(struct mute *mute);
