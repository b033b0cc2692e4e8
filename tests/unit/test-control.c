/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control socket with real peers: answers, refusals, pages, signals, and peers that do not
 * behave. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/control/internal.h"
#include "daemon/core/log.h"
#include "helpers/clock.h"
#include "helpers/control-json.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

DEFINE_CLEANUP(json_object *, json_object_put)

/* The daemon's side runs in a thread of its own; stop is an eventfd-like pipe. */
struct server {
    char directory[64];
    struct config *config;
    pthread_t thread;
    int stop[2];
    sd_event *event;
    struct control *control;
    atomic_int signals;         /* FindingChanged to send */
    int wake[2];
    control_rows_fn later;      /* an answer that waits */
    void *later_userdata;
};

/* ---- what the interface is connected to ------------------------------------------------------ */

static int op_status(void *userdata, json_object **ret_entry)
{
    *ret_entry = json_tokener_parse("{\"version\":\"1.2\",\"images\":3}");
    return 0;
}

/* As many rows as were asked for, each of 1,000 bytes. */
static json_object *many_rows(unsigned limit)
{
    json_object *rows = json_object_new_array();
    char fill[1001];

    memset(fill, 'x', sizeof(fill) - 1);
    fill[sizeof(fill) - 1] = '\0';
    for (unsigned i = 0; i < limit; i++) {
        json_object *row = json_object_new_object();

        json_object_object_add(row, "path", json_object_new_string(fill));
        json_object_array_add(rows, row);
    }
    return rows;
}

/* A question may be answered at once or later, or be refused at once or by the answer. */
static int op_ask(void *userdata, const struct question *question, const struct asked *asked,
                  control_rows_fn reply, void *reply_userdata)
{
    struct server *server = userdata;
    json_object *entry;

    if (strcmp(question->name, "ListDatastores") == 0)
        return -EIO;
    if (strcmp(question->name, "ListImages") == 0) {
        if (strcmp(asked->cursor, "bad") == 0)
            return -EINVAL;
        reply(reply_userdata, 0, many_rows(asked->limit), "more");
        return 0;
    }
    if (strcmp(question->name, "ListEvents") == 0) {
        server->later = reply;
        server->later_userdata = reply_userdata;
        return write(server->wake[1], "e", 1) == 1 ? 0 : -errno;
    }
    if (strcmp(question->name, "ListReadings") == 0)
        return strcmp(asked->path, "/vm/gold") == 0 ? -EAGAIN : -ENOENT;
    if (strcmp(question->name, "GetImage") != 0)
        return -EOPNOTSUPP;
    if (strcmp(asked->path, "/none") == 0)
        return -ENOENT;
    if (strcmp(asked->path, "/none/later") == 0) {
        reply(reply_userdata, -ENOENT, NULL, NULL);
        return 0;
    }
    entry = json_object_new_object();
    json_object_object_add(entry, "path", json_object_new_string(asked->path));
    reply(reply_userdata, 0, entry, NULL);
    return 0;
}

static int op_scan(void *userdata, char **paths, bool scrub, uint64_t *ret_ticket,
                   char **ret_message)
{
    uint64_t n = 0;

    while (paths[n])
        n++;
    if (n == 2) {
        *ret_message = strdup("two are too many");
        return -EINVAL;
    }
    *ret_ticket = 40 + n;
    return 0;
}

static int op_acknowledge(void *userdata, int64_t id, const char *by, const char *reason,
                          uint64_t until, control_done_fn reply, void *reply_userdata)
{
    if (id == 9)
        reply(reply_userdata, -ENOSPC, "the disk is full");
    else if (id == 7 && *by && strcmp(reason, "known") == 0 && until == 5)
        reply(reply_userdata, 0, NULL);
    else
        return -ENOENT;
    return 0;
}

static int op_accept(void *userdata, const char *path, const char *by, const char *reason,
                     control_done_fn reply, void *reply_userdata, char **ret_message)
{
    if (strcmp(path, "/vm/gold") != 0)
        return -ENOENT;
    if (*by && strcmp(reason, "meant") == 0) {
        reply(reply_userdata, 0, NULL);
        return 0;
    }
    *ret_message = strdup("there is nothing to accept");
    return -EINVAL;
}

static int op_mute(void *userdata, struct mute *mute, int64_t *ret_id, control_done_fn reply,
                   void *reply_userdata, char **ret_message)
{
    if (mute->class) {
        *ret_message = strdup("there is no such class");
        return -EINVAL;
    }
    *ret_id = mute->finding_id > 0 ? mute->finding_id
              : mute->until == 5 && strcmp(mute->reason, "known") == 0 && *mute->by ? 41 : 42;
    if (mute->path && strcmp(mute->path, "/full") == 0)
        reply(reply_userdata, -ENOSPC, "the disk is full");
    else
        reply(reply_userdata, 0, NULL);
    mute_free(mute);
    return 0;
}

static int op_unmute(void *userdata, int64_t id, const char *by, control_done_fn reply,
                     void *reply_userdata)
{
    if (id != 41 || !*by)
        return -ENOENT;
    reply(reply_userdata, 0, NULL);
    return 0;
}

static int op_reload(void *userdata, char **ret_message)
{
    *ret_message = strdup("line 3: no such key");
    return -EINVAL;
}

/* ---- the server's thread --------------------------------------------------------------------- */

static int on_stop(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    return sd_event_exit(sd_event_source_get_event(source), 0);
}

static int on_wake(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct server *server = userdata;
    json_object *rows;
    char what;

    if (read(fd, &what, 1) != 1)
        return 0;
    if (what == 'e') {
        rows = json_tokener_parse("[{\"event\":\"opened\"}]");
        server->later(server->later_userdata, 0, json_object_get(rows), "");
        assert_int_equal(json_object_put(rows), 1);     /* nobody else keeps it */
        return 0;
    }
    rows = json_tokener_parse("{\"id\":1,\"path\":\"/a\"}");
    for (int n = atomic_load(&server->signals); n > 0; n--)
        (void)control_finding_changed(server->control, rows, "opened");
    json_object_put(rows);
    return 0;
}

static void *serve(void *userdata)
{
    struct server *server = userdata;

    (void)sd_event_loop(server->event);
    return NULL;
}

/* The loop and what it watches. */
static void server_loop(struct server *server)
{
    static const struct control_ops ops = {
        .status = op_status, .ask = op_ask, .scan = op_scan, .acknowledge = op_acknowledge,
        .accept = op_accept, .reload = op_reload, .mute = op_mute, .unmute = op_unmute,
    };

    assert_int_equal(sd_event_new(&server->event), 0);
    assert_true(sd_event_add_io(server->event, NULL, server->stop[0], EPOLLIN, on_stop, server) >=
                0);
    assert_true(sd_event_add_io(server->event, NULL, server->wake[0], EPOLLIN, on_wake, server) >=
                0);
    assert_int_equal(control_new(server->event, server->directory, server->config, &ops, server,
                                 &server->control),
                     0);
}

static int start(void **state, const struct config *change)
{
    struct server *server = calloc(1, sizeof(*server));

    assert_non_null(server);
    (void)strcpy(server->directory, "/tmp/qca-control.XXXXXX");
    assert_non_null(mkdtemp(server->directory));
    assert_int_equal(chmod(server->directory, 0755), 0);
    assert_int_equal(config_new(&server->config), 0);
    server->config->control_public = change && change->control_public;
    assert_int_equal(pipe2(server->stop, O_CLOEXEC), 0);
    assert_int_equal(pipe2(server->wake, O_CLOEXEC), 0);
    server_loop(server);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
    *state = server;
    return 0;
}

static int setup(void **state)
{
    return start(state, NULL);
}

static int setup_public(void **state)
{
    return start(state, &(struct config){ .control_public = true });
}

static int teardown(void **state)
{
    struct server *server = *state;
    char path[128];

    assert_int_equal(write(server->stop[1], "", 1), 1);
    assert_int_equal(pthread_join(server->thread, NULL), 0);
    control_free(server->control);
    sd_event_unref(server->event);
    config_free(server->config);
    for (int i = 0; i < 2; i++) {
        close(server->stop[i]);
        close(server->wake[i]);
    }
    /* control_free() took its socket away, so the folder is empty */
    (void)snprintf(path, sizeof(path), "%s", server->directory);
    assert_int_equal(rmdir(path), 0);
    free(server);
    return 0;
}

/* ---- a client -------------------------------------------------------------------------------- */

static int dial(const struct server *server)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/control", server->directory);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    return fd;
}

static sd_bus *bus_on(int fd)
{
    sd_bus *bus = NULL;

    assert_true(fd >= 0);
    assert_true(sd_bus_new(&bus) >= 0);
    assert_true(sd_bus_set_fd(bus, fd, fd) >= 0);
    assert_true(sd_bus_start(bus) >= 0);
    return bus;
}

/* One call; the D-Bus error's name when it fails, else NULL and the reply. */
static const char *call(sd_bus *bus, sd_bus_message **ret_reply, const char *method,
                        const char *types, ...)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
    static _Thread_local char name[100];
    sd_bus_error error = SD_BUS_ERROR_NULL;
    va_list ap;
    int r;

    assert_true(sd_bus_message_new_method_call(bus, &message, NULL, CONTROL_OBJECT_PATH,
                                               CONTROL_INTERFACE, method) >= 0);
    va_start(ap, types);
    r = types ? sd_bus_message_appendv(message, types, ap) : 0;
    va_end(ap);
    assert_true(r >= 0);
    r = sd_bus_call(bus, message, 10 * USEC_PER_SEC, &error, ret_reply);
    (void)snprintf(name, sizeof(name), "%s", r >= 0 ? "" : error.name ? error.name : strerror(-r));
    sd_bus_error_free(&error);
    return r >= 0 ? NULL : name;
}

static void append_path(sd_bus_message *message, const char *path)
{
    assert_true(sd_bus_message_append_array(message, 'y', path, strlen(path)) >= 0);
}

static const char *call_path(sd_bus *bus, const char *method, const char *path,
                             json_object **ret_entry)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL, *reply = NULL;
    static char name[100];
    sd_bus_error error = SD_BUS_ERROR_NULL;
    int r;

    assert_true(sd_bus_message_new_method_call(bus, &message, NULL, CONTROL_OBJECT_PATH,
                                               CONTROL_INTERFACE, method) >= 0);
    append_path(message, path);
    r = sd_bus_call(bus, message, 10 * USEC_PER_SEC, &error, &reply);
    (void)snprintf(name, sizeof(name), "%s", error.name ? error.name : "");
    sd_bus_error_free(&error);
    if (r < 0)
        return name;
    assert_int_equal(control_read_entry(reply, ret_entry), 0);
    return NULL;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_answers(void **state)
{
    sd_bus *bus = bus_on(dial(*state));
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    _cleanup_(json_object_putp) json_object *status = NULL, *image = NULL;
    json_object *none = NULL;

    assert_null(call(bus, &reply, "GetStatus", NULL));
    assert_int_equal(control_read_entry(reply, &status), 0);
    assert_string_equal(json_object_get_string(json_object_object_get(status, "version")), "1.2");
    assert_null(call_path(bus, "GetImage", "/a\xff\nb", &image));
    assert_string_equal(json_object_get_string(json_object_object_get(image, "path")), "/a\xff\nb");
    assert_string_equal(call_path(bus, "GetImage", "/none", &none), CONTROL_ERROR_NOT_FOUND);
    assert_string_equal(call_path(bus, "GetImage", "relative", &none),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call_path(bus, "GetImage", "", &none), CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call(bus, NULL, "ListDatastores", NULL), CONTROL_ERROR_FAILED);
    assert_string_equal(call(bus, NULL, "NoSuchMethod", NULL), SD_BUS_ERROR_UNKNOWN_METHOD);
    sd_bus_flush_close_unref(bus);
}

/* MEMBERS of what is muted, each a key, its type and its value; *ret_id is what was made. */
static const char *call_mute_until(sd_bus *bus, const char *reason, uint64_t until,
                                   int64_t *ret_id, unsigned members, ...)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL, *reply = NULL;
    static char name[100];
    sd_bus_error error = SD_BUS_ERROR_NULL;
    va_list ap;
    int r;

    assert_true(sd_bus_message_new_method_call(bus, &message, NULL, CONTROL_OBJECT_PATH,
                                               CONTROL_INTERFACE, "Mute") >= 0);
    assert_true(sd_bus_message_open_container(message, 'a', "{sv}") >= 0);
    va_start(ap, members);
    for (unsigned i = 0; i < members; i++) {
        const char *key = va_arg(ap, const char *), *type = va_arg(ap, const char *);

        if (*type == 's')
            r = sd_bus_message_append(message, "{sv}", key, type, va_arg(ap, const char *));
        else
            r = sd_bus_message_append(message, "{sv}", key, type, va_arg(ap, int64_t));
        assert_true(r >= 0);
    }
    va_end(ap);
    assert_true(sd_bus_message_close_container(message) >= 0);
    assert_true(sd_bus_message_append(message, "st", reason, until) >= 0);
    r = sd_bus_call(bus, message, 10 * USEC_PER_SEC, &error, &reply);
    (void)snprintf(name, sizeof(name), "%s", error.name ? error.name : "");
    sd_bus_error_free(&error);
    if (r >= 0)
        assert_true(sd_bus_message_read(reply, "x", ret_id) > 0);
    return r < 0 ? name : NULL;
}

#define call_mute(bus, reason, ret_id, ...) call_mute_until(bus, reason, 5, ret_id, __VA_ARGS__)

static void test_mutes(void **state)
{
    sd_bus *bus = bus_on(dial(*state));
    char long_reason[1002];
    int64_t id = 0;

    memset(long_reason, 'x', sizeof(long_reason) - 1);
    long_reason[sizeof(long_reason) - 1] = '\0';
    assert_null(call_mute(bus, "known", &id, 1, "finding", "s", "chain-deep"));
    assert_int_equal(id, 41);
    assert_null(call_mute(bus, "else", &id, 1, "path", "s", "*/lab/*"));
    assert_int_equal(id, 42);
    assert_null(call_mute(bus, "known", &id, 1, "finding-id", "x", INT64_C(7)));
    assert_int_equal(id, 7);
    assert_string_equal(call_mute(bus, "known", &id, 0), CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call_mute(bus, "", &id, 1, "path", "s", "/x"),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call_mute(bus, long_reason, &id, 1, "path", "s", "/x"),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call_mute(bus, "known", &id, 1, "path", "s", "x"),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call_mute(bus, "known", &id, 1, "path", "s", ""),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call_mute(bus, "known", &id, 1, "path", "x", INT64_C(1)),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call_mute(bus, "known", &id, 1, "finding", "s", "no-such-finding"),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call_mute(bus, "known", &id, 1, "finding-id", "x", INT64_C(-7)),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call_mute(bus, "known", &id, 1, "datastore", "s", "x"),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call_mute(bus, "known", &id, 2, "path", "s", "/x", "class", "s", "none"),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call_mute(bus, "known", &id, 1, "path", "s", "/full"),
                        CONTROL_ERROR_FAILED);
    assert_string_equal(call_mute_until(bus, "known", UINT64_MAX, &id, 1, "path", "s", "/x"),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_null(call_mute_until(bus, "known", INT64_MAX, &id, 1, "path", "s", "/x"));
    assert_null(call(bus, NULL, "Unmute", "x", INT64_C(41)));
    assert_string_equal(call(bus, NULL, "Unmute", "x", INT64_C(1)), CONTROL_ERROR_NOT_FOUND);
    sd_bus_flush_close_unref(bus);
}

static void test_bad_arguments(void **state)
{
    sd_bus *bus = bus_on(dial(*state));

    assert_string_equal(call(bus, NULL, "ListImages", "a{sv}su", 0, "bad", 10),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call(bus, NULL, "ListImages", "a{sv}su", 1, "nonsense", "s", "x", "", 10),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call(bus, NULL, "ListImages", "a{sv}su", 1, "datastore", "t", UINT64_C(1),
                             "", 10),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call(bus, NULL, "ListImages", "s", "x"), SD_BUS_ERROR_INVALID_ARGS);
    assert_string_equal(call(bus, NULL, "Acknowledge", "xst", INT64_C(7), "", UINT64_C(5)),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call(bus, NULL, "Acknowledge", "xst", INT64_C(8), "known", UINT64_C(5)),
                        CONTROL_ERROR_NOT_FOUND);
    assert_string_equal(call(bus, NULL, "Acknowledge", "xst", INT64_C(7), "known",
                             (uint64_t)INT64_MAX + 1),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_null(call(bus, NULL, "Acknowledge", "xst", INT64_C(7), "known", UINT64_C(5)));
    assert_string_equal(call(bus, NULL, "Acknowledge", "xst", INT64_C(9), "known", UINT64_C(5)),
                        CONTROL_ERROR_FAILED);
    assert_null(call(bus, NULL, "AcceptBaseline", "ays", 8, '/', 'v', 'm', '/', 'g', 'o', 'l', 'd',
                     "meant"));
    assert_string_equal(call(bus, NULL, "AcceptBaseline", "ays", 8, '/', 'v', 'm', '/', 'g', 'o',
                             'l', 'd', ""),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call(bus, NULL, "AcceptBaseline", "ays", 8, '/', 'v', 'm', '/', 'g', 'o',
                             'l', 'd', "other"),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call(bus, NULL, "AcceptBaseline", "ays", 2, '/', 'x', "meant"),
                        CONTROL_ERROR_NOT_FOUND);
    assert_string_equal(call(bus, NULL, "AcceptBaseline", "ays", 1, 'x', "meant"),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call(bus, NULL, "ListReadings", "aysu", 8, '/', 'v', 'm', '/', 'g', 'o',
                             'l', 'd', "", 0),
                        CONTROL_ERROR_BUSY);
    assert_string_equal(call(bus, NULL, "ListReadings", "aysu", 2, '/', 'x', "", 0),
                        CONTROL_ERROR_NOT_FOUND);
    assert_string_equal(call(bus, NULL, "Reload", NULL), CONTROL_ERROR_INVALID_CONFIGURATION);
    sd_bus_flush_close_unref(bus);
}

static char *introspect(sd_bus *bus)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL, *reply = NULL;
    const char *xml;

    assert_true(sd_bus_message_new_method_call(bus, &message, NULL, CONTROL_OBJECT_PATH,
                                               "org.freedesktop.DBus.Introspectable",
                                               "Introspect") >= 0);
    assert_true(sd_bus_call(bus, message, 10 * USEC_PER_SEC, NULL, &reply) >= 0);
    assert_true(sd_bus_message_read(reply, "s", &xml) >= 0);
    return strdup(xml);
}

/* "s cursor, u limit": each is an argument of the method's, in this order. Returns how many. */
static unsigned check_arguments(const char *method, const char *end, char *arguments)
{
    char *rest = arguments, *argument;
    unsigned n = 0;

    for (; (argument = strsep(&rest, ",")); n++) {
        char type[20], name[40], tag[120];

        if (sscanf(argument, " %19s %39s", type, name) != 2)
            break;
        (void)snprintf(tag, sizeof(tag), "<arg type=\"%s\" name=\"%s\" direction=\"in\"/>", type,
                       name);
        method = strstr(method, tag);
        if (!method || method > end)
            fail_msg("%s %s is no argument", type, name);
    }
    return n;
}

/* What control.h says of the methods is what introspection shows: each, with its arguments. */
static void test_methods_are_as_documented(void **state)
{
    _cleanup_free_ char *path = NULL, *line = NULL, *xml = NULL;
    sd_bus *bus = bus_on(dial(*state));
    unsigned n = 0, n_shown = 0;
    const char *end;
    size_t size = 0;
    FILE *file;

    if (!getenv("top_srcdir"))
        skip();
    xml = introspect(bus);
    assert_true(asprintf(&path, "%s/include/qcaudit/control.h", getenv("top_srcdir")) > 0);
    file = fopen(path, "re");
    assert_non_null(file);
    while (getline(&line, &size, file) > 0) {
        char name[40], arguments[200] = "", tag[60];
        const char *method;
        unsigned n_in = 0;

        if (sscanf(line, " * %39[A-Za-z](%199[^)]) -> ", name, arguments) < 1 ||
            !strstr(line, ") -> ") || line[3] < 'A' || line[3] > 'Z')
            continue;
        (void)snprintf(tag, sizeof(tag), "<method name=\"%s\">", name);
        method = strstr(xml, tag);
        if (!method)
            fail_msg("there is no method %s", name);
        end = strstr(method, "</method>");
        for (const char *at = method; (at = strstr(at, "direction=\"in\"")) && at < end; at++)
            n_in++;
        assert_int_equal(check_arguments(method, end, arguments), n_in);
        n++;
    }
    fclose(file);
    end = strstr(xml, "<interface name=\"" CONTROL_INTERFACE "\">");
    assert_non_null(end);
    while ((end = strstr(end, "<method name=")) != NULL) {
        n_shown++;
        end++;
    }
    assert_int_equal(n, n_shown);
    assert_true(n > 20);
    sd_bus_flush_close_unref(bus);
}

/* Where the store is asked, it is asked for that. */
static void test_history_is_what_was_asked(void **state)
{
    _cleanup_(json_object_putp) json_object *filter = json_tokener_parse(
        "{\"path\":\"/a\",\"name\":\"leak\",\"since\":5,\"until\":18446744073709551615}");
    struct history_question history =
        question_history(question_find("ListEvents"), &(struct asked){ .filter = filter,
                                                                       .cursor = "7", .limit = 9 });

    assert_int_equal(history.of, HISTORY_EVENTS);
    assert_string_equal(history.path, "/a");
    assert_string_equal(history.finding, "leak");
    assert_true(history.since == 5 && history.until == UINT64_MAX);
    assert_string_equal(history.cursor, "7");
    assert_int_equal(history.limit, 9);
    history = question_history(question_find("ListReadings"), &(struct asked){ .path = "/b" });
    assert_int_equal(history.of, HISTORY_READINGS);
    assert_string_equal(history.path, "/b");
    assert_null(history.finding);
    assert_null(question_find("GetStatus"));
    assert_null(question_find("Nothing"));
}

static void test_limit_is_bounded(void **state)
{
    static const struct {
        unsigned asked, given;
    } limits[] = { { 5, 5 }, { 0, CONTROL_LIMIT_MAX }, { 4000000000, CONTROL_LIMIT_MAX } };
    sd_bus *bus = bus_on(dial(*state));

    for (size_t i = 0; i < ELEMENTSOF(limits); i++) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(json_object_putp) json_object *rows = NULL;
        const char *next;

        assert_null(call(bus, &reply, "ListImages", "a{sv}su", 0, "", limits[i].asked));
        assert_int_equal(control_read_rows(reply, &rows), 0);
        assert_int_equal(json_object_array_length(rows), limits[i].given);
        assert_true(sd_bus_message_read(reply, "s", &next) > 0);
        assert_string_equal(next, "more");
    }
    sd_bus_flush_close_unref(bus);
}

static void test_scan(void **state)
{
    sd_bus *bus = bus_on(dial(*state));
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    uint64_t ticket;

    assert_null(call(bus, &reply, "Scan", "aay", 1, 2, '/', 'a'));
    assert_true(sd_bus_message_read(reply, "t", &ticket) > 0);
    assert_int_equal(ticket, 41);
    assert_string_equal(call(bus, NULL, "Scan", "aay", 2, 2, '/', 'a', 2, '/', 'b'),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    assert_string_equal(call(bus, NULL, "Scan", "aay", 1, 2, 'a', 'b'),
                        CONTROL_ERROR_INVALID_ARGUMENT);
    sd_bus_flush_close_unref(bus);
}

static void test_answer_comes_later(void **state)
{
    sd_bus *bus = bus_on(dial(*state));
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    _cleanup_(json_object_putp) json_object *rows = NULL;

    assert_null(call(bus, &reply, "ListEvents", "a{sv}su", 0, "", 10));
    assert_int_equal(control_read_rows(reply, &rows), 0);
    assert_int_equal(json_object_array_length(rows), 1);
    sd_bus_flush_close_unref(bus);
}

static int count_signal(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    (*(int *)userdata)++;
    return 0;
}

static void test_signals_go_to_subscribers(void **state)
{
    struct server *server = *state;
    sd_bus *listening = bus_on(dial(server)), *other = bus_on(dial(server));
    int heard = 0, overheard = 0;

    assert_true(sd_bus_match_signal(listening, NULL, NULL, NULL, CONTROL_INTERFACE, NULL,
                                    count_signal, &heard) >= 0);
    assert_true(sd_bus_match_signal(other, NULL, NULL, NULL, CONTROL_INTERFACE, NULL, count_signal,
                                    &overheard) >= 0);
    assert_null(call(listening, NULL, "Subscribe", NULL));
    assert_null(call(other, NULL, "GetStatus", NULL));
    atomic_store(&server->signals, 3);
    assert_int_equal(write(server->wake[1], "s", 1), 1);
    while (heard < 3)
        if (sd_bus_process(listening, NULL) == 0)
            assert_true(sd_bus_wait(listening, 10 * USEC_PER_SEC) > 0);
    /* an answer that comes after them proves that they were not sent there */
    assert_null(call(other, NULL, "GetStatus", NULL));
    while (sd_bus_process(other, NULL) > 0)
        ;
    assert_int_equal(overheard, 0);
    sd_bus_flush_close_unref(listening);
    sd_bus_flush_close_unref(other);
}

/* Reads what was under way until the peer's end of it; the number of bytes. Fails when no end
 * comes. */
static size_t drain(int fd)
{
    struct timeval limit = { .tv_sec = 20 };
    static char buffer[65536];
    size_t total = 0;
    ssize_t n;

    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    while ((n = read(fd, buffer, sizeof(buffer))) > 0)
        total += (size_t)n;
    assert_true(n == 0 || errno == ECONNRESET);
    return total;
}

/* A subscriber that never reads is dropped instead of being kept signals for. */
static void test_deaf_subscriber_is_dropped(void **state)
{
    struct server *server = *state;
    int fd = dial(server), end = dup(fd);
    sd_bus *deaf = bus_on(fd), *other = bus_on(dial(server));

    assert_null(call(deaf, NULL, "Subscribe", NULL));
    atomic_store(&server->signals, 100000);
    assert_int_equal(write(server->wake[1], "s", 1), 1);
    /* the second answer comes when all of them were sent, whichever came first */
    assert_null(call(other, NULL, "GetStatus", NULL));
    assert_null(call(other, NULL, "GetStatus", NULL));
    assert_true(drain(end) < 16 * 1000 * 1000);
    close(end);
    sd_bus_close_unref(deaf);
    sd_bus_flush_close_unref(other);
}

/* One that asks for 500 pages of 1 MB and reads nothing. */
static void test_choked_client_is_dropped(void **state)
{
    int fd = dial(*state), end = dup(fd), r = 0;
    sd_bus *bus = bus_on(fd), *other = bus_on(dial(*state));

    assert_null(call(bus, NULL, "GetStatus", NULL));
    for (int i = 0; i < 500 && r >= 0; i++) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
        uint64_t cookie;

        assert_true(sd_bus_message_new_method_call(bus, &message, NULL, CONTROL_OBJECT_PATH,
                                                   CONTROL_INTERFACE, "ListImages") >= 0);
        assert_true(sd_bus_message_append(message, "a{sv}su", 0, "", 1000) >= 0);
        r = sd_bus_send(bus, message, &cookie);     /* with a cookie: an answer is wanted */
    }
    /* its turn comes in between: 8 MB fit the kernel's buffer, 8 answers the queue */
    for (int i = 0; i < 100; i++)
        assert_null(call(other, NULL, "GetStatus", NULL));
    assert_true(drain(end) < 50 * 1000 * 1000);
    close(end);
    sd_bus_flush_close_unref(other);
    sd_bus_close_unref(bus);
}

static void test_garbage_is_dropped(void **state)
{
    static const char garbage[][24] = { "GET / HTTP/1.1\r\n\r\n", "\0AUTH EXTERNAL zz\r\n", "" };
    sd_bus *bus;

    for (size_t i = 0; i < ELEMENTSOF(garbage); i++) {
        char noise[4096];
        int fd = dial(*state);

        assert_true(fd >= 0);
        memset(noise, 0xa5, sizeof(noise));
        (void)!write(fd, garbage[i], sizeof(garbage[i]));
        (void)send(fd, noise, sizeof(noise), MSG_NOSIGNAL);
        close(fd);
    }
    bus = bus_on(dial(*state));
    assert_null(call(bus, NULL, "GetStatus", NULL));
    sd_bus_flush_close_unref(bus);
}

static void test_connections_are_bounded(void **state)
{
    int fds[80];
    sd_bus *bus;
    char byte;

    for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
        fds[i] = dial(*state);
        assert_true(fds[i] >= 0);
    }
    /* the last ones were accepted and closed at once */
    assert_int_equal(read(fds[ELEMENTSOF(fds) - 1], &byte, 1), 0);
    for (size_t i = 0; i < ELEMENTSOF(fds); i++)
        close(fds[i]);
    for (int tries = 0;; tries++) {     /* until the server saw that they are gone */
        bus = bus_on(dial(*state));
        if (!call(bus, NULL, "GetStatus", NULL))
            break;
        sd_bus_close_unref(bus);
        assert_true(tries < 1000);
    }
    sd_bus_flush_close_unref(bus);
}

/* A client that does not wait for the answer to its authentication. */
static void test_all_in_one_write(void **state)
{
    static const char hello[] = "\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
    /* Ping() of org.freedesktop.DBus.Peer, as D-Bus' specification has it, to / */
    static const char ping[] = "l\1\0\1\0\0\0\0\1\0\0\0\x45\0\0\0"
                               "\1\1o\0\1\0\0\0/\0\0\0\0\0\0\0"
                               "\2\1s\0\x19\0\0\0org.freedesktop.DBus.Peer\0\0\0\0\0\0\0"
                               "\3\1s\0\4\0\0\0Ping\0\0\0\0";
    char all[sizeof(hello) + sizeof(ping) - 2], answer[1000];
    int fd = dial(*state);
    size_t total = 0;
    ssize_t n;

    memcpy(all, hello, sizeof(hello) - 1);
    memcpy(all + sizeof(hello) - 1, ping, sizeof(ping) - 1);
    assert_int_equal(send(fd, all, sizeof(all), MSG_NOSIGNAL), sizeof(all));
    do {
        n = read(fd, answer + total, sizeof(answer) - total);
        assert_true(n > 0);             /* 0: it was closed without an answer */
        total += (size_t)n;
    } while (!memmem(answer, total, "l\2", 2));
    close(fd);
}

/* Of a message that is longer than any the interface has, not a byte is kept. */
static void test_endless_messages_are_dropped(void **state)
{
    static const char hello[] = "\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
    uint8_t header[16] = { 'l', 1, 0, 1, 0, 0, 0xf0, 7, 1 };    /* a body of 127 MB */
    int fds[32];

    for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
        fds[i] = dial(*state);
        assert_int_equal(send(fds[i], hello, sizeof(hello) - 1, MSG_NOSIGNAL), sizeof(hello) - 1);
        assert_int_equal(send(fds[i], header, sizeof(header), MSG_NOSIGNAL), sizeof(header));
    }
    for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
        (void)drain(fds[i]);
        close(fds[i]);
    }
}

/* More than the buffers between hold at once. */
static void test_long_message(void **state)
{
    sd_bus *bus = bus_on(dial(*state));
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL, *reply = NULL;
    static char path[4000];
    uint64_t ticket;

    memset(path, 'x', sizeof(path) - 1);
    path[0] = '/';
    assert_true(sd_bus_message_new_method_call(bus, &message, NULL, CONTROL_OBJECT_PATH,
                                               CONTROL_INTERFACE, "Scan") >= 0);
    assert_true(sd_bus_message_open_container(message, 'a', "ay") >= 0);
    for (int i = 0; i < 500; i++)
        append_path(message, path);
    assert_true(sd_bus_message_close_container(message) >= 0);
    assert_true(sd_bus_call(bus, message, 10 * USEC_PER_SEC, NULL, &reply) >= 0);
    assert_true(sd_bus_message_read(reply, "t", &ticket) > 0);
    assert_int_equal(ticket, 540);
    sd_bus_flush_close_unref(bus);
}

/* Without a word about what fails: the daemon may close it at any moment. */
static bool can_subscribe(const struct server *server)
{
    sd_bus *bus = NULL;
    int fd = dial(server);

    return fd >= 0 && sd_bus_new(&bus) >= 0 && sd_bus_set_fd(bus, fd, fd) >= 0 &&
           sd_bus_start(bus) >= 0 && !call(bus, NULL, "Subscribe", NULL);
}

/* A child of that uid subscribes as often as it can, and tells how many answered. */
static pid_t subscribe_as(const struct server *server, uid_t uid, int *ret_fd)
{
    int fds[2];
    pid_t pid;

    assert_int_equal(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        char n = 0;

        if (setgid(65534) < 0 || setuid(uid) < 0)
            _exit(1);
        for (int i = 0; i < 32; i++)
            n += can_subscribe(server);
        if (write(fds[1], &n, 1) != 1)
            _exit(2);
        for (;;)
            pause();
    }
    close(fds[1]);
    *ret_fd = fds[0];
    return pid;
}

static void test_readers_do_not_lock_out(void **state)
{
    sd_bus *bus;
    pid_t pids[8];
    int heard = 0;

    if (getuid() != 0)
        skip();
    for (size_t i = 0; i < ELEMENTSOF(pids); i++) {
        char n = 0;
        int fd;

        pids[i] = subscribe_as(*state, 60000 + (uid_t)i, &fd);
        assert_int_equal(read(fd, &n, 1), 1);
        /* each uid has few, and all of them together have no more than their share */
        assert_int_equal(n, i < 6 ? 8 : 0);
        heard += n;
        close(fd);
    }
    assert_int_equal(heard, 48);
    for (int i = 0; i < 3; i++) {
        bus = bus_on(dial(*state));
        assert_null(call(bus, NULL, "GetStatus", NULL));
        assert_null(call(bus, NULL, "Subscribe", NULL));
        sd_bus_flush_close_unref(bus);
    }
    for (size_t i = 0; i < ELEMENTSOF(pids); i++) {
        assert_int_equal(kill(pids[i], SIGKILL), 0);
        assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
    }
}

/* Runs in a child with another uid; its exit status is the number of what went wrong, 0 for
 * nothing. */
static int as_nobody(const struct server *server, const char *reading, const char *changing)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        sd_bus *bus;
        const char *error;
        int fd;

        if (setgid(65534) < 0 || setuid(65534) < 0)
            _exit(10);
        fd = dial(server);
        if (fd < 0)
            _exit(11);
        bus = bus_on(fd);
        error = call(bus, NULL, "GetStatus", NULL);
        if (strcmp(error ? error : "", reading) != 0)
            _exit(12);
        error = call(bus, NULL, "Reload", NULL);
        if (strcmp(error ? error : "", changing) != 0)
            _exit(13);
        _exit(0);
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_strangers_may_not_read(void **state)
{
    if (getuid() != 0)
        skip();
    assert_int_equal(as_nobody(*state, CONTROL_ERROR_ACCESS_DENIED, CONTROL_ERROR_ACCESS_DENIED),
                     0);
}

static void test_strangers_may_read_when_public(void **state)
{
    if (getuid() != 0)
        skip();
    assert_int_equal(as_nobody(*state, "", CONTROL_ERROR_ACCESS_DENIED), 0);
}

/* ---- the socket's file ----------------------------------------------------------------------- */

static int control_in(const char *directory, struct control **ret_control)
{
    static const struct control_ops ops = { .status = op_status };
    _cleanup_(sd_event_unrefp) sd_event *event = NULL;
    struct config *config = NULL;
    int r;

    assert_int_equal(sd_event_new(&event), 0);
    assert_int_equal(config_new(&config), 0);
    r = control_new(event, directory, config, &ops, NULL, ret_control);
    config_free(config);
    return r;
}

static void test_stale_socket_is_replaced(void **state)
{
    char directory[] = "/tmp/qca-stale.XXXXXX", path[64];
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct control *control = NULL, *second = NULL;
    struct stat st;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof(path), "%s/control", directory);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    assert_int_equal(control_in(directory, &control), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666);
    /* somebody answers there now */
    assert_int_equal(control_in(directory, &second), -EADDRINUSE);
    assert_null(second);
    control_free(control);
    assert_int_equal(rmdir(directory), 0);
}

static void test_other_files_are_left_alone(void **state)
{
    char directory[] = "/tmp/qca-stale.XXXXXX", path[64];
    struct control *control = NULL;
    int fd;

    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof(path), "%s/control", directory);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(control_in(directory, &control), -ENOTSOCK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(directory), 0);
}

static void test_long_path(void **state)
{
    char directory[] = "/tmp/qca-long.XXXXXX", path[300];
    struct control *control = NULL;
    struct stat st;

    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof(path), "%s/%0200d", directory, 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(control_in(path, &control), 0);
    (void)snprintf(path, sizeof(path), "%s/%0200d/control", directory, 0);
    assert_int_equal(stat(path, &st), 0);
    control_free(control);
    (void)snprintf(path, sizeof(path), "%s/%0200d", directory, 0);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(directory), 0);
}

/* ---- the group ------------------------------------------------------------------------------- */

static void test_group_changes(void **state)
{
    char directory[] = "/tmp/qca-group.XXXXXX";
    static const struct control_ops ops = { .status = op_status };
    _cleanup_(sd_event_unrefp) sd_event *event = NULL;
    struct control *control = NULL;
    struct config *config = NULL;

    assert_non_null(mkdtemp(directory));
    assert_int_equal(sd_event_new(&event), 0);
    assert_int_equal(config_new(&config), 0);
    free(config->control_group);
    config->control_group = strdup("daemon");   /* not root's: 0 is what stands there before */
    assert_int_equal(control_new(event, directory, config, &ops, NULL, &control), 0);
    assert_true(control->has_group);
    assert_int_equal(control->group, getgrnam("daemon")->gr_gid);
    strcpy(config->control_group, "sys");       /* 3 on every Debian */
    control_set_config(control, config);
    assert_false(control->has_group);           /* not known yet */
    while (!control->has_group)
        assert_true(sd_event_run(event, 10 * USEC_PER_SEC) > 0);
    assert_int_equal(control->group, getgrnam("sys")->gr_gid);
    control_set_config(control, config);
    assert_true(control->has_group);            /* the same: goes on meanwhile */
    strcpy(config->control_group, "-?-");       /* no such group */
    control_set_config(control, config);
    assert_false(control->has_group);
    assert_true(sd_event_run(event, 10 * USEC_PER_SEC) > 0);
    assert_false(control->has_group);
    control_set_config(control, config);        /* freed while somebody asks */
    control_free(control);
    config_free(config);
    assert_int_equal(rmdir(directory), 0);
}

/* ---- the system bus -------------------------------------------------------------------------- */

static const char *bus_call(sd_bus *bus, sd_bus_message **ret_reply, const char *method)
{
    sd_bus_error error = SD_BUS_ERROR_NULL;
    static char name[100];
    int r = sd_bus_call_method(bus, CONTROL_BUS_NAME, CONTROL_OBJECT_PATH, CONTROL_INTERFACE,
                               method, &error, ret_reply, NULL);

    (void)snprintf(name, sizeof(name), "%s", error.name ? error.name : "");
    sd_bus_error_free(&error);
    return r < 0 ? name : NULL;
}

/* A bus of the test's own, with everything allowed; its pid. */
static pid_t start_bus(const char *directory)
{
    char path[128], address[160];
    FILE *file;
    pid_t pid;

    (void)snprintf(path, sizeof(path), "%s/bus.conf", directory);
    file = fopen(path, "we");
    assert_non_null(file);
    (void)fprintf(
        file,
        "<busconfig><type>system</type><listen>unix:path=%s/bus</listen><auth>EXTERNAL</auth>"
        "<policy context='default'><allow send_destination='*' eavesdrop='true'/>"
        "<allow eavesdrop='true'/><allow own='*'/><allow "
        "user='*'/></policy></busconfig>",
        directory);
    assert_int_equal(fclose(file), 0);
    pid = fork();
    if (pid == 0) {
        char option[160];

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)snprintf(option, sizeof(option), "--config-file=%s", path);
        (void)execlp("dbus-daemon", "dbus-daemon", "--nofork", "--nopidfile", option, (char *)NULL);
        _exit(1);
    }
    (void)snprintf(path, sizeof(path), "%s/bus", directory);
    for (int i = 0; i < 500 && access(path, F_OK) < 0; i++)
        (void)usleep(10000);
    (void)snprintf(address, sizeof(address), "unix:path=%s", path);
    assert_int_equal(setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1), 0);
    return pid;
}

/* reading: the error expected, "" none. */
static int bus_as_nobody(gid_t gid, const char *reading)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        sd_bus *bus = NULL;
        const char *error;

        if (setgroups(0, NULL) < 0 || setgid(gid) < 0 || setuid(65534) < 0 ||
            sd_bus_open_system(&bus) < 0)
            _exit(10);
        error = bus_call(bus, NULL, "GetStatus");
        _exit(strcmp(error ?: "", reading) == 0 ? 0 : 11);
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_system_bus(void **state)
{
    struct server *server = *state;
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    _cleanup_(json_object_putp) json_object *status = NULL;
    sd_bus *bus = NULL;
    char path[128];
    int heard = 0;
    pid_t pid;

    if (access("/usr/bin/dbus-daemon", X_OK) < 0)
        skip();
    pid = start_bus(server->directory);
    /* the thread only waits until then, so nobody else uses the event loop */
    assert_int_equal(write(server->stop[1], "", 1), 1);
    assert_int_equal(pthread_join(server->thread, NULL), 0);
    sd_event_unref(server->event);
    control_free(server->control);
    assert_int_equal(read(server->stop[0], path, 1), 1);
    server_loop(server);
    assert_int_equal(control_bus_new(server->control, &server->control->bus), 0);
    server->control->has_group = true;
    server->control->group = 65534;
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);

    /* its socket is there before anybody listens on it */
    for (int tries = 0; sd_bus_open_system(&bus) < 0; tries++) {
        assert_true(tries < 500);
        (void)usleep(10000);
    }
    assert_true(sd_bus_set_method_call_timeout(bus, 10 * USEC_PER_SEC) >= 0);
    /* until the name is there */
    for (int tries = 0; bus_call(bus, &reply, "GetStatus"); tries++) {
        assert_true(tries < 500);
        (void)usleep(10000);
    }
    assert_int_equal(control_read_entry(reply, &status), 0);
    assert_string_equal(json_object_get_string(json_object_object_get(status, "version")), "1.2");
    assert_string_equal(bus_call(bus, NULL, "NoSuchMethod"), SD_BUS_ERROR_UNKNOWN_METHOD);
    assert_string_equal(bus_call(bus, NULL, "Resume"), SD_BUS_ERROR_INVALID_ARGS);
    assert_true(sd_bus_match_signal(bus, NULL, CONTROL_BUS_NAME, NULL, CONTROL_INTERFACE, NULL,
                                    count_signal, &heard) >= 0);
    assert_null(bus_call(bus, NULL, "Subscribe"));
    atomic_store(&server->signals, 2);
    assert_int_equal(write(server->wake[1], "s", 1), 1);
    while (heard < 2)
        if (sd_bus_process(bus, NULL) == 0)
            assert_true(sd_bus_wait(bus, 10 * USEC_PER_SEC) > 0);
    if (getuid() == 0) {
        assert_int_equal(bus_as_nobody(65533, CONTROL_ERROR_ACCESS_DENIED), 0);
        assert_int_equal(bus_as_nobody(65534, ""), 0);
    }
    sd_bus_flush_close_unref(bus);
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    (void)snprintf(path, sizeof(path), "%s/bus", server->directory);
    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "%s/bus.conf", server->directory);
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
#define T(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    static const struct CMUnitTest tests[] = {
        T(test_answers),
        T(test_bad_arguments),
        T(test_mutes),
        T(test_methods_are_as_documented),
        cmocka_unit_test(test_history_is_what_was_asked),
        T(test_limit_is_bounded),
        T(test_scan),
        T(test_answer_comes_later),
        T(test_signals_go_to_subscribers),
        T(test_deaf_subscriber_is_dropped),
        T(test_choked_client_is_dropped),
        T(test_garbage_is_dropped),
        T(test_connections_are_bounded),
        T(test_strangers_may_not_read),
        T(test_system_bus),
        cmocka_unit_test(test_group_changes),
        T(test_endless_messages_are_dropped), T(test_long_message),
        T(test_all_in_one_write),
        cmocka_unit_test_setup_teardown(test_readers_do_not_lock_out, setup_public, teardown),
        cmocka_unit_test_setup_teardown(test_strangers_may_read_when_public, setup_public,
                                        teardown),
        cmocka_unit_test(test_stale_socket_is_replaced),
        cmocka_unit_test(test_other_files_are_left_alone),
        cmocka_unit_test(test_long_path),
    };

    (void)log_open("qcauditd", LOG_TARGET_CONSOLE, LOG_CRIT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
