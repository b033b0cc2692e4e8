/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The names of an enumeration's values, as a table by value. */
#pragma once

#include <stddef.h>

/* NULL when out of range. */
const char *name_of(const char *const *names, size_t n_names, size_t index);
/* -EINVAL when it is none of them, or NULL. */
int name_index(const char *const *names, size_t n_names, const char *name);
