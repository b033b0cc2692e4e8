/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The methods of the control interface: arguments from D-Bus, the manager's answers back, errors by
 * name. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "daemon/control/internal.h"
#include "daemon/core/strv.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

#define REASON_MAX 1000

DEFINE_CLEANUP(json_object *, json_object_put)
DEFINE_CLEANUP(struct mute *, mute_free)

/* ---- errors ------------------------------------------------------------------------------- */

int control_denied(const struct control *control, sd_bus_error *error, bool changing)
{
    if (changing)
        return sd_bus_error_set(error, CONTROL_ERROR_ACCESS_DENIED,
                                "Only root and the daemon's user may change anything");
    if (!control->group_name)
        return sd_bus_error_set(error, CONTROL_ERROR_ACCESS_DENIED,
                                "Only root and the daemon's user may read: control.group in "
                                "qcauditd.yaml can name a group that may, too");
    return sd_bus_error_setf(error, CONTROL_ERROR_ACCESS_DENIED,
                             "Only root, the daemon's user and members of group %s may read. Try: "
                             "adduser USER %s",
                             control->group_name, control->group_name);
}

/* Turns the manager's answer into an error with a name and a sentence. message may be NULL. */
static int failed(sd_bus_error *error, int r, const char *what, const char *message)
{
    if (message)
        return sd_bus_error_set(error, CONTROL_ERROR_INVALID_ARGUMENT, message);
    switch (r) {
    case -ENOENT:
        return sd_bus_error_setf(error, CONTROL_ERROR_NOT_FOUND, "No such %s is known", what);
    case -EINVAL:
        return sd_bus_error_setf(error, CONTROL_ERROR_INVALID_ARGUMENT, "Invalid argument for %s",
                                 what);
    case -EBUSY:
    case -EALREADY:
        return sd_bus_error_setf(error, CONTROL_ERROR_BUSY, "That is under way already (%s)", what);
    case -EAGAIN:
        return sd_bus_error_set(error, CONTROL_ERROR_BUSY,
                                "Too many questions wait for the database already");
    default:
        return sd_bus_error_setf(error, CONTROL_ERROR_FAILED, "%s: %s", what, strerror(-r));
    }
}

/* ---- who, and how much -------------------------------------------------------------------- */

/* The gate of every method: 0 go on, else what the caller returns. */
static int enter(struct connection *connection, bool changing, sd_bus_error *error)
{
    if (connection_is_choked(connection))
        return 1;
    connection_alive(connection);
    if (!connection->may_read || (changing && !connection->may_change))
        return control_denied(connection->control, error, connection->may_read);
    return 0;
}

/* ---- answers ------------------------------------------------------------------------------ */

/* An entry, or rows; those of a page with what comes next. */
static int reply(sd_bus_message *call, json_object *answer, bool page, const char *next)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
    int r = sd_bus_message_new_method_return(call, &message);

    if (r >= 0)
        r = json_object_is_type(answer, json_type_array) ? control_append_rows(message, answer)
                                                         : control_append_entry(message, answer);
    if (r >= 0 && page)
        r = sd_bus_message_append(message, "s", next ? next : "");
    return r < 0 ? r : sd_bus_send(NULL, message, NULL);
}

static int reply_entry(sd_bus_message *call, json_object *entry)
{
    return reply(call, entry, false, NULL);
}

static void reply_done(void *userdata, int error, const char *message)
{
    struct late_call *late = userdata;
    const int64_t made = late->made;
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = late_call_end(late);
    _cleanup_(sd_bus_error_free) sd_bus_error text = SD_BUS_ERROR_NULL;

    if (error >= 0) {
        /* fails when the peer is gone */
        (void)sd_bus_reply_method_return(call, made > 0 ? "x" : NULL, made);
        return;
    }
    (void)sd_bus_error_set(&text, CONTROL_ERROR_FAILED, message ?: strerror(-error));
    (void)sd_bus_reply_method_error(call, &text);
}

/* The manager took what is answered later, or not: what the method returns. */
static int taken(struct late_call *late, int r, const char *what, const char *message,
                 sd_bus_error *error)
{
    if (r >= 0)
        return 1;
    sd_bus_message_unref(late_call_end(late));
    return failed(error, r, what, message);
}

/* ---- questions ---------------------------------------------------------------------------- */

static int question_failed(const struct question *question, int r, sd_bus_error *error)
{
    if (!question->make && r != -ENOENT && r != -EINVAL && r != -EAGAIN)
        return sd_bus_error_setf(error, CONTROL_ERROR_FAILED, "Cannot read the database: %s",
                                 strerror(-r));
    return failed(error, r, r == -EINVAL ? question->invalid : question->missing, NULL);
}

/* The peer may be gone. */
static void on_answer(void *userdata, int error, json_object *answer, const char *next)
{
    struct late_call *late = userdata;
    const struct question *question = late->question;
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = late_call_end(late);
    _cleanup_(json_object_putp) json_object *owned = answer;
    _cleanup_(sd_bus_error_free) sd_bus_error text = SD_BUS_ERROR_NULL;

    if (error >= 0)
        error = reply(call, owned, question->takes & ASKED_PAGE, next);
    if (error >= 0)
        return;
    (void)question_failed(question, error, &text);
    (void)sd_bus_reply_method_error(call, &text);
}

static int ask(sd_bus_message *call, struct connection *connection,
               const struct question *question, sd_bus_error *error)
{
    _cleanup_(asked_done) struct asked asked = { .limit = 0 };
    struct late_call *late;
    int r = arguments_read(call, question, error, &asked);

    if (r < 0)
        return r;
    late = late_call_new(call, connection);
    if (!late)
        return -ENOMEM;
    late->question = question;
    late->asked = asked;
    asked = (struct asked){ .limit = 0 };
    r = connection->control->ops.ask(connection->control->userdata, question, &late->asked,
                                     on_answer, late);
    if (r >= 0)
        return 1;
    sd_bus_message_unref(late_call_end(late));
    return question_failed(question, r, error);
}

/* ---- reading ------------------------------------------------------------------------------ */

static int get_status(sd_bus_message *call, struct connection *connection, sd_bus_error *error)
{
    _cleanup_(json_object_putp) json_object *entry = NULL;
    int r = connection->control->ops.status(connection->control->userdata, &entry);

    return r < 0 ? failed(error, r, "status", NULL) : reply_entry(call, entry);
}

static int get_scan(sd_bus_message *call, struct connection *connection, sd_bus_error *error)
{
    _cleanup_(json_object_putp) json_object *entry = NULL;
    uint64_t ticket;
    int r = sd_bus_message_read(call, "t", &ticket);

    if (r < 0)
        return r;
    r = connection->control->ops.scan_state(connection->control->userdata, ticket, &entry);
    return r < 0 ? failed(error, r, "scan", NULL) : reply_entry(call, entry);
}

static int subscribe(sd_bus_message *call, struct connection *connection, sd_bus_error *error)
{
    int r;

    if (connection->track) {
        r = sd_bus_track_add_sender(connection->track, call);
        if (r < 0)
            return r;
    } else
        connection->subscribed = true;
    return sd_bus_reply_method_return(call, NULL);
}

/* ---- changing ----------------------------------------------------------------------------- */

static int scan_paths(sd_bus_message *call, struct connection *connection, bool scrub,
                      sd_bus_error *error)
{
    _cleanup_(strv_freep) char **paths = NULL;
    _cleanup_free_ char *message = NULL;
    uint64_t ticket;
    int r = arguments_paths(call, error, &paths);

    if (r < 0)
        return r;
    if (scrub && !paths[0])
        return arguments_invalid(error, "No path is given");
    r = connection->control->ops.scan(connection->control->userdata, paths, scrub, &ticket,
                                      &message);
    return r < 0 ? failed(error, r, "image or datastore", message)
                 : sd_bus_reply_method_return(call, "t", ticket);
}

static int scan(sd_bus_message *call, struct connection *connection, sd_bus_error *error)
{
    return scan_paths(call, connection, false, error);
}

static int scrub(sd_bus_message *call, struct connection *connection, sd_bus_error *error)
{
    return scan_paths(call, connection, true, error);
}

/* A number: a name service may take its time, and the loop has none. Whoever shows it can look for
 * the name. */
static void peer_name(const struct connection *connection, char *buf, size_t size)
{
    if (connection->peer.uid == 0)
        (void)snprintf(buf, size, "root");
    else
        (void)snprintf(buf, size, CONTROL_UID_PREFIX "%lu", (unsigned long)connection->peer.uid);
}

/* The database has no later time than INT64_MAX. */
static int time_invalid(sd_bus_error *error)
{
    return arguments_invalid(error, "The time is out of range");
}

static int acknowledge(sd_bus_message *call, struct connection *connection, sd_bus_error *error)
{
    struct late_call *late;
    const char *reason;
    char by[64];
    uint64_t until;
    int64_t id;
    int r = sd_bus_message_read(call, "xst", &id, &reason, &until);

    if (r < 0)
        return r;
    if (*reason == '\0' || strlen(reason) > REASON_MAX)
        return arguments_invalid(error, "An acknowledgement needs a reason of at most %d bytes",
                                 REASON_MAX);
    if (until > INT64_MAX)
        return time_invalid(error);
    late = late_call_new(call, connection);
    if (!late)
        return -ENOMEM;
    peer_name(connection, by, sizeof(by));
    r = connection->control->ops.acknowledge(connection->control->userdata, id, by, reason, until,
                                             reply_done, late);
    return taken(late, r, "finding", NULL, error);
}

/* The strings of what is to be muted, checked. */
static int mute_criteria(json_object *what, struct mute *mute, sd_bus_error *error)
{
    const struct { const char *key; char **field; } texts[] = {
        { "finding", &mute->finding }, { "path", &mute->path }, { "class", &mute->class },
    };
    json_object *value;

    for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
        if (!json_object_object_get_ex(what, texts[i].key, &value))
            continue;
        if (json_object_get_string_len(value) == 0 || json_object_get_string_len(value) >= PATH_MAX)
            return arguments_invalid(error, "A %s to be muted has 1 to %d bytes", texts[i].key,
                                     PATH_MAX - 1);
        *texts[i].field = strdup(json_object_get_string(value));
        if (!*texts[i].field)
            return -ENOMEM;
    }
    if (json_object_object_get_ex(what, "finding-id", &value))
        mute->finding_id = json_object_get_int64(value);
    if (mute->finding && finding_type_from_name(mute->finding) < 0)
        return arguments_invalid(error, "There is no finding of that name");
    if (mute->path && mute->path[0] != '/' && mute->path[0] != '*')
        return arguments_invalid(error, "A pattern must begin with / or *, since it is compared "
                                        "with absolute paths");
    if (mute->finding_id < 0 ||
        (!mute->finding && !mute->path && !mute->class && mute->finding_id == 0))
        return arguments_invalid(error, "Nothing is said of what is to be muted");
    return 0;
}

static int mute(sd_bus_message *call, struct connection *connection, sd_bus_error *error)
{
    static const struct filter_key keys[] = {
        { "finding", json_type_string }, { "path", json_type_string },
        { "class", json_type_string }, { "finding-id", json_type_int }, { NULL, json_type_null },
    };
    _cleanup_(mute_freep) struct mute *mute = calloc(1, sizeof(*mute));
    _cleanup_(json_object_putp) json_object *what = NULL;
    _cleanup_free_ char *message = NULL;
    struct late_call *late;
    const char *reason;
    char by[64];
    int r = mute ? arguments_filter(call, keys, error, &what) : -ENOMEM;

    if (r >= 0)
        r = sd_bus_message_read(call, "st", &reason, &mute->until);
    if (r >= 0)
        r = mute_criteria(what, mute, error);
    if (r < 0)
        return r;
    if (*reason == '\0' || strlen(reason) > REASON_MAX)
        return arguments_invalid(error, "A mute needs a reason of at most %d bytes", REASON_MAX);
    if (mute->until > INT64_MAX)
        return time_invalid(error);
    peer_name(connection, by, sizeof(by));
    mute->by = strdup(by);
    mute->reason = strdup(reason);
    late = mute->by && mute->reason ? late_call_new(call, connection) : NULL;
    if (!late)
        return -ENOMEM;
    r = connection->control->ops.mute(connection->control->userdata, mute, &late->made, reply_done,
                                      late, &message);
    if (r >= 0)
        TAKE_PTR(mute);
    return taken(late, r, "mute", message, error);
}

static int unmute(sd_bus_message *call, struct connection *connection, sd_bus_error *error)
{
    struct late_call *late;
    char by[64];
    int64_t id;
    int r = sd_bus_message_read(call, "x", &id);

    if (r < 0)
        return r;
    late = late_call_new(call, connection);
    if (!late)
        return -ENOMEM;
    peer_name(connection, by, sizeof(by));
    r = connection->control->ops.unmute(connection->control->userdata, id, by, reply_done, late);
    return taken(late, r, "mute", NULL, error);
}

static int accept_baseline(sd_bus_message *call, struct connection *connection,
                           sd_bus_error *error)
{
    _cleanup_free_ char *path = NULL, *message = NULL;
    struct late_call *late;
    const char *reason;
    char by[64];
    int r = arguments_path(call, error, &path);

    if (r >= 0)
        r = sd_bus_message_read(call, "s", &reason);
    if (r < 0)
        return r;
    if (*reason == '\0' || strlen(reason) > REASON_MAX)
        return arguments_invalid(error, "A baseline is accepted with a reason of at most %d bytes",
                                 REASON_MAX);
    late = late_call_new(call, connection);
    if (!late)
        return -ENOMEM;
    peer_name(connection, by, sizeof(by));
    r = connection->control->ops.accept(connection->control->userdata, path, by, reason,
                                        reply_done, late, &message);
    return taken(late, r, "image", message, error);
}

static void reply_tested(void *userdata, int error, json_object *rows)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = late_call_end(userdata);
    _cleanup_(sd_bus_error_free) sd_bus_error text = SD_BUS_ERROR_NULL;
    _cleanup_(json_object_putp) json_object *owned = rows;

    if (error >= 0)
        error = reply(call, owned, false, NULL);
    if (error >= 0)
        return;
    (void)failed(&text, error, "test", NULL);
    (void)sd_bus_reply_method_error(call, &text);       /* fails when the peer is gone */
}

static int test_alert(sd_bus_message *call, struct connection *connection, sd_bus_error *error)
{
    struct late_call *late;
    const char *channel;
    int r = sd_bus_message_read(call, "s", &channel);

    if (r < 0)
        return r;
    late = late_call_new(call, connection);
    if (!late)
        return -ENOMEM;
    r = connection->control->ops.test_alert(connection->control->userdata, channel, reply_tested,
                                            late);
    return taken(late, r, "channel", r == -EINVAL ? "The channels are journal, syslog, console and "
                 "exec" : NULL, error);
}

static int leave_alone(sd_bus_message *call, struct connection *connection,
                       int (*op)(void *userdata, const char *datastore, uint64_t until,
                                 control_done_fn reply, void *reply_userdata),
                       sd_bus_error *error)
{
    struct late_call *late;
    const char *datastore;
    uint64_t until;
    int r = sd_bus_message_read(call, "st", &datastore, &until);

    if (r < 0)
        return r;
    late = late_call_new(call, connection);
    if (!late)
        return -ENOMEM;
    r = op(connection->control->userdata, datastore, until, reply_done, late);
    return taken(late, r, "datastore", NULL, error);
}

static int pause_datastore(sd_bus_message *call, struct connection *connection,
                           sd_bus_error *error)
{
    return leave_alone(call, connection, connection->control->ops.pause, error);
}

static int release_datastore(sd_bus_message *call, struct connection *connection,
                             sd_bus_error *error)
{
    return leave_alone(call, connection, connection->control->ops.release, error);
}

static int resume_datastore(sd_bus_message *call, struct connection *connection,
                            sd_bus_error *error)
{
    struct late_call *late;
    const char *datastore;
    int r = sd_bus_message_read(call, "s", &datastore);

    if (r < 0)
        return r;
    late = late_call_new(call, connection);
    if (!late)
        return -ENOMEM;
    r = connection->control->ops.resume(connection->control->userdata, datastore, reply_done, late);
    return taken(late, r, "datastore", NULL, error);
}

static int reload(sd_bus_message *call, struct connection *connection, sd_bus_error *error)
{
    _cleanup_free_ char *message = NULL;
    int r = connection->control->ops.reload(connection->control->userdata, &message);

    if (r < 0 && message)
        return sd_bus_error_set(error, CONTROL_ERROR_INVALID_CONFIGURATION, message);
    return r < 0 ? failed(error, r, "configuration", NULL) : sd_bus_reply_method_return(call, NULL);
}

/* ---- the interface ------------------------------------------------------------------------ */

/* The methods that are no questions. */
static const struct method {
    const char *name;
    bool changing;
    int (*run)(sd_bus_message *call, struct connection *connection, sd_bus_error *error);
} methods[] = {
#define READERS false
#define OWNERS true
#define QUESTION(name, takes, answers, from, missing, invalid, filter)
#define METHOD(name, who, takes, answers, function) { name, who, function },
#include "daemon/control/methods.def"
#undef QUESTION
#undef METHOD
};

static const struct method *method_find(const char *name)
{
    size_t i = 0;

    while (strcmp(methods[i].name, name) != 0)
        i++;
    return &methods[i];
}

/* Any of the vtable's. */
static int on_call(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;
    const char *name = sd_bus_message_get_member(call);
    const struct question *question = question_find(name);
    const struct method *method = question ? NULL : method_find(name);
    int r = enter(connection, method && method->changing, error);

    if (r != 0)
        return r;
    return question ? ask(call, connection, question, error)
                    : method->run(call, connection, error);
}

/* Signatures and names of what goes in, and comes out. */
#define IN_NOTHING NULL, ""
#define IN_FILTER "a{sv}", SD_BUS_PARAM(filter)
#define IN_LIST "a{sv}su", SD_BUS_PARAM(filter) SD_BUS_PARAM(cursor) SD_BUS_PARAM(limit)
#define IN_LIST_OF_PATH "aysu", SD_BUS_PARAM(path) SD_BUS_PARAM(cursor) SD_BUS_PARAM(limit)
#define IN_PATH "ay", SD_BUS_PARAM(path)
#define IN_PATHS "aay", SD_BUS_PARAM(paths)
#define IN_NAME "s", SD_BUS_PARAM(name)
#define IN_ID "x", SD_BUS_PARAM(id)
#define IN_CHANNEL "s", SD_BUS_PARAM(channel)
#define IN_TICKET "t", SD_BUS_PARAM(ticket)
#define IN_DATASTORE "s", SD_BUS_PARAM(datastore)
#define IN_UNTIL "st", SD_BUS_PARAM(datastore) SD_BUS_PARAM(until)
#define IN_PATH_AND_REASON "ays", SD_BUS_PARAM(path) SD_BUS_PARAM(reason)
#define IN_MUTE "a{sv}st", SD_BUS_PARAM(what) SD_BUS_PARAM(reason) SD_BUS_PARAM(until)
#define IN_ACKNOWLEDGEMENT "xst", SD_BUS_PARAM(id) SD_BUS_PARAM(reason) SD_BUS_PARAM(until)
#define OUT_NOTHING NULL, ""
#define OUT_ENTRY(name) "a{sv}", SD_BUS_PARAM(name)
#define OUT_ROWS(name) "aa{sv}", SD_BUS_PARAM(name)
#define OUT_PAGE(name) "aa{sv}s", SD_BUS_PARAM(name) SD_BUS_PARAM(next)
#define OUT_TICKET "t", SD_BUS_PARAM(ticket)
#define OUT_NUMBER "x", SD_BUS_PARAM(id)

/* Unprivileged: enter() decides, by the credentials of the socket. */
#define ROW(name, in, in_names, out, out_names)                                                    \
    SD_BUS_METHOD_WITH_NAMES(name, in, in_names, out, out_names, on_call,                          \
                             SD_BUS_VTABLE_UNPRIVILEGED),
#define ROW_OF(...) ROW(__VA_ARGS__)

/* CHANGING ones are signalled, the others have to be asked for. */
#define PROPERTY(name, type) SD_BUS_PROPERTY(name, type, control_property_get, 0, 0)
#define CHANGING(name, type)                                                                       \
    SD_BUS_PROPERTY(name, type, control_property_get, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)
#define CONSTANT(name, type)                                                                       \
    SD_BUS_PROPERTY(name, type, control_property_get, 0, SD_BUS_VTABLE_PROPERTY_CONST)

const sd_bus_vtable control_vtable[] = {
    SD_BUS_VTABLE_START(0),
#define QUESTION(name, takes, answers, from, missing, invalid, filter)                             \
    ROW_OF(name, IN_##takes, OUT_##answers)
#define METHOD(name, who, takes, answers, function) ROW_OF(name, IN_##takes, OUT_##answers)
#include "daemon/control/methods.def"
#undef QUESTION
#undef METHOD
    CONSTANT("Version", "s"),
    CONSTANT("Started", "t"),
    CHANGING("LastPass", "t"),
    PROPERTY("NextPass", "t"),
    CHANGING("PassStarted", "t"),
    PROPERTY("PassImagesTotal", "t"),
    PROPERTY("PassImagesDone", "t"),
    PROPERTY("WorkersRunning", "t"),
    CHANGING("Images", "t"),
    CHANGING("ImagesAudited", "t"),
    CHANGING("ImagesUnreadable", "t"),
    PROPERTY("ImagesSize", "t"),
    PROPERTY("ImagesAllocated", "t"),
    CHANGING("Chains", "t"),
    CHANGING("DepthMax", "t"),
    CHANGING("FindingsOpen", "a{sv}"),
    CHANGING("FindingsAcknowledged", "a{sv}"),
    CHANGING("FindingsMuted", "a{sv}"),
    SD_BUS_SIGNAL_WITH_NAMES("FindingChanged", "a{sv}s", SD_BUS_PARAM(finding) SD_BUS_PARAM(event),
                             0),
    SD_BUS_VTABLE_END
};
