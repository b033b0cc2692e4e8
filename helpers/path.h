/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Paths as text. */
#pragma once

#include <stdbool.h>

/* Is path root itself, or below it? Slashes at the end of root do not count. */
bool path_is_below(const char *path, const char *root);
/* Is one of its parts ".."? */
bool path_has_step_up(const char *path);
