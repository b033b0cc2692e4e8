/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Archives of evidence: what qcauditctl puts in, and what it makes of one. */
#pragma once

#include "ctl/check.h"
#include "helpers/bundle.h"

#define BUNDLE_TABLES_MAX (UINT64_C(256) << 20)     /* bytes of tables that are kept */
#define BUNDLE_PIECE_MAX (UINT64_C(4) << 20)        /* bytes of a member */
#define BUNDLE_PIECES_MAX 65536

/* Names of members. A piece is called by the layer and its offset in the image. */
#define BUNDLE_README "README"
#define BUNDLE_LAYOUT "layout.json"
#define BUNDLE_CHECK "check.json"
#define BUNDLE_PIECE_FORMAT "layer-%zu/%016" PRIx64
#define BUNDLE_PIECE_OF_IMAGE "layer-0/"

/* SHA-256 by libcrypto, which is loaded when it is needed first: it takes as long to load as all
 * the rest of the program. */
int bundle_digest(const void *data, size_t size, uint8_t ret_digest[32]);

/* check --evidence of one archive: its exit status, what is wrong is printed; JSON is added to all
 * (NULL: printed for people). -errno. */
struct checker;
int bundle_check(struct ctl *ctl, struct checker *checker, const char *file, json_object *all);

/* ---- bundle-tables.c: the tables of an image ------------------------------------------------ */

/* Places of an image's structures, as the worker reports them. Begins with all 0. */
struct places {
    struct qca_place *places;
    size_t n, allocated;
    bool incomplete;                /* there are more than are kept in mind */
    bool headers_only;
    int error;
};

void places_take(struct places *places, const struct qca_place *place);
void places_done(struct places *places);

struct piece {
    uint64_t offset, size;
};

/* Parts of the places that are kept, in order, and without overlaps. */
struct pieces {
    struct piece *pieces;
    size_t n;
    uint64_t bytes;
    uint64_t n_left_out, bytes_left_out;    /* tables, for which there was no room */
    bool whole;                             /* all that a check needs is there */
};

/* Those that the header leads to, then those that issues name, then refcount blocks, then L2 tables
 * and bitmaps, as long as there is room (bytes and pieces). check: NULL, or what was found. */
int pieces_choose(struct places *places, const struct qca_check_result *check, uint64_t room,
                  size_t room_pieces, struct pieces *ret_pieces);
void pieces_done(struct pieces *pieces);
