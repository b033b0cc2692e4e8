/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The loop's side of libvirt's threads: takes what they say, notices when they hang, leaves
 * them. */
#include "daemon/virt/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "daemon/core/log.h"
#include "daemon/virt/watch-internal.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define LOOK_INTERVAL (5 * USEC_PER_SEC)
#define HUNG_AFTER (20 * USEC_PER_SEC)          /* of one call: libvirt does not answer */
#define REPLACE_AFTER (60 * USEC_PER_SEC)       /* of opening, which keepalive does not end;
                                                 * doubled each time, */
#define REPLACE_AFTER_MAX (3600 * USEC_PER_SEC) /* since one that is only slow must get there */
#define REPLACED_MAX 8                          /* threads that hang, at most */
#define END_WAIT (200 * 1000)                   /* usec, for all threads together */

/* A connection as the loop knows it. */
struct connection_seat {
    struct virt_link *link;
    struct virt_part *part;     /* as told last */
    uint64_t hung_since;        /* usec since the epoch; 0: it answers */
    uint64_t replace_after;     /* usec */
};

struct virt_watch {
    sd_event *event;
    struct virt_watch_options options;
    bool is_default;
    char **uris;                /* of the seats */
    struct connection_seat *seats;
    size_t n_seats;
    int wake_fd;
    sd_event_source *wake, *look;
    uint64_t generation;
};

/* Threads outlive whoever started them. */
static atomic_uint lingering;

unsigned virt_watch_lingering(void)
{
    return atomic_load(&lingering);
}

/* ---- threads of connections ------------------------------------------------------------------ */

static int thread_start(struct virt_link *link)
{
    sigset_t all, before;
    pthread_t thread;
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    r = -pthread_create(&thread, NULL, link_run, link);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r == 0)
        pthread_detach(thread);
    return r;
}

static int seat_start(struct virt_watch *watch, struct connection_seat *seat, const char *uri)
{
    struct virt_link *link = calloc(1, sizeof(*link));
    pthread_condattr_t attributes;
    int r;

    if (!link)
        return -ENOMEM;
    link->refs = 2;
    link->is_default = watch->is_default;
    link->poll = watch->options.poll;
    link->uri = strdup(uri);
    link->wake_fd = fcntl(watch->wake_fd, F_DUPFD_CLOEXEC, 3);
    link->since = usec_now(CLOCK_REALTIME);
    pthread_mutex_init(&link->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&link->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    r = !link->uri ? -ENOMEM : link->wake_fd < 0 ? -errno : 0;
    atomic_fetch_add(&lingering, 1);
    if (r == 0)
        r = thread_start(link);
    if (r < 0) {
        atomic_fetch_sub(&lingering, 1);
        link->refs = 1;
        link_unref(link);
        return r;
    }
    seat->link = link;
    return 0;
}

static void seat_stop(struct connection_seat *seat)
{
    struct virt_link *link = seat->link;

    if (!link)
        return;
    pthread_mutex_lock(&link->lock);
    link->stop = true;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
}

void link_thread_ended(void)
{
    atomic_fetch_sub(&lingering, 1);
}

/* ---- what they say --------------------------------------------------------------------------- */

/* A part as it is, but that nobody answers. */
static int part_hung(const struct virt_part *part, uint64_t since, struct virt_part **ret_part)
{
    struct virt_part *hung = calloc(1, sizeof(*hung));

    if (!hung)
        return -ENOMEM;
    hung->refs = 1;
    hung->since = since;
    if (part) {
        hung->records = calloc(part->n_records + 1, sizeof(struct virt_record *));
        for (; hung->records && hung->n_records < part->n_records; hung->n_records++)
            hung->records[hung->n_records] = virt_record_ref(part->records[hung->n_records]);
        hung->pools = virt_pools_ref(part->pools);
        hung->n_left_out = part->n_left_out;
    }
    hung->error = strdup("libvirt does not answer");
    if (!hung->error || (part && !hung->records)) {
        virt_part_unref(hung);
        return -ENOMEM;
    }
    *ret_part = hung;
    return 0;
}

static int status_make(struct virt_watch *watch, struct virt_status **ret_status)
{
    _cleanup_free_ struct virt_part **parts = calloc(watch->n_seats + 1, sizeof(*parts));
    int r = parts ? 0 : -ENOMEM;

    for (size_t i = 0; r >= 0 && i < watch->n_seats; i++) {
        const struct connection_seat *seat = &watch->seats[i];

        if (seat->hung_since > 0)
            r = part_hung(seat->part, seat->hung_since, &parts[i]);
        else
            parts[i] = virt_part_ref(seat->part);
    }
    if (r >= 0)
        r = virt_status_new(watch->uris, parts, watch->n_seats, ret_status);
    for (size_t i = 0; parts && i < watch->n_seats; i++)
        virt_part_unref(parts[i]);
    return r;
}

static void tell(struct virt_watch *watch)
{
    struct virt_status *status = NULL;
    int r;

    r = status_make(watch, &status);
    if (r < 0) {
        log_error(r, "Cannot take note of what libvirt says: %m");
        return;
    }
    status->generation = ++watch->generation;
    status->taken = usec_now(CLOCK_REALTIME);
    watch->options.status(watch->options.userdata, status);
    virt_status_unref(status);
}

/* Takes the seat's mail; true when there was any, or it began or ceased to hang. */
static bool seat_look(struct virt_watch *watch, struct connection_seat *seat, bool *ret_replace)
{
    struct virt_link *link = seat->link;
    struct virt_part *mail;
    uint64_t busy, before = seat->hung_since;
    bool opening;

    pthread_mutex_lock(&link->lock);
    mail = TAKE_PTR(link->mail);
    busy = link->busy_since > 0 ? usec_now(CLOCK_MONOTONIC) - link->busy_since : 0;
    opening = link->opening;
    pthread_mutex_unlock(&link->lock);
    if (mail) {
        virt_part_unref(seat->part);
        seat->part = mail;
        seat->hung_since = 0;
        if (mail->connected)
            seat->replace_after = REPLACE_AFTER;
    }
    if (busy > HUNG_AFTER && seat->hung_since == 0)
        seat->hung_since = usec_now(CLOCK_REALTIME) - busy;
    *ret_replace = opening && busy > seat->replace_after;
    return mail || before != seat->hung_since;
}

/* A thread that opens a connection and gets no answer may wait for ever, while another one would be
 * answered: the daemon that did not is gone, or its socket was replaced. */
static void seat_replace(struct virt_watch *watch, size_t i)
{
    struct connection_seat *seat = &watch->seats[i];
    struct virt_link *left = seat->link;
    int r;

    if (atomic_load(&lingering) >= watch->n_seats + REPLACED_MAX)
        return;
    seat->link = NULL;
    r = seat_start(watch, seat, watch->uris[i]);
    if (r < 0) {
        seat->link = left;
        return;
    }
    seat->replace_after = seat->replace_after * 2 > REPLACE_AFTER_MAX
                              ? REPLACE_AFTER_MAX : seat->replace_after * 2;
    pthread_mutex_lock(&left->lock);
    left->stop = true;
    pthread_mutex_unlock(&left->lock);
    link_unref(left);
}

static void watch_look(struct virt_watch *watch)
{
    bool news = false;

    for (size_t i = 0; i < watch->n_seats; i++) {
        bool replace;

        news |= seat_look(watch, &watch->seats[i], &replace);
        if (replace)
            seat_replace(watch, i);
    }
    if (news)
        tell(watch);
}

static int on_wake(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    uint64_t n;

    if (read(fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
        return -errno;
    watch_look(userdata);
    return 0;
}

static int on_look(sd_event_source *source, uint64_t when, void *userdata)
{
    struct virt_watch *watch = userdata;
    int r;

    watch_look(watch);
    r = sd_event_source_set_time_relative(source, LOOK_INTERVAL);
    return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* ---- life ------------------------------------------------------------------------------------ */

DEFINE_CLEANUP(struct virt_watch *, virt_watch_free)

static int watch_start(struct virt_watch *watch)
{
    static char fallback[] = "qemu:///system";
    char *const alone[] = { fallback, NULL };
    char *const *uris = watch->options.uris ?: alone;
    size_t n = 0;
    int r = 0;

    while (uris[n])
        n++;
    watch->uris = calloc(n + 1, sizeof(*watch->uris));
    watch->seats = calloc(n + 1, sizeof(*watch->seats));
    if (!watch->uris || !watch->seats)
        return -ENOMEM;
    /* A seat whose thread does not start counts: it is freed with the others. */
    while (r >= 0 && watch->n_seats < n) {
        struct connection_seat *seat = &watch->seats[watch->n_seats];
        const char *uri = uris[watch->n_seats];

        seat->replace_after = REPLACE_AFTER;
        watch->uris[watch->n_seats] = strdup(uri);
        r = watch->uris[watch->n_seats++] ? seat_start(watch, seat, uri) : -ENOMEM;
    }
    return r;
}

int virt_watch_new(sd_event *event, const struct virt_watch_options *options,
                   struct virt_watch **ret_watch)
{
    _cleanup_(virt_watch_freep) struct virt_watch *watch = calloc(1, sizeof(*watch));
    int r;

    if (!watch)
        return -ENOMEM;
    watch->event = sd_event_ref(event);
    watch->options = *options;
    watch->is_default = !options->uris;
    watch->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (watch->wake_fd < 0)
        return -errno;
    r = sd_event_add_io(event, &watch->wake, watch->wake_fd, EPOLLIN, on_wake, watch);
    if (r >= 0)
        r = sd_event_add_time_relative(event, &watch->look, CLOCK_MONOTONIC, LOOK_INTERVAL,
                                       LOOK_INTERVAL / 10, on_look, watch);
    /* Otherwise a session's URI would start a daemon. Here, as the environment is this thread's. */
    if (r >= 0 && setenv("LIBVIRT_AUTOSTART", "0", 1) < 0)
        r = -errno;
    if (r >= 0)
        r = watch_start(watch);
    watch->options.uris = NULL;     /* the caller's */
    if (r < 0)
        return r;
    *ret_watch = TAKE_PTR(watch);
    return 0;
}

/* Waits a moment, so that what can end does so in order. */
static void watch_wait(struct virt_watch *watch)
{
    uint64_t until = usec_now(CLOCK_MONOTONIC) + END_WAIT;

    for (size_t i = 0; i < watch->n_seats; i++) {
        struct virt_link *link = watch->seats[i].link;
        struct timespec at = { .tv_sec = (time_t)(until / USEC_PER_SEC),
                               .tv_nsec = (long)(until % USEC_PER_SEC * 1000) };

        if (!link)
            continue;
        pthread_mutex_lock(&link->lock);
        while (!link->ended && pthread_cond_timedwait(&link->changed, &link->lock, &at) == 0)
            ;
        pthread_mutex_unlock(&link->lock);
    }
}

struct virt_watch *virt_watch_free(struct virt_watch *watch)
{
    if (!watch)
        return NULL;
    for (size_t i = 0; i < watch->n_seats; i++)
        seat_stop(&watch->seats[i]);
    watch_wait(watch);
    for (size_t i = 0; i < watch->n_seats; i++) {
        link_unref(watch->seats[i].link);
        virt_part_unref(watch->seats[i].part);
        free(watch->uris[i]);
    }
    free(watch->seats);
    free(watch->uris);
    sd_event_source_disable_unref(watch->wake);
    sd_event_source_disable_unref(watch->look);
    if (watch->wake_fd >= 0)
        close(watch->wake_fd);
    sd_event_unref(watch->event);
    free(watch);
    return NULL;
}

void virt_watch_refresh(struct virt_watch *watch)
{
    for (size_t i = 0; i < watch->n_seats; i++) {
        struct virt_link *link = watch->seats[i].link;

        pthread_mutex_lock(&link->lock);
        link->news.everything = true;
        link->news.last = usec_now(CLOCK_MONOTONIC);
        link->news.first = link->news.first ?: link->news.last;
        pthread_cond_broadcast(&link->changed);
        pthread_mutex_unlock(&link->lock);
    }
}
