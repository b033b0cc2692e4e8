/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Baselines: found by identity and path, when they are due, what a reading means, as JSON, in the
 * ledger. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "model-fixture.h"

#include "daemon/contents/baseline.h"
#include "daemon/contents/ledger.h"
#include "lib/cleanup.h"

static struct baseline *fixture_baseline(const char *path, uint64_t inode)
{
    struct baseline *baseline = calloc(1, sizeof(*baseline));

    assert_non_null(baseline);
    *baseline = (struct baseline){
        .identity = { .fsid = 1, .inode = inode, .btime = T0 }, .path = strdup(path),
        .source = BASELINE_POLICY,
        .since = T0_USEC + HOUR, .verified = T0_USEC + DAY, .has_digest = true,
        .digest = { 1, 2, 3 },
        .virtual_size = UINT64_C(10) << 30, .has_metadata = true, .metadata = { 9 },
        .fingerprint = { .size = 1 << 20, .allocated = 1 << 20, .mtime = T0, .ctime = T0,
                        .mode = 0100600, .links = 1 },
        .blocks = true,
    };
    return baseline;
}

/* ---- the set --------------------------------------------------------------------------------- */

static int count_one(void *userdata, struct baseline *baseline)
{
    (*(unsigned *)userdata)++;
    return 0;
}

static int remove_one(void *userdata, struct baseline *baseline)
{
    baselines_remove(userdata, baseline);
    return 0;
}

static void set(void **state)
{
    struct baselines *set;
    struct baseline *a = fixture_baseline("/a", 1), *b = fixture_baseline("/a", 2),
                    *c = fixture_baseline("/c", 3);
    struct baseline *twin = fixture_baseline("/x", 1);
    unsigned n = 0;

    assert_int_equal(baselines_new(&set), 0);
    assert_null(baselines_find(set, &a->identity));
    assert_null(baselines_find_path(set, "/a"));
    assert_int_equal(baselines_add(set, a), 0);
    assert_int_equal(baselines_add(set, b), 0);
    assert_int_equal(baselines_add(set, c), 0);
    assert_int_equal(baselines_add(set, twin), -EEXIST);
    assert_null(baselines_find_path(set, "/x"));
    assert_ptr_equal(baselines_find(set, &twin->identity), a);
    baseline_free(twin);
    /* Of two at one place, the one verified last; what a child held is no matter there. */
    b->verified += DAY;
    assert_ptr_equal(baselines_find_path(set, "/a"), b);
    b->source = BASELINE_CHILD;
    assert_ptr_equal(baselines_find_path(set, "/a"), a);
    b->source = BASELINE_ASKED;
    assert_ptr_equal(baselines_find_path(set, "/a"), a);
    /* The same file under another name, another file under the same name. */
    assert_int_equal(baselines_rebind(set, a, &a->identity, "/renamed"), 0);
    assert_ptr_equal(baselines_find_path(set, "/renamed"), a);
    assert_null(baselines_find_path(set, "/a"));
    assert_int_equal(baselines_rebind(set, a, &c->identity, "/c"), -EEXIST);
    assert_int_equal(baselines_rebind(set, a, &(struct identity){ .inode = 77 }, "/renamed"), 0);
    assert_ptr_equal(baselines_find(set, &(struct identity){ .inode = 77 }), a);
    assert_int_equal(baselines_count(set), 3);
    assert_int_equal(baselines_each(set, count_one, &n), 0);
    assert_int_equal(n, 3);
    assert_int_equal(baselines_each(set, remove_one, set), 0);
    assert_int_equal(baselines_count(set), 0);
    baselines_free(set);
}

/* ---- when ------------------------------------------------------------------------------------ */

static const struct policy policy = { .scrub_golden = 7 * DAY, .scrub_parents = 30 * DAY,
                                      .scrub_parents_after = DAY };

struct world {
    struct graph *graph;
    struct image *image, *child;
    struct relation relation;
};

static int world_setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    world->image = fixture_image(NULL, "/base", 1, NULL);
    world->child = fixture_image(NULL, "/child", 2, "/base");
    assert_int_equal(graph_new(&world->graph), 0);
    assert_int_equal(graph_add(world->graph, world->image), 0);
    assert_int_equal(graph_add(world->graph, world->child), 0);
    world->relation = (struct relation){ .n_children = 1, .depth = 1 };
    *state = world;
    return 0;
}

static int world_teardown(void **state)
{
    struct world *world = *state;

    graph_free(world->graph);
    world->image->baseline = baseline_free(world->image->baseline);
    image_free(world->image);
    image_free(world->child);
    free(world);
    return 0;
}

static enum baseline_due due(const struct world *world, uint64_t now, uint64_t *ret_at)
{
    return baseline_due(&policy, world->image, &world->relation, now, ret_at);
}

static void due_first(void **state)
{
    struct world *world = *state;
    uint64_t at;

    /* Another parent, when it is a day old: as a parent, not as a file. */
    assert_int_equal(due(world, T0_USEC + HOUR, &at), BASELINE_DUE_LATER);
    assert_int_equal(at, T0_USEC + DAY);
    world->child->identity.btime = T0 + 10 * HOUR_NSEC;
    assert_int_equal(due(world, T0_USEC + HOUR, &at), BASELINE_DUE_LATER);
    assert_int_equal(at, T0_USEC + DAY + 10 * HOUR);
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_NEW);
    assert_int_equal(at, 0);
    /* A golden image, at once. */
    world->relation.golden = true;
    assert_int_equal(due(world, T0_USEC, &at), BASELINE_DUE_NEW);
    /* Never with a writer, or what cannot be read. */
    world->image->use = FILES_WRITER;
    assert_int_equal(due(world, T0_USEC, &at), BASELINE_DUE_NO);
    world->image->use = FILES_UNUSED;
    world->image->audit->use = FILES_WRITER;
    assert_int_equal(due(world, T0_USEC, &at), BASELINE_DUE_NO);
    world->image->audit->use = FILES_FROZEN;
    assert_int_equal(due(world, T0_USEC, &at), BASELINE_DUE_NEW);
    world->image->audit->report->layers[0].info.crypt_method = QCA_CRYPT_LUKS;
    assert_int_equal(due(world, T0_USEC, &at), BASELINE_DUE_NEW);
    world->image->audit->report->layers[0].info.crypt_method = QCA_CRYPT_NONE;
    world->image->present = false;
    assert_int_equal(due(world, T0_USEC, &at), BASELINE_DUE_NO);
    world->image->present = true;
    /* A leaf, only when its parent's content is known, and it was left alone for a day. */
    world->relation = (struct relation){ .leaf = true };
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_NO);
    world->relation.parent = world->child;
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_NO);
    world->child->baseline = fixture_baseline("/child", 2);
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_NEW);
    assert_int_equal(due(world, T0_USEC + HOUR, &at), BASELINE_DUE_LATER);
    world->child->baseline = baseline_free(world->child->baseline);
}

/* What nothing asks for is read again only while what was found there holds. */
static void due_asked(void **state)
{
    struct world *world = *state;
    struct baseline *baseline = world->image->baseline = fixture_baseline("/base", 1);
    uint64_t at;

    world->relation.n_children = 0;
    baseline->source = BASELINE_ASKED;
    assert_int_equal(due(world, T0_USEC + 99 * DAY, &at), BASELINE_DUE_NO);
    baseline->deviation = calloc(1, sizeof(*baseline->deviation));
    *baseline->deviation = (struct deviation){ .verdict = READING_INCOMPLETE, .error = -EIO,
                                               .read = T0_USEC + 9 * DAY,
                                               .fingerprint = world->image->fingerprint };
    assert_int_equal(due(world, T0_USEC + 9 * DAY, &at), BASELINE_DUE_LATER);
    assert_int_equal(at, T0_USEC + 10 * DAY);
    baseline->deviation->verdict = READING_ROT;
    assert_int_equal(due(world, T0_USEC + 99 * DAY, &at), BASELINE_DUE_NO);
    world->image->fingerprint.mtime++;
    assert_int_equal(due(world, T0_USEC + 9 * DAY, &at), BASELINE_DUE_CHANGED);
}

/* What an overlay held may be what its parent was given: it is kept until that was read. */
static void due_after_the_parent(void **state)
{
    struct world *world = *state;
    struct image *parent = world->child;
    uint64_t at;

    world->relation = (struct relation){ .leaf = true, .parent = parent };
    world->image->baseline = fixture_baseline("/overlay", 1);
    world->image->baseline->source = BASELINE_CHILD;
    parent->baseline = fixture_baseline("/child", 2);
    parent->identity = parent->baseline->identity;
    parent->fingerprint = parent->baseline->fingerprint;
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_NO);
    world->image->fingerprint.mtime++;
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_CHANGED);
    parent->fingerprint.mtime++;
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_LATER);
    assert_in_range(at, T0_USEC + 2 * DAY + 1, T0_USEC + 2 * DAY + HOUR);
    parent->baseline->deviation = calloc(1, sizeof(*parent->baseline->deviation));
    parent->baseline->deviation->verdict = READING_MODIFIED;
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_LATER);
    parent->baseline->deviation->fingerprint = parent->fingerprint;
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_CHANGED);
    parent->baseline = baseline_free(parent->baseline);
}

static void due_again(void **state)
{
    struct world *world = *state;
    struct baseline *baseline = world->image->baseline = fixture_baseline("/base", 1);
    uint64_t at;

    world->relation.golden = true;
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_LATER);
    assert_int_equal(at, T0_USEC + 8 * DAY);
    assert_int_equal(due(world, T0_USEC + 8 * DAY, &at), BASELINE_DUE_SCRUB);
    world->relation.golden = false;
    assert_int_equal(due(world, T0_USEC + 8 * DAY, &at), BASELINE_DUE_LATER);
    assert_int_equal(at, T0_USEC + 31 * DAY);
    /* An owner that changed is no reason, nor the ctime that goes with it; */
    world->image->fingerprint.uid = 64055;
    world->image->fingerprint.ctime += HOUR_NSEC;
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_LATER);
    baseline_see(baseline, &world->image->fingerprint);
    world->image->fingerprint.uid = 0;      /* and back again */
    world->image->fingerprint.ctime += HOUR_NSEC;
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_LATER);
    /* a ctime that nothing explains is, and so is an mtime, a size, another file. */
    baseline->attributes = false;
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_CHANGED);
    /* but where the kernel vouches for the content, no time is; */
    baseline->verity = (struct verity){ .algorithm = 1, .size = 32, .digest = { 5 } };
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_CHANGED);
    world->image->audit->verity = calloc(1, sizeof(*world->image->audit->verity));
    assert_non_null(world->image->audit->verity);
    *world->image->audit->verity = baseline->verity;
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_LATER);
    assert_int_equal(due(world, T0_USEC + 31 * DAY, &at), BASELINE_DUE_SCRUB);
    world->image->audit->verity->digest[0]++;
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_CHANGED);
    world->image->fingerprint = baseline->fingerprint;
    world->image->fingerprint.mtime++;
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_CHANGED);
    world->image->fingerprint = baseline->fingerprint;
    world->image->identity.inode++;
    assert_int_equal(due(world, T0_USEC + 2 * DAY, &at), BASELINE_DUE_CHANGED);
    world->image->identity.inode--;
    /* What was found different is read again when it changes, else by the interval. */
    baseline->deviation = calloc(1, sizeof(*baseline->deviation));
    *baseline->deviation = (struct deviation){ .verdict = READING_MODIFIED,
                                               .read = T0_USEC + 9 * DAY,
                                               .fingerprint = world->image->fingerprint };
    assert_int_equal(due(world, T0_USEC + 10 * DAY, &at), BASELINE_DUE_LATER);
    assert_int_equal(at, T0_USEC + 39 * DAY);
    baseline->deviation->verdict = READING_INCOMPLETE;
    assert_int_equal(due(world, T0_USEC + 9 * DAY + HOUR, &at), BASELINE_DUE_LATER);
    assert_int_equal(at, T0_USEC + 10 * DAY);
    world->image->fingerprint.mtime++;
    assert_int_equal(due(world, T0_USEC + 9 * DAY, &at), BASELINE_DUE_CHANGED);
}

/* ---- what it means --------------------------------------------------------------------------- */

static void verdicts(void **state)
{
    struct baseline *baseline = fixture_baseline("/base", 1);
    struct reading reading = {
        .finished = T0_USEC + 5 * DAY, .identity = baseline->identity,
        .fingerprint = baseline->fingerprint,
        .complete = true, .virtual_size = baseline->virtual_size, .has_metadata = true,
        .compared = true,
    };

    memcpy(reading.digest, baseline->digest, 32);
    memcpy(reading.metadata, baseline->metadata, 32);
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_VERIFIED);
    reading.metadata[0]++;
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_METADATA);
    reading.encrypted = baseline->encrypted = true;     /* of keys, no check can say */
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_ROT);
    reading.fingerprint.mtime++;
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_METADATA);
    reading.fingerprint = baseline->fingerprint;
    reading.metadata[0]--;
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_VERIFIED);
    /* The same bytes, and not the same content. */
    reading.encrypted = false;
    reading.fingerprint.mtime++;
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_MODIFIED);
    baseline->encrypted = false;
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_METADATA);
    reading.fingerprint = baseline->fingerprint;
    reading.fingerprint.mtime++;
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_METADATA);
    reading.fingerprint = baseline->fingerprint;
    /* Different: nobody wrote it, */
    reading.digest[5]++;
    reading.difference.blocks = 1;
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_ROT);
    reading.difference.explained = true;        /* what nobody wrote is no commit */
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_ROT);
    reading.difference.explained = false;
    reading.fingerprint.uid = 5;                /* but gave it away */
    reading.fingerprint.ctime++;
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_ROT);
    reading.fingerprint.uid = 0;                /* and took it back */
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_MODIFIED);
    baseline->attributes = true;
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_ROT);
    baseline->attributes = false;
    /* or somebody did. */
    reading.fingerprint = baseline->fingerprint;
    reading.fingerprint.mtime++;
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_MODIFIED);
    assert_int_equal(baseline_verdict(baseline, &reading, false), READING_CHANGED);
    reading.difference.explained = true;
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_COMMIT);
    reading.compared = false;
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_MODIFIED);
    reading.compared = true;
    reading.difference.explained = false;
    /* Another file with other content at its place; with the same, it is the same. */
    reading.fingerprint = baseline->fingerprint;
    reading.identity.inode++;
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_MODIFIED);
    memcpy(reading.digest, baseline->digest, 32);
    reading.difference.blocks = 0;
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_VERIFIED);
    /* The digests are the same, and yet a guest sees its parent's where zeros were. */
    reading.difference.blocks = 3;
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_MODIFIED);
    reading.complete = false;
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_INCOMPLETE);
    reading.complete = true;
    baseline->has_digest = false;
    assert_int_equal(baseline_verdict(baseline, &reading, true), READING_BASELINE);
    baseline_free(baseline);
}

static void taken(void **state)
{
    struct baseline *baseline = fixture_baseline("/base", 1);
    struct reading reading = {
        .finished = T0_USEC + 5 * DAY, .identity = baseline->identity,
        .fingerprint = baseline->fingerprint,
        .complete = true, .virtual_size = baseline->virtual_size, .compared = true,
        .digest = { 42 },
        .difference = { .blocks = 2, .bytes = 131072, .n_ranges = 1, .ranges_total = 1,
                       .ranges = { { 65536, 131072 } } },
    };

    assert_int_equal(baseline_take(baseline, &reading, READING_ROT), 0);
    assert_int_equal(baseline->digest[0], 1);
    assert_int_equal(baseline->verified, T0_USEC + DAY);
    assert_non_null(baseline->deviation);
    assert_int_equal(baseline->deviation->blocks, 2);
    assert_int_equal(baseline->deviation->ranges[0].offset, 65536);
    /* Found again: since when stays. */
    reading.finished += DAY;
    assert_int_equal(baseline_take(baseline, &reading, READING_ROT), 0);
    assert_int_equal(baseline->deviation->found, T0_USEC + 5 * DAY);
    assert_int_equal(baseline->deviation->read, T0_USEC + 6 * DAY);
    /* Restored. */
    memcpy(reading.digest, baseline->digest, 32);
    assert_int_equal(baseline_take(baseline, &reading, READING_VERIFIED), 0);
    assert_null(baseline->deviation);
    assert_int_equal(baseline->verified, T0_USEC + 6 * DAY);
    assert_int_equal(baseline->since, T0_USEC + HOUR);
    /* A commit: this is what counts from now on. */
    reading.digest[0] = 77;
    assert_int_equal(baseline_take(baseline, &reading, READING_COMMIT), 0);
    assert_int_equal(baseline->digest[0], 77);
    assert_int_equal(baseline->since, T0_USEC + 6 * DAY);
    baseline_free(baseline);
}

/* ---- JSON and ledger ------------------------------------------------------------------------- */

static struct baseline *rich_baseline(void)
{
    struct baseline *baseline = fixture_baseline("/odd\n\x80name", UINT64_MAX);

    baseline->identity.fsid = UINT64_MAX - 1;
    baseline->identity.btime = -5;
    baseline->source = BASELINE_ACCEPTED;
    baseline->attributes = true;
    baseline->parent = (struct identity){ 1, 2, 3 };
    baseline->verity = (struct verity){ .algorithm = 1, .size = 32, .digest = { 0xab } };
    baseline->by = strdup("uid 1000");
    baseline->reason = strdup("it was \"meant\"");
    baseline->gone = 17;
    baseline->lost_child = strdup("/child");
    baseline->deviation = calloc(1, sizeof(*baseline->deviation));
    *baseline->deviation = (struct deviation){
        .verdict = READING_INCOMPLETE, .found = 1, .read = 2, .digest = { 3 }, .virtual_size = 4,
        .fingerprint = { .size = 5, .mtime = -6, .ctime = 7, .mode = 8, .uid = 9, .gid = 10,
                        .links = 11 },
        .located = true, .blocks = 12, .bytes = 13, .ranges = { { 14, 15 }, { 16, 17 } },
        .n_ranges = 2,
        .ranges_total = 18, .error = -5, .suspect = strdup("/s"), .waits_for = strdup("/w"),
    };
    return baseline;
}

static void assert_same(const struct baseline *a, const struct baseline *b)
{
    json_object *x, *y;

    assert_int_equal(baseline_to_json(a, &x), 0);
    assert_int_equal(baseline_to_json(b, &y), 0);
    assert_string_equal(json_object_to_json_string(x), json_object_to_json_string(y));
    json_object_put(x);
    json_object_put(y);
    assert_memory_equal(&a->identity, &b->identity, sizeof(a->identity));
    assert_string_equal(a->path, b->path);
    assert_memory_equal(a->digest, b->digest, 32);
    assert_int_equal(a->deviation != NULL, b->deviation != NULL);
    if (a->deviation)
        assert_memory_equal(a->deviation->ranges, b->deviation->ranges,
                            sizeof(a->deviation->ranges));
}

static void json(void **state)
{
    struct baseline *baseline = rich_baseline(), *back;
    static const char *const bad[] = {
        "{}", "[]", "{\"path\":1}",
        ("{\"identity\":{},\"path\":\"x\",\"source\":\"policy\",\"digest\":\"00\","
         "\"file\":{},\"parent\":{}}"),
        "{\"identity\":{},\"path\":\"/x\",\"source\":\"policy\",\"file\":{},\"parent\":{}}",
    };
    json_object *object;

    assert_int_equal(baseline_to_json(baseline, &object), 0);
    assert_int_equal(baseline_from_json(object, &back), 0);
    assert_same(baseline, back);
    baseline_free(back);
    /* A member of another type, or none that is needed. */
    json_object_object_foreach(object, key, value) {
        json_object *copy = NULL;

        (void)value;
        assert_int_equal(json_object_deep_copy(object, &copy, NULL), 0);
        json_object_object_add(copy, key, json_object_new_double(1.5));
        assert_int_equal(baseline_from_json(copy, &back), -EBADMSG);
        json_object_put(copy);
    }
    json_object_put(object);
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        object = json_tokener_parse(bad[i]);
        assert_int_equal(baseline_from_json(object, &back), -EBADMSG);
        json_object_put(object);
    }
    baseline_free(baseline);
}

struct seen { unsigned n; int answer; };

static int on_entry(void *userdata, json_object *entry)
{
    struct seen *seen = userdata;

    seen->n++;
    return seen->answer;
}

static struct ledger_report read_ledger(const char *path, unsigned want)
{
    struct ledger_report report;
    struct seen seen = { .n = 0 };
    FILE *file = fopen(path, "re");

    assert_non_null(file);
    assert_int_equal(ledger_read(file, on_entry, &seen, &report), 0);
    assert_int_equal(seen.n, want);
    fclose(file);
    return report;
}

static void ledger(void **state)
{
    char folder[] = "/tmp/qca-ledger.XXXXXX", path[64], other[64], *line;
    struct baseline *baseline = rich_baseline();
    struct ledger_report report;
    json_object *object;
    size_t n;
    FILE *file;

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/j", folder);
    snprintf(other, sizeof(other), "%s/k", folder);
    assert_int_equal(baseline_to_json(baseline, &object), 0);
    assert_int_equal(ledger_line(object, &line), 0);
    json_object_put(object);
    n = strlen(line);
    for (int i = 0; i < 3; i++)
        assert_int_equal(ledger_append(path, line, n), 0);
    report = read_ledger(path, 3);
    assert_int_equal(report.entries, 4);
    assert_int_equal(report.damaged, 0);
    assert_false(report.torn);

    /* A torn last line is left out, cut off, and what is appended then is whole. */
    file = fopen(path, "ae");
    fwrite(line, 1, n / 2, file);
    fclose(file);
    report = read_ledger(path, 3);
    assert_true(report.torn);
    assert_int_equal(report.damaged, 0);
    assert_int_equal(ledger_cut(path, report.end), 0);
    assert_int_equal(ledger_append(path, line, n), 0);
    assert_false(read_ledger(path, 4).torn);

    /* Every flipped bit of a line is seen. */
    for (size_t i = 0; i < n - 1; i++) {
        line[i] ^= 4;
        if (line[i] != '\n') {
            assert_int_equal(ledger_rewrite(other, line, n), 0);
            report = read_ledger(other, 0);
            assert_int_equal(report.damaged, 1);
            assert_int_equal(report.first_damaged, 2);
        }
        line[i] ^= 4;
    }
    assert_int_equal(ledger_rewrite(other, line, n), 0);
    (void)read_ledger(other, 1);
    assert_int_equal(ledger_append("/nowhere/at/all", line, n), -ENOENT);
    unlink(path);
    unlink(other);
    rmdir(folder);
    free(line);
    baseline_free(baseline);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set),
        cmocka_unit_test_setup_teardown(due_first, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(due_asked, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(due_after_the_parent, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(due_again, world_setup, world_teardown),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(taken),
        cmocka_unit_test(json),
        cmocka_unit_test(ledger),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
