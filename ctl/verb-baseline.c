/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* baseline: lists baselines, accepts an intended change. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/facts.h"
#include "ctl/list.h"
#include "ctl/source.h"
#include "ctl/when.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "qcaudit/control.h"

static const struct column baseline_columns[] = {
    { "STATE", 0, "baseline.state" },
    { "KEPT AS", 0, "baseline.source" },
    { "VERIFIED", COLUMN_RIGHT | COLUMN_TIME, "baseline.verified" },
    { "SINCE", COLUMN_RIGHT | COLUMN_TIME, "baseline.since" },
    { "DIGEST", 0, "baseline.digest" },
    { "IMAGE", COLUMN_FLEXIBLE, "path" },
};

static int baselines_table(struct ctl *ctl, json_object *rows)
{
    _cleanup_(table_freep) struct table *table = NULL;
    _cleanup_free_ char *common = fact_common(ctl, rows, "path");
    uint64_t now = usec_now(CLOCK_REALTIME);
    int r = common ? table_new(&ctl->output, baseline_columns, ELEMENTSOF(baseline_columns),
                               &table)
                   : -ENOMEM;

    if (r >= 0)
        fact_print_common(ctl, common);
    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i),
                    *baseline = row_member(row, "baseline");
        const char *state = row_raw(baseline, "state"), *digest = row_raw(baseline, "digest");
        bool well = state && strcmp(state, "verified") == 0;

        r = table_row(table, row);
        if (r >= 0)
            r = table_take(table, 0, row_text(baseline, "state"), well ? COLOUR_OFF : COLOUR_RED);
        if (r >= 0)
            r = table_take(table, 1, row_text(baseline, "source"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 2, fact_since(baseline, "verified", now), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 3, fact_since(baseline, "since", now), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 4, strndup(digest ? digest : "-",
                                              ctl->output.full || ctl->output.csv ? 64 : 12),
                           COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 5, fact_path(row, "path", common), COLOUR_OFF);
    }
    return r < 0 ? r : table_print(table);
}

static bool some_are_kept_as(json_object *rows, const char *source)
{
    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        const char *kept = row_raw(row_member(json_object_array_get_idx(rows, i), "baseline"),
                                   "source");

        if (kept && strcmp(kept, source) == 0)
            return true;
    }
    return false;
}

static int list(struct ctl *ctl)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object(), *rows = NULL;
    size_t n;
    int r = filter && json_add(filter, "baseline", json_object_new_boolean(true)) >= 0
                ? 0
                : -ENOMEM;

    if (r >= 0)
        r = filter_add(filter, "datastore", ctl->datastore);
    if (r < 0)
        return complain(r, "Cannot list baselines");
    r = source_images(ctl, filter, &rows);
    if (r >= 0)
        r = list_arrange(&ctl->output, baseline_columns, ELEMENTSOF(baseline_columns), 0, rows);
    if (r < 0)
        return r;
    output_begin(&ctl->output);
    if (ctl->output.json != JSON_OFF)
        return output_json(&ctl->output, rows);
    n = json_object_array_length(rows);
    if (n > 0 || ctl->output.csv)
        r = baselines_table(ctl, rows);
    if (ctl->output.legend && n == 0)
        (void)printf("No baselines yet: golden images, and parents that are old enough, have one "
                     "once they were read.\n");
    else if (ctl->output.legend)
        (void)printf("\n%zu image%s.%s%s\n", n, n == 1 ? "" : "s",
                     some_are_kept_as(rows, "child")
                         ? " Kept as \"child\": it may change; what it held shows whether it was "
                           "committed."
                         : "",
                     some_are_kept_as(rows, "asked")
                         ? " Kept as \"asked\": it may change; scan --scrub read it."
                         : "");
    return r < 0 ? complain(r, "Cannot list baselines") : 0;
}

int baseline_print_readings(struct ctl *ctl, json_object *rows)
{
    static const struct column columns[] = {
        { "READ", COLUMN_TIME, "finished" },
        { "RESULT", 0, "verdict" },
        { "HOW", 0, "direct" },
        { "EXPLANATION", COLUMN_CUT, "explanation" },
    };
    _cleanup_(table_freep) struct table *table = NULL;
    int r = table_new(&ctl->output, columns, ELEMENTSOF(columns), &table);

    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        const char *verdict = row_raw(row, "verdict");
        bool bad = verdict &&
                   (strcmp(verdict, "bit-rot") == 0 || strcmp(verdict, "modified") == 0 ||
                    strcmp(verdict, "incomplete") == 0);
        bool accepted = verdict && strcmp(verdict, "accepted") == 0;
        char when[WHEN_MAX];

        r = table_row(table, row);
        if (r >= 0)
            r = table_cell(table, 0, when_short(row_number(row, "finished"), when), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 1, row_text(row, "verdict"), bad ? COLOUR_RED : COLOUR_OFF);
        if (r >= 0)
            r = table_cell(table, 2,
                           accepted                  ? "-"
                           : row_bool(row, "direct") ? "disk"
                                                     : "cache",
                           COLOUR_OFF);
        if (r >= 0)
            r = row_has(row, "explanation")
                    ? table_take(table, 3, row_prose(row, "explanation"), COLOUR_OFF)
                    : table_cell(table, 3, "", COLOUR_OFF);
    }
    return r < 0 ? r : table_print(table);
}

static int show(struct ctl *ctl, const char *argument)
{
    _cleanup_(json_object_putp) json_object *image = NULL, *readings = NULL, *both = NULL;
    _cleanup_free_ char *path = NULL, *shown = NULL;
    json_object *baseline;
    int r = source_find_image(ctl, argument, false, &path);

    if (r >= 0)
        r = client_image(ctl, path, &image);
    if (r == -ENOENT)
        return complain(0, "The image is no longer known."), r;
    if (r >= 0)
        r = source_list_of_path(ctl, "ListReadings", path, &readings);
    if (r < 0)
        return r;
    baseline = row_member(image, "baseline");
    shown = row_text(image, "path");
    output_begin(&ctl->output);
    if (ctl->output.json != JSON_OFF) {
        both = json_object_new_object();
        if (!both || filter_add(both, "path", path) < 0 ||
            (baseline && json_add(both, "baseline", json_object_get(baseline)) < 0) ||
            json_add(both, "readings", json_object_get(readings)) < 0)
            return complain(-ENOMEM, "Cannot show a baseline");
        return output_json(&ctl->output, both);
    }
    (void)printf("%s%s%s\n", output_colour(&ctl->output, COLOUR_BOLD), shown,
                 output_colour(&ctl->output, COLOUR_OFF));
    if (baseline)
        baseline_print(ctl, baseline);
    else
        (void)printf("No baseline: it is neither golden nor a parent, or was not read yet.\n");
    if (json_object_array_length(readings) > 0) {
        (void)putchar('\n');
        r = baseline_print_readings(ctl, readings);
    }
    return r < 0 ? complain(r, "Cannot show a baseline") : 0;
}

static int accept_change(struct ctl *ctl, const char *argument)
{
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
    _cleanup_free_ char *path = NULL, *shown = NULL;
    int r;

    if (!ctl->reason || !*ctl->reason)
        return complain(0, "Say why: --reason=TEXT. The history keeps it."), -EINVAL;
    r = source_find_image(ctl, argument, false, &path);
    if (r >= 0)
        r = client_call_new(ctl, "AcceptBaseline", &call);
    if (r < 0)
        return r;
    r = sd_bus_message_append_array(call, 'y', path, strlen(path));
    if (r >= 0)
        r = sd_bus_message_append(call, "s", ctl->reason);
    if (r < 0)
        return complain(r, "Cannot call qcauditd");
    r = client_call(ctl, call, NULL, &reply);
    shown = text_escape_string(path);
    if (r >= 0 && ctl->output.legend && ctl->output.json == JSON_OFF)
        (void)printf("What %s holds now is what it must hold from now on.\n", shown);
    return r;
}

int verb_baseline(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_free_ char *shown = NULL;
    int r = source_needs_daemon(ctl, "baseline");

    if (r < 0)
        return r;
    if (argc == 0 || (argc == 1 && strcmp(argv[0], "list") == 0))
        return list(ctl);
    if (output_is_list(&ctl->output))
        return complain(0, "Only the list of baselines has --columns, --sort and CSV."), -EINVAL;
    if (argc == 2 && strcmp(argv[0], "show") == 0)
        return show(ctl, argv[1]);
    if (argc == 2 && strcmp(argv[0], "accept") == 0)
        return accept_change(ctl, argv[1]);
    shown = text_escape_string(argv[0]);
    return complain(
               0,
               "'baseline %s': it is list, show PATH, or accept PATH. See: qcauditctl baseline "
               "--help",
               shown ? shown : ""),
           -EINVAL;
}
