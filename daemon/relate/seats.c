/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Spots where images are found or awaited: a hash table of seats, by path, identity and name. The
 * hash has a secret and 96 bits, so that it stands for the key. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "daemon/core/siphash.h"
#include "daemon/relate/internal.h"
#include "lib/cleanup.h"

#define BUCKETS_MIN 64
#define KIND_FACTOR UINT64_C(0x9e3779b97f4a7c15)        /* odd: kinds lie in other buckets */
#define LOAD_MAX 2              /* seats of a bucket, on average: then there are more buckets */

/* ---- spots ---------------------------------------------------------------------------------- */

static struct spot spot_of(const struct graph *graph, enum spot_kind kind, const void *data,
                           size_t size)
{
    struct siphash hash = siphash(graph->seats.secret.bytes, data, size);

    return (struct spot){
        .key = hash.low + kind * KIND_FACTOR, .check = (uint32_t)hash.high,
        .kind = kind,
    };
}

struct spot spot_of_text(const struct graph *graph, enum spot_kind kind, const char *text)
{
    return text ? spot_of(graph, kind, text, strlen(text)) : (struct spot){ .kind = SPOT_NONE };
}

struct spot spot_of_identity(const struct graph *graph, enum spot_kind kind,
                             const struct identity *identity)
{
    const uint64_t words[] = { identity->inode, identity->fsid, (uint64_t)identity->btime };

    if (identity->inode == 0 && identity->fsid == 0)
        return (struct spot){ .kind = SPOT_NONE };
    return spot_of(graph, kind, words, sizeof(words));
}

struct spot spot_of_number(const struct graph *graph, enum spot_kind kind, uint64_t number)
{
    return number > 0 ? spot_of(graph, kind, &number, sizeof(number))
                      : (struct spot){ .kind = SPOT_NONE };
}

struct spot spot_of_folder(const struct graph *graph, enum spot_kind kind, const char *path)
{
    const char *slash = strrchr(path, '/');

    return spot_of(graph, kind, path, slash ? (size_t)(slash - path) : 0);
}

struct spot spot_as(struct spot spot, enum spot_kind kind)
{
    if (spot.kind != SPOT_NONE) {
        spot.key += ((uint64_t)kind - spot.kind) * KIND_FACTOR;
        spot.kind = kind;
    }
    return spot;
}

bool spot_equal(struct spot a, struct spot b)
{
    return a.kind == b.kind && (a.kind == SPOT_NONE || (a.key == b.key && a.check == b.check));
}

/* ---- seats ---------------------------------------------------------------------------------- */

struct node *seat_node(struct seat *seat)
{
    char *own = (char *)(seat - seat->index), *in_block = own + _SEAT_OWN_MAX * sizeof(*seat);

    if (seat->index < _SEAT_OWN_MAX)
        return (struct node *)(void *)(own - offsetof(struct node, seats));
    return ((struct seat_block *)(void *)(in_block - offsetof(struct seat_block, seats)))->node;
}

int seat_block_new(struct node *node, size_t n, struct seat_block **ret_block)
{
    struct seat_block *block;

    if (n > SEAT_BLOCK_MAX)
        return -E2BIG;
    block = calloc(1, sizeof(*block) + n * sizeof(block->seats[0]));
    if (!block)
        return -ENOMEM;
    block->node = node;
    for (size_t i = 0; i < n; i++)
        block->seats[i].index = (unsigned)(_SEAT_OWN_MAX + i) & SEAT_INDEX_MASK;
    *ret_block = block;
    return 0;
}

static struct seat_list *bucket_of(const struct seats *seats, uint64_t key)
{
    return &seats->buckets[key & (seats->n_buckets - 1)];
}

static int seats_reserve(struct seats *seats)
{
    size_t n = seats->n_buckets > 0 ? seats->n_buckets * 2 : BUCKETS_MIN;
    struct seats grown = { .n_buckets = n };

    if (seats->n < seats->n_buckets * LOAD_MAX)
        return 0;
    grown.buckets = calloc(n, sizeof(*grown.buckets));
    if (!grown.buckets)
        return seats->n_buckets > 0 ? 0 : -ENOMEM;      /* a fuller table is slower, that is all */
    for (size_t i = 0; i < seats->n_buckets; i++)
        for (struct seat *seat; (seat = LIST_FIRST(&seats->buckets[i]));) {
            LIST_REMOVE(seat, link);
            LIST_INSERT_HEAD(bucket_of(&grown, seat->key), seat, link);
        }
    free(seats->buckets);
    seats->buckets = grown.buckets;
    seats->n_buckets = n;
    return 0;
}

bool seat_is_taken(const struct seat *seat)
{
    return seat && seat->kind != SPOT_NONE;
}

struct spot seat_spot(const struct seat *seat)
{
    if (!seat_is_taken(seat))
        return (struct spot){ .kind = SPOT_NONE };
    return (struct spot){ .key = seat->key, .check = seat->check, .kind = seat->kind };
}

int seat_take(struct graph *graph, struct seat *seat, struct spot spot)
{
    int r;

    if (spot_equal(seat_spot(seat), spot))
        return 0;
    if (spot.kind != SPOT_NONE) {
        r = seats_reserve(&graph->seats);
        if (r < 0)
            return r;
    }
    seat_leave(graph, seat);
    if (spot.kind == SPOT_NONE)
        return 1;
    seat->key = spot.key;
    seat->check = spot.check;
    seat->kind = spot.kind;
    LIST_INSERT_HEAD(bucket_of(&graph->seats, seat->key), seat, link);
    graph->seats.n++;
    return 1;
}

void seat_leave(struct graph *graph, struct seat *seat)
{
    if (!seat_is_taken(seat))
        return;
    LIST_REMOVE(seat, link);
    seat->kind = SPOT_NONE;
    graph->seats.n--;
}

static struct seat *seat_from(struct seat *seat, struct spot spot)
{
    while (seat && !spot_equal(seat_spot(seat), spot))
        seat = LIST_NEXT(seat, link);
    return seat;
}

struct seat *spot_first(const struct graph *graph, struct spot spot)
{
    if (spot.kind == SPOT_NONE || graph->seats.n_buckets == 0)
        return NULL;
    return seat_from(LIST_FIRST(bucket_of(&graph->seats, spot.key)), spot);
}

struct seat *seat_next(const struct seat *seat)
{
    return seat_from(LIST_NEXT(seat, link), seat_spot(seat));
}

/* Each node has one seat of its path. */
static struct node *node_from(const struct seats *seats, struct seat *seat, size_t bucket)
{
    for (;;) {
        for (; seat; seat = LIST_NEXT(seat, link))
            if (seat->kind == SPOT_PATH)
                return seat_node(seat);
        if (++bucket >= seats->n_buckets)
            return NULL;
        seat = LIST_FIRST(&seats->buckets[bucket]);
    }
}

struct node *graph_first(const struct graph *graph)
{
    const struct seats *seats = &graph->seats;

    return seats->n_buckets > 0 ? node_from(seats, LIST_FIRST(&seats->buckets[0]), 0) : NULL;
}

struct node *graph_next(const struct graph *graph, struct node *node)
{
    const struct seats *seats = &graph->seats;
    struct seat *seat = &node->seats[SEAT_PATH];

    return node_from(seats, LIST_NEXT(seat, link), seat->key & (seats->n_buckets - 1));
}
