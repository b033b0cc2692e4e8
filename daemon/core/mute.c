/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frees a mute. */
#include "daemon/core/mute.h"

#include <stdlib.h>

struct mute *mute_free(struct mute *mute)
{
    if (!mute)
        return NULL;
    free(mute->finding);
    free(mute->path);
    free(mute->class);
    free(mute->by);
    free(mute->reason);
    free(mute->ended_by);
    free(mute);
    return NULL;
}
