/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control interface on a system bus: methods, properties, signals, who may what, and a bus that
 * goes and comes. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/control/internal.h"
#include "daemon/control/share.h"
#include "helpers/clock.h"
#include "helpers/control-json.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

DEFINE_CLEANUP(json_object *, json_object_put)

struct world {
    char directory[64];
    pid_t daemon;               /* the bus */
    struct config *config;
    sd_event *event;
    struct control *control;
    pthread_t thread;
    int wake[2];
    atomic_int images;          /* what the status says */
};

static int op_status(void *userdata, json_object **ret_entry)
{
    struct world *world = userdata;
    char text[200];

    (void)snprintf(text, sizeof(text), "{\"version\":\"1.2\",\"images\":%d,\"depth-max\":3,"
                   "\"open\":{\"critical\":1,\"info\":0}}", atomic_load(&world->images));
    *ret_entry = json_tokener_parse(text);
    return 0;
}

static int op_pause(void *userdata, const char *datastore, uint64_t until, control_done_fn reply,
                    void *reply_userdata)
{
    reply(reply_userdata, 0, NULL);
    return 0;
}

static int on_wake(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct world *world = userdata;
    _cleanup_(json_object_putp)
        json_object *finding = json_tokener_parse("{\"id\":1,\"path\":\"/a\"}");
    char what;

    if (read(fd, &what, 1) != 1 || what == 'x')
        return sd_event_exit(world->event, 0);
    assert_int_equal(control_finding_changed(world->control, finding, "opened"), 0);
    assert_int_equal(control_status_changed(world->control), 0);
    return 0;
}

static void *serve(void *userdata)
{
    struct world *world = userdata;

    (void)sd_event_loop(world->event);
    return NULL;
}

static void wake(struct world *world, const char *what)
{
    assert_int_equal(write(world->wake[1], what, 1), 1);
}

/* ---- the bus --------------------------------------------------------------------------------- */

static void start_bus(struct world *world)
{
    char option[128], path[128];

    (void)snprintf(option, sizeof(option), "--config-file=%s/bus.conf", world->directory);
    (void)snprintf(path, sizeof(path), "%s/bus", world->directory);
    (void)unlink(path);
    world->daemon = fork();
    if (world->daemon == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("dbus-daemon", "dbus-daemon", option, "--nofork", "--nopidfile", NULL);
        _exit(127);
    }
    assert_true(world->daemon > 0);
    for (int i = 0; i < 500 && access(path, F_OK) < 0; i++)
        usleep(10000);
}

static void stop_bus(struct world *world)
{
    if (world->daemon <= 0)
        return;
    (void)kill(world->daemon, SIGTERM);
    assert_int_equal(waitpid(world->daemon, NULL, 0), world->daemon);
    world->daemon = 0;
}

/* may_own: whether anybody may have a name on the bus. */
static void write_bus_config(const struct world *world, bool may_own)
{
    char path[128];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/bus.conf", world->directory);
    file = fopen(path, "we");
    assert_non_null(file);
    fprintf(
        file,
        "<busconfig><listen>unix:path=%s/bus</listen><auth>EXTERNAL</auth><policy "
        "context=\"default\"><allow user=\"*\"/><%s own=\"*\"/><allow "
        "send_destination=\"*\"/><allow receive_sender=\"*\"/></policy></busconfig>\n",
        world->directory, may_own ? "allow" : "deny");
    assert_int_equal(fclose(file), 0);
}

static bool have_bus(void)
{
    return access("/usr/bin/dbus-daemon", X_OK) >= 0;
}

static int setup(void **state)
{
    static const struct control_ops ops = { .status = op_status, .pause = op_pause };
    struct world *world = calloc(1, sizeof(*world));
    char address[128];

    assert_non_null(world);
    (void)strcpy(world->directory, "/tmp/qca-bus.XXXXXX");
    assert_non_null(mkdtemp(world->directory));
    assert_int_equal(chmod(world->directory, 0755), 0);
    (void)snprintf(address, sizeof(address), "unix:path=%s/bus", world->directory);
    assert_int_equal(setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1), 0);
    write_bus_config(world, true);
    atomic_init(&world->images, 3);
    assert_int_equal(config_new(&world->config), 0);
    assert_int_equal(pipe2(world->wake, O_CLOEXEC), 0);
    assert_int_equal(sd_event_new(&world->event), 0);
    assert_true(sd_event_add_io(world->event, NULL, world->wake[0], EPOLLIN, on_wake, world) >= 0);
    assert_int_equal(control_new(world->event, world->directory, world->config, &ops, world,
                                 &world->control),
                     0);
    assert_null(world->control->bus);           /* somebody's own folder: not for the system bus */
    *state = world;
    return 0;
}

/* The daemon is there; the bus may be, or not yet. */
static void serve_on_bus(struct world *world)
{
    assert_int_equal(control_bus_new(world->control, &world->control->bus), 0);
    assert_int_equal(pthread_create(&world->thread, NULL, serve, world), 0);
}

static int teardown(void **state)
{
    struct world *world = *state;
    static const char *const names[] = { "bus", "bus.conf" };
    char path[128];

    if (world->thread) {
        wake(world, "x");
        assert_int_equal(pthread_join(world->thread, NULL), 0);
    }
    control_free(world->control);
    sd_event_unref(world->event);
    config_free(world->config);
    stop_bus(world);
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", world->directory, names[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(world->directory), 0);
    close(world->wake[0]);
    close(world->wake[1]);
    free(world);
    return 0;
}

/* ---- a client -------------------------------------------------------------------------------- */

static sd_bus *open_bus(void)
{
    sd_bus *bus = NULL;

    assert_true(sd_bus_open_system(&bus) >= 0);
    return bus;
}

/* The error's name, "" when it went well. */
static const char *call(sd_bus *bus, const char *interface, const char *method,
                        sd_bus_message **ret_reply, const char *types, ...)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
    static char name[100];
    sd_bus_error error = SD_BUS_ERROR_NULL;
    va_list ap;
    int r;

    assert_true(sd_bus_message_new_method_call(bus, &message, CONTROL_BUS_NAME, CONTROL_OBJECT_PATH,
                                               interface, method) >= 0);
    va_start(ap, types);
    r = types ? sd_bus_message_appendv(message, types, ap) : 0;
    va_end(ap);
    assert_true(r >= 0);
    r = sd_bus_call(bus, message, 10 * USEC_PER_SEC, &error, ret_reply);
    (void)snprintf(name, sizeof(name), "%s", r >= 0 ? "" : error.name ? error.name : strerror(-r));
    sd_bus_error_free(&error);
    return name;
}

static bool answers(void)
{
    _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;

    return sd_bus_open_system(&bus) >= 0 && !*call(bus, CONTROL_INTERFACE, "GetStatus", NULL, NULL);
}

static void wait_for_answer(void)
{
    for (int i = 0; i < 1000; i++) {
        if (answers())
            return;
        usleep(20000);
    }
    fail_msg("no answer on the bus");
}

/* A bus takes users alone that the system knows; these two are everywhere. */
#define NOBODY 65534
#define DAEMON 1
#define PROPERTIES "org.freedesktop.DBus.Properties"

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_methods_and_properties(void **state)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *one = NULL, *all = NULL, *xml = NULL;
    _cleanup_(json_object_putp) json_object *properties = NULL;
    _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
    const char *text;
    uint64_t images;

    if (!have_bus())
        skip();
    start_bus(*state);
    serve_on_bus(*state);
    wait_for_answer();
    bus = open_bus();
    assert_string_equal(call(bus, CONTROL_INTERFACE, "NoSuchMethod", NULL, NULL),
                        SD_BUS_ERROR_UNKNOWN_METHOD);
    assert_string_equal(call(bus, CONTROL_INTERFACE, "Pause", NULL, "s", "x"),
                        SD_BUS_ERROR_INVALID_ARGS);
    assert_string_equal(call(bus, CONTROL_INTERFACE, "Pause", NULL, "st", "x", UINT64_C(0)), "");
    assert_string_equal(call(bus, PROPERTIES, "Get", &one, "ss", CONTROL_INTERFACE, "Images"), "");
    assert_true(sd_bus_message_read(one, "v", "t", &images) > 0);
    assert_int_equal(images, 3);
    assert_string_equal(call(bus, PROPERTIES, "GetAll", &all, "s", CONTROL_INTERFACE), "");
    assert_int_equal(control_read_entry(all, &properties), 0);
    assert_int_equal(json_object_object_length(properties), 18);
    assert_string_equal(json_object_get_string(json_object_object_get(properties, "Version")),
                        "1.2");
    assert_string_equal(call(bus, PROPERTIES, "Get", NULL, "ss", CONTROL_INTERFACE, "None"),
                        SD_BUS_ERROR_UNKNOWN_PROPERTY);
    assert_string_equal(call(bus, PROPERTIES, "Get", NULL, "ss", "org.none", "Images"),
                        SD_BUS_ERROR_UNKNOWN_INTERFACE);
    assert_string_equal(call(bus, PROPERTIES, "Get", NULL, "s", "x"), SD_BUS_ERROR_INVALID_ARGS);
    assert_string_equal(call(bus, PROPERTIES, "Set", NULL, "ssv", CONTROL_INTERFACE, "Images", "t",
                             UINT64_C(1)),
                        SD_BUS_ERROR_PROPERTY_READ_ONLY);
    assert_string_equal(call(bus, "org.freedesktop.DBus.Introspectable", "Introspect", &xml, NULL),
                        "");
    assert_true(sd_bus_message_read(xml, "s", &text) > 0);
    assert_non_null(
        strstr(text, "<property name=\"FindingsOpen\" type=\"a{sv}\" access=\"read\">"));
    assert_non_null(strstr(text, "<method name=\"Acknowledge\">"));
    assert_non_null(strstr(text, "<arg type=\"ay\" name=\"path\" direction=\"in\"/>"));
    assert_non_null(strstr(text, "<arg type=\"t\" name=\"ticket\" direction=\"out\"/>"));
    assert_non_null(strstr(text, "<arg type=\"s\" name=\"next\" direction=\"out\"/>"));
    /* None without a name. */
    assert_null(strstr(strstr(text, CONTROL_INTERFACE), "<arg type=\"ay\" direction"));
    assert_null(strstr(strstr(text, CONTROL_INTERFACE), "<arg type=\"a{sv}\" direction"));
    assert_non_null(strstr(text, "<signal name=\"FindingChanged\">"));
}

/* The same properties on the private socket, where sd-bus itself asks for them. */
static void test_properties_of_the_socket(void **state)
{
    struct world *world = *state;
    struct connection stranger = { .control = world->control };
    _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    char address[128];
    uint64_t images;

    assert_true(control_property_get(NULL, NULL, NULL, "Images", NULL, &stranger, &error) < 0);
    assert_string_equal(error.name, CONTROL_ERROR_ACCESS_DENIED);
    sd_bus_error_free(&error);
    assert_int_equal(pthread_create(&world->thread, NULL, serve, world), 0);
    (void)snprintf(address, sizeof(address), "unix:path=%s/control", world->directory);
    assert_true(sd_bus_new(&bus) >= 0);
    assert_true(sd_bus_set_address(bus, address) >= 0);
    assert_true(sd_bus_start(bus) >= 0);
    assert_true(sd_bus_get_property_trivial(bus, NULL, CONTROL_OBJECT_PATH, CONTROL_INTERFACE,
                                            "Images", NULL, 't', &images) >= 0);
    assert_int_equal(images, 3);
    assert_int_equal(sd_bus_set_property(bus, NULL, CONTROL_OBJECT_PATH, CONTROL_INTERFACE,
                                         "Images", NULL, "t", UINT64_C(1)),
                     -EROFS);
}

/* Runs as another user, and says by its status what he may: 1 read, 2 change, 4 properties. */
static int rights_of(uid_t uid)
{
    pid_t pid = fork();
    int status = 0;

    assert_true(pid >= 0);
    if (pid == 0) {
        sd_bus *bus = NULL;
        int rights = 0;

        if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0 ||
            sd_bus_open_system(&bus) < 0)
            _exit(64);
        if (!*call(bus, CONTROL_INTERFACE, "GetStatus", NULL, NULL))
            rights |= 1;
        if (!*call(bus, CONTROL_INTERFACE, "Pause", NULL, "st", "x", UINT64_C(0)))
            rights |= 2;
        if (!*call(bus, PROPERTIES, "Get", NULL, "ss", CONTROL_INTERFACE, "Images"))
            rights |= 4;
        sd_bus_flush_close_unref(bus);
        _exit(rights);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_rights(void **state)
{
    struct world *world = *state;

    if (!have_bus() || getuid() != 0)
        skip();
    start_bus(world);
    world->control->has_group = true;
    world->control->group = NOBODY;
    serve_on_bus(world);
    wait_for_answer();
    assert_int_equal(rights_of(0), 7);
    assert_int_equal(rights_of(NOBODY), 5);      /* his group */
    assert_int_equal(rights_of(DAEMON), 0);
    assert_int_equal(rights_of(0), 7);
    assert_int_equal(rights_of(DAEMON), 0);      /* whoever asked before him */
    world->control->public = true;
    assert_int_equal(rights_of(DAEMON), 5);
}

struct heard {
    int findings, properties, invalidated;
    json_object *changed;
};

static int on_signal(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    struct heard *heard = userdata;
    const char *interface;

    if (sd_bus_message_is_signal(message, CONTROL_INTERFACE, "FindingChanged"))
        heard->findings++;
    if (!sd_bus_message_is_signal(message, PROPERTIES, "PropertiesChanged"))
        return 0;
    heard->properties++;
    json_object_put(heard->changed);
    heard->changed = NULL;
    assert_true(sd_bus_message_read(message, "s", &interface) > 0);
    assert_string_equal(interface, CONTROL_INTERFACE);
    assert_int_equal(control_read_entry(message, &heard->changed), 0);
    return 0;
}

static void listen_until(sd_bus *bus, const int *counter, int n)
{
    while (*counter < n) {
        int r = sd_bus_process(bus, NULL);

        assert_true(r >= 0);
        if (r == 0)
            assert_true(sd_bus_wait(bus, 10 * USEC_PER_SEC) > 0);
    }
}

static void test_signals(void **state)
{
    _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
    struct world *world = *state;
    struct heard heard = { .findings = 0 };

    if (!have_bus())
        skip();
    start_bus(world);
    serve_on_bus(world);
    wait_for_answer();
    bus = open_bus();
    assert_true(sd_bus_add_filter(bus, NULL, on_signal, &heard) >= 0);
    assert_string_equal(call(bus, CONTROL_INTERFACE, "Subscribe", NULL, NULL), "");
    wake(world, "s");
    listen_until(bus, &heard.findings, 1);
    listen_until(bus, &heard.properties, 1);
    assert_true(json_object_object_length(heard.changed) >= 3);        /* nothing was told before */
    /* Then only what differs, and nothing when nothing does. */
    wake(world, "s");
    listen_until(bus, &heard.findings, 2);
    atomic_store(&world->images, 4);
    wake(world, "s");
    listen_until(bus, &heard.findings, 3);
    listen_until(bus, &heard.properties, 2);
    assert_int_equal(json_object_object_length(heard.changed), 1);
    assert_int_equal(json_object_get_int(json_object_object_get(heard.changed, "Images")), 4);
    json_object_put(heard.changed);
}

/* Says what was invalidated, behind what on_signal() read. */
static int on_broadcast(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
    struct heard *heard = userdata;
    const char *name;

    if (!sd_bus_message_is_signal(message, PROPERTIES, "PropertiesChanged"))
        return 0;
    (void)on_signal(message, heard, error);
    heard->invalidated = 0;
    assert_true(sd_bus_message_enter_container(message, 'a', "s") > 0);
    while (sd_bus_message_read(message, "s", &name) > 0)
        heard->invalidated += strcmp(name, "Images") == 0 ? 100 : 1;
    return 0;
}

/* Whoever has a match and never called Subscribe(): that something changed; what, only where
 * everybody may ask. */
static void test_broadcast(void **state)
{
    _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
    struct world *world = *state;
    struct heard heard = { .findings = 0 };

    if (!have_bus())
        skip();
    start_bus(world);
    world->control->public = false;
    serve_on_bus(world);
    wait_for_answer();
    bus = open_bus();
    assert_true(sd_bus_match_signal(bus, NULL, CONTROL_BUS_NAME, CONTROL_OBJECT_PATH, PROPERTIES,
                                    "PropertiesChanged", on_broadcast, &heard) >= 0);
    assert_true(sd_bus_match_signal(bus, NULL, CONTROL_BUS_NAME, CONTROL_OBJECT_PATH,
                                    CONTROL_INTERFACE, NULL, on_signal, &heard) >= 0);
    wake(world, "s");
    listen_until(bus, &heard.properties, 1);
    assert_int_equal(json_object_object_length(heard.changed), 0);
    assert_true(heard.invalidated >= 100);
    atomic_store(&world->images, 5);
    wake(world, "s");
    listen_until(bus, &heard.properties, 2);
    assert_int_equal(json_object_object_length(heard.changed), 0);
    assert_int_equal(heard.invalidated, 100);           /* Images, and no other */
    world->control->public = true;
    atomic_store(&world->images, 6);
    wake(world, "s");
    listen_until(bus, &heard.properties, 3);
    assert_int_equal(heard.invalidated, 0);
    assert_int_equal(json_object_object_length(heard.changed), 1);
    assert_int_equal(json_object_get_int(json_object_object_get(heard.changed, "Images")), 6);
    assert_int_equal(heard.findings, 0);        /* these have details, and are no broadcast */
    /* Whoever called Subscribe() has a match as well: the values come last. */
    world->control->public = false;
    assert_string_equal(call(bus, CONTROL_INTERFACE, "Subscribe", NULL, NULL), "");
    atomic_store(&world->images, 7);
    wake(world, "s");
    listen_until(bus, &heard.properties, 5);
    assert_int_equal(heard.invalidated, 0);
    assert_int_equal(json_object_get_int(json_object_object_get(heard.changed, "Images")), 7);
    json_object_put(heard.changed);
}

/* No bus when it starts, then one, then another one. */
static void test_bus_comes_and_goes(void **state)
{
    struct world *world = *state;

    if (!have_bus())
        skip();
    serve_on_bus(world);
    start_bus(world);
    wait_for_answer();
    stop_bus(world);
    assert_false(answers());
    start_bus(world);
    wait_for_answer();
}

/* A package's policy is read before its user is there: the bus refuses the name until it reads the
 * policy again, and the daemon has it then without a restart. */
static void test_name_is_refused_at_first(void **state)
{
    struct world *world = *state;

    if (!have_bus())
        skip();
    write_bus_config(world, false);
    start_bus(world);
    serve_on_bus(world);
    usleep(300000);             /* the first request was refused by then, or is later, and is not */
    assert_false(answers());
    write_bus_config(world, true);
    assert_int_equal(kill(world->daemon, SIGHUP), 0);
    wait_for_answer();
}

/* It ends while a call waits for its caller's credentials: nothing is leaked or used again. */
static void test_end_with_calls_under_way(void **state)
{
    struct world *world = *state;
    sd_bus *bus;

    if (!have_bus())
        skip();
    start_bus(world);
    serve_on_bus(world);
    wait_for_answer();
    bus = open_bus();
    for (int i = 0; i < 200; i++)
        assert_true(sd_bus_call_method_async(bus, NULL, CONTROL_BUS_NAME, CONTROL_OBJECT_PATH,
                                             CONTROL_INTERFACE, "GetStatus", NULL, NULL,
                                             NULL) >= 0);
    assert_true(sd_bus_flush(bus) >= 0);
    sd_bus_close_unref(bus);
}

struct flood {
    unsigned under_way, answered, refused;
};

static int on_answer(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    struct flood *flood = userdata;

    flood->under_way--;
    if (sd_bus_message_is_method_error(reply, NULL))
        flood->refused++;
    else
        flood->answered++;
    return 0;
}

static uint64_t now_usec(void)
{
    struct timespec now;

    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

/* Calls without a pause; true when no more was answered than his share, as long as it took. */
static bool flood_is_bounded(uint64_t begun)
{
    struct flood flood = { 0 };
    sd_bus *bus = NULL;
    uint64_t most;

    if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0 ||
        sd_bus_open_system(&bus) < 0)
        return false;
    while (flood.answered + flood.refused < 3000) {
        for (; flood.under_way < 60; flood.under_way++)
            if (sd_bus_call_method_async(bus, NULL, CONTROL_BUS_NAME, CONTROL_OBJECT_PATH,
                                         CONTROL_INTERFACE, "GetStatus", on_answer, &flood,
                                         NULL) < 0)
                return false;
        if (sd_bus_process(bus, NULL) == 0 && sd_bus_wait(bus, UINT64_MAX) < 0)
            return false;
    }
    most = SHARE_CALLS + (now_usec() - begun) / SHARE_USEC + 1;
    sd_bus_close_unref(bus);
    return flood.answered >= SHARE_CALLS && flood.answered <= most;
}

/* A user who asks without a pause has his share, and everybody else gets answers meanwhile. */
static void test_flood(void **state)
{
    struct world *world = *state;
    uint64_t begun = now_usec();
    int status = 0;
    pid_t pid;

    if (!have_bus() || getuid() != 0)
        skip();
    start_bus(world);
    world->control->has_group = true;
    world->control->group = NOBODY;
    serve_on_bus(world);
    wait_for_answer();
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(flood_is_bounded(begun) ? 0 : 1);
    while (waitpid(pid, &status, WNOHANG) == 0)
        assert_true(answers());
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(rights_of(0), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_methods_and_properties, setup, teardown),
        cmocka_unit_test_setup_teardown(test_properties_of_the_socket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rights, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broadcast, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bus_comes_and_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_name_is_refused_at_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_with_calls_under_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
