/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening qcow2 images: every field, every refusal with its reason. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "qcow2-kit.h"

static void a_whole_image_is_described(void **state)
{
    struct kit *kit = kit_new(16, 4, 3);
    const struct qca_image_info *info;
    struct qca_image *image;
    struct qca_io *io;

    kit_put(kit, 88, 8, UINT64_C(1) << 40);
    kit_extension(kit, 0x12345678, "unknown", 7);
    kit_parent(kit, "base.qcow2", "qcow2");
    assert_int_equal(kit_open(kit, NULL, &io, &image), 0);
    info = qca_image_info(image);
    assert_int_equal(info->format, QCA_FORMAT_QCOW2);
    assert_int_equal(info->version, 3);
    assert_int_equal(info->file_size, 8 * 65536);
    assert_int_equal(info->virtual_size, UINT64_C(65536) * 8192);
    assert_int_equal(info->cluster_size, 65536);
    assert_int_equal(info->refcount_bits, 16);
    assert_int_equal(info->header_length, 104);
    assert_int_equal(info->autoclear_features, UINT64_C(1) << 40);
    assert_int_equal(info->l1_offset, KIT_L1 * 65536);
    assert_int_equal(info->l1_entries, 1);
    assert_int_equal(info->refcount_table_offset, KIT_REFTABLE * 65536);
    assert_int_equal(info->refcount_table_clusters, 1);
    assert_string_equal(info->parent, "base.qcow2");
    assert_string_equal(info->parent_format, "qcow2");
    assert_null(info->data_file);
    assert_int_equal(info->n_extensions, 2);
    assert_int_equal(info->extensions[0].type, 0x12345678);
    assert_int_equal(info->extensions[0].length, 7);
    assert_int_equal(info->extensions[0].offset, 112);
    qca_image_free(image);
    qca_io_free(io);
    kit_free(kit);
}

static void version_2_has_no_features(void **state)
{
    struct kit *kit = kit_new(16, 4, 1);
    struct qca_image *image;
    struct qca_io *io;

    kit_put(kit, 4, 4, 2);
    /* There version 2 has no header any more, but an extension's end. */
    memset(kit->data + 72, 0xff, 32);
    kit_put(kit, 72, 8, 0);
    assert_int_equal(kit_open(kit, NULL, &io, &image), 0);
    assert_int_equal(qca_image_info(image)->incompatible_features, 0);
    assert_int_equal(qca_image_info(image)->refcount_bits, 16);
    assert_int_equal(qca_image_info(image)->header_length, 72);
    qca_image_free(image);
    qca_io_free(io);
    kit_free(kit);
}

/* The zeros behind the end of a file are an extension's end only where there is room for one. */
static void extensions_behind_the_end_of_the_file(void **state)
{
    static const struct {
        uint32_t header_length;
        int result;
    } cases[] = { { 504, 0 }, { 505, -EINVAL }, { 512, 0 } };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct kit *kit = kit_new(9, 4, 1);
        struct qca_image *image;
        struct qca_error error;
        struct qca_io *io;

        kit_put(kit, 100, 4, cases[i].header_length);
        kit->size = 117;
        assert_int_equal(kit_open(kit, &error, &io, &image), cases[i].result);
        if (cases[i].result < 0) {
            assert_string_equal(error.field, "Length of the header extension");
        } else {
            qca_image_free(image);
            qca_io_free(io);
        }
        kit_free(kit);
    }
}

static void each_bad_field_is_named(void **state)
{
    const struct {
        unsigned offset, size;
        uint64_t value;
        enum qca_error_kind kind;
        const char *field;
    } cases[] = {
        { 4, 4, 4, QCA_ERROR_HEADER, "version" },
        { 4, 4, UINT32_MAX, QCA_ERROR_HEADER, "version" },
        { 8, 8, 65537, QCA_ERROR_HEADER, "backing_file_offset" },
        { 8, 8, UINT64_MAX, QCA_ERROR_HEADER, "backing_file_offset" },
        { 20, 4, 8, QCA_ERROR_HEADER, "cluster_bits" },
        { 20, 4, 22, QCA_ERROR_HEADER, "cluster_bits" },
        { 20, 4, UINT32_MAX, QCA_ERROR_HEADER, "cluster_bits" },
        { 24, 8, UINT64_MAX, QCA_ERROR_LIMIT, "size" },
        { 24, 8, (UINT64_C(65536) * 8192) + 1, QCA_ERROR_HEADER, "l1_size" },
        { 32, 4, 3, QCA_ERROR_HEADER, "crypt_method" },
        { 32, 4, 2, QCA_ERROR_HEADER, "Full disk encryption header pointer" },
        { 36, 4, 0, QCA_ERROR_HEADER, "l1_size" },
        { 36, 4, (4 << 20) + 1, QCA_ERROR_LIMIT, "l1_size" },
        { 36, 4, UINT32_MAX, QCA_ERROR_LIMIT, "l1_size" },
        { 40, 8, KIT_L1 * 65536 + 512, QCA_ERROR_HEADER, "l1_table_offset" },
        { 40, 8, UINT64_C(1) << 63, QCA_ERROR_HEADER, "l1_table_offset" },
        { 48, 8, 1, QCA_ERROR_HEADER, "refcount_table_offset" },
        { 48, 8, UINT64_C(0x7fffffffffff0000), QCA_ERROR_HEADER, "refcount_table_offset" },
        { 56, 4, 129, QCA_ERROR_LIMIT, "refcount_table_clusters" },
        { 56, 4, UINT32_MAX, QCA_ERROR_LIMIT, "refcount_table_clusters" },
        { 72, 8, 1 << 5, QCA_ERROR_FEATURE, "incompatible_features" },
        { 72, 8, 1 << 3, QCA_ERROR_HEADER, "incompatible_features" },
        { 72, 8, 1 << 2, QCA_ERROR_HEADER, "External data file name string" },
        { 88, 8, 1 << 1, QCA_ERROR_HEADER, "autoclear_features" },
        { 96, 4, 7, QCA_ERROR_HEADER, "refcount_order" },
        { 100, 4, 103, QCA_ERROR_HEADER, "header_length" },
        { 100, 4, 65537, QCA_ERROR_HEADER, "header_length" },
        { 108, 4, 65536, QCA_ERROR_HEADER, "Length of the header extension" },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct kit *kit = kit_new(16, 4, 1);
        struct qca_image *image = NULL;
        struct qca_error error = { 0 };
        struct qca_io *io;

        kit_put(kit, 104, 4, 0x11111111);
        kit_put(kit, cases[i].offset, cases[i].size, cases[i].value);
        assert_true(kit_open(kit, &error, &io, &image) < 0);
        assert_null(image);
        if (error.kind != cases[i].kind || strcmp(error.field, cases[i].field) != 0)
            fail_msg("case %zu: %s in %s: %s", i, qca_error_kind_name(error.kind), error.field,
                     error.text);
        assert_true(strlen(error.text) > 0);
        kit_free(kit);
    }
}

static void extended_l2_needs_room(void **state)
{
    struct kit *kit = kit_new(13, 4, 1);
    struct qca_error error;
    struct qca_image *image;
    struct qca_io *io;

    kit_put(kit, 72, 8, QCA_INCOMPAT_EXTENDED_L2);
    assert_int_equal(kit_open(kit, &error, &io, &image), -EINVAL);
    assert_string_equal(error.field, "cluster_bits");
    kit_free(kit);
}

static void a_file_that_ends_in_its_header_is_truncated(void **state)
{
    struct kit *kit = kit_new(16, 4, 1);
    struct qca_error error;
    struct qca_image *image;
    struct qca_io *io;

    for (kit->size = 8; kit->size < 100; kit->size += 4) {
        int r = kit_open(kit, &error, &io, &image);

        assert_true(r < 0);
        assert_int_equal(error.kind, QCA_ERROR_TRUNCATED);
    }
    kit->size = 104;
    assert_int_equal(kit_open(kit, &error, &io, &image), 0);
    qca_image_free(image);
    qca_io_free(io);
    kit->size = 4;      /* no version: not even that is known to be qcow2 */
    assert_int_equal(kit_open(kit, &error, &io, &image), 0);
    assert_int_equal(qca_image_info(image)->format, QCA_FORMAT_RAW);
    qca_image_free(image);
    qca_io_free(io);
    kit_free(kit);
}

static void a_demanded_format_is_kept_to(void **state)
{
    struct kit *kit = kit_new(16, 4, 1);
    struct qca_open_options options = { .format = QCA_FORMAT_RAW };
    struct qca_check_result result;
    struct qca_image *image;
    struct qca_error error;
    enum qca_format format;
    struct qca_io *io;

    assert_int_equal(qca_io_new_memory(kit->data, kit->size, &io), 0);
    assert_int_equal(qca_probe(io, &format), 0);
    assert_int_equal(format, QCA_FORMAT_QCOW2);
    assert_int_equal(qca_image_open(io, &options, NULL, &image), 0);
    assert_int_equal(qca_image_info(image)->virtual_size, kit->size);
    assert_int_equal(qca_check(image, NULL, &result), -EOPNOTSUPP);
    qca_image_free(image);

    kit->data[0] = 0;
    options.format = QCA_FORMAT_QCOW2;
    assert_int_equal(qca_image_open(io, &options, &error, &image), -EMEDIUMTYPE);
    assert_int_equal(error.kind, QCA_ERROR_NOT_THIS_FORMAT);
    qca_io_free(io);
    kit_free(kit);
}

static void a_parent_name_is_bounded(void **state)
{
    struct kit *kit = kit_new(9, 4, 1);
    struct qca_image *image;
    struct qca_error error;
    struct qca_io *io;

    kit_parent(kit, "base", NULL);
    kit_put(kit, 16, 4, 401);
    assert_int_equal(kit_open(kit, &error, &io, &image), -EINVAL);
    assert_string_equal(error.field, "backing_file_size");
    kit_put(kit, 16, 4, 0);
    assert_int_equal(kit_open(kit, &error, &io, &image), 0);
    assert_null(qca_image_info(image)->parent);
    qca_image_free(image);
    qca_io_free(io);
    kit_free(kit);
}

static void encryption_headers_are_found(void **state)
{
    struct kit *kit = kit_new(16, 4, 1);
    uint8_t data[16] = { [5] = 3, [13] = 1 };      /* offset 0x30000, length 0x10000 */
    struct qca_image *image;
    struct qca_error error;
    struct qca_io *io;

    kit_put(kit, 32, 4, QCA_CRYPT_LUKS);
    kit_extension(kit, 0x0537be77, data, sizeof(data));
    assert_int_equal(kit_open(kit, &error, &io, &image), 0);
    assert_int_equal(qca_image_info(image)->crypt_method, QCA_CRYPT_LUKS);
    assert_int_equal(qca_image_info(image)->crypt_header_offset, 0x30000);
    assert_int_equal(qca_image_info(image)->crypt_header_length, 0x10000);
    qca_image_free(image);
    qca_io_free(io);
    kit_put(kit, 32, 4, QCA_CRYPT_NONE);
    assert_int_equal(kit_open(kit, &error, &io, &image), -EINVAL);
    kit_free(kit);
}

/* A snapshot table entry of 40 + 16 + 2 + 4 bytes at the beginning of a cluster. */
static void snapshot_put(struct kit *kit, uint64_t cluster)
{
    uint64_t at = cluster * kit->cluster;

    kit_put(kit, 60, 4, 1);
    kit_put(kit, 64, 8, at);
    kit_put(kit, at, 8, KIT_L1 * kit->cluster);
    kit_put(kit, at + 8, 4, 1);
    kit_put(kit, at + 12, 2, 2);
    kit_put(kit, at + 14, 2, 4);
    kit_put(kit, at + 16, 4, 1700000000);
    kit_put(kit, at + 36, 4, 16);
    kit_put(kit, at + 40, 8, 4711);
    kit_put(kit, at + 48, 8, 1 << 20);
    memcpy(kit->data + at + 56, "17name", 6);
}

static void snapshots_are_read(void **state)
{
    struct kit *kit = kit_new(16, 4, 1);
    const struct qca_image_info *info;
    struct qca_check_result result;
    struct qca_image *image;
    struct qca_io *io;
    uint64_t cluster;

    cluster = kit_grow(kit, 1);
    snapshot_put(kit, cluster);
    assert_int_equal(kit_open(kit, NULL, &io, &image), 0);
    info = qca_image_info(image);
    assert_int_equal(info->n_snapshots, 1);
    assert_string_equal(info->snapshots[0].id, "17");
    assert_string_equal(info->snapshots[0].name, "name");
    assert_int_equal(info->snapshots[0].date_sec, 1700000000);
    assert_int_equal(info->snapshots[0].vm_state_size, 4711);
    assert_int_equal(info->snapshots[0].virtual_size, 1 << 20);
    assert_int_equal(info->snapshots[0].l1_offset, KIT_L1 * 65536);
    qca_image_free(image);
    qca_io_free(io);

    /* A table that cannot be read is the check's to tell, and ends it. */
    kit_put(kit, cluster * kit->cluster + 36, 4, 1025);
    result = kit_check(kit, NULL);
    assert_false(result.finished);
    assert_int_equal(qca_check_error(&result)->kind, QCA_ERROR_SNAPSHOT_TABLE);
    assert_int_equal(result.check_errors, 1);
    assert_int_equal(qca_check_count(&result, QCA_ISSUE_SNAPSHOT_TABLE_INVALID), 1);
    assert_int_equal(qca_check_exit_status(&result), 1);
    qca_check_result_done(&result);
    kit_put(kit, 60, 4, UINT32_MAX);
    result = kit_check(kit, NULL);
    assert_false(result.finished);
    assert_string_equal(qca_check_error(&result)->field, "nb_snapshots");
    qca_check_result_done(&result);
    kit_free(kit);
}

static void bitmaps_are_read(void **state)
{
    struct kit *kit = kit_new(16, 4, 1);
    uint8_t extension[24] = { [3] = 1, [15] = 32, [21] = 6 };      /* one, 32 bytes at 0x60000 */
    const struct qca_image_info *info;
    struct qca_check_result result;
    struct qca_image *image;
    struct qca_io *io;
    uint64_t at;

    at = kit_grow(kit, 2) * kit->cluster;
    assert_int_equal(at, 0x60000);
    kit_put(kit, 88, 8, QCA_AUTOCLEAR_BITMAPS);
    kit_extension(kit, 0x23852875, extension, sizeof(extension));
    kit_put(kit, at, 8, at + kit->cluster);
    kit_put(kit, at + 8, 4, 1);
    kit_put(kit, at + 12, 4, QCA_BITMAP_IN_USE);
    kit_put(kit, at + 16, 1, 1);
    kit_put(kit, at + 17, 1, 16);
    kit_put(kit, at + 18, 2, 3);
    memcpy(kit->data + at + 24, "map", 3);
    kit_refcount(kit, 6, 1);
    kit_refcount(kit, 7, 1);
    assert_int_equal(kit_open(kit, NULL, &io, &image), 0);
    info = qca_image_info(image);
    assert_int_equal(info->n_bitmaps, 1);
    assert_string_equal(info->bitmaps[0].name, "map");
    assert_int_equal(info->bitmaps[0].granularity_bits, 16);
    assert_int_equal(info->bitmaps[0].table_offset, at + kit->cluster);
    qca_image_free(image);
    qca_io_free(io);

    result = kit_check(kit, NULL);
    assert_int_equal(qca_check_exit_status(&result), 0);
    assert_int_equal(qca_check_count(&result, QCA_ISSUE_BITMAP_IN_USE), 1);
    qca_check_result_done(&result);

    /* A broken directory does not keep the image from being looked at, but ends the check. */
    kit_put(kit, at + 16, 1, 2);
    result = kit_check(kit, NULL);
    assert_false(result.finished);
    assert_int_equal(qca_check_error(&result)->kind, QCA_ERROR_BITMAPS);
    assert_string_equal(qca_check_error(&result)->field, "type");
    assert_int_equal(qca_check_count(&result, QCA_ISSUE_BITMAPS_INVALID), 1);
    qca_check_result_done(&result);

    /* Without the autoclear bit nobody vouches for the bitmaps: what they hold is leaked. */
    kit_put(kit, 88, 8, 0);
    result = kit_check(kit, NULL);
    assert_true(result.finished);
    assert_int_equal(result.leaks, 2);
    qca_check_result_done(&result);
    kit_free(kit);
}

static void the_metadata_digest_sees_every_structure(void **state)
{
    struct kit *kit = kit_new(16, 4, 2);
    const uint64_t places[] = { 110, KIT_L1 * 65536, KIT_L1 * 65536 + 7,
                                KIT_REFTABLE * 65536 + 65535 };
    uint8_t before[32], after[32];
    struct qca_image *image;
    struct qca_io *io;

    assert_int_equal(kit_open(kit, NULL, &io, &image), 0);
    assert_int_equal(qca_metadata_digest(image, before), 0);
    kit->data[KIT_DATA * 65536] ^= 1;
    assert_int_equal(qca_metadata_digest(image, after), 0);
    assert_memory_equal(before, after, 32);
    for (size_t i = 0; i < ELEMENTSOF(places); i++) {
        kit->data[places[i]] ^= 1;
        assert_int_equal(qca_metadata_digest(image, after), 0);
        assert_memory_not_equal(before, after, 32);
        kit->data[places[i]] ^= 1;
    }
    qca_image_free(image);
    qca_io_free(io);
    kit_free(kit);
}

static void names_go_both_ways(void **state)
{
    for (int i = 0; i < _QCA_ISSUE_MAX; i++)
        assert_int_equal(qca_issue_kind_from_name(qca_issue_kind_name(i)), i);
    assert_int_equal(qca_issue_kind_from_name("nonsense"), _QCA_ISSUE_MAX);
    assert_int_equal(qca_issue_kind_from_name(NULL), _QCA_ISSUE_MAX);
    for (int i = 0; i < _QCA_ERROR_MAX; i++)
        assert_non_null(qca_error_kind_name(i));
    for (int i = 0; i < _QCA_TABLE_MAX; i++)
        assert_non_null(qca_table_name(i));
    assert_null(qca_error_kind_name(_QCA_ERROR_MAX));
    assert_null(qca_table_name(_QCA_TABLE_MAX));
    assert_string_equal(qca_format_name(QCA_FORMAT_QCOW2), "qcow2");
    assert_int_equal(qca_format_from_name("raw"), QCA_FORMAT_RAW);
    assert_int_equal(qca_format_from_name("vvfat"), QCA_FORMAT_UNKNOWN);
    assert_null(qca_format_name(QCA_FORMAT_UNKNOWN));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_image_is_described),
        cmocka_unit_test(version_2_has_no_features),
        cmocka_unit_test(extensions_behind_the_end_of_the_file),
        cmocka_unit_test(each_bad_field_is_named),
        cmocka_unit_test(extended_l2_needs_room),
        cmocka_unit_test(a_file_that_ends_in_its_header_is_truncated),
        cmocka_unit_test(a_demanded_format_is_kept_to),
        cmocka_unit_test(a_parent_name_is_bounded),
        cmocka_unit_test(encryption_headers_are_found),
        cmocka_unit_test(snapshots_are_read),
        cmocka_unit_test(bitmaps_are_read),
        cmocka_unit_test(the_metadata_digest_sees_every_structure),
        cmocka_unit_test(names_go_both_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
