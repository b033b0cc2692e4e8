/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store in numbers: what is counted, how it is written, and the file that is replaced in one
 * step. */
#include "unit/store-fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "daemon/tell/tell.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

struct world {
    struct fixture_store store;
    struct findings *findings;
    struct policy policy;
    char *golden[2];
    struct query_view view;
    struct metrics_counters counters;
    char *text;
};

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    world->policy = (struct policy){ .golden = world->golden, .infer_golden = true };
    fixture_store_begin(&world->store, "pool", "/s", &world->policy);
    world->store.datastore.root.size = 1000;
    world->store.datastore.root.available = 400;
    (void)strcpy(world->store.datastore.root.type, "ext4");
    assert_int_equal(findings_new(&world->findings), 0);
    world->counters = (struct metrics_counters){ .version = "1.2", .started = 1700000000000001 };
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    findings_free(world->findings);
    fixture_store_end(&world->store);
    free(world->text);
    free(world);
    return 0;
}

static struct image *make(struct world *world, const char *path, const char *parent)
{
    return fixture_store_add(&world->store, path, parent,
                             T0_USEC + (world->store.n_images + 1) * USEC_PER_SEC);
}

static void find(struct world *world, int64_t id, enum finding_type type, enum severity severity,
                 enum finding_state state)
{
    struct finding *finding = calloc(1, sizeof(*finding));
    char subject[32];

    assert_non_null(finding);
    (void)snprintf(subject, sizeof(subject), "/s/%d", (int)id);
    *finding = (struct finding){
        .id = id, .type = type, .subject_kind = SUBJECT_IMAGE, .subject = strdup(subject),
        .datastore = strdup("pool"), .state = state, .severity = severity, .first_seen = T0_USEC,
        .evidence = json_object_new_object(), .resolved = state == FINDING_RESOLVED ? T0_USEC : 0,
    };
    assert_int_equal(findings_load(world->findings, finding, 0), 0);
}

static void write_text(struct world *world)
{
    size_t size = 0;

    assert_int_equal(graph_refresh(world->store.graph, NULL, NULL), 0);
    world->store.datastore.n_images = world->store.n_images;
    world->view = (struct query_view){
        .datastores = world->store.datastores, .n_datastores = 1, .images = world->store.images,
        .n_images = world->store.n_images,
        .graph = world->store.graph, .findings = world->findings, .policy = &world->policy,
        .now = T0_USEC,
    };
    free(world->text);
    world->text = NULL;
    assert_int_equal(metrics_text(&world->view, &world->counters, &world->text, &size), 0);
    assert_int_equal(strlen(world->text), size);
}

/* The whole line is there. */
static void assert_line(const struct world *world, const char *line)
{
    char wanted[200];

    (void)snprintf(wanted, sizeof(wanted), "\n%s\n", line);
    if (!strstr(world->text, wanted))
        fail_msg("no line '%s' in:\n%s", line, world->text);
}

static void test_empty(void **state)
{
    struct world *world = *state;

    write_text(world);
    assert_line(world, "qcaudit_build_info{version=\"1.2\"} 1");
    assert_line(world, "qcaudit_start_timestamp_seconds 1700000000.000001");
    assert_line(world, "qcaudit_images{datastore=\"pool\"} 0");
    assert_line(world, "qcaudit_datastore_online{datastore=\"pool\"} 1");
    assert_line(world, "qcaudit_left_out{datastore=\"pool\",reason=\"mount-remote\"} 0");
    assert_line(world, "qcaudit_left_out{datastore=\"pool\",reason=\"being-written\"} 0");
    assert_line(world, "qcaudit_files_seen{datastore=\"pool\"} 0");
    assert_line(world, "qcaudit_datastore_available_bytes{datastore=\"pool\"} 400");
    assert_line(
        world,
        "qcaudit_findings{name=\"metadata-corrupt\",severity=\"critical\",state=\"open\"} 0");
    assert_line(world, "qcaudit_chain_depth_layers_bucket{le=\"+Inf\"} 0");
    /* Nothing was audited and no pass was complete: 0 would be a day in 1970. */
    assert_null(strstr(world->text, "qcaudit_oldest_audit_timestamp_seconds"));
    assert_null(strstr(world->text, "qcaudit_last_pass_timestamp_seconds"));
}

static void test_images(void **state)
{
    struct world *world = *state;
    struct baseline baselines[2] = { { .since = T0_USEC, .verified = T0_USEC + 5 },
                                     { .since = T0_USEC + 2 } };
    struct image *leaky, *writing, *unaudited;

    make(world, "/s/a", NULL);
    make(world, "/s/a.snap1", "/s/a");
    make(world, "/s/a.snap2", "/s/a.snap1");
    leaky = make(world, "/s/d", NULL);
    leaky->audit->report->layers[0].check.leaks = 3;
    leaky->audit->report->layers[0].check.corruptions = 2;
    writing = make(world, "/s/e", NULL);
    writing->audit->report->layers[0].check.corruptions = 1920;
    writing->audit->confidence = CONFIDENCE_RACY;
    unaudited = make(world, "/s/f", NULL);
    audit_free(unaudited->audit);
    unaudited->audit = NULL;
    leaky->baseline = &baselines[0];
    writing->baseline = &baselines[1];
    write_text(world);
    leaky->baseline = writing->baseline = NULL;
    assert_line(world, "qcaudit_images_baselined 2");
    assert_line(world, "qcaudit_oldest_verification_timestamp_seconds 1700000000.000002");
    assert_line(world, "qcaudit_images{datastore=\"pool\"} 6");
    assert_line(world, "qcaudit_images_unaudited 1");
    assert_line(world, "qcaudit_chains 1");
    assert_line(world, "qcaudit_chain_depth_layers_bucket{le=\"2\"} 3");
    assert_line(world, "qcaudit_chain_depth_layers_bucket{le=\"3\"} 4");
    assert_line(world, "qcaudit_chain_depth_layers_sum 6");
    assert_line(world, "qcaudit_chain_depth_layers_count 4");
    assert_line(world, "qcaudit_chain_depth_max_layers 3");
    assert_line(world, "qcaudit_unconsolidated_depth_max_layers 2");
    assert_line(world, "qcaudit_leaked_bytes 196608");
    assert_line(world, "qcaudit_corruptions 2");      /* a writer's caches are no damage */
    assert_line(world, "qcaudit_oldest_audit_timestamp_seconds 1700000001.000000");
}

/* What somebody leaves alone on purpose does not get old, and is not offline. */
static void test_paused(void **state)
{
    struct world *world = *state;
    struct baseline baseline = { .since = T0_USEC };
    struct image *image = make(world, "/s/a", NULL);

    image->baseline = &baseline;
    world->store.datastore.state = DATASTORE_PAUSED;
    write_text(world);
    assert_line(world, "qcaudit_datastore_paused{datastore=\"pool\"} 1");
    assert_line(world, "qcaudit_datastore_online{datastore=\"pool\"} 0");
    assert_null(strstr(world->text, "qcaudit_oldest_audit_timestamp_seconds"));
    assert_null(strstr(world->text, "qcaudit_oldest_verification_timestamp_seconds"));
    world->store.datastore.state = DATASTORE_ONLINE;
    write_text(world);
    image->baseline = NULL;
    assert_line(world, "qcaudit_datastore_paused{datastore=\"pool\"} 0");
    assert_line(world, "qcaudit_oldest_verification_timestamp_seconds 1700000000.000000");
}

static void test_coverage(void **state)
{
    struct world *world = *state;
    struct image *image;

    write_text(world);
    assert_null(strstr(world->text, "\nqcaudit_coverage_ratio{"));    /* of nothing */
    make(world, "/s/a", NULL);
    make(world, "/s/b", NULL);
    write_text(world);
    assert_line(world, "qcaudit_coverage_ratio{datastore=\"pool\"} 1.000000");
    image = make(world, "/s/c", NULL);
    audit_free(image->audit);
    image->audit = NULL;
    write_text(world);
    assert_line(world, "qcaudit_coverage_ratio{datastore=\"pool\"} 0.666666");
}

static void test_virt(void **state)
{
    struct world *world = *state;
    struct virt_snapshot snapshots[] = { { .created = T0_USEC + 7 }, { .created = 0 } };
    struct virt_domain domain = { .snapshots = snapshots, .n_snapshots = 2 };
    struct virt_connection connections[] = {
        { .uri = (char[]){ "qemu:///system" }, .connected = true },
        { .uri = (char[]){ "test://a\"b/" } },
        { .uri = (char[]){ "lxc:///" }, .absent = true },
    };
    struct virt_status virt = { .connections = connections, .n_connections = 3,
                                .domains = &domain, .n_domains = 1 };

    write_text(world);
    assert_null(strstr(world->text, "\nqcaudit_libvirt_up{"));
    assert_null(strstr(world->text, "qcaudit_oldest_snapshot_timestamp_seconds"));
    world->counters.virt = &virt;
    write_text(world);
    world->counters.virt = NULL;
    assert_line(world, "qcaudit_libvirt_up{uri=\"qemu:///system\"} 1");
    assert_line(world, "qcaudit_libvirt_up{uri=\"test://a\\\"b/\"} 0");
    assert_null(strstr(world->text, "lxc:"));
    assert_line(world, "qcaudit_oldest_snapshot_timestamp_seconds 1700000000.000007");
}

/* What a hostile image says is not added up beyond what can be. */
static void test_sums_do_not_wrap(void **state)
{
    struct world *world = *state;

    for (int i = 0; i < 2; i++) {
        struct image *image = make(world, i ? "/s/a" : "/s/b", NULL);

        image->audit->report->layers[0].check.leaks = UINT64_MAX / 2;
        image->audit->report->layers[0].check.corruptions = UINT64_MAX - 1;
    }
    write_text(world);
    assert_line(world, "qcaudit_leaked_bytes 18446744073709551615");
    assert_line(world, "qcaudit_corruptions 18446744073709551615");
}

static void test_findings(void **state)
{
    struct world *world = *state;

    find(world, 1, FINDING_CHAIN_DEEP, SEVERITY_WARNING, FINDING_OPEN);
    find(world, 2, FINDING_CHAIN_DEEP, SEVERITY_WARNING, FINDING_OPEN);
    find(world, 3, FINDING_CHAIN_DEEP, SEVERITY_ERROR, FINDING_ACKNOWLEDGED);
    find(world, 4, FINDING_CHAIN_DEEP, SEVERITY_CRITICAL, FINDING_RESOLVED);
    find(world, 5, FINDING_CHAIN_DEEP, SEVERITY_WARNING, FINDING_ACKNOWLEDGED);
    findings_by_id(world->findings, 5)->muted_by = 1;
    write_text(world);
    assert_line(world,
                "qcaudit_findings{name=\"chain-deep\",severity=\"warning\",state=\"muted\"} 1");
    assert_line(world,
                "qcaudit_findings{name=\"chain-deep\",severity=\"warning\",state=\"open\"} 2");
    assert_line(
        world, "qcaudit_findings{name=\"chain-deep\",severity=\"error\",state=\"acknowledged\"} 1");
    assert_line(world,
                "qcaudit_findings{name=\"chain-deep\",severity=\"critical\",state=\"open\"} 0");
    assert_line(world, "qcaudit_findings_by_severity{severity=\"warning\",state=\"open\"} 2");
    assert_line(world, "qcaudit_findings_by_severity{severity=\"warning\",state=\"muted\"} 1");
    assert_line(world,
                "qcaudit_findings_by_severity{severity=\"error\",state=\"acknowledged\"} 1");
    assert_line(world, "qcaudit_findings_by_severity{severity=\"critical\",state=\"muted\"} 0");
}

/* A pool's name may be anything; a line must stay a line, and UTF-8. */
static void test_labels(void **state)
{
    struct world *world = *state;

    free(world->store.datastore.name);
    world->store.datastore.name = strdup("a\"b\nc\xff");
    write_text(world);
    assert_line(world, "qcaudit_images{datastore=\"a\\\"b\\\\nc\\\\xff\"} 0");
}

static void test_counters(void **state)
{
    struct world *world = *state;

    world->counters.passes = 2;
    world->counters.passes_took = 3500000;
    world->counters.last_pass = T0_USEC;
    world->counters.last_pass_took = 1500000;
    world->counters.bytes_read = 4096;
    world->counters.workers_failed = 1;
    world->counters.store_error = -28;
    world->counters.scrubs = 4;
    world->counters.scrub_bytes = 2048;
    world->counters.scrubs_running = 1;
    world->counters.scrubs_due = 9;
    world->counters.scrub_done = 10;
    world->counters.scrub_total = 40;
    world->counters.alerts[ALERT_JOURNAL].sent = 6;
    world->counters.alerts[ALERT_EXEC].failed = 5;
    write_text(world);
    assert_line(world, "qcaudit_passes_total 2");
    assert_line(world, "qcaudit_pass_duration_seconds_total 3.500000");
    assert_line(world, "qcaudit_last_pass_duration_seconds 1.500000");
    assert_line(world, "qcaudit_last_pass_timestamp_seconds 1700000000.000000");
    assert_line(world, "qcaudit_read_bytes_total 4096");
    assert_line(world, "qcaudit_workers_failed_total 1");
    assert_line(world, "qcaudit_database_failed 1");
    assert_line(world, "qcaudit_scrubs_total 4");
    assert_line(world, "qcaudit_scrub_read_bytes_total 2048");
    assert_line(world, "qcaudit_scrubs_running 1");
    assert_line(world, "qcaudit_scrubs_due 9");
    assert_line(world, "qcaudit_scrub_done_bytes 10");
    assert_line(world, "qcaudit_scrub_size_bytes 40");
    assert_line(world, "qcaudit_alerts_sent_total{channel=\"journal\"} 6");
    assert_line(world, "qcaudit_alerts_sent_total{channel=\"syslog\"} 0");
    assert_line(world, "qcaudit_alerts_failed_total{channel=\"exec\"} 5");
}

/* ---- the file -------------------------------------------------------------------------------- */

struct written {
    sd_event *event;
    int error;
};

static void on_written(void *userdata, int error)
{
    struct written *written = userdata;

    written->error = error;
}

static int write_file(struct metrics_file *file, struct written *written, const char *path,
                      const char *text)
{
    written->error = 1;
    assert_int_equal(metrics_file_write(file, path, 0640, strdup(text), strlen(text)), 0);
    while (written->error == 1)
        assert_true(sd_event_run(written->event, UINT64_MAX) >= 0);
    return written->error;
}

static void test_file(void **state)
{
    char folder[] = "/tmp/qca-metrics.XXXXXX", path[64], other[64], got[16] = "";
    struct written written = { .error = 0 };
    struct metrics_file *file = NULL;
    struct stat st;
    mode_t mask;
    int fd;

    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/a.prom", folder);
    (void)snprintf(other, sizeof(other), "%s/b.prom", folder);
    assert_int_equal(sd_event_new(&written.event), 0);
    assert_int_equal(metrics_file_new(written.event, on_written, &written, &file), 0);
    mask = umask(0077);
    assert_int_equal(write_file(file, &written, path, "first\n"), 0);
    assert_int_equal(write_file(file, &written, path, "second\n"), 0);
    (void)umask(mask);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, got, sizeof(got) - 1), 7);
    assert_string_equal(got, "second\n");
    close(fd);
    assert_int_equal(write_file(file, &written, other, "third\n"), 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(other, F_OK), 0);
    metrics_file_remove(file);
    assert_int_equal(rmdir(folder), 0);         /* nothing is left in it */
    metrics_file_free(file);
    sd_event_unref(written.event);
}

static void test_file_errors(void **state)
{
    struct written written = { .error = 0 };
    struct metrics_file *file = NULL;

    assert_int_equal(sd_event_new(&written.event), 0);
    assert_int_equal(metrics_file_new(written.event, on_written, &written, &file), 0);
    assert_int_equal(write_file(file, &written, "/nonexistent/a.prom", "x\n"), -ENOENT);
    metrics_file_free(file);
    sd_event_unref(written.event);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_images, setup, teardown),
        cmocka_unit_test_setup_teardown(test_paused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_coverage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_virt, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sums_do_not_wrap, setup, teardown),
        cmocka_unit_test_setup_teardown(test_findings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_labels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counters, setup, teardown),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_file_errors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
