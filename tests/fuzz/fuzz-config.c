/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes as qcauditd.yaml: read, or refused with every mistake said. */
#include <sys/mman.h>

#include "daemon/config/config.h"
#include "fuzz.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(struct config *, config_free)

static void mistake(void *userdata, const char *file, unsigned line, unsigned column,
                    const char *message)
{
    unsigned *count = userdata;

    (*count)++;
    for (; *message; message++)
        if ((unsigned char)*message < ' ' || *message == 127)
            abort();    /* untrusted text must have been escaped */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_close_ int fd = memfd_create("qcauditd.yaml", MFD_CLOEXEC);
    _cleanup_(config_freep) struct config *config = NULL;
    unsigned mistakes = 0;
    char path[64];

    if (fd < 0 || size > FUZZ_INPUT_MAX || write(fd, data, size) != (ssize_t)size)
        return 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int r = config_load(path, mistake, &mistakes, &config);
    if ((r < 0) != (config == NULL) || (r == 0 && mistakes > 0))
        abort();
    return 0;
}
