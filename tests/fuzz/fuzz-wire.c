/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes as what a compromised worker sends: records of a report, put together by the client.
 * The input is a row of packets, each preceded by its length (16 bits, little-endian). */
#include <string.h>
#include <sys/socket.h>

#include "fuzz.h"
#include "helpers/report-wire.h"
#include "lib/cleanup.h"

/* Reads what a report's reader would: a pointer that leads nowhere is found here. */
static size_t walk(const struct audit_report *report)
{
    size_t sum = 0;

    for (size_t i = 0; i < report->n_layers; i++) {
        const struct layer_report *layer = &report->layers[i];

        sum += layer->name ? strlen(layer->name) : 0;
        sum += layer->info.parent ? strlen(layer->info.parent) : 0;
        for (size_t k = 0; k < layer->info.n_snapshots; k++)
            sum += strlen(layer->info.snapshots[k].id) + strlen(layer->info.snapshots[k].name);
        for (size_t k = 0; k < layer->info.n_bitmaps; k++)
            sum += strlen(layer->info.bitmaps[k].name);
        for (size_t k = 0; k < layer->check.n_issues; k++)
            sum += strlen(qca_issue_kind_name(layer->check.issues[k].kind));
    }
    for (size_t i = 0; report->content_digest && i < report->content_digest->n_bad; i++)
        sum += report->content_digest->bad[i].layer < report->n_layers;
    sum += strlen(report_reading_name(report->reading));
    return sum;
}

/* As an answer to a request that asked for these digests, too. */
static void receive(const uint8_t *data, size_t size, unsigned flags)
{
    _cleanup_(report_receiver_freep) struct report_receiver *receiver = NULL;
    int sockets[2];

    if (report_receiver_new(100, &receiver) < 0 ||
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) < 0)
        return;
    report_receiver_expect(receiver, flags);
    while (size > 2) {
        size_t length = data[0] | (size_t)data[1] << 8;
        union wire_record record;
        int fd = -1;

        data += 2, size -= 2;
        if (length > size)
            length = size;
        if (length == 0 || send(sockets[0], data, length, 0) != (ssize_t)length)
            break;
        data += length, size -= length;
        if (wire_receive(sockets[1], WIRE_WORKER, &record, &fd) <= 0)
            continue;
        if (fd >= 0)
            close(fd);
        int r = report_receiver_take(receiver, &record);
        if (r < 0)
            break;
        if (r > 0) {
            struct audit_report *report = report_receiver_finish(receiver);

            if (report)
                walk(report);
            audit_report_free(report);
            break;
        }
    }
    close(sockets[0]);
    close(sockets[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    receive(data, size, 0);
    receive(data, size, WORKER_FILE_DIGEST | WORKER_LAYER_DIGEST);
    return 0;
}
