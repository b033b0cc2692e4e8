/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declarations that the formats of others have in common. */
#pragma once

#include "error.h"
#include "format.h"

enum { FOREIGN_NAME_MAX = 1023 };       /* bytes of a name; longer ones QEMU refuses, too */

/* The header's bytes, which must be in the file. */
int foreign_read(struct qca_image *image, struct qca_error *error, uint64_t offset, void *buf,
                 size_t size, const char *what);
/* Other content than the format that was demanded. */
int foreign_other(const struct qca_image *image, struct qca_error *error);
/* A field holds what it must not. */
int foreign_invalid(struct qca_error *error, const char *name, uint64_t offset, uint64_t value,
                    uint64_t bound, const char *text);
/* Sets the virtual size; one beyond the largest file is an error of that field. */
int foreign_size(struct qca_image *image, struct qca_error *error, const char *name,
                 uint64_t offset, uint64_t units, uint64_t unit);
/* A name of length bytes, as it is up to its first NUL. NULL in *ret_name when it is empty. */
int foreign_name(const uint8_t *bytes, size_t length, char **ret_name);
/* UTF-16 of length bytes as UTF-8, up to its first NUL; NULL in *ret_name when it is empty. */
int foreign_utf16(const uint8_t *bytes, size_t length, bool big_endian, char **ret_name);
/* A path as Windows writes it, in place, as what it means on this host: one that begins with a
 * drive, a share or a device is the file of that name beside the image, any other is relative to
 * it. Only for names that are known to be such, or that have a backslash and no slash. */
void foreign_windows_path(char *path);

/* A UUID as text, with its first three fields little-endian, as a GUID of Microsoft's is stored, or
 * as all else in the order of its digits. One of zeros is none: "". */
void foreign_identity(const uint8_t uuid[static 16], bool little_endian,
                      struct qca_identity *ret_identity);

/* The parent's name, when there is one, becomes what it means on this host, and its format is the
 * image's own. -ENOMEM. */
int foreign_windows_parent(struct qca_image *image);

/* Another file that holds a piece of the disk; its name becomes the image's. -ENOMEM. */
int foreign_add_extent(struct qca_image_info *info, const struct qca_extent_file *extent);

struct check;

/* A header field by which it is impossible to say where blocks lie. */
struct foreign_field {
    const char *name;           /* the specification's; NULL: there is none */
    uint64_t offset;            /* host offset */
    uint64_t value;
};

/* The check of an image that has such a field. Not finished, as nothing else was looked at. */
int foreign_issue_field(struct check *check, const struct foreign_field *field);
/* size bytes of zeros as the image's private part. -ENOMEM, with the reason in error. */
int foreign_new_own(struct qca_image *image, size_t size, struct qca_error *error);
/* A directory of tables: what leads to the tables that map blocks. */
struct foreign_directory {
    const char *name;           /* of the field that says where it is */
    uint64_t offset;            /* host offset */
    uint64_t n;                 /* entries */
    unsigned entry_size;        /* bytes */
    /* The host offset of the table that the entry leads to, 0 for none. */
    uint64_t (*place)(const struct qca_image *image, const uint8_t *entry);
};

/* Its tables, to be freed by the caller; entries behind the end of the file are 0. Takes no more
 * than memory bytes. -ENOMEM, or what the read gave. */
int foreign_directory_read(struct qca_image *image, const struct foreign_directory *directory,
                           uint64_t memory, struct qca_error *error, uint64_t **ret_tables);
