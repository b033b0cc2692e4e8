/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A file that is called otherwise is still the same image: what is known of it goes by its new
 * name, in the memory, in the database and in the ledger. */
#include <errno.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/manager/internal.h"
#include "helpers/clock.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define SETTLES_AFTER USEC_PER_SEC      /* two images change places by three renames */

struct image *rename_known(void *userdata, const struct identity *identity)
{
    struct manager *manager = userdata;

    return graph_find_identity(manager->graph, identity);
}

/* Acknowledgements are kept in the ledger by their subject. */
static void ledger_subject(struct manager *manager, const char *subject, enum event_type type)
{
    struct finding *const *findings = findings_of(manager->findings, SUBJECT_IMAGE, subject);

    for (int i = 0; findings && i < _FINDING_MAX; i++)
        if (findings[i] && findings[i]->state == FINDING_ACKNOWLEDGED)
            contents_event(manager->contents, findings[i], type);
}

static size_t without_aside(const char *path)
{
    size_t n = strlen(path), aside = strlen(DISCOVER_ASIDE);

    return n > aside && strcmp(path + n - aside, DISCOVER_ASIDE) == 0 ? n - aside : n;
}

/* Says nothing of a name between two steps, nor of a file that may be no image: any program renames
 * such files. */
static void tell(const struct image *image, const char *before)
{
    _cleanup_free_ char *old = NULL, *new = text_escape_string(image->path);

    if (image->tentative || without_aside(image->path) < strlen(image->path))
        return;
    (void)text_escape(before, without_aside(before), &old);
    log_info(0, "%s is called %s now", old ? old : "An image", new ? new : "otherwise");
}

void rename_on_renamed(void *userdata, struct image *image, const char *before)
{
    struct manager *manager = userdata;
    struct round *round = keep_round(manager);
    int r;

    if (manager->stopping)
        return;
    tell(image, before);
    r = round ? store_batch_renamed(round->batch, before, image->path) : -ENOMEM;
    if (r < 0)
        log_error(r, "Cannot keep that an image is called otherwise: %m");
    ledger_subject(manager, before, EVENT_RESOLVED);
    r = findings_rename(manager->findings, SUBJECT_IMAGE, before, image->path,
                        image->datastore->name);
    if (r < 0)
        log_error(r, "Cannot take the findings of an image to its new name: %m");
    ledger_subject(manager, image->path, EVENT_ACKNOWLEDGED);
    r = graph_rename(manager->graph, image);
    if (r >= 0)
        r = image_list_add(&manager->attributes, image);
    if (r < 0)
        log_error(r, "An image that is called otherwise is not judged: %m");
    image->settles = manager_now(manager) + SETTLES_AFTER;
    manager->listed_valid = false;
    usages_soon(manager->usages);
    resolve_soon(manager);      /* overlays look for it where it was */
    judge_soon(manager);
}
