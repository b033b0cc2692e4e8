/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store in bad times: damaged files, another version's, another daemon's; nothing of them is
 * lost. */
#include "store-kit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct store_batch *new_batch(void)
{
    struct store_batch *batch;

    assert_int_equal(store_batch_new(&batch), 0);
    return batch;
}

/* n images with an audit, a finding and an event each, and a clean stop. */
static void fill_and_close(struct kit *kit, unsigned n)
{
    struct layer_report layer = { .info = { .format = QCA_FORMAT_RAW } };
    struct audit_report report = { .layers = &layer, .n_layers = 1 };
    struct store_batch *batch = new_batch();

    kit_open(kit);
    for (unsigned i = 0; i < n; i++) {
        char path[64];
        struct image image;
        struct audit audit = kit_make_audit(KIT_NOW, &report);
        struct finding finding;
        struct event event;

        snprintf(path, sizeof(path), "/srv/vms/disk-%u.qcow2", i);
        image = kit_make_image(path);
        finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, path);
        event = kit_make_event(&finding, EVENT_OPENED, KIT_NOW + i);
        assert_int_equal(store_batch_image(batch, &image), 0);
        assert_int_equal(store_batch_audit(batch, &image, &audit), 0);
        assert_int_equal(store_batch_finding(batch, &finding), 0);
        assert_int_equal(store_batch_event(batch, &event), 0);
    }
    kit_commit(kit, batch);
    kit_close(kit);
}

static void write_file(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), size);
    close(fd);
}

static char *read_file(const char *path, size_t *ret_size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *data;

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    data = malloc((size_t)st.st_size + 1);
    assert_non_null(data);
    assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
    close(fd);
    *ret_size = (size_t)st.st_size;
    return data;
}

/* Overwrites the root page of a table or index (one that sweeping does not look into) with what no
 * page looks like. */
static void break_root(struct kit *kit, const char *name)
{
    char sql[128], junk[4096];
    int64_t page, size;
    int fd;

    snprintf(sql, sizeof(sql), "SELECT rootpage FROM sqlite_master WHERE name = '%s'", name);
    page = kit_sql(kit, sql);
    size = kit_sql(kit, "PRAGMA page_size");
    assert_true(page > 1 && size == sizeof(junk));
    memset(junk, 0x5a, sizeof(junk));
    fd = open(kit->database, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, junk, sizeof(junk), (page - 1) * size), sizeof(junk));
    close(fd);
}

static void works(struct kit *kit)
{
    struct image image = kit_make_image("/srv/vms/new");
    struct store_batch *batch = new_batch();

    assert_int_equal(store_batch_image(batch, &image), 0);
    kit_commit(kit, batch);
    kit_reopen(kit);
    assert_null(kit->aside);
    assert_non_null(kit_image(kit, "/srv/vms/new"));
}

/* The database now at kit->database is put aside when opened, byte for byte, its log with it. */
static void put_aside_at_open(struct kit *kit)
{
    char wal[128], aside_wal[256], *before, *after, *log;
    size_t n_before, n_after, n_log;

    snprintf(wal, sizeof(wal), "%s-wal", kit->database);
    write_file(wal, "an old log", 10);
    before = read_file(kit->database, &n_before);
    kit_open(kit);
    assert_non_null(kit->aside);
    assert_memory_equal(kit->aside, kit->database, strlen(kit->database));
    assert_non_null(strstr(kit->aside, ".damaged-"));
    after = read_file(kit->aside, &n_after);
    assert_int_equal(n_after, n_before);
    assert_memory_equal(after, before, n_before);
    snprintf(aside_wal, sizeof(aside_wal), "%s-wal", kit->aside);
    log = read_file(aside_wal, &n_log);
    kit_load(kit);
    assert_int_equal(kit->n_images, 0);
    works(kit);
    free(before);
    free(after);
    free(log);
}

static void no_database(void **state)
{
    struct kit *kit = *state;
    char junk[100000];

    for (size_t i = 0; i < sizeof(junk); i++)
        junk[i] = (char)(i * 7 + i / 256);
    write_file(kit->database, junk, sizeof(junk));
    put_aside_at_open(kit);
}

static void short_text(void **state)
{
    struct kit *kit = *state;

    write_file(kit->database, "this is no database\n", 20);
    put_aside_at_open(kit);
}

static void truncated(void **state)
{
    struct kit *kit = *state;

    fill_and_close(kit, 200);
    assert_int_equal(truncate(kit->database, 6000), 0);
    put_aside_at_open(kit);
}

static void schema_lost(void **state)
{
    struct kit *kit = *state;

    fill_and_close(kit, 10);
    kit_sql_run(kit, "DROP TABLE event");
    put_aside_at_open(kit);
}

static void state_broken(void **state)
{
    struct kit *kit = *state;

    fill_and_close(kit, 10);
    break_root(kit, "state");
    put_aside_at_open(kit);
}

static void findings_broken(void **state)
{
    struct kit *kit = *state;

    fill_and_close(kit, 500);
    break_root(kit, "finding");
    put_aside_at_open(kit);
}

/* Two within one second do not meet. */
static void twice(void **state)
{
    struct kit *kit = *state;
    char first[160];

    write_file(kit->database, "this is no database\n", 20);
    kit_open(kit);
    snprintf(first, sizeof(first), "%s", kit->aside);
    kit_close(kit);
    write_file(kit->database, "this is none either\n", 20);
    kit_open(kit);
    assert_string_not_equal(first, kit->aside);
    assert_int_equal(access(first, F_OK), 0);
    assert_int_equal(access(kit->aside, F_OK), 0);
}

/* Nothing of ours: neither followed nor moved. */
static void not_a_file(void **state)
{
    struct kit *kit = *state;

    assert_int_equal(mkdir(kit->database, 0700), 0);
    assert_int_equal(kit_try_open(kit), -EISDIR);
    assert_int_equal(rmdir(kit->database), 0);
    assert_int_equal(symlink("/tmp/elsewhere", kit->database), 0);
    assert_int_equal(kit_try_open(kit), -ELOOP);
    assert_int_equal(unlink(kit->database), 0);
    kit_open(kit);
    works(kit);
}

static void found_by_quick_check(void **state)
{
    struct kit *kit = *state;

    fill_and_close(kit, 500);
    break_root(kit, "audit_by_image");
    kit_open(kit);
    assert_null(kit->aside);
    assert_int_equal(store_quick_check(kit->store), 0);
    kit_wait(kit, &kit->n_damaged, 1);
    assert_int_equal(access(kit->damaged, F_OK), 0);
    works(kit);
    assert_int_equal(kit->n_damaged, 1);
}

/* The batch that met the damage is in the new database. */
static void found_by_write(void **state)
{
    struct kit *kit = *state;
    struct finding finding;
    struct event event;
    struct store_batch *batch = new_batch();

    fill_and_close(kit, 500);
    break_root(kit, "event_by_subject");
    kit_open(kit);
    finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/srv/vms/a");
    assert_true(finding.id > 500);
    event = kit_make_event(&finding, EVENT_OPENED, KIT_NOW);
    assert_int_equal(store_batch_finding(batch, &finding), 0);
    assert_int_equal(store_batch_event(batch, &event), 0);
    kit_commit(kit, batch);
    kit_wait(kit, &kit->n_damaged, 1);
    assert_int_equal(access(kit->damaged, F_OK), 0);
    kit_reopen(kit);
    assert_int_equal(kit->n_findings, 1);
    assert_int_equal(kit->findings[0]->id, finding.id);
    assert_int_equal(kit->n_events, 1);
    assert_int_equal(kit->n_trouble, 0);
}

/* Nothing goes to a file that is not there any more. */
static void lost(struct kit *kit, const char *aside)
{
    struct store_batch *batch = new_batch();
    struct finding finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/srv/vms/a");

    assert_int_equal(store_batch_finding(batch, &finding), 0);
    kit_commit(kit, batch);
    kit_wait(kit, &kit->n_damaged, 1);
    assert_int_equal(strlen(kit->damaged) > 0, aside != NULL);
    if (aside)
        assert_int_equal(access(kit->damaged, F_OK), 0);
    kit_reopen(kit);
    assert_null(kit->aside);
    assert_int_equal(kit->n_findings, 1);
    assert_int_equal(kit->findings[0]->id, finding.id);
    works(kit);
}

static void removed_in_use(void **state)
{
    struct kit *kit = *state;
    char log[128];

    fill_and_close(kit, 5);
    kit_open(kit);
    works(kit);
    snprintf(log, sizeof(log), "%s-wal", kit->database);
    assert_int_equal(unlink(log), 0);
    assert_int_equal(unlink(kit->database), 0);
    lost(kit, NULL);
    /* And again at once: there is no file to be put aside too often. */
    kit->n_damaged = 0;
    assert_int_equal(unlink(kit->database), 0);
    lost(kit, NULL);
}

static void replaced_in_use(void **state)
{
    struct kit *kit = *state;

    fill_and_close(kit, 5);
    kit_open(kit);
    works(kit);
    assert_int_equal(unlink(kit->database), 0);
    write_file(kit->database, "something else", 14);
    lost(kit, kit->database);
}

/* It comes back as it was, and nothing is lost; meanwhile whoever looks is told. */
static void folder_moved_in_use(void **state)
{
    struct kit *kit = *state;
    struct store_batch *batch = new_batch();
    struct finding finding;
    char away[128];

    fill_and_close(kit, 5);
    kit_open(kit);
    finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/srv/vms/a");
    snprintf(away, sizeof(away), "%s.away", kit->directory);
    assert_int_equal(rename(kit->directory, away), 0);
    assert_int_equal(store_batch_finding(batch, &finding), 0);
    kit_post(kit, batch);
    kit_wait(kit, &kit->n_trouble, 1);
    assert_int_equal(kit->trouble, -ENOENT);
    assert_int_equal(store_history(kit->store, HISTORY(.limit = 10), kit_rows, kit), 0);
    kit_wait(kit, &kit->n_read, 1);
    assert_int_equal(kit->read_error, -ENOTDIR);
    assert_int_equal(rename(away, kit->directory), 0);
    kit_wait(kit, &kit->n_committed, 1);
    assert_int_equal(kit->n_damaged, 0);
    kit_reopen(kit);
    assert_int_equal(kit->n_findings, 6);
}

/* Another folder of that name is locked anew, so that two never write there. */
static void folder_replaced_in_use(void **state)
{
    static const char *const files[] = { "lock", "qcaudit.db", "qcaudit.db-wal", "qcaudit.db-shm" };
    struct kit *kit = *state, other = { 0 };
    struct image image = kit_make_image("/srv/vms/new");
    struct store_batch *batch = new_batch();
    char away[128], path[256];

    fill_and_close(kit, 5);
    kit_open(kit);
    snprintf(away, sizeof(away), "%s.away", kit->directory);
    assert_int_equal(rename(kit->directory, away), 0);
    assert_int_equal(mkdir(kit->directory, 0700), 0);
    assert_int_equal(store_batch_image(batch, &image), 0);
    kit_commit(kit, batch);
    kit_wait(kit, &kit->n_damaged, 1);
    assert_string_equal(kit->damaged, "");
    memcpy(other.directory, kit->directory, sizeof(other.directory));
    other.event = kit->event;
    assert_int_equal(kit_try_open(&other), -EBUSY);
    assert_int_equal(other.holder, getpid());
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
        snprintf(path, sizeof(path), "%s/%s", away, files[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(away), 0);
}

/* The store's own sweep may come first, and find it: then these are of the new database. */
static void rows_failed(void *userdata, int error, json_object *rows, const char *next)
{
    struct kit *kit = userdata;

    assert_int_equal(error, rows ? 0 : -EUCLEAN);
    assert_true(!rows || json_object_array_length(rows) == 0);
    assert_string_equal(next, "");
    json_object_put(rows);
    kit->n_read++;
}

static void found_by_read(void **state)
{
    struct kit *kit = *state;

    fill_and_close(kit, 500);
    break_root(kit, "event_by_subject");
    kit_open(kit);
    assert_int_equal(store_history(kit->store,
                                   HISTORY(.path = "/srv/vms/disk-3.qcow2", .limit = 10),
                                   rows_failed, kit),
                     0);
    kit_wait(kit, &kit->n_read, 1);
    kit_wait(kit, &kit->n_damaged, 1);
    works(kit);
}

/* What could be read comes, then the news of the damage. */
static void found_by_load(void **state)
{
    struct kit *kit = *state;

    fill_and_close(kit, 500);
    break_root(kit, "report");
    kit_open(kit);
    kit_load(kit);
    assert_int_equal(kit->n_datastores, 1);
    kit_wait(kit, &kit->n_damaged, 1);
    works(kit);
}

/* ---- versions -------------------------------------------------------------------------------- */

static void newer_version_is_left_alone(void **state)
{
    struct kit *kit = *state;
    char *before, *after;
    size_t n_before, n_after;
    char back[64];

    fill_and_close(kit, 10);
    kit_sql_run(kit, "PRAGMA user_version = 99; CREATE TABLE from_the_future (x)");
    before = read_file(kit->database, &n_before);
    assert_int_equal(kit_try_open(kit), -EPROTONOSUPPORT);
    assert_null(kit->store);
    assert_null(kit->aside);
    after = read_file(kit->database, &n_after);
    assert_int_equal(n_before, n_after);
    assert_memory_equal(before, after, n_before);
    free(before);
    free(after);
    /* The folder is free again for who can read it. */
    assert_true(snprintf(back, sizeof(back), "PRAGMA user_version = %d", CONTROL_DATABASE_VERSION) >
                0);
    kit_sql_run(kit, back);
    kit_open(kit);
    kit_load(kit);
    assert_int_equal(kit->n_images, 10);
}

static int64_t value_of(sqlite3 *sqlite, const char *sql)
{
    sqlite3_stmt *statement;
    int64_t value = -1;

    if (sqlite3_prepare_v2(sqlite, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

static void migrations(void **state)
{
    static const char *const steps[] = {
        "CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (7)",
        "ALTER TABLE a ADD COLUMN y INTEGER; UPDATE a SET y = x + 1",
        "CREATE TABLE b (x); INSERT INTO no_such_table VALUES (1)",
    };
    struct kit *kit = *state;
    sqlite3 *sqlite;
    int version;

    assert_int_equal(sqlite3_open(kit->database, &sqlite), SQLITE_OK);
    assert_int_equal(store_migrate(sqlite, steps, 1), 0);
    assert_int_equal(store_version(sqlite, &version), 0);
    assert_int_equal(version, 1);
    /* From an older one, only what it lacks. */
    assert_int_equal(store_migrate(sqlite, steps, 2), 0);
    assert_int_equal(value_of(sqlite, "SELECT y FROM a"), 8);
    assert_int_equal(value_of(sqlite, "PRAGMA user_version"), 2);
    assert_int_equal(store_migrate(sqlite, steps, 2), 0);
    assert_int_equal(value_of(sqlite, "SELECT count(*) FROM a"), 1);
    /* A failed step leaves the version before it, whole. */
    assert_int_equal(store_migrate(sqlite, steps, 3), -EBADMSG);
    assert_int_equal(value_of(sqlite, "PRAGMA user_version"), 2);
    assert_int_equal(value_of(sqlite, "SELECT count(*) FROM sqlite_master WHERE name = 'b'"), 0);
    assert_int_equal(sqlite3_get_autocommit(sqlite), 1);
    assert_int_equal(store_migrate(sqlite, steps, 1), -EPROTONOSUPPORT);
    sqlite3_close(sqlite);
}

static char *slurp(const char *path)
{
    FILE *file = fopen(path, "re");
    size_t size = 0;
    char *text = NULL;

    if (!file)
        fail_msg("%s cannot be opened", path);
    assert_true(getdelim(&text, &size, '\0', file) > 0);
    fclose(file);
    return text;
}

static const struct finding *finding_of(const struct kit *kit, enum finding_type type)
{
    for (size_t i = 0; i < kit->n_findings; i++)
        if (kit->findings[i]->type == type)
            return kit->findings[i];
    fail_msg("%s is not known any more", finding_definition(type)->name);
    return NULL;
}

static void make_database(struct kit *kit, int version)
{
    char path[4096], *text, *error = NULL;
    sqlite3 *sqlite;

    snprintf(path, sizeof(path), "%s/tests/fixtures/database-%d.sql", getenv("top_srcdir"),
             version);
    text = slurp(path);
    assert_int_equal(sqlite3_open(kit->database, &sqlite), SQLITE_OK);
    if (sqlite3_exec(sqlite, text, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s: %s", path, error);
    free(text);
    assert_int_equal(value_of(sqlite, "PRAGMA user_version"), version);
    sqlite3_close(sqlite);
}

/* What an earlier version kept is all there after an update of the program. */
static void earlier_version(struct kit *kit, int version, int n_baselines)
{
    make_database(kit, version);
    kit_open(kit);
    kit_load(kit);
    assert_null(kit->aside);
    assert_int_equal(kit_sql(kit, "PRAGMA user_version"), CONTROL_DATABASE_VERSION);
    assert_int_equal(kit->n_datastores, 1);
    assert_int_equal(kit->n_images, 4);
    assert_int_equal(kit->n_findings, 2);
    assert_int_equal(finding_of(kit, FINDING_CLUSTERS_LEAKED)->state, FINDING_OPEN);
    assert_int_equal(finding_of(kit, FINDING_METADATA_CORRUPT)->state, FINDING_ACKNOWLEDGED);
    assert_non_null(kit_image(kit, "/srv/qcaudit-fixture/overlay.qcow2"));
    assert_int_equal(kit_image(kit, "/srv/qcaudit-fixture/overlay.qcow2")->parent.state,
                     REFERENCE_FOUND);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event"), 3);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM baseline WHERE NOT encrypted"),
                     n_baselines);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM baseline"), n_baselines);
    kit_close(kit);
}

static void version_1(void **state)
{
    earlier_version(*state, 1, 0);
}

static void version_2(void **state)
{
    earlier_version(*state, 2, 1);
}

static void version_3(void **state)
{
    struct kit *kit = *state;

    earlier_version(kit, 3, 1);
    /* What the images were is taken from their audits. */
    kit_open(kit);
    kit_load(kit);
    assert_int_equal(kit_image(kit, "/srv/qcaudit-fixture/overlay.qcow2")->past.format,
                     QCA_FORMAT_QCOW2);
    assert_true(kit_image(kit, "/srv/qcaudit-fixture/overlay.qcow2")->past.until > 0);
    kit_close(kit);
}

static void version_4(void **state)
{
    earlier_version(*state, 4, 1);
}

/* Of which time events were deleted before that was written down: the fixture has three. */
static void version_6_events(void **state)
{
    static const struct { const char *before, *expected; } cases[] = {
        { "SELECT 1", "SELECT 0" },
        { "DELETE FROM event WHERE seq = 1", "SELECT at FROM event WHERE seq = 2" },
        { "DELETE FROM event WHERE seq = 2", "SELECT at FROM event WHERE seq = 3" },
        { "DELETE FROM event WHERE seq = 3; UPDATE state SET swept = 5",
          "SELECT at FROM event WHERE seq = 2" },
        { "DELETE FROM event WHERE seq = 3; UPDATE state SET swept = 2000000000000000",
          "SELECT 2000000000000000" },
        { "DELETE FROM event; UPDATE state SET swept = 7", "SELECT 7" },
        { "DELETE FROM event; DELETE FROM sqlite_sequence", "SELECT 0" },
    };
    struct kit *kit = *state;

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        make_database(kit, 6);
        kit_sql_run(kit, cases[i].before);
        kit_open(kit);
        kit_close(kit);
        assert_int_equal(kit_sql(kit, "SELECT events_swept FROM state"),
                         kit_sql(kit, cases[i].expected));
        assert_int_equal(unlink(kit->database), 0);
    }
}

/* ---- one daemon ------------------------------------------------------------------------------ */

static void second_daemon(void **state)
{
    struct kit *kit = *state;
    int ready[2], status;
    char byte = 0;
    pid_t child;

    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (sd_event_new(&kit->event) < 0 || kit_try_open(kit) < 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(kit_try_open(kit), -EBUSY);
    assert_int_equal(kit->holder, child);
    assert_null(kit->store);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    kit_open(kit);
    works(kit);
    close(ready[0]);
    close(ready[1]);
}

static void private_files(void **state)
{
    struct kit *kit = *state;
    struct stat st;

    kit_open(kit);
    assert_int_equal(stat(kit->database, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_database, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(short_text, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(truncated, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(schema_lost, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(state_broken, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(twice, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(not_a_file, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(found_by_quick_check, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(found_by_write, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(removed_in_use, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(replaced_in_use, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(folder_moved_in_use, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(folder_replaced_in_use, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(found_by_read, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(found_by_load, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(findings_broken, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(newer_version_is_left_alone, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(migrations, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(version_1, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(version_2, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(version_3, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(version_4, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(version_6_events, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(second_daemon, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(private_files, kit_setup, kit_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
