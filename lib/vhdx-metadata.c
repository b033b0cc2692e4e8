/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The metadata region of a VHDX: [MS-VHDX] 2.6. */
#include "vhdx.h"

#include <errno.h>

#include "bytes.h"
#include "cleanup.h"

enum {
    AT_COUNT = 10,              /* in the table's header */
    AT_OFFSET = 16,             /* in an entry */
    AT_LENGTH = 20,
    AT_FLAGS = 24,
    REQUIRED = 1 << 2,
    BLOCK_SIZE_MIN = 1 << 20,   /* 2.6.2.1 */
    BLOCK_SIZE_MAX = 256 << 20,
    SECTOR = 512,
    SECTOR_LARGE = 4096,
};

#define DISK_SIZE_MAX (UINT64_C(64) << 40)      /* 2.6.2.2 */

const uint8_t vhdx_parameters_item[VHDX_GUID_SIZE] = {
    0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
    0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b
};
const uint8_t vhdx_disk_size_item[VHDX_GUID_SIZE] = {
    0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
    0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8
};
const uint8_t vhdx_parent_item[VHDX_GUID_SIZE] = {
    0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45,
    0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c
};
static const uint8_t page83_item[VHDX_GUID_SIZE] = {
    0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45,
    0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46
};
static const uint8_t logical_item[VHDX_GUID_SIZE] = {
    0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
    0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f
};
static const uint8_t physical_item[VHDX_GUID_SIZE] = {
    0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44,
    0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56
};

/* An item that the format has; at: its value in the file, 0: it was not seen. */
enum item { PARAMETERS, DISK_SIZE, PAGE83, LOGICAL, PHYSICAL, PARENT, _ITEM_MAX };

static const struct {
    const uint8_t *guid;
    uint32_t size;              /* bytes at least */
} items[_ITEM_MAX] = {
    [PARAMETERS] = { vhdx_parameters_item, 8 },
    [DISK_SIZE] = { vhdx_disk_size_item, 8 },
    [PAGE83] = { page83_item, 16 },
    [LOGICAL] = { logical_item, 4 },
    [PHYSICAL] = { physical_item, 4 },
    [PARENT] = { vhdx_parent_item, 20 },
};

static enum item find_item(const uint8_t *guid)
{
    unsigned item = 0;

    while (item < _ITEM_MAX && memcmp(items[item].guid, guid, VHDX_GUID_SIZE) != 0)
        item++;
    return (enum item)item;
}

static int invalid(struct vhdx_scan *scan, uint64_t offset, uint64_t size)
{
    return vhdx_refuse(scan, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_HEADER, offset, size);
}

static int take_entry(struct vhdx_scan *scan, const uint8_t *entry, uint64_t at,
                      uint64_t places[static _ITEM_MAX])
{
    struct vhdx_region region = scan->fields.metadata;
    uint64_t offset = le32_get(entry + AT_OFFSET), length = le32_get(entry + AT_LENGTH);
    enum item item = find_item(entry);

    if (item == _ITEM_MAX)
        return le32_get(entry + AT_FLAGS) & REQUIRED ? invalid(scan, at, VHDX_GUID_SIZE) : 0;
    if (places[item] != 0)
        return invalid(scan, at, VHDX_GUID_SIZE);
    /* 2.6.1.2: behind the table */
    if (offset < VHDX_METADATA_TABLE || offset + length > region.size)
        return invalid(scan, at + AT_OFFSET, 4);
    if (length < items[item].size)
        return invalid(scan, at + AT_LENGTH, 4);
    places[item] = region.offset + offset;
    return 0;
}

static int read_u32(struct vhdx_scan *scan, uint64_t at, uint32_t *ret_value)
{
    uint8_t bytes[4];
    int r = vhdx_read(scan, at, bytes, sizeof(bytes), "a metadata item");

    if (r == 0)
        *ret_value = le32_get(bytes);
    return r;
}

static int take_parameters(struct vhdx_scan *scan, const uint64_t places[static _ITEM_MAX])
{
    uint32_t size = 0, flags = 0;
    int r = read_u32(scan, places[PARAMETERS], &size);

    if (r == 0)
        r = read_u32(scan, places[PARAMETERS] + 4, &flags);
    if (r < 0)
        return r;
    if (size < BLOCK_SIZE_MIN || size > BLOCK_SIZE_MAX || (size & (size - 1)) != 0)
        return invalid(scan, places[PARAMETERS], 4);
    scan->fields.block_size = size;
    scan->fields.has_parent = flags & VHDX_HAS_PARENT;
    if (scan->fields.has_parent && places[PARENT] == 0)
        return invalid(scan, places[PARAMETERS] + 4, 4);
    return 0;
}

static int take_sizes(struct vhdx_scan *scan, const uint64_t places[static _ITEM_MAX])
{
    uint32_t logical = 0, physical = 0;
    uint8_t bytes[8];
    uint64_t size;
    int r = read_u32(scan, places[LOGICAL], &logical);

    if (r == 0)
        r = read_u32(scan, places[PHYSICAL], &physical);
    if (r == 0)
        r = vhdx_read(scan, places[DISK_SIZE], bytes, sizeof(bytes), "the virtual disk size");
    if (r < 0)
        return r;
    size = le64_get(bytes);
    if (logical != SECTOR && logical != SECTOR_LARGE)
        return invalid(scan, places[LOGICAL], 4);
    if (size > DISK_SIZE_MAX || size % logical != 0)
        return invalid(scan, places[DISK_SIZE], 8);
    scan->fields.sector_size = logical;
    scan->fields.disk_size = size;
    /* where data lies does not depend on it */
    if (physical != SECTOR && physical != SECTOR_LARGE)
        r = vhdx_issue(scan, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_HEADER, places[PHYSICAL], 4);
    return r;
}

/* 2.6.2: which items there must be. */
static int take_items(struct vhdx_scan *scan, const uint64_t places[static _ITEM_MAX])
{
    int r;

    for (unsigned i = 0; i < PARENT; i++)
        if (places[i] == 0)
            return invalid(scan, scan->fields.metadata.offset + AT_COUNT, 2);
    r = take_parameters(scan, places);
    return r < 0 || scan->refused ? r : take_sizes(scan, places);
}

int vhdx_scan_metadata(struct vhdx_scan *scan)
{
    _cleanup_free_ uint8_t *table = malloc(VHDX_METADATA_TABLE);
    uint64_t start = scan->fields.metadata.offset, places[_ITEM_MAX] = { 0 };
    unsigned n;
    int r;

    if (!table)
        return -ENOMEM;
    r = vhdx_read(scan, start, table, VHDX_METADATA_TABLE, "the metadata table");
    if (r < 0)
        return r;
    n = le16_get(table + AT_COUNT);
    if (memcmp(table, "metadata", 8) != 0 || n > VHDX_METADATA_MAX)
        return invalid(scan, start, VHDX_METADATA_ENTRY);
    for (unsigned i = 1; i <= n && r == 0 && !scan->refused; i++)
        r = take_entry(scan, table + i * VHDX_METADATA_ENTRY,
                       start + i * (uint64_t)VHDX_METADATA_ENTRY, places);
    return r < 0 || scan->refused ? r : take_items(scan, places);
}
