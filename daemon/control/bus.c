/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control interface on the system bus: the same methods, with the bus's word for who the caller
 * is. */
#include <errno.h>
#include <string.h>

#include "daemon/control/callers.h"
#include "daemon/control/internal.h"
#include "daemon/core/log.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

#define AGAIN_USEC USEC_PER_SEC
#define AGAIN_MAX_USEC (64 * USEC_PER_SEC)

struct control_bus {
    struct control *control;
    struct connection connection;   /* stands for whoever calls: peer is set before each call */
    struct callers *callers;
    sd_event_source *again;         /* while there is no bus, or not its name */
    uint64_t wait;                  /* usec */
    bool said;                      /* that there is none */
    bool refused;                   /* its name, which was said */
};

static const sd_bus_vtable *find_method(const char *name)
{
    for (const sd_bus_vtable *row = control_vtable; row->type != _SD_BUS_VTABLE_END; row++)
        if (row->type == _SD_BUS_VTABLE_METHOD && strcmp(row->x.method.member, name) == 0)
            return row;
    return NULL;
}

static int run_method(sd_bus_message *call, struct connection *connection, sd_bus_error *error)
{
    const char *member = sd_bus_message_get_member(call);
    const sd_bus_vtable *method = member ? find_method(member) : NULL;

    if (!method)
        return sd_bus_error_set(error, SD_BUS_ERROR_UNKNOWN_METHOD, "No such method");
    if (!sd_bus_message_has_signature(call,
                                      method->x.method.signature ? method->x.method.signature : ""))
        return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "Invalid arguments");
    return method->x.method.handler(call, connection, error);
}

/* The work of sd-bus for a vtable, now that the caller is known. */
static void run_call(void *userdata, sd_bus_message *call, const struct caller *caller)
{
    struct control_bus *bus = userdata;
    const struct control *control = bus->control;
    struct connection *connection = &bus->connection;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    int r;

    connection->peer.uid = caller->uid;
    connection->may_change = control_is_owner(caller->uid);
    connection->may_read = control->public || connection->may_change || caller->in_group;
    if (sd_bus_message_is_method_call(call, CONTROL_INTERFACE, NULL))
        r = run_method(call, connection, &error);
    else
        r = control_properties_call(call, connection, &error);
    /* The next caller is another one. */
    connection->may_read = connection->may_change = false;
    if (r < 0)
        (void)sd_bus_reply_method_errno(call, r, &error);
    sd_bus_error_free(&error);
}

/* Is it one that depends on who calls? */
static bool is_ours(sd_bus_message *message)
{
    const char *path = sd_bus_message_get_path(message);

    return path && strcmp(path, CONTROL_OBJECT_PATH) == 0 &&
           (sd_bus_message_is_method_call(message, CONTROL_INTERFACE, NULL) ||
            sd_bus_message_is_method_call(message, "org.freedesktop.DBus.Properties", NULL));
}

static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    struct control_bus *bus = userdata;

    return is_ours(message) ? callers_take(bus->callers, bus->connection.bus, message) : 0;
}

/* ---- coming and going ------------------------------------------------------------------------ */

static void disconnect(struct control_bus *bus)
{
    callers_forget(bus->callers);
    bus->connection.track = sd_bus_track_unref(bus->connection.track);
    if (bus->connection.bus)
        sd_bus_detach_event(bus->connection.bus);
    bus->connection.bus = sd_bus_close_unref(bus->connection.bus);
}

static int on_again(sd_event_source *source, uint64_t usec, void *userdata);

static int again_later(struct control_bus *bus)
{
    uint64_t wait = bus->wait;

    bus->again = sd_event_source_disable_unref(bus->again);
    bus->wait = wait * 2 < AGAIN_MAX_USEC ? wait * 2 : AGAIN_MAX_USEC;
    return sd_event_add_time_relative(bus->control->event, &bus->again, CLOCK_MONOTONIC, wait, 0,
                                      on_again, bus);
}

/* The bus lets nobody have the name until it has read the policy again that names the service's
 * user: a package's files are there before that user is. */
static void name_refused(struct control_bus *bus, const char *why)
{
    int r = again_later(bus);

    if (r < 0)
        log_warning(r, "Cannot ask for the name " CONTROL_BUS_NAME " again: %m");
    else if (!bus->refused)
        log_warning(0, "Not on the system bus: the name " CONTROL_BUS_NAME " is refused (%s). "
                       "It is asked for again, once a minute in the end.", why);
    bus->refused = true;
}

static int on_name(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct control_bus *bus = userdata;
    const sd_bus_error *refused = sd_bus_message_get_error(reply);
    uint32_t result = 0;

    /* The bus ended before it answered: on_disconnected() is called, too. */
    if (sd_bus_error_has_names(refused, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_DISCONNECTED))
        return 0;
    if (refused)
        name_refused(bus, refused->message ? refused->message : refused->name);
    else if (sd_bus_message_read(reply, "u", &result) < 0 || (result != 1 && result != 4))
        name_refused(bus, "another process has it");
    else {
        log_full(bus->refused ? LOG_NOTICE : LOG_DEBUG, 0,
                 "On the system bus as " CONTROL_BUS_NAME ".");
        bus->wait = AGAIN_USEC;     /* the next time the bus goes, it may be back soon */
        bus->said = bus->refused = false;
    }
    return 0;
}

/* The bus ended, or refused us. Not freed here: sd-bus still uses it. */
static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    struct control_bus *bus = userdata;

    if (!bus->said)
        log_debug(0, "The system bus is gone; coming back when it does.");
    bus->said = true;
    return again_later(bus);
}

static int connect_bus(struct control_bus *bus)
{
    sd_bus *system;
    int r = sd_bus_open_system_with_description(&bus->connection.bus, "control-bus");

    if (r < 0)
        return r;
    system = bus->connection.bus;
    r = sd_bus_attach_event(system, bus->control->event, CONTROL_READERS_PRIORITY);
    if (r >= 0)
        r = sd_bus_match_signal_async(system, NULL, "org.freedesktop.DBus.Local",
                                      "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local",
                                      "Disconnected", on_disconnected, NULL, bus);
    if (r >= 0)
        r = sd_bus_track_new(system, &bus->connection.track, NULL, NULL);
    if (r >= 0)
        r = sd_bus_add_filter(system, NULL, on_message, bus);
    /* The filter takes the calls; this is what introspection shows. */
    if (r >= 0)
        r = sd_bus_add_object_vtable(system, NULL, CONTROL_OBJECT_PATH, CONTROL_INTERFACE,
                                     control_vtable, &bus->connection);
    if (r >= 0)
        r = sd_bus_request_name_async(system, NULL, CONTROL_BUS_NAME, 0, on_name, bus);
    return r;
}

static int try(struct control_bus *bus)
{
    int r = connect_bus(bus);

    if (r >= 0)
        return 0;
    if (!bus->said)
        log_debug(r, "Not on the system bus: %m");
    bus->said = true;
    disconnect(bus);
    return again_later(bus);
}

static int on_again(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct control_bus *bus = userdata;
    int r;

    disconnect(bus);
    r = try(bus);
    if (r < 0)
        log_warning(r, "Not on the system bus any more: %m");
    return 0;
}

struct control_bus *control_bus_free(struct control_bus *bus)
{
    if (!bus)
        return NULL;
    sd_event_source_disable_unref(bus->again);
    disconnect(bus);
    late_calls_leave(&bus->connection);
    callers_free(bus->callers);
    free(bus);
    return NULL;
}

int control_bus_new(struct control *control, struct control_bus **ret_bus)
{
    struct control_bus *bus = calloc(1, sizeof(*bus));
    int r;

    if (!bus)
        return -ENOMEM;
    bus->control = bus->connection.control = control;
    bus->wait = AGAIN_USEC;
    r = callers_new(control, run_call, bus, &bus->callers);
    if (r == 0)
        r = try(bus);
    if (r < 0) {
        control_bus_free(bus);
        return r;
    }
    *ret_bus = bus;
    return 0;
}

/* ---- telling --------------------------------------------------------------------------------- */

sd_bus *control_bus_get(const struct control_bus *bus)
{
    return bus->connection.bus;
}

bool control_bus_is_there(const struct control_bus *bus)
{
    return bus->connection.bus && sd_bus_is_ready(bus->connection.bus) > 0;
}

bool control_bus_is_heard(const struct control_bus *bus)
{
    return bus->connection.track && sd_bus_track_count(bus->connection.track) > 0;
}

int control_bus_tell(struct control_bus *bus, sd_bus_message *signal)
{
    sd_bus_track *track = bus->connection.track;
    int r = sd_bus_message_seal(signal, 1, 0);      /* only then it can be copied */

    if (r < 0)
        return r;
    /* To each that subscribed, as a broadcast could be read by everybody. */
    for (const char *name = sd_bus_track_first(track); name; name = sd_bus_track_next(track)) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *copy = NULL;
        int k = sd_bus_message_new_signal(bus->connection.bus, &copy,
                                          sd_bus_message_get_path(signal),
                                          sd_bus_message_get_interface(signal),
                                          sd_bus_message_get_member(signal));

        if (k >= 0)
            k = sd_bus_message_rewind(signal, 1);
        if (k >= 0)
            k = sd_bus_message_copy(copy, signal, 1);
        if (k >= 0)
            k = sd_bus_message_set_destination(copy, name);
        if (k >= 0)
            k = sd_bus_send(bus->connection.bus, copy, NULL);
        if (k < 0 && r == 0)
            r = k;
    }
    return r;
}
