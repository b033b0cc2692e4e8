/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* chain: the layers from the base to an image and every overlay above it, one line each. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/domains.h"
#include "ctl/facts.h"
#include "ctl/list.h"
#include "ctl/source.h"
#include "helpers/text.h"

/* One layer of the tree. Layers with one overlay only are drawn in one column, so that a chain of a
 * hundred layers fits the terminal; libsmartcols' trees would indent each, which is why this draws
 * its own. */
struct layer {
    json_object *row;
    size_t parent;              /* index; SIZE_MAX none */
    size_t n_children;          /* shown ones */
    size_t last_child;          /* index of the last of them */
    bool last;                  /* of its siblings */
    char *prefix;               /* what is drawn left of it */
    char *below;                /* what is drawn left of its only child */
};

static void layers_free(struct layer *layers)
{
    if (!layers)
        return;
    for (size_t i = 0; layers[i].row; i++) {
        free(layers[i].prefix);
        free(layers[i].below);
    }
    free(layers);
}
DEFINE_CLEANUP(struct layer *, layers_free)

/* Rows come base first and depth first: the parent is the nearest row above with one level less. */
static int layers_new(json_object *rows, struct layer **ret_layers, size_t *ret_n)
{
    size_t n = json_object_array_length(rows);
    _cleanup_free_ size_t *latest = calloc(n + 2, sizeof(*latest));
    struct layer *layers = calloc(n + 1, sizeof(*layers));

    if (!layers || !latest) {
        free(layers);
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t level;

        layers[i].row = json_object_array_get_idx(rows, i);
        level = row_number(layers[i].row, "level");
        if (level > n)
            level = n;
        layers[i].parent = level == 0 || i == 0 ? SIZE_MAX : latest[level - 1];
        layers[i].last = true;
        latest[level] = i;
        if (layers[i].parent != SIZE_MAX)
            layers[layers[i].parent].n_children++, layers[layers[i].parent].last_child = i;
    }
    for (size_t i = 0; i < n; i++)
        if (layers[i].parent != SIZE_MAX)
            layers[i].last = layers[layers[i].parent].last_child == i;
    *ret_layers = layers;
    *ret_n = n;
    return 0;
}

static int layer_draw(const struct output *output, struct layer *layers, size_t i)
{
    struct layer *layer = &layers[i],
                 *parent = layer->parent == SIZE_MAX ? NULL : &layers[layer->parent];
    const char *branch = layer->last ? (output->utf8 ? "└─" : "`-")
                                     : (output->utf8 ? "├─" : "|-");
    const char *pass = layer->last ? "  " : (output->utf8 ? "│ " : "| ");

    if (!parent)
        layer->prefix = strdup(""), layer->below = strdup("");
    else if (parent->n_children == 1)
        layer->prefix = strdup(parent->below), layer->below = strdup(parent->below);
    else if (asprintf(&layer->prefix, "%s%s", parent->below, branch) < 0 ||
             asprintf(&layer->below, "%s%s", parent->below, pass) < 0)
        return -ENOMEM;
    return layer->prefix && layer->below ? 0 : -ENOMEM;
}

/* ---- what a line says --------------------------------------------------------------------- */

static char *layer_name(const struct layer *layer, const char *common)
{
    _cleanup_free_ char *name = fact_path(layer->row, "path", common);
    char *text;

    return !name || asprintf(&text, "%s%s", layer->prefix, name) < 0 ? NULL : text;
}

static int note(char **notes, const char *text)
{
    char *longer;

    if (asprintf(&longer, "%s%s%s", *notes ? *notes : "", *notes ? ", " : "", text) < 0)
        return -ENOMEM;
    free(*notes);
    *notes = longer;
    return 0;
}

static const char *broken_text(const char *state)
{
    static const struct { const char *state, *text; } texts[] = {
        {"missing", "MISSING"}, {"escapes", "OUTSIDE THE STORE, not opened"},
        {"remote", "REMOTE, not opened"},
        {"unreachable", "its datastore is offline"}, {"pending", "not looked at yet"},
        {"loop", "LOOP: this layer again"},
    };

    for (size_t i = 0; state && i < ELEMENTSOF(texts); i++)
        if (strcmp(texts[i].state, state) == 0)
            return texts[i].text;
    return "not opened";
}

static int note_findings(json_object *row, char **notes)
{
    json_object *findings = row_member(row, "findings-list");
    int r = 0;

    for (size_t i = 0; r >= 0 && findings && i < json_object_array_length(findings); i++) {
        _cleanup_free_ char *name = row_text(json_object_array_get_idx(findings, i), "name");

        r = name ? note(notes, name) : -ENOMEM;
    }
    return r;
}

/* "vda of web1, running" */
static int note_disk(json_object *row, char **notes)
{
    _cleanup_free_ char *domain = row_text(row, "domain"), *target = row_text(row, "disk-target"),
                        *text = NULL;

    if (!domain || !target ||
        asprintf(&text, "%s of %s%s", target, domain, row_bool(row, "running") ? ", in use" : "") <
            0)
        return -ENOMEM;
    return note(notes, text);
}

static int note_snapshot(json_object *row, char **notes)
{
    _cleanup_free_ char *name = row_text(row, "made-by"), *text = NULL;

    return !name || asprintf(&text, "snapshot %s", name) < 0 ? -ENOMEM : note(notes, text);
}

static char *layer_notes(json_object *row, size_t n_shown, bool own)
{
    const char *state = row_raw(row, "state"), *use = row_raw(row, "use"),
               *golden = row_raw(row, "golden"), *relation = row_raw(row, "relation");
    uint64_t children = row_number(row, "children");
    char *notes = NULL, others[48];
    int r = 0;

    if (state)
        return strdup(broken_text(state));
    if (golden)
        r = note(&notes, strcmp(golden, "inferred") == 0 ? "golden (inferred)" : "golden");
    else if (own && row_bool(row, "own"))
        r = note(&notes, "own layer");
    if (r >= 0 && relation)
        r = note(&notes, strcmp(relation, "unknown") == 0 ? "snapshot or clone" : relation);
    if (r >= 0)
        r = note_findings(row, &notes);
    if (r >= 0 && row_has(row, "domain") && row_number(row, "disk-layer") == 0)
        r = note_disk(row, &notes);
    else if (r >= 0 && use && strcmp(use, "writer") == 0)
        r = note(&notes, "in use");
    if (r >= 0 && row_bool(row, "not-in-libvirt"))
        r = note(&notes, "NOT KNOWN TO LIBVIRT");
    if (r >= 0 && row_has(row, "made-by"))
        r = note_snapshot(row, &notes);
    if (r >= 0 && row_has(row, "present") && !row_bool(row, "present"))
        r = note(&notes, "gone");
    if (r >= 0 && children > n_shown) {
        (void)snprintf(others, sizeof(others), "+%" PRIu64 " overlay%s", children - n_shown,
                       children - n_shown == 1 ? "" : "s");
        r = note(&notes, others);
    }
    if (r < 0) {
        free(notes);
        return NULL;
    }
    return notes ? notes : strdup("");
}

/* The worst that is noted. */
static enum colour layer_colour(json_object *row)
{
    const char *state = row_raw(row, "state");

    if (state)
        return strcmp(state, "pending") == 0 || strcmp(state, "unreachable") == 0
                   ? COLOUR_YELLOW
                   : COLOUR_BRIGHT_RED;
    return severity_colour(row_raw(row, "severity"));
}

static int layer_line(struct table *table, const struct layer *layer, const char *common, bool own,
                      uint64_t now)
{
    json_object *row = layer->row;
    int r = table_row(table, row);

    if (r >= 0)
        r = table_take(table, 0, row_text(row, "level"), COLOUR_DIM);
    if (r >= 0)
        r = table_take(table, 1, fact_size(row, "size"), COLOUR_OFF);
    if (r >= 0)
        r = table_take(table, 2, fact_size(row, "allocated"), COLOUR_OFF);
    if (r >= 0)
        r = table_take(table, 3, fact_since(row, "created", now), COLOUR_OFF);
    if (r >= 0)
        r = table_take(table, 4, layer_name(layer, common),
                       row_bool(row, "asked") ? COLOUR_BOLD : COLOUR_OFF);
    return r < 0
               ? r
               : table_take(table, 5, layer_notes(row, layer->n_children, own), layer_colour(row));
}

/* ---- the screen --------------------------------------------------------------------------- */

static bool is_broken(json_object *rows)
{
    return row_has(json_object_array_get_idx(rows, 0), "state");
}

static int print_summary(const struct ctl *ctl, json_object *rows)
{
    json_object *asked = NULL;
    uint64_t allocated = 0, depth, n_unknown = 0;
    char buf[TEXT_SIZE_MAX], virtual_buf[TEXT_SIZE_MAX];
    _cleanup_free_ char *path = NULL;

    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);

        const char *relation = row_raw(row, "relation");

        allocated += row_number(row, "allocated");
        if (!asked && relation && strcmp(relation, "unknown") == 0)
            n_unknown++;
        if (row_bool(row, "asked"))
            asked = row;
    }
    path = row_text(asked, "path");
    if (!path)
        return -ENOMEM;
    depth = row_number(asked, "depth");
    (void)printf("%s%s%s\n", output_colour(&ctl->output, COLOUR_BOLD), path,
                 output_colour(&ctl->output, COLOUR_OFF));
    if (row_bool(asked, "loop"))
        (void)printf("%sA loop%s: the chain contains itself",
                     output_colour(&ctl->output, COLOUR_BRIGHT_RED),
                     output_colour(&ctl->output, COLOUR_OFF));
    else if (is_broken(rows))
        (void)printf("%sIncomplete%s: %" PRIu64 " layer%s, then one that is not there",
                     output_colour(&ctl->output, COLOUR_BRIGHT_RED),
                     output_colour(&ctl->output, COLOUR_OFF), depth, depth == 1 ? "" : "s");
    else
        (void)printf("%" PRIu64 " layer%s, %" PRIu64 " of them unconsolidated", depth,
                     depth == 1 ? "" : "s", row_number(asked, "unconsolidated"));
    if (n_unknown > 0)
        (void)printf(", %" PRIu64 " perhaps", n_unknown);
    (void)printf("; virtual size %s; %s on disk\n\n",
                 row_has(asked, "virtual-size")
                     ? text_size(row_number(asked, "virtual-size"), virtual_buf)
                     : "unknown",
                 text_size(allocated, buf));
    return 0;
}

#define REASONS_SHOWN 20

/* Prints each layer's relation to its parent and the reason; equal layers in one line. */
static int print_reasons(const struct ctl *ctl, json_object *rows)
{
    size_t n = json_object_array_length(rows), n_shown = 0;

    for (size_t i = 0, next; ctl->output.legend && i < n; i = next) {
        const char *reason = row_raw(json_object_array_get_idx(rows, i), "relation-reason");
        _cleanup_free_ char *words = NULL;
        int taken;

        for (next = i + 1; next < n; next++) {
            const char *other = row_raw(json_object_array_get_idx(rows, next), "relation-reason");

            if (!reason || !other || strcmp(reason, other) != 0)
                break;
        }
        if (!reason)
            continue;
        words = row_prose(json_object_array_get_idx(rows, i), "relation-reason");
        if (!words)
            return -ENOMEM;
        if (n_shown++ == 0)
            (void)putchar('\n');
        if (n_shown > REASONS_SHOWN) {
            (void)printf("More reasons: --json.\n");
            return 0;
        }
        taken = printf("#%" PRIu64, row_number(json_object_array_get_idx(rows, i), "level"));
        if (next - i > 1)
            taken += printf("-%" PRIu64,
                            row_number(json_object_array_get_idx(rows, next - 1), "level"));
        /* past the indent, a word brings its own space */
        taken += printf(":%s", taken < 3 ? " " : "");
        output_wrapped(&ctl->output, 4, taken > 0 ? (unsigned)taken : 0, words);
    }
    return 0;
}

/* One line for the layer's own findings, or for those of the disk whose own layer it is. */
static int print_layer_findings(const struct ctl *ctl, json_object *row, const char *common,
                                bool disk, bool *any)
{
    json_object *findings = row_member(row, "findings-list");
    size_t n = 0;

    for (size_t i = 0; findings && i < json_object_array_length(findings); i++) {
        json_object *finding = json_object_array_get_idx(findings, i);
        _cleanup_free_ char *name = row_text(finding, "name"), *id = row_text(finding, "id");

        if (row_bool(finding, "disk") != disk)
            continue;
        if (n++ == 0) {
            _cleanup_free_ char *path = fact_path(row, "path", common);

            if (!path)
                return -ENOMEM;
            (void)printf("%s%s%s:", *any ? "" : "\n", disk ? "The disk of " : "", path);
            *any = true;
        }
        (void)printf("%s %s%s%s (%s)", n > 1 ? "," : "",
                     output_colour(&ctl->output, severity_colour(row_raw(finding, "severity"))),
                     name, output_colour(&ctl->output, COLOUR_OFF), id);
    }
    if (n > 0)
        (void)putchar('\n');
    return 0;
}

/* The findings of the layers with their numbers, which the notes have no room for. */
static int print_findings(const struct ctl *ctl, json_object *rows, const char *common)
{
    bool any = false;
    int r = 0;

    for (size_t i = 0; r >= 0 && ctl->output.legend && i < json_object_array_length(rows); i++) {
        json_object *row = json_object_array_get_idx(rows, i);

        r = print_layer_findings(ctl, row, common, true, &any);
        if (r >= 0)
            r = print_layer_findings(ctl, row, common, false, &any);
    }
    if (r < 0)
        return r;
    if (any)
        (void)printf("What to do about one: %s show ID.\n", output_tool(&ctl->output));
    return 0;
}

static const struct column columns[] = {
    { "#", COLUMN_RIGHT | COLUMN_NUMBER, "level" },
    { "SIZE", COLUMN_RIGHT | COLUMN_SIZE, "size" },
    { "ON DISK", COLUMN_RIGHT | COLUMN_SIZE, "allocated" },
    { "AGE", COLUMN_RIGHT | COLUMN_TIME, "created" },
    { "LAYER", COLUMN_FLEXIBLE, "path" },
    { "NOTES", COLUMN_CUT, "state" },
};

static int print_chain(struct ctl *ctl, json_object *rows)
{
    _cleanup_(table_freep) struct table *table = NULL;
    _cleanup_(layers_freep) struct layer *layers = NULL;
    _cleanup_free_ char *common = fact_common(ctl, rows, "path");
    bool own = !is_broken(rows) && json_object_array_length(rows) > 1;
    uint64_t now = usec_now(CLOCK_REALTIME);
    size_t n;
    bool list = output_is_list(&ctl->output);
    int r = !common ? -ENOMEM : list ? 0 : print_summary(ctl, rows);

    if (r >= 0)
        r = layers_new(rows, &layers, &n);
    if (r >= 0)
        r = table_new(&ctl->output, columns, ELEMENTSOF(columns), &table);
    if (r >= 0)
        fact_print_common(ctl, common);
    for (size_t i = 0; r >= 0 && i < n; i++) {
        r = layer_draw(&ctl->output, layers, i);
        /* in CSV the name alone, the level says the rest */
        if (r >= 0 && ctl->output.csv)
            layers[i].prefix[0] = '\0';
        if (r >= 0)
            r = layer_line(table, &layers[i], common, own, now);
    }
    if (r >= 0)
        r = table_print(table);
    if (r < 0 || list)
        return r;
    if (r >= 0)
        r = print_reasons(ctl, rows);
    return r < 0 ? r : print_findings(ctl, rows, common);
}

int verb_chain(struct ctl *ctl, int argc, char **argv)
{
    int r = source_needs_daemon(ctl, "chain");

    if (r >= 0 && argc > 1 && ctl->output.csv)
        return complain(0, "CSV has one chain at a time."), -EINVAL;

    for (int i = 0; r >= 0 && i < argc; i++) {
        _cleanup_(json_object_putp) json_object *rows = NULL;
        _cleanup_free_ char *path = NULL;

        r = domain_disk_path(ctl, argv[i], &path);
        if (r == -ENOENT)
            r = source_find_image(ctl, argv[i], true, &path);
        if (r >= 0) {
            r = client_chain(ctl, path, &rows);
            if (r == -ENOENT)
                (void)complain(0, "%s is no longer known.", argv[i]);
        }
        if (r < 0)
            break;
        r = list_arrange(&ctl->output, columns, ELEMENTSOF(columns), 0, rows);
        if (r < 0)
            break;
        output_begin(&ctl->output);
        if (ctl->output.json != JSON_OFF) {
            r = output_json(&ctl->output, rows);
            continue;
        }
        if (i > 0)
            (void)putchar('\n');
        r = print_chain(ctl, rows);
        if (r < 0)
            (void)complain(r, "Cannot show the chain");
    }
    return r;
}
