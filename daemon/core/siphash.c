/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SipHash-2-4 with 128 bits. */
#include "daemon/core/siphash.h"

#include <endian.h>
#include <string.h>

static uint64_t rotated(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static void rounds(uint64_t v[static 4], unsigned n)
{
    while (n-- > 0) {
        v[0] += v[1];
        v[1] = rotated(v[1], 13) ^ v[0];
        v[0] = rotated(v[0], 32);
        v[2] += v[3];
        v[3] = rotated(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotated(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotated(v[1], 17) ^ v[2];
        v[2] = rotated(v[2], 32);
    }
}

static uint64_t word_at(const uint8_t *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof(word));
    return le64toh(word);
}

struct siphash siphash(const uint8_t secret[static 16], const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint64_t k0 = word_at(secret), k1 = word_at(secret + 8), last = (uint64_t)size << 56;
    uint64_t v[4] = {
        k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d) ^ 0xee,
        k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573),
    };
    struct siphash hash;
    size_t i;

    for (i = 0; i + 8 <= size; i += 8) {
        uint64_t word = word_at(bytes + i);

        v[3] ^= word;
        rounds(v, 2);
        v[0] ^= word;
    }
    for (size_t rest = i; rest < size; rest++)
        last |= (uint64_t)bytes[rest] << 8 * (rest - i);
    v[3] ^= last;
    rounds(v, 2);
    v[0] ^= last;
    v[2] ^= 0xee;
    rounds(v, 4);
    hash.low = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    rounds(v, 4);
    hash.high = v[0] ^ v[1] ^ v[2] ^ v[3];
    return hash;
}
