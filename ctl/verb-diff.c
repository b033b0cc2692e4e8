/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* diff: which findings were opened, resolved, got worse or eased between two times. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/facts.h"
#include "ctl/list.h"
#include "ctl/past.h"
#include "ctl/source.h"
#include "ctl/when.h"
#include "helpers/json-text.h"
#include "helpers/text.h"

/* In the order of the summary; of a finding that was opened and resolved in between, the screen
 * says both. */
static const struct change {
    const char *name, *shown, *summed;
    bool good;
} changes[] = {
    { "opened", "opened", "opened", false },
    { "worsened", "worsened", "worsened", false },
    { "eased", "eased", "eased", true },
    { "resolved", "resolved", "resolved", true },
    { "passed", "came, gone", "opened and resolved in between", true },
};

static const struct change *change_of(json_object *row)
{
    const char *name = row_raw(row, "change");

    for (size_t i = 0; name && i < ELEMENTSOF(changes); i++)
        if (strcmp(changes[i].name, name) == 0)
            return &changes[i];
    return NULL;
}

static int take_time(const char *text, uint64_t *ret_usec)
{
    _cleanup_free_ char *shown = text_escape_string(text);

    if (when_parse(text, usec_now(CLOCK_REALTIME), ret_usec) >= 0)
        return 0;
    return complain(0, "'%s' is no time: write it as 2026-12-24, \"2026-12-24 18:00\", \"3d ago\" "
                       "or yesterday.", shown ? shown : ""),
           -EINVAL;
}

static int ask(struct ctl *ctl, uint64_t since, uint64_t until, json_object **ret_rows)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object();
    unsigned lines = ctl->lines;
    int r;

    if (!filter || json_add(filter, "since", json_object_new_uint64(since)) < 0 ||
        json_add(filter, "until", json_object_new_uint64(until)) < 0)
        return complain(-ENOMEM, "Cannot read the history");
    ctl->lines = 0;     /* the worst are wanted, not the first */
    r = source_list(ctl, "ListChanges", filter, ret_rows);
    ctl->lines = lines;
    return r;
}

static char *severity_text(json_object *row)
{
    const char *before = row_raw(row, "severity-before"), *now = row_raw(row, "severity");
    char *text;

    if (!before || !now || strcmp(before, now) == 0)
        return row_text(row, "severity");
    return asprintf(&text, "%s, was %s", now, before) < 0 ? NULL : text;
}

static const struct column change_columns[] = {
    { "ID", COLUMN_RIGHT | COLUMN_NUMBER, "id" },
    { "CHANGE", 0, "change" },
    { "SEVERITY", COLUMN_SEVERITY, "severity" },
    { "LAST EVENT", COLUMN_TIME, "changed" },
    { "FINDING", 0, "name" },
    { "IMAGE", COLUMN_FLEXIBLE, "subject" },
};

static int changes_table(struct ctl *ctl, json_object *rows)
{
    _cleanup_(table_freep) struct table *table = NULL;
    _cleanup_free_ char *common = fact_common(ctl, rows, "subject");
    size_t n = json_object_array_length(rows);
    char when[WHEN_MAX];
    int r = common ? table_new(&ctl->output, change_columns, ELEMENTSOF(change_columns), &table)
                   : -ENOMEM;

    if (r >= 0)
        fact_print_common(ctl, common);
    if (ctl->lines > 0 && n > ctl->lines)
        n = ctl->lines;
    for (size_t i = 0; r >= 0 && i < n; i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        const struct change *change = change_of(row);
        bool good = change && change->good;

        r = table_row(table, row);
        if (r >= 0)
            r = table_take(table, 0, row_text(row, "id"), COLOUR_OFF);
        if (r >= 0)
            r = table_cell(table, 1, change ? change->shown : "-",
                           good ? COLOUR_GREEN : COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 2, severity_text(row),
                           good ? COLOUR_OFF : severity_colour(row_raw(row, "severity")));
        if (r >= 0)
            r = table_cell(table, 3, when_short(row_number(row, "changed"), when), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 4, row_text(row, "name"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 5, fact_subject(row, common), COLOUR_OFF);
    }
    return r < 0 ? r : table_print(table);
}

static void print_summary(json_object *rows, uint64_t since, uint64_t until)
{
    size_t n = json_object_array_length(rows);
    char from[WHEN_MAX], to[WHEN_MAX];
    const char *comma = "";

    (void)printf("%sFrom %s to %s: ", n > 0 ? "\n" : "", when_short(since, from),
                 when_short(until, to));
    if (n == 0)
        (void)printf("no finding changed");
    for (size_t k = 0; k < ELEMENTSOF(changes); k++) {
        size_t n_such = 0;

        for (size_t i = 0; i < n; i++)
            n_such += change_of(json_object_array_get_idx(rows, i)) == &changes[k];
        if (n_such == 0)
            continue;
        (void)printf("%s%zu %s", comma, n_such, changes[k].summed);
        comma = ", ";
    }
    (void)printf(".\n");
}

int verb_diff(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(json_object_putp) json_object *rows = NULL;
    uint64_t since = 0, until = usec_now(CLOCK_REALTIME), begins = 0;
    size_t n;
    int r = take_time(argv[0], &since);

    if (r >= 0 && argc > 1)
        r = take_time(argv[1], &until);
    if (r >= 0 && since > until)
        return complain(0, "The first time is after the second."), -EINVAL;
    if (r >= 0)
        r = past_record(ctl, &begins);
    if (r >= 0)
        r = past_check(since, begins);
    if (r >= 0)
        r = past_check(until, begins);
    if (r >= 0)
        r = ask(ctl, since, until, &rows);
    if (r < 0)
        return r;
    source_sort_findings(rows);
    n = json_object_array_length(rows);
    /* The summary below a table counts all of them. */
    r = list_arrange(&ctl->output, change_columns, ELEMENTSOF(change_columns), 0, rows);
    if (r < 0)
        return r;
    output_begin(&ctl->output);
    if (ctl->output.json != JSON_OFF) {
        if (ctl->lines > 0 && n > ctl->lines)
            (void)json_object_array_del_idx(rows, ctl->lines, n - ctl->lines);
        return output_json(&ctl->output, rows);
    }
    if (n > 0 || ctl->output.csv)
        r = changes_table(ctl, rows);
    if (ctl->output.legend)
        print_summary(rows, since, until);
    return r < 0 ? complain(r, "Cannot show the changes") : 0;
}
