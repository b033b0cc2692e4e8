/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* evidence: an archive of an image's tables, and of all that is known of it. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/bundle-make.h"
#include "ctl/client.h"
#include "ctl/source.h"
#include "helpers/hex.h"
#include "helpers/json-text.h"
#include "helpers/text.h"

DEFINE_CLEANUP(struct checker *, checker_free)

/* ---- of what -------------------------------------------------------------------------------- */

static bool is_id(const char *argument)
{
    return argument[0] && argument[strspn(argument, "0123456789")] == '\0' &&
           strlen(argument) < 19;
}

/* The image that the finding is about. */
static int take_finding(struct bundle_maker *maker, const char *id)
{
    const char *kind;
    int r = client_finding(maker->ctl, strtoll(id, NULL, 10), &maker->finding);

    if (r < 0)
        return r == -ENOENT
                   ? complain(0, "There is no finding %s. 'qcauditctl findings --all' lists those "
                                 "that are known.", id), r
                   : r;
    kind = row_raw(maker->finding, "subject-kind");
    if (!kind || strcmp(kind, "image") != 0 || !row_has(maker->finding, "subject"))
        return complain(0, "Finding %s is not about an image. Give the PATH of one that it has to "
                           "do with: 'qcauditctl show %s'.", id, id),
               -EINVAL;
    maker->argument = strdup(row_raw(maker->finding, "subject"));
    return maker->argument ? 0 : -ENOMEM;
}

/* Is the file of that name here the one that has the path? */
static bool is_same_file(const char *name, const char *path)
{
    struct stat here, known;

    return stat(name, &here) == 0 && stat(path, &known) == 0 && here.st_dev == known.st_dev &&
           here.st_ino == known.st_ino;
}

/* A file here, or what the daemon knows by the argument. */
static int take_image(struct bundle_maker *maker, const char *argument)
{
    _cleanup_(json_object_putp) json_object *domain = NULL;
    bool exists = access(argument, F_OK) == 0;
    _cleanup_free_ char *shown = text_escape_string(argument);
    _cleanup_close_ int fd = -1;
    struct qca_file_id id;
    const char *path;
    int r = maker->status ? source_show(maker->ctl, argument, &maker->image, &domain)
                             : -ENOENT;

    if (domain && !exists)
        return complain(0, "%s is a domain: give the PATH of one of its images, as 'qcauditctl "
                           "domains %s' lists them.", shown, shown),
               -EINVAL;
    path = maker->image ? row_raw(maker->image, "path") : NULL;
    /* An image that only ends in that name is another one. */
    if (path && exists && !is_same_file(argument, path)) {
        json_object_put(maker->image);
        maker->image = NULL;
        path = NULL;
        (void)complain(0, "qcauditd does not know this file.");
    }
    if (!path && !exists && maker->status)
        return r;
    /* Of an image that nobody knows, and nobody can read, there is nothing to keep. */
    if (!path) {
        r = check_open(argument, &fd, &id);
        if (r < 0)
            return complain(r, "Cannot read %s", shown);
        (void)complain(0, "The archive will hold only what can be read without qcauditd.");
    }
    if (path)
        maker->path = strdup(path);
    if (!maker->argument)
        maker->argument = exists ? source_absolute(maker->ctl, argument) : strdup(path);
    return (maker->path || !path) && maker->argument ? 0 : -ENOMEM;
}

/* Are all tables of the image itself in the archive, but for those that are too much? */
static bool is_complete(const struct bundle_maker *maker)
{
    json_object *row = json_object_array_get_idx(maker->layers, 0);

    return row && !row_has(row, "error") && !row_has(row, "unreadable") &&
           (row_bool(row, "whole") || row_has(row, "left-out-tables"));
}

static int print_summary(struct bundle_maker *maker, const uint8_t manifest[32])
{
    FILE *file = maker->file ? stdout : stderr;
    _cleanup_free_ char *quoted = NULL, *image = text_escape_string(maker->argument);
    size_t n = json_object_array_length(maker->layers);
    char digits[65], size[TEXT_SIZE_MAX];

    if (!image || (maker->file && text_quote_shell(maker->file, &quoted) < 0))
        return -ENOMEM;
    hex_encode(manifest, 32, digits);
    (void)fprintf(file, "Evidence of %s: %zu layer%s, %s of tables, %zu members.\n", image, n,
                  n == 1 ? "" : "s", text_size(maker->bytes, size), maker->writer.n);
    for (size_t i = 0; i < n; i++) {
        json_object *row = json_object_array_get_idx(maker->layers, i);
        _cleanup_free_ char *path = row_text(row, "path"), *error = row_text(row, "error");

        if (row_has(row, "error"))
            (void)fprintf(file, "Layer %zu, %s: %s.\n", i, path, error);
        if (row_bool(row, "in-use") || row_bool(row, "written-meanwhile"))
            (void)fprintf(file, "Layer %zu, %s, is being written: its tables may not agree.\n", i,
                          path);
    }
    if (!is_complete(maker))
        (void)fprintf(file, "NOT all tables of the image could be found or read: see "
                            BUNDLE_LAYOUT ".\n");
    if (maker->n_left_out > 0)
        (void)fprintf(file, "Left out for their size: %" PRIu64 " table%s, %s.\n",
                      maker->n_left_out, maker->n_left_out == 1 ? "" : "s",
                      text_size(maker->bytes_left_out, size));
    (void)fprintf(file, "SHA-256 of its manifest, to be kept elsewhere:\n%s\n", digits);
    if (json_object_array_length(maker->missing) > 0)
        (void)fprintf(file, "qcauditd did not answer for all of it: see " BUNDLE_LAYOUT ".\n");
    if (quoted)
        (void)fprintf(file, "Check it: qcauditctl check --evidence %s%s\n",
                      quoted[0] == '-' ? "-- " : "", quoted);
    return 0;
}

static int summary_json(const struct bundle_maker *maker, const uint8_t manifest[32])
{
    _cleanup_(json_object_putp) json_object *object = json_object_new_object();
    char digits[65];
    int r = object ? json_add_text(object, "file", maker->file) : -ENOMEM;

    hex_encode(manifest, 32, digits);
    if (r >= 0)
        r = json_add_text(object, "image", maker->argument);
    if (r >= 0)
        r = json_add_text(object, "manifest-sha256", digits);
    if (r >= 0)
        r = json_add_number(object, "members", maker->writer.n);
    if (r >= 0)
        r = json_add(object, "layers", json_object_get(maker->layers));
    return r < 0 ? r : output_json(&maker->ctl->output, object);
}

/* ---- where it goes -------------------------------------------------------------------------- */

static int write_file(struct bundle_maker *maker, const char *path, uint8_t ret_manifest[32])
{
    _cleanup_free_ char *shown = text_escape_string(path);
    struct bundle_file file;
    int r = bundle_file_open(path, maker->now, maker->status, &file);

    if (r >= 0) {
        uint64_t room = bundle_file_room(&file);

        maker->room = room < maker->room ? room : maker->room;
        r = bundle_make(maker, file.fd, ret_manifest);
        if (r >= 0)
            r = bundle_file_finish(&file);
        if (r < 0)
            (void)complain(r, "Cannot write %s", shown);
        else
            maker->file = TAKE_PTR(file.path);
    }
    bundle_file_done(&file);
    return r;
}

static int write_output(struct bundle_maker *maker, uint8_t ret_manifest[32])
{
    int r;

    if (isatty(STDOUT_FILENO))
        return complain(0, "An archive is not for a terminal: give a file, or lead the output to "
                           "another program."),
               -EINVAL;
    r = bundle_make(maker, STDOUT_FILENO, ret_manifest);
    return r < 0 ? complain(r, "Cannot write the archive") : 0;
}

static int evidence_make(struct bundle_maker *maker, const char *argument)
{
    struct ctl *ctl = maker->ctl;
    bool to_output = strcmp(ctl->out, "-") == 0;
    uint8_t manifest[32];
    int r;

    if (to_output && ctl->output.json != JSON_OFF)
        return complain(0, "--json and --out=- both want standard output."), -EINVAL;
    /* source_status() says itself why there is none. */
    if (source_status(ctl, &maker->status) < 0 && is_id(argument))
        return complain(0, "Finding %s cannot be looked up: give the PATH of the image.", argument),
               -EINVAL;
    r = is_id(argument) ? take_finding(maker, argument) : 0;
    if (r >= 0)
        r = take_image(maker, maker->argument ? maker->argument : argument);
    if (r >= 0)
        r = checker_new(ctl, false, &maker->checker);
    if (r >= 0)
        r = to_output ? write_output(maker, manifest) : write_file(maker, ctl->out, manifest);
    if (r < 0)
        return r;
    r = ctl->output.json != JSON_OFF ? summary_json(maker, manifest)
                                     : print_summary(maker, manifest);
    if (r < 0)
        return complain(r, "Cannot show what was written");
    return is_complete(maker) ? 0 : EXIT_FAILURE;
}

int verb_evidence(struct ctl *ctl, int argc, char **argv)
{
    struct bundle_maker maker = {
        .ctl = ctl, .layers = json_object_new_array(), .missing = json_object_new_array(),
        .writer = { .fd = -1 },
        .now = usec_now(CLOCK_REALTIME), .room = BUNDLE_TABLES_MAX,
        .room_pieces = BUNDLE_PIECES_MAX,
    };
    int r;

    if (!ctl->out) {
        (void)complain(0, "'evidence' needs --out=FILE (-o FILE), -o FOLDER/ for a new file in it, "
                          "or -o - for standard output.");
        r = -EINVAL;
    } else
        r = maker.layers && maker.missing ? evidence_make(&maker, argv[0])
                                          : complain(-ENOMEM, "Cannot make evidence");
    bundle_writer_done(&maker.writer);
    checker_free(maker.checker);
    json_object_put(maker.status);
    json_object_put(maker.finding);
    json_object_put(maker.image);
    json_object_put(maker.layers);
    json_object_put(maker.missing);
    free(maker.argument);
    free(maker.path);
    free(maker.file);
    return r;
}
