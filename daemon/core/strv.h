/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists of strings, of which the last is NULL. */
#pragma once

#include <stdbool.h>

#include "lib/cleanup.h"

/* NULL is no list, and nothing is done. */
void strv_free(char **strings);
DEFINE_CLEANUP(char **, strv_free)
/* No list is equal to no list alone, not to an empty one. */
bool strv_equal(char *const *a, char *const *b);
/* A list of its own; NULL of NULL. -ENOMEM. */
int strv_copy(char *const *strings, char ***ret_copy);
