/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whole messages of bounded size from a peer to sd-bus. */
#include "daemon/control/gate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/bytes.h"
#include "lib/cleanup.h"

#define BUFFER_SIZE 4096
#define AUTHENTICATION_MAX BUFFER_SIZE      /* bytes, before the first message */
#define HEADER_SIZE 16                      /* the fixed part of a D-Bus message's */

struct message_gate {
    struct gate_options options;
    int peer_fd, bus_fd;
    sd_event_source *input, *output, *timer, *next;
    char *buffer;
    size_t size, n;             /* of the buffer; bytes in it */
    size_t piece, sent;         /* the first bytes of it, which are being handed on; 0 none */
    size_t authentication;      /* bytes of it so far */
    bool speaks;                /* authentication is over */
    bool waits;                 /* for sd-bus to take a message, or the authentication's end: what
                                 * it reads with that it does not look at before more comes */
    bool held, timed, ended;
};

/* ---- what is in the buffer ------------------------------------------------------------------- */

/* The next line of the authentication; 0 when it is not complete. */
static size_t line_length(const struct message_gate *gate)
{
    const char *end = memmem(gate->buffer, gate->n, "\r\n", 2);

    return end ? (size_t)(end - gate->buffer) + 2 : 0;
}

/* The length of the message that the buffer begins with, as its header says: 0 when that is not
 * there yet. */
static uint64_t message_length(const struct message_gate *gate)
{
    const uint8_t *p = (const uint8_t *)gate->buffer;
    uint64_t body, fields;

    if (gate->n < HEADER_SIZE)
        return 0;
    body = p[0] == 'B' ? be32_get(p + 4) : le32_get(p + 4);
    fields = p[0] == 'B' ? be32_get(p + 12) : le32_get(p + 12);
    return HEADER_SIZE + (fields + 7) / 8 * 8 + body;
}

static void gate_break(struct message_gate *gate, const char *reason)
{
    if (gate->ended)
        return;
    gate->ended = true;
    (void)sd_event_source_set_enabled(gate->input, SD_EVENT_OFF);
    (void)sd_event_source_set_enabled(gate->output, SD_EVENT_OFF);
    (void)sd_event_source_set_enabled(gate->timer, SD_EVENT_OFF);
    if (reason)
        gate->options.broken(gate->options.userdata, reason);
}

static int buffer_resize(struct message_gate *gate, size_t size)
{
    char *buffer = size == gate->size ? gate->buffer : realloc(gate->buffer, size);

    if (!buffer)
        return -ENOMEM;
    gate->buffer = buffer;
    gate->size = size;
    return 0;
}

/* The time runs from a message's first byte until sd-bus has it, and not between messages. */
static void set_deadline(struct message_gate *gate)
{
    bool timed = gate->waits || gate->piece > 0 || (gate->speaks && gate->n > 0 && !gate->held);

    if (timed && !gate->timed)
        (void)sd_event_source_set_time_relative(gate->timer, gate->options.deadline);
    if (timed != gate->timed)
        (void)sd_event_source_set_enabled(gate->timer, timed ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
    gate->timed = timed;
}

/* ---- handing on ------------------------------------------------------------------------------ */

/* The first bytes of the buffer that are to be handed on in one: 0 none yet. */
static int next_piece(struct message_gate *gate, size_t *ret_piece)
{
    uint64_t length;

    if (!gate->speaks) {
        length = line_length(gate);
        gate->authentication += length;
        if (gate->authentication + (length ? 0 : gate->n) > AUTHENTICATION_MAX - HEADER_SIZE)
            return -EMSGSIZE;
        gate->speaks = length == 7 && memcmp(gate->buffer, "BEGIN", 5) == 0;
        *ret_piece = (size_t)length;
        return 0;
    }
    length = message_length(gate);
    if (length > gate->options.message_max)
        return -EMSGSIZE;
    if (length > gate->size && buffer_resize(gate, (size_t)length) < 0)
        return -ENOMEM;
    *ret_piece = length <= gate->n ? (size_t)length : 0;
    return 0;
}

/* False when sd-bus does not take more now. */
static bool send_piece(struct message_gate *gate)
{
    while (gate->sent < gate->piece) {
        ssize_t n = send(gate->bus_fd, gate->buffer + gate->sent, gate->piece - gate->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            if (errno == EPIPE || errno == ECONNRESET)  /* sd-bus closed it, and says so itself */
                gate_break(gate, NULL);
            else if (errno != EAGAIN)           /* nobody else would: the peer would wait on */
                gate_break(gate, "its message cannot be handed on");
            return false;
        }
        gate->sent += (size_t)n;
    }
    gate->n -= gate->piece;
    memmove(gate->buffer, gate->buffer + gate->piece, gate->n);
    gate->piece = gate->sent = 0;
    if (gate->size > BUFFER_SIZE && gate->n <= BUFFER_SIZE)
        (void)buffer_resize(gate, BUFFER_SIZE);
    return true;
}

static void look_again(struct message_gate *gate)
{
    if (sd_event_source_set_enabled(gate->next, SD_EVENT_ONESHOT) < 0)
        gate_break(gate, "it cannot go on");
}

/* Hands on what may be, and reads on where something is missing. */
static void go_on(struct message_gate *gate)
{
    bool full = false;

    while (!gate->ended && !full && !gate->waits && !gate->held) {
        int r = gate->piece > 0 || gate->n == 0 ? 0 : next_piece(gate, &gate->piece);

        if (r < 0) {
            gate_break(gate, r == -ENOMEM ? "there is no memory for its message"
                                          : "its message is too long");
            return;
        }
        if (gate->piece == 0)
            break;
        full = !send_piece(gate);
        gate->waits = !full && gate->speaks;
    }
    if (gate->ended)
        return;
    set_deadline(gate);
    (void)sd_event_source_set_enabled(gate->output, full ? SD_EVENT_ON : SD_EVENT_OFF);
    (void)sd_event_source_set_io_events(gate->input, gate->held ? EPOLLRDHUP : EPOLLIN);
    (void)sd_event_source_set_enabled(gate->input,
                                      full || gate->waits || gate->n == gate->size
                                          ? SD_EVENT_OFF : SD_EVENT_ON);
}

static int on_input(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct message_gate *gate = userdata;
    ssize_t n = 0;

    /* While it is held, this is called for the peer's end alone. */
    if (!gate->held)
        n = recv(fd, gate->buffer + gate->n, gate->size - gate->n, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        gate_break(gate, NULL);
        (void)shutdown(gate->bus_fd, SHUT_WR);  /* sd-bus sees it, after what came before */
        return 0;
    }
    gate->n += (size_t)n;
    go_on(gate);
    return 0;
}

static int on_output(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct message_gate *gate = userdata;

    if (send_piece(gate))
        gate->waits = gate->speaks;
    go_on(gate);
    return 0;
}

static int on_next(sd_event_source *source, void *userdata)
{
    go_on(userdata);
    return 0;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
    gate_break(userdata, "its message does not come to its end");
    return 0;
}

void gate_taken(struct message_gate *gate)
{
    if (!gate->waits)
        return;
    gate->waits = false;
    /* Not at once: whoever answers it may want to hold what follows. */
    look_again(gate);
}

void gate_hold(struct message_gate *gate, bool hold)
{
    gate->held = hold;
    look_again(gate);
}

/* ---- coming and going ------------------------------------------------------------------------ */

static int add_sources(struct message_gate *gate, sd_event *event)
{
    sd_event_source **sources[] = { &gate->input, &gate->output, &gate->timer, &gate->next };
    int r = sd_event_add_io(event, &gate->input, gate->peer_fd, EPOLLIN, on_input, gate);

    if (r >= 0)
        r = sd_event_add_io(event, &gate->output, gate->bus_fd, EPOLLOUT, on_output, gate);
    if (r >= 0)
        r = sd_event_source_set_enabled(gate->output, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time_relative(event, &gate->timer, CLOCK_MONOTONIC,
                                       gate->options.deadline, 0, on_deadline, gate);
    if (r >= 0)
        r = sd_event_source_set_enabled(gate->timer, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_defer(event, &gate->next, on_next, gate);
    if (r >= 0)
        r = sd_event_source_set_enabled(gate->next, SD_EVENT_OFF);
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(sources); i++)
        r = sd_event_source_set_priority(*sources[i], gate->options.priority);
    return r;
}

int gate_new(sd_event *event, int fd, const struct gate_options *options, int *ret_fd,
             struct message_gate **ret_gate)
{
    struct message_gate *gate = calloc(1, sizeof(*gate));
    _cleanup_close_ int theirs = -1;
    int fds[2], r;

    if (!gate)
        return -ENOMEM;
    *gate = (struct message_gate){ .options = *options, .peer_fd = -1, .bus_fd = -1 };
    r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0 ? -errno : 0;
    if (r >= 0) {
        gate->bus_fd = fds[0];
        theirs = fds[1];
        gate->peer_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        r = gate->peer_fd < 0 ? -errno : buffer_resize(gate, BUFFER_SIZE);
    }
    if (r >= 0)
        r = add_sources(gate, event);
    if (r < 0) {
        gate_free(gate);
        return r;
    }
    *ret_fd = TAKE_FD(theirs);
    *ret_gate = gate;
    return 0;
}

struct message_gate *gate_free(struct message_gate *gate)
{
    if (!gate)
        return NULL;
    sd_event_source_disable_unref(gate->input);
    sd_event_source_disable_unref(gate->output);
    sd_event_source_disable_unref(gate->timer);
    sd_event_source_disable_unref(gate->next);
    if (gate->peer_fd >= 0)
        close(gate->peer_fd);
    if (gate->bus_fd >= 0)
        close(gate->bus_fd);
    free(gate->buffer);
    free(gate);
    return NULL;
}
