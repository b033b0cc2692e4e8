/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control interface: one sd-bus vtable on the private socket and, where there is one, on the
 * system bus. */
#pragma once

#include <sys/types.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "daemon/config/config.h"
#include "daemon/control/question.h"

/* Rows and entries are JSON; strings under the keys of control_is_bytes() are raw bytes and travel
 * as ay. The answer to a question that takes a while: takes the rows, NULL with an error. */
typedef void (*control_rows_fn)(void *reply, int error, json_object *rows, const char *next);

/* The answer to what takes a while and has none but that it is done, or why not: message may be
 * NULL. */
typedef void (*control_done_fn)(void *reply, int error, const char *message);

/* The manager's side of the interface. Functions return -ENOENT for an unknown thing, -EINVAL with
 * a text in *ret_message (malloc'd) for a bad argument. */
struct control_ops {
    int (*status)(void *userdata, json_object **ret_entry);
    int (*scan_state)(void *userdata, uint64_t ticket, json_object **ret_entry);
    /* Answers a question, perhaps before it returns: some answers depend on files that are looked
     * at first. asked is there until then. An entry comes as rows do. */
    int (*ask)(void *userdata, const struct question *question, const struct asked *asked,
               control_rows_fn reply, void *reply_userdata);
    /* answered when it lies in the database, or with why it does not; also acknowledge(),
     * mute() and unmute() */
    int (*accept)(void *userdata, const char *path, const char *by, const char *reason,
                  control_done_fn reply, void *reply_userdata, char **ret_message);
    int (*scan)(void *userdata, char **paths, bool scrub, uint64_t *ret_ticket, char **ret_message);
    int (*acknowledge)(void *userdata, int64_t id, const char *by, const char *reason,
                       uint64_t until, control_done_fn reply, void *reply_userdata);
    /* Takes the mute if it returns 0, and sets the number before it answers. */
    int (*mute)(void *userdata, struct mute *mute, int64_t *ret_id, control_done_fn reply,
                void *reply_userdata, char **ret_message);
    int (*unmute)(void *userdata, int64_t id, const char *by, control_done_fn reply,
                  void *reply_userdata);
    /* "": each channel; the rows are the callee's */
    int (*test_alert)(void *userdata, const char *channel,
                      void (*reply)(void *reply_userdata, int error, json_object *rows),
                      void *reply_userdata);
    int (*pause)(void *userdata, const char *datastore, uint64_t until, control_done_fn reply,
                 void *reply_userdata);
    /* also ends whoever has a file open there; answered when they are gone */
    int (*release)(void *userdata, const char *datastore, uint64_t until, control_done_fn reply,
                   void *reply_userdata);
    int (*resume)(void *userdata, const char *datastore, control_done_fn reply,
                  void *reply_userdata);
    int (*reload)(void *userdata, char **ret_message);
};

/* The members that introspection shows. */
extern const sd_bus_vtable control_vtable[];

struct control;

/* Listens on runtime_directory/control (or takes the socket systemd passed). */
int control_new(sd_event *event, const char *runtime_directory, const struct config *config,
                const struct control_ops *ops, void *userdata, struct control **ret_control);
struct control *control_free(struct control *control);
/* Of a daemon that cannot start: closes the connections that wait at the socket that systemd
 * passed. For each that stays there, systemd would start the service again. */
void control_turn_away(void);
void control_set_config(struct control *control, const struct config *config);
/* Signals FindingChanged to whoever listens and may read. */
int control_finding_changed(struct control *control, json_object *entry, const char *event);
/* Signals PropertiesChanged likewise, if any property did. */
int control_status_changed(struct control *control);
