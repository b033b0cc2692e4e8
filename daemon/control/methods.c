/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The methods of the control interface: arguments from D-Bus, the manager's answers back, errors by
 * name. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/control/internal.h"
#include "daemon/core/strv.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

#define REASON_MAX 1000

DEFINE_CLEANUP(json_object *, json_object_put)

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

/* What the manager answered, as an error with a name and a sentence. message may be NULL. */
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

/* The gate of every method, and its plain arguments as sd_bus_message_read() takes them: 0 go on,
 * else what the caller returns. */
static int enter(sd_bus_message *call, struct connection *connection, bool changing,
                 sd_bus_error *error, const char *types, ...)
{
    va_list ap;
    int r;

    if (connection_is_choked(connection))
        return 1;
    connection_alive(connection);
    if (!connection->may_read || (changing && !connection->may_change))
        return control_denied(connection->control, error, connection->may_read);
    if (*types == '\0')
        return 0;
    va_start(ap, types);
    r = sd_bus_message_readv(call, types, ap);
    va_end(ap);
    return r < 0 ? r : 0;
}

/* The same, with a path for argument, or for the first of them. */
static int enter_path(sd_bus_message *call, struct connection *connection, bool changing,
                      sd_bus_error *error, char **ret_path)
{
    int r = enter(call, connection, changing, error, "");

    return r != 0 ? r : arguments_path(call, error, ret_path);
}

/* The same, with a cursor and a limit after the path, as of a list. */
static int enter_page(sd_bus_message *call, struct connection *connection, sd_bus_error *error,
                      char **ret_path, const char **ret_cursor, unsigned *ret_limit)
{
    int r = enter_path(call, connection, false, error, ret_path);

    if (r == 0)
        r = sd_bus_message_read(call, "su", ret_cursor, ret_limit);
    if (r > 0 && (*ret_limit == 0 || *ret_limit > CONTROL_LIMIT_MAX))
        *ret_limit = CONTROL_LIMIT_MAX;
    return r < 0 ? r : 0;
}

/* ---- answers ------------------------------------------------------------------------------ */

static int reply_entry(sd_bus_message *call, json_object *entry)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    int r = sd_bus_message_new_method_return(call, &reply);

    if (r >= 0)
        r = control_append_entry(reply, entry);
    return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

/* next NULL: the method returns rows alone. */
static int reply_rows(sd_bus_message *call, json_object *rows, const char *next)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    int r = sd_bus_message_new_method_return(call, &reply);

    if (r >= 0)
        r = control_append_rows(reply, rows);
    if (r >= 0 && next)
        r = sd_bus_message_append(reply, "s", next);
    return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

/* The answer that came later. The peer may be gone. */
static void reply_later(struct question *question, int error, json_object *answer, const char *next,
                        int (*reply)(sd_bus_message *call, json_object *answer, const char *next),
                        const char *what)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *asked = question_end(question);
    _cleanup_(json_object_putp) json_object *owned = answer;
    _cleanup_(sd_bus_error_free) sd_bus_error text = SD_BUS_ERROR_NULL;

    if (error >= 0)
        error = reply(asked, owned, next);
    if (error >= 0)
        return;
    (void)failed(&text, error, what, NULL);
    (void)sd_bus_reply_method_error(asked, &text);
}

static int reply_page(sd_bus_message *call, json_object *rows, const char *next)
{
    return reply_rows(call, rows, next ? next : "");
}

static int reply_one(sd_bus_message *call, json_object *entry, const char *next)
{
    return reply_entry(call, entry);
}

static void reply_history(void *userdata, int error, json_object *answer, const char *next)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;

    if (error >= 0) {
        reply_later(userdata, error, answer, next, reply_page, "database");
        return;
    }
    json_object_put(answer);
    call = question_end(userdata);
    if (error == -ENOENT)
        (void)sd_bus_reply_method_errorf(call, CONTROL_ERROR_NOT_FOUND, "Nothing of that is known");
    else if (error == -EINVAL)
        (void)sd_bus_reply_method_errorf(call, CONTROL_ERROR_INVALID_ARGUMENT, "Invalid cursor");
    else
        (void)sd_bus_reply_method_errorf(call, CONTROL_ERROR_FAILED, "Cannot read the database: %s",
                                         strerror(-error));
}

static void reply_findings(void *userdata, int error, json_object *answer, const char *next)
{
    reply_later(userdata, error, answer, next, reply_page, "filter or cursor");
}

static void reply_finding(void *userdata, int error, json_object *answer, const char *next)
{
    reply_later(userdata, error, answer, next, reply_one, "finding");
}

static void reply_image(void *userdata, int error, json_object *answer, const char *next)
{
    reply_later(userdata, error, answer, next, reply_one, "image");
}

static void reply_domain(void *userdata, int error, json_object *answer, const char *next)
{
    reply_later(userdata, error, answer, next, reply_one, "domain");
}

static void reply_done(void *userdata, int error, const char *message)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = question_end(userdata);
    _cleanup_(sd_bus_error_free) sd_bus_error text = SD_BUS_ERROR_NULL;

    if (error >= 0) {
        (void)sd_bus_reply_method_return(call, NULL);   /* fails when the peer is gone */
        return;
    }
    (void)sd_bus_error_set(&text, CONTROL_ERROR_FAILED, message ?: strerror(-error));
    (void)sd_bus_reply_method_error(call, &text);
}

/* The manager took the question, or not: what the method returns. */
static int asked_or(struct question *question, int r, const char *what, const char *message,
                    sd_bus_error *error)
{
    if (r >= 0)
        return 1;
    sd_bus_message_unref(question_end(question));
    return failed(error, r, what, message);
}

static int asked(struct question *question, int r, const char *what, sd_bus_error *error)
{
    return asked_or(question, r, what, NULL, error);
}

/* ---- reading ------------------------------------------------------------------------------ */

static int method_get_status(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;
    _cleanup_(json_object_putp) json_object *entry = NULL;
    int r = enter(call, connection, false, error, "");

    if (r != 0)
        return r;
    r = connection->control->ops.status(connection->control->userdata, &entry);
    return r < 0 ? failed(error, r, "status", NULL) : reply_entry(call, entry);
}

static int method_list_datastores(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;
    _cleanup_(json_object_putp) json_object *rows = NULL;
    int r = enter(call, connection, false, error, "");

    if (r != 0)
        return r;
    r = connection->control->ops.datastores(connection->control->userdata, &rows);
    return r < 0 ? failed(error, r, "datastores", NULL) : reply_rows(call, rows, NULL);
}

typedef int (*list_op)(void *userdata, json_object *filter, const char *cursor, unsigned limit,
                       json_object **ret_rows, char **ret_next);

static int list(sd_bus_message *call, struct connection *connection, const struct filter_key *keys,
                list_op op, sd_bus_error *error)
{
    _cleanup_(json_object_putp) json_object *filter = NULL, *rows = NULL;
    _cleanup_free_ char *next = NULL;
    const char *cursor;
    unsigned limit;
    int r = enter(call, connection, false, error, "");

    if (r != 0)
        return r;
    r = arguments_list(call, keys, error, &filter, &cursor, &limit);
    if (r < 0)
        return r;
    r = op(connection->control->userdata, filter, cursor, limit, &rows, &next);
    return r < 0 ? failed(error, r, r == -ENOENT ? "domain or storage pool" : "filter or cursor",
                          NULL)
                 : reply_rows(call, rows, next ? next : "");
}

static int method_list_images(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    static const struct filter_key keys[] = {
        {"path", json_type_string}, {"datastore", json_type_string}, {"format", json_type_string},
        {"findings", json_type_boolean}, {"baseline", json_type_boolean},
        {"domain", json_type_string}, {"pool", json_type_string},
        {"orphan", json_type_boolean}, {NULL, json_type_null},
    };
    struct connection *connection = userdata;

    return list(call, connection, keys, connection->control->ops.images, error);
}

static int method_find_image(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    static const struct filter_key keys[] = {
        {"path", json_type_string}, {"end", json_type_string}, {NULL, json_type_null},
    };
    struct connection *connection = userdata;

    return list(call, connection, keys, connection->control->ops.find, error);
}

static int method_list_findings(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    static const struct filter_key keys[] = {
        {"details", json_type_boolean}, {"severity", json_type_string}, {"name", json_type_string},
        {"path", json_type_string}, {"datastore", json_type_string}, {"state", json_type_string},
        {NULL, json_type_null},
    };
    struct connection *connection = userdata;
    struct question *question;
    _cleanup_(json_object_putp) json_object *filter = NULL;
    const char *cursor;
    unsigned limit;
    int r = enter(call, connection, false, error, "");

    if (r != 0)
        return r;
    r = arguments_list(call, keys, error, &filter, &cursor, &limit);
    if (r < 0)
        return r;
    question = question_new(call, connection);
    if (!question)
        return -ENOMEM;
    r = connection->control->ops.findings(connection->control->userdata, filter, cursor, limit,
                                          reply_findings, question);
    return asked(question, r, "filter or cursor", error);
}

static int method_get_image(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;
    struct question *question;
    _cleanup_free_ char *path = NULL;
    int r = enter_path(call, connection, false, error, &path);

    if (r != 0)
        return r;
    question = question_new(call, connection);
    if (!question)
        return -ENOMEM;
    r = connection->control->ops.image(connection->control->userdata, path, reply_image,
                                       question);
    return asked(question, r, "image", error);
}

static int method_get_chain(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;
    _cleanup_(json_object_putp) json_object *rows = NULL;
    _cleanup_free_ char *path = NULL, *next = NULL;
    const char *cursor;
    unsigned limit;
    int r = enter_page(call, connection, error, &path, &cursor, &limit);

    if (r != 0)
        return r;
    r = connection->control->ops.chain(connection->control->userdata, path, cursor, limit, &rows,
                                       &next);
    return r < 0 ? failed(error, r, r == -EINVAL ? "cursor" : "image", NULL)
                 : reply_rows(call, rows, next ? next : "");
}

static int method_list_domains(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;
    _cleanup_(json_object_putp) json_object *rows = NULL;
    int r = enter(call, connection, false, error, "");

    if (r != 0)
        return r;
    r = connection->control->ops.domains(connection->control->userdata, &rows);
    return r < 0 ? failed(error, r, "domains", NULL) : reply_rows(call, rows, NULL);
}

static int method_get_domain(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;
    struct question *question;
    const char *name;
    int r = enter(call, connection, false, error, "s", &name);

    if (r != 0)
        return r;
    question = question_new(call, connection);
    if (!question)
        return -ENOMEM;
    r = connection->control->ops.domain(connection->control->userdata, name, reply_domain,
                                        question);
    return asked(question, r, "domain", error);
}

static int method_get_finding(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;
    struct question *question;
    int64_t id;
    int r = enter(call, connection, false, error, "x", &id);

    if (r != 0)
        return r;
    question = question_new(call, connection);
    if (!question)
        return -ENOMEM;
    r = connection->control->ops.finding(connection->control->userdata, id, reply_finding,
                                         question);
    return asked(question, r, "finding", error);
}

static int method_list_events(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    static const struct filter_key keys[] = {
        {"path", json_type_string}, {"name", json_type_string}, {"since", json_type_int},
        {"until", json_type_int}, {NULL, json_type_null},
    };
    struct connection *connection = userdata;
    struct question *question;
    _cleanup_(json_object_putp) json_object *filter = NULL;
    const char *cursor;
    unsigned limit;
    int r = enter(call, connection, false, error, "");

    if (r != 0)
        return r;
    r = arguments_list(call, keys, error, &filter, &cursor, &limit);
    if (r < 0)
        return r;
    question = question_new(call, connection);
    if (!question)
        return -ENOMEM;
    r = connection->control->ops.events(connection->control->userdata, filter, cursor, limit,
                                        reply_history, question);
    return asked(question, r, "filter or cursor", error);
}

/* Rows of one image, from the database. */
static int list_of_path(sd_bus_message *call, struct connection *connection,
                        int (*op)(void *userdata, const char *path, const char *cursor,
                                  unsigned limit, control_rows_fn reply, void *reply_userdata),
                        sd_bus_error *error)
{
    _cleanup_free_ char *path = NULL;
    struct question *question;
    const char *cursor;
    unsigned limit;
    int r = enter_page(call, connection, error, &path, &cursor, &limit);

    if (r != 0)
        return r;
    question = question_new(call, connection);
    if (!question)
        return -ENOMEM;
    r = op(connection->control->userdata, path, cursor, limit, reply_history,
           question);
    return asked(question, r, "image", error);
}

static int method_list_audits(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;

    return list_of_path(call, connection, connection->control->ops.audits, error);
}

static int method_list_readings(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;

    return list_of_path(call, connection, connection->control->ops.readings, error);
}

static int method_subscribe(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;
    int r = enter(call, connection, false, error, "");

    if (r != 0)
        return r;
    if (connection->track) {
        r = sd_bus_track_add_sender(connection->track, call);
        if (r < 0)
            return r;
    } else
        connection->subscribed = true;
    return sd_bus_reply_method_return(call, NULL);
}

static int method_get_scan(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;
    _cleanup_(json_object_putp) json_object *entry = NULL;
    uint64_t ticket;
    int r = enter(call, connection, false, error, "t", &ticket);

    if (r != 0)
        return r;
    r = connection->control->ops.scan_state(connection->control->userdata, ticket, &entry);
    return r < 0 ? failed(error, r, "scan", NULL) : reply_entry(call, entry);
}

/* ---- changing ----------------------------------------------------------------------------- */

static int scan(sd_bus_message *call, struct connection *connection, bool scrub,
                sd_bus_error *error)
{
    _cleanup_(strv_freep) char **paths = NULL;
    _cleanup_free_ char *message = NULL;
    uint64_t ticket;
    int r = enter(call, connection, true, error, "");

    if (r != 0)
        return r;
    r = arguments_paths(call, error, &paths);
    if (r < 0)
        return r;
    if (scrub && !paths[0])
        return arguments_invalid(error, "No path is given");
    r = connection->control->ops.scan(connection->control->userdata, paths, scrub, &ticket,
                                      &message);
    return r < 0 ? failed(error, r, "image or datastore", message)
                 : sd_bus_reply_method_return(call, "t", ticket);
}

static int method_scan(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    return scan(call, userdata, false, error);
}

static int method_scrub(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    return scan(call, userdata, true, error);
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

static int method_acknowledge(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;
    struct question *question;
    const char *reason;
    char by[64];
    uint64_t until;
    int64_t id;
    int r = enter(call, connection, true, error, "xst", &id, &reason, &until);

    if (r != 0)
        return r;
    if (*reason == '\0' || strlen(reason) > REASON_MAX)
        return arguments_invalid(error, "An acknowledgement needs a reason of at most %d bytes",
                                 REASON_MAX);
    question = question_new(call, connection);
    if (!question)
        return -ENOMEM;
    peer_name(connection, by, sizeof(by));
    r = connection->control->ops.acknowledge(connection->control->userdata, id, by, reason, until,
                                             reply_done, question);
    return asked(question, r, "finding", error);
}

static int method_accept_baseline(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;
    _cleanup_free_ char *path = NULL, *message = NULL;
    struct question *question;
    const char *reason;
    char by[64];
    int r = enter_path(call, connection, true, error, &path);

    if (r != 0)
        return r;
    r = sd_bus_message_read(call, "s", &reason);
    if (r < 0)
        return r;
    if (*reason == '\0' || strlen(reason) > REASON_MAX)
        return arguments_invalid(error, "A baseline is accepted with a reason of at most %d bytes",
                                 REASON_MAX);
    question = question_new(call, connection);
    if (!question)
        return -ENOMEM;
    peer_name(connection, by, sizeof(by));
    r = connection->control->ops.accept(connection->control->userdata, path, by, reason,
                                        reply_done, question, &message);
    return asked_or(question, r, "image", message, error);
}

static int method_pause(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;
    struct question *question;
    const char *datastore;
    uint64_t until;
    int r = enter(call, connection, true, error, "st", &datastore, &until);

    if (r != 0)
        return r;
    question = question_new(call, connection);
    if (!question)
        return -ENOMEM;
    r = connection->control->ops.pause(connection->control->userdata, datastore, until, reply_done,
                                       question);
    return asked(question, r, "datastore", error);
}

static int method_release(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;
    struct question *question;
    const char *datastore;
    uint64_t until;
    int r = enter(call, connection, true, error, "st", &datastore, &until);

    if (r != 0)
        return r;
    question = question_new(call, connection);
    if (!question)
        return -ENOMEM;
    r = connection->control->ops.release(connection->control->userdata, datastore, until,
                                         reply_done, question);
    return asked(question, r, "datastore", error);
}

static int method_resume(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;
    struct question *question;
    const char *datastore;
    int r = enter(call, connection, true, error, "s", &datastore);

    if (r != 0)
        return r;
    question = question_new(call, connection);
    if (!question)
        return -ENOMEM;
    r = connection->control->ops.resume(connection->control->userdata, datastore, reply_done,
                                        question);
    return asked(question, r, "datastore", error);
}

static int method_reload(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
    struct connection *connection = userdata;
    _cleanup_free_ char *message = NULL;
    int r = enter(call, connection, true, error, "");

    if (r != 0)
        return r;
    r = connection->control->ops.reload(connection->control->userdata, &message);
    if (r < 0 && message)
        return sd_bus_error_set(error, CONTROL_ERROR_INVALID_CONFIGURATION, message);
    return r < 0 ? failed(error, r, "configuration", NULL) : sd_bus_reply_method_return(call, NULL);
}

/* ---- the interface ------------------------------------------------------------------------ */

/* Unprivileged: enter() decides, by the credentials of the socket. */
#define METHOD(name, in, in_names, out, out_names, handler)                                        \
    SD_BUS_METHOD_WITH_NAMES(name, in, in_names, out, out_names, handler,                          \
                             SD_BUS_VTABLE_UNPRIVILEGED)
/* Nothing goes in; nothing comes out. */
#define ASKING(name, out, out_names, handler) METHOD(name, NULL, , out, out_names, handler)
#define TELLING(name, in, in_names, handler) METHOD(name, in, in_names, NULL, , handler)

/* The same, where names and types come together: */
#define METHOD_OF(name, in, out, handler) METHOD_EXPANDED(name, in, out, handler)
#define METHOD_EXPANDED(...) METHOD(__VA_ARGS__)
#define TELLING_OF(name, in, handler) TELLING_EXPANDED(name, in, handler)
#define TELLING_EXPANDED(...) TELLING(__VA_ARGS__)
/* what several methods take or answer. */
#define LIST "a{sv}su", SD_BUS_PARAM(filter) SD_BUS_PARAM(cursor) SD_BUS_PARAM(limit)
#define LIST_OF_PATH "aysu", SD_BUS_PARAM(path) SD_BUS_PARAM(cursor) SD_BUS_PARAM(limit)
#define UNTIL "st", SD_BUS_PARAM(datastore) SD_BUS_PARAM(until)
#define PAGE(rows) "aa{sv}s", SD_BUS_PARAM(rows) SD_BUS_PARAM(next)

/* CHANGING ones are signalled, the others have to be asked for. */
#define PROPERTY(name, type) SD_BUS_PROPERTY(name, type, control_property_get, 0, 0)
#define CHANGING(name, type)                                                                       \
    SD_BUS_PROPERTY(name, type, control_property_get, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE)
#define CONSTANT(name, type)                                                                       \
    SD_BUS_PROPERTY(name, type, control_property_get, 0, SD_BUS_VTABLE_PROPERTY_CONST)

const sd_bus_vtable control_vtable[] = {
    SD_BUS_VTABLE_START(0),
    ASKING("GetStatus", "a{sv}", SD_BUS_PARAM(status), method_get_status),
    ASKING("ListDatastores", "aa{sv}", SD_BUS_PARAM(datastores), method_list_datastores),
    METHOD_OF("ListImages", LIST, PAGE(images), method_list_images),
    METHOD_OF("FindImage", LIST, PAGE(images), method_find_image),
    METHOD("GetImage", "ay", SD_BUS_PARAM(path), "a{sv}", SD_BUS_PARAM(image), method_get_image),
    METHOD_OF("GetChain", LIST_OF_PATH, PAGE(layers), method_get_chain),
    ASKING("ListDomains", "aa{sv}", SD_BUS_PARAM(domains), method_list_domains),
    METHOD("GetDomain", "s", SD_BUS_PARAM(name), "a{sv}", SD_BUS_PARAM(domain), method_get_domain),
    METHOD_OF("ListFindings", LIST, PAGE(findings), method_list_findings),
    METHOD("GetFinding", "x", SD_BUS_PARAM(id), "a{sv}", SD_BUS_PARAM(finding),
           method_get_finding),
    METHOD_OF("ListEvents", LIST, PAGE(events), method_list_events),
    METHOD_OF("ListAudits", LIST_OF_PATH, PAGE(audits), method_list_audits),
    METHOD_OF("ListReadings", LIST_OF_PATH, PAGE(readings), method_list_readings),
    TELLING("AcceptBaseline", "ays", SD_BUS_PARAM(path) SD_BUS_PARAM(reason),
            method_accept_baseline),
    METHOD("Scan", "aay", SD_BUS_PARAM(paths), "t", SD_BUS_PARAM(ticket), method_scan),
    METHOD("Scrub", "aay", SD_BUS_PARAM(paths), "t", SD_BUS_PARAM(ticket), method_scrub),
    METHOD("GetScan", "t", SD_BUS_PARAM(ticket), "a{sv}", SD_BUS_PARAM(scan), method_get_scan),
    TELLING("Acknowledge", "xst", SD_BUS_PARAM(id) SD_BUS_PARAM(reason) SD_BUS_PARAM(until),
            method_acknowledge),
    TELLING_OF("Pause", UNTIL, method_pause),
    TELLING_OF("Release", UNTIL, method_release),
    TELLING("Resume", "s", SD_BUS_PARAM(datastore), method_resume),
    METHOD("Reload", NULL, "", NULL, "", method_reload),
    METHOD("Subscribe", NULL, "", NULL, "", method_subscribe),
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
    SD_BUS_SIGNAL_WITH_NAMES("FindingChanged", "a{sv}s", SD_BUS_PARAM(finding) SD_BUS_PARAM(event),
                             0),
    SD_BUS_VTABLE_END
};
