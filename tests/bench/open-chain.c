/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opens an image and all its parents with libqcaudit, checks every header, and prints the depth:
 * open-chain FILE
 *
 * What `qemu-img info --backing-chain` does. Chains of this depth are beyond what `qcauditctl
 * check` follows. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qcaudit/qcaudit.h"

enum { LAYERS_MAX = 4096 };

/* The folder that all layers lie in. */
struct place {
    int directory;
};

static int open_image(int directory, const char *name, struct qca_io **ret_io,
                      struct qca_file_id *ret_id)
{
    int fd = openat(directory, name, O_RDONLY | O_CLOEXEC), r;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    r = qca_io_new_fd(fd, ret_io);      /* the file stays open until the end */
    if (r < 0)
        return r;
    *ret_id = (struct qca_file_id){.a = st.st_dev, .b = st.st_ino};
    return 0;
}

static int resolve(void *userdata, const struct qca_reference *reference, struct qca_io **ret_io,
                   struct qca_file_id *ret_id)
{
    const struct place *place = userdata;

    return open_image(place->directory, reference->name, ret_io, ret_id);
}

int main(int argc, char **argv)
{
    struct rlimit files = {.rlim_cur = LAYERS_MAX + 16, .rlim_max = LAYERS_MAX + 16};
    struct qca_chain_options options = {.max_depth = LAYERS_MAX};
    struct place place = {.directory = AT_FDCWD};
    struct qca_chain *chain;
    struct qca_image *image;
    struct qca_error error;
    struct qca_io *io;
    char *slash;
    int r;

    if (argc != 2)
        errx(2, "usage: open-chain FILE");
    (void)setrlimit(RLIMIT_NOFILE, &files);     /* if it may not be: opening says so */
    slash = strrchr(argv[1], '/');
    if (slash) {
        *slash = '\0';
        place.directory = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (place.directory < 0)
            err(1, "%s", argv[1]);
    }
    r = open_image(place.directory, slash ? slash + 1 : argv[1], &io, &options.id);
    if (r < 0)
        errx(1, "%s", strerror(-r));
    if (qca_image_open(io, NULL, &error, &image) < 0 ||
        qca_chain_open(image, &options, resolve, &place, &error, &chain) < 0)
        errx(1, "layer %u: %s", error.layer, error.text);
    printf("%zu layers\n", qca_chain_depth(chain));
    qca_chain_free(chain);
    qca_image_free(image);
    qca_io_free(io);
    return 0;
}
