/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Prints a check's result: to people, as exit status, and as JSON with the names of `qemu-img
 * check`. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "ctl/check.h"
#include "helpers/json-text.h"
#include "helpers/report-json.h"
#include "helpers/text.h"

#define ISSUES_SHOWN 20         /* without --full */

/* ---- verdict ------------------------------------------------------------------------------ */

static const struct layer_report *top(const struct check *check)
{
    const struct audit_report *report = check->report;

    return report && report->error == 0 && report->n_layers > 0 ? &report->layers[0] : NULL;
}

/* The image itself, opened or not together with its parents; NULL when not even that. */
static const struct layer_report *image_layer(const struct check *check)
{
    return check->report && check->report->n_layers > 0 ? &check->report->layers[0] : NULL;
}

int check_worse(int a, int b)
{
    static const int worst_first[] = { CHECK_FAILED, CHECK_CORRUPT, CHECK_LEAKS,
                                       CHECK_UNSUPPORTED };

    for (size_t i = 0; i < ELEMENTSOF(worst_first); i++)
        if (a == worst_first[i] || b == worst_first[i])
            return worst_first[i];
    return CHECK_CLEAN;
}

bool check_is_hidden_damage(enum qca_issue_kind kind)
{
    return qca_issue_kind_counter(kind) == QCA_COUNTER_BEYOND &&
           (qca_issue_kind_is_pointer(kind) || kind == QCA_ISSUE_LUKS_HEADER_INVALID ||
            kind == QCA_ISSUE_LUKS_SLOT_INVALID || kind == QCA_ISSUE_LUKS_SLOTS_EMPTY);
}

static uint64_t hidden_damage(const struct qca_check_result *result)
{
    uint64_t n = 0;

    for (int kind = 0; kind < _QCA_ISSUE_MAX; kind++)
        if (check_is_hidden_damage(kind))
            n += qca_check_count(result, kind);
    return n;
}

static int layer_status(const struct layer_report *layer, bool compatible)
{
    int status = qca_check_exit_status(&layer->check);

    return compatible || hidden_damage(&layer->check) == 0 ? status
                                                           : check_worse(status, CHECK_CORRUPT);
}

/* Of raw disks, and of what QEMU takes for such, qemu-img check says that it has none. */
static bool layer_is_checked(const struct layer_report *layer, bool compatible)
{
    enum qca_format format = layer->info.format;

    return layer->checked &&
           !(compatible && (format == QCA_FORMAT_RAW ||
                            qca_format_has(format, QCA_TRAIT_OPENS_RAW | QCA_TRAIT_IN_RAW)));
}

int check_exit_status(const struct check *check, bool compatible)
{
    const struct layer_report *first = top(check);
    int status;

    if (!first)
        return CHECK_FAILED;
    status = layer_is_checked(first, compatible) ? layer_status(first, compatible)
                                                 : CHECK_UNSUPPORTED;
    for (size_t i = 1; i < check->report->n_layers; i++)
        if (layer_is_checked(&check->report->layers[i], compatible))
            status = check_worse(status, layer_status(&check->report->layers[i], compatible));
    return status;
}

static const char *open_failure(int error)
{
    switch (error) {
    case -EMEDIUMTYPE: return "It is neither a regular file nor a block device";
    case -EISDIR: return "It is a directory";
    default: return strerror(-error);
    }
}

/* The sentence of the library, and which layer it is about. */
static char *report_failure(const struct check *check)
{
    const struct audit_report *report = check->report;
    const struct qca_error *error = audit_report_open_error(report);
    const char *layer = error->layer > 0 && error->layer < check->n_paths
                            ? check->paths[error->layer]
                            : NULL;
    _cleanup_free_ char *shown = layer ? text_escape_string(layer) : NULL;
    const char *why = error->text[0] ? error->text : strerror(-report->error);
    char *text = NULL;
    int n;

    if (report->worker_signal != 0)
        n = asprintf(&text,
                     "The worker was ended by signal %d (%s); please report that with the image",
                     report->worker_signal, strsignal(report->worker_signal));
    else if (layer)
        n = asprintf(&text, "Layer %u, %s: %s", error->layer, shown, why);
    else
        n = asprintf(&text, "%s", why);
    return n < 0 ? NULL : text;
}

char *check_failure(const struct check *check)
{
    const struct layer_report *first = top(check);

    if (check->error < 0)
        return strdup(open_failure(check->error));
    if (!check->report || check->report->error != 0)
        return check->report ? report_failure(check) : strdup("No report");
    if (first && first->checked && !first->check.finished)
        return strdup(qca_check_error(&first->check)->text);
    return NULL;
}

/* ---- JSON --------------------------------------------------------------------------------- */

static const char *counter_name(enum qca_counter counter)
{
    switch (counter) {
    case QCA_COUNTER_CORRUPTION: return "corruption";
    case QCA_COUNTER_LEAK: return "leak";
    case QCA_COUNTER_CHECK_ERROR: return "check-error";
    case QCA_COUNTER_BEYOND: return "beyond";
    }
    return NULL;
}

/* NULL: of the active tables, or one that the report does not have. */
static const struct qca_snapshot *snapshot_of(const struct qca_image_info *info,
                                              const struct qca_issue *issue)
{
    return issue->snapshot < info->n_snapshots ? &info->snapshots[issue->snapshot] : NULL;
}

static int issue_json(const struct qca_image_info *info, const struct qca_issue *issue,
                      json_object **ret_object)
{
    const struct json_fields *fields = report_fields_of_issue();
    _cleanup_(json_object_putp) json_object *object = json_object_new_object();
    const struct qca_snapshot *snapshot = snapshot_of(info, issue);
    int r = object ? json_fields_show(fields, issue, JSON_KEYS("kind"), object) : -ENOMEM;

    if (r >= 0)
        r = json_add_text(object, "counter", counter_name(qca_issue_kind_counter(issue->kind)));
    if (r >= 0)
        r = json_fields_show(fields, issue,
                             JSON_KEYS("table", "index", "snapshot", "table-offset", "host-offset",
                                       "host-length", "guest-offset", "guest-length", "stored",
                                       "counted", "count", "layer"),
                             object);
    if (r >= 0 && issue->extent > 0)
        r = json_fields_show(fields, issue, JSON_KEYS("extent"), object);
    if (r >= 0 && snapshot)
        r = json_add_text(object, "snapshot-id", snapshot->id);
    if (r >= 0 && snapshot)
        r = json_add_text(object, "snapshot-name", snapshot->name);
    if (r < 0)
        return r;
    *ret_object = TAKE_PTR(object);
    return 0;
}

static int issues_json(const struct layer_report *layer, json_object **ret_array)
{
    _cleanup_(json_object_putp) json_object *array = json_object_new_array();

    if (!array)
        return -ENOMEM;
    for (size_t i = 0; i < layer->check.n_issues; i++) {
        json_object *issue;
        int r = issue_json(&layer->info, &layer->check.issues[i], &issue);

        if (r < 0)
            return r;
        if (json_object_array_add(array, issue) < 0) {
            json_object_put(issue);
            return -ENOMEM;
        }
    }
    *ret_array = TAKE_PTR(array);
    return 0;
}

static int result_json(const struct layer_report *layer, json_object *object)
{
    json_object *issues = NULL;
    int r = json_fields_show(report_fields_of_check(), &layer->check,
                             JSON_KEYS("check-errors", "corruptions", "leaks", "image-end-offset",
                                       "total-clusters", "allocated-clusters",
                                       "compressed-clusters", "fragmented-clusters", "finished"),
                             object);

    if (r >= 0)
        r = issues_json(layer, &issues);
    return r < 0 ? r : json_add(object, "issues", issues);
}

/* How the leaks lie: bytes in all, runs, and the most within what one L2 table maps. */
static int leaks_json(const struct layer_report *layer, json_object *object)
{
    const struct qca_check_result *result = &layer->check;
    int r;

    if (result->leaks == 0)
        return 0;
    r = json_add_number(object, "leaked-bytes", result->leaks * layer->info.cluster_size);
    return r < 0 ? r
                 : json_fields_show(report_fields_of_check(), result,
                                    JSON_KEYS("leak-runs", "burst-leaks", "burst-offset",
                                              "burst-end-offset"),
                                    object);
}

static int layer_json(const char *path, const struct layer_report *layer, json_object *object)
{
    int r = json_add_text(object, "filename", path);

    if (r >= 0)
        r = json_fields_show(report_fields_of_info(), &layer->info,
                             JSON_KEYS("format", "virtual-size"), object);
    if (r >= 0 && layer->info.identity.text[0])
        r = json_fields_show(report_fields_of_info(), &layer->info, JSON_KEYS("identity"), object);
    if (r >= 0 && layer->info.parent_identity.text[0])
        r = json_fields_show(report_fields_of_info(), &layer->info, JSON_KEYS("parent-identity"),
                             object);
    if (r >= 0 && layer->info.other_size > 0)
        r = json_fields_show(report_fields_of_info(), &layer->info, JSON_KEYS("other-size"),
                             object);
    if (r < 0 || !layer->checked)
        return r;
    r = leaks_json(layer, object);
    return r < 0 ? r : result_json(layer, object);
}

static int layers_json(const struct check *check, json_object **ret_array)
{
    _cleanup_(json_object_putp) json_object *array = json_object_new_array();

    if (!array)
        return -ENOMEM;
    for (size_t i = 1; i < check->report->n_layers; i++) {
        json_object *object = json_object_new_object();
        int r = object && json_object_array_add(array, object) >= 0 ? 0 : -ENOMEM;

        if (r >= 0)
            r = layer_json(i < check->n_paths ? check->paths[i] : NULL, &check->report->layers[i],
                           object);
        if (r < 0)
            return r;
    }
    *ret_array = TAKE_PTR(array);
    return 0;
}

/* Was more asked for than the image itself? */
static bool has_checked_layers(const struct check *check)
{
    for (size_t i = 1; check->report && i < check->report->n_layers; i++)
        if (check->report->layers[i].checked)
            return true;
    return false;
}

int check_json(const struct check *check, json_object **ret_object)
{
    _cleanup_(json_object_putp) json_object *object = json_object_new_object();
    _cleanup_free_ char *failure = check_failure(check);
    const struct layer_report *first = top(check);
    json_object *layers = NULL;
    const struct layer_report *image = image_layer(check);
    int r = !object                              ? -ENOMEM
            : first || (image && image->checked) ? layer_json(check->file, image, object)
                                                 : json_add_text(object, "filename", check->file);

    if (r >= 0)
        r = json_add(object, "opened", json_object_new_boolean(first != NULL));
    if (r >= 0)
        r = json_add_text(object, "error", failure);
    if (r >= 0 && check->has_writer)
        r = json_add(object, "in-use", json_object_new_boolean(true));
    if (r >= 0 && first)
        r = json_add_number(object, "depth", check->report->n_layers);
    if (r >= 0 && has_checked_layers(check)) {
        r = layers_json(check, &layers);
        if (r >= 0)
            r = json_add(object, "layers", layers);
    }
    if (r < 0)
        return r;
    *ret_object = TAKE_PTR(object);
    return 0;
}

/* ---- for people --------------------------------------------------------------------------- */

static const char *table_words(enum qca_table table)
{
    switch (table) {
    case QCA_TABLE_L1: return "L1 table";
    case QCA_TABLE_L2: return "L2 table";
    case QCA_TABLE_REFCOUNT_TABLE: return "refcount table";
    case QCA_TABLE_REFCOUNT_BLOCK: return "refcount block";
    case QCA_TABLE_SNAPSHOTS: return "snapshot table";
    case QCA_TABLE_BITMAP_DIRECTORY: return "bitmap directory";
    case QCA_TABLE_CRYPT: return "LUKS header";
    default: return qca_table_name(table);
    }
}

/* Details of an issue below its first line: pieces, separated by semicolons, as many as a line
 * takes. */
struct pieces {
    unsigned width;             /* 0: no limit */
    unsigned column;            /* 0: nothing yet */
};

enum { PIECES_INDENT = 13 };

static void __attribute__((format(printf, 2, 3)))
print_piece(struct pieces *pieces, const char *format, ...)
{
    _cleanup_free_ char *text = NULL;
    va_list arguments;
    unsigned columns;

    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    if (!text)
        return;
    columns = text_columns(text);
    if (pieces->column > 0 &&
        (pieces->width == 0 || pieces->column + 2 + columns < pieces->width)) {
        (void)fputs("; ", stdout);
        pieces->column += 2;
    } else {
        (void)printf("%s%*s", pieces->column > 0 ? "\n" : "", PIECES_INDENT, "");
        pieces->column = PIECES_INDENT;
    }
    (void)fputs(text, stdout);
    pieces->column += columns;
}

/* Several entries one after another: one alone may count more than once, too. */
static bool is_row(const struct qca_image_info *info, const struct qca_issue *issue)
{
    uint64_t length = issue->guest_offset != QCA_NO_OFFSET ? issue->guest_length
                                                           : issue->host_length;

    return issue->count > 1 && info->cluster_size > 0 && length % info->cluster_size == 0 &&
           length / info->cluster_size == issue->count;
}

static void print_where(struct pieces *pieces, const struct qca_image_info *info,
                        const struct qca_issue *issue)
{
    const struct qca_snapshot *snapshot = snapshot_of(info, issue);
    bool bytes = issue->table == QCA_TABLE_HEADER || issue->table == QCA_TABLE_CRYPT;
    char at[32] = "";

    if (issue->extent > 0 && issue->extent <= info->n_extents) {
        const char *stored = info->extents[issue->extent - 1].name;
        _cleanup_free_ char *name = stored ? text_escape_string(stored) : NULL;

        print_piece(pieces, "extent %" PRIu64 ", %s", issue->extent, name ? name : "");
    }
    if (issue->kind == QCA_ISSUE_EXTENT_SIZE)
        return;
    if (issue->table_offset != QCA_NO_OFFSET && issue->table != QCA_TABLE_HEADER)
        (void)snprintf(at, sizeof(at), " at 0x%" PRIx64, issue->table_offset);
    if (issue->table != QCA_TABLE_DATA && is_row(info, issue))
        print_piece(pieces, "%s%s, entries %" PRIu64 " to %" PRIu64, table_words(issue->table), at,
                    issue->index, issue->index + issue->count - 1);
    else if (issue->table != QCA_TABLE_DATA)
        print_piece(pieces, "%s%s, %s %" PRIu64, table_words(issue->table), at,
                    bytes ? "byte" : "entry", issue->index);
    if (snapshot) {
        _cleanup_free_ char *name = text_escape_string(snapshot->name[0]
                                        ? snapshot->name : snapshot->id);

        print_piece(pieces, "snapshot %" PRIu32 " (%s)", issue->snapshot, name ? name : "");
    } else if (issue->snapshot != QCA_ACTIVE)
        print_piece(pieces, "snapshot %" PRIu32, issue->snapshot);
}

/* Oddities beyond qemu-img need not harm anybody. */
static bool hurts(const struct qca_issue *issue)
{
    return qca_issue_kind_counter(issue->kind) != QCA_COUNTER_BEYOND ||
           check_is_hidden_damage(issue->kind);
}

static void print_hurt(struct pieces *pieces, const struct qca_issue *issue, bool row)
{
    bool alone = issue->guest_offset == QCA_NO_OFFSET && issue->host_length > 0;
    char size[TEXT_SIZE_MAX];

    if (issue->host_offset != QCA_NO_OFFSET)
        print_piece(pieces, "host offset 0x%" PRIx64 "%s%s%s", issue->host_offset,
                    row ? " on" : "", alone ? ", " : "",
                    alone ? text_size(issue->host_length, size) : "");
    if (issue->kind == QCA_ISSUE_EXTENT_SIZE) {
        char other[TEXT_SIZE_MAX];

        print_piece(pieces, "%s by the descriptor, %s in the file",
                    text_size(issue->stored, size), text_size(issue->counted, other));
    } else if (issue->stored != issue->counted)
        print_piece(pieces, issue->kind == QCA_ISSUE_BLOCK_COUNT
                                ? "%" PRIu64 " by the header, %" PRIu64 " by the map"
                                : "refcount %" PRIu64 ", references %" PRIu64, issue->stored,
                    issue->counted);
    if (issue->guest_offset != QCA_NO_OFFSET) {
        pieces->width = 1;      /* on a line of its own */
        print_piece(pieces, "guest data%s: %s at 0x%" PRIx64, hurts(issue) ? " affected" : "",
                    text_size(issue->guest_length, size), issue->guest_offset);
    }
}

/* parent: NULL, or the layer below. */
static void print_issue(const struct output *output, const struct qca_image_info *info,
                        const struct qca_image_info *parent, const struct qca_issue *issue)
{
    enum qca_counter counter = qca_issue_kind_counter(issue->kind);
    enum colour colour = counter == QCA_COUNTER_LEAK || !hurts(issue) ? COLOUR_YELLOW : COLOUR_RED;
    struct pieces pieces = { .width = output->width };

    (void)printf("  %s%-10s%s ", output_colour(output, colour),
                 counter != QCA_COUNTER_BEYOND ? counter_name(counter)
                 : hurts(issue)                ? "damage"
                                               : "notice",
                 output_colour(output, COLOUR_OFF));
    if (issue->kind == QCA_ISSUE_CLUSTER_LEAKED) {
        char size[TEXT_SIZE_MAX];
        (void)printf("%" PRIu64 " cluster%s that nothing references, from 0x%" PRIx64 " on (%s)\n",
                     issue->count, issue->count == 1 ? "" : "s", issue->host_offset,
                     text_size(issue->host_length, size));
        return;
    }
    (void)printf("%s", qca_issue_kind_text(issue->kind));
    if (is_row(info, issue))
        (void)printf(" (%" PRIu64 " in a row)", issue->count);
    (void)putchar('\n');
    if (issue->kind == QCA_ISSUE_PARENT_CHANGED && parent)
        print_piece(&pieces, "made on %s, the parent is %s", info->parent_identity.text,
                    parent->identity.text);
    else
        print_where(&pieces, info, issue);
    print_hurt(&pieces, issue, is_row(info, issue));
    (void)putchar('\n');
}

/* Seen, but not kept in the report: one issue may stand for many clusters. */
static uint64_t issues_omitted(const struct qca_check_result *result)
{
    uint64_t omitted = result->leak_runs;

    for (int kind = 0; kind < _QCA_ISSUE_MAX; kind++)
        omitted += kind == QCA_ISSUE_CLUSTER_LEAKED ? 0 : qca_check_count(result, kind);
    for (size_t i = 0; i < result->n_issues; i++) {
        uint64_t count = result->issues[i].kind == QCA_ISSUE_CLUSTER_LEAKED
                             ? 1
                             : result->issues[i].count;

        omitted -= count < omitted ? count : omitted;
    }
    return omitted;
}

static void print_issues(const struct output *output, const struct layer_report *layer,
                         const struct qca_image_info *parent)
{
    const struct qca_check_result *result = &layer->check;
    uint64_t omitted = issues_omitted(result);
    size_t shown = output->full || result->n_issues < ISSUES_SHOWN ? result->n_issues
                                                                   : ISSUES_SHOWN;

    for (size_t i = 0; i < shown; i++)
        print_issue(output, &layer->info, parent, &result->issues[i]);
    if (shown < result->n_issues || omitted > 0)
        (void)printf("  ... %zu of %" PRIu64 " shown%s\n", shown, result->n_issues + omitted,
                     output->full ? "" : ": --full shows more, --json=pretty all there is of each");
}

static double percent(uint64_t part, uint64_t all)
{
    return all > 0 ? 100.0 * (double)part / (double)all : 0;
}

static void print_verdict(const struct output *output, const struct qca_check_result *result)
{
    uint64_t hidden = hidden_damage(result);

    if (result->corruptions > 0)
        (void)printf("%s%" PRIu64
                     " error%s found.%s Data may be damaged, and writes may damage more:\nkeep a "
                     "copy before anything else, and repair only the copy.\n",
                     output_colour(output, COLOUR_RED), result->corruptions,
                     result->corruptions == 1 ? " was" : "s were",
                     output_colour(output, COLOUR_OFF));
    if (result->leaks > 0)
        (void)printf("%s%" PRIu64
                     " leaked cluster%s found.%s Disk space is wasted, no data is harmed.\n",
                     output_colour(output, COLOUR_YELLOW), result->leaks,
                     result->leaks == 1 ? " was" : "s were", output_colour(output, COLOUR_OFF));
    if (result->leaks > 1 && result->leak_runs > 0)     /* runs are counted by refcounts alone */
        (void)printf("They lie in %" PRIu64 " run%s, most of them together at 0x%" PRIx64
                     " to 0x%" PRIx64 ": %" PRIu64 ".\n",
                     result->leak_runs, result->leak_runs == 1 ? "" : "s", result->burst_offset,
                     result->burst_end, result->burst_leaks);
    if (result->check_errors > 0)
        (void)printf("%s%" PRIu64 " internal error%s%s: parts of the metadata could not be read.\n",
                     output_colour(output, COLOUR_RED), result->check_errors,
                     result->check_errors == 1 ? "" : "s", output_colour(output, COLOUR_OFF));
    if (result->finished && result->corruptions == 0 && result->leaks == 0 &&
        result->check_errors == 0 && hidden == 0)
        (void)printf("%sNo errors were found.%s\n", output_colour(output, COLOUR_GREEN),
                     output_colour(output, COLOUR_OFF));
    if (hidden > 0)
        (void)printf("%sDamage was found in %" PRIu64
                     " place%s,%s which qemu-img check calls clean: see above.\n"
                     "Keep a copy, and restore what is damaged: a repair would not see it.\n",
                     output_colour(output, COLOUR_RED), hidden, hidden == 1 ? "" : "s",
                     output_colour(output, COLOUR_OFF));
    if (result->total_clusters > 0)
        (void)printf("%" PRIu64 "/%" PRIu64
                     " = %.2f%% allocated, %.2f%% fragmented, %.2f%% compressed clusters\n",
                     result->allocated_clusters, result->total_clusters,
                     percent(result->allocated_clusters, result->total_clusters),
                     percent(result->fragmented_clusters, result->allocated_clusters),
                     percent(result->compressed_clusters, result->allocated_clusters));
    if (result->image_end_offset > 0)
        (void)printf("Image end offset: %" PRIu64 "\n", result->image_end_offset);
}

/* Of a descriptor of a disk in several files, those were read with it. */
static bool layer_is_understood(const struct layer_report *layer)
{
    return qca_info_is_understood(&layer->info) || (layer->checked && layer->info.n_extents > 0);
}

/* The index-th layer of the report; depth: of the whole chain, where that is to be told, else 0. */
static int print_layer(const struct output *output, const char *path,
                       const struct audit_report *report, size_t index, size_t depth)
{
    const struct layer_report *layer = &report->layers[index];
    bool more = index + 1 < report->n_layers;
    _cleanup_free_ char *shown = text_escape_string(path);
    char size[TEXT_SIZE_MAX];

    if (!shown)
        return -ENOMEM;
    (void)printf("%s%s%s: %s, virtual size %s", output_colour(output, COLOUR_BOLD), shown,
                 output_colour(output, COLOUR_OFF), qca_format_name(layer->info.format),
                 layer->info.virtual_size > 0 || layer_is_understood(layer)
                     ? text_size(layer->info.virtual_size, size)
                     : "unknown");
    if (depth > 1)
        (void)printf(", %zu layers", depth);
    (void)putchar('\n');
    if (layer->info.other_size > 0)
        (void)printf("That is the size of its geometry, which QEMU goes by; its size field says "
                     "%s, which others go by.\n", text_size(layer->info.other_size, size));
    if (!layer->checked) {
        (void)printf(qca_info_is_understood(&layer->info)
                         ? "This image format does not support checks.\n"
                         : "It is not checked: the content of %s images is not understood.\n",
                     qca_format_name(layer->info.format));
        return 0;
    }
    print_issues(output, layer, more ? &layer[1].info : NULL);
    if (!layer->check.finished)
        (void)printf("%sThe check could not be finished%s: %s.\n",
                     output_colour(output, COLOUR_RED), output_colour(output, COLOUR_OFF),
                     qca_check_error(&layer->check)->text);
    print_verdict(output, &layer->check);
    return 0;
}

/* Nothing that anybody has to be told of. */
static bool layer_is_clean(const struct layer_report *layer)
{
    if (!layer->checked)
        return layer_is_understood(layer);
    return layer->check.finished && layer->check.n_issues == 0 &&
           qca_check_exit_status(&layer->check) == CHECK_CLEAN;
}

/* Layers that are sound by themselves take one line together, unless all is to be shown. */
static int print_layers(const struct ctl *ctl, const struct check *check)
{
    const struct audit_report *report = check->report;
    int r = 0;

    for (size_t i = 1, next; r >= 0 && i < report->n_layers; i = next) {
        next = i + 1;
        while (!ctl->output.full && next < report->n_layers && layer_is_clean(&report->layers[i]) &&
               layer_is_clean(&report->layers[next]))
            next++;
        if (next > i + 1) {
            (void)printf("\nLayers %zu to %zu: %sno errors were found.%s\n", i, next - 1,
                         output_colour(&ctl->output, COLOUR_GREEN),
                         output_colour(&ctl->output, COLOUR_OFF));
            continue;
        }
        (void)printf("\nLayer %zu ", i);
        r = print_layer(&ctl->output, i < check->n_paths ? check->paths[i] : "", report, i, 0);
    }
    return r;
}

/* Names the damaged layers in one line at the end: of thousands of lines, that is read first. */
static void print_chain_verdict(const struct output *output, const struct check *check)
{
    const struct audit_report *report = check->report;
    size_t damaged = 0, first = 0, foreign = 0, first_foreign = 0;
    _cleanup_free_ char *shown = NULL, *shown_foreign = NULL;

    for (size_t i = 0; i < report->n_layers; i++) {
        const struct layer_report *layer = &report->layers[i];

        if (!layer_is_understood(layer) && foreign++ == 0)
            first_foreign = i;
        if (!layer->checked ||
            (layer->check.finished && layer->check.corruptions == 0 &&
             layer->check.check_errors == 0 && hidden_damage(&layer->check) == 0))
            continue;
        if (damaged++ == 0)
            first = i;
    }
    if (foreign > 0) {
        shown_foreign = text_escape_string(
            first_foreign < check->n_paths ? check->paths[first_foreign] : "");
        if (first_foreign > 0)
            (void)printf("\nThe chain is understood down to layer %zu; ", first_foreign - 1);
        else
            (void)printf("\nThe image itself is not understood; ");
        (void)printf("%zu layer%s not checked, the first is %s, a %s image.\n", foreign,
                     foreign == 1 ? " was" : "s were",
                     shown_foreign ? shown_foreign : "",
                     qca_format_name(report->layers[first_foreign].info.format));
    }
    if (damaged == 0 && foreign > 0) {
        (void)printf("None of the layers that were checked is damaged.\n");
        return;
    }
    if (damaged == 0) {
        (void)printf("\n%zu layer%s: none is damaged.\n", report->n_layers,
                     report->n_layers == 1 ? "" : "s");
        return;
    }
    shown = text_escape_string(first < check->n_paths ? check->paths[first] : "");
    (void)printf("\n%s%zu of %zu layer%s %s damaged%s, the first from above is layer %zu, %s:\n"
                 "all that lies above it reads through it.\n",
                 output_colour(output, COLOUR_RED), damaged, report->n_layers,
                 report->n_layers == 1 ? "" : "s", damaged == 1 ? "is" : "are",
                 output_colour(output, COLOUR_OFF), first, shown ? shown : "");
}

int check_print(const struct ctl *ctl, const struct check *check)
{
    const struct layer_report *first = top(check), *image = image_layer(check);
    bool chain = ctl->chain && image && image->checked && check->report->n_layers > 1;
    int r = 0;

    if (!first) {
        _cleanup_free_ char *failure = check_failure(check),
                            *shown = text_escape_string(check->file);

        r = complain(0, "Cannot open %s: %s.", shown, failure);
        /* of a chain that broke, what was seen down to the break */
        if (!ctl->chain || !image || !image->checked)
            return r;
    }
    if (check->has_writer)
        (void)printf("Note: QEMU has it open for writing. "
                     "Leaks and refcount errors may just be metadata that QEMU has not flushed.\n");
    r = print_layer(&ctl->output, check->file, check->report, 0,
                    first ? check->report->n_layers : 0);
    if (r >= 0 && chain)
        r = print_layers(ctl, check);
    if (r >= 0 && chain)
        print_chain_verdict(&ctl->output, check);
    return r;
}
