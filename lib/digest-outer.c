/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SHA-256 over digests, begun in the middle where zeros come first.
 *
 * The crypto library's newer interface cannot begin with a state; SHA256_CTX, deprecated but
 * public, and in every version so far, can. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "digest-outer.h"

#include <endian.h>
#include <errno.h>
#include <openssl/sha.h>
#include <string.h>

#include "bytes.h"
#include "cleanup.h"

enum { DIGEST_SIZE = 32 };

struct outer {
    SHA256_CTX context;
    bool begun;
    uint8_t zeros[OUTER_ZEROS_MAX][DIGEST_SIZE];
};

int outer_new(const uint8_t zero_digest[32], struct outer **ret_outer)
{
    struct outer *outer = malloc(sizeof(*outer));

    if (!outer)
        return -ENOMEM;
    outer->begun = false;
    for (size_t i = 0; i < OUTER_ZEROS_MAX; i++)
        memcpy(outer->zeros[i], zero_digest, DIGEST_SIZE);
    if (SHA256_Init(&outer->context) != 1) {
        free(outer);
        return -EIO;
    }
    *ret_outer = outer;
    return 0;
}

void outer_free(struct outer *outer)
{
    free(outer);
}

int outer_feed(struct outer *outer, const void *digests, size_t n)
{
    outer->begun = outer->begun || n > 0;
    return SHA256_Update(&outer->context, digests, n * DIGEST_SIZE) == 1 ? 0 : -EIO;
}

int outer_feed_zeros(struct outer *outer, size_t n)
{
    return outer_feed(outer, outer->zeros, n);
}

uint64_t outer_skip_zeros(struct outer *outer, uint64_t n)
{
    const struct zeros_state *known = outer->begun ? NULL : zeros_state_find(n);
    uint64_t bits;

    if (!known)
        return 0;
    bits = known->n * DIGEST_SIZE * 8;
    memcpy(outer->context.h, known->state, sizeof(known->state));
    outer->context.Nl = (uint32_t)bits;
    outer->context.Nh = (uint32_t)(bits >> 32);
    outer->begun = true;
    return known->n;
}

int outer_finish(struct outer *outer, uint64_t size, uint8_t ret_digest[32])
{
    uint64_t length = htole64(size);

    return SHA256_Update(&outer->context, &length, sizeof(length)) == 1 &&
                   SHA256_Final(ret_digest, &outer->context) == 1
               ? 0
               : -EIO;
}

const struct zeros_state *zeros_state_find(uint64_t n)
{
    size_t low = 0, high;
    const struct zeros_state *states = zeros_states(&high);

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (states[middle].n <= n)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? &states[low - 1] : NULL;
}
