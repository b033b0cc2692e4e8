/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What comes back from the database is judged as it was before: the same conditions, with the same
 * evidence. */
#include "daemon/config/config.h"
#include "daemon/judge/judge.h"
#include "daemon/relate/relate.h"
#include "helpers/clock.h"
#include "model-fixture.h"
#include "store-kit.h"
#include "check-fixture.h"

DEFINE_CLEANUP(struct config *, config_free)
DEFINE_CLEANUP(struct graph *, graph_free)
DEFINE_CLEANUP(struct image *, image_free)

#define NOW (T0_USEC + 30 * DAY)

static struct audit *copy_audit(const struct audit *audit)
{
    struct audit *copy = calloc(1, sizeof(*copy));

    assert_non_null(copy);
    *copy = *audit;
    copy->report = calloc(1, sizeof(*copy->report));
    assert_non_null(copy->report);
    copy->report->layers = calloc(1, sizeof(*copy->report->layers));
    assert_non_null(copy->report->layers);
    copy->report->n_layers = 1;
    copy->report->layers[0].info = audit->report->layers[0].info;
    copy->report->layers[0].checked = true;
    copy->report->layers[0].check.finished = true;
    /* What it points at is the original's. */
    copy->report->layers[0].info.parent = NULL;
    copy->report->layers[0].info.parent_format = NULL;
    return copy;
}

static void add_issues(struct layer_report *layer, enum qca_issue_kind kind, size_t n)
{
    struct qca_check_result *check = &layer->check;

    check->issues = reallocarray(check->issues, check->n_issues + n, sizeof(*check->issues));
    assert_non_null(check->issues);
    for (size_t i = 0; i < n; i++)
        check->issues[check->n_issues + i] = (struct qca_issue){
            .kind = kind, .table = QCA_TABLE_L2, .snapshot = QCA_ACTIVE, .table_offset = 262144,
            .index = i,
            .host_offset = UINT64_C(1) << 50, .host_length = 65536, .guest_offset = i * 65536,
            .guest_length = 65536,
            .count = 1,
        };
    check->n_issues += n;
    fixture_count(check, kind, n);
}

static void judge(const struct image *image, struct graph *graph, const struct policy *policy,
                  struct judgement *ret_judgement)
{
    assert_int_equal(judge_image(policy, graph, image, image->audit_before, NOW, ret_judgement), 0);
}

static void judgements_equal(const struct judgement *a, const struct judgement *b)
{
    assert_int_equal(a->confidence, b->confidence);
    assert_memory_equal(a->judged, b->judged, sizeof(a->judged));
    assert_int_equal(a->conditions.n_items, b->conditions.n_items);
    for (size_t i = 0; i < a->conditions.n_items; i++) {
        const struct condition *x = &a->conditions.items[i], *y = &b->conditions.items[i];

        assert_int_equal(x->type, y->type);
        assert_int_equal(x->severity, y->severity);
        assert_int_equal(x->confidence, y->confidence);
        assert_true(x->weight == y->weight);
        assert_string_equal(json_object_to_json_string(x->evidence),
                            json_object_to_json_string(y->evidence));
    }
}

static bool holds(const struct judgement *judgement, enum finding_type type)
{
    for (size_t i = 0; i < judgement->conditions.n_items; i++)
        if (judgement->conditions.items[i].type == type)
            return true;
    return false;
}

/* Stores the image, reads it back, and judges both; *ret_before is the judgement of the first. */
static void through_the_database(struct kit *kit, struct image *image, struct judgement *ret_before)
{
    _cleanup_(judgement_done) struct judgement after = { 0 };
    _cleanup_(graph_freep) struct graph *graph = NULL, *graph_back = NULL;
    _cleanup_(config_freep) struct config *config = NULL;
    struct store_batch *batch;
    struct image *back;

    assert_int_equal(config_new(&config), 0);
    assert_int_equal(graph_new(&graph), 0);
    assert_int_equal(graph_new(&graph_back), 0);
    graph_set_policy(graph, &config->policy);
    graph_set_policy(graph_back, &config->policy);
    assert_int_equal(graph_add(graph, image), 0);
    assert_int_equal(graph_refresh(graph, NULL, NULL), 0);
    judge(image, graph, &config->policy, ret_before);

    assert_int_equal(store_batch_new(&batch), 0);
    assert_int_equal(store_batch_image(batch, image), 0);
    if (image->audit_before)
        assert_int_equal(store_batch_audit(batch, image, image->audit_before), 0);
    assert_int_equal(store_batch_audit(batch, image, image->audit), 0);
    kit_open(kit);
    kit_commit(kit, batch);
    kit_reopen(kit);
    back = kit_image(kit, image->path);
    assert_non_null(back);
    back->datastore = image->datastore;
    assert_int_equal(graph_add(graph_back, back), 0);
    assert_int_equal(graph_refresh(graph_back, NULL, NULL), 0);
    judge(back, graph_back, &config->policy, &after);
    judgements_equal(ret_before, &after);
    graph_remove(graph, image);
    graph_remove(graph_back, back);
}

static void damaged(void **state)
{
    _cleanup_(image_freep) struct image *image = fixture_image(&kit_datastore, "/srv/vms/\n.qcow2",
                                                               5, "/etc/shadow");
    _cleanup_(judgement_done) struct judgement before = { 0 };
    struct layer_report *layer = &image->audit->report->layers[0];

    image->parent.state = REFERENCE_ESCAPES;
    image->parent.error = -EPERM;
    image->fingerprint.mode = 0100666;
    layer->info.incompatible_features = QCA_INCOMPAT_CORRUPT | QCA_INCOMPAT_DIRTY;
    layer->info.snapshots = calloc(2, sizeof(*layer->info.snapshots));
    layer->info.n_snapshots = layer->info.snapshot_count = 2;
    layer->snapshots_total = 2;
    for (unsigned i = 0; i < 2; i++)
        layer->info.snapshots[i] = (struct qca_snapshot){
            strdup("1"), strdup("old\xff"), T0_USEC / USEC_PER_SEC, 3, 0, 1 << 20, 65536, 8
        };
    add_issues(layer, QCA_ISSUE_L2_UNALIGNED, 30);
    add_issues(layer, QCA_ISSUE_OUT_OF_FILE, 5);
    add_issues(layer, QCA_ISSUE_REFCOUNT_LOW, 200);
    layer->check.corruptions = 235;
    layer->check.check_errors = 2;
    through_the_database(*state, image, &before);
    assert_true(holds(&before, FINDING_METADATA_CORRUPT));
    assert_true(holds(&before, FINDING_CORRUPT_BIT_SET));
    assert_true(holds(&before, FINDING_REFERENCE_ESCAPES));
    assert_true(holds(&before, FINDING_SNAPSHOT_OLD));
    assert_true(holds(&before, FINDING_NAME_UNSAFE));
    assert_true(holds(&before, FINDING_PERMISSIONS));
}

/* Ten times more leaks than at the audit before: that one is needed too. */
static void leaks_that_grew(void **state)
{
    _cleanup_(image_freep) struct image *image = fixture_image(&kit_datastore, "/srv/vms/a", 5,
                                                               NULL);
    _cleanup_(judgement_done) struct judgement before = { 0 };
    struct layer_report *layer = &image->audit->report->layers[0];

    image->audit_before = copy_audit(image->audit);
    image->audit_before->report->layers[0].check.leaks = 20;
    add_issues(layer, QCA_ISSUE_CLUSTER_LEAKED, 50);
    layer->check.leaks = 300;
    layer->check.leak_runs = 50;
    layer->check.burst_leaks = 20;
    layer->check.burst_offset = 65536;
    layer->check.burst_end = 1 << 20;
    through_the_database(*state, image, &before);
    assert_true(holds(&before, FINDING_LEAK_BURST));
}

static void not_opened(void **state)
{
    _cleanup_(image_freep) struct image *image = fixture_image(&kit_datastore, "/srv/vms/a", 5,
                                                               NULL);
    _cleanup_(judgement_done) struct judgement before = { 0 };
    struct audit_report *report;

    audit_report_free(image->audit->report);
    report = image->audit->report = calloc(1, sizeof(*report));
    assert_non_null(report);
    report->error = -EINVAL;
    fixture_error(&report->open_error, (struct qca_error){ .kind = QCA_ERROR_HEADER,
                                             .offset = 20,
                                             .value = UINT64_MAX,
                                             .bound = 21,
                                             .field = "cluster_bits",
                                             .text = "cluster_bits is out of range" });
    through_the_database(*state, image, &before);
    assert_true(holds(&before, FINDING_HEADER_INVALID));
}

static void worker_died(void **state)
{
    _cleanup_(image_freep) struct image *image = fixture_image(&kit_datastore, "/srv/vms/a", 5,
                                                               NULL);
    _cleanup_(judgement_done) struct judgement before = { 0 };
    struct audit_report *report;

    audit_report_free(image->audit->report);
    report = image->audit->report = calloc(1, sizeof(*report));
    assert_non_null(report);
    report->error = -ECHILD;
    report->worker_signal = 31;
    report->peak_memory = 12345;
    image->worker_deaths = 3;
    through_the_database(*state, image, &before);
    assert_true(holds(&before, FINDING_AUDIT_FAILED));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(damaged, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(leaks_that_grew, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(not_opened, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(worker_died, kit_setup, kit_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
