/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mutes: what one covers, that such findings are recorded and not told, when it breaks, when it
 * ends. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/judge/judge.h"
#include "helpers/clock.h"
#include "lib/cleanup.h"

#define HOUR (3600 * USEC_PER_SEC)
#define DAY (24 * HOUR)
#define T0 UINT64_C(1700000000000000)
#define TEXT(literal) ((char *)(uintptr_t)(literal))
#define A "/srv/lab/a.qcow2"
#define B "/srv/vm/b.qcow2"

struct world {
    struct findings *findings;
    struct policy policy;
    struct policy_class class;
    char *paths[2];
    uint64_t now, next, audited;
    int64_t last_id;
    /* what was said since it was looked at last: "TYPE SUBJECT told;" or "... muted N;" */
    char said[1000];
    char message[400];
};

static int on_changed(void *userdata, struct finding *finding, const struct event *event)
{
    struct world *world = userdata;
    size_t n = strlen(world->said);

    if (finding->id == 0)
        finding->id = ++world->last_id;
    if (!event)
        return 0;
    snprintf(world->message, sizeof(world->message), "%s", event->message);
    assert_int_equal(event->muted_by, finding->muted_by);
    if (event_alerts(event))
        snprintf(world->said + n, sizeof(world->said) - n, "%s %s told;",
                 event_type_name(event->type), finding->subject);
    else
        snprintf(world->said + n, sizeof(world->said) - n, "%s %s muted %d;",
                 event_type_name(event->type), finding->subject, (int)event->muted_by);
    return 0;
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    assert_non_null(world);
    assert_int_equal(findings_new(&world->findings), 0);
    world->paths[0] = TEXT("/srv/lab/*");
    world->class = (struct policy_class){ .name = TEXT("lab"), .paths = world->paths };
    world->policy = (struct policy){ .classes = &world->class, .n_classes = 1 };
    mutes_set_policy(findings_mutes(world->findings), &world->policy);
    world->now = T0;
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;

    findings_free(world->findings);
    free(world);
    return 0;
}

/* A new audit that finds it with that severity; below information: not at all. */
static void judge_as(struct world *world, enum subject_kind kind, const char *subject,
                     enum finding_type type, int severity)
{
    struct judgement judgement = { .confidence = CONFIDENCE_OFFLINE, .audited = ++world->audited };
    struct condition condition = { .type = type, .severity = (enum severity)severity,
                                   .confidence = CONFIDENCE_OFFLINE, .weight = 1,
                                   .evidence = json_object_new_object() };

    judgement.judged[type] = true;
    if (severity >= 0)
        judgement.conditions = (struct conditions){ .items = &condition, .n_items = 1 };
    assert_int_equal(findings_apply(world->findings, kind, subject, "vm", &judgement, 0, world->now,
                                    on_changed, world), 0);
    json_object_put(condition.evidence);
}

static void judge_image_as(struct world *world, const char *subject, int severity)
{
    judge_as(world, SUBJECT_IMAGE, subject, FINDING_CHAIN_DEEP, severity);
}

static void tick(struct world *world)
{
    assert_int_equal(findings_tick(world->findings, world->now, DAY, on_changed, world,
                                   &world->next), 0);
}

static void assert_said(struct world *world, const char *said)
{
    assert_string_equal(world->said, said);
    world->said[0] = '\0';
}

/* of: its words in the order of struct mute, NULL: not given. until 0: without end. */
static int64_t mute(struct world *world, const char *finding, const char *path, const char *class,
                    int64_t id, uint64_t until)
{
    struct mute *made = calloc(1, sizeof(*made));

    assert_non_null(made);
    *made = (struct mute){
        .finding = finding ? strdup(finding) : NULL, .path = path ? strdup(path) : NULL,
        .class = class ? strdup(class) : NULL, .finding_id = id, .by = strdup("root"),
        .reason = strdup("known"), .made = world->now, .until = until,
    };
    assert_int_equal(mutes_add(findings_mutes(world->findings), made), 0);
    tick(world);
    return made->id;
}

static struct finding *find(struct world *world, const char *subject)
{
    return findings_get(world->findings, FINDING_CHAIN_DEEP, SUBJECT_IMAGE, subject);
}

/* ---- what one covers ------------------------------------------------------------------------- */

static void a_mute_asks_for_all_that_it_names(void **state)
{
    static const struct finding about[] = {
        { .id = 1, .type = FINDING_CHAIN_DEEP, .subject_kind = SUBJECT_IMAGE, .subject = TEXT(A) },
        { .id = 2, .type = FINDING_PERMISSIONS, .subject_kind = SUBJECT_IMAGE,
          .subject = TEXT(A) },
        { .id = 3, .type = FINDING_CHAIN_DEEP, .subject_kind = SUBJECT_IMAGE, .subject = TEXT(B) },
        { .id = 4, .type = FINDING_DATASTORE_FULL, .subject_kind = SUBJECT_DATASTORE,
          .subject = TEXT("lab") },
        { .id = 5, .type = FINDING_ALERT_CHANNEL_FAILED, .subject_kind = SUBJECT_DAEMON,
          .subject = TEXT("") },
    };
    static const struct {
        struct mute mute;
        const char *covers;     /* which of these, by their ids */
    } cases[] = {
        { { .finding = TEXT("chain-deep") }, "13" },
        { { .path = TEXT("/srv/lab/*") }, "12" },
        { { .path = TEXT("*/b.qcow2") }, "3" },
        { { .class = TEXT("lab") }, "12" },
        { { .class = TEXT("other") }, "" },
        { { .finding_id = 2 }, "2" },
        { { .finding = TEXT("chain-deep"), .path = TEXT("/srv/lab/*") }, "1" },
        { { .finding = TEXT("chain-deep"), .class = TEXT("lab"), .finding_id = 1 }, "1" },
        { { .finding = TEXT("permissions"), .path = TEXT("/srv/vm/*") }, "" },
        /* Neither a datastore nor the daemon has a path: */
        { { .path = TEXT("**") }, "123" },
        { { .finding = TEXT("datastore-full") }, "4" },
        { { .finding = TEXT("alert-channel-failed"), .path = TEXT("**") }, "" },
        { { .finding = TEXT("alert-channel-failed") }, "5" },
        { { .finding_id = 5 }, "5" },
        { { .by = TEXT("nobody") }, "" },
    };
    struct world *world = *state;

    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        char covers[8] = "";
        size_t n = 0;

        for (size_t j = 0; j < ELEMENTSOF(about); j++)
            if (mute_matches(&cases[i].mute, &about[j], &world->policy))
                covers[n++] = (char)('0' + about[j].id);
        assert_string_equal(covers, cases[i].covers);
    }
    assert_false(mute_matches(&(struct mute){ .class = TEXT("lab") }, &about[0], NULL));
}

static void whether_one_is_of_all_images(void **state)
{
    static const char *const all[] = {
        "*", "**", "/*", "/**", "*/*", "**/**", "/?*", "?*", "/*?", "[/]*", "*/?*", "\\/*",
    };
    static const char *const some[] = {
        "/", "*/", "/*/*", "//*", "/srv/*", "*.qcow2", "/?", "*/?", "/??*", "/*[!x]", "/[!a]*",
        "/[!\xc3]*", "/*[a-z]*", "/[!x]?*", "*[!/]/*",
    };

    for (size_t i = 0; i < ELEMENTSOF(all); i++)
        assert_true(mute_is_of_all_images(&(struct mute){ .path = (char *)(uintptr_t)all[i] }));
    for (size_t i = 0; i < ELEMENTSOF(some); i++)
        assert_false(mute_is_of_all_images(&(struct mute){ .path = (char *)(uintptr_t)some[i] }));
    assert_false(mute_is_of_all_images(&(struct mute){ .path = TEXT("**"),
                                                       .finding = TEXT("chain-deep") }));
    assert_false(mute_is_of_all_images(&(struct mute){ .finding = TEXT("chain-deep") }));
}

/* ---- the life of what is muted --------------------------------------------------------------- */

static void what_is_muted_is_recorded_and_not_told(void **state)
{
    struct findings_counts counts;
    struct world *world = *state;

    judge_image_as(world, B, SEVERITY_WARNING);
    assert_said(world, "opened " B " told;");
    assert_int_equal(mute(world, NULL, "/srv/*", NULL, 0, 0), 1);
    assert_said(world, "muted " B " muted 1;");
    assert_string_equal(world->message,
                        "chain-deep: " B " Snapshots have piled up and were not consolidated: "
                        "muted by root: known (mute 1)");
    /* What comes later is muted, too, and so is its end; reminders are none. */
    judge_image_as(world, A, SEVERITY_WARNING);
    assert_said(world, "opened " A " muted 1;");
    assert_non_null(strstr(world->message, " (not told: mute 1)"));
    world->now += 3 * DAY;
    tick(world);
    assert_said(world, "");
    findings_count(world->findings, &counts);
    assert_int_equal(counts.muted[SEVERITY_WARNING], 2);
    assert_int_equal(counts.open[SEVERITY_WARNING], 0);
    assert_int_equal(findings_acknowledge(world->findings, find(world, A)->id, "root", "", 0,
                                          world->now, on_changed, world), 0);
    findings_count(world->findings, &counts);
    assert_int_equal(counts.muted[SEVERITY_WARNING], 2);
    assert_int_equal(counts.acknowledged[SEVERITY_WARNING], 0);
    assert_said(world, "acknowledged " A " muted 1;");
    judge_image_as(world, A, -1);
    judge_image_as(world, A, SEVERITY_WARNING);
    assert_said(world, "resolved " A " muted 1;reopened " A " muted 1;");
}

static void it_breaks_for_what_gets_worse(void **state)
{
    struct world *world = *state;

    judge_image_as(world, A, SEVERITY_WARNING);
    judge_image_as(world, B, SEVERITY_ERROR);
    (void)mute(world, "chain-deep", NULL, NULL, 0, 0);
    (void)mute(world, NULL, "**", NULL, 0, T0 + DAY);
    world->said[0] = '\0';
    /* Easier, and as bad as it was, is nothing; */
    judge_image_as(world, B, SEVERITY_WARNING);
    judge_image_as(world, B, SEVERITY_ERROR);
    assert_said(world, "eased " B " muted 1;worsened " B " muted 1;");
    /* worse is told, and no mute that there is covers that finding any more. */
    judge_image_as(world, A, SEVERITY_ERROR);
    assert_said(world, "worsened " A " told;");
    assert_non_null(strstr(world->message, "(error, was warning: it is no longer muted)"));
    assert_int_equal(find(world, A)->muted_by, 0);
    assert_int_equal(find(world, B)->muted_by, 1);
    tick(world);
    judge_image_as(world, A, -1);
    judge_image_as(world, A, SEVERITY_INFO);
    mutes_unsettle(findings_mutes(world->findings));
    tick(world);
    assert_said(world, "resolved " A " told;reopened " A " told;");
    /* A new one does. */
    assert_int_equal(mute(world, NULL, "/srv/lab/*", NULL, 0, 0), 3);
    assert_said(world, "muted " A " muted 3;");
    judge_image_as(world, A, SEVERITY_WARNING);
    assert_said(world, "worsened " A " told;");
}

/* While it was resolved, it got worse than what was muted. */
static void it_breaks_for_what_returns_worse(void **state)
{
    struct world *world = *state;

    judge_image_as(world, A, SEVERITY_WARNING);
    (void)mute(world, NULL, "/srv/lab/*", NULL, 0, 0);
    judge_image_as(world, A, -1);
    world->said[0] = '\0';
    judge_image_as(world, A, SEVERITY_CRITICAL);
    assert_said(world, "reopened " A " told;");
    /* After more than a week it is another finding, which the mute covers as it is. */
    judge_image_as(world, A, -1);
    world->now += 8 * DAY;
    tick(world);
    world->said[0] = '\0';
    judge_image_as(world, A, SEVERITY_CRITICAL);
    assert_said(world, "opened " A " muted 1;");
}

static void what_is_open_at_its_end_is_told_once(void **state)
{
    struct world *world = *state;
    const struct mute *ended;

    judge_image_as(world, A, SEVERITY_WARNING);
    judge_image_as(world, B, SEVERITY_WARNING);
    (void)mute(world, NULL, "/srv/*", NULL, 0, T0 + 2 * HOUR);
    assert_int_equal(world->next, T0 + 2 * HOUR);
    judge_image_as(world, B, -1);
    world->said[0] = '\0';
    world->now = T0 + 2 * HOUR;
    tick(world);
    assert_said(world, "unmuted " A " told;");
    assert_non_null(strstr(world->message, " (mute 1 has ended)"));
    tick(world);
    assert_said(world, "");
    ended = mutes_get(findings_mutes(world->findings), 1);
    assert_int_equal(ended->ended, world->now);
    assert_null(ended->ended_by);
    /* The first reminder counts from then. */
    world->now += DAY - 1;
    tick(world);
    assert_said(world, "");
    world->now += 1;
    tick(world);
    assert_said(world, "reminder " A " told;");
}

static int keep(void *userdata, struct mute *mute)
{
    mute->changed = false;
    return 0;
}

/* Read from a database by which nobody ended anything. */
static void what_is_over_can_be_ended_untold(void **state)
{
    static const struct {
        int64_t id;
        uint64_t until, ended;
    } mutes[] = { { 1, T0 + DAY, 0 }, { 2, T0 + 3 * DAY, 0 }, { 3, 0, T0 + HOUR }, { 4, 0, 0 } };
    static const char *const names[] = { "/0", "/1", "/2", "/3", "/4" };
    struct world *world = *state;
    const struct finding *finding;

    for (size_t i = 0; i < ELEMENTSOF(mutes); i++) {
        struct mute *mute = calloc(1, sizeof(*mute));

        assert_non_null(mute);
        *mute = (struct mute){ .id = mutes[i].id, .class = strdup("lab"), .by = strdup("root"),
                               .reason = strdup("x"), .made = T0, .until = mutes[i].until,
                               .ended = mutes[i].ended };
        assert_int_equal(mutes_load(findings_mutes(world->findings), mute), 0);
    }
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        judge_image_as(world, names[i], SEVERITY_ERROR);
    for (int64_t i = 1; i <= 5; i++)
        findings_by_id(world->findings, i)->muted_by = i;       /* the fifth one is not there */
    for (int64_t i = 4; i <= 5; i++)
        assert_int_equal(findings_acknowledge(world->findings, i, "root", "known",
                                              T0 + (uint64_t)i * DAY / 3, world->now, on_changed,
                                              world), 0);
    world->said[0] = '\0';
    mutes_set_policy(findings_mutes(world->findings), NULL);    /* a reader has none */
    findings_expire(world->findings, T0 + 3 * DAY / 2);
    assert_said(world, "");
    for (int64_t i = 1; i <= 5; i++) {
        finding = findings_by_id(world->findings, i);
        assert_int_equal(finding->muted_by, i == 2 || i == 4 ? i : 0);
        assert_int_equal(finding->state, i == 5 ? FINDING_ACKNOWLEDGED : FINDING_OPEN);
    }
    assert_null(findings_by_id(world->findings, 4)->acknowledged_by);
}

static void one_that_ended_is_forgotten_after_a_week(void **state)
{
    struct world *world = *state;
    struct mutes *mutes = findings_mutes(world->findings);

    (void)mute(world, NULL, "/a", NULL, 0, world->now + HOUR);
    (void)mute(world, NULL, "/b", NULL, 0, world->now + HOUR);
    world->now += HOUR;
    tick(world);
    world->now += 7 * DAY;
    tick(world);
    assert_non_null(mutes_get(mutes, 1));
    world->now += 1;
    tick(world);
    assert_non_null(mutes_get(mutes, 1));       /* the database does not know its end yet */
    (void)mutes_each(mutes, keep, NULL);
    tick(world);
    assert_null(mutes_get(mutes, 1));
    assert_non_null(mutes_get(mutes, 2));
    assert_int_equal(mute(world, NULL, "/c", NULL, 0, 0), 3);
}

static void one_can_be_removed(void **state)
{
    struct world *world = *state;
    struct mutes *mutes = findings_mutes(world->findings);

    judge_image_as(world, A, SEVERITY_WARNING);
    judge_image_as(world, B, SEVERITY_WARNING);
    (void)mute(world, NULL, "/srv/*", NULL, 0, 0);
    (void)mute(world, NULL, "/srv/lab/*", NULL, 0, T0 + DAY);
    assert_int_equal(find(world, A)->muted_by, 1);      /* the one that lasts longer */
    findings_acknowledge(world->findings, find(world, B)->id, "root", "", 0, world->now, on_changed,
                         world);
    world->said[0] = '\0';
    assert_int_equal(mutes_remove(mutes, 9, "root", world->now), -ENOENT);
    assert_int_equal(mutes_remove(mutes, 1, "ro\not", world->now), 0);
    assert_int_equal(mutes_remove(mutes, 1, "root", world->now), -EALREADY);
    tick(world);
    /* The other one covers A still; and what is acknowledged is not told. */
    assert_said(world, "");
    assert_int_equal(find(world, A)->muted_by, 2);
    assert_int_equal(find(world, B)->muted_by, 0);
    assert_int_equal(mutes_remove(mutes, 2, "ro\not", world->now), 0);
    tick(world);
    assert_said(world, "unmuted " A " told;");
    assert_non_null(strstr(world->message, " (mute 2 was removed by ro\\not)"));
}

static void classes_and_names_may_change(void **state)
{
    struct world *world = *state;
    struct policy none = { .n_classes = 0 };

    judge_image_as(world, A, SEVERITY_WARNING);
    (void)mute(world, NULL, NULL, "lab", 0, 0);
    assert_said(world, "opened " A " told;muted " A " muted 1;");
    mutes_set_policy(findings_mutes(world->findings), &none);
    tick(world);
    assert_said(world, "unmuted " A " told;");
    assert_non_null(strstr(world->message, " (mute 1 no longer covers it)"));
    mutes_set_policy(findings_mutes(world->findings), &world->policy);
    tick(world);
    assert_said(world, "muted " A " muted 1;");
    assert_int_equal(findings_rename(world->findings, SUBJECT_IMAGE, A, "/srv/vm/a", "vm"), 0);
    tick(world);
    assert_said(world, "unmuted /srv/vm/a told;");
}

static void the_daemon_itself_is_muted_by_name_alone(void **state)
{
    struct world *world = *state;

    (void)mute(world, NULL, "**", NULL, 0, 0);
    judge_as(world, SUBJECT_DAEMON, "", FINDING_ALERT_CHANNEL_FAILED, SEVERITY_ERROR);
    assert_said(world, "opened  told;");
    (void)mute(world, "alert-channel-failed", NULL, NULL, 0, 0);
    assert_said(world, "muted  muted 2;");
}

static void there_are_not_too_many(void **state)
{
    struct world *world = *state;
    struct mute more = { .path = TEXT("/x"), .by = TEXT("root"), .reason = TEXT("") };

    for (int i = 0; i < MUTES_MAX; i++)
        (void)mute(world, NULL, "/x", NULL, 0, 0);
    assert_int_equal(mutes_add(findings_mutes(world->findings), &more), -E2BIG);
    assert_int_equal(mutes_remove(findings_mutes(world->findings), 500, "root", world->now), 0);
    assert_int_equal(mute(world, NULL, "/x", NULL, 0, 0), MUTES_MAX + 1);
}

/* What the database says of a mute that it lost: its number is not given again, and what it covered
 * is told. */
static void from_the_database(void **state)
{
    struct world *world = *state;
    struct finding *known = calloc(1, sizeof(*known));
    struct mute *kept = calloc(1, sizeof(*kept)), *twin = calloc(1, sizeof(*twin));

    assert_true(known && kept && twin);
    *known = (struct finding){
        .id = 4, .type = FINDING_CHAIN_DEEP, .subject_kind = SUBJECT_IMAGE, .subject = strdup(A),
        .datastore = strdup("vm"), .severity = SEVERITY_ERROR, .muted_by = 7,
        .muted_severity = SEVERITY_ERROR, .mutes_broken = 5, .evidence = json_object_new_object(),
    };
    *kept = (struct mute){ .id = 5, .path = strdup("/srv/*"), .by = strdup("root"),
                           .reason = strdup("old") };
    *twin = (struct mute){ .id = 5 };
    assert_int_equal(findings_load(world->findings, known, 0), 0);
    assert_int_equal(mutes_load(findings_mutes(world->findings), kept), 0);
    assert_int_equal(mutes_load(findings_mutes(world->findings), twin), -EEXIST);
    tick(world);
    assert_said(world, "unmuted " A " told;");
    assert_int_equal(mute(world, NULL, "/srv/*", NULL, 0, 0), 8);
    assert_said(world, "muted " A " muted 8;");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_mute_asks_for_all_that_it_names),
        TEST(whether_one_is_of_all_images),
        TEST(what_is_muted_is_recorded_and_not_told),
        TEST(it_breaks_for_what_gets_worse),
        TEST(it_breaks_for_what_returns_worse),
        TEST(what_is_open_at_its_end_is_told_once),
        TEST(what_is_over_can_be_ended_untold),
        TEST(one_that_ended_is_forgotten_after_a_week),
        TEST(one_can_be_removed),
        TEST(classes_and_names_may_change),
        TEST(the_daemon_itself_is_muted_by_name_alone),
        TEST(there_are_not_too_many),
        TEST(from_the_database),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
