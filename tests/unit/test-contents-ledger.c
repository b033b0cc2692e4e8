/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What outlives the database: the ledger is replayed, merged, damaged, written anew; and what was
 * acknowledged is so again. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "contents-kit.h"

#include "lib/cleanup.h"
#include "qcaudit/control.h"

#define LEDGER_READ_MAX (8 << 20)

static char *read_all(struct kit *kit, size_t *ret_size)
{
    char path[128], *text = calloc(1, LEDGER_READ_MAX);
    FILE *file = fopen(kit_path(kit, CONTROL_JOURNAL_NAME, path), "re");

    assert_non_null(text);
    *ret_size = 0;
    if (file) {
        *ret_size = fread(text, 1, LEDGER_READ_MAX - 1, file);
        fclose(file);
    }
    return text;
}

static void write_all(struct kit *kit, const char *text, size_t size)
{
    char path[128];
    FILE *file = fopen(kit_path(kit, CONTROL_JOURNAL_NAME, path), "we");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static unsigned count_lines(struct kit *kit)
{
    size_t size;
    _cleanup_free_ char *text = read_all(kit, &size);
    unsigned n = 0;

    for (size_t i = 0; i < size; i++)
        n += text[i] == '\n';
    return n;
}

static void append_entry(struct kit *kit, const char *json)
{
    json_object *object = json_tokener_parse(json);
    char path[128], *line;

    assert_non_null(object);
    assert_int_equal(ledger_line(object, &line), 0);
    assert_int_equal(ledger_append(kit_path(kit, CONTROL_JOURNAL_NAME, path), line, strlen(line)),
                     0);
    json_object_put(object);
    free(line);
}

static bool is_there(struct kit *kit, const char *name)
{
    char path[128];

    return access(kit_path(kit, name, path), F_OK) == 0;
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void leave(struct kit *kit)
{
}

static void tear(struct kit *kit)
{
    size_t size;
    _cleanup_free_ char *text = read_all(kit, &size);

    write_all(kit, text, size - 10);
}

static void flip(struct kit *kit)
{
    size_t size;
    _cleanup_free_ char *text = read_all(kit, &size);
    char *line = memchr(text, '\n', size);      /* the second one */

    assert_non_null(line);
    line[40] ^= 1;
    write_all(kit, text, size);
}

static void add_garbage(struct kit *kit)
{
    size_t size;
    _cleanup_free_ char *text = read_all(kit, &size);

    memcpy(text + size, "\0\xff garbage\n\n", 12);
    write_all(kit, text, size + 12);
}

static void empty(struct kit *kit)
{
    write_all(kit, "", 0);
}

static void lose(struct kit *kit)
{
    char path[128];

    assert_int_equal(unlink(kit_path(kit, CONTROL_JOURNAL_NAME, path)), 0);
}

static void make_folder(struct kit *kit)
{
    char path[128];

    lose(kit);
    assert_int_equal(mkdir(kit_path(kit, CONTROL_JOURNAL_NAME, path), 0700), 0);
}

static void make_pipe(struct kit *kit)
{
    char path[128];

    lose(kit);
    assert_int_equal(mkfifo(kit_path(kit, CONTROL_JOURNAL_NAME, path), 0600), 0);
}

static void make_link(struct kit *kit)
{
    char path[128];

    lose(kit);
    assert_int_equal(symlink("/dev/zero", kit_path(kit, CONTROL_JOURNAL_NAME, path)), 0);
}

static void make_huge(struct kit *kit)
{
    char path[128];

    assert_int_equal(truncate(kit_path(kit, CONTROL_JOURNAL_NAME, path), LEDGER_SIZE_MAX + 1), 0);
}

static void add_news(struct kit *kit)
{
    append_entry(kit, "{\"journal\":2}");
    append_entry(kit, "{\"of a newer program\":[1,2]}");
}

static void add_wrong(struct kit *kit)
{
    append_entry(kit, "{\"baseline\":{\"path\":\"/vm/base\"}}");
    append_entry(kit, "{\"forgotten\":5}");
    append_entry(kit, "{\"forgotten\":{\"fsid\":1,\"inode\":\"2\",\"btime\":3}}");
    append_entry(kit, "{\"acknowledged\":{\"finding\":\"bit-rot\"}}");
    append_entry(kit, "{\"acknowledged\":[]}");
    append_entry(kit, "{\"ended\":{\"finding\":\"bit-rot\",\"kind\":\"image\"}}");
}

/* The state: two baselines, the first one of which was forgotten last, and one deleted. */
static void damaged(void **state)
{
    static const struct {
        const char *name;
        void (*damage)(struct kit *kit);
        unsigned n;             /* baselines after the database was lost, */
        unsigned n_with;        /* and where it was not: of three that it has */
        const char *told;       /* NULL nothing */
        bool aside;
    } rows[] = {
        { "sound", leave, 2, 2, NULL, false },
        { "torn", tear, 3, 3, NULL, false },
        { "a bit flipped", flip, 2, 2, "the journal of baselines (1 line, first line 2)", true },
        { "garbage", add_garbage, 2, 2, "the journal of baselines (2 lines, first line ", true },
        { "empty", empty, 0, 2, NULL, false },
        { "lost", lose, 0, 2, NULL, false },
        { "a folder", make_folder, 0, 2, "the journal of baselines (Bad message)", true },
        { "a pipe", make_pipe, 0, 2, "the journal of baselines (Bad message)", true },
        { "a link", make_link, 0, 2, "the journal of baselines (Bad message)", true },
        { "huge", make_huge, 0, 2, "the journal of baselines (File too large)", true },
        { "of a newer program", add_news, 2, 2, NULL, false },
        { "wrong entries", add_wrong, 2, 2, "the journal of baselines (6 lines, first line ",
          true },
    };

    for (size_t i = 0; i < 2 * ELEMENTSOF(rows); i++) {
        size_t row = i / 2;
        bool lost = i % 2;
        const char *damage;
        struct kit *kit;
        void *data;

        print_message("# %s%s\n", rows[row].name, lost ? ", and no database" : "");
        assert_int_equal(kit_setup(&data), 0);
        kit = data;
        kit_tell(kit, "+old golden/old old=oooo -old later +x"
                      " +one golden/one one=aaaa +two golden/two two=bbbb -two -x");
        assert_int_equal(kit->n_kept, 2);
        kit_stop(kit);
        if (lost)
            kit_lose_database(kit);
        rows[row].damage(kit);
        kit_start(kit);
        assert_int_equal(baselines_count(kit->contents->baselines),
                         lost ? rows[row].n : rows[row].n_with);
        damage = contents_damage(kit->contents);
        assert_int_equal(damage != NULL, rows[row].told != NULL);
        assert_int_equal(kit->damaged, damage ? 1 : 0);
        if (damage)
            assert_memory_equal(damage, rows[row].told, strlen(rows[row].told));
        assert_int_equal(is_there(kit, CONTROL_JOURNAL_NAME ".damaged"), rows[row].aside);
        /* All of it is in the database again, and in a ledger that is sound. */
        assert_int_equal(kit->n_kept, baselines_count(kit->contents->baselines));
        kit_tell(kit, "one^ later");
        kit_lose_database(kit);
        kit_tell(kit, "+y golden/y y=yyyy restart");
        assert_null(contents_damage(kit->contents));
        assert_int_equal(baselines_count(kit->contents->baselines),
                         (lost ? rows[row].n : rows[row].n_with) + 1);
        kit_teardown(&data);
    }
}

/* ---- merged with the database ---------------------------------------------------------------- */

static void merged(void **state)
{
    struct kit *kit = *state;
    json_object *older;
    uint64_t verified;
    size_t size;
    char *ledger;

    kit_tell(kit, "+base golden/base base=aaaa");
    older = json_object_get(kit->kept[0].baseline);
    ledger = read_all(kit, &size);
    kit_tell(kit, "base=aaaa");
    verified = kit_baseline(kit, "base")->verified;

    /* The database is of yesterday: what was verified later counts, */
    kit_stop(kit);
    json_object_put(kit->kept[0].baseline);
    kit->kept[0].baseline = older;
    kit_start(kit);
    kit_tell(kit, "+x");
    assert_int_equal(kit_baseline(kit, "base")->verified, verified);
    assert_int_equal(json_object_get_uint64(
                         json_object_object_get(kit->kept[0].baseline, "verified")), verified);

    /* and so it does where the ledger is. */
    kit_stop(kit);
    write_all(kit, ledger, size);
    kit_start(kit);
    kit_tell(kit, "+y");
    assert_int_equal(kit_baseline(kit, "base")->verified, verified);
    free(ledger);
    assert_int_equal(kit->damaged, 0);
}

/* ---- written --------------------------------------------------------------------------------- */

static struct finding *add_finding(struct kit *kit, enum finding_type type, const char *subject)
{
    struct finding *finding = calloc(1, sizeof(*finding));

    assert_non_null(finding);
    *finding = (struct finding){
        .id = 7, .type = type, .subject_kind = SUBJECT_IMAGE, .subject = strdup(subject),
        .datastore = strdup("vm"), .state = FINDING_OPEN, .severity = SEVERITY_ERROR, .weight = 5,
    };
    kit->findings[kit->n_findings++] = finding;
    return finding;
}

static void acknowledge(struct kit *kit, struct finding *finding, uint64_t until)
{
    finding->state = FINDING_ACKNOWLEDGED;
    finding->acknowledged_by = strdup("root");
    finding->acknowledged_reason = strdup("known");
    finding->acknowledged_until = until;
    finding->acknowledged_weight = finding->weight;
    contents_event(kit->contents, finding, EVENT_ACKNOWLEDGED);
}

/* What says nothing any more goes, when it is much. */
static void written_anew(void **state)
{
    struct kit *kit = *state;
    struct finding *finding;
    unsigned most = 0, n;

    kit_tell(kit, "+base golden/base base=aaaa +two golden/two two=bbbb -two");
    finding = add_finding(kit, FINDING_CLUSTERS_LEAKED, "/vm/base");
    acknowledge(kit, finding, 0);
    for (unsigned i = 0; i < 30; i++) {
        for (unsigned k = 0; k < 250; k++) {
            contents_event(kit->contents, finding, EVENT_RESOLVED);
            contents_event(kit->contents, finding, EVENT_ACKNOWLEDGED);
        }
        contents_flush(kit->contents);
        kit_run(kit);
        n = count_lines(kit);
        most = n > most ? n : most;
    }
    assert_in_range(most, 9000, 11000);
    assert_in_range(n, 4, 6000);
    /* It holds all that counts. */
    kit_lose_database(kit);
    kit_restart(kit);
    assert_int_equal(baselines_count(kit->contents->baselines), 2);
    finding->state = FINDING_OPEN;
    contents_event(kit->contents, finding, EVENT_OPENED);
    contents_acknowledge(kit->contents);
    assert_string_equal(kit->acknowledged, "7 root known 0;");
}

/* What could not be written comes with the next writing of the whole. */
static void not_writable(void **state)
{
    struct kit *kit = *state;
    char path[128];

    kit_tell(kit, "+base golden/base base=aaaa");
    make_folder(kit);
    kit_tell(kit, "+two golden/two two=bbbb");
    assert_int_not_equal(kit->contents->ledger_error, 0);
    kit_tell(kit, "two=bbbb");
    assert_int_not_equal(kit->contents->ledger_error, 0);
    assert_int_equal(rmdir(kit_path(kit, CONTROL_JOURNAL_NAME, path)), 0);
    kit_tell(kit, "two=bbbb");
    assert_int_equal(kit->contents->ledger_error, 0);
    kit_lose_database(kit);
    kit_restart(kit);
    assert_int_equal(baselines_count(kit->contents->baselines), 2);
    assert_int_equal(kit->damaged, 0);
}

/* What was on its way when the store was closed. */
static void cancelled(void **state)
{
    struct kit *kit = *state;

    kit_tell(kit, "+base golden/base base=aaaa hold base@");
    assert_true(kit->n_tasks > 0);
    kit_cancel(kit);
    assert_int_equal(kit->contents->ledger_error, 0);
}

/* ---- acknowledged ---------------------------------------------------------------------------- */

static void acknowledged(void **state)
{
    enum { SAME, HEAVIER, LIGHTER, SEVERER, MILDER, OTHER_TYPE, OTHER_SUBJECT, OTHER_KIND };
    static const struct {
        const char *name;
        uint64_t until;         /* hours from the start on; 0 without end */
        int ended;              /* an event that ends it before; -1 none */
        int opened;             /* how it is opened again */
        bool kept;              /* the database is there */
        const char *want;
    } rows[] = {
        { "as it was", 0, -1, SAME, false, "7 root known 0;" },
        { "less of it", 0, -1, LIGHTER, false, "7 root known 0;" },
        { "milder", 0, -1, MILDER, false, "7 root known 0;" },
        { "more of it", 0, -1, HEAVIER, false, "" },
        { "severer", 0, -1, SEVERER, false, "" },
        { "another finding", 0, -1, OTHER_TYPE, false, "" },
        { "of another image", 0, -1, OTHER_SUBJECT, false, "" },
        { "of a datastore of that name", 0, -1, OTHER_KIND, false, "" },
        { "for a day", 24, -1, SAME, false, "7 root known 1700100800000000;" },
        { "for an hour", 1, -1, SAME, false, "" },
        { "resolved", 0, EVENT_RESOLVED, SAME, false, "" },
        { "taken back", 0, EVENT_UNACKNOWLEDGED, SAME, false, "" },
        { "worsened", 0, EVENT_WORSENED, SAME, false, "" },
        { "told again", 0, EVENT_REMINDER, SAME, false, "7 root known 0;" },
        { "in the database", 0, -1, SAME, true, "" },
    };

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct finding *finding;
        struct kit *kit;
        void *data;

        print_message("# %s\n", rows[i].name);
        assert_int_equal(kit_setup(&data), 0);
        kit = data;
        kit_tell(kit, "+base golden/base base=aaaa");
        finding = add_finding(kit, FINDING_CLUSTERS_LEAKED, "/vm/base");
        acknowledge(kit, finding, rows[i].until ? T0_USEC + rows[i].until * HOUR + 4 * HOUR : 0);
        if (rows[i].ended >= 0)
            contents_event(kit->contents, finding, (enum event_type)rows[i].ended);
        contents_flush(kit->contents);
        if (!rows[i].kept)
            kit_lose_database(kit);
        kit_restart(kit);
        kit_tell(kit, "+x +y +z");
        finding->weight += rows[i].opened == HEAVIER ? 1 : rows[i].opened == LIGHTER ? -1 : 0;
        if (rows[i].opened == SEVERER || rows[i].opened == MILDER)
            finding->severity = rows[i].opened == SEVERER ? SEVERITY_CRITICAL : SEVERITY_WARNING;
        if (rows[i].opened == OTHER_TYPE)
            finding->type = FINDING_CHAIN_DEEP;
        if (rows[i].opened == OTHER_KIND)
            finding->subject_kind = SUBJECT_DATASTORE;
        if (rows[i].opened == OTHER_SUBJECT)
            finding->subject[strlen(finding->subject) - 1] = 'x';
        contents_acknowledge(kit->contents);
        assert_string_equal(kit->acknowledged, "");     /* not before it is opened */
        contents_event(kit->contents, finding, EVENT_OPENED);
        contents_acknowledge(kit->contents);
        assert_string_equal(kit->acknowledged, rows[i].want);
        /* Once. */
        contents_event(kit->contents, finding, EVENT_OPENED);
        contents_acknowledge(kit->contents);
        assert_string_equal(kit->acknowledged, rows[i].want);
        kit_teardown(&data);
    }
}

/* A ledger that is written anew has those whose findings were not opened again yet. */
static void still_pending(void **state)
{
    struct kit *kit = *state;
    struct finding *finding;

    kit_tell(kit, "+base golden/base base=aaaa");
    finding = add_finding(kit, FINDING_CLUSTERS_LEAKED, "/vm/base");
    acknowledge(kit, finding, 0);
    finding->state = FINDING_OPEN;
    for (unsigned i = 0; i < 2; i++) {
        kit_stop(kit);
        kit_lose_database(kit);
        if (i == 0)
            add_garbage(kit);
        kit_start(kit);
    }
    assert_int_equal(count_lines(kit), 3);
    contents_event(kit->contents, finding, EVENT_OPENED);
    contents_acknowledge(kit->contents);
    assert_string_equal(kit->acknowledged, "7 root known 0;");
}

/* ---- muted ----------------------------------------------------------------------------------- */

static struct mute *add_mute(struct kit *kit, int64_t id, const char *path, int64_t finding_id)
{
    struct mute *mute = calloc(1, sizeof(*mute));

    assert_non_null(mute);
    *mute = (struct mute){ .id = id, .path = path ? strdup(path) : NULL, .finding_id = finding_id,
                           .by = strdup("root"), .reason = strdup("known"), .made = T0_USEC };
    kit->mutes[kit->n_mutes++] = mute;
    contents_mute(kit->contents, mute);
    return mute;
}

static void free_mutes(struct kit *kit)
{
    while (kit->n_mutes > 0)
        mute_free(kit->mutes[--kit->n_mutes]);
}

/* Those that hold outlive the database, but for those by a number that it gave; written anew,
 * too. */
static void muted(void **state)
{
    struct kit *kit = *state;
    struct mute *ended;

    kit_tell(kit, "+base golden/base base=aaaa");
    (void)add_mute(kit, 1, "/srv/\xff*", 0);
    ended = add_mute(kit, 2, "/vm/*", 0);
    (void)add_mute(kit, 3, NULL, 7);
    ended->ended = T0_USEC + HOUR;
    contents_mute(kit->contents, ended);
    contents_flush(kit->contents);
    for (unsigned i = 0; i < 3; i++) {
        kit_stop(kit);
        free_mutes(kit);
        kit_lose_database(kit);
        if (i == 1)
            add_garbage(kit);
        kit_start(kit);
        assert_int_equal(kit->n_mutes, 1);
        assert_int_equal(kit->mutes[0]->id, 1);
        assert_string_equal(kit->mutes[0]->path, "/srv/\xff*");
        assert_string_equal(kit->mutes[0]->by, "root");
        assert_string_equal(kit->mutes[0]->reason, "known");
        assert_int_equal(kit->mutes[0]->made, T0_USEC);
        assert_int_equal(kit->mutes[0]->until, 0);
        assert_true(kit->mutes[0]->changed);
        assert_null(kit->mutes[0]->finding);
    }
    /* The database that is there has them. */
    kit_tell(kit, "+more golden/more more=bbbb");
    free_mutes(kit);
    kit_restart(kit);
    assert_int_equal(kit->n_mutes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged),
        cmocka_unit_test_setup_teardown(merged, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(written_anew, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(not_writable, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(cancelled, kit_setup, kit_teardown),
        cmocka_unit_test(acknowledged),
        cmocka_unit_test_setup_teardown(still_pending, kit_setup, kit_teardown),
        cmocka_unit_test_setup_teardown(muted, kit_setup, kit_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
