/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Microsoft's VHDX: what opens it, and what names its parent. [MS-VHDX] 2.2 (header section), 2.6
 * (metadata region), all of it little-endian. Damage that does not matter here is no reason not to
 * open it: the strict reading is that of vhdx.h. */
#include <ctype.h>
#include <errno.h>

#include "bytes.h"
#include "foreign.h"
#include "vhdx.h"

enum {
    LOCATOR_MAX = 64 << 10,
    LOCATOR_HEADER = 20,                /* 2.6.2.6 */
    LOCATOR_ENTRY = 12,
};

static bool vhdx_probe(struct probe *probe)
{
    return memcmp(probe->head, "vhdxfile", 8) == 0;
}

/* Finds the metadata region's begin by this region table; *ret_found: the table has it. */
static int find_in_table(struct qca_image *image, struct qca_error *error, uint64_t offset,
                         bool checked, uint64_t *ret_offset, bool *ret_found)
{
    _cleanup_free_ uint8_t *table = malloc(VHDX_REGION_TABLE_SIZE);
    size_t size = (size_t)min_u64(VHDX_REGION_TABLE_SIZE,
                                  image->info.file_size - min_u64(offset, image->info.file_size));
    uint32_t n;
    int r;

    *ret_found = false;
    if (!table)
        return error_set_memory(error);
    memset(table, 0, VHDX_REGION_TABLE_SIZE);
    r = foreign_read(image, error, offset, table, max_u64(size, VHDX_REGION_HEADER),
                     "the region table");
    if (r < 0)
        return r;
    n = le32_get(table + 8);
    if (memcmp(table, "regi", 4) != 0 || n > VHDX_REGIONS_MAX ||
        (checked && !vhdx_checksum_fits(table, VHDX_REGION_TABLE_SIZE)))
        return 0;
    for (uint32_t i = 0; i < n && !*ret_found; i++) {
        const uint8_t *entry = table + VHDX_REGION_HEADER + i * VHDX_REGION_ENTRY;

        if (memcmp(entry, vhdx_metadata_region, VHDX_GUID_SIZE) == 0) {
            *ret_offset = le64_get(entry + 16);
            *ret_found = true;
        }
    }
    return 0;
}

/* By one of the two region tables: best one that has its checksum. */
static int find_metadata(struct qca_image *image, struct qca_error *error, uint64_t *ret_offset)
{
    static const uint64_t tables[] = { VHDX_REGION_TABLE_1, VHDX_REGION_TABLE_2 };

    for (size_t t = 0; t < 2 * ELEMENTSOF(tables); t++) {
        bool found, checked = t < ELEMENTSOF(tables);
        int r = find_in_table(image, error, tables[t % ELEMENTSOF(tables)], checked, ret_offset,
                              &found);

        if (r < 0 || found)
            return r;
    }
    return foreign_invalid(error, "Signature", VHDX_REGION_TABLE_1, 0, 0,
                           "neither region table says where the metadata is");
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

/* A GUID as a locator's value has it: "{%08x-...}", of either case. */
static void parse_guid(const char *text, struct qca_identity *ret_identity)
{
    static const char pattern[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
                      digits[] = "0123456789abcdef";
    struct qca_identity identity = { "" };
    bool zero = true;

    if (!text)
        return;
    text += *text == '{';
    for (size_t i = 0; i < sizeof(pattern) - 1; i++) {
        char c = (char)tolower((unsigned char)text[i]);

        if (pattern[i] == '-' ? c != '-' : c == '\0' || !strchr(digits, c))
            return;
        zero = zero && (c == '0' || c == '-');
        identity.text[i] = c;
    }
    if (!zero)
        *ret_identity = identity;
}

/* 2.6.2.6.3: the parent's DataWriteGuid is parent_linkage, or parent_linkage2 where there is one:
 * it was changed, and this layer was told of both the old and the new one. */
static int take_linkage(struct qca_image *image, struct bytes locator)
{
    _cleanup_free_ char *first = NULL, *second = NULL;
    int r = locator_value(locator, "parent_linkage", &first);

    if (r == 0)
        r = locator_value(locator, "parent_linkage2", &second);
    if (r < 0)
        return r;
    parse_guid(first, &image->info.parent_identity);
    parse_guid(second, &image->info.second_parent_identity);
    return 0;
}

/* 2.6.2.6.3: "relative_path" first, then the absolute ones, of which the name alone is of use. */
static int take_parent(struct qca_image *image, struct qca_error *error, uint64_t offset,
                       uint32_t length)
{
    static const char *const keys[] = { "relative_path", "absolute_win32_path", "volume_path" };
    struct qca_image_info *info = &image->info;
    struct vhdx *vhdx = image->own;
    _cleanup_free_ uint8_t *bytes = NULL;
    struct bytes locator;
    int r;

    if (length > LOCATOR_MAX)
        return foreign_invalid(error, "Length", offset, length, LOCATOR_MAX,
                               "the parent locator is too long");
    bytes = malloc(length ? length : 1);
    if (!bytes)
        return error_set_memory(error);
    r = foreign_read(image, error, offset, bytes, length, "the parent locator");
    if (r < 0)
        return r;
    locator = (struct bytes){ bytes, length };
    vhdx->parent_offset = offset;
    r = take_linkage(image, locator);
    for (size_t i = 0; i < ELEMENTSOF(keys) && r == 0 && !info->parent; i++)
        r = locator_value(locator, keys[i], &info->parent);
    if (r == 0)
        r = foreign_windows_parent(image);
    return r < 0 ? error_set_memory(error) : 0;
}

/* Items that were met. */
struct items {
    bool has_size;
    uint64_t locator;           /* host offset of the parent locator; 0: there is none */
    uint32_t locator_length;
};

static int take_item(struct qca_image *image, struct qca_error *error, const uint8_t *entry,
                     uint64_t region, struct items *items)
{
    struct qca_image_info *info = &image->info;
    uint64_t at = region + le32_get(entry + 16);
    uint8_t value[8];
    int r = 0;

    if (memcmp(entry, vhdx_disk_size_item, VHDX_GUID_SIZE) == 0) {
        r = foreign_read(image, error, at, value, sizeof(value), "the virtual disk size");
        items->has_size = true;
        return r < 0 ? r
                     : foreign_size(image, error, "VirtualDiskSize", at, le64_get(value), 1);
    }
    if (memcmp(entry, vhdx_parameters_item, VHDX_GUID_SIZE) == 0) {
        r = foreign_read(image, error, at, value, sizeof(value), "the file parameters");
        if (r < 0)
            return r;
        info->cluster_size = le32_get(value);
        info->variant = le32_get(value + 4) & VHDX_HAS_PARENT        ? QCA_VARIANT_DIFFERENCING
                        : le32_get(value + 4) & VHDX_LEAVE_ALLOCATED ? QCA_VARIANT_FIXED
                                                                : QCA_VARIANT_DYNAMIC;
    }
    /* where it is; it is read when it is known whether there is a parent */
    if (memcmp(entry, vhdx_parent_item, VHDX_GUID_SIZE) == 0 && items->locator == 0) {
        items->locator = at;
        items->locator_length = le32_get(entry + 20);
    }
    return 0;
}

static int take_metadata(struct qca_image *image, struct qca_error *error)
{
    uint8_t head[32], entry[VHDX_METADATA_ENTRY];
    uint64_t region = 0;
    struct items items = { .has_size = false };
    unsigned n;
    int r = foreign_read(image, error, 0, head, sizeof(head), "the file type identifier");

    if (r < 0)
        return r;
    if (memcmp(head, "vhdxfile", 8) != 0)
        return foreign_other(image, error);
    r = find_metadata(image, error, &region);
    if (r == 0 && region > (uint64_t)INT64_MAX / 2)
        return foreign_invalid(error, "FileOffset", VHDX_REGION_TABLE_1, region, INT64_MAX / 2,
                               "the metadata lies beyond the largest file");
    if (r == 0)
        r = foreign_read(image, error, region, head, sizeof(head), "the metadata table");
    if (r < 0)
        return r;
    n = le16_get(head + 10);
    if (memcmp(head, "metadata", 8) != 0 || n > VHDX_METADATA_MAX)
        return foreign_invalid(error, "EntryCount", region + 10, n, VHDX_METADATA_MAX,
                               "there is no metadata table where the region table says");
    for (unsigned i = 0; i < n && r == 0; i++) {
        r = foreign_read(image, error,
                         region + sizeof(head) + i * (uint64_t)VHDX_METADATA_ENTRY, entry,
                         sizeof(entry), "the metadata table");
        if (r == 0)
            r = take_item(image, error, entry, region, &items);
    }
    if (r == 0 && !items.has_size)
        r = foreign_invalid(error, "VirtualDiskSize", region, 0, 0,
                            "the metadata does not say how large the disk is");
    if (r == 0 && items.locator > 0 && image->info.variant == QCA_VARIANT_DIFFERENCING)
        r = take_parent(image, error, items.locator, items.locator_length);
    return r;
}

static int vhdx_open(struct qca_image *image, struct qca_error *error)
{
    int r = foreign_new_own(image, sizeof(struct vhdx), error);

    if (r == 0 && vhdx_replay(image, image->own) < 0)
        r = error_set_memory(error);
    if (r == 0)
        r = take_metadata(image, error);
    if (r < 0)
        return r;
    return vhdx_set_layout(image, image->own) < 0 ? error_set_memory(error) : 0;
}

static void vhdx_close(struct qca_image *image)
{
    struct vhdx *vhdx = image->own;

    if (!vhdx)
        return;
    vhdx_replay_done(image, vhdx);
    free(vhdx->bitmaps);
    free(vhdx);
}

static bool vhdx_link(const struct qca_image *image, unsigned index, struct image_link *ret_link)
{
    const struct vhdx *vhdx = image->own;

    return image_link_parent(image, index, "Parent Locator", vhdx->parent_offset, ret_link);
}

/* QEMU does not follow the parent: it refuses an image with one. */
const struct format format_vhdx = {
    .format = QCA_FORMAT_VHDX,
    .probe = vhdx_probe,
    .open = vhdx_open,
    .close = vhdx_close,
    .check = vhdx_check,
    .map = &block_map,
    .layout = vhdx_layout,
    .link = vhdx_link,
};
