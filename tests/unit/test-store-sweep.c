/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* By which time the history is swept: a clock that jumps is followed slowly, over restarts too. */
#include "store-kit.h"

#define DAY (UINT64_C(86400) * USEC_PER_SEC)
#define DAYS 400                    /* of history, and of retention */

static void time_is_followed(void **state)
{
    static const struct {
        uint64_t before, passed, realtime, now;
    } cases[] = {
        /* as it goes */
        { 1000 * DAY, 0, 1000 * DAY, 1000 * DAY },
        { 1000 * DAY, DAY, 1001 * DAY, 1001 * DAY },
        /* the machine was off, or slept: caught up soon */
        { 1000 * DAY, DAY / 24, 1001 * DAY, 1001 * DAY },
        { 1000 * DAY, DAY, 1030 * DAY, 1030 * DAY },
        /* years at once */
        { 1000 * DAY, 0, 3000 * DAY, 1000 * DAY },
        { 1000 * DAY, DAY, 3000 * DAY, 1030 * DAY },
        { 1000 * DAY, 10 * DAY, UINT64_MAX, 1300 * DAY },
        /* back: nothing is too old that was not before */
        { 1000 * DAY, DAY, 500 * DAY, 500 * DAY },
        { 1000 * DAY, 0, 0, 0 },
        /* beyond all numbers */
        { 1000 * DAY, UINT64_MAX / 2, 3000 * DAY, 3000 * DAY },
        { UINT64_MAX - 1, DAY, UINT64_MAX, UINT64_MAX },
    };

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct sweep_clock clock = { .now = cases[i].before, .seen = 7 };

        if (sweep_clock_tell(&clock, cases[i].realtime, cases[i].passed + 7) != cases[i].now)
            fail_msg("case %zu: %llu", i, (unsigned long long)clock.now);
        assert_int_equal(clock.now, cases[i].now);
        assert_int_equal(clock.seen, cases[i].passed + 7);
    }
}

/* An event a day; the last is of KIT_NOW. */
static sqlite3 *history(struct kit *kit)
{
    struct store_batch *batch;
    sqlite3 *sqlite;

    kit_open(kit);
    assert_int_equal(store_batch_new(&batch), 0);
    for (unsigned i = 0; i < DAYS; i++) {
        struct finding finding = kit_make_finding(kit, FINDING_CHAIN_DEEP, "/srv/vms/a");
        struct event event = kit_make_event(&finding, EVENT_ACKNOWLEDGED, KIT_NOW - i * DAY);

        assert_int_equal(store_batch_event(batch, &event), 0);
    }
    kit_commit(kit, batch);
    kit_close(kit);
    assert_int_equal(sqlite3_open(kit->database, &sqlite), SQLITE_OK);
    return sqlite;
}

/* What a run of the daemon sweeps that finds this time, and goes on for so long. */
static void sweep(sqlite3 *sqlite, uint64_t realtime, uint64_t runs)
{
    struct sweep_clock clock;
    bool more = true;
    int64_t position = 0;
    uint64_t now;

    assert_int_equal(sweep_clock_load(sqlite, realtime, 1000 * DAY, &clock), 0);
    now = sweep_clock_tell(&clock, realtime + runs, 1000 * DAY + runs);
    while (more)
        assert_int_equal(store_sweep_step(sqlite, now - DAYS * DAY, &position, &more), 0);
    assert_int_equal(sweep_clock_save(sqlite, &clock), 0);
}

static void jumps_cost_little(void **state)
{
    struct kit *kit = *state;
    sqlite3 *sqlite = history(kit);
    int64_t left;

    kit_sql_run(kit, "UPDATE state SET swept = 0");
    /* never swept: by the newest event */
    sweep(sqlite, KIT_NOW + 1000 * DAY, 0);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event"), DAYS);
    assert_int_equal(kit_sql(kit, "SELECT swept FROM state"), KIT_NOW);
    /* started again and again under the wrong clock, and with what was written under it */
    kit_sql_run(kit, "UPDATE event SET at ="
                     " at + 86400000000 * 1000 WHERE seq = 1");
    for (unsigned i = 0; i < 100; i++)
        sweep(sqlite, KIT_NOW + 1000 * DAY, 0);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event"), DAYS);
    /* for a day */
    sweep(sqlite, KIT_NOW + 1000 * DAY, DAY);
    left = kit_sql(kit, "SELECT count(*) FROM event");
    assert_in_range(left, DAYS - SWEEP_SPEED - 1, DAYS - SWEEP_SPEED + 1);
    /* set right: what is left stays */
    sweep(sqlite, KIT_NOW + DAY, DAY);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event"), left);
    assert_int_equal(kit_sql(kit, "SELECT swept FROM state"), KIT_NOW + 2 * DAY);
    /* and if it was right: all goes in its time */
    for (unsigned i = 0; i < 1000 / SWEEP_SPEED; i++)
        sweep(sqlite, KIT_NOW + 1000 * DAY, DAY);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event"), 1);
    assert_int_equal(sqlite3_close(sqlite), SQLITE_OK);
}

static void an_empty_one_begins_with_the_clock(void **state)
{
    struct kit *kit = *state;
    struct sweep_clock clock;
    sqlite3 *sqlite;

    kit_open(kit);
    kit_close(kit);
    kit_sql_run(kit, "UPDATE state SET swept = 0");
    assert_int_equal(sqlite3_open(kit->database, &sqlite), SQLITE_OK);
    assert_int_equal(sweep_clock_load(sqlite, KIT_NOW, 5, &clock), 0);
    assert_int_equal(clock.now, KIT_NOW);
    assert_int_equal(clock.saved, 0);
    /* seldom written */
    assert_int_equal(sweep_clock_save(sqlite, &clock), 0);
    assert_int_equal(kit_sql(kit, "SELECT swept FROM state"), KIT_NOW);
    clock.now += 60 * USEC_PER_SEC;
    assert_int_equal(sweep_clock_save(sqlite, &clock), 0);
    assert_int_equal(kit_sql(kit, "SELECT swept FROM state"), KIT_NOW);
    assert_int_equal(sqlite3_close(sqlite), SQLITE_OK);
}

static void space_goes_with_the_events(void **state)
{
    struct kit *kit = *state;
    sqlite3 *sqlite = history(kit);

    kit_sql_run(kit, "INSERT INTO space (datastore, at, size, available)"
                     " SELECT 'vms', at, 10, 5 FROM event ORDER BY seq");
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM space"), DAYS);
    for (unsigned i = 0; i < 100; i++)
        sweep(sqlite, KIT_NOW + 100 * DAY, DAY);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM space"), DAYS - 100);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM space WHERE at NOT IN"
                                  " (SELECT at FROM event)"), 0);
    assert_int_equal(sqlite3_close(sqlite), SQLITE_OK);
}

/* What flaps pushes out its own history, and nobody else's, however high the numbers get. */
static void a_flapping_one_evicts_itself(void **state)
{
    struct kit *kit = *state;
    sqlite3 *sqlite = history(kit);

    kit_sql_run(kit, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                     " WHERE i < 5000)"
                     " INSERT INTO event SELECT 3000000 + i, printf('%032x', i), type, at, finding,"
                     " finding_id, subject_kind, CAST('/srv/vms/flood' AS BLOB), datastore,"
                     " severity, confidence, message, depth, 0, 0,"
                     " NULL, NULL, randomblob(32)"
                     " FROM n, (SELECT * FROM event LIMIT 1)");
    kit_sql_run(kit, "UPDATE event SET outbox = seq IN (3000001, 3000003)");
    sweep(sqlite, KIT_NOW, 0);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event WHERE seq < 3000000"), DAYS);
    /* the newest, and what is still to be told */
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event WHERE seq > 3000000"),
                     STORE_EVENTS_PER_SUBJECT + 2);
    assert_int_equal(kit_sql(kit, "SELECT min(seq) FROM event WHERE seq > 3000003"),
                     3005001 - STORE_EVENTS_PER_SUBJECT);
    assert_int_equal(sqlite3_close(sqlite), SQLITE_OK);
}

/* The newest time of which an event was deleted, by whichever rule, is known: the first event may
 * be there yet. */
static void what_was_deleted_is_known(void **state)
{
    struct kit *kit = *state;
    sqlite3 *sqlite = history(kit);

    kit_sql_run(kit, "UPDATE event SET outbox = 0");
    sweep(sqlite, KIT_NOW, 0);
    assert_int_equal(kit_sql(kit, "SELECT events_swept FROM state"), 0);
    /* One subject has too many; the oldest of its events is still to be told. */
    kit_sql_run(kit, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                     " WHERE i < 2500)"
                     " INSERT INTO event SELECT 3000 + i, printf('%032x', i), type, at - 10000 + i,"
                     " finding, finding_id, subject_kind, CAST('/srv/vms/flood' AS BLOB),"
                     " datastore, severity, confidence, message, depth, i = 1, 0, NULL, NULL, NULL"
                     " FROM n, (SELECT * FROM event ORDER BY seq LIMIT 1)");
    sweep(sqlite, KIT_NOW, 0);
    assert_int_equal(kit_sql(kit, "SELECT min(seq) FROM event"), 1);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event WHERE seq > 3000"),
                     STORE_EVENTS_PER_SUBJECT + 1);
    assert_int_equal(kit_sql(kit, "SELECT events_swept FROM state"),
                     KIT_NOW - 10000 + 2500 - STORE_EVENTS_PER_SUBJECT);
    /* By age; what is to be told stays. Times that were known do not go back. */
    kit_sql_run(kit, "UPDATE event SET outbox = 1 WHERE seq = 400");
    sweep(sqlite, KIT_NOW + 10 * DAY, DAY);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event WHERE seq = 400"), 1);
    assert_true(kit_sql(kit, "SELECT count(*) FROM event WHERE seq < 400") < DAYS - 1);
    assert_int_equal(kit_sql(kit, "SELECT events_swept FROM state"),
                     KIT_NOW - 10000 + 2500 - STORE_EVENTS_PER_SUBJECT);
    kit_sql_run(kit, "UPDATE state SET events_swept = 5");
    kit_sql_run(kit, "UPDATE event SET at = at - 86400000000 * 1000 WHERE seq = 5");
    sweep(sqlite, KIT_NOW, 0);
    assert_int_equal(kit_sql(kit, "SELECT events_swept FROM state"), KIT_NOW - 1004 * DAY);
    assert_int_equal(sqlite3_close(sqlite), SQLITE_OK);
}

/* All of them together are bounded, too: those that flap lose their own, and so does the datastore
 * that has most. */
static void events_are_bounded(void **state)
{
    struct kit *kit = *state;
    sqlite3 *sqlite = history(kit);

    kit_sql_run(kit, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                     " WHERE i < 1000000)"
                     " INSERT INTO event SELECT 3000000 + i, printf('%032x', i), type, at, finding,"
                     " finding_id, subject_kind, CAST(i % 500 AS BLOB), datastore,"
                     " severity, confidence, message, depth, 0, 0,"
                     " NULL, NULL, randomblob(32)"
                     " FROM n, (SELECT * FROM event LIMIT 1)");
    /* as many of one subject, elsewhere */
    kit_sql_run(kit, "INSERT INTO event SELECT 2000000 + seq, printf('b%031x', seq), type, at,"
                     " finding, finding_id, subject_kind, CAST('/srv/other' AS BLOB), 'other',"
                     " severity, confidence, message, depth, 0, 0,"
                     " NULL, NULL, randomblob(32)"
                     " FROM event WHERE seq > 3000000 AND seq <= 3001900");
    kit_sql_run(kit, "UPDATE event SET outbox = 0 WHERE seq < 3000000");
    sweep(sqlite, KIT_NOW, 0);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event"), 1000000);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event WHERE seq < 3000000"), DAYS);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event WHERE datastore = 'other'"), 1900);
    assert_int_equal(kit_sql(kit, "SELECT max(n) - min(n) <= 1 FROM (SELECT count(*) AS n"
                                  " FROM event WHERE seq BETWEEN 3000000 AND 4000000"
                                  " GROUP BY subject)"),
                     1);
    assert_int_equal(sqlite3_close(sqlite), SQLITE_OK);
}

/* Of what is deleted the file keeps an eighth of itself; the rest is given back by and by. */
static void what_is_unused_is_given_back(void **state)
{
    struct kit *kit = *state;
    sqlite3 *sqlite = history(kit);
    int64_t pages;
    bool more = true;
    unsigned steps = 0;

    assert_int_equal(kit_sql(kit, "PRAGMA auto_vacuum"), 2);
    assert_int_equal(store_shrink_step(sqlite, &more), 0);
    assert_false(more);
    kit_sql_run(kit, "CREATE TABLE bulk (bytes BLOB)");
    kit_sql_run(kit, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                     " WHERE i < 10000) INSERT INTO bulk SELECT randomblob(4000) FROM n");
    pages = kit_sql(kit, "PRAGMA page_count");
    assert_in_range(pages, 10000, 11000);
    kit_sql_run(kit, "DROP TABLE bulk");
    assert_int_equal(kit_sql(kit, "PRAGMA page_count"), pages);
    for (more = true; more; steps++)
        assert_int_equal(store_shrink_step(sqlite, &more), 0);
    assert_in_range(steps, 30, 45);
    assert_in_range(kit_sql(kit, "PRAGMA freelist_count"), 512, 1024);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event"), DAYS);
    assert_int_equal(sqlite3_close(sqlite), SQLITE_OK);
}

/* One that was made before the file could get smaller is written anew, unless it is large. */
static void an_older_one_learns_it(void **state)
{
    struct kit *kit = *state;
    sqlite3 *sqlite = history(kit);
    bool more;

    kit_sql_run(kit, "PRAGMA auto_vacuum = NONE; VACUUM");
    assert_int_equal(kit_sql(kit, "PRAGMA auto_vacuum"), 0);
    kit_open(kit);
    kit_close(kit);
    assert_int_equal(kit_sql(kit, "PRAGMA auto_vacuum"), 2);
    assert_int_equal(kit_sql(kit, "SELECT count(*) FROM event"), DAYS);
    kit_sql_run(kit, "PRAGMA auto_vacuum = NONE; VACUUM");
    kit_sql_run(kit, "CREATE TABLE bulk (bytes BLOB)");
    kit_sql_run(kit, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                     " WHERE i < 10000) INSERT INTO bulk SELECT randomblob(4000) FROM n");
    kit_open(kit);
    kit_close(kit);
    assert_int_equal(kit_sql(kit, "PRAGMA auto_vacuum"), 0);
    kit_sql_run(kit, "DROP TABLE bulk");
    assert_int_equal(store_shrink_step(sqlite, &more), 0);
    assert_false(more);
    assert_int_equal(sqlite3_close(sqlite), SQLITE_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_is_followed),
        cmocka_unit_test_setup_teardown(jumps_cost_little, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(space_goes_with_the_events, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(a_flapping_one_evicts_itself, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(what_was_deleted_is_known, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(what_is_unused_is_given_back, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(an_older_one_learns_it, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(events_are_bounded, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(an_empty_one_begins_with_the_clock, kit_setup,
                                        kit_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
