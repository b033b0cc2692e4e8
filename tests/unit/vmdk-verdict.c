/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Prints, a line for each VMDK file, what its check found and the digest of its content: what
 * tests/images/differential_vmdk.py compares with QEMU's tools. Of a layer whose parent nothing
 * names, what is not in it is taken for zeros. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "helpers/hex.h"
#include "lib/cleanup.h"
#include "lib/format.h"
#include "lib/vmdk.h"

static int refuse(void *userdata, const struct qca_reference *reference, struct qca_io **ret_io,
                  struct qca_file_id *ret_id)
{
    return -ENOENT;
}

static void print_check(struct qca_image *image)
{
    const struct qca_check_options options = { .deep = true };
    struct qca_check_result result;
    int r = qca_check(image, &options, &result);

    if (r < 0) {
        printf(" finished=0 corruptions=0 issues=error%d", r);
        return;
    }
    printf(" finished=%d corruptions=%" PRIu64 " issues=", result.finished, result.corruptions);
    for (int kind = 0; kind < _QCA_ISSUE_MAX; kind++)
        if (qca_check_count(&result, kind) > 0)
            printf("%s,", qca_issue_kind_name(kind));
    qca_check_result_done(&result);
}

static void print_content(struct qca_image *image)
{
    struct vmdk_extent *extent = image->own;
    struct qca_content_digest digest;
    struct qca_chain *chain = NULL;
    struct qca_map *map = NULL;
    char text[65];
    int r;

    if (extent)
        extent->layout.parent_unknown = false;
    r = qca_chain_open(image, NULL, refuse, NULL, NULL, &chain);
    if (r == 0)
        r = qca_map_new(chain, NULL, NULL, &map);
    if (r == 0)
        r = qca_content_digest(map, NULL, NULL, &digest);
    if (r == 0) {
        hex_encode(digest.digest, 32, text);
        printf(" bad=%" PRIu64 " content=%s", digest.bad_bytes, text);
    } else
        printf(" bad=0 content=error%d", r);
    qca_map_free(map);
    qca_chain_free(chain);
}

static void print_file(const char *path, uint64_t content_max)
{
    struct qca_image *image = NULL;
    struct qca_io *io = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC), r;

    if (fd < 0 || qca_io_new_fd(fd, &io) < 0)
        abort();
    r = qca_image_open(io, NULL, NULL, &image);
    printf("open=%d", r);
    if (r == 0) {
        printf(" size=%" PRIu64, image->info.virtual_size);
        print_check(image);
        if (image->info.virtual_size <= content_max)
            print_content(image);
    }
    putchar('\n');
    qca_image_free(image);
    qca_io_free(io);
    close(fd);
}

int main(int argc, char **argv)
{
    for (int i = 2; i < argc; i++)
        print_file(argv[i], strtoull(argv[1], NULL, 10));
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
