/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Microsoft's VHDX, its regions and metadata alone: [MS-VHDX] 2.2 (header section), 2.6 (metadata
 * region), all of it little-endian. */
#include <errno.h>

#include "bytes.h"
#include "foreign.h"

enum {
    REGION_TABLE_1 = 192 << 10,         /* 2.2.3 */
    REGION_TABLE_2 = 256 << 10,
    REGION_HEADER = 16,
    REGION_ENTRY = 32,
    REGIONS_MAX = 2047,
    METADATA_TABLE = 64 << 10,          /* 2.6.1 */
    METADATA_ENTRY = 32,
    METADATA_MAX = 2047,
    GUID_SIZE = 16,
    LOCATOR_MAX = 64 << 10,
    LOCATOR_HEADER = 20,                /* 2.6.2.6 */
    LOCATOR_ENTRY = 12,
    HAS_PARENT = 1 << 1,                /* 2.6.2.1 */
    LEAVE_ALLOCATED = 1 << 0,
};

/* GUIDs as they lie in the file: the first three fields are little-endian. */
static const uint8_t metadata_region[GUID_SIZE] = {
    0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
    0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e
};
static const uint8_t disk_size_item[GUID_SIZE] = {
    0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
    0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8
};
static const uint8_t parameters_item[GUID_SIZE] = {
    0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
    0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b
};
static const uint8_t parent_item[GUID_SIZE] = {
    0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45,
    0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c
};

static bool vhdx_probe(struct probe *probe)
{
    return memcmp(probe->head, "vhdxfile", 8) == 0;
}

/* Where the metadata region begins, by one of the two region tables. */
static int find_metadata(struct qca_image *image, struct qca_error *error, uint64_t *ret_offset)
{
    static const uint64_t tables[] = { REGION_TABLE_1, REGION_TABLE_2 };

    for (size_t t = 0; t < ELEMENTSOF(tables); t++) {
        uint8_t header[REGION_HEADER], entry[REGION_ENTRY];
        uint32_t n;
        int r = foreign_read(image, error, tables[t], header, sizeof(header), "the region table");

        if (r < 0)
            return r;
        n = le32_get(header + 8);
        if (memcmp(header, "regi", 4) != 0 || n > REGIONS_MAX)
            continue;
        for (uint32_t i = 0; i < n; i++) {
            r = foreign_read(image, error, tables[t] + REGION_HEADER + i * (uint64_t)REGION_ENTRY,
                             entry, sizeof(entry), "the region table");
            if (r < 0)
                return r;
            if (memcmp(entry, metadata_region, GUID_SIZE) == 0) {
                *ret_offset = le64_get(entry + 16);
                return 0;
            }
        }
    }
    return foreign_invalid(error, "Signature", REGION_TABLE_1, 0, 0,
                           "neither region table says where the metadata is");
}

static int out_of_memory(struct qca_error *error)
{
    return error_set(error, ENOMEM, QCA_ERROR_MEMORY, (struct error_field){ 0 }, "out of memory");
}

/* The value of a key as text, NULL in *ret_text when it is not there. */
static int locator_value(struct bytes locator, const char *wanted, char **ret_text)
{
    const uint8_t *header = bytes_at(locator, 0, LOCATOR_HEADER);
    unsigned n = header ? le16_get(header + 18) : 0;

    *ret_text = NULL;
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *entry = bytes_at(locator, LOCATOR_HEADER + i * (uint64_t)LOCATOR_ENTRY,
                                        LOCATOR_ENTRY);
        const uint8_t *key, *value;
        _cleanup_free_ char *name = NULL;
        int r;

        if (!entry)
            break;
        key = bytes_at(locator, le32_get(entry), le16_get(entry + 8));
        value = bytes_at(locator, le32_get(entry + 4), le16_get(entry + 10));
        if (!key || !value)
            continue;
        r = foreign_utf16(key, le16_get(entry + 8), false, &name);
        if (r < 0)
            return r;
        if (name && strcmp(name, wanted) == 0)
            return foreign_utf16(value, le16_get(entry + 10), false, ret_text);
    }
    return 0;
}

/* 2.6.2.6.3: "relative_path" first, then the absolute ones, of which the name alone is of use. */
static int take_parent(struct qca_image *image, struct qca_error *error, uint64_t offset,
                       uint32_t length)
{
    static const char *const keys[] = { "relative_path", "absolute_win32_path", "volume_path" };
    struct qca_image_info *info = &image->info;
    _cleanup_free_ uint8_t *bytes = NULL;
    int r = 0;

    if (length > LOCATOR_MAX)
        return foreign_invalid(error, "Length", offset, length, LOCATOR_MAX,
                               "the parent locator is too long");
    bytes = malloc(length ? length : 1);
    if (!bytes)
        return out_of_memory(error);
    r = foreign_read(image, error, offset, bytes, length, "the parent locator");
    if (r < 0)
        return r;
    for (size_t i = 0; i < ELEMENTSOF(keys) && r == 0 && !info->parent; i++)
        r = locator_value((struct bytes){ bytes, length }, keys[i], &info->parent);
    if (r == 0 && info->parent) {
        foreign_windows_path(info->parent);
        info->parent_format = strdup(qca_format_name(QCA_FORMAT_VHDX));
        r = info->parent_format ? 0 : -ENOMEM;
    }
    return r < 0 ? out_of_memory(error) : 0;
}

static int take_item(struct qca_image *image, struct qca_error *error, const uint8_t *entry,
                     uint64_t region, bool *has_size)
{
    struct qca_image_info *info = &image->info;
    uint64_t at = region + le32_get(entry + 16);
    uint8_t value[8];
    int r = 0;

    if (memcmp(entry, disk_size_item, GUID_SIZE) == 0) {
        r = foreign_read(image, error, at, value, sizeof(value), "the virtual disk size");
        *has_size = true;
        return r < 0 ? r
                     : foreign_size(image, error, "VirtualDiskSize", at, le64_get(value), 1);
    }
    if (memcmp(entry, parameters_item, GUID_SIZE) == 0) {
        r = foreign_read(image, error, at, value, sizeof(value), "the file parameters");
        if (r < 0)
            return r;
        info->cluster_size = le32_get(value);
        info->variant = le32_get(value + 4) & HAS_PARENT        ? QCA_VARIANT_DIFFERENCING
                        : le32_get(value + 4) & LEAVE_ALLOCATED ? QCA_VARIANT_FIXED
                                                                : QCA_VARIANT_DYNAMIC;
    }
    if (memcmp(entry, parent_item, GUID_SIZE) == 0 && !info->parent)
        return take_parent(image, error, at, le32_get(entry + 20));
    return 0;
}

static int vhdx_open(struct qca_image *image, struct qca_error *error)
{
    uint8_t head[32], entry[METADATA_ENTRY];
    uint64_t region = 0;
    bool has_size = false;
    unsigned n;
    int r = foreign_read(image, error, 0, head, sizeof(head), "the file type identifier");

    if (r < 0)
        return r;
    if (memcmp(head, "vhdxfile", 8) != 0)
        return foreign_other(image, error);
    r = find_metadata(image, error, &region);
    if (r == 0 && region > (uint64_t)INT64_MAX / 2)
        return foreign_invalid(error, "FileOffset", REGION_TABLE_1, region, INT64_MAX / 2,
                               "the metadata lies beyond the largest file");
    if (r == 0)
        r = foreign_read(image, error, region, head, sizeof(head), "the metadata table");
    if (r < 0)
        return r;
    n = le16_get(head + 10);
    if (memcmp(head, "metadata", 8) != 0 || n > METADATA_MAX)
        return foreign_invalid(error, "EntryCount", region + 10, n, METADATA_MAX,
                               "there is no metadata table where the region table says");
    for (unsigned i = 0; i < n && r == 0; i++) {
        r = foreign_read(image, error, region + sizeof(head) + i * (uint64_t)METADATA_ENTRY, entry,
                         sizeof(entry), "the metadata table");
        if (r == 0)
            r = take_item(image, error, entry, region, &has_size);
    }
    if (r == 0 && !has_size)
        r = foreign_invalid(error, "VirtualDiskSize", region, 0, 0,
                            "the metadata does not say how large the disk is");
    return r;
}

/* QEMU does not follow the parent: it refuses an image with one. */
const struct format format_vhdx = {
    .format = QCA_FORMAT_VHDX,
    .probe = vhdx_probe,
    .open = vhdx_open,
};
