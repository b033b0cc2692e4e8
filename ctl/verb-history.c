/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* history: the changes of findings, and the audits and readings of one image, newest first; or one
 * figure of a disk or a datastore over time. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/domains.h"
#include "ctl/facts.h"
#include "ctl/list.h"
#include "ctl/metric.h"
#include "ctl/source.h"
#include "ctl/when.h"
#include "helpers/json-text.h"
#include "helpers/text.h"

#define LINES_DEFAULT 200

static char *time_text(json_object *row, const char *key)
{
    char when[WHEN_MAX];

    return strdup(when_short(row_number(row, key), when));
}

#define EVENT_SUBJECT 4

static const struct column event_columns[] = {
    { "TIME", COLUMN_TIME, "at" },
    { "EVENT", 0, "event" },
    { "SEVERITY", COLUMN_SEVERITY, "severity" },
    { "FINDING", 0, "finding" },
    [EVENT_SUBJECT] = { "IMAGE", COLUMN_FLEXIBLE, "subject" },
};

static int events_table(struct ctl *ctl, json_object *rows, bool with_subject)
{
    _cleanup_(table_freep) struct table *table = NULL;
    _cleanup_free_ char *common = fact_common(ctl, rows, "subject");
    int r = common ? table_new(&ctl->output, event_columns, ELEMENTSOF(event_columns), &table)
                   : -ENOMEM;

    if (r >= 0 && !with_subject)
        table_hide(table, EVENT_SUBJECT);
    if (r >= 0 && with_subject)
        fact_print_common(ctl, common);
    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        const char *event = row_raw(row, "event");
        bool good = event && (strcmp(event, "resolved") == 0 || strcmp(event, "eased") == 0);

        r = table_row(table, row);
        if (r >= 0)
            r = table_take(table, 0, time_text(row, "at"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 1, row_text(row, "event"), good ? COLOUR_GREEN : COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 2, row_text(row, "severity"),
                           good ? COLOUR_OFF : severity_colour(row_raw(row, "severity")));
        if (r >= 0)
            r = table_take(table, 3, row_text(row, "finding"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, EVENT_SUBJECT, fact_subject(row, common), COLOUR_OFF);
    }
    return r < 0 ? r : table_print(table);
}

static int audits_table(struct ctl *ctl, json_object *rows)
{
    static const struct column columns[] = {
        { "AUDITED", COLUMN_TIME, "finished" },
        { "CONFIDENCE", 0, "confidence" },
        { "SIZE", COLUMN_RIGHT | COLUMN_SIZE, "size" },
        { "LAYERS", COLUMN_RIGHT | COLUMN_NUMBER, "depth" },
        { "CORRUPTIONS", COLUMN_RIGHT | COLUMN_NUMBER, "corruptions" },
        { "LEAKS", COLUMN_RIGHT | COLUMN_NUMBER, "leaks" },
    };
    _cleanup_(table_freep) struct table *table = NULL;
    int r = table_new(&ctl->output, columns, ELEMENTSOF(columns), &table);

    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        bool opened = row_bool(row, "opened");

        r = table_row(table, row);
        if (r >= 0)
            r = table_take(table, 0, time_text(row, "finished"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 1, fact_confidence_word(row), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 2, fact_size(row, "size"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 3, row_text(row, "depth"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, 4, opened ? row_text(row, "corruptions") : strdup("not opened"),
                           opened && row_number(row, "corruptions") == 0 ? COLOUR_OFF : COLOUR_RED);
        if (r >= 0)
            r = table_take(table, 5, row_text(row, "leaks"),
                           row_number(row, "leaks") == 0 ? COLOUR_OFF : COLOUR_YELLOW);
    }
    return r < 0 ? r : table_print(table);
}

static int history_filter(const struct ctl *ctl, const char *path, json_object **ret_filter)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object();
    int r = filter ? filter_add(filter, "path", path) : -ENOMEM;

    if (r >= 0 && path)
        r = json_add(filter, "disk", json_object_new_boolean(true));
    if (r >= 0)
        r = filter_add(filter, "name", ctl->name);
    if (r >= 0 && ctl->since > 0)
        r = json_add(filter, "since", json_object_new_uint64(ctl->since)) < 0
                ? -ENOMEM
                : 0;
    if (r >= 0 && ctl->until > 0)
        r = json_add(filter, "until", json_object_new_uint64(ctl->until)) < 0
                ? -ENOMEM
                : 0;
    if (r < 0)
        return complain(r, "Cannot read the history");
    *ret_filter = TAKE_PTR(filter);
    return 0;
}

static int history_json(struct ctl *ctl, json_object *events, json_object *audits,
                        json_object *readings)
{
    _cleanup_(json_object_putp) json_object *both = json_object_new_object();

    if (ctl->output.json == JSON_LINES)
        return output_json(&ctl->output, events);
    if (!both || json_add(both, "events", json_object_get(events)) < 0 ||
        (audits && json_add(both, "audits", json_object_get(audits)) < 0) ||
        (readings && json_add(both, "readings", json_object_get(readings)) < 0))
        return -ENOMEM;
    return output_json(&ctl->output, both);
}

/* An image that is gone has a history, too. audits, readings: NULL without path. */
static int history_read(struct ctl *ctl, const char *path, json_object **ret_events,
                        json_object **ret_audits, json_object **ret_readings)
{
    _cleanup_(json_object_putp) json_object *filter = NULL, *events = NULL, *audits = NULL,
                                            *readings = NULL;
    int r = history_filter(ctl, path, &filter);

    if (r >= 0)
        r = source_events(ctl, filter, &events);
    if (r >= 0 && path)
        r = source_list_of_path(ctl, "ListAudits", path, &audits);
    if (r >= 0 && path)
        r = source_list_of_path(ctl, "ListReadings", path, &readings);
    if (r < 0)
        return r;
    json_object_put(*ret_events);
    json_object_put(*ret_audits);
    json_object_put(*ret_readings);
    *ret_events = TAKE_PTR(events);
    *ret_audits = TAKE_PTR(audits);
    *ret_readings = TAKE_PTR(readings);
    return 0;
}

/* Are all of them of this image? */
static bool all_of(json_object *events, const char *path)
{
    for (size_t i = 0; i < json_object_array_length(events); i++) {
        const char *subject = row_raw(json_object_array_get_idx(events, i), "subject");

        if (!subject || strcmp(subject, path) != 0)
            return false;
    }
    return true;
}

static int print_history(struct ctl *ctl, const char *path, json_object *events,
                         json_object *audits, json_object *readings)
{
    bool list = output_is_list(&ctl->output);
    int r = 0;

    if (json_object_array_length(events) > 0 || ctl->output.csv)
        r = events_table(ctl, events, list || !path || !all_of(events, path));
    else if (ctl->output.legend)
        (void)printf("No changes of findings.\n");
    if (r >= 0 && !list && audits && json_object_array_length(audits) > 0) {
        (void)putchar('\n');
        r = audits_table(ctl, audits);
    }
    if (r >= 0 && !list && readings && json_object_array_length(readings) > 0) {
        (void)putchar('\n');
        r = baseline_print_readings(ctl, readings);
    }
    if (ctl->output.legend && json_object_array_length(events) == ctl->lines)
        (void)printf("\nThe newest %u; --lines=N shows more.\n", ctl->lines);
    return r;
}

/* The disk's image by its domain, which the daemon alone knows; else a path, known or not. */
static int history_path(struct ctl *ctl, const char *argument, char **ret_path)
{
    int r = ctl->offline ? -ENOENT : domain_disk_path(ctl, argument, ret_path);

    if (r != -ENOENT)
        return r;
    *ret_path = source_absolute(ctl, argument);
    return *ret_path ? 0 : complain(-ENOMEM, "Cannot read the history");
}

/* The image may be given by its name alone. */
static int metric_history(struct ctl *ctl, const char *argument)
{
    _cleanup_(json_object_putp) json_object *rows = NULL;
    _cleanup_free_ char *path = NULL;
    int r;

    if (!argument)
        return complain(0, "--metric and --crossed need a PATH or a DOMAIN."), -EINVAL;
    r = history_path(ctl, argument, &path);
    if (r >= 0)
        r = metric_read(ctl, path, &rows);
    if (r >= 0 && json_object_array_length(rows) == 0) {
        json_object_put(TAKE_PTR(rows));
        free(TAKE_PTR(path));
        r = source_find_image(ctl, argument, false, &path);
        if (r >= 0)
            r = metric_read(ctl, path, &rows);
    }
    return r < 0 ? r : metric_show(ctl, path, rows);
}

static int datastore_history(struct ctl *ctl, const char *argument)
{
    _cleanup_(json_object_putp) json_object *rows = NULL;
    _cleanup_free_ char *shown = text_escape_string(ctl->datastore);
    int r;

    if (!shown)
        return complain(-ENOMEM, "Cannot read the history");
    if (!ctl->metric)
        ctl->metric = "used";
    if (argument || ctl->name || !metric_is_of_datastore(ctl->metric))
        return complain(0, "--datastore shows how full the datastore was: no PATH, no --name, and "
                           "no other --metric than used with it."), -EINVAL;
    r = metric_read_datastore(ctl, ctl->datastore, &rows);
    if (r >= 0 && json_object_array_length(rows) == 0)
        return complain(0, "Nothing is known of the space of a datastore %s. '%s status' lists "
                           "those that there are.", shown, output_tool(&ctl->output)), -ENOENT;
    return r < 0 ? r : metric_show(ctl, ctl->datastore, rows);
}

int verb_history(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(json_object_putp) json_object *events = NULL, *audits = NULL, *readings = NULL;
    _cleanup_free_ char *path = NULL;
    int r = 0;

    if (ctl->datastore)
        return datastore_history(ctl, argc > 0 ? argv[0] : NULL);
    if (ctl->metric && metric_is_of_datastore(ctl->metric))
        return complain(0, "--metric=%s is of a datastore: give --datastore=NAME.", ctl->metric),
               -EINVAL;
    if (ctl->metric)
        return metric_history(ctl, argc > 0 ? argv[0] : NULL);
    if (ctl->lines == 0)
        ctl->lines = LINES_DEFAULT;
    if (argc > 0)
        r = history_path(ctl, argv[0], &path);
    if (r >= 0)
        r = history_read(ctl, path, &events, &audits, &readings);
    if (r >= 0 && path && json_object_array_length(events) == 0 &&
        json_object_array_length(audits) == 0 && json_object_array_length(readings) == 0) {
        free(TAKE_PTR(path));
        r = source_find_image(ctl, argv[0], false, &path);
        if (r >= 0)
            r = history_read(ctl, path, &events, &audits, &readings);
    }
    /* of the newest ones: no more were asked for */
    if (r >= 0)
        r = list_arrange(&ctl->output, event_columns, ELEMENTSOF(event_columns), 0, events);
    if (r < 0)
        return r;
    output_begin(&ctl->output);
    if (ctl->output.json != JSON_OFF)
        return history_json(ctl, events, audits, readings);
    r = print_history(ctl, path, events, audits, readings);
    return r < 0 ? complain(r, "Cannot show the history") : 0;
}
