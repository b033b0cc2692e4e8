/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads back what was known when the last daemon stopped: datastores, images with their last audit,
 * findings, outbox. */
#include <errno.h>
#include <string.h>

#include "daemon/store/db.h"
#include "daemon/store/report.h"
#include "helpers/json-text.h"
#include "lib/cleanup.h"

#define REMEMBER_RESOLVED (7 * 24 * 3600 * USEC_PER_SEC)

DEFINE_CLEANUP(struct datastore *, datastore_free)
DEFINE_CLEANUP(struct image *, image_free)
DEFINE_CLEANUP(struct audit *, audit_free)
DEFINE_CLEANUP(struct finding *, finding_free)
DEFINE_CLEANUP(struct event *, event_free)
DEFINE_CLEANUP(struct baseline *, baseline_free)
DEFINE_CLEANUP(json_object *, json_object_put)

/* ---- columns, taken in turn ------------------------------------------------------------------ */

struct columns {
    sqlite3_stmt *statement;
    int next;
    int error;                  /* -ENOMEM, or -EBADMSG for a word this program does not know */
};

static int64_t take_integer(struct columns *columns)
{
    return sqlite3_column_int64(columns->statement, columns->next++);
}

static uint64_t take_u64(struct columns *columns)
{
    return (uint64_t)take_integer(columns);
}

/* NULL stays NULL; a copy otherwise. */
static char *take_bytes(struct columns *columns)
{
    int at = columns->next++;
    const void *bytes;
    char *copy;
    size_t size;

    if (sqlite3_column_type(columns->statement, at) == SQLITE_NULL)
        return NULL;
    bytes = sqlite3_column_blob(columns->statement, at);
    size = (size_t)sqlite3_column_bytes(columns->statement, at);
    copy = calloc(1, size + 1);
    if (!copy) {
        columns->error = -ENOMEM;
        return NULL;
    }
    if (size > 0)
        memcpy(copy, bytes, size);
    return copy;
}

static unsigned take_name(struct columns *columns, int (*from_name)(const char *name))
{
    int value = from_name((const char *)sqlite3_column_text(columns->statement, columns->next++));

    if (value < 0) {
        columns->error = -EBADMSG;
        return 0;
    }
    return (unsigned)value;
}

/* NULL, or a format that this program does not know: unknown. */
static enum qca_format take_format(struct columns *columns)
{
    const char *name = (const char *)sqlite3_column_text(columns->statement, columns->next++);

    return name ? qca_format_from_name(name) : QCA_FORMAT_UNKNOWN;
}

static void take_chars(struct columns *columns, char *chars, size_t size)
{
    const unsigned char *text = sqlite3_column_text(columns->statement, columns->next++);

    snprintf(chars, size, "%s", text ? (const char *)text : "");
}

static json_object *take_json(struct columns *columns)
{
    int at = columns->next++;
    json_object *object = NULL;
    const char *text;
    int r;

    if (sqlite3_column_type(columns->statement, at) == SQLITE_NULL)
        return NULL;
    text = (const char *)sqlite3_column_text(columns->statement, at);
    r = text ? json_text_parse(text, (size_t)sqlite3_column_bytes(columns->statement, at), &object)
             : -ENOMEM;
    if (r < 0)
        columns->error = r;
    return object;
}

/* NULL, or of a newer program's, perhaps: -EBADMSG then, without an error of the row. */
static int take_text_json(struct columns *columns, json_object **ret_object)
{
    _cleanup_free_ char *text = take_bytes(columns);

    if (columns->error < 0 || !text)
        return columns->error;
    return json_text_parse(text, strlen(text), ret_object);
}

/* An array of [time, value], or NULL. */
static void take_series(struct columns *columns, struct series *series)
{
    json_object *array = take_json(columns);

    for (size_t i = 0; array && json_object_is_type(array, json_type_array) &&
                       i < json_object_array_length(array);
         i++) {
        json_object *pair = json_object_array_get_idx(array, i);

        if (!json_object_is_type(pair, json_type_array) || json_object_array_length(pair) != 2)
            continue;
        series_add(series, json_object_get_uint64(json_object_array_get_idx(pair, 0)),
                   json_object_get_uint64(json_object_array_get_idx(pair, 1)), 1);
    }
    json_object_put(array);
}

static struct identity take_identity(struct columns *columns)
{
    struct identity identity;

    identity.fsid = take_u64(columns);
    identity.inode = take_u64(columns);
    identity.btime = take_integer(columns);
    return identity;
}

static struct fingerprint take_fingerprint(struct columns *columns)
{
    struct fingerprint fingerprint;

    fingerprint.size = take_u64(columns);
    fingerprint.allocated = take_u64(columns);
    fingerprint.mtime = take_integer(columns);
    fingerprint.ctime = take_integer(columns);
    fingerprint.mode = (uint32_t)take_integer(columns);
    fingerprint.uid = (uint32_t)take_integer(columns);
    fingerprint.gid = (uint32_t)take_integer(columns);
    fingerprint.links = (uint32_t)take_integer(columns);
    return fingerprint;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* Each hands over one row: 0, or what the loader returned. -EBADMSG: not a row this program can
 * understand (a finding that its catalogue does not have any more); it is left out. */
typedef int (*row_fn)(struct columns *columns, const struct store_loader *loader);

static int each_row(sqlite3 *sqlite, const char *sql, int64_t value, row_fn row,
                    const struct store_loader *loader)
{
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(sqlite, sql, -1, &statement, NULL);

    if (code != SQLITE_OK)
        return store_db_error(sqlite, code);
    if (sqlite3_bind_parameter_count(statement) > 0)
        sqlite3_bind_int64(statement, 1, value);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct columns columns = { .statement = statement };
        int r = row(&columns, loader);

        if (r < 0 && r != -EBADMSG)
            return r;
    }
    return code == SQLITE_DONE ? 0 : store_db_error(sqlite, code);
}

static const char datastore_sql[] =
    "SELECT id, name, path, recursive, error, fsid, size, available, type, network, watched, "
    "watch_error, overflows,"
    " unreadable, walk, walk_started, walk_finished, paused_until, n_images, (SELECT"
    " json_group_array(json_array(at,"
    " available)) FROM (SELECT at, available FROM sample WHERE sample.datastore = datastore.name"
    " ORDER BY at)), coverage"
    " FROM datastore WHERE state <> 'removed'"
    " ORDER BY id";

/* One that this program cannot read is not known. */
static int take_coverage(struct columns *columns, struct coverage *coverage)
{
    _cleanup_(json_object_putp) json_object *object = NULL;
    int r = take_text_json(columns, &object);

    if (r == 0 && object)
        r = coverage_from_json(object, coverage);
    return r == -EBADMSG && columns->error == 0 ? 0 : r;
}

static int datastore_row(struct columns *columns, const struct store_loader *loader)
{
    _cleanup_(datastore_freep) struct datastore *datastore = calloc(1, sizeof(*datastore));
    int r;

    if (!datastore)
        return -ENOMEM;
    datastore->id = take_integer(columns);
    datastore->name = take_bytes(columns);
    datastore->path = take_bytes(columns);
    datastore->recursive = take_integer(columns);
    /* What it was says nothing about what it is. */
    datastore->state = DATASTORE_STARTING;
    datastore->error = (int)take_integer(columns);
    datastore->root.fsid = take_u64(columns);
    datastore->root.size = take_u64(columns);
    datastore->root.available = take_u64(columns);
    take_chars(columns, datastore->root.type, sizeof(datastore->root.type));
    datastore->root.network = take_integer(columns);
    datastore->watched = take_integer(columns);
    datastore->watch_error = (int)take_integer(columns);
    datastore->overflows = take_u64(columns);
    datastore->unreadable = take_u64(columns);
    datastore->walk = take_u64(columns);
    datastore->walk_started = take_u64(columns);
    datastore->walk_finished = take_u64(columns);
    datastore->paused_until = take_u64(columns);
    datastore->n_images = take_u64(columns);
    take_series(columns, &datastore->available);
    r = take_coverage(columns, &datastore->coverage);
    if (r < 0)
        return r;
    return loader->datastore(loader->userdata, TAKE_PTR(datastore));
}

#define REFERENCE_COLUMNS(t)                                                                       \
    #t ".state, " #t ".stored, " #t ".format, " #t ".path, " #t ".fsid, " #t ".inode, " #t         \
    ".btime, " #t ".error"

#define AUDIT_COLUMNS(t, r)                                                                        \
    #t ".id, " #t ".started, " #t ".finished, " #t ".confidence, " #t ".use, " #t ".deep, " #t     \
    ".fsid, " #t ".inode, " #t ".btime, " #t ".size, " #t ".allocated, " #t ".mtime, " #t          \
    ".ctime, " #t ".mode, " #t ".uid, " #t ".gid, " #t ".links, " #r ".version, " #r ".body"
#define AUDIT_COLUMNS_COUNT 19

static const char image_sql[] =
    "SELECT i.id, i.path, d.name, i.present, i.first_seen, i.last_seen, i.walk, i.fsid, i.inode, "
    "i.btime, i.size,"
    " i.allocated, i.mtime, i.ctime, i.mode, i.uid, i.gid, i.links, i.use, i.worker_deaths,"
    " i.past_format, i.past_until, i.past_size, i.past_virtual_size, i.raw_size,"
    " " REFERENCE_COLUMNS(p) ", " REFERENCE_COLUMNS(f) ","
    " " AUDIT_COLUMNS(a, ra) ", " AUDIT_COLUMNS(b, rb) ","
    " CASE WHEN p.kind IS NOT NULL THEN (SELECT json_group_array(json_array(finished, allocated))"
    " FROM (SELECT finished,"
    " allocated FROM audit WHERE image = i.id ORDER BY id)) END, i.former"
    " FROM image i JOIN datastore d ON d.id = i.datastore"
    " LEFT JOIN edge p ON p.child = i.id AND p.kind = 'parent'"
    " LEFT JOIN edge f ON f.child = i.id AND f.kind = 'data-file'"
    " LEFT JOIN audit a ON a.id = i.audit LEFT JOIN report ra ON ra.audit = a.id"
    " LEFT JOIN audit b ON b.id = i.audit_before LEFT JOIN report rb ON rb.audit = b.id"
    " WHERE i.gone IS NULL ORDER BY i.id";

static struct reference take_reference(struct columns *columns)
{
    struct reference reference = { .state = REFERENCE_NONE };

    if (sqlite3_column_type(columns->statement, columns->next) == SQLITE_NULL)
        columns->next++;
    else
        reference.state = take_name(columns, reference_state_from_name);
    reference.stored = take_bytes(columns);
    reference.format = take_bytes(columns);
    reference.path = take_bytes(columns);
    reference.identity = take_identity(columns);
    reference.error = (int)take_integer(columns);
    return reference;
}

/* NULL when there is none, or none that this program can read: then the image is audited anew. */
static int take_audit(struct columns *columns, struct audit **ret_audit)
{
    _cleanup_(audit_freep) struct audit *audit = NULL;
    const char *body;
    int version, r;

    if (sqlite3_column_type(columns->statement, columns->next) == SQLITE_NULL) {
        columns->next += AUDIT_COLUMNS_COUNT;
        return 0;
    }
    audit = calloc(1, sizeof(*audit));
    if (!audit)
        return -ENOMEM;
    audit->id = take_integer(columns);
    audit->started = take_u64(columns);
    audit->finished = take_u64(columns);
    audit->confidence = take_name(columns, confidence_from_name);
    audit->use = audit->locked = take_name(columns, store_use_from_name);
    audit->deep = take_integer(columns);
    audit->identity = take_identity(columns);
    audit->fingerprint = take_fingerprint(columns);
    version = (int)take_integer(columns);
    body = (const char *)sqlite3_column_text(columns->statement, columns->next);
    r = columns->error;
    if (r == 0)
        r = body ? store_report_decode(body,
                                       (size_t)sqlite3_column_bytes(columns->statement,
                                                                    columns->next),
                                       version, &audit->report)
                 : -EBADMSG;
    columns->next++;
    if (r == -EBADMSG) {
        columns->error = 0;
        return 0;
    }
    if (r < 0)
        return r;
    *ret_audit = TAKE_PTR(audit);
    return 0;
}

/* One that this program cannot read is not known. */
static int take_former(struct columns *columns, struct former **ret_former)
{
    _cleanup_(json_object_putp) json_object *object = NULL;
    int r = take_text_json(columns, &object);

    if (r == 0 && object)
        r = former_from_json(object, ret_former);
    return r == -EBADMSG ? 0 : r;
}

static int image_row(struct columns *columns, const struct store_loader *loader)
{
    _cleanup_(image_freep) struct image *image = calloc(1, sizeof(*image));
    _cleanup_free_ char *datastore = NULL;
    int r;

    if (!image)
        return -ENOMEM;
    image->id = take_integer(columns);
    image->path = take_bytes(columns);
    datastore = take_bytes(columns);
    image->present = take_integer(columns);
    image->first_seen = take_u64(columns);
    image->last_seen = take_u64(columns);
    image->walk = take_u64(columns);
    image->identity = take_identity(columns);
    image->fingerprint = take_fingerprint(columns);
    image->use = take_name(columns, store_use_from_name);
    image->worker_deaths = (uint32_t)take_integer(columns);
    image->past.format = take_format(columns);
    image->past.until = take_u64(columns);
    image->past.size = take_u64(columns);
    image->past.virtual_size = take_u64(columns);
    image->raw_size = take_u64(columns);
    image->parent = take_reference(columns);
    image->data_file = take_reference(columns);
    if (columns->error < 0)
        return columns->error;
    r = take_audit(columns, &image->audit);
    if (r >= 0)
        r = take_audit(columns, &image->audit_before);
    if (r < 0)
        return r;
    if (sqlite3_column_type(columns->statement, columns->next) != SQLITE_NULL) {
        image->growth = calloc(1, sizeof(*image->growth));
        if (!image->growth)
            return -ENOMEM;
        take_series(columns, image->growth);
    } else {
        columns->next++;
    }
    r = take_former(columns, &image->former);
    if (r < 0)
        return r;
    return loader->image(loader->userdata, datastore, TAKE_PTR(image));
}

static const char finding_sql[] =
    "SELECT id, type, subject_kind, subject, datastore, state, severity, confidence, first_seen, "
    "last_seen, changed,"
    " resolved, count, misses, weight, evidence, remedy, acknowledged_by, acknowledged_reason,"
    " acknowledged_until,"
    " acknowledged_weight, reminded, reminders FROM finding WHERE state <> 'resolved' OR resolved"
    " >= ?1 ORDER BY id";

static int finding_row(struct columns *columns, const struct store_loader *loader)
{
    _cleanup_(finding_freep) struct finding *finding = calloc(1, sizeof(*finding));

    if (!finding)
        return -ENOMEM;
    finding->id = take_integer(columns);
    finding->type = take_name(columns, finding_type_from_name);
    finding->subject_kind = take_name(columns, subject_kind_from_name);
    finding->subject = take_bytes(columns);
    finding->datastore = take_bytes(columns);
    finding->state = take_name(columns, finding_state_from_name);
    finding->severity = take_name(columns, severity_from_name);
    finding->confidence = take_name(columns, confidence_from_name);
    finding->first_seen = take_u64(columns);
    finding->last_seen = take_u64(columns);
    finding->changed = take_u64(columns);
    finding->resolved = take_u64(columns);
    finding->count = (uint32_t)take_integer(columns);
    finding->misses = (uint32_t)take_integer(columns);
    finding->weight = take_u64(columns);
    finding->evidence = take_json(columns);
    finding->remedy = take_json(columns);
    finding->acknowledged_by = take_bytes(columns);
    finding->acknowledged_reason = take_bytes(columns);
    finding->acknowledged_until = take_u64(columns);
    finding->acknowledged_weight = take_u64(columns);
    finding->reminded = take_u64(columns);
    finding->reminders = (uint32_t)take_integer(columns);
    if (columns->error < 0)
        return columns->error;
    return loader->finding(loader->userdata, TAKE_PTR(finding));
}

static const char event_sql[] =
    "SELECT id, type, at, finding, finding_id, subject_kind, subject, datastore, severity, "
    "confidence, message, depth"
    " FROM event WHERE outbox = 1 ORDER BY seq";

static int event_row(struct columns *columns, const struct store_loader *loader)
{
    _cleanup_(event_freep) struct event *event = calloc(1, sizeof(*event));
    const char *id;

    if (!event)
        return -ENOMEM;
    id = (const char *)sqlite3_column_text(columns->statement, columns->next++);
    if (!id || sd_id128_from_string(id, &event->id) < 0)
        return -EBADMSG;
    event->type = take_name(columns, event_type_from_name);
    event->at = take_u64(columns);
    event->finding = take_name(columns, finding_type_from_name);
    event->finding_id = take_integer(columns);
    event->subject_kind = take_name(columns, subject_kind_from_name);
    event->subject = take_bytes(columns);
    event->datastore = take_bytes(columns);
    event->severity = take_name(columns, severity_from_name);
    event->confidence = take_name(columns, confidence_from_name);
    event->message = take_bytes(columns);
    event->depth = (uint32_t)take_integer(columns);
    if (columns->error < 0)
        return columns->error;
    return loader->event(loader->userdata, TAKE_PTR(event));
}

static const char baseline_sql[] =
    "SELECT fsid, inode, btime, path, source, since, verified, digest, virtual_size, zeros, "
    "metadata, size, allocated, mtime,"
    " ctime, mode, uid, gid, links, attributes, parent_fsid, parent_inode, parent_btime, verity,"
    " blocks, accepted_by,"
    " reason, gone, lost_child, deviation, encrypted FROM baseline";

static bool take_digest(struct columns *columns, uint8_t digest[static 32])
{
    int at = columns->next++;

    if (sqlite3_column_type(columns->statement, at) == SQLITE_NULL)
        return false;
    if (sqlite3_column_bytes(columns->statement, at) != 32) {
        columns->error = -EBADMSG;
        return false;
    }
    memcpy(digest, sqlite3_column_blob(columns->statement, at), 32);
    return true;
}

static int baseline_row(struct columns *columns, const struct store_loader *loader)
{
    _cleanup_(baseline_freep) struct baseline *baseline = calloc(1, sizeof(*baseline));
    _cleanup_(json_object_putp) json_object *deviation = NULL;
    _cleanup_free_ char *verity = NULL;

    if (!baseline)
        return -ENOMEM;
    baseline->identity = take_identity(columns);
    baseline->path = take_bytes(columns);
    baseline->source = take_name(columns, baseline_source_from_name);
    baseline->since = take_u64(columns);
    baseline->verified = take_u64(columns);
    baseline->has_digest = take_digest(columns, baseline->digest);
    baseline->virtual_size = take_u64(columns);
    baseline->zeros = take_u64(columns);
    baseline->has_metadata = take_digest(columns, baseline->metadata);
    baseline->fingerprint = take_fingerprint(columns);
    baseline->attributes = take_integer(columns);
    baseline->parent = take_identity(columns);
    verity = take_bytes(columns);
    baseline->blocks = sqlite3_column_type(columns->statement, columns->next++) != SQLITE_NULL;
    baseline->by = take_bytes(columns);
    baseline->reason = take_bytes(columns);
    baseline->gone = take_u64(columns);
    baseline->lost_child = take_bytes(columns);
    deviation = take_json(columns);
    baseline->encrypted = take_integer(columns);
    if (columns->error < 0)
        return columns->error;
    return loader->baseline(loader->userdata, TAKE_PTR(baseline), deviation, verity);
}

static const char disk_move_sql[] = "SELECT overlay, parent, at FROM disk_move";

static int disk_move_row(struct columns *columns, const struct store_loader *loader)
{
    _cleanup_free_ char *overlay = take_bytes(columns), *parent = take_bytes(columns);
    uint64_t at = take_u64(columns);

    if (columns->error < 0)
        return columns->error;
    return loader->disk_move(loader->userdata, overlay, parent, at);
}

int store_load_all(sqlite3 *sqlite, const struct store_loader *loader, uint64_t now)
{
    const struct {
        const char *sql;
        row_fn row;
        bool wanted;
    } parts[] = {
        { datastore_sql, datastore_row, loader->datastore },
        { image_sql, image_row, loader->image },
        { finding_sql, finding_row, loader->finding },
        { event_sql, event_row, loader->event },
        { baseline_sql, baseline_row, loader->baseline },
        { disk_move_sql, disk_move_row, loader->disk_move },
    };
    int64_t since = now > REMEMBER_RESOLVED ? (int64_t)(now - REMEMBER_RESOLVED) : 0;

    for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
        int r = parts[i].wanted ? each_row(sqlite, parts[i].sql, since, parts[i].row, loader) : 0;

        if (r < 0)
            return r;
    }
    return 0;
}
