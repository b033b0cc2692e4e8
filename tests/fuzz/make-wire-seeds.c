/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Seeds for fuzz-wire: make-wire-seeds [--digests] IMAGE... >SEED writes what a worker says of
 * these images, as one report whose layers they are, in the form that the harness reads; with
 * digests, as those of a scrub that met a bad sector. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "helpers/report-wire.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(struct qca_io *, qca_io_free)
DEFINE_CLEANUP(struct qca_image *, qca_image_free)

/* Everything that lies in the socket, to stdout. */
static void drain(int socket)
{
    union wire_record packet;
    ssize_t n;

    while ((n = recv(socket, &packet, sizeof(packet), MSG_DONTWAIT)) > 0) {
        const uint8_t length[2] = {(uint8_t)n, (uint8_t)(n >> 8)};

        fwrite(length, 1, sizeof(length), stdout);
        fwrite(&packet, 1, (size_t)n, stdout);
    }
}

static int send_image(const char *path, uint32_t index, const int sockets[2])
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    _cleanup_(qca_io_freep) struct qca_io *io = NULL;
    _cleanup_(qca_image_freep) struct qca_image *image = NULL;
    struct report_room room = REPORT_ROOM(20);
    const struct qca_check_options options = {.max_issues = 20};
    struct qca_check_result check;
    uint8_t digest[32];
    int r;

    r = fd < 0 ? -1 : qca_io_new_fd(fd, &io);
    if (r >= 0)
        r = qca_image_open(io, NULL, NULL, &image);
    if (r >= 0)
        r = qca_metadata_digest(image, digest);
    if (r >= 0)
        r = qca_check(image, &options, &check);
    if (r < 0) {
        fprintf(stderr, "%s: cannot be used\n", path);
        return r;
    }
    const struct report_layer layer = {
        .index = index, .name = index > 0 ? path : NULL, .info = qca_image_info(image),
        .probed_format = QCA_FORMAT_QCOW2, .metadata_digest = digest, .check = &check,
    };
    r = report_send_layer(sockets[0], &layer, &room);
    qca_check_result_done(&check);
    drain(sockets[1]);
    return r;
}

static int send_digests(const int sockets[2])
{
    const struct qca_content_digest digest = {
        .size = 1 << 20, .data_bytes = (1 << 20) - 65536, .bad_bytes = 65536, .n_bad = 1,
        .bad[0] = {.guest_offset = 65536, .length = 65536, .error = -EIO},
    };
    int r = report_send_content_digest(sockets[0], &digest);

    drain(sockets[1]);
    return r;
}

int main(int argc, char **argv)
{
    const bool digests = argc > 1 && strcmp(argv[1], "--digests") == 0;
    const int first = digests ? 2 : 1;
    const struct qca_file_digest file = {.algorithms = QCA_DIGEST_SHA256, .size = 1 << 20};
    struct wire_done done = {
        .n_layers = (uint64_t)(argc - first), .bytes_read = 4096, .elapsed_usec = 10,
        .reading = digests ? REPORT_READING_DIRECT : REPORT_READING_ORDINARY,
    };
    int sockets[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        return 1;
    if (digests && report_send_file_digest(sockets[0], &file) < 0)
        return 1;
    drain(sockets[1]);
    for (int i = first; i < argc; i++)
        if (send_image(argv[i], (uint32_t)(i - first), sockets) < 0)
            return 1;
    if (digests && send_digests(sockets) < 0)
        return 1;
    if (wire_send(sockets[0], WIRE_DONE, &done, NULL, NULL, -1) < 0)
        return 1;
    drain(sockets[1]);
    return 0;
}
