/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* policy: which class an image is of, and what holds for it by which line of the configuration. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/facts.h"
#include "ctl/list.h"
#include "ctl/source.h"
#include "helpers/text.h"

#define LABELS 8
#define THRESHOLDS "thresholds."

/* "TEXT (FILE:LINE)"; takes the text. */
static void print_line(const struct ctl *ctl, const char *label, char *text, json_object *row,
                       const char *file_key, const char *line_key)
{
    output_label(&ctl->output, LABELS, label);
    (void)printf("%s", text ? text : "");
    if (row_has(row, file_key)) {
        _cleanup_free_ char *file = row_text(row, file_key);

        (void)printf(" (%s:%" PRIu64 ")", file ? file : "", row_number(row, line_key));
    }
    (void)putchar('\n');
    free(text);
}

static void print_head(const struct ctl *ctl, json_object *policy)
{
    const char *golden = row_raw(policy, "golden");

    print_line(ctl, "Image", row_text(policy, "path"), policy, "", "");
    if (!row_bool(policy, "known"))
        print_line(ctl, "Note", strdup("no such image is known: this is by its path alone"), policy,
                   "", "");
    if (row_has(policy, "class")) {
        print_line(ctl, "Class", row_text(policy, "class"), policy, "class-file", "class-line");
        print_line(ctl, "Pattern", row_text(policy, "pattern"), policy, "pattern-file",
                   "pattern-line");
    } else
        print_line(ctl, "Class", strdup("none: no pattern of a class matches"), policy, "", "");
    if (row_has(policy, "golden-pattern"))
        print_line(ctl, "Golden", row_text(policy, "golden-pattern"), policy, "golden-file",
                   "golden-line");
    else if (golden)
        print_line(ctl, "Golden", strdup(strcmp(golden, "inferred") == 0
                                             ? "yes, as it is the base of several disks"
                                             : "yes, by the configuration"),
                   policy, "", "");
}

/* "default", "FILE:LINE" or "FILE:LINE, class CLASS" */
static char *origin_text(json_object *row)
{
    _cleanup_free_ char *file = row_text(row, "file"), *class = row_text(row, "class");
    char *text;

    if (!row_has(row, "file"))
        return strdup("default");
    if (!file || !class ||
        asprintf(&text, "%s:%" PRIu64 "%s%s", file, row_number(row, "line"),
                 row_has(row, "class") ? ", class " : "", row_has(row, "class") ? class : "") < 0)
        return NULL;
    return text;
}

static bool is_threshold(json_object *row)
{
    const char *name = row_raw(row, "name");

    return name && strncmp(name, THRESHOLDS, strlen(THRESHOLDS)) == 0;
}

static const struct column columns[] = {
    { "SETTING", 0, "name" },
    { "VALUE", COLUMN_FLEXIBLE, "value" },
    { "FROM", COLUMN_FLEXIBLE, "file" },
};

/* Thresholds, by their short names; or the others; or all of them as one list. */
static int settings_table(const struct ctl *ctl, json_object *rows, bool thresholds, bool all)
{
    _cleanup_(table_freep) struct table *table = NULL;
    int r = table_new(&ctl->output, columns, ELEMENTSOF(columns), &table);

    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        enum colour colour = row_bool(row, "default") ? COLOUR_DIM : COLOUR_OFF;
        const char *value = row_raw(row, "value");
        _cleanup_free_ char *name = row_text(row, "name");

        if (!all && is_threshold(row) != thresholds)
            continue;
        if (!name)
            return -ENOMEM;
        r = table_row(table, row);
        if (r >= 0)
            r = table_cell(table, 0, thresholds && !all ? name + strlen(THRESHOLDS) : name, colour);
        if (r >= 0)
            r = table_take(table, 1, value && *value ? row_text(row, "value") : strdup("-"),
                           colour);
        if (r >= 0)
            r = table_take(table, 2, origin_text(row), colour);
    }
    return r < 0 || (table_rows(table) == 0 && !all) ? r : table_print(table);
}

static int print_policy(const struct ctl *ctl, json_object *policy)
{
    json_object *settings = row_member(policy, "settings");
    int r;

    if (!settings)
        return -EBADMSG;
    if (output_is_list(&ctl->output))
        return settings_table(ctl, settings, true, true);
    if (row_has(policy, "path"))
        print_head(ctl, policy);
    output_heading(&ctl->output, "Thresholds");
    r = settings_table(ctl, settings, true, false);
    output_heading(&ctl->output, "Other settings");
    return r < 0 ? r : settings_table(ctl, settings, false, false);
}

int verb_policy(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(json_object_putp) json_object *policy = NULL;
    _cleanup_free_ char *path = NULL;
    int r = 0;

    /* Without a slash it is the end of a known path. */
    if (argc > 0 && !strchr(argv[0], '/'))
        r = source_find_image(ctl, argv[0], false, &path);
    else
        path = argc > 0 ? source_absolute(ctl, argv[0]) : strdup("/");
    if (r < 0)
        return r;
    if (!path)
        return complain(-ENOMEM, "Cannot show the policy");
    r = source_policy(ctl, path, &policy);
    if (r >= 0 && row_has(policy, "settings"))
        r = list_arrange(&ctl->output, columns, ELEMENTSOF(columns), 0,
                         row_member(policy, "settings"));
    if (r < 0)
        return r;
    output_begin(&ctl->output);
    if (ctl->output.json != JSON_OFF)
        return output_json(&ctl->output, policy);
    r = print_policy(ctl, policy);
    return r < 0 ? complain(r, "Cannot show the policy") : 0;
}
