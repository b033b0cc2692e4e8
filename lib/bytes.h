/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* On-disk integers from bounded buffers, and arithmetic that notices its overflow. */
#pragma once

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Tables are read into aligned buffers but fields lie anywhere: memcpy compiles to one load. */
static inline uint16_t be16_get(const void *p)
{
    uint16_t value;
    memcpy(&value, p, sizeof(value));
    return be16toh(value);
}

static inline uint32_t be32_get(const void *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof(value));
    return be32toh(value);
}

static inline uint64_t be64_get(const void *p)
{
    uint64_t value;
    memcpy(&value, p, sizeof(value));
    return be64toh(value);
}

static inline uint16_t le16_get(const void *p)
{
    uint16_t value;
    memcpy(&value, p, sizeof(value));
    return le16toh(value);
}

static inline uint32_t le32_get(const void *p)
{
    uint32_t value;
    memcpy(&value, p, sizeof(value));
    return le32toh(value);
}

static inline uint64_t le64_get(const void *p)
{
    uint64_t value;
    memcpy(&value, p, sizeof(value));
    return le64toh(value);
}

/* A bounded piece of memory: every field is taken through it, so no read can leave it. */
struct bytes {
    const uint8_t *data;
    size_t size;
};

/* Points at the length bytes at offset, or NULL when they are not all there. */
static inline const uint8_t *bytes_at(struct bytes bytes, uint64_t offset, uint64_t length)
{
    if (offset > bytes.size || length > bytes.size - offset)
        return NULL;
    return bytes.data + offset;
}

static inline bool add_overflows(uint64_t a, uint64_t b, uint64_t *ret)
{
    return __builtin_add_overflow(a, b, ret);
}

static inline uint64_t round_up(uint64_t value, uint64_t power_of_two)
{
    return (value + power_of_two - 1) & ~(power_of_two - 1);
}

static inline uint64_t div_round_up(uint64_t value, uint64_t divisor)
{
    return value / divisor + (value % divisor != 0);
}

/* The number of bytes up to the last one that is not 0. */
static inline size_t length_without_zeros(const uint8_t *data, size_t size)
{
    uint64_t words[8];

    for (; size >= sizeof(words); size -= sizeof(words)) {
        memcpy(words, data + size - sizeof(words), sizeof(words));
        if (words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] | words[7])
            break;
    }
    while (size > 0 && data[size - 1] == 0)
        size--;
    return size;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}
