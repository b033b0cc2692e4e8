/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VMDK extents: sound ones of each kind read as what they were made of, and nothing is found; each
 * structure that is damaged is told by its kind; QEMU's own images read as QEMU reads them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "lib/bytes.h"
#include "lib/cleanup.h"
#include "lib/format.h"
#include "lib/vmdk.h"

enum {
    SECTOR = 512,
    FILE_MAX = 1 << 20,
    GRAIN = 4096,
    STREAM_GRAIN = 65536,
    ANY = -1,                   /* an issue kind: none at all */
};

struct file {
    uint8_t bytes[FILE_MAX];
    uint64_t size;
    uint8_t disk[3 * FILE_MAX]; /* what a guest reads */
    uint64_t disk_size;
};

static void put(struct file *file, uint64_t at, uint64_t value, unsigned size)
{
    assert_true(at + size <= FILE_MAX);
    for (unsigned i = 0; i < size; i++)
        file->bytes[at + i] = (uint8_t)(value >> (8 * i));
}

/* Data of one grain, in the disk at guest and, if wanted, in the file at host. */
static void fill(struct file *file, uint64_t guest, uint64_t host, uint64_t size)
{
    for (uint64_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)(7 * i + 13 * (i / 256) + guest / SECTOR + 1);

        if (guest + i < file->disk_size)
            file->disk[guest + i] = byte;
        if (host > 0)
            file->bytes[host + i] = byte;
    }
}

/* ---- makers ------------------------------------------------------------------------------- */

static const char descriptor_text[] =
    "# Disk DescriptorFile\nversion=1\nCID=1234abcd\nparentCID=ffffffff\n"
    "createType=\"monolithicSparse\"\nRW 4196 SPARSE \"a.vmdk\"\n";

static void put_header(struct file *file, uint64_t at, uint32_t version, uint32_t flags,
                       uint64_t sectors, uint64_t grain)
{
    memcpy(file->bytes + at, "KDMV", 4);
    put(file, at + 4, version, 4);
    put(file, at + 8, flags, 4);
    put(file, at + 12, sectors, 8);
    put(file, at + 20, grain, 8);
    put(file, at + 28, 1, 8);
    put(file, at + 36, 2, 8);
    put(file, at + 44, 512, 4);
    memcpy(file->bytes + at + 73, "\n \r\n", 4);
    memcpy(file->bytes + SECTOR, descriptor_text, sizeof(descriptor_text));
}

enum {                          /* host offsets of the sparse extent */
    SPARSE_SECOND = 3 * SECTOR, /* redundant directory; its tables follow */
    SPARSE_SECOND_TABLE = 4 * SECTOR,
    SPARSE_DIRECTORY = 12 * SECTOR,
    SPARSE_TABLE = 13 * SECTOR,
    SPARSE_GRAINS = 24 * SECTOR,
};

/* Two tables; the last grain is cut by the disk's end, and one is of zeros. */
static void make_sparse(struct file *file)
{
    static const struct { uint32_t grain, sector; } entries[] = {
        { 0, 24 }, { 3, 1 }, { 511, 40 }, { 512, 48 }, { 524, 32 },
    };

    file->size = 56 * SECTOR;
    file->disk_size = 4196 * SECTOR;
    put_header(file, 0, 1, 1 | 2 | 4, 4196, 8);
    put(file, 48, SPARSE_SECOND / SECTOR, 8);
    put(file, 56, SPARSE_DIRECTORY / SECTOR, 8);
    put(file, 64, SPARSE_GRAINS / SECTOR, 8);
    for (unsigned i = 0; i < 2; i++) {
        put(file, SPARSE_SECOND + 4 * i, 4 + 4 * i, 4);
        put(file, SPARSE_DIRECTORY + 4 * i, 13 + 4 * i, 4);
    }
    for (size_t i = 0; i < ELEMENTSOF(entries); i++) {
        put(file, SPARSE_TABLE + 4 * entries[i].grain, entries[i].sector, 4);
        put(file, SPARSE_SECOND_TABLE + 4 * entries[i].grain, entries[i].sector, 4);
        if (entries[i].sector > 1)
            fill(file, (uint64_t)entries[i].grain * GRAIN,
                 (uint64_t)entries[i].sector * SECTOR, GRAIN);
    }
}

/* A compressed grain at host; where the next sector begins. */
static uint64_t put_grain(struct file *file, uint64_t number, uint64_t host, uint64_t marker)
{
    uint64_t guest = number * STREAM_GRAIN;
    uLongf length = FILE_MAX - host - marker;

    fill(file, guest, 0, STREAM_GRAIN);
    assert_int_equal(compress(file->bytes + host + marker, &length, file->disk + guest,
                              STREAM_GRAIN), Z_OK);
    if (marker > 0) {
        put(file, host, guest / SECTOR, 8);
        put(file, host + 8, length, 4);
    }
    return round_up(host + marker + length, SECTOR);
}

/* Header, grains, table, directory, footer, end, each with its marker. */
static void make_stream(struct file *file)
{
    uint64_t at = 4 * SECTOR, first = at, second, table, directory;

    file->disk_size = 20 * STREAM_GRAIN;
    put_header(file, 0, 3, 1 | 1 << 16 | 1 << 17, file->disk_size / SECTOR, 128);
    put(file, 56, UINT64_MAX, 8);
    put(file, 64, 4, 8);
    put(file, 77, 1, 2);
    second = at = put_grain(file, 2, at, 12);
    at = put_grain(file, 19, at, 12);
    put(file, at, 4, 8);        /* sectors of a grain table */
    put(file, at + 12, 1, 4);
    table = at += SECTOR;
    put(file, table + 4 * 2, first / SECTOR, 4);
    put(file, table + 4 * 19, second / SECTOR, 4);
    at += 4 * SECTOR;
    put(file, at, 1, 8);
    put(file, at + 12, 2, 4);   /* grain directory */
    directory = at += SECTOR;
    put(file, directory, table / SECTOR, 4);
    at += SECTOR;
    put(file, at, 1, 8);
    put(file, at + 12, 3, 4);   /* footer */
    at += SECTOR;
    memcpy(file->bytes + at, file->bytes, SECTOR);
    put(file, at + 56, directory / SECTOR, 8);
    file->size = at + 2 * SECTOR;
}

/* Without markers, and with all tables at the beginning. */
static void make_unmarked(struct file *file)
{
    uint64_t at = 8 * SECTOR;

    file->disk_size = 20 * STREAM_GRAIN;
    put_header(file, 0, 3, 1 | 1 << 16, file->disk_size / SECTOR, 128);
    put(file, 56, 3, 8);
    put(file, 64, 8, 8);
    put(file, 77, 1, 2);
    put(file, 3 * SECTOR, 4, 4);
    put(file, 4 * SECTOR + 4 * 7, at / SECTOR, 4);
    at = put_grain(file, 7, at, 0);
    put(file, 4 * SECTOR + 4 * 8, at / SECTOR, 4);
    file->size = put_grain(file, 8, at, 0);
}

enum {
    COWD_DIRECTORY = 4 * SECTOR,
    COWD_TABLE = 5 * SECTOR,
    COWD_GRAINS = 37 * SECTOR,
    ENTRIES_OF_COWD = 4096,
};

static void make_cowd(struct file *file)
{
    file->size = 40 * SECTOR;
    file->disk_size = 5000 * SECTOR;
    memcpy(file->bytes, "COWD", 4);
    put(file, 4, 1, 4);
    put(file, 8, 3, 4);
    put(file, 12, 5000, 4);
    put(file, 16, 1, 4);
    put(file, 20, COWD_DIRECTORY / SECTOR, 4);
    put(file, 24, 2, 4);
    put(file, COWD_DIRECTORY, COWD_TABLE / SECTOR, 4);  /* the second table is not there */
    for (unsigned i = 0; i < 3; i++) {
        put(file, COWD_TABLE + 4 * (10 + 5 * i), COWD_GRAINS / SECTOR + i, 4);
        fill(file, (10 + 5 * i) * SECTOR, COWD_GRAINS + i * SECTOR, SECTOR);
    }
}

enum {
    SE_VOLATILE = SECTOR,
    SE_DIRECTORY = 16 * SECTOR,
    SE_TABLES = 24 * SECTOR,
    SE_FREE = 152 * SECTOR,
    SE_BACKMAP = 160 * SECTOR,
    SE_GRAINS = 176 * SECTOR,
};

static void make_sesparse(struct file *file)
{
    static const uint64_t header[] = {
        0xcafebabe, 0x200000001, 5000, 8, 64, 0, 0, 0, 0, 0, 1, 1, 2, 2, 4, 8, 16, 1, 24, 128, 152,
        8, 160, 16, 176, 5000,
    };

    file->size = SE_GRAINS + 3 * GRAIN;
    file->disk_size = 5000 * SECTOR;
    for (size_t i = 0; i < ELEMENTSOF(header); i++)
        put(file, 8 * i, header[i], 8);
    put(file, SE_VOLATILE, 0xcafecafe, 8);
    put(file, SE_DIRECTORY, UINT64_C(0x1000000000000001), 8);   /* of two tables the second */
    put(file, SE_TABLES + 64 * SECTOR + 8 * 4, UINT64_C(0x2000000000000000), 8);
    put(file, SE_TABLES + 64 * SECTOR + 8 * 5, UINT64_C(0x1000000000000000), 8);
    for (unsigned i = 0; i < 3; i++) {
        put(file, SE_TABLES + 64 * SECTOR + 8 * (10 + i),
            UINT64_C(0x3000000000000000) | (uint64_t)i << 48, 8);
        fill(file, (10 + i) * GRAIN, SE_GRAINS + i * GRAIN, GRAIN);
    }
}

/* ---- reading ------------------------------------------------------------------------------ */

struct opened {
    struct qca_io *io;
    struct qca_image *image;
};

static void open_file(const struct file *file, struct opened *ret)
{
    struct qca_error error;

    *ret = (struct opened){ 0 };
    assert_int_equal(qca_io_new_memory(file->bytes, file->size, &ret->io), 0);
    if (qca_image_open(ret->io, NULL, &error, &ret->image) < 0)
        fail_msg("%s", error.text);
}

static void done(struct opened *opened)
{
    qca_image_free(opened->image);
    qca_io_free(opened->io);
}

static int refuse(void *userdata, const struct qca_reference *reference, struct qca_io **ret_io,
                  struct qca_file_id *ret_id)
{
    return -ENOENT;
}

/* Where the parent is, and its file once it is open. */
struct folder {
    const char *path;
    int fd;
};

static int from_folder(void *userdata, const struct qca_reference *reference,
                       struct qca_io **ret_io, struct qca_file_id *ret_id)
{
    struct folder *folder = userdata;
    char path[64];

    snprintf(path, sizeof(path), "%s/%s", folder->path, reference->name);
    assert_int_equal(folder->fd, -1);
    folder->fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(folder->fd >= 0);
    *ret_id = (struct qca_file_id){ .a = 1, .b = 1 };
    return qca_io_new_fd(folder->fd, ret_io);
}

static int read_chain(struct qca_image *image, uint8_t *buf, uint64_t size, qca_resolve_fn resolve,
                      void *userdata)
{
    struct qca_chain *chain = NULL;
    struct qca_map *map = NULL;
    struct qca_extent extent;
    uint64_t at = 0;
    int r = qca_chain_open(image, NULL, resolve, userdata, NULL, &chain);

    if (r == 0)
        r = qca_map_new(chain, NULL, NULL, &map);
    if (r == 0)
        assert_int_equal(qca_map_size(map), size);
    while (r == 0 && at < size) {
        assert_int_equal(qca_map_next(map, at, &extent), 1);
        r = qca_map_read(map, &extent, 0, buf + at, extent.length);
        at += extent.length;
    }
    qca_map_free(map);
    qca_chain_free(chain);
    return r;
}

/* The first error of a read, or 0 with the disk in buf. */
static int read_disk(struct qca_image *image, uint8_t *buf, uint64_t size)
{
    return read_chain(image, buf, size, refuse, NULL);
}

/* Whatever is only said to be another's is taken for zeros. */
static void forget_parent(struct qca_image *image)
{
    struct vmdk_extent *extent = image->own;

    assert_true(extent->layout.parent_unknown);
    extent->layout.parent_unknown = false;
}

static uint32_t check_file(const struct file *file, int kind, bool deep, uint64_t *ret_all)
{
    const struct qca_check_options options = { .deep = deep };
    struct qca_check_result result;
    struct opened opened;
    uint32_t n;

    open_file(file, &opened);
    assert_int_equal(qca_check(opened.image, &options, &result), 0);
    *ret_all = result.corruptions + result.leaks + result.check_errors;
    for (int i = 0; i < _QCA_ISSUE_MAX; i++)
        *ret_all += qca_check_count(&result, i);
    n = kind == ANY ? 0 : qca_check_count(&result, kind);
    qca_check_result_done(&result);
    done(&opened);
    return n;
}

static const struct maker {
    const char *name;
    void (*make)(struct file *file);
    bool has_descriptor;
} makers[] = {
    { "sparse", make_sparse, true },
    { "stream", make_stream, true },
    { "unmarked", make_unmarked, true },
    { "cowd", make_cowd, false },
    { "sesparse", make_sesparse, false },
};

static void sound_ones_read_as_they_were_made(void **state)
{
    struct file *file = calloc(1, sizeof(*file));
    uint8_t *disk = malloc(sizeof(file->disk));

    assert_non_null(file);
    assert_non_null(disk);
    for (size_t i = 0; i < ELEMENTSOF(makers); i++) {
        struct opened opened;
        uint64_t all;

        memset(file, 0, sizeof(*file));
        makers[i].make(file);
        for (int deep = 0; deep < 2; deep++) {
            check_file(file, ANY, deep, &all);
            if (all != 0)
                fail_msg("%s: something was found", makers[i].name);
        }
        open_file(file, &opened);
        if (!makers[i].has_descriptor) {
            assert_int_equal(read_disk(opened.image, disk, file->disk_size), -EOPNOTSUPP);
            forget_parent(opened.image);
        }
        assert_int_equal(read_disk(opened.image, disk, file->disk_size), 0);
        if (memcmp(disk, file->disk, file->disk_size) != 0)
            fail_msg("%s: another content", makers[i].name);
        done(&opened);
    }
    free(disk);
    free(file);
}

/* ---- damage ------------------------------------------------------------------------------- */

enum { SPARSE, STREAM, UNMARKED, COWD, SESPARSE };

static const struct damage {
    unsigned maker;
    uint64_t at;                /* from the end, when it is negative */
    uint64_t value;
    unsigned size;
    int issue;
} damages[] = {
    { SPARSE, 73, 0x0a0d0a, 3, QCA_ISSUE_TEXT_TRANSFER },
    { SPARSE, 72, 1, 1, QCA_ISSUE_DIRTY_BIT },
    { SPARSE, 44, 0, 4, QCA_ISSUE_FIELD_INVALID },
    { SPARSE, 44, 513, 4, QCA_ISSUE_FIELD_INVALID },
    { SPARSE, 44, 256, 4, QCA_ISSUE_FIELD_INVALID },
    { SPARSE, 20, 0, 8, QCA_ISSUE_FIELD_INVALID },
    { SPARSE, 20, 9, 8, QCA_ISSUE_FIELD_INVALID },
    { SPARSE, 20, 4, 8, QCA_ISSUE_FIELD_INVALID },
    { SPARSE, 20, 0x200001, 8, QCA_ISSUE_FIELD_INVALID },
    { SPARSE, 12, UINT64_C(1) << 53, 8, QCA_ISSUE_FIELD_INVALID },
    { SPARSE, 77, 2, 2, QCA_ISSUE_FIELD_INVALID },
    { SPARSE, 77, 1, 2, QCA_ISSUE_FIELD_INVALID },
    { SPARSE, 56, 0, 8, QCA_ISSUE_FIELD_INVALID },
    { SPARSE, 56, UINT64_C(1) << 62, 8, QCA_ISSUE_FIELD_INVALID },
    { SPARSE, 48, UINT64_C(1) << 62, 8, QCA_ISSUE_FIELD_INVALID },
    { SPARSE, 64, 57, 8, QCA_ISSUE_FIELD_INVALID },
    { SPARSE, 56, 57, 8, QCA_ISSUE_TABLE_OUT_OF_FILE },
    { SPARSE, 48, 57, 8, QCA_ISSUE_TABLE_OUT_OF_FILE },
    { SPARSE, 56, 1, 8, QCA_ISSUE_METADATA_SHARED },
    { SPARSE, SPARSE_DIRECTORY + 4, 53, 4, QCA_ISSUE_TABLE_OUT_OF_FILE },
    { SPARSE, SPARSE_SECOND + 4, 53, 4, QCA_ISSUE_TABLE_OUT_OF_FILE },
    { SPARSE, SPARSE_DIRECTORY + 4, 14, 4, QCA_ISSUE_METADATA_SHARED },
    { SPARSE, SPARSE_DIRECTORY + 4, 0, 4, QCA_ISSUE_COPY_DIFFERS },
    { SPARSE, SPARSE_SECOND + 4, 0, 4, QCA_ISSUE_COPY_DIFFERS },
    { SPARSE, SPARSE_SECOND_TABLE, 0, 4, QCA_ISSUE_COPY_DIFFERS },
    { SPARSE, SPARSE_SECOND_TABLE + 4 * 524, 0, 4, QCA_ISSUE_COPY_DIFFERS },
    { SPARSE, SPARSE_TABLE, 56, 4, QCA_ISSUE_OUT_OF_FILE },
    { SPARSE, SPARSE_TABLE, UINT32_MAX, 4, QCA_ISSUE_OUT_OF_FILE },
    { SPARSE, SPARSE_TABLE, 40, 4, QCA_ISSUE_BLOCK_OVERLAP },
    { SPARSE, SPARSE_TABLE, 41, 4, QCA_ISSUE_BLOCK_OVERLAP },
    { SPARSE, SPARSE_TABLE, 14, 4, QCA_ISSUE_DATA_ON_METADATA },
    { SPARSE, SPARSE_TABLE, 0, 4, QCA_ISSUE_BLOCK_UNUSED },
    { SPARSE, 8, 3, 4, QCA_ISSUE_DATA_ON_METADATA },     /* 1 is a sector without the flag */
    { STREAM, (uint64_t)-1024, 0, 4, QCA_ISSUE_TRAILER_MISSING },
    { STREAM, (uint64_t)-1536 + 12, 2, 4, QCA_ISSUE_TRAILER_MISSING },
    { STREAM, (uint64_t)-512, 1, 4, QCA_ISSUE_TRAILER_MISSING },
    { STREAM, (uint64_t)-1024 + 4, 4, 4, QCA_ISSUE_FIELD_INVALID },
    { STREAM, (uint64_t)-1024 + 56, UINT64_MAX, 8, QCA_ISSUE_FIELD_INVALID },
    { STREAM, (uint64_t)-1024 + 20, 100, 8, QCA_ISSUE_FIELD_INVALID },
    { STREAM, (uint64_t)-1024 + 20, 8192, 8, QCA_ISSUE_FIELD_INVALID },
    { STREAM, 4 * SECTOR, 1, 8, QCA_ISSUE_COMPRESSED_BAD },
    { STREAM, 4 * SECTOR + 8, 0, 4, QCA_ISSUE_COMPRESSED_BAD },
    { STREAM, 4 * SECTOR + 8, 2 * STREAM_GRAIN + 1, 4, QCA_ISSUE_COMPRESSED_BAD },
    { STREAM, 4 * SECTOR + 20, 0x5555, 2, QCA_ISSUE_COMPRESSED_BAD },
    { STREAM, 4 * SECTOR + 8, STREAM_GRAIN, 4, QCA_ISSUE_OUT_OF_FILE },
    { STREAM, (uint64_t)-2048, 0xffff, 4, QCA_ISSUE_TABLE_OUT_OF_FILE },
    { UNMARKED, 4 * SECTOR, UINT32_MAX, 4, QCA_ISSUE_OUT_OF_FILE },
    { UNMARKED, 4 * SECTOR, 4, 4, QCA_ISSUE_COMPRESSED_BAD },
    { UNMARKED, 4 * SECTOR, 8, 4, QCA_ISSUE_BLOCK_OVERLAP },
    { UNMARKED, 8 * SECTOR + 4, 0x5555, 2, QCA_ISSUE_COMPRESSED_BAD },
    { COWD, 4, 2, 4, QCA_ISSUE_FIELD_INVALID },
    { COWD, 16, 0, 4, QCA_ISSUE_FIELD_INVALID },
    { COWD, 20, 0, 4, QCA_ISSUE_FIELD_INVALID },
    { COWD, 24, 1, 4, QCA_ISSUE_FIELD_INVALID },
    { COWD, 24, (32 << 20) + 1, 4, QCA_ISSUE_FIELD_INVALID },
    { COWD, 20, 1, 4, QCA_ISSUE_METADATA_SHARED },
    { COWD, 20, 40, 4, QCA_ISSUE_TABLE_OUT_OF_FILE },
    { COWD, 1648, 1, 4, QCA_ISSUE_DIRTY_BIT },
    { COWD, COWD_DIRECTORY, 30, 4, QCA_ISSUE_TABLE_OUT_OF_FILE },
    { COWD, COWD_TABLE, 40, 4, QCA_ISSUE_OUT_OF_FILE },
    { COWD, COWD_TABLE, 38, 4, QCA_ISSUE_BLOCK_OVERLAP },
    { COWD, COWD_TABLE, 4, 4, QCA_ISSUE_DATA_ON_METADATA },
    { SESPARSE, 24, 16, 8, QCA_ISSUE_FIELD_INVALID },
    { SESPARSE, 32, 32, 8, QCA_ISSUE_FIELD_INVALID },
    { SESPARSE, 40, 1, 8, QCA_ISSUE_FIELD_INVALID },
    { SESPARSE, 72, 1, 8, QCA_ISSUE_FIELD_INVALID },
    { SESPARSE, 300, 1, 1, QCA_ISSUE_FIELD_INVALID },
    { SESPARSE, 80, 100000, 8, QCA_ISSUE_FIELD_INVALID },
    { SESPARSE, 128, 0, 8, QCA_ISSUE_FIELD_INVALID },
    { SESPARSE, 136, 0, 8, QCA_ISSUE_FIELD_INVALID },
    { SESPARSE, 136, (512 << 10) + 1, 8, QCA_ISSUE_FIELD_INVALID },
    { SESPARSE, 152, UINT64_MAX, 8, QCA_ISSUE_FIELD_INVALID },
    { SESPARSE, SE_VOLATILE, 0, 1, QCA_ISSUE_FIELD_INVALID },
    { SESPARSE, SE_VOLATILE + 100, 1, 1, QCA_ISSUE_FIELD_INVALID },
    { SESPARSE, SE_VOLATILE + 24, 1, 1, QCA_ISSUE_LOG_PENDING },
    { SESPARSE, 176, 150, 8, QCA_ISSUE_METADATA_SHARED },
    { SESPARSE, 176, 300, 8, QCA_ISSUE_TABLE_OUT_OF_FILE },
    { SESPARSE, SE_DIRECTORY, UINT64_C(0x1000000000000002), 8, QCA_ISSUE_OUT_OF_FILE },
    { SESPARSE, SE_DIRECTORY, UINT64_C(0x2000000000000001), 8, QCA_ISSUE_OUT_OF_FILE },
    { SESPARSE, SE_TABLES + 64 * SECTOR, 1, 8, QCA_ISSUE_BLOCK_INVALID },
    { SESPARSE, SE_TABLES + 64 * SECTOR, UINT64_C(4) << 60, 8, QCA_ISSUE_BLOCK_INVALID },
    { SESPARSE, SE_TABLES + 64 * SECTOR, UINT64_C(0x3003) << 48, 8, QCA_ISSUE_OUT_OF_FILE },
    { SESPARSE, SE_TABLES + 64 * SECTOR, UINT64_C(0x3fffffffffffffff), 8,
      QCA_ISSUE_OUT_OF_FILE },
    { SESPARSE, SE_TABLES + 64 * SECTOR, UINT64_C(0x3002) << 48, 8, QCA_ISSUE_BLOCK_OVERLAP },
};

static void each_damage_is_told(void **state)
{
    struct file *file = calloc(1, sizeof(*file));

    assert_non_null(file);
    for (size_t i = 0; i < ELEMENTSOF(damages); i++) {
        const struct damage *damage = &damages[i];
        uint64_t all, at;

        memset(file, 0, sizeof(*file));
        makers[damage->maker].make(file);
        at = damage->at > INT64_MAX ? file->size + damage->at : damage->at;
        put(file, at, damage->value, damage->size);
        if (check_file(file, damage->issue, true, &all) == 0)
            fail_msg("%zu: %s at %llu: no %s", i, makers[damage->maker].name,
                     (unsigned long long)at, qca_issue_kind_name(damage->issue));
    }
    free(file);
}

/* An entry that is read wrongly is never read as something else. */
static void damaged_grains_are_not_read(void **state)
{
    struct file *file = calloc(1, sizeof(*file));
    uint8_t *disk = malloc(sizeof(file->disk));
    struct opened opened;

    assert_non_null(file);
    assert_non_null(disk);
    make_stream(file);
    put(file, 4 * SECTOR, 1, 8);
    open_file(file, &opened);
    assert_int_equal(read_disk(opened.image, disk, file->disk_size), -EBADMSG);
    done(&opened);
    memset(file, 0, sizeof(*file));
    make_sesparse(file);
    put(file, SE_TABLES + 64 * SECTOR, 1, 8);
    open_file(file, &opened);
    forget_parent(opened.image);
    assert_int_equal(read_disk(opened.image, disk, file->disk_size), -EBADMSG);
    done(&opened);
    put(file, SE_VOLATILE + 24, 1, 1);
    open_file(file, &opened);
    assert_int_equal(read_disk(opened.image, disk, file->disk_size), -EOPNOTSUPP);
    done(&opened);
    free(disk);
    free(file);
}

/* A grain is more than a digest reads at once. */
static void large_grains_have_a_digest(void **state)
{
    enum { SECTORS = 0x1080, GRAINS = 2, SIZE = COWD_GRAINS + GRAINS * SECTORS * SECTOR };
    struct file *file = calloc(1, sizeof(*file));
    uint8_t *bytes = malloc(SIZE);
    struct qca_content_digest digest;
    struct qca_chain *chain;
    struct qca_image *image;
    struct qca_map *map;
    struct qca_io *io;

    assert_non_null(file);
    assert_non_null(bytes);
    make_cowd(file);
    put(file, 12, GRAINS * SECTORS, 4);
    put(file, 16, SECTORS, 4);
    memset(file->bytes + COWD_TABLE, 0, ENTRIES_OF_COWD * 4);
    for (unsigned i = 0; i < GRAINS; i++)
        put(file, COWD_TABLE + 4 * i, COWD_GRAINS / SECTOR + i * SECTORS, 4);
    memset(bytes, 'x', SIZE);
    memcpy(bytes, file->bytes, COWD_GRAINS);
    assert_int_equal(qca_io_new_memory(bytes, SIZE, &io), 0);
    assert_int_equal(qca_image_open(io, NULL, NULL, &image), 0);
    forget_parent(image);
    assert_int_equal(qca_chain_open(image, NULL, refuse, NULL, NULL, &chain), 0);
    assert_int_equal(qca_map_new(chain, NULL, NULL, &map), 0);
    assert_int_equal(qca_content_digest(map, NULL, NULL, &digest), 0);
    assert_true(digest.complete);
    assert_int_equal(digest.data_bytes, GRAINS * SECTORS * SECTOR);
    qca_map_free(map);
    qca_chain_free(chain);
    qca_image_free(image);
    qca_io_free(io);
    free(bytes);
    free(file);
}

/* However a file is cut, something is found that was not there before, and it ends. */
static void cut_files_are_told(void **state)
{
    struct file *file = calloc(1, sizeof(*file));

    assert_non_null(file);
    for (size_t i = 0; i < ELEMENTSOF(makers); i++) {
        uint64_t all;

        memset(file, 0, sizeof(*file));
        makers[i].make(file);
        /* behind the descriptor, within which it is not opened */
        for (file->size -= SECTOR; file->size >= 3 * SECTOR; file->size -= SECTOR) {
            check_file(file, ANY, true, &all);
            if (all == 0 && i != UNMARKED)
                fail_msg("%s, %llu bytes: nothing was found", makers[i].name,
                         (unsigned long long)file->size);
        }
    }
    free(file);
}

/* ---- QEMU ----------------------------------------------------------------------------------- */

static bool have_qemu(void)
{
    return system("qemu-img --version >/dev/null 2>&1 && qemu-io --version >/dev/null 2>&1") == 0;
}

static void load(const char *path, uint8_t *bytes, size_t size, uint64_t *ret_size)
{
    FILE *stream = fopen(path, "re");

    assert_non_null(stream);
    *ret_size = fread(bytes, 1, size, stream);
    assert_true(feof(stream));
    fclose(stream);
}

static void run_in(const char *directory, const char *command)
{
    char *whole;

    assert_true(asprintf(&whole, "cd %s && { %s; } >/dev/null", directory, command) > 0);
    if (system(whole) != 0)
        fail_msg("%s", whole);
    free(whole);
}

static void compare_with_qemu(const char *directory)
{
    struct file *file = calloc(1, sizeof(*file));
    uint8_t *disk = malloc(sizeof(file->disk));
    struct folder folder = { directory, -1 };
    char path[64];
    struct opened opened;
    uint64_t all;

    assert_non_null(file);
    assert_non_null(disk);
    snprintf(path, sizeof(path), "%s/a.vmdk", directory);
    load(path, file->bytes, sizeof(file->bytes), &file->size);
    snprintf(path, sizeof(path), "%s/a.raw", directory);
    load(path, file->disk, sizeof(file->disk), &file->disk_size);
    check_file(file, ANY, true, &all);
    assert_int_equal(all, 0);
    open_file(file, &opened);
    assert_int_equal(read_chain(opened.image, disk, file->disk_size, from_folder,
                                &folder), 0);
    assert_memory_equal(disk, file->disk, file->disk_size);
    done(&opened);
    if (folder.fd >= 0)
        close(folder.fd);
    free(disk);
    free(file);
}

static void qemu_s_images_read_as_qemu_reads_them(void **state)
{
    static const char *const commands[] = {
        "qemu-img create -q -f vmdk a.vmdk 1500k && qemu-io -f vmdk -c 'write -P 1 0 70k' "
        "-c 'write -P 2 1400k 100k' -c 'write -P 3 512k 512' a.vmdk",
        "qemu-img create -q -f vmdk -o zeroed_grain=on a.vmdk 1500k && qemu-io -f vmdk "
        "-c 'write -P 1 0 70k' -c 'write -z 512k 128k' a.vmdk",
        "qemu-img create -q -f raw b.raw 1500k && qemu-io -f raw -c 'write -P 1 0 70k' "
        "-c 'write -P 7 1300k 100k' b.raw && qemu-img convert -f raw -O vmdk "
        "-o subformat=streamOptimized b.raw a.vmdk",
        "qemu-img create -q -f vmdk b.raw 1500k && qemu-io -f vmdk -c 'write -P 1 0 70k' "
        "-c 'write -P 7 1300k 100k' b.raw && qemu-img create -q -f vmdk -o zeroed_grain=on "
        "-b b.raw -F vmdk a.vmdk && qemu-io -f vmdk -c 'write -P 9 1k 1k' "
        "-c 'write -z 1280k 64k' a.vmdk",
    };
    char directory[] = "/tmp/test-vmdk.XXXXXX";

    if (!have_qemu())
        skip();
    assert_non_null(mkdtemp(directory));
    for (size_t i = 0; i < ELEMENTSOF(commands); i++) {
        run_in(directory, commands[i]);
        run_in(directory, "qemu-img convert -f vmdk -O raw a.vmdk a.raw");
        compare_with_qemu(directory);
    }
    run_in(directory, "rm a.vmdk a.raw b.raw");
    assert_int_equal(rmdir(directory), 0);
}

static void store(const char *directory, const char *name, const void *bytes, size_t size)
{
    char path[64];
    FILE *stream;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    stream = fopen(path, "we");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, size, stream), size);
    assert_int_equal(fclose(stream), 0);
}

/* What this file makes by hand is what QEMU takes for such. */
static void qemu_reads_what_was_made(void **state)
{
    static const char *const types[] = { [COWD] = "VMFSSPARSE", [SESPARSE] = "SESPARSE" };
    struct file *file = calloc(1, sizeof(*file));
    uint8_t *disk = malloc(sizeof(file->disk));
    char directory[] = "/tmp/test-vmdk.XXXXXX", path[64], text[300];
    uint64_t size;

    assert_non_null(file);
    assert_non_null(disk);
    if (!have_qemu()) {
        free(file);
        free(disk);
        skip();
    }
    assert_non_null(mkdtemp(directory));
    for (size_t i = 0; i < ELEMENTSOF(makers); i++) {
        memset(file, 0, sizeof(*file));
        makers[i].make(file);
        store(directory, makers[i].has_descriptor ? "a.vmdk" : "e.vmdk", file->bytes, file->size);
        if (!makers[i].has_descriptor) {
            snprintf(text, sizeof(text), "# Disk DescriptorFile\nversion=1\nCID=1\n"
                     "parentCID=ffffffff\ncreateType=\"%s\"\nRW 5000 %s \"e.vmdk\"\n",
                     i == COWD ? "vmfsSparse" : "seSparse", types[i]);
            store(directory, "a.vmdk", text, strlen(text));
        }
        run_in(directory, "qemu-img convert -f vmdk -O raw a.vmdk a.raw");
        snprintf(path, sizeof(path), "%s/a.raw", directory);
        load(path, disk, sizeof(file->disk), &size);
        assert_int_equal(size, file->disk_size);
        assert_memory_equal(disk, file->disk, size);
    }
    run_in(directory, "rm a.vmdk e.vmdk a.raw");
    assert_int_equal(rmdir(directory), 0);
    free(disk);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_ones_read_as_they_were_made),
        cmocka_unit_test(each_damage_is_told),
        cmocka_unit_test(damaged_grains_are_not_read),
        cmocka_unit_test(large_grains_have_a_digest),
        cmocka_unit_test(cut_files_are_told),
        cmocka_unit_test(qemu_s_images_read_as_qemu_reads_them),
        cmocka_unit_test(qemu_reads_what_was_made),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
