/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files that are still being written by somebody who takes no lock, such as downloads and copies:
 * what is missing of them is no damage until they rest. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/core/log.h"
#include "daemon/manager/internal.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

/* A file that is cut off is looked at again once it was not written for so long; twice as long each
 * time it had grown. */
#define REST_MIN (5 * USEC_PER_SEC)
#define LOOK_PAUSE (USEC_PER_SEC / 2)
#define GROWN_MAX 2
/* Looks between which it was written and did not grow: whoever only touches it hides no damage. */
#define LOOKS_MAX 3

struct rest {
    struct image *image;
    uint64_t at;                /* usec */
};

/* True when the audit found a file cut, as one is that is being written from begin to end. */
static bool audit_is_cut(const struct audit *audit)
{
    const struct layer_report *layer = audit_layer_seen(audit);
    const struct qca_check_result *check = layer ? &layer->check : NULL;

    if (audit->report->error != 0)
        return false;
    if (!layer)
        return audit_report_open_error(audit->report)->kind == QCA_ERROR_TRUNCATED ||
               audit_report_open_error(audit->report)->kind == QCA_ERROR_HEADER;
    if (!layer->checked)
        return false;
    for (int i = 0; i < _QCA_ISSUE_MAX; i++)
        if (issue_kind_is_proven_cut((enum qca_issue_kind)i) &&
            qca_check_count(check, (enum qca_issue_kind)i) > 0)
            return true;
    return qca_check_count(check, QCA_ISSUE_OUT_OF_FILE) > 0 ||
           qca_check_count(check, QCA_ISSUE_REFTABLE_OUT_OF_FILE) > 0 ||
           qca_check_count(check, QCA_ISSUE_LAST_CLUSTER_CUT) > 0;
}

/* And while it is written in any order. */
static bool audit_is_damaged(const struct audit *audit)
{
    const struct layer_report *layer = audit_layer_seen(audit);
    enum qca_error_kind kind = audit_report_open_error(audit->report)->kind;

    if (audit->report->error != 0)
        return false;
    if (!layer)
        return kind > QCA_ERROR_MEMORY && kind <= QCA_ERROR_BITMAPS;
    return layer->checked && (layer->check.corruptions > 0 || layer->check.check_errors > 0 ||
                              audit_is_cut(audit));
}

/* The last one takes its place. */
static void rest_remove(struct manager *manager, struct image *image)
{
    struct rest *place = &manager->rests[image->rest - 1];

    *place = manager->rests[--manager->n_rests];
    place->image->rest = image->rest;
    image->rest = 0;
}

static int on_rest(sd_event_source *source, uint64_t when, void *userdata)
{
    struct manager *manager = userdata;
    uint64_t now = manager_now(manager), next = UINT64_MAX;

    for (size_t i = 0; i < manager->n_rests;) {
        struct rest *rest = &manager->rests[i];
        struct image *image = rest->image;

        if (rest->at <= now) {
            rest_remove(manager, image);
            pass_plan(manager, image, SCHEDULE_NEW);
            continue;
        }
        next = rest->at < next ? rest->at : next;
        i++;
    }
    /* All are looked through: not for each of many. */
    if (next != UINT64_MAX)
        (void) manager_arm(manager, &manager->rest_timer,
                           next - now > LOOK_PAUSE ? next - now : LOOK_PAUSE, on_rest);
    return 0;
}

static int rest_plan(struct manager *manager, struct image *image, uint64_t at)
{
    uint64_t now = manager_now(manager);
    size_t n = manager->n_rests;
    struct rest *rests;

    if (image->rest > 0) {
        manager->rests[image->rest - 1].at = at;
    } else {
        /* grown by doubling: 1, 2, 4, 8 ... */
        rests = (n & (n - 1)) == 0 ? reallocarray(manager->rests, n > 0 ? 2 * n : 1, sizeof(*rests))
                                   : manager->rests;
        if (!rests)
            return -ENOMEM;
        manager->rests = rests;
        rests[manager->n_rests++] = (struct rest){ .image = image, .at = at };
        image->rest = manager->n_rests;
    }
    return manager_arm(manager, &manager->rest_timer, at > now ? at - now : 0, on_rest);
}

void rest_forget(struct manager *manager, struct image *image)
{
    if (image->rest > 0)
        rest_remove(manager, image);
}

/* For how long it has to rest; 0: what its audit says holds. */
static uint64_t image_rest(struct manager *manager, const struct image *image, bool grew)
{
    const struct audit *audit = image->audit;
    uint64_t rest = manager->config->rest, least;

    if (audit->use != FILES_UNUSED || usage_said(manager, image) != FILES_UNUSED ||
        image_is_device(image) || !audit->report)
        return 0;
    if (image_name_is_partial(image->path))
        return audit_is_damaged(audit) ? rest : 0;
    if (image->n_grown + grew > 0 ? !audit_is_damaged(audit)
                                  : !audit_is_cut(audit))
        return 0;
    least = REST_MIN << (image->n_grown + (grew && image->n_grown < GROWN_MAX));
    return least < rest ? least : rest;
}

bool rest_is_short(const struct image *image)
{
    return image->unrested && !image_name_is_partial(image->path) && image->n_grown == 0;
}

bool rest_on_audited(struct manager *manager, struct image *image)
{
    const struct audit *audit = image->audit, *before = image->audit_before;
    bool grew = image->unrested && before && identity_equal(&before->identity, &audit->identity) &&
                before->fingerprint.size < audit->fingerprint.size;
    uint64_t rest = image_rest(manager, image, grew);
    int64_t written = audit->fingerprint.mtime / 1000;
    bool was = image->unrested;

    if (grew && image->n_grown < GROWN_MAX)
        image->n_grown++;
    image->n_looks = grew ? 0 : image->n_looks + (image->n_looks < LOOKS_MAX);
    /* A time that lies ahead says nothing. */
    image->unrested = rest > 0 && written <= (int64_t)audit->finished &&
                      audit->finished - (uint64_t)written < rest && image->n_looks < LOOKS_MAX;
    if (image->unrested && rest_plan(manager, image, (uint64_t)written + rest + USEC_PER_SEC / 10) <
                               0) {
        log_error(-ENOMEM, "A file that is being written is judged at once: %m");
        image->unrested = false;
    }
    if (image->unrested)
        return rest_is_short(image);
    image->n_grown = image->n_looks = 0;
    if (was)
        rest_forget(manager, image);
    return false;
}

void rest_done(struct manager *manager)
{
    manager->rest_timer = sd_event_source_disable_unref(manager->rest_timer);
    free(manager->rests);
    manager->rests = NULL;
    manager->n_rests = 0;
}
