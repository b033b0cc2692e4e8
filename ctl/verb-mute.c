/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mute, mutes, unmute: findings that are kept and shown, and not told for a while. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/facts.h"
#include "ctl/list.h"
#include "ctl/source.h"
#include "ctl/when.h"
#include "helpers/control-json.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "qcaudit/control.h"

/* ---- words -------------------------------------------------------------------------------- */

/* "chain-deep, class lab, path /srv/lab/<*>": what a mute asks for, escaped. */
static char *criteria_text(json_object *mute)
{
    _cleanup_free_ char *finding = row_text(mute, "finding"), *class = row_text(mute, "class"),
                        *path = row_text(mute, "path"), *id = row_text(mute, "finding-id");
    const bool has_finding = row_has(mute, "finding"), has_class = row_has(mute, "class"),
               has_path = row_has(mute, "path"), has_id = row_has(mute, "finding-id");
    char *text;

    if (!finding || !class || !path || !id)
        return NULL;
    if (asprintf(&text, "%s%s%s%s%s%s%s%s%s%s", has_id ? "finding " : "", has_id ? id : "",
                 has_id && (has_finding || has_class || has_path) ? ", " : "",
                 has_finding ? finding : "",
                 has_finding && (has_class || has_path) ? ", " : "",
                 has_class ? "class " : "", has_class ? class : "",
                 has_class && has_path ? ", " : "", has_path ? "path " : "",
                 has_path ? path : "") < 0)
        return NULL;
    return text;
}

static char *until_text(json_object *mute, uint64_t now)
{
    uint64_t until = row_number(mute, "until"), ended = row_number(mute, "ended");
    char when[WHEN_MAX], age[TEXT_DURATION_MAX], *text;

    if (row_bool(mute, "holds"))
        return strdup(until == 0 ? "for ever" : when_short(until, when));
    if (asprintf(&text, "%s %s", row_has(mute, "ended-by") ? "removed" : "ended",
                 text_age(ended > 0 ? ended : until, now, age)) < 0)
        return NULL;
    return text;
}

/* "by root 3h ago: rebuilt every night" */
static char *why_text(json_object *mute, uint64_t now)
{
    _cleanup_free_ char *by = fact_user(row_raw(mute, "made-by")),
                        *reason = row_text(mute, "reason"),
                        *ended_by = row_has(mute, "ended-by")
                                        ? fact_user(row_raw(mute, "ended-by")) : strdup("");
    char age[TEXT_DURATION_MAX], *text;

    if (!by || !reason || !ended_by ||
        asprintf(&text, "by %s %s%s%s: %s", by, text_age(row_number(mute, "made"), now, age),
                 *ended_by ? ", removed by " : "", ended_by, reason) < 0)
        return NULL;
    return text;
}

/* ---- mutes -------------------------------------------------------------------------------- */

/* Two lines of each, or as many as the reason needs. */
static int print_mutes(const struct ctl *ctl, json_object *rows, uint64_t now)
{
    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        _cleanup_free_ char *what = criteria_text(row), *until = until_text(row, now),
                            *why = why_text(row, now), *line = NULL;
        uint64_t n = row_number(row, "findings");
        const bool holds = row_bool(row, "holds");
        char number[32] = "";

        if (holds)
            (void)snprintf(number, sizeof(number), ", %" PRIu64 " finding%s", n, n == 1 ? "" : "s");
        if (!what || !until || !why ||
            asprintf(&line, "%s%s%s: %s", holds && row_number(row, "until") > 0 ? "until " : "",
                     until, number, what) < 0)
            return -ENOMEM;
        (void)printf("%s%3" PRIu64, output_colour(&ctl->output, holds ? COLOUR_OFF : COLOUR_DIM),
                     row_number(row, "id"));
        output_wrapped(&ctl->output, 5, 3, line);
        output_wrapped(&ctl->output, 5, 0, why);
        (void)printf("%s", output_colour(&ctl->output, COLOUR_OFF));
    }
    return 0;
}

static const struct column mute_columns[] = {
    { "ID", COLUMN_RIGHT | COLUMN_NUMBER, "id" },
    { "HOLDS", 0, "holds" },
    { "UNTIL", COLUMN_TIME, "until" },
    { "FINDINGS", COLUMN_RIGHT | COLUMN_NUMBER, "findings" },
    { "WHAT", COLUMN_FLEXIBLE, "finding" },
    { "BY", 0, "made-by" },
    { "MADE", COLUMN_TIME, "made" },
    { "REASON", COLUMN_CUT, "reason" },
};

static int mutes_table(struct ctl *ctl, json_object *rows, uint64_t now)
{
    _cleanup_(table_freep) struct table *table = NULL;
    int r = table_new(&ctl->output, mute_columns, ELEMENTSOF(mute_columns), &table);

    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        char when[WHEN_MAX];

        r = table_row(table, row);
        if (r >= 0)
            r = table_take(table, 0, row_text(row, "id"), COLOUR_OFF);
        if (r >= 0)
            r = table_cell(table, 1, row_bool(row, "holds") ? "yes" : "no", COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 2, until_text(row, now), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 3, row_text(row, "findings"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 4, criteria_text(row), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 5, fact_user(row_raw(row, "made-by")), COLOUR_OFF);
        if (r >= 0)
            r = table_cell(table, 6, when_short(row_number(row, "made"), when), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 7, row_text(row, "reason"), COLOUR_OFF);
    }
    return r < 0 ? r : table_print(table);
}

int verb_mutes(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(json_object_putp) json_object *rows = NULL;
    uint64_t now = usec_now(CLOCK_REALTIME);
    size_t n;
    int r = source_mutes(ctl, &rows);

    if (r >= 0)
        r = list_arrange(&ctl->output, mute_columns, ELEMENTSOF(mute_columns), 0, rows);
    if (r < 0)
        return r;
    output_begin(&ctl->output);
    if (ctl->output.json != JSON_OFF)
        return output_json(&ctl->output, rows);
    n = json_object_array_length(rows);
    if (ctl->output.csv || (n > 0 && output_is_list(&ctl->output)))
        r = mutes_table(ctl, rows, now);
    else if (n > 0)
        r = print_mutes(ctl, rows, now);
    if (ctl->output.legend && n == 0)
        (void)printf("Nothing is muted.\n");
    else if (ctl->output.legend)
        (void)printf("\nThe findings: %s findings --muted. To end one: %s unmute ID.\n",
                     output_tool(&ctl->output), output_tool(&ctl->output));
    return r < 0 ? complain(r, "Cannot list the mutes") : 0;
}

/* ---- mute and unmute ---------------------------------------------------------------------- */

static int mute_what(const struct ctl *ctl, json_object *what)
{
    int64_t id = 0;
    int r = ctl->id ? id_argument(ctl, ctl->id, "finding", "findings", &id) : 0;

    if (r < 0)
        return r;
    if (!ctl->finding && !ctl->path && !ctl->class && !ctl->id)
        return complain(0, "Say what is to be muted: --finding=NAME, --path=PATTERN, --class=CLASS "
                           "or --id=ID; of several, all must hold."), -EINVAL;
    if (ctl->finding && !catalogue_find(ctl->finding)) {
        _cleanup_free_ char *shown = text_escape_string(ctl->finding);

        return complain(0, "There is no finding called '%s'. 'qcauditctl explain' lists them all.",
                        shown), -EINVAL;
    }
    if (filter_add(what, "finding", ctl->finding) < 0 || filter_add(what, "path", ctl->path) < 0 ||
        filter_add(what, "class", ctl->class) < 0 ||
        (id > 0 && json_add(what, "finding-id", json_object_new_int64(id)) < 0))
        return complain(-ENOMEM, "Cannot mute");
    return 0;
}

/* Prints the findings that the mute covers from now on. */
static int print_made(struct ctl *ctl, int64_t id)
{
    _cleanup_(json_object_putp) json_object *rows = NULL;
    json_object *mute = NULL;
    char when[WHEN_MAX];
    uint64_t n;
    int r = source_mutes(ctl, &rows);

    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++)
        if (row_number(json_object_array_get_idx(rows, i), "id") == (uint64_t)id)
            mute = json_object_array_get_idx(rows, i);
    if (r < 0 || !mute)
        return r;
    if (ctl->output.json != JSON_OFF)
        return output_json(&ctl->output, mute);
    n = row_number(mute, "findings");
    (void)printf("Mute %" PRId64 " %s%s. It mutes %" PRIu64 " finding%s now.\n", id,
                 row_number(mute, "until") > 0 ? "holds until " : "has no end",
                 row_number(mute, "until") > 0 ? when_text(row_number(mute, "until"), when) : "",
                 n, n == 1 ? "" : "s");
    if (row_bool(mute, "all-images"))
        (void)printf("It covers every image: nothing about any image is reported.\n");
    if (ctl->output.legend)
        (void)printf("A finding that gets worse than it is now is reported all the same.\n"
                     "To end it: %s unmute %" PRId64 "\n", output_tool(&ctl->output), id);
    return 0;
}

int verb_mute(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(json_object_putp) json_object *what = json_object_new_object();
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
    int64_t id;
    uint64_t until;
    int r = what ? mute_what(ctl, what) : complain(-ENOMEM, "Cannot mute");

    if (r < 0)
        return r;
    if ((ctl->until > 0) + (ctl->duration > 0) + ctl->forever != 1)
        return complain(0, "Say for how long: one of --for=TIME, --until=TIME and --forever."),
               -EINVAL;
    r = end_time(ctl, 0, &until);
    if (r < 0)
        return r;
    r = need_reason(ctl);
    if (r >= 0)
        r = client_call_new(ctl, "Mute", &call);
    if (r < 0)
        return r;
    r = control_append_entry(call, what);
    if (r >= 0)
        r = sd_bus_message_append(call, "st", ctl->reason, until);
    if (r < 0)
        return complain(r, "Cannot call qcauditd");
    r = client_call(ctl, call, NULL, &reply);
    if (r < 0)
        return r;
    r = sd_bus_message_read(reply, "x", &id);
    return r < 0 ? complain(r, "qcauditd gave an answer that makes no sense") : print_made(ctl, id);
}

int verb_unmute(struct ctl *ctl, int argc, char **argv)
{
    int r = 0;

    for (int i = 0; r >= 0 && i < argc; i++) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        int64_t id;

        r = id_argument(ctl, argv[i], "mute", "mutes", &id);
        if (r >= 0)
            r = client_call_new(ctl, "Unmute", &call);
        if (r < 0)
            return r;
        r = sd_bus_message_append(call, "x", id);
        if (r < 0)
            return complain(r, "Cannot call qcauditd");
        r = client_call(ctl, call, CONTROL_ERROR_NOT_FOUND, &reply);
        if (r == -ENOENT)
            return complain(0, "There is no mute %" PRId64 " that holds: see '%s mutes'.", id,
                            output_tool(&ctl->output)), r;
    }
    return r;
}
