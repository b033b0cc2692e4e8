/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A file of /proc that is open already, read as a whole from its beginning. */
#pragma once

#include <stddef.h>

/* The text, NUL-terminated, is the caller's to free; fd stays open. -E2BIG for more than max
 * bytes, -ENOMEM, or read()'s error. */
int proc_file_read(int fd, size_t max, char **ret_text);
