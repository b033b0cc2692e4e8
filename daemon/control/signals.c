/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signals: what changed, to those who asked to be told, and that it did, to all. */
#include <errno.h>

#include "daemon/control/internal.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

#define QUEUED_SIGNALS_MAX 256          /* of a client that does not read */

/* make() is called once per connection, as a message belongs to its bus. */
static int tell(struct control *control,
                int (*make)(sd_bus *bus, void *userdata, sd_bus_message **ret_message),
                void *userdata)
{
    struct connection *each;
    int r = 0, k;

    LIST_FOREACH(each, &control->connections, entry) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;

        if (!each->subscribed || each->doomed || connection_is_full(each, QUEUED_SIGNALS_MAX))
            continue;
        k = make(each->bus, userdata, &message);
        if (k >= 0 && message)
            k = sd_bus_send(each->bus, message, NULL);
        r = r < 0 ? r : k;
    }
    if (control->bus && control_bus_is_heard(control->bus)) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;

        k = make(control_bus_get(control->bus), userdata, &message);
        if (k >= 0 && message)
            k = control_bus_tell(control->bus, message);
        r = r < 0 ? r : k;
    }
    return r < 0 ? r : 0;
}

struct change {
    json_object *entry;
    const char *event;
};

static int make_finding_changed(sd_bus *bus, void *userdata, sd_bus_message **ret_message)
{
    const struct change *change = userdata;
    sd_bus_message *message = NULL;
    int r = sd_bus_message_new_signal(bus, &message, CONTROL_OBJECT_PATH, CONTROL_INTERFACE,
                                      "FindingChanged");

    if (r >= 0)
        r = control_append_entry(message, change->entry);
    if (r >= 0)
        r = sd_bus_message_append(message, "s", change->event);
    if (r < 0) {
        sd_bus_message_unref(message);
        return r;
    }
    *ret_message = message;
    return 0;
}

int control_finding_changed(struct control *control, json_object *entry, const char *event)
{
    return tell(control, make_finding_changed, &(struct change){ .entry = entry, .event = event });
}

static int make_properties_changed(sd_bus *bus, void *userdata, sd_bus_message **ret_message)
{
    const struct control *control = userdata;

    return control_properties_signal_new(bus, control->told, control->status, true, ret_message);
}

/* Listeners on the system bus learn that something changed; and what, where everybody may ask for
 * it. Callers of Subscribe may hear it, too: their signals come after it, as the values would be
 * taken for old ones otherwise. */
static int broadcast_properties(struct control *control)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *signal = NULL;
    sd_bus *bus = control_bus_get(control->bus);
    int r = control_properties_signal_new(bus, control->told, control->status, control->public,
                                          &signal);

    return r >= 0 && signal ? sd_bus_send(bus, signal, NULL) : r;
}

static bool anybody_listens(const struct control *control)
{
    const struct connection *each;

    LIST_FOREACH(each, &control->connections, entry)
        if (each->subscribed && !each->doomed)
            return true;
    return control->bus && control_bus_is_there(control->bus);
}

int control_status_changed(struct control *control)
{
    int r;

    if (!anybody_listens(control)) {
        json_object_put(control->told);
        control->told = NULL;
        return 0;
    }
    r = control_status_get(control, &(json_object *){ NULL });
    if (r >= 0 && control->bus && control_bus_is_there(control->bus))
        r = broadcast_properties(control);
    if (r >= 0)
        r = tell(control, make_properties_changed, control);
    if (r < 0)
        return r;
    json_object_put(control->told);
    control->told = json_object_get(control->status);
    return 0;
}
