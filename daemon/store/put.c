/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Puts what changed into rows: copies it, column by column as the .def say. */
#include <errno.h>
#include <string.h>

#include "daemon/core/names.h"
#include "daemon/store/batch.h"
#include "daemon/store/columns.h"
#include "daemon/store/report.h"
#include "lib/cleanup.h"

static const char *const use_names[] = {
    [FILES_UNUSED] = "unused",
    [FILES_FROZEN] = "read-only",
    [FILES_WRITER] = "writer",
};

const char *store_use_name(enum files_use use)
{
    return name_of(use_names, ELEMENTSOF(use_names), use);
}

int store_use_from_name(const char *name)
{
    return name_index(use_names, ELEMENTSOF(use_names), name);
}

/* ---- values ---------------------------------------------------------------------------------- */

/* NULL once something of the row failed. */
static struct value *put_null(struct batch_row *row, const char *name)
{
    struct value *value;

    if (!row || row->error < 0)
        return NULL;
    if (row->n_values == row->n_room) {
        unsigned n_room = row->n_room > 0 ? 2 * row->n_room : 16;
        struct value *values = reallocarray(row->values, n_room, sizeof(*values));

        if (!values) {
            row->error = -ENOMEM;
            return NULL;
        }
        row->values = values;
        row->n_room = n_room;
    }
    value = &row->values[row->n_values++];
    *value = (struct value){ .name = name, .type = VALUE_NULL };
    return value;
}

/* Of 64 bits without a sign the same bits, as SQLite knows signed numbers only. */
static void put_integer(struct batch_row *row, const char *name, int64_t integer)
{
    struct value *value = put_null(row, name);

    if (!value)
        return;
    value->type = VALUE_INTEGER;
    value->integer = integer;
}

/* NULL stays NULL. */
static void put_bytes(struct batch_row *row, const char *name, enum value_type type,
                      const void *bytes, size_t size)
{
    struct value *value = put_null(row, name);

    if (!value || !bytes)
        return;
    value->data = malloc(size + 1);
    if (!value->data) {
        row->error = -ENOMEM;
        return;
    }
    memcpy(value->data, bytes, size);
    value->data[size] = '\0';
    value->type = type;
    value->size = size;
}

static void put_text(struct batch_row *row, const char *name, const char *text)
{
    put_bytes(row, name, VALUE_TEXT, text, text ? strlen(text) : 0);
}

static void put_blob(struct batch_row *row, const char *name, const char *bytes)
{
    put_bytes(row, name, VALUE_BLOB, bytes, bytes ? strlen(bytes) : 0);
}

static void put_json(struct batch_row *row, const char *name, json_object *object)
{
    const char *text = NULL;

    if (object && row) {
        text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN |
                                                          JSON_C_TO_STRING_NOSLASHESCAPE);
        if (!text)
            row->error = -ENOMEM;
    }
    put_text(row, name, text);
}

/* Of a walk that there was. */
static void put_coverage(struct batch_row *row, const char *name, const struct datastore *datastore)
{
    json_object *object = NULL;

    if (row && datastore->walk_finished > 0 && coverage_to_json(&datastore->coverage, &object) < 0)
        row->error = -ENOMEM;
    put_json(row, name, object);
    json_object_put(object);
}

static void put_former(struct batch_row *row, const char *name, const struct former *former)
{
    json_object *object = NULL;

    if (row && former && former_to_json(former, &object) < 0)
        row->error = -ENOMEM;
    put_json(row, name, object);
    json_object_put(object);
}

static void put_report(struct batch_row *row, const char *name, const struct audit_report *report)
{
    _cleanup_free_ char *body = NULL;
    int r = store_report_encode(report, &body);

    if (row && r < 0)
        row->error = r;
    put_text(row, name, body);
}

static void put_id128(struct batch_row *row, const char *name, sd_id128_t id)
{
    char text[SD_ID128_STRING_MAX];

    put_text(row, name, sd_id128_to_string(id, text));
}

static void put_blocks(struct batch_row *row, const char *name, const struct baseline *baseline)
{
    char file[64];

    snprintf(file, sizeof(file), BLOCKS_NAME_FORMAT, BLOCKS_NAME_VALUES(baseline->identity));
    put_text(row, name, baseline->blocks ? file : NULL);
}

static const char *finding_type_name(enum finding_type type)
{
    const struct finding_definition *definition = finding_definition(type);

    return definition ? definition->name : NULL;
}

/* ---- tables ---------------------------------------------------------------------------------- */

#define PUT_INTEGER(name, field) put_integer(row, name, (int64_t)(field))
#define PUT_TEXT(name, field) put_text(row, name, field)
#define PUT_CHARS(name, field) put_text(row, name, field)
#define PUT_SENTENCE(name, field) put_text(row, name, (field) ? (field) : "")
/* An empty one is one, too. */
#define PUT_BYTES(name, field, size)                                                               \
    put_bytes(row, name, VALUE_BLOB, (size) > 0 ? (const void *)(field) : "", size)
#define PUT_BLOB(name, field) put_blob(row, name, field)
#define PUT_WORD(name, field, prefix) put_text(row, name, prefix##_name(field))
#define PUT_FORMAT(name, field)                                                                    \
    put_text(row, name, (field) == QCA_FORMAT_UNKNOWN ? NULL : qca_format_name(field))
#define PUT_ID128(name, field) put_id128(row, name, field)
#define PUT_JSON(name, field) put_json(row, name, field)
/* Evidence is always an object. */
#define PUT_OBJECT(name, field)                                                                    \
    ((field) ? put_json(row, name, field) : put_text(row, name, "{}"))
#define PUT_COVERAGE(name, datastore) put_coverage(row, name, datastore)
#define PUT_FORMER(name, field) put_former(row, name, field)
#define PUT_REPORT(name, field, version) put_report(row, name, field)
#define PUT_DIGEST(name, field, has)                                                               \
    put_bytes(row, name, VALUE_BLOB, (has) ? (field) : NULL, DIGEST_SIZE)
#define PUT_BLOCKS(name, baseline) put_blocks(row, name, baseline)
#define DIGEST_SIZE 32

#define KEY(column, type, ...) PUT_##type(":" #column, __VA_ARGS__);
#define COLUMN(column, type, ...) PUT_##type(":" #column, __VA_ARGS__);
#define WRITTEN(column, type, ...) PUT_##type(":" #column, __VA_ARGS__);
#define PARAMETER(name, type, ...) PUT_##type(":" #name, __VA_ARGS__);
#define OPTIONAL(of, column, type, ...)                                                            \
    if (of)                                                                                        \
        PUT_##type(":" #column, __VA_ARGS__);                                                      \
    else                                                                                           \
        put_null(row, ":" #column);
#define READ(column, type, ...)
#define EXPRESSION(column, declared, sql)
#define OWN(column, declared)

static struct batch_row *datastore_row(const struct datastore *datastore)
{
    struct batch_row *row = row_new(ROW_DATASTORE);

#include "daemon/store/columns-datastore.def"
    return row;
}

static struct batch_row *sample_row(const struct datastore *datastore, const struct sample *sample)
{
    struct batch_row *row = row_new(ROW_SAMPLE);

#include "daemon/store/columns-sample.def"
    return row;
}

int store_batch_datastore(struct store_batch *batch, const struct datastore *datastore)
{
    const struct series *series = &datastore->available;
    struct batch_row *rows[2] = { datastore_row(datastore) };
    size_t n = 1;

    if (series->n > 0 && series->samples[series->n - 1].at > 0)
        rows[n++] = sample_row(datastore, &series->samples[series->n - 1]);
    return store_batch_take(batch, rows, n);
}

static struct batch_row *image_row(const struct image *image)
{
    struct batch_row *row = row_new(ROW_IMAGE);

#include "daemon/store/columns-image.def"
    return row;
}

static struct batch_row *edge_row(enum row_kind row_kind, const char *kind,
                                  const struct image *image, const struct reference *reference)
{
    struct batch_row *row = row_new(row_kind);

#include "daemon/store/columns-edge.def"
    return row;
}

int store_batch_image(struct store_batch *batch, const struct image *image)
{
    if (!image->datastore)
        return -EINVAL;
    return store_batch_take(
        batch,
        (struct batch_row *[]){
            image_row(image),
            edge_row(ROW_PARENT, "parent", image, &image->parent),
            edge_row(ROW_DATA_FILE, "data-file", image, &image->data_file),
        },
        3);
}

static struct batch_row *audit_row(const struct image *image, const struct audit *audit)
{
    static const struct audit_report no_report;
    const struct audit_report *report = audit->report ? audit->report : &no_report;
    const struct layer_report *layer = audit_layer_seen(audit);
    const struct qca_image_info *info = layer ? &layer->info : NULL;
    const struct qca_check_result *check = layer && layer->checked ? &layer->check : NULL;
    struct batch_row *row = row_new(ROW_AUDIT);

#include "daemon/store/columns-audit.def"
    return row;
}

static struct batch_row *report_row(const struct image *image, const struct audit *rested)
{
    struct layer_report layer;
    struct audit_report report = audit_whole_report(rested, &layer);
    const struct audit *audit = &(struct audit){ .report = &report };
    const int version = STORE_REPORT_VERSION;
    struct batch_row *row = row_new(ROW_REPORT);

#include "daemon/store/columns-report.def"
    return row;
}

int store_batch_audit(struct store_batch *batch, const struct image *image,
                      const struct audit *audit)
{
    if (!image->datastore)
        return -EINVAL;
    return store_batch_take(
        batch, (struct batch_row *[]){ audit_row(image, audit), report_row(image, audit) }, 2);
}

int store_batch_finding(struct store_batch *batch, const struct finding *finding)
{
    struct batch_row *row;

    if (!finding_definition(finding->type) || finding->id <= 0)
        return -EINVAL;
    row = row_new(ROW_FINDING);
#include "daemon/store/columns-finding.def"
    return store_batch_take(batch, &row, 1);
}

int store_batch_event(struct store_batch *batch, const struct event *event)
{
    struct batch_row *row;

    if (!finding_definition(event->finding))
        return -EINVAL;
    row = row_new(ROW_EVENT);
#include "daemon/store/columns-event.def"
    return store_batch_take(batch, &row, 1);
}

int store_batch_told(struct store_batch *batch, sd_id128_t event_id, unsigned outbox,
                     const char *channel)
{
    struct batch_row *row = row_new(ROW_TOLD);

#include "daemon/store/columns-told.def"
    return store_batch_take(batch, &row, 1);
}

int store_batch_baseline(struct store_batch *batch, const struct baseline *baseline,
                         json_object *deviation, const char *verity)
{
    struct batch_row *row = row_new(ROW_BASELINE);

#include "daemon/store/columns-baseline.def"
    return store_batch_take(batch, &row, 1);
}

int store_batch_disk_move(struct store_batch *batch, const char *overlay, const char *parent,
                          uint64_t at)
{
    struct batch_row *row = row_new(ROW_DISK_MOVE);

#include "daemon/store/columns-disk-move.def"
    return store_batch_take(batch, &row, 1);
}

int store_batch_mute(struct store_batch *batch, const struct mute *mute)
{
    struct batch_row *row = row_new(ROW_MUTE);

#include "daemon/store/columns-mute.def"
    return store_batch_take(batch, &row, 1);
}

int store_batch_others(struct store_batch *batch, const char *datastore, const uint8_t *files,
                       size_t size)
{
    struct batch_row *row = row_new(ROW_OTHERS);

#include "daemon/store/columns-other-files.def"
    return store_batch_take(batch, &row, 1);
}

int store_batch_reading(struct store_batch *batch, const char *path,
                        const struct digest_result *digest, const uint8_t *content,
                        enum reading_verdict verdict, const char *explanation)
{
    struct batch_row *row = row_new(ROW_READING);

#include "daemon/store/columns-digest.def"
    return store_batch_take(batch, &row, 1);
}

/* ---- what is no row of a table --------------------------------------------------------------- */

int store_batch_image_gone(struct store_batch *batch, const char *path)
{
    struct batch_row *row = row_new(ROW_GONE);

    put_blob(row, ":path", path);
    return store_batch_take(batch, &row, 1);
}

int store_batch_renamed(struct store_batch *batch, const char *before, const char *after)
{
    struct batch_row *row = row_new(ROW_RENAMED);

    put_blob(row, ":before", before);
    put_blob(row, ":after", after);
    return store_batch_take(batch, &row, 1);
}

int store_batch_baseline_gone(struct store_batch *batch, const struct identity *identity)
{
    struct batch_row *row = row_new(ROW_BASELINE_GONE);

    put_integer(row, ":fsid", (int64_t)identity->fsid);
    put_integer(row, ":inode", (int64_t)identity->inode);
    put_integer(row, ":btime", identity->btime);
    return store_batch_take(batch, &row, 1);
}
