/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An archive of evidence: the image's tables and its check, and the headers of its parents. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "ctl/bundle-make.h"
#include "helpers/json-text.h"

#define LAYERS_MAX 256
#define UNREADABLE_HEADER 4096      /* bytes that are kept where the header leads nowhere */

/* Parents are known by what they are, so that a loop ends. */
struct walk {
    struct { dev_t device; ino_t inode; } seen[LAYERS_MAX];
    size_t n;
};

static int64_t nanoseconds(struct timespec time)
{
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int stat_json(const struct stat *st, json_object **ret_object)
{
    json_object *object = json_object_new_object();
    int r = object ? 0 : -ENOMEM;
    const struct { const char *key; int64_t value; } numbers[] = {
        { "uid", st->st_uid }, { "gid", st->st_gid }, { "links", (int64_t)st->st_nlink },
        { "inode", (int64_t)st->st_ino }, { "device", (int64_t)st->st_dev },
        { "size", st->st_size }, { "blocks", st->st_blocks },
        { "modified-ns", nanoseconds(st->st_mtim) }, { "changed-ns", nanoseconds(st->st_ctim) },
    };
    char mode[16];

    (void)snprintf(mode, sizeof(mode), "0%o", st->st_mode & 07777);
    if (r >= 0)
        r = json_add_text(object, "type", S_ISBLK(st->st_mode) ? "block device" : "file");
    if (r >= 0)
        r = json_add_text(object, "mode", mode);
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(numbers); i++)
        r = json_add(object, numbers[i].key, json_object_new_int64(numbers[i].value));
    if (r < 0) {
        json_object_put(object);
        return r;
    }
    *ret_object = object;
    return 0;
}

/* Copies the pieces that can be read; of others the place is noted. */
static int copy_pieces(struct bundle_maker *maker, size_t layer, int fd,
                       const struct pieces *pieces, json_object *row)
{
    _cleanup_free_ uint8_t *buf = malloc(BUNDLE_PIECE_MAX);
    json_object *unreadable = json_object_new_array();
    struct qca_io *io = NULL;
    int r = buf && unreadable ? qca_io_new_fd(fd, &io) : -ENOMEM;
    char name[TAR_NAME_MAX + 1];

    for (size_t i = 0; r >= 0 && i < pieces->n; i++) {
        const struct piece *piece = &pieces->pieces[i];

        (void)snprintf(name, sizeof(name), BUNDLE_PIECE_FORMAT, layer, piece->offset);
        r = qca_io_read(io, piece->offset, buf, piece->size);
        if (r == -ENOMEM)
            break;
        r = r < 0 ? json_object_array_add(unreadable, json_object_new_uint64(piece->offset)) < 0
                        ? -ENOMEM : 0
                  : bundle_add(&maker->writer, name, buf, piece->size);
    }
    qca_io_free(io);
    if (r >= 0 && json_object_array_length(unreadable) > 0)
        return json_add(row, "unreadable", unreadable);
    json_object_put(unreadable);
    return r;
}

/* Places that explain why the image could not be opened by its header. */
static void header_alone(int fd, uint64_t size, struct places *places)
{
    const struct qca_place place = { QCA_TABLE_HEADER, 0,
                                     size < UNREADABLE_HEADER ? size : UNREADABLE_HEADER };
    enum qca_format format;
    struct qca_io *io;

    if (size == 0 || qca_io_new_fd(fd, &io) < 0)
        return;
    if (qca_probe(io, &format) >= 0 && qca_format_has(format, QCA_TRAIT_REFCOUNTS))
        places_take(places, &place);
    qca_io_free(io);
}

static int keep_tables(struct bundle_maker *maker, size_t layer, int fd, const struct check *check,
                       struct places *places, json_object *row)
{
    const struct audit_report *report = check->report;
    struct pieces pieces = { .n = 0 };
    bool has_unreadable;
    int r = pieces_choose(places, report && report->n_layers > 0 ? &report->layers[0].check : NULL,
                          maker->room, maker->room_pieces, &pieces);

    if (r < 0)
        return r;
    maker->room -= pieces.bytes < maker->room ? pieces.bytes : maker->room;
    maker->room_pieces -= pieces.n;
    r = copy_pieces(maker, layer, fd, &pieces, row);
    has_unreadable = row_has(row, "unreadable");
    if (r >= 0)
        r = json_add_number(row, "kept-bytes", pieces.bytes);
    if (r >= 0 && pieces.n_left_out > 0)
        r = json_add_number(row, "left-out-tables", pieces.n_left_out);
    if (r >= 0 && pieces.n_left_out > 0)
        r = json_add_number(row, "left-out-bytes", pieces.bytes_left_out);
    if (r >= 0)
        r = json_add(row, "whole", json_object_new_boolean(pieces.whole && !has_unreadable &&
                                                           !places->headers_only));
    maker->bytes += pieces.bytes;
    maker->n_left_out += pieces.n_left_out;
    maker->bytes_left_out += pieces.bytes_left_out;
    pieces_done(&pieces);
    return r;
}

static void on_place(void *userdata, const struct qca_place *place)
{
    places_take(userdata, place);
}

/* The path of the parent that the layer names, malloc'd; NULL: there is none, or no local one. */
static char *parent_of(const struct check *check)
{
    const struct audit_report *report = check->report;
    const char *name = report && report->n_layers > 0 ? report->layers[0].info.parent : NULL;
    char *path = NULL;

    return name && check_reference(check->file, QCA_REFERENCE_PARENT, name, &path) >= 0 ? path
                                                                                         : NULL;
}

static int describe(const struct check *check, const struct stat *st, json_object *row)
{
    const struct audit_report *report = check->report;
    const struct layer_report *layer = report && report->n_layers > 0 ? &report->layers[0] : NULL;
    _cleanup_free_ char *failure = check_failure(check);
    json_object *object;
    int r = json_add_text(row, "path", check->file);

    if (r >= 0)
        r = json_add_text(row, "error", failure);
    if (r >= 0 && st) {
        r = stat_json(st, &object);
        if (r >= 0)
            r = json_add(row, "stat", object);
    }
    if (r >= 0 && layer)
        r = json_add_text(row, "format", qca_format_name(layer->info.format));
    if (r >= 0 && layer)
        r = json_add_number(row, "file-size", layer->info.file_size);
    if (r >= 0 && layer)
        r = json_add_text(row, "parent", layer->info.parent);
    if (r >= 0 && layer)
        r = json_add_text(row, "parent-format", layer->info.parent_format);
    if (r >= 0 && layer)
        r = json_add_text(row, "data-file", layer->info.data_file);
    if (r >= 0 && st)
        r = json_add(row, "on-device", json_object_new_boolean(S_ISBLK(st->st_mode)));
    if (r >= 0 && check->has_writer)
        r = json_add(row, "in-use", json_object_new_boolean(true));
    return r;
}

/* A layer that is open; of the image itself, its check, too. */
static int keep_open(struct bundle_maker *maker, size_t layer, int fd, const struct qca_file_id *id,
                     struct check *check, json_object *row)
{
    struct places places = { .headers_only = layer > 0 };
    const struct check_ask ask = { .flags = WORKER_PLACES |
                                       (layer == 0 ? WORKER_CHECK | WORKER_DATA_FILE : 0),
                                   .place = on_place, .userdata = &places };
    json_object *result = NULL;
    struct stat before, after;
    int r = checker_run_open(maker->checker, check->file, fd, id, &ask, check);

    if (r >= 0 && fstat(fd, &before) < 0)
        r = -errno;
    if (r >= 0)
        r = describe(check, &before, row);
    if (r >= 0 && check->report && check->report->n_layers == 0)
        header_alone(fd, S_ISREG(before.st_mode) ? (uint64_t)before.st_size : UNREADABLE_HEADER,
                     &places);
    if (r >= 0)
        r = keep_tables(maker, layer, fd, check, &places, row);
    if (r >= 0 && fstat(fd, &after) >= 0 &&
        (nanoseconds(after.st_mtim) != id->mtime || after.st_size != before.st_size))
        r = json_add(row, "written-meanwhile", json_object_new_boolean(true));
    if (r >= 0 && layer == 0)
        r = check_json(check, &result);
    if (r >= 0 && layer == 0)
        r = bundle_add_json(maker, BUNDLE_CHECK, result);
    json_object_put(result);
    places_done(&places);
    return r;
}

/* *file: of this layer, then of its parent, or NULL. */
static int keep_layer(struct bundle_maker *maker, struct walk *walk, size_t layer, char **file)
{
    _cleanup_free_ struct check *check = calloc(1, sizeof(*check));
    _cleanup_free_ char *path = TAKE_PTR(*file);
    json_object *row = json_object_new_object();
    _cleanup_close_ int fd = -1;
    struct qca_file_id id;
    int r = check && row && json_object_array_add(maker->layers, row) >= 0 ? 0 : -ENOMEM, error;

    if (r < 0)
        return r;
    check->file = path;
    error = check_open(path, &fd, &id);
    for (size_t i = 0; error >= 0 && i < walk->n; i++)
        if (walk->seen[i].device == (dev_t)id.a && walk->seen[i].inode == (ino_t)id.b)
            error = -ELOOP;
    if (error < 0) {
        check->error = error;
        return describe(check, NULL, row);
    }
    walk->seen[walk->n].device = (dev_t)id.a;
    walk->seen[walk->n++].inode = (ino_t)id.b;
    r = keep_open(maker, layer, fd, &id, check, row);
    if (r >= 0)
        *file = parent_of(check);
    check_done(check);
    return r;
}

int bundle_layers(struct bundle_maker *maker)
{
    _cleanup_free_ struct walk *walk = calloc(1, sizeof(*walk));
    _cleanup_free_ char *file = strdup(maker->argument);
    int r = walk && file ? 0 : -ENOMEM;

    for (size_t layer = 0; r >= 0 && file && layer < LAYERS_MAX; layer++)
        r = keep_layer(maker, walk, layer, &file);
    return r;
}

