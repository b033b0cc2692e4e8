/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The two region tables of a VHDX: [MS-VHDX] 2.2.3. */
#include "vhdx.h"

#include <errno.h>

#include "bytes.h"
#include "cleanup.h"

enum {
    AT_COUNT = 8,
    AT_OFFSET = 16,             /* in an entry */
    AT_LENGTH = 24,
    AT_REQUIRED = 28,
    REQUIRED = 1 << 0,
};

const uint8_t vhdx_table_region[VHDX_GUID_SIZE] = {
    0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
    0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08
};
const uint8_t vhdx_metadata_region[VHDX_GUID_SIZE] = {
    0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
    0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e
};

static struct vhdx_region entry_region(const uint8_t *table, uint32_t index)
{
    const uint8_t *entry = table + VHDX_REGION_HEADER + index * VHDX_REGION_ENTRY;

    return (struct vhdx_region){ le64_get(entry + AT_OFFSET), le32_get(entry + AT_LENGTH) };
}

/* Both lie in the file. */
static bool overlap(struct vhdx_region a, struct vhdx_region b)
{
    return a.offset < b.offset + b.size && b.offset < a.offset + a.size;
}

/* Checks the place of the entry's region: in whole MiB, behind the header section, apart from the
 * others and from the log. */
static int check_place(struct vhdx_scan *scan, const uint8_t *table, uint64_t offset,
                       uint32_t index)
{
    uint64_t entry = offset + VHDX_REGION_HEADER + index * (uint64_t)VHDX_REGION_ENTRY;
    struct vhdx_region region = entry_region(table, index);
    bool disjoint = true;
    int r = 0;

    if (!vhdx_is_inside(scan->image, region))
        return vhdx_refuse(scan, QCA_ISSUE_TABLE_OUT_OF_FILE, QCA_TABLE_DIRECTORY, region.offset,
                           region.size);
    if (region.offset % VHDX_MIB != 0 || region.size % VHDX_MIB != 0)
        r = vhdx_issue(scan, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_DIRECTORY, entry + AT_OFFSET, 12);
    disjoint = region.offset >= VHDX_MIB && !overlap(region, scan->fields.log);
    for (uint32_t i = 0; i < index && disjoint; i++)
        disjoint = !overlap(region, entry_region(table, i));
    return r < 0 || disjoint ? r
                             : vhdx_refuse(scan, QCA_ISSUE_METADATA_SHARED, QCA_TABLE_DIRECTORY,
                                           region.offset, region.size);
}

static int take_entry(struct vhdx_scan *scan, const uint8_t *table, uint64_t offset,
                      uint32_t index)
{
    uint64_t at = VHDX_REGION_HEADER + index * (uint64_t)VHDX_REGION_ENTRY;
    const uint8_t *entry = table + at;
    struct vhdx_region *known = NULL;

    if (memcmp(entry, vhdx_table_region, VHDX_GUID_SIZE) == 0)
        known = &scan->fields.table;
    else if (memcmp(entry, vhdx_metadata_region, VHDX_GUID_SIZE) == 0)
        known = &scan->fields.metadata;
    if (known ? known->size > 0 : (le32_get(entry + AT_REQUIRED) & REQUIRED) != 0)
        return vhdx_refuse(scan, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_DIRECTORY, offset + at,
                           VHDX_GUID_SIZE);
    if (known)
        *known = entry_region(table, index);
    else if (scan->fields.n_others < VHDX_OTHERS_MAX)
        scan->fields.others[scan->fields.n_others++] = entry_region(table, index);
    return check_place(scan, table, offset, index);
}

static int take_table(struct vhdx_scan *scan, const uint8_t *table, uint64_t offset)
{
    uint32_t n = le32_get(table + AT_COUNT);
    int r = 0;

    if (n > VHDX_REGIONS_MAX)
        return vhdx_refuse(scan, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_DIRECTORY, offset + AT_COUNT,
                           4);
    for (uint32_t i = 0; i < n && r == 0 && !scan->refused; i++)
        r = take_entry(scan, table, offset, i);
    if (r == 0 && !scan->refused &&
        (scan->fields.table.size == 0 || scan->fields.metadata.size < VHDX_METADATA_TABLE))
        r = vhdx_refuse(scan, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_DIRECTORY, offset,
                        VHDX_REGION_HEADER);
    return r;
}

static int read_table(struct vhdx_scan *scan, uint64_t offset, uint8_t *table, bool *ret_valid)
{
    int r = vhdx_read(scan, offset, table, VHDX_REGION_TABLE_SIZE, "the region table");

    if (r < 0)
        return r;
    *ret_valid = memcmp(table, "regi", 4) == 0 &&
                 vhdx_checksum_fits(table, VHDX_REGION_TABLE_SIZE);
    return *ret_valid ? 0
                      : vhdx_issue(scan, QCA_ISSUE_CHECKSUM_WRONG, QCA_TABLE_DIRECTORY, offset,
                                   VHDX_REGION_TABLE_SIZE);
}

/* The first valid one counts. */
int vhdx_scan_regions(struct vhdx_scan *scan)
{
    _cleanup_free_ uint8_t *tables = malloc(2 * VHDX_REGION_TABLE_SIZE);
    uint8_t *first = tables, *second = tables + VHDX_REGION_TABLE_SIZE;
    bool first_valid, second_valid;
    int r;

    if (!tables)
        return -ENOMEM;
    r = read_table(scan, VHDX_REGION_TABLE_1, first, &first_valid);
    if (r == 0)
        r = read_table(scan, VHDX_REGION_TABLE_2, second, &second_valid);
    if (r < 0)
        return r;
    if (first_valid && second_valid && memcmp(first, second, VHDX_REGION_TABLE_SIZE) != 0)
        r = vhdx_issue(scan, QCA_ISSUE_COPY_DIFFERS, QCA_TABLE_DIRECTORY, VHDX_REGION_TABLE_2,
                       VHDX_REGION_TABLE_SIZE);
    if (r < 0)
        return r;
    if (first_valid)
        return take_table(scan, first, VHDX_REGION_TABLE_1);
    if (second_valid)
        return take_table(scan, second, VHDX_REGION_TABLE_2);
    scan->refused = true;       /* the issues are told */
    return 0;
}
