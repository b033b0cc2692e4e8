/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs a command and prints what it took as one line of JSON: seconds, processor seconds, peak
 * memory, status.
 *
 *   measure COMMAND [ARGUMENT...]
 *
 * Helpers that the command leaves behind are waited for and counted: peak memory is the sum of the
 * peaks of all processes that this one reaped (of those that the command reaped itself, the
 * largest). The command's output is thrown away. Small, because a process' peak begins with that of
 * the one that forked it. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

static void run(char **command)
{
    int nothing = open("/dev/null", O_RDWR);

    if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(nothing, STDOUT_FILENO) < 0 ||
        dup2(nothing, STDERR_FILENO) < 0)
        _exit(127);
    execvp(command[0], command);
    _exit(127);
}

int main(int argc, char **argv)
{
    double started, elapsed = 0, cpu = 0;
    long peak = 0;
    int status = 0;
    pid_t child, pid;

    if (argc < 2)
        errx(2, "usage: measure COMMAND [ARGUMENT...]");
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        err(1, "prctl");
    started = now();
    child = fork();
    if (child < 0)
        err(1, "fork");
    if (child == 0)
        run(argv + 1);
    for (;;) {
        struct rusage usage;
        int one;

        pid = wait4(-1, &one, 0, &usage);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid < 0)
            break;              /* there are no more */
        if (pid == child) {
            elapsed = now() - started;
            status = WIFEXITED(one) ? WEXITSTATUS(one) : 128 + WTERMSIG(one);
        }
        cpu += seconds(usage.ru_utime) + seconds(usage.ru_stime);
        peak += usage.ru_maxrss;
    }
    printf("{\"seconds\": %.6f, \"cpu\": %.6f, \"peak-kib\": %ld, \"status\": %d}\n", elapsed, cpu,
           peak, status);
    return 0;
}
