/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* audit: one run of all stages on folders and files, by a daemon of its own; what is wrong, and
 * what to do. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "ctl/client.h"
#include "ctl/facts.h"
#include "ctl/once.h"
#include "ctl/source.h"
#include "helpers/json-text.h"
#include "helpers/path.h"
#include "helpers/text.h"

/* The paths asked about, without links, and the folders that are audited for them. */
struct asked {
    struct once_folder *paths;          /* a file's is not recursive */
    struct once_folder *folders;
    size_t n, n_folders;
    json_object *layers;        /* paths: what the files stand on */
    bool only_files;
    bool not_audited;           /* one of the files */
};

static void asked_done(struct asked *asked)
{
    for (size_t i = 0; i < asked->n; i++)
        free(asked->paths[i].path);
    for (size_t i = 0; i < asked->n_folders; i++)
        free(asked->folders[i].path);
    free(asked->paths);
    free(asked->folders);
    json_object_put(asked->layers);
}

/* ---- what is audited ------------------------------------------------------------------------ */

static int take_argument(struct asked *asked, const char *argument)
{
    _cleanup_free_ char *shown = text_escape_string(argument);
    struct once_folder *folder = &asked->folders[asked->n_folders];
    char *path = realpath(argument, NULL), *slash;
    struct stat st;

    if (!path || stat(path, &st) < 0) {
        int error = -errno;

        free(path);
        return complain(error, "%s", shown);
    }
    asked->paths[asked->n++] =
        (struct once_folder){ .path = path, .recursive = S_ISDIR(st.st_mode) };
    folder->path = strdup(path);
    if (!folder->path)
        return complain(-ENOMEM, "Cannot audit");
    asked->n_folders++;
    folder->recursive = S_ISDIR(st.st_mode);
    if (folder->recursive) {
        asked->only_files = false;
        return 0;
    }
    if (!S_ISREG(st.st_mode))
        return complain(0, "%s: neither a folder nor a file.", shown), -EINVAL;
    slash = strrchr(folder->path, '/');
    slash[slash == folder->path] = '\0';
    return 0;
}

static int order_folders(const void *a, const void *b)
{
    const struct once_folder *one = a, *other = b;
    int order = strcmp(one->path, other->path);

    return order != 0 ? order : other->recursive - one->recursive;
}

/* Each folder once, and none that another one has already. */
static void drop_covered(struct asked *asked)
{
    size_t n = 0;

    qsort(asked->folders, asked->n_folders, sizeof(*asked->folders), order_folders);
    for (size_t i = 0; i < asked->n_folders; i++) {
        struct once_folder *folder = &asked->folders[i];
        bool covered = false;

        for (size_t k = 0; k < n && !covered; k++)
            covered = strcmp(asked->folders[k].path, folder->path) == 0 ||
                      (asked->folders[k].recursive &&
                       path_is_below(folder->path, asked->folders[k].path));
        if (covered)
            free(folder->path);
        else
            asked->folders[n++] = *folder;
    }
    asked->n_folders = n;
}

static int take_arguments(struct asked *asked, int argc, char **argv)
{
    int r = 0;

    asked->only_files = true;
    asked->paths = calloc((size_t)argc, sizeof(*asked->paths));
    asked->folders = calloc((size_t)argc, sizeof(*asked->folders));
    if (!asked->paths || !asked->folders)
        return complain(-ENOMEM, "Cannot audit");
    for (int i = 0; r >= 0 && i < argc; i++)
        r = take_argument(asked, argv[i]);
    drop_covered(asked);
    return r;
}

/* ---- what is said --------------------------------------------------------------------------- */

/* Other images of a file's folder, and that folder as a whole, were not asked about. */
static bool is_asked_about(const struct asked *asked, json_object *row)
{
    const char *path = row_raw(row, "path");

    if (!path)
        return !asked->only_files;
    for (size_t i = 0; i < asked->n; i++)
        if (path_is_below(path, asked->paths[i].path))
            return true;
    return asked->layers && json_object_object_get_ex(asked->layers, path, NULL);
}

/* Damage of a layer below is damage of the disk that the file holds. */
static int know_layers(struct ctl *ctl, struct asked *asked, const char *file)
{
    _cleanup_(json_object_putp) json_object *chain = NULL;
    int r = client_chain(ctl, file, &chain);

    for (size_t i = 0; r >= 0 && i < json_object_array_length(chain); i++) {
        const char *path = row_raw(json_object_array_get_idx(chain, i), "path");

        if (path && strcmp(path, file) == 0)
            break;              /* the base comes first, and what is above is not asked about */
        if (path && json_add(asked->layers, path, json_object_new_boolean(true)) < 0)
            r = complain(-ENOMEM, "Cannot list findings");
    }
    return r == -ENOENT ? 0 : r;
}

/* A file may be known by another of its names (a hard link), and may not have been audited, as one
 * that is no image, or in a folder that may be entered and not listed: then nothing is known of it,
 * which is not the same as that nothing is wrong. */
static int know_file(struct ctl *ctl, struct asked *asked, struct once_folder *file)
{
    _cleanup_(json_object_putp) json_object *image = NULL;
    int r = client_image(ctl, file->path, &image);
    const char *path = r >= 0 ? row_raw(image, "path") : NULL;
    char *known;

    if (r < 0 && r != -ENOENT)
        return r;
    if (!path || row_number(image, "audited") == 0) {
        _cleanup_free_ char *shown = text_escape_string(file->path);

        asked->not_audited = true;
        (void)complain(0,
                       "%s was not audited: by its name and its first bytes it is no disk image, "
                       "or it could not be read.", shown);
        return 0;
    }
    known = strdup(path);
    if (!known)
        return complain(-ENOMEM, "Cannot list findings");
    free(file->path);
    file->path = known;
    return know_layers(ctl, asked, known);
}

static int know_files(struct ctl *ctl, struct asked *asked)
{
    int r = 0;

    asked->layers = json_object_new_object();
    if (!asked->layers)
        return complain(-ENOMEM, "Cannot list findings");
    for (size_t i = 0; r >= 0 && i < asked->n; i++)
        if (!asked->paths[i].recursive)
            r = know_file(ctl, asked, &asked->paths[i]);
    return r;
}

static int print_result(struct ctl *ctl, const struct asked *asked, json_object *status,
                        json_object *rows)
{
    uint64_t images = row_number(status, "images"), audited = row_number(status, "images-audited");
    size_t n = json_object_array_length(rows);
    int r = 0;

    if (n > 0)
        r = findings_table(ctl, rows);
    for (size_t i = 0; r >= 0 && i < n; i++) {
        (void)putchar('\n');
        finding_print(ctl, json_object_array_get_idx(rows, i), false);
    }
    if (r < 0 || !ctl->output.legend)
        return r;
    (void)printf("%s%s: %" PRIu64 " image%s, %" PRIu64 " audited%s.\n", n > 0 ? "\n" : "",
                 n > 0 ? "That is all" : asked->not_audited ? "No findings" : "Nothing found",
                 images, images == 1 ? "" : "s", audited,
                 asked->only_files ? ", with those beside" : "");
    if (n > 0)
        (void)printf("These findings and their numbers are of this run alone: show, ack and resume "
                     "ask the service,\nwhich does not know them.\n");
    return status_print_gaps(ctl, status);
}

/* The findings that were asked about, each as it is when somebody asks for it alone: commands are
 * given then, as only then the locks of its images are looked at. */
static int fetch_findings(struct ctl *ctl, const struct asked *asked, int stop_fd,
                          json_object **ret_rows)
{
    struct pollfd stop = { .fd = stop_fd, .events = POLLIN };
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object(), *list = NULL,
                                            *rows = json_object_new_array();
    int r = filter && rows ? source_findings(ctl, filter, &list)
                           : complain(-ENOMEM, "Cannot list findings");

    for (size_t i = 0; r >= 0 && i < json_object_array_length(list); i++) {
        json_object *row = json_object_array_get_idx(list, i), *whole = NULL;

        if (!is_asked_about(asked, row))
            continue;
        if (poll(&stop, 1, 0) > 0)
            return -EINTR;
        r = client_finding(ctl, (int64_t)row_number(row, "id"), &whole);
        if (r == -ENOENT)       /* resolved meanwhile */
            r = 0;
        else if (r >= 0 && json_object_array_add(rows, whole) < 0) {
            json_object_put(whole);
            r = complain(-ENOMEM, "Cannot list findings");
        }
    }
    if (r < 0)
        return r;
    source_sort_findings(rows);
    *ret_rows = TAKE_PTR(rows);
    return 0;
}

static int show_result(struct ctl *ctl, const struct asked *asked, json_object *status,
                       json_object *rows)
{
    int r;

    output_begin(&ctl->output);
    if (ctl->output.json != JSON_OFF)
        r = output_json(&ctl->output, rows);
    else {
        r = print_result(ctl, asked, status, rows);
        if (r < 0)
            (void)complain(r, "Cannot list findings");
    }
    return r < 0 ? r : asked->not_audited ? -EIO : findings_status(ctl, rows);
}

int verb_audit(struct ctl *ctl, int argc, char **argv)
{
    _cleanup_(json_object_putp) json_object *status = NULL, *rows = NULL;
    _cleanup_(asked_done) struct asked asked = { 0 };
    struct once *once = NULL;
    int r = take_arguments(&asked, argc, argv);

    if (r >= 0)
        r = once_start(ctl, asked.folders, asked.n_folders, &once);
    if (r < 0)
        return r;
    r = scan_all(ctl, once_stop_fd(once));
    if (r >= 0)
        r = source_status(ctl, &status);
    if (r >= 0)
        r = know_files(ctl, &asked);
    if (r >= 0)
        r = fetch_findings(ctl, &asked, once_stop_fd(once), &rows);
    if (r < 0 && r != -EINTR)
        once_print_log(once);
    ctl->socket = NULL;
    once_stop(once);
    return r < 0 ? r : show_result(ctl, &asked, status, rows);
}
