/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tables of an image that evidence keeps: the most telling ones, within a bound. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/bundle.h"
#include "lib/bytes.h"

#define PLACES_MAX (1 << 20)

static int by_place(const void *a, const void *b)
{
    const struct qca_place *left = a, *right = b;

    if (left->offset != right->offset)
        return left->offset < right->offset ? -1 : 1;
    if (left->size != right->size)
        return left->size > right->size ? -1 : 1;
    return left->table < right->table ? -1 : left->table > right->table;
}

/* In order, each once: snapshots share most tables. The larger of two at one place comes first, and
 * the one that the header leads to. */
static void sort_places(struct places *places)
{
    size_t n = 0;

    if (places->n == 0)
        return;
    qsort(places->places, places->n, sizeof(*places->places), by_place);
    for (size_t i = 0; i < places->n; i++)
        if (n == 0 || places->places[i].offset != places->places[n - 1].offset)
            places->places[n++] = places->places[i];
    places->n = n;
}

static bool have_room(struct places *places)
{
    size_t n = places->allocated ? 2 * places->allocated : 1024;
    struct qca_place *grown;

    if (places->n < places->allocated)
        return true;
    if (places->allocated >= PLACES_MAX) {
        sort_places(places);
        /* or the next one would be sorted in alone */
        places->incomplete = places->n > PLACES_MAX / 4 * 3;
        return !places->incomplete;
    }
    grown = reallocarray(places->places, n, sizeof(*grown));
    if (!grown) {
        places->error = -ENOMEM;
        return false;
    }
    places->places = grown;
    places->allocated = n;
    return true;
}

void places_take(struct places *places, const struct qca_place *place)
{
    if (!place)
        places->incomplete = true;
    if (places->error < 0 || places->incomplete ||
        (places->headers_only && place->table != QCA_TABLE_HEADER))
        return;
    if (have_room(places))
        places->places[places->n++] = *place;
}

void places_done(struct places *places)
{
    free(places->places);
    *places = (struct places){ .n = 0 };
}

/* ---- which of them -------------------------------------------------------------------------- */

enum rank { RANK_ROOT, RANK_NAMED, RANK_REFCOUNTS, RANK_OTHER, _RANK_MAX };

static int by_offset(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

/* Offsets of the tables that issues name, in order. */
static int named_offsets(const struct qca_check_result *check, uint64_t **ret_offsets,
                         size_t *ret_n)
{
    size_t n = check ? check->n_issues : 0;
    uint64_t *offsets = calloc(n > 0 ? n : 1, sizeof(*offsets));

    if (!offsets)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        offsets[i] = check->issues[i].table_offset;
    qsort(offsets, n, sizeof(*offsets), by_offset);
    *ret_offsets = offsets;
    *ret_n = n;
    return 0;
}

static enum rank rank_of(const struct qca_place *place, const uint64_t *named, size_t n_named)
{
    switch (place->table) {
    case QCA_TABLE_HEADER:
    case QCA_TABLE_L1:
    case QCA_TABLE_REFCOUNT_TABLE:
    case QCA_TABLE_SNAPSHOTS:
    case QCA_TABLE_BITMAP_DIRECTORY:
        return RANK_ROOT;
    default:
        break;
    }
    if (bsearch(&place->offset, named, n_named, sizeof(*named), by_offset))
        return RANK_NAMED;
    return place->table == QCA_TABLE_REFCOUNT_BLOCK ? RANK_REFCOUNTS : RANK_OTHER;
}

/* Pieces of those that are taken: what touches is one, and none is larger than a member may be. */
static int make_pieces(const struct places *places, const bool *taken, size_t room,
                       struct pieces *pieces)
{
    size_t allocated = 0;

    for (size_t i = 0; i < places->n; i++) {
        uint64_t at = places->places[i].offset, end = at + places->places[i].size;

        while (taken[i] && at < end) {
            struct piece *last = pieces->n > 0 ? &pieces->pieces[pieces->n - 1] : NULL;
            uint64_t covered = last ? last->offset + last->size : 0, n;

            if (last && covered >= end)
                break;
            at = max_u64(at, covered);
            if (last && covered == at && last->size < BUNDLE_PIECE_MAX) {
                n = min_u64(end - at, BUNDLE_PIECE_MAX - last->size);
                last->size += n;
            } else {
                if (pieces->n == room) {
                    pieces->n_left_out++;
                    pieces->bytes_left_out += end - at;
                    break;
                }
                if (pieces->n == allocated) {
                    size_t grown = allocated ? 2 * allocated : 64;
                    struct piece *more = reallocarray(pieces->pieces, grown, sizeof(*more));

                    if (!more)
                        return -ENOMEM;
                    pieces->pieces = more;
                    allocated = grown;
                }
                n = min_u64(end - at, BUNDLE_PIECE_MAX);
                pieces->pieces[pieces->n++] = (struct piece){ at, n };
            }
            pieces->bytes += n;
            at += n;
        }
    }
    return 0;
}

int pieces_choose(struct places *places, const struct qca_check_result *check, uint64_t room,
                  size_t room_pieces, struct pieces *ret_pieces)
{
    _cleanup_free_ uint64_t *named = NULL;
    _cleanup_free_ bool *taken = NULL;
    struct pieces pieces = { .n = 0 };
    size_t n_named;
    int r = places->error < 0 ? places->error : named_offsets(check, &named, &n_named);

    if (r < 0)
        return r;
    sort_places(places);
    taken = calloc(places->n + 1, sizeof(*taken));
    if (!taken)
        return -ENOMEM;
    for (enum rank rank = 0; rank < _RANK_MAX; rank++)
        for (size_t i = 0; i < places->n; i++) {
            const struct qca_place *place = &places->places[i];

            if (rank_of(place, named, n_named) != rank)
                continue;
            if (place->size > room) {
                pieces.n_left_out++;
                pieces.bytes_left_out += place->size;
                continue;
            }
            taken[i] = true;
            room -= place->size;
        }
    r = make_pieces(places, taken, room_pieces, &pieces);
    if (r < 0) {
        pieces_done(&pieces);
        return r;
    }
    pieces.whole = pieces.n_left_out == 0 && !places->incomplete;
    *ret_pieces = pieces;
    return 0;
}

void pieces_done(struct pieces *pieces)
{
    free(pieces->pieces);
    *pieces = (struct pieces){ .n = 0 };
}
