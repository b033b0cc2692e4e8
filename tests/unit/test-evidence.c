/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The members of evidence: each key once per type, what a screen makes of each kind, evidence of
 * other versions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "ctl/evidence.h"
#include "lib/cleanup.h"

static json_type type_of(const struct evidence_member *member)
{
    switch (member->kind) {
    case EVIDENCE_IS_PATH:
    case EVIDENCE_IS_WORDS:
        return json_type_string;
    case EVIDENCE_IS_FLAG:
        return json_type_boolean;
    case EVIDENCE_IS_LIST:
        return json_type_array;
    case EVIDENCE_IS_OBJECT:
        return json_type_object;
    default:
        return json_type_int;
    }
}

static void a_key_means_one_thing(void **state)
{
    const struct evidence_member *a, *b;
    size_t n = 0;

    for (size_t i = 0; (a = evidence_member_at(i)); i++, n++) {
        print_message("# %s\n", a->key);
        assert_true(*a->key && *a->label);
        assert_int_equal(strspn(a->key, "abcdefghijklmnopqrstuvwxyz0123456789-"), strlen(a->key));
        for (size_t k = 0; k < i; k++) {
            b = evidence_member_at(k);
            assert_false(strcmp(a->key, b->key) == 0 && type_of(a) == type_of(b));
        }
    }
    assert_int_equal(n, _NUMBER_MAX + _TEXT_MAX + _FLAG_MAX + _PART_MAX + 1);  /* one former */
    assert_string_equal(evidence_number_key(NUMBER_AGE_SECONDS), "age-seconds");
    assert_string_equal(evidence_text_key(TEXT_PATH), "path");
    assert_string_equal(evidence_flag_key(FLAG_IN_USE), "in-use");
    assert_string_equal(evidence_part_key(PART_ISSUES), "issues");
}

/* "LABEL: TEXT" of a member, as a screen shows it. */
static void assert_shown(const char *key, const char *json, const char *expected)
{
    json_object *value = json_tokener_parse(json);
    const struct evidence_member *member = evidence_member_find(key, value);
    _cleanup_free_ char *label = evidence_label_text(member, key),
                        *text = evidence_scalar_text(member, value), *line = NULL;

    assert_non_null(value);
    assert_true(asprintf(&line, "%s: %s", label, text) > 0);
    assert_string_equal(line, expected);
    json_object_put(value);
}

static void a_screen_shows_each_kind_in_its_words(void **state)
{
    assert_int_equal(setenv("TZ", "UTC", 1), 0);
    tzset();
    assert_shown("age-seconds", "17280024", "age: 200d");
    assert_shown("elapsed-seconds", "0", "elapsed: 0s");
    assert_shown("limit-seconds", "18446744073709551615", "limit: without end");
    assert_shown("threshold-share", "15000", "threshold: 150.00%");
    assert_shown("share", "1234", "share: 12.34%");
    assert_shown("allocated-bytes", "1610612736", "allocated: 1.5G (1610612736)");
    assert_shown("size", "1", "size: 1 byte");
    assert_shown("guest-length", "512", "guest length: 512 bytes");
    assert_shown("host-offset", "65536", "host offset: 0x10000");
    assert_shown("host-offset", "0", "host offset: 0");
    assert_shown("mode", "420", "mode: 0644");
    assert_shown("incompatible-features", "18", "incompatible features: 0x12");
    assert_shown("corruptions", "2048", "corruptions: 2048");
    assert_shown("bytes-per-day", "2048", "per day: 2K (2048)");
    assert_shown("full-at", "1764547200000000", "full: Mon 2025-12-01 00:00:00 UTC");
    assert_shown("in-use", "true", "in use: yes");
    assert_shown("path", "\"/srv/a b\"", "path: /srv/a b");
    /* A key that is a number in one finding and a text in another. */
    assert_shown("stored", "3", "stored: 3");
    assert_shown("stored", "\"../base.qcow2\"", "stored: ../base.qcow2");
    /* What other versions wrote: former ones in their kind, unknown ones as they are, and nothing
     * is guessed by a name. */
    assert_shown("files", "7", "files: 7");
    assert_shown("new-seconds", "17280024", "new-seconds: 17280024");
    assert_shown("new\x1b[1m", "\"a\\u001bb\"", "new\\x1b[1m: a\\x1bb");
    assert_shown("age-seconds", "-1", "age: -1");
    assert_shown("age-seconds", "\"old\"", "age-seconds: old");
}

static void an_entry_of_a_list_is_one_line(void **state)
{
    json_object *entry = json_tokener_parse(
        "{\"kind\":\"out-of-file\",\"text\":\"a reference points beyond the end of the file\","
        "\"table\":\"l2\",\"index\":5,\"host-offset\":1048576,\"host-length\":6553600,"
        "\"count\":100,\"more\":[1]}");
    _cleanup_free_ char *text = evidence_entry_text(entry);

    assert_string_equal(text, "out-of-file, a reference points beyond the end of the file, table "
                              "l2, index 5, host offset 0x100000, host length 6.2M (6553600), "
                              "count 100, more ...");
    json_object_put(entry);
}

static void reading_takes_the_right_type_alone(void **state)
{
    json_object *evidence = json_tokener_parse("{\"layer\":\"/srv/a\",\"layers\":[1],"
                                               "\"depth\":7,\"uid\":\"x\"}");

    assert_string_equal(evidence_get_text(evidence, TEXT_LAYER), "/srv/a");
    assert_int_equal(evidence_get_number(evidence, NUMBER_LAYER), 0);
    assert_false(evidence_has_number(evidence, NUMBER_LAYER));
    assert_non_null(evidence_get_list(evidence, PART_LAYERS));
    assert_int_equal(evidence_get_number(evidence, NUMBER_DEPTH), 7);
    assert_true(evidence_has_number(evidence, NUMBER_DEPTH));
    assert_null(evidence_get_text(evidence, TEXT_PATH));
    assert_null(evidence_get_list(NULL, PART_LAYERS));
    assert_int_equal(evidence_get_number(NULL, NUMBER_DEPTH), 0);
    assert_null(evidence_get_text(json_object_array_get_idx(
                    evidence_get_list(evidence, PART_LAYERS), 0), TEXT_PATH));
    json_object_put(evidence);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_means_one_thing),
        cmocka_unit_test(a_screen_shows_each_kind_in_its_words),
        cmocka_unit_test(an_entry_of_a_list_is_one_line),
        cmocka_unit_test(reading_takes_the_right_type_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
