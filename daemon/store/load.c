/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reads back what was known when the last daemon stopped: datastores, images with their last audit,
 * findings, outbox. */
#include <errno.h>
#include <string.h>

#include "daemon/store/columns.h"
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
DEFINE_CLEANUP(struct mute *, mute_free)
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

static bool is_null(const struct columns *columns, int at)
{
    return sqlite3_column_type(columns->statement, at) == SQLITE_NULL;
}

/* NULL stays NULL; a copy otherwise. */
static char *take_bytes(struct columns *columns)
{
    int at = columns->next++;
    const void *bytes;
    char *copy;
    size_t size;

    if (is_null(columns, at))
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

    if (is_null(columns, at))
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

/* One that this program cannot read is not known. */
static void take_coverage(struct columns *columns, struct coverage *coverage)
{
    _cleanup_(json_object_putp) json_object *object = NULL;
    int r = take_text_json(columns, &object);

    if (r == 0 && object)
        r = coverage_from_json(object, coverage);
    if (r < 0 && r != -EBADMSG)
        columns->error = r;
}

/* Likewise. */
static struct former *take_former(struct columns *columns)
{
    _cleanup_(json_object_putp) json_object *object = NULL;
    struct former *former = NULL;
    int r = take_text_json(columns, &object);

    if (r == 0 && object)
        r = former_from_json(object, &former);
    if (r < 0 && r != -EBADMSG)
        columns->error = r;
    return former;
}

static struct audit_report *take_report(struct columns *columns, int version)
{
    int at = columns->next++, r = -EBADMSG;
    const char *body = (const char *)sqlite3_column_text(columns->statement, at);
    struct audit_report *report = NULL;

    if (body)
        r = store_report_decode(body, (size_t)sqlite3_column_bytes(columns->statement, at), version,
                                &report);
    if (r < 0)
        columns->error = r;
    return report;
}

static sd_id128_t take_id128(struct columns *columns)
{
    const char *text = (const char *)sqlite3_column_text(columns->statement, columns->next++);
    sd_id128_t id = SD_ID128_NULL;

    if (!text || sd_id128_from_string(text, &id) < 0)
        columns->error = -EBADMSG;
    return id;
}

#define DIGEST_SIZE 32

static bool take_digest(struct columns *columns, uint8_t digest[static DIGEST_SIZE])
{
    int at = columns->next++;

    if (is_null(columns, at))
        return false;
    if (sqlite3_column_bytes(columns->statement, at) != DIGEST_SIZE) {
        columns->error = -EBADMSG;
        return false;
    }
    memcpy(digest, sqlite3_column_blob(columns->statement, at), DIGEST_SIZE);
    return true;
}

/* ---- tables ---------------------------------------------------------------------------------- */

#define TAKE_INTEGER(field) (field) = (__typeof__(field))take_integer(columns)
#define TAKE_TEXT(field) (field) = take_bytes(columns)
#define TAKE_SENTENCE(field) (field) = take_bytes(columns)
#define TAKE_BYTES(field, size)                                                                    \
    (size) = (size_t)sqlite3_column_bytes(columns->statement, columns->next),                      \
    (field) = take_bytes(columns)
#define TAKE_BLOB(field) (field) = take_bytes(columns)
#define TAKE_CHARS(field) take_chars(columns, field, sizeof(field))
#define TAKE_WORD(field, prefix) (field) = take_name(columns, prefix##_from_name)
#define TAKE_FORMAT(field) (field) = take_format(columns)
#define TAKE_ID128(field) (field) = take_id128(columns)
#define TAKE_JSON(field) (field) = take_json(columns)
#define TAKE_OBJECT(field) (field) = take_json(columns)
#define TAKE_COVERAGE(datastore) take_coverage(columns, &(datastore)->coverage)
#define TAKE_FORMER(field) (field) = take_former(columns)
#define TAKE_REPORT(field, version) (field) = take_report(columns, version)
#define TAKE_DIGEST(field, has) (has) = take_digest(columns, field)
#define TAKE_BLOCKS(baseline) (baseline)->blocks = !is_null(columns, columns->next++)

#define KEY(column, type, ...) TAKE_##type(__VA_ARGS__);
#define COLUMN(column, type, ...) TAKE_##type(__VA_ARGS__);
#define READ(column, type, ...) TAKE_##type(__VA_ARGS__);
#define WRITTEN(column, type, ...)
#define OPTIONAL(of, column, type, ...)
#define EXPRESSION(column, declared, sql)
#define OWN(column, declared)
#define PARAMETER(name, type, ...)

/* ---- rows ------------------------------------------------------------------------------------ */

/* Each hands over one row: 0, or what the loader returned. -EBADMSG: not a row this program can
 * understand (a finding that its catalogue does not have any more); it is left out. */
typedef int (*row_fn)(struct columns *columns, const struct store_loader *loader);

static int each_row(sqlite3 *sqlite, const char *sql, int64_t value, row_fn row,
                    const struct store_loader *loader)
{
    _cleanup_(sqlite3_stmt_finalizep) sqlite3_stmt *statement = NULL;
    _cleanup_free_ char *expanded = NULL;
    int code, r = store_sql_expand(sql, &expanded);

    if (r < 0)
        return r;
    code = sqlite3_prepare_v2(sqlite, expanded, -1, &statement, NULL);
    if (code != SQLITE_OK)
        return store_db_error(sqlite, code);
    if (sqlite3_bind_parameter_count(statement) > 0)
        sqlite3_bind_int64(statement, 1, value);
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        struct columns columns = { .statement = statement };

        r = row(&columns, loader);
        if (r < 0 && r != -EBADMSG)
            return r;
    }
    return code == SQLITE_DONE ? 0 : store_db_error(sqlite, code);
}

static const char datastore_sql[] =
    "SELECT {datastore.datastore}, (SELECT json_group_array(json_array(at, available)) FROM"
    " (SELECT at, available FROM sample WHERE sample.datastore = datastore.name ORDER BY at))"
    " FROM datastore WHERE state <> 'removed' ORDER BY id";

static int datastore_row(struct columns *columns, const struct store_loader *loader)
{
    _cleanup_(datastore_freep) struct datastore *datastore = calloc(1, sizeof(*datastore));

    if (!datastore)
        return -ENOMEM;
#include "daemon/store/columns-datastore.def"
    take_series(columns, &datastore->available);
    if (columns->error < 0)
        return columns->error;
    return loader->datastore(loader->userdata, TAKE_PTR(datastore));
}

static const char image_sql[] =
    "SELECT {i.image}, d.name, {p.edge}, {f.edge}, {a.audit}, {ra.report}, {b.audit}, {rb.report},"
    " CASE WHEN p.kind IS NOT NULL THEN (SELECT json_group_array(json_array(finished, allocated))"
    " FROM (SELECT finished, allocated FROM audit WHERE image = i.id ORDER BY id)) END"
    " FROM image i JOIN datastore d ON d.id = i.datastore"
    " LEFT JOIN edge p ON p.child = i.id AND p.kind = 'parent'"
    " LEFT JOIN edge f ON f.child = i.id AND f.kind = 'data-file'"
    " LEFT JOIN audit a ON a.id = i.audit LEFT JOIN report ra ON ra.audit = a.id"
    " LEFT JOIN audit b ON b.id = i.audit_before LEFT JOIN report rb ON rb.audit = b.id"
    " WHERE i.gone IS NULL ORDER BY i.id";

/* No row: it refers to nothing. */
static void take_edge(struct columns *columns, struct reference *reference)
{
    reference->state = REFERENCE_NONE;
    if (is_null(columns, columns->next)) {
        columns->next += store_table_n_read("edge");
        return;
    }
#include "daemon/store/columns-edge.def"
}

/* NULL when there is none, or none that this program can read: then the image is audited anew. */
static int take_audit(struct columns *columns, struct audit **ret_audit)
{
    _cleanup_(audit_freep) struct audit *audit = NULL;
    int version;

    if (is_null(columns, columns->next)) {
        columns->next += store_table_n_read("audit") + store_table_n_read("report");
        return 0;
    }
    audit = calloc(1, sizeof(*audit));
    if (!audit)
        return -ENOMEM;
#include "daemon/store/columns-audit.def"
#include "daemon/store/columns-report.def"
    audit->locked = audit->use;
    audit_rest(audit);
    if (columns->error == -EBADMSG) {
        columns->error = 0;
        return 0;
    }
    if (columns->error < 0)
        return columns->error;
    *ret_audit = TAKE_PTR(audit);
    return 0;
}

static int take_growth(struct columns *columns, struct series **ret_growth)
{
    struct series *growth;

    if (is_null(columns, columns->next)) {
        columns->next++;
        return 0;
    }
    growth = calloc(1, sizeof(*growth));
    if (!growth)
        return -ENOMEM;
    take_series(columns, growth);
    *ret_growth = growth;
    return 0;
}

static int image_row(struct columns *columns, const struct store_loader *loader)
{
    _cleanup_(image_freep) struct image *image = calloc(1, sizeof(*image));
    _cleanup_free_ char *datastore = NULL;
    int r;

    if (!image)
        return -ENOMEM;
#include "daemon/store/columns-image.def"
    datastore = take_bytes(columns);
    take_edge(columns, &image->parent);
    take_edge(columns, &image->data_file);
    if (columns->error < 0)
        return columns->error;
    r = take_audit(columns, &image->audit);
    if (r >= 0)
        r = take_audit(columns, &image->audit_before);
    if (r >= 0)
        r = take_growth(columns, &image->growth);
    if (r < 0)
        return r;
    return loader->image(loader->userdata, datastore, TAKE_PTR(image));
}

static const char finding_sql[] =
    "SELECT {finding.finding} FROM finding WHERE state <> 'resolved' OR resolved >= ?1 ORDER BY id";

static int finding_row(struct columns *columns, const struct store_loader *loader)
{
    _cleanup_(finding_freep) struct finding *finding = calloc(1, sizeof(*finding));

    if (!finding)
        return -ENOMEM;
#include "daemon/store/columns-finding.def"
    if (columns->error < 0)
        return columns->error;
    return loader->finding(loader->userdata, TAKE_PTR(finding));
}

static const char mute_sql[] = "SELECT {mute.mute} FROM mute ORDER BY id";

static int mute_row(struct columns *columns, const struct store_loader *loader)
{
    _cleanup_(mute_freep) struct mute *mute = calloc(1, sizeof(*mute));

    if (!mute)
        return -ENOMEM;
#include "daemon/store/columns-mute.def"
    if (columns->error < 0)
        return columns->error;
    return loader->mute(loader->userdata, TAKE_PTR(mute));
}

static const char event_sql[] = "SELECT {event.event} FROM event WHERE outbox > 0 ORDER BY seq";

static int event_row(struct columns *columns, const struct store_loader *loader)
{
    _cleanup_(event_freep) struct event *event = calloc(1, sizeof(*event));

    if (!event)
        return -ENOMEM;
#include "daemon/store/columns-event.def"
    if (columns->error < 0)
        return columns->error;
    return loader->event(loader->userdata, TAKE_PTR(event));
}

static const char baseline_sql[] = "SELECT {baseline.baseline} FROM baseline";

static int baseline_row(struct columns *columns, const struct store_loader *loader)
{
    _cleanup_(baseline_freep) struct baseline *baseline = calloc(1, sizeof(*baseline));
    _cleanup_(json_object_putp) json_object *deviation = NULL;
    _cleanup_free_ char *verity = NULL;

    if (!baseline)
        return -ENOMEM;
#include "daemon/store/columns-baseline.def"
    if (columns->error < 0)
        return columns->error;
    return loader->baseline(loader->userdata, TAKE_PTR(baseline), deviation, verity);
}

static const char disk_move_sql[] = "SELECT {disk_move.disk_move} FROM disk_move";

static int disk_move_row(struct columns *columns, const struct store_loader *loader)
{
    _cleanup_free_ char *overlay = NULL, *parent = NULL;
    uint64_t at;

#include "daemon/store/columns-disk-move.def"
    if (columns->error < 0)
        return columns->error;
    return loader->disk_move(loader->userdata, overlay, parent, at);
}

static const char others_sql[] = "SELECT {other_files.other_files} FROM other_files";

static int others_row(struct columns *columns, const struct store_loader *loader)
{
    _cleanup_free_ char *datastore = NULL, *files = NULL;
    size_t size;

#include "daemon/store/columns-other-files.def"
#include "helpers/clock.h"
    if (columns->error < 0)
        return columns->error;
    return loader->others(loader->userdata, datastore, (const uint8_t *)files, size);
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
        { mute_sql, mute_row, loader->mute },
        { event_sql, event_row, loader->event },
        { baseline_sql, baseline_row, loader->baseline },
        { disk_move_sql, disk_move_row, loader->disk_move },
        { others_sql, others_row, loader->others },
    };
    int64_t since = now > REMEMBER_RESOLVED ? (int64_t)(now - REMEMBER_RESOLVED) : 0;

    for (size_t i = 0; i < ELEMENTSOF(parts); i++) {
        int r = parts[i].wanted ? each_row(sqlite, parts[i].sql, since, parts[i].row, loader) : 0;

        if (r < 0)
            return r;
    }
    return 0;
}
