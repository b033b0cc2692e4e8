/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guest's map of formats that map a disk block by block. */
#include "block-table.h"
#include "map.h"

const struct format_map block_map = { .begin = NULL };
