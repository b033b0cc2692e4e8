/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: what of a host no image lies in, and what others would like to read. */
#pragma once

#include <stdbool.h>

/* Does a real path lie in the system's configuration, logs, mail, credentials, or among the hidden
 * files of a home? libvirt's session pools (.local/share) are none. By its text alone. */
bool path_is_private(const char *path);
