/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An image's class in the configuration and why, and every setting that holds for it with the place
 * where it was written. */
#include <errno.h>
#include <string.h>

#include "daemon/config/config.h"
#include "daemon/control/query-internal.h"
#include "provenance/family.h"

#define THRESHOLDS "thresholds."

/* PREFIXfile and PREFIXline; nothing of a default. */
static void put_place(struct row *row, const char *prefix, const struct config_setting *setting)
{
    char key[32];

    if (!setting->file)
        return;
    (void)snprintf(key, sizeof(key), "%sfile", prefix);
    row_string(row, key, setting->file);
    (void)snprintf(key, sizeof(key), "%sline", prefix);
    row_number(row, key, setting->line);
}

static int setting_row(json_object *rows, const char *name, const struct config_setting *setting)
{
    struct row row;

    row_begin(&row);
    row_string(&row, "name", name);
    row_string(&row, "value", setting->value);
    row_bool(&row, "default", !setting->file);
    row_string(&row, "class", setting->class);
    put_place(&row, "", setting);
    return rows_end(rows, &row);
}

static const char *matching(char *const *patterns, const char *path)
{
    for (; patterns && *patterns; patterns++)
        if (policy_pattern_matches(*patterns, path))
            return *patterns;
    return NULL;
}

/* The finding whose threshold it is; -1: it is none. */
static int finding_of(const struct config_key *key)
{
    const char *name = key->name + strlen(THRESHOLDS);
    char finding[64];

    if (key->structure != CONFIG_IN_thresholds || key->type == CONFIG_ENABLED)
        return -1;
    (void)snprintf(finding, sizeof(finding), "%.*s", (int)strcspn(name, "."), name);
    return finding_type_from_name(finding);
}

/* To an image, or to the domain that has it. */
static bool finding_matters(enum finding_type finding)
{
    enum finding_about about = finding_definition(finding)->about;

    return about != ABOUT_DATASTORE && about != ABOUT_DAEMON;
}

static bool is_of_image(const struct config_key *key)
{
    static const char *const names[] = {
        "golden.infer", "intervals.audit", "intervals.debounce", "intervals.rest", "scrub.golden",
        "scrub.parents", "scrub.parents-after", "classes[].memory",
    };
    int finding = finding_of(key);

    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (strcmp(names[i], key->name) == 0)
            return true;
    return finding >= 0 && finding_matters((enum finding_type)finding);
}

static bool is_list(const struct config_key *key)
{
    return key->type == CONFIG_PATTERNS || key->type == CONFIG_URIS || key->type == CONFIG_POOLS;
}

/* Each entry that was written, in its order; the default where there is none. */
static int list_rows(const struct config *config, const struct config_key *key, json_object *rows)
{
    bool any = false;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < config->n_origins; i++) {
        const struct config_origin *origin = &config->origins[i];
        struct config_setting setting = { .value = origin->text, .line = origin->line };

        if (origin->key != key)
            continue;
        setting.file = config->files[origin->file];
        any = true;
        r = setting_row(rows, key->name, &setting);
    }
    if (any || r < 0)
        return r;
    return setting_row(rows, key->name, &(struct config_setting){ .value = key->fallback });
}

/* Findings that are switched on or off; all others are on. */
static int enabled_rows(const struct config *config, const struct config_key *key, bool all,
                        size_t class, json_object *rows)
{
    int r = 0;

    for (int finding = 0; r >= 0 && finding < _FINDING_MAX; finding++) {
        struct config_setting setting = config_setting_of(config, key, finding, class);
        char name[80];

        (void)snprintf(name, sizeof(name), THRESHOLDS "%s.enabled",
                       finding_definition((enum finding_type)finding)->name);
        if (setting.file && (all || finding_matters((enum finding_type)finding)))
            r = setting_row(rows, name, &setting);
    }
    return r;
}

/* Entries of the policy on versions, called by family and train; of an image, those of its family,
 * whose train is that of its version. */
static int version_rows(const struct config *config, const char *path, json_object *rows)
{
    struct family_match match = { .verdict = FAMILY_UNKNOWN };
    int r = 0;

    if (path && config->families)
        family_identify(config->families, path, &match);
    for (size_t i = 0; r >= 0 && i < config->n_origins; i++) {
        const struct config_origin *origin = &config->origins[i];
        struct config_setting setting = { .value = origin->text, .line = origin->line };
        const struct policy_version *version;
        char name[256];

        if (origin->key->structure != CONFIG_IN_policy_version)
            continue;
        version = &config->policy.versions[origin->class - 1];
        const char *member = strchr(origin->key->name, '.');
        if (strcmp(member, ".family") == 0 || strcmp(member, ".train") == 0 ||
            (path && (match.verdict != FAMILY_KNOWN || !match.version[0] ||
                      strcmp(match.families[0]->name, version->family) != 0 ||
                      version_in_train(version->train, match.version) < 0)))
            continue;
        setting.file = config->files[origin->file];
        (void)snprintf(name, sizeof(name), "versions[%s, %s]%s", version->family, version->train,
                       member);
        r = setting_row(rows, name, &setting);
    }
    return r;
}

/* path: of an image; NULL: all. */
static int settings_rows(const struct config *config, const char *path, size_t class,
                         json_object **ret_rows)
{
    const bool all = !path;
    _cleanup_(json_object_putp) json_object *rows = json_object_new_array();
    int r = rows ? 0 : -ENOMEM;

    for (size_t i = 0; r >= 0 && i < config_keys_count; i++) {
        const struct config_key *key = &config_keys[i];
        struct config_setting setting;

        if (key->type == CONFIG_ENABLED)
            r = enabled_rows(config, key, all, class, rows);
        else if (key->structure == CONFIG_IN_config_datastore ||
                 key->structure == CONFIG_IN_policy_version ||
                 (key->structure == CONFIG_IN_policy_class && (all || class == 0)) ||
                 (!all && !is_of_image(key)))
            continue;
        else if (is_list(key))
            r = list_rows(config, key, rows);
        else {
            setting = config_setting_of(config, key, 0, class);
            r = setting_row(rows, key->name, &setting);
        }
    }
    if (r >= 0)
        r = version_rows(config, path, rows);
    if (r >= 0)
        *ret_rows = TAKE_PTR(rows);
    return r;
}

static void put_class(const struct config *config, const char *path, size_t class, struct row *row)
{
    const struct policy_class *mine = &config->policy.classes[class - 1];
    const char *pattern = matching(mine->paths, path);
    struct config_setting name = config_setting_of(config, config_key_find("classes[]", "name"), 0,
                                                   class);
    struct config_setting why = config_entry_of(config, config_key_find("classes[]", "paths"),
                                                class, pattern);

    row_string(row, "class", mine->name);
    put_place(row, "class-", &name);
    row_string(row, "pattern", pattern);
    put_place(row, "pattern-", &why);
}

static void put_golden(const struct query_view *view, const struct image *image, const char *path,
                       struct row *row)
{
    const struct relation *relation = image ? graph_relation(view->graph, image) : NULL;
    const char *pattern = matching(view->policy->golden, path);
    struct config_setting why;

    if (pattern) {
        why = config_entry_of(view->config, config_key_find("golden", "patterns"), 0, pattern);
        row_string(row, "golden", "policy");
        row_string(row, "golden-pattern", pattern);
        put_place(row, "golden-", &why);
    } else if (relation && relation->golden)
        row_string(row, "golden", relation->golden_inferred ? "inferred" : "policy");
}

int query_policy(const struct query_view *view, const struct asked *asked, json_object **ret_entry,
                 char **ret_next)
{
    const bool all = strcmp(asked->path, "/") == 0;
    const struct image *image = all ? NULL : view_find_called(view, asked->path);
    const char *path = image ? image->path : asked->path;
    const struct policy_class *class;
    json_object *settings = NULL;
    size_t number;
    struct row row;
    int r;

    if (!view->config)
        return -EOPNOTSUPP;
    class = all ? NULL : policy_class_of(&view->config->policy, path);
    number = class ? (size_t)(class - view->config->policy.classes) + 1 : 0;
    row_begin(&row);
    if (!all) {
        row_string(&row, "path", path);
        row_bool(&row, "known", image);
        if (class)
            put_class(view->config, path, number, &row);
        put_golden(view, image, path, &row);
    }
    r = settings_rows(view->config, all ? NULL : path, number, &settings);
    row_result(&row, "settings", r, settings);
    return row_end(&row, ret_entry);
}
