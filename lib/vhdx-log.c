/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The log of a VHDX: [MS-VHDX] 2.3. Whether there is anything to replay is told by QEMU's rules,
 * which does not open an image read-only before it is (block/vhdx-log.c). */
#include "vhdx.h"

#include <errno.h>

#include "bytes.h"
#include "cleanup.h"
#include "crc32c.h"
#include "io.h"

enum {
    SECTOR = 4096,
    HEADER = 64,                /* 2.3.1.1 */
    AT_CHECKSUM = 4,
    AT_LENGTH = 8,
    AT_TAIL = 12,
    AT_SEQUENCE = 16,
    AT_DESCRIPTORS = 24,
    AT_GUID = 32,
    AT_FLUSHED = 48,
    DESCRIPTOR = 32,            /* 2.3.1.2 and 2.3.1.3 */
    AT_ZERO_LENGTH = 8,
    AT_FILE_OFFSET = 16,
    AT_DESCRIPTOR_SEQUENCE = 24,
    AT_SEQUENCE_HIGH = 4,       /* 2.3.1.4 */
    AT_SEQUENCE_LOW = SECTOR - 4,
    TIMES_READ = 4,             /* that sectors are read at most, on an average: an honest log's
                                 * stale entries end where newer ones begin */
};

struct log {
    struct vhdx_scan *scan;
    struct vhdx_region place;
    uint64_t sectors_left;      /* to be read, before the search gives up */
    uint8_t *sector;            /* the one that was read last */
};

struct log_entry {
    uint64_t sequence, flushed;
    uint64_t length, tail;      /* bytes; from the log's start */
    uint32_t descriptors;
};

/* Entries that follow each other. */
struct log_sequence {
    uint64_t start, length;     /* bytes */
    struct log_entry last;      /* length 0: there is none */
};

/* At this many bytes from the log's start, which may be behind its end: it is a ring. */
static int read_sector(struct log *log, uint64_t at)
{
    log->sectors_left--;
    return vhdx_read(log->scan, log->place.offset + at % log->place.size, log->sector, SECTOR,
                     "the log");
}

static bool take_header(const struct log *log, struct log_entry *ret_entry)
{
    const uint8_t *header = log->sector;
    struct log_entry entry = {
        .sequence = le64_get(header + AT_SEQUENCE),
        .flushed = le64_get(header + AT_FLUSHED),
        .length = le32_get(header + AT_LENGTH),
        .tail = le32_get(header + AT_TAIL),
        .descriptors = le32_get(header + AT_DESCRIPTORS),
    };

    *ret_entry = entry;
    return memcmp(header, "loge", 4) == 0 && entry.sequence != 0 && entry.length != 0 &&
           entry.length % SECTOR == 0 && entry.length <= log->place.size &&
           entry.tail % SECTOR == 0 && entry.tail < log->place.size &&
           HEADER + (uint64_t)entry.descriptors * DESCRIPTOR <= entry.length &&
           memcmp(header + AT_GUID, log->scan->fields.log_guid, VHDX_GUID_SIZE) == 0;
}

static bool descriptor_is_valid(const uint8_t *descriptor, uint64_t sequence, bool *ret_data)
{
    *ret_data = memcmp(descriptor, "desc", 4) == 0;
    return (*ret_data || (memcmp(descriptor, "zero", 4) == 0 &&
                          le64_get(descriptor + AT_ZERO_LENGTH) % SECTOR == 0)) &&
           le64_get(descriptor + AT_FILE_OFFSET) % SECTOR == 0 &&
           le64_get(descriptor + AT_DESCRIPTOR_SEQUENCE) == sequence;
}

/* Descriptors in the entry's sector of this index; adds how many of them have data. */
static bool descriptors_are_valid(const uint8_t *sector, const struct log_entry *entry,
                                  uint64_t index, uint64_t *n_data)
{
    uint64_t begin = index == 0 ? HEADER : 0,
             left = HEADER + (uint64_t)entry->descriptors * DESCRIPTOR - index * SECTOR,
             end = min_u64(SECTOR, left);

    for (uint64_t at = begin; at < end; at += DESCRIPTOR) {
        bool has_data;

        if (!descriptor_is_valid(sector + at, entry->sequence, &has_data))
            return false;
        *n_data += has_data;
    }
    return true;
}

static bool data_is_valid(const uint8_t *sector, uint64_t sequence)
{
    return memcmp(sector, "data", 4) == 0 &&
           le32_get(sector + AT_SEQUENCE_HIGH) == sequence >> 32 &&
           le32_get(sector + AT_SEQUENCE_LOW) == (uint32_t)sequence;
}

/* Is there a valid entry at this place? 2.3.1; of length 0 in *ret_entry when there is none. */
static int evaluate(struct log *log, uint64_t at, struct log_entry *ret_entry)
{
    struct log_entry entry;
    uint64_t described, n_data = 0;
    uint32_t stored, crc = 0;
    int r = log->sectors_left > 0 ? read_sector(log, at) : 0;

    ret_entry->length = 0;
    if (r < 0 || log->sectors_left == 0 || !take_header(log, &entry))
        return r;
    described = div_round_up(HEADER + (uint64_t)entry.descriptors * DESCRIPTOR, SECTOR);
    stored = le32_get(log->sector + AT_CHECKSUM);
    memset(log->sector + AT_CHECKSUM, 0, 4);
    for (uint64_t i = 0; i < entry.length / SECTOR; i++) {
        bool valid = true;

        if (log->sectors_left == 0)
            return 0;
        r = i > 0 ? read_sector(log, at + i * SECTOR) : 0;
        if (r < 0)
            return r;
        if (i < described)
            valid = descriptors_are_valid(log->sector, &entry, i, &n_data);
        else if (i - described < n_data)
            valid = data_is_valid(log->sector, entry.sequence);
        if (!valid)
            return 0;
        crc = crc32c(crc, log->sector, SECTOR);
    }
    if (crc == stored && described + n_data <= entry.length / SECTOR)
        *ret_entry = entry;
    return 0;
}

/* The longest sequence that begins at start. */
static int follow(struct log *log, uint64_t start, struct log_sequence *ret_sequence)
{
    struct log_sequence sequence = { .start = start };

    while (sequence.length < log->place.size) {
        struct log_entry entry;
        int r = evaluate(log, start + sequence.length, &entry);

        if (r < 0)
            return r;
        if (entry.length == 0 ||
            (sequence.length > 0 && entry.sequence != sequence.last.sequence + 1))
            break;
        sequence.last = entry;
        sequence.length += entry.length;
    }
    *ret_sequence = sequence;
    return 0;
}

/* Bytes from there on in which no entry begins, as they are a hole of the file; 0: none. */
static uint64_t skip_hole(const struct log *log, uint64_t at)
{
    uint64_t offset = log->place.offset + at;
    struct io_segment segment = io_segment(log->scan->image->io, offset);

    return segment.hole ? min_u64(segment.end - offset, log->place.size) / SECTOR * SECTOR : 0;
}

/* 2.3.3: the valid sequence with the highest number is active. It has the tail of its last
 * entry. */
static int find_active(struct log *log, struct log_sequence *ret_active)
{
    uint64_t size = log->place.size, step;

    *ret_active = (struct log_sequence){ 0 };
    for (uint64_t at = 0; at < size; at += step) {
        struct log_sequence sequence;
        int r;

        step = skip_hole(log, at);
        if (step > 0)
            continue;
        r = follow(log, at, &sequence);
        if (r < 0)
            return r;
        step = max_u64(sequence.length, SECTOR);
        if (sequence.length > 0 && sequence.last.sequence > ret_active->last.sequence &&
            (sequence.last.tail + size - sequence.start) % size < sequence.length)
            *ret_active = sequence;
    }
    return 0;
}

/* QEMU (block/vhdx-log.c) takes a log without a valid sequence for an empty one, where [MS-VHDX]
 * 2.3.3 takes the file for damaged. */
int vhdx_scan_log(struct vhdx_scan *scan)
{
    static const uint8_t none[VHDX_GUID_SIZE];
    struct vhdx_region place = scan->fields.log;
    struct log log = { scan, place, TIMES_READ * (place.size / SECTOR), NULL };
    _cleanup_free_ uint8_t *sector = NULL;
    struct log_sequence active;
    int r;

    if (memcmp(scan->fields.log_guid, none, VHDX_GUID_SIZE) == 0)
        return 0;
    log.sector = sector = malloc(SECTOR);
    if (!sector)
        return -ENOMEM;
    r = find_active(&log, &active);
    if (r < 0)
        return r;
    if (active.length == 0)
        return vhdx_issue(scan, QCA_ISSUE_LOG_INVALID, QCA_TABLE_LOG, place.offset, place.size);
    /* the file became shorter than what the log was written for */
    if (active.last.flushed > scan->image->info.file_size)
        return vhdx_refuse(scan, QCA_ISSUE_LOG_INVALID, QCA_TABLE_LOG, place.offset, place.size);
    scan->fields.log_pending = true;
    scan->fields.replay = (struct vhdx_region){
        active.last.tail,
        active.length - (active.last.tail + place.size - active.start) % place.size,
    };
    return vhdx_issue(scan, QCA_ISSUE_LOG_PENDING, QCA_TABLE_LOG,
                      place.offset + active.start, active.length);
}
