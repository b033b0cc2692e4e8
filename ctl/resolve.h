/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looks names up without waiting for a file system that does not answer. */
#pragma once

/* As realpath(3), for at most 3 s: the process that hangs longer is left alone. *ret_path is the
 * caller's to free. -errno as realpath() has it; -ETIMEDOUT, which was complained of; -ENOMEM. */
int resolve_path(const char *name, char **ret_path);
