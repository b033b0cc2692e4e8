/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* evidence: an archive of an image's tables, and of all that is known of it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "build-config.h"
#include "ctl/bundle.h"
#include "ctl/client.h"
#include "ctl/resolve.h"
#include "ctl/source.h"
#include "helpers/hex.h"
#include "helpers/json-text.h"
#include "helpers/path.h"
#include "helpers/text.h"
#include "qcaudit/control.h"

#define LAYERS_MAX 256
#define EVENTS_MAX 10000            /* of each list, the newest */
#define UNREADABLE_HEADER 4096      /* bytes that are kept where the header leads nowhere */

DEFINE_CLEANUP(struct checker *, checker_free)

/* What is being made. */
struct evidence {
    struct ctl *ctl;
    char *argument;                 /* the image as it was asked for, or as the finding names it */
    char *path;                     /* as the daemon knows it; NULL: it does not */
    json_object *status, *finding, *image;      /* NULL: not to be had */
    json_object *layers;            /* what was kept of each */
    json_object *missing;           /* members that the daemon did not answer for */
    struct bundle_writer writer;
    struct checker *checker;
    uint64_t now;                   /* usec */
    uint64_t room;                  /* bytes of tables, */
    size_t room_pieces;             /* and members with them, that may still be kept */
    uint64_t bytes, n_left_out, bytes_left_out;
};

static int add_text(struct evidence *evidence, const char *name, const char *text)
{
    return bundle_add(&evidence->writer, name, text, strlen(text));
}

/* Nothing for NULL. */
static int add_json(struct evidence *evidence, const char *name, json_object *value)
{
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r = value ? output_json_text(value, &text, &size) : 0;

    return r < 0 || !value ? r : bundle_add(&evidence->writer, name, text, size);
}

/* ---- one layer ------------------------------------------------------------------------------ */

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
static int copy_pieces(struct evidence *evidence, size_t layer, int fd, const struct pieces *pieces,
                       json_object *row)
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
                  : bundle_add(&evidence->writer, name, buf, piece->size);
    }
    qca_io_free(io);
    if (r >= 0 && json_object_array_length(unreadable) > 0)
        return json_add(row, "unreadable", unreadable);
    json_object_put(unreadable);
    return r;
}

/* Where the image was not opened by what its header says: what tells of that. */
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

static int keep_tables(struct evidence *evidence, size_t layer, int fd, const struct check *check,
                       struct places *places, json_object *row)
{
    const struct audit_report *report = check->report;
    struct pieces pieces = { .n = 0 };
    bool has_unreadable;
    int r = pieces_choose(places, report && report->n_layers > 0 ? &report->layers[0].check : NULL,
                          evidence->room, evidence->room_pieces, &pieces);

    if (r < 0)
        return r;
    evidence->room -= pieces.bytes < evidence->room ? pieces.bytes : evidence->room;
    evidence->room_pieces -= pieces.n;
    r = copy_pieces(evidence, layer, fd, &pieces, row);
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
    evidence->bytes += pieces.bytes;
    evidence->n_left_out += pieces.n_left_out;
    evidence->bytes_left_out += pieces.bytes_left_out;
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
static int keep_open(struct evidence *evidence, size_t layer, int fd, const struct qca_file_id *id,
                     struct check *check, json_object *row)
{
    struct places places = { .headers_only = layer > 0 };
    const struct check_ask ask = { .flags = WORKER_PLACES |
                                       (layer == 0 ? WORKER_CHECK | WORKER_DATA_FILE : 0),
                                   .place = on_place, .userdata = &places };
    json_object *result = NULL;
    struct stat before, after;
    int r = checker_run_open(evidence->checker, check->file, fd, id, &ask, check);

    if (r >= 0 && fstat(fd, &before) < 0)
        r = -errno;
    if (r >= 0)
        r = describe(check, &before, row);
    if (r >= 0 && check->report && check->report->n_layers == 0)
        header_alone(fd, S_ISREG(before.st_mode) ? (uint64_t)before.st_size : UNREADABLE_HEADER,
                     &places);
    if (r >= 0)
        r = keep_tables(evidence, layer, fd, check, &places, row);
    if (r >= 0 && fstat(fd, &after) >= 0 &&
        (nanoseconds(after.st_mtim) != id->mtime || after.st_size != before.st_size))
        r = json_add(row, "written-meanwhile", json_object_new_boolean(true));
    if (r >= 0 && layer == 0)
        r = check_json(check, &result);
    if (r >= 0 && layer == 0)
        r = add_json(evidence, BUNDLE_CHECK, result);
    json_object_put(result);
    places_done(&places);
    return r;
}

/* *file: of this layer, then of its parent, or NULL. */
static int keep_layer(struct evidence *evidence, struct walk *walk, size_t layer, char **file)
{
    _cleanup_free_ struct check *check = calloc(1, sizeof(*check));
    _cleanup_free_ char *path = TAKE_PTR(*file);
    json_object *row = json_object_new_object();
    _cleanup_close_ int fd = -1;
    struct qca_file_id id;
    int r = check && row && json_object_array_add(evidence->layers, row) >= 0 ? 0 : -ENOMEM, error;

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
    r = keep_open(evidence, layer, fd, &id, check, row);
    if (r >= 0)
        *file = parent_of(check);
    check_done(check);
    return r;
}

static int keep_layers(struct evidence *evidence)
{
    _cleanup_free_ struct walk *walk = calloc(1, sizeof(*walk));
    _cleanup_free_ char *file = strdup(evidence->argument);
    int r = walk && file ? 0 : -ENOMEM;

    for (size_t layer = 0; r >= 0 && file && layer < LAYERS_MAX; layer++)
        r = keep_layer(evidence, walk, layer, &file);
    return r;
}

/* ---- what the daemon knows ------------------------------------------------------------------ */

/* An answer of the daemon, r: its failure, which is said already. The rest is worth having without
 * it. */
static int keep_answer(struct evidence *evidence, const char *name, int r, json_object *answer)
{
    if (r < 0 && r != -ENOMEM) {
        json_object *string = json_object_new_string(name);

        if (string && json_object_array_add(evidence->missing, string) >= 0)
            return 0;
        json_object_put(string);
        return -ENOMEM;
    }
    return r < 0 ? r : add_json(evidence, name, answer);
}

static int keep_list(struct evidence *evidence, const char *name, const char *question)
{
    _cleanup_(json_object_putp) json_object *rows = NULL;
    int r = source_list_of_path(evidence->ctl, question, evidence->path, &rows);

    return keep_answer(evidence, name, r, rows);
}

static int keep_events(struct evidence *evidence)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object(), *rows = NULL;
    int r = filter ? filter_add(filter, "path", evidence->path) : -ENOMEM;

    if (r >= 0)
        r = json_add(filter, "disk", json_object_new_boolean(true));
    if (r >= 0)
        r = source_events(evidence->ctl, filter, &rows);
    return keep_answer(evidence, "events.json", r, rows);
}

/* How the record of events ends, and whether it is as it was written. */
static int keep_record(struct evidence *evidence)
{
    _cleanup_(json_object_putp) json_object *filter = json_object_new_object(), *record = NULL,
                                            *check = NULL;
    int r = filter ? source_record(evidence->ctl, &record) : -ENOMEM;

    if (r >= 0)
        r = source_check(evidence->ctl, filter, &check);
    if (r >= 0)
        r = json_add(record, "check", json_object_get(check));
    return keep_answer(evidence, "record.json", r, record);
}

static bool uses_image(json_object *users, json_object *domain)
{
    const char *name = row_raw(domain, "name");

    for (size_t i = 0; users && name && i < json_object_array_length(users); i++) {
        const char *user = row_raw(json_object_array_get_idx(users, i), "domain");

        if (user && strcmp(user, name) == 0)
            return true;
    }
    return false;
}

/* libvirt's words of the domains that use the image. */
static int keep_domains(struct evidence *evidence)
{
    _cleanup_(json_object_putp) json_object *all = NULL, *kept = json_object_new_array();
    int r = kept ? client_rows(evidence->ctl, "ListDomains", &all) : -ENOMEM;

    for (size_t i = 0; r >= 0 && i < json_object_array_length(all); i++) {
        json_object *domain = json_object_array_get_idx(all, i);

        if (uses_image(row_member(evidence->image, "users"), domain) &&
            json_object_array_add(kept, json_object_get(domain)) < 0) {
            json_object_put(domain);
            r = -ENOMEM;
        }
    }
    return keep_answer(evidence, "domains.json", r, kept);
}

static int keep_chain(struct evidence *evidence)
{
    _cleanup_(json_object_putp) json_object *chain = NULL;
    int r = client_chain(evidence->ctl, evidence->path, &chain);

    return keep_answer(evidence, "chain.json", r, chain);
}

static int keep_known(struct evidence *evidence)
{
    int r = add_json(evidence, "finding.json", evidence->finding);

    if (r >= 0)
        r = add_json(evidence, "image.json", evidence->image);
    if (r < 0 || !evidence->image)
        return r;
    evidence->ctl->lines = EVENTS_MAX;
    r = keep_chain(evidence);
    if (r >= 0)
        r = keep_domains(evidence);
    if (r >= 0)
        r = keep_events(evidence);
    if (r >= 0)
        r = keep_list(evidence, "audits.json", "ListAudits");
    if (r >= 0)
        r = keep_list(evidence, "readings.json", "ListReadings");
    return r < 0 ? r : keep_record(evidence);
}

static int keep_versions(struct evidence *evidence)
{
    _cleanup_(json_object_putp) json_object *object = json_object_new_object();
    struct utsname system;
    int r = object && uname(&system) >= 0 ? json_add_number(object, "made", evidence->now)
                                          : -ENOMEM;
    const struct { const char *key, *text; } texts[] = {
        { "path", evidence->argument },
        { "qcauditctl", PACKAGE_VERSION },
        { "qcauditd", evidence->status ? row_raw(evidence->status, "version") : NULL },
        { "kernel", system.release }, { "system", system.sysname }, { "machine", system.machine },
        { "host", system.nodename },
    };

    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(texts); i++)
        r = json_add_text(object, texts[i].key, texts[i].text);
    if (r >= 0)
        r = json_add_number(object, "database-schema", CONTROL_DATABASE_VERSION);
    return r < 0 ? r : add_json(evidence, "versions.json", object);
}

static const char readme[] =
    "Evidence of a disk image, written by qcauditctl evidence.\n"
    "\n"
    "Check it:\n"
    "    qcauditctl check --evidence FILE.tar\n"
    "verifies the manifest, and checks the tables that are here again. Without qcaudit:\n"
    "    tar -xf FILE.tar && cd " BUNDLE_FOLDER " && sha256sum -c " BUNDLE_MANIFEST "\n"
    "Whoever changes a member can write another manifest: compare the SHA-256 of\n"
    BUNDLE_MANIFEST " with the one that was printed when the archive was made.\n"
    "\n"
    "versions.json   the image's path, when and by what this was made\n"
    "layout.json     of each layer: path, owner, times, size, and how much is kept of it\n"
    "check.json      what a check of the image found, as of qcauditctl check --json\n"
    "layer-N/OFFSET  pieces of layer N (0: the image, 1: its parent, ...), called by\n"
    "                their offset in the file, in hexadecimal digits. Of the image: header,\n"
    "                refcount table and blocks, L1 and L2 tables, snapshot table, bitmaps; of\n"
    "                its parents: the header's cluster\n"
    "image.json      what qcauditd knows of the image: findings with evidence and remedy,\n"
    "                relations, users, contents; and if it was made of a finding, finding.json\n"
    "chain.json, domains.json, events.json, audits.json, readings.json\n"
    "                the chain; the domains that use the image, by libvirt; events (the newest\n"
    "                10,000, each with the digest of the record's chain), audits, readings\n"
    "record.json     how the record of events ends, and whether it is as it was written\n"
    "\n"
    "What is not there was not known. No guest data is copied, and no keys: not those of a LUKS\n"
    "header. Where a damaged entry takes guest data for a table, that cluster is here, too.\n";

static int write_bundle(struct evidence *evidence, int fd, uint8_t ret_manifest[32])
{
    _cleanup_(json_object_putp) json_object *layout = json_object_new_object();
    int r = layout ? bundle_begin(fd, evidence->now / USEC_PER_SEC, bundle_digest,
                                  &evidence->writer)
                   : -ENOMEM;

    if (r >= 0)
        r = add_text(evidence, BUNDLE_README, readme);
    if (r >= 0)
        r = keep_versions(evidence);
    if (r >= 0)
        r = keep_layers(evidence);
    if (r >= 0)
        r = keep_known(evidence);
    if (r >= 0)
        r = json_add(layout, "layers", json_object_get(evidence->layers));
    if (r >= 0)
        r = json_add(layout, "not-answered", json_object_get(evidence->missing));
    if (r >= 0)
        r = add_json(evidence, BUNDLE_LAYOUT, layout);
    if (r >= 0)
        r = bundle_end(&evidence->writer, ret_manifest);
    return r;
}

/* ---- where it goes -------------------------------------------------------------------------- */

/* The folder that the file is to be in, links followed; malloc'd. */
static int folder_of(const char *file, char **ret_path)
{
    const char *slash = strrchr(file, '/');
    _cleanup_free_ char *folder = !slash          ? strdup(".")
                                  : slash == file ? strdup("/")
                                                  : strndup(file, (size_t)(slash - file));

    return folder ? resolve_path(folder, ret_path) : -ENOMEM;
}

/* A file in a datastore would be walked, and perhaps be reported, as one of its files. */
static int refuse_datastore(const struct evidence *evidence, const char *file)
{
    json_object *stores = evidence->status ? row_member(evidence->status, "datastores") : NULL;
    _cleanup_free_ char *folder = NULL, *shown = text_escape_string(file);
    int r = folder_of(file, &folder);

    if (r < 0)
        return complain(r, "Cannot write %s", shown);
    for (size_t i = 0; stores && i < json_object_array_length(stores); i++) {
        json_object *store = json_object_array_get_idx(stores, i);
        const char *root = row_raw(store, "path");
        _cleanup_free_ char *real = NULL, *name = row_text(store, "name");

        if (!root || resolve_path(root, &real) < 0)
            continue;
        if (row_bool(store, "recursive") ? path_is_below(folder, real) : strcmp(folder, real) == 0)
            return complain(0,
                            "%s lies in the datastore %s, where the archive would be taken for one "
                            "of its files. Choose another folder, such as /root or /var/tmp.",
                            shown, name),
                   -EINVAL;
    }
    return 0;
}

/* Only what was made here: not what somebody put in its place. */
static void remove_file(const char *file, int fd)
{
    struct stat made, there;

    if (fstat(fd, &made) >= 0 && lstat(file, &there) >= 0 && made.st_dev == there.st_dev &&
        made.st_ino == there.st_ino)
        (void)unlink(file);
}

static int write_file(struct evidence *evidence, const char *file, uint8_t ret_manifest[32])
{
    _cleanup_free_ char *shown = text_escape_string(file);
    _cleanup_close_ int fd = -1;
    int r = refuse_datastore(evidence, file);

    if (r < 0)
        return r;
    fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return complain(-errno, "Cannot create %s", shown);
    r = write_bundle(evidence, fd, ret_manifest);
    if (r >= 0 && fsync(fd) < 0)
        r = -errno;
    if (r >= 0)
        return 0;
    remove_file(file, fd);
    return complain(r, "Cannot write %s", shown);
}

static int write_output(struct evidence *evidence, uint8_t ret_manifest[32])
{
    int r;

    if (isatty(STDOUT_FILENO))
        return complain(0, "An archive is not for a terminal: give a file, or lead the output to "
                           "another program."),
               -EINVAL;
    r = write_bundle(evidence, STDOUT_FILENO, ret_manifest);
    return r < 0 ? complain(r, "Cannot write the archive") : 0;
}

/* ---- of what -------------------------------------------------------------------------------- */

static bool is_id(const char *argument)
{
    return argument[0] && argument[strspn(argument, "0123456789")] == '\0' &&
           strlen(argument) < 19;
}

/* The image that the finding is about. */
static int take_finding(struct evidence *evidence, const char *id)
{
    const char *kind;
    int r = client_finding(evidence->ctl, strtoll(id, NULL, 10), &evidence->finding);

    if (r < 0)
        return r == -ENOENT
                   ? complain(0, "There is no finding %s. 'qcauditctl findings --all' lists those "
                                 "that are known.", id), r
                   : r;
    kind = row_raw(evidence->finding, "subject-kind");
    if (!kind || strcmp(kind, "image") != 0 || !row_has(evidence->finding, "subject"))
        return complain(0, "Finding %s is not about an image. Give the PATH of one that it has to "
                           "do with: 'qcauditctl show %s'.", id, id),
               -EINVAL;
    evidence->argument = strdup(row_raw(evidence->finding, "subject"));
    return evidence->argument ? 0 : -ENOMEM;
}

/* A file here, or what the daemon knows by the argument. */
/* Is the file of that name here the one that has the path? */
static bool is_same_file(const char *name, const char *path)
{
    struct stat here, known;

    return stat(name, &here) == 0 && stat(path, &known) == 0 && here.st_dev == known.st_dev &&
           here.st_ino == known.st_ino;
}

static int take_image(struct evidence *evidence, const char *argument)
{
    _cleanup_(json_object_putp) json_object *domain = NULL;
    bool exists = access(argument, F_OK) == 0;
    _cleanup_free_ char *shown = text_escape_string(argument);
    _cleanup_close_ int fd = -1;
    struct qca_file_id id;
    const char *path;
    int r = evidence->status ? source_show(evidence->ctl, argument, &evidence->image, &domain)
                             : -ENOENT;

    if (domain && !exists)
        return complain(0, "%s is a domain: give the PATH of one of its images, as 'qcauditctl "
                           "domains %s' lists them.", shown, shown),
               -EINVAL;
    path = evidence->image ? row_raw(evidence->image, "path") : NULL;
    /* An image that only ends in that name is another one. */
    if (path && exists && !is_same_file(argument, path)) {
        json_object_put(evidence->image);
        evidence->image = NULL;
        path = NULL;
        (void)complain(0, "qcauditd does not know this file.");
    }
    if (!path && !exists && evidence->status)
        return r;
    /* Of an image that nobody knows, and nobody can read, there is nothing to keep. */
    if (!path) {
        r = check_open(argument, &fd, &id);
        if (r < 0)
            return complain(r, "Cannot read %s", shown);
        (void)complain(0, "The archive will hold only what can be read without qcauditd.");
    }
    if (path)
        evidence->path = strdup(path);
    if (!evidence->argument)
        evidence->argument = exists ? source_absolute(evidence->ctl, argument) : strdup(path);
    return (evidence->path || !path) && evidence->argument ? 0 : -ENOMEM;
}

/* Are all tables of the image itself in the archive, but for those that are too much? */
static bool is_complete(const struct evidence *evidence)
{
    json_object *row = json_object_array_get_idx(evidence->layers, 0);

    return row && !row_has(row, "error") && !row_has(row, "unreadable") &&
           (row_bool(row, "whole") || row_has(row, "left-out-tables"));
}

#define PLAIN_NAME "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._+,@%-"

static int print_summary(struct evidence *evidence, const uint8_t manifest[32])
{
    FILE *file = strcmp(evidence->ctl->out, "-") == 0 ? stderr : stdout;
    _cleanup_free_ char *shown = text_escape_string(evidence->ctl->out),
                        *image = text_escape_string(evidence->argument);
    size_t n = json_object_array_length(evidence->layers);
    char digits[65], size[TEXT_SIZE_MAX];

    if (!shown || !image)
        return -ENOMEM;
    hex_encode(manifest, 32, digits);
    (void)fprintf(file, "Evidence of %s: %zu layer%s, %s of tables, %zu members.\n", image, n,
                  n == 1 ? "" : "s", text_size(evidence->bytes, size), evidence->writer.n);
    for (size_t i = 0; i < n; i++) {
        json_object *row = json_object_array_get_idx(evidence->layers, i);
        _cleanup_free_ char *path = row_text(row, "path"), *error = row_text(row, "error");

        if (row_has(row, "error"))
            (void)fprintf(file, "Layer %zu, %s: %s.\n", i, path, error);
        if (row_bool(row, "in-use") || row_bool(row, "written-meanwhile"))
            (void)fprintf(file, "Layer %zu, %s, is being written: its tables may not agree.\n", i,
                          path);
    }
    if (!is_complete(evidence))
        (void)fprintf(file, "NOT all tables of the image could be found or read: see "
                            BUNDLE_LAYOUT ".\n");
    if (evidence->n_left_out > 0)
        (void)fprintf(file, "Left out for their size: %" PRIu64 " table%s, %s.\n",
                      evidence->n_left_out, evidence->n_left_out == 1 ? "" : "s",
                      text_size(evidence->bytes_left_out, size));
    (void)fprintf(file, "SHA-256 of its manifest, to be kept elsewhere:\n%s\n", digits);
    if (json_object_array_length(evidence->missing) > 0)
        (void)fprintf(file, "qcauditd did not answer for all of it: see " BUNDLE_LAYOUT ".\n");
    /* Only a name that a shell takes as it is. */
    if (file == stdout && strspn(evidence->ctl->out, PLAIN_NAME) == strlen(evidence->ctl->out))
        (void)fprintf(file, "Check it: qcauditctl check --evidence %s\n", shown);
    return 0;
}

static int summary_json(const struct evidence *evidence, const uint8_t manifest[32])
{
    _cleanup_(json_object_putp) json_object *object = json_object_new_object();
    char digits[65];
    int r = object ? json_add_text(object, "file", evidence->ctl->out) : -ENOMEM;

    hex_encode(manifest, 32, digits);
    if (r >= 0)
        r = json_add_text(object, "image", evidence->argument);
    if (r >= 0)
        r = json_add_text(object, "manifest-sha256", digits);
    if (r >= 0)
        r = json_add_number(object, "members", evidence->writer.n);
    if (r >= 0)
        r = json_add(object, "layers", json_object_get(evidence->layers));
    return r < 0 ? r : output_json(&evidence->ctl->output, object);
}

static int evidence_make(struct evidence *evidence, const char *argument)
{
    struct ctl *ctl = evidence->ctl;
    bool to_output = strcmp(ctl->out, "-") == 0;
    uint8_t manifest[32];
    int r;

    if (to_output && ctl->output.json != JSON_OFF)
        return complain(0, "--json and --out=- both want standard output."), -EINVAL;
    /* It says itself why there is none. */
    if (source_status(ctl, &evidence->status) < 0 && is_id(argument))
        return complain(0, "Finding %s cannot be looked up: give the PATH of the image.", argument),
               -EINVAL;
    r = is_id(argument) ? take_finding(evidence, argument) : 0;
    if (r >= 0)
        r = take_image(evidence, evidence->argument ? evidence->argument : argument);
    if (r >= 0)
        r = checker_new(ctl, false, &evidence->checker);
    if (r >= 0)
        r = to_output ? write_output(evidence, manifest) : write_file(evidence, ctl->out, manifest);
    if (r < 0)
        return r;
    r = ctl->output.json != JSON_OFF ? summary_json(evidence, manifest)
                                     : print_summary(evidence, manifest);
    if (r < 0)
        return complain(r, "Cannot show what was written");
    return is_complete(evidence) ? 0 : EXIT_FAILURE;
}

int verb_evidence(struct ctl *ctl, int argc, char **argv)
{
    struct evidence evidence = {
        .ctl = ctl, .layers = json_object_new_array(), .missing = json_object_new_array(),
        .writer = { .fd = -1 },
        .now = usec_now(CLOCK_REALTIME), .room = BUNDLE_TABLES_MAX,
        .room_pieces = BUNDLE_PIECES_MAX,
    };
    int r;

    if (!ctl->out) {
        (void)complain(0, "'evidence' needs --out=FILE (-o FILE), or -o - for standard output.");
        r = -EINVAL;
    } else
        r = evidence.layers && evidence.missing
                ? evidence_make(&evidence, argv[0])
                : complain(-ENOMEM, "Cannot make evidence");
    bundle_writer_done(&evidence.writer);
    checker_free(evidence.checker);
    json_object_put(evidence.status);
    json_object_put(evidence.finding);
    json_object_put(evidence.image);
    json_object_put(evidence.layers);
    json_object_put(evidence.missing);
    free(evidence.argument);
    free(evidence.path);
    return r;
}
