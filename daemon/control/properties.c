/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The status as properties: read as GetStatus is, by whoever may, and signalled when they
 * change. */
#include <errno.h>
#include <string.h>

#include "daemon/control/internal.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

#define PROPERTIES_INTERFACE "org.freedesktop.DBus.Properties"

/* Each property's key in the status; 0 where the status lacks it. */
static const struct {
    const char *name, *key;
} members[] = {
    { "Version", "version" }, { "Started", "started" }, { "LastPass", "last-pass" },
    { "NextPass", "next-pass" },
    { "PassStarted", "pass-started" }, { "PassImagesTotal", "pass-images-total" },
    { "PassImagesDone", "pass-images-done" }, { "WorkersRunning", "workers-running" },
    { "Images", "images" },
    { "ImagesAudited", "images-audited" }, { "ImagesUnreadable", "images-unreadable" },
    { "ImagesSize", "images-size" }, { "ImagesAllocated", "images-allocated" },
    { "Chains", "chains" },
    { "DepthMax", "depth-max" }, { "FindingsOpen", "open" },
    { "FindingsAcknowledged", "acknowledged" }, { "FindingsMuted", "muted" },
};

static json_object *member_of(json_object *status, const char *property)
{
    json_object *value = NULL;

    for (size_t i = 0; i < ELEMENTSOF(members); i++)
        if (strcmp(members[i].name, property) == 0)
            (void)json_object_object_get_ex(status, members[i].key, &value);
    return value;
}

/* By the property's type; what is not there is empty, or 0. */
static int append_value(sd_bus_message *message, const char *type, json_object *value)
{
    switch (*type) {
    case 's':
        return sd_bus_message_append(message, "s", value ? json_object_get_string(value) : "");
    case 't':
        return sd_bus_message_append(message, "t",
                                     value ? json_object_get_uint64(value) : UINT64_C(0));
    default:
        return value ? control_append_entry(message, value)
                     : sd_bus_message_append(message, "a{sv}", 0);
    }
}

static const sd_bus_vtable *find_property(const char *name)
{
    for (const sd_bus_vtable *row = control_vtable; row->type != _SD_BUS_VTABLE_END; row++)
        if (row->type == _SD_BUS_VTABLE_PROPERTY && strcmp(row->x.property.member, name) == 0)
            return row;
    return NULL;
}

static int status_for(struct connection *connection, sd_bus_error *error, json_object **ret_status)
{
    int r;

    if (!connection->may_read)
        return control_denied(connection->control, error, false);
    connection_alive(connection);
    r = control_status_get(connection->control, ret_status);
    return r < 0 ? sd_bus_error_setf(error, CONTROL_ERROR_FAILED, "status: %s", strerror(-r)) : 0;
}

int control_property_get(sd_bus *bus, const char *path, const char *interface, const char *property,
                         sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    const sd_bus_vtable *row = find_property(property);
    json_object *status;
    int r;

    if (!row)
        return -ENOENT;
    r = status_for(userdata, error, &status);
    return r < 0 ? r : append_value(reply, row->x.property.signature, member_of(status, property));
}

/* ---- where sd-bus cannot ask us, as the caller is known later -------------------------------- */

static int append_variant(sd_bus_message *message, const sd_bus_vtable *row, json_object *status)
{
    const char *type = row->x.property.signature;
    int r = sd_bus_message_open_container(message, 'v', type);

    if (r >= 0)
        r = append_value(message, type, member_of(status, row->x.property.member));
    return r < 0 ? r : sd_bus_message_close_container(message);
}

/* One of {sv}. */
static int append_pair(sd_bus_message *message, const sd_bus_vtable *row, json_object *status)
{
    int r = sd_bus_message_open_container(message, 'e', "sv");

    if (r >= 0)
        r = sd_bus_message_append(message, "s", row->x.property.member);
    if (r >= 0)
        r = append_variant(message, row, status);
    return r < 0 ? r : sd_bus_message_close_container(message);
}

static int append_all(sd_bus_message *message, json_object *status)
{
    int r = sd_bus_message_open_container(message, 'a', "{sv}");

    for (const sd_bus_vtable *row = control_vtable; r >= 0 && row->type != _SD_BUS_VTABLE_END;
         row++)
        if (row->type == _SD_BUS_VTABLE_PROPERTY)
            r = append_pair(message, row, status);
    return r < 0 ? r : sd_bus_message_close_container(message);
}

int control_properties_call(sd_bus_message *call, struct connection *connection,
                            sd_bus_error *error)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    bool one = sd_bus_message_is_method_call(call, PROPERTIES_INTERFACE, "Get");
    const char *interface, *name = NULL;
    const sd_bus_vtable *row = NULL;
    json_object *status;
    int r;

    if (!one && !sd_bus_message_is_method_call(call, PROPERTIES_INTERFACE, "GetAll"))
        return sd_bus_error_set(error, SD_BUS_ERROR_PROPERTY_READ_ONLY, "No property can be set");
    if (!sd_bus_message_has_signature(call, one ? "ss" : "s"))
        return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "Invalid arguments");
    r = sd_bus_message_read(call, "s", &interface);
    if (r >= 0 && one)
        r = sd_bus_message_read(call, "s", &name);
    if (r < 0)
        return r;
    if (strcmp(interface, CONTROL_INTERFACE) != 0)
        return sd_bus_error_set(error, SD_BUS_ERROR_UNKNOWN_INTERFACE, "No such interface");
    if (one && !(row = find_property(name)))
        return sd_bus_error_set(error, SD_BUS_ERROR_UNKNOWN_PROPERTY, "No such property");
    r = status_for(connection, error, &status);
    if (r >= 0)
        r = sd_bus_message_new_method_return(call, &reply);
    if (r >= 0)
        r = one ? append_variant(reply, row, status) : append_all(reply, status);
    return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

/* ---- changes --------------------------------------------------------------------------------- */

static bool differs(const sd_bus_vtable *row, json_object *before, json_object *after)
{
    json_object *a = member_of(before, row->x.property.member),
                *b = member_of(after, row->x.property.member);

    return (row->flags & SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE) != 0 &&
           !json_object_equal(a, b);
}

static int append_changed(sd_bus_message *message, json_object *before, json_object *after)
{
    int r = sd_bus_message_open_container(message, 'a', "{sv}");

    for (const sd_bus_vtable *row = control_vtable; r >= 0 && row->type != _SD_BUS_VTABLE_END;
         row++)
        if (row->type == _SD_BUS_VTABLE_PROPERTY && differs(row, before, after))
            r = append_pair(message, row, after);
    return r < 0 ? r : sd_bus_message_close_container(message);
}

static int append_invalidated(sd_bus_message *message, json_object *before, json_object *after)
{
    int r = sd_bus_message_open_container(message, 'a', "s");

    for (const sd_bus_vtable *row = control_vtable; r >= 0 && row->type != _SD_BUS_VTABLE_END;
         row++)
        if (row->type == _SD_BUS_VTABLE_PROPERTY && differs(row, before, after))
            r = sd_bus_message_append(message, "s", row->x.property.member);
    return r < 0 ? r : sd_bus_message_close_container(message);
}

int control_properties_signal_new(sd_bus *bus, json_object *before, json_object *after, bool values,
                                  sd_bus_message **ret_signal)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
    bool any = false;
    int r = sd_bus_message_new_signal(bus, &message, CONTROL_OBJECT_PATH, PROPERTIES_INTERFACE,
                                      "PropertiesChanged");

    if (r >= 0)
        r = sd_bus_message_append(message, "s", CONTROL_INTERFACE);
    if (r >= 0)
        r = values ? append_changed(message, before, after)
                   : sd_bus_message_append(message, "a{sv}", 0);
    if (r >= 0)
        r = values ? sd_bus_message_append(message, "as", 0)
                   : append_invalidated(message, before, after);
    for (const sd_bus_vtable *row = control_vtable; row->type != _SD_BUS_VTABLE_END; row++)
        any = any || (row->type == _SD_BUS_VTABLE_PROPERTY && differs(row, before, after));
    if (r < 0)
        return r;
    *ret_signal = any ? TAKE_PTR(message) : NULL;
    return 0;
}
