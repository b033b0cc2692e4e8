/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds blocks of a file that overlap each other. */
#include "block-claims.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"

enum { LIST_MIN = 64 };

int claims_init(struct claims *claims, uint64_t unit, uint64_t file_size, uint64_t memory_limit)
{
    *claims = (struct claims){ .unit = unit, .memory_limit = memory_limit };
    if ((unit & (unit - 1)) == 0)
        claims->shift = (unsigned)__builtin_ctzll(unit);
    return count_map_init(&claims->bits, file_size / unit + 1, 1, memory_limit);
}

void claims_align(struct claims *claims, uint64_t offset)
{
    claims->base = offset % claims->unit;
    claims->has_base = true;
}

void claims_done(struct claims *claims)
{
    count_map_done(&claims->bits);
    free(claims->list);
}

static int list_add(struct claims *claims, const struct claim *claim)
{
    if (claims->n == claims->capacity) {
        size_t more = claims->capacity ? 2 * claims->capacity : LIST_MIN;
        struct claim *list;

        if (more > claims->memory_limit / sizeof(*list))
            return -EFBIG;
        list = reallocarray(claims->list, more, sizeof(*list));
        if (!list)
            return -ENOMEM;
        claims->list = list;
        claims->capacity = more;
    }
    claims->list[claims->n++] = *claim;
    return 0;
}

/* The unit of the row that begins at offset; false when none does. A division for each block of a
 * file is what such a check would take most time for. */
static bool find_unit(const struct claims *claims, uint64_t offset, uint64_t *ret_unit)
{
    uint64_t from = offset - claims->base, unit = claims->shift ? from >> claims->shift
                                                                : from / claims->unit;

    *ret_unit = unit;
    return offset >= claims->base && unit * claims->unit == from;
}

/* The first unit from i on that is taken or not, as wanted; end when there is none. Pages of which
 * nothing is taken are passed by as a whole; the others are of bits, as the map counts to 1. */
static uint64_t next_unit(const struct claims *claims, uint64_t i, uint64_t end, bool taken)
{
    while (i < end) {
        const uint64_t *words = count_page_of(&claims->bits, i)->data;
        uint64_t word;

        if (!words && !taken)
            return i;
        if (!words) {
            i = (i | (COUNT_PAGE_CLUSTERS - 1)) + 1;
            continue;
        }
        word = words[i % COUNT_PAGE_CLUSTERS / 64];
        word = (taken ? word : ~word) >> i % 64;
        if (word != 0)
            return min_u64(i + (uint64_t)__builtin_ctzll(word), end);
        i = (i | 63) + 1;
    }
    return end;
}

int claims_add(struct claims *claims, uint64_t offset, uint64_t length, uint64_t number)
{
    uint64_t unit;

    if (length == claims->unit && !claims->has_base)
        claims_align(claims, offset);
    if (length != claims->unit || !find_unit(claims, offset, &unit))
        return list_add(claims, &(struct claim){ offset, length, number });
    if (count_add_bit(&claims->bits, unit, 0))
        return 0;
    if (count_get(&claims->bits, unit) > 0)
        return 1;
    return count_add(&claims->bits, unit, 1, 1, 0);
}

int claims_add_row(struct claims *claims, uint64_t offset, uint64_t n)
{
    uint64_t unit;
    int r;

    if (!claims->has_base)
        claims_align(claims, offset);
    if (!find_unit(claims, offset, &unit) ||
        next_unit(claims, unit, unit + n, true) < unit + n)
        return 0;
    r = count_add(&claims->bits, unit, n, 1, 0);
    return r < 0 ? r : 1;
}

static int compare(const void *a, const void *b)
{
    const struct claim *left = a, *right = b;

    if (left->offset != right->offset)
        return left->offset < right->offset ? -1 : 1;
    return left->number < right->number ? -1 : left->number > right->number;
}

/* Does any block of the row overlap this one? Its length is that of few units. */
static bool overlaps_row(const struct claims *claims, const struct claim *claim)
{
    uint64_t from, to, end = claim->offset + claim->length;

    if (!claims->has_base || end <= claims->base)
        return false;
    from = claim->offset > claims->base ? (claim->offset - claims->base) / claims->unit : 0;
    to = (end - claims->base - 1) / claims->unit;
    for (uint64_t i = from; i <= to && i < claims->bits.n_clusters; i++)
        if (count_get(&claims->bits, i) > 0)
            return true;
    return false;
}

int claims_overlaps(struct claims *claims, int (*found)(void *userdata, const struct claim *claim),
                    void *userdata)
{
    uint64_t end = 0;           /* of the one before that reaches farthest */
    int r = 0;

    if (claims->n > 0)
        qsort(claims->list, claims->n, sizeof(*claims->list), compare);
    for (size_t i = 0; i < claims->n && r >= 0; i++) {
        const struct claim *claim = &claims->list[i];

        if (claim->offset < end || overlaps_row(claims, claim))
            r = found(userdata, claim);
        end = max_u64(end, claim->offset + claim->length);
    }
    return r;
}

bool claims_gap(const struct claims *claims, uint64_t *offset, uint64_t end, uint64_t *ret_length)
{
    uint64_t unit = claims->unit, i, first;

    if (!claims->has_base || end < claims->base + unit)
        return false;
    i = *offset > claims->base ? div_round_up(*offset - claims->base, unit) : 0;
    end = (end - claims->base) / unit;
    first = next_unit(claims, i, end, false);
    if (first >= end)
        return false;
    i = next_unit(claims, first, end, true);
    *offset = claims->base + first * unit;
    *ret_length = (i - first) * unit;
    return true;
}
