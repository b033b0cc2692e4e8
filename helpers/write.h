/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing to a file. */
#pragma once

#include <stddef.h>

/* All of it, however many calls that takes. On failure (-errno) a part of it may be written. */
int write_all(int fd, const void *bytes, size_t size);
