/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control interface on the system bus: the same methods, with the bus's word for who the caller is. */
#include <errno.h>
#include <string.h>

#include "daemon/control-internal.h"
#include "daemon/log.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

#define LOOKUPS_MAX 64          /* callers that the bus is being asked about */

struct control_bus {
    struct control *control;
    struct connection connection;   /* stands for whoever calls: peer is set before each call */
    unsigned n_lookups;
};

/* A call that waits for its caller's credentials. */
struct lookup {
    struct control_bus *bus;
    sd_bus_message *call;
    sd_bus_slot *slot;
};

static void lookup_free(void *userdata)
{
    struct lookup *lookup = userdata;

    lookup->bus->n_lookups--;
    sd_bus_message_unref(lookup->call);
    free(lookup);
}

/* What the bus says of a caller, of the time when it connected. */
struct caller {
    bool known;
    uid_t uid;
    bool in_group;              /* of the control group */
};

static int read_uid(sd_bus_message *reply, struct caller *caller)
{
    uint32_t uid;
    int r = sd_bus_message_read(reply, "v", "u", &uid);

    if (r > 0) {
        caller->known = true;
        caller->uid = uid;
    }
    return r;
}

static int read_groups(sd_bus_message *reply, gid_t group, struct caller *caller)
{
    const void *groups;
    size_t size;
    int r = sd_bus_message_enter_container(reply, 'v', "au");

    if (r > 0)
        r = sd_bus_message_read_array(reply, 'u', &groups, &size);
    for (size_t i = 0; r > 0 && i < size / sizeof(uint32_t); i++)
        if (((const uint32_t *)groups)[i] == group)
            caller->in_group = true;
    return r < 0 ? r : sd_bus_message_exit_container(reply);
}

/* The answer of GetConnectionCredentials. A bus that tells no groups has no readers by group. */
static int caller_read(sd_bus_message *reply, const struct control *control, struct caller *ret_caller)
{
    struct caller caller = { .known = false };
    int r = sd_bus_message_enter_container(reply, 'a', "{sv}");

    while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
        const char *key;

        r = sd_bus_message_read(reply, "s", &key);
        if (r > 0 && strcmp(key, "UnixUserID") == 0)
            r = read_uid(reply, &caller);
        else if (r > 0 && control->has_group && strcmp(key, "UnixGroupIDs") == 0)
            r = read_groups(reply, control->group, &caller);
        else if (r > 0)
            r = sd_bus_message_skip(reply, "v");
        if (r >= 0)
            r = sd_bus_message_exit_container(reply);
    }
    if (r < 0)
        return r;
    *ret_caller = caller;
    return caller.known ? 0 : -ENODATA;
}

static const sd_bus_vtable *find_method(const char *name)
{
    for (const sd_bus_vtable *row = control_vtable; row->type != _SD_BUS_VTABLE_END; row++)
        if (row->type == _SD_BUS_VTABLE_METHOD && strcmp(row->x.method.member, name) == 0)
            return row;
    return NULL;
}

/* What sd-bus does for a vtable, now that it is known who calls. */
static void run_call(struct control_bus *bus, sd_bus_message *call, const struct caller *caller)
{
    const struct control *control = bus->control;
    const char *member = sd_bus_message_get_member(call);
    const sd_bus_vtable *method = member ? find_method(member) : NULL;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    int r;

    bus->connection.peer.uid = caller->uid;
    bus->connection.may_change = control_is_owner(caller->uid);
    bus->connection.may_read = control->public || bus->connection.may_change || caller->in_group;
    if (!method)
        r = sd_bus_error_setf(&error, SD_BUS_ERROR_UNKNOWN_METHOD, "No such method");
    else if (!sd_bus_message_has_signature(call, method->x.method.signature ? method->x.method.signature : ""))
        r = sd_bus_error_setf(&error, SD_BUS_ERROR_INVALID_ARGS, "Invalid arguments");
    else
        r = method->x.method.handler(call, &bus->connection, &error);
    if (r < 0)
        (void)sd_bus_reply_method_errno(call, r, &error);
    sd_bus_error_free(&error);
}

static int on_credentials(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct lookup *lookup = userdata;
    struct caller caller;

    /* An error: the caller is gone, so there is nobody to answer. */
    if (!sd_bus_message_is_method_error(reply, NULL) &&
        caller_read(reply, lookup->bus->control, &caller) >= 0)
        run_call(lookup->bus, lookup->call, &caller);
    sd_bus_slot_unref(lookup->slot);
    return 0;
}

/* Asks for the caller of each call of ours, without waiting: the bus may be slow, the loop must not be. */
static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    struct control_bus *bus = userdata;
    struct lookup *lookup;
    int r;

    if (!sd_bus_message_is_method_call(message, CONTROL_INTERFACE, NULL))
        return 0;
    if (bus->n_lookups >= LOOKUPS_MAX)
        return sd_bus_reply_method_errorf(message, CONTROL_ERROR_BUSY, "Too many calls at once");
    lookup = calloc(1, sizeof(*lookup));
    if (!lookup)
        return -ENOMEM;
    lookup->bus = bus;
    r = sd_bus_call_method_async(bus->connection.bus, &lookup->slot, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                 "org.freedesktop.DBus", "GetConnectionCredentials", on_credentials, lookup, "s",
                                 sd_bus_message_get_sender(message));
    if (r < 0) {
        free(lookup);
        return r;
    }
    lookup->call = sd_bus_message_ref(message);
    bus->n_lookups++;
    (void)sd_bus_slot_set_destroy_callback(lookup->slot, lookup_free);
    /* With the bus it goes too, when no answer comes any more. */
    (void)sd_bus_slot_set_floating(lookup->slot, 1);
    return 1;
}

static int on_name(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    const sd_bus_error *refused = sd_bus_message_get_error(reply);
    uint32_t result = 0;

    if (refused)
        log_debug(0, "The name " CONTROL_BUS_NAME " cannot be had on the system bus.");
    else if (sd_bus_message_read(reply, "u", &result) < 0 || (result != 1 && result != 4))
        log_debug(0, "Another process has the name " CONTROL_BUS_NAME " on the system bus.");
    else
        log_debug(0, "On the system bus as " CONTROL_BUS_NAME ".");
    return 0;
}

struct control_bus *control_bus_free(struct control_bus *bus)
{
    if (!bus)
        return NULL;
    sd_bus_track_unref(bus->connection.track);
    if (bus->connection.bus)
        sd_bus_detach_event(bus->connection.bus);
    sd_bus_close_unref(bus->connection.bus);
    free(bus);
    return NULL;
}

int control_bus_new(struct control *control, struct control_bus **ret_bus)
{
    struct control_bus *bus = calloc(1, sizeof(*bus));
    sd_bus *system = NULL;
    int r;

    if (!bus)
        return -ENOMEM;
    bus->control = bus->connection.control = control;
    r = sd_bus_open_system_with_description(&bus->connection.bus, "control-bus");
    system = bus->connection.bus;
    if (r >= 0)
        r = sd_bus_attach_event(system, control->event, SD_EVENT_PRIORITY_NORMAL);
    if (r >= 0)
        r = sd_bus_track_new(system, &bus->connection.track, NULL, NULL);
    if (r >= 0)
        r = sd_bus_add_filter(system, NULL, on_message, bus);
    /* The filter takes the calls; this is what introspection shows. */
    if (r >= 0)
        r = sd_bus_add_object_vtable(system, NULL, CONTROL_OBJECT_PATH, CONTROL_INTERFACE, control_vtable,
                                     &bus->connection);
    if (r >= 0)
        r = sd_bus_request_name_async(system, NULL, CONTROL_BUS_NAME, 0, on_name, bus);
    if (r < 0) {
        control_bus_free(bus);
        return r;
    }
    *ret_bus = bus;
    return 0;
}

int control_bus_tell(struct control_bus *bus, json_object *entry, const char *event)
{
    sd_bus_track *track = bus->connection.track;
    int r = 0;

    /* To each that subscribed, as a broadcast could be read by everybody. */
    for (const char *name = sd_bus_track_first(track); name; name = sd_bus_track_next(track)) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        int k = control_signal_new(bus->connection.bus, entry, event, &message);

        if (k >= 0)
            k = sd_bus_message_set_destination(message, name);
        if (k >= 0)
            k = sd_bus_send(bus->connection.bus, message, NULL);
        if (k < 0 && r == 0)
            r = k;
    }
    return r;
}
