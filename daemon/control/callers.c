/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Callers on the system bus: what the bus says of each is kept while it is in use, as one question
 * for each call would cost more than most calls; and nobody has others wait for long. */
#include "daemon/control/callers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/internal.h"
#include "daemon/control/share.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

#define SENDERS_MAX 128         /* that are kept in mind */
#define CALLS_MAX 16            /* of each, that wait */

struct sender {
    struct callers *callers;
    LIST_ENTRY(sender) entry;
    char *name;                 /* unique on its bus, and not used again */
    struct caller caller;
    gid_t group;                /* the control group, when it was asked about */
    bool has_group;
    sd_bus_slot *slot;          /* while the bus is asked */
    sd_bus_message *calls[CALLS_MAX];   /* the oldest first */
    size_t n_calls;
};

struct callers {
    struct control *control;
    void (*run)(void *userdata, sd_bus_message *call, const struct caller *caller);
    void *userdata;
    LIST_HEAD(, sender) senders;        /* the one that called last first */
    size_t n_senders;
    struct shares shares;
    sd_event_source *timer;     /* while some wait for their turn */
};

static void sender_free(struct sender *sender)
{
    LIST_REMOVE(sender, entry);
    sender->callers->n_senders--;
    for (size_t i = 0; i < sender->n_calls; i++)
        sd_bus_message_unref(sender->calls[i]);
    sd_bus_slot_unref(sender->slot);
    free(sender->name);
    free(sender);
}

/* ---- who it is ------------------------------------------------------------------------------- */

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
static int caller_read(sd_bus_message *reply, const struct control *control,
                       struct caller *ret_caller)
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

/* ---- whose turn it is ------------------------------------------------------------------------ */

static uint64_t monotonic(const struct callers *callers)
{
    uint64_t now = 0;

    (void)sd_event_now(callers->control->event, CLOCK_MONOTONIC, &now);
    return now;
}

static bool sender_may_run(struct sender *sender, uint64_t *ret_wait)
{
    struct callers *callers = sender->callers;

    return control_is_owner(sender->caller.uid) ||
           share_take(&callers->shares, sender->caller.uid, monotonic(callers), ret_wait);
}

static void sender_run(struct sender *sender, sd_bus_message *call)
{
    sender->callers->run(sender->callers->userdata, call, &sender->caller);
}

static int on_turn(sd_event_source *source, uint64_t usec, void *userdata);

static void turn_after(struct callers *callers, uint64_t wait)
{
    uint64_t at = monotonic(callers) + wait;
    int r;

    if (callers->timer) {
        r = sd_event_source_set_time(callers->timer, at);
        if (r >= 0)
            (void)sd_event_source_set_enabled(callers->timer, SD_EVENT_ONESHOT);
        return;
    }
    /* Without it, they wait until the next call comes. */
    if (sd_event_add_time(callers->control->event, &callers->timer, CLOCK_MONOTONIC, at, 1000,
                          on_turn, callers) >= 0)
        (void)sd_event_source_set_priority(callers->timer, CONTROL_READERS_PRIORITY);
}

/* One of each that waits, as far as their shares go. */
static int on_turn(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct callers *callers = userdata;
    struct sender *sender;
    uint64_t least = UINT64_MAX;

    LIST_FOREACH(sender, &callers->senders, entry) {
        uint64_t wait = 0;

        if (sender->n_calls == 0 || !sender->caller.known)
            continue;
        if (sender_may_run(sender, &wait)) {
            _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = sender->calls[0];

            memmove(sender->calls, sender->calls + 1,
                    --sender->n_calls * sizeof(*sender->calls));
            sender_run(sender, call);
        }
        if (sender->n_calls > 0)
            least = wait < least ? wait : least;
    }
    if (least != UINT64_MAX)
        turn_after(callers, least);
    return 0;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static int on_credentials(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct sender *sender = userdata;
    struct caller caller;

    sender->slot = sd_bus_slot_unref(sender->slot);
    /* An error: the caller is gone, so there is nobody to answer. */
    if (sd_bus_message_is_method_error(reply, NULL) ||
        caller_read(reply, sender->callers->control, &caller) < 0) {
        sender_free(sender);
        return 0;
    }
    sender->caller = caller;
    if (sender->n_calls > 0)
        turn_after(sender->callers, 0);
    return 0;
}

/* Room for one more: the one that called longest ago, and waits for nothing, is forgotten. */
static bool make_room(struct callers *callers)
{
    struct sender *sender, *oldest = NULL;

    if (callers->n_senders < SENDERS_MAX)
        return true;
    LIST_FOREACH(sender, &callers->senders, entry)
        if (sender->n_calls == 0 && !sender->slot)
            oldest = sender;
    if (oldest)
        sender_free(oldest);
    return oldest;
}

static int sender_get(struct callers *callers, const char *name, struct sender **ret_sender)
{
    struct sender *sender;

    LIST_FOREACH(sender, &callers->senders, entry)
        if (strcmp(sender->name, name) == 0) {
            LIST_REMOVE(sender, entry);
            LIST_INSERT_HEAD(&callers->senders, sender, entry);
            *ret_sender = sender;
            return 0;
        }
    if (!make_room(callers))
        return -EBUSY;
    sender = calloc(1, sizeof(*sender));
    if (sender)
        sender->name = strdup(name);
    if (!sender || !sender->name) {
        free(sender);
        return -ENOMEM;
    }
    sender->callers = callers;
    LIST_INSERT_HEAD(&callers->senders, sender, entry);
    callers->n_senders++;
    *ret_sender = sender;
    return 0;
}

/* Without waiting: the bus may be slow, the loop must not be. */
static int ask_who(struct sender *sender, sd_bus *bus)
{
    const struct control *control = sender->callers->control;

    sender->caller = (struct caller){ .known = false };
    sender->has_group = control->has_group;
    sender->group = control->group;
    return sd_bus_call_method_async(bus, &sender->slot, "org.freedesktop.DBus",
                                    "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                    "GetConnectionCredentials", on_credentials, sender, "s",
                                    sender->name);
}

static bool is_known(const struct sender *sender)
{
    const struct control *control = sender->callers->control;

    return sender->caller.known && sender->has_group == control->has_group &&
           (!control->has_group || sender->group == control->group);
}

int callers_take(struct callers *callers, sd_bus *bus, sd_bus_message *call)
{
    const char *name = sd_bus_message_get_sender(call);
    struct sender *sender;
    uint64_t wait = 0;
    int r;

    if (!name)
        return 0;
    r = sender_get(callers, name, &sender);
    if (r == -EBUSY || (r >= 0 && sender->n_calls == CALLS_MAX))
        return sd_bus_reply_method_errorf(call, CONTROL_ERROR_BUSY, "Too many calls at once");
    if (r < 0)
        return r;
    if (!sender->slot && !is_known(sender)) {
        r = ask_who(sender, bus);
        if (r < 0) {
            sender_free(sender);
            return r;
        }
    }
    if (!sender->slot && sender->n_calls == 0 && sender_may_run(sender, &wait)) {
        sender_run(sender, call);
        return 1;
    }
    sender->calls[sender->n_calls++] = sd_bus_message_ref(call);
    if (!sender->slot)
        turn_after(callers, wait);
    return 1;
}

void callers_forget(struct callers *callers)
{
    while (callers && !LIST_EMPTY(&callers->senders))
        sender_free(LIST_FIRST(&callers->senders));
}

int callers_new(struct control *control,
                void (*run)(void *userdata, sd_bus_message *call, const struct caller *caller),
                void *userdata, struct callers **ret_callers)
{
    struct callers *callers = calloc(1, sizeof(*callers));

    if (!callers)
        return -ENOMEM;
    callers->control = control;
    callers->run = run;
    callers->userdata = userdata;
    *ret_callers = callers;
    return 0;
}

struct callers *callers_free(struct callers *callers)
{
    if (!callers)
        return NULL;
    callers_forget(callers);
    sd_event_source_disable_unref(callers->timer);
    free(callers);
    return NULL;
}
