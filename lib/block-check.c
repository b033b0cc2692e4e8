/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The check of formats that map a disk block by block: where their tables and blocks lie. */
#include "block-table.h"

#include <errno.h>

#include "check.h"

int block_check(struct qca_image *image, struct check *check,
                const struct block_metadata *metadata, size_t n)
{
    (void)image, (void)check, (void)metadata, (void)n;
    return -EOPNOTSUPP;
}
