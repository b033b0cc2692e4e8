/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A struct's members as JSON: kept, taken back, and shown by their keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "helpers/json-text.h"
#include "helpers/report-json.h"
#include "helpers/report.h"
#include "qcaudit/qcaudit.h"
#include "check-fixture.h"

static void assert_json(json_object *object, const char *expected)
{
    assert_string_equal(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN), expected);
}

static void assert_shows(const struct json_fields *fields, const void *base,
                         const char *const keys[], const char *expected)
{
    json_object *object = json_object_new_object();

    assert_int_equal(json_fields_show(fields, base, keys, object), 0);
    assert_json(object, expected);
    json_object_put(object);
}

static struct qca_issue an_issue(void)
{
    return (struct qca_issue){
        .kind = QCA_ISSUE_CLUSTER_LEAKED, .table = QCA_TABLE_L2, .snapshot = QCA_ACTIVE,
        .table_offset = QCA_NO_OFFSET, .host_offset = 65536, .host_length = 0,
        .guest_offset = QCA_NO_OFFSET, .guest_length = 7, .counted = 0, .stored = UINT64_MAX,
    };
}

/* In the order of the keys; zeros are shown, what is not there is not, nor what belongs to it. */
static void shown_by_keys(void **state)
{
    const struct json_fields *fields = report_fields_of_issue();
    struct qca_issue issue = an_issue();
    struct qca_check_result check = { .leaks = 3, .image_end_offset = 9 };
    json_object *object = json_object_new_object();

    assert_shows(fields, &issue, JSON_KEYS("stored", "counted", "kind"),
                 "{\"stored\":18446744073709551615,\"counted\":0,\"kind\":\"cluster-leaked\"}");
    assert_shows(fields, &issue,
                 JSON_KEYS("snapshot", "table-offset", "host-offset", "host-length",
                           "guest-offset", "guest-length", "index"),
                 "{\"host-offset\":65536,\"host-length\":0,\"index\":0}");
    issue.snapshot = 0;
    issue.guest_offset = 0;
    assert_shows(fields, &issue, JSON_KEYS("snapshot", "guest-offset", "guest-length"),
                 "{\"snapshot\":0,\"guest-offset\":0,\"guest-length\":7}");
    assert_shows(report_fields_of_check(), &check,
                 JSON_KEYS("leaks", "image-end-offset", "finished", "corruptions"),
                 "{\"leaks\":3,\"image-end-offset\":9,\"finished\":false,\"corruptions\":0}");
    assert_shows(fields, &issue, JSON_KEYS(NULL), "{}");
    assert_int_equal(json_fields_show(fields, &issue, JSON_KEYS("kinds"), object), -EINVAL);
    json_object_put(object);
}

/* What is usual is left out; an old key stays what it was. */
static void kept_and_taken_back(void **state)
{
    const struct json_fields *fields = report_fields_of_check();
    struct qca_issue issues[] = { an_issue() };
    struct qca_check_result check = {
        .finished = true, .leaks = 1, .image_end_offset = 131072, .burst_offset = QCA_NO_OFFSET,
        .burst_end = QCA_NO_OFFSET, .issues = issues, .n_issues = 1,
    }, back = {};
    json_object *object;

    fixture_count(&check, QCA_ISSUE_CLUSTER_LEAKED, 1);
    assert_int_equal(json_fields_encode(fields, &check, &object), 0);
    assert_json(object,
                "{\"finished\":true,\"leaks\":1,\"image-end\":131072,"
                "\"kinds\":{\"cluster-leaked\":1},\"issues\":[{\"kind\":\"cluster-leaked\","
                "\"table\":\"l2\",\"host-offset\":65536,\"guest-length\":7,"
                "\"stored\":18446744073709551615}]}");
    assert_int_equal(json_fields_decode(fields, object, &back), 0);
    assert_memory_equal(&back.issues[0], &issues[0], sizeof(issues[0]));
    assert_true(fixture_same_counts(&back, &check));
    assert_true(back.finished);
    assert_memory_equal(&back.corruptions, &check.corruptions,
                        offsetof(struct qca_check_result, kind_count) -
                            offsetof(struct qca_check_result, corruptions));
    qca_check_result_done(&back);
    /* as it was kept once where there was none */
    json_object_object_add(object, "error", json_tokener_parse("{\"kind\":\"none\"}"));
    memset(&back, 0, sizeof(back));
    assert_int_equal(json_fields_decode(fields, object, &back), 0);
    assert_null(back.error);
    qca_check_result_done(&back);
    json_object_object_add(object, "error", json_tokener_parse("{\"text\":\"it is odd\"}"));
    assert_int_equal(json_fields_decode(fields, object, &back), 0);
    assert_string_equal(back.error->text, "it is odd");
    qca_check_result_done(&back);
    json_object_object_add(json_object_object_get(object, "kinds"), "no-such-kind",
                           json_object_new_int(1));
    memset(&back, 0, sizeof(back));
    assert_int_equal(json_fields_decode(fields, object, &back), -EBADMSG);
    qca_check_result_done(&back);
    free(check.kind_count);
    json_object_put(object);
}

static void members_are_added(void **state)
{
    json_object *object = json_object_new_object();

    assert_int_equal(json_add(object, "a", json_object_new_int(1)), 0);
    assert_int_equal(json_add(object, "b", NULL), -ENOMEM);
    assert_int_equal(json_add(NULL, "b", json_object_new_int(1)), -ENOMEM);
    assert_json(object, "{\"a\":1}");
    json_object_put(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shown_by_keys),
        cmocka_unit_test(kept_and_taken_back),
        cmocka_unit_test(members_are_added),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
