/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Prints all that the library says of images, a line for each fact: what must be the same on every
 * host. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "helpers/hex.h"
#include "lib/cleanup.h"
#include "qcaudit/qcaudit.h"

enum { FILES_MAX = 64 };        /* of a chain, opened twice */

static int refuse(void *userdata, const struct qca_reference *reference, struct qca_io **ret_io,
                  struct qca_file_id *ret_id)
{
    return -ENOENT;
}

/* A file system may fill holes and make them meanwhile: a page that was read is none. */
static bool is_of_holes(enum qca_issue_kind kind)
{
    return kind == QCA_ISSUE_DATA_HOLE || kind == QCA_ISSUE_L2_TABLE_HOLE;
}

static void print_check(struct qca_image *image)
{
    const struct qca_check_options options = { .deep = true };
    struct qca_check_result result;
    int r = qca_check(image, &options, &result);

    printf("  check %d\n", r);
    if (r < 0)
        return;
    printf("  %d corruptions %" PRIu64 " leaks %" PRIu64 " check-errors %" PRIu64 " end %" PRIu64
           " of %" PRIu64 " allocated %" PRIu64 " compressed %" PRIu64 " fragmented %" PRIu64
           " runs %" PRIu64 " burst %" PRIu64 " %" PRIx64 " %" PRIx64 ": %s\n",
           result.finished, result.corruptions, result.leaks, result.check_errors,
           result.image_end_offset, result.total_clusters, result.allocated_clusters,
           result.compressed_clusters, result.fragmented_clusters, result.leak_runs,
           result.burst_leaks, result.burst_offset, result.burst_end,
           qca_check_error(&result)->text);
    for (int kind = 0; kind < _QCA_ISSUE_MAX; kind++)
        if (qca_check_count(&result, kind) > 0 && !is_of_holes(kind))
            printf("  %s %" PRIu32 "\n", qca_issue_kind_name(kind),
                   qca_check_count(&result, kind));
    for (size_t i = 0; i < result.n_issues; i++) {
        const struct qca_issue *issue = &result.issues[i];

        if (is_of_holes(issue->kind))
            continue;
        printf("    %s %d %" PRIu32 " %" PRIx64 " %" PRIu64 " host %" PRIx64 " %" PRIx64
               " guest %" PRIx64 " %" PRIx64 " stored %" PRIu64 " counted %" PRIu64
               " count %" PRIu64 "\n",
               qca_issue_kind_name(issue->kind), issue->table, issue->snapshot,
               issue->table_offset, issue->index, issue->host_offset, issue->host_length,
               issue->guest_offset, issue->guest_length, issue->stored, issue->counted,
               issue->count);
    }
    qca_check_result_done(&result);
}

static void print_content(struct qca_image *image)
{
    const struct qca_chain_options chain_options = { .layer_only = true };
    const struct qca_map_options map_options = { .stored = true };
    struct qca_content_digest digest;
    struct qca_chain *chain = NULL;
    struct qca_map *map = NULL;
    char text[65];
    int r = qca_chain_open(image, &chain_options, refuse, NULL, NULL, &chain);

    if (r == 0)
        r = qca_map_new(chain, &map_options, NULL, &map);
    if (r == 0)
        r = qca_content_digest(map, NULL, NULL, &digest);
    printf("  content %d", r);
    if (r == 0) {
        hex_encode(digest.digest, 32, text);
        printf(" %d %s %" PRIu64 " compressed %" PRIu64 " blocks %" PRIu64 " bad %" PRIu64,
               digest.complete, text, digest.size, digest.compressed_bytes, digest.zero_blocks,
               digest.bad_bytes);
    }
    putchar('\n');
    qca_map_free(map);
    qca_chain_free(chain);
}

/* ---- an image and its parents, which are beside it ---------------------------------------- */

struct beside {
    const char *path;           /* of the image */
    int fds[FILES_MAX];         /* that are open */
    size_t n;
};

static int open_beside(void *userdata, const struct qca_reference *reference,
                       struct qca_io **ret_io, struct qca_file_id *ret_id)
{
    struct beside *beside = userdata;
    _cleanup_free_ char *path = NULL, *folder = strdup(beside->path);
    struct stat st;
    int fd;

    if (!folder || strchr(reference->name, '/') || beside->n == FILES_MAX)
        return -EPERM;
    if (asprintf(&path, "%s/%s", dirname(folder), reference->name) < 0)
        return -ENOMEM;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    beside->fds[beside->n++] = fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    *ret_id = (struct qca_file_id){ .a = st.st_ino, .b = st.st_dev };
    return qca_io_new_fd(fd, ret_io);
}

static int print_link(void *userdata, const struct qca_chain_link *link)
{
    struct qca_check_result result;
    int r = qca_check(link->image, NULL, &result);

    if (r == 0)
        r = qca_chain_link_check(link, 0, &result);
    for (int kind = 0; r == 0 && kind < _QCA_ISSUE_MAX; kind++)
        if (qca_check_count(&result, kind) > 0 && !is_of_holes(kind))
            printf("  layer %" PRIu32 " %s\n", link->layer, qca_issue_kind_name(kind));
    if (r == 0)
        qca_check_result_done(&result);
    return r;
}

static void print_chain(struct qca_image *image, const char *path)
{
    struct beside beside = { .path = path };
    struct qca_content_digest digest;
    struct qca_chain *chain = NULL;
    struct qca_map *map = NULL;
    uint32_t depth = 0;
    char text[65];
    int r = qca_chain_walk(image, NULL, open_beside, print_link, &beside, NULL, &depth);

    if (r == 0)
        r = qca_chain_open(image, NULL, open_beside, &beside, NULL, &chain);
    if (r == 0)
        r = qca_map_new(chain, NULL, NULL, &map);
    if (r == 0)
        r = qca_content_digest(map, NULL, NULL, &digest);
    printf("  chain %d", r);
    if (r == 0) {
        hex_encode(digest.digest, 32, text);
        printf(" %d %s %" PRIu64 " depth %" PRIu32, digest.complete, text, digest.size, depth);
    }
    putchar('\n');
    qca_map_free(map);
    qca_chain_free(chain);
    while (beside.n > 0)
        close(beside.fds[--beside.n]);
}

static void print_image(const char *path)
{
    struct qca_image *image = NULL;
    struct qca_io *io = NULL;
    struct qca_error error;
    uint8_t digest[32];
    char text[65] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC), r;

    printf("%s\n", strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
    if (fd < 0 || qca_io_new_fd(fd, &io) < 0)
        abort();
    r = qca_image_open(io, NULL, &error, &image);
    if (r < 0)
        printf("  open %d %s %" PRIx64 " %" PRIx64 " %s\n", r, error.field, error.offset,
               error.value, error.text);
    else {
        r = qca_metadata_digest(image, digest);
        if (r == 0)
            hex_encode(digest, 32, text);
        printf("  %s %" PRIu64 " metadata %d %s\n", qca_format_name(qca_image_info(image)->format),
               qca_image_info(image)->virtual_size, r, text);
        print_check(image);
        print_content(image);
        if (qca_image_info(image)->parent)
            print_chain(image, path);
    }
    qca_image_free(image);
    qca_io_free(io);
    close(fd);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        print_image(argv[i]);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
