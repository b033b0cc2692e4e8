/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The format extension of a Parallels image, as the check reads it. */
#pragma once

#include "block-layout.h"
#include "check.h"
#include "format.h"

enum parallels_state {
    PARALLELS_CLOSED,           /* by a program that knows the extension */
    PARALLELS_STALE,            /* by one that does not: the extension may be out of date */
    PARALLELS_IN_USE,
};

struct parallels_extension {
    uint64_t offset;            /* host offset of its cluster; may be anything */
    uint32_t field;             /* host offset of the header's field that says so */
    uint32_t cluster;           /* bytes, at least 512 */
    enum parallels_state state;
};

/* Places in the file that are not the guest's. */
struct parallels_places {
    struct block_metadata *places;      /* the owner frees them */
    size_t n, most;
    bool unknown;               /* there may be others */
};

/* Tells what is wrong with the extension, and adds the places that it takes, none of which is
 * outside of the file. 0, -ENOMEM, or what check_unfinished() returned. */
int parallels_extension_check(struct qca_image *image, struct check *check,
                              const struct parallels_extension *extension,
                              struct parallels_places *places);
