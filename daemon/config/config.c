/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcauditd.yaml and conf.d, read into plain structs; every mistake said with file, line, column and
 * the nearest key. */
#include <errno.h>
#include <string.h>

#include "daemon/config/origin.h"
#include "daemon/config/parse.h"
#include "daemon/core/strv.h"
#include "provenance/family.h"

DEFINE_CLEANUP(struct config *, config_free)

struct config *config_free(struct config *config)
{
    if (!config)
        return NULL;
    for (size_t i = 0; i < config->n_datastores; i++) {
        free(config->datastores[i].name);
        free(config->datastores[i].path);
        strv_free(config->datastores[i].exclude);
        strv_free(config->datastores[i].devices);
    }
    free(config->datastores);
    strv_free(config->libvirt_uris);
    strv_free(config->libvirt_pools);
    strv_free(config->policy.golden);
    for (size_t i = 0; i < config->policy.n_classes; i++) {
        free(config->policy.classes[i].name);
        strv_free(config->policy.classes[i].paths);
    }
    free(config->policy.classes);
    for (size_t i = 0; i < config->policy.n_versions; i++) {
        free(config->policy.versions[i].family);
        free(config->policy.versions[i].train);
        free(config->policy.versions[i].minimum);
    }
    free(config->policy.versions);
    free(config->control_group);
    free(config->metrics_file);
    strv_free(config->files);
    for (size_t i = 0; i < config->n_origins; i++)
        free(config->origins[i].text);
    free(config->origins);
    free(config->alert_exec);
    families_free(config->families);
    free(config);
    return NULL;
}

int config_new(struct config **ret_config)
{
    _cleanup_(config_freep) struct config *config = calloc(1, sizeof(*config));

    if (!config)
        return -ENOMEM;
    int r = config_set_defaults(CONFIG_IN_config, config);
    if (r >= 0)
        r = config_set_defaults(CONFIG_IN_thresholds, &config->policy.thresholds);
    if (r < 0)
        return r;
    *ret_config = TAKE_PTR(config);
    return 0;
}

/* Everything that lives while a configuration is read. */
struct loading {
    struct config_files files;
    struct config_builder builder;
    struct config *config;
};

static void loading_done(struct loading *loading)
{
    config_builder_done(&loading->builder);
    config_files_done(&loading->files);
    config_free(loading->config);
}

static int loading_init(struct loading *loading)
{
    *loading = (struct loading){ 0 };
    int r = config_new(&loading->config);
    if (r >= 0)
        r = config_builder_init(&loading->builder, loading->config, &loading->files.mistakes);
    return r;
}

/* The directory conf.d beside the file at path. */
static int loading_drop_ins(struct loading *loading, const char *path)
{
    _cleanup_free_ char *directory = NULL;
    const char *slash = strrchr(path, '/');

    if (asprintf(&directory, "%.*sconf.d", slash ? (int)(slash - path) + 1 : 0, path) < 0)
        return -ENOMEM;
    return config_files_read_folder(&loading->files, directory);
}

/* The configuration says by them where its values were written. */
static int loading_name_files(struct loading *loading)
{
    char **files = calloc(loading->files.n + 1, sizeof(*files));

    if (!files)
        return -ENOMEM;
    for (size_t i = 0; i < loading->files.n; i++) {
        files[i] = loading->files.names[i];
        loading->files.names[i] = NULL;
    }
    loading->config->files = files;
    for (size_t i = 0; i < loading->config->policy.n_versions; i++) {
        const struct text_place *place = &loading->builder.version_places[i];
        struct policy_version *version = &loading->config->policy.versions[i];

        version->file = files[place->file];
        version->line = place->line;
        version->column = place->column;
    }
    return 0;
}

/* Says the mistakes, or hands the configuration over. */
static int loading_finish(struct loading *loading, config_error_fn error, void *userdata,
                          struct config **ret_config)
{
    int r = 0;

    for (size_t i = 0; r >= 0 && i < loading->files.n; i++)
        if (loading->files.roots[i])
            r = config_build_file(&loading->builder, loading->files.roots[i]);
    if (r >= 0)
        r = config_build_finish(&loading->builder);
    if (r >= 0)
        r = config_files_say(&loading->files, error, userdata);
    if (r >= 0)
        r = loading_name_files(loading);
    if (r < 0)
        return r;
    *ret_config = TAKE_PTR(loading->config);
    return 0;
}

int config_load(const char *path, config_error_fn error, void *userdata, struct config **ret_config)
{
    _cleanup_(loading_done) struct loading loading;

    int r = loading_init(&loading);
    if (r >= 0)
        r = config_files_read(&loading.files, path);
    if (r >= 0 && !loading.files.distrusts)
        r = loading_drop_ins(&loading, path);
    if (r < 0)
        return r;
    return loading_finish(&loading, error, userdata, ret_config);
}

int config_parse(const char *name, const char *bytes, size_t n, config_error_fn error,
                 void *userdata, struct config **ret_config)
{
    _cleanup_(loading_done) struct loading loading;

    int r = loading_init(&loading);
    if (r >= 0)
        r = config_files_parse(&loading.files, name, bytes, n);
    if (r < 0)
        return r;
    return loading_finish(&loading, error, userdata, ret_config);
}
