/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A layer's words that are not as in one of which nothing is known, with a bit each that says which
 * they are. */
#include "daemon/core/packed-layer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORDS ((sizeof(struct layer_report) + sizeof(uint64_t) - 1) / sizeof(uint64_t))

struct packed_layer {
    uint64_t kept[(WORDS + 63) / 64];   /* bit i % 64 of i / 64: word i is kept */
    uint64_t words[];
};

/* The values of words that are left out. */
static void layer_nothing(struct layer_report *ret_layer)
{
    *ret_layer = (struct layer_report){
        .check = { .burst_offset = QCA_NO_OFFSET, .burst_end = QCA_NO_OFFSET },
    };
}

int layer_pack(const struct layer_report *layer, struct packed_layer **ret_packed)
{
    struct packed_layer *packed;
    uint64_t words[WORDS] = { 0 }, nothing[WORDS] = { 0 }, kept[(WORDS + 63) / 64] = { 0 };
    struct layer_report empty;
    size_t n = 0;

    layer_nothing(&empty);
    memcpy(nothing, &empty, sizeof(empty));
    memcpy(words, layer, sizeof(*layer));
    for (size_t i = 0; i < WORDS; i++)
        if (words[i] != nothing[i]) {
            kept[i / 64] |= UINT64_C(1) << i % 64;
            words[n++] = words[i];
        }
    packed = malloc(sizeof(*packed) + n * sizeof(packed->words[0]));
    if (!packed)
        return -ENOMEM;
    memcpy(packed->kept, kept, sizeof(kept));
    memcpy(packed->words, words, n * sizeof(packed->words[0]));
    *ret_packed = packed;
    return 0;
}

void layer_unpack(const struct packed_layer *packed, struct layer_report *ret_layer)
{
    uint64_t words[WORDS] = { 0 };
    size_t n = 0;

    layer_nothing(ret_layer);
    memcpy(words, ret_layer, sizeof(*ret_layer));
    for (size_t i = 0; i < WORDS; i++)
        if (packed->kept[i / 64] >> i % 64 & 1)
            words[i] = packed->words[n++];
    memcpy(ret_layer, words, sizeof(*ret_layer));
}

struct packed_layer *packed_layer_free(struct packed_layer *packed)
{
    struct layer_report layer;

    if (!packed)
        return NULL;
    layer_unpack(packed, &layer);
    layer_report_done(&layer);
    free(packed);
    return NULL;
}
