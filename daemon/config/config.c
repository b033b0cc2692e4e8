/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qcauditd.yaml and conf.d, read into plain structs; every mistake said with file, line, column and
 * the nearest key. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/config/origin.h"
#include "daemon/config/parse.h"
#include "daemon/config/trust.h"
#include "daemon/core/strv.h"
#include "helpers/text.h"

#define CONFIG_FILES_MAX 1000

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
    free(config->control_group);
    free(config->metrics_file);
    strv_free(config->files);
    for (size_t i = 0; i < config->n_origins; i++)
        free(config->origins[i].text);
    free(config->origins);
    free(config->alert_exec);
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
    struct mistakes mistakes;
    struct config_builder builder;
    struct config *config;
    char **files;               /* names, for the messages */
    struct config_node **roots; /* as many; an entry may be NULL */
    size_t n_files;
    bool distrusts;             /* others may change a file or folder */
};

static void loading_done(struct loading *loading)
{
    config_builder_done(&loading->builder);
    mistakes_done(&loading->mistakes);
    config_free(loading->config);
    for (size_t i = 0; i < loading->n_files; i++) {
        free(loading->files[i]);
        config_node_free(loading->roots[i]);
    }
    free(loading->files);
    free(loading->roots);
}

static int loading_init(struct loading *loading)
{
    *loading = (struct loading){ 0 };
    int r = config_new(&loading->config);
    if (r >= 0)
        r = config_builder_init(&loading->builder, loading->config, &loading->mistakes);
    return r;
}

/* Takes note of a file; its index is n_files - 1 then. */
static int loading_add_file(struct loading *loading, const char *name)
{
    char **files = reallocarray(loading->files, loading->n_files + 1, sizeof(*files));
    if (!files)
        return -ENOMEM;
    loading->files = files;
    struct config_node **roots = reallocarray(loading->roots, loading->n_files + 1, sizeof(*roots));
    if (!roots)
        return -ENOMEM;
    loading->roots = roots;
    roots[loading->n_files] = NULL;
    files[loading->n_files] = strdup(name);
    if (!files[loading->n_files])
        return -ENOMEM;
    loading->n_files++;
    return 0;
}

static int loading_parse(struct loading *loading, const char *bytes, size_t n)
{
    unsigned file = (unsigned)loading->n_files - 1;

    int r = config_tree_read(bytes, n, file, &loading->mistakes, &loading->roots[file]);
    if (r < 0 || !loading->roots[file])
        return r;
    return config_build_file(&loading->builder, loading->roots[file]);
}

/* Reads a regular file of at most one byte more than is allowed: that one is found too large by the
 * parser. */
static int read_file(const char *path, char **ret_bytes, size_t *ret_n)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    _cleanup_free_ char *bytes = NULL;
    struct stat st;
    size_t n = 0;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    if (!S_ISREG(st.st_mode))
        return -EBADFD;
    bytes = malloc(CONFIG_FILE_MAX + 1);
    if (!bytes)
        return -ENOMEM;
    while (n < CONFIG_FILE_MAX + 1) {
        ssize_t r = read(fd, bytes + n, CONFIG_FILE_MAX + 1 - n);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (r == 0)
            break;
        n += (size_t)r;
    }
    *ret_bytes = TAKE_PTR(bytes);
    *ret_n = n;
    return 0;
}

/* 1, or 0 where others may change it, and that was said. */
static int loading_trusts(struct loading *loading, const char *path, bool folder)
{
    _cleanup_free_ char *who = NULL;
    int r = config_trust(path, folder, &who);

    if (r != -EPERM)
        return r < 0 ? r : 1;
    r = loading_add_file(loading, path);
    if (r < 0)
        return r;
    mistakes_add(&loading->mistakes, (unsigned)loading->n_files - 1, 0, 0, "not read: %s", who);
    loading->distrusts = true;
    return 0;
}

static int loading_file(struct loading *loading, const char *path)
{
    _cleanup_free_ char *bytes = NULL;
    size_t n = 0;

    int r = loading_trusts(loading, path, false);
    if (r <= 0)
        return r;
    r = loading_add_file(loading, path);
    if (r < 0)
        return r;
    r = read_file(path, &bytes, &n);
    if (r == -ENOMEM)
        return r;
    if (r < 0) {
        mistakes_add(&loading->mistakes, (unsigned)loading->n_files - 1, 0, 0, "cannot read it: %s",
                     r == -EBADFD ? "Not a regular file" : strerror(-r));
        return 0;
    }
    return loading_parse(loading, bytes, n);
}

static int is_drop_in(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);

    return entry->d_name[0] != '.' && length > 5 &&
           strcmp(entry->d_name + length - 5, ".yaml") == 0;
}

static int order_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* The directory conf.d beside the file at path. */
static int loading_drop_ins(struct loading *loading, const char *path)
{
    _cleanup_free_ char *directory = NULL;
    struct dirent **entries = NULL;
    const char *slash = strrchr(path, '/');
    int n, r;

    if (asprintf(&directory, "%.*sconf.d", slash ? (int)(slash - path) + 1 : 0, path) < 0)
        return -ENOMEM;
    r = loading_trusts(loading, directory, true);
    if (r <= 0)
        return r;
    r = 0;
    n = scandir(directory, &entries, is_drop_in, order_bytes);
    if (n < 0 && (errno == ENOENT || errno == ENOMEM))
        return errno == ENOENT ? 0 : -ENOMEM;
    if (n < 0 || n > CONFIG_FILES_MAX) {
        int error = n < 0 ? errno : E2BIG;

        r = loading_add_file(loading, directory);
        if (r >= 0)
            mistakes_add(&loading->mistakes, (unsigned)loading->n_files - 1, 0, 0,
                         "cannot read it: %s",
                         error == E2BIG ? "more than 1000 files" : strerror(error));
    }
    for (int i = 0; i < n; i++) {
        _cleanup_free_ char *file = NULL;

        if (n <= CONFIG_FILES_MAX && r >= 0)
            r = asprintf(&file, "%s/%s", directory, entries[i]->d_name) < 0
                    ? -ENOMEM
                    : loading_file(loading, file);
        free(entries[i]);
    }
    free(entries);
    return r;
}

/* The configuration says by them where its values were written. */
static int loading_name_files(struct loading *loading)
{
    char **files = calloc(loading->n_files + 1, sizeof(*files));

    if (!files)
        return -ENOMEM;
    for (size_t i = 0; i < loading->n_files; i++) {
        files[i] = loading->files[i];
        loading->files[i] = NULL;
    }
    loading->config->files = files;
    return 0;
}

/* Says the mistakes, or hands the configuration over. */
static int loading_finish(struct loading *loading, config_error_fn error, void *userdata,
                          struct config **ret_config)
{
    struct mistakes *mistakes = &loading->mistakes;

    int r = config_build_finish(&loading->builder);
    if (r < 0 || mistakes->no_memory)
        return -ENOMEM;
    if (mistakes->n_items == 0) {
        r = loading_name_files(loading);
        if (r < 0)
            return r;
        *ret_config = TAKE_PTR(loading->config);
        return 0;
    }
    mistakes_sort(mistakes);
    for (size_t i = 0; i < mistakes->n_items; i++) {
        const struct mistake *mistake = &mistakes->items[i];
        _cleanup_free_ char *file = text_escape_string(loading->files[mistake->file]);

        if (!file)
            return -ENOMEM;
        error(userdata, file, mistake->line, mistake->column, mistake->message);
    }
    if (mistakes->n_more > 0) {
        char message[64];

        snprintf(message, sizeof(message), "%zu more mistakes", mistakes->n_more);
        error(userdata, loading->files[0], 0, 0, message);
    }
    return -EINVAL;
}

int config_load(const char *path, config_error_fn error, void *userdata, struct config **ret_config)
{
    _cleanup_(loading_done) struct loading loading;

    int r = loading_init(&loading);
    if (r >= 0)
        r = loading_file(&loading, path);
    if (r >= 0 && !loading.distrusts)
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
        r = loading_add_file(&loading, name);
    if (r >= 0)
        r = loading_parse(&loading, bytes, n);
    if (r < 0)
        return r;
    return loading_finish(&loading, error, userdata, ret_config);
}
