/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The innermost loops in plain C, AVX2 and AVX-512. */
#include "wide.h"

#include <stddef.h>

#include "bytes.h"
#include "refcount.h"

/* ---- plain C ------------------------------------------------------------------------------ */

static uint32_t rising_scalar(const uint8_t *words, uint32_t n, uint64_t first, uint64_t step)
{
    uint32_t i = 0;

    for (; i + 4 <= n; i += 4, first += 4 * step) {
        const uint8_t *p = words + 8 * (size_t)i;
        uint64_t difference = (be64_get(p) ^ first) | (be64_get(p + 8) ^ (first + step)) |
            (be64_get(p + 16) ^ (first + 2 * step)) | (be64_get(p + 24) ^ (first + 3 * step));

        if (difference)
            break;
    }
    for (; i < n && be64_get(words + 8 * (size_t)i) == first; i++)
        first += step;
    return i;
}

static uint64_t word_get(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

static uint32_t zero_scalar(const uint8_t *words, uint32_t n)
{
    uint32_t i = 0;

    for (; i + 4 <= n; i += 4) {
        const uint8_t *p = words + 8 * (size_t)i;

        if (word_get(p) | word_get(p + 8) | word_get(p + 16) | word_get(p + 24))
            break;
    }
    while (i < n && word_get(words + 8 * (size_t)i) == 0)
        i++;
    return i;
}

static uint32_t equal16_scalar(const uint8_t *refcounts, const uint64_t *bits, uint32_t n_groups)
{
    uint32_t i = 0;

    while (i < n_groups &&
           refcounts_are_bits(refcounts + 128 * (size_t)i, 4, 0, bits ? bits[i] : 0))
        i++;
    return i;
}

static const struct wide wide_scalar = { "scalar", rising_scalar, zero_scalar, equal16_scalar };

#ifdef __x86_64__

#include <immintrin.h>

/* ---- AVX2: 4 words, 16 refcounts ---------------------------------------------------------- */

#define AVX2 __attribute__((target("avx2")))

static inline AVX2 __m256i load_256(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static AVX2 uint32_t rising_avx2(const uint8_t *words, uint32_t n, uint64_t first, uint64_t step)
{
    const __m256i swap = _mm256_setr_epi8(7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8,
                                          7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8);
    const __m256i four = _mm256_set1_epi64x((long long)(4 * step));
    __m256i expected = _mm256_setr_epi64x((long long)first, (long long)(first + step),
                                          (long long)(first + 2 * step),
                                          (long long)(first + 3 * step));
    uint32_t i = 0;

    for (; i + 16 <= n; i += 16) {
        __m256i difference = _mm256_setzero_si256(), next = expected;

        for (unsigned k = 0; k < 4; k++) {
            const uint8_t *p = words + 8 * ((size_t)i + 4 * k);
            __m256i found = _mm256_shuffle_epi8(load_256(p), swap);

            difference = _mm256_or_si256(difference, _mm256_xor_si256(found, next));
            next = _mm256_add_epi64(next, four);
        }
        if (!_mm256_testz_si256(difference, difference))
            break;
        expected = next;
    }
    return i + rising_scalar(words + 8 * (size_t)i, n - i, first + i * step, step);
}

static AVX2 uint32_t zero_avx2(const uint8_t *words, uint32_t n)
{
    uint32_t i = 0;

    for (; i + 16 <= n; i += 16) {
        const uint8_t *p = words + 8 * (size_t)i;
        __m256i any = _mm256_or_si256(_mm256_or_si256(load_256(p), load_256(p + 32)),
                                      _mm256_or_si256(load_256(p + 64), load_256(p + 96)));

        if (!_mm256_testz_si256(any, any))
            break;
    }
    return i + zero_scalar(words + 8 * (size_t)i, n - i);
}

/* Groups of one kind, all 0 or all 1, are what images are full of; others are left to plain C, one
 * by one. */
static AVX2 uint32_t equal16_avx2(const uint8_t *refcounts, const uint64_t *bits,
                                  uint32_t n_groups)
{
    const __m256i ones = _mm256_set1_epi16(0x0100);     /* 1, big-endian */

    for (uint32_t i = 0; i < n_groups; i++) {
        const uint8_t *p = refcounts + 128 * (size_t)i;
        uint64_t expected = bits ? bits[i] : 0;
        __m256i pattern = expected ? ones : _mm256_setzero_si256(), difference;

        if (expected != 0 && expected != UINT64_MAX) {
            if (!refcounts_are_bits(p, 4, 0, expected))
                return i;
            continue;
        }
        difference = _mm256_xor_si256(load_256(p), pattern);
        for (unsigned k = 32; k < 128; k += 32)
            difference = _mm256_or_si256(difference, _mm256_xor_si256(load_256(p + k), pattern));
        if (!_mm256_testz_si256(difference, difference))
            return i;
    }
    return n_groups;
}

static const struct wide wide_avx2 = { "avx2", rising_avx2, zero_avx2, equal16_avx2 };

/* ---- AVX-512: 8 words, 32 refcounts ------------------------------------------------------- */

#define AVX512 __attribute__((target("avx512f,avx512bw")))

static AVX512 uint32_t rising_avx512(const uint8_t *words, uint32_t n, uint64_t first,
                                     uint64_t step)
{
    const __m512i swap = _mm512_broadcast_i32x4(
        _mm_setr_epi8(7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8));
    const __m512i eight = _mm512_set1_epi64((long long)(8 * step));
    __m512i expected = _mm512_setr_epi64(
        (long long)first, (long long)(first + step), (long long)(first + 2 * step),
        (long long)(first + 3 * step), (long long)(first + 4 * step), (long long)(first + 5 * step),
        (long long)(first + 6 * step), (long long)(first + 7 * step));
    uint32_t i = 0;

    for (; i + 32 <= n; i += 32) {
        __m512i difference = _mm512_setzero_si512(), next = expected;

        for (unsigned k = 0; k < 4; k++) {
            const uint8_t *p = words + 8 * ((size_t)i + 8 * k);
            __m512i found = _mm512_shuffle_epi8(_mm512_loadu_si512(p), swap);

            difference = _mm512_or_si512(difference, _mm512_xor_si512(found, next));
            next = _mm512_add_epi64(next, eight);
        }
        if (_mm512_test_epi64_mask(difference, difference))
            break;
        expected = next;
    }
    return i + rising_scalar(words + 8 * (size_t)i, n - i, first + i * step, step);
}

static AVX512 uint32_t zero_avx512(const uint8_t *words, uint32_t n)
{
    uint32_t i = 0;

    for (; i + 8 <= n; i += 8) {
        __m512i found = _mm512_loadu_si512(words + 8 * (size_t)i);
        __mmask8 any = _mm512_test_epi64_mask(found, found);

        if (any)
            return i + (uint32_t)__builtin_ctz(any);
    }
    return i + zero_scalar(words + 8 * (size_t)i, n - i);
}

static AVX512 uint32_t equal16_avx512(const uint8_t *refcounts, const uint64_t *bits,
                                      uint32_t n_groups)
{
    const __m512i ones = _mm512_set1_epi16(0x0100);     /* 1, big-endian */

    for (uint32_t i = 0; i < n_groups; i++) {
        uint64_t expected = bits ? bits[i] : 0;
        __m512i low = _mm512_loadu_si512(refcounts + 128 * (size_t)i);
        __m512i high = _mm512_loadu_si512(refcounts + 128 * (size_t)i + 64);
        __mmask32 low_wrong, high_wrong;

        low_wrong = _mm512_cmpneq_epi16_mask(
            low, _mm512_maskz_mov_epi16((__mmask32)expected, ones));
        high_wrong = _mm512_cmpneq_epi16_mask(
            high, _mm512_maskz_mov_epi16((__mmask32)(expected >> 32), ones));
        if (low_wrong | high_wrong)
            return i;
    }
    return n_groups;
}

static const struct wide wide_avx512 = { "avx512", rising_avx512, zero_avx512, equal16_avx512 };

const struct wide *wide_variant(unsigned i)
{
    if (i == 0)
        return &wide_scalar;
    if (i == 1)
        return __builtin_cpu_supports("avx2") ? &wide_avx2 : NULL;
    if (i == 2 && wide_variant(1))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
                   ? &wide_avx512 : NULL;
    return NULL;
}

#else

const struct wide *wide_variant(unsigned i)
{
    return i == 0 ? &wide_scalar : NULL;
}

#endif

const struct wide *wide_best(bool scalar_only)
{
    const struct wide *best = wide_variant(0), *wider;

    for (unsigned i = 1; !scalar_only && (wider = wide_variant(i)); i++)
        best = wider;
    return best;
}
