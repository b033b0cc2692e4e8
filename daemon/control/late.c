/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls that are answered later: each connection has one at a time. */
#include <stdlib.h>

#include "daemon/control/internal.h"

struct late_call *late_call_new(sd_bus_message *call, struct connection *connection)
{
    struct late_call *late = calloc(1, sizeof(*late));

    if (!late)
        return NULL;
    late->connection = connection;
    late->call = sd_bus_message_ref(call);
    LIST_INSERT_HEAD(&connection->late, late, link);
    if (connection->gate)
        gate_hold(connection->gate, true);
    return late;
}

sd_bus_message *late_call_end(struct late_call *late)
{
    struct connection *connection = late->connection;
    sd_bus_message *call = late->call;

    if (connection) {
        LIST_REMOVE(late, link);
        if (connection->gate && LIST_EMPTY(&connection->late))
            gate_hold(connection->gate, false);
    }
    asked_done(&late->asked);
    free(late);
    return call;
}

void late_calls_leave(struct connection *connection)
{
    struct late_call *late;

    while ((late = LIST_FIRST(&connection->late))) {
        LIST_REMOVE(late, link);
        late->connection = NULL;
    }
}
