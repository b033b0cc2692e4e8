/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stands in for libFuzzer in an ordinary build: runs the harness once on each file and folder named, and says how many. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "lib/cleanup.h"

static int replay_file(const char *path, size_t size, unsigned long *count)
{
    _cleanup_fclose_ FILE *file = fopen(path, "rbe");
    /* Exactly as long as the input, so that a sanitizer sees a read beyond its end. */
    _cleanup_free_ uint8_t *data = malloc(size ? size : 1);

    if (!file || !data || fread(data, 1, size, file) != size) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    LLVMFuzzerTestOneInput(data, size);
    (*count)++;
    return 0;
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
