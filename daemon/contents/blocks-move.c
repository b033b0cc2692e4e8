/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Places of the files of block digests, which tasks rename and remove. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/contents/internal.h"
#include "daemon/core/log.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

#define BLOCKS_BETWEEN ".part"          /* of two that are exchanged; removed at the next start */

char *blocks_path(const struct contents *contents, const struct identity *identity,
                  const char *suffix)
{
    char *path;

    return asprintf(&path, "%s/" CONTROL_BLOCKS_NAME "/" BLOCKS_NAME_FORMAT "%s",
                    contents->state_directory, BLOCKS_NAME_VALUES(*identity), suffix) < 0
               ? NULL
               : path;
}

struct moving {
    char *from, *to;            /* to NULL: from goes */
};

static int run_moving(void *userdata)
{
    const struct moving *moving = userdata;
    int r = moving->to ? rename(moving->from, moving->to) : unlink(moving->from);

    return r < 0 && errno != ENOENT ? -errno : 0;
}

static void on_moved(void *userdata, int error)
{
    struct moving *moving = userdata;

    if (error < 0 && error != -ECANCELED)
        log_warning(error, "Cannot %s %s: %m", moving->to ? "rename" : "remove", moving->from);
    free(moving->from);
    free(moving->to);
    free(moving);
}

/* Takes both. */
static void move(struct contents *contents, char *from, char *to)
{
    struct moving *moving = from ? malloc(sizeof(*moving)) : NULL;

    if (moving) {
        *moving = (struct moving){ .from = from, .to = to };
        if (contents_task(contents, run_moving, on_moved, moving) >= 0)
            return;
        free(moving);
    }
    log_warning(-ENOMEM, "Cannot move a file of block digests: %m");
    free(from);
    free(to);
}

void blocks_adopt(struct contents *contents, const struct identity *identity,
                  const struct identity *before)
{
    char *to = blocks_path(contents, identity, "");

    if (to)
        move(contents, blocks_path(contents, identity, BLOCKS_FRESH), to);
    if (!identity_equal(identity, before))
        blocks_unlink(contents, before, "");
}

void blocks_rename(struct contents *contents, const struct identity *from,
                   const struct identity *to)
{
    char *target = blocks_path(contents, to, "");

    if (target)
        move(contents, blocks_path(contents, from, ""), target);
}

void blocks_exchange(struct contents *contents, const struct identity *a,
                     const struct identity *b)
{
    char *between = blocks_path(contents, a, BLOCKS_BETWEEN),
         *target = blocks_path(contents, a, BLOCKS_BETWEEN);

    if (between && target) {
        move(contents, blocks_path(contents, a, ""), TAKE_PTR(target));
        blocks_rename(contents, b, a);
        move(contents, TAKE_PTR(between), blocks_path(contents, b, ""));
    }
    free(between);
    free(target);
}

void blocks_unlink(struct contents *contents, const struct identity *identity, const char *suffix)
{
    move(contents, blocks_path(contents, identity, suffix), NULL);
}

void blocks_remove(struct contents *contents, const struct identity *identity)
{
    static const char *const suffixes[] = { "", BLOCKS_FRESH, BLOCKS_PARTIAL };

    for (size_t i = 0; i < ELEMENTSOF(suffixes); i++)
        blocks_unlink(contents, identity, suffixes[i]);
}
