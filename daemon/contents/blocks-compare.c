/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Two readings of one layer, block by block: what differs, and whether a commit explains it; and
 * the last step of a reading, its content digest. */
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "daemon/contents/blocks.h"
#include "lib/cleanup.h"

DEFINE_CLEANUP(struct blocks_reader *, blocks_reader_free)
DEFINE_CLEANUP(EVP_MD_CTX *, EVP_MD_CTX_free)

/* ---- the end of a reading -------------------------------------------------------------------- */

#define REPEATED 2048           /* digests of blocks of zeros that are hashed at once */

struct blocks_finishing {
    EVP_MD_CTX *outer;          /* NULL: the digest is known */
    uint8_t *zeros;             /* digests of REPEATED blocks of zeros */
    uint64_t n_blocks;
    FILE *file;
};

static int zeros_digests(uint8_t **ret_digests)
{
    _cleanup_free_ uint8_t *block = calloc(1, QCA_BLOCK_SIZE),
                           *digests = malloc(REPEATED * BLOCKS_WHOLE);

    if (!block || !digests)
        return -ENOMEM;
    if (EVP_Digest(block, QCA_BLOCK_SIZE, digests, NULL, EVP_sha256(), NULL) != 1)
        return -EIO;
    for (size_t i = 1; i < REPEATED; i++)
        memcpy(digests + i * BLOCKS_WHOLE, digests, BLOCKS_WHOLE);
    *ret_digests = TAKE_PTR(digests);
    return 0;
}

static int write_record(const struct blocks_finishing *finishing, const struct blocks_run *run)
{
    uint8_t bytes[BLOCKS_RECORD_SIZE + BLOCKS_RUN_MAX * BLOCKS_DIGEST],
        digests[BLOCKS_RUN_MAX * BLOCKS_DIGEST];
    size_t length;

    for (uint64_t i = 0; run->kind == BLOCKS_DATA && i < run->n; i++)
        memcpy(digests + i * BLOCKS_DIGEST, run->digests + i * BLOCKS_WHOLE, BLOCKS_DIGEST);
    length = blocks_record_encode(run->kind, run->first, run->n, digests, BLOCKS_DIGEST, bytes);
    return fwrite(bytes, 1, length, finishing->file) == length ? 0 : -errno;
}

/* A run of zeros at the end of the disk may end in a block that is shorter: it is never told as one
 * of zeros. */
static int feed(struct blocks_finishing *finishing, const struct blocks_run *run)
{
    if (run->kind == BLOCKS_BAD || run->n > finishing->n_blocks - run->first)
        return -ENODATA;
    if (!finishing->outer)
        return 0;
    if (run->kind == BLOCKS_DATA)
        return EVP_DigestUpdate(finishing->outer, run->digests, run->n * BLOCKS_WHOLE) == 1
                   ? 0 : -EIO;
    for (uint64_t left = run->n, step; left > 0; left -= step) {
        step = left < REPEATED ? left : REPEATED;
        if (EVP_DigestUpdate(finishing->outer, finishing->zeros, step * BLOCKS_WHOLE) != 1)
            return -EIO;
    }
    return 0;
}

static int write_header(FILE *file, const struct blocks_header *header)
{
    uint8_t bytes[BLOCKS_HEADER_SIZE];

    blocks_header_encode(header, bytes);
    rewind(file);
    return fwrite(bytes, 1, sizeof(bytes), file) == sizeof(bytes) ? 0 : -errno;
}

static int finish_digest(const struct blocks_finishing *finishing, uint64_t virtual_size,
                         uint8_t ret_digest[static 32])
{
    /* little-endian, as every host that this is built for */
    return EVP_DigestUpdate(finishing->outer, &virtual_size, sizeof(virtual_size)) == 1 &&
                   EVP_DigestFinal_ex(finishing->outer, ret_digest, NULL) == 1 ? 0 : -EIO;
}

static int copy_records(struct blocks_finishing *finishing, struct blocks_reader *reader)
{
    struct blocks_run run;
    uint64_t next = 0;
    int r;

    while ((r = blocks_reader_next(reader, &run)) > 0) {
        r = next >= finishing->n_blocks ? -ENODATA : feed(finishing, &run);
        if (r == 0)
            r = write_record(finishing, &run);
        if (r < 0)
            return r;
        next = run.first + run.n;
    }
    return r < 0 ? r : next != finishing->n_blocks ? -ENODATA : 0;
}

int blocks_finish(FILE *partial, uint64_t virtual_size, const uint8_t *digest, FILE *file,
                  uint8_t ret_digest[static 32])
{
    _cleanup_(blocks_reader_freep) struct blocks_reader *reader = NULL;
    _cleanup_(EVP_MD_CTX_freep) EVP_MD_CTX *outer = digest ? NULL : EVP_MD_CTX_new();
    _cleanup_free_ uint8_t *zeros = NULL;
    struct blocks_finishing finishing = { .outer = outer,
                                   .file = file,
                                   .n_blocks = virtual_size / QCA_BLOCK_SIZE +
                                               (virtual_size % QCA_BLOCK_SIZE > 0) };
    struct blocks_header header;
    int r = blocks_reader_new(partial, &reader);

    if (r < 0)
        return r;
    header = *blocks_reader_header(reader);
    if (header.complete)
        return -EBADMSG;
    if (!digest) {
        r = outer ? zeros_digests(&zeros) : -ENOMEM;
        if (r == 0 && EVP_DigestInit_ex2(outer, EVP_sha256(), NULL) != 1)
            r = -EIO;
        finishing.zeros = zeros;
    }
    if (r == 0)
        r = write_header(file, &header);    /* its place: the real one comes last */
    if (r == 0)
        r = copy_records(&finishing, reader);
    if (r == 0 && digest)
        memcpy(header.digest, digest, sizeof(header.digest));
    else if (r == 0)
        r = finish_digest(&finishing, virtual_size, header.digest);
    if (r < 0)
        return r;
    header.complete = true;
    header.virtual_size = virtual_size;
    r = write_header(file, &header);
    if (r < 0)
        return r;
    if (fflush(file) != 0)
        return -errno;
    memcpy(ret_digest, header.digest, sizeof(header.digest));
    return 0;
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* A file on its way from the first block to the last; behind its end there is nothing. */
struct cursor {
    struct blocks_reader *reader;
    struct blocks_run run;
    bool ended;
};

static int cursor_open(struct cursor *cursor, FILE *file)
{
    int r = blocks_reader_new(file, &cursor->reader);

    return r == 0 && !blocks_reader_header(cursor->reader)->complete ? -EBADMSG : r;
}

/* Makes its run the one that block lies in, which is not before the last one asked for. */
static int cursor_move(struct cursor *cursor, uint64_t block)
{
    while (!cursor->ended && block >= cursor->run.first + cursor->run.n) {
        int r = blocks_reader_next(cursor->reader, &cursor->run);

        if (r < 0)
            return r;
        cursor->ended = r == 0;
    }
    return 0;
}

static uint64_t cursor_left(const struct cursor *cursor, uint64_t block)
{
    return cursor->ended ? UINT64_MAX : cursor->run.first + cursor->run.n - block;
}

static const uint8_t *cursor_digest(const struct cursor *cursor, uint64_t block)
{
    return cursor->run.digests + (block - cursor->run.first) * BLOCKS_DIGEST;
}

struct blocks_comparison {
    struct cursor before, after;
    struct cursor below;        /* without a reader there is none */
    struct cursor *children;
    struct blocks_child *layers;        /* that the children are of */
    bool *explains;             /* of the block that is looked at: some layer of this branch does */
    bool *commits;              /* and of some block */
    bool *sees;                 /* it shows its guest a block of another branch */
    size_t n_children;
    bool layered;
    bool doubtful;              /* some block may be explained, and its digest cannot say it */
    uint64_t size;              /* bytes of the larger disk */
    struct blocks_difference *result;
};

/* Behind the end of a layer there are zeros, whatever its parent holds. */
static bool reads_zeros(const struct blocks_comparison *c, const struct cursor *cursor)
{
    return cursor->ended || cursor->run.kind == BLOCKS_ZERO ||
           (cursor->run.kind == BLOCKS_UNALLOCATED && !c->layered);
}

static bool block_is_equal(const struct blocks_comparison *c, uint64_t block)
{
    const struct cursor *a = &c->before, *b = &c->after;

    if (a->ended || b->ended)
        return reads_zeros(c, a) && reads_zeros(c, b);
    if (a->run.kind == BLOCKS_DATA && b->run.kind == BLOCKS_DATA)
        return memcmp(cursor_digest(a, block), cursor_digest(b, block), BLOCKS_DIGEST) == 0;
    if (a->run.kind == b->run.kind)
        return true;
    return !c->layered && a->run.kind != BLOCKS_DATA && b->run.kind != BLOCKS_DATA;
}

static bool child_holds(const struct blocks_comparison *c, const struct cursor *child,
                        uint64_t block)
{
    const struct cursor *after = &c->after;

    if (child->ended || after->ended || child->run.kind == BLOCKS_UNALLOCATED)
        return false;
    if (child->run.kind == BLOCKS_DATA && after->run.kind == BLOCKS_DATA)
        return memcmp(cursor_digest(child, block), cursor_digest(after, block), BLOCKS_DIGEST) == 0;
    /* In a base, a commit may leave zeros out. */
    return child->run.kind == BLOCKS_ZERO &&
           (after->run.kind == BLOCKS_ZERO ||
            (!c->layered && after->run.kind == BLOCKS_UNALLOCATED));
}

/* The layer below now holds what the layer held there. */
static bool is_handed_down(const struct blocks_comparison *c, uint64_t block)
{
    const struct cursor *before = &c->before, *below = &c->below;

    if (!below->reader || below->ended || before->ended || c->after.ended ||
        c->after.run.kind != BLOCKS_UNALLOCATED)
        return false;
    if (before->run.kind == BLOCKS_DATA && below->run.kind == BLOCKS_DATA)
        return memcmp(cursor_digest(before, block), cursor_digest(below, block), BLOCKS_DIGEST) ==
               0;
    return before->run.kind == BLOCKS_ZERO &&
           (below->run.kind == BLOCKS_ZERO || below->run.kind == BLOCKS_UNALLOCATED);
}

/* Clusters of a child may cover a part of the block only, and a block at the end of a disk that
 * grew covered less. */
static bool may_hold(const struct blocks_comparison *c, size_t child, uint64_t block)
{
    const struct cursor *cursor = &c->children[child];
    uint64_t before = blocks_reader_header(c->before.reader)->virtual_size;

    if (c->after.ended || c->after.run.kind != BLOCKS_DATA)
        return false;
    if (before % QCA_BLOCK_SIZE > 0 && block == before / QCA_BLOCK_SIZE &&
        blocks_reader_header(c->after.reader)->virtual_size > before)
        return true;
    return c->layers[child].parts && !cursor->ended && cursor->run.kind == BLOCKS_DATA;
}

/* Do the layers above explain what the block is now? What is explained by another branch is seen
 * by the guests of those that still stand on the layer. */
static bool is_committed(struct blocks_comparison *c, uint64_t block)
{
    bool explained = false, maybe = false;

    memset(c->explains, 0, c->n_children * sizeof(*c->explains));
    for (size_t i = 0; i < c->n_children; i++) {
        bool holds = child_holds(c, &c->children[i], block);

        if (!holds && !may_hold(c, i, block))
            continue;
        c->layers[i].used = true;
        c->explains[c->layers[i].root] = c->commits[c->layers[i].root] = true;
        explained = explained || holds;
        maybe = true;
    }
    for (size_t i = 0; maybe && i < c->n_children; i++)
        if (c->layers[i].stands && !c->explains[i] &&
            (c->children[i].ended || c->children[i].run.kind == BLOCKS_UNALLOCATED))
            c->sees[i] = true;
    c->doubtful = c->doubtful || (maybe && !explained);
    return maybe;
}

/* n blocks from here on differ, all alike. */
static void note(struct blocks_comparison *c, uint64_t block, uint64_t n)
{
    struct blocks_difference *result = c->result;
    uint64_t offset = block * QCA_BLOCK_SIZE, length = n * QCA_BLOCK_SIZE;
    struct guest_range *last = result->n_ranges > 0 ? &result->ranges[result->n_ranges - 1] : NULL;
    bool handed_down = is_handed_down(c, block);

    if (handed_down)
        result->handed_down += n;
    if (length > c->size - offset)
        length = c->size - offset;
    result->blocks += n;
    result->bytes += length;
    if (last && result->ranges_total == result->n_ranges && last->offset + last->length == offset)
        last->length += length;
    else {
        result->ranges_total++;
        if (result->n_ranges < DEVIATION_RANGES_MAX)
            result->ranges[result->n_ranges++] = (struct guest_range){ offset, length };
    }
    result->explained = (handed_down || is_committed(c, block)) && result->explained;
}

/* A branch that was committed itself is but what is left of it. */
static void find_hurt(struct blocks_comparison *c)
{
    for (size_t i = 0; i < c->n_children && !c->result->hurts; i++)
        if (c->sees[i] && !c->commits[i]) {
            c->result->hurts = true;
            c->result->hurt_child = i;
        }
}

static bool cursor_has_data(const struct cursor *cursor)
{
    return !cursor->ended && cursor->run.kind == BLOCKS_DATA;
}

static int walk(struct blocks_comparison *c, size_t *ret_bad)
{
    uint64_t end = c->size / QCA_BLOCK_SIZE + (c->size % QCA_BLOCK_SIZE > 0), step;
    int r;

    for (uint64_t block = 0; block < end; block += step) {

        *ret_bad = 0;
        r = cursor_move(&c->before, block);
        if (r == 0) {
            *ret_bad = 1;
            r = cursor_move(&c->after, block);
        }
        step = end - block;
        if (cursor_left(&c->before, block) < step)
            step = cursor_left(&c->before, block);
        if (cursor_left(&c->after, block) < step)
            step = cursor_left(&c->after, block);
        if (r == 0 && c->below.reader) {
            *ret_bad = 2;
            r = cursor_move(&c->below, block);
            if (cursor_left(&c->below, block) < step)
                step = cursor_left(&c->below, block);
        }
        for (size_t i = 0; r == 0 && i < c->n_children; i++) {
            *ret_bad = 3 + i;
            r = cursor_move(&c->children[i], block);
            if (cursor_left(&c->children[i], block) < step)
                step = cursor_left(&c->children[i], block);
        }
        if (r < 0)
            return r;
        if (!cursor_has_data(&c->before) && !cursor_has_data(&c->after)) {
            if (!block_is_equal(c, block))
                note(c, block, step);
            continue;
        }
        for (uint64_t i = 0; i < step; i++)
            if (!block_is_equal(c, block + i))
                note(c, block + i, 1);
    }
    return 0;
}

int blocks_compare(FILE *before, FILE *after, bool layered, FILE *below,
                   struct blocks_child *children, size_t n_children,
                   struct blocks_difference *ret_difference, size_t *ret_bad)
{
    struct blocks_comparison c = { .layers = children, .n_children = n_children,
                                   .layered = layered };
    _cleanup_free_ struct blocks_difference *result = calloc(1, sizeof(*result));
    size_t bad = 0;
    int r;

    c.children = calloc(n_children + 1, sizeof(*c.children));
    c.explains = calloc(3 * (n_children + 1), sizeof(*c.explains));
    if (!result || !c.children || !c.explains) {
        free(c.children);
        free(c.explains);
        return -ENOMEM;
    }
    c.commits = c.explains + n_children + 1;
    c.sees = c.commits + n_children + 1;
    c.result = result;
    result->explained = n_children > 0 || below;
    r = cursor_open(&c.before, before);
    if (r == 0) {
        bad = 1;
        r = cursor_open(&c.after, after);
    }
    if (r == 0 && below) {
        bad = 2;
        r = cursor_open(&c.below, below);
    }
    for (size_t i = 0; r == 0 && i < n_children; i++) {
        bad = 3 + i;
        r = cursor_open(&c.children[i], children[i].file);
    }
    if (r == 0) {
        c.size = blocks_reader_header(c.before.reader)->virtual_size;
        if (blocks_reader_header(c.after.reader)->virtual_size > c.size)
            c.size = blocks_reader_header(c.after.reader)->virtual_size;
        r = walk(&c, &bad);
    }
    if (r == 0) {
        find_hurt(&c);
        result->explained = result->explained && result->blocks > 0 && !result->hurts;
        result->maybe = result->explained && c.doubtful;
        result->explained = result->explained && !c.doubtful;
        *ret_difference = *result;
    } else if (r == -EBADMSG) {
        *ret_bad = bad;
    }
    blocks_reader_free(c.before.reader);
    blocks_reader_free(c.after.reader);
    blocks_reader_free(c.below.reader);
    for (size_t i = 0; i < n_children; i++)
        blocks_reader_free(c.children[i].reader);
    free(c.children);
    free(c.explains);
    return r;
}
