/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The checks that need all files to be read: names, overlaps, classes, steps. */
#include <errno.h>
#include <string.h>

#include "daemon/config/origin.h"
#include "daemon/config/parse.h"
#include "helpers/path.h"
#include "helpers/text.h"
#include "provenance/version.h"

/* warning, error and critical of one measure must not cross; said where the last of them was
 * written. */
static void check_steps(struct config_builder *builder, const struct thresholds *thresholds,
                        const struct text_place *places)
{
    for (size_t i = 0; i + 2 < config_keys_count; i++) {
        static const char *const names[] = { "warning", "error", "critical" };
        size_t length = strlen(config_keys[i].name);
        uint64_t steps[3];
        int lower = -1;

        if (config_keys[i].structure != CONFIG_IN_thresholds || length < 8 ||
            strcmp(config_keys[i].name + length - 8, ".warning") != 0)
            continue;
        memcpy(steps, (const char *)thresholds + config_keys[i].offset, sizeof(steps));
        for (int step = 0; step < 3; step++) {
            if (steps[step] == UINT64_MAX)
                continue;
            if (lower >= 0 && steps[lower] > steps[step]) {
                const struct text_place *a = &places[i + (size_t)lower],
                                        *b = &places[i + (size_t)step];
                const struct text_place *last = b->line == 0 ||
                                                        (a->line > 0 && (a->file > b->file ||
                                                                         (a->file == b->file &&
                                                                          a->line > b->line)))
                                                    ? a
                                                    : b;

                if (last->line > 0)
                    mistakes_add(builder->mistakes, last->file, last->line, last->column,
                                 "%.*s: %s is higher than %s",
                                 (int)length - 8, config_keys[i].name, names[lower],
                                 names[step]);
            }
            lower = step;
        }
    }
}

static int finish_classes(struct config_builder *builder)
{
    struct policy *policy = &builder->config->policy;

    for (size_t i = 0; i < policy->n_classes; i++) {
        struct policy_class *class = &policy->classes[i];
        _cleanup_free_ struct text_place *places = calloc(config_keys_count, sizeof(*places));
        struct config_target target = { .config = builder->config,
                                        .thresholds = &class->thresholds,
                                        .class_number = i + 1,
                                        .places = places };

        if (!places)
            return -ENOMEM;
        class->thresholds = policy->thresholds;
        if (builder->class_nodes[i]) {
            int r = config_apply_mapping(builder, "thresholds", builder->class_nodes[i], &target);
            if (r < 0)
                return r;
        }
        check_steps(builder, &class->thresholds, places);
        for (size_t j = 0; j < i && class->name; j++)
            if (policy->classes[j].name && strcmp(policy->classes[j].name, class->name) == 0) {
                const struct text_place *place = &builder->class_places[i];

                mistakes_add(builder->mistakes, place->file, place->line, place->column,
                             "classes[].name: there is a class \"%s\" already", class->name);
                break;
            }
    }
    return 0;
}

/* Two entries of one train would contradict each other. */
static void check_versions(struct config_builder *builder)
{
    const struct policy *policy = &builder->config->policy;

    for (size_t i = 0; i < policy->n_versions; i++) {
        const struct policy_version *version = &policy->versions[i];

        for (size_t j = 0; j < i && version->family; j++) {
            const struct policy_version *other = &policy->versions[j];
            const struct text_place *place = &builder->version_places[i];

            if (!other->family || strcmp(other->family, version->family) != 0 ||
                !version_same_train(other->train, version->train))
                continue;
            _cleanup_free_ char *train = text_escape_string(version->train);
            mistakes_add(builder->mistakes, place->file, place->line, place->column,
                         "versions[]: there is an entry for \"%s\" of %s already",
                         train ? train : "", version->family);
            break;
        }
    }
}

static int check_overlap(struct config_builder *builder, const struct config_datastore *first,
                         const struct config_datastore *second, const struct text_place *place)
{
    const struct config_datastore *outer, *inner;

    if (path_is_below(second->path, first->path))
        outer = first, inner = second;
    else if (path_is_below(first->path, second->path))
        outer = second, inner = first;
    else
        return 0;
    bool same = strcmp(first->path, second->path) == 0;
    if (!same && !outer->recursive)
        return 0;
    _cleanup_free_ char *inner_path = text_escape_string(inner->path),
                        *outer_path = text_escape_string(outer->path);
    if (!inner_path || !outer_path)
        return -ENOMEM;
    if (same)
        mistakes_add(builder->mistakes, place->file, place->line, place->column,
                     "datastores[].path: \"%s\" is a datastore already", inner_path);
    else
        mistakes_add(builder->mistakes, place->file, place->line, place->column,
                     "datastores[].path: \"%s\" lies inside \"%s\", which is searched with all its "
                     "subdirectories",
                     inner_path, outer_path);
    return 0;
}

/* The last component, or all of the path, as a name. */
static char *name_from_path(const char *path, bool whole)
{
    char *name = strdup(whole ? path + 1 : strrchr(path, '/') + 1);

    if (!name)
        return NULL;
    if (strlen(name) > CONFIG_NAME_MAX - 4)
        memmove(name, name + strlen(name) - (CONFIG_NAME_MAX - 4), CONFIG_NAME_MAX - 4 + 1);
    for (char *c = name; *c; c++)
        if (*c == '/')
            *c = '-';
        else if (c == name && (*c == '-' || *c == '.'))
            *c = '_';
        else if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", *c))
            *c = '_';
    return name;
}

static bool name_taken(const struct config *config, size_t but, const char *name)
{
    for (size_t i = 0; i < config->n_datastores; i++)
        if (i != but && config->datastores[i].name && strcmp(config->datastores[i].name, name) == 0)
            return true;
    return false;
}

/* A name must not depend on the order of the datastores: of two called "images" neither gets that
 * name. */
static int name_datastores(struct config *config)
{
    size_t n = config->n_datastores;
    _cleanup_free_ bool *unnamed = calloc(n ? n : 1, sizeof(*unnamed)),
                        *shared = calloc(n ? n : 1, sizeof(*shared));

    if (!unnamed || !shared)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct config_datastore *datastore = &config->datastores[i];

        unnamed[i] = !datastore->name;
        if (unnamed[i] && !(datastore->name = name_from_path(datastore->path, false)))
            return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++)
        shared[i] = unnamed[i] && name_taken(config, i, config->datastores[i].name);
    for (size_t i = 0; i < n; i++) {
        struct config_datastore *datastore = &config->datastores[i];

        if (!shared[i])
            continue;
        free(datastore->name);
        datastore->name = name_from_path(datastore->path, true);
        if (!datastore->name)
            return -ENOMEM;
        size_t length = strlen(datastore->name);
        for (unsigned number = 2; name_taken(config, i, datastore->name); number++) {
            char *numbered;

            if (asprintf(&numbered, "%.*s-%u", (int)length, datastore->name, number) < 0)
                return -ENOMEM;
            free(datastore->name);
            datastore->name = numbered;
        }
    }
    return 0;
}

static int finish_datastores(struct config_builder *builder)
{
    struct config *config = builder->config;
    bool complete = true;

    for (size_t i = 0; i < config->n_datastores; i++) {
        const struct config_datastore *datastore = &config->datastores[i];
        const struct text_place *places = &builder->datastore_places[2 * i];
        bool name_said = false;

        complete = complete && datastore->path;
        for (size_t j = 0; j < i; j++) {
            if (datastore->path && config->datastores[j].path) {
                size_t before = builder->mistakes->n_items + builder->mistakes->n_more;
                int r = check_overlap(builder, &config->datastores[j], datastore, &places[0]);
                if (r < 0)
                    return r;
                if (before != builder->mistakes->n_items + builder->mistakes->n_more) {
                    complete = false;
                    break;
                }
            }
            if (!name_said && datastore->name && config->datastores[j].name &&
                strcmp(datastore->name, config->datastores[j].name) == 0) {
                mistakes_add(builder->mistakes, places[1].file, places[1].line, places[1].column,
                             "datastores[].name: there is a datastore \"%s\" already",
                             datastore->name);
                name_said = true;
            }
        }
    }
    return complete ? name_datastores(config) : 0;
}

bool config_wants_metrics(const struct config *config)
{
    return !config->metrics_file || strcmp(config->metrics_file, "off") != 0;
}

/* The daemon writes it, so it must lie where no image does, and be seen by the collector. */
static void check_metrics(struct config_builder *builder)
{
    const struct config *config = builder->config;
    const struct config_key *key = config_key_find("metrics", "file");
    const struct config_origin *place = config_origin_of(config, key);
    size_t length = config->metrics_file ? strlen(config->metrics_file) : 0;

    if (!config->metrics_file || !config_wants_metrics(config))
        return;
    if (length < 6 || strcmp(config->metrics_file + length - 5, ".prom") != 0 ||
        config->metrics_file[length - 6] == '/')
        mistakes_add(builder->mistakes, place->file, place->line, place->column,
                     "metrics.file: the name must end in .prom, as node_exporter reads no other");
    for (size_t i = 0; i < config->n_datastores; i++)
        if (config->datastores[i].path &&
            path_is_below(config->metrics_file, config->datastores[i].path)) {
            mistakes_add(builder->mistakes, place->file, place->line, place->column,
                         "metrics.file: lies in a datastore, and nothing is ever written there");
            break;
        }
}

uint64_t config_delay(const struct config *config)
{
    uint64_t most = config->audit_interval / 2;

    return most > 0 && most < config->delay ? most : config->delay;
}

int config_build_finish(struct config_builder *builder)
{
    check_steps(builder, &builder->config->policy.thresholds, builder->places);
    int r = finish_classes(builder);
    if (r < 0)
        return r;
    check_versions(builder);
    check_metrics(builder);
    return finish_datastores(builder);
}
