/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hands messages, one at a time, to the service that runs the program of alerts.exec. */
#include "daemon/tell/exec-channel.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/tell/notify.h"
#include "helpers/clock.h"
#include "helpers/json-text.h"
#include "lib/cleanup.h"

struct exec_channel {
    sd_event *event;
    char *path;
    sd_event_source *source, *timer;
    int fd;                     /* -1: nothing is under way */
    char *message;
    size_t size, written;
    char answer[NOTIFY_ANSWER_MAX + 1];
    size_t n_answer;
    int error;                  /* why the service cannot be reached */
    exec_done_fn done;
    void *userdata;
};

static void channel_end(struct exec_channel *channel)
{
    channel->source = sd_event_source_disable_unref(channel->source);
    channel->timer = sd_event_source_disable_unref(channel->timer);
    if (channel->fd >= 0)
        close(channel->fd);
    channel->fd = -1;
    free(TAKE_PTR(channel->message));
    channel->size = channel->written = channel->n_answer = 0;
}

static void channel_done(struct exec_channel *channel, int error, const char *said)
{
    exec_done_fn done = channel->done;

    channel_end(channel);
    done(channel->userdata, error, said);
}

static void channel_failed(struct exec_channel *channel, int error, const char *what)
{
    char said[160];

    snprintf(said, sizeof(said), "%s: %s", what, strerror(-error));
    channel_done(channel, error, said);
}

/* The answer of qcaudit-notify: {"error": TEXT or nothing, "output": TEXT}. */
static void channel_answered(struct exec_channel *channel)
{
    json_object *answer = NULL, *error = NULL, *output = NULL;
    _cleanup_free_ char *said = NULL;
    bool failed;
    int r;

    r = json_text_parse(channel->answer, channel->n_answer, &answer);
    if (r < 0 || !json_object_is_type(answer, json_type_object)) {
        json_object_put(answer);
        channel_done(channel, -EPROTO, channel->n_answer == 0
                                           ? "qcaudit-notify ended without an answer"
                                           : "the answer of qcaudit-notify is not understood");
        return;
    }
    (void)json_object_object_get_ex(answer, "error", &error);
    (void)json_object_object_get_ex(answer, "output", &output);
    failed = json_object_is_type(error, json_type_string);
    said = failed || output ? json_prose_text(failed ? error : output) : NULL;
    json_object_put(answer);
    channel_done(channel, failed ? -EIO : 0, said ? said : "");
}

static int channel_write(struct exec_channel *channel)
{
    while (channel->written < channel->size) {
        ssize_t n = send(channel->fd, channel->message + channel->written,
                         channel->size - channel->written, MSG_NOSIGNAL);

        if (n < 0)
            return errno == EINTR ? 0 : -errno;
        channel->written += (size_t)n;
    }
    if (shutdown(channel->fd, SHUT_WR) < 0)
        return -errno;
    return sd_event_source_set_io_events(channel->source, EPOLLIN);
}

/* 1 at the end of the answer. */
static int channel_read(struct exec_channel *channel)
{
    for (;;) {
        ssize_t n = recv(channel->fd, channel->answer + channel->n_answer,
                         NOTIFY_ANSWER_MAX - channel->n_answer, 0);

        if (n < 0)
            return errno == EINTR ? 0 : -errno;
        if (n == 0)
            return channel->n_answer == NOTIFY_ANSWER_MAX ? -EMSGSIZE : 1;
        channel->n_answer += (size_t)n;
    }
}

static int on_ready(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct exec_channel *channel = userdata;
    bool writing = channel->written < channel->size;
    int r = writing ? channel_write(channel) : channel_read(channel);

    if (r == 1)
        channel_answered(channel);
    else if (r < 0 && r != -EAGAIN)
        channel_failed(channel, r, writing ? "Cannot hand the message to qcaudit-notify"
                                           : "Cannot read the answer of qcaudit-notify");
    return 0;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
    channel_failed(userdata, -ETIMEDOUT, "qcaudit-notify does not answer");
    return 0;
}

/* Why the service cannot be reached; in the loop, as all answers come. */
static int on_unreachable(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct exec_channel *channel = userdata;
    int error = channel->error;
    char said[200];

    snprintf(said, sizeof(said), "Cannot connect to qcaudit-notify.socket: %s%s", strerror(-error),
             error == -ENOENT || error == -ECONNREFUSED
                 ? "; systemctl enable --now qcaudit-notify.socket starts it" :
             error == -EACCES ? "; its SocketUser= must be the user of qcauditd" : "");
    channel_done(channel, error, said);
    return 0;
}

static int channel_connect(struct exec_channel *channel)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (strlen(channel->path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, channel->path, strlen(channel->path) + 1);
    channel->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (channel->fd < 0)
        return -errno;
    if (connect(channel->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    return sd_event_add_io(channel->event, &channel->source, channel->fd, EPOLLOUT, on_ready,
                           channel);
}

bool exec_channel_is_busy(const struct exec_channel *channel)
{
    return channel->message;
}

int exec_channel_send(struct exec_channel *channel, json_object *message, exec_done_fn done,
                      void *userdata)
{
    const char *text;
    int r;

    if (channel->message)
        return -EBUSY;
    text = json_object_to_json_string_ext(message, JSON_C_TO_STRING_PLAIN |
                                                      JSON_C_TO_STRING_NOSLASHESCAPE);
    channel->message = text ? strdup(text) : NULL;
    if (!channel->message)
        return -ENOMEM;
    channel->size = strlen(channel->message);
    channel->done = done;
    channel->userdata = userdata;
    channel->error = channel_connect(channel);
    r = sd_event_add_time_relative(channel->event, &channel->timer, CLOCK_MONOTONIC,
                                   channel->error < 0 ? 0 : NOTIFY_DEADLINE, 1,
                                   channel->error < 0 ? on_unreachable : on_deadline, channel);
    if (r < 0)
        channel_end(channel);
    return r;
}

struct exec_channel *exec_channel_free(struct exec_channel *channel)
{
    if (!channel)
        return NULL;
    channel_end(channel);
    free(channel->path);
    sd_event_unref(channel->event);
    free(channel);
    return NULL;
}

int exec_channel_new(sd_event *event, const char *path, struct exec_channel **ret_channel)
{
    struct exec_channel *channel = calloc(1, sizeof(*channel));

    if (!channel)
        return -ENOMEM;
    channel->fd = -1;
    channel->event = sd_event_ref(event);
    channel->path = strdup(path);
    if (!channel->path) {
        exec_channel_free(channel);
        return -ENOMEM;
    }
    *ret_channel = channel;
    return 0;
}
