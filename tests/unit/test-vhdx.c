/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VHDX: what a guest reads of it, and each kind of damage once; its log. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/crc32c.h"
#include "lib/vhdx.h"
#include "qcaudit/qcaudit.h"
#include "vhd-kit.h"

/* A disk of six blocks: data, not present, zero, data, unmapped, and one that is cut, undefined. */
enum {
    MIB = 1 << 20,
    KIB = 1 << 10,
    DISK = 5 * MIB + 4096,
    HEADER_1 = 64 * KIB,
    HEADER_2 = 128 * KIB,
    REGIONS_1 = 192 * KIB,
    REGIONS_2 = 256 * KIB,
    LOG = MIB,
    TABLE = 2 * MIB,
    METADATA = 3 * MIB,
    ITEMS = METADATA + 64 * KIB,
    PARAMETERS = ITEMS,
    DISK_SIZE = ITEMS + 8,
    PAGE83 = ITEMS + 16,
    LOGICAL = ITEMS + 32,
    PHYSICAL = ITEMS + 36,
    LOCATOR = ITEMS + 64,
    FIRST = 4 * MIB,
    FOURTH = 5 * MIB,
    FILE_SIZE = 6 * MIB,
    BITMAP = FILE_SIZE,         /* of a differencing disk */
    RATIO = 4096,               /* blocks of a chunk */
    SECTOR = 4096,
};

static const uint8_t page83[16] = { 0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45,
                                    0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46 };
static const uint8_t logical[16] = { 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
                                     0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f };
static const uint8_t physical[16] = { 0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44,
                                      0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56 };

static void sum(uint8_t *at, size_t size)
{
    memset(at + 4, 0, 4);
    put_le(at + 4, crc32c(0, at, size), 4);
}

static void sum_all(uint8_t *file)
{
    sum(file + HEADER_1, 4096);
    sum(file + HEADER_2, 4096);
    sum(file + REGIONS_1, 64 * KIB);
    sum(file + REGIONS_2, 64 * KIB);
}

static void header_put(uint8_t *header, uint64_t sequence)
{
    memcpy(header, "head", 4);
    put_le(header + 8, sequence, 8);
    put_le(header + 66, 1, 2);
    put_le(header + 68, MIB, 4);
    put_le(header + 72, LOG, 8);
}

static void region_put(uint8_t *entry, const uint8_t *guid, uint64_t offset)
{
    memcpy(entry, guid, 16);
    put_le(entry + 16, offset, 8);
    put_le(entry + 24, MIB, 4);
    put_le(entry + 28, 1, 4);
}

static void item_put(uint8_t *file, unsigned index, const uint8_t *guid, uint32_t offset,
                     uint32_t length)
{
    uint8_t *entry = file + METADATA + 32 * (index + 1);

    memcpy(entry, guid, 16);
    put_le(entry + 16, offset - METADATA, 4);
    put_le(entry + 20, length, 4);
    put_le(entry + 24, 4, 4);
    put_le(file + METADATA + 10, index + 1, 2);
}

static void entry_put(uint8_t *file, unsigned index, uint64_t offset, unsigned state)
{
    put_le(file + TABLE + 8 * index, offset | state, 8);
}

static uint8_t *make(void)
{
    uint8_t *file = calloc(1, FILE_SIZE + MIB);

    assert_non_null(file);
    memcpy(file, "vhdxfile", 8);
    header_put(file + HEADER_1, 7);
    header_put(file + HEADER_2, 8);
    put_le(file + HEADER_2 + 16, 1, 8); /* who wrote it last */
    memcpy(file + REGIONS_1, "regi", 4);
    put_le(file + REGIONS_1 + 8, 2, 4);
    region_put(file + REGIONS_1 + 16, vhdx_table_region, TABLE);
    region_put(file + REGIONS_1 + 48, vhdx_metadata_region, METADATA);
    memcpy(file + REGIONS_2, file + REGIONS_1, 64 * KIB);
    memcpy(file + METADATA, "metadata", 8);
    item_put(file, 0, vhdx_parameters_item, PARAMETERS, 8);
    item_put(file, 1, vhdx_disk_size_item, DISK_SIZE, 8);
    item_put(file, 2, page83, PAGE83, 16);
    item_put(file, 3, logical, LOGICAL, 4);
    item_put(file, 4, physical, PHYSICAL, 4);
    put_le(file + PARAMETERS, MIB, 4);
    put_le(file + DISK_SIZE, DISK, 8);
    put_le(file + LOGICAL, 512, 4);
    put_le(file + PHYSICAL, 4096, 4);
    entry_put(file, 0, FIRST, VHDX_FULLY_PRESENT);
    entry_put(file, 2, 0, VHDX_ZERO);
    entry_put(file, 3, FOURTH, VHDX_FULLY_PRESENT);
    entry_put(file, 4, FIRST, VHDX_UNMAPPED);
    entry_put(file, 5, 0, VHDX_UNDEFINED);
    memset(file + FIRST, 1, MIB);
    memset(file + FOURTH, 4, MIB);
    sum_all(file);
    return file;
}

static uint8_t *make_disk(void)
{
    uint8_t *disk = calloc(1, DISK);

    assert_non_null(disk);
    memset(disk, 1, MIB);
    memset(disk + 3 * MIB, 4, MIB);
    return disk;
}

static void tell(const uint8_t *file, struct told *ret)
{
    tell_bytes(file, FILE_SIZE, QCA_FORMAT_UNKNOWN, ret);
}

static void the_checksum_is_castagnolis(void **state)
{
    uint8_t zeros[32] = { 0 };

    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
    assert_int_equal(crc32c(0, zeros, sizeof(zeros)), 0x8a9136aa);      /* RFC 3720, B.4 */
}

static void a_sound_image_is_read(void **state)
{
    _cleanup_free_ uint8_t *file = make(), *disk = make_disk();
    struct told told;

    tell(file, &told);
    assert_sound("dynamic", &told, disk, DISK);
    assert_int_equal(told.allocated, 2);
    memcpy(file + HEADER_2, file + HEADER_1, 4096);     /* as Disk2vhd writes them */
    tell(file, &told);
    assert_sound("equal headers", &told, disk, DISK);
}

/* Beyond one chunk, entries of bitmap blocks are between those of the disk's blocks. */
static void chunks_are_told_apart(void **state)
{
    const uint64_t size = (uint64_t)(RATIO + 1) * MIB;
    _cleanup_free_ uint8_t *file = make();
    struct told told, other;

    put_le(file + DISK_SIZE, size, 8);
    entry_put(file, 3, 0, VHDX_ZERO);
    entry_put(file, RATIO + 1, FOURTH, VHDX_FULLY_PRESENT);     /* block 4096 */
    tell(file, &told);
    assert_true(told.finished && told.has_content);
    assert_int_equal(told.n_kinds, 0);
    assert_int_equal(told.allocated, 2);
    entry_put(file, RATIO, FOURTH, VHDX_PARTIALLY_PRESENT);     /* a bitmap's: not looked at */
    tell(file, &other);
    assert_int_equal(other.n_kinds, 0);
    assert_memory_equal(told.content, other.content, 32);
    entry_put(file, RATIO + 1, 0, VHDX_ZERO);
    tell(file, &other);
    assert_memory_not_equal(told.content, other.content, 32);
}

static void log_guid_put(uint8_t *file)
{
    memset(file + HEADER_1 + 48, 'L', 16);
    memset(file + HEADER_2 + 48, 'L', 16);
    sum_all(file);
}

/* ---- differencing ------------------------------------------------------------------------- */

/* Block 0 is the layer's for some sectors, by the bitmap of its chunk. */
static uint8_t *make_differencing(void)
{
    uint8_t *file = make();

    put_le(file + PARAMETERS + 4, VHDX_HAS_PARENT, 4);
    item_put(file, 5, vhdx_parent_item, LOCATOR, 20);
    entry_put(file, 0, FIRST, VHDX_PARTIALLY_PRESENT);
    entry_put(file, RATIO, BITMAP, VHDX_FULLY_PRESENT);
    file[BITMAP] = 0xfe;                /* not the first sector */
    memset(file + BITMAP + 1, 0xff, 255);
    file[BITMAP + 255] = 0x7f;          /* not the last one */
    return file;
}

static size_t utf16_put(uint8_t *at, const char *text)
{
    for (size_t i = 0; text[i]; i++)
        put_le(at + 2 * i, (uint8_t)text[i], 2);
    return 2 * strlen(text);
}

/* Adds a key and its value to the parent locator. */
static void locator_put(uint8_t *file, const char *key, const char *value)
{
    uint8_t *locator = file + LOCATOR;
    unsigned n = locator[18]++;
    uint32_t at = 256 + n * 256;

    put_le(locator + 20 + 12 * n, at, 4);
    put_le(locator + 24 + 12 * n, at + 128, 4);
    put_le(locator + 28 + 12 * n, utf16_put(locator + at, key), 2);
    put_le(locator + 30 + 12 * n, utf16_put(locator + at + 128, value), 2);
    put_le(file + METADATA + 32 * 6 + 20, 2048, 4);
}

/* Told by either of two GUIDs; NULL: no word of it. */
static void the_parent_is_known_by_its_guid(void **state)
{
    static const struct {
        const char *first, *second;
        bool is_changed;
    } cases[] = {
        { "{A5A5A5A5-A5A5-A5A5-A5A5-A5A5A5A5A5A5}", NULL, false },
        { "{a5a5a5a5-a5a5-a5a5-a5a5-a5a5a5a5a5a4}", NULL, true },
        { "{a5a5a5a5-a5a5-a5a5-a5a5-a5a5a5a5a5a4}", "{a5a5a5a5-a5a5-a5a5-a5a5-a5a5a5a5a5a5}",
          false },
        { "{a5a5a5a5-a5a5-a5a5-a5a5-a5a5a5a5a5a4}", "{00000000-0000-0000-0000-000000000000}",
          true },
        { "{a5a5a5a5-a5a5", NULL, false },
        { NULL, NULL, false },
    };
    struct qca_image_info parent = {
        .format = QCA_FORMAT_VHDX, .virtual_size = DISK,
        .identity = { "a5a5a5a5-a5a5-a5a5-a5a5-a5a5a5a5a5a5" },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_free_ uint8_t *file = make_differencing();
        struct qca_check_result result;
        struct qca_image *image;
        struct qca_error error;
        struct qca_io *io;

        if (cases[i].first)
            locator_put(file, "parent_linkage", cases[i].first);
        if (cases[i].second)
            locator_put(file, "parent_linkage2", cases[i].second);
        locator_put(file, "volume_path", "\\\\?\\Volume{1}\\disks\\v.vhdx");
        locator_put(file, "absolute_win32_path", "C:\\disks\\a.vhdx");
        assert_int_equal(qca_io_new_memory(file, FILE_SIZE + MIB, &io), 0);
        assert_int_equal(qca_image_open(io, NULL, &error, &image), 0);
        assert_string_equal(qca_image_info(image)->parent, "a.vhdx");
        assert_int_equal(qca_check(image, NULL, &result), 0);
        assert_int_equal(
            qca_chain_link_check(&(struct qca_chain_link){
                                     .image = image, .parent = &parent,
                                     .parent_content = QCA_FORMAT_VHDX,
                                     .data_file_user = QCA_NO_LAYER,
                                 }, 0, &result), 0);
        assert_int_equal(qca_check_count(&result, QCA_ISSUE_PARENT_CHANGED),
                         cases[i].is_changed);
        assert_int_equal(result.n_issues, cases[i].is_changed);
        qca_check_result_done(&result);
        qca_image_free(image);
        qca_io_free(io);
    }
}

/* DataWriteGuid of the header with the higher sequence number, whose first fields are
 * little-endian. */
static void its_own_guid_is_the_current_header_s(void **state)
{
    _cleanup_free_ uint8_t *file = make();
    struct qca_image *image;
    struct qca_error error;
    struct qca_io *io;

    memset(file + HEADER_1 + 32, 0xee, 16);
    for (unsigned i = 0; i < 16; i++)
        file[HEADER_2 + 32 + i] = (uint8_t)i;
    sum_all(file);
    assert_int_equal(qca_io_new_memory(file, FILE_SIZE, &io), 0);
    assert_int_equal(qca_image_open(io, NULL, &error, &image), 0);
    assert_string_equal(qca_image_info(image)->identity.text,
                        "03020100-0504-0706-0809-0a0b0c0d0e0f");
    assert_string_equal(qca_image_info(image)->parent_identity.text, "");
    qca_image_free(image);
    qca_io_free(io);
}

static void differencing_is_mapped_by_sectors(void **state)
{
    _cleanup_free_ uint8_t *file = make_differencing(), *disk = make_disk();
    struct told told, raw;
    struct qca_image *image;
    struct qca_error error;
    struct qca_io *io;

    assert_int_equal(qca_io_new_memory(file, FILE_SIZE + MIB, &io), 0);
    assert_int_equal(qca_image_open(io, NULL, &error, &image), 0);
    tell_image(image, &told);
    assert_true(told.finished);
    assert_int_equal(told.n_kinds, 0);
    assert_false(told.has_content);     /* its parent has no name */
    qca_image_free(image);
    locator_put(file, "relative_path", "base.vhdx");
    assert_int_equal(qca_image_open(io, NULL, &error, &image), 0);
    assert_string_equal(qca_image_info(image)->parent, "base.vhdx");
    assert_string_equal(qca_image_info(image)->parent_format, "vhdx");
    tell_image(image, &told);
    memset(disk, 0, 512);
    memset(disk + MIB - 512, 0, 512);
    tell_bytes(disk, DISK, QCA_FORMAT_RAW, &raw);
    assert_true(told.has_content);
    assert_memory_equal(told.content, raw.content, 32);
    qca_image_free(image);
    qca_io_free(io);
}

static void bitmaps_must_be_sound(void **state)
{
    static const struct {
        uint64_t offset;
        unsigned state;
        enum qca_issue_kind kind;
    } entries[] = {
        { 0, VHDX_NOT_PRESENT, QCA_ISSUE_BLOCK_INVALID },       /* block 0 needs it */
        { BITMAP + MIB, VHDX_FULLY_PRESENT, QCA_ISSUE_OUT_OF_FILE },
        { METADATA, VHDX_FULLY_PRESENT, QCA_ISSUE_METADATA_SHARED },
        { FOURTH, VHDX_FULLY_PRESENT, QCA_ISSUE_BLOCK_REUSED },
    };

    for (size_t i = 0; i < ELEMENTSOF(entries); i++) {
        _cleanup_free_ uint8_t *file = make_differencing();
        struct told told;

        entry_put(file, RATIO, entries[i].offset, entries[i].state);
        tell_bytes(file, FILE_SIZE + MIB, QCA_FORMAT_UNKNOWN, &told);
        assert_kind("a bitmap", &told, entries[i].kind);
    }
}

/* ---- damage ------------------------------------------------------------------------------- */

static const struct damage {
    const char *what;
    unsigned at, size;
    uint64_t value;
    bool sum_again;             /* and of both copies of a region table */
    enum qca_issue_kind kind;
    bool finished, has_content;
} damages[] = {
    { "one header", HEADER_1 + 100, 2, 1, false, QCA_ISSUE_CHECKSUM_WRONG, true, true },
    { "one header's signature", HEADER_2, 4, 0, true, QCA_ISSUE_CHECKSUM_WRONG, true, true },
    { "one header's version", HEADER_2 + 66, 2, 2, true, QCA_ISSUE_FIELD_INVALID, true, true },
    { "equal sequence numbers", HEADER_1 + 8, 8, 8, true, QCA_ISSUE_COPY_DIFFERS, false, false },
    { "the log's version", HEADER_2 + 64, 2, 1, true, QCA_ISSUE_FIELD_INVALID, false, false },
    { "the log's length", HEADER_2 + 68, 4, MIB + 4096, true, QCA_ISSUE_FIELD_INVALID, false,
      false },
    { "the log's place", HEADER_2 + 72, 8, MIB / 2, true, QCA_ISSUE_FIELD_INVALID, false, false },
    { "a log outside", HEADER_2 + 72, 8, 6 * MIB, true, QCA_ISSUE_TABLE_OUT_OF_FILE, false, false },
    { "one region table", REGIONS_1 + 20, 2, 1, false, QCA_ISSUE_CHECKSUM_WRONG, true, true },
    { "the other region table", REGIONS_2 + 20, 2, 1, false, QCA_ISSUE_CHECKSUM_WRONG, true, true },
    { "a region outside", REGIONS_1 + 32, 8, FILE_SIZE, true, QCA_ISSUE_TABLE_OUT_OF_FILE, false,
      false },
    { "a region on the headers", REGIONS_1 + 32, 8, 0, true, QCA_ISSUE_METADATA_SHARED, false,
      false },
    { "a region on the log", REGIONS_1 + 32, 8, LOG, true, QCA_ISSUE_METADATA_SHARED, false,
      false },
    { "regions that overlap", REGIONS_1 + 32, 8, METADATA, true, QCA_ISSUE_METADATA_SHARED, false,
      false },
    { "a short table", REGIONS_1 + 40, 4, 0, true, QCA_ISSUE_FIELD_INVALID, false, false },
    { "an unknown region", REGIONS_1 + 16, 4, 1, true, QCA_ISSUE_FIELD_INVALID, false, false },
    { "an unknown item", METADATA + 32 + 64, 4, 1, false, QCA_ISSUE_FIELD_INVALID, false, false },
    { "an item outside", METADATA + 32 + 64 + 16, 4, MIB - 8, false, QCA_ISSUE_FIELD_INVALID, false,
      false },
    { "an item that is short", METADATA + 32 + 64 + 20, 4, 8, false, QCA_ISSUE_FIELD_INVALID, false,
      false },
    { "a missing item", METADATA + 10, 2, 4, false, QCA_ISSUE_FIELD_INVALID, false, false },
    { "a block's size", PARAMETERS, 4, 3 * MIB, false, QCA_ISSUE_FIELD_INVALID, false, false },
    { "a small block", PARAMETERS, 4, MIB / 2, false, QCA_ISSUE_FIELD_INVALID, false, false },
    { "a large block", PARAMETERS, 4, 512 * MIB, false, QCA_ISSUE_FIELD_INVALID, false, false },
    { "a parent without a name", PARAMETERS + 4, 4, 2, false, QCA_ISSUE_FIELD_INVALID, false,
      false },
    { "the logical sector", LOGICAL, 4, 1024, false, QCA_ISSUE_FIELD_INVALID, false, false },
    { "the physical sector", PHYSICAL, 4, 1024, false, QCA_ISSUE_FIELD_INVALID, true, true },
    { "the disk's size", DISK_SIZE, 8, DISK + 1, false, QCA_ISSUE_FIELD_INVALID, false, false },
    { "a disk too large", DISK_SIZE, 8, (UINT64_C(64) << 40) + 512, false, QCA_ISSUE_FIELD_INVALID,
      false, false },
    { "a disk larger than its table", DISK_SIZE, 8, UINT64_C(1) << 40, false,
      QCA_ISSUE_FIELD_INVALID, false, false },
    { "a reserved state", TABLE + 8, 8, 4, false, QCA_ISSUE_BLOCK_INVALID, true, false },
    { "a partial block", TABLE + 8, 8, 7, false, QCA_ISSUE_BLOCK_INVALID, true, false },
    { "a block outside", TABLE + 8, 8, FILE_SIZE | 6, false, QCA_ISSUE_OUT_OF_FILE, true, true },
    { "a block on metadata", TABLE + 8, 8, METADATA | 6, false, QCA_ISSUE_BLOCK_REUSED, true,
      true },
    { "a block on the log", TABLE + 8, 8, LOG | 6, false, QCA_ISSUE_BLOCK_REUSED, true, true },
    { "a block on the headers", TABLE + 8, 8, 6, false, QCA_ISSUE_BLOCK_REUSED, true, true },
    { "a block twice", TABLE + 8, 8, FIRST | 6, false, QCA_ISSUE_BLOCK_OVERLAP, true, true },
};

static void each_damage_is_found(void **state)
{
    for (size_t i = 0; i < ELEMENTSOF(damages); i++) {
        const struct damage *damage = &damages[i];
        _cleanup_free_ uint8_t *file = make();
        struct told told;

        put_le(file + damage->at, damage->value, damage->size);
        if (damage->sum_again) {
            memcpy(file + REGIONS_2, file + REGIONS_1, 64 * KIB);
            sum_all(file);
        }
        tell(file, &told);
        assert_kind(damage->what, &told, damage->kind);
        if (told.finished != damage->finished || told.has_content != damage->has_content)
            fail_msg("%s: finished %d, content %d", damage->what, told.finished, told.has_content);
    }
}

/* It is left alone, and blocks must leave it alone, too. */
static void an_unknown_region_may_be_there(void **state)
{
    _cleanup_free_ uint8_t *file = make();
    struct told told;

    put_le(file + REGIONS_1 + 8, 3, 4);
    region_put(file + REGIONS_1 + 80, logical, FILE_SIZE);      /* any other GUID */
    put_le(file + REGIONS_1 + 80 + 28, 0, 4);
    memcpy(file + REGIONS_2, file + REGIONS_1, 64 * KIB);
    sum_all(file);
    tell_bytes(file, FILE_SIZE + MIB, QCA_FORMAT_UNKNOWN, &told);
    assert_int_equal(told.n_kinds, 0);
    entry_put(file, 1, FILE_SIZE, VHDX_FULLY_PRESENT);
    tell_bytes(file, FILE_SIZE + MIB, QCA_FORMAT_UNKNOWN, &told);
    assert_kind("a block on an unknown region", &told, QCA_ISSUE_BLOCK_REUSED);
}

/* The file may end where the disk does, as QEMU makes fixed images. */
static void the_last_block_may_be_cut(void **state)
{
    _cleanup_free_ uint8_t *file = make();
    struct told told;

    entry_put(file, 5, FILE_SIZE, VHDX_FULLY_PRESENT);
    tell_bytes(file, FILE_SIZE + 4096, QCA_FORMAT_UNKNOWN, &told);
    assert_int_equal(told.n_kinds, 0);
    tell_bytes(file, FILE_SIZE + 4095, QCA_FORMAT_UNKNOWN, &told);
    assert_kind("the last block", &told, QCA_ISSUE_BLOCK_OUT_OF_FILE);
}

/* ---- reads that fail ---------------------------------------------------------------------- */

struct failing {
    const uint8_t *file;
    uint64_t offset;            /* reads of this byte fail */
};

static int64_t read_failing(void *userdata, uint64_t offset, void *buf, size_t size)
{
    const struct failing *failing = userdata;

    if (offset <= failing->offset && failing->offset < offset + size)
        return -EIO;
    memcpy(buf, failing->file + offset, size);
    return (int64_t)size;
}

/* The check is not finished, and says where; the image is opened all the same where what opens it
 * can be read. */
static void failing_reads_end_the_check(void **state)
{
    static const uint64_t offsets[] = { HEADER_1, HEADER_2 + 100, REGIONS_2, METADATA + 60 * KIB,
                                        PAGE83 - 16 + 32, TABLE + RATIO * 8, LOG };

    for (size_t i = 0; i < ELEMENTSOF(offsets); i++) {
        _cleanup_free_ uint8_t *file = make_differencing();
        struct failing failing = { file, offsets[i] };
        _cleanup_close_ int fd = memfd_create("image", MFD_CLOEXEC);
        struct qca_check_result result;
        struct qca_image *image;
        struct qca_error error;
        struct qca_io *io;

        log_guid_put(file);
        /* without holes, which need not be read */
        assert_int_equal(write(fd, file, FILE_SIZE + MIB), FILE_SIZE + MIB);
        assert_int_equal(qca_io_new_reader(fd, read_failing, &failing, &io), 0);
        if (qca_image_open(io, NULL, &error, &image) < 0) {
            assert_int_equal(error.kind, QCA_ERROR_IO);
            qca_io_free(io);
            continue;
        }
        assert_int_equal(qca_check(image, NULL, &result), 0);
        assert_false(result.finished);
        qca_check_result_done(&result);
        qca_image_free(image);
        qca_io_free(io);
    }
}

static void copies_must_be_equal(void **state)
{
    _cleanup_free_ uint8_t *file = make(), *disk = make_disk();
    struct told told, raw;

    tell_bytes(disk, DISK, QCA_FORMAT_RAW, &raw);
    put_le(file + REGIONS_2 + 60 * KIB, 1, 1);
    sum_all(file);
    tell(file, &told);
    assert_kind("region tables", &told, QCA_ISSUE_COPY_DIFFERS);
    assert_memory_equal(told.content, raw.content, 32);
    file[REGIONS_1 + 5] ^= 1;           /* the other one counts */
    tell(file, &told);
    assert_kind("a region table", &told, QCA_ISSUE_CHECKSUM_WRONG);
    assert_memory_equal(told.content, raw.content, 32);
    file[HEADER_1 + 5] ^= 1;
    file[HEADER_2 + 5] ^= 1;
    tell(file, &told);
    assert_kind("both headers", &told, QCA_ISSUE_CHECKSUM_WRONG);
    assert_int_equal(told.kinds[QCA_ISSUE_CHECKSUM_WRONG], 2);
    assert_false(told.finished || told.has_content);
}

/* ---- the log ------------------------------------------------------------------------------ */

/* An entry that writes n sectors of zeros, and n with data, over the table; its length. */
static uint32_t log_put(uint8_t *file, uint32_t at, uint64_t sequence, uint32_t tail, unsigned n)
{
    uint32_t described = (64 + 2 * n * 32 + SECTOR - 1) / SECTOR, length = (described + n) * SECTOR;
    uint8_t *entry = file + LOG + at;

    memset(entry, 0, length);
    memcpy(entry, "loge", 4);
    put_le(entry + 8, length, 4);
    put_le(entry + 12, tail, 4);
    put_le(entry + 16, sequence, 8);
    put_le(entry + 24, 2 * n, 4);
    memset(entry + 32, 'L', 16);
    put_le(entry + 48, FILE_SIZE, 8);
    put_le(entry + 56, FILE_SIZE, 8);
    for (unsigned i = 0; i < 2 * n; i++) {
        uint8_t *descriptor = entry + 64 + i * 32,
                *data = entry + ((size_t)described + i / 2) * SECTOR;

        memcpy(descriptor, i % 2 ? "zero" : "desc", 4);
        put_le(descriptor + 8, i % 2 ? SECTOR : 0, 8);
        put_le(descriptor + 16, TABLE + (uint64_t)i * SECTOR, 8);
        put_le(descriptor + 24, sequence, 8);
        memcpy(data, "data", 4);
        put_le(data + 4, sequence >> 32, 4);
        put_le(data + SECTOR - 4, sequence, 4);
    }
    sum(entry, length);
    return length;
}

/* Blocks are where the log says: nowhere. */
static void a_log_may_have_to_be_replayed(void **state)
{
    static const unsigned counts[] = { 0, 1, 62, 63, 64, 127 };
    _cleanup_free_ uint8_t *disk = calloc(1, DISK);
    struct told raw;

    assert_non_null(disk);
    tell_bytes(disk, DISK, QCA_FORMAT_RAW, &raw);

    for (size_t i = 0; i < ELEMENTSOF(counts); i++) {
        _cleanup_free_ uint8_t *file = make();
        struct told told;
        uint32_t end;

        log_guid_put(file);
        end = log_put(file, 8192, UINT64_C(0x500000005), 8192, counts[i]);
        log_put(file, 8192 + end, UINT64_C(0x500000006), 8192, 1);
        entry_put(file, 1, 100 * MIB, VHDX_FULLY_PRESENT);
        tell(file, &told);
        assert_kind("a log", &told, QCA_ISSUE_LOG_PENDING);
        assert_true(told.finished && told.has_content);
        assert_memory_equal(told.content, raw.content, 32);
        memset(file + HEADER_2 + 48, 0, 16);    /* an empty log holds anything */
        sum_all(file);
        tell(file, &told);
        assert_kind("an empty log", &told, QCA_ISSUE_OUT_OF_FILE);
    }
}

/* One write of a log: of bytes, or of so many zeros. */
struct logged {
    uint64_t offset, zeros;
    const uint8_t *bytes;       /* a sector; NULL: zeros */
};

/* An entry of these writes; its length. */
static uint32_t log_put_writes(uint8_t *file, uint32_t at, uint64_t sequence, uint32_t tail,
                               const struct logged *writes, unsigned n)
{
    uint8_t *entry = file + LOG + at, *data = entry + SECTOR;

    memset(entry, 0, SECTOR);
    memcpy(entry, "loge", 4);
    put_le(entry + 12, tail, 4);
    put_le(entry + 16, sequence, 8);
    put_le(entry + 24, n, 4);
    memset(entry + 32, 'L', 16);
    put_le(entry + 48, FILE_SIZE, 8);
    put_le(entry + 56, FILE_SIZE, 8);
    for (unsigned i = 0; i < n; i++) {
        uint8_t *descriptor = entry + 64 + i * 32;

        memcpy(descriptor, writes[i].bytes ? "desc" : "zero", 4);
        put_le(descriptor + 8, writes[i].zeros, 8);
        put_le(descriptor + 16, writes[i].offset, 8);
        put_le(descriptor + 24, sequence, 8);
        if (!writes[i].bytes)
            continue;
        memcpy(descriptor + 8, writes[i].bytes, 8);
        memcpy(descriptor + 4, writes[i].bytes + SECTOR - 4, 4);
        memcpy(data, writes[i].bytes, SECTOR);
        memcpy(data, "data", 4);
        put_le(data + 4, sequence >> 32, 4);
        put_le(data + SECTOR - 4, sequence, 4);
        data += SECTOR;
    }
    put_le(entry + 8, (uint64_t)(data - entry), 4);
    sum(entry, (size_t)(data - entry));
    return (uint32_t)(data - entry);
}

/* The last write of each sector goes, from the tail on; of zeros, a part. */
static void the_last_write_goes(void **state)
{
    _cleanup_free_ uint8_t *file = make(), *disk = make_disk(), *a = malloc(SECTOR),
                           *b = malloc(SECTOR), *table = malloc(SECTOR);
    struct told told;
    uint32_t at, tail;

    assert_true(a && b && table);
    for (unsigned i = 0; i < SECTOR; i++) {
        a[i] = (uint8_t)(i * 7 + 1);
        b[i] = (uint8_t)(i * 3 + 2);
    }
    memcpy(table, file + TABLE, SECTOR);
    put_le(table, FOURTH | VHDX_FULLY_PRESENT, 8);      /* blocks 0 and 3 are exchanged */
    put_le(table + 24, FIRST | VHDX_FULLY_PRESENT, 8);
    const struct logged first[] = { { FOURTH, MIB, NULL } },
        second[] = { { TABLE, 0, table }, { FIRST + 2 * SECTOR, 0, a }, { FIRST, 0, a },
                     { FIRST + SECTOR, 6 * SECTOR, NULL } },
        third[] = { { FIRST + 4 * SECTOR, 0, b }, { FIRST + 5 * SECTOR, 0, a },
                    { FIRST + 5 * SECTOR, 0, b }, { FIRST + 20 * SECTOR, SECTOR, NULL },
                    { FIRST + 30 * SECTOR, 0, NULL } };
    log_guid_put(file);
    tail = log_put_writes(file, 0, 8, 0, first, 1);     /* is in place, and was written since */
    at = tail + log_put_writes(file, tail, 9, tail, second, ELEMENTSOF(second));
    log_put_writes(file, at, 10, tail, third, ELEMENTSOF(third));
    memset(disk, 4, MIB);
    memset(disk + 3 * MIB, 1, MIB);
    memcpy(disk + 3 * MIB, a, SECTOR);
    memset(disk + 3 * MIB + SECTOR, 0, 6 * SECTOR);
    memcpy(disk + 3 * MIB + 4 * SECTOR, b, SECTOR);
    memcpy(disk + 3 * MIB + 5 * SECTOR, b, SECTOR);
    memset(disk + 3 * MIB + 20 * SECTOR, 0, SECTOR);
    tell(file, &told);
    assert_kind("a log", &told, QCA_ISSUE_LOG_PENDING);
    told.kinds[QCA_ISSUE_LOG_PENDING] = 0;
    assert_sound("replayed", &told, disk, DISK);
}

/* Writes over the headers, over the log itself or behind the file's end, or a file that is to grow:
 * as if nothing could be said. */
static void some_logs_are_not_replayed(void **state)
{
    static const struct { const char *what; struct logged write; uint64_t last; } cases[] = {
        { "a header", { HEADER_2, SECTOR, NULL }, FILE_SIZE },
        { "up to the log", { TABLE - SECTOR, SECTOR, NULL }, FILE_SIZE },
        { "from the log on", { LOG, SECTOR, NULL }, FILE_SIZE },
        { "all", { REGIONS_1, FILE_SIZE, NULL }, FILE_SIZE },
        { "behind the end", { FILE_SIZE - SECTOR, 2 * SECTOR, NULL }, FILE_SIZE },
        { "no end", { FILE_SIZE - SECTOR, -(uint64_t)SECTOR, NULL }, FILE_SIZE },
        { "a longer file", { TABLE, SECTOR, NULL }, FILE_SIZE + 1 },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_free_ uint8_t *file = make();
        struct told told;

        log_guid_put(file);
        log_put_writes(file, 0, 5, 0, &cases[i].write, 1);
        put_le(file + LOG + 56, cases[i].last, 8);
        sum(file + LOG, SECTOR);
        tell(file, &told);
        assert_kind(cases[i].what, &told, QCA_ISSUE_LOG_PENDING);
        if (told.finished || told.has_content)
            fail_msg("%s: replayed", cases[i].what);
    }
}

/* What the log writes into a hole is there. */
static void a_log_may_write_into_holes(void **state)
{
    _cleanup_free_ uint8_t *file = make(), *disk = make_disk(), *a = malloc(SECTOR);
    const struct logged write = { FIRST + 8 * SECTOR, 0, a };
    _cleanup_close_ int fd = memfd_create("image", MFD_CLOEXEC);
    char path[32];
    struct told told;

    assert_non_null(a);
    memset(a, 9, SECTOR);
    log_guid_put(file);
    log_put_writes(file, 0, 5, 0, &write, 1);
    assert_int_equal(pwrite(fd, file, FIRST, 0), FIRST);
    assert_int_equal(pwrite(fd, file + FOURTH, MIB, FOURTH), MIB);
    assert_int_equal(ftruncate(fd, FILE_SIZE), 0);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    tell_file(path, QCA_FORMAT_UNKNOWN, &told);
    assert_kind("a log", &told, QCA_ISSUE_LOG_PENDING);
    told.kinds[QCA_ISSUE_LOG_PENDING] = 0;
    memset(disk, 0, MIB);
    memcpy(disk + 8 * SECTOR, a, SECTOR);
    assert_sound("replayed", &told, disk, DISK);
}

static void an_entry_may_go_around(void **state)
{
    _cleanup_free_ uint8_t *file = make();
    struct told told;

    log_guid_put(file);
    log_put(file, MIB - SECTOR, 9, MIB - SECTOR, 1);
    memcpy(file + LOG, file + LOG + MIB, SECTOR);       /* which is behind the log's end */
    memset(file + TABLE, 0, SECTOR);
    tell(file, &told);
    assert_kind("a log", &told, QCA_ISSUE_LOG_PENDING);
    assert_int_equal(told.kinds[QCA_ISSUE_LOG_PENDING], 1);
    assert_true(told.finished && told.has_content);
    assert_int_equal(told.allocated, 0);
}

/* As QEMU, the image is read as it is; it should have been replayed. */
static void a_log_may_hold_nothing(void **state)
{
    static const struct { const char *what; unsigned at, size; uint64_t value; bool sum_again; }
    bad[] = {
        { "signature", 0, 4, 0, true }, { "checksum", 100, 1, 1, false },
        { "sequence", 16, 8, 0, true }, { "other sequence", 16, 8, 6, true },
        { "length", 8, 4, SECTOR, true }, { "no length", 8, 4, 0, true },
        { "odd length", 8, 4, 2 * SECTOR + 512, true }, { "large", 8, 4, 2 * MIB, true },
        { "GUID", 32, 1, 0, true }, { "descriptors", 24, 4, UINT32_MAX, true },
        { "descriptor", 64, 4, 0, true }, { "place", 64 + 16, 8, TABLE + 512, true },
        { "descriptor's sequence", 64 + 24, 8, 6, true }, { "zeros", 96 + 8, 8, 512, true },
        { "data", SECTOR, 4, 0, true }, { "data's sequence", 2 * SECTOR - 4, 4, 6, true },
        { "data's sequence, high", SECTOR + 4, 4, 6, true },
        { "tail", 12, 4, 64 * KIB, true }, { "odd tail", 12, 4, 512, true },
    };
    _cleanup_free_ uint8_t *disk = make_disk();
    struct told told, raw;

    tell_bytes(disk, DISK, QCA_FORMAT_RAW, &raw);
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        _cleanup_free_ uint8_t *file = make();
        uint8_t *entry = file + LOG;
        uint32_t length;

        log_guid_put(file);
        length = log_put(file, 0, 5, 0, 1);
        put_le(entry + bad[i].at, bad[i].value, bad[i].size);
        if (bad[i].sum_again)
            sum(entry, length);
        tell(file, &told);
        assert_kind(bad[i].what, &told, QCA_ISSUE_LOG_INVALID);
        assert_true(told.finished && told.has_content);
        assert_memory_equal(told.content, raw.content, 32);
    }
}

static void the_file_must_not_be_shorter_than_the_log_says(void **state)
{
    _cleanup_free_ uint8_t *file = make();
    struct told told;
    uint32_t length;

    log_guid_put(file);
    length = log_put(file, 0, 5, 0, 1);
    put_le(file + LOG + 48, FILE_SIZE + 1, 8);
    sum(file + LOG, length);
    tell(file, &told);
    assert_kind("a shorter file", &told, QCA_ISSUE_LOG_INVALID);
    assert_false(told.finished || told.has_content);
}

/* Each sector begins an entry of all the log, which is looked at no further than it is one. */
static void hostile_logs_are_bounded(void **state)
{
    _cleanup_free_ uint8_t *file = make();
    struct told told;
    clock_t start;

    log_guid_put(file);
    log_put(file, 0, 5, 0, 0);
    put_le(file + LOG + 8, MIB, 4);
    for (unsigned at = SECTOR; at < MIB; at += SECTOR)
        memcpy(file + LOG + at, file + LOG, SECTOR);
    start = clock();
    tell(file, &told);
    assert_true(clock() - start < 2 * CLOCKS_PER_SEC);
    assert_kind("a hostile log", &told, QCA_ISSUE_LOG_INVALID);
}

/* QEMU takes the same log for one to be replayed, and then the image is sound. */
static void qemu_replays_the_log(void **state)
{
    _cleanup_free_ uint8_t *file = make(), *disk = calloc(1, DISK);
    char directory[] = "/tmp/test-vhdx.XXXXXX", path[64];
    struct told told;
    FILE *out;

    if (!have_qemu())
        skip();
    assert_non_null(disk);
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof(path), "%s/image.vhdx", directory);
    log_guid_put(file);
    log_put(file, MIB - 2 * SECTOR, 5, MIB - 2 * SECTOR, 1);    /* the table becomes zeros */
    out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(file, FILE_SIZE, 1, out), 1);
    assert_int_equal(fclose(out), 0);
    tell_file(path, QCA_FORMAT_UNKNOWN, &told);
    assert_kind("before", &told, QCA_ISSUE_LOG_PENDING);
    told.kinds[QCA_ISSUE_LOG_PENDING] = 0;
    assert_sound("before", &told, disk, DISK);
    run_in(directory, "! qemu-img info image.vhdx 2>says && grep -q 'needs to be replayed' says");
    run_in(directory, "qemu-img check -q -r all image.vhdx");
    tell_file(path, QCA_FORMAT_UNKNOWN, &told);
    assert_sound("after", &told, disk, DISK);
    run_in("/", "rm -r '%s'", directory);
}

static void images_of_qemu_are_sound(void **state)
{
    if (!have_qemu())
        skip();
    assert_as_qemu(QCA_FORMAT_VHDX, "-o size=5M", "");
    assert_as_qemu(QCA_FORMAT_VHDX, "-o size=9M,block_size=1M",
                   "-c 'write -P 5 0 64k' -c 'write -P 6 5M 3M' -c 'write -P 7 3000k 512'");
    assert_as_qemu(QCA_FORMAT_VHDX, "-o size=9M,block_size=2M,block_state_zero=off",
                   "-c 'write -P 5 8M 1M' -c 'write -z 8M 512k' -c 'discard 0 1M'");
    assert_as_qemu(QCA_FORMAT_VHDX, "-o size=3M,subformat=fixed", "-c 'write -P 5 1M 1M'");
    assert_as_qemu(QCA_FORMAT_VHDX, "-o size=9G,block_size=1M,log_size=3M",
                   "-c 'write -P 5 8G 1M' -c 'write -P 6 4095M 3M'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checksum_is_castagnolis),
        cmocka_unit_test(a_sound_image_is_read),
        cmocka_unit_test(chunks_are_told_apart),
        cmocka_unit_test(differencing_is_mapped_by_sectors),
        cmocka_unit_test(the_parent_is_known_by_its_guid),
        cmocka_unit_test(its_own_guid_is_the_current_header_s),
        cmocka_unit_test(bitmaps_must_be_sound),
        cmocka_unit_test(each_damage_is_found),
        cmocka_unit_test(an_unknown_region_may_be_there),
        cmocka_unit_test(the_last_block_may_be_cut),
        cmocka_unit_test(failing_reads_end_the_check),
        cmocka_unit_test(copies_must_be_equal),
        cmocka_unit_test(a_log_may_have_to_be_replayed),
        cmocka_unit_test(the_last_write_goes),
        cmocka_unit_test(some_logs_are_not_replayed),
        cmocka_unit_test(a_log_may_write_into_holes),
        cmocka_unit_test(an_entry_may_go_around),
        cmocka_unit_test(a_log_may_hold_nothing),
        cmocka_unit_test(the_file_must_not_be_shorter_than_the_log_says),
        cmocka_unit_test(hostile_logs_are_bounded),
        cmocka_unit_test(qemu_replays_the_log),
        cmocka_unit_test(images_of_qemu_are_sound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
