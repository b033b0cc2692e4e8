/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The chain of events: how a digest is made; every kind of tampering is found and named. */
#include "store-kit.h"

#include <openssl/evp.h>

#include "daemon/store/record.h"
#include "helpers/hex.h"

#define N 10

/* ---- the encoding ------------------------------------------------------------------------- */

/* What schema-7.sql says, byte by byte. */
static void encoding(void **state)
{
    static const char sql[] =
        "SELECT 'ignored', 1, 'ab', 't', -2, '', 0, 'image', CAST('/\xff' AS BLOB), 'vms', 'error',"
        " 'offline', 'm', 256, 3, NULL";
    static const char expected[] =
        "i\0\0\0\0\0\0\0\1" "t\0\0\0\0\0\0\0\2" "ab" "t\0\0\0\0\0\0\0\1" "t"
        "i\xff\xff\xff\xff\xff\xff\xff\xfe" "t\0\0\0\0\0\0\0\0" "i\0\0\0\0\0\0\0\0"
        "t\0\0\0\0\0\0\0\5" "image" "b\0\0\0\0\0\0\0\2" "/\xff" "t\0\0\0\0\0\0\0\3" "vms"
        "t\0\0\0\0\0\0\0\5" "error" "t\0\0\0\0\0\0\0\7" "offline" "t\0\0\0\0\0\0\0\1" "m"
        "i\0\0\0\0\0\0\1\0" "i\0\0\0\0\0\0\0\3" "n";
    uint8_t previous[RECORD_DIGEST_SIZE], digest[RECORD_DIGEST_SIZE], other[RECORD_DIGEST_SIZE];
    char both[RECORD_DIGEST_SIZE + sizeof(expected) - 1];
    sqlite3_stmt *row;
    sqlite3 *sqlite;
    char *body = NULL;
    size_t size;

    assert_int_equal(sqlite3_open(":memory:", &sqlite), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(sqlite, sql, -1, &row, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_int_equal(record_body(row, 1, &body, &size), 0);
    assert_int_equal(size, RECORD_DIGEST_SIZE + sizeof(expected) - 1);
    assert_memory_equal(body + RECORD_DIGEST_SIZE, expected, sizeof(expected) - 1);
    memset(previous, 7, sizeof(previous));
    assert_int_equal(record_link(body, size, previous, digest), 0);
    memset(both, 7, RECORD_DIGEST_SIZE);
    memcpy(both + RECORD_DIGEST_SIZE, expected, sizeof(expected) - 1);
    assert_int_equal(EVP_Digest(both, sizeof(both), other, NULL, EVP_sha256(), NULL), 1);
    assert_memory_equal(digest, other, sizeof(other));
    free(body);
    sqlite3_finalize(row);
    sqlite3_close(sqlite);
}

/* ---- checking ----------------------------------------------------------------------------- */

static void put_events(struct kit *kit, const char *subject, unsigned n)
{
    struct store_batch *batch;

    assert_int_equal(store_batch_new(&batch), 0);
    for (unsigned i = 0; i < n; i++) {
        struct finding finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, subject);
        struct event event = kit_make_event(&finding, EVENT_ACKNOWLEDGED, KIT_NOW + i);

        assert_int_equal(store_batch_event(batch, &event), 0);
    }
    kit_commit(kit, batch);
}

static void rename_image(struct kit *kit, const char *before, const char *after)
{
    struct store_batch *batch;

    assert_int_equal(store_batch_new(&batch), 0);
    assert_int_equal(store_batch_renamed(batch, before, after), 0);
    kit_commit(kit, batch);
}

static json_object *check(struct kit *kit, const char *heads)
{
    unsigned n = kit->n_read;

    json_object_put(kit->rows);
    kit->rows = NULL;
    assert_int_equal(store_history(kit->store, HISTORY(.of = HISTORY_CHECK, .heads = heads),
                                   kit_rows, kit), 0);
    kit_wait(kit, &kit->n_read, n + 1);
    assert_int_equal(kit->read_error, 0);
    return kit->rows;
}

static int64_t number(json_object *object, const char *key)
{
    return json_object_get_int64(json_object_object_get(object, key));
}

/* "KIND SEQ[-LAST], ..." of all problems. */
static void assert_problems(struct kit *kit, const char *heads, const char *expected)
{
    json_object *result = check(kit, heads), *problems = json_object_object_get(result, "problems");
    char text[1000] = "";
    size_t at = 0;

    for (size_t i = 0; i < json_object_array_length(problems); i++) {
        json_object *row = json_object_array_get_idx(problems, i);

        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s %lld", i > 0 ? ", " : "",
                               json_object_get_string(json_object_object_get(row, "kind")),
                               (long long)number(row, "seq"));
        if (json_object_object_get(row, "last"))
            at += (size_t)snprintf(text + at, sizeof(text) - at, "-%lld",
                                   (long long)number(row, "last"));
    }
    assert_string_equal(text, expected);
    assert_int_equal(number(result, "problems-total"), json_object_array_length(problems));
}

/* What the journal would have: "SEQ:DIGEST" of that event. */
static char *head_of(struct kit *kit, int64_t seq, char text[static 100])
{
    sqlite3 *sqlite = kit_sqlite(kit);
    sqlite3_stmt *row;

    assert_int_equal(sqlite3_prepare_v2(sqlite, "SELECT lower(hex(digest)) FROM event"
                                                " WHERE seq = ?1", -1, &row, NULL), SQLITE_OK);
    sqlite3_bind_int64(row, 1, seq);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    snprintf(text, 100, "%lld:%s", (long long)seq, (const char *)sqlite3_column_text(row, 0));
    sqlite3_finalize(row);
    sqlite3_close(sqlite);
    return text;
}

static void sound(void **state)
{
    struct kit *kit = *state;
    char last[100], both[220], early[100];

    kit_open(kit);
    assert_problems(kit, NULL, "");
    put_events(kit, "/a", N);
    assert_problems(kit, NULL, "");
    assert_int_equal(number(kit->rows, "events"), N);
    assert_int_equal(number(kit->rows, "head-seq"), N);
    assert_int_equal(number(kit->rows, "chain-begins"), 1);
    snprintf(both, sizeof(both), "%s %s", head_of(kit, 3, early), head_of(kit, N, last));
    assert_problems(kit, both, "");
    assert_int_equal(number(kit->rows, "heads"), 2);
    /* It goes on over a restart, and over a kill: the chain is in the transaction. */
    kit_close(kit);
    kit_open(kit);
    put_events(kit, "/b", N);
    assert_problems(kit, both, "");
    assert_int_equal(number(kit->rows, "events"), 2 * N);
    assert_int_equal(store_history(kit->store, HISTORY(.of = HISTORY_CHECK, .heads = "7"),
                                   kit_rows, kit), 0);
    kit_wait(kit, &kit->n_read, kit->n_read + 1);
    assert_int_equal(kit->read_error, -EINVAL);
}

/* An event that is written twice, as after a failure that was none, leaves no gap. */
static void written_twice(void **state)
{
    struct kit *kit = *state;
    struct finding finding;
    struct event event;

    kit_open(kit);
    finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/a");
    event = kit_make_event(&finding, EVENT_OPENED, KIT_NOW);
    for (unsigned i = 0; i < 3; i++) {
        struct store_batch *batch;

        assert_int_equal(store_batch_new(&batch), 0);
        assert_int_equal(store_batch_event(batch, &event), 0);
        kit_commit(kit, batch);
    }
    put_events(kit, "/a", 1);
    assert_problems(kit, NULL, "");
    assert_int_equal(number(kit->rows, "events"), 2);
    assert_int_equal(kit_sql(kit, "SELECT max(seq) FROM event"), 2);
}

/* A batch that the database refuses takes its part of the chain with it. */
static void refused(void **state)
{
    struct kit *kit = *state;
    struct store_batch *batch;
    struct finding finding;
    struct event event, bad;

    kit_open(kit);
    put_events(kit, "/a", 2);
    kit_sql_run(kit, "CREATE TRIGGER no BEFORE INSERT ON event WHEN NEW.message = 'no'"
                     " BEGIN SELECT RAISE(ABORT, 'no'); END");
    finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/a");
    event = kit_make_event(&finding, EVENT_OPENED, KIT_NOW);
    bad = kit_make_event(&finding, EVENT_WORSENED, KIT_NOW);
    bad.message = (char *)(uintptr_t)"no";
    assert_int_equal(store_batch_new(&batch), 0);
    assert_int_equal(store_batch_event(batch, &event), 0);
    assert_int_equal(store_batch_event(batch, &bad), 0);
    kit_post(kit, batch);
    kit_wait(kit, &kit->n_failed, 1);
    put_events(kit, "/a", 2);
    assert_problems(kit, NULL, "");
    assert_int_equal(number(kit->rows, "events"), 4);
}

/* Each with a database of N events, and what is found. */
static void tampering(void **state)
{
    static const struct {
        const char *sql, *problems;
    } cases[] = {
        /* a column changed */
        { "UPDATE event SET at = at + 1 WHERE seq = 4", "changed 4" },
        { "UPDATE event SET message = 'nothing' WHERE seq = 1", "changed 1" },
        { "UPDATE event SET severity = 'info' WHERE seq = 10", "changed 10" },
        { "UPDATE event SET type = 'resolved' WHERE seq IN (3, 7)", "changed 3, changed 7" },
        { "UPDATE event SET finding_id = 1, origin = CAST('/b' AS BLOB) WHERE seq = 5",
          "changed 5, subject 5" },
        { "UPDATE event SET message = CAST(message AS TEXT) || '' WHERE seq = 4", "" },
        { "UPDATE event SET subject = CAST('/b' AS BLOB) WHERE seq = 5", "subject 5" },
        { "UPDATE event SET digest = zeroblob(32) WHERE seq = 5", "changed 5, changed 6" },
        { "UPDATE event SET digest = NULL WHERE seq = 5", "no-digest 5" },
        { "UPDATE event SET outbox = 7", "" },
        { "UPDATE event SET muted_by = 1 WHERE seq = 8", "changed 8" },
        /* rows deleted */
        { "DELETE FROM event WHERE seq = 4", "missing 4" },
        { "DELETE FROM event WHERE seq BETWEEN 4 AND 6", "missing 4-6" },
        { "DELETE FROM event WHERE seq = 1", "missing 1" },
        { "DELETE FROM event WHERE seq < 4", "missing 1-3" },
        { "DELETE FROM event WHERE seq > 8", "missing 9-10" },
        { "DELETE FROM event", "missing 1-10" },
        { "UPDATE event SET seq = seq + 5 WHERE seq = 10", "missing 10-14" },
        /* swapped */
        { "UPDATE event SET seq = 100 WHERE seq = 4; UPDATE event SET seq = 4 WHERE seq = 7;"
          "UPDATE event SET seq = 7 WHERE seq = 100;"
          "UPDATE sqlite_sequence SET seq = 10 WHERE name = 'event'",
          "changed 4, changed 5, changed 7, changed 8" },
        /* inserted behind the end, without its digest, and with any */
        { "INSERT INTO event SELECT 11, 'x', type, at, finding, finding_id, subject_kind, subject,"
          " datastore, severity, confidence, message, depth, 0, 0, origin, NULL, NULL FROM event"
          " WHERE seq = 10", "no-digest 11" },
        { "INSERT INTO event SELECT 11, 'x', type, at, finding, finding_id, subject_kind, subject,"
          " datastore, severity, confidence, message, depth, 0, 0, origin, NULL, digest FROM event"
          " WHERE seq = 10", "changed 11" },
        /* deleted, and said to be the retention's work; which does not fit */
        { "DELETE FROM event WHERE seq IN (4, 5); INSERT INTO event_removed VALUES (4, 5,"
          " zeroblob(32), zeroblob(32), 1, 1, 0)", "removed-range 4-5, changed 6" },
        { "INSERT INTO event_removed SELECT 5, 5, (SELECT digest FROM event WHERE seq = 4), digest,"
          " 1, 1, 0 FROM event WHERE seq = 5; DELETE FROM event WHERE seq IN (4, 5)",
          "missing 4" },
        { "INSERT INTO event_removed SELECT 4, 5, zeroblob(32), digest, 1, 1, 0 FROM event WHERE"
          " seq = 5; DELETE FROM event WHERE seq IN (4, 5)", "removed-range 4-5" },
        /* where events were deleted, another one */
        { "INSERT INTO event_removed SELECT 5, 5, (SELECT digest FROM event WHERE seq = 4), digest,"
          " 1, 1, 0 FROM event WHERE seq = 5", "inserted 5" },
        /* the beginning is said to lie later */
        { "UPDATE state SET unchained = 3", "changed 4" },
    };
    struct kit *kit = *state;

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        kit_open(kit);
        put_events(kit, "/a", N);
        kit_sql_run(kit, cases[i].sql);
        assert_problems(kit, NULL, cases[i].problems);
        kit_close(kit);
        assert_int_equal(unlink(kit->database), 0);
    }
}

/* What the chain alone does not tell, the journal's entries do. */
static void heads(void **state)
{
    static const struct {
        const char *sql, *problems;
    } cases[] = {
        { "SELECT 1", "" },
        { "DELETE FROM event; UPDATE sqlite_sequence SET seq = 0 WHERE name = 'event'",
          "head-missing 3, head-missing 10" },
        { "DELETE FROM event; DELETE FROM sqlite_sequence WHERE name = 'event'",
          "head-missing 3, head-missing 10" },
        { "DELETE FROM event WHERE seq > 8; UPDATE sqlite_sequence SET seq = 8"
          " WHERE name = 'event'", "head-missing 10" },
        { "DELETE FROM event WHERE seq = 3", "missing 3, head-missing 3" },
        { "UPDATE state SET unchained = 10", "head-missing 3, head-missing 10" },
        /* Removed by the retention: nothing to compare it with, but at its end. */
        { "INSERT INTO event_removed SELECT 1, 4, zeroblob(32), digest, 1, 1, 0 FROM event"
          " WHERE seq = 4; DELETE FROM event WHERE seq < 5", "" },
        { "INSERT INTO event_removed SELECT 1, 3, zeroblob(32), digest, 1, 1, 0 FROM event"
          " WHERE seq = 3; DELETE FROM event WHERE seq < 4", "" },
    };
    struct kit *kit = *state;

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        char both[220], early[100], last[100];

        kit_open(kit);
        put_events(kit, "/a", N);
        snprintf(both, sizeof(both), "%s %s", head_of(kit, N, last), head_of(kit, 3, early));
        kit_sql_run(kit, cases[i].sql);
        assert_problems(kit, both, cases[i].problems);
        kit_close(kit);
        assert_int_equal(unlink(kit->database), 0);
    }
}

/* The whole chain computed again by somebody who knows how. */
static void computed_again(void **state)
{
    struct kit *kit = *state;
    char head[100], expected[40];
    uint8_t previous[RECORD_DIGEST_SIZE] = { 0 };
    sqlite3 *sqlite;

    kit_open(kit);
    put_events(kit, "/a", N);
    (void)head_of(kit, N, head);
    kit_sql_run(kit, "UPDATE event SET severity = 'info' WHERE seq = 4");
    sqlite = kit_sqlite(kit);
    for (int seq = 1; seq <= N; seq++) {
        sqlite3_stmt *row, *update;
        char *body = NULL;
        size_t size;

        assert_int_equal(sqlite3_prepare_v2(sqlite, "SELECT " RECORD_COLUMNS " FROM event"
                                                    " WHERE seq = ?1", -1, &row, NULL), SQLITE_OK);
        sqlite3_bind_int(row, 1, seq);
        assert_int_equal(sqlite3_step(row), SQLITE_ROW);
        assert_int_equal(record_body(row, 0, &body, &size), 0);
        assert_int_equal(record_link(body, size, previous, previous), 0);
        free(body);
        sqlite3_finalize(row);
        assert_int_equal(sqlite3_prepare_v2(sqlite, "UPDATE event SET digest = ?2 WHERE seq = ?1",
                                            -1, &update, NULL), SQLITE_OK);
        sqlite3_bind_int(update, 1, seq);
        sqlite3_bind_blob(update, 2, previous, sizeof(previous), SQLITE_STATIC);
        assert_int_equal(sqlite3_step(update), SQLITE_DONE);
        sqlite3_finalize(update);
    }
    sqlite3_close(sqlite);
    assert_problems(kit, NULL, "");
    snprintf(expected, sizeof(expected), "head-differs %d", N);
    assert_problems(kit, head, expected);
}

/* While the daemon runs, the next event hangs on what it wrote last, not on what lies there now. */
static void while_it_runs(void **state)
{
    struct kit *kit = *state;

    kit_open(kit);
    put_events(kit, "/a", N);
    kit_sql_run(kit, "DELETE FROM event; DELETE FROM sqlite_sequence WHERE name = 'event'");
    put_events(kit, "/a", 1);
    assert_problems(kit, NULL, "missing 1-10");
    /* An event that somebody added is not overwritten, and named. */
    kit_sql_run(kit, "INSERT INTO event SELECT 12, 'x', type, at, finding, finding_id,"
                     " subject_kind, subject, datastore, severity, confidence, message, depth, 0,"
                     " 0, origin, NULL, zeroblob(32) FROM event WHERE seq = 11");
    put_events(kit, "/a", 1);
    assert_problems(kit, NULL, "missing 1-10, changed 12, inserted 12");
}

/* ---- what changes without tampering --------------------------------------------------------- */

static void renamed(void **state)
{
    struct kit *kit = *state;

    kit_open(kit);
    put_events(kit, "/a", 2);
    put_events(kit, "/b", 2);
    rename_image(kit, "/a", "/c");
    put_events(kit, "/a", 2);           /* another file */
    rename_image(kit, "/c", "/d");
    rename_image(kit, "/b", "/c");
    rename_image(kit, "/a", "/b");
    rename_image(kit, "/b", "/d");      /* over the first one, whose events had that name */
    rename_image(kit, "/nothing", "/e");
    assert_problems(kit, NULL, "");
    assert_int_equal(number(kit->rows, "events"), 6 + 5);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event WHERE subject = CAST('/d' AS BLOB)"
                                  " AND renamed IS NULL"), 4);
    /* It is no event for those who ask for what happened. */
    kit_history(kit, NULL, NULL, 0, 0, NULL, 100);
    assert_int_equal(json_object_array_length(kit->rows), 6);
    /* A rename that nobody wrote down, and one that somebody takes out. */
    kit_sql_run(kit, "UPDATE event SET subject = CAST('/x' AS BLOB) WHERE seq = 1");
    assert_problems(kit, NULL, "subject 1");
    kit_sql_run(kit, "UPDATE event SET subject = CAST('/d' AS BLOB) WHERE seq = 1;"
                     "UPDATE event SET renamed = CAST('/x' AS BLOB) WHERE seq = 5");
    check(kit, NULL);
    assert_true(number(kit->rows, "problems-total") >= 3);
}

/* A subject that flaps loses its old events from the middle, then everybody does. */
static void swept(void **state)
{
    struct kit *kit = *state;
    int64_t position = 0, ranges;
    bool more = true;
    sqlite3 *sqlite;
    char head[100];

    kit_open(kit);
    for (unsigned i = 0; i < 30; i++) {
        put_events(kit, "/flaps", 100);
        put_events(kit, "/rare", 1);
    }
    rename_image(kit, "/rare", "/seldom");
    kit_close(kit);
    assert_int_equal(sqlite3_open(kit->database, &sqlite), SQLITE_OK);
    while (more)
        assert_int_equal(store_sweep_step(sqlite, 1, &position, &more), 0);
    sqlite3_close(sqlite);
    kit_open(kit);
    assert_problems(kit, NULL, "");
    assert_int_equal(number(kit->rows, "removed"), 3000 - STORE_EVENTS_PER_SUBJECT);
    assert_int_equal(number(kit->rows, "events"), STORE_EVENTS_PER_SUBJECT + 31);
    ranges = number(kit->rows, "ranges-total");
    assert_int_equal(ranges, 10);       /* with one of the others' after each */
    /* Somebody deletes one more, and hides it. */
    kit_sql_run(kit, "DELETE FROM event WHERE seq = 101");
    assert_problems(kit, NULL, "missing 101");
    kit_sql_run(kit, "UPDATE event_removed SET last = 101 WHERE last = 100");
    check(kit, NULL);
    assert_int_equal(number(kit->rows, "problems-total"), 1);
    kit_close(kit);
    assert_int_equal(unlink(kit->database), 0);

    /* All that is old: one range, and the chain goes on behind it. */
    kit_open(kit);
    put_events(kit, "/a", 500);
    rename_image(kit, "/a", "/b");
    put_events(kit, "/b", 1);
    kit_sql_run(kit, "UPDATE event SET outbox = 0");
    (void)head_of(kit, 400, head);
    kit_close(kit);
    assert_int_equal(sqlite3_open(kit->database, &sqlite), SQLITE_OK);
    for (more = true, position = 0; more;)
        assert_int_equal(store_sweep_step(sqlite, KIT_NOW + 600, &position, &more), 0);
    sqlite3_close(sqlite);
    kit_open(kit);
    assert_problems(kit, head, "");
    assert_int_equal(number(kit->rows, "heads-removed"), 1);
    assert_int_equal(number(kit->rows, "removed"), 501);
    put_events(kit, "/b", 3);
    assert_problems(kit, NULL, "");
}

/* Everything is swept, and what comes next goes on from the end of that. */
static void swept_to_the_end(void **state)
{
    struct kit *kit = *state;
    int64_t position = 0;
    bool more = true;
    sqlite3 *sqlite;
    char head[100];

    kit_open(kit);
    put_events(kit, "/a", N);
    (void)head_of(kit, N, head);
    kit_close(kit);
    assert_int_equal(sqlite3_open(kit->database, &sqlite), SQLITE_OK);
    while (more)
        assert_int_equal(store_sweep_step(sqlite, KIT_NOW + N, &position, &more), 0);
    sqlite3_close(sqlite);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event"), 0);
    kit_open(kit);
    assert_problems(kit, head, "");
    put_events(kit, "/a", 2);
    assert_problems(kit, head, "");
    assert_int_equal(number(kit->rows, "head-seq"), N + 2);
}

/* A database from before the chain: its old events are counted, the chain begins after them. */
static void older_database(void **state)
{
    struct kit *kit = *state;
    static const char *const columns[] = { "origin", "renamed", "digest", "muted_by" },
                             *const of_finding[] = { "muted_by", "muted_severity", "mutes_broken" };

    kit_open(kit);
    put_events(kit, "/a", N);
    kit_close(kit);
    /* As version 6 left it. */
    kit_sql_run(kit, "DELETE FROM event WHERE seq IN (2, 3);"
                     "DROP TABLE event_removed; DROP TABLE overlay_history; DROP TABLE mute;"
                     "DROP TABLE space;"
                     "DROP INDEX event_by_finding; ALTER TABLE state DROP COLUMN record;"
                     "DROP TRIGGER event_swept; ALTER TABLE state DROP COLUMN events_swept;"
                     "ALTER TABLE state DROP COLUMN unchained; PRAGMA user_version = 6");
    for (size_t i = 0; i < ELEMENTSOF(columns); i++) {
        char sql[80];

        snprintf(sql, sizeof(sql), "ALTER TABLE event DROP COLUMN %s", columns[i]);
        kit_sql_run(kit, sql);
    }
    for (size_t i = 0; i < ELEMENTSOF(of_finding); i++) {
        char sql[80];

        snprintf(sql, sizeof(sql), "ALTER TABLE finding DROP COLUMN %s", of_finding[i]);
        kit_sql_run(kit, sql);
    }
    kit_open(kit);
    assert_problems(kit, NULL, "");
    assert_int_equal(number(kit->rows, "unchained"), N - 2);
    put_events(kit, "/a", 3);
    rename_image(kit, "/a", "/b");
    assert_problems(kit, NULL, "");
    assert_int_equal(number(kit->rows, "unchained"), N - 2);
    assert_int_equal(number(kit->rows, "events"), 4);
    assert_int_equal(number(kit->rows, "chain-begins"), N + 1);
    kit_sql_run(kit, "DELETE FROM event WHERE seq = 11");
    assert_problems(kit, NULL, "missing 11");
}

/* It is read in slices: others are answered and written meanwhile, and what is deleted meanwhile is
 * no gap. */
static void large(void **state)
{
    struct kit *kit = *state;
    unsigned n = 0;
    uint64_t begin;

    kit_open(kit);
    begin = usec_now(CLOCK_MONOTONIC);
    for (unsigned i = 0; i < 20; i++)
        put_events(kit, "/a", 1000);
    print_message("20000 events written: %llu ms\n",
                  (unsigned long long)((usec_now(CLOCK_MONOTONIC) - begin) / 1000));
    n = kit->n_read;
    begin = usec_now(CLOCK_MONOTONIC);
    json_object_put(kit->rows);
    kit->rows = NULL;
    assert_int_equal(store_history(kit->store, HISTORY(.of = HISTORY_CHECK), kit_rows, kit), 0);
    assert_int_equal(store_history(kit->store, HISTORY(.of = HISTORY_CHECK), kit_rows, kit),
                     -EAGAIN);
    put_events(kit, "/b", 1);
    rename_image(kit, "/a", "/c");
    kit_wait(kit, &kit->n_read, n + 1);
    print_message("checked, with one more and a rename written: %llu ms\n",
                  (unsigned long long)((usec_now(CLOCK_MONOTONIC) - begin) / 1000));
    assert_int_equal(kit->read_error, 0);
    assert_int_equal(number(kit->rows, "problems-total"), 0);
    assert_int_equal(number(kit->rows, "events"), 20000);
    assert_problems(kit, NULL, "");
    assert_int_equal(number(kit->rows, "events"), 20002);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoding),
        cmocka_unit_test_setup_teardown(sound, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(written_twice, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(refused, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(tampering, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(heads, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(computed_again, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(while_it_runs, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(renamed, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(swept, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(swept_to_the_end, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(older_database, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(large, kit_setup, kit_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
