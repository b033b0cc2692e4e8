/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Microsoft's VHD ("vpc"), its footer and header alone: "Virtual Hard Disk Image Format
 * Specification" 1.0, "Hard Disk Footer Format" and "Dynamic Disk Header Format", all of it
 * big-endian. A dynamic disk has a copy of the footer at its start; a fixed one is a raw disk with
 * a footer behind it, which QEMU takes for raw unless it is told otherwise. */
#include <errno.h>

#include "bytes.h"
#include "foreign.h"

enum {
    SECTOR = 512,
    FOOTER_SIZE = 512,
    AT_VERSION = 12,
    AT_DATA_OFFSET = 16,
    AT_CREATOR = 28,
    AT_CURRENT_SIZE = 48,
    AT_CYLINDERS = 56,
    AT_HEADS = 58,
    AT_SECTORS = 59,
    AT_TYPE = 60,
    AT_CHECKSUM = 64,
    TYPE_FIXED = 2,
    TYPE_DYNAMIC = 3,
    TYPE_DIFFERENCING = 4,

    HEADER_SIZE = 1024,
    AT_BLOCK_SIZE = 32,
    AT_PARENT_NAME = 64,
    PARENT_NAME_SIZE = 512,
    AT_LOCATORS = 576,
    LOCATORS = 8,
    LOCATOR_SIZE = 24,
};

#define LOCATOR_RELATIVE UINT32_C(0x57327275)           /* "W2ru": UTF-16, little-endian */
/* The largest geometry: what is larger, it does not tell (QEMU, block/vpc.c). */
#define GEOMETRY_MAX (UINT64_C(65535) * 16 * 255)

static const char cookie[8] = { 'c', 'o', 'n', 'e', 'c', 't', 'i', 'x' };
static const char header_cookie[8] = { 'c', 'x', 's', 'p', 'a', 'r', 's', 'e' };

static bool has_cookie(const uint8_t *footer)
{
    return memcmp(footer, cookie, sizeof(cookie)) == 0;
}

/* The one's complement of the sum of all other bytes. */
static bool checksum_fits(const uint8_t *footer)
{
    uint32_t sum = 0;

    for (unsigned i = 0; i < FOOTER_SIZE; i++)
        if (i < AT_CHECKSUM || i >= AT_CHECKSUM + 4)
            sum += footer[i];
    return be32_get(footer + AT_CHECKSUM) == ~sum;
}

/* A raw disk may end in anything: only a footer that is whole, and says that the disk is what lies
 * before it, makes it a fixed VHD. */
static bool is_fixed(const uint8_t *footer, uint64_t disk)
{
    uint64_t size = be64_get(footer + AT_CURRENT_SIZE);

    return has_cookie(footer) && be32_get(footer + AT_TYPE) == TYPE_FIXED &&
           checksum_fits(footer) && size > 0 && size <= disk && disk - size < SECTOR;
}

/* The footer at the end, of 512 bytes, or of 511 as Virtual PC wrote it before 2004. */
static bool fixed_footer(const struct probe *probe, uint8_t ret_footer[static FOOTER_SIZE])
{
    memcpy(ret_footer, probe->tail, FOOTER_SIZE);
    if (probe->size > FOOTER_SIZE && is_fixed(ret_footer, probe->size - FOOTER_SIZE))
        return true;
    memcpy(ret_footer, probe->tail + 1, FOOTER_SIZE - 1);
    ret_footer[FOOTER_SIZE - 1] = 0;
    return probe->size > FOOTER_SIZE - 1 && is_fixed(ret_footer, probe->size - (FOOTER_SIZE - 1));
}

static bool vpc_probe(struct probe *probe)
{
    return has_cookie(probe->head);
}

static bool vpc_probe_end(struct probe *probe)
{
    uint8_t footer[FOOTER_SIZE];

    return fixed_footer(probe, footer);
}

/* Virtual PC goes by the geometry, others by the size: QEMU tells them by who wrote the file, and
 * so do we, as one disk must not have two sizes. */
static bool goes_by_size(const uint8_t *footer)
{
    static const char creators[][5] = { "win ", "qem2", "d2v ", "tap\0", "CTXS", "wa\0\0" };

    for (size_t i = 0; i < ELEMENTSOF(creators); i++)
        if (memcmp(footer + AT_CREATOR, creators[i], 4) == 0)
            return true;
    return false;
}

static int set_size(struct qca_image *image, struct qca_error *error, const uint8_t *footer)
{
    uint64_t sectors = (uint64_t)be16_get(footer + AT_CYLINDERS) * footer[AT_HEADS] *
                       footer[AT_SECTORS];
    uint64_t size = be64_get(footer + AT_CURRENT_SIZE);

    if (sectors == 0 || sectors >= GEOMETRY_MAX || goes_by_size(footer))
        return foreign_size(image, error, "Current Size", AT_CURRENT_SIZE, size / SECTOR, SECTOR);
    return foreign_size(image, error, "Disk Geometry", AT_CYLINDERS, sectors, SECTOR);
}

/* The relative path among the locators is best; the name beside them may be an absolute one. */
static int take_parent(struct qca_image *image, struct qca_error *error, const uint8_t *header)
{
    char **parent = &image->info.parent;
    int r = 0;

    for (unsigned i = 0; i < LOCATORS && !*parent && r == 0; i++) {
        const uint8_t *locator = header + AT_LOCATORS + i * LOCATOR_SIZE;
        uint8_t name[2 * FOREIGN_NAME_MAX];
        size_t length = (size_t)min_u64(be32_get(locator + 8), sizeof(name));

        if (be32_get(locator) != LOCATOR_RELATIVE || length == 0)
            continue;
        r = foreign_read(image, error, be64_get(locator + 16), name, length, "a parent locator");
        if (r < 0)
            return r;
        r = foreign_utf16(name, length, false, parent);
    }
    if (r == 0 && !*parent)
        r = foreign_utf16(header + AT_PARENT_NAME, PARENT_NAME_SIZE, true, parent);
    if (r == 0 && *parent) {
        foreign_windows_path(*parent);
        image->info.parent_format = strdup(qca_format_name(QCA_FORMAT_VPC));
        r = image->info.parent_format ? 0 : -ENOMEM;
    }
    return r < 0 ? error_set(error, ENOMEM, QCA_ERROR_MEMORY, (struct error_field){ 0 },
                             "out of memory")
                 : 0;
}

static int open_dynamic(struct qca_image *image, struct qca_error *error, const uint8_t *footer)
{
    uint64_t at = be64_get(footer + AT_DATA_OFFSET);
    uint32_t type = be32_get(footer + AT_TYPE);
    uint8_t header[HEADER_SIZE];
    int r;

    if (type != TYPE_DYNAMIC && type != TYPE_DIFFERENCING)
        return foreign_invalid(error, "Disk Type", AT_TYPE, type, TYPE_DIFFERENCING,
                               "a VHD with a footer at its start must be dynamic or differencing");
    image->info.variant = type == TYPE_DYNAMIC ? QCA_VARIANT_DYNAMIC : QCA_VARIANT_DIFFERENCING;
    r = foreign_read(image, error, at, header, sizeof(header), "the dynamic disk header");
    if (r < 0)
        return r;
    if (memcmp(header, header_cookie, sizeof(header_cookie)) != 0)
        return foreign_invalid(error, "Cookie", at, be32_get(header), 0,
                               "there is no dynamic disk header where the footer says");
    image->info.cluster_size = be32_get(header + AT_BLOCK_SIZE);
    return type == TYPE_DIFFERENCING ? take_parent(image, error, header) : 0;
}

static int vpc_open(struct qca_image *image, struct qca_error *error)
{
    uint8_t footer[FOOTER_SIZE];
    struct probe probe;
    int r = probe_begin(image->io, &probe);

    if (r < 0)
        return error_set_read(error, r, 0, "the VHD footer");
    if (has_cookie(probe.head)) {
        memcpy(footer, probe.head, sizeof(footer));
        r = open_dynamic(image, error, footer);
    } else if (fixed_footer(&probe, footer))
        image->info.variant = QCA_VARIANT_FIXED;
    else
        return foreign_other(image, error);
    if (r < 0)
        return r;
    image->info.version = be32_get(footer + AT_VERSION) >> 16;
    return set_size(image, error, footer);
}

/* QEMU does not follow the parent: it reads a differencing disk without. */
const struct format format_vpc = {
    .format = QCA_FORMAT_VPC,
    .probe = vpc_probe,
    .probe_end = vpc_probe_end,
    .end_variant = QCA_VARIANT_FIXED,
    .open = vpc_open,
};
