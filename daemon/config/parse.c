/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From trees of nodes to struct config: sections, lists and keys by the table, noting every
 * mistake. */
#include <errno.h>
#include <string.h>

#include "daemon/config/parse.h"
#include "helpers/text.h"

#define KEYS_PER_MAPPING_MAX 1000

int config_builder_init(struct config_builder *builder, struct config *config,
                        struct mistakes *mistakes)
{
    struct text_place *places = calloc(config_keys_count, sizeof(*places));

    if (!places)
        return -ENOMEM;
    *builder = (struct config_builder){ .config = config, .mistakes = mistakes, .places = places };
    return 0;
}

void config_builder_done(struct config_builder *builder)
{
    free(builder->places);
    free(builder->datastore_places);
    free(builder->class_places);
    free(builder->class_nodes);
    free(builder->version_places);
    *builder = (struct config_builder){ 0 };
}

static bool list_name(void *userdata, const char *name, const struct config_key *key)
{
    fprintf(userdata, "%s%s", ftell(userdata) > 0 ? ", " : "", name);
    return false;
}

static int unknown_key(struct config_builder *builder, const char *section,
                       const struct config_node *key)
{
    _cleanup_free_ char *quoted = config_node_quote(key), *nearest = NULL, *known = NULL;
    size_t length;

    int r = config_key_nearest(section, key->text, &nearest);
    if (r < 0 || !quoted)
        return -ENOMEM;
    FILE *stream = open_memstream(&known, &length);
    if (!stream)
        return -ENOMEM;
    if (strcmp(section, "thresholds") == 0)
        for (enum finding_type type = 0; type < _FINDING_MAX; type++)
            list_name(stream, finding_definition(type)->name, NULL);
    else
        config_keys_below(section, list_name, stream);
    if (fclose(stream) != 0 || !known)
        return -ENOMEM;
    const char *what = strcmp(section, "thresholds") == 0 ? "finding" : "key";
    const char *in = *section ? " in " : "";
    if (nearest)
        mistakes_add(builder->mistakes, key->file, key->line, key->column,
                     "unknown %s %s%s%s; did you mean \"%s\"?", what, quoted, in, section, nearest);
    else
        mistakes_add(builder->mistakes, key->file, key->line, key->column,
                     "unknown %s %s%s%s; known are: %s", what, quoted, in, section, known);
    return 0;
}

struct only_key {
    const struct config_key *key;
    unsigned n;
};

static bool count_keys(void *userdata, const char *name, const struct config_key *key)
{
    struct only_key *only = userdata;

    only->key = key;
    only->n++;
    return false;
}

/* A finding's thresholds: on, off, its only measure's value, or a mapping. */
static int apply_finding(struct config_builder *builder, const struct config_node *name,
                         const struct config_node *value, struct config_target *target)
{
    struct only_key only = { 0 };
    char section[128];

    target->finding = finding_type_from_name(name->text);
    if (target->finding < 0)
        return unknown_key(builder, "thresholds", name);
    snprintf(section, sizeof(section), "thresholds.%s", name->text);
    if (value->kind == CONFIG_NODE_MAPPING)
        return config_apply_mapping(builder, section, value, target);

    int enabled = value->kind == CONFIG_NODE_SCALAR && value->plain
                      ? config_parse_bool(value->text) : -EINVAL;
    if (enabled >= 0) {
        target->thresholds->disabled[target->finding] = !enabled;
        return config_note_origin(builder, config_key_find(section, "enabled"), value, target);
    }
    if (value->cut || config_node_is_empty(value))
        return 0;
    config_keys_below(section, count_keys, &only);
    if (only.n == 1)
        return config_apply_key(builder, "thresholds", name->text, only.key, value, target);
    mistakes_add(builder->mistakes, value->file, value->line, value->column,
                 "%s: expected %s, found %s", section,
                 only.n > 0 ? "on, off or a mapping" : "on or off", config_node_text(value));
    return 0;
}

static int append_datastore(struct config_builder *builder, const struct config_node *node)
{
    struct config *config = builder->config;
    size_t n = config->n_datastores;

    struct config_datastore *datastores = reallocarray(config->datastores, n + 1,
                                                       sizeof(*datastores));
    if (!datastores)
        return -ENOMEM;
    config->datastores = datastores;
    struct text_place *places = reallocarray(builder->datastore_places, 2 * (n + 1),
                                             sizeof(*places));
    if (!places)
        return -ENOMEM;
    builder->datastore_places = places;
    places[2 * n] = places[2 * n + 1] = (struct text_place){ node->file, node->line, node->column };
    datastores[n] = (struct config_datastore){ 0 };
    config->n_datastores++;

    struct config_target target = { .config = config,
                                    .datastore = &datastores[n],
                                    .path_place = &places[2 * n],
                                    .name_place = &places[2 * n + 1] };
    int r = config_set_defaults(CONFIG_IN_config_datastore, target.datastore);
    if (r < 0)
        return r;
    size_t before = builder->mistakes->n_items + builder->mistakes->n_more;
    if (node->kind == CONFIG_NODE_SCALAR && !config_node_is_empty(node))
        r = config_apply_key(builder, "datastores[]", "path",
                             config_key_find("datastores[]", "path"), node, &target);
    else
        r = config_apply_mapping(builder, "datastores[]", node, &target);
    if (r >= 0 && !target.datastore->path && !node->cut &&
        before == builder->mistakes->n_items + builder->mistakes->n_more)
        config_mistake_at(builder, node, "datastores[]", "", "a datastore without a path");
    return r;
}

static int append_class(struct config_builder *builder, const struct config_node *node)
{
    struct policy *policy = &builder->config->policy;
    size_t n = policy->n_classes;

    struct policy_class *classes = reallocarray(policy->classes, n + 1, sizeof(*classes));
    if (!classes)
        return -ENOMEM;
    policy->classes = classes;
    struct text_place *places = reallocarray(builder->class_places, n + 1, sizeof(*places));
    if (!places)
        return -ENOMEM;
    builder->class_places = places;
    const struct config_node **nodes = reallocarray(builder->class_nodes, n + 1, sizeof(*nodes));
    if (!nodes)
        return -ENOMEM;
    builder->class_nodes = nodes;
    places[n] = (struct text_place){ node->file, node->line, node->column };
    nodes[n] = NULL;
    classes[n] = (struct policy_class){ 0 };
    policy->n_classes++;

    struct config_target target = { .config = builder->config,
                                    .class = &classes[n],
                                    .class_number = n + 1,
                                    .name_place = &places[n] };
    int r = config_set_defaults(CONFIG_IN_policy_class, target.class);
    if (r < 0)
        return r;
    size_t before = builder->mistakes->n_items + builder->mistakes->n_more;
    r = config_apply_mapping(builder, "classes[]", node, &target);
    nodes[n] = target.thresholds_node;
    if (r < 0 || node->cut || before != builder->mistakes->n_items + builder->mistakes->n_more)
        return r;
    if (!target.class->name)
        config_mistake_at(builder, node, "classes[]", "", "a class without a name");
    if (!target.class->paths[0])
        config_mistake_at(builder, node, "classes[]", "", "a class without paths");
    return 0;
}

static int append_version(struct config_builder *builder, const struct config_node *node)
{
    struct policy *policy = &builder->config->policy;
    size_t n = policy->n_versions;

    struct policy_version *versions = reallocarray(policy->versions, n + 1, sizeof(*versions));
    if (!versions)
        return -ENOMEM;
    policy->versions = versions;
    struct text_place *places = reallocarray(builder->version_places, n + 1, sizeof(*places));
    if (!places)
        return -ENOMEM;
    builder->version_places = places;
    places[n] = (struct text_place){ node->file, node->line, node->column };
    versions[n] = (struct policy_version){ 0 };
    policy->n_versions++;

    struct config_target target = { .config = builder->config,
                                    .version = &versions[n],
                                    .class_number = n + 1,
                                    .name_place = &places[n] };
    int r = config_set_defaults(CONFIG_IN_policy_version, target.version);
    if (r < 0)
        return r;
    size_t before = builder->mistakes->n_items + builder->mistakes->n_more;
    r = config_apply_mapping(builder, "versions[]", node, &target);
    if (r < 0 || node->cut || before != builder->mistakes->n_items + builder->mistakes->n_more)
        return r;
    if (!target.version->family)
        config_mistake_at(builder, node, "versions[]", "", "an entry without a family");
    else if (!target.version->minimum && target.version->end_of_life == 0)
        config_mistake_at(builder, node, "versions[]", "",
                          "an entry with neither a minimum nor an end-of-life");
    return 0;
}

struct list_kind {
    int (*append)(struct config_builder *builder, const struct config_node *node);
    size_t n, max;              /* entries that there are */
};

static struct list_kind list_kind(const struct config *config, const char *name)
{
    if (strcmp(name, "datastores") == 0)
        return (struct list_kind){ append_datastore, config->n_datastores, CONFIG_DATASTORES_MAX };
    if (strcmp(name, "versions") == 0)
        return (struct list_kind){ append_version, config->policy.n_versions,
                                   CONFIG_VERSIONS_MAX };
    return (struct list_kind){ append_class, config->policy.n_classes, CONFIG_CLASSES_MAX };
}

static int apply_list(struct config_builder *builder, const char *name,
                      const struct config_node *node)
{
    bool datastores = strcmp(name, "datastores") == 0;

    if (config_node_is_empty(node))
        return 0;
    if (datastores && node->kind == CONFIG_NODE_SCALAR && strcmp(node->text, "auto") == 0) {
        builder->config->datastores_auto = true;
        return 0;
    }
    if (node->kind != CONFIG_NODE_LIST) {
        mistakes_add(builder->mistakes, node->file, node->line, node->column,
                     "%s: expected %sa list, found %s", name, datastores ? "auto or " : "",
                     config_node_text(node));
        return 0;
    }
    for (size_t i = 0; i < node->n_items; i++) {
        struct list_kind kind = list_kind(builder->config, name);

        if (kind.n >= kind.max) {
            char text[64];

            (void)snprintf(text, sizeof(text), "too many: %zu are possible", kind.max);
            config_mistake_at(builder, node->items[i], "", name, text);
            return 0;
        }
        int r = kind.append(builder, node->items[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static int apply_entry(struct config_builder *builder, const char *section,
                       const struct config_node *name, const struct config_node *value,
                       struct config_target *target)
{
    const struct config_key *key;
    char below[128];
    bool is_list;

    if (strcmp(section, "thresholds") == 0)
        return apply_finding(builder, name, value, target);
    if (strpbrk(name->text, ".[]*"))    /* signs of the table */
        return unknown_key(builder, section, name);
    key = config_key_find(section, name->text);
    if (key)
        return config_apply_key(builder, section, name->text, key, value, target);
    if (!config_section_exists(section, name->text, &is_list))
        return unknown_key(builder, section, name);
    if (is_list)
        return apply_list(builder, name->text, value);
    snprintf(below, sizeof(below), "%s%s%s", section, *section ? "." : "", name->text);
    return config_apply_mapping(builder, below, value, target);
}

int config_apply_mapping(struct config_builder *builder, const char *section,
                         const struct config_node *node, struct config_target *target)
{
    if (config_node_is_empty(node) || (node->cut && node->kind == CONFIG_NODE_SCALAR))
        return 0;
    if (node->kind != CONFIG_NODE_MAPPING) {
        mistakes_add(builder->mistakes, node->file, node->line, node->column,
                     "%s: expected a mapping, found %s", *section ? section : "the file",
                     config_node_text(node));
        return 0;
    }
    if (node->n_items > 2 * KEYS_PER_MAPPING_MAX) {
        config_mistake_at(builder, node, *section ? section : "the file", "",
                          "too many keys: 1000 are possible");
        return 0;
    }
    for (size_t i = 0; i + 1 < node->n_items; i += 2) {
        const struct config_node *name = node->items[i], *first = NULL;

        if (name->kind != CONFIG_NODE_SCALAR) {
            mistakes_add(builder->mistakes, name->file, name->line, name->column,
                         "%s: expected the name of a key, found %s",
                         *section ? section : "the file",
                         config_node_text(name));
            continue;
        }
        if (name->cut)
            continue;
        for (size_t j = 0; j < i && !first; j += 2)
            if (node->items[j]->kind == CONFIG_NODE_SCALAR &&
                strcmp(node->items[j]->text, name->text) == 0)
                first = node->items[j];
        if (first) {
            _cleanup_free_ char *quoted = config_node_quote(name);

            mistakes_add(builder->mistakes, name->file, name->line, name->column,
                         "duplicate key %s, first given on line %u",
                         quoted ? quoted : "", first->line);
            continue;
        }
        int r = apply_entry(builder, section, name, node->items[i + 1], target);
        if (r < 0)
            return r;
    }
    return 0;
}

int config_build_file(struct config_builder *builder, const struct config_node *root)
{
    struct config_target target = { .config = builder->config,
                                    .thresholds = &builder->config->policy.thresholds,
                                    .places = builder->places };

    return config_apply_mapping(builder, "", root, &target);
}
