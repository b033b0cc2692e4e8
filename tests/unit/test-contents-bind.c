/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which baseline an image has after files were renamed, replaced, copied and moved; and which are
 * forgotten. */
#include <stdio.h>

#include "contents-kit.h"

#include "lib/cleanup.h"

static const char *name_of(const char *path)
{
    return strrchr(path, '/') + 1;
}

struct describing {
    struct kit *kit;
    FILE *out;
};

/* Those that no image has. */
static int describe_free(void *userdata, struct baseline *baseline)
{
    struct describing *d = userdata;

    /* Its file of block digests is where it is looked for. */
    assert_int_equal(kit_has_blocks(d->kit, &baseline->identity, ""), baseline->blocks);
    for (size_t i = 0; i < d->kit->n_images; i++)
        if (d->kit->images[i]->baseline == baseline)
            return 0;
    fprintf(d->out, "[%s=%s%s] ", name_of(baseline->path),
            kit_letters(d->kit, baseline->digest), baseline->gone ? " gone" : "");
    return 0;
}

/* NAME=LETTERS for each image, and marks: ^ another file lies there, * one of which nothing is
 * known, @PATH the baseline is looked for elsewhere; then those without an image. */
static void describe(struct kit *kit, char *text, size_t size)
{
    struct describing d = { .kit = kit, .out = fmemopen(text, size, "w") };

    assert_non_null(d.out);
    text[0] = '\0';
    for (size_t i = 0; i < kit->n_images; i++) {
        const struct image *image = kit->images[i];
        const struct baseline *baseline = image->baseline;

        fprintf(d.out, "%s=", name_of(image->path));
        if (!baseline) {
            fputs("- ", d.out);
            continue;
        }
        fprintf(d.out, "%s", kit_letters(kit, baseline->digest));
        if (!identity_equal(&baseline->identity, &image->identity))
            fputc('^', d.out);
        if (baseline_is_displaced(baseline))
            fputc('*', d.out);
        if (strcmp(baseline->path, image->path) != 0)
            fprintf(d.out, "@%s", name_of(baseline->path));
        if (baseline->gone)
            fputs(" gone", d.out);
        fputc(' ', d.out);
    }
    assert_int_equal(baselines_each(kit->contents->baselines, describe_free, &d), 0);
    fclose(d.out);
}

struct row { const char *story, *want; };

static void check_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char got[512];
        struct kit *kit;
        void *state;

        print_message("# %s\n", rows[i].story);
        assert_int_equal(kit_setup(&state), 0);
        kit = state;
        kit_tell(kit, rows[i].story);
        describe(kit, got, sizeof(got));
        assert_string_equal(got, rows[i].want);
        /* The database, and the ledger, say the same after a start. */
        assert_int_equal(kit->n_kept, baselines_count(kit->contents->baselines));
        kit_tell(kit, "restart");
        describe(kit, got, sizeof(got));
        assert_string_equal(got, rows[i].want);
        kit_lose_database(kit);
        kit_tell(kit, "restart");
        describe(kit, got, sizeof(got));
        assert_string_equal(got, rows[i].want);
        assert_null(contents_damage(kit->contents));
        kit_teardown(&state);
    }
}

/* The same file. */
static void renamed(void **state)
{
    static const struct row rows[] = {
        { "+base golden/base base=aaaa", "base=aaaa " },
        { "+base golden/base base=aaaa base:moved", "moved=aaaa " },
        { "+base golden/base base=aaaa base:moved moved:base", "base=aaaa " },
        /* what overlays look for keeps its place until they look elsewhere */
        { "+base +one>base base=aaaa base:moved", "moved=aaaa@base one=- " },
        { "+base +one>base base=aaaa base:moved one>moved", "moved=aaaa one=- " },
        /* a new file at the old name: nothing is known of it, unless it is looked for */
        { "+base golden/base base=aaaa base:moved +base", "moved=aaaa base=- " },
        { "+base +one>base base=aaaa base:moved +base", "moved=- one=- base=aaaa* " },
        { "+base +one>base base=aaaa base:moved +base base=abaa", "moved=- one=- base=aaaa* " },
        { "+base +one>base base=aaaa base:moved +base base=aaaa", "moved=- one=- base=aaaa " },
        /* an overlay that takes the place of its own parent */
        { "+base +one>base base=aaaa one=.b.. base:moved one:base base>moved",
          "moved=aaaa@base base=.b.. " },
    };

    check_rows(rows, ELEMENTSOF(rows));
}

/* Another file. */
static void replaced(void **state)
{
    static const struct row rows[] = {
        { "+base golden/base base=aaaa base:new", "base=aaaa^ " },
        { "+base golden/base base=aaaa base:old", "base=aaaa^ " },
        { "+base golden/base base=aaaa base:new base=aaaa", "base=aaaa " },
        { "+base golden/base base=aaaa base:new base=abaa", "base=aaaa^ " },
        { "+base golden/base base=aaaa base:new base=abaa base=aaaa", "base=aaaa " },
        /* by a file that nobody read, */
        { "+base golden/base base=aaaa +x x:/base", "base=aaaa^ " },
        { "+base golden/base base=aaaa +x x:/base base=abaa", "base=aaaa^ " },
        /* by one that was read under another name: what it held there is no matter */
        { "+base golden/base base=aaaa +x golden/x x=abaa x:/base", "base=aaaa* " },
        { "+base golden/base base=aaaa +x x=abaa x:/base", "base=aaaa* " },
        { "+base golden/base base=aaaa +x x=abaa x:/base base=abaa", "base=aaaa* " },
        { "+base golden/base base=aaaa +x x=abaa x:/base base=aaaa", "base=aaaa " },
        /* Two change places: with overlays each place keeps its own, else each file. */
        { "+base golden/base base=aaaa +two golden/two two=bbbb base:=two",
          "base=bbbb@two two=aaaa@base " },
        { "+base +one>base +two +six>two base=aaaa two=bbbb base:=two",
          "base=aaaa* one=- two=bbbb* six=- " },
        { "+base +one>base +two +six>two base=aaaa two=bbbb base:=two base:=two",
          "base=aaaa* one=- two=bbbb* six=- " },
        /* What may change counts by its file alone. */
        { "+one one=aaaa one:copy one=abaa", "one=abaa [one=aaaa gone] " },
        { "+base +one>base base=aaaa one=.b.. one:new", "base=aaaa one=- [one=.b.. gone] " },
        { "+one one=aaaa stop one:copy start", "one=- [one=aaaa gone] " },
        { "+one one=aaaa stop one:copy start later +x -x", "one=- " },
        { "+base +one>base base=aaaa one=.b.. stop one:new start one=.c..",
          "base=aaaa one=.c.. [one=.b.. gone] " },
        { "+base golden/base base=aaaa stop base:new start", "base=aaaa^ " },
    };

    check_rows(rows, ELEMENTSOF(rows));
}

static void deleted(void **state)
{
    static const struct row rows[] = {
        { "+base golden/base base=aaaa -base", "[base=aaaa gone] " },
        { "+one one=aaaa -one", "[one=aaaa gone] " },
        /* it, or another one, comes back */
        { "+base golden/base base=aaaa -base +base", "base=aaaa^ " },
        { "+base golden/base base=aaaa -base +base base=aaaa", "base=aaaa " },
        { "+base golden/base base=aaaa -base +base base=abaa", "base=aaaa^ " },
        { "+one one=aaaa -one +one", "one=- [one=aaaa gone] " },
        /* forgotten a month later, when something else is deleted */
        { "+base golden/base base=aaaa -base later", "[base=aaaa gone] " },
        { "+base golden/base base=aaaa -base later +x -x", "" },
        { "+base golden/base base=aaaa -base +x +y -x -y", "[base=aaaa gone] " },
        { "+base golden/base base=aaaa -base later +base +x -x", "base=aaaa^ " },
        { "+base golden/base +x base=aaaa later -x", "base=aaaa " },
    };

    check_rows(rows, ELEMENTSOF(rows));
}

/* A clock that jumps ahead costs nothing: history has its own. */
static void history_says_when(void **state)
{
    struct kit *kit = *state;

    kit_tell(kit, "+base golden/base base=aaaa -base later +x +y");
    kit->history_lag = 20 * DAY;
    kit_tell(kit, "-x");
    assert_int_equal(kit->n_kept, 1);
    kit->history_lag = 0;
    kit_tell(kit, "+z -y");
    assert_int_equal(kit->n_kept, 0);
    assert_int_equal(baselines_count(kit->contents->baselines), 0);
}

/* A folder that is not looked at any more says nothing of its files. */
static void datastore_removed(void **state)
{
    struct kit *kit = *state;

    kit_tell(kit, "+base golden/base base=aaaa");
    kit->datastore.state = DATASTORE_REMOVED;
    kit_tell(kit, "-base later");
    kit->datastore.state = DATASTORE_ONLINE;
    kit_tell(kit, "+x -x");
    assert_int_equal(kit->n_kept, 1);
    kit_tell(kit, "+base");
    assert_non_null(kit_baseline(kit, "base"));
}

/* One of the steps by which two files change places binds nothing. */
static void settles(void **state)
{
    struct kit *kit = *state;
    struct image *image;

    kit_tell(kit, "+base golden/base base=aaaa");
    image = kit_image(kit, "base");
    image->settles = kit->now + 2 * HOUR + 1;
    kit_tell(kit, "base:moved");
    assert_string_equal(kit_baseline(kit, "moved")->path, "/vm/base");
    kit_tell(kit, "+x");
    assert_string_equal(kit_baseline(kit, "moved")->path, "/vm/base");
    kit_tell(kit, "+y");
    assert_string_equal(kit_baseline(kit, "moved")->path, "/vm/moved");
    assert_int_equal(image->settles, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renamed),
        cmocka_unit_test(replaced),
        cmocka_unit_test(deleted),
        cmocka_unit_test_setup_teardown(history_says_when, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(datastore_removed, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(settles, kit_setup, kit_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
