/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Shows the state at a past time: findings --at, status --at. */
#include "ctl/past.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/facts.h"
#include "ctl/source.h"
#include "ctl/when.h"
#include "helpers/json-text.h"
#include "helpers/path.h"

#define WORST_MAX 5

int past_record(struct ctl *ctl, uint64_t *ret_begins)
{
    _cleanup_(json_object_putp) json_object *record = NULL;
    int r = source_record(ctl, &record);

    if (r >= 0)
        *ret_begins = row_number(record, "begins");
    return r;
}

int past_check(uint64_t when, uint64_t begins)
{
    char asked[WHEN_MAX], begin[WHEN_MAX];

    if (when > usec_now(CLOCK_REALTIME))
        return complain(0, "%s is still to come.", when_text(when, asked)), -EINVAL;
    if (when < begins)
        return complain(0, "The record begins at %s; before that nothing is known.",
                        when_text(begins, begin)),
               -ENODATA;
    return 0;
}

/* ---- findings ----------------------------------------------------------------------------- */

static bool is_wanted(const struct ctl *ctl, json_object *row, const char *path)
{
    const struct { const char *key, *wanted; } words[] = {
        {"name", ctl->name}, {"datastore", ctl->datastore}, {"state", ctl->state},
    };

    for (size_t i = 0; i < ELEMENTSOF(words); i++) {
        const char *word = row_raw(row, words[i].key);

        if (words[i].wanted && (!word || strcmp(word, words[i].wanted) != 0))
            return false;
    }
    if (ctl->severity && severity_rank(row_raw(row, "severity")) > severity_rank(ctl->severity))
        return false;
    return !path || (row_has(row, "path") && path_is_below(row_raw(row, "path"), path));
}

static int ask_at(struct ctl *ctl, json_object **ret_rows)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object();
    unsigned lines = ctl->lines;
    int r = filter ? json_add(filter, "at", json_object_new_uint64(ctl->at)) : -ENOMEM;

    if (r < 0)
        return complain(r, "Cannot read the history");
    ctl->lines = 0;     /* the worst are wanted, not the first */
    r = source_list(ctl, "ListFindingsAt", filter, ret_rows);
    ctl->lines = lines;
    return r;
}

/* *ret_begins: since when the record is whole. */
static int findings_then(struct ctl *ctl, json_object **ret_rows, uint64_t *ret_begins)
{
    _cleanup_(json_object_putp) json_object *all = NULL, *rows = json_object_new_array();
    _cleanup_free_ char *path = ctl->path ? source_absolute(ctl, ctl->path) : NULL;
    int r;

    if (!rows || (ctl->path && !path))
        return complain(-ENOMEM, "Cannot list findings");
    if (ctl->muted)
        return complain(0, "--at lists what was open or acknowledged then, muted or not: leave out "
                           "--muted."),
               -EINVAL;
    if (ctl->all || (ctl->state && strcmp(ctl->state, "resolved") == 0))
        return complain(0, "--at lists what was open or acknowledged then; what was resolved: "
                           "%s diff, %s history.", output_tool(&ctl->output),
                           output_tool(&ctl->output)),
               -EINVAL;
    r = past_record(ctl, ret_begins);
    if (r >= 0)
        r = past_check(ctl->at, *ret_begins);
    if (r >= 0)
        r = ask_at(ctl, &all);
    if (r < 0)
        return r;
    for (size_t i = 0; i < json_object_array_length(all); i++) {
        json_object *row = json_object_array_get_idx(all, i);

        if (is_wanted(ctl, row, path) &&
            json_object_array_add(rows, json_object_get(row)) < 0) {
            json_object_put(row);
            return complain(-ENOMEM, "Cannot list findings");
        }
    }
    source_sort_findings(rows);
    *ret_rows = TAKE_PTR(rows);
    return 0;
}

int past_findings(struct ctl *ctl, json_object **ret_rows)
{
    uint64_t begins;

    return findings_then(ctl, ret_rows, &begins);
}

void past_print_count(const struct ctl *ctl, json_object *rows)
{
    size_t n = json_object_array_length(rows), n_inferred = 0;
    char when[WHEN_MAX];

    if (!ctl->output.legend)
        return;
    for (size_t i = 0; i < n; i++)
        n_inferred += row_bool(json_object_array_get_idx(rows, i), "inferred");
    if (n == 0)
        (void)printf("No finding was open at %s.\n", when_text(ctl->at, when));
    else
        (void)printf("\n%zu finding%s at %s.\n", n, n == 1 ? "" : "s", when_text(ctl->at, when));
    if (n_inferred > 0)
        (void)printf("Of %zu of them, no event of that time is kept: severity and state are the "
                     "first\nthat are known of it later.\n", n_inferred);
}

/* ---- status ------------------------------------------------------------------------------- */

/* By severity, those in that state. */
static int add_counts(json_object *status, json_object *rows, const char *state)
{
    static const char *const severities[] = { "info", "warning", "error", "critical" };
    json_object *counts = json_object_new_object();
    int r = counts ? 0 : -ENOMEM;

    for (size_t k = 0; r >= 0 && k < ELEMENTSOF(severities); k++) {
        uint64_t n = 0;

        for (size_t i = 0; i < json_object_array_length(rows); i++) {
            json_object *row = json_object_array_get_idx(rows, i);
            const char *this = row_raw(row, "state"), *severity = row_raw(row, "severity");

            n += this && severity && strcmp(severity, severities[k]) == 0 &&
                 strcmp(this, state) == 0;
        }
        r = json_add(counts, severities[k], json_object_new_uint64(n));
    }
    if (r < 0) {
        json_object_put(counts);
        return r;
    }
    return json_add(status, strcmp(state, "open") == 0 ? "open" : "acknowledged", counts);
}

static int add_worst(json_object *status, json_object *rows)
{
    json_object *worst = json_object_new_array();
    int r = worst ? 0 : -ENOMEM;

    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        const char *state = row_raw(row, "state"), *severity = row_raw(row, "severity");

        if (json_object_array_length(worst) < WORST_MAX && state && strcmp(state, "open") == 0 &&
            severity_status(severity) > 0 &&
            json_object_array_add(worst, json_object_get(row)) < 0) {
            json_object_put(row);
            r = -ENOMEM;
        }
    }
    if (r < 0) {
        json_object_put(worst);
        return r;
    }
    return json_add(status, "worst", worst);
}

int past_status(struct ctl *ctl, json_object **ret_status)
{
    _cleanup_(json_object_putp) json_object *rows = NULL, *status = json_object_new_object();
    uint64_t begins = 0;
    int r = findings_then(ctl, &rows, &begins);

    if (r < 0)
        return r;
    if (!status || json_add(status, "at", json_object_new_uint64(ctl->at)) < 0 ||
        json_add(status, "record-begins", json_object_new_uint64(begins)) < 0 ||
        add_counts(status, rows, "open") < 0 || add_counts(status, rows, "acknowledged") < 0 ||
        add_worst(status, rows) < 0)
        return complain(-ENOMEM, "Cannot show the status");
    *ret_status = TAKE_PTR(status);
    return 0;
}

int past_print_status(struct ctl *ctl, json_object *status)
{
    json_object *worst = row_member(status, "worst");
    uint64_t n_open = 0, n_acknowledged = 0;
    _cleanup_free_ char *open = fact_severities(&ctl->output, row_member(status, "open"), &n_open),
                        *acknowledged = fact_severities(&ctl->output,
                                                        row_member(status, "acknowledged"),
                                                        &n_acknowledged);
    char when[WHEN_MAX], begins[WHEN_MAX];
    int r = 0;

    if (!open || !acknowledged)
        return -ENOMEM;
    (void)printf("Status at %s", when_text(ctl->at, when));
    if (ctl->brief) {
        (void)printf(": %s\n", open);
        return 0;
    }
    (void)printf(", by the record of events\n");
    output_label(&ctl->output, 10, "Findings");
    (void)printf("%s", open);
    if (n_acknowledged > 0)
        (void)printf("; acknowledged: %s", acknowledged);
    (void)putchar('\n');
    output_label(&ctl->output, 10, "Record");
    (void)printf("begins at %s\n", when_text(row_number(status, "record-begins"), begins));
    if (worst && json_object_array_length(worst) > 0) {
        (void)putchar('\n');
        r = findings_table(ctl, worst);
        if (r >= 0 && ctl->output.legend)
            (void)printf("\nAll of them: %s findings --at=@%" PRIu64 ".\n",
                         output_tool(&ctl->output), ctl->at / USEC_PER_SEC);
    }
    return r;
}
