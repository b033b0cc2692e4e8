/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Apple's disk image, its trailer alone ("koly", as QEMU's block/dmg.c and libdmg-hfsplus'
 * UDIFResourceFile read it), all of it big-endian. It lies at the end, where a raw disk may have
 * anything: only one whose version, length and places fit makes the file a DMG. */
#include "bytes.h"
#include "foreign.h"

enum {
    TRAILER_SIZE = 512,
    AT_VERSION = 4,
    AT_HEADER_SIZE = 8,
    AT_DATA_OFFSET = 24,
    AT_DATA_LENGTH = 32,
    AT_XML_OFFSET = 216,
    AT_XML_LENGTH = 224,
    AT_SECTORS = 492,
    VERSION = 4,
    SECTOR = 512,
};

static bool lies_within(const uint8_t *trailer, unsigned offset, unsigned length, uint64_t size)
{
    uint64_t end;

    return !add_overflows(be64_get(trailer + offset), be64_get(trailer + length), &end) &&
           end <= size;
}

static bool dmg_probe(struct probe *probe)
{
    const uint8_t *trailer = probe->tail;

    return probe->size >= TRAILER_SIZE && memcmp(trailer, "koly", 4) == 0 &&
           be32_get(trailer + AT_VERSION) == VERSION &&
           be32_get(trailer + AT_HEADER_SIZE) == TRAILER_SIZE &&
           lies_within(trailer, AT_DATA_OFFSET, AT_DATA_LENGTH, probe->size) &&
           lies_within(trailer, AT_XML_OFFSET, AT_XML_LENGTH, probe->size);
}

static int dmg_open(struct qca_image *image, struct qca_error *error)
{
    struct probe probe;
    int r = probe_begin(image->io, &probe);

    if (r < 0)
        return error_set_read(error, r, 0, "the DMG trailer");
    if (!dmg_probe(&probe))
        return foreign_other(image, error);
    image->info.version = VERSION;
    return foreign_size(image, error, "SectorCount",
                        image->info.file_size - TRAILER_SIZE + AT_SECTORS,
                        be64_get(probe.tail + AT_SECTORS), SECTOR);
}

const struct format format_dmg = {
    .format = QCA_FORMAT_DMG,
    .probe_end = dmg_probe,
    .open = dmg_open,
};
