/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcaudit-files: locks of ESXi's, which lie as files beside what they lock. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Does a host have the file at path open, one of VMware's by its name? inode and uid are the
 * file's. */
bool vmware_is_locked(const char *path, uint64_t inode, uint32_t uid);
