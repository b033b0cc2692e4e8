/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Microsoft's VHD ("vpc"), its footer and header: "Virtual Hard Disk Image Format
 * Specification" 1.0, "Hard Disk Footer Format" and "Dynamic Disk Header Format", all of it
 * big-endian. A dynamic disk has a copy of the footer at its start; a fixed one is a raw disk with
 * a footer behind it, which QEMU takes for raw unless it is told otherwise. */
#include <errno.h>

#include "bytes.h"
#include "foreign.h"
#include "map.h"
#include "vhd.h"

enum {
    TYPE_FIXED = 2,
    TYPE_DYNAMIC = 3,
    TYPE_DIFFERENCING = 4,
};

/* "Parent Locator Entry": platforms whose names are UTF-16, little-endian */
#define LOCATOR_RELATIVE UINT32_C(0x57327275)           /* "W2ru" */
#define LOCATOR_ABSOLUTE UINT32_C(0x57326b75)           /* "W2ku" */
/* The largest geometry: what is larger, it does not tell (QEMU, block/vpc.c). */
#define GEOMETRY_MAX (UINT64_C(65535) * 16 * 255)

static const char cookie[8] = { 'c', 'o', 'n', 'e', 'c', 't', 'i', 'x' };
static const char header_cookie[8] = { 'c', 'x', 's', 'p', 'a', 'r', 's', 'e' };

static bool has_cookie(const uint8_t *footer)
{
    return memcmp(footer, cookie, sizeof(cookie)) == 0;
}

uint32_t vhd_checksum(const uint8_t *bytes, size_t size, size_t at_checksum)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < size; i++)
        if (i < at_checksum || i >= at_checksum + 4)
            sum += bytes[i];
    return ~sum;
}

static bool checksum_fits(const uint8_t *footer)
{
    return be32_get(footer + VHD_AT_CHECKSUM) ==
           vhd_checksum(footer, VHD_FOOTER_SIZE, VHD_AT_CHECKSUM);
}

/* A raw disk may end in anything: only a footer that is whole, and says that the disk is what lies
 * before it, makes it a fixed VHD. */
static bool is_fixed(const uint8_t *footer, uint64_t disk)
{
    uint64_t size = be64_get(footer + VHD_AT_CURRENT_SIZE);

    return has_cookie(footer) && be32_get(footer + VHD_AT_TYPE) == TYPE_FIXED &&
           checksum_fits(footer) && size > 0 && size <= disk && disk - size < VHD_SECTOR;
}

/* The footer at the end, of 512 bytes or of 511. */
static bool fixed_footer(const struct probe *probe, uint8_t ret_footer[static VHD_FOOTER_SIZE],
                         uint64_t *ret_offset)
{
    uint64_t offset = probe->size - VHD_FOOTER_SIZE;

    memcpy(ret_footer, probe->tail, VHD_FOOTER_SIZE);
    if (probe->size <= VHD_FOOTER_SIZE || !is_fixed(ret_footer, offset)) {
        offset = probe->size - VHD_FOOTER_SIZE_OLD;
        memcpy(ret_footer, probe->tail + 1, VHD_FOOTER_SIZE_OLD);
        ret_footer[VHD_FOOTER_SIZE - 1] = 0;
        if (probe->size <= VHD_FOOTER_SIZE_OLD || !is_fixed(ret_footer, offset))
            return false;
    }
    *ret_offset = offset;
    return true;
}

static bool vpc_probe(struct probe *probe)
{
    return has_cookie(probe->head);
}

static bool vpc_probe_end(struct probe *probe)
{
    uint8_t footer[VHD_FOOTER_SIZE];
    uint64_t offset;

    return fixed_footer(probe, footer, &offset);
}

/* Virtual PC goes by the geometry, others by the size: QEMU tells them by who wrote the file, and
 * so do we, as one disk must not have two sizes. */
static bool goes_by_size(const uint8_t *footer)
{
    static const char creators[][5] = { "win ", "qem2", "d2v ", "tap\0", "CTXS", "wa\0\0" };

    for (size_t i = 0; i < ELEMENTSOF(creators); i++)
        if (memcmp(footer + VHD_AT_CREATOR, creators[i], 4) == 0)
            return true;
    return false;
}

static int set_size(struct qca_image *image, struct qca_error *error, const uint8_t *footer)
{
    uint64_t sectors = (uint64_t)be16_get(footer + VHD_AT_CYLINDERS) * footer[VHD_AT_HEADS] *
                       footer[VHD_AT_SECTORS];
    uint64_t size = be64_get(footer + VHD_AT_CURRENT_SIZE);

    if (sectors == 0 || sectors >= GEOMETRY_MAX || goes_by_size(footer))
        return foreign_size(image, error, "Current Size", VHD_AT_CURRENT_SIZE,
                            size / VHD_SECTOR, VHD_SECTOR);
    if (size / VHD_SECTOR != sectors)
        image->info.other_size = size;
    return foreign_size(image, error, "Disk Geometry", VHD_AT_CYLINDERS, sectors, VHD_SECTOR);
}

/* The first locator of this platform that names something. One that lies outside of the file is the
 * check's to tell. */
static int take_locator(struct qca_image *image, struct qca_error *error, uint32_t platform)
{
    struct vhd *vhd = image->own;
    int r = 0;

    for (unsigned i = 0; i < VHD_LOCATORS && !image->info.parent && r == 0; i++) {
        uint64_t at = VHD_AT_LOCATORS + (uint64_t)i * VHD_LOCATOR_SIZE, offset, end;
        const uint8_t *locator = vhd->header + at;
        uint8_t name[2 * FOREIGN_NAME_MAX];
        size_t length = (size_t)min_u64(be32_get(locator + VHD_LOCATOR_LENGTH), sizeof(name));

        offset = be64_get(locator + VHD_LOCATOR_OFFSET);
        if (be32_get(locator) != platform || length == 0 || add_overflows(offset, length, &end) ||
            end > image->info.file_size)
            continue;
        r = foreign_read(image, error, offset, name, length, "a parent locator");
        if (r < 0)
            return r;
        if (foreign_utf16(name, length, false, &image->info.parent) < 0)
            return error_set_memory(error);
        vhd->parent_field = "Parent Locator Entry";
        vhd->parent_offset = vhd->header_offset + at;
    }
    return r;
}

/* The path relative to the image is best; an absolute one, and the name in the header, which mostly
 * is the same, are of another host. */
static int take_parent(struct qca_image *image, struct qca_error *error)
{
    struct vhd *vhd = image->own;
    struct qca_image_info *info = &image->info;
    int r = take_locator(image, error, LOCATOR_RELATIVE);

    foreign_identity(vhd->header + VHD_AT_PARENT_UUID, false, &info->parent_identity);
    if (r == 0)
        r = take_locator(image, error, LOCATOR_ABSOLUTE);
    if (r < 0)
        return r;
    if (!info->parent) {
        r = foreign_utf16(vhd->header + VHD_AT_PARENT_NAME, VHD_PARENT_NAME_SIZE, true,
                          &info->parent);
        vhd->parent_field = "Parent Unicode Name";
        vhd->parent_offset = vhd->header_offset + VHD_AT_PARENT_NAME;
    }
    if (r == 0)
        r = foreign_windows_parent(image);
    return r < 0 ? error_set_memory(error) : 0;
}

static int open_dynamic(struct qca_image *image, struct qca_error *error, struct vhd *vhd)
{
    uint64_t at = be64_get(vhd->footer + VHD_AT_DATA_OFFSET);
    uint32_t type = be32_get(vhd->footer + VHD_AT_TYPE);
    const uint8_t *header = vhd->header;
    int r;

    if (type != TYPE_DYNAMIC && type != TYPE_DIFFERENCING)
        return foreign_invalid(error, "Disk Type", VHD_AT_TYPE, type, TYPE_DIFFERENCING,
                               "a VHD with a footer at its start must be dynamic or differencing");
    image->info.variant = type == TYPE_DYNAMIC ? QCA_VARIANT_DYNAMIC : QCA_VARIANT_DIFFERENCING;
    r = foreign_read(image, error, at, vhd->header, VHD_HEADER_SIZE, "the dynamic disk header");
    if (r < 0)
        return r;
    if (memcmp(header, header_cookie, sizeof(header_cookie)) != 0)
        return foreign_invalid(error, "Cookie", at, be32_get(header), 0,
                               "there is no dynamic disk header where the footer says");
    vhd->header_offset = at;
    image->info.cluster_size = be32_get(header + VHD_AT_BLOCK_SIZE);
    return type == TYPE_DIFFERENCING ? take_parent(image, error) : 0;
}

static void vpc_close(struct qca_image *image)
{
    free(image->own);
}

/* A disk that is raw but for its footer. */
static const struct format fixed_disk = {
    .format = QCA_FORMAT_VPC,
    .close = vpc_close,
    .check = vhd_check,
    .map = &raw_map,
};

static int vpc_open(struct qca_image *image, struct qca_error *error)
{
    struct probe probe;
    struct vhd *vhd;
    int r = probe_begin(image->io, &probe);

    if (r < 0)
        return error_set_read(error, r, 0, "the VHD footer");
    r = foreign_new_own(image, sizeof(*vhd), error);
    if (r < 0)
        return r;
    vhd = image->own;
    if (has_cookie(probe.head)) {
        memcpy(vhd->footer, probe.head, sizeof(vhd->footer));
        r = open_dynamic(image, error, vhd);
    } else if (fixed_footer(&probe, vhd->footer, &vhd->footer_offset)) {
        image->info.variant = QCA_VARIANT_FIXED;
        image->format = &fixed_disk;
    } else
        return foreign_other(image, error);
    if (r < 0)
        return r;
    image->info.version = be32_get(vhd->footer + VHD_AT_VERSION) >> 16;
    foreign_identity(vhd->footer + VHD_AT_UUID, false, &image->info.identity);
    r = set_size(image, error, vhd->footer);
    if (r == 0)
        vhd_set_layout(image, vhd);
    return r;
}

static bool vpc_link(const struct qca_image *image, unsigned index, struct image_link *ret_link)
{
    const struct vhd *vhd = image->own;

    return image_link_parent(image, index, vhd->parent_field, vhd->parent_offset, ret_link);
}

/* QEMU does not follow the parent: it reads a differencing disk without, as if the bitmaps were
 * full. What a guest of Hyper-V sees is said here, which is more. */
const struct format format_vpc = {
    .format = QCA_FORMAT_VPC,
    .probe = vpc_probe,
    .probe_end = vpc_probe_end,
    .end_variant = QCA_VARIANT_FIXED,
    .open = vpc_open,
    .close = vpc_close,
    .check = vhd_check,
    .map = &block_map,
    .layout = vhd_layout,
    .link = vpc_link,
};
