/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A qcauditd of the command's own, for as long as one command runs: with a folder that is removed
 * when it ends. */
#include "ctl/once.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helpers/client.h"
#include "helpers/text.h"
#include "qcaudit/control.h"

/* The daemon under another name: AppArmor's profile is that of the service, which has its own
 * folders. */
#define PROGRAM "qcaudit-once"
#define START_MSEC 30000
#define LOOK_MSEC 20
#define STOP_MSEC 30000
#define LOG_SHOWN 4096

struct once {
    char *folder, *config, *state, *run, *log, *socket;
    pid_t pid;                  /* 0: none */
    int stop_fd;
    sigset_t signals;           /* the mask before */
};

DEFINE_CLEANUP(struct once *, once_stop)

/* ---- its files ------------------------------------------------------------------------------ */

static int name_files(struct once *once)
{
    const char *where = secure_getenv("TMPDIR");

    if (asprintf(&once->folder, "%s/qcaudit-once.XXXXXX",
                 where && where[0] == '/' ? where : "/tmp") < 0)
        once->folder = NULL;
    if (!once->folder)
        return complain(-ENOMEM, "Cannot start a daemon");
    if (!mkdtemp(once->folder)) {
        int r = complain(-errno, "Cannot make a folder %s", once->folder);

        free(once->folder);
        once->folder = NULL;
        return r;
    }
    if (asprintf(&once->config, "%s/qcauditd.yaml", once->folder) < 0 ||
        asprintf(&once->state, "%s/state", once->folder) < 0 ||
        asprintf(&once->run, "%s/run", once->folder) < 0 ||
        asprintf(&once->log, "%s/log", once->folder) < 0 ||
        asprintf(&once->socket, "%s/" CONTROL_SOCKET_NAME, once->run) < 0)
        return complain(-ENOMEM, "Cannot start a daemon");
    return 0;
}

/* As a YAML string in double quotes. */
static void write_string(FILE *file, const char *text)
{
    (void)fputc('"', file);
    for (const char *c = text; *c; c++)
        if (*c == '"' || *c == '\\')
            (void)fprintf(file, "\\%c", *c);
        else if ((unsigned char)*c < ' ' || *c == 0x7f)
            (void)fprintf(file, "\\x%02x", (unsigned char)*c);
        else
            (void)fputc(*c, file);
    (void)fputc('"', file);
}

/* A configuration is UTF-8 without control characters, and YAML folds line breaks, of which Unicode
 * has more than ASCII: NEL (one of the controls from U+0080 to U+009F), U+2028 and U+2029. */
static bool can_be_written(const char *text)
{
    if (!text_is_utf8(text, strlen(text)) || strstr(text, "\u2028") || strstr(text, "\u2029"))
        return false;
    for (const char *c = text; (c = strchr(c, '\xc2')); c++)
        if ((unsigned char)c[1] < 0xa0)
            return false;
    return true;
}

/* libvirt is asked who uses what lies there; its pools are not what was asked about. */
static int write_config(const struct once *once, const struct once_folder *folders, size_t n)
{
    FILE *file = fopen(once->config, "we");
    bool bad;

    if (!file)
        return complain(-errno, "Cannot write %s", once->config);
    for (size_t i = 0; i < n; i++)
        if (!can_be_written(folders[i].path)) {
            _cleanup_free_ char *shown = text_escape_string(folders[i].path);

            (void)fclose(file);
            (void)complain(0,
                           "%s: the path is not UTF-8, or has control characters; name a folder "
                           "above it.", shown);
            return -EINVAL;
        }
    (void)fprintf(file, "libvirt: { pools: none }\nmetrics: { file: off }\ndatastores:\n");
    for (size_t i = 0; i < n; i++) {
        (void)fprintf(file, "  - path: ");
        write_string(file, folders[i].path);
        (void)fprintf(file, "\n    recursive: %s\n    watch: no\n",
                      folders[i].recursive ? "yes" : "no");
    }
    bad = ferror(file) != 0;
    if (fclose(file) != 0 || bad)
        return complain(-EIO, "Cannot write %s", once->config);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *place)
{
    (void)remove(path);
    return 0;
}

/* ---- its process ---------------------------------------------------------------------------- */

static void __attribute__((noreturn)) become(const struct once *once, const char *program, int log,
                                             pid_t parent)
{
    (void)sigprocmask(SIG_SETMASK, &once->signals, NULL);
    /* Ctrl-C is for the command, which ends this one when it is done with it. */
    (void)setpgid(0, 0);
    (void)unsetenv("NOTIFY_SOCKET");    /* what it would tell is not the command's state */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent ||
        dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0)
        _exit(EXIT_FAILURE);
    (void)execl(program, program, "--config", once->config, "--state-directory", once->state,
                "--runtime-directory", once->run, "--log-target", "console", (char *)NULL);
    (void)dprintf(STDERR_FILENO, "%s: %s\n", program, strerror(errno));
    _exit(EXIT_FAILURE);
}

static int start_process(struct once *once)
{
    _cleanup_free_ char *program = NULL;
    _cleanup_close_ int log = open(once->log, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    pid_t parent = getpid();
    int r = log < 0 ? -errno : helper_program(PROGRAM, &program);

    if (r < 0)
        return complain(r, "Cannot start a daemon");
    (void)fflush(NULL);
    once->pid = fork();
    if (once->pid == 0)
        become(once, program, log, parent);
    if (once->pid < 0) {
        once->pid = 0;
        return complain(-errno, "Cannot start a daemon");
    }
    return 0;
}

static bool has_ended(struct once *once)
{
    if (waitpid(once->pid, NULL, WNOHANG) != once->pid)
        return false;
    once->pid = 0;
    return true;
}

/* Until its socket is there. */
static int await_socket(struct once *once)
{
    struct pollfd stop = { .fd = once->stop_fd, .events = POLLIN };

    for (int waited = 0; waited < START_MSEC; waited += LOOK_MSEC) {
        if (access(once->socket, F_OK) == 0)
            return 0;
        if (has_ended(once)) {
            (void)complain(0, "The audit could not begin:");
            once_print_log(once);
            return -EIO;
        }
        if (poll(&stop, 1, LOOK_MSEC) > 0)
            return -EINTR;
    }
    return complain(-ETIMEDOUT, "The audit could not begin");
}

static int block_signals(struct once *once)
{
    sigset_t ending;

    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &ending, &once->signals) < 0)
        return complain(-errno, "Cannot start a daemon");
    once->stop_fd = signalfd(-1, &ending, SFD_CLOEXEC);
    return once->stop_fd < 0 ? complain(-errno, "Cannot start a daemon") : 0;
}

/* ---- public --------------------------------------------------------------------------------- */

int once_start(struct ctl *ctl, const struct once_folder *folders, size_t n, struct once **ret_once)
{
    _cleanup_(once_stopp) struct once *once = calloc(1, sizeof(*once));
    int r;

    if (!once)
        return complain(-ENOMEM, "Cannot start a daemon");
    once->stop_fd = -1;
    (void)sigprocmask(SIG_SETMASK, NULL, &once->signals);
    r = name_files(once);
    if (r >= 0)
        r = write_config(once, folders, n);
    if (r >= 0)
        r = block_signals(once);
    if (r >= 0)
        r = start_process(once);
    if (r >= 0)
        r = await_socket(once);
    if (r < 0)
        return r;
    ctl->socket = once->socket;
    ctl->own_daemon = true;
    *ret_once = TAKE_PTR(once);
    return 0;
}

int once_stop_fd(const struct once *once)
{
    return once->stop_fd;
}

void once_print_log(const struct once *once)
{
    _cleanup_close_ int fd = open(once->log, O_RDONLY | O_CLOEXEC);
    char text[LOG_SHOWN + 1];
    off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    ssize_t n = size <= 0 ? 0
                          : pread(fd, text, LOG_SHOWN, size > LOG_SHOWN ? size - LOG_SHOWN : 0);

    if (n > 0)
        (void)fwrite(text, 1, (size_t)n, stderr);
}

struct once *once_stop(struct once *once)
{
    if (!once)
        return NULL;
    if (once->pid > 0) {
        (void)kill(once->pid, SIGTERM);
        for (int waited = 0; !has_ended(once); waited += LOOK_MSEC) {
            if (waited >= 2 * STOP_MSEC)
                break;          /* it hangs in the kernel */
            if (waited >= STOP_MSEC)
                (void)kill(once->pid, SIGKILL);
            (void)poll(NULL, 0, LOOK_MSEC);
        }
    }
    if (once->folder)
        (void)nftw(once->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (once->stop_fd >= 0)
        close(once->stop_fd);
    (void)sigprocmask(SIG_SETMASK, &once->signals, NULL);
    free(once->folder);
    free(once->config);
    free(once->state);
    free(once->run);
    free(once->log);
    free(once->socket);
    free(once);
    return NULL;
}
