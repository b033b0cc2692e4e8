/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How often each host cluster is referenced: one bit each, wider counts only where clusters are
 * shared.
 *
 * The map is made of pages of 32,768 clusters, which exist once something in them is referenced: as
 * bits (4 KiB), from the first second reference on as counts of 8, 16 or 64 bits. When the memory
 * allowed is used up, the map gives up its upper part: it then counts only [low, high), and the
 * caller comes again for the rest with count_map_begin(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    COUNT_PAGE_BITS = 15,
    COUNT_PAGE_CLUSTERS = 1 << COUNT_PAGE_BITS,
    COUNT_PAGE_WORDS = COUNT_PAGE_CLUSTERS / 64,
};

enum count_level { COUNT_BITS, COUNT_8, COUNT_16, COUNT_64 };

/* Properties of a page's clusters by the active tables; the check keeps its own marks here too. */
enum count_flags {
    COUNT_COPIED = 1 << 0,          /* some reference has the COPIED flag */
    COUNT_NOT_COPIED = 1 << 1,      /* some reference has not */
    COUNT_VERIFY = 1 << 2,          /* the flags have to be compared one by one */
};

struct count_page {
    void *data;                     /* NULL: nothing referenced */
    uint64_t overflows;             /* references beyond the largest refcount */
    uint32_t overflow_first;        /* cluster in the page of the first of them */
    uint8_t level;                  /* enum count_level */
    uint8_t flags;                  /* enum count_flags */
};

struct count_map {
    struct count_page *pages;
    uint64_t n_clusters;
    uint64_t refcount_max;
    uint64_t low, high;             /* what is counted now: whole pages, or up to n_clusters */
    uint64_t memory;                /* bytes of all pages' data */
    uint64_t memory_limit;
};

/* Makes a map of n_clusters for references up to refcount_max each. -ENOMEM. */
int count_map_init(struct count_map *map, uint64_t n_clusters, uint64_t refcount_max,
                   uint64_t memory_limit);
void count_map_done(struct count_map *map);
/* Forgets all counts and counts [low, end) from now on, or as much of it as memory allows. */
void count_map_begin(struct count_map *map, uint64_t low);

/* Adds weight references to each of n clusters from first; what is not within [low, high) is
 * ignored. flags are added to the pages. -ENOMEM when even one page is too much. */
int count_add(struct count_map *map, uint64_t first, uint64_t n, uint64_t weight, unsigned flags);
/* References counted for a cluster within [low, high). */
uint64_t count_get(const struct count_map *map, uint64_t cluster);
/* The page's data, made if need be (beyond the limit: it is one of few). NULL when there is no
 * memory. */
uint64_t *count_page_bits(struct count_map *map, struct count_page *page);

static inline struct count_page *count_page_of(const struct count_map *map, uint64_t cluster)
{
    return &map->pages[cluster >> COUNT_PAGE_BITS];
}

static inline bool count_covers(const struct count_map *map, uint64_t cluster)
{
    return cluster >= map->low && cluster < map->high;
}

/* count_add() of one reference to cluster number i of a page for the common case, that it is the
 * first; false: call that. */
static inline bool count_page_add_bit(struct count_page *page, uint32_t i, unsigned flags)
{
    uint64_t *word, before;

    if (!page->data || page->level != COUNT_BITS)
        return false;
    word = (uint64_t *)page->data + i / 64;
    before = *word;
    if (before >> (i % 64) & 1)
        return false;
    *word = before | UINT64_C(1) << (i % 64);
    if ((page->flags & flags) != flags)
        page->flags |= flags;
    return true;
}

/* Likewise of any cluster. */
static inline bool count_add_bit(struct count_map *map, uint64_t cluster, unsigned flags)
{
    return count_covers(map, cluster) &&
           count_page_add_bit(count_page_of(map, cluster), cluster & (COUNT_PAGE_CLUSTERS - 1),
                              flags);
}

/* Count number i of a page's data at a level. */
static inline uint64_t count_at(const void *data, enum count_level level, uint32_t i)
{
    switch (level) {
    case COUNT_BITS:
        return ((const uint64_t *)data)[i / 64] >> (i % 64) & 1;
    case COUNT_8:
        return ((const uint8_t *)data)[i];
    case COUNT_16:
        return ((const uint16_t *)data)[i];
    default:
        return ((const uint64_t *)data)[i];
    }
}
