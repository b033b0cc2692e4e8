/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Archives of plain files as POSIX has them (ustar), as far as this project writes them. */
#include "helpers/tar.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "helpers/write.h"
#include "lib/bytes.h"

#define BLOCK 512
#define END_BLOCKS 2

/* POSIX.1-2017, pax, "ustar Interchange Format". Numbers are octal digits and a NUL. */
struct ustar {
    char name[100];
    char mode[8], uid[8], gid[8];
    char size[12], mtime[12];
    char checksum[8];
    char type;
    char link[100];
    char magic[6], version[2];
    char user[32], group[32];
    char device_major[8], device_minor[8];
    char prefix[155];
    char rest[12];
};
_Static_assert(sizeof(struct ustar) == BLOCK, "a header is one block");

static const char zeros[BLOCK * END_BLOCKS];

static bool name_is_valid(const char *name, size_t size)
{
    char before = '/';

    for (size_t i = 0; i < size; i++) {
        char c = name[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_' || (c == '.' && before != '/') || (c == '/' && before != '/')))
            return false;
        before = c;
    }
    return size > 0 && size <= TAR_NAME_MAX && before != '/';
}

/* The sum with its own field as blanks; six digits, a NUL and a blank. */
static void checksum(const struct ustar *header, char ret_text[sizeof(header->checksum)])
{
    const unsigned char *bytes = (const unsigned char *)header;
    const size_t at = offsetof(struct ustar, checksum);
    unsigned sum = 0;

    for (size_t i = 0; i < sizeof(*header); i++)
        sum += i >= at && i < at + sizeof(header->checksum) ? ' ' : bytes[i];
    (void)snprintf(ret_text, sizeof(header->checksum), "%06o", sum);
    ret_text[sizeof(header->checksum) - 1] = ' ';
}

int tar_write(int fd, const char *name, uint64_t seconds, const void *data, size_t size)
{
    struct ustar header = { .type = '0', .magic = "ustar", .version = { '0', '0' },
                            .mode = "0000600", .uid = "0000000", .gid = "0000000",
                            .device_major = "0000000", .device_minor = "0000000" };
    int r;

    if (!name_is_valid(name, strlen(name)) || size > TAR_MEMBER_MAX ||
        seconds >= UINT64_C(1) << 33)
        return -EINVAL;
    memcpy(header.name, name, strlen(name));
    (void)snprintf(header.size, sizeof(header.size), "%011zo", size);
    (void)snprintf(header.mtime, sizeof(header.mtime), "%011llo", (unsigned long long)seconds);
    checksum(&header, header.checksum);
    r = write_all(fd, &header, sizeof(header));
    if (r >= 0)
        r = write_all(fd, data, size);
    if (r >= 0)
        r = write_all(fd, zeros, (BLOCK - size % BLOCK) % BLOCK);
    return r;
}

int tar_write_end(int fd)
{
    return write_all(fd, zeros, sizeof(zeros));
}

/* Digits up to the NUL at the field's end. */
static bool octal(const char *field, size_t size, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (size_t i = 0; i + 1 < size; i++) {
        if (field[i] < '0' || field[i] > '7')
            return false;
        value = value << 3 | (uint64_t)(field[i] - '0');
    }
    *ret_value = value;
    return field[size - 1] == '\0';
}

static int only_zeros(struct qca_io *io, uint64_t offset, uint64_t end)
{
    char block[4096];

    for (size_t n; offset < end; offset += n) {
        int r;

        n = min_u64(sizeof(block), end - offset);
        r = qca_io_read(io, offset, block, n);
        if (r < 0)
            return r;
        if (length_without_zeros((const uint8_t *)block, n) > 0)
            return -EBADMSG;
    }
    return 0;
}

int tar_next(struct qca_io *io, uint64_t *offset, struct tar_member *ret_member)
{
    struct tar_member member = { .offset = *offset + BLOCK };
    uint64_t size = qca_io_size(io), padded;
    char sum[sizeof(((struct ustar *)NULL)->checksum)];
    struct ustar header;
    int r;

    if (*offset > size || size - *offset < BLOCK)
        return -ENODATA;
    r = qca_io_read(io, *offset, &header, sizeof(header));
    if (r < 0)
        return r;
    if (memcmp(&header, zeros, sizeof(header)) == 0)
        return size - *offset < sizeof(zeros) ? -ENODATA
               : size - *offset > sizeof(zeros) + (UINT64_C(1) << 20)
                   ? -EBADMSG           /* others fill up to a record, and no more */
                   : only_zeros(io, *offset, size);
    checksum(&header, sum);
    if (memcmp(header.magic, "ustar", 6) != 0 || memcmp(header.version, "00", 2) != 0 ||
        header.type != '0' || header.prefix[0] != '\0' || header.link[0] != '\0' ||
        memcmp(header.checksum, sum, sizeof(sum)) != 0 ||
        !octal(header.size, sizeof(header.size), &member.size) || member.size > TAR_MEMBER_MAX ||
        !name_is_valid(header.name, strnlen(header.name, sizeof(header.name))))
        return -EBADMSG;
    memcpy(member.name, header.name, strnlen(header.name, sizeof(header.name)));
    padded = round_up(member.size, BLOCK);
    if (padded > size - member.offset)
        return -ENODATA;
    r = only_zeros(io, member.offset + member.size, member.offset + padded);
    if (r < 0)
        return r;
    *offset = member.offset + padded;
    *ret_member = member;
    return 1;
}
