/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Readings that are under way: their block digests are written, resumed, finished, or given up; and
 * files that are damaged or in the way. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "contents-kit.h"

#include "helpers/clock.h"
#include "lib/cleanup.h"
#include "qcaudit/control.h"

static const char *blocks_file(struct kit *kit, const char *name, const char *suffix,
                               char buf[static 128])
{
    char *path = blocks_path(kit->contents, &kit_image(kit, name)->identity, suffix);

    assert_non_null(path);
    snprintf(buf, 128, "%s", path);
    free(path);
    return buf;
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static unsigned count_files(struct kit *kit)
{
    char path[128];
    DIR *dir = opendir(kit_path(kit, CONTROL_BLOCKS_NAME, path));
    unsigned n = 0;

    for (struct dirent *entry; dir && (entry = readdir(dir));)
        n += entry->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n;
}

/* An interrupted reading goes on where it was, if the file is as it was. */
static void resumed(void **state)
{
    static const struct {
        const char *story;
        uint64_t from;          /* block that the last reading began with */
        const char *holds;      /* as its baseline says */
        unsigned n_files;
    } rows[] = {
        { "+base golden/base base=abcd", 0, "abcd", 1 },
        { "+base golden/base base|ab base=abcd", 2, "abcd", 1 },
        { "+base golden/base base|ab restart base=abcd", 2, "abcd", 1 },
        { "+base golden/base base|a0. restart base=a0.d", 3, "a0.d", 1 },
        { "+base golden/base base|ab restart base|abc restart base=abcd", 3, "abcd", 1 },
        { "+base golden/base base=abcd base|ab restart base=abcd", 2, "abcd", 1 },
        /* an owner that changed is no other content */
        { "+base golden/base base|ab base@ base=abcd", 2, "abcd", 1 },
        /* changed, given up, or another file */
        { "+base golden/base base|ab base^ base=abcd", 0, "abcd", 1 },
        { "+base golden/base base|ab base^ restart base=abcd", 0, "abcd", 1 },
        { "+base golden/base base|ab restart base^ base=abcd", 0, "abcd", 1 },
        { "+base golden/base base|ab base?abcd base=abcd", 0, "abcd", 1 },
        { "+base golden/base base|ab -base +base base=abcd", 0, "abcd", 1 },
        /* what nothing is compared with later leaves no file */
        { "+base base|ab base=abcd", 2, "abcd", 0 },
        { "+base golden/base base=abcd -base +x -x later +y -y +base base=aaaa", 0, "aaaa", 1 },
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        const struct baseline *baseline;
        struct kit *kit;
        void *data;

        print_message("# %s\n", rows[i].story);
        assert_int_equal(kit_setup(&data), 0);
        kit = data;
        kit_tell(kit, rows[i].story);
        assert_int_equal(kit->resumed, rows[i].from);
        baseline = kit_baseline(kit, "base");
        assert_non_null(baseline);
        assert_string_equal(kit_letters(kit, baseline->digest), rows[i].holds);
        assert_int_equal(baseline->blocks, rows[i].n_files > 0);
        assert_int_equal(count_files(kit), rows[i].n_files);
        assert_null(contents_damage(kit->contents));
        kit_teardown(&data);
    }
}

static void may_resume(void **state)
{
    struct kit *kit = *state;
    struct image *image;

    kit_tell(kit, "+base golden/base");
    image = kit_image(kit, "base");
    assert_false(contents_may_resume(kit->contents, image));
    kit_tell(kit, "base|");
    assert_false(contents_may_resume(kit->contents, image));
    kit_tell(kit, "base|ab");
    assert_true(contents_may_resume(kit->contents, image));
    /* a disk so large that its digest cannot be computed here */
    image->audit->report->layers[0].info.virtual_size = UINT64_C(32) << 40;
    assert_false(contents_may_resume(kit->contents, image));
    image->audit->report->layers[0].info.virtual_size = 1 << 20;
    kit_tell(kit, "base^");
    assert_false(contents_may_resume(kit->contents, image));
}

/* What the last daemon left is taken as far as it is sound. */
static void left_over(void **state)
{
    enum { CUT = 1, FLIP, OLD, OTHER_NAME, GARBAGE };
    static const struct { int how; uint64_t from; unsigned n_files; } rows[] = {
        { 0, 2, 1 }, { CUT, 1, 1 }, { FLIP, 1, 1 }, { OLD, 0, 0 }, { OTHER_NAME, 0, 0 },
        { GARBAGE, 0, 0 },
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        char path[128], other[256], folder[128];
        struct timespec times[2] = { { .tv_nsec = 0 } };
        struct kit *kit;
        void *data;
        struct stat st;
        FILE *file;

        print_message("# %d\n", rows[i].how);
        assert_int_equal(kit_setup(&data), 0);
        kit = data;
        kit_tell(kit, "+base golden/base base|ab");
        kit_stop(kit);
        kit->contents = NULL;
        snprintf(path, sizeof(path), "%s/" CONTROL_BLOCKS_NAME "/" BLOCKS_NAME_FORMAT
                 BLOCKS_PARTIAL, kit->directory,
                 BLOCKS_NAME_VALUES(kit_image(kit, "base")->identity));
        assert_int_equal(stat(path, &st), 0);
        switch (rows[i].how) {
        case CUT:
            assert_int_equal(truncate(path, st.st_size - 1), 0);
            break;
        case FLIP:
            file = fopen(path, "r+e");
            assert_non_null(file);
            assert_int_equal(fseek(file, -1, SEEK_END), 0);
            assert_int_equal(fputc(0x55, file), 0x55);
            assert_int_equal(fclose(file), 0);
            break;
        case OLD:
            times[0].tv_sec = times[1].tv_sec = (time_t)((kit->now - 31 * DAY) / USEC_PER_SEC);
            assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
            break;
        case OTHER_NAME:
            snprintf(other, sizeof(other), "%s/" CONTROL_BLOCKS_NAME "/x.blocks" BLOCKS_PARTIAL,
                     kit->directory);
            assert_int_equal(rename(path, other), 0);
            break;
        case GARBAGE:
            write_file(path, "QCABLOCK and more", 17);
            break;
        }
        /* Half a file goes; what nobody knows stays. */
        snprintf(other, sizeof(other), "%s/half.part", kit_path(kit, CONTROL_BLOCKS_NAME, folder));
        write_file(other, "x", 1);
        snprintf(other, sizeof(other), "%s/stranger", folder);
        write_file(other, "x", 1);
        kit_start(kit);
        assert_int_equal(count_files(kit), rows[i].n_files + 1);
        kit_tell(kit, "base=abcd");
        assert_int_equal(kit->resumed, rows[i].from);
        assert_string_equal(kit_letters(kit, kit_baseline(kit, "base")->digest), "abcd");
        assert_null(contents_damage(kit->contents));
        kit_teardown(&data);
    }
}

/* Its blocks cannot be written: the reading counts all the same. */
static void no_folder(void **state)
{
    struct kit *kit = *state;
    const struct kit_reading *reading;
    char path[128];

    write_file(kit_path(kit, CONTROL_BLOCKS_NAME, path), "x", 1);
    kit_tell(kit, "+base golden/base base=abcd");
    assert_false(kit_baseline(kit, "base")->blocks);
    assert_string_equal(kit_letters(kit, kit_baseline(kit, "base")->digest), "abcd");
    assert_int_equal(kit_reading(kit, "base")->verdict, READING_BASELINE);
    kit_tell(kit, "base!abxd");
    reading = kit_reading(kit, "base");
    assert_int_equal(reading->verdict, READING_MODIFIED);
    assert_string_equal(reading->explanation, "the digest differs; which blocks is not known");
    assert_null(contents_damage(kit->contents));
    /* That is said at the next start. */
    kit_tell(kit, "restart");
    assert_string_equal(contents_damage(kit->contents),
                        "the folder of block digests (Not a directory)");
    assert_int_equal(kit->damaged, 1);
}

/* The first part of a reading that was resumed is gone: all of it is read once more. */
static void part_is_lost(void **state)
{
    struct kit *kit = *state;
    char path[128];

    kit_tell(kit, "+base golden/base base|ab");
    assert_int_equal(unlink(blocks_file(kit, "base", BLOCKS_PARTIAL, path)), 0);
    kit_tell(kit, "base=abcd");
    assert_int_equal(kit->resumed, 2);
    assert_null(kit_reading(kit, "base"));
    assert_string_equal(kit->demanded, "base ");
    assert_false(kit_image(kit, "base")->reading);
    kit_tell(kit, "base=abcd");
    assert_int_equal(kit->resumed, 0);
    assert_int_equal(kit_reading(kit, "base")->verdict, READING_BASELINE);
    assert_true(kit_baseline(kit, "base")->blocks);
}

/* A small file whose disk is large, and all of it data, must not fill the state directory. */
static void too_much(void **state)
{
    static uint8_t digests[4096][32];
    struct kit *kit = *state;
    struct image *image;
    struct stat st;
    char path[128];

    kit_tell(kit, "+base golden/base base|ab");
    image = kit_image(kit, "base");
    image->fingerprint.allocated = 0;
    assert_int_equal(contents_begin_blocks(kit->contents, image, image->audit), 2);
    for (uint64_t at = 2; at < 64 * 4096; at += 4096)
        contents_take_blocks(kit->contents, image, at, 4096, digests, false);
    kit_run(kit);
    assert_int_equal(stat(blocks_file(kit, "base", BLOCKS_PARTIAL, path), &st), 0);
    assert_in_range(st.st_size, 1, 2 << 20);
    assert_false(contents_may_resume(kit->contents, image));
    /* It begins anew. */
    kit_tell(kit, "base=abcd");
    assert_int_equal(kit->resumed, 0);
    assert_true(kit_baseline(kit, "base")->blocks);
}

/* The file of the baseline is gone, of another reading, or damaged in any byte. */
static void damaged(void **state)
{
    enum { GONE = -1, OTHER = -2, PIPE = -3 };
    size_t size = BLOCKS_HEADER_SIZE + BLOCKS_RECORD_SIZE + 4 * BLOCKS_DIGEST;

    for (int at = PIPE; at < (int)size; at += at < 0 ? 1 : 7) {
        struct kit *kit;
        char path[128];
        void *data;

        assert_int_equal(kit_setup(&data), 0);
        kit = data;
        kit_tell(kit, "+other golden/other other=wxyz +base golden/base base=abcd");
        blocks_file(kit, "base", "", path);
        if (at < 0)
            assert_int_equal(unlink(path), 0);
        if (at == PIPE) {
            assert_int_equal(mkfifo(path, 0600), 0);
        } else if (at == OTHER) {
            char other[128];

            assert_int_equal(link(blocks_file(kit, "other", "", other), path), 0);
        } else if (at >= 0) {
            FILE *file = fopen(path, "r+e");
            int byte;

            assert_non_null(file);
            assert_int_equal(fseek(file, at, SEEK_SET), 0);
            byte = fgetc(file);
            assert_int_not_equal(byte, EOF);
            assert_int_equal(fseek(file, at, SEEK_SET), 0);
            (void)fputc(byte ^ 4, file);
            assert_int_equal(fclose(file), 0);
        }
        kit_tell(kit, "base!abxd");
        assert_string_equal(kit_reading(kit, "base")->explanation,
                            "the digest differs; which blocks is not known");
        assert_string_equal(contents_damage(kit->contents), "the block digests of /vm/base");
        assert_false(kit_baseline(kit, "base")->blocks);
        /* It is said once, and the next reading makes it good. */
        kit_tell(kit, "base!abcd base!abcx");
        assert_int_equal(kit->damaged, 1);
        assert_string_equal(kit_reading(kit, "base")->explanation,
                            "1 block differs, the first at byte 196608 of the guest's disk");
        kit_teardown(&data);
    }
}

/* Another layer's file that is damaged explains nothing, and the others do. */
static void neighbour_damaged(void **state)
{
    static const struct { const char *story, *damage, *then, *of, *want; } rows[] = {
        { "+base +one>base base=aaaa one=.b..", "one", "base!abaa", "base",
          "1 block differs, the first at byte 65536 of the guest's disk" },
        { "+base +one>base +two>base base=aaaa one=.b.. two=.b..", "one", "base!abaa", "base",
          "a commit of /vm/two explains it: 1 block is what it held" },
        { "+base +one>base +two>base base=aaaa one=.b.. two=.b..", "two", "base!abaa", "base",
          "a commit of /vm/one explains it: 1 block is what it held" },
        { "+base +one>base +top>one base=aaaa one=.b.. top=...c", "one", "base!abac", "base",
          "2 blocks differ, the first at byte 65536 of the guest's disk" },
        { "+base +one>base +top>one base=aaaa one=.b.. top=...c base!abaa", "base", "one!....",
          "one", "1 block differs, the first at byte 65536 of the guest's disk" },
    };

    for (size_t i = 0; i < 2 * ELEMENTSOF(rows); i++) {
        size_t row = i / 2;
        struct kit *kit;
        char path[128];
        void *data;

        print_message("# %s, %s\n", rows[row].story, i % 2 ? "gone" : "damaged");
        assert_int_equal(kit_setup(&data), 0);
        kit = data;
        kit_tell(kit, rows[row].story);
        blocks_file(kit, rows[row].damage, "", path);
        if (i % 2)
            assert_int_equal(unlink(path), 0);
        else
            assert_int_equal(truncate(path, BLOCKS_HEADER_SIZE + BLOCKS_RECORD_SIZE), 0);
        kit_tell(kit, rows[row].then);
        assert_string_equal(kit_reading(kit, rows[row].of)->explanation, rows[row].want);
        assert_null(contents_damage(kit->contents));
        kit_teardown(&data);
    }
}

/* The store was closed before they ran: nothing is taken, nothing is lost. */
static void cancelled(void **state)
{
    struct kit *kit = *state;

    kit_tell(kit, "+base golden/base +one>base base=aaaa one=.b.. hold base|a one!.c.. -one");
    kit_tell(kit, "base!abaa");
    assert_true(kit->n_tasks > 2);
    contents_stop(kit->contents);
    kit_cancel(kit);
    kit->held = false;
    kit_tell(kit, "restart");
    assert_int_equal(baselines_count(kit->contents->baselines), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resumed),
        cmocka_unit_test_setup_teardown(may_resume, kit_setup, kit_teardown),
        cmocka_unit_test(left_over),
        cmocka_unit_test_setup_teardown(no_folder, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(part_is_lost, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(too_much, kit_setup, kit_teardown),
        cmocka_unit_test(damaged),
        cmocka_unit_test(neighbour_damaged),
        cmocka_unit_test_setup_teardown(cancelled, kit_setup, kit_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
