/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a reading says of an image: the verdict, why, and whose reading is awaited first. */
#include <stdio.h>
#include <stdlib.h>

#include "contents-kit.h"

#include "lib/cleanup.h"

struct row {
    const char *story;          /* as kit_tell() takes it */
    const char *of;             /* the image in question */
    const char *want;
};

/* As a row wants it: what the last reading said of the image, whatever it was that was read last,
 * and what is still open. */
static void describe(struct kit *kit, const char *name, char *text, size_t size)
{
    const struct kit_reading *reading = kit_reading(kit, name);
    const struct baseline *baseline = kit_baseline(kit, name);
    const struct deviation *deviation = baseline ? baseline->deviation : NULL;
    FILE *out = fmemopen(text, size, "w");

    assert_non_null(out);
    fputs(reading ? reading_verdict_name(reading->verdict) : "unread", out);
    if (reading && reading->explanation)
        fprintf(out, ": %s", reading->explanation);
    if (deviation && (!reading || deviation->verdict != reading->verdict))
        fprintf(out, "; still %s", reading_verdict_name(deviation->verdict));
    if (deviation && deviation->waits_for)
        fprintf(out, "; waits for %s", deviation->waits_for);
    if (deviation && deviation->suspect)
        fprintf(out, "; suspects %s", deviation->suspect);
    if (deviation && deviation->hurts)
        fputs("; hurts", out);
    if (kit->demanded[0])
        fprintf(out, "; asks for %.*s", (int)strlen(kit->demanded) - 1, kit->demanded);
    fclose(out);
}

static void check_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char got[512];
        void *state;

        print_message("# %s\n", rows[i].story);
        assert_int_equal(kit_setup(&state), 0);
        kit_tell(state, rows[i].story);
        describe(state, rows[i].of, got, sizeof(got));
        assert_string_equal(got, rows[i].want);
        assert_int_equal(((struct kit *)state)->damaged, 0);
        kit_teardown(&state);
    }
}

/* One golden image: nothing explains a change of it. */
static void golden(void **state)
{
    static const struct row rows[] = {
        { "+base golden/base base=aaaa", "base", "baseline" },
        { "+base golden/base base=aaaa base=aaaa", "base", "verified" },
        { "+base golden/base base=aaaa base=abaa", "base",
          "bit-rot: 1 block differs, the first at byte 65536 of the guest's disk" },
        { "+base golden/base base=aaaa base=abba", "base",
          "bit-rot: 2 blocks differ, the first at byte 65536 of the guest's disk" },
        { "+base golden/base base=aaaa base!aaba", "base",
          "modified: 1 block differs, the first at byte 131072 of the guest's disk" },
        /* zeros are zeros, whether they are kept or not */
        { "+base golden/base base=a0aa base=a.aa", "base", "verified" },
        /* it was written, and holds the same */
        { "+base golden/base base=aaaa base!aaaa", "base",
          "metadata: the file was written: the content is as it was" },
        { "+base golden/base tables/base base=aaaa tables/base base=aaaa", "base",
          "metadata: only the image's metadata changed: the content is as it was" },
        /* another size */
        { "+base golden/base base=aaaa base!aaaa.", "base",
          "modified: its disk has 327680 bytes now, and had 262144: the data is as it was" },
        { "+base golden/base base=aaaa base=aaa", "base",
          "bit-rot: 1 block differs, the first at byte 196608 of the guest's disk" },
        /* which blocks is not known */
        { "+base golden/base base%aaaa base=abaa", "base",
          "bit-rot: the digest differs; which blocks is not known" },
        { "+base golden/base base=aaaa base%abaa", "base",
          "bit-rot: the digest differs; which blocks is not known" },
        { "+base golden/base base=aaaa base%aaaa", "base", "verified" },
        /* not all of it could be read, and then it could */
        { "+base golden/base base?aaaa", "base",
          "incomplete: 65536 bytes could not be read: Input/output error" },
        { "+base golden/base base=aaaa base?aaaa", "base",
          "incomplete: 65536 bytes could not be read: Input/output error" },
        { "+base golden/base base=aaaa base?aaaa base=aaaa", "base", "verified" },
        { "+base golden/base base?aaaa base=aaaa", "base", "baseline" },
        /* what was found goes when it is put right, */
        { "+base golden/base base=aaaa base=abaa base=aaaa", "base", "verified" },
        { "+base golden/base base=aaaa base!abaa base!aaaa", "base",
          "metadata: the file was written: the content is as it was" },
        /* and not by being read again. */
        { "+base golden/base base=aaaa base!abaa base=abaa", "base",
          "modified: 1 block differs, the first at byte 65536 of the guest's disk" },
        /* another owner explains a ctime, and no content */
        { "+base golden/base base=aaaa base@ base=aaaa", "base", "verified" },
        { "+base golden/base base=aaaa base@ base=abaa", "base",
          "bit-rot: 1 block differs, the first at byte 65536 of the guest's disk" },
        /* its data lies elsewhere, and is away: that is no news */
        { "+base golden/base data/base base?aaaa", "base", "unread" },
        { "+base golden/base data/base base=aaaa base?aaaa", "base", "baseline" },
        /* no commit into it is meant, and nobody is asked */
        { "+base golden/base +one>base base=aaaa one=.b.. base!abaa", "base",
          "modified: 1 block differs, the first at byte 65536 of the guest's disk" },
        { "+base golden/base +one>base base=aaaa base!abaa", "base",
          "modified: 1 block differs, the first at byte 65536 of the guest's disk" },
        { "+base golden/base +one>base base=aaaa one~ base!abaa", "base",
          "modified: 1 block differs, the first at byte 65536 of the guest's disk" },
    };

    check_rows(rows, ELEMENTSOF(rows));
}

/* A parent: it must not change after its overlays were made, but by a commit. */
static void parent(void **state)
{
    static const struct row rows[] = {
        { "+base +one>base base=aaaa one=.c.. base=abaa", "base",
          "bit-rot: 1 block differs, the first at byte 65536 of the guest's disk" },
        { "+base +one>base base=aaaa one=.c.. base!abaa", "base",
          "modified: 1 block differs, the first at byte 65536 of the guest's disk" },
        /* nobody wrote, so it is no commit, whatever it looks like */
        { "+base +one>base base=aaaa one=.b.. base=abaa", "base",
          "bit-rot: 1 block differs, the first at byte 65536 of the guest's disk" },
        /* its overlays are younger than the write, or gone */
        { "+base +old>base base=aaaa -old base^ +one>base base=abaa", "base",
          "changed: it was written before its overlays were made, or has none" },
        { "+base +old>base base=aaaa -old base!abaa", "base",
          "changed: it was written before its overlays were made, or has none" },
        /* it grew, and shows them what it showed them; it grew and changed */
        { "+base +one>base base=aaaa one=.c.. base!aaaa.", "base",
          "changed: its disk has another size: what its overlays see is as it was" },
        { "+base +one>base base=aaaa one=.c.. base!abaa.", "base",
          "modified: 1 block differs, the first at byte 65536 of the guest's disk" },
        /* what lies in another file has no times */
        { "+base data/base +one>base base=aaaa one=.c.. base=abaa", "base",
          "modified: 1 block differs, the first at byte 65536 of the guest's disk" },
        { "+dev device/dev dev=aaaa dev=abaa", "dev",
          "changed: it was written before its overlays were made, or has none" },
        { "+one one=aaaa one=abaa", "one",
          "bit-rot: the digest differs; which blocks is not known" },
        /* a file of the same content, of the same time or another */
        { "+base +one>base base=aaaa one=.c.. base:copy base=aaaa", "base",
          "verified: another file with the same content lies there now" },
        { "+base +one>base base=aaaa one=.c.. base:new base=aaaa", "base",
          "metadata: the file was written: the content is as it was" },
        /* an older file of another content: what counts is when it came there */
        { "+base +one>base base=aaaa one=.c.. base:old base=abaa", "base",
          "modified: 1 block differs, the first at byte 65536 of the guest's disk" },
    };

    check_rows(rows, ELEMENTSOF(rows));
}

/* What is encrypted, or not understood, is compared as it is stored, and is no commit's. */
static void opaque(void **state)
{
    static const struct row rows[] = {
        { "+base luks/base +one>base base=aaaa base=aaaa", "base", "verified" },
        { "+base luks/base +one>base base=aaaa base!abaa", "base",
          "modified: 1 block differs, the first at byte 65536 of the guest's disk" },
        { "+base luks/base +one>base luks/one base=aaaa one=.b.. base!abaa", "base",
          "modified: 1 block differs, the first at byte 65536 of the guest's disk" },
        /* keys that changed, and nobody wrote them */
        { "+base luks/base tables/base +one>base base=aaaa tables/base base=aaaa", "base",
          "bit-rot: its headers or tables differ, and the data does not" },
        { "+base luks/base tables/base +one>base base=aaaa tables/base base!aaaa", "base",
          "metadata: only the image's metadata changed: the content is as it was" },
        /* an overlay's data as it is stored equals no parent's */
        { "+base +one>base luks/one base=aaaa one=.b.. base!abaa", "base",
          "modified: 1 block differs, the first at byte 65536 of the guest's disk" },
        /* an earlier version took it for raw */
        { "+base +one>base base=aaaa vmdk/base base=aaaa", "base", "verified" },
        { "+base +one>base base=aaaa luks/base base=aaaa", "base",
          "bit-rot: the digest differs; which blocks is not known" },
    };

    check_rows(rows, ELEMENTSOF(rows));
}

/* A commit: each block that changed is now what an overlay holds, or held. */
static void commits(void **state)
{
    static const struct row rows[] = {
        { "+base +one>base base=aaaa one=.b.. base!abaa", "base",
          "commit: a commit of /vm/one explains it: 1 block is what it held" },
        { "+base +one>base base=aaaa one=.bc. base!abca", "base",
          "commit: a commit of /vm/one explains it: 2 blocks are what it held" },
        { "+base +one>base base=aaaa one=.0.. base!a0aa", "base",
          "commit: a commit of /vm/one explains it: 1 block is what it held" },
        /* of a part of what it holds, or of more than that */
        { "+base +one>base base=aaaa one=.bc. base!abaa", "base",
          "commit: a commit of /vm/one explains it: 1 block is what it held" },
        { "+base +one>base base=aaaa one=.b.. base!abxa", "base",
          "modified: 2 blocks differ, the first at byte 65536 of the guest's disk" },
        /* the overlay was emptied after it was read, or deleted */
        { "+base +one>base base=aaaa one=.b.. one~ base!abaa", "base",
          "commit: a commit of /vm/one explains it: 1 block is what it held" },
        { "+base +one>base +two>base base=aaaa one=.b.. two=.c.. -one base!abaa", "base",
          "commit: a commit of /vm/one explains it: 1 block is what it held" },
        /* a chain, with its names from below */
        { "+base +one>base +top>one base=aaaa one=.b.. top=...c base!abac", "base",
          "commit: a commit of /vm/one, /vm/top explains it: 2 blocks are what it held" },
        { "+base +one>base +top>one base=aaaa one=.b.. top=.c.. base!acaa", "base",
          "commit: a commit of /vm/top explains it: 1 block is what it held" },
        /* into a layer in the middle */
        { "+base +one>base +top>one base=aaaa one=.b.. top=..c. one!.bc.", "one",
          "commit: a commit of /vm/top explains it: 1 block is what it held" },
        { "+a +b>a +c>b +d>c +e>d +f>e +g>f +h>g +i>h +j>i a=kkkkkkkkkk b=.b........ c=..c......."
          " d=...d...... e=....e..... f=.....f.... g=......g... h=.......h.. i=........i."
          " j=.........j a!kbcdefghij", "a",
          "commit: a commit of /vm/b, /vm/c, /vm/d, /vm/e, /vm/f, /vm/g, /vm/h, /vm/i and 1 more "
          "explains it: 9 blocks are what it held" },
        /* a second overlay sees what came of the first, or covers it */
        { "+base +one>base +two>base base=aaaa one=.b.. two=..c. base!abaa", "base",
          "modified: it holds what /vm/one held, and /vm/two, which stands on it too, sees that"
          "; hurts" },
        { "+base +one>base +two>base base=aaaa one=.b.. two=..c. base!abaa restart base=abaa",
          "base",
          "modified: it holds what /vm/one held, and /vm/two, which stands on it too, sees that"
          "; hurts" },
        { "+base +one>base +two>base base=aaaa one=.b.. two=.c.. base!abaa", "base",
          "commit: a commit of /vm/one explains it: 1 block is what it held" },
        { "+base +one>base +two>base base=aaaa one=.b.. two=..c. one~ base!abaa", "base",
          "modified: it holds what /vm/one held, and /vm/two, which stands on it too, sees that"
          "; hurts" },
        /* the overlay of the one that was committed stands on the parent now */
        { "+base +one>base +top>one base=aaaa one=.b.. top=...c top>base top=...c base!abaa",
          "base", "commit: a commit of /vm/one explains it: 1 block is what it held" },
        /* what a layer held is in its parent now */
        { "+base +one>base +top>one base=aaaa one=.b.. top=...c base!abaa one!....", "one",
          "commit: it was committed into its parent, which holds now what it held: 1 block" },
        { "+base +one>base +top>one base=aaaa one=.bc. top=...c base!abca one!....", "one",
          "commit: it was committed into its parent, which holds now what it held: 2 blocks" },
        /* blocks that a cluster smaller than they are makes up */
        { "+base +one>base parts/one base=aaaa one=.b.. base!axaa", "base",
          "modified: 1 block differs, the first at byte 65536 of the guest's disk"
          "; suspects /vm/one" },
    };

    check_rows(rows, ELEMENTSOF(rows));
}

/* Nothing is decided while another layer's reading may explain it. */
static void awaited(void **state)
{
#define MODIFIED "modified: 1 block differs, the first at byte 65536 of the guest's disk"
    static const struct row rows[] = {
        /* an overlay that was never read */
        { "+base +one>base base=aaaa base!abaa", "base",
          MODIFIED "; waits for /vm/one; asks for one" },
        { "+base +one>base base=aaaa base!abaa one=.b..", "base",
          "commit: a commit of /vm/one explains it: 1 block is what it held; asks for one" },
        { "+base +one>base base=aaaa base!abaa one=.c..", "base", MODIFIED "; asks for one" },
        /* one after the other */
        { "+base +one>base +two>base base=aaaa base!abaa one=.c..", "base",
          MODIFIED "; waits for /vm/two; asks for one two" },
        { "+base +one>base +two>base base=aaaa base!abaa one=.c.. two=.b..", "base",
          "commit: a commit of /vm/two explains it: 1 block is what it held; asks for one two" },
        { "+base +one>base +two>base base=aaaa base!abaa one=.c.. two=.d..", "base",
          MODIFIED "; asks for one two" },
        /* an overlay that was written since it was read */
        { "+base +one>base base=aaaa one=.c.. one^ base!abaa", "base",
          MODIFIED "; waits for /vm/one; asks for one" },
        /* not one that is in use, is younger, cannot be had, or is encrypted */
        { "+base +one>base base=aaaa writer/one base!abaa", "base", MODIFIED },
        { "+base +one>base base=aaaa luks/one base!abaa", "base", MODIFIED },
        { "+base +one>base base=aaaa away/one base!abaa", "base", MODIFIED },
        { "+base +one>base base=aaaa one=.c.. base^ +two>base base=abaa", "base", MODIFIED },
        /* an overlay that was emptied, or deleted, before it was read: a suspicion */
        { "+base +one>base base=aaaa one~ base!abaa", "base", MODIFIED "; suspects /vm/one" },
        { "+base +one>base +two>base base=aaaa two=.c.. -one base!abaa", "base",
          MODIFIED "; suspects /vm/one" },
        { "+base +one>base base=aaaa one=.c.. base!abaa one~", "base",
          MODIFIED "; suspects /vm/one" },
        /* one that was found empty, and was written after the parent, or before */
        { "+base +one>base base=aaaa base^ one!.... base=abaa", "base",
          MODIFIED "; suspects /vm/one" },
        { "+base +one>base base=aaaa one!.... base!abaa", "base", MODIFIED },
        /* whose reading is being taken is not asked for; it is compared once more */
        { "+base +one>base base=aaaa hold base!abaa one=.b.. go", "base",
          "commit: a commit of /vm/one explains it: 1 block is what it held" },
        { "+base +one>base base=aaaa hold one=.b.. base!abaa go", "base",
          "commit: a commit of /vm/one explains it: 1 block is what it held" },
        { "+base +one>base base=aaaa hold one=.c.. base!abaa go", "base", MODIFIED },
        /* a layer that was emptied, and whose parent was written: that is read first */
        { "+base +one>base +top>one base=aaaa one=.b.. top=...c base^ one!....", "one",
          MODIFIED "; waits for /vm/base; asks for base" },
        { "+base +one>base +top>one base=aaaa one=.b.. top=...c base^ one!.... base=abaa", "one",
          "commit: it was committed into its parent, which holds now what it held: 1 block"
          "; asks for base" },
        { "+base +one>base +top>one base=aaaa one=.b.. top=...c base^ one!.... base=abaa", "base",
          "commit: a commit of /vm/one explains it: 1 block is what it held; asks for base" },
        { "+base +one>base +top>one base=aaaa one=.b.. top=...c base^ one!.... base=axaa", "one",
          MODIFIED "; asks for base" },
        /* not a golden one, and not one in use */
        { "+base golden/base +one>base +top>one base=aaaa one=.b.. top=...c base^ one!....", "one",
          MODIFIED },
        { "+base +one>base +top>one base=aaaa one=.b.. top=...c base^ writer/base one!....", "one",
          MODIFIED },
        /* it is gone, or another file, when what was awaited is compared */
        { "+base +one>base base=aaaa base!abaa hold one=.c.. taken base:copy go", "base",
          MODIFIED "; waits for /vm/one; asks for one" },
        { "+base +one>base base=aaaa base!abaa hold one=.b.. taken -base go", "one",
          "baseline; asks for one" },
        { "+base +one>base base=aaaa base!abaa hold one=.b.. taken base!aaaa go", "base",
          "metadata: the file was written: the content is as it was; asks for one" },
        /* after a start, too */
        { "+base +one>base base=aaaa base!abaa restart one=.b..", "base",
          "commit: a commit of /vm/one explains it: 1 block is what it held; asks for one" },
    };

    check_rows(rows, ELEMENTSOF(rows));
}

/* After the verdict: what counts from now on, and under whom the layers stand. */
static void taken(void **state)
{
    static const struct {
        const char *story, *of;
        enum baseline_source source;
        const char *stands_on;      /* by its baseline; NULL nothing */
    } rows[] = {
        { "+base golden/base base=aaaa", "base", BASELINE_POLICY, NULL },
        { "+base +one>base base=aaaa", "base", BASELINE_PARENT, NULL },
        { "+one one=aaaa", "one", BASELINE_ASKED, NULL },
        /* golden as far as one can tell: who writes it does not take that away */
        { "infer +base +one>base +two>base base=aaaa", "base", BASELINE_INFERRED, NULL },
        { "infer +base +one>base +two>base base=aaaa base!abaa", "base", BASELINE_INFERRED, NULL },
        { "infer +base +one>base +two>base base=aaaa declare base=aaaa", "base", BASELINE_INFERRED,
          NULL },
        { "infer +base +one>base +two>base base=aaaa -two declare base=aaaa", "base",
          BASELINE_PARENT, NULL },
        { "+one one=aaaa +two>one one=aaaa", "one", BASELINE_PARENT, NULL },
        { "+base +one>base base=aaaa one=.b..", "one", BASELINE_CHILD, "base" },
        { "+base +one>base +top>one base=aaaa one=.b..", "one", BASELINE_PARENT, "base" },
        /* committed, it sees no more what comes into the parent; what stood on it stands below */
        { "+base +one>base base=aaaa one=.b.. base!abaa", "one", BASELINE_CHILD, NULL },
        { "+base +one>base +top>one base=aaaa one=.b.. top=...c top>base base!abaa", "top",
          BASELINE_CHILD, "base" },
        /* unless it is found to hold something else */
        { "+base +one>base base=aaaa one=.b.. base!abaa one!.bc.", "one", BASELINE_CHILD, "base" },
        { "+base +one>base base=aaaa one=.b.. base!abaa one=.b..", "one", BASELINE_CHILD, NULL },
        /* a layer whose parent is being taken out keeps it until that is known */
        { "+base +one>base +top>one base=aaaa one=.b.. top=...c top>base top=...c", "top",
          BASELINE_CHILD, "one" },
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        const struct baseline *baseline;
        const struct image *below;
        void *kit;

        print_message("# %s\n", rows[i].story);
        assert_int_equal(kit_setup(&kit), 0);
        kit_tell(kit, rows[i].story);
        baseline = kit_baseline(kit, rows[i].of);
        assert_non_null(baseline);
        assert_string_equal(baseline_source_name(baseline->source),
                            baseline_source_name(rows[i].source));
        below = rows[i].stands_on ? kit_image(kit, rows[i].stands_on) : NULL;
        assert_int_equal(baseline->parent.inode, below ? below->identity.inode : 0);
        /* The database has what the memory has. */
        assert_true(((struct kit *)kit)->n_kept > 0);
        kit_teardown(&kit);
    }
}

/* What an image whose data file is away holds is not known; nor is what was read of one that is
 * gone, or another file, or after the end. */
static void left_out(void **state)
{
    struct kit *kit = *state;

    kit_tell(kit, "+base golden/base hold base=aaaa base:new go");
    assert_null(kit_reading(kit, "base"));
    assert_int_equal(kit->taken, 1);
    kit_tell(kit, "hold base=aaaa -base go");
    assert_int_equal(kit->n_readings, 0);
    kit_tell(kit, "+one golden/one hold one=aaaa");
    assert_true(kit_image(kit, "one")->reading);
    assert_int_equal(kit->due[0], UINT64_MAX);          /* planned when it is taken */
    contents_stop(kit->contents);
    kit_tell(kit, "go");
    assert_int_equal(kit->n_readings, 0);
}

/* More layers than are looked at lie above it: one of them is named, as a suspicion. */
static void many_layers(void **state)
{
    struct kit *kit = *state;
    const struct image *base;

    kit_tell(kit, "+base +one>base base=aaaa one=.c..");
    base = kit_image(kit, "base");
    for (uint64_t i = 0; i < CHILDREN_COMPARED; i++) {
        struct baseline *baseline = calloc(1, sizeof(*baseline));

        assert_non_null(baseline);
        *baseline = (struct baseline){ .identity = { .fsid = 2, .inode = i + 1 },
                                       .path = strdup("/vm/far"), .source = BASELINE_CHILD,
                                       .has_digest = true, .blocks = true,
                                       .parent = base->identity };
        assert_int_equal(baselines_add(kit->contents->baselines, baseline), 0);
    }
    kit_tell(kit, "base!abaa");
    assert_string_equal(kit_baseline(kit, "base")->deviation->suspect, "/vm/far");
    assert_null(kit_baseline(kit, "base")->deviation->waits_for);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden),
        cmocka_unit_test(parent),
        cmocka_unit_test(opaque),
        cmocka_unit_test(commits),
        cmocka_unit_test(awaited),
        cmocka_unit_test(taken),
        cmocka_unit_test_setup_teardown(many_layers, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(left_out, kit_setup, kit_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
