/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon's own messages: to the journal when there is one, else to syslog, or to the console in
 * the foreground. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-journal.h>
#include <time.h>

#include "daemon/core/log.h"
#include "lib/cleanup.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define SYSLOG_SOCKET "/dev/log"

/* The one piece of global state: where messages go has to be known everywhere. Written by
 * log_open() alone, before there is a second thread. */
static struct {
    const char *identifier;
    enum log_target target;
    int max_priority;
    bool colour;
} log_state = {
    .identifier = "",
    .target = LOG_TARGET_CONSOLE,
    .max_priority = LOG_INFO,
};

/* Does anybody listen there? A file that the last one left behind answers nobody. */
static bool is_socket(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    _cleanup_close_ int fd = -1;
    struct stat st;

    if (stat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    /* a stream's, or one that is busy, is somebody's all the same */
    return fd < 0 || connect(fd, (const struct sockaddr *)(const void *)&address,
                             sizeof(address)) >= 0 || errno != ECONNREFUSED;
}

bool log_journal_answers(void)
{
    return is_socket(JOURNAL_SOCKET);
}

bool log_syslog_answers(void)
{
    return is_socket(SYSLOG_SOCKET);
}

/* systemd sets JOURNAL_STREAM=DEVICE:INODE of the stream it connected to stdout and stderr. */
static bool stderr_is_journal(const struct stat *st)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;

    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && device == st->st_dev &&
           inode == st->st_ino;
}

static enum log_target target_detect(void)
{
    struct stat st, null;

    bool open = fstat(STDERR_FILENO, &st) >= 0;
    if (open && stderr_is_journal(&st) && log_journal_answers())
        return LOG_TARGET_JOURNAL;
    if (open && isatty(STDERR_FILENO))
        return LOG_TARGET_CONSOLE;
    if (log_journal_answers())
        return LOG_TARGET_JOURNAL;
    /* Without a journal and with nobody behind stderr, syslog is the last who may listen. */
    bool discarded = !open || (S_ISCHR(st.st_mode) && stat("/dev/null", &null) >= 0 &&
                               st.st_rdev == null.st_rdev);
    return discarded && log_syslog_answers() ? LOG_TARGET_SYSLOG : LOG_TARGET_CONSOLE;
}

int log_open(const char *identifier, enum log_target target, int max_priority)
{
    if (target > LOG_TARGET_CONSOLE || max_priority < LOG_EMERG || max_priority > LOG_DEBUG)
        return -EINVAL;
    log_state.identifier = identifier;
    log_state.target = target == LOG_TARGET_AUTO ? target_detect() : target;
    log_state.max_priority = max_priority;
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    log_state.colour = isatty(STDERR_FILENO) && !(no_colour && *no_colour) &&
                       !(term && strcmp(term, "dumb") == 0);
    openlog(identifier, LOG_PID | LOG_NDELAY, LOG_DAEMON);
    return 0;
}

void log_close(void)
{
    closelog();
}

enum log_target log_target_used(void)
{
    return log_state.target;
}

enum log_target log_target_from_name(const char *name)
{
    static const char *const names[] = {
        [LOG_TARGET_AUTO] = "auto",
        [LOG_TARGET_JOURNAL] = "journal",
        [LOG_TARGET_SYSLOG] = "syslog",
        [LOG_TARGET_CONSOLE] = "console",
    };

    for (unsigned i = 0; i < ELEMENTSOF(names); i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return _LOG_TARGET_MAX;
}

int log_priority_from_name(const char *name)
{
    static const char *const names[] = { "emerg",   "alert",  "crit", "err",
                                         "warning", "notice", "info", "debug" };

    for (unsigned i = 0; i < ELEMENTSOF(names); i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return name[0] >= '0' && name[0] <= '7' && !name[1] ? name[0] - '0' : -EINVAL;
}

int log_console(int priority, const char *message)
{
    static const char *const colours[] = {
        [LOG_EMERG] = "\033[1;31m",
        [LOG_ALERT] = "\033[1;31m",
        [LOG_CRIT] = "\033[1;31m",
        [LOG_ERR] = "\033[31m",
        [LOG_WARNING] = "\033[33m",
        [LOG_NOTICE] = "\033[1m",
        [LOG_INFO] = "",
        [LOG_DEBUG] = "\033[2m",
    };
    _cleanup_free_ char *line = NULL;
    const char *colour = log_state.colour ? colours[priority & LOG_PRIMASK] : "";
    time_t now = time(NULL);
    struct tm tm;
    char stamp[16] = "";

    if (localtime_r(&now, &tm))
        strftime(stamp, sizeof(stamp), "%H:%M:%S ", &tm);
    int length = asprintf(&line, "%s%s%s%s\n", stamp, colour, message, *colour ? "\033[0m" : "");
    if (length < 0) {
        line = NULL;
        return -ENOMEM;
    }
    /* One write per line: lines of several threads do not mix. */
    for (ssize_t done = 0, n; done < length; done += n) {
        n = write(STDERR_FILENO, line + done, (size_t)(length - done));
        if (n < 0 && errno == EINTR)
            n = 0;
        else if (n < 0)
            return -errno;
    }
    return 0;
}

static int journal_send(int priority, int error, const char *file, int line, const char *function,
                        const char *message)
{
    char *fields[7];
    struct iovec iovec[ELEMENTSOF(fields)];
    int n = 0;
    bool complete = true;

#define FIELD(...) (asprintf(&fields[n], __VA_ARGS__) >= 0 ? (void)n++ : (void)(complete = false))
    FIELD("MESSAGE=%s", message);
    FIELD("PRIORITY=%d", priority);
    FIELD("SYSLOG_IDENTIFIER=%s", log_state.identifier);
    FIELD("CODE_FILE=%s", file);
    FIELD("CODE_LINE=%d", line);
    FIELD("CODE_FUNC=%s", function);
    if (error < 0)
        FIELD("ERRNO=%d", -error);
#undef FIELD
    for (int i = 0; i < n; i++)
        iovec[i] = (struct iovec){ fields[i], strlen(fields[i]) };
    int r = complete ? sd_journal_sendv(iovec, n) : -ENOMEM;
    for (int i = 0; i < n; i++)
        free(fields[i]);
    return r;
}

int log_message(int priority, int error, const char *file, int line, const char *function,
                const char *format, ...)
{
    char buffer[4096];
    int saved = errno;
    va_list arguments;

    priority &= LOG_PRIMASK;
    if (priority > log_state.max_priority)
        return error;
    errno = error < 0 ? -error : 0;
    va_start(arguments, format);
    int length = vsnprintf(buffer, sizeof(buffer), format, arguments);
    va_end(arguments);
    if (length >= (int)sizeof(buffer))
        memcpy(buffer + sizeof(buffer) - 4, "...", 4);

    switch (log_state.target) {
    case LOG_TARGET_JOURNAL:
        if (journal_send(priority, error, file, line, function, buffer) < 0)
            syslog(priority, "%s", buffer);
        break;
    case LOG_TARGET_SYSLOG:
        syslog(priority, "%s", buffer);
        break;
    default:
        (void)log_console(priority, buffer);    /* nobody is left to tell that the console cannot
                                                 * be written */
    }
    errno = saved;
    return error;
}

#define ENTRY_FIELDS_MAX 16

static int journal_send_entry(int priority, const char *message, char *const *fields)
{
    struct iovec iovec[ENTRY_FIELDS_MAX];
    char *own[3] = { NULL };
    int n = 0, r = -ENOMEM;

    if (asprintf(&own[0], "MESSAGE=%s", message) < 0)
        own[0] = NULL;
    if (asprintf(&own[1], "PRIORITY=%d", priority) < 0)
        own[1] = NULL;
    if (asprintf(&own[2], "SYSLOG_IDENTIFIER=%s", log_state.identifier) < 0)
        own[2] = NULL;
    if (own[0] && own[1] && own[2]) {
        for (size_t i = 0; i < ELEMENTSOF(own); i++)
            iovec[n++] = (struct iovec){ own[i], strlen(own[i]) };
        for (; *fields && n < ENTRY_FIELDS_MAX; fields++)
            iovec[n++] = (struct iovec){ *fields, strlen(*fields) };
        r = sd_journal_sendv(iovec, n);
    }
    for (size_t i = 0; i < ELEMENTSOF(own); i++)
        free(own[i]);
    return r;
}

void log_entry(int priority, const char *message, char *const *fields)
{
    if (log_state.target == LOG_TARGET_JOURNAL &&
        journal_send_entry(priority, message, fields) >= 0)
        return;
    if (priority > log_state.max_priority)
        return;
    if (log_state.target == LOG_TARGET_CONSOLE)
        (void)log_console(priority, message);   /* as in log_message() */
    else
        syslog(priority, "%s", message);
}

const char *log_confined_hint(int error, const char *profile, char hint[static LOG_HINT_MAX])
{
    size_t length = strcspn(profile, " \n");       /* a mode in brackets follows */

    hint[0] = '\0';
    if ((error != -EACCES && error != -EPERM) || length == 0 ||
        strncmp(profile, "unconfined", length) == 0)
        return hint;
    for (size_t i = 0; i < length; i++)
        if (profile[i] < 0x21 || profile[i] > 0x7e)
            return hint;
    (void)
        snprintf(hint, LOG_HINT_MAX,
                 "; if AppArmor's profile %.*s forbids it, journalctl -k -g apparmor says so, and "
                 "rules for this host go into /etc/apparmor.d/local/usr.sbin.qcauditd",
                 (int)length, profile);
    return hint;
}

const char *log_access_hint(int error, char hint[static LOG_HINT_MAX])
{
    static const char *const files[] = { "/proc/self/attr/apparmor/current",
                                         "/proc/self/attr/current" };
    char profile[100] = "";

    for (size_t i = 0; i < ELEMENTSOF(files) && !profile[0]; i++) {
        _cleanup_close_ int fd = open(files[i], O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, profile, sizeof(profile) - 1);

        profile[n > 0 ? n : 0] = '\0';
    }
    return log_confined_hint(error, profile, hint);
}
