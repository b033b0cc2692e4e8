/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows of a chain: the way from the base to an image, and everything above it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/query-internal.h"

#define ROWS_MAX 10000

struct chain {
    const struct query_view *view;
    const struct image *asked;
    json_object *rows;
    size_t begin, end;          /* which rows are wanted, from begin on and before end */
    size_t n;                   /* rows so far */
};

static bool chain_is_full(const struct chain *chain)
{
    return chain->n >= chain->end;
}

/* Is the next row one of those? */
static bool chain_wants(struct chain *chain)
{
    size_t n = chain->n++;

    return n >= chain->begin && n < chain->end;
}

struct finding_names { json_object *rows; int error; };

static void name_finding(void *userdata, const struct finding *finding)
{
    struct finding_names *names = userdata;
    struct row row;
    int r;

    row_begin(&row);
    row_json(&row, "id", json_object_new_int64(finding->id));
    row_string(&row, "name", finding_definition(finding->type)->name);
    row_string(&row, "severity", severity_name(finding->severity));
    if (finding_is_of_disk(finding))
        row_bool(&row, "disk", true);
    r = rows_end(names->rows, &row);
    if (r < 0 && names->error == 0)
        names->error = r;
}

/* Is it below a running disk, and libvirt does not have it in the disk's chain? */
static bool layer_is_unknown(const struct query_view *view, const struct image *image)
{
    struct usage usage = graph_image_usage(view->graph, image);
    const struct relation *relation = graph_relation(view->graph, image);

    if (usage_layer(&usage) || !usage_is_complete(graph_usage(view->graph)))
        return false;
    for (size_t n = 0; n < ROWS_MAX && relation && !relation->in_loop &&
                       relation->n_children == 1 && (image = graph_child(image, 0));
         n++) {
        const struct usage_entry *entry;

        usage = graph_image_usage(view->graph, image);
        entry = usage_source(&usage);
        if (entry)
            return entry->live && entry->disk->complete;
        relation = graph_relation(view->graph, image);
    }
    return false;
}

/* An overlay is never shown older than what it stands on, whatever the files' times say: *created
 * is its parent's, and the layer's then. */
static const char *take_created(const struct chain *chain, const struct image *image,
                                uint64_t *created)
{
    const char *source = NULL;
    uint64_t own = graph_layer_created(chain->view->graph, image, &source);

    if (own < *created)
        return "parent";
    *created = own;
    return source;
}

static int add_layer(struct chain *chain, const struct image *image, size_t level,
                     uint64_t *created)
{
    const struct relation *relation = graph_relation(chain->view->graph, image);
    const char *source = take_created(chain, image, created);
    struct finding_names names = { .rows = NULL };
    struct row row;

    if (!chain_wants(chain))
        return 0;
    names.rows = json_object_new_array();
    if (!names.rows)
        return -ENOMEM;
    row_begin(&row);
    row_number(&row, "level", level);
    (void)image_row(chain->view, image, &row);
    if (*created > 0) {
        row_number(&row, "created", *created);
        row_string(&row, "created-source", source);
    }
    image_relation_reason(chain->view, image, &row);
    row_bool(&row, "asked", image == chain->asked);
    if (layer_is_unknown(chain->view, image))
        row_bool(&row, "not-in-libvirt", true);
    row_bool(&row, "own", relation && !relation->golden && relation->own_layer == image);
    image_findings(chain->view, image, name_finding, &names);
    if (names.error < 0)
        json_object_put(TAKE_PTR(names.rows));
    row_result(&row, "findings-list", names.error, names.rows);
    return rows_end(chain->rows, &row);
}

/* A row for the parent that is none: it is missing, refused, or the loop closes here. */
static int add_broken_end(struct chain *chain, const struct reference *reference, const char *state)
{
    struct row row;

    if (!chain_wants(chain))
        return 0;
    row_begin(&row);
    row_number(&row, "level", 0);
    row_string(&row, "path", reference->path ? reference->path : reference->stored);
    row_string(&row, "parent-stored", reference->stored);
    row_string(&row, "state", state);
    row_error(&row, "error", reference->error);
    return rows_end(chain->rows, &row);
}

/* The layers below image, image first, until the base, a broken reference or the loop's beginning.
 * *ret_broken: why it ends early ("" when it does not). */
static int collect_down(const struct chain *chain, const struct image *image,
                        const struct image ***ret_layers, size_t *ret_n, const char **ret_broken)
{
    _cleanup_free_ const struct image **layers = NULL;
    const struct image *loop = NULL;
    const char *broken = NULL;
    size_t n = 0, room = 0;

    while (!broken) {
        const struct relation *relation = graph_relation(chain->view->graph, image);

        if (n == room) {
            const struct image **more = reallocarray(layers, room = 2 * room + 16, sizeof(*more));

            if (!more)
                return -ENOMEM;
            layers = more;
        }
        layers[n++] = image;
        if (relation && relation->in_loop && !loop)
            loop = image;
        if (!relation || !relation->parent)
            broken = image->parent.state == REFERENCE_NONE
                         ? ""
                         : reference_state_name(image->parent.state);
        else if (relation->parent == loop || n >= ROWS_MAX)
            broken = relation->parent == loop ? "loop" : "pending";
        else
            image = relation->parent;
    }
    *ret_layers = TAKE_PTR(layers);
    *ret_n = n;
    *ret_broken = broken;
    return 0;
}

static int by_path(const void *a, const void *b)
{
    const struct image *const *left = a, *const *right = b;

    return strcmp((*left)->path, (*right)->path);
}

struct pending { const struct image *image; size_t level; uint64_t created; };

/* Adds all overlays above image, depth first, siblings in order of path; without recursion, as a
 * chain may have thousands of layers. */
static int add_overlays(struct chain *chain, const struct image *image, size_t level,
                        uint64_t created)
{
    _cleanup_free_ struct pending *stack = NULL;
    size_t n = 0, room = 0;

    for (;;) {
        const struct relation *relation = graph_relation(chain->view->graph, image);
        size_t n_children = relation ? relation->n_children : 0;
        _cleanup_free_ const struct image **children = NULL;
        int r;

        if (n_children > ROWS_MAX)
            n_children = ROWS_MAX;
        if (n + n_children > room) {
            struct pending *more = reallocarray(stack, room = 2 * room + n_children + 16,
                                                sizeof(*more));

            if (!more)
                return -ENOMEM;
            stack = more;
        }
        children = calloc(n_children + 1, sizeof(*children));
        if (!children)
            return -ENOMEM;
        for (size_t i = 0; i < n_children; i++) {
            children[i] = graph_child(image, i);
            if (!children[i])
                n_children = i;
        }
        qsort(children, n_children, sizeof(*children), by_path);
        for (size_t i = n_children; i > 0; i--)
            if (!graph_relation(chain->view->graph, children[i - 1])->in_loop)
                stack[n++] = (struct pending){ children[i - 1], level + 1, created };
        if (n == 0 || chain_is_full(chain))
            return 0;
        n--;
        image = stack[n].image;
        level = stack[n].level;
        created = stack[n].created;
        r = add_layer(chain, image, level, &created);
        if (r < 0)
            return r;
    }
}

/* The number of the row to go on with. */
static int cursor_row(const char *cursor, size_t *ret_row)
{
    unsigned long row = 0;
    char *end = NULL;

    if (cursor && *cursor) {
        errno = 0;
        row = strtoul(cursor, &end, 10);
        if (errno != 0 || *end || *cursor < '0' || *cursor > '9')
            return -EINVAL;
    }
    *ret_row = row;
    return 0;
}

int query_chain(const struct query_view *view, const struct asked *asked, json_object **ret_rows,
                char **ret_next)
{
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();
    struct chain chain = { .view = view, .asked = view_find_called(view, asked->path),
                           .rows = rows };
    _cleanup_free_ const struct image **layers = NULL;
    const char *broken;
    size_t n, level = 0;
    uint64_t created = 0;
    char *next = NULL;
    int r;

    if (!chain.asked)
        return -ENOENT;
    r = cursor_row(asked->cursor, &chain.begin);
    if (r < 0)
        return r;
    chain.end = ROWS_MAX;
    if (asked->limit > 0 && chain.begin < ROWS_MAX && asked->limit < ROWS_MAX - chain.begin)
        chain.end = chain.begin + asked->limit;
    if (!rows)
        return -ENOMEM;
    r = collect_down(&chain, chain.asked, &layers, &n, &broken);
    if (r >= 0 && *broken) {
        r = add_broken_end(&chain, &layers[n - 1]->parent, broken);
        level++;
    }
    for (size_t i = n; r >= 0 && i > 0; i--)
        r = add_layer(&chain, layers[i - 1], level++, &created);
    if (r >= 0 && !chain_is_full(&chain))
        r = add_overlays(&chain, chain.asked, level - 1, created);
    if (r < 0)
        return r;
    /* A page that is full may be the last one; an empty one follows then. */
    if (!chain_is_full(&chain) || chain.end == ROWS_MAX)
        next = strdup("");
    else if (asprintf(&next, "%zu", chain.end) < 0)
        next = NULL;
    if (!next)
        return -ENOMEM;
    *ret_next = next;
    *ret_rows = TAKE_PTR(rows);
    return 0;
}
