/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* history --metric and --crossed: one figure of a disk over time, from its audits, or of a
 * datastore; and how it goes on. */
#include "ctl/metric.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/facts.h"
#include "ctl/forecast-print.h"
#include "ctl/list.h"
#include "ctl/source.h"
#include "ctl/when.h"
#include "helpers/clock.h"
#include "helpers/json-text.h"
#include "helpers/text.h"
#include "helpers/value.h"

#define LINES_DEFAULT 200
#define SPARKLINE_MAX 60
#define SPARKLINE_INDENT 2

static const struct metric {
    const char *name, *key;     /* of the option, of an audit's row */
    bool is_size;
    const char *subject, *again;        /* "The chain", "the chain" or "it" */
    const char *one, *many;             /* "layer", "layers" */
    /* The subject of the forecast; NULL: there is none. */
    const struct forecast_subject *forecast;
    bool of_datastore;
} metrics[] = {
    { "depth", "depth", false, "The chain", "the chain", "layer", "layers",
      .forecast = &(const struct forecast_subject){ .one = "layer", .many = "layers",
                                                .in_steps = true } },
    { "leaks", "leaks", false, "The image", "it", "leaked cluster", "leaked clusters",
      .forecast = NULL },
    { "allocated", "allocated", true, "The image", "it", "on disk", "on disk",
      .forecast = &(const struct forecast_subject){ .is_size = true } },
    { "corruptions", "corruptions", false, "The image", "it", "corruption", "corruptions",
      .forecast = NULL },
    { "size", "size", true, "The file", "it", "", "", .forecast = NULL },
    { "used", "available", true, "The datastore", "it", "in use", "in use", .of_datastore = true,
      .forecast = &(const struct forecast_subject){ .is_size = true, .is_space = true } },
};

const char *metric_name(size_t index)
{
    return index < ELEMENTSOF(metrics) ? metrics[index].name : NULL;
}

static const struct metric *metric_find(const char *name, size_t length)
{
    for (size_t i = 0; i < ELEMENTSOF(metrics); i++)
        if (strlen(metrics[i].name) == length && strncmp(metrics[i].name, name, length) == 0)
            return &metrics[i];
    return NULL;
}

bool metric_is_of_datastore(const char *name)
{
    const struct metric *metric = metric_find(name, strlen(name));

    return metric && metric->of_datastore;
}

int metric_parse_threshold(const char *text, const char **ret_metric, uint64_t *ret_threshold)
{
    const char *equals = strchr(text, '='), *reason;
    const struct metric *metric = equals ? metric_find(text, (size_t)(equals - text)) : NULL;
    uint64_t threshold = 0;

    if (!metric)
        return -EINVAL;
    /* A size may be written without a unit. */
    if (value_count(equals + 1, &threshold, &reason) < 0 &&
        (!metric->is_size || value_size(equals + 1, &threshold, &reason) < 0))
        return -EINVAL;
    if (threshold == 0)
        return -EINVAL;
    *ret_metric = metric->name;
    *ret_threshold = threshold;
    return 0;
}

/* ---- samples ------------------------------------------------------------------------------ */

struct sample {
    uint64_t at, value;
    const char *path;           /* of the layer that was audited; the row's. "" of a datastore */
};

/* The oldest first. */
struct samples {
    struct sample *items;
    size_t n;
    bool cut;                   /* older ones are left out, by --since */
    struct forecast forecast;
    struct forecast_subject subject;    /* of it */
    uint64_t limit;             /* of the figure; 0: there is none, or it is not known */
    uint64_t now;               /* usec */
};

static void samples_done(struct samples *samples)
{
    free(samples->items);
}

static int by_time(const void *a, const void *b)
{
    const struct sample *left = a, *right = b;

    return left->at < right->at ? -1 : left->at > right->at;
}

/* Of samples in the order in which they were recorded, the newest first. Sizes are of the uppermost
 * layer alone: another one is another file. */
static int samples_forecast(struct samples *samples, const struct metric *metric)
{
    _cleanup_free_ struct forecast_point *points = calloc(samples->n + 1, sizeof(*points));
    size_t n = samples->n;

    if (!points)
        return -ENOMEM;
    samples->subject = *metric->forecast;
    for (size_t i = 1; metric->is_size && i < n; i++)
        if (strcmp(samples->items[i].path, samples->items[0].path) != 0) {
            n = i;
            samples->subject.is_layer = true;
        }
    for (size_t i = 0; i < n; i++)
        points[n - 1 - i] = (struct forecast_point){ samples->items[i].at,
                                                     samples->items[i].value };
    return forecast_make(points, n, samples->subject.in_steps, samples->now, &samples->forecast);
}

static struct sample sample_from(json_object *row, const struct metric *metric)
{
    uint64_t value = row_number(row, metric->key), size = row_number(row, "size");

    if (metric->of_datastore)
        return (struct sample){ .at = row_number(row, "at"),
                                .value = size > value ? size - value : 0, .path = "" };
    return (struct sample){ .at = row_number(row, "finished"), .value = value,
                            .path = row_raw(row, "path") };
}

/* Of the rows that have the figure. */
static int samples_from(const struct ctl *ctl, json_object *rows, const struct metric *metric,
                        struct samples *samples)
{
    size_t n = json_object_array_length(rows);
    int r = 0;

    samples->now = usec_now(CLOCK_REALTIME);
    samples->items = calloc(n + 1, sizeof(*samples->items));
    if (!samples->items)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        json_object *row = json_object_array_get_idx(rows, i);
        struct sample sample = sample_from(row, metric);

        if (!row_has(row, metric->key) || (ctl->until > 0 && sample.at > ctl->until))
            continue;
        if (sample.at < ctl->since) {
            samples->cut = true;
            continue;
        }
        if (!sample.path)
            return -EBADMSG;
        if (metric->of_datastore && samples->n == 0)
            samples->limit = row_number(row, "size");
        samples->items[samples->n++] = sample;
    }
    if (metric->forecast)
        r = samples_forecast(samples, metric);
    qsort(samples->items, samples->n, sizeof(samples->items[0]), by_time);
    return r;
}

/* The configuration's limit of layers in the chain; without a daemon, that is not known. */
static int samples_limit(struct ctl *ctl, struct samples *samples)
{
    static const char name[] = "thresholds.chain-limit.layers";
    _cleanup_(json_object_putp) json_object *policy = NULL;
    json_object *settings;
    const char *reason;
    int r;

    if (ctl->offline || samples->forecast.trend != TREND_GROWS)
        return 0;
    r = source_policy(ctl, samples->items[samples->n - 1].path, &policy);
    if (r < 0)
        return r;
    settings = row_member(policy, "settings");
    for (size_t i = 0; settings && i < json_object_array_length(settings); i++) {
        json_object *row = json_object_array_get_idx(settings, i);
        const char *key = row_raw(row, "name"), *value = row_raw(row, "value");

        if (key && value && strcmp(key, name) == 0 &&
            value_count(value, &samples->limit, &reason) < 0)
            return complain(0, "qcauditd gave an answer that makes no sense"), -EBADMSG;
    }
    return 0;
}

/* Of the past alone, where the present is not looked at. */
static uint64_t forecast_limit(const struct ctl *ctl, const struct samples *samples)
{
    return ctl->until == 0 ? samples->limit : 0;
}

/* ---- texts -------------------------------------------------------------------------------- */

#define VALUE_MAX 64

/* "12", "1.2 GiB" */
static const char *value_text(const struct metric *metric, uint64_t value,
                              char buf[static VALUE_MAX])
{
    char size[TEXT_SIZE_MAX];

    if (metric->is_size)
        (void)snprintf(buf, VALUE_MAX, "%s", text_size(value, size));
    else
        (void)snprintf(buf, VALUE_MAX, "%" PRIu64, value);
    return buf;
}

/* "12 layers", "1.2 GiB on disk" */
static const char *value_words(const struct metric *metric, uint64_t value,
                               char buf[static VALUE_MAX])
{
    const char *unit = value == 1 ? metric->one : metric->many;
    char number[VALUE_MAX];

    (void)snprintf(buf, VALUE_MAX, "%.30s%s%s", value_text(metric, value, number),
                   *unit ? " " : "", unit);
    return buf;
}

/* ---- the values --------------------------------------------------------------------------- */

struct extremes {
    uint64_t least, most;
};

static struct extremes extremes_of(const struct samples *samples)
{
    struct extremes extremes = { .least = UINT64_MAX };

    for (size_t i = 0; i < samples->n; i++) {
        if (samples->items[i].value < extremes.least)
            extremes.least = samples->items[i].value;
        if (samples->items[i].value > extremes.most)
            extremes.most = samples->items[i].value;
    }
    return extremes;
}

/* Each place is an equal part of the time, and shows the value at its end: one that holds until the
 * next audit. Where the locale has no blocks, they are digits from 0, the least, to 9. */
static void print_sparkline(const struct ctl *ctl, const struct samples *samples,
                            struct extremes extremes)
{
    static const char *const blocks[] = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" };
    static const char *const digits[] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "9" };
    const char *const *levels = ctl->output.utf8 ? blocks : digits;
    size_t n_levels = ctl->output.utf8 ? ELEMENTSOF(blocks) : ELEMENTSOF(digits), at = 0;
    size_t width = ctl->output.width > SPARKLINE_INDENT + 1 &&
                           ctl->output.width - SPARKLINE_INDENT < SPARKLINE_MAX
                       ? ctl->output.width - SPARKLINE_INDENT
                       : SPARKLINE_MAX;
    uint64_t begin = samples->items[0].at, span = samples->items[samples->n - 1].at - begin;

    (void)printf("%*s", SPARKLINE_INDENT, "");
    for (size_t i = 0; i < width; i++) {
        uint64_t until = begin + (uint64_t)((double)span * (double)(i + 1) / (double)width);
        double share;

        while (at + 1 < samples->n && (samples->items[at + 1].at <= until || i + 1 == width))
            at++;
        share = extremes.most == extremes.least
                    ? 0
                    : (double)(samples->items[at].value - extremes.least) /
                          (double)(extremes.most - extremes.least);
        (void)fputs(levels[(size_t)(share * (double)(n_levels - 1) + 0.5)], stdout);
    }
    (void)putchar('\n');
}

static void print_figure(const char *label, const struct metric *metric, uint64_t value,
                         uint64_t at)
{
    char number[VALUE_MAX], when[WHEN_MAX];

    (void)printf("  %-7s %s", label, value_text(metric, value, number));
    if (at > 0)
        (void)printf(", at %s", when_text(at, when));
    (void)putchar('\n');
}

static int add_samples(json_object *object, const struct samples *samples)
{
    json_object *rows = json_object_new_array();
    int r = rows ? 0 : -ENOMEM;

    for (size_t i = 0; r >= 0 && i < samples->n; i++) {
        json_object *row = json_object_new_object();

        r = row ? json_object_array_add(rows, row) : -ENOMEM;
        if (r < 0) {
            json_object_put(row);
            break;
        }
        r = json_add_number(row, "at", samples->items[i].at);
        if (r >= 0)
            r = json_add_number(row, "value", samples->items[i].value);
        if (r >= 0 && *samples->items[i].path)
            r = json_add(row, "path", json_object_new_string(samples->items[i].path));
    }
    if (r < 0) {
        json_object_put(rows);
        return -ENOMEM;
    }
    return json_add(object, "samples", rows);
}

/* A size, or a number, as the figure is; a datastore has no layers. */
#define N_SAMPLE_COLUMNS(metric) ((metric)->of_datastore ? 2 : 3)
#define SAMPLE_COLUMNS(metric)                                                                     \
    {                                                                                              \
        { (metric)->of_datastore ? "TIME" : "AUDITED", COLUMN_TIME, "at" },                        \
        { "VALUE", COLUMN_RIGHT | ((metric)->is_size ? COLUMN_SIZE : COLUMN_NUMBER), "value" },    \
        { "LAYER", COLUMN_FLEXIBLE, "path" },                                                      \
    }

static int put_sample(struct table *table, json_object *row, const struct metric *metric,
                      const char *common)
{
    char number[VALUE_MAX], when[WHEN_MAX];
    int r = table_row(table, row);

    if (r >= 0)
        r = table_cell(table, 0, when_short(row_number(row, "at"), when), COLOUR_OFF);
    if (r >= 0)
        r = table_cell(table, 1, value_text(metric, row_number(row, "value"), number), COLOUR_OFF);
    return r < 0 || metric->of_datastore
               ? r : table_take(table, 2, fact_path(row, "path", common), COLOUR_OFF);
}

static bool is_change(const struct samples *samples, size_t i)
{
    return i == 0 || samples->items[i].value != samples->items[i - 1].value ||
           strcmp(samples->items[i].path, samples->items[i - 1].path) != 0;
}

/* The values as they changed, the newest last; which layer it was, where there were several. */
static int values_table(struct ctl *ctl, const struct samples *samples, const struct metric *metric,
                        json_object *rows)
{
    const struct column columns[] = SAMPLE_COLUMNS(metric);
    _cleanup_(json_object_putp) json_object *object = json_object_new_object();
    _cleanup_(table_freep) struct table *table = NULL;
    _cleanup_free_ char *common = fact_common(ctl, rows, "path");
    size_t n_changes = 0, n_skipped = 0;
    unsigned lines = ctl->lines > 0 ? ctl->lines : LINES_DEFAULT;
    int r = common && object ? add_samples(object, samples) : -ENOMEM;

    if (r >= 0)
        r = table_new(&ctl->output, columns, N_SAMPLE_COLUMNS(metric), &table);
    for (size_t i = 0; i < samples->n; i++)
        n_changes += is_change(samples, i);
    n_skipped = n_changes > lines ? n_changes - lines : 0;
    if (r >= 0)
        fact_print_common(ctl, common);
    for (size_t i = 0, nth = 0; r >= 0 && i < samples->n; i++)
        if (is_change(samples, i) && nth++ >= n_skipped)
            r = put_sample(table, json_object_array_get_idx(row_member(object, "samples"), i),
                           metric, common);
    if (r >= 0)
        r = table_print(table);
    if (r >= 0 && ctl->output.legend && n_skipped > 0)
        (void)printf("\nThe newest %u changes; --lines=N shows more.\n", lines);
    return r;
}

static const char *record_words(const struct metric *metric)
{
    return metric->of_datastore ? "record of this datastore" : "record of this disk";
}

/* of: a path, or the name of a datastore. */
static int print_values(struct ctl *ctl, const char *of, const struct samples *samples,
                        const struct metric *metric, json_object *rows)
{
    struct extremes extremes = extremes_of(samples);
    const struct sample *first = &samples->items[0], *last = &samples->items[samples->n - 1];
    _cleanup_free_ char *shown = text_escape_string(of);
    char begin[WHEN_MAX];
    int r;

    if (!shown)
        return -ENOMEM;
    if (ctl->output.legend) {
        (void)printf("%s%s%s of %s, %zu %s%s\n\n", output_colour(&ctl->output, COLOUR_BOLD),
                     metric->name, output_colour(&ctl->output, COLOUR_OFF), shown, samples->n,
                     metric->of_datastore ? "value" : "audit", samples->n == 1 ? "" : "s");
        print_sparkline(ctl, samples, extremes);
    }
    print_figure("first", metric, first->value, first->at);
    print_figure("last", metric, last->value, last->at);
    print_figure("least", metric, extremes.least, 0);
    print_figure("most", metric, extremes.most, 0);
    (void)putchar('\n');
    if (ctl->output.legend && !samples->cut)
        (void)printf("The %s begins at %s.\n\n", record_words(metric),
                     when_text(first->at, begin));
    r = values_table(ctl, samples, metric, rows);
    if (r < 0 || samples->forecast.trend == TREND_UNKNOWN)
        return r;
    (void)putchar('\n');
    forecast_print(&samples->forecast, &samples->subject, forecast_limit(ctl, samples),
                   samples->now);
    return 0;
}

/* ---- when it passed a value --------------------------------------------------------------- */

struct crossing {
    const struct sample *reached, *before;      /* the first that reaches it, and the one before */
    const struct sample *fell;                  /* the first below it after that */
    const struct sample *again;                 /* since when it is there again, at the end */
};

static struct crossing crossing_of(const struct samples *samples, uint64_t threshold)
{
    struct crossing crossing = { .reached = NULL };

    for (size_t i = 0; i < samples->n; i++) {
        const struct sample *sample = &samples->items[i];

        if (sample->value < threshold) {
            if (crossing.reached && !crossing.fell)
                crossing.fell = sample;
            crossing.again = NULL;
        } else if (!crossing.reached) {
            crossing.reached = sample;
            crossing.before = i > 0 ? sample - 1 : NULL;
        } else if (crossing.fell && !crossing.again)
            crossing.again = sample;
    }
    return crossing;
}

static void print_crossing(const struct ctl *ctl, const struct samples *samples,
                           const struct metric *metric)
{
    struct crossing crossing = crossing_of(samples, ctl->threshold);
    const struct sample *first = &samples->items[0], *last = &samples->items[samples->n - 1];
    char at_first[WHEN_MAX], when[WHEN_MAX], other[WHEN_MAX], words[VALUE_MAX], number[VALUE_MAX];

    (void)value_words(metric, ctl->threshold, words);
    if (!crossing.reached) {
        (void)printf("%s never reached %s %s %s", metric->subject, words,
                     samples->cut ? "since" : "within the record, which begins at",
                     when_text(first->at, at_first));
        if (ctl->until > 0)
            (void)printf(", until %s", when_text(last->at, when));
        (void)printf("; the most was %s.\n",
                     value_text(metric, extremes_of(samples).most, number));
        return;
    }
    if (!crossing.before)
        (void)printf("%s%s begins at %s, and %s had %s then already",
                     samples->cut ? "What was asked for" : "The ",
                     samples->cut ? "" : record_words(metric), when_text(first->at, at_first),
                     metric->again, value_words(metric, first->value, words));
    else
        (void)printf("%s first reached %s at %s (%s; at %s it was %s)", metric->subject, words,
                     when_text(crossing.reached->at, when),
                     value_text(metric, crossing.reached->value, number),
                     when_short(crossing.before->at, other),
                     value_text(metric, crossing.before->value, (char[VALUE_MAX]){ "" }));
    if (crossing.fell)
        (void)printf(", and fell below that at %s", when_text(crossing.fell->at, other));
    if (crossing.fell && crossing.again)
        (void)printf("; it reached that again at %s", when_text(crossing.again->at, when));
    /* Not what it is now: the image may be gone, or was not audited for a long time. */
    (void)printf("; the last %s%s, at %s, found %s.\n", metric->of_datastore ? "look" : "audit",
                 ctl->until > 0 ? " of that time" : "", when_text(last->at, when),
                 value_text(metric, last->value, number));
}

/* ---- JSON --------------------------------------------------------------------------------- */

/* Each audit, where the list alone is asked for; of the newest, if not of all. */
static int list_samples(struct ctl *ctl, const struct samples *samples, const struct metric *metric)
{
    const struct column columns[] = SAMPLE_COLUMNS(metric);
    _cleanup_(json_object_putp) json_object *object = json_object_new_object();
    _cleanup_(table_freep) struct table *table = NULL;
    int r = object ? add_samples(object, samples) : -ENOMEM;
    json_object *rows = r < 0 ? NULL : row_member(object, "samples");
    size_t n = rows ? json_object_array_length(rows) : 0;

    if (ctl->lines > 0 && n > ctl->lines)
        (void)json_object_array_del_idx(rows, 0, n - ctl->lines);
    if (r >= 0)
        r = list_arrange(&ctl->output, columns, N_SAMPLE_COLUMNS(metric), 0, rows);
    if (r >= 0)
        r = table_new(&ctl->output, columns, N_SAMPLE_COLUMNS(metric), &table);
    for (size_t i = 0; r >= 0 && i < json_object_array_length(rows); i++)
        r = put_sample(table, json_object_array_get_idx(rows, i), metric, "");
    return r < 0 ? r : table_print(table);
}

static int add_crossing(json_object *object, const struct samples *samples, uint64_t threshold)
{
    struct crossing crossing = crossing_of(samples, threshold);
    int r = json_add_number(object, "threshold", threshold);

    if (r >= 0 && crossing.reached)
        r = json_add_number(object, "reached", crossing.reached->at);
    if (r >= 0 && crossing.reached)
        r = json_add(object, samples->cut ? "reached-before-since" : "reached-before-record",
                     json_object_new_boolean(!crossing.before));
    if (r >= 0 && crossing.fell)
        r = json_add_number(object, "fell-below", crossing.fell->at);
    if (r >= 0 && crossing.again)
        r = json_add_number(object, "reached-again", crossing.again->at);
    return r;
}

static int print_json(const struct ctl *ctl, const char *of, const struct samples *samples,
                      const struct metric *metric)
{
    _cleanup_(json_object_putp) json_object *object = json_object_new_object();
    struct extremes extremes = extremes_of(samples);
    int r = object ? json_add(object, metric->of_datastore ? "datastore" : "path",
                              json_object_new_string(of))
                   : -ENOMEM;

    if (r >= 0)
        r = json_add(object, "metric", json_object_new_string(metric->name));
    if (r >= 0 && samples->n > 0) {
        r = samples->cut ? json_add(object, "cut", json_object_new_boolean(true))
                         : json_add_number(object, "record-begins", samples->items[0].at);
        if (r >= 0)
            r = json_add_number(object, "first", samples->items[0].value);
        if (r >= 0)
            r = json_add_number(object, "last", samples->items[samples->n - 1].value);
        if (r >= 0)
            r = json_add_number(object, "least", extremes.least);
        if (r >= 0)
            r = json_add_number(object, "most", extremes.most);
    }
    if (r >= 0)
        r = ctl->threshold > 0 ? add_crossing(object, samples, ctl->threshold)
                               : add_samples(object, samples);
    if (r >= 0 && ctl->threshold == 0)
        r = forecast_add(object, &samples->forecast, &samples->subject,
                         forecast_limit(ctl, samples), samples->now);
    return r < 0 ? r : output_json(&ctl->output, object);
}

/* ctl->lines is for what is printed: the whole record is wanted. Of the datastore, or the path. */
static int read_all(struct ctl *ctl, const char *path, json_object *filter, json_object **ret_rows)
{
    unsigned lines = ctl->lines;
    int r;

    ctl->lines = 0;
    r = filter ? source_list(ctl, "ListSpace", filter, ret_rows)
               : source_list_of_path(ctl, "ListDiskAudits", path, ret_rows);
    ctl->lines = lines;
    return r;
}

int metric_read(struct ctl *ctl, const char *path, json_object **ret_rows)
{
    return read_all(ctl, path, NULL, ret_rows);
}

int metric_read_datastore(struct ctl *ctl, const char *name, json_object **ret_rows)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object();
    int r = filter ? filter_add(filter, "datastore", name) : -ENOMEM;

    return r < 0 ? complain(r, "Cannot read the history") : read_all(ctl, NULL, filter, ret_rows);
}

int metric_show(struct ctl *ctl, const char *of, json_object *rows)
{
    const struct metric *metric = metric_find(ctl->metric, strlen(ctl->metric));
    _cleanup_(samples_done) struct samples samples = { .n = 0 };
    bool list = output_is_list(&ctl->output);
    int r = 0;

    if (ctl->threshold > 0 && list)
        return complain(0, "--crossed answers with one sentence: no --columns, --sort or CSV with "
                           "it."), -EINVAL;
    r = samples_from(ctl, rows, metric, &samples);
    if (r >= 0 && !list && ctl->threshold == 0 && ctl->until == 0 && !metric->is_size) {
        r = samples_limit(ctl, &samples);
        if (r < 0)
            return r;
    }
    if (r >= 0)
        output_begin(&ctl->output);
    if (r >= 0 && ctl->output.json != JSON_OFF)
        r = print_json(ctl, of, &samples, metric);
    else if (r >= 0 && list) {
        r = list_samples(ctl, &samples, metric);
        if (r == -EINVAL)
            return r;
    } else if (r >= 0 && samples.n == 0)
        (void)printf("No %s in the record has this figure of the %s%s.\n",
                     metric->of_datastore ? "look" : "audit",
                     metric->of_datastore ? "datastore" : "disk", samples.cut ? " since then" : "");
    else if (r >= 0 && ctl->threshold > 0)
        print_crossing(ctl, &samples, metric);
    else if (r >= 0)
        r = print_values(ctl, of, &samples, metric, rows);
    return r < 0 ? complain(r, "Cannot show the history") : 0;
}
