/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* verify-log: is the record of events as it was written? */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/facts.h"
#include "ctl/heads.h"
#include "ctl/source.h"
#include "ctl/when.h"
#include "helpers/json-text.h"
#include "helpers/text.h"

#define PROBLEMS_SHOWN 20
#define LABEL_WIDTH 10

static int ask(struct ctl *ctl, const struct heads *heads, json_object **ret_result)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object();
    int r = filter ? 0 : -ENOMEM;

    if (r >= 0 && heads->n > 0)
        r = filter_add(filter, "heads", heads->text);
    return r < 0 ? complain(r, "Cannot check the record") : source_check(ctl, filter, ret_result);
}

/* ---- what is wrong ------------------------------------------------------------------------ */

/* "event 17 of 2026-11-20 04:48:00 (opened metadata-corrupt, /srv/a.qcow2)", "events 5 to 9" */
static char *event_text(json_object *problem)
{
    _cleanup_free_ char *event = row_text(problem, "event"),
                        *finding = row_text(problem, "finding"),
                        *subject = row_text(problem, "subject");
    uint64_t seq = row_number(problem, "seq"), last = row_number(problem, "last");
    char when[WHEN_MAX], *text = NULL;
    int n;

    if (!event || !finding || !subject)
        return NULL;
    if (last > seq)
        n = asprintf(&text, "events %" PRIu64 " to %" PRIu64, seq, last);
    else if (!row_has(problem, "at"))
        n = asprintf(&text, "event %" PRIu64, seq);
    else
        n = asprintf(&text, "event %" PRIu64 " of %s (%s%s%s, %s)", seq,
                     when_short(row_number(problem, "at"), when), event, *finding ? " " : "",
                     finding, subject);
    return n < 0 ? NULL : text;
}

static int problem_text(json_object *problem, char **ret_text)
{
    static const struct { const char *kind, *text; } kinds[] = {
        { "changed", "was changed: what it says does not match its digest" },
        { "inserted", "was inserted: the events around it are linked without it" },
        { "missing", "missing, and not removed by retention; the event after cannot be checked" },
        { "no-digest", "has no digest" },
        { "removed-range", "noted as removed by retention, but this does not fit the events around "
                           "them" },
        { "head-missing", "was the last one by an entry of the journal, and is not in the record" },
        { "head-differs", "has another digest in the journal: it, or an event before it, was "
                          "changed, and the chain computed again" },
    };
    _cleanup_free_ char *event = event_text(problem), *subject = row_text(problem, "subject"),
                        *expected = row_text(problem, "expected");
    const char *kind = row_raw(problem, "kind");
    char *text = NULL;
    int n = -1;

    if (!event || !subject || !expected || !kind)
        return -ENOMEM;
    for (size_t i = 0; n < 0 && i < ELEMENTSOF(kinds); i++)
        if (strcmp(kinds[i].kind, kind) == 0)
            n = asprintf(&text, "%s: %s", event, kinds[i].text);
    if (n < 0)
        n = strcmp(kind, "subject") == 0
                ? asprintf(&text, "%s: its subject was changed; it was written of %s, and no "
                                  "rename explains that", event, expected)
                : asprintf(&text, "%s: %s", event, kind);
    if (n < 0)
        return -ENOMEM;
    *ret_text = text;
    return 0;
}

static int print_problems(const struct ctl *ctl, json_object *result)
{
    json_object *problems = row_member(result, "problems");
    uint64_t total = row_number(result, "problems-total");
    size_t n = problems ? json_object_array_length(problems) : 0,
           shown = ctl->output.full || n < PROBLEMS_SHOWN ? n : PROBLEMS_SHOWN;

    for (size_t i = 0; i < shown; i++) {
        _cleanup_free_ char *text = NULL;
        int r = problem_text(json_object_array_get_idx(problems, i), &text);

        if (r < 0)
            return r;
        (void)printf("  ");
        output_wrapped(&ctl->output, 2, 2, text);
    }
    if (total > shown)
        (void)printf("  ... and %" PRIu64 " more\n", total - shown);
    return 0;
}

/* ---- what it is --------------------------------------------------------------------------- */

static void print_removed(const struct ctl *ctl, json_object *result)
{
    json_object *ranges = row_member(result, "ranges"),
                *newest = ranges && json_object_array_length(ranges) > 0
                              ? json_object_array_get_idx(ranges, 0) : NULL;
    uint64_t removed = row_number(result, "removed"), n = row_number(result, "ranges-total");
    char when[WHEN_MAX];

    if (removed == 0)
        return;
    output_label(&ctl->output, LABEL_WIDTH, "Removed");
    (void)printf("%" PRIu64 " by retention, in %" PRIu64 " range%s; the newest of them of %s\n",
                 removed, n, n == 1 ? "" : "s", when_short(row_number(newest, "newest"), when));
}

static void print_journal(const struct ctl *ctl, json_object *result, const struct heads *heads)
{
    uint64_t removed = row_number(result, "heads-removed");
    char first[WHEN_MAX], last[WHEN_MAX];

    output_label(&ctl->output, LABEL_WIDTH, "Journal");
    if (heads->no_journal)
        (void)printf("cannot be read; nothing is compared with it\n");
    else if (heads->n == 0)
        (void)printf("has no entry about this record that you may read: whether its end is\n"
                     "            missing, or all of it was computed again, is not known\n");
    else {
        (void)printf("%zu entr%s of %s to %s compared\n", heads->n, heads->n == 1 ? "y" : "ies",
                     when_short(heads->first, first), when_short(heads->last, last));
        if (removed > 0)
            (void)printf("            (%" PRIu64 " about events that retention removed since)\n",
                         removed);
    }
}

static int print_result(const struct ctl *ctl, json_object *result, const struct heads *heads,
                        const char *database, bool sound)
{
    _cleanup_free_ char *shown = text_escape_string(database);
    uint64_t unchained = row_number(result, "unchained"), events = row_number(result, "events");
    char when[WHEN_MAX];
    int r = shown ? 0 : -ENOMEM;

    if (r < 0)
        return r;
    if (sound)
        (void)printf("%sThe record is sound%s%s.\n", output_colour(&ctl->output, COLOUR_GREEN),
                     output_colour(&ctl->output, COLOUR_OFF), heads->n > 0 ? "" : " in itself");
    else
        (void)printf("%sThe record was tampered with%s, or damaged:\n",
                     output_colour(&ctl->output, COLOUR_BRIGHT_RED),
                     output_colour(&ctl->output, COLOUR_OFF));
    r = print_problems(ctl, result);
    if (heads->n_other > 0)
        (void)printf("  the journal has %zu entr%s about another record of this database, the "
                     "last of\n  %s (event %" PRIu64 "): the database was replaced since. If you "
                     "know\n  why, --since leaves out what is older.\n", heads->n_other,
                     heads->n_other == 1 ? "y" : "ies", when_short(heads->other_at, when),
                     heads->other_seq);
    (void)putchar('\n');
    output_label(&ctl->output, LABEL_WIDTH, "Database");
    (void)printf("%s\n", shown);
    output_label(&ctl->output, LABEL_WIDTH, "Events");
    (void)printf("%" PRIu64 " checked", events);
    if (row_has(result, "head-seq"))
        (void)printf(", the last is number %" PRIu64, row_number(result, "head-seq"));
    (void)putchar('\n');
    if (unchained > 0) {
        output_label(&ctl->output, LABEL_WIDTH, "Unchained");
        (void)printf("%" PRIu64 " event%s from before the chain, which begins with number %" PRIu64
                     "\n", unchained, unchained == 1 ? "" : "s",
                     row_number(result, "chain-begins"));
    }
    print_removed(ctl, result);
    if (row_bool(result, "names-unchecked")) {
        output_label(&ctl->output, LABEL_WIDTH, "Names");
        (void)printf("of images in old events cannot be checked: renames were removed\n");
    }
    print_journal(ctl, result, heads);
    return r;
}

static int add_journal(json_object *result, const struct heads *heads, bool sound)
{
    json_object *journal = json_object_new_object();

    if (!journal ||
        json_add(journal, "readable", json_object_new_boolean(!heads->no_journal)) < 0 ||
        json_add(journal, "compared", json_object_new_uint64(heads->n)) < 0 ||
        json_add(journal, "other-records", json_object_new_uint64(heads->n_other)) < 0) {
        json_object_put(journal);
        return -ENOMEM;
    }
    if (json_add(result, "journal", journal) < 0)
        return -ENOMEM;
    return json_add(result, "sound", json_object_new_boolean(sound));
}

int verb_verify_log(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(json_object_putp) json_object *record = NULL, *result = NULL;
    _cleanup_(heads_done) struct heads heads = { .n = 0 };
    const char *database, *id;
    bool sound;
    int r = source_record(ctl, &record);

    if (r < 0)
        return r;
    database = row_raw(record, "database");
    id = row_raw(record, "record");
    if (!database || !id)
        return complain(-EBADMSG, "Cannot check the record");
    r = heads_read(ctl, database, id, &heads);
    if (r < 0)
        return complain(r, "Cannot read the journal");
    r = ask(ctl, &heads, &result);
    if (r < 0)
        return r;
    sound = row_number(result, "problems-total") == 0 && heads.n_other == 0;
    output_begin(&ctl->output);
    if (ctl->output.json != JSON_OFF) {
        r = add_journal(result, &heads, sound);
        if (r >= 0)
            r = output_json(&ctl->output, result);
    } else
        r = print_result(ctl, result, &heads, database, sound);
    return r < 0 ? complain(r, "Cannot show what was found") : sound ? 0 : 1;
}
