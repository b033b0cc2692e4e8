/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The thread of one connection: opens it, gathers its events, looks when there is reason to, tells
 * the loop, and begins again when it is lost. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "daemon/virt/watch-internal.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define BACKOFF_MIN (1 * USEC_PER_SEC)
#define BACKOFF_MAX (60 * USEC_PER_SEC)
#define LOOK_FOR_SOCKETS (2 * USEC_PER_SEC)     /* while there is no connection */
#define GATHER (200 * 1000)             /* usec without another event */
#define GATHER_MAX (2 * USEC_PER_SEC)   /* since the first */
#define KEEPALIVE_SECONDS 5
#define KEEPALIVE_COUNT 3
#define ERROR_MAX 500

static void news_done(struct link_news *news)
{
    free(news->uuids);
    free(news->refreshes);
    *news = (struct link_news){ 0 };
}

struct virt_link *link_ref(struct virt_link *link)
{
    atomic_fetch_add(&link->refs, 1);
    return link;
}

struct virt_link *link_unref(struct virt_link *link)
{
    if (!link || atomic_fetch_sub(&link->refs, 1) != 1)
        return NULL;
    for (size_t i = 0; i < link->n_records; i++)
        virt_record_unref(link->records[i]);
    free(link->records);
    virt_pools_unref(link->pools);
    virt_part_unref(link->mail);
    news_done(&link->news);
    free(link->error);
    free(link->uri);
    if (link->wake_fd >= 0)
        close(link->wake_fd);
    pthread_mutex_destroy(&link->lock);
    pthread_cond_destroy(&link->changed);
    free(link);
    return NULL;
}

/* ---- calls of libvirt ------------------------------------------------------------------------ */

static int call_begin(struct virt_link *link, bool opening)
{
    int r;

    pthread_mutex_lock(&link->lock);
    r = link->stop ? -ECANCELED : link->lost && !opening ? -ENOTCONN : 0;
    link->busy_since = usec_now(CLOCK_MONOTONIC);
    link->opening = opening;
    pthread_mutex_unlock(&link->lock);
    return r;
}

int link_call(struct virt_link *link)
{
    return call_begin(link, false);
}

static void calls_end(struct virt_link *link)
{
    pthread_mutex_lock(&link->lock);
    link->busy_since = 0;
    link->opening = false;
    pthread_mutex_unlock(&link->lock);
}

int link_error(const struct virt_link *link)
{
    switch (sym_virGetLastErrorCode()) {
    case VIR_ERR_NO_DOMAIN:
    case VIR_ERR_NO_DOMAIN_SNAPSHOT:
    case VIR_ERR_NO_DOMAIN_CHECKPOINT:
    case VIR_ERR_NO_DOMAIN_BACKUP:
    case VIR_ERR_NO_STORAGE_POOL:
    case VIR_ERR_NO_STORAGE_VOL:
        return -ENOENT;
    case VIR_ERR_NO_MEMORY:
        return -ENOMEM;
    case VIR_ERR_NO_SUPPORT:
    case VIR_ERR_ARGUMENT_UNSUPPORTED:
    case VIR_ERR_CONFIG_UNSUPPORTED:
    case VIR_ERR_OPERATION_UNSUPPORTED:
        return -EOPNOTSUPP;
    default:
        return sym_virConnectIsAlive(link->connection) == 1 ? -EIO : -ENOTCONN;
    }
}

/* ---- telling the loop ------------------------------------------------------------------------ */

static void link_set_error(struct virt_link *link, const char *text)
{
    free(link->error);
    if (!text || asprintf(&link->error, "%.*s", ERROR_MAX, text) < 0)
        link->error = NULL;
}

static void link_set_state(struct virt_link *link, bool absent, bool connected, bool complete,
                           const char *error)
{
    if (absent != link->absent || connected != link->connected || complete != link->complete)
        link->since = usec_now(CLOCK_REALTIME);
    link->absent = absent;
    link->connected = connected;
    link->complete = complete;
    link_set_error(link, error);
}

static struct virt_part *part_of(const struct virt_link *link)
{
    struct virt_part *part = calloc(1, sizeof(*part));

    if (!part)
        return NULL;
    part->refs = 1;
    part->absent = link->absent;
    part->connected = link->connected;
    part->complete = link->complete;
    part->since = link->since;
    part->n_left_out = link->n_left_out;
    part->error = link->error ? strdup(link->error) : NULL;
    part->records = calloc(link->n_records + 1, sizeof(struct virt_record *));
    if ((link->error && !part->error) || !part->records)
        return virt_part_unref(part);
    for (; part->n_records < link->n_records; part->n_records++)
        part->records[part->n_records] = virt_record_ref(link->records[part->n_records]);
    part->pools = virt_pools_ref(link->pools);
    return part;
}

/* Without memory the loop hears of it the next time. */
static void link_tell(struct virt_link *link)
{
    struct virt_part *part = part_of(link), *before;
    const uint64_t one = 1;

    if (!part)
        return;
    pthread_mutex_lock(&link->lock);
    before = link->mail;
    link->mail = part;
    pthread_mutex_unlock(&link->lock);
    virt_part_unref(before);
    if (write(link->wake_fd, &one, sizeof(one)) < 0)
        return;                 /* it is awake already: the counter is full */
}

/* ---- events, in libvirt's thread of events --------------------------------------------------- */

static void news_time(struct virt_link *link)
{
    link->news.last = usec_now(CLOCK_MONOTONIC);
    link->news.first = link->news.first ?: link->news.last;
    pthread_cond_broadcast(&link->changed);
}

static void domain_news(struct virt_link *link, virDomainPtr domain)
{
    struct link_news *news = &link->news;
    char uuid[VIR_UUID_STRING_BUFLEN];
    void *uuids = NULL;

    if (sym_virDomainGetUUIDString(domain, uuid) < 0)
        uuid[0] = 0;
    pthread_mutex_lock(&link->lock);
    news->domains = true;
    for (size_t i = 0; i < news->n_uuids; i++)
        if (strcmp(news->uuids[i], uuid) == 0)
            uuid[0] = 0;        /* known */
    if (uuid[0] && news->n_uuids < LINK_DIRTY_MAX)
        uuids = reallocarray(news->uuids, news->n_uuids + 1, sizeof(*news->uuids));
    if (uuids) {
        news->uuids = uuids;
        memcpy(news->uuids[news->n_uuids++], uuid, sizeof(uuid));
    } else if (uuid[0]) {
        news->everything = true;
    }
    news_time(link);
    pthread_mutex_unlock(&link->lock);
}

static int on_lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail,
                        void *userdata)
{
    domain_news(userdata, domain);
    return 0;
}

static void on_block_job(virConnectPtr connection, virDomainPtr domain, const char *disk, int type,
                         int status, void *userdata)
{
    domain_news(userdata, domain);
}

static void on_disk_change(virConnectPtr connection, virDomainPtr domain, const char *old,
                           const char *new, const char *alias, int reason, void *userdata)
{
    domain_news(userdata, domain);
}

static void on_device(virConnectPtr connection, virDomainPtr domain, const char *alias,
                      void *userdata)
{
    domain_news(userdata, domain);
}

static void on_io_error(virConnectPtr connection, virDomainPtr domain, const char *source,
                        const char *alias, int action, const char *reason, void *userdata)
{
    domain_news(userdata, domain);
}

static void on_job_completed(virConnectPtr connection, virDomainPtr domain,
                             virTypedParameterPtr parameters, int n, void *userdata)
{
    domain_news(userdata, domain);
}

static void on_pool(virConnectPtr connection, virStoragePoolPtr pool, int event, int detail,
                    void *userdata)
{
    struct virt_link *link = userdata;

    pthread_mutex_lock(&link->lock);
    link->news.pools = true;
    news_time(link);
    pthread_mutex_unlock(&link->lock);
}

static void on_pool_refresh(virConnectPtr connection, virStoragePoolPtr pool, void *userdata)
{
    struct virt_link *link = userdata;
    struct link_news *news = &link->news;
    char uuid[VIR_UUID_STRING_BUFLEN];
    void *refreshes = NULL;

    pthread_mutex_lock(&link->lock);
    news->pools = true;
    if (news->n_refreshes < VIRT_POOLS_MAX && sym_virStoragePoolGetUUIDString(pool, uuid) == 0)
        refreshes = reallocarray(news->refreshes, news->n_refreshes + 1, sizeof(*news->refreshes));
    if (refreshes) {
        news->refreshes = refreshes;
        news->refreshes[news->n_refreshes].at = usec_now(CLOCK_REALTIME);
        memcpy(news->refreshes[news->n_refreshes++].uuid, uuid, sizeof(uuid));
    }
    news_time(link);
    pthread_mutex_unlock(&link->lock);
}

static void on_close(virConnectPtr connection, int reason, void *userdata)
{
    struct virt_link *link = userdata;

    pthread_mutex_lock(&link->lock);
    link->lost = true;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
}

static void on_callback_gone(void *userdata)
{
    link_unref(userdata);
}

#define CALLBACK(function) ((virConnectDomainEventGenericCallback)(void (*)(void))(function))

/* Events that the driver does not have are replaced by a poll. */
static int link_register(struct virt_link *link)
{
    static const struct {
        int id;
        virConnectDomainEventGenericCallback callback;
    } events[] = {
        { VIR_DOMAIN_EVENT_ID_LIFECYCLE, CALLBACK(on_lifecycle) },
        { VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, CALLBACK(on_block_job) },
        { VIR_DOMAIN_EVENT_ID_DISK_CHANGE, CALLBACK(on_disk_change) },
        { VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, CALLBACK(on_device) },
        { VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, CALLBACK(on_device) },
        { VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, CALLBACK(on_io_error) },
        { VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, CALLBACK(on_job_completed) },
    };
    static const struct {
        int id;
        virConnectStoragePoolEventGenericCallback callback;
    } pool_events[] = {
        { VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE,
          (virConnectStoragePoolEventGenericCallback)(void (*)(void))on_pool },
        { VIR_STORAGE_POOL_EVENT_ID_REFRESH, on_pool_refresh },
    };
    int id, r = 0;

    for (size_t i = 0; i < ELEMENTSOF(events); i++) {
        r = link_call(link);
        if (r < 0)
            return r;
        link_ref(link);
        id = sym_virConnectDomainEventRegisterAny(link->connection, NULL, events[i].id,
                                                  events[i].callback, link, on_callback_gone);
        if (id >= 0)
            link->domain_events[link->n_domain_events++] = id;
        else
            link_unref(link);
    }
    for (size_t i = 0; i < ELEMENTSOF(pool_events); i++) {
        r = link_call(link);
        if (r < 0)
            return r;
        link_ref(link);
        id = sym_virConnectStoragePoolEventRegisterAny(link->connection, NULL, pool_events[i].id,
                                                       pool_events[i].callback, link,
                                                       on_callback_gone);
        if (id >= 0)
            link->pool_events[link->n_pool_events++] = id;
        else
            link_unref(link);
    }
    return 0;
}

/* ---- the connection -------------------------------------------------------------------------- */

static void link_close(struct virt_link *link)
{
    if (!link->connection)
        return;
    (void) call_begin(link, false);     /* so that it shows when it hangs */
    for (size_t i = 0; i < link->n_domain_events; i++)
        (void) sym_virConnectDomainEventDeregisterAny(link->connection, link->domain_events[i]);
    for (size_t i = 0; i < link->n_pool_events; i++)
        (void) sym_virConnectStoragePoolEventDeregisterAny(link->connection, link->pool_events[i]);
    link->n_domain_events = link->n_pool_events = 0;
    (void) sym_virConnectUnregisterCloseCallback(link->connection, on_close);
    (void) sym_virConnectClose(link->connection);
    link->connection = NULL;
    calls_end(link);
}

static const char *const default_sockets[] = {
    "/run/libvirt/libvirt-sock-ro", "/run/libvirt/virtqemud-sock-ro", "/run/libvirt/libvirt-sock",
    "/run/libvirt/virtqemud-sock",
};

static bool default_socket_is_there(void)
{
    for (size_t i = 0; i < ELEMENTSOF(default_sockets); i++)
        if (access(default_sockets[i], F_OK) == 0)
            return true;
    return false;
}

static uint64_t socket_mark(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return 0;
    return (uint64_t)st.st_ino * 31 + (uint64_t)st.st_ctim.tv_sec * NSEC_PER_SEC +
           (uint64_t)st.st_ctim.tv_nsec;
}

/* Changes when a libvirt of this host begins to listen, or another one does: it may answer now. */
static uint64_t sockets_mark(const struct virt_link *link)
{
    const char *named = strstr(link->uri, "socket=");
    uint64_t mark = 0;

    for (size_t i = 0; i < ELEMENTSOF(default_sockets); i++)
        mark = mark * 31 + socket_mark(default_sockets[i]);
    if (named) {
        _cleanup_free_ char *path = strdup(named + strlen("socket="));

        if (path) {
            path[strcspn(path, "&#")] = '\0';
            mark = mark * 31 + socket_mark(path);
        }
    }
    return mark;
}

static int link_open(struct virt_link *link)
{
    _cleanup_free_ char *reason = NULL;
    int r;

    if (link->is_default && !default_socket_is_there()) {
        link_set_state(link, true, false, false, "libvirt has no socket on this host");
        return -ENOENT;
    }
    r = call_begin(link, true);
    if (r < 0)
        return r;
    r = virt_library_load(&reason);
    if (r < 0) {
        link_set_state(link, false, false, false, reason ?: strerror(-r));
        calls_end(link);
        return r;
    }
    pthread_mutex_lock(&link->lock);
    link->lost = false;
    news_done(&link->news);
    pthread_mutex_unlock(&link->lock);
    link->connection = sym_virConnectOpenReadOnly(link->uri);
    if (!link->connection) {
        link_set_state(link, false, false, false, sym_virGetLastErrorMessage());
        calls_end(link);
        return -ENOTCONN;
    }
    /* Without a reference: a driver without such a callback would never give it back. It is taken
     * out before the end. */
    (void) sym_virConnectRegisterCloseCallback(link->connection, on_close, link, NULL);
    /* -1 or 1 of a driver without: it is no process of its own. */
    (void) sym_virConnectSetKeepAlive(link->connection, KEEPALIVE_SECONDS, KEEPALIVE_COUNT);
    r = link_register(link);
    if (r >= 0)
        link_set_state(link, false, true, false, NULL);
    return r;
}

/* Waits until usec on CLOCK_MONOTONIC or until there is something to do; 0, or -ECANCELED,
 * -ENOTCONN. Takes the news when they are ripe. */
static int link_wait(struct virt_link *link, uint64_t until, struct link_news *ret_news)
{
    struct link_news *news = &link->news;
    int r = 0;

    *ret_news = (struct link_news){ 0 };
    pthread_mutex_lock(&link->lock);
    for (;;) {
        uint64_t now = usec_now(CLOCK_MONOTONIC), wake = until;
        struct timespec at;

        if (link->stop || link->lost) {
            r = link->stop ? -ECANCELED : -ENOTCONN;
            break;
        }
        if (news->last > 0) {
            uint64_t ripe = news->last + GATHER;

            if (ripe > news->first + GATHER_MAX)
                ripe = news->first + GATHER_MAX;
            if (ripe < wake)
                wake = ripe;
            if (ripe <= now) {
                *ret_news = *news;
                *news = (struct link_news){ 0 };
                break;
            }
        }
        if (until <= now)
            break;
        at = (struct timespec){ .tv_sec = (time_t)(wake / USEC_PER_SEC),
                                .tv_nsec = (long)(wake % USEC_PER_SEC * 1000) };
        (void) pthread_cond_timedwait(&link->changed, &link->lock, &at);
    }
    pthread_mutex_unlock(&link->lock);
    return r;
}

/* Waits before another try: so long at most. 1: not so long, for something changed; else as
 * link_wait(). */
static int link_pause(struct virt_link *link, uint64_t usec)
{
    uint64_t until = usec_now(CLOCK_MONOTONIC) + usec, mark = sockets_mark(link);
    int r = 0;

    while (r == 0 && usec_now(CLOCK_MONOTONIC) < until) {
        uint64_t look = usec_now(CLOCK_MONOTONIC) + LOOK_FOR_SOCKETS;
        struct link_news news;

        r = link_wait(link, look < until ? look : until, &news);
        if (r == 0 && (news.last > 0 || sockets_mark(link) != mark))
            r = 1;
        news_done(&news);
    }
    return r;
}

/* Looks, and tells, until the connection is lost or the thread is to end. */
static int link_serve(struct virt_link *link)
{
    uint64_t next = 0;
    int r = 0;

    while (r >= 0) {
        struct link_news news;
        bool full;

        r = link_wait(link, next, &news);
        if (r < 0)
            break;
        full = next <= usec_now(CLOCK_MONOTONIC) || news.everything;
        if (full || news.pools)
            r = link_read_pools(link, &news);
        if (r >= 0 && (full || news.domains))
            r = link_read_domains(link, full, &news);
        calls_end(link);
        news_done(&news);
        if (full)
            next = usec_now(CLOCK_MONOTONIC) + link->poll;
        if (r >= 0) {
            link_set_state(link, false, true, link->complete || full, NULL);
            link_tell(link);
        } else if (r != -ECANCELED && r != -ENOTCONN) {
            /* what was known stays, and stays said, until it can be read again */
            link_set_state(link, false, true, link->complete,
                           sym_virGetLastErrorCode() == VIR_ERR_OK ? strerror(-r)
                                                                   : sym_virGetLastErrorMessage());
            link_tell(link);
            r = 0;
        }
    }
    return r;
}

void *link_run(void *userdata)
{
    struct virt_link *link = userdata;
    uint64_t pause = 0;
    int r = 0;

    pthread_setname_np(pthread_self(), "libvirt");
    while (r != -ECANCELED) {
        r = link_open(link);
        link_tell(link);
        calls_end(link);
        if (r >= 0) {
            r = link_serve(link);
            if (link->complete)
                pause = 0;
            if (r != -ECANCELED) {
                link_set_state(link, false, false, false, "the connection was lost");
                link_tell(link);
            }
        }
        link_close(link);
        if (r != -ECANCELED) {
            pause = pause == 0 ? BACKOFF_MIN : pause * 2 > BACKOFF_MAX ? BACKOFF_MAX : pause * 2;
            pthread_mutex_lock(&link->lock);
            link->lost = false;
            news_done(&link->news);
            pthread_mutex_unlock(&link->lock);
            r = link_pause(link, link->absent ? link->poll : pause);
            if (r > 0)
                pause = 0;
        }
    }
    link_thread_ended();
    pthread_mutex_lock(&link->lock);
    link->ended = true;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
    link_unref(link);
    return NULL;
}
