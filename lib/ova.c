/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* OVA (DMTF DSP0243 2.1, 9): a tar archive whose first member is the OVF descriptor. Its headers
 * are POSIX.1-2017's, pax, "ustar Interchange Format" and "pax Header Block", and GNU tar's ("Basic
 * Tar Format"): numbers of base 256 and long names. */
#include "ova.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "bytes.h"
#include "foreign.h"
#include "io.h"

enum {
    BLOCK = 512,
    /* Offsets and sizes of the fields in a header. */
    AT_SIZE = 124,
    SIZE_SIZE = 12,
    AT_SUM = 148,
    SUM_SIZE = 8,
    AT_TYPE = 156,
    AT_MAGIC = 257,
    AT_PREFIX = 345,
    PREFIX_SIZE = 155,
    NAME_SIZE = 100,
    HEADERS_MAX = 4096,         /* those of long names among them */
    /* GNU tar's sparse files ("Old GNU Format"): the header's byte that says that a block with more
     * of the file's map follows it, and the same byte of such a block. */
    TYPE_SPARSE = 'S',
    AT_EXTENDED = 482,
    AT_MORE = 504,
    MAPS_MAX = 1 << 16,         /* such blocks of a member, each of 21 pieces */
    RECORDS_MAX = 64 << 10,     /* bytes of a pax header that are read */
};

/* Name and size that extended headers give the member that follows them. */
struct extended {
    char name[OVA_NAME_SIZE];
    bool has_name, has_size;
    bool sparse;                /* what is in the archive is not the file's bytes alone */
    bool sparse_name;           /* name is that of the file, "path" one that stands for it */
    uint64_t size;
};

/* Any other archive may be what a guest keeps on a raw disk, as on a tape. */
static bool ova_probe(struct probe *probe)
{
    size_t length = strnlen((const char *)probe->head, NAME_SIZE);

    return memcmp(probe->head + AT_MAGIC, "ustar", 5) == 0 && length > 4 &&
           strncasecmp((const char *)probe->head + length - 4, ".ovf", 4) == 0;
}

static int ova_open(struct qca_image *image, struct qca_error *error)
{
    struct probe probe;
    int r = probe_begin(image->io, &probe);

    if (r < 0)
        return error_set_read(error, r, 0, "the archive's header");
    return ova_probe(&probe) ? 0 : foreign_other(image, error);
}

/* ---- a header ------------------------------------------------------------------------------ */

/* Octal digits, that spaces may stand before, and a space or NUL behind; or, by the first bit, a
 * number of base 256. False for what is none, or negative. */
static bool number_get(const uint8_t *field, unsigned size, uint64_t *ret_value)
{
    uint64_t value = 0;
    unsigned i = 0;

    if (field[0] & 0x80) {
        value = field[0] & 0x7f;
        for (i = 1; i < size; i++) {
            if (value >> 55 != 0)
                return false;
            value = value << 8 | field[i];
        }
        *ret_value = value;
        return true;
    }
    while (i < size && field[i] == ' ')
        i++;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
        value = value << 3 | (uint64_t)(field[i] - '0');
    if (i < size && field[i] != ' ' && field[i] != '\0')
        return false;
    *ret_value = value;
    return true;
}

/* The sum of all bytes, those of the sum itself as spaces; old tools took bytes as signed. */
static bool sum_is_right(const uint8_t *header)
{
    uint64_t stored;
    uint32_t plain = 0;
    int32_t with_sign = 0;

    for (unsigned i = 0; i < BLOCK; i++) {
        uint8_t byte = i >= AT_SUM && i < AT_SUM + SUM_SIZE ? ' ' : header[i];

        plain += byte;
        with_sign += (int8_t)byte;
    }
    return number_get(header + AT_SUM, SUM_SIZE, &stored) &&
           (stored == plain || (with_sign >= 0 && stored == (uint64_t)with_sign));
}

/* Such a header only describes the member that follows: pax, Solaris' and GNU tar's. */
static bool is_extended(uint8_t type)
{
    return type != '\0' && strchr("xXgLK", type) != NULL;
}

static bool has_data(uint8_t type)
{
    return type < '1' || type > '6';    /* not links, devices and directories */
}

/* The name that the header itself has: with its prefix, where it is a POSIX one. */
static void name_get(const uint8_t *header, char ret_name[OVA_NAME_SIZE])
{
    const char *name = (const char *)header, *prefix = (const char *)header + AT_PREFIX;
    bool posix = memcmp(header + AT_MAGIC, "ustar\0", 6) == 0 && prefix[0] != '\0';
    int n = snprintf(ret_name, OVA_NAME_SIZE, "%.*s%s%.*s", posix ? PREFIX_SIZE : 0, prefix,
                     posix ? "/" : "", NAME_SIZE, name);

    if (n >= OVA_NAME_SIZE)
        ret_name[0] = '\0';
}

/* ---- extended headers ---------------------------------------------------------------------- */

static void extended_name(struct extended *extended, const char *name, size_t length)
{
    length = strnlen(name, length);
    extended->has_name = true;
    if (length >= OVA_NAME_SIZE)
        length = 0;
    memcpy(extended->name, name, length);
    extended->name[length] = '\0';
}

/* GNU tar's manual, "PAX Format, Versions 0.0 to 1.0", has the records of sparse files. */
static void record_take(struct extended *extended, const char *record, size_t size)
{
    static const char sparse[] = "GNU.sparse.", sparse_name[] = "GNU.sparse.name=";
    const size_t n = sizeof(sparse) - 1, n_name = sizeof(sparse_name) - 1;

    if (size > n && memcmp(record, sparse, n) == 0)
        extended->sparse = true;
    if (size > n_name && memcmp(record, sparse_name, n_name) == 0) {
        extended_name(extended, record + n_name, size - n_name);
        extended->sparse_name = true;
    }
    if (size > 5 && memcmp(record, "path=", 5) == 0 && !extended->sparse_name)
        extended_name(extended, record + 5, size - 5);
    if (size > 5 && memcmp(record, "size=", 5) == 0) {
        extended->size = 0;
        extended->has_size = true;
        for (size_t i = 5; i < size && record[i] >= '0' && record[i] <= '9'; i++)
            if (__builtin_mul_overflow(extended->size, UINT64_C(10), &extended->size) ||
                add_overflows(extended->size, (uint64_t)(record[i] - '0'), &extended->size))
                extended->size = UINT64_MAX;
    }
}

/* Records of a pax header: "LENGTH KEY=VALUE\n", the length of all of it. */
static void records_take(struct extended *extended, const char *text, size_t size)
{
    size_t at = 0;

    while (at < size) {
        size_t length = 0, start = at;

        while (at < size && text[at] >= '0' && text[at] <= '9' && length <= size)
            length = length * 10 + (size_t)(text[at++] - '0');
        if (at >= size || text[at] != ' ' || length > size - start || length < at - start + 2)
            return;
        at++;
        record_take(extended, text + at, start + length - 1 - at);
        at = start + length;
    }
}

/* The data of a header that only tells of the member behind it. */
static int extended_read(const struct ova *ova, uint8_t type, const struct ova_member *member,
                         struct extended *extended)
{
    size_t size = (size_t)min_u64(member->size, RECORDS_MAX);
    _cleanup_free_ char *text = malloc(size + 1);
    int r;

    if (!text)
        return -ENOMEM;
    r = qca_io_read(ova->image->io, member->offset, text, size);
    if (r < 0)
        return r;
    if (type == 'L')
        extended_name(extended, text, size);
    else if (type == 'x' || type == 'X') {
        records_take(extended, text, size);
        if (size < member->size) {      /* the map of a sparse file: any name may follow it */
            extended->sparse = true;
            if (!extended->has_name)
                extended_name(extended, "", 0);
        }
    }
    return 0;
}

/* ---- the walk ------------------------------------------------------------------------------ */

static int ova_issue(const struct ova *ova, enum qca_issue_kind kind, uint64_t header,
                     uint64_t offset, uint64_t size)
{
    struct qca_issue issue = check_issue_new(kind, QCA_TABLE_HEADER);

    issue.table_offset = header;
    issue.index = kind == QCA_ISSUE_MEMBER_OUT_OF_FILE ? AT_SIZE : AT_SUM;
    issue.host_offset = offset;
    issue.host_length = size;
    return check_issue(ova->check, &issue);
}

static int member_keep(struct ova *ova, const struct ova_member *member)
{
    struct ova_member *grown;

    if (ova->n == OVA_MEMBERS_MAX)
        return -E2BIG;
    if ((ova->n & (ova->n - 1)) == 0) {
        grown = reallocarray(ova->members, ova->n ? 2 * ova->n : 1, sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        ova->members = grown;
    }
    ova->members[ova->n++] = *member;
    return 0;
}

/* Name and size of a member are its extended header's, where it has them. */
static void extended_apply(struct extended *extended, struct ova_member *member)
{
    if (extended->has_name)
        memcpy(member->name, extended->name, sizeof(member->name));
    if (extended->has_size)
        member->size = extended->size;
    member->whole = !extended->sparse;
    *extended = (struct extended) { .has_name = false };
}

/* The blocks of an old sparse file's map lie between its header and its data. */
static int map_skip(const struct ova *ova, const uint8_t *header, struct ova_member *member)
{
    uint8_t more = header[AT_EXTENDED], block[BLOCK];

    member->whole = false;
    for (unsigned i = 0; more != 0 && ova->image->info.file_size - member->offset >= BLOCK; i++) {
        int r = i == MAPS_MAX ? -E2BIG
                              : qca_io_read(ova->image->io, member->offset, block, sizeof(block));

        if (r == 0 && check_advance(ova->check, BLOCK) < 0)
            r = -ECANCELED;
        if (r < 0)
            return r;
        more = block[AT_MORE];
        member->offset += BLOCK;
    }
    return 0;
}

static int data_take(struct ova *ova, uint8_t type, const struct ova_member *member,
                     struct extended *extended)
{
    if (is_extended(type))
        return extended_read(ova, type, member, extended);
    return type == '\0' || strchr("0127S", type) ? member_keep(ova, member) : 0;
}

/* One header, and what it tells of. 1: there are more; 0: it was the last, or nothing behind it
 * can be found. *complete: all members were seen. */
static int member_take(struct ova *ova, uint64_t *at, struct extended *extended, bool *complete)
{
    uint64_t file = ova->image->info.file_size;
    struct ova_member member = { .header = *at, .offset = *at + BLOCK };
    uint8_t header[BLOCK], type;
    int r = qca_io_read(ova->image->io, *at, header, sizeof(header));

    if (r < 0)
        return r;
    *complete = length_without_zeros(header, sizeof(header)) == 0;
    if (*complete)
        return 0;
    if (file - *at < BLOCK)
        return ova_issue(ova, QCA_ISSUE_MEMBER_OUT_OF_FILE, *at, *at, BLOCK);
    if (!sum_is_right(header) || !number_get(header + AT_SIZE, SIZE_SIZE, &member.size))
        return ova_issue(ova, QCA_ISSUE_MEMBER_HEADER_INVALID, *at, *at, BLOCK);
    type = header[AT_TYPE];
    name_get(header, member.name);
    if (!is_extended(type))
        extended_apply(extended, &member);
    r = type == TYPE_SPARSE ? map_skip(ova, header, &member) : 0;
    if (r < 0)
        return r;
    if (!has_data(type)) {
        member.size = 0;
        member.whole = false;
    }
    if (member.size > file - member.offset)
        return ova_issue(ova, QCA_ISSUE_MEMBER_OUT_OF_FILE, *at, member.offset, member.size);
    r = data_take(ova, type, &member, extended);
    if (r < 0)
        return r;
    *at = member.offset + min_u64(round_up(member.size, BLOCK), file - member.offset);
    *complete = *at >= file;        /* nothing marks the end: so do some tools */
    return !*complete;
}

static int ova_walk(struct ova *ova)
{
    struct extended extended = { .has_name = false };
    uint64_t at = 0;
    bool complete = false;
    int r = 1;

    for (unsigned i = 0; r > 0 && i < HEADERS_MAX; i++) {
        r = member_take(ova, &at, &extended, &complete);
        if (r > 0 && check_advance(ova->check, BLOCK) < 0)
            r = -ECANCELED;
    }
    if (r == -E2BIG)            /* so many that it is no appliance: nothing is missed */
        return 0;
    return r == 0 && complete ? ova_check_names(ova) : r;
}

static int ova_check(struct qca_image *image, struct check *check)
{
    struct ova ova = { .image = image, .check = check };
    struct qca_error error = { .kind = QCA_ERROR_NONE };
    int r = ova_walk(&ova);

    free(ova.members);
    if (r < 0 && r != -ENOMEM && r != -ECANCELED)
        return check_unfinished(check, error_set_read(&error, r, 0, "the archive"), &error);
    return r < 0 ? r : 0;
}

const struct format format_ova = {
    .format = QCA_FORMAT_OVA,
    .probe = ova_probe,
    .open = ova_open,
    .check = ova_check,
};
