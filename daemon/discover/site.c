/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One datastore's helper: its start, its walks and records, its losses and the pauses between the
 * attempts. */
#include "daemon/discover/internal.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "daemon/core/log.h"
#include "daemon/core/strv.h"
#include "helpers/clock.h"
#include "helpers/process.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define RETRY_MIN (1 * USEC_PER_SEC)
#define RETRY_MAX (300 * USEC_PER_SEC)
#define RETRY_ACCURACY (USEC_PER_SEC / 4)
#define POLL_INTERVAL (20 * USEC_PER_SEC)

/* ---- coming and going ----------------------------------------------------------------------- */

void site_tell(struct site *site)
{
    struct discover *discover = site->discover;

    discover->options.datastore(discover->options.userdata, site->datastore);
}

static int on_retry(sd_event_source *source, uint64_t when, void *userdata)
{
    site_start(userdata);
    return 0;
}

/* Is the helper that was ended last still there? It cannot be killed while its file system does not
 * answer, and the next one would not fare better. */
static bool site_is_ending(const struct site *site)
{
    const struct process_endings *endings = site->discover->options.endings;

    return endings && site->ending > 0 && process_endings_have(endings, site->ending);
}

static void site_end_helper(struct site *site)
{
    struct discover *discover = site->discover;

    site->retry = sd_event_source_disable_unref(site->retry);
    site->poll = sd_event_source_disable_unref(site->poll);
    site->walk_again = false;
    if (!site->files)
        return;
    discover->options.files_gone(discover->options.userdata, site->datastore, site->files);
    site_forget_recalls(site);
    site->files = files_end(site->files, discover->options.endings, site->datastore);
    if (site->walking == SITE_WALKING) {
        site->walking = SITE_IDLE;
        site_tell_walked(site, -ENOTCONN);
    }
    site->walking = SITE_IDLE;
}

static int site_plan_poll(struct site *site);

static void site_offline(struct site *site, int error)
{
    struct datastore *datastore = site->datastore;
    bool news = datastore->state != DATASTORE_OFFLINE || datastore->error != error;
    char hint[LOG_HINT_MAX];
    int r;

    if (datastore->state == DATASTORE_PAUSED) {
        site_end_helper(site);  /* started again when the pause ends */
        return;
    }
    datastore->state = DATASTORE_OFFLINE;
    datastore->error = error;
    if (site->files)
        site->ending = files_pid(site->files);
    site_end_helper(site);
    if (news)
        log_warning(error, "Datastore %s is offline: %s%s", datastore->name,
                    text_offline_reason(error), log_access_hint(error, hint));
    site->retry_after = site->retry_after == 0 ? RETRY_MIN :
                        site->retry_after * 2 > RETRY_MAX ? RETRY_MAX : site->retry_after * 2;
    r = sd_event_add_time_relative(site->discover->event, &site->retry, CLOCK_BOOTTIME,
                                   site->retry_after, RETRY_ACCURACY, on_retry, site);
    if (r < 0)
        log_error(r, "Cannot plan another attempt at datastore %s: %m", datastore->name);
    if (news)
        site_tell(site);
}

/* The size of the folder of devices is not the devices'. */
static void site_take_capacity(struct site *site)
{
    struct files_root *root = &site->datastore->root;

    if (!site->datastore->of_devices)
        return;
    root->size = site->capacity;
    root->available = site->available;
    snprintf(root->type, sizeof(root->type), "block devices");
}

/* A file system that stops answering is noticed also while nothing is to be read there. */
static void on_polled(void *userdata, int error, const struct files_root *root)
{
    struct site *site = userdata;
    struct datastore *datastore = site->datastore;
    int r;

    if (error == 0 && root->fsid != datastore->root.fsid)
        error = -ESTALE;
    if (error < 0) {
        site_offline(site, error);
        return;
    }
    datastore->root.size = root->size;
    datastore->root.available = root->available;
    site_take_capacity(site);
    r = site_plan_poll(site);
    if (r < 0)
        log_error(r, "Cannot plan the next look at datastore %s: %m", datastore->name);
}

static int on_poll(sd_event_source *source, uint64_t when, void *userdata)
{
    struct site *site = userdata;
    int r;

    r = files_root(site->files, on_polled, site);
    if (r < 0)
        site_offline(site, r);
    return 0;
}

static int site_plan_poll(struct site *site)
{
    site->poll = sd_event_source_disable_unref(site->poll);
    return sd_event_add_time_relative(site->discover->event, &site->poll, CLOCK_BOOTTIME,
                                      POLL_INTERVAL, POLL_INTERVAL / 10, on_poll, site);
}

static void site_online(struct site *site)
{
    struct datastore *datastore = site->datastore;
    bool news = datastore->state != DATASTORE_ONLINE;
    int r;

    /* Another file system in its place, and somebody said that it is right. */
    site->accept_gone |= datastore->root.fsid != 0 && datastore->root.fsid != site->root_now.fsid;
    datastore->root = site->root_now;
    site_take_capacity(site);
    datastore->state = DATASTORE_ONLINE;
    datastore->error = 0;
    datastore->watched = site->watch && !datastore->root.network;
    datastore->watch_error = site->watch && datastore->root.network ? -EOPNOTSUPP : 0;
    if (news)
        log_info(0, "Datastore %s is online (%s)", datastore->name, datastore->root.type);
    site_tell(site);
    r = site_plan_poll(site);
    if (r >= 0)
        r = site_walk_begin(site, SITE_WALKING);
    if (r < 0)
        site_offline(site, r);
}

/* The number of a file system can change where the file system stays (XFS makes it of the device's
 * number). */
static void site_adopt(struct site *site)
{
    struct image_set *images = &site->discover->images;
    uint64_t old = site->datastore->root.fsid, new = site->root_now.fsid;

    if (image_set_sort(images) < 0)
        return;                 /* they are read again, that is all */
    for (size_t i = 0; i < images->n_sorted; i++) {
        struct image *image = images->sorted[i];

        if (image->datastore != site->datastore || image->identity.fsid != old)
            continue;
        image->identity.fsid = new;
        if (image->audit && image->audit->identity.fsid == old)
            image->audit->identity.fsid = new;
        if (image->audit_before && image->audit_before->identity.fsid == old)
            image->audit_before->identity.fsid = new;
    }
    site->datastore->root.fsid = new;
    others_sweep(&site->others, site->datastore->walk + 1);     /* hashes hold it: none is kept */
}

/* Is a less than b the datastore to be kept? */
static bool site_yields(const struct site *a, const struct site *b)
{
    if (!a->datastore->pool != !b->datastore->pool)
        return a->datastore->pool;
    return strcmp(a->datastore->name, b->datastore->name) > 0;
}

/* Another datastore that is open now, or was released, and whose root is this one's. The numbers of
 * devices are compared within one life of the mounts alone. */
static struct site *site_twin(struct site *site)
{
    for (size_t i = 0; i < site->discover->n_sites; i++) {
        struct site *other = site->discover->sites[i];
        enum datastore_state state = other->datastore->state;

        if (other != site && !other->datastore->of_devices &&
            other->root_inode == site->root_inode && other->root_device == site->root_device &&
            (state == DATASTORE_ONLINE || state == DATASTORE_PAUSED))
            return other;
    }
    return NULL;
}

static void on_root(void *userdata, int error, const struct files_root *root)
{
    struct site *site = userdata;
    struct datastore *datastore = site->datastore;
    struct site *twin;
    bool other;
    int r;

    if (error < 0) {
        site_offline(site, error);
        return;
    }
    free(site->real_path);
    /* only helps to place references */
    site->real_path = root->real_path ? strdup(root->real_path) : NULL;
    site->root_now = *root;
    site->root_now.real_path = NULL;
    site->root_device = root->device;
    site->root_inode = root->inode;
    if (datastore->state == DATASTORE_PAUSED)
        return;
    while (!datastore->of_devices && (twin = site_twin(site))) {
        if (site_yields(site, twin)) {
            discover_alias(site->discover, site, twin);
            return;
        }
        if (!discover_alias(site->discover, twin, site))
            break;
    }
    other = datastore->root.fsid != 0 && datastore->root.fsid != root->fsid && site->n_known > 0;
    if (!other) {
        site_online(site);
        return;
    }
    r = site_walk_begin(site, SITE_IDENTIFYING);
    if (r < 0)
        site_offline(site, r);
}

static void site_identify(struct site *site, const struct files_record *record)
{
    const struct image *image = image_set_find(&site->discover->images, record->path);

    site->n_found += record->stat.type == FILES_REGULAR;
    if (image && image->datastore == site->datastore &&
        image->identity.inode == record->stat.inode && image->identity.btime == record->stat.btime)
        site->n_matched++;
}

/* Said once in a walk: no program could open it by its path, so it is no image in use, but it is
 * not audited. */
static void log_path_too_long(const struct datastore *datastore, const char *directory)
{
    _cleanup_free_ char *shown = text_escape_string(directory);

    log_warning(
        0,
        "Datastore %s: what lies in %s is not audited: its path is longer than the %d bytes that "
        "can be opened",
        datastore->name, shown ? shown : "", PATH_MAX - 1);
}

static void on_record(void *userdata, struct files *files, const struct files_record *record)
{
    struct site *site = userdata;
    struct datastore *datastore = site->datastore;

    if (site->walking == SITE_IDENTIFYING) {
        if (record->event == FILES_EVENT_APPEARED)
            site_identify(site, record);
        if (record->event != FILES_EVENT_UNMOUNTED)
            return;
    }
    if (record->path &&
        (record->event <= FILES_EVENT_ERROR || record->event >= FILES_EVENT_MOUNT) &&
        discover_datastore_of(site->discover, record->path) != datastore)
        return;                 /* another datastore's root lies in this one */

    switch (record->event) {
    case FILES_EVENT_APPEARED:
        if (record->target)
            site_followed(site, record->target);
        site_file(site, record);
        break;
    case FILES_EVENT_CHANGED:
        site_file(site, record);
        break;
    case FILES_EVENT_VANISHED:
        site_vanished(site, record->path);
        break;
    case FILES_EVENT_ERROR:
        if (record->error == -ENOENT)
            break;
        if (site->walking == SITE_WALKING)
            site_note_unseen(site, record->path);
        if (record->error == -EACCES || record->error == -EPERM)
            site->n_unreadable++;
        if (record->error == -ENAMETOOLONG && site->walking == SITE_WALKING &&
            site->n_too_long++ == 0)
            log_path_too_long(datastore, record->path);
        break;
    case FILES_EVENT_OVERFLOW:
        datastore->overflows++;
        datastore->watch_error = -EOVERFLOW;
        log_notice(0, "Events of datastore %s were lost, it is walked again", datastore->name);
        site_tell(site);
        (void) site_walk(site);     /* not online: the walk comes with that */
        break;
    case FILES_EVENT_WATCHES_EXHAUSTED:
        if (!datastore->watched && datastore->watch_error == record->error)
            break;
        datastore->watched = false;
        datastore->watch_error = record->error;
        site_tell(site);
        break;
    case FILES_EVENT_UNMOUNTED:
        site_offline(site, -ENODEV);
        break;
    case FILES_EVENT_MOUNT:
        site_mounted(site, record->path);
        break;
    case FILES_EVENT_LEFT_OUT:
        site_left_out(site, record);
        break;
    case _FILES_EVENT_MAX:
        break;
    }
}

/* After a walk, what is used is known anew, too. */
static void on_measured(void *userdata, int error, const struct files_root *root)
{
    struct site *site = userdata;
    struct datastore *datastore = site->datastore;

    if (error < 0 || root->fsid != datastore->root.fsid ||
        datastore->root.available == root->available)
        return;                 /* the next poll says what is wrong */
    datastore->root.size = root->size;
    datastore->root.available = root->available;
    site_take_capacity(site);
    site_tell(site);
}

static void on_walked(void *userdata, struct files *files, int error, uint64_t n_files,
                      uint64_t n_directories)
{
    struct site *site = userdata;
    struct datastore *datastore = site->datastore;
    enum site_walk kind = site->walking;
    bool again = site->walk_again;
    int r;

    site->walking = SITE_IDLE;
    if (kind == SITE_IDENTIFYING) {
        if (error == 0 && (site->n_matched > 0 || (site->accept_any && site->n_found > 0))) {
            log_notice(0, "Datastore %s lies on %s file system now", datastore->name,
                       site->n_matched > 0 ? "a renumbered" : "another");
            if (site->n_matched > 0)
                site_adopt(site);
            site->accept_any = false;
            site_online(site);
        } else {
            site_offline(site, error < 0 ? error : -ESTALE);
        }
        return;
    }
    if (kind != SITE_WALKING)
        return;
    if (error == 0) {
        site->seen.files = n_files;
        site->seen.folders = n_directories;
        site_take_postponed(site);
        site_sweep(site);
        site_mounts_end(site);
        site_forget_unseen(site);
        (void)files_root(site->files, on_measured, site);       /* fails when the helper is lost,
                                                                 * which is told */
        site->retry_after = 0;
        datastore->unreadable = site->n_unreadable;
        datastore->walk_finished = discover_now(site->discover);
        if (datastore->watch_error == -EOVERFLOW)
            datastore->watch_error = 0;
        log_debug(0, "Walked datastore %s: %" PRIu64 " files in %" PRIu64 " folders",
                  datastore->name, n_files, n_directories);
    }
    site_forget_postponed(site);
    leaving_settle(site->discover);
    datastore->partly_walked = error == 0 && site->left_some;
    site_tell_walked(site, error);
    if (error < 0) {
        site_offline(site, error);
        return;
    }
    site_tell(site);
    if (!again || !site->files) {
        site_go_on(site);
        return;
    }
    r = site_walk_begin(site, SITE_WALKING);
    if (r < 0)
        site_offline(site, r);
}

static void on_lost(void *userdata, struct files *files, int error)
{
    struct site *site = userdata;

    if (site->datastore->state != DATASTORE_OFFLINE)
        log_warning(error, "The helper of datastore %s %s", site->datastore->name,
                    error == -ETIMEDOUT ? "did not answer in time" :
                    error == -EBADMSG ? "sent what it must not send" : "ended unexpectedly");
    site_offline(site, error < 0 ? error : -ECHILD);
}

int site_new(struct discover *discover, struct datastore *datastore, struct site **ret_site)
{
    struct site *site = calloc(1, sizeof(*site));

    if (!site)
        return -ENOMEM;
    site->discover = discover;
    site->datastore = datastore;
    *ret_site = site;
    return 0;
}

struct site *site_free(struct site *site)
{
    if (!site)
        return NULL;
    site_stop(site);
    site_forget_unseen(site);
    site_forget_postponed(site);
    others_done(&site->others);
    for (size_t i = 0; site->devices && site->devices[i]; i++)
        free(site->devices[i]);
    free(site->devices);
    strv_free(site->exclude);
    strv_free(site->follow);
    site_mounts_done(site);
    free(site->real_path);
    datastore_free(site->datastore);
    free(site);
    return NULL;
}

static int on_pause_end(sd_event_source *source, uint64_t when, void *userdata)
{
    site_resume(userdata);
    return 0;
}

static int site_plan_pause_end(struct site *site)
{
    site->pause_end = sd_event_source_disable_unref(site->pause_end);
    if (site->datastore->paused_until == UINT64_MAX)
        return 0;
    return sd_event_add_time(site->discover->event, &site->pause_end, CLOCK_REALTIME,
                             site->datastore->paused_until, USEC_PER_SEC / 10, on_pause_end, site);
}

/* Nothing is open there any more, and nothing is tried again until libvirt says so. */
static void site_go_inactive(struct site *site)
{
    struct datastore *datastore = site->datastore;
    bool news = datastore->state != DATASTORE_OFFLINE || datastore->error != -ENOMEDIUM;

    site_end_helper(site);
    if (datastore->state == DATASTORE_PAUSED && datastore->paused_until != 0)
        return;
    datastore->state = DATASTORE_OFFLINE;
    datastore->error = -ENOMEDIUM;
    if (news) {
        log_notice(0, "Datastore %s is offline: %s", datastore->name,
                   text_offline_reason(-ENOMEDIUM));
        site_tell(site);
    }
}

void site_set_inactive(struct site *site, bool inactive)
{
    site->inactive = inactive;
    site->retry_after = 0;
    site_start(site);
}

void site_start(struct site *site)
{
    struct discover *discover = site->discover;
    struct datastore *datastore = site->datastore;
    struct files_options options = {
        .program = discover->options.files_program,
        .root = datastore->of_devices ? "/dev" : datastore->path,
        .devices = (const char *const *)site->devices,
        .allowed_roots = (const char *const *)discover->roots,
        .exclude = (const char *const *)site->exclude,
        .follow = (const char *const *)site->follow,
        .known = datastore->of_devices ? NULL : (const char *const *)discover->known,
        .recursive = datastore->recursive,
        .no_mounts = site->no_mounts,
        .watch = site->watch,
        .deadline_usec = discover->files_deadline,
        .launches = discover->options.launches,
        .record = on_record, .walked = on_walked, .lost = on_lost, .userdata = site,
    };
    int r;

    site_end_helper(site);
    if (site->inactive) {
        site_go_inactive(site);
        return;
    }
    /* A pause outlives the daemon: what was released may be about to be unmounted. */
    if (datastore->paused_until > discover_now(discover)) {
        datastore->state = DATASTORE_PAUSED;
        site_tell(site);
        r = site_plan_pause_end(site);
        if (r >= 0)
            return;
        log_error(r, "Cannot plan the end of the pause of datastore %s: %m", datastore->name);
    }
    datastore->paused_until = 0;
    if (site_is_ending(site)) {
        site_offline(site, -ETIMEDOUT);
        return;
    }
    if (datastore->state != DATASTORE_OFFLINE) {
        datastore->state = DATASTORE_STARTING;
        site_tell(site);
    }
    r = files_start(discover->event, &options, &site->files);
    if (r < 0 && (datastore->state != DATASTORE_OFFLINE || datastore->error != r))
        log_error(r, "Cannot start %s: %m", options.program);
    if (r >= 0)
        r = files_root(site->files, on_root, site);
    if (r < 0)
        site_offline(site, r);
}

void site_stop(struct site *site)
{
    site_end_helper(site);
    site->pause_end = sd_event_source_disable_unref(site->pause_end);
}

int site_pause(struct site *site, uint64_t until, bool release)
{
    struct datastore *datastore = site->datastore;
    int r;

    datastore->paused_until = until;
    r = site_plan_pause_end(site);
    if (r < 0)
        return r;
    if (release)
        site_end_helper(site);
    else
        site->retry = sd_event_source_disable_unref(site->retry);
    datastore->state = DATASTORE_PAUSED;
    datastore->error = 0;
    site_tell(site);
    return 0;
}

void site_resume(struct site *site)
{
    struct datastore *datastore = site->datastore;

    site->pause_end = sd_event_source_disable_unref(site->pause_end);
    datastore->paused_until = 0;
    site->retry_after = 0;
    site_start(site);
}
