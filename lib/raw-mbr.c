/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checks the partitions of a master boot record: UEFI Specification 2.10, 5.2.1, and the chain of
 * extended partitions, as Linux reads it (block/partitions/msdos.c, parse_extended()). */
#include "raw.h"

enum {
    AT_ENTRIES = 446,
    ENTRIES = 4,
    ENTRY_SIZE = 16,
    AT_SIGNATURE = 510,
    /* in an entry */
    AT_STATUS = 0,
    AT_TYPE = 4,
    AT_START = 8,
    AT_SIZE = 12,
    TYPE_PROTECTIVE = 0xee,     /* UEFI 2.10, 5.2.3: a GPT tells what there is */
    LINKS_MAX = 128,            /* logical partitions: Linux reads 100 links */
    /* Tools that counted in cylinders let the last one end behind the disk (255 heads of 63
     * sectors). */
    CYLINDER = 255 * 63,
};

struct partition {
    uint8_t type;
    uint32_t start, size;       /* sectors */
};

static struct partition partition_get(const uint8_t *sector, unsigned number)
{
    const uint8_t *entry = sector + AT_ENTRIES + number * ENTRY_SIZE;

    return (struct partition) {
        .type = entry[AT_TYPE],
        .start = le32_get(entry + AT_START),
        .size = le32_get(entry + AT_SIZE),
    };
}

static bool is_used(const struct partition *partition)
{
    return partition->type != 0 && partition->size > 0;
}

static bool is_extended(const struct partition *partition)
{
    return partition->type == 0x05 || partition->type == 0x0f || partition->type == 0x85;
}

/* A file system without partitions: its boot sector has the signature, and code in the place of
 * entries (FAT: Microsoft's "FAT: General Overview of On-Disk Format" 1.03, BS_FilSysType). */
static bool is_file_system(const uint8_t *sector)
{
    return memcmp(sector + 3, "NTFS    ", 8) == 0 || memcmp(sector + 3, "EXFAT   ", 8) == 0 ||
           memcmp(sector + 3, "-FVE-FS-", 8) == 0 || memcmp(sector + 3, "ReFS", 4) == 0 ||
           memcmp(sector + 54, "FAT", 3) == 0 || memcmp(sector + 82, "FAT32", 5) == 0;
}

/* Partitions that lie beside each other, behind the table: else it is something else, that only has
 * the signature. */
static bool table_is_likely(const struct partition partitions[ENTRIES])
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        const struct partition *a = &partitions[i];

        if (!is_used(a))
            continue;
        if (a->start == 0 || a->type == TYPE_PROTECTIVE)
            return false;
        for (unsigned j = 0; j < i; j++) {
            const struct partition *b = &partitions[j];

            if (is_used(b) && a->start < (uint64_t)b->start + b->size &&
                b->start < (uint64_t)a->start + a->size)
                return false;
        }
    }
    return true;
}

/* base: sectors that start is counted from. */
static int check_partition(struct qca_image *image, struct check *check, uint64_t table,
                           unsigned number, const struct partition *partition, uint64_t base)
{
    uint64_t start = (base + partition->start) * RAW_SECTOR;
    uint64_t size = (uint64_t)partition->size * RAW_SECTOR, end = start + size;
    uint64_t slack = (uint64_t)CYLINDER * RAW_SECTOR;

    if (end <= raw_disk_size(image) ||
        (start < raw_disk_size(image) && end - raw_disk_size(image) < slack))
        return 0;
    return raw_issue(check, QCA_ISSUE_PARTITION_OUT_OF_FILE, QCA_TABLE_HEADER, table,
                     AT_ENTRIES + number * ENTRY_SIZE, start, size);
}

static bool is_among(const uint64_t *links, unsigned n, uint64_t link)
{
    for (unsigned i = 0; i < n; i++)
        if (links[i] == link)
            return true;
    return false;
}

/* Each link holds a logical partition, counted from the link, and the next link, counted from the
 * first one; in any order, but each once. */
static int check_logical(struct qca_image *image, struct check *check,
                         const struct partition *extended)
{
    uint64_t link = extended->start, links[LINKS_MAX];
    uint8_t sector[RAW_SECTOR];
    int r = 0;

    for (unsigned i = 0; r == 0 && i < LINKS_MAX && !is_among(links, i, link); i++) {
        struct partition logical, next;

        links[i] = link;
        if (raw_is_outside(image, link * RAW_SECTOR, RAW_SECTOR))
            return 0;           /* the extended partition ends beyond the end, too */
        r = raw_read(image, check, link * RAW_SECTOR, sector, sizeof(sector),
                     "an extended boot record");
        if (r < 0 || sector[AT_SIGNATURE] != 0x55 || sector[AT_SIGNATURE + 1] != 0xaa)
            return r;
        logical = partition_get(sector, 0);
        next = partition_get(sector, 1);
        if (is_used(&logical) && !is_extended(&logical))
            r = check_partition(image, check, link * RAW_SECTOR, 0, &logical, link);
        if (!is_used(&next) || !is_extended(&next))
            return r;
        link = (uint64_t)extended->start + next.start;
    }
    return r;
}

int mbr_check(struct qca_image *image, struct check *check)
{
    struct partition partitions[ENTRIES];
    uint8_t sector[RAW_SECTOR];
    bool array = false;
    int r = raw_read(image, check, 0, sector, sizeof(sector), "the partition table");

    if (r < 0 || is_file_system(sector))
        return r;
    for (unsigned i = 0; i < ENTRIES; i++) {
        partitions[i] = partition_get(sector, i);
        if (partitions[i].type == TYPE_PROTECTIVE && partitions[i].start == 1)
            return gpt_check_lost(image, check);
    }
    if (!table_is_likely(partitions))
        return 0;
    r = raw_is_of_array(image, check, &array);
    for (unsigned i = 0; r == 0 && !array && i < ENTRIES; i++) {
        if (!is_used(&partitions[i]))
            continue;
        r = check_partition(image, check, 0, i, &partitions[i], 0);
        if (r == 0 && is_extended(&partitions[i]))
            r = check_logical(image, check, &partitions[i]);
    }
    return r;
}
