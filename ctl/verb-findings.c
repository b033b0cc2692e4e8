/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* findings and explain: what is wrong, worst first, and what such a finding means. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/facts.h"
#include "ctl/list.h"
#include "ctl/past.h"
#include "ctl/source.h"
#include "helpers/json-text.h"
#include "helpers/text.h"

enum {
    FINDING_ID,
    FINDING_SEVERITY,
    FINDING_SINCE,
    FINDING_NAME,
    FINDING_STATE,
    FINDING_CONFIDENCE,
    FINDING_SUBJECT,
    FINDING_SUMMARY
};

static const struct column finding_columns[] = {
    [FINDING_ID] = { "ID", COLUMN_RIGHT | COLUMN_NUMBER, "id" },
    [FINDING_SEVERITY] = { "SEVERITY", COLUMN_SEVERITY, "severity" },
    [FINDING_SINCE] = { "SINCE", COLUMN_RIGHT | COLUMN_TIME, "first-seen" },
    [FINDING_NAME] = { "FINDING", 0, "name" },
    [FINDING_STATE] = { "STATE", 0, "state" },
    [FINDING_CONFIDENCE] = { "CONFIDENCE", 0, "confidence" },
    [FINDING_SUBJECT] = { "IMAGE", COLUMN_FLEXIBLE, "subject" },
    [FINDING_SUMMARY] = { "WHAT", COLUMN_BELOW, "summary" },
};

static bool all_open(json_object *rows)
{
    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        const char *state = row_raw(row, "state");

        if (!state || strcmp(state, "open") != 0 || row_has(row, "muted-by"))
            return false;
    }
    return true;
}

static int finding_line(struct table *table, json_object *row, const char *common, uint64_t now)
{
    enum colour colour = severity_colour(row_raw(row, "severity"));
    const char *state = row_has(row, "muted-by") ? "muted" : row_raw(row, "state");
    int r = table_row(table, row);

    if (state && strcmp(state, "open") != 0)
        colour = COLOUR_DIM;
    if (r >= 0)
        r = table_take(table, FINDING_ID, row_text(row, "id"), COLOUR_OFF);
    if (r >= 0)
        r = table_take(table, FINDING_SEVERITY, row_text(row, "severity"), colour);
    if (r >= 0)
        r = table_take(table, FINDING_SINCE, fact_since(row, "first-seen", now),
                       COLOUR_OFF);
    if (r >= 0)
        r = table_take(table, FINDING_NAME, row_text(row, "name"), colour);
    if (r >= 0)
        r = table_cell(table, FINDING_STATE, state, COLOUR_OFF);
    if (r >= 0)
        r = table_take(table, FINDING_CONFIDENCE, fact_confidence_word(row),
                       COLOUR_OFF);
    if (r >= 0)
        r = table_take(table, FINDING_SUBJECT, fact_subject(row, common),
                       COLOUR_OFF);
    if (r >= 0 && row_has(row, "summary"))
        r = table_take(table, FINDING_SUMMARY, row_prose(row, "summary"),
                       COLOUR_OFF);
    return r;
}

int findings_table(struct ctl *ctl, json_object *rows)
{
    bool with_state = !all_open(rows);
    bool with_confidence = ctl->output.full || ctl->output.width == 0 || ctl->output.width >= 100;
    _cleanup_free_ char *common = fact_common(ctl, rows, "subject");
    _cleanup_(table_freep) struct table *table = NULL;
    uint64_t now = ctl->at > 0 ? ctl->at : usec_now(CLOCK_REALTIME);
    int r;

    if (!common)
        return -ENOMEM;
    fact_print_common(ctl, common);
    r = table_new(&ctl->output, finding_columns, ELEMENTSOF(finding_columns), &table);
    if (r >= 0 && !with_state)
        table_hide(table, FINDING_STATE);
    if (r >= 0 && !with_confidence)
        table_hide(table, FINDING_CONFIDENCE);
    if (r >= 0 && ctl->at > 0)     /* the record does not have it */
        table_hide(table, FINDING_SUMMARY);
    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++)
        r = finding_line(table, json_object_array_get_idx(rows, i), common, now);
    return r < 0 ? r : table_print(table);
}

static int findings_filter(const struct ctl *ctl, json_object **ret_filter)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object();
    _cleanup_free_ char *path = ctl->path ? source_absolute(ctl, ctl->path) : NULL;
    int r = filter && (path || !ctl->path) ? 0 : -ENOMEM;

    if (r >= 0)
        r = filter_add(filter, "severity", ctl->severity);
    if (r >= 0)
        r = filter_add(filter, "name", ctl->name);
    if (r >= 0)
        r = filter_add(filter, "path", path);
    if (r >= 0)
        r = filter_add(filter, "datastore", ctl->datastore);
    if (r >= 0)
        r = filter_add(filter, "state", ctl->all ? "all" : ctl->state);
    if (r >= 0 && ctl->output.json != JSON_OFF)
        r = json_add(filter, "details", json_object_new_boolean(true)) < 0
                ? -ENOMEM : 0;
    if (r < 0)
        return complain(r, "Cannot list findings");
    *ret_filter = TAKE_PTR(filter);
    return 0;
}

/* n_muted: that are left out. */
static void print_count(const struct ctl *ctl, json_object *rows, size_t n_muted)
{
    size_t n = json_object_array_length(rows);

    if (!ctl->output.legend)
        return;
    if (n == 0)
        (void)printf(ctl->muted ? "No finding is muted.\n" : "Nothing found%s.\n",
                     n_muted > 0 ? " that is not muted" : "");
    else
        (void)printf("\n%zu finding%s. What to do about one: %s show ID.\n", n,
                     n == 1 ? "" : "s", output_tool(&ctl->output));
    if (n_muted > 0)
        (void)printf("%zu more %s muted: %s findings --muted\n", n_muted,
                     n_muted == 1 ? "is" : "are", output_tool(&ctl->output));
}

/* Leaves those that are muted, or those that are not; *ret_n: how many went. */
static int keep_rows(json_object **rows, bool muted, size_t *ret_n)
{
    json_object *kept = json_object_new_array();
    size_t n = 0;

    for (size_t i = 0; kept && i < json_object_array_length(*rows); i++) {
        json_object *row = json_object_array_get_idx(*rows, i);

        if (row_has(row, "muted-by") != muted)
            n++;
        else if (json_object_array_add(kept, json_object_get(row)) < 0) {
            json_object_put(row);
            json_object_put(kept);
            kept = NULL;
        }
    }
    if (!kept)
        return -ENOMEM;
    json_object_put(*rows);
    *rows = kept;
    *ret_n = n;
    return 0;
}

int findings_status(const struct ctl *ctl, json_object *rows)
{
    int worst = 0;

    for (size_t i = 0; !ctl->exit_zero && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        const char *state = row_raw(row, "state");
        int status = severity_status(row_raw(row, "severity"));

        if (state && strcmp(state, "open") == 0 && !row_has(row, "muted-by") && status > worst)
            worst = status;
    }
    return worst;
}

int verb_findings(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(json_object_putp) json_object *filter = NULL, *rows = NULL;
    unsigned lines = ctl->lines;
    size_t n_left_out = 0;
    int status, r;

    if (ctl->name && !catalogue_find(ctl->name)) {
        _cleanup_free_ char *shown = text_escape_string(ctl->name);
        return complain(0, "There is no finding called '%s'. 'qcauditctl explain' lists them all.",
                        shown),
               -EINVAL;
    }
    r = findings_filter(ctl, &filter);
    if (r < 0)
        return r;
    ctl->lines = 0;     /* the worst are wanted, not the first */
    r = ctl->at > 0 ? past_findings(ctl, &rows) : source_findings(ctl, filter, &rows);
    if (r < 0)
        return r;
    if (ctl->at == 0 && (!ctl->all || ctl->muted))
        r = keep_rows(&rows, ctl->muted, &n_left_out);
    if (r < 0)
        return complain(r, "Cannot list findings");
    source_sort_findings(rows);
    status = findings_status(ctl, rows);
    r = list_arrange(&ctl->output, finding_columns, ELEMENTSOF(finding_columns), lines, rows);
    if (r < 0)
        return r;
    output_begin(&ctl->output);
    if (ctl->output.json != JSON_OFF) {
        r = output_json(&ctl->output, rows);
        return r < 0 ? r : status;
    }
    if (json_object_array_length(rows) > 0 || ctl->output.csv)
        r = findings_table(ctl, rows);
    if (ctl->at > 0)
        past_print_count(ctl, rows);
    else
        print_count(ctl, rows, ctl->muted ? 0 : n_left_out);
    return r < 0 ? complain(r, "Cannot list findings") : status;
}

/* ---- explain ------------------------------------------------------------------------------ */

/* "SEVERITY_CRITICAL" -> "critical" */
static void severity_word(const struct catalogue_entry *entry, char *word, size_t size)
{
    const char *name = strchr(entry->severity, '_');
    size_t i = 0;

    for (name = name ? name + 1 : entry->severity; name[i] && i + 1 < size; i++)
        word[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] - 'A' + 'a' : name[i]);
    word[i] = '\0';
}

static int catalogue_rows(const struct catalogue_entry *const *entries, size_t n,
                          json_object **ret_rows)
{
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();

    for (size_t i = 0; rows && i < n; i++) {
        json_object *row = json_object_new_object();
        char severity[16];

        severity_word(entries[i], severity, sizeof(severity));
        if (json_object_array_add(rows, row) < 0) {
            json_object_put(row);
            return -ENOMEM;
        }
        if (filter_add(row, "name", entries[i]->name) < 0 ||
            filter_add(row, "severity", severity) < 0 ||
            filter_add(row, "title", entries[i]->title) < 0 ||
            filter_add(row, "explanation", entries[i]->explanation) < 0 ||
            filter_add(row, "remedy", entries[i]->remedy) < 0)
            return -ENOMEM;
    }
    if (!rows)
        return -ENOMEM;
    *ret_rows = TAKE_PTR(rows);
    return 0;
}

static const struct column catalogue_columns[] = {
    { "FINDING", 0, "name" }, { "UP TO", COLUMN_SEVERITY, "severity" },
    { "MEANING", COLUMN_FLEXIBLE, "title" },
};

static int catalogue_table(const struct ctl *ctl, json_object *rows)
{
    _cleanup_(table_freep) struct table *table = NULL;
    int r = table_new(&ctl->output, catalogue_columns, ELEMENTSOF(catalogue_columns), &table);

    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);

        r = table_row(table, row);
        if (r >= 0)
            r = table_take(table, 0, row_text(row, "name"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 1, row_text(row, "severity"),
                           severity_colour(row_raw(row, "severity")));
        if (r >= 0)
            r = table_take(table, 2, row_text(row, "title"), COLOUR_OFF);
    }
    return r < 0 ? r : table_print(table);
}

static void explain(const struct ctl *ctl, const struct catalogue_entry *entry)
{
    char severity[16];

    severity_word(entry, severity, sizeof(severity));
    (void)printf("%s%s%s: %s\n", output_colour(&ctl->output, COLOUR_BOLD), entry->name,
                 output_colour(&ctl->output, COLOUR_OFF), entry->title);
    (void)printf("Severity: up to %s%s%s\n\n",
                 output_colour(&ctl->output, severity_colour(severity)), severity,
                 output_colour(&ctl->output, COLOUR_OFF));
    output_wrapped(&ctl->output, 0, 0, entry->explanation);
    output_heading(&ctl->output, "What to do");
    output_wrapped(&ctl->output, 0, 0, entry->remedy);
}

int verb_explain(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_free_ const struct catalogue_entry **entries = NULL;
    _cleanup_(json_object_putp) json_object *rows = NULL;
    size_t n = 0, all = 0;
    bool list = argc == 0 || output_is_list(&ctl->output);
    int r;

    while (catalogue_at(all))
        all++;
    entries = calloc(argc > 0 ? (size_t)argc : all, sizeof(*entries));
    if (!entries)
        return complain(-ENOMEM, "Cannot explain");
    for (size_t i = 0; argc == 0 && i < all; i++)
        entries[n++] = catalogue_at(i);
    for (int i = 0; i < argc; i++) {
        const struct catalogue_entry *entry = catalogue_find(argv[i]);
        _cleanup_free_ char *shown = text_escape_string(argv[i]);

        if (!entry)
            return complain(0,
                            "There is no finding called '%s'. 'qcauditctl explain' lists them all.",
                            shown),
                   -EINVAL;
        entries[n++] = entry;
    }
    r = catalogue_rows(entries, n, &rows);
    if (r < 0)
        return complain(r, "Cannot explain");
    r = list_arrange(&ctl->output, catalogue_columns, ELEMENTSOF(catalogue_columns), 0, rows);
    if (r < 0)
        return r;
    if (list)
        output_begin(&ctl->output);
    else
        output_begin_prose(&ctl->output);
    if (ctl->output.json != JSON_OFF)
        return output_json(&ctl->output, rows);
    if (list)
        r = catalogue_table(ctl, rows);
    for (size_t i = 0; !list && i < n; i++) {
        if (i > 0)
            (void)putchar('\n');
        explain(ctl, entries[i]);
    }
    return r < 0 ? complain(r, "Cannot explain") : 0;
}
