/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The qcow2 snapshot table. */
#include "qcow2.h"

#include <inttypes.h>

#include "error.h"

enum {
    ENTRY_SIZE = 40,            /* the fixed part */
    EXTRA_KNOWN = 16,           /* large VM state size and virtual size: what version 3 demands */
    STRING_KEPT = 1023,
    WINDOW_MAX = 128 * 1024,    /* an id and a name of the largest size fit */
};

/* A sliding view of the table: entries are small, reads are not. */
struct window {
    struct qca_image *image;
    uint64_t start;
    size_t length, capacity;    /* bytes */
    uint8_t *data;
};

static void window_done(struct window *window)
{
    free(window->data);
}

/* Most tables are small; one that lies past the end of the file is not even that. */
static int window_reserve(struct window *window, size_t capacity)
{
    uint8_t *data;

    if (capacity <= window->capacity)
        return 0;
    data = realloc(window->data, capacity);
    if (!data)
        return -ENOMEM;
    window->data = data;
    window->capacity = capacity;
    return 0;
}

/* The size bytes at offset (at most what a name takes), or -errno. */
static int window_get(struct window *window, uint64_t offset, size_t size, const uint8_t **ret_data)
{
    int r;

    if (offset < window->start || offset - window->start > window->length ||
        size > window->length - (offset - window->start)) {
        uint64_t file_size = window->image->info.file_size,
                 ahead = offset < file_size ? file_size - offset : 0;

        window->start = offset;
        window->length = min_u64(max_u64(ahead, size), WINDOW_MAX);
        r = window_reserve(window, window->length);
        if (r < 0) {
            window->length = 0;
            return r;
        }
        r = qcow2_read(window->image, offset, window->data, window->length);
        if (r < 0) {
            /* Reading ahead may fail where what is asked for can be read. */
            window->length = size;
            r = qcow2_read(window->image, offset, window->data, size);
        }
        if (r < 0) {
            window->length = 0;
            return r;
        }
    }
    *ret_data = window->data + (offset - window->start);
    return 0;
}

static char *string_cut(const uint8_t *data, size_t size)
{
    return strndup((const char *)data, min_u64(size, STRING_KEPT));
}

static int out_of_memory(struct qca_error *error)
{
    return error_set(error, ENOMEM, QCA_ERROR_MEMORY, (struct error_field) { 0 },
                     "the snapshot table needs more memory than allowed");
}

/* Reads entry number index at *offset and moves behind it. */
static int entry_load(struct window *window, uint32_t index, uint64_t *offset,
                      struct qca_snapshot *snapshot, struct qca_error *error)
{
    struct qca_image *image = window->image;
    struct qcow2 *qcow2 = qcow2_of(image);
    uint16_t id_size, name_size;
    uint64_t at = round_up(*offset, 8);
    uint32_t extra_size;
    const uint8_t *data;
    int r;

    r = window_get(window, at, ENTRY_SIZE, &data);
    if (r < 0)
        return error_set_read(error, r, at, "the snapshot table");
    snapshot->l1_offset = be64_get(data);
    snapshot->l1_entries = be32_get(data + 8);
    id_size = be16_get(data + 12);
    name_size = be16_get(data + 14);
    snapshot->date_sec = be32_get(data + 16);
    snapshot->date_nsec = be32_get(data + 20);
    snapshot->vm_state_size = be32_get(data + 32);
    extra_size = be32_get(data + 36);
    at += ENTRY_SIZE;
    if (extra_size > QCOW2_MAX_SNAPSHOT_EXTRA)
        return error_set(error, EFBIG, QCA_ERROR_SNAPSHOT_TABLE,
                         (struct error_field) { "Size of extra data", at - 4, extra_size,
                                                QCOW2_MAX_SNAPSHOT_EXTRA },
                         "snapshot table entry %" PRIu32 " has too much extra data", index);

    r = window_get(window, at, extra_size, &data);
    if (r < 0)
        return error_set_read(error, r, at, "the snapshot table");
    if (extra_size >= 8)
        snapshot->vm_state_size = be64_get(data);
    if (extra_size >= EXTRA_KNOWN)
        snapshot->virtual_size = be64_get(data + 8);
    else if (image->info.version >= 3)
        qcow2->incomplete[qcow2->n_incomplete++] = index;
    at += extra_size;

    r = window_get(window, at, (size_t)id_size + name_size, &data);
    if (r < 0)
        return error_set_read(error, r, at, "the snapshot table");
    qcow2->any_vm_state |= snapshot->vm_state_size > 0;
    snapshot->id = string_cut(data, id_size);
    snapshot->name = string_cut(data + id_size, name_size);
    *offset = at + id_size + name_size;
    return snapshot->id && snapshot->name ? 0 : out_of_memory(error);
}

static int table_load(struct qca_image *image, struct qca_error *error)
{
    struct qca_image_info *info = &image->info;
    struct qcow2 *qcow2 = qcow2_of(image);
    _cleanup_(window_done) struct window window = { .image = image };
    uint64_t offset = info->snapshots_offset, memory;
    uint32_t count = info->snapshot_count;
    int r;

    if (count > QCOW2_MAX_SNAPSHOTS)
        return error_set(error, EFBIG, QCA_ERROR_SNAPSHOT_TABLE,
                         (struct error_field) { "nb_snapshots", 60, count, QCOW2_MAX_SNAPSHOTS },
                         "the image claims more snapshots than QEMU allows");
    if (offset > INT64_MAX - (uint64_t)count * ENTRY_SIZE || !qcow2_aligned(qcow2, offset))
        return error_set(error, EINVAL, QCA_ERROR_SNAPSHOT_TABLE,
                         (struct error_field) { "snapshots_offset", 64, offset, 0 },
                         "the snapshot table's offset is not a multiple of the cluster size within "
                         "a file");
    if (count == 0)
        return 0;

    memory = (uint64_t)count * (sizeof(*info->snapshots) + sizeof(*qcow2->incomplete)) +
             WINDOW_MAX;
    if (memory > image->memory_limit)
        return out_of_memory(error);
    info->snapshots = calloc(count, sizeof(*info->snapshots));
    qcow2->incomplete = calloc(count, sizeof(*qcow2->incomplete));
    if (!info->snapshots || !qcow2->incomplete)
        return out_of_memory(error);

    for (uint32_t i = 0; i < count; i++) {
        struct qca_snapshot *snapshot = &info->snapshots[i];

        info->n_snapshots = i + 1;
        r = entry_load(&window, i, &offset, snapshot, error);
        if (r < 0) {
            free(snapshot->id);
            free(snapshot->name);
            info->n_snapshots = i;
            return r;
        }
        memory += strlen(snapshot->id) + strlen(snapshot->name) + 2;
        if (memory > image->memory_limit)
            return out_of_memory(error);
        qcow2->snapshots_size = offset - info->snapshots_offset;
        if (qcow2->snapshots_size > QCOW2_MAX_SNAPSHOT_TABLE_BYTES)
            return error_set(
                error, EFBIG, QCA_ERROR_SNAPSHOT_TABLE,
                (struct error_field) { "nb_snapshots", 60, count, QCOW2_MAX_SNAPSHOT_TABLE_BYTES },
                "the snapshot table is larger than 64 MiB");
    }
    return 0;
}

int qcow2_snapshots_load(struct qca_image *image, struct qca_error *error)
{
    struct qcow2 *qcow2 = qcow2_of(image);

    qcow2->snapshots_result = table_load(image, &qcow2->snapshots_error);
    if (qcow2->snapshots_result == -ENOMEM) {
        if (error)
            *error = qcow2->snapshots_error;
        return -ENOMEM;
    }
    return 0;
}
