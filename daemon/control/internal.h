/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declarations that the parts of the control interface share: its socket, the bus, the methods and
 * their arguments. */
#pragma once

#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>

#include "daemon/control/interface.h"
#include "daemon/control/gate.h"
#include "daemon/control/question.h"
#include "helpers/control-json.h"

/* After everything that the daemon does by itself, deadlines of helpers (+20) too: readers can make
 * it busy, and nobody else has to wait for it. The system bus is everybody's. */
#define CONTROL_READERS_PRIORITY (SD_EVENT_PRIORITY_NORMAL + 30)

struct connection {
    struct control *control;
    LIST_ENTRY(connection) entry;
    struct message_gate *gate;          /* NULL on the system bus, which has limits of its own */
    LIST_HEAD(, late_call) late;        /* calls that are answered later */
    sd_bus *bus;
    struct ucred peer;
    bool may_read;
    bool may_change;
    bool subscribed;            /* gets signals, and may be silent for as long as it likes */
    sd_bus_track *track;        /* on the system bus: who subscribed there; NULL on the socket */
    sd_event_source *timer;     /* authentication, then idleness */
    sd_event_source *doomed;    /* set: it ends when the loop comes round */
};

struct control {
    sd_event *event;
    struct control_ops ops;
    void *userdata;
    bool public;
    bool has_group;             /* group is known */
    gid_t group;
    char *group_name;           /* NULL without one */
    struct group_lookup *lookup;
    int fd;
    int dir_fd;                 /* of the runtime folder; -1 when the socket was passed */
    struct stat st;             /* of our socket file */
    sd_event_source *listener;
    sd_event_source *retry;
    LIST_HEAD(, connection) connections;
    struct control_bus *bus;    /* NULL when not for the system bus */
    json_object *status;        /* as of that turn of the loop: one GetAll asks once */
    uint64_t status_turn;
    json_object *told;          /* the status whose changes were signalled last; NULL before the
                                 * first */
};

/* Sets the error of whoever may not. */
int control_denied(const struct control *control, sd_bus_error *error, bool changing);

/* root and the daemon's own user */
bool control_is_owner(uid_t uid);

/* The number of a group; may wait for a name service. -ENOENT. */
int control_group_find(const char *name, gid_t *ret_gid);
/* The same in a thread: done is called once, in the loop. Freed (in done, too), it is not called
 * any more. */
int group_lookup_new(sd_event *event, const char *name,
                     void (*done)(void *userdata, int error, gid_t gid), void *userdata,
                     struct group_lookup **ret_lookup);
struct group_lookup *group_lookup_free(struct group_lookup *lookup);

/* The same on the system bus, whenever there is one: it is tried again, less and less often, until
 * one answers. */
int control_bus_new(struct control *control, struct control_bus **ret_bus);
struct control_bus *control_bus_free(struct control_bus *bus);
/* The bus itself; NULL while there is none. */
sd_bus *control_bus_get(const struct control_bus *bus);
/* Does anybody want signals? */
bool control_bus_is_heard(const struct control_bus *bus);
/* Can everybody be told? */
bool control_bus_is_there(const struct control_bus *bus);
/* To each subscriber alone. */
int control_bus_tell(struct control_bus *bus, sd_bus_message *signal);

/* The answer to GetStatus, made at most once in a turn of the loop; borrowed. */
int control_status_get(struct control *control, json_object **ret_status);

/* ---- properties.c: the status as properties ---- */

int control_property_get(sd_bus *bus, const char *path, const char *interface, const char *property,
                         sd_bus_message *reply, void *userdata, sd_bus_error *error);
/* Get, GetAll and Set of org.freedesktop.DBus.Properties, for a caller that is known only now. */
int control_properties_call(sd_bus_message *call, struct connection *connection,
                            sd_bus_error *error);
/* PropertiesChanged for what differs; *ret_signal is NULL when nothing does. Without values it says
 * which ones have to be asked for again. */
int control_properties_signal_new(sd_bus *bus, json_object *before, json_object *after, bool values,
                                  sd_bus_message **ret_signal);

/* ---- arguments.c: what a method is called with; each sets the error ---- */

__attribute__((format(printf, 2, 3)))
int arguments_invalid(sd_bus_error *error, const char *format, ...);
/* ay without a NUL -> an absolute path of raw bytes. */
int arguments_path(sd_bus_message *message, sd_bus_error *error, char **ret_path);
/* aay -> paths. */
int arguments_paths(sd_bus_message *call, sd_bus_error *error, char ***ret_paths);

/* a{sv} with no other members than the keys, each of its type. */
int arguments_filter(sd_bus_message *message, const struct filter_key *keys, sd_bus_error *error,
                     json_object **ret_filter);
/* The arguments of the question; asked_done() frees the path and the filter, the rest is the
 * message's. */
int arguments_read(sd_bus_message *message, const struct question *question, sd_bus_error *error,
                   struct asked *ret_asked);
void asked_done(struct asked *asked);

/* ---- late.c: calls that are answered later ---- */

struct late_call {
    LIST_ENTRY(late_call) link;
    struct connection *connection;      /* NULL: it is gone */
    sd_bus_message *call;
    const struct question *question;    /* NULL: it is none */
    struct asked asked;
    int64_t made;               /* the number of what the call made, which is its answer; 0: it
                                 * has none */
};

/* Nothing else is taken from the connection meanwhile. NULL without memory. */
struct late_call *late_call_new(sd_bus_message *call, struct connection *connection);
/* Frees the late call; returns the call, whose reference is the callee's. The peer may be gone. */
sd_bus_message *late_call_end(struct late_call *late);
/* The connection goes: its calls stay, as somebody will answer them. */
void late_calls_leave(struct connection *connection);

void connection_end(struct connection *connection);
/* Notes that the connection did something: idleness starts anew. */
void connection_alive(struct connection *connection);
/* True when it does not read its answers, and is being closed therefore. */
bool connection_is_choked(struct connection *connection);
/* Does so much wait for the client to read it? Then it is ended. */
bool connection_is_full(struct connection *connection, uint64_t limit);
