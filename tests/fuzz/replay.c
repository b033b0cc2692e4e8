/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stands in for libFuzzer in an ordinary build: runs the harness once on each file and folder named, and says how many.
 * An input that takes more than CPU_SECONDS is a failure: of processor time, so that a busy machine changes nothing. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "fuzz.h"
#include "lib/cleanup.h"

enum { CPU_SECONDS = 5 };       /* 1 without sanitizers, on any machine of today */

static double cpu_seconds(void)
{
    struct timespec now = { 0 };

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int replay_file(const char *path, size_t size, unsigned long *count)
{
    _cleanup_fclose_ FILE *file = fopen(path, "rbe");
    /* Exactly as long as the input, so that a sanitizer sees a read beyond its end. */
    _cleanup_free_ uint8_t *data = malloc(size ? size : 1);

    if (!file || !data || fread(data, 1, size, file) != size) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    double started = cpu_seconds();

    LLVMFuzzerTestOneInput(data, size);
    (*count)++;
    if (cpu_seconds() - started <= CPU_SECONDS)
        return 0;
    fprintf(stderr, "%s: %.1f s\n", path, cpu_seconds() - started);
    return -1;
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
    unsigned long count = 0;
    int r = 0;

    for (int i = 1; i < argc; i++)
        if (replay(argv[i], &count) < 0)
            r = 1;
    printf("%lu inputs\n", count);
    return r;
}
