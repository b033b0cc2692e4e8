/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests to the launcher that are not answered yet: the loop has no time to wait for them. */
#include "helpers/launches.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <unistd.h>

#include "helpers/wire.h"
#include "lib/cleanup.h"

struct launch {
    TAILQ_ENTRY(launch) link;
    uint64_t serial;
    launched_fn done;           /* NULL: it is killed when it comes */
    void *userdata;
    struct process_endings *endings;
    const void *user;
};

struct launches {
    sd_event *event;
    sd_event_source *source;
    int fd;
    uint64_t last;
    TAILQ_HEAD(, launch) list;
};

static void launch_free(struct launches *launches, struct launch *launch)
{
    TAILQ_REMOVE(&launches->list, launch, link);
    free(launch);
}

static struct launch *launch_find(struct launches *launches, uint64_t serial)
{
    struct launch *launch;

    TAILQ_FOREACH(launch, &launches->list, link)
        if (launch->serial == serial)
            return launch;
    return NULL;
}

static void launch_end(struct launches *launches, const struct launch *launch, pid_t pid, int pidfd)
{
    struct process *process;

    if (process_adopt(launches->event, pid, pidfd, NULL, NULL, &process) >= 0)
        process_end(process, launch->endings, launch->user);
}

/* pidfd is taken. */
static void launch_answer(struct launches *launches, struct launch *launch, int error, pid_t pid,
                          int pidfd)
{
    _cleanup_close_ int owned = pidfd;
    struct launch answered = *launch;

    launch_free(launches, launch);
    if (error == 0 && owned < 0)
        error = -EBADMSG;
    if (answered.done)
        answered.done(answered.userdata, error, pid, error == 0 ? TAKE_FD(owned) : -1);
    else if (error == 0)
        launch_end(launches, &answered, pid, TAKE_FD(owned));
}

static int on_answer(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct launches *launches = userdata;
    _cleanup_close_ int pidfd = -1;
    union wire_record record;
    struct launch *launch;
    int r = wire_receive(fd, WIRE_LAUNCHER, &record, &pidfd);

    if (r == -EAGAIN)
        return 0;
    if (r <= 0) {
        sd_event_source_set_enabled(source, SD_EVENT_OFF);
        while ((launch = TAILQ_FIRST(&launches->list)))
            launch_answer(launches, launch, r < 0 ? r : -EPIPE, 0, -1);
        return 0;
    }
    launch = launch_find(launches, record.launched.serial);
    if (!launch)
        return 0;
    r = (int)record.launched.error;
    if (r != 0 && !wire_error_is_valid(record.launched.error))
        r = -EBADMSG;
    launch_answer(launches, launch, r, (pid_t)record.launched.pid, TAKE_FD(pidfd));
    return 0;
}

int launches_new(sd_event *event, int launcher_fd, struct launches **ret_launches)
{
    struct launches *launches = calloc(1, sizeof(*launches));
    int r;

    if (!launches)
        return -ENOMEM;
    TAILQ_INIT(&launches->list);
    launches->fd = -1;
    launches->event = sd_event_ref(event);
    /* One of its own, as a loop watches each but once. */
    launches->fd = fcntl(launcher_fd, F_DUPFD_CLOEXEC, 3);
    r = launches->fd < 0 || fcntl(launches->fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
    if (r == 0)
        r = sd_event_add_io(event, &launches->source, launches->fd, EPOLLIN, on_answer, launches);
    /* The answer that names the started process comes before anything that process says. */
    if (r >= 0)
        r = sd_event_source_set_priority(launches->source, SD_EVENT_PRIORITY_NORMAL - 10);
    if (r < 0) {
        launches_free(launches);
        return r;
    }
    *ret_launches = launches;
    return 0;
}

struct launches *launches_free(struct launches *launches)
{
    struct launch *launch;

    if (!launches)
        return NULL;
    while ((launch = TAILQ_FIRST(&launches->list)))
        launch_free(launches, launch);
    sd_event_source_disable_unref(launches->source);
    if (launches->fd >= 0)
        close(launches->fd);
    sd_event_unref(launches->event);
    free(launches);
    return NULL;
}

int launches_ask(struct launches *launches, int socket, launched_fn done, void *userdata,
                 uint64_t *ret_serial)
{
    struct launch *launch = malloc(sizeof(*launch));
    struct wire_launch request;
    int r;

    if (!launch)
        return -ENOMEM;
    *launch = (struct launch){
        .serial = ++launches->last, .done = done, .userdata = userdata,
    };
    request = (struct wire_launch){ .serial = launch->serial };
    r = wire_send(launches->fd, WIRE_LAUNCH, &request, NULL, NULL, socket);
    if (r < 0) {
        free(launch);
        return r;
    }
    TAILQ_INSERT_TAIL(&launches->list, launch, link);
    *ret_serial = launch->serial;
    return 0;
}

void launches_forget(struct launches *launches, uint64_t serial, struct process_endings *endings,
                     const void *user)
{
    struct launch *launch = launch_find(launches, serial);

    if (!launch)
        return;
    launch->done = NULL;
    launch->endings = endings;
    launch->user = user;
}
