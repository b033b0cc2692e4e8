/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: what it says, kept in order when the client is slow. */
#include "helpers/files-output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "helpers/clock.h"

struct output_packet {
    STAILQ_ENTRY(output_packet) entry;
    int fd;
    size_t size;
    _Alignas(union wire_record) char bytes[];
};

bool output_is_full(const struct output *output)
{
    return !STAILQ_EMPTY(&output->waiting);
}

/* 0 when the socket took it, -EAGAIN when it is full; with any other outcome there is nobody to go
 * on for. */
static int try_send(const union wire_record *packet, size_t size, int fd)
{
    int r = wire_send_packet(WIRE_FD, packet, size, fd);

    if (r < 0 && r != -EAGAIN)
        _exit(r == -EPIPE ? 0 : 4);
    return r;
}

static void send_or_keep(struct output *output, const union wire_record *packet, size_t size,
                         int fd)
{
    struct output_packet *kept;

    output->sent = usec_now(CLOCK_MONOTONIC);
    if (STAILQ_EMPTY(&output->waiting) && try_send(packet, size, fd) == 0) {
        if (fd >= 0)
            close(fd);
        return;
    }
    kept = malloc(sizeof(*kept) + size);
    if (!kept)
        _exit(5);
    kept->fd = fd;
    kept->size = size;
    memcpy(kept->bytes, packet->bytes, size);
    STAILQ_INSERT_TAIL(&output->waiting, kept, entry);
}

static void send_gathered(struct output *output)
{
    if (output->gathered_size > 0)
        send_or_keep(output, &output->gathered, output->gathered_size, -1);
    output->gathered_size = 0;
}

void output_send(struct output *output, enum wire_type type, void *record, const char *text, int fd)
{
    union wire_record packet;
    size_t size = wire_pack(type, record, text, NULL, &packet);

    send_gathered(output);
    send_or_keep(output, &packet, size, fd);
}

void output_flush(struct output *output)
{
    struct output_packet *packet;

    send_gathered(output);
    while ((packet = STAILQ_FIRST(&output->waiting))) {
        if (try_send((const union wire_record *)(const void *)packet->bytes, packet->size,
                     packet->fd) < 0)
            return;
        STAILQ_REMOVE_HEAD(&output->waiting, entry);
        if (packet->fd >= 0)
            close(packet->fd);
        free(packet);
    }
}

static void gather(struct output *output, struct wire_files_record *record, const char *path,
                   const char *target)
{
    union wire_record packet;
    size_t size = wire_pack(WIRE_FILES_RECORD, record, path, target, &packet);

    if (wire_append(&output->gathered, &output->gathered_size, &packet, size))
        return;
    send_gathered(output);
    wire_append(&output->gathered, &output->gathered_size, &packet, size);
}

void output_record(struct output *output, enum files_event event, const char *path, int error,
                   const struct files_stat *stat)
{
    struct wire_files_record record = {.event = event, .error = error};

    if (stat)
        record.stat = *stat;
    gather(output, &record, path, NULL);
}

void output_probed(struct output *output, const char *path, const struct files_stat *stat,
                   enum files_use use)
{
    struct wire_files_record record = {
        .event = FILES_EVENT_APPEARED, .probed = 1, .use = use, .stat = *stat,
    };

    gather(output, &record, path, NULL);
}

void output_left_out(struct output *output, const char *path, enum files_left_out why,
                     const char *target)
{
    struct wire_files_record record = {
        .event = why == FILES_LEFT_NONE ? FILES_EVENT_MOUNT : FILES_EVENT_LEFT_OUT,
        .left_out = why,
    };

    gather(output, &record, path, target);
}

void output_device(struct output *output, const char *path, const struct files_stat *stat,
                   const char *device)
{
    struct wire_files_record record = {.event = FILES_EVENT_APPEARED, .stat = *stat};

    gather(output, &record, path, device);
}
