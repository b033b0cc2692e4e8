/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The counting map of a check. */
#include "count.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"

static const uint8_t level_bits[] = {
    [COUNT_BITS] = 1,
    [COUNT_8] = 8,
    [COUNT_16] = 16,
    [COUNT_64] = 64,
};

static const uint64_t level_max[] = {
    [COUNT_BITS] = 1,
    [COUNT_8] = UINT8_MAX,
    [COUNT_16] = UINT16_MAX,
    [COUNT_64] = UINT64_MAX,
};

static uint64_t pages_for(uint64_t n_clusters)
{
    return (n_clusters + COUNT_PAGE_CLUSTERS - 1) >> COUNT_PAGE_BITS;
}

int count_map_init(struct count_map *map, uint64_t n_clusters, uint64_t refcount_max,
                   uint64_t memory_limit)
{
    uint64_t bytes = pages_for(n_clusters) * sizeof(struct count_page);
    struct count_page *pages;

    if (bytes > memory_limit)
        return -ENOMEM;
    pages = calloc(pages_for(n_clusters), sizeof(*pages));
    if (!pages)
        return -ENOMEM;
    *map = (struct count_map) {
        .pages = pages,
        .n_clusters = n_clusters,
        .refcount_max = refcount_max,
        .high = n_clusters,
        .memory_limit = memory_limit - bytes,
    };
    return 0;
}

/* Clusters that the page counts: the last one of a map ends with it, at a whole word of bits. */
static uint32_t page_clusters(const struct count_map *map, const struct count_page *page)
{
    uint64_t first = (uint64_t)(page - map->pages) << COUNT_PAGE_BITS;

    return min_u64(COUNT_PAGE_CLUSTERS, round_up(map->n_clusters - first, 64));
}

static uint32_t page_bytes(const struct count_map *map, const struct count_page *page,
                           enum count_level level)
{
    return page_clusters(map, page) / 8 * level_bits[level];
}

static void page_clear(struct count_map *map, struct count_page *page)
{
    if (page->data)
        map->memory -= page_bytes(map, page, page->level);
    free(page->data);
    *page = (struct count_page) { 0 };
}

void count_map_begin(struct count_map *map, uint64_t low)
{
    for (uint64_t i = 0; i < pages_for(map->n_clusters); i++)
        page_clear(map, &map->pages[i]);
    map->low = low;
    map->high = map->n_clusters;
}

void count_map_done(struct count_map *map)
{
    if (!map->pages)
        return;
    count_map_begin(map, 0);
    free(map->pages);
    map->pages = NULL;
}

/* Gives up pages from the top until half of the memory is free again; the lowest page stays. */
static void map_shrink(struct count_map *map)
{
    uint64_t first = map->low >> COUNT_PAGE_BITS, last = pages_for(map->high);

    while (last > first + 1 && map->memory > map->memory_limit / 2)
        page_clear(map, &map->pages[--last]);
    map->high = min_u64(map->high, last << COUNT_PAGE_BITS);
}

/* Makes room for bytes more on behalf of a page. -ERANGE: the page itself was given up for it. */
static int map_reserve(struct count_map *map, const struct count_page *page, uint64_t bytes)
{
    if (map->memory + bytes > map->memory_limit)
        map_shrink(map);
    if ((uint64_t)(page - map->pages) >= pages_for(map->high))
        return -ERANGE;
    if (map->memory + bytes > map->memory_limit) {
        /* All that is left lies below or is this page: go on with what lies below. */
        map->high = min_u64(map->high,
                            max_u64((uint64_t)(page - map->pages) << COUNT_PAGE_BITS, map->low));
        for (uint64_t i = map->high >> COUNT_PAGE_BITS; i < pages_for(map->n_clusters); i++)
            page_clear(map, &map->pages[i]);
        return map->high > map->low ? -ERANGE : -ENOMEM;
    }
    return 0;
}

/* Gives the page counts of (at least) this level. */
static int page_promote(struct count_map *map, struct count_page *page, enum count_level level)
{
    uint32_t bytes = page_bytes(map, page, level);
    void *data;
    int r;

    r = map_reserve(map, page, bytes);
    if (r < 0)
        return r;
    data = calloc(1, bytes);
    if (!data)
        return -ENOMEM;
    if (page->data)
        for (uint32_t i = 0; i < page_clusters(map, page); i++) {
            uint64_t count = count_at(page->data, page->level, i);

            switch (level) {
            case COUNT_8:
                ((uint8_t *)data)[i] = count;
                break;
            case COUNT_16:
                ((uint16_t *)data)[i] = count;
                break;
            default:
                ((uint64_t *)data)[i] = count;
                break;
            }
        }
    map->memory += bytes - (page->data ? page_bytes(map, page, page->level) : 0);
    free(page->data);
    page->data = data;
    page->level = level;
    return 0;
}

uint64_t *count_page_bits(struct count_map *map, struct count_page *page)
{
    if (!page->data) {
        page->data = calloc(1, page_bytes(map, page, COUNT_BITS));
        page->level = COUNT_BITS;
        if (page->data)
            map->memory += page_bytes(map, page, COUNT_BITS);
    }
    return page->data;
}

static void page_overflow(struct count_page *page, uint32_t i, uint64_t excess)
{
    if (page->overflows == 0)
        page->overflow_first = i;
    if (__builtin_add_overflow(page->overflows, excess, &page->overflows))
        page->overflows = UINT64_MAX;
}

/* One reference to each of n clusters in a page of bits. Returns how many were done before one was
 * met that has a reference already and may have more: the page has to be promoted then. */
static uint32_t bits_add(struct count_page *page, uint32_t first, uint32_t n, bool one_is_max)
{
    uint64_t *words = page->data;
    uint32_t i = first, end = first + n;

    while (i < end) {
        uint32_t bit = i % 64, span = min_u64(64 - bit, end - i);
        uint64_t mask = (span == 64 ? UINT64_MAX : (UINT64_C(1) << span) - 1) << bit;
        uint64_t taken = words[i / 64] & mask;

        if (taken && !one_is_max) {
            span = __builtin_ctzll(taken) - bit;
            words[i / 64] |= mask & ((UINT64_C(1) << (bit + span)) - 1);
            return i + span - first;
        }
        if (taken)
            page_overflow(page, i - bit + __builtin_ctzll(taken), __builtin_popcountll(taken));
        words[i / 64] |= mask;
        i += span;
    }
    return n;
}

/* weight references to each of n clusters in a page of counts, up to maximum each. Returns how many
 * were done before one was met whose count this level cannot hold. */
#define DEFINE_COUNTS_ADD(name, type, type_max)                                                    \
    static uint32_t name(struct count_page *page, uint32_t first, uint32_t n, uint64_t weight,     \
                         uint64_t maximum)                                                         \
    {                                                                                              \
        type *counts = page->data;                                                                 \
                                                                                                   \
        for (uint32_t i = first; i < first + n; i++) {                                             \
            uint64_t room = maximum - counts[i], add = min_u64(weight, room);                      \
                                                                                                   \
            if (add > (uint64_t)(type_max) - counts[i])                                            \
                return i - first;                                                                  \
            counts[i] += add;                                                                      \
            if (add < weight)                                                                      \
                page_overflow(page, i, weight - add);                                              \
        }                                                                                          \
        return n;                                                                                  \
    }

DEFINE_COUNTS_ADD(counts8_add, uint8_t, UINT8_MAX)
DEFINE_COUNTS_ADD(counts16_add, uint16_t, UINT16_MAX)
DEFINE_COUNTS_ADD(counts64_add, uint64_t, UINT64_MAX)

static uint32_t page_add_some(struct count_map *map, struct count_page *page, uint32_t first,
                              uint32_t n, uint64_t weight)
{
    switch ((enum count_level)page->level) {
    case COUNT_BITS:
        if (map->refcount_max > 1)
            return weight == 1 ? bits_add(page, first, n, false) : 0;
        /* Refcounts of one bit hold one reference, however many there are. */
        bits_add(page, first, n, true);
        if (weight > 1)
            page_overflow(page, first, n * (weight - 1));
        return n;
    case COUNT_8:
        return counts8_add(page, first, n, weight, map->refcount_max);
    case COUNT_16:
        return counts16_add(page, first, n, weight, map->refcount_max);
    default:
        return counts64_add(page, first, n, weight, map->refcount_max);
    }
}

/* n clusters from first of one page. */
static int page_add(struct count_map *map, struct count_page *page, uint32_t first, uint32_t n,
                    uint64_t weight)
{
    int r;

    if (!page->data) {
        r = map_reserve(map, page, page_bytes(map, page, COUNT_BITS));
        if (r < 0)
            return r;
        if (!count_page_bits(map, page))
            return -ENOMEM;
    }
    for (;;) {
        uint32_t done = page_add_some(map, page, first, n, weight);
        enum count_level level = page->level + 1;

        if (done == n)
            return 0;
        first += done;
        n -= done;
        while (level < COUNT_64 && weight >= level_max[level])
            level++;
        r = page_promote(map, page, level);
        if (r < 0)
            return r;
    }
}

int count_add(struct count_map *map, uint64_t first, uint64_t n, uint64_t weight, unsigned flags)
{
    uint64_t end = min_u64(first + n, map->high);
    int r;

    first = max_u64(first, map->low);
    /* Making room may lower what is counted. */
    while (first < end && first < map->high) {
        struct count_page *page = count_page_of(map, first);
        uint32_t i = first & (COUNT_PAGE_CLUSTERS - 1);
        uint32_t span = min_u64(COUNT_PAGE_CLUSTERS - i, end - first);

        page->flags |= flags;
        r = page_add(map, page, i, span, weight);
        if (r == -ERANGE)
            return 0;           /* the page, and so all above it, is left to a later pass */
        if (r < 0)
            return r;
        first += span;
    }
    return 0;
}

uint64_t count_get(const struct count_map *map, uint64_t cluster)
{
    const struct count_page *page = count_page_of(map, cluster);

    return page->data ? count_at(page->data, page->level, cluster & (COUNT_PAGE_CLUSTERS - 1)) : 0;
}
