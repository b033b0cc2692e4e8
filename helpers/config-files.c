/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* YAML files of an administrator: read where nobody else may change them, with all mistakes in the
 * order of their places. */
#include "helpers/config-files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "helpers/text.h"
#include "helpers/trust.h"

#define CONFIG_FILES_MAX 1000

void config_files_done(struct config_files *files)
{
    mistakes_done(&files->mistakes);
    for (size_t i = 0; i < files->n; i++) {
        free(files->names[i]);
        config_node_free(files->roots[i]);
    }
    free(files->names);
    free(files->roots);
    *files = (struct config_files){ 0 };
}

/* Takes note of a file; its index is n - 1 then. */
static int add_file(struct config_files *files, const char *name)
{
    char **names = reallocarray(files->names, files->n + 1, sizeof(*names));
    if (!names)
        return -ENOMEM;
    files->names = names;
    struct config_node **roots = reallocarray(files->roots, files->n + 1, sizeof(*roots));
    if (!roots)
        return -ENOMEM;
    files->roots = roots;
    roots[files->n] = NULL;
    names[files->n] = strdup(name);
    if (!names[files->n])
        return -ENOMEM;
    files->n++;
    return 0;
}

static void add_mistake(struct config_files *files, const char *before, const char *reason)
{
    mistakes_add(&files->mistakes, (unsigned)files->n - 1, 0, 0, "%s: %s", before, reason);
}

static int parse_last(struct config_files *files, const char *bytes, size_t n)
{
    unsigned file = (unsigned)files->n - 1;

    return config_tree_read(bytes, n, file, &files->mistakes, &files->roots[file]);
}

int config_files_parse(struct config_files *files, const char *name, const char *bytes, size_t n)
{
    int r = add_file(files, name);

    return r < 0 ? r : parse_last(files, bytes, n);
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
static int trusts(struct config_files *files, const char *path, bool folder)
{
    _cleanup_free_ char *who = NULL;
    int r = config_trust(path, folder, &who);

    if (r != -EPERM)
        return r < 0 ? r : 1;
    r = add_file(files, path);
    if (r < 0)
        return r;
    add_mistake(files, "not read", who);
    files->distrusts = true;
    return 0;
}

int config_files_read(struct config_files *files, const char *path)
{
    _cleanup_free_ char *bytes = NULL;
    size_t n = 0;

    int r = trusts(files, path, false);
    if (r <= 0)
        return r;
    r = add_file(files, path);
    if (r < 0)
        return r;
    r = read_file(path, &bytes, &n);
    if (r == -ENOMEM)
        return r;
    if (r < 0) {
        add_mistake(files, "cannot read it", r == -EBADFD ? "Not a regular file" : strerror(-r));
        return 0;
    }
    return parse_last(files, bytes, n);
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

int config_files_read_folder(struct config_files *files, const char *folder)
{
    struct dirent **entries = NULL;
    int n, r = trusts(files, folder, true);

    if (r <= 0)
        return r;
    r = 0;
    n = scandir(folder, &entries, is_drop_in, order_bytes);
    if (n < 0 && (errno == ENOENT || errno == ENOMEM))
        return errno == ENOENT ? 0 : -ENOMEM;
    if (n < 0 || n > CONFIG_FILES_MAX) {
        int error = n < 0 ? errno : E2BIG;

        r = add_file(files, folder);
        if (r >= 0)
            add_mistake(files, "cannot read it",
                        error == E2BIG ? "more than 1000 files" : strerror(error));
    }
    for (int i = 0; i < n; i++) {
        _cleanup_free_ char *file = NULL;

        if (n <= CONFIG_FILES_MAX && r >= 0)
            r = asprintf(&file, "%s/%s", folder, entries[i]->d_name) < 0
                    ? -ENOMEM
                    : config_files_read(files, file);
        free(entries[i]);
    }
    free(entries);
    return r;
}

int config_files_say(struct config_files *files, config_error_fn error, void *userdata)
{
    struct mistakes *mistakes = &files->mistakes;

    if (mistakes->no_memory)
        return -ENOMEM;
    if (mistakes->n_items == 0)
        return 0;
    mistakes_sort(mistakes);
    for (size_t i = 0; i < mistakes->n_items; i++) {
        const struct mistake *mistake = &mistakes->items[i];
        _cleanup_free_ char *file = text_escape_string(files->names[mistake->file]);

        if (!file)
            return -ENOMEM;
        error(userdata, file, mistake->line, mistake->column, mistake->message);
    }
    if (mistakes->n_more > 0) {
        _cleanup_free_ char *file = text_escape_string(files->names[0]);
        char message[64];

        if (!file)
            return -ENOMEM;
        snprintf(message, sizeof(message), "%zu more mistakes", mistakes->n_more);
        error(userdata, file, 0, 0, message);
    }
    return -EINVAL;
}
