/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's control interface from the caller's side. Every function prints its own errors. */
#pragma once

#include "ctl/ctl.h"

/* The path of the daemon's socket: --socket, $QCAUDIT_SOCKET, the system's (for root, or where it
 * exists), else $XDG_RUNTIME_DIR's. malloc'd. */
char *client_socket(const struct ctl *ctl);
/* A call of a method of the interface; connects first. */
int client_call_new(struct ctl *ctl, const char *method, sd_bus_message **ret_call);
/* Sends it and waits for the answer. quiet_error: the D-Bus error that is left to the caller, as
 * -ENOENT unprinted; may be NULL. */
int client_call(struct ctl *ctl, sd_bus_message *call, const char *quiet_error,
                sd_bus_message **ret_reply);
/* A call whose answer is one entry, or rows. */
int client_call_json(struct ctl *ctl, sd_bus_message *call, const char *quiet_error, bool rows,
                     json_object **ret_value);
/* The rows that answer a question without arguments. */
int client_rows(struct ctl *ctl, const char *question, json_object **ret_rows);

/* Of a question that takes a filter, or nothing (NULL). */
int client_entry(struct ctl *ctl, const char *question, json_object *filter,
                 json_object **ret_entry);
/* All pages of a list, or the first ctl->lines rows of it. */
int client_list(struct ctl *ctl, const char *method, json_object *filter, json_object **ret_rows);
/* GetImage and GetChain: -ENOENT, unprinted, when the daemon does not know it. */
int client_image(struct ctl *ctl, const char *path, json_object **ret_entry);
int client_chain(struct ctl *ctl, const char *path, json_object **ret_rows);
int client_finding(struct ctl *ctl, int64_t id, json_object **ret_entry);
int client_list_of_path(struct ctl *ctl, const char *question, const char *path,
                        json_object **ret_rows);
