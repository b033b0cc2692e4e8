/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SHA-256 of two messages, their rounds interleaved, with the x86 SHA extensions (FIPS 180-4; Intel
 * SDM, SHA256RNDS2). */
#include "sha256-two.h"

#include <string.h>

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define TARGET __attribute__((target("sha,sse4.1,ssse3")))

static const uint32_t round_constants[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* The state as the instructions want it. */
struct state {
    __m128i abef, cdgh;
};

bool sha256_two_supported(void)
{
    unsigned a, b, c, d;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
        return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

/* Four rounds of both messages; w are the four words of each. */
#define ROUNDS(i, wa, wb)                                                                          \
    do {                                                                                           \
        const __m128i k = _mm_load_si128((const __m128i *)round_constants + (i));                  \
        __m128i ta = _mm_add_epi32(wa, k), tb = _mm_add_epi32(wb, k);                              \
                                                                                                   \
        a1 = _mm_sha256rnds2_epu32(a1, a0, ta);                                                    \
        b1 = _mm_sha256rnds2_epu32(b1, b0, tb);                                                    \
        ta = _mm_shuffle_epi32(ta, 0x0e);                                                          \
        tb = _mm_shuffle_epi32(tb, 0x0e);                                                          \
        a0 = _mm_sha256rnds2_epu32(a0, a1, ta);                                                    \
        b0 = _mm_sha256rnds2_epu32(b0, b1, tb);                                                    \
    } while (0)

/* The next four words of the schedule in place of the oldest, w0. */
#define SCHEDULE(w0, w1, w2, w3)                                                                   \
    (w0 = _mm_sha256msg2_epu32(                                                                    \
         _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8(w3, w2, 4)), w3))

#define SCHEDULED(i, w0, w1, w2, w3)                                                               \
    do {                                                                                           \
        SCHEDULE(wa##w0, wa##w1, wa##w2, wa##w3);                                                  \
        SCHEDULE(wb##w0, wb##w1, wb##w2, wb##w3);                                                  \
        ROUNDS(i, wa##w0, wb##w0);                                                                 \
    } while (0)

#define LOAD(p, i) _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(p) + (i)), swap)

TARGET static void compress(struct state *a, struct state *b, const uint8_t *pa, const uint8_t *pb,
                            size_t blocks)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i a0 = a->abef, a1 = a->cdgh, b0 = b->abef, b1 = b->cdgh;

    for (; blocks > 0; blocks--, pa += 64, pb += 64) {
        const __m128i a0_before = a0, a1_before = a1, b0_before = b0, b1_before = b1;
        __m128i wa0 = LOAD(pa, 0), wa1 = LOAD(pa, 1), wa2 = LOAD(pa, 2), wa3 = LOAD(pa, 3);
        __m128i wb0 = LOAD(pb, 0), wb1 = LOAD(pb, 1), wb2 = LOAD(pb, 2), wb3 = LOAD(pb, 3);

        ROUNDS(0, wa0, wb0);
        ROUNDS(1, wa1, wb1);
        ROUNDS(2, wa2, wb2);
        ROUNDS(3, wa3, wb3);
        SCHEDULED(4, 0, 1, 2, 3);
        SCHEDULED(5, 1, 2, 3, 0);
        SCHEDULED(6, 2, 3, 0, 1);
        SCHEDULED(7, 3, 0, 1, 2);
        SCHEDULED(8, 0, 1, 2, 3);
        SCHEDULED(9, 1, 2, 3, 0);
        SCHEDULED(10, 2, 3, 0, 1);
        SCHEDULED(11, 3, 0, 1, 2);
        SCHEDULED(12, 0, 1, 2, 3);
        SCHEDULED(13, 1, 2, 3, 0);
        SCHEDULED(14, 2, 3, 0, 1);
        SCHEDULED(15, 3, 0, 1, 2);
        a0 = _mm_add_epi32(a0, a0_before);
        a1 = _mm_add_epi32(a1, a1_before);
        b0 = _mm_add_epi32(b0, b0_before);
        b1 = _mm_add_epi32(b1, b1_before);
    }
    *a = (struct state) { a0, a1 };
    *b = (struct state) { b0, b1 };
}

TARGET static void state_get(const struct state *state, uint8_t ret_digest[32])
{
    const __m128i order = _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f);
    /* words from the highest: A B E F and C D G H */
    __m128i abcd = _mm_unpackhi_epi64(state->cdgh, state->abef);
    __m128i efgh = _mm_unpacklo_epi64(state->cdgh, state->abef);

    _mm_storeu_si128((__m128i *)(void *)ret_digest, _mm_shuffle_epi8(abcd, order));
    _mm_storeu_si128((__m128i *)(void *)(ret_digest + 16), _mm_shuffle_epi8(efgh, order));
}

TARGET void sha256_two(const uint8_t *a, const uint8_t *b, size_t size, uint8_t ret_a[32],
                       uint8_t ret_b[32])
{
    const struct state begin = {
        .abef = _mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c),
        .cdgh = _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19),
    };
    struct state state_a = begin, state_b = begin;
    uint64_t bits = __builtin_bswap64((uint64_t)size * 8);
    uint8_t end[64] = { 0x80 };

    memcpy(end + 56, &bits, sizeof(bits));
    compress(&state_a, &state_b, a, b, size / 64);
    compress(&state_a, &state_b, end, end, 1);
    state_get(&state_a, ret_a);
    state_get(&state_b, ret_b);
}

#else

bool sha256_two_supported(void)
{
    return false;
}

void sha256_two(const uint8_t *a, const uint8_t *b, size_t size, uint8_t ret_a[32],
                uint8_t ret_b[32])
{
    __builtin_unreachable();
}

#endif
