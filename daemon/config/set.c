/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One key's value: checked by the table's type and range, and written to its field. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "daemon/config/origin.h"
#include "daemon/config/parse.h"
#include "helpers/text.h"
#include "helpers/value.h"

void config_mistake_at(struct config_builder *builder, const struct config_node *node,
                       const char *section, const char *name, const char *text)
{
    mistakes_add(builder->mistakes, node->file, node->line, node->column, "%s%s%s: %s", section,
                 *section && *name ? "." : "", name, text);
}

int config_parse_bool(const char *text)
{
    static const char *const words[2][3] = { { "no", "off", "false" }, { "yes", "on", "true" } };

    for (int value = 0; value < 2; value++)
        for (size_t i = 0; i < ELEMENTSOF(words[value]); i++)
            if (strcmp(words[value][i], text) == 0)
                return value;
    return -EINVAL;
}

static int parse_number(enum config_type type, const char *text, uint64_t *ret,
                        const char **ret_reason)
{
    int r;

    switch (type) {
    case CONFIG_COUNT:
        return value_count(text, ret, ret_reason);
    case CONFIG_DURATION:
        return value_duration(text, ret, ret_reason);
    case CONFIG_SIZE:
        return value_size(text, ret, ret_reason);
    case CONFIG_RATE:
        return value_rate(text, ret, ret_reason);
    case CONFIG_SHARE:
        return value_share(text, ret, ret_reason);
    case CONFIG_WINDOW:
        return value_window(text, ret, ret_reason);
    case CONFIG_DATE:
        return value_date(text, ret, ret_reason);
    case CONFIG_SEVERITY:
        r = severity_from_name(text);
        break;
    default:
        r = config_parse_bool(text);
    }
    if (r < 0) {
        *ret_reason = type == CONFIG_SEVERITY ? "not one of info, warning, error, critical"
                                              : "not yes or no";
        return r;
    }
    *ret = (uint64_t)r;
    return 0;
}

/* By the key's word, type and range. */
static int parse_ranged(const struct config_key *key, const char *text, uint64_t *ret,
                        const char **ret_reason)
{
    const char *word = config_word_name(key->word), *reason;
    uint64_t value, bound;

    if (word && strcmp(text, word) == 0) {
        *ret = config_word_value(key->word);
        return 0;
    }
    int r = parse_number(key->type, text, &value, ret_reason);
    if (r < 0)
        return r;
    if (key->minimum &&
        (parse_number(key->type, key->minimum, &bound, &reason) < 0 || value < bound))
        return -ERANGE;
    if (key->maximum &&
        (parse_number(key->type, key->maximum, &bound, &reason) < 0 || value > bound))
        return -ERANGE;
    *ret = value;
    return 0;
}

static void write_number(const struct config_key *key, void *base, uint64_t value)
{
    void *field = (char *)base + key->offset;

    switch (key->size) {
    case 1:
        *(bool *)field = value;
        break;
    case 4:
        *(uint32_t *)field = (uint32_t)value;
        break;
    default:
        *(uint64_t *)field = value;
    }
}

int config_note_origin(struct config_builder *builder, const struct config_key *key,
                       const struct config_node *node, const struct config_target *target)
{
    struct config *config = builder->config;
    struct config_origin *origins = config->origins;

    if (key->structure == CONFIG_IN_config_datastore)
        return 0;
    if ((config->n_origins & (config->n_origins - 1)) == 0) {
        origins = reallocarray(origins, config->n_origins ? config->n_origins * 2 : 1,
                               sizeof(*origins));
        if (!origins)
            return -ENOMEM;
        config->origins = origins;
    }
    origins[config->n_origins] = (struct config_origin){
        .key = key, .finding = key->type == CONFIG_ENABLED ? target->finding : 0,
        .class = target->class_number, .text = strdup(node->text), .file = node->file,
        .line = node->line, .column = node->column,
    };
    return origins[config->n_origins++].text ? 0 : -ENOMEM;
}

static bool is_number(enum config_type type)
{
    return type <= CONFIG_SEVERITY;
}

static bool has_control_character(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

/* Why text is no name; NULL when it is one. */
static const char *name_reason(const char *text)
{
    if (!*text)
        return "is empty";
    if (strlen(text) > CONFIG_NAME_MAX)
        return "is longer than 64 characters";
    if (*text == '-' || *text == '.')
        return "must not begin with a dash or a dot";
    if (text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")])
        return "may hold letters, digits, dot, underscore and dash only";
    return NULL;
}

/* Why text is no version, or beginning of one. */
static const char *version_reason(const char *text)
{
    if (!*text)
        return "is empty";
    if (strlen(text) > CONFIG_NAME_MAX)
        return "is longer than 64 characters";
    if (has_control_character(text))
        return "must not hold control characters";
    if (!strpbrk(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"))
        return "holds neither a digit nor a letter";
    return NULL;
}

/* Writes path to clean (as long as path) without empty and "." components; says why it cannot be a
 * datastore. */
static const char *path_clean(const char *path, char *clean)
{
    char *end = clean;

    if (!*path)
        return "is empty";
    if (*path != '/')
        return "must be absolute";
    if (strlen(path) >= PATH_MAX)
        return "is longer than a path can be";
    if (has_control_character(path))
        return "must not hold control characters";
    for (const char *part = path; *part;) {
        size_t length = strcspn(++part, "/");

        if (length == 2 && strncmp(part, "..", 2) == 0)
            return "must not contain \"..\"";
        if (length > 0 && !(length == 1 && *part == '.')) {
            *end++ = '/';
            end = mempcpy(end, part, length);
        }
        part += length;
    }
    *end = 0;
    if (!*clean)
        return "must not be the root of all file systems";
    if (strncmp(clean, "/proc/", 6) == 0 || strncmp(clean, "/sys/", 5) == 0 ||
        strcmp(clean, "/proc") == 0 || strcmp(clean, "/sys") == 0)
        return "must not be in /proc or /sys";
    return NULL;
}

static const char *pattern_reason(const char *text)
{
    if (!*text)
        return "is empty";
    if (*text != '/' && *text != '*')
        return "must begin with / or *, since it is compared with absolute paths";
    if (strlen(text) >= PATH_MAX)
        return "is longer than a path can be";
    return NULL;
}

/* Why text is no URI of a libvirt on this host. */
static const char *uri_reason(const char *text)
{
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789");

    if (strncmp(text + n, "+unix", 5) == 0)
        n += 5;
    if (n == 0 || strncmp(text + n, ":///", 4) != 0)
        return "is not of this host: expected something like qemu:///system";
    if (strlen(text) >= PATH_MAX || has_control_character(text))
        return "is too long, or holds control characters";
    return NULL;
}

static const char *pool_reason(const char *text)
{
    return !*text ? "is empty" : strlen(text) > NAME_MAX ? "is longer than a name can be" : NULL;
}

/* Why text is no pattern of what is left out of a datastore. */
static const char *exclude_reason(const char *text)
{
    if (!*text)
        return "is empty";
    if (*text == '/')
        return "must not begin with /, since it is compared with paths relative to the datastore";
    if (strlen(text) >= PATH_MAX)
        return "is longer than a path can be";
    if (has_control_character(text))
        return "must not hold control characters";
    if (text[strlen(text) - 1] == '/')
        return "must not end with /: a folder is left out with all that is below it";
    if (strcmp(text, "*") == 0 || strcmp(text, "**") == 0)
        return "would leave out everything";
    for (const char *part = text; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || !part[2]))
            return "must not contain \"..\"";
    }
    return NULL;
}

static const char *device_reason(const char *text)
{
    if (strncmp(text, "/dev/", 5) != 0 || !text[5])
        return "must begin with /dev/ and name a device there";
    if (strlen(text) >= PATH_MAX || has_control_character(text))
        return "is too long, or holds control characters";
    return NULL;
}

static bool is_patterns(enum config_type type)
{
    return type == CONFIG_PATTERNS || type == CONFIG_EXCLUDES || type == CONFIG_DEVICES;
}

struct list_type {
    const char *item;           /* what one of its items is called */
    const char *items;
    const char *(*reason)(const char *text);
    size_t max;
};

/* Appends a list's items to what other files said. *list is NULL, or NULL-ended. */
static int apply_list(struct config_builder *builder, const char *section, const char *name,
                      const struct config_key *key, const struct config_node *node,
                      const struct list_type *type, const struct config_target *target,
                      char ***list)
{
    size_t n = 0;

    if (node->kind != CONFIG_NODE_LIST) {
        mistakes_add(builder->mistakes, node->file, node->line, node->column,
                     "%s.%s: expected %s, found %s", section, name, type->items,
                     config_node_text(node));
        return 0;
    }
    while (*list && (*list)[n])
        n++;
    if (n + node->n_items > type->max) {
        mistakes_add(builder->mistakes, node->file, node->line, node->column,
                     "%s.%s: too many %ss: %zu are possible", section, name, type->item, type->max);
        return 0;
    }
    char **grown = reallocarray(*list, n + node->n_items + 1, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    *list = grown;
    grown[n] = NULL;
    for (size_t i = 0; i < node->n_items; i++) {
        const struct config_node *item = node->items[i];

        if (item->kind != CONFIG_NODE_SCALAR) {
            mistakes_add(builder->mistakes, item->file, item->line, item->column,
                         "%s.%s: expected a %s, found %s", section, name, type->item,
                         config_node_text(item));
            continue;
        }
        const char *reason = item->cut ? NULL : type->reason(item->text);
        if (reason) {
            _cleanup_free_ char *quoted = config_node_quote(item);

            mistakes_add(builder->mistakes, item->file, item->line, item->column,
                         "%s.%s: the %s %s %s", section, name, type->item, quoted ? quoted : "",
                         reason);
            continue;
        }
        grown[n] = strdup(item->text);
        if (!grown[n])
            return -ENOMEM;
        grown[++n] = NULL;
        int r = config_note_origin(builder, key, item, target);
        if (r < 0)
            return r;
    }
    return 0;
}

static void list_clear(char ***list)
{
    for (size_t i = 0; *list && (*list)[i]; i++)
        free((*list)[i]);
    free(*list);
    *list = NULL;
}

/* Nothing that was written of the key until now is in force any more. */
static void drop_origins(struct config *config, const struct config_key *key)
{
    size_t n = 0;

    for (size_t i = 0; i < config->n_origins; i++)
        if (config->origins[i].key == key)
            free(config->origins[i].text);
        else
            config->origins[n++] = config->origins[i];
    config->n_origins = n;
}

/* "all" and "none" replace what was said before; names are added to names, and replace those. */
static int apply_pools(struct config_builder *builder, const char *section, const char *name,
                       const struct config_key *key, const struct config_node *node,
                       const struct config_target *target, char ***list)
{
    static const struct list_type type = { "pool", "all, none, or a list of names", pool_reason,
                                           4096 };
    bool all = node->kind == CONFIG_NODE_SCALAR && strcmp(node->text, "all") == 0;
    bool none = node->kind == CONFIG_NODE_SCALAR && strcmp(node->text, "none") == 0;

    if (!all && !none) {
        if ((!*list || !**list) && node->kind == CONFIG_NODE_LIST && node->n_items > 0)
            drop_origins(builder->config, key);
        return apply_list(builder, section, name, key, node, &type, target, list);
    }
    list_clear(list);
    drop_origins(builder->config, key);
    if (none)
        *list = calloc(1, sizeof(**list));
    return none && !*list ? -ENOMEM : config_note_origin(builder, key, node, target);
}

static void *base_of(const struct config_target *target, enum config_structure structure)
{
    switch (structure) {
    case CONFIG_IN_config_datastore:
        return target->datastore;
    case CONFIG_IN_policy_class:
        return target->class;
    case CONFIG_IN_policy_version:
        return target->version;
    case CONFIG_IN_thresholds:
        return target->thresholds;
    default:
        return target->config;
    }
}

static int apply_text(struct config_builder *builder, const char *section, const char *name,
                      const struct config_key *key, const struct config_node *node,
                      struct config_target *target)
{
    char **field = (char **)(void *)((char *)base_of(target, key->structure) + key->offset);
    struct text_place *place = key->type == CONFIG_PATH   ? target->path_place
                               : key->type == CONFIG_NAME ? target->name_place : NULL;
    _cleanup_free_ char *text = strdup(node->text);

    if (!text)
        return -ENOMEM;
    const char *reason = key->type == CONFIG_NAME      ? name_reason(node->text)
                         : key->type == CONFIG_VERSION ? version_reason(node->text)
                         : key->word == CONFIG_WORD_OFF && strcmp(text, "off") == 0
                             ? NULL : path_clean(node->text, text);
    if (reason) {
        _cleanup_free_ char *quoted = config_node_quote(node);

        mistakes_add(builder->mistakes, node->file, node->line, node->column, "%s.%s: %s %s",
                     section, name, quoted ? quoted : "", reason);
        return 0;
    }
    free(*field);
    *field = TAKE_PTR(text);
    if (place)
        *place = (struct text_place){ node->file, node->line, node->column };
    return config_note_origin(builder, key, node, target);
}

static int apply_number(struct config_builder *builder, const char *section, const char *name,
                        const struct config_key *key, const struct config_node *node,
                        struct config_target *target)
{
    _cleanup_free_ char *quoted = config_node_quote(node);
    const char *word = config_word_name(key->word), *reason = "";
    uint64_t value;

    if (!quoted)
        return -ENOMEM;
    if (!node->plain && (key->type == CONFIG_BOOL || key->type == CONFIG_COUNT)) {
        mistakes_add(builder->mistakes, node->file, node->line, node->column,
                     "%s.%s: expected %s, found the text %s: write it without quotes",
                     section, name,
                     config_type_text(key->type), quoted);
        return 0;
    }
    int r = parse_ranged(key, node->text, &value, &reason);
    if (r == -ENOMEM)
        return r;
    if (r == -ERANGE)
        mistakes_add(builder->mistakes, node->file, node->line, node->column,
                     "%s.%s: %s is out of range: %s to %s%s%s", section, name, quoted,
                     key->minimum ? key->minimum : "0", key->maximum ? key->maximum : "2^64",
                     word ? ", or " : "", word ? word : "");
    else if (r < 0)
        mistakes_add(builder->mistakes, node->file, node->line, node->column, "%s.%s: %s: %s%s%s",
                     section, name, quoted, reason, word ? ", or " : "", word ? word : "");
    if (r < 0)
        return 0;
    write_number(key, base_of(target, key->structure), value);
    if (key->structure == CONFIG_IN_thresholds)
        target->places[key - config_keys] = (struct text_place){ node->file, node->line,
                                                                 node->column };
    return config_note_origin(builder, key, node, target);
}

int config_apply_key(struct config_builder *builder, const char *section, const char *name,
                     const struct config_key *key, const struct config_node *node,
                     struct config_target *target)
{
    if (node->cut && node->kind == CONFIG_NODE_SCALAR)
        return 0;
    if (is_patterns(key->type) || key->type == CONFIG_URIS || key->type == CONFIG_POOLS) {
        static const struct list_type patterns = { "pattern", "a list of patterns", pattern_reason,
                                                   CONFIG_PATTERNS_MAX };
        static const struct list_type excludes = { "pattern", "a list of patterns", exclude_reason,
                                                   256 };
        static const struct list_type devices = { "pattern", "a list of patterns of devices",
                                                  device_reason, 256 };
        static const struct list_type uris = { "URI", "a list of libvirt's URIs", uri_reason, 16 };
        char ***list = (char ***)(void *)((char *)base_of(target, key->structure) + key->offset);

        if (key->type == CONFIG_POOLS)
            return apply_pools(builder, section, name, key, node, target, list);
        if (is_patterns(key->type) && config_node_is_empty(node))
            return 0;
        return apply_list(builder, section, name, key, node,
                          key->type == CONFIG_URIS ? &uris :
                          key->type == CONFIG_EXCLUDES ? &excludes :
                          key->type == CONFIG_DEVICES ? &devices : &patterns, target, list);
    }
    if (key->type == CONFIG_THRESHOLDS) {
        /* Read at the end: what a class does not say is as the general thresholds of all files. */
        target->thresholds_node = node;
        return 0;
    }
    if (node->kind != CONFIG_NODE_SCALAR || config_node_is_empty(node)) {
        mistakes_add(builder->mistakes, node->file, node->line, node->column,
                     "%s.%s: expected %s, found %s", section, name, config_type_text(key->type),
                     config_node_text(node));
        return 0;
    }
    if (key->type == CONFIG_ENABLED) {
        int enabled = node->plain ? config_parse_bool(node->text) : -EINVAL;

        if (enabled < 0)
            config_mistake_at(builder, node, section, name, "expected yes or no");
        else
            target->thresholds->disabled[target->finding] = !enabled;
        return enabled < 0 ? 0 : config_note_origin(builder, key, node, target);
    }
    return is_number(key->type) ? apply_number(builder, section, name, key, node, target)
                                : apply_text(builder, section, name, key, node, target);
}

int config_set_defaults(enum config_structure structure, void *base)
{
    for (const struct config_key *key = config_keys; key < config_keys + config_keys_count; key++) {
        void *field = (char *)base + key->offset;
        const char *reason;
        uint64_t value;

        if (key->structure != structure || key->type == CONFIG_ENABLED)
            continue;
        if (is_number(key->type)) {
            int r = parse_ranged(key, key->fallback, &value, &reason);
            if (r < 0)
                return r;
            write_number(key, base, value);
        } else if (is_patterns(key->type)) {
            *(char ***)field = calloc(1, sizeof(char *));
            if (!*(char ***)field)
                return -ENOMEM;
        } else if ((key->type == CONFIG_NAME || key->type == CONFIG_VERSION ||
                    key->type == CONFIG_PATH) && key->fallback && *key->fallback) {
            *(char **)field = strdup(key->fallback);
            if (!*(char **)field)
                return -ENOMEM;
        }
    }
    return 0;
}
