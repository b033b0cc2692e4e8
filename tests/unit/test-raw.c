/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Raw disks, media and appliances: what says where the file ends is found when it does not hold,
 * and nothing is said of what is sound, or only looks like a table. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <zlib.h>

#include "lib/cleanup.h"
#include "qcaudit/qcaudit.h"

enum { FILE_SIZE = 1 << 20, ENTRIES_SIZE = 128 * 128 };

#define NONE _QCA_ISSUE_MAX

static void put(uint8_t *at, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static void put_be(uint8_t *at, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        at[size - 1 - i] = (uint8_t)(value >> (8 * i));
}

/* ---- checks -------------------------------------------------------------------------------- */

/* -EOPNOTSUPP, or how many issues there are; the first one, and its kind. */
static int check_bytes(const uint8_t *file, size_t size, bool deep, struct qca_issue *ret_first,
                       enum qca_issue_kind *ret_kind)
{
    const struct qca_check_options options = { .deep = deep, .file_digest = qca_file_digest };
    uint8_t *copy = malloc(size);       /* so that reads behind are seen */
    struct qca_check_result result;
    struct qca_image *image;
    struct qca_io *io;
    int r;

    assert_non_null(copy);
    memcpy(copy, file, size);
    assert_int_equal(qca_io_new_memory(copy, size, &io), 0);
    assert_int_equal(qca_image_open(io, NULL, NULL, &image), 0);
    r = qca_check(image, &options, &result);
    if (r == 0) {
        r = (int)result.n_issues;
        assert_true(result.finished);
        assert_int_equal(result.corruptions + result.leaks + result.check_errors +
                         result.total_clusters + result.image_end_offset, 0);
        *ret_kind = r > 0 ? result.issues[0].kind : NONE;
        if (r > 0)
            *ret_first = result.issues[0];
        qca_check_result_done(&result);
    }
    qca_image_free(image);
    qca_io_free(io);
    free(copy);
    return r;
}

/* n issues, the first of this kind; n 0: none; -EOPNOTSUPP: there is no check. */
static struct qca_issue expect_deep(const char *what, const uint8_t *file, size_t size, bool deep,
                                    int n, enum qca_issue_kind kind)
{
    enum qca_issue_kind is = NONE;
    struct qca_issue first = { .kind = NONE };
    int r = check_bytes(file, size, deep, &first, &is);

    if (r != n || (n > 0 && is != kind))
        fail_msg("%s: %d, %s", what, r, r > 0 ? qca_issue_kind_name(is) : "-");
    return first;
}

static struct qca_issue expect(const char *what, const uint8_t *file, size_t size, int n,
                               enum qca_issue_kind kind)
{
    return expect_deep(what, file, size, false, n, kind);
}

static uint8_t *file_new(void)
{
    uint8_t *file = calloc(1, FILE_SIZE);

    assert_non_null(file);
    return file;
}

/* ---- GPT ----------------------------------------------------------------------------------- */

static void gpt_seal(uint8_t *header)
{
    put(header + 16, 0, 4);
    put(header + 16, crc32(0, header, 92), 4);
}

static void gpt_header(uint8_t *file, unsigned sector, uint64_t my, uint64_t other, uint64_t at)
{
    uint8_t *header = file + my * sector;
    uint64_t sectors = FILE_SIZE / sector, reserved = 2 + ENTRIES_SIZE / sector;

    memcpy(header, "EFI PART\0\0\1\0", 12);
    put(header + 12, 92, 4);
    put(header + 24, my, 8);
    put(header + 32, other, 8);
    put(header + 40, reserved, 8);
    put(header + 48, sectors - reserved, 8);
    memcpy(header + 56, "a disk's GUID...", 16);
    put(header + 72, at, 8);
    put(header + 80, 128, 4);
    put(header + 84, 128, 4);
    put(header + 88, crc32(0, file + at * sector, ENTRIES_SIZE), 4);
    gpt_seal(header);
}

/* Both headers, their entries with one partition up to LBA last, and the protective partition. */
static uint8_t *gpt_new(unsigned sector, uint64_t last)
{
    uint64_t sectors = FILE_SIZE / sector, second = sectors - 1 - ENTRIES_SIZE / sector;
    uint8_t *file = file_new(), *entry = file + 2 * sector;

    memcpy(entry, "a type GUID.....a partition's...", 32);
    put(entry + 32, 40, 8);
    put(entry + 40, last, 8);
    memcpy(file + second * sector, entry, 128);
    gpt_header(file, sector, 1, sectors - 1, 2);
    gpt_header(file, sector, sectors - 1, 1, second);
    file[450] = 0xee;
    put(file + 454, 1, 4);
    put(file + 458, sectors - 1, 4);
    file[510] = 0x55;
    file[511] = 0xaa;
    return file;
}

static void gpt_tells_where_the_disk_ends(void **state)
{
    static const unsigned sizes[] = { 512, 4096 };

    for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
        unsigned sector = sizes[i];
        uint8_t *file = gpt_new(sector, 100), *large = calloc(2, FILE_SIZE);
        struct qca_issue issue;

        assert_non_null(large);
        expect("sound", file, FILE_SIZE, 0, NONE);
        memcpy(large, file, FILE_SIZE);
        expect("grown", large, 2 * (size_t)FILE_SIZE, 0, NONE);
        issue = expect("cut", file, FILE_SIZE / 2, 1, QCA_ISSUE_GPT_BACKUP_OUT_OF_FILE);
        assert_int_equal(issue.host_offset, FILE_SIZE - sector);
        assert_int_equal(issue.host_length, sector);
        assert_int_equal(issue.table_offset, sector);
        expect("a sector is missing", file, FILE_SIZE - sector, 1,
               QCA_ISSUE_GPT_BACKUP_OUT_OF_FILE);
        free(large);
        free(file);
    }
}

static void gpt_damage_is_the_guests(void **state)
{
    uint8_t *file = gpt_new(512, 100), *backup = file + FILE_SIZE - 512;

    file[512 + 60] ^= 1;
    expect("primary", file, FILE_SIZE, 1, QCA_ISSUE_GPT_INVALID);
    expect("primary, cut", file, FILE_SIZE / 2, 1, QCA_ISSUE_GPT_INVALID);
    memset(file + 512, 0, 512);
    expect("primary gone", file, FILE_SIZE, 1, QCA_ISSUE_GPT_INVALID);
    memset(backup, 0, 512);
    expect("both gone", file, FILE_SIZE, 0, NONE);
    free(file);

    file = gpt_new(512, 100);
    backup = file + FILE_SIZE - 512;
    backup[60] ^= 1;
    assert_int_equal(expect("backup", file, FILE_SIZE, 1, QCA_ISSUE_GPT_INVALID).table,
                     QCA_TABLE_TRAILER);
    gpt_seal(backup);
    expect("another GUID", file, FILE_SIZE, 1, QCA_ISSUE_GPT_COPIES_DIFFER);
    free(file);

    file = gpt_new(512, 100);
    file[1024 + 50] ^= 1;
    expect("entries", file, FILE_SIZE, 1, QCA_ISSUE_GPT_INVALID);
    free(file);

    file = gpt_new(512, 100000);
    put(file + 1024 + 40, 100000, 8);
    expect("a partition", file, FILE_SIZE, 1, QCA_ISSUE_PARTITION_OUT_OF_FILE);
    put(file + 512 + 32, UINT64_MAX, 8);
    gpt_seal(file + 512);
    expect("no sector", file, FILE_SIZE, 1, QCA_ISSUE_GPT_BACKUP_OUT_OF_FILE);
    free(file);
}

static void array_has_the_table_of_all_disks(void **state)
{
    uint8_t *file = gpt_new(512, 100);

    put(file + FILE_SIZE / 2 - 8192, 0xa92b4efc, 4);
    expect("md 1.0", file, FILE_SIZE / 2, 0, NONE);
    put(file + FILE_SIZE / 2 - 8192, 0, 4);
    put_be(file + FILE_SIZE / 2 - 65536, 0xa92b4efc, 4);
    expect("md 0.90", file, FILE_SIZE / 2, 0, NONE);
    put(file + FILE_SIZE / 2 - 65536, 0, 4);
    memcpy(file + FILE_SIZE / 2 - 1024, "Intel Raid ISM Cfg Sig. 1.0", 27);
    expect("Intel", file, FILE_SIZE / 2 + 1, 0, NONE);
    memset(file + FILE_SIZE / 2 - 1024, 0, 27);
    put_be(file + FILE_SIZE / 2 - 512, 0xde11de11, 4);
    expect("DDF", file, FILE_SIZE / 2, 0, NONE);
    put(file + FILE_SIZE / 2 - 512, 0, 4);
    expect("none", file, FILE_SIZE / 2, 1, QCA_ISSUE_GPT_BACKUP_OUT_OF_FILE);
    put(file + FILE_SIZE - 8192, 0xa92b4efc, 4);
    memset(file + FILE_SIZE - 512, 0, 512);
    expect("RAID 10 with the backup on the other disk", file, FILE_SIZE, 0, NONE);
    free(file);
}

/* A disk that has had a GPT, and now has other partitions. */
static void gpt_that_nothing_protects_is_stale(void **state)
{
    uint8_t *file = gpt_new(512, 100);

    memset(file + FILE_SIZE - 512, 'd', 512);
    expect("protected", file, FILE_SIZE, 1, QCA_ISSUE_GPT_INVALID);
    file[450] = 0x83;
    expect("stale, overwritten", file, FILE_SIZE, 0, NONE);
    put(file + 458, 1000, 4);
    expect("stale, of a larger disk", file, FILE_SIZE / 2 + 512, 0, NONE);
    put(file + 458, 100000, 4);
    expect("stale, its successor cut", file, FILE_SIZE, 1, QCA_ISSUE_PARTITION_OUT_OF_FILE);
    file[510] = 0;
    expect("no table", file, FILE_SIZE, 1, QCA_ISSUE_GPT_INVALID);
    free(file);
}

/* ---- MBR ----------------------------------------------------------------------------------- */

static void partition_put(uint8_t *sector, unsigned number, uint8_t type, uint32_t start,
                          uint32_t size)
{
    uint8_t *entry = sector + 446 + 16 * number;

    entry[4] = type;
    put(entry + 8, start, 4);
    put(entry + 12, size, 4);
    sector[510] = 0x55;
    sector[511] = 0xaa;
}

static void mbr_partitions_lie_in_the_file(void **state)
{
    uint8_t *file = file_new();
    struct qca_issue issue;

    partition_put(file, 0, 0x83, 63, 1000);
    partition_put(file, 1, 0x07, 1063, 985);
    file[446] = 0x80;
    expect("sound", file, FILE_SIZE, 0, NONE);
    partition_put(file, 1, 0x07, 1063, 985 + 16064);
    expect("less than a cylinder", file, FILE_SIZE, 0, NONE);
    partition_put(file, 1, 0x07, 1063, 985 + 16065);
    issue = expect("a cylinder", file, FILE_SIZE, 1, QCA_ISSUE_PARTITION_OUT_OF_FILE);
    assert_int_equal(issue.host_offset, 1063 * 512);
    assert_int_equal(issue.index, 446 + 16);
    partition_put(file, 1, 0x07, 2048, 10);
    expect("begins behind the end", file, FILE_SIZE, 1, QCA_ISSUE_PARTITION_OUT_OF_FILE);
    partition_put(file, 1, 0x07, UINT32_MAX, UINT32_MAX);
    expect("the largest", file, FILE_SIZE, 1, QCA_ISSUE_PARTITION_OUT_OF_FILE);
    partition_put(file, 1, 0x07, 100, UINT32_MAX);
    expect("overlap: no table", file, FILE_SIZE, 0, NONE);
    free(file);
}

static void mbr_chain_is_followed_and_ends(void **state)
{
    uint8_t *file = file_new();

    partition_put(file, 0, 0x0f, 100, 1900);
    partition_put(file + 100 * 512, 0, 0x83, 10, 90);
    partition_put(file + 100 * 512, 1, 0x05, 200, 500);
    partition_put(file + 300 * 512, 0, 0x83, 10, 90);
    expect("sound", file, FILE_SIZE, 0, NONE);
    partition_put(file + 300 * 512, 0, 0x83, 10, 90000);
    assert_int_equal(expect("logical", file, FILE_SIZE, 1,
                            QCA_ISSUE_PARTITION_OUT_OF_FILE).table_offset, 300 * 512);
    partition_put(file + 300 * 512, 0, 0x83, 10, 90);
    partition_put(file + 300 * 512, 1, 0x05, 200, 500);
    expect("a loop", file, FILE_SIZE, 0, NONE);
    partition_put(file + 300 * 512, 0, 0x83, 10, 90000);
    expect("a loop, told once", file, FILE_SIZE, 1, QCA_ISSUE_PARTITION_OUT_OF_FILE);
    free(file);
}

static void boot_sectors_are_no_tables(void **state)
{
    static const struct { unsigned at; const char *text; } kinds[] = {
        { 3, "NTFS    " }, { 3, "EXFAT   " }, { 3, "-FVE-FS-" }, { 54, "FAT16   " },
        { 82, "FAT32   " },
    };

    for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
        uint8_t *file = file_new();

        partition_put(file, 0, 0x20, 0x10203040, 0x50607080);
        expect("without", file, FILE_SIZE, 1, QCA_ISSUE_PARTITION_OUT_OF_FILE);
        memcpy(file + kinds[i].at, kinds[i].text, strlen(kinds[i].text));
        expect(kinds[i].text, file, FILE_SIZE, 0, NONE);
        free(file);
    }
}

/* ---- ISO 9660 ------------------------------------------------------------------------------ */

static uint8_t *iso_new(uint32_t blocks, uint16_t block_size)
{
    uint8_t *file = file_new(), *descriptor = file + 32768;

    memcpy(descriptor, "\1CD001\1", 7);
    put(descriptor + 80, blocks, 4);
    put_be(descriptor + 84, blocks, 4);
    put(descriptor + 128, block_size, 2);
    put_be(descriptor + 130, block_size, 2);
    return file;
}

static void volume_lies_in_the_file(void **state)
{
    uint8_t *file = iso_new(FILE_SIZE / 2048, 2048);
    struct qca_issue issue;

    expect("sound", file, FILE_SIZE, 0, NONE);
    issue = expect("cut", file, FILE_SIZE - 2048, 1, QCA_ISSUE_VOLUME_OUT_OF_FILE);
    assert_int_equal(issue.host_offset + issue.host_length, FILE_SIZE);
    file[32768 + 87] ^= 1;
    expect("recorded in two ways", file, FILE_SIZE - 2048, 0, NONE);
    free(file);

    file = iso_new(10, 2048);
    partition_put(file, 0, 0x17, 0, 100000);
    memcpy(file + 512, "EFI PART", 8);
    expect("hybrid, padded", file, FILE_SIZE, 0, NONE);
    free(file);
    file = iso_new(UINT32_MAX, 512);
    expect("the largest", file, FILE_SIZE, 1, QCA_ISSUE_VOLUME_OUT_OF_FILE);
    free(file);
    file = iso_new(UINT32_MAX, 0);
    expect("no block size", file, FILE_SIZE, 0, NONE);
    free(file);
}

/* ---- LUKS ---------------------------------------------------------------------------------- */

static void luks1_payload_lies_in_the_file(void **state)
{
    uint8_t *file = file_new();

    memcpy(file, "LUKS\xba\xbe\0\1", 8);
    expect("kept apart from its data", file, FILE_SIZE, 0, NONE);
    put_be(file + 104, 1024, 4);
    expect("sound", file, FILE_SIZE, 0, NONE);
    expect("cut", file, 1024 * 512 - 512, 1, QCA_ISSUE_LUKS_DATA_OUT_OF_FILE);
    put_be(file + 108, 64, 4);
    put_be(file + 208 + 7 * 48 + 40, 512, 4);
    put_be(file + 208 + 7 * 48 + 44, 1000, 4);
    expect("luksHeaderBackup", file, 512 * 512 + 65536, 0, NONE);
    expect("less", file, 512 * 512 + 61440, 1, QCA_ISSUE_LUKS_DATA_OUT_OF_FILE);
    expect("more", file, 512 * 512 + 65536 + 512, 1, QCA_ISSUE_LUKS_DATA_OUT_OF_FILE);
    put_be(file + 104, UINT32_MAX, 4);
    expect("the largest", file, FILE_SIZE, 1, QCA_ISSUE_LUKS_DATA_OUT_OF_FILE);
    put_be(file + 208 + 44, UINT32_MAX, 4);
    put_be(file + 108, UINT32_MAX, 4);
    expect("slots that overflow", file, FILE_SIZE, 1, QCA_ISSUE_LUKS_DATA_OUT_OF_FILE);
    free(file);
}

static void luks2_segments_lie_in_the_file(void **state)
{
    static const struct { const char *text; int n; } cases[] = {
        { "{\"segments\":{\"0\":{\"type\":\"crypt\",\"offset\":\"524288\",\"size\":\"dynamic\"}}}",
          0 },
        { "{\"segments\":{\"0\":{\"offset\":\"1048577\",\"size\":\"dynamic\"}}}", 1 },
        { "{\"segments\":{\"0\":{\"offset\":\"524288\",\"size\":\"524288\"}}}", 0 },
        { "{ \"segments\" : { \"0\" : { \"offset\" : \"524288\" , \"size\" : \"524800\" } } }", 1 },
        { "{\"segments\":{\"0\":{\"offset\":\"9\",\"size\":\"18446744073709551615\"}}}", 1 },
        { "{\"segments\":{\"0\":{\"offset\":\"0\",\"size\":\"999999999\"}}}", 0 },
        { "{\"segments\":{\"0\":{\"offset\":\"99999999\",\"size\":\"1\",\"flags\":[\"x\"]}}}", 0 },
        { "{\"keyslots\":{\"0\":{\"offset\":\"99999999\",\"size\":\"1\"}}}", 0 },
        { "{\"a\":{\"segments\":{\"offset\":\"99999999\",\"size\":\"1\"}}}", 0 },
        { "{\"segments\":{\"0\":{\"offset\":\"99999999999999999999\",\"size\":\"1\"}}}", 0 },
        { "{\"segments\":{\"0\":{\"offset\":\"99999999\",\"size", 0 },
        { "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 0 },
    };
    uint8_t *file = file_new();

    memcpy(file, "LUKS\xba\xbe\0\2", 8);
    put_be(file + 8, 16384, 8);
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        memset(file + 4096, 0, 4096);
        memcpy(file + 4096, cases[i].text, strlen(cases[i].text));
        expect(cases[i].text, file, FILE_SIZE, cases[i].n, QCA_ISSUE_LUKS_DATA_OUT_OF_FILE);
    }
    expect("in the second header", file, 20480, 1, QCA_ISSUE_LUKS_DATA_OUT_OF_FILE);
    put_be(file + 8, UINT64_MAX, 8);
    expect("no size", file, FILE_SIZE, 0, NONE);
    free(file);
}

/* ---- appliances ---------------------------------------------------------------------------- */

static void tar_seal(uint8_t *header)
{
    uint32_t sum = 0;

    memset(header + 148, ' ', 8);
    for (unsigned i = 0; i < 512; i++)
        sum += header[i];
    snprintf((char *)header + 148, 8, "%06o", sum);
}

/* The bytes that it takes. */
static size_t member_put(uint8_t *at, const char *name, char type, const void *data, size_t size)
{
    snprintf((char *)at, 100, "%s", name);
    snprintf((char *)at + 124, 12, "%011zo", size);
    at[156] = (uint8_t)type;
    memcpy(at + 257, "ustar\0" "00", 8);
    memmove(at + 512, data, size);      /* of the same file, perhaps */
    tar_seal(at);
    return 512 + (size + 511) / 512 * 512;
}

static const char descriptor[] =
    "<?xml version='1.0'?><Envelope><!-- <File ovf:href=\"comment\"/> --><References>"
    "<File ovf:href=\"disk.vmdk\" ovf:size=\"3000\"/><ovf:File ovf:id='>' ovf:href='http://a/b'/>"
    "<File ovf:href=\"big\" ovf:chunkSize=\"1\"/><FileX href=\"none\"/></References></Envelope>";

static size_t manifest_make(char *text, size_t size, const uint8_t *disk)
{
    uint8_t digest[32];
    int n = snprintf(text, size, "SHA9(gone)= 00\nno line\nSHA256 (./disk.vmdk) = ");

    assert_int_equal(EVP_Digest(disk, 3000, digest, NULL, EVP_sha256(), NULL), 1);
    for (unsigned i = 0; i < 32; i++)
        n += snprintf(text + n, size - (size_t)n, "%02X", digest[i]);
    return (size_t)n;
}

struct appliance {
    uint8_t *file;
    size_t size, disk, manifest;        /* of the file; where these members begin */
};

static struct appliance appliance_new(void)
{
    struct appliance a = { .file = file_new() };
    uint8_t disk[3000];
    char text[300];

    memset(disk, 'd', sizeof(disk));
    a.size = member_put(a.file, "a.ovf", '0', descriptor, sizeof(descriptor) - 1);
    a.manifest = a.size;
    a.size += member_put(a.file + a.size, "a.mf", '0', text,
                         manifest_make(text, sizeof(text), disk));
    a.disk = a.size;
    a.size += member_put(a.file + a.size, "disk.vmdk", '0', disk, sizeof(disk)) + 1024;
    return a;
}

static void appliance_is_whole(void **state)
{
    struct appliance a = appliance_new();
    struct qca_issue issue;

    expect_deep("sound", a.file, a.size, true, 0, NONE);
    expect_deep("no end", a.file, a.size - 1024, true, 0, NONE);
    expect_deep("no padding", a.file, a.disk + 512 + 3000, true, 0, NONE);
    issue = expect("cut", a.file, a.disk + 512 + 2999, 1, QCA_ISSUE_MEMBER_OUT_OF_FILE);
    assert_int_equal(issue.host_offset, a.disk + 512);
    assert_int_equal(issue.host_length, 3000);
    expect("cut in a header", a.file, a.disk + 200, 1, QCA_ISSUE_MEMBER_OUT_OF_FILE);
    expect("cut between two", a.file, a.disk, 2, QCA_ISSUE_MEMBER_MISSING);
    a.file[a.disk + 600] ^= 1;
    expect("other bytes", a.file, a.size, 0, NONE);
    issue = expect_deep("other bytes", a.file, a.size, true, 1, QCA_ISSUE_MEMBER_DIGEST_WRONG);
    assert_int_equal(issue.host_offset, a.disk + 512);
    a.file[a.disk] ^= 1;
    expect("a header", a.file, a.size, 1, QCA_ISSUE_MEMBER_HEADER_INVALID);
    tar_seal(a.file + a.disk);
    expect("another name", a.file, a.size, 2, QCA_ISSUE_MEMBER_MISSING);
    free(a.file);
}

static void sizes_and_names_of_all_dialects(void **state)
{
    static const char size[] = "13 size=3000\n", name[] = "18 path=disk.vmdk\n";
    struct appliance a = appliance_new();
    uint8_t *disk = a.file + a.disk, *copy = file_new();
    size_t at;

    memset(disk + 124, 0, 12);
    disk[124] = 0x80;
    put_be(disk + 132, 3000, 4);
    tar_seal(disk);
    expect_deep("base 256", a.file, a.size, true, 0, NONE);
    memset(disk + 124, 0xff, 12);
    tar_seal(disk);
    expect("negative", a.file, a.size, 1, QCA_ISSUE_MEMBER_HEADER_INVALID);
    memcpy(disk + 124, "77777777777", 12);
    tar_seal(disk);
    expect("8 GiB", a.file, a.size, 1, QCA_ISSUE_MEMBER_OUT_OF_FILE);

    memcpy(copy, a.file, a.disk);
    at = a.disk + member_put(copy + a.disk, "pax", 'x', size, sizeof(size) - 1);
    memcpy(copy + at, disk, a.size - a.disk);
    expect_deep("pax: size", copy, at + a.size - a.disk, true, 0, NONE);
    member_put(copy + a.disk, "pax", 'x', name, sizeof(name) - 1);
    member_put(copy + at, "other", '0', disk + 512, 3000);
    expect_deep("pax: path", copy, at + a.size - a.disk, true, 0, NONE);
    member_put(copy + a.disk, "././@LongLink", 'L', "disk.vmdk", 10);
    expect_deep("GNU: name", copy, at + a.size - a.disk, true, 0, NONE);
    free(copy);
    free(a.file);
}

/* The disk is a link, or its holes are left out: it is there, and no digest can be compared. */
static void links_and_sparse_files_are_members(void **state)
{
    static const char pax[] = "22 GNU.sparse.major=1\n29 GNU.sparse.name=disk.vmdk\n"
                              "34 path=GNUSparseFile.0/disk.vmdk\n";
    struct appliance a = appliance_new();
    uint8_t *disk = a.file + a.disk, *copy = file_new();
    size_t at;

    memcpy(copy, a.file, a.disk);
    for (const char *type = "12"; *type != '\0'; type++) {
        memset(copy + a.disk, 0, FILE_SIZE - a.disk);
        at = a.disk + member_put(copy + a.disk, "disk.vmdk", *type, "", 0);
        expect_deep("a link", copy, at, true, 0, NONE);
    }
    memset(copy + a.disk, 0, FILE_SIZE - a.disk);
    at = a.disk + member_put(copy + a.disk, "pax", 'x', pax, sizeof(pax) - 1);
    at += member_put(copy + at, "GNUSparseFile.0/disk.vmdk", '0', disk + 512, 1000);
    expect_deep("pax: sparse", copy, at, true, 0, NONE);

    memset(copy + a.disk, 0, FILE_SIZE - a.disk);
    member_put(copy + a.disk, "disk.vmdk", 'S', "", 0);
    snprintf((char *)copy + a.disk + 124, 12, "%011o", 1000);
    copy[a.disk + 482] = 1;
    tar_seal(copy + a.disk);
    copy[a.disk + 512 + 504] = 1;
    memset(copy + a.disk + 3 * 512, 'd', 1000);
    at = a.disk + 5 * 512;
    expect_deep("GNU: sparse, two more blocks of its map", copy, at, true, 0, NONE);
    expect("cut in its data", copy, at - 512, 1, QCA_ISSUE_MEMBER_OUT_OF_FILE);
    expect("cut in its map", copy, a.disk + 600, 1, QCA_ISSUE_MEMBER_OUT_OF_FILE);
    for (at = a.disk; at < FILE_SIZE; at += 512)
        copy[at + 504] = 1;
    tar_seal(copy + a.disk);
    expect("a map without end", copy, FILE_SIZE, 1, QCA_ISSUE_MEMBER_OUT_OF_FILE);
    free(copy);
    free(a.file);
}

/* tar -r */
static void what_is_appended_is_newer(void **state)
{
    struct appliance a = appliance_new();
    size_t at = a.size - 1024;
    uint8_t disk[3000] = { 'x' };
    char text[300];

    at += member_put(a.file + at, "disk.vmdk", '0', disk, sizeof(disk));
    expect_deep("another disk", a.file, at, true, 1, QCA_ISSUE_MEMBER_DIGEST_WRONG);
    at += member_put(a.file + at, "a.mf", '0', text, manifest_make(text, sizeof(text), disk));
    expect_deep("and its manifest", a.file, at, true, 0, NONE);
    free(a.file);
}

/* Whatever it says, it ends soon: as many members, and digests of all of them, as the file has. */
static void hostile_appliances_are_bounded(void **state)
{
    static const char line[] =
        "SHA256(b)= 0000000000000000000000000000000000000000000000000000000000000000\n";
    uint8_t *file = file_new();
    char *text = malloc(1000 * (sizeof(line) - 1) + 1);
    size_t at = 0;

    assert_non_null(text);
    for (int i = 0; i < 1000; i++)
        memcpy(text + i * (sizeof(line) - 1), line, sizeof(line));
    at += member_put(file, "a.ovf", '0', "<File", 5);
    at += member_put(file + at, "a.mf", '0', text, 1000 * (sizeof(line) - 1));
    member_put(file + at, "b", '0', file, 900 << 10);
    expect_deep("once", file, FILE_SIZE, true, 1, QCA_ISSUE_MEMBER_DIGEST_WRONG);
    for (at = 0; at < FILE_SIZE; at += 512)
        member_put(file + at, at ? "x" : "a.ovf", '0', "", 0);
    expect("many", file, FILE_SIZE, 0, NONE);
    free(text);
    free(file);
}

static void nothing_to_check(void **state)
{
    uint8_t *file = file_new();

    expect("zeros", file, FILE_SIZE, -EOPNOTSUPP, NONE);
    expect("small", file, 1, -EOPNOTSUPP, NONE);
    file[510] = 0x55;
    file[511] = 0xaa;
    expect("a boot sector", file, FILE_SIZE, -EOPNOTSUPP, NONE);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt_tells_where_the_disk_ends),
        cmocka_unit_test(gpt_damage_is_the_guests),
        cmocka_unit_test(array_has_the_table_of_all_disks),
        cmocka_unit_test(gpt_that_nothing_protects_is_stale),
        cmocka_unit_test(mbr_partitions_lie_in_the_file),
        cmocka_unit_test(mbr_chain_is_followed_and_ends),
        cmocka_unit_test(boot_sectors_are_no_tables),
        cmocka_unit_test(volume_lies_in_the_file),
        cmocka_unit_test(luks1_payload_lies_in_the_file),
        cmocka_unit_test(luks2_segments_lie_in_the_file),
        cmocka_unit_test(appliance_is_whole),
        cmocka_unit_test(sizes_and_names_of_all_dialects),
        cmocka_unit_test(links_and_sparse_files_are_members),
        cmocka_unit_test(what_is_appended_is_newer),
        cmocka_unit_test(hostile_appliances_are_bounded),
        cmocka_unit_test(nothing_to_check),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
