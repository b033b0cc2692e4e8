/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A disk whose descriptor places its pieces in other files. */
#pragma once

#include "format.h"

/* One of them, in the order of info.extents. */
struct piece {
    uint64_t start, size;       /* guest bytes */
    struct qca_io *io;          /* of its file; NULL: zeros, or it was not opened */
    struct qca_image *image;    /* that maps it; NULL: its bytes lie in the file as they are, */
    uint64_t offset;            /*   from here on */
};

struct check;

/* Closes all of them: the image is a descriptor alone again. */
void pieces_close(struct qca_image *image);
/* Compares each piece that is open with the descriptor; with options.pieces each is checked, too,
 * and counted into the one result. */
int pieces_check(struct qca_image *image, struct check *check);
