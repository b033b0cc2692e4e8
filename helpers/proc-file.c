/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A file of /proc that is open already, read as a whole from its beginning. */
#include "helpers/proc-file.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/cleanup.h"

int proc_file_read(int fd, size_t max, char **ret_text)
{
    _cleanup_free_ char *text = NULL;
    size_t used = 0, size = 0;

    if (lseek(fd, 0, SEEK_SET) < 0)
        return -errno;
    for (;;) {
        ssize_t n;

        if (size - used < 4096) {
            char *more;

            size = size ? 2 * size : 65536;
            if (size > max)
                return -E2BIG;
            more = realloc(text, size);
            if (!more)
                return -ENOMEM;
            text = more;
        }
        n = read(fd, text + used, size - used - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        used += (size_t)n;
    }
    text[used] = '\0';
    *ret_text = TAKE_PTR(text);
    return 0;
}
