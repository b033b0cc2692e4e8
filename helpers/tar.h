/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Archives of plain files as POSIX has them (ustar), as far as this project writes them: short
 * names of plain characters, nothing but regular files. Anything else is refused when it is
 * read. */
#pragma once

#include "qcaudit/qcaudit.h"

#define TAR_NAME_MAX 99
#define TAR_MEMBER_MAX (UINT64_C(64) << 20)     /* bytes of one member */

struct tar_member {
    char name[TAR_NAME_MAX + 1];    /* relative, of [A-Za-z0-9._-] and single slashes; no component
                                     * begins with a dot */
    uint64_t offset, size;          /* of its data, which is in the archive */
};

/* Appends a member to what fd writes. -errno of write(); -EINVAL for a name or a size that is not
 * one of an archive. */
int tar_write(int fd, const char *name, uint64_t seconds, const void *data, size_t size);
/* The archive's end. */
int tar_write_end(int fd);

/* The member whose header is at *offset, which is set behind it: 1; 0 at the archive's end, behind
 * which only zeros may be; -EBADMSG for anything that tar_write() does not write; -ENODATA where
 * the file ends before the archive does. */
int tar_next(struct qca_io *io, uint64_t *offset, struct tar_member *ret_member);
