/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The worker's side of a report: layers as records, cut where a report may hold no more. */
#include <string.h>

#include "helpers/report-wire.h"

static size_t reserve(size_t *room, size_t wanted)
{
    size_t n = wanted < *room ? wanted : *room;

    *room -= n;
    return n;
}

static int send_snapshots(int socket, const struct qca_image_info *info, size_t n)
{
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++) {
        const struct qca_snapshot *s = &info->snapshots[i];
        struct wire_snapshot record = {
            .date_sec = s->date_sec, .date_nsec = s->date_nsec, .vm_state_size = s->vm_state_size,
            .virtual_size = s->virtual_size, .l1_offset = s->l1_offset, .l1_entries = s->l1_entries,
        };

        r = wire_send(socket, WIRE_SNAPSHOT, &record, s->id, s->name, -1);
    }
    return r;
}

static int send_bitmaps(int socket, const struct qca_image_info *info, size_t n)
{
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++) {
        const struct qca_bitmap *b = &info->bitmaps[i];
        struct wire_bitmap record = {
            .table_offset = b->table_offset, .flags = b->flags,
            .granularity_bits = b->granularity_bits,
            .table_entries = b->table_entries,
        };

        r = wire_send(socket, WIRE_BITMAP, &record, b->name, NULL, -1);
    }
    return r;
}

static int send_extensions(int socket, const struct qca_image_info *info, size_t n)
{
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i += WIRE_EXTENSIONS_PER_RECORD) {
        struct wire_extensions record = {0};

        record.n = n - i < WIRE_EXTENSIONS_PER_RECORD ? n - i : WIRE_EXTENSIONS_PER_RECORD;
        memcpy(record.extension, info->extensions + i, record.n * sizeof(record.extension[0]));
        r = wire_send(socket, WIRE_EXTENSIONS, &record, NULL, NULL, -1);
    }
    return r;
}

static int send_extents(int socket, const struct qca_image_info *info, size_t n)
{
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++) {
        const struct qca_extent_file *e = &info->extents[i];
        struct wire_extent record = {.size = e->size, .offset = e->offset};

        memcpy(record.type, e->type, sizeof(record.type));
        r = wire_send(socket, WIRE_EXTENT, &record, e->name, NULL, -1);
    }
    return r;
}

static int send_check(int socket, uint32_t layer, const struct qca_check_result *check,
                      struct report_room *room)
{
    size_t n = reserve(&room->issues, check->n_issues);
    struct wire_check record = { .finished = check->finished,
                                 .n_issues = (uint32_t)n,
                                 .error = *qca_check_error(check) };
    int r;

#define WIRE_X(field) record.field = check->field;
    WIRE_CHECK_FIELDS(WIRE_X)
#undef WIRE_X
    for (unsigned kind = 0; kind < _QCA_ISSUE_MAX; kind++)
        record.kind_count[kind] = qca_check_count(check, kind);
    record.error.layer = layer;
    r = wire_send(socket, WIRE_CHECK, &record, NULL, NULL, -1);
    for (size_t i = 0; i < n && r == 0; i += WIRE_ISSUES_PER_RECORD) {
        struct wire_issues issues = {0};

        issues.n = n - i < WIRE_ISSUES_PER_RECORD ? n - i : WIRE_ISSUES_PER_RECORD;
        memcpy(issues.issue, check->issues + i, issues.n * sizeof(issues.issue[0]));
        for (size_t k = 0; k < issues.n; k++)
            issues.issue[k].layer = layer;      /* a check knows of its own image alone */
        r = wire_send(socket, WIRE_ISSUES, &issues, NULL, NULL, -1);
    }
    return r;
}

int report_send_layer(int socket, const struct report_layer *layer, struct report_room *room)
{
    const struct qca_image_info *info = layer->info;
    size_t n_snapshots = reserve(&room->snapshots, info->n_snapshots);
    size_t n_bitmaps = reserve(&room->bitmaps, info->n_bitmaps);
    size_t n_extensions = reserve(&room->extensions, info->n_extensions);
    size_t n_extents = reserve(&room->extents, info->n_extents);
    struct wire_layer record = {
        .index = layer->index, .format = info->format, .variant = info->variant,
        .probed_format = layer->probed_format,
        .crypt_method = info->crypt_method, .n_snapshots = (uint32_t)n_snapshots,
        .n_bitmaps = (uint32_t)n_bitmaps,
        .n_extensions = (uint32_t)n_extensions, .n_extents = (uint32_t)n_extents,
        .extents_total = info->n_extents, .snapshots_total = info->n_snapshots,
        .bitmaps_total = info->n_bitmaps, .extensions_total = info->n_extensions,
        .checked = layer->check != NULL,
    };
    struct wire_layer_more more = {0};
    int r;

#define WIRE_X(field) record.field = info->field;
    WIRE_INFO_FIELDS(WIRE_X)
#undef WIRE_X
    if (layer->metadata_digest) {
        record.has_metadata_digest = 1;
        memcpy(record.metadata_digest, layer->metadata_digest, sizeof(record.metadata_digest));
    }
    r = wire_send(socket, WIRE_LAYER, &record, layer->name, info->parent, -1);
    if (r == 0)
        r = wire_send(socket, WIRE_LAYER_MORE, &more, info->parent_format, info->data_file, -1);
    if (r == 0)
        r = send_snapshots(socket, info, n_snapshots);
    if (r == 0)
        r = send_bitmaps(socket, info, n_bitmaps);
    if (r == 0)
        r = send_extensions(socket, info, n_extensions);
    if (r == 0)
        r = send_extents(socket, info, n_extents);
    if (r == 0 && layer->check)
        r = send_check(socket, layer->index, layer->check, room);
    return r;
}

int report_send_file_digest(int socket, const struct qca_file_digest *digest)
{
    struct wire_file_digest record = {.digest = *digest};

    return wire_send(socket, WIRE_FILE_DIGEST, &record, NULL, NULL, -1);
}

int report_send_content_digest(int socket, const struct qca_content_digest *digest)
{
    struct wire_content_digest record = {.complete = digest->complete, .digest = *digest};

    record.digest.complete = false;
    return wire_send(socket, WIRE_CONTENT_DIGEST, &record, NULL, NULL, -1);
}

int report_blocks_flush(struct report_blocks *blocks, int socket)
{
    int r = 0;

    if (blocks->record.n > 0)
        r = wire_send(socket, WIRE_BLOCKS, &blocks->record, NULL, NULL, -1);
    blocks->record.n = 0;
    return r;
}

int report_blocks_add(struct report_blocks *blocks, int socket, uint64_t first, uint64_t n,
                      const uint8_t (*digests)[32], bool unallocated)
{
    struct wire_blocks *record = &blocks->record;
    int r = 0;

    if (record->n > 0 && (first != record->first + record->n || record->zero != !digests ||
                          record->unallocated != unallocated ||
                          (digests && n > WIRE_BLOCKS_PER_RECORD - record->n)))
        r = report_blocks_flush(blocks, socket);
    if (record->n == 0) {
        record->first = first;
        record->zero = !digests;
        record->unallocated = unallocated;
    }
    if (digests)
        memcpy(record->digests[record->n], digests, n * sizeof(digests[0]));
    record->n += n;
    return r;
}
