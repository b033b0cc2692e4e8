/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Raw refcounts, compared in wide words. */
#include "refcount.h"

#include "bytes.h"

uint64_t refcount_get(const uint8_t *block, unsigned order, uint64_t index)
{
    switch (order) {
    case 0:
        return block[index / 8] >> (index % 8) & 1;
    case 1:
        return block[index / 4] >> (index % 4 * 2) & 3;
    case 2:
        return block[index / 2] >> (index % 2 * 4) & 15;
    case 3:
        return block[index];
    case 4:
        return be16_get(block + 2 * index);
    case 5:
        return be32_get(block + 4 * index);
    default:
        return be64_get(block + 8 * index);
    }
}

/* Spreads the low bits of a value over a word, as le64_get() makes one of bytes, one to the lowest
 * bit of each field of the given width. */
static uint64_t spread(uint64_t bits, unsigned order)
{
    switch (order) {
    case 0:
        return bits;
    case 1:     /* 32 bits to fields of 2 */
        bits &= 0xffffffff;
        bits = (bits | bits << 16) & UINT64_C(0x0000ffff0000ffff);
        bits = (bits | bits << 8) & UINT64_C(0x00ff00ff00ff00ff);
        bits = (bits | bits << 4) & UINT64_C(0x0f0f0f0f0f0f0f0f);
        bits = (bits | bits << 2) & UINT64_C(0x3333333333333333);
        return (bits | bits << 1) & UINT64_C(0x5555555555555555);
    case 2:     /* 16 bits to fields of 4 */
        bits &= 0xffff;
        bits = (bits | bits << 24) & UINT64_C(0x000000ff000000ff);
        bits = (bits | bits << 12) & UINT64_C(0x000f000f000f000f);
        bits = (bits | bits << 6) & UINT64_C(0x0303030303030303);
        return (bits | bits << 3) & UINT64_C(0x1111111111111111);
    case 3:     /* 8 bits to bytes */
        bits &= 0xff;
        bits = (bits | bits << 28) & UINT64_C(0x0000000f0000000f);
        bits = (bits | bits << 14) & UINT64_C(0x0003000300030003);
        return (bits | bits << 7) & UINT64_C(0x0101010101010101);
    case 4:     /* 4 bits to 16 bits, big-endian: the low bit is that of the second byte */
        bits &= 0xf;
        bits = (bits | bits << 30) & UINT64_C(0x0000000300000003);
        return ((bits | bits << 15) & UINT64_C(0x0001000100010001)) << 8;
    case 5:
        bits &= 3;
        return ((bits | bits << 31) & UINT64_C(0x0000000100000001)) << 24;
    default:
        return (bits & 1) << 56;
    }
}

/* All fields of this many words hold the pattern of "each is 1". */
static bool words_are(const uint8_t *p, unsigned n_words, uint64_t pattern)
{
    uint64_t difference = 0;

    for (unsigned i = 0; i < n_words; i++)
        difference |= le64_get(p + 8 * i) ^ pattern;
    return difference == 0;
}

bool refcounts_are_bits(const uint8_t *block, unsigned order, uint64_t index, uint64_t bits)
{
    const uint8_t *p = block + (index << order) / 8;
    unsigned n_words = 1U << order, fields = 64 >> order;
    uint64_t difference = 0;

    if (bits == 0)
        return words_are(p, n_words, 0);
    if (bits == UINT64_MAX)
        return words_are(p, n_words, spread(UINT64_MAX, order));
    for (unsigned i = 0; i < n_words; i++)
        difference |= le64_get(p + 8 * i) ^ spread(bits >> (i * fields), order);
    return difference == 0;
}

uint64_t refcounts_ones(const uint8_t *block, unsigned order, uint64_t index)
{
    uint64_t ones = 0;

    for (unsigned i = 0; i < 64; i++)
        ones |= (uint64_t)(refcount_get(block, order, index + i) == 1) << i;
    return ones;
}
