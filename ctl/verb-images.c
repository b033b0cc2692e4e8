/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* images: all that are known, one line each. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/facts.h"
#include "ctl/list.h"
#include "ctl/source.h"
#include "helpers/json-text.h"
#include "qcaudit/qcaudit.h"

#define WIDE 110                /* columns, from which on there is room for the role and the
                                 * domain */

/* The first things to know of an image: worst finding, a writer, gone, unreadable. */
static char *image_state(json_object *row)
{
    const char *severity = row_raw(row, "severity"), *use = row_raw(row, "use"),
               *format = row_raw(row, "format");
    uint64_t findings = row_number(row, "findings");
    char *text = NULL;

    if (severity)
        return asprintf(&text, "%s%s", severity, findings > 1 ? "+" : "") < 0 ? NULL : text;
    if (!row_bool(row, "present"))
        return strdup("gone");
    if (!row_has(row, "audited"))
        return strdup("waiting");
    if (use && strcmp(use, "writer") == 0)
        return strdup("in use");
    if (row_has(row, "error"))
        return strdup("not opened");
    /* There was no check that could have found anything: raw disks have none that could. */
    if (format && !row_has(row, "corruptions") &&
        !qca_format_has(qca_format_from_name(format), QCA_TRAIT_COMMANDS))
        return strdup("unchecked");
    return strdup("ok");
}

static char *image_depth(json_object *row)
{
    uint64_t depth = row_number(row, "depth"), unconsolidated = row_number(row, "unconsolidated");
    char *text;

    if (!row_has(row, "depth"))
        return strdup("-");
    if (row_bool(row, "loop"))
        return strdup("loop");
    if (unconsolidated == 0)
        return asprintf(&text, "%" PRIu64, depth) < 0 ? NULL : text;
    return asprintf(&text, "%" PRIu64 " (+%" PRIu64 ")", depth, unconsolidated) < 0 ? NULL : text;
}

enum {
    IMAGE_STATE,
    IMAGE_FORMAT,
    IMAGE_VIRTUAL,
    IMAGE_ALLOCATED,
    IMAGE_LAYERS,
    IMAGE_AUDITED,
    IMAGE_PATH,
    IMAGE_ROLE,
    IMAGE_CONFIDENCE,
    IMAGE_DOMAIN,
    /* where they are asked for */
    IMAGE_UNCONSOLIDATED,
    IMAGE_SIZE,
};

static const struct column image_columns[] = {
    [IMAGE_STATE] = { "STATE", COLUMN_SEVERITY, "severity" },
    [IMAGE_FORMAT] = { "FORMAT", 0, "format" },
    [IMAGE_VIRTUAL] = { "VIRTUAL", COLUMN_RIGHT | COLUMN_SIZE, "virtual-size" },
    [IMAGE_ALLOCATED] = { "ON DISK", COLUMN_RIGHT | COLUMN_SIZE, "allocated" },
    [IMAGE_LAYERS] = { "LAYERS", COLUMN_RIGHT | COLUMN_NUMBER, "depth" },
    [IMAGE_AUDITED] = { "AUDITED", COLUMN_RIGHT | COLUMN_TIME, "audited" },
    [IMAGE_PATH] = { "IMAGE", COLUMN_FLEXIBLE, "path" },
    [IMAGE_ROLE] = { "ROLE", 0, "role" },
    [IMAGE_CONFIDENCE] = { "CONFIDENCE", 0, "confidence" },
    [IMAGE_DOMAIN] = { "DOMAIN", COLUMN_CUT, "domain" },
    [IMAGE_UNCONSOLIDATED] = { "UNCONSOLIDATED", COLUMN_RIGHT | COLUMN_NUMBER, "unconsolidated" },
    [IMAGE_SIZE] = { "SIZE", COLUMN_RIGHT | COLUMN_SIZE, "size" },
};

static int images_table(struct ctl *ctl, json_object *rows)
{
    /* Columns that are shown where there is room: the image's role, its owner, its confidence. */
    bool wide = ctl->output.width == 0 || ctl->output.width >= WIDE || ctl->output.full;
    _cleanup_(table_freep) struct table *table = NULL;
    _cleanup_free_ char *common = fact_common(ctl, rows, "path");
    uint64_t now = usec_now(CLOCK_REALTIME);
    int r = common ? table_new(&ctl->output, image_columns, ELEMENTSOF(image_columns), &table)
                   : -ENOMEM;

    for (size_t k = wide ? IMAGE_UNCONSOLIDATED : IMAGE_ROLE;
         r >= 0 && k < ELEMENTSOF(image_columns); k++)
        table_hide(table, k);
    if (r >= 0)
        fact_print_common(ctl, common);
    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);

        r = table_row(table, row);
        if (r >= 0)
            r = table_take(table, IMAGE_STATE, image_state(row),
                           severity_colour(row_raw(row, "severity")));
        if (r >= 0)
            r = table_take(table, IMAGE_FORMAT, row_text(row, "format"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, IMAGE_VIRTUAL, fact_size(row, "virtual-size"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, IMAGE_ALLOCATED, fact_size(row, "allocated"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, IMAGE_LAYERS, image_depth(row), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, IMAGE_AUDITED, fact_since(row, "audited", now), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, IMAGE_PATH, fact_path(row, "path", common), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, IMAGE_ROLE, row_text(row, "role"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, IMAGE_CONFIDENCE, fact_confidence_word(row), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, IMAGE_DOMAIN, row_text(row, "domain"), COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, IMAGE_UNCONSOLIDATED, row_text(row, "unconsolidated"),
                           COLOUR_OFF);
        if (r >= 0)
            r = table_take(table, IMAGE_SIZE, fact_size(row, "size"), COLOUR_OFF);
    }
    return r < 0 ? r : table_print(table);
}

static int list(struct ctl *ctl, const char *argument, json_object *all)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object(), *rows = NULL;
    _cleanup_free_ char *path = argument ? source_absolute(ctl, argument) : NULL;
    int r = filter && (path || !argument) ? 0 : -ENOMEM;

    if (r >= 0)
        r = filter_add(filter, "path", path);
    if (r >= 0)
        r = filter_add(filter, "datastore", ctl->datastore);
    if (r >= 0)
        r = filter_add(filter, "format", ctl->format);
    if (r >= 0)
        r = filter_add(filter, "domain", ctl->domain);
    if (r >= 0)
        r = filter_add(filter, "pool", ctl->pool);
    if (r >= 0 && ctl->orphan)
        r = json_add(filter, "orphan", json_object_new_boolean(true)) < 0
                ? -ENOMEM : 0;
    if (r < 0)
        return complain(r, "Cannot list images");
    r = source_images(ctl, filter, &rows);
    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++)
        if (json_object_array_add(all, json_object_get(json_object_array_get_idx(rows, i))) < 0)
            r = complain(-ENOMEM, "Cannot list images");
    return r;
}

/* Any file is a raw image: those that nothing refers to, and with which nothing is wrong, are
 * noise. */
static bool is_noise(json_object *row)
{
    const char *format = row_raw(row, "format");

    return format && strcmp(format, "raw") == 0 && row_number(row, "children") == 0 &&
           row_number(row, "findings") == 0;
}

static size_t leave_out_noise(json_object *rows)
{
    size_t n = 0, left_out = 0;

    while (n < json_object_array_length(rows))
        if (is_noise(json_object_array_get_idx(rows, n))) {
            (void)json_object_array_del_idx(rows, n, 1);
            left_out++;
        } else
            n++;
    return left_out;
}

/* Prints the number of images, and the meaning of the signs that are there. */
static void print_legend(json_object *rows)
{
    size_t n = json_object_array_length(rows);
    bool several = false, left_behind = false;

    for (size_t i = 0; i < n; i++) {
        json_object *row = json_object_array_get_idx(rows, i);

        several = several || row_number(row, "findings") > 1;
        left_behind = left_behind || row_number(row, "unconsolidated") > 0;
    }
    (void)printf("\n%zu image%s%s.\n", n, n == 1 ? "" : "s",
                 left_behind ? "; \"(+N)\": layers that snapshots left behind" : "");
    if (several)
        (void)printf("\"+\": the worst of several findings.\n");
}

int verb_images(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();
    unsigned lines = ctl->lines;
    size_t left_out = 0, n;
    int r = rows ? 0 : complain(-ENOMEM, "Cannot list images");

    if (r >= 0 && (ctl->domain || ctl->pool || ctl->orphan))
        r = source_needs_daemon(ctl, "images --domain, --pool, --orphan");

    if (ctl->output.sort)
        ctl->lines = 0;     /* the first of all that there are */
    if (r >= 0 && argc == 0)
        r = list(ctl, ctl->path, rows);
    for (int i = 0; r >= 0 && i < argc; i++)
        r = list(ctl, argv[i], rows);
    if (r < 0)
        return r;
    /* Another program gets everything that was asked for. */
    if (ctl->output.json == JSON_OFF && !ctl->output.csv && !ctl->all && !ctl->format &&
        !ctl->domain && !ctl->orphan)
        left_out = leave_out_noise(rows);
    r = list_arrange(&ctl->output, image_columns, ELEMENTSOF(image_columns), lines, rows);
    if (r < 0)
        return r;
    output_begin(&ctl->output);
    if (ctl->output.json != JSON_OFF)
        return output_json(&ctl->output, rows);
    n = json_object_array_length(rows);
    if (n > 0 || ctl->output.csv)
        r = images_table(ctl, rows);
    if (ctl->output.legend && n == 0)
        (void)printf("No images found.\n");
    if (ctl->output.legend && n > 0)
        print_legend(rows);
    if (ctl->output.legend && left_out > 0)
        (void)printf("%zu raw file%s without findings not shown: --all shows them.\n", left_out,
                     left_out == 1 ? "" : "s");
    return r < 0 ? complain(r, "Cannot list images") : 0;
}
