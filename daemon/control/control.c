/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control socket: accepts peers, knows who they are, bounds what they can take, ends those that
 * do not behave. */
#include "daemon/control/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-id128.h>

#include "daemon/core/log.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

/* Owners' are apart, so that no number of readers locks them out. */
#define CONNECTIONS_OWNERS_MAX 48
#define CONNECTIONS_READERS_MAX 48
#define CONNECTIONS_PER_READER_MAX 8        /* of one uid */
#define CONNECTIONS_DENIED_MAX 2            /* peers that may not even read: room for an error
                                             * reply */
/* Paths, filters and reasons are short; an owner's scan may name as many paths as a command line
 * holds. */
#define MESSAGE_MAX (64 * 1024)
#define OWNERS_MESSAGE_MAX (4 * 1024 * 1024)
#define MESSAGE_USEC (10 * USEC_PER_SEC)
#define SEND_BUFFER (256 * 1024)            /* what the kernel keeps of answers nobody reads */
#define AUTHENTICATION_USEC (10 * USEC_PER_SEC)
#define DENIED_USEC (5 * USEC_PER_SEC)
#define IDLE_USEC (15 * 60 * USEC_PER_SEC)
#define QUEUED_REPLIES_MAX 8                /* a client has one call under way, as a rule */

/* ---- who may what ------------------------------------------------------------------------- */

bool control_is_owner(uid_t uid)
{
    return uid == 0 || uid == getuid();
}

static bool peer_in_group(int fd, gid_t peer_gid, gid_t group)
{
    gid_t few[64], *gids = few;
    _cleanup_free_ gid_t *many = NULL;
    socklen_t size = sizeof(few);

    if (peer_gid == group)
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, gids, &size) < 0) {
        if (errno != ERANGE)
            return false;
        gids = many = malloc(size);
        if (!many || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, gids, &size) < 0)
            return false;
    }
    for (size_t i = 0; i < size / sizeof(gid_t); i++)
        if (gids[i] == group)
            return true;
    return false;
}

static bool peer_may_read(const struct control *control, int fd, const struct ucred *peer)
{
    return control->public || control_is_owner(peer->uid) ||
           (control->has_group && peer_in_group(fd, peer->gid, control->group));
}

/* ---- connections -------------------------------------------------------------------------- */

static void connection_free(struct connection *connection)
{
    LIST_REMOVE(connection, entry);
    sd_event_source_disable_unref(connection->timer);
    sd_event_source_disable_unref(connection->doomed);
    late_calls_leave(connection);
    gate_free(connection->gate);
    if (connection->bus)
        sd_bus_detach_event(connection->bus);
    sd_bus_close_unref(connection->bus);
    free(connection);
}

static int on_doomed(sd_event_source *source, void *userdata)
{
    connection_free(userdata);
    return 0;
}

void connection_end(struct connection *connection)
{
    /* Not at once: sd-bus may be about to use the bus it called us for. */
    if (connection->doomed)
        return;
    if (sd_event_add_defer(connection->control->event, &connection->doomed, on_doomed, connection) <
        0)
        log_error(-ENOMEM, "Cannot end a control connection: %m");
}

static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    connection_end(userdata);
    return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct connection *connection = userdata;

    if (connection->subscribed)
        return 0;
    log_debug(0, "Closing an idle control connection of pid %d.", (int)connection->peer.pid);
    connection_end(connection);
    return 0;
}

void connection_alive(struct connection *connection)
{
    if (connection->may_read && connection->timer) {
        (void)sd_event_source_set_time_relative(connection->timer, IDLE_USEC);
        (void)sd_event_source_set_enabled(connection->timer, SD_EVENT_ONESHOT);
    }
}

bool connection_is_full(struct connection *connection, uint64_t limit)
{
    uint64_t queued;

    if (sd_bus_get_n_queued_write(connection->bus, &queued) < 0 || queued < limit)
        return false;
    log_debug(0, "Closing a control connection: pid %d does not read its answers.",
              (int)connection->peer.pid);
    connection_end(connection);
    return true;
}

bool connection_is_choked(struct connection *connection)
{
    /* On the system bus others share it, and the bus has limits of its own. */
    return !connection->track &&
           (connection->doomed || connection_is_full(connection, QUEUED_REPLIES_MAX));
}

static void on_broken(void *userdata, const char *reason)
{
    struct connection *connection = userdata;

    log_debug(0, "Closing a control connection of pid %d: %s.", (int)connection->peer.pid, reason);
    connection_end(connection);
}

static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;

    gate_taken(connection->gate);       /* or it is Connected, sd-bus' own */
    return 0;
}

static int64_t connection_priority(const struct connection *connection)
{
    return connection->may_change ? SD_EVENT_PRIORITY_NORMAL : CONTROL_READERS_PRIORITY;
}

/* sd-bus reads what the gate hands on, and writes to the peer itself. */
static int connection_set_fds(struct connection *connection, int *fd)
{
    struct gate_options options = {
        .message_max = connection->may_change ? OWNERS_MESSAGE_MAX : MESSAGE_MAX,
        .deadline = MESSAGE_USEC,
        .priority = connection_priority(connection),
        .broken = on_broken,
        .userdata = connection,
    };
    _cleanup_close_ int input = -1;
    int r = gate_new(connection->control->event, *fd, &options, &input, &connection->gate);

    if (r >= 0)
        r = sd_bus_set_fd(connection->bus, input, *fd);
    if (r >= 0)
        input = *fd = -1;
    /* The peer is known (SO_PEERCRED); sd-bus cannot ask the gate. */
    if (r >= 0)
        r = sd_bus_set_anonymous(connection->bus, true);
    if (r >= 0)
        r = sd_bus_set_connected_signal(connection->bus, true);
    return r < 0 ? r : sd_bus_negotiate_fds(connection->bus, false);
}

static int connection_start(struct connection *connection, int *fd)
{
    int peer = *fd, size = SEND_BUFFER, r = sd_bus_new(&connection->bus);
    sd_id128_t id;

    if (r >= 0)
        r = sd_bus_set_description(connection->bus, "control");
    if (r >= 0)
        r = connection_set_fds(connection, fd);
    if (r >= 0)
        r = sd_id128_randomize(&id);
    if (r >= 0)
        r = sd_bus_set_server(connection->bus, 1, id);
    if (r >= 0)
        r = sd_bus_set_sender(connection->bus, CONTROL_BUS_NAME);
    if (r >= 0)
        r = sd_bus_start(connection->bus);
    /* sd-bus wants 8 MB, and gets them where the daemon runs as root. */
    if (r >= 0 && setsockopt(peer, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0)
        r = -errno;
    if (r >= 0)
        r = sd_bus_attach_event(connection->bus, connection->control->event,
                                connection_priority(connection));
    if (r >= 0)
        r = sd_bus_add_filter(connection->bus, NULL, on_message, connection);
    if (r >= 0)
        r = sd_bus_match_signal_async(connection->bus, NULL, "org.freedesktop.DBus.Local",
                                      "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local",
                                      "Disconnected", on_disconnected, NULL, connection);
    if (r >= 0)
        r = sd_bus_add_object_vtable(connection->bus, NULL, CONTROL_OBJECT_PATH, CONTROL_INTERFACE,
                                     control_vtable, connection);
    if (r >= 0)
        r = sd_event_add_time_relative(connection->control->event, &connection->timer,
                                       CLOCK_MONOTONIC,
                                       connection->may_read ? AUTHENTICATION_USEC : DENIED_USEC,
                                       USEC_PER_SEC, on_timer, connection);
    return r;
}

/* Has this peer taken all that is its share? */
static bool too_many(const struct control *control, const struct connection *new)
{
    const struct connection *each;
    unsigned owners = 0, readers = 0, of_uid = 0, denied = 0;

    LIST_FOREACH(each, &control->connections, entry) {
        owners += each->may_change;
        readers += each->may_read && !each->may_change;
        denied += !each->may_read;
        of_uid += each->peer.uid == new->peer.uid;
    }
    if (new->may_change)
        return owners >= CONNECTIONS_OWNERS_MAX;
    if (!new->may_read)
        return denied >= CONNECTIONS_DENIED_MAX;
    return readers >= CONNECTIONS_READERS_MAX || of_uid >= CONNECTIONS_PER_READER_MAX;
}

static int connection_new(struct control *control, int *fd)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    socklen_t size = sizeof(connection->peer);
    int r;

    if (!connection)
        return -ENOMEM;
    connection->control = control;
    if (getsockopt(*fd, SOL_SOCKET, SO_PEERCRED, &connection->peer, &size) < 0) {
        r = -errno;
        free(connection);
        return r;
    }
    connection->may_read = peer_may_read(control, *fd, &connection->peer);
    connection->may_change = control_is_owner(connection->peer.uid);
    if (too_many(control, connection)) {
        free(connection);
        return -EUSERS;
    }
    LIST_INSERT_HEAD(&control->connections, connection, entry);
    r = connection_start(connection, fd);
    if (r < 0)
        connection_free(connection);
    return r;
}

static int on_accept_again(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct control *control = userdata;

    return sd_event_source_set_enabled(control->listener, SD_EVENT_ON);
}

static int on_accept(sd_event_source *source, int listen_fd, uint32_t revents, void *userdata)
{
    struct control *control = userdata;
    _cleanup_close_ int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int r;

    if (fd < 0) {
        r = -errno;
        if (r == -EAGAIN || r == -EINTR || r == -ECONNABORTED)
            return 0;
        /* Out of descriptors or memory: the socket stays readable, so wait instead of spinning. */
        log_error(r, "Cannot accept a control connection, trying again in a second: %m");
        (void)sd_event_source_set_enabled(control->listener, SD_EVENT_OFF);
        control->retry = sd_event_source_disable_unref(control->retry);
        return sd_event_add_time_relative(control->event, &control->retry, CLOCK_MONOTONIC,
                                          USEC_PER_SEC, 0, on_accept_again, control);
    }
    r = connection_new(control, &fd);
    if (r < 0)
        log_debug(r, "Refused a control connection: %m");
    return 0;
}

/* ---- the socket --------------------------------------------------------------------------- */

/* An address for a name in the directory of dir_fd: paths can be longer than sun_path. */
static int address_in(int dir_fd, const char *name, struct sockaddr_un *ret_address)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int n = snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir_fd,
                     name);

    if (n < 0 || (size_t)n >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    *ret_address = address;
    return 0;
}

/* 0 when name is free or a socket nobody listens on. */
static int is_stale(int dir_fd, const char *name)
{
    struct sockaddr_un address;
    struct stat st;
    _cleanup_close_ int fd = -1;
    int r;

    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -ENOTSOCK;
    r = address_in(dir_fd, name, &address);
    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) >= 0 || errno == EAGAIN)
        return -EADDRINUSE;
    return errno == ECONNREFUSED ? 0 : -errno;
}

/* Binds under a name of its own and renames: whoever connects finds the old socket or the new
 * one. */
static int listen_in(int dir_fd, int *ret_fd, struct stat *ret_st)
{
    static const char name[] = CONTROL_SOCKET_NAME, new_name[] = CONTROL_SOCKET_NAME ".new";
    struct sockaddr_un address;
    struct stat st;
    _cleanup_close_ int fd = -1;
    int r = is_stale(dir_fd, name);

    if (r < 0)
        return r;
    r = address_in(dir_fd, new_name, &address);
    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (unlinkat(dir_fd, new_name, 0) < 0 && errno != ENOENT)
        return -errno;
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    /* Everybody may connect, so that everybody gets an answer: who may what is decided by
     * SO_PEERCRED. */
    if (fchmodat(dir_fd, new_name, 0666, 0) < 0 || listen(fd, 128) < 0 ||
        fstatat(dir_fd, new_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        renameat(dir_fd, new_name, dir_fd, name) < 0) {
        r = -errno;
        (void)unlinkat(dir_fd, new_name, 0);
        return r;
    }
    *ret_fd = TAKE_FD(fd);
    *ret_st = st;
    return 0;
}

/* The socket systemd passed, if it passed a listening stream socket; others are not ours to
 * close. */
static int listen_passed(int *ret_fd)
{
    int n = sd_listen_fds(1);

    if (n < 0)
        return n;
    for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++)
        if (sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) > 0) {
            int flags = fcntl(fd, F_GETFL);

            if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return -errno;
            *ret_fd = fd;
            return 1;
        }
    return 0;
}

void control_turn_away(void)
{
    int fd = -1, caller;

    if (listen_passed(&fd) <= 0)
        return;
    while ((caller = accept4(fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        close(caller);
}

static int control_listen(struct control *control, const char *runtime_directory)
{
    int r = listen_passed(&control->fd);

    if (r < 0)
        return log_error(r, "Cannot take the control socket that was passed: %m");
    if (r == 0) {
        control->dir_fd = open(runtime_directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        r = control->dir_fd < 0 ? -errno : listen_in(control->dir_fd, &control->fd, &control->st);
        if (r == -EADDRINUSE)
            return log_error(r, "Another qcauditd answers on %s/" CONTROL_SOCKET_NAME ".",
                             runtime_directory);
        if (r < 0)
            return log_error(r, "Cannot make the control socket %s/" CONTROL_SOCKET_NAME ": %m",
                             runtime_directory);
    }
    r = sd_event_add_io(control->event, &control->listener, control->fd, EPOLLIN, on_accept,
                        control);
    if (r < 0)
        return log_error(r, "Cannot listen on the control socket: %m");
    return 0;
}

/* ---- public ------------------------------------------------------------------------------- */

static void set_access(struct control *control, bool public, int error, gid_t group)
{
    struct connection *each;
    bool has_group = error == 0;
    bool changed = control->public != public || control->has_group != has_group ||
                   (has_group && control->group != group);

    control->public = public;
    control->has_group = has_group;
    control->group = has_group ? group : 0;
    if (control->group_name && error < 0 && error != -EINPROGRESS)
        log_debug(error,
                  "No group may read by the control socket, only root and the daemon's user: %m");
    /* A peer that could read only by the old rules has to connect again. */
    if (changed)
        LIST_FOREACH(each, &control->connections, entry)
            if (!control_is_owner(each->peer.uid))
                connection_end(each);
}

static int set_group_name(struct control *control, const struct config *config)
{
    const char *name = config->control_group && *config->control_group
                           ? config->control_group : NULL;
    char *copy = name ? strdup(name) : NULL;

    if (name && !copy)
        return -ENOMEM;
    free(control->group_name);
    control->group_name = copy;
    return 0;
}

static void on_group(void *userdata, int error, gid_t group)
{
    struct control *control = userdata;

    set_access(control, control->public, error, group);
}

void control_set_config(struct control *control, const struct config *config)
{
    _cleanup_free_ char *before = control->group_name;
    bool same;
    int r;

    control->lookup = group_lookup_free(control->lookup);
    control->group_name = NULL;
    r = set_group_name(control, config);
    same = before && control->group_name && strcmp(before, control->group_name) == 0 &&
           control->has_group;
    /* Until its number is known, a new group may not read; the one that may goes on. */
    set_access(control, config->control_public, same ? 0 : -EINPROGRESS, control->group);
    if (r >= 0 && control->group_name)
        r = group_lookup_new(control->event, control->group_name, on_group, control,
                             &control->lookup);
    if (r < 0)
        log_error(r, "Cannot look up the group that may read by the control socket: %m");
}

/* Before the loop runs, it may be waited for. */
static int set_first_config(struct control *control, const struct config *config)
{
    gid_t group = 0;
    int r = set_group_name(control, config), error;

    if (r < 0)
        return r;
    error = control->group_name ? control_group_find(control->group_name, &group) : -ENOENT;
    set_access(control, config->control_public, error, group);
    return 0;
}

int control_new(sd_event *event, const char *runtime_directory, const struct config *config,
                const struct control_ops *ops, void *userdata, struct control **ret_control)
{
    struct control *control = calloc(1, sizeof(*control));
    int r;

    if (!control)
        return -ENOMEM;
    control->fd = control->dir_fd = -1;
    control->event = sd_event_ref(event);
    control->ops = *ops;
    control->userdata = userdata;
    r = set_first_config(control, config);
    if (r >= 0)
        r = control_listen(control, runtime_directory);
    if (r < 0) {
        control_free(control);
        return r;
    }
    /* The service's daemon alone, not one that somebody tries in a folder of his own. */
    if (control->dir_fd < 0 || strcmp(runtime_directory, CONTROL_SYSTEM_RUNTIME_DIR) == 0) {
        r = control_bus_new(control, &control->bus);
        if (r < 0)
            log_warning(r, "Not on the system bus: %m");
    }
    *ret_control = control;
    return 0;
}

static void control_unlink(const struct control *control)
{
    struct stat st;

    /* Only what is still ours: a successor may have renamed its own over it. */
    if (control->dir_fd >= 0 && control->fd >= 0 &&
        fstatat(control->dir_fd, CONTROL_SOCKET_NAME, &st, AT_SYMLINK_NOFOLLOW) >= 0 &&
        st.st_dev == control->st.st_dev && st.st_ino == control->st.st_ino)
        (void)unlinkat(control->dir_fd, CONTROL_SOCKET_NAME, 0);
}

struct control *control_free(struct control *control)
{
    if (!control)
        return NULL;
    while (!LIST_EMPTY(&control->connections))
        connection_free(LIST_FIRST(&control->connections));
    control_bus_free(control->bus);
    json_object_put(control->status);
    json_object_put(control->told);
    group_lookup_free(control->lookup);
    free(control->group_name);
    sd_event_source_disable_unref(control->listener);
    sd_event_source_disable_unref(control->retry);
    control_unlink(control);
    if (control->fd >= 0)
        close(control->fd);
    if (control->dir_fd >= 0)
        close(control->dir_fd);
    sd_event_unref(control->event);
    free(control);
    return NULL;
}

int control_status_get(struct control *control, json_object **ret_status)
{
    json_object *status = NULL;
    uint64_t turn = 0;
    int r = sd_event_get_iteration(control->event, &turn);

    if (r < 0)
        return r;
    if (!control->status || control->status_turn != turn) {
        r = control->ops.status(control->userdata, &status);
        if (r < 0)
            return r;
        json_object_put(control->status);
        control->status = status;
        control->status_turn = turn;
    }
    *ret_status = control->status;
    return 0;
}
