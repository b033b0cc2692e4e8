/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* CRC-32C: the polynomial of Castagnoli, Braeuer and Herrmann (IEEE Transactions on Communications
 * 41, 1993), 0x1edc6f41, as RFC 3720, 12.1 uses it: bits reflected, inverted before and after. */
#include "crc32c.h"

/* The remainders of 4 bits, by the reflected polynomial 0x82f63b78. */
static const uint32_t remainders[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t crc32c(uint32_t crc, const void *bytes, size_t size)
{
    const uint8_t *byte = bytes;

    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= byte[i];
        crc = remainders[crc & 15] ^ crc >> 4;
        crc = remainders[crc & 15] ^ crc >> 4;
    }
    return ~crc;
}
