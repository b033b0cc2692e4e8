/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The past, as it is asked of the database: what was open at a time, what differs between two, and
 * which audits are of one disk. */
#include "store-kit.h"

#define HOUR (UINT64_C(3600) * USEC_PER_SEC)
#define T(n) (KIT_NOW + (n) * HOUR)

static void put_event(struct kit *kit, struct finding *finding, enum event_type type, uint64_t at,
                      enum severity severity)
{
    struct store_batch *batch;
    struct event event;

    finding->severity = severity;
    event = kit_make_event(finding, type, at);
    assert_int_equal(store_batch_new(&batch), 0);
    assert_int_equal(store_batch_event(batch, &event), 0);
    kit_commit(kit, batch);
}

static void put_finding(struct kit *kit, const struct finding *finding)
{
    struct store_batch *batch;

    assert_int_equal(store_batch_new(&batch), 0);
    assert_int_equal(store_batch_finding(batch, finding), 0);
    kit_commit(kit, batch);
}

static int ask(struct kit *kit, const struct history_question *question)
{
    unsigned n = kit->n_read;
    int r;

    json_object_put(kit->rows);
    kit->rows = NULL;
    r = store_history(kit->store, question, kit_rows, kit);
    if (r < 0)
        return r;
    kit_wait(kit, &kit->n_read, n + 1);
    return kit->read_error;
}

static const char *text_of(json_object *row, const char *key)
{
    json_object *value = NULL;

    return json_object_object_get_ex(row, key, &value) ? json_object_get_string(value) : "-";
}

/* "SUBJECT KEY1 KEY2 KEY3, ..." of all rows, in their order. */
static void assert_rows(struct kit *kit, const char *const *keys, const char *expected)
{
    char text[2000] = "";
    size_t at = 0;

    for (size_t i = 0; i < json_object_array_length(kit->rows); i++) {
        json_object *row = json_object_array_get_idx(kit->rows, i);

        for (const char *const *key = keys; *key; key++)
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s",
                                   key > keys ? " " : i > 0 ? ", " : "", text_of(row, *key));
    }
    assert_string_equal(text, expected);
}

static void assert_at(struct kit *kit, uint64_t when, const char *expected)
{
    static const char *const keys[] = { "subject", "state", "severity", "inferred", NULL };

    assert_int_equal(ask(kit, HISTORY(.of = HISTORY_FINDINGS_AT, .until = when)), 0);
    assert_rows(kit, keys, expected);
}

static void assert_changes(struct kit *kit, uint64_t since, uint64_t until, const char *expected)
{
    static const char *const keys[] = { "subject", "change", "severity-before", "severity", NULL };

    assert_int_equal(ask(kit, HISTORY(.of = HISTORY_CHANGES, .since = since, .until = until)), 0);
    assert_rows(kit, keys, expected);
}

/* One life: opened, worse, acknowledged, easier, resolved, opened again. */
static void make_life(struct kit *kit, const char *subject)
{
    struct finding finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, subject);

    put_event(kit, &finding, EVENT_OPENED, T(1), SEVERITY_WARNING);
    put_event(kit, &finding, EVENT_WORSENED, T(2), SEVERITY_ERROR);
    put_event(kit, &finding, EVENT_ACKNOWLEDGED, T(3), SEVERITY_ERROR);
    put_event(kit, &finding, EVENT_MUTED, T(3) + 1, SEVERITY_ERROR);
    put_event(kit, &finding, EVENT_UNMUTED, T(3) + 2, SEVERITY_ERROR);
    put_event(kit, &finding, EVENT_EASED, T(4), SEVERITY_WARNING);
    put_event(kit, &finding, EVENT_MUTED, T(4), SEVERITY_WARNING);
    put_event(kit, &finding, EVENT_UNMUTED, T(4) + 1, SEVERITY_WARNING);
    put_event(kit, &finding, EVENT_RESOLVED, T(5), SEVERITY_WARNING);
    put_event(kit, &finding, EVENT_REOPENED, T(6), SEVERITY_CRITICAL);
    put_event(kit, &finding, EVENT_REMINDER, T(7), SEVERITY_CRITICAL);
}

static void open_at_a_time(void **state)
{
    struct kit *kit = *state;

    kit_open(kit);
    make_life(kit, "/a");
    assert_at(kit, T(1) - 1, "");
    assert_at(kit, T(1), "/a open warning -");
    assert_at(kit, T(2) - 1, "/a open warning -");
    assert_at(kit, T(2), "/a open error -");
    assert_at(kit, T(3), "/a acknowledged error -");
    assert_at(kit, T(3) + 1, "/a acknowledged error -");
    assert_at(kit, T(3) + 2, "/a acknowledged error -");
    assert_at(kit, T(4), "/a acknowledged warning -");
    assert_at(kit, T(5), "");
    assert_at(kit, T(6), "/a open critical -");
    assert_at(kit, T(100), "/a open critical -");
    assert_int_equal(ask(kit, HISTORY(.of = HISTORY_FINDINGS_AT)), -EINVAL);
}

/* Of each, one that opens, one that ends, one that does both; what is as it was is no change. */
static void differences(void **state)
{
    struct kit *kit = *state;
    struct finding stays;

    kit_open(kit);
    make_life(kit, "/a");
    stays = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/stays");
    put_event(kit, &stays, EVENT_OPENED, T(0), SEVERITY_WARNING);
    put_event(kit, &stays, EVENT_REMINDER, T(3), SEVERITY_WARNING);
    assert_changes(kit, T(1) - 1, T(1), "/a opened - warning");
    assert_changes(kit, T(1), T(2), "/a worsened warning error");
    assert_changes(kit, T(2), T(3), "");
    assert_changes(kit, T(2), T(4), "/a eased error warning");
    assert_changes(kit, T(1), T(4), "");
    assert_changes(kit, T(1), T(5), "/a resolved warning warning");
    assert_changes(kit, T(1) - 1, T(5), "/a passed - warning");
    assert_changes(kit, T(4), T(8), "/a worsened warning critical");
    assert_changes(kit, T(7), T(9), "");
    assert_changes(kit, T(0) - 1, T(0), "/stays opened - warning");
    assert_int_equal(ask(kit, HISTORY(.of = HISTORY_CHANGES, .since = T(2), .until = T(1))),
                     -EINVAL);
}

/* Events that are gone: the first that is left says what was before it, or the finding itself. */
static void before_the_oldest_event(void **state)
{
    struct kit *kit = *state;
    struct finding old, silent, young, gone;

    kit_open(kit);
    make_life(kit, "/a");
    old = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/old");
    old.first_seen = T(0);
    put_finding(kit, &old);
    put_event(kit, &old, EVENT_UNACKNOWLEDGED, T(4), SEVERITY_ERROR);
    put_event(kit, &old, EVENT_RESOLVED, T(5), SEVERITY_ERROR);
    silent = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/silent");
    silent.first_seen = T(2);
    silent.state = FINDING_ACKNOWLEDGED;
    put_finding(kit, &silent);
    young = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/young");
    young.first_seen = T(6);
    put_finding(kit, &young);
    gone = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/gone");
    gone.first_seen = T(0);
    gone.resolved = T(4);
    gone.state = FINDING_RESOLVED;
    put_finding(kit, &gone);
    kit_sql_run(kit, "DELETE FROM event WHERE type IN ('opened', 'worsened', 'reopened')");
    assert_at(kit, T(0) - 1, "/a open error true");
    assert_at(kit, T(1), "/gone open error true, /old acknowledged error true, /a open error true");
    assert_at(kit, T(3), "/gone open error true, /silent acknowledged error true, "
                         "/old acknowledged error true, /a acknowledged error -");
    assert_at(kit, T(5), "/silent acknowledged error true");
    /* What was opened again was not open before. */
    kit_sql_run(kit, "UPDATE event SET type = 'reopened' WHERE subject = CAST('/a' AS BLOB)");
    assert_at(kit, T(1), "/gone open error true, /old acknowledged error true");
}

static void pages_go_on(void **state)
{
    struct kit *kit = *state;
    static const char *const keys[] = { "subject", NULL };

    kit_open(kit);
    for (unsigned i = 0; i < 5; i++) {
        struct finding finding = kit_make_finding(kit, FINDING_CHAIN_DEEP,
                                                  (const char *[]){ "/0", "/1", "/2", "/3",
                                                                    "/4" }[i]);

        put_event(kit, &finding, EVENT_OPENED, T(0), SEVERITY_ERROR);
    }
    assert_int_equal(ask(kit, HISTORY(.of = HISTORY_FINDINGS_AT, .until = T(1), .limit = 2)), 0);
    assert_rows(kit, keys, "/4, /3");
    assert_int_equal(ask(kit, HISTORY(.of = HISTORY_FINDINGS_AT, .until = T(1), .limit = 2,
                                      .cursor = kit->next)), 0);
    assert_rows(kit, keys, "/2, /1");
    assert_int_equal(ask(kit, HISTORY(.of = HISTORY_FINDINGS_AT, .until = T(1), .limit = 2,
                                      .cursor = kit->next)), 0);
    assert_rows(kit, keys, "/0");
    assert_string_equal(kit->next, "");
}

/* Whole since the database was made, until an event is gone; then since the newest of those that
 * are. */
static void record_begins(void **state)
{
    struct kit *kit = *state;
    struct finding finding;
    char created[32];

    kit_open(kit);
    snprintf(created, sizeof(created), "%lld",
             (long long)kit_sql(kit, "SELECT created FROM state"));
    assert_int_equal(ask(kit, HISTORY(.of = HISTORY_RECORD)), 0);
    assert_string_equal(text_of(kit->rows, "begins"), created);
    finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/a");
    put_event(kit, &finding, EVENT_OPENED, T(1), SEVERITY_ERROR);
    put_event(kit, &finding, EVENT_RESOLVED, T(2), SEVERITY_ERROR);
    assert_int_equal(ask(kit, HISTORY(.of = HISTORY_RECORD)), 0);
    assert_string_equal(text_of(kit->rows, "begins"), created);
    kit_sql_run(kit, "UPDATE state SET events_swept = created + 5");
    assert_int_equal(ask(kit, HISTORY(.of = HISTORY_RECORD)), 0);
    assert_int_equal(strtoll(text_of(kit->rows, "begins"), NULL, 10),
                     kit_sql(kit, "SELECT created + 5 FROM state"));
    /* Events that are older than the database. */
    kit_sql_run(kit, "UPDATE state SET events_swept = created - 5");
    assert_int_equal(ask(kit, HISTORY(.of = HISTORY_RECORD)), 0);
    assert_string_equal(text_of(kit->rows, "begins"), created);
}

/* ---- disks --------------------------------------------------------------------------------- */

/* An image with this parent, NULL none, and an audit at a time; of a depth that is its number. */
static void put_image(struct kit *kit, const char *path, const char *parent, uint64_t at,
                      unsigned number)
{
    struct layer_report layer = { .checked = true };
    struct audit_report report = { .layers = &layer, .n_layers = 1 };
    struct audit audit = kit_make_audit(at, &report);
    struct image image = kit_make_image(path);
    struct store_batch *batch;
    char sql[200];

    if (parent)
        image.parent = (struct reference){ .state = REFERENCE_FOUND,
                                           .path = (char *)(uintptr_t)parent };
    assert_int_equal(store_batch_new(&batch), 0);
    assert_int_equal(store_batch_image(batch, &image), 0);
    assert_int_equal(store_batch_audit(batch, &image, &audit), 0);
    kit_commit(kit, batch);
    snprintf(sql, sizeof(sql), "UPDATE audit SET depth = %u WHERE id = (SELECT max(id) FROM audit)",
             number);
    kit_sql_run(kit, sql);
    /* It is written down by the clock. */
    snprintf(sql, sizeof(sql),
             "UPDATE overlay_history SET since = %llu WHERE since > %llu AND until = 0",
             (unsigned long long)at, (unsigned long long)T(1000));
    kit_sql_run(kit, sql);
}

static void move_disk(struct kit *kit, const char *overlay, const char *parent, uint64_t at)
{
    struct store_batch *batch;

    assert_int_equal(store_batch_new(&batch), 0);
    assert_int_equal(store_batch_disk_move(batch, overlay, parent, at), 0);
    kit_commit(kit, batch);
}

static void remove_image(struct kit *kit, const char *path, uint64_t at)
{
    struct store_batch *batch;
    char sql[200];

    assert_int_equal(store_batch_new(&batch), 0);
    assert_int_equal(store_batch_image_gone(batch, path), 0);
    kit_commit(kit, batch);
    snprintf(sql, sizeof(sql), "UPDATE overlay_history SET until = %llu WHERE until > %llu",
             (unsigned long long)at, (unsigned long long)T(1000));
    kit_sql_run(kit, sql);
}

static void assert_disk(struct kit *kit, const char *path, const char *expected)
{
    static const char *const keys[] = { "path", "depth", NULL };

    assert_int_equal(ask(kit, HISTORY(.of = HISTORY_DISK_AUDITS, .path = path)), 0);
    assert_rows(kit, keys, expected);
}

/* Each layer counts until the next is made above it. */
static void a_disk_is_all_its_layers(void **state)
{
    struct kit *kit = *state;

    kit_open(kit);
    put_image(kit, "/base", NULL, T(1), 1);
    put_image(kit, "/one", "/base", T(2), 2);
    put_image(kit, "/two", "/one", T(3), 3);
    put_image(kit, "/one", "/base", T(4), 2);   /* of a layer that is covered */
    put_image(kit, "/two", "/one", T(5), 3);
    assert_disk(kit, "/two", "/two 3, /two 3, /one 2, /base 1");
    assert_disk(kit, "/other", "");
    /* Its name changes. */
    {
        struct store_batch *batch;

        assert_int_equal(store_batch_new(&batch), 0);
        assert_int_equal(store_batch_renamed(batch, "/one", "/first"), 0);
        kit_commit(kit, batch);
    }
    assert_disk(kit, "/two", "/two 3, /two 3, /first 2, /base 1");
    /* It is copied into one file, and its parents stay. */
    put_image(kit, "/two", NULL, T(6), 1);
    assert_disk(kit, "/two", "/two 1, /two 3, /two 3, /first 2, /base 1");
}

/* What others use, too, or a golden image, is no layer of one disk alone. */
static void what_is_shared_is_not_the_disks(void **state)
{
    struct kit *kit = *state;

    kit_open(kit);
    put_image(kit, "/base", NULL, T(1), 1);
    put_image(kit, "/clone-a", "/base", T(2), 2);
    put_image(kit, "/clone-b", "/base", T(3), 2);
    put_image(kit, "/leaf-a", "/clone-a", T(4), 3);
    assert_disk(kit, "/leaf-a", "/leaf-a 3, /clone-a 2");
    assert_disk(kit, "/clone-b", "/clone-b 2");
    assert_disk(kit, "/base", "/base 1");
    /* A disk that was seen to move came from there, whoever else uses it. */
    move_disk(kit, "/clone-a", "/base", T(2));
    assert_disk(kit, "/leaf-a", "/leaf-a 3, /clone-a 2, /base 1");
    kit_sql_run(kit, "INSERT INTO baseline (fsid, inode, btime, path, source, since, verified,"
                     " virtual_size, zeros, size, allocated, mtime, ctime, mode, uid, gid, links,"
                     " attributes, parent_fsid, parent_inode, parent_btime, gone) VALUES (1, 1, 1,"
                     " CAST('/clone-a' AS BLOB), 'policy', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,"
                     " 1, 1, 1, 0)");
    assert_disk(kit, "/leaf-a", "/leaf-a 3");
}

/* A snapshot that was committed: its overlay is gone, and the disk was there and came back. */
static void a_disk_that_came_back(void **state)
{
    struct kit *kit = *state;

    kit_open(kit);
    put_image(kit, "/base", NULL, T(1), 1);
    put_image(kit, "/snap", "/base", T(2), 2);
    move_disk(kit, "/snap", "/base", T(2));
    put_image(kit, "/more", "/snap", T(3), 3);
    move_disk(kit, "/more", "/snap", T(3));
    remove_image(kit, "/more", T(4));
    remove_image(kit, "/snap", T(4));
    put_image(kit, "/base", NULL, T(5), 1);
    assert_disk(kit, "/base", "/base 1, /more 3, /snap 2, /base 1");
    /* A clone that came and went is no part of it. */
    put_image(kit, "/clone", "/base", T(6), 2);
    remove_image(kit, "/clone", T(7));
    put_image(kit, "/base", NULL, T(8), 1);
    assert_disk(kit, "/base", "/base 1, /base 1, /more 3, /snap 2, /base 1");
}

/* Events of a disk are those of its layers, and of what they stand on. */
static void events_of_a_disk(void **state)
{
    static const char *const keys[] = { "subject", NULL };
    struct kit *kit = *state;
    struct finding finding;

    kit_open(kit);
    put_image(kit, "/golden", NULL, T(1), 1);
    put_image(kit, "/a", "/golden", T(2), 2);
    put_image(kit, "/b", "/golden", T(2), 2);
    put_image(kit, "/a2", "/a", T(3), 3);
    for (unsigned i = 0; i < 4; i++) {
        finding = kit_make_finding(kit, FINDING_CHAIN_DEEP,
                                   (const char *[]){ "/golden", "/a", "/a2", "/b" }[i]);
        put_event(kit, &finding, EVENT_OPENED, T(4), SEVERITY_ERROR);
    }
    assert_int_equal(ask(kit, HISTORY(.of = HISTORY_EVENTS, .path = "/a2", .disk = true)), 0);
    assert_rows(kit, keys, "/a2, /a, /golden");
    assert_int_equal(ask(kit, HISTORY(.of = HISTORY_EVENTS, .path = "/b", .disk = true)), 0);
    assert_rows(kit, keys, "/b, /golden");
    assert_int_equal(ask(kit, HISTORY(.of = HISTORY_EVENTS, .path = "/a2")), 0);
    assert_rows(kit, keys, "/a2");
}

static void put_space(struct kit *kit, const char *name, uint64_t at, uint64_t size,
                      uint64_t available)
{
    struct datastore datastore = kit_datastore;
    struct store_batch *batch;

    datastore.name = (char *)(uintptr_t)name;
    datastore.root = (struct files_root){ .size = size, .available = available };
    series_add(&datastore.available, at, available, 1);
    assert_int_equal(store_batch_new(&batch), 0);
    assert_int_equal(store_batch_datastore(batch, &datastore), 0);
    kit_commit(kit, batch);
}

/* The first of each hour, in the order in which they were written. */
static void the_space_of_a_datastore(void **state)
{
    static const char *const keys[] = { "at", "size", "available", NULL };
    const uint64_t minute = 60 * USEC_PER_SEC, begin = KIT_NOW / HOUR * HOUR;
    struct history_question question = { .of = HISTORY_SPACE, .datastore = "vms" };
    struct kit *kit = *state;
    char expected[400];

    kit_open(kit);
    put_space(kit, "vms", begin, 1000, 900);
    put_space(kit, "vms", begin + minute, 1000, 899);
    put_space(kit, "other", begin + minute, 77, 7);
    put_space(kit, "vms", begin + HOUR - 1, 1000, 898);
    put_space(kit, "vms", begin + HOUR, 2000, 897);
    /* not known yet, or the clock was set back: what that hour has stays */
    put_space(kit, "vms", begin + 2 * HOUR, 0, 0);
    put_space(kit, "vms", begin + 30 * minute, 1000, 1);
    put_space(kit, "vms", begin - minute, UINT64_MAX, UINT64_MAX - 1);
    assert_int_equal(ask(kit, &question), 0);
    (void)snprintf(expected, sizeof(expected),
                   "%" PRIu64 " 18446744073709551615 18446744073709551614, "
                   "%" PRIu64 " 2000 897, %" PRIu64 " 1000 900",
                   begin - minute, begin + HOUR, begin);
    assert_rows(kit, keys, expected);
    /* a part of it, and pages */
    question.since = begin;
    question.until = begin + HOUR - 1;
    assert_int_equal(ask(kit, &question), 0);
    (void)snprintf(expected, sizeof(expected), "%" PRIu64 " 1000 900", begin);
    assert_rows(kit, keys, expected);
    question = (struct history_question){ .of = HISTORY_SPACE, .datastore = "vms", .limit = 2 };
    assert_int_equal(ask(kit, &question), 0);
    assert_int_equal(json_object_array_length(kit->rows), 2);
    question.datastore = "nowhere";
    assert_int_equal(ask(kit, &question), 0);
    assert_int_equal(json_object_array_length(kit->rows), 0);
    question.datastore = NULL;
    assert_int_equal(ask(kit, &question), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(open_at_a_time, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(differences, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(before_the_oldest_event, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(pages_go_on, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(record_begins, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(a_disk_is_all_its_layers, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(what_is_shared_is_not_the_disks, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(a_disk_that_came_back, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(events_of_a_disk, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(the_space_of_a_datastore, kit_setup, kit_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
