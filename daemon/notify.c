/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-notify: gets one message of qcauditd at its standard input, a socket, runs the program of
 * alerts.exec with it, and answers there whether the program took it.
 *
 * It runs outside of qcauditd's closed unit, since a program that sends mail or asks a web server
 * needs the network. It reads by itself in the configuration which program that is, and sets no
 * other variables than those of a message: whoever might speak for qcauditd can neither choose the
 * program nor its settings. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "build-config.h"
#include "daemon/config/config.h"
#include "daemon/core/log.h"
#include "daemon/tell/tell.h"
#include "helpers/clock.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "helpers/write.h"
#include "lib/cleanup.h"

#define RECEIVE_DEADLINE (10 * USEC_PER_SEC)
#define VARIABLE_MAX (64 * 1024)        /* bytes; a longer value is only in the message */

extern char **environ;

DEFINE_CLEANUP(json_object *, json_object_put)
DEFINE_CLEANUP(struct config *, config_free)

/* The output of the program, and its end. */
struct outcome {
    char output[NOTIFY_OUTPUT_MAX];
    size_t n_output;
    bool cut;                   /* it printed more */
    bool timed_out;
    int status;                 /* of waitpid() */
};

/* ---- the socket ---- */

/* The message up to its end. malloc'd. */
static int receive(int fd, char **ret_text, size_t *ret_size)
{
    _cleanup_free_ char *text = malloc(NOTIFY_MESSAGE_MAX + 1);
    uint64_t end = usec_now(CLOCK_MONOTONIC) + RECEIVE_DEADLINE, now;
    size_t size = 0;

    if (!text)
        return -ENOMEM;
    while ((now = usec_now(CLOCK_MONOTONIC)) < end) {
        struct pollfd pollfd = { .fd = fd, .events = POLLIN };
        int n_ready = poll(&pollfd, 1, (int)((end - now) / 1000) + 1);
        ssize_t n;

        if (n_ready < 0 && errno != EINTR)
            return -errno;
        if (n_ready <= 0)
            continue;
        n = read(fd, text + size, NOTIFY_MESSAGE_MAX + 1 - size);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return -errno;
        if (n == 0) {
            *ret_text = TAKE_PTR(text);
            *ret_size = size;
            return 0;
        }
        size += n > 0 ? (size_t)n : 0;
        if (size > NOTIFY_MESSAGE_MAX)
            return -EMSGSIZE;
    }
    return -ETIMEDOUT;
}

/* error NULL: the program took the message. */
static int answer(int fd, const char *error, const char *output)
{
    _cleanup_(json_object_putp) json_object *object = json_object_new_object();
    const char *text;

    if (!object ||
        (error && json_add(object, "error", json_object_new_string(error)) < 0) ||
        (output && json_add(object, "output", json_object_new_string(output)) < 0))
        return -ENOMEM;
    text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
    return text ? write_all(fd, text, strlen(text)) : -ENOMEM;
}

/* ---- the configuration ---- */

static void say_mistake(void *userdata, const char *file, unsigned line, unsigned column,
                        const char *message)
{
    log_error(0, "%s:%u:%u: %s", file, line, column, message);
}

/* Others than root and this user could have a program of theirs run. */
static int trust(const char *path, char **ret_reason)
{
    _cleanup_free_ char *who = NULL;
    int r = config_trust(path, false, &who);

    if (r != -EPERM)
        return r;
    return asprintf(ret_reason, "it is not run: %s", who) < 0 ? -ENOMEM : -EPERM;
}

/* *ret_reason (malloc'd) says why not. */
static int load(const char *path, struct config **ret_config, char **ret_reason)
{
    _cleanup_(config_freep) struct config *config = NULL;
    int r = trust(path, ret_reason);

    if (r < 0)
        return r;
    r = config_load(path, say_mistake, NULL, &config);
    if (r < 0) {
        if (asprintf(ret_reason, "%s cannot be read by qcaudit-notify, or has mistakes: qcauditd "
                     "--check-config shows them", path) < 0)
            *ret_reason = NULL;
        return r;
    }
    if (!config->alert_exec) {
        *ret_reason = strdup("alerts.exec names no program any more");
        return -ENOENT;
    }
    r = trust(config->alert_exec, ret_reason);
    if (r < 0)
        return r;
    *ret_config = TAKE_PTR(config);
    return 0;
}

/* ---- the program's environment ---- */

/* The members of a message that become variables. No others do: the program may have settings in
 * variables that begin likewise. */
static const char *const variables[] = {
    "version", "kind", "host", "message", "severity", "priority", "event", "event-id", "time",
    "finding", "finding-id", "confidence", "image", "datastore", "domains", "depth", "count",
    "not-listed",
};

static bool is_variable(const char *key)
{
    for (size_t i = 0; i < ELEMENTSOF(variables); i++)
        if (strcmp(key, variables[i]) == 0)
            return true;
    return false;
}

/* QCAUDIT_FINDING_ID of "finding-id". */
static void variable_name(const char *key, char *name, size_t size)
{
    (void)snprintf(name, size, "QCAUDIT_%s", key);
    for (char *c = name; *c; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
}

/* The texts of a list, each in a line of its own. malloc'd; NULL without memory. */
static char *lines_of(json_object *list)
{
    char *lines = strdup("");

    for (size_t i = 0; lines && i < json_object_array_length(list); i++) {
        char *more;

        if (asprintf(&more, "%s%s%s", lines, i > 0 ? "\n" : "",
                     json_object_get_string(json_object_array_get_idx(list, i))) < 0)
            more = NULL;
        free(lines);
        lines = more;
    }
    return lines;
}

static int set_variables(json_object *message)
{
    json_object_object_foreach(message, key, value) {
        bool is_list = json_object_is_type(value, json_type_array);
        _cleanup_free_ char *lines = is_list ? lines_of(value) : NULL;
        const char *text = is_list ? lines : json_object_get_string(value);
        char name[64];

        if (is_list && !lines)
            return -ENOMEM;
        if (!is_variable(key) || !text || strlen(text) > VARIABLE_MAX)
            continue;
        variable_name(key, name, sizeof(name));
        if (setenv(name, text, 1) < 0)
            return -errno;
    }
    return 0;
}

/* ---- the program ---- */

static int message_file(const char *text, size_t size, int *ret_fd)
{
    _cleanup_close_ int fd = memfd_create("qcaudit-alert", MFD_CLOEXEC);
    int r;

    if (fd < 0)
        return -errno;
    r = write_all(fd, text, size);
    if (r < 0)
        return r;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int spawn(const char *program, int input, int output, pid_t *ret_pid)
{
    char *const arguments[] = { (char *)(uintptr_t)program, NULL };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    int r;

    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigemptyset(&none);
    sigfillset(&all);
    r = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
    if (r == 0)
        r = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    if (r == 0)
        r = posix_spawn_file_actions_addchdir_np(&actions, "/");
    if (r == 0)
        r = posix_spawnattr_setsigmask(&attributes, &none);
    if (r == 0)
        r = posix_spawnattr_setsigdefault(&attributes, &all);
    if (r == 0)
        r = posix_spawnattr_setpgroup(&attributes, 0);
    if (r == 0)
        r = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                      POSIX_SPAWN_SETPGROUP);
    if (r == 0)
        r = posix_spawn(ret_pid, program, &actions, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -r;
}

/* Reads a part, and keeps the beginning of all. 0 at the end, 1 when there was some, -EAGAIN when
 * there is none now. */
static int take_output(int fd, struct outcome *outcome)
{
    char bytes[4096];
    ssize_t n = read(fd, bytes, sizeof(bytes));
    size_t room = sizeof(outcome->output) - outcome->n_output;

    if (n < 0)
        return errno == EINTR ? 1 : -errno;
    if ((size_t)n > room)
        outcome->cut = true;
    else
        room = (size_t)n;
    memcpy(outcome->output + outcome->n_output, bytes, room);
    outcome->n_output += room;
    return n > 0;
}

/* The program and what it started get SIGTERM, and then SIGKILL. Returns when to look again. */
static uint64_t end_group(pid_t pid, uint64_t now, struct outcome *outcome)
{
    (void)kill(-pid, outcome->timed_out ? SIGKILL : SIGTERM);   /* gone meanwhile: well */
    outcome->timed_out = true;
    return now + NOTIFY_KILL_AFTER;
}

/* Until the program ended; what it left running may hold the pipe open for longer. */
static int watch(pid_t pid, int pidfd, int output, uint64_t timeout, struct outcome *outcome)
{
    struct pollfd fds[] = { { .fd = pidfd, .events = POLLIN }, { .fd = output, .events = POLLIN } };
    uint64_t end = usec_now(CLOCK_MONOTONIC) + timeout;

    while (!fds[0].revents) {
        uint64_t now = usec_now(CLOCK_MONOTONIC);

        if (now >= end)
            end = end_group(pid, now, outcome);
        if (poll(fds, ELEMENTSOF(fds), (int)((end - now) / 1000) + 1) < 0) {
            if (errno != EINTR)
                return -errno;
            continue;
        }
        if (fds[1].revents) {
            int r = take_output(output, outcome);

            if (r <= 0 && r != -EAGAIN)
                fds[1].fd = -1;
        }
    }
    while (waitpid(pid, &outcome->status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

static int run(const char *program, const char *text, size_t size, uint64_t timeout,
               struct outcome *outcome)
{
    _cleanup_close_ int input = -1, read_end = -1, write_end = -1, pidfd = -1;
    int ends[2], r;
    pid_t pid;

    r = message_file(text, size, &input);
    if (r < 0)
        return r;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    read_end = ends[0];
    write_end = ends[1];
    if (fcntl(read_end, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    r = spawn(program, input, write_end, &pid);
    if (r < 0)
        return r;
    close(write_end);
    write_end = -1;
    pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) {
        r = -errno;
        (void)kill(-pid, SIGKILL);
        return r;
    }
    r = watch(pid, pidfd, read_end, timeout, outcome);
    (void)kill(-pid, SIGKILL);          /* what it left running */
    while (!outcome->cut && take_output(read_end, outcome) > 0)
        ;                               /* what it printed last */
    return r;
}

/* ---- what is said of it ---- */

/* Why the program did not take the message, malloc'd; NULL when it did. */
static int outcome_error(const char *program, const struct outcome *outcome, uint64_t timeout,
                         const char *output, char **ret_error)
{
    char limit[TEXT_DURATION_MAX];
    int r;

    *ret_error = NULL;
    if (!outcome->timed_out && WIFEXITED(outcome->status) && WEXITSTATUS(outcome->status) == 0)
        return 0;
    if (outcome->timed_out)
        r = asprintf(ret_error, "%s was ended after %s (alerts.exec-timeout)%s%s", program,
                     text_duration(timeout, limit), *output ? ": " : "", output);
    else if (WIFSIGNALED(outcome->status))
        r = asprintf(ret_error, "%s was ended by signal %d (%s)%s%s", program,
                     WTERMSIG(outcome->status), strsignal(WTERMSIG(outcome->status)),
                     *output ? ": " : "", output);
    else
        r = asprintf(ret_error, "%s ended with status %d%s%s", program,
                     WEXITSTATUS(outcome->status), *output ? ": " : "", output);
    return r < 0 ? -ENOMEM : 0;
}

/* Without the line ends behind it, safe to print. malloc'd; NULL without memory. */
static char *outcome_output(const struct outcome *outcome)
{
    size_t n = outcome->n_output;
    char *text = NULL, *whole;

    while (n > 0 && (outcome->output[n - 1] == '\n' || outcome->output[n - 1] == '\r'))
        n--;
    if (text_escape(outcome->output, n, &text) < 0)
        return NULL;
    if (!outcome->cut)
        return text;
    if (asprintf(&whole, "%s ...", text) < 0)
        whole = NULL;
    free(text);
    return whole;
}

/* Runs the program. *ret_error: why the message was not taken, NULL when it was; *ret_output: what
 * the program printed, or NULL. Both malloc'd. */
static int notify(const char *config_path, int fd, char **ret_error, char **ret_output)
{
    _cleanup_(json_object_putp) json_object *message = NULL;
    _cleanup_(config_freep) struct config *config = NULL;
    _cleanup_free_ char *text = NULL, *program = NULL;
    struct outcome outcome = { .n_output = 0 };
    size_t size = 0;
    int r;

    r = receive(fd, &text, &size);
    if (r >= 0)
        r = json_text_parse(text, size, &message);
    if (r < 0 || !json_object_is_type(message, json_type_object)) {
        *ret_error = strdup("the message was not understood");
        return r < 0 ? r : -EBADMSG;
    }
    r = load(config_path, &config, ret_error);
    if (r < 0)
        return r;
    program = text_escape_string(config->alert_exec);
    r = program ? set_variables(message) : -ENOMEM;
    if (r >= 0)
        r = run(config->alert_exec, text, size, config->alert_exec_timeout, &outcome);
    if (r < 0) {
        if (asprintf(ret_error, "%s: %s", program ? program : "alerts.exec", strerror(-r)) < 0)
            *ret_error = NULL;
        return r;
    }
    *ret_output = outcome_output(&outcome);
    return *ret_output ? outcome_error(program, &outcome, config->alert_exec_timeout, *ret_output,
                                       ret_error)
                       : -ENOMEM;
}

static void print_help(void)
{
    puts("qcaudit-notify [OPTION...]\n\n"
         "Runs the program of alerts.exec with one message of qcauditd, which comes from a\n"
         "socket at standard input. systemd starts it: see qcaudit-notify.socket.\n\n"
         "      --config=FILE   the configuration instead of " SYSCONFDIR "/qcaudit/qcauditd.yaml\n"
         "  -h, --help          this text\n"
         "      --version       the version");
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "config", required_argument, NULL, 'c' },
                                             { "help", no_argument, NULL, 'h' },
                                             { "version", no_argument, NULL, 'v' },
                                             { NULL, 0, NULL, 0 } };
    const char *config_path = SYSCONFDIR "/qcaudit/qcauditd.yaml";
    _cleanup_free_ char *error = NULL, *output = NULL;
    int option, r;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
        switch (option) {
        case 'c':
            config_path = optarg;
            break;
        case 'h':
            print_help();
            return EXIT_SUCCESS;
        case 'v':
            puts("qcaudit-notify " PACKAGE_VERSION);
            return EXIT_SUCCESS;
        default:
            return EX_USAGE;
        }
    }
    (void)log_open("qcaudit-notify", LOG_TARGET_AUTO, LOG_INFO);
    (void)signal(SIGPIPE, SIG_IGN);
    r = notify(config_path, STDIN_FILENO, &error, &output);
    if (r < 0 && !error)
        error = strdup(strerror(-r));
    if (error)
        log_warning(0, "%s", error);
    else if (output && *output)
        log_info(0, "%s", output);
    r = answer(STDIN_FILENO, r < 0 && !error ? "no memory" : error, output);
    if (r < 0)
        return log_error(r, "Cannot answer qcauditd: %m"), EXIT_FAILURE;
    return EXIT_SUCCESS;
}
