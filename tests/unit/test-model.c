/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The words of the daemon and the catalogue of findings: complete, well-formed, unambiguous. */
#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/datastore.h"
#include "daemon/core/findings.h"
#include "daemon/core/image.h"
#include "helpers/text.h"
#include "lib/cleanup.h"

static void assert_prose(const char *name, const char *text, bool paragraphs)
{
    size_t n = strlen(text);

    if (n < 20 || isspace((unsigned char)text[n - 1]) || strchr(text, '@') || strstr(text, "  "))
        fail_msg("%s: odd text: %s", name, text);
    for (const char *p = text; (p = strchr(p, '\n')); p += 2)
        if (!paragraphs || p[1] != '\n' || p[2] == '\n')
            fail_msg("%s: stray line break: %s", name, text);
}

static void every_finding_is_well_formed(void **state)
{
    for (int i = 0; i < _FINDING_MAX; i++) {
        const struct finding_definition *d = finding_definition(i);

        assert_non_null(d);
        for (const char *p = d->name; *p; p++)
            assert_true((*p >= 'a' && *p <= 'z') || *p == '-');
        for (int s = 0; s < _SEVERITY_MAX; s++)
            if (s != SEVERITY_ERROR)    /* "read-error" is what failed, not how bad it is */
                assert_null(strstr(d->name, severity_name(s)));
        assert_in_range(d->severity, SEVERITY_INFO, SEVERITY_CRITICAL);
        assert_in_range(strlen(d->title), 10, 90);
        assert_true(text_is_safe(d->title, strlen(d->title)));
        assert_true(d->title[strlen(d->title) - 1] != '.');
        assert_prose(d->name, d->title, false);
        assert_prose(d->name, d->explanation, true);
        assert_prose(d->name, d->remedy, true);
        assert_int_equal(d->explanation[strlen(d->explanation) - 1], '.');
        assert_int_equal(d->remedy[strlen(d->remedy) - 1], '.');
        assert_false(sd_id128_is_null(d->message_id));
        assert_int_equal(finding_type_from_name(d->name), i);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(d->name, finding_definition(j)->name);
            assert_false(sd_id128_equal(d->message_id, finding_definition(j)->message_id));
        }
    }
    assert_null(finding_definition(_FINDING_MAX));
    assert_null(finding_definition((enum finding_type) -1));
    assert_int_equal(finding_type_from_name("metadata"), -EINVAL);
    assert_int_equal(finding_type_from_name(NULL), -EINVAL);
}

static void names_go_there_and_back(void **state)
{
    for (int i = 0; i < _SEVERITY_MAX; i++)
        assert_int_equal(severity_from_name(severity_name(i)), i);
    for (int i = 0; i < _CONFIDENCE_MAX; i++)
        assert_int_equal(confidence_from_name(confidence_name(i)), i);
    for (int i = 0; i < _FINDING_STATE_MAX; i++)
        assert_int_equal(finding_state_from_name(finding_state_name(i)), i);
    for (int i = 0; i < _SUBJECT_KIND_MAX; i++)
        assert_int_equal(subject_kind_from_name(subject_kind_name(i)), i);
    for (int i = 0; i < _EVENT_MAX; i++)
        assert_int_equal(event_type_from_name(event_type_name(i)), i);
    for (int i = 0; i < _REFERENCE_STATE_MAX; i++)
        assert_int_equal(reference_state_from_name(reference_state_name(i)), i);
    for (int i = 0; i < _DATASTORE_STATE_MAX; i++)
        assert_non_null(datastore_state_name(i));

    assert_null(severity_name(_SEVERITY_MAX));
    assert_null(confidence_name(_CONFIDENCE_MAX));
    assert_null(event_type_name(_EVENT_MAX));
    assert_null(datastore_state_name(_DATASTORE_STATE_MAX));
    assert_int_equal(severity_from_name("fatal"), -EINVAL);
    assert_int_equal(event_type_from_name(NULL), -EINVAL);
}

static void severities_are_journal_priorities(void **state)
{
    assert_int_equal(severity_priority(SEVERITY_INFO), 6);
    assert_int_equal(severity_priority(SEVERITY_WARNING), 4);
    assert_int_equal(severity_priority(SEVERITY_ERROR), 3);
    assert_int_equal(severity_priority(SEVERITY_CRITICAL), 2);
}

static void alerts_go_out_on_change_for_the_worse_and_on_the_end(void **state)
{
    assert_true(event_type_alerts(EVENT_OPENED));
    assert_true(event_type_alerts(EVENT_WORSENED));
    assert_true(event_type_alerts(EVENT_REOPENED));
    assert_true(event_type_alerts(EVENT_RESOLVED));
    assert_true(event_type_alerts(EVENT_UNACKNOWLEDGED));
    assert_true(event_type_alerts(EVENT_REMINDER));
    assert_false(event_type_alerts(EVENT_EASED));
    assert_false(event_type_alerts(EVENT_ACKNOWLEDGED));
    assert_true(event_type_alerts(EVENT_UNMUTED));
    assert_false(event_type_alerts(EVENT_MUTED));
    assert_false(event_type_alerts(_EVENT_MAX));
    assert_true(event_alerts(&(struct event){ .type = EVENT_OPENED }));
    assert_false(event_alerts(&(struct event){ .type = EVENT_OPENED, .muted_by = 3 }));
    assert_false(event_alerts(&(struct event){ .type = EVENT_EASED }));
}

static void destructors_take_null_and_all(void **state)
{
    assert_null(finding_free(NULL));
    assert_null(event_free(NULL));
    assert_null(audit_free(NULL));
    assert_null(image_free(NULL));
    assert_null(datastore_free(NULL));

    struct finding *finding = calloc(1, sizeof(*finding));
    struct event *event = calloc(1, sizeof(*event));
    struct image *image = calloc(1, sizeof(*image));
    struct datastore *datastore = calloc(1, sizeof(*datastore));

    assert_true(finding && event && image && datastore);
    *finding = (struct finding){
        .subject = strdup("/a"), .datastore = strdup("a"), .acknowledged_by = strdup("root"),
        .acknowledged_reason = strdup("known"), .evidence = json_object_new_object(),
        .remedy = json_object_new_array(),
    };
    *event =
        (struct event){ .subject = strdup("/a"), .datastore = strdup("a"), .message = strdup("m") };
    *image = (struct image){ .path = strdup("/a"), .audit = calloc(1, sizeof(struct audit)) };
    image->parent = (struct reference){ .state = REFERENCE_FOUND,
                                        .stored = strdup("b"),
                                        .format = strdup("raw"),
                                        .path = strdup("/b") };
    image->data_file.stored = strdup("c");
    *datastore = (struct datastore){ .name = strdup("a"), .path = strdup("/") };
    reference_done(&image->data_file);
    assert_null(image->data_file.stored);
    assert_int_equal(image->data_file.state, REFERENCE_NONE);
    finding_free(finding);
    event_free(event);
    image_free(image);
    datastore_free(datastore);
}

static void names_of_downloads(void **state)
{
    static const char *const partial[] = {
        "/vm/a.qcow2.part", "/vm/a.iso.partial", "/vm/Unconfirmed 1.crdownload",
        "/vm/a.qcow2.filepart", "/vm/a.qcow2.CRDOWNLOAD", "/vm/.a.qcow2.Xy3Zk9",
        "/vm/a.qcow2.tmp.4711", "/var/lib/vz/images/100/a.raw.tmp_dwnl.4711",
        "/vm/.rsync-partial/a.qcow2", "/var/lib/glance/incomplete/0815", "/vm/a.download",
    };
    static const char *const whole[] = {
        "/vm/a.qcow2", "/vm/part", "/vm/.part", "/vm/a.part1.qcow2", "/vm/a.tmpl", "/vm/.a.qcow2",
        "/vm/a.qcow2.Xy3Zk9", "/vm/department.img", "/vm/.aXy3Zk9", "/vm/a.template",
    };

    for (size_t i = 0; i < ELEMENTSOF(partial); i++)
        assert_true(image_name_is_partial(partial[i]));
    for (size_t i = 0; i < ELEMENTSOF(whole); i++)
        assert_false(image_name_is_partial(whole[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_downloads),
        cmocka_unit_test(every_finding_is_well_formed),
        cmocka_unit_test(names_go_there_and_back),
        cmocka_unit_test(severities_are_journal_priorities),
        cmocka_unit_test(alerts_go_out_on_change_for_the_worse_and_on_the_end),
        cmocka_unit_test(destructors_take_null_and_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
