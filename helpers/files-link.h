/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: links to block devices, and which of them are followed. */
#pragma once

#include "helpers/files-mount.h"
#include "helpers/files-output.h"
#include "helpers/files-place.h"

/* FILES_LEFT_NONE: a device that the configuration names; else why the link at path is not
 * followed. ret_name, PATH_MAX bytes: the device, "" when it leads to none. */
enum files_left_out link_look(const struct place *place, const struct mount_table *mounts,
                              const char *path, char *ret_name);
/* Says what link_look() found. True: it is one of the datastore's files. */
bool link_tell(struct place *place, struct output *output, const struct mount_table *mounts,
               const char *path);
