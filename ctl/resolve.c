/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looks names up in a process of its own: a server that is gone, or a FUSE that hangs, keeps
 * whoever asks for ever, and not even SIGKILL ends it then. */
#include "ctl/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

#define DEADLINE_MSEC 3000

/* The process's answer: an error, or 0 and the path. */
struct answer {
    int error;
    char path[PATH_MAX];
};

/* Holds nothing open that others wait for the end of. */
static void answer(int fd, const char *name)
{
    struct answer answer = { .error = 0 };
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(nothing, STDOUT_FILENO) < 0 ||
        dup2(nothing, STDERR_FILENO) < 0 || !realpath(name, answer.path))
        answer.error = -errno;
    _exit(write(fd, &answer, sizeof(answer)) == sizeof(answer) ? 0 : 1);
}

int resolve_path(const char *name, char **ret_path)
{
    _cleanup_free_ char *shown = text_escape_string(name);
    _cleanup_close_ int reading = -EBADF, writing = -EBADF;
    struct answer answered = { .error = 0 };
    struct pollfd ready = { .events = POLLIN };
    int pair[2], n;
    ssize_t size = 0;
    char *path;
    pid_t pid;

    if (!shown)
        return -ENOMEM;
    if (pipe2(pair, O_CLOEXEC) < 0)
        return -errno;
    ready.fd = reading = pair[0];
    writing = pair[1];
    pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        answer(writing, name);
    close(writing);
    writing = -EBADF;
    do
        n = poll(&ready, 1, DEADLINE_MSEC);
    while (n < 0 && errno == EINTR);
    /* A pipe takes what is longer than a page in parts. */
    for (ssize_t got = n; got > 0 && size < (ssize_t)sizeof(answered); size += got > 0 ? got : 0)
        got = read(reading, (char *)&answered + size, sizeof(answered) - (size_t)size);
    if (n == 0) {
        /* Nobody waits for it: it ends when the file system answers. */
        (void)kill(pid, SIGKILL);
        return complain(0, "The file system of %s does not answer.", shown), -ETIMEDOUT;
    }
    (void)waitpid(pid, NULL, 0);
    if (n < 0 || (size_t)size < sizeof(answered))
        return -EIO;
    if (answered.error < 0)
        return answered.error;
    path = strndup(answered.path, sizeof(answered.path));
    if (!path)
        return -ENOMEM;
    *ret_path = path;
    return 0;
}
