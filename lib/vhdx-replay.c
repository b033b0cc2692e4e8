/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The replay of a VHDX's log, in memory: [MS-VHDX] 2.3.3. What its entries write is read in place
 * of what lies in the file, which stays as it is. */
#include <errno.h>
#include <stdlib.h>

#include "bytes.h"
#include "io.h"
#include "vhdx.h"

enum {
    SECTOR = 4096,
    HEADER = 64,                /* 2.3.1.1 */
    AT_LENGTH = 8,
    AT_DESCRIPTORS = 24,
    AT_LAST = 56,               /* LastFileOffset: bytes that the file must have */
    DESCRIPTOR = 32,            /* 2.3.1.2 and 2.3.1.3 */
    AT_TRAILING = 4,
    AT_LEADING = 8,             /* of zeros: how many */
    AT_FILE_OFFSET = 16,
    LEADING = 8,                /* bytes of a data sector that its descriptor has, */
    TRAILING = 4,               /* at its begin and at its end */
    HEADERS_END = 192 << 10,    /* 2.2: identifier and headers, which no log may write */
    MEMORY_SHARE = 8,           /* the log is at most one such part of the memory allowed: for each
                                 * 32 bytes of it, there may be a write, and two patches of it */
};

/* In the order in which they were made. */
struct write {
    uint64_t offset, end;       /* in the file */
    const uint8_t *bytes;       /* NULL: zeros */
};

struct replay {
    struct qca_image *image;
    struct vhdx_region log;
    uint8_t *entries;           /* the log's part that is replayed */
    uint64_t size;
    struct write *writes;
    size_t n, capacity;
};

static bool is_allowed(const struct replay *replay, const struct write *write)
{
    const struct vhdx_region log = replay->log;

    return write->offset >= HEADERS_END && write->end <= replay->image->info.file_size &&
           (write->end <= log.offset || write->offset >= log.offset + log.size);
}

/* -EBADMSG: not one that is replayed. */
static int add_write(struct replay *replay, uint64_t offset, uint64_t length, const uint8_t *bytes)
{
    struct write write = { .offset = offset, .bytes = bytes };

    if (length == 0)
        return 0;
    if (add_overflows(offset, length, &write.end) || !is_allowed(replay, &write))
        return -EBADMSG;
    if (replay->n == replay->capacity) {
        size_t capacity = replay->capacity ? 2 * replay->capacity : 64;
        struct write *writes = reallocarray(replay->writes, capacity, sizeof(*writes));

        if (!writes)
            return -ENOMEM;
        replay->writes = writes;
        replay->capacity = capacity;
    }
    replay->writes[replay->n++] = write;
    return 0;
}

/* One entry, of length bytes, whose checksum fits; its data sectors become what they write. */
static int take_entry(struct replay *replay, uint8_t *entry, uint64_t length)
{
    uint64_t n = le32_get(entry + AT_DESCRIPTORS), data;
    int r = 0;

    if (HEADER + n * DESCRIPTOR > length ||
        le64_get(entry + AT_LAST) > replay->image->info.file_size)
        return -EBADMSG;
    data = (HEADER + n * DESCRIPTOR + SECTOR - 1) / SECTOR * SECTOR;
    for (uint64_t i = 0; i < n && r == 0; i++) {
        const uint8_t *descriptor = entry + HEADER + i * DESCRIPTOR;
        uint64_t offset = le64_get(descriptor + AT_FILE_OFFSET);

        if (memcmp(descriptor, "desc", 4) != 0) {
            r = add_write(replay, offset, le64_get(descriptor + AT_LEADING), NULL);
            continue;
        }
        if (data + SECTOR > length)
            return -EBADMSG;
        memcpy(entry + data, descriptor + AT_LEADING, LEADING);
        memcpy(entry + data + SECTOR - TRAILING, descriptor + AT_TRAILING, TRAILING);
        r = add_write(replay, offset, SECTOR, entry + data);
        data += SECTOR;
    }
    return r;
}

/* Entries that were found valid; from the tail on, which may be where none of them begins. */
static int take_entries(struct replay *replay)
{
    int r = 0;

    for (uint64_t at = 0, length; at < replay->size && r == 0; at += length) {
        uint8_t *entry = replay->entries + at;

        length = le32_get(entry + AT_LENGTH);
        if (memcmp(entry, "loge", 4) != 0 || length == 0 || length % SECTOR != 0 ||
            length > replay->size - at || !vhdx_checksum_fits(entry, length))
            return -EBADMSG;
        r = take_entry(replay, entry, length);
    }
    return r;
}

/* ---- which write is the last one of each byte --------------------------------------------- */

static int compare_places(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

/* Sorts the offsets at which writes begin and end, each once. */
static size_t sort_places(const struct replay *replay, uint64_t *places)
{
    size_t n = 0;

    for (size_t i = 0; i < replay->n; i++) {
        places[2 * i] = replay->writes[i].offset;
        places[2 * i + 1] = replay->writes[i].end;
    }
    qsort(places, 2 * replay->n, sizeof(*places), compare_places);
    for (size_t i = 0; i < 2 * replay->n; i++)
        if (n == 0 || places[i] != places[n - 1])
            places[n++] = places[i];
    return n;
}

static size_t find_place(const uint64_t *places, size_t n, uint64_t wanted)
{
    const uint64_t *found = bsearch(&wanted, places, n, sizeof(*places), compare_places);

    return (size_t)(found - places);
}

/* The first piece from i on that nobody has; skips as one what was found before. */
static size_t find_free(size_t *next, size_t i)
{
    size_t free_one = i;

    while (next[free_one] != free_one)
        free_one = next[free_one];
    while (next[i] != free_one) {
        size_t behind = next[i];

        next[i] = free_one;
        i = behind;
    }
    return free_one;
}

/* The newest write first: what it does not have is left for older ones. Pieces are what lies
 * between two places; owners: whose each is, the write's index + 1, at first 0. */
static void share_out(const struct replay *replay, const uint64_t *places, size_t n, size_t *next,
                      size_t *owners)
{
    for (size_t i = 0; i < n; i++)
        next[i] = i;
    for (size_t w = replay->n; w-- > 0;) {
        size_t end = find_place(places, n, replay->writes[w].end);
        size_t i = find_free(next, find_place(places, n, replay->writes[w].offset));

        for (; i < end; i = find_free(next, i)) {
            owners[i] = w + 1;
            next[i] = i + 1;
        }
    }
}

static int make_patches(const struct replay *replay, struct vhdx *vhdx)
{
    _cleanup_free_ uint64_t *places = calloc(2 * replay->n + 1, sizeof(*places));
    _cleanup_free_ size_t *next = calloc(2 * replay->n + 1, sizeof(*next));
    _cleanup_free_ size_t *owners = calloc(2 * replay->n + 1, sizeof(*owners));
    size_t n;

    vhdx->patches = calloc(2 * replay->n + 1, sizeof(*vhdx->patches));
    if (!places || !next || !owners || !vhdx->patches)
        return -ENOMEM;
    n = sort_places(replay, places);
    share_out(replay, places, n, next, owners);
    for (size_t i = 0; i + 1 < n; i++) {
        const struct write *write = owners[i] ? &replay->writes[owners[i] - 1] : NULL;

        if (write)
            vhdx->patches[vhdx->n_patches++] = (struct io_patch){
                places[i], places[i + 1] - places[i],
                write->bytes ? write->bytes + (places[i] - write->offset) : NULL,
            };
    }
    return 0;
}

/* ---- the whole ---------------------------------------------------------------------------- */

/* The log is a ring. */
static int read_entries(struct replay *replay, uint64_t start)
{
    struct qca_io *io = replay->image->io;
    uint64_t first = min_u64(replay->size, replay->log.size - start);
    int r = qca_io_read(io, replay->log.offset + start, replay->entries, first);

    if (r == 0 && first < replay->size)
        r = qca_io_read(io, replay->log.offset, replay->entries + first, replay->size - first);
    return r;
}

static int patch(struct replay *replay, struct vhdx *vhdx)
{
    int r = make_patches(replay, vhdx);

    if (r == 0)
        r = io_new_patched(replay->image->io, vhdx->patches, vhdx->n_patches, &vhdx->patched);
    if (r < 0)
        return r;
    vhdx->below = replay->image->io;
    replay->image->io = vhdx->patched;
    return 0;
}

int vhdx_replay(struct qca_image *image, struct vhdx *vhdx)
{
    struct vhdx_scan scan = { .image = image };
    const struct vhdx_fields *fields = &scan.fields;
    struct replay replay = { .image = image };
    int r = vhdx_scan_headers(&scan);

    if (r == 0 && !scan.refused)
        r = vhdx_scan_log(&scan);
    if (r == -ENOMEM)
        return r;
    /* the check tells why, and that there is no layout without it */
    if (r < 0 || scan.refused || !fields->log_pending ||
        fields->replay.size > image->memory_limit / MEMORY_SHARE)
        return 0;
    replay.log = fields->log;
    replay.size = fields->replay.size;
    vhdx->entries = replay.entries = malloc(replay.size);
    if (!replay.entries)
        return -ENOMEM;
    r = read_entries(&replay, fields->replay.offset);
    if (r == 0)
        r = take_entries(&replay);
    if (r == 0)
        r = patch(&replay, vhdx);
    free(replay.writes);
    return r == -ENOMEM ? r : 0;
}

void vhdx_replay_done(struct qca_image *image, struct vhdx *vhdx)
{
    if (vhdx->patched)
        image->io = vhdx->below;
    qca_io_free(vhdx->patched);
    free(vhdx->patches);
    free(vhdx->entries);
}
