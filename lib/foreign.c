/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Functions that the formats of others have in common. */
#include "foreign.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "bytes.h"
#include "check.h"

enum { CHUNK = 64 << 10 };      /* bytes of a directory, read at a time */

int foreign_read(struct qca_image *image, struct qca_error *error, uint64_t offset, void *buf,
                 size_t size, const char *what)
{
    uint64_t end;
    int r;

    if (add_overflows(offset, size, &end) || end > image->info.file_size)
        return error_set(error, EINVAL, QCA_ERROR_TRUNCATED,
                         (struct error_field){ NULL, offset, 0, image->info.file_size },
                         "the file ends after %" PRIu64 " bytes, before the end of %s",
                         image->info.file_size, what);
    r = qca_io_read(image->io, offset, buf, size);
    return r < 0 ? error_set_read(error, r, offset, what) : 0;
}

int foreign_other(const struct qca_image *image, struct qca_error *error)
{
    return error_set(error, EMEDIUMTYPE, QCA_ERROR_NOT_THIS_FORMAT, (struct error_field){ 0 },
                     "the file is not a %s image", qca_format_name(image->format->format));
}

int foreign_invalid(struct qca_error *error, const char *name, uint64_t offset, uint64_t value,
                    uint64_t bound, const char *text)
{
    return error_set(error, EINVAL, QCA_ERROR_HEADER,
                     (struct error_field){ name, offset, value, bound }, "%s", text);
}

int foreign_size(struct qca_image *image, struct qca_error *error, const char *name,
                 uint64_t offset, uint64_t units, uint64_t unit)
{
    if (units > (uint64_t)INT64_MAX / unit)
        return foreign_invalid(error, name, offset, units, (uint64_t)INT64_MAX / unit,
                               "the virtual size is beyond the largest file");
    image->info.virtual_size = units * unit;
    return 0;
}

int foreign_name(const uint8_t *bytes, size_t length, char **ret_name)
{
    char *name = NULL;

    length = strnlen((const char *)bytes, min_u64(length, FOREIGN_NAME_MAX));
    if (length > 0) {
        name = strndup((const char *)bytes, length);
        if (!name)
            return -ENOMEM;
    }
    *ret_name = name;
    return 0;
}

/* One code point as UTF-8, in at most 4 bytes. */
static size_t utf8_put(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

int foreign_utf16(const uint8_t *bytes, size_t length, bool big_endian, char **ret_name)
{
    char text[FOREIGN_NAME_MAX + 1];
    size_t n = 0;

    for (size_t i = 0; i + 2 <= length && n + 4 <= FOREIGN_NAME_MAX; i += 2) {
        uint32_t code = big_endian ? be16_get(bytes + i) : le16_get(bytes + i), low;

        if (code == 0)
            break;
        low = i + 4 > length ? 0 : big_endian ? be16_get(bytes + i + 2) : le16_get(bytes + i + 2);
        if (code >= 0xd800 && code < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            i += 2;
        } else if (code >= 0xd800 && code < 0xe000)
            code = 0xfffd;      /* half of a pair */
        n += utf8_put(code, text + n);
    }
    return foreign_name((const uint8_t *)text, n, ret_name);
}

void foreign_windows_path(char *path)
{
    bool absolute = path[0] == '\\' || (isalpha((unsigned char)path[0]) && path[1] == ':');
    size_t n = strlen(path), skip = 0;

    for (size_t i = 0; i < n; i++) {
        if (path[i] == '\\')
            path[i] = '/';
        if (absolute && path[i] == '/')
            skip = i + 1;
    }
    if (!absolute && n > 2 && path[0] == '.' && path[1] == '/')
        skip = 2;
    memmove(path, path + skip, n - skip + 1);
}

int foreign_windows_parent(struct qca_image *image)
{
    struct qca_image_info *info = &image->info;

    if (!info->parent)
        return 0;
    foreign_windows_path(info->parent);
    if (!*info->parent) {               /* a drive or a folder alone */
        free(info->parent);
        info->parent = NULL;
        return 0;
    }
    info->parent_format = strdup(qca_format_name(info->format));
    return info->parent_format ? 0 : -ENOMEM;
}

void foreign_identity(const uint8_t uuid[static 16], bool little_endian,
                      struct qca_identity *ret_identity)
{
    static const uint8_t swapped[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
    static const uint8_t zeros[16];
    struct qca_identity identity = { "" };
    size_t n = 0;

    for (unsigned i = 0; i < 16 && memcmp(uuid, zeros, sizeof(zeros)) != 0; i++) {
        bool hyphen = i == 4 || i == 6 || i == 8 || i == 10;

        n += (size_t)snprintf(identity.text + n, sizeof(identity.text) - n, "%s%02x",
                              hyphen ? "-" : "", uuid[little_endian ? swapped[i] : i]);
    }
    *ret_identity = identity;
}

int foreign_add_extent(struct qca_image_info *info, const struct qca_extent_file *extent)
{
    struct qca_extent_file *extents;

    /* powers of two: as many are allocated */
    if ((info->n_extents & (info->n_extents - 1)) == 0) {
        extents = reallocarray(info->extents, info->n_extents ? 2 * info->n_extents : 1,
                               sizeof(*extents));
        if (!extents)
            return -ENOMEM;
        info->extents = extents;
    }
    info->extents[info->n_extents++] = *extent;
    return 0;
}

int foreign_issue_field(struct check *check, const struct foreign_field *field)
{
    struct qca_error error;
    int r = check_issue_at(check, QCA_ISSUE_FIELD_INVALID, QCA_TABLE_HEADER, field->offset, 0);

    if (r < 0)
        return r;
    error_set(&error, EINVAL, QCA_ERROR_HEADER,
              (struct error_field){ field->name, field->offset, field->value, 0 },
              "the field %s at byte %" PRIu64 " holds %" PRIu64 ", which the format does not allow",
              field->name, field->offset, field->value);
    return check_unfinished(check, -EINVAL, &error);
}

int foreign_new_own(struct qca_image *image, size_t size, struct qca_error *error)
{
    image->own = calloc(1, size);
    return image->own ? 0 : error_set_memory(error);
}

static int read_entries(struct qca_image *image, const struct foreign_directory *directory,
                        uint64_t *tables)
{
    _cleanup_free_ uint8_t *chunk = malloc(CHUNK);
    uint64_t per_chunk = CHUNK / directory->entry_size;
    int r = chunk ? 0 : -ENOMEM;

    for (uint64_t i = 0; i < directory->n && r >= 0; i += per_chunk) {
        uint64_t now = min_u64(per_chunk, directory->n - i),
                 at = directory->offset + i * directory->entry_size;

        if (at >= image->info.file_size)
            break;
        r = qca_io_read(image->io, at, chunk, now * directory->entry_size);
        for (uint64_t k = 0; k < now && r >= 0; k++)
            tables[i + k] = directory->place(image, chunk + k * directory->entry_size);
    }
    return r;
}

int foreign_directory_read(struct qca_image *image, const struct foreign_directory *directory,
                           uint64_t memory, struct qca_error *error, uint64_t **ret_tables)
{
    _cleanup_free_ uint64_t *tables = NULL;
    int r;

    if (directory->n > memory / sizeof(*tables))
        return error_set(error, ENOMEM, QCA_ERROR_MEMORY,
                         (struct error_field){ directory->name, directory->offset, directory->n,
                                               memory / sizeof(*tables) },
                         "the directory of tables needs more memory than allowed");
    tables = calloc(directory->n ? directory->n : 1, sizeof(*tables));
    if (!tables)
        return error_set_memory(error);
    r = read_entries(image, directory, tables);
    if (r == -ENOMEM)
        return error_set_memory(error);
    if (r < 0)
        return error_set_read(error, r, directory->offset, "the directory of tables");
    *ret_tables = TAKE_PTR(tables);
    return 0;
}
