/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files of block digests: written, read, finished, compared; damaged in every byte. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "model-fixture.h"

#include "daemon/contents/blocks.h"
#include "lib/cleanup.h"

/* A layer in letters, one per block: '0' zeros, '.' unallocated, '!' bad, else data of that
 * kind. */
static void block_digest(char letter, uint8_t ret_digest[static 32])
{
    static uint8_t block[QCA_BLOCK_SIZE];

    memset(block, letter == '0' || letter == '.' ? 0 : letter, sizeof(block));
    assert_int_equal(EVP_Digest(block, sizeof(block), ret_digest, NULL, EVP_sha256(), NULL), 1);
}

static enum blocks_kind kind_of(char letter)
{
    return letter == '0'   ? BLOCKS_ZERO
           : letter == '.' ? BLOCKS_UNALLOCATED
           : letter == '!' ? BLOCKS_BAD
                           : BLOCKS_DATA;
}

static FILE *partial_of(const char *layer)
{
    static const struct blocks_header header = {
        .identity = { .fsid = 7, .inode = 8, .btime = 9 }, .size = 10, .mtime = 11, .ctime = 12
    };
    uint8_t bytes[BLOCKS_RECORD_SIZE + BLOCKS_RUN_MAX * BLOCKS_WHOLE],
        digests[BLOCKS_RUN_MAX][BLOCKS_WHOLE];
    size_t n = strlen(layer), run, length;
    FILE *file = tmpfile();

    assert_non_null(file);
    blocks_header_encode(&header, bytes);
    assert_int_equal(fwrite(bytes, 1, BLOCKS_HEADER_SIZE, file), BLOCKS_HEADER_SIZE);
    for (size_t i = 0; i < n; i += run) {
        for (run = 0; i + run < n && kind_of(layer[i + run]) == kind_of(layer[i]); run++)
            block_digest(layer[i + run], digests[run]);
        length = blocks_record_encode(kind_of(layer[i]), i, run, digests[0], BLOCKS_WHOLE, bytes);
        assert_int_equal(fwrite(bytes, 1, length, file), length);
    }
    return file;
}

static FILE *final_of(const char *layer)
{
    FILE *partial = partial_of(layer), *file = tmpfile();
    uint8_t digest[32];

    assert_non_null(file);
    assert_int_equal(blocks_finish(partial, strlen(layer) * QCA_BLOCK_SIZE, NULL, file, digest), 0);
    fclose(partial);
    return file;
}

static void expected_digest(const char *layer, uint8_t ret_digest[static 32])
{
    uint8_t all[64 * 32 + 8];
    uint64_t size = strlen(layer) * QCA_BLOCK_SIZE;
    size_t n = strlen(layer);

    for (size_t i = 0; i < n; i++)
        block_digest(layer[i], all + i * 32);
    memcpy(all + n * 32, &size, 8);
    assert_int_equal(EVP_Digest(all, n * 32 + 8, ret_digest, NULL, EVP_sha256(), NULL), 1);
}

static void finished(void **state)
{
    static const char *const layers[] = { "a", "0", ".", "abc", "ab00..cd", "....0000", "a0b.c" };
    struct blocks_reader *reader;
    struct blocks_run run;

    for (size_t i = 0; i < ELEMENTSOF(layers); i++) {
        FILE *partial = partial_of(layers[i]), *file = tmpfile();
        uint8_t digest[32], want[32];
        uint64_t next = 0;

        assert_int_equal(blocks_finish(partial, strlen(layers[i]) * QCA_BLOCK_SIZE, NULL, file,
                                       digest),
                         0);
        expected_digest(layers[i], want);
        assert_memory_equal(digest, want, 32);
        assert_int_equal(blocks_reader_new(file, &reader), 0);
        assert_int_equal(blocks_reader_header(reader)->identity.inode, 8);
        assert_true(blocks_reader_header(reader)->complete);
        assert_memory_equal(blocks_reader_header(reader)->digest, want, 32);
        while (blocks_reader_next(reader, &run) == 1) {
            assert_int_equal(run.first, next);
            for (uint64_t b = 0; b < run.n; b++) {
                uint8_t one[32];

                assert_int_equal(run.kind, kind_of(layers[i][next + b]));
                block_digest(layers[i][next + b], one);
                if (run.kind == BLOCKS_DATA)
                    assert_memory_equal(run.digests + b * BLOCKS_DIGEST, one, BLOCKS_DIGEST);
            }
            next += run.n;
        }
        assert_int_equal(next, strlen(layers[i]));
        assert_int_equal(blocks_reader_next(reader, &run), 0);
        blocks_reader_free(reader);
        fclose(partial);
        fclose(file);
    }
}

static void not_finished(void **state)
{
    uint8_t digest[32], given[32] = { 1, 2, 3 };
    FILE *partial = partial_of("ab!c"), *file = tmpfile();

    assert_int_equal(blocks_finish(partial, 4 * QCA_BLOCK_SIZE, NULL, file, digest), -ENODATA);
    fclose(partial);
    partial = partial_of("abc");
    assert_int_equal(blocks_finish(partial, 4 * QCA_BLOCK_SIZE, NULL, file, digest), -ENODATA);
    assert_int_equal(blocks_finish(partial, 2 * QCA_BLOCK_SIZE, NULL, file, digest), -ENODATA);
    assert_int_equal(blocks_finish(partial, 3 * QCA_BLOCK_SIZE, given, file, digest), 0);
    assert_memory_equal(digest, given, 32);
    assert_int_equal(blocks_finish(file, 3 * QCA_BLOCK_SIZE, NULL, partial, digest), -EBADMSG);
    fclose(partial);
    fclose(file);
}

/* Cut anywhere, it holds up to the last whole record. */
static void torn(void **state)
{
    FILE *partial = partial_of("ab0c..d");
    static uint8_t bytes[4096];
    size_t n;
    uint64_t last = 0;

    rewind(partial);
    n = fread(bytes, 1, sizeof(bytes), partial);
    fclose(partial);
    for (size_t cut = BLOCKS_HEADER_SIZE; cut <= n; cut++) {
        FILE *file = fmemopen(bytes, cut, "r");
        struct blocks_header header;
        uint64_t next, offset;

        assert_int_equal(blocks_partial_end(file, &header, &next, &offset), 0);
        assert_true(offset <= cut && next >= last);
        assert_int_equal(header.mtime, 11);
        last = next;
        fclose(file);
    }
    assert_int_equal(last, 7);
    for (size_t cut = 1; cut < BLOCKS_HEADER_SIZE; cut++) {
        FILE *file = fmemopen(bytes, cut, "r");
        struct blocks_header header;
        uint64_t next, offset;

        assert_int_equal(blocks_partial_end(file, &header, &next, &offset), -EBADMSG);
        fclose(file);
    }
}

/* No flipped bit and no missing byte of a complete file goes unseen. */
static void damaged(void **state)
{
    FILE *good = final_of("ab0c..d"), *other = final_of("ab0c..d");
    static uint8_t bytes[4096];
    struct blocks_difference difference;
    size_t n, bad;

    rewind(good);
    n = fread(bytes, 1, sizeof(bytes), good);
    for (size_t i = 0; i < n; i++)
        for (int bit = 0; bit < 8; bit++) {
            FILE *file;

            bytes[i] ^= (uint8_t)(1 << bit);
            file = fmemopen(bytes, n, "r");
            assert_int_equal(blocks_compare(file, other, true, NULL, NULL, 0, &difference, &bad),
                             -EBADMSG);
            assert_int_equal(bad, 0);
            fclose(file);
            bytes[i] ^= (uint8_t)(1 << bit);
        }
    for (size_t cut = 1; cut < n; cut++) {
        FILE *file = fmemopen(bytes, cut, "r");

        assert_int_equal(blocks_compare(other, file, true, NULL, NULL, 0, &difference, &bad),
                         -EBADMSG);
        assert_int_equal(bad, 1);
        fclose(file);
    }
    bytes[n] = 0;
    FILE *longer = fmemopen(bytes, n + 1, "r");
    struct blocks_reader *reader;
    struct blocks_run run;
    int r;

    assert_int_equal(blocks_reader_new(longer, &reader), 0);
    while ((r = blocks_reader_next(reader, &run)) == 1)
        ;
    assert_int_equal(r, -EBADMSG);
    blocks_reader_free(reader);
    fclose(longer);
    fclose(good);
    fclose(other);
}

static struct blocks_difference compare(const char *before, const char *after, bool layered,
                                        const char *child, const char *child2)
{
    FILE *a = final_of(before), *b = final_of(after);
    struct blocks_child children[2] = { { .root = 0 }, { .root = 1 } };
    struct blocks_difference difference = { .blocks = 0 };
    size_t n = 0, bad;

    if (child)
        children[n++].file = final_of(child);
    if (child2)
        children[n++].file = final_of(child2);
    assert_int_equal(blocks_compare(a, b, layered, NULL, children, n, &difference, &bad), 0);
    while (n > 0)
        fclose(children[--n].file);
    fclose(a);
    fclose(b);
    return difference;
}

static void compared(void **state)
{
    struct blocks_difference d = compare("abcdef", "abcdef", true, NULL, NULL);

    assert_int_equal(d.blocks, 0);
    assert_false(d.explained);
    d = compare("abcdef00..", "abXdYf00..", true, NULL, NULL);
    assert_int_equal(d.blocks, 2);
    assert_int_equal(d.bytes, 2 * QCA_BLOCK_SIZE);
    assert_int_equal(d.ranges_total, 2);
    assert_int_equal(d.ranges[0].offset, 2 * QCA_BLOCK_SIZE);
    assert_int_equal(d.ranges[1].offset, 4 * QCA_BLOCK_SIZE);
    assert_int_equal(d.ranges[1].length, QCA_BLOCK_SIZE);
    d = compare("abcdef", "abXYZf", true, NULL, NULL);
    assert_int_equal(d.ranges_total, 1);
    assert_int_equal(d.ranges[0].length, 3 * QCA_BLOCK_SIZE);
    /* What a base does not hold reads as zeros, what a layer does not hold as its parent's. */
    assert_int_equal(compare("a000", "a...", false, NULL, NULL).blocks, 0);
    assert_int_equal(compare("a000", "a...", true, NULL, NULL).blocks, 3);
    assert_int_equal(compare("a000", "a...", true, NULL, NULL).ranges_total, 1);
    /* A disk of another size: behind its end there are zeros, whatever its parent holds. */
    d = compare("ab", "abc0", false, NULL, NULL);
    assert_int_equal(d.blocks, 1);
    assert_int_equal(d.ranges[0].offset, 2 * QCA_BLOCK_SIZE);
    assert_int_equal(compare("abc0", "ab", false, NULL, NULL).blocks, 1);
    assert_int_equal(compare("ab", "ab0.", false, NULL, NULL).blocks, 0);
    assert_int_equal(compare("ab", "ab0.", true, NULL, NULL).blocks, 1);
}

static void commits(void **state)
{
    /* What changed is what the child held, */
    assert_true(compare("abcdef", "aXcdYf", true, ".X..Y.", NULL).explained);
    assert_true(compare("abcdef", "aXcdYf", true, ".X..Yf", NULL).explained);
    assert_true(compare("abcdef", "a0cdYf", true, ".0..Y.", NULL).explained);
    assert_true(compare("abcdef", "a.cdYf", false, ".0..Y.", NULL).explained);
    /* of two children, */
    assert_true(compare("abcdef", "aXcdYf", true, ".X....", "....Y.").explained);
    assert_true(compare("ab", "abX", true, "..X", NULL).explained);
    /* and nothing else. */
    assert_false(compare("abcdef", "aXcdYf", true, ".X....", NULL).explained);
    assert_false(compare("abcdef", "aXcdYf", true, ".X..Z.", NULL).explained);
    assert_false(compare("abcdef", "a.cdYf", true, ".0..Y.", NULL).explained);
    assert_false(compare("abcdef", "aXcdef", true, "......", NULL).explained);
    assert_false(compare("abcdef", "abcdef", true, ".X....", NULL).explained);
    assert_false(compare("abX", "ab", true, "..X", NULL).explained);
}

/* Layers over one: parts and stands are strings of y and n. */
static struct blocks_difference branches(const char *before, const char *after, size_t n,
                                         const char *const *layers, const size_t *roots,
                                         const char *stands, const char *parts, bool *used)
{
    FILE *a = final_of(before), *b = final_of(after);
    struct blocks_child children[4];
    struct blocks_difference difference = { .blocks = 0 };
    size_t bad;

    for (size_t i = 0; i < n; i++)
        children[i] = (struct blocks_child){ .file = final_of(layers[i]), .root = roots[i],
                                             .stands = stands[i] == 'y', .parts = parts[i] == 'y' };
    assert_int_equal(blocks_compare(a, b, false, NULL, children, n, &difference, &bad), 0);
    for (size_t i = 0; i < n; i++) {
        used[i] = children[i].used;
        fclose(children[i].file);
    }
    fclose(a);
    fclose(b);
    return difference;
}

/* A commit of one of two overlays is none for the other one, unless that does not see it. */
static void forks(void **state)
{
    const size_t two[] = { 0, 1 }, chain[] = { 0, 1, 0 };
    struct blocks_difference d;
    bool used[3];

    d = branches("abcd", "aXcd", 2, (const char *[]){ ".X..", "...Z" }, two, "yy", "nn", used);
    assert_false(d.explained);
    assert_true(d.hurts);
    assert_int_equal(d.hurt_child, 1);
    assert_true(used[0] && !used[1]);
    d = branches("abcd", "aXcd", 2, (const char *[]){ ".X..", ".Z.." }, two, "yy", "nn", used);
    assert_true(d.explained && !d.hurts);
    /* it stands there no more, */
    d = branches("abcd", "aXcd", 2, (const char *[]){ ".X..", "...Z" }, two, "yn", "nn", used);
    assert_true(d.explained && !d.hurts);
    /* or was committed too */
    d = branches("abcd", "aXcZ", 2, (const char *[]){ ".X..", "...Z" }, two, "yy", "nn", used);
    assert_true(d.explained && !d.hurts);
    /* a layer above explains it to the one below it in its branch, and not to another */
    d = branches("abcd", "aXcd", 3, (const char *[]){ "Y...", "...Z", ".X.." }, chain, "ynn",
                 "nnn", used);
    assert_true(d.explained && !d.hurts);
    assert_true(!used[0] && !used[1] && used[2]);
    d = branches("abcd", "aXcd", 3, (const char *[]){ "Y...", "...Z", ".X.." }, chain, "yyn",
                 "nnn", used);
    assert_true(d.hurts && d.hurt_child == 1);
}

/* Of a block that a layer holds parts of, its digest tells nothing. */
static void parts(void **state)
{
    const size_t roots[] = { 0 };
    struct blocks_difference d;
    bool used[1];

    d = branches("abcd", "aXcd", 1, (const char *[]){ ".Y.." }, roots, "y", "y", used);
    assert_true(d.maybe && !d.explained && used[0]);
    d = branches("abcd", "aXcd", 1, (const char *[]){ ".Y.." }, roots, "y", "n", used);
    assert_true(!d.maybe && !d.explained);
    d = branches("abcd", "aXcZ", 1, (const char *[]){ ".Y.." }, roots, "y", "y", used);
    assert_true(!d.maybe && !d.explained);
    d = branches("abcd", "aXcd", 1, (const char *[]){ ".X.." }, roots, "y", "y", used);
    assert_true(!d.maybe && d.explained);
}

static struct blocks_difference hand_down(const char *before, const char *after, const char *below)
{
    FILE *files[3] = { final_of(before), final_of(after), final_of(below) };
    struct blocks_difference difference = { .blocks = 0 };
    size_t bad;

    assert_int_equal(blocks_compare(files[0], files[1], true, files[2], NULL, 0, &difference, &bad),
                     0);
    for (int i = 0; i < 3; i++)
        fclose(files[i]);
    return difference;
}

/* A layer that was emptied by the commit of it shows the same: its parent holds what it held. */
static void handed_down(void **state)
{
    assert_true(hand_down("a0c.", "....", "a0cx").explained);
    assert_int_equal(hand_down("a0c.", "....", "a0cx").handed_down, 3);
    assert_true(hand_down("a0c.", "..c.", "a.xx").explained);
    assert_false(hand_down("a0c.", "....", "a0xx").explained);
    assert_false(hand_down("a0c.", "...b", "a0cb").explained);
    assert_false(hand_down("a0c.", "00..", "a0cb").explained);
}

/* A disk may be as large as numbers go; what is empty takes no time. */
static void huge(void **state)
{
    const uint64_t n = INT64_MAX / QCA_BLOCK_SIZE;
    struct blocks_header header = { .virtual_size = n * QCA_BLOCK_SIZE, .complete = true };
    FILE *files[2] = { tmpfile(), tmpfile() };
    uint8_t bytes[BLOCKS_HEADER_SIZE];
    struct blocks_difference d;
    size_t bad;

    for (int i = 0; i < 2; i++) {
        blocks_header_encode(&header, bytes);
        fwrite(bytes, 1, sizeof(bytes), files[i]);
        fwrite(bytes, 1,
               blocks_record_encode(i ? BLOCKS_ZERO : BLOCKS_UNALLOCATED, 0, n, NULL, 0, bytes),
               files[i]);
    }
    assert_int_equal(blocks_compare(files[0], files[1], false, NULL, NULL, 0, &d, &bad), 0);
    assert_int_equal(d.blocks, 0);
    assert_int_equal(blocks_compare(files[0], files[1], true, NULL, NULL, 0, &d, &bad), 0);
    assert_int_equal(d.blocks, n);
    assert_int_equal(d.bytes, n * QCA_BLOCK_SIZE);
    fclose(files[0]);
    fclose(files[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finished),    cmocka_unit_test(not_finished), cmocka_unit_test(torn),
        cmocka_unit_test(damaged),     cmocka_unit_test(compared),     cmocka_unit_test(commits),
        cmocka_unit_test(handed_down), cmocka_unit_test(huge),
        cmocka_unit_test(forks),       cmocka_unit_test(parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
