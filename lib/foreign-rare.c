/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Formats that are met seldom, known by their first bytes: cloop and Bochs (QEMU's block/cloop.c
 * and block/bochs.c), and LUKS where it is declared (QEMU's docs/interop and the LUKS1
 * specification). */
#include "bytes.h"
#include "foreign.h"
#include "raw.h"

enum { SECTOR = 512 };

/* ---- cloop -------------------------------------------------------------------------------- */

static const char cloop_magic[] = "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t ";

enum { CLOOP_AT_BLOCK_SIZE = 128, CLOOP_AT_BLOCKS = 132 };

static bool cloop_probe(struct probe *probe)
{
    return memcmp(probe->head, cloop_magic, sizeof(cloop_magic) - 1) == 0;
}

static int cloop_open(struct qca_image *image, struct qca_error *error)
{
    struct probe probe;
    int r = probe_begin(image->io, &probe);

    if (r < 0)
        return error_set_read(error, r, 0, "the cloop header");
    if (!cloop_probe(&probe))
        return foreign_other(image, error);
    image->info.cluster_size = be32_get(probe.head + CLOOP_AT_BLOCK_SIZE);
    return foreign_size(image, error, "n_blocks", CLOOP_AT_BLOCKS,
                        be32_get(probe.head + CLOOP_AT_BLOCKS),
                        image->info.cluster_size ? image->info.cluster_size : 1);
}

const struct format format_cloop = {
    .format = QCA_FORMAT_CLOOP,
    .probe = cloop_probe,
    .open = cloop_open,
};

/* ---- Bochs -------------------------------------------------------------------------------- */

enum {
    BOCHS_AT_TYPE = 32,
    BOCHS_AT_SUBTYPE = 48,
    BOCHS_AT_VERSION = 64,
    BOCHS_AT_DISK_V1 = 84,
    BOCHS_AT_DISK_V2 = 88,
};

#define BOCHS_VERSION_1 UINT32_C(0x00010000)

static bool bochs_probe(struct probe *probe)
{
    return memcmp(probe->head, "Bochs Virtual HD Image", 23) == 0 &&
           memcmp(probe->head + BOCHS_AT_TYPE, "Redolog", 8) == 0 &&
           memcmp(probe->head + BOCHS_AT_SUBTYPE, "Growing", 8) == 0;
}

static int bochs_open(struct qca_image *image, struct qca_error *error)
{
    struct probe probe;
    unsigned at;
    int r = probe_begin(image->io, &probe);

    if (r < 0)
        return error_set_read(error, r, 0, "the Bochs header");
    if (!bochs_probe(&probe))
        return foreign_other(image, error);
    image->info.version = le32_get(probe.head + BOCHS_AT_VERSION);
    at = image->info.version == BOCHS_VERSION_1 ? BOCHS_AT_DISK_V1 : BOCHS_AT_DISK_V2;
    return foreign_size(image, error, "disk", at, le64_get(probe.head + at) / SECTOR, SECTOR);
}

const struct format format_bochs = {
    .format = QCA_FORMAT_BOCHS,
    .probe = bochs_probe,
    .open = bochs_open,
};

/* ---- LUKS, where it is declared ----------------------------------------------------------- */

enum { LUKS_AT_VERSION = 6, LUKS_AT_PAYLOAD = 104 };

/* A guest sees what lies behind the header, which version 1 says; version 2 does so in a text that
 * is not read. */
static int luks_open(struct qca_image *image, struct qca_error *error)
{
    struct probe probe;
    uint64_t payload;
    int r = probe_begin(image->io, &probe);

    if (r < 0)
        return error_set_read(error, r, 0, "the LUKS header");
    if (raw_variant(&probe) != QCA_VARIANT_RAW_LUKS)
        return foreign_other(image, error);
    image->info.variant = QCA_VARIANT_RAW_LUKS;
    image->info.version = be16_get(probe.head + LUKS_AT_VERSION);
    payload = (uint64_t)be32_get(probe.head + LUKS_AT_PAYLOAD) * SECTOR;
    if (image->info.version == 1 && payload <= image->info.file_size)
        image->info.virtual_size = image->info.file_size - payload;
    return 0;
}

const struct format format_luks = {
    .format = QCA_FORMAT_LUKS,
    .open = luks_open,
    .check = luks_check_raw,
};
