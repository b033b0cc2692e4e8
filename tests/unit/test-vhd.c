/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* VHD: what a guest reads of it, and each kind of damage once. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/vhd.h"
#include "qcaudit/qcaudit.h"
#include "vhd-kit.h"

/* A disk of three blocks, of which the second one is not there, and the last one is cut. */
enum {
    BLOCK = 65536,
    DISK = 2 * BLOCK + 1024,
    TABLE = 1536,
    ENTRIES = 5,
    FIRST = 2048,               /* a block with its bitmap */
    THIRD = FIRST + 512 + BLOCK,
    FOOTER = THIRD + 512 + BLOCK,
    FILE_SIZE = FOOTER + 512,
    LOCATOR = 512 + VHD_AT_LOCATORS,
};

static void footer_put(uint8_t *footer, uint32_t type, uint64_t size)
{
    memset(footer, 0, 512);
    memcpy(footer, "conectix", 8);
    put_be(footer + 8, 2, 4);
    put_be(footer + VHD_AT_VERSION, 0x10000, 4);
    put_be(footer + VHD_AT_DATA_OFFSET, type == 2 ? UINT64_MAX : 512, 8);
    memcpy(footer + VHD_AT_CREATOR, "win ", 4);
    put_be(footer + VHD_AT_CURRENT_SIZE, size, 8);
    put_be(footer + VHD_AT_TYPE, type, 4);
    put_be(footer + VHD_AT_CHECKSUM, vhd_checksum(footer, 512, VHD_AT_CHECKSUM), 4);
}

static void sum_again(uint8_t *file)
{
    uint8_t *header = file + 512;

    put_be(file + VHD_AT_CHECKSUM, vhd_checksum(file, 512, VHD_AT_CHECKSUM), 4);
    put_be(header + VHD_AT_HEADER_CHECKSUM,
           vhd_checksum(header, VHD_HEADER_SIZE, VHD_AT_HEADER_CHECKSUM), 4);
    memcpy(file + FOOTER, file, 512);
}

static uint8_t *make(uint32_t type)
{
    uint8_t *file = calloc(1, FILE_SIZE + 1024), *header = file + 512;

    assert_non_null(file);
    footer_put(file, type, DISK);
    memcpy(header, "cxsparse", 8);
    put_be(header + 8, UINT64_MAX, 8);
    put_be(header + VHD_AT_TABLE, TABLE, 8);
    put_be(header + VHD_AT_HEADER_VERSION, 0x10000, 4);
    put_be(header + VHD_AT_ENTRIES, ENTRIES, 4);
    put_be(header + VHD_AT_BLOCK_SIZE, BLOCK, 4);
    memset(file + TABLE, 0xff, 512);
    put_be(file + TABLE, FIRST / 512, 4);
    put_be(file + TABLE + 8, THIRD / 512, 4);
    memset(file + FIRST, 0xff, 512);
    memset(file + FIRST + 512, 1, BLOCK);
    memset(file + THIRD, 0xff, 512);
    memset(file + THIRD + 512, 3, BLOCK);
    sum_again(file);
    return file;
}

static void disk_fill(uint8_t disk[static DISK])
{
    memset(disk, 0, DISK);
    memset(disk, 1, BLOCK);
    memset(disk + 2 * BLOCK, 3, DISK - 2 * BLOCK);
}

static void dynamic_is_read(void **state)
{
    _cleanup_free_ uint8_t *file = make(3), *disk = malloc(DISK);
    struct told told;

    assert_non_null(disk);
    disk_fill(disk);
    tell_bytes(file, FILE_SIZE, QCA_FORMAT_UNKNOWN, &told);
    assert_sound("dynamic", &told, disk, DISK);
    assert_int_equal(told.allocated, 2);
    memset(file + FIRST, 0, 512);       /* as QEMU, whatever the bitmap says */
    tell_bytes(file, FILE_SIZE, QCA_FORMAT_UNKNOWN, &told);
    assert_sound("dynamic, no sector marked", &told, disk, DISK);
}

static void fixed_is_read(void **state)
{
    _cleanup_free_ uint8_t *file = malloc(DISK + 512);
    struct told told;

    assert_non_null(file);
    disk_fill(file);
    footer_put(file + DISK, 2, DISK);
    tell_bytes(file, DISK + 512, QCA_FORMAT_UNKNOWN, &told);
    assert_sound("fixed", &told, file, DISK);
    tell_bytes(file, DISK + 512, QCA_FORMAT_VPC, &told);
    assert_sound("fixed, as declared", &told, file, DISK);
    /* another creator's disk is as large as its geometry, which does not fit in the file */
    memcpy(file + DISK + VHD_AT_CREATOR, "vpc ", 4);
    put_be(file + DISK + VHD_AT_CYLINDERS, 2, 2);
    file[DISK + VHD_AT_HEADS] = 16;
    file[DISK + VHD_AT_SECTORS] = 63;
    put_be(file + DISK + VHD_AT_CHECKSUM, vhd_checksum(file + DISK, 512, VHD_AT_CHECKSUM), 4);
    tell_bytes(file, DISK + 512, QCA_FORMAT_VPC, &told);
    assert_kind("a geometry that is too large", &told, QCA_ISSUE_FIELD_INVALID);
    footer_put(file + DISK, 2, DISK);
    put_be(file + DISK + VHD_AT_VERSION, 0x20000, 4);
    put_be(file + DISK + VHD_AT_CHECKSUM, vhd_checksum(file + DISK, 512, VHD_AT_CHECKSUM), 4);
    tell_bytes(file, DISK + 512, QCA_FORMAT_VPC, &told);
    assert_kind("an unknown version", &told, QCA_ISSUE_FIELD_INVALID);
}

/* ---- differencing ------------------------------------------------------------------------- */

static struct qca_image *open_differencing(const uint8_t *file, struct qca_io **ret_io)
{
    struct qca_image *image;
    struct qca_error error;

    assert_int_equal(qca_io_new_memory(file, FILE_SIZE, ret_io), 0);
    assert_int_equal(qca_image_open(*ret_io, NULL, &error, &image), 0);
    return image;
}

/* A parent that has no name is not followed: there is no content, but a check. */
static void a_nameless_parent_has_no_content(void **state)
{
    _cleanup_free_ uint8_t *file = make(4);
    struct told told;

    tell_bytes(file, FILE_SIZE, QCA_FORMAT_UNKNOWN, &told);
    assert_true(told.finished);
    assert_int_equal(told.n_kinds, 0);
    assert_false(told.has_content);
}

static void parent_name_put(uint8_t *file, const char *name)
{
    for (size_t i = 0; name[i]; i++)
        file[512 + VHD_AT_PARENT_NAME + 2 * i + 1] = (uint8_t)name[i];
    sum_again(file);
}

/* Sectors that are marked are the layer's, the others its parent's: of the layer alone, zeros. */
static void differencing_is_mapped_by_sectors(void **state)
{
    _cleanup_free_ uint8_t *file = make(4), *disk = malloc(DISK);
    struct told told, raw;
    struct qca_image *image;
    struct qca_io *io;

    assert_non_null(disk);
    disk_fill(disk);
    file[FIRST] = 0x7f;                 /* not the first sector */
    memset(disk, 0, 512);
    file[FIRST + 2] = 0xfe;             /* not the 24th */
    memset(disk + 23 * 512, 0, 512);
    parent_name_put(file, "base.vhd");
    image = open_differencing(file, &io);
    assert_true(qca_info_is_understood(qca_image_info(image)));
    tell_image(image, &told);
    assert_true(told.has_content);
    tell_bytes(disk, DISK, QCA_FORMAT_RAW, &raw);
    assert_memory_equal(told.content, raw.content, sizeof(raw.content));
    qca_image_free(image);
    qca_io_free(io);
}

/* ---- and its parent ------------------------------------------------------------------------ */

struct on_parent {
    void *parent;               /* a fixed disk; NULL: it is not there */
    uint64_t changed, issues;   /* counted: of kind parent-changed, of all kinds */
};

static int resolve(void *userdata, const struct qca_reference *reference, struct qca_io **ret_io,
                   struct qca_file_id *ret_id)
{
    const struct on_parent *on = userdata;

    if (strcmp(reference->name, "base.vhd") != 0 || !on->parent)
        return -ENOENT;
    *ret_id = (struct qca_file_id){ .a = 1 };
    return qca_io_new_memory(on->parent, DISK + 512, ret_io);
}

static int tell_link(void *userdata, const struct qca_chain_link *link)
{
    struct qca_check_result result;
    struct on_parent *on = userdata;

    assert_int_equal(qca_check(link->image, NULL, &result), 0);
    assert_int_equal(qca_chain_link_check(link, 0, &result), 0);
    on->changed += qca_check_count(&result, QCA_ISSUE_PARENT_CHANGED);
    on->issues += result.n_issues;
    qca_check_result_done(&result);
    return 0;
}

static void chain_content(struct qca_image *image, struct on_parent *on,
                          uint8_t ret_digest[static 32])
{
    struct qca_content_digest digest;
    struct qca_chain *chain;
    struct qca_error error;
    struct qca_map *map;

    assert_int_equal(qca_chain_open(image, NULL, resolve, on, &error, &chain), 0);
    assert_int_equal(qca_map_new(chain, NULL, &error, &map), 0);
    assert_int_equal(qca_content_digest(map, NULL, &error, &digest), 0);
    assert_true(digest.complete);
    memcpy(ret_digest, digest.digest, 32);
    qca_map_free(map);
    qca_chain_free(chain);
}

/* The other sectors are those of a fixed disk, whose UUID is what the layer says. */
static void the_parent_is_followed(void **state)
{
    _cleanup_free_ uint8_t *file = make(4), *disk = malloc(DISK), *base = malloc(DISK + 512);
    struct on_parent on = { .parent = base };
    struct qca_image *image;
    struct qca_error error;
    struct qca_io *io;
    struct told raw;
    uint8_t digest[32];
    uint32_t depth;

    assert_non_null(disk);
    assert_non_null(base);
    memset(base, 9, DISK);
    footer_put(base + DISK, 2, DISK);
    memset(base + DISK + VHD_AT_UUID, 0xa5, 16);
    put_be(base + DISK + VHD_AT_CHECKSUM, vhd_checksum(base + DISK, 512, VHD_AT_CHECKSUM), 4);
    memset(file + 512 + VHD_AT_PARENT_UUID, 0xa5, 16);
    parent_name_put(file, "C:\\disks\\base.vhd");
    file[FIRST] = 0x7f;
    disk_fill(disk);
    memset(disk, 9, 512);
    memset(disk + BLOCK, 9, BLOCK);
    tell_bytes(disk, DISK, QCA_FORMAT_RAW, &raw);
    image = open_differencing(file, &io);
    assert_string_equal(qca_image_info(image)->parent, "base.vhd");
    assert_string_equal(qca_image_info(image)->parent_format, "vpc");
    assert_string_equal(qca_image_info(image)->parent_identity.text,
                        "a5a5a5a5-a5a5-a5a5-a5a5-a5a5a5a5a5a5");
    chain_content(image, &on, digest);
    assert_memory_equal(digest, raw.content, 32);
    assert_int_equal(qca_chain_walk(image, NULL, resolve, tell_link, &on, &error, &depth), 0);
    assert_int_equal(depth, 2);
    assert_int_equal(on.issues, 0);
    base[DISK + VHD_AT_UUID + 15] = 0xa4;       /* another one */
    put_be(base + DISK + VHD_AT_CHECKSUM, vhd_checksum(base + DISK, 512, VHD_AT_CHECKSUM), 4);
    assert_int_equal(qca_chain_walk(image, NULL, resolve, tell_link, &on, &error, &depth), 0);
    assert_int_equal(on.changed, 1);
    assert_int_equal(on.issues, 1);
    on.parent = NULL;
    assert_int_equal(qca_chain_walk(image, NULL, resolve, tell_link, &on, &error, &depth),
                     -ENOENT);
    assert_string_equal(error.field, "Parent Unicode Name");
    qca_image_free(image);
    qca_io_free(io);
}

static void locator_put(uint8_t *file, unsigned index, const char *platform, const char *name,
                        uint64_t at)
{
    uint8_t *locator = file + LOCATOR + index * VHD_LOCATOR_SIZE;

    memcpy(locator, platform, 4);
    put_be(locator + VHD_LOCATOR_LENGTH, 2 * strlen(name), 4);
    put_be(locator + VHD_LOCATOR_OFFSET, at, 8);
    for (size_t i = 0; name[i] && at + 2 * i < FILE_SIZE; i++)
        put_le(file + at + 2 * i, (uint8_t)name[i], 2);
}

/* Relative before absolute, before the header's; one that is not in the file is none. */
static void locators_name_the_parent(void **state)
{
    static const struct {
        uint64_t relative, absolute;    /* where each is */
        const char *name;
    } cases[] = {
        { FIRST + 1024, FIRST + 512, "../other/r.vhd" }, { FILE_SIZE, FIRST + 512, "a.vhd" },
        { FILE_SIZE, UINT64_MAX - 1, "n.vhd" },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_free_ uint8_t *file = make(4);
        struct qca_image *image;
        struct qca_io *io;

        locator_put(file, 1, "W2ku", "C:\\disks\\a.vhd", cases[i].absolute);
        locator_put(file, 6, "W2ru", "..\\other\\r.vhd", cases[i].relative);
        parent_name_put(file, "n.vhd");
        image = open_differencing(file, &io);
        assert_string_equal(qca_image_info(image)->parent, cases[i].name);
        qca_image_free(image);
        qca_io_free(io);
    }
}

static void locators_must_be_in_the_file(void **state)
{
    _cleanup_free_ uint8_t *file = make(4);
    struct told told;

    memcpy(file + LOCATOR, "W2ku", 4);
    put_be(file + LOCATOR + VHD_LOCATOR_LENGTH, 100, 4);
    put_be(file + LOCATOR + VHD_LOCATOR_OFFSET, FILE_SIZE - 100, 8);
    sum_again(file);
    tell_bytes(file, FILE_SIZE, QCA_FORMAT_UNKNOWN, &told);
    assert_int_equal(told.n_kinds, 0);
    put_be(file + LOCATOR + VHD_LOCATOR_OFFSET, FILE_SIZE - 99, 8);
    sum_again(file);
    tell_bytes(file, FILE_SIZE, QCA_FORMAT_UNKNOWN, &told);
    assert_kind("a locator outside", &told, QCA_ISSUE_FIELD_INVALID);
}

/* ---- damage ------------------------------------------------------------------------------- */

static const struct damage {
    const char *what;
    unsigned at, size;
    uint64_t value;
    bool sum_again;
    enum qca_issue_kind kind;
    bool finished, has_content;
} damages[] = {
    { "the first footer's checksum", 100, 2, 7, false, QCA_ISSUE_CHECKSUM_WRONG, true, true },
    { "the header's checksum", 512 + 1000, 2, 7, false, QCA_ISSUE_CHECKSUM_WRONG, true, true },
    { "no footer at the end", FOOTER, 8, 0, false, QCA_ISSUE_TRAILER_MISSING, true, true },
    { "the footer's version", VHD_AT_VERSION, 4, 0x20000, true, QCA_ISSUE_FIELD_INVALID, false,
      false },
    { "the header's version", 512 + VHD_AT_HEADER_VERSION, 4, 0, true, QCA_ISSUE_FIELD_INVALID,
      false, false },
    { "no power of two", 512 + VHD_AT_BLOCK_SIZE, 4, 3 * 65536, true, QCA_ISSUE_FIELD_INVALID,
      false, false },
    { "a small block", 512 + VHD_AT_BLOCK_SIZE, 4, 2048, true, QCA_ISSUE_FIELD_INVALID, false,
      false },
    { "too few entries", 512 + VHD_AT_ENTRIES, 4, 2, true, QCA_ISSUE_FIELD_INVALID, false, false },
    { "too many entries", 512 + VHD_AT_ENTRIES, 4, 0x1ff00000, true, QCA_ISSUE_FIELD_INVALID, false,
      false },
    { "a disk too large", VHD_AT_CURRENT_SIZE, 8, VHD_SIZE_MAX + 512, true,
      QCA_ISSUE_FIELD_INVALID, false, false },
    { "an impossible table", 512 + VHD_AT_TABLE, 8, UINT64_MAX - 511, true, QCA_ISSUE_FIELD_INVALID,
      false, false },
    { "a table outside", 512 + VHD_AT_TABLE, 8, FILE_SIZE + 512, true, QCA_ISSUE_TABLE_OUT_OF_FILE,
      false, false },
    { "more entries than the file", 512 + VHD_AT_ENTRIES, 4, FILE_SIZE, true,
      QCA_ISSUE_TABLE_OUT_OF_FILE, false, false },
    { "a block outside", TABLE + 4, 4, FILE_SIZE / 512, false, QCA_ISSUE_BLOCK_OUT_OF_FILE, true,
      true },
    { "a block that ends outside", TABLE + 4, 4, FOOTER / 512 - 1, false,
      QCA_ISSUE_BLOCK_OUT_OF_FILE, true, true },
    { "a spare entry outside", TABLE + 16, 4, FILE_SIZE / 512, false, QCA_ISSUE_BLOCK_OUT_OF_FILE,
      true, true },
    { "a last block that ends outside", TABLE + 8, 4, FOOTER / 512 - 9, false,
      QCA_ISSUE_BLOCK_OUT_OF_FILE, true, true },
    { "a block twice", TABLE + 4, 4, FIRST / 512, false, QCA_ISSUE_BLOCK_OVERLAP, true, true },
    { "blocks that overlap", TABLE + 4, 4, FIRST / 512 + 1, false, QCA_ISSUE_BLOCK_OVERLAP, true,
      true },
    { "a block on the headers", TABLE + 4, 4, 0, false, QCA_ISSUE_DATA_ON_METADATA, true, true },
    { "a block on the footer", TABLE + 4, 4, (FOOTER - BLOCK) / 512, false,
      QCA_ISSUE_DATA_ON_METADATA, true, true },
};

static void each_damage_is_found(void **state)
{
    for (size_t i = 0; i < ELEMENTSOF(damages); i++) {
        const struct damage *damage = &damages[i];
        _cleanup_free_ uint8_t *file = make(3);
        struct told told;

        put_be(file + damage->at, damage->value, damage->size);
        if (damage->sum_again)
            sum_again(file);
        else if (damage->at < 512)      /* so that both footers are equal */
            memcpy(file + FOOTER + 64, file + 64, 4);
        tell_bytes(file, FILE_SIZE, QCA_FORMAT_UNKNOWN, &told);
        if (damage->kind == QCA_ISSUE_CHECKSUM_WRONG && damage->at < 512) {
            assert_int_equal(told.kinds[QCA_ISSUE_CHECKSUM_WRONG], 1);
            assert_int_equal(told.kinds[QCA_ISSUE_COPY_DIFFERS], 1);
            assert_int_equal(told.n_kinds, 2);
        } else
            assert_kind(damage->what, &told, damage->kind);
        if (told.finished != damage->finished || told.has_content != damage->has_content)
            fail_msg("%s: finished %d, content %d", damage->what, told.finished, told.has_content);
    }
}

static void footers_must_be_equal(void **state)
{
    _cleanup_free_ uint8_t *file = make(3), *disk = malloc(DISK);
    uint8_t *footer = file + FOOTER;
    struct told told;

    assert_non_null(disk);
    disk_fill(disk);
    footer[84] = 1;                     /* a saved state */
    put_be(footer + VHD_AT_CHECKSUM, vhd_checksum(footer, 512, VHD_AT_CHECKSUM), 4);
    tell_bytes(file, FILE_SIZE, QCA_FORMAT_UNKNOWN, &told);
    assert_kind("other footers", &told, QCA_ISSUE_COPY_DIFFERS);
    assert_true(told.has_content);
    sum_again(file);                    /* Virtual PC's of 511 bytes */
    tell_bytes(file, FILE_SIZE - 1, QCA_FORMAT_UNKNOWN, &told);
    assert_sound("511 bytes", &told, disk, DISK);
    tell_bytes(file, FILE_SIZE + 512, QCA_FORMAT_UNKNOWN, &told);
    assert_kind("a longer file", &told, QCA_ISSUE_TRAILER_MISSING);
}

/* Bytes behind the end of a device are not the image's own. */
static void a_device_has_no_end(void **state)
{
    const struct qca_check_options options = { .on_device = true };
    _cleanup_free_ uint8_t *file = make(3);
    struct qca_check_result result;
    struct qca_image *image;
    struct qca_error error;
    struct qca_io *io;

    assert_int_equal(qca_io_new_memory(file, FILE_SIZE + 1024, &io), 0);
    assert_int_equal(qca_image_open(io, NULL, &error, &image), 0);
    assert_int_equal(qca_check(image, &options, &result), 0);
    assert_true(result.finished);
    assert_int_equal(result.n_issues, 0);
    qca_check_result_done(&result);
    qca_image_free(image);
    qca_io_free(io);
}

static void images_of_qemu_are_sound(void **state)
{
    if (!have_qemu())
        skip();
    assert_as_qemu(QCA_FORMAT_VPC, "-o size=5M", "");
    assert_as_qemu(QCA_FORMAT_VPC, "-o size=9M",
                   "-c 'write -P 5 0 64k' -c 'write -P 6 5M 3M' -c 'write -P 7 3000k 512'");
    assert_as_qemu(QCA_FORMAT_VPC, "-o size=9M,force_size=on", "-c 'write -P 5 8M 1M'");
    assert_as_qemu(QCA_FORMAT_VPC, "-o size=3M,subformat=fixed", "-c 'write -P 5 1M 1M'");
    assert_as_qemu(QCA_FORMAT_VPC, "-o size=3M,subformat=fixed,force_size=on",
                   "-c 'write -P 5 1M 2M'");
    assert_as_qemu(QCA_FORMAT_VPC, "-o size=200G", "-c 'write -P 5 150G 1M'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dynamic_is_read),
        cmocka_unit_test(fixed_is_read),
        cmocka_unit_test(a_nameless_parent_has_no_content),
        cmocka_unit_test(differencing_is_mapped_by_sectors),
        cmocka_unit_test(the_parent_is_followed),
        cmocka_unit_test(locators_name_the_parent),
        cmocka_unit_test(locators_must_be_in_the_file),
        cmocka_unit_test(each_damage_is_found),
        cmocka_unit_test(footers_must_be_equal),
        cmocka_unit_test(a_device_has_no_end),
        cmocka_unit_test(images_of_qemu_are_sound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
