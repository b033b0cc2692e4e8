/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The life of findings: every transition, and what stays true under any sequence of judgements. */
#include "unit/model-fixture.h"

#include <stdio.h>

#include "daemon/judge/judge.h"

#define IMAGE "/vm/web.qcow2"

struct world {
    struct findings *findings;
    uint64_t now, audited;
    struct judgement judgement;
    /* What was told last, and how often. */
    unsigned n_changed, n_events;
    enum event_type event;
    char message[300];
    sd_id128_t event_id;
    int refuse;
};

static int told(void *userdata, struct finding *finding, const struct event *event)
{
    struct world *world = userdata;

    world->n_changed++;
    if (finding->id == 0)
        finding->id = 100 + (int64_t)finding->type;
    if (!event)
        return world->refuse;
    world->n_events++;
    world->event = event->type;
    assert_false(sd_id128_equal(world->event_id, event->id));
    world->event_id = event->id;
    assert_int_equal(event->at, world->now);
    assert_int_equal(event->finding, finding->type);
    assert_string_equal(event->subject, finding->subject);
    assert_string_equal(event->datastore, finding->datastore);
    assert_int_equal(event->severity, finding->severity);
    snprintf(world->message, sizeof(world->message), "%s", event->message);
    return world->refuse;
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    assert_int_equal(findings_new(&world->findings), 0);
    world->now = T0_USEC;
    world->audited = 1;
    world->judgement.confidence = CONFIDENCE_OFFLINE;
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    judgement_done(&world->judgement);
    findings_free(world->findings);
    free(world);
    return 0;
}

/* The next judgement rests on a new audit. */
static void condition(struct world *world, enum finding_type type, enum severity severity,
                      uint64_t weight)
{
    struct conditions *conditions = &world->judgement.conditions;
    json_object *evidence = json_object_new_object();

    json_object_object_add(evidence, "summary",
                           json_object_new_string("has 40 unconsolidated layers (error from 25)"));
    conditions->items = reallocarray(conditions->items, conditions->n_items + 1,
                                     sizeof(*conditions->items));
    assert_non_null(conditions->items);
    conditions->items[conditions->n_items++] =
        (struct condition){ .type = type,
                            .severity = severity,
                            .confidence = world->judgement.confidence,
                            .evidence = evidence,
                            .weight = weight };
}

static void apply_again(struct world *world)
{
    for (int i = 0; i < _FINDING_MAX; i++)
        world->judgement.judged[i] = true;
    world->judgement.audited = world->audited;
    world->n_changed = world->n_events = 0;
    assert_int_equal(findings_apply(world->findings, SUBJECT_IMAGE, IMAGE, "vm", &world->judgement,
                                    42, world->now, told, world),
                     0);
    conditions_done(&world->judgement.conditions);
}

static void apply(struct world *world)
{
    world->audited++;
    apply_again(world);
}

static const struct finding *finding(struct world *world)
{
    return findings_get(world->findings, FINDING_CHAIN_DEEP, SUBJECT_IMAGE, IMAGE);
}

static void open_one(struct world *world)
{
    condition(world, FINDING_CHAIN_DEEP, SEVERITY_ERROR, 40);
    apply(world);
}

static void assert_told(struct world *world, enum event_type event, const char *message)
{
    assert_int_equal(world->n_events, 1);
    assert_string_equal(event_type_name(world->event), event_type_name(event));
    assert_string_equal(world->message, message);
}

static void opens_and_goes_on(void **state)
{
    struct world *world = *state;

    open_one(world);
    assert_told(world, EVENT_OPENED,
                "chain-deep: " IMAGE " has 40 unconsolidated layers (error from 25)");
    assert_int_equal(finding(world)->state, FINDING_OPEN);
    assert_int_equal(finding(world)->first_seen, T0_USEC);
    assert_int_equal(finding(world)->count, 1);
    assert_string_equal(finding(world)->datastore, "vm");

    world->now += HOUR;
    open_one(world);
    assert_int_equal(world->n_events, 0);
    assert_int_equal(world->n_changed, 1);
    assert_int_equal(finding(world)->count, 2);
    assert_int_equal(finding(world)->first_seen, T0_USEC);
    assert_int_equal(finding(world)->last_seen, world->now);
    assert_int_equal(finding(world)->changed, T0_USEC);

    condition(world, FINDING_CHAIN_DEEP, SEVERITY_ERROR, 40);
    apply_again(world);         /* the same audit, judged once more */
    assert_int_equal(finding(world)->count, 2);
}

static void worsens_and_eases(void **state)
{
    struct world *world = *state;

    open_one(world);
    condition(world, FINDING_CHAIN_DEEP, SEVERITY_CRITICAL, 160);
    apply(world);
    assert_told(world, EVENT_WORSENED,
                "chain-deep: " IMAGE
                " has 40 unconsolidated layers (error from 25) (critical, was error)");
    condition(world, FINDING_CHAIN_DEEP, SEVERITY_WARNING, 5);
    apply(world);
    assert_told(world, EVENT_EASED,
                "chain-deep: " IMAGE
                " has 40 unconsolidated layers (error from 25) (warning, was critical)");
    assert_int_equal(finding(world)->severity, SEVERITY_WARNING);
}

static void resolves_and_returns(void **state)
{
    struct world *world = *state;

    open_one(world);
    world->now += 2 * DAY;
    apply(world);
    assert_told(world, EVENT_RESOLVED,
                "chain-deep: " IMAGE
                " has 40 unconsolidated layers (error from 25): resolved after 2d");
    assert_int_equal(finding(world)->state, FINDING_RESOLVED);
    assert_int_equal(finding(world)->resolved, world->now);
    apply(world);
    assert_int_equal(world->n_changed, 0);

    world->now += 7 * DAY;
    open_one(world);
    assert_told(world, EVENT_REOPENED,
                "chain-deep: " IMAGE
                " has 40 unconsolidated layers (error from 25) (again, it was resolved 7d ago)");
    assert_int_equal(finding(world)->first_seen, T0_USEC);
    assert_int_equal(finding(world)->count, 2);
    assert_int_equal(finding(world)->resolved, 0);

    apply(world);
    world->now += 7 * DAY + 1;
    open_one(world);
    assert_int_equal(world->event, EVENT_OPENED);
    assert_int_equal(finding(world)->first_seen, world->now);
    assert_int_equal(finding(world)->count, 1);
}

static void low_confidence_resolves_only_after_two_audits(void **state)
{
    struct world *world = *state;

    open_one(world);
    world->judgement.confidence = CONFIDENCE_RACY;
    apply(world);
    assert_int_equal(world->n_events, 0);
    assert_int_equal(world->n_changed, 1);
    assert_int_equal(finding(world)->misses, 1);
    apply_again(world);         /* judged again, but it is still the one audit */
    assert_int_equal(world->n_events, 0);
    assert_int_equal(finding(world)->misses, 1);
    open_one(world);
    assert_int_equal(finding(world)->misses, 0);
    apply(world);
    assert_int_equal(world->n_events, 0);
    world->judgement.confidence = CONFIDENCE_CONFIRMED;
    apply(world);
    assert_int_equal(world->event, EVENT_RESOLVED);
    world->judgement.confidence = CONFIDENCE_FROZEN;
    open_one(world);
    apply(world);
    assert_int_equal(world->event, EVENT_RESOLVED);
}

static void what_was_not_judged_stays(void **state)
{
    struct world *world = *state;

    open_one(world);
    world->judgement.audited = ++world->audited;
    world->judgement.judged[FINDING_CHAIN_DEEP] = false;
    world->n_changed = 0;
    assert_int_equal(findings_apply(world->findings, SUBJECT_IMAGE, IMAGE, "vm", &world->judgement,
                                    42, world->now, told, world),
                     0);
    assert_int_equal(world->n_changed, 0);
    assert_int_equal(finding(world)->state, FINDING_OPEN);
}

static void what_does_not_grow_by_itself_may_not_grow(void **state)
{
    struct world *world = *state;
    const struct finding *leaked;

    condition(world, FINDING_CLUSTERS_LEAKED, SEVERITY_WARNING, 40);
    apply(world);
    leaked = findings_get(world->findings, FINDING_CLUSTERS_LEAKED, SUBJECT_IMAGE, IMAGE);
    findings_acknowledge(world->findings, leaked->id, "root", NULL, 0, world->now, told, world);
    condition(world, FINDING_CLUSTERS_LEAKED, SEVERITY_WARNING, 41);
    apply(world);
    assert_int_equal(world->n_events, 1);
    assert_int_equal(world->event, EVENT_UNACKNOWLEDGED);
}

static void acknowledgements(void **state)
{
    struct world *world = *state;

    open_one(world);
    assert_int_equal(
        findings_acknowledge(world->findings, 7, "root", "x", 0, world->now, told, world), -ENOENT);
    assert_int_equal(findings_acknowledge(world->findings, finding(world)->id, "root", "x",
                                          world->now, world->now, told, world),
                     -EINVAL);
    world->n_events = 0;
    assert_int_equal(findings_acknowledge(world->findings, finding(world)->id, "root",
                                          "until\nMonday", world->now + 3 * DAY, world->now, told,
                                          world),
                     0);
    assert_told(
        world, EVENT_ACKNOWLEDGED,
        "chain-deep: " IMAGE
        " has 40 unconsolidated layers (error from 25): acknowledged by root: until\\nMonday");
    assert_int_equal(finding(world)->state, FINDING_ACKNOWLEDGED);
    open_one(world);            /* no more than was acknowledged */
    assert_int_equal(world->n_events, 0);

    condition(world, FINDING_CHAIN_DEEP, SEVERITY_ERROR, 60);
    apply(world);               /* half as deep again: that is how chains are */
    assert_int_equal(world->n_events, 0);
    condition(world, FINDING_CHAIN_DEEP, SEVERITY_ERROR, 61);
    apply(world);
    assert_told(world, EVENT_UNACKNOWLEDGED, "chain-deep: " IMAGE
                " has 40 unconsolidated layers (error from 25) (more than was acknowledged)");
    assert_null(finding(world)->acknowledged_by);

    findings_acknowledge(world->findings, finding(world)->id, "root", NULL, 0, world->now, told,
                         world);
    condition(world, FINDING_CHAIN_DEEP, SEVERITY_CRITICAL, 61);
    apply(world);
    assert_int_equal(world->event, EVENT_WORSENED);
    assert_int_equal(finding(world)->state, FINDING_OPEN);

    findings_acknowledge(world->findings, finding(world)->id, "root", "", 0, world->now, told,
                         world);
    apply(world);
    assert_int_equal(world->event, EVENT_RESOLVED);
    assert_int_equal(findings_acknowledge(world->findings, finding(world)->id, "root", "", 0,
                                          world->now, told, world),
                     -EINVAL);
    open_one(world);            /* what returns was not acknowledged */
    assert_int_equal(finding(world)->state, FINDING_OPEN);
}

static void time_passes(void **state)
{
    struct world *world = *state;
    uint64_t next, day = 1;

    assert_int_equal(findings_tick(world->findings, world->now, DAY, told, world, &next), 0);
    assert_true(next == UINT64_MAX);
    open_one(world);
    findings_acknowledge(world->findings, finding(world)->id, "root", "", world->now + 3 * DAY,
                         world->now, told, world);
    findings_tick(world->findings, world->now, DAY, told, world, &next);
    assert_int_equal(next, world->now + 3 * DAY);
    world->now = next;
    world->n_events = 0;
    findings_tick(world->findings, world->now, DAY, told, world, &next);
    assert_told(world, EVENT_UNACKNOWLEDGED, "chain-deep: " IMAGE
                " has 40 unconsolidated layers (error from 25) (the acknowledgement has expired)");

    /* Reminders: after 1, 2, 4, ... 32, 32 days. */
    for (int i = 0; i < 8; i++) {
        assert_int_equal(next, world->now + day * DAY);
        world->now = next - 1;
        world->n_events = 0;
        findings_tick(world->findings, world->now, DAY, told, world, &next);
        assert_int_equal(world->n_events, 0);
        world->now = next;
        findings_tick(world->findings, world->now, DAY, told, world, &next);
        assert_int_equal(world->n_events, 1);
        assert_int_equal(world->event, EVENT_REMINDER);
        day = day < 32 ? day * 2 : 32;
    }
    findings_tick(world->findings, world->now + 100 * DAY, 0, told, world, &next);
    assert_true(next == UINT64_MAX);

    apply(world);
    findings_tick(world->findings, world->now, DAY, told, world, &next);
    world->now = next;
    assert_non_null(finding(world));
    findings_tick(world->findings, world->now, DAY, told, world, &next);
    assert_null(finding(world));
    assert_true(next == UINT64_MAX);
}

/* By a day and a year, ahead and back: told once at most, then as often as ever. */
static void clocks_are_set(void **state)
{
    static const uint64_t jumps[] = { DAY, 365 * DAY };
    struct world *world = *state;
    uint64_t next;

    for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
        open_one(world);
        world->n_events = 0;
        world->now += jumps[i];
        findings_tick(world->findings, world->now, DAY, told, world, &next);
        assert_int_equal(world->n_events, 1);
        assert_int_equal(world->event, EVENT_REMINDER);
        findings_tick(world->findings, world->now, DAY, told, world, &next);
        assert_int_equal(world->n_events, 1);

        world->now -= jumps[i] - HOUR;          /* put right */
        open_one(world);
        world->n_events = 0;
        findings_tick(world->findings, world->now, DAY, told, world, &next);
        assert_int_equal(world->n_events, 0);
        assert_true(next > world->now && next <= world->now + 4 * DAY);

        world->now -= jumps[i];                 /* back before it was opened */
        findings_tick(world->findings, world->now, DAY, told, world, &next);
        assert_true(next > world->now && next <= world->now + 4 * DAY);
        world->now = next;
        world->n_events = 0;
        findings_tick(world->findings, world->now, DAY, told, world, &next);
        assert_int_equal(world->event, EVENT_REMINDER);
        if (world->now < finding(world)->first_seen)
            assert_told(world, EVENT_REMINDER, "chain-deep: " IMAGE
                        " has 40 unconsolidated layers (error from 25) (since 0s)");
        world->now += jumps[i];
        apply(world);
    }
}

static void information_is_not_repeated(void **state)
{
    struct world *world = *state;
    uint64_t next;

    condition(world, FINDING_SIZE_MISMATCH, SEVERITY_INFO, 1);
    apply(world);
    findings_tick(world->findings, world->now + 1000 * DAY, DAY, told, world, &next);
    assert_int_equal(world->n_events, 1);
    assert_true(next == UINT64_MAX);
}

static void gone_for_good(void **state)
{
    struct world *world = *state;

    open_one(world);
    world->n_events = 0;
    findings_subject_gone(world->findings, SUBJECT_IMAGE, "/vm/other", "gone", world->now, told,
                          world);
    assert_int_equal(world->n_events, 0);
    findings_subject_gone(world->findings, SUBJECT_IMAGE, IMAGE, "gone", world->now, told,
                          world);
    assert_told(world, EVENT_RESOLVED,
                "chain-deep: " IMAGE
                " has 40 unconsolidated layers (error from 25): gone after 0s");
}

static struct finding *stored(int64_t id, enum finding_type type, const char *subject)
{
    struct finding *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    *f = (struct finding){ .id = id,
                           .type = type,
                           .subject_kind = SUBJECT_IMAGE,
                           .subject = strdup(subject),
                           .datastore = strdup("vm"),
                           .severity = SEVERITY_ERROR,
                           .count = 3,
                           .first_seen = 5 };
    return f;
}

static int collect(void *userdata, struct finding *f)
{
    int64_t **next = userdata;

    *(*next)++ = f->id;
    return f->id == 9 ? 77 : 0;
}

static void findings_from_the_database(void **state)
{
    struct world *world = *state;
    struct finding *twin = stored(4, FINDING_CHAIN_DEEP, IMAGE);
    int64_t ids[8], *next = ids;
    struct findings_counts counts;

    assert_int_equal(findings_load(world->findings, stored(7, FINDING_CHAIN_DEEP, IMAGE), 0), 0);
    assert_int_equal(findings_load(world->findings, twin, 0), -EEXIST);
    finding_free(twin);
    assert_int_equal(findings_load(world->findings, stored(3, FINDING_CHAIN_DEEP, "/vm/b"), 0), 0);
    assert_int_equal(findings_load(world->findings, stored(9, FINDING_LEAK_BURST, IMAGE), 0), 0);
    assert_int_equal(findings_load(world->findings, stored(0, FINDING_READ_ERROR, "/vm/b"), 0), 0);
    assert_int_equal(findings_each(world->findings, 0, collect, &next), 77);
    /* One that has no number yet is none that could be asked for. */
    assert_int_equal(next - ids, 3);
    assert_true(ids[0] == 3 && ids[1] == 7 && ids[2] == 9);
    next = ids;
    findings_each(world->findings, 3, collect, &next);
    assert_true(next - ids == 2 && ids[0] == 7);
    assert_ptr_equal(findings_by_id(world->findings, 3),
                     findings_get(world->findings, FINDING_CHAIN_DEEP, SUBJECT_IMAGE, "/vm/b"));
    assert_null(findings_by_id(world->findings, 0));
    assert_null(findings_get(world->findings, FINDING_CHAIN_DEEP, SUBJECT_DATASTORE, IMAGE));
    findings_acknowledge(world->findings, 3, "root", "", 0, world->now, NULL, NULL);
    findings_count(world->findings, &counts);
    assert_int_equal(counts.open[SEVERITY_ERROR], 3);
    assert_int_equal(counts.acknowledged[SEVERITY_ERROR], 1);

    /* A number that was removed is found no more; one that is not the highest has its place. */
    assert_int_equal(findings_load(world->findings, stored(5, FINDING_LEAK_BURST, "/vm/c"), 0), 0);
    assert_int_equal(findings_rename(world->findings, SUBJECT_IMAGE, "/vm/b", "/vm/c", "vm"), 0);
    next = ids;
    findings_each(world->findings, 0, collect, &next);
    assert_true(next - ids == 4 && ids[0] == 3 && ids[1] == 5 && ids[2] == 7 && ids[3] == 9);
    assert_int_equal(findings_load(world->findings, stored(6, FINDING_CHAIN_DEEP, "/vm/d"), 0), 0);
    assert_int_equal(findings_rename(world->findings, SUBJECT_IMAGE, "/vm/d", "/vm/c", "vm"), 0);
    assert_null(findings_by_id(world->findings, 3));
    assert_ptr_equal(findings_by_id(world->findings, 6),
                     findings_get(world->findings, FINDING_CHAIN_DEEP, SUBJECT_IMAGE, "/vm/c"));
    next = ids;
    findings_each(world->findings, 3, collect, &next);
    assert_true(next - ids == 4 && ids[0] == 5 && ids[1] == 6 && ids[2] == 7 && ids[3] == 9);

    open_one(world);            /* goes on where the last daemon stopped */
    assert_int_equal(finding(world)->first_seen, 5);
    assert_int_equal(finding(world)->count, 4);
}

static void an_audit_from_the_database_was_counted(void **state)
{
    struct world *world = *state;

    assert_int_equal(findings_load(world->findings, stored(7, FINDING_CHAIN_DEEP, IMAGE),
                                   world->audited),
                     0);
    condition(world, FINDING_CHAIN_DEEP, SEVERITY_ERROR, 40);
    apply_again(world);         /* as at every start */
    assert_int_equal(finding(world)->count, 3);
    open_one(world);
    assert_int_equal(finding(world)->count, 4);
}

static void subjects_of_other_kinds(void **state)
{
    struct world *world = *state;

    condition(world, FINDING_DATASTORE_OFFLINE, SEVERITY_ERROR, 1);
    findings_apply(world->findings, SUBJECT_DATASTORE, "vm", "vm", &world->judgement, 0, world->now,
                   told, world);
    assert_string_equal(
        world->message,
        "datastore-offline: datastore vm has 40 unconsolidated layers (error from 25)");
    conditions_done(&world->judgement.conditions);
    condition(world, FINDING_DATABASE_RECOVERED, SEVERITY_ERROR, 1);
    findings_apply(world->findings, SUBJECT_DAEMON, "", "", &world->judgement, 0, world->now, told,
                   world);
    assert_string_equal(
        world->message,
        "database-recovered: qcauditd has 40 unconsolidated layers (error from 25)");
}

static void a_refusal_is_handed_on(void **state)
{
    struct world *world = *state;

    world->refuse = -ENOSPC;
    condition(world, FINDING_CHAIN_DEEP, SEVERITY_ERROR, 1);
    assert_int_equal(findings_apply(world->findings, SUBJECT_IMAGE, IMAGE, "vm", &world->judgement,
                                    1, world->now, told, world),
                     -ENOSPC);
}

/* ---- any sequence --------------------------------------------------------------------------- */

enum { SUBJECTS = 3, TYPES = 4 };

struct ledger {
    struct findings *findings;
    uint64_t now;
    bool alive[SUBJECTS][TYPES];        /* by the events alone */
    bool acknowledged[SUBJECTS][TYPES];
    enum severity severity[SUBJECTS][TYPES];
    unsigned opened, resolved;
    int64_t last_id;
};

static int subject_index(const char *subject)
{
    return subject[1] - 'a';
}

/* Every event must fit what the events before it have left. */
static int keep_ledger(void *userdata, struct finding *f, const struct event *event)
{
    struct ledger *ledger = userdata;
    int s = subject_index(f->subject), t = (int)f->type;
    bool *alive = &ledger->alive[s][t], *acknowledged = &ledger->acknowledged[s][t];

    if (f->id == 0)
        f->id = ++ledger->last_id;
    assert_ptr_equal(findings_get(ledger->findings, f->type, f->subject_kind, f->subject), f);
    if (!event) {
        assert_true(*alive && f->state != FINDING_RESOLVED);
        return 0;
    }
    switch (event->type) {
    case EVENT_OPENED:
    case EVENT_REOPENED:
        assert_false(*alive);
        assert_int_equal(f->state, FINDING_OPEN);
        *alive = true;
        *acknowledged = false;
        ledger->opened++;
        break;
    case EVENT_RESOLVED:
        assert_true(*alive);
        assert_int_equal(f->state, FINDING_RESOLVED);
        *alive = *acknowledged = false;
        ledger->resolved++;
        break;
    case EVENT_WORSENED:
        assert_true(*alive && event->severity > ledger->severity[s][t]);
        assert_int_equal(f->state, FINDING_OPEN);
        *acknowledged = false;
        break;
    case EVENT_EASED:
        assert_true(*alive && event->severity < ledger->severity[s][t]);
        break;
    case EVENT_ACKNOWLEDGED:
        assert_true(*alive);
        *acknowledged = true;
        break;
    case EVENT_UNACKNOWLEDGED:
        assert_true(*alive && *acknowledged);
        assert_int_equal(f->state, FINDING_OPEN);
        *acknowledged = false;
        break;
    case EVENT_REMINDER:
        assert_true(*alive && !*acknowledged);
        break;
    default:
        fail();
    }
    ledger->severity[s][t] = event->severity;
    assert_true(f->first_seen <= f->last_seen && f->last_seen <= ledger->now);
    assert_true(f->count > 0);
    assert_int_equal(f->resolved != 0, f->state == FINDING_RESOLVED);
    assert_int_equal(f->acknowledged_by != NULL, f->state == FINDING_ACKNOWLEDGED);
    return 0;
}

static void any_sequence_keeps_the_rules(void **state)
{
    struct world *world = *state;
    struct ledger ledger = { .findings = world->findings, .now = T0_USEC };
    unsigned seed = 11;
    uint64_t next;

    for (unsigned round = 0; round < 30000; round++) {
        unsigned dice[6];
        char subject[] = "/a";
        struct judgement judgement = { .confidence = CONFIDENCE_OFFLINE };
        struct findings_counts counts;
        uint64_t alive = 0, counted = 0;

        for (size_t i = 0; i < 6; i++)
            dice[i] = (seed = seed * 1664525 + 1013904223) >> 12;
        ledger.now += dice[0] % 10 == 0 ? DAY * (dice[0] % 9) : HOUR;
        subject[1] = (char)('a' + dice[1] % SUBJECTS);
        if (dice[2] % 16 == 0) {
            findings_subject_gone(world->findings, SUBJECT_IMAGE, subject, "gone", ledger.now,
                                  keep_ledger, &ledger);
        } else if (dice[2] % 16 == 1) {
            findings_acknowledge(world->findings, 1 + dice[3] % (ledger.last_id + 1), "root", "",
                                 dice[4] % 2 ? ledger.now + DAY : 0, ledger.now, keep_ledger,
                                 &ledger);
        } else if (dice[2] % 16 == 2) {
            findings_tick(world->findings, ledger.now, DAY, keep_ledger, &ledger, &next);
            assert_true(next > ledger.now);
        } else {
            judgement.confidence = dice[3] % _CONFIDENCE_MAX;
            judgement.audited = ledger.now - dice[3] % 2;
            judgement.conditions.items = calloc(TYPES, sizeof(struct condition));
            for (unsigned type = 0; type < TYPES; type++) {
                judgement.judged[type] = (dice[4] >> type) & 1;
                if (!((dice[5] >> type) & 1))
                    continue;
                judgement.judged[type] = true;
                judgement.conditions.items[judgement.conditions.n_items++] = (struct condition){
                    .type = type, .severity = (dice[5] >> (4 + type)) % _SEVERITY_MAX,
                    .confidence = judgement.confidence, .evidence = json_object_new_object(),
                    .weight = (dice[5] >> 8) % 5 };
            }
            findings_apply(world->findings, SUBJECT_IMAGE, subject, "vm", &judgement, 1, ledger.now,
                           keep_ledger, &ledger);
            /* What holds is alive, whatever came before; what was seen not to hold by a sure
             * audit is not. */
            for (unsigned type = 0; type < TYPES; type++) {
                bool holds = (dice[5] >> type) & 1;

                if (holds)
                    assert_true(ledger.alive[subject_index(subject)][type]);
                else if (judgement.judged[type] && judgement.confidence >= CONFIDENCE_FROZEN)
                    assert_false(ledger.alive[subject_index(subject)][type]);
            }
            judgement_done(&judgement);
        }
        findings_count(world->findings, &counts);
        for (int s = 0; s < SUBJECTS; s++)
            for (int t = 0; t < TYPES; t++)
                alive += ledger.alive[s][t];
        for (int i = 0; i < _SEVERITY_MAX; i++)
            counted += counts.open[i] + counts.acknowledged[i];
        assert_int_equal(counted, alive);
        assert_int_equal(ledger.opened - ledger.resolved, alive);
    }
    assert_true(ledger.opened > 1000 && ledger.resolved > 1000);
}

/* What was seen while nobody wrote is not replaced by a look at the image in use. */
static void the_stronger_word_stands(void **state)
{
    struct world *world = *state;
    const struct finding *kept;

    condition(world, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, 7);
    apply(world);
    world->judgement.confidence = CONFIDENCE_CONFIRMED;
    condition(world, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, 2);
    apply(world);
    kept = findings_get(world->findings, FINDING_METADATA_CORRUPT, SUBJECT_IMAGE, IMAGE);
    assert_int_equal(kept->confidence, CONFIDENCE_OFFLINE);
    assert_int_equal(kept->weight, 7);
    assert_int_equal(kept->count, 2);
    /* More than that is news; */
    condition(world, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, 9);
    apply(world);
    assert_int_equal(kept->confidence, CONFIDENCE_CONFIRMED);
    assert_int_equal(kept->weight, 9);
    /* and offline evidence always counts. */
    world->judgement.confidence = CONFIDENCE_OFFLINE;
    condition(world, FINDING_METADATA_CORRUPT, SEVERITY_CRITICAL, 1);
    apply(world);
    assert_int_equal(kept->confidence, CONFIDENCE_OFFLINE);
    assert_int_equal(kept->weight, 1);
    /* What does not rest on the content is renewed by every look. */
    condition(world, FINDING_CHAIN_DEEP, SEVERITY_ERROR, 40);
    apply(world);
    world->judgement.confidence = CONFIDENCE_CONFIRMED;
    condition(world, FINDING_CHAIN_DEEP, SEVERITY_ERROR, 30);
    apply(world);
    assert_int_equal(finding(world)->weight, 30);
}

/* What is called otherwise takes everything along, and nobody is told. */
static void a_rename_takes_all_along(void **state)
{
    struct world *world = *state;
    const struct finding *moved;
    int64_t id;

    open_one(world);
    id = finding(world)->id;
    assert_int_equal(findings_acknowledge(world->findings, id, "root", "known", 0, world->now, told,
                                          world), 0);
    world->n_changed = world->n_events = 0;
    assert_int_equal(findings_rename(world->findings, SUBJECT_IMAGE, IMAGE, "/vm/b", "other"), 0);
    assert_int_equal(world->n_changed + world->n_events, 0);
    assert_null(finding(world));
    moved = findings_get(world->findings, FINDING_CHAIN_DEEP, SUBJECT_IMAGE, "/vm/b");
    assert_non_null(moved);
    assert_string_equal(moved->subject, "/vm/b");
    assert_string_equal(moved->datastore, "other");
    assert_int_equal(moved->id, id);
    assert_int_equal(moved->state, FINDING_ACKNOWLEDGED);
    assert_string_equal(moved->acknowledged_reason, "known");
    assert_ptr_equal(findings_by_id(world->findings, id), moved);
    /* What was resolved of another file that had the name is in the way, and goes. */
    open_one(world);
    assert_int_equal(findings_subject_gone(world->findings, SUBJECT_IMAGE, IMAGE, "gone",
                                           world->now, told, world), 0);
    assert_int_equal(finding(world)->state, FINDING_RESOLVED);
    assert_int_equal(findings_rename(world->findings, SUBJECT_IMAGE, "/vm/b", IMAGE, "vm"), 0);
    assert_int_equal(finding(world)->state, FINDING_ACKNOWLEDGED);
    /* The same audit, judged under the new name, is no other look at it. */
    condition(world, FINDING_CHAIN_DEEP, SEVERITY_ERROR, 40);
    apply(world);
    assert_int_equal(world->n_events, 0);
    assert_int_equal(finding(world)->state, FINDING_ACKNOWLEDGED);
    assert_int_equal(findings_rename(world->findings, SUBJECT_IMAGE, "/nobody", "/x", "vm"), 0);
    assert_null(findings_of(world->findings, SUBJECT_IMAGE, "/x"));
}

/* What was acknowledged was of another file. */
static void another_file_inherits_no_acknowledgement(void **state)
{
    struct world *world = *state;

    open_one(world);
    findings_acknowledge(world->findings, finding(world)->id, "root", "known", 0, world->now, told,
                         world);
    world->judgement.other_file = true;
    condition(world, FINDING_CHAIN_DEEP, SEVERITY_ERROR, 40);
    apply_again(world);         /* no new audit: it is of the same file as before */
    assert_int_equal(finding(world)->state, FINDING_ACKNOWLEDGED);
    condition(world, FINDING_CHAIN_DEEP, SEVERITY_ERROR, 40);
    apply(world);
    assert_int_equal(world->event, EVENT_UNACKNOWLEDGED);
    assert_non_null(strstr(world->message, "(another file lies there now)"));
    assert_int_equal(finding(world)->state, FINDING_OPEN);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(opens_and_goes_on),
        TEST(worsens_and_eases),
        TEST(resolves_and_returns),
        TEST(low_confidence_resolves_only_after_two_audits),
        TEST(what_was_not_judged_stays),
        TEST(what_does_not_grow_by_itself_may_not_grow),
        TEST(acknowledgements),
        TEST(time_passes),
        TEST(clocks_are_set),
        TEST(information_is_not_repeated),
        TEST(gone_for_good),
        TEST(findings_from_the_database),
        TEST(an_audit_from_the_database_was_counted),
        TEST(subjects_of_other_kinds),
        TEST(the_stronger_word_stands),
        TEST(a_refusal_is_handed_on),
        TEST(any_sequence_keeps_the_rules),
        TEST(a_rename_takes_all_along),
        TEST(another_file_inherits_no_acknowledgement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
