/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Entries of the control interface between JSON objects and D-Bus a{sv}, for both of its ends. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <systemd/sd-bus.h>

/* True for keys whose strings are raw bytes (paths, names found in images): they travel as ay,
 * without a final NUL. Other strings travel as s, and as ay only if they are no valid UTF-8. */
bool control_is_bytes(const char *key);

/* JSON object -> a{sv}. Integers travel as t, negative ones as x; null members are left out.
 * Errors: -EINVAL for what is no object, sd-bus's else (the message is unusable then). */
int control_append_entry(sd_bus_message *message, json_object *entry);
/* JSON array of objects -> aa{sv}. */
int control_append_rows(sd_bus_message *message, json_object *rows);

/* The way back: any basic type, ay (to a string, which then may hold any bytes), arrays, a{sv}.
 * -EBADMSG for other types, for more than 16 levels, or for more than 1,000,000 values in one
 * message. */
int control_read_entry(sd_bus_message *message, json_object **ret_entry);
int control_read_rows(sd_bus_message *message, json_object **ret_rows);
