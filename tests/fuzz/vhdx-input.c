/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A VHDX from a short input: each part of it goes where [MS-VHDX] 2.2 or QEMU has a structure, and
 * the checksums are mended unless a bit says not to. */
#include "vhdx-input.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz-image.h"
#include "lib/crc32c.h"

enum {
    KIB = 1 << 10,
    MIB = 1 << 20,
    IMAGE_SIZE = 6 * MIB,
    SECTOR = 4096,
    BROKEN = FUZZ_MODE_PLACE + 1,       /* the byte whose bits say which sums are not mended */
};

/* In the order of the input's bytes. */
static const struct {
    size_t size, place;
} parts[] = {
    { 128, 0 },                         /* how it is read, too */
    { 96, 64 * KIB },                   /* headers */
    { 96, 128 * KIB },
    { 160, 192 * KIB },                 /* region tables */
    { 224, 3 * MIB },                   /* metadata: table, items */
    { 128, 3 * MIB + 64 * KIB },
    { 256, 2 * MIB },                   /* block allocation table: begin, end of a chunk of 4096 */
    { 64, 2 * MIB + 4096 * 8 },
    { 256, MIB },                       /* log: two entries, the first one's data */
    { 256, MIB + SECTOR },
    { 16, MIB + 2 * SECTOR - 16 },
    { 256, MIB + 2 * SECTOR },
    { 160, 256 * KIB },                 /* when it is not there, the other region table's */
    { 1024, 4 * MIB },
    { 1024, 5 * MIB },
};

/* Structures with a checksum at byte 4. */
static const struct {
    size_t place, size;
} sums[] = {
    { 64 * KIB, SECTOR }, { 128 * KIB, SECTOR }, { 192 * KIB, 64 * KIB }, { 256 * KIB, 64 * KIB },
    { MIB, SECTOR }, { MIB, 2 * SECTOR }, { MIB + SECTOR, SECTOR },
    { MIB + 2 * SECTOR, SECTOR },
};

static void mend(uint8_t *image, unsigned broken)
{
    for (size_t i = 0; i < sizeof(sums) / sizeof(*sums); i++) {
        uint8_t *at = image + sums[i].place;
        uint32_t crc;

        if (broken & 1U << i)
            continue;
        memset(at + 4, 0, 4);
        crc = crc32c(0, at, sums[i].size);
        for (unsigned k = 0; k < 4; k++)
            at[4 + k] = (uint8_t)(crc >> (8 * k));
    }
}

uint8_t *vhdx_input(const uint8_t *data, size_t size, size_t *ret_size)
{
    uint8_t *image = calloc(1, IMAGE_SIZE);
    bool second = false;

    if (!image)
        return NULL;
    for (size_t i = 0, at = 0; i < sizeof(parts) / sizeof(*parts) && at < size; i++) {
        size_t length = parts[i].size < size - at ? parts[i].size : size - at;

        memcpy(image + parts[i].place, data + at, length);
        second = second || parts[i].place == 256 * KIB;
        at += length;
    }
    if (!second)
        memcpy(image + 256 * KIB, image + 192 * KIB, 64 * KIB);
    memcpy(image, "vhdxfile", 8);
    image[FUZZ_MODE_PLACE] &= (uint8_t)~FUZZ_MODE_SPARSE;       /* it is large enough */
    mend(image, image[BROKEN]);
    *ret_size = IMAGE_SIZE;
    return image;
}
