/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plans audits: files that come, change and go, the start and end of audits. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/core/log.h"
#include "daemon/manager/internal.h"
#include "helpers/clock.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define RETRY_AFTER USEC_PER_SEC
#define LOOKS_MAX 3
#define OWNERS_MAX 64           /* of one data file: each of them but one is a mistake */
#define GROWTH_EVERY (10 * USEC_PER_SEC)
/* A change within the same tick of a file system's clock does not show in mtime. */
#define CLOCK_GRAIN (2 * NSEC_PER_SEC)

/* ---- dispatching ----------------------------------------------------------------------------- */

static int on_dispatch_timer(sd_event_source *source, uint64_t when, void *userdata)
{
    pass_dispatch(userdata);
    return 0;
}

static int on_dispatch(sd_event_source *source, void *userdata)
{
    struct manager *manager = userdata;
    uint64_t now = manager_now(manager), wait = UINT64_MAX;
    enum schedule_reason reason;
    struct image *image;
    char *current;
    int r;

    while (!manager->stopping && (image = schedule_next(manager->schedule, now, &reason, &wait))) {
        audits_cancel_scrub(manager->audits, image);    /* which goes on afterwards */
        r = audits_start(manager->audits, image,
                         reason == SCHEDULE_FORCED || reason == SCHEDULE_INTERVAL);
        if (r < 0) {
            schedule_done(manager->schedule, image, now);
            r = schedule_image(manager->schedule, image, SCHEDULE_CHANGED, now);
            if (r < 0)
                log_error(r, "Cannot plan an audit: %m");
            wait = RETRY_AFTER;
            break;
        }
        current = strdup(image->path);
        if (current) {
            free(manager->current);
            manager->current = current;
        }
    }
    if (!manager->stopping && wait != UINT64_MAX) {
        r = manager_arm(manager, &manager->dispatch_timer, wait, on_dispatch_timer);
        if (r < 0)
            log_error(r, "Cannot set the timer of the audits: %m");
    }
    scrub_dispatch(manager);
    return 0;
}

void pass_dispatch(struct manager *manager)
{
    int r = 0;

    if (manager->stopping)
        return;
    if (!manager->dispatch)
        r = sd_event_add_defer(manager->event, &manager->dispatch, on_dispatch, manager);
    if (r >= 0)
        r = sd_event_source_set_enabled(manager->dispatch, SD_EVENT_ONESHOT);
    if (r < 0)
        log_error(r, "Cannot go on with the audits: %m");
}

void pass_plan(struct manager *manager, struct image *image, enum schedule_reason reason)
{
    int r;

    r = schedule_image(manager->schedule, image, reason, manager_now(manager));
    if (r < 0)
        log_error(r, "Cannot plan an audit: %m");
    pass_dispatch(manager);
}

/* ---- files that come, change and go ---------------------------------------------------------- */

/* Does the last audit still hold for the file as it lies there? */
bool pass_is_current(const struct image *image)
{
    const struct fingerprint *now = &image->fingerprint, *then;

    if (!image->audit || !identity_equal(&image->audit->identity, &image->identity))
        return false;
    then = &image->audit->fingerprint;
    if (then->size != now->size || then->mtime != now->mtime)
        return false;
    return then->ctime == now->ctime || then->mode != now->mode || then->uid != now->uid ||
           then->gid != now->gid || then->links != now->links;
}

/* Nobody was writing, and it was quiet for long enough before the audit that a later write shows in
 * its times. */
bool pass_is_settled(const struct image *image)
{
    return image->audit->confidence > CONFIDENCE_CONFIRMED &&
           (int64_t)(image->audit->started * 1000) >
               image->fingerprint.mtime + (int64_t)CLOCK_GRAIN;
}

static bool image_is_quiet(const struct manager *manager, const struct image *image)
{
    uint64_t debounce = manager->config->debounce;
    int64_t last = image->fingerprint.mtime > image->fingerprint.ctime ? image->fingerprint.mtime
                                                                        : image->fingerprint.ctime;

    return last / 1000 + (int64_t)debounce <= (int64_t)manager_now(manager);
}

/* A change of owner or mode leaves the audit valid; it changes the judgement. */
static void image_take_attributes(struct manager *manager, struct image *image)
{
    contents_attributes(manager->contents, image);
    if (image->audit)
        image->audit->fingerprint = image->fingerprint;
    (void) graph_update(manager->graph, image);
    if (image_list_add(&manager->attributes, image) < 0)
        log_warning(-ENOMEM, "A change of owner or mode is not stored: %m");
    judge_soon(manager);
}

void pass_input_changed(struct manager *manager, struct image *image)
{
    const struct baseline *baseline = image->baseline;

    image->worker_deaths = 0;
    audits_cancel_scrub(manager->audits, image);
    pass_plan(manager, image, SCHEDULE_CHANGED);
    /* Its own times do not say that it is to be read. */
    if (baseline && baseline->has_digest &&
        baseline_is_golden(image, graph_relation(manager->graph, image)))
        scrub_now(manager, image);
}

/* A data file or extent is part of its owner, whose own times do not change with it. */
static void owners_changed(struct manager *manager, const struct image *image)
{
    struct image *owners[OWNERS_MAX];
    size_t n = graph_data_file_owners(manager->graph, image, owners, OWNERS_MAX);

    for (size_t i = 0; i < n && i < OWNERS_MAX; i++)
        if (owners[i]->present)
            pass_input_changed(manager, owners[i]);
}

static void image_changed(struct manager *manager, struct image *image, bool by_walk)
{
    if (pass_is_current(image) && pass_is_settled(image))
        return;
    owners_changed(manager, image);
    image->worker_deaths = 0;
    audits_cancel_scrub(manager->audits, image);
    (void) graph_update(manager->graph, image);
    pass_plan(manager, image,
              by_walk && image_is_quiet(manager, image) ? SCHEDULE_NEW : SCHEDULE_CHANGED);
    if (image->audit && !identity_equal(&image->audit->identity, &image->identity))
        resolve_soon(manager);  /* overlays refer to another file now */
}

static void image_found_again(struct manager *manager, struct image *image, bool by_walk)
{
    if (image->worker_deaths >= DEATHS_MAX)
        return;
    if (!pass_is_current(image)) {
        image_changed(manager, image, by_walk);
        return;
    }
    if (image->audit->fingerprint.ctime != image->fingerprint.ctime)
        image_take_attributes(manager, image);
    pass_plan(manager, image,
              image_was_denied(image)                       ? SCHEDULE_AGAIN
              : image->audit->confidence == CONFIDENCE_RACY ? SCHEDULE_CONFIRM
                                                            : SCHEDULE_INTERVAL);
}

static void image_forget(struct manager *manager, struct image *image)
{
    scan_leave(manager, image);
    audits_forget(manager->audits, image);
    schedule_forget(manager->schedule, image);
    scrubs_forget(manager->scrubs, image);
    resolve_forget(manager, image);
    rest_forget(manager, image);
    pass_dispatch(manager);     /* its device may be free now */
}

static void image_take_locks(const struct manager *manager, struct image *image, enum files_use use)
{
    image->locked = use;
    image->locked_at = use == FILES_WRITER ? manager_now(manager) : 0;
    if (use != FILES_WRITER)
        image->locked_since = 0;
    else if (image->locked_since == 0)
        image->locked_since = image->locked_at;
}

/* A lock on a file that does not change makes no event, and no audit. */
void pass_on_locks(void *userdata, struct image *image, enum files_use use)
{
    struct manager *manager = userdata;
    enum files_use before = image->locked, said = usage_said(manager, image),
                   now = use > said ? use : said;

    image_take_locks(manager, image, use);
    if (before == use && image->use == now)
        return;
    image->use = now;
    (void)graph_update(manager->graph, image);
    judge_soon(manager);
    if (use == FILES_WRITER && before != use && said == FILES_UNUSED && image->audit)
        pass_plan(manager, image, SCHEDULE_CONFIRM);    /* a second look */
}

void pass_on_image(void *userdata, struct image *image, enum discover_change change, bool by_walk)
{
    struct manager *manager = userdata;
    int r;

    if (change != DISCOVER_FOUND_AGAIN && change != DISCOVER_CHANGED &&
        change != DISCOVER_ATTRIBUTES)
        usages_image_changed(manager->usages, image);
    switch (change) {
    case DISCOVER_APPEARED:
    case DISCOVER_REAPPEARED:
        r = graph_add(manager->graph, image);
        if (r < 0)
            log_error(r, "Cannot take an image into the graph: %m");
        image->listed = judge_is_listed(image, NULL);
        pass_plan(manager, image,
                  by_walk && image_is_quiet(manager, image) ? SCHEDULE_NEW : SCHEDULE_CHANGED);
        /* Of one that was dismissed it is known that nothing refers to it. */
        if (!by_walk && change == DISCOVER_APPEARED)
            resolve_soon(manager);
        break;
    case DISCOVER_FOUND_AGAIN:
        image_found_again(manager, image, by_walk);
        break;
    case DISCOVER_CHANGED:
        image_changed(manager, image, by_walk);
        break;
    case DISCOVER_ATTRIBUTES:
        if (pass_is_current(image))
            image_take_attributes(manager, image);
        else
            image_changed(manager, image, by_walk);
        break;
    case DISCOVER_VANISHED:
        judge_image_gone(manager, image);
        image_forget(manager, image);
        resolve_soon(manager);
        return;
    case DISCOVER_DISMISSED:
        judge_image_forget(manager, image);
        image_forget(manager, image);
        return;
    }
    if (by_walk && image->datastore->scan &&
        schedule_is_wanted(manager->schedule, image, manager_now(manager)))
        scan_join(manager, image, image->datastore->scan);
}

/* Nobody waits for images that cannot be reached. */
static void datastore_leave_scans(struct manager *manager, struct datastore *datastore)
{
    struct image *const *images;
    size_t n;

    scan_leave_walk(manager, datastore);
    if (discover_images(manager->discover, &images, &n) < 0)
        return;
    for (size_t i = 0; i < n; i++)
        if (images[i]->datastore == datastore && images[i]->scan)
            scan_leave(manager, images[i]);
}

void pass_on_datastore(void *userdata, struct datastore *datastore)
{
    struct manager *manager = userdata;
    bool online = datastore->state == DATASTORE_ONLINE;

    schedule_hold(manager->schedule, datastore, !online);
    scrubs_hold(manager->scrubs, datastore, !online);
    if (!online && datastore->state != DATASTORE_STARTING) {
        audits_cancel(manager->audits, datastore);
        datastore_leave_scans(manager, datastore);
    }
    datastore->dirty = true;
    manager->daemon_dirty = true;       /* disks of domains may lie in it */
    judge_soon(manager);
    pass_dispatch(manager);
}

void pass_on_walk_begins(void *userdata, struct datastore *datastore)
{
    struct manager *manager = userdata;

    control_status_soon(manager);
}

void pass_on_walked(void *userdata, struct datastore *datastore, int error)
{
    struct manager *manager = userdata;
    uint64_t now = manager_now(manager);
    struct image *const *images;
    size_t n;

    if (error == 0 && discover_images(manager->discover, &images, &n) >= 0)
        for (size_t i = 0; i < n; i++) {
            if (images[i]->datastore != datastore)
                continue;
            /* A writer's close need not show in the file: the image is judged in full now. */
            if (images[i]->audit && images[i]->audit->use == FILES_WRITER)
                pass_plan(manager, images[i], SCHEDULE_NEW);
            if (datastore->scan && (schedule_is_wanted(manager->schedule, images[i], now) ||
                                    rest_is_short(images[i])))
                scan_join(manager, images[i], datastore->scan);
        }
    if (error < 0 || !datastore->partly_walked)
        scan_leave_walk(manager, datastore);
    if (error == 0)
        keep_others(manager, datastore, false);
    usages_datastore_walked(manager->usages, datastore);
    datastore->dirty = true;
    judge_soon(manager);
    resolve_soon(manager);
    pass_dispatch(manager);
}

void pass_on_removed(void *userdata, struct datastore *datastore)
{
    struct manager *manager = userdata;

    scan_leave_walk(manager, datastore);
    schedule_hold(manager->schedule, datastore, false);
    scrubs_hold(manager->scrubs, datastore, false);
    capacity_forget(manager, datastore);
    release_forget(manager, datastore);
    judge_datastore_gone(manager, datastore);
}

/* ---- the end of an audit --------------------------------------------------------------------- */

static void image_take_references(struct image *image, struct reference *parent,
                                  struct reference *data_file, struct reference_list *extents)
{
    reference_done(&image->parent);
    reference_done(&image->data_file);
    reference_list_done(&image->extents);
    image->extents = *extents;
    image->parent = *parent;
    image->data_file = *data_file;
}

/* As what it was opened: more than the last two audits tell. Whoever makes another image of it
 * where it lies (qemu-img convert onto a file that exists) gives it another size; a disk that is
 * raw from then on has the size of the one before. */
static void image_remember_format(struct image *image, const struct audit *audit)
{
    const struct layer_report *layer = audit_layer(audit);
    struct image_past *past = &image->past;

    if (!layer || layer->probed_format == QCA_FORMAT_UNKNOWN)
        return;
    if (layer->probed_format == QCA_FORMAT_RAW) {
        if (past->format != QCA_FORMAT_UNKNOWN && audit->fingerprint.size == past->virtual_size)
            *past = (struct image_past){ .format = QCA_FORMAT_UNKNOWN };
        if (past->format == QCA_FORMAT_UNKNOWN)
            image->raw_size = audit->fingerprint.size;
        return;
    }
    if (image->raw_size == audit->fingerprint.size)
        return;                 /* a raw disk on which somebody wrote a header */
    image->raw_size = 0;
    *past = (struct image_past){ .format = layer->probed_format, .until = audit->finished,
                                 .size = audit->fingerprint.size,
                                 .virtual_size = layer->info.virtual_size };
}

/* How it grew, and what it was. */
static void image_remember(struct manager *manager, struct image *image, const struct audit *audit)
{
    const struct relation *relation = graph_relation(manager->graph, image);

    if (image->audit && !identity_equal(&image->audit->identity, &audit->identity)) {
        image->raw_size = 0;
        image->past = (struct image_past){ .format = QCA_FORMAT_UNKNOWN };
        free(TAKE_PTR(image->growth));
    }
    image_remember_format(image, audit);
    if (!relation || relation->unconsolidated == 0)
        return;
    if (!image->growth)
        image->growth = calloc(1, sizeof(*image->growth));
    if (image->growth)
        series_add(image->growth, audit->finished, audit->fingerprint.allocated, GROWTH_EVERY);
}

static void image_take_audit(struct manager *manager, struct image *image, struct audit *audit)
{
    image_remember(manager, image, audit);
    audit_free(image->audit_before);
    image->audit_before = image->audit;
    image->audit = audit;
    image->use = audit->use;
    image_take_locks(manager, image, audit->locked);
    /* A guest's writes make no event. */
    if (identity_equal(&image->identity, &audit->identity))
        image->fingerprint.allocated = audit->fingerprint.allocated;
    if (S_ISBLK(image->fingerprint.mode))       /* a walk does not open it */
        image->fingerprint.size = audit->fingerprint.size;
    image->worker_deaths = audit_report_worker_died(audit->report) ? image->worker_deaths + 1 : 0;
    audit_rest(audit);
    if (graph_update(manager->graph, image) < 0 || image_list_add(&manager->audited, image) < 0)
        log_error(-ENOMEM, "An audit's result is not judged: %m");
}

static bool audit_sees_damage(const struct audit *audit)
{
    const struct layer_report *layer = audit_layer_seen(audit);
    const struct qca_check_result *check = layer && layer->checked ? &layer->check : NULL;

    for (int kind = 0; check && kind < _QCA_ISSUE_MAX; kind++)
        if (qca_check_count(check, kind) > 0 && qca_issue_kind_is_pointer(kind))
            return true;
    return false;
}

/* Damage that was seen while a guest writes is looked at again before anything else happens: twice
 * the same is no accident. What stays so is looked at again by the walks alone. */
static bool image_look_again(struct image *image)
{
    if (!audit_sees_damage(image->audit)) {
        image->looks = 0;
        return false;
    }
    if (image->looks >= LOOKS_MAX)
        return false;
    image->looks++;
    return true;
}

/* An audit that says less than it could is followed by another. */
static void image_plan_second(struct manager *manager, struct image *image)
{
    const struct audit *before = image->audit_before;

    if (image->audit->confidence > CONFIDENCE_RACY)
        image->looks = 0;
    image->n_denied = image_was_denied(image) ? image->n_denied + 1 : 0;
    if (image->n_denied > 0) {
        pass_plan(manager, image, SCHEDULE_AGAIN);
    } else if (image->worker_deaths >= DEATHS_MAX) {
        _cleanup_free_ char *path = text_escape_string(image->path);

        schedule_forget(manager->schedule, image);
        log_warning(0, "%s ended its worker %d times and is left out until it changes",
                    path ?: "An image", DEATHS_MAX);
    } else if (image->worker_deaths > 0) {
        pass_plan(manager, image, SCHEDULE_CONFIRM);
    } else if (image->audit->confidence == CONFIDENCE_RACY) {
        if (image->audit->use != FILES_WRITER || image_look_again(image))
            pass_plan(manager, image, SCHEDULE_CHANGED);
        else if (!before || before->confidence > CONFIDENCE_CONFIRMED)
            pass_plan(manager, image, SCHEDULE_CONFIRM);
    }
}

static void tell_no_worker(struct manager *manager, int error)
{
    char hint[LOG_HINT_MAX];

    if (error == -ENOEXEC)
        log_error(error, "%s cannot be run here, or ends before it is ready; it is tried again",
                  manager->options.worker_program);
    else
        log_error(error, "Cannot start %s: %m; it is tried again%s",
                  manager->options.worker_program, log_access_hint(error, hint));
}

void pass_on_audited(void *userdata, struct image *image, int error, struct audit *audit,
                     struct reference *parent, struct reference *data_file,
                     struct reference_list *extents)
{
    struct manager *manager = userdata;
    uint64_t now = manager_now(manager);
    bool scrub, wait = false;

    if (manager->stopping) {
        audit_free(audit);
        if (parent)
            reference_done(parent);
        if (data_file)
            reference_done(data_file);
        if (extents)
            reference_list_done(extents);
        return;
    }
    metrics_count_audit(manager, error, audit ? audit->report : NULL);
    if (error == 0 && manager->workers_fail)
        log_notice(0, "Workers can be started again");
    if (error == 0) {
        manager->workers_fail = false;
        if (parent && data_file && extents) {
            /* Another file that needs none has lost nothing. */
            if (!image_was_raw(image) &&
                (parent->state != REFERENCE_NONE || !image->audit ||
                 identity_equal(&image->audit->identity, &audit->identity)))
                former_note_reference(manager, image, parent);
            image_take_references(image, parent, data_file, extents);
            resolve_recall(manager, image);
        }
        image_take_audit(manager, image, audit);
        wait = rest_on_audited(manager, image);
        contents_audited(manager->contents, image, audit);
    }
    scrub = scrub_on_audited(manager, image, error, audit);
    if (!scrub)
        schedule_done(manager->schedule, image, now);
    if (error == 0) {
        image_plan_second(manager, image);
    } else if (error_is_temporary(error)) {
        image->n_denied = 1;
        pass_plan(manager, image, SCHEDULE_AGAIN);
        wait = true;
    } else if (error == -ENOEXEC) {
        if (!manager->workers_fail)
            tell_no_worker(manager, audits_start_error(manager->audits));
        manager->workers_fail = true;
        if (!scrub)
            pass_plan(manager, image, SCHEDULE_CONFIRM);
    } else if (error != -ENOENT && !scrub) {
        pass_plan(manager, image, SCHEDULE_CHANGED);
    }
    if (image->scan && !wait && !schedule_is_due(manager->schedule, image, now) &&
        !scrubs_is_demanded(manager->scrubs, image) && !image->reading && error != -ECANCELED)
        scan_leave(manager, image);
    judge_soon(manager);
    pass_dispatch(manager);
}

void pass_done(struct manager *manager)
{
    manager->dispatch = sd_event_source_disable_unref(manager->dispatch);
    manager->dispatch_timer = sd_event_source_disable_unref(manager->dispatch_timer);
    manager->walk_timer = sd_event_source_disable_unref(manager->walk_timer);
    free(manager->current);
    manager->current = NULL;
}
