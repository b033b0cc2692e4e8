/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Baselines are kept: in the database and in the ledger; and forgotten. */
#include <errno.h>
#include <string.h>

#include "daemon/contents/internal.h"
#include "daemon/core/log.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(json_object *, json_object_put)

static int store_one(struct contents *contents, const struct baseline *baseline)
{
    _cleanup_(json_object_putp) json_object *deviation = NULL;
    char verity[VERITY_TEXT_MAX];
    int r = baseline->deviation ? deviation_to_json(baseline->deviation, &deviation) : 0;

    if (r < 0)
        return r;
    return contents->ops->keep_baseline(contents->userdata, baseline, deviation,
                                        baseline->verity.algorithm
                                            ? verity_text(&baseline->verity, verity)
                                            : NULL);
}

static int store_each(void *userdata, struct baseline *baseline)
{
    return store_one(userdata, baseline);
}

int contents_keep_all(struct contents *contents)
{
    return baselines_each(contents->baselines, store_each, contents);
}

void keep_baseline(struct contents *contents, struct baseline *baseline)
{
    int r = store_one(contents, baseline);

    if (r < 0)
        log_error(r, "Cannot keep a baseline: %m");
    ledger_baseline(contents, baseline);
}

void keep_gone(struct contents *contents, const struct identity *identity)
{
    int r = contents->ops->keep_gone(contents->userdata, identity);

    if (r < 0)
        log_error(r, "Cannot forget a baseline: %m");
    ledger_gone(contents, identity);
}

void keep_forget(struct contents *contents, struct baseline *baseline)
{
    struct image *const *images;
    size_t n;

    keep_gone(contents, &baseline->identity);
    blocks_remove(contents, &baseline->identity);
    if (contents_images(contents, &images, &n) >= 0)
        for (size_t i = 0; i < n; i++)
            if (images[i]->baseline == baseline)
                images[i]->baseline = NULL;
    baselines_remove(contents->baselines, baseline);
}
