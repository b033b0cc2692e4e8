/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A report as text and back: nothing lost, and nothing believed that is not understood. */
#include <malloc.h>

#include "daemon/core/image.h"
#include "daemon/store/report.h"
#include "store-kit.h"

DEFINE_CLEANUP(struct audit_report *, audit_report_free)

#ifdef __x86_64__
/* A member was added: tell store/report.c and store-kit.c of it, so that it outlives a restart;
 * then the size here. */
_Static_assert(sizeof(struct qca_error) == 272, "struct qca_error");
_Static_assert(sizeof(struct qca_snapshot) == 64, "struct qca_snapshot");
_Static_assert(sizeof(struct qca_bitmap) == 32, "struct qca_bitmap");
_Static_assert(sizeof(struct qca_extension) == 16, "struct qca_extension");
_Static_assert(sizeof(struct qca_extent_file) == 40, "struct qca_extent_file");
_Static_assert(sizeof(struct qca_image_info) == 360, "struct qca_image_info");
_Static_assert(sizeof(struct qca_issue) == 96, "struct qca_issue");
_Static_assert(sizeof(struct qca_check_result) == 136, "struct qca_check_result");
_Static_assert(sizeof(struct layer_report) == 584, "struct layer_report");
/* its two digests are not asked for by the daemon */
_Static_assert(sizeof(struct audit_report) == 88, "struct audit_report");
#endif

static void round_trip(const struct audit_report *report)
{
    _cleanup_(audit_report_freep) struct audit_report *back = NULL;
    _cleanup_free_ char *text = NULL;

    assert_int_equal(store_report_encode(report, &text), 0);
    assert_int_equal(store_report_decode(text, strlen(text), STORE_REPORT_VERSION, &back), 0);
    kit_reports_equal(report, back);
}

static void rich(void **state)
{
    _cleanup_(audit_report_freep) struct audit_report *report = kit_rich_report();

    round_trip(report);
}

/* An audit at rest says the same as before, and is kept with it. */
static void at_rest(void **state)
{
    struct audit *audit = calloc(1, sizeof(*audit));
    _cleanup_(audit_report_freep) struct audit_report *report = kit_rich_report();
    struct layer_report storage;
    struct audit_report whole;

    assert_non_null(audit);
    audit->report = kit_rich_report();
    while (audit->report->n_layers > 1)         /* of a chain: no audit of the daemon's has them */
        layer_report_done(&audit->report->layers[--audit->report->n_layers]);
    while (report->n_layers > 1)
        layer_report_done(&report->layers[--report->n_layers]);
    audit_rest(audit);
    assert_null(audit->report->layers);
    whole = audit_whole_report(audit, &storage);
    kit_reports_equal(report, &whole);
    round_trip(&whole);
    assert_ptr_equal(audit_layer_seen_in(audit, &storage), &storage);
    assert_int_equal(storage.info.n_snapshots, report->layers[0].info.n_snapshots);
    audit_rest(audit);          /* once is enough */
    assert_int_equal(audit_layer_seen(audit)->check.n_issues, report->layers[0].check.n_issues);
    audit_free(audit);
}

static void little_at_rest(void **state)
{
    const struct layer_report layer = {
        .info = { .format = QCA_FORMAT_QCOW2, .version = 3, .file_size = 1, .virtual_size = 2,
                  .cluster_size = 65536, .refcount_bits = 16, .l1_offset = 3, .l1_entries = 4 },
        .checked = true, .check = { .finished = true, .total_clusters = 5 },
    };
    struct packed_layer *packed;
    struct layer_report back;

    assert_int_equal(layer_pack(&layer, &packed), 0);
    assert_true(malloc_usable_size(packed) < sizeof(layer) / 3);
    layer_unpack(packed, &back);
    assert_memory_equal(&back.info, &layer.info, sizeof(layer.info));
    assert_memory_equal(&back.check, &layer.check, sizeof(layer.check));
    assert_null(packed_layer_free(packed));
    assert_null(packed_layer_free(NULL));
}

static void empty(void **state)
{
    const struct audit_report report = { .error = 0 };

    round_trip(&report);
}

static void plain_raw(void **state)
{
    struct layer_report layer = {
        .info = { .format = QCA_FORMAT_RAW, .file_size = 5, .virtual_size = 5 }
    };
    const struct audit_report report = { .layers = &layer, .n_layers = 1 };

    round_trip(&report);
}

/* Whatever was cut off is not taken for a report. */
static void truncated(void **state)
{
    _cleanup_(audit_report_freep) struct audit_report *report = kit_rich_report();
    _cleanup_free_ char *text = NULL;
    size_t length, step;

    assert_int_equal(store_report_encode(report, &text), 0);
    length = strlen(text);
    step = length / 500 + 1;
    for (size_t n = 0; n < length; n += step) {
        struct audit_report *back = NULL;

        assert_int_equal(store_report_decode(text, n, STORE_REPORT_VERSION, &back), -EBADMSG);
        assert_null(back);
    }
}

static void not_understood(void **state)
{
    static const char *const texts[] = {
        "", "null", "[]", "17", "{", "{\"layers\":{}}", "{\"layers\":[]}", "{\"layers\":[1]}",
        "{\"error\":\"x\"}",
        "{\"error\":4294967296}", "{\"bytes-read\":-1}", "{\"bytes-read\":1.5}",
        "{\"open-error\":[]}",
        "{\"open-error\":{\"kind\":\"no such kind\"}}", "{\"open-error\":{\"kind\":1}}",
        "{\"open-error\":{\"layer\":4294967296}}",
        "{\"open-error\":{\"field\":\"0123456789012345678901234567890123456789\"}}",
        "{\"layers\":[{\"metadata-digest\":\"00\"}]}", "{\"layers\":[{\"checked\":1}]}",
        "{\"layers\":[{\"name\":1}]}",
        "{\"layers\":[{\"check\":{\"kinds\":{\"no-such-issue\":1}}}]}",
        "{\"layers\":[{\"check\":{\"kinds\":[]}}]}",
        "{\"layers\":[{\"check\":{\"issues\":[{\"kind\":\"?\"}]}}]}",
        "{\"layers\":[{\"info\":{\"snapshots\":[{\"name\":\"a\"},null]}}]}",
    };
    struct audit_report *back = NULL;

    for (size_t i = 0; i < ELEMENTSOF(texts); i++)
        if (store_report_decode(texts[i], strlen(texts[i]), STORE_REPORT_VERSION, &back) !=
            -EBADMSG)
            fail_msg("taken for a report: %s", texts[i]);
    assert_null(back);
    assert_int_equal(store_report_decode("{}", 2, STORE_REPORT_VERSION + 1, &back), -EBADMSG);
    assert_int_equal(store_report_decode("{}", 2, STORE_REPORT_VERSION, &back), 0);
    audit_report_free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rich),
        cmocka_unit_test(at_rest),
        cmocka_unit_test(little_at_rest),
        cmocka_unit_test(empty),
        cmocka_unit_test(plain_raw),
        cmocka_unit_test(truncated),
        cmocka_unit_test(not_understood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
