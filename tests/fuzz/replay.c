/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stands in for libFuzzer in an ordinary build: runs the harness once on each file and folder
 * named, and says how many. An input fails that takes more than FUZZ_CPU_SECONDS, be it without
 * end, or more than MEMORY_MAX. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "fuzz.h"
#include "lib/cleanup.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false         /* whose memory is not the harness's alone */
#endif

#define MEMORY_MAX (256L << 20) /* bytes of the whole process */

/* What is being read: a signal's handler gets no argument. */
static const char *current;

static void too_long(int signal)
{
    static const char text[] = ": takes too long\n";

    /* What cannot be said cannot be helped: the status tells. */
    if (write(STDERR_FILENO, current, strlen(current)) > 0 &&
        write(STDERR_FILENO, text, sizeof(text) - 1) > 0)
        _exit(1);
    _exit(2);
}

static int within_memory(const char *path)
{
    struct rusage usage = { 0 };

    getrusage(RUSAGE_SELF, &usage);
    if (SANITIZED || usage.ru_maxrss <= MEMORY_MAX / 1024)
        return 0;
    fprintf(stderr, "%s: %ld KiB of memory\n", path, usage.ru_maxrss);
    return -1;
}

static int replay_file(const char *path, size_t size, unsigned long *count)
{
    const struct itimerval bound = { .it_value.tv_sec = FUZZ_CPU_SECONDS },
                           none = { .it_value.tv_sec = 0 };
    _cleanup_fclose_ FILE *file = fopen(path, "rbe");
    /* Exactly as long as the input, so that a sanitizer sees a read beyond its end. */
    _cleanup_free_ uint8_t *data = malloc(size ? size : 1);

    if (!file || !data || fread(data, 1, size, file) != size) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    current = path;
    setitimer(ITIMER_PROF, &bound, NULL);
    LLVMFuzzerTestOneInput(data, size);
    setitimer(ITIMER_PROF, &none, NULL);
    (*count)++;
    return within_memory(path);
}

static int replay(const char *path, unsigned long *count)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    if (S_ISREG(st.st_mode))
        return st.st_size <= FUZZ_INPUT_MAX ? replay_file(path, (size_t)st.st_size, count) : 0;
    DIR *directory = S_ISDIR(st.st_mode) ? opendir(path) : NULL;
    int r = 0;
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        char below[PATH_MAX];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
        if (replay(below, count) < 0)
            r = -1;
    }
    if (directory)
        closedir(directory);
    return r;
}

int main(int argc, char **argv)
{
    const struct sigaction action = { .sa_handler = too_long };
    unsigned long count = 0;
    int r = 0;

    sigaction(SIGPROF, &action, NULL);
    for (int i = 1; i < argc; i++)
        if (replay(argv[i], &count) < 0)
            r = 1;
    printf("%lu inputs\n", count);
    return r;
}
