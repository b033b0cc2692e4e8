/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's control interface from the caller's side. */
#include "ctl/client.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "helpers/control-json.h"
#include "helpers/text.h"
#include "qcaudit/control.h"

#define CALL_USEC (60 * USEC_PER_SEC)

/* ---- the connection ----------------------------------------------------------------------- */

char *client_socket(const struct ctl *ctl)
{
    static const char system_socket[] = CONTROL_SYSTEM_RUNTIME_DIR "/" CONTROL_SOCKET_NAME;
    const char *environment = secure_getenv("QCAUDIT_SOCKET"),
               *runtime = secure_getenv("XDG_RUNTIME_DIR");
    char *path;

    if (ctl->socket)
        return strdup(ctl->socket);
    if (environment && *environment)
        return strdup(environment);
    if (geteuid() == 0 || access(system_socket, F_OK) == 0 || !runtime || !*runtime)
        return strdup(system_socket);
    return asprintf(&path, "%s/qcaudit/" CONTROL_SOCKET_NAME, runtime) < 0 ? NULL : path;
}

static int socket_connect(const char *path, int *ret_fd)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    /* By descriptor, as a path can be longer than sun_path. */
    _cleanup_close_ int place = open(path, O_PATH | O_CLOEXEC), fd = -1;

    if (place < 0)
        return -errno;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", place);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int bus_start(int *fd, sd_bus **ret_bus)
{
    sd_bus *bus = NULL;
    int r = sd_bus_new(&bus);

    if (r >= 0) {
        r = sd_bus_set_fd(bus, *fd, *fd);
        if (r >= 0)
            *fd = -1;
    }
    if (r >= 0)
        r = sd_bus_start(bus);
    if (r < 0) {
        sd_bus_unref(bus);
        return r;
    }
    *ret_bus = bus;
    return 0;
}

static int cannot_connect(const struct ctl *ctl, const char *path, int error)
{
    _cleanup_free_ char *shown = text_escape_string(path);

    if (error == -EACCES || error == -EPERM)
        return complain(
                   0,
                   "You may not connect to qcauditd (socket %s). Be root, or a member of the group "
                   "that its configuration names.",
                   shown),
               error;
    (void)complain(0, "qcauditd is not running (socket %s: %s).\n"
                      "Start it:                   systemctl start qcauditd\n"
                      "see why it ended:           systemctl status qcauditd\n"
                      "or look into its database:  qcauditctl --offline findings",
                   shown, strerror(-error));
    return error;
}

static uint64_t answer_usec(const struct ctl *ctl)
{
    return ctl->answer_usec > 0 ? ctl->answer_usec : CALL_USEC;
}

/* sd_bus_call() would wait for ever for a daemon that accepts and then says nothing. */
static int wait_until_ready(sd_bus *bus, uint64_t usec)
{
    uint64_t end = usec_now(CLOCK_MONOTONIC) + usec, now;
    int r;

    while ((r = sd_bus_is_ready(bus)) == 0) {
        r = sd_bus_process(bus, NULL);
        now = usec_now(CLOCK_MONOTONIC);
        if (r == 0 && now >= end)
            r = -ETIMEDOUT;
        if (r == 0)
            r = sd_bus_wait(bus, end - now);
        if (r < 0)
            return r;
    }
    return r < 0 ? r : 0;
}

/* The other side says nothing, or is not there any more. Returns error. */
static int connection_failed(const struct ctl *ctl, int error)
{
    _cleanup_free_ char *shown = ctl->host ? text_escape_string(ctl->host) : NULL, *quoted = NULL;
    bool ended = error == -ECONNRESET || error == -ENOTCONN || error == -EPIPE;

    if (ctl->host && text_quote_shell(ctl->host, &quoted) >= 0 && (ended || error == -ETIMEDOUT))
        (void)complain(0, "qcauditd of %s cannot be asked. Is it running? See: ssh %s systemctl "
                          "status qcauditd", shown, quoted);
    else if (ctl->own_daemon && (ended || error == -ETIMEDOUT))
        (void)complain(0, "The daemon of this run ended, or does not answer. It said:");
    else if (error == -ETIMEDOUT)
        (void)complain(0, "qcauditd does not answer. See: journalctl -u qcauditd");
    else if (ended)
        (void)complain(
            0,
            "qcauditd closed the connection: it stopped or could not start, or too many "
            "clients are connected.\n"
            "See why:                    systemctl status qcauditd\n"
            "look for mistakes:          qcauditd --check-config");
    else
        (void)complain(error, "Cannot speak to qcauditd");
    return error;
}

/* The bridge's option with an address that is safe for a shell, too: what that or D-Bus could take
 * for more than a letter is written as %XX (D-Bus Specification, "Server Addresses"). */
static char *socket_address(const char *path)
{
    static const char prefix[] = "--bus-path=unix:path=";
    char *address = malloc(sizeof(prefix) + 3 * strlen(path)), *out = address;

    if (!address)
        return NULL;
    out = stpcpy(out, prefix);
    for (const char *in = path; *in; in++)
        if ((*in >= 'a' && *in <= 'z') || (*in >= 'A' && *in <= 'Z') ||
            (*in >= '0' && *in <= '9') || strchr("-_/.", *in))
            *out++ = *in;
        else
            out += sprintf(out, "%%%02x", (unsigned char)*in);
    *out = '\0';
    return address;
}

/* As systemctl does it: ssh starts the bridge, which is a part of systemd and brings the daemon's
 * socket to standard input and output. */
static int remote_start(const struct ctl *ctl, sd_bus **ret_bus)
{
    _cleanup_free_ char *address = socket_address(
        ctl->socket ?: CONTROL_SYSTEM_RUNTIME_DIR "/" CONTROL_SOCKET_NAME);
    _cleanup_free_ char *host = strdup(ctl->host);
    char ssh[] = "ssh", options[] = "-xT", end[] = "--", bridge[] = "systemd-stdio-bridge";
    char *const argv[] = { ssh, options, end, host, bridge, address, NULL };
    sd_bus *bus = NULL;
    int r = address && host ? sd_bus_new(&bus) : -ENOMEM;

    if (r >= 0)
        r = sd_bus_set_exec(bus, argv[0], argv);
    if (r >= 0)
        r = sd_bus_start(bus);
    if (r < 0) {
        sd_bus_unref(bus);
        return complain(r, "Cannot run ssh");
    }
    *ret_bus = bus;
    return 0;
}

static int local_start(const struct ctl *ctl, sd_bus **ret_bus)
{
    _cleanup_free_ char *path = client_socket(ctl);
    _cleanup_close_ int fd = -1;
    int r;

    if (!path)
        return complain(-ENOMEM, "Cannot connect");
    r = socket_connect(path, &fd);
    if (r < 0)
        return cannot_connect(ctl, path, r);
    r = bus_start(&fd, ret_bus);
    return r < 0 ? complain(r, "Cannot speak to qcauditd") : 0;
}

static int client_connect(struct ctl *ctl)
{
    int r;

    if (ctl->bus)
        return 0;
    r = ctl->host ? remote_start(ctl, &ctl->bus) : local_start(ctl, &ctl->bus);
    if (r < 0)
        return r;
    r = wait_until_ready(ctl->bus, answer_usec(ctl));
    if (r < 0) {
        /* nothing is to be flushed, and that would wait for the daemon, too */
        ctl->bus = sd_bus_close_unref(ctl->bus);
        return connection_failed(ctl, r);
    }
    return 0;
}

/* ---- calls -------------------------------------------------------------------------------- */

int client_call_new(struct ctl *ctl, const char *method, sd_bus_message **ret_call)
{
    int r = client_connect(ctl);

    if (r < 0)
        return r;
    r = sd_bus_message_new_method_call(ctl->bus, ret_call, NULL, CONTROL_OBJECT_PATH,
                                       CONTROL_INTERFACE, method);
    return r < 0 ? complain(r, "Cannot call qcauditd") : 0;
}

static int call_failed(const struct ctl *ctl, int r, const sd_bus_error *error)
{
    _cleanup_free_ char *message = text_escape_string(error->message);

    if (sd_bus_error_has_name(error, CONTROL_ERROR_ACCESS_DENIED))
        return complain(0, "Permission denied: %s.", message), -EACCES;
    if (sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY))
        r = -ETIMEDOUT;
    if (sd_bus_error_has_name(error, SD_BUS_ERROR_DISCONNECTED))
        r = -ENOTCONN;
    if (r == -ETIMEDOUT || r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE)
        return connection_failed(ctl, r);
    if (message && *message)
        return complain(0, "%s.", message), r;
    return complain(r, "The call to qcauditd failed");
}

int client_call(struct ctl *ctl, sd_bus_message *call, const char *quiet_error,
                sd_bus_message **ret_reply)
{
    sd_bus_error error = SD_BUS_ERROR_NULL;
    int r = sd_bus_call(ctl->bus, call, answer_usec(ctl), &error, ret_reply);

    if (r < 0) {
        if (quiet_error && sd_bus_error_has_name(&error, quiet_error))
            r = -ENOENT;
        else
            r = call_failed(ctl, r, &error);
    }
    sd_bus_error_free(&error);
    return r < 0 ? r : 0;
}

int client_call_json(struct ctl *ctl, sd_bus_message *call, const char *quiet_error, bool rows,
                     json_object **ret_value)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    int r = client_call(ctl, call, quiet_error, &reply);

    if (r < 0)
        return r;
    r = rows ? control_read_rows(reply, ret_value) : control_read_entry(reply, ret_value);
    return r < 0 ? complain(r, "qcauditd gave an answer that makes no sense") : 0;
}

int client_rows(struct ctl *ctl, const char *question, json_object **ret_rows)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
    int r = client_call_new(ctl, question, &call);

    return r < 0 ? r : client_call_json(ctl, call, NULL, true, ret_rows);
}

/* ---- the interface ------------------------------------------------------------------------ */

int client_entry(struct ctl *ctl, const char *question, json_object *filter,
                 json_object **ret_entry)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
    int r = client_call_new(ctl, question, &call);

    if (r < 0)
        return r;
    r = filter ? control_append_entry(call, filter) : 0;
    return r < 0 ? complain(r, "Cannot call qcauditd")
                 : client_call_json(ctl, call, NULL, false, ret_entry);
}

static int append_rows(json_object *all, json_object *page)
{
    for (size_t i = 0; i < json_object_array_length(page); i++)
        if (json_object_array_add(all, json_object_get(json_object_array_get_idx(page, i))) < 0)
            return -ENOMEM;
    return 0;
}

/* One page: its rows are appended, *cursor becomes the next one's. */
static int list_page(struct ctl *ctl, sd_bus_message *call, const char *quiet_error,
                     json_object *all, char **cursor)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
    _cleanup_(json_object_putp) json_object *page = NULL;
    const char *next;
    size_t left = ctl->lines > 0 ? ctl->lines - json_object_array_length(all) : CONTROL_LIMIT_MAX;
    int r = sd_bus_message_append(call, "su", *cursor ? *cursor : "",
                                  (uint32_t)(left < CONTROL_LIMIT_MAX ? left : CONTROL_LIMIT_MAX));

    if (r < 0)
        return complain(r, "Cannot call qcauditd");
    r = client_call(ctl, call, quiet_error, &reply);
    if (r < 0)
        return r;
    r = control_read_rows(reply, &page);
    if (r >= 0)
        r = sd_bus_message_read(reply, "s", &next);
    if (r >= 0)
        r = append_rows(all, page);
    if (r < 0)
        return complain(r, "qcauditd gave an answer that makes no sense");
    free(*cursor);
    *cursor = strdup(next);
    return *cursor ? 0 : -ENOMEM;
}

/* The pages of a list: by a filter, or of a path. */
static int list_pages(struct ctl *ctl, const char *method, json_object *filter, const char *path,
                      const char *quiet_error, json_object **ret_rows)
{
    _cleanup_(json_object_putp) json_object *all = json_object_new_array();
    _cleanup_free_ char *cursor = NULL;
    int r;

    if (!all)
        return complain(-ENOMEM, "Cannot list");
    do {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;

        r = client_call_new(ctl, method, &call);
        if (r < 0)
            return r;
        r = filter ? control_append_entry(call, filter)
                   : sd_bus_message_append_array(call, 'y', path, strlen(path));
        if (r < 0)
            return complain(r, "Cannot call qcauditd");
        r = list_page(ctl, call, quiet_error, all, &cursor);
        if (r < 0)
            return r;
    } while (*cursor && (ctl->lines == 0 || json_object_array_length(all) < ctl->lines));
    *ret_rows = TAKE_PTR(all);
    return 0;
}

int client_list(struct ctl *ctl, const char *method, json_object *filter, json_object **ret_rows)
{
    return list_pages(ctl, method, filter, NULL, NULL, ret_rows);
}

int client_list_of_path(struct ctl *ctl, const char *question, const char *path,
                        json_object **ret_rows)
{
    return list_pages(ctl, question, NULL, path, NULL, ret_rows);
}

int client_image(struct ctl *ctl, const char *path, json_object **ret_entry)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
    int r = client_call_new(ctl, "GetImage", &call);

    if (r < 0)
        return r;
    r = sd_bus_message_append_array(call, 'y', path, strlen(path));
    if (r < 0)
        return complain(r, "Cannot call qcauditd");
    return client_call_json(ctl, call, CONTROL_ERROR_NOT_FOUND, false, ret_entry);
}

int client_chain(struct ctl *ctl, const char *path, json_object **ret_rows)
{
    unsigned lines = ctl->lines;
    int r;

    ctl->lines = 0;             /* a chain is shown as a whole */
    r = list_pages(ctl, "GetChain", NULL, path, CONTROL_ERROR_NOT_FOUND, ret_rows);
    ctl->lines = lines;
    return r;
}

int client_finding(struct ctl *ctl, int64_t id, json_object **ret_entry)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
    int r = client_call_new(ctl, "GetFinding", &call);

    if (r < 0)
        return r;
    r = sd_bus_message_append(call, "x", id);
    return r < 0 ? complain(r, "Cannot call qcauditd")
                 : client_call_json(ctl, call, CONTROL_ERROR_NOT_FOUND, false, ret_entry);
}
