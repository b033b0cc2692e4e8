/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What images must hold, image by image: when they are read, what is accepted, what a parent is
 * told of an overlay that goes. */
#include <stdio.h>
#include <stdlib.h>

#include "contents-kit.h"

#include "lib/cleanup.h"

/* ---- when ------------------------------------------------------------------------------------ */

#define NEVER UINT64_MAX

static void planned(void **state)
{
    static const struct {
        const char *story, *of;
        uint64_t hours;         /* from now on */
    } rows[] = {
        { "+base golden/base", "base", 0 },
        { "+base golden/base unlisted/base", "base", NEVER },
        { "+base golden/base base=aaaa", "base", 7 * 24 },
        { "+base golden/base base=aaaa unlisted/base", "base", 7 * 24 - 1 },
        { "+one", "one", NEVER },
        { "+base +one>base", "base", 0 },
        { "+base +one>base", "one", NEVER },
        /* an overlay, once there is something that it could be committed into */
        { "+base +one>base base=aaaa", "base", 30 * 24 },
        { "+base +one>base base=aaaa", "one", 0 },
        { "+base +one>base base=aaaa one=.b..", "one", NEVER },
        { "+base +one>base base=aaaa one=.b.. one^", "one", 0 },
        { "+base golden/base +one>base base=aaaa", "one", NEVER },
        { "+base +one>base base=aaaa luks/one", "one", NEVER },
        /* nobody writes it, and it is there */
        { "+base golden/base writer/base", "base", NEVER },
        { "+base golden/base writer/base free/base", "base", 0 },
        { "+base golden/base base=aaaa away/base", "base", NEVER },
        { "+base golden/base +one>base golden/one pending/one", "one", NEVER },
        /* changed, or another file */
        { "+base golden/base base=aaaa base^", "base", 0 },
        { "+base golden/base base=aaaa base:new", "base", 0 },
        { "+base +one>base base=aaaa base:moved one>moved", "moved", 30 * 24 - 2 },
        { "+base golden/base base=aaaa base@", "base", 7 * 24 - 1 },
        { "+base golden/base base=aaaa restart base@ restart", "base", 7 * 24 - 3 },
        /* what was found is read again in its time, */
        { "+base golden/base base=aaaa base!abaa", "base", 7 * 24 },
        { "+base golden/base base=aaaa base!abaa base^", "base", 0 },
        /* what could not be, within a day */
        { "+base golden/base base?aaaa", "base", 24 },
        { "+one one?aaaa", "one", 24 },
        { "+one one=aaaa", "one", NEVER },
        /* while it is being taken, not at all */
        { "+base golden/base hold base=aaaa", "base", NEVER },
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct kit *kit;
        void *data;
        size_t at = 0;

        print_message("# %s\n", rows[i].story);
        assert_int_equal(kit_setup(&data), 0);
        kit = data;
        kit_tell(kit, rows[i].story);
        while (kit->images[at] != kit_image(kit, rows[i].of))
            at++;
        if (rows[i].hours == NEVER)
            assert_int_equal(kit->due[at], UINT64_MAX);
        else
            assert_int_equal((int64_t)(kit->due[at] - kit->now) / (int64_t)HOUR, rows[i].hours);
        kit_teardown(&data);
    }
}

/* A golden image by its baseline is one in its relation from the same moment on. */
static void judged_when_bound(void **state)
{
    struct kit *kit = *state;
    unsigned before;

    kit_tell(kit, "+base golden/base base=aaaa");
    before = kit->judged;
    kit_tell(kit, "+x");
    assert_int_equal(kit->judged, before);
    kit_tell(kit, "-base +base");
    assert_int_equal(kit->judged, before + 2);
}

static void attributes(void **state)
{
    struct kit *kit = *state;
    const struct baseline *baseline;

    kit_tell(kit, "+base golden/base +x base=aaaa");
    baseline = kit_baseline(kit, "base");
    assert_false(baseline->attributes);
    kit_tell(kit, "base@ x@");
    assert_true(baseline->attributes);
    kit_tell(kit, "restart");
    assert_true(kit_baseline(kit, "base")->attributes);
    /* of a file that nothing is known of: it is read first */
    kit_tell(kit, "base=aaaa base:new base@");
    assert_false(kit_baseline(kit, "base")->attributes);
}

/* ---- accepted -------------------------------------------------------------------------------- */

static int accept(struct kit *kit, const char *name, char **ret_message)
{
    char path[64];
    int r;

    *ret_message = NULL;
    snprintf(path, sizeof(path), "/vm/%s", name);
    r = contents_accept(kit->contents, path, "root", "a \"new\" kernel", ret_message);
    kit_run(kit);
    assert_int_equal(*ret_message != NULL, r == -EINVAL);
    return r;
}

static void refused(void **state)
{
    static const struct { const char *story; int r; const char *message; } rows[] = {
        { "+x", -ENOENT, NULL },
        { "+base unlisted/base", -ENOENT, NULL },
        { "+base", -EINVAL,
          "Nothing is kept of what it must hold: it is neither golden nor a parent, or was not "
          "read yet" },
        { "+base golden/base base=aaaa", -EINVAL,
          "It holds what it must hold, as far as was read: there is nothing to accept" },
        { "+base golden/base base=aaaa base?aaaa", -EINVAL,
          "Not all of it could be read: what cannot be read cannot be accepted" },
        { "+base golden/base base=aaaa base!abaa base^", -EINVAL,
          "It changed again since it was read: wait until it is read, and look again" },
        { "+base golden/base base=aaaa base!abaa base:new", -EINVAL,
          "It changed again since it was read: wait until it is read, and look again" },
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_free_ char *message = NULL;
        size_t readings;
        void *kit;

        print_message("# %s\n", rows[i].story);
        assert_int_equal(kit_setup(&kit), 0);
        kit_tell(kit, rows[i].story);
        readings = ((struct kit *)kit)->n_readings;
        assert_int_equal(accept(kit, "base", &message), rows[i].r);
        if (rows[i].message)
            assert_string_equal(message, rows[i].message);
        assert_int_equal(((struct kit *)kit)->n_readings, readings);
        kit_teardown(&kit);
    }
}

static void accepted(void **state)
{
    static const struct {
        const char *story, *after;      /* what happens then */
        enum reading_verdict verdict;
        const char *explanation;        /* of the last reading */
    } rows[] = {
        { "+base golden/base base=aaaa base!abaa", "base=abaa", READING_VERIFIED, NULL },
        { "+base golden/base base=aaaa base=abaa", "base=abca", READING_ROT,
          "1 block differs, the first at byte 131072 of the guest's disk" },
        { "+base golden/base base=aaaa base!abaa", "base!aaaa", READING_MODIFIED,
          "1 block differs, the first at byte 65536 of the guest's disk" },
        { "+base +one>base base=aaaa one=.c.. base!abaa", "base=abaa", READING_VERIFIED, NULL },
        { "+base golden/base base=aaaa base:new base=abaa", "base=abaa", READING_VERIFIED, NULL },
        { "+base golden/base base=aaaa base:new base=abaa", "restart base=abca", READING_ROT,
          "1 block differs, the first at byte 131072 of the guest's disk" },
        /* of what could not be located the blocks are not known, and nothing is damaged */
        { "+base golden/base base=aaaa base%abaa", "base=acaa", READING_ROT,
          "the digest differs; which blocks is not known" },
        { "+base golden/base base%aaaa base!abaa", "base=acaa", READING_ROT,
          "the digest differs; which blocks is not known" },
        { "+base golden/base base=aaaa base!abaa base%acaa", "base=adaa", READING_ROT,
          "the digest differs; which blocks is not known" },
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_free_ char *message = NULL;
        const struct kit_reading *reading;
        const struct baseline *baseline;
        struct kit *kit;
        void *data;

        print_message("# %s ACCEPT %s\n", rows[i].story, rows[i].after);
        assert_int_equal(kit_setup(&data), 0);
        kit = data;
        kit_tell(kit, rows[i].story);
        assert_int_equal(accept(kit, "base", &message), 0);
        reading = kit_reading(kit, "base");
        assert_int_equal(reading->verdict, READING_ACCEPTED);
        assert_true(reading->has_digest);
        assert_string_equal(reading->explanation, "by root: a \"new\" kernel");
        baseline = kit_baseline(kit, "base");
        assert_null(baseline->deviation);
        assert_int_equal(baseline->source, BASELINE_ACCEPTED);
        assert_string_equal(baseline->by, "root");
        assert_string_equal(baseline->reason, "a \"new\" kernel");
        assert_true(identity_equal(&baseline->identity, &kit_image(kit, "base")->identity));
        kit_tell(kit, rows[i].after);
        reading = kit_reading(kit, "base");
        assert_int_equal(reading->verdict, rows[i].verdict);
        if (rows[i].explanation)
            assert_string_equal(reading->explanation, rows[i].explanation);
        else
            assert_null(reading->explanation);
        /* That somebody said so stays. */
        assert_int_equal(kit_baseline(kit, "base")->source, BASELINE_ACCEPTED);
        assert_null(contents_damage(kit->contents));
        kit_teardown(&data);
    }
}

/* Nothing asked for it: it has no blocks, before and after. */
static void accepted_of_a_leaf(void **state)
{
    struct kit *kit = *state;
    _cleanup_free_ char *message = NULL;

    kit_tell(kit, "+one one=aaaa one=abaa");
    assert_int_equal(accept(kit, "one", &message), 0);
    assert_false(kit_baseline(kit, "one")->blocks);
    kit_tell(kit, "one=acaa");
    assert_int_equal(kit_reading(kit, "one")->verdict, READING_ROT);
    assert_null(contents_damage(kit->contents));
}

/* What was read once more before that, and is taken after it, was compared with what counts no
 * more. */
static void accepted_meanwhile(void **state)
{
    static const struct { const char *story; enum reading_verdict verdict; } rows[] = {
        { "+base golden/base base=aaaa base!abaa hold base=abaa", READING_VERIFIED },
        { "+base golden/base base=aaaa base!abaa hold base!abaa", READING_METADATA },
        { "+base golden/base base=aaaa base!abaa hold base=acaa", READING_ROT },
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_free_ char *message = NULL;
        struct image *image;
        struct kit *kit;
        void *data;

        print_message("# %s\n", rows[i].story);
        assert_int_equal(kit_setup(&data), 0);
        kit = data;
        kit_tell(kit, rows[i].story);
        image = kit_image(kit, "base");
        assert_true(image->reading);
        image->fingerprint = image->baseline->deviation->fingerprint;
        assert_int_equal(accept(kit, "base", &message), 0);
        kit_tell(kit, "go");
        assert_int_equal(kit_reading(kit, "base")->verdict, rows[i].verdict);
        kit_tell(kit, "base!xxxx");
        assert_null(contents_damage(kit->contents));
        kit_teardown(&data);
    }
}

/* ---- gone ------------------------------------------------------------------------------------ */

static void lost_child(void **state)
{
    static const struct { const char *story, *of, *lost; } rows[] = {
        { "+base +one>base base=aaaa -one", "base", "/vm/one" },
        { "+base +one>base +two>base base=aaaa -one -two", "base", "/vm/one" },
        { "+base +one>base -one +two>base base=aaaa", "base", NULL },
        { "+base +one>base golden/one base=aaaa -one", "base", NULL },
        { "+base +one>base base=aaaa one~", "base", "/vm/one" },
        /* until it is read, and is as it was */
        { "+base +one>base +two>base base=aaaa -one base=aaaa", "base", NULL },
        { "+base +one>base +two>base base=aaaa two=.c.. -one base!abaa", "base", "/vm/one" },
        { "+base +one>base base=aaaa -one restart", "base", "/vm/one" },
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        const struct baseline *baseline;
        void *kit;

        print_message("# %s\n", rows[i].story);
        assert_int_equal(kit_setup(&kit), 0);
        kit_tell(kit, rows[i].story);
        baseline = kit_baseline(kit, rows[i].of);
        assert_non_null(baseline);
        if (rows[i].lost)
            assert_string_equal(baseline->lost_child, rows[i].lost);
        else
            assert_null(baseline->lost_child);
        kit_teardown(&kit);
    }
}

static void found(void **state)
{
    struct kit *kit = *state;
    struct image *image;

    kit_tell(kit, "+base golden/base");
    image = kit_image(kit, "base");
    assert_null(contents_find(kit->contents, &image->identity));
    kit_tell(kit, "base=aaaa");
    assert_ptr_equal(contents_find(kit->contents, &image->identity), image->baseline);
    assert_null(contents_find(kit->contents, &(struct identity){ .fsid = 1, .inode = 77 }));
}

/* A database that cannot be written costs nothing that the memory has: the ledger has it. */
static void database_fails(void **state)
{
    struct kit *kit = *state;

    kit->database_fails = true;
    kit_tell(kit, "+base golden/base base=aaaa base=abaa");
    assert_int_equal(kit_baseline(kit, "base")->deviation->verdict, READING_ROT);
    assert_int_equal(kit->n_kept, 0);
    kit->database_fails = false;
    kit_tell(kit, "restart");
    assert_int_equal(kit_baseline(kit, "base")->deviation->verdict, READING_ROT);
    assert_int_equal(kit->n_kept, 1);
    assert_int_equal(contents_keep_all(kit->contents), 0);
    assert_int_equal(kit->n_kept, 1);
}

/* As the database has them. */
static void loaded(void **state)
{
#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    static const struct { const char *deviation, *verity; bool good; } rows[] = {
        { NULL, NULL, true }, { NULL, "sha256:" DIGEST, true }, { NULL, "sha256:01x2", false },
        { NULL, "nonsense", false }, { "{}", NULL, false }, { "[]", NULL, false },
        { "{\"verdict\":5}", "sha256:" DIGEST, false },
    };
    struct kit *kit = *state;

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct baseline *baseline = calloc(1, sizeof(*baseline));
        json_object *deviation = rows[i].deviation ? json_tokener_parse(rows[i].deviation) : NULL;
        size_t n = baselines_count(kit->contents->baselines);
        int r;

        assert_non_null(baseline);
        *baseline = (struct baseline){ .identity = { .fsid = 1, .inode = i + 1 },
                                       .path = strdup("/vm/x"), .source = BASELINE_POLICY };
        r = contents_load_baseline(kit->contents, baseline, deviation, rows[i].verity);
        assert_int_equal(r, rows[i].good ? 0 : -EBADMSG);
        assert_int_equal(baselines_count(kit->contents->baselines), n + rows[i].good);
        if (rows[i].good)
            assert_int_equal(baseline->verity.algorithm != 0, rows[i].verity != NULL);
        json_object_put(deviation);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planned),
        cmocka_unit_test_setup_teardown(judged_when_bound, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(attributes, kit_setup, kit_teardown),
        cmocka_unit_test(refused),
        cmocka_unit_test(accepted),
        cmocka_unit_test_setup_teardown(accepted_of_a_leaf, kit_setup, kit_teardown),
        cmocka_unit_test(accepted_meanwhile),
        cmocka_unit_test(lost_child),
        cmocka_unit_test_setup_teardown(loaded, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(found, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(database_fails, kit_setup, kit_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
