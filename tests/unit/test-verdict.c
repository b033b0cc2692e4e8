/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Original, repacked, renamed, modified: which verdict comes of which digests and names. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "provenance/verdict.h"

enum { A = 1, B, C };           /* what a digest is of */

/* A record with digests that begin with what they are of; 0: without. */
static struct catalogue_record record(const char *name, int md5, int sha256, int content,
                                      enum catalogue_level level)
{
    struct catalogue_record record = {
        .name = (char *)(uintptr_t)name, .size = CATALOGUE_SIZE_UNKNOWN, .level = level,
        .algorithms = (md5 ? 1U << CATALOGUE_MD5 : 0) | (sha256 ? 1U << CATALOGUE_SHA256 : 0),
        .md5 = { (uint8_t)md5 }, .sha256 = { (uint8_t)sha256 },
        .has_content = content != 0, .content = { (uint8_t)content },
    };

    return record;
}

static struct judgement judge(const struct catalogue_record *file,
                              struct catalogue_record *records, size_t n)
{
    const struct catalogue catalogue = { .records = records, .n = n };
    const struct catalogue *catalogues[] = { &catalogue };
    struct judgement judgement;

    verdict_of(file, catalogues, 1, &judgement);
    if (judgement.record)
        assert_ptr_equal(judgement.catalogue, &catalogue);
    return judgement;
}

static void test_verdicts(void **state)
{
    const struct {
        const char *name;
        int md5, sha256, content;       /* of the file */
        struct { const char *name; int md5, sha256, content; } records[2];
        enum verdict verdict;
        const char *record;
        bool weak, archive;
    } rows[] = {
        { "a", A, A, A, { { "a", A, A, A } }, VERDICT_ORIGINAL, "a", false, false },
        { "a", A, A, A, { { "a", 0, A, 0 } }, VERDICT_ORIGINAL, "a", false, false },
        { "a", A, A, A, { { "a", A, 0, 0 } }, VERDICT_ORIGINAL, "a", true, false },
        /* forged for its MD5: the stronger digest, or the content, tells */
        { "a", A, B, A, { { "a", A, A, 0 } }, VERDICT_DIFFERENT, "a", false, false },
        { "a", A, B, B, { { "a", A, 0, A } }, VERDICT_MODIFIED, "a", false, false },
        { "a", B, B, A, { { "a", A, A, A } }, VERDICT_REPACKED, "a", false, false },
        { "a", B, B, 0, { { "a", A, A, A } }, VERDICT_DIFFERENT, "a", false, false },
        { "a", B, B, B, { { "a", A, A, 0 } }, VERDICT_DIFFERENT, "a", false, false },
        { "a", B, B, B, { { "a", A, A, A } }, VERDICT_MODIFIED, "a", false, false },
        /* another name is none that anybody else has */
        { "b", A, A, A, { { "a", A, A, A } }, VERDICT_ORIGINAL, "a", false, false },
        { "b", A, A, A, { { "a", A, A, A }, { "b", B, B, B } },
          VERDICT_RENAMED, "a", false, false },
        { "b", C, C, A, { { "b", B, B, B }, { "a", A, A, A } },
          VERDICT_RENAMED, "a", false, false },
        { "b", A, A, A, { { "a", A, A, A }, { "b", A, A, A } },
          VERDICT_ORIGINAL, "b", false, false },
        { "b", B, B, B, { { "a", A, A, A } }, VERDICT_UNKNOWN, NULL, false, false },
        /* sums of downloads are often those of the compressed file */
        { "a", B, B, B, { { "a.gz", A, A, 0 } }, VERDICT_UNKNOWN, "a.gz", false, true },
        { "a", B, B, B, { { "a.gz", A, A, A } }, VERDICT_MODIFIED, "a.gz", false, false },
        { "a", B, B, A, { { "a.xz", A, A, A } }, VERDICT_REPACKED, "a.xz", false, false },
        { "a", B, B, B, { { "a.txt", A, A, 0 } }, VERDICT_UNKNOWN, NULL, false, false },
        /* nothing that both have can be compared */
        { "a", 0, B, 0, { { "a", A, 0, 0 } }, VERDICT_UNKNOWN, NULL, false, false },
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct catalogue_record file = record(rows[i].name, rows[i].md5, rows[i].sha256,
                                              rows[i].content, CATALOGUE_CLAIM), records[2];
        size_t n = 0;
        struct judgement judgement;

        file.size = 1000;
        for (; n < 2 && rows[i].records[n].name; n++)
            records[n] = record(rows[i].records[n].name, rows[i].records[n].md5,
                                rows[i].records[n].sha256, rows[i].records[n].content,
                                CATALOGUE_PINNED);
        judgement = judge(&file, records, n);
        if (judgement.verdict != rows[i].verdict)
            fail_msg("row %zu: %s", i, verdict_name(judgement.verdict));
        assert_int_equal(judgement.weak, rows[i].weak);
        assert_int_equal(judgement.archive, rows[i].archive);
        if (rows[i].record)
            assert_string_equal(judgement.record->name, rows[i].record);
        else
            assert_null(judgement.record);
        assert_int_equal(judgement.named != NULL, rows[i].verdict == VERDICT_RENAMED);
    }
}

/* Of several records that fit, the file's own name goes first, then the strongest level. */
static void test_level(void **state)
{
    struct catalogue_record file = record("a", A, A, A, CATALOGUE_CLAIM);
    struct catalogue_record records[] = {
        record("b", A, A, A, CATALOGUE_CLAIM), record("c", A, A, A, CATALOGUE_SIGNED),
        record("d", A, A, A, CATALOGUE_PINNED), record("a", A, A, A, CATALOGUE_CLAIM),
    };

    file.size = 1000;
    assert_string_equal(judge(&file, records, 3).record->name, "c");
    assert_string_equal(judge(&file, records, 4).record->name, "a");
    records[0].name = records[3].name;
    records[0].level = CATALOGUE_PINNED;
    assert_int_equal(judge(&file, records, 4).record->level, CATALOGUE_PINNED);
    /* equal bytes go before equal content, whoever says so */
    records[1] = record("c", B, B, A, CATALOGUE_SIGNED);
    assert_string_equal(judge(&file, records + 1, 2).record->name, "d");
}

static void test_size(void **state)
{
    struct catalogue_record file = record("a", A, 0, 0, CATALOGUE_CLAIM),
                            of_list = record("a", A, 0, 0, CATALOGUE_CLAIM);

    file.size = 1000;
    of_list.size = 1000;
    assert_int_equal(judge(&file, &of_list, 1).verdict, VERDICT_ORIGINAL);
    of_list.size = 1001;
    assert_int_equal(judge(&file, &of_list, 1).verdict, VERDICT_DIFFERENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_level),
        cmocka_unit_test(test_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
