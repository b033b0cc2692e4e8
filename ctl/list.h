/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* --columns, --sort and --lines of a list. */
#pragma once

#include "ctl/ctl.h"

/* Looks whether the columns that were named exist, sorts the rows by those of --sort, which leaves
 * them as they are without it, and leaves the first so many of them; lines 0: all. Prints its own
 * errors. */
int list_arrange(const struct output *output, const struct column *columns, size_t n_columns,
                 unsigned lines, json_object *rows);
