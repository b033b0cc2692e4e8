/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An audit's report as records: sent by the worker, put together by the client. */
#pragma once

#include "helpers/wire.h"
#include "lib/cleanup.h"

/* ---- the worker's side: each returns 0 or wire_send()'s error, and allocates nothing --------- */

/* The room left in a report; begins as REPORT_ROOM(max_issues). */
struct report_room {
    size_t issues, snapshots, bitmaps, extensions, extents;
};
#define REPORT_ROOM(max_issues)                                                                    \
    {                                                                                              \
        .issues = (max_issues), .snapshots = WIRE_SNAPSHOTS_MAX, .bitmaps = WIRE_BITMAPS_MAX,      \
        .extensions = WIRE_EXTENSIONS_MAX, .extents = WIRE_EXTENTS_MAX,                            \
    }

struct report_layer {
    uint32_t index;
    const char *name;                       /* the reference that led here, or NULL */
    const struct qca_image_info *info;
    enum qca_format probed_format;
    const uint8_t *metadata_digest;         /* NULL: none */
    const struct qca_check_result *check;   /* NULL: not checked */
};

int report_send_file_digest(int socket, const struct qca_file_digest *digest);
int report_send_content_digest(int socket, const struct qca_content_digest *digest);

/* Digests of blocks, gathered until a record is full. Begins with all 0. */
struct report_blocks {
    struct wire_blocks record;
};
int report_blocks_add(struct report_blocks *blocks, int socket, uint64_t first, uint64_t n,
                      const uint8_t (*digests)[32], bool unallocated);
int report_blocks_flush(struct report_blocks *blocks, int socket);

int report_send_layer(int socket, const struct report_layer *layer, struct report_room *room);

/* ---- the client's side ----------------------------------------------------------------------- */

struct report_receiver;

int report_receiver_new(size_t max_issues, struct report_receiver **ret_receiver);
struct report_receiver *report_receiver_free(struct report_receiver *receiver);
DEFINE_CLEANUP(struct report_receiver *, report_receiver_free)
/* The digests that were asked for, of enum worker_flags: they must come with a report that tells of
 * no error, and no other may. None until then. */
void report_receiver_expect(struct report_receiver *receiver, unsigned flags);
/* Takes one record, of WIRE_LAYER to WIRE_DONE, or a digest. 0; 1 when the report is complete;
 * -EBADMSG when the record is not what may come now or holds what the library never says;
 * -ENOMEM. */
int report_receiver_take(struct report_receiver *receiver, const union wire_record *record);
/* As much as there is of it, as long as it is the receiver's. */
const struct audit_report *report_receiver_report(const struct report_receiver *receiver);
/* The complete report, which is then the caller's. */
struct audit_report *report_receiver_finish(struct report_receiver *receiver);
/* An empty report, which is then the caller's, for an audit that will not be completed. Cannot
 * fail. */
struct audit_report *report_receiver_abandon(struct report_receiver *receiver);
