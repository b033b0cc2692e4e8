/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Families as they are written in YAML: each mistake is said with its file, line and column. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "helpers/text.h"
#include "helpers/value.h"
#include "provenance/family-internal.h"
#include "provenance/family.h"

#define SCHEMA "1"              /* of the file's form */
#define NAME_MAX_BYTES 64
#define TEXT_MAX_BYTES 255
#define LIST_MAX 256            /* entries of one list or mapping within a family */
#define DECODINGS_MAX 256
#define EPOCH_MAX 1000000

struct reader {
    struct families *families;
    struct config_files files;
};

/* ---- mistakes and plain values -------------------------------------------------------------- */

static void __attribute__((format(printf, 3, 4)))
complain_at(struct reader *reader, const struct config_node *node, const char *format, ...)
{
    _cleanup_free_ char *text = NULL;
    va_list ap;

    va_start(ap, format);
    if (vasprintf(&text, format, ap) < 0)
        text = NULL;
    va_end(ap);
    if (text)
        mistakes_add(&reader->files.mistakes, node->file, node->line, node->column, "%s", text);
    else
        reader->files.mistakes.no_memory = true;
}

/* "WHAT: "TEXT": FAULT" */
static void complain_of(struct reader *reader, const struct config_node *node, const char *what,
                        const char *fault)
{
    _cleanup_free_ char *quoted = config_node_quote(node);

    complain_at(reader, node, "%s: %s: %s", what, quoted ? quoted : "", fault);
}

/* -EINVAL: it is no text, and that was said. */
static int need_text(struct reader *reader, const struct config_node *node, const char *what)
{
    if (node->kind == CONFIG_NODE_SCALAR && !node->cut && !config_node_is_empty(node))
        return 0;
    if (!node->cut)
        complain_at(reader, node, "%s: expected text, found %s", what, config_node_text(node));
    return -EINVAL;
}

/* Of one line, for people and JSON. *field is set anew; untouched where that is a mistake. */
static int take_text(struct reader *reader, const struct config_node *node, const char *what,
                     char **field)
{
    const char *fault = NULL;

    if (need_text(reader, node, what) < 0)
        return 0;
    if (!node->text[0])
        fault = "empty";
    else if (strlen(node->text) > TEXT_MAX_BYTES)
        fault = "longer than 255 bytes";
    else if (!text_is_safe(node->text, strlen(node->text)))
        fault = "a sign that cannot be printed";
    if (fault) {
        complain_of(reader, node, what, fault);
        return 0;
    }
    char *text = strdup(node->text);
    if (!text)
        return -ENOMEM;
    free(*field);
    *field = text;
    return 0;
}

/* A word by which something is referred to. */
static int take_name(struct reader *reader, const struct config_node *node, const char *what,
                     char **field)
{
    if (need_text(reader, node, what) < 0)
        return 0;
    size_t length = strspn(node->text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789._-");
    if (length == 0 || node->text[length] || length > NAME_MAX_BYTES) {
        complain_of(reader, node, what, "a name has 1 to 64 letters, digits, points, dashes and _");
        return 0;
    }
    return take_text(reader, node, what, field);
}

static int take_order(struct reader *reader, const struct config_node *node, const char *what,
                      enum version_order *field)
{
    if (need_text(reader, node, what) < 0)
        return 0;
    int order = version_order_from_name(node->text);
    if (order < 0)
        complain_of(reader, node, what, "not one of generic, junos, none");
    else
        *field = (enum version_order)order;
    return 0;
}

static int take_pattern(struct reader *reader, const struct config_node *node, const char *what,
                        struct pattern *field)
{
    struct families_rest *rest = reader->families->rest;
    char reason[PATTERN_REASON_MAX];

    if (need_text(reader, node, what) < 0)
        return 0;
    int r = pattern_compile(node->text, rest->locale, field, reason);
    if (r == -EINVAL)
        complain_of(reader, node, what, reason);
    if (r < 0)
        return r == -EINVAL ? 0 : r;
    if (rest->size + field->size > FAMILIES_SIZE_MAX)
        complain_of(reader, node, what, "all patterns together are too large");
    else
        rest->size += field->size;
    return 0;
}

/* ---- mappings and lists --------------------------------------------------------------------- */

/* A key of a mapping, and what takes its value. */
struct key {
    const char *name;
    int (*take)(struct reader *reader, const struct config_node *node, void *target);
    bool needed;
};

static int unknown_key(struct reader *reader, const struct config_node *node, const char *what,
                       const struct key *keys)
{
    _cleanup_free_ char *quoted = config_node_quote(node), *known = NULL;
    size_t length, best = strlen(node->text) / 3 + 2;
    FILE *stream = open_memstream(&known, &length);
    const char *nearest = NULL;

    if (!stream || !quoted) {
        if (stream)
            (void)fclose(stream);
        return -ENOMEM;
    }
    for (const struct key *key = keys; key->name; key++) {
        size_t distance = text_distance(node->text, key->name);

        (void)fprintf(stream, "%s%s", key == keys ? "" : ", ", key->name);
        if (distance < best) {
            best = distance;
            nearest = key->name;
        }
    }
    if (fclose(stream) != 0 || !known)
        return -ENOMEM;
    if (nearest)
        complain_at(reader, node, "unknown key %s in %s; did you mean \"%s\"?", quoted, what,
                    nearest);
    else
        complain_at(reader, node, "unknown key %s in %s; known are: %s", quoted, what, known);
    return 0;
}

/* The key at i, if it is a text that was not given before; else NULL, and that was said. */
static const struct config_node *key_at(struct reader *reader, const struct config_node *node,
                                        size_t i, const char *what)
{
    const struct config_node *name = node->items[i];

    if (name->kind != CONFIG_NODE_SCALAR) {
        complain_at(reader, name, "%s: expected the name of a key, found %s", what,
                    config_node_text(name));
        return NULL;
    }
    for (size_t j = 0; j < i; j += 2)
        if (node->items[j]->kind == CONFIG_NODE_SCALAR &&
            strcmp(node->items[j]->text, name->text) == 0) {
            _cleanup_free_ char *quoted = config_node_quote(name);

            complain_at(reader, name, "duplicate key %s, first given on line %u",
                        quoted ? quoted : "", node->items[j]->line);
            return NULL;
        }
    return name->cut ? NULL : name;
}

/* False when it is none, or has too many entries, and that was said. */
static bool is_collection(struct reader *reader, const struct config_node *node, const char *what,
                          enum config_node_kind kind, size_t most)
{
    size_t n = kind == CONFIG_NODE_MAPPING ? node->n_items / 2 : node->n_items;

    if (node->kind != kind) {
        if (!node->cut)
            complain_at(reader, node, "%s: expected %s, found %s", what,
                        kind == CONFIG_NODE_LIST ? "a list" : "a mapping", config_node_text(node));
        return false;
    }
    if (n > most)
        complain_at(reader, node, "%s: more than %zu entries", what, most);
    return n <= most;
}

static int take_mapping(struct reader *reader, const struct config_node *node, const char *what,
                        const struct key *keys, void *target)
{
    if (!is_collection(reader, node, what, CONFIG_NODE_MAPPING, LIST_MAX))
        return 0;
    for (size_t i = 0; i + 1 < node->n_items; i += 2) {
        const struct config_node *name = key_at(reader, node, i, what);
        const struct key *key = keys;

        if (!name)
            continue;
        while (key->name && strcmp(key->name, name->text) != 0)
            key++;
        int r = key->name ? key->take(reader, node->items[i + 1], target)
                          : unknown_key(reader, name, what, keys);
        if (r < 0)
            return r;
    }
    for (const struct key *key = keys; key->name; key++) {
        bool given = !key->needed || node->cut;

        for (size_t i = 0; i < node->n_items && !given; i += 2)
            given = node->items[i]->kind == CONFIG_NODE_SCALAR &&
                    strcmp(node->items[i]->text, key->name) == 0;
        if (!given)
            complain_at(reader, node, "%s: without %s", what, key->name);
    }
    return 0;
}

/* A list of texts. */
static int take_texts(struct reader *reader, const struct config_node *node, const char *what,
                      char ***field, size_t *n_field)
{
    if (!is_collection(reader, node, what, CONFIG_NODE_LIST, LIST_MAX) || *field)
        return 0;
    char **texts = calloc(node->n_items + 1, sizeof(*texts));
    if (!texts)
        return -ENOMEM;
    *field = texts;
    for (size_t i = 0; i < node->n_items; i++) {
        int r = take_text(reader, node->items[i], what, &texts[*n_field]);

        if (r < 0)
            return r;
        *n_field += texts[*n_field] != NULL;
    }
    return 0;
}

/* A mapping from words to texts. */
static int take_map(struct reader *reader, const struct config_node *node, const char *what,
                    struct family_map **field, size_t *n_field)
{
    if (!is_collection(reader, node, what, CONFIG_NODE_MAPPING, LIST_MAX) || *field)
        return 0;
    struct family_map *map = calloc(node->n_items / 2 + 1, sizeof(*map));
    if (!map)
        return -ENOMEM;
    *field = map;
    for (size_t i = 0; i + 1 < node->n_items; i += 2) {
        const struct config_node *name = key_at(reader, node, i, what);

        if (!name)
            continue;
        struct family_map *entry = &map[(*n_field)++];
        int r = take_text(reader, name, what, &entry->from);
        if (r >= 0)
            r = take_text(reader, node->items[i + 1], what, &entry->to);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- names ---------------------------------------------------------------------------------- */

/* A name while it is read. */
struct name_reading {
    struct family_name *name;
    const struct config_node *version;
};

static int name_match(struct reader *reader, const struct config_node *node, void *target)
{
    struct name_reading *reading = target;

    return take_pattern(reader, node, "names[].match", &reading->name->pattern);
}

static int name_version_key(struct reader *reader, const struct config_node *node, void *target)
{
    struct name_reading *reading = target;

    reading->version = node;
    return take_text(reader, node, "names[].version", &reading->name->version);
}

static int name_scheme(struct reader *reader, const struct config_node *node, void *target)
{
    struct name_reading *reading = target;

    return take_name(reader, node, "names[].scheme", &reading->name->scheme);
}

static int name_order(struct reader *reader, const struct config_node *node, void *target)
{
    struct name_reading *reading = target;

    return take_order(reader, node, "names[].order", &reading->name->order);
}

static int name_epoch(struct reader *reader, const struct config_node *node, void *target)
{
    struct name_reading *reading = target;
    const char *reason = "more than 1000000";
    uint64_t epoch = 0;

    if (need_text(reader, node, "names[].epoch") < 0)
        return 0;
    if (value_count(node->text, &epoch, &reason) < 0 || epoch > EPOCH_MAX)
        complain_of(reader, node, "names[].epoch", reason);
    else
        reading->name->epoch = (unsigned)epoch;
    return 0;
}

static int name_map(struct reader *reader, const struct config_node *node, void *target)
{
    struct name_reading *reading = target;

    return take_map(reader, node, "names[].map", &reading->name->map, &reading->name->n_map);
}

static const struct key name_keys[] = {
    { "match", name_match, true },
    { "version", name_version_key, false },
    { "scheme", name_scheme, false },
    { "order", name_order, false },
    { "epoch", name_epoch, false },
    { "map", name_map, false },
    { 0 },
};

static int read_name(struct reader *reader, const struct config_node *node,
                     struct family_rest *rest)
{
    struct family_name *name = &rest->names[rest->n_names++];
    struct name_reading reading = { .name = name };

    name->order = rest->order;
    int r = take_mapping(reader, node, "names[]", name_keys, &reading);
    if (r < 0)
        return r;
    if (!name->scheme && !(name->scheme = strdup("release")))
        return -ENOMEM;
    if (name->version && name->pattern.compiled) {
        const char *fault = template_fault(name->version, &name->pattern);

        if (fault)
            complain_of(reader, reading.version, "names[].version", fault);
    }
    return 0;
}

/* ---- families ------------------------------------------------------------------------------- */

/* Names are read when the order of the family is known, wherever that is written. */
struct family_reading {
    struct family *family;
    const struct config_node *names, *examples;
};

static int family_name_key(struct reader *reader, const struct config_node *node, void *target)
{
    struct family_reading *reading = target;

    return take_name(reader, node, "family", &reading->family->name);
}

static int family_vendor(struct reader *reader, const struct config_node *node, void *target)
{
    struct family_reading *reading = target;

    return take_text(reader, node, "vendor", &reading->family->vendor);
}

static int family_product(struct reader *reader, const struct config_node *node, void *target)
{
    struct family_reading *reading = target;

    return take_text(reader, node, "product", &reading->family->product);
}

static int family_note(struct reader *reader, const struct config_node *node, void *target)
{
    struct family_reading *reading = target;

    return take_text(reader, node, "note", &reading->family->note);
}

static int family_memory(struct reader *reader, const struct config_node *node, void *target)
{
    struct family_reading *reading = target;
    const char *reason = "does not fit";

    if (need_text(reader, node, "minimum-memory") < 0)
        return 0;
    if (value_size(node->text, &reading->family->minimum_memory, &reason) < 0)
        complain_of(reader, node, "minimum-memory", reason);
    return 0;
}

static int family_kind(struct reader *reader, const struct config_node *node, void *target)
{
    struct family_reading *reading = target;

    if (need_text(reader, node, "kind") < 0)
        return 0;
    if (strcmp(node->text, "appliance") != 0 && strcmp(node->text, "system") != 0)
        complain_of(reader, node, "kind", "not one of appliance, system");
    reading->family->is_system = strcmp(node->text, "system") == 0;
    return 0;
}

static int family_order(struct reader *reader, const struct config_node *node, void *target)
{
    struct family_reading *reading = target;

    return take_order(reader, node, "order", &reading->family->rest->order);
}

static int family_gns3(struct reader *reader, const struct config_node *node, void *target)
{
    struct family *family = ((struct family_reading *)target)->family;

    return take_texts(reader, node, "gns3", &family->gns3, &family->n_gns3);
}

static int family_eve_prefix(struct reader *reader, const struct config_node *node, void *target)
{
    struct family *family = ((struct family_reading *)target)->family;

    return take_texts(reader, node, "eve-prefix", &family->eve_prefixes, &family->n_eve_prefixes);
}

static int family_eve_stem(struct reader *reader, const struct config_node *node, void *target)
{
    struct family_rest *rest = ((struct family_reading *)target)->family->rest;

    return take_map(reader, node, "eve-stem", &rest->eve_stems, &rest->n_eve_stems);
}

static int family_eve_hint(struct reader *reader, const struct config_node *node, void *target)
{
    struct family_reading *reading = target;

    return take_pattern(reader, node, "eve-hint", &reading->family->rest->eve_hint);
}

static int family_decoding_key(struct reader *reader, const struct config_node *node, void *target)
{
    struct family_reading *reading = target;

    if (need_text(reader, node, "decoding") < 0)
        return 0;
    reading->family->rest->decoding_node = node;
    return 0;
}

static int family_minimum(struct reader *reader, const struct config_node *node, void *target)
{
    struct family *family = ((struct family_reading *)target)->family;
    struct family_rest *rest = family->rest;

    int r = take_map(reader, node, "minimum", &rest->minimums, &rest->n_minimums);
    if (r < 0)
        return r;
    free(family->minimums);
    family->minimums = calloc(rest->n_minimums + 1, sizeof(*family->minimums));
    if (!family->minimums)
        return -ENOMEM;
    family->n_minimums = rest->n_minimums;
    for (size_t i = 0; i < rest->n_minimums; i++)
        family->minimums[i] =
            (struct version_minimum){ rest->minimums[i].from, rest->minimums[i].to };
    return 0;
}

static int family_names(struct reader *reader, const struct config_node *node, void *target)
{
    ((struct family_reading *)target)->names = node;
    return 0;
}

static int family_examples(struct reader *reader, const struct config_node *node, void *target)
{
    ((struct family_reading *)target)->examples = node;
    return 0;
}

static const struct key family_keys[] = {
    { "family", family_name_key, true },
    { "vendor", family_vendor, true },
    { "product", family_product, true },
    { "note", family_note, false },
    { "kind", family_kind, false },
    { "minimum-memory", family_memory, false },
    { "order", family_order, false },
    { "gns3", family_gns3, false },
    { "eve-prefix", family_eve_prefix, false },
    { "eve-stem", family_eve_stem, false },
    { "eve-hint", family_eve_hint, false },
    { "decoding", family_decoding_key, false },
    { "minimum", family_minimum, false },
    { "names", family_names, true },
    { "examples", family_examples, false },
    { 0 },
};

static int read_names(struct reader *reader, const struct family_reading *reading)
{
    struct family_rest *rest = reading->family->rest;
    const struct config_node *node = reading->names;

    if (!node || !is_collection(reader, node, "names", CONFIG_NODE_LIST, LIST_MAX))
        return 0;
    rest->names = calloc(node->n_items + 1, sizeof(*rest->names));
    if (!rest->names)
        return -ENOMEM;
    for (size_t i = 0; i < node->n_items; i++) {
        int r = read_name(reader, node->items[i], rest);

        if (r < 0)
            return r;
    }
    return 0;
}

static int example_file(struct reader *reader, const struct config_node *node, void *target)
{
    return take_text(reader, node, "examples[].file", &((struct family_example *)target)->file);
}

static int example_version(struct reader *reader, const struct config_node *node, void *target)
{
    return take_text(reader, node, "examples[].version",
                     &((struct family_example *)target)->version);
}

static const struct key example_keys[] = {
    { "file", example_file, true },
    { "version", example_version, false },
    { 0 },
};

/* An example is what its writer believes the patterns to do: it is held against them. */
static void check_example(struct reader *reader, const struct config_node *node,
                          const struct family *family, const struct family_example *example)
{
    struct families_rest *rest = reader->families->rest;
    _cleanup_free_ char *shown = NULL, *found = NULL;
    char stem[PATTERN_NAME_MAX + 1], version[FAMILY_TEXT_MAX];

    if (!example->file || rest->examples_size > FAMILIES_EXAMPLES_MAX)
        return;
    for (size_t i = 0; i < family->rest->n_names; i++)
        rest->examples_size += family->rest->names[i].pattern.size;
    if (rest->examples_size > FAMILIES_EXAMPLES_MAX) {
        complain_at(reader, node, "examples[]: too many, for patterns that are so large");
        return;
    }
    family_stem(example->file, stem);
    shown = text_escape_string(example->file);
    if (!family_match_names(family, stem, version)) {
        complain_at(reader, node, "examples[]: no name of the family fits \"%s\"",
                    shown ? shown : "");
        return;
    }
    found = text_escape_string(version);
    if (strcmp(version, example->version ? example->version : "") != 0)
        complain_at(reader, node, "examples[]: \"%s\" is version \"%s\" by the names",
                    shown ? shown : "", found ? found : "");
}

static int read_examples(struct reader *reader, const struct family_reading *reading, bool sound)
{
    struct family *family = reading->family;
    const struct config_node *node = reading->examples;

    if (!node || !is_collection(reader, node, "examples", CONFIG_NODE_LIST, LIST_MAX))
        return 0;
    family->examples = calloc(node->n_items + 1, sizeof(*family->examples));
    if (!family->examples)
        return -ENOMEM;
    for (size_t i = 0; i < node->n_items; i++) {
        struct family_example *example = &family->examples[family->n_examples++];
        int r = take_mapping(reader, node->items[i], "examples[]", example_keys, example);

        if (r < 0)
            return r;
        if (sound)
            check_example(reader, node->items[i], family, example);
    }
    return 0;
}

/* Takes the family: in the place of that of the same name in an earlier file, or behind all. */
static int add_family(struct reader *reader, const struct config_node *node, struct family *family)
{
    struct families *families = reader->families;

    for (size_t i = 0; i < families->n; i++) {
        struct family *earlier = families->items[i];

        if (strcmp(earlier->name, family->name) != 0)
            continue;
        if (earlier->rest->file != family->rest->file) {
            families->items[i] = family;
            family_free(earlier);
            return 0;
        }
        complain_at(reader, node, "family: a second \"%s\", first given on line %u", family->name,
                    earlier->rest->line);
        family_free(family);
        return 0;
    }
    struct family **items = families->n < FAMILIES_MAX
                                ? reallocarray(families->items, families->n + 1, sizeof(*items))
                                : NULL;
    if (!items) {
        family_free(family);
        if (families->n < FAMILIES_MAX)
            return -ENOMEM;
        complain_at(reader, node, "families: more than 4096");
        return 0;
    }
    families->items = items;
    items[families->n++] = family;
    return 0;
}

DEFINE_CLEANUP(struct family *, family_free)

static int read_family(struct reader *reader, const struct config_node *node)
{
    _cleanup_(family_freep) struct family *family = calloc(1, sizeof(*family));
    struct family_reading reading = { .family = family };
    const struct mistakes *mistakes = &reader->files.mistakes;
    size_t before = mistakes->n_items + mistakes->n_more;

    if (!family || !(family->rest = calloc(1, sizeof(*family->rest))))
        return -ENOMEM;
    family->rest->file = node->file;
    family->rest->line = node->line;
    family->rest->column = node->column;
    int r = take_mapping(reader, node, "families[]", family_keys, &reading);
    if (r >= 0)
        r = read_names(reader, &reading);
    if (r >= 0)
        r = read_examples(reader, &reading, before == mistakes->n_items + mistakes->n_more);
    if (r < 0 || !family->name || !family->vendor || !family->product)
        return r;
    return add_family(reader, node, TAKE_PTR(family));
}

static int read_families(struct reader *reader, const struct config_node *node, void *target)
{
    if (config_node_is_empty(node) ||
        !is_collection(reader, node, "families", CONFIG_NODE_LIST, FAMILIES_MAX))
        return 0;
    for (size_t i = 0; i < node->n_items; i++) {
        int r = read_family(reader, node->items[i]);

        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- forms of versions ---------------------------------------------------------------------- */

struct form_reading {
    struct family_form *form;
    const struct config_node *parts;
};

static int form_match(struct reader *reader, const struct config_node *node, void *target)
{
    struct form_reading *reading = target;

    return take_pattern(reader, node, "decodings.*[].match", &reading->form->pattern);
}

static int form_parts(struct reader *reader, const struct config_node *node, void *target)
{
    ((struct form_reading *)target)->parts = node;
    return 0;
}

static const struct key form_keys[] = {
    { "match", form_match, true },
    { "parts", form_parts, true },
    { 0 },
};

static int read_parts(struct reader *reader, const struct form_reading *reading)
{
    static const char what[] = "decodings.*[].parts";
    struct family_form *form = reading->form;
    const struct config_node *node = reading->parts;

    if (!node || !is_collection(reader, node, what, CONFIG_NODE_MAPPING, FAMILY_PARTS_MAX))
        return 0;
    for (size_t i = 0; i + 1 < node->n_items; i += 2) {
        const struct config_node *name = key_at(reader, node, i, what);

        if (!name)
            continue;
        struct family_decode_part *part = &form->parts[form->n_parts++];
        int r = take_text(reader, name, what, &part->name);
        if (r >= 0)
            r = take_text(reader, node->items[i + 1], what, &part->text);
        if (r < 0)
            return r;
        const char *fault = part->text && form->pattern.compiled
                                ? template_fault(part->text, &form->pattern)
                                : NULL;
        if (fault)
            complain_of(reader, node->items[i + 1], what, fault);
    }
    return 0;
}

static int read_forms(struct reader *reader, const struct config_node *node,
                      struct family_decoding *decoding)
{
    if (!is_collection(reader, node, "decodings.*", CONFIG_NODE_LIST, LIST_MAX))
        return 0;
    decoding->forms = calloc(node->n_items + 1, sizeof(*decoding->forms));
    if (!decoding->forms)
        return -ENOMEM;
    for (size_t i = 0; i < node->n_items; i++) {
        struct form_reading reading = { .form = &decoding->forms[decoding->n_forms++] };
        int r = take_mapping(reader, node->items[i], "decodings.*[]", form_keys, &reading);

        if (r >= 0)
            r = read_parts(reader, &reading);
        if (r < 0)
            return r;
    }
    return 0;
}

/* As add_family(); two of one file have the same key, and that was said. */
static int add_decoding(struct reader *reader, struct family_decoding *decoding)
{
    struct families_rest *rest = reader->families->rest;

    for (size_t i = 0; i < rest->n_decodings; i++)
        if (strcmp(rest->decodings[i]->name, decoding->name) == 0) {
            family_decoding_free(rest->decodings[i]);
            rest->decodings[i] = decoding;
            return 0;
        }
    struct family_decoding **decodings = reallocarray(rest->decodings, rest->n_decodings + 1,
                                                      sizeof(*decodings));
    if (!decodings) {
        family_decoding_free(decoding);
        return -ENOMEM;
    }
    rest->decodings = decodings;
    decodings[rest->n_decodings++] = decoding;
    return 0;
}

DEFINE_CLEANUP(struct family_decoding *, family_decoding_free)

static int read_decodings(struct reader *reader, const struct config_node *node, void *target)
{
    if (config_node_is_empty(node) ||
        !is_collection(reader, node, "decodings", CONFIG_NODE_MAPPING, DECODINGS_MAX))
        return 0;
    for (size_t i = 0; i + 1 < node->n_items; i += 2) {
        _cleanup_(family_decoding_freep) struct family_decoding *decoding = NULL;
        const struct config_node *name = key_at(reader, node, i, "decodings");

        if (!name)
            continue;
        decoding = calloc(1, sizeof(*decoding));
        int r = decoding ? take_name(reader, name, "decodings", &decoding->name) : -ENOMEM;
        if (r >= 0)
            r = read_forms(reader, node->items[i + 1], decoding);
        if (r >= 0 && decoding->name)
            r = add_decoding(reader, TAKE_PTR(decoding));
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- files ---------------------------------------------------------------------------------- */

static int read_schema(struct reader *reader, const struct config_node *node, void *target)
{
    if (need_text(reader, node, "schema") == 0 && strcmp(node->text, SCHEMA) != 0)
        complain_of(reader, node, "schema", "this version of qcaudit reads schema 1");
    return 0;
}

static const struct key file_keys[] = {
    { "schema", read_schema, false },
    { "decodings", read_decodings, false },
    { "families", read_families, false },
    { 0 },
};

/* Decodings may be in any file. */
static void bind_decodings(struct reader *reader)
{
    struct families_rest *rest = reader->families->rest;

    for (size_t i = 0; i < reader->families->n; i++) {
        struct family_rest *family = reader->families->items[i]->rest;
        const struct config_node *node = family->decoding_node;

        family->decoding_node = NULL;
        for (size_t j = 0; node && j < rest->n_decodings && !family->decoding; j++)
            if (strcmp(rest->decodings[j]->name, node->text) == 0)
                family->decoding = rest->decodings[j];
        if (node && !family->decoding)
            complain_of(reader, node, "decoding", "there is none of this name below decodings");
    }
}

static int keep_file_names(struct reader *reader)
{
    struct families_rest *rest = reader->families->rest;

    rest->files = calloc(reader->files.n + 1, sizeof(*rest->files));
    if (!rest->files)
        return -ENOMEM;
    for (size_t i = 0; i < reader->files.n; i++) {
        rest->files[i] = TAKE_PTR(reader->files.names[i]);
        rest->n_files++;
    }
    return 0;
}

static void reader_done(struct reader *reader)
{
    families_free(reader->families);
    config_files_done(&reader->files);
}

static int reader_finish(struct reader *reader, config_error_fn error, void *userdata,
                         struct families **ret_families)
{
    int r = 0;

    for (size_t i = 0; r >= 0 && i < reader->files.n; i++) {
        const struct config_node *root = reader->files.roots[i];

        if (root && !config_node_is_empty(root))
            r = take_mapping(reader, root, "the file", file_keys, NULL);
    }
    if (r < 0)
        return r;
    bind_decodings(reader);
    r = config_files_say(&reader->files, error, userdata);
    if (r >= 0)
        r = keep_file_names(reader);
    if (r < 0)
        return r;
    *ret_families = TAKE_PTR(reader->families);
    return 0;
}

int families_load(const char *file, const char *folder, config_error_fn error, void *userdata,
                  struct families **ret_families)
{
    _cleanup_(reader_done) struct reader reader = { 0 };

    int r = families_new(&reader.families);
    if (r >= 0 && file)
        r = config_files_read(&reader.files, file);
    if (r >= 0 && folder)
        r = config_files_read_folder(&reader.files, folder);
    if (r < 0)
        return r;
    return reader_finish(&reader, error, userdata, ret_families);
}

int families_parse(const char *name, const char *bytes, size_t n, config_error_fn error,
                   void *userdata, struct families **ret_families)
{
    _cleanup_(reader_done) struct reader reader = { 0 };

    int r = families_new(&reader.families);
    if (r >= 0)
        r = config_files_parse(&reader.files, name, bytes, n);
    if (r < 0)
        return r;
    return reader_finish(&reader, error, userdata, ret_families);
}
