/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hands messages, one at a time, to the service that runs the program of alerts.exec. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <systemd/sd-event.h>

struct exec_channel;

/* Called in the loop: error 0 when the program took the message, else -errno. said (never NULL,
 * escaped) is what the program printed, or with an error why it failed. */
typedef void (*exec_done_fn)(void *userdata, int error, const char *said);

/* path: the socket of that service, qcaudit-notify. Copied. */
int exec_channel_new(sd_event *event, const char *path, struct exec_channel **ret_channel);
/* Leaves the message under way; done is not called any more. Takes NULL, returns NULL. */
struct exec_channel *exec_channel_free(struct exec_channel *channel);
bool exec_channel_is_busy(const struct exec_channel *channel);
/* message is serialized before this returns; done is called once, after that. -EBUSY while another
 * one is under way. A service that cannot be reached is an error for done. */
int exec_channel_send(struct exec_channel *channel, json_object *message, exec_done_fn done,
                      void *userdata);
