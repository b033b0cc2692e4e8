/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The judge: every finding's condition, what an audit cannot say, and when time alone changes
 * the verdict. */
#include "unit/store-fixture.h"

#include <signal.h>
#include <stdio.h>

#include "daemon/judge/judge.h"
#include "helpers/evidence.h"
#include "helpers/clock.h"
#include "provenance/family.h"
#include "unit/check-fixture.h"

#define NOW (T0_USEC + 2 * HOUR)

struct world {
    struct fixture_store store;
    struct policy policy;
    char *golden[2];
    struct judgement judgement;
    bool judged;
};

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    world->policy = (struct policy){
        .golden = world->golden,
        .infer_golden = true,
        .thresholds = {
            .chain_deep = { 5, 25, 160 },
            .chain_limit = 200,
            .snapshot_old = { 72 * HOUR, 14 * DAY, UINT64_MAX },
            .runaway_layers = 4,
            .runaway_tolerance = 2000,
            .leaks_bytes = UINT64_C(1) << 30,
            .leaks_share = 100,
            .burst_leaks = 256,
            .burst_factor = 10,
            .internal_snapshots = 5,
            .internal_snapshots_golden = 1,
            .data_file = SEVERITY_WARNING,
            .runaway_least = 60 * USEC_PER_SEC,
            .snapshot_large = { UINT64_C(20) << 30, UINT64_C(40) << 30, UINT64_MAX },
            .snapshot_large_share = { 2000, 5000, UINT64_MAX },
            .snapshot_large_least = UINT64_C(1) << 30,
            .datastore_full = { 7500, UINT64_MAX, 8500 },
            .datastore_overcommitted = { 15000, UINT64_MAX, UINT64_MAX },
            .full_early = 72 * HOUR,
            .full_late = 24 * HOUR,
            .full_span = HOUR,
            .unmanaged_after = HOUR,
            .orphan_after = DAY,
            .backup_after = DAY,
            .job_after = HOUR,
            .differs_after = 5 * 60 * USEC_PER_SEC,
            .delete_after = 10 * 60 * USEC_PER_SEC,
            .foreign_after = 60 * USEC_PER_SEC,
            .deleted_after = 10 * USEC_PER_SEC,
        },
    };
    fixture_store_begin(&world->store, "vm", "/vm", &world->policy);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    judgement_done(&world->judgement);
    fixture_store_end(&world->store);
    free(world);
    return 0;
}

static struct image *add(struct world *world, const char *path, const char *parent)
{
    return fixture_store_add(&world->store, path, parent, 0);
}

/* A base and n overlays; each layer was made step usec after the one before. The last image is
 * returned. */
/* A domain's disk was seen to move to it: it is a snapshot of its parent. */
static struct image *add_snapshot(struct world *world, const char *path, const char *parent)
{
    assert_in_range(graph_note_disk_move(world->store.graph, path, parent, T0_USEC + DAY), 0, 1);
    return add(world, path, parent);
}

static struct image *add_chain(struct world *world, const char *name, unsigned n, uint64_t step)
{
    char path[64], parent[64];
    struct image *image = NULL;

    for (unsigned i = 0; i <= n; i++) {
        snprintf(path, sizeof(path), "/vm/%s-%04u.qcow2", name, i);
        image = i > 0 ? add_snapshot(world, path, parent) : add(world, path, NULL);
        image->fingerprint.mtime = T0 + (int64_t)(i * step * 1000);
        graph_update(world->store.graph, image);
        snprintf(parent, sizeof(parent), "%s", path);
    }
    return image;
}

static struct layer_report *layer_of(struct image *image)
{
    return &image->audit->report->layers[0];
}

static struct qca_check_result *check_of(struct image *image)
{
    return &layer_of(image)->check;
}

/* Each member has a row, of the type that it has: what is in kinds is kinds of issues. */
static void assert_evidence_is_known(json_object *object)
{
    json_object_object_foreach(object, key, value) {
        const struct evidence_member *member = evidence_member_find(key, value);

        if (!member)
            print_message("# %s has no row\n", key);
        assert_non_null(member);
        if (member->kind == EVIDENCE_IS_OBJECT &&
            strcmp(key, evidence_part_key(PART_KINDS)) != 0)
            assert_evidence_is_known(value);
        for (size_t i = 0; member->kind == EVIDENCE_IS_LIST &&
                           i < json_object_array_length(value); i++)
            if (json_object_is_type(json_object_array_get_idx(value, i), json_type_object))
                assert_evidence_is_known(json_object_array_get_idx(value, i));
    }
}

static void judge_at(struct world *world, struct image *image, const struct audit *last,
                     uint64_t now)
{
    graph_update(world->store.graph, image);
    assert_int_equal(graph_refresh(world->store.graph, NULL, NULL), 0);
    judgement_done(&world->judgement);
    assert_int_equal(judge_image(&world->policy, world->store.graph, image, last, now,
                                 &world->judgement),
                     0);
    for (size_t i = 0; i < world->judgement.conditions.n_items; i++)
        assert_evidence_is_known(world->judgement.conditions.items[i].evidence);
}

static void judge(struct world *world, struct image *image)
{
    judge_at(world, image, NULL, NOW);
}

static const struct condition *found(struct world *world, enum finding_type type)
{
    const struct condition *result = NULL;

    for (size_t i = 0; i < world->judgement.conditions.n_items; i++)
        if (world->judgement.conditions.items[i].type == type) {
            assert_null(result);
            result = &world->judgement.conditions.items[i];
        }
    return result;
}

static json_object *value(struct world *world, enum finding_type type, const char *key)
{
    const struct condition *condition = found(world, type);
    json_object *object = NULL;

    assert_non_null(condition);
    json_object_object_get_ex(condition->evidence, key, &object);
    return object;
}

static uint64_t number(struct world *world, enum finding_type type, const char *key)
{
    json_object *object = value(world, type, key);

    assert_true(json_object_is_type(object, json_type_int));
    return json_object_get_uint64(object);
}

static const char *text(struct world *world, enum finding_type type, const char *key)
{
    return json_object_get_string(value(world, type, key));
}

static void assert_found(struct world *world, enum finding_type type, enum severity severity,
                         const char *summary)
{
    const struct condition *condition = found(world, type);

    if (!condition)
        fail_msg("%s is not found", finding_definition(type)->name);
    assert_int_equal(condition->severity, severity);
    assert_true(condition->severity <= finding_definition(type)->severity);
    assert_string_equal(text(world, type, "summary"), summary);
    assert_true(world->judgement.judged[type]);
}

static void assert_clean(struct world *world)
{
    for (size_t i = 0; i < world->judgement.conditions.n_items; i++)
        fail_msg("unexpected %s: %s",
                 finding_definition(world->judgement.conditions.items[i].type)->name,
                 json_object_to_json_string(world->judgement.conditions.items[i].evidence));
}

static void assert_only(struct world *world, enum finding_type type, enum severity severity,
                        const char *summary)
{
    for (size_t i = 0; i < world->judgement.conditions.n_items; i++)
        if (world->judgement.conditions.items[i].type != type)
            fail_msg("unexpected %s",
                     finding_definition(world->judgement.conditions.items[i].type)->name);
    assert_found(world, type, severity, summary);
}

static void add_issue(struct image *image, const struct qca_issue *issue)
{
    struct qca_check_result *check = check_of(image);

    check->issues = reallocarray(check->issues, check->n_issues + 1, sizeof(*issue));
    assert_non_null(check->issues);
    check->issues[check->n_issues++] = *issue;
    fixture_count(check, issue->kind, (uint32_t)issue->count);
    switch (qca_issue_kind_counter(issue->kind)) {
    case QCA_COUNTER_CORRUPTION:
        check->corruptions += issue->count;
        break;
    case QCA_COUNTER_LEAK:
        check->leaks += issue->count;
        break;
    case QCA_COUNTER_CHECK_ERROR:
        check->check_errors += issue->count;
        break;
    default:
        break;
    }
}

static const struct qca_issue bad_l2 = {
    .kind = QCA_ISSUE_L2_UNALIGNED,
    .table = QCA_TABLE_L2,
    .snapshot = QCA_ACTIVE,
    .table_offset = 0x40000,
    .index = 7,
    .host_offset = 0x50200,
    .host_length = 65536,
    .guest_offset = 7 * 65536,
    .guest_length = 65536,
    .count = 1,
};
static const struct qca_issue low_refcount = {
    .kind = QCA_ISSUE_REFCOUNT_LOW,
    .table = QCA_TABLE_REFCOUNT_BLOCK,
    .snapshot = QCA_ACTIVE,
    .table_offset = 0x20000,
    .index = 9,
    .host_offset = 0x90000,
    .host_length = 65536,
    .guest_offset = QCA_NO_OFFSET,
    .counted = 1,
    .count = 1,
};
static const struct qca_issue leak = {
    .kind = QCA_ISSUE_CLUSTER_LEAKED,
    .table = QCA_TABLE_REFCOUNT_BLOCK,
    .snapshot = QCA_ACTIVE,
    .table_offset = 0x20000,
    .host_offset = 0x90000,
    .host_length = 65536,
    .guest_offset = QCA_NO_OFFSET,
    .stored = 1,
    .count = 1,
};

static void with_writer(struct image *image)
{
    image->use = image->audit->use = FILES_WRITER;
    image->audit->confidence = CONFIDENCE_RACY;
}

static void good_images_have_no_findings(void **state)
{
    struct world *world = *state;
    struct image *base = add_chain(world, "alone", 0, 0),
                 *leaf = add_chain(world, "disk", 4, 60 * USEC_PER_SEC),
                 *own = world->store.images[1];
    struct image *gold = add(world, "/vm/gold.qcow2", NULL),
                 *one = add(world, "/vm/one.qcow2", "/vm/gold.qcow2");

    add(world, "/vm/two.qcow2", "/vm/gold.qcow2");
    base->audit->deep = true;
    judge(world, base);
    assert_clean(world);
    for (enum finding_type i = 0; i < _FINDING_MAX; i++)
        assert_int_equal(world->judgement.judged[i],
                         (finding_definition(i)->about == ABOUT_IMAGE ||
                          finding_definition(i)->about == ABOUT_DISK) &&
                             /* without libvirt */
                             i != FINDING_SNAPSHOT_UNMANAGED && i != FINDING_ORPHAN &&
                             i != FINDING_SHARED_WRITABLE && i != FINDING_FOREIGN_WRITER);
    judge(world, leaf);
    assert_clean(world);
    judge(world, own);
    assert_clean(world);
    /* A linked clone of an old golden image is fine for ever. */
    judge_at(world, one, NULL, T0_USEC + 1000 * DAY);
    assert_clean(world);
    judge_at(world, gold, NULL, T0_USEC + 1000 * DAY);
    assert_clean(world);
    assert_int_equal(judge_image_again(&world->policy, world->store.graph, one, NOW), UINT64_MAX);
}

static void files_that_are_no_images(void **state)
{
    struct world *world = *state;
    const char *names[] = { "/vm/README", "/vm/cd.iso", "/vm/a\nb", "/vm/noise.bin" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct image *file = add(world, names[i], NULL);

        layer_of(file)->info = (struct qca_image_info){ .format = QCA_FORMAT_RAW,
                                                        .file_size = 77,
                                                        .virtual_size = 77 };
        layer_of(file)->checked = false;
        layer_of(file)->check = (struct qca_check_result){ .burst_offset = QCA_NO_OFFSET };
        layer_of(file)->probed_format = QCA_FORMAT_RAW;
        file->fingerprint.mode = 0100666;
        judge(world, file);
        assert_clean(world);
        assert_true(world->judgement.judged[FINDING_METADATA_CORRUPT]);
    }
}

static void nothing_is_said_of_what_cannot_be_seen(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL);
    struct audit *audit = image->audit;

    add_issue(image, &bad_l2);
    world->store.datastore.state = DATASTORE_OFFLINE;
    judge(world, image);
    world->store.datastore.state = DATASTORE_ONLINE;
    for (int round = 0; round < 3; round++) {
        if (round == 1)
            image->audit = NULL;
        if (round == 2)
            image->present = false;
        if (round > 0)
            judge(world, image);
        image->audit = audit;
        assert_clean(world);
        for (int i = 0; i < _FINDING_MAX; i++)
            assert_false(world->judgement.judged[i]);
        assert_int_equal(judge_image_again(&world->policy, world->store.graph, image, NOW),
                         UINT64_MAX);
    }
}

static void corruption(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL);
    json_object *issue;

    add_issue(image, &bad_l2);
    for (int i = 0; i < 150; i++)
        add_issue(image, &low_refcount);
    judge(world, image);
    assert_only(world, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL,
                "has 151 corruptions in its metadata, first at byte 458752 of the guest's disk");
    assert_int_equal(found(world, FINDING_METADATA_CORRUPT)->weight, 151);
    assert_int_equal(found(world, FINDING_METADATA_CORRUPT)->confidence, CONFIDENCE_OFFLINE);
    assert_int_equal(number(world, FINDING_METADATA_CORRUPT, "corruptions"), 151);
    assert_int_equal(number(world, FINDING_METADATA_CORRUPT, "issues-omitted"), 51);
    assert_int_equal(json_object_array_length(value(world, FINDING_METADATA_CORRUPT, "issues")),
                     100);
    issue = json_object_array_get_idx(value(world, FINDING_METADATA_CORRUPT, "issues"), 0);
    assert_string_equal(
        json_object_to_json_string_ext(issue, JSON_C_TO_STRING_PLAIN),
        "{\"kind\":\"l2-unaligned\",\"text\":\"an L2 entry's cluster is not cluster aligned\","
        "\"table\":\"l2\",\"table-offset\":262144,\"index\":7,\"host-offset\":328192,"
        "\"host-length\":65536,\"guest-offset\":458752,\"guest-length\":65536,\"count\":1}");
    issue = json_object_array_get_idx(value(world, FINDING_METADATA_CORRUPT, "issues"), 1);
    assert_string_equal(json_object_get_string(json_object_object_get(issue, "counted")), "1");

    world->policy.thresholds.disabled[FINDING_METADATA_CORRUPT] = true;
    judge(world, image);
    assert_clean(world);
    assert_true(world->judgement.judged[FINDING_METADATA_CORRUPT]);
}

static void a_writer_silences_refcounts(void **state)
{
    static const enum finding_type silent[] = {
        FINDING_METADATA_CORRUPT, FINDING_CLUSTERS_LEAKED, FINDING_LEAK_BURST,
        FINDING_DIRTY_BIT_SET,    FINDING_IMAGE_TRUNCATED, FINDING_BITMAP_IN_USE,
    };
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL);

    layer_of(image)->info.incompatible_features = QCA_INCOMPAT_DIRTY;
    for (int i = 0; i < 1920; i++)
        add_issue(image, &low_refcount);
    for (int i = 0; i < 500; i++)
        add_issue(image, &leak);
    check_of(image)->burst_leaks = 500;
    with_writer(image);
    judge(world, image);
    assert_clean(world);
    for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++)
        assert_false(world->judgement.judged[silent[i]]);
    assert_true(world->judgement.judged[FINDING_CORRUPT_BIT_SET]);
    assert_true(world->judgement.judged[FINDING_METADATA_SUSPECT]);

    /* A file that changed while it was read proves as little. */
    image->use = image->audit->use = FILES_UNUSED;
    judge(world, image);
    assert_clean(world);
    assert_false(world->judgement.judged[FINDING_METADATA_CORRUPT]);
}

static void damaged_pointers_of_a_running_guest(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL),
                 *before = add(world, "/vm/b.qcow2", NULL);

    add_issue(image, &bad_l2);
    add_issue(image, &low_refcount);
    add_issue(before, &low_refcount);
    add_issue(before, &bad_l2);
    with_writer(image);
    with_writer(before);
    layer_of(image)->has_metadata_digest = layer_of(before)->has_metadata_digest = true;
    judge(world, image);
    assert_only(world, FINDING_METADATA_SUSPECT, SEVERITY_INFO,
                "has 1 pointer that looks damaged while it is in use, first at byte 458752 of the "
                "guest's disk");

    judge_at(world, image, before->audit, NOW);
    assert_only(world, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL,
                "has 1 corruption in its metadata, first at byte 458752 of the guest's disk");
    assert_int_equal(found(world, FINDING_METADATA_CORRUPT)->confidence, CONFIDENCE_CONFIRMED);
    assert_int_equal(world->judgement.confidence, CONFIDENCE_RACY);
    assert_true(world->judgement.judged[FINDING_METADATA_SUSPECT]);

    layer_of(before)->metadata_digest[0] = 1;       /* the tables changed in between */
    judge_at(world, image, before->audit, NOW);
    assert_null(found(world, FINDING_METADATA_CORRUPT));
    layer_of(before)->metadata_digest[0] = 0;
    check_of(before)->issues[1].index = 8;          /* another pointer */
    judge_at(world, image, before->audit, NOW);
    assert_null(found(world, FINDING_METADATA_CORRUPT));

    /* The guest has stopped. */
    image->use = image->audit->use = FILES_UNUSED;
    image->audit->confidence = CONFIDENCE_OFFLINE;
    judge(world, image);
    assert_int_equal(number(world, FINDING_METADATA_CORRUPT, "corruptions"), 2);
}

/* QEMU never leaves data on the tables that lead to it, in whatever order it writes. */
static void data_on_the_tables_of_a_running_guest(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL),
                 *before = add(world, "/vm/b.qcow2", NULL);
    struct qca_issue on_l1 = bad_l2;

    on_l1.kind = QCA_ISSUE_DATA_ON_METADATA;
    on_l1.host_offset = 0x30000;
    add_issue(image, &on_l1);
    add_issue(before, &on_l1);
    with_writer(image);
    with_writer(before);
    layer_of(image)->has_metadata_digest = layer_of(before)->has_metadata_digest = true;
    judge(world, image);
    assert_only(world, FINDING_METADATA_SUSPECT, SEVERITY_INFO,
                "has 1 pointer that looks damaged while it is in use, first at byte 458752 of the "
                "guest's disk");
    judge_at(world, image, before->audit, NOW);
    assert_only(world, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL,
                "has 1 corruption in its metadata, first at byte 458752 of the guest's disk");
    layer_of(before)->metadata_digest[0] = 1;   /* the tables changed in between */
    judge_at(world, image, before->audit, NOW);
    assert_null(found(world, FINDING_METADATA_CORRUPT));
    layer_of(before)->metadata_digest[0] = 0;
    /* Bitmaps are written when QEMU likes: only the header, the L1 and the refcount table count. */
    layer_of(image)->info.autoclear_features = QCA_AUTOCLEAR_BITMAPS;
    judge_at(world, image, before->audit, NOW);
    assert_clean(world);
    layer_of(image)->info.l1_offset = 0x30000;
    layer_of(image)->info.l1_entries = 20;
    judge_at(world, image, before->audit, NOW);
    assert_non_null(found(world, FINDING_METADATA_CORRUPT));
    /* One issue is a run of clusters: what it begins on says nothing of what it ends on. */
    layer_of(image)->info.l1_offset = 0x40000;
    judge_at(world, image, before->audit, NOW);
    assert_clean(world);
    layer_of(image)->check.issues[0].host_length = layer_of(before)->check.issues[0].host_length =
        0x20000;
    judge_at(world, image, before->audit, NOW);
    assert_non_null(found(world, FINDING_METADATA_CORRUPT));
}

static void lazy_refcounts_after_a_crash(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL);

    layer_of(image)->info.incompatible_features = QCA_INCOMPAT_DIRTY;
    layer_of(image)->info.compatible_features = QCA_COMPAT_LAZY_REFCOUNTS;
    for (int i = 0; i < 300; i++)
        add_issue(image, &low_refcount), add_issue(image, &leak);
    judge(world, image);
    assert_only(world, FINDING_DIRTY_BIT_SET, SEVERITY_WARNING, "was not closed cleanly");
    assert_false(world->judgement.judged[FINDING_CLUSTERS_LEAKED]);
    add_issue(image, &bad_l2);
    judge(world, image);
    assert_int_equal(number(world, FINDING_METADATA_CORRUPT, "corruptions"), 1);
}

static void bits_of_the_header(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL);

    layer_of(image)->info.incompatible_features = QCA_INCOMPAT_CORRUPT;
    judge(world, image);
    assert_only(world, FINDING_CORRUPT_BIT_SET, SEVERITY_CRITICAL, "was marked as corrupt by QEMU");
    with_writer(image);
    judge(world, image);
    assert_only(world, FINDING_CORRUPT_BIT_SET, SEVERITY_CRITICAL, "was marked as corrupt by QEMU");
}

static void leaks(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL),
                 *before = add(world, "/vm/b.qcow2", NULL);

    layer_of(image)->info.file_size = UINT64_C(1) << 30;
    add_issue(image, &leak);
    judge(world, image);
    assert_only(world, FINDING_CLUSTERS_LEAKED, SEVERITY_INFO, "has 1 leaked cluster (64K)");
    check_of(image)->leaks = 164;       /* 1 % of 16,384 clusters */
    judge(world, image);
    assert_only(world, FINDING_CLUSTERS_LEAKED, SEVERITY_WARNING,
                "has 164 leaked clusters (10.2M)");
    check_of(image)->leaks = 163;
    judge(world, image);
    assert_found(world, FINDING_CLUSTERS_LEAKED, SEVERITY_INFO, "has 163 leaked clusters (10.1M)");
    layer_of(image)->info.file_size = UINT64_C(1) << 50;
    check_of(image)->leaks = 16384;
    judge(world, image);
    assert_found(world, FINDING_CLUSTERS_LEAKED, SEVERITY_WARNING,
                 "has 16384 leaked clusters (1G)");

    check_of(image)->leaks = 256;
    check_of(image)->burst_leaks = 255;
    judge_at(world, image, NULL, NOW);
    assert_only(world, FINDING_CLUSTERS_LEAKED, SEVERITY_INFO, "has 256 leaked clusters (16M)");
    check_of(before)->leaks = 26;
    judge_at(world, image, before->audit, NOW);
    assert_only(world, FINDING_CLUSTERS_LEAKED, SEVERITY_INFO, "has 256 leaked clusters (16M)");
    check_of(before)->leaks = 25;
    judge_at(world, image, before->audit, NOW);
    assert_only(world, FINDING_LEAK_BURST, SEVERITY_CRITICAL,
                "has 256 leaked clusters, 25 at the audit before");
    with_writer(before);
    judge_at(world, image, before->audit, NOW);
    assert_null(found(world, FINDING_LEAK_BURST));
    check_of(image)->burst_leaks = 256;
    check_of(image)->burst_offset = 65536;
    check_of(image)->burst_end = 131071;
    judge(world, image);
    assert_only(world, FINDING_LEAK_BURST, SEVERITY_CRITICAL,
                "has 256 leaked clusters close together, at bytes 65536 to 131071 of the file");
}

static void truncation_and_far_pointers_differ(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL), *far = add(world, "/vm/b.qcow2", NULL),
                 *part;
    struct qca_issue first, beyond = { .kind = QCA_ISSUE_OUT_OF_FILE,
                                .table = QCA_TABLE_L2,
                                .snapshot = QCA_ACTIVE,
                                .table_offset = 0x40000,
                                .host_offset = 1 << 20,
                                .host_length = 65536,
                                .guest_offset = 0,
                                .guest_length = 65536,
                                .count = 1 };

    first = beyond;
    for (int i = 0; i < 4; i++, beyond.host_offset += 65536)
        add_issue(image, &beyond);
    judge(world, image);
    /* One finding: nothing is wrong but what is missing. */
    assert_only(world, FINDING_IMAGE_TRUNCATED, SEVERITY_CRITICAL,
                "is cut off: the file has 1M, its metadata refers to data up to 1.2M");
    assert_int_equal(number(world, FINDING_IMAGE_TRUNCATED, "missing-references"), 4);
    assert_int_equal(number(world, FINDING_IMAGE_TRUNCATED, "corruptions"), 4);
    assert_true(world->judgement.judged[FINDING_METADATA_CORRUPT]);
    add_issue(image, &bad_l2);
    judge(world, image);
    assert_non_null(found(world, FINDING_IMAGE_TRUNCATED));
    assert_int_equal(number(world, FINDING_METADATA_CORRUPT, "corruptions"), 1);
    assert_int_equal(json_object_array_length(value(world, FINDING_METADATA_CORRUPT, "issues")), 1);
    world->policy.thresholds.disabled[FINDING_IMAGE_TRUNCATED] = true;
    judge(world, image);
    assert_int_equal(number(world, FINDING_METADATA_CORRUPT, "corruptions"), 5);
    world->policy.thresholds.disabled[FINDING_IMAGE_TRUNCATED] = false;

    /* An upload that ended half-way, as its name says: not while anybody uses it. */
    part = add(world, "/vm/up.qcow2.part", NULL);
    for (int i = 0; i < 4; i++)
        add_issue(part, &first);
    judge(world, part);
    assert_found(world, FINDING_IMAGE_TRUNCATED, SEVERITY_WARNING,
                 "is an upload that was not finished: the file has 1M, its metadata refers to data "
                 "up to 1M");
    (void)add(world, "/vm/on.qcow2", "/vm/up.qcow2.part");
    assert_int_equal(graph_refresh(world->store.graph, NULL, NULL), 0);
    judge(world, part);
    assert_int_equal(found(world, FINDING_IMAGE_TRUNCATED)->severity, SEVERITY_CRITICAL);

    beyond.host_offset = UINT64_C(1) << 45;
    add_issue(far, &beyond);
    judge(world, far);
    assert_null(found(world, FINDING_IMAGE_TRUNCATED));
    assert_int_equal(number(world, FINDING_METADATA_CORRUPT, "corruptions"), 1);
}

static void snapshot_tables_and_bitmaps(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL);
    struct qca_issue issue = bad_l2;
    struct qca_snapshot snapshots[] = {
        { .id = (char[]){ "1" }, .name = (char[]){ "be\033fore" }, .date_sec = 1 }
    };
    struct qca_bitmap bitmaps[] = { { .name = (char[]){ "daily" }, .flags = QCA_BITMAP_IN_USE } };

    layer_of(image)->info.snapshots = snapshots;
    layer_of(image)->info.n_snapshots = layer_of(image)->info.snapshot_count = 1;
    layer_of(image)->info.bitmaps = bitmaps;
    layer_of(image)->info.n_bitmaps = 1;
    layer_of(image)->info.autoclear_features = QCA_AUTOCLEAR_BITMAPS;
    issue.snapshot = 0;
    add_issue(image, &issue);
    judge(world, image);
    assert_found(world, FINDING_SNAPSHOT_TABLE_BAD, SEVERITY_ERROR,
                 "has damaged internal snapshots: an L2 entry's cluster is not cluster aligned");
    assert_string_equal(text(world, FINDING_SNAPSHOT_TABLE_BAD, "snapshot-name"), "be\\x1bfore");
    assert_found(world, FINDING_BITMAP_IN_USE, SEVERITY_WARNING,
                 "has 1 dirty bitmap that was not saved");

    check_of(image)->finished = false;
    fixture_error(&check_of(image)->error, (struct qca_error){ .kind = QCA_ERROR_BITMAPS,
                                                 .text = "the bitmap directory ends early" });
    judge(world, image);
    assert_found(world, FINDING_BITMAP_BAD, SEVERITY_ERROR,
                 "has damaged dirty bitmaps: the bitmap directory ends early");
    assert_false(world->judgement.judged[FINDING_CLUSTERS_LEAKED]);
    with_writer(image);
    judge(world, image);
    assert_null(found(world, FINDING_BITMAP_IN_USE));
    layer_of(image)->info.n_snapshots = layer_of(image)->info.n_bitmaps = 0;
    layer_of(image)->info.snapshots = NULL;
    layer_of(image)->info.bitmaps = NULL;
}

/* What a raw disk, a medium or an archive says of itself. */
static void what_says_where_it_ends(void **state)
{
    static const struct {
        enum qca_issue_kind kind;
        const char *summary;
    } cases[] = {
        { QCA_ISSUE_GPT_BACKUP_OUT_OF_FILE, "is cut off: the file has 1M, the partition table on "
                                            "it says that it has 64M" },
        { QCA_ISSUE_VOLUME_OUT_OF_FILE,
          "is cut off: the file has 1M, the ISO 9660 volume in it has 64M" },
        { QCA_ISSUE_LUKS_DATA_OUT_OF_FILE,
          "is cut off: the file has 1M, its LUKS header says that it has at least 64M" },
        { QCA_ISSUE_MEMBER_OUT_OF_FILE,
          "is cut off: the file has 1M, a file in the archive ends at 64M" },
    };
    struct qca_issue issue = { .table = QCA_TABLE_HEADER, .snapshot = QCA_ACTIVE,
                               .guest_offset = QCA_NO_OFFSET, .count = 1,
                               .host_offset = (UINT64_C(64) << 20) - 512, .host_length = 512 };
    struct world *world = *state;
    struct image *image;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char path[32];

        snprintf(path, sizeof(path), "/vm/%zu.img", i);
        image = add(world, path, NULL);
        issue.kind = cases[i].kind;
        add_issue(image, &issue);
        judge(world, image);
        assert_only(world, FINDING_IMAGE_TRUNCATED, SEVERITY_CRITICAL, cases[i].summary);
        assert_int_equal(number(world, FINDING_IMAGE_TRUNCATED, "needed-size"), 64 << 20);
        /* a guest may be writing it just now */
        with_writer(image);
        judge(world, image);
        assert_null(found(world, FINDING_IMAGE_TRUNCATED));
        assert_false(world->judgement.judged[FINDING_IMAGE_TRUNCATED]);
    }
    /* the first of several extents has the partition table of them all */
    image = add(world, "/vm/disk-f001.vmdk", NULL);
    issue.kind = QCA_ISSUE_GPT_BACKUP_OUT_OF_FILE;
    add_issue(image, &issue);
    judge(world, image);
    assert_clean(world);
}

/* What qemu-img check calls clean. */
static void hidden_damage(void **state)
{
    static const struct {
        enum qca_issue_kind kind;
        int type;               /* of the finding, -1: none */
        enum severity severity;
        const char *summary;
    } cases[] = {
        { QCA_ISSUE_CLUSTER_MAPPED_TWICE, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL,
          "has 1 corruption in its metadata, first at byte 458752 of the guest's disk" },
        { QCA_ISSUE_DATA_ON_METADATA, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, NULL },
        { QCA_ISSUE_L2_ZERO_IN_V2, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, NULL },
        { QCA_ISSUE_COMPRESSED_BAD, FINDING_COMPRESSED_CLUSTER_BAD, SEVERITY_CRITICAL,
          "has 1 compressed cluster that cannot be read, first at byte 458752 of the guest's "
          "disk" },
        { QCA_ISSUE_COMPRESSED_OVERLAP, FINDING_COMPRESSED_CLUSTER_BAD, SEVERITY_CRITICAL, NULL },
        { QCA_ISSUE_SNAPSHOT_ID_DUPLICATE, FINDING_SNAPSHOT_TABLE_BAD, SEVERITY_ERROR, NULL },
        { QCA_ISSUE_BITMAP_BEYOND_DISK, FINDING_BITMAP_BAD, SEVERITY_ERROR, NULL },
        { QCA_ISSUE_LUKS_SLOT_INVALID, FINDING_HEADER_INVALID, SEVERITY_ERROR,
          "has an encryption header that QEMU refuses: a LUKS key slot is invalid" },
        { QCA_ISSUE_BLOCK_OVERLAP, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, NULL },
        { QCA_ISSUE_BLOCK_UNALIGNED, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, NULL },
        { QCA_ISSUE_BLOCK_INVALID, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, NULL },
        { QCA_ISSUE_CHECKSUM_WRONG, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, NULL },
        { QCA_ISSUE_FIELD_INVALID, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, NULL },
        { QCA_ISSUE_TRAILER_MISSING, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, NULL },
        { QCA_ISSUE_LOG_INVALID, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, NULL },
        { QCA_ISSUE_TEXT_TRANSFER, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, NULL },
        { QCA_ISSUE_MEMBER_HEADER_INVALID, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, NULL },
        { QCA_ISSUE_MEMBER_MISSING, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, NULL },
        { QCA_ISSUE_MEMBER_DIGEST_WRONG, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, NULL },
        { QCA_ISSUE_GPT_INVALID, -1, 0, NULL },
        { QCA_ISSUE_GPT_COPIES_DIFFER, -1, 0, NULL },
        { QCA_ISSUE_PARTITION_OUT_OF_FILE, -1, 0, NULL },
        { QCA_ISSUE_LOG_PENDING, FINDING_DIRTY_BIT_SET, SEVERITY_WARNING,
          "was not closed cleanly: writes to its tables lie in its log alone" },
        { QCA_ISSUE_HEADER_SLACK, -1, 0, NULL },
        { QCA_ISSUE_BLOCK_UNUSED, -1, 0, NULL },
        { QCA_ISSUE_COPY_DIFFERS, -1, 0, NULL },
        { QCA_ISSUE_DIRTY_BIT, -1, 0, NULL },
        { QCA_ISSUE_DATA_HOLE, -1, 0, NULL },
        { QCA_ISSUE_DATA_BEHIND_END, -1, 0, NULL },
        { QCA_ISSUE_COPIED_WRONG_INACTIVE, -1, 0, NULL },
    };
    struct world *world = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct qca_issue issue = bad_l2;
        char path[32];
        struct image *image;

        snprintf(path, sizeof(path), "/vm/%zu.qcow2", i);
        image = add(world, path, NULL);
        issue.kind = cases[i].kind;
        add_issue(image, &issue);
        judge(world, image);
        if (cases[i].type < 0)
            assert_clean(world);
        else if (cases[i].summary)
            assert_only(world, cases[i].type, cases[i].severity, cases[i].summary);
        else
            assert_non_null(found(world, cases[i].type));
        if (cases[i].type == FINDING_COMPRESSED_CLUSTER_BAD)
            continue;
        /* What was not looked for is not resolved. */
        assert_false(world->judgement.judged[FINDING_COMPRESSED_CLUSTER_BAD]);
        image->audit->deep = true;
        judge(world, image);
        assert_true(world->judgement.judged[FINDING_COMPRESSED_CLUSTER_BAD]);
    }
}

/* A log that is to be replayed is no damage, and nothing that cannot be audited; while somebody
 * writes the image, it is what a log is for. */
static void logs_to_be_replayed(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.vhdx", NULL);
    struct qca_issue issue = bad_l2;

    issue.kind = QCA_ISSUE_LOG_PENDING;
    add_issue(image, &issue);
    check_of(image)->finished = false;
    fixture_error(&check_of(image)->error,
                  (struct qca_error){ .kind = QCA_ERROR_UNSUPPORTED, .text = "the log" });
    judge(world, image);
    assert_only(world, FINDING_DIRTY_BIT_SET, SEVERITY_WARNING,
                "was not closed cleanly: writes to its tables lie in its log alone");
    with_writer(image);
    judge(world, image);
    assert_clean(world);
}

/* A file that was cut off is one finding: what lay behind its end is no damage besides. */
static void blocks_behind_the_end(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.vdi", NULL);
    struct qca_issue issue = bad_l2;

    layer_of(image)->info.file_size = issue.host_offset = 1 << 20;
    issue.host_length = 1 << 20;
    issue.kind = QCA_ISSUE_BLOCK_OUT_OF_FILE;
    add_issue(image, &issue);
    issue.kind = QCA_ISSUE_TRAILER_MISSING;
    add_issue(image, &issue);
    judge(world, image);
    assert_only(world, FINDING_IMAGE_TRUNCATED, SEVERITY_CRITICAL,
                "is cut off: the file has 1M, its metadata refers to data up to 2M");
}

static void images_that_do_not_open(void **state)
{
    static const struct {
        enum qca_error_kind kind;
        enum finding_type type;
        enum severity severity;
        const char *summary;
    } cases[] = {
        { QCA_ERROR_HEADER, FINDING_HEADER_INVALID, SEVERITY_ERROR, "cannot be opened: it is odd" },
        { QCA_ERROR_LIMIT, FINDING_HEADER_INVALID, SEVERITY_ERROR, "cannot be opened: it is odd" },
        { QCA_ERROR_FEATURE, FINDING_FEATURE_UNKNOWN, SEVERITY_ERROR,
          "has unknown features: it is odd" },
        { QCA_ERROR_TRUNCATED, FINDING_IMAGE_TRUNCATED, SEVERITY_CRITICAL,
          "is cut off: it is odd" },
        { QCA_ERROR_SNAPSHOT_TABLE, FINDING_SNAPSHOT_TABLE_BAD, SEVERITY_ERROR,
          "has damaged internal snapshots: it is odd" },
        { QCA_ERROR_BITMAPS, FINDING_BITMAP_BAD, SEVERITY_ERROR,
          "has damaged dirty bitmaps: it is odd" },
        { QCA_ERROR_MEMORY, FINDING_NOT_AUDITABLE, SEVERITY_WARNING,
          "cannot be audited: it is odd" },
        { QCA_ERROR_IO, FINDING_READ_ERROR, SEVERITY_CRITICAL,
          "cannot be read at byte 4096: Input/output error" },
    };
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL), *part;

    part = add(world, "/vm/a.qcow2.part", NULL);
    part->audit->report->error = -EINVAL;
    fixture_error(&part->audit->report->open_error, (struct qca_error){ .kind = QCA_ERROR_HEADER,
                                                          .text = "it is odd" });
    part->audit->confidence = CONFIDENCE_OFFLINE;
    judge(world, part);
    assert_only(world, FINDING_HEADER_INVALID, SEVERITY_WARNING,
                "is an upload that was not finished: it is odd");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        image->audit->report->error = cases[i].kind == QCA_ERROR_IO ? -EIO : -EINVAL;
        fixture_error(&image->audit->report->open_error, (struct qca_error){ .kind = cases[i].kind,
                                                               .offset = 4096,
                                                               .value = 5,
                                                               .bound = 3,
                                                               .field = "cluster_bits",
                                                               .text = "it is odd" });
        image->audit->confidence = CONFIDENCE_OFFLINE;
        judge(world, image);
        assert_only(world, cases[i].type, cases[i].severity, cases[i].summary);
        assert_false(world->judgement.judged[FINDING_METADATA_CORRUPT]);
        assert_false(world->judgement.judged[FINDING_CHAIN_DEEP]);
        assert_true(world->judgement.judged[FINDING_AUDIT_FAILED]);
        if (cases[i].type != FINDING_NOT_AUDITABLE && cases[i].type != FINDING_READ_ERROR) {
            assert_string_equal(text(world, cases[i].type, "field"), "cluster_bits");
            image->audit->confidence = CONFIDENCE_RACY;     /* a copy under way */
            judge(world, image);
            assert_clean(world);
            assert_false(world->judgement.judged[cases[i].type]);
        }
    }
}

static void audits_that_fail(void **state)
{
    static const struct { int error, signal, status; const char *summary;
    } cases[] = {
        { -ECHILD, SIGSEGV, 0, "was not audited: the worker was ended by SIGSEGV" },
        { -ECHILD, SIGSYS, 0, "was not audited: the worker was ended by SIGSYS" },
        { -ECHILD, 0, 3, "was not audited: the worker ended with status 3" },
        { -ETIMEDOUT, SIGKILL, 0, "was not audited: the worker made no progress and was killed" },
        { -EBADMSG, SIGKILL, 0,
          "was not audited: the worker gave an answer that it must not give" },
    };
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL);

    image->audit->confidence = CONFIDENCE_RACY;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        image->audit->report->error = cases[i].error;
        image->audit->report->worker_signal = cases[i].signal;
        image->audit->report->worker_status = cases[i].status;
        judge(world, image);
        assert_only(world, FINDING_AUDIT_FAILED, SEVERITY_ERROR, cases[i].summary);
        assert_false(world->judgement.judged[FINDING_HEADER_INVALID]);
    }
    image->audit->report->worker_signal = 0;
    image->audit->report->error = -ECANCELED;
    judge(world, image);
    assert_clean(world);
    assert_false(world->judgement.judged[FINDING_AUDIT_FAILED]);
}

static void no_permission_is_said_once(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL);

    image->audit->report->error = -EACCES;
    judge(world, image);
    assert_only(world, FINDING_NOT_AUDITABLE, SEVERITY_WARNING,
                "cannot be audited: Permission denied");
    assert_string_equal(text(world, FINDING_NOT_AUDITABLE, "reason"), "permission");
    world->store.datastore.all_denied = true;
    world->store.datastore.n_denied = 12;
    world->store.datastore.walk_finished = 1;
    judge(world, image);
    assert_clean(world);
    judgement_done(&world->judgement);
    assert_int_equal(judge_datastore(&world->policy, &world->store.datastore, NOW,
                                     &world->judgement),
                     0);
    assert_only(world, FINDING_NOT_AUDITABLE, SEVERITY_WARNING,
                "cannot be audited: its 12 images may not be read");
}

static void read_errors(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL), *far = add(world, "/vm/b.qcow2", NULL);
    struct qca_issue issue = { .kind = QCA_ISSUE_READ_FAILED,
                               .table = QCA_TABLE_L2,
                               .snapshot = QCA_ACTIVE,
                               .table_offset = 0x40000,
                               .host_offset = 0x40000,
                               .host_length = 65536,
                               .guest_offset = QCA_NO_OFFSET,
                               .count = 1 };

    add_issue(image, &issue);
    judge(world, image);
    assert_only(world, FINDING_READ_ERROR, SEVERITY_CRITICAL,
                "cannot be read at byte 262144: Input/output error");
    issue.host_offset = UINT64_C(1) << 62;      /* the pointer is wrong, not the disk */
    add_issue(far, &issue);
    judge(world, far);
    assert_only(world, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL,
                "has 1 corruption in its metadata, first in the table at byte 262144");
}

static void deep_chains(void **state)
{
    static const struct {
        unsigned overlays;
        enum severity severity;
        const char *summary;
    } cases[] = {
        { 5, SEVERITY_WARNING,
          "has 5 unconsolidated layers above it, up to c0-0005.qcow2 (limit: 5)" },
        { 24, SEVERITY_WARNING,
          "has 24 unconsolidated layers above it, up to c1-0024.qcow2 (limit: 5)" },
        { 25, SEVERITY_ERROR,
          "has 25 unconsolidated layers above it, up to c2-0025.qcow2 (limit: 25)" },
        { 160, SEVERITY_CRITICAL,
          "has 160 unconsolidated layers above it, up to c3-0160.qcow2 (limit: 160)" },
    };
    struct world *world = *state;
    char name[16];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct image *leaf, *own;

        snprintf(name, sizeof(name), "c%zu", i);
        leaf = add_chain(world, name, cases[i].overlays, 1);
        own = world->store.images[world->store.n_images - cases[i].overlays - 1];
        judge(world, own);
        assert_only(world, FINDING_CHAIN_DEEP, cases[i].severity, cases[i].summary);
        assert_int_equal(found(world, FINDING_CHAIN_DEEP)->weight, cases[i].overlays);
        assert_int_equal(number(world, FINDING_CHAIN_DEEP, "depth"), cases[i].overlays + 1);
        assert_int_equal(number(world, FINDING_CHAIN_DEEP, "unconsolidated-bytes"),
                         (uint64_t)cases[i].overlays << 20);
        assert_int_equal(json_object_array_length(value(world, FINDING_CHAIN_DEEP, "layers")),
                         cases[i].overlays + 1 < 20 ? cases[i].overlays + 1 : 20);
        assert_string_equal(text(world, FINDING_CHAIN_DEEP, "leaf"), leaf->path);
        assert_string_equal(text(world, FINDING_CHAIN_DEEP, "own-layer"), own->path);
        assert_null(value(world, FINDING_CHAIN_DEEP, "leaves"));
        judge(world, leaf);     /* it changes with every snapshot: the disk's own layer does not */
        assert_clean(world);
        assert_true(world->judgement.judged[FINDING_CHAIN_DEEP]);
        judge(world, world->store.images[world->store.n_images - 2]);
        assert_clean(world);
    }
}

static void chains_that_fork(void **state)
{
    struct world *world = *state;
    struct image *own = (add_chain(world, "a", 6, 1), world->store.images[0]);

    add_snapshot(world, "/vm/zz\033.qcow2", "/vm/a-0006.qcow2");
    add_snapshot(world, "/vm/side.qcow2", "/vm/a-0003.qcow2");
    judge(world, own);
    assert_only(world, FINDING_CHAIN_DEEP, SEVERITY_WARNING,
                "has 7 unconsolidated layers above it, up to zz\\x1b.qcow2, the deepest of 2 "
                "leaves (limit: 5)");
    assert_int_equal(number(world, FINDING_CHAIN_DEEP, "leaves"), 2);
}

/* The layers above a linked clone, not above its golden image; those left of a chain that broke. */
static void own_layers_of_other_chains(void **state)
{
    struct world *world = *state;
    struct image *gold = add(world, "/vm/gold.qcow2", NULL), *clone, *broken;

    add(world, "/vm/other.qcow2", gold->path);
    clone = (add_chain(world, "clone", 6, 1), world->store.images[2]);
    clone->parent = (struct reference){ .state = REFERENCE_FOUND, .path = strdup(gold->path) };
    broken = (add_chain(world, "broken", 5, 1), world->store.images[9]);
    broken->parent = (struct reference){ .state = REFERENCE_MISSING, .stored = strdup("lost"),
                                         .path = strdup("/vm/lost") };
    layer_of(broken)->info.parent = strdup("lost");
    layer_of(broken)->info.parent_format = strdup("qcow2");
    broken->parent.format = strdup("qcow2");
    graph_update(world->store.graph, clone);
    judge(world, gold);
    assert_clean(world);
    judge(world, clone);
    assert_found(world, FINDING_CHAIN_DEEP, SEVERITY_WARNING,
                 "has 6 unconsolidated layers above it, up to clone-0006.qcow2 (limit: 5)");
    assert_int_equal(number(world, FINDING_CHAIN_DEEP, "depth"), 8);
    assert_string_equal(text(world, FINDING_CHAIN_DEEP, "golden"), gold->path);
    judge(world, broken);
    assert_found(world, FINDING_CHAIN_DEEP, SEVERITY_WARNING,
                 "has 5 unconsolidated layers above it, up to broken-0005.qcow2 (limit: 5)");
    assert_false(json_object_get_boolean(value(world, FINDING_CHAIN_DEEP, "complete")));
    assert_non_null(found(world, FINDING_PARENT_MISSING));
}

static void chain_limits(void **state)
{
    struct world *world = *state;
    struct image *leaf = add_chain(world, "a", 199, 1), *own = world->store.images[0];

    judge(world, own);
    assert_null(found(world, FINDING_CHAIN_LIMIT));
    add(world, "/vm/more.qcow2", leaf->path);
    judge(world, own);
    assert_found(world, FINDING_CHAIN_LIMIT, SEVERITY_CRITICAL,
                 "is in a chain of 201 layers, up to more.qcow2: the limit is 200");
}

static void pending_chains_are_not_judged(void **state)
{
    struct world *world = *state;
    struct image *leaf = add_chain(world, "a", 30, 6 * HOUR), *base = world->store.images[0],
                 *lone;
    struct audit *audit = base->audit;

    /* Nothing says yet what it is to its parent: what comes may. */
    graph_set_first_pass(world->store.graph, true);
    lone = add(world, "/vm/lone.qcow2", "/vm/lone-base.qcow2");
    add(world, "/vm/lone-base.qcow2", NULL);
    judge_at(world, lone, NULL, T0_USEC + 100 * DAY);
    assert_clean(world);
    assert_false(world->judgement.judged[FINDING_SNAPSHOT_OLD]);
    assert_int_equal(judge_image_again(&world->policy, world->store.graph, lone, NOW), UINT64_MAX);
    graph_set_first_pass(world->store.graph, false);
    judge_at(world, lone, NULL, T0_USEC + 100 * DAY);
    assert_only(world, FINDING_SNAPSHOT_OLD, SEVERITY_INFO,
                "is a snapshot of its parent or a clone, made 100 days ago: if the parent is a "
                "template, declare it by golden.patterns");
    base->audit = NULL;
    graph_update(world->store.graph, base);
    judge(world, leaf);
    assert_clean(world);
    assert_false(world->judgement.judged[FINDING_CHAIN_DEEP] ||
                 world->judgement.judged[FINDING_SNAPSHOT_OLD] ||
                 world->judgement.judged[FINDING_SNAPSHOT_RUNAWAY]);
    base->audit = audit;
    judge(world, base);
    assert_non_null(found(world, FINDING_CHAIN_DEEP));
}

static void old_snapshots(void **state)
{
    struct world *world = *state;
    struct image *own = (add_chain(world, "a", 2, HOUR), world->store.images[0]);
    uint64_t made = T0_USEC;            /* when the base froze, and the first layer was made */

    judge_at(world, own, NULL, made + 72 * HOUR - 1);
    assert_clean(world);
    assert_int_equal(judge_image_again(&world->policy, world->store.graph, own, made + 5),
                     made + 72 * HOUR);
    judge_at(world, own, NULL, made + 72 * HOUR);
    assert_only(world, FINDING_SNAPSHOT_OLD, SEVERITY_WARNING,
                "has had a snapshot for 3 days (limit: 3 days)");
    assert_string_equal(text(world, FINDING_SNAPSHOT_OLD, "dates-from"), "parent-mtime");
    assert_string_equal(text(world, FINDING_SNAPSHOT_OLD, "layer"), "/vm/a-0001.qcow2");
    assert_int_equal(judge_image_again(&world->policy, world->store.graph, own, made + 72 * HOUR),
                     made + 14 * DAY);
    judge_at(world, own, NULL, made + 15 * DAY);
    assert_only(world, FINDING_SNAPSHOT_OLD, SEVERITY_ERROR,
                "has had a snapshot for 15 days (limit: 14 days)");
    assert_int_equal(judge_image_again(&world->policy, world->store.graph, own, made + 15 * DAY),
                     UINT64_MAX);
    judge_at(world, own, NULL, made - DAY);            /* a clock that was put back */
    assert_clean(world);
}

static void old_internal_snapshots(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL);
    struct qca_snapshot snapshots[] = {
        { .id = (char[]){ "1" }, .name = (char[]){ "x" }, .date_sec = INT64_MAX },
        { .id = (char[]){ "2" }, .name = (char[]){ "y" }, .date_sec = -5 },
        { .id = (char[]){ "3" }, .name = (char[]){ "z" }, .date_sec = T0_USEC / USEC_PER_SEC },
        { .id = (char[]){ "4" }, .name = (char[]){ "w" }, .date_sec = T0_USEC / USEC_PER_SEC + 5 },
        { .id = (char[]){ "5" }, .name = (char[]){ "v" }, .date_sec = 0 },
    };

    layer_of(image)->info.snapshots = snapshots;
    layer_of(image)->info.n_snapshots = 4;
    judge_at(world, image, NULL, T0_USEC + 4 * DAY);
    assert_only(world, FINDING_SNAPSHOT_OLD, SEVERITY_WARNING,
                "has had an internal snapshot for 4 days (limit: 3 days)");
    assert_string_equal(text(world, FINDING_SNAPSHOT_OLD, "snapshot-id"), "3");
    layer_of(image)->info.n_snapshots = 5;
    judge(world, image);
    assert_only(world, FINDING_INTERNAL_SNAPSHOTS, SEVERITY_WARNING, "holds 5 internal snapshots");

    world->golden[0] = image->path;
    graph_set_policy(world->store.graph, &world->policy);
    layer_of(image)->info.n_snapshots = 1;
    image->fingerprint.mode = 0100444;
    judge_at(world, image, NULL, T0_USEC + 4 * DAY);
    assert_only(world, FINDING_INTERNAL_SNAPSHOTS, SEVERITY_WARNING,
                "is a golden image and holds 1 internal snapshot");
    layer_of(image)->info.n_snapshots = 0;
    layer_of(image)->info.snapshots = NULL;
}

static void runaway(void **state)
{
    struct world *world = *state;
    struct image *own = (add_chain(world, "a", 4, 6 * HOUR), world->store.images[0]);
    uint64_t last = T0_USEC + 3 * 6 * HOUR;     /* when the leaf's parent froze */

    judge_at(world, own, NULL, last + HOUR);
    assert_only(world, FINDING_SNAPSHOT_RUNAWAY, SEVERITY_ERROR,
                "gets a new layer every 6h, 4 by now; the limit of 200 is reached in 48d 17h");
    assert_int_equal(number(world, FINDING_SNAPSHOT_RUNAWAY, "interval-seconds"), 6 * 3600);
    assert_int_equal(number(world, FINDING_SNAPSHOT_RUNAWAY, "limit-reached-at"),
                     last + 195 * 6 * HOUR);
    assert_string_equal(text(world, FINDING_SNAPSHOT_RUNAWAY, "dates-from"), "parent-mtime");
    /* Ten intervals without another one: it has stopped. */
    assert_int_equal(judge_image_again(&world->policy, world->store.graph, own, last + 55 * HOUR),
                     last + 60 * HOUR);
    judge_at(world, own, NULL, last + 60 * HOUR);
    assert_null(found(world, FINDING_SNAPSHOT_RUNAWAY));
}

/* The host was off for four days: the job goes on, though what was before is the longer run. */
static void a_job_that_missed_its_hours(void **state)
{
    struct world *world = *state;
    struct image *own;

    add_chain(world, "a", 17, 6 * HOUR);
    own = world->store.images[0];
    for (size_t i = 12; i < world->store.n_images; i++) {
        world->store.images[i]->fingerprint.mtime += 96 * HOUR_NSEC;
        graph_update(world->store.graph, world->store.images[i]);
    }
    judge_at(world, own, NULL, T0_USEC + (17 * 6 + 96) * HOUR);
    assert_non_null(found(world, FINDING_SNAPSHOT_RUNAWAY));
    assert_int_equal(number(world, FINDING_SNAPSHOT_RUNAWAY, "layers"), 17);
    assert_int_equal(number(world, FINDING_SNAPSHOT_RUNAWAY, "first-at"), T0_USEC);
    assert_int_equal(number(world, FINDING_SNAPSHOT_RUNAWAY, "last-at"),
                     T0_USEC + (16 * 6 + 96) * HOUR);
}

static void irregular_snapshots_are_no_runaway(void **state)
{
    struct world *world = *state;
    struct image *own, *made_at_once, *jitter;

    add_chain(world, "a", 4, 6 * HOUR);
    add_chain(world, "b", 4, USEC_PER_SEC);
    add_chain(world, "c", 4, 6 * HOUR);
    own = world->store.images[0];
    made_at_once = world->store.images[5];
    jitter = world->store.images[10];
    world->store.images[2]->fingerprint.mtime += 2 * HOUR_NSEC;       /* 6, 8, 4 hours */
    graph_update(world->store.graph, world->store.images[2]);
    judge_at(world, own, NULL, T0_USEC + 19 * HOUR);
    assert_clean(world);
    judge_at(world, made_at_once, NULL, T0_USEC + 60 * USEC_PER_SEC);
    assert_clean(world);
    /* 6, 7, 5 hours: within 20 % */
    world->store.images[12]->fingerprint.mtime += HOUR_NSEC;
    graph_update(world->store.graph, world->store.images[12]);
    judge_at(world, jitter, NULL, T0_USEC + 19 * HOUR);
    assert_non_null(found(world, FINDING_SNAPSHOT_RUNAWAY));
}

static void loops(void **state)
{
    struct world *world = *state;
    struct image *a = add(world, "/vm/a.qcow2", "/vm/b.qcow2"),
                 *b = add(world, "/vm/b.qcow2", "/vm/a.qcow2");
    struct image *self = add(world, "/vm/s.qcow2", "/vm/s.qcow2"),
                 *above = add(world, "/vm/c.qcow2", "/vm/b.qcow2");

    judge(world, b);
    assert_clean(world);
    judge(world, above);
    assert_clean(world);
    assert_false(world->judgement.judged[FINDING_CHAIN_DEEP]);
    judge(world, a);
    assert_only(world, FINDING_CHAIN_LOOP, SEVERITY_CRITICAL,
                "has a backing chain that is a loop of 2 images");
    assert_int_equal(json_object_array_length(value(world, FINDING_CHAIN_LOOP, "members")), 2);
    judge(world, self);
    assert_only(world, FINDING_CHAIN_LOOP, SEVERITY_CRITICAL, "is its own parent");
}

static void references(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", "/vm/lost\033.qcow2");

    add(world, "/vm/old/lost\033.qcow2", NULL);
    image->parent.state = REFERENCE_MISSING;
    image->parent.error = -ENOENT;
    judge(world, image);
    assert_found(world, FINDING_PARENT_MISSING, SEVERITY_CRITICAL,
                 "has lost its parent: /vm/lost\\x1b.qcow2");
    assert_string_equal(
        json_object_to_json_string_ext(value(world, FINDING_PARENT_MISSING, "candidates"), 0),
        "[{\"path\":\"\\/vm\\/old\\/lost\\\\x1b.qcow2\",\"by\":\"name\"}]");
    /* It lies there again, and is being looked up. */
    (void)add(world, "/vm/lost\033.qcow2", NULL);
    judge(world, image);
    assert_null(found(world, FINDING_PARENT_MISSING));
    assert_false(world->judgement.judged[FINDING_PARENT_MISSING]);
    image->parent.error = -EACCES;
    judge(world, image);
    assert_found(world, FINDING_PARENT_MISSING, SEVERITY_CRITICAL,
                 "has a parent that cannot be read: /vm/lost\\x1b.qcow2");
    assert_found(world, FINDING_NAME_UNSAFE, SEVERITY_WARNING,
                 "refers to a name that deceives people or scripts");

    free(image->parent.stored);
    image->parent.stored = strdup("../../etc/shadow");
    image->parent.state = REFERENCE_ESCAPES;
    judge(world, image);
    assert_only(world, FINDING_REFERENCE_ESCAPES, SEVERITY_CRITICAL,
                "has a parent outside the datastores: ../../etc/shadow");
    image->parent.error = -EMEDIUMTYPE;
    judge(world, image);
    assert_only(world, FINDING_REFERENCE_ESCAPES, SEVERITY_CRITICAL,
                "has a parent that is neither a regular file nor a block device: "
                "../../etc/shadow");
    image->parent.error = -EPERM;
    /* Where templates lie, it is most likely a folder that was not named. */
    free(image->parent.path);
    image->parent.path = strdup("/elsewhere/templates/base.qcow2");
    judge(world, image);
    assert_only(world, FINDING_REFERENCE_ESCAPES, SEVERITY_ERROR,
                "has a parent in a folder of templates that is no datastore: ../../etc/shadow");
    free(image->parent.path);
    image->parent.path = strdup("/proc/templates/base.qcow2");
    judge(world, image);
    assert_only(world, FINDING_REFERENCE_ESCAPES, SEVERITY_CRITICAL,
                "has a parent outside the datastores: ../../etc/shadow");
    image->parent.state = REFERENCE_IS_REMOTE;
    judge(world, image);
    assert_only(world, FINDING_REFERENCE_REMOTE, SEVERITY_ERROR,
                "has a parent that is not a plain file: ../../etc/shadow");

    image->parent.state = REFERENCE_UNREACHABLE;
    judge(world, image);
    assert_clean(world);
    assert_false(world->judgement.judged[FINDING_PARENT_MISSING] ||
                 world->judgement.judged[FINDING_REFERENCE_ESCAPES]);
}

static void data_files(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL);

    layer_of(image)->info.incompatible_features = QCA_INCOMPAT_DATA_FILE;
    image->data_file = (struct reference){ .state = REFERENCE_FOUND,
                                           .stored = strdup("../a.data") };
    judge(world, image);
    assert_found(world, FINDING_DATA_FILE, SEVERITY_WARNING,
                 "keeps its data in another file: ../a.data");
    assert_found(world, FINDING_NAME_UNSAFE, SEVERITY_WARNING,
                 "refers to a name that deceives people or scripts");
    image->data_file.state = REFERENCE_MISSING;
    judge(world, image);
    assert_found(world, FINDING_DATA_FILE, SEVERITY_ERROR,
                 "keeps its data in a file that is missing: ../a.data");
    image->data_file.state = REFERENCE_ESCAPES;
    judge(world, image);
    assert_found(world, FINDING_REFERENCE_ESCAPES, SEVERITY_CRITICAL,
                 "has a data file outside the datastores: ../a.data");
    world->policy.thresholds.data_file = SEVERITY_ERROR;
    judge(world, image);
    assert_int_equal(found(world, FINDING_DATA_FILE)->severity, SEVERITY_ERROR);
}

static struct image *add_on_data(struct world *world, const char *path, uint64_t inode)
{
    struct image *image = add(world, path, NULL);

    image->data_file = (struct reference){ .state = REFERENCE_FOUND,
                                           .stored = strdup("a.data"),
                                           .identity = { .fsid = 7, .inode = inode } };
    assert_int_equal(graph_update(world->store.graph, image), 0);
    return image;
}

static struct qca_issue past_data(uint64_t guest, uint64_t host)
{
    return (struct qca_issue){ .kind = QCA_ISSUE_DATA_FILE_END, .table = QCA_TABLE_L2,
                               .table_offset = 1 << 18, .snapshot = QCA_ACTIVE,
                               .host_offset = host, .host_length = 65536, .guest_offset = guest,
                               .guest_length = 65536, .count = 1 };
}

/* What a data file lacks is its own finding; a pointer that leads far away is damage. */
static void data_file_cut(void **state)
{
    static const struct {
        const char *name;
        bool raw;
        uint64_t size, guest, host;     /* of the first of the clusters that are missing */
        unsigned n;
        const char *said;               /* NULL: metadata-corrupt */
        enum severity severity;
    } rows[] = {
        { "whole", true, UINT64_C(10) << 30, 0, 0, 0, "keeps its data in another file: a.data",
          SEVERITY_WARNING },
        { "raw, cut", true, 1 << 20, 1 << 20, 1 << 20, 2,
          "keeps its data in a file that was cut off: a.data has 1M, the image refers to data "
          "up to 1.1M", SEVERITY_CRITICAL },
        { "raw, cut, and little of it mapped", true, 1 << 20, UINT64_C(9) << 30, UINT64_C(9) << 30,
          1, "keeps its data in a file that was cut off: a.data has 1M, the image refers to data "
             "up to 9G", SEVERITY_CRITICAL },
        { "raw, cut where nothing was", true, 1 << 20, 0, 0, 0,
          "keeps its data in a file that is shorter than its disk: a.data has 1M, the disk 10G",
          SEVERITY_ERROR },
        { "cut", false, 1 << 20, 0, 1 << 20, 1,
          "keeps its data in a file that was cut off: a.data has 1048576, the image refers to "
          "data up to 1114112 bytes", SEVERITY_CRITICAL },
        { "cut, in disorder", false, 1 << 20, 0, 8 << 20, 40,
          "keeps its data in a file that was cut off: a.data has 1M, the image refers to data up "
          "to 10.5M", SEVERITY_CRITICAL },
        { "a pointer that leads away", false, 1 << 20, 0, UINT64_C(1) << 40, 1, NULL, 0 },
        { "shorter than the disk, as it may be", false, 1 << 20, 0, 0, 0,
          "keeps its data in another file: a.data", SEVERITY_WARNING },
        { "empty", false, 0, 0, 0, 0,
          "keeps its data in a file that was cut off: a.data has 0B, the image refers to data up "
          "to 192K", SEVERITY_CRITICAL },
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world *world;
        struct image *image, *data;
        struct qca_image_info *info;

        (void)teardown(state);
        (void)setup(state);
        world = *state;
        data = add(world, "/vm/a.data", NULL);
        data->fingerprint.size = rows[i].size;
        image = add_on_data(world, "/vm/a.qcow2", 1000);
        image->data_file.identity = data->identity;
        assert_int_equal(graph_update(world->store.graph, image), 0);
        image->audit->started = NOW - HOUR;
        info = &layer_of(image)->info;
        info->incompatible_features = QCA_INCOMPAT_DATA_FILE;
        info->autoclear_features = rows[i].raw ? QCA_AUTOCLEAR_DATA_FILE_RAW : 0;
        check_of(image)->allocated_clusters = rows[i].size == 0 ? 3 : 0;
        for (unsigned k = 0; k < rows[i].n; k++) {
            struct qca_issue issue = past_data(rows[i].guest + k * 65536, rows[i].host + k * 65536);

            add_issue(image, &issue);
        }
        judge(world, image);
        if (!rows[i].said) {
            assert_non_null(found(world, FINDING_METADATA_CORRUPT));
            assert_int_equal(found(world, FINDING_DATA_FILE)->severity, SEVERITY_WARNING);
            continue;
        }
        if (found(world, FINDING_METADATA_CORRUPT))
            fail_msg("%s: metadata-corrupt", rows[i].name);
        assert_found(world, FINDING_DATA_FILE, rows[i].severity, rows[i].said);
        /* As long as the audit is older than the data file, only what it found itself is said. */
        image->audit->started = 1;
        judge(world, image);
        assert_int_equal(found(world, FINDING_DATA_FILE)->severity,
                         rows[i].n > 0 ? SEVERITY_CRITICAL : SEVERITY_WARNING);
    }
}

static unsigned tell_count;

static void count_told(void *userdata, struct image *image)
{
    tell_count += image == userdata;
}

/* Who uses the image has its data file open, too: the file is judged again when that changes. */
static void data_file_is_told(void **state)
{
    struct world *world = *state;
    struct image *data = add(world, "/vm/a.data", NULL), *image = add_on_data(world, "/vm/a", 0);

    image->data_file.identity = data->identity;
    assert_int_equal(graph_update(world->store.graph, image), 0);
    assert_int_equal(graph_refresh(world->store.graph, NULL, NULL), 0);
    for (int use = FILES_WRITER; use >= FILES_UNUSED; use--) {
        image->use = (enum files_use)use;
        assert_int_equal(graph_update(world->store.graph, image), 0);
        tell_count = 0;
        assert_int_equal(graph_refresh(world->store.graph, count_told, data), 0);
        assert_int_equal(tell_count, 1);
    }
    tell_count = 0;
    assert_int_equal(graph_refresh(world->store.graph, count_told, data), 0);
    assert_int_equal(tell_count, 0);
}

/* One data file under two images, whatever it is called in each. */
static void data_file_of_two(void **state)
{
    struct world *world = *state;
    struct image *a = add_on_data(world, "/vm/a.qcow2", 1000),
                 *b = add_on_data(world, "/vm/b.qcow2", 1000),
                 *other = add_on_data(world, "/vm/c.qcow2", 1001), *link;

    judge(world, a);
    assert_only(world, FINDING_DATA_FILE, SEVERITY_ERROR,
                "keeps its data in a file that 1 other image has, too: a.data");
    assert_string_equal(json_object_get_string(json_object_object_get(
                            json_object_array_get_idx(
                                json_object_object_get(found(world, FINDING_DATA_FILE)->evidence,
                                                       "also-of"),
                                0),
                            "path")),
                        "/vm/b.qcow2");
    judge(world, other);
    assert_only(world, FINDING_DATA_FILE, SEVERITY_WARNING,
                "keeps its data in another file: a.data");

    /* the other is told when one leaves or comes */
    assert_int_equal(graph_refresh(world->store.graph, NULL, NULL), 0);
    b->data_file.identity.inode = 1002;
    graph_update(world->store.graph, b);
    tell_count = 0;
    assert_int_equal(graph_refresh(world->store.graph, count_told, a), 0);
    assert_int_equal(tell_count, 1);
    judge(world, a);
    assert_only(world, FINDING_DATA_FILE, SEVERITY_WARNING,
                "keeps its data in another file: a.data");
    b->data_file.identity.inode = 1000;
    b->present = false;
    judge(world, b);
    judge(world, a);
    assert_only(world, FINDING_DATA_FILE, SEVERITY_WARNING,
                "keeps its data in another file: a.data");
    b->present = true;
    graph_update(world->store.graph, b);
    tell_count = 0;
    assert_int_equal(graph_refresh(world->store.graph, count_told, a), 0);
    assert_int_equal(tell_count, 1);

    /* an image that is its own data file */
    other->data_file.identity = other->identity;
    judge(world, other);
    assert_only(world, FINDING_DATA_FILE, SEVERITY_ERROR,
                "names itself as its data file: the guest writes over its metadata");

    /* a hard link to the image itself is no other user */
    link = add_on_data(world, "/vm/d.qcow2", 1000);
    link->identity = a->identity;
    judge(world, link);
    assert_only(world, FINDING_DATA_FILE, SEVERITY_ERROR,
                "keeps its data in a file that 1 other image has, too: a.data");
    judge(world, b);
    assert_only(world, FINDING_DATA_FILE, SEVERITY_ERROR,
                "keeps its data in a file that 2 other images have, too: a.data");
}

/* The copy that a remedy asks for is as damaged as its original. */
static void copies_before_a_repair(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL),
                 *copy = add(world, "/vm/a.qcow2.before-repair", NULL),
                 *alone = add(world, "/vm/b.qcow2.before-repair", NULL),
                 *all[] = { image, copy, alone };

    for (size_t i = 0; i < 3; i++) {
        check_of(all[i])->corruptions = 2;
        fixture_count(check_of(all[i]), QCA_ISSUE_REFCOUNT_LOW, 2);
        judge(world, all[i]);
        assert_found(world, FINDING_METADATA_CORRUPT,
                     all[i] == copy ? SEVERITY_INFO : SEVERITY_CRITICAL,
                     "has 2 corruptions in its metadata");
        if (all[i] == copy)
            assert_string_equal(json_object_get_string(json_object_object_get(
                found(world, FINDING_METADATA_CORRUPT)->evidence, "copy-of")), image->path);
    }
    /* one that is in use as a parent, or whose original is gone, is no mere copy */
    add(world, "/vm/c.qcow2", copy->path);
    judge(world, copy);
    assert_int_equal(found(world, FINDING_METADATA_CORRUPT)->severity, SEVERITY_CRITICAL);
    judge(world, image);
    assert_int_equal(found(world, FINDING_METADATA_CORRUPT)->severity, SEVERITY_CRITICAL);
}

static void formats_and_sizes(void **state)
{
    struct world *world = *state;
    struct image *base = add(world, "/vm/a.img", NULL),
                 *child = add(world, "/vm/b.qcow2", "/vm/a.img");

    free(child->parent.format);
    child->parent.format = strdup("raw");
    judge(world, child);
    assert_only(world, FINDING_FORMAT_MISMATCH, SEVERITY_CRITICAL,
                "declares its parent as raw, whose content is qcow2");
    free(child->parent.format);
    child->parent.format = NULL;
    judge(world, child);
    assert_only(world, FINDING_PARENT_FORMAT_MISSING, SEVERITY_WARNING,
                "does not say what format its parent has, which is qcow2");
    child->parent.format = strdup("vvfat");     /* nothing the library could contradict */
    judge(world, child);
    assert_clean(world);
    free(child->parent.format);
    child->parent.format = strdup("qcow2");
    layer_of(child)->info.virtual_size *= 2;    /* a clone that is larger than its template */
    judge(world, child);
    assert_clean(world);
    layer_of(child)->info.virtual_size /= 4;
    judge(world, child);
    assert_only(world, FINDING_SIZE_MISMATCH, SEVERITY_INFO,
                "is a disk of 5G, smaller than its parent's of 10G");
    layer_of(child)->info.virtual_size *= 2;

    layer_of(base)->info.format = layer_of(base)->probed_format = QCA_FORMAT_RAW;
    layer_of(base)->info.virtual_size -= 100;   /* ends within the last sector */
    layer_of(base)->checked = false;
    judge(world, child);
    assert_only(world, FINDING_FORMAT_MISMATCH, SEVERITY_CRITICAL,
                "declares its parent as qcow2, whose content is raw");
    judge(world, base);
    assert_clean(world);

    layer_of(child)->info.format = QCA_FORMAT_RAW;
    reference_done(&child->parent);
    judge(world, child);
    assert_only(world, FINDING_FORMAT_MISMATCH, SEVERITY_INFO,
                "is called .qcow2, but its content is raw");
}

static void a_parent_that_was_not_seen_keeps_the_verdict(void **state)
{
    struct world *world = *state;
    struct image *child = add(world, "/vm/b.qcow2", "/vm/a.img");

    judge(world, child);
    assert_clean(world);
    assert_false(world->judgement.judged[FINDING_FORMAT_MISMATCH]);
}

static void names(void **state)
{
    struct world *world = *state;
    const char *bad[] = { "/vm/a\nb.qcow2", "/vm/\xff.qcow2", "/vm/\033[2J.qcow2" };
    struct image *fine = add(world, "/vm/ä b 'c'.qcow2", "../golden/x.qcow2");

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        judge(world, add(world, bad[i], NULL));
        assert_only(world, FINDING_NAME_UNSAFE, SEVERITY_WARNING,
                    "has a name that deceives people or scripts");
    }
    judge(world, fine);
    assert_clean(world);
}

/* The copy that remedies tell to make refers to the parent, too. */
static void a_kept_copy_is_no_branch(void **state)
{
    struct world *world = *state;
    struct image *base = add(world, "/vm/erp.qcow2", NULL);

    (void)add(world, "/vm/erp.before-update.qcow2", "/vm/erp.qcow2");
    (void)add(world, "/vm/erp.before-update.qcow2.before-repair", "/vm/erp.qcow2");
    judge(world, base);
    assert_clean(world);
    (void)add(world, "/vm/erp.before-upgrade.qcow2", "/vm/erp.qcow2");
    judge(world, base);
    assert_only(world, FINDING_CHAIN_FORKED, SEVERITY_ERROR,
                "has 3 overlays and is no template");
}

static void permissions(void **state)
{
    struct world *world = *state;
    struct image *image = add(world, "/vm/a.qcow2", NULL);

    image->fingerprint.mode = 0100644;
    judge(world, image);
    assert_clean(world);
    /* A user's own group is nobody else; oVirt's volumes are 0660 of vdsm, 36:36. */
    image->fingerprint.uid = image->fingerprint.gid = 36;
    image->fingerprint.mode = 0100660;
    judge(world, image);
    assert_clean(world);
    image->fingerprint.mode = 0100662;
    judge(world, image);
    assert_only(world, FINDING_PERMISSIONS, SEVERITY_WARNING,
                "can be written by everybody (mode 0662)");
    image->fingerprint.gid = 107;
    image->fingerprint.mode = 0100664;
    judge(world, image);
    assert_only(world, FINDING_PERMISSIONS, SEVERITY_WARNING,
                "can be written by its group (mode 0664)");
    image->fingerprint.mode = 0666;
    judge(world, image);
    assert_only(world, FINDING_PERMISSIONS, SEVERITY_WARNING,
                "can be written by everybody (mode 0666)");
    image->fingerprint.mode = 0060660;          /* a block device */
    judge(world, image);
    assert_clean(world);
    world->golden[0] = image->path;
    graph_set_policy(world->store.graph, &world->policy);
    image->fingerprint.mode = 0100644;
    judge(world, image);
    assert_only(world, FINDING_PERMISSIONS, SEVERITY_WARNING,
                "can be written by its owner, although it is golden (mode 0644)");
    image->fingerprint.mode = 0100444;
    judge(world, image);
    assert_clean(world);
}

static void datastores(void **state)
{
    struct world *world = *state;
    struct datastore *datastore = &world->store.datastore;
    struct judgement *judgement = &world->judgement;

    datastore->state = DATASTORE_OFFLINE;
    datastore->error = -ENOENT;
    assert_int_equal(judge_datastore(&world->policy, datastore, NOW, judgement), 0);
    assert_only(world, FINDING_DATASTORE_OFFLINE, SEVERITY_ERROR,
                "is offline: /vm: No such file or directory");
    assert_false(judgement->judged[FINDING_WATCH_DEGRADED]);
    judgement_done(judgement);

    datastore->error = -ECHILD;
    assert_int_equal(judge_datastore(&world->policy, datastore, NOW, judgement), 0);
    assert_only(world, FINDING_DATASTORE_OFFLINE, SEVERITY_ERROR,
                "is offline: /vm: its helper qcaudit-files ended unexpectedly");
    judgement_done(judgement);

    datastore->state = DATASTORE_ONLINE;
    assert_int_equal(judge_datastore(&world->policy, datastore, NOW, judgement), 0);
    assert_clean(world);                        /* not to be watched: the configuration says so */
    assert_true(judgement->judged[FINDING_DATASTORE_OFFLINE]);
    judgement_done(judgement);

    datastore->watched = true;                  /* as far as is known: the walk is under way */
    datastore->walk_started = NOW;
    datastore->walk_finished = NOW - 1;
    assert_int_equal(judge_datastore(&world->policy, datastore, NOW, judgement), 0);
    assert_false(judgement->judged[FINDING_WATCH_DEGRADED]);
    judgement_done(judgement);
    datastore->walk_finished = NOW;
    assert_int_equal(judge_datastore(&world->policy, datastore, NOW, judgement), 0);
    assert_true(judgement->judged[FINDING_WATCH_DEGRADED]);
    judgement_done(judgement);
    datastore->watched = false;

    datastore->watch_error = -ENOSPC;
    assert_int_equal(judge_datastore(&world->policy, datastore, NOW, judgement), 0);
    assert_only(
        world, FINDING_WATCH_DEGRADED, SEVERITY_WARNING,
        "sees changes only when it is walked: the limit fs.inotify.max_user_watches is used up");
    assert_string_equal(text(world, FINDING_WATCH_DEGRADED, "reason"), "watches-exhausted");
    judgement_done(judgement);

    datastore->watch_error = -EMFILE;
    assert_int_equal(judge_datastore(&world->policy, datastore, NOW, judgement), 0);
    assert_only(
        world, FINDING_WATCH_DEGRADED, SEVERITY_WARNING,
        "sees changes only when it is walked: the limit fs.inotify.max_user_instances is used up");
    judgement_done(judgement);

    datastore->root.network = true;
    assert_int_equal(judge_datastore(&world->policy, datastore, NOW, judgement), 0);
    assert_only(world, FINDING_WATCH_DEGRADED, SEVERITY_INFO,
                "sees changes only when it is walked: a network file system does not tell of other "
                "hosts' changes");
    judgement_done(judgement);

    datastore->state = DATASTORE_STARTING;
    assert_int_equal(judge_datastore(&world->policy, datastore, NOW, judgement), 0);
    assert_clean(world);
    assert_false(judgement->judged[FINDING_DATASTORE_OFFLINE]);
}

static void coverage(void **state)
{
    struct world *world = *state;
    struct datastore *datastore = &world->store.datastore;
    struct outside_disk disks[] = { { "web", "vda", "/srv/a.qcow2" }, { "db", "sdb", "/dev/x" } };
    struct daemon_facts facts = { .outside_known = true, .outside = disks, .n_outside = 2,
                                  .outside_total = 2 };

    datastore->walk_finished = NOW;
    for (enum files_left_out why = FILES_LEFT_NONE + 1; why < _FILES_LEFT_MAX; why++) {
        static const struct { enum severity severity; const char *summary; } told[] = {
            [FILES_LEFT_FORBIDDEN] = { SEVERITY_INFO,
                                       "leaves out 1 file system mounted below it, as its "
                                       "configuration says: /vm/it" },
            [FILES_LEFT_REMOTE] = { SEVERITY_WARNING, "does not look at 1 network file system "
                                                      "mounted below it: /vm/it" },
            [FILES_LEFT_GONE] = { SEVERITY_WARNING, "does not look at 1 file system that is not "
                                                    "mounted now: /vm/it" },
            [FILES_LEFT_TOO_MANY] = { SEVERITY_WARNING,
                                      "does not look at 1 file more than limits.files "
                                      "allows: /vm" },
            [FILES_LEFT_DEVICE] = { SEVERITY_WARNING,
                                    "does not look at 1 link to a block device: /vm/it" },
        };

        assert_int_equal(coverage_add(&datastore->coverage, why, "/vm/it", "x"), 0);
        assert_int_equal(judge_datastore(&world->policy, datastore, NOW, &world->judgement), 0);
        if (told[why].summary)
            assert_only(world, FINDING_COVERAGE_GAP, told[why].severity, told[why].summary);
        else
            assert_clean(world);
        assert_true(world->judgement.judged[FINDING_COVERAGE_GAP]);
        judgement_done(&world->judgement);
        coverage_done(&datastore->coverage);
    }
    /* Before the first complete walk nobody knows. */
    datastore->walk_finished = 0;
    assert_int_equal(judge_datastore(&world->policy, datastore, NOW, &world->judgement), 0);
    assert_false(world->judgement.judged[FINDING_COVERAGE_GAP]);
    judgement_done(&world->judgement);
    /* Disks of domains: named in one finding. */
    assert_int_equal(judge_daemon(&world->policy, &facts, NOW, &world->judgement), 0);
    assert_only(world, FINDING_COVERAGE_GAP, SEVERITY_WARNING,
                "does not look at 2 disks of domains, in no datastore: vda of web (/srv/a.qcow2), "
                "sdb of db (/dev/x)");
    judgement_done(&world->judgement);
    facts.outside_total = facts.n_outside = 0;
    assert_int_equal(judge_daemon(&world->policy, &facts, NOW, &world->judgement), 0);
    assert_clean(world);
    assert_true(world->judgement.judged[FINDING_COVERAGE_GAP]);
    judgement_done(&world->judgement);
    facts.outside_known = false;
    assert_int_equal(judge_daemon(&world->policy, &facts, NOW, &world->judgement), 0);
    assert_false(world->judgement.judged[FINDING_COVERAGE_GAP]);
}

static void the_daemon_itself(void **state)
{
    struct world *world = *state;
    struct daemon_facts facts = { .database_aside = "/var/lib/qcaudit/qcaudit.db.1" };

    assert_int_equal(judge_daemon(&world->policy, &facts, NOW, &world->judgement), 0);
    assert_only(world, FINDING_DATABASE_RECOVERED, SEVERITY_ERROR,
                "started a new database, the damaged one is /var/lib/qcaudit/qcaudit.db.1");
    judgement_done(&world->judgement);
    facts = (struct daemon_facts){ .alert_errors = { [ALERT_SYSLOG] = -ENOENT } };
    assert_int_equal(judge_daemon(&world->policy, &facts, NOW, &world->judgement), 0);
    assert_only(world, FINDING_ALERT_CHANNEL_FAILED, SEVERITY_ERROR,
                "could not deliver alerts to syslog: No such file or directory");
    assert_false(world->judgement.judged[FINDING_DATABASE_RECOVERED]);
    judgement_done(&world->judgement);
    facts.alert_errors[ALERT_JOURNAL] = -ENOSPC;
    assert_int_equal(judge_daemon(&world->policy, &facts, NOW, &world->judgement), 0);
    assert_only(world, FINDING_ALERT_CHANNEL_FAILED, SEVERITY_ERROR,
                "could not deliver alerts to the journal and to another channel: "
                "No space left on device");
}

/* ---- what was an image before ---------------------------------------------------------------- */

/* It was a qcow2 image of 1 MiB, a disk of 10 GiB; what lies there now has no header. */
static struct image *add_overwritten(struct world *world, const char *path, uint64_t size)
{
    struct image *image = add(world, path, NULL);

    image->past = (struct image_past){ .format = QCA_FORMAT_QCOW2, .until = T0_USEC,
                                       .size = 1 << 20, .virtual_size = UINT64_C(10) << 30 };
    image->audit->identity = image->identity;
    image->fingerprint.size = size;
    image->audit->fingerprint = image->fingerprint;
    *layer_of(image) = (struct layer_report){
        .info = { .format = QCA_FORMAT_RAW, .virtual_size = size, .file_size = size },
        .probed_format = QCA_FORMAT_RAW,
    };
    return image;
}

static void an_overwritten_header_is_known(void **state)
{
    struct world *world = *state;
    static const struct { const char *path; uint64_t size; bool lost; } rows[] = {
        { "/vm/a.qcow2", 1 << 20, true },       /* by whatever name */
        { "/vm/a.img", 1 << 20, true },
        { "/vm/a", 1 << 20, true },
        { "/vm/b.qcow2", 3 << 20, true },       /* the name says qcow2 */
        { "/vm/b.img", (1 << 20) + 17, true },  /* no disk has half a sector */
        { "/vm/c.img", 0, true },               /* nothing is left */
        { "/vm/b2.img", 3 << 20, false },       /* a raw disk was copied onto it */
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct image *image = add_overwritten(world, rows[i].path, rows[i].size);
        const struct condition *condition;

        judge(world, image);
        condition = found(world, FINDING_HEADER_INVALID);
        if (!rows[i].lost) {
            assert_null(condition);
            continue;
        }
        assert_non_null(condition);
        assert_int_equal(condition->severity, SEVERITY_CRITICAL);
        assert_non_null(strstr(json_object_to_json_string(condition->evidence),
                               "was a qcow2 image until 2023-11-14 22:13 UTC"));
        /* Its name is right. */
        assert_null(found(world, FINDING_FORMAT_MISMATCH));
    }
}

static void what_is_no_overwritten_header(void **state)
{
    struct world *world = *state;
    struct image *image = add_overwritten(world, "/vm/a.img", 1 << 20), *child;

    /* Another file lies there: its own past is not this one's. */
    image->audit->identity.inode++;
    judge(world, image);
    assert_null(found(world, FINDING_HEADER_INVALID));
    image->audit->identity = image->identity;
    /* A copy onto it is under way. */
    image->audit->confidence = CONFIDENCE_RACY;
    judge(world, image);
    assert_null(found(world, FINDING_HEADER_INVALID));
    assert_false(world->judgement.judged[FINDING_HEADER_INVALID]);
    /* What a QEMU has open is no target of a copy. */
    image->audit->locked = image->audit->use = image->use = FILES_WRITER;
    judge(world, image);
    assert_non_null(found(world, FINDING_HEADER_INVALID));
    image->audit->locked = image->audit->use = image->use = FILES_UNUSED;
    image->audit->confidence = CONFIDENCE_OFFLINE;
    /* It never was one. */
    image->past.format = QCA_FORMAT_UNKNOWN;
    judge(world, image);
    assert_null(found(world, FINDING_HEADER_INVALID));

    /* Of any size, where an overlay says that it is qcow2; and the overlay says what happened. */
    image = add_overwritten(world, "/vm/base.img", 3 << 20);
    child = add(world, "/vm/child.qcow2", "/vm/base.img");
    judge(world, child);
    assert_non_null(strstr(json_object_to_json_string(
                               found(world, FINDING_FORMAT_MISMATCH)->evidence),
                           "whose header was overwritten: it was a qcow2 image until"));
    judge(world, image);
    assert_non_null(found(world, FINDING_HEADER_INVALID));
    /* Where it says raw, a raw disk is meant. */
    free(child->parent.format);
    child->parent.format = strdup("raw");
    judge(world, image);
    assert_null(found(world, FINDING_HEADER_INVALID));
}

/* ---- version-below-minimum ------------------------------------------------------------------- */

#define TEXT(literal) ((char[]){ literal })

static const char families_text[] =
    "families:\n"
    "- {family: r, vendor: V, product: R, names: [{match: '^r-([0-9].*)$', version: '\\1'},\n"
    "   {match: '^r-d([0-9]{8})$', version: '\\1', scheme: date},\n"
    "   {match: '^r-latest$', version: '9', scheme: moving, order: none}]}\n"
    "- {family: own, vendor: V, product: O, minimum: {any: '2.0'},\n"
    "   names: [{match: '^own-([0-9.]+)$', version: '\\1'}]}\n"
    "- {family: x, vendor: V, product: X, names: [{match: '^[xy]-([0-9]+)$', version: '\\1'}]}\n"
    "- {family: y, vendor: V, product: Y, names: [{match: '^y-([0-9]+)$', version: '\\1'}]}\n";

static struct families *parse_families(void)
{
    struct families *families = NULL;

    assert_int_equal(families_parse("f.yaml", families_text, sizeof(families_text) - 1, NULL, NULL,
                                    &families),
                     0);
    return families;
}

static void assert_version(struct world *world, const char *path, enum severity severity,
                           const char *summary)
{
    struct image *image = add(world, path, NULL);

    judge(world, image);
    if (summary)
        assert_found(world, FINDING_VERSION_BELOW_MINIMUM, severity, summary);
    else
        assert_null(found(world, FINDING_VERSION_BELOW_MINIMUM));
    assert_true(world->judgement.judged[FINDING_VERSION_BELOW_MINIMUM]);
}

/* By trains, the longest first; what cannot be compared is silent. */
static void old_versions(void **state)
{
    struct world *world = *state;
    struct families *families = parse_families();
    struct policy_version versions[] = {
        { .family = TEXT("r"), .train = TEXT("any"), .minimum = TEXT("9.3(10)"),
          .file = "q.yaml", .line = 3 },
        { .family = TEXT("r"), .train = TEXT("7.0(3)I7"), .minimum = TEXT("7.0(3)I7(10)"),
          .file = "q.yaml", .line = 4 },
        { .family = TEXT("x"), .train = TEXT("any"), .minimum = TEXT("100") },
        { .family = TEXT("y"), .train = TEXT("any"), .minimum = TEXT("100") },
    };

    assert_version(world, "/vm/own-1.9.qcow2", 0, NULL);
    world->policy.families = families;
    world->policy.versions = versions;
    world->policy.n_versions = ELEMENTSOF(versions);
    assert_version(world, "/vm/r-9.3(9).qcow2", SEVERITY_ERROR,
                   "is V R 9.3(9) by its name, older than the minimum 9.3(10)");
    assert_string_equal(text(world, FINDING_VERSION_BELOW_MINIMUM, "family"), "r");
    assert_string_equal(text(world, FINDING_VERSION_BELOW_MINIMUM, "version"), "9.3(9)");
    assert_string_equal(text(world, FINDING_VERSION_BELOW_MINIMUM, "minimum"), "9.3(10)");
    assert_string_equal(text(world, FINDING_VERSION_BELOW_MINIMUM, "rule"), "q.yaml:3");
    assert_version(world, "/vm/r-9.3(10).qcow2", 0, NULL);
    assert_version(world, "/vm/r-10.1(1).qcow2", 0, NULL);
    assert_version(world, "/vm/r-7.0(3)I7(4).qcow2", SEVERITY_ERROR,
                   "is V R 7.0(3)I7(4) by its name, older than the minimum 7.0(3)I7(10)");
    assert_string_equal(text(world, FINDING_VERSION_BELOW_MINIMUM, "rule"), "q.yaml:4");
    assert_version(world, "/vm/r-7.0(3)I7(10).qcow2", 0, NULL);
    assert_version(world, "/vm/r-7.0(3)I6(10).qcow2", SEVERITY_ERROR,
                   "is V R 7.0(3)I6(10) by its name, older than the minimum 9.3(10)");
    assert_version(world, "/vm/r-d20010101.qcow2", 0, NULL);
    assert_version(world, "/vm/r-latest.qcow2", 0, NULL);
    assert_version(world, "/vm/y-1.qcow2", 0, NULL);
    assert_version(world, "/vm/x-1.qcow2", SEVERITY_ERROR,
                   "is V X 1 by its name, older than the minimum 100");
    /* Copies that are kept, and media, run nowhere. */
    assert_version(world, "/vm/x-2.iso", 0, NULL);
    /* What a family says of itself, unless the configuration says it. */
    assert_version(world, "/vm/own-1.8.qcow2", SEVERITY_ERROR,
                   "is V O 1.8 by its name, older than the minimum 2.0");
    assert_string_equal(text(world, FINDING_VERSION_BELOW_MINIMUM, "rule"), "f.yaml:5");
    versions[2].family = TEXT("own");
    versions[2].minimum = TEXT("1.5");
    assert_version(world, "/vm/own-1.7.qcow2", 0, NULL);
    assert_version(world, "/vm/own-1.4.qcow2", SEVERITY_ERROR,
                   "is V O 1.4 by its name, older than the minimum 1.5");
    world->policy.thresholds.disabled[FINDING_VERSION_BELOW_MINIMUM] = true;
    assert_version(world, "/vm/own-1.3.qcow2", 0, NULL);
    world->policy.families = NULL;
    world->policy.n_versions = 0;
    families_free(families);
}

/* From its day on, and looked at again then; it is a warning alone, an error with a minimum. */
static void ends_of_life(void **state)
{
    struct world *world = *state;
    struct families *families = parse_families();
    struct policy_version versions[] = {
        { .family = TEXT("r"), .train = TEXT("any"), .end_of_life = T0_USEC + 3 * HOUR,
          .file = "q.yaml", .line = 3 },
        { .family = TEXT("r"), .train = TEXT("8"), .minimum = TEXT("8.5"), .file = "q.yaml",
          .line = 4 },
    };
    uint64_t end = versions[0].end_of_life;
    struct image *image = add(world, "/vm/r-8.6.qcow2", NULL);
    struct image *old = add(world, "/vm/r-8.4.qcow2", NULL);

    world->policy.families = families;
    world->policy.versions = versions;
    world->policy.n_versions = ELEMENTSOF(versions);
    judge(world, image);
    assert_null(found(world, FINDING_VERSION_BELOW_MINIMUM));
    assert_int_equal(judge_image_again(&world->policy, world->store.graph, image, NOW), end);
    assert_int_equal(judge_image_again(&world->policy, world->store.graph, image, end),
                     UINT64_MAX);
    judge_at(world, image, NULL, end - 1);
    assert_null(found(world, FINDING_VERSION_BELOW_MINIMUM));
    judge_at(world, image, NULL, end);
    assert_found(world, FINDING_VERSION_BELOW_MINIMUM, SEVERITY_WARNING,
                 "is V R 8.6 by its name; its end of life was on 2023-11-15");
    assert_int_equal(number(world, FINDING_VERSION_BELOW_MINIMUM, "end-of-life-at"), end);
    assert_null(value(world, FINDING_VERSION_BELOW_MINIMUM, "minimum"));
    judge_at(world, old, NULL, end);
    assert_found(world, FINDING_VERSION_BELOW_MINIMUM, SEVERITY_ERROR,
                 "is V R 8.4 by its name, older than the minimum 8.5; its end of life was on "
                 "2023-11-15");
    world->policy.families = NULL;
    world->policy.n_versions = 0;
    families_free(families);
}

/* Once, of the lowest layer that says a version. */
static void old_versions_of_chains(void **state)
{
    struct world *world = *state;
    struct families *families = parse_families();
    struct policy_version version = { .family = TEXT("r"), .train = TEXT("any"),
                                      .minimum = TEXT("9"), .file = "q.yaml", .line = 3 };
    struct image *base = add(world, "/vm/r-8.1.qcow2", NULL);
    struct image *overlay = add(world, "/vm/r-8.2.qcow2", "/vm/r-8.1.qcow2");
    struct image *other = add(world, "/vm/base.qcow2", NULL);
    struct image *named = add(world, "/vm/r-8.3.qcow2", "/vm/base.qcow2");
    struct image *top = add(world, "/vm/r-8.4.qcow2", "/vm/r-8.3.qcow2");

    world->policy.families = families;
    world->policy.versions = &version;
    world->policy.n_versions = 1;
    judge(world, base);
    assert_non_null(found(world, FINDING_VERSION_BELOW_MINIMUM));
    judge(world, overlay);
    assert_null(found(world, FINDING_VERSION_BELOW_MINIMUM));
    judge(world, other);
    assert_null(found(world, FINDING_VERSION_BELOW_MINIMUM));
    judge(world, named);
    assert_non_null(found(world, FINDING_VERSION_BELOW_MINIMUM));
    judge(world, top);
    assert_null(found(world, FINDING_VERSION_BELOW_MINIMUM));
    world->policy.families = NULL;
    world->policy.n_versions = 0;
    families_free(families);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(coverage),
        TEST(old_versions),
        TEST(ends_of_life),
        TEST(old_versions_of_chains),
        TEST(good_images_have_no_findings),
        TEST(files_that_are_no_images),
        TEST(nothing_is_said_of_what_cannot_be_seen),
        TEST(corruption),
        TEST(a_writer_silences_refcounts),
        TEST(damaged_pointers_of_a_running_guest),
        TEST(data_on_the_tables_of_a_running_guest),
        TEST(lazy_refcounts_after_a_crash),
        TEST(bits_of_the_header),
        TEST(leaks),
        TEST(truncation_and_far_pointers_differ),
        TEST(what_says_where_it_ends),
        TEST(snapshot_tables_and_bitmaps),
        TEST(hidden_damage),
        TEST(logs_to_be_replayed),
        TEST(blocks_behind_the_end),
        TEST(images_that_do_not_open),
        TEST(audits_that_fail),
        TEST(no_permission_is_said_once),
        TEST(read_errors),
        TEST(deep_chains),
        TEST(chains_that_fork),
        TEST(own_layers_of_other_chains),
        TEST(chain_limits),
        TEST(pending_chains_are_not_judged),
        TEST(old_snapshots),
        TEST(old_internal_snapshots),
        TEST(runaway),
        TEST(a_job_that_missed_its_hours),
        TEST(irregular_snapshots_are_no_runaway),
        TEST(loops),
        TEST(references),
        TEST(data_files),
        TEST(data_file_of_two),
        TEST(data_file_is_told),
        TEST(data_file_cut),
        TEST(copies_before_a_repair),
        TEST(formats_and_sizes),
        TEST(a_parent_that_was_not_seen_keeps_the_verdict),
        TEST(names),
        TEST(a_kept_copy_is_no_branch),
        TEST(permissions),
        TEST(datastores),
        TEST(the_daemon_itself),
        TEST(an_overwritten_header_is_known), TEST(what_is_no_overwritten_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
