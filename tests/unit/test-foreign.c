/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Formats that are not understood: each is told by its magic and never raw, its header is read
 * within bounds, and what only looks like one stays raw. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/map.h"
#include "qcaudit/qcaudit.h"

enum { FILE_SIZE = 1 << 20 };

struct opened {
    struct qca_io *io;
    struct qca_image *image;
    const struct qca_image_info *info;
    struct qca_error error;
    enum qca_format probed;
};

static void open_bytes(const void *bytes, size_t size, struct opened *ret)
{
    *ret = (struct opened){ 0 };
    assert_int_equal(qca_io_new_memory(bytes, size, &ret->io), 0);
    assert_int_equal(qca_probe(ret->io, &ret->probed), 0);
    if (qca_image_open(ret->io, NULL, &ret->error, &ret->image) == 0) {
        ret->info = qca_image_info(ret->image);
        assert_int_equal(ret->info->format, ret->probed);
    } else
        assert_int_not_equal(ret->error.kind, QCA_ERROR_NONE);
}

static void done(struct opened *opened)
{
    qca_image_free(opened->image);
    qca_io_free(opened->io);
}

static void put(uint8_t *at, uint64_t value, unsigned size, bool big_endian)
{
    for (unsigned i = 0; i < size; i++)
        at[big_endian ? size - 1 - i : i] = (uint8_t)(value >> (8 * i));
}

static void put_utf16(uint8_t *at, const char *text, bool big_endian)
{
    for (; *text; text++, at += 2)
        put(at, (uint8_t)*text, 2, big_endian);
}

/* ---- makers: the smallest file of each format, with a disk of 4 MiB -------------------------- */

#define DISK (UINT64_C(4) << 20)

static void make_sparse(uint8_t *file)
{
    memcpy(file, "KDMV", 4);
    put(file + 4, 1, 4, false);
    put(file + 12, DISK / 512, 8, false);
    put(file + 20, 128, 8, false);
    put(file + 28, 1, 8, false);
    put(file + 36, 20, 8, false);
    strcpy((char *)file + 512, "# Disk DescriptorFile\nparentFileNameHint=\"base.vmdk\"\n"
                               "RW 8192 SPARSE \"me.vmdk\"\n");
}

static void make_stream(uint8_t *file)
{
    uint8_t *footer = file + FILE_SIZE - 1024;

    memcpy(file, "KDMV", 4);
    put(file + 4, 3, 4, false);
    put(file + 8, 1 << 16, 4, false);
    put(file + 56, UINT64_MAX, 8, false);
    memcpy(footer, file, 512);
    put(footer + 12, DISK / 512, 8, false);
}

static void make_cowd(uint8_t *file)
{
    memcpy(file, "COWD", 4);
    put(file + 4, 1, 4, false);
    put(file + 12, DISK / 512, 4, false);
    put(file + 16, 1, 4, false);
}

static void make_se_sparse(uint8_t *file)
{
    put(file, 0xcafebabe, 8, false);
    put(file + 8, UINT64_C(0x0000000200000001), 8, false);
    put(file + 16, DISK / 512, 8, false);
    put(file + 24, 8, 8, false);
}

static void make_vdi(uint8_t *file)
{
    put(file + 64, 0xbeda107f, 4, false);
    put(file + 68, 0x00010001, 4, false);
    put(file + 76, 1, 4, false);
    put(file + 368, DISK - 5, 8, false);        /* no whole sectors: rounded up */
    put(file + 376, 1 << 20, 4, false);
}

/* A parent is known by its UUID, which is no name. */
static void make_vdi_layer(uint8_t *file)
{
    make_vdi(file);
    put(file + 76, 4, 4, false);
    put(file + 340, 512, 4, false);             /* offBlocks, offData, cBlocks, one is allocated */
    put(file + 344, 1024, 4, false);
    put(file + 376, 64 << 10, 4, false);
    put(file + 384, 64, 4, false);
    put(file + 388, 1, 4, false);
    memset(file + 512, 0xff, 4 * 64);
    put(file + 512 + 8, 0, 4, false);
    for (unsigned i = 0; i < 16; i++) {
        file[392 + i] = (uint8_t)i;
        file[424 + i] = (uint8_t)(0xf0 + i);
    }
}

static void footer_put(uint8_t *footer, uint32_t type, uint64_t size)
{
    uint32_t sum = 0;

    memset(footer, 0, 512);
    memcpy(footer, "conectix", 8);
    put(footer + 12, 0x10000, 4, true);
    put(footer + 16, 512, 8, true);
    memcpy(footer + 28, "win ", 4);
    put(footer + 48, size, 8, true);
    put(footer + 60, type, 4, true);
    for (unsigned i = 0; i < 512; i++)
        sum += footer[i];
    put(footer + 64, ~sum, 4, true);
}

static void make_dynamic(uint8_t *file)
{
    footer_put(file, 3, DISK);
    memcpy(file + 512, "cxsparse", 8);
    put(file + 512 + 32, 2 << 20, 4, true);
}

static void make_differencing(uint8_t *file)
{
    uint8_t *locator = file + 512 + 576 + 24;   /* the second */

    footer_put(file, 4, DISK);
    memcpy(file + 512, "cxsparse", 8);
    put_utf16(file + 512 + 64, "other.vhd", true);
    memcpy(locator, "W2ru", 4);
    put(locator + 8, 2 * 14, 4, true);
    put(locator + 16, 4096, 8, true);
    put_utf16(file + 4096, ".\\dir\\base.vhd", false);
}

static void make_fixed(uint8_t *file)
{
    footer_put(file + FILE_SIZE - 512, 2, FILE_SIZE - 512);
}

static void metadata_put(uint8_t *entry, const uint8_t *guid, uint32_t offset, uint32_t length)
{
    memcpy(entry, guid, 16);
    put(entry + 16, offset, 4, false);
    put(entry + 20, length, 4, false);
}

static void make_vhdx(uint8_t *file)
{
    static const uint8_t region[] = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                      0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e };
    static const uint8_t size[] = { 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
                                    0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8 };
    static const uint8_t parameters[] = { 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                          0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b };
    static const uint8_t parent[] = { 0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45,
                                      0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c };
    uint8_t *second = file + (256 << 10), *metadata = file + (512 << 10),
            *locator = metadata + (64 << 10) + 64;

    memcpy(file, "vhdxfile", 8);
    memcpy(second, "regi", 4);          /* the first table is torn */
    put(second + 8, 1, 4, false);
    memcpy(second + 16, region, 16);
    put(second + 32, 512 << 10, 8, false);
    memcpy(metadata, "metadata", 8);
    put(metadata + 10, 3, 2, false);
    metadata_put(metadata + 32, size, 64 << 10, 8);
    metadata_put(metadata + 64, parameters, (64 << 10) + 8, 8);
    metadata_put(metadata + 96, parent, (64 << 10) + 64, 200);
    put(metadata + (64 << 10), DISK, 8, false);
    put(metadata + (64 << 10) + 8, 1 << 20, 4, false);
    put(metadata + (64 << 10) + 12, 2, 4, false);
    put(locator + 18, 1, 2, false);
    put(locator + 20, 40, 4, false);
    put(locator + 24, 100, 4, false);
    put(locator + 28, 2 * 19, 2, false);
    put(locator + 30, 2 * 12, 2, false);
    put_utf16(locator + 40, "absolute_win32_path", false);
    put_utf16(locator + 100, "C:\\base.vhdx", false);
}

static void make_qed(uint8_t *file)
{
    memcpy(file, "QED", 4);
    put(file + 4, 65536, 4, false);
    put(file + 16, 1 | 4, 8, false);
    put(file + 48, DISK, 8, false);
    put(file + 56, 100, 4, false);
    put(file + 60, 8, 4, false);
    memcpy(file + 100, "base.img", 8);
}

static void make_parallels_old(uint8_t *file)
{
    memcpy(file, "WithoutFreeSpace", 16);
    put(file + 16, 2, 4, false);
    put(file + 28, 128, 4, false);
    put(file + 36, DISK / 512 | UINT64_C(0x7700000000), 8, false);
}

static void make_parallels(uint8_t *file)
{
    memcpy(file, "WithouFreSpacExt", 16);
    put(file + 16, 2, 4, false);
    put(file + 28, 2048, 4, false);
    put(file + 36, DISK / 512, 8, false);
}

static void make_qcow(uint8_t *file)
{
    memcpy(file, "QFI\xfb", 4);
    put(file + 4, 1, 4, true);
    put(file + 8, 48, 8, true);
    put(file + 16, 9, 4, true);
    put(file + 24, DISK, 8, true);
    file[32] = 12;
    memcpy(file + 48, "base.qcow", 9);
}

static void make_dmg(uint8_t *file)
{
    uint8_t *trailer = file + FILE_SIZE - 512;

    memcpy(trailer, "koly", 4);
    put(trailer + 4, 4, 4, true);
    put(trailer + 8, 512, 4, true);
    put(trailer + 32, 4096, 8, true);
    put(trailer + 216, 4096, 8, true);
    put(trailer + 224, 100, 8, true);
    put(trailer + 492, DISK / 512, 8, true);
}

static void make_cloop(uint8_t *file)
{
    strcpy((char *)file, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 "
                         "/dev/cloop $1\n");
    put(file + 128, 65536, 4, true);
    put(file + 132, DISK / 65536, 4, true);
}

static void make_bochs(uint8_t *file)
{
    strcpy((char *)file, "Bochs Virtual HD Image");
    strcpy((char *)file + 32, "Redolog");
    strcpy((char *)file + 48, "Growing");
    put(file + 64, 0x00020000, 4, false);
    put(file + 88, DISK, 8, false);
}

static void make_ova(uint8_t *file)
{
    strcpy((char *)file, "appliance.ovf");
    memcpy(file + 257, "ustar\0" "00", 8);
}

static void make_iso(uint8_t *file)
{
    memcpy(file + 32768, "\1CD001\1", 7);
    file[510] = 0x55;                   /* a hybrid medium has a partition table, too */
    file[511] = 0xaa;
    file[446] = 0x80;
    file[450] = 0x17;
    file[458] = 1;
    memcpy(file + 512, "EFI PART", 8);
}

static void make_gpt(uint8_t *file)
{
    memcpy(file + 512, "EFI PART", 8);
}

static void make_mbr(uint8_t *file)
{
    file[510] = 0x55;
    file[511] = 0xaa;
    file[450] = 0x83;
    file[458] = 1;
}

static void make_luks(uint8_t *file)
{
    memcpy(file, "LUKS\xba\xbe\0\2", 8);
}

static void make_nothing(uint8_t *file)
{
    file[510] = 0x55;                   /* a boot sector without partitions */
    file[511] = 0xaa;
}

static const struct row {
    const char *what;
    void (*make)(uint8_t *file);
    enum qca_format format;
    enum qca_variant variant;
    uint64_t virtual_size;
    const char *parent, *parent_format;
} rows[] = {
    { "vmdk, sparse", make_sparse, QCA_FORMAT_VMDK, QCA_VARIANT_VMDK_SPARSE, DISK, "base.vmdk",
      "vmdk" },
    { "vmdk, a stream's footer", make_stream, QCA_FORMAT_VMDK, QCA_VARIANT_VMDK_STREAM, DISK, NULL,
      NULL },
    { "vmdk, COWD", make_cowd, QCA_FORMAT_VMDK, QCA_VARIANT_VMDK_COWD, DISK, NULL, NULL },
    { "vmdk, SESparse", make_se_sparse, QCA_FORMAT_VMDK, QCA_VARIANT_VMDK_SESPARSE, DISK, NULL,
      NULL },
    { "vdi", make_vdi, QCA_FORMAT_VDI, QCA_VARIANT_DYNAMIC, DISK, NULL, NULL },
    { "vdi, differencing", make_vdi_layer, QCA_FORMAT_VDI, QCA_VARIANT_DIFFERENCING, DISK, NULL,
      NULL },
    { "vpc, dynamic", make_dynamic, QCA_FORMAT_VPC, QCA_VARIANT_DYNAMIC, DISK, NULL, NULL },
    { "vpc, differencing", make_differencing, QCA_FORMAT_VPC, QCA_VARIANT_DIFFERENCING, DISK,
      "dir/base.vhd", "vpc" },
    { "vpc, fixed", make_fixed, QCA_FORMAT_VPC, QCA_VARIANT_FIXED, FILE_SIZE - 512, NULL, NULL },
    { "vhdx", make_vhdx, QCA_FORMAT_VHDX, QCA_VARIANT_DIFFERENCING, DISK, "base.vhdx", "vhdx" },
    { "qed", make_qed, QCA_FORMAT_QED, QCA_VARIANT_NONE, DISK, "base.img", "raw" },
    { "parallels, the first magic", make_parallels_old, QCA_FORMAT_PARALLELS, QCA_VARIANT_NONE,
      DISK, NULL, NULL },
    { "parallels, the second magic", make_parallels, QCA_FORMAT_PARALLELS, QCA_VARIANT_NONE, DISK,
      NULL, NULL },
    { "qcow", make_qcow, QCA_FORMAT_QCOW, QCA_VARIANT_NONE, DISK, "base.qcow", NULL },
    { "dmg", make_dmg, QCA_FORMAT_DMG, QCA_VARIANT_NONE, DISK, NULL, NULL },
    { "cloop", make_cloop, QCA_FORMAT_CLOOP, QCA_VARIANT_NONE, DISK, NULL, NULL },
    { "bochs", make_bochs, QCA_FORMAT_BOCHS, QCA_VARIANT_NONE, DISK, NULL, NULL },
    { "ova", make_ova, QCA_FORMAT_OVA, QCA_VARIANT_NONE, 0, NULL, NULL },
    { "raw, a hybrid ISO", make_iso, QCA_FORMAT_RAW, QCA_VARIANT_RAW_ISO9660, FILE_SIZE, NULL,
      NULL },
    { "raw, GPT", make_gpt, QCA_FORMAT_RAW, QCA_VARIANT_RAW_GPT, FILE_SIZE, NULL, NULL },
    { "raw, MBR", make_mbr, QCA_FORMAT_RAW, QCA_VARIANT_RAW_MBR, FILE_SIZE, NULL, NULL },
    { "raw, LUKS", make_luks, QCA_FORMAT_RAW, QCA_VARIANT_RAW_LUKS, FILE_SIZE, NULL, NULL },
    { "raw, a boot sector", make_nothing, QCA_FORMAT_RAW, QCA_VARIANT_NONE, FILE_SIZE, NULL,
      NULL },
};

static void text_equal(const char *is, const char *should)
{
    assert_int_equal(!is, !should);
    if (should)
        assert_string_equal(is, should);
}

static void each_format_is_told(void **state)
{
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        uint8_t *file = calloc(1, FILE_SIZE);
        struct opened opened;

        assert_non_null(file);
        rows[i].make(file);
        open_bytes(file, FILE_SIZE, &opened);
        if (!opened.info)
            fail_msg("%s: %s", rows[i].what, opened.error.text);
        if (opened.info->format != rows[i].format || opened.info->variant != rows[i].variant ||
            opened.info->virtual_size != rows[i].virtual_size)
            fail_msg("%s: %s, %s, %llu", rows[i].what, qca_format_name(opened.info->format),
                     qca_variant_name(opened.info->variant),
                     (unsigned long long)opened.info->virtual_size);
        text_equal(opened.info->parent, rows[i].parent);
        text_equal(opened.info->parent_format, rows[i].parent_format);
        assert_int_equal(qca_info_is_understood(opened.info),
                         qca_format_has(rows[i].format, QCA_TRAIT_UNDERSTOOD) &&
                             (opened.info->variant != QCA_VARIANT_DIFFERENCING ||
                              opened.info->parent) &&
                             opened.info->variant != QCA_VARIANT_VMDK_DESCRIPTOR &&
                             opened.info->variant != QCA_VARIANT_VMDK_COWD &&
                             opened.info->variant != QCA_VARIANT_VMDK_SESPARSE);
        done(&opened);
        free(file);
    }
}

/* However a file is cut, it is opened or there is a reason; nothing is read that is not there. */
/* There is no content, as its parent has no name; tables and blocks are checked all the same. */
static void a_layer_of_a_vdi_is_checked(void **state)
{
    uint8_t *file = calloc(1, FILE_SIZE);

    assert_non_null(file);
    make_vdi_layer(file);
    for (unsigned damaged = 0; damaged < 2; damaged++) {
        const struct qca_chain_options alone = { .layer_only = true };
        struct qca_check_result result;
        struct qca_chain *chain;
        struct opened opened;
        struct qca_map *map;

        put(file + 512 + 4, damaged ? 0 : UINT32_MAX, 4, false);    /* the block of another one */
        put(file + 388, 1 + damaged, 4, false);
        open_bytes(file, 1024 + (64 << 10), &opened);
        assert_string_equal(opened.info->identity.text, "03020100-0504-0706-0809-0a0b0c0d0e0f");
        assert_string_equal(opened.info->parent_identity.text,
                            "f3f2f1f0-f5f4-f7f6-f8f9-fafbfcfdfeff");
        assert_int_equal(qca_check(opened.image, NULL, &result), 0);
        assert_true(result.finished);
        assert_int_equal(result.total_clusters, 64);
        assert_int_equal(result.n_issues, damaged);
        assert_int_equal(qca_check_count(&result, QCA_ISSUE_BLOCK_MAPPED_TWICE), damaged);
        qca_check_result_done(&result);
        assert_int_equal(qca_chain_open(opened.image, &alone, NULL, NULL, NULL, &chain), 0);
        assert_int_equal(qca_map_new(chain, NULL, NULL, &map), -EOPNOTSUPP);
        qca_chain_free(chain);
        done(&opened);
    }
    free(file);
}

static void cut_files_are_refused_with_a_reason(void **state)
{
    static const size_t sizes[] = { 0, 1, 3, 4, 8, 63, 64, 79, 391, 511, 512, 513, 1024, 1536,
                                    4096, 65536, (256 << 10) + 40, (512 << 10) + 100 };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        uint8_t *file = calloc(1, FILE_SIZE);

        assert_non_null(file);
        rows[i].make(file);
        for (size_t s = 0; s < ELEMENTSOF(sizes); s++) {
            uint8_t *cut = malloc(sizes[s] ? sizes[s] : 1);     /* so that reads behind are seen */
            struct opened opened;

            assert_non_null(cut);
            memcpy(cut, file, sizes[s]);
            open_bytes(cut, sizes[s], &opened);
            done(&opened);
            free(cut);
        }
        free(file);
    }
}

static void what_a_guest_may_have_at_the_end_stays_raw(void **state)
{
    struct opened opened;
    uint8_t *file = calloc(1, FILE_SIZE), *tail = file + FILE_SIZE - 512;

    assert_non_null(file);
    make_fixed(file);
    tail[100] ^= 1;                     /* the checksum does not fit */
    open_bytes(file, FILE_SIZE, &opened);
    assert_int_equal(opened.probed, QCA_FORMAT_RAW);
    done(&opened);
    footer_put(tail, 2, FILE_SIZE / 2); /* of another disk, which lies somewhere in this one */
    open_bytes(file, FILE_SIZE, &opened);
    assert_int_equal(opened.probed, QCA_FORMAT_RAW);
    done(&opened);
    footer_put(tail, 2, 2 * (uint64_t)FILE_SIZE);
    open_bytes(file, FILE_SIZE, &opened);
    assert_int_equal(opened.probed, QCA_FORMAT_RAW);
    done(&opened);
    footer_put(tail, 3, FILE_SIZE - 512);       /* a dynamic one begins with its footer, too */
    open_bytes(file, FILE_SIZE, &opened);
    assert_int_equal(opened.probed, QCA_FORMAT_RAW);
    done(&opened);
    memset(tail, 0, 512);
    make_dmg(file);
    put(tail + 8, 100, 4, true);
    open_bytes(file, FILE_SIZE, &opened);
    assert_int_equal(opened.probed, QCA_FORMAT_RAW);
    done(&opened);
    make_dmg(file);
    put(tail + 216, FILE_SIZE, 8, true);        /* its property list is not there */
    open_bytes(file, FILE_SIZE, &opened);
    assert_int_equal(opened.probed, QCA_FORMAT_RAW);
    done(&opened);
    memset(file, 0, FILE_SIZE);
    strcpy((char *)file, "etc/passwd"); /* an archive, as on a tape */
    memcpy(file + 257, "ustar", 5);
    open_bytes(file, FILE_SIZE, &opened);
    assert_int_equal(opened.probed, QCA_FORMAT_RAW);
    done(&opened);
    free(file);
}

static void a_footer_need_not_end_a_sector(void **state)
{
    struct opened opened;
    uint8_t *file = calloc(1, FILE_SIZE + 512);
    uint8_t footer[512];

    assert_non_null(file);
    footer_put(file + 1000, 2, 1000 - 1000 % 512);
    open_bytes(file, 1512, &opened);
    assert_int_equal(opened.probed, QCA_FORMAT_VPC);
    done(&opened);
    footer_put(footer, 2, FILE_SIZE);   /* of 511 bytes, as before 2004 */
    memcpy(file + FILE_SIZE, footer, 511);
    open_bytes(file, FILE_SIZE + 511, &opened);
    assert_int_equal(opened.probed, QCA_FORMAT_VPC);
    assert_int_equal(opened.info->virtual_size, FILE_SIZE);
    done(&opened);
    free(file);
}

static void open_text(const char *text, struct opened *ret)
{
    open_bytes(text, strlen(text), ret);
}

static void descriptors_are_told_however_they_begin(void **state)
{
    static const char *const texts[] = {
        "# Disk DescriptorFile\nversion=1\ncreateType=\"vmfs\"\nRW 8 VMFS \"a-flat.vmdk\"\n",
        "#disk descriptorfile\r\nversion=1\r\nRW 8 VMFS \"a-flat.vmdk\"\r\n",
        "\xef\xbb\xbf# Disk DescriptorFile\nRW 8 FLAT \"a-flat.vmdk\" 0\n",
        ("\n\n# made by hand\n \r\nversion=3\ncreateType=\"monolithicFlat\"\n"
         "RW 8 FLAT \"a-flat.vmdk\" 0\n"),
        "version = 2\ncreateType=\"vmfs\"\nRW 8 VMFS \"a-flat.vmdk\"",
    };
    static const char *const others[] = {
        "version=1\n", "# a comment\nversion=1\nname=x\n", "version=4\ncreateType=\"vmfs\"\n",
        "name=x\nversion=1\ncreateType=\"vmfs\"\n", "# only\n# comments\n", "",
    };
    struct opened opened;

    for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
        open_text(texts[i], &opened);
        if (!opened.info || opened.probed != QCA_FORMAT_VMDK)
            fail_msg("text %zu: %s", i, opened.error.text);
        assert_int_equal(opened.info->variant, QCA_VARIANT_VMDK_DESCRIPTOR);
        assert_int_equal(opened.info->virtual_size, 8 * 512);
        assert_int_equal(opened.info->n_extents, 1);
        assert_string_equal(opened.info->extents[0].name, "a-flat.vmdk");
        done(&opened);
    }
    for (size_t i = 0; i < ELEMENTSOF(others); i++) {
        open_text(others[i], &opened);
        if (opened.probed != QCA_FORMAT_RAW)
            fail_msg("other %zu is %s", i, qca_format_name(opened.probed));
        done(&opened);
    }
}

static void a_descriptor_names_parent_and_extents(void **state)
{
    struct opened opened;

    open_text("# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=2\ncreateType=\"custom\"\n"
              "parentFileNameHint=\"..\\base\\my base.vmdk\"\n\n# Extent description\n"
              "RW 63 ZERO\nRW 8192 SPARSE \"a b-s001.vmdk\"\nRDONLY 16 FLAT \"/etc/passwd\" 7\n"
              "NOACCESS 1 ZERO\nRW x SPARSE \"bad\"\nRW 8 FLAT \"unended\nddb.adapterType = "
              "\"ide\"\n"
              "run me\n",
              &opened);
    assert_non_null(opened.info);
    assert_string_equal(opened.info->parent, "../base/my base.vmdk");
    assert_string_equal(opened.info->parent_format, "vmdk");
    assert_int_equal(opened.info->n_extents, 4);
    assert_null(opened.info->extents[0].name);
    assert_string_equal(opened.info->extents[0].type, "ZERO");
    assert_string_equal(opened.info->extents[1].name, "a b-s001.vmdk");
    assert_int_equal(opened.info->extents[1].size, 8192 * 512);
    assert_string_equal(opened.info->extents[2].name, "/etc/passwd");
    assert_int_equal(opened.info->extents[2].offset, 7 * 512);
    assert_int_equal(opened.info->virtual_size, (63 + 8192 + 16 + 1) * 512);
    assert_int_equal(opened.info->unknown_lines, 3);
    done(&opened);
}

static void hostile_descriptors_are_bounded(void **state)
{
    const char *line = "RW 1 FLAT \"x\" 0\n";
    const size_t many = QCA_EXTENT_FILES_MAX + 1;
    char *text = malloc(64 + many * strlen(line));
    struct opened opened;

    assert_non_null(text);
    strcpy(text, "# Disk DescriptorFile\n");
    for (size_t i = 0, at = strlen(text); i < many; i++, at += strlen(line))
        strcpy(text + at, line);
    open_text(text, &opened);
    assert_null(opened.info);
    assert_int_equal(opened.error.kind, QCA_ERROR_HEADER);
    done(&opened);
    free(text);
    open_text("# Disk DescriptorFile\nRW 18446744073709551615 FLAT \"x\" 0\n", &opened);
    assert_null(opened.info);
    done(&opened);
    open_text("# Disk DescriptorFile\nRW 18014398509481983 FLAT \"x\" 0\nRW 1 FLAT \"x\" 0\n",
              &opened);
    assert_null(opened.info);
    done(&opened);
}

/* ---- Parallels' descriptor ------------------------------------------------------------------ */

#define SHOTS "<Snapshots><TopGUID>{5fba}</TopGUID><Shot><GUID>{5fba}</GUID>"                      \
              "<ParentGUID>{0000}</ParentGUID></Shot></Snapshots>"
#define BUNDLE(parameters, storage)                                                                \
    "<?xml version='1.0' encoding='UTF-8'?>\n<!-- by hand -->\n"                                   \
    "<Parallels_disk_image Version=\"1.0\">\n <Disk_Parameters>" parameters                        \
    "<Cylinders>16</Cylinders><Name/></Disk_Parameters>\n<StorageData>" storage "</StorageData>"   \
    SHOTS "</Parallels_disk_image>\n"
#define SIZE_8192 "<Disk_size> 8192\n</Disk_size>"
#define STORAGE_OF(images)                                                                         \
    "<Storage><Start>0</Start><End>8192</End><Blocksize>2048</Blocksize>" images "</Storage>"
#define IMAGE_OF(type, file)                                                                       \
    "<Image><GUID>{5fba}</GUID><Type>" type "</Type><File>" file "</File></Image>"

static void a_bundle_names_its_images(void **state)
{
    static const char text[] = BUNDLE(
        SIZE_8192, STORAGE_OF(IMAGE_OF("Compressed", "a &amp; b.hdd.0.{5fba}.hds")
                                  IMAGE_OF("Plain", "/etc/passwd"))
                       "<Storage>" IMAGE_OF("Compressed", "\n &lt;&gt;&quot;&apos; ")
                           "<Start>100</Start><End>108</End></Storage>");
    struct opened opened;

    open_text(text, &opened);
    if (!opened.info)
        fail_msg("%s", opened.error.text);
    assert_int_equal(opened.probed, QCA_FORMAT_PARALLELS);
    assert_int_equal(opened.info->variant, QCA_VARIANT_PARALLELS_BUNDLE);
    assert_false(qca_info_is_understood(opened.info));
    assert_int_equal(opened.info->virtual_size, 8192 * 512);
    assert_int_equal(opened.info->n_extents, 3);
    assert_string_equal(opened.info->extents[0].name, "a & b.hdd.0.{5fba}.hds");
    assert_string_equal(opened.info->extents[0].type, "COMPRESSED");
    assert_int_equal(opened.info->extents[0].size, 8192 * 512);
    assert_string_equal(opened.info->extents[1].name, "/etc/passwd");
    assert_string_equal(opened.info->extents[1].type, "PLAIN");
    assert_string_equal(opened.info->extents[2].name, "<>\"'");
    assert_int_equal(opened.info->extents[2].size, 8 * 512);
    done(&opened);
}

/* No check, no content, and no file of it is taken. */
static void a_bundle_is_not_understood(void **state)
{
    static const char text[] = BUNDLE(SIZE_8192, STORAGE_OF(IMAGE_OF("Plain", "a.hds")));
    struct qca_chain_options options = { .layer_only = true };
    struct qca_check_result result;
    struct qca_chain *chain;
    struct qca_map *map;
    struct qca_io *io;
    struct opened opened;
    struct qca_error error;

    open_text(text, &opened);
    assert_non_null(opened.image);
    assert_int_equal(qca_check(opened.image, NULL, &result), -EOPNOTSUPP);
    assert_int_equal(qca_io_new_memory(text, sizeof(text), &io), 0);
    assert_int_equal(qca_image_take_extent(opened.image, 0, io, &error), -EOPNOTSUPP);
    assert_int_equal(qca_chain_open(opened.image, &options, NULL, NULL, &error, &chain), 0);
    assert_int_equal(qca_map_new(chain, NULL, &error, &map), -EOPNOTSUPP);
    assert_non_null(strstr(error.text, "parallels"));
    qca_chain_free(chain);
    done(&opened);
}

static void hostile_bundles_are_refused(void **state)
{
    static const char *const texts[] = {
        BUNDLE("", STORAGE_OF(IMAGE_OF("Plain", "a"))),
        BUNDLE(SIZE_8192, ""),
        BUNDLE(SIZE_8192 SIZE_8192, STORAGE_OF(IMAGE_OF("Plain", "a"))),
        BUNDLE("<Disk_size>18446744073709551616</Disk_size>", STORAGE_OF(IMAGE_OF("Plain", "a"))),
        BUNDLE("<Disk_size>36028797018963968</Disk_size>", STORAGE_OF(IMAGE_OF("Plain", "a"))),
        BUNDLE("<Disk_size>-1</Disk_size>", STORAGE_OF(IMAGE_OF("Plain", "a"))),
        BUNDLE("<Disk_size>8<b/>192</Disk_size>", STORAGE_OF(IMAGE_OF("Plain", "a"))),
        BUNDLE(SIZE_8192, STORAGE_OF(IMAGE_OF("Plain", ""))),
        BUNDLE(SIZE_8192, STORAGE_OF(IMAGE_OF("Plain", "&#47;etc"))),
        BUNDLE(SIZE_8192, STORAGE_OF(IMAGE_OF("Plain", "&file;"))),
        BUNDLE(SIZE_8192, STORAGE_OF(IMAGE_OF("Plain", "a<![CDATA[b]]>"))),
        BUNDLE(SIZE_8192, STORAGE_OF(IMAGE_OF("", "a"))),
        BUNDLE(SIZE_8192, STORAGE_OF(IMAGE_OF("Pl ain", "a"))),
        BUNDLE(SIZE_8192, STORAGE_OF(IMAGE_OF("Compressedcompressed", "a"))),
        BUNDLE(SIZE_8192, STORAGE_OF("<Image><File>a</File></Image>")),
        BUNDLE(SIZE_8192, STORAGE_OF("<Image><File>a</File><File>b</File></Image>")),
        BUNDLE(SIZE_8192, "<Storage><Start>9</Start><End>8</End>" IMAGE_OF("Plain", "a")
                          "</Storage>"),
        BUNDLE(SIZE_8192, "<Storage><End>18014398509481984</End>" IMAGE_OF("Plain", "a")
                          "</Storage>"),
        BUNDLE(SIZE_8192, STORAGE_OF(IMAGE_OF("Plain", "a")) "</Storage>"),
        BUNDLE(SIZE_8192, STORAGE_OF(IMAGE_OF("Plain", "a"))) "<Parallels_disk_image/>",
        BUNDLE(SIZE_8192, STORAGE_OF(IMAGE_OF("Plain", "a"))) "<!-- endless",
        "<Parallels_disk_image>", "<Parallels_disk_image", "<Parallels_disk_image a='",
        "<Parallels_disk_image/>", "<Parallels_disk_image></Parallels_disk_imag>",
        "<Parallels_disk_image><", "<Parallels_disk_image></", "<Parallels_disk_image><!DOCTYPE x>",
    };
    struct opened opened;

    for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
        open_text(texts[i], &opened);
        if (opened.info || opened.probed != QCA_FORMAT_PARALLELS)
            fail_msg("text %zu: %s", i, qca_format_name(opened.probed));
        done(&opened);
    }
}

/* Text of size bytes that begins so, and is filled with more. */
static char *filled(const char *begin, const char *more, size_t size)
{
    char *text = malloc(size + 1);
    size_t n = strlen(begin);

    assert_non_null(text);
    strcpy(text, begin);
    for (; n + strlen(more) <= size; n += strlen(more))
        strcpy(text + n, more);
    memset(text + n, ' ', size - n);
    text[size] = '\0';
    return text;
}

static void bundles_are_bounded(void **state)
{
    static const char begin[] = "<Parallels_disk_image><StorageData><Storage>";
    static const char *const more[] = {
        IMAGE_OF("Plain", "a"), "<a>", "<Image/>", "<!---->", "<Type>", "&", "a",
    };
    struct opened opened;
    char *text;

    for (size_t i = 0; i < ELEMENTSOF(more); i++) {
        text = filled(begin, more[i], FILE_SIZE);
        open_text(text, &opened);
        assert_int_equal(opened.probed, QCA_FORMAT_PARALLELS);
        assert_null(opened.info);
        done(&opened);
        free(text);
    }
    text = filled(begin, "a", FILE_SIZE + 1);           /* no descriptor is as long */
    open_text(text, &opened);
    assert_int_equal(opened.probed, QCA_FORMAT_RAW);
    done(&opened);
    free(text);
    open_text("<Parallels_disk_images>", &opened);
    assert_int_equal(opened.probed, QCA_FORMAT_RAW);
    done(&opened);
    open_text("<?xml version='1.0'?><domain/>", &opened);
    assert_int_equal(opened.probed, QCA_FORMAT_RAW);
    done(&opened);
}

static void impossible_headers_are_refused(void **state)
{
    static const struct {
        void (*make)(uint8_t *file);
        unsigned at, size;
        uint64_t value;
        bool big_endian;
    } fields[] = {
        { make_sparse, 4, 4, 9, false },            /* version */
        { make_sparse, 12, 8, UINT64_MAX, false },  /* capacity */
        { make_sparse, 28, 8, UINT64_MAX / 2, false },      /* descriptorOffset */
        { make_sparse, 28, 8, 1 << 20, false },
        { make_vdi, 368, 8, UINT64_MAX, false },
        { make_dynamic, 16, 8, UINT64_MAX - 100, true },    /* where the header is */
        { make_dynamic, 60, 4, 2, true },           /* fixed */
        { make_vhdx, (256 << 10) + 32, 8, UINT64_MAX - 5, false },
        { make_vhdx, (256 << 10) + 8, 4, UINT32_MAX, false },
        { make_vhdx, (512 << 10) + 10, 2, UINT16_MAX, false },
        { make_vhdx, (512 << 10) + 96 + 20, 4, UINT32_MAX, false },
        { make_vhdx, (512 << 10) + 48, 4, UINT32_MAX, false },
        { make_qed, 4, 4, 3, false },
        { make_qed, 48, 8, UINT64_MAX, false },
        { make_qed, 60, 4, UINT32_MAX, false },
        { make_qed, 56, 4, UINT32_MAX, false },
        { make_parallels, 16, 4, 3, false },
        { make_parallels, 36, 8, UINT64_MAX, false },
        { make_qcow, 16, 4, UINT32_MAX, true },
        { make_qcow, 8, 8, UINT64_MAX - 3, true },
        { make_qcow, 36, 4, 7, true },
        { make_dmg, FILE_SIZE - 512 + 492, 8, UINT64_MAX, true },
    };

    for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
        uint8_t *file = calloc(1, FILE_SIZE);
        struct opened opened;

        assert_non_null(file);
        fields[i].make(file);
        put(file + fields[i].at, fields[i].value, fields[i].size, fields[i].big_endian);
        open_bytes(file, FILE_SIZE, &opened);
        if (opened.info)
            fail_msg("field %zu was taken", i);
        assert_int_not_equal(opened.probed, QCA_FORMAT_RAW);
        done(&opened);
        free(file);
    }
}

static void a_demanded_format_must_be_there(void **state)
{
    uint8_t *file = calloc(1, FILE_SIZE);
    struct qca_io *io;

    assert_non_null(file);
    assert_int_equal(qca_io_new_memory(file, FILE_SIZE, &io), 0);
    for (unsigned format = QCA_FORMAT_QCOW2; format < _QCA_FORMAT_MAX; format++) {
        const struct qca_open_options options = { .format = (enum qca_format)format };
        struct qca_error error;
        struct qca_image *image;

        if (qca_image_open(io, &options, &error, &image) >= 0)
            fail_msg("zeros are taken for %s", qca_format_name((enum qca_format)format));
        assert_int_equal(error.kind, QCA_ERROR_NOT_THIS_FORMAT);
    }
    qca_io_free(io);
    free(file);
}

static void names_are_known_both_ways(void **state)
{
    for (unsigned format = QCA_FORMAT_RAW; format < _QCA_FORMAT_MAX; format++)
        assert_int_equal(qca_format_from_name(qca_format_name((enum qca_format)format)), format);
    for (unsigned variant = 1; variant < _QCA_VARIANT_MAX; variant++)
        assert_int_equal(qca_variant_from_name(qca_variant_name((enum qca_variant)variant)),
                         variant);
    assert_int_equal(qca_format_from_name("vhd"), QCA_FORMAT_VPC);
    assert_int_equal(qca_format_from_name("ploop"), QCA_FORMAT_PARALLELS);
    assert_int_equal(qca_format_from_name("iso"), QCA_FORMAT_RAW);
    assert_int_equal(qca_format_from_name("dir"), QCA_FORMAT_UNKNOWN);
}

static void what_contradicts_what(void **state)
{
    static const struct {
        enum qca_format declared, content;
        enum qca_variant variant;
        bool contradicts;
    } cases[] = {
        { QCA_FORMAT_RAW, QCA_FORMAT_RAW, QCA_VARIANT_NONE, false },
        { QCA_FORMAT_RAW, QCA_FORMAT_VMDK, QCA_VARIANT_VMDK_SPARSE, true },
        { QCA_FORMAT_RAW, QCA_FORMAT_QCOW2, QCA_VARIANT_NONE, true },
        { QCA_FORMAT_RAW, QCA_FORMAT_VPC, QCA_VARIANT_DYNAMIC, true },
        { QCA_FORMAT_RAW, QCA_FORMAT_VPC, QCA_VARIANT_FIXED, false },
        { QCA_FORMAT_RAW, QCA_FORMAT_DMG, QCA_VARIANT_NONE, false },
        { QCA_FORMAT_RAW, QCA_FORMAT_OVA, QCA_VARIANT_NONE, false },
        { QCA_FORMAT_LUKS, QCA_FORMAT_RAW, QCA_VARIANT_RAW_LUKS, false },
        { QCA_FORMAT_LUKS, QCA_FORMAT_QCOW2, QCA_VARIANT_NONE, true },
        { QCA_FORMAT_VMDK, QCA_FORMAT_VMDK, QCA_VARIANT_VMDK_SPARSE, false },
        { QCA_FORMAT_VMDK, QCA_FORMAT_RAW, QCA_VARIANT_NONE, true },
        { QCA_FORMAT_QCOW2, QCA_FORMAT_QCOW, QCA_VARIANT_NONE, true },
        { QCA_FORMAT_UNKNOWN, QCA_FORMAT_VDI, QCA_VARIANT_NONE, false },
        { QCA_FORMAT_RAW, QCA_FORMAT_UNKNOWN, QCA_VARIANT_NONE, false },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        if (qca_format_contradicts(cases[i].declared, cases[i].content, cases[i].variant) !=
            cases[i].contradicts)
            fail_msg("case %zu", i);
}

/* The guest's data of such an image cannot be had, and there is a reason. */
/* What the public table says of a format, and what its row can do. */
static void rows_agree_with_their_traits(void **state)
{
    static const struct format *const formats[] = {
#define QCA_X(id, row, ...) [QCA_FORMAT_##id] = &format_##row,
        QCA_FORMATS(QCA_X)
#undef QCA_X
    };

    for (enum qca_format i = QCA_FORMAT_UNKNOWN + 1; i < _QCA_FORMAT_MAX; i++) {
        const struct format *row = formats[i];
        bool by_content = row->probe || row->probe_end;

        print_message("# %s\n", qca_format_name(i));
        assert_int_equal(row->format, i);
        assert_non_null(row->open);
        assert_int_equal(qca_format_is_understood(i), row->map != NULL);
        assert_int_equal(qca_format_has(i, QCA_TRAIT_IN_RAW), !by_content && row->map == NULL);
        /* A place for the format of its parent, and a parent to change: it has links. */
        if (qca_format_has(i, QCA_TRAIT_DECLARES_PARENT) || qca_format_has(i, QCA_TRAIT_REBASE))
            assert_non_null(row->link);
        if (row->probe_end && !row->probe)
            assert_true(qca_format_has(i, QCA_TRAIT_OPENS_RAW));
        if (row->end_variant == QCA_VARIANT_FIXED)
            assert_true(qca_format_has(i, QCA_TRAIT_FIXED_OPENS_RAW));
        if (row->map)
            assert_true(row->map->range && row->map->has);
    }
    assert_false(qca_format_has(QCA_FORMAT_UNKNOWN, QCA_TRAIT_UNDERSTOOD));
    assert_false(qca_format_has(_QCA_FORMAT_MAX, QCA_TRAIT_UNDERSTOOD));
}

/* A trailer may be what a guest wrote at the end of its disk: a magic at the start comes first. */
static void the_beginning_decides_before_the_end(void **state)
{
    uint8_t *file = calloc(1, FILE_SIZE);
    struct opened opened;

    assert_non_null(file);
    make_fixed(file);
    open_bytes(file, FILE_SIZE, &opened);
    assert_int_equal(opened.probed, QCA_FORMAT_VPC);
    done(&opened);
    strcpy((char *)file, "disk.ovf");
    memcpy(file + 257, "ustar", 5);
    open_bytes(file, FILE_SIZE, &opened);
    assert_int_equal(opened.probed, QCA_FORMAT_OVA);
    done(&opened);
    free(file);
}

static void no_map_of_what_is_not_understood(void **state)
{
    uint8_t *file = calloc(1, FILE_SIZE);
    struct qca_chain_options options = { .layer_only = true };
    struct qca_chain *chain;
    struct qca_map *map;
    struct opened opened;
    struct qca_error error;

    assert_non_null(file);
    make_vdi(file);
    open_bytes(file, FILE_SIZE, &opened);
    assert_non_null(opened.image);
    assert_int_equal(qca_chain_open(opened.image, &options, NULL, NULL, &error, &chain), 0);
    assert_int_equal(qca_map_new(chain, NULL, &error, &map), -EOPNOTSUPP);
    assert_int_equal(error.kind, QCA_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.text, "vdi"));
    qca_chain_free(chain);
    done(&opened);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_format_is_told),
        cmocka_unit_test(a_layer_of_a_vdi_is_checked),
        cmocka_unit_test(cut_files_are_refused_with_a_reason),
        cmocka_unit_test(what_a_guest_may_have_at_the_end_stays_raw),
        cmocka_unit_test(a_footer_need_not_end_a_sector),
        cmocka_unit_test(descriptors_are_told_however_they_begin),
        cmocka_unit_test(a_descriptor_names_parent_and_extents),
        cmocka_unit_test(hostile_descriptors_are_bounded),
        cmocka_unit_test(a_bundle_names_its_images),
        cmocka_unit_test(a_bundle_is_not_understood),
        cmocka_unit_test(hostile_bundles_are_refused),
        cmocka_unit_test(bundles_are_bounded),
        cmocka_unit_test(impossible_headers_are_refused),
        cmocka_unit_test(a_demanded_format_must_be_there),
        cmocka_unit_test(names_are_known_both_ways),
        cmocka_unit_test(what_contradicts_what),
        cmocka_unit_test(rows_agree_with_their_traits),
        cmocka_unit_test(the_beginning_decides_before_the_end),
        cmocka_unit_test(no_map_of_what_is_not_understood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
