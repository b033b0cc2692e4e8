/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks a GUID partition table and its backup: UEFI Specification 2.10, 5.3. */
#include <errno.h>
#include <zlib.h>

#include "io.h"
#include "raw.h"

enum {
    HEADER_SIZE = 92,           /* 5.3.2, table 5.5: at least, and of all that is there */
    /* Offsets of the fields in the header. */
    AT_HEADER_SIZE = 12,
    AT_HEADER_CRC = 16,
    AT_MY_LBA = 24,
    AT_ALTERNATE_LBA = 32,
    AT_FIRST_USABLE_LBA = 40,
    AT_LAST_USABLE_LBA = 48,
    AT_GUID = 56,
    AT_ENTRIES_LBA = 72,
    AT_ENTRIES = 80,
    AT_ENTRY_SIZE = 84,
    AT_ENTRIES_CRC = 88,
    /* and in an entry (5.3.3, table 5.6) */
    AT_TYPE = 0,
    AT_FIRST_LBA = 32,
    AT_LAST_LBA = 40,
    ENTRY_SIZE = 128,           /* at least, times a power of two */
    ENTRIES_SIZE_MAX = 1 << 20, /* bytes of entries that are looked at: 64 times what is usual */
    MY_LBA = 1,
};

static const char signature[8] = { 'E', 'F', 'I', ' ', 'P', 'A', 'R', 'T' };

/* A header, or what is where it should be. */
struct header {
    uint64_t offset;            /* host offset */
    bool is_there;              /* the signature is */
    bool is_valid;              /* and its checksum, and it says that it is here */
    uint64_t alternate;         /* LBA */
    uint8_t bytes[HEADER_SIZE];
};

struct gpt {
    struct qca_image *image;
    struct check *check;
    unsigned sector_size;
};

unsigned gpt_sector_size(struct qca_io *io, const uint8_t head[PROBE_SIZE])
{
    uint8_t bytes[HEADER_SIZE];

    if (memcmp(head + MY_LBA * RAW_SECTOR, signature, sizeof(signature)) == 0)
        return RAW_SECTOR;
    /* Sectors of 4,096 bytes: there, a disk of smaller ones has partition entries. */
    if (qca_io_size(io) <= RAW_SECTOR_4K || io_peek(io, RAW_SECTOR_4K, bytes, sizeof(bytes)) < 0)
        return 0;
    return memcmp(bytes, signature, sizeof(signature)) == 0 && le64_get(bytes + AT_MY_LBA) == MY_LBA
               ? RAW_SECTOR_4K : 0;
}

/* The byte at which the sector begins; UINT64_MAX when no file has it. */
static uint64_t sector_offset(const struct gpt *gpt, uint64_t lba)
{
    uint64_t offset;

    return __builtin_mul_overflow(lba, (uint64_t)gpt->sector_size, &offset) ? UINT64_MAX : offset;
}

/* lba is one that lies in the file. */
static int header_read(const struct gpt *gpt, uint64_t lba, struct header *ret_header)
{
    struct header header = { .offset = sector_offset(gpt, lba) };
    uint8_t sector[RAW_SECTOR_4K];
    uint32_t size, crc;
    int r = raw_read(gpt->image, gpt->check, header.offset, sector, gpt->sector_size, "the GPT");

    if (r < 0)
        return r;
    size = le32_get(sector + AT_HEADER_SIZE);
    crc = le32_get(sector + AT_HEADER_CRC);
    header.is_there = memcmp(sector, signature, sizeof(signature)) == 0;
    header.alternate = le64_get(sector + AT_ALTERNATE_LBA);
    memcpy(header.bytes, sector, sizeof(header.bytes));
    if (header.is_there && size >= HEADER_SIZE && size <= gpt->sector_size) {
        memset(sector + AT_HEADER_CRC, 0, 4);
        header.is_valid = (uint32_t)crc32(0, sector, size) == crc &&
                          le64_get(sector + AT_MY_LBA) == lba;
    }
    *ret_header = header;
    return 0;
}

static int gpt_issue(const struct gpt *gpt, enum qca_issue_kind kind, const struct header *header,
                     uint64_t field, uint64_t offset, uint64_t size)
{
    enum qca_table table = header->offset == sector_offset(gpt, MY_LBA) ? QCA_TABLE_HEADER
                                                                        : QCA_TABLE_TRAILER;

    return raw_issue(gpt->check, kind, table, header->offset, field, offset, size);
}

/* ---- entries ------------------------------------------------------------------------------- */

static int check_partition(const struct gpt *gpt, const struct header *header, uint64_t number,
                           const uint8_t *entry)
{
    uint64_t first = le64_get(entry + AT_FIRST_LBA), last = le64_get(entry + AT_LAST_LBA);
    uint64_t start = sector_offset(gpt, first), sectors, size;

    if (length_without_zeros(entry + AT_TYPE, 16) == 0 || last < first)
        return 0;
    if (add_overflows(last - first, 1, &sectors) ||
        __builtin_mul_overflow(sectors, (uint64_t)gpt->sector_size, &size))
        size = UINT64_MAX;
    if (!raw_is_outside(gpt->image, start, size))
        return 0;
    return raw_issue(gpt->check, QCA_ISSUE_PARTITION_OUT_OF_FILE, QCA_TABLE_DIRECTORY,
                     sector_offset(gpt, le64_get(header->bytes + AT_ENTRIES_LBA)), number, start,
                     size);
}

/* *ret_size: bytes of the entries, 0 when they are more than are looked at, or not all in the
 * file. */
static void entries_place(const struct gpt *gpt, const struct header *header, uint64_t *ret_offset,
                          uint32_t *ret_entry_size, uint64_t *ret_size)
{
    uint32_t entry_size = le32_get(header->bytes + AT_ENTRY_SIZE);
    uint64_t size = (uint64_t)entry_size * le32_get(header->bytes + AT_ENTRIES);

    *ret_offset = sector_offset(gpt, le64_get(header->bytes + AT_ENTRIES_LBA));
    *ret_entry_size = entry_size;
    *ret_size = entry_size < ENTRY_SIZE || size > ENTRIES_SIZE_MAX ||
                        raw_is_outside(gpt->image, *ret_offset, size) ? 0 : size;
}

/* The entries of a header that is valid. partitions: look at them, too. */
static int check_entries(const struct gpt *gpt, const struct header *header, bool partitions)
{
    _cleanup_free_ uint8_t *entries = NULL;
    uint64_t offset, size;
    uint32_t entry_size;
    int r;

    entries_place(gpt, header, &offset, &entry_size, &size);
    if (size == 0)
        return 0;
    entries = malloc(size);
    if (!entries)
        return -ENOMEM;
    r = raw_read(gpt->image, gpt->check, offset, entries, size, "the GPT's entries");
    if (r < 0)
        return r;
    if ((uint32_t)crc32(0, entries, (uInt)size) != le32_get(header->bytes + AT_ENTRIES_CRC))
        return gpt_issue(gpt, QCA_ISSUE_GPT_INVALID, header, AT_ENTRIES_CRC, offset, size);
    for (uint64_t i = 0; partitions && r == 0 && i < size / entry_size; i++)
        r = check_partition(gpt, header, i, entries + i * entry_size);
    return r;
}

/* ---- both ---------------------------------------------------------------------------------- */

/* All but the fields that say where each of them is (5.3.2). */
static bool headers_differ(const struct header *a, const struct header *b)
{
    static const struct { unsigned offset, size; } same[] = {
        { AT_FIRST_USABLE_LBA, 8 }, { AT_LAST_USABLE_LBA, 8 }, { AT_GUID, 16 }, { AT_ENTRIES, 4 },
        { AT_ENTRY_SIZE, 4 }, { AT_ENTRIES_CRC, 4 },
    };

    for (size_t i = 0; i < ELEMENTSOF(same); i++)
        if (memcmp(a->bytes + same[i].offset, b->bytes + same[i].offset, same[i].size) != 0)
            return true;
    return false;
}

/* The backup where the primary header, which is valid, says that it is. That need not be the end of
 * the disk: one that grew has it where its end was. */
static int check_backup(const struct gpt *gpt, const struct header *primary)
{
    uint64_t offset = sector_offset(gpt, primary->alternate);
    struct header backup;
    int r;

    if (raw_is_outside(gpt->image, offset, RAW_SECTOR))
        return gpt_issue(gpt, QCA_ISSUE_GPT_BACKUP_OUT_OF_FILE, primary, AT_ALTERNATE_LBA, offset,
                         gpt->sector_size);
    r = header_read(gpt, primary->alternate, &backup);
    if (r < 0)
        return r;
    if (primary->alternate <= MY_LBA || !backup.is_valid)
        return gpt_issue(gpt, QCA_ISSUE_GPT_INVALID, &backup, 0, offset, gpt->sector_size);
    r = check_entries(gpt, &backup, false);
    if (r == 0 && headers_differ(primary, &backup))
        r = gpt_issue(gpt, QCA_ISSUE_GPT_COPIES_DIFFER, &backup, 0, offset, gpt->sector_size);
    return r;
}

/* The primary header is not valid: what is at the end of the disk tells of the partitions. */
static int check_alone(const struct gpt *gpt, const struct header *primary)
{
    uint64_t last = gpt->image->info.file_size / gpt->sector_size;
    struct header backup;
    int r = gpt_issue(gpt, QCA_ISSUE_GPT_INVALID, primary, 0, primary->offset, gpt->sector_size);

    if (r < 0 || last <= MY_LBA + 1)
        return r;
    r = header_read(gpt, last - 1, &backup);
    return r == 0 && backup.is_valid ? check_entries(gpt, &backup, true) : r;
}

int gpt_check_lost(struct qca_image *image, struct check *check)
{
    static const unsigned sizes[] = { RAW_SECTOR, RAW_SECTOR_4K };

    for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
        const struct gpt gpt = { .image = image, .check = check, .sector_size = sizes[i] };
        uint64_t sectors = image->info.file_size / sizes[i];
        struct header backup, primary;
        int r;

        if (sectors <= MY_LBA + 1)
            continue;
        r = header_read(&gpt, sectors - 1, &backup);
        if (r == 0 && backup.is_valid && backup.alternate == MY_LBA)
            r = header_read(&gpt, MY_LBA, &primary);
        else if (r == 0)
            continue;
        return r < 0 ? r : check_alone(&gpt, &primary);
    }
    return 0;
}

/* No partitions are looked at behind a file's end that the header has told of: they are what is
 * cut. The table of an array is that of all its disks, and any part of it may be on another one. */
int gpt_check(struct qca_image *image, struct check *check, unsigned sector_size)
{
    const struct gpt gpt = { .image = image, .check = check, .sector_size = sector_size };
    struct header primary;
    bool array = false;
    uint64_t offset;
    int r = raw_is_of_array(image, check, &array);

    if (r < 0 || array)
        return r;
    r = header_read(&gpt, MY_LBA, &primary);
    if (r < 0)
        return r;
    if (!primary.is_valid)
        return check_alone(&gpt, &primary);
    r = check_backup(&gpt, &primary);
    if (r < 0)
        return r;
    offset = sector_offset(&gpt, primary.alternate);
    return check_entries(&gpt, &primary, !raw_is_outside(image, offset, RAW_SECTOR));
}
