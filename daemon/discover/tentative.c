/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files that are not called as images are: each is an image until it was looked at, then it stays
 * one or becomes one of the others. So many at a time that their number costs no memory. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/discover/internal.h"
#include "lib/cleanup.h"

#define RECALLS_MAX 32          /* questions to one helper under way; beyond them it walks */

void site_count(struct site *site, const struct image *image, bool there)
{
    if (there) {
        site->n_known++;
        site->n_tentative += image->tentative;
    } else {
        site->n_known--;
        site->n_tentative -= image->tentative;
    }
}

void site_go_on(struct site *site)
{
    int r = 0;

    if (site->left_some && site->walking == SITE_IDLE && site->n_tentative <= TENTATIVE_MAX / 2 &&
        site->datastore->state == DATASTORE_ONLINE)
        r = site_walk(site);
    if (r < 0)
        log_debug(r, "Datastore %s is not walked again: %m", site->datastore->name);
}

bool site_may_be_other(const struct site *site, const struct files_record *record)
{
    return record->stat.type == FILES_REGULAR && !site->datastore->of_devices &&
           !path_is_image_name(record->path);
}

bool site_passes_over(struct site *site, const struct files_record *record)
{
    struct identity identity = identity_from_stat(&record->stat);
    struct fingerprint fingerprint = fingerprint_from_stat(&record->stat);
    struct other *other;

    if (!site_may_be_other(site, record))
        return false;
    other = others_find(&site->others, &identity);
    if (other)
        other->walk = (uint32_t)site->datastore->walk;
    /* The kernel says that a writer closed it: its times need not show that. */
    if (other && record->event != FILES_EVENT_CHANGED &&
        other_is(other, &identity, &fingerprint))
        return true;
    if (site->n_tentative < TENTATIVE_MAX)
        return false;
    site->left_some = true;
    return true;
}

bool site_make_tentative(struct site *site, const struct files_record *record,
                         struct image *image)
{
    const struct other *other;

    image->tentative = site_may_be_other(site, record);
    other = image->tentative ? others_find(&site->others, &image->identity) : NULL;
    if (other)
        image->raw_size = other->raw_size;
    return other;
}

void discover_settle(struct discover *discover, struct image *image)
{
    struct site *site = discover_site(discover, image->datastore);
    struct other *other;

    if (!image->tentative)
        return;
    other = others_find(&site->others, &image->identity);
    if (other)
        others_drop(&site->others, other);
    site->n_tentative--;
    image->tentative = false;
    site_go_on(site);
}

int discover_dismiss(struct discover *discover, struct image *image, bool keep)
{
    struct site *site = discover_site(discover, image->datastore);
    int r;

    r = others_put(&site->others, &image->audit->identity,
                   keep ? &image->audit->fingerprint : NULL, image->raw_size, image->walk);
    if (r < 0)
        return r;
    leaving_forget(discover, image);
    names_remove_all(discover, image);
    image_set_remove(&discover->images, image);
    site_count(site, image, false);
    discover->options.image(discover->options.userdata, image, DISCOVER_DISMISSED, false);
    image_free(image);
    site_go_on(site);
    return 0;
}

/* ---- others that something calls an image now ------------------------------------------------ */

void site_forget_recalls(struct site *site)
{
    struct recall *recall;

    while ((recall = LIST_FIRST(&site->recalls))) {
        LIST_REMOVE(recall, link);
        free(recall);
    }
    site->n_recalls = 0;
}

static void on_recalled(void *userdata, int error, const struct files_stat *stat,
                        enum files_use use)
{
    _cleanup_free_ struct recall *recall = userdata;
    struct site *site = recall->site;
    struct files_record record = { .event = FILES_EVENT_APPEARED, .path = recall->path };

    LIST_REMOVE(recall, link);
    site->n_recalls--;
    if (error < 0)
        return;                 /* gone again, or an event says what is there now */
    record.stat = *stat;
    site_file(site, &record);
}

void discover_recall(struct discover *discover, const char *path, const struct identity *identity)
{
    const struct datastore *datastore = discover_datastore_of(discover, path);
    struct site *site = datastore ? discover_site(discover, datastore) : NULL;
    struct other *other = site ? others_find(&site->others, identity) : NULL;
    size_t size = strlen(path) + 1;
    struct recall *recall;

    if (!other || !site->files || datastore->state != DATASTORE_ONLINE ||
        discover_find_name(discover, path))
        return;
    other->state = 0;           /* whatever it is, it is looked at when it is seen next */
    recall = site->n_recalls < RECALLS_MAX ? calloc(1, sizeof(*recall) + size) : NULL;
    if (!recall) {
        (void)site_walk(site);
        return;
    }
    memcpy(recall->path, path, size);
    recall->site = site;
    if (files_probe(site->files, recall->path, on_recalled, recall) < 0) {
        free(recall);           /* the helper is lost: what follows is a walk */
        return;
    }
    LIST_INSERT_HEAD(&site->recalls, recall, link);
    site->n_recalls++;
}

/* ---- what is kept of them -------------------------------------------------------------------- */

bool discover_others_changed(const struct discover *discover, const struct datastore *datastore,
                             bool much)
{
    const struct others *others = &discover_site(discover, datastore)->others;

    return others->n_changed > (much ? 1024 + others->n / 4 : 0);
}

int discover_save_others(struct discover *discover, const struct datastore *datastore,
                         uint8_t **ret_bytes, size_t *ret_size)
{
    struct others *others = &discover_site(discover, datastore)->others;
    int r = others_save(others, ret_bytes, ret_size);

    if (r >= 0)
        others->n_changed = 0;
    return r;
}

int discover_load_others(struct discover *discover, const char *name, const uint8_t *bytes,
                         size_t size)
{
    const struct datastore *datastore = discover_find_datastore(discover, name);

    if (!datastore)
        return -ENOENT;
    return others_load(&discover_site(discover, datastore)->others, bytes, size, OTHERS_MAX);
}
