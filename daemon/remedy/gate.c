/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The gate: gathers what a command does, has it looked at, and says what is against it. */
#include "daemon/remedy/gate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/remedy/looks.h"
#include "helpers/text.h"
#include "helpers/text-buffer.h"
#include "lib/cleanup.h"

#define OBSTACLES_SAID 3
#define NAMES_MAX 16            /* targets, spaces and refusals of one gate */

struct gate gate_begin(struct remedy *remedy, const struct graph *graph)
{
    return (struct gate){ .remedy = remedy, .graph = graph };
}

void gate_domain(struct gate *gate, const struct virt_domain *domain, const struct virt_disk *disk,
                 bool live)
{
    gate->domain = domain;
    gate->disk = disk;
    gate->live = live;
}

static void gate_fail(struct gate *gate, int error)
{
    if (gate->remedy->error == 0)
        gate->remedy->error = error;
}

void gate_image(struct gate *gate, const struct image *image, unsigned acts)
{
    /* Layers come in order, so that a chain of thousands is not searched for each. */
    if (gate->n_items > 0 && gate->items[gate->n_items - 1].image == image) {
        gate->items[gate->n_items - 1].acts |= acts;
        return;
    }
    if (gate->n_items == gate->n_allocated) {
        size_t n = gate->n_allocated > 0 ? gate->n_allocated * 2 : 8;
        struct gate_item *items = reallocarray(gate->items, n, sizeof(*items));

        if (!items) {
            gate_fail(gate, -ENOMEM);
            return;
        }
        gate->items = items;
        gate->n_allocated = n;
    }
    gate->items[gate->n_items++] = (struct gate_item){ .image = image, .acts = acts };
}

static void add_name(struct gate *gate, char ***names, size_t *n, char *name)
{
    if (!*names)
        *names = calloc(NAMES_MAX, sizeof(**names));
    if (!name || !*names || *n == NAMES_MAX) {
        free(name);
        gate_fail(gate, name && *names ? -E2BIG : -ENOMEM);
        return;
    }
    (*names)[(*n)++] = name;
}

void gate_target(struct gate *gate, const char *path)
{
    add_name(gate, &gate->targets, &gate->n_targets, strdup(path));
}

void gate_room(struct gate *gate, const char *path, uint64_t bytes)
{
    if (!gate->spaces)
        gate->spaces = calloc(NAMES_MAX, sizeof(*gate->spaces));
    if (!gate->spaces || gate->n_spaces == NAMES_MAX) {
        gate_fail(gate, gate->spaces ? -E2BIG : -ENOMEM);
        return;
    }
    gate->spaces[gate->n_spaces] = (struct gate_space){ .path = strdup(path), .bytes = bytes };
    if (!gate->spaces[gate->n_spaces++].path)
        gate_fail(gate, -ENOMEM);
}

void gate_refuse(struct gate *gate, const char *format, ...)
{
    char *text = NULL;
    va_list arguments;

    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    add_name(gate, &gate->refusals, &gate->n_refusals, text);
}

void gate_done(struct gate *gate)
{
    free(gate->items);
    free(gate->sorted);
    for (size_t i = 0; i < gate->n_targets; i++)
        free(gate->targets[i]);
    free(gate->targets);
    for (size_t i = 0; i < gate->n_spaces; i++)
        free(gate->spaces[i].path);
    free(gate->spaces);
    for (size_t i = 0; i < gate->n_refusals; i++)
        free(gate->refusals[i]);
    free(gate->refusals);
    *gate = (struct gate){ .remedy = gate->remedy };
}

/* ---- what obstacles ask ---------------------------------------------------------------------- */

static int item_compare(const void *a, const void *b)
{
    const struct gate_item *const *first = a, *const *second = b;
    uintptr_t x = (uintptr_t)(*first)->image, y = (uintptr_t)(*second)->image;

    return x < y ? -1 : x > y;
}

const struct gate_item *gate_find(const struct gate *gate, const struct image *image)
{
    const struct gate_item key = { .image = image }, *wanted = &key;
    struct gate_item **found = bsearch(&wanted, gate->sorted, gate->n_items,
                                       sizeof(struct gate_item *), item_compare);

    return found ? *found : NULL;
}

const struct look *gate_look(const struct gate *gate, const struct image *image)
{
    return gate->remedy->looks ? looks_ask(gate->remedy->looks, LOOK_FILE, image->path) : NULL;
}

/* ---- looking --------------------------------------------------------------------------------- */

/* True when all that is to be looked at was. All of it is asked for at once. */
static bool gate_has_looked(struct gate *gate)
{
    struct looks *looks = gate->remedy->looks;
    bool all = looks;

    for (size_t i = 0; looks && i < gate->n_items; i++)
        all &= looks_ask(looks, LOOK_FILE, gate->items[i].image->path) != NULL;
    for (size_t i = 0; looks && i < gate->n_targets; i++)
        all &= looks_ask(looks, LOOK_FILE, gate->targets[i]) != NULL;
    for (size_t i = 0; looks && i < gate->n_spaces; i++)
        all &= looks_ask(looks, LOOK_ROOM, gate->spaces[i].path) != NULL;
    return all;
}

static int gate_sort(struct gate *gate)
{
    free(gate->sorted);
    gate->sorted = calloc(gate->n_items > 0 ? gate->n_items : 1, sizeof(struct gate_item *));
    if (!gate->sorted)
        return -ENOMEM;
    for (size_t i = 0; i < gate->n_items; i++)
        gate->sorted[i] = &gate->items[i];
    qsort(gate->sorted, gate->n_items, sizeof(struct gate_item *), item_compare);
    return 0;
}

/* ---- obstacles ------------------------------------------------------------------------------- */

/* The output of one look at all obstacles; remedy NULL: none. */
struct saying {
    struct remedy *remedy;
    size_t n;
};

static void say_obstacle(struct saying *saying, const char *sentence, const char *find_out)
{
    if (saying->remedy && saying->n < OBSTACLES_SAID)
        remedy_note(saying->remedy, "%s %s.%s%s",
                    saying->n == 0 ? "No command is given, because" : "And", sentence,
                    find_out ? " " : "", find_out ? find_out : "");
    saying->n++;
}

/* A sentence of the table: the image's name goes into the first %s, the detail into the second. */
static char *fill_in(const char *sentence, const char *name, const char *detail)
{
    const char *values[] = { name, detail };
    struct text_buffer text = {};
    char *filled = NULL;
    size_t n = 0;

    for (const char *c = sentence; *c; c++) {
        if (c[0] == '%' && c[1] == 's' && n < ELEMENTSOF(values)) {
            text_buffer_put(&text, values[n++]);
            c++;
        } else
            text_buffer_add(&text, c, 1);
    }
    return text_buffer_end(&text, &filled) < 0 ? NULL : filled;
}

/* Of a row, the first layer that it holds of is named. */
static void look_at_row(struct gate *gate, const struct obstacle *row, struct saying *saying)
{
    for (size_t i = 0; i < gate->n_items; i++) {
        const struct gate_item *item = &gate->items[i];
        _cleanup_free_ char *quoted = NULL, *sentence = NULL;
        char detail[GATE_DETAIL_MAX] = "";

        if (!(item->acts & row->acts) || !row->holds(gate, item, detail))
            continue;
        quoted = remedy_quote(gate->remedy, item->image->path);
        sentence = quoted ? fill_in(row->sentence, quoted, detail) : NULL;
        if (!sentence) {
            gate_fail(gate, -ENOMEM);
            return;
        }
        say_obstacle(saying, sentence, row->find_out);
        return;
    }
}

/* A file to be made must not exist: nothing is overwritten, and no link is followed. */
static void look_at_targets(struct gate *gate, struct saying *saying)
{
    for (size_t i = 0; i < gate->n_targets; i++) {
        const struct look *look = looks_ask(gate->remedy->looks, LOOK_FILE, gate->targets[i]);
        _cleanup_free_ char *quoted = remedy_quote(gate->remedy, gate->targets[i]);
        _cleanup_free_ char *sentence = NULL;

        if (!quoted || !look || look->error == -ENOENT)
            continue;
        if (asprintf(&sentence, "%s %s", quoted,
                     look->error == 0 ? "exists already" : "could not be looked at") < 0) {
            sentence = NULL;
            gate_fail(gate, -ENOMEM);
            return;
        }
        say_obstacle(saying, sentence,
                     "Find out what it is: an earlier copy may be the only good one. Move it away "
                     "when it is kept elsewhere or needed no more.");
    }
}

static void look_at_room(struct gate *gate, struct saying *saying)
{
    for (size_t i = 0; i < gate->n_spaces; i++) {
        const struct gate_space *space = &gate->spaces[i];
        const struct look *look = looks_ask(gate->remedy->looks, LOOK_ROOM, space->path);
        char needed[TEXT_SIZE_MAX], available[TEXT_SIZE_MAX];
        _cleanup_free_ char *quoted = NULL, *sentence = NULL;
        uint64_t bytes = space->bytes;

        /* Other programs that are at work there take some room, too. */
        if (__builtin_add_overflow(bytes, bytes / 16 + (1 << 20), &bytes))
            bytes = UINT64_MAX;
        if (!look || (look->error == 0 && look->available >= bytes))
            continue;
        quoted = remedy_quote(gate->remedy, space->path);
        if (!quoted)
            return;
        if ((look->error == 0
                 ? asprintf(&sentence, "there is no room for %s: it needs up to %s, "
                                       "and %s are free",
                            quoted, text_size(space->bytes, needed),
                            text_size(look->available, available))
                 : asprintf(&sentence, "it is unknown whether there is room for %s", quoted)) < 0) {
            sentence = NULL;
            gate_fail(gate, -ENOMEM);
            return;
        }
        say_obstacle(saying, sentence,
                     look->error == 0 ? "Make room first, or do it by hand with a copy on another "
                                        "file system."
                                      : "Find out (df), and do it by hand.");
    }
}

static size_t look_at_all(struct gate *gate, struct remedy *remedy)
{
    struct saying saying = { .remedy = remedy };

    for (size_t i = 0; i < gate->n_refusals; i++)
        say_obstacle(&saying, gate->refusals[i], NULL);
    for (size_t i = 0; i < gate_n_obstacles; i++)
        look_at_row(gate, &gate_obstacles[i], &saying);
    if (gate->remedy->looks) {
        look_at_targets(gate, &saying);
        look_at_room(gate, &saying);
    }
    return saying.n;
}

/* A domain is all that the command is about: only libvirt's word is against it. */
static bool libvirt_is_unknown(const struct gate *gate)
{
    return gate->n_items == 0 && gate->domain && !usage_is_complete(graph_usage(gate->graph));
}

bool gate_would_open(struct gate *gate)
{
    return gate->remedy->error == 0 && gate_sort(gate) == 0 && gate_has_looked(gate) &&
           !libvirt_is_unknown(gate) && look_at_all(gate, NULL) == 0;
}

bool gate_is_open(struct gate *gate)
{
    bool looked;

    if (gate_sort(gate) < 0)
        gate_fail(gate, -ENOMEM);
    if (gate->remedy->error < 0)
        return false;
    looked = gate_has_looked(gate);
    if (look_at_all(gate, gate->remedy) > 0)
        return false;
    if (libvirt_is_unknown(gate)) {
        remedy_note(gate->remedy,
                    "No command is given, because libvirt does not report everything. See "
                    "'qcauditctl status' for the connection that is missing.");
        return false;
    }
    if (!looked) {
        if (gate->remedy->looks)
            remedy_note(gate->remedy,
                        "No command is given, because the locks of its layers could not be looked "
                        "at in time. Ask again.");
        else
            remedy_text(gate->remedy,
                        "The command is given by 'qcauditctl show %" PRId64 "', which looks at "
                        "locks, users and room as they are then.",
                        gate->remedy->finding);
        return false;
    }
    gate->open = gate->remedy->error == 0;
    return gate->open;
}
